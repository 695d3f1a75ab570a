//! What an operation costs at least: floating-point operations, and bytes with each input read once and each output
//! written once. Benches, checks and the kernels' headers mean these numbers.
//!
//! The functions `…_tile` say what the blocks of a launch ask of the memory system: what several of them read counts each
//! time, which is for the L2 cache to serve.

use crate::params::{ATTENTION_PREFILL_ROWS, SampleRow};
use crate::plan::{MatmulShape, Plan, attention_prefill_keys};

mod attention_decode;
#[cfg(feature = "model")]
mod step;

pub use attention_decode::{
    attention_combine, attention_combine_tile, attention_decode_lists, attention_decode_split,
    attention_decode_tile,
};
#[cfg(feature = "model")]
pub use step::{decode_step, prefill, step};

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
    /// Whether lse is written.
    pub lse: bool,
}

/// Causal attention: four operations for each element of a key that a query head sees; reads queries and, where there are
/// queries, all keys and values; writes the outputs. Lists of lengths and pages are left out.
pub fn attention(shape: &AttentionCost<'_>) -> Cost {
    let AttentionCost { sequences, num_kv_heads, group, head_dim, lse } = *shape;
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
        cost.bytes += ELEMENT * head_dim * (rows + 2 * num_kv_heads * kv_len) + written;
        cost.written += written;
    }
    cost
}

/// Bytes that `attention_prefill` asks of the memory system: each of its tiles reads the keys and values that its last query
/// sees, to the end of a tile of them, and writes a sector of lse for each token of 8 rows. (What it costs at least:
/// [`attention`].)
pub fn attention_prefill_tile(shape: &AttentionCost<'_>) -> u64 {
    const ROWS: usize = ATTENTION_PREFILL_ROWS as usize;
    let AttentionCost { sequences, num_kv_heads, group, head_dim, lse } = *shape;
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
        bytes += ELEMENT * 2 * (head_dim * (rows + keys)) as u64 + SECTOR * sectors;
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
pub fn rope_append_kv(num_tokens: usize, num_q_heads: usize, num_kv_heads: usize, head_dim: usize) -> Cost {
    let (tokens, head_dim) = (num_tokens as u64, head_dim as u64);
    let (q_heads, kv_heads) = (num_q_heads as u64, num_kv_heads as u64);
    let width = (q_heads + 2 * kv_heads) * head_dim;
    let lists = (size_of::<i32>() + size_of::<i64>()) as u64;
    Cost {
        flops: 3 * tokens * (q_heads + kv_heads) * head_dim,
        bytes: tokens * (2 * ELEMENT * width + size_of::<f32>() as u64 * head_dim + lists),
        written: tokens * ELEMENT * width,
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
    let width = (num_q_heads as u64 + 2 * num_kv_heads as u64) * head_dim as u64;
    num_tokens as u64 * 2 * ELEMENT * width + visits * (angles + 2 * SECTOR)
}

/// `gather_rows`, where no index repeats.
pub fn gather_rows(num_rows: usize, hidden: usize) -> Cost {
    embed(num_rows, hidden)
}

/// `matmul`: a multiply and an add for each of m * n * k; reads x, the weight and the bias, writes out.
pub fn matmul(shape: &MatmulShape) -> Cost {
    let &MatmulShape { m, n, k, bias, .. } = shape;
    let (m, n, k) = (m as u64, n as u64, k as u64);
    if m == 0 {
        return Cost::default();
    }
    let bias = if bias { n } else { 0 };
    let written = matmul_out_bytes(shape);
    Cost { flops: 2 * m * n * k, bytes: ELEMENT * (m * k + n * k + bias) + written, written }
}

/// Bytes that the blocks of a `matmul` ask for: each block its rows of x and of the weight.
pub fn matmul_tile(plan: &Plan, shape: &MatmulShape) -> u64 {
    let Some(tile) = plan.tile else { return matmul(shape).bytes };
    let &MatmulShape { m, n, k, bias, .. } = shape;
    let (blocks_m, blocks_n) = (m.div_ceil(tile.m as usize) as u64, n.div_ceil(tile.n as usize) as u64);
    let (m, n, k) = (m as u64, n as u64, k as u64);
    let bias = if bias { n } else { 0 };
    ELEMENT * (m * k * blocks_n + (n * k + bias) * blocks_m) + matmul_out_bytes(shape)
}

fn matmul_out_bytes(shape: &MatmulShape) -> u64 {
    let element = if shape.out_f32 { size_of::<f32>() as u64 } else { ELEMENT };
    shape.m as u64 * shape.out_width() as u64 * element
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
            let shape = AttentionCost { sequences, num_kv_heads, group, head_dim, lse };
            assert_eq!(attention(&shape), expected, "{sequences:?}");
            assert!(attention_prefill_tile(&shape) >= expected.bytes, "{sequences:?}");
        }
    }

    /// 256 queries are two tiles of 128: the first reads 128 keys, the second all.
    #[test]
    fn tiles_of_prefill_read_what_their_last_query_sees() {
        let sequences = [[256, 256]];
        let shape =
            AttentionCost { sequences: &sequences, num_kv_heads: 3, group: 1, head_dim: 128, lse: false };
        assert_eq!(attention_prefill_tile(&shape), 3 * 2 * 2 * 128 * (256 + 128 + 256));
        let shape = AttentionCost { group: 2, lse: true, ..shape };
        let keys = 64 + 128 + 192 + 256;
        assert_eq!(attention_prefill_tile(&shape), 3 * (2 * 2 * 128 * (512 + keys) + 256 * 32));
    }
}
