//! What a kernel did wrong, and where.

use std::fmt;

use crate::report::SourceLocation;

/// What was violated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum ViolationKind {
    /// An address outside every allocation, or outside the block's shared memory, the parameters, or local memory.
    OutOfBounds,
    /// An address that is not a multiple of the access's size.
    Misaligned,
    /// An address in memory that has been freed.
    UseAfterFree,
    /// A store to constant memory or to a kernel's parameters.
    ReadOnly,
    /// A value read from shared memory that nothing has written comes to matter: it, or what is computed from it, is
    /// stored to global memory, is an address or an operand of an atomic, or guards an access.
    UninitializedShared,
    /// The same of global memory.
    UninitializedGlobal,
    /// The same of local memory.
    UninitializedLocal,
    /// Two unordered accesses to the same byte of shared memory, at least one of them a write.
    SharedRace,
    /// Two unordered accesses to the same byte of global memory, at least one of them a write.
    GlobalRace,
    /// An access to bytes that an asynchronous copy still reads or writes: a missing wait.
    AsyncCopyRace,
    /// An access by the asynchronous proxy (`wgmma`, `cp.async.bulk`) to bytes that ordinary instructions have written,
    /// or to an mbarrier that they have initialised, without a proxy fence in between.
    MissingProxyFence,
    /// Registers of a `wgmma` touched before its `wait_group`, or not separated from it by `wgmma.fence`.
    WgmmaRegisters,
    /// An mbarrier used against its rules: not initialised, initialised anew or its memory used without `inval`, a
    /// count out of range, or a wait for a phase that is long gone.
    MbarrierMisuse,
    /// An access to shared memory of a block of the cluster that has exited or need not have started.
    BlockGone,
    /// A `.sync` instruction whose executing lane is not in its member mask.
    LaneOutsideMask,
    /// Lanes that execute one `.sync` instruction together with different member masks.
    DivergentMask,
    /// A member mask that names lanes which wait elsewhere for ever. Lanes that have exited are not waited for.
    AbsentLane,
    /// An `.aligned` instruction that not all lanes of the warp execute.
    DivergentWarp,
    /// A shuffle that reads a lane which does not take part.
    InactiveSource,
    /// A barrier that the block's threads do not all reach, reach at different instructions, or use with different
    /// thread counts; a barrier number above 15, or a count that is not a multiple of the warp size.
    BarrierMismatch,
    /// All warps wait, and nothing that is pending could wake one.
    Deadlock,
    /// The launch exceeded the number of instructions that it was allowed.
    InstructionLimit,
    /// The kernel executed `trap` or failed an assertion.
    Trap,
    /// An instruction's operand had a value that the PTX ISA forbids.
    InvalidOperand,
}

impl ViolationKind {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::OutOfBounds,
        Self::Misaligned,
        Self::UseAfterFree,
        Self::ReadOnly,
        Self::UninitializedShared,
        Self::UninitializedGlobal,
        Self::UninitializedLocal,
        Self::SharedRace,
        Self::GlobalRace,
        Self::AsyncCopyRace,
        Self::MissingProxyFence,
        Self::WgmmaRegisters,
        Self::MbarrierMisuse,
        Self::BlockGone,
        Self::LaneOutsideMask,
        Self::DivergentMask,
        Self::AbsentLane,
        Self::DivergentWarp,
        Self::InactiveSource,
        Self::BarrierMismatch,
        Self::Deadlock,
        Self::InstructionLimit,
        Self::Trap,
        Self::InvalidOperand,
    ];

    /// Its name in reports, such as `shared_race`.
    pub fn name(self) -> &'static str {
        match self {
            Self::OutOfBounds => "out_of_bounds",
            Self::Misaligned => "misaligned",
            Self::UseAfterFree => "use_after_free",
            Self::ReadOnly => "read_only",
            Self::UninitializedShared => "uninitialized_shared",
            Self::UninitializedGlobal => "uninitialized_global",
            Self::UninitializedLocal => "uninitialized_local",
            Self::SharedRace => "shared_race",
            Self::GlobalRace => "global_race",
            Self::AsyncCopyRace => "async_copy_race",
            Self::MissingProxyFence => "missing_proxy_fence",
            Self::WgmmaRegisters => "wgmma_registers",
            Self::MbarrierMisuse => "mbarrier_misuse",
            Self::BlockGone => "block_gone",
            Self::LaneOutsideMask => "lane_outside_mask",
            Self::DivergentMask => "divergent_mask",
            Self::AbsentLane => "absent_lane",
            Self::DivergentWarp => "divergent_warp",
            Self::InactiveSource => "inactive_source",
            Self::BarrierMismatch => "barrier_mismatch",
            Self::Deadlock => "deadlock",
            Self::InstructionLimit => "instruction_limit",
            Self::Trap => "trap",
            Self::InvalidOperand => "invalid_operand",
        }
    }
}

impl fmt::Display for ViolationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A thread of a launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ThreadLocation {
    /// `%ctaid`.
    pub block: [u32; 3],
    /// `%tid`.
    pub thread: [u32; 3],
    /// Warp within the block.
    pub warp: u32,
    /// Lane within the warp.
    pub lane: u32,
}

impl fmt::Display for ThreadLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ([bx, by, bz], [tx, ty, tz]) = (self.block, self.thread);
        write!(
            f,
            "block ({bx}, {by}, {bz}), thread ({tx}, {ty}, {tz}), warp {}, lane {}",
            self.warp, self.lane
        )
    }
}

/// What a memory access did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum AccessKind {
    /// A load.
    Read,
    /// A store.
    Write,
    /// An atomic read-modify-write.
    Atomic,
    /// The write of an asynchronous copy.
    AsyncWrite,
    /// The read of an asynchronous copy.
    AsyncRead,
    /// A read by the asynchronous proxy: of a `wgmma` or a bulk copy.
    ProxyRead,
    /// A write by the asynchronous proxy: of a bulk copy.
    ProxyWrite,
}

impl fmt::Display for AccessKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Atomic => "atomic",
            Self::AsyncWrite => "asynchronous write",
            Self::AsyncRead => "asynchronous read",
            Self::ProxyRead => "read by the asynchronous proxy",
            Self::ProxyWrite => "write by the asynchronous proxy",
        })
    }
}

/// The earlier of two accesses that conflict.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct PriorAccess {
    /// What it did.
    pub kind: AccessKind,
    /// Its kernel, where it belongs to another launch.
    pub kernel: Option<String>,
    /// Which thread did it; `None` where several did and only one place was kept.
    pub thread: Option<ThreadLocation>,
    /// Where; `None` where the place was not kept.
    pub location: Option<SourceLocation>,
}

/// A rule that a launch broke. The launch stopped there.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Violation {
    /// What was violated.
    pub kind: ViolationKind,
    /// The kernel.
    pub kernel: String,
    /// The instruction; `None` where the launch as a whole is at fault.
    pub location: Option<SourceLocation>,
    /// The thread.
    pub thread: Option<ThreadLocation>,
    /// The address, within its state space.
    pub address: Option<u64>,
    /// What happened, in words, with the numbers that matter.
    pub message: String,
    /// The access that the reported one conflicts with.
    pub prior: Option<PriorAccess>,
    /// The seed that the launch ran with.
    pub seed: u64,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in kernel `{}`: {}", self.kind, self.kernel, self.message)?;
        if let Some(location) = &self.location {
            write!(f, "\n  at {location}")?;
        }
        if let Some(thread) = &self.thread {
            write!(f, "\n  by {thread}")?;
        }
        if let Some(address) = self.address {
            write!(f, "\n  address {address:#x}")?;
        }
        if let Some(prior) = &self.prior {
            write!(f, "\n  conflicts with an earlier {}", prior.kind)?;
            if let Some(kernel) = &prior.kernel {
                write!(f, " in kernel `{kernel}`")?;
            }
            if let Some(location) = &prior.location {
                write!(f, "\n    at {location}")?;
            }
            if let Some(thread) = &prior.thread {
                write!(f, "\n    by {thread}")?;
            }
        }
        write!(f, "\n  (seed {})", self.seed)
    }
}
