//! `attention_combine`.

use super::sizes::Given;
use super::{Call, Memory, Row, Work};
use crate::backend::ModelDims;
use crate::cost::{self, Cost};
use crate::gpu::{TensorMut, TensorRef};
use crate::plan::{self, Limits, Plan};
use crate::tensor::DType;
use crate::{Result, ops};

/// `attention_combine` of parts that all count, with the logarithms of their sums.
#[derive(Clone, Copy, Debug)]
pub struct AttentionCombine {
    /// Parts of each row.
    pub splits: usize,
    /// Rows of each head.
    pub tokens: usize,
    /// Query heads.
    pub num_q_heads: usize,
    /// Elements of a head.
    pub head_dim: usize,
}

/// What decodes of 1, 8 and 16 sequences are split into on an H200, and many rows.
pub(super) fn rows(model: &str, dims: &ModelDims) -> Vec<Row> {
    let &ModelDims { num_q_heads, head_dim, .. } = dims;
    let work = |splits, tokens| AttentionCombine { splits, tokens, num_q_heads, head_dim };
    [(33, 1), (4, 8), (2, 16), (2, 2048)].map(|(splits, tokens)| Row::new(model, work(splits, tokens))).into()
}

impl AttentionCombine {
    pub(super) fn of(sizes: &Given<'_>) -> Result<Box<dyn Work>> {
        let (splits, tokens) = (sizes.size("splits")?, sizes.size("tokens")?);
        let (num_q_heads, head_dim) = (sizes.size("num_q_heads")?, sizes.size("head_dim")?);
        Ok(Box::new(AttentionCombine { splits, tokens, num_q_heads, head_dim }))
    }
}

impl Work for AttentionCombine {
    fn op(&self) -> &'static str {
        "attention_combine"
    }

    fn sizes(&self) -> Vec<(&'static str, usize)> {
        let rows = [("splits", self.splits), ("tokens", self.tokens)];
        rows.into_iter().chain([("num_q_heads", self.num_q_heads), ("head_dim", self.head_dim)]).collect()
    }

    fn cost(&self) -> Cost {
        cost::attention_combine(self.splits, self.tokens, self.num_q_heads, self.head_dim, true)
    }

    fn plans(&self, dtype: DType, _: &Limits) -> Result<Vec<Plan>> {
        let plan = plan::attention_combine(dtype, self.splits, self.tokens, self.num_q_heads, self.head_dim);
        Ok(plan?.into_iter().collect())
    }

    fn issued_bytes(&self, _: &[Plan]) -> u64 {
        cost::attention_combine_tile(self.splits, self.tokens, self.num_q_heads, self.head_dim, true)
    }

    fn prepare(&self, dtype: DType, memory: &mut Memory) -> Result<Call> {
        let AttentionCombine { splits, tokens, num_q_heads, head_dim } = *self;
        let partial_out = memory.random(DType::F32, &[splits, tokens, num_q_heads, head_dim])?;
        let partial_lse = memory.random(DType::F32, &[splits, tokens, num_q_heads])?;
        let mut out = memory.output(dtype, &[tokens, num_q_heads, head_dim])?;
        let mut lse = memory.output(DType::F32, &[tokens, num_q_heads])?;
        Ok(Box::new(move |stream| {
            let args = ops::AttentionCombine {
                partial_out: TensorRef::new(partial_out.view())?,
                partial_lse: TensorRef::new(partial_lse.view())?,
                out: TensorMut::new(out.view_mut())?,
                lse: Some(TensorMut::new(lse.view_mut())?),
            };
            ops::attention_combine(stream, &args)
        }))
    }
}
