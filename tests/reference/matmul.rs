use llama_kernels::backend::{
    Activation, ActivationMut, Backend, Epilogue, Matmul, RowOrder, WeightFormat, WeightSource,
};
use llama_kernels::reference::{CpuBuffer, CpuWeight, Real, silu_and_mul};
use llama_kernels::tensor::{DType, Tensor};

use super::oracle;
use super::support::*;

const WEIGHTS: [DType; 4] = [DType::BF16, DType::F16, DType::F32, DType::F64];

/// A weight of parts with these heights, and its rows and biases as numbers.
struct Weight {
    loaded: CpuWeight,
    rows: Vec<f64>,
    bias: Vec<f64>,
    k: usize,
}

fn weight(rng: &mut Rng, dtype: DType, heights: &[usize], k: usize, order: RowOrder, biased: bool) -> Weight {
    let n: usize = heights.iter().sum();
    let rows = rng.normal(dtype, n * k, 1.0);
    let bias = if biased { rng.normal(dtype, n, 1.0) } else { Vec::new() };
    let starts = heights.iter().scan(0, |end, height| {
        *end += height;
        Some(*end - height)
    });
    let (parts, biases): (Vec<_>, Vec<_>) = starts
        .zip(heights)
        .map(|(start, &height)| {
            let part = host(dtype, &[height, k], &rows[start * k..(start + height) * k]);
            (part, biased.then(|| host(dtype, &[height], &bias[start..start + height])))
        })
        .unzip();
    let source = WeightSource {
        parts,
        biases: biases.into_iter().flatten().collect(),
        rows: order,
        format: WeightFormat::Native,
    };
    Weight { loaded: cpu::<f32>().load_weight(source).unwrap(), rows, bias, k }
}

fn matmul<A: Real>(
    weight: &CpuWeight,
    epilogue: Epilogue,
    x: &Tensor<CpuBuffer>,
    out: &mut Tensor<CpuBuffer>,
) {
    let out = ActivationMut::Native(out.view_mut());
    cpu::<A>().matmul(Matmul { x: Activation::Native(x.view()), weight, epilogue, out }).unwrap();
}

fn check<A: Real>(dtype: DType, weight_dtype: DType) {
    let mut rng = Rng(5);
    // One part and several, less than a tile of rows and several blocks of them, columns that fill no round of lanes.
    for (heights, k, biased) in [
        (vec![1], 1, false),
        (vec![113], 203, true),
        (vec![9, 3, 3], 48, true),
        (vec![239], 17, false),
        (vec![260, 8], 1023, false),
    ] {
        let n: usize = heights.iter().sum();
        let w = weight(&mut rng, weight_dtype, &heights, k, RowOrder::Concatenated, biased);
        for m in [0, 1, 2, 3, 4, 5, 19] {
            let x = rng.normal(dtype, m * k, 1.0);
            let mut out = poisoned(dtype, &[m, n]);
            matmul::<A>(&w.loaded, Epilogue::None, &tensor(dtype, &[m, k], &x), &mut out);
            judge::<A>(&format!("{m} x {n} x {k} by {weight_dtype}"), &out, n, |p| {
                oracle::linear(p, &x, &w.rows, &w.bias, k).into_iter().map(|y| p.store(y)).collect()
            });
        }
    }
}

#[test]
fn products_meet_the_formula() {
    for weight_dtype in WEIGHTS {
        for dtype in ACTIVATIONS {
            check::<f32>(dtype, weight_dtype);
        }
        check::<f64>(DType::F64, weight_dtype);
    }
}

fn check_swiglu<A: Real>(dtype: DType, biased: bool) {
    let mut rng = Rng(6);
    for (width, k) in [(1, 16), (37, 40), (96, 130)] {
        let w = weight(&mut rng, dtype, &[width, width], k, RowOrder::GateUp, biased);
        for m in [0, 1, 7] {
            let x = rng.normal(dtype, m * k, 0.3);
            let mut out = poisoned(dtype, &[m, width]);
            matmul::<A>(&w.loaded, Epilogue::SwiGlu, &tensor(dtype, &[m, k], &x), &mut out);
            judge::<A>("SwiGlu", &out, width, |p| {
                oracle::silu_and_mul(p, &oracle::linear(p, &x, &w.rows, &w.bias, k), width)
            });
        }
    }
}

fn check_silu<A: Real>(dtype: DType) {
    let mut rng = Rng(7);
    for [rows, width] in [[0, 4], [1, 1], [3, 113], [2, 1024]] {
        let x = rng.normal(dtype, rows * 2 * width, 4.0);
        let mut out = poisoned(dtype, &[rows, width]);
        let input = tensor(dtype, &[rows, 2 * width], &x);
        silu_and_mul::<A>(input.view(), ActivationMut::Native(out.view_mut())).unwrap();
        judge::<A>("silu_and_mul", &out, width, |p| oracle::silu_and_mul(p, &x, width));
    }
}

#[test]
fn swiglu_meets_the_formula() {
    for biased in [false, true] {
        ACTIVATIONS.into_iter().for_each(|dtype| check_swiglu::<f32>(dtype, biased));
        check_swiglu::<f64>(DType::F64, biased);
    }
    ACTIVATIONS.into_iter().for_each(check_silu::<f32>);
    check_silu::<f64>(DType::F64);
}

#[test]
fn silu_is_exact_at_its_limits() {
    let limits = [0.0, -0.0, -200.0, 200.0, f64::INFINITY];
    let x: Vec<f64> = limits.into_iter().chain([1.0; 5]).collect();
    let mut out = poisoned(DType::F32, &[1, 5]);
    let input = tensor(DType::F32, &[1, 10], &x);
    silu_and_mul::<f32>(input.view(), ActivationMut::Native(out.view_mut())).unwrap();
    assert_eq!(values(&out), [0.0, 0.0, 0.0, 200.0, f64::INFINITY]);
}

#[test]
fn small_integers_are_exact() {
    let mut rng = Rng(8);
    for dtype in WEIGHTS {
        let (m, n, k) = (9, 70, 333);
        let (x, w) = (rng.integers(m * k, 4), rng.integers(n * k, 4));
        let parts = vec![host(dtype, &[n, k], &w)];
        let source = WeightSource {
            parts,
            biases: Vec::new(),
            rows: RowOrder::Concatenated,
            format: WeightFormat::Native,
        };
        let loaded = cpu::<f32>().load_weight(source).unwrap();
        let expected = oracle::linear(oracle::Precision::EXACT, &x, &w, &[], k);
        for tokens in [1, m] {
            let mut out = poisoned(DType::F32, &[tokens, n]);
            matmul::<f32>(
                &loaded,
                Epilogue::None,
                &tensor(DType::BF16, &[tokens, k], &x[..tokens * k]),
                &mut out,
            );
            assert_eq!(values(&out), expected[..tokens * n]);
        }
    }
}

#[test]
fn a_token_does_not_depend_on_its_batch() {
    let mut rng = Rng(9);
    for dtype in [DType::BF16, DType::F16, DType::F32] {
        // More tokens than are multiplied at once.
        let (m, n, k) = (300, 83, 211);
        let w = weight(&mut rng, dtype, &[n], k, RowOrder::Concatenated, true);
        let x = rng.normal(dtype, m * k, 1.0);
        let mut all = poisoned(DType::F32, &[m, n]);
        matmul::<f32>(&w.loaded, Epilogue::None, &tensor(dtype, &[m, k], &x), &mut all);
        for batch in 1..=5 {
            for (x, expected) in x.chunks(batch * k).zip(bytes(&all).chunks(batch * n * 4)) {
                let tokens = x.len() / k;
                let mut some = poisoned(DType::F32, &[tokens, n]);
                matmul::<f32>(&w.loaded, Epilogue::None, &tensor(dtype, &[tokens, k], x), &mut some);
                assert_eq!(bytes(&some), expected);
            }
        }
    }
}

#[test]
fn what_is_not_finite_stays_in_its_token() {
    let mut rng = Rng(10);
    let w = weight(&mut rng, DType::BF16, &[40], 50, RowOrder::Concatenated, false);
    let clean = rng.normal(DType::BF16, 3 * 50, 1.0);
    let mut x = clean.clone();
    x[70] = f64::NAN;
    let run = |x: &[f64]| {
        let mut out = poisoned(DType::F32, &[3, 40]);
        matmul::<f32>(&w.loaded, Epilogue::None, &tensor(DType::BF16, &[3, w.k], x), &mut out);
        values(&out)
    };
    let (clean, out) = (run(&clean), run(&x));
    assert!(out[40..80].iter().all(|x| x.is_nan()));
    assert_eq!((&out[..40], &out[80..]), (&clean[..40], &clean[80..]));
}
