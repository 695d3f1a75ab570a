//! `rope_append_kv`.

use super::sizes::{Given, set};
use super::{Call, Memory, PAGE_SIZE, Row, Work, per_tokens};
use crate::backend::ModelDims;
use crate::cost::{self, Cost};
use crate::gpu::{TensorMut, TensorRef};
use crate::plan::{self, Limits, Plan};
use crate::tensor::DType;
use crate::{Result, ops};

/// `rope_append_kv` of tokens at different positions, into slots all over a cache of just as many.
#[derive(Clone, Copy, Debug)]
pub struct RopeAppendKv {
    /// Rows.
    pub tokens: usize,
    /// Query heads.
    pub num_q_heads: usize,
    /// Key and value heads.
    pub num_kv_heads: usize,
    /// Elements of a head.
    pub head_dim: usize,
    /// Rows of the table of cosines and sines, no fewer than tokens.
    pub num_positions: usize,
    /// Whether the cache is e4m3.
    pub fp8_cache: bool,
}

/// The context of Llama 3.1.
const POSITIONS: usize = 131_072;

pub(super) fn rows(model: &str, dims: &ModelDims) -> Vec<Row> {
    let &ModelDims { num_q_heads, num_kv_heads, head_dim, .. } = dims;
    let num_positions = POSITIONS;
    let of = |fp8_cache| {
        move |tokens| RopeAppendKv { tokens, num_q_heads, num_kv_heads, head_dim, num_positions, fp8_cache }
    };
    let mut rows = per_tokens(model, of(false));
    rows.extend([1, 2048].map(|tokens| Row::new(format!("{model} fp8 cache"), of(true)(tokens))));
    rows
}

impl RopeAppendKv {
    pub(super) fn of(sizes: &Given<'_>) -> Result<Box<dyn Work>> {
        let num_positions = sizes.size("num_positions")?;
        let tokens = sizes.at_most("tokens", num_positions)?;
        let (num_q_heads, num_kv_heads) = (sizes.size("num_q_heads")?, sizes.size("num_kv_heads")?);
        let head_dim = sizes.size("head_dim")?;
        let fp8_cache = sizes.flag("fp8_cache")?;
        Ok(Box::new(RopeAppendKv { tokens, num_q_heads, num_kv_heads, head_dim, num_positions, fp8_cache }))
    }

    fn cache_bytes(&self) -> usize {
        if self.fp8_cache { 1 } else { 2 }
    }
}

impl Work for RopeAppendKv {
    fn op(&self) -> &'static str {
        "rope_append_kv"
    }

    fn sizes(&self) -> Vec<(&'static str, usize)> {
        let sizes = [
            ("tokens", self.tokens),
            ("num_q_heads", self.num_q_heads),
            ("num_kv_heads", self.num_kv_heads),
            ("head_dim", self.head_dim),
            ("num_positions", self.num_positions),
        ];
        sizes.into_iter().chain(set("fp8_cache", self.fp8_cache)).collect()
    }

    fn cost(&self) -> Cost {
        let cache_bytes = self.cache_bytes();
        cost::rope_append_kv(self.tokens, self.num_q_heads, self.num_kv_heads, self.head_dim, cache_bytes)
    }

    fn operand_bytes(&self) -> u64 {
        let angles = (self.num_positions - self.tokens) * self.head_dim * DType::F32.size();
        self.cost().bytes + angles as u64
    }

    fn plans(&self, dtype: DType, _: &Limits) -> Result<Vec<Plan>> {
        let plan =
            plan::rope_append_kv(dtype, self.tokens, self.num_q_heads, self.num_kv_heads, self.head_dim);
        Ok(plan?.into_iter().collect())
    }

    fn issued_bytes(&self, plans: &[Plan]) -> u64 {
        let RopeAppendKv { tokens, num_q_heads, num_kv_heads, head_dim, .. } = *self;
        let cache_bytes = self.cache_bytes();
        let bytes =
            |plan| cost::rope_append_kv_tile(plan, tokens, num_q_heads, num_kv_heads, head_dim, cache_bytes);
        plans.iter().map(bytes).sum()
    }

    fn prepare(&self, dtype: DType, memory: &mut Memory) -> Result<Call> {
        let RopeAppendKv { tokens, num_q_heads, num_kv_heads, head_dim, num_positions, fp8_cache } = *self;
        let qkv = memory.random(dtype, &[tokens, (num_q_heads + 2 * num_kv_heads) * head_dim])?;
        let cos_sin = memory.random(DType::F32, &[num_positions, head_dim])?;
        let positions = memory.shuffled(num_positions);
        let positions = memory.indices(positions.into_iter().take(tokens))?;
        let pages = tokens.div_ceil(PAGE_SIZE);
        let slots = memory.shuffled(pages * PAGE_SIZE);
        let slots: Vec<i64> = slots.into_iter().take(tokens).map(i64::from).collect();
        let slots = memory.holding(DType::I64, &[tokens], bytemuck::cast_slice(&slots))?;
        let mut q_out = memory.output(dtype, &[tokens, num_q_heads, head_dim])?;
        let cache = [pages, PAGE_SIZE, num_kv_heads, head_dim];
        let (cache_dtype, scale) = if fp8_cache { (DType::F8E4M3, 0.5) } else { (dtype, 1.0) };
        let (mut k_cache, mut v_cache) =
            (memory.output(cache_dtype, &cache)?, memory.output(cache_dtype, &cache)?);
        Ok(Box::new(move |stream| {
            let args = ops::RopeAppendKv {
                qkv: TensorRef::new(qkv.view())?,
                positions: TensorRef::new(positions.view())?,
                slot_mapping: TensorRef::new(slots.view())?,
                cos_sin: TensorRef::new(cos_sin.view())?,
                q_out: TensorMut::new(q_out.view_mut())?,
                k_cache: TensorMut::new(k_cache.view_mut())?,
                v_cache: TensorMut::new(v_cache.view_mut())?,
                k_scale: scale,
                v_scale: scale,
                error: None,
            };
            ops::rope_append_kv(stream, &args)
        }))
    }
}
