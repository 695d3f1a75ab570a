//! Quantisation of activations to fp8.

use super::args::{Args, Rows};
use crate::gpu::{Stream, TensorMut, TensorRef};
use crate::params::QuantizeFp8Params;
use crate::{Result, plan};

/// An activation `[T, k]` to write as fp8: `scale = absmax / 448` over the columns that it covers, 1 where they are all zero;
/// `code = e4m3(x / scale)`, to nearest even and saturating. NaN becomes NaN (0x7F) and counts in no maximum; with an infinity
/// the scale is infinite, and every product `code * scale` is NaN.
#[derive(Debug)]
pub struct Fp8Mut<'a> {
    /// e4m3 `[T, k]`; rows start at multiples of 8 bytes.
    pub codes: TensorMut<'a>,
    /// f32 `[T, g]`: `g` is 1, a scale for a token, or `k / 128`, one for each 128 columns.
    pub scale: TensorMut<'a>,
}

/// `out = x`, quantised.
#[derive(Debug)]
pub struct QuantizeFp8<'a> {
    /// bf16 or f16 `[T, k]`, `k` a multiple of 8, at most [`plan::MAX_QUANTIZED_ROW`].
    pub x: TensorRef<'a>,
    /// `[T, k]`.
    pub out: Fp8Mut<'a>,
}

/// The rows of an [`Fp8Mut`].
pub(super) struct Fp8Rows {
    pub codes: Rows,
    pub scale: Rows,
}

impl Fp8Rows {
    /// Checks that it is `[rows, width]`, and that nothing of it is written twice.
    pub fn new(check: Args<'_>, out: &Fp8Mut<'_>, shape: [usize; 2]) -> Result<Self> {
        let codes = check.codes("codes", &out.codes.as_ref(), shape)?;
        let scale = check.scales("scale", &out.scale.as_ref(), shape)?;
        check.check_apart(codes)?;
        check.check_apart(scale)?;
        check.check_disjoint(codes, scale)?;
        Ok(Fp8Rows { codes, scale })
    }

    /// Refuses memory that it shares with an argument.
    pub fn check_disjoint(&self, check: Args<'_>, other: Rows) -> Result<()> {
        check.check_disjoint(self.codes, other)?;
        check.check_disjoint(self.scale, other)
    }
}

/// Launches [`QuantizeFp8`]. [`Error::Argument`](crate::Error::Argument) names what is wrong with an argument; then nothing
/// is launched.
pub fn quantize_fp8(stream: &Stream, args: &QuantizeFp8<'_>) -> Result<()> {
    let check = Args { op: "quantize_fp8", stream };
    let x = check.matrix("x", &args.x, None, None)?;
    let out = Fp8Rows::new(check, &args.out, [x.count, x.width])?;
    out.check_disjoint(check, x)?;
    let groups = out.scale.width;
    let Some(plan) = plan::quantize_fp8(args.x.dtype(), x.count, x.width, groups)? else { return Ok(()) };
    let params = QuantizeFp8Params {
        x: x.address,
        codes: out.codes.address,
        scale: out.scale.address,
        x_stride_token: x.stride,
        codes_stride_token: out.codes.stride,
        scale_stride_token: out.scale.stride,
        // The plan has checked that they fit.
        num_tokens: x.count as i32,
        width: x.width as i32,
        groups: groups as i32,
        padding: 0,
    };
    // SAFETY: the tensors' makers promise that their memory is there; shapes, strides and alignment are those that the
    // kernel and the plan expect, as checked above.
    unsafe { check.launch(&plan, &params) }
}
