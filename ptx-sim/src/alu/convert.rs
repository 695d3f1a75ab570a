//! `cvt` and `cvt.pack`: which conversions there are. How they are done: [`super::narrow`] and [`super::fp8`] for
//! the most frequent and the packed ones, [`super::scalar`] for all others.

use super::float::decoded;
use super::modifiers::{Modifiers, flags};
use super::narrow::{self, with_rounding};
use super::rounding::Rounding;
use super::scalar::{Conversion, Kind};
use super::{LaneOp, compile, fp8};
use crate::program::{Decoded, Decoder, LANES, Lanes, Operands, Reject, operands};
use crate::ptx::ast::{Instruction, Type};
use crate::report::InstructionClass;

const CLASS: InstructionClass = InstructionClass::Convert;

/// Types that no supported device converts.
const SM_100_TYPES: [&str; 11] = [
    "e2m1x2", "e2m3x2", "e3m2x2", "ue8m0x2", "e2m1x4", "e2m3x4", "e3m2x4", "e4m3x4", "e5m2x4", "f32x2",
    "s2f6x2",
];

/// `cvt` and `cvt.pack`.
pub(super) fn decode(
    decoder: &mut Decoder<'_>,
    instruction: &Instruction,
) -> Result<Option<Decoded>, Reject> {
    let mut modifiers = Modifiers::of(instruction);
    if modifiers.take("pack") {
        return pack(decoder, instruction, modifiers);
    }
    if modifiers.has_any(&SM_100_TYPES) || modifiers.has_any(&["rs"]) {
        return Err("a conversion that needs sm_100".into());
    }
    let [destination, source] = modifiers.take_types()[..] else {
        return Err("two types are expected".into());
    };
    match (destination, source) {
        (Type::F16x2 | Type::Bf16x2, Type::F32) => to_halves(decoder, instruction, modifiers, destination),
        (Type::Tf32, Type::F32) => to_tf32(decoder, instruction, modifiers),
        (Type::E4m3x2 | Type::E5m2x2, _) | (_, Type::E4m3x2 | Type::E5m2x2) => {
            eight_bits(decoder, instruction, modifiers, destination, source)
        }
        _ => scalar(decoder, instruction, modifiers, destination, source),
    }
}

/// `.rn` or `.rz`, which such conversions must have.
fn nearest_or_zero(modifiers: &mut Modifiers<'_>) -> Result<Rounding, Reject> {
    match modifiers.take_rounding() {
        Some(rounding @ (Rounding::Nearest | Rounding::Zero)) => Ok(rounding),
        Some(_) => Err("this conversion rounds by .rn or .rz only".into()),
        None => Err("a rounding modifier is missing".into()),
    }
}

fn relu_and_satfinite(modifiers: &mut Modifiers<'_>) -> u32 {
    modifiers.flag("relu", flags::RELU) | modifiers.flag("satfinite", flags::SATFINITE)
}

fn none() -> Reject {
    "there is no such conversion".into()
}

fn to_halves(
    decoder: &mut Decoder<'_>,
    instruction: &Instruction,
    mut modifiers: Modifiers<'_>,
    destination: Type,
) -> Result<Option<Decoded>, Reject> {
    let rounding = nearest_or_zero(&mut modifiers)?;
    let flags = relu_and_satfinite(&mut modifiers);
    modifiers.finish()?;
    let [d, a, b] = operands(instruction)?;
    let sources = [decoder.source(a, Type::F32)?, decoder.source(b, Type::F32)?];
    let operands = Operands::new(&[decoder.destination(d, destination)?], &sources);
    let function = narrow::conversion(destination, Type::F32).ok_or_else(none)?;
    Ok(decoded(function, operands.with_aux(with_rounding(flags, rounding)), CLASS))
}

fn to_tf32(
    decoder: &mut Decoder<'_>,
    instruction: &Instruction,
    mut modifiers: Modifiers<'_>,
) -> Result<Option<Decoded>, Reject> {
    let away = modifiers.take("rna");
    let rounding = if away { Rounding::NearestAway } else { nearest_or_zero(&mut modifiers)? };
    let relu = if away { 0 } else { modifiers.flag("relu", flags::RELU) };
    let flags = relu | modifiers.flag("satfinite", flags::SATFINITE);
    modifiers.finish()?;
    let [d, a] = operands(instruction)?;
    let source = decoder.source(a, Type::F32)?;
    let operands = Operands::new(&[decoder.destination(d, Type::Tf32)?], &[source]);
    let function = narrow::conversion(Type::Tf32, Type::F32).ok_or_else(none)?;
    Ok(decoded(function, operands.with_aux(with_rounding(flags, rounding)), CLASS))
}

fn eight_bits(
    decoder: &mut Decoder<'_>,
    instruction: &Instruction,
    mut modifiers: Modifiers<'_>,
    destination: Type,
    source: Type,
) -> Result<Option<Decoded>, Reject> {
    let function = fp8::conversion(destination, source).ok_or_else(none)?;
    if !modifiers.take("rn") {
        return Err("modifier .rn is missing".into());
    }
    if destination != Type::F16x2 && !modifiers.take("satfinite") {
        return Err("modifier .satfinite is missing".into());
    }
    let relu = modifiers.flag("relu", flags::RELU);
    modifiers.finish()?;
    let operands = if source == Type::F32 {
        let [d, a, b] = operands(instruction)?;
        let sources = [decoder.source(a, source)?, decoder.source(b, source)?];
        Operands::new(&[decoder.destination(d, destination)?], &sources)
    } else {
        let [d, a] = operands(instruction)?;
        let source = decoder.source(a, source)?;
        Operands::new(&[decoder.destination(d, destination)?], &[source])
    };
    Ok(decoded(function, operands.with_aux(relu), CLASS))
}

/// Between integers and f16, bf16, f32, f64.
fn scalar(
    decoder: &mut Decoder<'_>,
    instruction: &Instruction,
    mut modifiers: Modifiers<'_>,
    destination: Type,
    source: Type,
) -> Result<Option<Decoded>, Reject> {
    let (to, from) = (Kind::of(destination).ok_or_else(none)?, Kind::of(source).ok_or_else(none)?);
    let integral = modifiers.take_integer_rounding();
    let rounding = modifiers.take_rounding();
    let mut flags = 0;
    if destination == Type::F32 || source == Type::F32 {
        flags |= modifiers.flag("ftz", flags::FTZ);
    }
    if to.saturates(from) {
        flags |= modifiers.flag("sat", flags::SAT);
    }
    if flags == 0 && source == Type::F32 && matches!(destination, Type::F16 | Type::Bf16) {
        flags = relu_and_satfinite(&mut modifiers);
    }
    modifiers.finish()?;
    if flags & (flags::RELU | flags::SATFINITE) != 0
        && matches!(rounding, Some(Rounding::Down | Rounding::Up))
    {
        return Err("this conversion rounds by .rn or .rz only".into());
    }
    let may_be_integral = !to.is_float() || to == from;
    match integral {
        None if from.is_float() && !to.is_float() => {
            return Err("a rounding modifier such as .rzi is missing".into());
        }
        Some(_) if !from.is_float() || !may_be_integral => {
            return Err("this conversion does not round to integers".into());
        }
        _ => {}
    }
    match rounding {
        // Between f16 and bf16, and from bf16, rounding may be named or not.
        None if to.loses(from) && !(from.is_half() && to.is_half()) => {
            return Err("a rounding modifier is missing".into());
        }
        Some(_) if !to.loses(from) && (from != Kind::Bf16 || !to.is_float() || to == from) => {
            return Err("this conversion needs no rounding modifier".into());
        }
        _ => {}
    }
    let [d, a] = operands(instruction)?;
    // Registers of bf16 must have 16 bits, others may be wider than the type.
    let (slot, wide) = match source {
        Type::Bf16 => (decoder.source(a, source)?, false),
        _ => decoder.source_relaxed(a, source)?,
    };
    let (target, register) = match destination {
        Type::Bf16 => (decoder.destination(d, destination)?, Type::B16),
        _ => decoder.destination_relaxed(d, destination)?,
    };
    let operands = Operands::new(&[target], &[slot]);
    if integral.is_none()
        && !wide
        && register.bits() <= 32
        && let Some(function) = narrow::conversion(destination, source)
    {
        let aux = with_rounding(flags, rounding.unwrap_or(Rounding::Nearest));
        return Ok(decoded(function, operands.with_aux(aux), CLASS));
    }
    let conversion = Conversion {
        to,
        from,
        rounding: integral.or(rounding).unwrap_or(Rounding::Nearest),
        integral: integral.is_some(),
        ftz: flags & flags::FTZ != 0,
        saturate: flags & flags::SAT != 0,
        wide_source: wide,
        register_bits: register.bits(),
    };
    // What `scalar` does not know of is f32 to 16 bits in wide registers alone.
    if flags & (flags::RELU | flags::SATFINITE) != 0 {
        return Err(".relu and .satfinite are not supported on registers of 64 bits".into());
    }
    Ok(decoded(conversion.function(), operands.with_aux(conversion.pack()), CLASS))
}

/// `cvt.pack`: two integers, saturated, into the low bits, above them the low bits of a third source. The number of
/// bits, and in bit 8 whether they are signed, are [`Operands::aux`].
struct Pack;

const PACK_SIGNED: u32 = 1 << 8;

impl LaneOp for Pack {
    #[inline(always)]
    fn run(lanes: &mut Lanes, operands: &Operands, mask: u32) {
        let bits = operands.aux & 0xff;
        let signed = operands.aux & PACK_SIGNED != 0;
        let (low, high) =
            if signed { (-1 << (bits - 1), (1 << (bits - 1)) - 1) } else { (0, (1 << bits) - 1) };
        let [upper, lower, mut row] = [0, 1, 2].map(|at| lanes.get32(operands.src[at]));
        for lane in 0..LANES {
            let field = |x: u32| (x as i32).clamp(low, high) as u32 & ((1 << bits) - 1);
            let above = row[lane].checked_shl(2 * bits).unwrap_or(0);
            row[lane] = above | field(upper[lane]) << bits | field(lower[lane]);
        }
        lanes.set32(operands.dst[0], &row, mask);
    }
}

fn pack(
    decoder: &mut Decoder<'_>,
    instruction: &Instruction,
    mut modifiers: Modifiers<'_>,
) -> Result<Option<Decoded>, Reject> {
    if !modifiers.take("sat") {
        return Err("modifier .sat is missing".into());
    }
    let all: Vec<&str> = instruction.modifiers().skip_while(|one| *one != "sat").skip(1).collect();
    let (name, with_third) = match all[..] {
        [name @ ("u16" | "s16"), "s32"] => (name, false),
        [name @ ("u2" | "s2" | "u4" | "s4" | "u8" | "s8"), "s32", "b32"] => (name, true),
        _ => return Err("unknown combination of types".into()),
    };
    if !instruction.opcode.starts_with("cvt.pack.sat.") {
        return Err("unknown order of modifiers".into());
    }
    let bits: u32 = name[1..].parse().map_err(|_| none())?;
    let signed = if name.starts_with('s') { PACK_SIGNED } else { 0 };
    let (d, sources) = match (&instruction.operands[..], with_third) {
        ([d, sources @ ..], false) if sources.len() == 2 => (d, sources),
        ([d, sources @ ..], true) if sources.len() == 3 => (d, sources),
        (all, _) => return Err(format!("{} operands are too few or too many", all.len())),
    };
    let mut slots = Vec::new();
    for source in sources {
        slots.push(decoder.source(source, Type::B32)?);
    }
    if !with_third {
        slots.push(decoder.allocation.constant(0, false));
    }
    let operands = Operands::new(&[decoder.destination(d, Type::B32)?], &slots);
    Ok(decoded(compile::<Pack>(), operands.with_aux(bits | signed), CLASS))
}
