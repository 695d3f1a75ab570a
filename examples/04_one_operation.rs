//! One CUDA kernel on buffers of our own: SwiGLU of three rows, on the first GPU or, without one, on the simulated GPU.
//! `cargo run --example 04_one_operation --features sim`

use bytemuck::cast_slice;
use half::bf16;
use llama_kernels::Result;
use llama_kernels::device::DeviceChoice;
use llama_kernels::gpu::{Device, TensorMut, TensorRef};
use llama_kernels::ops::{self, SiluAndMul};
use llama_kernels::plan;
use llama_kernels::tensor::{DType, Tensor};

const TOKENS: usize = 3;
const INTERMEDIATE: usize = 64;

fn main() -> Result<()> {
    let device = Device::open(DeviceChoice::Auto)?;
    let stream = device.new_stream()?;

    // Gate and up of each token, side by side.
    let values: Vec<bf16> =
        (0..TOKENS * 2 * INTERMEDIATE).map(|i| bf16::from_f32((i as f32 * 0.37).sin())).collect();
    let mut buffer = device.allocate(size_of_val(&values[..]))?;
    buffer.write(0, cast_slice(&values))?;
    let gate_up = Tensor::new(buffer, DType::BF16, &[TOKENS, 2 * INTERMEDIATE])?;
    let mut out =
        Tensor::new(device.allocate(TOKENS * INTERMEDIATE * 2)?, DType::BF16, &[TOKENS, INTERMEDIATE])?;

    // What will run is known before it does.
    if let Some(plan) = plan::silu_and_mul(DType::BF16, TOKENS, INTERMEDIATE)? {
        println!("{plan}");
    }
    let args = SiluAndMul { gate_up: TensorRef::new(gate_up.view())?, out: TensorMut::new(out.view_mut())? };
    ops::silu_and_mul(&stream, &args)?;
    stream.synchronize()?;

    let mut bytes = vec![0; out.num_bytes()];
    out.view().buffer.read(0, &mut bytes)?;
    let results: Vec<f32> =
        bytes.chunks_exact(2).map(|b| bf16::from_le_bytes([b[0], b[1]]).to_f32()).collect();
    for (token, row) in results.chunks(INTERMEDIATE).enumerate() {
        println!("token {token}: {:8.4?} ...", &row[..6]);
    }

    // The formula, for comparison: both are within a rounding of bf16.
    let silu = |x: f32| x / (1.0 + (-x).exp());
    for (i, &result) in results.iter().enumerate() {
        let (token, column) = (i / INTERMEDIATE, i % INTERMEDIATE);
        let row = &values[token * 2 * INTERMEDIATE..];
        let expected = silu(row[column].to_f32()) * row[INTERMEDIATE + column].to_f32();
        assert!((result - expected).abs() <= expected.abs() / 128.0, "{result} instead of {expected}");
    }
    println!("{} values as expected, on {}", results.len(), device.properties().name);
    Ok(())
}
