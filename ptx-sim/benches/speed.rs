//! Warp instructions a second, and tensor-core operations a second, with all checks on, on one core.
//!
//! The figure that matters for a kernel is its own mix: `mixed` is a softmax, with loads, stores, shared memory,
//! shuffles and barriers in the proportions of real kernels.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ptx_sim::{
    Checks, ComputeCapability, Device, DeviceProperties, LaunchConfig, Report, RunOptions, TensorMode,
};

struct Case {
    name: &'static str,
    kernel: &'static str,
    ptx: &'static str,
    config: LaunchConfig,
    /// An input buffer of so many floats comes before the output.
    input: usize,
    output: usize,
    /// The last argument.
    number: i32,
}

fn cases() -> Vec<Case> {
    let case = |name, kernel, ptx, grid, block, input, output, number| Case {
        name,
        kernel,
        ptx,
        config: LaunchConfig::new([grid, 1, 1], [block, 1, 1]),
        input,
        output,
        number,
    };
    let mut mixed =
        case("mixed", "mixed", include_str!("kernels/mixed.ptx"), 16, 256, 16 * 4096, 16 * 4096, 4096);
    mixed.config = mixed.config.dynamic_shared_bytes(4 * 4096);
    vec![
        mixed,
        case("arithmetic", "arithmetic", include_str!("kernels/arithmetic.ptx"), 4, 256, 0, 1024, 1000),
        case("shared", "shared_memory", include_str!("kernels/shared.ptx"), 4, 256, 0, 1024, 500),
        case("many_blocks", "shared_memory", include_str!("kernels/shared.ptx"), 4096, 64, 0, 4096 * 64, 1),
        case("mma", "mma", include_str!("kernels/mma.ptx"), 2, 128, 0, 256, 100),
    ]
}

struct Prepared {
    device: Device,
    kernel: ptx_sim::Kernel,
    config: LaunchConfig,
    parameters: Vec<u8>,
}

fn prepare(case: &Case, capability: ComputeCapability, options: RunOptions) -> Prepared {
    let device = Device::new(DeviceProperties::of(capability));
    device.set_options(options);
    let module = device.load_module(case.ptx).expect("the kernels of this bench are supported");
    let kernel = module.kernel(case.kernel).expect("the kernel is there");
    let mut parameters = Vec::new();
    if case.input != 0 {
        let input = device.allocate(4 * case.input as u64).expect("memory");
        let values: Vec<u8> =
            (0..case.input).flat_map(|i| ((i * 7 % 1001) as f32 * 0.01).to_le_bytes()).collect();
        device.write(input, &values).expect("the buffer is there");
        parameters.extend(input.to_le_bytes());
    }
    let output = device.allocate(4 * case.output as u64).expect("memory");
    parameters.extend(output.to_le_bytes());
    parameters.extend(case.number.to_le_bytes());
    Prepared { device, kernel, config: case.config, parameters }
}

fn launch(prepared: &Prepared) -> Report {
    let stream = prepared.device.create_stream();
    stream.launch(&prepared.kernel, &prepared.config, &prepared.parameters).expect("a valid launch");
    stream.synchronize().expect("the kernels of this bench break no rule").remove(0)
}

fn speed(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("warp instructions");
    for case in cases() {
        let prepared = prepare(&case, ComputeCapability::Sm80, RunOptions::default());
        group.throughput(Throughput::Elements(launch(&prepared).counters.instructions));
        group.bench_function(BenchmarkId::from_parameter(case.name), |b| {
            b.iter(|| black_box(launch(&prepared)));
        });
    }
    for case in cases().into_iter().filter(|case| ["mixed", "arithmetic"].contains(&case.name)) {
        let mut options = RunOptions::default();
        options.host_threads = 2;
        let prepared = prepare(&case, ComputeCapability::Sm80, options);
        group.throughput(Throughput::Elements(launch(&prepared).counters.instructions));
        let id = BenchmarkId::new("two host threads", case.name);
        group.bench_function(id, |b| b.iter(|| black_box(launch(&prepared))));
    }
    for case in cases() {
        let mut options = RunOptions::default();
        let mut checks = Checks::default();
        (checks.races, checks.initialization) = (false, false);
        options.checks = checks;
        let prepared = prepare(&case, ComputeCapability::Sm80, options);
        group.throughput(Throughput::Elements(launch(&prepared).counters.instructions));
        let id = BenchmarkId::new("unchecked", case.name);
        group.bench_function(id, |b| b.iter(|| black_box(launch(&prepared))));
    }
    group.finish();

    let mut group = criterion.benchmark_group("tensor FLOP");
    let case = cases().pop().expect("the last case is mma");
    for capability in [ComputeCapability::Sm80, ComputeCapability::Sm90] {
        for mode in [TensorMode::BitAccurate, TensorMode::Fast] {
            let mut options = RunOptions::default();
            options.tensor_mode = mode;
            let prepared = prepare(&case, capability, options);
            group.throughput(Throughput::Elements(launch(&prepared).counters.tensor_flops["f16"]));
            let id = BenchmarkId::new(format!("{mode:?}"), capability);
            group.bench_function(id, |b| b.iter(|| black_box(launch(&prepared))));
        }
    }
    let mut wgmma = Case { name: "wgmma", kernel: "wgmma", ptx: include_str!("kernels/wgmma.ptx"), ..case };
    wgmma.config.grid = [1, 1, 1];
    for mode in [TensorMode::BitAccurate, TensorMode::Fast] {
        let mut options = RunOptions::default();
        options.tensor_mode = mode;
        let prepared = prepare(&wgmma, ComputeCapability::Sm90, options);
        group.throughput(Throughput::Elements(launch(&prepared).counters.tensor_flops["bf16"]));
        let id = BenchmarkId::new(format!("{mode:?}"), "wgmma");
        group.bench_function(id, |b| b.iter(|| black_box(launch(&prepared))));
    }
    group.finish();
}

fn short() -> Criterion {
    Criterion::default().sample_size(10).measurement_time(std::time::Duration::from_secs(2))
}

criterion_group! { name = benches; config = short(); targets = speed }
criterion_main!(benches);
