//! Weights on their way from a checkpoint to the device, in the order that the kernels want.

use std::ops::Range;

use crate::backend::{RowOrder, WeightSource, check_bytes};
use crate::gpu::{Buffer, Staging, Stream};
use crate::params::MATMUL_SWIGLU_BLOCK;
use crate::reference::convert;
use crate::tensor::{DType, HostTensor, Tensor};
use crate::{Error, Result};

const BLOCK: usize = MATMUL_SWIGLU_BLOCK as usize;

/// A linear weight or an embedding table in a GPU's memory.
#[derive(Debug)]
pub struct GpuWeight {
    /// `[N, K]` in the type of the activations.
    pub(super) rows: Tensor<Buffer>,
    /// `[N]`, likewise.
    pub(super) bias: Option<Tensor<Buffer>>,
    pub(super) order: RowOrder,
}

/// Where the bytes of a checkpoint go.
pub(super) struct Loader<'a> {
    pub stream: &'a Stream,
    pub staging: &'a mut Staging,
    /// The type of the activations.
    pub dtype: DType,
}

impl Loader<'_> {
    /// Copies the parts of a weight, through host memory of a few megabytes, to where their rows belong.
    pub fn weight(&mut self, source: &WeightSource) -> Result<GpuWeight> {
        super::check_format(source.format)?;
        let shape = source.check()?;
        let heights: Vec<usize> = source.parts.iter().map(|part| part.shape[0]).collect();
        if source.rows == RowOrder::GateUp && !heights[0].is_multiple_of(BLOCK) {
            let expected = format!("gate and up whose height is a multiple of {BLOCK}");
            let given = format!("heights {heights:?}");
            return Err(Error::argument("load_weight", "parts", expected, given));
        }
        let runs = runs(source.rows, &heights);
        Ok(GpuWeight {
            rows: self.copy(&source.parts, &runs, &[shape.rows, shape.k])?,
            bias: match source.biases.is_empty() {
                true => None,
                false => Some(self.copy(&source.biases, &runs, &[shape.rows])?),
            },
            order: source.rows,
        })
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
    fn copy(
        &mut self,
        parts: &[HostTensor],
        runs: &[(usize, Range<usize>)],
        shape: &[usize],
    ) -> Result<Tensor<Buffer>> {
        let (size, width) = (self.dtype.size(), shape[1..].iter().product::<usize>());
        let bytes = shape.iter().try_fold(size, |bytes, &dim| bytes.checked_mul(dim));
        let bytes = bytes.ok_or(Error::OutOfMemory { bytes: usize::MAX })?;
        let mut buffer = self.stream.device().allocate(bytes)?;
        let mut upload = self.staging.begin(self.stream, &mut buffer, 0);
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
        Tensor::new(buffer, self.dtype, shape)
    }
}

/// Which rows of which part stand one behind the other on the device.
fn runs(order: RowOrder, heights: &[usize]) -> Vec<(usize, Range<usize>)> {
    match order {
        RowOrder::Concatenated => heights.iter().map(|&height| 0..height).enumerate().collect(),
        RowOrder::GateUp => (0..heights[0] / BLOCK)
            .map(|block| block * BLOCK..(block + 1) * BLOCK)
            .flat_map(|rows| [(0, rows.clone()), (1, rows)])
            .collect(),
    }
}

fn no_vector(source: &HostTensor) -> Error {
    let given = format!("{} of type {} and shape {:?}", source.name, source.dtype, source.shape);
    Error::argument("load_vector", "source", "a vector of floats", given)
}
