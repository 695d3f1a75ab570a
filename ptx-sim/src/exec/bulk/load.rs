//! Copies into shared memory that an mbarrier counts: from global memory, or from another block of the cluster.

use std::sync::Arc;

use super::super::access::addresses;
use super::super::arrivals::Arrival;
use super::super::fault::Fail;
use super::super::warp::Warp;
use super::super::{Block, Engine};
use super::Sending;
use super::claim::{Claim, split_shared};
use super::content::Content;
use super::deliver::{Transfer, What};
use super::global_side::UNIT;
use crate::program::{Address, BulkLoad, BulkSend, Pc};
use crate::violation::ViolationKind;

/// Where a copy goes: a block of the cluster, and addresses there.
struct Target {
    rank: usize,
    destination: u64,
    barrier: u64,
}

impl Engine<'_> {
    /// The destination of a lane's copy and its mbarrier, which lie in the same block.
    fn target(
        &mut self,
        block: &Block,
        warp: &Warp,
        pc: Pc,
        lane: usize,
        [destination, barrier]: [&Address; 2],
    ) -> Result<Target, Fail> {
        let (rank, destination) = split_shared(addresses(warp, destination)[lane]);
        let (barrier_rank, barrier) = split_shared(addresses(warp, barrier)[lane]);
        let rank = rank.unwrap_or(block.rank());
        let barrier_rank = barrier_rank.unwrap_or(block.rank());
        if rank != barrier_rank {
            let message = format!(
                "the mbarrier lies in block {barrier_rank} of the cluster, the destination in block {rank}: both must \
                 lie in the same block"
            );
            return Err(self.fail(block, warp, pc, lane, ViolationKind::InvalidOperand, message));
        }
        self.check_rank(block, warp, pc, lane, rank)?;
        Ok(Target { rank, destination, barrier })
    }

    /// From global memory.
    pub(super) fn bulk_load(
        &mut self,
        block: &mut Block,
        warp: &Warp,
        pc: Pc,
        lane: usize,
        op: &BulkLoad,
    ) -> Result<(), Fail> {
        let target = self.target(block, warp, pc, lane, [&op.destination, &op.barrier])?;
        if op.own && target.rank != block.rank() {
            let message =
                "the destination is not shared memory of the executing block, which .shared::cta means";
            return Err(self.fail(block, warp, pc, lane, ViolationKind::InvalidOperand, message.into()));
        }
        let global = self.global_side(block, warp, pc, lane, &op.source)?;
        self.check_fits(block, warp, pc, lane, &global)?;
        let (what, align) = ("the address in shared memory", global.shared_align());
        self.check_align(block, warp, pc, lane, what, target.destination, align)?;
        let ranks = match op.multicast {
            None => vec![target.rank],
            Some(slot) => {
                let mask = warp.lanes.get32(slot)[lane] & 0xffff;
                self.multicast_ranks(block, warp, pc, lane, mask)?
            }
        };
        let global = Arc::new(global);
        for (index, rank) in ranks.into_iter().enumerate() {
            // Each destination has a moment of its own: to know of one is not to know of the others.
            let moment = block.clocks.begin_async(None);
            let claim =
                Claim { warp: warp.index, lanes: 1 << lane, pc, moment, reduces: false, generic: false };
            let claimed = match index {
                // The source is read once.
                0 => self.claim_global(block, &claim, &global, false),
                _ => Ok(()),
            };
            claimed
                .and_then(|()| self.claim_barrier(block, rank, &claim, target.barrier))
                .and_then(|()| self.claim_places(block, rank, &claim, &global, target.destination, true))
                .map_err(|fault| self.fault(block, warp, pc, fault))?;
            let transfer = Transfer {
                issuer: block.rank(),
                address: target.destination,
                what: What::Load(Arc::clone(&global)),
            };
            let arrival = Arrival {
                barrier: target.barrier,
                bytes: global.bytes() as u32,
                moment,
                issuer: self.issuer(block, warp, pc, lane),
                transfer,
            };
            self.send_arrival(block, rank, arrival)?;
        }
        Ok(())
    }

    /// The blocks that a mask names.
    fn multicast_ranks(
        &mut self,
        block: &Block,
        warp: &Warp,
        pc: Pc,
        lane: usize,
        mask: u32,
    ) -> Result<Vec<usize>, Fail> {
        if mask == 0 {
            let message = "a multicast to no block: the mask is 0".into();
            return Err(self.fail(block, warp, pc, lane, ViolationKind::InvalidOperand, message));
        }
        let ranks: Vec<usize> = (0..16).filter(|rank| mask >> rank & 1 != 0).collect();
        for rank in &ranks {
            self.check_rank(block, warp, pc, lane, *rank)?;
        }
        Ok(ranks)
    }

    /// From this block's shared memory to that of another.
    pub(super) fn bulk_send(
        &mut self,
        block: &mut Block,
        warp: &Warp,
        pc: Pc,
        lane: usize,
        op: &BulkSend,
    ) -> Result<(), Fail> {
        let target = self.target(block, warp, pc, lane, [&op.destination, &op.barrier])?;
        let (source_rank, source) = split_shared(addresses(warp, &op.source)[lane]);
        let own = block.rank();
        let wrong = if source_rank.is_some_and(|rank| rank != own) {
            Some("the source is not shared memory of the executing block, which .shared::cta means")
        } else if target.rank == own {
            Some("the destination must be shared memory of another block of the cluster")
        } else {
            None
        };
        if let Some(message) = wrong {
            return Err(self.fail(block, warp, pc, lane, ViolationKind::InvalidOperand, message.into()));
        }
        let size = warp.lanes.get32(op.bytes)[lane];
        self.check_size(block, warp, pc, lane, size)?;
        self.check_align(block, warp, pc, lane, "the source", source, UNIT)?;
        self.check_align(block, warp, pc, lane, "the destination", target.destination, UNIT)?;
        let bytes = size as usize;
        let moment = block.clocks.begin_async(None);
        let read = Claim { warp: warp.index, lanes: 1 << lane, pc, moment, reduces: false, generic: false };
        let write = Claim { reduces: op.reduction.is_some(), ..read };
        self.tally.add_shared_bulk(size.into(), false);
        self.tally.add_shared_bulk(size.into(), true);
        self.claim_shared(block, own, &read, source, bytes, false)
            .and_then(|()| self.claim_barrier(block, target.rank, &write, target.barrier))
            .and_then(|()| self.claim_shared(block, target.rank, &write, target.destination, bytes, true))
            .map_err(|fault| self.fault(block, warp, pc, fault))?;
        let issuer = self.issuer(block, warp, pc, lane);
        block.note_sending(Sending { moment, issuer, source });
        let reduction = op.reduction;
        let what = if self.arrives_at_once() {
            What::Sent { content: Content::of_bytes(&block.shared, source, bytes), reduction }
        } else {
            What::Send { source, bytes, reduction }
        };
        let transfer = Transfer { issuer: own, address: target.destination, what };
        let arrival = Arrival { barrier: target.barrier, bytes: size, moment, issuer, transfer };
        self.send_arrival(block, target.rank, arrival)
    }

    /// Hands an arrival to the block of the cluster whose mbarrier it signals.
    pub(super) fn send_arrival(
        &mut self,
        block: &mut Block,
        rank: usize,
        arrival: Arrival,
    ) -> Result<(), Fail> {
        if rank == block.rank() {
            return self.issue_arrival(block, arrival);
        }
        // Its bytes may come from anywhere in the engine: meanwhile the block is taken out of it.
        let Some(mut peer) = self.live.take_peer(block.place, rank) else { return Ok(()) };
        let (moment, waiting) = (arrival.moment, peer.arrivals.len());
        let issued = match arrival.transfer.what {
            // The block that is read is not in the engine's list while it runs.
            What::Send { .. } => {
                peer.arrivals.push(arrival);
                Ok(())
            }
            _ => self.issue_arrival(&mut peer, arrival),
        };
        if peer.arrivals.len() == waiting {
            block.clocks.end_async(moment);
        }
        self.live.put(peer);
        issued
    }
}
