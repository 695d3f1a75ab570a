//! How long operations take on a GPU; without one, how long the host needs for what it does without one.
//!
//! On a GPU, of each operation the first, the middle and the last of the rows that `llama-kernels bench` times, from cold
//! memory as it times them (which lists all of them, with their share of what the device reaches). An iteration is one call
//! in a graph of calls.
//!
//! Elsewhere nothing of this says how fast a kernel is: it is the time of the planner, over all rows, and with the feature
//! `sim` that of the simulated GPU, which interprets a kernel's PTX with all its checks on; its throughput is in warp
//! instructions.
//!
//! `cargo bench --features cli,sim --bench kernels`

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use llama_kernels::bench::{self, Meter, Row};
use llama_kernels::device::DeviceChoice;
use llama_kernels::gpu::Device;
use llama_kernels::tensor::DType;
use llama_kernels::{Error, Result};

const DTYPE: DType = DType::BF16;
/// Rows of each operation.
const ROWS: usize = 3;

/// The first, the middle and the last row of each operation.
fn chosen() -> Vec<Row> {
    let mut rows = bench::rows();
    let mut chosen = Vec::new();
    while let Some(op) = rows.first().map(|row| row.work.op()) {
        let others = rows.iter().position(|row| row.work.op() != op).unwrap_or(rows.len());
        let of_op: Vec<Row> = rows.drain(..others).collect();
        let last = of_op.len() - 1;
        let places = (0..ROWS).map(|i| i * last / (ROWS - 1)).collect::<Vec<_>>();
        chosen
            .extend(of_op.into_iter().enumerate().filter(|(at, _)| places.contains(at)).map(|(_, row)| row));
    }
    chosen
}

fn on_a_gpu(criterion: &mut Criterion, device: &Device) -> Result<()> {
    let mut meter = Meter::new(device)?;
    for row in chosen() {
        let mut prepared = match meter.prepare(row.work.as_ref(), DTYPE) {
            Err(Error::OutOfMemory { bytes }) => {
                println!("{row:?}: no room for {bytes} bytes");
                continue;
            }
            prepared => prepared?,
        };
        let mut group = criterion.benchmark_group(row.work.op());
        group.warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(1));
        group.sample_size(10).throughput(Throughput::Bytes(row.work.cost().bytes));
        let id = BenchmarkId::new(&row.label, bench::sizes(row.work.as_ref()));
        let mut failure = None;
        group.bench_function(id, |bencher| {
            bencher.iter_custom(|calls| {
                let replays = calls.div_ceil(prepared.calls() as u64);
                let time = (0..replays).map(|_| meter.replay(&mut prepared)).sum::<Result<f64>>();
                match time {
                    // As long as so many calls take.
                    Ok(microseconds) => {
                        Duration::from_secs_f64(microseconds * 1e-6 * calls as f64 / replays as f64)
                    }
                    Err(error) => {
                        failure.get_or_insert(error);
                        // Criterion would go on forever with nothing.
                        Duration::from_secs(1)
                    }
                }
            });
        });
        group.finish();
        if let Some(error) = failure {
            println!("{row:?}");
            return Err(error);
        }
    }
    Ok(())
}

/// The plans of all rows, for an H200.
fn planner(criterion: &mut Criterion) {
    let rows = bench::rows();
    let mut group = criterion.benchmark_group("host");
    group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    group.throughput(Throughput::Elements(rows.len() as u64));
    group.bench_function("planner, all rows", |bencher| {
        bencher.iter(|| {
            for row in &rows {
                black_box(row.work.plans(DTYPE, &bench::H200).expect("every row has a plan"));
            }
        });
    });
    group.finish();
}

/// Small calls on the simulated GPU, by the host's clock.
#[cfg(feature = "sim")]
fn simulator(criterion: &mut Criterion) -> Result<()> {
    use llama_kernels::bench::{
        AddRmsNorm, Attention, AttentionCombine, AttentionPath, Choice, Embed, GatherRows, Matmul,
        MatmulPath, Memory, PermuteColumns, RmsNorm, RopeAppendKv, Sample, SiluAndMul, Work,
    };
    use llama_kernels::plan::{Fp8Scales, MatmulShape, Operands};

    let (tokens, hidden) = (4, 2048);
    let (num_q_heads, num_kv_heads, head_dim) = (8, 2, 128);
    let attention = |path, q_len, kv_len| Attention {
        path,
        batch: 1,
        q_len,
        kv_len,
        num_q_heads,
        num_kv_heads,
        head_dim,
        fp8_cache: false,
    };
    let product_of = |operands, m| Matmul {
        shape: MatmulShape { m, n: 256, k: 1024, operands, ..MatmulShape::default() },
        path: MatmulPath::Planned,
    };
    let product = |m| product_of(Operands::Native, m);
    let int4 = |m| product_of(Operands::Int4 { group: 128, zeros: false }, m);
    let of_rows = Fp8Scales::Row;
    let fp8 = |m| product_of(Operands::Fp8 { x: of_rows, weight: of_rows, fast_accumulation: false }, m);
    let works: [Box<dyn Work>; 18] = [
        Box::new(Embed { tokens, hidden, vocab_size: 64 }),
        Box::new(RmsNorm { tokens, hidden, permuted: false }),
        Box::new(AddRmsNorm { tokens, hidden, permuted: false }),
        Box::new(AddRmsNorm { tokens, hidden, permuted: true }),
        Box::new(PermuteColumns { tokens, width: hidden }),
        Box::new(SiluAndMul { tokens, intermediate: hidden }),
        Box::new(RopeAppendKv {
            tokens,
            num_q_heads,
            num_kv_heads,
            head_dim,
            num_positions: 64,
            fp8_cache: false,
        }),
        Box::new(GatherRows { rows: tokens, tokens: 64, hidden }),
        Box::new(product(1)),
        Box::new(product(64)),
        Box::new(int4(1)),
        Box::new(int4(64)),
        Box::new(fp8(1)),
        Box::new(fp8(64)),
        Box::new(attention(AttentionPath::Prefill, 64, 128)),
        Box::new(attention(AttentionPath::Decode, 1, 256)),
        Box::new(AttentionCombine { splits: 4, tokens, num_q_heads, head_dim }),
        Box::new(Sample { rows: 1, vocab_size: 32_000, choice: Choice::TopKTopP }),
    ];
    let device = Device::open(DeviceChoice::SIM)?;
    let stream = device.new_stream()?;
    let mut memory = Memory::new(&device)?;
    let mut group = criterion.benchmark_group("simulated GPU (time of the host, not of a GPU)");
    group.warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(1)).sample_size(10);
    for work in works {
        let mut call = work.prepare(DTYPE, &mut memory)?;
        // The first launch translates the PTX.
        call(&stream)?;
        let reports = stream.reports()?.unwrap_or_default();
        let instructions = reports.iter().map(|report| report.counters.instructions).sum();
        group.throughput(Throughput::Elements(instructions));
        group.bench_function(BenchmarkId::new(work.op(), bench::sizes(work.as_ref())), |bencher| {
            bencher.iter(|| {
                call(&stream).expect("it has been launched before");
                stream.synchronize().expect("it has been carried out before");
            });
        });
    }
    group.finish();
    Ok(())
}

fn kernels(criterion: &mut Criterion) {
    let outcome = match Device::open(DeviceChoice::Cuda(0)) {
        Ok(device) => on_a_gpu(criterion, &device),
        Err(error) => {
            println!("no kernel is timed: {error}");
            planner(criterion);
            #[cfg(feature = "sim")]
            let outcome = simulator(criterion);
            #[cfg(not(feature = "sim"))]
            let outcome = Ok(());
            outcome
        }
    };
    match outcome {
        Err(error @ Error::KernelsNotBuilt { .. }) => println!("no kernel is timed: {error}"),
        other => other.expect("the operands are right"),
    }
}

criterion_group!(benches, kernels);
criterion_main!(benches);
