//! The GPU: which devices there are, and the kernels that were compiled for them.

mod device;
pub mod registry;

pub use device::{DeviceInfo, DriverVersion, devices, driver_version};
