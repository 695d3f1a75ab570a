//! Tests of the whole crate, one module an area.

#[cfg(feature = "model")]
mod model;
#[cfg(feature = "model")]
mod readers;
