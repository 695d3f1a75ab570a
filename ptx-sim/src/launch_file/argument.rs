//! Arguments: what a kernel's parameters hold.

use std::path::Path;

use super::buffer::Buffers;
use super::json::{FieldError, Node, Result};
use super::tensor_map;
use super::value::{self, Placed, Value};

/// Bytes of one argument at most; devices allow less for all of them together.
const MAX_BYTES: u32 = 1 << 16;

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
    const EXPECTED: &str = "an argument: an object with one of scalar, struct, buffer, bytes, tensor_map";
    let fields = node.fields("an argument", &["scalar", "struct", "buffer", "bytes", "tensor_map"])?;
    let (kind, value) = fields.only(EXPECTED)?;
    if kind == "struct" {
        return read_struct(&value, buffers, folder);
    }
    let value = value::read(&fields, EXPECTED, buffers, folder)?;
    let (path, size) = (node.path.clone(), value.size());
    let values = vec![Placed { offset: 0, value, path: path.clone() }];
    Ok(Argument { path, size, align: None, values })
}

fn read_struct(node: &Node<'_>, buffers: &mut Buffers, folder: &Path) -> Result<Argument> {
    let fields = node.fields("a struct", &["size", "align", "fields"])?;
    let size = fields.require("size", "a size in bytes")?.integer(1, MAX_BYTES.into())? as usize;
    let align = fields.get("align").map(|align| read_align(&align)).transpose()?;
    let list = fields.require("fields", "an array of fields")?;
    let values = value::read_placed(&list, "struct", size as u64, buffers, folder)?;
    Ok(Argument { path: node.path.clone(), size, align, values })
}

fn read_align(node: &Node<'_>) -> Result<usize> {
    let align = node.integer(1, MAX_BYTES.into())? as usize;
    if align.is_power_of_two() { Ok(align) } else { node.error("a power of two") }
}

/// The kernel's parameters as a driver takes them. `address_of` gives where a buffer lies.
pub fn pack(
    path: &str,
    arguments: &[Argument],
    parameters: &[ParameterShape<'_>],
    bytes: usize,
    address_of: &dyn Fn(usize) -> u64,
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
            if matches!(value, Value::TensorMap(_)) && parameter.align < tensor_map::ALIGN {
                let expected =
                    format!("a parameter whose alignment is {} or more, for a tensor map", tensor_map::ALIGN);
                let given = format!("`{}`, whose alignment is {}", parameter.name, parameter.align);
                return error(path, expected, given);
            }
            let (offset, align) = (*offset as usize, value.align().min(parameter.align));
            if offset % align != 0 {
                return error(
                    &format!("{path}.offset"),
                    format!("a multiple of {align}, the alignment of the field"),
                    offset.to_string(),
                );
            }
            let bytes = value.bytes(address_of)?;
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
