//! Attention of a decode step, captured once and replayed while its sequence grows: the length lies in device memory, so the
//! same recorded launches serve every length. `cargo run --example 07_captured_decode --features sim`

use bytemuck::{Pod, cast_slice};
use half::f16;
use llama_kernels::Result;
use llama_kernels::device::DeviceChoice;
use llama_kernels::gpu::{Buffer, Device, Stream, TensorMut, TensorRef};
use llama_kernels::ops::{self, Attention, Decode, KeysValues};
use llama_kernels::plan;
use llama_kernels::tensor::{DType, Tensor};

const HEADS: usize = 4;
const HEAD_DIM: usize = 64;
/// The most keys that the sequence may come to have.
const CONTEXT: usize = 512;

fn tensor<T: Pod>(device: &Device, dtype: DType, shape: &[usize], values: &[T]) -> Result<Memory> {
    let mut buffer = device.allocate(size_of_val(values))?;
    buffer.write(0, cast_slice(values))?;
    Tensor::new(buffer, dtype, shape)
}

type Memory = Tensor<Buffer>;

/// A query, the cache of one sequence with one key/value head, and what describes it.
struct Step {
    q: Memory,
    k: Memory,
    v: Memory,
    kv_indptr: Memory,
    q_indptr: Memory,
    kv_len: Memory,
}

impl Step {
    fn attention<'a>(&'a self, out: &'a mut Memory) -> Result<Attention<'a>> {
        Ok(Attention {
            q: TensorRef::new(self.q.view())?,
            keys_values: KeysValues::Contiguous {
                k: TensorRef::new(self.k.view())?,
                v: TensorRef::new(self.v.view())?,
                kv_indptr: TensorRef::new(self.kv_indptr.view())?,
            },
            k_scale: 1.0,
            v_scale: 1.0,
            q_indptr: TensorRef::new(self.q_indptr.view())?,
            kv_len: TensorRef::new(self.kv_len.view())?,
            sequences: 0..1,
            max_q_len: 1,
            max_kv_len: CONTEXT,
            softmax_scale: 1.0 / (HEAD_DIM as f32).sqrt(),
            out: TensorMut::new(out.view_mut())?,
            lse: None,
            error: None,
        })
    }

    fn launch(&self, stream: &Stream, workspace: &mut Memory, out: &mut Memory) -> Result<()> {
        let decode = Decode { workspace: TensorMut::new(workspace.view_mut())?, batch_invariant: false };
        ops::attention_decode(stream, &self.attention(out)?, &decode)
    }
}

fn main() -> Result<()> {
    let device = Device::open(DeviceChoice::Auto)?;
    let stream = device.new_stream()?;
    let (q_shape, kv_shape) = ([1, HEADS, HEAD_DIM], [CONTEXT, 1, HEAD_DIM]);
    let wave = |n, step: f32| (0..n).map(|i| f16::from_f32((i as f32 * step).sin())).collect::<Vec<_>>();
    let mut step = Step {
        q: tensor(&device, DType::F16, &q_shape, &wave(HEADS * HEAD_DIM, 0.3))?,
        k: tensor(&device, DType::F16, &kv_shape, &wave(CONTEXT * HEAD_DIM, 0.7))?,
        v: tensor(&device, DType::F16, &kv_shape, &wave(CONTEXT * HEAD_DIM, 0.9))?,
        kv_indptr: tensor(&device, DType::I32, &[2], &[0, CONTEXT as i32])?,
        q_indptr: tensor(&device, DType::I32, &[2], &[0i32, 1])?,
        kv_len: tensor(&device, DType::I32, &[1], &[0i32])?,
    };
    let out = || tensor(&device, DType::F16, &q_shape, &[f16::NAN; HEADS * HEAD_DIM]);
    let (mut replayed, mut launched) = (out()?, out()?);
    let (shape, limits) = (step.attention(&mut launched)?.shape()?, device.properties().limits());
    let plan = plan::attention_decode(&shape, false, limits)?;
    let bytes = plan.map_or(0, |plan| plan.workspace_bytes);
    let mut workspace = Tensor::new(device.allocate(bytes)?, DType::U8, &[bytes])?;

    // A kernel is loaded at its first launch, which a capture could not wait for.
    device.load_all()?;
    let graph = stream.capture(|stream| step.launch(stream, &mut workspace, &mut replayed))?;
    for kv_len in [1i32, 17, 128, 129, CONTEXT as i32] {
        step.kv_len.view_mut().buffer.write(0, cast_slice(&[kv_len]))?;
        // SAFETY: the memory of the step lives on, and nothing else is queued that uses it.
        unsafe { graph.launch(&stream) }?;
        step.launch(&stream, &mut workspace, &mut launched)?;
        stream.synchronize()?;
        let [mut replay, mut launch] = [vec![0; replayed.num_bytes()], vec![0; launched.num_bytes()]];
        replayed.view().buffer.read(0, &mut replay)?;
        launched.view().buffer.read(0, &mut launch)?;
        assert_eq!(replay, launch, "a replay gives other bits than a launch");
        println!("{kv_len:4} keys: {} replayed launches give the bits of new ones", graph.launches());
    }
    Ok(())
}
