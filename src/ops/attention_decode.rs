//! Attention of sequences that bring a few queries each, split over their keys.

use super::args::{Args, Dim};
use super::attention::{Attention, Checked, check};
use crate::Result;
use crate::gpu::{Stream, TensorMut};
use crate::params::{ATTENTION_DECODE_INVARIANT_SPLIT_KEYS, AttentionCombineParams, AttentionParams};
use crate::plan::{self, AttentionShape, Plan, Workspace};
use crate::tensor::DType;

/// What a workspace's address is a multiple of: the rows of partial results lie at multiples of 128 bytes in it.
const WORKSPACE_ALIGN: u64 = 256;

/// What [`attention_decode`] needs beside its arguments.
#[derive(Debug)]
pub struct Decode<'a> {
    /// As many bytes as the plan says or more: u8 `[bytes]` at a multiple of 256. What it holds before the launch does not
    /// matter, what it holds after it means nothing.
    pub workspace: TensorMut<'a>,
    /// Whether a sequence's result must have the same bits in every batch: splits of one size instead of one number.
    pub batch_invariant: bool,
}

/// Launches [`Attention`] for at most 8 queries a sequence: the keys of a sequence are split between blocks, and what they
/// find is combined, in a second launch. [`Error::Argument`](crate::Error::Argument) names what is wrong with an argument;
/// then nothing is launched.
pub fn attention_decode(stream: &Stream, args: &Attention<'_>, decode: &Decode<'_>) -> Result<()> {
    let check_args = Args { op: "attention_decode", stream };
    let checked = check(check_args, args)?;
    let align = if decode.workspace.as_ref().shape().contains(&0) { 1 } else { WORKSPACE_ALIGN };
    let dims = [Dim::Any("bytes")];
    let workspace = check_args.strided("workspace", &decode.workspace.as_ref(), DType::U8, dims, align)?;
    checked.check_apart(check_args, workspace.span)?;
    let shape = checked.shape;
    let limits = stream.device().properties().limits();
    let Some(plan) = plan::attention_decode(&shape, decode.batch_invariant, limits)? else { return Ok(()) };
    if workspace.shape[0] < plan.workspace_bytes {
        let expected = format!("at least {} bytes", plan.workspace_bytes);
        return Err(check_args.error("workspace", expected, workspace.shape[0]));
    }
    let mut params = checked.params;
    params.split_keys = if decode.batch_invariant { ATTENTION_DECODE_INVARIANT_SPLIT_KEYS as i32 } else { 0 };
    // The plan has checked that it fits.
    params.max_splits = plan.splits as i32;
    if plan.splits == 1 {
        // SAFETY: the tensors' makers promise that their memory is there; shapes, strides and alignment are those that the
        // kernel and the plan expect, as checked above, and the kernel bounds lengths and page indices.
        return unsafe { check_args.launch(&plan, &params) };
    }
    launch_split(check_args, &plan, &checked, params, &shape, workspace.address)
}

/// The launch that leaves the parts in the workspace, and the one that merges them.
fn launch_split(
    check_args: Args<'_>,
    plan: &Plan,
    checked: &Checked,
    params: AttentionParams,
    shape: &AttentionShape,
    workspace: u64,
) -> Result<()> {
    let &AttentionShape { dtype, head_dim, num_seqs, max_q_len, .. } = shape;
    let offsets = Workspace::new(shape, plan.splits)?;
    let address = |offset: usize| workspace + offset as u64;
    let heads = shape.num_kv_heads * shape.group;
    let rows = num_seqs * max_q_len;
    let Some(combine_plan) = plan::attention_combine(dtype, plan.splits as usize, rows, heads, head_dim)?
    else {
        return Ok(());
    };
    let result = &checked.params;
    let combine = AttentionCombineParams {
        partial_out: address(offsets.out),
        partial_lse: address(offsets.lse),
        out: result.out,
        lse: result.lse,
        queries: address(offsets.queries),
        partial_stride_split: (rows * heads * head_dim) as i64,
        partial_stride_token: (heads * head_dim) as i64,
        partial_stride_head: head_dim as i64,
        partial_lse_stride_split: (rows * heads) as i64,
        partial_lse_stride_token: heads as i64,
        out_stride_token: result.out_stride_token,
        out_stride_head: result.out_stride_head,
        lse_stride_token: result.lse_stride_token,
        // The plans have checked that they fit, and that their products do.
        num_splits: plan.splits as i32,
        num_tokens: result.num_tokens,
        num_heads: heads as i32,
        head_dim: head_dim as i32,
        num_seqs: num_seqs as i32,
        max_q_len: max_q_len as i32,
    };
    let split = AttentionParams { out: address(offsets.out), lse: address(offsets.lse), ..params };
    // SAFETY: as for a launch without splits; the workspace has room for the parts, as its size was checked.
    unsafe { check_args.launch(plan, &split) }?;
    // SAFETY: the parts lie in the workspace, written or marked as empty by the launch before; rows are those that the
    // kernel has bounded.
    unsafe { check_args.launch(&combine_plan, &combine) }
}
