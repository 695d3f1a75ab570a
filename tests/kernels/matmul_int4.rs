//! `matmul_int4` where a case cannot say it: wrong arguments.

use llama_kernels::Error;
use llama_kernels::gpu::Device;
use llama_kernels::ops::{self, Epilogue, Int4Ref, MatmulInt4};
use llama_kernels::tensor::DType;

use super::device;
use super::tensors::{strided as read, strided_mut as write};

const BF16: DType = DType::BF16;
/// Far enough from each other for all shapes below.
const X: u64 = 0x1_0000;
const CODES: u64 = 0x2_0000;
const SCALES: u64 = 0x3_0000;
const BIAS: u64 = 0x4_0000;
const OUT: u64 = 0x5_0000;
const WORKSPACE: u64 = 0x6_0000;

/// A weight `[32, 128]` with one group a row.
fn weight<'a>(device: &Device) -> Int4Ref<'a> {
    Int4Ref {
        n: 32,
        k: 128,
        codes: read(device, CODES, DType::U8, &[2048], &[1]),
        scales: read(device, SCALES, BF16, &[2, 1, 1, 16], &[16, 16, 16, 1]),
        integer_zeros: true,
    }
}

/// `[3, 128] x [32, 128]`, with one argument exchanged.
fn product<'a>(device: &Device) -> MatmulInt4<'a> {
    MatmulInt4 {
        x: read(device, X, BF16, &[3, 128], &[128, 1]),
        weight: weight(device),
        bias: Some(read(device, BIAS, BF16, &[32], &[1])),
        epilogue: Epilogue::None,
        batch_invariant: false,
        workspace: Some(write(device, WORKSPACE, DType::U8, &[4096], &[1])),
        out: write(device, OUT, BF16, &[3, 32], &[32, 1]),
    }
}

#[test]
fn wrong_arguments_are_named() {
    let device = device::chosen();
    let stream = device.new_stream().unwrap();
    let product = || product(&device);
    let weight = || weight(&device);
    let refuses = |args: MatmulInt4<'_>, text: &str| {
        let error = ops::matmul_int4(&stream, &args).expect_err(text);
        assert!(matches!(error, Error::Argument { .. }), "{error:?}");
        let message = error.to_string();
        assert!(message.starts_with(&format!("matmul_int4: {text}")), "{message}, not {text}");
    };
    let x = |dtype, shape: &[usize]| read(&device, X, dtype, shape, &[shape[1], 1]);
    refuses(MatmulInt4 { x: x(BF16, &[3, 64]), ..product() }, "x: expected shape [num_tokens, 128]");
    refuses(MatmulInt4 { x: x(DType::F32, &[3, 128]), ..product() }, "x: expected bf16 or f16, got f32");
    let of = |weight| MatmulInt4 { weight, ..product() };
    let codes =
        |address, dtype, len| Int4Ref { codes: read(&device, address, dtype, &[len], &[1]), ..weight() };
    refuses(of(codes(CODES, DType::U8, 2047)), "codes: expected shape [2048]");
    refuses(of(codes(CODES, BF16, 2048)), "codes: expected u8, got bf16");
    refuses(
        of(codes(CODES + 8, DType::U8, 2048)),
        "codes: expected an address that is a multiple of 16 bytes",
    );
    let scales = |address, dtype, shape: [usize; 4]| {
        let strides = [shape[1] * shape[2] * shape[3], shape[2] * shape[3], shape[3], 1];
        Int4Ref { scales: read(&device, address, dtype, &shape, &strides), ..weight() }
    };
    for shape in [[2, 1, 3, 16], [3, 1, 1, 16], [2, 1, 1, 8], [2, 3, 1, 16], [2, 0, 1, 16]] {
        let text = "scales: expected shape [2, groups, 1 or 2, 16] with groups that divide 128";
        refuses(of(scales(SCALES, BF16, shape)), text);
    }
    refuses(of(scales(SCALES, DType::F32, [2, 1, 1, 16])), "scales: expected bf16 or f16, got f32");
    refuses(
        of(scales(SCALES + 2, BF16, [2, 1, 1, 16])),
        "scales: expected an address that is a multiple of 16 bytes",
    );
    refuses(of(scales(SCALES, BF16, [2, 8, 1, 16])), "group: expected 32, 64, 128 or 128, got 16");
    refuses(
        MatmulInt4 {
            weight: Int4Ref { n: 28, ..weight() },
            bias: None,
            out: write(&device, OUT, BF16, &[3, 28], &[32, 1]),
            ..product()
        },
        "n: expected a multiple of 8, got 28",
    );
    refuses(
        MatmulInt4 { x: x(BF16, &[3, 120]), weight: Int4Ref { k: 120, ..weight() }, ..product() },
        "k: expected a multiple of 16, got 120",
    );
    refuses(
        MatmulInt4 {
            weight: Int4Ref { n: 24, ..weight() },
            bias: None,
            epilogue: Epilogue::SwiGlu,
            out: write(&device, OUT, BF16, &[3, 12], &[16, 1]),
            ..product()
        },
        "n: expected a multiple of 16 with SwiGLU, got 24",
    );
    refuses(
        MatmulInt4 { bias: Some(read(&device, BIAS, BF16, &[31], &[1])), ..product() },
        "bias: expected shape [32]",
    );
    for (address, other) in [(X, "x"), (CODES, "codes"), (SCALES, "scales"), (BIAS, "bias")] {
        let text = format!("out: expected memory apart from {other}");
        refuses(MatmulInt4 { out: write(&device, address, BF16, &[3, 32], &[32, 1]), ..product() }, &text);
        let text = format!("workspace: expected memory apart from {other}");
        let workspace = Some(write(&device, address, DType::U8, &[4096], &[1]));
        refuses(MatmulInt4 { workspace, ..product() }, &text);
    }
    let workspace = |address, dtype| Some(write(&device, address, dtype, &[4096], &[1]));
    refuses(
        MatmulInt4 { workspace: workspace(OUT, DType::U8), ..product() },
        "workspace: expected memory apart from out",
    );
    refuses(
        MatmulInt4 { workspace: workspace(WORKSPACE, BF16), ..product() },
        "workspace: expected u8, got bf16",
    );
    refuses(
        MatmulInt4 { workspace: workspace(WORKSPACE + 16, DType::U8), ..product() },
        "workspace: expected an address that is a multiple of 256 bytes",
    );
    assert_eq!(device.launches(), 0);
}
