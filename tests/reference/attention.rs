use llama_kernels::backend::{Attention, Backend, PagedCache, StepBounds};
use llama_kernels::reference::{CpuBuffer, Real};
use llama_kernels::tensor::{DType, Layout, Tensor, View};

use super::oracle::{self, Precision};
use super::support::*;

/// A ragged batch over a paged cache.
#[derive(Clone)]
struct Case {
    q_heads: usize,
    kv_heads: usize,
    head_dim: usize,
    page_size: usize,
    /// Heads stand outside the positions of a page (HND).
    heads_first: bool,
    /// Queries and keys of each sequence.
    lengths: Vec<(usize, usize)>,
    dtype: DType,
    cache_dtype: DType,
}

/// What a case runs on.
struct Inputs {
    q: Vec<f64>,
    k: Vec<f64>,
    v: Vec<f64>,
    page_table: Vec<f64>,
    max_pages: usize,
    pages: usize,
    scales: [f32; 2],
}

struct Outputs {
    out: Tensor<CpuBuffer>,
    lse: Tensor<CpuBuffer>,
}

impl Case {
    fn new(
        q_heads: usize,
        kv_heads: usize,
        head_dim: usize,
        page_size: usize,
        lengths: &[(usize, usize)],
    ) -> Self {
        let lengths = lengths.to_vec();
        let (dtype, cache_dtype) = (DType::F32, DType::F32);
        Case { q_heads, kv_heads, head_dim, page_size, heads_first: false, lengths, dtype, cache_dtype }
    }

    fn tokens(&self) -> usize {
        self.lengths.iter().map(|(q_len, _)| q_len).sum()
    }

    fn softmax_scale(&self) -> f32 {
        1.0 / (self.head_dim as f32).sqrt()
    }

    /// Pages in no order, some of them nobody's.
    fn inputs(&self, rng: &mut Rng) -> Inputs {
        let needed: Vec<usize> =
            self.lengths.iter().map(|(_, kv_len)| kv_len.div_ceil(self.page_size)).collect();
        let pages = needed.iter().sum::<usize>() + 2;
        let max_pages = needed.iter().copied().max().unwrap_or(0) + 1;
        let mut free: Vec<usize> = (0..pages).collect();
        // What stands behind a sequence's last page is never read: such an index would be refused.
        let mut page_table = vec![-1.0; self.lengths.len() * max_pages];
        for (s, &needed) in needed.iter().enumerate() {
            for entry in &mut page_table[s * max_pages..][..needed] {
                *entry = free.swap_remove(rng.below(free.len())) as f64;
            }
        }
        let elements = pages * self.page_size * self.kv_heads * self.head_dim;
        let scales = if self.cache_dtype == DType::F8E4M3 { [0.25, 0.07] } else { [1.0, 1.0] };
        Inputs {
            q: rng.normal(self.dtype, self.tokens() * self.q_heads * self.head_dim, 1.0),
            k: rng.normal(self.cache_dtype, elements, 1.0 / f64::from(scales[0])),
            v: rng.normal(self.cache_dtype, elements, 1.0 / f64::from(scales[1])),
            page_table,
            max_pages,
            pages,
            scales,
        }
    }

    fn strides(&self) -> [usize; 4] {
        let page = self.page_size * self.kv_heads * self.head_dim;
        if self.heads_first {
            [page, self.head_dim, self.page_size * self.head_dim, 1]
        } else {
            [page, self.kv_heads * self.head_dim, self.head_dim, 1]
        }
    }

    fn run<A: Real>(&self, inputs: &Inputs, decode: bool) -> Outputs {
        let batch = self.lengths.len();
        let shape = [self.tokens(), self.q_heads, self.head_dim];
        let indptr: Vec<f64> =
            (0..=batch).map(|s| self.lengths[..s].iter().map(|(q_len, _)| *q_len as f64).sum()).collect();
        let kv_len: Vec<f64> = self.lengths.iter().map(|(_, kv_len)| *kv_len as f64).collect();
        let cache_shape = [inputs.pages, self.page_size, self.kv_heads, self.head_dim];
        let layout = Layout::strided(&cache_shape, &self.strides(), 0).unwrap();
        let q = tensor(self.dtype, &shape, &inputs.q);
        let k = tensor(self.cache_dtype, &[inputs.k.len()], &inputs.k);
        let v = tensor(self.cache_dtype, &[inputs.v.len()], &inputs.v);
        let q_indptr = tensor(DType::I32, &[batch + 1], &indptr);
        let kv_len = tensor(DType::I32, &[batch], &kv_len);
        let page_table = tensor(DType::I32, &[batch, inputs.max_pages], &inputs.page_table);
        let mut outputs =
            Outputs { out: poisoned(self.dtype, &shape), lse: poisoned(DType::F32, &shape[..2]) };
        let args = Attention {
            q: q.view(),
            cache: PagedCache {
                k: View { layout, ..k.view() },
                v: View { layout, ..v.view() },
                k_scale: inputs.scales[0],
                v_scale: inputs.scales[1],
            },
            q_indptr: q_indptr.view(),
            kv_len: kv_len.view(),
            page_table: page_table.view(),
            sequences: 0..batch,
            bounds: StepBounds { max_q_len: 1000, max_kv_len: 1000, ..StepBounds::default() },
            softmax_scale: self.softmax_scale(),
            out: outputs.out.view_mut(),
            lse: Some(outputs.lse.view_mut()),
        };
        let mut cpu = cpu::<A>();
        if decode { cpu.attention_decode(args) } else { cpu.attention_prefill(args) }.unwrap();
        outputs
    }

    /// Outputs and lse of every query and head.
    fn formula(&self, p: Precision, inputs: &Inputs) -> (Vec<f64>, Vec<f64>) {
        let (mut outs, mut lses) = (Vec::new(), Vec::new());
        let [page, offset, per_head, _] = self.strides();
        let scaled =
            |x: &[f64], scale: f32| x.iter().map(|x| p.acc(x * f64::from(scale))).collect::<Vec<_>>();
        let (k, v) = (scaled(&inputs.k, inputs.scales[0]), scaled(&inputs.v, inputs.scales[1]));
        let mut queries = inputs.q.chunks(self.head_dim);
        for (s, &(q_len, kv_len)) in self.lengths.iter().enumerate() {
            for j in 0..q_len {
                for head in 0..self.q_heads {
                    let seen = (kv_len + j + 1).saturating_sub(q_len);
                    let at = |i: usize| {
                        let index = inputs.page_table[s * inputs.max_pages + i / self.page_size] as usize;
                        let kv_head = head / (self.q_heads / self.kv_heads);
                        index * page + i % self.page_size * offset + kv_head * per_head
                    };
                    let rows = |cache: &'_ [f64]| {
                        (0..seen).map(|i| cache[at(i)..][..self.head_dim].to_vec()).collect()
                    };
                    let (keys, values): (Vec<Vec<f64>>, Vec<Vec<f64>>) = (rows(&k), rows(&v));
                    let keys: Vec<&[f64]> = keys.iter().map(Vec::as_slice).collect();
                    let values: Vec<&[f64]> = values.iter().map(Vec::as_slice).collect();
                    let scale = f64::from(self.softmax_scale());
                    let (out, lse) = oracle::attend(p, queries.next().unwrap(), &keys, &values, scale);
                    outs.extend(out);
                    lses.push(lse);
                }
            }
        }
        (outs, lses)
    }

    fn check<A: Real>(&self) {
        let inputs = self.inputs(&mut Rng(12));
        let Outputs { out, lse } = self.run::<A>(&inputs, false);
        judge::<A>("out", &out, self.head_dim, |p| self.formula(p, &inputs).0);
        // So few numbers that a naive error would be one of luck. Scores are near 1 and sums of at most 128 products.
        for (lse, exact) in values(&lse).into_iter().zip(self.formula(Precision::EXACT, &inputs).1) {
            assert!(lse == exact || (lse - exact).abs() < 2e-6, "lse {lse}, expected {exact}");
        }
    }

    fn check_all(&self) {
        for dtype in ACTIVATIONS {
            Case { dtype, cache_dtype: dtype, ..self.clone() }.check::<f32>();
            Case { dtype, cache_dtype: DType::F8E4M3, ..self.clone() }.check::<f32>();
        }
        Case { dtype: DType::F64, cache_dtype: DType::F64, heads_first: true, ..self.clone() }.check::<f64>();
    }
}

/// Nobody; one of each; a full page, one entry on the last page, far more keys than queries, and fewer than a block.
const LENGTHS: [&[(usize, usize)]; 4] =
    [&[], &[(1, 1)], &[(1, 16), (1, 17), (1, 129)], &[(19, 19), (1, 40), (0, 5), (3, 70), (0, 0)]];

#[test]
fn every_ratio_of_heads_meets_the_formula() {
    for (q_heads, kv_heads) in [(1, 1), (2, 2), (3, 1), (8, 2), (8, 1), (16, 1)] {
        LENGTHS.iter().for_each(|lengths| Case::new(q_heads, kv_heads, 64, 16, lengths).check_all());
    }
}

#[test]
fn every_page_size_and_order_meets_the_formula() {
    for (page_size, heads_first) in [(16, true), (32, false), (64, true), (128, false), (1, true), (5, false)]
    {
        for (head_dim, lengths) in [128, 64, 20].into_iter().zip(&LENGTHS[1..]) {
            Case { heads_first, ..Case::new(4, 2, head_dim, page_size, lengths) }.check_all();
        }
    }
}

#[test]
fn a_sequence_without_keys_gives_zeros() {
    // As a batch that is filled up to a fixed size has.
    let case =
        Case { dtype: DType::BF16, cache_dtype: DType::BF16, ..Case::new(2, 1, 64, 16, &[(2, 0), (1, 3)]) };
    let inputs = case.inputs(&mut Rng(13));
    for decode in [false, true] {
        let Outputs { out, lse } = case.run::<f32>(&inputs, decode);
        assert_eq!(bytes(&out)[..2 * 2 * 64 * 2], [0; 2 * 2 * 64 * 2]);
        assert_eq!(values(&lse)[..4], [f64::NEG_INFINITY; 4]);
        assert!(values(&out)[2 * 2 * 64..].iter().all(|x| x.is_finite()));
    }
}

#[test]
fn equal_scores_average_the_values() {
    // Four values of small integers, weighted by exactly a quarter each.
    let case = Case::new(2, 1, 64, 2, &[(1, 4)]);
    let mut inputs = case.inputs(&mut Rng(14));
    inputs.q.fill(0.0);
    inputs.v = Rng(15).integers(inputs.v.len(), 4);
    let Outputs { out, lse } = case.run::<f32>(&inputs, true);
    assert_eq!(values(&out), case.formula(Precision::EXACT, &inputs).0);
    assert_eq!(values(&lse), [round(DType::F32, 4f64.ln()); 2]);
}

#[test]
fn large_scores_do_not_overflow() {
    let case = Case::new(1, 1, 64, 16, &[(4, 40)]);
    let mut inputs = case.inputs(&mut Rng(16));
    inputs.q.iter_mut().for_each(|q| *q *= 1024.0);
    let Outputs { out, lse } = case.run::<f32>(&inputs, false);
    judge::<f32>("out", &out, 64, |p| case.formula(p, &inputs).0);
    judge::<f32>("lse", &lse, 1, |p| case.formula(p, &inputs).1);
}

#[test]
fn a_query_does_not_depend_on_its_batch() {
    let case = Case::new(6, 2, 64, 16, &[(21, 50), (1, 33)]);
    let mut inputs = case.inputs(&mut Rng(17));
    let all = case.run::<f32>(&inputs, false);
    let row = 6 * 64;
    let q = inputs.q.clone();
    // Query `j` of the first sequence alone is a decode with as many keys as it sees.
    for j in 0..21 {
        inputs.q = [&q[j * row..(j + 1) * row], &q[21 * row..]].concat();
        let one = Case { lengths: vec![(1, 30 + j), (1, 33)], ..case.clone() }.run::<f32>(&inputs, true);
        assert_eq!(bytes(&one.out)[..row * 4], bytes(&all.out)[j * row * 4..][..row * 4]);
        assert_eq!(bytes(&one.out)[row * 4..], bytes(&all.out)[21 * row * 4..]);
        assert_eq!(bytes(&one.lse)[..24], bytes(&all.lse)[j * 24..][..24]);
    }
}

#[test]
fn what_is_not_finite_reaches_only_the_queries_that_see_it() {
    let case = Case::new(2, 1, 64, 16, &[(4, 20), (1, 20)]);
    let mut inputs = case.inputs(&mut Rng(18));
    // Key 18 of sequence 0, which its last two queries see.
    let page = inputs.page_table[1] as usize;
    inputs.k[(page * 16 + 2) * 64] = f64::NAN;
    let Outputs { out, lse } = case.run::<f32>(&inputs, false);
    let nan: Vec<bool> = values(&out).chunks(64).map(|row| row.iter().all(|x| x.is_nan())).collect();
    let finite: Vec<bool> = values(&out).chunks(64).map(|row| row.iter().all(|x| x.is_finite())).collect();
    assert_eq!(nan, [false, false, false, false, true, true, true, true, false, false]);
    assert_eq!(finite, nan.iter().map(|nan| !nan).collect::<Vec<_>>());
    assert_eq!(values(&lse).iter().map(|x| x.is_nan()).collect::<Vec<_>>(), nan);
}
