//! Operands full of random numbers.

use std::cell::Cell;

use crate::gpu::{Buffer, Device, Stream};
use crate::quant::fp8;
use crate::random::SplitMix64;
use crate::tensor::{DType, Tensor};
use crate::{Error, Result};

/// Bytes of random numbers that operands are filled with, over and over.
const PATTERN: usize = 16 << 20;

/// Makes operands on a device.
pub struct Memory {
    stream: Stream,
    /// What operands are full of.
    patterns: Vec<(Pattern, Buffer)>,
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
        self.full_of(Pattern::Numbers(dtype), dtype, shape)
    }

    /// u8, all of whose bits are random.
    pub fn bits(&mut self, shape: &[usize]) -> Result<Tensor<Buffer>> {
        self.full_of(Pattern::Bits, DType::U8, shape)
    }

    /// e4m3 codes of roughly normal numbers, the largest of which are nearly the largest that there are.
    pub fn codes(&mut self, shape: &[usize]) -> Result<Tensor<Buffer>> {
        self.full_of(Pattern::Codes, DType::F8E4M3, shape)
    }

    /// f32 scales: positive numbers from the power of two below `about` to twice that.
    pub fn scales(&mut self, shape: &[usize], about: f64) -> Result<Tensor<Buffer>> {
        let exponent = about.log2().floor() as i32;
        self.full_of(Pattern::Scales { dtype: DType::F32, exponent, zeros: false }, DType::F32, shape)
    }

    /// The scales of 4-bit weights: bf16 or f16 `[shape, 1 or 2, 16]`, positive numbers as [`Memory::scales`], and behind those of
    /// a group its `zeros`, from 0 to 15, if there are some.
    pub fn group_scales(
        &mut self,
        dtype: DType,
        shape: &[usize],
        zeros: bool,
        about: f64,
    ) -> Result<Tensor<Buffer>> {
        /// The least normal number of f16.
        const LEAST: i32 = -14;
        let exponent = (about.log2().floor() as i32).max(LEAST);
        let shape = [shape, &[1 + usize::from(zeros), 16]].concat();
        self.full_of(Pattern::Scales { dtype, exponent, zeros }, dtype, &shape)
    }

    fn full_of(&mut self, kind: Pattern, dtype: DType, shape: &[usize]) -> Result<Tensor<Buffer>> {
        let mut buffer = self.allocate(dtype, shape)?;
        let bytes = buffer.len();
        if !self.patterns.iter().any(|(known, _)| *known == kind) {
            let pattern = pattern(&mut self.random, kind)?;
            let mut device = self.device().allocate(pattern.len())?;
            device.write(0, &pattern)?;
            self.patterns.push((kind, device));
        }
        for (_, pattern) in self.patterns.iter().filter(|(known, _)| *known == kind) {
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

/// Deviation of the numbers that e4m3 codes are of: the largest are 3 times as large, below 448.
pub(super) const CODES_DEVIATION: f64 = 128.0;

/// What operands are full of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pattern {
    /// Signs and mantissas at random, magnitudes from 1 to 2.
    Numbers(DType),
    Bits,
    /// e4m3.
    Codes,
    /// Positive numbers from `2^exponent` to twice that; 16 of them in turn with as many `zeros`.
    Scales {
        dtype: DType,
        exponent: i32,
        zeros: bool,
    },
}

/// [`PATTERN`] bytes.
fn pattern(random: &mut SplitMix64, kind: Pattern) -> Result<Vec<u8>> {
    let halves = |bits: &mut dyn FnMut(usize) -> u16| -> Vec<u8> {
        (0..PATTERN / 2).flat_map(|i| bits(i).to_le_bytes()).collect()
    };
    let words = |bits: &mut dyn FnMut() -> u32| -> Vec<u8> {
        (0..PATTERN / 4).flat_map(|_| bits().to_le_bytes()).collect()
    };
    // Exponents are those of ordinary numbers: what is added to the bias is small.
    let biased = |bias: i32, exponent: i32| (bias + exponent).max(1) as u32;
    match kind {
        Pattern::Numbers(DType::BF16) => Ok(halves(&mut |_| 0x3F80 | random.next() as u16 & 0x807F)),
        Pattern::Numbers(DType::F16) => Ok(halves(&mut |_| 0x3C00 | random.next() as u16 & 0x83FF)),
        Pattern::Numbers(DType::F32) => Ok(words(&mut || 0x3F80_0000 | random.next() as u32 & 0x807F_FFFF)),
        Pattern::Bits => Ok((0..PATTERN / 8).flat_map(|_| random.next().to_le_bytes()).collect()),
        Pattern::Codes => {
            let mut uniform = || (random.next() & 0xFF_FFFF) as f64 / f64::from(1 << 24) - 0.5;
            // The sum of three uniform numbers has a deviation of one half.
            let mut normal = || CODES_DEVIATION * 2.0 * (uniform() + uniform() + uniform());
            let table: Vec<u8> = (0..1 << 12).map(|_| fp8::encode(normal() as f32)).collect();
            let code = |bits: u64, i: u32| table[(bits >> (12 * i)) as usize % table.len()];
            let four = |_| {
                let bits = random.next();
                (0..4).map(|i| code(bits, i)).collect::<Vec<_>>()
            };
            Ok((0..PATTERN / 4).flat_map(four).collect())
        }
        Pattern::Scales { dtype: DType::F32, exponent, .. } => {
            let first = biased(127, exponent) << 23;
            Ok(words(&mut || first | random.next() as u32 & 0x7F_FFFF))
        }
        Pattern::Scales { dtype: dtype @ (DType::BF16 | DType::F16), exponent, zeros } => {
            Ok(halves(&mut |i| {
                let bits = random.next();
                let zero = (bits % 16) as f32;
                match (dtype, zeros && i / 16 % 2 == 1) {
                    (DType::BF16, true) => half::bf16::from_f32(zero).to_bits(),
                    (_, true) => half::f16::from_f32(zero).to_bits(),
                    (DType::BF16, false) => (biased(127, exponent) << 7) as u16 | bits as u16 & 0x7F,
                    (_, false) => (biased(15, exponent) << 10) as u16 | bits as u16 & 0x3FF,
                }
            }))
        }
        Pattern::Numbers(other) | Pattern::Scales { dtype: other, .. } => {
            Err(Error::argument("bench", "dtype", "bf16, f16 or f32", other))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_numbers_of_both_signs() {
        for dtype in [DType::BF16, DType::F16, DType::F32] {
            let bytes = pattern(&mut SplitMix64(1), Pattern::Numbers(dtype)).unwrap();
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
        assert!(pattern(&mut SplitMix64(1), Pattern::Numbers(DType::I32)).is_err());
    }

    /// Weights of `k` columns have the deviation `1 / sqrt(k)` by a factor of less than two.
    #[test]
    fn codes_and_scales_are_of_ordinary_weights() {
        let bytes = pattern(&mut SplitMix64(1), Pattern::Codes).unwrap();
        assert_eq!(bytes.len(), PATTERN);
        let numbers: Vec<f64> = bytes[..1 << 16].iter().map(|&code| f64::from(fp8::decode(code))).collect();
        assert!(numbers.iter().all(|number| number.abs() <= 384.0));
        let deviation = (numbers.iter().map(|x| x * x).sum::<f64>() / numbers.len() as f64).sqrt();
        assert!((deviation / CODES_DEVIATION - 1.0).abs() < 0.02, "{deviation}");
        for (dtype, zeros) in [(DType::BF16, true), (DType::F16, true), (DType::F16, false)] {
            let scales = Pattern::Scales { dtype, exponent: -8, zeros };
            let bytes = pattern(&mut SplitMix64(1), scales).unwrap();
            let numbers = bytes[..4096].chunks(2).map(|bytes| match (dtype, bytes) {
                (DType::BF16, &[a, b]) => half::bf16::from_le_bytes([a, b]).to_f32(),
                (_, bytes) => half::f16::from_le_bytes([bytes[0], bytes[1]]).to_f32(),
            });
            for (i, number) in numbers.enumerate() {
                let is_zero = zeros && i / 16 % 2 == 1;
                let range = if is_zero { 0.0..16.0 } else { 1.0 / 256.0..1.0 / 128.0 };
                assert!(range.contains(&number) && (!is_zero || number.fract() == 0.0), "{dtype} {number}");
            }
        }
    }
}
