//! Sets of accesses to one granule, where one access does not say it all: several unordered readers, several unordered
//! strong writers, accesses of several lanes at once, accesses to some of the granule's bytes.

use super::stamp::{Note, Stamp};

/// Accesses of a set at most.
pub(super) const CAPACITY: usize = 32;

/// One access of a set: of lanes of one warp, at one moment, by one instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Block, clock and warp. The lane is that of the first of `lanes`.
    pub stamp: Stamp,
    pub lanes: u32,
    pub note: Note,
    /// The bytes of the granule: one bit each. None where it is only kept for what it has seen.
    pub bytes: u8,
    /// The number of a write among those of its granule.
    pub tag: u8,
    /// The tags of the strong writes that this access observed: these are before all that comes after it (PTX ISA,
    /// "Causality Order").
    pub seen: u32,
}

impl Entry {
    /// An access of one lane to a whole granule, as it is kept without a set.
    pub fn single(stamp: Stamp, note: Note) -> Self {
        Self { stamp, lanes: 1 << stamp.lane(), note, bytes: 0b1111, tag: 0, seen: 0 }
    }

    /// The same access of other lanes.
    pub fn of_lanes(&self, lanes: u32) -> Self {
        Self { lanes, stamp: Stamp(self.stamp.0 & !31 | u64::from(lanes.trailing_zeros()) & 31), ..*self }
    }

    /// The part of one of its lanes.
    pub fn of_lane(&self, lane: usize) -> Self {
        self.of_lanes(1 << lane)
    }

    pub fn is_single(&self) -> bool {
        self.bytes == 0b1111 && self.lanes.is_power_of_two() && self.tag == 0 && self.seen == 0
    }

    /// Whether another is the same access by other lanes.
    pub fn joins(&self, other: &Self) -> bool {
        let key = |entry: &Self| (entry.stamp.0 >> 5, entry.note, entry.bytes, entry.seen);
        key(self) == key(other)
    }

    /// Adds the lanes of another that [`Self::joins`].
    pub fn join(&mut self, other: &Self) {
        *self = self.of_lanes(self.lanes | other.lanes);
    }
}

/// The state of a granule in one direction: nobody, one entry, or a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State {
    pub stamp: Stamp,
    pub note: Note,
}

impl State {
    pub const NOBODY: Self = Self { stamp: Stamp::NOBODY, note: Note(0) };
}

/// The sets of one shadow. Sets do not change: a new one is made instead, and those that nothing refers to any more
/// are dropped from time to time.
#[derive(Debug, Default)]
pub(super) struct Sets {
    entries: Vec<Entry>,
    spans: Vec<(u32, u32)>,
    /// For each set a stamp that is ordered at a glance only if all its accesses are, and none observed anything.
    newest: Vec<u64>,
    limit: usize,
}

impl Sets {
    const LEAST_LIMIT: usize = 1024;

    pub fn get(&self, id: usize) -> &[Entry] {
        let (start, end) = self.spans[id];
        &self.entries[start as usize..end as usize]
    }

    pub fn newest(&self, id: usize) -> u64 {
        self.newest[id]
    }

    fn add(&mut self, entries: &[Entry]) -> usize {
        let start = self.entries.len() as u32;
        self.entries.extend_from_slice(entries);
        self.spans.push((start, self.entries.len() as u32));
        let block = entries.first().map_or(0, |entry| entry.stamp.block());
        let plain =
            |entry: &Entry| entry.stamp.block() == block && entry.stamp.is_moment() && entry.seen == 0;
        let newest = entries.iter().map(|entry| entry.stamp.0).max();
        self.newest.push(newest.filter(|_| entries.iter().all(plain)).unwrap_or(u64::MAX));
        self.spans.len() - 1
    }

    /// A state that stands for these entries.
    pub fn state(&mut self, entries: &[Entry]) -> State {
        match entries {
            [] => State::NOBODY,
            [entry] if entry.is_single() => State { stamp: entry.stamp, note: entry.note },
            _ => State { stamp: Stamp::set(self.add(entries)), note: Note(0) },
        }
    }

    /// Whether it is time to [`Self::collect`].
    pub fn is_full(&self) -> bool {
        self.spans.len() >= self.limit.max(Self::LEAST_LIMIT)
    }

    /// Drops the sets that none of `states` refers to, and renumbers the others.
    pub fn collect<'a>(&mut self, states: impl Iterator<Item = &'a mut u64>) {
        let old = std::mem::take(self);
        let mut renamed = vec![u32::MAX; old.spans.len()];
        for state in states {
            let Some(id) = Stamp(*state).set_id() else {
                continue;
            };
            if renamed[id] == u32::MAX {
                renamed[id] = self.add(old.get(id)) as u32;
            }
            *state = Stamp::set(renamed[id] as usize).0;
        }
        self.limit = 2 * self.spans.len();
    }
}
