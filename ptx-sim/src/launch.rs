//! Launches: their shape, and what a driver would refuse.

use crate::config::DeviceProperties;
use crate::error::{Error, Result};
use crate::exec::Residency;
use crate::program::Program;

/// Registers of a thread where neither the launch nor the PTX says: what compilers use for kernels of middling size.
const USUAL_REGISTERS: u32 = 64;

/// A launch that a driver would take.
pub(crate) struct Checked {
    /// With what the kernel's directives say.
    pub config: LaunchConfig,
    /// Bytes of shared memory of a block.
    pub shared_bytes: u32,
    /// How many blocks are live at once.
    pub residency: Residency,
}

/// The shape of a launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LaunchConfig {
    /// Blocks, x, y, z.
    pub grid: [u32; 3],
    /// Threads of a block, x, y, z.
    pub block: [u32; 3],
    /// Blocks of a cluster, x, y, z. Only one block, unless the kernel's `.reqnctapercluster` says otherwise.
    pub cluster: [u32; 3],
    /// Allows clusters of up to [`DeviceProperties::max_cluster_size_optin`] blocks, which not every device of the
    /// compute capability takes.
    pub non_portable_cluster: bool,
    /// Programmatic stream serialization: the launch may start when every block of the launch before it in the stream
    /// has executed `griddepcontrol.launch_dependents` or has exited. What the launches before have done is there only
    /// after `griddepcontrol.wait`.
    pub programmatic: bool,
    /// Dynamic shared memory of a block, in bytes.
    pub dynamic_shared_bytes: u32,
    /// Registers of a thread, as the compiler for the real device reports them: they limit how many blocks are live at
    /// once. Without, `.maxnreg` of the kernel or 64.
    pub registers_per_thread: Option<u32>,
}

impl LaunchConfig {
    /// So many blocks of so many threads, without clusters and dynamic shared memory.
    pub fn new(grid: [u32; 3], block: [u32; 3]) -> Self {
        Self {
            grid,
            block,
            cluster: [1; 3],
            non_portable_cluster: false,
            programmatic: false,
            dynamic_shared_bytes: 0,
            registers_per_thread: None,
        }
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

    /// With or without clusters beyond the size that every device takes.
    pub fn non_portable_cluster(self, allowed: bool) -> Self {
        Self { non_portable_cluster: allowed, ..self }
    }

    /// With or without programmatic stream serialization.
    pub fn programmatic(self, programmatic: bool) -> Self {
        Self { programmatic, ..self }
    }

    /// With the clusters that the kernel asks for, and its grid counted in blocks.
    fn with_directives(&self, program: &Program) -> Result<Self> {
        let directives = &program.directives;
        let given = self.cluster;
        let refuse = |argument: &'static str, expected: String, given: String| {
            Err(Error::Launch { kernel: program.name.clone(), argument, expected, given })
        };
        let Some(cluster) = directives.required_cluster else {
            if directives.explicit_cluster && given == [1; 3] {
                return refuse("cluster", "one, as .explicitcluster says".into(), "none".into());
            }
            return Ok(*self);
        };
        if given != [1; 3] && given != cluster {
            let expected = format!("{cluster:?}, as .reqnctapercluster says");
            return refuse("cluster", expected, format!("{given:?}"));
        }
        let mut grid = self.grid;
        if directives.blocks_are_clusters {
            for axis in 0..3 {
                let Some(blocks) = grid[axis].checked_mul(cluster[axis]) else {
                    let expected = format!("clusters of {cluster:?} blocks that can be counted");
                    return refuse("grid", expected, format!("{:?}", self.grid));
                };
                grid[axis] = blocks;
            }
        }
        Ok(Self { cluster, grid, ..*self })
    }

    /// Refuses clusters that a driver would. `blocks` is how many blocks of the launch's are live at once; what comes
    /// back counts clusters whole.
    fn check_cluster(
        &self,
        program: &Program,
        properties: &DeviceProperties,
        blocks: Residency,
    ) -> Result<Residency> {
        let refuse = |expected: String, given: String| {
            Err(Error::Launch { kernel: program.name.clone(), argument: "cluster", expected, given })
        };
        if self.cluster == [1; 3] {
            return Ok(blocks);
        }
        if (0..3).any(|axis| self.cluster[axis] == 0 || !self.grid[axis].is_multiple_of(self.cluster[axis])) {
            let expected = format!("what the grid {:?} is a multiple of", self.grid);
            return refuse(expected, format!("{:?}", self.cluster));
        }
        let most = match self.non_portable_cluster {
            true => properties.max_cluster_size_optin,
            false => properties.max_cluster_size,
        };
        let size: u64 = self.cluster.iter().map(|n| u64::from(*n)).product();
        if size > u64::from(most) {
            let expected = match most {
                1 => format!("1 block: compute capability {} has no clusters", properties.compute_capability),
                most => format!("at most {most} blocks"),
            };
            return refuse(expected, format!("{size}"));
        }
        if let Some(most) = program.directives.max_cluster_rank
            && size > u64::from(most)
        {
            return refuse(format!("at most {most} blocks, as .maxclusterrank says"), format!("{size}"));
        }
        let size = size as u32;
        if blocks.total < size {
            let expected = format!("at most {} blocks, which fit the device at once", blocks.total);
            return refuse(expected, format!("{size}"));
        }
        Ok(Residency { total: blocks.total / size * size, ..blocks })
    }

    /// Refuses what a driver would.
    pub(crate) fn check(
        &self,
        program: &Program,
        properties: &DeviceProperties,
        parameters: usize,
    ) -> Result<Checked> {
        self.with_directives(program)?.check_all(program, properties, parameters)
    }

    fn check_all(
        &self,
        program: &Program,
        properties: &DeviceProperties,
        parameters: usize,
    ) -> Result<Checked> {
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
        let residency = self.check_cluster(program, properties, residency)?;
        if parameters != program.parameter_bytes as usize {
            let expected = format!("{} bytes", program.parameter_bytes);
            return refuse("parameters", expected, format!("{parameters} bytes"));
        }
        Ok(Checked { config: *self, shared_bytes: shared as u32, residency })
    }
}
