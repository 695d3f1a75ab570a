//! Cases of `attention_prefill`.

use super::Case;
use super::attention::{Cache, Kind, Lie, Spec, Told, problem};
use super::values::ACTIVATIONS;
use crate::ops;
use crate::tensor::DType;

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for dtype in ACTIVATIONS {
        for spec in specs(dtype) {
            let name = spec.to_string();
            cases.push(Case::new("attention_prefill", name, move || {
                problem(&spec, |stream, _, args| ops::attention_prefill(stream, &args))
            }));
        }
    }
    cases
}

/// Prompts and a chunk behind a long one, with the heads of Llama 3 8B and 70B and 3.2 1B.
pub(super) fn model_cases() -> Vec<Case> {
    let heads = [
        (DType::BF16, false, [128, 8, 4]),
        (DType::F16, false, [128, 8, 8]),
        (DType::BF16, false, [64, 8, 4]),
        (DType::BF16, true, [128, 8, 4]),
    ];
    let batches = [vec![[16_384, 16_384]], vec![[1024, 1024]; 16], vec![[512, 16_384]]];
    let mut cases = Vec::new();
    for (dtype, fp8, heads) in heads {
        for sequences in &batches {
            let kind = Kind::Sampled;
            let spec = Spec { kind, ..Spec::plain(dtype, heads, sequences, Cache::Nhd(16)) };
            let spec = if fp8 { spec.with_fp8_cache() } else { spec };
            cases.push(Case::new("attention_prefill", spec.to_string(), move || {
                problem(&spec, |stream, _, args| ops::attention_prefill(stream, &args))
            }));
        }
    }
    cases
}

fn specs(dtype: DType) -> Vec<Spec> {
    let spec = |head_dim, kv_heads, group, sequences: &[[usize; 2]], cache| {
        Spec::plain(dtype, [head_dim, kv_heads, group], sequences, cache)
    };
    let mut specs = vec![
        // One token, one key, one page; no token; nothing but a sequence without keys.
        spec(128, 1, 1, &[[1, 1]], Cache::Nhd(16)),
        spec(64, 2, 3, &[], Cache::Nhd(16)),
        spec(64, 2, 3, &[[0, 40], [0, 0]], Cache::Nhd(16)),
        spec(64, 2, 3, &[[2, 0]], Cache::Nhd(16)),
    ];
    // Lengths on both sides of tiles and pages; a last page of one key; more keys than queries; nothing of either.
    let ragged: &[[usize; 2]] = &[[1, 1], [17, 17], [5, 200], [0, 70], [3, 0], [63, 64], [0, 0], [33, 129]];
    for (head_dim, group, cache) in [
        (128, 1, Cache::Nhd(16)),
        (64, 3, Cache::Hnd(16)),
        (128, 4, Cache::Nhd(32)),
        (64, 8, Cache::Nhd(128)),
        (128, 16, Cache::Contiguous),
        (64, 1, Cache::Contiguous),
        (128, 3, Cache::Hnd(64)),
        (128, 2, Cache::Nhd(1)),
        (64, 4, Cache::Hnd(2)),
    ] {
        let kv_heads = if group > 4 { 1 } else { 2 };
        specs.push(spec(head_dim, kv_heads, group, ragged, cache));
    }
    // Several tiles of rows and of keys.
    specs.push(spec(128, 1, 1, &[[200, 200]], Cache::Nhd(16)));
    specs.push(spec(64, 1, 4, &[[130, 530], [7, 7]], Cache::Hnd(16)));
    specs.push(Spec { lse: false, ..spec(128, 3, 1, &[[129, 129], [64, 191]], Cache::Nhd(32)) });
    // More sequences than a warp has lanes.
    let many: Vec<[usize; 2]> = (0..70).map(|i| [i % 3, i % 3 + i % 5]).collect();
    specs.push(spec(64, 1, 2, &many, Cache::Nhd(16)));

    let few: &[[usize; 2]] = &[[9, 9], [50, 80], [4, 33]];
    let special = |kind, head_dim, group, cache| Spec { kind, ..spec(head_dim, 2, group, few, cache) };
    for (head_dim, cache) in [(128, Cache::Nhd(16)), (64, Cache::Hnd(32)), (128, Cache::Contiguous)] {
        specs.push(special(Kind::Strided, head_dim, 3, cache));
        specs.push(special(Kind::NotFinite, head_dim, 4, cache));
    }
    for head_dim in [64, 128] {
        let sequences = vec![[40, 40], [70, 230], [3, 9]];
        specs.push(Spec { sequences, ..special(Kind::Sampled, head_dim, 3, Cache::Nhd(16)) });
    }
    specs.push(special(Kind::FarPages, 128, 2, Cache::Nhd(32)));
    specs.push(special(Kind::FarPages, 64, 2, Cache::Hnd(64)));
    specs.push(Spec { sequences: vec![[3, 20]], ..special(Kind::FarTokens, 128, 2, Cache::Nhd(16)) });
    specs.push(Spec { sequences: vec![[1, 3]], ..special(Kind::FarPages, 64, 1, Cache::Contiguous) });
    specs.push(Spec { sequences: vec![[40, 500]], ..special(Kind::Rising, 128, 2, Cache::Nhd(16)) });
    specs.push(Spec { sequences: vec![[70, 300]], ..special(Kind::Rising, 64, 1, Cache::Nhd(16)) });
    specs.push(special(Kind::Part, 128, 2, Cache::Nhd(16)));
    specs.push(special(Kind::Part, 64, 2, Cache::Contiguous));
    for told in [Told::Yes, Told::No] {
        for lie in
            [Lie::Pages, Lie::ManyKeys, Lie::NegativeKeys, Lie::FewKeys, Lie::Offsets, Lie::ManyQueries]
        {
            let head_dim = if told == Told::Yes { 128 } else { 64 };
            specs.push(special(Kind::Hostile(lie, told), head_dim, 2, Cache::Nhd(16)));
        }
        for lie in [Lie::KeyOffsets, Lie::ManyKeys] {
            specs.push(special(Kind::Hostile(lie, told), 64, 2, Cache::Contiguous));
        }
    }
    for operand in ["q", "k", "v", "out", "lse", "q_indptr", "kv_len", "page_table", "error"] {
        specs.push(special(Kind::Misaligned(operand), 64, 2, Cache::Nhd(16)));
    }
    specs.push(special(Kind::Misaligned("kv_indptr"), 64, 2, Cache::Contiguous));
    // The same kinds over an fp8 cache, where each type has one of two alike.
    let mut fp8 = |of_bf16: Spec, of_f16: Spec| {
        let spec = if dtype == DType::BF16 { of_bf16 } else { of_f16 };
        specs.push(spec.with_fp8_cache());
    };
    fp8(spec(128, 1, 1, &[[1, 1]], Cache::Nhd(16)), spec(64, 2, 3, &[[2, 0]], Cache::Nhd(16)));
    fp8(spec(128, 2, 1, ragged, Cache::Nhd(16)), spec(64, 2, 3, ragged, Cache::Hnd(16)));
    fp8(spec(64, 1, 8, ragged, Cache::Nhd(128)), spec(128, 1, 16, ragged, Cache::Contiguous));
    fp8(spec(64, 2, 1, ragged, Cache::Contiguous), spec(128, 2, 3, ragged, Cache::Hnd(64)));
    fp8(spec(128, 2, 2, ragged, Cache::Nhd(1)), spec(64, 2, 4, ragged, Cache::Hnd(2)));
    fp8(
        spec(64, 1, 4, &[[130, 530], [7, 7]], Cache::Hnd(16)),
        spec(128, 1, 1, &[[200, 200]], Cache::Nhd(16)),
    );
    for (kind, lengths) in
        [(Kind::Strided, few), (Kind::NotFinite, few), (Kind::Rising, &[[40, 500]]), (Kind::Part, few)]
    {
        let special = |head_dim, group, cache| Spec {
            sequences: lengths.to_vec(),
            ..special(kind, head_dim, group, cache)
        };
        fp8(special(128, 3, Cache::Nhd(16)), special(64, 2, Cache::Hnd(32)));
        fp8(special(64, 4, Cache::Nhd(32)), special(128, 1, Cache::Contiguous));
    }
    fp8(special(Kind::FarPages, 128, 2, Cache::Nhd(32)), special(Kind::FarPages, 64, 2, Cache::Hnd(64)));
    for lie in [Lie::Pages, Lie::ManyKeys, Lie::NegativeKeys, Lie::FewKeys, Lie::Offsets, Lie::ManyQueries] {
        let told = |told| Kind::Hostile(lie, told);
        fp8(special(told(Told::Yes), 64, 2, Cache::Nhd(16)), special(told(Told::No), 128, 2, Cache::Nhd(16)));
    }
    let told = |told| Kind::Hostile(Lie::KeyOffsets, told);
    fp8(
        special(told(Told::No), 64, 2, Cache::Contiguous),
        special(told(Told::Yes), 128, 2, Cache::Contiguous),
    );
    fp8(
        special(Kind::Misaligned("v"), 64, 2, Cache::Nhd(16)),
        special(Kind::Misaligned("k"), 128, 2, Cache::Nhd(16)),
    );
    specs
}
