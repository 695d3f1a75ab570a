//! `matmul_fp8` where a case cannot say it: wrong arguments, and the accumulators of compute capability 8.9.

use bytemuck::Zeroable;
use half::bf16;
use llama_kernels::device::DeviceChoice;
use llama_kernels::gpu::{Device, Grid};
use llama_kernels::ops::{self, Epilogue, Fp8Mut, Fp8Out, Fp8Ref, MatmulFp8};
use llama_kernels::params::MatmulFp8Params;
use llama_kernels::plan::{self, Fp8Scales, MatmulShape, Operands};
use llama_kernels::quant::fp8;
use llama_kernels::reference::compare::{self, Matrix};
use llama_kernels::tensor::DType;

use super::device;
use super::fp8::{bytes, ptx};
use super::operands::buffer;
use super::tensors::{packed, packed_mut, refused, strided, strided_mut};

const E4M3: DType = DType::F8E4M3;
const F32: DType = DType::F32;
const BF16: DType = DType::BF16;
/// Far enough from each other for all shapes below.
const X: u64 = 0x1_0000;
const X_SCALE: u64 = 0x2_0000;
const WEIGHT: u64 = 0x3_0000;
const WEIGHT_SCALE: u64 = 0x8_0000;
const BIAS: u64 = 0x9_0000;
const OUT: u64 = 0xA_0000;
const OUT_SCALE: u64 = 0xB_0000;

fn x<'a>(device: &Device, dtype: DType, codes: &[usize], scale: &[usize]) -> Fp8Ref<'a> {
    Fp8Ref { codes: packed(device, X, dtype, codes), scale: packed(device, X_SCALE, F32, scale) }
}

fn weight<'a>(device: &Device, codes: &[usize], scale: &[usize]) -> Fp8Ref<'a> {
    Fp8Ref { codes: packed(device, WEIGHT, E4M3, codes), scale: packed(device, WEIGHT_SCALE, F32, scale) }
}

/// `[3, 256] x [512, 256]`, with one argument exchanged.
fn product<'a>(device: &Device) -> MatmulFp8<'a> {
    MatmulFp8 {
        x: x(device, E4M3, &[3, 256], &[3, 1]),
        weight: weight(device, &[512, 256], &[512, 1]),
        bias: Some(packed(device, BIAS, BF16, &[512])),
        epilogue: Epilogue::None,
        fast_accumulation: false,
        batch_invariant: false,
        workspace: None,
        out: Fp8Out::Native(packed_mut(device, OUT, BF16, &[3, 512])),
    }
}

#[test]
fn wrong_arguments_are_named() {
    let device = &device::chosen();
    let stream = device.new_stream().unwrap();
    let product = || product(device);
    let refuses = |args: MatmulFp8<'_>, text: &str| {
        refused(ops::matmul_fp8(&stream, &args), &format!("matmul_fp8: {text}"));
    };
    let native = |dtype, shape: &[usize]| Fp8Out::Native(packed_mut(device, OUT, dtype, shape));

    // Codes.
    refuses(
        MatmulFp8 { x: x(device, BF16, &[3, 256], &[3, 1]), ..product() },
        "x.codes: expected f8_e4m3, got bf16",
    );
    refuses(
        MatmulFp8 { x: x(device, E4M3, &[768], &[3, 1]), ..product() },
        "x.codes: expected shape [num_tokens, width], got [768]",
    );
    refuses(
        MatmulFp8 { weight: weight(device, &[512, 128], &[512, 1]), ..product() },
        "weight.codes: expected shape [n, 256], got [512, 128]",
    );
    let codes = strided(device, X, E4M3, &[3, 256], &[264, 1]);
    refuses(
        MatmulFp8 { x: Fp8Ref { codes, ..product().x }, ..product() },
        "x.codes: expected a row stride that is a multiple of 16 elements, got 264",
    );
    let codes = packed(device, WEIGHT + 8, E4M3, &[512, 256]);
    refuses(
        MatmulFp8 { weight: Fp8Ref { codes, ..product().weight }, ..product() },
        "weight.codes: expected an address that is a multiple of 16 bytes, got 0x30008",
    );
    refuses(
        MatmulFp8 {
            x: Fp8Ref { codes: strided(device, X, E4M3, &[3, 24], &[32, 1]), ..product().x },
            weight: Fp8Ref { codes: strided(device, WEIGHT, E4M3, &[512, 24], &[32, 1]), ..product().weight },
            ..product()
        },
        "k: expected a multiple of 16, got 24",
    );
    refuses(
        MatmulFp8 {
            weight: weight(device, &[12, 256], &[12, 1]),
            bias: None,
            out: Fp8Out::Native(strided_mut(device, OUT, BF16, &[3, 12], &[16, 1])),
            ..product()
        },
        "n: expected a multiple of 8, got 12",
    );

    // Scales.
    let scale = packed(device, X_SCALE, BF16, &[3, 1]);
    refuses(MatmulFp8 { x: Fp8Ref { scale, ..product().x }, ..product() }, "x.scale: expected f32, got bf16");
    refuses(
        MatmulFp8 { x: x(device, E4M3, &[3, 256], &[3, 2]), ..product() },
        "x.scale: expected shape [1, 1] or [3, 1], got [3, 2]",
    );
    refuses(
        MatmulFp8 { weight: weight(device, &[512, 256], &[4, 1]), ..product() },
        "weight.scale: expected shape [1, 1] or [512, 1] or [4, 2], got [4, 1]",
    );
    refuses(
        MatmulFp8 { weight: weight(device, &[512, 256], &[4, 2]), ..product() },
        "x.scale: expected shape [3, 2], got [3, 1]",
    );

    // Results.
    refuses(
        MatmulFp8 { out: native(BF16, &[3, 256]), ..product() },
        "out: expected shape [3, 512], got [3, 256]",
    );
    refuses(
        MatmulFp8 { out: native(DType::I32, &[3, 512]), ..product() },
        "out: expected bf16, f16 or f32, got i32",
    );
    refuses(MatmulFp8 { out: native(DType::F16, &[3, 512]), ..product() }, "bias: expected f16, got bf16");
    refuses(
        MatmulFp8 { out: Fp8Out::Native(packed_mut(device, X, BF16, &[3, 512])), ..product() },
        "out: expected memory apart from x.codes, got 0x10000 and 0x10000",
    );
    let quantized = |scale: &[usize], rounded_to| Fp8Out::Quantized {
        out: Fp8Mut {
            codes: packed_mut(device, OUT, E4M3, &[3, 256]),
            scale: packed_mut(device, OUT_SCALE, F32, scale),
        },
        rounded_to,
    };
    let swiglu = || MatmulFp8 { epilogue: Epilogue::SwiGlu, ..product() };
    refuses(
        MatmulFp8 { out: quantized(&[3, 1], BF16), ..swiglu() },
        "scale: expected one for each 128 columns, got [3, 1]",
    );
    refuses(
        MatmulFp8 { out: quantized(&[3, 2], F32), bias: None, ..swiglu() },
        "rounded_to: expected bf16 or f16, got f32",
    );
    refuses(
        MatmulFp8 {
            out: Fp8Out::Quantized {
                out: Fp8Mut {
                    codes: packed_mut(device, OUT, E4M3, &[3, 512]),
                    scale: packed_mut(device, OUT_SCALE, F32, &[3, 4]),
                },
                rounded_to: BF16,
            },
            ..product()
        },
        "out: expected floats, but for SwiGLU of e4m3, got e4m3",
    );
    // Blocks of gate and of up are counted apart.
    refuses(
        MatmulFp8 { weight: weight(device, &[512, 256], &[3, 2]), out: native(BF16, &[3, 256]), ..swiglu() },
        "weight.scale: expected shape [1, 1] or [512, 1] or [4, 2], got [3, 2]",
    );
}

/// Where accumulators keep 13 bits behind the point, sums that are all of one sign lose what is small beside them. Moved into
/// f32 every 128 columns they do not: the error stays within what bf16 allows.
#[test]
#[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
fn short_accumulators_are_emptied_in_time() {
    let [m, n, k] = [5, 16, 8192];
    let ptx = ptx("cuda", "matmul_fp8", 89);
    assert!(ptx.contains("mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e4m3.f32"));
    let device = Device::open("sim:8.9".parse::<DeviceChoice>().unwrap()).unwrap();
    let stream = device.new_stream().unwrap();
    let module = device.load_ptx(&ptx).unwrap();
    let codes = |seed: u64, count: usize| -> Vec<u8> {
        let number = |i: usize| {
            let mixed = (seed + i as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            0.25 + ((mixed ^ mixed >> 29) >> 40) as f32 / (1 << 22) as f32
        };
        (0..count).map(|i| fp8::encode(number(i))).collect()
    };
    let (x, weight) = (codes(1, m * k), codes(2, n * k));
    let [x_gpu, weight_gpu] = [&x, &weight].map(|codes| buffer(&device, codes));
    let scale = buffer(&device, &1f32.to_le_bytes());

    let dots = |add: fn(f64, f64) -> f64| -> Vec<f64> {
        let dot = |x: &[u8], row: &[u8]| {
            let products = x.iter().zip(row).map(|(&x, &w)| f64::from(fp8::decode(x) * fp8::decode(w)));
            products.fold(0.0, add)
        };
        x.chunks(k).flat_map(|x| weight.chunks(k).map(move |row| dot(x, row))).collect()
    };
    let reference = dots(|sum, product| sum + product);
    let naive = dots(|sum, product| f64::from((sum + product) as f32));
    let naive: Vec<f64> = naive.into_iter().map(|sum| bf16::from_f64(sum).to_f64()).collect();

    let judge = |fast: bool| {
        let out = device.allocate(m * n * 2).unwrap();
        let scales = Fp8Scales::Tensor;
        let operands = Operands::Fp8 { x: scales, weight: scales, fast_accumulation: fast };
        let shape = MatmulShape { m, n, k, operands, ..MatmulShape::default() };
        let limits = device.properties().limits();
        let launch = plan::matmul(BF16, &shape, true, 0, &limits).unwrap().unwrap().launch;
        let mut params = MatmulFp8Params { fast_accumulation: u32::from(fast), ..MatmulFp8Params::zeroed() };
        params.matmul.x = x_gpu.address();
        params.matmul.weight = weight_gpu.address();
        params.matmul.out = out.address();
        (params.matmul.x_stride_row, params.matmul.weight_stride_row) = (k as i64, k as i64);
        params.matmul.out_stride_row = n as i64;
        (params.matmul.m, params.matmul.n, params.matmul.k) = (m as i32, n as i32, k as i32);
        (params.x_scale, params.weight_scale) = (scale.address(), scale.address());
        let dynamic_shared_bytes = launch.dynamic_shared_bytes;
        let grid = Grid { blocks: launch.grid, threads: launch.block, dynamic_shared_bytes };
        let function = module.function(launch.kernel.name()).unwrap();
        // SAFETY: the buffers have the sizes that the parameters say.
        unsafe { stream.launch_function(&function, &grid, &[bytemuck::bytes_of(&params)]) }.unwrap();
        stream.synchronize().unwrap();
        let out: Vec<f64> =
            bytes(&out).chunks(2).map(|bytes| bf16::from_le_bytes([bytes[0], bytes[1]]).to_f64()).collect();
        let errors = out.iter().zip(&reference).map(|(out, sum)| ((out - sum) / sum).abs());
        let worst = errors.fold(0.0, f64::max);
        let matrix = |values| Matrix::new(values, n);
        (compare::elementwise(matrix(&out), matrix(&reference), matrix(&naive), BF16).is_ok(), worst)
    };
    let (accurate, accurate_error) = judge(false);
    let (fast, fast_error) = judge(true);
    assert!(accurate, "off by {accurate_error}");
    assert!(!fast && fast_error > 10.0 * accurate_error, "{fast_error} beside {accurate_error}");
    assert!(accurate_error < 0.005 && fast_error > 0.02, "{fast_error} beside {accurate_error}");
}

/// The plan of what quantises its results is the tile that makes whole groups of columns, for any number of tokens.
#[test]
fn one_tile_quantises() {
    let limits = plan::Limits { num_sms: 132, shared_memory_per_block: 99 << 10 };
    let scales = Fp8Scales::Block;
    let operands = Operands::Fp8 { x: scales, weight: scales, fast_accumulation: false };
    for m in [1, 16, 17, 64, 4096] {
        let (n, epilogue) = (28672, Epilogue::SwiGlu);
        let shape =
            MatmulShape { m, n, k: 4096, epilogue, operands, quantized: true, ..MatmulShape::default() };
        for invariant in [false, true] {
            let plan = plan::matmul(DType::F16, &shape, invariant, 0, &limits).unwrap().unwrap();
            assert_eq!(plan.launch.kernel.name(), "matmul_fp8_f16_64x256x64");
        }
        let odd = MatmulShape { n: 384, ..shape };
        let text = "matmul_fp8: n: expected a multiple of 256 where the output is e4m3, got 384";
        refused(plan::matmul(DType::F16, &odd, false, 0, &limits).map(drop), text);
    }
}
