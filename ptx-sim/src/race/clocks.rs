//! The clocks of one block: what each of its threads knows to have happened before, and how that grows.

use std::sync::Arc;

use super::channel::{Channels, Mark, Moment};
use super::stamp::Stamp;
use super::sync::{BarrierClock, Home, Reach, Release, SyncVariable};
use super::vector::Knowledge;
use crate::memory::Scope;
use crate::program::{FenceOrder, LANES};

/// Where a launch stands in the numbering of blocks over all launches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LaunchNumbers {
    /// The number of the launch's first block: at least 1.
    pub first_block: u32,
    /// Accesses of blocks with lower numbers happened before the launch.
    pub ordered_before: u32,
    /// Blocks of a cluster, which have consecutive numbers.
    pub cluster_size: u32,
}

impl LaunchNumbers {
    fn home(self, block: u32) -> Home {
        let size = self.cluster_size.max(1);
        let within = block.wrapping_sub(self.first_block);
        Home { block, cluster: block - within % size, in_cluster: size > 1 }
    }
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
    home: Home,
    launch: LaunchNumbers,
    warps: Vec<WarpClock>,
    channels: Channels,
    /// What threads knew that have exited, where other blocks of a cluster might access the block's shared memory.
    at_exit: Option<Arc<Knowledge>>,
}

impl BlockClocks {
    /// For a block of `threads` threads. `block` is its number over all launches.
    pub fn new(block: u32, threads: usize, launch: LaunchNumbers) -> Self {
        let warps = threads.div_ceil(LANES);
        let mut knowledge = Knowledge::new(block, warps);
        knowledge.learn_before(launch.ordered_before);
        let knowledge = Arc::new(knowledge);
        let warps = (0..warps)
            .map(|warp| {
                let count = (threads - warp * LANES).min(LANES);
                let live = u32::MAX >> (LANES - count);
                let groups = vec![Group { lanes: live, knowledge: Arc::clone(&knowledge) }];
                WarpClock { clock: 1, absent: !live, live, groups, fenced: Vec::new(), pending: Vec::new() }
            })
            .collect();
        Self { block, home: launch.home(block), launch, warps, channels: Channels::default(), at_exit: None }
    }

    /// The block's number over all launches.
    pub fn block(&self) -> u32 {
        self.block
    }

    /// The numbers of its launch.
    pub fn launch(&self) -> LaunchNumbers {
        self.launch
    }

    pub(super) fn home(&self) -> Home {
        self.home
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

    /// Lanes arrive at the barrier of a cluster without releasing what they did. Whoever leaves it knows that the block
    /// has started, and what was before the lanes' last fences.
    pub fn cluster_arrive_relaxed(&mut self, barrier: &mut BarrierClock, warp: usize, lanes: u32) {
        let mut released = Knowledge::new(self.block, self.warps.len());
        let fenced = self.warps[warp].fenced.iter();
        for fenced in fenced.filter(|fenced| fenced.lanes & lanes != 0 && fenced.reach >= Reach::Cluster) {
            released.join(&fenced.known_to(warp, fenced.lanes & lanes));
        }
        barrier.add(&Arc::new(released));
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
        let own = released.block() == self.block;
        if own && clocks.groups_of(lanes).all(|(_, group)| released.surely_covers(&group.knowledge)) {
            clocks.set(lanes, Arc::clone(released));
        } else {
            clocks.acquire(lanes, released);
        }
    }

    /// The same where the arrival itself releases nothing: what was before the lanes' last fences is released.
    pub fn barrier_arrive_relaxed(&mut self, barrier: &mut BarrierClock, warp: usize, lanes: u32) {
        for fenced in self.warps[warp].fenced.iter().filter(|fenced| fenced.lanes & lanes != 0) {
            barrier.add(&Arc::new(fenced.known_to(warp, fenced.lanes & lanes)));
        }
    }

    /// The same where the wait itself acquires nothing: a later fence of the lanes does.
    pub fn barrier_leave_relaxed(&mut self, barrier: &BarrierClock, warp: usize, lanes: u32) {
        // No location has this address.
        const NOWHERE: u64 = u64::MAX;
        let clocks = &mut self.warps[warp];
        let lanes = lanes & clocks.live;
        if let Some(released) = barrier.released().filter(|_| lanes != 0) {
            clocks.acquire_later(lanes, Reach::Block, NOWHERE, released);
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
        for (needed, knowledge) in variable.acquirable(self.home, reach) {
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
            variable.write(self.home, &releases, read_modify_write);
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

    /// An operation of the asynchronous proxy begins, in a channel of its own or, where several are sure to complete in
    /// the order of their issue, in the channel of an earlier one.
    pub fn begin_async(&mut self, after: Option<Moment>) -> Moment {
        self.channels.begin(self.block, after)
    }

    /// An operation in a channel of its own has completed: the channel is free for another.
    pub fn end_async(&mut self, moment: Moment) {
        self.channels.end(moment);
    }

    /// Lanes have waited for an operation: they know that it, and those before it in its channel, have happened.
    pub fn learn_async(&mut self, warp: usize, lanes: u32, moment: Moment) {
        let learned = Knowledge::of_moment(moment);
        let clocks = &mut self.warps[warp];
        let lanes = lanes & clocks.live;
        clocks.update(lanes, |known| known.knows_moment(moment), |known| known.join(&learned));
    }

    /// Whether any thread of the block has learned of an operation.
    pub fn has_learned(&self, moment: Moment) -> bool {
        let mut groups = self.warps.iter().flat_map(|clocks| &clocks.groups);
        groups.any(|group| group.knowledge.knows_moment(moment))
    }

    /// Lanes issue their part of an operation that several warps issue together (`wgmma`).
    pub fn issue_together(&mut self, issued: &mut BarrierClock, warp: usize, lanes: u32) {
        self.barrier_arrive(issued, warp, lanes);
    }

    /// Lanes have waited for operations that several warps issued together. They cannot have been complete before all had
    /// issued them, so what these had read until then is read. (Of what they had written nothing is said.)
    pub fn learn_reads(&mut self, warp: usize, lanes: u32, issued: &BarrierClock) {
        let Some(reads) = issued.released() else { return };
        let clocks = &mut self.warps[warp];
        let lanes = lanes & clocks.live;
        let covered = |known: &Knowledge| known.over().is_some_and(|known| known.surely_covers(reads));
        clocks.update(lanes, covered, |known| known.remember_over(reads));
    }

    /// An access that a lane makes now by ordinary instructions.
    pub fn mark(&self, warp: usize, lane: usize) -> Mark {
        Mark { block: self.block, warp, lane, clock: self.clock(warp) }
    }

    /// Whether an access is ordered before what any of the lanes does now.
    pub fn knows(&self, warp: usize, lanes: u32, mark: Mark) -> bool {
        self.warps[warp].groups_of(lanes).all(|(lanes, group)| {
            let own = (mark.block, mark.warp) == (self.block, warp) && lanes == 1 << mark.lane;
            own || mark.block < group.knowledge.ordered_before() || mark.is_known(&group.knowledge)
        })
    }

    /// Whether a proxy fence lies between an access and what any of the lanes does now.
    pub fn knows_proxied(&self, warp: usize, lanes: u32, mark: Mark) -> bool {
        self.warps[warp].groups_of(lanes).all(|(_, group)| {
            mark.block < group.knowledge.ordered_before()
                || group.knowledge.proxied().is_some_and(|known| mark.is_known(known))
        })
    }

    /// Lanes know that all that blocks with numbers below `block` did has happened, and is there for all to see.
    pub fn learn_before(&mut self, warp: usize, lanes: u32, block: u32) {
        let clocks = &mut self.warps[warp];
        let lanes = lanes & clocks.live;
        clocks.update(lanes, |known| known.ordered_before() >= block, |known| known.learn_before(block));
    }

    /// The same for all threads of a block that starts.
    pub fn start_after(&mut self, block: u32) {
        (0..self.warps.len()).for_each(|warp| self.learn_before(warp, u32::MAX, block));
    }

    /// What any of the lanes knows to have happened: all that blocks with numbers below this one did.
    pub fn ordered_before(&self, warp: usize, lanes: u32) -> u32 {
        let known = self.warps[warp].groups_of(lanes).map(|(_, group)| group.knowledge.ordered_before());
        known.max().unwrap_or(self.launch.ordered_before)
    }

    /// Whether any of the lanes knows that a block has done something.
    pub fn knows_block(&self, warp: usize, lanes: u32, block: u32) -> bool {
        self.warps[warp].groups_of(lanes).any(|(_, group)| group.knowledge.knows_of(block))
    }

    /// `fence.proxy.async`: what the lanes know to have happened in the generic proxy, the asynchronous one sees.
    pub fn proxy_fence(&mut self, warp: usize, lanes: u32) {
        let clocks = &mut self.warps[warp];
        let lanes = lanes & clocks.live;
        let clock = clocks.clock + 1;
        clocks.update(
            lanes,
            |_| false,
            |known| {
                let mut seen = known.clone();
                seen.learn(warp, lanes, clock);
                known.remember_proxy_fence(seen);
            },
        );
        clocks.tick();
    }

    /// Whether lanes of a warp have executed a fence or know of one, so that their strong writes may release something.
    pub fn has_fenced(&self, warp: usize) -> bool {
        self.warps[warp].has_fenced()
    }

    /// Lanes have exited: nothing orders what they did after their last synchronisation.
    pub fn exit(&mut self, warp: usize, lanes: u32) {
        let clocks = &mut self.warps[warp];
        if self.launch.cluster_size > 1 {
            clocks
                .groups_of(lanes)
                .for_each(|(_, group)| super::sync::add(&mut self.at_exit, &group.knowledge));
        }
        clocks.live &= !lanes;
        for group in &mut clocks.groups {
            group.lanes &= !lanes;
        }
        clocks.groups.retain(|group| group.lanes != 0);
    }

    /// Whether a thread that has exited knew of an access.
    pub(super) fn knew_at_exit(&self, mark: Mark) -> bool {
        self.at_exit.as_ref().is_some_and(|known| mark.is_known(known))
    }
}
