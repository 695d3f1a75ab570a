//! What a copy touches, checked and marked when it is issued.

use super::super::arrivals::Issuer;
use super::super::fault::Fail;
use super::super::warp::Warp;
use super::super::{Block, Engine, mbarrier};
use super::global_side::Global;
use crate::memory::{Fault, ProxyAccess, windows};
use crate::program::Pc;
use crate::race::Moment;
use crate::violation::ViolationKind;

/// Who accesses memory, and when.
#[derive(Clone, Copy)]
pub(super) struct Claim {
    pub warp: usize,
    pub lanes: u32,
    pub pc: Pc,
    pub moment: Moment,
    /// It adds to what is there.
    pub reduces: bool,
    /// It is an asynchronous operation of the generic proxy: `st.async`.
    pub generic: bool,
}

impl Claim {
    fn access<'a>(&self, clocks: &'a crate::race::BlockClocks) -> ProxyAccess<'a> {
        let Self { warp, lanes, pc, moment, reduces, .. } = *self;
        ProxyAccess { clocks, warp, lanes, moment, reduces, pc }
    }
}

/// An address of shared memory that may be generic: the rank in the cluster, where it names one, and the address there.
pub(super) fn split_shared(address: u64) -> (Option<usize>, u64) {
    let within = match address {
        windows::SHARED..windows::LOCAL => address - windows::SHARED,
        address => address,
    };
    windows::split_cluster(within)
}

impl Engine<'_> {
    pub(super) fn issuer(&self, block: &Block, warp: &Warp, pc: Pc, lane: usize) -> Issuer {
        Issuer { block: block.index, warp: warp.index, lane, pc }
    }

    /// A block of the cluster that a copy goes to is there.
    pub(super) fn check_rank(
        &mut self,
        block: &Block,
        warp: &Warp,
        pc: Pc,
        lane: usize,
        rank: usize,
    ) -> Result<(), Fail> {
        let size = self.launch.cluster_size();
        if rank as u64 >= size {
            let message = format!("block {rank} of a cluster of {size}");
            return Err(self.fail(block, warp, pc, lane, ViolationKind::InvalidOperand, message));
        }
        if rank == block.rank() || self.live.peer(block.place, rank).is_some() {
            return Ok(());
        }
        let message = format!("an asynchronous copy to block {rank} of the cluster, which has exited");
        Err(self.fail(block, warp, pc, lane, ViolationKind::BlockGone, message))
    }

    /// A copy is no larger than the shared memory of a block. A tile may be far larger than any memory.
    pub(super) fn check_fits(
        &self,
        block: &Block,
        warp: &Warp,
        pc: Pc,
        lane: usize,
        global: &Global,
    ) -> Result<(), Fail> {
        let (needed, limit) = (global.shared_bytes(), self.launch.shared_bytes);
        if needed <= limit as usize {
            return Ok(());
        }
        let message = format!("a bulk copy of {needed} bytes: the block has {limit} bytes of shared memory");
        Err(self.fail(block, warp, pc, lane, ViolationKind::OutOfBounds, message))
    }

    /// Claims bytes of the shared memory of a live block of the cluster.
    pub(super) fn claim_shared(
        &mut self,
        block: &mut Block,
        rank: usize,
        claim: &Claim,
        address: u64,
        bytes: usize,
        writes: bool,
    ) -> Result<(), Fault> {
        let own = rank == block.rank();
        let Block { clocks, shared, place, .. } = block;
        let shared = if own {
            shared
        } else {
            match self.live.peer(*place, rank) {
                Some(peer) => &mut peer.shared,
                None => return Ok(()),
            }
        };
        let access = claim.access(clocks);
        if claim.generic {
            return shared.generic_claim(&access, address, bytes);
        }
        shared.proxy_claim(&access, address, bytes, writes)
    }

    /// An mbarrier of a live block of the cluster is to count the bytes.
    pub(super) fn claim_barrier(
        &mut self,
        block: &mut Block,
        rank: usize,
        claim: &Claim,
        address: u64,
    ) -> Result<(), Fault> {
        let own = rank == block.rank();
        let Block { clocks, shared, mbarriers, place, .. } = block;
        let (shared, mbarriers) = if own {
            (&*shared, &*mbarriers)
        } else {
            match self.live.peer(*place, rank) {
                Some(peer) => (&peer.shared, &peer.mbarriers),
                None => return Ok(()),
            }
        };
        mbarrier::claim(shared, mbarriers, &claim.access(clocks), address, !claim.generic)
    }

    /// Claims the shared side of a copy.
    pub(super) fn claim_places(
        &mut self,
        block: &mut Block,
        rank: usize,
        claim: &Claim,
        global: &Global,
        address: u64,
        writes: bool,
    ) -> Result<(), Fault> {
        let places = global.places(address);
        self.tally.add_shared_bulk(global.bytes() as u64, writes);
        places
            .into_iter()
            .try_for_each(|(place, range)| self.claim_shared(block, rank, claim, place, range.len(), writes))
    }

    /// Claims the global side of a copy.
    pub(super) fn claim_global(
        &mut self,
        block: &Block,
        claim: &Claim,
        global: &Global,
        writes: bool,
    ) -> Result<(), Fault> {
        let access = claim.access(&block.clocks);
        let (memory, cache, tally) = (self.launch.memory, &mut self.cache, &mut self.tally);
        let before = [tally.global_read.requests, tally.global_written.requests];
        for (address, bytes) in global.runs() {
            memory
                .proxy_claim(cache, &access, address, bytes, writes, tally)
                .map_err(|fault| of_tile(fault, global))?;
        }
        // One instruction is one request, however many rows it has.
        let [read, written] = before;
        (tally.global_read.requests, tally.global_written.requests) =
            if writes { (read, written + 1) } else { (read + 1, written) };
        Ok(())
    }
}

/// A row of a tile that leaves its allocation lies within the tensor that the map describes.
fn of_tile(mut fault: Fault, global: &Global) -> Fault {
    if let (ViolationKind::OutOfBounds, Global::Tile { map, coordinates }) = (fault.kind, global) {
        let coordinates = &coordinates[..map.dims.len()];
        fault.message += &format!(
            "; it is a row of the tile at {coordinates:?} of a tensor whose map says dims {:?} and strides {:?} from {:#x}",
            map.dims, map.strides, map.address
        );
    }
    fault
}
