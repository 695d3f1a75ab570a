//! The functions behind approximate instructions, in f64, with the error that the ISA allows them.

use super::rounding::{Format, Rounding};

/// How far a result may be from the exact one.
#[derive(Clone, Copy)]
pub(crate) enum Bound {
    /// So much.
    Absolute(f64),
    /// So much of the exact result.
    Relative(f64),
    /// So many units in the last place of an f32.
    Ulps(f64),
    /// Not given: results are not to be changed.
    None,
}

/// A function of an f32 or two.
pub(crate) trait Function: 'static {
    const SOURCES: usize;
    const BOUND: Bound;
    const F16_BOUND: Bound = Bound::None;
    const BF16_BOUND: Bound = Bound::None;
    /// No result has a larger magnitude.
    const LARGEST: f64 = f64::INFINITY;

    /// In f64, far more precise than f32.
    fn exact(a: f32, b: f32) -> f64;

    /// The bound for some sources, where it differs.
    fn bound(_a: f32, _b: f32, bound: Bound) -> Bound {
        bound
    }
}

// Exponents of the bounds that the ISA gives, of those that are not whole.
/// 2^-9.9.
const TWO_TO_MINUS_9_9: f64 = 0.0010466537720080985;
/// 2^-10.987.
const TWO_TO_MINUS_10_987: f64 = 0.0004927009930882233;
/// 2^-14.7.
const TWO_TO_MINUS_14_7: f64 = 3.7571545817410796e-05;
/// 2^-20.5.
const TWO_TO_MINUS_20_5: f64 = 6.743495761743046e-07;
/// 2^-22.9.
const TWO_TO_MINUS_22_9: f64 = 1.277653530283325e-07;

const fn two_to_minus(exponent: u64) -> f64 {
    f64::from_bits((1023 - exponent) << 52)
}

pub(crate) struct Rcp;
impl Function for Rcp {
    const SOURCES: usize = 1;
    const BOUND: Bound = Bound::Ulps(1.0);
    #[inline(always)]
    fn exact(a: f32, _: f32) -> f64 {
        1.0 / f64::from(a)
    }
}

pub(crate) struct Sqrt;
impl Function for Sqrt {
    const SOURCES: usize = 1;
    const BOUND: Bound = Bound::Relative(two_to_minus(23));
    #[inline(always)]
    fn exact(a: f32, _: f32) -> f64 {
        f64::from(a).sqrt()
    }
}

pub(crate) struct Rsqrt;
impl Function for Rsqrt {
    const SOURCES: usize = 1;
    const BOUND: Bound = Bound::Relative(TWO_TO_MINUS_22_9);
    #[inline(always)]
    fn exact(a: f32, _: f32) -> f64 {
        1.0 / f64::from(a).sqrt()
    }
}

/// `div.approx`: a · (1/b), whose 1/b is zero from 2^126 on.
pub(crate) struct Div;
impl Function for Div {
    const SOURCES: usize = 2;
    const BOUND: Bound = Bound::Ulps(2.0);
    #[inline(always)]
    fn exact(a: f32, b: f32) -> f64 {
        const LARGEST: f32 = f32::from_bits((126 + 127) << 23);
        let zero = f64::from(a) * 0f64.copysign(f64::from(b));
        let quotient = f64::from(a) / f64::from(b);
        if b.abs() > LARGEST { zero } else { quotient }
    }

    fn bound(_: f32, b: f32, bound: Bound) -> Bound {
        if b.abs() >= f32::MIN_POSITIVE { bound } else { Bound::None }
    }
}

pub(crate) struct DivFull;
impl Function for DivFull {
    const SOURCES: usize = 2;
    const BOUND: Bound = Bound::Ulps(2.0);
    #[inline(always)]
    fn exact(a: f32, b: f32) -> f64 {
        f64::from(a) / f64::from(b)
    }
}

pub(crate) struct Sin;
impl Function for Sin {
    const SOURCES: usize = 1;
    const BOUND: Bound = Bound::Absolute(TWO_TO_MINUS_20_5);
    const LARGEST: f64 = 1.0;
    #[inline(always)]
    fn exact(a: f32, _: f32) -> f64 {
        f64::from(a).sin()
    }

    fn bound(a: f32, _: f32, bound: Bound) -> Bound {
        of_angle(a, bound)
    }
}

pub(crate) struct Cos;
impl Function for Cos {
    const SOURCES: usize = 1;
    const BOUND: Bound = Bound::Absolute(TWO_TO_MINUS_20_5);
    const LARGEST: f64 = 1.0;
    #[inline(always)]
    fn exact(a: f32, _: f32) -> f64 {
        f64::from(a).cos()
    }

    fn bound(a: f32, _: f32, bound: Bound) -> Bound {
        of_angle(a, bound)
    }
}

fn of_angle(a: f32, bound: Bound) -> Bound {
    let turns = f64::from(a.abs()) / std::f64::consts::TAU;
    match turns {
        ..=1.0 => bound,
        ..=50.0 => Bound::Absolute(TWO_TO_MINUS_14_7),
        _ => Bound::None,
    }
}

pub(crate) struct Lg2;
impl Function for Lg2 {
    const SOURCES: usize = 1;
    const BOUND: Bound = Bound::Relative(two_to_minus(22));
    #[inline(always)]
    fn exact(a: f32, _: f32) -> f64 {
        f64::from(a).log2()
    }

    fn bound(a: f32, _: f32, bound: Bound) -> Bound {
        if a > 0.5 && a < 2.0 { Bound::Absolute(two_to_minus(22)) } else { bound }
    }
}

pub(crate) struct Tanh;
impl Function for Tanh {
    const SOURCES: usize = 1;
    const BOUND: Bound = Bound::Relative(two_to_minus(11));
    const F16_BOUND: Bound = Bound::Absolute(TWO_TO_MINUS_10_987);
    const BF16_BOUND: Bound = Bound::Absolute(two_to_minus(8));
    const LARGEST: f64 = 1.0;
    #[inline(always)]
    fn exact(a: f32, _: f32) -> f64 {
        f64::from(a).tanh()
    }

    fn bound(a: f32, _: f32, bound: Bound) -> Bound {
        // Subnormal sources pass through.
        if a.abs() < f32::MIN_POSITIVE { Bound::None } else { bound }
    }
}

pub(crate) struct Ex2;
impl Function for Ex2 {
    const SOURCES: usize = 1;
    const BOUND: Bound = Bound::Ulps(2.0);
    const F16_BOUND: Bound = Bound::Relative(TWO_TO_MINUS_9_9);
    const BF16_BOUND: Bound = Bound::Relative(two_to_minus(7));

    /// 2^n · 2^f with n an integer and |f| ≤ 1/2, whose power is its Taylor series up to f^11: 2^-48 off at most.
    /// Without calls, so that a loop of it becomes vector code, and without fused operations, so that every CPU
    /// gives the same bits.
    #[inline(always)]
    fn exact(a: f32, _: f32) -> f64 {
        // ln(2)^k / k!.
        const SERIES: [f64; 12] = {
            let mut series = [1.0; 12];
            let mut k = 1;
            while k < series.len() {
                series[k] = series[k - 1] * std::f64::consts::LN_2 / k as f64;
                k += 1;
            }
            series
        };
        // Added to a small number, leaves its nearest integer in the low bits.
        const SHIFTER: f64 = 6_755_399_441_055_744.0;
        // Beyond f32's range on both sides.
        let x = f64::from(a.clamp(-200.0, 200.0));
        let shifted = x + SHIFTER;
        let fraction = x - (shifted - SHIFTER);
        let mut power = SERIES[11];
        for coefficient in SERIES[..11].iter().rev() {
            power = power * fraction + coefficient;
        }
        let scale = f64::from_bits((shifted.to_bits() << 52).wrapping_add(1023 << 52));
        if a.is_nan() { f64::NAN } else { power * scale }
    }
}

/// Something within the bound of the exact result, and a function of the sources' bits; the exact result rounded
/// where a source or the result is zero, infinite or NaN.
pub(crate) fn perturb<F: Function>(a: f32, b: f32, exact: f64, format: Format, bound: Bound) -> f64 {
    let special = |x: f64| x == 0.0 || !x.is_finite();
    if special(exact) || special(a.into()) || (F::SOURCES == 2 && special(b.into())) {
        return exact;
    }
    // Results that may be flushed are far off if this makes them so, or not so.
    let usual = |x: f64| x.abs() >= format.min_normal() && x.abs() <= format.max.min(F::LARGEST);
    if !usual(exact) || !usual(format.round(exact, Rounding::Nearest)) {
        return exact;
    }
    // Between the numbers around it; 0 where it is one of them.
    let ulp = format.round(exact.abs(), Rounding::Up) - format.round(exact.abs(), Rounding::Down);
    let limit = match F::bound(a, b, bound) {
        Bound::Absolute(limit) => limit,
        Bound::Relative(limit) => limit * exact.abs(),
        Bound::Ulps(limit) => limit * ulp,
        Bound::None => return exact,
    };
    // Such a bound leaves no choice.
    if limit < ulp {
        return exact;
    }
    let moved = exact + limit * offset(a, b);
    // Toward the exact result: whichever side of it this ends on, it is less than a unit away, or closer than before.
    let toward = if moved > exact { Rounding::Down } else { Rounding::Up };
    let rounded = format.round(moved, toward);
    if usual(rounded) { rounded } else { exact }
}

/// A number in [-1, 1] that depends on all bits.
fn offset(a: f32, b: f32) -> f64 {
    let mut x = u64::from(a.to_bits()) << 32 | u64::from(b.to_bits());
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^= x >> 31;
    (x >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}
