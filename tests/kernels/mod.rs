//! The compiled kernels and the script that compiles them.

// Elsewhere the script decides for a stub and nothing else.
#[cfg(target_os = "linux")]
mod build_script;
mod params;

#[cfg(feature = "kernels")]
mod budget;
#[cfg(feature = "sim")]
mod device;
#[cfg(feature = "kernels")]
mod images;
#[cfg(all(feature = "sim", feature = "cli"))]
mod ops;
#[cfg(feature = "kernels")]
mod sass;
#[cfg(feature = "kernels")]
mod tools;
