//! RMSNorm, alone and with the addition to the residual stream before it.

use super::args::{Args, Rows};
use super::permute_columns::Permutation;
use super::quantize_fp8::{Fp8Mut, Fp8Rows};
use crate::gpu::{Stream, TensorMut, TensorRef};
use crate::params::{AddRmsNormFp8Params, AddRmsNormParams, RmsNormFp8Params, RmsNormParams};
use crate::{Result, plan};

/// `out = round(x * rsqrt(mean(x^2) + eps)) * weight` over each row; `round` is to the element type, as in Llama. Sums are
/// f32.
#[derive(Debug)]
pub struct RmsNorm<'a> {
    /// bf16 or f16 `[T, D]`, `D` a multiple of 8, at most [`plan::MAX_ROW`].
    pub x: TensorRef<'a>,
    /// `[D]` in x's type.
    pub weight: TensorRef<'a>,
    /// Added to the mean of squares: finite, not negative.
    pub eps: f32,
    /// i32 `[D]`: column `j` of `out` is column `columns[j]` of the result, for a weight whose columns are stored in
    /// that order; zero for an index outside of `0..D`.
    pub columns: Option<TensorRef<'a>>,
    /// `[T, D]` in x's type; may be `x` itself.
    pub out: TensorMut<'a>,
    /// u32 `[1]`: gets the bit [`DEVICE_ERROR_COLUMN`](crate::params::DEVICE_ERROR_COLUMN) where an index lies outside of
    /// `0..D`; its other bits stay.
    pub error: Option<TensorMut<'a>>,
}

/// `residual = round(residual + x)`, stored, then [`RmsNorm`] of the stored residual.
#[derive(Debug)]
pub struct AddRmsNorm<'a> {
    /// bf16 or f16 `[T, D]`, `D` a multiple of 8, at most [`plan::MAX_ROW`].
    pub x: TensorRef<'a>,
    /// `[T, D]` in x's type, read and written.
    pub residual: TensorMut<'a>,
    /// `[D]` in x's type.
    pub weight: TensorRef<'a>,
    /// Added to the mean of squares: finite, not negative.
    pub eps: f32,
    /// i32 `[D]`: column `j` of `out` is column `columns[j]` of the result, for a weight whose columns are stored in
    /// that order; zero for an index outside of `0..D`.
    pub columns: Option<TensorRef<'a>>,
    /// `[T, D]` in x's type; may be `x` itself.
    pub out: TensorMut<'a>,
    /// u32 `[1]`: gets the bit [`DEVICE_ERROR_COLUMN`](crate::params::DEVICE_ERROR_COLUMN) where an index lies outside of
    /// `0..D`; its other bits stay.
    pub error: Option<TensorMut<'a>>,
}

/// [`RmsNorm`], and [`quantize_fp8`](super::quantize_fp8) of its result: the same bits as those two, in one launch.
#[derive(Debug)]
pub struct RmsNormFp8<'a> {
    /// bf16 or f16 `[T, D]`, `D` a multiple of 8, at most [`plan::MAX_ROW`].
    pub x: TensorRef<'a>,
    /// `[D]` in x's type.
    pub weight: TensorRef<'a>,
    /// Added to the mean of squares: finite, not negative.
    pub eps: f32,
    /// `[T, D]`.
    pub out: Fp8Mut<'a>,
}

/// [`AddRmsNorm`], and [`quantize_fp8`](super::quantize_fp8) of its result: the same bits as those two, in one launch.
#[derive(Debug)]
pub struct AddRmsNormFp8<'a> {
    /// bf16 or f16 `[T, D]`, `D` a multiple of 8, at most [`plan::MAX_ROW`].
    pub x: TensorRef<'a>,
    /// `[T, D]` in x's type, read and written.
    pub residual: TensorMut<'a>,
    /// `[D]` in x's type.
    pub weight: TensorRef<'a>,
    /// Added to the mean of squares: finite, not negative.
    pub eps: f32,
    /// `[T, D]`.
    pub out: Fp8Mut<'a>,
}

/// The inputs that all have in common, checked.
#[derive(Clone, Copy)]
struct Inputs {
    x: Rows,
    weight: Rows,
}

fn check_inputs(check: Args<'_>, x: &TensorRef<'_>, weight: &TensorRef<'_>, eps: f32) -> Result<Inputs> {
    let rows = check.matrix("x", x, None, None)?;
    let weight_row = check.vector("weight", weight, rows.width)?;
    check.check_dtype("weight", weight.dtype(), x.dtype())?;
    if !eps.is_finite() || eps < 0.0 {
        return Err(check.error("eps", "a finite number that is not negative", eps));
    }
    Ok(Inputs { x: rows, weight: weight_row })
}

fn check_out(check: Args<'_>, inputs: Inputs, x: &TensorRef<'_>, out: &TensorRef<'_>) -> Result<Rows> {
    let rows = check.matrix("out", out, Some(inputs.x.count), Some(inputs.x.width))?;
    check.check_dtype("out", out.dtype(), x.dtype())?;
    check.check_apart(rows)?;
    check.check_disjoint_or_same(rows, inputs.x)?;
    check.check_disjoint(rows, inputs.weight)?;
    Ok(rows)
}

fn check_fp8(check: Args<'_>, inputs: Inputs, out: &Fp8Mut<'_>) -> Result<Fp8Rows> {
    let out = Fp8Rows::new(check, out, [inputs.x.count, inputs.x.width])?;
    out.check_disjoint(check, inputs.x)?;
    out.check_disjoint(check, inputs.weight)?;
    Ok(out)
}

fn check_residual(
    check: Args<'_>,
    inputs: Inputs,
    x: &TensorRef<'_>,
    residual: &TensorRef<'_>,
    outs: &[Rows],
) -> Result<Rows> {
    let rows = check.matrix("residual", residual, Some(inputs.x.count), Some(inputs.x.width))?;
    check.check_dtype("residual", residual.dtype(), x.dtype())?;
    check.check_apart(rows)?;
    for &other in [inputs.x, inputs.weight].iter().chain(outs) {
        check.check_disjoint(rows, other)?;
    }
    Ok(rows)
}

/// Launches [`RmsNorm`]. [`Error::Argument`](crate::Error::Argument) names what is wrong with an argument; then nothing is
/// launched.
pub fn rms_norm(stream: &Stream, args: &RmsNorm<'_>) -> Result<()> {
    let check = Args { op: "rms_norm", stream };
    let inputs = check_inputs(check, &args.x, &args.weight, args.eps)?;
    let out = check_out(check, inputs, &args.x, &args.out.as_ref())?;
    let Inputs { x, weight } = inputs;
    let permutation =
        Permutation::new(check, args.columns.as_ref(), args.error.as_ref(), &[x, weight], &[out])?;
    let permuted = args.columns.is_some();
    let Some(plan) = plan::rms_norm(args.x.dtype(), x.count, x.width, permuted)? else { return Ok(()) };
    let params = RmsNormParams {
        x: x.address,
        weight: weight.address,
        out: out.address,
        columns: permutation.columns,
        error: permutation.error,
        x_stride_token: x.stride,
        out_stride_token: out.stride,
        // The plan has checked that both fit.
        num_tokens: x.count as i32,
        hidden: x.width as i32,
        eps: args.eps,
        padding: 0,
    };
    // SAFETY: the tensors' makers promise that their memory is there; shapes, strides and alignment are those that the
    // kernel and the plan expect, as checked above, and the kernel bounds the indices.
    unsafe { check.launch(&plan, &params) }
}

/// Launches [`AddRmsNorm`]. [`Error::Argument`](crate::Error::Argument) names what is wrong with an argument; then nothing
/// is launched.
pub fn add_rms_norm(stream: &Stream, args: &AddRmsNorm<'_>) -> Result<()> {
    let check = Args { op: "add_rms_norm", stream };
    let inputs = check_inputs(check, &args.x, &args.weight, args.eps)?;
    let out = check_out(check, inputs, &args.x, &args.out.as_ref())?;
    let residual = check_residual(check, inputs, &args.x, &args.residual.as_ref(), &[out])?;
    let Inputs { x, weight } = inputs;
    let permutation =
        Permutation::new(check, args.columns.as_ref(), args.error.as_ref(), &[x, weight], &[residual, out])?;
    let permuted = args.columns.is_some();
    let Some(plan) = plan::add_rms_norm(args.x.dtype(), x.count, x.width, permuted)? else { return Ok(()) };
    let params = AddRmsNormParams {
        x: x.address,
        residual: residual.address,
        weight: weight.address,
        out: out.address,
        columns: permutation.columns,
        error: permutation.error,
        x_stride_token: x.stride,
        residual_stride_token: residual.stride,
        out_stride_token: out.stride,
        // The plan has checked that both fit.
        num_tokens: x.count as i32,
        hidden: x.width as i32,
        eps: args.eps,
        padding: 0,
    };
    // SAFETY: the tensors' makers promise that their memory is there; shapes, strides and alignment are those that the
    // kernel and the plan expect, as checked above, and the kernel bounds the indices.
    unsafe { check.launch(&plan, &params) }
}

/// Launches [`RmsNormFp8`]. [`Error::Argument`](crate::Error::Argument) names what is wrong with an argument; then nothing is
/// launched.
pub fn rms_norm_fp8(stream: &Stream, args: &RmsNormFp8<'_>) -> Result<()> {
    let check = Args { op: "rms_norm_fp8", stream };
    let inputs = check_inputs(check, &args.x, &args.weight, args.eps)?;
    let out = check_fp8(check, inputs, &args.out)?;
    let Inputs { x, weight } = inputs;
    let groups = out.scale.width;
    let Some(plan) = plan::rms_norm_fp8(args.x.dtype(), x.count, x.width, groups)? else { return Ok(()) };
    let params = RmsNormFp8Params {
        x: x.address,
        weight: weight.address,
        codes: out.codes.address,
        scale: out.scale.address,
        x_stride_token: x.stride,
        codes_stride_token: out.codes.stride,
        scale_stride_token: out.scale.stride,
        // The plan has checked that they fit.
        num_tokens: x.count as i32,
        hidden: x.width as i32,
        groups: groups as i32,
        eps: args.eps,
    };
    // SAFETY: the tensors' makers promise that their memory is there; shapes, strides and alignment are those that the
    // kernel and the plan expect, as checked above.
    unsafe { check.launch(&plan, &params) }
}

/// Launches [`AddRmsNormFp8`]. [`Error::Argument`](crate::Error::Argument) names what is wrong with an argument; then nothing is
/// launched.
pub fn add_rms_norm_fp8(stream: &Stream, args: &AddRmsNormFp8<'_>) -> Result<()> {
    let check = Args { op: "add_rms_norm_fp8", stream };
    let inputs = check_inputs(check, &args.x, &args.weight, args.eps)?;
    let out = check_fp8(check, inputs, &args.out)?;
    let residual = check_residual(check, inputs, &args.x, &args.residual.as_ref(), &[out.codes, out.scale])?;
    let Inputs { x, weight } = inputs;
    let groups = out.scale.width;
    let Some(plan) = plan::add_rms_norm_fp8(args.x.dtype(), x.count, x.width, groups)? else { return Ok(()) };
    let params = AddRmsNormFp8Params {
        x: x.address,
        residual: residual.address,
        weight: weight.address,
        codes: out.codes.address,
        scale: out.scale.address,
        x_stride_token: x.stride,
        residual_stride_token: residual.stride,
        codes_stride_token: out.codes.stride,
        scale_stride_token: out.scale.stride,
        // The plan has checked that they fit.
        num_tokens: x.count as i32,
        hidden: x.width as i32,
        groups: groups as i32,
        eps: args.eps,
    };
    // SAFETY: the tensors' makers promise that their memory is there; shapes, strides and alignment are those that the
    // kernel and the plan expect, as checked above.
    unsafe { check.launch(&plan, &params) }
}
