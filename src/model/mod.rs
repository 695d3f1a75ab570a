//! Llama models: configuration, checkpoint, tokenizer and chat template.
//!
//! Everything here reads files that may come from anywhere, and treats them as hostile: sizes are checked before they
//! are used, nothing is allocated that the file does not justify, and what is wrong is an [`Error`](crate::Error) that names
//! the file and the part of it.

pub mod chat;
pub mod checkpoint;
pub mod config;
mod fields;
mod json;
mod presets;
pub mod rope;
mod specials;
pub mod tokenizer;
