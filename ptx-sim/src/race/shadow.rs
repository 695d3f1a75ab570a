//! The accesses to one memory, or to one page of it, that later ones may conflict with.

use std::ops::Range;

use super::accessor::{Accessor, Conflict};
use super::glance::{are_words_plain, claim_reads, claim_writes};
use super::granule::{Granule, add_read};
use super::sets::{Entry, Sets, State};
use super::stamp::{Note, Stamp};
use crate::memory::{for_lanes, lanes_of};
use crate::program::LANES;

/// Bytes of a granule: what one stamp covers.
pub(crate) const GRANULE: usize = 4;

/// Sets of which a read is remembered.
const KNOWN: usize = 16;

/// Whether an access reads or writes. An atomic writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Read,
    Write,
}

/// What a transition made of a granule, to be made again of its neighbours.
#[derive(Clone, Copy, Debug)]
struct Made {
    from: State,
    new: Entry,
    to: State,
}

/// For each granule who last wrote and who read it since, as [`Stamp`]s and [`Note`]s in tables of their own.
#[derive(Debug)]
pub(crate) struct Shadow {
    writes: Box<[u64]>,
    reads: Box<[u64]>,
    write_notes: Box<[u32]>,
    read_notes: Box<[u32]>,
    sets: Sets,
    scratch: Granule,
    /// The last set that the present access found no conflict with, and the lanes.
    passed: Option<(Stamp, u32)>,
    made: Option<Made>,
    /// Whether the last state that was looked at is settled.
    settled: Option<(Stamp, bool)>,
    /// The state that stands for the present access alone.
    alone: Option<(Entry, State)>,
    /// Sets, and a read that each includes.
    known: [(u64, Stamp, u32); KNOWN],
}

impl Shadow {
    /// For so many bytes that nobody has accessed.
    pub fn new(bytes: usize) -> Self {
        let granules = bytes.div_ceil(GRANULE);
        Self {
            writes: vec![0; granules].into(),
            reads: vec![0; granules].into(),
            write_notes: vec![0; granules].into(),
            read_notes: vec![0; granules].into(),
            sets: Sets::default(),
            scratch: Granule::default(),
            passed: None,
            made: None,
            settled: None,
            alone: None,
            known: [(0, Stamp::NOBODY, 0); KNOWN],
        }
    }

    /// Forgets all accesses.
    pub fn reset(&mut self) {
        self.writes.fill(0);
        self.reads.fill(0);
        self.sets = Sets::default();
        self.known = [(0, Stamp::NOBODY, 0); KNOWN];
        self.start_access();
    }

    /// To be called before each warp access.
    pub fn start_access(&mut self) {
        self.passed = None;
        self.made = None;
        self.settled = None;
        self.alone = None;
        if self.sets.is_full() {
            self.known = [(0, Stamp::NOBODY, 0); KNOWN];
            self.sets.collect(self.writes.iter_mut().chain(self.reads.iter_mut()));
        }
    }

    /// A read by consecutive lanes, each of `size` bytes, one after another from `offset`.
    pub fn read_lanes(
        &mut self,
        accessor: &Accessor<'_>,
        offset: usize,
        size: usize,
        lanes: Range<usize>,
    ) -> Result<(), Conflict> {
        let done = is_whole(accessor, offset, size)
            && self.read_run(
                accessor,
                granules(offset, size * lanes.len()),
                (size / GRANULE).ilog2(),
                &lanes,
            );
        if done { Ok(()) } else { self.each_lane(accessor, offset, size, lanes, Direction::Read) }
    }

    /// A write by consecutive lanes.
    pub fn write_lanes(
        &mut self,
        accessor: &Accessor<'_>,
        offset: usize,
        size: usize,
        lanes: Range<usize>,
    ) -> Result<(), Conflict> {
        let done = is_whole(accessor, offset, size)
            && self.write_run(
                accessor,
                granules(offset, size * lanes.len()),
                (size / GRANULE).ilog2(),
                &lanes,
            );
        if done { Ok(()) } else { self.each_lane(accessor, offset, size, lanes, Direction::Write) }
    }

    /// A read of the same bytes by all lanes of a mask.
    pub fn read_same(
        &mut self,
        accessor: &Accessor<'_>,
        offset: usize,
        size: usize,
        by: u32,
    ) -> Result<(), Conflict> {
        if !offset.is_multiple_of(GRANULE) || !size.is_multiple_of(GRANULE) || !accessor.note.is_weak() {
            return self.bytes(accessor, offset, size, by, Direction::Read);
        }
        let state = self.alone(accessor.entry(by, 0b1111));
        for granule in offset / GRANULE..(offset + size) / GRANULE {
            let (write, read) = (self.writes[granule], self.reads[granule]);
            if !self.is_ordered(accessor, write) {
                self.bytes(accessor, granule * GRANULE, GRANULE, by, Direction::Read)?;
            } else if self.is_settled(accessor, read) {
                self.set_read(granule, state);
            } else if !self.has_read(accessor, by, read) {
                self.bytes(accessor, granule * GRANULE, GRANULE, by, Direction::Read)?;
            }
        }
        Ok(())
    }

    /// A write of the same values to the same bytes by all lanes of a mask; or the atomics of several lanes.
    pub fn write_same(
        &mut self,
        accessor: &Accessor<'_>,
        offset: usize,
        size: usize,
        by: u32,
    ) -> Result<(), Conflict> {
        self.bytes(accessor, offset, size, by, Direction::Write)
    }

    /// The common case of a weak read: all granules written before, and no reader that must be kept. Each lane reads
    /// `2^shift` granules.
    fn read_run(
        &mut self,
        accessor: &Accessor<'_>,
        granules: Range<usize>,
        shift: u32,
        lanes: &Range<usize>,
    ) -> bool {
        let first = accessor.stamp(lanes.start).0;
        let writes = &self.writes[granules.clone()];
        let reads = &mut self.reads[granules.clone()];
        let mut plain = claim_reads(accessor.glance, writes, reads, first, shift);
        if !plain && self.all_settled(accessor, granules.clone(), first, shift) {
            stamp_lanes(&mut self.reads[granules.clone()], first, shift);
            plain = true;
        }
        if plain {
            self.read_notes[granules].fill(accessor.note.0);
        }
        plain
    }

    /// The common case of a weak write: all earlier accesses were before it.
    fn write_run(
        &mut self,
        accessor: &Accessor<'_>,
        granules: Range<usize>,
        shift: u32,
        lanes: &Range<usize>,
    ) -> bool {
        let first = accessor.stamp(lanes.start).0;
        let writes = &mut self.writes[granules.clone()];
        let reads = &mut self.reads[granules.clone()];
        let mut plain = claim_writes(accessor.glance, writes, reads, first, shift);
        if !plain && self.all_settled(accessor, granules.clone(), first, shift) {
            stamp_lanes(&mut self.writes[granules.clone()], first, shift);
            self.reads[granules.clone()].fill(0);
            plain = true;
        }
        if plain {
            self.write_notes[granules].fill(accessor.note.0);
        }
        plain
    }

    /// Weak reads by lanes of a granule each, no two of the same; the granules of other lanes are of no account. False
    /// where they have to be judged one by one: then nothing has been changed.
    pub fn read_words(&mut self, accessor: &Accessor<'_>, granules: &[u32; LANES], mask: u32) -> bool {
        if !self.all_words_settled(accessor, granules, mask) {
            return false;
        }
        let (first, note) = (accessor.stamp(0).0, accessor.note.0);
        let (reads, notes) = (&mut self.reads[..], &mut self.read_notes[..]);
        for_lanes(mask, |lane| {
            let granule = granules[lane] as usize;
            reads[granule] = first + lane as u64;
            notes[granule] = note;
        });
        true
    }

    /// The same for weak writes.
    pub fn write_words(&mut self, accessor: &Accessor<'_>, granules: &[u32; LANES], mask: u32) -> bool {
        if !self.all_words_settled(accessor, granules, mask) {
            return false;
        }
        let (first, note) = (accessor.stamp(0).0, accessor.note.0);
        for_lanes(mask, |lane| {
            let granule = granules[lane] as usize;
            self.writes[granule] = first + lane as u64;
            self.reads[granule] = 0;
            self.write_notes[granule] = note;
        });
        true
    }

    fn all_words_settled(&mut self, accessor: &Accessor<'_>, granules: &[u32; LANES], mask: u32) -> bool {
        let first = accessor.stamp(0).0;
        are_words_plain(accessor.glance, &self.writes, &self.reads, granules, mask, first)
            || lanes_of(mask).all(|lane| {
                let granule = granules[lane] as usize;
                self.all_settled(accessor, granule..granule + 1, first + lane as u64, 0)
            })
    }

    /// The same at a second glance: all earlier accesses of a run are ordered before all lanes, or are the lane's own.
    fn all_settled(
        &mut self,
        accessor: &Accessor<'_>,
        mut granules: Range<usize>,
        first: u64,
        shift: u32,
    ) -> bool {
        let start = granules.start;
        granules.all(|granule| {
            let own = first + ((granule - start) >> shift) as u64;
            let (write, read) = (self.writes[granule], self.reads[granule]);
            (write == own || self.is_settled(accessor, write))
                && (read == own || self.is_settled(accessor, read))
        })
    }

    /// Whether the reads of a state include the same read by another instruction: then nothing is new. Warps that read
    /// a tile together do so again and again.
    fn has_read(&mut self, accessor: &Accessor<'_>, by: u32, stamp: u64) -> bool {
        let Some(id) = Stamp(stamp).set_id() else {
            return false;
        };
        let new = accessor.entry(by, 0b1111);
        let place = &mut self.known[id % KNOWN];
        if *place == (stamp, new.stamp, by) {
            return true;
        }
        let same = |read: &Entry| {
            let moment = (read.stamp.0 ^ new.stamp.0) & !31 == 0;
            moment && read.note.is_weak() && read.lanes & by == by && read.bytes == 0b1111 && read.seen == 0
        };
        let known = self.sets.get(id).iter().any(same);
        if known {
            *place = (stamp, new.stamp, by);
        }
        known
    }

    /// Whether all accesses of a state are ordered before all lanes, as far as can be seen at a glance.
    #[inline]
    fn is_ordered(&self, accessor: &Accessor<'_>, stamp: u64) -> bool {
        let in_set = || Stamp(stamp).set_id().is_some_and(|id| accessor.surely_ordered(self.sets.newest(id)));
        accessor.surely_ordered(stamp) || in_set()
    }

    /// Whether all accesses of a state are ordered before all lanes, so that a weak access may take their place.
    #[inline]
    fn is_settled(&mut self, accessor: &Accessor<'_>, stamp: u64) -> bool {
        if self.is_ordered(accessor, stamp) {
            return true;
        }
        if let Some((known, settled)) = self.settled
            && known.0 == stamp
        {
            return settled;
        }
        let stamp = Stamp(stamp);
        let settled = match stamp.set_id() {
            Some(id) => {
                self.sets.get(id).iter().all(|entry| entry.seen == 0 && accessor.is_before_all(entry))
            }
            // Whether it was a read is not known here, and must not matter.
            None => accessor.is_before_all(&Entry::single(stamp, Note::of_write())),
        };
        self.settled = Some((stamp, settled));
        settled
    }

    fn each_lane(
        &mut self,
        accessor: &Accessor<'_>,
        offset: usize,
        size: usize,
        lanes: Range<usize>,
        direction: Direction,
    ) -> Result<(), Conflict> {
        let first = lanes.start;
        lanes.into_iter().try_for_each(|lane| {
            self.bytes(accessor, offset + (lane - first) * size, size, 1 << lane, direction)
        })
    }

    pub(super) fn bytes(
        &mut self,
        accessor: &Accessor<'_>,
        offset: usize,
        size: usize,
        by: u32,
        direction: Direction,
    ) -> Result<(), Conflict> {
        let end = offset + size;
        for granule in offset / GRANULE..end.div_ceil(GRANULE) {
            let start = granule * GRANULE;
            let (from, to) = (offset.max(start) - start, end.min(start + GRANULE) - start);
            let bytes = (0b1111 << from & !(0b1111 << to)) as u8;
            let mut passes = self.passes(accessor, bytes, by, self.write_state(granule));
            if direction == Direction::Write {
                passes = passes && self.passes(accessor, bytes, by, self.read_state(granule));
            }
            if !passes {
                self.judge(accessor, granule, bytes, by, direction)?;
            }
            let new = accessor.entry(by, bytes);
            match direction {
                Direction::Read => self.record_read(accessor, granule, new),
                Direction::Write => self.record_write(accessor, granule, new),
            }
        }
        Ok(())
    }

    pub(super) fn write_state(&self, granule: usize) -> State {
        State { stamp: Stamp(self.writes[granule]), note: Note(self.write_notes[granule]) }
    }

    pub(super) fn read_state(&self, granule: usize) -> State {
        State { stamp: Stamp(self.reads[granule]), note: Note(self.read_notes[granule]) }
    }

    pub(super) fn set_write(&mut self, granule: usize, state: State) {
        self.writes[granule] = state.stamp.0;
        self.write_notes[granule] = state.note.0;
    }

    pub(super) fn set_read(&mut self, granule: usize, state: State) {
        self.reads[granule] = state.stamp.0;
        self.read_notes[granule] = state.note.0;
    }

    /// Whether no access of a state races with this one, as far as can be seen without looking at what was observed.
    fn passes(&mut self, accessor: &Accessor<'_>, bytes: u8, by: u32, state: State) -> bool {
        if accessor.surely_ordered(state.stamp.0) {
            return true;
        }
        let Some(id) = state.stamp.set_id() else {
            return !accessor.conflicts(&Entry::single(state.stamp, state.note), by);
        };
        if self.passed == Some((state.stamp, by)) {
            return true;
        }
        let mut overlapping = self.sets.get(id).iter().filter(|entry| entry.bytes & bytes != 0);
        let passes = !overlapping.any(|entry| accessor.conflicts(entry, by));
        if passes && bytes == 0b1111 {
            self.passed = Some((state.stamp, by));
        }
        passes
    }

    fn judge(
        &mut self,
        accessor: &Accessor<'_>,
        granule: usize,
        bytes: u8,
        by: u32,
        direction: Direction,
    ) -> Result<(), Conflict> {
        let entries = self.take(granule);
        let conflict = entries.conflict(accessor, bytes, by, direction == Direction::Write);
        let conflict = conflict.map(|(lane, earlier)| accessor.conflict(earlier, lane));
        self.scratch = entries;
        conflict.map_or(Ok(()), Err)
    }

    fn record_read(&mut self, accessor: &Accessor<'_>, granule: usize, new: Entry) {
        if !new.note.is_weak() {
            return self.record(granule, |entries| entries.read(accessor, new));
        }
        let old = self.read_state(granule);
        let state = if accessor.collapse_readers && self.read_by_another_block(accessor, old) {
            State { stamp: accessor.several_blocks(), note: new.note }
        } else if accessor.is_past(old.stamp.0) || new.bytes == 0b1111 && accessor.surely_ordered(old.stamp.0)
        {
            self.alone(new)
        } else {
            self.add_read(accessor, old, new)
        };
        self.set_read(granule, state);
    }

    fn read_by_another_block(&self, accessor: &Accessor<'_>, state: State) -> bool {
        if accessor.surely_ordered(state.stamp.0) {
            return false;
        }
        match state.stamp.set_id() {
            None => accessor.is_foreign(&Entry::single(state.stamp, state.note)),
            Some(id) => self.sets.get(id).iter().any(|entry| accessor.is_foreign(entry)),
        }
    }

    fn record_write(&mut self, accessor: &Accessor<'_>, granule: usize, new: Entry) {
        if !new.note.is_weak() || new.bytes != 0b1111 {
            return self.record(granule, |entries| entries.write(accessor, new));
        }
        // All earlier accesses are before this write: whatever races with them races with it.
        let state = self.alone(new);
        self.set_write(granule, state);
        self.set_read(granule, State::NOBODY);
    }

    /// Changes what is kept of a granule.
    fn record(&mut self, granule: usize, change: impl FnOnce(&mut Granule)) {
        let mut entries = self.take(granule);
        change(&mut entries);
        let (writes, reads) = (self.sets.state(&entries.writes), self.sets.state(&entries.reads));
        self.scratch = entries;
        self.set_write(granule, writes);
        self.set_read(granule, reads);
    }

    fn take(&mut self, granule: usize) -> Granule {
        let mut entries = std::mem::take(&mut self.scratch);
        self.entries(self.write_state(granule), &mut entries.writes);
        self.entries(self.read_state(granule), &mut entries.reads);
        entries
    }

    fn entries(&self, state: State, list: &mut Vec<Entry>) {
        list.clear();
        match state.stamp.set_id() {
            Some(id) => list.extend_from_slice(self.sets.get(id)),
            None if state.stamp == Stamp::NOBODY => {}
            None => list.push(Entry::single(state.stamp, state.note)),
        }
    }

    /// The state that stands for one access.
    pub(super) fn alone(&mut self, new: Entry) -> State {
        if new.is_single() {
            return State { stamp: new.stamp, note: new.note };
        }
        match self.alone {
            Some((entry, state)) if entry == new => state,
            _ => {
                let state = self.sets.state(&[new]);
                self.alone = Some((new, state));
                state
            }
        }
    }

    /// The reads of a state and a weak one more.
    fn add_read(&mut self, accessor: &Accessor<'_>, from: State, new: Entry) -> State {
        if let Some(made) = self.made
            && made.from == from
            && made.new == new
        {
            return made.to;
        }
        let mut reads = std::mem::take(&mut self.scratch.reads);
        self.entries(from, &mut reads);
        add_read(&mut reads, accessor, new);
        let to = if reads == [new] { self.alone(new) } else { self.sets.state(&reads) };
        self.scratch.reads = reads;
        self.made = Some(Made { from, new, to });
        to
    }

    /// The asynchronous copy that has yet to write a byte.
    pub fn pending_at(&self, offset: usize, lane: usize) -> Option<Conflict> {
        let state = self.write_state(offset / GRANULE);
        state.stamp.is_pending().then(|| Conflict {
            lane,
            pending: true,
            unfenced: false,
            kind: state.note.kind(),
            block: None,
            same_block: true,
            thread: Some((state.stamp.warp(), state.stamp.lane())),
            pc: state.note.pc(),
        })
    }

    /// An asynchronous copy to these bytes has been issued by a lane: whoever touches them before it completes is at
    /// fault. To be checked as a write first.
    pub fn set_pending(&mut self, accessor: &Accessor<'_>, offset: usize, size: usize, lane: usize) {
        self.set_writer(offset, size, State { stamp: accessor.pending(lane), note: accessor.note });
    }

    /// An asynchronous copy to these bytes has completed: they were written by its lane, now.
    pub fn set_written(&mut self, accessor: &Accessor<'_>, offset: usize, size: usize, lane: usize) {
        self.set_writer(offset, size, State { stamp: accessor.stamp(lane), note: accessor.note });
    }

    fn set_writer(&mut self, offset: usize, size: usize, state: State) {
        for granule in offset / GRANULE..(offset + size).div_ceil(GRANULE) {
            self.set_write(granule, state);
            self.set_read(granule, State::NOBODY);
        }
    }
}

/// Gives each lane's granules its stamp.
#[inline(always)]
fn stamp_lanes(stamps: &mut [u64], first: u64, shift: u32) {
    for (index, stamp) in stamps.iter_mut().enumerate() {
        *stamp = first.wrapping_add(index as u64 >> shift);
    }
}

/// Whether each lane's bytes of a weak access are whole granules, 1, 2 or 4.
fn is_whole(accessor: &Accessor<'_>, offset: usize, size: usize) -> bool {
    (offset | size).is_multiple_of(GRANULE) && size.is_power_of_two() && accessor.note.is_weak()
}

fn granules(offset: usize, bytes: usize) -> Range<usize> {
    offset / GRANULE..(offset + bytes) / GRANULE
}
