//! Decode attention over a paged KV cache that is the caller's: two sequences of different lengths, their pages in any
//! order. `cargo run --example 05_paged_attention --features sim`

use bytemuck::{Pod, cast_slice};
use half::bf16;
use llama_kernels::Result;
use llama_kernels::device::DeviceChoice;
use llama_kernels::gpu::{Buffer, Device, TensorMut, TensorRef};
use llama_kernels::ops::{self, Attention, Decode, KeysValues};
use llama_kernels::plan;
use llama_kernels::tensor::{DType, Tensor};

const Q_HEADS: usize = 8;
const KV_HEADS: usize = 2;
const HEAD_DIM: usize = 128;
const PAGE_SIZE: usize = 16;
const PAGES: usize = 8;
const KV_LEN: [i32; 2] = [37, 70];
/// The pages of each sequence; -1 behind the last.
const PAGE_TABLE: [[i32; 5]; 2] = [[6, 1, 3, -1, -1], [0, 7, 2, 5, 4]];

fn tensor<T: Pod>(device: &Device, dtype: DType, shape: &[usize], values: &[T]) -> Result<Tensor<Buffer>> {
    let mut buffer = device.allocate(size_of_val(values))?;
    buffer.write(0, cast_slice(values))?;
    Tensor::new(buffer, dtype, shape)
}

fn main() -> Result<()> {
    let device = Device::open(DeviceChoice::Auto)?;
    let stream = device.new_stream()?;
    let wave = |n: usize, step: f32| -> Vec<bf16> {
        (0..n).map(|i| bf16::from_f32((i as f32 * step).sin())).collect()
    };
    let (q, k, v) = (
        wave(2 * Q_HEADS * HEAD_DIM, 0.37),
        wave(PAGES * PAGE_SIZE * KV_HEADS * HEAD_DIM, 0.11),
        wave(PAGES * PAGE_SIZE * KV_HEADS * HEAD_DIM, 0.23),
    );
    let (q_shape, cache_shape) = ([2, Q_HEADS, HEAD_DIM], [PAGES, PAGE_SIZE, KV_HEADS, HEAD_DIM]);
    let q_tensor = tensor(&device, DType::BF16, &q_shape, &q)?;
    let k_cache = tensor(&device, DType::BF16, &cache_shape, &k)?;
    let v_cache = tensor(&device, DType::BF16, &cache_shape, &v)?;
    let page_table = tensor(&device, DType::I32, &[2, 5], PAGE_TABLE.as_flattened())?;
    let q_indptr = tensor(&device, DType::I32, &[3], &[0, 1, 2])?;
    let kv_len = tensor(&device, DType::I32, &[2], &KV_LEN)?;
    let mut out = tensor(&device, DType::BF16, &q_shape, &vec![bf16::NAN; q.len()])?;

    let attention = Attention {
        q: TensorRef::new(q_tensor.view())?,
        keys_values: KeysValues::Paged {
            k: TensorRef::new(k_cache.view())?,
            v: TensorRef::new(v_cache.view())?,
            page_table: TensorRef::new(page_table.view())?,
        },
        k_scale: 1.0,
        v_scale: 1.0,
        q_indptr: TensorRef::new(q_indptr.view())?,
        kv_len: TensorRef::new(kv_len.view())?,
        sequences: 0..2,
        max_q_len: 1,
        max_kv_len: 5 * PAGE_SIZE,
        softmax_scale: 1.0 / (HEAD_DIM as f32).sqrt(),
        out: TensorMut::new(out.view_mut())?,
        lse: None,
        error: None,
    };
    // Host-side bounds give the grid and the workspace; the lengths themselves are read on the device.
    let plan = plan::attention_decode(&attention.shape()?, false, device.properties().limits())?;
    let bytes = plan.map_or(0, |plan| plan.workspace_bytes);
    let mut workspace = Tensor::new(device.allocate(bytes)?, DType::U8, &[bytes])?;
    println!("{}", plan.map_or_else(String::new, |plan| plan.to_string()));
    let decode = Decode { workspace: TensorMut::new(workspace.view_mut())?, batch_invariant: false };
    ops::attention_decode(&stream, &attention, &decode)?;
    stream.synchronize()?;

    let mut bytes = vec![0; out.num_bytes()];
    out.view().buffer.read(0, &mut bytes)?;
    let out: Vec<f32> = bytes.chunks_exact(2).map(|b| bf16::from_le_bytes([b[0], b[1]]).to_f32()).collect();
    let mut worst = 0.0f32;
    for (row, out) in out.chunks(HEAD_DIM).enumerate() {
        let (sequence, kv_head) = (row / Q_HEADS, row % Q_HEADS / (Q_HEADS / KV_HEADS));
        // Where the key or value of a position begins.
        let place = |position: usize| {
            let page = PAGE_TABLE[sequence][position / PAGE_SIZE] as usize;
            ((page * PAGE_SIZE + position % PAGE_SIZE) * KV_HEADS + kv_head) * HEAD_DIM
        };
        let dot = |position: usize| -> f32 {
            (0..HEAD_DIM).map(|i| q[row * HEAD_DIM + i].to_f32() * k[place(position) + i].to_f32()).sum()
        };
        let weights: Vec<f32> =
            (0..KV_LEN[sequence] as usize).map(|p| (dot(p) / (HEAD_DIM as f32).sqrt()).exp()).collect();
        let sum: f32 = weights.iter().sum();
        for (i, &out) in out.iter().enumerate() {
            let value: f32 = weights.iter().enumerate().map(|(p, w)| w * v[place(p) + i].to_f32()).sum();
            worst = worst.max((out - value / sum).abs());
        }
    }
    println!("{} outputs, at most {worst:.4} from the formula, on {}", out.len(), device.properties().name);
    assert!(worst < 0.01);
    Ok(())
}
