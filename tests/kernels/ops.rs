//! Every operation against the CPU reference, on the device that LLAMA_KERNELS_DEVICE names: a GPU if there is one, else
//! the simulated one.

use std::collections::BTreeSet;

use llama_kernels::check::{self, Options, Outcome};
use llama_kernels::device::DeviceChoice;
use llama_kernels::gpu::{Device, Stream, TensorMut, TensorRef};
use llama_kernels::ops::{
    self, AddRmsNorm, AddRmsNormFp8, Embed, Fp8Mut, PermuteColumns, QuantizeFp8, RmsNorm, SiluAndMul,
};
use llama_kernels::plan::Kernel;
use llama_kernels::tensor::{DType, Layout, Tensor, View};

use super::device;
use super::tensors::{refused, strided as read, strided_mut as write};

fn passes(op: &str) {
    let device = device::chosen();
    check::load_kernels(&device).unwrap();
    let cases: Vec<_> = check::cases().into_iter().filter(|case| case.op() == op).collect();
    assert!(cases.len() > 30, "{op} has {} cases", cases.len());
    // They have a test of their own below.
    let elsewhere = |kernel: Kernel| !device.supports(kernel);
    let mut failures = Vec::new();
    for case in cases {
        match case.run(&device, &Options::default()) {
            Outcome::Passed { .. } => {}
            // A small card has no room for offsets beyond 2^31 elements; the simulated one has.
            Outcome::Skipped { reason } if !device.is_simulated() => println!("{case:?}: {reason}"),
            Outcome::Skipped { .. } if case.kernel().is_some_and(elsewhere) => {}
            other => failures.push(format!("{case:?}: {other:?}")),
        }
    }
    assert!(failures.is_empty(), "{} cases failed on {device:?}:\n{}", failures.len(), failures.join("\n"));
    // No instantiation without a case: a kernel's name begins with its operation's.
    let launched = device.launched();
    let of_op = |kernel: &&Kernel| op_of(**kernel) == Some(op);
    let kernels = Kernel::ALL.iter().filter(of_op).filter(|kernel| !elsewhere(**kernel));
    let missing: Vec<_> = kernels.filter(|kernel| !launched.contains(kernel)).collect();
    assert!(missing.is_empty(), "no case of {op} launches {missing:?}");
}

/// Kernels that are made of one architecture's own instructions run on the simulated GPU of that architecture, whichever
/// device the other tests run on.
#[test]
#[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
fn kernels_of_one_architecture_are_the_reference_on_its_simulated_gpu() {
    let mut tested = 0;
    for &kernel in Kernel::ALL {
        let Some(capability) = kernel.needs() else { continue };
        let device = Device::open(DeviceChoice::Sim { compute_capability: capability }).unwrap();
        assert!(device.supports(kernel), "{}", kernel.name());
        let cases = check::cases().into_iter().filter(|case| case.kernel() == Some(kernel));
        let outcomes: Vec<_> = cases.map(|case| (case.run(&device, &Options::default()), case)).collect();
        assert!(outcomes.len() > 3, "{} has {} cases", kernel.name(), outcomes.len());
        for (outcome, case) in outcomes {
            assert!(matches!(outcome, Outcome::Passed { .. }), "{case:?}: {outcome:?}");
        }
        assert!(device.launched().contains(&kernel), "{}", kernel.name());
        tested += 1;
    }
    assert!(tested >= 2, "{tested} kernels are of one architecture");
}

/// The operation that a kernel's name begins with: the longest of `add_rms_norm`, `rms_norm` and so on.
fn op_of(kernel: Kernel) -> Option<&'static str> {
    let named = |op: &&str| kernel.name().strip_prefix(op).is_some_and(|rest| rest.starts_with('_'));
    OPS.into_iter().filter(named).max_by_key(|op| op.len())
}

#[test]
fn every_kernel_and_every_case_belongs_to_a_tested_operation() {
    for &kernel in Kernel::ALL {
        assert!(op_of(kernel).is_some(), "{}", kernel.name());
    }
    let ops: BTreeSet<_> = check::cases().iter().map(check::Case::op).collect();
    assert_eq!(ops, BTreeSet::from(OPS));
}

/// One test an operation, and the list of them.
macro_rules! operations {
    ($($test:ident: $op:literal,)*) => {
        const OPS: [&str; [$($op),*].len()] = [$($op),*];

        $(#[test]
        #[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
        fn $test() {
            passes($op);
        })*
    };
}

operations! {
    embed_is_the_reference: "embed",
    rms_norm_is_the_reference: "rms_norm",
    add_rms_norm_is_the_reference: "add_rms_norm",
    quantize_fp8_is_the_reference: "quantize_fp8",
    rms_norm_fp8_is_the_norm_quantised: "rms_norm_fp8",
    add_rms_norm_fp8_is_the_norm_quantised: "add_rms_norm_fp8",
    silu_and_mul_is_the_reference: "silu_and_mul",
    rope_append_kv_is_the_reference: "rope_append_kv",
    gather_rows_is_the_reference: "gather_rows",
    permute_columns_is_the_permutation: "permute_columns",
    matmul_is_the_reference: "matmul",
    matmul_int4_is_the_reference: "matmul_int4",
    matmul_fp8_is_the_reference: "matmul_fp8",
    sample_is_the_reference: "sample",
    attention_prefill_is_the_reference: "attention_prefill",
    attention_decode_is_the_reference: "attention_decode",
    attention_combine_is_the_reference: "attention_combine",
    ceiling_does_what_its_ceilings_are_of: "ceiling",
}

const BF16: DType = DType::BF16;
/// Far enough from each other for all shapes below.
const X: u64 = 0x1_0000;
const WEIGHT: u64 = 0x2_0000;
const OUT: u64 = 0x3_0000;
const RESIDUAL: u64 = 0x4_0000;

/// `rms_norm` of `[3, 64]`, with one argument exchanged.
fn norm<'a>(device: &Device) -> RmsNorm<'a> {
    RmsNorm {
        x: read(device, X, BF16, &[3, 64], &[64, 1]),
        weight: read(device, WEIGHT, BF16, &[64], &[1]),
        eps: 1e-5,
        columns: None,
        out: write(device, OUT, BF16, &[3, 64], &[64, 1]),
        error: None,
    }
}

#[test]
fn wrong_arguments_of_a_norm_are_named() {
    let device = device::chosen();
    let stream = device.new_stream().unwrap();
    let norm = || norm(&device);
    let refuses = |args: RmsNorm<'_>, text: &str| refused(ops::rms_norm(&stream, &args), text);
    let x = |dtype, shape: &[usize], strides: &[usize]| read(&device, X, dtype, shape, strides);
    let out = |address, strides: &[usize]| write(&device, address, BF16, &[3, 64], strides);

    refuses(
        RmsNorm { x: x(DType::F32, &[3, 64], &[64, 1]), ..norm() },
        "rms_norm: x: expected bf16 or f16, got f32",
    );
    refuses(
        RmsNorm { x: x(BF16, &[192], &[1]), ..norm() },
        "rms_norm: x: expected shape [num_tokens, width], got [192]",
    );
    refuses(
        RmsNorm { x: x(BF16, &[3, 64], &[1, 3]), ..norm() },
        "rms_norm: x: expected a last stride of 1, got 3",
    );
    refuses(
        RmsNorm { x: x(BF16, &[3, 64], &[68, 1]), ..norm() },
        "rms_norm: x: expected a row stride that is a multiple of 8 elements, got 68",
    );
    refuses(
        RmsNorm { x: read(&device, X + 2, BF16, &[3, 64], &[64, 1]), ..norm() },
        "rms_norm: x: expected an address that is a multiple of 16 bytes, got 0x10002",
    );
    refuses(
        RmsNorm { weight: read(&device, WEIGHT, BF16, &[63], &[1]), ..norm() },
        "rms_norm: weight: expected shape [64], got [63]",
    );
    refuses(
        RmsNorm { weight: read(&device, WEIGHT, DType::F16, &[64], &[1]), ..norm() },
        "rms_norm: weight: expected bf16, got f16",
    );
    refuses(
        RmsNorm { out: write(&device, OUT, BF16, &[2, 64], &[64, 1]), ..norm() },
        "rms_norm: out: expected shape [3, 64], got [2, 64]",
    );
    refuses(
        RmsNorm { out: out(OUT, &[56, 1]), ..norm() },
        "rms_norm: out: expected rows that do not overlap: 64 elements, got a stride of 56 elements",
    );
    refuses(
        RmsNorm { out: out(X + 128, &[64, 1]), ..norm() },
        "rms_norm: out: expected memory apart from x, got 0x10080 and 0x10000",
    );
    refuses(
        RmsNorm { out: out(WEIGHT - 0x80, &[64, 1]), ..norm() },
        "rms_norm: out: expected memory apart from weight, got 0x1ff80 and 0x20000",
    );
    for eps in [f32::NAN, f32::INFINITY, -1.0] {
        let text = format!("rms_norm: eps: expected a finite number that is not negative, got {eps}");
        refuses(RmsNorm { eps, ..norm() }, &text);
    }
    const COLUMNS: u64 = RESIDUAL;
    let permuted = |address, dtype, width: usize| RmsNorm {
        columns: Some(read(&device, address, dtype, &[width], &[1])),
        ..norm()
    };
    for (args, text) in [
        (permuted(COLUMNS, DType::I64, 64), "columns: expected i32, got i64"),
        (permuted(COLUMNS, DType::I32, 32), "columns: expected shape [64], got [32]"),
        (
            permuted(COLUMNS + 4, DType::I32, 64),
            "columns: expected an address that is a multiple of 16 bytes, got 0x40004",
        ),
        (
            permuted(OUT + 0x100, DType::I32, 64),
            "out: expected memory apart from columns, got 0x30000 and 0x30100",
        ),
        (
            RmsNorm {
                error: Some(write(&device, COLUMNS + 252, DType::U32, &[1], &[1])),
                ..permuted(COLUMNS, DType::I32, 64)
            },
            "error: expected memory apart from columns, got 0x400fc and 0x40000",
        ),
        (
            RmsNorm { error: Some(write(&device, COLUMNS, DType::U32, &[2], &[1])), ..norm() },
            "error: expected shape [1], got [2]",
        ),
    ] {
        refuses(args, &format!("rms_norm: {text}"));
    }
    let wide = |address| read(&device, address, BF16, &[1, 12], &[12, 1]);
    refuses(
        RmsNorm {
            x: wide(X),
            weight: read(&device, WEIGHT, BF16, &[12], &[1]),
            out: write(&device, OUT, BF16, &[1, 12], &[12, 1]),
            eps: 0.0,
            ..norm()
        },
        "rms_norm: hidden: expected a multiple of 8, at most 32768, got 12",
    );
    assert_eq!(device.launches(), 0);
}

#[test]
fn a_residual_stands_apart() {
    let device = device::chosen();
    let stream = device.new_stream().unwrap();
    for (address, other) in [(X, "x"), (WEIGHT, "weight"), (OUT, "out")] {
        let RmsNorm { x, weight, eps, columns, out, error } = norm(&device);
        let residual = write(&device, address, BF16, &[3, 64], &[64, 1]);
        let text = format!(
            "add_rms_norm: residual: expected memory apart from {other}, got {address:#x} and {address:#x}"
        );
        refused(
            ops::add_rms_norm(&stream, &AddRmsNorm { x, residual, weight, eps, columns, out, error }),
            &text,
        );
    }
    for (address, other) in [(OUT, "codes"), (RESIDUAL, "scale")] {
        let RmsNorm { x, weight, eps, .. } = norm(&device);
        let residual = write(&device, address, BF16, &[3, 64], &[64, 1]);
        let codes = write(&device, OUT, DType::F8E4M3, &[3, 64], &[64, 1]);
        let out = Fp8Mut { codes, scale: write(&device, RESIDUAL, DType::F32, &[3, 1], &[1, 1]) };
        let text = format!(
            "add_rms_norm_fp8: residual: expected memory apart from {other}, got {address:#x} and {address:#x}"
        );
        refused(ops::add_rms_norm_fp8(&stream, &AddRmsNormFp8 { x, residual, weight, eps, out }), &text);
    }
    let RmsNorm { x, weight, eps, columns, out, error } = norm(&device);
    let residual = write(&device, RESIDUAL, DType::F16, &[3, 64], &[64, 1]);
    let result = ops::add_rms_norm(&stream, &AddRmsNorm { x, residual, weight, eps, columns, out, error });
    refused(result, "add_rms_norm: residual: expected bf16, got f16");
    assert_eq!(device.launches(), 0);
}

#[test]
fn wrong_arguments_of_a_quantisation_are_named() {
    let device = device::chosen();
    let stream = device.new_stream().unwrap();
    const CODES: u64 = OUT;
    const SCALE: u64 = RESIDUAL;
    let codes = |address, strides: &[usize]| write(&device, address, DType::F8E4M3, &[3, 256], strides);
    let scale = |address, shape: &[usize]| write(&device, address, DType::F32, shape, &[shape[1], 1]);
    let refuses = |codes, scale, text: &str| {
        let x = read(&device, X, BF16, &[3, 256], &[256, 1]);
        refused(ops::quantize_fp8(&stream, &QuantizeFp8 { x, out: Fp8Mut { codes, scale } }), text);
    };
    let right = || scale(SCALE, &[3, 1]);
    refuses(
        write(&device, CODES, DType::U8, &[3, 256], &[256, 1]),
        right(),
        "quantize_fp8: codes: expected f8_e4m3, got u8",
    );
    refuses(
        write(&device, CODES, DType::F8E4M3, &[3, 128], &[256, 1]),
        right(),
        "quantize_fp8: codes: expected shape [3, 256], got [3, 128] with strides [256, 1]",
    );
    refuses(
        codes(CODES, &[260, 1]),
        right(),
        "quantize_fp8: codes: expected a row stride that is a multiple of 8 elements, got 260",
    );
    refuses(
        codes(CODES, &[248, 1]),
        right(),
        "quantize_fp8: codes: expected rows that do not overlap: 256 elements, got a stride of 248 elements",
    );
    refuses(
        codes(X, &[256, 1]),
        right(),
        "quantize_fp8: codes: expected memory apart from x, got 0x10000 and 0x10000",
    );
    refuses(
        codes(CODES, &[256, 1]),
        scale(SCALE, &[3, 3]),
        "quantize_fp8: scale: expected shape [3, 1] or [3, 2], got [3, 3]",
    );
    refuses(
        codes(CODES, &[256, 1]),
        write(&device, SCALE, BF16, &[3, 1], &[1, 1]),
        "quantize_fp8: scale: expected f32, got bf16",
    );
    refuses(
        codes(CODES, &[256, 1]),
        scale(CODES + 0x100, &[3, 1]),
        "quantize_fp8: codes: expected memory apart from scale, got 0x30000 and 0x30100",
    );
    refuses(
        codes(CODES, &[256, 1]),
        scale(X + 0x100, &[3, 2]),
        "quantize_fp8: scale: expected memory apart from x, got 0x10100 and 0x10000",
    );
    let x = read(&device, X, BF16, &[3, 136], &[136, 1]);
    let codes = write(&device, CODES, DType::F8E4M3, &[3, 136], &[136, 1]);
    refused(
        ops::quantize_fp8(&stream, &QuantizeFp8 { x, out: Fp8Mut { codes, scale: scale(SCALE, &[3, 2]) } }),
        "quantize_fp8: scale: expected shape [3, 1], got [3, 2]",
    );
    assert_eq!(device.launches(), 0);
}

#[test]
fn wrong_arguments_of_the_others_are_named() {
    let device = device::chosen();
    let stream = device.new_stream().unwrap();
    let embed = || Embed {
        ids: read(&device, X, DType::I32, &[3], &[1]),
        table: read(&device, WEIGHT, BF16, &[5, 64], &[64, 1]),
        out: write(&device, OUT, BF16, &[3, 64], &[64, 1]),
        error: None,
    };
    let refuses = |args: Embed<'_>, text: &str| refused(ops::embed(&stream, &args), text);
    refuses(
        Embed { ids: read(&device, X, DType::I64, &[3], &[1]), ..embed() },
        "embed: ids: expected i32, got i64",
    );
    refuses(
        Embed { ids: read(&device, X, DType::I32, &[3], &[2]), ..embed() },
        "embed: ids: expected contiguous elements, got [3] with strides [2]",
    );
    refuses(
        Embed { out: write(&device, OUT, DType::F16, &[3, 64], &[64, 1]), ..embed() },
        "embed: out: expected bf16, got f16",
    );
    refuses(
        Embed { out: write(&device, OUT, BF16, &[3, 32], &[32, 1]), ..embed() },
        "embed: out: expected shape [3, 64], got [3, 32]",
    );
    refuses(
        Embed { error: Some(write(&device, X + 4, DType::U32, &[1], &[1])), ..embed() },
        "embed: error: expected memory apart from ids, got 0x10004 and 0x10000",
    );
    refuses(
        Embed { error: Some(write(&device, RESIDUAL, DType::U32, &[2], &[1])), ..embed() },
        "embed: error: expected shape [1], got [2]",
    );

    let permute = |out: u64, dtype| PermuteColumns {
        x: read(&device, X, BF16, &[3, 64], &[64, 1]),
        columns: read(&device, WEIGHT, DType::I32, &[64], &[1]),
        out: write(&device, out, dtype, &[3, 64], &[64, 1]),
        error: None,
    };
    let refuses = |args: PermuteColumns<'_>, text: &str| refused(ops::permute_columns(&stream, &args), text);
    refuses(permute(OUT, DType::F16), "permute_columns: out: expected bf16, got f16");
    refuses(
        permute(X + 128, BF16),
        "permute_columns: out: expected memory apart from x, got 0x10080 and 0x10000",
    );
    refuses(
        permute(WEIGHT, BF16),
        "permute_columns: out: expected memory apart from columns, got 0x20000 and 0x20000",
    );

    let silu = |width: usize, out: u64| SiluAndMul {
        gate_up: read(&device, X, BF16, &[3, width], &[128, 1]),
        out: write(&device, out, BF16, &[3, 64], &[64, 1]),
    };
    let refuses = |args: SiluAndMul<'_>, text: &str| refused(ops::silu_and_mul(&stream, &args), text);
    refuses(silu(127, OUT), "silu_and_mul: gate_up: expected an even width, got 127");
    refuses(silu(64, OUT), "silu_and_mul: out: expected shape [3, 32], got [3, 64]");
    refuses(silu(128, X), "silu_and_mul: out: expected memory apart from gate_up, got 0x10000 and 0x10000");
    assert_eq!(device.launches(), 0);
}

#[test]
fn tensors_stay_in_their_buffer() {
    let device = device::chosen();
    let buffer = device.allocate(64).unwrap();
    let view = |shape: &[usize], strides: &[usize], offset| {
        let layout = Layout::strided(shape, strides, offset).unwrap();
        TensorRef::new(View { buffer: &buffer, dtype: BF16, layout })
    };
    let tensor = view(&[2, 8], &[16, 1], 8).unwrap();
    assert_eq!((tensor.address(), tensor.shape()), (buffer.address() + 16, &[2, 8][..]));
    for outside in [view(&[2, 8], &[24, 1], 8), view(&[33], &[1], 0), view(&[1], &[1], usize::MAX - 1)] {
        let error = outside.unwrap_err().to_string();
        assert!(error.starts_with("tensor: view: expected a part of Buffer(64 bytes at 0x"), "{error}");
    }
    let tensor = Tensor::new(buffer, BF16, &[4, 8]).unwrap();
    assert_eq!(TensorRef::new(tensor.head(2).unwrap()).unwrap().shape(), [2, 8]);

    // SAFETY: what is refused is not used.
    let raw = |address, shape: &[usize]| unsafe { TensorRef::from_raw(&device, address, BF16, shape, &[1]) };
    let error = raw(0, &[1]).unwrap_err().to_string();
    assert_eq!(error, "tensor: address: expected the address of a tensor [1] in bf16, got 0x0");
    assert!(raw(0, &[0]).is_ok() && raw(u64::MAX - 1, &[2]).is_err());
}

/// One row of a batch is what it is alone, bit for bit.
#[test]
#[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
fn a_norm_does_not_depend_on_its_batch() {
    let device = device::chosen();
    let stream = device.new_stream().unwrap();
    for hidden in [64, 4096] {
        let tokens = 7;
        let bytes: Vec<u8> =
            (0..tokens * hidden * 2).map(|i| if i % 2 == 0 { (i * 37 / 2) as u8 } else { 0x3F }).collect();
        let all = normed(&stream, tokens, hidden, &bytes);
        for (row, expected) in bytes.chunks(hidden * 2).zip(all.chunks(hidden * 2)) {
            assert_eq!(normed(&stream, 1, hidden, row), expected, "{hidden}");
        }
    }
}

/// `rms_norm` of bf16 rows, with a weight of ones.
fn normed(stream: &Stream, tokens: usize, hidden: usize, rows: &[u8]) -> Vec<u8> {
    let tensor = |shape: &[usize], bytes: &[u8]| {
        let mut buffer = stream.device().allocate(bytes.len()).unwrap();
        buffer.write(0, bytes).unwrap();
        Tensor::new(buffer, BF16, shape).unwrap()
    };
    let x = tensor(&[tokens, hidden], rows);
    let weight = tensor(&[hidden], &[0x80, 0x3F].repeat(hidden));
    let mut out = tensor(&[tokens, hidden], &vec![0xFF; rows.len()]);
    let args = RmsNorm {
        x: TensorRef::new(x.view()).unwrap(),
        weight: TensorRef::new(weight.view()).unwrap(),
        eps: 1e-5,
        columns: None,
        out: TensorMut::new(out.view_mut()).unwrap(),
        error: None,
    };
    ops::rms_norm(stream, &args).unwrap();
    let mut bytes = vec![0; rows.len()];
    out.view().buffer.read(0, &mut bytes).unwrap();
    bytes
}

#[test]
fn memory_of_another_device_is_refused() {
    let sim = |name: &str| Device::open(name.parse().unwrap()).unwrap();
    let (device, other) = (sim("sim:8.0"), sim("sim:8.6"));
    let stream = device.new_stream().unwrap();
    let x = read(&other, X, BF16, &[3, 64], &[64, 1]);
    refused(
        ops::rms_norm(&stream, &RmsNorm { x, ..norm(&device) }),
        "rms_norm: x: expected memory of Device(\"simulated GPU 8.0\"), got memory of another device",
    );
}
