//! How a result is judged: tests and `llama-kernels check` use the same rule.

use std::fmt;

use super::real::round;
use crate::tensor::DType;
use crate::{Error, Result};

/// Numbers in rows.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    values: &'a [f64],
    width: usize,
}

impl<'a> Matrix<'a> {
    /// Rows of `width` numbers.
    pub fn new(values: &'a [f64], width: usize) -> Self {
        Matrix { values, width: width.max(1) }
    }
}

/// The element of a result that takes up most of its bound.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
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

impl std::error::Error for Worst {}

/// FlashAttention's rule, row by row: `|out - reference| <= 2 max|naive - reference| + atol`, with
/// `atol = 2 max|round(round(reference + 0.3) - 0.3) - reference|`.
///
/// `reference` is the formula in f64; `naive` the same formula rounded to `dtype` wherever the kernel stores, which says
/// how much error the format itself brings; `round` is to `dtype`. Where the reference is not finite the result must be
/// the same, and where `naive` alone is not (it overflowed), the result may be what `naive` is. Elements that one of the
/// three lacks differ.
///
/// Returns the worst element, as an error if it exceeds its bound.
pub fn elementwise(
    out: Matrix<'_>,
    reference: Matrix<'_>,
    naive: Matrix<'_>,
    dtype: DType,
) -> Result<Worst, Worst> {
    let width = reference.width;
    let mut worst = Worst::default();
    let lengths = [out.values.len(), reference.values.len(), naive.values.len()];
    let common = lengths.into_iter().min().unwrap_or(0);
    if lengths != [common; 3] || out.width != width || naive.width != width {
        let at = |matrix: Matrix<'_>| matrix.values.get(common).copied().unwrap_or(f64::NAN);
        let (row, column) = (common / width, common % width);
        return Err(Worst {
            row,
            column,
            out: at(out),
            reference: at(reference),
            error: f64::INFINITY,
            bound: 0.0,
        });
    }
    let rows = reference.values.chunks(width).zip(out.values.chunks(width)).zip(naive.values.chunks(width));
    for (row, ((reference, out), naive)) in rows.enumerate() {
        let bound = bound(reference, naive, dtype);
        for (column, ((&out, &reference), &naive)) in out.iter().zip(reference).zip(naive).enumerate() {
            let element = Worst { row, column, out, reference, error: error(out, reference, naive), bound };
            if element.share() > worst.share() {
                worst = element;
            }
        }
    }
    if worst.error <= worst.bound { Ok(worst) } else { Err(worst) }
}

/// What an element of a row may be off by.
fn bound(reference: &[f64], naive: &[f64], dtype: DType) -> f64 {
    let of_format = reference.iter().zip(naive).map(|(x, naive)| (naive - x).abs());
    let of_store = reference.iter().map(|&x| (round(dtype, round(dtype, x + 0.3) - 0.3) - x).abs());
    let largest = |max: f64, error: f64| if error.is_finite() { max.max(error) } else { max };
    2.0 * of_format.fold(0.0, largest) + 2.0 * of_store.fold(0.0, largest)
}

/// What an element is off by.
fn error(out: f64, reference: f64, naive: f64) -> f64 {
    let same = |a: f64, b: f64| a == b || (a.is_nan() && b.is_nan());
    if same(out, reference) || (!naive.is_finite() && same(out, naive)) {
        return 0.0;
    }
    let error = (out - reference).abs();
    if error.is_nan() { f64::INFINITY } else { error }
}

/// Compares results bit by bit, as `width` elements of `dtype` a row; the error names the first that differs.
pub fn bitwise(out: &[u8], expected: &[u8], dtype: DType, width: usize) -> Result<()> {
    let (size, width) = (dtype.size(), width.max(1));
    if out.len() != expected.len() {
        return Err(Error::argument("compare", "out", format!("{} bytes", expected.len()), out.len()));
    }
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
