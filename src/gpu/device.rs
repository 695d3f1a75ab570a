//! One device, whichever driver is behind it.

use std::fmt;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cudarc::driver::CudaContext;

use super::buffer::Buffer;
use super::event::Event;
use super::graph::refuse_while_capturing;
use super::installed::Properties;
use super::module::Module;
use super::stream::{Queue, Stream};
use super::tensor_map::{EncodeTensorMap, EncodedTensorMap, TensorMap};
use super::{cuda, module, registry};
use crate::device::DeviceChoice;
use crate::plan::Kernel;
use crate::{Error, Result};

/// The environment variable that names a file: every device appends a line to it when its last owner lets it go, with the
/// number of its launches, a tab, and its name. By it a test run knows that kernels ran, and where.
pub const LAUNCHES_VARIABLE: &str = "LLAMA_KERNELS_LAUNCHES";

/// A CUDA GPU or a simulated one, with the kernels that have been loaded into it. Cloning it is cheap and gives the same
/// device.
#[derive(Clone)]
pub struct Device(Arc<Shared>);

struct Shared {
    driver: Driver,
    properties: Properties,
    launches: AtomicU64,
    allocated: AtomicU64,
    freed: AtomicU64,
    /// One bit for each of [`Kernel::ALL`]: whether it has been launched.
    launched: [AtomicU64; Kernel::ALL.len().div_ceil(BITS)],
}

/// Bits of a word of [`Shared::launched`].
const BITS: usize = u64::BITS as usize;

pub(super) enum Driver {
    Cuda(cuda::Driver),
    #[cfg(feature = "sim")]
    Sim(super::sim::Driver),
}

/// Tells devices apart: memory belongs to one of them. Two [`Device`]s of one CUDA context have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DeviceId(Identity);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Identity {
    /// Address of the driver's context.
    Cuda(usize),
    /// Address of the device here.
    #[cfg(feature = "sim")]
    Sim(usize),
}

/// A device's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryBytes {
    /// Bytes that nobody uses.
    pub free: u64,
    /// Bytes in all.
    pub total: u64,
}

impl Device {
    /// The device that `choice` names. [`DeviceChoice::Auto`] is the first CUDA GPU; where there is none, the simulated GPU
    /// if the crate was built with the feature `sim`.
    ///
    /// [`Error::NoDevice`] where there is no such device, and for the CPU, which runs no kernels;
    /// [`Error::DriverTooOld`] where there is one that this build cannot use.
    pub fn open(choice: DeviceChoice) -> Result<Self> {
        match choice {
            DeviceChoice::Auto => match Device::cuda(0) {
                Err(Error::NoDevice { reason, .. }) if cfg!(feature = "sim") => {
                    log::info!("no CUDA GPU: {reason}; simulating one");
                    Device::open(DeviceChoice::SIM)
                }
                other => other,
            },
            DeviceChoice::Cuda(ordinal) => Device::cuda(ordinal),
            DeviceChoice::Sim { compute_capability } => Device::simulated_as(compute_capability),
            DeviceChoice::Cpu => Err(Error::NoDevice {
                device: "cpu".into(),
                reason: "kernels run on a CUDA GPU or on the simulated one".into(),
            }),
        }
    }

    /// The CUDA GPU of this number, in its primary context: memory of the CUDA runtime's libraries is usable there.
    pub fn cuda(ordinal: usize) -> Result<Self> {
        Device::of_cuda(cuda::Driver::open(ordinal)?)
    }

    /// A host's CUDA context.
    pub fn from_cuda(context: Arc<CudaContext>) -> Result<Self> {
        Device::of_cuda(cuda::Driver::adopt(context)?)
    }

    fn of_cuda(driver: cuda::Driver) -> Result<Self> {
        let properties = driver.properties()?;
        Ok(Device::of(Driver::Cuda(driver), properties))
    }

    /// A simulated GPU.
    #[cfg(feature = "sim")]
    pub fn simulated(compute_capability: ptx_sim::ComputeCapability, options: ptx_sim::RunOptions) -> Self {
        let driver = super::sim::Driver::new(compute_capability, options);
        let properties = driver.properties();
        Device::of(Driver::Sim(driver), properties)
    }

    #[cfg(feature = "sim")]
    fn simulated_as(version: (u32, u32)) -> Result<Self> {
        let known = ptx_sim::ComputeCapability::ALL;
        let capability = known.iter().copied().find(|known| known.version() == version);
        let capability = capability.ok_or_else(|| Error::NoDevice {
            device: format!("sim:{}.{}", version.0, version.1),
            reason: "the simulated GPU has no such compute capability".into(),
        })?;
        Ok(Device::simulated(capability, ptx_sim::RunOptions::default()))
    }

    #[cfg(not(feature = "sim"))]
    fn simulated_as(version: (u32, u32)) -> Result<Self> {
        Err(Error::NoDevice {
            device: format!("sim:{}.{}", version.0, version.1),
            reason: "this build is without the feature `sim`".into(),
        })
    }

    fn of(driver: Driver, properties: Properties) -> Self {
        let zero = AtomicU64::default;
        let launched = Default::default();
        let (launches, allocated, freed) = (zero(), zero(), zero());
        Device(Arc::new(Shared { driver, properties, launches, allocated, freed, launched }))
    }

    pub(super) fn driver(&self) -> &Driver {
        &self.0.driver
    }

    /// Name, compute capability, multiprocessors, limits.
    pub fn properties(&self) -> &Properties {
        &self.0.properties
    }

    /// What memory of this device carries.
    pub fn id(&self) -> DeviceId {
        DeviceId(match self.driver() {
            Driver::Cuda(driver) => Identity::Cuda(driver.context().cu_ctx().addr()),
            #[cfg(feature = "sim")]
            Driver::Sim(_) => Identity::Sim(Arc::as_ptr(&self.0).addr()),
        })
    }

    /// The CUDA context, unless the device is simulated.
    pub fn cuda_context(&self) -> Option<&Arc<CudaContext>> {
        match self.driver() {
            Driver::Cuda(driver) => Some(driver.context()),
            #[cfg(feature = "sim")]
            Driver::Sim(_) => None,
        }
    }

    /// The simulated GPU, to set how it runs; `None` for a CUDA GPU.
    #[cfg(feature = "sim")]
    pub fn simulator(&self) -> Option<&ptx_sim::Device> {
        match self.driver() {
            Driver::Cuda(_) => None,
            Driver::Sim(driver) => Some(driver.device()),
        }
    }

    /// Whether the device is simulated.
    pub fn is_simulated(&self) -> bool {
        self.cuda_context().is_none()
    }

    /// Bytes of the L2 cache, and bytes a second that memory moves by its clock and bus width; 0 where the driver does not
    /// say. A simulated GPU has neither.
    pub fn memory_system(&self) -> Result<(usize, f64)> {
        match self.driver() {
            Driver::Cuda(driver) => driver.memory_system(),
            #[cfg(feature = "sim")]
            Driver::Sim(_) => Err(self.has_no_clock("the speed of memory")),
        }
    }

    /// How much memory the device has, and how much of it nobody uses. A simulated GPU does not say.
    pub fn memory_bytes(&self) -> Result<MemoryBytes> {
        match self.driver() {
            Driver::Cuda(driver) => {
                let (free, total) = driver.memory_bytes()?;
                Ok(MemoryBytes { free: free as u64, total: total as u64 })
            }
            #[cfg(feature = "sim")]
            Driver::Sim(_) => Err(Error::unsupported("the size of memory", "a simulated GPU has the host's")),
        }
    }

    /// The device's address on the PCI bus, by which other tools know it: `0000:1B:00.0`. A simulated GPU has none.
    pub fn pci_bus_id(&self) -> Result<String> {
        match self.driver() {
            Driver::Cuda(driver) => driver.pci_bus_id(),
            #[cfg(feature = "sim")]
            Driver::Sim(_) => {
                Err(Error::unsupported("an address on the PCI bus", "a simulated GPU has none"))
            }
        }
    }

    #[cfg(feature = "sim")]
    pub(super) fn has_no_clock(&self, what: &str) -> Error {
        let reason = format!("{} has no clock; use a CUDA GPU", self.properties().name);
        Error::unsupported(what, reason)
    }

    /// Loads these kernels now instead of at their first launch, which would otherwise wait for it: before a launch is
    /// captured in a graph, or timed.
    pub fn load(&self, kernels: &[Kernel]) -> Result<()> {
        for &kernel in kernels {
            match self.driver() {
                Driver::Cuda(driver) => driver.function(kernel).map(drop)?,
                #[cfg(feature = "sim")]
                Driver::Sim(driver) => driver.function(kernel).map(drop)?,
            }
        }
        Ok(())
    }

    /// Loads every kernel that the device runs.
    pub fn load_all(&self) -> Result<()> {
        let kernels: Vec<Kernel> =
            Kernel::ALL.iter().copied().filter(|&kernel| self.supports(kernel)).collect();
        self.load(&kernels)
    }

    /// Whether the device runs a kernel: a portable one always; one that is made of an architecture's own instructions
    /// ([`Kernel::needs`]) on a GPU of that architecture, simulated or not, where the build has it.
    pub fn supports(&self, kernel: Kernel) -> bool {
        kernel.needs().is_none_or(|needed| {
            needed == self.properties().compute_capability && registry::fatbin(kernel).is_ok()
        })
    }

    /// [`Error::Unsupported`] for a kernel of another architecture.
    pub(super) fn refuse_other_architecture(kernel: Kernel, properties: &Properties) -> Result<()> {
        let Some((major, minor)) = kernel.needs() else { return Ok(()) };
        let what = format!("kernel {} on {}", kernel.name(), properties.name);
        let own = format!("it is made of instructions that compute capability {major}.{minor} alone has");
        let given = properties.compute_capability;
        if given != (major, minor) {
            return Err(Error::unsupported(what, format!("{own}; this is {}.{}", given.0, given.1)));
        }
        Ok(())
    }

    /// Compiles a module from PTX text.
    pub fn load_ptx(&self, ptx: &str) -> Result<Module> {
        module::load(self, ptx)
    }

    /// A tensor map for kernels on this device, whose description is checked first.
    ///
    /// The kernel takes it by value, as a `__grid_constant__` parameter. It names the tensor by its address: the memory has
    /// to stay allocated as long as kernels use the map.
    pub fn encode_tensor_map(&self, map: &TensorMap) -> Result<EncodedTensorMap> {
        map.check()?;
        match self.driver() {
            Driver::Cuda(driver) => driver.encode_tensor_map(map),
            #[cfg(feature = "sim")]
            Driver::Sim(driver) => driver.encode_tensor_map(map),
        }
    }

    /// Memory of `bytes`, uninitialised.
    pub fn allocate(&self, bytes: usize) -> Result<Buffer> {
        Buffer::new(self, bytes)
    }

    /// A new stream, which no other waits for.
    pub fn new_stream(&self) -> Result<Stream> {
        let queue = match self.driver() {
            Driver::Cuda(driver) => Queue::Cuda(driver.new_stream()?),
            #[cfg(feature = "sim")]
            Driver::Sim(driver) => Queue::Sim(driver.new_stream()),
        };
        Ok(Stream::new(self, queue))
    }

    /// A new event, to measure time with. [`Error::Unsupported`] for a simulated GPU, which has no clock.
    pub fn new_event(&self) -> Result<Event> {
        Event::new(self)
    }

    /// Waits for all streams; an error if one of their launches failed.
    pub fn synchronize(&self) -> Result<()> {
        refuse_while_capturing("waiting for a device")?;
        match self.driver() {
            Driver::Cuda(driver) => driver.synchronize(),
            #[cfg(feature = "sim")]
            Driver::Sim(driver) => driver.synchronize(),
        }
    }

    /// Launches so far, of all streams of this device; those of a graph count when it is launched.
    pub fn launches(&self) -> u64 {
        self.0.launches.load(Ordering::Relaxed)
    }

    /// The kernels that have been launched so far, each once, in the order of [`Kernel::ALL`].
    pub fn launched(&self) -> Vec<Kernel> {
        let was_launched = |kernel: &Kernel| {
            let (word, bit) = (*kernel as usize / BITS, *kernel as usize % BITS);
            self.0.launched.get(word).is_some_and(|word| word.load(Ordering::Relaxed) >> bit & 1 != 0)
        };
        Kernel::ALL.iter().copied().filter(was_launched).collect()
    }

    /// Counts a launch, of one of the crate's own kernels or of a function of the caller's.
    pub(super) fn count_launch(&self, kernel: Option<Kernel>) {
        self.0.launches.fetch_add(1, Ordering::Relaxed);
        if let Some(kernel) = kernel
            && let Some(word) = self.0.launched.get(kernel as usize / BITS)
        {
            word.fetch_or(1 << (kernel as usize % BITS), Ordering::Relaxed);
        }
    }

    /// How often memory of this device has been allocated.
    pub fn allocated(&self) -> u64 {
        self.0.allocated.load(Ordering::Relaxed)
    }

    pub(super) fn count_allocation(&self) {
        self.0.allocated.fetch_add(1, Ordering::Relaxed);
    }

    /// How often memory of this device has been given back: a graph that was recorded at an earlier number may use some.
    pub fn freed(&self) -> u64 {
        self.0.freed.load(Ordering::SeqCst)
    }

    pub(super) fn count_free(&self) {
        self.0.freed.fetch_add(1, Ordering::SeqCst);
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Device").field(&self.properties().name).finish()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let launches = *self.launches.get_mut();
        let Some(file) = std::env::var_os(LAUNCHES_VARIABLE).filter(|file| launches > 0 && !file.is_empty())
        else {
            return;
        };
        let line = format!("{launches}\t{}\n", self.properties.name);
        // One write, so that lines of processes that end together stay whole.
        let written = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&file)
            .and_then(|mut open| open.write_all(line.as_bytes()));
        if let Err(error) = written {
            log::warn!("{LAUNCHES_VARIABLE}={}: {error}", file.display());
        }
    }
}
