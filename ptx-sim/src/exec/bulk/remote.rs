//! `st.async` and `red.async`: registers to shared memory of a block of the cluster, whose mbarrier counts the bytes. They
//! belong to the generic proxy.

use super::super::access::{addresses, get_element};
use super::super::arrivals::Arrival;
use super::super::collective::lanes_of;
use super::super::fault::Fail;
use super::super::warp::Warp;
use super::super::{Block, Engine};
use super::claim::{Claim, split_shared};
use super::deliver::{Transfer, What};
use crate::memory::LaneBytes;
use crate::program::{LANES, Pc, RemoteOp};
use crate::violation::ViolationKind;

/// What one lane stores.
#[derive(Debug)]
pub(super) struct Value {
    pub address: u64,
    pub bytes: [u8; 16],
    pub size: usize,
    /// It comes of what nothing has written.
    pub unwritten: bool,
}

impl Engine<'_> {
    pub(super) fn remote(
        &mut self,
        block: &mut Block,
        warp: &Warp,
        pc: Pc,
        active: u32,
        op: &RemoteOp,
    ) -> Result<(), Fail> {
        let element = op.ty.bytes() as usize;
        let size = element * op.elements.len();
        let mut bytes: LaneBytes = [[0; 16]; LANES];
        let mut unwritten = 0;
        for (index, register) in op.elements.iter().enumerate() {
            get_element(warp, register, element, &mut bytes, index * element);
            unwritten |= warp.unwritten(register.slot);
        }
        let destinations = addresses(warp, &op.destination).map(split_shared);
        let barriers = addresses(warp, &op.barrier).map(split_shared);
        // Lanes that signal the same mbarrier do so together.
        let mut left = active;
        while let Some(first) = lanes_of(left).next() {
            let (rank, barrier) = barriers[first];
            let lanes = lanes_of(left).filter(|lane| barriers[*lane] == barriers[first]);
            let lanes = lanes.fold(0, |mask, lane| mask | 1 << lane);
            left &= !lanes;
            let rank = rank.unwrap_or(block.rank());
            for lane in lanes_of(lanes) {
                let (to, address) = destinations[lane];
                self.check_remote(block, warp, pc, lane, op, to.unwrap_or(block.rank()), rank)?;
                self.check_align(block, warp, pc, lane, "the destination", address, size as u64)?;
            }
            let moment = block.clocks.begin_async(None);
            let reduces = op.reduction.is_some();
            let claim = Claim { warp: warp.index, lanes, pc, moment, reduces, generic: true };
            self.claim_barrier(block, rank, &claim, barrier)
                .map_err(|fault| self.fault(block, warp, pc, fault))?;
            let mut values = Vec::new();
            for lane in lanes_of(lanes) {
                let address = destinations[lane].1;
                let claim = Claim { lanes: 1 << lane, ..claim };
                self.claim_shared(block, rank, &claim, address, size, true)
                    .map_err(|fault| self.fault(block, warp, pc, fault))?;
                let unwritten = unwritten >> lane & 1 != 0;
                values.push(Value { address, bytes: bytes[lane], size, unwritten });
            }
            let total = size * values.len();
            self.tally.add_shared_bulk(total as u64, true);
            let what = What::Values { values, reduction: op.reduction };
            let transfer = Transfer { issuer: block.rank(), address: 0, what };
            let issuer = self.issuer(block, warp, pc, first);
            let arrival = Arrival { barrier, bytes: total as u32, moment, issuer, transfer };
            self.send_arrival(block, rank, arrival)?;
        }
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "the place of a report, and what it is about")]
    fn check_remote(
        &mut self,
        block: &Block,
        warp: &Warp,
        pc: Pc,
        lane: usize,
        op: &RemoteOp,
        rank: usize,
        barrier_rank: usize,
    ) -> Result<(), Fail> {
        self.check_rank(block, warp, pc, lane, rank)?;
        let wrong = if rank != barrier_rank {
            Some("destination and mbarrier lie in different blocks of the cluster")
        } else if self.launch.cluster_size() < 2 {
            Some("the cluster has one block: an asynchronous store needs others")
        } else if op.reduction.is_some() && rank == block.rank() {
            Some("the destination must be shared memory of another block of the cluster")
        } else {
            None
        };
        match wrong {
            None => Ok(()),
            Some(message) => {
                Err(self.fail(block, warp, pc, lane, ViolationKind::InvalidOperand, message.into()))
            }
        }
    }
}
