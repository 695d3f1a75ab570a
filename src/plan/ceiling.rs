//! The kernels that do one thing alone, by which the bench knows what a device reaches.

use super::{Kernel, Launch, Plan, by_dtype};
use crate::params::{
    CEILING_MMA_THREADS, CEILING_MMA_UNROLL, CEILING_THREADS, CEILING_VECTORS_PER_THREAD,
    CEILING_WGMMA_THREADS,
};
use crate::tensor::DType;
use crate::{Error, Result};

/// 16-byte vectors that a block of a reading or copying kernel has in flight.
const TILE_VECTORS: usize = (CEILING_THREADS * CEILING_VECTORS_PER_THREAD) as usize;
/// Most blocks of a launch in x.
const MAX_BLOCKS: usize = i32::MAX as usize;

/// `ceiling_read` of so many vectors of 16 bytes, in at most so many blocks; `None` where there is nothing to read.
pub fn ceiling_read(num_vectors: usize, most_blocks: usize) -> Result<Option<Plan>> {
    memory("ceiling_read", Kernel::CeilingRead, num_vectors, most_blocks)
}

/// `ceiling_copy` of so many vectors of 16 bytes, in at most so many blocks; `None` where there is nothing to copy.
pub fn ceiling_copy(num_vectors: usize, most_blocks: usize) -> Result<Option<Plan>> {
    memory("ceiling_copy", Kernel::CeilingCopy, num_vectors, most_blocks)
}

/// `ceiling_mma` of so many blocks; `None` of none. The rounds must be a multiple of
/// [`CEILING_MMA_UNROLL`].
pub fn ceiling_mma(dtype: DType, blocks: usize, rounds: usize) -> Result<Option<Plan>> {
    const OP: &str = "ceiling_mma";
    if !rounds.is_multiple_of(CEILING_MMA_UNROLL as usize) {
        let expected = format!("a multiple of {CEILING_MMA_UNROLL}");
        return Err(Error::argument(OP, "rounds", expected, rounds));
    }
    let kernel = by_dtype(OP, dtype, Kernel::CeilingMmaBf16, Kernel::CeilingMmaF16)?;
    let reason = "16 products of registers a warp, none of which waits for another";
    tensor(OP, kernel, blocks, rounds, CEILING_MMA_THREADS, reason)
}

/// `ceiling_wgmma` of so many blocks; `None` of none. Its kernels are for compute capability 9.0 alone: [`Kernel::needs`].
pub fn ceiling_wgmma(dtype: DType, blocks: usize, rounds: usize) -> Result<Option<Plan>> {
    const OP: &str = "ceiling_wgmma";
    let kernel = by_dtype(OP, dtype, Kernel::CeilingSm90WgmmaBf16, Kernel::CeilingSm90WgmmaF16)?;
    let reason = "products of shared memory by two warpgroups, of which one runs while the other waits";
    tensor(OP, kernel, blocks, rounds, CEILING_WGMMA_THREADS, reason)
}

/// `ceiling_empty`: one block that does nothing.
pub fn ceiling_empty() -> Plan {
    let launch = launch(Kernel::CeilingEmpty, 1, CEILING_THREADS);
    Plan::simple("ceiling_empty", launch, "all that is left is the launch")
}

fn memory(op: &'static str, kernel: Kernel, num_vectors: usize, most_blocks: usize) -> Result<Option<Plan>> {
    // The kernel counts vectors, and the bytes up to each of them, in an i64.
    if num_vectors >= 1 << 58 {
        return Err(Error::argument(op, "num_vectors", "fewer than 2^58", num_vectors));
    }
    if most_blocks == 0 {
        return Err(Error::argument(op, "most_blocks", "at least one", most_blocks));
    }
    let tiles = num_vectors.div_ceil(TILE_VECTORS);
    let blocks = tiles.min(most_blocks).min(MAX_BLOCKS);
    let launch = launch(kernel, blocks, CEILING_THREADS);
    let reason = if blocks == tiles { "a block a tile" } else { "blocks stay and take tiles in turns" };
    Ok((num_vectors > 0).then_some(Plan::simple(op, launch, reason)))
}

fn tensor(
    op: &'static str,
    kernel: Kernel,
    blocks: usize,
    rounds: usize,
    threads: u32,
    reason: &'static str,
) -> Result<Option<Plan>> {
    for (arg, number) in [("blocks", blocks), ("rounds", rounds)] {
        if number > MAX_BLOCKS {
            return Err(Error::argument(op, arg, "fewer than 2^31", number));
        }
    }
    Ok((blocks > 0).then_some(Plan::simple(op, launch(kernel, blocks, threads), reason)))
}

/// `blocks` are fewer than 2^31.
fn launch(kernel: Kernel, blocks: usize, threads: u32) -> Launch {
    Launch { kernel, grid: [blocks as u32, 1, 1], block: [threads, 1, 1], dynamic_shared_bytes: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_are_covered_by_as_many_blocks_as_there_may_be() {
        let blocks = |vectors, most| {
            let plan = ceiling_read(vectors, most).unwrap().unwrap();
            assert_eq!(ceiling_copy(vectors, most).unwrap().unwrap().launch.grid, plan.launch.grid);
            (plan.launch.grid[0], plan.reason)
        };
        assert_eq!(blocks(1, usize::MAX), (1, "a block a tile"));
        assert_eq!(blocks(1024, usize::MAX), (1, "a block a tile"));
        assert_eq!(blocks(1025, usize::MAX), (2, "a block a tile"));
        assert_eq!(blocks(1 << 20, 528), (528, "blocks stay and take tiles in turns"));
        assert_eq!(ceiling_read(0, 1).unwrap(), None);
    }

    #[test]
    fn what_the_kernels_do_not_take_is_named() {
        let message = |result: Result<Option<Plan>>| result.unwrap_err().to_string();
        assert_eq!(message(ceiling_copy(1, 0)), "ceiling_copy: most_blocks: expected at least one, got 0");
        let expected = format!("ceiling_read: num_vectors: expected fewer than 2^58, got {}", 1u64 << 58);
        assert_eq!(message(ceiling_read(1 << 58, 1)), expected);
        assert_eq!(
            message(ceiling_mma(DType::BF16, 1, 6)),
            "ceiling_mma: rounds: expected a multiple of 4, got 6"
        );
        assert_eq!(
            message(ceiling_wgmma(DType::F32, 1, 6)),
            "ceiling_wgmma: x: expected bf16 or f16, got f32"
        );
        assert_eq!(
            message(ceiling_wgmma(DType::F16, 1 << 31, 6)),
            "ceiling_wgmma: blocks: expected fewer than 2^31, got 2147483648"
        );
        assert_eq!(ceiling_mma(DType::F16, 0, 4).unwrap(), None);
        assert_eq!(ceiling_wgmma(DType::F16, 3, 5).unwrap().unwrap().launch.grid, [3, 1, 1]);
    }
}
