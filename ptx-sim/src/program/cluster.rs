//! Decoding of what blocks of a cluster share: `mapa`, `getctarank`, `barrier.cluster`.

use super::decoder::Special;
use super::{Decoded, Decoder, LANES, Lanes, Op, Operands, Reject};
use crate::alu::{LaneOp, compile};
use crate::memory::windows;
use crate::ptx::ast::{Instruction, Operand, Space, Type};
use crate::report::InstructionClass;

/// `barrier.cluster`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClusterOp {
    pub kind: ClusterBarrierKind,
    /// All threads of a warp execute the same instruction.
    pub aligned: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClusterBarrierKind {
    Arrive {
        /// Unless `.relaxed`.
        releases: bool,
    },
    Wait,
}

/// `None` for instructions of other families.
pub(crate) fn decode(
    decoder: &mut Decoder<'_>,
    instruction: &Instruction,
) -> Result<Option<Decoded>, Reject> {
    match instruction.root() {
        "mapa" => map_address(decoder, instruction).map(Some),
        "getctarank" => rank_of_address(decoder, instruction).map(Some),
        "barrier" if instruction.modifiers().next() == Some("cluster") => barrier(instruction).map(Some),
        _ => Ok(None),
    }
}

fn barrier(instruction: &Instruction) -> Result<Decoded, Reject> {
    let mut modifiers: Vec<&str> = instruction.modifiers().skip(1).collect();
    let aligned = modifiers.pop_if(|last| *last == "aligned").is_some();
    let kind = match modifiers.as_slice() {
        ["arrive"] | ["arrive", "release"] => ClusterBarrierKind::Arrive { releases: true },
        ["arrive", "relaxed"] => ClusterBarrierKind::Arrive { releases: false },
        ["wait"] | ["wait", "acquire"] => ClusterBarrierKind::Wait,
        _ => return Err("unknown form of barrier.cluster".into()),
    };
    let [] = super::operands(instruction)?;
    let op = Op::Cluster(ClusterOp { kind, aligned });
    Ok(Decoded { op, operands: Operands::default(), class: InstructionClass::Barrier })
}

/// The state space, which must be that of the cluster or none, and the width of the addresses.
fn form(instruction: &Instruction) -> Result<(Space, Type), Reject> {
    let modifiers: Vec<&str> = instruction.modifiers().collect();
    match modifiers.as_slice() {
        ["shared::cluster", "u32"] => Ok((Space::SharedCluster, Type::U32)),
        ["shared::cluster", "u64"] => Ok((Space::SharedCluster, Type::U64)),
        ["u64"] => Ok((Space::Generic, Type::U64)),
        ["u32"] => Err("generic addresses have 64 bits".into()),
        _ => Err("only .shared::cluster and generic addresses exist here".into()),
    }
}

/// A variable must lie in shared memory; its generic address is another than the one it is known by.
fn check_variable(decoder: &Decoder<'_>, space: Space, address: &Operand) -> Result<(), Reject> {
    let Operand::Address(symbol, _) = address else { return Ok(()) };
    match decoder.symbols.address(symbol) {
        Some((Space::Shared, _)) if space == Space::SharedCluster => Ok(()),
        Some((Space::Shared, _)) => Err("a generic address in a register is expected".into()),
        _ => Err("the variable lies in another state space".into()),
    }
}

/// The address of `src[0]` in the block of rank `src[1]`. Generic addresses differ from those of shared memory only in
/// bits above the window's.
struct MapWide;

impl LaneOp for MapWide {
    #[inline(always)]
    fn run(lanes: &mut Lanes, operands: &Operands, mask: u32) {
        let (address, rank) = (lanes.get64(operands.src[0]), lanes.get32(operands.src[1]));
        let mut mapped = [0; LANES];
        for lane in 0..LANES {
            let above = address[lane] & !(windows::SIZE - 1);
            mapped[lane] = above | windows::of_block(address[lane], rank[lane] as usize);
        }
        lanes.set64(operands.dst[0], &mapped, mask);
    }
}

struct MapNarrow;

impl LaneOp for MapNarrow {
    #[inline(always)]
    fn run(lanes: &mut Lanes, operands: &Operands, mask: u32) {
        let (address, rank) = (lanes.get32(operands.src[0]), lanes.get32(operands.src[1]));
        let mut mapped = [0; LANES];
        for lane in 0..LANES {
            mapped[lane] = windows::of_block(address[lane].into(), rank[lane] as usize) as u32;
        }
        lanes.set32(operands.dst[0], &mapped, mask);
    }
}

fn map_address(decoder: &mut Decoder<'_>, instruction: &Instruction) -> Result<Decoded, Reject> {
    let (space, ty) = form(instruction)?;
    let [destination, address, rank] = super::operands(instruction)?;
    check_variable(decoder, space, address)?;
    let operands = Operands::new(
        &[decoder.destination(destination, ty)?],
        &[decoder.source(address, ty)?, decoder.source(rank, Type::U32)?],
    );
    let function = if ty == Type::U64 { compile::<MapWide>() } else { compile::<MapNarrow>() };
    Ok(Decoded { op: Op::Alu(function), operands, class: InstructionClass::Integer })
}

/// The rank in the address `src[0]`; `src[1]` is that of the executing block.
struct RankWide;

impl LaneOp for RankWide {
    #[inline(always)]
    fn run(lanes: &mut Lanes, operands: &Operands, mask: u32) {
        let (address, own) = (lanes.get64(operands.src[0]), lanes.get32(operands.src[1]));
        let mut ranks = [0; LANES];
        for lane in 0..LANES {
            let (rank, _) = windows::split_cluster(address[lane] & (windows::SIZE - 1));
            ranks[lane] = rank.map_or(own[lane], |rank| rank as u32);
        }
        lanes.set32(operands.dst[0], &ranks, mask);
    }
}

struct RankNarrow;

impl LaneOp for RankNarrow {
    #[inline(always)]
    fn run(lanes: &mut Lanes, operands: &Operands, mask: u32) {
        let (address, own) = (lanes.get32(operands.src[0]), lanes.get32(operands.src[1]));
        let mut ranks = [0; LANES];
        for lane in 0..LANES {
            let (rank, _) = windows::split_cluster(address[lane].into());
            ranks[lane] = rank.map_or(own[lane], |rank| rank as u32);
        }
        lanes.set32(operands.dst[0], &ranks, mask);
    }
}

fn rank_of_address(decoder: &mut Decoder<'_>, instruction: &Instruction) -> Result<Decoded, Reject> {
    let (space, ty) = form(instruction)?;
    let [destination, address] = super::operands(instruction)?;
    check_variable(decoder, space, address)?;
    let own = decoder.allocation.special(Special::ClusterCtarank, Type::B32);
    let operands =
        Operands::new(&[decoder.destination(destination, Type::U32)?], &[decoder.source(address, ty)?, own]);
    let function = if ty == Type::U64 { compile::<RankWide>() } else { compile::<RankNarrow>() };
    Ok(Decoded { op: Op::Alu(function), operands, class: InstructionClass::Integer })
}
