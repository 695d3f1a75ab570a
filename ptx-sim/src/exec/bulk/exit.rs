//! What becomes of copies when threads and blocks exit.
//!
//! A store to global memory that nobody has waited for completes nevertheless: public kernels leave their last ones so, and
//! the hardware keeps a block's shared memory until they have been read. A copy out of it to another block has to be known
//! to be complete before the block exits.

use super::super::arrivals::Issuer;
use super::super::fault::{Fail, coordinates};
use super::super::warp::Warp;
use super::super::{Block, Engine};
use crate::race::Moment;
use crate::violation::ViolationKind;

/// Copies after which those that are known to be complete are looked for.
const MANY: usize = 64;

/// A copy to another block that reads a block's shared memory until somebody there knows that it is complete.
#[derive(Debug)]
pub(in crate::exec) struct Sending {
    pub moment: Moment,
    pub issuer: Issuer,
    /// What it reads begins there.
    pub source: u64,
}

impl Block {
    pub(super) fn note_sending(&mut self, copy: Sending) {
        if self.sending.len() >= MANY && self.sending.len().is_power_of_two() {
            self.forget_sent();
        }
        self.sending.push(copy);
    }

    /// Forgets copies that somebody in the block knows to be complete.
    fn forget_sent(&mut self) {
        let clocks = &self.clocks;
        self.sending.retain(|copy| !clocks.has_learned(copy.moment));
    }
}

impl Engine<'_> {
    /// Lanes of a warp are about to exit.
    pub(in crate::exec) fn leave_copies(&mut self, block: &mut Block, warp: &mut Warp, lanes: u32) {
        block.forget_sent();
        block.left.extend(warp.stores.take(lanes));
    }

    /// All threads of a block have exited.
    pub(in crate::exec) fn end_copies(&mut self, block: &mut Block) -> Result<(), Fail> {
        for mut store in std::mem::take(&mut block.left) {
            self.complete_store(&block.shared, &mut store);
        }
        let Some(Sending { issuer, source, .. }) = block.sending.first() else { return Ok(()) };
        let [x, y, z] = coordinates(block.index, self.launch.config.grid);
        let message = format!(
            "block ({x}, {y}, {z}) exits while this asynchronous copy to another block may still read its shared memory: \
             nothing in it knows that the copy is complete"
        );
        Err(self.fail_issued(*issuer, ViolationKind::AsyncCopyRace, *source, message))
    }
}
