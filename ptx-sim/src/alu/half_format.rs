//! The 16-bit formats: conversions from and to f32 without branches, so that loops over lanes become vector code.

use super::rounding::{Format, Zero, add_to_odd, f64_to_f32};

const F32_SIGN: u32 = 1 << 31;
const F32_INFINITY: u32 = 0xff << 23;

/// The NaN that f32 instructions make (CUDA's `CUDART_NAN_F`).
pub(crate) const F32_NAN: u32 = 0x7fff_ffff;
/// The NaN that f16 and bf16 instructions make.
pub(crate) const HALF_NAN: u32 = 0x7fff;
pub(crate) const HALF_SIGN: u32 = 0x8000;

/// A 16-bit format, in the low half of a u32 whose upper half is zero.
pub(crate) trait HalfFormat: 'static {
    /// Infinity: all bits of the exponent.
    const INFINITY: u32;
    /// 1.0.
    const ONE: u32;
    /// Its numbers.
    const FORMAT: Format;
    /// To f32, exactly.
    fn widen(half: u32) -> f32;
    /// To nearest, ties to even.
    fn narrow(x: f32) -> u32;
    /// a · b + c of numbers of the format, rounded once, to nearest.
    fn multiply_add(a: f32, b: f32, c: f32) -> u32;

    #[inline(always)]
    fn is_nan(half: u32) -> bool {
        half & !HALF_SIGN > Self::INFINITY
    }

    /// `.ftz`: zero of its sign for a subnormal number.
    #[inline(always)]
    fn flush(half: u32) -> u32 {
        if half & Self::INFINITY == 0 { half & HALF_SIGN } else { half }
    }
}

/// IEEE 754 binary16.
pub(crate) struct F16;
/// The upper half of an f32.
pub(crate) struct Bf16;

impl HalfFormat for F16 {
    const INFINITY: u32 = 0x7c00;
    const ONE: u32 = 0x3c00;
    const FORMAT: Format = Format::F16;

    #[inline(always)]
    fn widen(half: u32) -> f32 {
        f16_to_f32(half)
    }

    #[inline(always)]
    fn narrow(x: f32) -> u32 {
        f32_to_f16(x)
    }

    /// The product has 22 bits and is exact in f32. Its sum with c is rounded to odd, which a second rounding to
    /// 11 bits cannot tell from the exact sum.
    #[inline(always)]
    fn multiply_add(a: f32, b: f32, c: f32) -> u32 {
        let product = a * b;
        let sum = product + c;
        let c_part = sum - product;
        let product_part = sum - c_part;
        let lost = (product - product_part) + (c - c_part);
        let bits = sum.to_bits();
        let even_and_inexact = u32::from(lost.abs() > 0.0) & !bits & 1;
        let inward = (bits ^ lost.to_bits()) >> 31;
        let odd = bits.wrapping_add(even_and_inexact).wrapping_sub(2 * (even_and_inexact & inward));
        f32_to_f16(f32::from_bits(odd))
    }
}

impl HalfFormat for Bf16 {
    const INFINITY: u32 = 0x7f80;
    const ONE: u32 = 0x3f80;
    const FORMAT: Format = Format::BF16;

    #[inline(always)]
    fn widen(half: u32) -> f32 {
        f32::from_bits(half << 16)
    }

    #[inline(always)]
    fn narrow(x: f32) -> u32 {
        f32_to_bf16(x)
    }

    /// The product may lie outside f32's range, so f64 holds it; sum and the step to f32 are rounded to odd.
    #[inline(always)]
    fn multiply_add(a: f32, b: f32, c: f32) -> u32 {
        let sum = add_to_odd(f64::from(a) * f64::from(b), f64::from(c));
        let truncated = f64_to_f32::<Zero>(sum);
        let sticky = u32::from(f64::from(truncated) != sum);
        f32_to_bf16(f32::from_bits(truncated.to_bits() | sticky))
    }
}

/// f16 to f32; NaN becomes the canonical one.
#[inline(always)]
pub(crate) fn f16_to_f32(half: u32) -> f32 {
    const REBIAS: u32 = (127 - 15) << 23;
    let magnitude = (half & 0x7fff) << 13;
    let normal = magnitude + REBIAS;
    // 2^-14 + x·2^-24, less 2^-14: the subtraction normalises.
    let subnormal = (f32::from_bits(magnitude + REBIAS + (1 << 23)) - f32::from_bits(113 << 23)).to_bits();
    let finite = if magnitude < 1 << 23 { subnormal } else { normal };
    let special = if magnitude > 0x7c00 << 13 { F32_NAN } else { F32_INFINITY };
    let sign = (half & HALF_SIGN) << 16;
    let bits = if magnitude >= 0x7c00 << 13 { special } else { finite };
    f32::from_bits(if bits == F32_NAN { bits } else { bits | sign })
}

/// f32 to f16, to nearest, ties to even.
#[inline(always)]
pub(crate) fn f32_to_f16(x: f32) -> u32 {
    let bits = x.to_bits();
    let magnitude = bits & !F32_SIGN;
    let sign = bits >> 16 & HALF_SIGN;
    let to_even = 0xfff + (magnitude >> 13 & 1);
    let normal = magnitude.wrapping_sub((127 - 15) << 23).wrapping_add(to_even) >> 13;
    // Beside 0.5 the last bit of an f32 is worth 2^-24, as in a subnormal f16.
    let subnormal = (f32::from_bits(magnitude) + 0.5).to_bits().wrapping_sub(0.5f32.to_bits());
    let finite = if magnitude < 113 << 23 { subnormal } else { normal };
    // From 65520 on, rounding carries into the exponent and makes infinity.
    let half = if magnitude >= 143 << 23 { 0x7c00 } else { finite } | sign;
    if magnitude > F32_INFINITY { HALF_NAN } else { half }
}

/// f32 to bf16, to nearest, ties to even.
#[inline(always)]
pub(crate) fn f32_to_bf16(x: f32) -> u32 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
    if bits & !F32_SIGN > F32_INFINITY { HALF_NAN } else { rounded }
}

/// `.ftz` of an f32: zero of its sign for a subnormal number.
#[inline(always)]
pub(crate) fn flush_f32(bits: u32) -> u32 {
    if bits & F32_INFINITY == 0 { bits & F32_SIGN } else { bits }
}

#[inline(always)]
pub(crate) fn is_nan_f32(bits: u32) -> bool {
    bits & !F32_SIGN > F32_INFINITY
}
