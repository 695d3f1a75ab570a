//! `attention_prefill` and `attention_decode`.

use super::sizes::{Given, set};
use super::{Call, Memory, PAGE_SIZE, Row, Work};
use crate::backend::ModelDims;
use crate::cost::{self, AttentionCost, Cost};
use crate::gpu::{TensorMut, TensorRef};
use crate::plan::{self, AttentionShape, Limits, Plan};
use crate::tensor::DType;
use crate::{Result, ops};

/// Attention of sequences that all bring as many queries and have as many keys, in pages from all over the cache.
#[derive(Clone, Copy, Debug)]
pub struct Attention {
    /// Which of the operations.
    pub path: AttentionPath,
    /// Sequences.
    pub batch: usize,
    /// Queries of each.
    pub q_len: usize,
    /// Keys of each, no fewer than queries.
    pub kv_len: usize,
    /// Query heads.
    pub num_q_heads: usize,
    /// Key and value heads.
    pub num_kv_heads: usize,
    /// Elements of a head.
    pub head_dim: usize,
    /// Whether keys and values are e4m3.
    pub fp8_cache: bool,
}

/// Which operation makes an [`Attention`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttentionPath {
    /// `attention_prefill`.
    Prefill,
    /// `attention_decode`, with as many splits as fill the device.
    Decode,
    /// `attention_decode` with splits of one size.
    DecodeInvariant,
}

/// Queries of all sequences together.
const PREFILL_TOKENS: usize = 16_384;
const PREFILL_LENGTHS: [usize; 5] = [1024, 2048, 4096, 8192, 16_384];
/// Sequences and keys.
const DECODE_BATCHES: [[usize; 2]; 7] =
    [[1, 1024], [1, 4096], [1, 32_768], [8, 1024], [8, 16_384], [8, 32_768], [64, 2048]];

/// Most query heads of a key/value head, sequences, and keys of each; kernels count tokens and pages in an i32.
const MAX_GROUP: usize = 16;
const MAX_BATCH: usize = 1 << 14;
const MAX_KEYS: usize = 1 << 24;
const MAX_TOKENS: usize = i32::MAX as usize;

pub(super) fn prefill_rows(model: &str, dims: &ModelDims) -> Vec<Row> {
    let row =
        |batch, q_len, kv_len| Row::new(model, of_model(dims, AttentionPath::Prefill, batch, q_len, kv_len));
    let prompts = PREFILL_LENGTHS.iter().map(|&length| row(PREFILL_TOKENS / length, length, length));
    // A short prompt alone, and a chunk of a prompt behind a long one.
    let prompts = prompts.chain([row(1, 512, 512), row(1, 512, 16_384)]);
    prompts.chain([fp8_row(model, of_model(dims, AttentionPath::Prefill, 4, 4096, 4096))]).collect()
}

pub(super) fn decode_rows(model: &str, dims: &ModelDims) -> Vec<Row> {
    let row =
        |batch, q_len, kv_len| Row::new(model, of_model(dims, AttentionPath::Decode, batch, q_len, kv_len));
    let batches = DECODE_BATCHES.iter().map(|&[batch, kv_len]| row(batch, 1, kv_len));
    let speculative = row(8, 8, 4096);
    let invariant = of_model(dims, AttentionPath::DecodeInvariant, 8, 1, 16_384);
    let fp8 = [[1, 32_768], [8, 16_384], [64, 2048]]
        .map(|[batch, kv_len]| fp8_row(model, of_model(dims, AttentionPath::Decode, batch, 1, kv_len)));
    let fp8 = fp8.into_iter().chain([fp8_row(model, of_model(dims, AttentionPath::Decode, 8, 8, 4096))]);
    batches.chain([speculative, Row::new(format!("{model} invariant"), invariant)]).chain(fp8).collect()
}

/// The same over an fp8 cache.
fn fp8_row(model: &str, work: Attention) -> Row {
    Row::new(format!("{model} fp8 cache"), Attention { fp8_cache: true, ..work })
}

fn of_model(dims: &ModelDims, path: AttentionPath, batch: usize, q_len: usize, kv_len: usize) -> Attention {
    let &ModelDims { num_q_heads, num_kv_heads, head_dim, .. } = dims;
    Attention { path, batch, q_len, kv_len, num_q_heads, num_kv_heads, head_dim, fp8_cache: false }
}

impl Attention {
    pub(super) fn of_prefill(sizes: &Given<'_>) -> Result<Box<dyn Work>> {
        Attention::of(AttentionPath::Prefill, sizes)
    }

    pub(super) fn of_decode(sizes: &Given<'_>) -> Result<Box<dyn Work>> {
        let invariant = sizes.flag("invariant")?;
        let path = if invariant { AttentionPath::DecodeInvariant } else { AttentionPath::Decode };
        Attention::of(path, sizes)
    }

    fn of(path: AttentionPath, sizes: &Given<'_>) -> Result<Box<dyn Work>> {
        let batch = sizes.at_most("batch", MAX_BATCH)?;
        let kv_len = sizes.at_most("kv_len", MAX_KEYS)?;
        let q_len = sizes.at_most("q_len", kv_len.min(MAX_TOKENS / batch))?;
        if batch * kv_len > MAX_TOKENS {
            return Err(sizes.error(
                "kv_len",
                format!("at most {} of each sequence", MAX_TOKENS / batch),
                kv_len,
            ));
        }
        let (num_q_heads, num_kv_heads) = (sizes.size("num_q_heads")?, sizes.size("num_kv_heads")?);
        if !num_q_heads.is_multiple_of(num_kv_heads) || num_q_heads / num_kv_heads > MAX_GROUP {
            let expected = format!("1 to {MAX_GROUP} times the {num_kv_heads} key/value heads");
            return Err(sizes.error("num_q_heads", expected, num_q_heads));
        }
        let head_dim = sizes.size("head_dim")?;
        let fp8_cache = sizes.flag("fp8_cache")?;
        Ok(Box::new(Attention { path, batch, q_len, kv_len, num_q_heads, num_kv_heads, head_dim, fp8_cache }))
    }

    fn shape(&self, dtype: DType) -> AttentionShape {
        AttentionShape {
            dtype,
            cache_dtype: self.cache_dtype(dtype),
            head_dim: self.head_dim,
            group: self.num_q_heads / self.num_kv_heads,
            num_kv_heads: self.num_kv_heads,
            num_tokens: self.batch * self.q_len,
            num_seqs: self.batch,
            max_q_len: self.q_len,
            max_kv_len: self.kv_len,
        }
    }

    fn cache_dtype(&self, dtype: DType) -> DType {
        if self.fp8_cache { DType::F8E4M3 } else { dtype }
    }

    fn is_invariant(&self) -> bool {
        self.path == AttentionPath::DecodeInvariant
    }

    /// What a cost is of.
    fn with_costs<T>(&self, cost: impl FnOnce(&AttentionCost<'_>) -> T) -> T {
        cost(&AttentionCost {
            sequences: &vec![[self.q_len, self.kv_len]; self.batch],
            group: self.num_q_heads / self.num_kv_heads,
            num_kv_heads: self.num_kv_heads,
            head_dim: self.head_dim,
            cache_bytes: if self.fp8_cache { 1 } else { 2 },
            lse: false,
        })
    }

    fn list_bytes(&self) -> u64 {
        self.with_costs(|shape| cost::attention_decode_lists(shape, PAGE_SIZE))
    }
}

impl Work for Attention {
    fn op(&self) -> &'static str {
        match self.path {
            AttentionPath::Prefill => "attention_prefill",
            AttentionPath::Decode | AttentionPath::DecodeInvariant => "attention_decode",
        }
    }

    fn sizes(&self) -> Vec<(&'static str, usize)> {
        let lengths = [("batch", self.batch), ("q_len", self.q_len), ("kv_len", self.kv_len)];
        let heads = [("num_q_heads", self.num_q_heads), ("num_kv_heads", self.num_kv_heads)];
        let sizes = lengths.into_iter().chain(heads).chain([("head_dim", self.head_dim)]);
        let sizes = sizes.chain(set("invariant", self.is_invariant()));
        sizes.chain(set("fp8_cache", self.fp8_cache)).collect()
    }

    fn cost(&self) -> Cost {
        let cost = self.with_costs(cost::attention);
        Cost { bytes: cost.bytes + self.list_bytes(), ..cost }
    }

    fn plans(&self, dtype: DType, limits: &Limits) -> Result<Vec<Plan>> {
        let shape = self.shape(dtype);
        if self.path == AttentionPath::Prefill {
            return Ok(plan::attention_prefill(&shape, *limits)?.into_iter().collect());
        }
        let Some(plan) = plan::attention_decode(&shape, self.is_invariant(), *limits)? else {
            return Ok(Vec::new());
        };
        let (splits, rows) = (plan.splits as usize, self.batch * self.q_len);
        let combine = if splits > 1 {
            plan::attention_combine(dtype, splits, rows, self.num_q_heads, self.head_dim)?
        } else {
            None
        };
        Ok([plan].into_iter().chain(combine).collect())
    }

    fn touched_bytes(&self, plans: &[Plan]) -> u64 {
        let splits = |plan: &Plan| {
            self.with_costs(|batch| cost::attention_decode_split(plan, batch, self.is_invariant()))
        };
        self.cost().bytes + plans.first().map_or(0, splits)
    }

    fn issued_bytes(&self, plans: &[Plan]) -> u64 {
        let Some(plan) = plans.first() else { return 0 };
        self.with_costs(|batch| match self.path {
            AttentionPath::Prefill => cost::attention_prefill_tile(batch) + self.list_bytes(),
            _ => cost::attention_decode_tile(plan, batch, self.is_invariant()),
        })
    }

    fn prepare(&self, dtype: DType, memory: &mut Memory) -> Result<Call> {
        let Attention { batch, q_len, kv_len, num_q_heads, num_kv_heads, head_dim, .. } = *self;
        let (is_prefill, batch_invariant) = (self.path == AttentionPath::Prefill, self.is_invariant());
        let limits = memory.device().properties().limits();
        let workspace_bytes = self.plans(dtype, &limits)?.first().map_or(0, |plan| plan.workspace_bytes);
        let mut workspace = memory.output(DType::U8, &[workspace_bytes])?;

        // The large ones first: lists on the host are no longer than the device has room for.
        let (tokens, pages) = (batch * q_len, kv_len.div_ceil(PAGE_SIZE));
        let q = memory.random(dtype, &[tokens, num_q_heads, head_dim])?;
        let cache = [batch * pages, PAGE_SIZE, num_kv_heads, head_dim];
        // Codes of numbers with a deviation of about one.
        let scale = if self.fp8_cache { 1.0 / 128.0 } else { 1.0 };
        let mut cached = || if self.fp8_cache { memory.codes(&cache) } else { memory.random(dtype, &cache) };
        let (k, v) = (cached()?, cached()?);
        let page_table = memory.shuffled(batch * pages);
        let page_table = memory.holding(DType::I32, &[batch, pages], bytemuck::cast_slice(&page_table))?;
        let q_indptr = memory.indices((0..=batch).map(|sequence| (sequence * q_len) as i32))?;
        let kv_lens = memory.indices(std::iter::repeat_n(kv_len as i32, batch))?;
        let mut out = memory.output(dtype, &[tokens, num_q_heads, head_dim])?;
        let softmax_scale = 1.0 / (head_dim as f32).sqrt();
        Ok(Box::new(move |stream| {
            let args = ops::Attention {
                q: TensorRef::new(q.view())?,
                keys_values: ops::KeysValues::Paged {
                    k: TensorRef::new(k.view())?,
                    v: TensorRef::new(v.view())?,
                    page_table: TensorRef::new(page_table.view())?,
                },
                k_scale: scale,
                v_scale: scale,
                q_indptr: TensorRef::new(q_indptr.view())?,
                kv_len: TensorRef::new(kv_lens.view())?,
                sequences: 0..batch,
                max_q_len: q_len,
                max_kv_len: kv_len,
                softmax_scale,
                out: TensorMut::new(out.view_mut())?,
                lse: None,
                error: None,
            };
            if is_prefill {
                return ops::attention_prefill(stream, &args);
            }
            let workspace = TensorMut::new(workspace.view_mut())?;
            ops::attention_decode(stream, &args, &ops::Decode { workspace, batch_invariant })
        }))
    }
}
