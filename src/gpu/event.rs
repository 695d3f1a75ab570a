//! Time on a device.

use cudarc::driver::CudaEvent;

use super::device::{Device, Driver};
use super::installed::refused;
use super::stream::Stream;
use crate::{Error, Result};

/// A moment in a stream's work.
#[derive(Debug)]
pub struct Event(CudaEvent);

impl Event {
    pub(super) fn new(device: &Device) -> Result<Self> {
        match device.driver() {
            Driver::Cuda(driver) => driver.new_event().map(Event),
            #[cfg(feature = "sim")]
            Driver::Sim(_) => Err(device.has_no_clock("measuring time")),
        }
    }

    /// Is the moment at which all that is queued in `stream` so far has been carried out.
    pub fn record(&self, stream: &Stream) -> Result<()> {
        let Some(stream) = stream.cuda() else {
            return Err(Error::argument("record", "stream", "a stream of a CUDA GPU", format!("{stream:?}")));
        };
        self.0.record(stream).map_err(|error| refused("cuEventRecord", error))
    }

    /// Waits for both moments and gives the microseconds from this one to `end`; steps of half a microsecond.
    pub fn microseconds_to(&self, end: &Event) -> Result<f64> {
        let milliseconds = self.0.elapsed_ms(&end.0).map_err(|error| refused("cuEventElapsedTime", error))?;
        Ok(f64::from(milliseconds) * 1e3)
    }
}
