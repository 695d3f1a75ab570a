//! The bytes of a copy on their way, and which of them nothing had written.

use super::super::Engine;
use super::global_side::Global;
use crate::memory::SharedMemory;

/// Bytes of a copy.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    pub bytes: Vec<u8>,
    /// For each byte 1 where nothing had written its source; empty where all was written.
    pub unwritten: Vec<u8>,
}

impl Content {
    fn mark(&mut self, byte: usize) {
        self.unwritten.resize(self.bytes.len(), 0);
        self.unwritten[byte] = 1;
    }

    /// The shared side of a copy, as it is now, in the order of global memory.
    pub fn of_shared(shared: &SharedMemory, global: &Global, address: u64) -> Self {
        let mut content = Self { bytes: vec![0; global.bytes()], unwritten: Vec::new() };
        for (place, range) in global.places(address) {
            content.take(shared, place, range.start, range.len());
        }
        global.swizzle(address, &mut content.bytes);
        global.swizzle(address, &mut content.unwritten);
        content
    }

    /// Bytes that follow each other in shared memory.
    pub fn of_bytes(shared: &SharedMemory, address: u64, bytes: usize) -> Self {
        let mut content = Self { bytes: vec![0; bytes], unwritten: Vec::new() };
        content.take(shared, address, 0, bytes);
        content
    }

    fn take(&mut self, shared: &SharedMemory, address: u64, at: usize, bytes: usize) {
        self.bytes[at..at + bytes].copy_from_slice(shared.proxy_bytes(address, bytes));
        if shared.is_written(address, bytes) {
            return;
        }
        for byte in (0..bytes).filter(|byte| !shared.is_written(address + *byte as u64, 1)) {
            self.mark(at + byte);
        }
    }

    /// Puts it where a load puts it.
    pub fn into_shared(mut self, shared: &mut SharedMemory, global: &Global, address: u64) {
        global.swizzle(address, &mut self.bytes);
        global.swizzle(address, &mut self.unwritten);
        for (place, range) in global.places(address) {
            self.put(shared, place, range.start, range.len());
        }
    }

    /// Puts it where its bytes follow each other.
    pub fn into_bytes(self, shared: &mut SharedMemory, address: u64) {
        self.put(shared, address, 0, self.bytes.len());
    }

    fn put(&self, shared: &mut SharedMemory, address: u64, at: usize, bytes: usize) {
        shared.proxy_arrive(address, &self.bytes[at..at + bytes]);
        if let Some(marks) = self.unwritten.get(at..at + bytes) {
            for (byte, _) in marks.iter().enumerate().filter(|(_, mark)| **mark != 0) {
                shared.proxy_forget(address + byte as u64, 1);
            }
        }
    }
}

impl Engine<'_> {
    /// What a load brings, as global memory is now.
    pub(super) fn read_global(&mut self, global: &Global) -> Content {
        let memory = self.launch.memory;
        let mut content = Content { bytes: global.filled(), unwritten: Vec::new() };
        for row in global.rows() {
            let place = &mut content.bytes[row.bytes.clone()];
            if !memory.proxy_read(&mut self.cache, row.address, place) {
                let start = row.bytes.start;
                memory.proxy_unwritten(&mut self.cache, row.address, row.bytes.len(), &mut |byte| {
                    content.mark(start + byte);
                });
            }
        }
        global.convert(&mut content.bytes);
        content
    }
}
