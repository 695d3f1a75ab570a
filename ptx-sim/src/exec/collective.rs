//! Instructions that lanes of a warp execute together: shuffles, votes, matches, reductions, elections and barriers of
//! the warp.

use super::fault::Fail;
use super::warp::{State, Warp};
use super::{Block, Engine};
use crate::program::{CollectiveKind, CollectiveOp, Inst, LANES, Op, Pc, ShuffleMode};
use crate::violation::ViolationKind;

/// The lanes of a mask, lowest first.
pub(crate) fn lanes_of(mut mask: u32) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let lane = mask.trailing_zeros() as usize;
        mask &= mask.wrapping_sub(1);
        (lane < LANES).then_some(lane)
    })
}

/// The mask of some lanes.
pub(crate) fn mask_of(lanes: impl Iterator<Item = usize>) -> u32 {
    lanes.fold(0, |mask, lane| mask | 1 << lane)
}

/// Lanes as they are written in reports: `0-3, 7`.
pub(crate) fn list_lanes(mask: u32) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut lane = 0;
    while lane < LANES {
        if mask >> lane & 1 == 0 {
            lane += 1;
            continue;
        }
        let first = lane;
        while lane + 1 < LANES && mask >> (lane + 1) & 1 != 0 {
            lane += 1;
        }
        parts.push(if first == lane { first.to_string() } else { format!("{first}-{lane}") });
        lane += 1;
    }
    if parts.is_empty() { "none".into() } else { parts.join(", ") }
}

impl Engine<'_> {
    /// Lanes `active` of the warp have reached a collective instruction. Executes it where all members are there, and
    /// says which lanes went past it; the others are parked.
    pub(super) fn collective(
        &mut self,
        block: &mut Block,
        warp: &mut Warp,
        pc: Pc,
        active: u32,
        op: &CollectiveOp,
    ) -> Result<u32, Fail> {
        let members = warp.lanes.get32(op.members);
        let first = members[active.trailing_zeros() as usize & 31];
        let uniform = lanes_of(active).all(|lane| members[lane] == first);
        if uniform && first & warp.live == active {
            self.execute_collective(block, warp, pc, active, first, op)?;
            return Ok(active);
        }
        for lane in lanes_of(active) {
            if members[lane] >> lane & 1 == 0 {
                let message = format!("lane {lane} is not in its member mask {:#010x}", members[lane]);
                return Err(self.fail(block, warp, pc, lane, ViolationKind::LaneOutsideMask, message));
            }
        }
        warp.put(pc, active, State::Parked);
        self.release_collectives(block, warp)?;
        Ok(0)
    }

    /// Executes what parked lanes wait for, where it is complete now.
    pub(super) fn release_collectives(&mut self, block: &mut Block, warp: &mut Warp) -> Result<(), Fail> {
        let program = self.launch.program;
        for index in 0..warp.groups.len() {
            let Some(group) = warp.groups.get(index).copied() else { break };
            if group.state != State::Parked {
                continue;
            }
            let Inst { op: Op::Collective(op), .. } = &program.instructions[group.pc as usize] else {
                continue;
            };
            let members = warp.lanes.get32(op.members);
            let mut done = 0;
            for lane in lanes_of(group.mask) {
                let mask = members[lane];
                if done >> lane & 1 != 0 {
                    continue;
                }
                let with_other_mask = lanes_of(group.mask & mask).find(|other| members[*other] != mask);
                if let Some(other) = with_other_mask {
                    let message = format!(
                        "lane {lane} has the member mask {mask:#010x}, but lane {other} in it has {:#010x}",
                        members[other]
                    );
                    return Err(self.fail(
                        block,
                        warp,
                        group.pc,
                        lane,
                        ViolationKind::DivergentMask,
                        message,
                    ));
                }
                let here = group.mask & mask;
                // A warp barrier may be reached at different instructions.
                let elsewhere = if op.kind == CollectiveKind::Barrier {
                    self.at_warp_barrier(warp, mask) & !here
                } else {
                    0
                };
                if (here | elsewhere) != mask & warp.live {
                    continue;
                }
                self.execute_collective(block, warp, group.pc, here | elsewhere, mask, op)?;
                done |= here;
                let mut resumed = Vec::new();
                for other in &mut warp.groups {
                    if other.state == State::Parked && other.pc != group.pc && other.mask & elsewhere != 0 {
                        resumed.push((other.pc + 1, other.mask & elsewhere));
                        other.mask &= !elsewhere;
                    }
                }
                for (pc, lanes) in resumed {
                    warp.put(pc, lanes, State::Ready);
                }
            }
            warp.groups[index].mask &= !done;
            warp.put(group.pc + 1, done, State::Ready);
        }
        warp.groups.retain(|group| group.mask != 0);
        Ok(())
    }

    /// The lanes that are parked at any barrier of the warp with this member mask.
    fn at_warp_barrier(&self, warp: &Warp, mask: u32) -> u32 {
        let mut lanes = 0;
        for group in warp.groups.iter().filter(|group| group.state == State::Parked) {
            let instruction = &self.launch.program.instructions[group.pc as usize];
            let Op::Collective(op) = &instruction.op else { continue };
            if op.kind == CollectiveKind::Barrier {
                let members = warp.lanes.get32(op.members);
                lanes |= mask_of(lanes_of(group.mask & mask).filter(|lane| members[*lane] == mask));
            }
        }
        lanes
    }

    fn execute_collective(
        &mut self,
        block: &mut Block,
        warp: &mut Warp,
        pc: Pc,
        active: u32,
        members: u32,
        op: &CollectiveOp,
    ) -> Result<(), Fail> {
        let operands = &self.launch.program.instructions[pc as usize].operands;
        let (dst, src) = (operands.dst[0], operands.src);
        match op.kind {
            CollectiveKind::Barrier => {
                self.tally.barriers += 1;
                block.clocks.sync_warp(warp.index, active);
            }
            CollectiveKind::Shuffle(mode, predicate) => {
                let values = warp.lanes.get32(src[0]);
                let (b, c) = (warp.lanes.get32(src[1]), warp.lanes.get32(src[2]));
                let mut result = values;
                let mut from = std::array::from_fn(|lane| lane);
                let mut in_range = 0;
                for lane in lanes_of(active) {
                    let (source, valid) = shuffle_source(mode, lane, b[lane], c[lane]);
                    if !valid {
                        continue;
                    }
                    in_range |= 1 << lane;
                    if active >> source & 1 == 0 {
                        let why = if members >> source & 1 != 0 {
                            "has exited"
                        } else {
                            "is not in the member mask"
                        };
                        let message =
                            format!("lane {lane} reads lane {source}, which {why} ({members:#010x})");
                        return Err(self.fail(block, warp, pc, lane, ViolationKind::InactiveSource, message));
                    }
                    result[lane] = values[source];
                    from[lane] = source;
                }
                Self::track_collective(warp, src[0], [dst].into_iter(), active, Some(from));
                warp.lanes.set32(dst, &result, active);
                if let Some(predicate) = predicate {
                    warp.lanes.set_predicate(predicate, in_range, active);
                }
            }
            CollectiveKind::VoteAll => {
                Self::track_collective(warp, src[0], [dst].into_iter(), active, None);
                let votes = warp.lanes.get_predicate(src[0]) & active;
                warp.lanes.set_predicate(dst, if votes == active { u32::MAX } else { 0 }, active);
            }
            CollectiveKind::VoteAny => {
                Self::track_collective(warp, src[0], [dst].into_iter(), active, None);
                let votes = warp.lanes.get_predicate(src[0]) & active;
                warp.lanes.set_predicate(dst, if votes != 0 { u32::MAX } else { 0 }, active);
            }
            CollectiveKind::VoteUniform => {
                Self::track_collective(warp, src[0], [dst].into_iter(), active, None);
                let votes = warp.lanes.get_predicate(src[0]) & active;
                let uniform = votes == 0 || votes == active;
                warp.lanes.set_predicate(dst, if uniform { u32::MAX } else { 0 }, active);
            }
            CollectiveKind::VoteBallot => {
                Self::track_collective(warp, src[0], [dst].into_iter(), active, None);
                let votes = warp.lanes.get_predicate(src[0]) & active;
                warp.lanes.set32(dst, &[votes; LANES], active);
            }
            CollectiveKind::MatchAny { wide } => {
                Self::track_collective(warp, src[0], [dst].into_iter(), active, None);
                let values = matched(warp, src[0], wide);
                let mut result = [0; LANES];
                for lane in lanes_of(active) {
                    result[lane] = mask_of(lanes_of(active).filter(|other| values[*other] == values[lane]));
                }
                warp.lanes.set32(dst, &result, active);
            }
            CollectiveKind::MatchAll { wide, predicate } => {
                let destinations = [dst].into_iter().chain(predicate);
                Self::track_collective(warp, src[0], destinations, active, None);
                let values = matched(warp, src[0], wide);
                let first = values[active.trailing_zeros() as usize & 31];
                let equal = lanes_of(active).all(|lane| values[lane] == first);
                warp.lanes.set32(dst, &[if equal { active } else { 0 }; LANES], active);
                if let Some(predicate) = predicate {
                    warp.lanes.set_predicate(predicate, if equal { u32::MAX } else { 0 }, active);
                }
            }
            CollectiveKind::Reduce(operation) => {
                Self::track_collective(warp, src[0], [dst].into_iter(), active, None);
                let values = warp.lanes.get32(src[0]);
                let mut lanes = lanes_of(active);
                let first = lanes.next().map_or(0, |lane| u64::from(values[lane]));
                let result =
                    lanes.fold(first, |sum, lane| operation.apply(sum, values[lane].into(), 0, false));
                warp.lanes.set32(dst, &[result as u32; LANES], active);
            }
            CollectiveKind::Elect { predicate } => {
                let leader = active.trailing_zeros();
                warp.lanes.set32(dst, &[leader; LANES], active);
                warp.lanes.set_predicate(predicate, 1 << leader, active);
            }
        }
        Ok(())
    }
}

fn matched(warp: &Warp, slot: crate::program::Slot, wide: bool) -> [u64; LANES] {
    if wide { warp.lanes.get64(slot) } else { warp.lanes.get32(slot).map(u64::from) }
}

/// The lane that a shuffle reads, and whether it is in range (PTX ISA, `shfl.sync`, "Semantics").
fn shuffle_source(mode: ShuffleMode, lane: usize, b: u32, c: u32) -> (usize, bool) {
    let lane = lane as u32;
    let (b, clamp, segment) = (b & 31, c & 31, c >> 8 & 31);
    let max_lane = (lane & segment) | (clamp & !segment);
    let min_lane = lane & segment;
    let (source, valid) = match mode {
        ShuffleMode::Up => (lane.wrapping_sub(b), lane as i32 - b as i32 >= max_lane as i32),
        ShuffleMode::Down => (lane + b, lane + b <= max_lane),
        ShuffleMode::Butterfly => (lane ^ b, lane ^ b <= max_lane),
        ShuffleMode::Index => {
            let source = min_lane | (b & !segment);
            (source, source <= max_lane)
        }
    };
    (source as usize & 31, valid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_of_shuffles() {
        // __shfl_up_sync with width 32: clamp 0.
        assert_eq!(shuffle_source(ShuffleMode::Up, 5, 2, 0), (3, true));
        assert!(!shuffle_source(ShuffleMode::Up, 1, 2, 0).1);
        // __shfl_down_sync with width 32: clamp 31.
        assert_eq!(shuffle_source(ShuffleMode::Down, 5, 2, 31), (7, true));
        assert!(!shuffle_source(ShuffleMode::Down, 30, 2, 31).1);
        // Width 8: the segment mask is 24 << 8.
        let width_8 = (24 << 8) | 31;
        assert_eq!(shuffle_source(ShuffleMode::Down, 9, 2, width_8), (11, true));
        assert!(!shuffle_source(ShuffleMode::Down, 14, 2, width_8).1);
        assert_eq!(shuffle_source(ShuffleMode::Index, 9, 3, width_8), (11, true));
        assert_eq!(shuffle_source(ShuffleMode::Butterfly, 9, 4, width_8), (13, true));
        assert!(!shuffle_source(ShuffleMode::Up, 8, 1, 24 << 8).1);
        assert_eq!(shuffle_source(ShuffleMode::Up, 9, 1, 24 << 8), (8, true));
    }

    #[test]
    fn lanes_are_listed_as_ranges() {
        assert_eq!(list_lanes(0b1000_1111), "0-3, 7");
        assert_eq!(list_lanes(0), "none");
        assert_eq!(list_lanes(u32::MAX), "0-31");
        assert_eq!(list_lanes(1 << 31), "31");
    }
}
