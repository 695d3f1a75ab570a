//! Cases of `attention_decode`.

use super::Case;
use super::attention::{Cache, Kind, Lie, Spec, Told, problem};
use super::memory::Operand;
use super::problem::{Outcome, Problem};
use super::values::ACTIVATIONS;
use crate::plan::{self, AttentionShape, Limits};
use crate::tensor::DType;
use crate::{Result, ops};

/// A device that is never full: it asks for the most splits, and the largest workspace.
const ENDLESS: Limits = Limits { num_sms: u32::MAX, shared_memory_per_block: 227 << 10 };

/// One case.
#[derive(Clone)]
struct Decode {
    spec: Spec,
    batch_invariant: bool,
    splits: Splits,
}

/// Whether keys are split between blocks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Splits {
    /// As on a device that is never full: there are few blocks else.
    Always,
    /// There are so many sequences that no card is better used by that.
    Never,
    /// That depends on the card.
    Either,
}

impl Decode {
    /// The plan of a device that has room.
    fn splits_and_workspace(&self) -> Result<(u32, usize)> {
        let Spec { dtype, cache_dtype, head_dim, kv_heads, group, sequences, .. } = &self.spec;
        let longest = |i: usize| sequences.iter().map(|lengths| lengths[i]).max().unwrap_or(0);
        let shape = AttentionShape {
            dtype: *dtype,
            cache_dtype: *cache_dtype,
            head_dim: *head_dim,
            group: *group,
            num_kv_heads: *kv_heads,
            num_tokens: sequences.iter().map(|[q_len, _]| q_len).sum(),
            num_seqs: sequences.len(),
            max_q_len: longest(0),
            max_kv_len: longest(1),
        };
        let plan = plan::attention_decode(&shape, self.batch_invariant, ENDLESS)?;
        Ok(plan.map_or((1, 0), |plan| (plan.splits, plan.workspace_bytes)))
    }

    fn named(self) -> Case {
        let Spec { dtype, cache_dtype, head_dim, group, ref sequences, .. } = self.spec;
        let invariant = if self.batch_invariant { ", batch-invariant" } else { "" };
        let name = match self.splits {
            Splits::Never => {
                let of = if cache_dtype == dtype { String::new() } else { format!(" of {cache_dtype}") };
                format!("{dtype} hd {head_dim}, {group}:1, {} sequences{of}", sequences.len())
            }
            _ => format!("{}{invariant}", self.spec),
        };
        Case::new("attention_decode", name, move || self.problem())
    }

    fn problem(&self) -> Result<Problem> {
        let batch_invariant = self.batch_invariant;
        let mut problem = problem(&self.spec, move |stream, memory, args| {
            let workspace = memory.write("workspace")?;
            ops::attention_decode(stream, &args, &ops::Decode { workspace, batch_invariant })
        })?;
        let (splits, bytes) = self.splits_and_workspace()?;
        if problem.outcome == Outcome::Launches(1) {
            problem.outcome = match self.splits {
                Splits::Always => Outcome::Launches(if splits > 1 { 2 } else { 1 }),
                Splits::Never => Outcome::Launches(1),
                Splits::Either => Outcome::LaunchesOneOrTwo,
            };
        }
        let workspace = Operand::scratch("workspace", bytes);
        problem.operands.push(match self.spec.kind {
            Kind::Misaligned("workspace") => workspace.misplaced(128),
            _ => workspace,
        });
        Ok(problem)
    }
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for dtype in ACTIVATIONS {
        for case in decodes(dtype) {
            cases.push(case.named());
        }
    }
    cases
}

/// Long contexts, many sequences, and speculative tokens, with the heads of Llama 3 8B and 70B and 3.2 1B.
pub(super) fn model_cases() -> Vec<Case> {
    let heads = [
        (DType::BF16, false, [128, 8, 4]),
        (DType::F16, false, [128, 8, 8]),
        (DType::BF16, false, [64, 8, 4]),
        (DType::BF16, true, [128, 8, 4]),
    ];
    let batches = [
        (vec![[1, 32_768]], false, Splits::Always),
        (vec![[1, 16_384]; 8], false, Splits::Either),
        (vec![[8, 4096]; 8], false, Splits::Either),
        (vec![[1, 4096]; 8], true, Splits::Always),
        (vec![[1, 512]; 256], false, Splits::Never),
    ];
    let mut cases = Vec::new();
    for (dtype, fp8, heads) in heads {
        for &(ref sequences, batch_invariant, splits) in &batches {
            let spec = Spec::plain(dtype, heads, sequences, Cache::Nhd(16));
            let spec = if fp8 { spec.with_fp8_cache() } else { spec };
            cases.push(Decode { spec, batch_invariant, splits }.named());
        }
    }
    cases
}

fn decodes(dtype: DType) -> Vec<Decode> {
    let spec = |head_dim, kv_heads, group, sequences: &[[usize; 2]], cache| {
        Spec::plain(dtype, [head_dim, kv_heads, group], sequences, cache)
    };
    let mut specs = vec![
        // One key; no token; nothing but a sequence without keys.
        spec(128, 1, 1, &[[1, 1]], Cache::Nhd(16)),
        spec(64, 2, 3, &[], Cache::Nhd(16)),
        spec(64, 2, 3, &[[0, 40], [0, 0]], Cache::Nhd(16)),
        spec(64, 2, 3, &[[2, 0]], Cache::Nhd(16)),
    ];
    // One query each: lengths around pages, slices, tiles and splits; a last page of one key; nothing of either.
    let single: &[[usize; 2]] =
        &[[1, 1], [1, 15], [1, 16], [1, 17], [0, 70], [1, 65], [1, 0], [0, 0], [1, 129], [1, 300]];
    for (head_dim, group, cache) in [
        (128, 1, Cache::Nhd(16)),
        (64, 3, Cache::Hnd(16)),
        (128, 4, Cache::Nhd(32)),
        (64, 8, Cache::Nhd(128)),
        (128, 16, Cache::Contiguous),
        (64, 1, Cache::Contiguous),
        (128, 3, Cache::Hnd(64)),
        (128, 4, Cache::Nhd(1)),
        (64, 4, Cache::Hnd(2)),
        (128, 4, Cache::Nhd(8)),
    ] {
        specs.push(spec(head_dim, if group > 4 { 1 } else { 2 }, group, single, cache));
    }
    // Several queries each: 8 to 128 rows.
    let several: &[[usize; 2]] = &[[8, 8], [1, 64], [0, 3], [3, 65], [5, 130], [2, 0], [7, 193]];
    for (head_dim, group, cache) in [
        (128, 1, Cache::Nhd(16)),
        (64, 2, Cache::Hnd(32)),
        (64, 3, Cache::Nhd(16)),
        (128, 4, Cache::Nhd(16)),
        (64, 8, Cache::Contiguous),
        (128, 16, Cache::Hnd(128)),
        (128, 8, Cache::Nhd(4)),
    ] {
        specs.push(spec(head_dim, 1, group, several, cache));
    }
    // Far more keys than queries, in many splits.
    specs.push(spec(128, 1, 4, &[[1, 2100]], Cache::Nhd(16)));
    specs.push(spec(64, 2, 2, &[[1, 1500], [1, 1], [2, 700]], Cache::Hnd(16)));
    specs.push(Spec { lse: false, ..spec(128, 1, 8, &[[3, 1100], [8, 20]], Cache::Nhd(32)) });

    let few: &[[usize; 2]] = &[[3, 20], [8, 80], [2, 300]];
    let special = |kind, head_dim, group, cache| Spec { kind, ..spec(head_dim, 2, group, few, cache) };
    for (head_dim, group, cache) in
        [(128, 2, Cache::Nhd(16)), (64, 3, Cache::Hnd(32)), (128, 1, Cache::Contiguous)]
    {
        specs.push(special(Kind::Strided, head_dim, group, cache));
        specs.push(special(Kind::NotFinite, head_dim, group, cache));
    }
    specs.push(special(Kind::FarPages, 128, 2, Cache::Nhd(32)));
    specs.push(special(Kind::FarPages, 64, 4, Cache::Hnd(64)));
    specs.push(Spec { sequences: vec![[3, 200]], ..special(Kind::FarTokens, 128, 2, Cache::Nhd(64)) });
    specs.push(Spec { sequences: vec![[1, 3]], ..special(Kind::FarPages, 64, 1, Cache::Contiguous) });
    specs.push(Spec { sequences: vec![[4, 500]], ..special(Kind::Rising, 128, 2, Cache::Nhd(16)) });
    specs.push(Spec { sequences: vec![[8, 300]], ..special(Kind::Rising, 64, 4, Cache::Nhd(16)) });
    specs.push(special(Kind::Part, 128, 2, Cache::Nhd(16)));
    specs.push(special(Kind::Part, 64, 4, Cache::Contiguous));
    for told in [Told::Yes, Told::No] {
        let (head_dim, group) = if told == Told::Yes { (128, 2) } else { (64, 4) };
        for lie in
            [Lie::Pages, Lie::ManyKeys, Lie::NegativeKeys, Lie::FewKeys, Lie::Offsets, Lie::ManyQueries]
        {
            specs.push(special(Kind::Hostile(lie, told), head_dim, group, Cache::Nhd(16)));
        }
        for lie in [Lie::KeyOffsets, Lie::ManyKeys] {
            specs.push(special(Kind::Hostile(lie, told), head_dim, group, Cache::Contiguous));
        }
    }
    for operand in ["q", "k", "v", "out", "lse", "q_indptr", "kv_len", "page_table", "error", "workspace"] {
        specs.push(special(Kind::Misaligned(operand), 64, 2, Cache::Nhd(16)));
    }
    let mut invariant = vec![
        spec(128, 2, 4, single, Cache::Nhd(16)),
        spec(64, 1, 8, several, Cache::Nhd(16)),
        spec(128, 1, 4, &[[1, 1100], [2, 512], [1, 513], [1, 3]], Cache::Nhd(16)),
    ];
    // The same kinds over an fp8 cache, where each type has one of two alike.
    let mut fp8 = |of_bf16: Spec, of_f16: Spec| {
        let spec = if dtype == DType::BF16 { of_bf16 } else { of_f16 };
        specs.push(spec.with_fp8_cache());
    };
    fp8(spec(128, 1, 1, &[[1, 1]], Cache::Nhd(16)), spec(64, 2, 3, &[[2, 0]], Cache::Nhd(16)));
    fp8(spec(128, 2, 1, single, Cache::Nhd(16)), spec(64, 2, 3, single, Cache::Hnd(16)));
    fp8(spec(64, 1, 8, single, Cache::Nhd(128)), spec(128, 1, 16, single, Cache::Contiguous));
    fp8(spec(64, 2, 1, single, Cache::Contiguous), spec(128, 2, 3, single, Cache::Hnd(64)));
    fp8(spec(128, 2, 4, single, Cache::Nhd(1)), spec(64, 2, 4, single, Cache::Hnd(2)));
    fp8(spec(64, 1, 2, several, Cache::Hnd(32)), spec(128, 1, 1, several, Cache::Nhd(16)));
    fp8(spec(128, 1, 16, several, Cache::Hnd(128)), spec(64, 1, 8, several, Cache::Contiguous));
    fp8(spec(64, 1, 4, several, Cache::Nhd(1)), spec(128, 1, 8, several, Cache::Nhd(2)));
    fp8(
        spec(128, 1, 4, &[[1, 2100]], Cache::Nhd(16)),
        spec(64, 2, 2, &[[1, 1500], [2, 700]], Cache::Hnd(16)),
    );
    for (kind, lengths) in
        [(Kind::Strided, few), (Kind::NotFinite, few), (Kind::Rising, &[[8, 300]]), (Kind::Part, few)]
    {
        let special = |head_dim, group, cache| Spec {
            sequences: lengths.to_vec(),
            ..special(kind, head_dim, group, cache)
        };
        fp8(special(128, 2, Cache::Nhd(16)), special(64, 3, Cache::Hnd(32)));
        fp8(special(64, 8, Cache::Nhd(32)), special(128, 3, Cache::Contiguous));
    }
    fp8(special(Kind::FarPages, 128, 2, Cache::Nhd(32)), special(Kind::FarPages, 64, 4, Cache::Hnd(64)));
    for lie in [Lie::Pages, Lie::ManyKeys, Lie::NegativeKeys, Lie::FewKeys, Lie::Offsets, Lie::ManyQueries] {
        let told = |told| Kind::Hostile(lie, told);
        fp8(special(told(Told::Yes), 128, 2, Cache::Nhd(16)), special(told(Told::No), 64, 4, Cache::Nhd(16)));
    }
    let told = |told| Kind::Hostile(Lie::KeyOffsets, told);
    fp8(
        special(told(Told::No), 128, 2, Cache::Contiguous),
        special(told(Told::Yes), 64, 4, Cache::Contiguous),
    );
    fp8(
        special(Kind::Misaligned("k"), 64, 2, Cache::Nhd(16)),
        special(Kind::Misaligned("v"), 128, 2, Cache::Nhd(16)),
    );
    let of_type = if dtype == DType::BF16 { 0 } else { 1 };
    invariant.push(invariant[of_type].clone().with_fp8_cache());
    let decode = |batch_invariant| move |spec| Decode { spec, batch_invariant, splits: Splits::Always };
    let mut decodes: Vec<Decode> = specs.into_iter().map(decode(false)).collect();
    decodes.extend(invariant.into_iter().map(decode(true)));
    // So many blocks that one split is enough, for a sequence of several tiles, too.
    let mut full = vec![[1, 2]; 256];
    full[33] = [1, 400];
    full[250] = [2, 140];
    decodes.push(Decode { splits: Splits::Never, ..decode(false)(spec(64, 1, 1, &full, Cache::Nhd(16))) });
    decodes
}
