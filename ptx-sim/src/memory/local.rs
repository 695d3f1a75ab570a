//! The local memory of one warp: bytes that each lane has for itself.

use super::bits::Bits;
use super::runs::lanes_of;
use super::shape::Shape;
use super::{Fault, LaneBytes, Space, WarpAccess, garbage};
use crate::config::Checks;
use crate::program::LANES;
use crate::violation::ViolationKind;

/// So many bytes for each lane. Made when it is first touched: few kernels have any.
#[derive(Debug)]
pub(crate) struct LocalMemory {
    size: usize,
    base: u64,
    seed: u64,
    bytes: Vec<u8>,
    /// `None` where uninitialised reads are not checked.
    initialized: Option<Bits>,
}

impl LocalMemory {
    /// So many bytes for each lane from the address `base` on, holding garbage.
    pub fn new(bytes_per_lane: u32, base: u64, checks: Checks, garbage_seed: u64) -> Self {
        let size = bytes_per_lane as usize;
        let initialized = checks.initialization.then(|| Bits::new(size * LANES));
        Self { size, base, seed: garbage_seed, bytes: Vec::new(), initialized }
    }

    /// `ld.local`.
    pub fn load(&mut self, access: &WarpAccess<'_>, out: &mut LaneBytes) -> Result<(), Fault> {
        self.check_bounds(access)?;
        for lane in lanes_of(access.mask) {
            let range = self.range(access, lane);
            if !access.reads_unwritten
                && let Some(initialized) = &self.initialized
                && let Some(missing) = initialized.first_missing(range.clone())
            {
                let byte = access.addresses[lane] + (missing - range.start) as u64;
                return Err(access.uninitialized(Space::Local, lane, byte));
            }
        }
        self.make();
        for lane in lanes_of(access.mask) {
            out[lane][..access.size].copy_from_slice(&self.bytes[self.range(access, lane)]);
        }
        Ok(())
    }

    /// `st.local`.
    pub fn store(&mut self, access: &WarpAccess<'_>, values: &LaneBytes) -> Result<(), Fault> {
        self.check_bounds(access)?;
        self.make();
        for lane in lanes_of(access.mask) {
            let range = self.range(access, lane);
            self.bytes[range.clone()].copy_from_slice(&values[lane][..access.size]);
            if let Some(initialized) = &mut self.initialized {
                initialized.insert(range);
            }
        }
        Ok(())
    }

    /// Whether all of some bytes of a lane, which lie in its memory, have been written.
    pub fn is_written(&self, lane: usize, address: u64, size: usize) -> bool {
        let offset = lane * self.size + address.wrapping_sub(self.base) as usize;
        self.initialized.as_ref().is_none_or(|bits| bits.first_missing(offset..offset + size).is_none())
    }

    /// Takes back that the bytes of some lanes have been written: what was stored there was not.
    pub fn set_unwritten(&mut self, access: &WarpAccess<'_>) {
        for lane in lanes_of(access.mask) {
            let range = self.range(access, lane);
            if let Some(initialized) = &mut self.initialized {
                initialized.remove(range);
            }
        }
    }

    /// A byte of a lane, unchecked.
    pub fn peek(&self, lane: usize, address: u64) -> Option<u8> {
        let offset =
            usize::try_from(address.wrapping_sub(self.base)).ok().filter(|offset| *offset < self.size)?;
        self.bytes.get(lane * self.size + offset).copied()
    }

    fn make(&mut self) {
        if self.bytes.is_empty() {
            self.bytes = vec![0; self.size * LANES];
            garbage(&mut self.bytes, self.seed, self.base);
        }
    }

    /// An access that is within bounds.
    fn range(&self, access: &WarpAccess<'_>, lane: usize) -> std::ops::Range<usize> {
        let start = lane * self.size + access.addresses[lane].wrapping_sub(self.base) as usize;
        start..start + access.size
    }

    fn check_bounds(&self, access: &WarpAccess<'_>) -> Result<(), Fault> {
        let shape = Shape::of(access, self.base);
        access.check_alignment(&shape)?;
        let size = self.size as u64;
        let beyond = |lane: &usize| {
            let offset = access.addresses[*lane].wrapping_sub(self.base);
            offset >= size || size - offset < access.size as u64
        };
        let Some(lane) = lanes_of(access.mask).find(beyond) else {
            return Ok(());
        };
        let message = format!("{} outside the thread's {size} bytes of local memory", access.describe());
        Err(access.fault(ViolationKind::OutOfBounds, lane, message))
    }
}
