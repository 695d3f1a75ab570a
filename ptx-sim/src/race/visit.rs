//! Accesses by other blocks of a cluster to a block's shared memory, which is gone when the block exits: each has to be
//! known by then to a thread of the block.

use std::collections::BTreeMap;

use super::channel::Mark;
use super::clocks::BlockClocks;
use crate::memory::lanes_of;
use crate::program::Pc;

/// An access that the block need not have waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Visit {
    /// The number of the visitor's block over all launches.
    pub block: u32,
    pub warp: usize,
    pub lane: usize,
    pub pc: Pc,
}

/// The last access of each thread.
#[derive(Debug, Default)]
pub(crate) struct Visits {
    last: BTreeMap<(u32, usize, usize), (Mark, Pc)>,
}

impl Visits {
    /// An access by lanes of a warp of another block.
    pub fn add(&mut self, visitor: &BlockClocks, warp: usize, lanes: u32, pc: Pc) {
        for lane in lanes_of(lanes) {
            self.last.insert((visitor.block(), warp, lane), (visitor.mark(warp, lane), pc));
        }
    }

    /// The first access that no thread of the block, all of whose threads have exited, knew of.
    pub fn missed(&self, host: &BlockClocks) -> Option<Visit> {
        let missed = self.last.iter().find(|(_, (mark, _))| !host.knew_at_exit(*mark))?;
        let ((block, warp, lane), (_, pc)) = missed;
        Some(Visit { block: *block, warp: *warp, lane: *lane, pc: *pc })
    }
}
