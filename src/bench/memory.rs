//! Operands full of random numbers.

use std::cell::Cell;

use crate::gpu::{Buffer, Device, Stream};
use crate::random::SplitMix64;
use crate::tensor::{DType, Tensor};
use crate::{Error, Result};

/// Bytes of random numbers that operands are filled with, over and over.
const PATTERN: usize = 16 << 20;

/// Makes operands on a device.
pub struct Memory {
    stream: Stream,
    /// What operands of each element type are full of.
    patterns: Vec<(DType, Buffer)>,
    random: SplitMix64,
    /// Bytes of all operands so far.
    allocated: Cell<u64>,
}

impl Memory {
    /// Of this device.
    pub fn new(device: &Device) -> Result<Self> {
        Ok(Memory {
            stream: device.new_stream()?,
            patterns: Vec::new(),
            random: SplitMix64(1),
            allocated: Cell::new(0),
        })
    }

    /// The device that operands are made on.
    pub fn device(&self) -> &Device {
        self.stream.device()
    }

    /// Bytes of all operands that have been made, those included that are gone.
    pub fn allocated_bytes(&self) -> u64 {
        self.allocated.get()
    }

    /// Random numbers from -2 to -1 and from 1 to 2, in bf16, f16 or f32: zeros would draw less power than real data.
    pub fn random(&mut self, dtype: DType, shape: &[usize]) -> Result<Tensor<Buffer>> {
        let mut buffer = self.allocate(dtype, shape)?;
        let bytes = buffer.len();
        if !self.patterns.iter().any(|(known, _)| *known == dtype) {
            let pattern = pattern(&mut self.random, dtype)?;
            let mut device = self.device().allocate(pattern.len())?;
            device.write(0, &pattern)?;
            self.patterns.push((dtype, device));
        }
        for (_, pattern) in self.patterns.iter().filter(|(known, _)| *known == dtype) {
            for offset in (0..bytes).step_by(PATTERN) {
                self.stream.copy(&mut buffer, offset, pattern, 0, PATTERN.min(bytes - offset))?;
            }
        }
        self.stream.synchronize()?;
        Tensor::new(buffer, dtype, shape)
    }

    /// f32 rows of roughly normal numbers of this deviation, all with the same.
    pub fn spread(&mut self, rows: usize, width: usize, deviation: f64) -> Result<Tensor<Buffer>> {
        let mut uniform = || (self.random.next() & 0xFF_FFFF) as f64 / f64::from(1 << 24) - 0.5;
        // The sum of three uniform numbers has a deviation of one half.
        let row: Vec<u8> = (0..width)
            .map(|_| (deviation * 2.0 * (uniform() + uniform() + uniform())) as f32)
            .flat_map(f32::to_le_bytes)
            .collect();
        let mut buffer = self.allocate(DType::F32, &[rows, width])?;
        for offset in (0..buffer.len()).step_by(row.len().max(1)) {
            buffer.write(offset, &row)?;
        }
        Tensor::new(buffer, DType::F32, &[rows, width])
    }

    /// These bytes.
    pub fn holding(&self, dtype: DType, shape: &[usize], bytes: &[u8]) -> Result<Tensor<Buffer>> {
        let mut buffer = self.allocate(dtype, shape)?;
        buffer.write(0, bytes)?;
        Tensor::new(buffer, dtype, shape)
    }

    /// A list of i32.
    pub fn indices(&self, indices: impl IntoIterator<Item = i32>) -> Result<Tensor<Buffer>> {
        let indices: Vec<i32> = indices.into_iter().collect();
        self.holding(DType::I32, &[indices.len()], bytemuck::cast_slice(&indices))
    }

    /// Zeros.
    pub fn zeros(&self, dtype: DType, shape: &[usize]) -> Result<Tensor<Buffer>> {
        let mut buffer = self.allocate(dtype, shape)?;
        let bytes = buffer.len();
        buffer.fill(0..bytes, 0)?;
        Tensor::new(buffer, dtype, shape)
    }

    /// Memory that nothing has written.
    pub fn output(&self, dtype: DType, shape: &[usize]) -> Result<Tensor<Buffer>> {
        Tensor::new(self.allocate(dtype, shape)?, dtype, shape)
    }

    /// The numbers below `n`, each once, in no order.
    pub fn shuffled(&mut self, n: usize) -> Vec<i32> {
        let mut numbers: Vec<i32> = (0..n as i32).collect();
        self.random.shuffle(&mut numbers);
        numbers
    }

    fn allocate(&self, dtype: DType, shape: &[usize]) -> Result<Buffer> {
        let elements = shape.iter().try_fold(dtype.size(), |product, n| product.checked_mul(*n));
        let bytes = elements.ok_or_else(|| {
            Error::argument("bench", "shape", "fewer than 2^64 bytes", format!("{shape:?} in {dtype}"))
        })?;
        let buffer = self.device().allocate(bytes)?;
        self.allocated.set(self.allocated.get() + bytes as u64);
        Ok(buffer)
    }
}

/// [`PATTERN`] bytes: signs and mantissas at random, magnitudes from 1 to 2.
fn pattern(random: &mut SplitMix64, dtype: DType) -> Result<Vec<u8>> {
    let halves = |random: &mut SplitMix64, one: u16, bits: u16| -> Vec<u8> {
        (0..PATTERN / 2).flat_map(|_| (one | random.next() as u16 & bits).to_le_bytes()).collect()
    };
    match dtype {
        DType::BF16 => Ok(halves(random, 0x3F80, 0x807F)),
        DType::F16 => Ok(halves(random, 0x3C00, 0x83FF)),
        DType::F32 => Ok((0..PATTERN / 4)
            .flat_map(|_| (0x3F80_0000 | random.next() as u32 & 0x807F_FFFF).to_le_bytes())
            .collect()),
        other => Err(Error::argument("bench", "dtype", "bf16, f16 or f32", other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_numbers_of_both_signs() {
        for dtype in [DType::BF16, DType::F16, DType::F32] {
            let bytes = pattern(&mut SplitMix64(1), dtype).unwrap();
            assert_eq!(bytes.len(), PATTERN);
            let numbers: Vec<f32> = bytes[..4096]
                .chunks(dtype.size())
                .map(|bytes| match (dtype, bytes) {
                    (DType::BF16, &[a, b]) => half::bf16::from_le_bytes([a, b]).to_f32(),
                    (DType::F16, &[a, b]) => half::f16::from_le_bytes([a, b]).to_f32(),
                    (_, &[a, b, c, d]) => f32::from_le_bytes([a, b, c, d]),
                    _ => unreachable!("an element of {dtype}"),
                })
                .collect();
            assert!(numbers.iter().all(|number| (1.0..2.0).contains(&number.abs())), "{dtype}");
            let negative = numbers.iter().filter(|number| **number < 0.0).count();
            assert!(negative * 5 > numbers.len() * 2 && negative * 5 < numbers.len() * 3, "{dtype}");
        }
        assert!(pattern(&mut SplitMix64(1), DType::I32).is_err());
    }
}
