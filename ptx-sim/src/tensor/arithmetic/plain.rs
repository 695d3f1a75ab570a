//! The fast mode: f32, in the order of k.

use super::format::{Bf16, Decode, E4m3, E5m2, F16, Tf32};
use super::{NAN_F16, NAN_F32, Product};
use crate::tensor::form::{Accumulator, Element};
use crate::tensor::layout::{Accumulators, WORDS};

const MAX_K: usize = 32;

#[inline(always)]
fn decode_as<F: Decode, const N: usize>(words: &[[u32; N]; WORDS], k: usize) -> [[f32; N]; MAX_K] {
    let mut values = [[0.0; N]; MAX_K];
    let run = 32 / F::BITS;
    for (k, values) in values.iter_mut().enumerate().take(k) {
        for lane in 0..N {
            let bits = words[k / run][lane] >> (k % run * F::BITS) & (u32::MAX >> (32 - F::BITS));
            values[lane] = F::to_f32(bits);
        }
    }
    values
}

#[inline(always)]
fn decode<const N: usize>(element: Element, words: &[[u32; N]; WORDS], k: usize) -> [[f32; N]; MAX_K] {
    match element {
        Element::F16 => decode_as::<F16, N>(words, k),
        Element::Bf16 => decode_as::<Bf16, N>(words, k),
        Element::Tf32 => decode_as::<Tf32, N>(words, k),
        Element::E4m3 => decode_as::<E4m3, N>(words, k),
        Element::E5m2 => decode_as::<E5m2, N>(words, k),
    }
}

/// D, in f32 from C on, rounded once at the end where it is f16.
#[inline(always)]
pub(in crate::tensor) fn multiply(product: &Product<'_>) -> Accumulators {
    let a = decode(product.a, product.a_words, product.k);
    let b = decode(product.b, product.b_words, product.k);
    let f16 = product.accumulator == Accumulator::F16;
    let mut d = [[0; 8]; 16];
    for (row, d) in d.iter_mut().enumerate() {
        let mut sums = product.c[row].map(|bits| if f16 { F16::to_f32(bits) } else { f32::from_bits(bits) });
        for (a, b) in a.iter().zip(&b).take(product.k) {
            for column in 0..8 {
                sums[column] += a[row] * b[column];
            }
        }
        *d = sums.map(|sum| match (f16, sum.is_nan()) {
            (true, true) => NAN_F16,
            (true, false) => half::f16::from_f32(sum).to_bits().into(),
            (false, true) => NAN_F32,
            (false, false) => sum.to_bits(),
        });
    }
    d
}
