//! `cp.async.mbarrier.arrive`: an mbarrier tracks copies of `cp.async`.
//!
//! The copies of a lane, and then its arrival, complete by seed when the instruction is executed, or when somebody polls
//! the mbarrier in vain, or when the lane itself waits for the copies. What they read and write happens at a moment that
//! is released into the phase; nothing else that the lane has done is.

use super::{Mbarriers, Site, misused};
use crate::exec::arrivals::Issuer;
use crate::exec::collective::lanes_of;
use crate::exec::copies::Copy;
use crate::exec::copy_async::arrival_of;
use crate::exec::fault::Fail;
use crate::exec::warp::Warp;
use crate::exec::{Block, Engine};
use crate::memory::{Fault, LaneBytes, MbarrierAccess, WarpAccess};
use crate::program::{LANES, Pc};
use crate::race::Moment;
use crate::violation::ViolationKind;

/// Copies of lanes of a warp on their way, and the arrivals that follow them.
#[derive(Debug)]
pub(crate) struct Tracked {
    warp: usize,
    lanes: u32,
    pc: Pc,
    /// Each lane's mbarrier.
    barriers: [u64; LANES],
    /// With what they put into shared memory, and the lanes whose source nothing has written.
    copies: Vec<(Copy, Box<LaneBytes>, u32)>,
    moment: Moment,
}

impl Tracked {
    /// Whether it will signal an mbarrier.
    pub fn signals(&self, barrier: u64) -> bool {
        lanes_of(self.lanes).any(|lane| self.barriers[lane] == barrier)
    }
}

impl Engine<'_> {
    /// An mbarrier is to track what lanes have begun.
    pub(super) fn copy_arrive(
        &mut self,
        block: &mut Block,
        warp: &mut Warp,
        pc: Pc,
        lanes: u32,
        addresses: &[u64; LANES],
        increments: bool,
    ) -> Result<(), Fail> {
        let Block { shared, mbarriers, clocks, .. } = block;
        let mut site = Site { shared, mbarriers, clocks, own: true };
        let begun = site
            .access(warp.index, MbarrierAccess::Update, addresses, lanes, pc)
            .and_then(|()| if increments { raise(site.mbarriers, addresses, lanes) } else { Ok(()) });
        begun.map_err(|fault| self.fault(block, warp, pc, fault))?;
        let moment = block.clocks.begin_async(None);
        let mut copies = Vec::new();
        for copy in warp.copies.track(lanes, moment) {
            let (bytes, unwritten) = self.copied_bytes(block, warp, &copy, Some(moment))?;
            block.shared.async_complete(&block.clocks, warp.index, &arrival_of(&copy, Some(moment)));
            copies.push((copy, Box::new(bytes), unwritten));
        }
        let tracked = Tracked { warp: warp.index, lanes, pc, barriers: *addresses, copies, moment };
        if self.launch.options.seed != 0 && self.random.next() >> 63 != 0 {
            return self.arrive_tracked(block, tracked);
        }
        block.tracked.push(tracked);
        Ok(())
    }

    /// Copies that happen at a moment complete, and signal their mbarriers.
    pub(in crate::exec) fn complete_tracked(
        &mut self,
        block: &mut Block,
        moment: Moment,
    ) -> Result<(), Fail> {
        match block.tracked.iter().position(|tracked| tracked.moment == moment) {
            Some(index) => {
                let tracked = block.tracked.remove(index);
                self.arrive_tracked(block, tracked)
            }
            None => Ok(()),
        }
    }

    /// Somebody has polled an mbarrier of `block` in vain: copies that it tracks complete, some or all of them.
    pub(super) fn complete_polled(&mut self, block: &mut Block, barrier: u64) -> Result<(), Fail> {
        let mut tracked = std::mem::take(&mut block.tracked);
        let chosen = self.choose(&mut tracked, |tracked| tracked.signals(barrier));
        block.tracked = tracked;
        chosen.into_iter().try_for_each(|tracked| self.arrive_tracked(block, tracked))
    }

    fn arrive_tracked(&mut self, block: &mut Block, tracked: Tracked) -> Result<(), Fail> {
        self.progress += 1;
        let Tracked { warp, lanes, pc, barriers, copies, moment } = tracked;
        for (copy, bytes, unwritten) in copies {
            let access = arrival_of(&copy, Some(moment));
            block.shared.async_arrive(&access, &bytes);
            block.shared.set_unwritten(&WarpAccess { mask: unwritten, ..access });
        }
        for lane in lanes_of(lanes) {
            let address = barriers[lane];
            let result = match block.mbarriers.get_mut(address) {
                None => Err("an mbarrier has been invalidated that tracks copies on their way".to_string()),
                Some(mbarrier) => {
                    // Who waits for the phase of the last arrival knows all copies to be complete.
                    let more = lanes_of(lanes).any(|later| later > lane && barriers[later] == address);
                    if !more {
                        mbarrier.clock().add_async(moment);
                    }
                    let arrived = mbarrier.phase.arrive(1);
                    mbarrier.settle();
                    arrived.map_err(|misuse| misuse.to_string())
                }
            };
            if let Err(message) = result {
                let issuer = Issuer { block: block.index, warp, lane, pc };
                return Err(self.fail_issued(issuer, ViolationKind::MbarrierMisuse, address, message));
            }
        }
        block.clocks.end_async(moment);
        Ok(())
    }
}

/// Without `.noinc` the phase waits for one arrival more of each lane.
fn raise(mbarriers: &mut Mbarriers, addresses: &[u64; LANES], lanes: u32) -> Result<(), Fault> {
    for lane in lanes_of(lanes) {
        let address = addresses[lane];
        if let Some(mbarrier) = mbarriers.get_mut(address) {
            mbarrier.phase.raise().map_err(|misuse| misused(misuse, lane, address))?;
        }
    }
    Ok(())
}
