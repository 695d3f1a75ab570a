//! What atomic operations and reductions compute; memory is their caller's matter.

use half::{bf16, f16};

use crate::program::Reject;
use crate::ptx::ast::Type;

/// The operation of an atomic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum AtomicKind {
    And,
    Or,
    Xor,
    Cas,
    Exch,
    Add,
    Inc,
    Dec,
    Min,
    Max,
}

impl AtomicKind {
    /// The operation that a modifier names.
    pub fn parse(modifier: &str) -> Option<Self> {
        Some(match modifier {
            "and" => Self::And,
            "or" => Self::Or,
            "xor" => Self::Xor,
            "cas" => Self::Cas,
            "exch" => Self::Exch,
            "add" => Self::Add,
            "inc" => Self::Inc,
            "dec" => Self::Dec,
            "min" => Self::Min,
            "max" => Self::Max,
            _ => return None,
        })
    }

    /// On bits, whatever they mean.
    pub fn is_bitwise(self) -> bool {
        matches!(self, Self::And | Self::Or | Self::Xor)
    }

    /// Whether the operation exists for a type, and with `.noftz` or without.
    fn exists(self, ty: Type, vector: u32, no_flush: bool) -> bool {
        use Type::{B16, B32, B64, Bf16, Bf16x2, F16, F16x2, F32, F64, S32, S64, U32, U64};
        if matches!(ty, F16 | F16x2 | Bf16 | Bf16x2) {
            let widest = if ty.bits() == 16 { 8 } else { 4 };
            return no_flush
                && vector <= widest
                && (self == Self::Add || matches!(self, Self::Min | Self::Max) && vector > 1);
        }
        if no_flush || vector > 1 {
            return !no_flush && vector <= 4 && (self, ty) == (Self::Add, F32);
        }
        match self {
            Self::And | Self::Or | Self::Xor | Self::Exch => matches!(ty, B32 | B64),
            Self::Cas => matches!(ty, B16 | B32 | B64),
            Self::Add => matches!(ty, U32 | S32 | U64 | F32 | F64),
            Self::Inc | Self::Dec => ty == U32,
            Self::Min | Self::Max => matches!(ty, U32 | S32 | U64 | S64),
        }
    }
}

/// An atomic operation on a location, or on the elements of a vector one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Atomic {
    /// What it does.
    pub kind: AtomicKind,
    /// The type of an element.
    pub ty: Type,
    /// Elements: 1, 2, 4 or 8.
    pub vector: u32,
}

impl Atomic {
    /// Reads operation, type and vector size among the modifiers of `atom` or, as `reduction`, of `red`. What else
    /// is there, such as space, scope and cache hints, is given back for the caller to judge.
    pub fn parse<'a>(
        modifiers: impl Iterator<Item = &'a str>,
        reduction: bool,
    ) -> Result<(Self, Vec<&'a str>), Reject> {
        let (mut kind, mut ty, mut vector, mut no_flush) = (None, None, None, false);
        let mut rest = Vec::new();
        for modifier in modifiers {
            let elements = match modifier {
                "v2" => Some(2),
                "v4" => Some(4),
                "v8" => Some(8),
                _ => None,
            };
            if let (Some(found), None) = (AtomicKind::parse(modifier), kind) {
                kind = Some(found);
            } else if let (Some(found), None) = (Type::parse(modifier), ty) {
                ty = Some(found);
            } else if let (Some(found), None) = (elements, vector) {
                vector = Some(found);
            } else if modifier == "noftz" && !no_flush {
                no_flush = true;
            } else {
                rest.push(modifier);
            }
        }
        let kind = kind.ok_or("an atomic operation is missing")?;
        let ty = ty.ok_or("a type is missing")?;
        let vector = vector.unwrap_or(1);
        if reduction && matches!(kind, AtomicKind::Cas | AtomicKind::Exch) {
            return Err("a reduction gives no old value".into());
        }
        if !kind.exists(ty, vector, no_flush) {
            return Err(format!("no atomic operation {kind:?} of {vector} x {ty:?} with these modifiers"));
        }
        Ok((Self { kind, ty, vector }, rest))
    }

    /// The new value of an element whose old one is `old`; `c` is what `cas` stores. Values lie in the low bits.
    /// `flush`: of f32 sums, which take and give zeros for subnormal numbers in global memory, not in shared memory.
    pub fn apply(self, old: u64, b: u64, c: u64, flush: bool) -> u64 {
        let halves = |of_half: fn(AtomicKind, u16, u16) -> u16| {
            let half = |shift: u32| {
                let result = of_half(self.kind, (old >> shift) as u16, (b >> shift) as u16);
                u64::from(result) << shift
            };
            if self.ty.bits() == 16 { half(0) } else { half(0) | half(16) }
        };
        match self.ty {
            Type::F16 | Type::F16x2 => halves(of_f16),
            Type::Bf16 | Type::Bf16x2 => halves(of_bf16),
            Type::F32 => add_f32(old as u32, b as u32, flush).into(),
            Type::F64 => (f64::from_bits(old) + f64::from_bits(b)).to_bits(),
            ty => of_integers(self.kind, ty, old, b, c),
        }
    }
}

fn of_integers(kind: AtomicKind, ty: Type, old: u64, b: u64, c: u64) -> u64 {
    let mask = u64::MAX >> (64 - ty.bits().min(64));
    let (old, b, c) = (old & mask, b & mask, c & mask);
    // Signed numbers in the order of unsigned ones.
    let flip = if ty.is_signed() { 1 << (ty.bits() - 1) } else { 0 };
    match kind {
        AtomicKind::And => old & b,
        AtomicKind::Or => old | b,
        AtomicKind::Xor => old ^ b,
        AtomicKind::Cas => {
            if old == b {
                c
            } else {
                old
            }
        }
        AtomicKind::Exch => b,
        AtomicKind::Add => old.wrapping_add(b) & mask,
        AtomicKind::Inc => {
            if old >= b {
                0
            } else {
                old + 1
            }
        }
        AtomicKind::Dec => {
            if old == 0 || old > b {
                b
            } else {
                old - 1
            }
        }
        AtomicKind::Min => (old ^ flip).min(b ^ flip) ^ flip,
        AtomicKind::Max => (old ^ flip).max(b ^ flip) ^ flip,
    }
}

/// NaN as f32 arithmetic gives it, whatever went in.
const NAN_F32: u32 = 0x7fff_ffff;
/// The same of 16-bit floats.
const NAN_16: u16 = 0x7fff;

fn add_f32(a: u32, b: u32, flush: bool) -> u32 {
    let flushed = |value: f32| if flush && value.is_subnormal() { 0f32.copysign(value) } else { value };
    let sum = flushed(flushed(f32::from_bits(a)) + flushed(f32::from_bits(b)));
    if sum.is_nan() { NAN_F32 } else { sum.to_bits() }
}

/// The rounded sum, smaller or larger of two 16-bit floats. A sum of two of them, rounded to the 24 bits of an f32
/// and then again, is rounded as if once.
macro_rules! of_half {
    ($name:ident, $half:ty) => {
        fn $name(kind: AtomicKind, a: u16, b: u16) -> u16 {
            let (x, y) = (<$half>::from_bits(a).to_f32(), <$half>::from_bits(b).to_f32());
            // Zeros are ordered by their sign.
            let smaller = (x, x.is_sign_positive()) <= (y, y.is_sign_positive());
            let result = match kind {
                AtomicKind::Min if y.is_nan() || !x.is_nan() && smaller => x,
                AtomicKind::Min => y,
                AtomicKind::Max if y.is_nan() || !x.is_nan() && !smaller => x,
                AtomicKind::Max => y,
                _ => x + y,
            };
            if result.is_nan() { NAN_16 } else { <$half>::from_f32(result).to_bits() }
        }
    };
}

of_half!(of_f16, f16);
of_half!(of_bf16, bf16);
