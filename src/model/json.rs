//! JSON from files that nobody vouches for: bounded size and depth, UTF-8, no key twice.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::marker::PhantomData;
use std::path::Path;

use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::{Error, Result};

/// Arrays and objects may nest this deep: the files of a model folder need 6 or so, and the recursive readers
/// of third parties (the `tokenizers` crate tries each of a dozen variants at each level) cannot be led into
/// long searches.
const MAX_DEPTH: usize = 24;

/// Reads a regular file of at most `max_bytes`.
pub(crate) fn read_file(file: &Path, max_bytes: u64) -> Result<Vec<u8>> {
    // Asked before opening: to open a named pipe would wait for somebody to write into it.
    let metadata = std::fs::metadata(file).map_err(|e| Error::io(file, e))?;
    if !metadata.is_file() {
        return Err(Error::malformed(file, "file", "not a regular file"));
    }
    let mut bytes = Vec::new();
    let read = File::open(file).and_then(|f| f.take(max_bytes + 1).read_to_end(&mut bytes));
    read.map_err(|e| Error::io(file, e))?;
    if bytes.len() as u64 > max_bytes {
        return Err(Error::malformed(file, "file", format!("larger than {max_bytes} bytes")));
    }
    Ok(bytes)
}

/// As [`read_file`]; `None` where there is no such file.
pub(crate) fn read_file_if_present(file: &Path, max_bytes: u64) -> Result<Option<Vec<u8>>> {
    match read_file(file, max_bytes) {
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

/// Parses JSON into `T`, after its depth has been bounded.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8], file: &Path, what: &str) -> Result<T> {
    check_depth(bytes).map_err(|problem| Error::malformed(file, what, problem))?;
    serde_json::from_slice(bytes).map_err(|e| Error::malformed(file, what, clip_message(&e.to_string())))
}

/// Parses a JSON object whose keys, at every level, are distinct.
pub(crate) fn parse_object(bytes: &[u8], file: &Path) -> Result<Map<String, Value>> {
    match parse(bytes, file, "JSON")? {
        Strict(Value::Object(map)) => Ok(map),
        Strict(other) => {
            Err(Error::malformed(file, "JSON", format!("expected an object, got {}", kind(&other))))
        }
    }
}

/// Refuses text whose brackets nest too deeply. Strings are skipped; whether the text is JSON is for the
/// parser to say.
pub(crate) fn check_depth(bytes: &[u8]) -> Result<(), String> {
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for &byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err(format!("nested deeper than {MAX_DEPTH} levels"));
                }
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

/// What a value is, for messages.
pub(crate) fn kind(value: &Value) -> String {
    match value {
        Value::Array(_) => "an array".into(),
        Value::Object(_) => "an object".into(),
        Value::String(s) => format!("\"{}\"", clip(s)),
        scalar => scalar.to_string(),
    }
}

/// A name from a file as a message may show it: short, and without characters that a terminal would obey.
pub(crate) fn clip(text: &str) -> String {
    printable(text, 80)
}

/// The message of a parser, which may quote the file, likewise.
pub(crate) fn clip_message(text: &str) -> String {
    printable(text, 400)
}

fn printable(text: &str, max_chars: usize) -> String {
    let mut shown = String::new();
    for (i, c) in text.chars().enumerate() {
        match c {
            _ if i == max_chars => {
                shown.push('…');
                break;
            }
            '"' | '\'' | '\\' => shown.push(c),
            _ => shown.extend(c.escape_debug()),
        }
    }
    shown
}

/// A JSON value without duplicate keys; serde_json's own would keep the last in silence.
pub(crate) struct Strict(pub Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Strict;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Strict, E> {
        Ok(Strict(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Strict, E> {
        Ok(Strict(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Strict, E> {
        Ok(Strict(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Strict, E> {
        Ok(Strict(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Strict, E> {
        Ok(Strict(value.into()))
    }

    fn visit_unit<E>(self) -> Result<Strict, E> {
        Ok(Strict(Value::Null))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Strict, A::Error> {
        let mut items = Vec::new();
        while let Some(Strict(item)) = seq.next_element()? {
            items.push(item);
        }
        Ok(Strict(items.into()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Strict, A::Error> {
        let DistinctMap(entries) = DistinctMap::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Strict(entries.into_iter().map(|(key, Strict(value))| (key, value)).collect::<Map<_, _>>().into()))
    }
}

/// A JSON object of `V`s, its keys distinct.
pub(crate) struct DistinctMap<V>(pub BTreeMap<String, V>);

impl<'de, V: Deserialize<'de>> Deserialize<'de> for DistinctMap<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MapVisitor<V>(PhantomData<V>);

        impl<'de, V: Deserialize<'de>> Visitor<'de> for MapVisitor<V> {
            type Value = DistinctMap<V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = BTreeMap::new();
                while let Some(key) = map.next_key::<String>()? {
                    if entries.contains_key(&key) {
                        return Err(A::Error::custom(format!("duplicate key `{}`", clip(&key))));
                    }
                    let value = map.next_value()?;
                    entries.insert(key, value);
                }
                Ok(DistinctMap(entries))
            }
        }

        deserializer.deserialize_map(MapVisitor(PhantomData))
    }
}
