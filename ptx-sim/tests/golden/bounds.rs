//! By how much a card's result of an approximate function may differ from the simulator's, which is the exact one, rounded:
//! what the PTX ISA grants the card, and half a unit in the last place for the rounding.

use half::{bf16, f16};

/// How a difference is measured.
#[derive(Clone, Copy)]
enum Bound {
    Ulp(f64),
    Relative(f64),
    Absolute(f64),
    /// Absolute for an operand between 0.5 and 2, else relative.
    Lg2(f64),
    /// Absolute, for operands within a turn and within 50; no bound beyond.
    Turns(f64, f64),
}

#[derive(Clone, Copy)]
enum Format {
    F16,
    Bf16,
    F32,
    F64,
}

impl Format {
    fn value(self, bits: u64) -> f64 {
        match self {
            Self::F16 => f16::from_bits(bits as u16).to_f64(),
            Self::Bf16 => bf16::from_bits(bits as u16).to_f64(),
            Self::F32 => f32::from_bits(bits as u32).into(),
            Self::F64 => f64::from_bits(bits),
        }
    }

    /// The distance of a number to its neighbours, at the least that of subnormal numbers.
    fn ulp(self, x: f64) -> f64 {
        let (fraction, least) = match self {
            Self::F16 => (10, -14),
            Self::Bf16 => (7, -126),
            Self::F32 => (23, -126),
            Self::F64 => (52, -1022),
        };
        let exponent = ((x.to_bits() >> 52 & 0x7ff) as i32 - 1023).max(least);
        2f64.powi((exponent - fraction).max(-1074))
    }
}

/// An approximate function and its bound.
#[derive(Clone, Copy)]
pub struct Approximate {
    bound: Bound,
    format: Format,
    /// 16-bit numbers to a word.
    packed: bool,
}

/// The bound of a probe's instruction, if it is approximate.
pub fn approximate(probe: &str) -> Option<Approximate> {
    let mut parts = probe.split('.');
    let root = parts.next()?;
    if !parts.any(|part| part == "approx" || part == "full") {
        return None;
    }
    let (format, packed) = match probe.rsplit('.').next()? {
        "f16" => (Format::F16, false),
        "f16x2" => (Format::F16, true),
        "bf16" => (Format::Bf16, false),
        "bf16x2" => (Format::Bf16, true),
        "f32" => (Format::F32, false),
        "f64" => (Format::F64, false),
        _ => return None,
    };
    let power = |exponent: f64| exponent.exp2();
    let bound = match (root, format) {
        // The ISA states none; the upper word has 20 bits of fraction.
        (_, Format::F64) => Bound::Relative(power(-20.0)),
        ("ex2", Format::F16) => Bound::Relative(power(-9.9)),
        ("ex2", Format::Bf16) => Bound::Relative(power(-7.0)),
        ("tanh", Format::F16) => Bound::Absolute(power(-10.987)),
        ("tanh", Format::Bf16) => Bound::Absolute(power(-8.0)),
        ("rcp", _) => Bound::Ulp(1.0),
        ("sqrt", _) => Bound::Relative(power(-23.0)),
        ("rsqrt", _) => Bound::Relative(power(-22.9)),
        ("div" | "ex2", _) => Bound::Ulp(2.0),
        ("lg2", _) => Bound::Lg2(power(-22.0)),
        ("sin" | "cos", _) => Bound::Turns(power(-20.5), power(-14.7)),
        ("tanh", _) => Bound::Relative(power(-11.0)),
        _ => return None,
    };
    Some(Approximate { bound, format, packed })
}

impl Approximate {
    /// Whether a card may give this, for these inputs, where the simulator gives that.
    pub fn agrees(self, inputs: &[u32], card: &[u32], simulator: &[u32]) -> bool {
        if self.packed {
            let half = |words: &[u32], shift: u32| u64::from(words[0] >> shift & 0xffff);
            return [0, 16]
                .into_iter()
                .all(|shift| self.one(half(inputs, shift), half(card, shift), half(simulator, shift)));
        }
        let number = |words: &[u32]| match self.format {
            Format::F64 => u64::from(words[1]) << 32 | u64::from(words[0]),
            _ => words[0].into(),
        };
        self.one(number(inputs), number(card), number(simulator))
    }

    fn one(self, input: u64, card: u64, simulator: u64) -> bool {
        let (a, x, y) = (self.format.value(input), self.format.value(card), self.format.value(simulator));
        let granted = match self.bound {
            Bound::Ulp(units) => units * self.format.ulp(y),
            Bound::Relative(share) => share * y.abs(),
            Bound::Absolute(difference) => difference,
            Bound::Lg2(share) if a > 0.5 && a < 2.0 => share,
            Bound::Lg2(share) => share * y.abs(),
            Bound::Turns(near, _) if a.abs() <= 2.0 * std::f64::consts::PI => near,
            Bound::Turns(_, far) if a.abs() <= 100.0 * std::f64::consts::PI => far,
            Bound::Turns(..) => f64::INFINITY,
        };
        // What the ISA lists for zeros, infinities and NaN is no approximation; nor is the sign of a zero.
        if card == simulator || granted.is_infinite() {
            return true;
        }
        let listed = !x.is_finite() || !y.is_finite() || x == 0.0 && y == 0.0;
        !listed && (x - y).abs() <= granted + self.format.ulp(y) / 2.0
    }
}
