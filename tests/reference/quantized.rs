//! Matmuls by weights in 4 bits and in fp8.

use llama_kernels::backend::{
    Activation, ActivationMut, Backend, Embed, Epilogue, Matmul, QuantizeFp8, RowOrder, WeightFormat,
    WeightSource,
};
use llama_kernels::quant::fp8_blocks::Fp8Blocks;
use llama_kernels::quant::fp8_rows::Fp8Rows;
use llama_kernels::quant::int4::{GroupSize, Int4};
use llama_kernels::reference::{CpuBuffer, CpuWeight, Real};
use llama_kernels::tensor::{DType, HostTensor, Tensor};

use super::support::*;

const ORDERS: [(RowOrder, Epilogue); 2] =
    [(RowOrder::Concatenated, Epilogue::None), (RowOrder::GateUp, Epilogue::SwiGlu)];

fn load(parts: Vec<HostTensor>, biases: Vec<HostTensor>, rows: RowOrder, format: WeightFormat) -> CpuWeight {
    cpu::<f32>().load_weight(WeightSource { parts, biases, rows, format }).unwrap()
}

/// An fp8 activation with one scale a token.
struct Fp8 {
    codes: Tensor<CpuBuffer>,
    scale: Tensor<CpuBuffer>,
}

impl Fp8 {
    fn new(x: &Tensor<CpuBuffer>, groups: usize) -> Self {
        let [m, k] = *x.shape() else { panic!("a matrix") };
        let mut fp8 =
            Fp8 { codes: poisoned(DType::F8E4M3, &[m, k]), scale: poisoned(DType::F32, &[m, groups]) };
        let out = ActivationMut::Fp8 {
            codes: fp8.codes.view_mut(),
            scale: fp8.scale.view_mut(),
            rounded_to: x.dtype(),
        };
        cpu::<f32>().quantize_fp8(QuantizeFp8 { x: x.view(), out }).unwrap();
        fp8
    }

    fn read(&self) -> Activation<'_, CpuBuffer> {
        Activation::Fp8 { codes: self.codes.view(), scale: self.scale.view() }
    }
}

fn matmul<A: Real>(
    weight: &CpuWeight,
    epilogue: Epilogue,
    x: Activation<'_, CpuBuffer>,
    shape: [usize; 2],
    dtype: DType,
) -> Vec<f64> {
    let mut out = poisoned(dtype, &shape);
    cpu::<A>().matmul(Matmul { x, weight, epilogue, out: ActivationMut::Native(out.view_mut()) }).unwrap();
    values(&out)
}

/// Bit by bit what a native weight of the same numbers gives, for any number of tokens.
#[test]
fn int4_is_its_values_multiplied() {
    let mut rng = Rng(40);
    for (weights, stored) in [(DType::BF16, DType::BF16), (DType::F16, DType::F16), (DType::F32, DType::BF16)]
    {
        for (heights, k, group_size) in [
            ([72, 72], 96, GroupSize::Of32),
            ([8, 8], 128, GroupSize::Of128),
            ([16, 16], 208, GroupSize::Row),
        ] {
            let mut part = |n: usize| host(weights, &[n, k], &rng.normal(weights, n * k, 0.1));
            let parts = heights.map(&mut part);
            let biases = heights.map(|n| host(weights, &[n], &rng.normal(weights, n, 0.1)));
            let values = parts.each_ref().map(|part| {
                Int4::quantize(part, stored, group_size).unwrap().dequantize("values", stored).unwrap()
            });
            for (order, epilogue) in ORDERS {
                let format = WeightFormat::Int4 { group_size };
                let quantized = load(parts.to_vec(), biases.to_vec(), order, format);
                let native = load(values.to_vec(), biases.to_vec(), order, WeightFormat::Native);
                let n = if order == RowOrder::GateUp { heights[0] } else { 2 * heights[0] };
                for m in [1, 2, 4, 5, 30] {
                    let x = tensor(DType::F32, &[m, k], &rng.normal(DType::F32, m * k, 1.0));
                    let of = |weight| {
                        matmul::<f32>(weight, epilogue, Activation::Native(x.view()), [m, n], DType::F32)
                    };
                    assert!(of(&quantized) == of(&native), "{weights}, {m} tokens, {k} columns");
                }
            }
        }
    }
}

/// Sums of codes that f32 holds exactly, so that the order of the multiplications behind them shows in the last bit.
#[test]
fn fp8_sums_are_multiplied_by_the_tokens_scale_and_then_by_the_rows() {
    let mut rng = Rng(41);
    let (n, k) = (48, 128);
    let mut differ = 0;
    for m in [1, 3, 9] {
        // Small integers, the largest of which is 448 units: they are their own codes.
        let mut codes = |rows: usize| {
            let mut codes = rng.integers(rows * k, 8);
            codes.chunks_mut(k).for_each(|row| row[0] = 448.0);
            codes
        };
        let (xq, wq) = (codes(m), codes(n));
        let unit = |i: usize| 0.1f32 + i as f32 / 7.0;
        let scaled = |codes: &[f64]| -> Vec<f64> {
            codes.iter().enumerate().map(|(i, &c)| f64::from(c as f32 * unit(i / k))).collect()
        };
        let (x, w) = (scaled(&xq), scaled(&wq));
        let bias = rng.normal(DType::F32, n, 1.0);
        let parts = vec![
            host(DType::F32, &[n / 2, k], &w[..n / 2 * k]),
            host(DType::F32, &[n / 2, k], &w[n / 2 * k..]),
        ];
        let biases =
            vec![host(DType::F32, &[n / 2], &bias[..n / 2]), host(DType::F32, &[n / 2], &bias[n / 2..])];
        let stored: Vec<f32> =
            parts.iter().flat_map(|part| Fp8Rows::quantize(part).unwrap().scales().to_vec()).collect();
        let weight = load(parts, biases, RowOrder::Concatenated, WeightFormat::Fp8);
        let x = Fp8::new(&tensor(DType::F32, &[m, k], &x), 1);
        assert!(values(&x.codes) == xq, "the test's codes are not their own");
        let scales = values(&x.scale);
        let y = matmul::<f32>(&weight, Epilogue::None, x.read(), [m, n], DType::F32);
        for (i, y) in y.into_iter().enumerate() {
            let (t, row) = (i / n, i % n);
            let sum: f64 = xq[t * k..][..k].iter().zip(&wq[row * k..][..k]).map(|(x, w)| x * w).sum();
            assert!(sum.abs() < f64::from(1 << 24));
            let (sum, of_token, of_row, bias) = (sum as f32, scales[t] as f32, stored[row], bias[row] as f32);
            let expected = sum * of_token * of_row + bias;
            assert_eq!((y as f32).to_bits(), expected.to_bits(), "token {t}, row {row} of {m}");
            differ += usize::from(expected != sum * of_row * of_token + bias);
        }
    }
    assert!(differ > 50, "the order shows in {differ} results only");
}

#[test]
fn fp8_meets_the_formula_with_swiglu_and_in_f64() {
    let mut rng = Rng(42);
    let (f, k) = (24, 256);
    for m in [1, 7] {
        let parts: Vec<HostTensor> =
            (0..2).map(|_| host(DType::BF16, &[f, k], &rng.normal(DType::BF16, f * k, 0.2))).collect();
        let rows: Vec<f64> = parts
            .iter()
            .flat_map(|part| {
                let part = Fp8Rows::quantize(part).unwrap();
                let codes = decode(DType::F8E4M3, part.codes());
                codes
                    .chunks(k)
                    .zip(part.scales())
                    .flat_map(|(row, &s)| row.iter().map(|c| c * f64::from(s)).collect::<Vec<_>>())
                    .collect::<Vec<_>>()
            })
            .collect();
        let weight = load(parts, Vec::new(), RowOrder::GateUp, WeightFormat::Fp8);
        let x = Fp8::new(&tensor(DType::BF16, &[m, k], &rng.normal(DType::BF16, m * k, 1.0)), 1);
        let (codes, scales) = (values(&x.codes), values(&x.scale));
        let y = matmul::<f64>(&weight, Epilogue::SwiGlu, x.read(), [m, f], DType::F64);
        for (i, y) in y.into_iter().enumerate() {
            let (t, row) = (i / f, i % f);
            let dot = |row: usize| -> f64 {
                codes[t * k..][..k].iter().zip(&rows[row * k..][..k]).map(|(x, w)| x * scales[t] * w).sum()
            };
            let (gate, up) = (dot(row), dot(row + f));
            let expected = gate / (1.0 + (-gate).exp()) * up;
            assert!((y - expected).abs() <= 1e-9 * (1.0 + expected.abs()), "{y} for {expected} at {i}");
        }
    }
}

#[test]
fn fp8_weights_want_fp8_activations_with_one_scale_a_token() {
    let weight = load(
        vec![host(DType::BF16, &[8, 256], &[1.0; 2048])],
        Vec::new(),
        RowOrder::Concatenated,
        WeightFormat::Fp8,
    );
    let x = tensor(DType::BF16, &[1, 256], &[1.0; 256]);
    let by_group = Fp8::new(&x, 2);
    for x in [Activation::Native(x.view()), by_group.read()] {
        let mut out = poisoned(DType::F32, &[1, 8]);
        let out = ActivationMut::Native(out.view_mut());
        let args = Matmul { x, weight: &weight, epilogue: Epilogue::None, out };
        let text =
            "matmul: x: expected an fp8 activation with one scale a token, for a weight in fp8, got another";
        refused(cpu::<f32>().matmul(args), text);
    }
}

#[test]
fn rows_of_a_quantised_table_are_its_values() {
    let mut rng = Rng(43);
    let table = host(DType::BF16, &[16, 64], &rng.normal(DType::BF16, 16 * 64, 1.0));
    let int4 = Int4::quantize(&table, DType::BF16, GroupSize::Of64)
        .unwrap()
        .dequantize("table", DType::BF16)
        .unwrap();
    let fp8 = Fp8Rows::quantize(&table).unwrap();
    let of_fp8: Vec<f64> = decode(DType::F8E4M3, fp8.codes())
        .iter()
        .enumerate()
        .map(|(i, &code)| f64::from(code as f32 * fp8.scales()[i / 64]))
        .collect();
    for (format, expected) in [
        (WeightFormat::Int4 { group_size: GroupSize::Of64 }, decode(DType::BF16, &int4.data)),
        (WeightFormat::Fp8, of_fp8),
    ] {
        let table = load(vec![table.clone()], Vec::new(), RowOrder::Concatenated, format);
        let ids = tensor(DType::I32, &[2], &[11.0, 3.0]);
        let mut out = poisoned(DType::F32, &[2, 64]);
        cpu::<f32>().embed(Embed { ids: ids.view(), table: &table, out: out.view_mut() }).unwrap();
        assert!(values(&out) == [&expected[11 * 64..][..64], &expected[3 * 64..][..64]].concat(), "{format}");
    }
}

#[test]
fn weights_that_a_format_cannot_hold_are_named() {
    let format = WeightFormat::Int4 { group_size: GroupSize::Of128 };
    let load = |shape: [usize; 2], format| {
        let part = host(DType::BF16, &shape, &vec![0.0; shape[0] * shape[1]]);
        let source =
            WeightSource { parts: vec![part], biases: Vec::new(), rows: RowOrder::Concatenated, format };
        cpu::<f32>().load_weight(source)
    };
    let given = |shape: [usize; 2]| format!("got weight of type bf16 and shape {shape:?}");
    refused(
        load([8, 192], format),
        &format!("int4: weight: expected columns in a multiple of 128, {}", given([8, 192])),
    );
    refused(
        load([12, 128], format),
        &format!("int4: weight: expected rows in a multiple of 8, {}", given([12, 128])),
    );
    refused(
        load([8, 24], WeightFormat::Fp8),
        &format!("fp8: weight: expected columns in a multiple of 16, {}", given([8, 24])),
    );
}

/// The last block of columns is short, and the blocks of gate and of up are counted apart.
#[test]
fn fp8_blocks_meet_the_formula_in_f64() {
    let mut rng = Rng(44);
    let (f, k) = (136, 272usize);
    let blocks = k.div_ceil(128);
    for (m, epilogue) in [(1, Epilogue::SwiGlu), (7, Epilogue::SwiGlu), (5, Epilogue::None)] {
        let parts: Vec<Fp8Blocks> = (0..2)
            .map(|_| host(DType::BF16, &[f, k], &rng.normal(DType::BF16, f * k, 0.2)))
            .map(|part| Fp8Blocks::quantize(&part).unwrap())
            .collect();
        let rows: Vec<f64> = parts
            .iter()
            .flat_map(|part| {
                let value = |(i, code): (usize, f64)| {
                    code * f64::from(part.scales()[i / k / 128 * blocks + i % k / 128])
                };
                decode(DType::F8E4M3, part.codes()).into_iter().enumerate().map(value).collect::<Vec<_>>()
            })
            .collect();
        let bias = rng.normal(DType::F32, 2 * f, 1.0);
        let biases = vec![host(DType::F32, &[f], &bias[..f]), host(DType::F32, &[f], &bias[f..])];
        let order = if epilogue == Epilogue::None { RowOrder::Concatenated } else { RowOrder::GateUp };
        let weight = CpuWeight::from_fp8_blocks(parts, biases, order).unwrap();
        let codes = tensor(DType::F8E4M3, &[m, k], &rng.integers(m * k, 15));
        let scale = tensor(DType::F32, &[m, blocks], &rng.normal(DType::F32, m * blocks, 0.1));
        let x = Activation::Fp8 { codes: codes.view(), scale: scale.view() };
        let width = if epilogue == Epilogue::None { 2 * f } else { f };
        let y = matmul::<f64>(&weight, epilogue, x, [m, width], DType::F64);
        let (codes, scales) = (values(&codes), values(&scale));
        for (i, y) in y.into_iter().enumerate() {
            let (t, row) = (i / width, i % width);
            let dot = |row: usize| -> f64 {
                let product = |c: usize| codes[t * k + c] * scales[t * blocks + c / 128] * rows[row * k + c];
                (0..k).map(product).sum::<f64>() + bias[row]
            };
            let expected = match epilogue {
                Epilogue::None => dot(row),
                _ => dot(row) / (1.0 + (-dot(row)).exp()) * dot(row + f),
            };
            assert!((y - expected).abs() <= 1e-9 * (1.0 + expected.abs()), "{y} for {expected} at {i}");
        }
    }
}

#[test]
fn fp8_blocks_want_a_scale_for_each_block_of_columns_and_parts_that_fit() {
    let part =
        |n: usize, k: usize| Fp8Blocks::new([n, k], vec![0; n * k], vec![1.0; k.div_ceil(128)]).unwrap();
    let load = |parts, biases, rows| CpuWeight::from_fp8_blocks(parts, biases, rows);
    let weight = load(vec![part(8, 256)], Vec::new(), RowOrder::Concatenated).unwrap();
    let x = tensor(DType::BF16, &[1, 256], &[1.0; 256]);
    let by_row = Fp8::new(&x, 1);
    for x in [Activation::Native(x.view()), by_row.read()] {
        let mut out = poisoned(DType::F32, &[1, 8]);
        let out = ActivationMut::Native(out.view_mut());
        let args = Matmul { x, weight: &weight, epilogue: Epilogue::None, out };
        let text = "matmul: x: expected an fp8 activation with 2 scales a token, for a weight in blocks, got another";
        refused(cpu::<f32>().matmul(args), text);
    }
    refused(
        load(Vec::new(), Vec::new(), RowOrder::Concatenated),
        "load_weight: parts: expected at least one matrix, got shapes []",
    );
    refused(
        load(vec![part(8, 256), part(8, 16)], Vec::new(), RowOrder::Concatenated),
        "load_weight: parts: expected matrices of one width, got shapes [[8, 256], [8, 16]]",
    );
    refused(
        load(vec![part(8, 16), part(16, 16)], Vec::new(), RowOrder::GateUp),
        "load_weight: parts: expected gate and up of equal height, got shapes [[8, 16], [16, 16]]",
    );
    refused(
        load(vec![part(8, 16)], vec![host(DType::F32, &[16], &[0.0; 16])], RowOrder::Concatenated),
        "load_weight: biases: expected one a part, as high, or none, got shapes [[16]]",
    );
}

/// Codes that are given make the weight that quantising makes.
#[test]
fn fp8_rows_are_taken_as_codes() {
    let mut rng = Rng(45);
    let (n, k) = (24, 48);
    let part = host(DType::BF16, &[n, k], &rng.normal(DType::BF16, n * k, 0.2));
    let codes = Fp8Rows::quantize(&part).unwrap();
    let given = CpuWeight::from_fp8_rows(vec![codes], Vec::new(), RowOrder::Concatenated).unwrap();
    let loaded = load(vec![part], Vec::new(), RowOrder::Concatenated, WeightFormat::Fp8);
    let x = Fp8::new(&tensor(DType::BF16, &[3, k], &rng.normal(DType::BF16, 3 * k, 1.0)), 1);
    let of = |weight| matmul::<f32>(weight, Epilogue::None, x.read(), [3, n], DType::F32);
    assert!(of(&given) == of(&loaded));
}
