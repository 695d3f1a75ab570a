//! Execution of `mbarrier`.

mod arrive;
mod copies;
mod landing;
mod lifetime;
mod phase;
mod table;
mod wait;

pub(super) use copies::Tracked;
pub(super) use lifetime::claim;
pub(super) use table::Mbarriers;

use lifetime::{initialize, invalidate};
use phase::{Misuse, pending_count};

use super::access::addresses;
use super::collective::{lanes_of, mask_of};
use super::fault::Fail;
use super::live::Live;
use super::warp::Warp;
use super::{Block, Engine};
use crate::memory::{Fault, MbarrierAccess, SharedMemory, windows};
use crate::program::{LANES, MbarrierKind, MbarrierOp, Pc, Slot};
use crate::ptx::ast::Space;
use crate::race::BlockClocks;
use crate::violation::ViolationKind;

/// The memory and mbarriers of the block that an operation goes to, and what the block that executes it knows.
struct Site<'a> {
    shared: &'a mut SharedMemory,
    mbarriers: &'a mut Mbarriers,
    clocks: &'a mut BlockClocks,
    /// It goes to the block that executes it.
    own: bool,
}

/// Those of a block of the cluster of `block`, which runs; `None` where it has exited.
fn site<'a>(live: &'a mut Live, block: &'a mut Block, rank: usize) -> Option<Site<'a>> {
    let clocks = &mut block.clocks;
    if rank == block.place.rank() {
        return Some(Site { shared: &mut block.shared, mbarriers: &mut block.mbarriers, clocks, own: true });
    }
    let peer = live.peer(block.place, rank)?;
    Some(Site { shared: &mut peer.shared, mbarriers: &mut peer.mbarriers, clocks, own: false })
}

impl Site<'_> {
    /// Lanes are to operate on mbarriers: these must be there, and have been initialised before.
    fn access(
        &mut self,
        warp: usize,
        what: MbarrierAccess,
        addresses: &[u64; LANES],
        lanes: u32,
        pc: Pc,
    ) -> Result<(), Fault> {
        self.shared.check_mbarrier_place(addresses, lanes)?;
        if let Some(lane) = lanes_of(lanes).find(|lane| self.mbarriers.get(addresses[*lane]).is_none()) {
            return Err(missing(lane, addresses[lane]));
        }
        self.shared.access_mbarrier(self.clocks, warp, what, addresses, lanes, pc)
    }
}

fn missing(lane: usize, address: u64) -> Fault {
    let message = "no mbarrier is initialised at this address";
    Fault { kind: ViolationKind::MbarrierMisuse, lane, address, message: message.into(), prior: None }
}

fn misused(misuse: Misuse, lane: usize, address: u64) -> Fault {
    let message = misuse.to_string();
    Fault { kind: ViolationKind::MbarrierMisuse, lane, address, message, prior: None }
}

/// The mbarriers that lanes name: ranks in the cluster, and addresses there.
struct Named {
    ranks: [usize; LANES],
    addresses: [u64; LANES],
}

impl Engine<'_> {
    pub(super) fn mbarrier(
        &mut self,
        block: &mut Block,
        warp: &mut Warp,
        pc: Pc,
        active: u32,
        op: &MbarrierOp,
    ) -> Result<(), Fail> {
        if let MbarrierKind::PendingCount { state, destination } = op.kind {
            return self.pending_count(block, warp, pc, active, state, destination);
        }
        let named = self.named(block, warp, pc, active, op)?;
        let mut left = active;
        while left != 0 {
            let rank = named.ranks[left.trailing_zeros() as usize & 31];
            let lanes = mask_of(lanes_of(left).filter(|lane| named.ranks[*lane] == rank));
            left &= !lanes;
            let result = match op.kind {
                MbarrierKind::Init { count } => {
                    initialize(block, warp, &named.addresses, lanes, pc, &warp.lanes.get32(count))
                }
                MbarrierKind::Invalidate => invalidate(block, warp, &named.addresses, lanes, pc),
                MbarrierKind::Wait { phase, destination, acquires } => {
                    self.wait(block, warp, pc, lanes, &named.addresses, (phase, destination, acquires))?;
                    continue;
                }
                MbarrierKind::CopyArrive { increments } => {
                    self.copy_arrive(block, warp, pc, lanes, &named.addresses, increments)?;
                    Ok(())
                }
                MbarrierKind::PendingCount { .. } => Ok(()),
                kind => {
                    // That an operation which releases nothing has happened, nobody can know.
                    if matches!(kind, MbarrierKind::Arrive(arrive) if arrive.releases) {
                        self.visit(block, warp, pc, lanes, rank)?;
                    } else {
                        self.check_there(block, warp, pc, lanes, rank)?;
                    }
                    let Some(site) = site(&mut self.live, block, rank) else { continue };
                    self.tally.barriers += u64::from(matches!(kind, MbarrierKind::Arrive(_)));
                    update(site, warp, pc, lanes, &named.addresses, kind)
                }
            };
            self.progress += 1;
            result.map_err(|fault| self.fault(block, warp, pc, fault))?;
        }
        Ok(())
    }

    /// Which mbarriers lanes name.
    fn named(&self, block: &Block, warp: &Warp, pc: Pc, active: u32, op: &MbarrierOp) -> Result<Named, Fail> {
        let own = block.place.rank();
        let remote = matches!(
            op.kind,
            MbarrierKind::Arrive(_) | MbarrierKind::Expect { .. } | MbarrierKind::Complete { .. }
        );
        let mut named = Named { ranks: [own; LANES], addresses: addresses(warp, &op.address) };
        let outside = |lane: usize, address: u64, message: &str| {
            let kind = ViolationKind::OutOfBounds;
            self.fault(block, warp, pc, Fault { kind, lane, address, message: message.into(), prior: None })
        };
        for lane in lanes_of(active) {
            let mut address = named.addresses[lane];
            if op.space == Space::Generic {
                if !(windows::SHARED..windows::LOCAL).contains(&address) {
                    let message = "a generic address of an mbarrier that is not in shared memory";
                    return Err(outside(lane, address, message));
                }
                address -= windows::SHARED;
            }
            let (rank, local) = windows::split_cluster(address);
            let rank = rank.unwrap_or(own);
            if rank as u64 >= self.launch.cluster_size().max(1) {
                let message = "an mbarrier of a block that the cluster does not have";
                return Err(outside(lane, address, message));
            }
            if rank != own && !remote {
                let message = "this operation works only on an mbarrier of the thread's own block".into();
                let kind = ViolationKind::MbarrierMisuse;
                return Err(self.fault(block, warp, pc, Fault { kind, lane, address, message, prior: None }));
            }
            (named.ranks[lane], named.addresses[lane]) = (rank, local);
        }
        if let MbarrierKind::Arrive(arrive) = op.kind
            && arrive.state.is_some()
            && let Some(lane) = lanes_of(active).find(|lane| named.ranks[*lane] != own)
        {
            let message = "an arrival at an mbarrier of another block returns no state".into();
            return Err(self.fail(block, warp, pc, lane, ViolationKind::MbarrierMisuse, message));
        }
        Ok(named)
    }

    fn pending_count(
        &self,
        block: &Block,
        warp: &mut Warp,
        pc: Pc,
        active: u32,
        state: Slot,
        destination: Slot,
    ) -> Result<(), Fail> {
        let states = warp.lanes.get64(state);
        let mut counts = [0; LANES];
        for lane in lanes_of(active) {
            let Some(count) = pending_count(states[lane]) else {
                let message =
                    "a state that no arrive.noComplete or arrive_drop.noComplete has returned".into();
                return Err(self.fail(block, warp, pc, lane, ViolationKind::MbarrierMisuse, message));
            };
            counts[lane] = count;
        }
        warp.lanes.set32(destination, &counts, active);
        Ok(())
    }

    /// The mbarriers of a block that somebody waits for; for reports.
    pub(super) fn describe_mbarriers(&self, block: &Block) -> Vec<String> {
        let waited = block.mbarriers.iter().filter_map(|(address, mbarrier)| {
            let mut warps = mbarrier.waiting();
            warps.retain(|warp| block.live_warps >> warp & 1 != 0);
            if warps.is_empty() {
                return None;
            }
            let warps: Vec<String> = warps.iter().map(ToString::to_string).collect();
            let place = self.launch.program.location(mbarrier.initialized.pc);
            let place = place.map_or_else(String::new, |place| format!(", initialised at {place},"));
            Some(format!(
                "the mbarrier at {address:#x}{place} in {}; warps {} wait for it",
                mbarrier.phase.describe(),
                warps.join(", ")
            ))
        });
        waited.collect()
    }
}

/// `expect_tx`, `complete_tx`, `arrive`, `arrive_drop`.
fn update(
    mut site: Site<'_>,
    warp: &mut Warp,
    pc: Pc,
    lanes: u32,
    addresses: &[u64; LANES],
    kind: MbarrierKind,
) -> Result<(), Fault> {
    site.access(warp.index, MbarrierAccess::Update, addresses, lanes, pc)?;
    let (bytes, expects) = match kind {
        MbarrierKind::Arrive(op) => return arrive::arrive(&mut site, warp, lanes, addresses, &op),
        MbarrierKind::Expect { bytes } => (warp.lanes.get32(bytes), true),
        MbarrierKind::Complete { bytes } => (warp.lanes.get32(bytes), false),
        _ => return Ok(()),
    };
    for lane in lanes_of(lanes) {
        let address = addresses[lane];
        let Some(mbarrier) = site.mbarriers.get_mut(address) else { continue };
        let bytes = bytes[lane];
        let done = if expects { mbarrier.phase.expect(bytes) } else { mbarrier.phase.complete(bytes) };
        done.map_err(|misuse| misused(misuse, lane, address))?;
        mbarrier.settle();
    }
    Ok(())
}
