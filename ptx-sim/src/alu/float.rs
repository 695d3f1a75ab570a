//! f32: `add sub mul fma mad div rcp sqrt neg abs min max copysign testp`, and the mixed-precision `add sub fma`.

use std::marker::PhantomData;

use super::half_format::{Bf16, F16, F32_NAN, HalfFormat, flush_f32, is_nan_f32};
use super::min_max::min_max;
use super::modifiers::{Modifiers, flags};
use super::rounding::{Down, Mode, Nearest, Rounding, Up, Zero, add_f64, divide_f64, f64_to_f32, sqrt_f64};
use super::{AluFn, LaneOp, compile};
use crate::program::{Decoded, Decoder, LANES, Lanes, Op, Operands, Reject, operands};
use crate::ptx::ast::{Instruction, Operand, Type};
use crate::report::InstructionClass;

/// A function of up to three f32.
trait Function: 'static {
    const SOURCES: usize;
    fn apply(a: f32, b: f32, c: f32) -> f32;
}

/// Declares functions for a rounding mode: what nearest-even does, and what goes through f64 in other directions.
macro_rules! functions {
    ($($name:ident, $sources:literal, |$a:ident, $b:ident, $c:ident| $nearest:expr, $exact:expr;)*) => {$(
        struct $name<M>(PhantomData<M>);
        impl<M: Mode> Function for $name<M> {
            const SOURCES: usize = $sources;
            #[inline(always)]
            fn apply($a: f32, $b: f32, $c: f32) -> f32 {
                let _ = ($b, $c);
                if matches!(M::ROUNDING, Rounding::Nearest) {
                    return $nearest;
                }
                let ($a, $b, $c) = (f64::from($a), f64::from($b), f64::from($c));
                let _ = ($b, $c);
                f64_to_f32::<M>($exact)
            }
        }
    )*};
}

functions! {
    Add, 2, |a, b, c| a + b, add_f64::<M>(a, b);
    Sub, 2, |a, b, c| a - b, add_f64::<M>(a, -b);
    // A product of f32 numbers is an f64 number.
    Mul, 2, |a, b, c| a * b, a * b;
    Fma, 3, |a, b, c| a.mul_add(b, c), add_f64::<M>(a * b, c);
    Div, 2, |a, b, c| a / b, divide_f64(a, b);
    Rcp, 1, |a, b, c| 1.0 / a, divide_f64(1.0, a);
    Sqrt, 1, |a, b, c| a.sqrt(), sqrt_f64(a);
}

#[inline(always)]
pub(super) fn flush_all(row: &mut [u32; LANES]) {
    for one in row {
        *one = flush_f32(*one);
    }
}

#[inline(always)]
fn read(lanes: &Lanes, operands: &Operands, sources: usize) -> [[u32; LANES]; 3] {
    let mut rows = [[0; LANES]; 3];
    for (at, row) in rows.iter_mut().enumerate().take(sources) {
        *row = lanes.get32(operands.src[at]);
        if operands.aux & flags::FTZ != 0 {
            flush_all(row);
        }
    }
    rows
}

#[inline(always)]
fn write(lanes: &mut Lanes, operands: &Operands, mask: u32, mut result: [u32; LANES]) {
    if operands.aux & flags::FTZ != 0 {
        flush_all(&mut result);
    }
    if operands.aux & flags::SAT != 0 {
        for one in &mut result {
            let x = f32::from_bits(*one);
            // Neither comparison holds for NaN.
            *one = if x >= 1.0 {
                1f32.to_bits()
            } else if x > 0.0 {
                *one
            } else {
                0
            };
        }
    }
    lanes.set32(operands.dst[0], &result, mask);
}

#[inline(always)]
fn apply_all<F: Function>([a, b, c]: &[[u32; LANES]; 3]) -> [u32; LANES] {
    let mut result = [0; LANES];
    for lane in 0..LANES {
        let value =
            F::apply(f32::from_bits(a[lane]), f32::from_bits(b[lane]), f32::from_bits(c[lane])).to_bits();
        result[lane] = if is_nan_f32(value) { F32_NAN } else { value };
    }
    result
}

struct Arithmetic<F>(PhantomData<F>);

impl<F: Function> LaneOp for Arithmetic<F> {
    #[inline(always)]
    fn run(lanes: &mut Lanes, operands: &Operands, mask: u32) {
        let sources = read(lanes, operands, F::SOURCES);
        write(lanes, operands, mask, apply_all::<F>(&sources));
    }
}

/// All sources but the last are 16-bit numbers.
struct Mixed<F, H>(PhantomData<(F, H)>);

impl<F: Function, H: HalfFormat> LaneOp for Mixed<F, H> {
    #[inline(always)]
    fn run(lanes: &mut Lanes, operands: &Operands, mask: u32) {
        let mut sources = read(lanes, operands, F::SOURCES);
        for row in &mut sources[..F::SOURCES - 1] {
            for one in row {
                *one = H::widen(*one).to_bits();
            }
        }
        write(lanes, operands, mask, apply_all::<F>(&sources));
    }
}

struct Sign<const NEGATE: bool>;

impl<const NEGATE: bool> LaneOp for Sign<NEGATE> {
    #[inline(always)]
    fn run(lanes: &mut Lanes, operands: &Operands, mask: u32) {
        let [mut row, ..] = read(lanes, operands, 1);
        for one in &mut row {
            let value = if NEGATE { *one ^ 1 << 31 } else { *one & !(1 << 31) };
            *one = if is_nan_f32(value) { F32_NAN } else { value };
        }
        lanes.set32(operands.dst[0], &row, mask);
    }
}

struct MinMax<const MAX: bool>;

impl<const MAX: bool> LaneOp for MinMax<MAX> {
    #[inline(always)]
    fn run(lanes: &mut Lanes, operands: &Operands, mask: u32) {
        let count = if operands.aux & flags::THREE != 0 { 3 } else { 2 };
        let mut sources = read(lanes, operands, count);
        let result = min_max::<MAX>(&mut sources, operands.aux);
        lanes.set32(operands.dst[0], &result, mask);
    }
}

struct Copysign;

impl LaneOp for Copysign {
    #[inline(always)]
    fn run(lanes: &mut Lanes, operands: &Operands, mask: u32) {
        let [sign, mut row, _] = read(lanes, operands, 2);
        for (one, sign) in row.iter_mut().zip(sign) {
            *one = *one & !(1 << 31) | sign & 1 << 31;
        }
        lanes.set32(operands.dst[0], &row, mask);
    }
}

/// What `testp` asks, as f32's and f64's classes of numbers.
#[derive(Clone, Copy, Debug)]
pub(super) enum Property {
    Finite,
    Infinite,
    Number,
    NotANumber,
    Normal,
    Subnormal,
}

impl Property {
    const ALL: [(&'static str, Self); 6] = [
        ("finite", Self::Finite),
        ("infinite", Self::Infinite),
        ("number", Self::Number),
        ("notanumber", Self::NotANumber),
        ("normal", Self::Normal),
        ("subnormal", Self::Subnormal),
    ];

    pub fn take(modifiers: &mut Modifiers<'_>) -> Result<Self, Reject> {
        let found = Self::ALL.into_iter().find(|(name, _)| modifiers.take(name));
        found.map(|(_, property)| property).ok_or_else(|| "a property to test for is missing".into())
    }

    pub fn code(self) -> u32 {
        self as u32
    }

    /// Whether it holds for a number of a class; zero counts as normal.
    #[inline(always)]
    pub fn holds(code: u32, class: std::num::FpCategory) -> bool {
        use std::num::FpCategory::{Infinite, Nan, Normal, Subnormal, Zero};
        match Self::ALL[code as usize % Self::ALL.len()].1 {
            Self::Finite => !matches!(class, Infinite | Nan),
            Self::Infinite => class == Infinite,
            Self::Number => class != Nan,
            Self::NotANumber => class == Nan,
            Self::Normal => matches!(class, Normal | Zero),
            Self::Subnormal => class == Subnormal,
        }
    }
}

struct Test;

impl LaneOp for Test {
    #[inline(always)]
    fn run(lanes: &mut Lanes, operands: &Operands, mask: u32) {
        let row = lanes.get32(operands.src[0]);
        let mut bits = 0;
        for (lane, one) in row.iter().enumerate() {
            let holds = Property::holds(operands.aux, f32::from_bits(*one).classify());
            bits |= u32::from(holds) << lane;
        }
        lanes.set_predicate(operands.dst[0], bits, mask);
    }
}

macro_rules! rounded {
    ($rounding:expr, $function:ident $(, $wrap:ident, $half:ty)?) => {
        match $rounding {
            Rounding::Nearest | Rounding::NearestAway => rounded!(@ $function<Nearest> $(, $wrap, $half)?),
            Rounding::Zero => rounded!(@ $function<Zero> $(, $wrap, $half)?),
            Rounding::Down => rounded!(@ $function<Down> $(, $wrap, $half)?),
            Rounding::Up => rounded!(@ $function<Up> $(, $wrap, $half)?),
        }
    };
    (@ $function:ty) => { compile::<Arithmetic<$function>>() };
    (@ $function:ty, $wrap:ident, $half:ty) => { compile::<$wrap<$function, $half>>() };
}

/// A decoded arithmetic instruction.
pub(super) fn decoded(function: AluFn, operands: Operands, class: InstructionClass) -> Option<Decoded> {
    Some(Decoded { op: Op::Alu(function), operands, class })
}

/// A destination and sources of one type.
pub(super) fn same_type(
    decoder: &mut Decoder<'_>,
    instruction: &Instruction,
    ty: Type,
    sources: usize,
) -> Result<Operands, Reject> {
    let all = &instruction.operands;
    if all.len() != sources + 1 {
        return Err(format!("{} operands are expected, {} are there", sources + 1, all.len()));
    }
    let sources: Vec<_> =
        all[1..].iter().map(|operand| decoder.source(operand, ty)).collect::<Result<_, _>>()?;
    Ok(Operands::new(&[decoder.destination(&all[0], ty)?], &sources))
}

/// The rounding that `fma`, `mad`, `div` and the like must name.
pub(super) fn required_rounding(modifiers: &mut Modifiers<'_>) -> Result<Rounding, Reject> {
    modifiers.take_rounding().ok_or_else(|| "a rounding modifier is missing".into())
}

/// The flags of `min` and `max` but `.ftz`.
pub(super) fn min_max_flags(modifiers: &mut Modifiers<'_>, sources: usize) -> Result<u32, Reject> {
    let xorsign = modifiers.flag("xorsign", flags::XORSIGN);
    let flags = modifiers.flag("NaN", flags::NAN) | modifiers.flag("abs", flags::ABS) | xorsign;
    match sources {
        2 if (flags & flags::ABS != 0) != (xorsign != 0) => {
            Err("with two sources .xorsign and .abs go together".into())
        }
        3 if xorsign != 0 => Err(".xorsign has no place with three sources".into()),
        3 => Ok(flags | flags::THREE),
        _ => Ok(flags),
    }
}

/// f32 instructions that are not approximate.
pub(super) fn decode(
    decoder: &mut Decoder<'_>,
    instruction: &Instruction,
) -> Result<Option<Decoded>, Reject> {
    let mut modifiers = Modifiers::of(instruction);
    match modifiers.take_types()[..] {
        [Type::F32] => {}
        [Type::F32, half @ (Type::F16 | Type::Bf16)] => return mixed(decoder, instruction, modifiers, half),
        _ => return Err("unknown combination of types".into()),
    }
    let root = instruction.root();
    let class = InstructionClass::Float;
    if root == "testp" {
        let property = Property::take(&mut modifiers)?;
        modifiers.finish()?;
        let [predicate, source] = operands(instruction)?;
        let source = decoder.source(source, Type::F32)?;
        let operands = Operands::new(&[decoder.destination_predicate(predicate)?], &[source]);
        return Ok(decoded(compile::<Test>(), operands.with_aux(property.code()), class));
    }
    let ftz = if root == "copysign" { 0 } else { modifiers.flag("ftz", flags::FTZ) };
    let (function, sources, flags, class) = match root {
        "add" | "sub" | "mul" | "fma" | "mad" => {
            let rounding = match root {
                "fma" | "mad" => required_rounding(&mut modifiers)?,
                _ => modifiers.take_rounding().unwrap_or(Rounding::Nearest),
            };
            let (function, sources) = match root {
                "add" => (rounded!(rounding, Add), 2),
                "sub" => (rounded!(rounding, Sub), 2),
                "mul" => (rounded!(rounding, Mul), 2),
                _ => (rounded!(rounding, Fma), 3),
            };
            (function, sources, modifiers.flag("sat", flags::SAT), class)
        }
        "div" => (rounded!(required_rounding(&mut modifiers)?, Div), 2, 0, class),
        "rcp" => (rounded!(required_rounding(&mut modifiers)?, Rcp), 1, 0, InstructionClass::Special),
        "sqrt" => (rounded!(required_rounding(&mut modifiers)?, Sqrt), 1, 0, InstructionClass::Special),
        "neg" => (compile::<Sign<true>>(), 1, 0, class),
        "abs" => (compile::<Sign<false>>(), 1, 0, class),
        "copysign" => (compile::<Copysign>(), 2, 0, class),
        "min" | "max" => {
            let sources = instruction.operands.len().clamp(3, 4) - 1;
            let flags = min_max_flags(&mut modifiers, sources)?;
            let function = if root == "max" { compile::<MinMax<true>>() } else { compile::<MinMax<false>>() };
            (function, sources, flags, class)
        }
        _ => return Err("no such f32 instruction".into()),
    };
    modifiers.finish()?;
    let operands = same_type(decoder, instruction, Type::F32, sources)?;
    Ok(decoded(function, operands.with_aux(ftz | flags), class))
}

/// `add.f32.f16` and its like.
fn mixed(
    decoder: &mut Decoder<'_>,
    instruction: &Instruction,
    mut modifiers: Modifiers<'_>,
    half: Type,
) -> Result<Option<Decoded>, Reject> {
    let root = instruction.root();
    let rounding = match root {
        "fma" => required_rounding(&mut modifiers)?,
        "add" | "sub" => modifiers.take_rounding().unwrap_or(Rounding::Nearest),
        _ => return Err("not in mixed precision".into()),
    };
    let function = match (root, half) {
        ("add", Type::F16) => rounded!(rounding, Add, Mixed, F16),
        ("add", _) => rounded!(rounding, Add, Mixed, Bf16),
        ("sub", Type::F16) => rounded!(rounding, Sub, Mixed, F16),
        ("sub", _) => rounded!(rounding, Sub, Mixed, Bf16),
        (_, Type::F16) => rounded!(rounding, Fma, Mixed, F16),
        _ => rounded!(rounding, Fma, Mixed, Bf16),
    };
    let flags = modifiers.flag("sat", flags::SAT);
    modifiers.finish()?;
    let (destination, sources): (&Operand, &[Operand]) = match (root, &instruction.operands[..]) {
        ("fma", [d, rest @ ..]) if rest.len() == 3 => (d, rest),
        ("add" | "sub", [d, rest @ ..]) if rest.len() == 2 => (d, rest),
        (_, all) => return Err(format!("{} operands are too few or too many", all.len())),
    };
    let last = sources.len() - 1;
    let mut slots = Vec::new();
    for (at, source) in sources.iter().enumerate() {
        slots.push(decoder.source(source, if at == last { Type::F32 } else { half })?);
    }
    let operands = Operands::new(&[decoder.destination(destination, Type::F32)?], &slots).with_aux(flags);
    Ok(decoded(function, operands, InstructionClass::Float))
}
