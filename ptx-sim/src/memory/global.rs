//! The global memory of a device, shared by all blocks and host threads.

mod proxy;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use super::allocations::{Allocation, Allocations};
use super::page::Page;
use super::runs::{PAGE, Run, Runs, lanes_of};
use super::shape::Shape;
use super::warp::{
    access_shadow, copy_out, same_values, synchronize_atomic, synchronize_load, synchronize_store,
    update_bytes, write_run,
};
use super::{AtomicOrder, Fault, LaneBytes, Space, WarpAccess};
use crate::config::Checks;
use crate::count::Tally;
use crate::program::LANES;
use crate::race::{Accessor, BlockClocks, LaunchNumbers, MAX_BLOCKS};
use crate::violation::ViolationKind;

type SharedPage = Arc<Mutex<Page>>;

/// Pages with shadows after which those of past launches are dropped: 400 MB.
const MANY_SHADOWS: usize = 16 << 10;

/// Sparse memory: pages are made when they are first touched.
#[derive(Debug)]
pub(crate) struct GlobalMemory {
    allocations: RwLock<Allocations>,
    pages: RwLock<HashMap<u64, SharedPage>>,
    /// Goes up when pages go: caches are stale then.
    generation: AtomicU64,
    /// The number of the next launch's first block.
    next_block: Mutex<u32>,
    seed: u64,
}

/// What one host thread knows of global memory during one launch: where pages are, and how the launch is to be checked.
#[derive(Debug)]
pub(crate) struct PageCache {
    entries: Vec<Option<(u64, SharedPage)>>,
    generation: u64,
    checks: LaunchChecks,
}

/// How the accesses of a launch are checked.
#[derive(Clone, Copy, Debug)]
struct LaunchChecks {
    initialization: bool,
    races: bool,
    /// Blocks cannot synchronise with each other, so of a granule's readers in several blocks nothing need be kept.
    collapse_readers: bool,
}

impl PageCache {
    const ENTRIES: usize = 512;

    /// `inter_block_sync`: whether blocks of the launch have any means to synchronise with each other.
    pub fn new(checks: Checks, inter_block_sync: bool) -> Self {
        let entries = vec![None; Self::ENTRIES];
        let (initialization, races) = (checks.initialization, checks.races);
        let checks = LaunchChecks { initialization, races, collapse_readers: !inter_block_sync };
        Self { entries, generation: 0, checks }
    }

    /// The page of this number.
    fn page(&mut self, memory: &GlobalMemory, number: u64) -> Option<&Mutex<Page>> {
        let generation = memory.generation.load(Ordering::Acquire);
        if self.generation != generation {
            self.entries.fill(None);
            self.generation = generation;
        }
        let entry = &mut self.entries[number as usize % Self::ENTRIES];
        if !matches!(entry, Some((cached, _)) if *cached == number) {
            *entry = Some((number, memory.page(number)?));
        }
        entry.as_ref().map(|(_, page)| &**page)
    }
}

fn lock(page: &Mutex<Page>) -> MutexGuard<'_, Page> {
    page.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The bytes of a run within its page.
fn within(run: &Run, size: usize) -> Range<usize> {
    let start = (run.address % PAGE) as usize;
    start..start + run.count * size
}

impl GlobalMemory {
    /// Empty. Uninitialised bytes hold garbage that depends on the seed.
    pub fn new(seed: u64) -> Self {
        Self {
            allocations: RwLock::default(),
            pages: RwLock::default(),
            generation: AtomicU64::new(1),
            next_block: Mutex::new(1),
            seed,
        }
    }

    /// So many bytes, aligned to 256 and no better.
    pub fn allocate(&self, bytes: u64) -> Result<u64, String> {
        self.allocations_mut().add(bytes, 1, None, false)
    }

    /// A module's variable.
    pub fn allocate_variable(
        &self,
        name: &str,
        bytes: u64,
        align: u64,
        read_only: bool,
    ) -> Result<u64, String> {
        self.allocations_mut().add(bytes, align, Some(name.to_string()), read_only)
    }

    /// Frees an allocation. Its address is not used again.
    pub fn free(&self, address: u64) -> Result<(), String> {
        let allocation = self.allocations_mut().free(address)?;
        self.drop_pages(&allocation);
        Ok(())
    }

    /// Frees a module's variable.
    pub fn free_variable(&self, address: u64) {
        let allocation = self.allocations_mut().free_variable(address);
        if let Some(allocation) = allocation {
            self.drop_pages(&allocation);
        }
    }

    /// Numbers the blocks of a launch that starts after all earlier ones have ended.
    #[cfg(test)]
    pub fn begin_launch(&self, blocks: u64, cluster_size: u32) -> Result<LaunchNumbers, String> {
        Ok(self.begin_launches(&[(blocks, cluster_size)])?.remove(0))
    }

    /// Numbers the blocks of launches that overlap each other, and start after all earlier ones have ended. Of each are
    /// given its blocks, and those of a cluster.
    pub fn begin_launches(&self, launches: &[(u64, u32)]) -> Result<Vec<LaunchNumbers>, String> {
        let blocks = launches.iter().fold(0u64, |sum, (blocks, _)| sum.saturating_add(*blocks));
        let mut next = self.next_block.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = u32::try_from(blocks).ok().filter(|blocks| *blocks < MAX_BLOCKS);
        let taken = taken.ok_or_else(|| format!("{blocks} blocks are more than race checks can number"))?;
        if MAX_BLOCKS - *next < taken {
            self.forget_before(u32::MAX);
            *next = 1;
        }
        let first_block = *next;
        *next += taken;
        self.limit_shadows(first_block);
        let mut number = first_block;
        let numbered = launches.iter().map(|(blocks, cluster_size)| {
            let own = number;
            // No more than their sum, which has been found small enough.
            number = number.saturating_add(u32::try_from(*blocks).unwrap_or(u32::MAX));
            LaunchNumbers { first_block: own, ordered_before: first_block, cluster_size: *cluster_size }
        });
        Ok(numbered.collect())
    }

    fn limit_shadows(&self, first_block: u32) {
        let pages = self.pages.read().unwrap_or_else(PoisonError::into_inner);
        if pages.len() >= MANY_SHADOWS
            && pages.values().filter(|page| lock(page).has_shadow()).count() >= MANY_SHADOWS
        {
            pages.values().for_each(|page| lock(page).forget_before(first_block));
        }
    }

    fn forget_before(&self, first_block: u32) {
        let pages = self.pages.read().unwrap_or_else(PoisonError::into_inner);
        pages.values().for_each(|page| lock(page).forget_before(first_block));
    }

    /// Bytes to the host. Those that nothing has written are garbage.
    pub fn host_read(&self, address: u64, bytes: &mut [u8]) -> Result<(), String> {
        self.check(address, bytes.len() as u64, false)?;
        self.each_piece(address, bytes.len() as u64, |page, range, at| {
            bytes[at..at + range.len()].copy_from_slice(&page.data[range]);
        });
        Ok(())
    }

    /// Bytes from the host.
    pub fn host_write(&self, address: u64, bytes: &[u8]) -> Result<(), String> {
        self.check(address, bytes.len() as u64, false)?;
        self.each_piece(address, bytes.len() as u64, |page, range, at| {
            page.data[range.clone()].copy_from_slice(&bytes[at..at + range.len()]);
            page.initialize(range);
        });
        Ok(())
    }

    /// A pattern again and again, `count` times.
    pub fn fill(&self, address: u64, pattern: &[u8], count: u64) -> Result<(), String> {
        let size = (pattern.len() as u64).checked_mul(count).ok_or("more bytes than there are addresses")?;
        self.check(address, size, false)?;
        self.each_piece(address, size, |page, range, at| {
            for (index, byte) in page.data[range.clone()].iter_mut().enumerate() {
                *byte = pattern[(at + index) % pattern.len()];
            }
            page.initialize(range);
        });
        Ok(())
    }

    /// From one place to another; uninitialised bytes stay so. Ranges may overlap.
    pub fn copy(&self, to: u64, from: u64, size: u64) -> Result<(), String> {
        self.check(from, size, false)?;
        self.check(to, size, false)?;
        let mut done = 0;
        let mut pieces = Vec::new();
        while done < size {
            let left = size - done;
            let piece = left.min(PAGE - (from + done) % PAGE).min(PAGE - (to + done) % PAGE);
            pieces.push((done, piece));
            done += piece;
        }
        if to > from {
            pieces.reverse();
        }
        for (at, piece) in pieces {
            let mut bytes = vec![0; piece as usize];
            let mut missing = Vec::new();
            self.each_piece(from + at, piece, |page, range, _| {
                bytes.copy_from_slice(&page.data[range.clone()]);
                missing = range
                    .clone()
                    .filter(|byte| page.first_uninitialized(*byte..*byte + 1).is_some())
                    .collect();
                missing.iter_mut().for_each(|byte| *byte -= range.start);
            });
            self.each_piece(to + at, piece, |page, range, _| {
                page.data[range.clone()].copy_from_slice(&bytes);
                page.initialize(range.clone());
                for byte in &missing {
                    page.uninitialize(range.start + byte..range.start + byte + 1);
                }
            });
        }
        Ok(())
    }

    /// Whether all of these bytes have been written.
    pub fn is_initialized(&self, address: u64, size: u64) -> bool {
        let mut all = self.check(address, size, false).is_ok();
        if all {
            self.each_piece(address, size, |page, range, _| all &= page.first_uninitialized(range).is_none());
        }
        all
    }

    /// Whether the bytes lie in one live allocation; the reason where they do not.
    pub fn check(&self, address: u64, size: u64, writes: bool) -> Result<(), String> {
        if size == 0 {
            return Ok(());
        }
        let allocations = self.allocations.read().unwrap_or_else(PoisonError::into_inner);
        let allocation = allocations.check(address, size)?;
        if writes && allocation.read_only {
            return Err(format!("{} is read-only", allocation.describe()));
        }
        Ok(())
    }

    fn each_piece(&self, address: u64, size: u64, mut each: impl FnMut(&mut Page, Range<usize>, usize)) {
        let mut done = 0;
        while done < size {
            let start = (address + done) % PAGE;
            let piece = (size - done).min(PAGE - start);
            if let Some(page) = self.page((address + done) / PAGE) {
                each(&mut lock(&page), start as usize..(start + piece) as usize, done as usize);
            }
            done += piece;
        }
    }

    fn allocations_mut(&self) -> std::sync::RwLockWriteGuard<'_, Allocations> {
        self.allocations.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn drop_pages(&self, allocation: &Allocation) {
        let mut pages = self.pages.write().unwrap_or_else(PoisonError::into_inner);
        let numbers = allocation.start / PAGE..=(allocation.end() - 1) / PAGE;
        if numbers.end() - numbers.start() < pages.len() as u64 {
            numbers.for_each(|number| drop(pages.remove(&number)));
        } else {
            pages.retain(|number, _| !numbers.contains(number));
        }
        drop(pages);
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// The page of a live allocation, made where it is touched for the first time.
    fn page(&self, number: u64) -> Option<SharedPage> {
        if let Some(page) = self.pages.read().unwrap_or_else(PoisonError::into_inner).get(&number) {
            return Some(Arc::clone(page));
        }
        let start = number.checked_mul(PAGE)?;
        let allocations = self.allocations.read().unwrap_or_else(PoisonError::into_inner);
        let allocation = allocations.in_page(number).filter(|allocation| !allocation.freed)?;
        let valid = allocation.start.max(start) - start..allocation.end().min(start + PAGE) - start;
        let valid = valid.start as usize..valid.end as usize;
        let mut pages = self.pages.write().unwrap_or_else(PoisonError::into_inner);
        let make = || Arc::new(Mutex::new(Page::new(start, valid, allocation.read_only, self.seed)));
        Some(Arc::clone(pages.entry(number).or_insert_with(make)))
    }

    /// `ld`, and the reads of asynchronous copies.
    pub fn load(
        &self,
        cache: &mut PageCache,
        clocks: &mut BlockClocks,
        warp: usize,
        access: &WarpAccess<'_>,
        out: &mut LaneBytes,
        tally: &mut Tally,
    ) -> Result<(), Fault> {
        let shape = Shape::of(access, 0);
        tally.global_read.add(access, &shape);
        access.check_alignment(&shape)?;
        let (launch, checks, size) = (clocks.launch(), cache.checks, access.size);
        let runs = Runs::new(access, &shape);
        for runs in by_page(&runs) {
            let mut page = self.locked(cache, access, &runs[0])?;
            let page = &mut *page;
            for run in runs {
                self.check_run(page, access, run, false)?;
                let range = within(run, size);
                if checks.initialization
                    && !access.reads_unwritten
                    && let Some(missing) = page.first_uninitialized(range.clone())
                {
                    return Err(uninitialized(access, run, missing));
                }
                tally.global_read.unique_bytes += page.count_read(launch, range);
            }
            record(page, clocks, checks, warp, access, runs, false)?;
            for run in runs {
                let bytes = &page.data[within(run, size)];
                if run.same == 0 {
                    copy_out(bytes, size, &mut out[run.lanes()]);
                } else {
                    lanes_of(run.same).for_each(|lane| out[lane][..size].copy_from_slice(bytes));
                }
            }
            if checks.races {
                synchronize_load(&page.sync, clocks, warp, access, lanes_in(runs));
            }
        }
        Ok(())
    }

    /// `st`.
    pub fn store(
        &self,
        cache: &mut PageCache,
        clocks: &mut BlockClocks,
        warp: usize,
        access: &WarpAccess<'_>,
        values: &LaneBytes,
        tally: &mut Tally,
    ) -> Result<(), Fault> {
        let shape = Shape::of(access, 0);
        tally.global_written.add(access, &shape);
        access.check_alignment(&shape)?;
        let checks = cache.checks;
        let runs = Runs::new(access, &shape);
        if checks.races {
            same_values(Space::Global, access, &runs, values)?;
        }
        // Nothing is written before all lanes are known to be right.
        let one_page = by_page(&runs).count() <= 1;
        for runs in by_page(&runs) {
            let mut page = self.locked(cache, access, &runs[0])?;
            self.prepare_write(&mut page, clocks, checks, warp, access, runs, tally)?;
            if one_page {
                write(&mut page, clocks, checks, warp, access, runs, values);
            }
        }
        if !one_page {
            for runs in by_page(&runs) {
                let mut page = self.locked(cache, access, &runs[0])?;
                write(&mut page, clocks, checks, warp, access, runs, values);
            }
        }
        Ok(())
    }

    /// `atom` and `red` on 2, 4 or 8 bytes: lanes one after another, in the order of their numbers. `update` is given
    /// the lane and the old value, and returns the new one.
    #[expect(
        clippy::too_many_arguments,
        reason = "each is of a different type, and they belong to different owners"
    )]
    pub fn atomic(
        &self,
        cache: &mut PageCache,
        clocks: &mut BlockClocks,
        warp: usize,
        access: &WarpAccess<'_>,
        order: AtomicOrder,
        update: &mut dyn FnMut(usize, u64) -> u64,
        old: &mut [u64; LANES],
        tally: &mut Tally,
    ) -> Result<(), Fault> {
        let shape = Shape::of(access, 0);
        tally.global_written.add(access, &shape);
        tally.atomics += u64::from(access.mask.count_ones());
        access.check_alignment(&shape)?;
        let checks = cache.checks;
        let runs = Runs::addresses(access);
        for runs in by_page(&runs) {
            let mut page = self.locked(cache, access, &runs[0])?;
            self.prepare_write(&mut page, clocks, checks, warp, access, runs, tally)?;
            for run in runs {
                let range = within(run, access.size);
                if checks.initialization
                    && let Some(missing) = page.first_uninitialized(range.clone())
                {
                    return Err(uninitialized(access, run, missing));
                }
            }
        }
        for lane in lanes_of(access.mask) {
            let run = Run { address: access.addresses[lane], first: lane, count: 1, same: 0, by: 0 };
            let mut page = self.locked(cache, access, &run)?;
            let range = within(&run, access.size);
            old[lane] = update_bytes(&mut page.data[range.clone()], lane, update);
            page.initialize(range);
            if checks.races {
                synchronize_atomic(&mut page.sync, clocks, warp, lane, access, order);
            }
        }
        Ok(())
    }

    /// The page of a run, for this thread alone.
    fn locked<'c>(
        &self,
        cache: &'c mut PageCache,
        access: &WarpAccess<'_>,
        run: &Run,
    ) -> Result<MutexGuard<'c, Page>, Fault> {
        match cache.page(self, run.address / PAGE) {
            Some(page) => Ok(lock(page)),
            None => Err(self.unmapped(access, run.first)),
        }
    }

    /// Bounds, permission and races of stores and atomics, on one page.
    #[expect(
        clippy::too_many_arguments,
        reason = "each is of a different type, and they belong to different owners"
    )]
    fn prepare_write(
        &self,
        page: &mut Page,
        clocks: &BlockClocks,
        checks: LaunchChecks,
        warp: usize,
        access: &WarpAccess<'_>,
        runs: &[Run],
        tally: &mut Tally,
    ) -> Result<(), Fault> {
        for run in runs {
            self.check_run(page, access, run, true)?;
            tally.global_written.unique_bytes +=
                page.count_written(clocks.launch(), within(run, access.size));
        }
        record(page, clocks, checks, warp, access, runs, true)
    }

    /// Whether a run lies in the part of its page that belongs to an allocation.
    fn check_run(&self, page: &Page, access: &WarpAccess<'_>, run: &Run, writes: bool) -> Result<(), Fault> {
        let range = within(run, access.size);
        if range.start < page.valid.start || range.end > page.valid.end {
            let beyond = |lane: &usize| {
                let start = range.start + (lane - run.first) * access.size;
                start < page.valid.start || start + access.size > page.valid.end
            };
            let lane = run.lanes().find(beyond).unwrap_or(run.first);
            return Err(self.unmapped(access, lane));
        }
        if writes && page.read_only {
            let allocations = self.allocations.read().unwrap_or_else(PoisonError::into_inner);
            let what = allocations.at(run.address).map(Allocation::describe).unwrap_or_default();
            let message = format!("{} of {what}, which is read-only", access.describe());
            return Err(access.fault(ViolationKind::ReadOnly, run.first, message));
        }
        Ok(())
    }

    /// What is wrong with an address that lies in no live allocation.
    fn unmapped(&self, access: &WarpAccess<'_>, lane: usize) -> Fault {
        let address = access.addresses[lane];
        let allocations = self.allocations.read().unwrap_or_else(PoisonError::into_inner);
        match allocations.at(address) {
            Some(allocation) if allocation.freed => {
                let message = format!("{} in {}", access.describe(), allocation.describe());
                access.fault(ViolationKind::UseAfterFree, lane, message)
            }
            _ => {
                let place = allocations.explain(address, access.size as u64);
                let message = format!("{} outside every allocation, {place}", access.describe());
                access.fault(ViolationKind::OutOfBounds, lane, message)
            }
        }
    }
}

/// Judges and records the accesses to one page.
fn record(
    page: &mut Page,
    clocks: &BlockClocks,
    checks: LaunchChecks,
    warp: usize,
    access: &WarpAccess<'_>,
    runs: &[Run],
    writes: bool,
) -> Result<(), Fault> {
    if !checks.races {
        return Ok(());
    }
    let accessor = Accessor::new(clocks, warp, access, checks.collapse_readers);
    let shadow = page.shadow(clocks.launch());
    shadow.start_access();
    for run in runs {
        let offset = (run.address % PAGE) as usize;
        let judged = match access.moment {
            None => access_shadow(shadow, &accessor, run, offset, access.size, writes),
            Some(_) => {
                let bytes = offset..offset + run.count * access.size;
                shadow.claim(&accessor, bytes, run.mask(), writes).map_err(|(_, conflict)| conflict)
            }
        };
        judged.map_err(|conflict| access.race(Space::Global, &conflict))?;
    }
    Ok(())
}

/// Writes what has been found right.
fn write(
    page: &mut Page,
    clocks: &mut BlockClocks,
    checks: LaunchChecks,
    warp: usize,
    access: &WarpAccess<'_>,
    runs: &[Run],
    values: &LaneBytes,
) {
    for run in runs {
        let range = within(run, access.size);
        write_run(&mut page.data[range.clone()], run, access.size, values);
        page.initialize(range);
    }
    if checks.races {
        synchronize_store(&mut page.sync, clocks, warp, access, lanes_in(runs));
    }
}

fn uninitialized(access: &WarpAccess<'_>, run: &Run, missing: usize) -> Fault {
    let lane = run.first + (missing - (run.address % PAGE) as usize) / access.size;
    access.uninitialized(Space::Global, lane, run.address - run.address % PAGE + missing as u64)
}

/// The lanes of runs.
fn lanes_in(runs: &[Run]) -> u32 {
    runs.iter().fold(0, |lanes, run| {
        lanes | if run.same != 0 { run.same } else { (u32::MAX >> (LANES - run.count)) << run.first }
    })
}

/// Runs that lie on one page and follow each other.
fn by_page(runs: &Runs) -> impl Iterator<Item = &[Run]> {
    runs.as_slice().chunk_by(|one, next| one.address / PAGE == next.address / PAGE)
}
