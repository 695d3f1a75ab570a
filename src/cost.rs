//! What an operation costs at least: floating-point operations, and bytes with each input read once and each output
//! written once. Benches, checks and the kernels' headers mean these numbers.
//!
//! The functions `…_tile` say what the blocks of a launch ask of the memory system: what several of them read counts each
//! time, which is for the L2 cache to serve.

use crate::params::{ATTENTION_PREFILL_ROWS, SampleRow};
use crate::plan::{Plan, attention_prefill_keys};

mod attention_decode;
mod matmul;
#[cfg(feature = "model")]
mod step;

pub use attention_decode::{
    attention_combine, attention_combine_tile, attention_decode_lists, attention_decode_split,
    attention_decode_tile,
};
pub use matmul::{matmul, matmul_partials, matmul_tile};
#[cfg(feature = "model")]
pub use step::{StepFormats, decode_step, prefill, step};

/// A cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Floating-point operations.
    pub flops: u64,
    /// Bytes read and written.
    pub bytes: u64,
    /// Of these, bytes written.
    pub written: u64,
}

/// Bytes of an activation's or a weight's element.
const ELEMENT: u64 = 2;
/// Bytes of a scale of fp8 activations.
const SCALE: u64 = 4;
/// Bytes of the index of a column.
const COLUMN: u64 = 4;
/// Bytes of the logarithm of a sum.
const LSE: u64 = 4;
/// Bytes that memory is read and written in.
const SECTOR: u64 = 32;

/// Sizes of an attention: `[queries, keys]` of each sequence, and its heads.
#[derive(Clone, Copy, Debug)]
pub struct AttentionCost<'a> {
    /// Queries and keys of each sequence; no more queries than keys, but where there are no keys.
    pub sequences: &'a [[usize; 2]],
    /// Key and value heads.
    pub num_kv_heads: usize,
    /// Query heads of a key/value head.
    pub group: usize,
    /// Elements of a head.
    pub head_dim: usize,
    /// Bytes of an element of a key or a value: 2, or 1 in an fp8 cache.
    pub cache_bytes: usize,
    /// Whether lse is written.
    pub lse: bool,
}

impl AttentionCost<'_> {
    /// Bytes of a key and its value.
    fn key_and_value(&self) -> u64 {
        2 * (self.head_dim * self.cache_bytes) as u64
    }
}

/// Causal attention: four operations for each element of a key that a query head sees; reads queries and, where there are
/// queries, all keys and values; writes the outputs. Lists of lengths and pages are left out.
pub fn attention(shape: &AttentionCost<'_>) -> Cost {
    let AttentionCost { sequences, num_kv_heads, group, head_dim, lse, .. } = *shape;
    let [num_kv_heads, group, head_dim] = [num_kv_heads, group, head_dim].map(|size| size as u64);
    let mut cost = Cost::default();
    for &[q_len, kv_len] in sequences.iter().filter(|[q_len, _]| *q_len > 0) {
        let [q_len, kv_len] = [q_len, kv_len].map(|len| len as u64);
        // The last query sees all keys, each before it one fewer.
        let first = (kv_len + 1).saturating_sub(q_len);
        let seen = (first + kv_len) * (kv_len + 1 - first) / 2;
        let rows = num_kv_heads * group * q_len;
        cost.flops += 4 * head_dim * num_kv_heads * group * seen;
        let written = ELEMENT * head_dim * rows + if lse { LSE * rows } else { 0 };
        cost.bytes += ELEMENT * head_dim * rows + shape.key_and_value() * num_kv_heads * kv_len + written;
        cost.written += written;
    }
    cost
}

/// Bytes that `attention_prefill` asks of the memory system: each of its tiles reads the keys and values that its last query
/// sees, to the end of a tile of them, and writes a sector of lse for each token of 8 rows. (What it costs at least:
/// [`attention`].)
pub fn attention_prefill_tile(shape: &AttentionCost<'_>) -> u64 {
    const ROWS: usize = ATTENTION_PREFILL_ROWS as usize;
    let AttentionCost { sequences, num_kv_heads, group, head_dim, lse, .. } = *shape;
    let keys_of_tile = attention_prefill_keys(head_dim);
    let mut bytes = 0;
    for &[q_len, kv_len] in sequences {
        let rows = q_len * group;
        let keys: usize = (0..rows)
            .step_by(ROWS)
            .map(|first| {
                let last_token = ((first + ROWS).min(rows) - 1) / group;
                (kv_len + last_token + 1).saturating_sub(q_len).next_multiple_of(keys_of_tile).min(kv_len)
            })
            .sum();
        let sectors =
            if lse { (0..rows).step_by(8).map(|row| tokens_of_8_rows(row, rows, group)).sum() } else { 0 };
        bytes +=
            ELEMENT * 2 * (head_dim * rows) as u64 + shape.key_and_value() * keys as u64 + SECTOR * sectors;
    }
    bytes * num_kv_heads as u64
}

/// How many tokens 8 rows from `row` on are of.
fn tokens_of_8_rows(row: usize, rows: usize, group: usize) -> u64 {
    (((row + 8).min(rows) - 1) / group - row / group + 1) as u64
}

/// `embed`, where no id repeats.
pub fn embed(num_tokens: usize, hidden: usize) -> Cost {
    let (tokens, hidden) = (num_tokens as u64, hidden as u64);
    let written = ELEMENT * tokens * hidden;
    Cost { flops: 0, bytes: tokens * size_of::<i32>() as u64 + 2 * written, written }
}

/// `rms_norm`: square, add, scale, weight; reads x and the weight, writes out.
pub fn rms_norm(num_tokens: usize, hidden: usize) -> Cost {
    let (tokens, hidden) = (num_tokens as u64, hidden as u64);
    let (out, weight) = (ELEMENT * tokens * hidden, ELEMENT * hidden * u64::from(tokens > 0));
    Cost { flops: 4 * tokens * hidden, bytes: 2 * out + weight, written: out }
}

/// Bytes that the blocks of `rms_norm` ask for: the weight anew for each row.
pub fn rms_norm_tile(num_tokens: usize, hidden: usize) -> u64 {
    3 * ELEMENT * num_tokens as u64 * hidden as u64
}

/// `add_rms_norm`: one addition more; reads x, the residual and the weight, writes the residual and out.
pub fn add_rms_norm(num_tokens: usize, hidden: usize) -> Cost {
    let (tokens, hidden) = (num_tokens as u64, hidden as u64);
    let (out, weight) = (ELEMENT * tokens * hidden, ELEMENT * hidden * u64::from(tokens > 0));
    Cost { flops: 5 * tokens * hidden, bytes: 4 * out + weight, written: 2 * out }
}

/// Bytes that the blocks of `add_rms_norm` ask for: the weight anew for each row.
pub fn add_rms_norm_tile(num_tokens: usize, hidden: usize) -> u64 {
    5 * ELEMENT * num_tokens as u64 * hidden as u64
}

/// A norm whose columns are written in another order: `norm` and an index for each column.
pub fn permuted(norm: Cost, num_tokens: usize, hidden: usize) -> Cost {
    let indices = if num_tokens > 0 { COLUMN * hidden as u64 } else { 0 };
    Cost { bytes: norm.bytes + indices, ..norm }
}

/// Bytes that the blocks of a norm ask for more where its columns are written in another order: the indices anew for each row,
/// and twice, because a load of a thread takes half of a sector.
pub fn permuted_tile(num_tokens: usize, hidden: usize) -> u64 {
    2 * COLUMN * num_tokens as u64 * hidden as u64
}

/// `permute_columns`: reads x and the indices, writes out.
pub fn permute_columns(num_tokens: usize, width: usize) -> Cost {
    let written = ELEMENT * num_tokens as u64 * width as u64;
    permuted(Cost { flops: 0, bytes: 2 * written, written }, num_tokens, width)
}

/// Bytes that the blocks of `permute_columns` ask for: the indices as for [`permuted_tile`].
pub fn permute_columns_tile(num_tokens: usize, width: usize) -> u64 {
    2 * ELEMENT * num_tokens as u64 * width as u64 + permuted_tile(num_tokens, width)
}

/// `rms_norm_fp8`: [`rms_norm`], compare, divide; writes a byte an element and `groups` scales a token.
pub fn rms_norm_fp8(num_tokens: usize, hidden: usize, groups: usize) -> Cost {
    quantized(rms_norm(num_tokens, hidden), num_tokens, hidden, groups)
}

/// Bytes that the blocks of `rms_norm_fp8` ask for: the weight anew for each row, and scales as for [`quantize_fp8_tile`].
pub fn rms_norm_fp8_tile(num_tokens: usize, hidden: usize, groups: usize) -> u64 {
    quantize_fp8_tile(num_tokens, hidden, groups) + ELEMENT * num_tokens as u64 * hidden as u64
}

/// `add_rms_norm_fp8`: [`add_rms_norm`], compare, divide; writes a byte an element and `groups` scales a token.
pub fn add_rms_norm_fp8(num_tokens: usize, hidden: usize, groups: usize) -> Cost {
    quantized(add_rms_norm(num_tokens, hidden), num_tokens, hidden, groups)
}

/// Bytes that the blocks of `add_rms_norm_fp8` ask for, as for [`rms_norm_fp8_tile`].
pub fn add_rms_norm_fp8_tile(num_tokens: usize, hidden: usize, groups: usize) -> u64 {
    rms_norm_fp8_tile(num_tokens, hidden, groups) + 2 * ELEMENT * num_tokens as u64 * hidden as u64
}

/// An operation that quantises what it would write.
fn quantized(native: Cost, num_tokens: usize, width: usize, groups: usize) -> Cost {
    let Cost { flops, written, .. } = quantize_fp8(num_tokens, width, groups);
    let out = ELEMENT * num_tokens as u64 * width as u64;
    Cost {
        flops: native.flops + flops,
        bytes: native.bytes - out + written,
        written: native.written - out + written,
    }
}

/// `quantize_fp8`: compare, divide; reads x, writes a byte an element and `groups` scales a token.
pub fn quantize_fp8(num_tokens: usize, width: usize, groups: usize) -> Cost {
    let tokens = num_tokens as u64;
    let elements = tokens * width as u64;
    let written = elements + SCALE * tokens * groups as u64;
    Cost { flops: 2 * elements, bytes: ELEMENT * elements + written, written }
}

/// Bytes that the warps of `quantize_fp8` ask of the memory system: the scales in sectors, of which a warp has the columns of
/// two.
pub fn quantize_fp8_tile(num_tokens: usize, width: usize, groups: usize) -> u64 {
    let elements = num_tokens as u64 * width as u64;
    (ELEMENT + 1) * elements + num_tokens as u64 * groups.div_ceil(2) as u64 * SECTOR
}

/// `silu_and_mul`: negate, exp, add, divide, multiply; reads gate and up, writes out.
pub fn silu_and_mul(num_tokens: usize, intermediate: usize) -> Cost {
    let outputs = num_tokens as u64 * intermediate as u64;
    Cost { flops: 5 * outputs, bytes: 3 * ELEMENT * outputs, written: ELEMENT * outputs }
}

/// `rope_append_kv`, where no position repeats and every token is stored: four multiplications and two additions a pair of
/// queries and keys; reads all heads, angles, positions and slots, writes all heads.
pub fn rope_append_kv(
    num_tokens: usize,
    num_q_heads: usize,
    num_kv_heads: usize,
    head_dim: usize,
    cache_bytes: usize,
) -> Cost {
    let (tokens, head_dim) = (num_tokens as u64, head_dim as u64);
    let (q_heads, kv_heads) = (num_q_heads as u64, num_kv_heads as u64);
    let width = (q_heads + 2 * kv_heads) * head_dim;
    let lists = (size_of::<i32>() + size_of::<i64>()) as u64;
    let written = tokens * (ELEMENT * q_heads + 2 * cache_bytes as u64 * kv_heads) * head_dim;
    Cost {
        flops: 3 * tokens * (q_heads + kv_heads) * head_dim,
        bytes: tokens * (ELEMENT * width + size_of::<f32>() as u64 * head_dim + lists) + written,
        written,
    }
}

/// Bytes that the warps of [`plan::rope_append_kv`](crate::plan::rope_append_kv) ask of the caches: each reads the angles, the
/// position and the slot of its tokens anew, in sectors of 32 bytes, of which a load of angles takes one a thread.
pub fn rope_append_kv_tile(
    plan: &Plan,
    num_tokens: usize,
    num_q_heads: usize,
    num_kv_heads: usize,
    head_dim: usize,
    cache_bytes: usize,
) -> u64 {
    const WARP: u32 = 32;
    let [vectors, heads, tokens_per_block] = plan.launch.block;
    let token_threads = vectors * heads;
    let threads = token_threads * tokens_per_block;
    // How many tokens each warp of a block has a part of.
    let visits: u32 = (0..threads)
        .step_by(WARP as usize)
        .map(|first| ((first + WARP).min(threads) - 1) / token_threads - first / token_threads + 1)
        .sum();
    let visits =
        num_tokens as u64 * u64::from(plan.launch.grid[1]) * u64::from(visits) / u64::from(tokens_per_block);
    let angles = 2 * size_of::<f32>() as u64 * head_dim as u64;
    let Cost { written, .. } = rope_append_kv(num_tokens, num_q_heads, num_kv_heads, head_dim, cache_bytes);
    let width = (num_q_heads as u64 + 2 * num_kv_heads as u64) * head_dim as u64;
    num_tokens as u64 * ELEMENT * width + written + visits * (angles + 2 * SECTOR)
}

/// `gather_rows`, where no index repeats.
pub fn gather_rows(num_rows: usize, hidden: usize) -> Cost {
    embed(num_rows, hidden)
}

/// `sample` of the largest logits: a comparison each; reads the logits and the rows' settings, writes a token a row. With
/// temperature the same bytes are read again from L2, as often as the kernel's header says.
pub fn sample(num_rows: usize, vocab_size: usize) -> Cost {
    let (rows, vocab_size) = (num_rows as u64, vocab_size as u64);
    let (settings, token) = (size_of::<SampleRow>() as u64, size_of::<i32>() as u64);
    Cost {
        flops: rows * vocab_size,
        bytes: rows * (size_of::<f32>() as u64 * vocab_size + settings + token),
        written: rows * token,
    }
}

/// Bytes that `sample` asks of the memory system where it passes over each row so often; the kernel's header says how often.
pub fn sample_passes(num_rows: usize, vocab_size: usize, passes: u64) -> u64 {
    let Cost { flops: logits, bytes, .. } = sample(num_rows, vocab_size);
    bytes + (passes - 1) * size_of::<f32>() as u64 * logits
}
#[cfg(test)]
mod tests {
    use super::*;

    /// Queries, keys and pairs counted one by one.
    #[test]
    fn attention_counts_what_is_seen() {
        for (sequences, group, lse) in [
            (&[[5_usize, 5]][..], 1, false),
            (&[[1, 77], [0, 30], [3, 3]], 4, true),
            (&[[130, 530], [2, 0]], 3, true),
            (&[], 2, true),
        ] {
            let (num_kv_heads, head_dim) = (2_usize, 64_usize);
            let mut expected = Cost::default();
            for &[q_len, kv_len] in sequences {
                for j in 0..q_len {
                    let seen = (kv_len + j + 1).saturating_sub(q_len);
                    expected.flops += (num_kv_heads * group * seen * 4 * head_dim) as u64;
                    let written = num_kv_heads * group * (2 * head_dim + if lse { 4 } else { 0 });
                    expected.bytes += (num_kv_heads * group * 2 * head_dim + written) as u64;
                    expected.written += written as u64;
                }
                let keys = if q_len > 0 { kv_len } else { 0 };
                expected.bytes += (num_kv_heads * keys * 2 * 2 * head_dim) as u64;
            }
            let shape = AttentionCost { sequences, num_kv_heads, group, head_dim, cache_bytes: 2, lse };
            assert_eq!(attention(&shape), expected, "{sequences:?}");
            assert!(attention_prefill_tile(&shape) >= expected.bytes, "{sequences:?}");
        }
    }

    /// 256 queries are two tiles of 128: the first reads 128 keys, the second all.
    #[test]
    fn tiles_of_prefill_read_what_their_last_query_sees() {
        let sequences = [[256, 256]];
        let shape = AttentionCost {
            sequences: &sequences,
            num_kv_heads: 3,
            group: 1,
            head_dim: 128,
            cache_bytes: 2,
            lse: false,
        };
        assert_eq!(attention_prefill_tile(&shape), 3 * 2 * 2 * 128 * (256 + 128 + 256));
        let fp8 = AttentionCost { cache_bytes: 1, ..shape };
        assert_eq!(attention_prefill_tile(&fp8), 3 * 2 * 128 * (2 * 256 + 128 + 256));
        assert_eq!(attention(&fp8).bytes, 3 * 128 * (2 * 2 * 256 + 2 * 256));
        let shape = AttentionCost { group: 2, lse: true, ..shape };
        let keys = 64 + 128 + 192 + 256;
        assert_eq!(attention_prefill_tile(&shape), 3 * (2 * 2 * 128 * (512 + keys) + 256 * 32));
    }
}
