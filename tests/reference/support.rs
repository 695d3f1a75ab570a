//! Tensors from numbers and back, random numbers, and the verdict on a result.

use half::{bf16, f16};
use llama_kernels::backend::Backend;
use llama_kernels::quant::fp8;
use llama_kernels::reference::compare::{self, Matrix};
use llama_kernels::reference::{Activations, Cpu, CpuBuffer, Real};
use llama_kernels::tensor::{Bytes, DType, HostTensor, Layout, Tensor};

use super::oracle::Precision;

/// The element types of activations that `Cpu<f32>` is tried with.
pub const ACTIVATIONS: [DType; 3] = [DType::F32, DType::BF16, DType::F16];

/// SplitMix64 (Steele, Lea and Flood 2014).
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// `n` numbers that `dtype` holds exactly, roughly normal with this deviation.
    pub fn normal(&mut self, dtype: DType, n: usize, deviation: f64) -> Vec<f64> {
        let mut uniform = || (self.next() >> 11) as f64 / (1u64 << 53) as f64 - 0.5;
        (0..n).map(|_| round(dtype, deviation * 2.0 * (0..3).map(|_| uniform()).sum::<f64>())).collect()
    }

    /// `n` integers within `-limit..=limit`.
    pub fn integers(&mut self, n: usize, limit: i64) -> Vec<f64> {
        (0..n).map(|_| (self.below(2 * limit as usize + 1) as i64 - limit) as f64).collect()
    }
}

/// Rounds by the conversions of `half` and the standard library; f64 to 16 bits by way of a candidate and its neighbours.
pub fn round(dtype: DType, x: f64) -> f64 {
    fn nearest(x: f64, candidate: u16, value: impl Fn(u16) -> f64) -> f64 {
        let candidates = [candidate.wrapping_sub(1), candidate, candidate.wrapping_add(1)];
        let distance = |bits: u16| {
            let distance = (value(bits) - x).abs();
            if distance.is_nan() { f64::INFINITY } else { distance }
        };
        let best = candidates
            .into_iter()
            .min_by(|&a, &b| distance(a).total_cmp(&distance(b)).then((a % 2).cmp(&(b % 2))));
        value(best.unwrap())
    }
    match dtype {
        DType::F64 => x,
        DType::F32 => f64::from(x as f32),
        DType::BF16 | DType::F16 if !x.is_finite() => x,
        DType::BF16 => nearest(x, bf16::from_f64(x).to_bits(), |bits| bf16::from_bits(bits).to_f64()),
        DType::F16 if x.abs() >= 65520.0 => f64::INFINITY.copysign(x),
        DType::F16 => nearest(x, f16::from_f64(x).to_bits(), |bits| f16::from_bits(bits).to_f64()),
        DType::F8E4M3 => f64::from(fp8::decode(fp8::encode(x as f32))),
        other => panic!("{other} is no float"),
    }
}

/// The elements as a checkpoint holds them; they must fit `dtype` exactly.
pub fn encode(dtype: DType, values: &[f64]) -> Vec<u8> {
    let each = |bytes: &dyn Fn(f64) -> Vec<u8>| values.iter().flat_map(|&x| bytes(x)).collect();
    match dtype {
        DType::F64 => each(&|x| x.to_le_bytes().to_vec()),
        DType::F32 => each(&|x| (x as f32).to_le_bytes().to_vec()),
        DType::BF16 => each(&|x| bf16::from_f64(x).to_le_bytes().to_vec()),
        DType::F16 => each(&|x| f16::from_f64(x).to_le_bytes().to_vec()),
        DType::F8E4M3 => each(&|x| vec![fp8::encode(x as f32)]),
        DType::I32 => each(&|x| (x as i32).to_le_bytes().to_vec()),
        DType::I64 => each(&|x| (x as i64).to_le_bytes().to_vec()),
        other => panic!("{other} is not used here"),
    }
}

pub fn decode(dtype: DType, bytes: &[u8]) -> Vec<f64> {
    bytes
        .chunks(dtype.size())
        .map(|bytes| match dtype {
            DType::F64 => f64::from_le_bytes(bytes.try_into().unwrap()),
            DType::F32 => f64::from(f32::from_le_bytes(bytes.try_into().unwrap())),
            DType::BF16 => bf16::from_le_bytes(bytes.try_into().unwrap()).to_f64(),
            DType::F16 => f16::from_le_bytes(bytes.try_into().unwrap()).to_f64(),
            DType::F8E4M3 => f64::from(fp8::decode(bytes[0])),
            other => panic!("{other} is not used here"),
        })
        .collect()
}

pub fn cpu<A: Real>() -> Cpu<A> {
    Cpu::new(Activations::Exact)
}

pub fn tensor(dtype: DType, shape: &[usize], values: &[f64]) -> Tensor<CpuBuffer> {
    let mut cpu = cpu::<f32>();
    let mut tensor = cpu.alloc(dtype, shape).unwrap();
    cpu.upload(tensor.view_mut(), &encode(dtype, values)).unwrap();
    tensor
}

/// A tensor for results: NaN in every element, so that one that is not written shows.
pub fn poisoned(dtype: DType, shape: &[usize]) -> Tensor<CpuBuffer> {
    let mut cpu = cpu::<f32>();
    let mut tensor = cpu.alloc(dtype, shape).unwrap();
    let bytes = vec![0xFF; tensor.num_bytes()];
    cpu.upload(tensor.view_mut(), &bytes).unwrap();
    tensor
}

pub fn bytes(tensor: &Tensor<CpuBuffer>) -> Vec<u8> {
    let mut bytes = vec![0; tensor.num_bytes()];
    cpu::<f32>().download(tensor.view(), &mut bytes).unwrap();
    bytes
}

pub fn values(tensor: &Tensor<CpuBuffer>) -> Vec<f64> {
    decode(tensor.dtype(), &bytes(tensor))
}

pub fn host(dtype: DType, shape: &[usize], values: &[f64]) -> HostTensor {
    HostTensor {
        name: "weight".into(),
        dtype,
        shape: shape.to_vec(),
        data: Bytes::new(encode(dtype, values)),
    }
}

/// A layout with gaps between its rows.
pub fn with_gaps(rows: usize, width: usize) -> Layout {
    Layout::strided(&[rows, width], &[width + 3, 1], 5).unwrap()
}

/// Judges what a `Cpu<A>` computed, in rows of `width`: `formula` is run in f64, and rounded as that device rounds. Beside
/// an accumulation in f64 there is nothing to round: then the formula is met to twelve digits.
pub fn judge<A: Real>(
    what: &str,
    out: &Tensor<CpuBuffer>,
    width: usize,
    formula: impl Fn(Precision) -> Vec<f64>,
) {
    let (out, dtype) = (values(out), out.dtype());
    let reference = formula(Precision::EXACT);
    if A::DTYPE == DType::F64 && dtype == DType::F64 {
        assert_eq!(out.len(), reference.len(), "{what}");
        for (i, (out, reference)) in out.iter().zip(&reference).enumerate() {
            let near = (out - reference).abs() <= 1e-12 * reference.abs().max(1.0);
            assert!(
                near || out == reference || (out.is_nan() && reference.is_nan()),
                "{what}: {out} for {reference} at {i}"
            );
        }
        return;
    }
    let naive = formula(Precision { accumulate: A::DTYPE, store: dtype });
    // A short row's naive error may be 0 by luck, and f32 leaves no room beside it: there all rows share one bound.
    let width = if dtype == DType::F32 { out.len() } else { width };
    let matrix = |values| Matrix::new(values, width);
    if let Err(worst) = compare::elementwise(matrix(&out), matrix(&reference), matrix(&naive), dtype) {
        panic!("{what} in {dtype}: {worst}");
    }
}

/// Asserts the whole text of an error.
#[track_caller]
pub fn refused<T: std::fmt::Debug>(result: llama_kernels::Result<T>, text: &str) {
    let error = result.expect_err(text);
    assert!(matches!(error, llama_kernels::Error::Argument { .. }), "{error:?}");
    assert_eq!(error.to_string(), text);
}
