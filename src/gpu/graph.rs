//! Recorded work: launches and copies within a device that are queued again, all of them, by one call.
//!
//! While a stream records, nothing that it is given is carried out, and its thread must do nothing that waits for the
//! device or allocates its memory: the driver would break the recording off. That is refused here, on both drivers.

use std::cell::Cell;
use std::fmt;

use super::cuda;
use super::device::Device;
use super::stream::Stream;
use crate::plan::Kernel;
use crate::{Error, Result};

/// What a stream was given while it recorded.
pub struct Graph {
    device: Device,
    launches: Vec<Option<Kernel>>,
    recorded: Recorded,
}

pub(super) enum Recorded {
    Cuda(cuda::Graph),
    #[cfg(feature = "sim")]
    Sim(Vec<super::sim::Operation>),
}

thread_local! {
    /// How many streams this thread records.
    static CAPTURES: Cell<usize> = const { Cell::new(0) };
}

/// One of [`CAPTURES`], as long as it lives.
pub(super) struct Capturing(());

impl Capturing {
    pub fn new() -> Self {
        CAPTURES.set(CAPTURES.get() + 1);
        Capturing(())
    }
}

impl Drop for Capturing {
    fn drop(&mut self) {
        CAPTURES.set(CAPTURES.get() - 1);
    }
}

/// Refuses what would wait for the device or allocate while this thread records a graph.
pub(super) fn refuse_while_capturing(what: impl fmt::Display) -> Result<()> {
    if CAPTURES.get() == 0 {
        return Ok(());
    }
    Err(Error::unsupported(
        format!("{what} while this thread captures a graph"),
        "it would wait for the device; do it before",
    ))
}

impl Graph {
    pub(super) fn new(device: &Device, launches: Vec<Option<Kernel>>, recorded: Recorded) -> Self {
        Graph { device: device.clone(), launches, recorded }
    }

    /// The device that it was recorded for.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Kernels that one replay launches.
    pub fn launches(&self) -> usize {
        self.launches.len()
    }

    pub(super) fn recorded_launches(&self) -> &[Option<Kernel>] {
        &self.launches
    }

    pub(super) fn recorded(&self) -> &Recorded {
        &self.recorded
    }

    /// Queues all that was recorded, in its order, in `stream`, which need not be the stream that recorded it. What the
    /// launches read are the bytes that their memory holds when they run.
    ///
    /// # Safety
    /// The memory that the recorded launches, copies and fills use is still allocated, until they have ended, and nobody
    /// else uses what they write.
    pub unsafe fn launch(&self, stream: &Stream) -> Result<()> {
        if stream.device().id() != self.device.id() {
            let expected = format!("a stream of {:?}", self.device);
            return Err(Error::argument("launch", "stream", expected, format!("{stream:?}")));
        }
        // SAFETY: the caller's promise.
        unsafe { stream.replay(self) }
    }
}

impl fmt::Debug for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Graph of {} launches on {:?}", self.launches(), self.device)
    }
}
