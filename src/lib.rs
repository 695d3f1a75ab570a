//! Hand-written CUDA kernels for the Llama family, with a CPU reference of each and a minimal forward pass.
#![deny(missing_docs)]

pub mod backend;
mod error;
#[cfg(feature = "kernels")]
pub mod gpu;
#[cfg(feature = "model")]
pub mod model;
mod par;
pub mod params;
pub mod plan;
pub mod quant;
pub mod reference;
pub mod tensor;

pub use error::{Error, Result};
