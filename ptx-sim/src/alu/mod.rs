//! Arithmetic: instructions that read registers, write registers, and can do nothing else.

pub(crate) mod atomics;
mod bits;
mod carry;
mod compare;
mod convert;
mod double;
mod exact;
mod float;
mod fp8;
mod functions;
mod half;
mod half_format;
mod integer;
mod logic;
mod macros;
mod min_max;
mod modifiers;
mod moves;
mod narrow;
mod rounding;
mod scalar;
mod special;
mod video;

use crate::program::{Decoded, Decoder, LANES, Lanes, Operands, Reject};
use crate::ptx::ast::{self, Type};

/// Decodes integer arithmetic, logic, comparisons of all types, selections and moves; `None` for an instruction of
/// another kind.
pub(crate) fn decode_integer(
    decoder: &mut Decoder<'_>,
    instruction: &ast::Instruction,
) -> Result<Option<Decoded>, Reject> {
    let has_carry = || instruction.modifiers().any(|modifier| modifier == "cc");
    match instruction.root() {
        "add" | "sub" | "mad" if has_carry() => carry::decode(decoder, instruction),
        "addc" | "subc" | "madc" => carry::decode(decoder, instruction),
        "add" | "min" | "max" if video::is_packed(instruction) => video::decode(decoder, instruction),
        "dp4a" | "dp2a" | "sad" => video::decode(decoder, instruction),
        "add" | "sub" | "mul" | "mad" | "mul24" | "mad24" | "div" | "rem" | "abs" | "neg" | "min" | "max" => {
            integer::decode(decoder, instruction)
        }
        "and" | "or" | "xor" | "not" | "cnot" | "lop3" | "shl" | "shr" | "shf" => {
            logic::decode(decoder, instruction)
        }
        "setp" | "set" | "selp" | "slct" => compare::decode(decoder, instruction),
        "popc" | "clz" | "brev" | "bfind" | "bfe" | "bfi" | "fns" | "szext" | "bmsk" | "prmt" => {
            bits::decode(decoder, instruction)
        }
        "mov" => moves::decode(decoder, instruction),
        _ => Ok(None),
    }
}

/// Floating-point arithmetic and all conversions; `None` for other instructions, also those of integers with the same
/// root. `perturb` changes the results of approximate functions within the bounds of the ISA.
pub(crate) fn decode_float(
    decoder: &mut Decoder<'_>,
    instruction: &ast::Instruction,
    perturb: bool,
) -> Result<Option<Decoded>, Reject> {
    match instruction.root() {
        "cvt" => return convert::decode(decoder, instruction),
        "add" | "sub" | "mul" | "fma" | "mad" | "div" | "abs" | "neg" | "min" | "max" | "testp"
        | "copysign" | "rcp" | "sqrt" | "rsqrt" | "sin" | "cos" | "lg2" | "ex2" | "tanh" => {}
        _ => return Ok(None),
    }
    if instruction.modifiers().any(|one| one == "f32x2") {
        return Err("type f32x2 needs sm_100".into());
    }
    let Some(ty) = instruction.modifiers().find_map(Type::parse).filter(|ty| ty.is_float()) else {
        return Ok(None);
    };
    if special::is_approximate(instruction) {
        return special::decode(decoder, instruction, perturb);
    }
    match ty {
        Type::F32 => float::decode(decoder, instruction),
        Type::F64 => double::decode(decoder, instruction),
        _ => half::decode(decoder, instruction),
    }
}

/// An arithmetic instruction on the lanes of a mask.
///
/// # Safety
///
/// May only be called on the CPU that [`compile`] made it for.
pub(crate) type AluFn = unsafe fn(&mut Lanes, &Operands, u32);

/// One arithmetic instruction.
pub(crate) trait LaneOp: 'static {
    /// Reads sources, computes all lanes, writes those of `mask`. To be marked `#[inline(always)]`, as must be all
    /// that it calls in its loop, so that the loop is compiled for the CPU's vector instructions.
    fn run(lanes: &mut Lanes, operands: &Operands, mask: u32);
}

/// The instruction compiled for this CPU: with AVX2, FMA and F16C where there are such.
pub(crate) fn compile<O: LaneOp>() -> AluFn {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx2,fma,f16c,bmi1,bmi2,lzcnt,popcnt")]
        fn wide<O: LaneOp>(lanes: &mut Lanes, operands: &Operands, mask: u32) {
            O::run(lanes, operands, mask);
        }
        if has_wide_vectors() {
            return wide::<O>;
        }
    }
    fn portable<O: LaneOp>(lanes: &mut Lanes, operands: &Operands, mask: u32) {
        O::run(lanes, operands, mask);
    }
    portable::<O>
}

#[cfg(target_arch = "x86_64")]
pub(crate) fn has_wide_vectors() -> bool {
    use std::arch::is_x86_feature_detected as has;
    // Asked once: it takes an instruction or two for each feature, and is asked with each access to memory.
    static KNOWN: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *KNOWN.get_or_init(|| {
        has!("avx2")
            && has!("fma")
            && has!("f16c")
            && has!("bmi1")
            && has!("bmi2")
            && has!("lzcnt")
            && has!("popcnt")
    })
}

/// A function of each lane. Unlike an array's `map` it is always inlined, and becomes vector code.
#[inline(always)]
fn each<T: Copy, U: Copy + Default>(row: &[T; LANES], function: impl Fn(T) -> U) -> [U; LANES] {
    let mut result = [U::default(); LANES];
    for lane in 0..LANES {
        result[lane] = function(row[lane]);
    }
    result
}

#[cfg(test)]
mod tests;
