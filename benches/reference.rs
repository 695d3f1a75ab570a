//! How fast the CPU reference is, next to what the machine can do.
//!
//! Decoding one token is bound by reading the weights, so a matmul with one token stands beside a plain parallel sum over
//! the same bytes; the weights are far larger than any cache. Prefill is bound by arithmetic and is given in FLOP/s.
//!
//! `cargo bench --no-default-features --features rayon --bench reference`

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use llama_kernels::backend::{
    Activation, ActivationMut, Backend, Epilogue, Matmul, RowOrder, WeightFormat, WeightSource,
};
use llama_kernels::reference::{Activations, Cpu, CpuBuffer, CpuWeight};
use llama_kernels::tensor::{Bytes, DType, HostTensor, Tensor};
use rayon::prelude::*;

/// Columns of the weight.
const K: usize = 4096;

/// Bytes of the weight.
const WEIGHT_BYTES: usize = 384 << 20;

/// Bytes that do not repeat within a page, and that are small finite numbers in every element type.
fn weight_bytes(dtype: DType) -> Bytes {
    let mut words = vec![0u32; WEIGHT_BYTES / 4];
    words.par_iter_mut().enumerate().for_each(|(i, word)| {
        let noise = (i as u32).wrapping_mul(0x9E37_79B9) >> 8;
        *word = match dtype {
            DType::F32 => 0x3C00_0000 | (noise & 0x807F_FFFF),
            DType::F16 => 0x2400_2400 | (noise & 0x83FF_83FF),
            _ => 0x3C00_3C00 | (noise & 0x807F_807F),
        };
    });
    struct Words(Vec<u32>);
    impl AsRef<[u8]> for Words {
        fn as_ref(&self) -> &[u8] {
            bytemuck::cast_slice(&self.0)
        }
    }
    Bytes::new(Words(words))
}

/// A matmul by one large weight.
struct Case {
    cpu: Cpu<f32>,
    weight: CpuWeight,
    x: Tensor<CpuBuffer>,
    out: Tensor<CpuBuffer>,
}

impl Case {
    fn new(dtype: DType, bytes: &Bytes, n: usize, tokens: usize) -> Self {
        let mut cpu = Cpu::new(Activations::Exact);
        let data = bytes.slice(0..n * K * dtype.size()).expect("the weight is large enough");
        let part = HostTensor { name: "weight".into(), dtype, shape: vec![n, K], data };
        let weight = cpu
            .load_weight(WeightSource {
                parts: vec![part],
                biases: Vec::new(),
                rows: RowOrder::Concatenated,
                format: WeightFormat::Native,
            })
            .expect("the weight is well formed");
        let mut x = cpu.alloc(DType::F32, &[tokens, K]).expect("activations fit");
        let values: Vec<f32> = (0..tokens * K).map(|i| (i % 17) as f32 - 8.0).collect();
        cpu.upload(x.view_mut(), bytemuck::cast_slice(&values)).expect("activations fit");
        let out = cpu.alloc(DType::F32, &[tokens, n]).expect("outputs fit");
        Case { cpu, weight, x, out }
    }

    fn run(&mut self) {
        self.cpu
            .matmul(Matmul {
                x: Activation::Native(self.x.view()),
                weight: &self.weight,
                epilogue: Epilogue::None,
                out: ActivationMut::Native(self.out.view_mut()),
            })
            .expect("the arguments are right");
    }
}

/// Reads all bytes on all cores and does next to nothing with them.
fn plain_sum(bytes: &[u8]) -> u64 {
    bytes
        .par_chunks(1 << 18)
        .map(|chunk| {
            let (_, words, _) = bytemuck::pod_align_to::<u8, [u64; 16]>(chunk);
            let mut sums = [0u64; 16];
            for words in words {
                for (sum, word) in sums.iter_mut().zip(words) {
                    *sum = sum.wrapping_add(*word);
                }
            }
            sums.iter().fold(0, |sum: u64, part| sum.wrapping_add(*part))
        })
        .reduce(|| 0, u64::wrapping_add)
}

/// The fastest of some runs of `a` and of `b`, taken in turns: other programs disturb both alike.
fn fastest_in_turns(mut a: impl FnMut(), mut b: impl FnMut()) -> (Duration, Duration) {
    let time = |f: &mut dyn FnMut()| {
        let start = Instant::now();
        f();
        start.elapsed()
    };
    (0..15).fold((Duration::MAX, Duration::MAX), |(best_a, best_b), _| {
        (best_a.min(time(&mut a)), best_b.min(time(&mut b)))
    })
}

fn decode(c: &mut Criterion) {
    for dtype in [DType::BF16, DType::F16, DType::F32] {
        let bytes = weight_bytes(dtype);
        let mut case = Case::new(dtype, &bytes, WEIGHT_BYTES / (K * dtype.size()), 1);
        let mut group = c.benchmark_group(format!("decode/{dtype}"));
        group.throughput(Throughput::Bytes(WEIGHT_BYTES as u64)).sample_size(10);
        group.bench_function("plain sum", |b| b.iter(|| black_box(plain_sum(&bytes))));
        group.bench_function("matmul", |b| b.iter(|| case.run()));
        group.finish();
        let (sum, matmul) = fastest_in_turns(|| _ = black_box(plain_sum(&bytes)), || case.run());
        let rate = |time: Duration| WEIGHT_BYTES as f64 / time.as_secs_f64() / 1e9;
        println!(
            "decode/{dtype}: matmul {:.1} GB/s, plain sum {:.1} GB/s: {:.0}% of its bandwidth",
            rate(matmul),
            rate(sum),
            100.0 * rate(matmul) / rate(sum)
        );
    }
}

fn prefill(c: &mut Criterion) {
    const N: usize = 4096;
    let mut group = c.benchmark_group("prefill");
    for dtype in [DType::BF16, DType::F16, DType::F32] {
        let bytes = weight_bytes(dtype);
        for tokens in [2, 16, 256] {
            let mut case = Case::new(dtype, &bytes, N, tokens);
            group.throughput(Throughput::Elements((2 * tokens * N * K) as u64)).sample_size(10);
            group.bench_function(BenchmarkId::new(dtype.to_string(), tokens), |b| b.iter(|| case.run()));
        }
    }
    group.finish();
}

criterion_group!(benches, decode, prefill);
criterion_main!(benches);
