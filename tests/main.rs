//! Tests of the whole crate, one module an area.

mod kernels;
