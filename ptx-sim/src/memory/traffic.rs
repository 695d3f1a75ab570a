//! What accesses cost: sectors of global memory, passes through the banks of shared memory.

use super::WarpAccess;
use super::runs::lanes_of;
use super::shape::{Pattern, Shape};
use crate::count::Tally;
use crate::program::LANES;
use crate::report::{GlobalTraffic, SharedTraffic};

const SECTOR: u64 = 32;
/// Bytes that the banks deliver in one pass: 32 banks of 4 bytes.
const BANKS_WIDTH: usize = 128;

/// The different 32-byte sectors that a warp's access touches. Addresses are multiples of `size`.
pub(crate) fn sectors(addresses: &[u64; LANES], mask: u32, size: usize) -> u32 {
    let last_byte = size.max(1) as u64 - 1;
    let mut list = [0; LANES];
    let mut count = 0;
    let mut ascending = true;
    for lane in (0..LANES).filter(|lane| mask >> lane & 1 != 0) {
        let sector = addresses[lane].saturating_add(last_byte) / SECTOR;
        if count == 0 || list[count - 1] != sector {
            ascending &= count == 0 || list[count - 1] < sector;
            list[count] = sector;
            count += 1;
        }
    }
    if !ascending {
        list[..count].sort_unstable();
        let mut different = 1;
        for index in 1..count {
            different += usize::from(list[index] != list[index - 1]);
        }
        count = different;
    }
    count as u32
}

/// The passes through the banks that a warp's access takes, and the least that it could: 8-byte accesses go by half
/// warps, 16-byte ones by quarters; lanes that share a word share its delivery.
pub(crate) fn bank_wavefronts(addresses: &[u64; LANES], mask: u32, size: usize) -> (u32, u32) {
    // Aligned accesses of 8 or 16 bytes take 2 or 4 neighbouring banks: one wider bank.
    let unit = size.clamp(4, 16);
    let (banks, lanes) = (BANKS_WIDTH / unit, LANES.min(BANKS_WIDTH / unit));
    let (mut passes, mut least) = (0, 0);
    for phase in (0..LANES).step_by(lanes) {
        let mask = mask >> phase & (u32::MAX >> (LANES - lanes));
        if mask != 0 {
            passes += phase_wavefronts(&addresses[phase..phase + lanes], mask, unit.trailing_zeros(), banks);
            least += 1;
        }
    }
    (passes, least)
}

/// Of words of `2^unit` bytes.
fn phase_wavefronts(addresses: &[u64], mask: u32, unit: u32, banks: usize) -> u32 {
    let mut occupied = 0u32;
    let mut active = 0;
    for (lane, address) in addresses.iter().enumerate() {
        let bit = mask >> lane & 1;
        occupied |= bit << ((address >> unit) as usize & (banks - 1));
        active += bit;
    }
    if occupied.count_ones() == active {
        return 1;
    }
    // The lanes whose words were found in each bank, each word once.
    let mut found = [0u32; 32];
    for lane in lanes_of(mask) {
        let word = addresses[lane] >> unit;
        let bank = &mut found[word as usize & (banks - 1)];
        if !lanes_of(*bank).any(|other| addresses[other] >> unit == word) {
            *bank |= 1 << lane;
        }
    }
    found.into_iter().map(u32::count_ones).max().unwrap_or(1)
}

/// [`bank_wavefronts`] of an access whose shape is known.
fn wavefronts(access: &WarpAccess<'_>, shape: &Shape) -> (u32, u32) {
    let whole = access.mask == u32::MAX;
    let phases = (access.size / 4).max(1) as u32;
    match shape.pattern {
        // Neighbours lie in different banks.
        Pattern::Contiguous | Pattern::Same if whole => (phases, phases),
        _ if access.size <= 4 && shape.has_distinct_banks() => (1, 1),
        _ => bank_wavefronts(access.addresses, access.mask, access.size),
    }
}

impl GlobalTraffic {
    pub(super) fn add(&mut self, access: &WarpAccess<'_>, shape: &Shape) {
        let start = access.addresses[shape.first];
        let bytes = shape.count as u64 * access.size as u64;
        let sectors = match shape.pattern {
            Pattern::Same => 1,
            // Aligned addresses: each lane is in one sector.
            Pattern::Contiguous
                if start & (access.size as u64 - 1) == 0 && start.checked_add(bytes).is_some() =>
            {
                (start + bytes - 1) / SECTOR - start / SECTOR + 1
            }
            _ => u64::from(sectors(access.addresses, access.mask, access.size)),
        };
        self.requests += 1;
        self.requested_bytes += bytes;
        self.sectors += sectors;
        self.issued_bytes += sectors * SECTOR;
    }

    /// Bytes that follow each other, of a bulk copy.
    pub(super) fn add_range(&mut self, address: u64, bytes: u64) {
        let end = address.saturating_add(bytes);
        let sectors = if bytes == 0 { 0 } else { (end - 1) / SECTOR - address / SECTOR + 1 };
        self.requests += 1;
        self.requested_bytes += bytes;
        self.sectors += sectors;
        self.issued_bytes += sectors * SECTOR;
    }
}

impl Tally {
    /// Bytes of shared memory that a bulk copy writes or reads, without conflicts.
    pub fn add_shared_bulk(&mut self, bytes: u64, writes: bool) {
        let traffic = if writes { &mut self.shared_written } else { &mut self.shared_read };
        traffic.requests += 1;
        traffic.requested_bytes += bytes;
        traffic.wavefronts += bytes.div_ceil(BANKS_WIDTH as u64);
    }
}

impl SharedTraffic {
    /// The conflicts of this access alone.
    fn add(&mut self, access: &WarpAccess<'_>, shape: &Shape) -> u64 {
        let (passes, least) = wavefronts(access, shape);
        let conflicts = u64::from(passes - least);
        self.requests += 1;
        self.requested_bytes += shape.count as u64 * access.size as u64;
        self.wavefronts += u64::from(passes);
        self.conflicts += conflicts;
        conflicts
    }
}

impl Tally {
    pub(super) fn add_shared_read(&mut self, access: &WarpAccess<'_>, shape: &Shape) {
        let conflicts = self.shared_read.add(access, shape);
        self.note_conflicts(access.pc, conflicts);
    }

    pub(super) fn add_shared_written(&mut self, access: &WarpAccess<'_>, shape: &Shape) {
        let conflicts = self.shared_written.add(access, shape);
        self.note_conflicts(access.pc, conflicts);
    }
}
