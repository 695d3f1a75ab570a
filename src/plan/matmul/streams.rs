//! Kernels for few tokens, which stream the weights.

use super::{Kernel, Launch, Limits, MatmulShape, Operands, Plan, Split, Storage, Tile, grid, kernel};
use crate::Result;
use crate::params::{
    MATMUL_FP8_STREAM_COLUMNS, MATMUL_FP8_STREAM_ROWS, MATMUL_INT4_STREAM_M8_COLUMNS,
    MATMUL_INT4_STREAM_M8_ROWS, MATMUL_INT4_STREAM_M16_COLUMNS, MATMUL_INT4_STREAM_M16_ROWS,
    MATMUL_STREAM_COLUMNS, MATMUL_STREAM_DEPTH, MATMUL_STREAM_M8_TOKENS, MATMUL_STREAM_M16_TOKENS,
    MATMUL_STREAM_ROWS, MATMUL_STREAM_WARPS,
};
use crate::tensor::DType;

/// A kernel that streams weights through rings in shared memory: no more of the device is busy than its memory.
pub(super) struct StreamKernel {
    pub storage: Storage,
    /// Tokens at most, rows of the weight of a tile, columns that a warp loads at a time, how often it has room for them.
    pub tile: Tile,
    /// For x of bf16 and of f16.
    pub kernels: [Kernel; 2],
}

/// For each storage by the number of tokens.
pub(super) const STREAMS: &[StreamKernel] = &[
    StreamKernel {
        storage: Storage::Native,
        tile: NATIVE.tokens(MATMUL_STREAM_M8_TOKENS),
        kernels: [Kernel::MatmulStreamBf16M8, Kernel::MatmulStreamF16M8],
    },
    StreamKernel {
        storage: Storage::Native,
        tile: NATIVE.tokens(MATMUL_STREAM_M16_TOKENS),
        kernels: [Kernel::MatmulStreamBf16M16, Kernel::MatmulStreamF16M16],
    },
    StreamKernel {
        storage: Storage::Int4,
        tile: INT4_M8.tokens(MATMUL_STREAM_M8_TOKENS),
        kernels: [Kernel::MatmulInt4StreamBf16M8, Kernel::MatmulInt4StreamF16M8],
    },
    StreamKernel {
        storage: Storage::Int4,
        tile: INT4_M16.tokens(MATMUL_STREAM_M16_TOKENS),
        kernels: [Kernel::MatmulInt4StreamBf16M16, Kernel::MatmulInt4StreamF16M16],
    },
    StreamKernel {
        storage: Storage::Fp8,
        tile: FP8.tokens(MATMUL_STREAM_M8_TOKENS),
        kernels: [Kernel::MatmulFp8StreamBf16M8, Kernel::MatmulFp8StreamF16M8],
    },
    StreamKernel {
        storage: Storage::Fp8,
        tile: FP8.tokens(MATMUL_STREAM_M16_TOKENS),
        kernels: [Kernel::MatmulFp8StreamBf16M16, Kernel::MatmulFp8StreamF16M16],
    },
];

/// Rows and columns of a warp's unit.
struct Unit {
    rows: u32,
    columns: u32,
}

const NATIVE: Unit = Unit { rows: MATMUL_STREAM_ROWS, columns: MATMUL_STREAM_COLUMNS };
const INT4_M8: Unit = Unit { rows: MATMUL_INT4_STREAM_M8_ROWS, columns: MATMUL_INT4_STREAM_M8_COLUMNS };
const INT4_M16: Unit = Unit { rows: MATMUL_INT4_STREAM_M16_ROWS, columns: MATMUL_INT4_STREAM_M16_COLUMNS };
const FP8: Unit = Unit { rows: MATMUL_FP8_STREAM_ROWS, columns: MATMUL_FP8_STREAM_COLUMNS };

impl Unit {
    const fn tokens(self, m: u32) -> Tile {
        Tile { m, n: self.rows, k: self.columns, stages: MATMUL_STREAM_DEPTH }
    }
}

/// Columns from which on a kernel's offsets in a tile would not fit an i32.
const MAX_COLUMNS: usize = 1 << 28;
/// Bytes of weights of a unit, of any storage.
const UNIT_BYTES: u64 = 4096;
/// Bytes that memory gives a multiprocessor a cycle, on an H200.
const MEMORY_BYTES_PER_CYCLE: u64 = 18;
/// Cycles from a block's last product to the sum of a tile that others share: as for tiles.
const SPLIT_CYCLES: u64 = 3000;
/// Shared memory of a block beside its rings.
const STATIC_SHARED: usize = 128;

impl StreamKernel {
    pub fn takes(&self, shape: &MatmulShape) -> bool {
        let takes = self.storage == shape.operands.storage() && !shape.quantized;
        takes && shape.m <= self.tile.m as usize && shape.k < MAX_COLUMNS
    }

    /// Bytes of a unit's weights, x and scales in shared memory.
    fn place_bytes(&self, shape: &MatmulShape) -> usize {
        let Tile { m, n, k, .. } = self.tile;
        let [m, n, k] = [m, n, k].map(|size| size as usize);
        match shape.operands {
            Operands::Native => 2 * (m + n) * k,
            // A group of all columns is no more than one.
            Operands::Int4 { group, zeros } => {
                2 * m * k + n * k / 2 + n * 2 * (k / group).max(1) * (1 + usize::from(zeros))
            }
            // With a scale for each lane.
            Operands::Fp8 { .. } => (m + n) * k + 32 * size_of::<f32>(),
        }
    }

    fn tiles(&self, shape: &MatmulShape) -> u64 {
        shape.n.div_ceil(self.tile.n as usize) as u64
    }

    /// Units of a tile.
    fn units(&self, shape: &MatmulShape) -> u64 {
        shape.k.div_ceil(self.tile.k as usize) as u64
    }

    /// All tiles shared evenly by so many blocks.
    pub fn split_over(&self, shape: &MatmulShape, blocks: u64) -> Option<Split> {
        Split::new(self.tiles(shape), self.units(shape), blocks)
    }

    /// All tiles shared evenly by a block a multiprocessor, or by fewer where their warps would have no unit; `None` where
    /// whole tiles are as quick.
    pub fn split(&self, shape: &MatmulShape, limits: &Limits) -> Option<Split> {
        let tiles = self.tiles(shape);
        let units = self.units(shape);
        let sms = u64::from(limits.num_sms.max(1));
        let blocks = sms.min(tiles.checked_mul(units)? / u64::from(MATMUL_STREAM_WARPS)).max(1);
        let split = self.split_over(shape, blocks)?;
        let whole = tiles.div_ceil(sms) * units;
        let waiting = SPLIT_CYCLES * MEMORY_BYTES_PER_CYCLE / UNIT_BYTES;
        (split.most_units() + waiting < whole).then_some(split)
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
        Split::workspace(u64::from(limits.num_sms.max(1)), self.partial_bytes())
    }

    /// Warps of a block: as many as have room for their rings.
    fn warps(&self, shape: &MatmulShape, limits: &Limits) -> u32 {
        let ring = self.tile.stages as usize * self.place_bytes(shape);
        let fitting = limits.shared_memory_per_block.saturating_sub(STATIC_SHARED) / ring;
        MATMUL_STREAM_WARPS.min(fitting as u32)
    }

    pub fn fits(&self, shape: &MatmulShape, limits: &Limits) -> bool {
        self.warps(shape, limits) > 0
    }

    pub fn plan(
        &self,
        dtype: DType,
        shape: &MatmulShape,
        split: Option<Split>,
        limits: &Limits,
    ) -> Result<Plan> {
        let whole = self.tiles(shape).min(u64::from(limits.num_sms.max(1)));
        let warps = self.warps(shape, limits);
        let launch = Launch {
            kernel: kernel(shape, dtype, self.kernels)?,
            grid: [grid(shape, split.map_or(whole, |split| split.blocks()))?, 1, 1],
            block: [32 * warps, 1, 1],
            dynamic_shared_bytes: warps * self.tile.stages * self.place_bytes(shape) as u32,
        };
        let reason = if split.is_some() {
            "reading the weights is all: they stream through shared memory, evenly over all multiprocessors"
        } else {
            "reading the weights is all: they stream through shared memory"
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
