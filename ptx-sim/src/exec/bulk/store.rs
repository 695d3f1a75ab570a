//! Copies from shared to global memory, and the waits for them.

use super::super::access::addresses;
use super::super::collective::lanes_of;
use super::super::fault::Fail;
use super::super::warp::Warp;
use super::super::{Block, Engine};
use super::claim::{Claim, split_shared};
use super::content::Content;
use super::deliver::reduce;
use super::global_side::Global;
use super::groups::{Progress, Store};
use crate::alu::atomics::Atomic;
use crate::memory::{Fault, SharedMemory};
use crate::program::{BulkReduction, BulkStore, BulkWait, GlobalSide, Pc, Slot, exists_bulk_reduction};
use crate::violation::ViolationKind;

/// Copies of a lane whose sources have been waited for, and which are kept from global memory nevertheless.
const HELD: usize = 16;

/// The lanes of `active` that issue a copy: of several that write the same to the same place, the first one. Kernels let
/// a whole warp store a tile, for which compilers emit one instruction of the warp.
pub(super) fn distinct(warp: &Warp, op: &BulkStore, active: u32) -> u32 {
    if op.reduction.is_some() || active.is_power_of_two() {
        return active;
    }
    let narrow = |slot: &Slot| warp.lanes.get32(*slot).map(u64::from);
    let mut rows = vec![addresses(warp, &op.source)];
    match &op.destination {
        GlobalSide::Bytes { address, bytes } => rows.extend([addresses(warp, address), narrow(bytes)]),
        GlobalSide::Tile { map, coordinates } => {
            rows.push(addresses(warp, &map.address));
            rows.extend(coordinates.iter().map(narrow));
        }
    }
    let same = |one: usize, other: usize| rows.iter().all(|row| row[one] == row[other]);
    lanes_of(active).fold(0, |found, lane| {
        let repeats = lanes_of(found).any(|other| same(lane, other));
        found | u32::from(!repeats) << lane
    })
}

impl Engine<'_> {
    pub(super) fn bulk_store(
        &mut self,
        block: &mut Block,
        warp: &mut Warp,
        pc: Pc,
        lane: usize,
        op: &BulkStore,
    ) -> Result<(), Fail> {
        let (rank, source) = split_shared(addresses(warp, &op.source)[lane]);
        if rank.is_some_and(|rank| rank != block.rank()) {
            let message = "the source is not shared memory of the executing block, which .shared::cta means";
            return Err(self.fail(block, warp, pc, lane, ViolationKind::InvalidOperand, message.into()));
        }
        let global = self.global_side(block, warp, pc, lane, &op.destination)?;
        self.check_fits(block, warp, pc, lane, &global)?;
        // PTX ISA, "Restriction on Tensor Copy instructions".
        if let Global::Tile { coordinates, .. } = &global
            && coordinates.iter().any(|coordinate| *coordinate < 0)
        {
            let message =
                format!("a store of a tile at {coordinates:?}: coordinates of stores must not be negative");
            return Err(self.fail(block, warp, pc, lane, ViolationKind::InvalidOperand, message));
        }
        let (what, align) = ("the address in shared memory", global.shared_align());
        self.check_align(block, warp, pc, lane, what, source, align)?;
        let reduction = self.reduction(block, warp, pc, lane, op, &global)?;
        let latest = warp.stores.latest(lane);
        let moments = [0, 1].map(|index| block.clocks.begin_async(latest.map(|latest| latest[index])));
        let claim = |moment, reduces| Claim {
            warp: warp.index,
            lanes: 1 << lane,
            pc,
            moment,
            reduces,
            generic: false,
        };
        let [read, write] = [claim(moments[0], false), claim(moments[1], reduction.is_some())];
        let rank = block.rank();
        self.claim_places(block, rank, &read, &global, source, false)
            .and_then(|()| self.claim_global(block, &write, &global, true))
            .and_then(|()| self.check_written(block, lane, source, &global, reduction.is_some()))
            .map_err(|fault| self.fault(block, warp, pc, fault))?;
        self.progress += 1;
        let issuer = self.issuer(block, warp, pc, lane);
        let mut store = Store::new(issuer, source, global, reduction, moments);
        if self.arrives_at_once() {
            self.complete_store(&block.shared, &mut store);
        }
        warp.stores.push(store);
        Ok(())
    }

    fn reduction(
        &self,
        block: &Block,
        warp: &Warp,
        pc: Pc,
        lane: usize,
        op: &BulkStore,
        global: &Global,
    ) -> Result<Option<Atomic>, Fail> {
        let (kind, map) = match (op.reduction, global) {
            (None, _) => return Ok(None),
            (Some(BulkReduction::Of(atomic)), _) => return Ok(Some(atomic)),
            (Some(BulkReduction::OfMap(kind)), Global::Tile { map, .. }) => (kind, map),
            (Some(BulkReduction::OfMap(_)), Global::Bytes { .. }) => return Ok(None),
        };
        let ty = map.data_type.reduced(kind);
        if exists_bulk_reduction(kind, ty, false) {
            return Ok(Some(Atomic { kind, ty, vector: 1 }));
        }
        let message = format!("no reduction {kind:?} of a tensor of {}", map.data_type.name());
        Err(self.fail(block, warp, pc, lane, ViolationKind::InvalidOperand, message))
    }

    /// What is to be stored, and what it is to be added to, has been written.
    fn check_written(
        &mut self,
        block: &Block,
        lane: usize,
        source: u64,
        global: &Global,
        reduces: bool,
    ) -> Result<(), Fault> {
        let memory = self.launch.memory;
        let fault = |kind, address, what: &str| {
            let message = format!("a bulk copy to global memory of {what} that nothing has written");
            Err(Fault { kind, lane, address, message, prior: None })
        };
        let content = Content::of_shared(&block.shared, global, source);
        if !content.unwritten.is_empty() {
            for row in global.rows() {
                let missing = row.bytes.clone().find(|byte| content.unwritten[*byte] != 0);
                if let Some(byte) = missing {
                    let what = format!("byte {byte} of {} in shared memory", content.bytes.len());
                    return fault(ViolationKind::UninitializedShared, source, &what);
                }
            }
        }
        if !reduces || !self.launch.options.checks.initialization {
            return Ok(());
        }
        match global.runs().iter().find(|(address, bytes)| !memory.is_initialized(*address, *bytes as u64)) {
            None => Ok(()),
            Some((address, _)) => {
                let message = "a reduction on global memory that nothing has written".into();
                let kind = ViolationKind::UninitializedGlobal;
                Err(Fault { kind, lane, address: *address, message, prior: None })
            }
        }
    }

    /// Does what a copy has yet to do.
    pub(super) fn complete_store(&mut self, shared: &SharedMemory, store: &mut Store) {
        read_source(shared, store);
        let Progress::Read(bytes) = std::mem::replace(&mut store.progress, Progress::Written) else { return };
        let memory = self.launch.memory;
        for row in store.destination.rows() {
            let source = &bytes[row.bytes.clone()];
            memory.proxy_update(&mut self.cache, row.address, source.len(), &mut |done, place| {
                let source = &source[done..done + place.len()];
                match store.reduction {
                    // Sums of f32 in global memory lose subnormal numbers.
                    Some(atomic) => reduce(atomic, place, source, true),
                    None => place.copy_from_slice(source),
                }
            });
        }
        self.progress += 1;
    }

    pub(super) fn bulk_wait(&mut self, block: &mut Block, warp: &mut Warp, lanes: u32, wait: BulkWait) {
        self.tally.waits += 1;
        for lane in lanes_of(lanes) {
            let mut latest = None;
            let count = warp.stores.waited(lane, wait.left).count();
            for (index, store) in warp.stores.waited(lane, wait.left).enumerate() {
                latest = Some([store.reads, store.writes]);
                if wait.read && index + HELD >= count {
                    read_source(&block.shared, store);
                } else {
                    self.complete_store(&block.shared, store);
                }
            }
            let Some([reads, writes]) = latest else { continue };
            block.clocks.learn_async(warp.index, 1 << lane, reads);
            if !wait.read {
                block.clocks.learn_async(warp.index, 1 << lane, writes);
                // The channels are free where nothing is left in them.
                let ended = warp.stores.forget(lane, wait.left);
                ended.into_iter().flatten().for_each(|moment| block.clocks.end_async(moment));
            }
        }
    }
}

/// Reads the source of a copy, where that has not happened.
fn read_source(shared: &SharedMemory, store: &mut Store) {
    if matches!(store.progress, Progress::Issued) {
        let content = Content::of_shared(shared, &store.destination, store.source);
        store.progress = Progress::Read(content.bytes);
    }
}
