//! Launches: their shape, and what a driver would refuse.

use crate::config::DeviceProperties;
use crate::error::{Error, Result};
use crate::exec::Residency;
use crate::program::Program;

/// Registers of a thread where neither the launch nor the PTX says: what compilers use for kernels of middling size.
const USUAL_REGISTERS: u32 = 64;

/// The shape of a launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LaunchConfig {
    /// Blocks, x, y, z.
    pub grid: [u32; 3],
    /// Threads of a block, x, y, z.
    pub block: [u32; 3],
    /// Blocks of a cluster, x, y, z.
    pub cluster: [u32; 3],
    /// Dynamic shared memory of a block, in bytes.
    pub dynamic_shared_bytes: u32,
    /// Registers of a thread, as the compiler for the real device reports them: they limit how many blocks are live at
    /// once. Without, `.maxnreg` of the kernel or 64.
    pub registers_per_thread: Option<u32>,
}

impl LaunchConfig {
    /// So many blocks of so many threads, without clusters and dynamic shared memory.
    pub fn new(grid: [u32; 3], block: [u32; 3]) -> Self {
        Self { grid, block, cluster: [1; 3], dynamic_shared_bytes: 0, registers_per_thread: None }
    }

    /// With dynamic shared memory for each block.
    pub fn dynamic_shared_bytes(self, bytes: u32) -> Self {
        Self { dynamic_shared_bytes: bytes, ..self }
    }

    /// With a number of registers for each thread.
    pub fn registers_per_thread(self, registers: u32) -> Self {
        Self { registers_per_thread: Some(registers), ..self }
    }

    /// With clusters of so many blocks.
    pub fn cluster(self, cluster: [u32; 3]) -> Self {
        Self { cluster, ..self }
    }

    /// Refuses what a driver would; the bytes of shared memory of a block, and how many blocks are live at once.
    pub(crate) fn check(
        &self,
        program: &Program,
        properties: &DeviceProperties,
        parameters: usize,
    ) -> Result<(u32, Residency)> {
        let refuse = |argument: &'static str, expected: String, given: String| {
            Err(Error::Launch { kernel: program.name.clone(), argument, expected, given })
        };
        let within =
            |value: [u32; 3], limit: [u32; 3]| value.iter().zip(limit).all(|(v, l)| (1..=l).contains(v));
        if !within(self.grid, properties.max_grid_dim) {
            return refuse("grid", format!("1 to {:?}", properties.max_grid_dim), format!("{:?}", self.grid));
        }
        if !within(self.block, properties.max_block_dim) {
            return refuse(
                "block",
                format!("1 to {:?}", properties.max_block_dim),
                format!("{:?}", self.block),
            );
        }
        let threads: u64 = self.block.iter().map(|n| u64::from(*n)).product();
        let directives = &program.directives;
        let mut max_threads = u64::from(properties.max_threads_per_block);
        if let Some(block) = directives.max_block {
            max_threads = max_threads.min(block.iter().map(|n| u64::from(*n)).product());
        }
        if threads > max_threads {
            return refuse("threads of a block", format!("at most {max_threads}"), threads.to_string());
        }
        if let Some(required) = directives.required_block
            && required != self.block
        {
            return refuse("block", format!("{required:?}, as .reqntid says"), format!("{:?}", self.block));
        }
        let blocks: u64 = self.grid.iter().map(|n| u64::from(*n)).product();
        if blocks >= 1 << 29 {
            return refuse(
                "grid",
                "fewer than 2^29 blocks (a limit of the simulator)".into(),
                blocks.to_string(),
            );
        }
        if self.cluster != [1; 3] || directives.required_cluster.is_some_and(|cluster| cluster != [1; 3]) {
            let given = directives.required_cluster.unwrap_or(self.cluster);
            return refuse("cluster", "[1, 1, 1]: clusters are not supported".into(), format!("{given:?}"));
        }
        let limit = properties.shared_memory_per_block_optin;
        let shared = u64::from(program.static_shared_bytes) + u64::from(self.dynamic_shared_bytes);
        if program.static_shared_bytes > properties.shared_memory_per_block {
            let expected = format!("at most {} bytes", properties.shared_memory_per_block);
            return refuse("static shared memory", expected, program.static_shared_bytes.to_string());
        }
        if shared > u64::from(limit) {
            let expected = format!("at most {limit} bytes, static and dynamic");
            return refuse("shared memory", expected, format!("{shared} bytes"));
        }
        let registers = self.registers_per_thread.or(directives.max_registers).unwrap_or_else(|| {
            // A kernel that fits no register count that is usual is compiled with fewer.
            USUAL_REGISTERS
                .min(properties.max_registers_per_block / (threads as u32).next_multiple_of(32).max(1))
        });
        if registers > properties.max_registers_per_thread {
            let expected = format!("at most {}", properties.max_registers_per_thread);
            return refuse("registers of a thread", expected, registers.to_string());
        }
        let residency = Residency::of(properties, threads as u32, shared as u32, registers);
        if residency.per_sm == 0 {
            let expected = "what fits a multiprocessor".into();
            return refuse(
                "registers of a block",
                expected,
                format!("{registers} for each of {threads} threads"),
            );
        }
        if parameters != program.parameter_bytes as usize {
            let expected = format!("{} bytes", program.parameter_bytes);
            return refuse("parameters", expected, format!("{parameters} bytes"));
        }
        Ok((shared as u32, residency))
    }
}
