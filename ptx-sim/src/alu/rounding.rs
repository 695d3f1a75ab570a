//! Rounding in all directions, exactly.
//!
//! Nearest-even is what the CPU does. The other directions of an f32 operation go through f64 rounded *to odd*: the
//! result is truncated, and its last bit set where anything was lost. Such a value lies on the same side of every
//! f32 number and of every midpoint as the exact result does, because f64 has more than two bits in excess of f32
//! (Boldo and Melquiond, "Emulation of FMA and correctly rounded sums: proved algorithms using rounding to odd").

/// A direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rounding {
    /// To nearest, ties to even.
    Nearest,
    /// Toward zero.
    Zero,
    /// Toward negative infinity.
    Down,
    /// Toward positive infinity.
    Up,
    /// To nearest, ties away from zero.
    NearestAway,
}

impl Rounding {
    const ALL: [Self; 5] = [Self::Nearest, Self::Zero, Self::Down, Self::Up, Self::NearestAway];

    /// As a small number.
    pub fn code(self) -> u32 {
        self as u32
    }

    /// The rounding of a [`Self::code`].
    #[inline(always)]
    pub fn of_code(code: u32) -> Self {
        Self::ALL[code as usize % Self::ALL.len()]
    }
}

/// A direction that a loop is compiled for.
pub(crate) trait Mode: 'static {
    const ROUNDING: Rounding;
}

macro_rules! modes {
    ($($name:ident)*) => {$(
        pub(crate) struct $name;
        impl Mode for $name {
            const ROUNDING: Rounding = Rounding::$name;
        }
    )*};
}
modes!(Nearest Zero Down Up);

const F64_SIGN: u64 = 1 << 63;

/// A sum or quotient rounded to nearest, and (the sign of) what that lost, to the same rounded to odd. What is lost
/// in infinities and NaNs is NaN, and leaves them as they are.
#[inline(always)]
fn to_odd(value: f64, lost: f64) -> f64 {
    let bits = value.to_bits();
    let even_and_inexact = u64::from(lost.abs() > 0.0) & !bits & 1;
    let inward = (bits ^ lost.to_bits()) >> 63;
    f64::from_bits(bits.wrapping_add(even_and_inexact).wrapping_sub(2 * (even_and_inexact & inward)))
}

/// a + b to odd, and the error of rounding to nearest known exactly (Knuth's TwoSum). Neither may overflow.
#[inline(always)]
pub(crate) fn add_to_odd(a: f64, b: f64) -> f64 {
    let sum = a + b;
    let b_part = sum - a;
    let a_part = sum - b_part;
    to_odd(sum, (a - a_part) + (b - b_part))
}

/// a + b as [`add_to_odd`], where an exact zero has the sign that the direction gives it.
#[inline(always)]
pub(crate) fn add_f64<M: Mode>(a: f64, b: f64) -> f64 {
    let sum = add_to_odd(a, b);
    if matches!(M::ROUNDING, Rounding::Down) {
        let zero = f64::from_bits((a.to_bits() | b.to_bits()) & F64_SIGN);
        return if sum == 0.0 { zero } else { sum };
    }
    sum
}

/// a / b to odd, for f32 numbers.
#[inline(always)]
pub(crate) fn divide_f64(a: f64, b: f64) -> f64 {
    let quotient = a / b;
    let remainder = (-quotient).mul_add(b, a);
    // The remainder's sign is that of (exact − quotient) · b.
    to_odd(quotient, f64::from_bits(remainder.to_bits() ^ b.to_bits() & F64_SIGN))
}

/// √a to odd, for an f32 number.
#[inline(always)]
pub(crate) fn sqrt_f64(a: f64) -> f64 {
    let root = a.sqrt();
    to_odd(root, (-root).mul_add(root, a))
}

/// An f64 that is exact or rounded to odd, to f32.
#[inline(always)]
pub(crate) fn f64_to_f32<M: Mode>(exact: f64) -> f32 {
    let nearest = exact as f32;
    let back = f64::from(nearest);
    let bits = nearest.to_bits();
    let negative = bits >> 31;
    f32::from_bits(match M::ROUNDING {
        Rounding::Nearest | Rounding::NearestAway => bits,
        Rounding::Zero => bits.wrapping_sub(u32::from(back.abs() > exact.abs())),
        // A step of +1 is away from zero.
        Rounding::Down => {
            bits.wrapping_add(u32::from(back > exact).wrapping_mul((2 * negative).wrapping_sub(1)))
        }
        Rounding::Up => {
            bits.wrapping_add(u32::from(back < exact).wrapping_mul(1u32.wrapping_sub(2 * negative)))
        }
    })
}

/// A binary format whose numbers are all f64 numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Format {
    fraction_bits: i32,
    min_exponent: i32,
    /// Its largest number.
    pub max: f64,
}

impl Format {
    pub const F16: Self = Self { fraction_bits: 10, min_exponent: -14, max: 65504.0 };
    pub const BF16: Self =
        Self { fraction_bits: 7, min_exponent: -126, max: f32::from_bits(0x7f7f_0000) as f64 };
    pub const TF32: Self =
        Self { fraction_bits: 10, min_exponent: -126, max: f32::from_bits(0x7f7f_e000) as f64 };
    pub const F32: Self = Self { fraction_bits: 23, min_exponent: -126, max: f32::MAX as f64 };

    /// The least number that is not subnormal.
    pub fn min_normal(self) -> f64 {
        power_of_two(self.min_exponent)
    }

    /// The number of the format that `exact` (or a value rounded to odd) rounds to, or an infinity, or NaN.
    #[inline(always)]
    pub fn round(self, exact: f64, rounding: Rounding) -> f64 {
        let exponent = ((exact.to_bits() >> 52 & 0x7ff) as i32 - 1023).max(self.min_exponent);
        let quantum = exponent - self.fraction_bits;
        // Both powers are normal numbers, and both products exact: −149 ≤ quantum ≤ 1017.
        let value = round_integral(exact * power_of_two(-quantum), rounding) * power_of_two(quantum);
        if value.abs() > self.max && exact.is_finite() {
            let toward_zero = match rounding {
                Rounding::Nearest | Rounding::NearestAway => false,
                Rounding::Zero => true,
                Rounding::Down => exact > 0.0,
                Rounding::Up => exact < 0.0,
            };
            return if toward_zero { self.max } else { f64::INFINITY }.copysign(exact);
        }
        value
    }
}

#[inline(always)]
fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(((exponent + 1023) as u64) << 52)
}

/// To an integer; zero keeps the sign of what became zero.
#[inline(always)]
pub(crate) fn round_integral(x: f64, rounding: Rounding) -> f64 {
    match rounding {
        Rounding::Nearest => x.round_ties_even(),
        Rounding::Zero => x.trunc(),
        Rounding::Down => x.floor(),
        Rounding::Up => x.ceil(),
        Rounding::NearestAway => x.round(),
    }
}

/// An unsigned integer as f64, rounded to odd.
#[inline(always)]
pub(crate) fn u64_to_odd(x: u64) -> f64 {
    const LOST: u64 = 0x7ff;
    let large = x >= 1 << 53;
    let sticky = u64::from(x & LOST != 0) << 11;
    (if large { x & !LOST | sticky } else { x }) as f64
}

/// A signed integer as f64, rounded to odd.
#[inline(always)]
pub(crate) fn i64_to_odd(x: i64) -> f64 {
    let magnitude = u64_to_odd(x.unsigned_abs());
    if x < 0 { -magnitude } else { magnitude }
}
