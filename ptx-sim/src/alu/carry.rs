//! Sums, differences and products with a carry, for integers of many words.
//!
//! The flag is that of the hardware's adder. A difference is the sum `a + !b + 1`, so that after `sub.cc` the flag is
//! set where nothing was borrowed, and `subc` adds it to `a + !b`. Chains of one kind see no difference to a flag that
//! is set by a borrow; chains that mix additions and subtractions see what ptxas makes of them.

use crate::program::{Decoded, Decoder, LANES, Lanes, Operands, Reject, Slot};
use crate::ptx::ast::{self, Type};
use crate::report::InstructionClass::Integer;

use super::integer::Part;
use super::macros::{Element, Modifiers, alu, typed_operands, wrong_type};
use super::{AluFn, LaneOp, compile};

/// The flag is added to the result.
const CARRY_IN: u32 = 1;
/// The flag is set to the carry of the result.
const CARRY_OUT: u32 = 2;

/// `add.cc addc sub.cc subc mad.cc madc`.
pub(crate) fn decode(
    decoder: &mut Decoder<'_>,
    instruction: &ast::Instruction,
) -> Result<Option<Decoded>, Reject> {
    let root = instruction.root();
    let carry_in = match root {
        "add" | "sub" | "mad" => 0,
        "addc" | "subc" | "madc" => CARRY_IN,
        _ => return Ok(None),
    };
    let mut modifiers = Modifiers::of(instruction);
    let carry_out = if modifiers.flag("cc") { CARRY_OUT } else { 0 };
    if carry_in | carry_out == 0 {
        return Ok(None);
    }
    let product = root.starts_with("mad");
    let part = if product { modifiers.take(Part::parse) } else { None };
    let ty = modifiers.ty()?;
    modifiers.finish()?;
    let function = match (&root[..3], part) {
        ("add", _) => sum(ty),
        ("sub", _) => difference(ty),
        (_, Some(Part::Low)) => low_product(ty),
        (_, Some(Part::High)) => high_product(ty),
        _ => return Err("one of .lo and .hi is expected".into()),
    };
    let function = function.ok_or_else(|| wrong_type(instruction, ty))?;
    let sources: &[Type] = if product { &[ty, ty, ty] } else { &[ty, ty] };
    let operands = typed_operands(decoder, instruction, ty, sources)?;
    Ok(alu(function, operands.with_aux(carry_in | carry_out), Integer))
}

/// A function of two addends, given as expressions of one lane of each source; a difference comes with its one where
/// there is no flag to add.
macro_rules! carry_fn {
    ($ty:ty, |$($source:ident),+| $first:expr, $second:expr, plus $one:literal) => {{
        struct WithCarry;
        impl LaneOp for WithCarry {
            #[inline(always)]
            fn run(lanes: &mut Lanes, operands: &Operands, mask: u32) {
                let flag = Slot::predicate(Lanes::CARRY);
                let [$($source,)+ ..] = operands.src;
                $(let $source = <$ty>::read(lanes, $source);)+
                let carried = if operands.aux & CARRY_IN != 0 {
                    lanes.get_predicate(flag)
                } else {
                    0u32.wrapping_sub($one)
                };
                let mut result = [<$ty>::default(); LANES];
                let mut carries = [false; LANES];
                for lane in 0..LANES {
                    $(let $source = $source[lane];)+
                    let (sum, first) = <$ty>::overflowing_add($first, $second);
                    let (sum, second) = sum.overflowing_add(<$ty>::from(carried >> lane & 1));
                    result[lane] = sum;
                    carries[lane] = first | second;
                }
                <$ty>::write(lanes, operands.dst[0], &result, mask);
                if operands.aux & CARRY_OUT != 0 {
                    let mut bits = 0;
                    for (lane, &carried) in carries.iter().enumerate() {
                        bits |= u32::from(carried) << lane;
                    }
                    lanes.set_predicate(flag, bits, mask);
                }
            }
        }
        compile::<WithCarry>()
    }};
}

fn sum(ty: Type) -> Option<AluFn> {
    Some(match ty {
        Type::U32 | Type::S32 => carry_fn!(u32, |a, b| a, b, plus 0),
        Type::U64 | Type::S64 => carry_fn!(u64, |a, b| a, b, plus 0),
        _ => return None,
    })
}

fn difference(ty: Type) -> Option<AluFn> {
    Some(match ty {
        Type::U32 | Type::S32 => carry_fn!(u32, |a, b| a, !b, plus 1),
        Type::U64 | Type::S64 => carry_fn!(u64, |a, b| a, !b, plus 1),
        _ => return None,
    })
}

fn low_product(ty: Type) -> Option<AluFn> {
    Some(match ty {
        Type::U32 | Type::S32 => carry_fn!(u32, |a, b, c| a.wrapping_mul(b), c, plus 0),
        Type::U64 | Type::S64 => carry_fn!(u64, |a, b, c| a.wrapping_mul(b), c, plus 0),
        _ => return None,
    })
}

fn high_product(ty: Type) -> Option<AluFn> {
    Some(match ty {
        Type::U32 => carry_fn!(u32, |a, b, c| ((u64::from(a) * u64::from(b)) >> 32) as u32, c, plus 0),
        Type::S32 => {
            carry_fn!(u32, |a, b, c| ((i64::from(a as i32) * i64::from(b as i32)) >> 32) as u32, c, plus 0)
        }
        Type::U64 => carry_fn!(u64, |a, b, c| ((u128::from(a) * u128::from(b)) >> 64) as u64, c, plus 0),
        Type::S64 => {
            carry_fn!(u64, |a, b, c| ((i128::from(a as i64) * i128::from(b as i64)) >> 64) as u64, c, plus 0)
        }
        _ => return None,
    })
}
