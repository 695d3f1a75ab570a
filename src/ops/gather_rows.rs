//! Rows of a matrix, by index.

use super::args::Args;
use crate::gpu::{Stream, TensorMut, TensorRef};
use crate::params::{DEVICE_ERROR_ROW_INDEX, EmbedParams};
use crate::tensor::DType;
use crate::{Result, plan};

/// `out[r,:] = x[rows[r],:]`, a row of zeros for an index outside of `x`.
#[derive(Debug)]
pub struct GatherRows<'a> {
    /// bf16 or f16 `[T, D]`, `D` a multiple of 8.
    pub x: TensorRef<'a>,
    /// i32 `[R]`.
    pub rows: TensorRef<'a>,
    /// `[R, D]` in x's type.
    pub out: TensorMut<'a>,
    /// u32 `[1]`: gets the bit [`DEVICE_ERROR_ROW_INDEX`](crate::params::DEVICE_ERROR_ROW_INDEX) where an index lies outside
    /// `0..T`; its other bits stay.
    pub error: Option<TensorMut<'a>>,
}

/// Launches [`GatherRows`]. [`Error::Argument`](crate::Error::Argument) names what is wrong with an argument; then nothing is
/// launched.
pub fn gather_rows(stream: &Stream, args: &GatherRows<'_>) -> Result<()> {
    let check = Args { op: "gather_rows", stream };
    let rows = check.list("rows", &args.rows, DType::I32, None)?;
    let x = check.matrix("x", &args.x, None, None)?;
    let out = check.matrix("out", &args.out.as_ref(), Some(rows.width), Some(x.width))?;
    check.check_dtype("out", args.out.as_ref().dtype(), args.x.dtype())?;
    let num_tokens = i32::try_from(x.count).map_err(|_| check.error("x", "fewer than 2^31 rows", x.count))?;
    check.check_apart(out)?;
    check.check_disjoint(out, rows)?;
    check.check_disjoint(out, x)?;
    let error = args.error.as_ref().map(|error| check.list("error", &error.as_ref(), DType::U32, Some(1)));
    let error = error.transpose()?;
    if let Some(error) = error {
        for other in [rows, x, out] {
            check.check_disjoint(error, other)?;
        }
    }
    let Some(plan) = plan::gather_rows(rows.width, x.width)? else { return Ok(()) };
    // The rows of x are a table to the kernel.
    let params = EmbedParams {
        ids: rows.address,
        table: x.address,
        out: out.address,
        error: error.map_or(0, |error| error.address),
        table_stride_row: x.stride,
        out_stride_token: out.stride,
        // The plan has checked that both fit.
        num_tokens: rows.width as i32,
        hidden: x.width as i32,
        vocab_size: num_tokens,
        error_bit: DEVICE_ERROR_ROW_INDEX,
    };
    // SAFETY: the tensors' makers promise that their memory is there; shapes, strides and alignment are those that the
    // kernel and the plan expect, as checked above, and the kernel bounds the indices.
    unsafe { check.launch(&plan, &params) }
}
