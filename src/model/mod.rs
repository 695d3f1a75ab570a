//! Llama models, from the files of a model folder to generated text.
//!
//! [`checkpoint`], [`config`], [`tokenizer`] and [`chat`] read files that may come from anywhere, and treat them as hostile:
//! sizes are checked before they are used, nothing is allocated that the file does not justify, and what is wrong is an
//! [`Error`](crate::Error) that names the file and the part of it. [`forward`] computes a step of a ragged batch
//! ([`batch`]) over a paged cache ([`kv_cache`]); [`generate`] makes text of it.

pub mod batch;
mod buffers;
pub mod chat;
pub mod checkpoint;
pub mod config;
mod fields;
pub mod footprint;
pub mod forward;
pub mod generate;
mod json;
pub mod kv_cache;
mod presets;
mod random;
pub mod rope;
pub mod sampling;
mod specials;
pub mod stop;
pub mod tokenizer;
mod weights;
