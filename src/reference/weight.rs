//! Linear weights: left in the checkpoint's memory and element type, or quantised from there.

use std::ops::Range;

use half::{bf16, f16};

use super::CpuBuffer;
use super::access::Input;
use super::real::{E4m3, Element, Real};
use super::simd;
use crate::backend::{RowOrder, WeightFormat, WeightShape, WeightSource, check_bytes};
use crate::quant::fp8_blocks::{BLOCK, Fp8Blocks};
use crate::quant::fp8_rows::Fp8Rows;
use crate::quant::int4::Int4;
use crate::tensor::{DType, HostTensor, Tensor};
use crate::{Error, Result};

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
    Fp8Blocks(Vec<Fp8Blocks>),
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

    /// A weight whose parts are e4m3 codes with a scale for each row. It takes fp8 activations with one scale a token.
    ///
    /// [`Error::Argument`](crate::Error::Argument) where parts and biases do not fit each other.
    pub fn from_fp8_rows(parts: Vec<Fp8Rows>, biases: Vec<HostTensor>, rows: RowOrder) -> Result<Self> {
        let shapes: Vec<_> = parts.iter().map(Fp8Rows::shape).collect();
        CpuWeight::from_parts(Parts::Fp8(parts), &shapes, biases, rows)
    }

    /// A weight whose parts are e4m3 codes with a scale for each block of 128 x 128. It takes fp8 activations with a scale for
    /// each 128 columns, the last of which may be fewer:
    /// `y[m,n] = epilogue(sum_b xs[m,b] * ws[n/128,b] * sum_k xq[m,k] * wq[n,k] + bias[n])`, `k` the columns of `b`. Parts are
    /// counted in blocks each by itself.
    ///
    /// [`Error::Argument`](crate::Error::Argument) where parts and biases do not fit each other.
    pub fn from_fp8_blocks(parts: Vec<Fp8Blocks>, biases: Vec<HostTensor>, rows: RowOrder) -> Result<Self> {
        let shapes: Vec<_> = parts.iter().map(Fp8Blocks::shape).collect();
        CpuWeight::from_parts(Parts::Fp8Blocks(parts), &shapes, biases, rows)
    }

    fn from_parts(
        parts: Parts,
        shapes: &[[usize; 2]],
        biases: Vec<HostTensor>,
        order: RowOrder,
    ) -> Result<Self> {
        let wrong = |expected: &str| Error::argument(OP, "parts", expected, format!("shapes {shapes:?}"));
        let &[first, k] = shapes.first().ok_or_else(|| wrong("at least one matrix"))?;
        if shapes.iter().any(|shape| shape[1] != k) {
            return Err(wrong("matrices of one width"));
        }
        if order == RowOrder::GateUp && !matches!(shapes, [_, [up, _]] if *up == first) {
            return Err(wrong("gate and up of equal height"));
        }
        let heights = || shapes.iter().map(|shape| vec![shape[0]]);
        let given = || biases.iter().map(|bias| bias.shape.clone());
        if !biases.is_empty() && !given().eq(heights()) {
            let given = format!("shapes {:?}", given().collect::<Vec<_>>());
            return Err(Error::argument(OP, "biases", "one a part, as high, or none", given));
        }
        let rows = shapes.iter().map(|shape| shape[0]).sum();
        Ok(CpuWeight { parts, k, rows, order, bias: load_bias(biases)? })
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
            Parts::Fp8Blocks(parts) => Rows::Fp8Blocks(Fp8BlockRows {
                codes: RowsOf {
                    parts: parts.iter().map(|part| bytemuck::cast_slice(part.codes())).collect(),
                    k: self.k,
                },
                parts,
            }),
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
    Fp8Blocks(Fp8BlockRows<'a>),
}

/// Codes, and scales for blocks of rows and columns.
pub(crate) struct Fp8BlockRows<'a> {
    codes: RowsOf<'a, E4m3>,
    parts: &'a [Fp8Blocks],
}

impl<'a> Fp8BlockRows<'a> {
    /// The scales of row `n` of all parts, one for each [`BLOCK`] columns.
    pub fn scales(&self, mut n: usize) -> &'a [f32] {
        for part in self.parts {
            let [height, _] = part.shape();
            if n < height {
                return part.row_scales(n);
            }
            n -= height;
        }
        &[]
    }

    /// Reads the codes of row `n` of all parts, those of `columns`.
    pub fn load_codes<A: Real>(&self, n: usize, columns: Range<usize>, to: &mut [A]) {
        simd::load(&self.codes.row(n)[columns], to);
    }

    /// Reads what row `n` stands for.
    pub fn load<A: Real>(&self, n: usize, to: &mut [A]) {
        self.codes.load(n, to);
        for (values, &scale) in to.chunks_mut(BLOCK).zip(self.scales(n)) {
            values.iter_mut().for_each(|value| *value = *value * A::from_f32(scale));
        }
    }
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
