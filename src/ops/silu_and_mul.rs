//! SwiGLU, for an MLP whose matmul did not fuse it.

use super::args::Args;
use crate::gpu::{Stream, TensorMut, TensorRef};
use crate::params::SiluAndMulParams;
use crate::{Result, plan};

/// `out[t,f] = silu(gate_up[t,f]) * gate_up[t,F+f]` with `silu(x) = x / (1 + exp(-x))`, in f32, rounded once.
#[derive(Debug)]
pub struct SiluAndMul<'a> {
    /// bf16 or f16 `[T, 2*F]`, the gate half first; `F` is a multiple of 8.
    pub gate_up: TensorRef<'a>,
    /// `[T, F]` in gate_up's type.
    pub out: TensorMut<'a>,
}

/// Launches [`SiluAndMul`]. [`Error::Argument`](crate::Error::Argument) names what is wrong with an argument; then nothing
/// is launched.
pub fn silu_and_mul(stream: &Stream, args: &SiluAndMul<'_>) -> Result<()> {
    let check = Args { op: "silu_and_mul", stream };
    let gate_up = check.matrix("gate_up", &args.gate_up, None, None)?;
    if gate_up.width % 2 != 0 {
        return Err(check.error("gate_up", "an even width", gate_up.width));
    }
    let intermediate = gate_up.width / 2;
    let out = check.matrix("out", &args.out.as_ref(), Some(gate_up.count), Some(intermediate))?;
    check.check_dtype("out", args.out.as_ref().dtype(), args.gate_up.dtype())?;
    check.check_apart(out)?;
    check.check_disjoint(out, gate_up)?;
    let Some(plan) = plan::silu_and_mul(args.gate_up.dtype(), gate_up.count, intermediate)? else {
        return Ok(());
    };
    let params = SiluAndMulParams {
        gate_up: gate_up.address,
        out: out.address,
        gate_up_stride_token: gate_up.stride,
        out_stride_token: out.stride,
        // The plan has checked that both fit.
        num_tokens: gate_up.count as i32,
        intermediate: intermediate as i32,
    };
    // SAFETY: the tensors' makers promise that their memory is there; shapes, strides and alignment are those that the
    // kernel and the plan expect, as checked above.
    unsafe { check.launch(&plan, &params) }
}
