//! A tensor map as 128 bytes. The hardware's own form is not public; this one has a checksum, so that a kernel which is given
//! anything else is found out.

use super::{TensorFill, TensorInterleave, TensorL2Promotion, TensorMap, TensorSwizzle, TensorType};
use crate::error::TensorMapError;

const MAGIC: [u8; 8] = *b"ptxTMAP1";

const TYPE: usize = 8;
const RANK: usize = 9;
const SWIZZLE: usize = 10;
const PROMOTION: usize = 11;
const FILL: usize = 12;
const ADDRESS: usize = 16;
const DIMS: usize = 24;
const STRIDES: usize = 64;
const BOX: usize = 96;
const ELEMENT_STRIDES: usize = 106;
const CHECKSUM: usize = 120;

const SWIZZLES: [TensorSwizzle; 4] =
    [TensorSwizzle::None, TensorSwizzle::Bytes32, TensorSwizzle::Bytes64, TensorSwizzle::Bytes128];
const PROMOTIONS: [TensorL2Promotion; 4] = [
    TensorL2Promotion::None,
    TensorL2Promotion::Bytes64,
    TensorL2Promotion::Bytes128,
    TensorL2Promotion::Bytes256,
];
const FILLS: [TensorFill; 2] = [TensorFill::Zeros, TensorFill::Nan];

/// FNV-1a of 64 bits.
fn checksum(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The place of a value in a table: the byte that stands for it.
fn index_of<T: PartialEq>(table: &[T], value: &T) -> u8 {
    table.iter().position(|one| one == value).unwrap_or_default() as u8
}

fn garbage(given: &str) -> TensorMapError {
    TensorMapError { field: "bytes".into(), given: given.into(), expected: "an encoded tensor map".into() }
}

impl TensorMap {
    /// As a kernel takes it: a parameter of 128 bytes aligned to 64, or so many bytes in constant or global memory.
    pub fn encode(&self) -> Result<[u8; 128], TensorMapError> {
        self.check()?;
        let mut bytes = [0; 128];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[TYPE] = index_of(TensorType::ALL, &self.data_type);
        bytes[RANK] = self.dims.len() as u8;
        bytes[SWIZZLE] = index_of(&SWIZZLES, &self.swizzle);
        bytes[PROMOTION] = index_of(&PROMOTIONS, &self.l2_promotion);
        bytes[FILL] = index_of(&FILLS, &self.fill);
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(ADDRESS, &self.address.to_le_bytes());
        for (index, dim) in self.dims.iter().enumerate() {
            put(DIMS + 8 * index, &dim.to_le_bytes());
        }
        for (index, stride) in self.strides.iter().enumerate() {
            put(STRIDES + 8 * index, &stride.to_le_bytes());
        }
        for (index, size) in self.box_dims.iter().enumerate() {
            put(BOX + 2 * index, &(*size as u16).to_le_bytes());
        }
        for (index, stride) in self.element_strides.iter().enumerate() {
            put(ELEMENT_STRIDES + index, &[*stride as u8]);
        }
        let sum = checksum(&bytes[..CHECKSUM]);
        bytes[CHECKSUM..].copy_from_slice(&sum.to_le_bytes());
        Ok(bytes)
    }

    /// What [`Self::encode`] made.
    pub fn decode(bytes: &[u8; 128]) -> Result<Self, TensorMapError> {
        let word = |at: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[at..at + 8]);
            u64::from_le_bytes(word)
        };
        if bytes[..8] != MAGIC {
            return Err(garbage("something else"));
        }
        if word(CHECKSUM) != checksum(&bytes[..CHECKSUM]) {
            return Err(garbage("one with damage: its checksum is wrong"));
        }
        let rank = usize::from(bytes[RANK]);
        let unknown = || garbage("one with unknown values");
        if !(1..=5).contains(&rank) {
            return Err(unknown());
        }
        let map = Self {
            data_type: *TensorType::ALL.get(usize::from(bytes[TYPE])).ok_or_else(unknown)?,
            address: word(ADDRESS),
            dims: (0..rank).map(|index| word(DIMS + 8 * index)).collect(),
            strides: (0..rank - 1).map(|index| word(STRIDES + 8 * index)).collect(),
            box_dims: (0..rank)
                .map(|index| u16::from_le_bytes([bytes[BOX + 2 * index], bytes[BOX + 2 * index + 1]]).into())
                .collect(),
            element_strides: (0..rank).map(|index| bytes[ELEMENT_STRIDES + index].into()).collect(),
            interleave: TensorInterleave::None,
            swizzle: *SWIZZLES.get(usize::from(bytes[SWIZZLE])).ok_or_else(unknown)?,
            l2_promotion: *PROMOTIONS.get(usize::from(bytes[PROMOTION])).ok_or_else(unknown)?,
            fill: *FILLS.get(usize::from(bytes[FILL])).ok_or_else(unknown)?,
        };
        map.check()?;
        Ok(map)
    }
}
