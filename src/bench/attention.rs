//! `attention_prefill` and `attention_decode`.

use super::{Call, MODELS, Memory, Model, PAGE_SIZE, Row, Work};
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

/// Llama 3.2 1B, whose heads are half as wide.
const SMALL: Model =
    Model { name: "1B", hidden: 2048, intermediate: 8192, num_q_heads: 32, num_kv_heads: 8, head_dim: 64 };

pub(super) fn rows() -> Vec<Row> {
    let models = [&MODELS[0], &MODELS[1], &SMALL];
    let mut rows = Vec::new();
    for model in models {
        for length in PREFILL_LENGTHS {
            let work = of_model(model, AttentionPath::Prefill, PREFILL_TOKENS / length, length, length);
            rows.push(Row::new(model.name, work));
        }
        // A chunk of a prompt behind a long one.
        rows.push(Row::new(model.name, of_model(model, AttentionPath::Prefill, 1, 512, 16_384)));
    }
    for model in models {
        for [batch, kv_len] in DECODE_BATCHES {
            rows.push(Row::new(model.name, of_model(model, AttentionPath::Decode, batch, 1, kv_len)));
        }
        // Speculative tokens.
        rows.push(Row::new(model.name, of_model(model, AttentionPath::Decode, 8, 8, 4096)));
        let invariant = of_model(model, AttentionPath::DecodeInvariant, 8, 1, 16_384);
        rows.push(Row::new(format!("{} invariant", model.name), invariant));
    }
    rows
}

fn of_model(model: &Model, path: AttentionPath, batch: usize, q_len: usize, kv_len: usize) -> Attention {
    let &Model { num_q_heads, num_kv_heads, head_dim, .. } = model;
    Attention { path, batch, q_len, kv_len, num_q_heads, num_kv_heads, head_dim }
}

impl Attention {
    fn shape(&self, dtype: DType) -> AttentionShape {
        AttentionShape {
            dtype,
            head_dim: self.head_dim,
            group: self.num_q_heads / self.num_kv_heads,
            num_kv_heads: self.num_kv_heads,
            num_tokens: self.batch * self.q_len,
            num_seqs: self.batch,
            max_q_len: self.q_len,
            max_kv_len: self.kv_len,
        }
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
        let heads = [("q_heads", self.num_q_heads), ("kv_heads", self.num_kv_heads), ("hd", self.head_dim)];
        let lengths = [("batch", self.batch), ("q", self.q_len), ("kv", self.kv_len)];
        lengths.into_iter().chain(heads).collect()
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

        let (tokens, pages) = (batch * q_len, kv_len.div_ceil(PAGE_SIZE));
        let q = memory.random(dtype, &[tokens, num_q_heads, head_dim])?;
        let cache = [batch * pages, PAGE_SIZE, num_kv_heads, head_dim];
        let (k, v) = (memory.random(dtype, &cache)?, memory.random(dtype, &cache)?);
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
