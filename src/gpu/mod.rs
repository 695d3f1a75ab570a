//! The GPU: devices, their memory and streams, and the launch of the compiled kernels.
//!
//! Two drivers stand behind one set of types: NVIDIA's, through cudarc, and with the feature `sim` the simulated GPU of
//! [`ptx_sim`], which runs the kernels' PTX on the CPU and reports every rule that they break.
//!
//! A [`Device`] opens either; a [`Stream`] is the library's own, or a host's; [`TensorRef`] and [`TensorMut`] are what
//! operations take: device memory that belongs to somebody else.

mod buffer;
mod cache;
mod cuda;
mod device;
mod event;
mod graph;
mod installed;
mod launch;
mod module;
pub mod registry;
#[cfg(feature = "sim")]
mod sim;
mod staging;
mod stream;
mod tensor_map;
mod view;

pub use buffer::Buffer;
pub use cudarc;
pub use device::{Device, DeviceId, LAUNCHES_VARIABLE, MemoryBytes};
pub use event::Event;
pub use graph::Graph;
pub use installed::{DeviceInfo, DriverVersion, Properties, devices, driver_version};
pub use launch::{Grid, MAX_ARGUMENTS};
pub use module::{Function, Module};
#[cfg(feature = "sim")]
pub use ptx_sim;
pub use staging::{Staging, Upload};
pub use stream::Stream;
pub use tensor_map::{EncodedTensorMap, Swizzle, TensorMap, TensorMapType};
pub use view::{TensorMut, TensorRef};

/// Engines pass these between threads.
const _: fn() = || {
    fn is_portable<T: Send + Sync>() {}
    is_portable::<Device>();
    is_portable::<Stream>();
    is_portable::<Buffer>();
    is_portable::<Module>();
    is_portable::<Function>();
    is_portable::<Event>();
    is_portable::<Graph>();
    is_portable::<Staging>();
    is_portable::<TensorRef<'static>>();
    is_portable::<TensorMut<'static>>();
};
