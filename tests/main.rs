//! Tests of the whole crate, one module an area.

mod kernels;
mod manifest;
mod reference;

// Elsewhere there are no kernels, and perhaps no `cc`.
#[cfg(all(feature = "cli", feature = "sim"))]
mod bench_forward;
#[cfg(all(feature = "sim", feature = "cli", target_os = "linux"))]
mod c_abi;
#[cfg(feature = "cli")]
mod cli;
#[cfg(feature = "model")]
mod common;
#[cfg(all(feature = "cli", feature = "kernels", target_os = "linux"))]
mod driver;
#[cfg(feature = "model")]
mod forward;
#[cfg(feature = "model")]
mod golden;
#[cfg(all(feature = "model", feature = "sim"))]
mod gpu_forward;
#[cfg(feature = "model")]
mod model;
#[cfg(feature = "model")]
mod quantized;
#[cfg(feature = "model")]
mod random_model;
#[cfg(feature = "model")]
mod readers;
#[cfg(feature = "cli")]
mod readme;
#[cfg(feature = "cli")]
mod report;
