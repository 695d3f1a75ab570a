//! Memory of a device.

use std::fmt;
use std::ops::Range;

use super::device::{Device, Driver};
use super::graph::refuse_while_capturing;
use crate::{Error, Result};

/// Memory of a device that this library owns. It is freed when this goes, after all work that was queued until then.
pub struct Buffer {
    device: Device,
    /// 0 where there are no bytes.
    address: u64,
    bytes: usize,
}

impl Buffer {
    pub(super) fn new(device: &Device, bytes: usize) -> Result<Self> {
        refuse_while_capturing("allocating memory")?;
        let address = match device.driver() {
            _ if bytes == 0 => 0,
            Driver::Cuda(driver) => driver.allocate(bytes)?,
            #[cfg(feature = "sim")]
            Driver::Sim(driver) => driver.allocate(bytes)?,
        };
        if bytes > 0 {
            device.count_allocation();
        }
        Ok(Buffer { device: device.clone(), address, bytes })
    }

    /// The device that it is memory of.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Address of its first byte, a multiple of 256; 0 where it is empty.
    pub fn address(&self) -> u64 {
        self.address
    }

    /// Number of bytes.
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Waits for all work of the device and copies `bytes` to `offset`.
    pub fn write(&mut self, offset: usize, bytes: &[u8]) -> Result<()> {
        refuse_while_capturing("writing memory")?;
        let address = self.part("write", offset, bytes.len())?;
        match self.device.driver() {
            _ if bytes.is_empty() => Ok(()),
            // SAFETY: the part lies in this buffer.
            Driver::Cuda(driver) => unsafe { driver.write(address, bytes) },
            #[cfg(feature = "sim")]
            Driver::Sim(driver) => driver.write(address, bytes),
        }
    }

    /// Waits for all work of the device and copies the bytes from `offset` on; an error if a launch before failed.
    pub fn read(&self, offset: usize, bytes: &mut [u8]) -> Result<()> {
        refuse_while_capturing("reading memory")?;
        let address = self.part("read", offset, bytes.len())?;
        match self.device.driver() {
            _ if bytes.is_empty() => Ok(()),
            // SAFETY: the part lies in this buffer.
            Driver::Cuda(driver) => unsafe { driver.read(address, bytes) },
            #[cfg(feature = "sim")]
            Driver::Sim(driver) => driver.read(address, bytes),
        }
    }

    /// Waits for all work of the device and sets the bytes of `range` to `byte`.
    pub fn fill(&mut self, range: Range<usize>, byte: u8) -> Result<()> {
        refuse_while_capturing("filling memory")?;
        let bytes = range.end.saturating_sub(range.start);
        let address = self.part("fill", range.start, bytes)?;
        match self.device.driver() {
            _ if bytes == 0 => Ok(()),
            // SAFETY: the part lies in this buffer.
            Driver::Cuda(driver) => unsafe { driver.fill(address, byte, bytes) },
            #[cfg(feature = "sim")]
            Driver::Sim(driver) => driver.fill(address, byte, bytes),
        }
    }

    /// The address of a part, which lies in this buffer.
    pub(super) fn part(&self, op: &'static str, offset: usize, bytes: usize) -> Result<u64> {
        match offset.checked_add(bytes) {
            Some(end) if end <= self.bytes => Ok(self.address + offset as u64),
            _ => {
                let given = format!("{bytes} bytes at {offset}");
                Err(Error::argument(op, "bytes", format!("a part of {} bytes", self.bytes), given))
            }
        }
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} bytes at {:#x} of {:?})", self.bytes, self.address, self.device)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.device.count_free();
        }
        let freed = match self.device.driver() {
            _ if self.bytes == 0 => Ok(()),
            // SAFETY: the memory was allocated by `new`, and a view of it borrows this buffer, so that none is left.
            Driver::Cuda(driver) => unsafe { driver.free(self.address) },
            #[cfg(feature = "sim")]
            Driver::Sim(driver) => driver.free(self.address),
        };
        if let Err(error) = freed {
            log::warn!("{} bytes of {:?} were not freed: {error}", self.bytes, self.device);
        }
    }
}
