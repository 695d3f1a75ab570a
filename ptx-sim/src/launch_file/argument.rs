//! Arguments: what a kernel's parameters hold.

use std::path::Path;

use super::buffer::Buffers;
use super::json::{FieldError, Fields, Node, Result};
use super::scalar::{ScalarType, hex_bytes};

/// Bytes of a pointer.
const POINTER: usize = 8;

/// Bytes of one argument at most; devices allow less for all of them together.
const MAX_BYTES: u32 = 1 << 16;

/// A value that stands alone or in a struct.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A number.
    Scalar(Vec<u8>),
    /// Raw bytes, which have no alignment.
    Bytes(Vec<u8>),
    /// The address of a buffer.
    Pointer {
        /// Its index in the launch file's list.
        buffer: usize,
        /// What is added to the address.
        offset: i64,
    },
}

impl Value {
    /// Its size in bytes.
    pub fn size(&self) -> usize {
        match self {
            Self::Scalar(bytes) | Self::Bytes(bytes) => bytes.len(),
            Self::Pointer { .. } => POINTER,
        }
    }

    /// What its address is a multiple of.
    fn align(&self) -> usize {
        if let Self::Bytes(_) = self { 1 } else { self.size() }
    }
}

/// A value and its place in its argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    pub offset: usize,
    pub value: Value,
    /// Where it stands in the launch file.
    pub path: String,
}

/// What a parameter of the kernel gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument {
    /// Where it stands in the launch file.
    pub path: String,
    pub size: usize,
    /// The alignment of a struct that gives one.
    pub align: Option<usize>,
    pub values: Vec<Placed>,
}

/// The part of a kernel's parameter that matters here.
#[derive(Clone, Debug)]
pub struct ParameterShape<'a> {
    pub name: &'a str,
    pub offset: usize,
    pub size: usize,
    pub align: usize,
}

/// Reads one argument.
pub fn read(node: &Node<'_>, buffers: &mut Buffers, folder: &Path) -> Result<Argument> {
    const EXPECTED: &str = "an argument: an object with one of scalar, struct, buffer, bytes";
    let fields = node.fields("an argument", &["scalar", "struct", "buffer", "bytes"])?;
    let (kind, value) = fields.only(EXPECTED)?;
    if kind == "struct" {
        return read_struct(&value, buffers, folder);
    }
    let value = read_value(&fields, EXPECTED, buffers, folder)?;
    let (path, size) = (node.path.clone(), value.size());
    let values = vec![Placed { offset: 0, value, path: path.clone() }];
    Ok(Argument { path, size, align: None, values })
}

/// The one of `scalar`, `buffer` and `bytes` that an object has.
fn read_value(fields: &Fields<'_>, expected: &str, buffers: &mut Buffers, folder: &Path) -> Result<Value> {
    match (fields.get("scalar"), fields.get("buffer"), fields.get("bytes")) {
        (Some(scalar), None, None) => read_scalar(&scalar),
        (None, Some(buffer), None) => {
            let (buffer, offset) = buffers.read_pointer(&buffer, folder)?;
            Ok(Value::Pointer { buffer, offset })
        }
        (None, None, Some(bytes)) => hex_bytes(&bytes).map(Value::Bytes),
        _ => fields.node().error(expected),
    }
}

fn read_scalar(node: &Node<'_>) -> Result<Value> {
    let fields = node.fields("a scalar", &["type", "value"])?;
    let ty = ScalarType::read(&fields.require("type", "a type such as u32 or f32")?)?;
    ty.encode(&fields.require("value", "a number")?).map(Value::Scalar)
}

fn read_struct(node: &Node<'_>, buffers: &mut Buffers, folder: &Path) -> Result<Argument> {
    const EXPECTED: &str = "a field: an object with offset and one of scalar, buffer, bytes";
    let fields = node.fields("a struct", &["size", "align", "fields"])?;
    let size = fields.require("size", "a size in bytes")?.integer(1, MAX_BYTES.into())? as usize;
    let align = fields.get("align").map(|align| read_align(&align)).transpose()?;
    let mut values = Vec::<Placed>::new();
    for field in fields.require("fields", "an array of fields")?.items("an array of fields")? {
        let parts = field.fields("a field", &["offset", "scalar", "buffer", "bytes"])?;
        let at = parts.require("offset", "an offset in bytes")?;
        let offset = at.integer(0, (size - 1) as i128)? as usize;
        let value = read_value(&parts, EXPECTED, buffers, folder)?;
        if offset + value.size() > size {
            return field.error_given(
                format!("a field that ends within the struct's {size} bytes"),
                format!("one of {} bytes at offset {offset}", value.size()),
            );
        }
        values.push(Placed { offset, value, path: field.path.clone() });
    }
    values.sort_by_key(|placed| placed.offset);
    for pair in values.windows(2) {
        let end = pair[0].offset + pair[0].value.size();
        if pair[1].offset < end {
            return Err(FieldError {
                path: pair[1].path.clone(),
                expected: format!("a field that does not overlap {}, which ends at {end}", pair[0].path),
                given: format!("one at offset {}", pair[1].offset),
            });
        }
    }
    Ok(Argument { path: node.path.clone(), size, align, values })
}

fn read_align(node: &Node<'_>) -> Result<usize> {
    let align = node.integer(1, MAX_BYTES.into())? as usize;
    if align.is_power_of_two() { Ok(align) } else { node.error("a power of two") }
}

/// The kernel's parameters as a driver takes them. `address` gives where a buffer lies.
pub fn pack(
    path: &str,
    arguments: &[Argument],
    parameters: &[ParameterShape<'_>],
    bytes: usize,
    mut address: impl FnMut(usize) -> u64,
) -> Result<Vec<u8>> {
    let error = |path: &str, expected: String, given: String| {
        Err(FieldError { path: path.to_owned(), expected, given })
    };
    if arguments.len() != parameters.len() {
        let names: Vec<_> = parameters.iter().map(|p| format!("{} ({} bytes)", p.name, p.size)).collect();
        let expected = match names.len() {
            0 => "none".into(),
            count => format!("{count} of them: {}", names.join(", ")),
        };
        return error(path, expected, arguments.len().to_string());
    }
    let mut packed = vec![0; bytes];
    for (argument, parameter) in arguments.iter().zip(parameters) {
        if argument.size != parameter.size {
            let expected = format!("{} bytes for parameter `{}`", parameter.size, parameter.name);
            return error(&argument.path, expected, format!("{} bytes", argument.size));
        }
        if let Some(align) = argument.align.filter(|align| *align != parameter.align) {
            let expected = format!("{}, the alignment of parameter `{}`", parameter.align, parameter.name);
            return error(&format!("{}.align", argument.path), expected, align.to_string());
        }
        for Placed { offset, value, path } in &argument.values {
            let align = value.align().min(parameter.align);
            if offset % align != 0 {
                return error(
                    &format!("{path}.offset"),
                    format!("a multiple of {align}, the alignment of the field"),
                    offset.to_string(),
                );
            }
            let bytes = match value {
                Value::Scalar(bytes) | Value::Bytes(bytes) => bytes.clone(),
                Value::Pointer { buffer, offset } => {
                    address(*buffer).wrapping_add_signed(*offset).to_le_bytes().to_vec()
                }
            };
            let start = parameter.offset + offset;
            let Some(slot) = packed.get_mut(start..start + bytes.len()) else {
                let expected = format!("an end within the {} bytes of the kernel's parameters", packed.len());
                return error(path, expected, format!("{} bytes at {start}", bytes.len()));
            };
            slot.copy_from_slice(&bytes);
        }
    }
    Ok(packed)
}
