//! Numbers for cases, their bytes, and the CPU reference's tensors.

use half::{bf16, f16};

use crate::Result;
use crate::backend::Backend;
use crate::quant::fp8;
pub(super) use crate::random::SplitMix64 as Rng;
use crate::reference::{Activations, Cpu, CpuBuffer, Real};
use crate::tensor::{DType, Tensor};

/// The element types of activations.
pub(super) const ACTIVATIONS: [DType; 2] = [DType::BF16, DType::F16];

impl Rng {
    /// `n` numbers that `dtype` holds exactly, roughly normal with this deviation.
    pub fn normal(&mut self, dtype: DType, n: usize, deviation: f64) -> Vec<f64> {
        let mut uniform = || (self.next() >> 11) as f64 / (1u64 << 53) as f64 - 0.5;
        let values: Vec<f64> =
            (0..n).map(|_| deviation * 2.0 * (uniform() + uniform() + uniform())).collect();
        decode(dtype, &encode(dtype, &values))
    }
}

/// `n` of the numbers below `of`, rising, from its whole range and its ends among them; all where there are no more.
pub(super) fn spread(rng: &mut Rng, n: usize, of: usize) -> Vec<usize> {
    if of <= n {
        return (0..of).collect();
    }
    let mut chosen = std::collections::BTreeSet::from([0, of - 1]);
    while chosen.len() < n.max(2) {
        chosen.insert(rng.below(of));
    }
    chosen.into_iter().collect()
}

/// The bytes of numbers, rounded to `dtype`.
pub(super) fn encode(dtype: DType, values: &[f64]) -> Vec<u8> {
    let values = values.iter();
    match dtype {
        DType::BF16 => values.flat_map(|&value| bf16::from_f64(value).to_le_bytes()).collect(),
        DType::F16 => values.flat_map(|&value| f16::from_f64(value).to_le_bytes()).collect(),
        DType::F8E4M3 => values.map(|&value| fp8::encode(value as f32)).collect(),
        DType::F32 => values.flat_map(|&value| (value as f32).to_le_bytes()).collect(),
        DType::I32 => values.flat_map(|&value| (value as i32).to_le_bytes()).collect(),
        DType::U32 => values.flat_map(|&value| (value as u32).to_le_bytes()).collect(),
        _ => values.flat_map(|value| value.to_le_bytes()).collect(),
    }
}

/// The numbers of floats' bytes.
pub(super) fn decode(dtype: DType, bytes: &[u8]) -> Vec<f64> {
    let number = |bytes: &[u8]| match (dtype, bytes) {
        (DType::BF16, &[a, b]) => bf16::from_le_bytes([a, b]).to_f64(),
        (DType::F16, &[a, b]) => f16::from_le_bytes([a, b]).to_f64(),
        (DType::F8E4M3, &[code]) => f64::from(fp8::decode(code)),
        (DType::F32, &[a, b, c, d]) => f64::from(f32::from_le_bytes([a, b, c, d])),
        (_, bytes) => bytes.try_into().map_or(f64::NAN, f64::from_le_bytes),
    };
    bytes.chunks(dtype.size()).map(number).collect()
}

/// A tensor of the CPU reference.
pub(super) fn tensor(dtype: DType, shape: &[usize], values: &[f64]) -> Result<Tensor<CpuBuffer>> {
    let mut cpu = cpu::<f32>();
    let mut tensor = cpu.alloc(dtype, shape)?;
    cpu.upload(tensor.view_mut(), &encode(dtype, values))?;
    Ok(tensor)
}

/// The bytes of a tensor of the CPU reference.
pub(super) fn bytes(tensor: &Tensor<CpuBuffer>) -> Result<Vec<u8>> {
    let mut bytes = vec![0; tensor.num_bytes()];
    cpu::<f32>().download(tensor.view(), &mut bytes)?;
    Ok(bytes)
}

/// The CPU reference that accumulates in `A`.
pub(super) fn cpu<A: Real>() -> Cpu<A> {
    Cpu::new(Activations::AsCheckpoint)
}
