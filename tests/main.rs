//! Tests of the whole crate, one module an area.

mod kernels;
mod manifest;
mod reference;

#[cfg(feature = "cli")]
mod cli;
#[cfg(feature = "model")]
mod common;
#[cfg(feature = "model")]
mod forward;
#[cfg(feature = "model")]
mod golden;
#[cfg(all(feature = "model", feature = "sim"))]
mod gpu_forward;
#[cfg(feature = "model")]
mod model;
#[cfg(feature = "model")]
mod readers;
#[cfg(feature = "cli")]
mod readme;
