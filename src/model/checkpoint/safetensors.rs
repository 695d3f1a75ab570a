//! The header of a safetensors file: <https://github.com/huggingface/safetensors#format>.
//!
//! Own code rather than the `safetensors` crate, which keeps the last of two equal keys in silence.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::Path;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::model::json::{DistinctMap, clip, parse};
use crate::tensor::{DType, MAX_RANK};
use crate::{Error, Result};

/// One tensor of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// Element type.
    pub dtype: DType,
    /// Dimensions, outermost first.
    pub shape: Vec<usize>,
    /// Its bytes, counted from the end of the header.
    pub bytes: Range<usize>,
}

/// The header of a safetensors file. The tensors lie one after the other and fill the data to the last byte.
#[derive(Debug)]
pub struct Header {
    /// By name.
    pub tensors: BTreeMap<String, TensorInfo>,
}

impl Header {
    /// The format's own limit.
    pub const MAX_BYTES: u64 = 100_000_000;

    /// Parses the JSON of a header, which `data_len` bytes of tensors follow; `file` is for errors.
    pub fn parse(json: &[u8], data_len: usize, file: &Path) -> Result<Self> {
        if json.first() != Some(&b'{') {
            return Err(Error::malformed(file, "header", "does not begin with `{`"));
        }
        let Entries(entries) = parse(json, file, "header")?;
        let mut tensors = BTreeMap::new();
        for (name, entry) in entries {
            let info = entry.check(data_len, file, &name)?;
            tensors.insert(name, info);
        }
        check_coverage(&tensors, data_len, file)?;
        Ok(Header { tensors })
    }
}

/// The tensors in the order of their bytes: each begins where the one before it ended, the last ends with the
/// file.
fn check_coverage(tensors: &BTreeMap<String, TensorInfo>, data_len: usize, file: &Path) -> Result<()> {
    let mut in_order: Vec<_> = tensors.iter().collect();
    in_order.sort_by_key(|(_, info)| (info.bytes.start, info.bytes.end));
    let mut end = 0;
    for (name, info) in in_order {
        let Range { start, end: next } = info.bytes;
        if start != end {
            let what = if start < end { "overlaps the tensor before it" } else { "leaves a hole before it" };
            return Err(wrong(file, name, format!("{what}: begins at byte {start}, expected {end}")));
        }
        end = next;
    }
    if end != data_len {
        return Err(Error::malformed(
            file,
            "data",
            format!("{data_len} bytes, but the tensors end at {end}"),
        ));
    }
    Ok(())
}

fn wrong(file: &Path, name: &str, problem: impl Into<String>) -> Error {
    Error::malformed(file, format!("tensor `{}`", clip(name)), problem)
}

/// A tensor as the header has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: [u64; 2],
}

impl Entry {
    fn check(self, data_len: usize, file: &Path, name: &str) -> Result<TensorInfo> {
        let dtype = dtype(&self.dtype, file, name)?;
        if self.shape.len() > MAX_RANK {
            return Err(wrong(file, name, format!("{} dimensions, more than {MAX_RANK}", self.shape.len())));
        }
        let [begin, end] = self.data_offsets;
        if begin > end || end > data_len as u64 {
            return Err(wrong(
                file,
                name,
                format!("bytes {begin}..{end} lie outside the {data_len} of the data"),
            ));
        }
        let size = self.shape.iter().try_fold(dtype.size() as u64, |size, &dim| size.checked_mul(dim));
        if size != Some(end - begin) {
            let size = size.map_or_else(|| "more than 2^64 bytes".into(), |size| format!("{size} bytes"));
            let problem = format!("{dtype} {:?} is {size}, but its place has {}", self.shape, end - begin);
            return Err(wrong(file, name, problem));
        }
        // The bytes lie within the data, whose length is a `usize`. A dimension may exceed that only beside a
        // zero.
        let shape = self.shape.iter().map(|&dim| usize::try_from(dim)).collect::<Result<Vec<_>, _>>();
        let shape =
            shape.map_err(|_| wrong(file, name, format!("dimensions {:?} are too large", self.shape)))?;
        Ok(TensorInfo { dtype, shape, bytes: begin as usize..end as usize })
    }
}

fn dtype(stored: &str, file: &Path, name: &str) -> Result<DType> {
    Ok(match stored {
        "F64" => DType::F64,
        "F32" => DType::F32,
        "F16" => DType::F16,
        "BF16" => DType::BF16,
        "F8_E4M3" => DType::F8E4M3,
        "I64" => DType::I64,
        "I32" => DType::I32,
        "U32" => DType::U32,
        "U8" => DType::U8,
        "BOOL" | "I8" | "I16" | "U16" | "U64" | "F4" | "F6_E2M3" | "F6_E3M2" | "F8_E5M2" | "F8_E8M0"
        | "F8_E4M3FNUZ" | "F8_E5M2FNUZ" | "C64" => {
            return Err(Error::unsupported(
                format!("{}: tensor `{}`: element type {stored}", file.display(), clip(name)),
                "no Llama checkpoint that this library reads contains it",
            ));
        }
        other => return Err(wrong(file, name, format!("unknown element type `{}`", clip(other)))),
    })
}

/// The header's object: tensors, and a map of strings under `__metadata__`, which says nothing that is needed
/// here.
struct Entries(BTreeMap<String, Entry>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntriesVisitor;

        impl<'de> Visitor<'de> for EntriesVisitor {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let mut entries = BTreeMap::new();
                let mut has_metadata = false;
                while let Some(key) = map.next_key::<String>()? {
                    let in_entry = |e: A::Error| A::Error::custom(format!("`{}`: {e}", clip(&key)));
                    let is_metadata = key == "__metadata__";
                    if entries.contains_key(&key) || (is_metadata && has_metadata) {
                        return Err(A::Error::custom(format!("duplicate key `{}`", clip(&key))));
                    }
                    if is_metadata {
                        map.next_value::<DistinctMap<String>>().map_err(in_entry)?;
                        has_metadata = true;
                    } else {
                        let entry = map.next_value().map_err(in_entry)?;
                        entries.insert(key, entry);
                    }
                }
                Ok(Entries(entries))
            }
        }

        deserializer.deserialize_map(EntriesVisitor)
    }
}
