//! Operations of the asynchronous proxy as accessors of their own. Such an operation happens at some time between its
//! issue and its completion, so it is stamped with a clock that no thread knows until it has waited for the completion:
//! that of a channel, which stands beside the warps of the block that issued it.
//!
//! An operation has its channel to itself until it completes, so that knowing one says nothing of others. Only where a
//! block has more operations in flight than there are channels do some share one.

use std::collections::VecDeque;

use super::stamp::{CHANNELS, Stamp};
use super::vector::Knowledge;

/// One operation: it, and what went before it in its channel, is known or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    /// The number of the block that issued it, over all launches.
    pub(super) block: u32,
    pub(super) channel: usize,
    pub(super) clock: u32,
}

impl Moment {
    pub(super) fn stamp(self) -> Stamp {
        Stamp::channel(self.block, self.clock, self.channel)
    }

    /// Whether who knows a later operation knows this one: both are of one channel.
    pub fn is_before(self, later: Self) -> bool {
        (self.block, self.channel) == (later.block, later.channel) && self.clock <= later.clock
    }
}

/// The channels of a block.
#[derive(Debug, Default)]
pub(super) struct Channels {
    /// The clock of the next operation of each.
    clocks: Vec<u32>,
    /// Those without an operation, the one that has been so for longest first: who has not waited for its last
    /// operation is the less likely to be taken for one who has.
    free: VecDeque<usize>,
    /// The one that is shared next.
    shared: usize,
}

impl Channels {
    /// An operation in a channel of its own, or in that of an earlier one.
    pub fn begin(&mut self, block: u32, after: Option<Moment>) -> Moment {
        let channel = after.map_or_else(|| self.take(), |earlier| earlier.channel);
        let clock = self.clocks[channel];
        self.clocks[channel] = (clock + 1).min(Stamp::MAX_CHANNEL_CLOCK);
        Moment { block, channel, clock }
    }

    fn take(&mut self) -> usize {
        // A few more than are in use, so that a channel rests before it is used again.
        const REST: usize = 16;
        if self.clocks.len() < CHANNELS && self.free.len() < REST {
            self.clocks.push(Stamp::FIRST_CHANNEL_CLOCK);
            return self.clocks.len() - 1;
        }
        self.free.pop_front().unwrap_or_else(|| {
            self.shared = (self.shared + 1) % CHANNELS;
            self.shared
        })
    }

    /// The channel of an operation is free.
    pub fn end(&mut self, moment: Moment) {
        if !self.free.contains(&moment.channel) {
            self.free.push_back(moment.channel);
        }
    }
}

/// An access by ordinary instructions of one thread, at a moment of its warp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(super) block: u32,
    pub(super) warp: usize,
    pub(super) lane: usize,
    pub(super) clock: u32,
}

impl Mark {
    pub(super) fn is_known(self, knowledge: &Knowledge) -> bool {
        knowledge.knows_any(self.block, self.warp, self.clock, 1 << self.lane)
    }
}
