//! Matrix multiplication of 8-bit floats.

use super::args::{Args, Rows};
use super::product::{Out, Product};
use super::quantize_fp8::Fp8Mut;
use crate::Result;
pub use crate::backend::Epilogue;
use crate::gpu::{Stream, TensorMut, TensorRef};
use crate::params::{FP8_GROUP_COLUMNS, MatmulFp8Params};
use crate::plan::{self, Fp8Scales, MatmulShape, Operands, Plan};
use crate::tensor::DType;

const OP: &str = "matmul_fp8";

/// Columns, and rows of a weight, that share a scale where there is more than one a row.
const BLOCK: usize = FP8_GROUP_COLUMNS as usize;

/// e4m3 codes and their scales.
#[derive(Clone, Copy, Debug)]
pub struct Fp8Ref<'a> {
    /// e4m3 `[rows, K]`; rows start at multiples of 16 bytes. A weight has no NaN: what becomes of one is not said.
    pub codes: TensorRef<'a>,
    /// f32. Of x `[M, 1]` (one a token), `[M, ceil(K / 128)]` (one for 128 columns) or `[1, 1]` (one for all). Of a weight
    /// `[N, 1]` (one a row), `[1, 1]`, or `[ceil(N / 128), ceil(K / 128)]` with x's scales for 128 columns; where rows of gate
    /// and up are interleaved, those of gate's blocks stand before those of up's: `[2 * ceil(N / 2 / 128), ceil(K / 128)]`.
    pub scale: TensorRef<'a>,
}

/// An output of [`MatmulFp8`].
#[derive(Debug)]
pub enum Fp8Out<'a> {
    /// `[M, N]`, with [`Epilogue::SwiGlu`] `[M, N / 2]`: bf16, f16 or f32, rows at multiples of 16 bytes.
    Native(TensorMut<'a>),
    /// With [`Epilogue::SwiGlu`], rounded and quantised: the bits of [`Fp8Out::Native`] in batch-invariant mode and
    /// [`quantize_fp8`](super::quantize_fp8()) behind it.
    Quantized {
        /// Codes `[M, N / 2]`, scales `[M, N / 2 / 128]`: `N` is a multiple of 256.
        out: Fp8Mut<'a>,
        /// bf16 or f16: what results are rounded to before they are quantised, and the bias's type.
        rounded_to: DType,
    },
}

/// `out[m,n] = epilogue(sum_k x[m,k] * w[n,k] + bias[n])`: products of codes added in f32, then multiplied by the token's scale,
/// then by the row's; or, with scales for 128 columns, the sum over each of them times both its scales, added up. Rounded once.
///
/// A NaN in x makes its row NaN. The same arguments give the same bits on one device. Without `batch_invariant` a row's bits may
/// depend on the number of rows, and on whether there is a workspace.
#[derive(Debug)]
pub struct MatmulFp8<'a> {
    /// `[M, K]`, `K` a multiple of 16.
    pub x: Fp8Ref<'a>,
    /// `[N, K]`, `N` a multiple of 8; with [`Epilogue::SwiGlu`] its rows are interleaved in blocks of 8, `N` is a multiple
    /// of 16.
    pub weight: Fp8Ref<'a>,
    /// `[N]` in bf16 or f16, that of `out` where it is one of them.
    pub bias: Option<TensorRef<'a>>,
    /// What follows the sum.
    pub epilogue: Epilogue,
    /// Whether sums stay in the tensor core's accumulators, which have fewer bits than f32 on some devices, for all of K.
    /// Else they are moved into f32 every 128 columns, as they are with scales for so many.
    pub fast_accumulation: bool,
    /// Whether a row of `out` must have the same bits in every batch.
    pub batch_invariant: bool,
    /// u8: as in [`Matmul`](super::Matmul).
    pub workspace: Option<TensorMut<'a>>,
    /// The result.
    pub out: Fp8Out<'a>,
}

/// Launches [`MatmulFp8`]. [`Error::Argument`](crate::Error::Argument) names what is wrong with an argument; then nothing is
/// launched.
pub fn matmul_fp8(stream: &Stream, args: &MatmulFp8<'_>) -> Result<()> {
    let limits = stream.device().properties().limits();
    matmul_fp8_by(stream, args, |dtype, shape, workspace_bytes| {
        plan::matmul(dtype, shape, args.batch_invariant, workspace_bytes, &limits)
    })
}

/// [`matmul_fp8`] by the plan that `choose` makes for the type and shape of the results and the bytes of the workspace.
pub(crate) fn matmul_fp8_by(
    stream: &Stream,
    args: &MatmulFp8<'_>,
    choose: impl FnOnce(DType, &MatmulShape, usize) -> Result<Option<Plan>>,
) -> Result<()> {
    let check = Args { op: OP, stream };
    let x = check.codes_to_read("x.codes", &args.x.codes)?;
    let weight = check.codes_to_read("weight.codes", &args.weight.codes)?;
    if weight.width != x.width {
        let expected = format!("shape [n, {}]", x.width);
        return Err(check.error("weight.codes", expected, format!("{:?}", args.weight.codes.layout())));
    }
    let n = weight.count;
    let (of_weight, weight_scale) = weight_scale(check, args, n, x.width)?;
    let (of_x, x_scale) = x_scale(check, &args.x.scale, x, of_weight)?;

    let out_ref;
    let (dtype, out) = match &args.out {
        Fp8Out::Native(out) => {
            out_ref = out.as_ref();
            let dtype = match (out_ref.dtype(), &args.bias) {
                (dtype @ (DType::BF16 | DType::F16), _) => dtype,
                (DType::F32, Some(bias)) => bias.dtype(),
                (DType::F32, None) => DType::BF16,
                (other, _) => return Err(check.error("out", "bf16, f16 or f32", other)),
            };
            (dtype, Out::Floats(out_ref))
        }
        Fp8Out::Quantized { out, rounded_to } => (*rounded_to, Out::Fp8(out)),
    };
    if !matches!(dtype, DType::BF16 | DType::F16) {
        let arg = if matches!(args.out, Fp8Out::Native(_)) { "bias" } else { "rounded_to" };
        return Err(check.error(arg, "bf16 or f16", dtype));
    }
    let product = Product {
        x,
        dtype,
        bias: args.bias.as_ref(),
        epilogue: args.epilogue,
        workspace: args.workspace.as_ref(),
        out,
    };
    let fast_accumulation = args.fast_accumulation;
    let operands = Operands::Fp8 { x: of_x, weight: of_weight, fast_accumulation };
    let shape = MatmulShape { n, operands, ..MatmulShape::default() };
    let checked = product.check(check, &[weight, weight_scale, x_scale], shape)?;
    let Some(plan) = choose(dtype, &checked.shape, checked.workspace_bytes())? else { return Ok(()) };
    let out_scale = checked.out_scale();
    // One a row, or one for 128 columns of it; else all are the first.
    let strides = |scales: Fp8Scales, rows: Rows| match scales {
        Fp8Scales::Tensor => [0, 0],
        Fp8Scales::Row => [rows.stride, 0],
        Fp8Scales::Block => [rows.stride, 1],
    };
    let [x_scale_stride_row, x_scale_stride_group] = strides(of_x, x_scale);
    let [weight_scale_stride_row, weight_scale_stride_group] = strides(of_weight, weight_scale);
    let params = MatmulFp8Params {
        matmul: checked.params(check, &plan, weight)?,
        x_scale: x_scale.address,
        weight_scale: weight_scale.address,
        x_scale_stride_row,
        x_scale_stride_group,
        weight_scale_stride_row,
        weight_scale_stride_group,
        block_scales: u32::from(of_weight == Fp8Scales::Block),
        fast_accumulation: u32::from(fast_accumulation),
        out_scale: out_scale.map_or(0, |scale| scale.address),
        out_scale_stride_row: out_scale.map_or(0, |scale| scale.stride),
    };
    // SAFETY: the tensors' makers promise that their memory is there; shapes, strides and alignment are those that the
    // kernel and the plan expect, as checked above.
    unsafe { check.launch(&plan, &params) }
}

/// The scales of the weight `[n, k]`, and what shares one.
fn weight_scale(check: Args<'_>, args: &MatmulFp8<'_>, n: usize, k: usize) -> Result<(Fp8Scales, Rows)> {
    let blocks = match args.epilogue {
        Epilogue::None => n.div_ceil(BLOCK),
        // Fewer than n, which is a multiple of 16.
        Epilogue::SwiGlu => 2 * (n / 2).div_ceil(BLOCK),
    };
    let shapes = [
        (Fp8Scales::Tensor, [1, 1]),
        (Fp8Scales::Row, [n, 1]),
        (Fp8Scales::Block, [blocks, k.div_ceil(BLOCK)]),
    ];
    scale(check, "weight.scale", &args.weight.scale, &shapes)
}

/// The scales of x, and what shares one: 128 columns if and only if the weight's do.
fn x_scale(
    check: Args<'_>,
    scales: &TensorRef<'_>,
    x: Rows,
    of_weight: Fp8Scales,
) -> Result<(Fp8Scales, Rows)> {
    const ARG: &str = "x.scale";
    if of_weight == Fp8Scales::Block {
        let shape = [x.count, x.width.div_ceil(BLOCK)];
        return scale(check, ARG, scales, &[(Fp8Scales::Block, shape)]);
    }
    scale(check, ARG, scales, &[(Fp8Scales::Tensor, [1, 1]), (Fp8Scales::Row, [x.count, 1])])
}

/// Scales of the first of these shapes that they have.
fn scale(
    check: Args<'_>,
    arg: &'static str,
    scale: &TensorRef<'_>,
    shapes: &[(Fp8Scales, [usize; 2])],
) -> Result<(Fp8Scales, Rows)> {
    let rows = check.scales_to_read(arg, scale)?;
    match shapes.iter().find(|(_, shape)| scale.shape() == shape) {
        Some((kind, _)) => Ok((*kind, rows)),
        None => {
            let shapes: Vec<String> = shapes.iter().map(|(_, shape)| format!("{shape:?}")).collect();
            let expected = format!("shape {}", shapes.join(" or "));
            Err(check.error(arg, expected, format!("{:?}", scale.layout())))
        }
    }
}
