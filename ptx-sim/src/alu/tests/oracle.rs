//! Floating-point arithmetic on integers of any size, straight from the definition: the exact result, rounded.

use std::cmp::Ordering;

/// An unsigned integer, least significant digit first, without leading zeros.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Big(Vec<u32>);

impl Big {
    pub fn new(x: u128) -> Self {
        Self((0..4).map(|digit| (x >> (32 * digit)) as u32).collect()).trimmed()
    }

    fn trimmed(mut self) -> Self {
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
        self
    }

    pub fn is_zero(&self) -> bool {
        self.0.is_empty()
    }

    pub fn bits(&self) -> i32 {
        self.0.last().map_or(0, |top| self.0.len() as i32 * 32 - top.leading_zeros() as i32)
    }

    fn bit(&self, at: i32) -> bool {
        at >= 0 && self.0.get(at as usize / 32).is_some_and(|digit| digit >> (at % 32) & 1 != 0)
    }

    /// Whether any of the bits below `end` is set.
    fn any_below(&self, end: i32) -> bool {
        (0..end.min(self.bits())).any(|at| self.bit(at))
    }

    pub fn shl(&self, by: i32) -> Self {
        let mut digits = vec![0; by as usize / 32];
        let mut carry = 0u64;
        for &digit in self.0.iter().chain([&0]) {
            carry |= u64::from(digit) << (by % 32);
            digits.push(carry as u32);
            carry >>= 32;
        }
        Self(digits).trimmed()
    }

    /// The bits from `from` on, which must fit.
    pub fn shr(&self, from: i32) -> u128 {
        (from..self.bits().max(from)).fold(0, |value, at| value | u128::from(self.bit(at)) << (at - from))
    }

    fn cmp(&self, other: &Self) -> Ordering {
        self.0.len().cmp(&other.0.len()).then_with(|| self.0.iter().rev().cmp(other.0.iter().rev()))
    }

    fn add(&self, other: &Self) -> Self {
        let digit = |of: &Self, at: usize| u64::from(of.0.get(at).copied().unwrap_or(0));
        let mut carry = 0;
        let digits = (0..=self.0.len().max(other.0.len())).map(|at| {
            carry += digit(self, at) + digit(other, at);
            let low = carry as u32;
            carry >>= 32;
            low
        });
        Self(digits.collect()).trimmed()
    }

    /// Less another that is not larger.
    fn sub(&self, other: &Self) -> Self {
        let mut borrow = 0;
        let digits = self.0.iter().enumerate().map(|(at, &digit)| {
            let difference = i64::from(digit) - i64::from(other.0.get(at).copied().unwrap_or(0)) - borrow;
            borrow = i64::from(difference < 0);
            difference as u32
        });
        Self(digits.collect()).trimmed()
    }

    fn mul(&self, other: &Self) -> Self {
        let mut digits = vec![0u32; self.0.len() + other.0.len()];
        for (i, &a) in self.0.iter().enumerate() {
            let mut carry = 0u64;
            for (j, &b) in other.0.iter().enumerate() {
                carry += u64::from(digits[i + j]) + u64::from(a) * u64::from(b);
                digits[i + j] = carry as u32;
                carry >>= 32;
            }
            digits[i + other.0.len()] = carry as u32;
        }
        Self(digits).trimmed()
    }

    /// Quotient, and whether there is a remainder.
    fn div(&self, by: u64) -> (Self, bool) {
        let mut remainder = 0u128;
        let mut digits = vec![0; self.0.len()];
        for (at, &digit) in self.0.iter().enumerate().rev() {
            remainder = remainder << 32 | u128::from(digit);
            digits[at] = (remainder / u128::from(by)) as u32;
            remainder %= u128::from(by);
        }
        (Self(digits).trimmed(), remainder != 0)
    }
}

/// Directions of rounding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum To {
    Even,
    Away,
    Zero,
    Down,
    Up,
}

pub(super) const MODES: [(&str, To); 4] =
    [("rn", To::Even), ("rz", To::Zero), ("rm", To::Down), ("rp", To::Up)];

/// What a number is.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Nan,
    Infinite(bool),
    /// Whether negative, a magnitude, and the power of two that it is multiplied by.
    Finite(bool, Big, i32),
}

/// A binary format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Format {
    pub bits: i32,
    pub fraction: i32,
}

pub(super) const F16: Format = Format { bits: 16, fraction: 10 };
pub(super) const BF16: Format = Format { bits: 16, fraction: 7 };
pub(super) const TF32: Format = Format { bits: 19, fraction: 10 };
pub(super) const F32: Format = Format { bits: 32, fraction: 23 };
pub(super) const F64: Format = Format { bits: 64, fraction: 52 };
pub(super) const E5M2: Format = Format { bits: 8, fraction: 2 };

impl Format {
    pub fn sign(self) -> u64 {
        1 << (self.bits - 1)
    }

    pub fn infinity(self) -> u64 {
        self.sign() - (1 << self.fraction)
    }

    fn bias(self) -> i32 {
        (1 << (self.bits - self.fraction - 2)) - 1
    }

    pub fn is_nan(self, bits: u64) -> bool {
        bits & (self.sign() - 1) > self.infinity()
    }

    pub fn is_subnormal(self, bits: u64) -> bool {
        bits & self.infinity() == 0 && bits & (self.sign() - 1) != 0
    }

    /// `.ftz`.
    pub fn flush(self, bits: u64) -> u64 {
        if self.is_subnormal(bits) { bits & self.sign() } else { bits }
    }

    pub fn value(self, bits: u64) -> Value {
        let negative = bits & self.sign() != 0;
        let field = ((bits & self.infinity()) >> self.fraction) as i32;
        let fraction = bits & ((1 << self.fraction) - 1);
        if bits & self.infinity() == self.infinity() {
            return if fraction == 0 { Value::Infinite(negative) } else { Value::Nan };
        }
        let hidden = if field == 0 { 0 } else { 1u64 << self.fraction };
        let exponent = field.max(1) - self.bias() - self.fraction;
        Value::Finite(negative, Big::new((hidden | fraction).into()), exponent)
    }

    /// A finite number, and what is beyond its last bit, rounded.
    pub fn round(self, negative: bool, magnitude: &Big, exponent: i32, sticky: bool, to: To) -> u64 {
        let sign = if negative { self.sign() } else { 0 };
        let top = (exponent + magnitude.bits() - 1).max(1 - self.bias());
        let cut = top - self.fraction - exponent;
        let (mut kept, half, below) = if cut <= 0 {
            assert!(!sticky, "too few bits");
            (magnitude.shl(-cut).shr(0), false, false)
        } else {
            let below = magnitude.any_below(cut - 1) || sticky;
            (magnitude.shr(cut), magnitude.bit(cut - 1), below)
        };
        let inexact = half || below;
        kept += u128::from(match to {
            To::Even => half && (below || kept % 2 == 1),
            To::Away => half,
            To::Zero => false,
            To::Down => negative && inexact,
            To::Up => !negative && inexact,
        });
        let mut field = top + self.bias();
        if kept >> (self.fraction + 1) != 0 {
            field += 1;
            kept >>= 1;
        }
        if kept >> self.fraction == 0 {
            // Subnormal, or zero.
            return sign | kept as u64;
        }
        if field as u64 >= self.infinity() >> self.fraction {
            let infinite = match to {
                To::Even | To::Away => true,
                To::Zero => false,
                To::Down => negative,
                To::Up => !negative,
            };
            return sign | (self.infinity() - u64::from(!infinite));
        }
        sign | (field as u64) << self.fraction | kept as u64 & ((1 << self.fraction) - 1)
    }

    /// A value in this format; NaN is `None`.
    pub fn of(self, value: &Value, to: To) -> Option<u64> {
        match value {
            Value::Nan => None,
            Value::Infinite(negative) => Some(self.infinity() | if *negative { self.sign() } else { 0 }),
            Value::Finite(negative, magnitude, exponent) => {
                Some(self.round(*negative, magnitude, *exponent, false, to))
            }
        }
    }

    /// a · b + c in this format; NaN is `None`.
    pub fn multiply_add(self, a: &Value, b: &Value, c: &Value, to: To) -> Option<u64> {
        let product = match (a, b) {
            (Value::Nan, _) | (_, Value::Nan) => return None,
            (Value::Infinite(s), Value::Infinite(t)) => Value::Infinite(s != t),
            (Value::Infinite(s), Value::Finite(t, m, _)) | (Value::Finite(t, m, _), Value::Infinite(s)) => {
                if m.is_zero() {
                    return None;
                }
                Value::Infinite(s != t)
            }
            (Value::Finite(s, m, e), Value::Finite(t, n, f)) => Value::Finite(s != t, m.mul(n), e + f),
        };
        let (Value::Finite(s, m, e), Value::Finite(t, n, f)) = (&product, c) else {
            return match (product, c) {
                (_, Value::Nan) => None,
                (Value::Infinite(s), Value::Infinite(t)) if s != *t => None,
                (Value::Infinite(s), _) => self.of(&Value::Infinite(s), to),
                (_, infinite) => self.of(infinite, to),
            };
        };
        let low = *e.min(f);
        let (m, n) = (m.shl(e - low), n.shl(f - low));
        let (negative, sum) = match m.cmp(&n) {
            _ if s == t => (*s, m.add(&n)),
            Ordering::Equal => (to == To::Down, Big::new(0)),
            Ordering::Greater => (*s, m.sub(&n)),
            Ordering::Less => (*t, n.sub(&m)),
        };
        Some(self.round(negative, &sum, low, false, to))
    }

    /// a · b; NaN is `None`.
    pub fn multiply(self, a: &Value, b: &Value, to: To) -> Option<u64> {
        let (Value::Finite(s, m, e), Value::Finite(t, n, f)) = (a, b) else {
            return self.multiply_add(a, b, &Value::Finite(false, Big::new(0), 0), to);
        };
        Some(self.round(s != t, &m.mul(n), e + f, false, to))
    }

    /// a / b; NaN is `None`.
    pub fn divide(self, a: &Value, b: &Value, to: To) -> Option<u64> {
        match (a, b) {
            (Value::Nan, _) | (_, Value::Nan) | (Value::Infinite(_), Value::Infinite(_)) => None,
            (Value::Infinite(s), Value::Finite(t, ..)) => self.of(&Value::Infinite(s != t), to),
            (Value::Finite(s, ..), Value::Infinite(t)) => Some(if s != t { self.sign() } else { 0 }),
            (Value::Finite(s, m, e), Value::Finite(t, n, f)) => match (m.is_zero(), n.is_zero()) {
                (true, true) => None,
                (false, true) => self.of(&Value::Infinite(s != t), to),
                _ => {
                    let (quotient, sticky) = m.shl(160).div(n.shr(0) as u64);
                    Some(self.round(s != t, &quotient, e - 160 - f, sticky, to))
                }
            },
        }
    }

    /// √a; NaN is `None`.
    pub fn square_root(self, a: &Value, to: To) -> Option<u64> {
        let Value::Finite(negative, m, e) = a else {
            return if let Value::Infinite(false) = a { Some(self.infinity()) } else { None };
        };
        if m.is_zero() || *negative {
            return m.is_zero().then_some(if *negative { self.sign() } else { 0 });
        }
        // 123 or 124 bits, and an even exponent.
        let shift = 123 - m.bits() + ((e - (123 - m.bits())) & 1);
        let square = m.shl(shift).shr(0);
        let mut root = 0u128;
        for bit in (0..63).rev() {
            let longer = root | 1 << bit;
            if longer * longer <= square {
                root = longer;
            }
        }
        Some(self.round(false, &Big::new(root), (e - shift) / 2, root * root != square, to))
    }
}

/// The integer that a finite value rounds to, in two's complement; the magnitudes here fit.
pub(super) fn to_integer(negative: bool, magnitude: &Big, exponent: i32, to: To) -> i128 {
    let (kept, half, below) = if exponent >= 0 {
        if magnitude.bits() + exponent > 100 {
            return if negative { i128::MIN } else { i128::MAX };
        }
        (magnitude.shl(exponent).shr(0), false, false)
    } else if magnitude.bits() + exponent > 100 {
        return if negative { i128::MIN } else { i128::MAX };
    } else {
        (magnitude.shr(-exponent), magnitude.bit(-exponent - 1), magnitude.any_below(-exponent - 1))
    };
    let up = match to {
        To::Even => half && (below || kept % 2 == 1),
        To::Away => half,
        To::Zero => false,
        To::Down => negative && (half || below),
        To::Up => !negative && (half || below),
    };
    let rounded = (kept + u128::from(up)) as i128;
    if negative { -rounded } else { rounded }
}
