//! The completion of copies that an mbarrier counts.

use std::sync::Arc;

use super::super::arrivals::Arrival;
use super::super::{Block, Engine};
use super::content::Content;
use super::global_side::Global;
use super::remote::Value;
use crate::alu::atomics::Atomic;
use crate::memory::SharedMemory;

/// What an arrival moves.
#[derive(Debug)]
pub(in crate::exec) struct Transfer {
    /// The rank of the block that issued it.
    pub issuer: usize,
    /// Its destination in the block that keeps the arrival.
    pub address: u64,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    /// From global memory, perhaps to several blocks.
    Load(Arc<Global>),
    /// From the shared memory of the issuing block: read when it completes.
    Send { source: u64, bytes: usize, reduction: Option<Atomic> },
    /// The same, read when it was issued.
    Sent { content: Content, reduction: Option<Atomic> },
    /// From registers.
    Values { values: Vec<Value>, reduction: Option<Atomic> },
}

impl Engine<'_> {
    /// Moves the bytes of a copy to `block`, which keeps it, and ends its channel.
    pub(in crate::exec) fn deliver(&mut self, block: &mut Block, arrival: &Arrival) {
        let transfer = &arrival.transfer;
        match &transfer.what {
            What::Load(global) => {
                let content = self.read_global(global);
                content.into_shared(&mut block.shared, global, transfer.address);
            }
            What::Send { source, bytes, reduction } => {
                if let Some(issuer) = self.live.peer(block.place, transfer.issuer) {
                    let content = Content::of_bytes(&issuer.shared, *source, *bytes);
                    put(&mut block.shared, transfer.address, content, *reduction);
                }
            }
            What::Sent { content, reduction } => {
                put(&mut block.shared, transfer.address, content.clone(), *reduction);
            }
            What::Values { values, reduction } => {
                for value in values {
                    let size = value.size;
                    let unwritten = if value.unwritten { vec![1; size] } else { Vec::new() };
                    let content = Content { bytes: value.bytes[..size].to_vec(), unwritten };
                    put(&mut block.shared, value.address, content, *reduction);
                }
            }
        }
        if let Some(issuer) = self.live.in_cluster(block, transfer.issuer) {
            issuer.clocks.end_async(arrival.moment);
        }
    }
}

/// Bytes arrive in shared memory, or are added to what is there.
fn put(shared: &mut SharedMemory, address: u64, mut content: Content, reduction: Option<Atomic>) {
    if let Some(atomic) = reduction {
        let mut sum = shared.proxy_bytes(address, content.bytes.len()).to_vec();
        reduce(atomic, &mut sum, &content.bytes, false);
        content.bytes = sum;
    }
    content.into_bytes(shared, address);
}

/// Adds elements to others, one by one. `flush`: sums of f32 lose subnormal numbers.
pub(super) fn reduce(atomic: Atomic, place: &mut [u8], with: &[u8], flush: bool) {
    let size = atomic.ty.bytes() as usize;
    let word = |bytes: &[u8]| {
        let mut word = [0; 8];
        word[..size].copy_from_slice(bytes);
        u64::from_le_bytes(word)
    };
    for (place, with) in place.chunks_exact_mut(size).zip(with.chunks_exact(size)) {
        let new = atomic.apply(word(place), word(with), 0, flush);
        place.copy_from_slice(&new.to_le_bytes()[..size]);
    }
}
