//! Matrix multiplication with weights in 4 bits.

use super::args::{Args, Rows};
use super::product::{Out, Product};
use crate::Result;
pub use crate::backend::Epilogue;
use crate::gpu::{Stream, TensorMut, TensorRef};
use crate::params::{MATMUL_INT4_EXACT_16, MATMUL_INT4_EXACT_32, MATMUL_INT4_ROUNDED, MatmulInt4Params};
use crate::plan::{self, MatmulShape, Operands, Plan};
use crate::tensor::DType;

const OP: &str = "matmul_int4";

/// Codes and scales are copied in chunks of so many bytes.
const ALIGN: u64 = 16;
/// Rows and columns of a unit of codes, and its bytes.
const TILE: usize = 16;
const UNIT: usize = 64;
const UNIT_BYTES: usize = 512;

/// A weight `[N, K]` in 4-bit codes on a device: the arrays of a [`Packed`](crate::quant::int4::Packed), copied there.
#[derive(Clone, Copy, Debug)]
pub struct Int4Ref<'a> {
    /// Rows: a multiple of 8.
    pub n: usize,
    /// Columns: a multiple of the group's; of 16 where the group is the row.
    pub k: usize,
    /// u8 `[ceil(N / 16) * ceil(K / 64) * 512]`: [`Packed::codes`](crate::quant::int4::Packed::codes), at a multiple of 16 bytes.
    pub codes: TensorRef<'a>,
    /// bf16 or f16 `[ceil(N / 16), groups, 1 or 2, 16]`: [`Packed::scales`](crate::quant::int4::Packed::scales), with the zeros behind the scales of a group where
    /// the weight has zeros (else they are 8); at a multiple of 16 bytes. A group is 32, 64 or 128 columns, or the row.
    pub scales: TensorRef<'a>,
    /// Whether `code - zero` is exact in 16 bits: there are no zeros, or all are integers from 0 to 16
    /// ([`Packed::integer_zeros`](crate::quant::int4::Packed::integer_zeros)).
    pub integer_zeros: bool,
}

/// `out[m,n] = epilogue(sum_k x[m,k] * w[n,k] + bias[n])`, in f32, rounded once, where
/// `w = round((code - zero) * scale)` to x's type, as [`quant::int4`](crate::quant::int4) defines it.
///
/// The same arguments give the same bits on one device. Without `batch_invariant` a row's bits may depend on the number of
/// rows, and on whether there is a workspace.
#[derive(Debug)]
pub struct MatmulInt4<'a> {
    /// bf16 or f16 `[M, K]`.
    pub x: TensorRef<'a>,
    /// `[N, K]`; with [`Epilogue::SwiGlu`] its rows are interleaved in blocks of 8, `N` is a multiple of 16.
    pub weight: Int4Ref<'a>,
    /// `[N]` in x's type.
    pub bias: Option<TensorRef<'a>>,
    /// What follows the sum.
    pub epilogue: Epilogue,
    /// Whether a row of `out` must have the same bits in every batch.
    pub batch_invariant: bool,
    /// u8: work is split over blocks where this is large enough for it. Zeros before its first use; each launch leaves what
    /// the next one needs. Two launches that may run at the same time need two.
    pub workspace: Option<TensorMut<'a>>,
    /// `[M, N]`, with [`Epilogue::SwiGlu`] `[M, N / 2]`: in x's type or f32, rows at multiples of 16 bytes.
    pub out: TensorMut<'a>,
}

/// Launches [`MatmulInt4`]. [`Error::Argument`](crate::Error::Argument) names what is wrong with an argument; then nothing is
/// launched.
pub fn matmul_int4(stream: &Stream, args: &MatmulInt4<'_>) -> Result<()> {
    let limits = stream.device().properties().limits();
    matmul_int4_by(stream, args, |dtype, shape, workspace_bytes| {
        plan::matmul(dtype, shape, args.batch_invariant, workspace_bytes, &limits)
    })
}

/// [`matmul_int4`] by the plan that `choose` makes for the type and shape of the arguments and the bytes of the workspace.
pub(crate) fn matmul_int4_by(
    stream: &Stream,
    args: &MatmulInt4<'_>,
    choose: impl FnOnce(DType, &MatmulShape, usize) -> Result<Option<Plan>>,
) -> Result<()> {
    let check = Args { op: OP, stream };
    let dtype = args.x.dtype();
    let Int4Ref { n, k, integer_zeros, .. } = args.weight;
    let x = check.matrix("x", &args.x, None, Some(k))?;
    let Arrays { codes, scales, groups, zeros } = arrays(check, &args.weight)?;
    let operands = Operands::Int4 { group: k / groups, zeros };
    let shape = MatmulShape { n, operands, ..MatmulShape::default() };
    let product = Product {
        x,
        dtype,
        bias: args.bias.as_ref(),
        epilogue: args.epilogue,
        workspace: args.workspace.as_ref(),
        out: Out::Floats(args.out.as_ref()),
    };
    let checked = product.check(check, &[codes, scales], shape)?;
    let Some(plan) = choose(dtype, &checked.shape, checked.workspace_bytes())? else { return Ok(()) };
    let scales_dtype = args.weight.scales.dtype();
    let params = MatmulInt4Params {
        matmul: checked.params(check, &plan, codes)?,
        scales: scales.address,
        // The plan has checked that k fits.
        groups: groups as i32,
        group_shift: if groups == 1 { 31 } else { (k / groups).ilog2() as i32 },
        zeros: u32::from(zeros),
        scales_f16: u32::from(scales_dtype == DType::F16),
        arithmetic: match (integer_zeros || !zeros, dtype, scales_dtype) {
            (true, DType::BF16, DType::BF16) | (true, DType::F16, DType::F16) => MATMUL_INT4_EXACT_16,
            (true, DType::BF16, DType::F16) => MATMUL_INT4_EXACT_32,
            _ => MATMUL_INT4_ROUNDED,
        },
        padding: 0,
    };
    // SAFETY: the tensors' makers promise that their memory is there; shapes, strides and alignment are those that the
    // kernel and the plan expect, as checked above.
    unsafe { check.launch(&plan, &params) }
}

/// The arrays of a weight.
struct Arrays {
    codes: Rows,
    scales: Rows,
    groups: usize,
    zeros: bool,
}

fn arrays(check: Args<'_>, weight: &Int4Ref<'_>) -> Result<Arrays> {
    let &Int4Ref { n, k, ref codes, ref scales, .. } = weight;
    let tiles = n.div_ceil(TILE);
    let bytes = k.div_ceil(UNIT).checked_mul(UNIT_BYTES).and_then(|bytes| bytes.checked_mul(tiles));
    check.check_dtype("codes", codes.dtype(), DType::U8)?;
    if bytes.is_none_or(|bytes| codes.shape() != [bytes]) {
        let expected = bytes.map_or("fewer".into(), |bytes| format!("shape [{bytes}]"));
        return Err(check.error("codes", expected, format!("{:?}", codes.layout())));
    }
    if !matches!(scales.dtype(), DType::BF16 | DType::F16) {
        return Err(check.error("scales", "bf16 or f16", scales.dtype()));
    }
    let (groups, zeros) = match *scales.shape() {
        [given, groups, kinds @ (1 | 2), TILE]
            if given == tiles && groups > 0 && k.is_multiple_of(groups) =>
        {
            (groups, kinds == 2)
        }
        _ => {
            let expected = format!("shape [{tiles}, groups, 1 or 2, {TILE}] with groups that divide {k}");
            return Err(check.error("scales", expected, format!("{:?}", scales.layout())));
        }
    };
    let codes = check.array("codes", codes, ALIGN)?;
    let scales = check.array("scales", scales, ALIGN)?;
    Ok(Arrays { codes, scales, groups, zeros })
}
