//! Logic and shifts.

use crate::program::{Decoded, Decoder, LANES, Lanes, Operands, Reject, operands};
use crate::ptx::ast::{self, Operand, Type};
use crate::report::InstructionClass::Integer;

use super::macros::{
    Modifiers, alu, for_bits, for_integer, lane_fn, typed_operands, wrong_count, wrong_type,
};
use super::{LaneOp, compile};

/// `and or xor not cnot lop3 shl shr shf`.
pub(crate) fn decode(
    decoder: &mut Decoder<'_>,
    instruction: &ast::Instruction,
) -> Result<Option<Decoded>, Reject> {
    match instruction.root() {
        "and" | "or" | "xor" | "not" | "cnot" => bitwise(decoder, instruction),
        "shl" | "shr" => shift(decoder, instruction),
        "shf" => funnel_shift(decoder, instruction),
        "lop3" => lop3(decoder, instruction),
        _ => Ok(None),
    }
}

fn bitwise(decoder: &mut Decoder<'_>, instruction: &ast::Instruction) -> Result<Option<Decoded>, Reject> {
    let mut modifiers = Modifiers::of(instruction);
    let ty = modifiers.ty()?;
    modifiers.finish()?;
    let root = instruction.root();
    if ty == Type::Pred {
        return of_predicates(decoder, instruction);
    }
    let function = match root {
        "and" => for_bits!(ty, T => lane_fn!(|a: T, b: T| -> T { a & b })),
        "or" => for_bits!(ty, T => lane_fn!(|a: T, b: T| -> T { a | b })),
        "xor" => for_bits!(ty, T => lane_fn!(|a: T, b: T| -> T { a ^ b })),
        "not" => for_bits!(ty, T => lane_fn!(|a: T| -> T { !a })),
        _ => for_bits!(ty, T => lane_fn!(|a: T| -> T { T::from(a == 0) })),
    };
    let function = function.ok_or_else(|| wrong_type(instruction, ty))?;
    let sources: &[Type] = if matches!(root, "not" | "cnot") { &[ty] } else { &[ty, ty] };
    Ok(alu(function, typed_operands(decoder, instruction, ty, sources)?, Integer))
}

fn of_predicates(
    decoder: &mut Decoder<'_>,
    instruction: &ast::Instruction,
) -> Result<Option<Decoded>, Reject> {
    /// The function of an expression of two predicates, one bit for each lane.
    macro_rules! predicate_fn {
        (|$a:ident, $b:ident| $body:expr) => {{
            struct OfPredicates;
            impl LaneOp for OfPredicates {
                #[inline(always)]
                fn run(lanes: &mut Lanes, operands: &Operands, mask: u32) {
                    let $a = lanes.get_predicate(operands.src[0]);
                    let $b = lanes.get_predicate(operands.src[1]);
                    lanes.set_predicate(operands.dst[0], $body, mask);
                }
            }
            compile::<OfPredicates>()
        }};
    }
    let (function, sources) = match instruction.root() {
        "and" => (predicate_fn!(|a, b| a & b), 2),
        "or" => (predicate_fn!(|a, b| a | b), 2),
        "xor" => (predicate_fn!(|a, b| a ^ b), 2),
        "not" => (predicate_fn!(|a, _same| !a), 1),
        _ => return Err(wrong_type(instruction, Type::Pred)),
    };
    let Some((first, rest)) = instruction.operands.split_first().filter(|(_, rest)| rest.len() == sources)
    else {
        return Err(wrong_count(1 + sources, instruction));
    };
    let a = decoder.source_predicate(&rest[0])?;
    let b = decoder.source_predicate(&rest[sources - 1])?;
    let destination = decoder.destination_predicate(first)?;
    Ok(alu(function, Operands::new(&[destination], &[a, b]), Integer))
}

/// Amounts from the width on shift everything out: `>>` by `width - 1` for what fills from the sign.
fn shift(decoder: &mut Decoder<'_>, instruction: &ast::Instruction) -> Result<Option<Decoded>, Reject> {
    let mut modifiers = Modifiers::of(instruction);
    let ty = modifiers.ty()?;
    modifiers.finish()?;
    let unsigned = match ty {
        Type::U16 => Type::B16,
        Type::U32 => Type::B32,
        Type::U64 => Type::B64,
        other => other,
    };
    let function = match instruction.root() {
        "shl" => for_bits!(ty, T => lane_fn!(|a: T, b: u32| -> T {
            if b < T::BITS { a << (b & (T::BITS - 1)) } else { 0 }
        })),
        _ if ty.is_signed() => {
            for_integer!(ty, T => lane_fn!(|a: T, b: u32| -> T { a >> b.min(T::BITS - 1) }))
        }
        _ => for_bits!(unsigned, T => lane_fn!(|a: T, b: u32| -> T {
            if b < T::BITS { a >> (b & (T::BITS - 1)) } else { 0 }
        })),
    };
    let function = function.ok_or_else(|| wrong_type(instruction, ty))?;
    Ok(alu(function, typed_operands(decoder, instruction, ty, &[ty, Type::U32])?, Integer))
}

/// The 64 bits of two registers, the first the low one.
#[inline(always)]
fn funnel(a: u32, b: u32) -> u64 {
    u64::from(b) << 32 | u64::from(a)
}

fn funnel_shift(
    decoder: &mut Decoder<'_>,
    instruction: &ast::Instruction,
) -> Result<Option<Decoded>, Reject> {
    let mut modifiers = Modifiers::of(instruction);
    let left = modifiers.take(|modifier| match modifier {
        "l" => Some(true),
        "r" => Some(false),
        _ => None,
    });
    let wrap = modifiers.take(wrap_mode);
    let ty = modifiers.ty()?;
    modifiers.finish()?;
    if ty != Type::B32 {
        return Err(wrong_type(instruction, ty));
    }
    let left = left.ok_or("one of .l and .r is missing")?;
    let wrap = wrap.ok_or("one of .clamp and .wrap is missing")?;
    let function = match (left, wrap) {
        (true, true) => lane_fn!(|a: u32, b: u32, c: u32| -> u32 { (funnel(a, b) << (c & 31) >> 32) as u32 }),
        (true, false) => {
            lane_fn!(|a: u32, b: u32, c: u32| -> u32 { (funnel(a, b) << c.min(32) >> 32) as u32 })
        }
        (false, true) => lane_fn!(|a: u32, b: u32, c: u32| -> u32 { (funnel(a, b) >> (c & 31)) as u32 }),
        (false, false) => lane_fn!(|a: u32, b: u32, c: u32| -> u32 { (funnel(a, b) >> c.min(32)) as u32 }),
    };
    let b32 = Type::B32;
    Ok(alu(function, typed_operands(decoder, instruction, b32, &[b32, b32, Type::U32])?, Integer))
}

/// `.wrap` or `.clamp`.
pub(super) fn wrap_mode(modifier: &str) -> Option<bool> {
    match modifier {
        "wrap" => Some(true),
        "clamp" => Some(false),
        _ => None,
    }
}

/// Above the truth table in the small number: how `p` comes from the result and `q`.
const LOP3_OR: u32 = 1 << 8;

/// Any function of three bits, by its truth table: a tree of selections, the same for all tables.
#[inline(always)]
fn lop3_row(lanes: &Lanes, operands: &Operands) -> [u32; LANES] {
    let [a, b, c, _] = operands.src;
    let (a, b, c) = (lanes.get32(a), lanes.get32(b), lanes.get32(c));
    // All bits of entry i of the table.
    let entry = |i: u32| 0u32.wrapping_sub(operands.aux >> i & 1);
    let flips = [entry(0) ^ entry(1), entry(2) ^ entry(3), entry(4) ^ entry(5), entry(6) ^ entry(7)];
    let bases = [entry(0), entry(2), entry(4), entry(6)];
    let mut result = [0; LANES];
    for lane in 0..LANES {
        let (a, b, c) = (a[lane], b[lane], c[lane]);
        let with_c = |i: usize| bases[i] ^ flips[i] & c;
        let neither = with_c(0) ^ (with_c(0) ^ with_c(1)) & b;
        let with_a = with_c(2) ^ (with_c(2) ^ with_c(3)) & b;
        result[lane] = neither ^ (neither ^ with_a) & a;
    }
    result
}

struct Lop3;

impl LaneOp for Lop3 {
    #[inline(always)]
    fn run(lanes: &mut Lanes, operands: &Operands, mask: u32) {
        let result = lop3_row(lanes, operands);
        lanes.set32(operands.dst[0], &result, mask);
    }
}

struct Lop3Predicate;

impl LaneOp for Lop3Predicate {
    #[inline(always)]
    fn run(lanes: &mut Lanes, operands: &Operands, mask: u32) {
        let result = lop3_row(lanes, operands);
        let q = lanes.get_predicate(operands.src[3]);
        let mut some = 0;
        for (lane, &result) in result.iter().enumerate() {
            some |= u32::from(result != 0) << lane;
        }
        lanes.set32(operands.dst[0], &result, mask);
        let p = if operands.aux & LOP3_OR != 0 { some | q } else { some & q };
        lanes.set_predicate(operands.dst[1], p, mask);
    }
}

fn lop3(decoder: &mut Decoder<'_>, instruction: &ast::Instruction) -> Result<Option<Decoded>, Reject> {
    let mut modifiers = Modifiers::of(instruction);
    let combine = modifiers.take(|modifier| match modifier {
        "or" => Some(LOP3_OR),
        "and" => Some(0),
        _ => None,
    });
    let ty = modifiers.ty()?;
    modifiers.finish()?;
    if ty != Type::B32 {
        return Err(wrong_type(instruction, ty));
    }
    let table = |operand: &Operand| match operand {
        Operand::Integer(table @ 0..=255) => Ok(*table as u32),
        _ => Err("a truth table from 0 to 255 is expected"),
    };
    let Some(combine) = combine else {
        let [d, a, b, c, lut] = operands(instruction)?;
        let src = [decoder.source(a, ty)?, decoder.source(b, ty)?, decoder.source(c, ty)?];
        let operands = Operands::new(&[decoder.destination(d, ty)?], &src).with_aux(table(lut)?);
        return Ok(alu(compile::<Lop3>(), operands, Integer));
    };
    let [destinations, a, b, c, lut, q] = operands(instruction)?;
    let Operand::Pair(d, p) = destinations else {
        return Err("a pair of destinations d|p is expected".into());
    };
    let src = [
        decoder.source(a, ty)?,
        decoder.source(b, ty)?,
        decoder.source(c, ty)?,
        decoder.source_predicate(q)?,
    ];
    let dst = [decoder.destination(d, ty)?, decoder.destination_predicate(p)?];
    let operands = Operands::new(&dst, &src).with_aux(table(lut)? | combine);
    Ok(alu(compile::<Lop3Predicate>(), operands, Integer))
}
