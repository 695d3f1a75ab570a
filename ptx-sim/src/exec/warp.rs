//! The state of one warp: registers, and groups of lanes that have parted.

use super::bulk::Stores;
use super::copies::Copies;
use super::taint::Taint;
use super::wgmma::WarpState;
use crate::memory::LocalMemory;
use crate::program::{Lanes, Pc};

/// What a group of lanes does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It can go on.
    Ready,
    /// It can go on, but has found that what it waits for is not there yet: others first.
    Spinning,
    /// It is at an instruction that more lanes of the warp have to reach.
    Parked,
    /// It waits at a barrier of the block.
    Barrier,
}

/// Lanes of a warp that are at the same instruction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Group {
    pub pc: Pc,
    pub mask: u32,
    pub state: State,
}

/// One warp.
#[derive(Debug)]
pub(crate) struct Warp {
    /// Within its block.
    pub index: usize,
    pub lanes: Lanes,
    /// Lanes that the warp started with.
    pub started: u32,
    /// Lanes that have not exited.
    pub live: u32,
    pub groups: Vec<Group>,
    pub local: LocalMemory,
    pub copies: Copies,
    /// Its bulk copies to global memory.
    pub stores: Stores,
    /// Registers that hold what nothing has written, where there are any.
    pub taint: Option<Box<Taint>>,
    /// The phase of the cluster's barrier that the warp has arrived in, and not waited for.
    pub cluster_phase: Option<u64>,
    /// What it has issued of `wgmma`, if it has executed one of its instructions.
    pub wgmma: Option<Box<WarpState>>,
    /// The warp has read a flag or failed to take a lock since its last jump backwards: the loop may be waiting.
    pub may_spin: bool,
    /// Its last turn ended in a loop that waits.
    pub spins: bool,
}

impl Warp {
    /// Puts a group of lanes at `pc`, together with lanes that are there in the same state. Ready lanes take along
    /// those that spin there.
    pub fn put(&mut self, pc: Pc, mask: u32, state: State) {
        if mask == 0 {
            return;
        }
        let joins = |group: &&mut Group| {
            group.state == state || state == State::Ready && group.state == State::Spinning
        };
        match self.groups.iter_mut().filter(|group| group.pc == pc).find(joins) {
            Some(group) => {
                group.mask |= mask;
                group.state = state;
            }
            None => self.groups.push(Group { pc, mask, state }),
        }
    }

    /// All groups, each of which is at a barrier, go on behind it.
    pub fn go_on(&mut self) {
        for group in std::mem::take(&mut self.groups) {
            self.put(group.pc + 1, group.mask, State::Ready);
        }
    }

    /// Takes the group that is to run next: the ready one with the lowest counter, so that lanes which parted meet
    /// again; and the counter at which it meets another. Those that spin run where no other is ready.
    pub fn take_next(&mut self) -> Option<(Group, Pc)> {
        if !self.has_ready() {
            for group in self.groups.iter_mut().filter(|group| group.state == State::Spinning) {
                group.state = State::Ready;
            }
        }
        let ready = self.groups.iter().enumerate().filter(|(_, group)| group.state == State::Ready);
        let (lowest, _) = ready.min_by_key(|(_, group)| group.pc)?;
        let group = self.groups.swap_remove(lowest);
        let others = self.groups.iter().filter(|other| match other.state {
            State::Ready => true,
            State::Spinning => other.pc > group.pc,
            State::Parked | State::Barrier => false,
        });
        let meet = others.map(|other| other.pc).min().unwrap_or(Pc::MAX);
        Some((group, meet))
    }

    /// Whether a group could run now, other than one that spins.
    pub fn has_ready(&self) -> bool {
        self.groups.iter().any(|group| group.state == State::Ready)
    }
}
