//! The matrices that are quantised: checked, and read row by row.

use half::{bf16, f16};

use crate::tensor::{DType, HostTensor};
use crate::{Error, Result};

/// Rows of a quantised weight come in multiples of this: what a tile of any kernel is made of.
pub(super) const ROW_MULTIPLE: usize = 8;

/// Columns of a quantised weight come in multiples of this: one step of a tensor core.
pub(super) const COLUMN_MULTIPLE: usize = 16;

/// Matrices of floats of one width, whose bytes are all there.
#[derive(Clone, Copy)]
pub(super) struct Sources<'a> {
    op: &'static str,
    tensors: &'a [HostTensor],
    /// Columns of each.
    pub k: usize,
}

impl<'a> Sources<'a> {
    /// Checks that each of `tensors` is `[n, k]` in floats, `n` a multiple of 8 and `k` the same one of `columns`.
    pub fn new(op: &'static str, tensors: &'a [HostTensor], columns: usize) -> Result<Self> {
        let k = tensors.first().and_then(|tensor| tensor.shape.get(1)).copied().unwrap_or(0);
        tensors.iter().try_for_each(|tensor| check(op, tensor, k, columns))?;
        Ok(Sources { op, tensors, k })
    }

    /// A row, given by its matrix and its number there, in f32 (an f64 is rounded to it). Refuses what is not finite in f32,
    /// or would not be in `within`.
    pub fn row(&self, (of, row): (usize, usize), within: DType, out: &mut [f32]) -> Result<()> {
        let tensor = &self.tensors[of];
        let bytes = self.k * tensor.dtype.size();
        let bytes = &tensor.data[row * bytes..][..bytes];
        match tensor.dtype {
            DType::BF16 => read::<2>(bytes, out, |b| bf16::from_le_bytes(b).to_f32()),
            DType::F16 => read::<2>(bytes, out, |b| f16::from_le_bytes(b).to_f32()),
            DType::F32 => read::<4>(bytes, out, f32::from_le_bytes),
            _ => read::<8>(bytes, out, |b| f64::from_le_bytes(b) as f32),
        }
        match out.iter().position(|&w| !round(within, w).is_finite()) {
            None => Ok(()),
            Some(column) => {
                let given = format!("{} at row {row}, column {column} of {}", out[column], tensor.name);
                Err(Error::argument(self.op, "weight", format!("finite numbers in {within}"), given))
            }
        }
    }
}

fn check(op: &'static str, tensor: &HostTensor, k: usize, columns: usize) -> Result<()> {
    let wrong = |expected: String| {
        let given = format!("{} of type {} and shape {:?}", tensor.name, tensor.dtype, tensor.shape);
        Error::argument(op, "weight", expected, given)
    };
    let &[n, width] = &tensor.shape[..] else { return Err(wrong("a matrix of floats".into())) };
    if !tensor.dtype.is_float() {
        return Err(wrong("a matrix of floats".into()));
    }
    if !n.is_multiple_of(ROW_MULTIPLE) {
        return Err(wrong(format!("rows in a multiple of {ROW_MULTIPLE}")));
    }
    if width == 0 || !width.is_multiple_of(columns) {
        return Err(wrong(format!("columns in a multiple of {columns}")));
    }
    if width != k {
        return Err(wrong(format!("{k} columns, as the first part has")));
    }
    let bytes = n.checked_mul(k).and_then(|elements| elements.checked_mul(tensor.dtype.size()));
    if bytes != Some(tensor.data.len()) {
        let given = format!("{} bytes in {}", tensor.data.len(), tensor.name);
        return Err(Error::argument(op, "weight", format!("[{n}, {k}] in {}", tensor.dtype), given));
    }
    Ok(())
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
