//! What `cuda/common/int4.cuh` makes of 4-bit codes, against `quant::int4`, bit by bit: every scale, every code and every
//! integer zero, and zeros that are no integers.

use std::path::Path;
use std::process::Command;

use half::{bf16, f16};
use llama_kernels::device::DeviceChoice;
use llama_kernels::gpu::{Device, Grid, Module};
use llama_kernels::quant::int4::{GroupSize, Int4, Int4Parts};
use llama_kernels::tensor::DType;

const CODES: usize = 16;
/// Words of a thread, pairs of a word.
const WORDS: usize = 16;
const PAIRS: usize = 4;
const THREADS: usize = 256;

/// `int4.cu` beside this file, compiled for a compute capability, on a simulated GPU of it.
fn module(capability: &str) -> (Device, Module) {
    let Some(nvcc) = option_env!("LLAMA_KERNELS_NVCC") else { unreachable!("called without kernels") };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let arch = capability.replace('.', "");
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("int4-{arch}.ptx"));
    let mut command = Command::new(nvcc);
    command
        .args(["-O3", "-std=c++17", "-ptx", &format!("-arch=compute_{arch}"), "-I"])
        .arg(root.join("cuda"));
    command.arg("-o").arg(&file).arg(root.join("tests/kernels/int4.cu"));
    let output = command.output().unwrap_or_else(|error| panic!("{nvcc}: {error}"));
    assert!(output.status.success(), "{nvcc}: {}", String::from_utf8_lossy(&output.stderr));
    let device = Device::open(format!("sim:{capability}").parse::<DeviceChoice>().unwrap()).unwrap();
    let module = device.load_ptx(&std::fs::read_to_string(&file).unwrap()).unwrap();
    (device, module)
}

fn value(dtype: DType, bits: u16) -> f32 {
    if dtype == DType::BF16 { bf16::from_bits(bits).to_f32() } else { f16::from_bits(bits).to_f32() }
}

fn bits(dtype: DType, x: f32) -> u16 {
    if dtype == DType::BF16 { bf16::from_f32(x).to_bits() } else { f16::from_f32(x).to_bits() }
}

/// Scales and zeros: each finite scale with these zeros; and each of 17 integers, or of as many others, with some scales.
fn groups(dtype: DType, integers: bool) -> Vec<(u16, u16)> {
    let ends = if integers { [0.0, 16.0] } else { [7.3, -1.0e-3] };
    let every = (0..=u16::MAX).filter(|&scale| value(dtype, scale).is_finite());
    let mut groups: Vec<_> = every.flat_map(|scale| ends.map(|zero| (scale, bits(dtype, zero)))).collect();
    for i in 0_u16..17 {
        let zero = if integers { f32::from(i) } else { f32::from(i) * 0.9371 - 2.0 };
        for scale in [0.0, -0.5, 0.001, 1.0, 3.1, -97.0] {
            groups.push((bits(dtype, scale), bits(dtype, zero)));
        }
    }
    groups
}

/// What `quant::int4` says of the 16 codes of each group.
fn defined(scales: DType, groups: &[(u16, u16)], x: DType) -> Vec<u16> {
    let codes: Vec<u8> = (0..CODES as u8).step_by(2).map(|code| code | (code + 1) << 4).collect();
    let parts = Int4Parts {
        n: groups.len(),
        k: CODES,
        group_size: GroupSize::Row,
        dtype: scales,
        codes: codes.repeat(groups.len()),
        scales: groups.iter().map(|group| group.0).collect(),
        zeros: Some(groups.iter().map(|group| group.1).collect()),
    };
    let weight = Int4::new(parts).unwrap().dequantize("w", x).unwrap();
    weight.data.chunks(2).map(|bytes| u16::from_le_bytes([bytes[0], bytes[1]])).collect()
}

/// The kernel's answer as the weights of each group and code, in the order of `defined`.
fn computed(
    device: &Device,
    module: &Module,
    kernel: &str,
    scales: DType,
    groups: &[(u16, u16)],
) -> Vec<u16> {
    let threads = groups.len() / 2;
    let upload = |numbers: Vec<u16>| {
        let bytes: Vec<u8> = numbers.into_iter().flat_map(u16::to_le_bytes).collect();
        let mut buffer = device.allocate(bytes.len()).unwrap();
        buffer.write(0, &bytes).unwrap();
        buffer
    };
    let scale_words = upload(groups.iter().map(|group| group.0).collect());
    let zero_words = upload(groups.iter().map(|group| group.1).collect());
    let out = device.allocate(threads * WORDS * PAIRS * 4).unwrap();
    let stream = device.new_stream().unwrap();
    let function = module.function(kernel).unwrap();
    let grid = Grid {
        blocks: [(threads / THREADS) as u32, 1, 1],
        threads: [THREADS as u32, 1, 1],
        dynamic_shared_bytes: 0,
    };
    let addresses = [&scale_words, &zero_words, &out].map(|buffer| buffer.address().to_le_bytes());
    let scales_bf16 = u32::from(scales == DType::BF16).to_le_bytes();
    let arguments = [&addresses[0][..], &addresses[1], &addresses[2], &scales_bf16];
    // SAFETY: a thread reads a word of each input and writes 64 of the output, which has as many for each thread.
    unsafe { stream.launch_function(&function, &grid, &arguments) }.unwrap();
    stream.synchronize().unwrap();
    let mut bytes = vec![0; out.len()];
    out.read(0, &mut bytes).unwrap();

    let mut weights = vec![0; groups.len() * CODES];
    let mut written = vec![0; weights.len()];
    for (i, number) in bytes.chunks(2).enumerate() {
        let (column, pair, word, thread) =
            (i % 2, i / 2 % PAIRS, i / 2 / PAIRS % WORDS, i / 2 / PAIRS / WORDS);
        let code = (word + pair + column * 4) % CODES;
        // Neighbouring pairs are the rows g and g + 8, which have a group each.
        let place = (thread * 2 + pair % 2) * CODES + code;
        let number = u16::from_le_bytes([number[0], number[1]]);
        assert!(written[place] == 0 || weights[place] == number, "{kernel}: two weights of one code");
        weights[place] = number;
        written[place] += 1;
    }
    assert!(written.iter().all(|&count| count == PAIRS), "{kernel}");
    weights
}

#[test]
#[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
fn every_code_has_the_bits_of_its_definition() {
    const BF16: DType = DType::BF16;
    const F16: DType = DType::F16;
    // bf16 of 16 bits has instructions of its own from 9.0 on.
    for capability in ["8.0", "9.0"] {
        let (device, module) = module(capability);
        for (kernel, x, scales, integers) in [
            ("f16_exact_16", F16, F16, true),
            ("bf16_exact_16", BF16, BF16, true),
            ("bf16_exact_32", BF16, F16, true),
            ("f16_rounded", F16, F16, false),
            ("f16_rounded", F16, BF16, true),
            ("bf16_rounded", BF16, F16, false),
        ] {
            let mut groups = groups(scales, integers);
            // Whole blocks.
            groups.resize(groups.len().next_multiple_of(2 * THREADS), groups[0]);
            let expected = defined(scales, &groups, x);
            let given = computed(&device, &module, kernel, scales, &groups);
            // The way with one fma makes +0 of -0.
            let same = |a: u16, b: u16| a == b || kernel == "bf16_exact_32" && (a | b) << 1 == 0;
            let wrong = expected.iter().zip(&given).position(|(&a, &b)| !same(a, b));
            let described = wrong.map(|i| {
                let (scale, zero) = groups[i / CODES];
                let [scale, zero] = [scale, zero].map(|bits| value(scales, bits));
                let [expected, given] = [expected[i], given[i]].map(|bits| value(x, bits));
                format!("code {} - {zero} times {scale}: {expected}, not {given}", i % CODES)
            });
            assert_eq!(described, None, "{kernel} with scales in {scales} on {capability}");
        }
    }
}
