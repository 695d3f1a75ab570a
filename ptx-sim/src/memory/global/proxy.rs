//! Global memory as the asynchronous proxy accesses it.

use std::sync::PoisonError;

use super::{GlobalMemory, PageCache, lock};
use crate::count::Tally;
use crate::memory::runs::PAGE;
use crate::memory::{Fault, ProxyAccess, Space};
use crate::race::Accessor;
use crate::violation::ViolationKind;

/// The parts of some bytes that lie on one page each: address and bytes.
fn pieces(mut address: u64, mut bytes: usize) -> impl Iterator<Item = (u64, usize)> {
    std::iter::from_fn(move || {
        let piece = bytes.min((PAGE - address % PAGE) as usize);
        let at = address;
        address = address.wrapping_add(piece as u64);
        bytes -= piece;
        (piece != 0).then_some((at, piece))
    })
}

impl GlobalMemory {
    /// An operation of the asynchronous proxy is to read or write bytes: checks bounds and races, marks them
    /// as accessed at the operation's moment, and counts them.
    pub fn proxy_claim(
        &self,
        cache: &mut PageCache,
        access: &ProxyAccess<'_>,
        address: u64,
        bytes: usize,
        writes: bool,
        tally: &mut Tally,
    ) -> Result<(), Fault> {
        let checks = cache.checks;
        let traffic = if writes { &mut tally.global_written } else { &mut tally.global_read };
        traffic.add_range(address, bytes as u64);
        // Before anything is claimed all must be known to lie in one allocation.
        if let Err(reason) = self.check(address, bytes as u64, writes) {
            return Err(self.proxy_fault(access, address, bytes, writes, &reason));
        }
        for (at, piece) in pieces(address, bytes) {
            let Some(page) = cache.page(self, at / PAGE) else { continue };
            let mut page = lock(page);
            let range = (at % PAGE) as usize..(at % PAGE) as usize + piece;
            let launch = access.clocks.launch();
            traffic.unique_bytes += if writes {
                page.count_written(launch, range.clone())
            } else {
                page.count_read(launch, range.clone())
            };
            if !checks.races {
                continue;
            }
            let accessor = Accessor::of_proxy(access, writes);
            let shadow = page.shadow(launch);
            shadow.start_access();
            shadow.claim(&accessor, range, access.lanes, writes).map_err(|(offset, conflict)| {
                access.race(Space::Global, at - at % PAGE + offset as u64, &conflict, writes)
            })?;
        }
        Ok(())
    }

    /// What is wrong with bytes that an operation of the asynchronous proxy cannot access.
    fn proxy_fault(
        &self,
        access: &ProxyAccess<'_>,
        address: u64,
        bytes: usize,
        writes: bool,
        reason: &str,
    ) -> Fault {
        let allocations = self.allocations.read().unwrap_or_else(PoisonError::into_inner);
        let kind = match allocations.at(address) {
            Some(allocation) if allocation.freed => ViolationKind::UseAfterFree,
            Some(allocation) if writes && allocation.read_only => ViolationKind::ReadOnly,
            _ => ViolationKind::OutOfBounds,
        };
        let message = format!("{} of {bytes} bytes: {reason}", access.describe(writes));
        access.fault(kind, address, message)
    }

    /// Bytes that have been claimed, as they are now; whether all of them have been written.
    pub fn proxy_read(&self, cache: &mut PageCache, address: u64, out: &mut [u8]) -> bool {
        let mut written = true;
        let mut done = 0;
        for (at, piece) in pieces(address, out.len()) {
            if let Some(page) = cache.page(self, at / PAGE) {
                let page = lock(page);
                let start = (at % PAGE) as usize;
                out[done..done + piece].copy_from_slice(&page.data[start..start + piece]);
                written &= page.first_uninitialized(start..start + piece).is_none();
            }
            done += piece;
        }
        written || !cache.checks.initialization
    }

    /// Which of such bytes nothing has written.
    pub fn proxy_unwritten(
        &self,
        cache: &mut PageCache,
        address: u64,
        bytes: usize,
        each: &mut dyn FnMut(usize),
    ) {
        let mut done = 0;
        for (at, piece) in pieces(address, bytes) {
            if let Some(page) = cache.page(self, at / PAGE) {
                let page = lock(page);
                let start = (at % PAGE) as usize;
                let missing =
                    |byte: &usize| page.first_uninitialized(start + byte..start + byte + 1).is_some();
                (0..piece).filter(missing).for_each(|byte| each(done + byte));
            }
            done += piece;
        }
    }

    /// Changes bytes that have been claimed: `update` gets them, a piece after another, with their distance from the
    /// first.
    pub fn proxy_update(
        &self,
        cache: &mut PageCache,
        address: u64,
        bytes: usize,
        update: &mut dyn FnMut(usize, &mut [u8]),
    ) {
        let mut done = 0;
        for (at, piece) in pieces(address, bytes) {
            if let Some(page) = cache.page(self, at / PAGE) {
                let mut page = lock(page);
                let range = (at % PAGE) as usize..(at % PAGE) as usize + piece;
                update(done, &mut page.data[range.clone()]);
                page.initialize(range);
            }
            done += piece;
        }
    }
}
