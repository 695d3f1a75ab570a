//! A warp's registers: one row of 32 lanes for each 32-bit register, so that one instruction is a loop over a row
//! that the compiler vectorises.

use std::sync::Arc;

/// Lanes of a warp.
pub(crate) const LANES: usize = 32;

/// One 32-bit register of all lanes. A register of 64 bits takes two rows, which together are `[u64; 32]`; one of
/// 8 or 16 bits takes a row of its own, zero-extended.
#[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
pub(crate) struct Row(pub [u32; LANES]);

/// Where an operand lies: a row of the warp, a row of the constants that all warps share, or a predicate. A slot's
/// width is known to the instruction, not to the slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Slot(u32);

impl Slot {
    const CONSTANT: u32 = 1 << 31;
    const NEGATED: u32 = 1 << 30;
    const PREDICATE: u32 = 1 << 29;
    const INDEX: u32 = Self::PREDICATE - 1;

    /// A predicate.
    pub fn predicate(index: usize) -> Self {
        Self(index as u32 & Self::INDEX | Self::PREDICATE)
    }

    /// A row of the warp's registers.
    pub fn register(index: usize) -> Self {
        Self(index as u32 & Self::INDEX)
    }

    /// A row of the program's constants: immediates, broadcast.
    pub fn constant(index: usize) -> Self {
        Self(index as u32 & Self::INDEX | Self::CONSTANT)
    }

    /// The same predicate, read negated.
    pub fn negated(self) -> Self {
        Self(self.0 ^ Self::NEGATED)
    }

    /// The slot so many rows further: the upper half of a 128-bit register.
    pub fn offset(self, rows: usize) -> Self {
        Self(self.0 + rows as u32)
    }

    /// The place itself, whether read negated or not.
    pub fn place(self) -> Self {
        Self(self.0 & !Self::NEGATED)
    }

    /// What no instruction writes: constants, predicates that always hold, and operands that an instruction does not
    /// have, which stand at the first row.
    pub fn is_constant(self) -> bool {
        self.0 & Self::CONSTANT != 0 || self.index() == 0
    }

    /// Whether it is a predicate.
    pub fn is_predicate(self) -> bool {
        self.0 & Self::PREDICATE != 0
    }

    fn index(self) -> usize {
        (self.0 & Self::INDEX) as usize
    }
}

/// The register file of one warp.
#[derive(Clone, Debug)]
pub(crate) struct Lanes {
    rows: Vec<Row>,
    predicates: Vec<u32>,
    constants: Arc<[Row]>,
}

impl Lanes {
    /// The predicate that holds in every lane.
    pub const TRUE: usize = 0;
    /// The carry of `add.cc` and its like.
    pub const CARRY: usize = 1;
    /// The first predicate of a program's own.
    pub const FIRST_PREDICATE: usize = 2;

    /// Registers with `garbage` in them, for a program with so many rows and predicates.
    pub fn new(rows: usize, predicates: usize, constants: Arc<[Row]>, garbage: u32) -> Self {
        let mut lanes = Self {
            rows: vec![Row([garbage; LANES]); rows],
            predicates: vec![0; predicates.max(Self::FIRST_PREDICATE)],
            constants,
        };
        lanes.predicates[Self::TRUE] = u32::MAX;
        lanes
    }

    #[inline(always)]
    fn row(&self, slot: Slot, offset: usize) -> &Row {
        let table: &[Row] = if slot.0 & Slot::CONSTANT != 0 { &self.constants } else { &self.rows };
        &table[slot.index() + offset]
    }

    /// A 32-bit register, or a narrower one zero-extended.
    #[inline(always)]
    pub fn get32(&self, slot: Slot) -> [u32; LANES] {
        self.row(slot, 0).0
    }

    /// A 64-bit register.
    #[inline(always)]
    pub fn get64(&self, slot: Slot) -> [u64; LANES] {
        let table: &[Row] = if slot.0 & Slot::CONSTANT != 0 { &self.constants } else { &self.rows };
        let pair: &[Row; 2] = table[slot.index()..][..2].try_into().expect("two rows");
        bytemuck::cast(*pair)
    }

    /// A predicate: one bit for each lane.
    #[inline(always)]
    pub fn get_predicate(&self, slot: Slot) -> u32 {
        let flip = if slot.0 & Slot::NEGATED != 0 { u32::MAX } else { 0 };
        self.predicates[slot.index()] ^ flip
    }

    /// Writes the lanes of `mask`.
    #[inline(always)]
    pub fn set32(&mut self, slot: Slot, values: &[u32; LANES], mask: u32) {
        let row = &mut self.rows[slot.index()].0;
        if mask == u32::MAX {
            *row = *values;
        } else {
            let mut merged = *row;
            for lane in 0..LANES {
                merged[lane] = if mask >> lane & 1 != 0 { values[lane] } else { merged[lane] };
            }
            *row = merged;
        }
    }

    /// Writes the lanes of `mask`.
    #[inline(always)]
    pub fn set64(&mut self, slot: Slot, values: &[u64; LANES], mask: u32) {
        let pair: &mut [Row; 2] = (&mut self.rows[slot.index()..][..2]).try_into().expect("two rows");
        let row: &mut [u64; LANES] = bytemuck::cast_mut(pair);
        if mask == u32::MAX {
            *row = *values;
        } else {
            let mut merged = *row;
            for lane in 0..LANES {
                merged[lane] = if mask >> lane & 1 != 0 { values[lane] } else { merged[lane] };
            }
            *row = merged;
        }
    }

    /// Writes the lanes of `mask`.
    #[inline(always)]
    pub fn set_predicate(&mut self, slot: Slot, bits: u32, mask: u32) {
        let predicate = &mut self.predicates[slot.index()];
        *predicate = *predicate & !mask | bits & mask;
    }
}
