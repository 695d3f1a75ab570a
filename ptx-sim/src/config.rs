//! What the simulated device is, and how it is to run.

use std::fmt;

/// A compute capability that the simulator can pretend to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum ComputeCapability {
    /// 8.0: A100.
    Sm80,
    /// 8.6: A10, RTX 30.
    Sm86,
    /// 8.9: L4, L40, RTX 40.
    Sm89,
    /// 9.0: H100, H200.
    Sm90,
}

impl ComputeCapability {
    /// All of them, oldest first.
    pub const ALL: &[Self] = &[Self::Sm80, Self::Sm86, Self::Sm89, Self::Sm90];

    /// Major and minor, such as `(8, 6)`.
    pub fn version(self) -> (u32, u32) {
        match self {
            Self::Sm80 => (8, 0),
            Self::Sm86 => (8, 6),
            Self::Sm89 => (8, 9),
            Self::Sm90 => (9, 0),
        }
    }
}

impl ComputeCapability {
    /// The newest that a PTX target such as `sm_86` or `sm_90a` is no newer than; `None` for what is no such target.
    pub(crate) fn of_target(target: &str) -> Option<Self> {
        let digits = target.strip_prefix("sm_")?.trim_end_matches(['a', 'f']);
        let number: u32 = digits.parse().ok()?;
        Self::ALL.iter().rev().copied().find(|one| one.version().0 * 10 + one.version().1 <= number)
    }
}

impl fmt::Display for ComputeCapability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (major, minor) = self.version();
        write!(f, "{major}.{minor}")
    }
}

impl std::str::FromStr for ComputeCapability {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = text.trim().trim_start_matches("sm_").trim_end_matches('a').replace('.', "");
        Self::ALL
            .iter()
            .copied()
            .find(|cc| {
                let (major, minor) = cc.version();
                wanted == format!("{major}{minor}")
            })
            .ok_or_else(|| format!("unknown compute capability `{text}`: expected 8.0, 8.6, 8.9 or 9.0"))
    }
}

/// The properties and limits of a device, as a driver reports them (CUDA C++ Programming Guide, "Compute
/// Capabilities": technical specifications).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeviceProperties {
    /// What it is.
    pub compute_capability: ComputeCapability,
    /// Streaming multiprocessors.
    pub sm_count: u32,
    /// Threads of a warp: 32.
    pub warp_size: u32,
    /// Threads of a block at most.
    pub max_threads_per_block: u32,
    /// Block dimensions at most, x, y, z.
    pub max_block_dim: [u32; 3],
    /// Grid dimensions at most, x, y, z.
    pub max_grid_dim: [u32; 3],
    /// Threads that live on one multiprocessor at most.
    pub max_threads_per_sm: u32,
    /// Blocks that live on one multiprocessor at most.
    pub max_blocks_per_sm: u32,
    /// 32-bit registers of one multiprocessor.
    pub registers_per_sm: u32,
    /// 32-bit registers of one block at most.
    pub max_registers_per_block: u32,
    /// 32-bit registers of one thread at most.
    pub max_registers_per_thread: u32,
    /// Bytes of shared memory of one multiprocessor.
    pub shared_memory_per_sm: u32,
    /// Bytes of shared memory of one block without opting in: what static shared memory may take.
    pub shared_memory_per_block: u32,
    /// Bytes of shared memory of one block at most, static and dynamic.
    pub shared_memory_per_block_optin: u32,
    /// Bytes of shared memory that the system takes of each block.
    pub reserved_shared_memory_per_block: u32,
    /// Blocks of a cluster at most, without opting in to more; 1 where there are no clusters.
    pub max_cluster_size: u32,
    /// Blocks of a cluster at most where a launch allows those that not every device takes.
    pub max_cluster_size_optin: u32,
    /// Bytes of constant memory of a module at most.
    pub constant_memory: u32,
    /// Bytes of a kernel's parameters at most.
    pub max_parameter_bytes: u32,
}

impl DeviceProperties {
    /// Those of the usual device of a compute capability: A100 80 GB, A10, L40S, H200.
    pub fn of(compute_capability: ComputeCapability) -> Self {
        use ComputeCapability::{Sm80, Sm86, Sm89, Sm90};
        let (sm_count, threads, blocks, shared, optin) = match compute_capability {
            Sm80 => (108, 2048, 32, 164, 163),
            Sm86 => (72, 1536, 16, 100, 99),
            Sm89 => (142, 1536, 24, 100, 99),
            Sm90 => (132, 2048, 32, 228, 227),
        };
        Self {
            compute_capability,
            sm_count,
            warp_size: 32,
            max_threads_per_block: 1024,
            max_block_dim: [1024, 1024, 64],
            max_grid_dim: [(1 << 31) - 1, 65535, 65535],
            max_threads_per_sm: threads,
            max_blocks_per_sm: blocks,
            registers_per_sm: 65536,
            max_registers_per_block: 65536,
            max_registers_per_thread: 255,
            shared_memory_per_sm: shared << 10,
            shared_memory_per_block: 48 << 10,
            shared_memory_per_block_optin: optin << 10,
            reserved_shared_memory_per_block: 1 << 10,
            max_cluster_size: if compute_capability >= Sm90 { 8 } else { 1 },
            max_cluster_size_optin: if compute_capability >= Sm90 { 16 } else { 1 },
            constant_memory: 64 << 10,
            max_parameter_bytes: if compute_capability >= Sm90 { 32764 } else { 4096 },
        }
    }
}

/// How the tensor cores compute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TensorMode {
    /// Bit for bit as the hardware of the compute capability does.
    #[default]
    BitAccurate,
    /// In f32, in the order of k: faster, and different in the last bits.
    Fast,
}

/// Which checks run. All of them by default: turning one off is for kernels that are known to break a rule, and for
/// measuring what the checks cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Checks {
    /// Values read from shared, global or local memory that nothing has written, where they come to matter.
    pub initialization: bool,
    /// Data races in shared and global memory.
    pub races: bool,
    /// Mbarriers that are initialised and then used by the asynchronous proxy without a fence (`fence.mbarrier_init`,
    /// `fence.proxy.async`) between.
    pub mbarrier_init_fence: bool,
}

impl Default for Checks {
    fn default() -> Self {
        Self { initialization: true, races: true, mbarrier_init_fence: true }
    }
}

/// How launches run.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RunOptions {
    /// Seeds the scheduler, the moment at which asynchronous copies complete, and what uninitialised memory holds.
    /// Seed 0 runs blocks in order and completes copies as late as is legal.
    pub seed: u64,
    /// Which checks run.
    pub checks: Checks,
    /// How the tensor cores compute.
    pub tensor_mode: TensorMode,
    /// Perturbs approximate functions (`ex2.approx` and its like) within the bound that the PTX ISA gives.
    pub perturb_approx: bool,
    /// Host threads for the blocks of one launch, where these cannot communicate. 0 is one for each core.
    pub host_threads: usize,
    /// Warp instructions after which a launch is stopped with a report; none by default.
    pub max_instructions: Option<u64>,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self {
            seed: 0,
            checks: Checks::default(),
            tensor_mode: TensorMode::default(),
            perturb_approx: false,
            host_threads: 1,
            max_instructions: None,
        }
    }
}
