//! From `mbarrier.init` to `mbarrier.inval`, and who may use an mbarrier in between.

use super::phase::Phase;
use super::table::{Initialized, Mbarrier, Mbarriers};
use super::{Site, missing, misused};
use crate::exec::collective::lanes_of;
use crate::exec::warp::Warp;
use crate::exec::{Block, Engine};
use crate::memory::{Fault, MbarrierAccess, Prior, ProxyAccess, SharedMemory};
use crate::program::{LANES, Pc};
use crate::violation::{AccessKind, ViolationKind};

/// `mbarrier.init`.
pub(super) fn initialize(
    block: &mut Block,
    warp: &Warp,
    addresses: &[u64; LANES],
    lanes: u32,
    pc: Pc,
    counts: &[u32; LANES],
) -> Result<(), Fault> {
    block.shared.check_mbarrier_place(addresses, lanes)?;
    for lane in lanes_of(lanes) {
        let address = addresses[lane];
        if block.mbarriers.get(address).is_some() {
            let kind = ViolationKind::MbarrierMisuse;
            let message =
                "an mbarrier is initialised where there is one already: mbarrier.inval has to come before";
            return Err(Fault { kind, lane, address, message: message.into(), prior: None });
        }
        let phase = Phase::new(counts[lane]).map_err(|misuse| misused(misuse, lane, address))?;
        let what = MbarrierAccess::Write;
        block.shared.access_mbarrier(&block.clocks, warp.index, what, addresses, 1 << lane, pc)?;
        let mark = block.clocks.mark(warp.index, lane);
        let initialized =
            Initialized { block: block.ordinal, thread: (warp.index, lane), pc, mark, fenced: false };
        block.mbarriers.insert(address, Mbarrier::new(phase, initialized));
        block.shared.hold_mbarrier(address);
    }
    Ok(())
}

/// `mbarrier.inval`.
pub(super) fn invalidate(
    block: &mut Block,
    warp: &Warp,
    addresses: &[u64; LANES],
    lanes: u32,
    pc: Pc,
) -> Result<(), Fault> {
    for lane in lanes_of(lanes) {
        let address = addresses[lane];
        let Block { shared, mbarriers, clocks, .. } = block;
        let mut site = Site { shared, mbarriers, clocks, own: true };
        site.access(warp.index, MbarrierAccess::Write, addresses, 1 << lane, pc)?;
        if block.mbarriers.get(address).is_some_and(|mbarrier| mbarrier.unwaited().is_some())
            || block.arrivals.iter().any(|arrival| arrival.barrier == address)
            || block.tracked.iter().any(|tracked| tracked.signals(address))
        {
            let kind = ViolationKind::MbarrierMisuse;
            let message =
                "an mbarrier is invalidated that an asynchronous copy signals which nobody has waited for"
                    .into();
            return Err(Fault { kind, lane, address, message, prior: None });
        }
        block.mbarriers.remove(address);
        block.shared.release_mbarrier(address);
    }
    Ok(())
}

impl Engine<'_> {
    /// `fence.mbarrier_init`: what the lanes have initialised, asynchronous operations and other blocks may use.
    pub(in crate::exec) fn fence_mbarrier_init(&mut self, block: &mut Block, warp: &mut Warp, active: u32) {
        for (address, mbarrier) in block.mbarriers.initialized_by(warp.index, active) {
            let Initialized { thread: (_, lane), pc, fenced, .. } = mbarrier.initialized;
            if !fenced {
                mbarrier.initialized.fenced = true;
                block.shared.publish_mbarrier(&block.clocks, warp.index, lane, address, pc);
            }
        }
    }
}

/// An asynchronous operation is to signal the mbarrier at `address` of the block that `shared` and `mbarriers` belong to:
/// it must have been initialised, and where the operation is `of_proxy`, the asynchronous one, that must see it.
pub(in crate::exec) fn claim(
    shared: &SharedMemory,
    mbarriers: &Mbarriers,
    access: &ProxyAccess<'_>,
    address: u64,
    of_proxy: bool,
) -> Result<(), Fault> {
    let lane = access.lanes.trailing_zeros() as usize & 31;
    shared.check_mbarrier_place(&[address; LANES], 1 << lane)?;
    let Some(mbarrier) = mbarriers.get(address) else { return Err(missing(lane, address)) };
    let Initialized { block, thread, pc, mark, fenced } = mbarrier.initialized;
    let (clocks, warp) = (access.clocks, access.warp);
    let ordered = clocks.knows(warp, access.lanes, mark);
    let proxy = of_proxy && shared.checks_mbarrier_init();
    let seen = if proxy { clocks.knows_proxied(warp, access.lanes, mark) } else { ordered };
    let (kind, message) = match ordered {
        _ if fenced || seen || !shared.checks_races() => return Ok(()),
        true => (
            ViolationKind::MissingProxyFence,
            "an asynchronous operation that is to signal an mbarrier, between whose initialisation and this there is no \
             fence.proxy.async or fence.mbarrier_init",
        ),
        false => (
            ViolationKind::SharedRace,
            "an asynchronous operation that is to signal an mbarrier, whose initialisation no synchronisation orders \
             before this",
        ),
    };
    let prior =
        Prior { kind: AccessKind::Write, block: Some(block as i64), thread: Some(thread), pc: Some(pc) };
    Err(Fault { kind, lane, address, message: message.into(), prior: Some(prior) })
}
