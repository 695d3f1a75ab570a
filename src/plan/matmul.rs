//! `matmul`: which tile, from a model of what each would take.

use super::{Kernel, Launch, Limits, Plan, Tile, by_dtype};
use crate::backend::Epilogue;
use crate::params::{
    MATMUL_64X64X128_STAGES, MATMUL_64X64X128_THREADS, MATMUL_64X128X64_STAGES, MATMUL_64X128X64_THREADS,
    MATMUL_128X128X64_STAGES, MATMUL_128X128X64_THREADS, MATMUL_128X256X32_STAGES, MATMUL_128X256X32_THREADS,
    MATMUL_128X256X64_STAGES, MATMUL_128X256X64_THREADS, MATMUL_STREAM_M8_COLUMNS, MATMUL_STREAM_M8_ROWS,
    MATMUL_STREAM_M8_TOKENS, MATMUL_STREAM_M16_COLUMNS, MATMUL_STREAM_M16_ROWS, MATMUL_STREAM_M16_TOKENS,
    MATMUL_STREAM_WARPS, MATMUL_SWIGLU_BLOCK, VECTOR_ELEMENTS,
};
use crate::tensor::DType;
use crate::{Error, Result};

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

/// A kernel that makes a tile of outputs from tiles in shared memory.
struct TileKernel {
    tile: Tile,
    threads: u32,
    /// Outputs of a warp: rows of x, rows of the weight.
    warp: [u32; 2],
    /// Warps that make the same outputs, each from a part of the columns.
    sharing: u32,
    /// Blocks whose registers a multiprocessor holds.
    resident: u32,
    bf16: Kernel,
    f16: Kernel,
    reason: &'static str,
}

/// Every tile, the largest first: of two that take as long it is the one that asks less of L2.
const TILES: [TileKernel; 5] = [
    TileKernel {
        tile: Tile { m: 128, n: 256, k: 64, stages: MATMUL_128X256X64_STAGES },
        threads: MATMUL_128X256X64_THREADS,
        warp: [64, 64],
        sharing: 1,
        resident: 1,
        bf16: Kernel::MatmulBf16M128N256K64,
        f16: Kernel::MatmulF16M128N256K64,
        reason: "the largest tile keeps the multiprocessors busy: fewest bytes a product",
    },
    TileKernel {
        tile: Tile { m: 128, n: 256, k: 32, stages: MATMUL_128X256X32_STAGES },
        threads: MATMUL_128X256X32_THREADS,
        warp: [64, 64],
        sharing: 1,
        resident: 1,
        bf16: Kernel::MatmulBf16M128N256K32,
        f16: Kernel::MatmulF16M128N256K32,
        reason: "the largest tile keeps the multiprocessors busy; short stages fit the shared memory",
    },
    TileKernel {
        tile: Tile { m: 128, n: 128, k: 64, stages: MATMUL_128X128X64_STAGES },
        threads: MATMUL_128X128X64_THREADS,
        warp: [64, 64],
        sharing: 1,
        resident: 2,
        bf16: Kernel::MatmulBf16M128N128K64,
        f16: Kernel::MatmulF16M128N128K64,
        reason: "larger tiles would leave multiprocessors idle in the last wave",
    },
    TileKernel {
        tile: Tile { m: 64, n: 128, k: 64, stages: MATMUL_64X128X64_STAGES },
        threads: MATMUL_64X128X64_THREADS,
        warp: [32, 64],
        sharing: 1,
        resident: 2,
        bf16: Kernel::MatmulBf16M64N128K64,
        f16: Kernel::MatmulF16M64N128K64,
        reason: "few tokens or few tiles: half as high a tile wastes less",
    },
    TileKernel {
        tile: Tile { m: 64, n: 64, k: 128, stages: MATMUL_64X64X128_STAGES },
        threads: MATMUL_64X64X128_THREADS,
        warp: [32, 64],
        sharing: 2,
        resident: 2,
        bf16: Kernel::MatmulBf16M64N64K128,
        f16: Kernel::MatmulF16M64N64K128,
        reason: "few tokens and few rows of weights: more blocks stream them together",
    },
];

/// A kernel that streams weights through registers: no more of the device is busy than its memory.
struct StreamKernel {
    /// Tokens at most, rows of the weight of a block, columns that a warp loads at a time, twice at once.
    tile: Tile,
    bf16: Kernel,
    f16: Kernel,
    reason: &'static str,
}

/// By the number of tokens.
const STREAMS: [StreamKernel; 2] = [
    StreamKernel {
        tile: Tile {
            m: MATMUL_STREAM_M8_TOKENS,
            n: MATMUL_STREAM_M8_ROWS,
            k: MATMUL_STREAM_M8_COLUMNS,
            stages: 2,
        },
        bf16: Kernel::MatmulStreamBf16M8,
        f16: Kernel::MatmulStreamF16M8,
        reason: "so few tokens that reading the weights is all: they stream through registers",
    },
    StreamKernel {
        tile: Tile {
            m: MATMUL_STREAM_M16_TOKENS,
            n: MATMUL_STREAM_M16_ROWS,
            k: MATMUL_STREAM_M16_COLUMNS,
            stages: 2,
        },
        bf16: Kernel::MatmulStreamBf16M16,
        f16: Kernel::MatmulStreamF16M16,
        reason: "reading the weights is all: they stream through registers, more rows for each token that is read",
    },
];

impl StreamKernel {
    fn takes(&self, shape: &MatmulShape) -> bool {
        shape.m <= self.tile.m as usize
    }

    fn plan(&self, dtype: DType, shape: &MatmulShape) -> Result<Plan> {
        let launch = Launch {
            kernel: by_dtype(OP, dtype, self.bf16, self.f16)?,
            grid: [grid(shape.n.div_ceil(self.tile.n as usize) as u64)?, 1, 1],
            block: [32 * MATMUL_STREAM_WARPS, 1, 1],
            dynamic_shared_bytes: 0,
        };
        Ok(Plan { tile: Some(self.tile), ..Plan::simple(OP, launch, self.reason) })
    }
}

/// The tile of batch-invariant mode, whatever the number of tokens. It fits every device.
const INVARIANT: &TileKernel = &TILES[3];

/// Multiply-adds of 16-bit numbers that the tensor cores of a multiprocessor make a cycle by `mma.sync`: about so many on
/// compute capability 9.0, where it has 65% of what wgmma has; 1024 on 8.0.
const PRODUCTS_PER_CYCLE: u64 = 1280;
/// Bytes that pass in or out of a multiprocessor's shared memory a cycle.
const SHARED_BYTES_PER_CYCLE: u64 = 128;
/// Bytes that a multiprocessor takes from L2 a cycle, alone.
const L2_BYTES_PER_CYCLE: u64 = 64;
/// The same where all of them read at once.
const L2_BYTES_PER_CYCLE_SHARED: u64 = 32;
/// Cycles until the pipeline is full, and to store a tile: hidden where another block of the multiprocessor computes.
const BLOCK_CYCLES: u64 = 2000;
/// Shared memory that the system takes of each block.
const RESERVED_SHARED: usize = 1 << 10;
/// Bytes of an element of x and of the weight.
const ELEMENT: u64 = 2;

impl TileKernel {
    fn shared_bytes(&self) -> usize {
        let Tile { m, n, k, stages } = self.tile;
        (stages * (m + n) * k) as usize * ELEMENT as usize
    }

    fn fits(&self, limits: &Limits) -> bool {
        self.shared_bytes() <= limits.shared_memory_per_block
    }

    fn blocks(&self, shape: &MatmulShape) -> u64 {
        (shape.m.div_ceil(self.tile.m as usize) * shape.n.div_ceil(self.tile.n as usize)) as u64
    }

    /// About how many cycles a launch takes: the multiprocessor with the most blocks needs for each 16 columns what its
    /// slowest part does, and all together need what L2 gives.
    fn cycles(&self, shape: &MatmulShape, limits: &Limits) -> u64 {
        const STEP: u64 = 16;
        let [m, n, warps] = [self.tile.m, self.tile.n, self.threads / 32 / self.sharing].map(u64::from);
        let warp: u64 = self.warp.iter().map(|&side| u64::from(side)).sum();
        // Rows past the end of x are not loaded.
        let loaded = (m.min(shape.m as u64) + n) * STEP * ELEMENT;
        let tensor = m * n * STEP / PRODUCTS_PER_CYCLE;
        let shared = (warps * warp * STEP * ELEMENT + loaded) / SHARED_BYTES_PER_CYCLE;
        let step = tensor.max(shared).max(loaded / L2_BYTES_PER_CYCLE);

        let steps = (shape.k as u64).div_ceil(STEP);
        let (blocks, sms) = (self.blocks(shape), u64::from(limits.num_sms.max(1)));
        let fitting =
            (limits.shared_memory_per_block + RESERVED_SHARED) / (self.shared_bytes() + RESERVED_SHARED);
        let resident = u64::from(self.resident).min(fitting as u64).max(1);
        let busiest = blocks.div_ceil(sms).saturating_mul(steps * step + BLOCK_CYCLES / resident);
        let together = blocks.saturating_mul(steps * loaded) / (sms * L2_BYTES_PER_CYCLE_SHARED);
        busiest.max(together)
    }

    fn plan(&self, dtype: DType, shape: &MatmulShape, reason: &'static str) -> Result<Plan> {
        let launch = Launch {
            kernel: by_dtype(OP, dtype, self.bf16, self.f16)?,
            grid: [grid(self.blocks(shape))?, 1, 1],
            block: [self.threads, 1, 1],
            // At most 227 KB: the tiles are constants.
            dynamic_shared_bytes: self.shared_bytes() as u32,
        };
        Ok(Plan { tile: Some(self.tile), ..Plan::simple(OP, launch, reason) })
    }
}

const OP: &str = "matmul";

/// `matmul` on x of `dtype`, bf16 or f16; `None` where there is nothing to do.
///
/// Up to 16 tokens are bound by reading the weights: they are streamed through registers, 16 or 32 rows a block, and K is
/// split over the block's warps. More tokens are made in tiles, the one that a model of the device finds quickest.
///
/// In `batch_invariant` mode there is one kernel, one tile and one order of additions for every `m`, so that a row of the
/// output has the same bits in every batch.
pub fn matmul(
    dtype: DType,
    shape: &MatmulShape,
    batch_invariant: bool,
    limits: &Limits,
) -> Result<Option<Plan>> {
    check(shape)?;
    by_dtype(OP, dtype, INVARIANT.bf16, INVARIANT.f16)?;
    if shape.m == 0 {
        return Ok(None);
    }
    if batch_invariant {
        if !INVARIANT.fits(limits) {
            return Err(no_room(limits));
        }
        let reason = "batch-invariant: one tile and one order of additions for every number of tokens";
        return INVARIANT.plan(dtype, shape, reason).map(Some);
    }
    if let Some(stream) = STREAMS.iter().find(|stream| stream.takes(shape)) {
        return stream.plan(dtype, shape).map(Some);
    }
    let fitting = TILES.iter().filter(|tile| tile.fits(limits));
    let quickest = fitting.map(|tile| (tile, tile.cycles(shape, limits))).reduce(|best, next| {
        // Less than a sixteenth is within what the model does not know; then the larger tile asks less of L2.
        if next.1.saturating_mul(16) < best.1.saturating_mul(15) { next } else { best }
    });
    let (tile, _) = quickest.ok_or_else(|| no_room(limits))?;
    tile.plan(dtype, shape, tile.reason).map(Some)
}

/// The plans of all kernels that can make this product on this device, for tests.
#[cfg(all(feature = "cli", feature = "kernels"))]
pub(crate) fn matmul_candidates(dtype: DType, shape: &MatmulShape, limits: &Limits) -> Result<Vec<Plan>> {
    check(shape)?;
    if shape.m == 0 {
        return Ok(Vec::new());
    }
    let streams = STREAMS.iter().filter(|stream| stream.takes(shape)).map(|stream| stream.plan(dtype, shape));
    let tiles =
        TILES.iter().filter(|tile| tile.fits(limits)).map(|tile| tile.plan(dtype, shape, tile.reason));
    streams.chain(tiles).collect()
}

fn check(shape: &MatmulShape) -> Result<()> {
    let counted = |arg: &'static str, size: usize| {
        // Kernels count rows and columns in an i32.
        i32::try_from(size).map_err(|_| Error::argument(OP, arg, "fewer than 2^31", size))
    };
    counted("m", shape.m)?;
    if counted("n", shape.n)? == 0 {
        return Err(Error::argument(OP, "n", "at least 1", 0));
    }
    if counted("k", shape.k)? == 0 || !shape.k.is_multiple_of(VECTOR_ELEMENTS as usize) {
        return Err(Error::argument(OP, "k", format!("a multiple of {VECTOR_ELEMENTS}"), shape.k));
    }
    let gate_up = 2 * MATMUL_SWIGLU_BLOCK as usize;
    if shape.epilogue == Epilogue::SwiGlu && !shape.n.is_multiple_of(gate_up) {
        return Err(Error::argument(OP, "n", format!("a multiple of {gate_up} with SwiGLU"), shape.n));
    }
    Ok(())
}

fn grid(blocks: u64) -> Result<u32> {
    let fits = i32::try_from(blocks).map(i32::unsigned_abs);
    fits.map_err(|_| Error::argument(OP, "out", "fewer than 2^31 tiles", blocks))
}

fn no_room(limits: &Limits) -> Error {
    let least = TILES.iter().map(TileKernel::shared_bytes).min().unwrap_or(0).max(INVARIANT.shared_bytes());
    Error::unsupported(
        "matmul",
        format!(
            "a block needs {least} bytes of shared memory, the device has {}",
            limits.shared_memory_per_block
        ),
    )
}

#[cfg(test)]
mod tests;
