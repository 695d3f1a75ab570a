//! Which blocks are live, and which of their warps runs next.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::fault::Fail;
use super::grid::Grid;
use super::interpret::Stop;
use super::warp::State;
use super::{Block, Engine, Launch, Live, Random};
use crate::config::DeviceProperties;
use crate::count::Tally;
use crate::memory::PageCache;
use crate::violation::ViolationKind;

/// Rounds in which every live warp waits and nothing changes, after which the launch is dead.
const DEAD_ROUNDS: u32 = 64;
/// Instructions that a warp runs before another may, with seed 0 and where blocks cannot see each other.
const LONG_TURN: u32 = 1 << 16;
/// Instructions at least of a warp that waited in a loop when its last turn ended. It has to come round the loop within
/// its turn: cut short on the way it would look busy, and a deadlock would not be seen.
const SPIN_TURN: u32 = 1 << 12;

/// How many blocks live at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Residency {
    /// On one multiprocessor.
    pub per_sm: u32,
    /// On the device.
    pub total: u32,
}

impl Residency {
    /// By the limits of a multiprocessor: blocks, threads, shared memory, registers (allocated by the warp in units of
    /// 256).
    pub fn of(properties: &DeviceProperties, threads: u32, shared_bytes: u32, registers: u32) -> Self {
        let warps = threads.div_ceil(properties.warp_size).max(1);
        let by_threads = properties.max_threads_per_sm / (warps * properties.warp_size);
        let shared = (shared_bytes + properties.reserved_shared_memory_per_block).next_multiple_of(128);
        let by_shared = properties.shared_memory_per_sm / shared.max(1);
        let registers_per_warp = (registers * properties.warp_size).next_multiple_of(256).max(256);
        let by_registers = properties.registers_per_sm / (registers_per_warp * warps);
        let per_sm = properties.max_blocks_per_sm.min(by_threads).min(by_shared).min(by_registers);
        Self { per_sm, total: per_sm.saturating_mul(properties.sm_count) }
    }
}

/// What one host thread's blocks did, by launch, and which of them failed.
type Part = (u64, Outcome);

/// What launches did.
pub(crate) struct Outcome {
    /// Counters, and what was printed, of the launches that have been carried out: all but those from the one that
    /// failed on.
    pub done: Vec<(Tally, String)>,
    pub fail: Option<Fail>,
}

/// Runs all blocks of a launch; or of several that overlap, each of which may start when the one before it lets its
/// dependents start.
pub(crate) fn run(launches: &[Launch<'_>]) -> Outcome {
    let [launch] = launches else {
        let next: Vec<AtomicU64> = launches.iter().map(|_| AtomicU64::new(0)).collect();
        return Engine::new(launches).run(&next, &AtomicU64::new(u64::MAX)).1;
    };
    let clusters = launch.blocks() / launch.cluster_size().max(1);
    let threads = match launch.options.host_threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    // Blocks that can tell how far others are have to run as the scheduler says.
    let alone = launch.program.inter_block_sync || launch.program.order_dependent;
    let threads = if alone { 1 } else { threads.min(clusters as usize).max(1) };
    let next = [AtomicU64::new(0)];
    // Of several blocks that fail, the first one is reported, whichever host thread is faster.
    let failed = AtomicU64::new(u64::MAX);
    let mut parts: Vec<Part> = if threads == 1 {
        vec![Engine::new(launches).run(&next, &failed)]
    } else {
        let results = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..threads {
                let (next, failed, results) = (&next, &failed, &results);
                scope.spawn(move || {
                    let result = Engine::new(launches).run(next, failed);
                    results.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(result);
                });
            }
        });
        results.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
    };
    parts.sort_by_key(|(block, _)| *block);
    let mut total = (Tally::default(), String::new());
    for (_, part) in parts {
        if part.fail.is_some() {
            return part;
        }
        for (tally, output) in part.done {
            total.0.add(&tally);
            total.1.push_str(&output);
        }
    }
    Outcome { done: vec![total], fail: None }
}

impl<'a> Engine<'a> {
    fn new(launches: &'a [Launch<'a>]) -> Self {
        let launch = &launches[0];
        let synchronize = launches.len() > 1 || launch.blocks_synchronize();
        Self {
            launch,
            grids: launches.iter().map(|launch| Grid::new(launch, launches.len() > 1)).collect(),
            current: 0,
            starting: 0,
            oldest: 0,
            used: 0,
            live: Live::default(),
            cache: PageCache::new(launch.options.checks, synchronize),
            tally: Tally::default(),
            progress: 0,
            executed: 0,
            random: Random::new(launch.options.seed),
            output: String::new(),
        }
    }

    /// Runs blocks until there are no more, or until an earlier one has failed. Gives the block that failed here.
    fn run(mut self, next: &[AtomicU64], failed: &AtomicU64) -> Part {
        let result = self.run_blocks(next, failed);
        self.leave_grid();
        let results = self.grids.into_iter().map(|grid| (grid.tally, grid.output));
        match result {
            Ok(()) => (u64::MAX, Outcome { done: results.collect(), fail: None }),
            Err((block, fail)) => {
                failed.fetch_min(block, Ordering::Relaxed);
                (block, Outcome { done: results.take(self.oldest).collect(), fail: Some(fail) })
            }
        }
    }

    fn run_blocks(&mut self, next: &[AtomicU64], failed: &AtomicU64) -> Result<(), (u64, Fail)> {
        let seed = self.launch.options.seed;
        let mut turn = 0;
        let mut idle_rounds = 0;
        let mut idle_turns = 0;
        let mut seen = self.progress;
        loop {
            self.start_clusters(next);
            // Clusters start in order: those before the failed one all run to their end.
            let earlier = |block: &Block| block.ordinal < failed.load(Ordering::Relaxed);
            if !self.live.blocks().next().is_some_and(earlier) {
                return Ok(());
            }
            let live = self.live.len();
            let chosen = if seed == 0 { turn % live } else { self.random.below(live) };
            let Some(mut block) = self.live.take(chosen) else { continue };
            self.enter_grid(block.grid);
            let busy = self.run_block(&mut block).map_err(|fail| (block.ordinal, fail))?;
            if block.live_warps == 0 {
                self.live.remove(chosen);
                self.end_block(*block);
                self.progress += 1;
            } else {
                self.live.put(block);
            }
            // With seed 0 a block runs on until it waits.
            turn = if busy { chosen } else { chosen + 1 };
            if busy || seen != self.progress {
                seen = self.progress;
                (idle_turns, idle_rounds) = (0, 0);
                continue;
            }
            idle_turns += 1;
            // A random choice may leave blocks out: a round is several times their number.
            if idle_turns > 8 * live {
                (idle_turns, idle_rounds) = (0, idle_rounds + 1);
            }
            if idle_rounds > DEAD_ROUNDS || self.all_at_barriers() && idle_turns > live {
                let (grid, ordinal) =
                    self.live.blocks().next().map_or((0, 0), |block| (block.grid, block.ordinal));
                self.enter_grid(grid);
                let started = next.get(grid).map_or(0, |next| next.load(Ordering::Relaxed));
                let fail = self.deadlock(started < self.grids[grid].clusters);
                return Err((ordinal, fail));
            }
        }
    }

    /// Lets warps of a block run; whether one of them did more than wait.
    fn run_block(&mut self, block: &mut Block) -> Result<bool, Fail> {
        let seed = self.launch.options.seed;
        let warps = block.warps.len();
        let first = if seed == 0 { 0 } else { self.random.below(warps) };
        let mut busy = false;
        for offset in 0..warps {
            let index = (first + offset) % warps;
            let Some(mut warp) = block.warps[index].take() else { continue };
            let fuel = if seed == 0 { LONG_TURN } else { 1 << self.random.below(12) };
            let fuel = if warp.spins { fuel.max(SPIN_TURN) } else { fuel };
            let before = self.executed();
            let stop = self.run_warp(block, &mut warp, fuel)?;
            warp.spins = stop == Stop::Spinning;
            self.count_limit(block, &warp)?;
            match stop {
                Stop::Exited => busy = true,
                Stop::Preempted => {
                    busy = true;
                    block.warps[index] = Some(warp);
                }
                Stop::Blocked | Stop::Spinning => {
                    // It came to a barrier or flag only now: that is progress, too.
                    busy |= stop == Stop::Blocked && self.executed() != before;
                    block.warps[index] = Some(warp);
                }
            }
        }
        Ok(busy)
    }

    fn count_limit(&self, block: &Block, warp: &super::Warp) -> Result<(), Fail> {
        match self.launch.options.max_instructions {
            Some(limit) if self.tally.instructions() > limit => {
                // The group that would run next, which is in the loop that does not end.
                let running = warp.groups.iter().filter(|group| group.state != State::Parked);
                let running = running.min_by_key(|group| group.pc);
                let (pc, mask) = running.map_or((0, 1), |group| (group.pc, group.mask));
                let message = format!("more than {limit} warp instructions");
                let lane = mask.trailing_zeros() as usize & 31;
                Err(self.fail(block, warp, pc, lane, ViolationKind::InstructionLimit, message))
            }
            _ => Ok(()),
        }
    }

    /// Whether every warp of every live block waits at a barrier of its block: no round will change that.
    fn all_at_barriers(&self) -> bool {
        self.live.blocks().flat_map(|block| block.warps.iter().flatten()).all(|warp| {
            warp.groups.iter().any(|group| group.state == State::Barrier)
                && warp.groups.iter().all(|group| matches!(group.state, State::Barrier | State::Parked))
        })
    }

    /// The report of a deadlock: who waits where.
    fn deadlock(&self, more_blocks: bool) -> Fail {
        const SHOWN: usize = 12;
        let mut lines: Vec<String> = Vec::new();
        let mut count = 0;
        for block in self.live.blocks() {
            let launch = self.grids[block.grid].launch;
            let [x, y, z] = super::fault::coordinates(block.index, launch.config.grid);
            for (id, barrier) in block.barriers.iter().enumerate() {
                if let Some(text) = barrier.describe(id, block.warps.len()) {
                    lines.push(format!("block ({x}, {y}, {z}): {text}"));
                }
            }
            if let Some(pool) = &block.registers {
                lines.push(format!("block ({x}, {y}, {z}): {}", pool.describe()));
            }
            if let Some(text) = self.live.describe_barrier(block) {
                lines.push(format!("block ({x}, {y}, {z}): {text}"));
            }
            let mbarriers = self.describe_mbarriers(block);
            lines.extend(mbarriers.into_iter().map(|text| format!("block ({x}, {y}, {z}): {text}")));
            for warp in block.warps.iter().flatten() {
                count += 1;
                lines.push(format!(
                    "block ({x}, {y}, {z}), warp {}: {}",
                    warp.index,
                    self.describe_lanes(warp)
                ));
            }
        }
        let hidden = lines.len().saturating_sub(SHOWN);
        lines.truncate(SHOWN);
        if hidden != 0 {
            lines.push(format!("… and {hidden} more"));
        }
        let mut message = format!("all {count} live warps wait, and nothing can wake them");
        if more_blocks {
            message.push_str(&format!(
                "; blocks that have not started are waiting for room ({} of {} fit the device at once)",
                self.launch.residency.total,
                self.launch.blocks()
            ));
        }
        let message = format!("{message}\n    {}", lines.join("\n    "));
        let mut fail = self.fail_launch(ViolationKind::Deadlock, message);
        // The place of a group that waits, so that the report points somewhere: those at barriers wait for the others.
        let waiting = || {
            let warps = self
                .live
                .blocks()
                .flat_map(|block| block.warps.iter().flatten().map(move |warp| (block, &**warp)));
            warps.flat_map(|(block, warp)| warp.groups.iter().map(move |group| (block, warp, group)))
        };
        let in_loop = waiting().find(|(.., group)| group.state == State::Spinning);
        if let Some((block, warp, group)) = in_loop.or_else(|| waiting().next()) {
            fail.location = self.launch.program.location(group.pc);
            let lane = group.mask.trailing_zeros() as usize & 31;
            fail.thread = Some(self.launch.thread(block.index, warp.index, lane));
        }
        fail
    }
}
