//! `embed`.

use super::sizes::Given;
use super::{Call, Memory, Row, TOKENS, Work, per_tokens};
use crate::backend::ModelDims;
use crate::cost::{self, Cost};
use crate::gpu::{TensorMut, TensorRef};
use crate::plan::{self, Limits, Plan};
use crate::tensor::DType;
use crate::{Result, ops};

/// `embed` of tokens from all over the table, each once.
#[derive(Clone, Copy, Debug)]
pub struct Embed {
    /// Rows of the output.
    pub tokens: usize,
    /// Elements of a row.
    pub hidden: usize,
    /// Rows of the table, no fewer than tokens.
    pub vocab_size: usize,
}

pub(super) fn rows(model: &str, dims: &ModelDims) -> Vec<Row> {
    let &ModelDims { hidden_size: hidden, vocab_size, .. } = dims;
    let mut rows = per_tokens(model, |tokens| Embed { tokens, hidden, vocab_size });
    // No token comes twice: a small vocabulary has not so many.
    rows.truncate(TOKENS.iter().filter(|tokens| **tokens <= vocab_size).count());
    rows
}

impl Embed {
    pub(super) fn of(sizes: &Given<'_>) -> Result<Box<dyn Work>> {
        let vocab_size = sizes.size("vocab")?;
        let tokens = sizes.at_most("tokens", vocab_size)?;
        Ok(Box::new(Embed { tokens, hidden: sizes.size("hidden")?, vocab_size }))
    }
}

impl Work for Embed {
    fn op(&self) -> &'static str {
        "embed"
    }

    fn sizes(&self) -> Vec<(&'static str, usize)> {
        vec![("tokens", self.tokens), ("hidden", self.hidden), ("vocab", self.vocab_size)]
    }

    fn cost(&self) -> Cost {
        cost::embed(self.tokens, self.hidden)
    }

    fn operand_bytes(&self) -> u64 {
        let table = (self.vocab_size - self.tokens) * self.hidden * DType::BF16.size();
        self.cost().bytes + table as u64
    }

    fn plans(&self, _: DType, _: &Limits) -> Result<Vec<Plan>> {
        Ok(plan::embed(self.tokens, self.hidden)?.into_iter().collect())
    }

    fn prepare(&self, dtype: DType, memory: &mut Memory) -> Result<Call> {
        // What is largest comes first: lists on the host are no longer than the device has room for.
        let table = memory.random(dtype, &[self.vocab_size, self.hidden])?;
        let ids = memory.shuffled(self.vocab_size);
        let ids = memory.indices(ids.into_iter().take(self.tokens))?;
        let mut out = memory.output(dtype, &[self.tokens, self.hidden])?;
        Ok(Box::new(move |stream| {
            let (ids, table) = (TensorRef::new(ids.view())?, TensorRef::new(table.view())?);
            ops::embed(stream, &ops::Embed { ids, table, out: TensorMut::new(out.view_mut())?, error: None })
        }))
    }
}
