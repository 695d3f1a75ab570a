//! The CPU reference against formulas written out in f64.

mod attention;
mod compare;
mod errors;
mod fp8;
mod matmul;
mod memory;
mod norm;
mod oracle;
mod quantized;
mod rope;
mod rows;
mod support;
