//! Loads a kernel, launches it, reads its results, and looks at what it cost.
//!
//! `cargo run -p ptx-sim --example 01_launch`

use ptx_sim::{ComputeCapability, Device, DeviceProperties, LaunchConfig};

/// `y = a * x + y`, compiled from `saxpy.cu`.
const PTX: &str = include_str!("saxpy.ptx");

const N: usize = 1000;

fn main() -> ptx_sim::Result<()> {
    let device = Device::new(DeviceProperties::of(ComputeCapability::Sm80));
    let module = device.load_module(PTX)?;
    let kernel = module.kernel("saxpy")?;
    for parameter in kernel.parameters() {
        println!("{}: {} bytes at {}", parameter.name, parameter.size, parameter.offset);
    }

    let x: Vec<f32> = (0..N).map(|i| i as f32).collect();
    let y = vec![1.0f32; N];
    let device_x = device.allocate(4 * N as u64)?;
    let device_y = device.allocate(4 * N as u64)?;
    device.write(device_x, &bytes_of(&x))?;
    device.write(device_y, &bytes_of(&y))?;

    // The parameters as they lie in memory: n, a, x, y.
    let mut parameters = Vec::new();
    parameters.extend((N as i32).to_le_bytes());
    parameters.extend(0.5f32.to_le_bytes());
    parameters.extend(device_x.to_le_bytes());
    parameters.extend(device_y.to_le_bytes());

    let stream = device.create_stream();
    stream.launch(&kernel, &LaunchConfig::new([4, 1, 1], [256, 1, 1]), &parameters)?;
    let reports = stream.synchronize()?;

    let mut result = vec![0; 4 * N];
    device.read(device_y, &mut result)?;
    let result = floats_of(&result);
    println!("y[10] = {}, y[999] = {}\n", result[10], result[999]);
    assert!(result.iter().zip(&x).all(|(result, x)| *result == 0.5 * x + 1.0));

    println!("{}", reports[0]);
    let counters = &reports[0].counters;
    // x and y are read once, y is written once.
    assert_eq!((counters.global_read.unique_bytes, counters.global_written.unique_bytes), (8000, 4000));
    Ok(())
}

fn bytes_of(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

fn floats_of(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}
