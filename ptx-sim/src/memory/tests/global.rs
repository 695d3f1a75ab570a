//! Several blocks on one global memory.

use super::*;
use crate::program::FenceOrder;

/// A launch of some blocks of one warp.
struct Grid {
    memory: GlobalMemory,
    address: u64,
    cache: PageCache,
    blocks: Vec<BlockClocks>,
    tally: Tally,
}

impl Grid {
    fn new(blocks: u64, inter_block_sync: bool) -> Self {
        let memory = GlobalMemory::new(3);
        let address = memory.allocate(8192).expect("room");
        memory.fill(address, &[0], 8192).expect("in bounds");
        let cache = PageCache::new(Checks::default(), inter_block_sync);
        let mut grid = Self { memory, address, cache, blocks: Vec::new(), tally: Tally::default() };
        grid.launch(blocks);
        grid
    }

    fn launch(&mut self, blocks: u64) {
        let launch = self.memory.begin_launch(blocks, 1).expect("numbers");
        self.tally = Tally::default();
        self.blocks = (0..blocks as u32)
            .map(|block| BlockClocks::new(launch.first_block + block, LANES, launch))
            .collect();
    }

    fn run(&mut self, block: usize, access: Access, reduction: bool) -> Result<LaneBytes, Fault> {
        let mut out = values(|lane| lane as u32);
        let (cache, clocks, tally) = (&mut self.cache, &mut self.blocks[block], &mut self.tally);
        let warp_access = access.warp();
        match access.kind {
            AccessKind::Read => self.memory.load(cache, clocks, 0, &warp_access, &mut out, tally)?,
            AccessKind::Atomic => {
                let SyncSemantics { acquire, release } = access.order;
                let order = AtomicOrder { acquire, release, reduction };
                let mut old = [0; LANES];
                let update = &mut |_: usize, old: u64| old + 1;
                self.memory.atomic(cache, clocks, 0, &warp_access, order, update, &mut old, tally)?;
                out = values(|lane| old[lane] as u32);
            }
            _ => self.memory.store(cache, clocks, 0, &warp_access, &out, tally)?,
        }
        Ok(out)
    }

    fn ok(&mut self, block: usize, access: Access) -> LaneBytes {
        self.run(block, access, false).expect("no fault")
    }

    fn races(&mut self, block: usize, access: Access) -> Fault {
        let fault = self.run(block, access, false).expect_err("a fault");
        assert_eq!(fault.kind, ViolationKind::GlobalRace, "{fault:?}");
        fault
    }

    fn word(&self, index: u64) -> u64 {
        self.address + 4 * index
    }

    fn write(&mut self, block: usize, index: u64) {
        let address = self.word(index);
        self.ok(block, Access::write(1, |_| address));
    }

    fn read(&self, index: u64) -> Access {
        let address = self.word(index);
        Access::read(1, move |_| address)
    }

    fn fence(&mut self, block: usize, scope: Scope) {
        self.blocks[block].fence(0, ALL, scope, FenceOrder { acquire: true, release: true, sc: false });
    }

    fn count(&mut self, block: usize) -> u32 {
        let out = self.ok(block, Access::atomic(1, self.word(1000), Scope::Gpu));
        u32::from_le_bytes([out[0][0], out[0][1], out[0][2], out[0][3]])
    }
}

#[test]
fn the_last_block_sees_all() {
    let scenario = |release: Option<Scope>, acquire: Option<Scope>| {
        let mut grid = Grid::new(4, true);
        for block in 0..4 {
            grid.write(block, block as u64);
            release.into_iter().for_each(|scope| grid.fence(block, scope));
            assert_eq!(grid.count(block), block as u32);
            acquire.into_iter().for_each(|scope| grid.fence(block, scope));
        }
        grid
    };
    let mut grid = scenario(Some(Scope::Gpu), Some(Scope::Gpu));
    (0..4).for_each(|index| _ = grid.ok(3, grid.read(index)));
    // Not the last: it has counted only those before it.
    grid.ok(2, grid.read(1));
    grid.races(2, grid.read(3));
    // The counter may be reset: all increments were observed.
    grid.write(3, 1000);
    for (release, acquire) in [
        (None, Some(Scope::Gpu)),
        (Some(Scope::Gpu), None),
        (Some(Scope::Cta), Some(Scope::Gpu)),
        (Some(Scope::Gpu), Some(Scope::Cta)),
    ] {
        let mut grid = scenario(release, acquire);
        let fault = grid.races(3, grid.read(1));
        assert_eq!(fault.prior.and_then(|prior| prior.block), Some(1), "{release:?} {acquire:?}");
    }
}

#[test]
fn a_reduction_acquires_nothing() {
    for reduction in [false, true] {
        let mut grid = Grid::new(2, true);
        grid.write(0, 0);
        grid.fence(0, Scope::Gpu);
        let counter = grid.word(1000);
        let count = Access::atomic(1, counter, Scope::Gpu);
        grid.run(0, count, true).expect("no fault");
        grid.run(1, count, reduction).expect("no fault");
        grid.fence(1, Scope::Gpu);
        let read = grid.read(0);
        assert_eq!(grid.run(1, read, false).is_err(), reduction);
    }
}

#[test]
fn atomics_of_narrow_scope_race_between_blocks() {
    let mut grid = Grid::new(2, true);
    let counter = grid.word(0);
    grid.ok(0, Access::atomic(1, counter, Scope::Cta));
    grid.ok(0, Access::atomic(1, counter, Scope::Cta));
    grid.races(1, Access::atomic(1, counter, Scope::Gpu));
}

#[test]
fn a_lock_is_handed_on_and_reset() {
    // Stream-K: each block waits for its turn, adds, and passes the turn on; the last resets the lock, weakly.
    let mut grid = Grid::new(3, true);
    let lock = grid.word(1000);
    for block in 0..3 {
        grid.ok(block, Access::read(1, |_| lock).strong(Scope::Gpu).acquire());
        if block > 0 {
            grid.ok(block, grid.read(0));
        }
        grid.write(block, 0);
        if block < 2 {
            grid.fence(block, Scope::Gpu);
            grid.run(block, Access::atomic(1, lock, Scope::Gpu), true).expect("no fault");
        } else {
            grid.ok(block, Access::write(1, |_| lock));
        }
    }
    let mut grid = Grid::new(2, true);
    grid.ok(0, Access::atomic(1, lock, Scope::Gpu));
    grid.races(1, Access::write(1, |_| lock));
}

#[test]
fn knowledge_is_passed_on_by_third_blocks() {
    let mut grid = Grid::new(3, true);
    grid.write(0, 0);
    let (first, second) = (grid.word(1000), grid.word(1001));
    grid.ok(0, Access::write(1, |_| first).strong(Scope::Gpu).release());
    grid.ok(1, Access::read(1, |_| first).strong(Scope::Gpu).acquire());
    grid.ok(1, Access::write(1, |_| second).strong(Scope::Gpu).release());
    grid.ok(2, Access::read(1, |_| second).strong(Scope::Gpu).acquire());
    grid.ok(2, grid.read(0));
    grid.write(0, 2);
    grid.races(2, grid.read(2));
}

#[test]
fn readers_of_several_blocks_are_remembered() {
    for inter_block_sync in [false, true] {
        for writer in 0..3 {
            let mut grid = Grid::new(3, inter_block_sync);
            (0..3).for_each(|block| _ = grid.ok(block, grid.read(5)));
            grid.ok(writer, Access::write(1, |_| grid.address));
            let address = grid.word(5);
            let fault = grid.races(writer, Access::write(1, |_| address));
            let prior = fault.prior.expect("a reader");
            assert_eq!((prior.kind, prior.pc), (AccessKind::Read, Some(7)));
            // The next launch is ordered after them.
            grid.launch(3);
            grid.write(1, 5);
        }
        // One block alone may overwrite what it read.
        let mut grid = Grid::new(3, inter_block_sync);
        grid.ok(1, grid.read(5));
        grid.ok(1, grid.read(5));
        grid.write(1, 5);
        grid.races(0, grid.read(5));
    }
}

#[test]
fn launches_are_ordered() {
    let mut grid = Grid::new(2, false);
    grid.write(0, 0);
    let fault = grid.races(1, grid.read(0));
    assert_eq!(fault.prior.and_then(|prior| prior.block), Some(0));
    grid.launch(2);
    grid.ok(1, grid.read(0));
    let fault = grid.races(0, Access::write(1, |_| grid.address));
    assert_eq!(fault.prior.and_then(|prior| prior.block), Some(1));
}

#[test]
fn unique_bytes_are_counted_once_for_each_launch() {
    let mut grid = Grid::new(2, false);
    let address = grid.address;
    for _ in 0..2 {
        for block in 0..2 {
            grid.ok(block, Access::read(ALL, |lane| address + 16 * lane).size(16));
            grid.ok(block, Access::read(1, |_| address + 500).size(2));
        }
        grid.ok(0, Access::write(ALL, |lane| address + 4096 + 2 * lane).size(2));
        grid.ok(0, Access::write(ALL, |lane| address + 4096 + 2 * lane).size(2));
        let (read, written) = (grid.tally.global_read, grid.tally.global_written);
        assert_eq!((read.unique_bytes, read.requested_bytes, read.requests), (512, 1028, 4));
        assert_eq!((written.unique_bytes, written.requested_bytes), (64, 128));
        // The allocation starts at 256 bytes past a multiple of 512: whole sectors.
        assert_eq!((read.sectors, read.issued_bytes), (34, 34 * 32));
        grid.launch(2);
    }
}

#[test]
fn numbers_of_blocks_start_over() {
    let mut grid = Grid::new(1, true);
    grid.write(0, 0);
    let most = u64::from(crate::race::MAX_BLOCKS);
    assert!(grid.memory.begin_launch(most, 1).is_err());
    let launch = grid.memory.begin_launch(most - 1, 1).expect("numbers");
    assert_eq!(launch.first_block, 1);
    grid.blocks = vec![BlockClocks::new(most as u32 - 1, LANES, launch)];
    grid.write(0, 0);
    grid.launch(2);
    grid.write(0, 0);
    grid.races(1, grid.read(0));
}

#[test]
fn host_threads_share_memory() {
    const BLOCKS: u64 = 64;
    let memory = GlobalMemory::new(0);
    let address = memory.allocate(BLOCKS * 4096 + 4).expect("room");
    let counter = address + BLOCKS * 4096;
    memory.fill(counter, &[0], 4).expect("in bounds");
    let launch = memory.begin_launch(BLOCKS, 1).expect("numbers");
    let next = std::sync::atomic::AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut cache = PageCache::new(Checks::default(), true);
                loop {
                    let block = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if block >= BLOCKS {
                        return;
                    }
                    let mut clocks = BlockClocks::new(launch.first_block + block as u32, LANES, launch);
                    let tally = &mut Tally::default();
                    for step in 0..32 {
                        // Blocks overlap in pages, not in bytes.
                        let at = address + step * 128 * BLOCKS + 128 * block;
                        let access = Access::write(ALL, |lane| at + 4 * lane);
                        let bytes = values(|lane| (step * 100_000 + block * 100) as u32 + lane as u32);
                        memory
                            .store(&mut cache, &mut clocks, 0, &access.warp(), &bytes, tally)
                            .expect("no fault");
                        let access = Access::atomic(ALL, counter, Scope::Gpu);
                        let old = &mut [0; LANES];
                        let update = &mut |_: usize, old: u64| old + 1;
                        let order = AtomicOrder { reduction: true, ..AtomicOrder::default() };
                        memory
                            .atomic(&mut cache, &mut clocks, 0, &access.warp(), order, update, old, tally)
                            .expect("no fault");
                    }
                }
            });
        }
    });
    let mut bytes = [0; 4];
    memory.host_read(counter, &mut bytes).expect("in bounds");
    assert_eq!(u32::from_le_bytes(bytes), 64 * 32 * 32);
    for (step, block, lane) in [(0u64, 0u64, 0u64), (31, 63, 31), (7, 40, 3)] {
        memory
            .host_read(address + step * 128 * BLOCKS + 128 * block + 4 * lane, &mut bytes)
            .expect("in bounds");
        assert_eq!(u64::from(u32::from_le_bytes(bytes)), step * 100_000 + block * 100 + lane);
    }
}
