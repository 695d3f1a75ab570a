//! Execution of `wgmma` and `setmaxnreg`.
//!
//! A `wgmma` is an operation of four warps. Each computes its 16 rows when it issues: the values are in the registers at
//! once, but nobody may touch them ([`registers`]) until a `wait_group` has waited for the operation; and what the
//! operation reads of shared memory it reads at a moment that is known only then ([`group`]).

mod group;
mod marks;
mod multiply;
mod pool;
mod registers;

pub(super) use group::{WarpState, Warpgroup};
pub(super) use pool::RegisterPool;

use super::fault::Fail;
use super::interpret::Flow;
use super::warp::Warp;
use super::{Block, Engine};
use crate::program::{LANES, Pc, WgmmaOp};
use crate::violation::ViolationKind;

/// Warps of a warpgroup.
const WARPS: usize = 4;

impl Engine<'_> {
    /// Executes one of them with all lanes of a warp.
    pub(super) fn wgmma(
        &mut self,
        block: &mut Block,
        warp: &mut Warp,
        pc: Pc,
        _active: u32,
        op: &WgmmaOp,
    ) -> Result<Flow, Fail> {
        self.check_warpgroup(block, warp, pc)?;
        match op {
            WgmmaOp::Multiply(op) => {
                self.multiply(block, warp, pc, op)?;
                Ok(Flow::Next)
            }
            WgmmaOp::Fence => {
                warp.wgmma_state().registers.fence();
                Ok(Flow::Next)
            }
            WgmmaOp::Commit => {
                warp.wgmma_state().commit();
                Ok(Flow::Next)
            }
            WgmmaOp::Wait(groups) => self.wait_group(block, warp, pc, *groups),
            WgmmaOp::SetRegisters { increase, count } => {
                self.set_registers(block, warp, pc, *increase, *count)
            }
        }
    }

    /// A warpgroup is four whole warps.
    fn check_warpgroup(&self, block: &Block, warp: &Warp, pc: Pc) -> Result<(), Fail> {
        let threads = self.launch.threads();
        let first = warp.index / WARPS * WARPS;
        if (first + WARPS) * LANES <= threads {
            return Ok(());
        }
        let message = format!(
            "a warpgroup is four whole warps: warps {first} to {} are not, in a block of {threads} threads",
            first + WARPS - 1
        );
        Err(self.fail(block, warp, pc, 0, ViolationKind::InvalidOperand, message))
    }
}

impl Warp {
    fn wgmma_state(&mut self) -> &mut WarpState {
        self.wgmma.get_or_insert_default()
    }
}
