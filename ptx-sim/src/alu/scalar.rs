//! Conversions between integers and floating-point numbers of any size.
//!
//! Integers to integers are cut and extended. All others go through f64, which holds every source exactly but large
//! 64-bit integers; those are rounded to odd, or, to f64, compared with what they became.

use super::half_format::{
    Bf16, F32_NAN, HalfFormat, f16_to_f32, f32_to_bf16, f32_to_f16, flush_f32, is_nan_f32,
};
use super::rounding::{Format, Rounding, i64_to_odd, round_integral, u64_to_odd};
use super::{AluFn, LaneOp, compile, each};
use crate::program::{LANES, Lanes, Operands};
use crate::ptx::ast::Type;

/// A type that `cvt` converts singly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[rustfmt::skip]
pub(super) enum Kind { U8, U16, U32, U64, S8, S16, S32, S64, F16, Bf16, F32, F64 }

impl Kind {
    const ALL: [Self; 12] = {
        use Kind::{Bf16, F16, F32, F64, S8, S16, S32, S64, U8, U16, U32, U64};
        [U8, U16, U32, U64, S8, S16, S32, S64, F16, Bf16, F32, F64]
    };

    pub fn of(ty: Type) -> Option<Self> {
        Some(match ty {
            Type::U8 => Self::U8,
            Type::U16 => Self::U16,
            Type::U32 => Self::U32,
            Type::U64 => Self::U64,
            Type::S8 => Self::S8,
            Type::S16 => Self::S16,
            Type::S32 => Self::S32,
            Type::S64 => Self::S64,
            Type::F16 => Self::F16,
            Type::Bf16 => Self::Bf16,
            Type::F32 => Self::F32,
            Type::F64 => Self::F64,
            _ => return None,
        })
    }

    fn of_code(code: u32) -> Self {
        Self::ALL[code as usize % Self::ALL.len()]
    }

    pub fn is_float(self) -> bool {
        matches!(self, Self::F16 | Self::Bf16 | Self::F32 | Self::F64)
    }

    pub fn is_half(self) -> bool {
        matches!(self, Self::F16 | Self::Bf16)
    }

    fn is_signed(self) -> bool {
        matches!(self, Self::S8 | Self::S16 | Self::S32 | Self::S64)
    }

    fn bits(self) -> u32 {
        match self {
            Self::U8 | Self::S8 => 8,
            Self::U16 | Self::S16 | Self::F16 | Self::Bf16 => 16,
            Self::U32 | Self::S32 | Self::F32 => 32,
            Self::U64 | Self::S64 | Self::F64 => 64,
        }
    }

    /// Whether a number of `from` may have to be rounded to become this floating-point type: all integers, and types
    /// that are not contained in this one.
    pub fn loses(self, from: Self) -> bool {
        let narrower = match (self, from) {
            (Self::F16, Self::Bf16) | (Self::Bf16, Self::F16) => true,
            _ => self.bits() < from.bits(),
        };
        self.is_float() && (!from.is_float() || narrower)
    }

    /// Whether `.sat` has a meaning.
    pub fn saturates(self, from: Self) -> bool {
        if self == Self::Bf16 || from == Self::Bf16 {
            return false;
        }
        if self.is_float() {
            return true;
        }
        let (low, high) = self.limits();
        from.is_float() || from.limits().0 < low || from.limits().1 > high
    }

    /// The least and the largest integer.
    fn limits(self) -> (i128, i128) {
        let bits = self.bits();
        if self.is_signed() { (-1 << (bits - 1), (1 << (bits - 1)) - 1) } else { (0, (1 << bits) - 1) }
    }
}

/// A conversion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Conversion {
    pub to: Kind,
    pub from: Kind,
    pub rounding: Rounding,
    /// The rounding is to an integer.
    pub integral: bool,
    pub ftz: bool,
    pub saturate: bool,
    /// The source's register has 64 bits.
    pub wide_source: bool,
    /// What the result is extended to.
    pub register_bits: u32,
}

impl Conversion {
    /// As [`Operands::aux`].
    pub fn pack(self) -> u32 {
        self.to as u32
            | (self.from as u32) << 4
            | self.rounding.code() << 8
            | u32::from(self.integral) << 12
            | u32::from(self.ftz) << 13
            | u32::from(self.saturate) << 14
            | u32::from(self.wide_source) << 15
            | self.register_bits << 16
    }

    fn unpack(aux: u32) -> Self {
        Self {
            to: Kind::of_code(aux & 15),
            from: Kind::of_code(aux >> 4 & 15),
            rounding: Rounding::of_code(aux >> 8 & 15),
            integral: aux >> 12 & 1 != 0,
            ftz: aux >> 13 & 1 != 0,
            saturate: aux >> 14 & 1 != 0,
            wide_source: aux >> 15 & 1 != 0,
            register_bits: aux >> 16,
        }
    }

    pub fn function(self) -> AluFn {
        if self.to.is_float() || self.from.is_float() || self.saturate {
            return compile::<Convert>();
        }
        match (self.wide_source, self.register_bits > 32) {
            (false, false) => compile::<Extend32>(),
            _ => compile::<Extend64>(),
        }
    }
}

/// The low bits of x, extended by their sign where `sign` is their highest bit, by zeros where it is 0.
macro_rules! extend {
    ($x:expr, $mask:expr, $sign:expr) => {
        (($x & $mask) ^ $sign).wrapping_sub($sign)
    };
}

fn low_bits(bits: u32) -> u64 {
    u64::MAX >> (64 - bits)
}

/// The mask of a type's bits, and its sign bit if it has one.
fn mask_and_sign(kind: Kind) -> (u64, u64) {
    let sign = if kind.is_signed() { 1 << (kind.bits() - 1) } else { 0 };
    (low_bits(kind.bits()), sign)
}

/// Integers to integers, in registers of 32 bits or less.
struct Extend32;

impl LaneOp for Extend32 {
    #[inline(always)]
    fn run(lanes: &mut Lanes, operands: &Operands, mask: u32) {
        let conversion = Conversion::unpack(operands.aux);
        let (from_mask, from_sign) = mask_and_sign(conversion.from);
        let (to_mask, to_sign) = mask_and_sign(conversion.to);
        let register = low_bits(conversion.register_bits) as u32;
        let mut row = lanes.get32(operands.src[0]);
        for one in &mut row {
            let value = extend!(*one, from_mask as u32, from_sign as u32);
            *one = extend!(value, to_mask as u32, to_sign as u32) & register;
        }
        lanes.set32(operands.dst[0], &row, mask);
    }
}

/// Integers to integers, where a register has 64 bits.
struct Extend64;

impl LaneOp for Extend64 {
    #[inline(always)]
    fn run(lanes: &mut Lanes, operands: &Operands, mask: u32) {
        let conversion = Conversion::unpack(operands.aux);
        let (from_mask, from_sign) = mask_and_sign(conversion.from);
        let (to_mask, to_sign) = mask_and_sign(conversion.to);
        let mut row = read(lanes, operands, conversion);
        for one in &mut row {
            let value = extend!(*one, from_mask, from_sign);
            *one = extend!(value, to_mask, to_sign);
        }
        write(lanes, operands, conversion, mask, &row);
    }
}

#[inline(always)]
fn read(lanes: &Lanes, operands: &Operands, conversion: Conversion) -> [u64; LANES] {
    if conversion.wide_source {
        lanes.get64(operands.src[0])
    } else {
        each(&lanes.get32(operands.src[0]), u64::from)
    }
}

/// Writes values that are extended to 64 bits.
#[inline(always)]
fn write(lanes: &mut Lanes, operands: &Operands, conversion: Conversion, mask: u32, row: &[u64; LANES]) {
    if conversion.register_bits > 32 {
        lanes.set64(operands.dst[0], row, mask);
    } else {
        let register = low_bits(conversion.register_bits) as u32;
        lanes.set32(operands.dst[0], &each(row, |one| one as u32 & register), mask);
    }
}

/// All other conversions.
struct Convert;

impl LaneOp for Convert {
    #[inline(always)]
    fn run(lanes: &mut Lanes, operands: &Operands, mask: u32) {
        let conversion = Conversion::unpack(operands.aux);
        let mut row = read(lanes, operands, conversion);
        let (from_mask, from_sign) = mask_and_sign(conversion.from);
        for one in &mut row {
            *one = extend!(*one, from_mask, from_sign);
        }
        let Conversion { to, from, rounding, .. } = conversion;
        let result = match (from.is_float(), to.is_float()) {
            (false, false) => each(&row, |one| clamp(one, from, to)),
            (false, true) if to == Kind::F64 && from.bits() == 64 => {
                finish(&each(&row, |one| to_f64(one, from, rounding)), conversion)
            }
            (false, true) => finish(&values(&row, conversion), conversion),
            (true, false) => {
                let integral = round_all(&values(&row, conversion), rounding);
                to_integers(&integral, from, to)
            }
            (true, true) => {
                let mut values = values(&row, conversion);
                if conversion.integral {
                    values = round_all(&values, rounding);
                }
                let mut result = finish(&values, conversion);
                if to == Kind::F64 && !conversion.saturate {
                    keep_payloads(&mut result, &row, from);
                }
                result
            }
        };
        write(lanes, operands, conversion, mask, &result);
    }
}

/// Sources as f64, exact or rounded to odd.
#[inline(always)]
fn values(row: &[u64; LANES], conversion: Conversion) -> [f64; LANES] {
    let mut values = match conversion.from {
        Kind::F16 => each(row, |one| f16_to_f32(one as u32).into()),
        Kind::Bf16 => each(row, |one| Bf16::widen(one as u32).into()),
        Kind::F32 => each(row, |one| f32::from_bits(one as u32).into()),
        Kind::F64 => each(row, f64::from_bits),
        Kind::U64 => each(row, u64_to_odd),
        Kind::S64 => each(row, |one| i64_to_odd(one as i64)),
        Kind::U32 => each(row, |one| f64::from(one as u32)),
        Kind::U8 | Kind::U16 | Kind::S8 | Kind::S16 | Kind::S32 => each(row, |one| f64::from(one as i32)),
    };
    if conversion.ftz && conversion.from == Kind::F32 {
        values = each(&values, flush);
    }
    values
}

/// Zero of its sign for a subnormal f32.
#[inline(always)]
fn flush(x: f64) -> f64 {
    if x.abs() < f64::from(f32::MIN_POSITIVE) { 0f64.copysign(x) } else { x }
}

#[inline(always)]
fn round_all(row: &[f64; LANES], rounding: Rounding) -> [f64; LANES] {
    // A loop for each rounding, so that each becomes vector code.
    match rounding {
        Rounding::Nearest => each(row, |x| round_integral(x, Rounding::Nearest)),
        Rounding::Zero => each(row, |x| round_integral(x, Rounding::Zero)),
        Rounding::Down => each(row, |x| round_integral(x, Rounding::Down)),
        Rounding::Up => each(row, |x| round_integral(x, Rounding::Up)),
        Rounding::NearestAway => each(row, |x| round_integral(x, Rounding::NearestAway)),
    }
}

/// Saturation to [0, 1], then rounding to a floating-point type, of which the bits.
#[inline(always)]
fn finish(row: &[f64; LANES], conversion: Conversion) -> [u64; LANES] {
    let mut row = *row;
    if conversion.saturate {
        // NaN does not exceed 0.
        row = each(&row, |x| if x > 0.0 { x.min(1.0) } else { 0.0 });
    }
    // Rounded to an integer, a number of the same type needs no other rounding.
    let rounding = conversion.rounding;
    let exact = conversion.integral || rounding == Rounding::Nearest;
    match conversion.to {
        Kind::F64 => each(&row, f64::to_bits),
        Kind::F16 => each(&row, |x| f32_to_f16(Format::F16.round(x, rounding) as f32).into()),
        Kind::Bf16 => each(&row, |x| f32_to_bf16(Format::BF16.round(x, rounding) as f32).into()),
        _ => {
            if !exact {
                row = each(&row, |x| Format::F32.round(x, rounding));
            }
            let mut bits = each(&row, |x| (x as f32).to_bits());
            if conversion.ftz {
                bits = each(&bits, flush_f32);
            }
            each(&bits, |bits| u64::from(if is_nan_f32(bits) { F32_NAN } else { bits }))
        }
    }
}

/// Integral numbers clamped. The ISA gives NaN two values.
#[inline(always)]
fn to_integers(row: &[f64; LANES], from: Kind, to: Kind) -> [u64; LANES] {
    let mut result = match to {
        Kind::U8 => each(row, |x| u64::from(x as u8)),
        Kind::U16 => each(row, |x| u64::from(x as u16)),
        Kind::U32 => each(row, |x| u64::from(x as u32)),
        Kind::S8 => each(row, |x| i64::from(x as i8) as u64),
        Kind::S16 => each(row, |x| i64::from(x as i16) as u64),
        Kind::S32 => each(row, |x| i64::from(x as i32) as u64),
        Kind::S64 => each(row, |x| x as i64 as u64),
        _ => each(row, |x| x as u64),
    };
    if from == Kind::F64 || to.bits() == 64 {
        let (mask, sign) = mask_and_sign(to);
        let nan = extend!(1 << (to.bits() - 1), mask, sign);
        for lane in 0..LANES {
            result[lane] = if row[lane].is_nan() { nan } else { result[lane] };
        }
    }
    result
}

/// A 64-bit integer to f64.
#[inline(always)]
fn to_f64(value: u64, from: Kind, rounding: Rounding) -> f64 {
    let exact = if from.is_signed() { i128::from(value as i64) } else { i128::from(value) };
    let nearest = exact as f64;
    let back = nearest as i128;
    let step_down = match rounding {
        Rounding::Zero => back.abs() > exact.abs(),
        Rounding::Down => back > exact && exact > 0,
        Rounding::Up => back < exact && exact < 0,
        _ => false,
    };
    let step_up = match rounding {
        Rounding::Down => back > exact && exact < 0,
        Rounding::Up => back < exact && exact > 0,
        _ => false,
    };
    f64::from_bits(nearest.to_bits() + u64::from(step_up) - u64::from(step_down))
}

/// An integer clamped to another type.
#[inline(always)]
fn clamp(value: u64, from: Kind, to: Kind) -> u64 {
    let exact = if from.is_signed() { i128::from(value as i64) } else { i128::from(value) };
    let (low, high) = to.limits();
    exact.clamp(low, high) as u64
}

/// A NaN as f64 is the source's, quiet: sign and payload are kept.
#[inline(always)]
fn keep_payloads(result: &mut [u64; LANES], row: &[u64; LANES], from: Kind) {
    for (result, &source) in result.iter_mut().zip(row) {
        let bits = match from {
            Kind::F64 => source,
            Kind::F32 => (source >> 31) << 63 | (source & 0x7f_ffff) << 29,
            // As what f16 and bf16 are in f32.
            _ => u64::from(F32_NAN & 0x7f_ffff) << 29,
        };
        const QUIET_NAN: u64 = 0x7ff8 << 48;
        *result = if f64::from_bits(*result).is_nan() { bits | QUIET_NAN } else { *result };
    }
}
