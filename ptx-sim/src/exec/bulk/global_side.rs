//! The side of a copy that lies in global memory: bytes that follow each other, or a tile of a tensor.

use std::ops::Range;

use super::super::access::addresses;
use super::super::fault::Fail;
use super::super::warp::Warp;
use super::super::{Block, Engine};
use crate::program::{GlobalSide, Pc};
use crate::tensor_map::{Row, TensorMap, Tile};
use crate::violation::ViolationKind;

/// What sizes and addresses of bulk copies are multiples of.
pub(super) const UNIT: u64 = 16;
/// What the address of a tile in shared memory is a multiple of.
const TILE_ALIGN: u64 = 128;

/// The global side of one copy.
#[derive(Debug)]
pub(in crate::exec) enum Global {
    Bytes { address: u64, bytes: usize },
    Tile { map: TensorMap, coordinates: [i32; 5] },
}

impl Global {
    /// What its address in shared memory must be a multiple of.
    pub fn shared_align(&self) -> u64 {
        match self {
            Self::Bytes { .. } => UNIT,
            Self::Tile { .. } => TILE_ALIGN,
        }
    }

    /// Bytes that are copied.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Bytes { bytes, .. } => *bytes,
            Self::Tile { map, coordinates } => Tile::new(map, coordinates).bytes(),
        }
    }

    /// Bytes that it takes in shared memory.
    pub fn shared_bytes(&self) -> usize {
        match self {
            Self::Bytes { bytes, .. } => *bytes,
            Self::Tile { map, coordinates } => Tile::new(map, coordinates).shared_bytes(),
        }
    }

    /// The parts that are there in global memory, in order.
    pub fn rows(&self) -> Vec<Row> {
        match self {
            Self::Bytes { address, bytes } => vec![Row { bytes: 0..*bytes, address: *address }],
            Self::Tile { map, coordinates } => Tile::new(map, coordinates).rows(),
        }
    }

    /// The parts as runs of global memory: rows that follow each other there as one.
    pub fn runs(&self) -> Vec<(u64, usize)> {
        let rows = self.rows();
        let follows = |one: &Row, next: &Row| one.address + one.bytes.len() as u64 == next.address;
        let whole = |run: &[Row]| {
            let bytes = run.iter().map(|row| row.bytes.len()).sum();
            (run.first().map_or(0, |row| row.address), bytes)
        };
        rows.chunk_by(follows).map(whole).collect()
    }

    /// Where its bytes lie in shared memory, once [`Self::swizzle`] has been applied to them.
    pub fn places(&self, address: u64) -> Vec<(u64, Range<usize>)> {
        match self {
            Self::Bytes { bytes, .. } => vec![(address, 0..*bytes)],
            Self::Tile { map, coordinates } => Tile::new(map, coordinates).places(address),
        }
    }

    /// Brings the bytes of a tile into the order in which they lie in shared memory, or back.
    pub fn swizzle(&self, address: u64, bytes: &mut [u8]) {
        if let Self::Tile { map, coordinates } = self {
            Tile::new(map, coordinates).swizzle(address, bytes);
        }
    }

    /// Its bytes as they are where nothing is there in global memory.
    pub fn filled(&self) -> Vec<u8> {
        match self {
            Self::Bytes { bytes, .. } => vec![0; *bytes],
            Self::Tile { map, coordinates } => Tile::new(map, coordinates).filled(),
        }
    }

    /// What a load makes of elements.
    pub fn convert(&self, bytes: &mut [u8]) {
        if let Self::Tile { map, .. } = self {
            map.data_type.convert_loaded(bytes);
        }
    }
}

impl Engine<'_> {
    /// The global side of a lane's copy, its operands checked.
    pub(super) fn global_side(
        &mut self,
        block: &Block,
        warp: &Warp,
        pc: Pc,
        lane: usize,
        side: &GlobalSide,
    ) -> Result<Global, Fail> {
        match side {
            GlobalSide::Bytes { address, bytes } => {
                let address = addresses(warp, address)[lane];
                let bytes = warp.lanes.get32(*bytes)[lane];
                self.check_size(block, warp, pc, lane, bytes)?;
                self.check_align(block, warp, pc, lane, "the address in global memory", address, UNIT)?;
                Ok(Global::Bytes { address, bytes: bytes as usize })
            }
            GlobalSide::Tile { map, coordinates } => {
                let map = self.tensor_map(block, warp, pc, lane, map)?;
                if map.dims.len() != coordinates.len() {
                    let message = format!(
                        "{} coordinates for a tensor map of {} dimensions",
                        coordinates.len(),
                        map.dims.len()
                    );
                    return Err(self.fail(block, warp, pc, lane, ViolationKind::InvalidOperand, message));
                }
                let mut place = [0; 5];
                for (place, slot) in place.iter_mut().zip(coordinates) {
                    *place = warp.lanes.get32(*slot)[lane] as i32;
                }
                Ok(Global::Tile { map, coordinates: place })
            }
        }
    }

    /// A number of bytes to copy.
    pub(super) fn check_size(
        &self,
        block: &Block,
        warp: &Warp,
        pc: Pc,
        lane: usize,
        bytes: u32,
    ) -> Result<(), Fail> {
        if bytes != 0 && u64::from(bytes).is_multiple_of(UNIT) {
            return Ok(());
        }
        let message =
            format!("a bulk copy of {bytes} bytes: the size must be a multiple of {UNIT}, and not 0");
        Err(self.fail(block, warp, pc, lane, ViolationKind::InvalidOperand, message))
    }

    #[expect(clippy::too_many_arguments, reason = "the place of a report, and what it is about")]
    pub(super) fn check_align(
        &self,
        block: &Block,
        warp: &Warp,
        pc: Pc,
        lane: usize,
        what: &str,
        address: u64,
        align: u64,
    ) -> Result<(), Fail> {
        if address.is_multiple_of(align) {
            return Ok(());
        }
        let message = format!("{what} of a bulk copy must be a multiple of {align}");
        let mut fail = self.fail(block, warp, pc, lane, ViolationKind::Misaligned, message);
        fail.address = Some(address);
        Err(fail)
    }
}
