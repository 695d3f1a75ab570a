//! Graphs and page-locked memory of NVIDIA's driver. The calls are all of CUDA 11.4 or older.

use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError};

use cudarc::driver::sys::{self, CUstreamCaptureMode};
use cudarc::driver::{CudaContext, CudaEvent, CudaStream, result};

use super::Driver;
use crate::gpu::installed::refused;
use crate::{Error, Result};

impl Driver {
    /// From now on the stream records.
    pub fn begin_capture(&self, stream: &CudaStream) -> Result<()> {
        self.bind()?;
        // Thread-local: what other threads do meanwhile neither breaks the recording nor is refused.
        let mode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        // SAFETY: the stream exists as long as its owner.
        unsafe { result::stream::begin_capture(stream.cu_stream(), mode) }
            .map_err(|error| refused("cuStreamBeginCapture", error))
    }

    /// Ends the recording on the thread that began it; an error where something has broken it off.
    pub fn end_capture(&self, stream: &CudaStream) -> Result<Graph> {
        self.bind()?;
        // SAFETY: the stream exists as long as its owner.
        let graph = unsafe { result::stream::end_capture(stream.cu_stream()) }
            .map_err(|error| refused("cuStreamEndCapture", error))?;
        if graph.is_null() {
            return Err(Error::Driver { call: "cuStreamEndCapture", reason: "it gave no graph".into() });
        }
        // SAFETY: the graph came from the call above.
        let executable = unsafe { result::graph::instantiate(graph, sys::CUgraphInstantiate_flags(0)) }
            .map_err(|error| refused("cuGraphInstantiate", error));
        // What can be launched is a copy.
        // SAFETY: the graph came from the call above, and nothing else has it.
        if let Err(error) = unsafe { result::graph::destroy(graph) } {
            log::warn!("cuGraphDestroy: {error}");
        }
        Ok(Graph { context: Arc::clone(&self.context), executable: Mutex::new(Executable(executable?)) })
    }

    /// # Safety
    /// What the graph's nodes use is allocated until they have ended.
    pub unsafe fn launch_graph(&self, stream: &CudaStream, graph: &Graph) -> Result<()> {
        self.bind()?;
        let executable = graph.executable.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the graph was instantiated by `end_capture` and lives; the rest is the caller's promise.
        unsafe { result::graph::launch(executable.0, stream.cu_stream()) }
            .map_err(|error| refused("cuGraphLaunch", error))
    }

    /// Page-locked memory, which is zero.
    pub fn new_pinned(&self, bytes: usize) -> Result<Pinned> {
        self.bind()?;
        // SAFETY: the bytes are written below before anybody reads them.
        let pointer = unsafe { result::malloc_host(bytes, 0) }
            .map_err(|error| refused("cuMemHostAlloc", error))?
            .cast::<u8>();
        let pointer = NonNull::new(pointer).ok_or(Error::OutOfMemory { bytes })?;
        // SAFETY: the driver has just allocated so many bytes there.
        unsafe { pointer.write_bytes(0, bytes) };
        // Without the time, which nobody asks for.
        let copied = self.context.new_event(None).map_err(|error| refused("cuEventCreate", error));
        match copied {
            Ok(copied) => {
                Ok(Pinned { context: Arc::clone(&self.context), pointer, bytes, copied, is_read: false })
            }
            Err(error) => {
                // SAFETY: the memory came from the call above, and nothing uses it.
                if let Err(error) = unsafe { result::free_host(pointer.as_ptr().cast()) } {
                    log::warn!("cuMemFreeHost: {error}");
                }
                Err(error)
            }
        }
    }

    /// Queues a copy of the first `bytes` bytes of `from`.
    ///
    /// # Safety
    /// `bytes` are allocated at `address` until the copy has ended.
    pub unsafe fn copy_pinned(
        &self,
        stream: &CudaStream,
        address: u64,
        from: &mut Pinned,
        bytes: usize,
    ) -> Result<()> {
        self.bind()?;
        let source = &from.memory()?[..bytes];
        // SAFETY: the destination is the caller's promise. The source does not change while it is read, because `memory`,
        // the one way to it, waits for the event, and it is freed after the event.
        unsafe { result::memcpy_htod_async(address, source, stream.cu_stream()) }
            .map_err(|error| refused("cuMemcpyHtoDAsync", error))?;
        from.is_read = true;
        let recorded = from.copied.record(stream).map_err(|error| refused("cuEventRecord", error));
        if recorded.is_err() {
            // Nothing would say when the copy has ended.
            self.wait(stream)?;
            from.is_read = false;
        }
        recorded
    }

    /// Waits for the stream and copies from the device.
    ///
    /// # Safety
    /// As many bytes as `bytes` has are allocated at `address`.
    pub unsafe fn read_on(&self, stream: &CudaStream, address: u64, bytes: &mut [u8]) -> Result<()> {
        self.bind()?;
        // SAFETY: the caller's promise; the bytes are borrowed until the stream has been waited for.
        let queued = unsafe { result::memcpy_dtoh_async(bytes, address, stream.cu_stream()) }
            .map_err(|error| refused("cuMemcpyDtoHAsync", error));
        // Also where the copy was refused: a launch before it has failed then, and this says how.
        self.wait(stream).and(queued)
    }
}

/// A recording that can be launched.
pub(in crate::gpu) struct Graph {
    context: Arc<CudaContext>,
    /// The driver wants calls with one graph to come one after the other.
    executable: Mutex<Executable>,
}

struct Executable(sys::CUgraphExec);

// SAFETY: the handle belongs to its context and may be used from any thread; the lock around it keeps calls apart.
unsafe impl Send for Executable {}

impl Drop for Graph {
    fn drop(&mut self) {
        let executable = self.executable.get_mut().unwrap_or_else(PoisonError::into_inner);
        let destroyed = self.context.bind_to_thread().and_then(|()| {
            // SAFETY: it was instantiated by `end_capture` and nobody uses it any more; the driver lets a launch end first.
            unsafe { result::graph::exec_destroy(executable.0) }
        });
        if let Err(error) = destroyed {
            log::warn!("cuGraphExecDestroy: {error}");
        }
    }
}

/// Page-locked host memory that a device copies from while the host goes on.
pub(in crate::gpu) struct Pinned {
    context: Arc<CudaContext>,
    pointer: NonNull<u8>,
    bytes: usize,
    /// The end of the last copy from here.
    copied: CudaEvent,
    /// Whether a copy has been queued since somebody waited for one.
    is_read: bool,
}

// SAFETY: the memory belongs to this alone, and the driver's calls are thread-safe.
unsafe impl Send for Pinned {}
// SAFETY: it is reached by `&mut` alone.
unsafe impl Sync for Pinned {}

impl Pinned {
    /// Waits until the last copy from here has ended, and gives the memory.
    pub fn memory(&mut self) -> Result<&mut [u8]> {
        if self.is_read {
            self.copied.synchronize().map_err(|error| refused("cuEventSynchronize", error))?;
            self.is_read = false;
        }
        // SAFETY: so many bytes are allocated and initialised there, and nothing else refers to them: no copy is under way.
        Ok(unsafe { std::slice::from_raw_parts_mut(self.pointer.as_ptr(), self.bytes) })
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let waited = self.memory().map(drop);
        let freed = self.context.bind_to_thread().and_then(|()| {
            // SAFETY: the memory came from `new_pinned`; where waiting for the last copy failed, the context is broken and
            // copies nothing any more.
            unsafe { result::free_host(self.pointer.as_ptr().cast()) }
        });
        if let Err(error) = waited.and(freed.map_err(|error| refused("cuMemFreeHost", error))) {
            log::warn!("{} bytes of page-locked memory: {error}", self.bytes);
        }
    }
}
