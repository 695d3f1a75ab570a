//! The interpreter's loop.

use super::collective::{lanes_of, list_lanes};
use super::fault::Fail;
use super::warp::{Group, State, Warp};
use super::{Block, Engine};
use crate::program::{Inst, LANES, Op, Pc, ProxyFence};
use crate::violation::ViolationKind;

/// Why a warp stopped running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// All its lanes have exited.
    Exited,
    /// It waits for other warps at a barrier.
    Blocked,
    /// It waits in a loop for something in memory.
    Spinning,
    /// Its time was up.
    Preempted,
}

/// What comes of an instruction that may have to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// It is done.
    Next,
    /// What it waits for is not there: it is executed again when others have run.
    Wait,
}

/// How a group of lanes stopped running.
enum Pause {
    /// It parted, met another, or is parked: the warp chooses anew.
    Regroup,
    /// It jumped backwards in a loop that waits.
    Spinning,
    /// The warp's time is up.
    TimeUp,
}

impl Engine<'_> {
    /// Runs a warp for at most `fuel` instructions.
    pub(super) fn run_warp(
        &mut self,
        block: &mut Block,
        warp: &mut Warp,
        mut fuel: u32,
    ) -> Result<Stop, Fail> {
        loop {
            let Some((group, meet)) = warp.take_next() else {
                if warp.live == 0 {
                    return Ok(Stop::Exited);
                }
                if warp.groups.iter().any(|group| group.state == State::Barrier) {
                    return Ok(Stop::Blocked);
                }
                return Err(self.stuck(block, warp));
            };
            match self.run_group(block, warp, group, meet, &mut fuel)? {
                Pause::Regroup => {}
                Pause::TimeUp => return Ok(Stop::Preempted),
                Pause::Spinning if warp.has_ready() => {}
                Pause::Spinning => return Ok(Stop::Spinning),
            }
            if fuel == 0 {
                return Ok(Stop::Preempted);
            }
        }
    }

    fn run_group(
        &mut self,
        block: &mut Block,
        warp: &mut Warp,
        group: Group,
        meet: Pc,
        fuel: &mut u32,
    ) -> Result<Pause, Fail> {
        let code: &[Inst] = &self.launch.program.instructions;
        let Group { mut pc, mask, .. } = group;
        loop {
            if pc >= meet || *fuel == 0 {
                let time_up = *fuel == 0;
                warp.put(pc, mask, State::Ready);
                return Ok(if time_up { Pause::TimeUp } else { Pause::Regroup });
            }
            *fuel -= 1;
            let instruction = &code[pc as usize];
            let active = mask & warp.lanes.get_predicate(instruction.guard);
            self.tally.by_class[instruction.class as usize] += 1;
            // Counting bits takes longer than most instructions where it is not the CPU's own.
            let threads = if active == u32::MAX { LANES as u32 } else { active.count_ones() };
            self.tally.thread_instructions += u64::from(threads);
            if warp.taint.is_some() {
                self.track(block, warp, pc, instruction, mask, active)?;
            }
            if active == 0 {
                pc += 1;
                continue;
            }
            if instruction.touches != 0 && !matches!(instruction.op, Op::Wgmma(_)) {
                self.touch_registers(block, warp, pc, instruction)?;
            }
            match &instruction.op {
                // SAFETY: decoding chose the function for this CPU.
                Op::Alu(function) => unsafe { function(&mut warp.lanes, &instruction.operands, active) },
                Op::Nothing => {}
                Op::Load(op) => self.load(block, warp, pc, active, op)?,
                Op::Store(op) => self.store(block, warp, pc, active, op)?,
                Op::Branch(target) => {
                    if active != mask {
                        self.tally.divergent_branches += 1;
                        warp.put(pc + 1, mask & !active, State::Ready);
                        return Ok(self.jump(warp, pc, *target, active));
                    }
                    if *target <= pc && warp.may_spin {
                        return Ok(self.jump(warp, pc, *target, active));
                    }
                    pc = *target;
                    continue;
                }
                Op::BranchTable(targets) => {
                    let index = warp.lanes.get32(instruction.operands.src[0]);
                    warp.put(pc + 1, mask & !active, State::Ready);
                    for lane in lanes_of(active) {
                        let Some(target) = targets.get(index[lane] as usize) else {
                            let message = format!("branch to entry {} of {}", index[lane], targets.len());
                            return Err(self.fail(
                                block,
                                warp,
                                pc,
                                lane,
                                ViolationKind::InvalidOperand,
                                message,
                            ));
                        };
                        warp.put(*target, 1 << lane, State::Ready);
                    }
                    return Ok(Pause::Regroup);
                }
                Op::Mma(op) => {
                    if active != u32::MAX {
                        return self.park_aligned(block, warp, pc, mask, active);
                    }
                    let (cc, mode) =
                        (self.launch.properties.compute_capability, self.launch.options.tensor_mode);
                    op.execute(&mut warp.lanes, cc, mode);
                    let (ty, flops) = op.flops();
                    self.tally.tensor_flops[ty as usize] += flops;
                }
                Op::LoadMatrix(op) => {
                    if active != u32::MAX {
                        return self.park_aligned(block, warp, pc, mask, active);
                    }
                    self.load_matrix(block, warp, pc, op)?;
                }
                Op::StoreMatrix(op) => {
                    if active != u32::MAX {
                        return self.park_aligned(block, warp, pc, mask, active);
                    }
                    self.store_matrix(block, warp, pc, op)?;
                }
                Op::MoveMatrix => {
                    if active != u32::MAX {
                        return self.park_aligned(block, warp, pc, mask, active);
                    }
                    self.move_matrix(warp, &instruction.operands);
                }
                Op::CopyAsync(op) => self.copy_async(block, warp, pc, active, op)?,
                Op::CopyCommit => warp.copies.commit(active),
                Op::CopyWait(groups) => self.copy_wait(block, warp, active, *groups)?,
                Op::Collective(op) => {
                    let done = self.collective(block, warp, pc, active, op)?;
                    if done != mask {
                        warp.put(pc + 1, done | (mask & !active), State::Ready);
                        return Ok(Pause::Regroup);
                    }
                }
                Op::ActiveMask => warp.lanes.set32(instruction.operands.dst[0], &[active; LANES], active),
                Op::Barrier(_) => {
                    warp.put(pc + 1, mask & !active, State::Ready);
                    self.barrier(block, warp, pc, active)?;
                    return Ok(Pause::Regroup);
                }
                Op::Fence(op) => {
                    block.clocks.fence(warp.index, active, op.scope, op.order);
                }
                Op::Atomic(op) => self.atomic(block, warp, pc, active, op)?,
                Op::Exit => {
                    warp.put(pc + 1, mask & !active, State::Ready);
                    self.exit(block, warp, pc, active)?;
                    return Ok(Pause::Regroup);
                }
                Op::Clock { wide } => {
                    let now = self.executed();
                    let slot = instruction.operands.dst[0];
                    if *wide {
                        warp.lanes.set64(slot, &[now; LANES], active);
                    } else {
                        warp.lanes.set32(slot, &[now as u32; LANES], active);
                    }
                }
                Op::Mbarrier(op) => self.mbarrier(block, warp, pc, active, op)?,
                Op::Bulk(op) => {
                    let flow = self.bulk(block, warp, pc, active, op)?;
                    if flow == Flow::Wait {
                        return Ok(self.wait_here(warp, pc, mask, active));
                    }
                }
                Op::Wgmma(op) => {
                    if active != u32::MAX {
                        return self.park_aligned(block, warp, pc, mask, active);
                    }
                    let flow = self.wgmma(block, warp, pc, active, op)?;
                    if flow == Flow::Wait {
                        return Ok(self.wait_here(warp, pc, mask, active));
                    }
                }
                Op::Cluster(_) => {
                    warp.put(pc + 1, mask & !active, State::Ready);
                    self.cluster_barrier(block, warp, pc, active)?;
                    return Ok(Pause::Regroup);
                }
                Op::Grid(op) => {
                    let flow = self.grid(block, warp, active, *op)?;
                    if flow == Flow::Wait {
                        return Ok(self.wait_here(warp, pc, mask, active));
                    }
                }
                Op::ProxyFence(ProxyFence::Async) => block.clocks.proxy_fence(warp.index, active),
                Op::ProxyFence(ProxyFence::MbarrierInit) => self.fence_mbarrier_init(block, warp, active),
                Op::Sleep => warp.may_spin = true,
                Op::Trap(what) => {
                    let lane = active.trailing_zeros() as usize;
                    let message = format!("the kernel executed {what}");
                    return Err(self.fail(block, warp, pc, lane, ViolationKind::Trap, message));
                }
                Op::AssertFail => return Err(self.assertion(block, warp, pc, active, &instruction.operands)),
                Op::Print => self.print(block, warp, active, &instruction.operands),
            }
            pc += 1;
        }
    }

    /// Warp instructions that this host thread has executed.
    pub(super) fn executed(&self) -> u64 {
        self.executed + self.tally.instructions()
    }

    /// Lanes come back to the instruction at `pc` when others have run; those that do not execute it go on.
    fn wait_here(&mut self, warp: &mut Warp, pc: Pc, mask: u32, active: u32) -> Pause {
        self.tally.waits += 1;
        warp.put(pc + 1, mask & !active, State::Ready);
        warp.put(pc, active, State::Spinning);
        Pause::Spinning
    }

    /// Lanes jump; in a loop that waits, others go first.
    fn jump(&mut self, warp: &mut Warp, pc: Pc, target: Pc, lanes: u32) -> Pause {
        if target <= pc && warp.may_spin {
            warp.may_spin = false;
            self.tally.waits += 1;
            warp.put(target, lanes, State::Spinning);
            return Pause::Spinning;
        }
        warp.put(target, lanes, State::Ready);
        Pause::Regroup
    }

    /// Not all lanes of a full warp have reached an instruction that all must execute together.
    fn park_aligned(
        &mut self,
        block: &Block,
        warp: &mut Warp,
        pc: Pc,
        mask: u32,
        active: u32,
    ) -> Result<Pause, Fail> {
        warp.put(pc + 1, mask & !active, State::Ready);
        warp.put(pc, active, State::Parked);
        if warp.live != u32::MAX {
            return Err(self.stuck(block, warp));
        }
        let here = warp.groups.iter().find(|group| group.pc == pc && group.state == State::Parked);
        if here.is_some_and(|group| group.mask == u32::MAX) {
            warp.groups.clear();
            warp.put(pc, u32::MAX, State::Ready);
        }
        Ok(Pause::Regroup)
    }

    fn exit(&mut self, block: &mut Block, warp: &mut Warp, pc: Pc, lanes: u32) -> Result<(), Fail> {
        self.leave_copies(block, warp, lanes);
        warp.live &= !lanes;
        warp.copies.abandon(lanes);
        self.note_known(block, warp, lanes);
        block.clocks.exit(warp.index, lanes);
        self.progress += 1;
        if warp.live != 0 {
            // Those that wait for lanes which have gone wait no longer.
            self.release_collectives(block, warp)?;
            self.release_cluster_barrier(block, warp)?;
            return self.release_barriers(block, warp);
        }
        block.live_warps &= !(1 << warp.index);
        for id in 0..block.barriers.len() {
            self.complete_barrier(block, None, id);
        }
        if self.launch.cluster_size() > 1 {
            self.complete_cluster_barrier(block);
        }
        if block.live_warps == 0 {
            self.check_visits(block, warp, pc, lanes.trailing_zeros() as usize & 31)?;
            self.check_landed(block)?;
            self.end_copies(block)?;
        }
        Ok(())
    }

    /// What each group of a warp's lanes does; for reports.
    pub(super) fn describe_lanes(&self, warp: &Warp) -> String {
        let mut parts: Vec<String> = warp
            .groups
            .iter()
            .map(|group| {
                let place =
                    self.launch.program.location(group.pc).map_or_else(String::new, |l| l.to_string());
                let lanes = list_lanes(group.mask);
                match group.state {
                    State::Parked | State::Barrier => format!("lanes {lanes} wait at {place}"),
                    State::Spinning => format!("lanes {lanes} wait in a loop at {place}"),
                    State::Ready => format!("lanes {lanes} are at {place}"),
                }
            })
            .collect();
        let gone = warp.started & !warp.live;
        if gone != 0 {
            parts.push(format!("lanes {} have exited", list_lanes(gone)));
        }
        if warp.started != u32::MAX {
            parts.push(format!("lanes {} do not exist", list_lanes(!warp.started)));
        }
        parts.join("; ")
    }

    /// Lanes wait for lanes of the same warp that cannot come.
    pub(super) fn stuck(&self, block: &Block, warp: &Warp) -> Fail {
        let parked = warp.groups.iter().find(|group| group.state == State::Parked);
        let (pc, mask) = parked.map_or((0, 0), |group| (group.pc, group.mask));
        let lane = mask.trailing_zeros() as usize & 31;
        let detail = self.describe_lanes(warp);
        match &self.launch.program.instructions[pc as usize].op {
            Op::Collective(op) => {
                let members = warp.lanes.get32(op.members)[lane];
                let absent = list_lanes(members & !mask);
                let message = format!(
                    "the member mask {members:#010x} names lanes {absent}, which do not come: {detail}"
                );
                self.fail(block, warp, pc, lane, ViolationKind::AbsentLane, message)
            }
            _ => {
                let message = format!("not all lanes of the warp execute it: {detail}");
                self.fail(block, warp, pc, lane, ViolationKind::DivergentWarp, message)
            }
        }
    }
}
