//! The accumulation types, and the conversions between them and the element types of tensors.

use std::fmt::Debug;
use std::ops::{Add, AddAssign, Div, Mul, Sub};

use bytemuck::Pod;
use half::{bf16, f16};

use super::simd::Dots;
use crate::quant::fp8;
use crate::tensor::DType;

/// A type that the reference accumulates in: f32, as the kernels do, or f64, to judge both.
pub trait Real:
    Element
    + Dots
    + Debug
    + Default
    + PartialOrd
    + Add<Output = Self>
    + AddAssign
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
{
    /// As an element type.
    const DTYPE: DType;
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;
    /// -inf.
    const NEG_INFINITY: Self;
    /// Exact.
    fn from_f32(x: f32) -> Self;
    /// Rounded to nearest even.
    fn from_f64(x: f64) -> Self;
    /// Rounded to nearest even.
    fn to_f32(self) -> f32;
    /// Exact.
    fn to_f64(self) -> f64;
    /// Rounded to odd where it is not exact: rounding that to a narrower type gives what rounding `self` once would.
    fn to_f32_odd(self) -> f32;
    /// `e^self`.
    fn exp(self) -> Self;
    /// Natural logarithm.
    fn ln(self) -> Self;
    /// Square root.
    fn sqrt(self) -> Self;
}

impl Real for f32 {
    const DTYPE: DType = DType::F32;
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    const NEG_INFINITY: Self = f32::NEG_INFINITY;

    #[inline(always)]
    fn from_f32(x: f32) -> Self {
        x
    }
    #[inline(always)]
    fn from_f64(x: f64) -> Self {
        x as f32
    }
    #[inline(always)]
    fn to_f32(self) -> f32 {
        self
    }
    #[inline(always)]
    fn to_f64(self) -> f64 {
        f64::from(self)
    }
    #[inline(always)]
    fn to_f32_odd(self) -> f32 {
        self
    }
    #[inline(always)]
    fn exp(self) -> Self {
        exp_f32(self)
    }
    fn ln(self) -> Self {
        // Rounding hides what two libraries' f64 logarithms differ by.
        f64::from(self).ln() as f32
    }
    fn sqrt(self) -> Self {
        f32::sqrt(self)
    }
}

impl Real for f64 {
    const DTYPE: DType = DType::F64;
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    const NEG_INFINITY: Self = f64::NEG_INFINITY;

    #[inline(always)]
    fn from_f32(x: f32) -> Self {
        f64::from(x)
    }
    #[inline(always)]
    fn from_f64(x: f64) -> Self {
        x
    }
    #[inline(always)]
    fn to_f32(self) -> f32 {
        self as f32
    }
    #[inline(always)]
    fn to_f64(self) -> f64 {
        self
    }
    #[inline(always)]
    fn to_f32_odd(self) -> f32 {
        let near = self as f32;
        if f64::from(near) == self || self.is_nan() {
            return near;
        }
        // Toward zero, then the last bit set to say that something was cut off.
        let away = f64::from(near).abs() > self.abs();
        f32::from_bits((near.to_bits() - u32::from(away)) | 1)
    }
    fn exp(self) -> Self {
        f64::exp(self)
    }
    fn ln(self) -> Self {
        f64::ln(self)
    }
    fn sqrt(self) -> Self {
        f64::sqrt(self)
    }
}

/// Element types that processors have instructions for.
#[derive(Clone, Copy)]
pub enum Format {
    F32,
    BF16,
    F16,
    Other,
}

/// A float that tensors hold. (Public only as a bound of [`Real`], which it thereby closes to other crates.)
pub trait Element: Pod + Send + Sync {
    /// For instructions that convert it.
    const FORMAT: Format = Format::Other;
    /// Exact, except for an f64 that is accumulated in f32.
    fn load<A: Real>(self) -> A;
    /// Rounded once, to nearest even.
    fn store<A: Real>(x: A) -> Self;
}

impl Element for f64 {
    #[inline(always)]
    fn load<A: Real>(self) -> A {
        A::from_f64(self)
    }
    #[inline(always)]
    fn store<A: Real>(x: A) -> Self {
        x.to_f64()
    }
}

impl Element for f32 {
    const FORMAT: Format = Format::F32;

    #[inline(always)]
    fn load<A: Real>(self) -> A {
        A::from_f32(self)
    }
    #[inline(always)]
    fn store<A: Real>(x: A) -> Self {
        x.to_f32()
    }
}

impl Element for bf16 {
    const FORMAT: Format = Format::BF16;

    #[inline(always)]
    fn load<A: Real>(self) -> A {
        A::from_f32(f32::from_bits(u32::from(self.to_bits()) << 16))
    }
    #[inline(always)]
    fn store<A: Real>(x: A) -> Self {
        bf16::from_f32(x.to_f32_odd())
    }
}

impl Element for f16 {
    const FORMAT: Format = Format::F16;

    #[inline(always)]
    fn load<A: Real>(self) -> A {
        A::from_f32(f16_to_f32(self.to_bits()))
    }
    #[inline(always)]
    fn store<A: Real>(x: A) -> Self {
        f16::from_f32(x.to_f32_odd())
    }
}

/// The bits of an E4M3FN number: u8 has no other meaning as a float.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(transparent)]
pub(crate) struct E4m3(pub u8);

impl Element for E4m3 {
    #[inline(always)]
    fn load<A: Real>(self) -> A {
        A::from_f32(fp8::decode(self.0))
    }
    #[inline(always)]
    fn store<A: Real>(x: A) -> Self {
        E4m3(fp8::encode(x.to_f32_odd()))
    }
}

/// Without branches and without `half`'s test for F16C, so that it vectorises; selects are cheaper than a multiplication
/// by 2^112, which would meet subnormal operands.
#[inline(always)]
fn f16_to_f32(half: u16) -> f32 {
    const SMALLEST_NORMAL: u32 = 113 << 23;
    let magnitude = u32::from(half & 0x7FFF) << 13;
    let sign = u32::from(half & 0x8000) << 16;
    let normal = magnitude + (112 << 23);
    // Zero and subnormals: mantissa * 2^-24, which is the difference of two normal numbers.
    let subnormal = (f32::from_bits(magnitude + SMALLEST_NORMAL) - f32::from_bits(SMALLEST_NORMAL)).to_bits();
    let finite = if magnitude < 1 << 23 { subnormal } else { normal };
    // Infinity and NaN: all ones in the exponent.
    let all = if magnitude >= 31 << 23 { finite + (112 << 23) } else { finite };
    f32::from_bits(all | sign)
}

/// `e^x` to within 0.501 units of the last place, with the same bits on every machine, which C libraries' `expf` does not
/// promise, and without branches, so that it vectorises: `2^n * e^r` in f64, with `n` the integer nearest to `x / ln 2`.
#[inline(always)]
fn exp_f32(x: f32) -> f32 {
    /// Beyond these the result is infinite, or 0.
    const LIMITS: (f32, f32) = (-104.0, 89.0);
    /// Adding this leaves the nearest integer in the low bits.
    const ALIGN: f64 = 6_755_399_441_055_744.0;
    /// `1 / i!`
    const TERMS: [f64; 10] = [
        1.0,
        1.0,
        1.0 / 2.0,
        1.0 / 6.0,
        1.0 / 24.0,
        1.0 / 120.0,
        1.0 / 720.0,
        1.0 / 5040.0,
        1.0 / 40320.0,
        1.0 / 362_880.0,
    ];
    // Comparisons keep NaN, which `f32::max` would drop.
    let x = if x < LIMITS.0 { LIMITS.0 } else { x };
    let x = f64::from(if x > LIMITS.1 { LIMITS.1 } else { x });
    let aligned = x * std::f64::consts::LOG2_E + ALIGN;
    let r = x - (aligned - ALIGN) * std::f64::consts::LN_2;
    let mut e = TERMS[9];
    for term in TERMS[..9].iter().rev() {
        e = e * r + term;
    }
    let power = f64::from_bits((aligned.to_bits() << 52).wrapping_add(1023 << 52));
    (e * power) as f32
}

/// `x` as it would be read back after a store in `dtype`.
#[inline]
pub(crate) fn round<A: Real>(dtype: DType, x: A) -> A {
    match dtype {
        DType::F32 => f32::store(x).load(),
        DType::BF16 => bf16::store(x).load(),
        DType::F16 => f16::store(x).load(),
        DType::F8E4M3 => E4m3::store(x).load(),
        _ => x,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_is_read_as_half_reads_it() {
        for bits in 0..=u16::MAX {
            let (ours, theirs) = (f16::from_bits(bits).load::<f32>(), f16::from_bits(bits).to_f32());
            assert!(
                ours.to_bits() == theirs.to_bits() || (ours.is_nan() && theirs.is_nan()),
                "f16 {bits:#06x}"
            );
            let (ours, theirs) = (bf16::from_bits(bits).load::<f32>(), bf16::from_bits(bits).to_f32());
            assert!(
                ours.to_bits() == theirs.to_bits() || (ours.is_nan() && theirs.is_nan()),
                "bf16 {bits:#06x}"
            );
        }
    }

    #[test]
    fn exp_is_correct_to_half_a_unit() {
        // Every 1009th float, and the limits.
        let limits = [f32::NEG_INFINITY, -104.0, -103.9, -87.4, -0.0, 0.0, 88.72, 88.73, 89.0, f32::INFINITY];
        for x in (0..=u32::MAX).step_by(1009).map(f32::from_bits).chain(limits) {
            let (ours, exact) = (exp_f32(x), f64::from(x).exp());
            let nearest = exact as f32;
            if !nearest.is_finite() || nearest == 0.0 {
                assert!(
                    ours == nearest || (ours.is_nan() && nearest.is_nan()),
                    "e^{x}: {ours} for {nearest}"
                );
                continue;
            }
            let unit = f64::from(nearest.next_up()) - f64::from(nearest);
            let unit =
                if unit.is_finite() { unit } else { f64::from(nearest) - f64::from(nearest.next_down()) };
            let error = (f64::from(ours) - exact).abs() / unit;
            assert!(error < 0.501, "e^{x}: {ours} for {exact}, off by {error} units");
        }
    }

    /// Between two neighbouring 16-bit numbers: their middle goes to the even one, and an f64 a hair off the middle, which
    /// f32 cannot tell from it, to the nearer one.
    fn check_f64_stores<E: Element>(from_bits: fn(u16) -> E, to_bits: fn(E) -> u16, infinity: u16) {
        for bits in 0..infinity - 1 {
            let (low, high) = (from_bits(bits).load::<f64>(), from_bits(bits + 1).load::<f64>());
            let middle = (low + high) / 2.0;
            let even = bits + (bits & 1);
            for sign in [1.0, -1.0] {
                let stored = |x: f64| to_bits(E::store(sign * x));
                let mark = if sign < 0.0 { 0x8000 } else { 0 };
                assert_eq!(stored(low), bits | mark);
                assert_eq!(stored(middle), even | mark);
                assert_eq!(stored(middle * (1.0 - 1e-14)), bits | mark);
                assert_eq!(stored(middle * (1.0 + 1e-14)), (bits + 1) | mark);
            }
        }
        assert_eq!(to_bits(E::store(f64::MAX)), infinity);
        assert_eq!(to_bits(E::store(f64::INFINITY)), infinity);
        assert!(from_bits(to_bits(E::store(f64::NAN))).load::<f64>().is_nan());
    }

    #[test]
    fn f64_is_rounded_once() {
        check_f64_stores(f16::from_bits, f16::to_bits, 0x7C00);
        check_f64_stores(bf16::from_bits, bf16::to_bits, 0x7F80);
    }
}
