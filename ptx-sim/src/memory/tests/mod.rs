//! Memory by small scenarios: one warp access after another, as an interpreter would make them.

mod bounds;
mod global;
mod patterns;
mod proxy;
mod races;

use super::{
    AtomicOrder, Fault, GlobalMemory, LaneBytes, PageCache, ProxyAccess, Scope, SharedMemory, Strength,
    SyncSemantics, WarpAccess,
};
use crate::config::Checks;
use crate::count::Tally;
use crate::program::LANES;
use crate::race::{BarrierClock, BlockClocks, LaunchNumbers};
use crate::violation::{AccessKind, ViolationKind};

const ALL: u32 = u32::MAX;
const NONE: SyncSemantics = SyncSemantics { acquire: false, release: false };
const SHARED: u64 = 0x100;

/// An access of 4 bytes for each lane.
#[derive(Clone, Copy)]
struct Access {
    kind: AccessKind,
    strength: Strength,
    order: SyncSemantics,
    size: usize,
    addresses: [u64; LANES],
    mask: u32,
    pc: u32,
}

impl Access {
    fn new(kind: AccessKind, mask: u32, address: impl Fn(u64) -> u64) -> Self {
        let addresses = std::array::from_fn(|lane| address(lane as u64));
        Self { kind, strength: Strength::Weak, order: NONE, size: 4, addresses, mask, pc: 7 }
    }

    fn read(mask: u32, address: impl Fn(u64) -> u64) -> Self {
        Self::new(AccessKind::Read, mask, address)
    }

    fn write(mask: u32, address: impl Fn(u64) -> u64) -> Self {
        Self::new(AccessKind::Write, mask, address)
    }

    fn atomic(mask: u32, address: u64, scope: Scope) -> Self {
        Self::new(AccessKind::Atomic, mask, |_| address).strong(scope)
    }

    fn strong(self, scope: Scope) -> Self {
        Self { strength: Strength::Strong(scope), ..self }
    }

    fn acquire(self) -> Self {
        Self { order: SyncSemantics { acquire: true, ..self.order }, ..self }
    }

    fn release(self) -> Self {
        Self { order: SyncSemantics { release: true, ..self.order }, ..self }
    }

    fn size(self, size: usize) -> Self {
        Self { size, ..self }
    }

    fn pc(self, pc: u32) -> Self {
        Self { pc, ..self }
    }

    fn warp(&self) -> WarpAccess<'_> {
        WarpAccess {
            kind: self.kind,
            strength: self.strength,
            order: self.order,
            size: self.size,
            align: self.size as u64,
            addresses: &self.addresses,
            mask: self.mask,
            pc: self.pc,
            reads_unwritten: false,
            moment: None,
        }
    }
}

/// One value for each lane, in its first bytes.
fn values(value: impl Fn(usize) -> u32) -> LaneBytes {
    std::array::from_fn(|lane| {
        let mut bytes = [lane as u8; 16];
        bytes[..4].copy_from_slice(&value(lane).to_le_bytes());
        bytes
    })
}

/// One block with its shared memory.
struct Block {
    clocks: BlockClocks,
    shared: SharedMemory,
    tally: Tally,
}

impl Block {
    fn new(warps: usize) -> Self {
        Self::with_checks(warps, Checks::default())
    }

    fn with_checks(warps: usize, checks: Checks) -> Self {
        let launch = LaunchNumbers { first_block: 1, ordered_before: 1, cluster_size: 1 };
        Self {
            clocks: BlockClocks::new(1, warps * LANES, launch),
            shared: SharedMemory::new(4096, SHARED, checks, 1),
            tally: Tally::default(),
        }
    }

    fn run(&mut self, warp: usize, access: Access) -> Result<LaneBytes, Fault> {
        let mut out = values(|lane| lane as u32);
        let (clocks, tally) = (&mut self.clocks, &mut self.tally);
        let warp_access = access.warp();
        match access.kind {
            AccessKind::Read => self.shared.load(clocks, warp, &warp_access, &mut out, tally)?,
            AccessKind::Atomic => {
                let SyncSemantics { acquire, release } = access.order;
                let order = AtomicOrder { acquire, release, reduction: false };
                let mut old = [0; LANES];
                let mut update = |_: usize, old: u64| old + 1;
                self.shared.atomic(clocks, warp, &warp_access, order, &mut update, &mut old, tally)?;
                out = values(|lane| old[lane] as u32);
            }
            _ => self.shared.store(clocks, warp, &warp_access, &out, tally)?,
        }
        Ok(out)
    }

    fn ok(&mut self, warp: usize, access: Access) -> LaneBytes {
        self.run(warp, access).expect("no fault")
    }

    fn fault(&mut self, warp: usize, access: Access) -> Fault {
        self.run(warp, access).expect_err("a fault")
    }

    fn races(&mut self, warp: usize, access: Access) -> Fault {
        let fault = self.fault(warp, access);
        assert_eq!(fault.kind, ViolationKind::SharedRace, "{fault:?}");
        fault
    }

    /// `bar.sync` of these warps.
    fn barrier(&mut self, warps: &[usize]) {
        let mut barrier = BarrierClock::default();
        warps.iter().for_each(|warp| self.clocks.barrier_arrive(&mut barrier, *warp, ALL));
        warps.iter().for_each(|warp| self.clocks.barrier_leave(&barrier, *warp, ALL));
    }
}
