//! `cp.async`: asynchronous copies from global to shared memory, and the waits for them.

use super::access::addresses;
use super::collective::{lanes_of, mask_of};
use super::copies::Copy;
use super::fault::Fail;
use super::warp::Warp;
use super::{Block, Engine};
use crate::memory::{Fault, LaneBytes, Prior, Strength, SyncSemantics, WarpAccess, windows};
use crate::program::{CopyAsyncOp, LANES, Pc};
use crate::ptx::ast::Space;
use crate::race::Moment;
use crate::violation::{AccessKind, ViolationKind};

impl Engine<'_> {
    pub(super) fn copy_async(
        &mut self,
        block: &mut Block,
        warp: &mut Warp,
        pc: Pc,
        active: u32,
        op: &CopyAsyncOp,
    ) -> Result<(), Fail> {
        let mut destination = addresses(warp, &op.destination);
        let source = addresses(warp, &op.source);
        // A 64-bit destination may be a generic address.
        for address in &mut destination {
            if (windows::SHARED..windows::LOCAL).contains(address) {
                *address -= windows::SHARED;
            }
        }
        let mut source_bytes = match op.source_bytes {
            Some(slot) => warp.lanes.get32(slot),
            None => [op.bytes; LANES],
        };
        if let Some(lane) = lanes_of(active).find(|lane| source_bytes[*lane] > op.bytes) {
            let message = format!("{} bytes of the source for a copy of {}", source_bytes[lane], op.bytes);
            return Err(self.fail(block, warp, pc, lane, ViolationKind::InvalidOperand, message));
        }
        if let Some(predicate) = op.ignore_source {
            let ignored = warp.lanes.get_predicate(predicate);
            lanes_of(ignored).for_each(|lane| source_bytes[lane] = 0);
        }
        // With seed 0 copies arrive as late as is legal; with others, some at once. Those that an mbarrier may come to
        // track are complete at a moment that is known only then.
        let arrived = self.launch.options.seed != 0
            && !self.launch.program.tracks_copies
            && self.random.next() >> 63 != 0;
        let copy = Copy { lanes: active, pc, destination, source, bytes: op.bytes, source_bytes, arrived };
        let access = arrival_of(&copy, None);
        let begun = block.shared.async_begin(&block.clocks, warp.index, &access, &mut self.tally);
        begun.map_err(|fault| self.fault(block, warp, pc, fault))?;
        if arrived {
            let (bytes, unwritten) = self.copied_bytes(block, warp, &copy, None)?;
            block.shared.async_arrive(&access, &bytes);
            block.shared.set_unwritten(&WarpAccess { mask: unwritten, ..access });
        }
        warp.copies.begin(copy);
        Ok(())
    }

    /// What a copy puts into shared memory: the bytes of its source, then zeros; and the lanes whose source nothing has
    /// written. The source is read now, or at a moment that others can wait for.
    pub(super) fn copied_bytes(
        &mut self,
        block: &mut Block,
        warp: &mut Warp,
        copy: &Copy,
        moment: Option<Moment>,
    ) -> Result<(LaneBytes, u32), Fail> {
        let mut unwritten = 0;
        let mut bytes: LaneBytes = [[0; 16]; LANES];
        // Lanes that read equally much together; nearly always all of them.
        let mut left = mask_of(lanes_of(copy.lanes).filter(|lane| copy.source_bytes[*lane] != 0));
        while left != 0 {
            let size = copy.source_bytes[left.trailing_zeros() as usize & 31];
            let mask = mask_of(lanes_of(left).filter(|lane| copy.source_bytes[*lane] == size));
            left &= !mask;
            unwritten |= self.read_source(block, warp, (copy, moment), size as usize, mask, &mut bytes)?;
        }
        Ok((bytes, unwritten))
    }

    fn read_source(
        &mut self,
        block: &mut Block,
        warp: &mut Warp,
        (copy, moment): (&Copy, Option<Moment>),
        size: usize,
        mask: u32,
        bytes: &mut LaneBytes,
    ) -> Result<u32, Fail> {
        let mut access = WarpAccess {
            kind: AccessKind::AsyncRead,
            strength: Strength::Weak,
            order: SyncSemantics::default(),
            size,
            align: copy.bytes.into(),
            addresses: &copy.source,
            mask,
            pc: copy.pc,
            reads_unwritten: false,
            moment,
        };
        if size.is_power_of_two() {
            return self.load_bytes(block, warp, Space::Global, &access, bytes);
        }
        // A partial source of an odd size: byte by byte.
        access.size = 1;
        (0..size).try_fold(0, |unwritten, offset| {
            let addresses = copy.source.map(|address| address.wrapping_add(offset as u64));
            let mut part: LaneBytes = [[0; 16]; LANES];
            let access = WarpAccess { addresses: &addresses, align: 1, ..access };
            let more = self.load_bytes(block, warp, Space::Global, &access, &mut part)?;
            lanes_of(mask).for_each(|lane| bytes[lane][offset] = part[lane][0]);
            Ok(unwritten | more)
        })
    }

    pub(super) fn copy_wait(
        &mut self,
        block: &mut Block,
        warp: &mut Warp,
        active: u32,
        groups: Option<u32>,
    ) -> Result<(), Fail> {
        if groups.is_none() {
            // wait_all also waits for what has not been committed.
            warp.copies.commit(active);
        }
        for copy in warp.copies.take_waited(active, groups.unwrap_or(0)) {
            let bytes = if copy.arrived { None } else { Some(self.copied_bytes(block, warp, &copy, None)?) };
            let access = arrival_of(&copy, None);
            if let Some((bytes, unwritten)) = bytes {
                block.shared.async_arrive(&access, &bytes);
                block.shared.set_unwritten(&WarpAccess { mask: unwritten, ..access });
            }
            block.shared.async_complete(&block.clocks, warp.index, &access);
        }
        for (moment, lanes) in warp.copies.take_tracked_waited(active, groups.unwrap_or(0)) {
            self.complete_tracked(block, moment)?;
            block.clocks.learn_async(warp.index, lanes, moment);
        }
        self.tally.waits += 1;
        Ok(())
    }
}

/// The writes of a copy, now or at a moment that others can wait for.
pub(super) fn arrival_of(copy: &Copy, moment: Option<Moment>) -> WarpAccess<'_> {
    WarpAccess {
        kind: AccessKind::AsyncWrite,
        strength: Strength::Weak,
        order: SyncSemantics::default(),
        size: copy.bytes as usize,
        align: copy.bytes.into(),
        addresses: &copy.destination,
        mask: copy.lanes,
        pc: copy.pc,
        reads_unwritten: false,
        moment,
    }
}

/// A store to bytes that the warp's own asynchronous copies may still read. Other warps' stores race with the read that
/// the wait stands for.
pub(super) fn source_overwritten(block: &Block, warp: &Warp, access: &WarpAccess<'_>) -> Option<Fault> {
    let (lane, reader, pc) = warp.copies.reads(access.addresses, access.mask, access.size)?;
    let thread = Some((warp.index, reader));
    Some(Fault {
        kind: ViolationKind::AsyncCopyRace,
        lane,
        address: access.addresses[lane],
        message: "a write of global memory that an asynchronous copy still reads".into(),
        prior: Some(Prior {
            kind: AccessKind::AsyncRead,
            block: Some(block.ordinal as i64),
            thread,
            pc: Some(pc),
        }),
    })
}
