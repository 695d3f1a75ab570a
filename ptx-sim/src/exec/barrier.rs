//! Barriers of a block: `bar.sync`, `bar.arrive`, `bar.red`.

use super::collective::lanes_of;
use super::fault::Fail;
use super::warp::{State, Warp};
use super::{Block, Engine};
use crate::program::{BarrierKind, BarrierOp, Inst, LANES, Op, Pc};
use crate::race::BarrierClock;
use crate::violation::ViolationKind;

/// Barriers of a block.
pub(crate) const BARRIERS: usize = 16;

/// One of a block's barriers, in its present phase.
#[derive(Debug, Default)]
pub(crate) struct BarrierState {
    /// The phase's first arrival; `None` before it.
    first: Option<Arrival>,
    /// Warps that have arrived, one bit each.
    arrived: u64,
    /// How often warps have arrived: one that does not wait may do so again before the barrier is complete.
    arrivals: u32,
    /// Warps that wait.
    waiting: Vec<usize>,
    /// Threads whose predicate held, and threads that arrived with one.
    votes: (u32, u32),
    clock: BarrierClock,
}

#[derive(Clone, Copy, Debug)]
struct Arrival {
    pc: Pc,
    count: Option<u32>,
    reduces: bool,
    aligned: bool,
}

impl BarrierState {
    /// The warps that have not arrived, of `warps` warps; for reports.
    pub fn describe(&self, id: usize, warps: usize) -> Option<String> {
        let first = self.first?;
        let names = |bit: bool| {
            let list: Vec<String> =
                (0..warps).filter(|w| (self.arrived >> w & 1 != 0) == bit).map(|w| w.to_string()).collect();
            list.join(", ")
        };
        let wanted = match first.count {
            Some(count) => format!("{count} threads"),
            None => "all threads of the block".into(),
        };
        Some(format!(
            "barrier {id} wants {wanted}: warps {} have arrived, warps {} have not",
            names(true),
            names(false)
        ))
    }
}

impl Engine<'_> {
    /// Lanes of the warp have reached a barrier. They are parked until all lanes of the warp are there; then the warp
    /// arrives.
    pub(super) fn barrier(
        &mut self,
        block: &mut Block,
        warp: &mut Warp,
        pc: Pc,
        active: u32,
    ) -> Result<(), Fail> {
        warp.put(pc, active, State::Parked);
        self.release_barriers(block, warp)
    }

    /// Lets the warp arrive where all its lanes are at a barrier.
    pub(super) fn release_barriers(&mut self, block: &mut Block, warp: &mut Warp) -> Result<(), Fail> {
        let program = self.launch.program;
        let mut here = 0;
        let mut groups: Vec<(Pc, u32)> = Vec::new();
        for group in warp.groups.iter().filter(|group| group.state == State::Parked) {
            if matches!(program.instructions[group.pc as usize].op, Op::Barrier(_)) {
                here |= group.mask;
                groups.push((group.pc, group.mask));
            }
        }
        if here == 0 || here != warp.live {
            return Ok(());
        }
        let [(pc, _), others @ ..] = groups.as_slice() else { return Ok(()) };
        let pc = *pc;
        let Inst { op: Op::Barrier(op), .. } = &program.instructions[pc as usize] else { return Ok(()) };
        let lane = warp.live.trailing_zeros() as usize & 31;
        let (id, count) = self.barrier_operands(block, warp, pc, warp.live, op)?;
        let mut votes = 0;
        for (other_pc, mask) in &groups {
            let Inst { op: Op::Barrier(other), .. } = &program.instructions[*other_pc as usize] else {
                continue;
            };
            if (op.aligned || other.aligned) && *other_pc != pc {
                let message =
                    format!("lanes of one warp are at different barriers: {}", self.describe_lanes(warp));
                return Err(self.fail(block, warp, pc, lane, ViolationKind::DivergentWarp, message));
            }
            if !others.is_empty()
                && self.barrier_operands(block, warp, *other_pc, *mask, other)? != (id, count)
            {
                let message = "lanes of one warp use different barriers or thread counts".into();
                return Err(self.fail(block, warp, pc, lane, ViolationKind::BarrierMismatch, message));
            }
            if let Some((predicate, _)) = other.reduced {
                votes |= warp.lanes.get_predicate(predicate) & mask;
            }
        }
        self.arrive(block, warp, pc, op, id, count, votes)
    }

    /// Number and thread count of a barrier, equal in all lanes.
    fn barrier_operands(
        &self,
        block: &Block,
        warp: &Warp,
        pc: Pc,
        lanes: u32,
        op: &BarrierOp,
    ) -> Result<(usize, Option<u32>), Fail> {
        let lane = lanes.trailing_zeros() as usize & 31;
        let mismatch =
            |message: String| self.fail(block, warp, pc, lane, ViolationKind::BarrierMismatch, message);
        let ids = warp.lanes.get32(op.id);
        let counts = op.count.map(|count| warp.lanes.get32(count));
        let same = |row: &[u32; LANES]| lanes_of(lanes).all(|l| row[l] == row[lane]);
        if !same(&ids) || !counts.as_ref().is_none_or(same) {
            return Err(mismatch("lanes of one warp use different barriers or thread counts".into()));
        }
        let (id, count) = (ids[lane] as usize, counts.map(|counts| counts[lane]));
        if id >= BARRIERS {
            return Err(mismatch(format!("barrier {id}: there are barriers 0 to {}", BARRIERS - 1)));
        }
        if let Some(count) = count
            && (count == 0 || count % LANES as u32 != 0)
        {
            return Err(mismatch(format!("a thread count of {count} is not a multiple of the warp size")));
        }
        Ok((id, count))
    }

    /// The whole warp arrives.
    #[expect(clippy::too_many_arguments, reason = "one arrival: who, where and with what")]
    fn arrive(
        &mut self,
        block: &mut Block,
        warp: &mut Warp,
        pc: Pc,
        op: &BarrierOp,
        id: usize,
        count: Option<u32>,
        votes: u32,
    ) -> Result<(), Fail> {
        let lane = warp.live.trailing_zeros() as usize & 31;
        let reduces = matches!(op.kind, BarrierKind::Popc | BarrierKind::And | BarrierKind::Or);
        let arrival = Arrival { pc, count, reduces, aligned: op.aligned };
        let wrong = match block.barriers[id].first {
            None => None,
            Some(first) if first.count != count => Some(format!(
                "barrier {id} is used with {} here and {} by a warp that waits there",
                thread_count(count),
                thread_count(first.count)
            )),
            Some(first) if first.reduces != reduces => {
                Some(format!("barrier {id} is used with and without a reduction"))
            }
            // All threads of the block have to execute the same instruction: a condition that differs between warps.
            Some(first) if count.is_none() && op.aligned && first.aligned && first.pc != pc => {
                let other =
                    self.launch.program.location(first.pc).map_or_else(String::new, |l| l.to_string());
                Some(format!("warps of one block wait at different barriers: here and at {other}"))
            }
            Some(_) if count.is_none() && block.barriers[id].arrived >> warp.index & 1 != 0 => {
                Some(format!("the warp arrives at barrier {id} again before the others have"))
            }
            Some(_) => None,
        };
        if let Some(message) = wrong {
            return Err(self.fail(block, warp, pc, lane, ViolationKind::BarrierMismatch, message));
        }
        self.tally.barriers += 1;
        let state = &mut block.barriers[id];
        state.first.get_or_insert(arrival);
        state.arrived |= 1 << warp.index;
        state.arrivals += 1;
        state.votes.0 += votes.count_ones();
        state.votes.1 += warp.live.count_ones();
        block.clocks.barrier_arrive(&mut state.clock, warp.index, warp.live);
        if op.kind == BarrierKind::Arrive {
            warp.go_on();
        } else {
            state.waiting.push(warp.index);
            warp.groups.iter_mut().for_each(|group| group.state = State::Barrier);
        }
        self.complete_barrier(block, Some(warp), id);
        if warp.groups.iter().any(|group| group.state == State::Barrier) {
            self.tally.waits += 1;
        }
        Ok(())
    }

    /// Lets the waiting warps go on if all have arrived. `running` is the warp that is out of its block's list because
    /// it runs.
    pub(super) fn complete_barrier(&mut self, block: &mut Block, mut running: Option<&mut Warp>, id: usize) {
        let state = &block.barriers[id];
        let Some(first) = state.first else { return };
        let complete = match first.count {
            Some(count) => state.arrivals.saturating_mul(LANES as u32) >= count,
            None => block.live_warps & !state.arrived == 0,
        };
        if !complete {
            return;
        }
        let state = std::mem::take(&mut block.barriers[id]);
        self.progress += 1;
        for index in &state.waiting {
            let warp = match running.as_deref_mut() {
                Some(running) if running.index == *index => running,
                _ => match &mut block.warps[*index] {
                    Some(warp) => warp,
                    None => continue,
                },
            };
            block.clocks.barrier_leave(&state.clock, *index, warp.live);
            for group in 0..warp.groups.len() {
                let (pc, lanes) = (warp.groups[group].pc, warp.groups[group].mask);
                if let Op::Barrier(op) = &self.launch.program.instructions[pc as usize].op
                    && let Some((_, destination)) = op.reduced
                {
                    let (held, voted) = state.votes;
                    let all = |truth: bool| if truth { u32::MAX } else { 0 };
                    match op.kind {
                        BarrierKind::Popc => warp.lanes.set32(destination, &[held; LANES], lanes),
                        BarrierKind::And => warp.lanes.set_predicate(destination, all(held == voted), lanes),
                        _ => warp.lanes.set_predicate(destination, all(held != 0), lanes),
                    }
                }
            }
            warp.go_on();
        }
    }
}

fn thread_count(count: Option<u32>) -> String {
    count.map_or_else(|| "all threads of the block".into(), |count| format!("{count} threads"))
}
