//! f16, bf16 and their pairs: `add sub mul fma neg abs min max`.

use std::marker::PhantomData;

use super::float::{decoded, min_max_flags, required_rounding, same_type};
use super::half_format::{Bf16, F16, HALF_NAN, HALF_SIGN, HalfFormat};
use super::min_max::min_max;
use super::modifiers::{Modifiers, flags};
use super::rounding::Rounding;
use super::{AluFn, LaneOp, compile, each};
use crate::program::{Decoded, Decoder, LANES, Lanes, Operands, Reject};
use crate::ptx::ast::{Instruction, Type};
use crate::report::InstructionClass;

type Halves = [u32; LANES];

/// A function of up to three 16-bit numbers, of all lanes.
pub(super) trait HalfFunction: 'static {
    const SOURCES: usize;
    /// The sources are 16-bit numbers and may be changed.
    fn apply<H: HalfFormat>(sources: &mut [Halves; 3], flags: u32) -> Halves;
}

macro_rules! functions {
    ($($name:ident, $sources:literal, |$a:ident, $b:ident, $c:ident| $result:expr;)*) => {$(
        struct $name;
        impl HalfFunction for $name {
            const SOURCES: usize = $sources;
            #[inline(always)]
            fn apply<H: HalfFormat>(sources: &mut [Halves; 3], _: u32) -> Halves {
                let mut result = [0; LANES];
                for lane in 0..LANES {
                    let $a = H::widen(sources[0][lane]);
                    let $b = H::widen(sources[1][lane]);
                    let $c = H::widen(sources[2][lane]);
                    let _ = $c;
                    result[lane] = $result;
                }
                result
            }
        }
    )*};
}

// f32 has more than twice the bits of either format and two, so that rounding a sum or product to f32 first does no
// harm (Figueroa, "When is double rounding innocuous?"). Subnormal sums are exact in f32; so are products of f16,
// and those of bf16 that do not become zero.
functions! {
    Add, 2, |a, b, c| H::narrow(a + b);
    Sub, 2, |a, b, c| H::narrow(a - b);
    Mul, 2, |a, b, c| H::narrow(a * b);
    Fma, 3, |a, b, c| H::multiply_add(a, b, c);
}

struct Sign<const NEGATE: bool>;

impl<const NEGATE: bool> HalfFunction for Sign<NEGATE> {
    const SOURCES: usize = 1;

    #[inline(always)]
    fn apply<H: HalfFormat>(sources: &mut [Halves; 3], _: u32) -> Halves {
        let mut row = sources[0];
        for one in &mut row {
            let value = if NEGATE { *one ^ HALF_SIGN } else { *one & !HALF_SIGN };
            *one = if H::is_nan(value) { HALF_NAN } else { value };
        }
        row
    }
}

struct MinMax<const MAX: bool>;

impl<const MAX: bool> HalfFunction for MinMax<MAX> {
    const SOURCES: usize = 2;

    #[inline(always)]
    fn apply<H: HalfFormat>(sources: &mut [Halves; 3], flags: u32) -> Halves {
        for row in sources.iter_mut() {
            // The sign of NaN counts for .xorsign.
            *row = each(row, |one| H::widen(one).to_bits() | (one & HALF_SIGN) << 16);
        }
        let mut result = min_max::<MAX>(sources, flags);
        for one in &mut result {
            *one = H::narrow(f32::from_bits(*one));
        }
        result
    }
}

/// A function on 16-bit registers or, packed, on both halves of 32-bit registers.
pub(super) struct Half<F, H, const PACKED: bool>(PhantomData<(F, H)>);

impl<F: HalfFunction, H: HalfFormat, const PACKED: bool> LaneOp for Half<F, H, PACKED> {
    #[inline(always)]
    fn run(lanes: &mut Lanes, operands: &Operands, mask: u32) {
        let mut rows = [[0; LANES]; 3];
        for (at, row) in rows.iter_mut().enumerate().take(F::SOURCES) {
            *row = lanes.get32(operands.src[at]);
        }
        let [a, b, c] = &rows;
        let lower = |one| one & 0xffff;
        let mut result = half::<F, H>([each(a, lower), each(b, lower), each(c, lower)], operands.aux);
        if PACKED {
            let upper = |one| one >> 16;
            let upper = half::<F, H>([each(a, upper), each(b, upper), each(c, upper)], operands.aux);
            for lane in 0..LANES {
                result[lane] |= upper[lane] << 16;
            }
        }
        lanes.set32(operands.dst[0], &result, mask);
    }
}

#[inline(always)]
fn half<F: HalfFunction, H: HalfFormat>(mut sources: [Halves; 3], flags: u32) -> Halves {
    if flags & flags::FTZ != 0 {
        for row in &mut sources {
            *row = each(row, H::flush);
        }
    }
    let mut result = F::apply::<H>(&mut sources, flags);
    if flags & flags::FTZ != 0 {
        for one in &mut result {
            *one = H::flush(*one);
        }
    }
    if flags & flags::SAT != 0 {
        for one in &mut result {
            let below = H::is_nan(*one) || *one & HALF_SIGN != 0;
            *one = if below { 0 } else { (*one).min(H::ONE) };
        }
    }
    if flags & flags::RELU != 0 {
        for one in &mut result {
            *one = relu::<H>(*one);
        }
    }
    result
}

/// 0 for a negative number; NaN stays NaN.
#[inline(always)]
pub(super) fn relu<H: HalfFormat>(half: u32) -> u32 {
    let positive = if half & HALF_SIGN != 0 { 0 } else { half };
    if H::is_nan(half) { HALF_NAN } else { positive }
}

/// The function for a 16-bit type, packed or not.
pub(super) fn compile_half<F: HalfFunction>(ty: Type) -> Result<AluFn, Reject> {
    Ok(match ty {
        Type::F16 => compile::<Half<F, F16, false>>(),
        Type::F16x2 => compile::<Half<F, F16, true>>(),
        Type::Bf16 => compile::<Half<F, Bf16, false>>(),
        Type::Bf16x2 => compile::<Half<F, Bf16, true>>(),
        _ => return Err("not a 16-bit floating-point type".into()),
    })
}

/// f16 and bf16 instructions that are not approximate.
pub(super) fn decode(
    decoder: &mut Decoder<'_>,
    instruction: &Instruction,
) -> Result<Option<Decoded>, Reject> {
    let mut modifiers = Modifiers::of(instruction);
    let [ty] = modifiers.take_types()[..] else {
        return Err("unknown combination of types".into());
    };
    let is_f16 = matches!(ty, Type::F16 | Type::F16x2);
    let root = instruction.root();
    let mut flags = if is_f16 { modifiers.flag("ftz", flags::FTZ) } else { 0 };
    let (function, sources) = match root {
        "add" | "sub" | "mul" | "fma" => {
            let rounding = match root {
                "fma" => required_rounding(&mut modifiers)?,
                _ => modifiers.take_rounding().unwrap_or(Rounding::Nearest),
            };
            if rounding != Rounding::Nearest {
                return Err("16-bit arithmetic rounds to nearest only".into());
            }
            if modifiers.has_any(&["oob"]) {
                return Err("the modifier .oob is not supported".into());
            }
            if is_f16 {
                flags |= modifiers.flag("sat", flags::SAT);
            }
            if root == "fma" && flags & flags::SAT == 0 {
                flags |= modifiers.flag("relu", flags::RELU);
            }
            match root {
                "add" => (compile_half::<Add>(ty)?, 2),
                "sub" => (compile_half::<Sub>(ty)?, 2),
                "mul" => (compile_half::<Mul>(ty)?, 2),
                _ => (compile_half::<Fma>(ty)?, 3),
            }
        }
        "neg" => (compile_half::<Sign<true>>(ty)?, 1),
        "abs" => (compile_half::<Sign<false>>(ty)?, 1),
        "min" | "max" => {
            flags |= min_max_flags(&mut modifiers, 2)?;
            let function = if root == "max" {
                compile_half::<MinMax<true>>(ty)?
            } else {
                compile_half::<MinMax<false>>(ty)?
            };
            (function, 2)
        }
        _ => return Err("no such instruction for 16-bit floating-point types".into()),
    };
    modifiers.finish()?;
    let operands = same_type(decoder, instruction, ty, sources)?.with_aux(flags);
    Ok(decoded(function, operands, InstructionClass::Float))
}
