//! Hand-written CUDA kernels for the Llama family, with a CPU reference of each and a minimal forward pass.
#![deny(missing_docs)]

pub mod backend;
#[cfg(all(feature = "cli", feature = "kernels"))]
pub mod bench;
#[cfg(all(feature = "cli", feature = "kernels"))]
pub mod check;
pub mod cost;
pub mod device;
mod error;
#[cfg(feature = "kernels")]
pub mod gpu;
#[cfg(feature = "model")]
pub mod model;
#[cfg(feature = "kernels")]
pub mod ops;
mod par;
pub mod params;
pub mod plan;
pub mod quant;
#[cfg(any(feature = "model", test))]
mod random;
pub mod reference;
pub mod tensor;

pub use error::{Error, Result};

/// Compiles the README's examples.
#[cfg(all(doctest, feature = "model", feature = "kernels"))]
#[doc = include_str!("../README.md")]
struct Readme;
