//! Merging attention over parts of the keys.

use super::{Kernel, Launch, Plan, by_dtype, tokens, width};
use crate::params::{ATTENTION_COMBINE_SPLIT_GROUPS, ATTENTION_COMBINE_THREADS};
use crate::tensor::DType;
use crate::{Error, Result};

/// Elements that a thread has of a row.
const ELEMENTS_PER_THREAD: usize = 4;

/// The widest head that a block merges.
pub const MAX_COMBINED_HEAD_DIM: usize =
    super::MAX_BLOCK_THREADS / ATTENTION_COMBINE_SPLIT_GROUPS as usize * ELEMENTS_PER_THREAD;

/// `attention_combine` of `num_splits` parts of `num_tokens` rows of `num_heads` heads, to bf16 or f16; `None` where there
/// is nothing to do.
pub fn attention_combine(
    dtype: DType,
    num_splits: usize,
    num_tokens: usize,
    num_heads: usize,
    head_dim: usize,
) -> Result<Option<Plan>> {
    const OP: &str = "attention_combine";
    if !matches!(dtype, DType::BF16 | DType::F16) {
        return Err(Error::argument(OP, "out", "bf16 or f16", dtype));
    }
    let kernel = by_dtype(OP, dtype, Kernel::AttentionCombineBf16, Kernel::AttentionCombineF16)?;
    width(OP, "head_dim", head_dim, MAX_COMBINED_HEAD_DIM)?;
    if num_splits == 0 || i32::try_from(num_splits).is_err() {
        return Err(Error::argument(OP, "partial_out", "1 to 2^31 - 1 parts", num_splits));
    }
    let rows = tokens(OP, num_tokens.saturating_mul(num_heads))?;
    let threads_per_split = (head_dim / ELEMENTS_PER_THREAD) as u32;
    let groups = u32::try_from(num_splits)
        .map_or(ATTENTION_COMBINE_SPLIT_GROUPS, |splits| splits.min(ATTENTION_COMBINE_SPLIT_GROUPS));
    let rows_per_block = (ATTENTION_COMBINE_THREADS / (threads_per_split * groups)).max(1);
    let states = groups * rows_per_block;
    // Sums of four elements a thread; maximum and sum of weights of each group.
    let shared_bytes = states * threads_per_split * 16 + states * 8;
    let launch = Launch {
        kernel,
        grid: [rows.div_ceil(rows_per_block), 1, 1],
        block: [threads_per_split, groups, rows_per_block],
        dynamic_shared_bytes: if groups > 1 { shared_bytes } else { 0 },
    };
    let reason = "small blocks, one group of threads for each of the first splits: latency is what counts";
    Ok((rows > 0).then_some(Plan::simple(OP, launch, reason)))
}

#[cfg(test)]
mod tests {
    use super::super::*;
    use super::*;

    #[test]
    fn every_row_has_a_group_of_threads_for_each_of_its_first_splits() {
        for head_dim in (8..=MAX_COMBINED_HEAD_DIM).step_by(8) {
            for splits in [1, 2, 3, 7, 8, 9, 300] {
                for heads in [1, 3, 32, 1000] {
                    let plan = attention_combine(DType::BF16, splits, 3, heads, head_dim).unwrap().unwrap();
                    let Launch { grid: [blocks, ..], block: [x, y, z], .. } = plan.launch;
                    assert_eq!((x as usize * 4, y as usize), (head_dim, splits.min(8)));
                    assert!(x * y * z <= 1024 && (z == 1 || x * y * z <= ATTENTION_COMBINE_THREADS));
                    assert!(blocks * z >= 3 * heads as u32 && (blocks - 1) * z < 3 * heads as u32);
                }
            }
        }
    }

    #[test]
    fn shared_memory_holds_sums_and_states() {
        let bytes = |splits| {
            let plan = attention_combine(DType::F16, splits, 8, 32, 128).unwrap().unwrap();
            plan.launch.dynamic_shared_bytes
        };
        assert_eq!([bytes(1), bytes(2), bytes(16)], [0, 128 * 16 + 4 * 8, 256 * 16 + 8 * 8]);
    }

    #[test]
    fn no_rows_need_no_launch_and_wrong_shapes_are_named() {
        assert_eq!(attention_combine(DType::F16, 3, 0, 32, 128).unwrap(), None);
        let message = |dtype, splits, head_dim| {
            attention_combine(dtype, splits, 1, 1, head_dim).unwrap_err().to_string()
        };
        assert_eq!(
            message(DType::BF16, 0, 64),
            "attention_combine: partial_out: expected 1 to 2^31 - 1 parts, got 0"
        );
        assert_eq!(
            message(DType::BF16, 1, 516),
            "attention_combine: head_dim: expected a multiple of 8, at most 512, got 516"
        );
        assert_eq!(message(DType::F32, 1, 64), "attention_combine: out: expected bf16 or f16, got f32");
        let many = attention_combine(DType::BF16, 1, usize::MAX, 2, 64).unwrap_err().to_string();
        assert!(many.starts_with("attention_combine: num_tokens: expected fewer than 2^31"), "{many}");
    }
}
