//! Which kernel runs an operation, and in what grid: pure functions of shapes, the same on every machine.
//!
//! A plan knows no device. It names a [`Kernel`] of the one table that the build script compiles, so that a plan
//! cannot name what was not compiled, and it takes tile sizes from [`crate::params`], where the kernels take them
//! from.

use std::any::TypeId;

use crate::params::{
    AddRmsNormParams, EmbedParams, ROW_VECTORS_PER_THREAD, ROWS_PER_BLOCK, RmsNormParams,
    SILU_AND_MUL_THREADS, SILU_AND_MUL_VECTORS_PER_THREAD, SiluAndMulParams, VECTOR_ELEMENTS,
};
use crate::tensor::DType;
use crate::{Error, Result};

/// A struct of [`crate::params`] that kernels take: plain bytes, none of them without a name.
pub trait KernelParams: bytemuck::Pod {}

impl KernelParams for EmbedParams {}
impl KernelParams for RmsNormParams {}
impl KernelParams for AddRmsNormParams {}
impl KernelParams for SiluAndMulParams {}

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
include!("../build/kernel_table.rs");

/// One launch: a kernel and its grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// The widest row that a row kernel holds in the registers of one block, in 16-bit elements.
pub const MAX_ROW: usize = MAX_BLOCK_THREADS * ROW_VECTORS_PER_THREAD as usize * VECTOR_ELEMENTS as usize;

/// `embed` of rows of `hidden` elements; `None` where there is nothing to do.
pub fn embed(num_tokens: usize, hidden: usize) -> Result<Option<Launch>> {
    rows("embed", Kernel::EmbedB16, num_tokens, hidden)
}

/// `rms_norm` of `num_tokens` rows of `hidden` elements in bf16 or f16; `None` where there is nothing to do.
pub fn rms_norm(dtype: DType, num_tokens: usize, hidden: usize) -> Result<Option<Launch>> {
    let kernel = by_dtype("rms_norm", dtype, Kernel::RmsNormBf16, Kernel::RmsNormF16)?;
    rows("rms_norm", kernel, num_tokens, hidden)
}

/// `add_rms_norm` of `num_tokens` rows of `hidden` elements in bf16 or f16; `None` where there is nothing to do.
pub fn add_rms_norm(dtype: DType, num_tokens: usize, hidden: usize) -> Result<Option<Launch>> {
    let kernel = by_dtype("add_rms_norm", dtype, Kernel::AddRmsNormBf16, Kernel::AddRmsNormF16)?;
    rows("add_rms_norm", kernel, num_tokens, hidden)
}

/// `silu_and_mul` of `num_tokens` rows with `intermediate` outputs in bf16 or f16; `None` where there is nothing to
/// do.
pub fn silu_and_mul(dtype: DType, num_tokens: usize, intermediate: usize) -> Result<Option<Launch>> {
    const OP: &str = "silu_and_mul";
    let kernel = by_dtype(OP, dtype, Kernel::SiluAndMulBf16, Kernel::SiluAndMulF16)?;
    let outputs_per_block =
        (SILU_AND_MUL_THREADS * SILU_AND_MUL_VECTORS_PER_THREAD * VECTOR_ELEMENTS) as usize;
    let max = MAX_GRID_Y * outputs_per_block;
    let num_tokens = tokens(OP, num_tokens)?;
    width(OP, "intermediate", intermediate, max)?;
    let blocks_per_row = intermediate.div_ceil(outputs_per_block) as u32;
    let launch = Launch {
        kernel,
        grid: [num_tokens, blocks_per_row, 1],
        block: [SILU_AND_MUL_THREADS, 1, 1],
        dynamic_shared_bytes: 0,
    };
    Ok((num_tokens > 0).then_some(launch))
}

/// The grid of a kernel that holds a row in registers. `ROW_VECTORS_PER_THREAD` vectors a thread keep 64 bytes in
/// flight for each, with 64 registers at most, so that 1024 threads (64 KB) fit a multiprocessor. Narrow rows take
/// one warp, without a barrier, and share a block; wider ones a block each, as many warps as the row needs.
fn rows(op: &'static str, kernel: Kernel, num_tokens: usize, hidden: usize) -> Result<Option<Launch>> {
    let num_tokens = tokens(op, num_tokens)?;
    width(op, "hidden", hidden, MAX_ROW)?;
    let vectors = hidden / VECTOR_ELEMENTS as usize;
    let threads = vectors.div_ceil(ROW_VECTORS_PER_THREAD as usize).next_multiple_of(WARP);
    let rows_per_block = if threads == WARP { ROWS_PER_BLOCK } else { 1 };
    let launch = Launch {
        kernel,
        grid: [num_tokens.div_ceil(rows_per_block), 1, 1],
        block: [threads as u32, rows_per_block, 1],
        dynamic_shared_bytes: 0,
    };
    Ok((num_tokens > 0).then_some(launch))
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_covered_whole_by_warps() {
        for hidden in (8..=MAX_ROW).step_by(8) {
            let Launch { grid, block, .. } = rms_norm(DType::BF16, 5, hidden).unwrap().unwrap();
            let covered = (block[0] * ROW_VECTORS_PER_THREAD * VECTOR_ELEMENTS) as usize;
            assert!(covered >= hidden, "{hidden}");
            assert!(
                covered - hidden < WARP * (ROW_VECTORS_PER_THREAD * VECTOR_ELEMENTS) as usize,
                "{hidden}"
            );
            assert!(block[0].is_multiple_of(WARP as u32) && block[0] * block[1] <= MAX_BLOCK_THREADS as u32);
            // Rows that share a block must not need a barrier.
            assert!(block[1] == 1 || block[0] == WARP as u32, "{hidden}");
            assert!(grid[0] * block[1] >= 5 && (grid[0] - 1) * block[1] < 5, "{hidden}");
        }
    }

    #[test]
    fn the_widths_of_the_models() {
        for (hidden, threads) in [(2048, 64), (3072, 96), (4096, 128), (5120, 160), (8192, 256), (16384, 512)]
        {
            let launch = add_rms_norm(DType::F16, 3, hidden).unwrap().unwrap();
            let expected = Launch {
                kernel: Kernel::AddRmsNormF16,
                grid: [3, 1, 1],
                block: [threads, 1, 1],
                dynamic_shared_bytes: 0,
            };
            assert_eq!(launch, expected);
        }
        for (intermediate, blocks) in [(8192, 4), (14336, 7), (28672, 14), (53248, 26), (8, 1), (2056, 2)] {
            let launch = silu_and_mul(DType::BF16, 3, intermediate).unwrap().unwrap();
            let expected = Launch {
                kernel: Kernel::SiluAndMulBf16,
                grid: [3, blocks, 1],
                block: [128, 1, 1],
                dynamic_shared_bytes: 0,
            };
            assert_eq!(launch, expected);
        }
    }

    #[test]
    fn no_tokens_need_no_launch() {
        assert_eq!(embed(0, 4096).unwrap(), None);
        assert_eq!(rms_norm(DType::BF16, 0, 4096).unwrap(), None);
        assert_eq!(silu_and_mul(DType::F16, 0, 4096).unwrap(), None);
    }

    #[test]
    fn wrong_shapes_are_named() {
        let message = |result: Result<Option<Launch>>| result.unwrap_err().to_string();
        assert_eq!(message(embed(1, 12)), "embed: hidden: expected a multiple of 8, at most 32768, got 12");
        assert_eq!(
            message(rms_norm(DType::BF16, 1, 32776)),
            "rms_norm: hidden: expected a multiple of 8, at most 32768, got 32776"
        );
        assert_eq!(
            message(rms_norm(DType::BF16, 0, 0)),
            "rms_norm: hidden: expected a multiple of 8, at most 32768, got 0"
        );
        assert_eq!(message(add_rms_norm(DType::F32, 1, 8)), "add_rms_norm: x: expected bf16 or f16, got f32");
        assert_eq!(
            message(silu_and_mul(DType::BF16, 1 << 31, 8)),
            "silu_and_mul: num_tokens: expected fewer than 2^31, got 2147483648"
        );
    }

    #[test]
    fn a_kernel_takes_one_struct() {
        assert!(
            Kernel::RmsNormF16.takes::<RmsNormParams>() && !Kernel::RmsNormF16.takes::<AddRmsNormParams>()
        );
        assert!(Kernel::EmbedB16.takes::<EmbedParams>() && !Kernel::EmbedB16.takes::<SiluAndMulParams>());
        assert_eq!(Kernel::AddRmsNormBf16.params(), "AddRmsNormParams");
    }

    #[test]
    fn a_kernel_is_named_after_its_family_and_once() {
        let mut names: Vec<&str> = Kernel::ALL.iter().map(|kernel| kernel.name()).collect();
        assert!(Kernel::ALL.iter().all(|kernel| kernel.name().contains(kernel.family())));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Kernel::ALL.len());
    }
}
