//! The matrix that is quantised: checked, and read row by row.

use half::{bf16, f16};

use crate::tensor::{DType, HostTensor};
use crate::{Error, Result};

/// Rows of a quantised weight come in multiples of this: what a tile of any kernel is made of.
pub(super) const ROW_MULTIPLE: usize = 8;

/// Columns of a quantised weight come in multiples of this: one step of a tensor core.
pub(super) const COLUMN_MULTIPLE: usize = 16;

/// A matrix of floats whose bytes are all there.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    op: &'static str,
    tensor: &'a HostTensor,
    pub n: usize,
    pub k: usize,
}

impl<'a> Source<'a> {
    /// Checks that `tensor` is `[n, k]` in floats, `n` a multiple of 8 and `k` one of `columns`.
    pub fn new(op: &'static str, tensor: &'a HostTensor, columns: usize) -> Result<Self> {
        let wrong = |expected: String| {
            let given = format!("{} of type {} and shape {:?}", tensor.name, tensor.dtype, tensor.shape);
            Error::argument(op, "weight", expected, given)
        };
        let &[n, k] = &tensor.shape[..] else { return Err(wrong("a matrix of floats".into())) };
        if !tensor.dtype.is_float() {
            return Err(wrong("a matrix of floats".into()));
        }
        if !n.is_multiple_of(ROW_MULTIPLE) {
            return Err(wrong(format!("rows in a multiple of {ROW_MULTIPLE}")));
        }
        if k == 0 || !k.is_multiple_of(columns) {
            return Err(wrong(format!("columns in a multiple of {columns}")));
        }
        let bytes = n.checked_mul(k).and_then(|elements| elements.checked_mul(tensor.dtype.size()));
        if bytes != Some(tensor.data.len()) {
            let given = format!("{} bytes in {}", tensor.data.len(), tensor.name);
            return Err(Error::argument(op, "weight", format!("[{n}, {k}] in {}", tensor.dtype), given));
        }
        Ok(Source { op, tensor, n, k })
    }

    /// Row `row` in f32 (an f64 is rounded to it). Refuses what is not finite in f32, or would not be in `within`.
    pub fn row(&self, row: usize, within: DType, out: &mut [f32]) -> Result<()> {
        let bytes = self.k * self.tensor.dtype.size();
        let bytes = &self.tensor.data[row * bytes..][..bytes];
        match self.tensor.dtype {
            DType::BF16 => read::<2>(bytes, out, |b| bf16::from_le_bytes(b).to_f32()),
            DType::F16 => read::<2>(bytes, out, |b| f16::from_le_bytes(b).to_f32()),
            DType::F32 => read::<4>(bytes, out, f32::from_le_bytes),
            _ => read::<8>(bytes, out, |b| f64::from_le_bytes(b) as f32),
        }
        match out.iter().position(|&w| !round(within, w).is_finite()) {
            None => Ok(()),
            Some(column) => {
                let given = format!("{} at row {row}, column {column} of {}", out[column], self.tensor.name);
                Err(Error::argument(self.op, "weight", format!("finite numbers in {within}"), given))
            }
        }
    }
}

/// Reads little-endian elements at any alignment.
fn read<const SIZE: usize>(bytes: &[u8], out: &mut [f32], from: impl Fn([u8; SIZE]) -> f32) {
    for (out, bytes) in out.iter_mut().zip(bytes.as_chunks::<SIZE>().0) {
        *out = from(*bytes);
    }
}

/// `x` rounded to nearest even in bf16 or f16; as it is for other types.
#[inline]
pub(super) fn round(dtype: DType, x: f32) -> f32 {
    match dtype {
        DType::BF16 => bf16::from_f32(x).to_f32(),
        DType::F16 => f16::from_f32(x).to_f32(),
        _ => x,
    }
}
