//! Arguments that `rope_append_kv`, `gather_rows` and `sample` refuse.

use llama_kernels::gpu::Device;
use llama_kernels::ops::{self, GatherRows, RopeAppendKv, Sample};
use llama_kernels::tensor::DType;

use super::device;
use super::tensors::{refused, strided as read, strided_mut as write};

const BF16: DType = DType::BF16;

/// Far enough from each other for all shapes below.
const QKV: u64 = 0x1_0000;
const POSITIONS: u64 = 0x2_0000;
const SLOTS: u64 = 0x3_0000;
const COS_SIN: u64 = 0x4_0000;
const Q_OUT: u64 = 0x5_0000;
const K_CACHE: u64 = 0x6_0000;
const V_CACHE: u64 = 0x7_0000;
const ERROR: u64 = 0x8_0000;

/// Of 3 tokens with 4 query heads and 2 key/value heads of 32 elements, into 5 pages of 8.
fn rope<'a>(device: &Device) -> RopeAppendKv<'a> {
    let cache = |address| write(device, address, BF16, &[5, 8, 2, 32], &[512, 64, 32, 1]);
    RopeAppendKv {
        qkv: read(device, QKV, BF16, &[3, 256], &[256, 1]),
        positions: read(device, POSITIONS, DType::I32, &[3], &[1]),
        slot_mapping: read(device, SLOTS, DType::I64, &[3], &[1]),
        cos_sin: read(device, COS_SIN, DType::F32, &[100, 32], &[32, 1]),
        q_out: write(device, Q_OUT, BF16, &[3, 4, 32], &[128, 32, 1]),
        k_cache: cache(K_CACHE),
        v_cache: cache(V_CACHE),
        k_scale: 1.0,
        v_scale: 1.0,
        error: Some(write(device, ERROR, DType::U32, &[1], &[1])),
    }
}

#[test]
fn wrong_tensors_of_rope_append_kv_are_named() {
    let device = device::chosen();
    let stream = device.new_stream().unwrap();
    let rope = || rope(&device);
    let refuses = |args: RopeAppendKv<'_>, text: &str| {
        refused(ops::rope_append_kv(&stream, &args), &format!("rope_append_kv: {text}"));
    };
    let read =
        |address, dtype, shape: &[usize], strides: &[usize]| read(&device, address, dtype, shape, strides);
    let write =
        |address, dtype, shape: &[usize], strides: &[usize]| write(&device, address, dtype, shape, strides);

    refuses(
        RopeAppendKv { qkv: read(QKV, DType::F32, &[3, 256], &[256, 1]), ..rope() },
        "qkv: expected bf16 or f16, got f32",
    );
    refuses(
        RopeAppendKv { qkv: read(QKV, BF16, &[3, 264], &[264, 1]), ..rope() },
        "qkv: expected shape [3, 256], got [3, 264]",
    );
    refuses(
        RopeAppendKv { qkv: read(QKV, BF16, &[3, 256], &[260, 1]), ..rope() },
        "qkv: expected strides that are multiples of 8 elements, got 260",
    );
    refuses(
        RopeAppendKv { qkv: read(QKV, BF16, &[3, 256], &[1, 3]), ..rope() },
        "qkv: expected a last stride of 1, got 3",
    );
    refuses(
        RopeAppendKv { qkv: read(QKV + 8, BF16, &[3, 256], &[256, 1]), ..rope() },
        "qkv: expected an address that is a multiple of 16 bytes, got 0x10008",
    );
    refuses(
        RopeAppendKv { positions: read(POSITIONS, DType::I64, &[3], &[1]), ..rope() },
        "positions: expected i32, got i64",
    );
    refuses(
        RopeAppendKv { positions: read(POSITIONS, DType::I32, &[4], &[1]), ..rope() },
        "positions: expected shape [3], got [4]",
    );
    refuses(
        RopeAppendKv { slot_mapping: read(SLOTS, DType::I32, &[3], &[1]), ..rope() },
        "slot_mapping: expected i64, got i32",
    );
    refuses(
        RopeAppendKv { slot_mapping: read(SLOTS, DType::I64, &[3], &[2]), ..rope() },
        "slot_mapping: expected a last stride of 1, got 2",
    );
    refuses(
        RopeAppendKv { cos_sin: read(COS_SIN, BF16, &[100, 32], &[32, 1]), ..rope() },
        "cos_sin: expected f32, got bf16",
    );
    refuses(
        RopeAppendKv { cos_sin: read(COS_SIN, DType::F32, &[100, 16], &[16, 1]), ..rope() },
        "cos_sin: expected shape [num_positions, 32], got [100, 16]",
    );
    refuses(
        RopeAppendKv { cos_sin: read(COS_SIN, DType::F32, &[0, 32], &[32, 1]), ..rope() },
        "cos_sin: expected at least one row, got 0",
    );
    refuses(
        RopeAppendKv { q_out: write(Q_OUT, BF16, &[3, 128], &[128, 1]), ..rope() },
        "q_out: expected shape [num_tokens, num_q_heads, head_dim], got [3, 128]",
    );
    refuses(
        RopeAppendKv { q_out: write(Q_OUT, DType::F16, &[3, 4, 32], &[128, 32, 1]), ..rope() },
        "q_out: expected bf16, got f16",
    );
    refuses(
        RopeAppendKv { q_out: write(Q_OUT, BF16, &[3, 4, 32], &[96, 32, 1]), ..rope() },
        "q_out: expected elements that do not overlap, got distances of [192, 64] bytes for runs of 64 bytes",
    );
    refuses(
        RopeAppendKv { k_cache: write(K_CACHE, BF16, &[5, 8, 64], &[512, 64, 1]), ..rope() },
        "k_cache: expected shape [num_pages, page_size, num_kv_heads, 32], got [5, 8, 64]",
    );
    refuses(
        RopeAppendKv { v_cache: write(V_CACHE, BF16, &[4, 8, 2, 32], &[512, 64, 32, 1]), ..rope() },
        "v_cache: expected shape [5, 8, 2, 32], got [4, 8, 2, 32]",
    );
    refuses(
        RopeAppendKv { v_cache: write(V_CACHE, BF16, &[5, 8, 2, 32], &[512, 60, 32, 1]), ..rope() },
        "v_cache: expected strides that are multiples of 8 elements, got 60",
    );
    let codes = |address| write(address, DType::F8E4M3, &[5, 8, 2, 32], &[512, 64, 32, 1]);
    refuses(
        RopeAppendKv { k_cache: write(K_CACHE, DType::F16, &[5, 8, 2, 32], &[512, 64, 32, 1]), ..rope() },
        "k_cache: expected bf16 or f8_e4m3, got f16",
    );
    refuses(RopeAppendKv { k_cache: codes(K_CACHE), ..rope() }, "v_cache: expected f8_e4m3, got bf16");
    refuses(RopeAppendKv { v_scale: 0.5, ..rope() }, "v_scale: expected 1 for a cache in bf16, got 0.5");
    let fp8 = || RopeAppendKv { k_cache: codes(K_CACHE), v_cache: codes(V_CACHE), ..rope() };
    for (scale, given) in [(0.0, "0"), (-2.0, "-2"), (f32::NAN, "NaN"), (f32::INFINITY, "inf")] {
        let text = |arg: &str| format!("{arg}: expected a finite scale above 0, got {given}");
        refuses(RopeAppendKv { k_scale: scale, ..fp8() }, &text("k_scale"));
        refuses(RopeAppendKv { v_scale: scale, ..fp8() }, &text("v_scale"));
    }
    refuses(
        RopeAppendKv { error: Some(write(ERROR, DType::I32, &[1], &[1])), ..rope() },
        "error: expected u32, got i32",
    );
    assert_eq!(device.launches(), 0);
}

#[test]
fn wrong_sizes_of_rope_append_kv_are_named() {
    let device = device::chosen();
    let stream = device.new_stream().unwrap();
    let refuses = |args: RopeAppendKv<'_>, text: &str| {
        refused(ops::rope_append_kv(&stream, &args), &format!("rope_append_kv: {text}"));
    };
    let cache = |address, page_size: usize, heads: usize, head_dim: usize| {
        let row = heads * head_dim;
        write(&device, address, BF16, &[5, page_size, heads, head_dim], &[page_size * row, row, head_dim, 1])
    };
    refuses(
        RopeAppendKv {
            k_cache: cache(K_CACHE, 12, 2, 32),
            v_cache: cache(V_CACHE, 12, 2, 32),
            ..rope(&device)
        },
        "k_cache: expected a page_size that is a power of two, got 12",
    );
    refuses(
        RopeAppendKv {
            qkv: read(&device, QKV, BF16, &[3, 128], &[128, 1]),
            k_cache: cache(K_CACHE, 8, 0, 32),
            v_cache: cache(V_CACHE, 8, 0, 32),
            ..rope(&device)
        },
        "heads: expected heads of q and of k, at most 33553920 with v's, got 4 and 0",
    );
    refuses(
        RopeAppendKv {
            qkv: read(&device, QKV, BF16, &[3, 192], &[192, 1]),
            cos_sin: read(&device, COS_SIN, DType::F32, &[100, 24], &[24, 1]),
            q_out: write(&device, Q_OUT, BF16, &[3, 4, 24], &[96, 24, 1]),
            k_cache: cache(K_CACHE, 8, 2, 24),
            v_cache: cache(V_CACHE, 8, 2, 24),
            ..rope(&device)
        },
        "head_dim: expected a multiple of 16, at most 256, got 24",
    );
    assert_eq!(device.launches(), 0);
}

#[test]
fn what_rope_append_kv_writes_stands_apart() {
    let device = device::chosen();
    let stream = device.new_stream().unwrap();
    let refuses = |args: RopeAppendKv<'_>, arg: &str, other: &str, address: u64, of_other: u64| {
        let text = format!(
            "rope_append_kv: {arg}: expected memory apart from {other}, got {address:#x} and {of_other:#x}"
        );
        refused(ops::rope_append_kv(&stream, &args), &text);
    };
    let cache = |address| write(&device, address, BF16, &[5, 8, 2, 32], &[512, 64, 32, 1]);
    for (name, address) in
        [("qkv", QKV), ("positions", POSITIONS), ("slot_mapping", SLOTS), ("cos_sin", COS_SIN)]
    {
        let q_out = write(&device, address, BF16, &[3, 4, 32], &[128, 32, 1]);
        refuses(RopeAppendKv { q_out, ..rope(&device) }, "q_out", name, address, address);
        refuses(RopeAppendKv { k_cache: cache(address), ..rope(&device) }, "k_cache", name, address, address);
        refuses(RopeAppendKv { v_cache: cache(address), ..rope(&device) }, "v_cache", name, address, address);
        let error = Some(write(&device, address, DType::U32, &[1], &[1]));
        refuses(RopeAppendKv { error, ..rope(&device) }, "error", name, address, address);
    }
    refuses(RopeAppendKv { k_cache: cache(Q_OUT), ..rope(&device) }, "k_cache", "q_out", Q_OUT, Q_OUT);
    // One head further: keys and values of different tokens meet.
    let further = K_CACHE + 64;
    refuses(
        RopeAppendKv { v_cache: cache(further), ..rope(&device) },
        "v_cache",
        "k_cache",
        further,
        K_CACHE,
    );
    let error = Some(write(&device, V_CACHE + 4, DType::U32, &[1], &[1]));
    refuses(RopeAppendKv { error, ..rope(&device) }, "error", "v_cache", V_CACHE + 4, V_CACHE);
    assert_eq!(device.launches(), 0);
}

#[test]
fn wrong_arguments_of_gather_rows_are_named() {
    let device = device::chosen();
    let stream = device.new_stream().unwrap();
    const X: u64 = 0x1_0000;
    const ROWS: u64 = 0x2_0000;
    const OUT: u64 = 0x3_0000;
    let gather = || GatherRows {
        x: read(&device, X, BF16, &[5, 64], &[64, 1]),
        rows: read(&device, ROWS, DType::I32, &[3], &[1]),
        out: write(&device, OUT, BF16, &[3, 64], &[64, 1]),
        error: None,
    };
    let refuses = |args: GatherRows<'_>, text: &str| {
        refused(ops::gather_rows(&stream, &args), &format!("gather_rows: {text}"));
    };
    refuses(
        GatherRows { x: read(&device, X, DType::F32, &[5, 64], &[64, 1]), ..gather() },
        "x: expected bf16 or f16, got f32",
    );
    refuses(
        GatherRows { rows: read(&device, ROWS, DType::U32, &[3], &[1]), ..gather() },
        "rows: expected i32, got u32",
    );
    refuses(
        GatherRows { rows: read(&device, ROWS + 2, DType::I32, &[3], &[1]), ..gather() },
        "rows: expected an address that is a multiple of 4 bytes, got 0x20002",
    );
    refuses(
        GatherRows { out: write(&device, OUT, BF16, &[4, 64], &[64, 1]), ..gather() },
        "out: expected shape [3, 64], got [4, 64]",
    );
    refuses(
        GatherRows { out: write(&device, OUT, DType::F16, &[3, 64], &[64, 1]), ..gather() },
        "out: expected bf16, got f16",
    );
    refuses(
        GatherRows { out: write(&device, OUT, BF16, &[3, 64], &[56, 1]), ..gather() },
        "out: expected rows that do not overlap: 64 elements, got a stride of 56 elements",
    );
    refuses(
        GatherRows { out: write(&device, X + 256, BF16, &[3, 64], &[64, 1]), ..gather() },
        "out: expected memory apart from x, got 0x10100 and 0x10000",
    );
    refuses(
        GatherRows { error: Some(write(&device, ROWS + 8, DType::U32, &[1], &[1])), ..gather() },
        "error: expected memory apart from rows, got 0x20008 and 0x20000",
    );
    let narrow = |address| write(&device, address, BF16, &[3, 12], &[12, 1]);
    refuses(
        GatherRows { x: read(&device, X, BF16, &[1, 12], &[12, 1]), out: narrow(OUT), ..gather() },
        "out: expected a row stride that is a multiple of 8 elements, got 12",
    );
    assert_eq!(device.launches(), 0);
}

#[test]
fn wrong_arguments_of_sample_are_named() {
    let device = device::chosen();
    let stream = device.new_stream().unwrap();
    const LOGITS: u64 = 0x1_0000;
    const ROWS: u64 = 0x2_0000;
    const SEEN: u64 = 0x3_0000;
    const OUT: u64 = 0x4_0000;
    let sample = || Sample {
        logits: read(&device, LOGITS, DType::F32, &[3, 65], &[68, 1]),
        rows: read(&device, ROWS, DType::U8, &[3, 48], &[48, 1]),
        seen: write(&device, SEEN, DType::U32, &[2, 3], &[3, 1]),
        out: write(&device, OUT, DType::I32, &[3], &[1]),
        error: Some(write(&device, ERROR, DType::U32, &[1], &[1])),
    };
    let refuses =
        |args: Sample<'_>, text: &str| refused(ops::sample(&stream, &args), &format!("sample: {text}"));
    let logits = |dtype, shape: &[usize], strides: &[usize]| read(&device, LOGITS, dtype, shape, strides);
    refuses(
        Sample { logits: logits(BF16, &[3, 65], &[72, 1]), ..sample() },
        "logits: expected f32, got bf16",
    );
    refuses(
        Sample { logits: logits(DType::F32, &[195], &[1]), ..sample() },
        "logits: expected shape [num_rows, vocab_size], got [195]",
    );
    refuses(
        Sample { logits: logits(DType::F32, &[3, 65], &[65, 1]), ..sample() },
        "logits: expected strides that are multiples of 4 elements, got 65",
    );
    refuses(
        Sample { logits: logits(DType::F32, &[3, 65], &[260, 4]), ..sample() },
        "logits: expected a last stride of 1, got 4",
    );
    refuses(
        Sample { logits: logits(DType::F32, &[3, (1 << 23) + 1], &[1 << 24, 1]), ..sample() },
        "seen: expected shape [num_seen, 262145], got [2, 3]",
    );
    let rows =
        |address, shape: &[usize], strides: &[usize]| read(&device, address, DType::U8, shape, strides);
    refuses(
        Sample { rows: rows(ROWS, &[3, 40], &[40, 1]), ..sample() },
        "rows: expected shape [3, 48], got [3, 40]",
    );
    refuses(
        Sample { rows: rows(ROWS, &[3, 48], &[56, 1]), ..sample() },
        "rows: expected contiguous elements, got [3, 48] with strides [56, 1]",
    );
    refuses(
        Sample { rows: rows(ROWS + 4, &[3, 48], &[48, 1]), ..sample() },
        "rows: expected an address that is a multiple of 8 bytes, got 0x20004",
    );
    let seen =
        |address, shape: &[usize], strides: &[usize]| write(&device, address, DType::U32, shape, strides);
    refuses(
        Sample { seen: seen(SEEN, &[2, 2], &[2, 1]), ..sample() },
        "seen: expected shape [num_seen, 3], got [2, 2]",
    );
    refuses(
        Sample { seen: seen(SEEN, &[2, 3], &[2, 1]), ..sample() },
        "seen: expected elements that do not overlap, got distances of [8] bytes for runs of 12 bytes",
    );
    refuses(
        Sample { seen: seen(LOGITS + 64, &[2, 3], &[3, 1]), ..sample() },
        "seen: expected memory apart from logits, got 0x10040 and 0x10000",
    );
    let out = |address, dtype, len| write(&device, address, dtype, &[len], &[1]);
    refuses(Sample { out: out(OUT, DType::U32, 3), ..sample() }, "out: expected i32, got u32");
    refuses(Sample { out: out(OUT, DType::I32, 4), ..sample() }, "out: expected shape [3], got [4]");
    refuses(
        Sample { out: out(ROWS, DType::I32, 3), ..sample() },
        "out: expected memory apart from rows, got 0x20000 and 0x20000",
    );
    refuses(
        Sample { out: out(SEEN + 4, DType::I32, 3), ..sample() },
        "out: expected memory apart from seen, got 0x30004 and 0x30000",
    );
    refuses(
        Sample { error: Some(out(OUT + 8, DType::U32, 1)), ..sample() },
        "error: expected memory apart from out, got 0x40008 and 0x40000",
    );
    let most = (1 << 23) + 32;
    refuses(
        Sample {
            logits: logits(DType::F32, &[3, most], &[most, 1]),
            seen: seen(0x1000_0000, &[2, most / 32], &[most / 32, 1]),
            rows: rows(0x2000_0000, &[3, 48], &[48, 1]),
            out: out(0x3000_0000, DType::I32, 3),
            error: None,
        },
        "vocab_size: expected at most 8388608, got 8388640",
    );
    assert_eq!(device.launches(), 0);
}
