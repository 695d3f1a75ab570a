//! Attention: tiles of rows, which are queries times the query heads that share a key/value head.

use super::{Kernel, Launch, Limits, Plan, Tile};
use crate::params::{
    ATTENTION_PREFILL_KEYS, ATTENTION_PREFILL_KEYS_HD64, ATTENTION_PREFILL_MAX_SEQS, ATTENTION_PREFILL_ROWS,
    ATTENTION_PREFILL_STAGES, ATTENTION_PREFILL_THREADS,
};
use crate::tensor::DType;
use crate::{Error, Result};

/// What the host knows of an attention. The lengths of sequences are on the device: these are their bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AttentionShape {
    /// bf16 or f16.
    pub dtype: DType,
    /// Of keys and values: the same, or e4m3.
    pub cache_dtype: DType,
    /// Elements of a head: 64 or 128.
    pub head_dim: usize,
    /// Query heads of a key/value head.
    pub group: usize,
    /// Key and value heads.
    pub num_kv_heads: usize,
    /// Queries of all sequences together.
    pub num_tokens: usize,
    /// Sequences.
    pub num_seqs: usize,
    /// Most queries of a sequence.
    pub max_q_len: usize,
    /// Most keys of a sequence.
    pub max_kv_len: usize,
}

impl AttentionShape {
    /// Whether the cache is e4m3.
    pub(super) fn is_fp8(&self, op: &'static str) -> Result<bool> {
        let AttentionShape { dtype, cache_dtype, .. } = *self;
        if !matches!(dtype, DType::BF16 | DType::F16) {
            return Err(Error::argument(op, "q", "bf16 or f16", dtype));
        }
        if cache_dtype != dtype && cache_dtype != DType::F8E4M3 {
            let expected = format!("{dtype} or {}", DType::F8E4M3);
            return Err(Error::argument(op, "k", expected, cache_dtype));
        }
        Ok(cache_dtype == DType::F8E4M3)
    }
}

/// `attention_prefill`; `None` where there is nothing to do.
///
/// A block takes one tile of one key/value head. How many tiles there are is known on the device alone: the grid has as many
/// blocks as there can be at most, of which some end at once.
pub fn attention_prefill(shape: &AttentionShape, limits: Limits) -> Result<Option<Plan>> {
    const OP: &str = "attention_prefill";
    const ROWS: usize = ATTENTION_PREFILL_ROWS as usize;
    let AttentionShape { dtype, head_dim, group, num_kv_heads, num_tokens, num_seqs, max_q_len, .. } = *shape;
    let fp8 = shape.is_fp8(OP)?;
    let kernel = match (dtype, fp8, head_dim) {
        (DType::BF16, false, 64) => Kernel::AttentionPrefillBf16Hd64,
        (DType::BF16, false, 128) => Kernel::AttentionPrefillBf16Hd128,
        (DType::F16, false, 64) => Kernel::AttentionPrefillF16Hd64,
        (DType::F16, false, 128) => Kernel::AttentionPrefillF16Hd128,
        (DType::BF16, true, 64) => Kernel::AttentionPrefillFp8KvBf16Hd64,
        (DType::BF16, true, 128) => Kernel::AttentionPrefillFp8KvBf16Hd128,
        (DType::F16, true, 64) => Kernel::AttentionPrefillFp8KvF16Hd64,
        (DType::F16, true, 128) => Kernel::AttentionPrefillFp8KvF16Hd128,
        _ => return Err(Error::argument(OP, "head_dim", "64 or 128", head_dim)),
    };
    if num_seqs > ATTENTION_PREFILL_MAX_SEQS as usize {
        let expected = format!("at most {ATTENTION_PREFILL_MAX_SEQS} at a time");
        return Err(Error::argument(OP, "sequences", expected, num_seqs));
    }
    // Every tile but a sequence's last is full; no sequence has more than the longest can have.
    let too_many = || Error::argument(OP, "q", "fewer than 2^31 tiles", format!("{num_tokens} queries"));
    let rows = num_tokens.checked_mul(group).ok_or_else(too_many)?;
    let rows_of_longest = max_q_len.min(num_tokens).checked_mul(group).ok_or_else(too_many)?;
    let tiles = rows.checked_add((ROWS - 1) * num_seqs).ok_or_else(too_many)? / ROWS;
    let tiles = tiles.min(rows_of_longest.div_ceil(ROWS).saturating_mul(num_seqs));
    let blocks = tiles.checked_mul(num_kv_heads).and_then(|blocks| i32::try_from(blocks).ok());
    let blocks = blocks.ok_or_else(too_many)?.unsigned_abs();

    let keys = attention_prefill_keys(head_dim);
    let tile = Tile {
        m: ATTENTION_PREFILL_ROWS,
        n: keys as u32,
        k: head_dim as u32,
        stages: ATTENTION_PREFILL_STAGES,
    };
    // Queries, whose place the output takes, and the ring of tiles of keys and values; or codes of both, two tiles of them as
    // large as one, and both decoded.
    let dynamic_shared_bytes = (tile.m + tile.stages * tile.n) * tile.k * dtype.size() as u32;
    if dynamic_shared_bytes as usize > limits.shared_memory_per_block {
        let reason = format!(
            "a block needs {dynamic_shared_bytes} bytes of shared memory, the device has {}",
            limits.shared_memory_per_block
        );
        return Err(Error::unsupported(OP, reason));
    }
    let plan = Plan {
        tile: Some(tile),
        ..Plan::simple(
            OP,
            Launch {
                kernel,
                grid: [blocks, 1, 1],
                block: [ATTENTION_PREFILL_THREADS, 1, 1],
                dynamic_shared_bytes,
            },
            "32 rows a warp take each key's operands from shared memory once for two tensor-core tiles",
        )
    };
    Ok((blocks > 0).then_some(plan))
}

/// Keys of a tile of `attention_prefill`.
pub(crate) fn attention_prefill_keys(head_dim: usize) -> usize {
    (if head_dim == 64 { ATTENTION_PREFILL_KEYS_HD64 } else { ATTENTION_PREFILL_KEYS }) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: AttentionShape = AttentionShape {
        dtype: DType::BF16,
        cache_dtype: DType::BF16,
        head_dim: 128,
        group: 4,
        num_kv_heads: 8,
        num_tokens: 4096,
        num_seqs: 1,
        max_q_len: 4096,
        max_kv_len: 8192,
    };
    const H200: Limits = Limits { num_sms: 132, shared_memory_per_block: 227 << 10 };

    fn blocks(shape: AttentionShape) -> usize {
        attention_prefill(&shape, H200).unwrap().map_or(0, |plan| plan.launch.grid[0] as usize)
    }

    #[test]
    fn a_plan_says_what_it_is() {
        let plan = attention_prefill(&SHAPE, H200).unwrap().unwrap();
        let text = "attention_prefill: attention_prefill_bf16_hd128 grid 1024x1x1 of 128 threads, tile 128x64x128, \
                    3 stages, 81920 bytes of shared memory (32 rows a warp take each key's operands from shared memory \
                    once for two tensor-core tiles)";
        assert_eq!(plan.to_string(), text);
        let half = AttentionShape { head_dim: 64, dtype: DType::F16, cache_dtype: DType::F16, ..SHAPE };
        let fp8 = AttentionShape { cache_dtype: DType::F8E4M3, ..half };
        for (shape, kernel) in
            [(half, Kernel::AttentionPrefillF16Hd64), (fp8, Kernel::AttentionPrefillFp8KvF16Hd64)]
        {
            let launch = attention_prefill(&shape, H200).unwrap().unwrap().launch;
            assert_eq!((launch.kernel, launch.dynamic_shared_bytes), (kernel, 65536));
        }
    }

    /// Every batch of these numbers of queries has a block for each of its tiles.
    #[test]
    fn blocks_suffice_for_any_lengths() {
        let tiles = |q_len: usize, group: usize| (q_len * group).div_ceil(ATTENTION_PREFILL_ROWS as usize);
        for group in [1, 3, 4, 16] {
            for max_q_len in [1, 9, 42, 43, 128, 200] {
                let mut lengths = [0; 3];
                for i in 0..1000 {
                    for (digit, length) in lengths.iter_mut().enumerate() {
                        *length = (i / 10_usize.pow(digit as u32) % 10 * 31).min(max_q_len);
                    }
                    let needed: usize = lengths.iter().map(|&q_len| tiles(q_len, group)).sum();
                    let num_tokens = lengths.iter().sum();
                    let shape = AttentionShape { group, num_tokens, num_seqs: 3, max_q_len, ..SHAPE };
                    let blocks = blocks(shape);
                    assert!(blocks >= needed * 8, "{lengths:?} {group}");
                    // And no more than a tile of each sequence in vain.
                    assert!(blocks <= (needed + 3) * 8, "{lengths:?} {group}");
                }
            }
        }
    }

    #[test]
    fn nothing_to_do_needs_no_launch() {
        assert_eq!(blocks(AttentionShape { num_tokens: 0, ..SHAPE }), 0);
        assert_eq!(blocks(AttentionShape { num_seqs: 0, ..SHAPE }), 0);
        assert_eq!(blocks(AttentionShape { max_q_len: 0, ..SHAPE }), 0);
        assert!(blocks(AttentionShape { max_kv_len: 0, ..SHAPE }) > 0, "rows are zeroed");
    }

    #[test]
    fn what_cannot_run_is_named() {
        let message = |shape, limits| attention_prefill(&shape, limits).unwrap_err().to_string();
        for (shape, text) in [
            (
                AttentionShape { head_dim: 96, ..SHAPE },
                "attention_prefill: head_dim: expected 64 or 128, got 96",
            ),
            (
                AttentionShape { dtype: DType::F32, ..SHAPE },
                "attention_prefill: q: expected bf16 or f16, got f32",
            ),
            (
                AttentionShape { cache_dtype: DType::F16, ..SHAPE },
                "attention_prefill: k: expected bf16 or f8_e4m3, got f16",
            ),
            (
                AttentionShape { num_seqs: 2049, ..SHAPE },
                "attention_prefill: sequences: expected at most 2048 at a time, got 2049",
            ),
            (
                AttentionShape { num_tokens: 1 << 36, max_q_len: 1 << 36, ..SHAPE },
                "attention_prefill: q: expected fewer than 2^31 tiles, got 68719476736 queries",
            ),
        ] {
            assert_eq!(message(shape, H200), text);
        }
        let small = Limits { shared_memory_per_block: 48 << 10, ..H200 };
        let text = "a block needs 81920 bytes of shared memory, the device has 49152";
        assert!(message(SHAPE, small).contains(text), "{}", message(SHAPE, small));
        // All devices since compute capability 8.0 have this much.
        let least = Limits { shared_memory_per_block: 99 << 10, ..H200 };
        assert!(attention_prefill(&SHAPE, least).is_ok());
    }
}
