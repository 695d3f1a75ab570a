//! Buffers: what is allocated, what it holds before the launches, and where it goes after them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::json::{Fields, Json, Node, Result};
use super::scalar::ScalarType;
use super::value::{self, Placed, Pointer};

/// Bytes of one buffer at most. Memory is sparse, so a buffer that is not filled may be larger than the machine's.
pub const MAX_BYTES: u64 = 1 << 40;

/// Bytes at most that are filled, read from files or written to files, all buffers together: these take real memory.
pub const MAX_TOUCHED_BYTES: u64 = 4 << 30;

/// What a buffer holds before the first launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// Nothing: reading it is an error.
    Poison,
    /// This byte everywhere.
    Byte(u8),
    /// 0, 1, 2, … in this type.
    Iota(ScalarType),
}

/// A buffer in global memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// Its name, or else its place in the launch file.
    pub label: String,
    /// Where it is defined in the launch file.
    pub path: String,
    pub bytes: u64,
    pub fill: Fill,
    /// The file whose contents it begins with, and their length.
    pub from: Option<(PathBuf, u64)>,
    /// What is written to it after that.
    pub values: Vec<Placed>,
    /// The file that it is written to.
    pub to: Option<PathBuf>,
    /// Whether it is freed before the first launch.
    pub freed: bool,
}

impl Buffer {
    /// Bytes that take real memory here.
    fn touched_bytes(&self) -> u64 {
        if self.to.is_some() || self.fill != Fill::Poison {
            self.bytes
        } else {
            self.from.as_ref().map_or(0, |(_, length)| *length)
        }
    }
}

/// All buffers of a launch file, while it is read: names may be used before their buffer is defined.
#[derive(Default)]
pub struct Buffers {
    found: Vec<Found>,
    names: BTreeMap<String, usize>,
}

/// A buffer, or the name of one.
struct Found {
    buffer: Option<Buffer>,
    /// Where the name was first used.
    path: String,
    name: String,
}

impl Buffers {
    /// A pointer's buffer: one of its own, or `{"ref": name}`.
    pub fn read_pointer(&mut self, node: &Node<'_>, folder: &Path) -> Result<Pointer> {
        const KNOWN: &[&str] = &["bytes", "fill", "from", "values", "to", "offset", "freed", "name", "ref"];
        let fields = node.fields("a buffer", KNOWN)?;
        let offset = match fields.get("offset") {
            Some(offset) => offset.integer((-(MAX_BYTES as i64)).into(), MAX_BYTES.into())? as i64,
            None => 0,
        };
        let buffer = match fields.get("ref") {
            Some(name) => {
                node.fields("a buffer that refers to another", &["ref", "offset"])?;
                self.slot(name.text("the name of a buffer")?, &name.path)
            }
            None => {
                let name = fields.get("name").map(|name| name.text("a name")).transpose()?;
                self.define(&fields, name, folder)?
            }
        };
        Ok(Pointer { buffer, offset })
    }

    /// An entry of the top level's `buffers`.
    pub fn read_named(&mut self, name: &str, node: &Node<'_>, folder: &Path) -> Result<()> {
        let fields = node.fields("a named buffer", &["bytes", "fill", "from", "values", "to", "freed"])?;
        self.define(&fields, Some(name), folder).map(|_| ())
    }

    /// The buffers; an error where a name was used and none has it.
    pub fn finish(self) -> Result<Vec<Buffer>> {
        let defined: Vec<_> = self
            .found
            .iter()
            .filter(|f| f.buffer.is_some() && !f.name.is_empty())
            .map(|f| f.name.clone())
            .collect();
        let mut buffers = Vec::new();
        for found in self.found {
            let Some(buffer) = found.buffer else {
                let json = Json::Text(found.name);
                return Node { json: &json, path: found.path }.error(match defined.as_slice() {
                    [] => "the name of a buffer, but no buffer has one".to_owned(),
                    names => format!("the name of a buffer: {}", names.join(", ")),
                });
            };
            buffers.push(buffer);
        }
        let mut touched = 0u64;
        for buffer in &buffers {
            touched = touched.saturating_add(buffer.touched_bytes());
            if touched > MAX_TOUCHED_BYTES {
                let given = Json::Integer(touched.into());
                return Node { json: &given, path: buffer.path.clone() }.error(format!(
                    "at most {MAX_TOUCHED_BYTES} bytes that are filled, read or written, all buffers together"
                ));
            }
        }
        Ok(buffers)
    }

    /// The index of a name's buffer, defined or not.
    fn slot(&mut self, name: &str, path: &str) -> usize {
        *self.names.entry(name.to_owned()).or_insert_with(|| {
            self.found.push(Found { buffer: None, path: path.to_owned(), name: name.to_owned() });
            self.found.len() - 1
        })
    }

    fn define(&mut self, fields: &Fields<'_>, name: Option<&str>, folder: &Path) -> Result<usize> {
        let path = &fields.node().path;
        let mut buffer = read(fields, name.unwrap_or(path), folder)?;
        if let Some(list) = fields.get("values") {
            buffer.values = value::read_placed(&list, "buffer", buffer.bytes, self, folder)?;
        }
        let index = match name {
            Some(name) => self.slot(name, path),
            None => {
                self.found.push(Found { buffer: None, path: path.clone(), name: String::new() });
                self.found.len() - 1
            }
        };
        if let Some(other) = &self.found[index].buffer {
            let expected = format!("a name that no other buffer has; {} has it", other.path);
            let json = Json::Text(other.label.clone());
            let path = if fields.get("name").is_some() { format!("{path}.name") } else { path.clone() };
            return Node { json: &json, path }.error(expected);
        }
        self.found[index].buffer = Some(buffer);
        Ok(index)
    }
}

fn read(fields: &Fields<'_>, label: &str, folder: &Path) -> Result<Buffer> {
    let given = fields.get("bytes").map(|bytes| bytes.integer(1, MAX_BYTES.into())).transpose()?;
    let from = fields.get("from").map(|from| input_file(&from, folder)).transpose()?;
    let bytes = match (given, &from) {
        (Some(bytes), _) => bytes as u64,
        (None, Some((_, length @ 1..=MAX_BYTES))) => *length,
        (None, Some(_)) => return fields.missing("bytes", "a size, since the file's own cannot serve"),
        (None, None) => return fields.missing("bytes", "a size, or a file to take it from"),
    };
    if let (Some((_, length)), Some(from)) = (&from, fields.get("from"))
        && *length > bytes
    {
        return from.error_given(
            format!("a file of at most {bytes} bytes"),
            format!("{} of {length} bytes", from.json),
        );
    }
    let freed = fields.get("freed").map(|freed| freed.bool()).transpose()?.unwrap_or(false);
    let to = fields.get("to").map(|to| output_file(&to, folder)).transpose()?;
    if let (true, Some(to)) = (freed, fields.get("to")) {
        return to.error("nothing, since the buffer is freed");
    }
    let fill = fields.get("fill").map(|fill| read_fill(&fill, bytes)).transpose()?.unwrap_or(Fill::Poison);
    let path = fields.node().path.clone();
    Ok(Buffer { label: label.to_owned(), path, bytes, fill, from, values: Vec::new(), to, freed })
}

fn read_fill(node: &Node<'_>, bytes: u64) -> Result<Fill> {
    const EXPECTED: &str = r#""zero", "poison", {"byte": 0 to 255} or {"iota": a type}"#;
    let fields = match node.json {
        Json::Text(text) if text == "zero" => return Ok(Fill::Byte(0)),
        Json::Text(text) if text == "poison" => return Ok(Fill::Poison),
        Json::Object(_) => node.fields("a fill", &["byte", "iota"])?,
        _ => return node.error(EXPECTED),
    };
    match fields.only(EXPECTED)? {
        ("byte", byte) => Ok(Fill::Byte(byte.integer(0, 255)? as u8)),
        (_, iota) => {
            let ty = ScalarType::read(&iota)?;
            if !bytes.is_multiple_of(ty.size() as u64) {
                let expected = format!("a type whose size divides the buffer's {bytes} bytes");
                return iota.error(expected);
            }
            Ok(Fill::Iota(ty))
        }
    }
}

/// A file that exists, and its length.
pub fn input_file(node: &Node<'_>, folder: &Path) -> Result<(PathBuf, u64)> {
    let file = folder.join(node.text("the path of a file")?);
    match file.metadata() {
        Ok(metadata) if metadata.is_file() => Ok((file, metadata.len())),
        Ok(_) => node.error("a regular file"),
        Err(error) => node.error_given("a file that can be read", format!("{} ({error})", file.display())),
    }
}

/// A file that can be made: a long simulation must not end at a folder that does not exist.
pub fn output_file(node: &Node<'_>, folder: &Path) -> Result<PathBuf> {
    let file = folder.join(node.text("the path of a file")?);
    match why_not_writable(&file) {
        None => Ok(file),
        Some(reason) => {
            node.error_given("a file that can be written", format!("{} ({reason})", file.display()))
        }
    }
}

/// Why a file cannot be made, as far as can be told without making it.
pub fn why_not_writable(file: &Path) -> Option<&'static str> {
    if file.is_dir() {
        return Some("that is a folder");
    }
    let folder = file.parent()?;
    (!folder.as_os_str().is_empty() && !folder.is_dir()).then_some("its folder does not exist")
}
