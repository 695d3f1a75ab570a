//! `mbarrier.arrive` and `mbarrier.arrive_drop`.

use super::phase::Misuse;
use super::table::Mbarrier;
use super::{Site, misused};
use crate::exec::collective::{lanes_of, mask_of};
use crate::exec::warp::Warp;
use crate::memory::Fault;
use crate::program::{ArriveOp, LANES};
use crate::race::BlockClocks;

/// Lanes arrive one after another at mbarriers that are there.
pub(super) fn arrive(
    site: &mut Site<'_>,
    warp: &mut Warp,
    lanes: u32,
    addresses: &[u64; LANES],
    op: &ArriveOp,
) -> Result<(), Fault> {
    let counts = op.count.map_or([1; LANES], |count| warp.lanes.get32(count));
    let bytes = op.expected.map(|bytes| warp.lanes.get32(bytes));
    let mut states = [0; LANES];
    let mut left = lanes;
    while left != 0 {
        let address = addresses[left.trailing_zeros() as usize & 31];
        let here = mask_of(lanes_of(left).filter(|lane| addresses[*lane] == address));
        left &= !here;
        let Some(mbarrier) = site.mbarriers.get_mut(address) else { continue };
        if site.own {
            mbarrier.forget_polled(warp.index, here);
        }
        // What lanes release together, until the phase is complete.
        let mut arrived = 0;
        for lane in lanes_of(here) {
            let expected = bytes.map(|bytes| bytes[lane]);
            states[lane] = mbarrier.phase.state(address, op.no_complete);
            count(mbarrier, counts[lane], expected, op).map_err(|misuse| misused(misuse, lane, address))?;
            arrived |= 1 << lane;
            if mbarrier.phase.is_complete() {
                release(site.clocks, mbarrier, warp.index, &mut arrived, op);
                mbarrier.settle();
            }
        }
        release(site.clocks, mbarrier, warp.index, &mut arrived, op);
    }
    if let Some(state) = op.state {
        warp.lanes.set64(state, &states, lanes);
    }
    Ok(())
}

/// One arrival.
fn count(mbarrier: &mut Mbarrier, count: u32, expected: Option<u32>, op: &ArriveOp) -> Result<(), Misuse> {
    let phase = &mut mbarrier.phase;
    if let Some(bytes) = expected {
        phase.expect(bytes)?;
    }
    if op.drops {
        phase.drop_expected(count)?;
    }
    phase.arrive(count)?;
    if op.no_complete && phase.is_complete() { Err(Misuse::Completes) } else { Ok(()) }
}

fn release(clocks: &mut BlockClocks, mbarrier: &mut Mbarrier, warp: usize, lanes: &mut u32, op: &ArriveOp) {
    let lanes = std::mem::take(lanes);
    if lanes == 0 {
        return;
    }
    if op.releases {
        clocks.barrier_arrive(mbarrier.clock(), warp, lanes);
    } else {
        clocks.barrier_arrive_relaxed(mbarrier.clock(), warp, lanes);
    }
}
