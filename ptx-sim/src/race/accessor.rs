//! One warp's access as the judge of earlier ones.

use super::channel::Moment;
use super::clocks::{BlockClocks, Group};
use super::glance::Glance;
use super::sets::Entry;
use super::stamp::{Note, Stamp};
use super::sync::{Home, Reach};
use crate::memory::{ProxyAccess, Scope, Strength, WarpAccess, lanes_of};
use crate::program::{LANES, Pc};
use crate::violation::AccessKind;

/// One warp's access, with all that is needed to judge it.
pub(crate) struct Accessor<'a> {
    block: u32,
    warp: usize,
    clock: u32,
    ordered_before: u32,
    first_block: u32,
    groups: &'a [Group],
    home: Home,
    cluster_size: u32,
    /// Where it is asynchronous: when.
    moment: Option<Moment>,
    /// It is an operation of the asynchronous proxy.
    proxy: bool,
    /// The lanes of the warp wait for each other before they access memory (`stmatrix`).
    together: bool,
    pub(super) note: Note,
    /// Weak reads by a second block are all that is remembered of a granule's readers.
    pub(super) collapse_readers: bool,
    pub(super) glance: Glance,
}

/// What all lanes know to have happened before them: accesses of blocks with numbers below the first, and those of their
/// own block with clocks below the second.
#[inline(always)]
fn known_to_all(groups: &[Group], clocks: &BlockClocks) -> (u32, u32) {
    let known = |group: &Group| (group.knowledge.ordered_before(), group.knowledge.floor());
    let Some((first, others)) = groups.split_first() else {
        return (clocks.launch().ordered_before, 1);
    };
    others.iter().map(known).fold(known(first), |all, one| (all.0.min(one.0), all.1.min(one.1)))
}

impl<'a> Accessor<'a> {
    /// An access by a warp of a block. `collapse_readers`: blocks of the launch cannot synchronise with each other.
    #[inline]
    pub fn new(
        clocks: &'a BlockClocks,
        warp: usize,
        access: &WarpAccess<'_>,
        collapse_readers: bool,
    ) -> Self {
        let launch = clocks.launch();
        let groups = clocks.groups(warp);
        // Of all lanes: those that name the rows of matrices read them on behalf of the others.
        let (ordered_before, floor) = known_to_all(groups, clocks);
        let collapse_readers = collapse_readers && access.strength == Strength::Weak;
        let several_blocks = Stamp::several_blocks(launch.first_block).0;
        let glance = Glance {
            ordered: Stamp::of_block(ordered_before.max(1)),
            own: Stamp::of_block(clocks.block()),
            floor: Stamp::of_clock(floor),
            several_blocks: collapse_readers.then_some(several_blocks),
        };
        Self {
            block: clocks.block(),
            warp,
            clock: clocks.clock(warp),
            ordered_before,
            first_block: launch.first_block,
            groups,
            home: clocks.home(),
            cluster_size: launch.cluster_size.max(1),
            moment: access.moment,
            proxy: false,
            together: false,
            note: Note::new(access.pc, access.strength, access.kind),
            collapse_readers,
            glance,
        }
    }

    /// As an access for which the lanes of the warp wait for each other: what these have read before is read. (Of what they
    /// have written nothing is said.)
    pub fn together(self, together: bool) -> Self {
        Self { together, ..self }
    }

    /// An operation of the asynchronous proxy, judged by what the threads that issued it know.
    pub fn of_proxy(access: &ProxyAccess<'a>, writes: bool) -> Self {
        let clocks = access.clocks;
        let launch = clocks.launch();
        let kind = if writes { AccessKind::ProxyWrite } else { AccessKind::ProxyRead };
        let strength = if access.reduces { Strength::Strong(Scope::Gpu) } else { Strength::Weak };
        // Beyond earlier launches nothing is judged at a glance.
        let (ordered_before, _) = known_to_all(clocks.groups(access.warp), clocks);
        let ordered = Stamp::of_block(ordered_before.max(1));
        Self {
            block: clocks.block(),
            warp: access.warp,
            clock: clocks.clock(access.warp),
            ordered_before,
            first_block: launch.first_block,
            groups: clocks.groups(access.warp),
            home: clocks.home(),
            cluster_size: launch.cluster_size.max(1),
            moment: Some(access.moment),
            proxy: true,
            together: false,
            note: Note::new(access.pc, strength, kind),
            collapse_readers: false,
            glance: Glance { ordered, own: 0, floor: 0, several_blocks: None },
        }
    }

    /// A write by an asynchronous operation of the generic proxy.
    pub fn of_generic(access: &ProxyAccess<'a>) -> Self {
        let of_proxy = Self::of_proxy(access, true);
        let strength = if access.reduces { Strength::Strong(Scope::Gpu) } else { Strength::Weak };
        Self { proxy: false, note: Note::new(access.pc, strength, AccessKind::AsyncWrite), ..of_proxy }
    }

    pub(super) fn stamp(&self, lane: usize) -> Stamp {
        match self.moment {
            Some(moment) => moment.stamp(),
            None => Stamp::new(self.block, self.clock, self.warp, lane),
        }
    }

    /// This access to some bytes of a granule.
    pub(super) fn entry(&self, by: u32, bytes: u8) -> Entry {
        if let Some(moment) = self.moment {
            return Entry { stamp: moment.stamp(), lanes: 1, note: self.note, bytes, tag: 0, seen: 0 };
        }
        let lane = by.trailing_zeros() as usize % LANES;
        Entry { stamp: self.stamp(lane), lanes: by, note: self.note, bytes, tag: 0, seen: 0 }
    }

    /// The stamp of an asynchronous copy that a lane has issued.
    pub(super) fn pending(&self, lane: usize) -> Stamp {
        Stamp::pending(self.block, self.warp, lane)
    }

    /// The stamp of readers in several blocks.
    pub(super) fn several_blocks(&self) -> Stamp {
        Stamp::several_blocks(self.first_block)
    }

    /// Whether an earlier reader belongs to another block, to which nothing can order it.
    pub(super) fn is_foreign(&self, earlier: &Entry) -> bool {
        let stamp = earlier.stamp;
        stamp.block() >= self.ordered_before && (stamp.block() != self.block || stamp.is_several_blocks())
    }

    /// Whether this access reads the value of an earlier write of a granule, as strong operations do of each other.
    pub(super) fn observes(&self, earlier: &Entry) -> bool {
        matches!(self.note.kind(), AccessKind::Read | AccessKind::Atomic) && self.is_morally_strong(earlier)
    }

    fn is_morally_strong(&self, earlier: &Entry) -> bool {
        earlier.stamp.is_moment() && self.note.morally_strong(earlier.note, self.apart(earlier.stamp.block()))
    }

    /// How far a scope must reach to include a thread of a block.
    fn apart(&self, block: u32) -> Reach {
        if block == self.block {
            Reach::Block
        } else if (self.home.cluster..self.home.cluster + self.cluster_size).contains(&block) {
            Reach::Cluster
        } else {
            Reach::Device
        }
    }

    /// Whether a write by the generic proxy has to be seen through a proxy fence.
    fn needs_proxy_fence(&self, earlier: &Entry) -> bool {
        self.proxy
            && !matches!(
                earlier.note.kind(),
                AccessKind::Read | AccessKind::AsyncRead | AccessKind::ProxyRead | AccessKind::ProxyWrite
                    // The PTX ISA does not say whose the writes of a plain `cp.async` are, and libraries that work
                    // give them to `wgmma` without a fence.
                    | AccessKind::AsyncWrite
            )
    }

    /// Whether a stamp is ordered before all lanes, as far as can be seen at a glance.
    #[inline(always)]
    pub(super) fn surely_ordered(&self, stamp: u64) -> bool {
        self.glance.is_ordered(stamp)
    }

    /// Whether a stamp is nobody's, or of an earlier launch.
    #[inline(always)]
    pub(super) fn is_past(&self, stamp: u64) -> bool {
        stamp < self.glance.ordered
    }

    /// Whether an earlier access is ordered before this one by each of the lanes `by`, and seen by this one's proxy.
    pub(super) fn is_ordered(&self, earlier: &Entry, by: u32) -> bool {
        self.happened_before(earlier, by)
            && (!self.needs_proxy_fence(earlier) || self.is_past(earlier.stamp.0) || {
                let stamp = earlier.stamp;
                self.groups.iter().filter(|group| group.lanes & by != 0).all(|group| {
                    if stamp.block() < group.knowledge.ordered_before() {
                        return true;
                    }
                    group.knowledge.proxied().is_some_and(|known| {
                        known.knows_any(stamp.block(), stamp.warp(), stamp.clock(), earlier.lanes)
                    })
                })
            })
    }

    fn happened_before(&self, earlier: &Entry, by: u32) -> bool {
        self.is_known(earlier, by) || self.is_over(earlier, by)
    }

    /// Whether an earlier access is a read that is known to be over.
    fn is_over(&self, earlier: &Entry, by: u32) -> bool {
        let stamp = earlier.stamp;
        if earlier.note.kind() != AccessKind::Read || !stamp.is_moment() {
            return false;
        }
        let by_this_warp = stamp.block() == self.block && stamp.warp() == self.warp && !stamp.is_channel();
        self.together && by_this_warp
            || self.groups.iter().filter(|group| group.lanes & by != 0).all(|group| {
                let over = group.knowledge.over();
                over.is_some_and(|over| {
                    over.knows_any(stamp.block(), stamp.warp(), stamp.clock(), earlier.lanes)
                })
            })
    }

    fn is_known(&self, earlier: &Entry, by: u32) -> bool {
        let stamp = earlier.stamp;
        let block = stamp.block();
        if block < self.ordered_before {
            return true;
        }
        let moment = stamp.is_moment();
        let same_block = block == self.block;
        let (warp, clock) = (stamp.warp(), stamp.clock());
        let same_warp = same_block && warp == self.warp;
        self.groups.iter().filter(|group| group.lanes & by != 0).all(|Group { lanes, knowledge }| {
            if block < knowledge.ordered_before() || !moment {
                return block < knowledge.ordered_before();
            }
            // A lane knows its own accesses; but where several access, each must know those of the others.
            let by = lanes & by;
            let lanes = earlier.lanes & !if same_warp && by.is_power_of_two() { by } else { 0 };
            if same_block {
                knowledge.own().knows(warp, clock, lanes)
            } else {
                knowledge.knows_foreign(block, warp, clock, lanes)
            }
        })
    }

    /// Whether an earlier access is ordered before all lanes of the warp.
    pub(super) fn is_before_all(&self, earlier: &Entry) -> bool {
        self.is_ordered(earlier, u32::MAX)
    }

    /// Whether an access of any of an entry's lanes is ordered before this one by `lane`.
    pub(super) fn is_any_ordered(&self, earlier: &Entry, lane: usize) -> bool {
        lanes_of(earlier.lanes).any(|one| self.is_ordered(&earlier.of_lane(one), 1 << lane))
    }

    /// Whether an earlier access is a race with this one, unless something was observed in between.
    pub(super) fn conflicts(&self, earlier: &Entry, by: u32) -> bool {
        !self.is_ordered(earlier, by) && !self.is_morally_strong(earlier)
    }

    /// Whether a read, ordered before this access, need not be kept: whatever races with it races with this one.
    pub(super) fn supersedes_read(&self, earlier: &Entry) -> bool {
        self.note.replaces(earlier.note) && (self.note.is_weak() || earlier.stamp.block() == self.block)
    }

    /// Whether a write, before this one, need not be kept. Also drops the device-wide writes of other blocks before a
    /// strong write: else a counter would remember all that ever incremented it. An access that is strong within
    /// this block alone, and so races with those, does not race with this one; but it does with their next.
    pub(super) fn supersedes_write(&self, earlier: &Entry) -> bool {
        let same_block = earlier.stamp.block() == self.block;
        self.note.replaces(earlier.note)
            && (self.note.is_weak() || same_block || earlier.note.is_device_wide())
    }

    /// How a race of one lane with an earlier access is told.
    pub(super) fn conflict(&self, earlier: &Entry, lane: usize) -> Conflict {
        let stamp = earlier.stamp;
        let by_one = earlier.lanes.is_power_of_two() && !stamp.is_several_blocks();
        Conflict {
            lane,
            pending: stamp.is_pending() || stamp.is_channel(),
            unfenced: self.proxy && self.happened_before(earlier, 1 << lane),
            kind: earlier.note.kind(),
            block: (!stamp.is_several_blocks())
                .then(|| i64::from(stamp.block()) - i64::from(self.first_block)),
            same_block: stamp.block() == self.block,
            thread: (by_one && !stamp.is_channel()).then_some((stamp.warp(), stamp.lane())),
            pc: earlier.note.pc(),
        }
    }
}

/// An earlier access that another one conflicts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Conflict {
    /// The first lane of the later access.
    pub lane: usize,
    /// The earlier is an asynchronous operation whose completion has not been waited for.
    pub pending: bool,
    /// The earlier happened before, but its write is not seen by the asynchronous proxy.
    pub unfenced: bool,
    pub kind: AccessKind,
    /// The earlier one's block, counted from the first one of the launch; it may belong to another launch.
    pub block: Option<i64>,
    pub same_block: bool,
    /// Its warp and lane, where it was one.
    pub thread: Option<(usize, usize)>,
    pub pc: Option<Pc>,
}
