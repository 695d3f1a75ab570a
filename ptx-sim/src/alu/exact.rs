//! f64 arithmetic rounded in any direction, through 128-bit integers: slow, and rarely needed.

use super::rounding::Rounding;

/// A finite number: ±significand · 2^exponent.
#[derive(Clone, Copy)]
struct Number {
    negative: bool,
    exponent: i32,
    significand: u128,
}

impl Number {
    fn of(x: f64) -> Self {
        let bits = x.to_bits();
        let field = (bits >> 52 & 0x7ff) as i32;
        let fraction = u128::from(bits & ((1 << 52) - 1));
        let (significand, exponent) =
            if field == 0 { (fraction, -1074) } else { (fraction | 1 << 52, field - 1075) };
        Self { negative: x.is_sign_negative(), exponent, significand }
    }

    /// With the highest bit of a significand that is not zero at bit 125: two may be added, and the two lowest bits
    /// are free.
    fn normalised(self) -> Self {
        let shift = self.significand.leading_zeros() as i32 - 2;
        Self { exponent: self.exponent - shift, significand: self.significand << shift, ..self }
    }

    fn product(self, other: Self) -> Self {
        Self {
            negative: self.negative != other.negative,
            exponent: self.exponent + other.exponent,
            significand: self.significand * other.significand,
        }
    }

    /// The sum of two numbers that are not zero, its last bit sticky; `None` for zero.
    fn sum(self, other: Self) -> Option<Self> {
        let (a, b) = (self.normalised(), other.normalised());
        let (large, small) =
            if (a.exponent, a.significand) >= (b.exponent, b.significand) { (a, b) } else { (b, a) };
        // Bits are lost only where the distance exceeds the 20 zeros below a product: then cancellation costs a bit
        // at most, and the sticky bit stays far below those that count.
        let aligned = shift_sticky(small.significand, (large.exponent - small.exponent) as u32);
        let significand = if large.negative == small.negative {
            large.significand + aligned
        } else {
            large.significand - aligned
        };
        (significand != 0).then_some(Self { significand, ..large })
    }

    /// To f64. The last bit may be sticky if the significand has at least 56 bits.
    fn round(self, rounding: Rounding) -> f64 {
        let Self { negative, exponent, significand } = self;
        let sign = u64::from(negative) << 63;
        if significand == 0 {
            return f64::from_bits(sign);
        }
        let top = exponent + 127 - significand.leading_zeros() as i32;
        let clamped = top.max(-1022);
        let shift = clamped - 52 - exponent;
        let (kept, rest, half) = match shift {
            ..=0 => (significand << -shift, 0, 1),
            1..=127 => (significand >> shift, significand & ((1 << shift) - 1), 1 << (shift - 1)),
            _ => (0, 1, 2),
        };
        let up = match rounding {
            Rounding::Nearest => rest > half || rest == half && kept & 1 != 0,
            Rounding::NearestAway => rest >= half,
            Rounding::Zero => false,
            Rounding::Down => negative && rest != 0,
            Rounding::Up => !negative && rest != 0,
        };
        // The hidden bit, or a carry into it, adds 1 to the exponent's field.
        let bits = (((clamped + 1022) as u64) << 52) + kept as u64 + u64::from(up);
        const INFINITY: u64 = 0x7ff << 52;
        if bits >= INFINITY {
            let to_infinity = match rounding {
                Rounding::Nearest | Rounding::NearestAway => true,
                Rounding::Zero => false,
                Rounding::Down => negative,
                Rounding::Up => !negative,
            };
            return f64::from_bits(sign | if to_infinity { INFINITY } else { INFINITY - 1 });
        }
        f64::from_bits(sign | bits)
    }
}

/// Shifts right; the last bit tells whether anything was lost.
fn shift_sticky(x: u128, by: u32) -> u128 {
    match by {
        0 => x,
        1..=127 => x >> by | u128::from(x << (128 - by) != 0),
        _ => u128::from(x != 0),
    }
}

/// The zero that a sum of opposite numbers is.
fn zero_sum(rounding: Rounding) -> f64 {
    if rounding == Rounding::Down { -0.0 } else { 0.0 }
}

/// a · b.
pub(crate) fn multiply(a: f64, b: f64, rounding: Rounding) -> f64 {
    if !a.is_finite() || !b.is_finite() {
        return a * b;
    }
    Number::of(a).product(Number::of(b)).round(rounding)
}

/// a · b + c, rounded once.
pub(crate) fn fused_multiply_add(a: f64, b: f64, c: f64, rounding: Rounding) -> f64 {
    if !a.is_finite() || !b.is_finite() || !c.is_finite() {
        // Infinities and NaNs alone: whatever rounds here does not show. Finite factors are made small, so that
        // they do not overflow beside an infinite addend.
        let small = |x: f64| if x.is_finite() && x != 0.0 { 1f64.copysign(x) } else { x };
        return small(a) * small(b) + small(c);
    }
    let product = Number::of(a).product(Number::of(b));
    let addend = Number::of(c);
    match (product.significand, addend.significand) {
        (0, 0) if product.negative == addend.negative => c,
        (0, 0) => zero_sum(rounding),
        (0, _) => c,
        (_, 0) => product.round(rounding),
        _ => product.sum(addend).map_or_else(|| zero_sum(rounding), |sum| sum.round(rounding)),
    }
}

/// a + b.
pub(crate) fn add(a: f64, b: f64, rounding: Rounding) -> f64 {
    fused_multiply_add(a, 1.0, b, rounding)
}

/// a / b.
pub(crate) fn divide(a: f64, b: f64, rounding: Rounding) -> f64 {
    if !a.is_finite() || !b.is_finite() || a == 0.0 || b == 0.0 {
        return a / b;
    }
    let (dividend, divisor) = (Number::of(a).normalised(), Number::of(b));
    let shift = divisor.significand.leading_zeros() - 75;
    let divisor_significand = divisor.significand << shift;
    // 126 bits by 53 bits: the quotient has at least 73.
    let quotient = dividend.significand / divisor_significand;
    let sticky = u128::from(dividend.significand % divisor_significand != 0);
    Number {
        negative: dividend.negative != divisor.negative,
        exponent: dividend.exponent - (divisor.exponent - shift as i32),
        significand: quotient | sticky,
    }
    .round(rounding)
}

/// √a.
pub(crate) fn square_root(a: f64, rounding: Rounding) -> f64 {
    if !a.is_finite() || a <= 0.0 {
        return a.sqrt();
    }
    let mut number = Number::of(a).normalised();
    if number.exponent % 2 != 0 {
        number.exponent += 1;
        number.significand >>= 1;
    }
    let root = number.significand.isqrt();
    let sticky = u128::from(root * root != number.significand);
    Number { negative: false, exponent: number.exponent / 2, significand: root | sticky }.round(rounding)
}
