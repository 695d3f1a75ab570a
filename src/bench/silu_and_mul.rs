//! `silu_and_mul`.

use super::sizes::Given;
use super::{Call, Memory, Row, Work, per_tokens};
use crate::backend::ModelDims;
use crate::cost::{self, Cost};
use crate::gpu::{TensorMut, TensorRef};
use crate::plan::{self, Limits, Plan};
use crate::tensor::DType;
use crate::{Result, ops};

/// `silu_and_mul`.
#[derive(Clone, Copy, Debug)]
pub struct SiluAndMul {
    /// Rows.
    pub tokens: usize,
    /// Elements of a row of the output.
    pub intermediate: usize,
}

pub(super) fn rows(model: &str, dims: &ModelDims) -> Vec<Row> {
    per_tokens(model, |tokens| SiluAndMul { tokens, intermediate: dims.intermediate_size })
}

impl SiluAndMul {
    pub(super) fn of(sizes: &Given<'_>) -> Result<Box<dyn Work>> {
        let (tokens, intermediate) = (sizes.size("tokens")?, sizes.size("intermediate")?);
        Ok(Box::new(SiluAndMul { tokens, intermediate }))
    }
}

impl Work for SiluAndMul {
    fn op(&self) -> &'static str {
        "silu_and_mul"
    }

    fn sizes(&self) -> Vec<(&'static str, usize)> {
        vec![("tokens", self.tokens), ("intermediate", self.intermediate)]
    }

    fn cost(&self) -> Cost {
        cost::silu_and_mul(self.tokens, self.intermediate)
    }

    fn plans(&self, dtype: DType, _: &Limits) -> Result<Vec<Plan>> {
        Ok(plan::silu_and_mul(dtype, self.tokens, self.intermediate)?.into_iter().collect())
    }

    fn prepare(&self, dtype: DType, memory: &mut Memory) -> Result<Call> {
        let gate_up = memory.random(dtype, &[self.tokens, 2 * self.intermediate])?;
        let mut out = memory.output(dtype, &[self.tokens, self.intermediate])?;
        Ok(Box::new(move |stream| {
            let (gate_up, out) = (TensorRef::new(gate_up.view())?, TensorMut::new(out.view_mut())?);
            ops::silu_and_mul(stream, &ops::SiluAndMul { gate_up, out })
        }))
    }
}
