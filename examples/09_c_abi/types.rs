//! The structs of the C interface, field by field as in `llama_kernels.h`.

use std::ffi::{c_char, c_void};

/// Dimensions of [`Tensor`].
pub const MAX_RANK: usize = 4;
/// Bytes of [`Properties::name`], the final 0 included.
pub const NAME_BYTES: usize = 128;

/// `lk_tensor`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Tensor {
    pub data: *mut c_void,
    pub dtype: i32,
    pub rank: i32,
    pub shape: [i64; MAX_RANK],
    pub strides: [i64; MAX_RANK],
}

/// `lk_attention`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Attention {
    pub q: *const Tensor,
    pub k: *const Tensor,
    pub v: *const Tensor,
    pub page_table: *const Tensor,
    pub kv_indptr: *const Tensor,
    pub q_indptr: *const Tensor,
    pub kv_len: *const Tensor,
    pub out: *const Tensor,
    pub lse: *const Tensor,
    pub error: *const Tensor,
    pub first_sequence: u64,
    pub num_sequences: u64,
    pub max_q_len: u64,
    pub max_kv_len: u64,
    pub softmax_scale: f32,
    pub k_scale: f32,
    pub v_scale: f32,
    pub batch_invariant: i32,
}

/// `lk_int4_weight`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Int4Weight {
    pub n: u64,
    pub k: u64,
    pub group_size: u64,
    pub codes: *const u8,
    pub scales: *const u16,
    pub zeros: *const u16,
    pub dtype: i32,
}

/// `lk_int4_packed`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Int4Packed {
    pub n: u64,
    pub k: u64,
    pub codes: *const Tensor,
    pub scales: *const Tensor,
    pub integer_zeros: i32,
}

/// `lk_properties`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Properties {
    pub name: [c_char; NAME_BYTES],
    pub simulated: i32,
    pub compute_capability_major: i32,
    pub compute_capability_minor: i32,
    pub num_sms: u32,
    pub memory_bytes: u64,
    pub l2_bytes: u64,
    pub memory_bytes_per_second: f64,
    pub kernels_cuda_major: i32,
    pub kernels_cuda_minor: i32,
}
