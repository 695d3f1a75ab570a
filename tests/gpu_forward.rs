//! Whole forward passes on CUDA kernels, on the device that LLAMA_KERNELS_DEVICE names: a GPU if there is one, else the
//! simulated one.

mod data;
mod fp8_cache;
mod goldens;
mod load;
mod quantized;
mod steps;

use llama_kernels::backend::{Gpu, GpuOptions};
use llama_kernels::device::DeviceChoice;
use llama_kernels::gpu::Device;
use llama_kernels::reference::compare::{self, Matrix};
use llama_kernels::reference::{Activations, Cpu};
use llama_kernels::tensor::DType;

/// A GPU of its own for each model, so that what it counts is known.
fn gpu() -> Gpu {
    Gpu::new(&device()).unwrap()
}

fn device() -> Device {
    let choice = DeviceChoice::from_env().unwrap();
    Device::open(choice).unwrap_or_else(|error| panic!("LLAMA_KERNELS_DEVICE={choice}: {error}"))
}

/// A GPU that runs otherwise than by default.
fn gpu_with(change: impl FnOnce(GpuOptions) -> GpuOptions) -> Gpu {
    let device = device();
    let options = change(GpuOptions::of(&device));
    Gpu::on_stream(device.new_stream().unwrap(), options).unwrap()
}

fn exact() -> Cpu<f64> {
    Cpu::new(Activations::Exact)
}

/// Rounds wherever a GPU stores 16 bits.
fn rounding() -> Cpu<f32> {
    Cpu::new(Activations::AsCheckpoint)
}

/// The element-wise rule for logits of `width` numbers a row.
#[track_caller]
fn judge(what: &str, ours: &[f64], exact: &[f64], naive: &[f64], width: usize, dtype: DType) {
    let matrix = |values| Matrix::new(values, width);
    match compare::elementwise(matrix(ours), matrix(exact), matrix(naive), dtype) {
        Ok(worst) => println!("{what}: {:.0}% of the bound", worst.share() * 100.0),
        Err(worst) => panic!("{what}: {worst}"),
    }
}
