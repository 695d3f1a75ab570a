//! Causal attention of a ragged batch over cached keys and values.

use std::ops::Range;

use super::args::{Args, Dim, Span, Strided};
use crate::gpu::{Stream, TensorMut, TensorRef};
use crate::params::{AttentionParams, VECTOR_ELEMENTS};
use crate::plan::{self, AttentionShape};
use crate::tensor::DType;
use crate::{Error, Result};

/// Bytes that a kernel loads and stores at once.
const VECTOR_BYTES: u64 = 16;
/// Most query heads of a key/value head.
const MAX_GROUP: usize = 16;
/// Most keys of a sequence: what kernels count in an i32, with room for a tile beyond. Also the page size by which they know
/// contiguous keys: one page that no sequence leaves.
const MAX_KEYS: usize = 1 << 30;

/// Elements between pages, tokens and heads: less than this.
const MAX_STRIDE: i64 = (VECTOR_ELEMENTS as i64) << 32;

/// Where keys and values stand.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum KeysValues<'a> {
    /// In pages, in any order.
    Paged {
        /// Keys `[pages, page_size, Hkv, hd]`, `page_size` a power of two. All strides but the last are free: pages of
        /// tokens (NHD) and pages of heads (HND) are both of this form.
        k: TensorRef<'a>,
        /// Values, likewise.
        v: TensorRef<'a>,
        /// i32 `[batch, max_pages]`: the pages of each sequence.
        page_table: TensorRef<'a>,
    },
    /// One sequence after the other.
    Contiguous {
        /// Keys `[rows, Hkv, hd]`.
        k: TensorRef<'a>,
        /// Values, likewise.
        v: TensorRef<'a>,
        /// i32 `[batch + 1]`: the row at which each sequence's keys begin.
        kv_indptr: TensorRef<'a>,
    },
}

/// Sequence `s` brings the queries `q_indptr[s]..q_indptr[s+1]`; its query `j` of `q_len` sees the keys
/// `0..kv_len[s] - q_len + j + 1`. Query head `h` uses key/value head `h / (Hq / Hkv)`. `out` is the softmax of
/// `softmax_scale * q·k` times the values; 0 where a query sees no key (`kv_len` 0).
#[derive(Debug)]
pub struct Attention<'a> {
    /// bf16 or f16 `[T, Hq, hd]`, `hd` 64 or 128, `Hq / Hkv` from 1 to 16.
    pub q: TensorRef<'a>,
    /// Keys and values in q's type, or both e4m3.
    pub keys_values: KeysValues<'a>,
    /// An e4m3 key times this is the key: finite, above 0, and so is its product with `softmax_scale`. 1 for other caches.
    pub k_scale: f32,
    /// Likewise for values, without that product.
    pub v_scale: f32,
    /// i32 `[batch + 1]`.
    pub q_indptr: TensorRef<'a>,
    /// i32 `[batch]`, `kv_len >= q_len`, or 0.
    pub kv_len: TensorRef<'a>,
    /// Which sequences of the batch; the rows of others are left as they are.
    pub sequences: Range<usize>,
    /// The most queries that one of them brings. (The lengths themselves are on the device.)
    pub max_q_len: usize,
    /// The most keys that one of them has.
    pub max_kv_len: usize,
    /// Scores are multiplied by this: finite, above 0.
    pub softmax_scale: f32,
    /// `[T, Hq, hd]` in q's type.
    pub out: TensorMut<'a>,
    /// f32 `[T, Hq]`: natural logarithm of the sum of exponentials of the scaled scores, -inf where no key is seen.
    pub lse: Option<TensorMut<'a>>,
    /// u32 `[1]`: gets bits of [`DeviceError`](crate::params::DeviceError) where page indices or lengths on the device are
    /// out of range; they are bounded with and without it.
    pub error: Option<TensorMut<'a>>,
}

impl Attention<'_> {
    /// What its plan depends on: with it `plan::attention_decode` says how large a workspace must be.
    pub fn shape(&self) -> Result<AttentionShape> {
        let k = match self.keys_values {
            KeysValues::Paged { k, .. } | KeysValues::Contiguous { k, .. } => k,
        };
        let (&[num_tokens, num_q_heads, head_dim], &[.., num_kv_heads, _]) = (self.q.shape(), k.shape())
        else {
            let given = format!("{:?} and {:?}", self.q.shape(), k.shape());
            return Err(Error::argument("attention", "q and k", "shapes [.., heads, head_dim]", given));
        };
        Ok(AttentionShape {
            dtype: self.q.dtype(),
            cache_dtype: k.dtype(),
            head_dim,
            group: num_q_heads / num_kv_heads.max(1),
            num_kv_heads,
            num_tokens,
            num_seqs: self.sequences.len(),
            max_q_len: self.max_q_len,
            max_kv_len: self.max_kv_len,
        })
    }
}

/// Arguments that have been checked, with what a plan is made from.
pub(super) struct Checked {
    /// With one split, `out` and `lse` as they were given.
    pub params: AttentionParams,
    pub shape: AttentionShape,
    /// What the kernel reads.
    inputs: [Span; 6],
    /// What it writes: out, lse, error.
    outputs: [Option<Span>; 3],
}

impl Checked {
    /// Refuses memory to write that shares some with an argument.
    pub fn check_apart(&self, check: Args<'_>, written: Span) -> Result<()> {
        check.check_written(written, &self.inputs)?;
        self.outputs.iter().flatten().try_for_each(|&output| check.check_written(written, &[output]))
    }
}

/// Where keys and values stand, checked.
struct Cache {
    /// `[num_pages, page_size, num_kv_heads]`; a single page, of as many rows as there are, where keys are contiguous.
    shape: [usize; 3],
    k: Strided<4>,
    v: Strided<4>,
    page_table: Option<Strided<2>>,
    kv_indptr: Option<Strided<1>>,
}

impl Cache {
    fn new(
        check: Args<'_>,
        args: &Attention<'_>,
        dtype: DType,
        head_dim: usize,
        batch: usize,
    ) -> Result<Self> {
        match args.keys_values {
            KeysValues::Paged { k, v, page_table } => {
                let dims = [
                    Dim::Any("num_pages"),
                    Dim::Any("page_size"),
                    Dim::Any("num_kv_heads"),
                    Dim::Is(head_dim),
                ];
                let dtype = check.cache_dtype("k", &k, dtype)?;
                let k = check.strided("k", &k, dtype, dims, VECTOR_BYTES)?;
                let v = check.strided("v", &v, dtype, k.shape.map(Dim::Is), VECTOR_BYTES)?;
                let [num_pages, page_size, num_kv_heads, _] = k.shape;
                if !page_size.is_power_of_two() || page_size > MAX_KEYS {
                    let expected = format!("a page_size that is a power of two, at most {MAX_KEYS}");
                    return Err(check.error("k", expected, page_size));
                }
                let dims = [Dim::Is(batch), Dim::Any("max_pages")];
                let page_table =
                    check.strided("page_table", &page_table, DType::I32, dims, size_of::<i32>() as u64)?;
                // What the pages of a sequence hold; more is no bound of anything.
                let keys = page_table.shape[1].saturating_mul(page_size);
                if args.max_kv_len > keys {
                    let expected = format!("at most {keys} keys, for which the page table has room");
                    return Err(check.error("max_kv_len", expected, args.max_kv_len));
                }
                let shape = [num_pages, page_size, num_kv_heads];
                Ok(Cache { shape, k, v, page_table: Some(page_table), kv_indptr: None })
            }
            KeysValues::Contiguous { k, v, kv_indptr } => {
                let dims = [Dim::Any("rows"), Dim::Any("num_kv_heads"), Dim::Is(head_dim)];
                let dtype = check.cache_dtype("k", &k, dtype)?;
                let k = check.strided("k", &k, dtype, dims, VECTOR_BYTES)?;
                let v = check.strided("v", &v, dtype, k.shape.map(Dim::Is), VECTOR_BYTES)?;
                let kv_indptr = check.strided_list("kv_indptr", &kv_indptr, DType::I32, batch + 1)?;
                let [rows, num_kv_heads, _] = k.shape;
                if args.max_kv_len > rows {
                    let expected = format!("at most the {rows} rows of k");
                    return Err(check.error("max_kv_len", expected, args.max_kv_len));
                }
                let shape = [rows, MAX_KEYS, num_kv_heads];
                let (k, v) = (one_page(k), one_page(v));
                Ok(Cache { shape, k, v, page_table: None, kv_indptr: Some(kv_indptr) })
            }
        }
    }
}

/// Contiguous rows as slots of one page.
fn one_page(rows: Strided<3>) -> Strided<4> {
    let Strided { address, shape: [slots, heads, head_dim], strides: [slot, head, element], span } = rows;
    Strided { address, shape: [1, slots, heads, head_dim], strides: [0, slot, head, element], span }
}

/// Checks all that the host can see. Lengths and page indices are on the device: kernels bound them.
pub(super) fn check(check: Args<'_>, args: &Attention<'_>) -> Result<Checked> {
    let dtype = args.q.dtype();
    if !matches!(dtype, DType::BF16 | DType::F16) {
        return Err(check.error("q", "bf16 or f16", dtype));
    }
    let dims = [Dim::Any("num_tokens"), Dim::Any("num_q_heads"), Dim::Any("head_dim")];
    let q = check.strided("q", &args.q, dtype, dims, VECTOR_BYTES)?;
    let [num_tokens, num_q_heads, head_dim] = q.shape;
    if !matches!(head_dim, 64 | 128) {
        return Err(check.error("q", "a head_dim of 64 or 128", head_dim));
    }
    let &[batch] = args.kv_len.shape() else {
        return Err(check.error("kv_len", "shape [batch]", format!("{:?}", args.kv_len.layout())));
    };
    let kv_len = check.strided_list("kv_len", &args.kv_len, DType::I32, batch)?;
    let q_indptr = check.strided_list("q_indptr", &args.q_indptr, DType::I32, batch + 1)?;
    let Cache { shape: [num_pages, page_size, num_kv_heads], k, v, page_table, kv_indptr } =
        Cache::new(check, args, dtype, head_dim, batch)?;
    let group = num_q_heads.checked_div(num_kv_heads).unwrap_or(0);
    if group.saturating_mul(num_kv_heads) != num_q_heads || !(1..=MAX_GROUP).contains(&group) {
        let expected = format!("1 to {MAX_GROUP} query heads for each of {num_kv_heads} key/value heads");
        return Err(check.error("q", expected, format!("{num_q_heads} query heads")));
    }
    if args.sequences.start > args.sequences.end || args.sequences.end > batch {
        return Err(check.error("sequences", format!("within 0..{batch}"), format!("{:?}", args.sequences)));
    }
    if args.max_kv_len > MAX_KEYS {
        return Err(check.error("max_kv_len", format!("at most {MAX_KEYS}"), args.max_kv_len));
    }
    if args.max_kv_len > 0 && num_pages == 0 {
        return Err(check.error("k", "at least one page, or a max_kv_len of 0", "no page"));
    }
    let softmax_scale_log2 = args.softmax_scale * std::f32::consts::LOG2_E;
    if !(softmax_scale_log2.is_finite() && softmax_scale_log2 > 0.0) {
        return Err(check.error("softmax_scale", "a finite number above 0", args.softmax_scale));
    }
    let shape = args.shape()?;
    check.check_cache_scale("k_scale", args.k_scale, shape.cache_dtype)?;
    check.check_cache_scale("v_scale", args.v_scale, shape.cache_dtype)?;
    // Kernels multiply codes: what makes keys of them is part of the scale of the scores.
    let softmax_scale_log2 = softmax_scale_log2 * args.k_scale;
    if !(softmax_scale_log2.is_finite() && softmax_scale_log2 > 0.0) {
        let given = format!("{} with a softmax_scale of {}", args.k_scale, args.softmax_scale);
        return Err(check.error("k_scale", "a product with softmax_scale that is finite and above 0", given));
    }

    let out = check.strided("out", &args.out.as_ref(), dtype, q.shape.map(Dim::Is), VECTOR_BYTES)?;
    // Kernels multiply 32-bit numbers of 16-byte vectors.
    let strides =
        [("q", &q.strides[..2]), ("k", &k.strides[..3]), ("v", &v.strides[..3]), ("out", &out.strides[..2])];
    for (arg, strides) in strides {
        if let Some(stride) = strides.iter().find(|&&stride| stride >= MAX_STRIDE) {
            return Err(check.error(arg, format!("strides below {MAX_STRIDE} elements"), stride));
        }
    }
    let lse = args.lse.as_ref().map(|lse| {
        let dims = [Dim::Is(num_tokens), Dim::Is(num_q_heads)];
        check.strided("lse", &lse.as_ref(), DType::F32, dims, size_of::<f32>() as u64)
    });
    let lse = lse.transpose()?;
    let error = args.error.as_ref().map(|error| check.strided_list("error", &error.as_ref(), DType::U32, 1));
    let error = error.transpose()?;
    let pages = page_table.map(|table| table.span).or(kv_indptr.map(|indptr| indptr.span));
    let inputs = [q.span, k.span, v.span, q_indptr.span, kv_len.span, pages.unwrap_or(q.span)];
    let outputs = [Some(out.span), lse.map(|lse| lse.span), error.map(|error| error.span)];
    for (i, &output) in outputs.iter().enumerate() {
        let Some(output) = output else { continue };
        check.check_written(output, &inputs)?;
        outputs[..i].iter().flatten().try_for_each(|&other| check.check_written(output, &[other]))?;
    }

    // Kernels count in i32.
    let count = |arg, size: usize, what: &str| {
        i32::try_from(size).map_err(|_| check.error(arg, format!("fewer than 2^31 {what}"), size))
    };
    let params = AttentionParams {
        q: q.address,
        k: k.address,
        v: v.address,
        out: out.address,
        lse: lse.map_or(0, |lse| lse.address),
        q_indptr: q_indptr.address,
        kv_len: kv_len.address,
        page_table: page_table.map_or(0, |table| table.address),
        kv_indptr: kv_indptr.map_or(0, |indptr| indptr.address),
        error: error.map_or(0, |error| error.address),
        q_stride_token: q.strides[0],
        q_stride_head: q.strides[1],
        out_stride_token: out.strides[0],
        out_stride_head: out.strides[1],
        lse_stride_token: lse.map_or(0, |lse| lse.strides[0]),
        k_stride_page: k.strides[0],
        k_stride_slot: k.strides[1],
        k_stride_head: k.strides[2],
        v_stride_page: v.strides[0],
        v_stride_slot: v.strides[1],
        v_stride_head: v.strides[2],
        page_table_stride_seq: page_table.map_or(0, |table| table.strides[0]),
        // Rows of a tile are counted, too: tokens times heads.
        num_tokens: count("q", num_tokens.saturating_mul(num_q_heads), "rows of a head")
            .and_then(|_| count("q", num_tokens, "tokens"))?,
        num_kv_heads: count("k", num_kv_heads, "heads")?,
        group: count("q", group, "heads")?,
        first_seq: count("sequences", args.sequences.start, "sequences")?,
        num_seqs: count("sequences", args.sequences.len(), "sequences")?,
        max_q_len: count("max_q_len", args.max_q_len, "queries")?,
        max_kv_len: count("max_kv_len", args.max_kv_len, "keys")?,
        page_size: count("k", page_size, "tokens a page")?,
        num_pages: count("k", num_pages, "pages")?,
        max_pages: page_table.map_or(Ok(1), |table| count("page_table", table.shape[1], "pages"))?,
        max_splits: 1,
        split_keys: 0,
        softmax_scale_log2,
        v_scale: args.v_scale,
    };
    Ok(Checked { params, shape, inputs, outputs })
}

/// Launches [`Attention`] for any number of queries a sequence, of at most 2048 sequences. A query's result is the same bits in
/// every batch, and in every chunk of its sequence. [`Error::Argument`](crate::Error::Argument) names what is wrong with an
/// argument; then nothing is launched.
///
/// What lies on the device is bounded: offsets in `q_indptr` to a rise within `0..T` from the first sequence's on, a sequence
/// to `max_q_len` queries, of which the first count, and `max_kv_len` keys, a page to the nearest that exists, contiguous
/// keys to the rows of `k`.
pub fn attention_prefill(stream: &Stream, args: &Attention<'_>) -> Result<()> {
    let check_args = Args { op: "attention_prefill", stream };
    let Checked { params, shape, .. } = check(check_args, args)?;
    let plan = plan::attention_prefill(&shape, stream.device().properties().limits())?;
    let Some(plan) = plan else { return Ok(()) };
    // SAFETY: the tensors' makers promise that their memory is there; shapes, strides and alignment are those that the
    // kernel and the plan expect, as checked above, and the kernel bounds lengths and page indices.
    unsafe { check_args.launch(&plan, &params) }
}
