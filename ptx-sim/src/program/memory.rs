//! Decoding of instructions that touch memory.

use super::{
    Address, AtomicOp, CopyAsyncOp, Decoded, Decoder, Element, FenceOp, FenceOrder, LANES, Lanes, MatrixOp,
    MemoryOp, Op, Operands, ProxyFence, Reject, Slot,
};
use crate::alu::atomics::{Atomic, AtomicKind};
use crate::alu::{LaneOp, compile};
use crate::memory::{Scope, Strength, windows};
use crate::ptx::ast::{Base, Instruction, Operand, Space, Type};
use crate::report::InstructionClass;

/// The modifiers of an instruction, taken one after another.
pub(super) struct Modifiers<'a> {
    pub left: Vec<&'a str>,
}

impl<'a> Modifiers<'a> {
    pub fn of(instruction: &'a Instruction) -> Self {
        Self { left: instruction.modifiers().collect() }
    }

    /// Takes the first modifier that `parse` knows.
    pub fn take<T>(&mut self, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        let (index, value) = self.left.iter().enumerate().find_map(|(i, m)| Some((i, parse(m)?)))?;
        self.left.remove(index);
        Some(value)
    }

    pub fn has(&mut self, name: &str) -> bool {
        self.take(|m| (m == name).then_some(())).is_some()
    }

    pub fn space(&mut self) -> Space {
        self.take(|m| {
            Some(match m {
                "global" => Space::Global,
                "const" => Space::Const,
                "shared" | "shared::cta" => Space::Shared,
                "shared::cluster" => Space::SharedCluster,
                "local" => Space::Local,
                "param" | "param::entry" | "param::func" => Space::Param,
                _ => return None,
            })
        })
        .unwrap_or(Space::Generic)
    }

    pub fn scope(&mut self) -> Option<Scope> {
        self.take(scope)
    }

    /// Drops what only hints at caches; whether a cache policy follows the operands.
    fn drop_hints(&mut self) -> bool {
        let policy = self.has("L2::cache_hint");
        self.left.retain(|m| {
            !(matches!(*m, "ca" | "cg" | "cs" | "lu" | "cv" | "wb" | "wt" | "nc" | "unified")
                || m.starts_with("L1::")
                || m.starts_with("L2::"))
        });
        policy
    }

    /// All modifiers have been taken.
    pub fn finish(&self) -> Result<(), Reject> {
        match self.left.first() {
            None => Ok(()),
            Some(modifier) => Err(format!("modifier .{modifier} is not supported here")),
        }
    }
}

fn scope(modifier: &str) -> Option<Scope> {
    Some(match modifier {
        "cta" => Scope::Cta,
        "cluster" => Scope::Cluster,
        "gpu" | "gl" => Scope::Gpu,
        "sys" => Scope::System,
        _ => return None,
    })
}

impl Decoder<'_> {
    /// A memory operand: the state space that its symbol belongs to, if it names one, and the address.
    pub fn address(&mut self, operand: &Operand) -> Result<(Option<Space>, Address), Reject> {
        let Operand::Memory(base, offset) = operand else {
            return Err(format!("an address in brackets is expected, not {operand:?}"));
        };
        match base {
            Base::Register(id) => {
                let (slot, wide) = self.source_relaxed(&Operand::Register(*id), Type::B32)?;
                Ok((None, Address { base: Some((slot, wide)), offset: *offset }))
            }
            Base::Absolute => Ok((None, Address { base: None, offset: *offset })),
            Base::Symbol(symbol) => {
                let (space, address) =
                    self.symbols.address(symbol).ok_or_else(|| format!("unknown variable {symbol:?}"))?;
                let offset = (address as i64).wrapping_add(*offset);
                Ok((Some(space), Address { base: None, offset }))
            }
        }
    }

    /// A register that is loaded to, and its width.
    fn loaded(&mut self, operand: &Operand, ty: Type) -> Result<Element, Reject> {
        let (slot, register) = self.destination_relaxed(operand, ty)?;
        Ok(Element { slot, bits: register.bits() })
    }

    /// A register or constant that is stored.
    pub(super) fn stored(&mut self, operand: &Operand, ty: Type) -> Result<Element, Reject> {
        let (slot, wide) = self.source_relaxed(operand, ty)?;
        Ok(Element { slot, bits: if wide { 64 } else { 32 } })
    }
}

/// The space that an access goes to: the one in the instruction, made exact by the symbol: the parameters of a
/// call sequence lie in local memory.
fn exact_space(stated: Space, symbol: Option<Space>) -> Result<Space, Reject> {
    match (stated, symbol) {
        // A block's own addresses are addresses of the cluster, too.
        (Space::SharedCluster, None | Some(Space::Shared)) => Ok(Space::SharedCluster),
        (Space::Param, Some(space @ (Space::Local | Space::Param))) => Ok(space),
        (Space::Param, Some(_)) => Err("not a parameter".into()),
        // A register: the kernel's own parameters, whose addresses are offsets within them.
        (Space::Param, None) => Ok(Space::Param),
        (Space::Generic, Some(_)) => Err("a variable needs its state space here".into()),
        (stated, Some(space)) if stated != space => Err("the variable lies in another state space".into()),
        (stated, _) => Ok(stated),
    }
}

fn decoded(op: Op, class: InstructionClass) -> Result<Option<Decoded>, Reject> {
    Ok(Some(Decoded { op, operands: Operands::default(), class }))
}

/// Decodes `ld`, `ldu`, `st`, `atom`, `red`, `fence`, `membar`, `prefetch` and their like, `cp.async`, `ldmatrix`,
/// `stmatrix`, `cvta`, `isspacep` and `createpolicy`.
pub(crate) fn decode(
    decoder: &mut Decoder<'_>,
    instruction: &Instruction,
) -> Result<Option<Decoded>, Reject> {
    match instruction.root() {
        "ld" | "ldu" => load(decoder, instruction),
        "st" => store(decoder, instruction),
        "atom" | "red" => atomic(decoder, instruction),
        "fence" | "membar" => fence(instruction),
        "prefetch" | "prefetchu" | "applypriority" => hint(),
        "createpolicy" => create_policy(decoder, instruction),
        "cp" => copy_async(decoder, instruction),
        "ldmatrix" | "stmatrix" => matrix(decoder, instruction),
        "movmatrix" => move_matrix(decoder, instruction),
        "cvta" => convert_address(decoder, instruction),
        "isspacep" => is_space(decoder, instruction),
        _ => Ok(None),
    }
}

/// The type and number of elements at the end of `ld.….v4.u32`.
fn elements(modifiers: &mut Modifiers<'_>) -> Result<(Type, usize), Reject> {
    let ty = modifiers.take(Type::parse).ok_or("the type is missing")?;
    let count = modifiers
        .take(|m| match m {
            "v2" => Some(2),
            "v4" => Some(4),
            "v8" => Some(8),
            _ => None,
        })
        .unwrap_or(1);
    if ty == Type::B128 || ty.bytes() as usize * count > 16 {
        return Err("accesses of more than 16 bytes are not supported".into());
    }
    Ok((ty, count))
}

fn strength(modifiers: &mut Modifiers<'_>, synchronizing: &str) -> Result<(Strength, bool), Reject> {
    // "volatile" has the effects of a relaxed access of system scope; a memory-mapped one is one too.
    if modifiers.has("volatile") {
        return Ok((Strength::Strong(Scope::System), false));
    }
    modifiers.has("mmio");
    modifiers.has("weak");
    let synchronizes = modifiers.has(synchronizing);
    if synchronizes || modifiers.has("relaxed") {
        let scope = modifiers.scope().ok_or("the scope is missing")?;
        return Ok((Strength::Strong(scope), synchronizes));
    }
    Ok((Strength::Weak, false))
}

fn class(space: Space, store: bool) -> InstructionClass {
    match (space, store) {
        (Space::Global | Space::Generic, false) => InstructionClass::GlobalLoad,
        (Space::Global | Space::Generic, true) => InstructionClass::GlobalStore,
        (Space::Shared | Space::SharedCluster, false) => InstructionClass::SharedLoad,
        (Space::Shared | Space::SharedCluster, true) => InstructionClass::SharedStore,
        (Space::Const | Space::Local | Space::Param, _) => InstructionClass::OtherMemory,
    }
}

/// Between `expected` operands and one more where there is a cache policy.
fn check_count(instruction: &Instruction, expected: usize, policy: bool) -> Result<(), Reject> {
    let given = instruction.operands.len();
    let expected = expected + usize::from(policy);
    if given == expected {
        Ok(())
    } else {
        Err(format!("{expected} operands are expected, {given} are there"))
    }
}

fn load(decoder: &mut Decoder<'_>, instruction: &Instruction) -> Result<Option<Decoded>, Reject> {
    let mut modifiers = Modifiers::of(instruction);
    let policy = modifiers.drop_hints();
    let (strength, synchronizes) = strength(&mut modifiers, "acquire")?;
    let stated = modifiers.space();
    let (ty, count) = elements(&mut modifiers)?;
    modifiers.finish()?;
    check_count(instruction, 2, policy)?;
    let [destination, source] = [&instruction.operands[0], &instruction.operands[1]];
    let (symbol, address) = decoder.address(source)?;
    let space = exact_space(stated, symbol)?;
    let registers = decoder.elements(destination);
    if registers.len() != count {
        return Err(format!("{count} destination registers are expected"));
    }
    let elements =
        registers.iter().map(|register| decoder.loaded(register, ty)).collect::<Result<Vec<_>, _>>()?;
    let op = MemoryOp { space, ty, elements, address, strength, synchronizes };
    decoded(Op::Load(Box::new(op)), class(space, false))
}

fn store(decoder: &mut Decoder<'_>, instruction: &Instruction) -> Result<Option<Decoded>, Reject> {
    let mut modifiers = Modifiers::of(instruction);
    let policy = modifiers.drop_hints();
    let (strength, synchronizes) = strength(&mut modifiers, "release")?;
    let stated = modifiers.space();
    let (ty, count) = elements(&mut modifiers)?;
    modifiers.finish()?;
    check_count(instruction, 2, policy)?;
    let [destination, source] = [&instruction.operands[0], &instruction.operands[1]];
    let (symbol, address) = decoder.address(destination)?;
    let space = exact_space(stated, symbol)?;
    if space == Space::Const {
        return Err("constant memory cannot be written".into());
    }
    let registers = decoder.elements(source);
    if registers.len() != count {
        return Err(format!("{count} source registers are expected"));
    }
    let elements =
        registers.iter().map(|register| decoder.stored(register, ty)).collect::<Result<Vec<_>, _>>()?;
    let op = MemoryOp { space, ty, elements, address, strength, synchronizes };
    decoded(Op::Store(Box::new(op)), class(space, true))
}

fn atomic(decoder: &mut Decoder<'_>, instruction: &Instruction) -> Result<Option<Decoded>, Reject> {
    let returns = instruction.root() == "atom";
    let (operation, rest) = Atomic::parse(instruction.modifiers(), !returns)?;
    if operation.vector > 1 {
        return Err("atomics on vectors need compute capability 9.0 support, which is not there yet".into());
    }
    let mut modifiers = Modifiers { left: rest };
    let policy = modifiers.drop_hints();
    let (acquire, release) = modifiers
        .take(|m| match m {
            "relaxed" => Some((false, false)),
            "acquire" => Some((true, false)),
            "release" => Some((false, true)),
            "acq_rel" => Some((true, true)),
            _ => None,
        })
        .unwrap_or((false, false));
    let scope = modifiers.scope().unwrap_or(Scope::Gpu);
    let space = exact_space(modifiers.space(), None)?;
    if !matches!(space, Space::Global | Space::Shared | Space::SharedCluster | Space::Generic) {
        return Err("atomics work on global and shared memory".into());
    }
    modifiers.finish()?;
    let ty = operation.ty;
    let values = if operation.kind == AtomicKind::Cas { 2 } else { 1 };
    check_count(instruction, usize::from(returns) + 1 + values, policy)?;
    let mut operands = instruction.operands.iter();
    let mut next = || operands.next().ok_or("an operand is missing");
    let old = if returns {
        let destination = next()?;
        // With `_` the old value is not wanted: a reduction, but one that can acquire.
        (*destination != Operand::Sink).then(|| decoder.loaded(destination, ty)).transpose()?
    } else {
        None
    };
    let (symbol, address) = decoder.address(next()?)?;
    exact_space(space, symbol)?;
    let b = decoder.stored(next()?, ty)?;
    let c = if values == 2 { decoder.stored(next()?, ty)? } else { b };
    let op = AtomicOp {
        space,
        operation,
        old,
        reduction: !returns,
        sources: [b, c],
        address,
        scope,
        acquire,
        release,
    };
    decoded(Op::Atomic(Box::new(op)), InstructionClass::Atomic)
}

/// `fence` and `membar`, but for the fences of a proxy or of some operations only.
fn fence(instruction: &Instruction) -> Result<Option<Decoded>, Reject> {
    let mut modifiers = Modifiers::of(instruction);
    if let Some(decoded) = special_fence(instruction, &modifiers.left)? {
        return Ok(Some(decoded));
    }
    // `membar` is another name of `fence.sc`; a `fence` that does not say is `fence.acq_rel`.
    let (acquire, release, sc) = modifiers
        .take(|m| match m {
            "sc" => Some((true, true, true)),
            "acq_rel" => Some((true, true, false)),
            "acquire" => Some((true, false, false)),
            "release" => Some((false, true, false)),
            _ => None,
        })
        .unwrap_or((true, true, instruction.root() == "membar"));
    let scope = modifiers.scope();
    modifiers.finish()?;
    let scope = scope.ok_or("the scope is missing")?;
    decoded(Op::Fence(FenceOp { scope, order: FenceOrder { acquire, release, sc } }), InstructionClass::Fence)
}

/// Fences between proxies, and those of one class of operations (PTX ISA, "membar / fence").
fn special_fence(instruction: &Instruction, modifiers: &[&str]) -> Result<Option<Decoded>, Reject> {
    let plain = |scope, acquire| {
        let order = FenceOrder { acquire, release: !acquire, sc: false };
        Op::Fence(FenceOp { scope, order })
    };
    let op = match modifiers {
        ["mbarrier_init", "release", "cluster"] => Op::ProxyFence(ProxyFence::MbarrierInit),
        ["proxy", "async"] | ["proxy", "async", "global" | "shared::cta" | "shared::cluster"] => {
            Op::ProxyFence(ProxyFence::Async)
        }
        ["proxy", "async::generic", "acquire", "sync_restrict::shared::cluster", "cluster"]
        | ["proxy", "async::generic", "release", "sync_restrict::shared::cta", "cluster"] => {
            Op::ProxyFence(ProxyFence::Async)
        }
        // No address stands for another here.
        ["proxy", "alias"] => Op::Nothing,
        // Tensor maps are read when they are used: what orders that is the fence in it.
        ["proxy", "tensormap::generic", "release", level] => {
            plain(scope(level).ok_or("the scope is missing")?, false)
        }
        ["proxy", "tensormap::generic", "acquire", level] => {
            let [Operand::Memory(..), Operand::Integer(128)] = instruction.operands.as_slice() else {
                return Err("an address in brackets and the size 128 are expected".into());
            };
            plain(scope(level).ok_or("the scope is missing")?, true)
        }
        ["acquire", "sync_restrict::shared::cluster", "cluster"] => plain(Scope::Cluster, true),
        ["release", "sync_restrict::shared::cta", "cluster"] => plain(Scope::Cluster, false),
        [first, ..] if matches!(*first, "mbarrier_init" | "proxy") => {
            return Err("unknown form of fence".into());
        }
        _ => return Ok(None),
    };
    decoded(op, InstructionClass::Fence)
}

fn hint() -> Result<Option<Decoded>, Reject> {
    decoded(Op::Nothing, InstructionClass::GlobalLoad)
}

/// A cache policy is opaque and only a hint: any value serves.
fn create_policy(decoder: &mut Decoder<'_>, instruction: &Instruction) -> Result<Option<Decoded>, Reject> {
    struct Policy;
    impl LaneOp for Policy {
        #[inline(always)]
        fn run(lanes: &mut Lanes, operands: &Operands, mask: u32) {
            lanes.set64(operands.dst[0], &[0; LANES], mask);
        }
    }
    let destination = instruction.operands.first().ok_or("the destination is missing")?;
    let operands = Operands::new(&[decoder.destination(destination, Type::B64)?], &[]);
    Ok(Some(Decoded { op: Op::Alu(compile::<Policy>()), operands, class: InstructionClass::Move }))
}

fn copy_async(decoder: &mut Decoder<'_>, instruction: &Instruction) -> Result<Option<Decoded>, Reject> {
    let all: Vec<&str> = instruction.modifiers().collect();
    match all.as_slice() {
        ["async", "commit_group"] => return decoded(Op::CopyCommit, InstructionClass::AsyncCopy),
        ["async", "wait_all"] => return decoded(Op::CopyWait(None), InstructionClass::AsyncCopy),
        ["async", "wait_group"] => {
            let [Operand::Integer(groups)] = instruction.operands.as_slice() else {
                return Err("an immediate number of groups is expected".into());
            };
            let groups = u32::try_from(*groups).map_err(|_| "the number of groups is out of range")?;
            return decoded(Op::CopyWait(Some(groups)), InstructionClass::AsyncCopy);
        }
        _ => {}
    }
    let mut modifiers = Modifiers::of(instruction);
    modifiers.has("async");
    let policy = modifiers.drop_hints();
    if modifiers.left != ["shared", "global"] && modifiers.left != ["shared::cta", "global"] {
        return Err(
            "bulk copies and mbarriers need compute capability 9.0 support, which is not there yet".into()
        );
    }
    let count = instruction.operands.len().saturating_sub(usize::from(policy));
    if !(3..=4).contains(&count) {
        return Err(format!("3 or 4 operands are expected, {count} are there"));
    }
    let (_, destination) = decoder.address(&instruction.operands[0])?;
    let (_, source) = decoder.address(&instruction.operands[1])?;
    let bytes = match instruction.operands[2] {
        Operand::Integer(bytes @ (4 | 8 | 16)) => bytes as u32,
        _ => return Err("the number of bytes must be 4, 8 or 16".into()),
    };
    if all.contains(&"cg") && bytes != 16 {
        return Err("cp.async.cg copies 16 bytes".into());
    }
    let (mut source_bytes, mut ignore_source) = (None, None);
    if count == 4 {
        let operand = &instruction.operands[3];
        if decoder.register_type(operand) == Some(Type::Pred) || matches!(operand, Operand::Not(_)) {
            ignore_source = Some(decoder.source_predicate(operand)?);
        } else {
            source_bytes = Some(decoder.source(operand, Type::U32)?);
        }
    }
    let op = CopyAsyncOp { destination, source, bytes, source_bytes, ignore_source };
    decoded(Op::CopyAsync(Box::new(op)), InstructionClass::AsyncCopy)
}

fn matrix(decoder: &mut Decoder<'_>, instruction: &Instruction) -> Result<Option<Decoded>, Reject> {
    let load = instruction.root() == "ldmatrix";
    let mut modifiers = Modifiers::of(instruction);
    for required in ["sync", "aligned", "b16"] {
        if !modifiers.has(required) {
            return Err(format!("only .{required} matrices are supported"));
        }
    }
    if !modifiers.has("m8n8") {
        return Err("only 8x8 matrices of 16-bit elements are supported".into());
    }
    let count = modifiers
        .take(|m| match m {
            "x1" => Some(1),
            "x2" => Some(2),
            "x4" => Some(4),
            _ => None,
        })
        .ok_or(".x1, .x2 or .x4 is missing")?;
    let transpose = modifiers.has("trans");
    let space = exact_space(modifiers.space(), None)?;
    modifiers.finish()?;
    check_count(instruction, 2, false)?;
    let [first, second] = [&instruction.operands[0], &instruction.operands[1]];
    let (registers, address) = if load { (first, second) } else { (second, first) };
    let (_, address) = decoder.address(address)?;
    let registers = decoder.elements(registers);
    if registers.len() != count {
        return Err(format!("{count} registers are expected"));
    }
    let registers = registers
        .iter()
        .map(|register| {
            if load { decoder.destination(register, Type::B32) } else { decoder.source(register, Type::B32) }
        })
        .collect::<Result<Vec<Slot>, _>>()?;
    let op = Box::new(MatrixOp { address, space, registers, transpose });
    if load {
        decoded(Op::LoadMatrix(op), InstructionClass::SharedLoad)
    } else {
        decoded(Op::StoreMatrix(op), InstructionClass::SharedStore)
    }
}

fn move_matrix(decoder: &mut Decoder<'_>, instruction: &Instruction) -> Result<Option<Decoded>, Reject> {
    if instruction.opcode != "movmatrix.sync.aligned.m8n8.trans.b16" {
        return Err("only .sync.aligned.m8n8.trans.b16 exists".into());
    }
    let [destination, source] = super::operands(instruction)?;
    let operands =
        Operands::new(&[decoder.destination(destination, Type::B32)?], &[decoder.source(source, Type::B32)?]);
    Ok(Some(Decoded { op: Op::MoveMatrix, operands, class: InstructionClass::WarpCollective }))
}

/// What is added to an address of a state space to make it generic. Global and constant addresses are generic ones.
fn window(space: Space) -> Result<u64, Reject> {
    match space {
        Space::Global | Space::Const => Ok(0),
        Space::Shared | Space::SharedCluster => Ok(windows::SHARED),
        Space::Local => Ok(windows::LOCAL),
        Space::Param => Ok(windows::PARAMETERS),
        Space::Generic => Err("this state space is not supported here".into()),
    }
}

fn convert_address(decoder: &mut Decoder<'_>, instruction: &Instruction) -> Result<Option<Decoded>, Reject> {
    struct AddWide;
    impl LaneOp for AddWide {
        #[inline(always)]
        fn run(lanes: &mut Lanes, operands: &Operands, mask: u32) {
            let (a, b) = (lanes.get64(operands.src[0]), lanes.get64(operands.src[1]));
            let mut sum = [0; LANES];
            for lane in 0..LANES {
                sum[lane] = a[lane].wrapping_add(b[lane]);
            }
            lanes.set64(operands.dst[0], &sum, mask);
        }
    }
    let mut modifiers = Modifiers::of(instruction);
    let to = modifiers.has("to");
    let stated = modifiers.space();
    if !(modifiers.has("u64") && modifiers.left.is_empty()) {
        return Err("only 64-bit addresses are supported".into());
    }
    let [destination, source] = super::operands(instruction)?;
    let base = window(stated)?;
    let base = if to { base.wrapping_neg() } else { base };
    if let Operand::Address(symbol, _) = source {
        let space = decoder.symbols.address(symbol).map(|(space, _)| space);
        exact_space(stated, space)?;
    }
    let operands = Operands::new(
        &[decoder.destination(destination, Type::U64)?],
        &[decoder.source(source, Type::U64)?, decoder.allocation.constant(base, true)],
    );
    Ok(Some(Decoded { op: Op::Alu(compile::<AddWide>()), operands, class: InstructionClass::Integer }))
}

fn is_space(decoder: &mut Decoder<'_>, instruction: &Instruction) -> Result<Option<Decoded>, Reject> {
    /// Within `[src[1], src[2])`, or outside all windows where `aux` is 1.
    struct Within;
    impl LaneOp for Within {
        #[inline(always)]
        fn run(lanes: &mut Lanes, operands: &Operands, mask: u32) {
            let address = lanes.get64(operands.src[0]);
            let (low, high) = (lanes.get64(operands.src[1]), lanes.get64(operands.src[2]));
            let mut bits = 0;
            for lane in 0..LANES {
                let inside = address[lane] >= low[lane] && address[lane] < high[lane];
                bits |= u32::from(inside != (operands.aux == 1)) << lane;
            }
            lanes.set_predicate(operands.dst[0], bits, mask);
        }
    }
    let mut modifiers = Modifiers::of(instruction);
    let space = modifiers.space();
    modifiers.finish()?;
    let [destination, source] = super::operands(instruction)?;
    let (low, high, outside) = match space {
        // The parameters' window lies within the global one.
        Space::Global => (windows::SHARED, windows::PARAMETERS, 1),
        Space::Const => return Err("constant memory has no window of its own here".into()),
        _ => {
            let low = window(space)?;
            let size = if space == Space::Shared { windows::BLOCK_SIZE } else { windows::SIZE };
            (low, low + size, 0)
        }
    };
    let operands = Operands::new(
        &[decoder.destination_predicate(destination)?],
        &[
            decoder.source(source, Type::U64)?,
            decoder.allocation.constant(low, true),
            decoder.allocation.constant(high, true),
        ],
    );
    Ok(Some(Decoded {
        op: Op::Alu(compile::<Within>()),
        operands: operands.with_aux(outside),
        class: InstructionClass::Integer,
    }))
}
