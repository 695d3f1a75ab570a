//! The shared memory of one block.

mod mbarrier;

pub(crate) use mbarrier::MbarrierAccess;

use mbarrier::Objects;

use super::bits::Bits;
use super::runs::{Runs, for_lanes, lanes_of};
use super::shape::{Pattern, Shape};
use super::warp::{
    access_shadow, copy_out, same_values, synchronize_atomic, synchronize_load, synchronize_store,
    update_bytes, write_run,
};
use super::{AtomicOrder, Fault, LaneBytes, ProxyAccess, Space, Strength, WarpAccess, garbage};
use crate::config::Checks;
use crate::count::Tally;
use crate::program::LANES;
use crate::race::{Accessor, BlockClocks, Shadow, SyncVariables};
use crate::violation::{AccessKind, ViolationKind};

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
    /// Whether the asynchronous proxy must have been told of mbarriers by a fence.
    checks_mbarrier_init: bool,
    sync: SyncVariables,
    objects: Objects,
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
            checks_mbarrier_init: checks.races && checks.mbarrier_init_fence,
            sync: SyncVariables::default(),
            objects: Objects::default(),
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
        self.objects.clear();
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

    /// An operation of the asynchronous proxy is to read or write bytes of this memory, whole words: checks bounds and
    /// races, and marks them as accessed at the operation's moment.
    pub fn proxy_claim(
        &mut self,
        access: &ProxyAccess<'_>,
        address: u64,
        bytes: usize,
        writes: bool,
    ) -> Result<(), Fault> {
        let range = self.proxy_range(access, address, bytes, writes)?;
        let Some(shadow) = &mut self.shadow else { return Ok(()) };
        let accessor = Accessor::of_proxy(access, writes);
        shadow.start_access();
        shadow.claim(&accessor, range, access.lanes, writes).map_err(|(offset, conflict)| {
            access.race(Space::Shared, self.base + offset as u64, &conflict, writes)
        })
    }

    /// The same for a write by an asynchronous operation of the generic proxy.
    pub fn generic_claim(
        &mut self,
        access: &ProxyAccess<'_>,
        address: u64,
        bytes: usize,
    ) -> Result<(), Fault> {
        let range = self.proxy_range(access, address, bytes, true)?;
        let Some(shadow) = &mut self.shadow else { return Ok(()) };
        let accessor = Accessor::of_generic(access);
        shadow.start_access();
        shadow.claim(&accessor, range, access.lanes, true).map_err(|(offset, conflict)| {
            let what = format!("an {}", AccessKind::AsyncWrite);
            access.race_of(&what, Space::Shared, self.base + offset as u64, &conflict)
        })
    }

    /// The same for reads of rows of 16 bytes at multiples of 16, in ascending order: the operands of `wgmma`.
    pub fn proxy_claim_rows(&mut self, access: &ProxyAccess<'_>, rows: &[u64]) -> Result<(), Fault> {
        const ROW: usize = 16;
        let runs = || rows.chunk_by(|one, next| one.wrapping_add(ROW as u64) == *next);
        for run in runs() {
            self.proxy_range(access, run[0], ROW * run.len(), false)?;
        }
        let Some(shadow) = &mut self.shadow else { return Ok(()) };
        let base = self.base;
        let ranges = runs().map(|run| {
            let start = run[0].wrapping_sub(base) as usize;
            start..start + ROW * run.len()
        });
        shadow.start_access();
        let claimed = shadow.claim_reads(&Accessor::of_proxy(access, false), ranges, access.lanes);
        claimed
            .map_err(|(offset, conflict)| access.race(Space::Shared, base + offset as u64, &conflict, false))
    }

    /// The place of bytes that an operation accesses, where they lie in this memory.
    fn proxy_range(
        &self,
        access: &ProxyAccess<'_>,
        address: u64,
        bytes: usize,
        writes: bool,
    ) -> Result<std::ops::Range<usize>, Fault> {
        let what = || access.describe(writes);
        if !address.is_multiple_of(WORD as u64) {
            let message = format!("{} must be aligned to {WORD} bytes at least", what());
            return Err(access.fault(ViolationKind::Misaligned, address, message));
        }
        let size = self.bytes.len();
        let start = address.wrapping_sub(self.base);
        if usize::try_from(start).is_ok_and(|start| start <= size && size - start >= bytes) {
            self.check_proxy_objects(access, address, bytes, writes)?;
            return Ok(start as usize..start as usize + bytes);
        }
        let message = format!(
            "{} of {bytes} bytes leaves the block's shared memory, {size} bytes at {:#x}",
            what(),
            self.base
        );
        Err(access.fault(ViolationKind::OutOfBounds, address, message))
    }

    /// Bytes that have been claimed, as they are now.
    pub fn proxy_bytes(&self, address: u64, bytes: usize) -> &[u8] {
        &self.bytes[self.offset(address)..][..bytes]
    }

    /// The bytes of an operation arrive at a place that it has claimed.
    pub fn proxy_arrive(&mut self, address: u64, bytes: &[u8]) {
        let offset = self.offset(address);
        self.bytes[offset..offset + bytes.len()].copy_from_slice(bytes);
        if let Some(initialized) = &mut self.initialized {
            initialized.insert(offset..offset + bytes.len());
        }
    }

    /// Takes back that bytes have been written: nothing had written what has arrived there.
    pub fn proxy_forget(&mut self, address: u64, bytes: usize) {
        let offset = self.offset(address);
        if let Some(initialized) = &mut self.initialized {
            initialized.remove(offset..offset + bytes);
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

    /// Whether races are checked.
    pub fn checks_races(&self) -> bool {
        self.shadow.is_some()
    }

    /// Whether the asynchronous proxy must have been told of mbarriers by a fence.
    pub fn checks_mbarrier_init(&self) -> bool {
        self.checks_mbarrier_init
    }

    /// A byte, unchecked.
    pub fn peek(&self, address: u64) -> Option<u8> {
        self.bytes.get(self.offset(address)).copied()
    }

    fn offset(&self, address: u64) -> usize {
        address.wrapping_sub(self.base) as usize
    }

    /// All bytes lie in this memory, and none of them in an mbarrier object.
    fn check_bounds(&self, access: &WarpAccess<'_>, shape: &Shape) -> Result<(), Fault> {
        self.check_range(access, shape)?;
        if self.objects.reach_below(shape.greatest + access.size as u64) {
            return self.check_objects(access, shape);
        }
        Ok(())
    }

    fn check_range(&self, access: &WarpAccess<'_>, shape: &Shape) -> Result<(), Fault> {
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
        let accessor = Accessor::new(clocks, warp, access, false).together(runs.collective);
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
