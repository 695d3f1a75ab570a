//! The simulated GPU. Launches are queued and carried out, with all checks, when somebody waits for them.

use std::sync::{Mutex, PoisonError};

use ptx_sim::{ComputeCapability, DeviceProperties, LaunchConfig, Report, RunOptions};

use super::cache::Cache;
use super::device::Device;
use super::installed::Properties;
use super::launch::Grid;
use super::registry;
use super::tensor_map::{EncodeTensorMap, EncodedTensorMap, Swizzle, TensorMap, TensorMapType};
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
            Device::refuse_other_architecture(kernel, &self.properties())?;
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

impl EncodeTensorMap for Driver {
    fn encode_tensor_map(&self, map: &TensorMap) -> Result<EncodedTensorMap> {
        let bytes = described(map)
            .encode()
            .map_err(|error| Error::argument("tensor map", "tensor", "what the simulator executes", error))?;
        Ok(bytemuck::cast(bytes))
    }
}

/// The simulator's description.
fn described(map: &TensorMap) -> ptx_sim::TensorMap {
    use TensorMapType::{Bf16, F16, F32, F64, S32, S64, U8, U16, U32, U64};
    let element = match map.element {
        U8 => ptx_sim::TensorType::U8,
        U16 => ptx_sim::TensorType::U16,
        U32 => ptx_sim::TensorType::U32,
        S32 => ptx_sim::TensorType::S32,
        U64 => ptx_sim::TensorType::U64,
        S64 => ptx_sim::TensorType::S64,
        F16 => ptx_sim::TensorType::F16,
        F32 => ptx_sim::TensorType::F32,
        F64 => ptx_sim::TensorType::F64,
        Bf16 => ptx_sim::TensorType::Bf16,
    };
    let mut described = ptx_sim::TensorMap::new(element, map.address, &map.dims, &map.strides, &map.tile);
    described.element_strides.clone_from(&map.steps);
    described.swizzle = match map.swizzle {
        Swizzle::None => ptx_sim::TensorSwizzle::None,
        Swizzle::Bytes32 => ptx_sim::TensorSwizzle::Bytes32,
        Swizzle::Bytes64 => ptx_sim::TensorSwizzle::Bytes64,
        Swizzle::Bytes128 => ptx_sim::TensorSwizzle::Bytes128,
    };
    if map.fills_nan {
        described.fill = ptx_sim::TensorFill::Nan;
    }
    described
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SplitMix64;

    /// Mostly valid: each of its numbers breaks a rule now and then.
    fn random_map(random: &mut SplitMix64) -> TensorMap {
        let rank = random.below(5) + usize::from(random.below(40) != 0);
        let mut odd = |usual: u64, odd: u64| if random.below(30) == 0 { odd } else { usual };
        let address = odd(0x4000, 0x4008);
        let dims =
            (0..rank).map(|at| odd(100 + at as u64, [0, 1 << 32, (1 << 32) + 1][at % 3])).collect::<Vec<_>>();
        let strides =
            (1..rank.max(1)).map(|at| odd(16 * at as u64, [24, 1 << 40, 0][at % 3])).collect::<Vec<_>>();
        let steps = (0..rank).map(|_| odd(1, 9) as u32).collect::<Vec<_>>();
        let mut tile = (0..rank).map(|at| odd(8, [257, 0, 256][at % 3]) as u32).collect::<Vec<_>>();
        let element = TensorMapType::ALL[random.below(TensorMapType::ALL.len())];
        if let Some(row) = tile.first_mut() {
            *row = [16, 32, 4, 64, 128, 3][random.below(6)];
        }
        let mut map = TensorMap::new(element, address, &dims, &strides, &tile);
        map.steps = steps;
        map.swizzle = Swizzle::ALL[random.below(4)];
        map.fills_nan = random.below(8) == 0;
        map
    }

    /// Two crates check the same rules of the driver: this one for every device, the simulator for whoever has only it.
    #[test]
    fn both_checks_of_tensor_maps_agree() {
        let mut random = SplitMix64(5);
        let (mut taken, mut refused) = (0, 0);
        for _ in 0..20_000 {
            let map = random_map(&mut random);
            let (ours, theirs) = (map.check(), described(&map).check());
            assert_eq!(ours.is_ok(), theirs.is_ok(), "{map:?}: {ours:?}, but the simulator says {theirs:?}");
            if ours.is_ok() { taken += 1 } else { refused += 1 }
        }
        assert!(taken > 1000 && refused > 1000, "{taken} taken, {refused} refused");
    }
}
