//! The keys of a JSON object as numbers, flags and texts; every error names the file and the key.

use std::path::Path;

use serde_json::{Map, Value};

use super::json::kind;
use crate::{Error, Result};

/// An object of a configuration file. A key whose value is `null` counts as missing, as it does for
/// transformers.
pub(crate) struct Fields<'a> {
    file: &'a Path,
    /// Keys that lead to this object, each followed by a dot.
    prefix: String,
    map: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(file: &'a Path, map: &'a Map<String, Value>) -> Self {
        Fields { file, prefix: String::new(), map }
    }

    /// The object under `key`.
    pub(crate) fn object(&self, key: &str) -> Result<Option<Fields<'a>>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Object(map)) => {
                Ok(Some(Fields { file: self.file, prefix: format!("{}{key}.", self.prefix), map }))
            }
            Some(other) => Err(self.expected(key, "an object", other)),
        }
    }

    /// [`Error::Malformed`] about `key`.
    pub(crate) fn wrong(&self, key: &str, problem: impl Into<String>) -> Error {
        Error::malformed(self.file, format!("{}{key}", self.prefix), problem)
    }

    /// [`Error::Unsupported`], naming the file as well.
    pub(crate) fn unsupported(&self, what: impl AsRef<str>, reason: impl Into<String>) -> Error {
        Error::unsupported(format!("{}: {}", self.file.display(), what.as_ref()), reason)
    }

    /// Whether `key` has a value other than `null`.
    pub(crate) fn is_given(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    fn get(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    fn expected(&self, key: &str, expected: &str, given: &Value) -> Error {
        self.wrong(key, format!("expected {expected}, got {}", kind(given)))
    }

    /// A whole number from `min` to `max`.
    fn whole(&self, key: &str, min: u64, max: u64) -> Result<Option<usize>> {
        self.get(key)
            .map(|value| match value.as_u64() {
                Some(n) if (min..=max).contains(&n) => Ok(n as usize),
                _ => Err(self.expected(key, &format!("a whole number from {min} to {max}"), value)),
            })
            .transpose()
    }

    /// A number of things that may be none, up to `max`.
    pub(crate) fn count(&self, key: &str, max: u64) -> Result<Option<usize>> {
        self.whole(key, 0, max)
    }

    /// A size from 1 to `max` that must be there.
    pub(crate) fn size(&self, key: &str, max: u64) -> Result<usize> {
        self.whole(key, 1, max)?.ok_or_else(|| self.wrong(key, "missing"))
    }

    /// A size from 1 to `max`; the default is checked too.
    pub(crate) fn size_or(&self, key: &str, default: usize, max: u64) -> Result<usize> {
        let size = self.whole(key, 1, max)?.unwrap_or(default);
        if size == 0 || size as u64 > max {
            return Err(self.wrong(key, format!("missing, and {size} in its place is not within 1 to {max}")));
        }
        Ok(size)
    }

    /// A finite number.
    pub(crate) fn number(&self, key: &str) -> Result<Option<f64>> {
        self.get(key)
            .map(|value| match value.as_f64() {
                Some(x) if x.is_finite() => Ok(x),
                _ => Err(self.expected(key, "a number", value)),
            })
            .transpose()
    }

    /// A finite number, or the default.
    pub(crate) fn number_or(&self, key: &str, default: f64) -> Result<f64> {
        Ok(self.number(key)?.unwrap_or(default))
    }

    /// A number from `min` to `max`.
    pub(crate) fn number_within(&self, key: &str, min: f64, max: f64) -> Result<Option<f32>> {
        match self.number(key)? {
            Some(x) if !(min..=max).contains(&x) => {
                Err(self.wrong(key, format!("expected a number from {min} to {max}, got {x}")))
            }
            x => Ok(x.map(|x| x as f32)),
        }
    }

    /// `true` or `false`.
    pub(crate) fn flag(&self, key: &str) -> Result<Option<bool>> {
        self.get(key)
            .map(|value| value.as_bool().ok_or_else(|| self.expected(key, "true or false", value)))
            .transpose()
    }

    /// `true` or `false`, or the default.
    pub(crate) fn flag_or(&self, key: &str, default: bool) -> Result<bool> {
        Ok(self.flag(key)?.unwrap_or(default))
    }

    /// A string.
    pub(crate) fn text(&self, key: &str) -> Result<Option<&'a str>> {
        self.get(key)
            .map(|value| value.as_str().ok_or_else(|| self.expected(key, "a string", value)))
            .transpose()
    }

    /// The only string of a list.
    pub(crate) fn only_text(&self, key: &str) -> Result<Option<&'a str>> {
        match self.get(key).map(|value| (value, value.as_array().map(Vec::as_slice))) {
            None => Ok(None),
            Some((_, Some([Value::String(text)]))) => Ok(Some(text)),
            Some((value, _)) => Err(self.expected(key, "a list of one string", value)),
        }
    }

    /// One token or a list of tokens, each below `vocab_size`; none where the key is missing.
    pub(crate) fn token_ids(&self, key: &str, vocab_size: usize) -> Result<Vec<u32>> {
        let values = match self.get(key) {
            None => return Ok(Vec::new()),
            Some(Value::Array(values)) => values.as_slice(),
            Some(value) => std::slice::from_ref(value),
        };
        let id = |value: &Value| value.as_u64().filter(|&id| id < vocab_size as u64).map(|id| id as u32);
        values
            .iter()
            .map(|value| {
                id(value).ok_or_else(|| self.expected(key, &format!("a token below {vocab_size}"), value))
            })
            .collect()
    }

    /// As [`Fields::token_ids`]; the default where the key is missing, but none where it is `null`.
    pub(crate) fn token_ids_or(&self, key: &str, default: u32, vocab_size: usize) -> Result<Vec<u32>> {
        if !self.map.contains_key(key) && (default as usize) < vocab_size {
            return Ok(vec![default]);
        }
        self.token_ids(key, vocab_size)
    }
}
