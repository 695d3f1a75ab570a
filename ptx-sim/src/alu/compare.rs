//! Comparisons and selections.
//!
//! A comparison is one of five tests on two numbers whose order is that of their type, with sources swapped or the
//! result complemented: `gt` is `lt` of swapped sources, `geu` the complement of `lt`.

use std::marker::PhantomData;

use crate::program::{Decoded, Decoder, LANES, Lanes, Operands, Reject, Slot};
use crate::ptx::ast::{self, Operand, Type};
use crate::report::InstructionClass::{self, Double, Float, Integer};

use super::macros::{Element, Modifiers, alu, typed_operands, wrong_count, wrong_type};
use super::{AluFn, LaneOp, compile};

/// `setp set selp slct`.
pub(crate) fn decode(
    decoder: &mut Decoder<'_>,
    instruction: &ast::Instruction,
) -> Result<Option<Decoded>, Reject> {
    match instruction.root() {
        "setp" => setp(decoder, instruction),
        "set" => set(decoder, instruction),
        "selp" => selp(decoder, instruction),
        "slct" => slct(decoder, instruction),
        _ => Ok(None),
    }
}

/// How numbers of a type compare.
trait Comparable: 'static {
    type Bits: Element;
    type Number: PartialOrd + Copy;
    fn number(bits: Self::Bits) -> Self::Number;
}

macro_rules! compares_as_itself {
    ($($ty:ty),+) => {
        $(impl Comparable for $ty {
            type Bits = Self;
            type Number = Self;
            #[inline(always)]
            fn number(bits: Self) -> Self {
                bits
            }
        })+
    };
}

compares_as_itself!(u16, i16, u32, i32, u64, i64, f32, f64);

/// f32 with subnormal numbers as zeros (`.ftz`).
struct Flushed;

impl Comparable for Flushed {
    type Bits = f32;
    type Number = f32;
    #[inline(always)]
    fn number(value: f32) -> f32 {
        if value.abs() < f32::MIN_POSITIVE { 0.0 } else { value }
    }
}

/// A 16-bit float whose infinity has these bits; what lies below `SMALLEST` is zero.
struct Half<const INFINITY: u16, const SMALLEST: u16>;

type F16 = Half<0x7c00, 0>;
type FlushedF16 = Half<0x7c00, 0x400>;
type Bf16 = Half<0x7f80, 0>;

impl<const INFINITY: u16, const SMALLEST: u16> Comparable for Half<INFINITY, SMALLEST> {
    type Bits = u16;
    type Number = f32;
    /// Not the value, but an integer in the same order: the bits without their sign, negated if that is set.
    #[inline(always)]
    fn number(bits: u16) -> f32 {
        let magnitude = bits & 0x7fff;
        let magnitude = if magnitude < SMALLEST { 0 } else { magnitude };
        let rank = if magnitude > INFINITY { f32::NAN } else { f32::from(magnitude) };
        if bits >> 15 != 0 { -rank } else { rank }
    }
}

trait Test: 'static {
    fn holds<N: PartialOrd>(a: N, b: N) -> bool;
}

macro_rules! test {
    ($name:ident, |$a:ident, $b:ident| $body:expr) => {
        struct $name;
        impl Test for $name {
            #[inline(always)]
            fn holds<N: PartialOrd>($a: N, $b: N) -> bool {
                $body
            }
        }
    };
}

test!(Equal, |a, b| a == b);
test!(Less, |a, b| a < b);
test!(LessOrEqual, |a, b| a <= b);
test!(Unequal, |a, b| a != b && a.partial_cmp(&b).is_some());
test!(Ordered, |a, b| a.partial_cmp(&b).is_some());

/// Bits of the small number of a comparison.
mod aux {
    /// The comparison's result is complemented.
    pub const COMPLEMENT: u32 = 1;
    /// There is a second destination.
    pub const SECOND: u32 = 2;
    /// The destination gets source 3 or zero: `set`.
    pub const VALUE: u32 = 4;
    /// Combined with predicate 2 by `and`, `or` or `xor`.
    pub const AND: u32 = 8;
    pub const OR: u32 = 16;
    pub const XOR: u32 = 32;
}

/// What is written where a comparison holds, with the predicate that it is combined with.
#[inline(always)]
fn combine(lanes: &Lanes, operands: &Operands, holds: u32) -> u32 {
    match operands.aux & (aux::AND | aux::OR | aux::XOR) {
        aux::AND => holds & lanes.get_predicate(operands.src[2]),
        aux::OR => holds | lanes.get_predicate(operands.src[2]),
        aux::XOR => holds ^ lanes.get_predicate(operands.src[2]),
        _ => holds,
    }
}

#[inline(always)]
fn complement(operands: &Operands) -> u32 {
    if operands.aux & aux::COMPLEMENT != 0 { u32::MAX } else { 0 }
}

#[inline(always)]
fn bits_of(holds: &[bool; LANES]) -> u32 {
    let mut bits = 0;
    for (lane, &holds) in holds.iter().enumerate() {
        bits |= u32::from(holds) << lane;
    }
    bits
}

/// One comparison in each lane.
struct Compare<C, T>(PhantomData<(C, T)>);

impl<C: Comparable, T: Test> LaneOp for Compare<C, T> {
    #[inline(always)]
    fn run(lanes: &mut Lanes, operands: &Operands, mask: u32) {
        let a = C::Bits::read(lanes, operands.src[0]);
        let b = C::Bits::read(lanes, operands.src[1]);
        let mut holds = [false; LANES];
        for lane in 0..LANES {
            holds[lane] = T::holds(C::number(a[lane]), C::number(b[lane]));
        }
        let holds = bits_of(&holds) ^ complement(operands);
        let first = combine(lanes, operands, holds);
        if operands.aux & aux::VALUE != 0 {
            let mut row = lanes.get32(operands.src[3]);
            for (lane, value) in row.iter_mut().enumerate() {
                *value = if first >> lane & 1 != 0 { *value } else { 0 };
            }
            lanes.set32(operands.dst[0], &row, mask);
        } else {
            if operands.aux & aux::SECOND != 0 {
                let second = combine(lanes, operands, !holds);
                lanes.set_predicate(operands.dst[1], second, mask);
            }
            lanes.set_predicate(operands.dst[0], first, mask);
        }
    }
}

/// Two comparisons in each lane, of the halves of its registers.
struct ComparePacked<C, T>(PhantomData<(C, T)>);

impl<C: Comparable<Bits = u16>, T: Test> LaneOp for ComparePacked<C, T> {
    #[inline(always)]
    fn run(lanes: &mut Lanes, operands: &Operands, mask: u32) {
        let a = lanes.get32(operands.src[0]);
        let b = lanes.get32(operands.src[1]);
        let (mut low, mut high) = ([false; LANES], [false; LANES]);
        for lane in 0..LANES {
            low[lane] = T::holds(C::number(a[lane] as u16), C::number(b[lane] as u16));
            high[lane] = T::holds(C::number((a[lane] >> 16) as u16), C::number((b[lane] >> 16) as u16));
        }
        let low = combine(lanes, operands, bits_of(&low) ^ complement(operands));
        let high = combine(lanes, operands, bits_of(&high) ^ complement(operands));
        if operands.aux & aux::VALUE != 0 {
            let mut row = lanes.get32(operands.src[3]);
            for (lane, value) in row.iter_mut().enumerate() {
                let low = if low >> lane & 1 != 0 { *value & 0xffff } else { 0 };
                let high = if high >> lane & 1 != 0 { *value & 0xffff_0000 } else { 0 };
                *value = high | low;
            }
            lanes.set32(operands.dst[0], &row, mask);
        } else {
            if operands.aux & aux::SECOND != 0 {
                lanes.set_predicate(operands.dst[1], high, mask);
            }
            lanes.set_predicate(operands.dst[0], low, mask);
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum TestKind {
    Equal,
    Less,
    LessOrEqual,
    Unequal,
    Ordered,
}

/// Which types have a comparison.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Domain {
    All,
    /// Not those without an order: the bit types.
    Numbers,
    Unsigned,
    Floats,
}

/// A comparison as it is written.
#[derive(Clone, Copy)]
struct Comparison {
    test: TestKind,
    swapped: bool,
    complemented: bool,
    domain: Domain,
}

impl Comparison {
    fn parse(modifier: &str) -> Option<Self> {
        use Domain::{All, Floats, Numbers, Unsigned};
        use TestKind::{Equal, Less, LessOrEqual, Ordered, Unequal};
        let (test, swapped, complemented, domain) = match modifier {
            "eq" => (Equal, false, false, All),
            "ne" => (Unequal, false, false, All),
            "lt" => (Less, false, false, Numbers),
            "le" => (LessOrEqual, false, false, Numbers),
            "gt" => (Less, true, false, Numbers),
            "ge" => (LessOrEqual, true, false, Numbers),
            "lo" => (Less, false, false, Unsigned),
            "ls" => (LessOrEqual, false, false, Unsigned),
            "hi" => (Less, true, false, Unsigned),
            "hs" => (LessOrEqual, true, false, Unsigned),
            "equ" => (Unequal, false, true, Floats),
            "neu" => (Equal, false, true, Floats),
            "ltu" => (LessOrEqual, true, true, Floats),
            "leu" => (Less, true, true, Floats),
            "gtu" => (LessOrEqual, false, true, Floats),
            "geu" => (Less, false, true, Floats),
            "num" => (Ordered, false, false, Floats),
            "nan" => (Ordered, false, true, Floats),
            _ => return None,
        };
        Some(Self { test, swapped, complemented, domain })
    }

    fn is_for(self, ty: Type) -> bool {
        let unsigned = matches!(ty, Type::U16 | Type::U32 | Type::U64);
        let numbers = unsigned || ty.is_signed() || ty.is_float();
        match self.domain {
            Domain::All => true,
            Domain::Numbers => numbers,
            Domain::Unsigned => unsigned,
            Domain::Floats => ty.is_float(),
        }
    }

    /// Without NaNs there is no difference between unequal and not equal, and one function less.
    fn simplified(self, ty: Type) -> Self {
        match self.test {
            TestKind::Unequal if !ty.is_float() => {
                Self { test: TestKind::Equal, complemented: !self.complemented, ..self }
            }
            _ => self,
        }
    }

    fn function(self, ty: Type, flush: bool) -> Option<AluFn> {
        macro_rules! by_test {
            ($op:ident, $comparable:ty) => {
                match self.test {
                    TestKind::Equal => compile::<$op<$comparable, Equal>>(),
                    TestKind::Less => compile::<$op<$comparable, Less>>(),
                    TestKind::LessOrEqual => compile::<$op<$comparable, LessOrEqual>>(),
                    TestKind::Unequal => compile::<$op<$comparable, Unequal>>(),
                    TestKind::Ordered => compile::<$op<$comparable, Ordered>>(),
                }
            };
        }
        Some(match ty {
            Type::B16 | Type::U16 => by_test!(Compare, u16),
            Type::B32 | Type::U32 => by_test!(Compare, u32),
            Type::B64 | Type::U64 => by_test!(Compare, u64),
            Type::S16 => by_test!(Compare, i16),
            Type::S32 => by_test!(Compare, i32),
            Type::S64 => by_test!(Compare, i64),
            Type::F32 if flush => by_test!(Compare, Flushed),
            Type::F32 => by_test!(Compare, f32),
            Type::F64 => by_test!(Compare, f64),
            Type::F16 if flush => by_test!(Compare, FlushedF16),
            Type::F16 => by_test!(Compare, F16),
            Type::Bf16 => by_test!(Compare, Bf16),
            Type::F16x2 if flush => by_test!(ComparePacked, FlushedF16),
            Type::F16x2 => by_test!(ComparePacked, F16),
            Type::Bf16x2 => by_test!(ComparePacked, Bf16),
            _ => return None,
        })
    }
}

fn class_of(ty: Type) -> InstructionClass {
    match ty {
        Type::F64 => Double,
        ty if ty.is_float() => Float,
        _ => Integer,
    }
}

/// What the modifiers before the types of `setp` and `set` say.
struct Comparing {
    comparison: Comparison,
    flush: bool,
    /// [`aux::AND`], [`aux::OR`], [`aux::XOR`] or nothing.
    combine: u32,
}

impl Comparing {
    fn take(modifiers: &mut Modifiers<'_>) -> Result<Self, Reject> {
        let comparison = modifiers.take(Comparison::parse).ok_or("a comparison is missing")?;
        let flush = modifiers.flag("ftz");
        let combine = modifiers.take(|modifier| match modifier {
            "and" => Some(aux::AND),
            "or" => Some(aux::OR),
            "xor" => Some(aux::XOR),
            _ => None,
        });
        Ok(Self { comparison, flush, combine: combine.unwrap_or(0) })
    }

    /// The function for sources of a type, the sources `a, b` and, where combined, `c`, and the small number.
    fn decode(
        &self,
        decoder: &mut Decoder<'_>,
        instruction: &ast::Instruction,
        ty: Type,
    ) -> Result<(AluFn, [Slot; 3], u32), Reject> {
        if self.flush && !matches!(ty, Type::F32 | Type::F16 | Type::F16x2) {
            return Err(".ftz exists for comparisons of .f32, .f16 and .f16x2 alone".into());
        }
        if !self.comparison.is_for(ty) {
            return Err("this type has no such comparison".into());
        }
        let comparison = self.comparison.simplified(ty);
        let function = comparison.function(ty, self.flush).ok_or_else(|| wrong_type(instruction, ty))?;
        let (a, b, c) = match instruction.operands.as_slice() {
            [_, a, b] if self.combine == 0 => (a, b, None),
            [_, a, b, c] if self.combine != 0 => (a, b, Some(c)),
            _ => return Err(wrong_count(if self.combine == 0 { 3 } else { 4 }, instruction)),
        };
        let mut sources = [decoder.source(a, ty)?, decoder.source(b, ty)?, Slot::default()];
        if comparison.swapped {
            sources.swap(0, 1);
        }
        if let Some(c) = c {
            sources[2] = decoder.source_predicate(c)?;
        }
        let complement = if comparison.complemented { aux::COMPLEMENT } else { 0 };
        Ok((function, sources, self.combine | complement))
    }
}

fn setp(decoder: &mut Decoder<'_>, instruction: &ast::Instruction) -> Result<Option<Decoded>, Reject> {
    let mut modifiers = Modifiers::of(instruction);
    let comparing = Comparing::take(&mut modifiers)?;
    let ty = modifiers.ty()?;
    modifiers.finish()?;
    let (function, sources, mut small) = comparing.decode(decoder, instruction, ty)?;
    let destinations = match &instruction.operands[0] {
        Operand::Pair(..) if matches!(ty, Type::F16 | Type::Bf16) => {
            return Err("comparisons of one 16-bit float have one destination".into());
        }
        Operand::Pair(first, second) => {
            small |= aux::SECOND;
            [decoder.destination_predicate(first)?, decoder.destination_predicate(second)?]
        }
        one => [decoder.destination_predicate(one)?, Slot::default()],
    };
    Ok(alu(function, Operands::new(&destinations, &sources).with_aux(small), class_of(ty)))
}

fn set(decoder: &mut Decoder<'_>, instruction: &ast::Instruction) -> Result<Option<Decoded>, Reject> {
    use Type::{Bf16, Bf16x2, F16, F16x2, F32, S16, S32, U16, U32};
    let mut modifiers = Modifiers::of(instruction);
    let comparing = Comparing::take(&mut modifiers)?;
    let (destination, source) = (modifiers.ty()?, modifiers.ty()?);
    modifiers.finish()?;
    let exists = match source {
        F16 => matches!(destination, F16 | Bf16 | U16 | S16 | U32 | S32),
        Bf16 => matches!(destination, Bf16 | U16 | S16 | U32 | S32),
        F16x2 => matches!(destination, F16x2 | U32 | S32),
        Bf16x2 => matches!(destination, Bf16x2 | U32 | S32),
        _ => matches!(destination, F16 | Bf16 | F32 | U32 | S32),
    };
    if comparing.flush && destination == Bf16 {
        return Err(".ftz does not exist for .bf16".into());
    }
    if !exists {
        return Err(format!("no comparison of {source:?} gives {destination:?}"));
    }
    let (function, [a, b, c], small) = comparing.decode(decoder, instruction, source)?;
    let holds = match destination {
        F32 => 0x3f80_0000,
        F16 => 0x3c00,
        Bf16 => 0x3f80,
        F16x2 => 0x3c00_3c00,
        Bf16x2 => 0x3f80_3f80,
        U16 | S16 => 0xffff,
        _ => 0xffff_ffff,
    };
    let holds = decoder.allocation.constant(holds, false);
    let destination = decoder.destination(&instruction.operands[0], destination)?;
    let operands = Operands::new(&[destination], &[a, b, c, holds]).with_aux(small | aux::VALUE);
    Ok(alu(function, operands, class_of(source)))
}

/// Source 0 or source 1, as the bits of a row of predicates say.
#[inline(always)]
fn select<E: Element>(lanes: &mut Lanes, operands: &Operands, mask: u32, first: u32) {
    let a = E::read(lanes, operands.src[0]);
    let b = E::read(lanes, operands.src[1]);
    let mut result = [E::default(); LANES];
    for lane in 0..LANES {
        result[lane] = if first >> lane & 1 != 0 { a[lane] } else { b[lane] };
    }
    E::write(lanes, operands.dst[0], &result, mask);
}

struct SelectByPredicate<E>(PhantomData<E>);

impl<E: Element + 'static> LaneOp for SelectByPredicate<E> {
    #[inline(always)]
    fn run(lanes: &mut Lanes, operands: &Operands, mask: u32) {
        let first = lanes.get_predicate(operands.src[2]);
        select::<E>(lanes, operands, mask, first);
    }
}

/// By whether source 2 is zero or above.
struct SelectBySign<E, C>(PhantomData<(E, C)>);

impl<E: Element + 'static, C: Comparable> LaneOp for SelectBySign<E, C> {
    #[inline(always)]
    fn run(lanes: &mut Lanes, operands: &Operands, mask: u32) {
        let c = C::Bits::read(lanes, operands.src[2]);
        let zero = C::number(C::Bits::default());
        let mut first = [false; LANES];
        for lane in 0..LANES {
            first[lane] = C::number(c[lane]) >= zero;
        }
        select::<E>(lanes, operands, mask, bits_of(&first));
    }
}

/// Whether `selp` and `slct` choose between values of a type.
fn is_selectable(ty: Type) -> bool {
    use Type::{B16, B32, B64, F32, F64, S16, S32, S64, U16, U32, U64};
    matches!(ty, B16 | B32 | B64 | U16 | U32 | U64 | S16 | S32 | S64 | F32 | F64)
}

fn selp(decoder: &mut Decoder<'_>, instruction: &ast::Instruction) -> Result<Option<Decoded>, Reject> {
    let mut modifiers = Modifiers::of(instruction);
    let ty = modifiers.ty()?;
    modifiers.finish()?;
    if !is_selectable(ty) {
        return Err(wrong_type(instruction, ty));
    }
    let function = match ty.bits() {
        64 => compile::<SelectByPredicate<u64>>(),
        _ => compile::<SelectByPredicate<u32>>(),
    };
    let [d, a, b, c] = crate::program::operands(instruction)?;
    let sources = [decoder.source(a, ty)?, decoder.source(b, ty)?, decoder.source_predicate(c)?];
    let operands = Operands::new(&[decoder.destination(d, ty)?], &sources);
    Ok(alu(function, operands, Integer))
}

fn slct(decoder: &mut Decoder<'_>, instruction: &ast::Instruction) -> Result<Option<Decoded>, Reject> {
    let mut modifiers = Modifiers::of(instruction);
    let flush = modifiers.flag("ftz");
    let (ty, condition) = (modifiers.ty()?, modifiers.ty()?);
    modifiers.finish()?;
    if !is_selectable(ty) {
        return Err(wrong_type(instruction, ty));
    }
    let function = match (ty.bits(), condition, flush) {
        (64, Type::S32, false) => compile::<SelectBySign<u64, i32>>(),
        (_, Type::S32, false) => compile::<SelectBySign<u32, i32>>(),
        (64, Type::F32, false) => compile::<SelectBySign<u64, f32>>(),
        (_, Type::F32, false) => compile::<SelectBySign<u32, f32>>(),
        (64, Type::F32, true) => compile::<SelectBySign<u64, Flushed>>(),
        (_, Type::F32, true) => compile::<SelectBySign<u32, Flushed>>(),
        _ => return Err("the sign of .s32, or of .f32 with or without .ftz, is expected".into()),
    };
    Ok(alu(function, typed_operands(decoder, instruction, ty, &[ty, ty, condition])?, Integer))
}
