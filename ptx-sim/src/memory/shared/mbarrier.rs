//! The mbarrier objects in a block's shared memory, as memory: nothing but mbarrier operations may touch them.

use super::SharedMemory;
use crate::memory::runs::{Runs, lanes_of};
use crate::memory::shape::{Pattern, Shape};
use crate::memory::{Fault, ProxyAccess, Scope, Strength, SyncSemantics, WarpAccess};
use crate::program::{LANES, Pc};
use crate::race::{Accessor, BlockClocks};
use crate::violation::{AccessKind, ViolationKind};

/// Bytes of an mbarrier object, and its alignment.
const BYTES: usize = 8;

/// Where live mbarrier objects lie: distances from the base, in order.
#[derive(Debug, Default)]
pub(super) struct Objects {
    offsets: Vec<u64>,
}

impl Objects {
    /// Whether an access to bytes up to `end` could meet one, at a glance.
    #[inline(always)]
    pub fn reach_below(&self, end: u64) -> bool {
        self.offsets.first().is_some_and(|first| *first < end)
    }

    /// Where the last one ends.
    fn end(&self) -> u64 {
        self.offsets.last().map_or(0, |last| last + BYTES as u64)
    }

    /// The first one that some bytes overlap.
    fn met(&self, offset: u64, bytes: u64) -> Option<u64> {
        let next = self.offsets.partition_point(|object| object + BYTES as u64 <= offset);
        self.offsets.get(next).copied().filter(|object| *object < offset.saturating_add(bytes))
    }

    fn insert(&mut self, offset: u64) {
        if let Err(place) = self.offsets.binary_search(&offset) {
            self.offsets.insert(place, offset);
        }
    }

    fn remove(&mut self, offset: u64) {
        self.offsets.retain(|object| *object != offset);
    }

    pub fn clear(&mut self) {
        self.offsets.clear();
    }
}

/// What an operation does to the mbarrier object as memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MbarrierAccess {
    /// `init` and `inval`: an ordinary write, which all others have to be ordered with.
    Write,
    /// An arrival, or the like.
    Update,
    /// A wait.
    Read,
}

fn access(what: MbarrierAccess, addresses: &[u64; LANES], mask: u32, pc: Pc) -> WarpAccess<'_> {
    // Threads of other blocks take part as well, whatever the scope of their operation.
    let strong = Strength::Strong(Scope::System);
    let (kind, strength) = match what {
        MbarrierAccess::Write => (AccessKind::Write, Strength::Weak),
        MbarrierAccess::Update => (AccessKind::Atomic, strong),
        MbarrierAccess::Read => (AccessKind::Read, strong),
    };
    WarpAccess {
        kind,
        strength,
        order: SyncSemantics::default(),
        size: BYTES,
        align: BYTES as u64,
        addresses,
        mask,
        pc,
        reads_unwritten: true,
        moment: None,
    }
}

impl SharedMemory {
    /// Whether mbarrier objects of lanes lie where they can.
    pub fn check_mbarrier_place(&self, addresses: &[u64; LANES], mask: u32) -> Result<(), Fault> {
        let access = access(MbarrierAccess::Update, addresses, mask, 0);
        self.check_range(&access, &Shape::of(&access, self.base))
    }

    /// An mbarrier operation by lanes: checks races with `init` and `inval`, which are all that has to be ordered. Their
    /// places have been checked.
    pub fn access_mbarrier(
        &mut self,
        clocks: &BlockClocks,
        warp: usize,
        what: MbarrierAccess,
        addresses: &[u64; LANES],
        mask: u32,
        pc: Pc,
    ) -> Result<(), Fault> {
        let access = access(what, addresses, mask, pc);
        self.check_races(clocks, warp, &access, &Runs::addresses(&access), what != MbarrierAccess::Read)
    }

    /// `fence.mbarrier_init` after a lane's `init` at `pc`: no other operation has to be ordered after that.
    pub fn publish_mbarrier(&mut self, clocks: &BlockClocks, warp: usize, lane: usize, address: u64, pc: Pc) {
        let addresses = [address; LANES];
        let access = access(MbarrierAccess::Update, &addresses, 1 << lane, pc);
        let offset = self.offset(address);
        if let Some(shadow) = &mut self.shadow {
            shadow.set_written(&Accessor::new(clocks, warp, &access, false), offset, BYTES, lane);
        }
    }

    /// Its 8 bytes, which have been accessed by [`Self::access_mbarrier`], are an mbarrier object from now on.
    pub fn hold_mbarrier(&mut self, address: u64) {
        self.objects.insert(address.wrapping_sub(self.base));
    }

    /// They no longer are, and hold nothing.
    pub fn release_mbarrier(&mut self, address: u64) {
        let offset = self.offset(address);
        self.objects.remove(offset as u64);
        if let Some(initialized) = &mut self.initialized {
            initialized.remove(offset..offset + BYTES);
        }
    }

    /// The mbarrier object that some bytes overlap, which only mbarrier operations may touch.
    fn mbarrier_at(&self, address: u64, bytes: usize) -> Option<u64> {
        self.objects.met(address.wrapping_sub(self.base), bytes as u64).map(|offset| self.base + offset)
    }

    /// An access must not touch an mbarrier object.
    pub(super) fn check_objects(&self, access: &WarpAccess<'_>, shape: &Shape) -> Result<(), Fault> {
        let offset = |lane: usize| access.addresses[lane].wrapping_sub(self.base);
        let least = match shape.pattern {
            Pattern::Contiguous | Pattern::Same => offset(shape.first),
            Pattern::Other => lanes_of(access.mask).map(offset).min().unwrap_or(0),
        };
        if self.objects.end() <= least {
            return Ok(());
        }
        let met = |lane: usize| self.mbarrier_at(access.addresses[lane], access.size);
        match lanes_of(access.mask).find_map(|lane| Some((lane, met(lane)?))) {
            None => Ok(()),
            Some((lane, object)) => {
                Err(access.fault(ViolationKind::MbarrierMisuse, lane, touched(&access.describe(), object)))
            }
        }
    }

    /// Nor must an operation of the asynchronous proxy.
    pub(super) fn check_proxy_objects(
        &self,
        access: &ProxyAccess<'_>,
        address: u64,
        bytes: usize,
        writes: bool,
    ) -> Result<(), Fault> {
        match self.mbarrier_at(address, bytes) {
            None => Ok(()),
            Some(object) => {
                let message = touched(&access.describe(writes), object);
                Err(access.fault(ViolationKind::MbarrierMisuse, object, message))
            }
        }
    }
}

fn touched(what: &str, object: u64) -> String {
    format!(
        "{what} of the mbarrier object at {object:#x}: mbarrier.inval has to come before its memory is used for anything \
         else"
    )
}
