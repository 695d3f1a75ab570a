//! Products of quantised operands, called through the C interface on small integers, whose sums are exact.

use std::ffi::c_void;
use std::ptr::{null, null_mut};

use half::bf16;
use llama_kernels::quant::fp8;
use llama_kernels::quant::int4::{GroupSize, Int4, Int4Parts, Packed};
use llama_kernels::tensor::DType;

use super::calls::{Opened, tensor};
use super::types::{Int4Packed, Int4Weight, Tensor};

const M: usize = 3;
const N: usize = 40;
const K: usize = 128;
const GROUP: usize = 64;

const BF16: i32 = 0;
const F32: i32 = 2;
const U8: i32 = 6;
const E4M3: i32 = 7;

type Sizes = unsafe extern "C" fn(*const Int4Weight, *mut u64, *mut u64) -> i32;
type Pack = unsafe extern "C" fn(*const Int4Weight, *mut u8, *mut u16, *mut i32) -> i32;
type MatmulInt4 = unsafe extern "C" fn(
    u64,
    *mut c_void,
    *const Tensor,
    *const Int4Packed,
    *const Tensor,
    i32,
    i32,
    *const Tensor,
    *const Tensor,
) -> i32;
type Workspace = unsafe extern "C" fn(u64, *mut u64) -> i32;
type QuantizeFp8 = unsafe extern "C" fn(u64, *mut c_void, *const Tensor, *const Tensor, *const Tensor) -> i32;
type MatmulFp8 = unsafe extern "C" fn(
    u64,
    *mut c_void,
    *const Tensor,
    *const Tensor,
    *const Tensor,
    *const Tensor,
    *const Tensor,
    i32,
    i32,
    i32,
    *const Tensor,
    *const Tensor,
) -> i32;

fn x(row: usize, column: usize) -> f32 {
    ((row * 5 + column * 7) % 9) as f32 - 4.0
}

/// From -8 to 7.
fn weight(row: usize, column: usize) -> f32 {
    ((row * 11 + column * 3 + column / 16) % 16) as f32 - 8.0
}

fn product() -> Vec<f32> {
    let sum = |m: usize, n: usize| (0..K).map(|k| x(m, k) * weight(n, k)).sum();
    (0..M * N).map(|i| sum(i / N, i % N)).collect()
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

fn workspace(c: &Opened) -> Tensor {
    let mut bytes = 0;
    // SAFETY: the function has this type.
    let status = unsafe { c.function::<Workspace>("lk_matmul_workspace")(c.device, &raw mut bytes) };
    c.result(status).unwrap();
    tensor(c.allocate(&vec![0; bytes as usize]), U8, &[bytes as usize])
}

#[test]
#[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
fn a_weight_is_packed_on_the_host_and_multiplied_by() {
    let c = Opened::new();
    let code = |i: usize| (weight(i / K, i % K) + 8.0) as u8;
    let codes: Vec<u8> = (0..N * K / 2).map(|i| code(2 * i) | code(2 * i + 1) << 4).collect();
    let scales = vec![bf16::ONE.to_bits(); N * K / GROUP];
    let given = Int4Weight {
        n: N as u64,
        k: K as u64,
        group_size: GROUP as u64,
        codes: codes.as_ptr(),
        scales: scales.as_ptr(),
        zeros: null(),
        dtype: BF16,
    };
    let (mut num_codes, mut num_scales, mut integer_zeros) = (0, 0, -1);
    // SAFETY: the functions have these types; arrays are as long as the weight's sizes say.
    let (packed_codes, packed_scales) = unsafe {
        let sizes = c.function::<Sizes>("lk_int4_sizes");
        c.result(sizes(&raw const given, &raw mut num_codes, &raw mut num_scales)).unwrap();
        let (mut codes, mut scales) = (vec![0xFF; num_codes as usize], vec![0xFFFF; num_scales as usize]);
        let pack = c.function::<Pack>("lk_int4_pack");
        let status = pack(&raw const given, codes.as_mut_ptr(), scales.as_mut_ptr(), &raw mut integer_zeros);
        c.result(status).unwrap();
        // What is refused is refused before anything is read.
        for (wrong, text) in [
            (
                Int4Weight { group_size: 48, ..given },
                "int4_pack: group_size: expected 32, 64, 128 or 128, got 48",
            ),
            (Int4Weight { k: 100, ..given }, "int4_pack: k: expected a multiple of "),
            (Int4Weight { n: u64::MAX / 2, ..given }, "int4_pack: n: expected "),
            (Int4Weight { codes: null(), ..given }, "int4_pack: weight.codes: expected a pointer"),
            (Int4Weight { n: 39, ..given }, "int4: n: expected a multiple of 8, got 39"),
        ] {
            let status =
                pack(&raw const wrong, codes.as_mut_ptr(), scales.as_mut_ptr(), &raw mut integer_zeros);
            let (_, message) = c.result(status).unwrap_err();
            assert!(message.starts_with(text), "{message}");
        }
        (codes, scales)
    };
    let parts = Int4Parts {
        n: N,
        k: K,
        group_size: GroupSize::Of64,
        dtype: DType::BF16,
        codes: codes.clone(),
        scales: scales.clone(),
        zeros: None,
    };
    let expected = Packed::new(&Int4::new(parts).unwrap());
    assert_eq!(
        (&packed_codes[..], &packed_scales[..], integer_zeros),
        (expected.codes(), expected.scales(), 1)
    );

    let xs: Vec<u16> = (0..M * K).map(|i| bf16::from_f32(x(i / K, i % K)).to_bits()).collect();
    let x = tensor(c.allocate(bytemuck::cast_slice(&xs)), BF16, &[M, K]);
    let codes = tensor(c.allocate(&packed_codes), U8, &[packed_codes.len()]);
    let scales = bytemuck::cast_slice(&packed_scales);
    let scales = tensor(c.allocate(scales), BF16, &[N.div_ceil(16), K / GROUP, 1, 16]);
    let packed = Int4Packed {
        n: N as u64,
        k: K as u64,
        codes: &raw const codes,
        scales: &raw const scales,
        integer_zeros,
    };
    let out = tensor(c.allocate(&[0xFF; 4 * M * N]), F32, &[M, N]);
    let workspace = workspace(&c);
    // SAFETY: the function has this type, and the tensors lie in memory of the device.
    let status = unsafe {
        let matmul = c.function::<MatmulInt4>("lk_matmul_int4");
        matmul(c.device, null_mut(), &x, &packed, null(), 0, 0, &workspace, &out)
    };
    c.result(status).unwrap();
    assert_eq!(floats(&c.read(out.data, 4 * M * N)), product());
}

#[test]
#[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
fn codes_are_multiplied_and_activations_quantised() {
    let c = Opened::new();
    let codes = |rows: usize, value: fn(usize, usize) -> f32| -> Tensor {
        let codes: Vec<u8> = (0..rows * K).map(|i| fp8::encode(value(i / K, i % K))).collect();
        tensor(c.allocate(&codes), E4M3, &[rows, K])
    };
    let scales = |rows: usize, scale: f32| {
        let bytes: Vec<u8> = vec![scale; rows].into_iter().flat_map(f32::to_le_bytes).collect();
        tensor(c.allocate(&bytes), F32, &[rows, 1])
    };
    let (x_codes, weight_codes) = (codes(M, x), codes(N, weight));
    let (x_scale, weight_scale) = (scales(M, 0.5), scales(N, 4.0));
    let out = tensor(c.allocate(&[0xFF; 4 * M * N]), F32, &[M, N]);
    let workspace = workspace(&c);
    // SAFETY: the function has this type, and the tensors lie in memory of the device.
    let status = unsafe {
        let matmul = c.function::<MatmulFp8>("lk_matmul_fp8");
        matmul(
            c.device,
            null_mut(),
            &x_codes,
            &x_scale,
            &weight_codes,
            &weight_scale,
            null(),
            0,
            0,
            0,
            &workspace,
            &out,
        )
    };
    c.result(status).unwrap();
    let doubled: Vec<f32> = product().into_iter().map(|sum| 2.0 * sum).collect();
    assert_eq!(floats(&c.read(out.data, 4 * M * N)), doubled);

    // The largest of each row is 4.
    let xs: Vec<u16> = (0..M * K).map(|i| bf16::from_f32(x(i / K, i % K)).to_bits()).collect();
    let floats_of_x = tensor(c.allocate(bytemuck::cast_slice(&xs)), BF16, &[M, K]);
    // SAFETY: likewise.
    let status = unsafe {
        let quantize = c.function::<QuantizeFp8>("lk_quantize_fp8");
        quantize(c.device, null_mut(), &floats_of_x, &x_codes, &x_scale)
    };
    c.result(status).unwrap();
    let scale = fp8::scale(4.0);
    assert_eq!(floats(&c.read(x_scale.data, 4 * M)), [scale; M]);
    let expected: Vec<u8> = (0..M * K).map(|i| fp8::encode(x(i / K, i % K) / scale)).collect();
    assert_eq!(c.read(x_codes.data, M * K), expected);
}
