//! Copies to a device that the host does not wait for.

use super::buffer::Buffer;
use super::cuda;
use super::device::{Device, Driver};
use super::graph::refuse_while_capturing;
use super::stream::Stream;
use crate::{Error, Result};

/// Bytes that the queue of a simulated GPU may hold before it is emptied: it keeps what it is to copy.
#[cfg(feature = "sim")]
const MOST_QUEUED: usize = 64 << 20;

/// Host memory from which a device copies while the host goes on: two halves in turn, each used again when its last copy
/// has ended.
pub struct Staging {
    device: Device,
    halves: [Half; 2],
    next: usize,
    bytes: usize,
    #[cfg(feature = "sim")]
    queued: usize,
}

enum Half {
    Cuda(cuda::Pinned),
    #[cfg(feature = "sim")]
    Sim(Vec<u8>),
}

impl Staging {
    /// Two halves of `bytes` bytes each, at least 1.
    pub fn new(device: &Device, bytes: usize) -> Result<Self> {
        if bytes == 0 {
            return Err(Error::argument("staging", "bytes", "at least 1", bytes));
        }
        refuse_while_capturing("allocating host memory")?;
        let half = || {
            Ok(match device.driver() {
                Driver::Cuda(driver) => Half::Cuda(driver.new_pinned(bytes)?),
                #[cfg(feature = "sim")]
                Driver::Sim(_) => Half::Sim(vec![0; bytes]),
            })
        };
        Ok(Staging {
            device: device.clone(),
            halves: [half()?, half()?],
            next: 0,
            bytes,
            #[cfg(feature = "sim")]
            queued: 0,
        })
    }

    /// Queues a copy of `bytes` to `offset` of `to`. The bytes are the caller's again when this returns; what does not fit
    /// one half goes in several copies.
    pub fn write(&mut self, stream: &Stream, to: &mut Buffer, offset: usize, bytes: &[u8]) -> Result<()> {
        let mut upload = self.begin(stream, to, offset);
        upload.append(bytes.len(), |done, piece| piece.copy_from_slice(&bytes[done..done + piece.len()]))?;
        upload.finish()
    }

    /// Begins a copy to `offset` of `to` whose bytes come bit by bit.
    pub fn begin<'a>(&'a mut self, stream: &'a Stream, to: &'a mut Buffer, offset: usize) -> Upload<'a> {
        Upload { staging: self, stream, to, offset, filled: 0 }
    }

    /// Queues a copy of what stands in the present half, and turns to the other.
    fn send(&mut self, stream: &Stream, to: &mut Buffer, offset: usize, bytes: usize) -> Result<()> {
        let device = &self.device;
        let address = stream.part("write", "to", to, offset, bytes)?;
        match (&mut self.halves[self.next], device.driver(), stream) {
            (Half::Cuda(half), Driver::Cuda(driver), stream) => {
                let Some(queue) = stream.cuda() else {
                    return Err(Error::argument(
                        "write",
                        "stream",
                        format!("a stream of {device:?}"),
                        format!("{stream:?}"),
                    ));
                };
                // SAFETY: the part lies in the buffer, which waits for this stream before it is freed.
                unsafe { driver.copy_pinned(queue, address, half, bytes) }?;
            }
            #[cfg(feature = "sim")]
            (Half::Sim(half), ..) => {
                stream.queue_bytes(address, &half[..bytes])?;
                self.queued += bytes;
                if self.queued > MOST_QUEUED {
                    stream.synchronize()?;
                    self.queued = 0;
                }
            }
            #[cfg(feature = "sim")]
            _ => unreachable!("host memory of another driver than its device"),
        }
        self.next = 1 - self.next;
        Ok(())
    }

    fn memory(&mut self) -> Result<&mut [u8]> {
        match &mut self.halves[self.next] {
            Half::Cuda(half) => half.memory(),
            #[cfg(feature = "sim")]
            Half::Sim(half) => Ok(half),
        }
    }
}

/// One copy through [`Staging`], whose bytes come one after the other.
pub struct Upload<'a> {
    staging: &'a mut Staging,
    stream: &'a Stream,
    to: &'a mut Buffer,
    offset: usize,
    /// Bytes of the present half that wait for their copy.
    filled: usize,
}

impl Upload<'_> {
    /// Adds `bytes` bytes, which `fill` writes piece by piece: it is given how many of them it has written before.
    pub fn append(&mut self, bytes: usize, mut fill: impl FnMut(usize, &mut [u8])) -> Result<()> {
        if self.to.device().id() != self.staging.device.id() {
            let expected = format!("memory of {:?}", self.staging.device);
            return Err(Error::argument(
                "write",
                "to",
                expected,
                format!("memory of {:?}", self.to.device()),
            ));
        }
        refuse_while_capturing("a copy from the host")?;
        let mut done = 0;
        while done < bytes {
            let room = self.staging.bytes - self.filled;
            let n = room.min(bytes - done);
            fill(done, &mut self.staging.memory()?[self.filled..self.filled + n]);
            done += n;
            self.filled += n;
            if self.filled == self.staging.bytes {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// Queues the copy of what has not been copied yet.
    pub fn finish(mut self) -> Result<()> {
        self.flush()
    }

    fn flush(&mut self) -> Result<()> {
        let bytes = std::mem::take(&mut self.filled);
        if bytes > 0 {
            self.staging.send(self.stream, self.to, self.offset, bytes)?;
            self.offset += bytes;
        }
        Ok(())
    }
}

impl std::fmt::Debug for Staging {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Staging of 2 x {} bytes for {:?}", self.bytes, self.device)
    }
}
