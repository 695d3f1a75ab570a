use llama_kernels::backend::{Backend, PagedCacheMut, RopeAppendKv};
use llama_kernels::reference::Real;
use llama_kernels::tensor::{DType, Layout, ViewMut};

use super::oracle::{self, Precision};
use super::support::*;

/// Sizes of a case.
struct Case {
    q_heads: usize,
    kv_heads: usize,
    head_dim: usize,
    page_size: usize,
    /// Heads stand outside the positions of a page (HND).
    heads_first: bool,
}

const PAGES: usize = 3;

impl Case {
    /// A view of the cache as `[pages, page_size, Hkv, hd]`, whichever its order in memory.
    fn layout(&self) -> Layout {
        let Case { kv_heads, head_dim, page_size, heads_first, .. } = *self;
        let page = page_size * kv_heads * head_dim;
        let strides = if heads_first {
            [page, head_dim, page_size * head_dim, 1]
        } else {
            [page, kv_heads * head_dim, head_dim, 1]
        };
        Layout::strided(&[PAGES, page_size, kv_heads, head_dim], &strides, 0).unwrap()
    }

    /// Index of a slot's head in the memory of the cache.
    fn index(&self, slot: usize, head: usize) -> usize {
        let strides = self.layout();
        let [page, offset, per_head, _] = *strides.strides() else { unreachable!() };
        slot / self.page_size * page + slot % self.page_size * offset + head * per_head
    }

    fn check<A: Real>(&self, dtype: DType, cache_dtype: DType, slots: &[f64]) {
        let mut rng = Rng(11);
        let Case { q_heads, kv_heads, head_dim, .. } = *self;
        let tokens = slots.len();
        let width = (q_heads + 2 * kv_heads) * head_dim;
        let (k_scale, v_scale) = if cache_dtype == DType::F8E4M3 { (0.5, 0.013) } else { (1.0, 1.0) };
        let qkv = rng.normal(dtype, tokens * width, 1.0);
        let positions: Vec<f64> = (0..tokens).map(|_| rng.below(9) as f64).collect();
        let cos_sin = rng.normal(DType::F32, 9 * head_dim, 0.6);
        let angles = |t: usize| &cos_sin[positions[t] as usize * head_dim..][..head_dim];
        let elements = PAGES * self.page_size * kv_heads * head_dim;
        let (mut k, mut v) = (poisoned(cache_dtype, &[elements]), poisoned(cache_dtype, &[elements]));
        let mut q = poisoned(dtype, &[tokens, q_heads, head_dim]);
        let inputs = [
            tensor(dtype, &[tokens, width], &qkv),
            tensor(DType::I32, &[tokens], &positions),
            tensor(DType::I64, &[tokens], slots),
            tensor(DType::F32, &[9, head_dim], &cos_sin),
        ];
        let args = RopeAppendKv {
            qkv: inputs[0].view(),
            positions: inputs[1].view(),
            slot_mapping: inputs[2].view(),
            cos_sin: inputs[3].view(),
            q_out: q.view_mut(),
            cache: PagedCacheMut {
                k: ViewMut { layout: self.layout(), ..k.view_mut() },
                v: ViewMut { layout: self.layout(), ..v.view_mut() },
                k_scale,
                v_scale,
            },
        };
        cpu::<A>().rope_append_kv(args).unwrap();

        judge::<A>("q", &q, head_dim, |p| {
            (0..tokens * q_heads)
                .flat_map(|i| {
                    let head = &qkv[i / q_heads * width + i % q_heads * head_dim..][..head_dim];
                    oracle::rotate(p, head, angles(i / q_heads))
                        .into_iter()
                        .map(|x| p.store(x))
                        .collect::<Vec<_>>()
                })
                .collect()
        });
        // Slots that no token goes to stay as they were.
        let cached = |part: usize, p: Precision| {
            let mut cache = values(&poisoned(cache_dtype, &[elements]));
            for (t, &slot) in slots.iter().enumerate().filter(|(_, slot)| **slot >= 0.0) {
                for head in 0..kv_heads {
                    let at = t * width + (q_heads + part * kv_heads + head) * head_dim;
                    let x = &qkv[at..at + head_dim];
                    let x = if part == 0 { oracle::rotate(p, x, angles(t)) } else { x.to_vec() };
                    let scale = f64::from(if part == 0 { k_scale } else { v_scale });
                    let stored = x.into_iter().map(|x| p.store(p.acc(x / scale)));
                    cache[self.index(slot as usize, head)..][..head_dim]
                        .copy_from_slice(&stored.collect::<Vec<_>>());
                }
            }
            cache
        };
        judge::<A>("keys", &k, head_dim, |p| cached(0, p));
        judge::<A>("values", &v, head_dim, |p| cached(1, p));
    }
}

#[test]
fn queries_keys_and_values_go_where_they_belong() {
    for heads_first in [false, true] {
        for (q_heads, kv_heads, head_dim, page_size) in
            [(1, 1, 2, 1), (3, 1, 64, 16), (8, 2, 64, 32), (8, 1, 128, 64), (2, 2, 128, 128)]
        {
            let case = Case { q_heads, kv_heads, head_dim, page_size, heads_first };
            let last = (PAGES * page_size - 1) as f64;
            for slots in [vec![], vec![-1.0], vec![last, 0.0, -5.0, 1.0]] {
                for dtype in ACTIVATIONS {
                    case.check::<f32>(dtype, dtype, &slots);
                    case.check::<f32>(dtype, DType::F8E4M3, &slots);
                }
                case.check::<f64>(DType::F64, DType::F64, &slots);
            }
        }
    }
}
