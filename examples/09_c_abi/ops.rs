//! The operations but attention and products: each is `llama_kernels::ops` behind tensors from C. Their contracts stand in the header.

use std::ffi::c_void;

use llama_kernels::ops::{
    self, AddRmsNorm, Embed, GatherRows, PermuteColumns, RmsNorm, RopeAppendKv, Sample, SiluAndMul,
};

use super::error::guarded;
use super::queue::Queue;
use super::types::Tensor;

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lk_embed(
    device: u64,
    stream: *mut c_void,
    ids: *const Tensor,
    table: *const Tensor,
    out: *const Tensor,
    error: *const Tensor,
) -> i32 {
    // SAFETY: the caller's promises, as the header states them.
    guarded(|| unsafe {
        let on = Queue::new("embed", device, stream)?;
        let (ids, table) = (on.read("ids", ids)?, on.read("table", table)?);
        let (out, error) = (on.write("out", out)?, on.write_optional("error", error)?);
        ops::embed(on.stream()?, &Embed { ids, table, out, error })
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lk_gather_rows(
    device: u64,
    stream: *mut c_void,
    x: *const Tensor,
    rows: *const Tensor,
    out: *const Tensor,
    error: *const Tensor,
) -> i32 {
    // SAFETY: the caller's promises, as the header states them.
    guarded(|| unsafe {
        let on = Queue::new("gather_rows", device, stream)?;
        let (x, rows) = (on.read("x", x)?, on.read("rows", rows)?);
        let (out, error) = (on.write("out", out)?, on.write_optional("error", error)?);
        ops::gather_rows(on.stream()?, &GatherRows { x, rows, out, error })
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lk_rms_norm(
    device: u64,
    stream: *mut c_void,
    x: *const Tensor,
    weight: *const Tensor,
    eps: f32,
    out: *const Tensor,
) -> i32 {
    // SAFETY: the caller's promises, as the header states them.
    guarded(|| unsafe {
        let on = Queue::new("rms_norm", device, stream)?;
        let (x, weight) = (on.read("x", x)?, on.read("weight", weight)?);
        let out = on.write("out", out)?;
        ops::rms_norm(on.stream()?, &RmsNorm { x, weight, eps, columns: None, out, error: None })
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lk_add_rms_norm(
    device: u64,
    stream: *mut c_void,
    x: *const Tensor,
    residual: *const Tensor,
    weight: *const Tensor,
    eps: f32,
    out: *const Tensor,
) -> i32 {
    // SAFETY: the caller's promises, as the header states them.
    guarded(|| unsafe {
        let on = Queue::new("add_rms_norm", device, stream)?;
        let (x, weight) = (on.read("x", x)?, on.read("weight", weight)?);
        let (residual, out) = (on.write("residual", residual)?, on.write("out", out)?);
        ops::add_rms_norm(
            on.stream()?,
            &AddRmsNorm { x, residual, weight, eps, columns: None, out, error: None },
        )
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lk_silu_and_mul(
    device: u64,
    stream: *mut c_void,
    gate_up: *const Tensor,
    out: *const Tensor,
) -> i32 {
    // SAFETY: the caller's promises, as the header states them.
    guarded(|| unsafe {
        let on = Queue::new("silu_and_mul", device, stream)?;
        let (gate_up, out) = (on.read("gate_up", gate_up)?, on.write("out", out)?);
        ops::silu_and_mul(on.stream()?, &SiluAndMul { gate_up, out })
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lk_rope_append_kv(
    device: u64,
    stream: *mut c_void,
    qkv: *const Tensor,
    positions: *const Tensor,
    slot_mapping: *const Tensor,
    cos_sin: *const Tensor,
    q_out: *const Tensor,
    k_cache: *const Tensor,
    v_cache: *const Tensor,
    k_scale: f32,
    v_scale: f32,
    error: *const Tensor,
) -> i32 {
    // SAFETY: the caller's promises, as the header states them.
    guarded(|| unsafe {
        let on = Queue::new("rope_append_kv", device, stream)?;
        let args = RopeAppendKv {
            qkv: on.read("qkv", qkv)?,
            positions: on.read("positions", positions)?,
            slot_mapping: on.read("slot_mapping", slot_mapping)?,
            cos_sin: on.read("cos_sin", cos_sin)?,
            q_out: on.write("q_out", q_out)?,
            k_cache: on.write("k_cache", k_cache)?,
            v_cache: on.write("v_cache", v_cache)?,
            k_scale,
            v_scale,
            error: on.write_optional("error", error)?,
        };
        ops::rope_append_kv(on.stream()?, &args)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lk_permute_columns(
    device: u64,
    stream: *mut c_void,
    x: *const Tensor,
    columns: *const Tensor,
    out: *const Tensor,
    error: *const Tensor,
) -> i32 {
    // SAFETY: the caller's promises, as the header states them.
    guarded(|| unsafe {
        let on = Queue::new("permute_columns", device, stream)?;
        let (x, columns) = (on.read("x", x)?, on.read("columns", columns)?);
        let (out, error) = (on.write("out", out)?, on.write_optional("error", error)?);
        ops::permute_columns(on.stream()?, &PermuteColumns { x, columns, out, error })
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lk_sample(
    device: u64,
    stream: *mut c_void,
    logits: *const Tensor,
    rows: *const Tensor,
    seen: *const Tensor,
    out: *const Tensor,
    error: *const Tensor,
) -> i32 {
    // SAFETY: the caller's promises, as the header states them.
    guarded(|| unsafe {
        let on = Queue::new("sample", device, stream)?;
        let args = Sample {
            logits: on.read("logits", logits)?,
            rows: on.read("rows", rows)?,
            seen: on.write("seen", seen)?,
            out: on.write("out", out)?,
            error: on.write_optional("error", error)?,
        };
        ops::sample(on.stream()?, &args)
    })
}
