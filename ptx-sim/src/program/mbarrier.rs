//! Decoding of `mbarrier` and `cp.async.mbarrier.arrive` (PTX ISA, "Parallel Synchronization and Communication
//! Instructions: mbarrier").

use super::memory::Modifiers;
use super::{Address, Decoded, Decoder, Op, Operands, Reject, Slot};
use crate::config::ComputeCapability;
use crate::memory::Scope;
use crate::ptx::ast::{Instruction, Operand, Space, Type};
use crate::report::InstructionClass;

/// What an instruction does, and to which mbarrier.
#[derive(Debug)]
pub(crate) struct MbarrierOp {
    pub kind: MbarrierKind,
    /// The mbarrier, in [`Space::Shared`], [`Space::SharedCluster`] or [`Space::Generic`]; nothing for `pending_count`.
    pub address: Address,
    pub space: Space,
}

/// What an instruction does to an mbarrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MbarrierKind {
    /// `init`, with a count.
    Init { count: Slot },
    /// `inval`.
    Invalidate,
    /// `expect_tx`, with a number of bytes.
    Expect { bytes: Slot },
    /// `complete_tx`, with a number of bytes.
    Complete { bytes: Slot },
    /// `arrive` and `arrive_drop`.
    Arrive(ArriveOp),
    /// `test_wait` and `try_wait`: a predicate.
    Wait { phase: WaitedPhase, destination: Slot, acquires: bool },
    /// `pending_count` of a state (64 bits): a 32-bit register.
    PendingCount { state: Slot, destination: Slot },
    /// `cp.async.mbarrier.arrive`, without `.noinc` or with it.
    CopyArrive { increments: bool },
}

/// `arrive` or `arrive_drop`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ArriveOp {
    /// 1 where there is none.
    pub count: Option<Slot>,
    /// `.expect_tx`: so many bytes more.
    pub expected: Option<Slot>,
    /// `arrive_drop`.
    pub drops: bool,
    pub no_complete: bool,
    /// Where the state goes (64 bits), if it is wanted.
    pub state: Option<Slot>,
    /// `.release`, not `.relaxed`.
    pub releases: bool,
}

/// The phase that is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitedPhase {
    /// Of the arrival that returned this state.
    State(Slot),
    /// The current or the preceding one, whichever has this parity.
    Parity(Slot),
}

impl MbarrierOp {
    /// The registers that it reads.
    pub fn sources(&self) -> impl Iterator<Item = Slot> {
        let given = match self.kind {
            MbarrierKind::Init { count } => [Some(count), None],
            MbarrierKind::Expect { bytes } | MbarrierKind::Complete { bytes } => [Some(bytes), None],
            MbarrierKind::Arrive(op) => [op.count, op.expected],
            MbarrierKind::Wait { phase: WaitedPhase::State(phase) | WaitedPhase::Parity(phase), .. } => {
                [Some(phase), None]
            }
            MbarrierKind::PendingCount { state, .. } => [Some(state), None],
            MbarrierKind::Invalidate | MbarrierKind::CopyArrive { .. } => [None, None],
        };
        given.into_iter().flatten().chain(self.address.base.map(|(slot, _)| slot))
    }

    /// The register that it writes.
    pub fn destination(&self) -> Option<Slot> {
        match self.kind {
            MbarrierKind::Arrive(op) => op.state,
            MbarrierKind::Wait { destination, .. } | MbarrierKind::PendingCount { destination, .. } => {
                Some(destination)
            }
            _ => None,
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
        ("mbarrier", ["init", ..]) => initialize(decoder, instruction),
        ("mbarrier", ["inval", ..]) => invalidate(decoder, instruction),
        ("mbarrier", [name @ ("expect_tx" | "complete_tx"), ..]) => transactions(decoder, instruction, name),
        ("mbarrier", [name @ ("arrive" | "arrive_drop"), ..]) => arrive(decoder, instruction, name),
        ("mbarrier", [name @ ("test_wait" | "try_wait"), ..]) => wait(decoder, instruction, name),
        ("mbarrier", ["pending_count", ..]) => pending_count(decoder, instruction),
        ("mbarrier", _) => Err("unknown form of mbarrier".into()),
        ("cp", ["async", "mbarrier", ..]) => copy_arrive(decoder, instruction),
        _ => Ok(None),
    }
}

/// The oldest device that has a form.
pub(crate) fn required_compute_capability(instruction: &Instruction) -> ComputeCapability {
    let has = |name: &str| instruction.modifiers().any(|modifier| modifier == name);
    let counted = || {
        (has("arrive") || has("arrive_drop"))
            && instruction.root() == "mbarrier"
            && instruction.operands.len() > 2
            && !has("noComplete")
    };
    let new = ["try_wait", "expect_tx", "complete_tx", "cluster", "shared::cluster"];
    if new.into_iter().any(has) || counted() { ComputeCapability::Sm90 } else { ComputeCapability::Sm80 }
}

fn decoded(kind: MbarrierKind, (address, space): (Address, Space)) -> Result<Option<Decoded>, Reject> {
    let op = Op::Mbarrier(Box::new(MbarrierOp { kind, address, space }));
    Ok(Some(Decoded { op, operands: Operands::default(), class: InstructionClass::Barrier }))
}

/// Modifiers behind the name, without the type.
fn modifiers<'a>(instruction: &'a Instruction, names: &[&str]) -> Result<Modifiers<'a>, Reject> {
    let mut modifiers = Modifiers::of(instruction);
    for name in names {
        modifiers.has(name);
    }
    if modifiers.has("b64") { Ok(modifiers) } else { Err("the type .b64 is missing".into()) }
}

/// Whether `.release` or `.acquire`, named `strong`, which is the default, and not `.relaxed`. The scope has no effect:
/// threads of one block are in each other's whatever it is, and an arrival from another block is seen by those who wait.
fn synchronizes(modifiers: &mut Modifiers<'_>, strong: &str) -> Result<bool, Reject> {
    let relaxed = modifiers.has("relaxed");
    if modifiers.has(strong) && relaxed {
        return Err(format!(".{strong} and .relaxed exclude each other"));
    }
    check_scope(modifiers)?;
    Ok(!relaxed)
}

fn check_scope(modifiers: &mut Modifiers<'_>) -> Result<(), Reject> {
    match modifiers.scope() {
        None | Some(Scope::Cta | Scope::Cluster) => Ok(()),
        Some(_) => Err("the scope of an mbarrier operation is .cta or .cluster".into()),
    }
}

/// The address of an mbarrier, and the state space that the instruction names. `remote`: mbarriers of other blocks
/// are allowed.
fn place(
    decoder: &mut Decoder<'_>,
    mut modifiers: Modifiers<'_>,
    operand: &Operand,
    remote: bool,
) -> Result<(Address, Space), Reject> {
    let space = modifiers.space();
    modifiers.finish()?;
    let allowed = match space {
        Space::Shared | Space::Generic => true,
        Space::SharedCluster => remote,
        _ => false,
    };
    if !allowed {
        return Err(if remote {
            "an mbarrier lies in .shared::cta or .shared::cluster".into()
        } else {
            "this operation works on an mbarrier in .shared::cta".into()
        });
    }
    match decoder.address(operand)? {
        (None, address) => Ok((address, space)),
        (Some(Space::Shared), _) if space == Space::Generic => {
            Err("a variable needs its state space here".into())
        }
        (Some(Space::Shared), address) => Ok((address, space)),
        (Some(_), _) => Err("the variable lies in another state space".into()),
    }
}

fn initialize(decoder: &mut Decoder<'_>, instruction: &Instruction) -> Result<Option<Decoded>, Reject> {
    let [address, count] = super::operands(instruction)?;
    let place = place(decoder, modifiers(instruction, &["init"])?, address, false)?;
    decoded(MbarrierKind::Init { count: decoder.source(count, Type::U32)? }, place)
}

fn invalidate(decoder: &mut Decoder<'_>, instruction: &Instruction) -> Result<Option<Decoded>, Reject> {
    let [address] = super::operands(instruction)?;
    let place = place(decoder, modifiers(instruction, &["inval"])?, address, false)?;
    decoded(MbarrierKind::Invalidate, place)
}

fn transactions(
    decoder: &mut Decoder<'_>,
    instruction: &Instruction,
    name: &str,
) -> Result<Option<Decoded>, Reject> {
    let mut modifiers = modifiers(instruction, &[name])?;
    modifiers.has("relaxed");
    check_scope(&mut modifiers)?;
    let [address, bytes] = super::operands(instruction)?;
    let place = place(decoder, modifiers, address, true)?;
    let bytes = decoder.source(bytes, Type::U32)?;
    let expects = name == "expect_tx";
    decoded(if expects { MbarrierKind::Expect { bytes } } else { MbarrierKind::Complete { bytes } }, place)
}

fn arrive(
    decoder: &mut Decoder<'_>,
    instruction: &Instruction,
    name: &str,
) -> Result<Option<Decoded>, Reject> {
    let mut modifiers = modifiers(instruction, &[name])?;
    let expects = modifiers.has("expect_tx");
    let no_complete = modifiers.has("noComplete");
    let releases = synchronizes(&mut modifiers, "release")?;
    let (state, address, number) = match instruction.operands.as_slice() {
        [state, address] => (state, address, None),
        [state, address, number] => (state, address, Some(number)),
        operands => return Err(format!("2 or 3 operands are expected, {} are there", operands.len())),
    };
    if number.is_none() && (expects || no_complete) {
        return Err("the number of arrivals or bytes is missing".into());
    }
    if expects && no_complete {
        return Err(".expect_tx and .noComplete exclude each other".into());
    }
    let state = match state {
        Operand::Sink => None,
        state => Some(decoder.destination(state, Type::B64)?),
    };
    let place = place(decoder, modifiers, address, !no_complete)?;
    if state.is_some() && place.1 == Space::SharedCluster {
        return Err("an arrival at .shared::cluster returns no state: `_` is expected".into());
    }
    let number = number.map(|number| decoder.source(number, Type::U32)).transpose()?;
    let (count, expected) = if expects { (None, number) } else { (number, None) };
    let drops = name == "arrive_drop";
    decoded(MbarrierKind::Arrive(ArriveOp { count, expected, drops, no_complete, state, releases }), place)
}

fn wait(decoder: &mut Decoder<'_>, instruction: &Instruction, name: &str) -> Result<Option<Decoded>, Reject> {
    let mut modifiers = modifiers(instruction, &[name])?;
    let parity = modifiers.has("parity");
    let acquires = synchronizes(&mut modifiers, "acquire")?;
    let (destination, address, phase) = match instruction.operands.as_slice() {
        [destination, address, phase] => (destination, address, phase),
        // For how long the thread may be suspended.
        [destination, address, phase, hint] if name == "try_wait" => {
            decoder.source(hint, Type::U32)?;
            (destination, address, phase)
        }
        operands => return Err(format!("3 operands are expected, {} are there", operands.len())),
    };
    let destination = decoder.destination_predicate(destination)?;
    let place = place(decoder, modifiers, address, false)?;
    let phase = if parity {
        WaitedPhase::Parity(decoder.source(phase, Type::U32)?)
    } else {
        WaitedPhase::State(decoder.source(phase, Type::B64)?)
    };
    decoded(MbarrierKind::Wait { phase, destination, acquires }, place)
}

fn pending_count(decoder: &mut Decoder<'_>, instruction: &Instruction) -> Result<Option<Decoded>, Reject> {
    modifiers(instruction, &["pending_count"])?.finish()?;
    let [destination, state] = super::operands(instruction)?;
    let kind = MbarrierKind::PendingCount {
        state: decoder.source(state, Type::B64)?,
        destination: decoder.destination(destination, Type::U32)?,
    };
    decoded(kind, (Address { base: None, offset: 0 }, Space::Shared))
}

fn copy_arrive(decoder: &mut Decoder<'_>, instruction: &Instruction) -> Result<Option<Decoded>, Reject> {
    let mut modifiers = modifiers(instruction, &["async", "mbarrier", "arrive"])?;
    let increments = !modifiers.has("noinc");
    let [address] = super::operands(instruction)?;
    let place = place(decoder, modifiers, address, false)?;
    decoded(MbarrierKind::CopyArrive { increments }, place)
}
