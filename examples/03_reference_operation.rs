//! One operation of the CPU reference on tensors of our own, in f32 and with a GPU's bf16 roundings: what a kernel is judged
//! by. `cargo run --example 03_reference_operation --no-default-features`

use bytemuck::{cast_slice, cast_slice_mut};
use half::bf16;
use llama_kernels::Result;
use llama_kernels::backend::{ActivationMut, Backend, RmsNorm};
use llama_kernels::reference::{Activations, Cpu};
use llama_kernels::tensor::DType;

const ROWS: usize = 2;
const WIDTH: usize = 8;

fn main() -> Result<()> {
    let x: Vec<f32> = (0..ROWS * WIDTH).map(|i| (i as f32 * 0.7).sin() * 3.0).collect();
    let weight: Vec<f32> = (0..WIDTH).map(|i| 1.0 + i as f32 / 8.0).collect();
    let mut cpu = Cpu::<f32>::new(Activations::Exact);

    // The element type of a tensor is its precision: the same call rounds to bf16 where it stores bf16.
    let exact = rms_norm(&mut cpu, DType::F32, cast_slice(&x), cast_slice(&weight))?;
    let to_bf16 = |values: &[f32]| values.iter().map(|&v| bf16::from_f32(v)).collect::<Vec<_>>();
    let rounded = rms_norm(&mut cpu, DType::BF16, cast_slice(&to_bf16(&x)), cast_slice(&to_bf16(&weight)))?;

    let exact: &[f32] = cast_slice(&exact);
    let rounded: Vec<f32> =
        rounded.chunks_exact(2).map(|b| bf16::from_le_bytes([b[0], b[1]]).to_f32()).collect();
    for (row, (exact, rounded)) in exact.chunks(WIDTH).zip(rounded.chunks(WIDTH)).enumerate() {
        println!("row {row}\n  f32  {exact:7.3?}\n  bf16 {rounded:7.3?}");
    }
    Ok(())
}

/// `rms_norm` over `[ROWS, WIDTH]` in host memory; returns the bytes of the output.
fn rms_norm(cpu: &mut Cpu<f32>, dtype: DType, x: &[u8], weight: &[u8]) -> Result<Vec<u8>> {
    let mut x_tensor = cpu.alloc(dtype, &[ROWS, WIDTH])?;
    let mut weight_tensor = cpu.alloc(dtype, &[WIDTH])?;
    let mut out = cpu.alloc(dtype, &[ROWS, WIDTH])?;
    cpu.upload(x_tensor.view_mut(), x)?;
    cpu.upload(weight_tensor.view_mut(), weight)?;
    cpu.rms_norm(RmsNorm {
        x: x_tensor.view(),
        weight: weight_tensor.view(),
        eps: 1e-5,
        out: ActivationMut::Native(out.view_mut()),
    })?;
    let mut bytes = vec![0; out.num_bytes()];
    cpu.download(out.view(), cast_slice_mut(&mut bytes))?;
    Ok(bytes)
}
