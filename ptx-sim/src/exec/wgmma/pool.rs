//! `setmaxnreg`: the registers of a block, and how its warps share them.

use super::WARPS;
use crate::exec::fault::Fail;
use crate::exec::interpret::Flow;
use crate::exec::warp::Warp;
use crate::exec::{Block, Engine, Launch};
use crate::program::{LANES, Op, Pc, WgmmaOp};
use crate::violation::ViolationKind;

/// Registers are given to a warp in units of so many for each thread.
const UNIT: u32 = 8;
/// Most registers of a thread, with the one that none can name.
const MOST: u32 = 256;

/// How many registers each thread of a warp has, and how many no warp has.
#[derive(Debug)]
pub(in crate::exec) struct RegisterPool {
    warps: Vec<u32>,
    /// For whole warps: one register of 32 threads.
    free: u32,
}

impl RegisterPool {
    /// What warps hold and what is free, for reports.
    pub fn describe(&self) -> String {
        let groups = self.warps.chunks(WARPS).enumerate().map(|(group, warps)| {
            let counts: Vec<String> = warps.iter().map(u32::to_string).collect();
            format!("warpgroup {group} has {} (by warp)", counts.join(", "))
        });
        let groups: Vec<String> = groups.collect();
        format!(
            "registers of a thread: {}; the pool of setmaxnreg has {} for a warp's threads",
            groups.join("; "),
            self.free
        )
    }
}

/// Registers of a thread at the start; `None` where neither the launch nor the PTX tells, and `setmaxnreg` has no
/// effect.
///
/// A compiler that knows the block's size and how many blocks are to fit a multiprocessor uses as many registers as
/// there are room for: 168 for a block of 384 threads. It can name 255; with the unit of allocation these are 256. It does
/// not use more than the kernel raises them to.
fn initial_registers(launch: &Launch<'_>) -> Option<u32> {
    let directives = &launch.program.directives;
    if let Some(registers) = launch.config.registers_per_thread.or(directives.max_registers) {
        return Some(registers.next_multiple_of(UNIT).min(MOST));
    }
    let block = directives.required_block.or(directives.max_block)?;
    let threads = block.iter().map(|n| u64::from(*n)).product::<u64>().next_multiple_of(LANES as u64).max(1);
    let blocks = u64::from(directives.min_blocks_per_sm.unwrap_or(1).max(1));
    let fit = u64::from(launch.properties.registers_per_sm) / threads.saturating_mul(blocks);
    let raised = launch.program.instructions.iter().filter_map(|instruction| match &instruction.op {
        Op::Wgmma(op) => match **op {
            WgmmaOp::SetRegisters { increase: true, count } => Some(count),
            _ => None,
        },
        _ => None,
    });
    Some((fit as u32).min(MOST).min(raised.min().unwrap_or(MOST)) / UNIT * UNIT)
}

impl Engine<'_> {
    /// `setmaxnreg`.
    pub(super) fn set_registers(
        &mut self,
        block: &mut Block,
        warp: &mut Warp,
        pc: Pc,
        increase: bool,
        count: u32,
    ) -> Result<Flow, Fail> {
        if block.registers.is_none() {
            let warps = block.warps.len();
            block.registers = initial_registers(self.launch)
                .map(|initial| RegisterPool { warps: vec![initial; warps], free: 0 });
        }
        let Some(pool) = &mut block.registers else { return Ok(Flow::Next) };
        let has = pool.warps[warp.index];
        if increase && count < has || !increase && count > has {
            let (way, limit) = if increase { ("inc", "at least") } else { ("dec", "at most") };
            let message =
                format!("setmaxnreg.{way} to {count} registers of a thread: {limit} {has} are expected");
            return Err(self.fail(block, warp, pc, 0, ViolationKind::InvalidOperand, message));
        }
        if !increase {
            pool.free += has - count;
        } else if pool.free >= count - has {
            pool.free -= count - has;
        } else {
            return Ok(Flow::Wait);
        }
        pool.warps[warp.index] = count;
        self.progress += 1;
        Ok(Flow::Next)
    }
}
