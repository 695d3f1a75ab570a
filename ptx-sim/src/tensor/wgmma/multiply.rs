//! The product of a warp: 16 rows of A with all columns of B.

use super::form::WgmmaForm;
use super::layout::{Major, read_words};
use crate::config::TensorMode;
use crate::program::{Lanes, Slot};
use crate::tensor::arithmetic::scaled::{self, Decoded};
#[cfg(target_arch = "x86_64")]
use crate::tensor::arithmetic::vector::Avx2;
use crate::tensor::arithmetic::vector::{Portable, Simd};
use crate::tensor::arithmetic::{Arithmetic, Product};
use crate::tensor::form::Kind;
use crate::tensor::integer;
use crate::tensor::layout::{self, AWords, BWords, WORDS};

/// A warp's 16 rows of A.
#[derive(Clone, Debug)]
pub(crate) struct ARows(AWords);

/// All columns of B, eight by eight; those of floating-point types also decoded.
#[derive(Clone, Debug)]
pub(crate) struct BColumns {
    words: Box<[BWords]>,
    decoded: Box<[Decoded<8>]>,
}

/// What changes the signs of all elements of a word.
fn sign_bits(form: &WgmmaForm, negate: bool) -> u32 {
    match (negate, form.element_bits()) {
        (false, _) => 0,
        (true, 8) => 0x8080_8080,
        (true, 16) => 0x8000_8000,
        (true, _) => 0x8000_0000,
    }
}

impl ARows {
    /// From the four registers of a fragment.
    pub fn from_registers(form: &WgmmaForm, lanes: &Lanes, slots: &[Slot; 4], negate: bool) -> Self {
        let registers = slots.map(|slot| lanes.get32(slot));
        let mut words = layout::gather_a(16, registers.iter());
        let sign = sign_bits(form, negate);
        words.as_flattened_mut().iter_mut().for_each(|word| *word ^= sign);
        Self(words)
    }

    /// From units of shared memory.
    pub fn from_units<'m>(
        form: &WgmmaForm,
        major: Major,
        units: impl Iterator<Item = &'m [u8; 16]>,
        negate: bool,
    ) -> Self {
        let sign = sign_bits(form, negate);
        let mut words = [[0; 16]; WORDS];
        read_words(major, units, |row, word, value| words[word][row % 16] = value ^ sign);
        Self(words)
    }
}

impl BColumns {
    /// From units of shared memory.
    pub fn from_units<'m>(
        form: &WgmmaForm,
        major: Major,
        units: impl Iterator<Item = &'m [u8; 16]>,
        negate: bool,
    ) -> Self {
        let sign = sign_bits(form, negate);
        let mut groups = vec![[[0; 8]; WORDS]; form.n / 8].into_boxed_slice();
        read_words(major, units, |column, word, value| {
            if let Some(group) = groups.get_mut(column / 8) {
                group[word][column % 8] = value ^ sign;
            }
        });
        let decoded = match form.kind {
            Kind::Float { b, .. } => groups.iter().map(|words| scaled::decode(b, words)).collect(),
            _ => Box::default(),
        };
        Self { words: groups, decoded }
    }
}

impl WgmmaForm {
    /// Multiplies what a warp has of A with B, and adds it to D where `accumulates`.
    pub fn multiply(
        &self,
        lanes: &mut Lanes,
        d: &[Slot],
        a: &ARows,
        b: &BColumns,
        accumulates: bool,
        mode: TensorMode,
    ) {
        #[cfg(target_arch = "x86_64")]
        {
            #[target_feature(enable = "avx2,fma,f16c,bmi1,bmi2,lzcnt,popcnt")]
            fn wide(
                form: &WgmmaForm,
                lanes: &mut Lanes,
                d: &[Slot],
                a: &ARows,
                b: &BColumns,
                accumulates: bool,
                mode: TensorMode,
            ) {
                // SAFETY: this is called only where the CPU has the features.
                let simd = unsafe { Avx2::new() };
                form.run(simd, lanes, d, a, b, accumulates, mode);
            }
            if crate::alu::has_wide_vectors() {
                // SAFETY: the CPU has the features, as was asked just now.
                return unsafe { wide(self, lanes, d, a, b, accumulates, mode) };
            }
        }
        self.run(Portable, lanes, d, a, b, accumulates, mode);
    }

    #[expect(clippy::too_many_arguments, reason = "an operation's operands, and how it is computed")]
    #[inline(always)]
    fn run(
        &self,
        simd: impl Simd,
        lanes: &mut Lanes,
        d: &[Slot],
        a: &ARows,
        b: &BColumns,
        accumulates: bool,
        mode: TensorMode,
    ) {
        let halves = self.has_half_accumulators();
        let registers = if halves { 2 } else { 4 };
        let k = 256 / self.element_bits();
        let a_decoded = match self.kind {
            Kind::Float { a: element, .. } => Some(scaled::decode(element, &a.0)),
            _ => None,
        };
        for (group, (slots, b_words)) in d.chunks_exact(registers).zip(&b.words).enumerate() {
            let mut c = [[0; 8]; 16];
            if accumulates {
                let mut values = [[0; crate::program::LANES]; 4];
                for (values, slot) in values.iter_mut().zip(slots) {
                    *values = lanes.get32(*slot);
                }
                c = layout::gather_c(halves, values.iter().take(registers));
            }
            let result = match self.kind {
                Kind::Float { a: a_type, b: b_type, d } => {
                    let product =
                        Product { a: a_type, b: b_type, accumulator: d, k, a_words: &a.0, b_words, c: &c };
                    match (mode, &a_decoded, b.decoded.get(group)) {
                        (TensorMode::Fast, Some(a), Some(b)) => scaled::multiply_plain(simd, &product, a, b),
                        (TensorMode::BitAccurate, Some(a), Some(b)) => {
                            scaled::multiply(simd, &product, Arithmetic::of_warpgroup(a_type, d), a, b)
                        }
                        _ => c,
                    }
                }
                Kind::Integer { a: a_type, b: b_type, saturate } => {
                    integer::multiply((a_type, b_type), saturate, WORDS, &a.0, b_words, &c)
                }
                Kind::Bits { op } => integer::multiply_bits(op, WORDS, &a.0, b_words, &c),
                Kind::Double { .. } | Kind::Quad { .. } => c,
            };
            for (register, slot) in slots.iter().enumerate() {
                lanes.set32(*slot, &layout::scatter_d(halves, &result, register), u32::MAX);
            }
        }
    }
}
