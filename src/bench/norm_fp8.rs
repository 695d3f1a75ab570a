//! `rms_norm_fp8` and `add_rms_norm_fp8`.

use super::sizes::Given;
use super::{Call, EPS, Memory, Row, Work, per_tokens};
use crate::backend::ModelDims;
use crate::cost::{self, Cost};
use crate::gpu::{TensorMut, TensorRef};
use crate::plan::{self, Limits, Plan};
use crate::tensor::DType;
use crate::{Result, ops};

/// `rms_norm_fp8`.
#[derive(Clone, Copy, Debug)]
pub struct RmsNormFp8 {
    /// Rows.
    pub tokens: usize,
    /// Elements of a row.
    pub hidden: usize,
    /// Scales of a row: 1, or one for each 128 columns.
    pub groups: usize,
}

/// `add_rms_norm_fp8`.
#[derive(Clone, Copy, Debug)]
pub struct AddRmsNormFp8 {
    /// Rows.
    pub tokens: usize,
    /// Elements of a row.
    pub hidden: usize,
    /// Scales of a row: 1, or one for each 128 columns.
    pub groups: usize,
}

/// With a scale a token.
pub(super) fn rms_norm_rows(model: &str, dims: &ModelDims) -> Vec<Row> {
    per_tokens(model, |tokens| RmsNormFp8 { tokens, hidden: dims.hidden_size, groups: 1 })
}

/// With a scale a token.
pub(super) fn add_rms_norm_rows(model: &str, dims: &ModelDims) -> Vec<Row> {
    per_tokens(model, |tokens| AddRmsNormFp8 { tokens, hidden: dims.hidden_size, groups: 1 })
}

impl RmsNormFp8 {
    pub(super) fn of(sizes: &Given<'_>) -> Result<Box<dyn Work>> {
        let (tokens, hidden, groups) = (sizes.size("tokens")?, sizes.size("hidden")?, sizes.size("groups")?);
        Ok(Box::new(RmsNormFp8 { tokens, hidden, groups }))
    }
}

impl Work for RmsNormFp8 {
    fn op(&self) -> &'static str {
        "rms_norm_fp8"
    }

    fn sizes(&self) -> Vec<(&'static str, usize)> {
        vec![("tokens", self.tokens), ("hidden", self.hidden), ("groups", self.groups)]
    }

    fn cost(&self) -> Cost {
        cost::rms_norm_fp8(self.tokens, self.hidden, self.groups)
    }

    fn plans(&self, dtype: DType, _: &Limits) -> Result<Vec<Plan>> {
        Ok(plan::rms_norm_fp8(dtype, self.tokens, self.hidden, self.groups)?.into_iter().collect())
    }

    fn issued_bytes(&self, _: &[Plan]) -> u64 {
        cost::rms_norm_fp8_tile(self.tokens, self.hidden, self.groups)
    }

    fn prepare(&self, dtype: DType, memory: &mut Memory) -> Result<Call> {
        let matrix = [self.tokens, self.hidden];
        let (x, weight) = (memory.random(dtype, &matrix)?, memory.random(dtype, &[self.hidden])?);
        let mut codes = memory.output(DType::F8E4M3, &matrix)?;
        let mut scale = memory.output(DType::F32, &[self.tokens, self.groups])?;
        Ok(Box::new(move |stream| {
            let (x, weight) = (TensorRef::new(x.view())?, TensorRef::new(weight.view())?);
            let (codes, scale) = (TensorMut::new(codes.view_mut())?, TensorMut::new(scale.view_mut())?);
            let out = ops::Fp8Mut { codes, scale };
            ops::rms_norm_fp8(stream, &ops::RmsNormFp8 { x, weight, eps: EPS, out })
        }))
    }
}

impl AddRmsNormFp8 {
    pub(super) fn of(sizes: &Given<'_>) -> Result<Box<dyn Work>> {
        let (tokens, hidden, groups) = (sizes.size("tokens")?, sizes.size("hidden")?, sizes.size("groups")?);
        Ok(Box::new(AddRmsNormFp8 { tokens, hidden, groups }))
    }
}

impl Work for AddRmsNormFp8 {
    fn op(&self) -> &'static str {
        "add_rms_norm_fp8"
    }

    fn sizes(&self) -> Vec<(&'static str, usize)> {
        vec![("tokens", self.tokens), ("hidden", self.hidden), ("groups", self.groups)]
    }

    fn cost(&self) -> Cost {
        cost::add_rms_norm_fp8(self.tokens, self.hidden, self.groups)
    }

    fn plans(&self, dtype: DType, _: &Limits) -> Result<Vec<Plan>> {
        Ok(plan::add_rms_norm_fp8(dtype, self.tokens, self.hidden, self.groups)?.into_iter().collect())
    }

    fn issued_bytes(&self, _: &[Plan]) -> u64 {
        cost::add_rms_norm_fp8_tile(self.tokens, self.hidden, self.groups)
    }

    fn prepare(&self, dtype: DType, memory: &mut Memory) -> Result<Call> {
        let matrix = [self.tokens, self.hidden];
        let (x, weight) = (memory.random(dtype, &matrix)?, memory.random(dtype, &[self.hidden])?);
        let mut residual = memory.random(dtype, &matrix)?;
        let mut codes = memory.output(DType::F8E4M3, &matrix)?;
        let mut scale = memory.output(DType::F32, &[self.tokens, self.groups])?;
        Ok(Box::new(move |stream| {
            let (x, weight) = (TensorRef::new(x.view())?, TensorRef::new(weight.view())?);
            let residual = TensorMut::new(residual.view_mut())?;
            let (codes, scale) = (TensorMut::new(codes.view_mut())?, TensorMut::new(scale.view_mut())?);
            let out = ops::Fp8Mut { codes, scale };
            ops::add_rms_norm_fp8(stream, &ops::AddRmsNormFp8 { x, residual, weight, eps: EPS, out })
        }))
    }
}
