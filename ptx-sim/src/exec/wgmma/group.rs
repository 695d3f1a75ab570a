//! What warps of a warpgroup have issued, and their waits for it.

use std::collections::VecDeque;
use std::rc::Rc;

use super::WARPS;
use super::multiply::SharedB;
use super::registers::Registers;
use crate::exec::fault::Fail;
use crate::exec::interpret::Flow;
use crate::exec::warp::Warp;
use crate::exec::{Block, Engine};
use crate::program::Pc;
use crate::race::{BarrierClock, BlockClocks, Moment};
use crate::violation::ViolationKind;

/// Multiplications that some warps have issued and others have not, whose B is kept for these. It is read anew for the
/// ones beyond.
const KEPT: usize = 16;

/// A multiplication that some warps of the warpgroup have issued.
#[derive(Debug)]
pub(in crate::exec) struct Issue {
    pub pc: Pc,
    /// The descriptors of A and B.
    pub descriptors: (Option<u64>, u64),
    /// When it reads its operands.
    pub moment: Moment,
    /// The units of B, in the order of their addresses.
    pub units: Rc<[u64]>,
    /// B as the first warp has read it.
    pub b: Option<Rc<SharedB>>,
    /// What the warps that have issued it had done before.
    pub issued: BarrierClock,
}

/// Four warps whose n-th multiplications are one operation.
#[derive(Debug, Default)]
pub(in crate::exec) struct Warpgroup {
    /// How many each warp has issued.
    issued: [u64; WARPS],
    /// Those that not all have issued.
    pending: VecDeque<Issue>,
    /// How many there were before those.
    complete: u64,
    /// Of the latest that any has issued.
    last: Option<Moment>,
    /// What all had done before they issued what all have issued.
    reads: BarrierClock,
}

impl Warpgroup {
    /// The next multiplication of a warp, if another warp has issued it already.
    pub fn known(&mut self, warp: usize) -> Option<&mut Issue> {
        let place = self.issued[warp % WARPS].checked_sub(self.complete)?;
        self.pending.get_mut(usize::try_from(place).ok()?)
    }

    /// When the latest reads its operands.
    pub fn last(&self) -> Option<Moment> {
        self.last
    }

    /// A multiplication that no other warp has issued yet.
    pub fn begin(&mut self, mut issue: Issue) {
        if self.pending.len() >= KEPT {
            issue.b = None;
        }
        self.last = Some(issue.moment);
        self.pending.push_back(issue);
    }

    /// The warp has issued its next multiplication.
    pub fn advance(&mut self, clocks: &mut BlockClocks, warp: usize, lanes: u32) {
        if let Some(issue) = self.known(warp) {
            clocks.issue_together(&mut issue.issued, warp, lanes);
        }
        self.issued[warp % WARPS] += 1;
        let all = self.issued_by_all();
        while self.complete < all
            && let Some(issue) = self.pending.pop_front()
        {
            self.reads.join(&issue.issued);
            self.complete += 1;
        }
    }

    fn issued_by_all(&self) -> u64 {
        self.issued.iter().copied().min().unwrap_or(0)
    }
}

/// What has been issued by a warp up to a point.
#[derive(Clone, Copy, Debug, Default)]
struct Point {
    /// Multiplications.
    count: u64,
    /// The last one's moment.
    moment: Option<Moment>,
}

/// What a warp has issued.
#[derive(Debug, Default)]
pub(in crate::exec) struct WarpState {
    issued: Point,
    /// The end of each group that may be pending, oldest first.
    groups: VecDeque<Point>,
    pub(super) registers: Registers,
}

impl WarpState {
    /// A multiplication has been issued; its number, from 1.
    pub fn issue(&mut self, moment: Moment) -> u64 {
        self.issued = Point { count: self.issued.count + 1, moment: Some(moment) };
        self.issued.count
    }

    /// `wgmma.commit_group`.
    pub fn commit(&mut self) {
        self.groups.push_back(self.issued);
    }
}

impl Block {
    /// The warpgroup of a warp.
    pub(super) fn warpgroup(&mut self, warp: usize) -> &mut Warpgroup {
        let index = warp / WARPS;
        if self.warpgroups.len() <= index {
            self.warpgroups.resize_with(index + 1, Warpgroup::default);
        }
        &mut self.warpgroups[index]
    }
}

impl Engine<'_> {
    /// `wgmma.wait_group`. One thread may tell others that the operands' place is free for the whole warpgroup: so a
    /// warp goes on when all four have issued what it waits for.
    pub(super) fn wait_group(
        &mut self,
        block: &mut Block,
        warp: &mut Warp,
        pc: Pc,
        left: usize,
    ) -> Result<Flow, Fail> {
        let (index, live) = (warp.index, warp.live);
        let state = warp.wgmma_state();
        let waited = state.groups.len().saturating_sub(left);
        let Some(point) = waited.checked_sub(1).and_then(|last| state.groups.get(last)).copied() else {
            return Ok(Flow::Next);
        };
        let first = index / WARPS * WARPS;
        let group = block.warpgroup(index);
        if let Some(behind) = (0..WARPS).find(|other| group.issued[*other] < point.count) {
            let other = first + behind;
            if block.live_warps >> other & 1 == 0 {
                let message = format!(
                    "warp {other} of the warpgroup has exited before it issued all wgmma that are waited for here"
                );
                return Err(self.fail(block, warp, pc, 0, ViolationKind::DivergentWarp, message));
            }
            return Ok(Flow::Wait);
        }
        state.groups.drain(..waited);
        state.registers.complete(point.count);
        if let Some(moment) = point.moment {
            let Block { clocks, warpgroups, .. } = block;
            clocks.learn_async(index, live, moment);
            if let Some(group) = warpgroups.get(index / WARPS) {
                clocks.learn_reads(index, live, &group.reads);
            }
        }
        Ok(Flow::Next)
    }
}
