//! Decoding of instructions by which threads wait for each other or exchange values.

use super::{
    BarrierKind, BarrierOp, CollectiveKind, CollectiveOp, Decoded, Decoder, Op, Operands, Reject,
    ShuffleMode, Slot,
};
use crate::alu::atomics::{Atomic, AtomicKind};
use crate::ptx::ast::{Instruction, Operand, Type};
use crate::report::InstructionClass;

/// Decodes `bar`, `barrier`, `shfl`, `vote`, `match`, `redux`, `elect`, `activemask` and `nanosleep`.
pub(crate) fn decode(
    decoder: &mut Decoder<'_>,
    instruction: &Instruction,
) -> Result<Option<Decoded>, Reject> {
    let modifiers: Vec<&str> = instruction.modifiers().collect();
    match instruction.root() {
        "bar" if modifiers.first() == Some(&"warp") => warp_barrier(decoder, instruction),
        "bar" | "barrier" => barrier(decoder, instruction, &modifiers),
        "shfl" => shuffle(decoder, instruction, &sync_first(modifiers)),
        "vote" => vote(decoder, instruction, &sync_first(modifiers)),
        "match" => match_lanes(decoder, instruction, &sync_first(modifiers)),
        "redux" => reduce(decoder, instruction, &sync_first(modifiers)),
        "elect" => elect(decoder, instruction),
        "activemask" => {
            let [destination] = super::operands(instruction)?;
            let operands = Operands::new(&[decoder.destination(destination, Type::B32)?], &[]);
            Ok(Some(Decoded { op: Op::ActiveMask, operands, class: InstructionClass::WarpCollective }))
        }
        "nanosleep" => {
            let operands = Operands::default();
            Ok(Some(Decoded { op: Op::Sleep, operands, class: InstructionClass::Control }))
        }
        _ => Ok(None),
    }
}

/// Assemblers take `.sync` before the mode of a collective and behind it, and libraries write either.
fn sync_first(mut modifiers: Vec<&str>) -> Vec<&str> {
    if modifiers.get(1) == Some(&"sync") {
        modifiers.swap(0, 1);
    }
    modifiers
}

fn collective(
    decoder: &mut Decoder<'_>,
    kind: CollectiveKind,
    members: &Operand,
    dst: &[Slot],
    src: &[Slot],
) -> Result<Option<Decoded>, Reject> {
    let members = decoder.source(members, Type::B32)?;
    let class = if kind == CollectiveKind::Barrier {
        InstructionClass::Barrier
    } else {
        InstructionClass::WarpCollective
    };
    let op = Op::Collective(Box::new(CollectiveOp { kind, members }));
    Ok(Some(Decoded { op, operands: Operands::new(dst, src), class }))
}

fn warp_barrier(decoder: &mut Decoder<'_>, instruction: &Instruction) -> Result<Option<Decoded>, Reject> {
    if instruction.opcode != "bar.warp.sync" {
        return Err("only bar.warp.sync exists".into());
    }
    let [members] = super::operands(instruction)?;
    collective(decoder, CollectiveKind::Barrier, members, &[], &[])
}

/// `bar{.cta}.sync a{, b}`, `.arrive a, b`, `.red.popc.u32 d, a{, b}, {!}c`, `.red.and.pred p, a{, b}, {!}c`.
fn barrier(
    decoder: &mut Decoder<'_>,
    instruction: &Instruction,
    modifiers: &[&str],
) -> Result<Option<Decoded>, Reject> {
    let mut rest: Vec<&str> = modifiers.iter().copied().filter(|m| *m != "cta").collect();
    let before = rest.len();
    rest.retain(|m| *m != "aligned");
    let aligned = instruction.root() == "bar" || rest.len() != before;
    let (kind, destination) = match rest.as_slice() {
        ["sync"] => (BarrierKind::Sync, None),
        ["arrive"] => (BarrierKind::Arrive, None),
        ["red", "popc", "u32"] => (BarrierKind::Popc, Some(Type::U32)),
        ["red", "and", "pred"] => (BarrierKind::And, Some(Type::Pred)),
        ["red", "or", "pred"] => (BarrierKind::Or, Some(Type::Pred)),
        _ => return Err("unknown form of barrier".into()),
    };
    let mut operands = instruction.operands.as_slice();
    let mut reduced = None;
    if let Some(ty) = destination {
        let [first, middle @ .., last] = operands else { return Err("operands are missing".into()) };
        let target = if ty == Type::Pred {
            decoder.destination_predicate(first)?
        } else {
            decoder.destination(first, ty)?
        };
        reduced = Some((decoder.source_predicate(last)?, target));
        operands = middle;
    }
    let (id, count) = match operands {
        [id] => (id, None),
        [id, count] => (id, Some(count)),
        _ => return Err("a barrier and perhaps a number of threads are expected".into()),
    };
    if kind == BarrierKind::Arrive && count.is_none() {
        return Err("a number of threads is required".into());
    }
    let op = BarrierOp {
        kind,
        aligned,
        id: decoder.source(id, Type::U32)?,
        count: count.map(|count| decoder.source(count, Type::U32)).transpose()?,
        reduced,
    };
    let operands = Operands::default();
    Ok(Some(Decoded { op: Op::Barrier(Box::new(op)), operands, class: InstructionClass::Barrier }))
}

/// `d|p`, or `d` alone.
fn with_predicate(operand: &Operand) -> (&Operand, Option<&Operand>) {
    match operand {
        Operand::Pair(value, predicate) => (value, Some(predicate)),
        other => (other, None),
    }
}

fn shuffle(
    decoder: &mut Decoder<'_>,
    instruction: &Instruction,
    modifiers: &[&str],
) -> Result<Option<Decoded>, Reject> {
    let mode = match modifiers {
        ["sync", "up", "b32"] => ShuffleMode::Up,
        ["sync", "down", "b32"] => ShuffleMode::Down,
        ["sync", "bfly", "b32"] => ShuffleMode::Butterfly,
        ["sync", "idx", "b32"] => ShuffleMode::Index,
        _ => return Err("only shfl.sync on .b32 is supported".into()),
    };
    let [destination, value, lane, clamp, members] = super::operands(instruction)?;
    let (destination, predicate) = with_predicate(destination);
    let predicate = predicate.map(|predicate| decoder.destination_predicate(predicate)).transpose()?;
    let dst = [decoder.destination(destination, Type::B32)?];
    let src = [
        decoder.source(value, Type::B32)?,
        decoder.source(lane, Type::B32)?,
        decoder.source(clamp, Type::B32)?,
    ];
    collective(decoder, CollectiveKind::Shuffle(mode, predicate), members, &dst, &src)
}

fn vote(
    decoder: &mut Decoder<'_>,
    instruction: &Instruction,
    modifiers: &[&str],
) -> Result<Option<Decoded>, Reject> {
    let kind = match modifiers {
        ["sync", "all", "pred"] => CollectiveKind::VoteAll,
        ["sync", "any", "pred"] => CollectiveKind::VoteAny,
        ["sync", "uni", "pred"] => CollectiveKind::VoteUniform,
        ["sync", "ballot", "b32"] => CollectiveKind::VoteBallot,
        _ => return Err("only vote.sync is supported".into()),
    };
    let [destination, predicate, members] = super::operands(instruction)?;
    let destination = if kind == CollectiveKind::VoteBallot {
        decoder.destination(destination, Type::B32)?
    } else {
        decoder.destination_predicate(destination)?
    };
    let source = decoder.source_predicate(predicate)?;
    collective(decoder, kind, members, &[destination], &[source])
}

fn match_lanes(
    decoder: &mut Decoder<'_>,
    instruction: &Instruction,
    modifiers: &[&str],
) -> Result<Option<Decoded>, Reject> {
    let (all, ty) = match modifiers {
        ["sync", "any", "b32"] => (false, Type::B32),
        ["sync", "any", "b64"] => (false, Type::B64),
        ["sync", "all", "b32"] => (true, Type::B32),
        ["sync", "all", "b64"] => (true, Type::B64),
        _ => return Err("unknown form of match".into()),
    };
    let wide = ty == Type::B64;
    let [destination, value, members] = super::operands(instruction)?;
    let (destination, predicate) = with_predicate(destination);
    if !all && predicate.is_some() {
        return Err("match.any has no predicate".into());
    }
    let predicate = predicate.map(|predicate| decoder.destination_predicate(predicate)).transpose()?;
    let kind =
        if all { CollectiveKind::MatchAll { wide, predicate } } else { CollectiveKind::MatchAny { wide } };
    let dst = [decoder.destination(destination, Type::B32)?];
    let src = [decoder.source(value, ty)?];
    collective(decoder, kind, members, &dst, &src)
}

fn reduce(
    decoder: &mut Decoder<'_>,
    instruction: &Instruction,
    modifiers: &[&str],
) -> Result<Option<Decoded>, Reject> {
    let (kind, ty) = match modifiers {
        ["sync", "add", "u32"] => (AtomicKind::Add, Type::U32),
        ["sync", "add", "s32"] => (AtomicKind::Add, Type::S32),
        ["sync", "min", "u32"] => (AtomicKind::Min, Type::U32),
        ["sync", "min", "s32"] => (AtomicKind::Min, Type::S32),
        ["sync", "max", "u32"] => (AtomicKind::Max, Type::U32),
        ["sync", "max", "s32"] => (AtomicKind::Max, Type::S32),
        ["sync", "and", "b32"] => (AtomicKind::And, Type::B32),
        ["sync", "or", "b32"] => (AtomicKind::Or, Type::B32),
        ["sync", "xor", "b32"] => (AtomicKind::Xor, Type::B32),
        _ => return Err("this reduction does not exist below compute capability 10.0".into()),
    };
    let [destination, value, members] = super::operands(instruction)?;
    let dst = [decoder.destination(destination, ty)?];
    let src = [decoder.source(value, ty)?];
    collective(decoder, CollectiveKind::Reduce(Atomic { kind, ty, vector: 1 }), members, &dst, &src)
}

fn elect(decoder: &mut Decoder<'_>, instruction: &Instruction) -> Result<Option<Decoded>, Reject> {
    let [destination, members] = super::operands(instruction)?;
    let (destination, Some(predicate)) = with_predicate(destination) else {
        return Err("a lane and a predicate are expected".into());
    };
    let dst = [decoder.destination(destination, Type::B32)?];
    let predicate = decoder.destination_predicate(predicate)?;
    collective(decoder, CollectiveKind::Elect { predicate }, members, &dst, &[])
}
