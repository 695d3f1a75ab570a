//! The instructions that encode and decode e4m3 from compute capability 8.9 on, against the arithmetic that does it before: the
//! simulated GPU runs the code for 8.0 of every kernel, and a card of 8.9 does not.

use std::path::Path;
use std::process::Command;

use bytemuck::Zeroable;
use half::f16;
use llama_kernels::device::DeviceChoice;
use llama_kernels::gpu::{Buffer, Device, Grid, TensorMut, TensorRef};
use llama_kernels::ops::{self, Fp8Mut, QuantizeFp8};
use llama_kernels::params::QuantizeFp8Params;
use llama_kernels::plan;
use llama_kernels::quant::fp8;
use llama_kernels::tensor::{DType, Tensor};

use super::operands::buffer;

/// The PTX that nvcc makes of `{name}.cu` in this folder of the repository for this compute capability.
pub(super) fn ptx(folder: &str, name: &str, arch: u32) -> String {
    let Some(nvcc) = option_env!("LLAMA_KERNELS_NVCC") else { unreachable!("called without kernels") };
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("{folder}/{name}.cu"));
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{arch}.ptx"));
    let mut command = Command::new(nvcc);
    command.args(["-O3", "-std=c++17", "-ptx"]).arg(format!("-arch=compute_{arch}"));
    command.arg("-o").arg(&file).arg(source);
    let output = command.output().unwrap_or_else(|error| panic!("{nvcc}: {error}"));
    assert!(output.status.success(), "{nvcc}: {}", String::from_utf8_lossy(&output.stderr));
    std::fs::read_to_string(&file).unwrap()
}

/// All numbers of 16 bits, 256 neighbours a row; then every 256th, those above 448 as 448, so that the scale is 1.
fn every_number(dtype: DType) -> Vec<u8> {
    let (largest, infinity) = if dtype == DType::BF16 { (0x43E0, 0x7F80) } else { (0x5F00, 0x7C00) };
    let beside = |bits: u16| {
        if (largest..=infinity).contains(&(bits & 0x7FFF)) { bits & 0x8000 | largest } else { bits }
    };
    let apart = (0..=u16::MAX).map(|i| beside(i.rotate_left(8)));
    (0..=u16::MAX).chain(apart).flat_map(u16::to_le_bytes).collect()
}

pub(super) fn bytes(buffer: &Buffer) -> Vec<u8> {
    let mut bytes = vec![0; buffer.len()];
    buffer.read(0, &mut bytes).unwrap();
    bytes
}

#[test]
#[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
fn the_instruction_and_the_arithmetic_give_the_same_codes_of_every_number() {
    let [tokens, width] = [512, 256];
    let ptx = ptx("cuda", "quantize_fp8", 89);
    assert!(ptx.contains("cvt.rn.satfinite.e4m3x2.f32"));
    let device = Device::open("sim:8.9".parse::<DeviceChoice>().unwrap()).unwrap();
    let stream = device.new_stream().unwrap();
    let module = device.load_ptx(&ptx).unwrap();
    for (dtype, groups) in [(DType::BF16, 1), (DType::BF16, 2), (DType::F16, 1), (DType::F16, 2)] {
        let content = every_number(dtype);
        let mut x = device.allocate(content.len()).unwrap();
        x.write(0, &content).unwrap();
        let x = Tensor::new(x, dtype, &[tokens, width]).unwrap();
        let outputs = || {
            let tensor = |dtype: DType, shape: &[usize]| {
                let mut buffer = device.allocate(shape.iter().product::<usize>() * dtype.size()).unwrap();
                let len = buffer.len();
                buffer.fill(0..len, 0xFF).unwrap();
                Tensor::new(buffer, dtype, shape).unwrap()
            };
            (tensor(DType::F8E4M3, &[tokens, width]), tensor(DType::F32, &[tokens, groups]))
        };

        let (mut codes, mut scale) = outputs();
        let args = QuantizeFp8 {
            x: TensorRef::new(x.view()).unwrap(),
            out: Fp8Mut {
                codes: TensorMut::new(codes.view_mut()).unwrap(),
                scale: TensorMut::new(scale.view_mut()).unwrap(),
            },
        };
        ops::quantize_fp8(&stream, &args).unwrap();

        let (by_instruction, scale_of_it) = outputs();
        let params = QuantizeFp8Params {
            x: x.view().buffer.address(),
            codes: by_instruction.view().buffer.address(),
            scale: scale_of_it.view().buffer.address(),
            x_stride_token: width as i64,
            codes_stride_token: width as i64,
            scale_stride_token: groups as i64,
            num_tokens: tokens as i32,
            width: width as i32,
            groups: groups as i32,
            ..QuantizeFp8Params::zeroed()
        };
        let launch = plan::quantize_fp8(dtype, tokens, width, groups).unwrap().unwrap().launch;
        let grid = Grid { blocks: launch.grid, threads: launch.block, dynamic_shared_bytes: 0 };
        let function = module.function(launch.kernel.name()).unwrap();
        // SAFETY: the tensors have the sizes that the parameters say.
        unsafe { stream.launch_function(&function, &grid, &[bytemuck::bytes_of(&params)]) }.unwrap();
        stream.synchronize().unwrap();

        let of = |tensor: &Tensor<Buffer>| bytes(tensor.view().buffer);
        let (expected, given) = (of(&codes), of(&by_instruction));
        let wrong = expected.iter().zip(&given).position(|(expected, given)| expected != given);
        assert_eq!(wrong, None, "{dtype} {groups}");
        assert_eq!(of(&scale), of(&scale_of_it), "{dtype} {groups}");
        // The first row that is not all subnormal numbers has its largest number at 448, and one row is all NaN.
        assert!(given.contains(&0x7E) && given.contains(&0x7F) && given.contains(&0x01), "{dtype} {groups}");
    }
}

#[test]
#[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
fn every_code_is_decoded_to_its_value_by_the_instruction_and_by_the_arithmetic() {
    let device = Device::open("sim:8.9".parse::<DeviceChoice>().unwrap()).unwrap();
    let stream = device.new_stream().unwrap();
    // Each code in each place of a word, beside others.
    let codes: Vec<u8> = (0..4).flat_map(|shift| (0..=u8::MAX).map(move |i| i.wrapping_add(shift))).collect();
    for arch in [80, 89] {
        let ptx = ptx("tests/kernels", "decode_e4m3", arch);
        assert_eq!(ptx.contains("cvt.rn.f16x2.e4m3x2"), arch == 89);
        let module = device.load_ptx(&ptx).unwrap();
        let function = module.function("decode_e4m3").unwrap();
        let input = buffer(&device, &codes);
        let output = device.allocate(codes.len() * 8).unwrap();
        let (input, out) = (input.address().to_le_bytes(), output.address().to_le_bytes());
        let grid =
            Grid { blocks: [1, 1, 1], threads: [codes.len() as u32 / 4, 1, 1], dynamic_shared_bytes: 0 };
        // SAFETY: a thread reads four codes and writes two vectors, which the buffers have.
        unsafe { stream.launch_function(&function, &grid, &[&input, &out]) }.unwrap();
        stream.synchronize().unwrap();

        for (codes, out) in codes.chunks(4).zip(bytes(&output).chunks(32)) {
            let unit = f32::from_le_bytes(out[16..20].try_into().unwrap());
            let half = |i: usize| f16::from_le_bytes([out[2 * i], out[2 * i + 1]]).to_f32() * unit;
            for (i, &code) in codes.iter().enumerate() {
                let value = fp8::decode(code);
                let (any, finite) = (half(i), half(4 + i));
                if value.is_nan() {
                    assert!(any.is_nan(), "{code:#04x} on {arch}: {any}");
                } else {
                    assert_eq!(any.to_bits(), value.to_bits(), "{code:#04x} on {arch}: {any}");
                    assert_eq!(finite.to_bits(), value.to_bits(), "{code:#04x} on {arch}: {finite}");
                }
            }
        }
    }
}
