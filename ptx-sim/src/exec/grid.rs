//! Grids that run at the same time: when one may start, and `griddepcontrol`.
//!
//! A launch with programmatic stream serialization may start when every block of the launch before it has executed
//! `griddepcontrol.launch_dependents` or has exited. By seed it does start then, or only when all before it have ended;
//! either way nothing that they do is ordered before what it does until `griddepcontrol.wait`.

use std::sync::atomic::{AtomicU64, Ordering};

use super::fault::Fail;
use super::interpret::Flow;
use super::warp::Warp;
use super::{Block, Engine, Launch, Random};
use crate::count::Tally;
use crate::memory::SharedMemory;
use crate::program::GridOp;

/// All room that a device has for blocks.
const ROOM: u64 = 1 << 62;
/// Blocks that live at once of a grid that overlaps others, where it is all the same to them how many do.
const FEW: u64 = 8;

/// How far one of the launches is.
pub(super) struct Grid<'a> {
    pub launch: &'a Launch<'a>,
    pub clusters: u64,
    /// Clusters run one after another: where these cannot communicate, how they interleave cannot matter. For the caches'
    /// sake.
    one_by_one: bool,
    /// What one block takes of the room.
    share: u64,
    /// Blocks that have neither exited nor let dependents start.
    holding: u64,
    /// Blocks that have not exited.
    left: u64,
    /// What all blocks knew when they let dependents start: all that blocks with numbers below this one did.
    known_before: u32,
    /// The launch starts as soon as it may.
    early: bool,
    pub tally: Tally,
    pub output: String,
    /// Shared memory of blocks that have ended, for the next.
    spares: Vec<SharedMemory>,
}

impl<'a> Grid<'a> {
    /// `overlaps`: there are others.
    pub fn new(launch: &'a Launch<'a>, overlaps: bool) -> Self {
        let size = launch.cluster_size().max(1);
        let total = u64::from(launch.residency.total) / size;
        let clusters = match (launch.program.inter_block_sync, overlaps) {
            (true, _) => total,
            (false, true) => total.min(FEW.div_ceil(size)),
            (false, false) => 1,
        };
        let seed = launch.options.seed;
        Self {
            launch,
            clusters: launch.blocks() / size,
            one_by_one: !launch.program.inter_block_sync && !overlaps,
            share: ROOM / (clusters.max(1) * size),
            holding: launch.blocks(),
            left: launch.blocks(),
            known_before: u32::MAX,
            early: seed == 0 || Random::new(seed ^ launch.grid_id).next() >> 63 != 0,
            tally: Tally::default(),
            output: String::new(),
            spares: Vec::new(),
        }
    }

    /// A block lets dependents start, knowing what blocks with numbers below `known` did.
    fn release(&mut self, known: u32) {
        self.holding -= 1;
        self.known_before = self.known_before.min(known);
    }
}

impl Engine<'_> {
    /// Starts clusters while there is room.
    pub(super) fn start_clusters(&mut self, next: &[AtomicU64]) {
        while let Some(next) = next.get(self.starting) {
            let may_start = match self.starting.checked_sub(1) {
                Some(before) if self.grids[self.starting].early => self.grids[before].holding == 0,
                _ => self.oldest == self.starting,
            };
            let grid = &self.grids[self.starting];
            let size = grid.launch.cluster_size().max(1);
            if !may_start || self.used + size * grid.share > ROOM {
                return;
            }
            let cluster = next.fetch_add(1, Ordering::Relaxed);
            if cluster >= grid.clusters {
                if self.starting + 1 == self.grids.len() {
                    return;
                }
                self.starting += 1;
                continue;
            }
            self.start_cluster(cluster, size);
        }
    }

    fn start_cluster(&mut self, cluster: u64, size: u64) {
        let known_before = self.starting.checked_sub(1).map(|before| self.grids[before].known_before);
        let number = self.starting;
        let grid = &mut self.grids[number];
        self.used += size * grid.share;
        if grid.one_by_one {
            // What a cluster does depends on the seed and on its own number, not on the host thread.
            self.random = Random::new(grid.launch.options.seed.wrapping_add(cluster << 32));
        }
        self.live.add_cluster(size as usize, |rank, place| {
            let ordinal = cluster * size + rank as u64;
            let mut block = grid.launch.start_block(ordinal, place, grid.spares.pop());
            block.grid = number;
            if let Some(known) = known_before {
                block.clocks.start_after(known);
            }
            block
        });
    }

    /// A block of the present grid has exited.
    pub(super) fn end_block(&mut self, block: Block) {
        let grid = &mut self.grids[block.grid];
        self.used -= grid.share;
        grid.left -= 1;
        if !block.lets_start {
            grid.release(block.known_before);
        }
        grid.spares.push(block.shared);
        while self.grids.get(self.oldest).is_some_and(|grid| grid.left == 0) {
            self.oldest += 1;
        }
    }

    /// Blocks of a grid run from now on.
    pub(super) fn enter_grid(&mut self, number: usize) {
        if number == self.current {
            return;
        }
        self.leave_grid();
        let grid = &mut self.grids[number];
        self.current = number;
        self.launch = grid.launch;
        self.tally = std::mem::take(&mut grid.tally);
        self.output = std::mem::take(&mut grid.output);
        self.executed -= self.tally.instructions();
    }

    /// Puts away what the present grid has done so far.
    pub(super) fn leave_grid(&mut self) {
        self.executed += self.tally.instructions();
        let grid = &mut self.grids[self.current];
        grid.tally = std::mem::take(&mut self.tally);
        grid.output = std::mem::take(&mut self.output);
    }

    /// Lanes exit: what they know has happened before their block has.
    pub(super) fn note_known(&self, block: &mut Block, warp: &Warp, lanes: u32) {
        if self.grids.len() > 1 {
            block.known_before = block.known_before.max(block.clocks.ordered_before(warp.index, lanes));
        }
    }

    pub(super) fn grid(
        &mut self,
        block: &mut Block,
        warp: &mut Warp,
        active: u32,
        op: GridOp,
    ) -> Result<Flow, Fail> {
        match op {
            GridOp::Launch => {
                // The first of its threads speaks for a block.
                if !block.lets_start && self.grids.len() > 1 {
                    block.lets_start = true;
                    let known = block.clocks.ordered_before(warp.index, active);
                    self.grids[block.grid].release(known);
                    self.progress += 1;
                }
            }
            GridOp::Wait => {
                if self.oldest < block.grid {
                    return Ok(Flow::Wait);
                }
                block.clocks.learn_before(warp.index, active, self.launch.numbers.first_block);
            }
        }
        Ok(Flow::Next)
    }
}
