//! Arguments that are refused, with the whole message. Nothing may have been written by then.

use llama_kernels::backend::{
    Activation, ActivationMut, AddRmsNorm, Attention, Backend, Epilogue, Matmul, PagedCache, PagedCacheMut,
    RmsNorm, RopeAppendKv, RowOrder, StepBounds, WeightFormat, WeightSource,
};
use llama_kernels::reference::{CpuBuffer, CpuWeight, silu_and_mul};
use llama_kernels::tensor::{Bytes, DType, HostTensor, Layout, Tensor, View};

use super::support::*;

const BF16: DType = DType::BF16;
const F32: DType = DType::F32;

fn zeros(dtype: DType, shape: &[usize]) -> Tensor<CpuBuffer> {
    cpu::<f32>().alloc(dtype, shape).unwrap()
}

fn part(dtype: DType, shape: &[usize]) -> HostTensor {
    let bytes = vec![0; shape.iter().product::<usize>() * dtype.size()];
    HostTensor { name: "w".into(), dtype, shape: shape.to_vec(), data: Bytes::new(bytes) }
}

fn native(out: &mut Tensor<CpuBuffer>) -> ActivationMut<'_, CpuBuffer> {
    ActivationMut::Native(out.view_mut())
}

fn load(parts: Vec<HostTensor>, biases: Vec<HostTensor>, rows: RowOrder) -> llama_kernels::Result<CpuWeight> {
    cpu::<f32>().load_weight(WeightSource { parts, biases, rows, format: WeightFormat::Native })
}

#[test]
fn layouts() {
    refused(Layout::strided(&[2, 2], &[1], 0), "layout: strides: expected 2 of them, got [1]");
    refused(
        Layout::strided(&[3, 2], &[usize::MAX, 1], 0),
        &format!("layout: strides: expected an extent below 2^64, got [{}, 1]", usize::MAX),
    );
    refused(
        Layout::strided(&[1], &[1], usize::MAX),
        "layout: strides: expected an extent below 2^64, got [1]",
    );
    assert_eq!(Layout::strided(&[3, 2], &[7, 1], 4).unwrap().extent(), 4 + 2 * 7 + 2);
}

#[test]
fn weights() {
    let concatenated = RowOrder::Concatenated;
    let refuse = |parts, biases, rows, text: &str| refused(load(parts, biases, rows), text);
    refuse(vec![], vec![], concatenated, "load_weight: parts: expected at least one matrix, got 0 parts");
    refuse(
        vec![part(BF16, &[4])],
        vec![],
        concatenated,
        "load_weight: parts: expected at least one matrix, got 1 parts",
    );
    for (second, given) in [
        (part(BF16, &[4, 7]), "w of type bf16 and shape [4, 7]"),
        (part(F32, &[4, 8]), "w of type f32 and shape [4, 8]"),
        (part(BF16, &[4, 8, 1]), "w of type bf16 and shape [4, 8, 1]"),
    ] {
        let text = format!("load_weight: parts: expected bf16 of shape [n, 8], got {given}");
        refuse(vec![part(BF16, &[4, 8]), second], vec![], concatenated, &text);
    }
    refuse(
        vec![part(BF16, &[4, 0])],
        vec![],
        concatenated,
        "load_weight: parts: expected bf16 of shape [n, 1], got w of type bf16 and shape [4, 0]",
    );
    refuse(
        vec![part(DType::F8E4M3, &[4, 8])],
        vec![],
        concatenated,
        "load_weight: parts: expected floats of 16, 32 or 64 bits, got w of type f8_e4m3 and shape [4, 8]",
    );
    let gate_up = [vec![part(BF16, &[4, 8]), part(BF16, &[5, 8])], vec![part(BF16, &[4, 8])]];
    for (parts, heights) in gate_up.into_iter().zip(["[4, 5]", "[4]"]) {
        let text = format!("load_weight: parts: expected gate and up of equal height, got heights {heights}");
        refuse(parts, vec![], RowOrder::GateUp, &text);
    }
    let two = || vec![part(BF16, &[4, 8]), part(BF16, &[5, 8])];
    refuse(two(), vec![part(BF16, &[4])], concatenated, "load_weight: biases: expected 2 or none, got 1");
    refuse(
        two(),
        vec![part(BF16, &[4]), part(BF16, &[4])],
        concatenated,
        "load_weight: biases: expected floats of shape [5], got w of type bf16 and shape [4]",
    );
    let short = HostTensor { data: Bytes::new(vec![0; 63]), ..part(BF16, &[4, 8]) };
    refuse(
        vec![short],
        vec![],
        concatenated,
        "load_weight: parts: expected w of shape [4, 8] in bf16, got 63 bytes",
    );
    refused(
        cpu::<f32>().load_vector(part(BF16, &[4, 8])),
        "load_vector: source: expected a vector of floats, got w of type bf16 and shape [4, 8]",
    );
}

#[test]
fn matmuls() {
    let plain = load(vec![part(BF16, &[6, 8])], vec![], RowOrder::Concatenated).unwrap();
    let gate_up = load(vec![part(BF16, &[6, 8]), part(BF16, &[6, 8])], vec![], RowOrder::GateUp).unwrap();
    let refuse = |weight, epilogue, x: Tensor<CpuBuffer>, mut out: Tensor<CpuBuffer>, text: &str| {
        let (x, out) = (Activation::Native(x.view()), ActivationMut::Native(out.view_mut()));
        refused(cpu::<f32>().matmul(Matmul { x, weight, epilogue, out }), text);
    };
    let (none, swiglu) = (Epilogue::None, Epilogue::SwiGlu);
    let (x, out) = (|| zeros(BF16, &[3, 8]), || zeros(BF16, &[3, 6]));
    let text = "matmul: weight: expected GateUp rows for the epilogue SwiGlu, got Concatenated rows";
    refuse(&plain, swiglu, x(), out(), text);
    let text = "matmul: weight: expected Concatenated rows for the epilogue None, got GateUp rows";
    refuse(&gate_up, none, x(), out(), text);
    refuse(&plain, none, zeros(BF16, &[3, 7]), out(), "matmul: x: expected shape [3, 8], got [3, 7]");
    refuse(&plain, none, zeros(BF16, &[3]), out(), "matmul: x: expected 2 dimensions, got shape [3]");
    let text = "matmul: x: expected floats of 16, 32 or 64 bits, got i32";
    refuse(&plain, none, zeros(DType::I32, &[3, 8]), out(), text);
    refuse(&plain, none, x(), zeros(BF16, &[2, 6]), "matmul: out: expected shape [3, 6], got [2, 6]");
    refuse(&gate_up, swiglu, x(), zeros(F32, &[3, 12]), "matmul: out: expected shape [3, 6], got [3, 12]");
    let text = "matmul: out: expected floats of 16, 32 or 64 bits, got f8_e4m3";
    refuse(&plain, none, x(), zeros(DType::F8E4M3, &[3, 6]), text);
}

#[test]
fn norms_and_activations() {
    let (x, weight) = (zeros(BF16, &[3, 8]), zeros(BF16, &[8]));
    let (short, mut out) = (zeros(BF16, &[7]), zeros(BF16, &[3, 8]));
    refused(
        cpu::<f32>().rms_norm(RmsNorm {
            x: x.view(),
            weight: short.view(),
            eps: 1e-5,
            out: native(&mut out),
        }),
        "rms_norm: weight: expected shape [8], got [7]",
    );
    let mut narrow = poisoned(BF16, &[3, 7]);
    refused(
        cpu::<f32>().rms_norm(RmsNorm {
            x: x.view(),
            weight: weight.view(),
            eps: 1e-5,
            out: native(&mut narrow),
        }),
        "rms_norm: out: expected shape [3, 8], got [3, 7]",
    );
    let mut residual = poisoned(BF16, &[3, 8]);
    let before = bytes(&residual);
    refused(
        cpu::<f32>().add_rms_norm(AddRmsNorm {
            x: x.view(),
            residual: residual.view_mut(),
            weight: weight.view(),
            eps: 1e-5,
            out: native(&mut narrow),
        }),
        "add_rms_norm: out: expected shape [3, 8], got [3, 7]",
    );
    assert_eq!(bytes(&residual), before);
    refused(
        cpu::<f32>().add_rms_norm(AddRmsNorm {
            x: x.view(),
            residual: narrow.view_mut(),
            weight: weight.view(),
            eps: 1e-5,
            out: native(&mut out),
        }),
        "add_rms_norm: residual: expected shape [3, 8], got [3, 7]",
    );
    let columns = Layout::strided(&[8, 3], &[1, 8], 0).unwrap();
    let transposed = View { layout: columns, ..x.view() };
    refused(
        silu_and_mul::<f32>(transposed, native(&mut out)),
        "silu_and_mul: x: expected an even width, got 3",
    );
    let columns = Layout::strided(&[3, 2], &[1, 4], 0).unwrap();
    refused(
        silu_and_mul::<f32>(View { layout: columns, ..x.view() }, native(&mut out)),
        "silu_and_mul: x: expected a last stride of 1, got 4",
    );
}

/// Tensors of a small `rope_append_kv` that is right: 3 tokens, 4 query heads, 2 key/value heads of 8 elements.
struct Rope {
    qkv: Tensor<CpuBuffer>,
    positions: Tensor<CpuBuffer>,
    slots: Tensor<CpuBuffer>,
    cos_sin: Tensor<CpuBuffer>,
    q_out: Tensor<CpuBuffer>,
    k: Tensor<CpuBuffer>,
    v: Tensor<CpuBuffer>,
    k_scale: f32,
}

impl Rope {
    fn new() -> Self {
        Rope {
            qkv: zeros(BF16, &[3, 64]),
            positions: tensor(DType::I32, &[3], &[0.0, 1.0, 4.0]),
            slots: tensor(DType::I64, &[3], &[0.0, -1.0, 31.0]),
            cos_sin: zeros(F32, &[5, 8]),
            q_out: poisoned(BF16, &[3, 4, 8]),
            k: poisoned(BF16, &[2, 16, 2, 8]),
            v: poisoned(BF16, &[2, 16, 2, 8]),
            k_scale: 1.0,
        }
    }

    fn run(&mut self) -> llama_kernels::Result<()> {
        cpu::<f32>().rope_append_kv(RopeAppendKv {
            qkv: self.qkv.view(),
            positions: self.positions.view(),
            slot_mapping: self.slots.view(),
            cos_sin: self.cos_sin.view(),
            q_out: self.q_out.view_mut(),
            cache: PagedCacheMut {
                k: self.k.view_mut(),
                v: self.v.view_mut(),
                k_scale: self.k_scale,
                v_scale: 1.0,
            },
        })
    }
}

#[test]
fn ropes() {
    Rope::new().run().unwrap();
    let refuse = |change: &dyn Fn(&mut Rope), text: &str| {
        let mut rope = Rope::new();
        change(&mut rope);
        refused(rope.run(), &format!("rope_append_kv: {text}"));
        for written in [&rope.q_out, &rope.k, &rope.v] {
            assert!(bytes(written).iter().all(|&byte| byte == 0xFF), "{text}");
        }
    };
    refuse(&|r| r.qkv = zeros(BF16, &[3, 63]), "qkv: expected shape [3, 64], got [3, 63]");
    refuse(&|r| r.q_out = poisoned(BF16, &[3, 4, 7]), "q_out: expected an even head_dim, got 7");
    refuse(
        &|r| r.k = poisoned(BF16, &[2, 16, 2, 6]),
        "cache.k: expected shape [2, 16, 2, 8], got [2, 16, 2, 6]",
    );
    refuse(
        &|r| r.v = poisoned(BF16, &[1, 16, 2, 8]),
        "cache.v: expected shape [2, 16, 2, 8], got [1, 16, 2, 8]",
    );
    refuse(&|r| r.cos_sin = zeros(F32, &[5, 4]), "cos_sin: expected shape [5, 8], got [5, 4]");
    refuse(&|r| r.cos_sin = zeros(BF16, &[5, 8]), "cos_sin: expected f32, got bf16");
    refuse(&|r| r.positions = zeros(DType::I64, &[3]), "positions: expected i32, got i64");
    let positions = |p: f64| tensor(DType::I32, &[3], &[0.0, p, 0.0]);
    refuse(&|r| r.positions = positions(5.0), "positions: expected values within 0..5, got 5 at 1");
    refuse(&|r| r.positions = positions(-1.0), "positions: expected values within 0..5, got -1 at 1");
    let slots = |s: f64| tensor(DType::I64, &[3], &[0.0, s, 0.0]);
    refuse(&|r| r.slots = slots(32.0), "slot_mapping: expected slots below 32, got 32 at 1");
    refuse(&|r| r.k_scale = 2.0, "cache.k_scale: expected 1 for a cache of bf16, got 2");
    let fp8 = |r: &mut Rope| r.k = poisoned(DType::F8E4M3, &[2, 16, 2, 8]);
    for (scale, given) in [(0.0, "0"), (-1.0, "-1"), (f32::NAN, "NaN"), (f32::INFINITY, "inf")] {
        let text = format!("cache.k_scale: expected a positive finite scale, got {given}");
        refuse(
            &|r| {
                fp8(r);
                r.k_scale = scale;
            },
            &text,
        );
    }
}

/// Tensors of a small attention that is right: two sequences of 2 and 1 queries with 20 and 16 keys.
struct Attend {
    q: Tensor<CpuBuffer>,
    k: Tensor<CpuBuffer>,
    v: Tensor<CpuBuffer>,
    q_indptr: Tensor<CpuBuffer>,
    kv_len: Tensor<CpuBuffer>,
    page_table: Tensor<CpuBuffer>,
    sequences: std::ops::Range<usize>,
    bounds: StepBounds,
    out: Tensor<CpuBuffer>,
    lse: Tensor<CpuBuffer>,
}

impl Attend {
    fn new() -> Self {
        Attend {
            q: zeros(BF16, &[3, 4, 8]),
            k: zeros(BF16, &[3, 16, 2, 8]),
            v: zeros(BF16, &[3, 16, 2, 8]),
            q_indptr: tensor(DType::I32, &[3], &[0.0, 2.0, 3.0]),
            kv_len: tensor(DType::I32, &[2], &[20.0, 16.0]),
            page_table: tensor(DType::I32, &[2, 2], &[2.0, 0.0, 1.0, -1.0]),
            sequences: 0..2,
            bounds: StepBounds { max_q_len: 10, max_kv_len: 100, ..StepBounds::default() },
            out: poisoned(BF16, &[3, 4, 8]),
            lse: poisoned(F32, &[3, 4]),
        }
    }

    fn run(&mut self, decode: bool) -> llama_kernels::Result<()> {
        let args = Attention {
            q: self.q.view(),
            cache: PagedCache { k: self.k.view(), v: self.v.view(), k_scale: 1.0, v_scale: 1.0 },
            q_indptr: self.q_indptr.view(),
            kv_len: self.kv_len.view(),
            page_table: self.page_table.view(),
            sequences: self.sequences.clone(),
            bounds: self.bounds,
            softmax_scale: 1.0,
            out: self.out.view_mut(),
            lse: Some(self.lse.view_mut()),
        };
        if decode { cpu::<f32>().attention_decode(args) } else { cpu::<f32>().attention_prefill(args) }
    }
}

#[test]
fn attentions() {
    let refuse = |change: &dyn Fn(&mut Attend), text: &str| {
        for (decode, op) in [(false, "attention_prefill"), (true, "attention_decode")] {
            let mut attend = Attend::new();
            change(&mut attend);
            refused(attend.run(decode), &format!("{op}: {text}"));
            assert!(bytes(&attend.out).iter().chain(&bytes(&attend.lse)).all(|&byte| byte == 0xFF), "{text}");
        }
    };
    let ints = |shape: &[usize], values: &[f64]| tensor(DType::I32, shape, values);
    refuse(
        &|a| a.q = zeros(BF16, &[3, 5, 8]),
        "q: expected a multiple of 2 key/value heads, got 5 query heads",
    );
    refuse(&|a| a.k = zeros(BF16, &[3, 0, 2, 8]), "cache.v: expected shape [3, 0, 2, 8], got [3, 16, 2, 8]");
    refuse(
        &|a| (a.k, a.v) = (zeros(BF16, &[3, 0, 2, 8]), zeros(BF16, &[3, 0, 2, 8])),
        "cache.k: expected pages of at least one token, got a page_size of 0",
    );
    refuse(&|a| a.out = poisoned(BF16, &[2, 4, 8]), "out: expected shape [3, 4, 8], got [2, 4, 8]");
    refuse(&|a| a.out = poisoned(F32, &[3, 4, 8]), "out: expected bf16, got f32");
    refuse(&|a| a.lse = poisoned(F32, &[3, 2]), "lse: expected shape [3, 4], got [3, 2]");
    refuse(&|a| a.lse = poisoned(BF16, &[3, 4]), "lse: expected f32, got bf16");
    refuse(&|a| a.kv_len = ints(&[1], &[20.0]), "kv_len: expected shape [2], got [1]");
    refuse(
        &|a| a.q_indptr = ints(&[3], &[0.0, 2.0, 2.0]),
        "q_indptr: expected a rise from 0 to 3, got [0, 2, 2]",
    );
    refuse(
        &|a| a.q_indptr = ints(&[3], &[1.0, 2.0, 3.0]),
        "q_indptr: expected a rise from 0 to 3, got [1, 2, 3]",
    );
    refuse(
        &|a| a.q_indptr = ints(&[3], &[0.0, 4.0, 3.0]),
        "q_indptr: expected values within 0..4, got 4 at 1",
    );
    refuse(&|a| a.sequences = 1..3, "sequences: expected within 0..2, got 1..3");
    for (len, given) in [(1.0, "1"), (33.0, "33"), (-1.0, "-1")] {
        let text = format!("kv_len: expected 0 or 2 to 32 tokens, got {given} in sequence 0");
        refuse(&|a| a.kv_len = ints(&[2], &[len, 16.0]), &text);
    }
    refuse(&|a| a.bounds.max_kv_len = 19, "kv_len: expected 0 or 2 to 19 tokens, got 20 in sequence 0");
    refuse(
        &|a| a.bounds.max_q_len = 1,
        "q_indptr: expected at most 1 queries a sequence, got 2 in sequence 0",
    );
    refuse(
        &|a| a.page_table = ints(&[2, 2], &[2.0, 3.0, 1.0, -1.0]),
        "page_table: expected values within 0..3, got 3 at 1",
    );
    refuse(
        &|a| a.page_table = ints(&[2, 2], &[2.0, 0.0, -1.0, 1.0]),
        "page_table: expected values within 0..3, got -1 at 0",
    );
}

#[test]
fn sequences_are_attended_apart() {
    // Those outside `sequences` are neither checked nor written.
    let mut attend = Attend::new();
    attend.sequences = 1..2;
    attend.kv_len = tensor(DType::I32, &[2], &[-7.0, 16.0]);
    attend.run(true).unwrap();
    let out = values(&attend.out);
    assert!(out[..64].iter().all(|x| x.is_nan()) && out[64..].iter().all(|&x| x == 0.0));
}

#[test]
fn a_decode_brings_few_queries() {
    let mut attend = Attend::new();
    (attend.q, attend.out, attend.lse) =
        (zeros(BF16, &[9, 4, 8]), poisoned(BF16, &[9, 4, 8]), poisoned(F32, &[9, 4]));
    attend.q_indptr = tensor(DType::I32, &[3], &[0.0, 9.0, 9.0]);
    refused(
        attend.run(true),
        "attention_decode: q_indptr: expected at most 8 queries a sequence, got 9 in sequence 0",
    );
    attend.run(false).unwrap();
}
