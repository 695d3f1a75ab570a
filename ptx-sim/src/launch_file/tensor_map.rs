//! Tensor maps, given as the driver's `cuTensorMapEncodeTiled` takes them.

use std::path::Path;

use ptx_sim::{
    TensorFill, TensorInterleave, TensorL2Promotion, TensorMap, TensorMapError, TensorSwizzle, TensorType,
};

use super::buffer::Buffers;
use super::json::{FieldError, Fields, Node, Result};
use super::value::Pointer;

/// Bytes of a tensor map.
pub const BYTES: usize = 128;

/// What its address is a multiple of.
pub const ALIGN: usize = 64;

const FIELDS: &[&str] = &[
    "type",
    "buffer",
    "dims",
    "strides",
    "box",
    "element_strides",
    "swizzle",
    "interleave",
    "l2_promotion",
    "oob_fill",
];

/// A tensor map of a buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorMapValue {
    /// All of it but the address.
    pub map: TensorMap,
    pub pointer: Pointer,
    /// Where it stands in the launch file.
    pub path: String,
}

impl TensorMapValue {
    /// Its bytes, by what gives the addresses of buffers.
    pub fn encode(&self, address_of: &dyn Fn(usize) -> u64) -> Result<Vec<u8>> {
        self.at(self.pointer.address(address_of))
    }

    fn at(&self, address: u64) -> Result<Vec<u8>> {
        let mut map = self.map.clone();
        map.address = address;
        let refused = |TensorMapError { field, expected, given, .. }| FieldError {
            path: format!("{}.{}", self.path, as_written(&field)),
            expected,
            given,
        };
        map.encode().map(|bytes| bytes.to_vec()).map_err(refused)
    }
}

/// What a field of the library's tensor map is called here, `[1]` and the like left on.
fn as_written(field: &str) -> String {
    let (name, index) = field.split_at(field.find('[').unwrap_or(field.len()));
    let name = match name {
        "address" => "buffer",
        "box_dims" => "box",
        "data_type" => "type",
        "fill" => "oob_fill",
        same => same,
    };
    format!("{name}{index}")
}

/// Reads one.
pub fn read(node: &Node<'_>, buffers: &mut Buffers, folder: &Path) -> Result<TensorMapValue> {
    const SIZES: &str = "an array of sizes in elements, the dimension whose elements lie side by side first";
    let fields = node.fields("a tensor map", FIELDS)?;
    let data_type = read_type(&fields.require("type", "the type of an element such as bf16")?)?;
    let pointer = buffers.read_pointer(&fields.require("buffer", "a buffer")?, folder)?;
    let dims = integers::<u64>(&fields.require("dims", SIZES)?, SIZES)?;
    let box_dims = integers::<u32>(&fields.require("box", SIZES)?, SIZES)?;
    let strides = match fields.get("strides") {
        Some(strides) => integers(&strides, "an array of strides in bytes, from dimension 1 on")?,
        None => dense_strides(&dims, data_type),
    };
    let mut map = TensorMap::new(data_type, 0, &dims, &strides, &box_dims);
    if let Some(steps) = fields.get("element_strides") {
        map.element_strides = integers(&steps, "an array of steps in elements")?;
    }
    use {TensorInterleave as Interleave, TensorL2Promotion as Promotion, TensorSwizzle as Swizzle};
    let swizzles = [Swizzle::None, Swizzle::Bytes32, Swizzle::Bytes64, Swizzle::Bytes128];
    map.swizzle = choice(&fields, "swizzle", &["none", "32B", "64B", "128B"], &swizzles)?;
    let interleaves = [Interleave::None, Interleave::Bytes16, Interleave::Bytes32];
    map.interleave = choice(&fields, "interleave", &["none", "16B", "32B"], &interleaves)?;
    let promotions = [Promotion::None, Promotion::Bytes64, Promotion::Bytes128, Promotion::Bytes256];
    map.l2_promotion = choice(&fields, "l2_promotion", &["none", "64B", "128B", "256B"], &promotions)?;
    map.fill = choice(&fields, "oob_fill", &["zeros", "nan"], &[TensorFill::Zeros, TensorFill::Nan])?;
    let value = TensorMapValue { map, pointer, path: node.path.clone() };
    // What is wrong at any address is found before anything runs.
    value.at(0)?;
    Ok(value)
}

/// Strides of a tensor whose elements lie without gaps; the library refuses those that are too large.
fn dense_strides(dims: &[u64], data_type: TensorType) -> Vec<u64> {
    let mut stride = u64::from(data_type.bytes());
    let outer = dims.iter().take(dims.len().saturating_sub(1));
    outer
        .map(|dim| {
            stride = stride.saturating_mul(*dim);
            stride
        })
        .collect()
}

fn read_type(node: &Node<'_>) -> Result<TensorType> {
    let names: Vec<_> = TensorType::ALL.iter().map(|ty| ty.name()).collect();
    let expected = format!("one of {}", names.join(", "));
    let name = node.text(&expected)?;
    match TensorType::ALL.iter().find(|ty| ty.name() == name) {
        Some(ty) => Ok(*ty),
        None => node.error(expected),
    }
}

/// Numbers that are not negative.
fn integers<T: TryFrom<u64>>(node: &Node<'_>, what: &str) -> Result<Vec<T>> {
    let number = |item: Node<'_>| {
        let value = item.integer(0, u64::MAX.into())? as u64;
        T::try_from(value).or_else(|_| item.error("a number of 32 bits"))
    };
    node.items(what)?.into_iter().map(number).collect()
}

/// The choice that a field names; the first one where it is left out.
fn choice<T: Copy>(fields: &Fields<'_>, name: &str, names: &[&str], values: &[T]) -> Result<T> {
    let Some(node) = fields.get(name) else { return Ok(values[0]) };
    let expected = format!("one of {}", names.join(", "));
    let given = node.text(&expected)?;
    match names.iter().zip(values).find(|(name, _)| **name == given) {
        Some((_, value)) => Ok(*value),
        None => node.error(expected),
    }
}
