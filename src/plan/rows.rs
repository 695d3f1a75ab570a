//! Operations on rows: a row is copied or normed by a warp or a block, which holds it in registers.

use super::{Kernel, Launch, MAX_BLOCK_THREADS, MAX_GRID_Y, Plan, WARP, by_dtype, tokens, width};
use crate::params::{
    FP8_GROUP_COLUMNS, QUANTIZE_FP8_VECTORS_PER_THREAD, ROW_VECTORS_PER_THREAD, ROWS_PER_BLOCK,
    SILU_AND_MUL_THREADS, SILU_AND_MUL_VECTORS_PER_THREAD, VECTOR_ELEMENTS,
};
use crate::tensor::DType;
use crate::{Error, Result};

/// The widest row that a row kernel holds in the registers of one block, in 16-bit elements.
pub const MAX_ROW: usize = MAX_BLOCK_THREADS * ROW_VECTORS_PER_THREAD as usize * VECTOR_ELEMENTS as usize;

/// The widest row that `quantize_fp8` holds in the registers of one block, in 16-bit elements.
pub const MAX_QUANTIZED_ROW: usize =
    MAX_BLOCK_THREADS * QUANTIZE_FP8_VECTORS_PER_THREAD as usize * VECTOR_ELEMENTS as usize;

/// `embed` of rows of `hidden` elements; `None` where there is nothing to do.
pub fn embed(num_tokens: usize, hidden: usize) -> Result<Option<Plan>> {
    rows("embed", Kernel::EmbedB16, num_tokens, hidden)
}

/// `gather_rows` of rows of `hidden` elements; `None` where there is nothing to do.
pub fn gather_rows(num_rows: usize, hidden: usize) -> Result<Option<Plan>> {
    rows("gather_rows", Kernel::EmbedB16, num_rows, hidden)
}

/// `rms_norm` of `num_tokens` rows of `hidden` elements in bf16 or f16, with `permuted` columns in another order; `None` where
/// there is nothing to do.
pub fn rms_norm(dtype: DType, num_tokens: usize, hidden: usize, permuted: bool) -> Result<Option<Plan>> {
    let kernel = by_dtype("rms_norm", dtype, Kernel::RmsNormBf16, Kernel::RmsNormF16)?;
    let plan = rows("rms_norm", kernel, num_tokens, hidden)?;
    Ok(plan.map(|plan| if permuted { through_shared(plan, hidden) } else { plan }))
}

/// `add_rms_norm` of `num_tokens` rows of `hidden` elements in bf16 or f16, with `permuted` columns in another order; `None` where
/// there is nothing to do.
pub fn add_rms_norm(dtype: DType, num_tokens: usize, hidden: usize, permuted: bool) -> Result<Option<Plan>> {
    let kernel = by_dtype("add_rms_norm", dtype, Kernel::AddRmsNormBf16, Kernel::AddRmsNormF16)?;
    let plan = rows("add_rms_norm", kernel, num_tokens, hidden)?;
    Ok(plan.map(|plan| if permuted { through_shared(plan, hidden) } else { plan }))
}

/// `permute_columns` of rows of `width` elements; `None` where there is nothing to do.
pub fn permute_columns(num_tokens: usize, width: usize) -> Result<Option<Plan>> {
    const OP: &str = "permute_columns";
    let num_tokens = tokens(OP, num_tokens)?;
    super::width(OP, "width", width, MAX_ROW)?;
    let plan = row_plan(OP, Kernel::PermuteColumnsB16, num_tokens, width);
    Ok(plan.map(|plan| through_shared(plan, width)))
}

/// The plan with room for a block's rows, whose columns come together again in another order: 64 KB at most, which every
/// device has.
fn through_shared(plan: Plan, width: usize) -> Plan {
    let row_bytes = width as u32 * size_of::<u16>() as u32;
    let launch = Launch { dynamic_shared_bytes: plan.launch.block[1] * row_bytes, ..plan.launch };
    Plan { launch, reason: "a row stays in its block, and passes through shared memory once", ..plan }
}

/// [`rms_norm`], then [`quantize_fp8`] with `groups` scales a row, in one launch; `None` where there is nothing to do.
pub fn rms_norm_fp8(dtype: DType, num_tokens: usize, hidden: usize, groups: usize) -> Result<Option<Plan>> {
    const OP: &str = "rms_norm_fp8";
    let kernel = by_dtype(OP, dtype, Kernel::RmsNormFp8Bf16, Kernel::RmsNormFp8F16)?;
    let plan = rows(OP, kernel, num_tokens, hidden)?;
    check_groups(OP, hidden, groups)?;
    Ok(plan)
}

/// [`add_rms_norm`], then [`quantize_fp8`] with `groups` scales a row, in one launch; `None` where there is nothing to do.
pub fn add_rms_norm_fp8(
    dtype: DType,
    num_tokens: usize,
    hidden: usize,
    groups: usize,
) -> Result<Option<Plan>> {
    const OP: &str = "add_rms_norm_fp8";
    let kernel = by_dtype(OP, dtype, Kernel::AddRmsNormFp8Bf16, Kernel::AddRmsNormFp8F16)?;
    let plan = rows(OP, kernel, num_tokens, hidden)?;
    check_groups(OP, hidden, groups)?;
    Ok(plan)
}

/// `quantize_fp8` of `num_tokens` rows of `k` elements in bf16 or f16, with `groups` scales each: 1, or one for each
/// [`FP8_GROUP_COLUMNS`] columns. `None` where there is nothing to do.
pub fn quantize_fp8(dtype: DType, num_tokens: usize, k: usize, groups: usize) -> Result<Option<Plan>> {
    const OP: &str = "quantize_fp8";
    let kernel = by_dtype(OP, dtype, Kernel::QuantizeFp8Bf16, Kernel::QuantizeFp8F16)?;
    let num_tokens = tokens(OP, num_tokens)?;
    width(OP, "width", k, MAX_QUANTIZED_ROW)?;
    check_groups(OP, k, groups)?;
    Ok(row_plan(OP, kernel, num_tokens, k))
}

/// Refuses scales that do not cover a row of `k` elements.
fn check_groups(op: &'static str, k: usize, groups: usize) -> Result<()> {
    let columns = FP8_GROUP_COLUMNS as usize;
    if groups == 1 || k.is_multiple_of(columns) && groups == k / columns {
        return Ok(());
    }
    let expected = match k / columns {
        groups if k.is_multiple_of(columns) && groups > 1 => format!("1 or {groups}"),
        _ => "1".to_string(),
    };
    Err(Error::argument(op, "groups", expected, groups))
}

/// `silu_and_mul` of `num_tokens` rows with `intermediate` outputs in bf16 or f16; `None` where there is nothing to
/// do.
pub fn silu_and_mul(dtype: DType, num_tokens: usize, intermediate: usize) -> Result<Option<Plan>> {
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
    let reason = "two vectors of each half a thread: four independent loads in flight";
    Ok((num_tokens > 0).then_some(Plan::simple(OP, launch, reason)))
}

/// The plan of a kernel that takes rows of up to [`MAX_ROW`] elements.
fn rows(op: &'static str, kernel: Kernel, num_tokens: usize, hidden: usize) -> Result<Option<Plan>> {
    let num_tokens = tokens(op, num_tokens)?;
    width(op, "hidden", hidden, MAX_ROW)?;
    Ok(row_plan(op, kernel, num_tokens, hidden))
}

/// The grid of a kernel that holds a row in registers. `ROW_VECTORS_PER_THREAD` vectors a thread keep 64 bytes in
/// flight for each, with 64 registers at most, so that 1024 threads (64 KB) fit a multiprocessor. Narrow rows take
/// one warp, without a barrier, and share a block; wider ones a block each, as many warps as the row needs, and where a
/// block cannot have so many, the threads hold more.
fn row_plan(op: &'static str, kernel: Kernel, num_tokens: u32, hidden: usize) -> Option<Plan> {
    let vectors = hidden / VECTOR_ELEMENTS as usize;
    let threads = vectors.div_ceil(ROW_VECTORS_PER_THREAD as usize).next_multiple_of(WARP);
    let threads = threads.min(MAX_BLOCK_THREADS);
    let rows_per_block = if threads == WARP { ROWS_PER_BLOCK } else { 1 };
    let launch = Launch {
        kernel,
        grid: [num_tokens.div_ceil(rows_per_block), 1, 1],
        block: [threads as u32, rows_per_block, 1],
        dynamic_shared_bytes: 0,
    };
    let reason = if threads == WARP {
        "narrow rows take a warp each and share a block"
    } else {
        "a row stays in the registers of its block"
    };
    (num_tokens > 0).then_some(Plan::simple(op, launch, reason))
}

#[cfg(test)]
mod tests {
    use super::super::*;
    use super::*;

    #[test]
    fn rows_are_covered_whole_by_warps() {
        for hidden in (8..=MAX_ROW).step_by(8) {
            let Launch { grid, block, .. } = rms_norm(DType::BF16, 5, hidden, false).unwrap().unwrap().launch;
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
            let launch = add_rms_norm(DType::F16, 3, hidden, false).unwrap().unwrap().launch;
            let expected = Launch {
                kernel: Kernel::AddRmsNormF16,
                grid: [3, 1, 1],
                block: [threads, 1, 1],
                dynamic_shared_bytes: 0,
            };
            assert_eq!(launch, expected);
        }
        for (intermediate, blocks) in [(8192, 4), (14336, 7), (28672, 14), (53248, 26), (8, 1), (2056, 2)] {
            let launch = silu_and_mul(DType::BF16, 3, intermediate).unwrap().unwrap().launch;
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
    fn quantised_rows_are_covered_whole() {
        for k in (8..=MAX_QUANTIZED_ROW).step_by(8) {
            let Launch { grid, block, .. } = quantize_fp8(DType::F16, 5, k, 1).unwrap().unwrap().launch;
            let covered = (block[0] * QUANTIZE_FP8_VECTORS_PER_THREAD * VECTOR_ELEMENTS) as usize;
            assert!(covered >= k && block[0].is_multiple_of(WARP as u32), "{k}");
            assert!(block[0] * block[1] <= MAX_BLOCK_THREADS as u32, "{k}");
            assert!(block[1] == 1 || block[0] == WARP as u32, "{k}");
            assert!(grid[0] * block[1] >= 5 && (grid[0] - 1) * block[1] < 5, "{k}");
        }
        for (k, threads) in [(4096, 128), (28_672, 896), (32_768, 1024), (53_248, 1024)] {
            let launch = quantize_fp8(DType::BF16, 3, k, k / 128).unwrap().unwrap().launch;
            let expected = Launch {
                kernel: Kernel::QuantizeFp8Bf16,
                grid: [3, 1, 1],
                block: [threads, 1, 1],
                dynamic_shared_bytes: 0,
            };
            assert_eq!(launch, expected);
        }
    }

    #[test]
    fn permuted_rows_have_room_in_shared_memory() {
        for (hidden, rows, bytes) in
            [(8, 4, 4 * 16), (1024, 4, 4 * 2048), (1032, 1, 2064), (MAX_ROW, 1, 64 << 10)]
        {
            for plan in [
                permute_columns(9, hidden),
                rms_norm(DType::BF16, 9, hidden, true),
                add_rms_norm(DType::F16, 9, hidden, true),
            ] {
                let launch = plan.unwrap().unwrap().launch;
                assert_eq!((launch.block[1], launch.dynamic_shared_bytes), (rows, bytes), "{hidden}");
            }
        }
    }

    #[test]
    fn no_tokens_need_no_launch() {
        assert_eq!(permute_columns(0, 4096).unwrap(), None);
        assert_eq!(quantize_fp8(DType::BF16, 0, 4096, 32).unwrap(), None);
        assert_eq!(embed(0, 4096).unwrap(), None);
        assert_eq!(rms_norm(DType::BF16, 0, 4096, true).unwrap(), None);
        assert_eq!(rms_norm_fp8(DType::BF16, 0, 4096, 1).unwrap(), None);
        assert_eq!(add_rms_norm_fp8(DType::BF16, 0, 4096, 32).unwrap(), None);
        assert_eq!(silu_and_mul(DType::F16, 0, 4096).unwrap(), None);
    }

    #[test]
    fn wrong_shapes_are_named() {
        let message = |result: Result<Option<Plan>>| result.unwrap_err().to_string();
        assert_eq!(message(embed(1, 12)), "embed: hidden: expected a multiple of 8, at most 32768, got 12");
        assert_eq!(
            message(rms_norm(DType::BF16, 1, 32776, false)),
            "rms_norm: hidden: expected a multiple of 8, at most 32768, got 32776"
        );
        assert_eq!(
            message(rms_norm(DType::BF16, 0, 0, false)),
            "rms_norm: hidden: expected a multiple of 8, at most 32768, got 0"
        );
        assert_eq!(
            message(permute_columns(1, 32776)),
            "permute_columns: width: expected a multiple of 8, at most 32768, got 32776"
        );
        assert_eq!(
            message(quantize_fp8(DType::BF16, 1, 65_544, 1)),
            "quantize_fp8: width: expected a multiple of 8, at most 65536, got 65544"
        );
        for (k, groups, expected) in [(256, 3, "1 or 2"), (256, 0, "1 or 2"), (128, 2, "1"), (264, 2, "1")] {
            assert_eq!(
                message(quantize_fp8(DType::BF16, 1, k, groups)),
                format!("quantize_fp8: groups: expected {expected}, got {groups}")
            );
        }
        assert_eq!(
            message(rms_norm_fp8(DType::BF16, 1, 256, 4)),
            "rms_norm_fp8: groups: expected 1 or 2, got 4"
        );
        assert_eq!(
            message(add_rms_norm_fp8(DType::F16, 1, 264, 2)),
            "add_rms_norm_fp8: groups: expected 1, got 2"
        );
        assert_eq!(
            message(add_rms_norm(DType::F32, 1, 8, true)),
            "add_rms_norm: x: expected bf16 or f16, got f32"
        );
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
