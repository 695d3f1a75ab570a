//! Decoding of copies by the asynchronous proxy: `cp.async.bulk`, with tensor maps and without, its reductions, prefetches,
//! groups and waits.

mod remote;

pub(crate) use remote::RemoteOp;

use super::memory::Modifiers;
use super::{Address, Decoded, Decoder, Op, Operands, Reject, Slot};
use crate::alu::atomics::{Atomic, AtomicKind};
use crate::ptx::ast::{Instruction, Operand, Space, Type};
use crate::report::InstructionClass;

/// One of them.
#[derive(Debug)]
pub(crate) enum BulkOp {
    /// Global memory to shared memory of this block or others of its cluster; an mbarrier counts the bytes.
    Load(BulkLoad),
    /// Shared memory to that of another block of the cluster; an mbarrier there counts the bytes.
    Send(BulkSend),
    /// Shared memory to global memory; belongs to a group.
    Store(BulkStore),
    /// To the cache.
    Prefetch(GlobalSide),
    /// `prefetch.tensormap`.
    PrefetchMap(MapAddress),
    Commit,
    Wait(BulkWait),
    /// `st.async`, `red.async`.
    Remote(RemoteOp),
}

/// The side of a copy that lies in global memory.
#[derive(Debug)]
pub(crate) enum GlobalSide {
    /// Bytes that follow each other, and how many.
    Bytes { address: Address, bytes: Slot },
    /// A tile of a tensor.
    Tile { map: MapAddress, coordinates: Vec<Slot> },
}

/// Where a tensor map lies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MapAddress {
    pub address: Address,
    /// Generic, or that of the variable which the instruction names.
    pub space: Space,
}

/// A copy from global memory.
#[derive(Debug)]
pub(crate) struct BulkLoad {
    pub source: GlobalSide,
    pub destination: Address,
    pub barrier: Address,
    /// `.shared::cta`: into the block's own memory.
    pub own: bool,
    /// The blocks of the cluster that get it, one bit each.
    pub multicast: Option<Slot>,
}

/// A copy to another block.
#[derive(Debug)]
pub(crate) struct BulkSend {
    pub destination: Address,
    pub source: Address,
    pub bytes: Slot,
    pub barrier: Address,
    pub reduction: Option<Atomic>,
}

/// A copy to global memory.
#[derive(Debug)]
pub(crate) struct BulkStore {
    pub destination: GlobalSide,
    pub source: Address,
    pub reduction: Option<BulkReduction>,
}

/// What a copy to global memory does to what is there.
#[derive(Clone, Copy, Debug)]
pub(crate) enum BulkReduction {
    Of(Atomic),
    /// Of elements of the type that the tensor map says.
    OfMap(AtomicKind),
}

/// `cp.async.bulk.wait_group`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BulkWait {
    /// Groups that may be pending.
    pub left: u32,
    /// Only until the sources have been read.
    pub read: bool,
}

impl BulkOp {
    /// The registers of addresses, sizes, coordinates, masks and operands of reductions: garbage in them matters.
    pub fn places(&self) -> Vec<Slot> {
        let mut slots = Vec::new();
        let mut add = |address: &Address| slots.extend(address.base.map(|(slot, _)| slot));
        match self {
            Self::Load(op) => {
                [&op.destination, &op.barrier].into_iter().for_each(add);
                op.source.add_places(&mut slots);
                slots.extend(op.multicast);
            }
            Self::Send(op) => {
                [&op.destination, &op.source, &op.barrier].into_iter().for_each(add);
                slots.push(op.bytes);
            }
            Self::Store(op) => {
                add(&op.source);
                op.destination.add_places(&mut slots);
            }
            Self::Prefetch(side) => side.add_places(&mut slots),
            Self::PrefetchMap(map) => add(&map.address),
            Self::Remote(op) => {
                [&op.destination, &op.barrier].into_iter().for_each(add);
                if op.reduction.is_some() {
                    slots.extend(op.elements.iter().map(|element| element.slot));
                }
            }
            Self::Commit | Self::Wait(_) => {}
        }
        slots
    }

    /// Whether the order of blocks can change what it leaves in global memory.
    pub fn is_order_dependent(&self) -> bool {
        match self {
            Self::Store(op) => match op.reduction {
                Some(BulkReduction::Of(atomic)) => atomic.ty.is_float(),
                Some(BulkReduction::OfMap(kind)) => kind == AtomicKind::Add,
                None => false,
            },
            _ => false,
        }
    }
}

impl GlobalSide {
    fn add_places(&self, slots: &mut Vec<Slot>) {
        match self {
            Self::Bytes { address, bytes } => {
                slots.extend(address.base.map(|(slot, _)| slot));
                slots.push(*bytes);
            }
            Self::Tile { map, coordinates } => {
                slots.extend(map.address.base.map(|(slot, _)| slot));
                slots.extend(coordinates);
            }
        }
    }
}

/// `None` for instructions of other families.
pub(crate) fn decode(
    decoder: &mut Decoder<'_>,
    instruction: &Instruction,
) -> Result<Option<Decoded>, Reject> {
    let modifiers: Vec<&str> = instruction.modifiers().collect();
    match (instruction.root(), modifiers.as_slice()) {
        ("cp", ["async", "bulk", "commit_group"]) => decoded(BulkOp::Commit),
        ("cp", ["async", "bulk", "wait_group", rest @ ..]) => wait(instruction, rest),
        ("cp", ["async", "bulk", "prefetch", ..]) => prefetch(decoder, instruction),
        ("cp", ["async", "bulk", ..] | ["reduce", "async", "bulk", ..]) => copy(decoder, instruction),
        ("cp", ["reduce", ..]) => Err("unknown form of cp.reduce".into()),
        ("prefetch", rest) if rest.contains(&"tensormap") => prefetch_map(decoder, instruction),
        ("st" | "red", ["async", ..]) => remote::decode(decoder, instruction),
        ("st", ["bulk", ..]) => Err("st.bulk needs compute capability 10.0, which is not supported".into()),
        _ => Ok(None),
    }
}

fn decoded(op: BulkOp) -> Result<Option<Decoded>, Reject> {
    let operands = Operands::default();
    Ok(Some(Decoded { op: Op::Bulk(Box::new(op)), operands, class: InstructionClass::AsyncCopy }))
}

fn wait(instruction: &Instruction, modifiers: &[&str]) -> Result<Option<Decoded>, Reject> {
    let read = match modifiers {
        [] => false,
        ["read"] => true,
        _ => return Err("only .read is known here".into()),
    };
    let [Operand::Integer(left)] = instruction.operands.as_slice() else {
        return Err("an immediate number of groups is expected".into());
    };
    let left = u32::try_from(*left).map_err(|_| "the number of groups is out of range")?;
    decoded(BulkOp::Wait(BulkWait { left, read }))
}

/// What the modifiers of a copy say that all forms have.
struct Form {
    reduces: bool,
    /// The dimensions of a tile.
    tensor: Option<usize>,
    policy: bool,
}

impl Form {
    fn take(modifiers: &mut Modifiers<'_>) -> Result<Self, Reject> {
        let reduces = modifiers.has("reduce");
        for name in ["async", "bulk", "prefetch"] {
            modifiers.has(name);
        }
        let tensor = if modifiers.has("tensor") {
            let dimensions = |m: &str| ["1d", "2d", "3d", "4d", "5d"].iter().position(|name| m == *name);
            Some(modifiers.take(dimensions).ok_or("the number of dimensions is missing")? + 1)
        } else {
            None
        };
        let policy = modifiers.has("L2::cache_hint");
        if tensor.is_some() {
            modifiers.has("tile");
            refuse_modes(modifiers)?;
        }
        Ok(Self { reduces, tensor, policy })
    }
}

/// Modes of tensor copies that are not executed.
fn refuse_modes(modifiers: &Modifiers<'_>) -> Result<(), Reject> {
    for modifier in &modifiers.left {
        if modifier.starts_with("im2col") {
            return Err(format!("the mode .{modifier} is not supported: only tiles are"));
        }
        if modifier.starts_with("tile::") || modifier.starts_with("cta_group::") {
            return Err(format!(".{modifier} needs compute capability 10.0, which is not supported"));
        }
    }
    Ok(())
}

/// The operands of a copy, taken one after another.
struct Rest<'a> {
    operands: &'a [Operand],
}

impl<'a> Rest<'a> {
    fn next(&mut self) -> Result<&'a Operand, Reject> {
        let (first, rest) = self.operands.split_first().ok_or("an operand is missing")?;
        self.operands = rest;
        Ok(first)
    }

    /// All operands have been taken but a cache policy, where there is one.
    fn finish(mut self, decoder: &mut Decoder<'_>, policy: bool) -> Result<(), Reject> {
        if policy {
            decoder.source(self.next()?, Type::B64)?;
        }
        match self.operands {
            [] => Ok(()),
            more => Err(format!("there are {} operands too many", more.len())),
        }
    }
}

fn copy(decoder: &mut Decoder<'_>, instruction: &Instruction) -> Result<Option<Decoded>, Reject> {
    let mut modifiers = Modifiers::of(instruction);
    let form = Form::take(&mut modifiers)?;
    let counted = modifiers.has("mbarrier::complete_tx::bytes");
    let grouped = modifiers.has("bulk_group");
    if counted == grouped {
        return Err("either .mbarrier::complete_tx::bytes or .bulk_group is expected".into());
    }
    let (to, from) = (modifiers.space(), modifiers.space());
    match (to, from) {
        (Space::Shared | Space::SharedCluster, Space::Global) if counted && !form.reduces => {
            load(decoder, instruction, modifiers, &form, to == Space::Shared)
        }
        (Space::SharedCluster, Space::Shared) if counted && form.tensor.is_none() => {
            send(decoder, instruction, modifiers, &form)
        }
        (Space::Global, Space::Shared) if grouped => store(decoder, instruction, modifiers, &form),
        _ => Err("no such copy from one state space to another".into()),
    }
}

fn load(
    decoder: &mut Decoder<'_>,
    instruction: &Instruction,
    mut modifiers: Modifiers<'_>,
    form: &Form,
    own: bool,
) -> Result<Option<Decoded>, Reject> {
    let multicast = modifiers.has("multicast::cluster");
    modifiers.finish()?;
    if own && multicast {
        return Err("a multicast needs .shared::cluster".into());
    }
    let mut rest = Rest { operands: &instruction.operands };
    let destination = shared_address(decoder, rest.next()?)?;
    let source = global_side(decoder, &mut rest, form)?;
    let barrier = shared_address(decoder, rest.next()?)?;
    let multicast = if multicast { Some(decoder.source(rest.next()?, Type::B16)?) } else { None };
    rest.finish(decoder, form.policy)?;
    decoded(BulkOp::Load(BulkLoad { source, destination, barrier, own, multicast }))
}

fn send(
    decoder: &mut Decoder<'_>,
    instruction: &Instruction,
    mut modifiers: Modifiers<'_>,
    form: &Form,
) -> Result<Option<Decoded>, Reject> {
    let reduction = if form.reduces { Some(reduction_of(&mut modifiers, true)?) } else { None };
    modifiers.finish()?;
    if form.policy {
        return Err("a cache policy needs global memory".into());
    }
    let mut rest = Rest { operands: &instruction.operands };
    let destination = shared_address(decoder, rest.next()?)?;
    let source = shared_address(decoder, rest.next()?)?;
    let bytes = decoder.source(rest.next()?, Type::U32)?;
    let barrier = shared_address(decoder, rest.next()?)?;
    rest.finish(decoder, false)?;
    decoded(BulkOp::Send(BulkSend { destination, source, bytes, barrier, reduction }))
}

fn store(
    decoder: &mut Decoder<'_>,
    instruction: &Instruction,
    mut modifiers: Modifiers<'_>,
    form: &Form,
) -> Result<Option<Decoded>, Reject> {
    let reduction = match (form.reduces, form.tensor) {
        (false, _) => None,
        (true, None) => Some(BulkReduction::Of(reduction_of(&mut modifiers, false)?)),
        (true, Some(_)) => {
            let kind = modifiers.take(AtomicKind::parse).filter(|kind| is_reduction(*kind));
            Some(BulkReduction::OfMap(kind.ok_or("the operation of the reduction is missing")?))
        }
    };
    if modifiers.has("cp_mask") {
        return Err(".cp_mask needs compute capability 10.0, which is not supported".into());
    }
    modifiers.finish()?;
    let mut rest = Rest { operands: &instruction.operands };
    let (destination, source);
    match form.tensor {
        Some(_) => {
            destination = global_side(decoder, &mut rest, form)?;
            source = shared_address(decoder, rest.next()?)?;
        }
        None => {
            let address = global_address(decoder, rest.next()?)?;
            source = shared_address(decoder, rest.next()?)?;
            destination = GlobalSide::Bytes { address, bytes: decoder.source(rest.next()?, Type::U32)? };
        }
    }
    rest.finish(decoder, form.policy)?;
    decoded(BulkOp::Store(BulkStore { destination, source, reduction }))
}

fn prefetch(decoder: &mut Decoder<'_>, instruction: &Instruction) -> Result<Option<Decoded>, Reject> {
    let mut modifiers = Modifiers::of(instruction);
    let form = Form::take(&mut modifiers)?;
    if !modifiers.has("L2") || modifiers.space() != Space::Global {
        return Err("prefetches are from .global to .L2".into());
    }
    modifiers.finish()?;
    let mut rest = Rest { operands: &instruction.operands };
    let side = global_side(decoder, &mut rest, &form)?;
    rest.finish(decoder, form.policy)?;
    decoded(BulkOp::Prefetch(side))
}

fn prefetch_map(decoder: &mut Decoder<'_>, instruction: &Instruction) -> Result<Option<Decoded>, Reject> {
    let mut modifiers = Modifiers::of(instruction);
    modifiers.has("tensormap");
    let stated = modifiers.space();
    modifiers.finish()?;
    if !matches!(stated, Space::Generic | Space::Const | Space::Param) {
        return Err("a tensor map is prefetched from .const or .param".into());
    }
    let [operand] = super::operands(instruction)?;
    let (symbol, address) = decoder.address(operand)?;
    decoded(BulkOp::PrefetchMap(MapAddress { address, space: symbol.unwrap_or(stated) }))
}

fn global_side(decoder: &mut Decoder<'_>, rest: &mut Rest<'_>, form: &Form) -> Result<GlobalSide, Reject> {
    let Some(dimensions) = form.tensor else {
        let address = global_address(decoder, rest.next()?)?;
        return Ok(GlobalSide::Bytes { address, bytes: decoder.source(rest.next()?, Type::U32)? });
    };
    let operand = rest.next()?;
    let Operand::Tensor(base, offset, coordinates) = operand else {
        return Err("a tensor map and coordinates in brackets are expected".into());
    };
    if coordinates.len() != dimensions {
        return Err(format!("{dimensions} coordinates are expected, {} are there", coordinates.len()));
    }
    let (symbol, address) = decoder.address(&Operand::Memory(base.clone(), *offset))?;
    let map = MapAddress { address, space: symbol.unwrap_or(Space::Generic) };
    let coordinates = coordinates.iter().map(|coordinate| decoder.source(coordinate, Type::S32));
    Ok(GlobalSide::Tile { map, coordinates: coordinates.collect::<Result<_, _>>()? })
}

fn global_address(decoder: &mut Decoder<'_>, operand: &Operand) -> Result<Address, Reject> {
    match decoder.address(operand)? {
        (None | Some(Space::Global), address) => Ok(address),
        _ => Err("the variable does not lie in global memory".into()),
    }
}

fn shared_address(decoder: &mut Decoder<'_>, operand: &Operand) -> Result<Address, Reject> {
    match decoder.address(operand)? {
        (None | Some(Space::Shared), address) => Ok(address),
        _ => Err("the variable does not lie in shared memory".into()),
    }
}

fn is_reduction(kind: AtomicKind) -> bool {
    !matches!(kind, AtomicKind::Cas | AtomicKind::Exch)
}

/// Takes operation and type of a reduction of bytes (PTX ISA, "cp.reduce.async.bulk"), in shared memory or in global.
fn reduction_of(modifiers: &mut Modifiers<'_>, shared: bool) -> Result<Atomic, Reject> {
    let kind = modifiers.take(AtomicKind::parse).filter(|kind| is_reduction(*kind));
    let kind = kind.ok_or("the operation of the reduction is missing")?;
    let no_flush = modifiers.has("noftz");
    let ty = modifiers.take(Type::parse).ok_or("the type of the reduction is missing")?;
    let is_half = matches!(ty, Type::F16 | Type::Bf16);
    if no_flush != (is_half && kind == AtomicKind::Add) {
        return Err(".noftz belongs to sums of .f16 and .bf16, and these need it".into());
    }
    let atomic = Atomic { kind, ty, vector: 1 };
    if is_half && shared || !exists_bulk_reduction(kind, ty, shared) {
        return Err(format!("no reduction {kind:?} of {ty:?}"));
    }
    Ok(atomic)
}

/// Whether a bulk reduction exists for a type, in shared memory or in global.
pub(crate) fn exists_bulk_reduction(kind: AtomicKind, ty: Type, shared: bool) -> bool {
    use Type::{B32, B64, Bf16, F16, F32, F64, S32, S64, U32, U64};
    match kind {
        AtomicKind::And | AtomicKind::Or | AtomicKind::Xor => ty == B32 || ty == B64 && !shared,
        AtomicKind::Add => matches!(ty, U32 | S32 | U64) || !shared && matches!(ty, F32 | F64 | F16 | Bf16),
        AtomicKind::Inc | AtomicKind::Dec => ty == U32,
        AtomicKind::Min | AtomicKind::Max => {
            matches!(ty, U32 | S32) || !shared && matches!(ty, U64 | S64 | F16 | Bf16)
        }
        AtomicKind::Cas | AtomicKind::Exch => false,
    }
}
