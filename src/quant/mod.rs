//! Quantised number formats, without any device: how values become codes and back.

pub mod fp8;
pub mod fp8_blocks;
mod fp8_codes;
pub mod fp8_rows;
pub mod int4;
mod source;
