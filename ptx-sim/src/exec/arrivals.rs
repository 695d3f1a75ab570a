//! Bulk copies on their way to a block, each of which will signal one of the block's mbarriers when it is complete.
//!
//! Such a copy is kept with the block whose mbarrier it signals. By seed it completes when it is issued, or when somebody
//! polls that mbarrier in vain: until then a waiter cannot know of it, so that is the last legal moment.

use super::bulk::Transfer;
use super::fault::Fail;
use super::{Block, Engine};
use crate::program::Pc;
use crate::race::Moment;

/// A copy on its way.
#[derive(Debug)]
pub(super) struct Arrival {
    /// The address of the mbarrier, in the shared memory of the block that keeps this.
    pub barrier: u64,
    /// What the tx-count falls by when the copy is complete.
    pub bytes: u32,
    /// When it happens: who waits for the phase learns it.
    pub moment: Moment,
    pub issuer: Issuer,
    pub transfer: Transfer,
}

/// Who issued an asynchronous operation, for reports.
#[derive(Clone, Copy, Debug)]
pub(super) struct Issuer {
    /// Linear index in the grid of its block.
    pub block: u64,
    pub warp: usize,
    pub lane: usize,
    pub pc: Pc,
}

impl Engine<'_> {
    /// Whether an asynchronous operation completes when it is issued.
    pub(super) fn arrives_at_once(&mut self) -> bool {
        self.launch.options.seed != 0 && self.random.next() >> 63 != 0
    }

    /// A copy that signals an mbarrier of `block` has been issued, and all that it touches has been claimed, the
    /// mbarrier by [`super::mbarrier::claim`]. By seed it completes at once.
    pub(super) fn issue_arrival(&mut self, block: &mut Block, arrival: Arrival) -> Result<(), Fail> {
        if self.arrives_at_once() {
            return self.complete_arrival(block, &arrival);
        }
        block.arrivals.push(arrival);
        Ok(())
    }

    /// Somebody has polled an mbarrier of `block` in vain: copies that signal it complete, some or all of them.
    pub(super) fn complete_arrivals(&mut self, block: &mut Block, barrier: u64) -> Result<(), Fail> {
        let mut arrivals = std::mem::take(&mut block.arrivals);
        let chosen = self.choose(&mut arrivals, |arrival| arrival.barrier == barrier);
        block.arrivals = arrivals;
        chosen.iter().try_for_each(|arrival| self.complete_arrival(block, arrival))
    }

    /// Takes what completes of the operations that could, in the order in which they do: with seed 0 all as they were
    /// issued, else some in any order.
    pub(super) fn choose<T>(&mut self, operations: &mut Vec<T>, could: impl Fn(&T) -> bool) -> Vec<T> {
        let in_order = self.launch.options.seed == 0;
        let random = &mut self.random;
        let mut chosen: Vec<T> = operations
            .extract_if(.., |operation| could(operation) && (in_order || random.next() >> 63 != 0))
            .collect();
        if !in_order {
            // A random permutation (Fisher and Yates).
            for left in (1..chosen.len()).rev() {
                chosen.swap(left, self.random.below(left + 1));
            }
        }
        chosen
    }

    /// A copy to `block` is complete: its bytes arrive, and the mbarrier counts them.
    fn complete_arrival(&mut self, block: &mut Block, arrival: &Arrival) -> Result<(), Fail> {
        self.deliver(block, arrival);
        self.complete_bytes(block, arrival)
    }
}
