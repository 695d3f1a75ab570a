//! Integer arithmetic: sums, products, quotients, minima, absolute values.

use crate::program::{Decoded, Decoder, Reject};
use crate::ptx::ast::{self, Type};
use crate::report::InstructionClass::Integer;

use super::AluFn;
use super::macros::{Modifiers, alu, for_integer, is_integer, lane_fn, typed_operands, wrong_type};

/// Which part of a product an instruction wants.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Low,
    High,
    Wide,
}

impl Part {
    pub fn parse(modifier: &str) -> Option<Self> {
        Some(match modifier {
            "lo" => Self::Low,
            "hi" => Self::High,
            "wide" => Self::Wide,
            _ => return None,
        })
    }
}

/// `add sub mul mad mul24 mad24 div rem abs neg min max` of integers, one to a register.
pub(crate) fn decode(
    decoder: &mut Decoder<'_>,
    instruction: &ast::Instruction,
) -> Result<Option<Decoded>, Reject> {
    if !is_integer(instruction) {
        return Ok(None);
    }
    let mut modifiers = Modifiers::of(instruction);
    let ty = modifiers.ty()?;
    let root = instruction.root();
    let part = match root {
        "mul" | "mad" | "mul24" | "mad24" => {
            let part = modifiers.take(Part::parse);
            Some(part.ok_or("one of .lo, .hi and .wide is missing")?)
        }
        _ => None,
    };
    let saturate = matches!(root, "add" | "sub" | "mad" | "mad24") && modifiers.flag("sat");
    if saturate && (ty != Type::S32 || part.is_some_and(|part| part != Part::High)) {
        return Err(".sat exists for .s32 alone, and of products for .hi".into());
    }
    let relu = matches!(root, "min" | "max") && modifiers.flag("relu");
    if relu && ty != Type::S32 {
        return Err(".relu exists for .s32 and .s16x2 alone".into());
    }
    modifiers.finish()?;

    let function = match (root, part) {
        ("add", _) if saturate => Some(lane_fn!(|a: i32, b: i32| -> i32 { a.saturating_add(b) })),
        ("sub", _) if saturate => Some(lane_fn!(|a: i32, b: i32| -> i32 { a.saturating_sub(b) })),
        ("add", _) => for_integer!(ty, T => lane_fn!(|a: T, b: T| -> T { a.wrapping_add(b) })),
        ("sub", _) => for_integer!(ty, T => lane_fn!(|a: T, b: T| -> T { a.wrapping_sub(b) })),
        ("mul", Some(part)) => multiply(ty, part),
        ("mad", Some(Part::High)) if saturate => {
            Some(lane_fn!(|a: i32, b: i32, c: i32| -> i32 { high_i32(a, b).saturating_add(c) }))
        }
        ("mad", Some(part)) => multiply_add(ty, part),
        ("mul24", Some(part)) => multiply24(ty, part),
        ("mad24", Some(part)) => multiply_add24(ty, part, saturate),
        ("div", _) => divide(ty),
        ("rem", _) => remainder(ty),
        ("abs", _) if ty.is_signed() => {
            for_integer!(ty, T => lane_fn!(|a: T| -> T { if a < 0 as T { (0 as T).wrapping_sub(a) } else { a } }))
        }
        ("neg", _) if ty.is_signed() => {
            for_integer!(ty, T => lane_fn!(|a: T| -> T { (0 as T).wrapping_sub(a) }))
        }
        ("min", _) if relu => Some(lane_fn!(|a: i32, b: i32| -> i32 { a.min(b).max(0) })),
        ("max", _) if relu => Some(lane_fn!(|a: i32, b: i32| -> i32 { a.max(b).max(0) })),
        ("min", _) => for_integer!(ty, T => lane_fn!(|a: T, b: T| -> T { if a < b { a } else { b } })),
        ("max", _) => for_integer!(ty, T => lane_fn!(|a: T, b: T| -> T { if a > b { a } else { b } })),
        _ => None,
    };
    let function = function.ok_or_else(|| wrong_type(instruction, ty))?;

    let wide = if part == Some(Part::Wide) { widened(ty) } else { ty };
    let sources: &[Type] = match root {
        "abs" | "neg" => &[ty],
        "mad" | "mad24" => &[ty, ty, wide],
        _ => &[ty, ty],
    };
    let operands = typed_operands(decoder, instruction, wide, sources)?;
    Ok(alu(function, operands, Integer))
}

/// The type of twice the width.
fn widened(ty: Type) -> Type {
    match ty {
        Type::U16 => Type::U32,
        Type::S16 => Type::S32,
        Type::U32 => Type::U64,
        _ => Type::S64,
    }
}

#[inline(always)]
fn high_i32(a: i32, b: i32) -> i32 {
    ((i64::from(a) * i64::from(b)) >> 32) as i32
}

fn multiply(ty: Type, part: Part) -> Option<AluFn> {
    match (part, ty) {
        (Part::Low, _) => for_integer!(ty, T => lane_fn!(|a: T, b: T| -> T { a.wrapping_mul(b) })),
        (Part::High, Type::U16) => {
            Some(lane_fn!(|a: u16, b: u16| -> u16 { ((u32::from(a) * u32::from(b)) >> 16) as u16 }))
        }
        (Part::High, Type::S16) => {
            Some(lane_fn!(|a: i16, b: i16| -> i16 { ((i32::from(a) * i32::from(b)) >> 16) as i16 }))
        }
        (Part::High, Type::U32) => {
            Some(lane_fn!(|a: u32, b: u32| -> u32 { ((u64::from(a) * u64::from(b)) >> 32) as u32 }))
        }
        (Part::High, Type::S32) => Some(lane_fn!(|a: i32, b: i32| -> i32 { high_i32(a, b) })),
        (Part::High, Type::U64) => {
            Some(lane_fn!(|a: u64, b: u64| -> u64 { ((u128::from(a) * u128::from(b)) >> 64) as u64 }))
        }
        (Part::High, Type::S64) => {
            Some(lane_fn!(|a: i64, b: i64| -> i64 { ((i128::from(a) * i128::from(b)) >> 64) as i64 }))
        }
        (Part::Wide, Type::U16) => Some(lane_fn!(|a: u16, b: u16| -> u32 { u32::from(a) * u32::from(b) })),
        (Part::Wide, Type::S16) => Some(lane_fn!(|a: i16, b: i16| -> i32 { i32::from(a) * i32::from(b) })),
        (Part::Wide, Type::U32) => Some(lane_fn!(|a: u32, b: u32| -> u64 { u64::from(a) * u64::from(b) })),
        (Part::Wide, Type::S32) => Some(lane_fn!(|a: i32, b: i32| -> i64 { i64::from(a) * i64::from(b) })),
        _ => None,
    }
}

fn multiply_add(ty: Type, part: Part) -> Option<AluFn> {
    match (part, ty) {
        (Part::Low, _) => {
            for_integer!(ty, T => lane_fn!(|a: T, b: T, c: T| -> T { a.wrapping_mul(b).wrapping_add(c) }))
        }
        (Part::High, Type::U16) => Some(lane_fn!(|a: u16, b: u16, c: u16| -> u16 {
            (((u32::from(a) * u32::from(b)) >> 16) as u16).wrapping_add(c)
        })),
        (Part::High, Type::S16) => Some(lane_fn!(|a: i16, b: i16, c: i16| -> i16 {
            (((i32::from(a) * i32::from(b)) >> 16) as i16).wrapping_add(c)
        })),
        (Part::High, Type::U32) => Some(lane_fn!(|a: u32, b: u32, c: u32| -> u32 {
            (((u64::from(a) * u64::from(b)) >> 32) as u32).wrapping_add(c)
        })),
        (Part::High, Type::S32) => {
            Some(lane_fn!(|a: i32, b: i32, c: i32| -> i32 { high_i32(a, b).wrapping_add(c) }))
        }
        (Part::High, Type::U64) => Some(lane_fn!(|a: u64, b: u64, c: u64| -> u64 {
            (((u128::from(a) * u128::from(b)) >> 64) as u64).wrapping_add(c)
        })),
        (Part::High, Type::S64) => Some(lane_fn!(|a: i64, b: i64, c: i64| -> i64 {
            (((i128::from(a) * i128::from(b)) >> 64) as i64).wrapping_add(c)
        })),
        (Part::Wide, Type::U16) => {
            Some(lane_fn!(|a: u16, b: u16, c: u32| -> u32 { (u32::from(a) * u32::from(b)).wrapping_add(c) }))
        }
        (Part::Wide, Type::S16) => {
            Some(lane_fn!(|a: i16, b: i16, c: i32| -> i32 { (i32::from(a) * i32::from(b)).wrapping_add(c) }))
        }
        (Part::Wide, Type::U32) => {
            Some(lane_fn!(|a: u32, b: u32, c: u64| -> u64 { (u64::from(a) * u64::from(b)).wrapping_add(c) }))
        }
        (Part::Wide, Type::S32) => {
            Some(lane_fn!(|a: i32, b: i32, c: i64| -> i64 { (i64::from(a) * i64::from(b)).wrapping_add(c) }))
        }
        _ => None,
    }
}

/// The low 24 bits of a number, as those of a wider one.
#[inline(always)]
fn unsigned24(a: u32) -> u64 {
    u64::from(a & 0xff_ffff)
}

#[inline(always)]
fn signed24(a: i32) -> i64 {
    i64::from(a << 8 >> 8)
}

/// Products of the low 24 bits, as ptxas compiles them, whatever lies above; the high part is bits 16 to 47.
fn multiply24(ty: Type, part: Part) -> Option<AluFn> {
    Some(match (part, ty) {
        (Part::Low, Type::U32) => {
            lane_fn!(|a: u32, b: u32| -> u32 { (unsigned24(a) * unsigned24(b)) as u32 })
        }
        (Part::Low, Type::S32) => lane_fn!(|a: i32, b: i32| -> i32 { (signed24(a) * signed24(b)) as i32 }),
        (Part::High, Type::U32) => {
            lane_fn!(|a: u32, b: u32| -> u32 { ((unsigned24(a) * unsigned24(b)) >> 16) as u32 })
        }
        (Part::High, Type::S32) => {
            lane_fn!(|a: i32, b: i32| -> i32 { ((signed24(a) * signed24(b)) >> 16) as i32 })
        }
        _ => return None,
    })
}

fn multiply_add24(ty: Type, part: Part, saturate: bool) -> Option<AluFn> {
    Some(match (part, ty) {
        (Part::Low, Type::U32) => lane_fn!(|a: u32, b: u32, c: u32| -> u32 {
            ((unsigned24(a) * unsigned24(b)) as u32).wrapping_add(c)
        }),
        (Part::Low, Type::S32) => {
            lane_fn!(|a: i32, b: i32, c: i32| -> i32 { ((signed24(a) * signed24(b)) as i32).wrapping_add(c) })
        }
        (Part::High, Type::U32) => lane_fn!(|a: u32, b: u32, c: u32| -> u32 {
            (((unsigned24(a) * unsigned24(b)) >> 16) as u32).wrapping_add(c)
        }),
        (Part::High, Type::S32) if saturate => lane_fn!(|a: i32, b: i32, c: i32| -> i32 {
            (((signed24(a) * signed24(b)) >> 16) as i32).saturating_add(c)
        }),
        (Part::High, Type::S32) => lane_fn!(|a: i32, b: i32, c: i32| -> i32 {
            (((signed24(a) * signed24(b)) >> 16) as i32).wrapping_add(c)
        }),
        _ => return None,
    })
}

/// Division by zero is unspecified in PTX. The code that ptxas emits for it, at every width, gives all ones for the
/// quotient and for the remainder, and so do these.
fn divide(ty: Type) -> Option<AluFn> {
    for_integer!(ty, T => lane_fn!(|a: T, b: T| -> T { if b == 0 { !0 } else { a.wrapping_div(b) } }))
}

fn remainder(ty: Type) -> Option<AluFn> {
    for_integer!(ty, T => lane_fn!(|a: T, b: T| -> T { if b == 0 { !0 } else { a.wrapping_rem(b) } }))
}
