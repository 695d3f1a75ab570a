//! Linear weights, left in the checkpoint's memory and element type.

use half::{bf16, f16};

use super::CpuBuffer;
use super::access::Input;
use super::real::{Element, Real};
use super::simd;
use crate::Result;
use crate::backend::{RowOrder, WeightShape, WeightSource, check_bytes};
use crate::tensor::{DType, HostTensor, Tensor};

const OP: &str = "load_weight";

/// A linear weight or an embedding table: the parts as they stand in the checkpoint, copied only where they are misaligned.
#[derive(Debug)]
pub struct CpuWeight {
    parts: Vec<Tensor<CpuBuffer>>,
    dtype: DType,
    k: usize,
    rows: usize,
    order: RowOrder,
    /// One a row, or none at all. f64 holds every type's values.
    bias: Vec<f64>,
}

impl CpuWeight {
    /// Checks the parts of `source` against each other.
    pub(crate) fn new(source: WeightSource) -> Result<Self> {
        let WeightShape { dtype, k, rows, .. } = source.check()?;
        let load = |part| load(OP, "parts", part);
        Ok(CpuWeight {
            parts: source.parts.into_iter().map(load).collect::<Result<_>>()?,
            dtype,
            k,
            rows,
            order: source.rows,
            bias: load_bias(source.biases)?,
        })
    }

    /// Columns: the width of its input.
    pub(crate) fn k(&self) -> usize {
        self.k
    }

    /// Rows of all parts.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// How the parts are combined.
    pub(crate) fn order(&self) -> RowOrder {
        self.order
    }

    /// One a row, or none at all.
    pub(crate) fn bias(&self) -> &[f64] {
        &self.bias
    }

    /// The rows in their element type.
    pub(crate) fn typed(&self) -> Rows<'_> {
        match self.dtype {
            DType::BF16 => Rows::BF16(RowsOf::new(self)),
            DType::F16 => Rows::F16(RowsOf::new(self)),
            DType::F32 => Rows::F32(RowsOf::new(self)),
            _ => Rows::F64(RowsOf::new(self)),
        }
    }
}

/// Rows of a weight by element type.
pub(crate) enum Rows<'a> {
    BF16(RowsOf<'a, bf16>),
    F16(RowsOf<'a, f16>),
    F32(RowsOf<'a, f32>),
    F64(RowsOf<'a, f64>),
}

/// Rows of a weight, counted through its parts.
pub(crate) struct RowsOf<'a, W> {
    parts: Vec<&'a [W]>,
    k: usize,
}

impl<'a, W: Element> RowsOf<'a, W> {
    fn new(weight: &'a CpuWeight) -> Self {
        // Loading has checked that the parts have this type and are aligned for it.
        let parts =
            weight.parts.iter().map(|part| bytemuck::cast_slice(part.view().buffer.bytes())).collect();
        RowsOf { parts, k: weight.k }
    }

    /// Row `n` of all parts.
    pub fn row(&self, mut n: usize) -> &'a [W] {
        for part in &self.parts {
            let height = part.len() / self.k;
            if n < height {
                return &part[n * self.k..][..self.k];
            }
            n -= height;
        }
        &[]
    }

    /// Reads row `n`.
    pub fn load<A: Real>(&self, n: usize, to: &mut [A]) {
        simd::load(self.row(n), to);
    }
}

/// Takes over a tensor of a checkpoint, in place if it is aligned for its element type.
pub(crate) fn load(op: &'static str, arg: &'static str, source: HostTensor) -> Result<Tensor<CpuBuffer>> {
    check_bytes(op, arg, &source)?;
    Tensor::new(CpuBuffer::from_bytes(source.data, source.dtype.size())?, source.dtype, &source.shape)
}

fn load_bias(biases: Vec<HostTensor>) -> Result<Vec<f64>> {
    let mut all = Vec::new();
    for bias in biases {
        all.extend(Input::new(OP, "biases", load(OP, "biases", bias)?.view())?.to_vec::<f64>());
    }
    Ok(all)
}
