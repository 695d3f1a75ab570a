//! Accesses by the asynchronous proxy: `wgmma` operands and bulk copies.
//!
//! What such an operation touches is claimed when it is issued: checked for bounds and races, and marked as touched at a
//! moment that only those know who have waited for it. Its bytes move when it completes, which may be later.

use super::{Fault, Prior, Space};
use crate::program::Pc;
use crate::race::{BlockClocks, Conflict, Moment};
use crate::violation::{AccessKind, ViolationKind};

/// An operation of the asynchronous proxy, and who issued it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProxyAccess<'a> {
    /// Of the issuing block, which need not be the block whose memory is accessed.
    pub clocks: &'a BlockClocks,
    /// The issuing warp, and its lanes that issue it.
    pub warp: usize,
    pub lanes: u32,
    pub moment: Moment,
    /// It adds to what is there, atomically.
    pub reduces: bool,
    pub pc: Pc,
}

impl ProxyAccess<'_> {
    /// Such as `a write by the asynchronous proxy`.
    pub(super) fn describe(&self, writes: bool) -> String {
        format!("a {}", if writes { AccessKind::ProxyWrite } else { AccessKind::ProxyRead })
    }

    pub(super) fn fault(&self, kind: ViolationKind, address: u64, message: String) -> Fault {
        Fault { kind, lane: self.lanes.trailing_zeros() as usize & 31, address, message, prior: None }
    }

    pub(super) fn race(&self, space: Space, address: u64, conflict: &Conflict, writes: bool) -> Fault {
        self.race_of(&self.describe(writes), space, address, conflict)
    }

    /// The same of `what`.
    pub(super) fn race_of(&self, what: &str, space: Space, address: u64, conflict: &Conflict) -> Fault {
        let name = space.name();
        let (kind, message) = if conflict.unfenced {
            let message = format!(
                "{what} of {name} memory that the generic proxy wrote before: fence.proxy.async is missing between them"
            );
            (ViolationKind::MissingProxyFence, message)
        } else {
            conflict.describe(what, space)
        };
        let prior =
            Prior { kind: conflict.kind, block: conflict.block, thread: conflict.thread, pc: conflict.pc };
        let fault = self.fault(kind, address, message);
        Fault { lane: conflict.lane, prior: Some(prior), ..fault }
    }
}

impl Conflict {
    /// What kind of race it is of `what`, such as `a 4-byte read`, with the earlier access, and how it is told.
    pub(super) fn describe(&self, what: &str, space: Space) -> (ViolationKind, String) {
        let name = space.name();
        if self.pending {
            let still = match self.kind {
                AccessKind::AsyncRead | AccessKind::ProxyRead => "may still read",
                _ => "has yet to write",
            };
            let by = match self.kind {
                AccessKind::ProxyRead | AccessKind::ProxyWrite => "an operation of the asynchronous proxy",
                _ => "an asynchronous copy",
            };
            let message = format!("{what} of bytes that {by} {still}: its wait is missing");
            return (ViolationKind::AsyncCopyRace, message);
        }
        let kind = if space == Space::Shared { ViolationKind::SharedRace } else { ViolationKind::GlobalRace };
        let whose = if self.same_block { "of its block" } else { "of another block" };
        let message = format!(
            "{what} of {name} memory that no synchronisation orders after an earlier {} by a thread {whose}",
            self.kind
        );
        (kind, message)
    }
}
