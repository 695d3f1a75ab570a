//! Attention of sequences that bring a few queries each: tiles, and the splits of their keys.

use super::{AttentionShape, Kernel, Launch, Limits, MAX_GRID_Y, Plan, Tile};
use crate::params::{
    ATTENTION_DECODE_FEW_ROWS, ATTENTION_DECODE_INVARIANT_SPLIT_KEYS, ATTENTION_DECODE_KEYS,
    ATTENTION_DECODE_MANY_ROWS, ATTENTION_DECODE_MAX_QUERIES, ATTENTION_DECODE_MIN_SPLIT_KEYS,
    ATTENTION_DECODE_RING_BYTES, ATTENTION_DECODE_THREADS,
};
use crate::tensor::DType;
use crate::{Error, Result};

const OP: &str = "attention_decode";

/// Bytes of shared memory that the system takes of each block.
const SYSTEM_SHARED_BYTES: usize = 1024;

/// `attention_decode`; `None` where there is nothing to do. With more than one split, `attention_combine` of
/// `splits` parts of `num_seqs * max_q_len` rows follows.
///
/// The grid and the workspace are for sequences of up to `max_kv_len` keys; the kernel takes of it what the lengths on
/// the device ask for. With `batch_invariant` splits have one size, and there is one tile for any number of queries, so that
/// a sequence's result has the same bits in every batch; else there is one number of splits for all sequences, as many as
/// fill the device.
pub fn attention_decode(
    shape: &AttentionShape,
    batch_invariant: bool,
    limits: Limits,
) -> Result<Option<Plan>> {
    let AttentionShape { head_dim, group, num_kv_heads, num_tokens, num_seqs, max_q_len, max_kv_len, .. } =
        *shape;
    if max_q_len > ATTENTION_DECODE_MAX_QUERIES as usize {
        let expected = format!("at most {ATTENTION_DECODE_MAX_QUERIES} queries a sequence");
        return Err(Error::argument(OP, "max_q_len", expected, max_q_len));
    }
    if ATTENTION_DECODE_RING_BYTES as usize > limits.shared_memory_per_block {
        let given = limits.shared_memory_per_block;
        let reason = format!(
            "a block needs {ATTENTION_DECODE_RING_BYTES} bytes of shared memory, the device has {given}"
        );
        return Err(Error::unsupported(OP, reason));
    }
    let rows = max_q_len.saturating_mul(group);
    let few_rows = batch_invariant || rows <= ATTENTION_DECODE_FEW_ROWS as usize;
    let kernel = kernel(shape, few_rows)?;
    let m = if few_rows { ATTENTION_DECODE_FEW_ROWS } else { ATTENTION_DECODE_MANY_ROWS };
    let m_blocks = rows.div_ceil(m as usize);
    if m_blocks > MAX_GRID_Y {
        return Err(Error::argument(OP, "q", "fewer query heads of a key/value head", group));
    }
    let units = num_kv_heads
        .checked_mul(num_seqs)
        .filter(|&units| i32::try_from(units).is_ok())
        .ok_or_else(|| Error::argument(OP, "sequences", "fewer than 2^31 heads of sequences", num_seqs))?;
    if num_tokens == 0 || units == 0 || m_blocks == 0 {
        return Ok(None);
    }
    let (splits, reason) = if batch_invariant {
        let splits = max_kv_len.div_ceil(ATTENTION_DECODE_INVARIANT_SPLIT_KEYS as usize);
        (
            splits.max(1),
            "splits of one size, one tile for any number of queries: the same bits in every batch",
        )
    } else {
        splits(units.saturating_mul(m_blocks), max_kv_len, limits)
    };
    let splits =
        u32::try_from(splits).ok().filter(|&splits| splits as usize <= MAX_GRID_Y).ok_or_else(|| {
            let most = MAX_GRID_Y * ATTENTION_DECODE_INVARIANT_SPLIT_KEYS as usize;
            Error::argument(OP, "max_kv_len", format!("at most {most}"), max_kv_len)
        })?;
    let tile_bytes = 2 * ATTENTION_DECODE_KEYS * head_dim as u32 * shape.cache_dtype.size() as u32;
    let tile = Tile {
        m,
        n: ATTENTION_DECODE_KEYS,
        k: head_dim as u32,
        stages: ATTENTION_DECODE_RING_BYTES / tile_bytes,
    };
    let launch = Launch {
        kernel,
        // The plan has checked that all three fit.
        grid: [units as u32, splits, m_blocks as u32],
        block: [ATTENTION_DECODE_THREADS, 1, 1],
        dynamic_shared_bytes: ATTENTION_DECODE_RING_BYTES,
    };
    let workspace_bytes = if splits > 1 { Workspace::new(shape, splits)?.bytes } else { 0 };
    Ok(Some(Plan { op: OP, launch, tile: Some(tile), splits, workspace_bytes, reason }))
}

/// Where the parts of a split result lie: offsets in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Workspace {
    /// f32 `[splits, num_seqs * max_q_len, num_q_heads, head_dim]`.
    pub out: usize,
    /// i32 `[num_seqs, 2]`.
    pub queries: usize,
    /// f32 `[splits, num_seqs * max_q_len, num_q_heads]`.
    pub lse: usize,
    /// Of all.
    pub bytes: usize,
}

impl Workspace {
    pub fn new(shape: &AttentionShape, splits: u32) -> Result<Self> {
        let AttentionShape { head_dim, group, num_kv_heads, num_seqs, max_q_len, .. } = *shape;
        let product =
            |factors: &[usize]| factors.iter().try_fold(1usize, |product, &f| product.checked_mul(f));
        let rows = product(&[splits as usize, num_seqs, max_q_len, num_kv_heads, group, size_of::<f32>()]);
        let offsets = || {
            let lse_bytes = rows?;
            let queries = lse_bytes.checked_mul(head_dim)?;
            let lse = product(&[num_seqs, 2, size_of::<i32>()])?.checked_add(queries)?;
            Some(Workspace { out: 0, queries, lse, bytes: lse.checked_add(lse_bytes)? })
        };
        offsets().ok_or_else(|| {
            let given = format!("{splits} splits of {num_seqs} sequences");
            Error::argument(OP, "workspace", "fewer than 2^64 bytes", given)
        })
    }
}

/// Keys of each split, but for the last one with any, of a sequence of `kv_len` keys under a plan of so many splits: what the
/// kernel decides.
pub fn attention_decode_split_keys(splits: u32, batch_invariant: bool, kv_len: usize) -> usize {
    if batch_invariant {
        return ATTENTION_DECODE_INVARIANT_SPLIT_KEYS as usize;
    }
    let keys = kv_len.div_ceil(splits.max(1) as usize).next_multiple_of(ATTENTION_DECODE_KEYS as usize);
    keys.max(ATTENTION_DECODE_MIN_SPLIT_KEYS as usize)
}

/// How many splits each sequence may have, for `units` blocks without splits.
///
/// A block alone on a multiprocessor can take several times its share of the memory's bandwidth, so that all are busy enough
/// with four fifths of the blocks that fit. With fewer, as many splits as one round of blocks has room for; but no split of
/// fewer keys than a trip through the pipeline is worth.
fn splits(units: usize, max_kv_len: usize, limits: Limits) -> (usize, &'static str) {
    let block_bytes = ATTENTION_DECODE_RING_BYTES as usize + SYSTEM_SHARED_BYTES;
    let blocks_per_sm = ((limits.shared_memory_per_block + SYSTEM_SHARED_BYTES) / block_bytes).max(1);
    let slots = (limits.num_sms as usize).saturating_mul(blocks_per_sm);
    if units.saturating_mul(5) >= slots.saturating_mul(4) {
        return (1, "without splits there are blocks for the whole device");
    }
    let most = max_kv_len.div_ceil(ATTENTION_DECODE_MIN_SPLIT_KEYS as usize).max(1);
    match slots / units {
        splits if splits < 2 || most < 2 => (1, "too few keys, or too many blocks, to split"),
        splits if splits < most => (splits, "as many splits as make one round of blocks"),
        _ => (most, "as many splits as there are keys for"),
    }
}

fn kernel(shape: &AttentionShape, few_rows: bool) -> Result<Kernel> {
    let fp8 = shape.is_fp8(OP)?;
    Ok(match (shape.dtype, fp8, shape.head_dim, few_rows) {
        (DType::BF16, false, 64, true) => Kernel::AttentionDecodeBf16Hd64M16,
        (DType::BF16, false, 64, false) => Kernel::AttentionDecodeBf16Hd64M64,
        (DType::BF16, false, 128, true) => Kernel::AttentionDecodeBf16Hd128M16,
        (DType::BF16, false, 128, false) => Kernel::AttentionDecodeBf16Hd128M64,
        (DType::BF16, true, 64, true) => Kernel::AttentionDecodeFp8KvBf16Hd64M16,
        (DType::BF16, true, 64, false) => Kernel::AttentionDecodeFp8KvBf16Hd64M64,
        (DType::BF16, true, 128, true) => Kernel::AttentionDecodeFp8KvBf16Hd128M16,
        (DType::BF16, true, 128, false) => Kernel::AttentionDecodeFp8KvBf16Hd128M64,
        (DType::F16, false, 64, true) => Kernel::AttentionDecodeF16Hd64M16,
        (DType::F16, false, 64, false) => Kernel::AttentionDecodeF16Hd64M64,
        (DType::F16, false, 128, true) => Kernel::AttentionDecodeF16Hd128M16,
        (DType::F16, false, 128, false) => Kernel::AttentionDecodeF16Hd128M64,
        (DType::F16, true, 64, true) => Kernel::AttentionDecodeFp8KvF16Hd64M16,
        (DType::F16, true, 64, false) => Kernel::AttentionDecodeFp8KvF16Hd64M64,
        (DType::F16, true, 128, true) => Kernel::AttentionDecodeFp8KvF16Hd128M16,
        (DType::F16, true, 128, false) => Kernel::AttentionDecodeFp8KvF16Hd128M64,
        (_, _, head_dim, _) => return Err(Error::argument(OP, "head_dim", "64 or 128", head_dim)),
    })
}

#[cfg(test)]
mod tests {
    use super::super::attention_combine;
    use super::*;

    const H200: Limits = Limits { num_sms: 132, shared_memory_per_block: 227 << 10 };
    const A100: Limits = Limits { num_sms: 108, shared_memory_per_block: 163 << 10 };
    const L40: Limits = Limits { num_sms: 142, shared_memory_per_block: 99 << 10 };

    /// Llama 3 8B.
    fn shape(num_seqs: usize, max_q_len: usize, max_kv_len: usize) -> AttentionShape {
        AttentionShape {
            dtype: DType::BF16,
            cache_dtype: DType::BF16,
            head_dim: 128,
            group: 4,
            num_kv_heads: 8,
            num_tokens: num_seqs * max_q_len,
            num_seqs,
            max_q_len,
            max_kv_len,
        }
    }

    fn plan(shape: &AttentionShape, limits: Limits) -> Plan {
        attention_decode(shape, false, limits).unwrap().unwrap()
    }

    #[test]
    fn splits_fill_one_round_of_blocks() {
        let splits = |num_seqs, keys, limits| plan(&shape(num_seqs, 1, keys), limits).splits;
        // 264 places on an H200, one block a multiprocessor elsewhere.
        assert_eq!([1, 2, 8, 16, 32, 64].map(|seqs| splits(seqs, 16384, H200)), [33, 16, 4, 2, 1, 1]);
        assert_eq!([1, 8].map(|seqs| splits(seqs, 16384, A100)), [13, 1]);
        assert_eq!(splits(1, 16384, L40), 17);
        // No split of fewer than 128 keys.
        assert_eq!([0, 1, 128, 129, 1024, 4096].map(|keys| splits(1, keys, H200)), [1, 1, 1, 2, 8, 32]);
    }

    #[test]
    fn rows_choose_the_tile() {
        let launch = |queries| plan(&shape(3, queries, 100), H200).launch;
        assert_eq!(launch(4).kernel, Kernel::AttentionDecodeBf16Hd128M16);
        assert_eq!(launch(5).kernel, Kernel::AttentionDecodeBf16Hd128M64);
        assert_eq!(launch(4).grid, [24, 1, 1]);
        let wide = AttentionShape { group: 16, ..shape(3, 8, 100) };
        assert_eq!(plan(&wide, H200).launch.grid, [24, 1, 2]);
        // One tile for all.
        let invariant = attention_decode(&wide, true, H200).unwrap().unwrap();
        assert_eq!(invariant.launch.kernel, Kernel::AttentionDecodeBf16Hd128M16);
        assert_eq!((invariant.launch.grid, invariant.tile.unwrap().m), ([24, 1, 8], 16));
        let half =
            AttentionShape { dtype: DType::F16, cache_dtype: DType::F16, head_dim: 64, ..shape(1, 1, 1) };
        let tile = Tile { m: 16, n: 64, k: 64, stages: 6 };
        assert_eq!(plan(&half, H200).tile, Some(tile));
        // Codes take half the room: as many bytes are under way.
        let fp8 = AttentionShape { cache_dtype: DType::F8E4M3, ..half };
        assert_eq!(plan(&fp8, H200).tile, Some(Tile { stages: 12, ..tile }));
        assert_eq!(plan(&fp8, H200).launch.kernel, Kernel::AttentionDecodeFp8KvF16Hd64M16);
        assert_eq!(plan(&shape(1, 1, 1), H200).tile, Some(Tile { k: 128, stages: 3, ..tile }));
    }

    #[test]
    fn splits_of_one_size_do_not_depend_on_the_batch() {
        for num_seqs in [1, 7, 300] {
            let plan = |keys| attention_decode(&shape(num_seqs, 2, keys), true, H200).unwrap().unwrap();
            assert_eq!([0, 512, 513, 131_072].map(|keys| plan(keys).splits), [1, 1, 2, 256]);
        }
    }

    #[test]
    fn the_workspace_holds_every_part() {
        let shape = shape(2, 3, 1000);
        let plan = plan(&shape, H200);
        let (parts, rows) = (plan.splits as usize, 2 * 3 * 32);
        assert_eq!((parts, plan.workspace_bytes), (8, parts * rows * 129 * 4 + 2 * 8));
        let Workspace { out, queries, lse, bytes } = Workspace::new(&shape, plan.splits).unwrap();
        assert_eq!((out, queries, lse), (0, parts * rows * 512, parts * rows * 512 + 16));
        assert_eq!(bytes, plan.workspace_bytes);
        assert!(queries % 16 == 0 && lse % 8 == 0);
        // What merges them.
        let combine = attention_combine(DType::BF16, parts, 2 * 3, 32, 128).unwrap().unwrap();
        assert_eq!(combine.launch.grid[0] * combine.launch.block[2], rows as u32);
        assert_eq!(
            super::super::attention_decode(&self::shape(64, 1, 9000), false, H200)
                .unwrap()
                .unwrap()
                .workspace_bytes,
            0
        );
    }

    #[test]
    fn nothing_to_do_and_wrong_shapes() {
        let plan = |shape: AttentionShape| attention_decode(&shape, false, H200);
        for empty in [shape(0, 1, 9), shape(3, 0, 9), AttentionShape { num_tokens: 0, ..shape(3, 1, 9) }] {
            assert_eq!(plan(empty).unwrap(), None);
        }
        let message = |shape| plan(shape).unwrap_err().to_string();
        assert_eq!(
            message(shape(1, 9, 9)),
            "attention_decode: max_q_len: expected at most 8 queries a sequence, got 9"
        );
        assert_eq!(
            message(AttentionShape { head_dim: 96, ..shape(1, 1, 9) }),
            "attention_decode: head_dim: expected 64 or 128, got 96"
        );
        assert_eq!(
            message(AttentionShape { dtype: DType::F32, ..shape(1, 1, 9) }),
            "attention_decode: q: expected bf16 or f16, got f32"
        );
        assert_eq!(
            message(shape(1 << 30, 1, 9)),
            "attention_decode: sequences: expected fewer than 2^31 heads of sequences, got 1073741824"
        );
        let long = attention_decode(&shape(1, 1, 1 << 26), true, H200).unwrap_err().to_string();
        assert_eq!(long, "attention_decode: max_kv_len: expected at most 33553920, got 67108864");
        let small = Limits { shared_memory_per_block: 64 << 10, ..H200 };
        let error = attention_decode(&shape(1, 1, 9), false, small).unwrap_err();
        assert!(matches!(error, Error::Unsupported { .. }), "{error}");
    }
}
