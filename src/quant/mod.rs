//! Quantised number formats, without any device: how values become codes and back.

pub mod fp8;
