//! Queues of work.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cudarc::driver::CudaStream;
use cudarc::driver::sys::CUstream;

use super::buffer::Buffer;
use super::device::{Device, Driver};
use super::graph::{Capturing, Graph, Recorded, refuse_while_capturing};
use super::launch::Grid;
use super::module::{Function, Loaded};
use crate::plan::{Kernel, KernelParams, Launch};
use crate::{Error, Result};

/// A queue of launches and copies, carried out in order: the library's own, a host's, or one of a simulated GPU.
pub struct Stream {
    device: Device,
    queue: Queue,
    /// What has been recorded so far, while the stream records.
    recording: Mutex<Option<Recording>>,
}

#[derive(Default)]
struct Recording {
    /// What was launched: the crate's own kernels, and functions of the caller's.
    launches: Vec<Option<Kernel>>,
    /// A CUDA stream keeps its own.
    #[cfg(feature = "sim")]
    operations: Vec<super::sim::Operation>,
}

pub(super) enum Queue {
    Cuda(Arc<CudaStream>),
    #[cfg(feature = "sim")]
    Sim(ptx_sim::Stream),
}

/// Runs the first branch on a stream of NVIDIA's driver, the second on a simulated one. A stream's queue is of its
/// device's driver, by construction.
macro_rules! each_driver {
    ($stream:expr, ($driver:ident, $queue:ident) => $cuda:expr, ($sim_driver:pat, $sim_queue:ident) => $sim:expr $(,)?) => {
        match ($stream.device.driver(), &$stream.queue) {
            (Driver::Cuda($driver), Queue::Cuda($queue)) => $cuda,
            #[cfg(feature = "sim")]
            (Driver::Sim($sim_driver), Queue::Sim($sim_queue)) => $sim,
            #[cfg(feature = "sim")]
            _ => unreachable!("a stream of another driver than its device"),
        }
    };
}

impl Stream {
    pub(super) fn new(device: &Device, queue: Queue) -> Self {
        Stream { device: device.clone(), queue, recording: Mutex::default() }
    }

    /// A host's stream, which must belong to `device`'s context.
    pub fn from_cuda(device: &Device, stream: Arc<CudaStream>) -> Result<Self> {
        match device.cuda_context() {
            Some(context) if context.cu_ctx() == stream.context().cu_ctx() => {
                Ok(Stream::new(device, Queue::Cuda(stream)))
            }
            _ => Err(Error::argument(
                "stream",
                "stream",
                format!("a stream of {device:?}"),
                "a stream of another context",
            )),
        }
    }

    /// A stream that somebody else owns, by its handle. It is not destroyed when this goes.
    ///
    /// # Safety
    /// `stream` is a stream of `device`'s context, and lives as long as what is returned here.
    pub unsafe fn from_raw(device: &Device, stream: CUstream) -> Result<Self> {
        let Some(context) = device.cuda_context() else {
            return Err(Error::argument("stream", "device", "a CUDA GPU", &device.properties().name));
        };
        // SAFETY: the caller's promise.
        let stream = unsafe { context.wrap_borrowed_stream(stream) };
        Ok(Stream::new(device, Queue::Cuda(stream)))
    }

    /// The device that carries out what is queued here.
    pub fn device(&self) -> &Device {
        &self.device
    }

    pub(super) fn cuda(&self) -> Option<&Arc<CudaStream>> {
        match &self.queue {
            Queue::Cuda(stream) => Some(stream),
            #[cfg(feature = "sim")]
            Queue::Sim(_) => None,
        }
    }

    /// Launches a kernel with its parameters. Allocates nothing and waits for nothing, once the kernel is loaded
    /// ([`Device::load`]).
    ///
    /// An error where `params` is not the kernel's struct, or where the driver refuses the launch; what goes wrong while it
    /// runs is reported by whoever waits for it.
    ///
    /// # Safety
    /// The addresses in `params` are memory of this device of the sizes that the kernel expects, allocated until the launch
    /// has ended, and the grid is the plan's for these sizes.
    pub unsafe fn launch<P: KernelParams>(&self, launch: &Launch, params: &P) -> Result<()> {
        let kernel = launch.kernel;
        if !kernel.takes::<P>() {
            let given = std::any::type_name::<P>().rsplit("::").next().unwrap_or_default();
            let expected = format!("{} for {}", kernel.params(), kernel.name());
            return Err(Error::argument("launch", "params", expected, given));
        }
        let grid = Grid {
            blocks: launch.grid,
            threads: launch.block,
            dynamic_shared_bytes: launch.dynamic_shared_bytes,
        };
        let arguments = [bytemuck::bytes_of(params)];
        each_driver!(self,
            (driver, queue) => {
                let function = driver.function(kernel)?;
                // SAFETY: the caller's promise; the one argument is the kernel's own struct, as checked above.
                unsafe { driver.launch(queue, function, &grid, &arguments) }
            },
            (driver, queue) => {
                let function = driver.function(kernel)?;
                self.queue_or_record(queue, super::sim::Operation::launch(function, &grid, &arguments)?)
            },
        )?;
        self.count_launch(Some(kernel));
        Ok(())
    }

    /// Launches a function of a module of this device.
    ///
    /// # Safety
    /// As for [`Stream::launch`]; the arguments have the function's types, in its order.
    pub unsafe fn launch_function(
        &self,
        function: &Function,
        grid: &Grid,
        arguments: &[&[u8]],
    ) -> Result<()> {
        if function.device().id() != self.device.id() {
            return Err(Error::argument(
                "launch",
                "function",
                format!("a function of {:?}", self.device),
                format!("one of {:?}", function.device()),
            ));
        }
        match (function.loaded(), self.device.driver(), &self.queue) {
            (Loaded::Cuda(function), Driver::Cuda(driver), Queue::Cuda(queue)) => {
                // SAFETY: the caller's promise.
                unsafe { driver.launch(queue, function, grid, arguments) }
            }
            #[cfg(feature = "sim")]
            (Loaded::Sim(kernel), Driver::Sim(_), Queue::Sim(queue)) => {
                self.queue_or_record(queue, super::sim::Operation::launch(kernel, grid, arguments)?)
            }
            #[cfg(feature = "sim")]
            _ => unreachable!("a function or a stream of another driver than its device"),
        }?;
        self.count_launch(None);
        Ok(())
    }

    /// Records what `record` gives to this stream instead of carrying it out: launches, and copies and fills within the
    /// device. Every kernel must have been loaded ([`Device::load`]).
    ///
    /// Where `record` fails, its error is returned and nothing is recorded. [`Error::Unsupported`] from whatever would wait
    /// for the device in this thread meanwhile; [`Error::Driver`] where something else broke the recording off.
    pub fn capture(&self, record: impl FnOnce(&Stream) -> Result<()>) -> Result<Graph> {
        let capture = Capture::begin(self)?;
        record(self)?;
        capture.end()
    }

    /// Queues what was recorded.
    ///
    /// # Safety
    /// As for [`Graph::launch`]; the graph is of this stream's device.
    pub(super) unsafe fn replay(&self, graph: &Graph) -> Result<()> {
        match (graph.recorded(), self.device.driver(), &self.queue) {
            (Recorded::Cuda(recorded), Driver::Cuda(driver), Queue::Cuda(queue)) => {
                // SAFETY: the caller's promise.
                unsafe { driver.launch_graph(queue, recorded) }
            }
            #[cfg(feature = "sim")]
            (Recorded::Sim(recorded), Driver::Sim(_), Queue::Sim(queue)) => {
                recorded.iter().try_for_each(|operation| self.queue_or_record(queue, operation.clone()))
            }
            #[cfg(feature = "sim")]
            _ => unreachable!("a graph or a stream of another driver than its device"),
        }?;
        graph.recorded_launches().iter().for_each(|kernel| self.count_launch(*kernel));
        Ok(())
    }

    fn recording(&self) -> MutexGuard<'_, Option<Recording>> {
        // A thread that panicked while it held the lock has left the numbers whole.
        self.recording.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count_launch(&self, kernel: Option<Kernel>) {
        match &mut *self.recording() {
            Some(recording) => recording.launches.push(kernel),
            None => self.device.count_launch(kernel),
        }
    }

    #[cfg(feature = "sim")]
    fn queue_or_record(&self, queue: &ptx_sim::Stream, operation: super::sim::Operation) -> Result<()> {
        match &mut *self.recording() {
            Some(recording) => {
                recording.operations.push(operation);
                Ok(())
            }
            None => operation.queue(queue),
        }
    }

    /// Queues a copy of `bytes`, which a simulated GPU keeps, to memory of its device.
    #[cfg(feature = "sim")]
    pub(super) fn queue_bytes(&self, address: u64, bytes: &[u8]) -> Result<()> {
        match &self.queue {
            Queue::Sim(queue) => {
                let queued = queue.write(address, bytes.to_vec());
                queued.map_err(|error| super::sim::simulated("write", error))
            }
            Queue::Cuda(_) => {
                Err(Error::argument("write", "stream", "one of a simulated GPU", format!("{self:?}")))
            }
        }
    }

    /// Queues a copy of `bytes` to `offset` of `to`.
    ///
    /// # Safety
    /// `bytes` do not change, and `to` is not freed, until the copy has ended.
    pub unsafe fn write(&self, to: &mut Buffer, offset: usize, bytes: &[u8]) -> Result<()> {
        let address = self.part("write", "to", to, offset, bytes.len())?;
        if self.recording().is_some() {
            // A replay would read the host's memory again, long after it is gone.
            return Err(Error::argument("write", "stream", "one that records no graph", format!("{self:?}")));
        }
        if bytes.is_empty() {
            return Ok(());
        }
        each_driver!(self,
            // SAFETY: the part lies in the buffer; the rest is the caller's promise.
            (driver, queue) => unsafe { driver.write_on(queue, address, bytes) },
            (_, queue) => queue
                .write(address, bytes.to_vec())
                .map_err(|error| super::sim::simulated("write", error)),
        )
    }

    /// Queues a copy of `bytes` of `from`, from `from_offset` on, to `to_offset` of `to`. (A buffer that is dropped waits for
    /// what is queued.)
    pub fn copy(
        &self,
        to: &mut Buffer,
        to_offset: usize,
        from: &Buffer,
        from_offset: usize,
        bytes: usize,
    ) -> Result<()> {
        let to = self.part("copy", "to", to, to_offset, bytes)?;
        let from = self.part("copy", "from", from, from_offset, bytes)?;
        if bytes == 0 {
            return Ok(());
        }
        each_driver!(self,
            // SAFETY: the parts lie in the buffers, which wait for this stream before they are freed.
            (driver, queue) => unsafe { driver.copy_on(queue, to, from, bytes) },
            (_, queue) => {
                self.queue_or_record(queue, super::sim::Operation::Copy { to, from, bytes: bytes as u64 })
            },
        )
    }

    /// Queues that `bytes` of `to`, from `offset` on, are set to `byte`. (A buffer that is dropped waits for what is queued.)
    pub fn fill(&self, to: &mut Buffer, offset: usize, bytes: usize, byte: u8) -> Result<()> {
        let address = self.part("fill", "to", to, offset, bytes)?;
        if bytes == 0 {
            return Ok(());
        }
        each_driver!(self,
            // SAFETY: the part lies in the buffer, which waits for this stream before it is freed.
            (driver, queue) => unsafe { driver.fill_on(queue, address, byte, bytes) },
            (_, queue) => {
                let bytes = bytes as u64;
                self.queue_or_record(queue, super::sim::Operation::Fill { address, byte, bytes })
            },
        )
    }

    /// Waits until all that is queued here has been carried out, and copies the bytes of `from` from `offset` on; an error if
    /// a launch failed.
    pub fn read(&self, from: &Buffer, offset: usize, bytes: &mut [u8]) -> Result<()> {
        refuse_while_capturing("reading memory")?;
        let address = self.part("read", "from", from, offset, bytes.len())?;
        if bytes.is_empty() {
            return self.synchronize();
        }
        each_driver!(self,
            // SAFETY: the part lies in the buffer, which is borrowed until the copy has ended.
            (driver, queue) => unsafe { driver.read_on(queue, address, bytes) },
            (driver, queue) => driver.wait(queue).and_then(|_| driver.read(address, bytes)),
        )
    }

    /// Waits until all that is queued here has been carried out; an error if a launch failed.
    pub fn synchronize(&self) -> Result<()> {
        refuse_while_capturing("waiting for a stream")?;
        each_driver!(self,
            (driver, queue) => driver.wait(queue),
            (driver, queue) => driver.wait(queue).map(drop),
        )
    }

    /// [`Stream::synchronize`], with what the simulated GPU counted in each launch since the last time; `None` for a CUDA
    /// GPU.
    #[cfg(feature = "sim")]
    pub fn reports(&self) -> Result<Option<Vec<ptx_sim::Report>>> {
        refuse_while_capturing("waiting for a stream")?;
        each_driver!(self,
            (driver, queue) => driver.wait(queue).map(|()| None),
            (driver, queue) => driver.wait(queue).map(Some),
        )
    }

    /// The address of a part of a buffer of this stream's device.
    pub(super) fn part(
        &self,
        op: &'static str,
        arg: &'static str,
        buffer: &Buffer,
        offset: usize,
        bytes: usize,
    ) -> Result<u64> {
        if buffer.device().id() != self.device.id() {
            let given = format!("memory of {:?}", buffer.device());
            return Err(Error::argument(op, arg, format!("memory of {:?}", self.device), given));
        }
        buffer.part(op, offset, bytes)
    }
}

/// A recording that ends, whatever happens.
struct Capture<'a> {
    stream: &'a Stream,
    ended: bool,
    _thread: Capturing,
}

impl<'a> Capture<'a> {
    fn begin(stream: &'a Stream) -> Result<Self> {
        let mut recording = stream.recording();
        if recording.is_some() {
            let given = "one that records a graph already";
            return Err(Error::argument("capture", "stream", "a stream that records nothing", given));
        }
        each_driver!(stream,
            (driver, queue) => driver.begin_capture(queue)?,
            (_, _queue) => {},
        );
        *recording = Some(Recording::default());
        drop(recording);
        Ok(Capture { stream, ended: false, _thread: Capturing::new() })
    }

    fn end(mut self) -> Result<Graph> {
        self.ended = true;
        let recording = self.stream.recording().take().unwrap_or_default();
        let recorded = each_driver!(self.stream,
            (driver, queue) => Recorded::Cuda(driver.end_capture(queue)?),
            (_, _queue) => Recorded::Sim(recording.operations),
        );
        Ok(Graph::new(&self.stream.device, recording.launches, recorded))
    }
}

impl Drop for Capture<'_> {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        self.stream.recording().take();
        match (self.stream.device.driver(), &self.stream.queue) {
            (Driver::Cuda(driver), Queue::Cuda(queue)) => {
                // What broke the recording off has been reported already.
                let _ = driver.end_capture(queue);
            }
            #[cfg(feature = "sim")]
            _ => {}
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stream of {:?}", self.device)
    }
}
