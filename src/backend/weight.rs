//! Linear weights as a checkpoint holds them, before a device orders them for its matmul.

use std::fmt;

use crate::quant::int4::GroupSize;
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

/// What a device makes of a linear weight when it loads it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WeightFormat {
    /// Floats: the checkpoint's, or what the device computes in.
    #[default]
    Native,
    /// 4-bit codes by [`Int4::quantize`](crate::quant::int4::Int4::quantize), symmetric, with scales in the checkpoint's
    /// 16-bit type (bf16 where it has none). The matmul multiplies what they stand for in that type.
    Int4 {
        /// Columns that share a scale.
        group_size: GroupSize,
    },
    /// e4m3 with a scale for each row by [`Fp8Rows::quantize`](crate::quant::fp8_rows::Fp8Rows::quantize). The matmul takes
    /// [`Activation::Fp8`](super::Activation::Fp8) with one scale a token:
    /// `y[m,n] = epilogue(sum_k xq[m,k] * wq[n,k] * xs[m] * ws[n] + bias[n])`, the codes multiplied and added first, then `xs`,
    /// then `ws`.
    Fp8,
}

impl WeightFormat {
    /// Bytes of a weight `[n, k]` without its bias; `dtype` is the type that it has natively. `None` from 2^64 on.
    #[cfg(feature = "model")]
    pub(crate) fn bytes(self, n: usize, k: usize, dtype: DType) -> Option<u64> {
        let (rows, elements) = (n as u64, (n as u64).checked_mul(k as u64)?);
        match self {
            WeightFormat::Native => elements.checked_mul(dtype.size() as u64),
            WeightFormat::Int4 { group_size } => {
                let scales = rows.checked_mul(k.div_ceil(group_size.columns(k).max(1)) as u64)?;
                (elements / 2).checked_add(scales.checked_mul(2)?)
            }
            WeightFormat::Fp8 => elements.checked_add(rows.checked_mul(4)?),
        }
    }
}

impl fmt::Display for WeightFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            WeightFormat::Native => "native",
            WeightFormat::Int4 { .. } => "int4",
            WeightFormat::Fp8 => "fp8",
        })
    }
}

/// How keys and values are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CacheFormat {
    /// In the type of the activations.
    #[default]
    Native,
    /// In e4m3, each number rounded to the nearest code: the scale is 1. Beyond ±448 they saturate.
    Fp8,
}

impl fmt::Display for CacheFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CacheFormat::Native => "native",
            CacheFormat::Fp8 => "fp8",
        })
    }
}

impl CacheFormat {
    /// Element type of a cache beside activations of type `activations`.
    pub fn dtype(self, activations: DType) -> DType {
        match self {
            CacheFormat::Native => activations,
            CacheFormat::Fp8 => DType::F8E4M3,
        }
    }
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
    /// What the device makes of them.
    pub format: WeightFormat,
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
