//! The arithmetic in vectors of a row's 8 columns, without branches; rows that NaN or infinity takes part in go the
//! plain way.

use super::format::{Bf16, Decode, E4m3, E5m2, F16, Tf32, UnpackedE4m3};
use super::vector::Simd;
use super::{Arithmetic, Output, Product, Steps, reference};
use crate::tensor::form::Element;
use crate::tensor::layout::{Accumulators, WORDS};

/// Largest k of floating-point types.
const MAX_K: usize = 32;
const COLUMNS: usize = 8;

/// The elements of one k: of all rows of A, or all columns of B.
#[derive(Clone, Copy)]
struct Factors<const N: usize> {
    significands: [i32; N],
    exponents: [i32; N],
}

/// A or B decoded, k in the order of the steps.
struct Side<const N: usize> {
    factors: [Factors<N>; MAX_K],
    has_special: bool,
}

/// Where element `k` comes in the order of the steps.
#[inline(always)]
fn place(steps: Steps, k: usize, size: usize) -> usize {
    match steps {
        Steps::Whole | Steps::Halves => k,
        Steps::Unpacked => k / 4 * 2 + k % 2 + if k % 4 < 2 { 0 } else { size / 2 },
    }
}

/// Decodes `k` elements of each row or column, the significands shifted left.
#[inline(always)]
fn decode_as<F: Decode, const N: usize>(
    words: &[[u32; N]; WORDS],
    k: usize,
    steps: Steps,
    shift: i32,
) -> Side<N> {
    let none = Factors { significands: [0; N], exponents: [0; N] };
    let mut side = Side { factors: [none; MAX_K], has_special: false };
    let run = 32 / F::BITS;
    let mut special = [false; N];
    for (word, values) in words.iter().enumerate().take(k / run) {
        for within in 0..run {
            let at = place(steps, word * run + within, k);
            let Factors { significands, exponents } = &mut side.factors[at];
            for lane in 0..N {
                let bits = values[lane] >> (within * F::BITS) & (u32::MAX >> (32 - F::BITS));
                let (significand, exponent) = F::decode(bits);
                significands[lane] = significand.wrapping_shl(shift as u32);
                exponents[lane] = exponent;
                special[lane] |= F::is_special(bits);
            }
        }
    }
    side.has_special = special.contains(&true);
    side
}

#[inline(always)]
fn decode<const N: usize>(
    element: Element,
    words: &[[u32; N]; WORDS],
    k: usize,
    steps: Steps,
    shift: i32,
) -> Side<N> {
    match element {
        Element::F16 => decode_as::<F16, N>(words, k, steps, shift),
        Element::Bf16 => decode_as::<Bf16, N>(words, k, steps, shift),
        Element::Tf32 => decode_as::<Tf32, N>(words, k, steps, shift),
        Element::E5m2 => decode_as::<E5m2, N>(words, k, steps, shift),
        Element::E4m3 if steps == Steps::Unpacked => decode_as::<UnpackedE4m3, N>(words, k, steps, shift),
        Element::E4m3 => decode_as::<E4m3, N>(words, k, steps, shift),
    }
}

fn fraction_bits(element: Element) -> i32 {
    match element {
        Element::F16 => F16::FRACTION,
        Element::Bf16 => Bf16::FRACTION,
        Element::Tf32 => Tf32::FRACTION,
        Element::E4m3 => E4m3::FRACTION,
        Element::E5m2 => E5m2::FRACTION,
    }
}

/// Fraction bits that C's significand is given before it is aligned: as many as any arithmetic keeps.
const C_FRACTION: i32 = 25;

/// The significand of an element of C with [`C_FRACTION`] bits, and its exponent.
#[inline(always)]
fn decode_c(bits: u32, f16: bool) -> (i32, i32) {
    let (significand, exponent) =
        if f16 { F16::decode(bits) } else { super::format::Ieee::<8, 23, 0>::decode(bits) };
    (significand << if f16 { C_FRACTION - 10 } else { C_FRACTION - 23 }, exponent)
}

/// f64 to f32 toward zero, subnormals too; a result of zero is +0.
#[inline(always)]
fn to_f32(value: f64) -> u32 {
    const OVERFLOW: f64 = (1_u128 << 127) as f64 * 2.0;
    let nearest = value as f32;
    let magnitude = value.abs();
    let too_large = f64::from(nearest).abs() > magnitude && magnitude < OVERFLOW;
    let bits = nearest.to_bits().wrapping_sub(too_large.into());
    if bits << 1 == 0 { 0 } else { bits }
}

/// f64 to f16 to nearest even; a result of zero is +0.
#[inline(always)]
fn to_f16(value: f64) -> u32 {
    let magnitude = value.abs();
    let exponent = (magnitude.to_bits() >> 52).max(1023 - 14);
    // Beside a power of two that is so much larger, only as many bits are left as f16 has: the addition rounds.
    let grid = f64::from_bits(exponent.wrapping_add(42) << 52);
    let steps = (magnitude + grid).to_bits() & ((1 << 52) - 1);
    let bits = (exponent.wrapping_sub(1023 - 14) << 10).wrapping_add(steps).min(0x7c00) as u32;
    if bits == 0 { 0 } else { bits | ((value.to_bits() >> 48) as u32 & 0x8000) }
}

/// The sums of a row as results, where `sum + c_term` counts `2^unit` each.
#[inline(always)]
pub(super) fn round(
    output: Output,
    sums: &[i32; COLUMNS],
    c_terms: &[i32; COLUMNS],
    units: &[i32; COLUMNS],
) -> [u32; COLUMNS] {
    let mut values = [0.0_f64; COLUMNS];
    let mut tiny = false;
    for column in 0..COLUMNS {
        let sum = f64::from(sums[column]) + f64::from(c_terms[column]);
        values[column] = sum * f64::from_bits((units[column].wrapping_add(1023) as u64) << 52);
        tiny |= units[column] < -126;
    }
    let mut d = [0; COLUMNS];
    // Of an f32 that is not subnormal the bits that f64 has more can be cleared.
    match output {
        Output::F16 => {
            for column in 0..COLUMNS {
                d[column] = to_f16(values[column]);
            }
        }
        Output::F32 | Output::ShortF32 if tiny => {
            for column in 0..COLUMNS {
                let bits = to_f32(values[column]) & if output == Output::F32 { u32::MAX } else { !0x3ff };
                d[column] = if bits << 1 == 0 { 0 } else { bits };
            }
        }
        Output::F32 | Output::ShortF32 => {
            let kept = u64::MAX << if output == Output::F32 { 52 - 23 } else { 52 - 13 };
            for column in 0..COLUMNS {
                d[column] = (f64::from_bits(values[column].to_bits() & kept) as f32).to_bits();
            }
        }
    }
    d
}

/// Whether an element of C or D is infinity or NaN.
#[inline(always)]
fn is_special(bits: u32, f16: bool) -> bool {
    if f16 { F16::is_special(bits) } else { bits & 0x7f80_0000 == 0x7f80_0000 }
}

/// One step of a row: the products of row `row` of `a` with `b`, added to `c`.
#[inline(always)]
fn step<S: Simd>(
    simd: S,
    arithmetic: Arithmetic,
    a: &[Factors<16>],
    b: &[Factors<COLUMNS>],
    row: usize,
    c: &[u32; COLUMNS],
) -> [u32; COLUMNS] {
    let f16 = arithmetic.output == Output::F16;
    let mut c_significands = [0; COLUMNS];
    let mut c_exponents = [0; COLUMNS];
    for column in 0..COLUMNS {
        (c_significands[column], c_exponents[column]) = decode_c(c[column], f16);
    }
    let mut largest = simd.load(&c_exponents);
    for (a, b) in a.iter().zip(b) {
        let exponents = simd.add(simd.splat(a.exponents[row]), simd.load(&b.exponents));
        largest = simd.max(largest, exponents);
    }
    // 16 products below 2^27 each do not overflow: the largest, of f16, sum up to 2145387008.
    let mut sums = simd.splat(0);
    for (a, b) in a.iter().zip(b) {
        let products = simd.mul(simd.splat(a.significands[row]), simd.load(&b.significands));
        let exponents = simd.add(simd.splat(a.exponents[row]), simd.load(&b.exponents));
        sums = simd.add(sums, simd.truncate(products, simd.sub(largest, exponents)));
    }
    let c_shifts = simd
        .add(simd.sub(largest, simd.load(&c_exponents)), simd.splat(C_FRACTION - arithmetic.fraction_bits));
    let c_terms = simd.store(simd.truncate(simd.load(&c_significands), c_shifts));
    let units = simd.store(simd.sub(largest, simd.splat(arithmetic.fraction_bits)));
    round(arithmetic.output, &simd.store(sums), &c_terms, &units)
}

/// D, bit for bit as the tensor cores compute it.
#[inline(always)]
pub(in crate::tensor) fn multiply(
    simd: impl Simd,
    product: &Product<'_>,
    arithmetic: Arithmetic,
) -> Accumulators {
    // One loop for each kind of result, so that none decides inside.
    match arithmetic.output {
        Output::F32 => multiply_into(simd, product, Arithmetic { output: Output::F32, ..arithmetic }),
        Output::ShortF32 => {
            multiply_into(simd, product, Arithmetic { output: Output::ShortF32, ..arithmetic })
        }
        Output::F16 => multiply_into(simd, product, Arithmetic { output: Output::F16, ..arithmetic }),
    }
}

#[inline(always)]
fn multiply_into(simd: impl Simd, product: &Product<'_>, arithmetic: Arithmetic) -> Accumulators {
    let Product { a, b, k, c, .. } = *product;
    let steps = arithmetic.steps;
    let f16 = arithmetic.output == Output::F16;
    let shift = arithmetic.fraction_bits - fraction_bits(a) - fraction_bits(b);
    let a_side = decode(a, product.a_words, k, steps, shift);
    let b_side = decode(b, product.b_words, k, steps, 0);
    let any_special = a_side.has_special || b_side.has_special;
    let size = if steps == Steps::Whole { k } else { k / 2 };
    let mut d = [[0; COLUMNS]; 16];
    for (row, d) in d.iter_mut().enumerate() {
        let c = &c[row];
        let mut sum = if steps == Steps::Unpacked { [0; COLUMNS] } else { *c };
        let mut special = [any_special; COLUMNS];
        for (a, b) in a_side.factors[..k].chunks(size).zip(b_side.factors[..k].chunks(size)) {
            for column in 0..COLUMNS {
                special[column] |= is_special(sum[column], f16);
            }
            sum = step(simd, arithmetic, a, b, row, &sum);
        }
        if special.contains(&true) {
            for (column, d) in d.iter_mut().enumerate() {
                *d = product.reference(arithmetic, row, column);
            }
        } else if steps == Steps::Unpacked {
            for column in 0..COLUMNS {
                d[column] = reference::add(sum[column], c[column], arithmetic.output);
            }
        } else {
            *d = sum;
        }
    }
    d
}
