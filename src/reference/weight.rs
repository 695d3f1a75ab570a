//! Linear weights: left in the checkpoint's memory and element type, or quantised from there.

use half::{bf16, f16};

use super::CpuBuffer;
use super::access::Input;
use super::real::{E4m3, Element, Real};
use super::simd;
use crate::Result;
use crate::backend::{RowOrder, WeightFormat, WeightShape, WeightSource, check_bytes};
use crate::quant::fp8_rows::Fp8Rows;
use crate::quant::int4::Int4;
use crate::tensor::{DType, HostTensor, Tensor};

const OP: &str = "load_weight";

/// A linear weight or an embedding table.
#[derive(Debug)]
pub struct CpuWeight {
    parts: Parts,
    k: usize,
    rows: usize,
    order: RowOrder,
    /// One a row, or none at all. f64 holds every type's values.
    bias: Vec<f64>,
}

/// The parts by [`WeightFormat`].
#[derive(Debug)]
enum Parts {
    /// As they stand in the checkpoint, copied only where they are misaligned.
    Native(Vec<Tensor<CpuBuffer>>, DType),
    /// And the type that what they stand for is rounded to.
    Int4(Vec<Int4>, DType),
    Fp8(Vec<Fp8Rows>),
}

impl CpuWeight {
    /// Checks the parts of `source` against each other, and brings them into the form that it asks for.
    pub(crate) fn new(source: WeightSource) -> Result<Self> {
        let WeightShape { dtype, k, rows, .. } = source.check()?;
        let parts = match source.format {
            WeightFormat::Native => {
                let load = |part| load(OP, "parts", part);
                Parts::Native(source.parts.into_iter().map(load).collect::<Result<_>>()?, dtype)
            }
            WeightFormat::Int4 { group_size } => {
                // A device with 16-bit activations computes a checkpoint in f32 in bf16.
                let dtype = if dtype == DType::F16 { DType::F16 } else { DType::BF16 };
                let quantize = |part| Int4::quantize(part, dtype, group_size);
                Parts::Int4(source.parts.iter().map(quantize).collect::<Result<_>>()?, dtype)
            }
            WeightFormat::Fp8 => {
                Parts::Fp8(source.parts.iter().map(Fp8Rows::quantize).collect::<Result<_>>()?)
            }
        };
        Ok(CpuWeight { parts, k, rows, order: source.rows, bias: load_bias(source.biases)? })
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

    /// The rows in their form.
    pub(crate) fn typed(&self) -> Rows<'_> {
        match &self.parts {
            Parts::Native(parts, DType::BF16) => Rows::BF16(RowsOf::new(parts, self.k)),
            Parts::Native(parts, DType::F16) => Rows::F16(RowsOf::new(parts, self.k)),
            Parts::Native(parts, DType::F32) => Rows::F32(RowsOf::new(parts, self.k)),
            Parts::Native(parts, _) => Rows::F64(RowsOf::new(parts, self.k)),
            Parts::Int4(parts, dtype) => Rows::Int4(Int4Rows { parts, dtype: *dtype }),
            Parts::Fp8(parts) => Rows::Fp8 {
                codes: RowsOf {
                    parts: parts.iter().map(|part| bytemuck::cast_slice(part.codes())).collect(),
                    k: self.k,
                },
                scales: parts.iter().flat_map(Fp8Rows::scales).copied().collect(),
            },
        }
    }
}

/// Rows of a weight by their form.
pub(crate) enum Rows<'a> {
    BF16(RowsOf<'a, bf16>),
    F16(RowsOf<'a, f16>),
    F32(RowsOf<'a, f32>),
    F64(RowsOf<'a, f64>),
    Int4(Int4Rows<'a>),
    /// Codes, and a scale for each row.
    Fp8 {
        codes: RowsOf<'a, E4m3>,
        scales: Vec<f32>,
    },
}

/// Rows of a weight, counted through its parts.
pub(crate) struct RowsOf<'a, W> {
    parts: Vec<&'a [W]>,
    k: usize,
}

impl<'a, W: Element> RowsOf<'a, W> {
    fn new(parts: &'a [Tensor<CpuBuffer>], k: usize) -> Self {
        // Loading has checked that the parts have this type and are aligned for it.
        let parts = parts.iter().map(|part| bytemuck::cast_slice(part.view().buffer.bytes())).collect();
        RowsOf { parts, k }
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

/// Rows of a weight in 4 bits, counted through its parts.
pub(crate) struct Int4Rows<'a> {
    parts: &'a [Int4],
    dtype: DType,
}

impl Int4Rows<'_> {
    /// Reads what row `n` of all parts stands for, its first `to.len()` columns.
    pub fn load<A: Real>(&self, mut n: usize, to: &mut [A]) {
        for part in self.parts {
            let height = part.parts().n;
            if n < height {
                let mut values = vec![0.0f32; part.parts().k];
                part.row(n, self.dtype, &mut values);
                return simd::load(&values, to);
            }
            n -= height;
        }
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
