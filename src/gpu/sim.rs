//! The simulated GPU. Launches are queued and carried out, with all checks, when somebody waits for them.

use std::sync::{Mutex, PoisonError};

use ptx_sim::{ComputeCapability, DeviceProperties, LaunchConfig, Report, RunOptions};

use super::cache::Cache;
use super::device::Device;
use super::installed::Properties;
use super::launch::Grid;
use super::registry;
use crate::plan::Kernel;
use crate::{Error, Result};

/// A simulated device, and the kernels loaded into it.
pub(super) struct Driver {
    device: ptx_sim::Device,
    functions: Cache<ptx_sim::Module, ptx_sim::Kernel>,
    /// What a launch broke that was carried out because memory was freed: told to whoever waits next.
    untold: Mutex<Option<ptx_sim::Error>>,
}

impl Driver {
    pub fn new(compute_capability: ComputeCapability, options: RunOptions) -> Self {
        let device = ptx_sim::Device::new(DeviceProperties::of(compute_capability));
        device.set_options(options);
        Driver { device, functions: Cache::new(), untold: Mutex::default() }
    }

    pub fn device(&self) -> &ptx_sim::Device {
        &self.device
    }

    pub fn properties(&self) -> Properties {
        let properties = self.device.properties();
        Properties {
            name: format!("simulated GPU {}", properties.compute_capability),
            compute_capability: properties.compute_capability.version(),
            num_sms: properties.sm_count,
            shared_memory_per_block: properties.shared_memory_per_block_optin as usize,
        }
    }

    pub fn allocate(&self, bytes: usize) -> Result<u64> {
        self.device.allocate(bytes as u64).map_err(|error| simulated("allocate", error))
    }

    pub fn free(&self, address: u64) -> Result<()> {
        loop {
            // Launches that still use the memory end first. One that breaks a rule ends its stream's queue, so that there
            // are no more rounds than streams.
            match self.device.free(address) {
                Err(error @ ptx_sim::Error::Violation(_)) => {
                    self.untold().get_or_insert(error);
                }
                freed => return freed.map_err(|error| simulated("free", error)),
            }
        }
    }

    pub fn synchronize(&self) -> Result<()> {
        self.told(self.device.synchronize()).map(drop)
    }

    /// Carries out what is queued in a stream of this device.
    pub fn wait(&self, stream: &ptx_sim::Stream) -> Result<Vec<Report>> {
        self.told(stream.synchronize())
    }

    fn untold(&self) -> std::sync::MutexGuard<'_, Option<ptx_sim::Error>> {
        self.untold.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first error: an older one, or that of `waited`.
    fn told(&self, waited: ptx_sim::Result<Vec<Report>>) -> Result<Vec<Report>> {
        match self.untold().take() {
            Some(error) => Err(simulated("synchronize", error)),
            None => waited.map_err(|error| simulated("synchronize", error)),
        }
    }

    pub fn write(&self, address: u64, bytes: &[u8]) -> Result<()> {
        self.device.write(address, bytes).map_err(|error| simulated("write", error))
    }

    pub fn read(&self, address: u64, bytes: &mut [u8]) -> Result<()> {
        self.device.read(address, bytes).map_err(|error| simulated("read", error))
    }

    pub fn fill(&self, address: u64, byte: u8, bytes: usize) -> Result<()> {
        self.device.fill(address, byte, bytes as u64).map_err(|error| simulated("fill", error))
    }

    /// Loads `kernel`'s module unless it is loaded.
    pub fn function(&self, kernel: Kernel) -> Result<&ptx_sim::Kernel> {
        let load = || {
            Device::refuse_other_architecture(kernel, &self.properties(), true)?;
            self.load_ptx(&registry::ptx(kernel)?)
        };
        self.functions.get(kernel, load, |module| function(module, kernel.name()))
    }

    pub fn load_ptx(&self, ptx: &str) -> Result<ptx_sim::Module> {
        self.device.load_module(ptx).map_err(|error| simulated("load module", error))
    }

    pub fn new_stream(&self) -> ptx_sim::Stream {
        self.device.create_stream()
    }
}

/// A kernel of a module.
pub(super) fn function(module: &ptx_sim::Module, name: &str) -> Result<ptx_sim::Kernel> {
    module.kernel(name).map_err(|error| simulated("find kernel", error))
}

/// What a stream does, as a graph keeps it.
#[derive(Clone)]
pub(super) enum Operation {
    Launch { kernel: ptx_sim::Kernel, config: LaunchConfig, parameters: Vec<u8> },
    Copy { to: u64, from: u64, bytes: u64 },
    Fill { address: u64, byte: u8, bytes: u64 },
}

impl Operation {
    /// A launch whose arguments have the sizes of the kernel's parameters.
    pub fn launch(kernel: &ptx_sim::Kernel, grid: &Grid, arguments: &[&[u8]]) -> Result<Self> {
        let config =
            LaunchConfig::new(grid.blocks, grid.threads).dynamic_shared_bytes(grid.dynamic_shared_bytes);
        let parameters = kernel.parameters();
        let sizes = |sizes: Vec<usize>| format!("arguments of {sizes:?} bytes");
        let (expected, given): (Vec<usize>, Vec<usize>) = (
            parameters.iter().map(|parameter| parameter.size as usize).collect(),
            arguments.iter().map(|argument| argument.len()).collect(),
        );
        if expected != given {
            return Err(Error::argument("launch", "arguments", sizes(expected), sizes(given)));
        }
        let mut packed = vec![0; kernel.parameter_bytes() as usize];
        for (parameter, argument) in parameters.iter().zip(arguments) {
            let start = parameter.offset as usize;
            packed[start..start + argument.len()].copy_from_slice(argument);
        }
        Ok(Operation::Launch { kernel: kernel.clone(), config, parameters: packed })
    }

    /// Puts it into a queue.
    pub fn queue(&self, stream: &ptx_sim::Stream) -> Result<()> {
        match self {
            Operation::Launch { kernel, config, parameters } => {
                stream.launch(kernel, config, parameters).map_err(|error| simulated("launch", error))
            }
            &Operation::Copy { to, from, bytes } => {
                stream.copy(to, from, bytes).map_err(|error| simulated("copy", error))
            }
            &Operation::Fill { address, byte, bytes } => {
                stream.fill(address, byte, bytes).map_err(|error| simulated("fill", error))
            }
        }
    }
}

/// An error of the simulator, with the call that reports it.
pub(super) fn simulated(call: &'static str, error: ptx_sim::Error) -> Error {
    Error::Simulated { call, reason: Box::new(error) }
}
