//! The library, called.

use std::ffi::{CStr, CString, c_char, c_void};
use std::ptr::{null, null_mut};

use half::bf16;
use libloading::{Library, Symbol};
use llama_kernels::device::DeviceChoice;
use llama_kernels::gpu::{Buffer, Device, TensorMut, TensorRef};
use llama_kernels::ops::{self, Decode, KeysValues};
use llama_kernels::plan;
use llama_kernels::tensor::DType;

use super::library;
use super::types::{Attention, Tensor};
use crate::common::TempDir;

const ARGUMENT: i32 = 1;
const BF16: i32 = 0;
const I32: i32 = 3;
const U8: i32 = 6;

type Norm = unsafe extern "C" fn(u64, *mut c_void, *const Tensor, *const Tensor, f32, *const Tensor) -> i32;
type Matmul = unsafe extern "C" fn(
    u64,
    *mut c_void,
    *const Tensor,
    *const Tensor,
    *const Tensor,
    i32,
    i32,
    *const Tensor,
    *const Tensor,
) -> i32;
type Bytes = unsafe extern "C" fn(u64, *mut c_void, *const Attention, *mut u64) -> i32;
type AttentionDecode = unsafe extern "C" fn(u64, *mut c_void, *const Attention, *const Tensor) -> i32;
type AttentionPrefill = unsafe extern "C" fn(u64, *mut c_void, *const Attention) -> i32;

/// The library, and a simulated GPU that it has opened.
pub(super) struct Opened {
    library: Library,
    pub device: u64,
}

impl Opened {
    pub fn new() -> Self {
        // SAFETY: loading the library runs no code of its own.
        let library = unsafe { Library::new(library::path()) }.unwrap();
        let mut opened = Opened { library, device: 0 };
        opened.device = opened.open("sim").unwrap();
        opened
    }

    /// # Safety
    /// The function has this type: see `header.rs`.
    pub unsafe fn function<T>(&self, name: &str) -> Symbol<'_, T> {
        // SAFETY: the caller's promise.
        unsafe { self.library.get(name) }.unwrap()
    }

    fn open(&self, name: &str) -> Result<u64, (i32, String)> {
        let (name, mut device) = (CString::new(name).unwrap(), 0);
        // SAFETY: the function has this type, and both pointers are what it takes.
        let status = unsafe {
            self.function::<unsafe extern "C" fn(*const c_char, *mut u64) -> i32>("lk_open")(
                name.as_ptr(),
                &raw mut device,
            )
        };
        self.result(status).map(|()| device)
    }

    pub fn result(&self, status: i32) -> Result<(), (i32, String)> {
        if status == 0 {
            return Ok(());
        }
        // SAFETY: the function has this type; what it returns ends with 0 and stays until the next error.
        let message =
            unsafe { CStr::from_ptr(self.function::<extern "C" fn() -> *const c_char>("lk_error")()) };
        Err((status, message.to_str().unwrap().to_string()))
    }

    fn close(&self, device: u64) -> Result<(), (i32, String)> {
        // SAFETY: the function has this type.
        let status = unsafe { self.function::<extern "C" fn(u64) -> i32>("lk_close")(device) };
        self.result(status)
    }

    /// Memory of the device with these bytes in it.
    pub fn allocate(&self, bytes: &[u8]) -> *mut c_void {
        let mut address = null_mut();
        // SAFETY: the functions have these types; the memory is as long as the bytes.
        unsafe {
            let allocate =
                self.function::<unsafe extern "C" fn(u64, u64, *mut *mut c_void) -> i32>("lk_allocate");
            self.result(allocate(self.device, bytes.len() as u64, &raw mut address)).unwrap();
            self.result(self.copy("lk_write", address, bytes.as_ptr().cast(), bytes.len())).unwrap();
        }
        address
    }

    /// # Safety
    /// On the host's side there are so many bytes.
    unsafe fn copy(&self, name: &str, to: *mut c_void, from: *const c_void, bytes: usize) -> i32 {
        type Copy = unsafe extern "C" fn(u64, *mut c_void, *const c_void, u64) -> i32;
        // SAFETY: the function has this type; the rest is the caller's promise.
        unsafe { self.function::<Copy>(name)(self.device, to, from, bytes as u64) }
    }

    pub fn read(&self, from: *const c_void, bytes: usize) -> Vec<u8> {
        let mut read = vec![0; bytes];
        // SAFETY: the host's memory is as long.
        let status = unsafe { self.copy("lk_read", read.as_mut_ptr().cast(), from, bytes) };
        self.result(status).unwrap();
        read
    }
}

pub(super) fn tensor(data: *mut c_void, dtype: i32, dims: &[usize]) -> Tensor {
    let (mut shape, mut strides) = ([0; 4], [0; 4]);
    for i in 0..dims.len() {
        shape[i] = dims[i] as i64;
        strides[i] = dims[i + 1..].iter().product::<usize>() as i64;
    }
    Tensor { data, dtype, rank: dims.len() as i32, shape, strides }
}

fn wave(len: usize, step: f32) -> Vec<u8> {
    (0..len).flat_map(|i| bf16::from_f32((i as f32 * step).sin()).to_le_bytes()).collect()
}

#[test]
#[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
fn a_c_program_runs_a_kernel() {
    let folder = TempDir::new();
    let output = library::run_c(&library::sources().join("main.c"), folder.path(), &["sim"]);
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(stdout.starts_with("768 values as expected, on simulated GPU"), "{stdout}");
}

/// What is wrong comes back as a status and in words, whatever it is.
#[test]
#[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
fn wrong_arguments_are_named() {
    let c = Opened::new();
    // SAFETY: the function has this type.
    let norm = unsafe { c.function::<Norm>("lk_rms_norm") };
    let x = tensor(c.allocate(&wave(2 * 16, 0.1)), BF16, &[2, 16]);
    let weight = tensor(c.allocate(&wave(16, 0.1)), BF16, &[16]);
    let refused = |status: i32, text: &str| {
        let (status, message) = c.result(status).expect_err(text);
        assert_eq!((status, message.as_str()), (ARGUMENT, text));
    };
    let call = |x: *const Tensor, out: *const Tensor| {
        // SAFETY: the tensors that are not refused lie in memory of the device.
        unsafe { norm(c.device, null_mut(), x, &weight, 1e-5, out) }
    };
    assert_eq!(call(&x, &x), 0);
    refused(call(null(), &x), "rms_norm: x: expected a pointer that is a multiple of 8, got 0x0");
    let misaligned = (&raw const x).cast::<u8>().wrapping_add(4).cast();
    let (status, message) = c.result(call(misaligned, &x)).unwrap_err();
    assert!(status == ARGUMENT && message.starts_with("rms_norm: x: expected a pointer"), "{message}");
    let x_with = |change: &dyn Fn(&mut Tensor)| {
        let mut x = x;
        change(&mut x);
        x
    };
    for (wrong, text) in [
        (x_with(&|x| x.dtype = 8), "rms_norm: x: expected a dtype of enum lk_dtype, got 8"),
        (x_with(&|x| x.dtype = 2), "rms_norm: x: expected bf16 or f16, got f32"),
        (x_with(&|x| x.rank = 5), "rms_norm: x: expected a rank from 0 to 4, got 5"),
        (x_with(&|x| x.rank = -1), "rms_norm: x: expected a rank from 0 to 4, got -1"),
        (
            x_with(&|x| x.strides[0] = -16),
            "rms_norm: x: expected a shape and strides that are not negative, got [2, 16] and [-16, 1]",
        ),
        (x_with(&|x| x.data = null_mut()), "rms_norm: x: expected the address of its elements, got NULL"),
        (x_with(&|x| x.shape[1] = 8), "rms_norm: weight: expected shape [8], got [16]"),
    ] {
        refused(call(&wrong, &x), text);
    }
    let stray = x_with(&|x| x.data = x.data.wrapping_byte_add(2));
    let (status, message) = c.result(call(&stray, &stray)).unwrap_err();
    assert!(
        status == ARGUMENT && message.contains("expected an address that is a multiple of 16 bytes"),
        "{message}"
    );
    // SAFETY: a stream that a simulated GPU does not have is not looked at, nor is a device that there is not.
    let (stream, device) = unsafe {
        let stream = norm(c.device, c.device as *mut c_void, &x, &weight, 1e-5, &x);
        (
            c.result(stream).unwrap_err(),
            c.result(norm(u64::MAX, null_mut(), &x, &weight, 1e-5, &x)).unwrap_err(),
        )
    };
    assert!(
        stream.1.starts_with("rms_norm: stream: expected NULL, as the device is simulated"),
        "{stream:?}"
    );
    assert!(device.1.starts_with("rms_norm: device: expected a device that lk_open gave"), "{device:?}");

    // SAFETY: the functions have these types; what they are given is refused.
    unsafe {
        let matmul = c.function::<Matmul>("lk_matmul");
        let status = matmul(c.device, null_mut(), &x, &x, null(), 2, 0, null(), &x);
        refused(status, "matmul: epilogue: expected one of enum lk_epilogue, got 2");
        let workspace = c.function::<Bytes>("lk_attention_decode_workspace");
        let (status, message) = c.result(workspace(c.device, null_mut(), null(), null_mut())).unwrap_err();
        assert!(
            status == ARGUMENT && message.starts_with("attention_decode_workspace: bytes: "),
            "{message}"
        );
        for name in ["lk_write", "lk_read"] {
            let (status, message) = c.result(c.copy(name, x.data, x.data, 65)).unwrap_err();
            assert!(status == ARGUMENT && message.contains("expected a part of"), "{message}");
            assert!(c.result(c.copy(name, null_mut(), null(), 1)).is_err());
            assert!(c.result(c.copy(name, x.data, null(), 0)).is_ok());
        }
    }
    for (name, wanted) in [("gpu", 1), ("cpu", 4), ("cuda:99", 4), ("", 1)] {
        let (status, message) = c.open(name).unwrap_err();
        assert_eq!(status, wanted, "{name}: {message}");
    }
    c.close(c.device).unwrap();
    assert!(c.close(c.device).is_err() && c.close(0).is_err());
    let (status, message) = c.result(call(&x, &x)).unwrap_err();
    assert!(status == ARGUMENT && message.contains("that is not closed"), "{message}");
}

const Q_HEADS: usize = 4;
const KV_HEADS: usize = 2;
const HEAD_DIM: usize = 64;
const PAGE_SIZE: usize = 16;
const PAGES: usize = 48;
/// Keys of the two sequences, and their pages.
const KV_LEN: [i32; 2] = [37, 600];
const MAX_PAGES: usize = 38;

fn page_table() -> Vec<i32> {
    (0..2 * MAX_PAGES as i32).map(|i| i * 7 % PAGES as i32).collect()
}

/// Decode and prefill attention through C are those of `ops`, bit for bit.
#[test]
#[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
fn attention_is_that_of_ops() {
    let (q_dims, cache_dims) = ([2, Q_HEADS, HEAD_DIM], [PAGES, PAGE_SIZE, KV_HEADS, HEAD_DIM]);
    let cache_len = cache_dims.iter().product();
    let (q, k, v) = (wave(2 * Q_HEADS * HEAD_DIM, 0.37), wave(cache_len, 0.11), wave(cache_len, 0.23));
    let table = page_table();
    let ints = |values: &[i32]| -> Vec<u8> { bytemuck::cast_slice(values).to_vec() };

    let c = Opened::new();
    let place = |bytes: &[u8], dtype, dims: &[usize]| tensor(c.allocate(bytes), dtype, dims);
    let (c_q, c_k, c_v) =
        (place(&q, BF16, &q_dims), place(&k, BF16, &cache_dims), place(&v, BF16, &cache_dims));
    let c_table = place(&ints(&table), I32, &[2, MAX_PAGES]);
    let (c_indptr, c_kv_len) = (place(&ints(&[0, 1, 2]), I32, &[3]), place(&ints(&KV_LEN), I32, &[2]));
    let out = [0, 1].map(|_| place(&vec![0xff; q.len()], BF16, &q_dims));
    let mut args = Attention {
        q: &c_q,
        k: &c_k,
        v: &c_v,
        page_table: &c_table,
        kv_indptr: null(),
        q_indptr: &c_indptr,
        kv_len: &c_kv_len,
        out: &out[0],
        lse: null(),
        error: null(),
        first_sequence: 0,
        num_sequences: 2,
        max_q_len: 1,
        max_kv_len: 600,
        softmax_scale: 0.125,
        k_scale: 1.0,
        v_scale: 1.0,
        batch_invariant: 0,
    };
    let mut bytes = 0;
    // SAFETY: the functions have these types, and every tensor lies in memory of the device.
    unsafe {
        let workspace = c.function::<Bytes>("lk_attention_decode_workspace");
        c.result(workspace(c.device, null_mut(), &args, &raw mut bytes)).unwrap();
        let c_workspace = place(&vec![0xff; bytes as usize], U8, &[bytes as usize]);
        let decode = c.function::<AttentionDecode>("lk_attention_decode");
        c.result(decode(c.device, null_mut(), &args, &c_workspace)).unwrap();
        args.out = &out[1];
        let prefill = c.function::<AttentionPrefill>("lk_attention_prefill");
        c.result(prefill(c.device, null_mut(), &args)).unwrap();
        args.kv_indptr = &c_indptr;
        let (status, message) = c.result(prefill(c.device, null_mut(), &args)).unwrap_err();
        let text = "attention_prefill: page_table: expected either page_table or kv_indptr, got both";
        assert_eq!((status, message.as_str()), (ARGUMENT, text));
    }
    let results = out.map(|out| c.read(out.data, q.len()));

    let device = Device::open(DeviceChoice::SIM).unwrap();
    let stream = device.new_stream().unwrap();
    let place = |bytes: &[u8]| {
        let mut buffer = device.allocate(bytes.len()).unwrap();
        buffer.write(0, bytes).unwrap();
        buffer
    };
    let inputs = [&q, &k, &v, &ints(&table), &ints(&[0, 1, 2]), &ints(&KV_LEN)].map(|bytes| place(bytes));
    let read = |buffer: &Buffer, dtype, dims: &[usize]| {
        let strides = tensor(null_mut(), 0, dims).strides.map(|stride| stride as usize);
        // SAFETY: the buffers are as long, and live until the stream has been waited for.
        unsafe { TensorRef::from_raw(&device, buffer.address(), dtype, dims, &strides[..dims.len()]) }
            .unwrap()
    };
    let write = |buffer: &Buffer, dtype, dims: &[usize]| {
        let strides = tensor(null_mut(), 0, dims).strides.map(|stride| stride as usize);
        // SAFETY: as above.
        unsafe { TensorMut::from_raw(&device, buffer.address(), dtype, dims, &strides[..dims.len()]) }
            .unwrap()
    };
    let attention = |out: &Buffer| ops::Attention {
        q: read(&inputs[0], DType::BF16, &q_dims),
        keys_values: KeysValues::Paged {
            k: read(&inputs[1], DType::BF16, &cache_dims),
            v: read(&inputs[2], DType::BF16, &cache_dims),
            page_table: read(&inputs[3], DType::I32, &[2, MAX_PAGES]),
        },
        k_scale: 1.0,
        v_scale: 1.0,
        q_indptr: read(&inputs[4], DType::I32, &[3]),
        kv_len: read(&inputs[5], DType::I32, &[2]),
        sequences: 0..2,
        max_q_len: 1,
        max_kv_len: 600,
        softmax_scale: 0.125,
        out: write(out, DType::BF16, &q_dims),
        lse: None,
        error: None,
    };
    let out = [0, 1].map(|_| place(&vec![0xff; q.len()]));
    let limits = device.properties().limits();
    let plan = plan::attention_decode(&attention(&out[0]).shape().unwrap(), false, limits).unwrap().unwrap();
    assert!(plan.splits > 1 && plan.workspace_bytes as u64 == bytes, "{plan}: {bytes}");
    let workspace = place(&vec![0xff; plan.workspace_bytes]);
    let workspace = write(&workspace, DType::U8, &[plan.workspace_bytes]);
    let decode = Decode { workspace, batch_invariant: false };
    ops::attention_decode(&stream, &attention(&out[0]), &decode).unwrap();
    ops::attention_prefill(&stream, &attention(&out[1])).unwrap();
    stream.synchronize().unwrap();
    for (result, out) in results.iter().zip(out) {
        let mut expected = vec![0; q.len()];
        out.read(0, &mut expected).unwrap();
        assert!(expected.chunks_exact(2).any(|bits| bits != [0, 0]) && *result == expected);
    }
}
