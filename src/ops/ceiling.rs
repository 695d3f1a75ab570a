//! Launches of the kernels that do one thing alone. They are the bench's: nobody else has a use for their results.

use super::args::Args;
use crate::gpu::{Stream, TensorMut, TensorRef};
use crate::params::{
    CEILING_MMA_K, CEILING_MMA_M, CEILING_MMA_N, CEILING_MMA_THREADS, CEILING_WGMMA_K, CEILING_WGMMA_M,
    CEILING_WGMMA_N, CeilingMemoryParams, CeilingTensorParams,
};
use crate::plan::{self, Plan};
use crate::tensor::DType;
use crate::{Result, ops::args::Rows};

/// Words of a vector, which is what the kernels read and write.
const VECTOR_WORDS: usize = 4;
const VECTOR_BYTES: u64 = 16;

/// f32 `[4 * n]` at a multiple of 16 bytes: as vectors.
fn vectors(
    check: &Args<'_>,
    arg: &'static str,
    tensor: &TensorRef<'_>,
    words: Option<usize>,
) -> Result<Rows> {
    let list = check.list(arg, tensor, DType::F32, words)?;
    if !list.width.is_multiple_of(VECTOR_WORDS) {
        return Err(check.error(arg, format!("a multiple of {VECTOR_WORDS} elements"), list.width));
    }
    if !list.address.is_multiple_of(VECTOR_BYTES) {
        let expected = format!("an address that is a multiple of {VECTOR_BYTES} bytes");
        return Err(check.error(arg, expected, format!("{:#x}", list.address)));
    }
    Ok(list)
}

/// `out[block]` is the exclusive or of all words of the tiles that a block reads: of `source`, f32 `[4 * n]`, tiles `block`,
/// `block + blocks` and so on. `out` is u32 `[blocks]`, of the plan's blocks.
pub(crate) fn ceiling_read(
    stream: &Stream,
    source: &TensorRef<'_>,
    out: &TensorMut<'_>,
    most_blocks: usize,
) -> Result<()> {
    let check = Args { op: "ceiling_read", stream };
    let source = vectors(&check, "source", source, None)?;
    let num_vectors = source.width / VECTOR_WORDS;
    let plan = plan::ceiling_read(num_vectors, most_blocks)?;
    let blocks = plan.map_or(0, |plan| plan.launch.grid[0] as usize);
    let out = check.list("out", &out.as_ref(), DType::U32, Some(blocks))?;
    check.check_disjoint(out, source)?;
    memory(&check, plan, source, out)
}

/// `out = source`, both f32 `[4 * n]`.
pub(crate) fn ceiling_copy(
    stream: &Stream,
    source: &TensorRef<'_>,
    out: &TensorMut<'_>,
    most_blocks: usize,
) -> Result<()> {
    let check = Args { op: "ceiling_copy", stream };
    let source = vectors(&check, "source", source, None)?;
    let out = vectors(&check, "out", &out.as_ref(), Some(source.width))?;
    check.check_disjoint(out, source)?;
    memory(&check, plan::ceiling_copy(source.width / VECTOR_WORDS, most_blocks)?, source, out)
}

fn memory(check: &Args<'_>, plan: Option<Plan>, source: Rows, out: Rows) -> Result<()> {
    let Some(plan) = plan else { return Ok(()) };
    let params = CeilingMemoryParams {
        source: source.address,
        out: out.address,
        // The plan has checked that it fits.
        num_vectors: (source.width / VECTOR_WORDS) as i64,
    };
    // SAFETY: the tensors' makers promise that their memory is there; their sizes and alignment are those that the kernel
    // and the plan expect, as checked above.
    unsafe { check.launch(&plan, &params) }
}

/// `out[i,m,n] = rounds * sum_k a[m,k] * b[n,k]` for each product i: a warp's of `ceiling_mma`, a block's of `ceiling_wgmma`.
pub(crate) struct CeilingTensor<'a> {
    /// bf16 or f16 `[M * K]`, row-major.
    pub a: TensorRef<'a>,
    /// `[N * K]` in a's type, row-major.
    pub b: TensorRef<'a>,
    /// f32 `[products * M * N]`.
    pub out: TensorMut<'a>,
    /// How often the product is added.
    pub rounds: usize,
}

/// Sizes of the products of one of the kernels.
#[derive(Clone, Copy)]
pub(crate) struct CeilingShape {
    pub m: usize,
    pub n: usize,
    pub k: usize,
    /// Products of a block.
    pub products: usize,
}

/// Of `ceiling_mma`.
pub(crate) const CEILING_MMA: CeilingShape = CeilingShape {
    m: CEILING_MMA_M as usize,
    n: CEILING_MMA_N as usize,
    k: CEILING_MMA_K as usize,
    products: CEILING_MMA_THREADS as usize / 32,
};

/// Of `ceiling_wgmma`.
pub(crate) const CEILING_WGMMA: CeilingShape = CeilingShape {
    m: CEILING_WGMMA_M as usize,
    n: CEILING_WGMMA_N as usize,
    k: CEILING_WGMMA_K as usize,
    products: 1,
};

/// [`CeilingTensor`] by `mma.sync`, in registers.
pub(crate) fn ceiling_mma(stream: &Stream, args: &CeilingTensor<'_>) -> Result<()> {
    tensor(&Args { op: "ceiling_mma", stream }, args, CEILING_MMA, plan::ceiling_mma)
}

/// [`CeilingTensor`] by `wgmma`, in shared memory: [`Error::Unsupported`](crate::Error::Unsupported) but on compute
/// capability 9.0.
pub(crate) fn ceiling_wgmma(stream: &Stream, args: &CeilingTensor<'_>) -> Result<()> {
    tensor(&Args { op: "ceiling_wgmma", stream }, args, CEILING_WGMMA, plan::ceiling_wgmma)
}

fn tensor(
    check: &Args<'_>,
    args: &CeilingTensor<'_>,
    shape: CeilingShape,
    plan: impl Fn(DType, usize, usize) -> Result<Option<Plan>>,
) -> Result<()> {
    let CeilingShape { m, n, k, products } = shape;
    let a = check.vector("a", &args.a, m * k)?;
    let b = check.vector("b", &args.b, n * k)?;
    check.check_dtype("b", args.b.dtype(), args.a.dtype())?;
    let out = check.list("out", &args.out.as_ref(), DType::F32, None)?;
    let block = products * m * n;
    if !out.width.is_multiple_of(block) {
        return Err(check.error("out", format!("a multiple of {block} elements"), out.width));
    }
    if !out.address.is_multiple_of(8) {
        let given = format!("{:#x}", out.address);
        return Err(check.error("out", "an address that is a multiple of 8 bytes", given));
    }
    check.check_disjoint(out, a)?;
    check.check_disjoint(out, b)?;
    let Some(plan) = plan(args.a.dtype(), out.width / block, args.rounds)? else { return Ok(()) };
    let params = CeilingTensorParams {
        a: a.address,
        b: b.address,
        out: out.address,
        // The plan has checked that they fit.
        rounds: args.rounds as i32,
        padding: 0,
    };
    // SAFETY: the tensors' makers promise that their memory is there; their sizes and alignment are those that the kernel
    // and the plan expect, as checked above.
    unsafe { check.launch(&plan, &params) }
}

/// Nothing.
pub(crate) fn ceiling_empty(stream: &Stream) -> Result<()> {
    let check = Args { op: "ceiling_empty", stream };
    // SAFETY: the kernel looks at none of its parameters.
    unsafe { check.launch(&plan::ceiling_empty(), &CeilingMemoryParams::default()) }
}
