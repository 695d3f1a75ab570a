//! Merging attention over parts of the keys.

use super::args::{Args, Dim};
use crate::gpu::{Stream, TensorMut, TensorRef};
use crate::params::AttentionCombineParams;
use crate::tensor::DType;
use crate::{Result, plan};

/// Bytes that the kernel loads at once.
const VECTOR_BYTES: u64 = 16;

/// `out = sum_s exp(lse_s - lse) * partial_s` with `lse = log(sum_s exp(lse_s))`: attention over all keys from attention over
/// disjoint parts of them, such as a prefix that sequences share and what each has of its own. A part whose `lse` is -inf is
/// not read; where all are, `out` is 0 and `lse` -inf.
///
/// The same parts give the same bits in any batch, and parts without keys behind them, however many, change none.
#[derive(Debug)]
pub struct AttentionCombine<'a> {
    /// f32 `[S, T, Hq, hd]`, `hd` a multiple of 8, at most [`plan::MAX_COMBINED_HEAD_DIM`]; `S` at least 1.
    pub partial_out: TensorRef<'a>,
    /// f32 `[S, T, Hq]`, natural logarithms.
    pub partial_lse: TensorRef<'a>,
    /// bf16 or f16 `[T, Hq, hd]`.
    pub out: TensorMut<'a>,
    /// f32 `[T, Hq]`.
    pub lse: Option<TensorMut<'a>>,
}

/// Launches [`AttentionCombine`]. [`Error::Argument`](crate::Error::Argument) names what is wrong with an argument; then
/// nothing is launched.
pub fn attention_combine(stream: &Stream, args: &AttentionCombine<'_>) -> Result<()> {
    let check = Args { op: "attention_combine", stream };
    let dtype = args.out.as_ref().dtype();
    if !matches!(dtype, DType::BF16 | DType::F16) {
        return Err(check.error("out", "bf16 or f16", dtype));
    }
    let dims =
        [Dim::Any("num_splits"), Dim::Any("num_tokens"), Dim::Any("num_q_heads"), Dim::Any("head_dim")];
    let partial_out = check.strided("partial_out", &args.partial_out, DType::F32, dims, VECTOR_BYTES)?;
    let [num_splits, num_tokens, num_heads, head_dim] = partial_out.shape;
    let dims = [num_splits, num_tokens, num_heads].map(Dim::Is);
    let align = size_of::<f32>() as u64;
    let partial_lse = check.strided("partial_lse", &args.partial_lse, DType::F32, dims, align)?;
    let dims = [num_tokens, num_heads, head_dim].map(Dim::Is);
    let out = check.strided("out", &args.out.as_ref(), dtype, dims, VECTOR_BYTES)?;
    let lse = args.lse.as_ref().map(|lse| {
        let dims = [num_tokens, num_heads].map(Dim::Is);
        check.strided("lse", &lse.as_ref(), DType::F32, dims, align)
    });
    let lse = lse.transpose()?;
    let inputs = [partial_out.span, partial_lse.span];
    check.check_written(out.span, &inputs)?;
    if let Some(lse) = &lse {
        check.check_written(lse.span, &inputs)?;
        check.check_written(lse.span, &[out.span])?;
    }
    let plan = plan::attention_combine(dtype, num_splits, num_tokens, num_heads, head_dim)?;
    let Some(plan) = plan else { return Ok(()) };
    let params = AttentionCombineParams {
        partial_out: partial_out.address,
        partial_lse: partial_lse.address,
        out: out.address,
        lse: lse.map_or(0, |lse| lse.address),
        partial_stride_split: partial_out.strides[0],
        partial_stride_token: partial_out.strides[1],
        partial_stride_head: partial_out.strides[2],
        partial_lse_stride_split: partial_lse.strides[0],
        partial_lse_stride_token: partial_lse.strides[1],
        out_stride_token: out.strides[0],
        out_stride_head: out.strides[1],
        lse_stride_token: lse.map_or(0, |lse| lse.strides[0]),
        // The plan has checked that they fit.
        num_splits: num_splits as i32,
        num_tokens: num_tokens as i32,
        num_heads: num_heads as i32,
        head_dim: head_dim as i32,
        ..Default::default()
    };
    // SAFETY: the tensors' makers promise that their memory is there; shapes, strides and alignment are those that the
    // kernel and the plan expect, as checked above.
    unsafe { check.launch(&plan, &params) }
}
