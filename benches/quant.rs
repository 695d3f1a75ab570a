//! How fast weights are quantised and brought into the kernels' order when they are loaded, on all cores.
//!
//! GB/s are those of what is read: 16-bit weights where they are quantised, codes where they are ordered.
//!
//! `cargo bench --no-default-features --features rayon --bench quant`

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use half::bf16;
use llama_kernels::quant::fp8_rows::Fp8Rows;
use llama_kernels::quant::int4::{GroupSize, Int4, Packed};
use llama_kernels::tensor::{Bytes, DType, HostTensor};

/// The down projection of Llama 3 70B has this many rows of `K`; a part of them, to quantise in seconds.
const N: usize = 512;
/// All of them, to order.
const ALL: usize = 8192;
const K: usize = 28_672;

/// Weights like those of a model: roughly normal, no two groups alike.
fn weight(n: usize) -> HostTensor {
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let sum: u64 = (0..3).map(|i| state >> (16 * i + 16) & 0xFFFF).sum();
        bf16::from_f32((sum as f32 - 98_302.0) / 32_768.0 * 0.02)
    };
    let data: Vec<u8> = (0..n * K).flat_map(|_| next().to_le_bytes()).collect();
    HostTensor { name: "weight".into(), dtype: DType::BF16, shape: vec![n, K], data: Bytes::new(data) }
}

fn quantize(c: &mut Criterion) {
    let weight = weight(N);
    let mut group = c.benchmark_group(format!("quantize {N} x {K}"));
    group.throughput(Throughput::Bytes(weight.data.len() as u64)).sample_size(10);
    for size in [GroupSize::Of32, GroupSize::Of128] {
        group.bench_function(format!("int4, groups {}", size.columns(K)), |b| {
            b.iter(|| black_box(Int4::quantize(&weight, DType::BF16, size).expect("finite weights")));
        });
    }
    group.bench_function("fp8", |b| {
        b.iter(|| black_box(Fp8Rows::quantize(&weight).expect("finite weights")));
    });
    group.finish();
}

fn order(c: &mut Criterion) {
    let part = Int4::quantize(&weight(N), DType::BF16, GroupSize::Of128).expect("finite weights");
    let mut parts = part.parts().clone();
    (parts.n, parts.codes) = (ALL, parts.codes.repeat(ALL / N));
    parts.scales = parts.scales.repeat(ALL / N);
    let weight = Int4::new(parts).expect("arrays of these lengths");
    let packed = Packed::new(&weight);
    let g_idx: Vec<i32> = (0..K).map(|column| (column * 5 % K / 128) as i32).collect();
    let mut group = c.benchmark_group(format!("order {ALL} x {K}"));
    group.throughput(Throughput::Bytes(weight.parts().codes.len() as u64)).sample_size(10);
    group.bench_function("pack", |b| b.iter(|| black_box(Packed::new(&weight))));
    group.bench_function("unpack", |b| b.iter(|| black_box(packed.unpack())));
    group.bench_function("act-order", |b| {
        b.iter_batched(
            || weight.parts().clone(),
            |parts| black_box(Int4::with_order(parts, &g_idx).expect("groups of 128")),
            criterion::BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, quantize, order);
criterion_main!(benches);
