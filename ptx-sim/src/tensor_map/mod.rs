//! Tensor maps: how `cp.async.bulk.tensor` finds the tiles of a tensor in global memory, and how they lie in shared memory.

mod check;
mod convert;
mod encoding;
mod tile;

#[cfg(test)]
mod tests;

pub(crate) use tile::{Row, Tile};

use crate::alu::atomics::AtomicKind;
use crate::ptx::ast::Type;

/// What a tiled tensor map says: the arguments of the driver's `cuTensorMapEncodeTiled`, dimension 0 being the one whose elements
/// lie side by side.
///
/// A value is only a description. [`Self::check`] tells whether a driver would take it, and [`Self::encode`] makes the 128 bytes
/// that a simulated kernel takes as a parameter.
///
/// ```
/// use ptx_sim::{TensorMap, TensorSwizzle, TensorType};
///
/// // A row-major matrix of 1000 x 512 bf16 at an address of the device, in tiles of 128 x 64.
/// let address = 0x10_0000_0000;
/// let mut map = TensorMap::new(TensorType::Bf16, address, &[512, 1000], &[1024], &[64, 128]);
/// map.swizzle = TensorSwizzle::Bytes128;
/// assert_eq!(TensorMap::decode(&map.encode().unwrap()).unwrap(), map);
///
/// map.box_dims[0] = 128;
/// let error = map.encode().unwrap_err();
/// assert_eq!(error.to_string(), "tensor map: box_dims[0] is 256 bytes, expected at most the 128 bytes of the swizzle");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct TensorMap {
    /// The type of the elements.
    pub data_type: TensorType,
    /// Of the first element: a multiple of 16.
    pub address: u64,
    /// The tensor's size, in elements: 1 to 5 dimensions.
    pub dims: Vec<u64>,
    /// From one element to the next along dimension 1 and so on, in bytes: one less than there are dimensions.
    pub strides: Vec<u64>,
    /// The size of a tile, in elements, those that `element_strides` leaves out counted in.
    pub box_dims: Vec<u32>,
    /// The step within a tile along each dimension, in elements. That of dimension 0 has no effect.
    pub element_strides: Vec<u32>,
    /// Interleaved layouts.
    pub interleave: TensorInterleave,
    /// How 16-byte pieces of a tile are exchanged in shared memory.
    pub swizzle: TensorSwizzle,
    /// A hint to the cache.
    pub l2_promotion: TensorL2Promotion,
    /// What elements outside the tensor are loaded as.
    pub fill: TensorFill,
}

impl TensorMap {
    /// Every element of a tile, without interleaving, swizzle or promotion, and zeros outside the tensor.
    pub fn new(data_type: TensorType, address: u64, dims: &[u64], strides: &[u64], box_dims: &[u32]) -> Self {
        Self {
            data_type,
            address,
            dims: dims.to_vec(),
            strides: strides.to_vec(),
            box_dims: box_dims.to_vec(),
            element_strides: vec![1; dims.len()],
            interleave: TensorInterleave::None,
            swizzle: TensorSwizzle::None,
            l2_promotion: TensorL2Promotion::None,
            fill: TensorFill::Zeros,
        }
    }

    /// Bytes that a load of one tile adds to its mbarrier's count: those outside the tensor are counted, too. 0 where the map is not
    /// valid.
    pub fn tile_bytes(&self) -> u64 {
        if self.check().is_err() { 0 } else { Tile::new(self, &[0; 5]).bytes() as u64 }
    }
}

/// The type of a tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TensorType {
    /// `CU_TENSOR_MAP_DATA_TYPE_UINT8`; also that of fp8 and int8.
    U8,
    /// `…_UINT16`
    U16,
    /// `…_UINT32`
    U32,
    /// `…_INT32`
    S32,
    /// `…_UINT64`
    U64,
    /// `…_INT64`
    S64,
    /// `…_FLOAT16`
    F16,
    /// `…_FLOAT32`
    F32,
    /// `…_FLOAT64`
    F64,
    /// `…_BFLOAT16`
    Bf16,
    /// `…_FLOAT32_FTZ`: subnormal numbers become zeros.
    F32Ftz,
    /// `…_TFLOAT32`: f32 rounded to tf32.
    Tf32,
    /// `…_TFLOAT32_FTZ`
    Tf32Ftz,
}

impl TensorType {
    /// All of them, in the order of the driver's numbers.
    pub const ALL: &[Self] = &[
        Self::U8,
        Self::U16,
        Self::U32,
        Self::S32,
        Self::U64,
        Self::S64,
        Self::F16,
        Self::F32,
        Self::F64,
        Self::Bf16,
        Self::F32Ftz,
        Self::Tf32,
        Self::Tf32Ftz,
    ];

    /// Its name, such as `bf16` or `f32_ftz`.
    pub fn name(self) -> &'static str {
        match self {
            Self::U8 => "u8",
            Self::U16 => "u16",
            Self::U32 => "u32",
            Self::S32 => "s32",
            Self::U64 => "u64",
            Self::S64 => "s64",
            Self::F16 => "f16",
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::Bf16 => "bf16",
            Self::F32Ftz => "f32_ftz",
            Self::Tf32 => "tf32",
            Self::Tf32Ftz => "tf32_ftz",
        }
    }

    /// Bytes of an element: 1, 2, 4 or 8.
    pub fn bytes(self) -> u32 {
        match self {
            Self::U8 => 1,
            Self::U16 | Self::F16 | Self::Bf16 => 2,
            Self::U32 | Self::S32 | Self::F32 | Self::F32Ftz | Self::Tf32 | Self::Tf32Ftz => 4,
            Self::U64 | Self::S64 | Self::F64 => 8,
        }
    }

    /// Whether it has NaNs.
    pub fn is_float(self) -> bool {
        !matches!(self, Self::U8 | Self::U16 | Self::U32 | Self::S32 | Self::U64 | Self::S64)
    }

    /// What PTX calls the elements that a reduction works on.
    pub(crate) fn reduced(self, kind: AtomicKind) -> Type {
        match self {
            // Bits have the types of unsigned integers.
            Self::U32 | Self::S32 if kind.is_bitwise() => Type::B32,
            Self::U64 | Self::S64 if kind.is_bitwise() => Type::B64,
            Self::U8 => Type::U8,
            Self::U16 => Type::U16,
            Self::U32 => Type::U32,
            Self::S32 => Type::S32,
            Self::U64 => Type::U64,
            Self::S64 => Type::S64,
            Self::F16 => Type::F16,
            Self::Bf16 => Type::Bf16,
            Self::F32 | Self::F32Ftz => Type::F32,
            Self::Tf32 | Self::Tf32Ftz => Type::Tf32,
            Self::F64 => Type::F64,
        }
    }
}

/// The layout of a tensor in global memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TensorInterleave {
    /// Plain.
    #[default]
    None,
    /// Slices of 16 bytes: refused, not supported.
    Bytes16,
    /// Slices of 32 bytes: refused, not supported.
    Bytes32,
}

/// How pieces of 16 bytes are exchanged within a row of a tile in shared memory, so that a column of pieces lies in
/// different banks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TensorSwizzle {
    /// Not at all.
    #[default]
    None,
    /// Within 32 bytes.
    Bytes32,
    /// Within 64 bytes.
    Bytes64,
    /// Within 128 bytes.
    Bytes128,
}

impl TensorSwizzle {
    /// Its name, such as `128b`.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Bytes32 => "32b",
            Self::Bytes64 => "64b",
            Self::Bytes128 => "128b",
        }
    }

    /// Bytes within which pieces are exchanged; `None` where they are not.
    pub fn span(self) -> Option<u32> {
        match self {
            Self::None => None,
            Self::Bytes32 => Some(32),
            Self::Bytes64 => Some(64),
            Self::Bytes128 => Some(128),
        }
    }

    /// Where the byte lies that would lie at an address of shared memory without a swizzle: the bits of the address
    /// that number the 128-byte line are added to those that number the piece.
    pub fn apply(self, address: u64) -> u64 {
        let pieces = self.span().map_or(0, |span| u64::from(span) - 16);
        address ^ (address >> 3 & pieces)
    }
}

/// The granularity at which the cache fetches: a hint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TensorL2Promotion {
    /// Its own.
    #[default]
    None,
    /// 64 bytes.
    Bytes64,
    /// 128 bytes.
    Bytes128,
    /// 256 bytes.
    Bytes256,
}

/// What elements outside the tensor are loaded as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TensorFill {
    /// Zeros.
    #[default]
    Zeros,
    /// NaNs.
    Nan,
}
