//! Execution: blocks, warps, and the scheduler that interleaves them.

mod access;
mod arrivals;
mod barrier;
mod bulk;
mod cluster;
mod collective;
mod copies;
mod copy_async;
mod fault;
mod grid;
mod interpret;
mod live;
mod matrix;
mod mbarrier;
mod print;
mod schedule;
mod start;
mod taint;
mod warp;
mod wgmma;

use std::collections::HashMap;
use std::sync::Arc;

use arrivals::Arrival;
use barrier::{BARRIERS, BarrierState};
use bulk::Sending;
use grid::Grid;
use live::{Live, Place};
use mbarrier::{Mbarriers, Tracked};
pub(crate) use schedule::{Outcome, Residency, run};
use taint::Origin;
use warp::Warp;
use wgmma::{RegisterPool, Warpgroup};

use crate::config::{DeviceProperties, RunOptions};
use crate::count::Tally;
use crate::launch::LaunchConfig;
use crate::memory::{GlobalMemory, PageCache, SharedMemory};
use crate::program::Program;
use crate::race::{BlockClocks, LaunchNumbers, Visits};

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

    /// Blocks of a cluster.
    pub fn cluster_size(&self) -> u64 {
        self.config.cluster.iter().map(|n| u64::from(*n)).product()
    }

    /// Whether blocks can order what they do: all, or those of a cluster.
    pub fn blocks_synchronize(&self) -> bool {
        self.program.inter_block_sync || self.cluster_size() > 1
    }

    /// The linear index in the grid of the block with an ordinal.
    pub fn index_of(&self, ordinal: u64) -> u64 {
        if self.config.cluster == [1; 3] {
            return ordinal;
        }
        let (grid, cluster) = (self.config.grid, self.config.cluster);
        let size = self.cluster_size().max(1);
        let clusters = std::array::from_fn(|axis| grid[axis] / cluster[axis].max(1));
        let first = fault::coordinates(ordinal / size, clusters);
        let within = fault::coordinates(ordinal % size, cluster);
        let at = |axis: usize| u64::from(first[axis]) * u64::from(cluster[axis]) + u64::from(within[axis]);
        (at(2) * u64::from(grid[1]) + at(1)) * u64::from(grid[0]) + at(0)
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
    /// Its number when the blocks are counted cluster by cluster, as race checks and reports of them do.
    ordinal: u64,
    place: Place,
    /// Which of the launches that run it belongs to.
    grid: usize,
    /// It has executed `griddepcontrol.launch_dependents`.
    lets_start: bool,
    /// What those of its threads knew that have exited: all that blocks with numbers below this one did.
    known_before: u32,
    /// Its warps; `None` for the one that runs, and for those that have exited.
    warps: Vec<Option<Box<Warp>>>,
    /// Warps with lanes that have not exited, one bit each.
    live_warps: u64,
    shared: SharedMemory,
    clocks: BlockClocks,
    barriers: [BarrierState; BARRIERS],
    mbarriers: Mbarriers,
    /// Bulk copies that are on their way and will signal one of its mbarriers, in the order of their issue.
    arrivals: Vec<Arrival>,
    /// Copies of its shared memory to other blocks that nobody in it is known to have waited for.
    sending: Vec<Sending>,
    /// Copies to global memory by threads that have exited.
    left: Vec<bulk::Store>,
    /// Copies of `cp.async` that its mbarriers track.
    tracked: Vec<Tracked>,
    /// Addresses of shared memory that garbage was stored to, and the read that it came from.
    garbage: HashMap<u64, Arc<Origin>>,
    /// Accesses by other blocks of the cluster to its shared memory.
    visits: Visits,
    /// The warpgroups that have executed a `wgmma`, and those before them.
    warpgroups: Vec<Warpgroup>,
    /// Where the block has executed a `setmaxnreg`.
    registers: Option<RegisterPool>,
}

/// What one host thread runs blocks with.
struct Engine<'a> {
    /// Of the block that runs.
    launch: &'a Launch<'a>,
    /// The launches, in the order of their stream.
    grids: Vec<Grid<'a>>,
    /// The one of the block that runs.
    current: usize,
    /// The one whose clusters start next.
    starting: usize,
    /// The first one that has not ended.
    oldest: usize,
    /// How much of the device's room for blocks is taken.
    used: u64,
    /// All live blocks but the one that runs.
    live: Live,
    cache: PageCache,
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
