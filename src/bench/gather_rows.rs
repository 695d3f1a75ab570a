//! `gather_rows`.

use super::sizes::Given;
use super::{Call, Memory, Row, Work};
use crate::backend::ModelDims;
use crate::cost::{self, Cost};
use crate::gpu::{TensorMut, TensorRef};
use crate::plan::{self, Limits, Plan};
use crate::tensor::DType;
use crate::{Result, ops};

/// `gather_rows` of rows from all over a batch, each once.
#[derive(Clone, Copy, Debug)]
pub struct GatherRows {
    /// Rows of the output.
    pub rows: usize,
    /// Rows of the input, no fewer.
    pub tokens: usize,
    /// Elements of a row.
    pub hidden: usize,
}

/// The last tokens of so many sequences' prompts.
pub(super) fn rows(model: &str, dims: &ModelDims) -> Vec<Row> {
    let work = |rows| GatherRows { rows, tokens: 8192, hidden: dims.hidden_size };
    [1, 8, 64, 256].map(|rows| Row::new(model, work(rows))).into()
}

impl GatherRows {
    pub(super) fn of(sizes: &Given<'_>) -> Result<Box<dyn Work>> {
        let tokens = sizes.size("tokens")?;
        let rows = sizes.at_most("rows", tokens)?;
        Ok(Box::new(GatherRows { rows, tokens, hidden: sizes.size("hidden")? }))
    }
}

impl Work for GatherRows {
    fn op(&self) -> &'static str {
        "gather_rows"
    }

    fn sizes(&self) -> Vec<(&'static str, usize)> {
        vec![("rows", self.rows), ("tokens", self.tokens), ("hidden", self.hidden)]
    }

    fn cost(&self) -> Cost {
        cost::gather_rows(self.rows, self.hidden)
    }

    fn operand_bytes(&self) -> u64 {
        let others = (self.tokens - self.rows) * self.hidden * DType::BF16.size();
        self.cost().bytes + others as u64
    }

    fn plans(&self, _: DType, _: &Limits) -> Result<Vec<Plan>> {
        Ok(plan::gather_rows(self.rows, self.hidden)?.into_iter().collect())
    }

    fn prepare(&self, dtype: DType, memory: &mut Memory) -> Result<Call> {
        let x = memory.random(dtype, &[self.tokens, self.hidden])?;
        let rows = memory.shuffled(self.tokens);
        let rows = memory.indices(rows.into_iter().take(self.rows))?;
        let mut out = memory.output(dtype, &[self.rows, self.hidden])?;
        Ok(Box::new(move |stream| {
            let (x, rows) = (TensorRef::new(x.view())?, TensorRef::new(rows.view())?);
            ops::gather_rows(
                stream,
                &ops::GatherRows { x, rows, out: TensorMut::new(out.view_mut())?, error: None },
            )
        }))
    }
}
