//! Execution: blocks, warps, and the scheduler that interleaves them.

mod access;
mod barrier;
mod collective;
mod copies;
mod copy_async;
mod fault;
mod interpret;
mod matrix;
mod print;
mod schedule;
mod start;
mod taint;
mod warp;

use std::collections::HashMap;
use std::sync::Arc;

use barrier::{BARRIERS, BarrierState};
pub(crate) use schedule::{Residency, run};
use taint::Origin;
use warp::Warp;

use crate::config::{DeviceProperties, RunOptions};
use crate::count::Tally;
use crate::launch::LaunchConfig;
use crate::memory::{GlobalMemory, PageCache, SharedMemory};
use crate::program::Program;
use crate::race::{BlockClocks, LaunchNumbers};

/// A launch: what its blocks share.
pub(crate) struct Launch<'a> {
    pub program: &'a Program,
    pub config: LaunchConfig,
    /// The packed parameters.
    pub parameters: &'a [u8],
    pub memory: &'a GlobalMemory,
    pub properties: &'a DeviceProperties,
    pub options: RunOptions,
    /// The numbers of its blocks among those of all launches.
    pub numbers: LaunchNumbers,
    /// Running number of the launch on its device.
    pub grid_id: u64,
    /// Static and dynamic shared memory of each block, in bytes.
    pub shared_bytes: u32,
    pub residency: Residency,
}

impl Launch<'_> {
    /// Blocks of the grid.
    pub fn blocks(&self) -> u64 {
        self.config.grid.iter().map(|n| u64::from(*n)).product()
    }

    /// Threads of a block.
    pub fn threads(&self) -> usize {
        self.config.block.iter().map(|n| *n as usize).product()
    }
}

/// A live block.
struct Block {
    /// Its linear index in the grid, x fastest.
    index: u64,
    /// Its warps; `None` for the one that runs, and for those that have exited.
    warps: Vec<Option<Box<Warp>>>,
    /// Warps with lanes that have not exited, one bit each.
    live_warps: u64,
    shared: SharedMemory,
    clocks: BlockClocks,
    barriers: [BarrierState; BARRIERS],
    /// Addresses of shared memory that garbage was stored to, and the read that it came from.
    garbage: HashMap<u64, Arc<Origin>>,
}

/// What one host thread runs blocks with.
struct Engine<'a> {
    launch: &'a Launch<'a>,
    cache: PageCache,
    /// Shared memory of a block that has ended, for the next.
    spare: Option<SharedMemory>,
    tally: Tally,
    /// Grows with everything that another warp could wait for.
    progress: u64,
    /// Instructions executed, for the clocks and the limit.
    executed: u64,
    /// Bits that decide what the hardware leaves open.
    random: Random,
    /// What `printf` printed.
    output: String,
}

/// A small generator for decisions of the scheduler (xorshift64*, Vigna 2016).
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        // SplitMix64's finaliser, so that neighbouring seeds part at once.
        let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Self((z ^ (z >> 31)) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 33) as usize % bound.max(1)
    }
}
