//! From what went wrong in a warp to a report that names the place.

use std::cmp::Ordering;

use super::warp::Warp;
use super::{Block, Engine, Launch};
use crate::memory::{Fault, Prior};
use crate::program::{Pc, Program};
use crate::report::SourceLocation;
use crate::violation::{PriorAccess, ThreadLocation, Violation, ViolationKind};

/// A violation on its way out.
pub(crate) type Fail = Box<Violation>;

impl Program {
    /// The place of an instruction.
    pub fn location(&self, pc: Pc) -> Option<SourceLocation> {
        let place = self.places.get(pc as usize)?;
        let line = |(file, line): (u32, u32)| {
            let (_, path) = self.files.iter().find(|(number, _)| *number == file)?;
            Some((path.clone(), line))
        };
        Some(SourceLocation {
            ptx_line: place.line,
            instruction: place.opcode.to_string(),
            source: place.source.and_then(|source| line((source.file, source.line))),
            inlined_at: place.source.and_then(|source| source.inlined_at).and_then(line),
        })
    }
}

impl Launch<'_> {
    /// The coordinates of a thread.
    pub fn thread(&self, block: u64, warp: usize, lane: usize) -> ThreadLocation {
        let thread = (warp * 32 + lane) as u64;
        ThreadLocation {
            block: coordinates(block, self.config.grid),
            thread: coordinates(thread, self.config.block),
            warp: warp as u32,
            lane: lane as u32,
        }
    }
}

/// The coordinates of an index, x fastest.
pub(crate) fn coordinates(index: u64, [x, y, _]: [u32; 3]) -> [u32; 3] {
    let (x, y) = (u64::from(x.max(1)), u64::from(y.max(1)));
    [(index % x) as u32, (index / x % y) as u32, (index / x / y) as u32]
}

impl Engine<'_> {
    /// A violation at an instruction, by a lane.
    pub(super) fn fail(
        &self,
        block: &Block,
        warp: &Warp,
        pc: Pc,
        lane: usize,
        kind: ViolationKind,
        message: String,
    ) -> Fail {
        Box::new(Violation {
            kind,
            kernel: self.launch.program.name.clone(),
            location: self.launch.program.location(pc),
            thread: Some(self.launch.thread(block.index, warp.index, lane)),
            address: None,
            message,
            prior: None,
            seed: self.launch.options.seed,
        })
    }

    /// A violation of the launch as a whole.
    pub(super) fn fail_launch(&self, kind: ViolationKind, message: String) -> Fail {
        Box::new(Violation {
            kind,
            kernel: self.launch.program.name.clone(),
            location: None,
            thread: None,
            address: None,
            message,
            prior: None,
            seed: self.launch.options.seed,
        })
    }

    /// A violation that the memory found.
    pub(super) fn fault(&self, block: &Block, warp: &Warp, pc: Pc, fault: Fault) -> Fail {
        let mut violation = self.fail(block, warp, pc, fault.lane, fault.kind, fault.message);
        violation.address = Some(fault.address);
        if let Some(prior) = &fault.prior {
            let grid = self.grid_of(prior);
            violation.prior = Some(self.prior(prior, grid));
            if let Some(missing) = grid.and_then(|(grid, _)| self.missing_wait(grid)) {
                violation.message.push_str(missing);
            }
        }
        violation
    }

    /// The launch, among those that run, of an earlier access, and the ordinal of its block there.
    fn grid_of(&self, prior: &Prior) -> Option<(usize, u64)> {
        let number = i64::from(self.launch.numbers.first_block).checked_add(prior.block?)?;
        self.grids.iter().enumerate().find_map(|(index, grid)| {
            let ordinal = number.checked_sub(grid.launch.numbers.first_block.into())?;
            let ordinal = u64::try_from(ordinal).ok()?;
            (ordinal < grid.launch.blocks()).then_some((index, ordinal))
        })
    }

    fn prior(&self, prior: &Prior, grid: Option<(usize, u64)>) -> PriorAccess {
        let launch = grid.map(|(index, ordinal)| (self.grids[index].launch, ordinal));
        let kernel = grid.filter(|(index, _)| *index != self.current);
        PriorAccess {
            kind: prior.kind,
            kernel: kernel.map(|(index, _)| self.grids[index].launch.program.name.clone()),
            thread: launch
                .zip(prior.thread)
                .map(|((launch, block), (warp, lane))| launch.thread(launch.index_of(block), warp, lane)),
            location: launch.zip(prior.pc).and_then(|((launch, _), pc)| launch.program.location(pc)),
        }
    }

    /// What is to be said of an earlier access by a grid.
    fn missing_wait(&self, grid: usize) -> Option<&'static str> {
        match grid.cmp(&self.current) {
            Ordering::Equal => None,
            Ordering::Less => {
                Some(", of a grid that may still run: griddepcontrol.wait is missing before this access")
            }
            Ordering::Greater => Some(
                ", of a grid that has started early: griddepcontrol.wait is missing there, before its access",
            ),
        }
    }
}
