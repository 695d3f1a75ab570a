//! JSON whose objects have each key once, and the path of every value, so that an error says where.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// What is wrong with a launch file.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}expected {expected}, given {given}", place(.path))]
pub struct FieldError {
    /// Where: `arguments[2].buffer.bytes`; empty for the file as a whole.
    pub path: String,
    /// What would be right there.
    pub expected: String,
    /// What stands there.
    pub given: String,
}

fn place(path: &str) -> String {
    if path.is_empty() { String::new() } else { format!("{path}: ") }
}

pub type Result<T> = std::result::Result<T, FieldError>;

/// A JSON value. Unlike `serde_json::Value`, reading one fails where an object has a key twice.
#[derive(Debug, PartialEq)]
pub enum Json {
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Integer(value) => write!(f, "{value}"),
            Self::Float(value) => write!(f, "{value:?}"),
            Self::Text(text) => write_shortened(f, text),
            Self::Array(items) => write!(f, "an array of {}", items.len()),
            Self::Object(entries) if entries.is_empty() => f.write_str("an object without fields"),
            Self::Object(entries) => {
                let names: Vec<_> = entries.iter().take(8).map(|(name, _)| name.as_str()).collect();
                write!(f, "an object with {}", names.join(", "))
            }
        }
    }
}

/// A file may hold megabytes where a number belongs; the error shows the beginning.
fn write_shortened(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    const SHOWN: usize = 60;
    match text.char_indices().nth(SHOWN) {
        None => write!(f, "{text:?}"),
        Some((end, _)) => write!(f, "{:?}…", &text[..end]),
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> std::result::Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> std::result::Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> std::result::Result<Json, E> {
        Ok(Json::Integer(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> std::result::Result<Json, E> {
        Ok(Json::Integer(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> std::result::Result<Json, E> {
        Ok(Json::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> std::result::Result<Json, E> {
        Ok(Json::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> std::result::Result<Json, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element()? {
            array.push(item);
        }
        Ok(Json::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> std::result::Result<Json, A::Error> {
        let mut object = Vec::<(String, Json)>::new();
        let mut names = std::collections::BTreeSet::new();
        while let Some((name, value)) = entries.next_entry::<String, Json>()? {
            if !names.insert(name.clone()) {
                return Err(A::Error::custom(format!("the field `{name}` stands twice in one object")));
            }
            object.push((name, value));
        }
        Ok(Json::Object(object))
    }
}

/// A value and where it stands.
#[derive(Clone)]
pub struct Node<'a> {
    pub json: &'a Json,
    pub path: String,
}

impl<'a> Node<'a> {
    /// The whole file.
    pub fn root(json: &'a Json) -> Self {
        Self { json, path: String::new() }
    }

    /// That something else belongs here.
    pub fn error<T>(&self, expected: impl Into<String>) -> Result<T> {
        self.error_given(expected, self.json.to_string())
    }

    /// That something else belongs here, with what was found in other words than the JSON's own.
    pub fn error_given<T>(&self, expected: impl Into<String>, given: impl Into<String>) -> Result<T> {
        Err(FieldError { path: self.path.clone(), expected: expected.into(), given: given.into() })
    }

    /// A whole number from `least` to `most`.
    pub fn integer(&self, least: i128, most: i128) -> Result<i128> {
        match self.json {
            Json::Integer(value) if (least..=most).contains(value) => Ok(*value),
            _ => self.error(format!("a whole number from {least} to {most}")),
        }
    }

    /// A whole number from `least` on that fits a `u32`.
    pub fn u32(&self, least: u32) -> Result<u32> {
        self.integer(least.into(), u32::MAX.into()).map(|value| value as u32)
    }

    /// `true` or `false`.
    pub fn bool(&self) -> Result<bool> {
        match self.json {
            Json::Bool(value) => Ok(*value),
            _ => self.error("true or false"),
        }
    }

    /// A string that is not empty.
    pub fn text(&self, what: &str) -> Result<&'a str> {
        match self.json {
            Json::Text(text) if !text.is_empty() => Ok(text),
            _ => self.error(what),
        }
    }

    /// The items of an array.
    pub fn items(&self, what: &str) -> Result<Vec<Node<'a>>> {
        match self.json {
            Json::Array(items) => {
                Ok(items.iter().enumerate().map(|(i, item)| self.child(item, &format!("[{i}]"))).collect())
            }
            _ => self.error(what),
        }
    }

    /// The names and values of an object whose names are free.
    pub fn entries(&self, what: &str) -> Result<Vec<(&'a str, Node<'a>)>> {
        match self.json {
            Json::Object(entries) => Ok(entries
                .iter()
                .map(|(name, value)| (name.as_str(), self.child(value, &dotted(&self.path, name))))
                .collect()),
            _ => self.error(what),
        }
    }

    /// An object with none but the `known` fields.
    pub fn fields(&self, what: &'static str, known: &'static [&'static str]) -> Result<Fields<'a>> {
        let Json::Object(entries) = self.json else {
            return self.error(format!("{what}: an object with {}", known.join(", ")));
        };
        if let Some((name, _)) = entries.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            return self.error_given(
                format!("{what}: an object with {}", known.join(", ")),
                format!("the unknown field {}", Json::Text(name.clone())),
            );
        }
        Ok(Fields { node: self.clone(), entries })
    }

    fn child(&self, json: &'a Json, step: &str) -> Self {
        Self { json, path: format!("{}{step}", self.path) }
    }
}

fn dotted(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!(".{name}") }
}

/// The fields of an object.
pub struct Fields<'a> {
    node: Node<'a>,
    entries: &'a [(String, Json)],
}

impl<'a> Fields<'a> {
    /// The object itself.
    pub fn node(&self) -> &Node<'a> {
        &self.node
    }

    /// A field that may be left out.
    pub fn get(&self, name: &str) -> Option<Node<'a>> {
        let (_, json) = self.entries.iter().find(|(n, _)| n == name)?;
        Some(self.node.child(json, &dotted(&self.node.path, name)))
    }

    /// A field that must be there.
    pub fn require(&self, name: &str, expected: &str) -> Result<Node<'a>> {
        self.get(name).map_or_else(|| self.missing(name, expected), Ok)
    }

    /// That a field must be there.
    pub fn missing<T>(&self, name: &str, expected: &str) -> Result<T> {
        let path = format!("{}{}", self.node.path, dotted(&self.node.path, name));
        Err(FieldError { path, expected: expected.into(), given: "nothing".into() })
    }

    /// The one field of an object that is a choice between several.
    pub fn only(&self, expected: &str) -> Result<(&'a str, Node<'a>)> {
        match self.entries {
            [(name, json)] => Ok((name, self.node.child(json, &dotted(&self.node.path, name)))),
            _ => self.node.error(expected),
        }
    }
}
