//! Linear weights as a checkpoint holds them, before a device orders them for its matmul.

use crate::tensor::{DType, HostTensor};
use crate::{Error, Result};

/// How the parts of a fused weight stand in the output of its matmul.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RowOrder {
    /// One after the other: q, then k, then v.
    Concatenated,
    /// Two parts of equal height that [`Epilogue::SwiGlu`](super::Epilogue::SwiGlu) combines: gate, then up. (A GPU interleaves their rows in
    /// blocks of 8 when it loads them.)
    GateUp,
}

/// A linear weight as the checkpoint holds it: parts of shape `[n_i, k]` that are multiplied as one.
#[derive(Clone, Debug)]
pub struct WeightSource {
    /// The parts, in order; all have the same `k` and one element type.
    pub parts: Vec<HostTensor>,
    /// One bias of shape `[n_i]` a part, or none at all.
    pub biases: Vec<HostTensor>,
    /// How the parts are combined.
    pub rows: RowOrder,
}

/// What the parts of a [`WeightSource`] have in common.
#[derive(Clone, Debug)]
pub(crate) struct WeightShape {
    /// Element type of the parts.
    pub dtype: DType,
    /// Columns: the width of the input.
    pub k: usize,
    /// Rows of all parts.
    pub rows: usize,
}

impl WeightSource {
    /// Checks the parts and their biases against each other, and that their bytes are there.
    pub(crate) fn check(&self) -> Result<WeightShape> {
        const OP: &str = "load_weight";
        let wrong = |expected: String, tensor: &HostTensor| {
            let given = format!("{} of type {} and shape {:?}", tensor.name, tensor.dtype, tensor.shape);
            Error::argument(OP, "parts", expected, given)
        };
        let Some((dtype, k)) = self.parts.first().and_then(|part| Some((part.dtype, *part.shape.get(1)?)))
        else {
            return Err(Error::argument(
                OP,
                "parts",
                "at least one matrix",
                format!("{} parts", self.parts.len()),
            ));
        };
        for part in &self.parts {
            if !dtype.is_float() {
                return Err(wrong("floats of 16, 32 or 64 bits".into(), part));
            }
            if part.dtype != dtype || part.shape.len() != 2 || part.shape[1] != k || k == 0 {
                return Err(wrong(format!("{dtype} of shape [n, {}]", k.max(1)), part));
            }
            check_bytes(OP, "parts", part)?;
        }
        let heights: Vec<usize> = self.parts.iter().map(|part| part.shape[0]).collect();
        if self.rows == RowOrder::GateUp && (heights.len() != 2 || heights[0] != heights[1]) {
            return Err(Error::argument(
                OP,
                "parts",
                "gate and up of equal height",
                format!("heights {heights:?}"),
            ));
        }
        if !self.biases.is_empty() && self.biases.len() != heights.len() {
            let expected = format!("{} or none", heights.len());
            return Err(Error::argument(OP, "biases", expected, self.biases.len()));
        }
        for (bias, &height) in self.biases.iter().zip(&heights) {
            if !bias.dtype.is_float() || bias.shape != [height] {
                let given = format!("{} of type {} and shape {:?}", bias.name, bias.dtype, bias.shape);
                return Err(Error::argument(OP, "biases", format!("floats of shape [{height}]"), given));
            }
            check_bytes(OP, "biases", bias)?;
        }
        // The bytes of all parts are there, so that their number does not overflow.
        let rows = heights.iter().sum();
        Ok(WeightShape { dtype, k, rows })
    }
}

/// Checks that a tensor has as many bytes as its shape says.
pub(crate) fn check_bytes(op: &'static str, arg: &'static str, source: &HostTensor) -> Result<()> {
    let bytes = source.shape.iter().try_fold(source.dtype.size(), |bytes, &dim| bytes.checked_mul(dim));
    if bytes == Some(source.data.len()) {
        return Ok(());
    }
    Err(Error::argument(
        op,
        arg,
        format!("{} of shape {:?} in {}", source.name, source.shape, source.dtype),
        format!("{} bytes", source.data.len()),
    ))
}
