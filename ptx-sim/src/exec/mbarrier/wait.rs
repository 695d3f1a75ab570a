//! `mbarrier.test_wait` and `mbarrier.try_wait`.

use super::Site;
use super::phase::Misuse;
use super::table::Mbarrier;
use crate::exec::collective::lanes_of;
use crate::exec::fault::Fail;
use crate::exec::warp::Warp;
use crate::exec::{Block, Engine};
use crate::memory::{Fault, MbarrierAccess};
use crate::program::{LANES, Pc, Slot, WaitedPhase};
use crate::violation::ViolationKind;

/// What lanes ask an mbarrier for.
#[derive(Clone, Copy)]
enum Asked {
    State([u64; LANES]),
    Parity([u32; LANES]),
}

impl Asked {
    /// The phase that a lane asks for, and whether it is complete.
    fn answer(&self, lane: usize, address: u64, mbarrier: &Mbarrier) -> Result<(u64, bool), Misuse> {
        let phase = &mbarrier.phase;
        match self {
            Self::State(states) => phase.of_state(states[lane], address),
            Self::Parity(parities) => {
                let complete = phase.has_completed_parity(parities[lane]);
                // Before the first phase, the one before it counts as complete: that of parity 1.
                Ok((phase.number().wrapping_sub(u64::from(complete)), complete))
            }
        }
    }
}

impl Engine<'_> {
    /// Lanes ask whether phases of mbarriers of their own block are complete.
    pub(super) fn wait(
        &mut self,
        block: &mut Block,
        warp: &mut Warp,
        pc: Pc,
        lanes: u32,
        addresses: &[u64; LANES],
        (phase, destination, acquires): (WaitedPhase, Slot, bool),
    ) -> Result<(), Fail> {
        let asked = match phase {
            WaitedPhase::State(slot) => Asked::State(warp.lanes.get64(slot)),
            WaitedPhase::Parity(slot) => Asked::Parity(warp.lanes.get32(slot)),
        };
        if let Asked::Parity(parities) = asked
            && let Some(lane) = lanes_of(lanes).find(|lane| parities[*lane] > 1)
        {
            let message = format!("the parity of a phase is 0 or 1, not {}", parities[lane]);
            return Err(self.fail(block, warp, pc, lane, ViolationKind::InvalidOperand, message));
        }
        let Block { shared, mbarriers, clocks, .. } = block;
        let found = Site { shared, mbarriers, clocks, own: true }.access(
            warp.index,
            MbarrierAccess::Read,
            addresses,
            lanes,
            pc,
        );
        found.map_err(|fault| self.fault(block, warp, pc, fault))?;
        // What is on its way arrives before somebody waits for it in vain.
        let mut polled: Vec<u64> = Vec::new();
        for lane in lanes_of(lanes) {
            let address = addresses[lane];
            let Some(mbarrier) = block.mbarriers.get(address) else { continue };
            let complete = matches!(asked.answer(lane, address, mbarrier), Ok((_, true)));
            if !complete && !polled.contains(&address) {
                polled.push(address);
                self.complete_polled(block, address)?;
                self.complete_arrivals(block, address)?;
            }
        }
        let mut complete = 0;
        for lane in lanes_of(lanes) {
            let answer = answer(block, warp, lane, addresses[lane], &asked);
            complete |= u32::from(answer.map_err(|fault| self.fault(block, warp, pc, fault))?) << lane;
        }
        let mut left = complete;
        while left != 0 {
            let address = addresses[left.trailing_zeros() as usize & 31];
            let here = lanes_of(left).filter(|lane| addresses[*lane] == address);
            let here = here.fold(0, |mask, lane| mask | 1 << lane);
            left &= !here;
            if let Some(mbarrier) = block.mbarriers.get_mut(address) {
                mbarrier.acquire(&mut block.clocks, warp.index, here, acquires);
            }
        }
        warp.lanes.set_predicate(destination, complete, lanes);
        if complete != lanes {
            warp.may_spin = true;
        }
        Ok(())
    }
}

/// What a lane is told, and what that says of the phase it asked for before.
fn answer(block: &mut Block, warp: &Warp, lane: usize, address: u64, asked: &Asked) -> Result<bool, Fault> {
    let Some(mbarrier) = block.mbarriers.get_mut(address) else { return Ok(false) };
    let fault = |message: String| {
        let kind = ViolationKind::MbarrierMisuse;
        Fault { kind, lane, address, message, prior: None }
    };
    let (phase, complete) =
        asked.answer(lane, address, mbarrier).map_err(|misuse| fault(misuse.to_string()))?;
    // A parity stands for every second phase: the mbarrier must not get two ahead of one who waits.
    if matches!(asked, Asked::Parity(_))
        && let Some(before) = mbarrier.polled(warp.index, lane)
        && before % 2 == phase % 2
        && before != phase
    {
        return Err(fault(format!(
            "a wait for phase {before} of an mbarrier, by its parity, finds the mbarrier in phase {}: the phase after \
             it is complete as well, and the parity no longer tells them apart",
            mbarrier.phase.number()
        )));
    }
    if complete {
        mbarrier.forget_polled(warp.index, 1 << lane);
    } else {
        mbarrier.set_polled(warp.index, lane, phase);
    }
    Ok(complete)
}
