//! Memory: global, shared and local, with what is known of every byte for the checks.

mod allocations;
mod bits;
mod global;
mod local;
mod page;
mod proxy;
mod runs;
mod shape;
mod shared;
mod traffic;
mod warp;
pub(crate) mod windows;

#[cfg(test)]
mod tests;

pub(crate) use global::{GlobalMemory, PageCache};
pub(crate) use local::LocalMemory;
pub(crate) use proxy::ProxyAccess;
pub(crate) use runs::{for_lanes, lanes_of};
pub(crate) use shared::{MbarrierAccess, SharedMemory};

use shape::Shape;

use crate::program::{LANES, Pc};
use crate::race::{Conflict, Moment};
use crate::violation::{AccessKind, ViolationKind};

/// The threads that an atomic, fence, acquire or release reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Scope {
    Cta,
    Cluster,
    Gpu,
    System,
}

/// Whether an access may meet others without an order (PTX ISA, "Morally strong operations").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strength {
    /// An ordinary access.
    Weak,
    /// Volatile, relaxed, acquire, release, atomic.
    Strong(Scope),
}

/// What a strong access does besides its access: a load may acquire, a store release, an atomic both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SyncSemantics {
    /// `.acquire`, `.acq_rel`.
    pub acquire: bool,
    /// `.release`, `.acq_rel`.
    pub release: bool,
}

/// What an atomic does besides its update.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct AtomicOrder {
    pub acquire: bool,
    pub release: bool,
    /// `red`: its read acquires nothing, not even with a later fence.
    pub reduction: bool,
}

/// One warp instruction's access to memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WarpAccess<'a> {
    /// What it does.
    pub kind: AccessKind,
    /// Weak or strong.
    pub strength: Strength,
    /// What it acquires or releases.
    pub order: SyncSemantics,
    /// Bytes of each lane: 1, 2, 4, 8 or 16.
    pub size: usize,
    /// What each address must be a multiple of; at least `size`.
    pub align: u64,
    /// The address of each lane, within its state space.
    pub addresses: &'a [u64; LANES],
    /// The lanes that take part.
    pub mask: u32,
    /// The instruction.
    pub pc: Pc,
    /// Bytes that nothing has written may be read.
    pub reads_unwritten: bool,
    /// When it happens, where it is an asynchronous copy that others than its thread can wait for.
    pub moment: Option<Moment>,
}

/// The bytes that lanes load or store: lane by lane, the first `size` of each.
pub(crate) type LaneBytes = [[u8; 16]; LANES];

/// The earlier of two conflicting accesses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Prior {
    pub kind: AccessKind,
    /// The block, counted from the first one of the launch; it may belong to another launch.
    pub block: Option<i64>,
    /// Warp and lane, where one lane alone did it.
    pub thread: Option<(usize, usize)>,
    pub pc: Option<Pc>,
}

/// A rule that an access broke.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub kind: ViolationKind,
    /// The first lane at fault.
    pub lane: usize,
    pub address: u64,
    pub message: String,
    pub prior: Option<Prior>,
}

/// The bytes of a state space that an access's faults are told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Space {
    Shared,
    Global,
    Local,
}

impl Space {
    fn name(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Global => "global",
            Self::Local => "local",
        }
    }
}

impl WarpAccess<'_> {
    /// The first lane whose address is not aligned.
    fn check_alignment(&self, shape: &Shape) -> Result<(), Fault> {
        // Alignments are powers of two.
        let align = self.align.max(self.size as u64);
        let misaligned = |lane: &usize| self.addresses[*lane] & (align - 1) != 0;
        if shape.union & (align - 1) == 0 {
            return Ok(());
        }
        match runs::lanes_of(self.mask).find(misaligned) {
            None => Ok(()),
            Some(lane) => {
                let message = format!("{} must be aligned to {align} bytes", self.describe());
                Err(self.fault(ViolationKind::Misaligned, lane, message))
            }
        }
    }

    /// Such as `a 4-byte read`.
    fn describe(&self) -> String {
        let article = if self.size == 8 { "an" } else { "a" };
        format!("{article} {}-byte {}", self.size, self.kind)
    }

    fn fault(&self, kind: ViolationKind, lane: usize, message: String) -> Fault {
        Fault { kind, lane, address: self.addresses[lane], message, prior: None }
    }

    fn uninitialized(&self, space: Space, lane: usize, byte: u64) -> Fault {
        let kind = match space {
            Space::Shared => ViolationKind::UninitializedShared,
            Space::Global => ViolationKind::UninitializedGlobal,
            Space::Local => ViolationKind::UninitializedLocal,
        };
        let message = format!(
            "{} of {} memory that nothing has written: byte {byte:#x}",
            self.describe(),
            space.name()
        );
        self.fault(kind, lane, message)
    }

    fn race(&self, space: Space, conflict: &Conflict) -> Fault {
        let prior =
            Prior { kind: conflict.kind, block: conflict.block, thread: conflict.thread, pc: conflict.pc };
        let (kind, message) = conflict.describe(&self.describe(), space);
        Fault { prior: Some(prior), ..self.fault(kind, conflict.lane, message) }
    }
}

/// Noise that depends on the seed and the place: what uninitialised memory holds.
fn garbage(bytes: &mut [u8], seed: u64, place: u64) {
    let mut state = seed ^ place.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for chunk in bytes.chunks_mut(8) {
        // SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators").
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut noise = state;
        noise = (noise ^ noise >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        noise = (noise ^ noise >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        let noise = (noise ^ noise >> 31).to_le_bytes();
        chunk.copy_from_slice(&noise[..chunk.len()]);
    }
}
