//! `matmul` where a case cannot say it: wrong arguments, batches, bytes.

use llama_kernels::gpu::{Buffer, Device, Stream, TensorMut, TensorRef};
use llama_kernels::ops::{self, Epilogue, Matmul};
use llama_kernels::plan::MatmulShape;
use llama_kernels::tensor::{DType, Layout, View, ViewMut};
use llama_kernels::{Error, Result};

use super::device;
use super::tensors::{strided as read, strided_mut as write};

const BF16: DType = DType::BF16;
/// Far enough from each other for all shapes below.
const X: u64 = 0x1_0000;
const WEIGHT: u64 = 0x2_0000;
const BIAS: u64 = 0x3_0000;
const OUT: u64 = 0x4_0000;

/// `[3, 64] x [32, 64]`, with one argument exchanged.
fn product<'a>(device: &Device) -> Matmul<'a> {
    Matmul {
        x: read(device, X, BF16, &[3, 64], &[64, 1]),
        weight: read(device, WEIGHT, BF16, &[32, 64], &[64, 1]),
        bias: Some(read(device, BIAS, BF16, &[32], &[1])),
        epilogue: Epilogue::None,
        batch_invariant: false,
        workspace: None,
        out: write(device, OUT, BF16, &[3, 32], &[32, 1]),
    }
}

#[test]
fn wrong_arguments_are_named() {
    let device = device::chosen();
    let stream = device.new_stream().unwrap();
    let product = || product(&device);
    let refuses = |args: Matmul<'_>, text: &str| {
        let error = ops::matmul(&stream, &args).expect_err(text);
        assert!(matches!(error, Error::Argument { .. }), "{error:?}");
        assert_eq!(error.to_string(), text);
    };
    let x = |dtype, shape: &[usize], strides: &[usize]| read(&device, X, dtype, shape, strides);
    let weight = |dtype, shape: &[usize], strides: &[usize]| read(&device, WEIGHT, dtype, shape, strides);
    let out =
        |address, dtype, shape: &[usize], strides: &[usize]| write(&device, address, dtype, shape, strides);

    refuses(
        Matmul { x: x(DType::F32, &[3, 64], &[64, 1]), ..product() },
        "matmul: x: expected bf16 or f16, got f32",
    );
    refuses(
        Matmul { x: x(BF16, &[192], &[1]), ..product() },
        "matmul: x: expected shape [num_tokens, width], got [192]",
    );
    refuses(
        Matmul { x: x(BF16, &[3, 64], &[1, 3]), ..product() },
        "matmul: x: expected a last stride of 1, got 3",
    );
    refuses(
        Matmul { x: x(BF16, &[3, 64], &[68, 1]), ..product() },
        "matmul: x: expected a row stride that is a multiple of 8 elements, got 68",
    );
    refuses(
        Matmul { x: read(&device, X + 8, BF16, &[3, 64], &[64, 1]), ..product() },
        "matmul: x: expected an address that is a multiple of 16 bytes, got 0x10008",
    );
    refuses(
        Matmul { weight: weight(BF16, &[32, 48], &[48, 1]), ..product() },
        "matmul: weight: expected shape [n, 64], got [32, 48]",
    );
    refuses(
        Matmul { weight: weight(DType::F16, &[32, 64], &[64, 1]), ..product() },
        "matmul: weight: expected bf16, got f16",
    );
    refuses(
        Matmul { weight: weight(BF16, &[32, 64], &[1, 32]), ..product() },
        "matmul: weight: expected a last stride of 1, got 32",
    );
    refuses(
        Matmul { bias: Some(read(&device, BIAS, BF16, &[31], &[1])), ..product() },
        "matmul: bias: expected shape [32], got [31]",
    );
    refuses(
        Matmul { bias: Some(read(&device, BIAS, DType::F32, &[32], &[1])), ..product() },
        "matmul: bias: expected bf16, got f32",
    );
    refuses(
        Matmul { bias: Some(read(&device, BIAS + 2, BF16, &[32], &[1])), ..product() },
        "matmul: bias: expected an address that is a multiple of 16 bytes, got 0x30002",
    );
    refuses(
        Matmul { out: out(OUT, BF16, &[3, 16], &[16, 1]), ..product() },
        "matmul: out: expected shape [3, 32], got [3, 16]",
    );
    refuses(
        Matmul { epilogue: Epilogue::SwiGlu, ..product() },
        "matmul: out: expected shape [3, 16], got [3, 32]",
    );
    refuses(
        Matmul { out: out(OUT, DType::F16, &[3, 32], &[32, 1]), ..product() },
        "matmul: out: expected bf16 or f32, got f16",
    );
    refuses(
        Matmul { out: out(OUT, DType::F32, &[3, 32], &[34, 1]), ..product() },
        "matmul: out: expected a row stride that is a multiple of 4 elements, got 34",
    );
    refuses(
        Matmul { out: out(OUT, BF16, &[3, 32], &[24, 1]), ..product() },
        "matmul: out: expected rows that do not overlap: 32 elements, got a stride of 24 elements",
    );
    for (address, other) in [(X, "x"), (WEIGHT, "weight"), (BIAS, "bias")] {
        let text =
            format!("matmul: out: expected memory apart from {other}, got {address:#x} and {address:#x}");
        refuses(Matmul { out: out(address, BF16, &[3, 32], &[32, 1]), ..product() }, &text);
    }
    refuses(
        Matmul { x: x(BF16, &[3, 20], &[24, 1]), weight: weight(BF16, &[32, 20], &[24, 1]), ..product() },
        "matmul: k: expected a multiple of 8, got 20",
    );
    refuses(
        Matmul {
            weight: weight(BF16, &[24, 64], &[64, 1]),
            bias: None,
            epilogue: Epilogue::SwiGlu,
            out: out(OUT, BF16, &[3, 12], &[16, 1]),
            ..product()
        },
        "matmul: n: expected a multiple of 16 with SwiGLU, got 24",
    );
    refuses(
        Matmul {
            weight: weight(BF16, &[0, 64], &[64, 1]),
            bias: None,
            out: out(OUT, BF16, &[3, 0], &[0, 1]),
            ..product()
        },
        "matmul: n: expected at least 1, got 0",
    );
    assert_eq!(device.launches(), 0);
}

/// Buffers of a product whose operands are some numbers or other.
struct Buffers {
    shape: MatmulShape,
    x: Buffer,
    weight: Buffer,
    bias: Buffer,
    out: Buffer,
}

impl Buffers {
    fn new(device: &Device, shape: MatmulShape) -> Self {
        let MatmulShape { m, n, k, .. } = shape;
        let mut state = 1_u32;
        let mut buffer = |elements: usize| {
            // bf16 from -2 to 2.
            let numbers = (0..elements).flat_map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (0x3F80 | (state >> 16) as u16 & 0x80FF).to_le_bytes()
            });
            let bytes: Vec<u8> = numbers.collect();
            let mut buffer = device.allocate(bytes.len()).unwrap();
            buffer.write(0, &bytes).unwrap();
            buffer
        };
        let (x, weight, bias) = (buffer(m * k), buffer(n * k), buffer(n));
        let out = device.allocate(m * shape.out_width() * out_dtype(&shape).size()).unwrap();
        Buffers { shape, x, weight, bias, out }
    }

    /// The product of `rows` rows from `first` on.
    fn launch(&mut self, stream: &Stream, first: usize, rows: usize, batch_invariant: bool) -> Result<()> {
        let MatmulShape { n, k, epilogue, bias, .. } = self.shape;
        let view = |buffer, shape: &[usize], offset| {
            let strides = if let &[_, width] = shape { vec![width, 1] } else { vec![1] };
            let layout = Layout::strided(shape, &strides, offset)?;
            TensorRef::new(View { buffer, dtype: BF16, layout })
        };
        let layout = Layout::contiguous(&[rows, self.shape.out_width()])?;
        let dtype = out_dtype(&self.shape);
        let args = Matmul {
            x: view(&self.x, &[rows, k], first * k)?,
            weight: view(&self.weight, &[n, k], 0)?,
            bias: if bias { Some(view(&self.bias, &[n], 0)?) } else { None },
            epilogue,
            batch_invariant,
            workspace: None,
            out: TensorMut::new(ViewMut { buffer: &mut self.out, dtype, layout })?,
        };
        ops::matmul(stream, &args)
    }

    /// What the last launch wrote.
    fn rows(&self, rows: usize) -> Vec<u8> {
        let mut bytes = vec![0; rows * self.shape.out_width() * out_dtype(&self.shape).size()];
        self.out.read(0, &mut bytes).unwrap();
        bytes
    }
}

fn out_dtype(shape: &MatmulShape) -> DType {
    if shape.out_f32 { DType::F32 } else { BF16 }
}

/// In batch-invariant mode a row has the same bits alone, in small batches and in large ones.
#[test]
#[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
fn a_row_does_not_depend_on_its_batch() {
    let device = device::chosen();
    let stream = device.new_stream().unwrap();
    let plain = MatmulShape { m: 70, n: 80, k: 208, ..MatmulShape::default() };
    let gate_up = MatmulShape { epilogue: Epilogue::SwiGlu, bias: true, ..plain };
    for shape in [MatmulShape { out_f32: true, ..plain }, gate_up] {
        let mut buffers = Buffers::new(&device, shape);
        buffers.launch(&stream, 0, shape.m, true).unwrap();
        let all = buffers.rows(shape.m);
        let row_bytes = all.len() / shape.m;
        for (first, rows) in [(0, 1), (13, 1), (69, 1), (5, 8), (30, 16), (3, 17), (2, 65)] {
            buffers.launch(&stream, first, rows, true).unwrap();
            let expected = &all[first * row_bytes..(first + rows) * row_bytes];
            assert_eq!(buffers.rows(rows), expected, "rows {first} to {}", first + rows);
        }
    }
}
