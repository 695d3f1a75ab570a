//! Weights on their way from a checkpoint to the device, in the order that the kernels want.

use std::ops::Range;

use crate::backend::{RowOrder, WeightFormat, WeightSource, check_bytes};
use crate::gpu::{Buffer, Staging, Stream};
use crate::params::MATMUL_SWIGLU_BLOCK;
use crate::quant::fp8_rows::Fp8Rows;
use crate::quant::int4::{GroupSize, Int4, Packed};
use crate::reference::convert;
use crate::tensor::{DType, HostTensor, Tensor};
use crate::{Error, Result};

const BLOCK: usize = MATMUL_SWIGLU_BLOCK as usize;

/// Rows of a [`Packed`]'s tile, which are packed together.
const ROW_TILE: usize = Packed::TILE;

/// Weights that are quantised at a time: so many bytes of codes (half as many in 4 bits) wait for the device while the next
/// are made.
const QUANTIZED_AT_ONCE: usize = 4 << 20;

/// A linear weight or an embedding table in a GPU's memory.
#[derive(Debug)]
pub struct GpuWeight {
    pub(super) matrix: Matrix,
    /// `[N]` in the type of the activations.
    pub(super) bias: Option<Tensor<Buffer>>,
    pub(super) order: RowOrder,
}

/// The rows of a weight by [`WeightFormat`], those of gate and up in blocks of 8 in turn.
#[derive(Debug)]
pub(super) enum Matrix {
    /// `[N, K]` in the type of the activations.
    Native(Tensor<Buffer>),
    /// In the order of a [`Packed`].
    Int4 { n: usize, k: usize, codes: Tensor<Buffer>, scales: Tensor<Buffer>, integer_zeros: bool },
    /// e4m3 `[N, K]`, and f32 `[N, 1]`.
    Fp8 { codes: Tensor<Buffer>, scales: Tensor<Buffer> },
}

impl GpuWeight {
    /// The rows of an embedding table.
    pub(super) fn table(&self, op: &'static str) -> Result<&Tensor<Buffer>> {
        match &self.matrix {
            Matrix::Native(rows) => Ok(rows),
            _ => Err(Error::argument(op, "table", "a native weight", format!("one in {}", self.format()))),
        }
    }

    /// What the weight is held in, in a word.
    pub(super) fn format(&self) -> &'static str {
        match self.matrix {
            Matrix::Native(_) => "16 bits",
            Matrix::Int4 { .. } => "int4",
            Matrix::Fp8 { .. } => "fp8",
        }
    }
}

/// Where the bytes of a checkpoint go.
pub(super) struct Loader<'a> {
    pub stream: &'a Stream,
    pub staging: &'a mut Staging,
    /// The type of the activations.
    pub dtype: DType,
}

impl Loader<'_> {
    /// Brings the parts of a weight, in their format, to where their rows belong. Beside the checkpoint this takes a few
    /// megabytes of host memory, however large the weight is: some rows are converted, or quantised on all cores, while the
    /// device copies those before them.
    pub fn weight(&mut self, source: &WeightSource) -> Result<GpuWeight> {
        let shape = source.check()?;
        let heights: Vec<usize> = source.parts.iter().map(|part| part.shape[0]).collect();
        if source.rows == RowOrder::GateUp && !heights[0].is_multiple_of(BLOCK) {
            let expected = format!("gate and up whose height is a multiple of {BLOCK}");
            let given = format!("heights {heights:?}");
            return Err(Error::argument("load_weight", "parts", expected, given));
        }
        let runs = runs(source.rows, &heights);
        let size = [shape.rows, shape.k];
        Ok(GpuWeight {
            matrix: match source.format {
                WeightFormat::Native => Matrix::Native(self.copy(&source.parts, &runs, &size)?),
                WeightFormat::Int4 { group_size } => self.int4(&source.parts, &runs, size, group_size)?,
                WeightFormat::Fp8 => self.fp8(&source.parts, &runs, size)?,
            },
            bias: match source.biases.is_empty() {
                true => None,
                false => Some(self.copy(&source.biases, &runs, &[shape.rows])?),
            },
            order: source.rows,
        })
    }

    /// Quantises rows to 4 bits, in the order of the kernels.
    fn int4(
        &mut self,
        parts: &[HostTensor],
        runs: &[Run],
        [n, k]: [usize; 2],
        group_size: GroupSize,
    ) -> Result<Matrix> {
        let dtype = self.dtype;
        let quantize = |rows: &[(usize, usize)]| {
            Int4::quantize_rows(parts, rows, dtype, group_size).map(|weight| Packed::new(&weight))
        };
        // Of no rows: checks the parts before memory is taken for them.
        let [_, groups, arrays, tile] = quantize(&[])?.scales_shape();
        let mut codes = self.allocate(DType::U8, &[Packed::bytes_of_codes(n, k)])?;
        let mut scales = self.allocate(dtype, &[n.div_ceil(tile), groups, arrays, tile])?;
        let (mut codes_at, mut scales_at, mut integer_zeros) = (0, 0, true);
        for rows in rows(runs).chunks(rows_at_once(k)) {
            let packed = quantize(rows)?;
            codes_at = self.write(&mut codes, codes_at, packed.codes())?;
            scales_at = self.write(&mut scales, scales_at, bytemuck::cast_slice(packed.scales()))?;
            integer_zeros &= packed.integer_zeros();
        }
        Ok(Matrix::Int4 { n, k, codes, scales, integer_zeros })
    }

    /// Quantises rows to fp8, each with its scale.
    fn fp8(&mut self, parts: &[HostTensor], runs: &[Run], [n, k]: [usize; 2]) -> Result<Matrix> {
        let quantize = |rows: &[(usize, usize)]| Fp8Rows::quantize_rows(parts, rows);
        quantize(&[])?;
        let mut codes = self.allocate(DType::F8E4M3, &[n, k])?;
        let mut scales = self.allocate(DType::F32, &[n, 1])?;
        let (mut codes_at, mut scales_at) = (0, 0);
        for rows in rows(runs).chunks(rows_at_once(k)) {
            let quantized = quantize(rows)?;
            codes_at = self.write(&mut codes, codes_at, quantized.codes())?;
            scales_at = self.write(&mut scales, scales_at, bytemuck::cast_slice(quantized.scales()))?;
        }
        Ok(Matrix::Fp8 { codes, scales })
    }

    /// Memory that nothing has been written to.
    fn allocate(&self, dtype: DType, shape: &[usize]) -> Result<Tensor<Buffer>> {
        let bytes = shape.iter().try_fold(dtype.size(), |bytes, &dim| bytes.checked_mul(dim));
        let bytes = bytes.ok_or(Error::OutOfMemory { bytes: usize::MAX })?;
        Tensor::new(self.stream.device().allocate(bytes)?, dtype, shape)
    }

    /// Copies bytes to `offset` of a tensor, and says where they end.
    fn write(&mut self, to: &mut Tensor<Buffer>, offset: usize, bytes: &[u8]) -> Result<usize> {
        self.staging.write(self.stream, to.view_mut().buffer, offset, bytes)?;
        Ok(offset + bytes.len())
    }

    /// Copies a vector of floats.
    pub fn vector(&mut self, source: HostTensor) -> Result<Tensor<Buffer>> {
        let &[len] = &source.shape[..] else { return Err(no_vector(&source)) };
        if !source.dtype.is_float() {
            return Err(no_vector(&source));
        }
        check_bytes("load_vector", "source", &source)?;
        self.copy(&[source], &[(0, 0..len)], &[len])
    }

    /// Copies the runs of rows one behind the other into a tensor of `shape`, the first dimension of which counts them.
    fn copy(&mut self, parts: &[HostTensor], runs: &[Run], shape: &[usize]) -> Result<Tensor<Buffer>> {
        let (size, width) = (self.dtype.size(), shape[1..].iter().product::<usize>());
        let mut tensor = self.allocate(self.dtype, shape)?;
        let mut upload = self.staging.begin(self.stream, tensor.view_mut().buffer, 0);
        for (part, rows) in runs {
            let HostTensor { dtype: from, data, .. } = &parts[*part];
            let row = width * from.size();
            let source = &data[rows.start * row..rows.end * row];
            upload.append(rows.len() * width * size, |done, out| {
                let begin = done / size * from.size();
                let end = begin + out.len() / size * from.size();
                convert(*from, &source[begin..end], self.dtype, out);
            })?;
        }
        upload.finish()?;
        Ok(tensor)
    }
}

/// Neighbouring rows of a part.
type Run = (usize, Range<usize>);

/// Which rows of which part stand one behind the other on the device.
fn runs(order: RowOrder, heights: &[usize]) -> Vec<Run> {
    match order {
        RowOrder::Concatenated => heights.iter().map(|&height| 0..height).enumerate().collect(),
        RowOrder::GateUp => (0..heights[0] / BLOCK)
            .map(|block| block * BLOCK..(block + 1) * BLOCK)
            .flat_map(|rows| [(0, rows.clone()), (1, rows)])
            .collect(),
    }
}

/// The same, row by row.
fn rows(runs: &[Run]) -> Vec<(usize, usize)> {
    runs.iter().flat_map(|(part, rows)| rows.clone().map(|row| (*part, row))).collect()
}

/// How many rows of `k` columns are quantised at a time: whole tiles of a [`Packed`].
fn rows_at_once(k: usize) -> usize {
    (QUANTIZED_AT_ONCE / k.max(1) / ROW_TILE * ROW_TILE).max(ROW_TILE)
}

fn no_vector(source: &HostTensor) -> Error {
    let given = format!("{} of type {} and shape {:?}", source.name, source.dtype, source.shape);
    Error::argument("load_vector", "source", "a vector of floats", given)
}

#[cfg(all(test, feature = "sim"))]
mod tests;
