//! The compiled kernels and the script that compiles them.

// Elsewhere the script decides for a stub and nothing else.
#[cfg(target_os = "linux")]
mod build_script;
mod params;

#[cfg(feature = "sim")]
mod attention;
#[cfg(feature = "sim")]
mod attention_decode;
#[cfg(feature = "kernels")]
mod budget;
#[cfg(feature = "sim")]
mod device;
#[cfg(feature = "sim")]
mod fp8;
#[cfg(feature = "sim")]
mod graphs;
#[cfg(feature = "kernels")]
mod images;
#[cfg(feature = "sim")]
mod int4;
#[cfg(feature = "kernels")]
mod listing;
#[cfg(feature = "sim")]
mod matmul;
#[cfg(feature = "sim")]
mod matmul_fp8;
#[cfg(feature = "sim")]
mod matmul_int4;
#[cfg(feature = "sim")]
mod operands;
#[cfg(all(feature = "sim", feature = "cli"))]
mod ops;
#[cfg(all(feature = "sim", feature = "cli"))]
mod rope_sample;
#[cfg(feature = "kernels")]
mod sass;
#[cfg(feature = "sim")]
mod tensors;
#[cfg(feature = "kernels")]
mod tools;
#[cfg(all(feature = "sim", feature = "cli"))]
mod traffic;
