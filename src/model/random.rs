//! Random numbers in bulk, in place of weights and of what a cache would hold: for measurements, where zeros would draw less
//! power than real data.

use crate::par;
use crate::quant::fp8;
use crate::random::SplitMix64;
use crate::reference::convert;
use crate::tensor::DType;

/// Different numbers; what is filled has any of them anywhere.
const NUMBERS: usize = 1 << 16;
/// Elements that are filled from one state.
const CHUNK: usize = 1 << 20;
/// Deviation of the sum of four numbers that are uniform below 2^16.
const DEVIATION: f64 = 65536.0 / 1.732_050_807_568_877_2;

/// Fills `out` with elements of a floating-point type or e4m3, roughly normal (the sum of four uniform numbers: none lies further
/// than 3.5 deviations off). The same seed gives the same bits on every machine.
pub(super) fn fill(out: &mut [u8], dtype: DType, mean: f64, deviation: f64, seed: u64) {
    let mut random = SplitMix64(seed);
    let numbers: Vec<u8> =
        (0..NUMBERS).map(|_| mean + deviation * normal(&mut random)).flat_map(f64::to_le_bytes).collect();
    let mut table = vec![0; NUMBERS * dtype.size()];
    if dtype == DType::F8E4M3 {
        for (code, number) in table.iter_mut().zip(numbers.as_chunks().0) {
            *code = fp8::encode(f64::from_le_bytes(*number) as f32);
        }
        return pick::<1>(out, &table, seed);
    }
    convert(DType::F64, &numbers, dtype, &mut table);
    match dtype.size() {
        2 => pick::<2>(out, &table, seed),
        4 => pick::<4>(out, &table, seed),
        _ => pick::<8>(out, &table, seed),
    }
}

/// Fills `out` with elements of the table.
fn pick<const SIZE: usize>(out: &mut [u8], table: &[u8], seed: u64) {
    let table = table.as_chunks::<SIZE>().0;
    par::chunks(out.as_chunks_mut::<SIZE>().0, CHUNK, |i, chunk| {
        // The table itself was made of the state 0.
        let mut random = SplitMix64(seed.wrapping_add(SplitMix64(i as u64 + 1).next()));
        for four in chunk.chunks_mut(4) {
            let mut bits = random.next();
            for element in four {
                *element = table[bits as usize % NUMBERS];
                bits >>= 16;
            }
        }
    });
}

/// Of mean 0 and deviation 1; never 0.
fn normal(random: &mut SplitMix64) -> f64 {
    let bits = random.next();
    let sum: u64 = (0..4).map(|i| bits >> (16 * i) & 0xFFFF).sum();
    (sum as f64 + 0.5 - 2.0 * 65535.0) / DEVIATION
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(dtype: DType, n: usize, seed: u64) -> Vec<f64> {
        let mut bytes = vec![0; n * dtype.size()];
        fill(&mut bytes, dtype, 1.0, 0.25, seed);
        let mut wide = vec![0; n * 8];
        convert(dtype, &bytes, DType::F64, &mut wide);
        wide.as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect()
    }

    #[test]
    fn numbers_have_the_mean_and_the_deviation() {
        for dtype in [DType::BF16, DType::F16, DType::F32, DType::F64] {
            // Two chunks and a bit.
            let numbers = numbers(dtype, 2 * CHUNK + 3, 7);
            let n = numbers.len() as f64;
            let mean = numbers.iter().sum::<f64>() / n;
            let deviation = (numbers.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n).sqrt();
            assert!(
                (mean - 1.0).abs() < 0.01 && (deviation - 0.25).abs() < 0.01,
                "{dtype}: {mean} {deviation}"
            );
            assert!(numbers.iter().all(|x| (x - 1.0).abs() < 0.25 * 3.5 + 0.01), "{dtype}");
            // Neither the chunks nor neighbours repeat.
            assert!(numbers[..CHUNK] != numbers[CHUNK..2 * CHUNK], "{dtype}");
            let repeated = numbers.windows(2).filter(|pair| pair[0] == pair[1]).count();
            assert!(repeated < numbers.len() / 50, "{dtype}: {repeated}");
        }
    }

    #[test]
    fn a_seed_repeats() {
        assert_eq!(numbers(DType::BF16, 1000, 3), numbers(DType::BF16, 1000, 3));
        assert_ne!(numbers(DType::BF16, 1000, 3), numbers(DType::BF16, 1000, 4));
    }
}
