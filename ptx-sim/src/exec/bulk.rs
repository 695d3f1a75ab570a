//! Execution of copies by the asynchronous proxy: `cp.async.bulk`, with tensor maps and without.
//!
//! A copy claims what it reads and writes when it is issued: that finds its races and what its operands break. Its bytes
//! move at once or, with seed 0 always, at the last legal moment: when somebody polls the mbarrier that counts them, at the
//! wait for its group, or where nobody waits for a store at the end of the block.

mod claim;
mod content;
mod deliver;
mod exit;
mod global_side;
mod groups;
mod load;
mod map;
mod remote;
mod store;

pub(super) use deliver::Transfer;
pub(super) use exit::Sending;
pub(super) use groups::{Store, Stores};

use super::collective::lanes_of;
use super::fault::Fail;
use super::interpret::Flow;
use super::warp::Warp;
use super::{Block, Engine};
use crate::program::{BulkOp, Pc};

impl Engine<'_> {
    pub(super) fn bulk(
        &mut self,
        block: &mut Block,
        warp: &mut Warp,
        pc: Pc,
        active: u32,
        op: &BulkOp,
    ) -> Result<Flow, Fail> {
        // Each lane issues a copy of its own.
        match op {
            BulkOp::Load(op) => {
                lanes_of(active).try_for_each(|lane| self.bulk_load(block, warp, pc, lane, op))?;
            }
            BulkOp::Send(op) => {
                lanes_of(active).try_for_each(|lane| self.bulk_send(block, warp, pc, lane, op))?;
            }
            BulkOp::Store(op) => {
                let lanes = store::distinct(warp, op, active);
                lanes_of(lanes).try_for_each(|lane| self.bulk_store(block, warp, pc, lane, op))?;
            }
            BulkOp::Prefetch(side) => {
                // A hint: only what it is given is checked.
                for lane in lanes_of(active) {
                    self.global_side(block, warp, pc, lane, side)?;
                }
            }
            BulkOp::PrefetchMap(map) => {
                for lane in lanes_of(active) {
                    self.tensor_map(block, warp, pc, lane, map)?;
                }
            }
            BulkOp::Commit => warp.stores.commit(active),
            BulkOp::Wait(wait) => self.bulk_wait(block, warp, active, *wait),
            BulkOp::Remote(op) => self.remote(block, warp, pc, active, op)?,
        }
        Ok(Flow::Next)
    }
}
