//! Rows of the embedding table.

use super::args::Args;
use crate::gpu::{Stream, TensorMut, TensorRef};
use crate::params::{DEVICE_ERROR_TOKEN_ID, EmbedParams};
use crate::tensor::DType;
use crate::{Result, plan};

/// `out[t,:] = table[ids[t],:]`, a row of zeros for an id outside the table.
#[derive(Debug)]
pub struct Embed<'a> {
    /// i32 `[T]`.
    pub ids: TensorRef<'a>,
    /// bf16 or f16 `[V, D]`, `D` a multiple of 8.
    pub table: TensorRef<'a>,
    /// `[T, D]` in the table's type.
    pub out: TensorMut<'a>,
    /// u32 `[1]`: gets the bit [`DEVICE_ERROR_TOKEN_ID`](crate::params::DEVICE_ERROR_TOKEN_ID) where an id lies outside
    /// `0..V`; its other bits stay.
    pub error: Option<TensorMut<'a>>,
}

/// Launches [`Embed`]. [`Error::Argument`](crate::Error::Argument) names what is wrong with an argument; then nothing is
/// launched.
pub fn embed(stream: &Stream, args: &Embed<'_>) -> Result<()> {
    let check = Args { op: "embed", stream };
    let ids = check.list("ids", &args.ids, DType::I32, None)?;
    let table = check.matrix("table", &args.table, None, None)?;
    let out = check.matrix("out", &args.out.as_ref(), Some(ids.width), Some(table.width))?;
    check.check_dtype("out", args.out.as_ref().dtype(), args.table.dtype())?;
    let vocab_size =
        i32::try_from(table.count).map_err(|_| check.error("table", "fewer than 2^31 rows", table.count))?;
    check.check_apart(out)?;
    check.check_disjoint(out, ids)?;
    check.check_disjoint(out, table)?;
    let error = args.error.as_ref().map(|error| check.list("error", &error.as_ref(), DType::U32, Some(1)));
    let error = error.transpose()?;
    if let Some(error) = error {
        for other in [ids, table, out] {
            check.check_disjoint(error, other)?;
        }
    }
    let Some(plan) = plan::embed(ids.width, table.width)? else { return Ok(()) };
    let params = EmbedParams {
        ids: ids.address,
        table: table.address,
        out: out.address,
        error: error.map_or(0, |error| error.address),
        table_stride_row: table.stride,
        out_stride_token: out.stride,
        // The plan has checked that both fit.
        num_tokens: ids.width as i32,
        hidden: table.width as i32,
        vocab_size,
        error_bit: DEVICE_ERROR_TOKEN_ID,
    };
    // SAFETY: the tensors' makers promise that their memory is there; shapes, strides and alignment are those that the
    // kernel and the plan expect, as checked above.
    unsafe { check.launch(&plan, &params) }
}
