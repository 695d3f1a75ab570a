//! The arithmetic written plainly, one element of D at a time: what the fast version is tested against, and what
//! computes the elements that NaN or infinity takes part in.

use super::{Arithmetic, NAN_F16, NAN_F32, Output, Steps};
use crate::tensor::form::Element;

/// A binary floating-point format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tensor) struct Format {
    pub exponent_bits: u32,
    pub fraction_bits: u32,
    /// The largest exponent is for infinity and NaN; without, one pattern alone is NaN.
    pub has_infinity: bool,
}

impl Format {
    pub const F16: Self = Self { exponent_bits: 5, fraction_bits: 10, has_infinity: true };
    pub const BF16: Self = Self { exponent_bits: 8, fraction_bits: 7, has_infinity: true };
    /// Without the 13 low bits of its register, which are ignored.
    pub const TF32: Self = Self { exponent_bits: 8, fraction_bits: 10, has_infinity: true };
    pub const F32: Self = Self { exponent_bits: 8, fraction_bits: 23, has_infinity: true };
    pub const E4M3: Self = Self { exponent_bits: 4, fraction_bits: 3, has_infinity: false };
    pub const E5M2: Self = Self { exponent_bits: 5, fraction_bits: 2, has_infinity: true };

    fn bias(self) -> i32 {
        (1 << (self.exponent_bits - 1)) - 1
    }

    fn least_exponent(self) -> i32 {
        1 - self.bias()
    }
}

/// What a bit pattern means: `±significand * 2^(exponent - fraction_bits)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tensor) enum Value {
    Finite { negative: bool, significand: i64, fraction_bits: i32, exponent: i32 },
    Infinite { negative: bool },
    Nan,
}

/// The exponent that a zero counts with.
const ZERO_EXPONENT: i32 = -126;

impl Value {
    pub fn of(format: Format, bits: u32) -> Self {
        let negative = bits >> (format.exponent_bits + format.fraction_bits) & 1 != 0;
        let largest = (1 << format.exponent_bits) - 1;
        let field = bits >> format.fraction_bits & largest;
        let fraction = bits & ((1 << format.fraction_bits) - 1);
        if format.has_infinity && field == largest {
            return if fraction == 0 { Self::Infinite { negative } } else { Self::Nan };
        }
        if !format.has_infinity && field == largest && fraction == (1 << format.fraction_bits) - 1 {
            return Self::Nan;
        }
        let (significand, exponent) = if field == 0 {
            (fraction, format.least_exponent())
        } else {
            (fraction | 1 << format.fraction_bits, field as i32 - format.bias())
        };
        let exponent = if significand == 0 { ZERO_EXPONENT } else { exponent };
        Self::Finite {
            negative,
            significand: significand.into(),
            fraction_bits: format.fraction_bits as i32,
            exponent,
        }
    }

    /// A factor of a product, of which `unpacked` ones are f16: the subnormals of e4m3 are normal there.
    fn factor(ty: Element, bits: u32, unpacked: bool) -> Self {
        let value = match ty {
            Element::F16 => Self::of(Format::F16, bits),
            Element::Bf16 => Self::of(Format::BF16, bits),
            Element::Tf32 => Self::of(Format::TF32, bits >> 13),
            Element::E4m3 => Self::of(Format::E4M3, bits),
            Element::E5m2 => Self::of(Format::E5M2, bits),
        };
        match value {
            Self::Finite { negative, mut significand, fraction_bits, mut exponent }
                if unpacked && significand != 0 =>
            {
                while significand < 1 << fraction_bits && exponent > Format::F16.least_exponent() {
                    significand <<= 1;
                    exponent -= 1;
                }
                Self::Finite { negative, significand, fraction_bits, exponent }
            }
            value => value,
        }
    }

    fn times(self, other: Self) -> Self {
        let zero = |value| matches!(value, Self::Finite { significand: 0, .. });
        match (self, other) {
            (Self::Nan, _) | (_, Self::Nan) => Self::Nan,
            (Self::Infinite { .. }, value) | (value, Self::Infinite { .. }) if zero(value) => Self::Nan,
            (
                Self::Infinite { negative: a },
                Self::Infinite { negative: b } | Self::Finite { negative: b, .. },
            )
            | (Self::Finite { negative: a, .. }, Self::Infinite { negative: b }) => {
                Self::Infinite { negative: a != b }
            }
            (
                Self::Finite { negative: a, significand: sa, fraction_bits: fa, exponent: ea },
                Self::Finite { negative: b, significand: sb, fraction_bits: fb, exponent: eb },
            ) => Self::Finite {
                negative: a != b,
                significand: sa * sb,
                fraction_bits: fa + fb,
                exponent: ea + eb,
            },
        }
    }
}

/// Terms of a step at most: 32 products and C.
const MAX_TERMS: usize = 33;

/// One step: the terms aligned, cut off, added and rounded.
pub(in crate::tensor) fn fused_sum(terms: &[Value], fraction_bits: i32, output: Output) -> u32 {
    let infinity =
        |wanted| terms.iter().any(|term| matches!(term, Value::Infinite { negative } if *negative == wanted));
    let nan = terms.contains(&Value::Nan);
    let (positive, negative) = (infinity(false), infinity(true));
    let f16 = output == Output::F16;
    match (nan || positive && negative, positive || negative) {
        (true, _) => return if f16 { NAN_F16 } else { NAN_F32 },
        (_, true) if f16 => return 0x7c00 | u32::from(negative) << 15,
        (_, true) => return 0x7f80_0000 | u32::from(negative) << 31,
        _ => {}
    }
    let finite = || {
        terms.iter().filter_map(|term| match *term {
            Value::Finite { negative, significand, fraction_bits, exponent } => {
                Some((if negative { -1 } else { 1 }, significand, fraction_bits, exponent))
            }
            _ => None,
        })
    };
    let largest = finite().map(|(_, _, _, exponent)| exponent).max().unwrap_or(ZERO_EXPONENT);
    let sum = finite()
        .map(|(sign, significand, of_term, exponent)| {
            let shift = fraction_bits - of_term + exponent - largest;
            sign * if shift >= 0 { significand << shift } else { significand >> (-shift).min(63) }
        })
        .sum::<i64>();
    round(sum, largest - fraction_bits, output)
}

/// `sum * 2^unit` in the format of the output.
fn round(sum: i64, unit: i32, output: Output) -> u32 {
    let (format, kept_bits) = match output {
        Output::F32 => (Format::F32, 23),
        Output::ShortF32 => (Format::F32, 13),
        Output::F16 => (Format::F16, 10),
    };
    if sum == 0 {
        return 0;
    }
    let magnitude = sum.unsigned_abs();
    let exponent = (magnitude.ilog2() as i32 + unit).max(format.least_exponent());
    let dropped = exponent - kept_bits - unit;
    let kept = if dropped <= 0 {
        magnitude << -dropped
    } else {
        let kept = magnitude.checked_shr(dropped as u32).unwrap_or(0);
        let rest = magnitude - kept.checked_shl(dropped as u32).unwrap_or(0);
        let half = 1_u64.checked_shl(dropped as u32 - 1).unwrap_or(u64::MAX);
        let up = output == Output::F16 && (rest > half || rest == half && kept & 1 != 0);
        kept + u64::from(up)
    };
    if kept == 0 {
        return 0;
    }
    // The significand's leading one, where there is one, is carried into the exponent's field.
    let field = ((exponent - format.least_exponent()) as u64) << format.fraction_bits;
    let infinity = u64::from((1_u32 << format.exponent_bits) - 1) << format.fraction_bits;
    let bits = (field + (kept << (format.fraction_bits as i32 - kept_bits))).min(infinity) as u32;
    bits | u32::from(sum < 0) << (format.exponent_bits + format.fraction_bits)
}

/// One element of D: `factors` are the elements of its row of A and its column of B.
pub(in crate::tensor) fn element(
    arithmetic: Arithmetic,
    a: Element,
    b: Element,
    factors: &[(u32, u32)],
    c: u32,
) -> u32 {
    let Arithmetic { fraction_bits, output, steps } = arithmetic;
    let format = if output == Output::F16 { Format::F16 } else { Format::F32 };
    let step = |c: u32, chosen: &dyn Fn(usize) -> bool| {
        let mut terms = [Value::of(format, c); MAX_TERMS];
        let mut count = 1;
        let unpacked = steps == Steps::Unpacked;
        let chosen = factors.iter().enumerate().filter(|(k, _)| chosen(*k));
        for (term, (_, &(x, y))) in terms.iter_mut().skip(1).zip(chosen) {
            *term = Value::factor(a, x, unpacked).times(Value::factor(b, y, unpacked));
            count += 1;
        }
        fused_sum(&terms[..count], fraction_bits, output)
    };
    let half = factors.len() / 2;
    match steps {
        Steps::Whole => step(c, &|_| true),
        Steps::Halves => step(step(c, &|k| k < half), &|k| k >= half),
        Steps::Unpacked => add(step(step(0, &|k| k % 4 < 2), &|k| k % 4 >= 2), c, output),
    }
}

/// An ordinary addition to nearest even.
pub(in crate::tensor) fn add(x: u32, y: u32, output: Output) -> u32 {
    if output == Output::F16 {
        let [x, y] = [x, y].map(|bits| f32::from(half::f16::from_bits(bits as u16)));
        // f32 has more than twice the bits of f16 and two, so that rounding twice does no harm.
        let sum = half::f16::from_f32(x + y);
        if sum.is_nan() { NAN_F16 } else { sum.to_bits().into() }
    } else {
        let sum = f32::from_bits(x) + f32::from_bits(y);
        if sum.is_nan() { NAN_F32 } else { sum.to_bits() }
    }
}
