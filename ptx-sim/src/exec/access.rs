//! Loads, stores and atomics.

use std::sync::Arc;

use super::cluster::split_by_block;
use super::collective::{lanes_of, mask_of};
use super::copy_async::source_overwritten;
use super::fault::Fail;
use super::taint::Origin;
use super::warp::Warp;
use super::{Block, Engine};
use crate::count::Tally;
use crate::memory::{AtomicOrder, Fault, LaneBytes, Strength, SyncSemantics, WarpAccess, windows};
use crate::program::{Address, AtomicOp, Element, LANES, MemoryOp, Pc};
use crate::ptx::ast::{Space, Type};
use crate::violation::{AccessKind, ViolationKind};

/// The addresses of a memory operand.
pub(super) fn addresses(warp: &Warp, address: &Address) -> [u64; LANES] {
    let offset = address.offset as u64;
    match address.base {
        None => [offset; LANES],
        Some((slot, true)) => warp.lanes.get64(slot).map(|base| base.wrapping_add(offset)),
        // Within a 32-bit state space addresses wrap at 32 bits.
        Some((slot, false)) => warp.lanes.get32(slot).map(|base| base.wrapping_add(offset as u32).into()),
    }
}

/// Lanes, by the state space that they access.
type Parts = [(Space, u32); 5];

/// All lanes access one state space.
fn undivided(space: Space, lanes: u32) -> Parts {
    [(space, lanes), (space, 0), (space, 0), (space, 0), (space, 0)]
}

/// The lanes of `mask` whose generic addresses lie in each state space, and these addresses there.
fn split_generic(mut addresses: [u64; LANES], mask: u32) -> ([u64; LANES], Parts) {
    let mut parts = [
        (Space::Global, 0),
        (Space::Shared, 0),
        (Space::Local, 0),
        (Space::Param, 0),
        (Space::SharedCluster, 0),
    ];
    /// Of other blocks of the cluster.
    const OTHER_BLOCKS: u64 = windows::SHARED + windows::BLOCK_SIZE;
    for lane in lanes_of(mask) {
        let address = addresses[lane];
        let (part, base) = match address {
            windows::SHARED..OTHER_BLOCKS => (1, windows::SHARED),
            OTHER_BLOCKS..windows::LOCAL => (4, windows::SHARED),
            windows::LOCAL..windows::PARAMETERS => (2, windows::LOCAL),
            a if a >= windows::PARAMETERS && a - windows::PARAMETERS < windows::SIZE => {
                (3, windows::PARAMETERS)
            }
            _ => (0, 0),
        };
        parts[part].1 |= 1 << lane;
        addresses[lane] = address - base;
    }
    (addresses, parts)
}

impl Engine<'_> {
    pub(super) fn load(
        &mut self,
        block: &mut Block,
        warp: &mut Warp,
        pc: Pc,
        active: u32,
        op: &MemoryOp,
    ) -> Result<(), Fail> {
        let addresses = addresses(warp, &op.address);
        let size = op.ty.bytes() as usize;
        let mut bytes: LaneBytes = [[0; 16]; LANES];
        let access = WarpAccess {
            kind: AccessKind::Read,
            strength: op.strength,
            order: SyncSemantics { acquire: op.synchronizes, release: false },
            size: size * op.elements.len(),
            align: (size * op.elements.len()) as u64,
            addresses: &addresses,
            mask: active,
            pc,
            reads_unwritten: false,
            moment: None,
        };
        if op.strength != Strength::Weak {
            warp.may_spin = true;
        }
        let unwritten = self.load_bytes(block, warp, op.space, &access, &mut bytes)?;
        for (index, element) in op.elements.iter().enumerate() {
            set_element(warp, element, op.ty, &bytes, index * size, active);
            let at = |lane: usize| addresses[lane].wrapping_add((index * size) as u64);
            let garbage = lanes_of(unwritten)
                .filter(|lane| !self.is_written(block, warp, op.space, *lane, at(*lane), size));
            let garbage = mask_of(garbage);
            warp.mark_loaded(element.slot, garbage, active);
        }
        Ok(())
    }

    /// Loads from any state space. Gives the lanes whose bytes nothing has written, not all of them.
    pub(super) fn load_bytes(
        &mut self,
        block: &mut Block,
        warp: &mut Warp,
        space: Space,
        access: &WarpAccess<'_>,
        bytes: &mut LaneBytes,
    ) -> Result<u32, Fail> {
        let result = match space {
            Space::Global => {
                let memory = self.launch.memory;
                let (cache, tally) = (&mut self.cache, &mut self.tally);
                memory.load(cache, &mut block.clocks, warp.index, access, bytes, tally)
            }
            // Constant memory is ordinary memory that nobody writes; it has caches of its own.
            Space::Const => {
                let memory = self.launch.memory;
                let mut apart = Tally::default();
                memory.load(&mut self.cache, &mut block.clocks, warp.index, access, bytes, &mut apart)
            }
            Space::Shared => block.shared.load(&mut block.clocks, warp.index, access, bytes, &mut self.tally),
            Space::Local => warp.local.load(access, bytes),
            Space::Param => self.load_parameters(access, bytes),
            Space::Generic => {
                let (addresses, parts) = split_generic(*access.addresses, access.mask);
                let mut unwritten = 0;
                for (space, mask) in parts {
                    if mask != 0 {
                        let access = WarpAccess { addresses: &addresses, mask, ..*access };
                        unwritten |= self.load_bytes(block, warp, space, &access, bytes)?;
                    }
                }
                return Ok(unwritten);
            }
            Space::SharedCluster => {
                let mut unwritten = 0;
                for (rank, mask, addresses) in split_by_block(access.addresses, access.mask) {
                    let access = WarpAccess { addresses: &addresses, mask, ..*access };
                    unwritten |= self.load_cluster(block, warp, rank, &access, bytes)?;
                }
                return Ok(unwritten);
            }
        };
        match result {
            Ok(()) => Ok(0),
            Err(fault) if is_unwritten(&fault) && !access.reads_unwritten => {
                self.load_unwritten(block, warp, space, access, bytes, fault)
            }
            Err(fault) => Err(self.fault(block, warp, access.pc, fault)),
        }
    }

    /// A load that has come upon bytes that nothing has written.
    fn load_unwritten(
        &mut self,
        block: &mut Block,
        warp: &mut Warp,
        space: Space,
        access: &WarpAccess<'_>,
        bytes: &mut LaneBytes,
        fault: Fault,
    ) -> Result<u32, Fail> {
        let origin = if space == Space::Shared {
            block.origin(access.pc, fault)
        } else {
            Origin::new(access.pc, fault)
        };
        warp.note_unwritten(origin);
        let unwritten = lanes_of(access.mask)
            .filter(|lane| !self.is_written(block, warp, space, *lane, access.addresses[*lane], access.size));
        let unwritten = mask_of(unwritten);
        // The access has been counted, but for the bytes that nobody had touched.
        let counted = self.tally.clone();
        let access = WarpAccess { reads_unwritten: true, ..*access };
        self.load_bytes(block, warp, space, &access, bytes)?;
        let unique_bytes = self.tally.global_read.unique_bytes;
        self.tally = counted;
        self.tally.global_read.unique_bytes = unique_bytes;
        Ok(unwritten)
    }

    /// Whether all of some bytes have been written.
    pub(super) fn is_written(
        &self,
        block: &Block,
        warp: &Warp,
        space: Space,
        lane: usize,
        address: u64,
        size: usize,
    ) -> bool {
        match space {
            Space::Shared => block.shared.is_written(address, size),
            Space::Local => warp.local.is_written(lane, address, size),
            Space::Global => self.launch.memory.is_initialized(address, size as u64),
            Space::Generic => {
                let (addresses, parts) = split_generic([address; LANES], 1);
                let within = parts.iter().find(|(_, mask)| *mask != 0).map_or(Space::Global, |part| part.0);
                self.is_written(block, warp, within, lane, addresses[0], size)
            }
            Space::SharedCluster => {
                let (rank, local) = windows::split_cluster(address);
                let other = rank.filter(|rank| *rank != block.rank());
                let host = other.map_or(Some(block), |rank| self.live.peer_ref(block.place, rank));
                host.is_none_or(|host| host.shared.is_written(local, size))
            }
            Space::Const | Space::Param => true,
        }
    }

    /// Loads from the shared memory of the block of a rank, at addresses there.
    fn load_cluster(
        &mut self,
        block: &mut Block,
        warp: &mut Warp,
        rank: Option<usize>,
        access: &WarpAccess<'_>,
        bytes: &mut LaneBytes,
    ) -> Result<u32, Fail> {
        let Some(rank) = rank.filter(|rank| *rank != block.rank()) else {
            return self.load_bytes(block, warp, Space::Shared, access, bytes);
        };
        self.visit(block, warp, access.pc, access.mask, rank)?;
        let Some(host) = self.live.peer(block.place, rank) else { return Ok(0) };
        let loaded = host.shared.load(&mut block.clocks, warp.index, access, bytes, &mut self.tally);
        let fault = match loaded {
            Ok(()) => return Ok(0),
            Err(fault) if is_unwritten(&fault) && !access.reads_unwritten => fault,
            Err(fault) => return Err(self.remote_fault(block, warp, access.pc, rank, fault)),
        };
        warp.note_unwritten(host.origin(access.pc, fault));
        let is_written = |lane: &usize| host.shared.is_written(access.addresses[*lane], access.size);
        let unwritten = mask_of(lanes_of(access.mask).filter(|lane| !is_written(lane)));
        // The access has been counted.
        let mut apart = Tally::default();
        let access = WarpAccess { reads_unwritten: true, ..*access };
        let loaded = host.shared.load(&mut block.clocks, warp.index, &access, bytes, &mut apart);
        loaded.map_err(|fault| self.remote_fault(block, warp, access.pc, rank, fault))?;
        Ok(unwritten)
    }

    /// A violation that the shared memory of the block of a rank found.
    fn remote_fault(&self, block: &Block, warp: &Warp, pc: Pc, rank: usize, mut fault: Fault) -> Fail {
        if rank != block.rank() {
            fault.message.push_str(&format!(" (in the memory of {})", self.name_of_rank(block, rank)));
        }
        self.fault(block, warp, pc, fault)
    }

    /// What lanes have stored to shared or local memory was garbage: the memory is as it was, unwritten.
    #[expect(clippy::too_many_arguments, reason = "one store: who, where and what")]
    fn set_unwritten(
        &mut self,
        block: &mut Block,
        warp: &mut Warp,
        space: Space,
        addresses: &[u64; LANES],
        size: usize,
        lanes: u32,
        origin: Option<&Arc<Origin>>,
    ) {
        let access = WarpAccess {
            kind: AccessKind::Write,
            strength: Strength::Weak,
            order: SyncSemantics::default(),
            size,
            align: 1,
            addresses,
            mask: lanes,
            pc: 0,
            reads_unwritten: false,
            moment: None,
        };
        match space {
            Space::Generic => {
                let (addresses, parts) = split_generic(*addresses, lanes);
                for (space, mask) in parts {
                    self.set_unwritten(block, warp, space, &addresses, size, mask, origin);
                }
            }
            Space::SharedCluster => {
                for (rank, mask, addresses) in split_by_block(addresses, lanes) {
                    if let Some(host) = self.live.in_cluster(block, rank.unwrap_or(block.rank())) {
                        host.set_unwritten(&WarpAccess { addresses: &addresses, mask, ..access }, origin);
                    }
                }
            }
            Space::Shared => block.set_unwritten(&access, origin),
            Space::Local => warp.local.set_unwritten(&access),
            _ => {}
        }
    }

    fn load_parameters(&self, access: &WarpAccess<'_>, bytes: &mut LaneBytes) -> Result<(), Fault> {
        for lane in lanes_of(access.mask) {
            let address = access.addresses[lane];
            let fault = |kind, message| Fault { kind, lane, address, message, prior: None };
            let start = usize::try_from(address).unwrap_or(usize::MAX);
            let end = start.saturating_add(access.size);
            let Some(source) = self.launch.parameters.get(start..end) else {
                let message = format!(
                    "{} bytes at {address:#x} of parameters that take {} bytes",
                    access.size,
                    self.launch.parameters.len()
                );
                return Err(fault(ViolationKind::OutOfBounds, message));
            };
            if !address.is_multiple_of(access.align) {
                let message =
                    format!("parameters at {address:#x}, which is not a multiple of {}", access.align);
                return Err(fault(ViolationKind::Misaligned, message));
            }
            bytes[lane][..access.size].copy_from_slice(source);
        }
        Ok(())
    }

    pub(super) fn store(
        &mut self,
        block: &mut Block,
        warp: &mut Warp,
        pc: Pc,
        active: u32,
        op: &MemoryOp,
    ) -> Result<(), Fail> {
        let addresses = addresses(warp, &op.address);
        let size = op.ty.bytes() as usize;
        let mut bytes: LaneBytes = [[0; 16]; LANES];
        for (index, element) in op.elements.iter().enumerate() {
            get_element(warp, element, size, &mut bytes, index * size);
        }
        let access = WarpAccess {
            kind: AccessKind::Write,
            strength: op.strength,
            order: SyncSemantics { acquire: false, release: op.synchronizes },
            size: size * op.elements.len(),
            align: (size * op.elements.len()) as u64,
            addresses: &addresses,
            mask: active,
            pc,
            reads_unwritten: false,
            moment: None,
        };
        self.progress += 1;
        self.store_bytes(block, warp, op.space, &access, &bytes)?;
        for (index, element) in op.elements.iter().enumerate() {
            let unwritten = warp.unwritten(element.slot) & active;
            if unwritten != 0 {
                let addresses = addresses.map(|address| address.wrapping_add((index * size) as u64));
                let origin = warp.origin(element.slot);
                self.set_unwritten(block, warp, op.space, &addresses, size, unwritten, origin.as_ref());
            }
        }
        Ok(())
    }

    /// Stores to any state space.
    fn store_bytes(
        &mut self,
        block: &mut Block,
        warp: &mut Warp,
        space: Space,
        access: &WarpAccess<'_>,
        bytes: &LaneBytes,
    ) -> Result<(), Fail> {
        let result = match space {
            Space::Global => {
                if let Some(fault) = source_overwritten(block, warp, access) {
                    return Err(self.fault(block, warp, access.pc, fault));
                }
                let memory = self.launch.memory;
                let (cache, tally) = (&mut self.cache, &mut self.tally);
                memory.store(cache, &mut block.clocks, warp.index, access, bytes, tally)
            }
            Space::Shared => {
                block.shared.store(&mut block.clocks, warp.index, access, bytes, &mut self.tally)
            }
            Space::Local => warp.local.store(access, bytes),
            Space::Generic => {
                let (addresses, parts) = split_generic(*access.addresses, access.mask);
                for (space, mask) in parts {
                    if mask != 0 {
                        let access = WarpAccess { addresses: &addresses, mask, ..*access };
                        self.store_bytes(block, warp, space, &access, bytes)?;
                    }
                }
                Ok(())
            }
            Space::Param | Space::Const => {
                let lane = access.mask.trailing_zeros() as usize & 31;
                Err(Fault {
                    kind: ViolationKind::ReadOnly,
                    lane,
                    address: access.addresses[lane],
                    message: "a store to the kernel's parameters".into(),
                    prior: None,
                })
            }
            Space::SharedCluster => {
                for (rank, mask, addresses) in split_by_block(access.addresses, access.mask) {
                    let rank = rank.unwrap_or(block.rank());
                    self.visit(block, warp, access.pc, mask, rank)?;
                    let access = WarpAccess { addresses: &addresses, mask, ..*access };
                    let Some((shared, clocks)) = self.live.shared_of(block, rank) else { continue };
                    let stored = shared.store(clocks, warp.index, &access, bytes, &mut self.tally);
                    stored.map_err(|fault| self.remote_fault(block, warp, access.pc, rank, fault))?;
                }
                Ok(())
            }
        };
        result.map_err(|fault| self.fault(block, warp, access.pc, fault))
    }

    pub(super) fn atomic(
        &mut self,
        block: &mut Block,
        warp: &mut Warp,
        pc: Pc,
        active: u32,
        op: &AtomicOp,
    ) -> Result<(), Fail> {
        let size = op.operation.ty.bytes() as usize;
        let mut addresses = addresses(warp, &op.address);
        let mut parts = undivided(op.space, active);
        if op.space == Space::Generic {
            (addresses, parts) = split_generic(addresses, active);
        }
        let [b, c] = op.sources.map(|source| wide_values(warp, &source));
        let mut old = [0; LANES];
        let mut changed = false;
        let order = AtomicOrder { acquire: op.acquire, release: op.release, reduction: op.reduction };
        for (space, mask) in parts {
            if mask == 0 {
                continue;
            }
            let access = WarpAccess {
                kind: AccessKind::Atomic,
                strength: Strength::Strong(op.scope),
                order: SyncSemantics::default(),
                size,
                align: size as u64,
                addresses: &addresses,
                mask,
                pc,
                reads_unwritten: false,
                moment: None,
            };
            let mut update = |lane: usize, old: u64| {
                // Sums in global memory lose subnormal numbers, those in shared memory do not.
                let new = op.operation.apply(old, b[lane], c[lane], space == Space::Global);
                changed |= new != old;
                new
            };
            let result = match space {
                Space::Global => {
                    let memory = self.launch.memory;
                    let (cache, tally) = (&mut self.cache, &mut self.tally);
                    memory.atomic(
                        cache,
                        &mut block.clocks,
                        warp.index,
                        &access,
                        order,
                        &mut update,
                        &mut old,
                        tally,
                    )
                }
                Space::Shared => block.shared.atomic(
                    &mut block.clocks,
                    warp.index,
                    &access,
                    order,
                    &mut update,
                    &mut old,
                    &mut self.tally,
                ),
                Space::SharedCluster => {
                    for (rank, mask, addresses) in split_by_block(&addresses, mask) {
                        let rank = rank.unwrap_or(block.rank());
                        self.visit(block, warp, pc, mask, rank)?;
                        let access = WarpAccess { addresses: &addresses, mask, ..access };
                        let Some((shared, clocks)) = self.live.shared_of(block, rank) else { continue };
                        let done = shared.atomic(
                            clocks,
                            warp.index,
                            &access,
                            order,
                            &mut update,
                            &mut old,
                            &mut self.tally,
                        );
                        done.map_err(|fault| self.remote_fault(block, warp, pc, rank, fault))?;
                    }
                    Ok(())
                }
                _ => {
                    let lane = mask.trailing_zeros() as usize & 31;
                    Err(Fault {
                        kind: ViolationKind::InvalidOperand,
                        lane,
                        address: addresses[lane],
                        message: "an atomic operation on memory that is neither global nor shared".into(),
                        prior: None,
                    })
                }
            };
            result.map_err(|fault| self.fault(block, warp, pc, fault))?;
        }
        if changed {
            self.progress += 1;
        } else {
            // A lock that was taken, a flag that was not set.
            warp.may_spin = true;
        }
        if let Some(element) = &op.old {
            let mut bytes: LaneBytes = [[0; 16]; LANES];
            for lane in 0..LANES {
                bytes[lane][..8].copy_from_slice(&old[lane].to_le_bytes());
            }
            set_element(warp, element, op.operation.ty, &bytes, 0, active);
        }
        Ok(())
    }
}

/// Whether a fault is a read of what nothing has written.
pub(super) fn is_unwritten(fault: &Fault) -> bool {
    matches!(
        fault.kind,
        ViolationKind::UninitializedShared
            | ViolationKind::UninitializedGlobal
            | ViolationKind::UninitializedLocal
    )
}

impl Block {
    /// What lanes have stored to its shared memory was garbage, which came from `origin`.
    fn set_unwritten(&mut self, access: &WarpAccess<'_>, origin: Option<&Arc<Origin>>) {
        if let Some(origin) = origin {
            let places = lanes_of(access.mask).map(|lane| (access.addresses[lane], Arc::clone(origin)));
            self.garbage.extend(places);
        }
        self.shared.set_unwritten(access);
    }
}

/// A register's lanes as 64 bits, zero-extended.
fn wide_values(warp: &Warp, element: &Element) -> [u64; LANES] {
    if element.wide() {
        warp.lanes.get64(element.slot)
    } else {
        warp.lanes.get32(element.slot).map(u64::from)
    }
}

/// Puts a register's lanes at `offset` of each lane's bytes.
pub(super) fn get_element(warp: &Warp, element: &Element, size: usize, bytes: &mut LaneBytes, offset: usize) {
    if element.wide() {
        let values = warp.lanes.get64(element.slot);
        for lane in 0..LANES {
            bytes[lane][offset..offset + size].copy_from_slice(&values[lane].to_le_bytes()[..size]);
        }
    } else if size == 4 {
        let values = warp.lanes.get32(element.slot);
        for lane in 0..LANES {
            bytes[lane][offset..offset + 4].copy_from_slice(&values[lane].to_le_bytes());
        }
    } else {
        let values = warp.lanes.get32(element.slot);
        for lane in 0..LANES {
            bytes[lane][offset..offset + size].copy_from_slice(&values[lane].to_le_bytes()[..size]);
        }
    }
}

/// Sets a register from the bytes at `offset` of each lane, extended to its width by the sign of `ty`.
fn set_element(warp: &mut Warp, element: &Element, ty: Type, bytes: &LaneBytes, offset: usize, active: u32) {
    let size = ty.bytes() as usize;
    if size == 4 && element.bits == 32 {
        let mut values = [0; LANES];
        for lane in 0..LANES {
            let word = &bytes[lane][offset..offset + 4];
            values[lane] = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
        }
        return warp.lanes.set32(element.slot, &values, active);
    }
    let mut values = [0u64; LANES];
    for lane in 0..LANES {
        let mut word = [0; 8];
        word[..size].copy_from_slice(&bytes[lane][offset..offset + size]);
        let shift = 64 - 8 * size as u32;
        let value = u64::from_le_bytes(word) << shift;
        values[lane] = if ty.is_signed() { (value as i64 >> shift) as u64 } else { value >> shift };
    }
    if element.wide() {
        warp.lanes.set64(element.slot, &values, active);
    } else {
        // Registers of 16 bits lie zero-extended in their rows.
        let keep = if element.bits >= 32 { u32::MAX } else { (1 << element.bits) - 1 };
        warp.lanes.set32(element.slot, &values.map(|value| value as u32 & keep), active);
    }
}
