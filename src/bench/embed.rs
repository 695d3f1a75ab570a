//! `embed`.

use super::{Call, Memory, Row, VOCABULARY, Work, per_model};
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

pub(super) fn rows() -> Vec<Row> {
    per_model(|model, tokens| Embed { tokens, hidden: model.hidden, vocab_size: VOCABULARY })
}

impl Work for Embed {
    fn op(&self) -> &'static str {
        "embed"
    }

    fn sizes(&self) -> Vec<(&'static str, usize)> {
        vec![("tokens", self.tokens), ("hidden", self.hidden)]
    }

    fn cost(&self) -> Cost {
        cost::embed(self.tokens, self.hidden)
    }

    fn plans(&self, _: DType, _: &Limits) -> Result<Vec<Plan>> {
        Ok(plan::embed(self.tokens, self.hidden)?.into_iter().collect())
    }

    fn prepare(&self, dtype: DType, memory: &mut Memory) -> Result<Call> {
        let ids = memory.shuffled(self.vocab_size);
        let ids = memory.indices(ids.into_iter().take(self.tokens))?;
        let table = memory.random(dtype, &[self.vocab_size, self.hidden])?;
        let mut out = memory.output(dtype, &[self.tokens, self.hidden])?;
        Ok(Box::new(move |stream| {
            let (ids, table) = (TensorRef::new(ids.view())?, TensorRef::new(table.view())?);
            ops::embed(stream, &ops::Embed { ids, table, out: TensorMut::new(out.view_mut())?, error: None })
        }))
    }
}
