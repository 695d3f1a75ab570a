//! Values: what arguments, fields of structs and places in buffers hold.

use std::path::Path;

use super::buffer::Buffers;
use super::json::{FieldError, Fields, Node, Result};
use super::scalar::{ScalarType, hex_bytes};
use super::tensor_map::{self, TensorMapValue};

/// Bytes of a pointer.
const POINTER: usize = 8;

/// The fields of which a value has one.
pub const KINDS: [&str; 4] = ["scalar", "buffer", "bytes", "tensor_map"];

/// A value that stands alone, in a struct or in a buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A number.
    Scalar(Vec<u8>),
    /// Raw bytes, which have no alignment.
    Bytes(Vec<u8>),
    /// The address of a buffer.
    Pointer(Pointer),
    /// A tensor map.
    TensorMap(Box<TensorMapValue>),
}

/// An address in a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pointer {
    /// The buffer's index in the launch file's list.
    pub buffer: usize,
    /// What is added to its address.
    pub offset: i64,
}

impl Pointer {
    /// The address, by what gives those of buffers.
    pub fn address(self, address_of: &dyn Fn(usize) -> u64) -> u64 {
        address_of(self.buffer).wrapping_add_signed(self.offset)
    }
}

impl Value {
    /// Its size in bytes.
    pub fn size(&self) -> usize {
        match self {
            Self::Scalar(bytes) | Self::Bytes(bytes) => bytes.len(),
            Self::Pointer(_) => POINTER,
            Self::TensorMap(_) => tensor_map::BYTES,
        }
    }

    /// What its address is a multiple of.
    pub fn align(&self) -> usize {
        match self {
            Self::Scalar(_) | Self::Pointer(_) => self.size(),
            Self::Bytes(_) => 1,
            Self::TensorMap(_) => tensor_map::ALIGN,
        }
    }

    /// Its bytes, once the addresses of buffers are known.
    pub fn bytes(&self, address_of: &dyn Fn(usize) -> u64) -> Result<Vec<u8>> {
        match self {
            Self::Scalar(bytes) | Self::Bytes(bytes) => Ok(bytes.clone()),
            Self::Pointer(pointer) => Ok(pointer.address(address_of).to_le_bytes().to_vec()),
            Self::TensorMap(map) => map.encode(address_of),
        }
    }
}

/// A value and its place in its argument or buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    pub offset: u64,
    pub value: Value,
    /// Where it stands in the launch file.
    pub path: String,
}

/// The one of [`KINDS`] that an object has.
pub fn read(fields: &Fields<'_>, expected: &str, buffers: &mut Buffers, folder: &Path) -> Result<Value> {
    match KINDS.map(|kind| fields.get(kind)) {
        [Some(scalar), None, None, None] => read_scalar(&scalar),
        [None, Some(buffer), None, None] => buffers.read_pointer(&buffer, folder).map(Value::Pointer),
        [None, None, Some(bytes), None] => hex_bytes(&bytes).map(Value::Bytes),
        [None, None, None, Some(map)] => {
            let map = tensor_map::read(&map, buffers, folder)?;
            Ok(Value::TensorMap(Box::new(map)))
        }
        _ => fields.node().error(expected),
    }
}

fn read_scalar(node: &Node<'_>) -> Result<Value> {
    let fields = node.fields("a scalar", &["type", "value"])?;
    let ty = ScalarType::read(&fields.require("type", "a type such as u32 or f32")?)?;
    ty.encode(&fields.require("value", "a number")?).map(Value::Scalar)
}

/// Values at offsets in `what` of `size` bytes, in the order of their offsets.
pub fn read_placed(
    list: &Node<'_>,
    what: &str,
    size: u64,
    buffers: &mut Buffers,
    folder: &Path,
) -> Result<Vec<Placed>> {
    const KNOWN: &[&str] = &["offset", KINDS[0], KINDS[1], KINDS[2], KINDS[3]];
    const EXPECTED: &str = "a field: an object with offset and one of scalar, buffer, bytes, tensor_map";
    let mut values = Vec::<Placed>::new();
    for field in list.items("an array of fields")? {
        let parts = field.fields("a field", KNOWN)?;
        let at = parts.require("offset", "an offset in bytes")?;
        let offset = at.integer(0, i128::from(size) - 1)? as u64;
        let value = read(&parts, EXPECTED, buffers, folder)?;
        let bytes = value.size() as u64;
        if bytes > size - offset {
            return field.error_given(
                format!("a field that ends within the {what}'s {size} bytes"),
                format!("one of {bytes} bytes at offset {offset}"),
            );
        }
        values.push(Placed { offset, value, path: field.path.clone() });
    }
    values.sort_by_key(|placed| placed.offset);
    for pair in values.windows(2) {
        let end = pair[0].offset + pair[0].value.size() as u64;
        if pair[1].offset < end {
            return Err(FieldError {
                path: pair[1].path.clone(),
                expected: format!("a field that does not overlap {}, which ends at {end}", pair[0].path),
                given: format!("one at offset {}", pair[1].offset),
            });
        }
    }
    Ok(values)
}
