//! The clocks of one block: what each of its threads knows to have happened before, and how that grows.

use std::sync::Arc;

use super::stamp::Stamp;
use super::sync::{BarrierClock, Reach, Release, SyncVariable};
use super::vector::Knowledge;
use crate::memory::Scope;
use crate::program::FenceOrder;
use crate::program::LANES;

/// Where a launch stands in the numbering of blocks over all launches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LaunchNumbers {
    /// The number of the launch's first block: at least 1.
    pub first_block: u32,
    /// Accesses of blocks with lower numbers happened before the launch.
    pub ordered_before: u32,
}

/// Lanes of a warp that know the same.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub lanes: u32,
    pub knowledge: Arc<Knowledge>,
}

/// A fence, whose later strong writes release what was before it.
#[derive(Clone, Debug)]
struct Fenced {
    lanes: u32,
    reach: Reach,
    /// What the lanes knew of others.
    knowledge: Arc<Knowledge>,
    /// The first clock of their own accesses that does not belong.
    clock: u32,
    /// Device-wide and sequentially consistent.
    sc: bool,
}

impl Fenced {
    /// What was before the fences of `lanes`.
    fn known_to(&self, warp: usize, lanes: u32) -> Knowledge {
        let mut knowledge = Knowledge::clone(&self.knowledge);
        knowledge.learn(warp, lanes, self.clock);
        knowledge
    }
}

/// What strong reads have seen, and a later fence acquires.
#[derive(Clone, Debug)]
struct Pending {
    lanes: u32,
    /// What the fence must reach.
    reach: Reach,
    /// The location.
    address: u64,
    knowledge: Arc<Knowledge>,
}

/// Pending acquires that a warp keeps apart by location.
const PENDING: usize = 64;

#[derive(Debug)]
struct WarpClock {
    /// Stamps the accesses of all lanes. Goes up whenever something is released, so that what comes later is not
    /// taken for released.
    clock: u32,
    /// Lanes that the block has no threads for.
    absent: u32,
    /// Lanes that run.
    live: u32,
    /// Parts of the live lanes. One, until some lanes acquire what others do not.
    groups: Vec<Group>,
    fenced: Vec<Fenced>,
    pending: Vec<Pending>,
}

impl WarpClock {
    fn tick(&mut self) {
        self.clock = (self.clock + 1).min(Stamp::MAX_CLOCK);
    }

    fn has_fenced(&self) -> bool {
        !self.fenced.is_empty() || self.groups.iter().any(|group| group.knowledge.fenced().is_some())
    }

    /// The groups with lanes of a mask, and these lanes.
    fn groups_of(&self, lanes: u32) -> impl Iterator<Item = (u32, &Group)> {
        let present = move |group: &Group| group.lanes & lanes != 0;
        self.groups.iter().filter(move |group| present(group)).map(move |group| (group.lanes & lanes, group))
    }

    /// What `lanes` know together, and their own accesses up to now: what a barrier releases.
    fn released(&self, warp: usize, lanes: u32) -> Option<Arc<Knowledge>> {
        let mut groups = self.groups_of(lanes);
        let mut sum = Arc::clone(&groups.next()?.1.knowledge);
        let known = Arc::make_mut(&mut sum);
        groups.for_each(|(_, group)| known.join(&group.knowledge));
        known.learn(warp, lanes | self.absent, self.clock + 1);
        for fenced in self.fenced.iter().filter(|fenced| fenced.sc && fenced.lanes & lanes != 0) {
            known.remember_fence(fenced.known_to(warp, fenced.lanes & lanes));
        }
        Some(sum)
    }

    /// Gives lanes a knowledge of their own.
    fn set(&mut self, lanes: u32, knowledge: Arc<Knowledge>) {
        for group in &mut self.groups {
            group.lanes &= !lanes;
        }
        self.groups.retain(|group| group.lanes != 0);
        self.groups.push(Group { lanes, knowledge });
    }

    /// What one lane knows, and its own accesses up to now.
    fn known_to(&self, warp: usize, lane: usize) -> Option<Arc<Knowledge>> {
        let (lanes, group) = self.groups_of(1 << lane).next()?;
        let mut knowledge = Arc::clone(&group.knowledge);
        Arc::make_mut(&mut knowledge).learn(warp, lanes, self.clock + 1);
        Some(knowledge)
    }

    /// A strong read has seen a release: a fence of at least `reach` is to acquire it.
    fn acquire_later(&mut self, lanes: u32, reach: Reach, address: u64, knowledge: &Arc<Knowledge>) {
        if self.groups_of(lanes).all(|(_, group)| group.knowledge.surely_covers(knowledge)) {
            return;
        }
        let crowded = self.pending.len() >= PENDING;
        let same = self.pending.iter_mut().find(|pending| {
            (pending.lanes, pending.reach) == (lanes, reach) && (crowded || pending.address == address)
        });
        match same {
            Some(pending) if Arc::ptr_eq(&pending.knowledge, knowledge) => {}
            Some(pending) => Arc::make_mut(&mut pending.knowledge).join(knowledge),
            None => self.pending.push(Pending { lanes, reach, address, knowledge: Arc::clone(knowledge) }),
        }
    }

    /// Acquires what strong reads of a location, or of all, have seen.
    fn acquire_pending(&mut self, lanes: u32, reach: Reach, address: Option<u64>) {
        for mut pending in std::mem::take(&mut self.pending) {
            let meant = pending.reach <= reach && address.is_none_or(|address| pending.address == address);
            if meant && pending.lanes & lanes != 0 {
                self.acquire(pending.lanes & lanes, &pending.knowledge);
                pending.lanes &= !lanes;
            }
            if pending.lanes != 0 {
                self.pending.push(pending);
            }
        }
    }

    fn acquire(&mut self, lanes: u32, knowledge: &Arc<Knowledge>) {
        let covered = |known: &Knowledge| known.surely_covers(knowledge);
        self.update(lanes, covered, |known| known.join(knowledge));
    }

    /// Adds to what lanes know, unless that is `covered`.
    fn update(
        &mut self,
        lanes: u32,
        covered: impl Fn(&Knowledge) -> bool,
        mut add: impl FnMut(&mut Knowledge),
    ) {
        for index in 0..self.groups.len() {
            let group = &mut self.groups[index];
            let taking = group.lanes & lanes;
            if taking == 0 || covered(&group.knowledge) {
                continue;
            }
            let mut joined = Arc::clone(&group.knowledge);
            add(Arc::make_mut(&mut joined));
            if taking == group.lanes {
                group.knowledge = joined;
            } else {
                group.lanes &= !taking;
                self.groups.push(Group { lanes: taking, knowledge: joined });
            }
        }
    }
}

/// The clocks of all warps of one block.
#[derive(Debug)]
pub(crate) struct BlockClocks {
    block: u32,
    launch: LaunchNumbers,
    warps: Vec<WarpClock>,
}

impl BlockClocks {
    /// For a block of `threads` threads. `block` is its number over all launches.
    pub fn new(block: u32, threads: usize, launch: LaunchNumbers) -> Self {
        let warps = threads.div_ceil(LANES);
        let knowledge = Arc::new(Knowledge::new(block, warps));
        let warps = (0..warps)
            .map(|warp| {
                let count = (threads - warp * LANES).min(LANES);
                let live = u32::MAX >> (LANES - count);
                let groups = vec![Group { lanes: live, knowledge: Arc::clone(&knowledge) }];
                WarpClock { clock: 1, absent: !live, live, groups, fenced: Vec::new(), pending: Vec::new() }
            })
            .collect();
        Self { block, launch, warps }
    }

    /// The block's number over all launches.
    pub fn block(&self) -> u32 {
        self.block
    }

    /// The numbers of its launch.
    pub fn launch(&self) -> LaunchNumbers {
        self.launch
    }

    pub(super) fn clock(&self, warp: usize) -> u32 {
        self.warps[warp].clock
    }

    pub(super) fn groups(&self, warp: usize) -> &[Group] {
        &self.warps[warp].groups
    }

    /// `bar.warp.sync` completed for `lanes`: each knows what all of them did and knew.
    pub fn sync_warp(&mut self, warp: usize, lanes: u32) {
        let clocks = &mut self.warps[warp];
        let lanes = lanes & clocks.live;
        if lanes == 0 {
            return;
        }
        if let [group] = &mut clocks.groups[..]
            && lanes == group.lanes
            && !clocks.fenced.iter().any(|fenced| fenced.sc)
        {
            let known = lanes | clocks.absent;
            Arc::make_mut(&mut group.knowledge).learn(warp, known, clocks.clock + 1);
        } else if let Some(joined) = clocks.released(warp, lanes) {
            clocks.set(lanes, joined);
        }
        clocks.tick();
    }

    /// Lanes arrive at a barrier of the block: what they did and know is released into its phase.
    pub fn barrier_arrive(&mut self, barrier: &mut BarrierClock, warp: usize, lanes: u32) {
        let clocks = &mut self.warps[warp];
        if let Some(released) = clocks.released(warp, lanes & clocks.live) {
            barrier.add(&released);
            clocks.tick();
        }
    }

    /// Lanes that waited at a barrier go on: they know all that was released into the phase that completed.
    pub fn barrier_leave(&mut self, barrier: &BarrierClock, warp: usize, lanes: u32) {
        let clocks = &mut self.warps[warp];
        let lanes = lanes & clocks.live;
        let Some(released) = barrier.released() else {
            return;
        };
        if lanes == 0 {
            return;
        }
        // Lanes that released into this phase know no more than it does, and all lanes that leave know the same.
        if clocks.groups_of(lanes).all(|(_, group)| released.surely_covers(&group.knowledge)) {
            clocks.set(lanes, Arc::clone(released));
        } else {
            clocks.acquire(lanes, released);
        }
    }

    /// A fence: acquires what earlier strong reads saw, and releases, through later strong writes, what is before it.
    ///
    /// A `fence.sc` also synchronizes with those that precede it in the Fence-SC order, whoever reads and writes in
    /// between. That is followed only where what was observed leaves no other order: no race hides behind the order in
    /// which fences happened to execute.
    pub fn fence(&mut self, warp: usize, lanes: u32, scope: Scope, order: FenceOrder) {
        let clocks = &mut self.warps[warp];
        let lanes = lanes & clocks.live;
        let reach = scope.into();
        let sc = order.sc && reach == Reach::Device;
        if order.acquire && !clocks.pending.is_empty() {
            clocks.acquire_pending(lanes, reach, None);
        }
        if sc {
            clocks.update(
                lanes,
                |known| known.observed().is_none_or(|observed| known.surely_covers(observed)),
                |known| {
                    if let Some(observed) = known.observed().cloned() {
                        known.join(&observed);
                    }
                },
            );
        }
        if order.release && lanes != 0 {
            for fenced in clocks.fenced.iter_mut().filter(|fenced| fenced.reach <= reach && sc >= fenced.sc) {
                fenced.lanes &= !lanes;
            }
            clocks.fenced.retain(|fenced| fenced.lanes != 0);
            let clock = clocks.clock + 1;
            let fenced: Vec<_> = clocks
                .groups_of(lanes)
                .map(|(lanes, group)| Fenced {
                    lanes,
                    reach,
                    knowledge: Arc::clone(&group.knowledge),
                    clock,
                    sc,
                })
                .collect();
            clocks.fenced.extend(fenced);
            clocks.tick();
        }
    }

    /// A strong read by lanes, of the value that a location has now: acquires what was released with it, at once where
    /// `acquire`, else at a later fence. Reductions do not count as reads.
    pub fn strong_read(
        &mut self,
        warp: usize,
        lanes: u32,
        variable: &SyncVariable,
        scope: Scope,
        acquire: bool,
    ) {
        let reach = Reach::from(scope);
        let clocks = &mut self.warps[warp];
        let lanes = lanes & clocks.live;
        for (needed, knowledge) in variable.acquirable(self.block, reach) {
            if acquire {
                clocks.acquire(lanes, knowledge);
            } else {
                clocks.acquire_later(lanes, needed, variable.address, knowledge);
            }
        }
        if acquire {
            clocks.acquire_pending(lanes, reach, Some(variable.address));
        }
        if let Some(fenced) = variable.fenced().filter(|_| reach == Reach::Device) {
            let covered =
                |known: &Knowledge| known.observed().is_some_and(|known| known.surely_covers(fenced));
            clocks.update(lanes, covered, |known| known.remember_observed(fenced));
        }
    }

    /// A strong write by lanes, one after another: releases what was before the last fence, and all that is before
    /// this operation where `release`.
    pub fn strong_write(
        &mut self,
        warp: usize,
        lanes: u32,
        variable: &mut SyncVariable,
        scope: Scope,
        release: bool,
        read_modify_write: bool,
    ) {
        let reach = Reach::from(scope);
        let clocks = &mut self.warps[warp];
        let mut lanes = lanes & clocks.live;
        if !clocks.has_fenced() && !release && variable.is_empty() {
            return;
        }
        while lanes != 0 {
            let lane = lanes.trailing_zeros() as usize;
            lanes &= lanes - 1;
            let thread = (self.block, warp, lane);
            let mut releases: Vec<Release> = variable
                .remembered(thread)
                .map(|earlier| Release {
                    reach: earlier.reach.min(reach),
                    knowledge: Arc::clone(&earlier.knowledge),
                })
                .collect();
            releases.extend(clocks.fenced.iter().filter(|fenced| fenced.lanes >> lane & 1 != 0).map(
                |fenced| {
                    let knowledge = Arc::new(fenced.known_to(warp, 1 << lane));
                    Release { reach: fenced.reach.min(reach), knowledge }
                },
            ));
            if release && let Some(knowledge) = clocks.known_to(warp, lane) {
                variable.remember(thread, Release { reach, knowledge: Arc::clone(&knowledge) });
                releases.push(Release { reach, knowledge });
            }
            variable.write(self.block, &releases, read_modify_write);
            if reach == Reach::Device && clocks.has_fenced() {
                for fenced in clocks.fenced.iter().filter(|fenced| fenced.sc && fenced.lanes >> lane & 1 != 0)
                {
                    variable.write_fenced(&Arc::new(fenced.known_to(warp, 1 << lane).without_fences()));
                }
                if let Some(known) =
                    clocks.groups_of(1 << lane).next().and_then(|(_, group)| group.knowledge.fenced())
                {
                    variable.write_fenced(known);
                }
            }
        }
        if release {
            clocks.tick();
        }
    }

    /// Whether lanes of a warp have executed a fence or know of one, so that their strong writes may release something.
    pub fn has_fenced(&self, warp: usize) -> bool {
        self.warps[warp].has_fenced()
    }

    /// Lanes have exited: nothing orders what they did after their last synchronisation.
    pub fn exit(&mut self, warp: usize, lanes: u32) {
        let clocks = &mut self.warps[warp];
        clocks.live &= !lanes;
        for group in &mut clocks.groups {
            group.lanes &= !lanes;
        }
        clocks.groups.retain(|group| group.lanes != 0);
    }
}
