//! The matrix products, what their operands are quantised by, and the order of 4-bit weights, which the host makes.

use std::ffi::c_void;

use llama_kernels::ops::{
    self, Epilogue, Fp8Mut, Fp8Out, Fp8Ref, Int4Ref, Matmul, MatmulFp8, MatmulInt4, QuantizeFp8,
};
use llama_kernels::plan;
use llama_kernels::quant::int4::{GroupSize, Int4, Int4Parts, Packed};
use llama_kernels::tensor::DType;
use llama_kernels::{Error, Result};

use super::error::guarded;
use super::queue::{Queue, check_pointer, find};
use super::types::{Int4Packed, Int4Weight, Tensor};

fn epilogue(op: &'static str, epilogue: i32) -> Result<Epilogue> {
    match epilogue {
        0 => Ok(Epilogue::None),
        1 => Ok(Epilogue::SwiGlu),
        other => Err(Error::argument(op, "epilogue", "one of enum lk_epilogue", other)),
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lk_matmul(
    device: u64,
    stream: *mut c_void,
    x: *const Tensor,
    weight: *const Tensor,
    bias: *const Tensor,
    epilogue: i32,
    batch_invariant: i32,
    workspace: *const Tensor,
    out: *const Tensor,
) -> i32 {
    const OP: &str = "matmul";
    // SAFETY: the caller's promises, as the header states them.
    guarded(|| unsafe {
        let on = Queue::new(OP, device, stream)?;
        let args = Matmul {
            x: on.read("x", x)?,
            weight: on.read("weight", weight)?,
            bias: on.read_optional("bias", bias)?,
            epilogue: self::epilogue(OP, epilogue)?,
            batch_invariant: batch_invariant != 0,
            workspace: on.write_optional("workspace", workspace)?,
            out: on.write("out", out)?,
        };
        ops::matmul(on.stream()?, &args)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lk_matmul_int4(
    device: u64,
    stream: *mut c_void,
    x: *const Tensor,
    weight: *const Int4Packed,
    bias: *const Tensor,
    epilogue: i32,
    batch_invariant: i32,
    workspace: *const Tensor,
    out: *const Tensor,
) -> i32 {
    const OP: &str = "matmul_int4";
    // SAFETY: the caller's promises, as the header states them.
    guarded(|| unsafe {
        let on = Queue::new(OP, device, stream)?;
        let weight = on.struct_of("weight", weight)?;
        let args = MatmulInt4 {
            x: on.read("x", x)?,
            weight: Int4Ref {
                n: size(OP, "n", weight.n)?,
                k: size(OP, "k", weight.k)?,
                codes: on.read("codes", weight.codes)?,
                scales: on.read("scales", weight.scales)?,
                integer_zeros: weight.integer_zeros != 0,
            },
            bias: on.read_optional("bias", bias)?,
            epilogue: self::epilogue(OP, epilogue)?,
            batch_invariant: batch_invariant != 0,
            workspace: on.write_optional("workspace", workspace)?,
            out: on.write("out", out)?,
        };
        ops::matmul_int4(on.stream()?, &args)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lk_matmul_fp8(
    device: u64,
    stream: *mut c_void,
    x: *const Tensor,
    x_scale: *const Tensor,
    weight: *const Tensor,
    weight_scale: *const Tensor,
    bias: *const Tensor,
    epilogue: i32,
    fast_accumulation: i32,
    batch_invariant: i32,
    workspace: *const Tensor,
    out: *const Tensor,
) -> i32 {
    const OP: &str = "matmul_fp8";
    // SAFETY: the caller's promises, as the header states them.
    guarded(|| unsafe {
        let on = Queue::new(OP, device, stream)?;
        let args = MatmulFp8 {
            x: Fp8Ref { codes: on.read("x", x)?, scale: on.read("x_scale", x_scale)? },
            weight: Fp8Ref {
                codes: on.read("weight", weight)?,
                scale: on.read("weight_scale", weight_scale)?,
            },
            bias: on.read_optional("bias", bias)?,
            epilogue: self::epilogue(OP, epilogue)?,
            fast_accumulation: fast_accumulation != 0,
            batch_invariant: batch_invariant != 0,
            workspace: on.write_optional("workspace", workspace)?,
            out: Fp8Out::Native(on.write("out", out)?),
        };
        ops::matmul_fp8(on.stream()?, &args)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lk_quantize_fp8(
    device: u64,
    stream: *mut c_void,
    x: *const Tensor,
    codes: *const Tensor,
    scale: *const Tensor,
) -> i32 {
    // SAFETY: the caller's promises, as the header states them.
    guarded(|| unsafe {
        let on = Queue::new("quantize_fp8", device, stream)?;
        let out = Fp8Mut { codes: on.write("codes", codes)?, scale: on.write("scale", scale)? };
        ops::quantize_fp8(on.stream()?, &QuantizeFp8 { x: on.read("x", x)?, out })
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lk_matmul_workspace(device: u64, bytes: *mut u64) -> i32 {
    // SAFETY: the caller's promises, as the header states them.
    guarded(|| unsafe {
        check_pointer("matmul_workspace", "bytes", bytes)?;
        let limits = find("matmul_workspace", device)?.device.properties().limits();
        bytes.write(plan::matmul_workspace_bytes(&limits) as u64);
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lk_int4_sizes(weight: *const Int4Weight, codes: *mut u64, scales: *mut u64) -> i32 {
    const OP: &str = "int4_sizes";
    // SAFETY: the caller's promises, as the header states them.
    guarded(|| unsafe {
        check_pointer(OP, "weight", weight)?;
        check_pointer(OP, "codes", codes)?;
        check_pointer(OP, "scales", scales)?;
        let sizes = Sizes::of(OP, &weight.read())?;
        codes.write(sizes.packed_codes as u64);
        scales.write(sizes.packed_scales as u64);
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lk_int4_pack(
    weight: *const Int4Weight,
    codes: *mut u8,
    scales: *mut u16,
    integer_zeros: *mut i32,
) -> i32 {
    const OP: &str = "int4_pack";
    // SAFETY: the caller's promises, as the header states them.
    guarded(|| unsafe {
        check_pointer(OP, "weight", weight)?;
        let weight = weight.read();
        check_pointer(OP, "weight.codes", weight.codes)?;
        check_pointer(OP, "weight.scales", weight.scales)?;
        if !weight.zeros.is_null() {
            check_pointer(OP, "weight.zeros", weight.zeros)?;
        }
        check_pointer(OP, "codes", codes)?;
        check_pointer(OP, "scales", scales)?;
        check_pointer(OP, "integer_zeros", integer_zeros)?;
        let sizes = Sizes::of(OP, &weight)?;
        let scales_of = |from: *const u16| std::slice::from_raw_parts(from, sizes.scales).to_vec();
        let ordered = Int4::new(Int4Parts {
            n: sizes.n,
            k: sizes.k,
            group_size: sizes.group_size,
            dtype: sizes.dtype,
            codes: std::slice::from_raw_parts(weight.codes, sizes.codes).to_vec(),
            scales: scales_of(weight.scales),
            zeros: (!weight.zeros.is_null()).then(|| scales_of(weight.zeros)),
        })?;
        let packed = Packed::new(&ordered);
        std::slice::from_raw_parts_mut(codes, sizes.packed_codes).copy_from_slice(packed.codes());
        std::slice::from_raw_parts_mut(scales, sizes.packed_scales).copy_from_slice(packed.scales());
        integer_zeros.write(i32::from(packed.integer_zeros()));
        Ok(())
    })
}

/// Elements of a 4-bit weight's arrays, as they come and as kernels read them.
struct Sizes {
    n: usize,
    k: usize,
    group_size: GroupSize,
    dtype: DType,
    codes: usize,
    scales: usize,
    packed_codes: usize,
    packed_scales: usize,
}

impl Sizes {
    fn of(op: &'static str, weight: &Int4Weight) -> Result<Self> {
        let (n, k) = (size(op, "n", weight.n)?, size(op, "k", weight.k)?);
        let group_size = match weight.group_size {
            group if group == weight.k => GroupSize::Row,
            32 => GroupSize::Of32,
            64 => GroupSize::Of64,
            128 => GroupSize::Of128,
            other => return Err(Error::argument(op, "group_size", format!("32, 64, 128 or {k}"), other)),
        };
        let dtype = match weight.dtype {
            0 => DType::BF16,
            1 => DType::F16,
            other => return Err(Error::argument(op, "dtype", "LK_BF16 or LK_F16", other)),
        };
        let group = group_size.columns(k);
        if k == 0 || !k.is_multiple_of(group) || !k.is_multiple_of(16) {
            return Err(Error::argument(op, "k", "a multiple of the group's columns, and of 16", k));
        }
        let too_large = || Error::argument(op, "n", "fewer than 2^63 bytes", n);
        let product = |a: usize, b: usize| {
            a.checked_mul(b).filter(|bytes| *bytes < usize::MAX / 4).ok_or_else(too_large)
        };
        let rows = n.checked_next_multiple_of(16).ok_or_else(too_large)?;
        let columns = k.checked_next_multiple_of(64).ok_or_else(too_large)?;
        let arrays = if weight.zeros.is_null() { 1 } else { 2 };
        Ok(Sizes {
            n,
            k,
            group_size,
            dtype,
            codes: product(n, k / 2)?,
            scales: product(n, k / group)?,
            packed_codes: product(rows, columns / 2)?,
            packed_scales: product(product(rows, k / group)?, arrays)?,
        })
    }
}

fn size(op: &'static str, arg: &'static str, given: u64) -> Result<usize> {
    usize::try_from(given).map_err(|_| Error::argument(op, arg, "a size in memory", given))
}
