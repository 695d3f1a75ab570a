//! `rms_norm` and `add_rms_norm`.

use super::sizes::Given;
use super::{Call, EPS, Memory, Row, Work, per_tokens};
use crate::backend::ModelDims;
use crate::cost::{self, Cost};
use crate::gpu::{TensorMut, TensorRef};
use crate::plan::{self, Limits, Plan};
use crate::tensor::DType;
use crate::{Result, ops};

/// `rms_norm`.
#[derive(Clone, Copy, Debug)]
pub struct RmsNorm {
    /// Rows.
    pub tokens: usize,
    /// Elements of a row.
    pub hidden: usize,
}

/// `add_rms_norm`.
#[derive(Clone, Copy, Debug)]
pub struct AddRmsNorm {
    /// Rows.
    pub tokens: usize,
    /// Elements of a row.
    pub hidden: usize,
}

pub(super) fn rms_norm_rows(model: &str, dims: &ModelDims) -> Vec<Row> {
    per_tokens(model, |tokens| RmsNorm { tokens, hidden: dims.hidden_size })
}

pub(super) fn add_rms_norm_rows(model: &str, dims: &ModelDims) -> Vec<Row> {
    per_tokens(model, |tokens| AddRmsNorm { tokens, hidden: dims.hidden_size })
}

impl RmsNorm {
    pub(super) fn of(sizes: &Given<'_>) -> Result<Box<dyn Work>> {
        Ok(Box::new(RmsNorm { tokens: sizes.size("tokens")?, hidden: sizes.size("hidden")? }))
    }
}

impl AddRmsNorm {
    pub(super) fn of(sizes: &Given<'_>) -> Result<Box<dyn Work>> {
        Ok(Box::new(AddRmsNorm { tokens: sizes.size("tokens")?, hidden: sizes.size("hidden")? }))
    }
}

impl Work for RmsNorm {
    fn op(&self) -> &'static str {
        "rms_norm"
    }

    fn sizes(&self) -> Vec<(&'static str, usize)> {
        vec![("tokens", self.tokens), ("hidden", self.hidden)]
    }

    fn cost(&self) -> Cost {
        cost::rms_norm(self.tokens, self.hidden)
    }

    fn plans(&self, dtype: DType, _: &Limits) -> Result<Vec<Plan>> {
        Ok(plan::rms_norm(dtype, self.tokens, self.hidden)?.into_iter().collect())
    }

    fn issued_bytes(&self, _: &[Plan]) -> u64 {
        cost::rms_norm_tile(self.tokens, self.hidden)
    }

    fn prepare(&self, dtype: DType, memory: &mut Memory) -> Result<Call> {
        let matrix = [self.tokens, self.hidden];
        let (x, weight) = (memory.random(dtype, &matrix)?, memory.random(dtype, &[self.hidden])?);
        let mut out = memory.output(dtype, &matrix)?;
        Ok(Box::new(move |stream| {
            let (x, weight) = (TensorRef::new(x.view())?, TensorRef::new(weight.view())?);
            let out = TensorMut::new(out.view_mut())?;
            ops::rms_norm(stream, &ops::RmsNorm { x, weight, eps: EPS, out })
        }))
    }
}

impl Work for AddRmsNorm {
    fn op(&self) -> &'static str {
        "add_rms_norm"
    }

    fn sizes(&self) -> Vec<(&'static str, usize)> {
        vec![("tokens", self.tokens), ("hidden", self.hidden)]
    }

    fn cost(&self) -> Cost {
        cost::add_rms_norm(self.tokens, self.hidden)
    }

    fn plans(&self, dtype: DType, _: &Limits) -> Result<Vec<Plan>> {
        Ok(plan::add_rms_norm(dtype, self.tokens, self.hidden)?.into_iter().collect())
    }

    fn issued_bytes(&self, _: &[Plan]) -> u64 {
        cost::add_rms_norm_tile(self.tokens, self.hidden)
    }

    fn prepare(&self, dtype: DType, memory: &mut Memory) -> Result<Call> {
        let matrix = [self.tokens, self.hidden];
        let (x, mut residual) = (memory.random(dtype, &matrix)?, memory.random(dtype, &matrix)?);
        let weight = memory.random(dtype, &[self.hidden])?;
        let mut out = memory.output(dtype, &matrix)?;
        Ok(Box::new(move |stream| {
            let (x, weight) = (TensorRef::new(x.view())?, TensorRef::new(weight.view())?);
            let (residual, out) = (TensorMut::new(residual.view_mut())?, TensorMut::new(out.view_mut())?);
            ops::add_rms_norm(stream, &ops::AddRmsNorm { x, residual, weight, eps: EPS, out })
        }))
    }
}
