//! `permute_columns`.

use super::sizes::Given;
use super::{Call, Memory, Row, Work, per_tokens};
use crate::backend::ModelDims;
use crate::cost::{self, Cost};
use crate::gpu::{TensorMut, TensorRef};
use crate::plan::{self, Limits, Plan};
use crate::tensor::DType;
use crate::{Result, ops};

/// `permute_columns` to no order.
#[derive(Clone, Copy, Debug)]
pub struct PermuteColumns {
    /// Rows.
    pub tokens: usize,
    /// Elements of a row.
    pub width: usize,
}

/// The input of a layer's second product, which no norm writes.
pub(super) fn rows(model: &str, dims: &ModelDims) -> Vec<Row> {
    per_tokens(model, |tokens| PermuteColumns { tokens, width: dims.num_q_heads * dims.head_dim })
}

impl PermuteColumns {
    pub(super) fn of(sizes: &Given<'_>) -> Result<Box<dyn Work>> {
        Ok(Box::new(PermuteColumns { tokens: sizes.size("tokens")?, width: sizes.size("width")? }))
    }
}

impl Work for PermuteColumns {
    fn op(&self) -> &'static str {
        "permute_columns"
    }

    fn sizes(&self) -> Vec<(&'static str, usize)> {
        vec![("tokens", self.tokens), ("width", self.width)]
    }

    fn cost(&self) -> Cost {
        cost::permute_columns(self.tokens, self.width)
    }

    fn plans(&self, _: DType, _: &Limits) -> Result<Vec<Plan>> {
        Ok(plan::permute_columns(self.tokens, self.width)?.into_iter().collect())
    }

    fn issued_bytes(&self, _: &[Plan]) -> u64 {
        cost::permute_columns_tile(self.tokens, self.width)
    }

    fn prepare(&self, dtype: DType, memory: &mut Memory) -> Result<Call> {
        let matrix = [self.tokens, self.width];
        let x = memory.random(dtype, &matrix)?;
        let columns = memory.shuffled(self.width);
        let columns = memory.indices(columns)?;
        let mut out = memory.output(dtype, &matrix)?;
        Ok(Box::new(move |stream| {
            let (x, columns) = (TensorRef::new(x.view())?, TensorRef::new(columns.view())?);
            let out = TensorMut::new(out.view_mut())?;
            ops::permute_columns(stream, &ops::PermuteColumns { x, columns, out, error: None })
        }))
    }
}
