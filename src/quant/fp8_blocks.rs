//! Weights in [`fp8`] with a scale for each block of 128 x 128, as block-quantised checkpoints hold them.

use super::fp8;
use super::fp8_codes::{check_codes, check_scales};
use super::source::{COLUMN_MULTIPLE, Sources};
use crate::params::FP8_GROUP_COLUMNS;
use crate::tensor::{DType, HostTensor};
use crate::{Result, par};

const OP: &str = "fp8";

/// Rows, and columns, of a block.
pub const BLOCK: usize = FP8_GROUP_COLUMNS as usize;

/// A weight whose blocks are quantised each by itself: `w[n,k] = decode(codes[n,k]) * scales[n / 128, k / 128]`. The last block
/// of each direction may be smaller.
#[derive(Clone, Debug, PartialEq)]
pub struct Fp8Blocks {
    n: usize,
    k: usize,
    codes: Vec<u8>,
    scales: Vec<f32>,
}

impl Fp8Blocks {
    /// A weight that comes as codes `[n, k]` and scales `[ceil(n / 128), ceil(k / 128)]`.
    ///
    /// [`Error::Argument`](crate::Error::Argument) where `n` is no multiple of 8 or `k` none of 16, where codes or scales are
    /// not as many, and for a code that is NaN or a scale that is not finite, with its place.
    pub fn new(shape: [usize; 2], codes: Vec<u8>, scales: Vec<f32>) -> Result<Self> {
        check_codes(OP, shape, &codes)?;
        let [n, k] = shape;
        check_scales(OP, scale_shape(shape), &scales)?;
        Ok(Fp8Blocks { n, k, codes, scales })
    }

    /// Quantises `weight`, `[n, k]` in floats: `scale = absmax / 448` over the block, 1 where that is zero, and
    /// `code = encode(w / scale)`, all in f32 (an f64 is rounded to it first).
    ///
    /// [`Error::Argument`](crate::Error::Argument) where `n` is no multiple of 8 or `k` none of 16, and for a weight that is
    /// not finite, with its row and column.
    pub fn quantize(weight: &HostTensor) -> Result<Self> {
        let sources = Sources::new(OP, std::slice::from_ref(weight), COLUMN_MULTIPLE)?;
        let (n, k) = (weight.shape[0], sources.k);
        // A row of blocks at a time.
        let strips = par::map(n.div_ceil(BLOCK), |strip| {
            let rows = strip * BLOCK..n.min((strip + 1) * BLOCK);
            let mut weights = vec![0.0; rows.len() * k];
            for (row, weights) in rows.zip(weights.chunks_mut(k)) {
                sources.row((0, row), DType::F32, weights)?;
            }
            let mut absmax = vec![0.0f32; k.div_ceil(BLOCK)];
            for row in weights.chunks(k) {
                for (absmax, weights) in absmax.iter_mut().zip(row.chunks(BLOCK)) {
                    *absmax = weights.iter().fold(*absmax, |absmax, w| absmax.max(w.abs()));
                }
            }
            let scales: Vec<f32> = absmax.into_iter().map(fp8::scale).collect();
            let scale_of = |i: usize| scales[i % k / BLOCK];
            let codes: Vec<u8> =
                weights.iter().enumerate().map(|(i, w)| fp8::encode(w / scale_of(i))).collect();
            Ok((codes, scales))
        });
        let (mut codes, mut scales) = (Vec::with_capacity(n * k), Vec::new());
        for strip in strips {
            let (of_strip, scales_of_strip) = strip?;
            codes.extend(of_strip);
            scales.extend(scales_of_strip);
        }
        Ok(Fp8Blocks { n, k, codes, scales })
    }

    /// Rows and columns.
    pub fn shape(&self) -> [usize; 2] {
        [self.n, self.k]
    }

    /// e4m3 `[n, k]`.
    pub fn codes(&self) -> &[u8] {
        &self.codes
    }

    /// `[ceil(n / 128), ceil(k / 128)]`.
    pub fn scales(&self) -> &[f32] {
        &self.scales
    }

    /// The scales of one row.
    pub(crate) fn row_scales(&self, row: usize) -> &[f32] {
        let columns = self.k.div_ceil(BLOCK);
        &self.scales[row / BLOCK * columns..][..columns]
    }

    /// Bytes of codes and scales.
    pub fn num_bytes(&self) -> usize {
        self.codes.len() + size_of_val(&self.scales[..])
    }
}

/// Blocks in each direction.
fn scale_shape([n, k]: [usize; 2]) -> [usize; 2] {
    [n.div_ceil(BLOCK), k.div_ceil(BLOCK)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Bytes;

    fn tensor(shape: [usize; 2], values: &[f32]) -> HostTensor {
        let data: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        HostTensor { name: "w".into(), dtype: DType::F32, shape: shape.to_vec(), data: Bytes::new(data) }
    }

    #[test]
    fn each_block_has_its_own_scale() {
        let (n, k) = (136, 272);
        let unit = |row: usize, column: usize| 2f32.powi((row / BLOCK * 3 + column / BLOCK) as i32);
        let value = |i: usize| {
            let (row, column) = (i / k, i % k);
            ((row * 7 + column * 5) % 31) as f32 * unit(row, column)
        };
        let values: Vec<f32> = (0..n * k).map(value).collect();
        let weight = Fp8Blocks::quantize(&tensor([n, k], &values)).unwrap();
        assert_eq!((weight.shape(), weight.num_bytes()), ([n, k], n * k + 6 * 4));
        assert_eq!(weight.scales(), [1.0, 2.0, 4.0, 8.0, 16.0, 32.0].map(|unit| 30.0 * unit / 448.0));
        for (i, (&code, value)) in weight.codes().iter().zip(values).enumerate() {
            let scale = weight.row_scales(i / k)[i % k / BLOCK];
            assert_eq!(code, fp8::encode(value / scale), "{i}");
        }
        // The same from its codes.
        let again = Fp8Blocks::new([n, k], weight.codes().to_vec(), weight.scales().to_vec());
        assert_eq!(again.unwrap(), weight);
    }

    #[test]
    fn zeros_have_the_scale_one() {
        let weight = Fp8Blocks::quantize(&tensor([8, 16], &[0.0; 128])).unwrap();
        assert!(weight.codes().iter().all(|&code| code == 0) && weight.scales() == [1.0]);
    }

    #[test]
    fn what_is_no_weight_is_refused_with_its_place() {
        let refused = |shape: [usize; 2], codes: Vec<u8>, scales: &[f32], text: &str| {
            let error = Fp8Blocks::new(shape, codes, scales.to_vec()).unwrap_err().to_string();
            assert_eq!(error, text);
        };
        refused([7, 16], vec![0; 112], &[1.0], "fp8: codes: expected rows in a multiple of 8, got 7 rows");
        refused(
            [8, 24],
            vec![0; 192],
            &[1.0],
            "fp8: codes: expected columns in a multiple of 16, got 24 columns",
        );
        refused([8, 0], vec![], &[], "fp8: codes: expected columns in a multiple of 16, got 0 columns");
        refused([8, 16], vec![0; 127], &[1.0], "fp8: codes: expected [8, 16] codes, got 127");
        refused([8, 144], vec![0; 1152], &[1.0], "fp8: scales: expected [1, 2] scales, got 1");
        refused(
            [usize::MAX - 7, 16],
            vec![],
            &[],
            "fp8: codes: expected [18446744073709551608, 16] codes, got 0",
        );
        for nan in [0x7F, 0xFF] {
            let mut codes = vec![0x7E; 128];
            codes[3 * 16 + 5] = nan;
            refused([8, 16], codes, &[1.0], "fp8: codes: expected numbers, got NaN at row 3, column 5");
        }
        let scales = [1.0, f32::INFINITY];
        refused([8, 144], vec![0; 1152], &scales, "fp8: scales: expected finite numbers, got inf at [0, 1]");
        let mut values = [1.0; 128];
        values[17] = f32::NAN;
        let error = Fp8Blocks::quantize(&tensor([8, 16], &values)).unwrap_err().to_string();
        assert_eq!(error, "fp8: weight: expected finite numbers in f32, got NaN at row 1, column 1 of w");
    }
}
