//! Inside another engine: its stream and its memory come in as raw handles, and stay its own. The engine here is a stand-in
//! that knows nothing of this library; on a machine without a GPU its driver is the simulated one.
//! `cargo run --example 06_borrowed_memory --features sim`

use std::error::Error;
use std::sync::Arc;

use bytemuck::cast_slice;
use half::f16;
use llama_kernels::device::DeviceChoice;
use llama_kernels::gpu::cudarc::driver::{CudaContext, CudaStream};
use llama_kernels::gpu::{Buffer, Device, Stream, TensorMut, TensorRef};
use llama_kernels::ops::{self, AddRmsNorm};
use llama_kernels::tensor::DType;

/// Tokens in the engine's batch, and elements from one of its rows to the next: it pads them.
const TOKENS: usize = 5;
const HIDDEN: usize = 256;
const ROW_STRIDE: usize = HIDDEN + 64;

/// What the host engine has: memory that it allocated, and hands out as bare addresses.
struct HostEngine {
    x: Buffer,
    residual: Buffer,
    weight: Buffer,
}

impl HostEngine {
    fn new(device: &Device) -> llama_kernels::Result<Self> {
        let filled = |elements: usize, value: &dyn Fn(usize) -> f32| -> llama_kernels::Result<Buffer> {
            let values: Vec<f16> = (0..elements).map(|i| f16::from_f32(value(i))).collect();
            let mut buffer = device.allocate(size_of_val(&values[..]))?;
            buffer.write(0, cast_slice(&values))?;
            Ok(buffer)
        };
        Ok(HostEngine {
            x: filled(TOKENS * ROW_STRIDE, &|i| (i as f32 * 0.11).cos())?,
            residual: filled(TOKENS * ROW_STRIDE, &|i| (i as f32 * 0.07).sin())?,
            weight: filled(HIDDEN, &|_| 1.0)?,
        })
    }
}

/// The engine's stream, which it keeps and destroys; on a machine without a GPU there is none.
fn host_stream(device: &Device) -> Result<Option<Arc<CudaStream>>, Box<dyn Error>> {
    Ok(device.cuda_context().map(CudaContext::new_stream).transpose()?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let device = Device::open(DeviceChoice::Auto)?;
    let host = HostEngine::new(&device)?;
    let host_stream = host_stream(&device)?;
    let stream = match &host_stream {
        // SAFETY: the bare handle is a stream of this device's context, and its owner outlives what borrows it.
        Some(owner) => unsafe { Stream::from_raw(&device, owner.cu_stream()) }?,
        None => device.new_stream()?,
    };

    let (shape, strides) = ([TOKENS, HIDDEN], [ROW_STRIDE, 1]);
    // SAFETY: the engine's buffers hold `TOKENS` rows of `ROW_STRIDE` f16 each (the weight one of `HIDDEN`), nobody else
    // uses them meanwhile, and they live until the stream has been waited for below. The norm may be written over `x`.
    let (x, residual, weight, out) = unsafe {
        (
            TensorRef::from_raw(&device, host.x.address(), DType::F16, &shape, &strides)?,
            TensorMut::from_raw(&device, host.residual.address(), DType::F16, &shape, &strides)?,
            TensorRef::from_raw(&device, host.weight.address(), DType::F16, &[HIDDEN], &[1])?,
            TensorMut::from_raw(&device, host.x.address(), DType::F16, &shape, &strides)?,
        )
    };
    ops::add_rms_norm(
        &stream,
        &AddRmsNorm { x, residual, weight, eps: 1e-5, columns: None, out, error: None },
    )?;
    stream.synchronize()?;

    let mut bytes = vec![0; TOKENS * ROW_STRIDE * 2];
    host.x.read(0, &mut bytes)?;
    let normed: Vec<f32> = bytes.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()).collect();
    for (token, row) in normed.chunks(ROW_STRIDE).enumerate() {
        let mean_square = row[..HIDDEN].iter().map(|x| x * x).sum::<f32>() / HIDDEN as f32;
        println!("token {token}: {:7.3?} ..., mean square {mean_square:.3}", &row[..4]);
        assert!((mean_square - 1.0).abs() < 0.01, "a normed row has a mean square of 1");
    }

    // What is wrong is said before anything is launched.
    // SAFETY: the launch is refused.
    let weight =
        unsafe { TensorRef::from_raw(&device, host.weight.address(), DType::F16, &[HIDDEN / 2], &[1]) }?;
    // SAFETY: as above.
    let out = unsafe { TensorMut::from_raw(&device, host.residual.address(), DType::F16, &shape, &strides) }?;
    let error =
        ops::rms_norm(&stream, &ops::RmsNorm { x, weight, eps: 1e-5, columns: None, out, error: None });
    println!("refused: {}", error.expect_err("the weight is too short"));
    Ok(())
}
