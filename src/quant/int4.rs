//! Weights in 4 bits, by group: what GPTQ, AWQ and GGUF's Q4 formats come to, in one layout.
//!
//! A group is 32, 64 or 128 neighbouring columns of a row, or all of it. It has a scale in a 16-bit float, and where the
//! weight is asymmetric a zero in one too (the zeros of Q4_K are no integers, and GPTQ has one of 16, which no code holds).
//!
//! **The value of a code** is defined here and nowhere else: `w = round((code - zero) * scale)`, where `zero` is 8 in a
//! symmetric weight, the difference and the product are taken in f32, and `round` is to nearest even, once, to the type of
//! the activations that the weight meets. That type need not be the scale's: f16 scales of a bf16 model stay f16.

use half::{bf16, f16};

use super::source::{COLUMN_MULTIPLE, ROW_MULTIPLE, Sources, round};
use crate::tensor::{Bytes, DType, HostTensor};
use crate::{Error, Result, par};

const OP: &str = "int4";

mod order;
mod packed;

pub use packed::Packed;

/// The code of 0 in a symmetric weight.
pub const SYMMETRIC_ZERO: u8 = 8;

/// How many neighbouring columns share a scale.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum GroupSize {
    /// 32.
    Of32,
    /// 64.
    Of64,
    /// 128, the usual.
    #[default]
    Of128,
    /// All of a row.
    Row,
}

impl GroupSize {
    /// Columns of a group in rows of `k`.
    pub fn columns(self, k: usize) -> usize {
        match self {
            GroupSize::Of32 => 32,
            GroupSize::Of64 => 64,
            GroupSize::Of128 => 128,
            GroupSize::Row => k,
        }
    }

    /// What the number of columns is a multiple of.
    fn column_multiple(self) -> usize {
        self.columns(COLUMN_MULTIPLE)
    }
}

/// The arrays of an [`Int4`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Int4Parts {
    /// Rows: a multiple of 8.
    pub n: usize,
    /// Columns: a multiple of the group's, of 16 where the group is the row.
    pub k: usize,
    /// Columns of a group.
    pub group_size: GroupSize,
    /// Type of scales and zeros: bf16 or f16.
    pub dtype: DType,
    /// `[n, k / 2]`: two codes a byte, the even column's in the low half.
    pub codes: Vec<u8>,
    /// Bits of `[n, k / group]`.
    pub scales: Vec<u16>,
    /// Bits of `[n, k / group]`; `None` where the weight is symmetric.
    pub zeros: Option<Vec<u16>>,
}

/// A weight in 4-bit codes. See the module's definition of their values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Int4(Int4Parts);

impl Int4 {
    /// A weight of arrays that a checkpoint has. [`Error::Argument`] where one of them is not as long as [`Int4Parts`]
    /// says, or a scale or zero is not finite.
    pub fn new(parts: Int4Parts) -> Result<Self> {
        let Int4Parts { n, k, group_size, dtype, .. } = parts;
        check_dtype(dtype)?;
        if !n.is_multiple_of(ROW_MULTIPLE) {
            return Err(Error::argument(OP, "n", format!("a multiple of {ROW_MULTIPLE}"), n));
        }
        let multiple = group_size.column_multiple();
        if k == 0 || !k.is_multiple_of(multiple) {
            return Err(Error::argument(OP, "k", format!("a multiple of {multiple}"), k));
        }
        let groups = n.checked_mul(k / group_size.columns(k));
        for (arg, given, expected) in [
            ("codes", parts.codes.len(), n.checked_mul(k / 2)),
            ("scales", parts.scales.len(), groups),
            ("zeros", parts.zeros.as_ref().map_or(groups.unwrap_or(0), Vec::len), groups),
        ] {
            if expected != Some(given) {
                let expected = expected.map_or("fewer".into(), |expected| expected.to_string());
                return Err(Error::argument(OP, arg, format!("{expected} elements"), given));
            }
        }
        for (arg, numbers) in [("scales", Some(&parts.scales)), ("zeros", parts.zeros.as_ref())] {
            let wrong = numbers.and_then(|all| all.iter().position(|&bits| !value(dtype, bits).is_finite()));
            if let Some(at) = wrong {
                let (row, group) = (at / (k / group_size.columns(k)), at % (k / group_size.columns(k)));
                let given = format!("another at row {row}, group {group}");
                return Err(Error::argument(OP, arg, format!("finite numbers in {dtype}"), given));
            }
        }
        Ok(Int4(parts))
    }

    /// Quantises `weight`, `[n, k]` in floats, to a symmetric weight with scales in `dtype` (bf16 or f16), each group by
    /// itself: the codes are the nearest to the weights, and the scale is that of the least sum of squared differences
    /// between the weights and the codes' values in `dtype`, among these:
    /// - `absmax / d` for `d` of 1 to 8 as integers, which put the largest weight on a code, and some between 7.5 and 12, which
    ///   cut off the largest; for `d` above 7 also negated, because codes reach from -8 to 7;
    /// - from the best of those on, `sum w*c / sum c^2` for its centred codes `c`, the optimum for fixed codes, and its two
    ///   neighbours, as long as one of them lowers the sum. (They find the scale of what was quantised before.)
    ///
    /// The sums are in f64 and in the order of the columns: the result is the same bits on every machine. A group of zeros
    /// has the scale 1. [`Error::Argument`] for a shape that [`Int4Parts`] does not allow, and for a weight that is not a
    /// finite number in `dtype`, with its row and column.
    pub fn quantize(weight: &HostTensor, dtype: DType, group_size: GroupSize) -> Result<Self> {
        let rows = weight.shape.first().copied().unwrap_or(0);
        let rows: Vec<_> = (0..rows).map(|row| (0, row)).collect();
        Int4::quantize_rows(std::slice::from_ref(weight), &rows, dtype, group_size)
    }

    /// [`Int4::quantize`] of rows of several matrices of one width, each given by its matrix and its number there.
    pub(crate) fn quantize_rows(
        weights: &[HostTensor],
        rows: &[(usize, usize)],
        dtype: DType,
        group_size: GroupSize,
    ) -> Result<Self> {
        check_dtype(dtype)?;
        let sources = Sources::new(OP, weights, group_size.column_multiple())?;
        let (n, k) = (rows.len(), sources.k);
        let group = group_size.columns(k);
        let rows = par::map(n, |i| {
            let (mut weights, mut codes) = (vec![0.0; k], vec![0; k / 2]);
            sources.row(rows[i], dtype, &mut weights)?;
            let groups = weights.chunks(group).zip(codes.chunks_mut(group / 2));
            let scales: Vec<u16> = groups.map(|(weights, codes)| quantize(dtype, weights, codes)).collect();
            Ok((codes, scales))
        });
        let mut parts = Int4Parts {
            n,
            k,
            group_size,
            dtype,
            codes: Vec::with_capacity(n * (k / 2)),
            scales: Vec::with_capacity(n * (k / group)),
            zeros: None,
        };
        for row in rows {
            let (codes, scales) = row?;
            parts.codes.extend(codes);
            parts.scales.extend(scales);
        }
        Ok(Int4(parts))
    }

    /// The arrays.
    pub fn parts(&self) -> &Int4Parts {
        &self.0
    }

    /// Bytes of codes, scales and zeros.
    pub fn num_bytes(&self) -> usize {
        let Int4Parts { codes, scales, zeros, .. } = &self.0;
        codes.len() + 2 * (scales.len() + zeros.as_ref().map_or(0, Vec::len))
    }

    /// The weight that the codes stand for, for activations of type `dtype` (bf16 or f16), as a checkpoint would hold it.
    pub fn dequantize(&self, name: &str, dtype: DType) -> Result<HostTensor> {
        check_dtype(dtype)?;
        let Int4Parts { n, k, .. } = self.0;
        let rows = par::map(n, |row| {
            let mut values = vec![0.0; k];
            self.row(row, dtype, &mut values);
            values.into_iter().flat_map(|w| bits(dtype, w).to_le_bytes()).collect::<Vec<u8>>()
        });
        Ok(HostTensor { name: name.into(), dtype, shape: vec![n, k], data: Bytes::new(rows.concat()) })
    }

    /// The values of row `row`, for activations of type `dtype`.
    pub(crate) fn row(&self, row: usize, dtype: DType, out: &mut [f32]) {
        let Int4Parts { k, group_size, dtype: stored, codes, scales, zeros, .. } = &self.0;
        let group = group_size.columns(*k);
        let first = row * (k / group);
        let groups = out.chunks_mut(group).zip(codes[row * (k / 2)..].chunks(group / 2));
        for (g, (out, codes)) in groups.enumerate() {
            let zero =
                zeros.as_ref().map_or(f32::from(SYMMETRIC_ZERO), |zeros| value(*stored, zeros[first + g]));
            let values = values(zero, value(*stored, scales[first + g]), dtype);
            for (out, &pair) in out.as_chunks_mut::<2>().0.iter_mut().zip(codes) {
                *out = [pair & 15, pair >> 4].map(|code| values[usize::from(code)]);
            }
        }
    }
}

/// What the 16 codes of a group stand for: see the module.
fn values(zero: f32, scale: f32, dtype: DType) -> [f32; 16] {
    std::array::from_fn(|code| round(dtype, (code as f32 - zero) * scale))
}

fn check_dtype(dtype: DType) -> Result<()> {
    match dtype {
        DType::BF16 | DType::F16 => Ok(()),
        _ => Err(Error::argument(OP, "dtype", "bf16 or f16", dtype)),
    }
}

/// The value of a 16-bit float.
fn value(dtype: DType, bits: u16) -> f32 {
    match dtype {
        DType::BF16 => bf16::from_bits(bits).to_f32(),
        _ => f16::from_bits(bits).to_f32(),
    }
}

/// The 16-bit float nearest to `x`.
fn bits(dtype: DType, x: f32) -> u16 {
    match dtype {
        DType::BF16 => bf16::from_f32(x).to_bits(),
        _ => f16::from_f32(x).to_bits(),
    }
}

/// What the largest magnitude is divided by for a first scale, the likely ones first. Up to 8 it is put on a code.
const DIVISORS: [f64; 16] =
    [8.0, 7.5, 8.5, 7.0, 9.0, 9.5, 10.0, 10.5, 11.0, 12.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0];

/// The largest positive code, centred: beyond it a scale and its negative differ.
const LARGEST: f64 = 7.0;

/// Weights of a group between looks at whether a scale can still be the best.
const STRIDE: usize = 16;

/// Quantises one group: writes its codes, two a byte, and returns its scale's bits.
fn quantize(dtype: DType, weights: &[f32], codes: &mut [u8]) -> u16 {
    let absmax = f64::from(weights.iter().fold(0.0, |max: f32, w| max.max(w.abs())));
    // The scale of zeros, and of what is too small for any other in this type.
    let mut search = Search { dtype, weights, scale: bits(dtype, 1.0), error: f64::INFINITY };
    search.consider(search.scale);
    for d in DIVISORS {
        for sign in [1.0, -1.0] {
            if sign < 0.0 && d <= LARGEST {
                continue;
            }
            search.consider(bits(dtype, (sign * absmax / d) as f32));
        }
    }
    while search.error > 0.0 && search.improve() {}

    let inverse = 1.0 / f64::from(value(dtype, search.scale));
    for (byte, pair) in codes.iter_mut().zip(weights.as_chunks::<2>().0) {
        let [low, high] = pair.map(|w| code(w, inverse));
        *byte = low | high << 4;
    }
    search.scale
}

/// The best scale so far of a group.
struct Search<'a> {
    dtype: DType,
    weights: &'a [f32],
    scale: u16,
    error: f64,
}

impl Search<'_> {
    /// Takes this scale if it is better.
    fn consider(&mut self, scale: u16) -> bool {
        let stored = value(self.dtype, scale);
        if stored == 0.0 || !stored.is_finite() {
            return false;
        }
        let values = values(f32::from(SYMMETRIC_ZERO), stored, self.dtype).map(f64::from);
        let (mut error, inverse) = (0.0, 1.0 / f64::from(stored));
        for weights in self.weights.chunks(STRIDE) {
            for &w in weights {
                let difference = f64::from(w) - values[usize::from(code(w, inverse))];
                error += difference * difference;
            }
            if error >= self.error {
                return false;
            }
        }
        (self.scale, self.error) = (scale, error);
        true
    }

    /// Looks from the best scale on.
    fn improve(&mut self) -> bool {
        let scale = self.scale;
        [self.refit(), scale.wrapping_sub(1), scale.wrapping_add(1)]
            .into_iter()
            .any(|scale| self.consider(scale))
    }

    /// The scale of the least squares for the codes of the best one.
    fn refit(&self) -> u16 {
        let inverse = 1.0 / f64::from(value(self.dtype, self.scale));
        let (mut products, mut squares) = (0.0, 0.0);
        for &w in self.weights {
            let centred = f64::from(code(w, inverse)) - f64::from(SYMMETRIC_ZERO);
            products += f64::from(w) * centred;
            squares += centred * centred;
        }
        bits(self.dtype, (products / squares) as f32)
    }
}

/// The code nearest to `w / scale`, of a symmetric weight.
#[inline]
fn code(w: f32, inverse: f64) -> u8 {
    /// Adding and subtracting this rounds to an integer, ties to even, without a call of the system's library.
    const ALIGN: f64 = 6_755_399_441_055_744.0;
    let centred = ((f64::from(w) * inverse).clamp(-8.0, LARGEST) + ALIGN) - ALIGN;
    (centred as i8 + SYMMETRIC_ZERO as i8) as u8
}

#[cfg(test)]
mod tests;
