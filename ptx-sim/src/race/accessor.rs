//! One warp's access as the judge of earlier ones.

use super::clocks::{BlockClocks, Group};
use super::glance::Glance;
use super::sets::Entry;
use super::stamp::{Note, Stamp};
use crate::memory::{Strength, WarpAccess, lanes_of};
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
    pub(super) note: Note,
    /// Weak reads by a second block are all that is remembered of a granule's readers.
    pub(super) collapse_readers: bool,
    pub(super) glance: Glance,
}

impl<'a> Accessor<'a> {
    /// An access by a warp of a block. `collapse_readers`: blocks of the launch cannot synchronise with each other.
    pub fn new(
        clocks: &'a BlockClocks,
        warp: usize,
        access: &WarpAccess<'_>,
        collapse_readers: bool,
    ) -> Self {
        let launch = clocks.launch();
        let groups = clocks.groups(warp);
        // Of all lanes: those that name the rows of matrices read them on behalf of the others.
        let floor = groups.iter().map(|group| group.knowledge.floor()).min().unwrap_or(1);
        let collapse_readers = collapse_readers && access.strength == Strength::Weak;
        let several_blocks = Stamp::several_blocks(launch.first_block).0;
        let glance = Glance {
            ordered: Stamp::of_block(launch.ordered_before.max(1)),
            own: Stamp::of_block(clocks.block()),
            floor: Stamp::of_clock(floor),
            several_blocks: collapse_readers.then_some(several_blocks),
        };
        Self {
            block: clocks.block(),
            warp,
            clock: clocks.clock(warp),
            ordered_before: launch.ordered_before,
            first_block: launch.first_block,
            groups,
            note: Note::new(access.pc, access.strength, access.kind),
            collapse_readers,
            glance,
        }
    }

    pub(super) fn stamp(&self, lane: usize) -> Stamp {
        Stamp::new(self.block, self.clock, self.warp, lane)
    }

    /// This access to some bytes of a granule.
    pub(super) fn entry(&self, by: u32, bytes: u8) -> Entry {
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
        earlier.stamp.is_moment()
            && self.note.morally_strong(earlier.note, earlier.stamp.block() == self.block)
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

    /// Whether an earlier access is ordered before this one by each of the lanes `by`.
    pub(super) fn is_ordered(&self, earlier: &Entry, by: u32) -> bool {
        let stamp = earlier.stamp;
        let block = stamp.block();
        if block < self.ordered_before {
            return true;
        }
        if !stamp.is_moment() {
            return false;
        }
        let same_block = block == self.block;
        let (warp, clock) = (stamp.warp(), stamp.clock());
        let same_warp = same_block && warp == self.warp;
        self.groups.iter().filter(|group| group.lanes & by != 0).all(|Group { lanes, knowledge }| {
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
            pending: stamp.is_pending(),
            kind: earlier.note.kind(),
            block: (!stamp.is_several_blocks() && stamp.block() >= self.first_block)
                .then(|| u64::from(stamp.block() - self.first_block)),
            same_block: stamp.block() == self.block,
            thread: by_one.then_some((stamp.warp(), stamp.lane())),
            pc: earlier.note.pc(),
        }
    }
}

/// An earlier access that another one conflicts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Conflict {
    /// The first lane of the later access.
    pub lane: usize,
    /// The earlier is an asynchronous copy that has not completed.
    pub pending: bool,
    pub kind: AccessKind,
    /// The earlier one's block within the launch.
    pub block: Option<u64>,
    pub same_block: bool,
    /// Its warp and lane, where it was one.
    pub thread: Option<(usize, usize)>,
    pub pc: Option<Pc>,
}
