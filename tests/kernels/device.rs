//! The device that tests run on, and what it does beside operations.

use llama_kernels::Error;
use llama_kernels::device::DeviceChoice;
use llama_kernels::gpu::{Device, Grid};
use llama_kernels::params::{EmbedParams, RmsNormParams};
use llama_kernels::plan::{self, Kernel};
use llama_kernels::tensor::DType;

/// The device that LLAMA_KERNELS_DEVICE names. Every test opens its own, so that the number of its launches is known.
pub fn chosen() -> Device {
    let choice = DeviceChoice::from_env().unwrap();
    Device::open(choice).unwrap_or_else(|error| panic!("LLAMA_KERNELS_DEVICE={choice}: {error}"))
}

#[test]
fn the_cpu_runs_no_kernels() {
    let error = Device::open(DeviceChoice::Cpu).unwrap_err().to_string();
    assert_eq!(error, "device cpu: kernels run on a CUDA GPU or on the simulated one");
}

#[test]
fn a_card_that_is_not_there_is_named() {
    let error = Device::open(DeviceChoice::Cuda(4096)).unwrap_err().to_string();
    assert!(error.starts_with("device cuda"), "{error}");
}

#[test]
fn memory_is_written_filled_copied_and_read() {
    let device = chosen();
    let stream = device.new_stream().unwrap();
    let (mut a, mut b) = (device.allocate(1000).unwrap(), device.allocate(1000).unwrap());
    assert!(a.address().is_multiple_of(256) && a.address() != b.address() && a.len() == 1000);
    let bytes: Vec<u8> = (0..1000).map(|i| (i * 7 % 251) as u8).collect();
    a.write(0, &bytes).unwrap();
    b.fill(0..1000, 0xEE).unwrap();
    // In the stream's order: the middle of a, then a part of it again, then four bytes of the host's.
    stream.copy(&mut b, 100, &a, 200, 300).unwrap();
    stream.fill(&mut b, 110, 5, 9).unwrap();
    let host = [1, 2, 3, 4];
    // SAFETY: both live until the read below, which waits for the stream.
    unsafe { stream.write(&mut b, 112, &host).unwrap() };
    let mut read = vec![0; 1000];
    b.read(0, &mut read).unwrap();
    let mut expected = vec![0xEE; 1000];
    expected[100..400].copy_from_slice(&bytes[200..500]);
    expected[110..115].fill(9);
    expected[112..116].copy_from_slice(&host);
    assert_eq!(read, expected);

    let error = a.read(990, &mut [0; 11]).unwrap_err().to_string();
    assert_eq!(error, "read: bytes: expected a part of 1000 bytes, got 11 bytes at 990");
    assert!(a.write(usize::MAX, &[0]).is_err() && stream.copy(&mut b, 0, &a, 1, 1000).is_err());
    let empty = device.allocate(0).unwrap();
    assert!(empty.is_empty() && empty.address() == 0 && empty.read(0, &mut []).is_ok());
}

#[test]
#[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
fn a_kernel_takes_its_own_struct_alone() {
    let device = chosen();
    let stream = device.new_stream().unwrap();
    let plan = plan::rms_norm(DType::BF16, 1, 64, false).unwrap().unwrap();
    // SAFETY: the launch is refused.
    let error = unsafe { stream.launch(&plan.launch, &EmbedParams::default()) }.unwrap_err().to_string();
    assert_eq!(error, "launch: params: expected RmsNormParams for rms_norm_bf16, got EmbedParams");
    assert_eq!(device.launches(), 0);
    // Without rows a kernel touches nothing.
    // SAFETY: it has no row, so that no address is used.
    unsafe { stream.launch(&plan.launch, &RmsNormParams { hidden: 64, ..Default::default() }) }.unwrap();
    stream.synchronize().unwrap();
    assert_eq!(device.launches(), 1);
}

#[test]
#[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
fn all_kernels_load() {
    let device = chosen();
    device.load_all().unwrap();
    assert!(
        Kernel::ALL.iter().filter(|kernel| kernel.needs().is_none()).all(|kernel| device.supports(*kernel))
    );
}

#[test]
#[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
fn kernels_of_another_architecture_are_refused_by_name() {
    let hopper = Kernel::CeilingSm90WgmmaBf16;
    assert_eq!(hopper.needs(), Some((9, 0)));
    let device = Device::open(DeviceChoice::SIM).unwrap();
    assert!(!device.supports(hopper));
    let error = device.load(&[hopper]).unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }), "{error:?}");
    let expected = "kernel ceiling_sm90_wgmma_bf16 on simulated GPU 8.0 is not supported: it is made of instructions that \
                    compute capability 9.0 alone has; this is 8.0";
    assert_eq!(error.to_string(), expected);
}

/// Copies n words by way of dynamic shared memory, in reverse order within the block.
const REVERSE: &str = "
.version 7.0
.target sm_80
.address_size 64
.extern .shared .align 16 .b8 words[];
.visible .entry reverse(.param .u64 reverse_in, .param .u64 reverse_out, .param .u32 reverse_n)
{
    .reg .b32 %r<8>;
    .reg .b64 %rd<8>;
    ld.param.u64 %rd0, [reverse_in];
    ld.param.u64 %rd1, [reverse_out];
    ld.param.u32 %r0, [reverse_n];
    cvta.to.global.u64 %rd2, %rd0;
    cvta.to.global.u64 %rd3, %rd1;
    mov.u32 %r1, %tid.x;
    mul.wide.u32 %rd4, %r1, 4;
    add.s64 %rd2, %rd2, %rd4;
    ld.global.u32 %r2, [%rd2];
    mov.u32 %r3, words;
    shl.b32 %r4, %r1, 2;
    add.s32 %r3, %r3, %r4;
    st.shared.u32 [%r3], %r2;
    bar.sync 0;
    sub.s32 %r5, %r0, 1;
    sub.s32 %r5, %r5, %r1;
    mov.u32 %r6, words;
    shl.b32 %r5, %r5, 2;
    add.s32 %r6, %r6, %r5;
    ld.shared.u32 %r7, [%r6];
    add.s64 %rd3, %rd3, %rd4;
    st.global.u32 [%rd3], %r7;
    ret;
}
";

#[test]
fn a_module_from_text_runs_with_more_shared_memory_than_is_given_unasked() {
    let device = chosen();
    let stream = device.new_stream().unwrap();
    let words: Vec<u32> = (0..128).map(|i| i * i).collect();
    let mut input = device.allocate(512).unwrap();
    input.write(0, bytemuck::cast_slice(&words)).unwrap();
    let output = device.allocate(512).unwrap();
    let module = device.load_ptx(REVERSE).unwrap();
    let reverse = module.function("reverse").unwrap();
    let addresses = [input.address().to_le_bytes(), output.address().to_le_bytes()];
    let arguments: [&[u8]; 3] = [&addresses[0], &addresses[1], &128u32.to_le_bytes()];
    for dynamic_shared_bytes in [512, 64 << 10] {
        let grid = Grid { blocks: [1, 1, 1], threads: [128, 1, 1], dynamic_shared_bytes };
        // SAFETY: the buffers hold 128 words each and outlive the launch.
        unsafe { stream.launch_function(&reverse, &grid, &arguments) }.unwrap();
        let mut read = vec![0u32; 128];
        output.read(0, bytemuck::cast_slice_mut(&mut read)).unwrap();
        assert!(read.iter().eq(words.iter().rev()), "{read:?}");
    }
    let grid = Grid { blocks: [1, 1, 1], threads: [128, 1, 1], dynamic_shared_bytes: 1 << 20 };
    // SAFETY: the launch is refused.
    assert!(unsafe { stream.launch_function(&reverse, &grid, &arguments) }.is_err());
    assert!(module.function("no_such_kernel").is_err());
    assert!(device.load_ptx("this is no PTX").is_err());
    assert_eq!(device.launches(), 2);
}

mod simulated {
    use llama_kernels::Error;
    use llama_kernels::gpu::{Buffer, ptx_sim};
    use llama_kernels::params::SiluAndMulParams;
    use ptx_sim::{ComputeCapability, RunOptions, ViolationKind};

    use super::*;

    fn simulated() -> Device {
        Device::simulated(ComputeCapability::Sm80, RunOptions::default())
    }

    #[test]
    #[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
    fn launched_kernels_are_known() {
        let device = simulated();
        assert_eq!((device.launches(), device.launched()), (0, vec![]));
        let (_gate_up, _out, stream) = overrun(&device);
        assert_eq!((device.launches(), device.launched()), (1, vec![Kernel::SiluAndMulBf16]));
        assert!(stream.synchronize().is_err());
    }

    #[test]
    fn a_device_is_what_it_pretends_to_be() {
        for (name, shared_memory) in [("sim:8.0", 163), ("sim:8.6", 99), ("sim:8.9", 99), ("sim:9.0", 227)] {
            let device = Device::open(name.parse().unwrap()).unwrap();
            let properties = device.properties();
            assert_eq!(properties.shared_memory_per_block, shared_memory << 10, "{name}");
            assert!(properties.name.ends_with(&name[4..]), "{}", properties.name);
            assert!(device.is_simulated() && device.simulator().is_some() && device.cuda_context().is_none());
            assert!(matches!(device.new_event(), Err(Error::Unsupported { .. })));
        }
    }

    fn violation(error: &Error) -> ViolationKind {
        let Error::Simulated { reason, .. } = error else { panic!("{error}") };
        let ptx_sim::Error::Violation(violation) = &**reason else { panic!("{error}") };
        violation.kind
    }

    /// A silu_and_mul of a token more than there is room for.
    fn overrun(device: &Device) -> (Buffer, Buffer, llama_kernels::gpu::Stream) {
        let stream = device.new_stream().unwrap();
        let mut gate_up = device.allocate(2 * 2 * 64 * 2).unwrap();
        gate_up.fill(0..512, 0).unwrap();
        let out = device.allocate(64 * 2).unwrap();
        let plan = plan::silu_and_mul(DType::BF16, 2, 64).unwrap().unwrap();
        let params = SiluAndMulParams {
            gate_up: gate_up.address(),
            out: out.address(),
            gate_up_stride_token: 128,
            out_stride_token: 64,
            num_tokens: 2,
            intermediate: 64,
        };
        // SAFETY: a simulated GPU carries it out, which reports what is wrong and touches no other memory.
        unsafe { stream.launch(&plan.launch, &params) }.unwrap();
        (gate_up, out, stream)
    }

    #[test]
    #[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
    fn what_a_kernel_breaks_is_told_to_whoever_waits() {
        let device = simulated();
        let (_gate_up, out, stream) = overrun(&device);
        let error = stream.synchronize().unwrap_err();
        assert_eq!(violation(&error), ViolationKind::OutOfBounds);
        let text = error.to_string();
        assert!(text.starts_with("simulated GPU: synchronize: out_of_bounds"), "{text}");
        assert!(text.contains("silu_and_mul_bf16") && text.contains("cuda/"), "{text}");
        // Told once; the device works on.
        stream.synchronize().unwrap();
        out.read(0, &mut [0; 128]).unwrap();
    }

    #[test]
    #[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
    fn memory_is_freed_after_what_uses_it_and_hides_no_error() {
        let device = simulated();
        let (gate_up, out, stream) = overrun(&device);
        drop((gate_up, out));
        assert_eq!(violation(&stream.synchronize().unwrap_err()), ViolationKind::OutOfBounds);
        stream.synchronize().unwrap();
    }
}
