//! A plain f32 weight, quantised to 4 bits and to fp8, and multiplied by on the first GPU or, without one, on the simulated GPU.
//! `cargo run --example 10_quantised_matmul --features sim`

use half::bf16;
use llama_kernels::Result;
use llama_kernels::device::DeviceChoice;
use llama_kernels::gpu::{Buffer, Device, TensorMut, TensorRef};
use llama_kernels::ops::{
    self, Epilogue, Fp8Mut, Fp8Out, Fp8Ref, Int4Ref, MatmulFp8, MatmulInt4, QuantizeFp8,
};
use llama_kernels::quant::fp8_rows::Fp8Rows;
use llama_kernels::quant::int4::{GroupSize, Int4, Packed};
use llama_kernels::tensor::{Bytes, DType, HostTensor, Tensor};

const M: usize = 3;
const N: usize = 256;
const K: usize = 512;

fn copied(device: &Device, dtype: DType, shape: &[usize], bytes: &[u8]) -> Result<Tensor<Buffer>> {
    let mut buffer = device.allocate(bytes.len())?;
    buffer.write(0, bytes)?;
    Tensor::new(buffer, dtype, shape)
}

/// Some number from -1 to 1.
fn number(i: usize) -> f32 {
    let mixed = (i as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    ((mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 40) as f32 / (1 << 23) as f32 - 1.0
}

fn main() -> Result<()> {
    let device = Device::open(DeviceChoice::Auto)?;
    let stream = device.new_stream()?;
    let weights: Vec<f32> = (0..N * K).map(|i| number(i) / 16.0).collect();
    let data = Bytes::new(bytemuck::cast_slice(&weights).to_vec());
    let weight = HostTensor { name: "weight".into(), dtype: DType::F32, shape: vec![N, K], data };
    let xs: Vec<bf16> = (0..M * K).map(|i| bf16::from_f32(number(i + N * K))).collect();
    let x = copied(&device, DType::BF16, &[M, K], bytemuck::cast_slice(&xs))?;
    let mut out = copied(&device, DType::F32, &[M, N], &[0; 4 * M * N])?;

    // 4 bits: groups of 128 columns share a scale; the order is that of the tensor cores' fragments.
    let int4 = Int4::quantize(&weight, DType::BF16, GroupSize::Of128)?;
    let packed = Packed::new(&int4);
    let codes = copied(&device, DType::U8, &[packed.codes().len()], packed.codes())?;
    let scales = copied(&device, DType::BF16, &packed.scales_shape(), bytemuck::cast_slice(packed.scales()))?;
    let (codes, scales) = (TensorRef::new(codes.view())?, TensorRef::new(scales.view())?);
    let weight_int4 = Int4Ref { n: N, k: K, codes, scales, integer_zeros: packed.integer_zeros() };
    let (x, sums) = (TensorRef::new(x.view())?, TensorMut::new(out.view_mut())?);
    let (bias, epilogue, batch_invariant) = (None, Epilogue::None, false);
    let args =
        MatmulInt4 { x, weight: weight_int4, bias, epilogue, batch_invariant, workspace: None, out: sums };
    ops::matmul_int4(&stream, &args)?;
    stream.synchronize()?;
    compare(&device, "int4", &out, &xs, &weights)?;

    // fp8: a scale for each row of the weight, and one for each token, which a kernel finds.
    let rows = Fp8Rows::quantize(&weight)?;
    let codes = copied(&device, DType::F8E4M3, &[N, K], rows.codes())?;
    let scales = copied(&device, DType::F32, &[N, 1], bytemuck::cast_slice(rows.scales()))?;
    let mut x_codes = copied(&device, DType::F8E4M3, &[M, K], &[0; M * K])?;
    let mut x_scale = copied(&device, DType::F32, &[M, 1], &[0; 4 * M])?;
    let quantized =
        Fp8Mut { codes: TensorMut::new(x_codes.view_mut())?, scale: TensorMut::new(x_scale.view_mut())? };
    ops::quantize_fp8(&stream, &QuantizeFp8 { x, out: quantized })?;
    let x = Fp8Ref { codes: TensorRef::new(x_codes.view())?, scale: TensorRef::new(x_scale.view())? };
    let weight = Fp8Ref { codes: TensorRef::new(codes.view())?, scale: TensorRef::new(scales.view())? };
    let args = MatmulFp8 {
        x,
        weight,
        bias,
        epilogue,
        fast_accumulation: false,
        batch_invariant,
        workspace: None,
        out: Fp8Out::Native(TensorMut::new(out.view_mut())?),
    };
    ops::matmul_fp8(&stream, &args)?;
    stream.synchronize()?;
    compare(&device, "fp8", &out, &xs, &weights)
}

/// With the product of the weight as it was, on the CPU.
fn compare(device: &Device, format: &str, out: &Tensor<Buffer>, xs: &[bf16], weights: &[f32]) -> Result<()> {
    let mut bytes = vec![0; 4 * M * N];
    out.view().buffer.read(0, &mut bytes)?;
    let [mut off, mut all] = [0.0; 2];
    for (i, bytes) in bytes.as_chunks().0.iter().enumerate() {
        let exact: f32 = (0..K).map(|k| xs[i / N * K + k].to_f32() * weights[i % N * K + k]).sum();
        off += (f32::from_le_bytes(*bytes) - exact).powi(2);
        all += exact.powi(2);
    }
    let error = (off / all).sqrt();
    println!("{format}: {:.2}% off the product in f32, on {}", 100.0 * error, device.properties().name);
    assert!(error < 0.2, "{format} loses more than its bits");
    Ok(())
}
