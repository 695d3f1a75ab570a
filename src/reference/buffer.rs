//! Host memory: owned and aligned, or a part of a checkpoint that somebody else holds.

use bytemuck::{Pod, Zeroable};

use crate::tensor::Bytes;
use crate::{Error, Result};

#[cfg(target_endian = "big")]
compile_error!("the CPU reference reads checkpoints in place, and they are little-endian");

/// One cache line: what owned memory is made of, so that vectors never straddle two lines.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// Memory of the CPU reference.
#[derive(Debug)]
pub struct CpuBuffer(Memory);

enum Memory {
    Owned { lines: Vec<Line>, len: usize },
    Shared(Bytes),
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Memory::Owned { len, .. } => write!(f, "{len} bytes, owned"),
            Memory::Shared(bytes) => write!(f, "{} bytes, shared", bytes.len()),
        }
    }
}

impl CpuBuffer {
    /// `len` zero bytes, aligned to 64; pages are taken from the system when they are first touched.
    pub fn zeroed(len: usize) -> Result<Self> {
        let lines = bytemuck::allocation::try_zeroed_vec(len.div_ceil(size_of::<Line>()))
            .map_err(|()| Error::OutOfMemory { bytes: len })?;
        Ok(CpuBuffer(Memory::Owned { lines, len }))
    }

    /// `bytes` in place where they are aligned to `align`, else a copy of them: checkpoints hold tensors at odd offsets.
    pub fn from_bytes(bytes: Bytes, align: usize) -> Result<Self> {
        if bytes.as_ptr().addr().is_multiple_of(align) {
            return Ok(CpuBuffer(Memory::Shared(bytes)));
        }
        let mut copy = CpuBuffer::zeroed(bytes.len())?;
        if let Some(to) = copy.bytes_mut() {
            to.copy_from_slice(&bytes);
        }
        Ok(copy)
    }

    /// All bytes.
    pub fn bytes(&self) -> &[u8] {
        match &self.0 {
            Memory::Owned { lines, len } => &bytemuck::cast_slice(lines)[..*len],
            Memory::Shared(bytes) => bytes,
        }
    }

    /// All bytes, to write; `None` where the memory belongs to a checkpoint.
    pub fn bytes_mut(&mut self) -> Option<&mut [u8]> {
        match &mut self.0 {
            Memory::Owned { lines, len } => Some(&mut bytemuck::cast_slice_mut(lines)[..*len]),
            Memory::Shared(_) => None,
        }
    }
}
