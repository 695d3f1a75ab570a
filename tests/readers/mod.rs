//! Every reader of files against every way in which a file can be wrong. Each case states the error that it
//! must give: its variant, the file, the part of the file, and what is said of it.

pub mod checkpoint;
pub mod config;
pub mod folder;
pub mod index;
pub mod safetensors;
mod seeds;
pub mod tokenizer;

use std::fmt::Debug;

use llama_kernels::Error;

/// The error that a case must give.
#[derive(Clone, Copy)]
pub enum Expected {
    /// [`Error::Malformed`]: file, part, problem.
    Malformed(&'static str, &'static str, &'static str),
    /// [`Error::Unsupported`], and a part of its message; it begins with the file.
    Unsupported(&'static str, &'static str),
    /// [`Error::Io`] about a file.
    Io(&'static str),
}

/// Asserts that `result` is the expected error: its file by name, its part whole, its problem by what it
/// contains.
#[track_caller]
pub fn assert_error<T: Debug>(case: &str, result: Result<T, Error>, expected: Expected) {
    let error = match result {
        Ok(value) => panic!("{case}: accepted: {value:?}"),
        Err(error) => error,
    };
    let matches = match (&error, expected) {
        (Error::Malformed { file, what, problem }, Expected::Malformed(name, part, says)) => {
            file.ends_with(name) && what == part && problem.contains(says)
        }
        (Error::Unsupported { .. }, Expected::Unsupported(file, says)) => {
            let message = error.to_string();
            message.contains(&format!("{file}: ")) && message.contains(says)
        }
        (Error::Io { file, .. }, Expected::Io(name)) => file.ends_with(name),
        _ => false,
    };
    assert!(matches, "{case}: {error:?}: {error}");
}
