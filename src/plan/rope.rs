//! Rotation of queries and keys, and the append to the cache.

use super::{Kernel, Launch, MAX_GRID_Y, Plan, tokens};
use crate::params::{
    ROPE_APPEND_KV_HEADS_PER_THREAD, ROPE_APPEND_KV_MAX_THREADS, ROPE_APPEND_KV_THREADS, VECTOR_ELEMENTS,
};
use crate::tensor::DType;
use crate::{Error, Result};

const OP: &str = "rope_append_kv";

/// Elements of the two vectors of a head that are turned together: what `head_dim` is a multiple of.
const PAIR_ELEMENTS: usize = 2 * VECTOR_ELEMENTS as usize;
const MAX_HEAD_DIM: usize = 256;
const MAX_BLOCK_Z: usize = 64;

/// `rope_append_kv` of `num_tokens` rows of queries, keys and values in bf16 or f16; `None` where there is nothing to do.
///
/// A block's threads stand `[tokens, heads, vectors of half a head]`: a thread keeps one vector of angles and turns four
/// heads by it. Narrow tokens share a block.
pub fn rope_append_kv(
    dtype: DType,
    num_tokens: usize,
    num_q_heads: usize,
    num_kv_heads: usize,
    head_dim: usize,
) -> Result<Option<Plan>> {
    let kernel = match dtype {
        DType::BF16 => Kernel::RopeAppendKvBf16,
        DType::F16 => Kernel::RopeAppendKvF16,
        other => return Err(Error::argument(OP, "qkv", "bf16 or f16", other)),
    };
    let num_tokens = tokens(OP, num_tokens)?;
    if head_dim == 0 || !head_dim.is_multiple_of(PAIR_ELEMENTS) || head_dim > MAX_HEAD_DIM {
        let expected = format!("a multiple of {PAIR_ELEMENTS}, at most {MAX_HEAD_DIM}");
        return Err(Error::argument(OP, "head_dim", expected, head_dim));
    }
    let heads_per_thread = ROPE_APPEND_KV_HEADS_PER_THREAD as usize;
    let vectors = head_dim / PAIR_ELEMENTS;
    let most_heads = heads_per_thread * (ROPE_APPEND_KV_MAX_THREADS as usize / vectors);
    let num_heads = num_kv_heads.checked_mul(2).and_then(|heads| heads.checked_add(num_q_heads));
    let fits = |heads: &usize| heads.div_ceil(most_heads) <= MAX_GRID_Y;
    let Some(num_heads) = num_heads.filter(fits).filter(|_| num_q_heads > 0 && num_kv_heads > 0) else {
        let expected = format!("heads of q and of k, at most {} with v's", MAX_GRID_Y * most_heads);
        let given = format!("{num_q_heads} and {num_kv_heads}");
        return Err(Error::argument(OP, "heads", expected, given));
    };
    // Blocks of one token get equal parts of its heads.
    let parts = num_heads.div_ceil(most_heads);
    let rows = num_heads.div_ceil(parts * heads_per_thread);
    let token_threads = vectors * rows;
    let tokens_per_block = (ROPE_APPEND_KV_THREADS as usize / token_threads).clamp(1, MAX_BLOCK_Z) as u32;
    let launch = Launch {
        kernel,
        grid: [num_tokens.div_ceil(tokens_per_block), parts as u32, 1],
        block: [vectors as u32, rows as u32, tokens_per_block],
        dynamic_shared_bytes: 0,
    };
    let reason = "four heads a thread: eight independent loads in flight, angles read once for them";
    Ok((num_tokens > 0).then_some(Plan::simple(OP, launch, reason)))
}

#[cfg(test)]
mod tests {
    use super::super::MAX_BLOCK_THREADS;
    use super::*;

    fn launch(tokens: usize, q_heads: usize, kv_heads: usize, head_dim: usize) -> Launch {
        rope_append_kv(DType::BF16, tokens, q_heads, kv_heads, head_dim).unwrap().unwrap().launch
    }

    #[test]
    fn the_models_fill_their_blocks() {
        // 8B, 70B, 405B, 3.2-1B, 3.2-3B, and the smallest there is.
        for (heads, head_dim, grid, block) in [
            ([32, 8], 128, [1000, 1, 1], [8, 12, 1]),
            ([64, 8], 128, [1000, 1, 1], [8, 20, 1]),
            ([128, 8], 128, [1000, 2, 1], [8, 18, 1]),
            ([32, 8], 64, [500, 1, 1], [4, 12, 2]),
            ([24, 8], 128, [1000, 1, 1], [8, 10, 1]),
            ([1, 1], 16, [16, 1, 1], [1, 1, 64]),
        ] {
            let expected = Launch { kernel: Kernel::RopeAppendKvBf16, grid, block, dynamic_shared_bytes: 0 };
            assert_eq!(launch(1000, heads[0], heads[1], head_dim), expected, "{heads:?} {head_dim}");
        }
    }

    #[test]
    fn every_head_of_every_token_is_covered() {
        for head_dim in (16..=256).step_by(16) {
            for [q_heads, kv_heads] in [[1, 1], [3, 1], [8, 8], [128, 8], [640, 64], [3000, 1]] {
                let Launch { grid, block, .. } = launch(77, q_heads, kv_heads, head_dim);
                assert_eq!(block[0] as usize * PAIR_ELEMENTS, head_dim);
                assert!(block.iter().product::<u32>() <= ROPE_APPEND_KV_MAX_THREADS);
                let heads = (block[1] * ROPE_APPEND_KV_HEADS_PER_THREAD) as usize;
                assert!(grid[1] as usize * heads >= q_heads + 2 * kv_heads);
                assert!(grid[0] * block[2] >= 77 && (grid[0] - 1) * block[2] < 77);
            }
        }
        const { assert!(ROPE_APPEND_KV_MAX_THREADS as usize <= MAX_BLOCK_THREADS) };
    }

    #[test]
    fn wrong_shapes_are_named() {
        let message = |dtype, heads: [usize; 2], head_dim| {
            rope_append_kv(dtype, 1, heads[0], heads[1], head_dim).unwrap_err().to_string()
        };
        for head_dim in [0, 8, 24, 272] {
            let text =
                format!("rope_append_kv: head_dim: expected a multiple of 16, at most 256, got {head_dim}");
            assert_eq!(message(DType::BF16, [1, 1], head_dim), text);
        }
        assert_eq!(message(DType::F32, [1, 1], 16), "rope_append_kv: qkv: expected bf16 or f16, got f32");
        for heads in [[0, 1], [1, 0], [1 << 31, 1], [1, usize::MAX]] {
            let text = format!(
                "rope_append_kv: heads: expected heads of q and of k, at most 67107840 with v's, got {} and {}",
                heads[0], heads[1]
            );
            assert_eq!(message(DType::BF16, heads, 16), text);
        }
        assert_eq!(rope_append_kv(DType::F16, 0, 32, 8, 128).unwrap(), None);
    }
}
