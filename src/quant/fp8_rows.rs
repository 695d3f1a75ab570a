//! Weights in [`fp8`] with a scale for each output channel, as Meta's 405B checkpoint and the dynamic schemes of
//! other formats hold them.

use super::fp8;
use super::fp8_codes::{check_codes, check_scales};
use super::source::{COLUMN_MULTIPLE, Sources};
use crate::tensor::{DType, HostTensor};
use crate::{Result, par};

const OP: &str = "fp8";

/// A weight whose rows are quantised each by itself: `w[n,k] = decode(codes[n,k]) * scales[n]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Fp8Rows {
    n: usize,
    k: usize,
    codes: Vec<u8>,
    scales: Vec<f32>,
}

impl Fp8Rows {
    /// Quantises `weight`, `[n, k]` in floats: `scale = absmax / 448` over the row, 1 where that is zero, and
    /// `code = encode(w / scale)`, all in f32 (an f64 is rounded to it first).
    ///
    /// [`Error::Argument`](crate::Error::Argument) where `n` is no multiple of 8 or `k` none of 16, and for a weight that is
    /// not finite, with its row and column.
    pub fn quantize(weight: &HostTensor) -> Result<Self> {
        let rows = weight.shape.first().copied().unwrap_or(0);
        let rows: Vec<_> = (0..rows).map(|row| (0, row)).collect();
        Fp8Rows::quantize_rows(std::slice::from_ref(weight), &rows)
    }

    /// [`Fp8Rows::quantize`] of rows of several matrices of one width, each given by its matrix and its number there.
    pub(crate) fn quantize_rows(weights: &[HostTensor], rows: &[(usize, usize)]) -> Result<Self> {
        let sources = Sources::new(OP, weights, COLUMN_MULTIPLE)?;
        let (n, k) = (rows.len(), sources.k);
        let rows = par::map(n, |i| {
            let (mut weights, mut codes) = (vec![0.0; k], vec![0; k]);
            sources.row(rows[i], DType::F32, &mut weights)?;
            let scale = fp8::quantize(&weights, &mut codes);
            Ok((codes, scale))
        });
        let (mut codes, mut scales) = (Vec::with_capacity(n * k), Vec::with_capacity(n));
        for row in rows {
            let (row, scale) = row?;
            codes.extend(row);
            scales.push(scale);
        }
        Ok(Fp8Rows { n, k, codes, scales })
    }

    /// A weight that comes as codes `[n, k]` and a scale for each row.
    ///
    /// [`Error::Argument`](crate::Error::Argument) where `n` is no multiple of 8 or `k` none of 16, where codes or scales are
    /// not as many, and for a code that is NaN or a scale that is not finite, with its place.
    pub fn new(shape: [usize; 2], codes: Vec<u8>, scales: Vec<f32>) -> Result<Self> {
        check_codes(OP, shape, &codes)?;
        let [n, k] = shape;
        check_scales(OP, [n, 1], &scales)?;
        Ok(Fp8Rows { n, k, codes, scales })
    }

    /// Rows and columns.
    pub fn shape(&self) -> [usize; 2] {
        [self.n, self.k]
    }

    /// e4m3 `[n, k]`.
    pub fn codes(&self) -> &[u8] {
        &self.codes
    }

    /// `[n]`.
    pub fn scales(&self) -> &[f32] {
        &self.scales
    }

    /// Bytes of codes and scales.
    pub fn num_bytes(&self) -> usize {
        self.codes.len() + size_of_val(&self.scales[..])
    }
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
    fn each_row_has_its_own_scale_and_its_own_order() {
        let value = |row: usize, column: usize| (column as f32 - 7.0) * 2f32.powi(row as i32 - 3);
        let values: Vec<f32> = (0..8 * 16).map(|i| value(i / 16, i % 16)).collect();
        let weight = Fp8Rows::quantize(&tensor([8, 16], &values)).unwrap();
        assert_eq!((weight.shape(), weight.num_bytes()), ([8, 16], 8 * 16 + 8 * 4));
        for row in 0..8 {
            // The largest of each row is 8 of its units.
            let scale = value(row, 15) / 448.0;
            assert_eq!(weight.scales()[row], scale);
            for column in 0..16 {
                let code = weight.codes()[row * 16 + column];
                assert_eq!(code, fp8::encode(value(row, column) / scale), "{row}, {column}");
            }
        }
    }

    #[test]
    fn codes_make_the_same_weight_and_are_checked() {
        let values: Vec<f32> = (0..8 * 16).map(|i| i as f32 - 60.0).collect();
        let weight = Fp8Rows::quantize(&tensor([8, 16], &values)).unwrap();
        let codes = weight.codes().to_vec();
        assert_eq!(Fp8Rows::new([8, 16], codes.clone(), weight.scales().to_vec()).unwrap(), weight);
        let refused = |codes: Vec<u8>, scales: Vec<f32>, text: &str| {
            assert_eq!(Fp8Rows::new([8, 16], codes, scales).unwrap_err().to_string(), text);
        };
        refused(codes.clone(), vec![1.0; 7], "fp8: scales: expected [8, 1] scales, got 7");
        let nan = [vec![1.0; 7], vec![f32::NAN]].concat();
        refused(codes.clone(), nan, "fp8: scales: expected finite numbers, got NaN at [7, 0]");
        let nan = [codes[..127].to_vec(), vec![fp8::NAN]].concat();
        refused(nan, vec![1.0; 8], "fp8: codes: expected numbers, got NaN at row 7, column 15");
    }

    #[test]
    fn zeros_have_the_scale_one() {
        let weight = Fp8Rows::quantize(&tensor([8, 16], &[0.0; 128])).unwrap();
        assert!(weight.codes().iter().all(|&code| code == 0) && weight.scales() == [1.0; 8]);
    }

    #[test]
    fn what_is_not_finite_is_refused_with_its_place() {
        for (bad, shown) in [(f32::NAN, "NaN"), (f32::NEG_INFINITY, "-inf")] {
            let mut values = [1.0; 128];
            values[3 * 16 + 5] = bad;
            let error = Fp8Rows::quantize(&tensor([8, 16], &values)).unwrap_err().to_string();
            assert_eq!(
                error,
                format!("fp8: weight: expected finite numbers in f32, got {shown} at row 3, column 5 of w")
            );
        }
    }

    #[test]
    fn shapes_are_checked() {
        for (shape, expected) in [
            ([7, 16], "rows in a multiple of 8"),
            ([8, 24], "columns in a multiple of 16"),
            ([8, 0], "columns"),
        ] {
            let error = Fp8Rows::quantize(&tensor(shape, &vec![0.0; shape[0] * shape[1]])).unwrap_err();
            assert!(error.to_string().starts_with(&format!("fp8: weight: expected {expected}")), "{error}");
        }
        let mut short = tensor([8, 16], &[0.0; 127]);
        let error = Fp8Rows::quantize(&short).unwrap_err().to_string();
        assert_eq!(error, "fp8: weight: expected [8, 16] in f32, got 508 bytes in w");
        (short.dtype, short.shape) = (DType::I32, vec![127]);
        assert!(Fp8Rows::quantize(&short).unwrap_err().to_string().contains("a matrix of floats"));
    }
}
