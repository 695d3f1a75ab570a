//! The errors of the library.

use std::fmt;

use crate::violation::Violation;

/// The library's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The PTX is not well formed, or a name in it is unknown.
    #[error("PTX line {line}: {message}")]
    Syntax {
        /// From 1.
        line: u32,
        /// What was expected and what was found.
        message: String,
    },
    /// The PTX contains instructions or directives that the simulator does not execute.
    #[error("{}", list_unsupported(.0))]
    Unsupported(Vec<Unsupported>),
    /// The module as a whole cannot be loaded on this device.
    #[error("cannot load module: {0}")]
    Module(String),
    /// A kernel or variable that the module does not have.
    #[error("no {what} `{name}` in the module; it has: {}", .available.join(", "))]
    NotFound {
        /// `kernel` or `variable`.
        what: &'static str,
        /// The name asked for.
        name: String,
        /// What there is.
        available: Vec<String>,
    },
    /// A launch that a driver would refuse.
    #[error("cannot launch `{kernel}`: {argument} is {given}, expected {expected}")]
    Launch {
        /// The kernel.
        kernel: String,
        /// Which argument of the launch.
        argument: &'static str,
        /// What is allowed.
        expected: String,
        /// What was given.
        given: String,
    },
    /// A copy, fill, allocation or release of memory that a driver would refuse.
    #[error("{operation}: {message}")]
    Memory {
        /// The operation.
        operation: &'static str,
        /// What was wrong with it.
        message: String,
    },
    /// A tensor map that a driver would refuse.
    #[error(transparent)]
    TensorMap(#[from] TensorMapError),
    /// A kernel broke a rule while it ran.
    #[error("{0}")]
    Violation(Box<Violation>),
}

/// What is wrong with a [`crate::TensorMap`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("tensor map: {field} is {given}, expected {expected}")]
#[non_exhaustive]
pub struct TensorMapError {
    /// The field, such as `strides[1]`.
    pub field: String,
    /// What is allowed.
    pub expected: String,
    /// What was given.
    pub given: String,
}

/// An instruction or directive that is not executed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Unsupported {
    /// The kernel or function that it stands in; empty at module scope.
    pub function: String,
    /// Line of the PTX file.
    pub line: u32,
    /// As written.
    pub instruction: String,
    /// Why.
    pub reason: String,
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PTX line {}: `{}` in `{}`: {}", self.line, self.instruction, self.function, self.reason)
    }
}

fn list_unsupported(list: &[Unsupported]) -> String {
    const SHOWN: usize = 20;
    let mut text = format!("{} unsupported instruction(s)", list.len());
    for one in list.iter().take(SHOWN) {
        text.push_str(&format!("\n  {one}"));
    }
    if list.len() > SHOWN {
        text.push_str(&format!("\n  … and {} more", list.len() - SHOWN));
    }
    text
}

impl Error {
    pub(crate) fn syntax(line: u32, message: impl Into<String>) -> Self {
        Self::Syntax { line, message: message.into() }
    }
}
