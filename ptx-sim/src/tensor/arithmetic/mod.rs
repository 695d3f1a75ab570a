//! What the tensor cores compute with floating-point A and B, below f64.
//!
//! No vendor document says how the products are summed; what is known was measured from outside. One step of a tensor
//! core multiplies exactly, aligns the products and C to the largest exponent among them, cuts each off (toward zero)
//! at a number of fraction bits, and adds them without further loss. The sum is cut off to f32, or rounded to the
//! nearest f16. An exponent here is that of the factors added up, whether or not the product of the significands
//! reaches 2; subnormals have the format's least exponent, and zeros count as if they had exponent -126.
//!
//! | compute capability | types | fraction bits | steps |
//! |---|---|---|---|
//! | 8.x | f16, bf16, tf32 | 24 | `m16n8k16` of 16 bits and `m16n8k8` of tf32: two halves of k, the first added to C, the second to that; others one step |
//! | 8.9 | e4m3, e5m2 | 13, an f32 result has 13 as well | `m16n8k32`: two halves of k; `m16n8k16`: one |
//! | 9.0, `mma` | f16, bf16, tf32 | 25 | one |
//! | 9.0, `wgmma` | f16, bf16, tf32 | 25 | one |
//! | 9.0, `wgmma` | e4m3, e5m2 | 13, an f32 result has 13 as well | one |
//! | 9.0, `mma` | e4m3, e5m2 | 25 | there is no such unit: the assembler unpacks to f16, multiplies the elements with k % 4 < 2, then the others, starting from zero, and adds C at the end with an ordinary addition |
//!
//! A NaN result is always 0x7fffffff (f16: 0x7fff), an exact zero is always +0. The steps of 9.0's 8-bit types are
//! read from what the assembler of CUDA 13.0 emits. Nothing in this table has been compared with hardware by this
//! crate's own tests; 8.6 is taken to be as 8.0.

mod format;
mod fused;
mod plain;
pub(super) mod reference;
pub(super) mod scaled;
pub(super) mod vector;

pub(super) use fused::multiply as multiply_bit_accurate;
pub(super) use plain::multiply as multiply_plain;

use super::form::{Accumulator, Element};
use super::layout::{AWords, Accumulators, BWords};
use crate::config::ComputeCapability;

/// NaN as the tensor cores and f32 units give it.
pub(super) const NAN_F32: u32 = 0x7fff_ffff;
/// NaN of f16.
pub(super) const NAN_F16: u32 = 0x7fff;

/// What becomes of the sum of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Output {
    /// f32, rounded toward zero.
    F32,
    /// f32 with 13 fraction bits, rounded toward zero.
    ShortF32,
    /// f16, rounded to nearest even.
    F16,
}

/// Which products belong to which step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Steps {
    /// All of k at once.
    Whole,
    /// The lower half of k, then the upper.
    Halves,
    /// Unpacked to f16: k % 4 < 2, then the others, from zero; C is added at the end, to nearest even.
    Unpacked,
}

/// The arithmetic of a form on a compute capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Arithmetic {
    pub fraction_bits: i32,
    pub output: Output,
    pub steps: Steps,
}

impl Arithmetic {
    /// Of a form with these types and this k.
    pub fn of(compute_capability: ComputeCapability, a: Element, accumulator: Accumulator, k: usize) -> Self {
        let bits = a.bits();
        let output = match accumulator {
            Accumulator::F16 => Output::F16,
            Accumulator::F32 => Output::F32,
        };
        if compute_capability >= ComputeCapability::Sm90 {
            let steps = if bits == 8 { Steps::Unpacked } else { Steps::Whole };
            return Self { fraction_bits: 25, output, steps };
        }
        let steps = if k * bits == 256 { Steps::Halves } else { Steps::Whole };
        if bits == 8 {
            let output = if output == Output::F32 { Output::ShortF32 } else { output };
            Self { fraction_bits: 13, output, steps }
        } else {
            Self { fraction_bits: 24, output, steps }
        }
    }
}

impl Arithmetic {
    /// Of a `wgmma`.
    pub fn of_warpgroup(a: Element, accumulator: Accumulator) -> Self {
        let (fraction_bits, output) = match (a.bits(), accumulator) {
            (8, Accumulator::F32) => (13, Output::ShortF32),
            (8, Accumulator::F16) => (13, Output::F16),
            (_, Accumulator::F32) => (25, Output::F32),
            (_, Accumulator::F16) => (25, Output::F16),
        };
        Self { fraction_bits, output, steps: Steps::Whole }
    }
}

/// A multiplication of floating-point matrices.
#[derive(Clone, Copy, Debug)]
pub(super) struct Product<'m> {
    pub a: Element,
    pub b: Element,
    pub accumulator: Accumulator,
    pub k: usize,
    pub a_words: &'m AWords,
    pub b_words: &'m BWords,
    pub c: &'m Accumulators,
}

impl Product<'_> {
    /// One element of D, the plain way.
    pub fn reference(&self, arithmetic: Arithmetic, row: usize, column: usize) -> u32 {
        let element = |ty: Element, word: u32, k: usize| {
            let bits = ty.bits();
            word >> (k * bits % 32) & (u32::MAX >> (32 - bits))
        };
        let factors = std::array::from_fn::<_, 32, _>(|k| {
            let at = |ty: Element| k.min(self.k - 1) * ty.bits() / 32;
            (
                element(self.a, self.a_words[at(self.a)][row], k),
                element(self.b, self.b_words[at(self.b)][column], k),
            )
        });
        reference::element(arithmetic, self.a, self.b, &factors[..self.k], self.c[row][column])
    }
}
