//! The compiled kernels and the script that compiles them.

mod build_script;
mod params;

#[cfg(feature = "kernels")]
mod budget;
#[cfg(feature = "kernels")]
mod images;
#[cfg(feature = "kernels")]
mod sass;
#[cfg(feature = "kernels")]
mod tools;
