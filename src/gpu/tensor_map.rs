//! Tensor maps: what the copies of whole tiles by the tensor memory accelerator (`cp.async.bulk.tensor`, compute
//! capability 9.0) know of a tensor.
//!
//! A [`TensorMap`] is a description. Its rules are checked here, once for all devices, with an error that names the field;
//! what the 128 bytes look like is the device's matter: NVIDIA's driver encodes them for a card, and the simulated GPU has
//! its own.

use crate::{Error, Result};

/// What a device makes of a description that has been checked.
pub(super) trait EncodeTensorMap {
    /// The 128 bytes that kernels on the device take.
    fn encode_tensor_map(&self, map: &TensorMap) -> Result<EncodedTensorMap>;
}

/// A tensor map as a kernel takes it: by value, as a `__grid_constant__` parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Zeroable, bytemuck::Pod)]
#[repr(C, align(64))]
pub struct EncodedTensorMap(pub(super) [u64; 16]);

impl EncodedTensorMap {
    /// The bytes of the parameter.
    pub fn as_bytes(&self) -> &[u8] {
        bytemuck::bytes_of(self)
    }
}

/// The type of a tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names say it")]
pub enum TensorMapType {
    /// Also that of fp8 and of packed int4.
    U8,
    U16,
    U32,
    S32,
    U64,
    S64,
    F16,
    F32,
    F64,
    Bf16,
}

impl TensorMapType {
    /// All of them.
    pub const ALL: [Self; 10] = [
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
    ];

    /// Bytes of an element.
    pub fn bytes(self) -> u32 {
        match self {
            Self::U8 => 1,
            Self::U16 | Self::F16 | Self::Bf16 => 2,
            Self::U32 | Self::S32 | Self::F32 => 4,
            Self::U64 | Self::S64 | Self::F64 => 8,
        }
    }

    fn is_float(self) -> bool {
        matches!(self, Self::F16 | Self::F32 | Self::F64 | Self::Bf16)
    }
}

/// How 16-byte pieces are exchanged within the rows of a tile in shared memory, so that those of a column lie in different
/// banks: the number of a row, modulo the pieces of the span, is added to that of the piece without carry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Swizzle {
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

impl Swizzle {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::None, Self::Bytes32, Self::Bytes64, Self::Bytes128];

    /// Bytes of a row of a tile at most.
    fn span(self) -> Option<u32> {
        match self {
            Self::None => None,
            Self::Bytes32 => Some(32),
            Self::Bytes64 => Some(64),
            Self::Bytes128 => Some(128),
        }
    }
}

/// The description of a tensor and of the tiles that are copied from it or to it. Dimension 0 is the one whose elements
/// lie side by side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorMap {
    /// The type of the elements.
    pub element: TensorMapType,
    /// The address of the first element on the device: a multiple of 16.
    pub address: u64,
    /// The size of the tensor, in elements: 1 to 5 dimensions of 1 to 2^32.
    pub dims: Vec<u64>,
    /// Bytes from one element to the next along dimension 1 and so on: multiples of 16 below 2^40, one less than there are
    /// dimensions.
    pub strides: Vec<u64>,
    /// The size of a tile, in elements: 1 to 256 along each dimension.
    pub tile: Vec<u32>,
    /// Elements of the tensor from one element of the tile to the next: 1 to 8 along each dimension.
    pub steps: Vec<u32>,
    /// How a tile lies in shared memory.
    pub swizzle: Swizzle,
    /// Elements outside the tensor are loaded as NaN, not as zero. Of floating-point types only.
    pub fills_nan: bool,
}

impl TensorMap {
    /// Tiles of all elements, without swizzle, and zeros outside the tensor.
    pub fn new(element: TensorMapType, address: u64, dims: &[u64], strides: &[u64], tile: &[u32]) -> Self {
        Self {
            element,
            address,
            dims: dims.to_vec(),
            strides: strides.to_vec(),
            tile: tile.to_vec(),
            steps: vec![1; dims.len()],
            swizzle: Swizzle::None,
            fills_nan: false,
        }
    }

    /// With a swizzle.
    pub fn swizzle(self, swizzle: Swizzle) -> Self {
        Self { swizzle, ..self }
    }

    /// Refuses what no device encodes: the rules of `cuTensorMapEncodeTiled` in the CUDA driver API. The error names the
    /// field, what is allowed, and what it is.
    pub fn check(&self) -> Result<()> {
        let rank = self.dims.len();
        if !(1..=5).contains(&rank) {
            return refuse("dims", "1 to 5 dimensions", rank);
        }
        let lengths = [
            ("strides", self.strides.len(), rank - 1),
            ("tile", self.tile.len(), rank),
            ("steps", self.steps.len(), rank),
        ];
        for (field, given, expected) in lengths {
            if given != expected {
                return refuse(field, format!("{expected} numbers for {rank} dimensions"), given);
            }
        }
        if !self.address.is_multiple_of(16) {
            return refuse("address", "a multiple of 16", format!("{:#x}", self.address));
        }
        let within = |list: &[u64], fits: &dyn Fn(u64) -> bool| list.iter().copied().find(|one| !fits(*one));
        if let Some(dim) = within(&self.dims, &|dim| (1..=1 << 32).contains(&dim)) {
            return refuse("dims", "1 to 2^32 elements", dim);
        }
        let fits = |stride: u64| stride.is_multiple_of(16) && stride < 1 << 40;
        if let Some(stride) = within(&self.strides, &fits) {
            return refuse("strides", "multiples of 16 bytes below 2^40", stride);
        }
        if let Some(size) = self.tile.iter().find(|size| !(1..=256).contains(*size)) {
            return refuse("tile", "1 to 256 elements", size);
        }
        if let Some(step) = self.steps.iter().find(|step| !(1..=8).contains(*step)) {
            return refuse("steps", "1 to 8 elements", step);
        }
        let row = self.tile[0] * self.element.bytes();
        if !row.is_multiple_of(16) {
            return refuse("tile", "rows of a multiple of 16 bytes", format!("{row} bytes"));
        }
        if let Some(span) = self.swizzle.span().filter(|span| row > *span) {
            return refuse(
                "tile",
                format!("rows of at most the {span} bytes of the swizzle"),
                format!("{row} bytes"),
            );
        }
        if self.fills_nan && !self.element.is_float() {
            return refuse("fills_nan", "a floating-point type", format!("{:?}", self.element));
        }
        Ok(())
    }
}

fn refuse(
    field: &'static str,
    expected: impl std::fmt::Display,
    given: impl std::fmt::Display,
) -> Result<()> {
    Err(Error::argument("tensor map", field, expected, given))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map() -> TensorMap {
        TensorMap::new(TensorMapType::Bf16, 0x1000, &[512, 1000], &[1024], &[64, 128])
            .swizzle(Swizzle::Bytes128)
    }

    fn error(change: impl FnOnce(&mut TensorMap)) -> String {
        let mut map = map();
        change(&mut map);
        map.check().expect_err("a broken rule").to_string()
    }

    #[test]
    fn every_rule_is_told_by_its_field() {
        map().check().expect("a map that every driver takes");
        assert_eq!(
            error(|map| map.tile[0] = 128),
            "tensor map: tile: expected rows of at most the 128 bytes of the swizzle, got 256 bytes"
        );
        assert!(error(|map| map.dims.clear()).contains("dims"));
        assert!(error(|map| map.dims[1] = 0).contains("dims"));
        assert!(error(|map| map.dims[1] = (1 << 32) + 1).contains("dims"));
        assert!(error(|map| map.strides[0] = 1000).contains("strides"));
        assert!(error(|map| map.strides[0] = 1 << 40).contains("strides"));
        assert!(error(|map| map.strides.clear()).contains("strides"));
        assert!(error(|map| map.address = 8).contains("address"));
        assert!(error(|map| map.tile[1] = 257).contains("tile"));
        assert!(error(|map| map.tile[0] = 4).contains("tile"));
        assert!(error(|map| map.steps[1] = 9).contains("steps"));
        assert!(
            error(|map| {
                map.element = TensorMapType::U16;
                map.fills_nan = true;
            })
            .contains("fills_nan")
        );
    }
}
