//! What one granule's accesses become when another one is added.

use super::accessor::Accessor;
use super::sets::{CAPACITY, Entry};
use crate::memory::lanes_of;

/// The accesses to one granule that later ones may conflict with, oldest first.
#[derive(Debug, Default)]
pub(super) struct Granule {
    pub writes: Vec<Entry>,
    pub reads: Vec<Entry>,
}

impl Granule {
    /// The first of the lanes `by` that races by accessing some bytes, and the earlier access that it races with.
    pub fn conflict(
        &self,
        accessor: &Accessor<'_>,
        bytes: u8,
        by: u32,
        writes: bool,
    ) -> Option<(usize, &Entry)> {
        lanes_of(by).find_map(|lane| {
            let by = 1 << lane;
            let races = |entry: &&Entry| entry.bytes & bytes != 0 && accessor.conflicts(entry, by);
            let write = self.writes.iter().filter(races).find(|write| !self.is_before(accessor, write, by));
            let earlier = write.or_else(|| self.reads.iter().filter(|_| writes).find(races))?;
            Some((lane, earlier))
        })
    }

    /// Whether a write is before this access by each of the lanes `by`: ordered, or its value was observed by an access
    /// that is.
    fn is_before(&self, accessor: &Accessor<'_>, write: &Entry, by: u32) -> bool {
        let observers =
            self.reads.iter().chain(&self.writes).filter(|entry| entry.seen >> write.tag & 1 != 0);
        lanes_of(by).all(|lane| {
            accessor.is_ordered(write, 1 << lane)
                || observers.clone().any(|observer| accessor.is_any_ordered(observer, lane))
        })
    }

    /// Adds a read.
    pub fn read(&mut self, accessor: &Accessor<'_>, mut new: Entry) {
        self.observe(accessor, &mut new);
        // What an earlier witness is known to have observed needs no other: a thread that polls adds no more of them.
        for witness in self.reads.iter().chain(&self.writes) {
            let mut lanes = lanes_of(new.lanes);
            if witness.seen & new.seen != 0 && lanes.all(|lane| accessor.is_any_ordered(witness, lane)) {
                new.seen &= !witness.seen;
            }
        }
        add_read(&mut self.reads, accessor, new);
    }

    /// Adds a write, or an atomic.
    pub fn write(&mut self, accessor: &Accessor<'_>, mut new: Entry) {
        self.observe(accessor, &mut new);
        // What is before the new write, and races with nothing that does not race with it, can go.
        let mut dropped = [(0u8, 0u32); CAPACITY];
        for (write, dropped) in self.writes.iter().zip(&mut dropped) {
            if write.bytes & new.bytes == 0 || !accessor.supersedes_write(write) {
                continue;
            }
            let before =
                |write: &Entry| new.seen >> write.tag & 1 != 0 || self.is_before(accessor, write, new.lanes);
            *dropped = if before(write) {
                (new.bytes, 0)
            } else {
                (
                    0,
                    lanes_of(write.lanes)
                        .filter(|lane| before(&write.of_lane(*lane)))
                        .fold(0, |m, lane| m | 1 << lane),
                )
            };
        }
        for (index, (bytes, lanes)) in dropped.into_iter().enumerate().take(self.writes.len()) {
            let write = &mut self.writes[index];
            if lanes != 0 && write.bytes & !new.bytes == 0 {
                let witness = Entry { bytes: 0, ..write.of_lanes(lanes) };
                *write = write.of_lanes(write.lanes & !lanes);
                self.writes.push(witness);
            } else {
                write.bytes &= !bytes;
            }
        }
        drop_reads(&mut self.reads, accessor, &new);
        self.forget(&mut new);
        while self.writes.len() >= CAPACITY {
            self.writes[0].bytes = 0;
            self.writes[0].seen = 0;
            self.forget(&mut new);
        }
        let taken = self.writes.iter().fold(0u32, |taken, write| taken | 1 << write.tag);
        new.tag = taken.trailing_ones() as u8;
        self.writes.push(new);
    }

    /// A strong read, or atomic, observes the last write of each byte, and with it what that one observed.
    fn observe(&self, accessor: &Accessor<'_>, new: &mut Entry) {
        if new.note.is_weak() {
            return;
        }
        let mut bytes = new.bytes;
        for last in self.writes.iter().rev() {
            if last.bytes & bytes != 0 && accessor.observes(last) {
                new.seen |= 1 << last.tag | last.seen;
            }
            bytes &= !last.bytes;
        }
    }

    /// Drops the writes of which no byte is left, unless they are witnesses of others. Their tags are then free.
    fn forget(&mut self, new: &mut Entry) {
        let left = self
            .writes
            .iter()
            .filter(|write| write.bytes != 0)
            .fold(0u32, |left, write| left | 1 << write.tag);
        self.writes.iter_mut().chain(&mut self.reads).chain([new]).for_each(|entry| entry.seen &= left);
        self.writes.retain(|write| write.bytes != 0 || write.seen != 0);
    }
}

/// Adds a read to the reads of a granule: it takes the place of those that it is ordered after.
pub(super) fn add_read(reads: &mut Vec<Entry>, accessor: &Accessor<'_>, new: Entry) {
    drop_reads(reads, accessor, &new);
    match reads.iter_mut().find(|read| read.joins(&new)) {
        Some(read) => read.join(&new),
        None => {
            if reads.len() == CAPACITY {
                reads.remove(0);
            }
            reads.push(new);
        }
    }
}

/// Drops the reads that need not be kept beside a new access. Those that observed a write are the only witnesses of
/// that, and stay as long as it does.
fn drop_reads(reads: &mut Vec<Entry>, accessor: &Accessor<'_>, new: &Entry) {
    reads.retain_mut(|read| {
        let overlap = read.seen == 0 && read.bytes & new.bytes != 0;
        if overlap && accessor.supersedes_read(read) && accessor.is_ordered(read, new.lanes) {
            read.bytes &= !new.bytes;
        }
        read.bytes != 0
    });
}
