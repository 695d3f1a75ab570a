use super::*;
use crate::random::SplitMix64 as Rng;

impl Rng {
    /// Roughly normal, of this deviation.
    fn weight(&mut self, deviation: f32) -> f32 {
        let bits = self.next();
        let sum: u64 = (0..4).map(|i| bits >> (16 * i) & 0xFFFF).sum();
        (sum as f32 - 131_070.0) / 37_837.0 * deviation
    }
}

const TYPES: [DType; 2] = [DType::BF16, DType::F16];
const SIZES: [GroupSize; 4] = [GroupSize::Of32, GroupSize::Of64, GroupSize::Of128, GroupSize::Row];

fn tensor(dtype: DType, shape: [usize; 2], values: &[f32]) -> HostTensor {
    let data: Vec<u8> = match dtype {
        DType::F32 => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
        _ => values.iter().flat_map(|&x| bits(dtype, x).to_le_bytes()).collect(),
    };
    HostTensor { name: "w".into(), dtype, shape: shape.to_vec(), data: Bytes::new(data) }
}

fn rows(weight: &Int4, dtype: DType) -> Vec<f32> {
    let Int4Parts { n, k, .. } = *weight.parts();
    let mut all = vec![0.0; n * k];
    all.chunks_mut(k).enumerate().for_each(|(row, out)| weight.row(row, dtype, out));
    all
}

/// The sum of squares that the best of all scales leaves, each weight at the nearest of the 16 values.
fn least_error(dtype: DType, weights: &[f32]) -> f64 {
    let error = |scale: f32| -> f64 {
        let values = values(8.0, scale, dtype).map(f64::from);
        let nearest =
            |w: f32| values.iter().map(|v| (v - f64::from(w)).powi(2)).fold(f64::INFINITY, f64::min);
        weights.iter().map(|&w| nearest(w)).sum()
    };
    let scales = (0..=u16::MAX).map(|bits| value(dtype, bits)).filter(|scale| scale.is_finite());
    scales.map(error).fold(f64::INFINITY, f64::min)
}

fn error(weights: &[f32], values: &[f32]) -> f64 {
    weights.iter().zip(values).map(|(a, b)| f64::from(a - b).powi(2)).sum()
}

#[test]
fn the_search_is_close_to_trying_every_scale() {
    let mut rng = Rng(1);
    for dtype in TYPES {
        let weights: Vec<f32> = (0..8 * 32).map(|_| round(dtype, rng.weight(0.02))).collect();
        let quantized = Int4::quantize(&tensor(dtype, [8, 32], &weights), dtype, GroupSize::Of32).unwrap();
        let values = rows(&quantized, dtype);
        let (mut ours, mut least) = (0.0, 0.0);
        for (weights, values) in weights.chunks(32).zip(values.chunks(32)) {
            let (error, best) = (error(weights, values), least_error(dtype, weights));
            assert!(error >= best * (1.0 - 1e-12), "{dtype}: {error} is less than the least, {best}");
            ours += error;
            least += best;
        }
        assert!(ours <= 1.03 * least, "{dtype}: {ours} in all, {least} would do");
    }
}

/// `absmax / 8` with the sign of the largest, as GGUF's Q4_0 has it, leaves more.
#[test]
fn the_search_beats_scales_without_one() {
    let mut rng = Rng(2);
    for dtype in TYPES {
        let weights: Vec<f32> = (0..8 * 128).map(|_| round(dtype, rng.weight(0.02))).collect();
        let quantized = Int4::quantize(&tensor(dtype, [8, 128], &weights), dtype, GroupSize::Of128).unwrap();
        let ours = error(&weights, &rows(&quantized, dtype));
        let plain: f64 = weights
            .chunks(128)
            .map(|weights| {
                let max = weights.iter().fold(0f32, |max, &w| if w.abs() > max.abs() { w } else { max });
                let scale = round(dtype, max / -8.0);
                let values = values(8.0, scale, dtype);
                let values: Vec<f32> =
                    weights.iter().map(|&w| values[usize::from(code(w, 1.0 / f64::from(scale)))]).collect();
                error(weights, &values)
            })
            .sum();
        assert!(ours < 0.97 * plain, "{dtype}: {ours}, plain {plain}");
        // A step of 0.335 deviations is the optimum for 16 levels of a normal variable: an error of 0.0115 of its variance.
        let variance: f64 = weights.iter().map(|&w| f64::from(w).powi(2)).sum();
        assert!((0.006..0.0125).contains(&(ours / variance)), "{dtype}: {}", ours / variance);
    }
}

#[test]
fn what_four_bits_hold_survives_bit_by_bit() {
    let mut rng = Rng(3);
    for dtype in TYPES {
        for group_size in SIZES {
            let (n, k) = (128, 256);
            let group = group_size.columns(k);
            let mut weights = vec![0.0; n * k];
            for (i, weights) in weights.chunks_mut(group).enumerate() {
                let scale = round(dtype, rng.weight(0.01) + 0.001);
                // Groups of few codes and of many, with and without the lowest; and of almost nothing but zeros.
                let (lowest, most) = [(0, 16), (1, 15), (5, 7), (8, 2), (6, 3), (0, 16), (0, 16)][i % 7];
                for (column, w) in weights.iter_mut().enumerate() {
                    let code = if i % 7 > 4 && column > 1 { 8 } else { lowest + rng.next() % most };
                    *w = round(dtype, (code as f32 - 8.0) * scale);
                }
            }
            let source = tensor(dtype, [n, k], &weights);
            let quantized = Int4::quantize(&source, dtype, group_size).unwrap();
            // A negative scale makes no negative zero.
            let expected: Vec<u32> = weights.iter().map(|w| (w + 0.0).to_bits()).collect();
            let values: Vec<u32> = rows(&quantized, dtype).iter().map(|w| (w + 0.0).to_bits()).collect();
            assert!(values == expected, "{dtype}, {group_size:?}");
        }
    }
}

#[test]
fn no_weight_moves_by_more_than_a_step() {
    let mut rng = Rng(4);
    for (dtype, stored) in [(DType::BF16, DType::BF16), (DType::F16, DType::F16), (DType::F32, DType::BF16)] {
        let weights: Vec<f32> = (0..8 * 64).map(|_| round(dtype, rng.weight(1.0))).collect();
        let quantized = Int4::quantize(&tensor(dtype, [8, 64], &weights), stored, GroupSize::Of64).unwrap();
        let values = rows(&quantized, stored);
        for ((weights, values), &scale) in
            weights.chunks(64).zip(values.chunks(64)).zip(&quantized.parts().scales)
        {
            let step = value(stored, scale).abs();
            for (w, v) in weights.iter().zip(values) {
                // Half a step, and half a unit of an 8-bit mantissa; more only beyond the last code.
                let inside = w.abs() <= 7.0 * step;
                let bound = if inside { 0.5 * step + w.abs() / 256.0 } else { 5.0 * step };
                assert!((w - v).abs() <= bound, "{dtype}: {w} became {v} by steps of {step}");
            }
        }
    }
}

#[test]
fn codes_stand_where_they_belong() {
    // The code of an element tells its index, the scale of a group its number.
    let (n, k) = (8, 128);
    let code = |row: usize, column: usize| (row * 5 + column * 3 + column / 16) % 16;
    for (dtype, to, group_size) in [
        (DType::BF16, DType::BF16, GroupSize::Of32),
        (DType::F16, DType::BF16, GroupSize::Of64),
        (DType::F16, DType::F16, GroupSize::Row),
    ] {
        let groups = k / group_size.columns(k);
        let scale = |row: usize, group: usize| (row * groups + group + 1) as f32 / 64.0;
        let zero = |row: usize, group: usize| (row + group) as f32 + 0.5;
        let pair = |i: usize| (code(i / (k / 2), i % (k / 2) * 2), code(i / (k / 2), i % (k / 2) * 2 + 1));
        let each = |of: &dyn Fn(usize, usize) -> f32| -> Vec<u16> {
            (0..n * groups).map(|i| bits(dtype, of(i / groups, i % groups))).collect()
        };
        for zeros in [None, Some(each(&zero))] {
            let asymmetric = zeros.is_some();
            let parts = Int4Parts {
                n,
                k,
                group_size,
                dtype,
                codes: (0..n * k / 2).map(pair).map(|(low, high)| (low | high << 4) as u8).collect(),
                scales: each(&scale),
                zeros,
            };
            let weight = Int4::new(parts.clone()).unwrap();
            assert_eq!(*weight.parts(), parts);
            assert_eq!(weight.num_bytes(), n * k / 2 + 2 * n * groups * if asymmetric { 2 } else { 1 });
            let values = rows(&weight, to);
            for (i, &w) in values.iter().enumerate() {
                let (row, column) = (i / k, i % k);
                let group = column / group_size.columns(k);
                let zero = if asymmetric { zero(row, group) } else { 8.0 };
                let expected = round(to, (code(row, column) as f32 - zero) * scale(row, group));
                assert_eq!(w.to_bits(), expected.to_bits(), "{dtype} to {to}: {row}, {column}");
            }
            let tensor = weight.dequantize("w", to).unwrap();
            let bytes: Vec<u8> = values.iter().flat_map(|&w| bits(to, w).to_le_bytes()).collect();
            assert!(tensor.data[..] == bytes && tensor.shape == [n, k] && tensor.dtype == to);
        }
    }
}

/// An f16 scale has more bits than a bf16 one: a weight of it is rounded to bf16 once, after the product.
#[test]
fn values_are_rounded_once_to_the_activations_type() {
    let scale = f16::from_f32(1.0 + 3.0 / 1024.0);
    // 7 + 21 / 1024, between 7 + 5 / 256 and 7 + 6 / 256 in f16, 7 and 7 + 1 / 32 in bf16.
    assert_eq!(values(8.0, scale.to_f32(), DType::F16)[15], 7.0 + 5.0 / 256.0);
    assert_eq!(values(8.0, scale.to_f32(), DType::BF16)[15], 7.03125);
    // Rounded before the product it would be 1, and 7.
    assert_eq!(bf16::from_f32(scale.to_f32()).to_f32(), 1.0);
}

#[test]
fn zeros_and_the_smallest_numbers_stay() {
    for dtype in TYPES {
        let mut weights = vec![0.0; 8 * 32];
        let smallest = value(dtype, 1);
        weights[32] = smallest;
        weights[64] = -smallest;
        weights[96] = value(dtype, 0x7BFF);
        let quantized = Int4::quantize(&tensor(dtype, [8, 32], &weights), dtype, GroupSize::Of32).unwrap();
        assert_eq!(quantized.parts().scales[0], bits(dtype, 1.0));
        assert!(quantized.parts().codes[..16].iter().all(|&pair| pair == 0x88));
        assert!(rows(&quantized, dtype).iter().zip(&weights).all(|(a, b)| a == b), "{dtype}");
    }
    // Too small for a scale in f16: zeros.
    let tiny = tensor(DType::F32, [8, 32], &[1e-20; 256]);
    let quantized = Int4::quantize(&tiny, DType::F16, GroupSize::Of32).unwrap();
    assert!(rows(&quantized, DType::F16).iter().all(|&w| w == 0.0));
}

#[test]
fn what_is_no_number_is_refused_with_its_place() {
    for (dtype, to, bad, shown) in [
        (DType::BF16, DType::BF16, f32::NAN, "finite numbers in bf16, got NaN"),
        (DType::F16, DType::F16, f32::INFINITY, "finite numbers in f16, got inf"),
        (DType::F32, DType::F16, 1e6, "finite numbers in f16, got 1000000"),
    ] {
        let mut weights = vec![0.5; 16 * 64];
        weights[9 * 64 + 40] = bad;
        weights[11 * 64] = bad;
        let error = Int4::quantize(&tensor(dtype, [16, 64], &weights), to, GroupSize::Of32).unwrap_err();
        assert_eq!(error.to_string(), format!("int4: weight: expected {shown} at row 9, column 40 of w"));
    }
}

#[test]
fn shapes_are_checked() {
    for (shape, group_size, expected) in [
        ([8, 96], GroupSize::Of128, "columns in a multiple of 128, got w of type bf16 and shape [8, 96]"),
        ([8, 40], GroupSize::Row, "columns in a multiple of 16, got w of type bf16 and shape [8, 40]"),
        ([8, 0], GroupSize::Row, "columns in a multiple of 16, got w of type bf16 and shape [8, 0]"),
        ([12, 64], GroupSize::Of64, "rows in a multiple of 8, got w of type bf16 and shape [12, 64]"),
    ] {
        let weight = tensor(DType::BF16, shape, &vec![0.0; shape[0] * shape[1]]);
        let error = Int4::quantize(&weight, DType::BF16, group_size).unwrap_err().to_string();
        assert_eq!(error, format!("int4: weight: expected {expected}"));
    }
    let weight = tensor(DType::F32, [8, 32], &[0.0; 256]);
    let error = Int4::quantize(&weight, DType::F32, GroupSize::Of32).unwrap_err().to_string();
    assert_eq!(error, "int4: dtype: expected bf16 or f16, got f32");
}

#[test]
fn arrays_are_checked() {
    let parts = Int4Parts {
        n: 8,
        k: 64,
        group_size: GroupSize::Of32,
        dtype: DType::F16,
        codes: vec![0; 256],
        scales: vec![0x3C00; 16],
        zeros: Some(vec![0x4C00; 16]),
    };
    Int4::new(parts.clone()).unwrap();
    let mut infinite = vec![0x4C00; 16];
    infinite[5] = 0x7C00;
    let wrong = [
        (Int4Parts { n: 7, ..parts.clone() }, "n: expected a multiple of 8, got 7"),
        (Int4Parts { k: 48, ..parts.clone() }, "k: expected a multiple of 32, got 48"),
        (Int4Parts { k: 0, ..parts.clone() }, "k: expected a multiple of 32, got 0"),
        (Int4Parts { codes: vec![0; 255], ..parts.clone() }, "codes: expected 256 elements, got 255"),
        (Int4Parts { scales: vec![0; 17], ..parts.clone() }, "scales: expected 16 elements, got 17"),
        (Int4Parts { zeros: Some(vec![]), ..parts.clone() }, "zeros: expected 16 elements, got 0"),
        (
            Int4Parts { zeros: Some(infinite), ..parts.clone() },
            "zeros: expected finite numbers in f16, got another at row 2, group 1",
        ),
        (Int4Parts { dtype: DType::F32, ..parts.clone() }, "dtype: expected bf16 or f16, got f32"),
        (Int4Parts { n: usize::MAX - 7, ..parts.clone() }, "codes: expected fewer elements, got 256"),
    ];
    for (parts, expected) in wrong {
        assert_eq!(Int4::new(parts).unwrap_err().to_string(), format!("int4: {expected}"));
    }
}
