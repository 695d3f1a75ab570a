use llama_kernels::backend::{ActivationMut, AddRmsNorm, Backend, RmsNorm};
use llama_kernels::reference::{CpuBuffer, Real};
use llama_kernels::tensor::{DType, Tensor};

use super::oracle;
use super::support::*;

const EPS: f32 = 1e-5;

fn rms_norm<A: Real>(x: &Tensor<CpuBuffer>, weight: &Tensor<CpuBuffer>) -> Tensor<CpuBuffer> {
    let mut out = poisoned(x.dtype(), x.shape());
    let args =
        RmsNorm { x: x.view(), weight: weight.view(), eps: EPS, out: ActivationMut::Native(out.view_mut()) };
    cpu::<A>().rms_norm(args).unwrap();
    out
}

fn check<A: Real>(dtype: DType, weight_dtype: DType) {
    let mut rng = Rng(3);
    for [rows, width] in [[0, 8], [1, 1], [1, 15], [3, 16], [2, 17], [5, 203], [2, 1023], [70, 1024]] {
        let x = rng.normal(dtype, rows * width, 1.5);
        let residual = rng.normal(dtype, rows * width, 1.5);
        let weight = rng.normal(weight_dtype, width, 1.0);
        let weight_tensor = tensor(weight_dtype, &[width], &weight);
        let x_tensor = tensor(dtype, &[rows, width], &x);
        let out = rms_norm::<A>(&x_tensor, &weight_tensor);
        judge::<A>("rms_norm", &out, width, |p| oracle::rms_norm(p, &x, &weight, f64::from(EPS)));

        let mut residual_tensor = tensor(dtype, &[rows, width], &residual);
        let mut out = poisoned(dtype, &[rows, width]);
        let args = AddRmsNorm {
            x: x_tensor.view(),
            residual: residual_tensor.view_mut(),
            weight: weight_tensor.view(),
            eps: EPS,
            out: ActivationMut::Native(out.view_mut()),
        };
        cpu::<A>().add_rms_norm(args).unwrap();
        // One addition is exact up to its rounding, and the norm is of the rounded sum.
        let sums: Vec<f64> =
            x.iter().zip(&residual).map(|(x, r)| round(dtype, round(A::DTYPE, x + r))).collect();
        assert_eq!(values(&residual_tensor), sums);
        assert_eq!(bytes(&out), bytes(&rms_norm::<A>(&residual_tensor, &weight_tensor)));
    }
}

#[test]
fn norms_meet_the_formula() {
    for dtype in ACTIVATIONS {
        check::<f32>(dtype, dtype);
        check::<f32>(dtype, DType::F32);
    }
    check::<f64>(DType::F64, DType::BF16);
}

#[test]
fn the_product_is_rounded_before_the_weight() {
    // 3 * rsqrt(9.00001) is 0.9999994, which bf16 rounds to 1; the weight's last bit shows whether it was.
    let weight = 1.0 + 2f64.powi(-7);
    let out = rms_norm::<f32>(&tensor(DType::BF16, &[1, 1], &[3.0]), &tensor(DType::F32, &[1], &[weight]));
    assert_eq!(values(&out), [weight]);
    let exact = rms_norm::<f32>(&tensor(DType::F32, &[1, 1], &[3.0]), &tensor(DType::F32, &[1], &[weight]));
    assert!(values(&exact)[0] < weight);
}

#[test]
fn a_row_does_not_depend_on_its_batch() {
    let mut rng = Rng(4);
    let weight = tensor(DType::F32, &[300], &rng.normal(DType::F32, 300, 1.0));
    let x = rng.normal(DType::F32, 150 * 300, 1.0);
    let all = bytes(&rms_norm::<f32>(&tensor(DType::F32, &[150, 300], &x), &weight));
    for (x, row) in x.chunks(300).zip(all.chunks(300 * 4)) {
        assert_eq!(bytes(&rms_norm::<f32>(&tensor(DType::F32, &[1, 300], x), &weight)), row);
    }
}

#[test]
fn what_is_not_finite_stays_in_its_row() {
    let mut x = vec![1.0; 4 * 20];
    x[25] = f64::NAN;
    x[45] = f64::INFINITY;
    let out =
        values(&rms_norm::<f32>(&tensor(DType::BF16, &[4, 20], &x), &tensor(DType::BF16, &[20], &[1.0; 20])));
    assert!(out[..20].iter().chain(&out[60..]).all(|&x| x == 1.0));
    assert!(out[20..40].iter().all(|x| x.is_nan()));
    // inf * rsqrt(inf) is NaN, the rest of its row 0.
    assert!(out[45].is_nan() && out[40..45].iter().chain(&out[46..60]).all(|&x| x == 0.0));
}
