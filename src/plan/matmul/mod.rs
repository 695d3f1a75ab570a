//! Matrix products: which tile, and whether blocks share it, from a model of what each would take.

mod split;
mod streams;
mod tiles;

use super::{Kernel, Launch, Limits, Plan, Tile};
use crate::backend::Epilogue;
use crate::params::{FP8_GROUP_COLUMNS, MATMUL_SWIGLU_BLOCK, VECTOR_ELEMENTS};
use crate::tensor::DType;
use crate::{Error, Result};
pub(crate) use split::Split;
use streams::{STREAMS, StreamKernel};
use tiles::{TILES, TileKernel};

/// What a product is, as far as its plan and its cost depend on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct MatmulShape {
    /// Rows of x: tokens.
    pub m: usize,
    /// Rows of the weight.
    pub n: usize,
    /// Columns of both.
    pub k: usize,
    /// What follows the sum.
    pub epilogue: Epilogue,
    /// Whether a bias is added.
    pub bias: bool,
    /// Whether the output is f32, instead of x's type.
    pub out_f32: bool,
    /// Whether the output is e4m3, with a scale for 128 columns.
    pub quantized: bool,
    /// What x and the weight are stored in.
    pub operands: Operands,
}

/// What the operands of a product are stored in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Operands {
    /// Both in one 16-bit type.
    #[default]
    Native,
    /// x in a 16-bit type, the weight in 4-bit codes.
    Int4 {
        /// Columns that share a scale: 32, 64, 128 or all.
        group: usize,
        /// Whether a group has a zero beside its scale.
        zeros: bool,
    },
    /// Both in e4m3.
    Fp8 {
        /// How many scales x has.
        x: Fp8Scales,
        /// How many scales the weight has.
        weight: Fp8Scales,
        /// Whether sums stay in the tensor cores' accumulators for all of k.
        fast_accumulation: bool,
    },
}

/// Which codes of an operand in e4m3 share a scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fp8Scales {
    /// All of them.
    Tensor,
    /// Those of a row: a token, or a row of the weight.
    Row,
    /// 128 columns of a token; 128 columns of 128 rows of the weight.
    Block,
}

/// The storage of [`Operands`], without what kernels are told at run time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Storage {
    Native,
    Int4,
    Fp8,
}

impl Operands {
    /// The operation that takes them.
    pub(crate) fn op(&self) -> &'static str {
        match self {
            Operands::Native => "matmul",
            Operands::Int4 { .. } => "matmul_int4",
            Operands::Fp8 { .. } => "matmul_fp8",
        }
    }

    fn storage(&self) -> Storage {
        match self {
            Operands::Native => Storage::Native,
            Operands::Int4 { .. } => Storage::Int4,
            Operands::Fp8 { .. } => Storage::Fp8,
        }
    }
}

impl MatmulShape {
    /// Columns of the output.
    pub fn out_width(&self) -> usize {
        match self.epilogue {
            Epilogue::None => self.n,
            Epilogue::SwiGlu => self.n / 2,
        }
    }
}

/// A matrix product on x of `dtype`, bf16 or f16 (in fp8: the type that results are rounded to); `None` where there is
/// nothing to do.
///
/// Up to 16 tokens are bound by reading the weights: they are streamed, a few rows a block. More tokens are made in tiles,
/// the one that a model of the device finds quickest. Where whole tiles would leave multiprocessors idle, all blocks share
/// all tiles evenly, and the last block at a tile adds up its parts ([`Plan::splits`] of them at most), in the same launch.
/// That takes a workspace: `workspace_bytes` is how large one there is, [`matmul_workspace_bytes`] how large one is always
/// enough.
///
/// In `batch_invariant` mode there is one kernel, one tile and one order of additions for every `m`, so that a row of the
/// output has the same bits in every batch.
pub fn matmul(
    dtype: DType,
    shape: &MatmulShape,
    batch_invariant: bool,
    workspace_bytes: usize,
    limits: &Limits,
) -> Result<Option<Plan>> {
    check(dtype, shape)?;
    if shape.m == 0 {
        return Ok(None);
    }
    if batch_invariant {
        // One tile alone quantises what it makes.
        let is_wanted = |tile: &&TileKernel| tile.invariant || shape.quantized;
        let invariant = tiles_of(shape).filter(is_wanted).find(|tile| tile.fits(limits));
        let reason = "batch-invariant: one tile and one order of additions for every number of tokens";
        let tile = invariant.ok_or_else(|| no_room(shape, limits))?;
        return tile.plan(dtype, shape, None, reason).map(Some);
    }
    if let Some(stream) = streams_of(shape, limits).next() {
        let split = stream.split(shape, limits).filter(|split| stream.workspace(split) <= workspace_bytes);
        return stream.plan(dtype, shape, split, limits).map(Some);
    }
    let fitting = tiles_of(shape).filter(|tile| tile.fits(limits));
    let candidates = fitting.flat_map(|tile| tile.splits(shape, limits).map(move |split| (tile, split)));
    let candidates = candidates
        .filter(|(tile, split)| split.is_none_or(|split| tile.workspace(&split) <= workspace_bytes));
    let timed = candidates.map(|(tile, split)| (tile, split, tile.cycles(shape, split, limits)));
    let quickest = timed.reduce(|best, next| {
        // Less than a sixteenth is within what the model does not know; then the larger tile asks less of L2.
        if next.2.saturating_mul(16) < best.2.saturating_mul(15) { next } else { best }
    });
    let (tile, split, _) = quickest.ok_or_else(|| no_room(shape, limits))?;
    let reason = if split.is_some() {
        "whole tiles would leave multiprocessors idle: all of them share all tiles"
    } else {
        tile.reason
    };
    tile.plan(dtype, shape, split, reason).map(Some)
}

/// Bytes of a workspace with which no plan of a matrix product on such a device is held back.
pub fn matmul_workspace_bytes(limits: &Limits) -> usize {
    let fitting = TILES.iter().filter(|tile| tile.fits(limits));
    let tiles = fitting.map(|tile| tile.most_workspace(limits));
    tiles.chain(STREAMS.iter().map(|stream| stream.most_workspace(limits))).max().unwrap_or(0)
}

/// The plans of all kernels that can make this product on this device, for tests.
#[cfg(all(feature = "cli", feature = "kernels"))]
pub(crate) fn matmul_candidates(dtype: DType, shape: &MatmulShape, limits: &Limits) -> Result<Vec<Plan>> {
    check(dtype, shape)?;
    if shape.m == 0 {
        return Ok(Vec::new());
    }
    let streams = streams_of(shape, limits).map(|stream| stream.plan(dtype, shape, None, limits));
    let fitting = tiles_of(shape).filter(|tile| tile.fits(limits));
    streams.chain(fitting.map(|tile| tile.plan(dtype, shape, None, tile.reason))).collect()
}

/// The plan by the kernel of this tile in which `blocks` blocks share all tiles, for tests; `None` where there is no such
/// kernel, or not so much to share.
#[cfg(all(feature = "cli", feature = "kernels"))]
pub(crate) fn matmul_shared(
    dtype: DType,
    shape: &MatmulShape,
    tile: [u32; 3],
    blocks: u64,
    limits: &Limits,
) -> Result<Option<Plan>> {
    check(dtype, shape)?;
    let is_meant = |found: &Tile| [found.m, found.n, found.k] == tile;
    if let Some(stream) = streams_of(shape, limits).find(|stream| is_meant(&stream.tile)) {
        let split = stream.split_over(shape, blocks);
        return split.map(|split| stream.plan(dtype, shape, Some(split), limits)).transpose();
    }
    let found = tiles_of(shape).filter(|kernel| kernel.fits(limits)).find(|kernel| is_meant(&kernel.tile));
    let split = found.and_then(|kernel| Some((kernel, kernel.split_over(shape, blocks)?)));
    split.map(|(kernel, split)| kernel.plan(dtype, shape, Some(split), "for tests")).transpose()
}

/// The kernels for these operands.
fn tiles_of(shape: &MatmulShape) -> impl Iterator<Item = &'static TileKernel> {
    let (storage, quantized) = (shape.operands.storage(), shape.quantized);
    TILES.iter().filter(move |tile| tile.storage == storage && (tile.quantizes() || !quantized))
}

/// The kernels that stream the weights of this product, that for the fewest tokens first.
fn streams_of(shape: &MatmulShape, limits: &Limits) -> impl Iterator<Item = &'static StreamKernel> {
    let takes = |stream: &&StreamKernel| stream.takes(shape) && stream.fits(shape, limits);
    STREAMS.iter().filter(takes)
}

/// The kernel for x of this type.
fn kernel(shape: &MatmulShape, dtype: DType, [bf16, f16]: [Kernel; 2]) -> Result<Kernel> {
    super::by_dtype(shape.operands.op(), dtype, bf16, f16)
}

fn check(dtype: DType, shape: &MatmulShape) -> Result<()> {
    let op = shape.operands.op();
    if !matches!(dtype, DType::BF16 | DType::F16) {
        return Err(Error::argument(op, "x", "bf16 or f16", dtype));
    }
    let counted = |arg: &'static str, size: usize| {
        // Kernels count rows and columns in an i32.
        i32::try_from(size).map_err(|_| Error::argument(op, arg, "fewer than 2^31", size))
    };
    counted("m", shape.m)?;
    if counted("n", shape.n)? == 0 {
        return Err(Error::argument(op, "n", "at least 1", 0));
    }
    /// What rows of a quantised weight come in, and, at least, columns.
    const QUANTIZED: [usize; 2] = [8, 16];
    let [rows, columns] = match shape.operands {
        Operands::Native => [1, VECTOR_ELEMENTS as usize],
        // All of a row is one group: any number of columns.
        Operands::Int4 { group, .. } if group == shape.k => QUANTIZED,
        Operands::Int4 { group: group @ (32 | 64 | 128), .. } => [QUANTIZED[0], group],
        Operands::Int4 { group, .. } => {
            return Err(Error::argument(op, "group", format!("32, 64, 128 or {}", shape.k), group));
        }
        Operands::Fp8 { .. } => QUANTIZED,
    };
    if counted("k", shape.k)? == 0 || !shape.k.is_multiple_of(columns) {
        return Err(Error::argument(op, "k", format!("a multiple of {columns}"), shape.k));
    }
    if !shape.n.is_multiple_of(rows) {
        return Err(Error::argument(op, "n", format!("a multiple of {rows}"), shape.n));
    }
    if shape.quantized {
        let columns = 2 * FP8_GROUP_COLUMNS as usize;
        if shape.epilogue != Epilogue::SwiGlu || shape.operands.storage() != Storage::Fp8 {
            return Err(Error::argument(op, "out", "floats, but for SwiGLU of e4m3", "e4m3"));
        }
        if !shape.n.is_multiple_of(columns) {
            let expected = format!("a multiple of {columns} where the output is e4m3");
            return Err(Error::argument(op, "n", expected, shape.n));
        }
    }
    let gate_up = 2 * MATMUL_SWIGLU_BLOCK as usize;
    if shape.epilogue == Epilogue::SwiGlu && !shape.n.is_multiple_of(gate_up) {
        return Err(Error::argument(op, "n", format!("a multiple of {gate_up} with SwiGLU"), shape.n));
    }
    Ok(())
}

fn grid(shape: &MatmulShape, blocks: u64) -> Result<u32> {
    let fits = i32::try_from(blocks).map(i32::unsigned_abs);
    fits.map_err(|_| Error::argument(shape.operands.op(), "out", "fewer than 2^31 tiles", blocks))
}

fn no_room(shape: &MatmulShape, limits: &Limits) -> Error {
    let least = tiles_of(shape).map(TileKernel::shared_bytes).min().unwrap_or(0);
    Error::unsupported(
        shape.operands.op(),
        format!(
            "a block needs {least} bytes of shared memory, the device has {}",
            limits.shared_memory_per_block
        ),
    )
}

#[cfg(test)]
mod tests;
