//! The shared memory of one block.

use super::bits::Bits;
use super::runs::{Runs, for_lanes, lanes_of};
use super::shape::{Pattern, Shape};
use super::warp::{
    access_shadow, copy_out, same_values, synchronize_atomic, synchronize_load, synchronize_store,
    update_bytes, write_run,
};
use super::{AtomicOrder, Fault, LaneBytes, Space, Strength, WarpAccess, garbage};
use crate::config::Checks;
use crate::count::Tally;
use crate::program::LANES;
use crate::race::{Accessor, BlockClocks, Shadow, SyncVariables};
use crate::violation::ViolationKind;

/// Bytes of a bank, and of a word.
const WORD: usize = 4;

/// Bytes, which of them were written, and who accessed them.
#[derive(Debug)]
pub(crate) struct SharedMemory {
    base: u64,
    bytes: Box<[u8]>,
    /// `None` where uninitialised reads are not checked.
    initialized: Option<Bits>,
    /// `None` where races are not checked.
    shadow: Option<Shadow>,
    sync: SyncVariables,
}

impl SharedMemory {
    /// So many bytes from the address `base` on, holding garbage.
    pub fn new(bytes: u32, base: u64, checks: Checks, garbage_seed: u64) -> Self {
        let size = bytes as usize;
        let mut bytes = vec![0; size].into_boxed_slice();
        garbage(&mut bytes, garbage_seed, base);
        Self {
            base,
            bytes,
            initialized: checks.initialization.then(|| Bits::new(size)),
            shadow: checks.races.then(|| Shadow::new(size)),
            sync: SyncVariables::default(),
        }
    }

    /// As new, for the next block of the launch: cheaper than new memory.
    pub fn reset(&mut self, garbage_seed: u64) {
        garbage(&mut self.bytes, garbage_seed, self.base);
        if let Some(initialized) = &mut self.initialized {
            initialized.clear();
        }
        if let Some(shadow) = &mut self.shadow {
            shadow.reset();
        }
        self.sync.clear();
    }

    /// `ld`.
    pub fn load(
        &mut self,
        clocks: &mut BlockClocks,
        warp: usize,
        access: &WarpAccess<'_>,
        out: &mut LaneBytes,
        tally: &mut Tally,
    ) -> Result<(), Fault> {
        let shape = Shape::of(access, self.base);
        tally.add_shared_read(access, &shape);
        self.check_bounds(access, &shape)?;
        if !self.load_scattered(clocks, warp, access, &shape, out) {
            self.load_runs(clocks, warp, access, &Runs::new(access, &shape), out)?;
        }
        synchronize_load(&self.sync, clocks, warp, access, access.mask);
        Ok(())
    }

    /// `ldmatrix`: each lane of the mask names a row that all lanes of `by` read together.
    pub fn load_collective(
        &mut self,
        clocks: &mut BlockClocks,
        warp: usize,
        access: &WarpAccess<'_>,
        by: u32,
        out: &mut LaneBytes,
        tally: &mut Tally,
    ) -> Result<(), Fault> {
        let shape = Shape::of(access, self.base);
        tally.add_shared_read(access, &shape);
        self.check_bounds(access, &shape)?;
        self.load_runs(clocks, warp, access, &Runs::rows(access, by), out)
    }

    fn load_runs(
        &mut self,
        clocks: &BlockClocks,
        warp: usize,
        access: &WarpAccess<'_>,
        runs: &Runs,
        out: &mut LaneBytes,
    ) -> Result<(), Fault> {
        self.check_initialized(access, runs)?;
        self.check_races(clocks, warp, access, runs, false)?;
        for run in runs.as_slice() {
            let (offset, size) = (self.offset(run.address), access.size);
            if run.same == 0 {
                let bytes = &self.bytes[offset..offset + run.count * size];
                copy_out(bytes, size, &mut out[run.lanes()]);
            } else {
                for lane in lanes_of(run.same) {
                    out[lane][..size].copy_from_slice(&self.bytes[offset..offset + size]);
                }
            }
        }
        Ok(())
    }

    /// Weak loads of single words by lanes far from each other, each from a bank of its own, where no check has
    /// anything to say. Else false: nothing has been done.
    fn load_scattered(
        &mut self,
        clocks: &BlockClocks,
        warp: usize,
        access: &WarpAccess<'_>,
        shape: &Shape,
        out: &mut LaneBytes,
    ) -> bool {
        let Some(words) = self.scattered(access, shape) else {
            return false;
        };
        if let Some(initialized) = &self.initialized
            && !initialized.has_words(&words, access.mask)
        {
            return false;
        }
        if let Some(shadow) = &mut self.shadow {
            let accessor = Accessor::new(clocks, warp, access, false);
            shadow.start_access();
            if !shadow.read_words(&accessor, &words, access.mask) {
                return false;
            }
        }
        let (bytes, _) = self.bytes.as_chunks::<WORD>();
        for_lanes(access.mask, |lane| out[lane][..WORD].copy_from_slice(&bytes[words[lane] as usize]));
        true
    }

    /// The same for stores.
    fn store_scattered(
        &mut self,
        clocks: &BlockClocks,
        warp: usize,
        access: &WarpAccess<'_>,
        shape: &Shape,
        values: &LaneBytes,
    ) -> bool {
        let Some(words) = self.scattered(access, shape) else {
            return false;
        };
        if let Some(shadow) = &mut self.shadow {
            let accessor = Accessor::new(clocks, warp, access, false);
            shadow.start_access();
            if !shadow.write_words(&accessor, &words, access.mask) {
                return false;
            }
        }
        let (bytes, _) = self.bytes.as_chunks_mut::<WORD>();
        for_lanes(access.mask, |lane| bytes[words[lane] as usize].copy_from_slice(&values[lane][..WORD]));
        if let Some(initialized) = &mut self.initialized {
            for_lanes(access.mask, |lane| initialized.insert_word(words[lane] as usize));
        }
        true
    }

    /// The words that lanes access, where each accesses one and no two the same, far from each other.
    fn scattered(&self, access: &WarpAccess<'_>, shape: &Shape) -> Option<[u32; LANES]> {
        let words = access.size == WORD
            && access.strength == Strength::Weak
            && shape.pattern == Pattern::Other
            && shape.has_distinct_banks();
        let mut list = [0; LANES];
        for (word, address) in list.iter_mut().zip(access.addresses) {
            *word = (address.wrapping_sub(self.base) / WORD as u64) as u32;
        }
        words.then_some(list)
    }

    /// `st`.
    pub fn store(
        &mut self,
        clocks: &mut BlockClocks,
        warp: usize,
        access: &WarpAccess<'_>,
        values: &LaneBytes,
        tally: &mut Tally,
    ) -> Result<(), Fault> {
        let shape = Shape::of(access, self.base);
        tally.add_shared_written(access, &shape);
        self.check_bounds(access, &shape)?;
        if !self.store_scattered(clocks, warp, access, &shape, values) {
            self.store_runs(clocks, warp, access, &Runs::new(access, &shape), values)?;
        }
        self.synchronize_store(clocks, warp, access);
        Ok(())
    }

    /// `stmatrix`: each lane of the mask names a row that all lanes of `by` write together.
    pub fn store_collective(
        &mut self,
        clocks: &mut BlockClocks,
        warp: usize,
        access: &WarpAccess<'_>,
        by: u32,
        values: &LaneBytes,
        tally: &mut Tally,
    ) -> Result<(), Fault> {
        // Rows that overlap are a race unless they hold the same.
        let shape = Shape::of(access, self.base);
        let runs = Runs::new(access, &shape);
        self.check_same_values(access, &runs, values)?;
        tally.add_shared_written(access, &shape);
        self.check_bounds(access, &shape)?;
        self.store_runs(clocks, warp, access, &Runs::rows(access, by), values)?;
        self.synchronize_store(clocks, warp, access);
        Ok(())
    }

    fn store_runs(
        &mut self,
        clocks: &BlockClocks,
        warp: usize,
        access: &WarpAccess<'_>,
        runs: &Runs,
        values: &LaneBytes,
    ) -> Result<(), Fault> {
        self.check_same_values(access, runs, values)?;
        self.check_races(clocks, warp, access, runs, true)?;
        self.write_runs(access, runs, values);
        Ok(())
    }

    fn synchronize_store(&mut self, clocks: &mut BlockClocks, warp: usize, access: &WarpAccess<'_>) {
        if self.shadow.is_some() {
            synchronize_store(&mut self.sync, clocks, warp, access, access.mask);
        }
    }

    /// `atom` and `red` on 2, 4 or 8 bytes: lanes one after another, in the order of their numbers. `update` is given
    /// the lane and the old value, and returns the new one.
    #[expect(
        clippy::too_many_arguments,
        reason = "each is of a different type, and they belong to different owners"
    )]
    pub fn atomic(
        &mut self,
        clocks: &mut BlockClocks,
        warp: usize,
        access: &WarpAccess<'_>,
        order: AtomicOrder,
        update: &mut dyn FnMut(usize, u64) -> u64,
        old: &mut [u64; LANES],
        tally: &mut Tally,
    ) -> Result<(), Fault> {
        let runs = Runs::addresses(access);
        let shape = Shape::of(access, self.base);
        tally.add_shared_written(access, &shape);
        tally.atomics += u64::from(access.mask.count_ones());
        self.check_bounds(access, &shape)?;
        self.check_initialized(access, &runs)?;
        self.check_races(clocks, warp, access, &runs, true)?;
        for lane in lanes_of(access.mask) {
            let offset = self.offset(access.addresses[lane]);
            let bytes = &mut self.bytes[offset..offset + access.size];
            old[lane] = update_bytes(bytes, lane, update);
            if self.shadow.is_some() {
                synchronize_atomic(&mut self.sync, clocks, warp, lane, access, order);
            }
        }
        Ok(())
    }

    /// `cp.async` has been issued: its destination belongs to it until [`Self::async_complete`].
    pub fn async_begin(
        &mut self,
        clocks: &BlockClocks,
        warp: usize,
        access: &WarpAccess<'_>,
        tally: &mut Tally,
    ) -> Result<(), Fault> {
        let runs = Runs::addresses(access);
        let shape = Shape::of(access, self.base);
        tally.add_shared_written(access, &shape);
        self.check_bounds(access, &shape)?;
        self.check_races(clocks, warp, access, &runs, true)?;
        let base = self.base;
        if let Some(shadow) = &mut self.shadow {
            let accessor = Accessor::new(clocks, warp, access, false);
            for run in runs.as_slice() {
                if run.same != 0 {
                    let message = "two lanes copy asynchronously to the same bytes".to_string();
                    return Err(access.fault(ViolationKind::AsyncCopyRace, run.first, message));
                }
                shadow.set_pending(&accessor, (run.address - base) as usize, access.size, run.first);
            }
        }
        Ok(())
    }

    /// The bytes of a `cp.async` arrive: between its issue and its completion.
    pub fn async_arrive(&mut self, access: &WarpAccess<'_>, values: &LaneBytes) {
        self.write_runs(access, &Runs::new(access, &Shape::of(access, self.base)), values);
    }

    /// A `cp.async` has completed: its lanes have written the bytes, now.
    pub fn async_complete(&mut self, clocks: &BlockClocks, warp: usize, access: &WarpAccess<'_>) {
        let base = self.base;
        if let Some(shadow) = &mut self.shadow {
            let accessor = Accessor::new(clocks, warp, access, false);
            for lane in lanes_of(access.mask) {
                shadow.set_written(&accessor, (access.addresses[lane] - base) as usize, access.size, lane);
            }
        }
    }

    /// Whether all of some bytes, which lie in this memory, have been written.
    pub fn is_written(&self, address: u64, size: usize) -> bool {
        let offset = self.offset(address);
        self.initialized.as_ref().is_none_or(|bits| bits.first_missing(offset..offset + size).is_none())
    }

    /// Takes back that the bytes of some lanes have been written: what was stored there was not.
    pub fn set_unwritten(&mut self, access: &WarpAccess<'_>) {
        let (base, size) = (self.base, access.size);
        if let Some(initialized) = &mut self.initialized {
            for lane in lanes_of(access.mask) {
                let offset = access.addresses[lane].wrapping_sub(base) as usize;
                initialized.remove(offset..offset + size);
            }
        }
    }

    /// Bytes without any check.
    #[cfg(test)]
    pub fn initialize(&mut self, address: u64, bytes: &[u8]) {
        let offset = self.offset(address);
        if let Some(place) = self.bytes.get_mut(offset..).and_then(|rest| rest.get_mut(..bytes.len())) {
            place.copy_from_slice(bytes);
            if let Some(initialized) = &mut self.initialized {
                initialized.insert(offset..offset + bytes.len());
            }
        }
    }

    /// A byte, unchecked.
    pub fn peek(&self, address: u64) -> Option<u8> {
        self.bytes.get(self.offset(address)).copied()
    }

    fn offset(&self, address: u64) -> usize {
        address.wrapping_sub(self.base) as usize
    }

    fn check_bounds(&self, access: &WarpAccess<'_>, shape: &Shape) -> Result<(), Fault> {
        access.check_alignment(shape)?;
        let size = self.bytes.len() as u64;
        // Offsets of aligned addresses cannot wrap within an access.
        if size >= access.size as u64 && shape.greatest <= size - access.size as u64 {
            return Ok(());
        }
        let beyond = |lane: &usize| {
            let offset = access.addresses[*lane].wrapping_sub(self.base);
            offset >= size || size - offset < access.size as u64
        };
        let Some(lane) = lanes_of(access.mask).find(beyond) else {
            return Ok(());
        };
        let (address, base) = (access.addresses[lane], self.base);
        let place = if address < base {
            format!("{} bytes before the block's shared memory, {size} bytes at {base:#x}", base - address)
        } else {
            let end = (address - base).saturating_add(access.size as u64);
            format!("{} bytes past the end of the block's {size} bytes of shared memory", end - size)
        };
        let message = format!("{} reaches {place}", access.describe());
        Err(access.fault(ViolationKind::OutOfBounds, lane, message))
    }

    fn check_initialized(&self, access: &WarpAccess<'_>, runs: &Runs) -> Result<(), Fault> {
        let Some(initialized) = &self.initialized else {
            return Ok(());
        };
        if access.reads_unwritten {
            return Ok(());
        }
        for run in runs.as_slice() {
            let offset = self.offset(run.address);
            if let Some(missing) = initialized.first_missing(offset..offset + run.count * access.size) {
                // A pending copy is the better explanation of missing bytes.
                if let Some(shadow) = &self.shadow
                    && let Some(conflict) = shadow.pending_at(missing, run.first)
                {
                    return Err(access.race(Space::Shared, &conflict));
                }
                let lane = run.first + (missing - offset) / access.size;
                return Err(access.uninitialized(Space::Shared, lane, self.base + missing as u64));
            }
        }
        Ok(())
    }

    fn check_same_values(
        &self,
        access: &WarpAccess<'_>,
        runs: &Runs,
        values: &LaneBytes,
    ) -> Result<(), Fault> {
        match &self.shadow {
            Some(_) => same_values(Space::Shared, access, runs, values),
            None => Ok(()),
        }
    }

    fn check_races(
        &mut self,
        clocks: &BlockClocks,
        warp: usize,
        access: &WarpAccess<'_>,
        runs: &Runs,
        writes: bool,
    ) -> Result<(), Fault> {
        let Some(shadow) = &mut self.shadow else {
            return Ok(());
        };
        let accessor = Accessor::new(clocks, warp, access, false);
        shadow.start_access();
        for run in runs.as_slice() {
            let offset = (run.address - self.base) as usize;
            access_shadow(shadow, &accessor, run, offset, access.size, writes)
                .map_err(|conflict| access.race(Space::Shared, &conflict))?;
        }
        Ok(())
    }

    fn write_runs(&mut self, access: &WarpAccess<'_>, runs: &Runs, values: &LaneBytes) {
        let size = access.size;
        for run in runs.as_slice() {
            let offset = self.offset(run.address);
            let length = run.count * size;
            write_run(&mut self.bytes[offset..offset + length], run, size, values);
            if let Some(initialized) = &mut self.initialized {
                initialized.insert(offset..offset + length);
            }
        }
    }
}
