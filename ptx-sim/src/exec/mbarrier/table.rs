//! The mbarriers of a block.

use std::collections::BTreeMap;

use super::phase::Phase;
use crate::exec::arrivals::Issuer;
use crate::program::Pc;
use crate::race::{BarrierClock, BlockClocks, Mark, Moment};

/// Those that are initialised, by address.
#[derive(Debug, Default)]
pub(crate) struct Mbarriers {
    live: BTreeMap<u64, Mbarrier>,
}

impl Mbarriers {
    pub(super) fn get(&self, address: u64) -> Option<&Mbarrier> {
        self.live.get(&address)
    }

    pub(super) fn get_mut(&mut self, address: u64) -> Option<&mut Mbarrier> {
        self.live.get_mut(&address)
    }

    pub(super) fn insert(&mut self, address: u64, mbarrier: Mbarrier) {
        self.live.insert(address, mbarrier);
    }

    pub(super) fn remove(&mut self, address: u64) {
        self.live.remove(&address);
    }

    /// All of them, with their addresses.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Mbarrier)> {
        self.live.iter().map(|(address, mbarrier)| (*address, mbarrier))
    }

    /// Those that a lane has initialised.
    pub(super) fn initialized_by(
        &mut self,
        warp: usize,
        lanes: u32,
    ) -> impl Iterator<Item = (u64, &mut Mbarrier)> {
        self.live
            .iter_mut()
            .filter(move |(_, mbarrier)| {
                let (by, lane) = mbarrier.initialized.thread;
                by == warp && lanes >> lane & 1 != 0
            })
            .map(|(address, mbarrier)| (*address, mbarrier))
    }
}

/// One of them.
#[derive(Debug)]
pub(super) struct Mbarrier {
    pub phase: Phase,
    pub initialized: Initialized,
    /// What has been released into the current phase.
    clock: BarrierClock,
    /// What was released into the phase before.
    completed: BarrierClock,
    /// A bulk copy that has completed into the current phase, and one of those into earlier phases that nobody has
    /// waited for.
    landing: Option<Issuer>,
    landed: Option<Issuer>,
    /// Lanes that have found a phase incomplete and not come back to another: warp, lanes, phase.
    polled: Vec<(usize, u32, u64)>,
}

/// Where an mbarrier comes from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Initialized {
    /// The ordinal of the block.
    pub block: u64,
    /// Warp and lane.
    pub thread: (usize, usize),
    pub pc: Pc,
    pub mark: Mark,
    /// `fence.mbarrier_init` has shown it to the cluster and to asynchronous operations.
    pub fenced: bool,
}

impl Mbarrier {
    pub fn new(phase: Phase, initialized: Initialized) -> Self {
        let clock = BarrierClock::default();
        Self {
            phase,
            initialized,
            completed: clock.clone(),
            clock,
            landing: None,
            landed: None,
            polled: Vec::new(),
        }
    }

    /// Goes on to the next phase where the current one is complete. What is released later belongs to that.
    pub fn settle(&mut self) -> bool {
        let complete = self.phase.settle();
        if complete {
            self.completed = std::mem::take(&mut self.clock);
            self.landed = self.landing.take().or(self.landed);
        }
        complete
    }

    /// What is released into the current phase.
    pub fn clock(&mut self) -> &mut BarrierClock {
        &mut self.clock
    }

    /// A bulk copy completes into the current phase.
    pub fn land(&mut self, moment: Moment, issuer: Issuer) {
        self.clock.add_async(moment);
        self.landing = Some(issuer);
    }

    /// A bulk copy that nobody knows to be complete.
    pub fn unwaited(&self) -> Option<Issuer> {
        self.landed.or(self.landing)
    }

    /// Lanes of the block have seen that the phase before the current one is complete, and acquire what was released
    /// into it: at once, or with a later fence.
    pub fn acquire(&mut self, clocks: &mut BlockClocks, warp: usize, lanes: u32, at_once: bool) {
        self.landed = None;
        if at_once {
            clocks.barrier_leave(&self.completed, warp, lanes);
        } else {
            clocks.barrier_leave_relaxed(&self.completed, warp, lanes);
        }
    }

    /// The phase that a lane has polled in vain.
    pub fn polled(&self, warp: usize, lane: usize) -> Option<u64> {
        let of_lane = |entry: &&(usize, u32, u64)| entry.0 == warp && entry.1 >> lane & 1 != 0;
        self.polled.iter().find(of_lane).map(|(_, _, phase)| *phase)
    }

    /// A lane has polled a phase in vain.
    pub fn set_polled(&mut self, warp: usize, lane: usize, phase: u64) {
        if self.polled(warp, lane) == Some(phase) {
            return;
        }
        self.forget_polled(warp, 1 << lane);
        match self.polled.iter_mut().find(|(by, _, polled)| (*by, *polled) == (warp, phase)) {
            Some((_, lanes, _)) => *lanes |= 1 << lane,
            None => self.polled.push((warp, 1 << lane, phase)),
        }
    }

    /// What lanes have polled no longer matters: they have seen it complete, or gone on without.
    pub fn forget_polled(&mut self, warp: usize, lanes: u32) {
        if self.polled.is_empty() {
            return;
        }
        for (by, left, _) in &mut self.polled {
            *left &= if *by == warp { !lanes } else { u32::MAX };
        }
        self.polled.retain(|(_, left, _)| *left != 0);
    }

    /// The warps that wait for the current phase; for reports.
    pub fn waiting(&self) -> Vec<usize> {
        let current = self.polled.iter().filter(|(.., phase)| *phase == self.phase.number());
        let mut warps: Vec<usize> = current.map(|(by, ..)| *by).collect();
        warps.sort_unstable();
        warps.dedup();
        warps
    }
}
