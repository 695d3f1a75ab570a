//! Approximate functions: `rcp sqrt rsqrt div sin cos lg2 ex2 tanh` with `.approx`, and `div.full`.
//!
//! The ISA bounds their error and leaves their bits open. Here they are the function in f64, rounded; or, to show
//! what relies on their bits, something else within the bound that is a function of the source's bits. Where the ISA
//! gives a result for a source (zeros, infinities, NaN), it is that.

use std::marker::PhantomData;

use super::double::F64_NAN;
use super::float::{decoded, flush_all, same_type};
use super::functions::{Cos, Div, DivFull, Ex2, Function, Lg2, Rcp, Rsqrt, Sin, Sqrt, Tanh, perturb};
use super::half::{HalfFunction, compile_half};
use super::half_format::{F32_NAN, HalfFormat, is_nan_f32};
use super::modifiers::{Modifiers, flags};
use super::rounding::Format;
use super::{AluFn, LaneOp, compile};
use crate::program::{Decoded, Decoder, LANES, Lanes, Operands, Reject};
use crate::ptx::ast::{Instruction, Type};
use crate::report::InstructionClass;

struct Approximate<F, const PERTURB: bool>(PhantomData<F>);

impl<F: Function, const PERTURB: bool> LaneOp for Approximate<F, PERTURB> {
    #[inline(always)]
    fn run(lanes: &mut Lanes, operands: &Operands, mask: u32) {
        let ftz = operands.aux & flags::FTZ != 0;
        let mut rows = [[0; LANES]; 2];
        for (at, row) in rows.iter_mut().enumerate().take(F::SOURCES) {
            *row = lanes.get32(operands.src[at]);
            if ftz {
                flush_all(row);
            }
        }
        let mut result = [0; LANES];
        for lane in 0..LANES {
            let (a, b) = (f32::from_bits(rows[0][lane]), f32::from_bits(rows[1][lane]));
            let exact = F::exact(a, b);
            let value = if PERTURB { perturb::<F>(a, b, exact, Format::F32, F::BOUND) } else { exact };
            let bits = (value as f32).to_bits();
            result[lane] = if is_nan_f32(bits) { F32_NAN } else { bits };
        }
        if ftz {
            flush_all(&mut result);
        }
        lanes.set32(operands.dst[0], &result, mask);
    }
}

/// The same of 16-bit numbers.
struct ApproximateHalf<F, const PERTURB: bool>(PhantomData<F>);

impl<F: Function, const PERTURB: bool> HalfFunction for ApproximateHalf<F, PERTURB> {
    const SOURCES: usize = 1;

    #[inline(always)]
    fn apply<H: HalfFormat>(sources: &mut [[u32; LANES]; 3], _: u32) -> [u32; LANES] {
        let bound = if H::FORMAT.max == Format::F16.max { F::F16_BOUND } else { F::BF16_BOUND };
        let mut row = sources[0];
        for one in &mut row {
            let a = H::widen(*one);
            let exact = F::exact(a, 0.0);
            let value = if PERTURB { perturb::<F>(a, 0.0, exact, H::FORMAT, bound) } else { exact };
            *one = H::narrow(value as f32);
        }
        row
    }
}

/// `rcp.approx.ftz.f64` and `rsqrt.approx.ftz.f64`: the upper 32 bits of the source alone count, and of the result
/// there are no others.
struct UpperHalf<const ROOT: bool>;

impl<const ROOT: bool> LaneOp for UpperHalf<ROOT> {
    #[inline(always)]
    fn run(lanes: &mut Lanes, operands: &Operands, mask: u32) {
        let mut row = lanes.get64(operands.src[0]);
        for one in &mut row {
            let source = f64::from_bits(flush_f64(*one & UPPER));
            let value = 1.0 / if ROOT { source.sqrt() } else { source };
            // To nearest, in the upper half; a carry into the exponent is as it should be.
            let bits = value.to_bits().wrapping_add((1 << 31) - 1 + (value.to_bits() >> 32 & 1)) & UPPER;
            *one = if value.is_nan() { 0x7fff_ffff << 32 } else { flush_f64(bits) };
        }
        lanes.set64(operands.dst[0], &row, mask);
    }
}

const UPPER: u64 = !0 << 32;

#[inline(always)]
fn flush_f64(bits: u64) -> u64 {
    if bits << 1 >> 53 == 0 { bits & 1 << 63 } else { bits }
}

/// `rsqrt.approx.f64`.
struct RsqrtF64;

impl LaneOp for RsqrtF64 {
    #[inline(always)]
    fn run(lanes: &mut Lanes, operands: &Operands, mask: u32) {
        let mut row = lanes.get64(operands.src[0]);
        for one in &mut row {
            let value = 1.0 / f64::from_bits(*one).sqrt();
            *one = if value.is_nan() { F64_NAN } else { value.to_bits() };
        }
        lanes.set64(operands.dst[0], &row, mask);
    }
}

fn approximate<F: Function>(perturb: bool) -> AluFn {
    if perturb { compile::<Approximate<F, true>>() } else { compile::<Approximate<F, false>>() }
}

fn approximate_half<F: Function>(ty: Type, perturb: bool) -> Result<AluFn, Reject> {
    if perturb {
        compile_half::<ApproximateHalf<F, true>>(ty)
    } else {
        compile_half::<ApproximateHalf<F, false>>(ty)
    }
}

/// Whether this is one of the instructions of [`decode`].
pub(super) fn is_approximate(instruction: &Instruction) -> bool {
    let only_so = matches!(instruction.root(), "rsqrt" | "sin" | "cos" | "lg2" | "ex2" | "tanh");
    only_so || instruction.modifiers().any(|one| one == "approx" || one == "full")
}

/// Approximate functions; `perturb` changes their results within the bounds of the ISA.
pub(super) fn decode(
    decoder: &mut Decoder<'_>,
    instruction: &Instruction,
    perturb: bool,
) -> Result<Option<Decoded>, Reject> {
    let mut modifiers = Modifiers::of(instruction);
    let root = instruction.root();
    let [ty] = modifiers.take_types()[..] else {
        return Err("unknown combination of types".into());
    };
    let full = root == "div" && modifiers.take("full");
    if !full && !modifiers.take("approx") {
        return Err("modifier .approx is missing".into());
    }
    let mut ftz = 0;
    let (function, sources) = match (root, ty) {
        ("tanh", Type::F32) => (approximate::<Tanh>(perturb), 1),
        ("tanh", _) => (approximate_half::<Tanh>(ty, perturb)?, 1),
        ("ex2", Type::F16 | Type::F16x2) => (approximate_half::<Ex2>(ty, perturb)?, 1),
        ("ex2", Type::Bf16 | Type::Bf16x2) => {
            ftz = modifiers.flag("ftz", flags::FTZ);
            if ftz == 0 {
                return Err("modifier .ftz is missing".into());
            }
            (approximate_half::<Ex2>(ty, perturb)?, 1)
        }
        ("rsqrt", Type::F64) if !modifiers.has_any(&["ftz"]) => (compile::<RsqrtF64>(), 1),
        ("rcp" | "rsqrt", Type::F64) => {
            if !modifiers.take("ftz") {
                return Err("modifier .ftz is missing".into());
            }
            (if root == "rcp" { compile::<UpperHalf<false>>() } else { compile::<UpperHalf<true>>() }, 1)
        }
        (_, Type::F32) => {
            ftz = modifiers.flag("ftz", flags::FTZ);
            match root {
                "rcp" => (approximate::<Rcp>(perturb), 1),
                "sqrt" => (approximate::<Sqrt>(perturb), 1),
                "rsqrt" => (approximate::<Rsqrt>(perturb), 1),
                "sin" => (approximate::<Sin>(perturb), 1),
                "cos" => (approximate::<Cos>(perturb), 1),
                "lg2" => (approximate::<Lg2>(perturb), 1),
                "ex2" => (approximate::<Ex2>(perturb), 1),
                "div" if full => (approximate::<DivFull>(perturb), 2),
                "div" => (approximate::<Div>(perturb), 2),
                _ => return Err("no such approximate function".into()),
            }
        }
        _ => return Err("no such approximate function of this type".into()),
    };
    modifiers.finish()?;
    let operands = same_type(decoder, instruction, ty, sources)?.with_aux(ftz);
    Ok(decoded(function, operands, InstructionClass::Special))
}
