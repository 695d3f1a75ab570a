//! Kernels that make tiles of outputs, and a model of the cycles that they take.

use super::{Kernel, Launch, Limits, MatmulShape, Plan, Split, Storage, Tile, grid, kernel};
use crate::Result;
use crate::params::{
    FP8_GROUP_COLUMNS, MATMUL_64X64X128_STAGES, MATMUL_64X64X128_THREADS, MATMUL_64X128X64_STAGES,
    MATMUL_64X128X64_THREADS, MATMUL_128X128X64_STAGES, MATMUL_128X128X64_THREADS, MATMUL_128X256X32_STAGES,
    MATMUL_128X256X32_THREADS, MATMUL_128X256X64_STAGES, MATMUL_128X256X64_THREADS,
    MATMUL_FP8_64X128X128_STAGES, MATMUL_FP8_64X128X128_THREADS, MATMUL_FP8_64X256X64_STAGES,
    MATMUL_FP8_64X256X64_THREADS, MATMUL_FP8_128X128X128_STAGES, MATMUL_FP8_128X128X128_THREADS,
    MATMUL_INT4_32X256X64_STAGES, MATMUL_INT4_32X256X64_THREADS, MATMUL_INT4_64X128X64_STAGES,
    MATMUL_INT4_64X128X64_THREADS, MATMUL_INT4_128X256X64_STAGES, MATMUL_INT4_128X256X64_THREADS,
};
use crate::tensor::DType;

/// A kernel that makes a tile of outputs from tiles in shared memory.
pub(super) struct TileKernel {
    pub storage: Storage,
    pub tile: Tile,
    pub threads: u32,
    /// Outputs of a warp: rows of x, rows of the weight.
    pub warp: [u32; 2],
    /// Warps that make the same outputs, each from a part of the columns.
    pub sharing: u32,
    /// Blocks whose registers a multiprocessor holds.
    pub resident: u32,
    /// Whether it is the one of batch-invariant mode, whatever the number of tokens. It fits every device.
    pub invariant: bool,
    /// For x of bf16 and of f16.
    pub kernels: [Kernel; 2],
    pub reason: &'static str,
}

/// Every tile, for each storage the largest first: of two that take as long it is the one that asks less of L2.
pub(super) const TILES: &[TileKernel] = &[
    TileKernel {
        storage: Storage::Native,
        tile: Tile { m: 128, n: 256, k: 64, stages: MATMUL_128X256X64_STAGES },
        threads: MATMUL_128X256X64_THREADS,
        warp: [64, 64],
        sharing: 1,
        resident: 1,
        invariant: false,
        kernels: [Kernel::MatmulBf16M128N256K64, Kernel::MatmulF16M128N256K64],
        reason: "the largest tile keeps the multiprocessors busy: fewest bytes a product",
    },
    TileKernel {
        storage: Storage::Native,
        tile: Tile { m: 128, n: 256, k: 32, stages: MATMUL_128X256X32_STAGES },
        threads: MATMUL_128X256X32_THREADS,
        warp: [64, 64],
        sharing: 1,
        resident: 1,
        invariant: false,
        kernels: [Kernel::MatmulBf16M128N256K32, Kernel::MatmulF16M128N256K32],
        reason: "the largest tile keeps the multiprocessors busy; short stages fit the shared memory",
    },
    TileKernel {
        storage: Storage::Native,
        tile: Tile { m: 128, n: 128, k: 64, stages: MATMUL_128X128X64_STAGES },
        threads: MATMUL_128X128X64_THREADS,
        warp: [64, 64],
        sharing: 1,
        resident: 2,
        invariant: false,
        kernels: [Kernel::MatmulBf16M128N128K64, Kernel::MatmulF16M128N128K64],
        reason: "larger tiles would leave multiprocessors idle in the last wave",
    },
    TileKernel {
        storage: Storage::Native,
        tile: Tile { m: 64, n: 128, k: 64, stages: MATMUL_64X128X64_STAGES },
        threads: MATMUL_64X128X64_THREADS,
        warp: [32, 64],
        sharing: 1,
        resident: 2,
        invariant: true,
        kernels: [Kernel::MatmulBf16M64N128K64, Kernel::MatmulF16M64N128K64],
        reason: "few tokens or few tiles: half as high a tile wastes less",
    },
    TileKernel {
        storage: Storage::Native,
        tile: Tile { m: 64, n: 64, k: 128, stages: MATMUL_64X64X128_STAGES },
        threads: MATMUL_64X64X128_THREADS,
        warp: [32, 64],
        sharing: 2,
        resident: 2,
        invariant: false,
        kernels: [Kernel::MatmulBf16M64N64K128, Kernel::MatmulF16M64N64K128],
        reason: "few tokens and few rows of weights: more blocks stream them together",
    },
    TileKernel {
        storage: Storage::Int4,
        tile: Tile { m: 128, n: 256, k: 64, stages: MATMUL_INT4_128X256X64_STAGES },
        threads: MATMUL_INT4_128X256X64_THREADS,
        warp: [64, 64],
        sharing: 1,
        resident: 1,
        invariant: false,
        kernels: [Kernel::MatmulInt4Bf16M128N256K64, Kernel::MatmulInt4F16M128N256K64],
        reason: "the largest tile keeps the multiprocessors busy: a weight is dequantised least often",
    },
    TileKernel {
        storage: Storage::Int4,
        tile: Tile { m: 64, n: 128, k: 64, stages: MATMUL_INT4_64X128X64_STAGES },
        threads: MATMUL_INT4_64X128X64_THREADS,
        warp: [32, 64],
        sharing: 1,
        resident: 2,
        invariant: true,
        kernels: [Kernel::MatmulInt4Bf16M64N128K64, Kernel::MatmulInt4F16M64N128K64],
        reason: "few tokens or few tiles: half as high a tile wastes less",
    },
    TileKernel {
        storage: Storage::Int4,
        tile: Tile { m: 32, n: 256, k: 64, stages: MATMUL_INT4_32X256X64_STAGES },
        threads: MATMUL_INT4_32X256X64_THREADS,
        warp: [32, 64],
        sharing: 1,
        resident: 2,
        invariant: false,
        kernels: [Kernel::MatmulInt4Bf16M32N256K64, Kernel::MatmulInt4F16M32N256K64],
        reason: "few tokens: more weights for each of them that is read",
    },
    TileKernel {
        storage: Storage::Fp8,
        tile: Tile { m: 128, n: 128, k: 128, stages: MATMUL_FP8_128X128X128_STAGES },
        threads: MATMUL_FP8_128X128X128_THREADS,
        warp: [32, 64],
        sharing: 1,
        resident: 1,
        invariant: false,
        kernels: [Kernel::MatmulFp8Bf16M128N128K128, Kernel::MatmulFp8F16M128N128K128],
        reason: "the square tile keeps the multiprocessors busy: fewest bytes a product",
    },
    TileKernel {
        storage: Storage::Fp8,
        tile: Tile { m: 64, n: FP8_QUANTIZING_N, k: 64, stages: MATMUL_FP8_64X256X64_STAGES },
        threads: MATMUL_FP8_64X256X64_THREADS,
        warp: [32, 64],
        sharing: 1,
        resident: 1,
        invariant: false,
        kernels: [Kernel::MatmulFp8Bf16M64N256K64, Kernel::MatmulFp8F16M64N256K64],
        reason: "half as high a tile wastes less, or 128 columns of the output share a scale",
    },
    TileKernel {
        storage: Storage::Fp8,
        tile: Tile { m: 64, n: 128, k: 128, stages: MATMUL_FP8_64X128X128_STAGES },
        threads: MATMUL_FP8_64X128X128_THREADS,
        warp: [32, 64],
        sharing: 1,
        resident: 2,
        invariant: true,
        kernels: [Kernel::MatmulFp8Bf16M64N128K128, Kernel::MatmulFp8F16M64N128K128],
        reason: "few tokens or few tiles: half as high a tile wastes less",
    },
];

/// Rows of gate and up behind 128 columns of an output in e4m3: what a tile needs to quantise it.
const FP8_QUANTIZING_N: u32 = 2 * FP8_GROUP_COLUMNS;

impl Storage {
    /// Half bytes of an element of x and of the weight in shared memory.
    fn half_bytes(self) -> [u64; 2] {
        match self {
            Storage::Native => [4, 4],
            Storage::Int4 => [4, 1],
            Storage::Fp8 => [2, 2],
        }
    }

    /// Bytes that a stage has for the scales of so many rows of the weight: of two groups, with zeros.
    fn scale_bytes(self, rows: u32) -> u32 {
        match self {
            Storage::Int4 => rows * 2 * 2 * 2,
            Storage::Native | Storage::Fp8 => 0,
        }
    }
}

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
/// Cycles from a block's last product to the sum of a tile that others share, but for the partial sums' way: two barriers, the
/// counter, and the first of the partial sums, each a way to L2 and back.
const SPLIT_CYCLES: u64 = 3000;
/// Stages that a block has at least of shared tiles: so many fill its pipeline.
const LEAST_UNITS: u64 = 4;
/// From so many tiles a block on, whole ones are even enough.
const MOST_WAVES: u64 = 8;
/// Shared memory that the system takes of each block.
const RESERVED_SHARED: usize = 1 << 10;
/// Columns of one mma of 16-bit numbers.
const STEP: u64 = 16;

impl TileKernel {
    /// Whether it can make an output in e4m3.
    pub fn quantizes(&self) -> bool {
        self.storage == Storage::Fp8 && self.tile.n == FP8_QUANTIZING_N
    }

    pub fn shared_bytes(&self) -> usize {
        let Tile { m, n, k, stages } = self.tile;
        let [x, weight] = self.storage.half_bytes().map(|half_bytes| half_bytes as u32);
        (stages * ((m * x + n * weight) * k / 2 + self.storage.scale_bytes(n))) as usize
    }

    pub fn fits(&self, limits: &Limits) -> bool {
        self.shared_bytes() <= limits.shared_memory_per_block
    }

    /// Blocks that a multiprocessor holds.
    fn resident(&self, limits: &Limits) -> u64 {
        let fitting =
            (limits.shared_memory_per_block + RESERVED_SHARED) / (self.shared_bytes() + RESERVED_SHARED);
        u64::from(self.resident).min(fitting as u64).max(1)
    }

    fn tiles(&self, shape: &MatmulShape) -> u64 {
        (shape.m.div_ceil(self.tile.m as usize) * shape.n.div_ceil(self.tile.n as usize)) as u64
    }

    /// All tiles shared evenly by so many blocks of each multiprocessor, or by fewer where they would have too few units;
    /// `None` where whole tiles are about as even.
    pub fn split(&self, shape: &MatmulShape, resident: u64, limits: &Limits) -> Option<Split> {
        let tiles = self.tiles(shape);
        let room = resident * u64::from(limits.num_sms.max(1));
        let blocks = room.min(tiles.checked_mul(self.units(shape))? / LEAST_UNITS);
        if blocks == 0 || tiles.is_multiple_of(blocks) || tiles / blocks >= MOST_WAVES {
            return None;
        }
        self.split_over(shape, blocks)
    }

    /// All tiles shared evenly by so many blocks.
    pub fn split_over(&self, shape: &MatmulShape, blocks: u64) -> Option<Split> {
        Split::new(self.tiles(shape), self.units(shape), blocks)
    }

    /// Stages of a tile.
    fn units(&self, shape: &MatmulShape) -> u64 {
        shape.k.div_ceil(self.tile.k as usize) as u64
    }

    /// The splits that are worth a thought, and no split.
    pub fn splits(&self, shape: &MatmulShape, limits: &Limits) -> impl Iterator<Item = Option<Split>> {
        let splits = (1..=self.resident(limits)).filter_map(|resident| self.split(shape, resident, limits));
        std::iter::once(None).chain(splits.map(Some))
    }

    /// Bytes of the partial sums of a tile.
    fn partial_bytes(&self) -> u64 {
        u64::from(self.tile.m) * u64::from(self.tile.n) * size_of::<f32>() as u64
    }

    /// Bytes of workspace that a launch of this split needs.
    pub fn workspace(&self, split: &Split) -> usize {
        Split::workspace(split.blocks(), self.partial_bytes())
    }

    /// Bytes of workspace that any launch needs.
    pub fn most_workspace(&self, limits: &Limits) -> usize {
        let blocks = self.resident(limits) * u64::from(limits.num_sms.max(1));
        Split::workspace(blocks, self.partial_bytes())
    }

    /// About how many cycles a launch takes: the multiprocessor with the most blocks needs for each 16 columns what its
    /// slowest part does, and all together need what L2 gives.
    pub fn cycles(&self, shape: &MatmulShape, split: Option<Split>, limits: &Limits) -> u64 {
        let [m, n, warps] = [self.tile.m, self.tile.n, self.threads / 32 / self.sharing].map(u64::from);
        let [warp_m, warp_n] = self.warp.map(u64::from);
        let [x, weight] = self.storage.half_bytes();
        // Rows past the end of x are not loaded.
        let loaded = (m.min(shape.m as u64) * x + n * weight) * STEP / 2;
        let tensor = m * n * STEP / PRODUCTS_PER_CYCLE;
        let fragments = warps * (warp_m * x + warp_n * weight) * STEP / 2;
        let shared = (fragments + loaded) / SHARED_BYTES_PER_CYCLE;
        let step = tensor.max(shared).max(loaded / L2_BYTES_PER_CYCLE);

        let steps = (shape.k as u64).div_ceil(STEP);
        let (tiles, sms) = (self.tiles(shape), u64::from(limits.num_sms.max(1)));
        let resident = self.resident(limits);
        let steps_together = tiles.saturating_mul(steps * loaded) / (sms * L2_BYTES_PER_CYCLE_SHARED);
        let Some(split) = split else {
            let busiest = tiles.div_ceil(sms).saturating_mul(steps * step + BLOCK_CYCLES / resident);
            return busiest.max(steps_together);
        };
        let blocks = split.blocks().div_ceil(sms);
        let resident = blocks.min(resident);
        let steps = split.most_units() * (u64::from(self.tile.k) / STEP);
        let busiest = blocks.saturating_mul(steps * step + BLOCK_CYCLES / resident);
        // Written by each block, and read by the last.
        let partials = 2 * split.partials() * self.partial_bytes();
        busiest.max(steps_together) + SPLIT_CYCLES + partials / (sms * L2_BYTES_PER_CYCLE_SHARED)
    }

    pub fn plan(
        &self,
        dtype: DType,
        shape: &MatmulShape,
        split: Option<Split>,
        reason: &'static str,
    ) -> Result<Plan> {
        let blocks = split.map_or(self.tiles(shape), |split| split.blocks());
        let launch = Launch {
            kernel: kernel(shape, dtype, self.kernels)?,
            grid: [grid(shape, blocks)?, 1, 1],
            block: [self.threads, 1, 1],
            // At most 227 KB: the tiles are constants.
            dynamic_shared_bytes: self.shared_bytes() as u32,
        };
        Ok(Plan {
            tile: Some(self.tile),
            // No more than there are blocks.
            splits: split.map_or(1, |split| split.most_shares() as u32),
            workspace_bytes: split.map_or(0, |split| self.workspace(&split)),
            ..Plan::simple(shape.operands.op(), launch, reason)
        })
    }
}
