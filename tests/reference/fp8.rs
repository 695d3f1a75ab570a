use llama_kernels::backend::{
    Activation, ActivationMut, AddRmsNorm, Backend, Epilogue, Matmul, QuantizeFp8, RmsNorm, RowOrder,
    WeightFormat, WeightSource,
};
use llama_kernels::quant::fp8;
use llama_kernels::reference::{CpuBuffer, silu_and_mul};
use llama_kernels::tensor::{DType, Tensor, View, ViewMut};

use super::oracle::{self, Precision};
use super::support::*;

/// Codes and scales of an fp8 activation.
struct Quantized {
    codes: Tensor<CpuBuffer>,
    scale: Tensor<CpuBuffer>,
}

impl Quantized {
    fn new([rows, width]: [usize; 2], groups: usize) -> Self {
        let (codes, scale) = (poisoned(DType::F8E4M3, &[rows, width]), poisoned(DType::F32, &[rows, groups]));
        Quantized { codes, scale }
    }

    fn write(&mut self, rounded_to: DType) -> ActivationMut<'_, CpuBuffer> {
        ActivationMut::Fp8 { codes: self.codes.view_mut(), scale: self.scale.view_mut(), rounded_to }
    }

    fn read(&self) -> Activation<'_, CpuBuffer> {
        Activation::Fp8 { codes: self.codes.view(), scale: self.scale.view() }
    }

    fn bytes(&self) -> [Vec<u8>; 2] {
        [bytes(&self.codes), bytes(&self.scale)]
    }

    /// The numbers that it stands for.
    fn values(&self) -> Vec<f64> {
        let (codes, scales) = (values(&self.codes), values(&self.scale));
        let group = (codes.len() / scales.len().max(1)).max(1);
        codes
            .chunks(group)
            .zip(scales)
            .flat_map(|(codes, scale)| codes.iter().map(move |code| code * scale))
            .collect()
    }
}

/// Numbers of scales to try for a width: one a row, and one every 128.
fn groupings(width: usize) -> Vec<usize> {
    if width.is_multiple_of(128) { vec![1, width / 128] } else { vec![1] }
}

fn quantize(x: &Tensor<CpuBuffer>, groups: usize) -> Quantized {
    let [rows, width] = *x.shape() else { panic!("a matrix") };
    let mut out = Quantized::new([rows, width], groups);
    cpu::<f32>().quantize_fp8(QuantizeFp8 { x: x.view(), out: out.write(x.dtype()) }).unwrap();
    out
}

#[test]
fn scales_and_codes_follow_the_definition() {
    let mut rng = Rng(20);
    for dtype in ACTIVATIONS {
        for [rows, width] in [[0, 128], [1, 1], [3, 113], [2, 128], [5, 384], [150, 256]] {
            let mut x = rng.normal(dtype, rows * width, 3.0);
            if rows == 3 {
                x[width..2 * width].fill(0.0);
            }
            for groups in groupings(width) {
                let [codes, scales] = quantize(&tensor(dtype, &[rows, width], &x), groups).bytes();
                let (mut expected_codes, mut expected_scales) = (Vec::new(), Vec::new());
                for group in x.chunks(width / groups) {
                    let absmax = group.iter().fold(0f32, |max, x| max.max(x.abs() as f32));
                    let scale = if absmax == 0.0 { 1.0 } else { absmax / 448.0 };
                    expected_scales.extend(scale.to_le_bytes());
                    expected_codes.extend(group.iter().map(|&x| fp8::encode(x as f32 / scale)));
                }
                assert_eq!((codes, scales), (expected_codes, expected_scales));
            }
        }
    }
}

/// Every operation that writes an activation gives the same bits as if it were quantised afterwards.
#[test]
fn fused_quantisation_is_the_same() {
    let mut rng = Rng(21);
    for dtype in [DType::BF16, DType::F16] {
        for [rows, width] in [[1, 20], [7, 256]] {
            let x = tensor(dtype, &[rows, width], &rng.normal(dtype, rows * width, 1.0));
            let wide = tensor(dtype, &[rows, 2 * width], &rng.normal(dtype, rows * 2 * width, 1.0));
            let vector = tensor(dtype, &[width], &rng.normal(dtype, width, 1.0));
            let gate_up = || host(dtype, &[width, 64], &Rng(22).normal(dtype, width * 64, 0.3));
            let weight = cpu::<f32>()
                .load_weight(WeightSource {
                    parts: vec![gate_up(), gate_up()],
                    biases: Vec::new(),
                    rows: RowOrder::GateUp,
                    format: WeightFormat::Native,
                })
                .unwrap();
            let narrow = tensor(dtype, &[rows, 64], &rng.normal(dtype, rows * 64, 1.0));
            let run = |op: usize, out: ActivationMut<'_, CpuBuffer>| {
                let mut cpu = cpu::<f32>();
                let mut residual = tensor(dtype, &[rows, width], &values(&x));
                let (weight_of_norm, eps) = (vector.view(), 1e-5);
                match op {
                    0 => cpu.rms_norm(RmsNorm { x: x.view(), weight: weight_of_norm, eps, out }),
                    1 => cpu.add_rms_norm(AddRmsNorm {
                        x: x.view(),
                        residual: residual.view_mut(),
                        weight: weight_of_norm,
                        eps,
                        out,
                    }),
                    2 => cpu.matmul(Matmul {
                        x: Activation::Native(narrow.view()),
                        weight: &weight,
                        epilogue: Epilogue::SwiGlu,
                        out,
                    }),
                    _ => silu_and_mul::<f32>(wide.view(), out),
                }
                .unwrap();
            };
            for op in 0..4 {
                let mut plain = poisoned(dtype, &[rows, width]);
                run(op, ActivationMut::Native(plain.view_mut()));
                for groups in groupings(width) {
                    let mut fused = Quantized::new([rows, width], groups);
                    run(op, fused.write(dtype));
                    assert_eq!(fused.bytes(), quantize(&plain, groups).bytes(), "operation {op}");
                }
            }
        }
    }
}

#[test]
fn a_matmul_reads_codes_times_scales() {
    let mut rng = Rng(23);
    let (n, k) = (37, 256);
    let w = rng.normal(DType::BF16, n * k, 1.0);
    let weight = cpu::<f32>()
        .load_weight(WeightSource {
            parts: vec![host(DType::BF16, &[n, k], &w)],
            biases: Vec::new(),
            rows: RowOrder::Concatenated,
            format: WeightFormat::Native,
        })
        .unwrap();
    for m in [1, 6] {
        for groups in groupings(k) {
            let x = quantize(&tensor(DType::BF16, &[m, k], &rng.normal(DType::BF16, m * k, 1.0)), groups);
            let mut out = poisoned(DType::F32, &[m, n]);
            cpu::<f32>()
                .matmul(Matmul {
                    x: x.read(),
                    weight: &weight,
                    epilogue: Epilogue::None,
                    out: ActivationMut::Native(out.view_mut()),
                })
                .unwrap();
            let numbers = x.values();
            judge::<f32>("fp8 matmul", &out, n, |p: Precision| {
                let numbers: Vec<f64> = numbers.iter().map(|&x| p.acc(x)).collect();
                oracle::linear(p, &numbers, &w, &[], k)
            });
        }
    }
}

#[test]
fn rows_with_gaps_are_written_alone() {
    let mut rng = Rng(24);
    let x = tensor(DType::BF16, &[4, 128], &rng.normal(DType::BF16, 4 * 128, 1.0));
    let mut codes = poisoned(DType::F8E4M3, &[5 + 4 * 131]);
    let mut scale = poisoned(DType::F32, &[5 + 4 * 4]);
    let out = ActivationMut::Fp8 {
        codes: ViewMut { layout: with_gaps(4, 128), ..codes.view_mut() },
        scale: ViewMut { layout: with_gaps(4, 1), ..scale.view_mut() },
        rounded_to: DType::BF16,
    };
    cpu::<f32>().quantize_fp8(QuantizeFp8 { x: x.view(), out }).unwrap();
    let [dense_codes, dense_scales] = quantize(&x, 1).bytes();
    let (codes, scale) = (bytes(&codes), bytes(&scale));
    let mut expected = (vec![0xFF; codes.len()], vec![0xFF; scale.len()]);
    for t in 0..4 {
        expected.0[5 + t * 131..][..128].copy_from_slice(&dense_codes[t * 128..][..128]);
        expected.1[(5 + t * 4) * 4..][..4].copy_from_slice(&dense_scales[t * 4..][..4]);
    }
    assert_eq!((codes, scale), expected);
}

#[test]
fn scales_of_another_shape_are_refused() {
    let x = tensor(DType::BF16, &[2, 256], &[1.0; 512]);
    let refuse = |x: View<'_, CpuBuffer>, mut out: Quantized, text: &str| {
        refused(cpu::<f32>().quantize_fp8(QuantizeFp8 { x, out: out.write(DType::BF16) }), text);
    };
    let text = "quantize_fp8: scale: expected shape [2, 1] or [2, 2], got [2, 4]";
    refuse(x.view(), Quantized::new([2, 256], 4), text);
    let narrow = tensor(DType::BF16, &[1, 64], &[1.0; 64]);
    refuse(
        narrow.view(),
        Quantized::new([1, 64], 2),
        "quantize_fp8: scale: expected shape [1, 1], got [1, 2]",
    );
    let mut plain = poisoned(DType::BF16, &[2, 256]);
    refused(
        cpu::<f32>().quantize_fp8(QuantizeFp8 { x: x.view(), out: ActivationMut::Native(plain.view_mut()) }),
        "quantize_fp8: out: expected an fp8 activation, got bf16",
    );
}
