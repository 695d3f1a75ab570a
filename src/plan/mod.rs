//! Which kernel runs an operation, and in what grid: pure functions of shapes, the same on every machine.
//!
//! A plan knows no device. It names a [`Kernel`] of the one table that the build script compiles, so that a plan
//! cannot name what was not compiled, and it takes tile sizes from [`crate::params`], where the kernels take them
//! from.

mod attention;
mod attention_combine;
mod attention_decode;
mod ceiling;
mod log;
mod matmul;
mod rope;
mod rows;
mod sample;

use std::any::TypeId;
use std::fmt;

pub(crate) use attention::attention_prefill_keys;
pub use attention::{AttentionShape, attention_prefill};
pub use attention_combine::{MAX_COMBINED_HEAD_DIM, attention_combine};
#[cfg(feature = "kernels")]
pub(crate) use attention_decode::Workspace;
pub use attention_decode::{attention_decode, attention_decode_split_keys};
pub use ceiling::{ceiling_copy, ceiling_empty, ceiling_mma, ceiling_read, ceiling_wgmma};
pub use log::LOG_VARIABLE;
pub(crate) use matmul::Split;
pub use matmul::{Fp8Scales, MatmulShape, Operands, matmul, matmul_workspace_bytes};
#[cfg(all(feature = "cli", feature = "kernels"))]
pub(crate) use matmul::{matmul_candidates, matmul_shared};
pub use rope::rope_append_kv;
pub use rows::{
    MAX_QUANTIZED_ROW, MAX_ROW, add_rms_norm, add_rms_norm_fp8, embed, gather_rows, permute_columns,
    quantize_fp8, rms_norm, rms_norm_fp8, silu_and_mul,
};
pub use sample::{MAX_VOCABULARY, sample};

use crate::params::{
    AddRmsNormFp8Params, AddRmsNormParams, AttentionCombineParams, AttentionParams, CeilingMemoryParams,
    CeilingTensorParams, EmbedParams, MatmulFp8Params, MatmulInt4Params, MatmulParams, PermuteColumnsParams,
    QuantizeFp8Params, RmsNormFp8Params, RmsNormParams, RopeAppendKvParams, SampleParams, SiluAndMulParams,
    VECTOR_ELEMENTS,
};
use crate::tensor::DType;
use crate::{Error, Result};

/// A struct of [`crate::params`] that kernels take: plain bytes, none of them without a name.
pub trait KernelParams: bytemuck::Pod {}

impl KernelParams for EmbedParams {}
impl KernelParams for RmsNormParams {}
impl KernelParams for AddRmsNormParams {}
impl KernelParams for RmsNormFp8Params {}
impl KernelParams for AddRmsNormFp8Params {}
impl KernelParams for PermuteColumnsParams {}
impl KernelParams for QuantizeFp8Params {}
impl KernelParams for SiluAndMulParams {}
impl KernelParams for RopeAppendKvParams {}
impl KernelParams for AttentionParams {}
impl KernelParams for AttentionCombineParams {}
impl KernelParams for MatmulParams {}
impl KernelParams for MatmulInt4Params {}
impl KernelParams for MatmulFp8Params {}
impl KernelParams for SampleParams {}
impl KernelParams for CeilingMemoryParams {}
impl KernelParams for CeilingTensorParams {}

macro_rules! kernel_table {
    ($($family:ident { $($(#[$doc:meta])* $variant:ident($params:ident) = $name:literal,)* })*) => {
        /// A compiled kernel.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Kernel {
            $($($(#[$doc])* $variant,)*)*
        }

        impl Kernel {
            /// All of them.
            pub const ALL: &[Kernel] = &[$($(Kernel::$variant,)*)*];

            /// Its name in the compiled module.
            pub fn name(self) -> &'static str {
                match self {
                    $($(Kernel::$variant => $name,)*)*
                }
            }

            /// The file in `cuda/` that it stands in, without its ending; its module has the same name.
            pub fn family(self) -> &'static str {
                match self {
                    $($(Kernel::$variant => stringify!($family),)*)*
                }
            }

            /// The name of the struct that it takes.
            pub fn params(self) -> &'static str {
                match self {
                    $($(Kernel::$variant => stringify!($params),)*)*
                }
            }

            /// Whether `P` is the struct that it takes.
            pub fn takes<P: KernelParams>(self) -> bool {
                fn id<P: KernelParams>() -> TypeId {
                    TypeId::of::<P>()
                }
                id::<P>() == match self {
                    $($(Kernel::$variant => id::<$params>(),)*)*
                }
            }
        }
    };
}
include!("../../build/kernel_table.rs");

impl Kernel {
    /// The compute capability that alone runs it; `None` for the portable kernels, which every device runs.
    ///
    /// As for the build script: a file with `_sm90` in its name is made of instructions that only Hopper has.
    pub fn needs(self) -> Option<(u32, u32)> {
        self.family().contains("_sm90").then_some((9, 0))
    }
}

/// What a plan asks of a device: two devices with the same limits get the same plans.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limits {
    /// Multiprocessors.
    pub num_sms: u32,
    /// Bytes of shared memory that a block may use.
    pub shared_memory_per_block: usize,
}

/// The part of an output that a block computes, and how its inputs come to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tile {
    /// Rows: tokens, or tokens times the query heads of a key/value head.
    pub m: u32,
    /// Columns of the output, or keys.
    pub n: u32,
    /// Elements of the inner dimension that are loaded at a time.
    pub k: u32,
    /// Loads that the pipeline holds.
    pub stages: u32,
}

/// Which kernel runs an operation, how, and why: the same for the same shapes and [`Limits`], and printable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Plan {
    /// The operation, by its name in `ops`.
    pub op: &'static str,
    /// Kernel and grid.
    pub launch: Launch,
    /// What a block computes; `None` where a kernel has one shape for all.
    pub tile: Option<Tile>,
    /// Parts that the work on one output is split into at most. Those of a matrix product are merged in the same launch;
    /// those of `attention_decode`, where there is more than 1, by a launch more.
    pub splits: u32,
    /// Bytes that the operation's workspace must have.
    pub workspace_bytes: usize,
    /// Why this kernel and this tile.
    pub reason: &'static str,
}

impl Plan {
    /// A plan of one launch without tiles, splits and workspace.
    pub(crate) fn simple(op: &'static str, launch: Launch, reason: &'static str) -> Self {
        Plan { op, launch, tile: None, splits: 1, workspace_bytes: 0, reason }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Launch { kernel, grid: [x, y, z], block, dynamic_shared_bytes } = self.launch;
        let threads: u32 = block.iter().product();
        write!(f, "{}: {} grid {x}x{y}x{z} of {threads} threads", self.op, kernel.name())?;
        if let Some(Tile { m, n, k, stages }) = self.tile {
            write!(f, ", tile {m}x{n}x{k}, {stages} stages")?;
        }
        if dynamic_shared_bytes > 0 {
            write!(f, ", {dynamic_shared_bytes} bytes of shared memory")?;
        }
        if self.splits > 1 {
            write!(f, ", up to {} splits", self.splits)?;
        }
        if self.workspace_bytes > 0 {
            write!(f, ", workspace {} bytes", self.workspace_bytes)?;
        }
        write!(f, " ({})", self.reason)
    }
}

/// One launch: a kernel and its grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Launch {
    /// The kernel.
    pub kernel: Kernel,
    /// Blocks in x, y and z.
    pub grid: [u32; 3],
    /// Threads of a block in x, y and z.
    pub block: [u32; 3],
    /// Bytes of shared memory of a block beside what the kernel declares.
    pub dynamic_shared_bytes: u32,
}

const WARP: usize = 32;
const MAX_BLOCK_THREADS: usize = 1024;
const MAX_GRID_Y: usize = 65_535;

fn by_dtype(op: &'static str, dtype: DType, bf16: Kernel, f16: Kernel) -> Result<Kernel> {
    match dtype {
        DType::BF16 => Ok(bf16),
        DType::F16 => Ok(f16),
        other => Err(Error::argument(op, "x", "bf16 or f16", other)),
    }
}

/// Kernels count rows in an i32.
fn tokens(op: &'static str, num_tokens: usize) -> Result<u32> {
    i32::try_from(num_tokens)
        .map(i32::unsigned_abs)
        .map_err(|_| Error::argument(op, "num_tokens", "fewer than 2^31", num_tokens))
}

fn width(op: &'static str, arg: &'static str, width: usize, max: usize) -> Result<()> {
    if width == 0 || !width.is_multiple_of(VECTOR_ELEMENTS as usize) || width > max {
        let expected = format!("a multiple of {VECTOR_ELEMENTS}, at most {max}");
        return Err(Error::argument(op, arg, expected, width));
    }
    Ok(())
}
