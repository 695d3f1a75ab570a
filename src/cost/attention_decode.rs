//! Decode attention and the merging of its parts.

use super::{AttentionCost, Cost, ELEMENT, SECTOR};
use crate::params::{ATTENTION_DECODE_FEW_ROWS, ATTENTION_DECODE_KEYS, ATTENTION_DECODE_THREADS};
use crate::plan::{self, Plan};

/// Bytes of an element of a partial result, of a logarithm, and of a list.
const WORD: u64 = 4;
/// Threads of a warp.
const WARP: u64 = 32;
/// Warps of a block of `attention_decode`.
const WARPS: u64 = ATTENTION_DECODE_THREADS as u64 / WARP;

impl AttentionCost<'_> {
    fn heads(&self) -> u64 {
        (self.group * self.num_kv_heads) as u64
    }

    /// Rows: queries times query heads.
    fn rows(&self) -> u64 {
        self.sequences.iter().map(|[q_len, _]| *q_len as u64).sum::<u64>() * self.heads()
    }
}

/// How many keys each query of a sequence sees.
fn visible([q_len, kv_len]: [usize; 2]) -> impl Iterator<Item = usize> {
    (1..=q_len).map(move |query| (kv_len + query).saturating_sub(q_len))
}

/// Bytes of the lists that `attention_decode` reads: offsets, lengths, and the pages of keys that it reads, so many tokens
/// each. They add to [`attention`](super::attention).
pub fn attention_decode_lists(shape: &AttentionCost<'_>, page_size: usize) -> u64 {
    let bringing = shape.sequences.iter().filter(|[q_len, _]| *q_len > 0);
    let pages: u64 = bringing.map(|[_, kv_len]| kv_len.div_ceil(page_size) as u64).sum();
    let lists = 2 * shape.sequences.len() as u64 + u64::from(!shape.sequences.is_empty());
    WORD * (pages + lists)
}

/// Rows that each split has: of as many queries of each sequence as the one with the most brings.
fn part_rows(shape: &AttentionCost<'_>) -> u64 {
    let most = shape.sequences.iter().map(|[q_len, _]| *q_len).max().unwrap_or(0);
    (shape.sequences.len() * most) as u64 * shape.heads()
}

/// Parts of the batch's rows that have a key, over all rows.
fn parts(plan: &Plan, shape: &AttentionCost<'_>, batch_invariant: bool) -> u64 {
    let of_sequence = |&lengths: &[usize; 2]| -> u64 {
        let keys = plan::attention_decode_split_keys(plan.splits, batch_invariant, lengths[1]);
        visible(lengths).map(|visible| visible.div_ceil(keys) as u64).sum()
    };
    shape.sequences.iter().map(of_sequence).sum::<u64>() * shape.heads()
}

/// Bytes that splits add to [`attention`](super::attention): parts, their logarithms and a list of rows, written and read. 0 without.
/// The plan is for as many queries a sequence as the one with the most brings.
pub fn attention_decode_split(plan: &Plan, shape: &AttentionCost<'_>, batch_invariant: bool) -> u64 {
    if plan.splits == 1 {
        return 0;
    }
    let parts = parts(plan, shape, batch_invariant) * shape.head_dim as u64;
    2 * WORD * (parts + u64::from(plan.splits) * part_rows(shape) + 2 * shape.sequences.len() as u64)
}

/// Bytes that the launches of [`plan::attention_decode`], and of [`plan::attention_combine`] behind it where there are splits,
/// ask of the memory system: each block of rows its keys and values, each warp that multiplies them the queries; and sectors
/// of 32 bytes where warps read or write a word.
pub fn attention_decode_tile(plan: &Plan, shape: &AttentionCost<'_>, batch_invariant: bool) -> u64 {
    let &AttentionCost { sequences, group, num_kv_heads, head_dim, lse, .. } = shape;
    let Some(tile) = plan.tile else { return 0 };
    let (head_dim, rows, splits) = (head_dim as u64, shape.rows(), u64::from(plan.splits));
    let [units, _, row_blocks] = plan.launch.grid;
    let mut bytes = 0;
    for (seq, &[q_len, kv_len]) in sequences.iter().enumerate() {
        // In every block: the offsets of the sequences so far, the next one's, and a length.
        let offsets = (seq as u64 + 1).div_ceil(SECTOR / WORD);
        bytes += splits * u64::from(row_blocks) * WARPS * (offsets + 2) * SECTOR;
        let split_keys = plan::attention_decode_split_keys(plan.splits, batch_invariant, kv_len);
        let row_blocks = (q_len * group).div_ceil(tile.m as usize) as u64;
        let copies_of_queries = if tile.m == ATTENTION_DECODE_FEW_ROWS { WARPS } else { 1 };
        for start in (0..kv_len).step_by(split_keys) {
            let keys = (kv_len - start).min(split_keys);
            let tiles = keys.div_ceil(ATTENTION_DECODE_KEYS as usize) as u64;
            // A page's index for each tile, and for the ones that the pipeline looks ahead to.
            let pages = WARPS * SECTOR * (tiles.max(u64::from(tile.stages)) + 1);
            bytes += row_blocks * (shape.key_and_value() * keys as u64 + pages)
                + copies_of_queries * (q_len * group) as u64 * ELEMENT * head_dim;
        }
    }
    bytes *= u64::from(units) / sequences.len().max(1) as u64;
    debug_assert!(units as usize == sequences.len() * num_kv_heads);
    let lse = if lse { SECTOR } else { 0 };
    let result = rows * (ELEMENT * head_dim + lse);
    if splits == 1 {
        return bytes + result;
    }
    // The parts are read by as many threads as have four elements each; every warp of them reads a logarithm, and the list.
    let parts = parts(plan, shape, batch_invariant);
    let warps = (head_dim / 4).div_ceil(WARP);
    let list = sequences.len() as u64 * SECTOR;
    let rows = part_rows(shape);
    let rows_of_list = rows * splits.min(8) * warps * SECTOR;
    bytes + 2 * WORD * head_dim * parts + rows * splits * SECTOR * (1 + warps) + list + rows_of_list + result
}

/// `attention_combine` of `num_splits` parts of `num_tokens` rows of `num_heads` heads, of which all are read; with `lse`,
/// that is written as well.
pub fn attention_combine(
    num_splits: usize,
    num_tokens: usize,
    num_heads: usize,
    head_dim: usize,
    lse: bool,
) -> Cost {
    let (rows, splits, head_dim) = (num_tokens as u64 * num_heads as u64, num_splits as u64, head_dim as u64);
    let written = ELEMENT * head_dim + if lse { WORD } else { 0 };
    Cost {
        flops: rows * splits * (2 * head_dim + 4),
        bytes: rows * (splits * WORD * (head_dim + 1) + written),
        written: rows * written,
    }
}

/// Bytes that `attention_combine` asks of the memory system: as [`attention_combine`], but that each of the warps that read a
/// row's part asks for the sector of its `lse`.
pub fn attention_combine_tile(
    num_splits: usize,
    num_tokens: usize,
    num_heads: usize,
    head_dim: usize,
    lse: bool,
) -> u64 {
    let rows = num_tokens as u64 * num_heads as u64;
    let least = attention_combine(num_splits, num_tokens, num_heads, head_dim, lse).bytes;
    let warps = (head_dim as u64 / 4).div_ceil(WARP);
    let written = if lse { SECTOR - WORD } else { 0 };
    least + rows * (num_splits as u64 * (warps * SECTOR - WORD) + written)
}
