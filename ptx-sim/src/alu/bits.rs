//! Instructions on the bits and bytes of a register.

use crate::program::{Decoded, Decoder, Reject};
use crate::ptx::ast::{self, Type};
use crate::report::InstructionClass::Integer;

use super::AluFn;
use super::logic::wrap_mode;
use super::macros::{Modifiers, alu, lane_fn, typed_operands, wrong_type};

/// What `bfind` and `fns` give where there is nothing to find.
const NOT_FOUND: u32 = u32::MAX;

/// `popc clz brev bfind bfe bfi fns szext bmsk prmt`.
pub(crate) fn decode(
    decoder: &mut Decoder<'_>,
    instruction: &ast::Instruction,
) -> Result<Option<Decoded>, Reject> {
    use Type::{B32, B64, S32, S64, U32, U64};
    let mut modifiers = Modifiers::of(instruction);
    let root = instruction.root();
    let shift_amount = root == "bfind" && modifiers.flag("shiftamt");
    let wrap = matches!(root, "szext" | "bmsk").then(|| modifiers.take(wrap_mode));
    let wrap = wrap.map(|mode| mode.ok_or("one of .clamp and .wrap is missing")).transpose()?;
    let permutation = if root == "prmt" { modifiers.take(Permutation::parse) } else { None };
    let ty = modifiers.ty()?;
    modifiers.finish()?;

    let (function, destination, sources): (_, _, &[Type]) = match (root, ty) {
        ("popc", B32) => (lane_fn!(|a: u32| -> u32 { a.count_ones() }), U32, &[B32]),
        ("popc", B64) => (lane_fn!(|a: u64| -> u32 { a.count_ones() }), U32, &[B64]),
        ("clz", B32) => (lane_fn!(|a: u32| -> u32 { a.leading_zeros() }), U32, &[B32]),
        ("clz", B64) => (lane_fn!(|a: u64| -> u32 { a.leading_zeros() }), U32, &[B64]),
        ("brev", B32) => (lane_fn!(|a: u32| -> u32 { a.reverse_bits() }), B32, &[B32]),
        ("brev", B64) => (lane_fn!(|a: u64| -> u64 { a.reverse_bits() }), B64, &[B64]),
        ("bfind", U32 | S32 | U64 | S64) => (bfind(ty, shift_amount), U32, &[ty]),
        ("bfe", U32) => (bfe_u32(), ty, &[U32, U32, U32]),
        ("bfe", S32) => (bfe_s32(), ty, &[S32, U32, U32]),
        ("bfe", U64) => (bfe_u64(), ty, &[U64, U32, U32]),
        ("bfe", S64) => (bfe_s64(), ty, &[S64, U32, U32]),
        ("bfi", B32) => (bfi_b32(), ty, &[B32, B32, U32, U32]),
        ("bfi", B64) => (bfi_b64(), ty, &[B64, B64, U32, U32]),
        ("fns", B32) => (
            lane_fn!(|mask: u32, base: u32, offset: i32| -> u32 { find_nth_set(mask, base, offset) }),
            B32,
            &[B32, B32, S32],
        ),
        ("szext", U32 | S32) => (extend(ty, wrap == Some(true)), ty, &[ty, U32]),
        ("bmsk", B32) => (bit_mask(wrap == Some(true)), B32, &[B32, B32]),
        ("prmt", B32) => (permute(permutation), B32, &[B32, B32, B32]),
        _ => return Err(wrong_type(instruction, ty)),
    };
    let operands = typed_operands(decoder, instruction, destination, sources)?;
    Ok(alu(function, operands, Integer))
}

/// Position of the highest bit that is not the sign, or how far it is from the top.
fn bfind(ty: Type, shift_amount: bool) -> AluFn {
    match (ty, shift_amount) {
        (Type::U32, false) => lane_fn!(|a: u32| -> u32 { 31u32.wrapping_sub(a.leading_zeros()) }),
        (Type::S32, false) => {
            lane_fn!(|a: i32| -> u32 { 31u32.wrapping_sub((a ^ a >> 31).leading_zeros()) })
        }
        (Type::U64, false) => lane_fn!(|a: u64| -> u32 { 63u32.wrapping_sub(a.leading_zeros()) }),
        (_, false) => lane_fn!(|a: i64| -> u32 { 63u32.wrapping_sub((a ^ a >> 63).leading_zeros()) }),
        (Type::U32, true) => {
            lane_fn!(|a: u32| -> u32 { if a == 0 { NOT_FOUND } else { a.leading_zeros() } })
        }
        (Type::S32, true) => lane_fn!(|a: i32| -> u32 {
            let a = a ^ a >> 31;
            if a == 0 { NOT_FOUND } else { a.leading_zeros() }
        }),
        (Type::U64, true) => {
            lane_fn!(|a: u64| -> u32 { if a == 0 { NOT_FOUND } else { a.leading_zeros() } })
        }
        (_, true) => lane_fn!(|a: i64| -> u32 {
            let a = a ^ a >> 63;
            if a == 0 { NOT_FOUND } else { a.leading_zeros() }
        }),
    }
}

/// Ones in the low `length` bits; in all of them from 32 on.
#[inline(always)]
fn ones32(length: u32) -> u32 {
    if length < 32 { (1 << (length & 31)) - 1 } else { u32::MAX }
}

#[inline(always)]
fn ones64(length: u32) -> u64 {
    if length < 64 { (1 << (length & 63)) - 1 } else { u64::MAX }
}

#[inline(always)]
fn shifted_left32(a: u32, by: u32) -> u32 {
    if by < 32 { a << (by & 31) } else { 0 }
}

#[inline(always)]
fn shifted_left64(a: u64, by: u32) -> u64 {
    if by < 64 { a << (by & 63) } else { 0 }
}

fn bfe_u32() -> AluFn {
    lane_fn!(|a: u32, position: u32, length: u32| -> u32 {
        let position = position & 0xff;
        let shifted = if position < 32 { a >> (position & 31) } else { 0 };
        shifted & ones32(length & 0xff)
    })
}

fn bfe_u64() -> AluFn {
    lane_fn!(|a: u64, position: u32, length: u32| -> u64 {
        let position = position & 0xff;
        let shifted = if position < 64 { a >> (position & 63) } else { 0 };
        shifted & ones64(length & 0xff)
    })
}

/// The shift fills with the sign of the whole, which is that of a field that reaches beyond it.
fn bfe_s32() -> AluFn {
    lane_fn!(|a: i32, position: u32, length: u32| -> i32 {
        let shifted = a >> (position & 0xff).min(31);
        let length = (length & 0xff).min(32);
        let spare = (32 - length) & 31;
        if length == 0 { 0 } else { shifted << spare >> spare }
    })
}

fn bfe_s64() -> AluFn {
    lane_fn!(|a: i64, position: u32, length: u32| -> i64 {
        let shifted = a >> (position & 0xff).min(63);
        let length = (length & 0xff).min(64);
        let spare = (64 - length) & 63;
        if length == 0 { 0 } else { shifted << spare >> spare }
    })
}

fn bfi_b32() -> AluFn {
    lane_fn!(|a: u32, b: u32, position: u32, length: u32| -> u32 {
        let position = position & 0xff;
        let field = shifted_left32(ones32(length & 0xff), position);
        b & !field | shifted_left32(a, position) & field
    })
}

fn bfi_b64() -> AluFn {
    lane_fn!(|a: u64, b: u64, position: u32, length: u32| -> u64 {
        let position = position & 0xff;
        let field = shifted_left64(ones64(length & 0xff), position);
        b & !field | shifted_left64(a, position) & field
    })
}

/// The set bit number `offset`, counted from `base` upwards, or downwards where negative; the one at `base` itself
/// for 0. A base above 31, whose result is undefined, finds nothing.
#[inline(always)]
fn find_nth_set(mask: u32, base: u32, offset: i32) -> u32 {
    if base > 31 {
        return NOT_FOUND;
    }
    // Counted downwards is counted upwards in the mirror.
    let down = offset < 0;
    let (mask, base) = if down { (mask.reverse_bits(), 31 - base) } else { (mask, base) };
    let reachable = if offset == 0 { 1 << base } else { u32::MAX << base };
    let mut left = mask & reachable;
    let skipped = offset.unsigned_abs().saturating_sub(1);
    if skipped >= left.count_ones() {
        return NOT_FOUND;
    }
    for _ in 0..skipped {
        left &= left - 1;
    }
    let found = left.trailing_zeros();
    if down { 31 - found } else { found }
}

/// The number in the low bits of a register, from 32 of them on the whole or so many modulo 32.
fn extend(ty: Type, wrap: bool) -> AluFn {
    match (ty, wrap) {
        (Type::U32, true) => lane_fn!(|a: u32, bits: u32| -> u32 { a & ones32(bits & 31) }),
        (Type::U32, _) => lane_fn!(|a: u32, bits: u32| -> u32 { a & ones32(bits) }),
        (_, true) => lane_fn!(|a: i32, bits: u32| -> i32 {
            let spare = 32u32.wrapping_sub(bits) & 31;
            if bits & 31 == 0 { 0 } else { a << spare >> spare }
        }),
        (_, _) => lane_fn!(|a: i32, bits: u32| -> i32 {
            let spare = (32 - bits.min(32)) & 31;
            if bits == 0 { 0 } else { a << spare >> spare }
        }),
    }
}

fn bit_mask(wrap: bool) -> AluFn {
    if wrap {
        lane_fn!(|position: u32, length: u32| -> u32 { ones32(length & 31) << (position & 31) })
    } else {
        lane_fn!(|position: u32, length: u32| -> u32 { shifted_left32(ones32(length), position) })
    }
}

/// A mode of `prmt`. Each is the generic one with one of four selectors.
#[derive(Clone, Copy)]
enum Permutation {
    Forward4Extract,
    Backward4Extract,
    Replicate8,
    EdgeClampLeft,
    EdgeClampRight,
    Replicate16,
}

impl Permutation {
    fn parse(modifier: &str) -> Option<Self> {
        Some(match modifier {
            "f4e" => Self::Forward4Extract,
            "b4e" => Self::Backward4Extract,
            "rc8" => Self::Replicate8,
            "ecl" => Self::EdgeClampLeft,
            "ecr" => Self::EdgeClampRight,
            "rc16" => Self::Replicate16,
            _ => return None,
        })
    }
}

/// Four bytes of eight, each chosen by four bits of the selector, the highest of which spreads the byte's sign.
#[inline(always)]
fn permuted(a: u32, b: u32, selector: u32) -> u32 {
    let mut result = 0;
    for place in 0..4 {
        let chosen = selector >> (4 * place);
        let word = if chosen & 4 != 0 { b } else { a };
        let byte = word >> (8 * (chosen & 3)) & 0xff;
        let sign = 0u32.wrapping_sub(byte >> 7) & 0xff;
        result |= if chosen & 8 != 0 { sign } else { byte } << (8 * place);
    }
    result
}

/// By the selectors for the values 0 to 3 of the control's low bits, 16 bits each, the first lowest.
macro_rules! permute_by {
    ($selectors:literal) => {
        lane_fn!(|a: u32, b: u32, control: u32| -> u32 {
            permuted(a, b, ($selectors as u64 >> (16 * (control & 3))) as u32)
        })
    };
}

fn permute(mode: Option<Permutation>) -> AluFn {
    match mode {
        None => lane_fn!(|a: u32, b: u32, selector: u32| -> u32 { permuted(a, b, selector) }),
        Some(Permutation::Forward4Extract) => permute_by!(0x6543_5432_4321_3210),
        Some(Permutation::Backward4Extract) => permute_by!(0x0123_7012_6701_5670),
        Some(Permutation::Replicate8) => permute_by!(0x3333_2222_1111_0000),
        Some(Permutation::EdgeClampLeft) => permute_by!(0x3333_3222_3211_3210),
        Some(Permutation::EdgeClampRight) => permute_by!(0x3210_2210_1110_0000),
        Some(Permutation::Replicate16) => permute_by!(0x3232_1010_3232_1010),
    }
}
