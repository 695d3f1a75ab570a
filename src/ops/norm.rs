//! RMSNorm, alone and with the addition to the residual stream before it.

use super::args::{Args, Rows};
use crate::gpu::{Stream, TensorMut, TensorRef};
use crate::params::{AddRmsNormParams, RmsNormParams};
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
    /// `[T, D]` in x's type; may be `x` itself.
    pub out: TensorMut<'a>,
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
    /// `[T, D]` in x's type; may be `x` itself.
    pub out: TensorMut<'a>,
}

/// The arguments that both have in common, checked.
struct Checked {
    x: Rows,
    weight: Rows,
    out: Rows,
}

fn check(
    check: Args<'_>,
    x: &TensorRef<'_>,
    weight: &TensorRef<'_>,
    eps: f32,
    out: &TensorRef<'_>,
) -> Result<Checked> {
    let rows = check.matrix("x", x, None, None)?;
    let weight_row = check.vector("weight", weight, rows.width)?;
    check.check_dtype("weight", weight.dtype(), x.dtype())?;
    let out_rows = check.matrix("out", out, Some(rows.count), Some(rows.width))?;
    check.check_dtype("out", out.dtype(), x.dtype())?;
    if !eps.is_finite() || eps < 0.0 {
        return Err(check.error("eps", "a finite number that is not negative", eps));
    }
    check.check_apart(out_rows)?;
    check.check_disjoint_or_same(out_rows, rows)?;
    check.check_disjoint(out_rows, weight_row)?;
    Ok(Checked { x: rows, weight: weight_row, out: out_rows })
}

/// Launches [`RmsNorm`]. [`Error::Argument`](crate::Error::Argument) names what is wrong with an argument; then nothing is
/// launched.
pub fn rms_norm(stream: &Stream, args: &RmsNorm<'_>) -> Result<()> {
    let check_args = Args { op: "rms_norm", stream };
    let Checked { x, weight, out } = check(check_args, &args.x, &args.weight, args.eps, &args.out.as_ref())?;
    let Some(plan) = plan::rms_norm(args.x.dtype(), x.count, x.width)? else { return Ok(()) };
    let params = RmsNormParams {
        x: x.address,
        weight: weight.address,
        out: out.address,
        x_stride_token: x.stride,
        out_stride_token: out.stride,
        // The plan has checked that both fit.
        num_tokens: x.count as i32,
        hidden: x.width as i32,
        eps: args.eps,
        padding: 0,
    };
    // SAFETY: the tensors' makers promise that their memory is there; shapes, strides and alignment are those that the
    // kernel and the plan expect, as checked above.
    unsafe { check_args.launch(&plan, &params) }
}

/// Launches [`AddRmsNorm`]. [`Error::Argument`](crate::Error::Argument) names what is wrong with an argument; then nothing
/// is launched.
pub fn add_rms_norm(stream: &Stream, args: &AddRmsNorm<'_>) -> Result<()> {
    let check_args = Args { op: "add_rms_norm", stream };
    let Checked { x, weight, out } = check(check_args, &args.x, &args.weight, args.eps, &args.out.as_ref())?;
    let residual = check_args.matrix("residual", &args.residual.as_ref(), Some(x.count), Some(x.width))?;
    check_args.check_dtype("residual", args.residual.as_ref().dtype(), args.x.dtype())?;
    check_args.check_apart(residual)?;
    for other in [x, weight, out] {
        check_args.check_disjoint(residual, other)?;
    }
    let Some(plan) = plan::add_rms_norm(args.x.dtype(), x.count, x.width)? else { return Ok(()) };
    let params = AddRmsNormParams {
        x: x.address,
        residual: residual.address,
        weight: weight.address,
        out: out.address,
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
    // kernel and the plan expect, as checked above.
    unsafe { check_args.launch(&plan, &params) }
}
