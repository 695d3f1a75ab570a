//! Matrix multiplication with 16-bit weights.

use super::args::Args;
use super::product::{Out, Product};
use crate::Result;
pub use crate::backend::Epilogue;
use crate::gpu::{Stream, TensorMut, TensorRef};
use crate::plan::{self, MatmulShape, Plan};
use crate::tensor::DType;

const OP: &str = "matmul";

/// `out[m,n] = epilogue(sum_k x[m,k] * weight[n,k] + bias[n])`, in f32, rounded once.
///
/// The same arguments give the same bits on one device. Without `batch_invariant` a row's bits may depend on the number of
/// rows, and on whether there is a workspace.
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
    /// u8 at a multiple of 256 bytes: where it has room enough, blocks share tiles, so that all multiprocessors are busy
    /// ([`plan::matmul_workspace_bytes`] is always enough). Zeros before its first use; each launch leaves what the next one
    /// needs. Two launches that may run at the same time need two.
    pub workspace: Option<TensorMut<'a>>,
    /// `[M, N]`, with [`Epilogue::SwiGlu`] `[M, N / 2]`: in x's type or f32, rows at multiples of 16 bytes.
    pub out: TensorMut<'a>,
}

/// Launches [`Matmul`]. [`Error::Argument`](crate::Error::Argument) names what is wrong with an argument; then nothing is
/// launched.
pub fn matmul(stream: &Stream, args: &Matmul<'_>) -> Result<()> {
    let limits = stream.device().properties().limits();
    matmul_by(stream, args, |dtype, shape, workspace_bytes| {
        plan::matmul(dtype, shape, args.batch_invariant, workspace_bytes, &limits)
    })
}

/// [`matmul`] by the plan that `choose` makes for the type and shape of the arguments and the bytes of the workspace.
pub(crate) fn matmul_by(
    stream: &Stream,
    args: &Matmul<'_>,
    choose: impl FnOnce(DType, &MatmulShape, usize) -> Result<Option<Plan>>,
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
    let product = Product {
        x,
        dtype,
        bias: args.bias.as_ref(),
        epilogue: args.epilogue,
        workspace: args.workspace.as_ref(),
        out: Out::Floats(args.out.as_ref()),
    };
    let checked = product.check(check, &[weight], MatmulShape { n, ..MatmulShape::default() })?;
    let Some(plan) = choose(dtype, &checked.shape, checked.workspace_bytes())? else { return Ok(()) };
    let params = checked.params(check, &plan, weight)?;
    // SAFETY: the tensors' makers promise that their memory is there; shapes, strides and alignment are those that the
    // kernel and the plan expect, as checked above.
    unsafe { check.launch(&plan, &params) }
}
