//! Weights of random numbers, for measurements of models that are not there.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;

use super::manifest;
use super::safetensors::{Header, TensorInfo};
use super::shard::Shard;
use crate::model::config::Config;
use crate::model::random;
use crate::tensor::{Bytes, DType};
use crate::{Error, Result};

/// So many elements after one tensor begins the next. A prime: no two tensors begin at the same column of a row that they
/// share.
const STEP: usize = 997;
/// Deviation of the norms' weights from 1.
const NORM_DEVIATION: f64 = 0.25;

/// One shard of all tensors, as slices of numbers that they share: no more memory is needed than for the largest.
///
/// Linear weights, embeddings and biases have the deviation `1 / sqrt(hidden_size)`, so that a product with a normed row is of
/// ordinary size in every model; norms' weights lie around 1.
pub(super) fn shard(config: &Config, dtype: DType, seed: u64) -> Result<Shard> {
    if !matches!(dtype, DType::BF16 | DType::F16) {
        return Err(Error::argument("random_checkpoint", "dtype", "bf16 or f16", dtype));
    }
    let too_large =
        || Error::argument("random_checkpoint", "config", "fewer than 2^63 bytes", format!("{config:?}"));
    let (mut linears, mut norms) = (Pool::default(), Pool::default());
    let mut places = Vec::new();
    for (name, shape) in manifest::expected(config) {
        let is_norm = manifest::is_norm(&name);
        let elements = shape.iter().try_fold(1_usize, |elements, dim| elements.checked_mul(*dim));
        let pool = if is_norm { &mut norms } else { &mut linears };
        let place = elements.and_then(|elements| pool.place(elements)).ok_or_else(too_large)?;
        places.push((name, shape, is_norm, place));
    }
    // What is a size in memory and what is the sum of all tensors' sizes: neither overflows from here on.
    let size = dtype.size();
    let bytes = linears.end.checked_add(norms.end).and_then(|elements| elements.checked_mul(size));
    let bytes = bytes.filter(|bytes| isize::try_from(*bytes).is_ok()).ok_or_else(too_large)?;
    let sum = linears.sum.checked_add(norms.sum).and_then(|elements| elements.checked_mul(size as u64));
    sum.ok_or_else(too_large)?;

    let tensors: BTreeMap<_, _> = places
        .into_iter()
        .map(|(name, shape, is_norm, place)| {
            let first = if is_norm { linears.end } else { 0 };
            let bytes = (first + place.start) * size..(first + place.end) * size;
            (name, TensorInfo { dtype, shape, bytes })
        })
        .collect();
    let mut data: Vec<u8> =
        bytemuck::allocation::try_zeroed_vec(bytes).map_err(|()| Error::OutOfMemory { bytes })?;
    let (of_linears, of_norms) = data.split_at_mut(linears.end * size);
    random::fill(of_linears, dtype, 0.0, 1.0 / (config.hidden_size.max(1) as f64).sqrt(), seed);
    random::fill(of_norms, dtype, 1.0, NORM_DEVIATION, seed.wrapping_add(1));
    Ok(Shard::in_memory(PathBuf::from("random weights"), Header { tensors }, Bytes::new(data)))
}

/// Elements that tensors share.
#[derive(Default)]
struct Pool {
    tensors: usize,
    /// One past the last element of any tensor.
    end: usize,
    /// Elements of all tensors together, each counted as often as there are tensors that have it.
    sum: u64,
}

impl Pool {
    /// Which of them the next tensor has; `None` where that cannot be counted.
    fn place(&mut self, elements: usize) -> Option<Range<usize>> {
        let start = self.tensors.checked_mul(STEP)?;
        let end = start.checked_add(elements)?;
        self.tensors += 1;
        self.end = self.end.max(end);
        self.sum = self.sum.checked_add(elements as u64)?;
        Some(start..end)
    }
}
