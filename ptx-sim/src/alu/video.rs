//! Dot products of bytes, sums of absolute differences, and pairs of 16-bit integers in one register.

use crate::program::{Decoded, Decoder, Reject};
use crate::ptx::ast::{self, Type};
use crate::report::InstructionClass::Integer;

use super::AluFn;
use super::macros::{Modifiers, alu, for_integer, lane_fn, typed_operands, wrong_type};

/// `dp4a dp2a sad`, and `add min max` of `.u16x2` and `.s16x2`.
pub(crate) fn decode(
    decoder: &mut Decoder<'_>,
    instruction: &ast::Instruction,
) -> Result<Option<Decoded>, Reject> {
    match instruction.root() {
        "dp4a" | "dp2a" => dot_product(decoder, instruction),
        "sad" => absolute_difference(decoder, instruction),
        "add" | "min" | "max" if is_packed(instruction) => packed(decoder, instruction),
        _ => Ok(None),
    }
}

/// Whether an instruction is on pairs of 16-bit integers.
pub(super) fn is_packed(instruction: &ast::Instruction) -> bool {
    instruction.modifiers().any(|modifier| matches!(modifier, "u16x2" | "s16x2"))
}

/// One of the bytes of a register, extended.
#[inline(always)]
fn unsigned_byte(a: u32, index: u32) -> u32 {
    a >> (8 * index) & 0xff
}

#[inline(always)]
fn signed_byte(a: u32, index: u32) -> u32 {
    ((a << (24 - 8 * index)) as i32 >> 24) as u32
}

/// One of the halves of a register, extended.
#[inline(always)]
fn unsigned_half(a: u32, index: u32) -> u32 {
    a >> (16 * index) & 0xffff
}

#[inline(always)]
fn signed_half(a: u32, index: u32) -> u32 {
    ((a << (16 - 16 * index)) as i32 >> 16) as u32
}

/// `c` and the products of so many elements, which wrap together: the sign of each factor is in its extension.
macro_rules! dot_fn {
    ($count:literal, $a:ident, $b:ident, $first:literal) => {
        lane_fn!(|a: u32, b: u32, c: u32| -> u32 {
            let mut sum = c;
            for index in 0..$count {
                sum = sum.wrapping_add($a(a, index).wrapping_mul($b(b, $first + index)));
            }
            sum
        })
    };
}

fn dot_product(decoder: &mut Decoder<'_>, instruction: &ast::Instruction) -> Result<Option<Decoded>, Reject> {
    let mut modifiers = Modifiers::of(instruction);
    let four = instruction.root() == "dp4a";
    let high = if four {
        None
    } else {
        modifiers.take(|modifier| match modifier {
            "lo" => Some(false),
            "hi" => Some(true),
            _ => None,
        })
    };
    let (a, b) = (modifiers.ty()?, modifiers.ty()?);
    modifiers.finish()?;
    for ty in [a, b] {
        if !matches!(ty, Type::U32 | Type::S32) {
            return Err(wrong_type(instruction, ty));
        }
    }
    let function: AluFn = match (a.is_signed(), b.is_signed(), high) {
        (false, false, None) if four => dot_fn!(4, unsigned_byte, unsigned_byte, 0),
        (false, true, None) if four => dot_fn!(4, unsigned_byte, signed_byte, 0),
        (true, false, None) if four => dot_fn!(4, signed_byte, unsigned_byte, 0),
        (true, true, None) if four => dot_fn!(4, signed_byte, signed_byte, 0),
        (_, _, None) => return Err("one of .lo and .hi is missing".into()),
        (false, false, Some(false)) => dot_fn!(2, unsigned_half, unsigned_byte, 0),
        (false, true, Some(false)) => dot_fn!(2, unsigned_half, signed_byte, 0),
        (true, false, Some(false)) => dot_fn!(2, signed_half, unsigned_byte, 0),
        (true, true, Some(false)) => dot_fn!(2, signed_half, signed_byte, 0),
        (false, false, Some(true)) => dot_fn!(2, unsigned_half, unsigned_byte, 2),
        (false, true, Some(true)) => dot_fn!(2, unsigned_half, signed_byte, 2),
        (true, false, Some(true)) => dot_fn!(2, signed_half, unsigned_byte, 2),
        (true, true, Some(true)) => dot_fn!(2, signed_half, signed_byte, 2),
    };
    let u32 = Type::U32;
    Ok(alu(function, typed_operands(decoder, instruction, u32, &[u32, u32, u32])?, Integer))
}

fn absolute_difference(
    decoder: &mut Decoder<'_>,
    instruction: &ast::Instruction,
) -> Result<Option<Decoded>, Reject> {
    let mut modifiers = Modifiers::of(instruction);
    let ty = modifiers.ty()?;
    modifiers.finish()?;
    let function = for_integer!(ty, T => lane_fn!(|a: T, b: T, c: T| -> T {
        c.wrapping_add(if a < b { b.wrapping_sub(a) } else { a.wrapping_sub(b) })
    }));
    let function = function.ok_or_else(|| wrong_type(instruction, ty))?;
    Ok(alu(function, typed_operands(decoder, instruction, ty, &[ty, ty, ty])?, Integer))
}

/// An instruction on both halves, of an expression of one.
macro_rules! halves_fn {
    (|$a:ident, $b:ident: $half:ty| $body:expr) => {
        lane_fn!(|a: u32, b: u32| -> u32 {
            let low = {
                let ($a, $b) = (a as $half, b as $half);
                $body
            };
            let high = {
                let ($a, $b) = ((a >> 16) as $half, (b >> 16) as $half);
                $body
            };
            (high as u16 as u32) << 16 | low as u16 as u32
        })
    };
}

fn packed(decoder: &mut Decoder<'_>, instruction: &ast::Instruction) -> Result<Option<Decoded>, Reject> {
    let mut modifiers = Modifiers::of(instruction);
    let root = instruction.root();
    let ty = modifiers.ty()?;
    let signed = ty == Type::S16x2;
    let relu = signed && root != "add" && modifiers.flag("relu");
    modifiers.finish()?;
    let function = match (root, signed, relu) {
        ("add", ..) => halves_fn!(|a, b: u16| a.wrapping_add(b)),
        ("min", false, _) => halves_fn!(|a, b: u16| a.min(b)),
        ("min", true, false) => halves_fn!(|a, b: i16| a.min(b)),
        ("min", true, true) => halves_fn!(|a, b: i16| a.min(b).max(0)),
        (_, false, _) => halves_fn!(|a, b: u16| a.max(b)),
        (_, true, false) => halves_fn!(|a, b: i16| a.max(b)),
        (_, true, true) => halves_fn!(|a, b: i16| a.max(b).max(0)),
    };
    Ok(alu(function, typed_operands(decoder, instruction, ty, &[ty, ty])?, Integer))
}
