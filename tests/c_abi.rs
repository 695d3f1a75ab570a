//! The C interface of `examples/09_c_abi`: as its header says, and as C, Rust and Python call it.

mod calls;
mod header;
mod library;
mod peers;
mod products;

/// The structs of the library itself.
#[path = "../examples/09_c_abi/types.rs"]
mod types;
