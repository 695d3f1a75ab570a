//! The model's parts without a forward pass.

mod chat;
mod config;
mod goldens;
mod rope;
mod tokenizer;
