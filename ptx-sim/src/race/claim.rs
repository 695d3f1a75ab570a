//! Accesses by the asynchronous proxy: long ranges of granules, whose neighbours mostly have the same history.

use std::ops::Range;

use super::accessor::{Accessor, Conflict};
use super::sets::{Entry, State};
use super::shadow::{Direction, GRANULE, Shadow};
use crate::program::LANES;

/// What was found of one granule, which goes for the next with the same history.
#[derive(Clone, Copy, Debug)]
struct Found {
    write: State,
    read: State,
    /// The granule's reads from now on.
    reads: State,
    /// The write goes for those of other lanes at the same moment: all of them are ordered before.
    of_all_lanes: bool,
}

impl Found {
    fn is_of(&self, write: State, read: State) -> bool {
        let same_moment =
            || (self.write.stamp.0 ^ write.stamp.0) < LANES as u64 && self.write.note == write.note;
        self.read == read && (self.write == write || self.of_all_lanes && same_moment())
    }
}

impl Shadow {
    /// Judges and records an operation's access to bytes, by the lanes that issued it. On a conflict also gives the byte.
    pub fn claim(
        &mut self,
        accessor: &Accessor<'_>,
        bytes: Range<usize>,
        by: u32,
        writes: bool,
    ) -> Result<(), (usize, Conflict)> {
        self.claim_next(accessor, bytes, by, writes, &mut None)
    }

    /// The same for one of several ranges that an operation accesses: `found` is of the ones before it.
    fn claim_next(
        &mut self,
        accessor: &Accessor<'_>,
        bytes: Range<usize>,
        by: u32,
        writes: bool,
        found: &mut Option<Found>,
    ) -> Result<(), (usize, Conflict)> {
        let direction = if writes { Direction::Write } else { Direction::Read };
        // Granules at the ends of which only a part is accessed.
        let whole = bytes.start.next_multiple_of(GRANULE)..bytes.end / GRANULE * GRANULE;
        if whole.start > whole.end {
            return self.part(accessor, bytes, by, direction);
        }
        self.part(accessor, bytes.start..whole.start, by, direction)?;
        self.part(accessor, whole.end..bytes.end, by, direction)?;
        let bytes = whole;
        if !accessor.note.is_weak() {
            return bytes
                .step_by(GRANULE)
                .try_for_each(|offset| self.part(accessor, offset..offset + GRANULE, by, direction));
        }
        let own = self.alone(accessor.entry(by, 0b1111));
        for granule in bytes.start / GRANULE..bytes.end / GRANULE {
            let (write, read) = (self.write_state(granule), self.read_state(granule));
            if let Some(found) = found.filter(|found| found.is_of(write, read)) {
                if writes {
                    self.set_write(granule, own);
                }
                self.set_read(granule, found.reads);
                continue;
            }
            let offset = granule * GRANULE;
            self.part(accessor, offset..offset + GRANULE, by, direction)?;
            let by_warp = !writes && write.stamp.is_moment() && write.stamp.set_id().is_none();
            let of_all_lanes = by_warp && {
                let single = Entry::single(write.stamp, write.note);
                accessor.is_before_all(&Entry { lanes: u32::MAX, ..single })
            };
            *found = Some(Found { write, read, reads: self.read_state(granule), of_all_lanes });
        }
        Ok(())
    }

    /// The reads of many ranges, whole granules each, by one operation.
    pub fn claim_reads(
        &mut self,
        accessor: &Accessor<'_>,
        mut ranges: impl Iterator<Item = Range<usize>>,
        by: u32,
    ) -> Result<(), (usize, Conflict)> {
        let mut found = None;
        ranges.try_for_each(|range| self.claim_next(accessor, range, by, false, &mut found))
    }

    fn part(
        &mut self,
        accessor: &Accessor<'_>,
        bytes: Range<usize>,
        by: u32,
        direction: Direction,
    ) -> Result<(), (usize, Conflict)> {
        let offset = bytes.start;
        self.bytes(accessor, offset, bytes.len(), by, direction).map_err(|conflict| (offset, conflict))
    }
}
