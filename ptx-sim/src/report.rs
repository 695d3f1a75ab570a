//! What a launch did: counters, and places in the source.

use std::collections::BTreeMap;
use std::fmt;

/// A place in a PTX file, and in the CUDA source that it was compiled from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct SourceLocation {
    /// Line of the PTX file, from 1.
    pub ptx_line: u32,
    /// The opcode there.
    pub instruction: String,
    /// CUDA source file and line, where the PTX was compiled with `-lineinfo`.
    pub source: Option<(String, u32)>,
    /// Where that line belongs to a function which the compiler inlined: file and line of the call.
    pub inlined_at: Option<(String, u32)>,
}

impl fmt::Display for SourceLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((file, line)) = &self.source {
            write!(f, "{file}:{line}, ")?;
        }
        if let Some((file, line)) = &self.inlined_at {
            write!(f, "inlined at {file}:{line}, ")?;
        }
        write!(f, "PTX line {} ({})", self.ptx_line, self.instruction)
    }
}

/// The class that an instruction is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[repr(u8)]
#[non_exhaustive]
pub enum InstructionClass {
    /// Integer arithmetic, logic, comparisons and selects.
    Integer,
    /// f32, f16 and bf16 arithmetic and comparisons.
    Float,
    /// f64 arithmetic and comparisons.
    Double,
    /// ex2, lg2, rcp, rsqrt, sqrt, sin, cos, tanh, approximate division.
    Special,
    /// Conversions between types.
    Convert,
    /// Moves between registers.
    Move,
    /// Branches, calls, returns, exits.
    Control,
    /// Loads of kernel parameters, constants and local memory, and stores to the last.
    OtherMemory,
    /// Global loads and prefetches.
    GlobalLoad,
    /// Global stores.
    GlobalStore,
    /// Shared loads, ldmatrix among them.
    SharedLoad,
    /// Shared stores, stmatrix among them.
    SharedStore,
    /// Atomics and reductions.
    Atomic,
    /// Asynchronous copies, their commits and waits.
    AsyncCopy,
    /// Tensor-core instructions.
    Tensor,
    /// shfl, vote, match, redux, elect.
    WarpCollective,
    /// Barriers, of the warp, block or cluster, and mbarriers.
    Barrier,
    /// Fences.
    Fence,
}

impl InstructionClass {
    /// All classes, in the order of the counters.
    pub const ALL: [Self; 18] = [
        Self::Integer,
        Self::Float,
        Self::Double,
        Self::Special,
        Self::Convert,
        Self::Move,
        Self::Control,
        Self::OtherMemory,
        Self::GlobalLoad,
        Self::GlobalStore,
        Self::SharedLoad,
        Self::SharedStore,
        Self::Atomic,
        Self::AsyncCopy,
        Self::Tensor,
        Self::WarpCollective,
        Self::Barrier,
        Self::Fence,
    ];

    /// Its name in reports, such as `shared_load`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Integer => "integer",
            Self::Float => "float",
            Self::Double => "double",
            Self::Special => "special",
            Self::Convert => "convert",
            Self::Move => "move",
            Self::Control => "control",
            Self::OtherMemory => "other_memory",
            Self::GlobalLoad => "global_load",
            Self::GlobalStore => "global_store",
            Self::SharedLoad => "shared_load",
            Self::SharedStore => "shared_store",
            Self::Atomic => "atomic",
            Self::AsyncCopy => "async_copy",
            Self::Tensor => "tensor",
            Self::WarpCollective => "warp_collective",
            Self::Barrier => "barrier",
            Self::Fence => "fence",
        }
    }
}

/// Traffic between the multiprocessors and global memory, in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct GlobalTraffic {
    /// Warp instructions.
    pub requests: u64,
    /// Bytes that lanes asked for, each lane's own counted.
    pub requested_bytes: u64,
    /// 32-byte sectors that the requests touch, counted anew for each request.
    pub sectors: u64,
    /// Bytes of these sectors.
    pub issued_bytes: u64,
    /// Different bytes that the launch touched.
    pub unique_bytes: u64,
}

/// Shared-memory accesses, in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct SharedTraffic {
    /// Warp instructions.
    pub requests: u64,
    /// Bytes that lanes asked for.
    pub requested_bytes: u64,
    /// Passes through the 32 banks that the requests take.
    pub wavefronts: u64,
    /// Passes beyond the least that the requested bytes need: bank conflicts.
    pub conflicts: u64,
}

/// The bank conflicts of one instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct BankConflicts {
    /// Where it stands.
    pub location: SourceLocation,
    /// Warp instructions that had conflicts.
    pub requests: u64,
    /// Their conflicts.
    pub conflicts: u64,
}

/// What a launch executed and moved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Counters {
    /// Warp instructions, all classes.
    pub instructions: u64,
    /// Thread instructions: warp instructions times the lanes that were active.
    pub thread_instructions: u64,
    /// Warp instructions by class name.
    pub by_class: BTreeMap<&'static str, u64>,
    /// Branches at which lanes of a warp parted.
    pub divergent_branches: u64,
    /// From global memory; asynchronous copies are included.
    pub global_read: GlobalTraffic,
    /// To global memory; atomics are included.
    pub global_written: GlobalTraffic,
    /// From shared memory.
    pub shared_read: SharedTraffic,
    /// To shared memory; asynchronous copies are included.
    pub shared_written: SharedTraffic,
    /// The instructions among these accesses that had bank conflicts, in the order of the PTX.
    pub bank_conflicts: Vec<BankConflicts>,
    /// Tensor-core operations (two for each multiply-add) by the types of A and B, such as `bf16`.
    pub tensor_flops: BTreeMap<&'static str, u64>,
    /// Times that a warp arrived at a barrier of its block.
    pub barriers: u64,
    /// Times that a warp had to wait there, or found a spin lock or flag not ready.
    pub waits: u64,
    /// Lanes' atomic operations on global and shared memory.
    pub atomics: u64,
}

/// What a launch did.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Report {
    /// The kernel.
    pub kernel: String,
    /// Blocks, x, y, z.
    pub grid: [u32; 3],
    /// Threads of a block, x, y, z.
    pub block: [u32; 3],
    /// Static and dynamic shared memory of a block, in bytes.
    pub shared_bytes: u32,
    /// Blocks that were live at once at most.
    pub resident_blocks: u32,
    /// The seed that it ran with.
    pub seed: u64,
    /// What it executed and moved.
    pub counters: Counters,
    /// What it printed with `printf`.
    pub output: String,
}

/// What all launches of a device executed and moved so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Totals {
    /// Launches that ended without breaking a rule.
    pub launches: u64,
    /// Warp instructions.
    pub instructions: u64,
    /// Tensor-core operations, two for each multiply-add.
    pub tensor_flops: u64,
    /// Bytes of the 32-byte sectors that reads of global memory asked for.
    pub global_bytes_read: u64,
    /// Likewise for writes and atomics.
    pub global_bytes_written: u64,
    /// Passes through the banks of shared memory.
    pub shared_wavefronts: u64,
    /// How many of them are due to bank conflicts.
    pub shared_conflicts: u64,
}

impl Totals {
    /// Adds one launch.
    pub(crate) fn add(&mut self, counters: &Counters) {
        self.launches += 1;
        self.instructions += counters.instructions;
        self.tensor_flops += counters.tensor_flops.values().sum::<u64>();
        self.global_bytes_read += counters.global_read.issued_bytes;
        self.global_bytes_written += counters.global_written.issued_bytes;
        for shared in [&counters.shared_read, &counters.shared_written] {
            self.shared_wavefronts += shared.wavefronts;
            self.shared_conflicts += shared.conflicts;
        }
    }
}
