//! The 64 bits that describe a matrix in shared memory (PTX ISA, "Matrix Descriptor Format").

/// How 16-byte units are permuted within rows of 32, 64 or 128 bytes, so that a column of them is in different banks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Swizzle {
    None,
    Bytes32,
    Bytes64,
    Bytes128,
}

impl Swizzle {
    /// 16-byte units of a row.
    pub fn units(self) -> u64 {
        match self {
            Self::None => 1,
            Self::Bytes32 => 2,
            Self::Bytes64 => 4,
            Self::Bytes128 => 8,
        }
    }
}

/// A matrix in shared memory. Offsets are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Descriptor {
    pub start: u64,
    pub leading_offset: u64,
    pub stride_offset: u64,
    /// The row, of the eight in 1024 bytes, at which the swizzle's pattern starts.
    pub base_offset: u64,
    pub swizzle: Swizzle,
}

/// Bits that the format does not use.
const RESERVED: u64 = 0x3ff1_c000_c000_c000;

impl Descriptor {
    /// What the bits say, or what is wrong with them.
    pub fn parse(bits: u64) -> Result<Self, String> {
        if bits & RESERVED != 0 {
            return Err(format!(
                "the matrix descriptor {bits:#018x} has reserved bits set ({:#x}): a start address or an offset that \
                 was not cut to 18 bits and divided by 16?",
                bits & RESERVED
            ));
        }
        let offset = |shift: u32| (bits >> shift & 0x3fff) << 4;
        let swizzle = match bits >> 62 {
            0 => Swizzle::None,
            1 => Swizzle::Bytes128,
            2 => Swizzle::Bytes64,
            _ => Swizzle::Bytes32,
        };
        let base_offset = bits >> 49 & 7;
        if swizzle == Swizzle::None && base_offset != 0 {
            return Err(format!(
                "the matrix descriptor {bits:#018x} has a base offset of {base_offset} and no swizzle"
            ));
        }
        Ok(Self {
            start: offset(0),
            leading_offset: offset(16),
            stride_offset: offset(32),
            base_offset,
            swizzle,
        })
    }

    /// Where the 16-byte unit stands that is `offset` behind the start.
    #[inline(always)]
    pub fn place(&self, offset: u64) -> u64 {
        let address = self.start + offset;
        let row = (address >> 7).wrapping_sub(self.base_offset) & (self.swizzle.units() - 1);
        address ^ row << 4
    }
}
