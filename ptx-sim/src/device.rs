//! The device: memory, modules and streams, in the manner of a driver.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::config::{DeviceProperties, RunOptions};
use crate::error::{Error, Result};
use crate::exec::{self, Launch};
use crate::launch::LaunchConfig;
use crate::memory::GlobalMemory;
use crate::module::{self, Kernel, Module};
use crate::report::{Report, Totals};

/// A simulated GPU. Clones are the same device.
#[derive(Clone)]
pub struct Device {
    shared: Arc<Shared>,
}

struct Shared {
    properties: DeviceProperties,
    memory: Arc<GlobalMemory>,
    state: Mutex<State>,
}

struct State {
    options: RunOptions,
    /// The queues of all streams. Entries of streams that are gone stay empty.
    streams: Vec<VecDeque<Operation>>,
    /// Reports of launches that have run, by stream, until somebody asks.
    reports: Vec<Vec<Report>>,
    launches: u64,
    totals: Totals,
}

/// What uninitialised global memory holds comes from this: bytes that look like nothing in particular.
const GARBAGE: u64 = 0x5eed;

/// What a stream does, in order.
enum Operation {
    Write { address: u64, bytes: Vec<u8> },
    Fill { address: u64, byte: u8, bytes: u64 },
    Copy { to: u64, from: u64, bytes: u64 },
    Launch(Box<Queued>),
}

struct Queued {
    kernel: Kernel,
    config: LaunchConfig,
    parameters: Vec<u8>,
    options: RunOptions,
    shared_bytes: u32,
    residency: exec::Residency,
}

/// Blocks of launches that overlap at most: a limit of race checks.
const MOST_BLOCKS: u64 = 1 << 29;

impl Queued {
    fn blocks(&self) -> u64 {
        self.config.grid.iter().map(|n| u64::from(*n)).product()
    }
}

/// A failure of the memory, as an error of an operation.
fn failed(operation: &'static str) -> impl Fn(String) -> Error {
    move |message| Error::Memory { operation, message }
}

impl Device {
    /// A device with nothing in its memory.
    pub fn new(properties: DeviceProperties) -> Self {
        let options = RunOptions::default();
        let state = State {
            streams: Vec::new(),
            reports: Vec::new(),
            launches: 0,
            totals: Totals::default(),
            options,
        };
        Self {
            shared: Arc::new(Shared {
                properties,
                memory: Arc::new(GlobalMemory::new(GARBAGE)),
                state: Mutex::new(state),
            }),
        }
    }

    /// What it is.
    pub fn properties(&self) -> &DeviceProperties {
        &self.shared.properties
    }

    /// How launches run that are enqueued from now on.
    pub fn options(&self) -> RunOptions {
        self.state().options.clone()
    }

    /// Sets how launches run that are enqueued from now on. `perturb_approx` is a matter of modules loaded from now on.
    pub fn set_options(&self, options: RunOptions) {
        self.state().options = options;
    }

    /// Loads a PTX module. [`Error::Unsupported`] names every instruction that is not executed, with its line.
    pub fn load_module(&self, ptx: &str) -> Result<Module> {
        self.load(ptx, None)
    }

    /// Loads only some kernels of a PTX module: the others may contain what is not supported.
    pub fn load_kernels(&self, ptx: &str, names: &[&str]) -> Result<Module> {
        self.load(ptx, Some(names))
    }

    fn load(&self, ptx: &str, only: Option<&[&str]>) -> Result<Module> {
        let perturb = self.options().perturb_approx;
        module::load(ptx, only, &self.shared.memory, &self.shared.properties, perturb)
    }

    /// Uninitialised memory: its address, a multiple of 256.
    pub fn allocate(&self, bytes: u64) -> Result<u64> {
        self.shared.memory.allocate(bytes).map_err(failed("allocate"))
    }

    /// Gives memory back; whoever uses it after that is reported. Waits for all streams.
    pub fn free(&self, address: u64) -> Result<()> {
        self.finish(&mut self.state())?;
        self.shared.memory.free(address).map_err(failed("free"))
    }

    /// Writes to memory when all streams have finished.
    pub fn write(&self, address: u64, bytes: &[u8]) -> Result<()> {
        self.finish(&mut self.state())?;
        self.shared.memory.host_write(address, bytes).map_err(failed("write"))
    }

    /// Reads memory when all streams have finished. Bytes that nothing has written hold garbage.
    pub fn read(&self, address: u64, bytes: &mut [u8]) -> Result<()> {
        self.finish(&mut self.state())?;
        self.shared.memory.host_read(address, bytes).map_err(failed("read"))
    }

    /// Sets `bytes` bytes when all streams have finished.
    pub fn fill(&self, address: u64, byte: u8, bytes: u64) -> Result<()> {
        self.finish(&mut self.state())?;
        self.shared.memory.fill(address, &[byte], bytes).map_err(failed("fill"))
    }

    /// Whether something has written all of these bytes, when all streams have finished.
    pub fn is_initialized(&self, address: u64, bytes: u64) -> Result<bool> {
        self.finish(&mut self.state())?;
        Ok(self.shared.memory.is_initialized(address, bytes))
    }

    /// What all launches that have been carried out so far executed and moved. Waits for nothing.
    pub fn totals(&self) -> Totals {
        self.state().totals
    }

    /// A new stream.
    pub fn create_stream(&self) -> Stream {
        let mut state = self.state();
        state.streams.push(VecDeque::new());
        state.reports.push(Vec::new());
        Stream { device: self.clone(), index: state.streams.len() - 1 }
    }

    /// Runs all that is queued in all streams; the reports of launches since they were last asked for.
    pub fn synchronize(&self) -> Result<Vec<Report>> {
        let mut state = self.state();
        self.finish(&mut state)?;
        Ok(state.reports.iter_mut().flat_map(std::mem::take).collect())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves queues and numbers valid.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn finish(&self, state: &mut State) -> Result<()> {
        (0..state.streams.len()).try_for_each(|stream| self.drain(state, stream))
    }

    /// Runs a stream's queue. What comes after a failure is dropped.
    fn drain(&self, state: &mut State, stream: usize) -> Result<()> {
        while let Some(operation) = state.streams[stream].pop_front() {
            if let Err(error) = self.run(state, stream, operation) {
                state.streams[stream].clear();
                return Err(error);
            }
        }
        Ok(())
    }

    fn run(&self, state: &mut State, stream: usize, operation: Operation) -> Result<()> {
        let memory = &self.shared.memory;
        let queued = match operation {
            Operation::Write { address, bytes } => {
                return memory.host_write(address, &bytes).map_err(failed("write"));
            }
            Operation::Fill { address, byte, bytes } => {
                return memory.fill(address, &[byte], bytes).map_err(failed("fill"));
            }
            Operation::Copy { to, from, bytes } => {
                return memory.copy(to, from, bytes).map_err(failed("copy"));
            }
            Operation::Launch(queued) => *queued,
        };
        let mut launches = vec![queued];
        while let Some(next) = self.next_overlapping(state, stream, &launches) {
            launches.push(next);
        }
        self.run_launches(state, stream, &launches)
    }

    /// The next launch of a stream, where it may start before those have ended that are in front of it.
    fn next_overlapping(&self, state: &mut State, stream: usize, before: &[Queued]) -> Option<Queued> {
        let fits = |next: &Queued| {
            let blocks = before.iter().fold(next.blocks(), |sum, queued| sum.saturating_add(queued.blocks()));
            blocks < MOST_BLOCKS && before.first().is_some_and(|first| first.options == next.options)
        };
        match state.streams[stream].pop_front()? {
            Operation::Launch(next) if next.config.programmatic && fits(&next) => Some(*next),
            other => {
                state.streams[stream].push_front(other);
                None
            }
        }
    }

    fn run_launches(&self, state: &mut State, stream: usize, queued: &[Queued]) -> Result<()> {
        let sizes: Vec<_> =
            queued.iter().map(|one| (one.blocks(), one.config.cluster.iter().product())).collect();
        let numbers = self.shared.memory.begin_launches(&sizes).map_err(failed("launch"))?;
        let launches: Vec<Launch<'_>> = queued
            .iter()
            .zip(numbers)
            .map(|(one, numbers)| {
                state.launches += 1;
                Launch {
                    program: &one.kernel.program,
                    config: one.config,
                    parameters: &one.parameters,
                    memory: &self.shared.memory,
                    properties: &self.shared.properties,
                    options: one.options.clone(),
                    numbers,
                    grid_id: state.launches,
                    shared_bytes: one.shared_bytes,
                    residency: one.residency,
                }
            })
            .collect();
        let exec::Outcome { done, fail } = exec::run(&launches);
        for (one, (tally, output)) in queued.iter().zip(done) {
            let counters = tally.counters(&one.kernel.program);
            state.totals.add(&counters);
            state.reports[stream].push(Report {
                kernel: one.kernel.name().into(),
                grid: one.config.grid,
                block: one.config.block,
                shared_bytes: one.shared_bytes,
                resident_blocks: u64::from(one.residency.total).min(one.blocks()) as u32,
                seed: one.options.seed,
                counters,
                output,
            });
        }
        fail.map_or(Ok(()), |fail| Err(Error::Violation(fail)))
    }
}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Device").field("properties", &self.shared.properties).finish_non_exhaustive()
    }
}

/// A queue of work that runs in order, when somebody waits for it.
#[derive(Debug)]
pub struct Stream {
    device: Device,
    index: usize,
}

impl Stream {
    /// Its device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Enqueues a launch. `parameters` are packed at the offsets of [`Kernel::parameters`]. [`Error::Launch`] for what a
    /// driver refuses; what the kernel does wrong is found when it runs.
    pub fn launch(&self, kernel: &Kernel, config: &LaunchConfig, parameters: &[u8]) -> Result<()> {
        let properties = &self.device.shared.properties;
        let checked = config.check(&kernel.program, properties, parameters.len())?;
        let mut state = self.device.state();
        let queued = Queued {
            kernel: kernel.clone(),
            config: checked.config,
            parameters: parameters.to_vec(),
            options: state.options.clone(),
            shared_bytes: checked.shared_bytes,
            residency: checked.residency,
        };
        state.streams[self.index].push_back(Operation::Launch(Box::new(queued)));
        Ok(())
    }

    /// Enqueues a copy from the host.
    pub fn write(&self, address: u64, bytes: Vec<u8>) -> Result<()> {
        self.device.shared.memory.check(address, bytes.len() as u64, false).map_err(failed("write"))?;
        self.push(Operation::Write { address, bytes })
    }

    /// Enqueues setting `bytes` bytes.
    pub fn fill(&self, address: u64, byte: u8, bytes: u64) -> Result<()> {
        self.device.shared.memory.check(address, bytes, false).map_err(failed("fill"))?;
        self.push(Operation::Fill { address, byte, bytes })
    }

    /// Enqueues a copy within the device.
    pub fn copy(&self, to: u64, from: u64, bytes: u64) -> Result<()> {
        self.device.shared.memory.check(to, bytes, false).map_err(failed("copy"))?;
        self.device.shared.memory.check(from, bytes, false).map_err(failed("copy"))?;
        self.push(Operation::Copy { to, from, bytes })
    }

    fn push(&self, operation: Operation) -> Result<()> {
        self.device.state().streams[self.index].push_back(operation);
        Ok(())
    }

    /// Runs what is queued; the reports of the launches since the last time. [`Error::Violation`] for the first rule
    /// that a kernel broke: what came after it is dropped.
    pub fn synchronize(&self) -> Result<Vec<Report>> {
        let mut state = self.device.state();
        self.device.drain(&mut state, self.index)?;
        Ok(std::mem::take(&mut state.reports[self.index]))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // As a driver does: work that is queued is done, though nobody asks for its report.
        let mut state = self.device.state();
        // A failure has nobody left to go to.
        let _ = self.device.drain(&mut state, self.index);
        state.reports[self.index].clear();
    }
}
