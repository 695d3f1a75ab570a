//! The time of a call.

use llama_kernels::Result;
use llama_kernels::bench::{Memory, Work};
use llama_kernels::gpu::{Buffer, Device, Stream};
use llama_kernels::tensor::DType;

/// Launches that are not timed.
const WARM_UP: usize = 10;
/// Launches that are timed; the median counts.
pub const LAUNCHES: usize = 100;
/// At the least so much is written between two launches, so that none finds its inputs in a cache.
const LEAST_FLUSH: usize = 64 << 20;

/// A stream, what is written to empty the caches, and where operands come from.
pub struct Measure {
    stream: Stream,
    flush: Buffer,
    memory: Memory,
}

impl Measure {
    pub fn new(device: &Device, l2: usize) -> Result<Self> {
        let flush = device.allocate((2 * l2).max(LEAST_FLUSH))?;
        Ok(Measure { stream: device.new_stream()?, flush, memory: Memory::new(device)? })
    }

    /// Median microseconds of a call from cold memory.
    pub fn median(&mut self, work: &dyn Work, dtype: DType) -> Result<f64> {
        let mut call = work.prepare(dtype, &mut self.memory)?;
        for _ in 0..WARM_UP {
            call(&self.stream)?;
        }
        self.stream.synchronize()?;
        let (device, bytes) = (self.stream.device(), self.flush.len());
        let mut events = Vec::new();
        for launch in 0..LAUNCHES {
            // While the flush runs, the launch behind it is queued: the host's own time is not measured.
            self.stream.fill(&mut self.flush, 0, bytes, launch as u8)?;
            let (start, end) = (device.new_event()?, device.new_event()?);
            start.record(&self.stream)?;
            call(&self.stream)?;
            end.record(&self.stream)?;
            events.push((start, end));
        }
        self.stream.synchronize()?;
        let times = events.iter().map(|(start, end)| start.microseconds_to(end));
        let mut times = times.collect::<Result<Vec<f64>>>()?;
        times.sort_by(f64::total_cmp);
        Ok(times[times.len() / 2])
    }
}
