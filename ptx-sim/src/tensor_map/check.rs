//! What a driver demands of a tensor map ("Tensor Map Object Management" in the CUDA driver API).

use super::{TensorFill, TensorInterleave, TensorMap};
use crate::error::TensorMapError;

const MAX_DIM: u64 = 1 << 32;
const MAX_STRIDE: u64 = 1 << 40;
const MAX_BOX: u32 = 256;
const MAX_ELEMENT_STRIDE: u32 = 8;

fn error(
    field: impl Into<String>,
    given: impl Into<String>,
    expected: impl Into<String>,
) -> Result<(), TensorMapError> {
    Err(TensorMapError { field: field.into(), given: given.into(), expected: expected.into() })
}

impl TensorMap {
    /// Whether a driver would encode it, and the simulator executes it.
    pub fn check(&self) -> Result<(), TensorMapError> {
        let rank = self.dims.len();
        if !(1..=5).contains(&rank) {
            return error("dims", format!("{rank} dimensions"), "1 to 5");
        }
        self.check_lengths(rank)?;
        if self.interleave != TensorInterleave::None {
            return error(
                "interleave",
                format!("{:?}", self.interleave),
                "None: the others are not supported",
            );
        }
        if !self.address.is_multiple_of(16) {
            return error("address", format!("{:#x}", self.address), "a multiple of 16");
        }
        for (index, dim) in self.dims.iter().enumerate() {
            if !(1..=MAX_DIM).contains(dim) {
                return error(format!("dims[{index}]"), dim.to_string(), "1 to 2^32");
            }
        }
        for (index, stride) in self.strides.iter().enumerate() {
            if !stride.is_multiple_of(16) || *stride >= MAX_STRIDE {
                return error(
                    format!("strides[{index}]"),
                    stride.to_string(),
                    "a multiple of 16 bytes below 2^40",
                );
            }
        }
        for (index, size) in self.box_dims.iter().enumerate() {
            if !(1..=MAX_BOX).contains(size) {
                return error(format!("box_dims[{index}]"), size.to_string(), "1 to 256");
            }
        }
        for (index, stride) in self.element_strides.iter().enumerate() {
            if !(1..=MAX_ELEMENT_STRIDE).contains(stride) {
                return error(format!("element_strides[{index}]"), stride.to_string(), "1 to 8");
            }
        }
        self.check_inner()?;
        if self.fill == TensorFill::Nan && !self.data_type.is_float() {
            return error(
                "fill",
                format!("Nan of {}", self.data_type.name()),
                "Zeros where elements are integers",
            );
        }
        Ok(())
    }

    fn check_lengths(&self, rank: usize) -> Result<(), TensorMapError> {
        let lengths = [
            ("strides", self.strides.len(), rank - 1),
            ("box_dims", self.box_dims.len(), rank),
            ("element_strides", self.element_strides.len(), rank),
        ];
        for (field, given, expected) in lengths {
            if given != expected {
                let given = format!("a list of {given}");
                return error(field, given, format!("{expected}, for {rank} dimensions"));
            }
        }
        Ok(())
    }

    /// A row of a tile, in bytes.
    fn check_inner(&self) -> Result<(), TensorMapError> {
        let bytes = self.box_dims[0] * self.data_type.bytes();
        if !bytes.is_multiple_of(16) {
            return error("box_dims[0]", format!("{bytes} bytes"), "a multiple of 16 bytes");
        }
        match self.swizzle.span() {
            Some(span) if bytes > span => error(
                "box_dims[0]",
                format!("{bytes} bytes"),
                format!("at most the {span} bytes of the swizzle"),
            ),
            _ => Ok(()),
        }
    }
}
