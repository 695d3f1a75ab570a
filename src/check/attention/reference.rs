//! The numbers of a problem, and what the CPU reference makes of them.

use super::lists::{Lists, Sequence};
use super::{HEAD_GAP, Kind, Rng, Spec};
use crate::Result;
use crate::backend::{self, Backend, PagedCache, StepBounds};
use crate::check::values::{bytes, cpu, decode, encode, tensor};
use crate::reference::Real;
use crate::tensor::{DType, Tensor};

/// What an lse may be off by, half of it, relative to its distance from -1.
const LSE_ERROR: f64 = 1.0 / (1 << 21) as f64;

/// Operands as numbers that the element type holds exactly.
pub(super) struct Numbers {
    /// `[tokens, q_heads, head_dim]` with NaN between the heads where they stand apart.
    pub q: Vec<f64>,
    /// `[pages, page_size, kv_heads, head_dim]`, NaN where no sequence has a key.
    pub k: Vec<f64>,
    /// Likewise.
    pub v: Vec<f64>,
}

/// What must come out: the reference's numbers, and those of the same formula in the kernel's types.
pub(super) struct Results {
    /// `[tokens, q_heads, head_dim]`; NaN in rows that are not written.
    pub out: [Vec<f64>; 2],
    /// `[tokens, q_heads]`.
    pub lse: [Vec<f64>; 2],
}

impl Numbers {
    pub fn new(spec: &Spec, lists: &Lists) -> Self {
        let Spec { dtype, cache_dtype, head_dim, kv_heads, .. } = *spec;
        let mut rng = Rng(spec.num_tokens() as u64);
        let mut q = vec![f64::NAN; spec.num_tokens() * spec.q_heads() * spec.q_head_stride()];
        for head in q.chunks_mut(spec.q_head_stride()) {
            head[..head_dim].copy_from_slice(&rng.normal(dtype, head_dim, 1.0));
        }
        let mut k = vec![f64::NAN; lists.num_pages * spec.page_elements()];
        let mut v = k.clone();
        let width = kv_heads * head_dim;
        for sequence in lists.bounded(spec) {
            for key in 0..sequence.kv_len {
                let at = sequence.row_of(spec, key) * width;
                let deviation = match spec.kind {
                    Kind::Rising => 0.2 + 6.0 * key as f64 / sequence.kv_len as f64,
                    _ => 1.0,
                };
                k[at..at + width].copy_from_slice(&rng.normal(cache_dtype, width, deviation));
                v[at..at + width].copy_from_slice(&rng.normal(cache_dtype, width, 1.0));
            }
        }
        if spec.kind == Kind::NotFinite {
            let liar = &lists.bounded(spec)[1];
            let row = |key: usize| liar.row_of(spec, key) * width;
            // The codes of an fp8 cache have no infinity.
            let infinity = if cache_dtype == DType::F8E4M3 { f64::NAN } else { f64::INFINITY };
            // The last key is seen by the last query alone.
            v[row(0) + 5] = f64::NAN;
            v[row(1) + 7] = infinity;
            v[row(liar.kv_len - 1) + 9] = f64::NAN;
            v[row(liar.kv_len - 2) + 11] = -infinity;
            v[row(liar.kv_len - 3) + width - 1] = infinity;
            k[row(liar.kv_len - 1) + 3] = f64::NAN;
            q[liar.queries.start * spec.q_heads() * spec.q_head_stride() + 1] = f64::NEG_INFINITY;
        }
        Numbers { q, k, v }
    }
}

impl Sequence {
    /// The row of a key in a cache `[pages * page_size]`.
    fn row_of(&self, spec: &Spec, key: usize) -> usize {
        let page_size = spec.page_size();
        self.pages[key / page_size] * page_size + key % page_size
    }
}

pub(super) fn results(spec: &Spec, lists: &Lists, numbers: &Numbers) -> Result<Results> {
    let reference = run::<f64>(spec, lists, numbers, DType::F64)?;
    let naive = run::<f32>(spec, lists, numbers, spec.dtype)?;
    let decoded = |i: usize| [&reference, &naive].map(|results| decode(results[i].0, &results[i].1));
    let (mut out, mut lse) = (decoded(0), decoded(1));
    // No type rounds lse but f32 itself, whose sums a tensor core truncates, and ex2 and lg2 are off by 2^-22: in the
    // place of the naive result stands one that is off by as much as that may come to.
    lse[1] = lse[0].iter().map(|lse| lse + LSE_ERROR * (1.0 + lse.abs())).collect();
    let mut written = vec![false; spec.num_tokens()];
    for sequence in lists.bounded(spec) {
        written[sequence.queries].fill(true);
    }
    for (token, _) in written.iter().enumerate().filter(|&(_, &written)| !written) {
        for (values, width) in [(&mut out, spec.q_heads() * spec.head_dim), (&mut lse, spec.q_heads())] {
            for values in values {
                values[token * width..][..width].fill(f64::NAN);
            }
        }
    }
    Ok(Results { out, lse })
}

/// The CPU reference in `A` on tensors in `dtype`: the bytes of out and lse, with their types.
fn run<A: Real>(
    spec: &Spec,
    lists: &Lists,
    numbers: &Numbers,
    dtype: DType,
) -> Result<[(DType, Vec<u8>); 2]> {
    let Spec { head_dim, kv_heads, .. } = *spec;
    if spec.num_tokens() == 0 {
        return Ok([(dtype, Vec::new()), (DType::F32, Vec::new())]);
    }
    let sequences = lists.bounded(spec);
    let sequences =
        if spec.kind == Kind::Sampled { alone(&sequences, &lists.sampled(spec)) } else { sequences };
    let segments = segments(sequences, spec.num_tokens());
    let max_pages = segments.iter().map(|segment| segment.pages.len()).max().unwrap_or(0);
    let mut indptr = vec![0.0];
    let mut table = Vec::new();
    for segment in &segments {
        indptr.push(segment.queries.end as f64);
        table.extend(segment.pages.iter().map(|&page| page as f64));
        table.resize(indptr.len().saturating_sub(1) * max_pages, 0.0);
    }
    let lengths: Vec<f64> = segments.iter().map(|segment| segment.kv_len as f64).collect();
    let longest = |length: fn(&Sequence) -> usize| segments.iter().map(length).max().unwrap_or(0);
    let bounds = StepBounds {
        num_tokens: spec.num_tokens(),
        batch: segments.len(),
        num_decodes: 0,
        max_q_len: longest(|segment| segment.queries.len()),
        max_kv_len: longest(|segment| segment.kv_len),
        num_logits: 0,
    };
    // The bytes of the element type mean the same numbers in the reference's.
    let exact = |values: &[f64]| decode(spec.dtype, &encode(spec.dtype, values));
    let heads = numbers.q.chunks(spec.q_head_stride());
    let q: Vec<f64> = heads.flat_map(|head| &head[..spec.q_head_stride() - gap(spec)]).copied().collect();
    let shape = [spec.num_tokens(), spec.q_heads(), head_dim];
    let cache_shape = [lists.num_pages, spec.page_size(), kv_heads, head_dim];
    let q = tensor(dtype, &shape, &exact(&q))?;
    // Codes are what they are in every reference: their scales make them more than 8 bits.
    let cache_dtype = if spec.cache_dtype == spec.dtype { dtype } else { spec.cache_dtype };
    let cached = |values| {
        tensor(cache_dtype, &cache_shape, &decode(spec.cache_dtype, &encode(spec.cache_dtype, values)))
    };
    let (k, v) = (cached(&numbers.k)?, cached(&numbers.v)?);
    let [k_scale, v_scale] = spec.scales();
    let q_indptr = tensor(DType::I32, &[indptr.len()], &indptr)?;
    let kv_len = tensor(DType::I32, &[lengths.len()], &lengths)?;
    let page_table = tensor(DType::I32, &[lengths.len(), max_pages], &table)?;
    let mut cpu = cpu::<A>();
    let mut out = cpu.alloc(dtype, &shape)?;
    let mut lse = cpu.alloc(DType::F32, &shape[..2])?;
    cpu.attention_prefill(backend::Attention {
        q: q.view(),
        cache: PagedCache { k: k.view(), v: v.view(), k_scale, v_scale },
        q_indptr: q_indptr.view(),
        kv_len: kv_len.view(),
        page_table: page_table.view(),
        sequences: 0..segments.len(),
        bounds,
        softmax_scale: spec.softmax_scale(),
        out: out.view_mut(),
        lse: Some(lse.view_mut()),
    })?;
    let typed = |tensor: &Tensor<_>| Ok((tensor.dtype(), bytes(tensor)?));
    Ok([typed(&out)?, typed(&lse)?])
}

/// These queries as sequences of one query each, which see the same keys.
fn alone(sequences: &[Sequence], queries: &[usize]) -> Vec<Sequence> {
    let one = |&query: &usize| {
        let sequence = sequences.iter().find(|sequence| sequence.queries.contains(&query))?;
        let unseen = (sequence.queries.end - 1 - query).min(sequence.kv_len);
        Some(Sequence {
            queries: query..query + 1,
            kv_len: sequence.kv_len - unseen,
            pages: sequence.pages.clone(),
        })
    };
    queries.iter().filter_map(one).collect()
}

fn gap(spec: &Spec) -> usize {
    if spec.kind == Kind::Strided { HEAD_GAP } else { 0 }
}

/// Sequences that the reference takes, of all tokens: what nobody's launch writes, and queries before a sequence's first key,
/// are sequences without keys.
fn segments(sequences: Vec<Sequence>, num_tokens: usize) -> Vec<Sequence> {
    let mut segments: Vec<Sequence> = Vec::new();
    let blind = |queries| Sequence { queries, kv_len: 0, pages: Vec::new() };
    let mut end = 0;
    for mut sequence in sequences {
        let start = sequence.queries.start;
        if start > end {
            segments.push(blind(end..start));
        }
        end = sequence.queries.end;
        if sequence.kv_len > 0 && sequence.kv_len < sequence.queries.len() {
            let seeing = end - sequence.kv_len;
            segments.push(blind(start..seeing));
            sequence.queries.start = seeing;
        }
        segments.push(sequence);
    }
    if end < num_tokens {
        segments.push(blind(end..num_tokens));
    }
    segments
}
