//! How a result is judged: tests and `llama-kernels check` use the same rule.

use std::fmt;

use super::real::round;
use crate::tensor::DType;
use crate::{Error, Result};

/// The element of a result that comes closest to its bound, or exceeds it furthest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Worst {
    /// Its row.
    pub row: usize,
    /// Its column.
    pub column: usize,
    /// What was computed.
    pub out: f64,
    /// What is right.
    pub reference: f64,
    /// How far they are apart; infinite where one is a number and the other is not.
    pub error: f64,
    /// How far they may be.
    pub bound: f64,
}

impl Worst {
    /// Whether it, and so every element, is within its bound.
    pub fn passes(&self) -> bool {
        self.error <= self.bound
    }

    /// The part of its bound that the error takes up.
    pub fn share(&self) -> f64 {
        if self.error == 0.0 { 0.0 } else { self.error / self.bound }
    }
}

impl fmt::Display for Worst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Worst { row, column, out, reference, error, bound } = self;
        write!(f, "[{row}, {column}] is {out}, expected {reference}: off by {error:.3e}, may be {bound:.3e}")
    }
}

/// FlashAttention's rule, row by row of `width` elements: `|out - reference| <= 2 max|naive - reference| + atol`, with
/// `atol = 2 max|round(round(reference + 0.3) - 0.3) - reference|`.
///
/// `reference` is the formula in f64; `naive` the same formula rounded to `dtype` wherever the kernel stores, which says
/// how much error the format itself brings; `round` is to `dtype`. Where the reference is not finite the result must be
/// the same, and where `naive` alone is not (it overflowed), the result may be what `naive` is.
///
/// Errors if the slices differ in length or are no rows of `width`.
pub fn elementwise(
    dtype: DType,
    width: usize,
    out: &[f64],
    reference: &[f64],
    naive: &[f64],
) -> Result<Worst> {
    check_rows("out", out.len(), reference.len(), width)?;
    check_rows("naive", naive.len(), reference.len(), width)?;
    let mut worst = Worst { row: 0, column: 0, out: 0.0, reference: 0.0, error: 0.0, bound: 0.0 };
    for row in 0..reference.len().checked_div(width).unwrap_or(0) {
        let range = row * width..(row + 1) * width;
        let (out, reference, naive) = (&out[range.clone()], &reference[range.clone()], &naive[range]);
        let largest = |errors: &mut dyn Iterator<Item = f64>| {
            errors.filter(|error| error.is_finite()).fold(0.0, f64::max)
        };
        let of_format = largest(&mut naive.iter().zip(reference).map(|(naive, x)| (naive - x).abs()));
        let of_store =
            largest(&mut reference.iter().map(|&x| (round(dtype, round(dtype, x + 0.3) - 0.3) - x).abs()));
        let bound = 2.0 * of_format + 2.0 * of_store;
        for (column, ((&out, &reference), &naive)) in out.iter().zip(reference).zip(naive).enumerate() {
            let same = out == reference || (out.is_nan() && reference.is_nan());
            let overflowed = !naive.is_finite() && (out == naive || (out.is_nan() && naive.is_nan()));
            let error = if same || overflowed { 0.0 } else { (out - reference).abs() };
            let error = if error.is_nan() { f64::INFINITY } else { error };
            let element = Worst { row, column, out, reference, error, bound };
            if element.share() > worst.share() {
                worst = element;
            }
        }
    }
    Ok(worst)
}

/// Compares results bit by bit, as `width` elements of `dtype` a row; the error names the first that differs.
pub fn bitwise(dtype: DType, width: usize, out: &[u8], expected: &[u8]) -> Result<()> {
    let size = dtype.size();
    check_rows("out", out.len(), expected.len(), width * size)?;
    let mut elements = out.chunks(size).zip(expected.chunks(size)).enumerate();
    let Some((i, (out, expected))) = elements.find(|(_, (out, expected))| out != expected) else {
        return Ok(());
    };
    let hex = |bytes: &[u8]| {
        let digits: String = bytes.iter().rev().map(|byte| format!("{byte:02x}")).collect();
        format!("0x{digits} at [{}, {}]", i / width, i % width)
    };
    Err(Error::argument("compare", "out", hex(expected), hex(out)))
}

fn check_rows(arg: &'static str, given: usize, expected: usize, width: usize) -> Result<()> {
    let whole = if width == 0 { expected == 0 } else { expected.is_multiple_of(width) };
    if given != expected || !whole {
        let expected = format!("{expected} in rows of {width}");
        return Err(Error::argument("compare", arg, expected, given));
    }
    Ok(())
}
