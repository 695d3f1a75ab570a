//! Launch files: JSON that says which kernels of a module run, on what, and where the results go.
//!
//! The file is hostile until proven otherwise: nothing is computed with its sizes unchecked, and nothing is allocated
//! while it is read but what the file itself is large.

mod argument;
mod buffer;
mod json;
mod scalar;
mod tensor_map;
#[cfg(test)]
mod tests;
mod value;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Context;

pub use argument::{Argument, ParameterShape, pack};
pub use buffer::{Buffer, Fill, why_not_writable};
pub use json::FieldError;
pub use value::Placed;

use buffer::{Buffers, input_file, output_file};
use json::{Json, Node, Result};

/// Bytes of a launch file at most.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// Times that one launch is repeated at most.
const MAX_REPEAT: i128 = 1 << 16;

const LAUNCH_FIELDS: &[&str] = &[
    "kernel",
    "grid",
    "block",
    "cluster",
    "dynamic_shared_bytes",
    "registers_per_thread",
    "arguments",
    "programmatic",
    "repeat",
    "variables",
];

/// What a launch file says.
#[derive(Debug, PartialEq, Eq)]
pub struct LaunchFile {
    pub buffers: Vec<Buffer>,
    pub variables: Vec<Variable>,
    /// One after another.
    pub launches: Vec<Launch>,
}

/// One launch of a kernel.
#[derive(Debug, PartialEq, Eq)]
pub struct Launch {
    /// Where its arguments stand in the launch file.
    pub arguments_path: String,
    pub kernel: String,
    pub grid: [u32; 3],
    pub block: [u32; 3],
    pub cluster: [u32; 3],
    pub dynamic_shared_bytes: u32,
    pub registers_per_thread: Option<u32>,
    pub arguments: Vec<Argument>,
    /// Whether it may begin before the launch in front of it has ended.
    pub programmatic: bool,
    pub repeat: u32,
}

/// A variable of the module.
#[derive(Debug, PartialEq, Eq)]
pub struct Variable {
    pub name: String,
    /// Where it stands in the launch file.
    pub path: String,
    /// The file whose contents it begins with, and their length.
    pub from: Option<(PathBuf, u64)>,
    /// The file that it is written to.
    pub to: Option<PathBuf>,
}

impl LaunchFile {
    /// Reads a launch file; paths in it are relative to its folder.
    pub fn load(file: &Path) -> anyhow::Result<Self> {
        let name = || file.display().to_string();
        let text = crate::cli::read_text(file, MAX_FILE_BYTES)?;
        let json: Json = serde_json::from_str(&text).with_context(name)?;
        let folder = file.parent().unwrap_or(Path::new(""));
        read(&Node::root(&json), folder).with_context(name)
    }
}

fn read(root: &Node<'_>, folder: &Path) -> Result<LaunchFile> {
    let mut buffers = Buffers::default();
    let mut launches = Vec::new();
    let mut variables = Vec::new();
    let several =
        matches!(root.json, Json::Object(entries) if entries.iter().any(|(name, _)| name == "launches"));
    let fields = if several {
        let fields = root.fields("a file of several launches", &["buffers", "variables", "launches"])?;
        if let Some(named) = fields.get("buffers") {
            for (name, node) in named.entries("an object of buffers by name")? {
                buffers.read_named(name, &node, folder)?;
            }
        }
        let list = fields.require("launches", "an array of launches")?;
        let items = list.items("an array of launches")?;
        if items.is_empty() {
            return list.error("at least one launch");
        }
        for launch in items {
            launches.push(read_launch(
                &launch,
                &LAUNCH_FIELDS[..LAUNCH_FIELDS.len() - 1],
                &mut buffers,
                folder,
            )?);
        }
        fields
    } else {
        launches.push(read_launch(root, LAUNCH_FIELDS, &mut buffers, folder)?);
        root.fields("a launch", LAUNCH_FIELDS)?
    };
    if let Some(named) = fields.get("variables") {
        for (name, node) in named.entries("an object of variables by name")? {
            variables.push(read_variable(name, &node, folder)?);
        }
    }
    let buffers = buffers.finish()?;
    let outputs = buffers.iter().map(|b| (&b.path, &b.to)).chain(variables.iter().map(|v| (&v.path, &v.to)));
    let mut written = BTreeSet::new();
    for (path, to) in outputs {
        if let Some(file) = to
            && !written.insert(file)
        {
            return Err(FieldError {
                path: format!("{path}.to"),
                expected: "a file that nothing else is written to".into(),
                given: file.display().to_string(),
            });
        }
    }
    Ok(LaunchFile { buffers, variables, launches })
}

fn read_launch(
    node: &Node<'_>,
    known: &'static [&'static str],
    buffers: &mut Buffers,
    folder: &Path,
) -> Result<Launch> {
    let fields = node.fields("a launch", known)?;
    let dimensions = |name| fields.get(name).map(|node| read_dimensions(&node)).transpose();
    let required = |name| fields.require(name, DIMENSIONS).and_then(|node| read_dimensions(&node));
    let mut arguments = Vec::new();
    let list = fields.get("arguments");
    if let Some(list) = &list {
        for item in list.items("an array of arguments")? {
            arguments.push(argument::read(&item, buffers, folder)?);
        }
    }
    let prefix = if node.path.is_empty() { String::new() } else { format!("{}.", node.path) };
    Ok(Launch {
        arguments_path: format!("{prefix}arguments"),
        kernel: fields.require("kernel", "the name of a kernel")?.text("the name of a kernel")?.to_owned(),
        grid: required("grid")?,
        block: required("block")?,
        cluster: dimensions("cluster")?.unwrap_or([1; 3]),
        dynamic_shared_bytes: fields.get("dynamic_shared_bytes").map_or(Ok(0), |node| node.u32(0))?,
        registers_per_thread: fields.get("registers_per_thread").map(|node| node.u32(1)).transpose()?,
        arguments,
        programmatic: fields.get("programmatic").map_or(Ok(false), |node| node.bool())?,
        repeat: fields.get("repeat").map_or(Ok(1), |node| node.integer(1, MAX_REPEAT))? as u32,
    })
}

const DIMENSIONS: &str = "a number, or an array of one to three";

/// `128` or `[16, 16]`: what is left out is 1.
fn read_dimensions(node: &Node<'_>) -> Result<[u32; 3]> {
    if let Json::Integer(_) = node.json {
        return Ok([node.u32(1)?, 1, 1]);
    }
    let items = node.items(DIMENSIONS)?;
    if items.is_empty() || items.len() > 3 {
        return node.error(DIMENSIONS);
    }
    let mut dimensions = [1; 3];
    for (dimension, item) in dimensions.iter_mut().zip(&items) {
        *dimension = item.u32(1)?;
    }
    Ok(dimensions)
}

fn read_variable(name: &str, node: &Node<'_>, folder: &Path) -> Result<Variable> {
    let fields = node.fields("a variable", &["from", "to"])?;
    Ok(Variable {
        name: name.to_owned(),
        path: node.path.clone(),
        from: fields.get("from").map(|from| input_file(&from, folder)).transpose()?,
        to: fields.get("to").map(|to| output_file(&to, folder)).transpose()?,
    })
}
