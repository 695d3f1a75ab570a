//! The arithmetic of one step, for matrices that many rows are multiplied with: products in f32, which holds them
//! exactly, scaled so that cutting them off at the step's fraction bits is their conversion to an integer.

use super::format::{Bf16, Decode, E4m3, E5m2, F16, Ieee, Tf32};
use super::fused::round;
use super::vector::Simd;
use super::{Arithmetic, NAN_F16, NAN_F32, Output, Product};
use crate::tensor::form::{Accumulator, Element};
use crate::tensor::layout::{Accumulators, WORDS};

/// Largest k of floating-point types.
const MAX_K: usize = 32;
const COLUMNS: usize = 8;

/// The exponents of a sum's largest term for which products and scale are normal numbers of f32: what is below the
/// least normal number is cut off whatever it is.
const EXPONENTS: std::ops::RangeInclusive<i32> = -99..=125;
/// An exponent beyond those, for infinity and NaN.
const SPECIAL: i32 = 1000;

/// Rows of A or columns of B decoded: by k, then by row or column.
#[derive(Clone, Debug)]
pub(in crate::tensor) struct Decoded<const N: usize> {
    values: [[f32; N]; MAX_K],
    exponents: [[i32; N]; MAX_K],
}

#[inline(always)]
fn decode_as<F: Decode, const N: usize>(words: &[[u32; N]; WORDS]) -> Decoded<N> {
    let mut decoded = Decoded { values: [[0.0; N]; MAX_K], exponents: [[0; N]; MAX_K] };
    let run = 32 / F::BITS;
    for (word, lines) in words.iter().enumerate() {
        for within in 0..run {
            let k = word * run + within;
            for (line, value) in lines.iter().enumerate() {
                let bits = value >> (within * F::BITS) & (u32::MAX >> (32 - F::BITS));
                let (_, exponent) = F::decode(bits);
                decoded.values[k][line] = F::to_f32(bits);
                decoded.exponents[k][line] = if F::is_special(bits) { SPECIAL } else { exponent };
            }
        }
    }
    decoded
}

/// Decodes 32 bytes of k.
#[inline(always)]
pub(in crate::tensor) fn decode<const N: usize>(element: Element, words: &[[u32; N]; WORDS]) -> Decoded<N> {
    match element {
        Element::F16 => decode_as::<F16, N>(words),
        Element::Bf16 => decode_as::<Bf16, N>(words),
        Element::Tf32 => decode_as::<Tf32, N>(words),
        Element::E4m3 => decode_as::<E4m3, N>(words),
        Element::E5m2 => decode_as::<E5m2, N>(words),
    }
}

/// The value and the exponent of an element of C.
#[inline(always)]
fn decode_c(bits: u32, f16: bool) -> (f32, i32) {
    type F32 = Ieee<8, 23, 0>;
    let (value, (_, exponent), special) = if f16 {
        (F16::to_f32(bits), F16::decode(bits), F16::is_special(bits))
    } else {
        (f32::from_bits(bits), F32::decode(bits), F32::is_special(bits))
    };
    (value, if special { SPECIAL } else { exponent })
}

/// D, bit for bit as the tensor cores compute it in one step.
#[inline(always)]
pub(in crate::tensor) fn multiply(
    simd: impl Simd,
    product: &Product<'_>,
    arithmetic: Arithmetic,
    a: &Decoded<16>,
    b: &Decoded<COLUMNS>,
) -> Accumulators {
    // One loop for each kind of result, and for k of 16, so that none decides inside.
    match (arithmetic.output, product.k) {
        (Output::F32, 16) => {
            let arithmetic = Arithmetic { output: Output::F32, ..arithmetic };
            multiply_into(simd, &Product { k: 16, ..*product }, arithmetic, a, b)
        }
        (Output::ShortF32, 32) => {
            let arithmetic = Arithmetic { output: Output::ShortF32, ..arithmetic };
            multiply_into(simd, &Product { k: 32, ..*product }, arithmetic, a, b)
        }
        (Output::F16, _) => {
            multiply_into(simd, product, Arithmetic { output: Output::F16, ..arithmetic }, a, b)
        }
        _ => multiply_into(simd, product, arithmetic, a, b),
    }
}

#[inline(always)]
fn multiply_into<S: Simd>(
    simd: S,
    product: &Product<'_>,
    arithmetic: Arithmetic,
    a: &Decoded<16>,
    b: &Decoded<COLUMNS>,
) -> Accumulators {
    let f16 = arithmetic.output == Output::F16;
    let fraction_bits = arithmetic.fraction_bits;
    let k = product.k.min(MAX_K);
    let mut d = [[0; COLUMNS]; 16];
    for (row, d) in d.iter_mut().enumerate() {
        let mut c_values = [0.0; COLUMNS];
        let mut c_exponents = [0; COLUMNS];
        for column in 0..COLUMNS {
            (c_values[column], c_exponents[column]) = decode_c(product.c[row][column], f16);
        }
        let mut largest = simd.load(&c_exponents);
        for (a, b) in a.exponents.iter().zip(&b.exponents).take(k) {
            largest = simd.max(largest, simd.add(simd.splat(a[row]), simd.load(b)));
        }
        let scale = simd.power_of_two(simd.sub(simd.splat(fraction_bits), largest));
        // 16 products below 2^27 each do not overflow, as for `mma`; 32 below 2^15 do not either.
        let mut sums = simd.splat(0);
        for (a, b) in a.values.iter().zip(&b.values).take(k) {
            let products = simd.mul_floats(simd.splat_float(a[row]), simd.load_floats(b));
            sums = simd.add(sums, simd.truncate_floats(simd.mul_floats(products, scale)));
        }
        let c_terms = simd.truncate_floats(simd.mul_floats(simd.load_floats(&c_values), scale));
        let units = simd.store(simd.sub(largest, simd.splat(fraction_bits)));
        *d = round(arithmetic.output, &simd.store(sums), &simd.store(c_terms), &units);
        if !simd.all_within(largest, *EXPONENTS.start(), *EXPONENTS.end()) {
            redo(product, arithmetic, (a, b), row, &simd.store(largest), d);
        }
    }
    d
}

/// The elements of a row whose largest term is out of the range.
#[cold]
fn redo(
    product: &Product<'_>,
    arithmetic: Arithmetic,
    (a, b): (&Decoded<16>, &Decoded<COLUMNS>),
    row: usize,
    largest: &[i32; COLUMNS],
    d: &mut [u32; COLUMNS],
) {
    let f16 = arithmetic.output == Output::F16;
    let c_magnitude = if f16 { 0x7fff } else { 0x7fff_ffff };
    let a_is_nan = a.values.iter().take(product.k).any(|a| a[row].is_nan());
    for column in (0..COLUMNS).filter(|column| !EXPONENTS.contains(&largest[*column])) {
        // Garbage that is computed with beside what counts is soon all NaN, whatever it is multiplied with.
        if a_is_nan || decode_c(product.c[row][column], f16).0.is_nan() {
            d[column] = if f16 { NAN_F16 } else { NAN_F32 };
            continue;
        }
        let mut pairs = a.values.iter().zip(&b.values).take(product.k);
        // Mostly there is nothing but zeros.
        let zero = product.c[row][column] & c_magnitude == 0
            && pairs.all(|(a, b)| a[row] == 0.0 || b[column] == 0.0)
            && largest[column] < *EXPONENTS.start();
        d[column] = if zero { 0 } else { product.reference(arithmetic, row, column) };
    }
}

/// D in the fast mode: in f32, in the order of k.
#[inline(always)]
pub(in crate::tensor) fn multiply_plain<S: Simd>(
    simd: S,
    product: &Product<'_>,
    a: &Decoded<16>,
    b: &Decoded<COLUMNS>,
) -> Accumulators {
    let f16 = product.accumulator == Accumulator::F16;
    let mut d = [[0; COLUMNS]; 16];
    for (row, d) in d.iter_mut().enumerate() {
        let c = product.c[row].map(|bits| if f16 { F16::to_f32(bits) } else { f32::from_bits(bits) });
        let mut sums = simd.load_floats(&c);
        for (a, b) in a.values.iter().zip(&b.values).take(product.k) {
            sums = simd.add_floats(sums, simd.mul_floats(simd.splat_float(a[row]), simd.load_floats(b)));
        }
        *d = simd.store_floats(sums).map(|sum| match (f16, sum.is_nan()) {
            (true, true) => NAN_F16,
            (true, false) => half::f16::from_f32(sum).to_bits().into(),
            (false, true) => NAN_F32,
            (false, false) => sum.to_bits(),
        });
    }
    d
}
