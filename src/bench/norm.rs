//! `rms_norm` and `add_rms_norm`.

use super::sizes::{Given, set};
use super::{Call, EPS, Memory, Row, TOKENS, Work};
use crate::backend::ModelDims;
use crate::cost::{self, Cost};
use crate::gpu::{Buffer, TensorMut, TensorRef};
use crate::plan::{self, Limits, Plan};
use crate::tensor::{DType, Tensor};
use crate::{Result, ops};

/// `rms_norm`.
#[derive(Clone, Copy, Debug)]
pub struct RmsNorm {
    /// Rows.
    pub tokens: usize,
    /// Elements of a row.
    pub hidden: usize,
    /// Whether its columns are written in another order.
    pub permuted: bool,
}

/// `add_rms_norm`.
#[derive(Clone, Copy, Debug)]
pub struct AddRmsNorm {
    /// Rows.
    pub tokens: usize,
    /// Elements of a row.
    pub hidden: usize,
    /// Whether its columns are written in another order.
    pub permuted: bool,
}

pub(super) fn rms_norm_rows(model: &str, dims: &ModelDims) -> Vec<Row> {
    rows(model, |tokens, permuted| RmsNorm { tokens, hidden: dims.hidden_size, permuted })
}

pub(super) fn add_rms_norm_rows(model: &str, dims: &ModelDims) -> Vec<Row> {
    rows(model, |tokens, permuted| AddRmsNorm { tokens, hidden: dims.hidden_size, permuted })
}

/// Of all numbers of tokens as the model's layers have it; of one token and of the most with columns in another order.
fn rows<W: Work + 'static>(model: &str, work: impl Fn(usize, bool) -> W) -> Vec<Row> {
    let plain = TOKENS.into_iter().map(|tokens| Row::new(model, work(tokens, false)));
    let ends = [TOKENS[0], TOKENS[TOKENS.len() - 1]].into_iter();
    let permuted = ends.map(|tokens| Row::new(format!("{model} permuted"), work(tokens, true)));
    plain.chain(permuted).collect()
}

/// All columns in no order, where they are permuted.
fn columns(permuted: bool, width: usize, memory: &mut Memory) -> Result<Option<Tensor<Buffer>>> {
    if !permuted {
        return Ok(None);
    }
    let shuffled = memory.shuffled(width);
    memory.indices(shuffled).map(Some)
}

impl RmsNorm {
    pub(super) fn of(sizes: &Given<'_>) -> Result<Box<dyn Work>> {
        let (tokens, hidden) = (sizes.size("tokens")?, sizes.size("hidden")?);
        Ok(Box::new(RmsNorm { tokens, hidden, permuted: sizes.flag("permuted")? }))
    }
}

impl AddRmsNorm {
    pub(super) fn of(sizes: &Given<'_>) -> Result<Box<dyn Work>> {
        let (tokens, hidden) = (sizes.size("tokens")?, sizes.size("hidden")?);
        Ok(Box::new(AddRmsNorm { tokens, hidden, permuted: sizes.flag("permuted")? }))
    }
}

impl Work for RmsNorm {
    fn op(&self) -> &'static str {
        "rms_norm"
    }

    fn sizes(&self) -> Vec<(&'static str, usize)> {
        let sizes = [("tokens", self.tokens), ("hidden", self.hidden)];
        sizes.into_iter().chain(set("permuted", self.permuted)).collect()
    }

    fn cost(&self) -> Cost {
        let cost = cost::rms_norm(self.tokens, self.hidden);
        if self.permuted { cost::permuted(cost, self.tokens, self.hidden) } else { cost }
    }

    fn plans(&self, dtype: DType, _: &Limits) -> Result<Vec<Plan>> {
        Ok(plan::rms_norm(dtype, self.tokens, self.hidden, self.permuted)?.into_iter().collect())
    }

    fn issued_bytes(&self, _: &[Plan]) -> u64 {
        let indices = if self.permuted { cost::permuted_tile(self.tokens, self.hidden) } else { 0 };
        cost::rms_norm_tile(self.tokens, self.hidden) + indices
    }

    fn prepare(&self, dtype: DType, memory: &mut Memory) -> Result<Call> {
        let matrix = [self.tokens, self.hidden];
        let (x, weight) = (memory.random(dtype, &matrix)?, memory.random(dtype, &[self.hidden])?);
        let columns = columns(self.permuted, self.hidden, memory)?;
        let mut out = memory.output(dtype, &matrix)?;
        Ok(Box::new(move |stream| {
            let (x, weight) = (TensorRef::new(x.view())?, TensorRef::new(weight.view())?);
            let out = TensorMut::new(out.view_mut())?;
            let columns = columns.as_ref().map(|columns| TensorRef::new(columns.view())).transpose()?;
            let args = ops::RmsNorm { x, weight, eps: EPS, columns, out, error: None };
            ops::rms_norm(stream, &args)
        }))
    }
}

impl Work for AddRmsNorm {
    fn op(&self) -> &'static str {
        "add_rms_norm"
    }

    fn sizes(&self) -> Vec<(&'static str, usize)> {
        let sizes = [("tokens", self.tokens), ("hidden", self.hidden)];
        sizes.into_iter().chain(set("permuted", self.permuted)).collect()
    }

    fn cost(&self) -> Cost {
        let cost = cost::add_rms_norm(self.tokens, self.hidden);
        if self.permuted { cost::permuted(cost, self.tokens, self.hidden) } else { cost }
    }

    fn plans(&self, dtype: DType, _: &Limits) -> Result<Vec<Plan>> {
        Ok(plan::add_rms_norm(dtype, self.tokens, self.hidden, self.permuted)?.into_iter().collect())
    }

    fn issued_bytes(&self, _: &[Plan]) -> u64 {
        let indices = if self.permuted { cost::permuted_tile(self.tokens, self.hidden) } else { 0 };
        cost::add_rms_norm_tile(self.tokens, self.hidden) + indices
    }

    fn prepare(&self, dtype: DType, memory: &mut Memory) -> Result<Call> {
        let matrix = [self.tokens, self.hidden];
        let (x, mut residual) = (memory.random(dtype, &matrix)?, memory.random(dtype, &matrix)?);
        let weight = memory.random(dtype, &[self.hidden])?;
        let columns = columns(self.permuted, self.hidden, memory)?;
        let mut out = memory.output(dtype, &matrix)?;
        Ok(Box::new(move |stream| {
            let (x, weight) = (TensorRef::new(x.view())?, TensorRef::new(weight.view())?);
            let (residual, out) = (TensorMut::new(residual.view_mut())?, TensorMut::new(out.view_mut())?);
            let columns = columns.as_ref().map(|columns| TensorRef::new(columns.view())).transpose()?;
            let args = ops::AddRmsNorm { x, residual, weight, eps: EPS, columns, out, error: None };
            ops::add_rms_norm(stream, &args)
        }))
    }
}
