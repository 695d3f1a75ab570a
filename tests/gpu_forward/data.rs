//! Data that only the device sees: out of range it is bounded and reported.

use llama_kernels::Error;
use llama_kernels::backend::{
    Attention, Backend, CacheFormat, Embed, GatherRows, Gpu, GpuOptions, ModelDims, PagedCache,
    PagedCacheMut, RopeAppendKv, RowOrder, Sample, StepBounds, WeightFormat, WeightSource,
};
use llama_kernels::gpu::Buffer;
use llama_kernels::params::SampleRow;
use llama_kernels::tensor::{Bytes, DType, HostTensor, Tensor};

use super::{gpu, gpu_with};

const DIMS: ModelDims = ModelDims {
    hidden_size: 64,
    intermediate_size: 64,
    num_q_heads: 2,
    num_kv_heads: 1,
    head_dim: 64,
    vocab_size: 10,
};
const PAGES: usize = 3;
const PAGE_SIZE: usize = 16;

/// What a call reports when its result is asked for; nothing the second time, for the word is cleared.
#[track_caller]
fn reported(gpu: &mut Gpu, tensor: &Tensor<Buffer>, part: Option<&str>) {
    let mut bytes = vec![0; tensor.num_bytes()];
    match (gpu.download(tensor.view(), &mut bytes), part) {
        (Ok(()), None) => {}
        (Err(Error::DeviceData { what }), Some(part)) => assert!(what.contains(part), "{what}"),
        (other, expected) => panic!("{other:?} instead of {expected:?}"),
    }
    gpu.download(tensor.view(), &mut bytes).unwrap();
}

fn numbers(gpu: &mut Gpu, values: &[i32]) -> Tensor<Buffer> {
    let mut tensor = gpu.alloc(DType::I32, &[values.len()]).unwrap();
    gpu.upload(tensor.view_mut(), bytemuck_bytes(values).as_slice()).unwrap();
    tensor
}

fn bytemuck_bytes(values: &[i32]) -> Vec<u8> {
    values.iter().flat_map(|x| x.to_le_bytes()).collect()
}

#[test]
#[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
fn ids_and_rows_out_of_range_are_reported() {
    let mut gpu = gpu();
    gpu.prepare(&DIMS, DType::BF16).unwrap();
    let data = Bytes::new(vec![0x3F; 10 * 64 * 2]);
    let part = HostTensor { name: "embed".into(), dtype: DType::BF16, shape: vec![10, 64], data };
    let table = gpu
        .load_weight(WeightSource {
            parts: vec![part],
            biases: Vec::new(),
            rows: RowOrder::Concatenated,
            format: WeightFormat::Native,
        })
        .unwrap();
    let mut out = gpu.alloc(DType::BF16, &[2, 64]).unwrap();
    for (ids, part) in
        [([0, 9], None), ([0, 10], Some("a token id lay outside")), ([-1, 3], Some("a token id lay outside"))]
    {
        let ids = numbers(&mut gpu, &ids);
        gpu.embed(Embed { ids: ids.view(), table: &table, out: out.view_mut() }).unwrap();
        reported(&mut gpu, &out, part);
    }
    let x = gpu.alloc(DType::BF16, &[4, 64]).unwrap();
    for (rows, part) in [([3, 0], None), ([4, 0], Some("a row index lay outside"))] {
        let rows = numbers(&mut gpu, &rows);
        gpu.gather_rows(GatherRows { x: x.view(), rows: rows.view(), out: out.view_mut() }).unwrap();
        reported(&mut gpu, &out, part);
    }
}

/// One token of one sequence, and a cache of three pages.
struct Cached {
    gpu: Gpu,
    k: Tensor<Buffer>,
    v: Tensor<Buffer>,
    q: Tensor<Buffer>,
}

impl Cached {
    fn new(mut gpu: Gpu) -> Self {
        gpu.prepare(&DIMS, DType::BF16).unwrap();
        let bounds = StepBounds {
            num_tokens: 1,
            batch: 1,
            num_decodes: 1,
            max_q_len: 1,
            max_kv_len: PAGES * PAGE_SIZE,
            num_logits: 1,
        };
        gpu.reserve(&DIMS, CacheFormat::Native, &bounds).unwrap();
        let cache = [PAGES, PAGE_SIZE, 1, 64];
        let k = gpu.alloc(DType::BF16, &cache).unwrap();
        let v = gpu.alloc(DType::BF16, &cache).unwrap();
        let q = gpu.alloc(DType::BF16, &[1, 2, 64]).unwrap();
        Cached { gpu, k, v, q }
    }

    fn rope(&mut self, position: i32, slot: i64) -> llama_kernels::Result<()> {
        let gpu = &mut self.gpu;
        let qkv = gpu.alloc(DType::BF16, &[1, 4 * 64])?;
        let positions = numbers(gpu, &[position]);
        let mut slots = gpu.alloc(DType::I64, &[1])?;
        gpu.upload(slots.view_mut(), &slot.to_le_bytes())?;
        let cos_sin = gpu.alloc(DType::F32, &[32, 64])?;
        let (k, v) = (self.k.view_mut(), self.v.view_mut());
        gpu.rope_append_kv(RopeAppendKv {
            qkv: qkv.view(),
            positions: positions.view(),
            slot_mapping: slots.view(),
            cos_sin: cos_sin.view(),
            q_out: self.q.view_mut(),
            cache: PagedCacheMut { k, v, k_scale: 1.0, v_scale: 1.0 },
        })?;
        gpu.stream().synchronize()
    }

    fn attend(&mut self, decode: bool, pages: [i32; PAGES], kv_len: i32) -> Tensor<Buffer> {
        let gpu = &mut self.gpu;
        let mut out = gpu.alloc(DType::BF16, &[1, 2, 64]).unwrap();
        let (q_indptr, kv_len) = (numbers(gpu, &[0, 1]), numbers(gpu, &[kv_len]));
        let page_table = numbers(gpu, &pages);
        let (k, v) = (self.k.view(), self.v.view());
        let args = Attention {
            q: self.q.view(),
            cache: PagedCache { k, v, k_scale: 1.0, v_scale: 1.0 },
            q_indptr: q_indptr.view(),
            kv_len: kv_len.view(),
            page_table: page_table.view().reshape(&[1, PAGES]).unwrap(),
            sequences: 0..1,
            bounds: StepBounds {
                num_tokens: 1,
                batch: 1,
                num_decodes: usize::from(decode),
                max_q_len: 1,
                max_kv_len: PAGES * PAGE_SIZE,
                num_logits: 1,
            },
            softmax_scale: 0.125,
            out: out.view_mut(),
            lse: None,
        };
        if decode { gpu.attention_decode(args) } else { gpu.attention_prefill(args) }.unwrap();
        out
    }
}

#[test]
#[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
fn positions_and_slots_out_of_range_are_reported() {
    let mut cached = Cached::new(gpu());
    for (position, slot, part) in [
        (31, 47, None),
        (0, -1, None),
        (32, 0, Some("a position lay outside")),
        (-1, 0, Some("a position lay outside")),
        (0, 48, Some("a slot lay outside")),
        (0, i64::MAX, Some("a slot lay outside")),
    ] {
        cached.rope(position, slot).unwrap();
        let Cached { gpu, q, .. } = &mut cached;
        reported(gpu, q, part);
    }
}

#[test]
#[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
fn pages_and_lengths_out_of_range_are_reported() {
    let mut cached = Cached::new(gpu());
    for decode in [true, false] {
        for (pages, kv_len, part) in [
            ([2, 0, 1], 48, None),
            ([2, 0, -1], 32, None),
            ([2, 3, 1], 48, Some("a page lay outside")),
            ([-1, 0, 1], 1, Some("a page lay outside")),
            ([i32::MAX, i32::MIN, 0], 40, Some("a page lay outside")),
            ([0, 1, 2], 49, Some("a length or an offset")),
            ([0, 1, 2], -5, Some("a length or an offset")),
        ] {
            let out = cached.attend(decode, pages, kv_len);
            reported(&mut cached.gpu, &out, part);
        }
    }
}

#[test]
#[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
fn seen_rows_out_of_range_are_reported() {
    let mut gpu = gpu();
    gpu.prepare(&DIMS, DType::BF16).unwrap();
    let logits = gpu.alloc(DType::F32, &[1, 12]).unwrap();
    let mut seen = gpu.alloc(DType::U32, &[2, 1]).unwrap();
    let mut out = gpu.alloc(DType::I32, &[1]).unwrap();
    for (seen_row, part) in
        [(-1, None), (1, None), (2, Some("a row of seen tokens")), (-2, Some("a row of seen"))]
    {
        let row = SampleRow {
            temperature: 1.0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 2.0,
            top_k: 0,
            seen_row,
            seed: 1,
            sequence: 0,
            position: 0,
        };
        let mut bytes = row.temperature.to_le_bytes().to_vec();
        for x in [row.top_p, row.min_p, row.repetition_penalty] {
            bytes.extend(x.to_le_bytes());
        }
        bytes.extend(row.top_k.to_le_bytes());
        bytes.extend(row.seen_row.to_le_bytes());
        for x in [row.seed, row.sequence, row.position] {
            bytes.extend(x.to_le_bytes());
        }
        let mut rows = gpu.alloc(DType::U8, &[1, bytes.len()]).unwrap();
        gpu.upload(rows.view_mut(), &bytes).unwrap();
        let args = Sample {
            logits: logits.view().columns(10).unwrap(),
            rows: rows.view(),
            seen: seen.view_mut(),
            out: out.view_mut(),
        };
        gpu.sample(args).unwrap();
        reported(&mut gpu, &out, part);
    }
}

/// Without the check, the kernels keep within their memory all the same, and nobody is told.
#[test]
#[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
fn without_the_check_nothing_is_reported() {
    let mut cached = Cached::new(gpu_with(|options| GpuOptions { check_data: false, ..options }));
    cached.rope(-7, 1 << 40).unwrap();
    for decode in [true, false] {
        let out = cached.attend(decode, [9, -9, 9], 1000);
        reported(&mut cached.gpu, &out, None);
    }
}
