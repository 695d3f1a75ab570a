//! Values that nothing has written: memory that holds garbage may be read, copied and computed with, as real kernels do
//! with the rows of a tile that lie past the end, as long as what comes of it never matters: it is not stored to global
//! memory, no address, and no guard of an access. So a read of such memory marks the registers that it fills, what is
//! computed from them is marked as well, and shared or local memory that they are stored to is unwritten again.
//!
//! A mark belongs to a register of a lane. It is exact for `selp`, and follows rows and columns through `mma`. Branches
//! do not count: real kernels do branch on such rows (a softmax asks whether a row's sum is zero), and what is computed
//! behind the branch stays marked by its operands.

use std::collections::HashMap;
use std::sync::Arc;

use super::access::addresses;
use super::collective::{lanes_of, mask_of};
use super::fault::Fail;
use super::warp::Warp;
use super::{Block, Engine};
use crate::memory::{Fault, windows};
use crate::program::{Address, Inst, LANES, MemoryOp, Op, Pc, Slot};
use crate::ptx::ast::Space;

/// A read of what nothing had written.
#[derive(Debug)]
pub(crate) struct Origin {
    pc: Pc,
    fault: Fault,
}

impl Origin {
    pub fn new(pc: Pc, fault: Fault) -> Arc<Self> {
        Arc::new(Self { pc, fault })
    }
}

/// The marked registers of a warp that has read what nothing had written.
#[derive(Debug, Default)]
pub(crate) struct Taint {
    /// Lanes, and the read that they come from.
    marks: HashMap<Slot, (u32, usize)>,
    /// The first read at each instruction.
    origins: Vec<Arc<Origin>>,
    /// The origin of the marks that are set next.
    latest: usize,
}

impl Taint {
    /// The marked lanes of a register.
    fn lanes(&self, slot: Slot) -> u32 {
        self.marks.get(&slot.place()).map_or(0, |(lanes, _)| *lanes)
    }

    fn origin(&self, slot: Slot) -> usize {
        self.marks.get(&slot.place()).map_or(0, |(_, origin)| *origin)
    }

    /// Lanes of `mask` are written: those of `marked` with garbage.
    fn set(&mut self, slot: Slot, marked: u32, mask: u32, origin: usize) {
        if slot.is_constant() {
            return;
        }
        let left = self.lanes(slot) & !mask | marked & mask;
        if left == 0 {
            self.marks.remove(&slot.place());
        } else {
            let origin = if marked & mask != 0 { origin } else { self.origin(slot) };
            self.marks.insert(slot.place(), (left, origin));
        }
    }

    /// The marked lanes of several registers together, and where the first comes from.
    fn any(&self, slots: impl Iterator<Item = Slot>) -> (u32, usize) {
        slots.fold((0, 0), |(lanes, origin), slot| {
            let more = self.lanes(slot);
            (lanes | more, if lanes == 0 && more != 0 { self.origin(slot) } else { origin })
        })
    }
}

impl Block {
    /// The origin of a read of shared memory: where garbage was stored that had been read before, that first read.
    pub(super) fn origin(&self, pc: Pc, fault: Fault) -> Arc<Origin> {
        let stored = [0u64, 3, 7, 15].iter().find_map(|low| self.garbage.get(&(fault.address & !low)));
        stored.cloned().unwrap_or_else(|| Origin::new(pc, fault))
    }
}

impl Warp {
    /// Notes that a register's lanes of `mask` are loaded, those of `unwritten` with garbage.
    pub(super) fn mark_loaded(&mut self, slot: Slot, unwritten: u32, mask: u32) {
        if let Some(taint) = &mut self.taint {
            taint.set(slot, unwritten, mask, taint.latest);
        }
    }

    /// A read of what nothing had written: where marks come from that are set next.
    pub(super) fn note_unwritten(&mut self, origin: Arc<Origin>) {
        let taint = self.taint.get_or_insert_default();
        taint.latest = match taint.origins.iter().position(|known| known.pc == origin.pc) {
            Some(known) => known,
            None => {
                taint.origins.push(origin);
                taint.origins.len() - 1
            }
        };
    }

    /// Where the marks of a register come from.
    pub(super) fn origin(&self, slot: Slot) -> Option<Arc<Origin>> {
        let taint = self.taint.as_ref()?;
        taint.origins.get(taint.origin(slot)).cloned()
    }

    /// The marked lanes of a register.
    pub(super) fn unwritten(&self, slot: Slot) -> u32 {
        self.taint.as_ref().map_or(0, |taint| taint.lanes(slot))
    }
}

impl Engine<'_> {
    /// Moves marks through an instruction that is about to run, and reports one that comes to matter. For warps that
    /// have marks.
    pub(super) fn track(
        &self,
        block: &Block,
        warp: &mut Warp,
        pc: Pc,
        instruction: &Inst,
        mask: u32,
        active: u32,
    ) -> Result<(), Fail> {
        let Some(mut taint) = warp.taint.take() else { return Ok(()) };
        let result = self.track_with(&mut taint, block, warp, pc, instruction, mask, active);
        warp.taint = Some(taint);
        result
    }

    #[expect(clippy::too_many_arguments, reason = "the state of one instruction")]
    fn track_with(
        &self,
        taint: &mut Taint,
        block: &Block,
        warp: &Warp,
        pc: Pc,
        instruction: &Inst,
        mask: u32,
        active: u32,
    ) -> Result<(), Fail> {
        let operands = &instruction.operands;
        let guard = taint.lanes(instruction.guard) & mask;
        if guard != 0 && !matches!(instruction.op, Op::Alu(_) | Op::Nothing | Op::Branch(_)) {
            let origin = taint.origin(instruction.guard);
            return Err(self.matters(taint, block, warp, pc, guard, origin, "decides what is executed"));
        }
        match &instruction.op {
            Op::Alu(_) => {
                let sources = operands.src;
                let (mut lanes, mut origin) = taint.any(sources.into_iter());
                if lanes != 0 && instruction.selects {
                    let chosen = warp.lanes.get_predicate(sources[2]);
                    let [a, b, by] = [0, 1, 2].map(|index| taint.lanes(sources[index]));
                    lanes = a & chosen | b & !chosen | by;
                }
                if guard != 0 && lanes == 0 {
                    origin = taint.origin(instruction.guard);
                }
                for slot in operands.dst {
                    taint.set(slot, lanes | guard, active | guard, origin);
                }
            }
            Op::Branch(_) | Op::Exit => {}
            Op::BranchTable(_) => {
                let lanes = taint.lanes(operands.src[0]) & active;
                if lanes != 0 {
                    let origin = taint.origin(operands.src[0]);
                    return Err(self.matters(taint, block, warp, pc, lanes, origin, "decides a branch"));
                }
            }
            Op::Load(op) => self.check_address(taint, block, warp, pc, active, &op.address)?,
            Op::Store(op) => {
                self.check_address(taint, block, warp, pc, active, &op.address)?;
                let (lanes, origin) = taint.any(op.elements.iter().map(|element| element.slot));
                let lanes = lanes & active & to_global(warp, op);
                if lanes != 0 {
                    let what = "is stored to global memory";
                    return Err(self.matters(taint, block, warp, pc, lanes, origin, what));
                }
            }
            Op::Atomic(op) => {
                self.check_address(taint, block, warp, pc, active, &op.address)?;
                let (lanes, origin) = taint.any(op.sources.iter().map(|element| element.slot));
                if lanes & active != 0 {
                    let what = "is an operand of an atomic operation";
                    return Err(self.matters(taint, block, warp, pc, lanes & active, origin, what));
                }
                if let Some(old) = op.old {
                    taint.set(old.slot, 0, active, 0);
                }
            }
            Op::CopyAsync(op) => {
                self.check_address(taint, block, warp, pc, active, &op.destination)?;
                self.check_address(taint, block, warp, pc, active, &op.source)?;
            }
            Op::Bulk(op) => {
                let (lanes, origin) = taint.any(op.places().into_iter());
                if lanes & active != 0 {
                    let what = "is an operand of an asynchronous copy";
                    return Err(self.matters(taint, block, warp, pc, lanes & active, origin, what));
                }
            }
            Op::Mbarrier(op) => {
                let (lanes, origin) = taint.any(op.sources());
                if lanes & active != 0 {
                    let what = "is an operand of an mbarrier operation";
                    return Err(self.matters(taint, block, warp, pc, lanes & active, origin, what));
                }
                if let Some(destination) = op.destination() {
                    taint.set(destination, 0, active, 0);
                }
            }
            Op::LoadMatrix(op) | Op::StoreMatrix(op) => {
                self.check_address(taint, block, warp, pc, active, &op.address)?;
            }
            Op::Mma(op) => {
                let (_, origin) = taint.any(op.sources());
                let marks = op.depends(|slot| taint.lanes(slot));
                for (slot, lanes) in op.destinations().zip(marks) {
                    taint.set(slot, lanes, u32::MAX, origin);
                }
            }
            Op::MoveMatrix => {
                let lanes = taint.lanes(operands.src[0]);
                let origin = taint.origin(operands.src[0]);
                taint.set(operands.dst[0], if lanes != 0 { u32::MAX } else { 0 }, u32::MAX, origin);
            }
            Op::Clock { .. } | Op::ActiveMask | Op::Print => taint.set(operands.dst[0], 0, active, 0),
            Op::Barrier(op) => {
                if let Some((_, destination)) = op.reduced {
                    taint.set(destination, 0, active, 0);
                }
            }
            // Marked where it is executed, with the lanes that take part.
            Op::Collective(_) => {}
            Op::Nothing
            | Op::Trap(_)
            | Op::Fence(_)
            | Op::CopyCommit
            | Op::CopyWait(_)
            | Op::Grid(_)
            | Op::ProxyFence(_)
            | Op::Wgmma(_)
            | Op::Cluster(_)
            | Op::Sleep
            | Op::AssertFail => {}
        }
        Ok(())
    }

    fn check_address(
        &self,
        taint: &Taint,
        block: &Block,
        warp: &Warp,
        pc: Pc,
        active: u32,
        address: &Address,
    ) -> Result<(), Fail> {
        let Some((slot, _)) = address.base else { return Ok(()) };
        let lanes = taint.lanes(slot) & active;
        if lanes == 0 {
            return Ok(());
        }
        Err(self.matters(taint, block, warp, pc, lanes, taint.origin(slot), "is used as an address"))
    }

    /// Garbage has come to matter: the report names the read, and says where it matters.
    #[expect(clippy::too_many_arguments, reason = "the parts of one report")]
    fn matters(
        &self,
        taint: &Taint,
        block: &Block,
        warp: &Warp,
        pc: Pc,
        lanes: u32,
        origin: usize,
        what: &str,
    ) -> Fail {
        let lane = lanes.trailing_zeros() as usize & 31;
        let Some(origin) = taint.origins.get(origin) else {
            let kind = crate::violation::ViolationKind::UninitializedShared;
            return self.fail(
                block,
                warp,
                pc,
                lane,
                kind,
                format!("a value that nothing has written {what}"),
            );
        };
        let place = self.launch.program.location(pc).map_or_else(String::new, |place| format!(" at {place}"));
        let message = format!("{}; a value that comes of it {what}{place}", origin.fault.message);
        self.fault(block, warp, origin.pc, Fault { message, ..origin.fault.clone() })
    }

    /// Marks what a collective instruction gives: `moved` is the lane that each lane's value comes from, if it comes
    /// from one.
    pub(super) fn track_collective(
        warp: &mut Warp,
        source: Slot,
        destinations: impl Iterator<Item = Slot>,
        active: u32,
        moved: Option<[usize; LANES]>,
    ) {
        let Some(taint) = &mut warp.taint else { return };
        let marked = taint.lanes(source) & active;
        let origin = taint.origin(source);
        let result = match moved {
            Some(from) => mask_of(lanes_of(active).filter(|lane| marked >> from[*lane] & 1 != 0)),
            None if marked != 0 => active,
            None => 0,
        };
        for slot in destinations {
            taint.set(slot, result, active, origin);
        }
    }
}

/// The lanes whose store goes to global memory.
fn to_global(warp: &Warp, op: &MemoryOp) -> u32 {
    match op.space {
        Space::Global => u32::MAX,
        Space::Generic => {
            let addresses = addresses(warp, &op.address);
            mask_of((0..LANES).filter(|lane| addresses[*lane] < windows::SHARED))
        }
        _ => 0,
    }
}
