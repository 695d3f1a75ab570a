//! `quantize_fp8`.

use super::sizes::Given;
use super::{Call, Memory, Row, TOKENS, Work};
use crate::backend::ModelDims;
use crate::cost::{self, Cost};
use crate::gpu::{TensorMut, TensorRef};
use crate::params::FP8_GROUP_COLUMNS;
use crate::plan::{self, Limits, Plan};
use crate::tensor::DType;
use crate::{Result, ops};

/// `quantize_fp8`.
#[derive(Clone, Copy, Debug)]
pub struct QuantizeFp8 {
    /// Rows.
    pub tokens: usize,
    /// Elements of a row.
    pub width: usize,
    /// Scales of a row: 1, or one for each 128 columns.
    pub groups: usize,
}

/// The input of a layer's matmuls, with a scale a token, and with one for each 128 columns where they divide the width.
pub(super) fn rows(model: &str, dims: &ModelDims) -> Vec<Row> {
    let (width, columns) = (dims.hidden_size, FP8_GROUP_COLUMNS as usize);
    let per_group = (width.is_multiple_of(columns) && width > columns).then_some(width / columns);
    let groups = [Some(1), per_group].into_iter().flatten();
    let rows =
        groups.flat_map(|groups| TOKENS.map(|tokens| Row::new(model, QuantizeFp8 { tokens, width, groups })));
    rows.collect()
}

impl QuantizeFp8 {
    pub(super) fn of(sizes: &Given<'_>) -> Result<Box<dyn Work>> {
        let (tokens, width, groups) = (sizes.size("tokens")?, sizes.size("width")?, sizes.size("groups")?);
        Ok(Box::new(QuantizeFp8 { tokens, width, groups }))
    }
}

impl Work for QuantizeFp8 {
    fn op(&self) -> &'static str {
        "quantize_fp8"
    }

    fn sizes(&self) -> Vec<(&'static str, usize)> {
        vec![("tokens", self.tokens), ("width", self.width), ("groups", self.groups)]
    }

    fn cost(&self) -> Cost {
        cost::quantize_fp8(self.tokens, self.width, self.groups)
    }

    fn plans(&self, dtype: DType, _: &Limits) -> Result<Vec<Plan>> {
        Ok(plan::quantize_fp8(dtype, self.tokens, self.width, self.groups)?.into_iter().collect())
    }

    fn issued_bytes(&self, _: &[Plan]) -> u64 {
        cost::quantize_fp8_tile(self.tokens, self.width, self.groups)
    }

    fn prepare(&self, dtype: DType, memory: &mut Memory) -> Result<Call> {
        let matrix = [self.tokens, self.width];
        let x = memory.random(dtype, &matrix)?;
        let mut codes = memory.output(DType::F8E4M3, &matrix)?;
        let mut scale = memory.output(DType::F32, &[self.tokens, self.groups])?;
        Ok(Box::new(move |stream| {
            let (codes, scale) = (TensorMut::new(codes.view_mut())?, TensorMut::new(scale.view_mut())?);
            let out = ops::Fp8Mut { codes, scale };
            ops::quantize_fp8(stream, &ops::QuantizeFp8 { x: TensorRef::new(x.view())?, out })
        }))
    }
}
