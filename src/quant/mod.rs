//! Quantised number formats, without any device: how values become codes and back.

pub mod fp8;
pub mod fp8_rows;
pub mod int4;
mod source;
