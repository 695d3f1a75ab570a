//! Decode attention beside the cases of `check`: what it refuses, that a result does not depend on its batch, and that a plan
//! serves other lengths.

use half::bf16;
use llama_kernels::cost::{self, AttentionCost};
use llama_kernels::gpu::ptx_sim::Counters;
use llama_kernels::gpu::{Buffer, Device, Stream, TensorMut};
use llama_kernels::ops::{self, Attention, AttentionCombine, Decode, KeysValues};
use llama_kernels::plan::{self, AttentionShape};
use llama_kernels::reference::compare::{self, Matrix};
use llama_kernels::tensor::DType;

use super::device;
use super::operands::{buffer, list, noise};
use super::tensors::{packed as read, packed_mut as write, refused};

const BF16: DType = DType::BF16;
const HEAD_DIM: usize = 64;
const KV_HEADS: usize = 2;
const PAGE: usize = 16;

/// Three sequences with 4 queries of 8 heads and up to 320 keys.
fn attention<'a>(device: &Device) -> Attention<'a> {
    Attention {
        q: read(device, 0x10_0000, BF16, &[12, 8, HEAD_DIM]),
        keys_values: KeysValues::Paged {
            k: read(device, 0x20_0000, BF16, &[60, PAGE, KV_HEADS, HEAD_DIM]),
            v: read(device, 0x30_0000, BF16, &[60, PAGE, KV_HEADS, HEAD_DIM]),
            page_table: read(device, 0x40_0000, DType::I32, &[3, 20]),
        },
        k_scale: 1.0,
        v_scale: 1.0,
        q_indptr: read(device, 0x41_0000, DType::I32, &[4]),
        kv_len: read(device, 0x42_0000, DType::I32, &[3]),
        sequences: 0..3,
        max_q_len: 4,
        max_kv_len: 320,
        softmax_scale: 0.125,
        out: write(device, 0x50_0000, BF16, &[12, 8, HEAD_DIM]),
        lse: Some(write(device, 0x60_0000, DType::F32, &[12, 8])),
        error: None,
    }
}

#[test]
fn wrong_arguments_are_named() {
    let device = device::chosen();
    let stream = device.new_stream().unwrap();
    let attention = || attention(&device);
    let workspace = |address, bytes| write(&device, address, DType::U8, &[bytes]);
    let refuses = |args: Attention<'_>, workspace: TensorMut<'_>, text: &str| {
        let decode = Decode { workspace, batch_invariant: false };
        refused(ops::attention_decode(&stream, &args, &decode), text);
    };
    let room = || workspace(0x70_0000, 1 << 20);
    let pages = |keys: usize| Attention { max_kv_len: keys, ..attention() };

    // 3 splits of 12 rows of 8 heads, 64 values and an lse each; 3 sequences' queries.
    let needed = 3 * 12 * 8 * 65 * 4 + 3 * 8;
    refuses(
        attention(),
        workspace(0x70_0000, needed - 1),
        &format!("attention_decode: workspace: expected at least {needed} bytes, got {}", needed - 1),
    );
    refuses(
        attention(),
        workspace(0x70_0080, needed),
        "attention_decode: workspace: expected an address that is a multiple of 256 bytes, got 0x700080",
    );
    refuses(
        attention(),
        workspace(0x50_0000 - 0x100, needed),
        "attention_decode: workspace: expected memory apart from out, got 0x4fff00 and 0x500000",
    );
    refuses(
        attention(),
        workspace(0x20_0100, needed),
        "attention_decode: workspace: expected memory apart from k, got 0x200100 and 0x200000",
    );
    refuses(
        attention(),
        write(&device, 0x70_0000, DType::F32, &[needed]),
        "attention_decode: workspace: expected u8, got f32",
    );
    refuses(
        Attention { max_q_len: 9, ..attention() },
        room(),
        "attention_decode: max_q_len: expected at most 8 queries a sequence, got 9",
    );
    refuses(
        pages(321),
        room(),
        "attention_decode: max_kv_len: expected at most 320 keys, for which the page table has room, got 321",
    );
    refuses(
        Attention { sequences: 1..4, ..attention() },
        room(),
        "attention_decode: sequences: expected within 0..3, got 1..4",
    );
    refuses(
        Attention { q: read(&device, 0x10_0000, BF16, &[12, 7, HEAD_DIM]), ..attention() },
        room(),
        "attention_decode: q: expected 1 to 16 query heads for each of 2 key/value heads, got 7 query heads",
    );
    refuses(
        Attention { out: write(&device, 0x10_0000, BF16, &[12, 8, HEAD_DIM]), ..attention() },
        room(),
        "attention_decode: out: expected memory apart from q, got 0x100000 and 0x100000",
    );
    refuses(
        Attention { softmax_scale: 0.0, ..attention() },
        room(),
        "attention_decode: softmax_scale: expected a finite number above 0, got 0",
    );
    assert_eq!(device.launches(), 0);
}

#[test]
fn wrong_arguments_of_combine_are_named() {
    let device = device::chosen();
    let stream = device.new_stream().unwrap();
    const F32: DType = DType::F32;
    let combine = || AttentionCombine {
        partial_out: read(&device, 0x10_0000, F32, &[3, 5, 8, 64]),
        partial_lse: read(&device, 0x20_0000, F32, &[3, 5, 8]),
        out: write(&device, 0x30_0000, BF16, &[5, 8, 64]),
        lse: Some(write(&device, 0x40_0000, F32, &[5, 8])),
    };
    let refuses =
        |args: AttentionCombine<'_>, text: &str| refused(ops::attention_combine(&stream, &args), text);
    refuses(
        AttentionCombine { partial_out: read(&device, 0x10_0000, BF16, &[3, 5, 8, 64]), ..combine() },
        "attention_combine: partial_out: expected f32, got bf16",
    );
    refuses(
        AttentionCombine { partial_out: read(&device, 0x10_0000, F32, &[5, 8, 64]), ..combine() },
        "attention_combine: partial_out: expected shape [num_splits, num_tokens, num_q_heads, head_dim], got \
         [5, 8, 64]",
    );
    refuses(
        AttentionCombine { partial_lse: read(&device, 0x20_0000, F32, &[3, 5, 7]), ..combine() },
        "attention_combine: partial_lse: expected shape [3, 5, 8], got [3, 5, 7]",
    );
    refuses(
        AttentionCombine { out: write(&device, 0x30_0000, F32, &[5, 8, 64]), ..combine() },
        "attention_combine: out: expected bf16 or f16, got f32",
    );
    refuses(
        AttentionCombine { out: write(&device, 0x30_0000, BF16, &[5, 8, 32]), ..combine() },
        "attention_combine: out: expected shape [5, 8, 64], got [5, 8, 32]",
    );
    refuses(
        AttentionCombine { out: write(&device, 0x20_0000, BF16, &[5, 8, 64]), ..combine() },
        "attention_combine: out: expected memory apart from partial_lse, got 0x200000 and 0x200000",
    );
    refuses(
        AttentionCombine { lse: Some(write(&device, 0x30_0000, F32, &[5, 8])), ..combine() },
        "attention_combine: lse: expected memory apart from out, got 0x300000 and 0x300000",
    );
    refuses(
        AttentionCombine {
            partial_out: read(&device, 0x10_0000, F32, &[0, 5, 8, 64]),
            partial_lse: read(&device, 0x20_0000, F32, &[0, 5, 8]),
            ..combine()
        },
        "attention_combine: partial_out: expected 1 to 2^31 - 1 parts, got 0",
    );
    refuses(
        AttentionCombine {
            partial_out: read(&device, 0x10_0000, F32, &[3, 5, 8, 520]),
            out: write(&device, 0x30_0000, BF16, &[5, 8, 520]),
            ..combine()
        },
        "attention_combine: head_dim: expected a multiple of 8, at most 512, got 520",
    );
    assert_eq!(device.launches(), 0);
}

/// Sequences over one paged cache on a device; sequence `s` has the pages from `s * max_pages` on.
struct Problem {
    stream: Stream,
    q: Buffer,
    k: Buffer,
    v: Buffer,
    page_table: Buffer,
    max_pages: usize,
    group: usize,
}

/// What came of a launch: out and lse.
#[derive(Clone, Debug, PartialEq)]
struct Results {
    out: Vec<u8>,
    lse: Vec<u8>,
}

impl Problem {
    fn new(num_tokens: usize, num_seqs: usize, max_pages: usize, group: usize) -> Self {
        let device = device::chosen();
        let cache = num_seqs * max_pages * PAGE * KV_HEADS * HEAD_DIM;
        Problem {
            q: buffer(&device, &noise(1, num_tokens * KV_HEADS * group * HEAD_DIM)),
            k: buffer(&device, &noise(2, cache)),
            v: buffer(&device, &noise(3, cache)),
            page_table: list(&device, &(0..num_seqs * max_pages).collect::<Vec<_>>()),
            max_pages,
            group,
            stream: device.new_stream().unwrap(),
        }
    }

    fn shape(
        &self,
        [max_q_len, max_kv_len]: [usize; 2],
        num_tokens: usize,
        num_seqs: usize,
    ) -> AttentionShape {
        let (group, num_kv_heads) = (self.group, KV_HEADS);
        AttentionShape {
            dtype: BF16,
            cache_dtype: BF16,
            head_dim: HEAD_DIM,
            group,
            num_kv_heads,
            num_tokens,
            num_seqs,
            max_q_len,
            max_kv_len,
        }
    }

    /// Sequences from `first` on, of these numbers of queries and keys, which come after `tokens` other tokens; the host says
    /// that none has more than `bounds`.
    fn run(
        &self,
        [first, tokens]: [usize; 2],
        sequences: &[[usize; 2]],
        bounds: [usize; 2],
        batch_invariant: bool,
    ) -> Results {
        let device = self.stream.device();
        let heads = KV_HEADS * self.group;
        let num_tokens: usize = sequences.iter().map(|[q_len, _]| q_len).sum();
        let mut indptr = vec![0];
        indptr.extend(sequences.iter().scan(0, |end, [q_len, _]| {
            *end += q_len;
            Some(*end)
        }));
        let q_indptr = list(device, &indptr);
        let kv_len = list(device, &sequences.iter().map(|[_, kv_len]| *kv_len).collect::<Vec<_>>());
        let out = buffer(device, &vec![0xFF; num_tokens * heads * HEAD_DIM * 2]);
        let lse = buffer(device, &vec![0xFF; num_tokens * heads * 4]);
        let shape = self.shape(bounds, num_tokens, sequences.len());
        let limits = device.properties().limits();
        let plan = plan::attention_decode(&shape, batch_invariant, limits).unwrap().unwrap();
        let workspace = device.allocate(plan.workspace_bytes).unwrap();

        let row_bytes = (heads * HEAD_DIM * 2) as u64;
        let pages = self.k.len() / (PAGE * KV_HEADS * HEAD_DIM * 2);
        let cache =
            |buffer: &Buffer| read(device, buffer.address(), BF16, &[pages, PAGE, KV_HEADS, HEAD_DIM]);
        let table = self.page_table.address() + (first * self.max_pages * 4) as u64;
        let args = Attention {
            q: read(
                device,
                self.q.address() + tokens as u64 * row_bytes,
                BF16,
                &[num_tokens, heads, HEAD_DIM],
            ),
            keys_values: KeysValues::Paged {
                k: cache(&self.k),
                v: cache(&self.v),
                page_table: read(device, table, DType::I32, &[sequences.len(), self.max_pages]),
            },
            k_scale: 1.0,
            v_scale: 1.0,
            q_indptr: read(device, q_indptr.address(), DType::I32, &[indptr.len()]),
            kv_len: read(device, kv_len.address(), DType::I32, &[sequences.len()]),
            sequences: 0..sequences.len(),
            max_q_len: bounds[0],
            max_kv_len: bounds[1],
            softmax_scale: 0.125,
            out: write(device, out.address(), BF16, &[num_tokens, heads, HEAD_DIM]),
            lse: Some(write(device, lse.address(), DType::F32, &[num_tokens, heads])),
            error: None,
        };
        let workspace = write(device, workspace.address(), DType::U8, &[plan.workspace_bytes]);
        ops::attention_decode(&self.stream, &args, &Decode { workspace, batch_invariant }).unwrap();
        let bytes = |buffer: &Buffer| {
            // Waits for the launches.
            let mut bytes = vec![0; buffer.len()];
            buffer.read(0, &mut bytes).unwrap();
            bytes
        };
        Results { out: bytes(&out), lse: bytes(&lse) }
    }
}

/// The bits of a sequence do not depend on the batch, its bounds, and so the number of splits and of rows.
#[test]
#[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
fn batch_invariant_results_do_not_depend_on_the_batch() {
    let sequences = [[1, 600], [5, 70], [1, 1], [2, 1040], [8, 513], [1, 512]];
    let num_tokens = sequences.iter().map(|[q_len, _]| q_len).sum();
    for group in [4, 3] {
        let problem = Problem::new(num_tokens, sequences.len(), 65, group);
        let batch = problem.run([0, 0], &sequences, [8, 1040], true);
        let (out_bytes, lse_bytes) = (KV_HEADS * group * HEAD_DIM * 2, KV_HEADS * group * 4);
        let mut tokens = 0;
        for (i, sequence) in sequences.iter().enumerate() {
            let alone = problem.run([i, tokens], &[*sequence], *sequence, true);
            let end = tokens + sequence[0];
            assert!(alone.out == batch.out[tokens * out_bytes..end * out_bytes], "{sequence:?}");
            assert!(alone.lse == batch.lse[tokens * lse_bytes..end * lse_bytes], "{sequence:?}");
            tokens = end;
        }
    }
}

/// A grid that was planned for long sequences, as in a captured graph, serves short ones.
#[test]
#[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
fn a_grid_for_long_sequences_serves_all_lengths() {
    let floats = |bytes: &[u8]| -> Vec<f64> {
        bytes.chunks(2).map(|pair| bf16::from_le_bytes([pair[0], pair[1]]).to_f64()).collect()
    };
    let problem = Problem::new(6, 2, 80, 4);
    for keys in [1, 3, 40, 129, 500, 1280] {
        let sequences = [[4, keys.max(4)], [1, keys]];
        let fresh = problem.run([0, 0], &sequences, [4, keys.max(4)], false);
        let replayed = problem.run([0, 0], &sequences, [4, 1280], false);
        let (fresh, replayed) = (floats(&fresh.out), floats(&replayed.out));
        let width = KV_HEADS * 4 * HEAD_DIM;
        let matrix = |values| Matrix::new(values, width);
        compare::elementwise(matrix(&replayed), matrix(&fresh), matrix(&fresh), BF16)
            .unwrap_or_else(|worst| panic!("{keys} keys: {worst}"));
    }
}

/// Each byte that the operation needs is touched, and no other; what is asked of the caches is what the tiles make of it; and
/// shared memory has no bank conflicts.
#[test]
#[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
fn keys_are_read_once() {
    for (group, queries, batch_invariant) in
        [(4, 1, false), (4, 4, false), (4, 4, true), (16, 1, true), (16, 4, false)]
    {
        let sequences = [[queries, 1536], [queries, 1024]];
        let problem = Problem::new(2 * queries, 2, 96, group);
        if !problem.stream.device().is_simulated() {
            return;
        }
        let bounds = [queries, 1536];
        let shape = problem.shape(bounds, 2 * queries, 2);
        let limits = problem.stream.device().properties().limits();
        let plan = plan::attention_decode(&shape, batch_invariant, limits).unwrap().unwrap();
        problem.stream.reports().unwrap();
        problem.run([0, 0], &sequences, bounds, batch_invariant);
        let reports = problem.stream.reports().unwrap().unwrap();
        assert_eq!(reports.len(), 2);
        let cost = AttentionCost {
            sequences: &sequences,
            num_kv_heads: KV_HEADS,
            group,
            head_dim: HEAD_DIM,
            cache_bytes: 2,
            lse: true,
        };
        let sum = |of: fn(&Counters) -> u64| reports.iter().map(|report| of(&report.counters)).sum::<u64>();
        let touched = sum(|c| c.global_read.unique_bytes + c.global_written.unique_bytes);
        let lists = cost::attention_decode_lists(&cost, PAGE);
        let parts = cost::attention_decode_split(&plan, &cost, batch_invariant);
        assert_eq!(touched, cost::attention(&cost).bytes + lists + parts);
        let issued = sum(|c| c.global_read.issued_bytes + c.global_written.issued_bytes);
        let ratio = issued as f64 / cost::attention_decode_tile(&plan, &cost, batch_invariant) as f64;
        assert!((0.95..=1.05).contains(&ratio), "{group} {queries} {batch_invariant}: {ratio}");
        assert_eq!(sum(|c| c.shared_read.conflicts + c.shared_written.conflicts), 0);
        // Padding of rows to the tile is all that is multiplied beside what is needed.
        let rows = plan.launch.grid[2] as usize * plan.tile.unwrap().m as usize;
        let keys: usize = sequences.iter().map(|[_, keys]| keys).sum();
        assert_eq!(sum(|c| c.tensor_flops.values().sum()), (4 * HEAD_DIM * KV_HEADS * rows * keys) as u64);
    }
}
