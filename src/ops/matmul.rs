//! Matrix multiplication with 16-bit weights.

use super::args::Args;
use crate::Result;
pub use crate::backend::Epilogue;
use crate::gpu::{Stream, TensorMut, TensorRef};
use crate::params::{MATMUL_EPILOGUE_NONE, MATMUL_EPILOGUE_SWIGLU, MatmulParams};
use crate::plan::{self, MatmulShape, Plan};
use crate::tensor::DType;

const OP: &str = "matmul";

/// `out[m,n] = epilogue(sum_k x[m,k] * weight[n,k] + bias[n])`, in f32, rounded once.
///
/// The same arguments give the same bits on one device. Without `batch_invariant` a row's bits may depend on the number of
/// rows.
#[derive(Debug)]
pub struct Matmul<'a> {
    /// bf16 or f16 `[M, K]`, `K` a multiple of 8.
    pub x: TensorRef<'a>,
    /// `[N, K]` in x's type. With [`Epilogue::SwiGlu`] its rows are interleaved in blocks of 8, so many of gate, as many of
    /// up, and so on; `N` is a multiple of 16.
    pub weight: TensorRef<'a>,
    /// `[N]` in x's type, in the order of the weight's rows.
    pub bias: Option<TensorRef<'a>>,
    /// What follows the sum.
    pub epilogue: Epilogue,
    /// Whether a row of `out` must have the same bits in every batch: one tile and one order of additions for every `M`.
    pub batch_invariant: bool,
    /// `[M, N]`, with [`Epilogue::SwiGlu`] `[M, N / 2]`: in x's type or f32, rows at multiples of 16 bytes.
    pub out: TensorMut<'a>,
}

/// Launches [`Matmul`]. [`Error::Argument`](crate::Error::Argument) names what is wrong with an argument; then nothing is
/// launched.
pub fn matmul(stream: &Stream, args: &Matmul<'_>) -> Result<()> {
    let limits = stream.device().properties().limits();
    matmul_by(stream, args, |dtype, shape| plan::matmul(dtype, shape, args.batch_invariant, &limits))
}

/// [`matmul`] by the plan that `choose` makes for the type and shape of the arguments.
pub(crate) fn matmul_by(
    stream: &Stream,
    args: &Matmul<'_>,
    choose: impl FnOnce(DType, &MatmulShape) -> Result<Option<Plan>>,
) -> Result<()> {
    let check = Args { op: OP, stream };
    let dtype = args.x.dtype();
    let x = check.matrix("x", &args.x, None, None)?;
    let n = match *args.weight.shape() {
        [n, k] if k == x.width => n,
        _ => {
            let given = format!("{:?}", args.weight.layout());
            return Err(check.error("weight", format!("shape [n, {}]", x.width), given));
        }
    };
    let weight = check.matrix("weight", &args.weight, None, None)?;
    check.check_dtype("weight", args.weight.dtype(), dtype)?;
    let bias = args.bias.as_ref().map(|bias| {
        check.check_dtype("bias", bias.dtype(), dtype)?;
        check.vector("bias", bias, n)
    });
    let bias = bias.transpose()?;
    let out_ref = args.out.as_ref();
    let shape = MatmulShape {
        m: x.count,
        n,
        k: x.width,
        epilogue: args.epilogue,
        bias: bias.is_some(),
        out_f32: out_ref.dtype() == DType::F32,
    };
    let out = check.matrix_or_f32("out", &out_ref, dtype, [x.count, shape.out_width()])?;
    check.check_apart(out)?;
    for other in [Some(x), Some(weight), bias].into_iter().flatten() {
        check.check_disjoint(out, other)?;
    }
    let Some(plan) = choose(dtype, &shape)? else { return Ok(()) };
    let params = MatmulParams {
        x: x.address,
        weight: weight.address,
        bias: bias.map_or(0, |bias| bias.address),
        out: out.address,
        x_stride_row: x.stride,
        weight_stride_row: weight.stride,
        out_stride_row: out.stride,
        // The plan has checked that they fit.
        m: x.count as i32,
        n: n as i32,
        k: x.width as i32,
        epilogue: match args.epilogue {
            Epilogue::None => MATMUL_EPILOGUE_NONE,
            Epilogue::SwiGlu => MATMUL_EPILOGUE_SWIGLU,
        },
        out_f32: u32::from(shape.out_f32),
        padding: 0,
    };
    // SAFETY: the tensors' makers promise that their memory is there; shapes, strides and alignment are those that the
    // kernel and the plan expect, as checked above.
    unsafe { check.launch(&plan, &params) }
}
