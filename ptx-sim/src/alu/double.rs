//! f64: `add sub mul fma mad div rcp sqrt neg abs min max copysign testp`.

use std::marker::PhantomData;

use super::exact;
use super::float::{Property, decoded, required_rounding, same_type};
use super::modifiers::Modifiers;
use super::rounding::Rounding;
use super::{AluFn, LaneOp, compile};
use crate::program::{Decoded, Decoder, LANES, Lanes, Operands, Reject, operands};
use crate::ptx::ast::{Instruction, Type};
use crate::report::InstructionClass;

/// The NaN of an f64 instruction none of whose sources is NaN (CUDA's `CUDART_NAN`).
pub(super) const F64_NAN: u64 = 0xfff8 << 48;
const QUIET: u64 = 1 << 51;

/// A function of up to three f64, rounded to nearest and in any direction.
trait Function: 'static {
    const SOURCES: usize;
    fn nearest(a: f64, b: f64, c: f64) -> f64;
    fn rounded(a: f64, b: f64, c: f64, rounding: Rounding) -> f64;
}

macro_rules! functions {
    ($($name:ident, $sources:literal, |$a:ident, $b:ident, $c:ident, $r:ident| $nearest:expr, $rounded:expr;)*) => {$(
        struct $name;
        impl Function for $name {
            const SOURCES: usize = $sources;
            #[inline(always)]
            fn nearest($a: f64, $b: f64, $c: f64) -> f64 {
                let _ = ($b, $c);
                $nearest
            }
            fn rounded($a: f64, $b: f64, $c: f64, $r: Rounding) -> f64 {
                let _ = ($b, $c);
                $rounded
            }
        }
    )*};
}

functions! {
    Add, 2, |a, b, c, r| a + b, exact::add(a, b, r);
    Sub, 2, |a, b, c, r| a - b, exact::add(a, -b, r);
    Mul, 2, |a, b, c, r| a * b, exact::multiply(a, b, r);
    Fma, 3, |a, b, c, r| a.mul_add(b, c), exact::fused_multiply_add(a, b, c, r);
    Div, 2, |a, b, c, r| a / b, exact::divide(a, b, r);
    Rcp, 1, |a, b, c, r| 1.0 / a, exact::divide(1.0, a, r);
    Sqrt, 1, |a, b, c, r| a.sqrt(), exact::square_root(a, r);
}

#[inline(always)]
fn read(lanes: &Lanes, operands: &Operands, sources: usize) -> [[f64; LANES]; 3] {
    let mut rows = [[0.0; LANES]; 3];
    for (at, row) in rows.iter_mut().enumerate().take(sources) {
        let bits = lanes.get64(operands.src[at]);
        for lane in 0..LANES {
            row[lane] = f64::from_bits(bits[lane]);
        }
    }
    rows
}

/// The result's bits; a NaN is the first NaN among the sources, made quiet.
#[inline(always)]
fn with_payload(result: f64, sources: [f64; 3]) -> u64 {
    let mut nan = F64_NAN;
    for source in sources.into_iter().rev() {
        nan = if source.is_nan() { source.to_bits() | QUIET } else { nan };
    }
    if result.is_nan() { nan } else { result.to_bits() }
}

struct Arithmetic<F>(PhantomData<F>);

impl<F: Function> LaneOp for Arithmetic<F> {
    #[inline(always)]
    fn run(lanes: &mut Lanes, operands: &Operands, mask: u32) {
        let [a, b, c] = read(lanes, operands, F::SOURCES);
        let mut result = [0; LANES];
        for lane in 0..LANES {
            let sources = [a[lane], b[lane], c[lane]];
            result[lane] = with_payload(F::nearest(a[lane], b[lane], c[lane]), sources);
        }
        lanes.set64(operands.dst[0], &result, mask);
    }
}

/// In the direction of [`Operands::aux`].
struct Directed<F>(PhantomData<F>);

impl<F: Function> LaneOp for Directed<F> {
    #[inline(always)]
    fn run(lanes: &mut Lanes, operands: &Operands, mask: u32) {
        let rounding = Rounding::of_code(operands.aux);
        let [a, b, c] = read(lanes, operands, F::SOURCES);
        let mut result = [0; LANES];
        for lane in 0..LANES {
            let sources = [a[lane], b[lane], c[lane]];
            result[lane] = with_payload(F::rounded(a[lane], b[lane], c[lane], rounding), sources);
        }
        lanes.set64(operands.dst[0], &result, mask);
    }
}

/// `neg` turns the sign of any NaN; `abs` lets NaN pass.
struct Sign<const NEGATE: bool>;

impl<const NEGATE: bool> LaneOp for Sign<NEGATE> {
    #[inline(always)]
    fn run(lanes: &mut Lanes, operands: &Operands, mask: u32) {
        let mut row = lanes.get64(operands.src[0]);
        for one in &mut row {
            let sign = u64::from(NEGATE || !f64::from_bits(*one).is_nan()) << 63;
            *one = if NEGATE { *one ^ sign } else { *one & !sign };
        }
        lanes.set64(operands.dst[0], &row, mask);
    }
}

struct MinMax<const MAX: bool>;

impl<const MAX: bool> LaneOp for MinMax<MAX> {
    #[inline(always)]
    fn run(lanes: &mut Lanes, operands: &Operands, mask: u32) {
        // Orders numbers, −0 before +0, as signed integers.
        let key = |x: f64| x.to_bits() as i64 ^ ((x.to_bits() as i64 >> 63) as u64 >> 1) as i64;
        let [a, b, _] = read(lanes, operands, 2);
        let mut result = [0; LANES];
        for lane in 0..LANES {
            let (a, b) = (a[lane], b[lane]);
            let a_wins = if MAX { key(a) > key(b) } else { key(a) < key(b) };
            let number = if b.is_nan() || a_wins && !a.is_nan() { a } else { b };
            result[lane] = with_payload(number, [a, b, 0.0]);
        }
        lanes.set64(operands.dst[0], &result, mask);
    }
}

struct Copysign;

impl LaneOp for Copysign {
    #[inline(always)]
    fn run(lanes: &mut Lanes, operands: &Operands, mask: u32) {
        let sign = lanes.get64(operands.src[0]);
        let mut row = lanes.get64(operands.src[1]);
        for (one, sign) in row.iter_mut().zip(sign) {
            *one = *one & !(1 << 63) | sign & 1 << 63;
        }
        lanes.set64(operands.dst[0], &row, mask);
    }
}

struct Test;

impl LaneOp for Test {
    #[inline(always)]
    fn run(lanes: &mut Lanes, operands: &Operands, mask: u32) {
        let row = lanes.get64(operands.src[0]);
        let mut bits = 0;
        for (lane, one) in row.iter().enumerate() {
            let holds = Property::holds(operands.aux, f64::from_bits(*one).classify());
            bits |= u32::from(holds) << lane;
        }
        lanes.set_predicate(operands.dst[0], bits, mask);
    }
}

fn arithmetic<F: Function>(rounding: Rounding) -> AluFn {
    if rounding == Rounding::Nearest { compile::<Arithmetic<F>>() } else { compile::<Directed<F>>() }
}

/// f64 instructions that are not approximate.
pub(super) fn decode(
    decoder: &mut Decoder<'_>,
    instruction: &Instruction,
) -> Result<Option<Decoded>, Reject> {
    let mut modifiers = Modifiers::of(instruction);
    if modifiers.take_types() != [Type::F64] {
        return Err("unknown combination of types".into());
    }
    let class = InstructionClass::Double;
    let root = instruction.root();
    if root == "testp" {
        let property = Property::take(&mut modifiers)?;
        modifiers.finish()?;
        let [predicate, source] = operands(instruction)?;
        let source = decoder.source(source, Type::F64)?;
        let operands = Operands::new(&[decoder.destination_predicate(predicate)?], &[source]);
        return Ok(decoded(compile::<Test>(), operands.with_aux(property.code()), class));
    }
    let rounding = match root {
        "add" | "sub" | "mul" => modifiers.take_rounding().unwrap_or(Rounding::Nearest),
        "fma" | "mad" | "div" | "rcp" | "sqrt" => required_rounding(&mut modifiers)?,
        _ => Rounding::Nearest,
    };
    let (function, sources) = match root {
        "add" => (arithmetic::<Add>(rounding), 2),
        "sub" => (arithmetic::<Sub>(rounding), 2),
        "mul" => (arithmetic::<Mul>(rounding), 2),
        "fma" | "mad" => (arithmetic::<Fma>(rounding), 3),
        "div" => (arithmetic::<Div>(rounding), 2),
        "rcp" => (arithmetic::<Rcp>(rounding), 1),
        "sqrt" => (arithmetic::<Sqrt>(rounding), 1),
        "neg" => (compile::<Sign<true>>(), 1),
        "abs" => (compile::<Sign<false>>(), 1),
        "copysign" => (compile::<Copysign>(), 2),
        "min" => (compile::<MinMax<false>>(), 2),
        "max" => (compile::<MinMax<true>>(), 2),
        _ => return Err("no such f64 instruction".into()),
    };
    modifiers.finish()?;
    let operands = same_type(decoder, instruction, Type::F64, sources)?.with_aux(rounding.code());
    Ok(decoded(function, operands, class))
}
