//! The kernels behind a C interface, as a shared library: for engines in C, C++ or Python that bring raw device pointers and a
//! stream of their own. The interface is [`llama_kernels.h`](llama_kernels.h), [`main.c`](main.c) a program that uses it on
//! the simulated GPU, and `benches/peers.py` calls it through ctypes.
//!
//! `cargo build --release --example 09_c_abi --features sim` makes `target/release/examples/lib09_c_abi.so`.

mod attention;
mod device;
mod error;
mod ops;
mod products;
mod queue;
mod types;
