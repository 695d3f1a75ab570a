//! Prefill attention beside the cases of `check`: what it refuses, and that a query's result depends on nothing but its own
//! sequence.

use llama_kernels::Result;
use llama_kernels::gpu::{Buffer, Device, Stream};
use llama_kernels::ops::{self, Attention, KeysValues};
use llama_kernels::tensor::DType;

use super::device;
use super::operands::{buffer, list, noise};
use super::tensors::{self, packed as read, packed_mut as write, strided};

const BF16: DType = DType::BF16;

#[track_caller]
fn refused(result: Result<()>, text: &str) {
    tensors::refused(result, &format!("attention_prefill: {text}"));
}

/// Two sequences of 20 queries together, with 8 query heads, and pages of 16 tokens.
fn paged<'a>(device: &Device) -> Attention<'a> {
    Attention {
        q: read(device, 0x10_0000, BF16, &[20, 8, 64]),
        keys_values: keys_values(device, &[9, 16, 2, 64]),
        k_scale: 1.0,
        v_scale: 1.0,
        q_indptr: read(device, 0x41_0000, DType::I32, &[3]),
        kv_len: read(device, 0x42_0000, DType::I32, &[2]),
        sequences: 0..2,
        max_q_len: 20,
        max_kv_len: 80,
        softmax_scale: 0.125,
        out: write(device, 0x50_0000, BF16, &[20, 8, 64]),
        lse: Some(write(device, 0x60_0000, DType::F32, &[20, 8])),
        error: Some(write(device, 0x70_0000, DType::U32, &[1])),
    }
}

/// Keys and values of this shape, and a table of five pages a sequence.
fn keys_values<'a>(device: &Device, shape: &[usize]) -> KeysValues<'a> {
    let page_table = read(device, 0x40_0000, DType::I32, &[2, 5]);
    let (k, v) = (read(device, 0x20_0000, BF16, shape), read(device, 0x30_0000, BF16, shape));
    KeysValues::Paged { k, v, page_table }
}

#[test]
fn wrong_scales_of_the_cache_are_named() {
    let device = device::chosen();
    let stream = device.new_stream().unwrap();
    let refuses = |args: Attention<'_>, text: &str| refused(ops::attention_prefill(&stream, &args), text);
    refuses(Attention { k_scale: 2.0, ..paged(&device) }, "k_scale: expected 1 for a cache in bf16, got 2");
    refuses(Attention { v_scale: 0.0, ..paged(&device) }, "v_scale: expected 1 for a cache in bf16, got 0");
    let fp8 = || {
        let codes = |address| read(&device, address, DType::F8E4M3, &[9, 16, 2, 64]);
        let page_table = read(&device, 0x40_0000, DType::I32, &[2, 5]);
        let keys_values = KeysValues::Paged { k: codes(0x20_0000), v: codes(0x30_0000), page_table };
        Attention { keys_values, ..paged(&device) }
    };
    for (scale, given) in [(0.0, "0"), (-1.0, "-1"), (f32::NAN, "NaN"), (f32::INFINITY, "inf")] {
        let text = |arg: &str| format!("{arg}: expected a finite scale above 0, got {given}");
        refuses(Attention { k_scale: scale, ..fp8() }, &text("k_scale"));
        refuses(Attention { v_scale: scale, ..fp8() }, &text("v_scale"));
    }
    let k_scale = 2.0_f32.powi(126);
    refuses(
        Attention { softmax_scale: 8.0, k_scale, ..fp8() },
        "k_scale: expected a product with softmax_scale that is finite and above 0, got \
         85070590000000000000000000000000000000 with a softmax_scale of 8",
    );
}

#[test]
fn wrong_tensors_are_named() {
    let device = device::chosen();
    let stream = device.new_stream().unwrap();
    let paged = || paged(&device);
    let refuses = |args: Attention<'_>, text: &str| refused(ops::attention_prefill(&stream, &args), text);
    let q = |dtype, shape: &[usize]| read(&device, 0x10_0000, dtype, shape);
    refuses(Attention { q: q(DType::F32, &[20, 8, 64]), ..paged() }, "q: expected bf16 or f16, got f32");
    refuses(
        Attention { q: q(BF16, &[20, 512]), ..paged() },
        "q: expected shape [num_tokens, num_q_heads, head_dim], got [20, 512]",
    );
    refuses(Attention { q: q(BF16, &[20, 8, 32]), ..paged() }, "q: expected a head_dim of 64 or 128, got 32");
    for heads in [7, 0, 34] {
        refuses(
            Attention { q: q(BF16, &[20, heads, 64]), ..paged() },
            &format!(
                "q: expected 1 to 16 query heads for each of 2 key/value heads, got {heads} query heads"
            ),
        );
    }
    refuses(
        Attention { q: strided(&device, 0x10_0000, BF16, &[20, 8, 64], &[1024, 100, 1]), ..paged() },
        "q: expected strides that are multiples of 8 elements, got 100",
    );
    let cache = |shape: &[usize]| Attention { keys_values: keys_values(&device, shape), ..paged() };
    refuses(
        cache(&[9, 16, 2, 128]),
        "k: expected shape [num_pages, page_size, num_kv_heads, 64], got [9, 16, 2, 128]",
    );
    refuses(
        cache(&[9, 24, 2, 64]),
        "k: expected a page_size that is a power of two, at most 1073741824, got 24",
    );
    refuses(cache(&[0, 16, 2, 64]), "k: expected at least one page, or a max_kv_len of 0, got no page");
    let v = |dtype, shape: &[usize]| {
        let KeysValues::Paged { k, page_table, .. } = paged().keys_values else { unreachable!() };
        let v = read(&device, 0x30_0000, dtype, shape);
        Attention { keys_values: KeysValues::Paged { k, v, page_table }, ..paged() }
    };
    refuses(v(DType::F16, &[9, 16, 2, 64]), "v: expected bf16, got f16");
    refuses(v(DType::F8E4M3, &[9, 16, 2, 64]), "v: expected bf16, got f8_e4m3");
    refuses(v(BF16, &[8, 16, 2, 64]), "v: expected shape [9, 16, 2, 64], got [8, 16, 2, 64]");
    let KeysValues::Paged { v, page_table, .. } = paged().keys_values else { unreachable!() };
    let fp8 = |address| read(&device, address, DType::F8E4M3, &[9, 16, 2, 64]);
    let far = strided(&device, 0x20_0000, BF16, &[9, 16, 2, 64], &[1 << 35, 128, 64, 1]);
    refuses(
        Attention { keys_values: KeysValues::Paged { k: far, v, page_table }, ..paged() },
        "k: expected strides below 34359738368 elements, got 34359738368",
    );
    refuses(
        Attention { keys_values: KeysValues::Paged { k: fp8(0x20_0000), v, page_table }, ..paged() },
        "v: expected f8_e4m3, got bf16",
    );
    // A head of 64 codes and half a vector.
    let apart = strided(&device, 0x20_0000, DType::F8E4M3, &[9, 16, 2, 64], &[2560, 160, 72, 1]);
    refuses(
        Attention { keys_values: KeysValues::Paged { k: apart, v: fp8(0x30_0000), page_table }, ..paged() },
        "k: expected strides that are multiples of 16 elements, got 72",
    );
    let page_table = read(&device, 0x40_0000, DType::I32, &[3, 5]);
    refuses(
        Attention { keys_values: KeysValues::Paged { k: v, v, page_table }, ..paged() },
        "page_table: expected shape [2, max_pages], got [3, 5]",
    );
    refuses(
        Attention { q_indptr: read(&device, 0x41_0000, DType::I32, &[2]), ..paged() },
        "q_indptr: expected shape [3], got [2]",
    );
    refuses(
        Attention { kv_len: read(&device, 0x42_0000, DType::I64, &[2]), ..paged() },
        "kv_len: expected i32, got i64",
    );
    refuses(
        Attention { kv_len: read(&device, 0x42_0000, DType::I32, &[2, 1]), ..paged() },
        "kv_len: expected shape [batch], got [2, 1]",
    );
    assert_eq!(device.launches(), 0);
}

#[test]
fn wrong_bounds_and_outputs_are_named() {
    let device = device::chosen();
    let stream = device.new_stream().unwrap();
    let paged = || paged(&device);
    let refuses = |args: Attention<'_>, text: &str| refused(ops::attention_prefill(&stream, &args), text);
    refuses(
        Attention { max_kv_len: 81, ..paged() },
        "max_kv_len: expected at most 80 keys, for which the page table has room, got 81",
    );
    refuses(Attention { sequences: 1..3, ..paged() }, "sequences: expected within 0..2, got 1..3");
    let backwards = std::ops::Range { start: 2, end: 1 };
    refuses(Attention { sequences: backwards, ..paged() }, "sequences: expected within 0..2, got 2..1");
    for softmax_scale in [0.0, -1.0, f32::NAN, f32::INFINITY, f32::MAX] {
        let text = format!("softmax_scale: expected a finite number above 0, got {softmax_scale}");
        refuses(Attention { softmax_scale, ..paged() }, &text);
    }
    refuses(
        Attention { max_q_len: 1 << 31, ..paged() },
        "max_q_len: expected fewer than 2^31 queries, got 2147483648",
    );
    refuses(
        Attention { out: write(&device, 0x50_0000, DType::F16, &[20, 8, 64]), ..paged() },
        "out: expected bf16, got f16",
    );
    refuses(
        Attention { out: write(&device, 0x50_0000, BF16, &[20, 4, 64]), ..paged() },
        "out: expected shape [20, 8, 64], got [20, 4, 64]",
    );
    for (name, address) in
        [("q", 0x10_0000_u64), ("k", 0x20_0000), ("v", 0x30_0000), ("page_table", 0x40_0000)]
    {
        let text = format!("out: expected memory apart from {name}, got {address:#x} and {address:#x}");
        refuses(Attention { out: write(&device, address, BF16, &[20, 8, 64]), ..paged() }, &text);
    }
    refuses(
        Attention { lse: Some(write(&device, 0x60_0000, BF16, &[20, 8])), ..paged() },
        "lse: expected f32, got bf16",
    );
    refuses(
        Attention { lse: Some(write(&device, 0x50_0100, DType::F32, &[20, 8])), ..paged() },
        "lse: expected memory apart from out, got 0x500100 and 0x500000",
    );
    refuses(
        Attention { error: Some(write(&device, 0x42_0004, DType::U32, &[1])), ..paged() },
        "error: expected memory apart from kv_len, got 0x420004 and 0x420000",
    );
    refuses(
        Attention { error: Some(write(&device, 0x60_0000, DType::U32, &[1])), ..paged() },
        "error: expected memory apart from lse, got 0x600000 and 0x600000",
    );
    let contiguous = |rows: usize, offsets: usize| {
        let (k, v) = (0x20_0000, 0x30_0000);
        let rows = |address| read(&device, address, BF16, &[rows, 2, 64]);
        let kv_indptr = read(&device, 0x40_0000, DType::I32, &[offsets]);
        Attention { keys_values: KeysValues::Contiguous { k: rows(k), v: rows(v), kv_indptr }, ..paged() }
    };
    refuses(contiguous(79, 3), "max_kv_len: expected at most the 79 rows of k, got 80");
    refuses(contiguous(100, 2), "kv_indptr: expected shape [3], got [2]");
    assert_eq!(device.launches(), 0);
}

const KV_HEADS: usize = 2;
const HEAD_DIM: usize = 64;
const PAGE: usize = 16;
const MAX_PAGES: usize = 20;

/// Sequences over one paged cache on a device; sequence `s` has the pages from `s * MAX_PAGES` on.
struct Problem {
    stream: Stream,
    q: Buffer,
    k: Buffer,
    v: Buffer,
    page_table: Buffer,
    group: usize,
}

impl Problem {
    fn new(num_tokens: usize, num_seqs: usize, group: usize) -> Self {
        let device = device::chosen();
        let cache = num_seqs * MAX_PAGES * PAGE * KV_HEADS * HEAD_DIM;
        Problem {
            q: buffer(&device, &noise(1, num_tokens * KV_HEADS * group * HEAD_DIM)),
            k: buffer(&device, &noise(2, cache)),
            v: buffer(&device, &noise(3, cache)),
            page_table: list(&device, &(0..num_seqs * MAX_PAGES).collect::<Vec<_>>()),
            group,
            stream: device.new_stream().unwrap(),
        }
    }

    fn row_bytes(&self) -> usize {
        KV_HEADS * self.group * HEAD_DIM * 2
    }

    /// Sequences from `first` on, of these numbers of queries and keys, whose queries begin with token `token`: their outputs,
    /// and each with its lse.
    fn run(&self, [first, token]: [usize; 2], sequences: &[[usize; 2]]) -> Vec<u8> {
        let device = self.stream.device();
        let heads = KV_HEADS * self.group;
        let mut indptr = vec![0];
        for [q_len, _] in sequences {
            indptr.push(indptr[indptr.len() - 1] + q_len);
        }
        let num_tokens = indptr[sequences.len()];
        let (q_indptr, kv_len) =
            (list(device, &indptr), sequences.iter().map(|&[_, len]| len).collect::<Vec<_>>());
        let max_kv_len = kv_len.iter().copied().max().unwrap();
        let kv_len = list(device, &kv_len);
        let out = device.allocate(num_tokens * self.row_bytes()).unwrap();
        let lse = device.allocate(num_tokens * heads * 4).unwrap();
        let pages = self.k.len() / (PAGE * KV_HEADS * HEAD_DIM * 2);
        let cache =
            |buffer: &Buffer| read(device, buffer.address(), BF16, &[pages, PAGE, KV_HEADS, HEAD_DIM]);
        let table = self.page_table.address() + (first * MAX_PAGES * 4) as u64;
        let args = Attention {
            q: read(
                device,
                self.q.address() + (token * self.row_bytes()) as u64,
                BF16,
                &[num_tokens, heads, HEAD_DIM],
            ),
            keys_values: KeysValues::Paged {
                k: cache(&self.k),
                v: cache(&self.v),
                page_table: read(device, table, DType::I32, &[sequences.len(), MAX_PAGES]),
            },
            k_scale: 1.0,
            v_scale: 1.0,
            q_indptr: read(device, q_indptr.address(), DType::I32, &[indptr.len()]),
            kv_len: read(device, kv_len.address(), DType::I32, &[sequences.len()]),
            sequences: 0..sequences.len(),
            max_q_len: num_tokens,
            max_kv_len,
            softmax_scale: 0.5,
            out: write(device, out.address(), BF16, &[num_tokens, heads, HEAD_DIM]),
            lse: Some(write(device, lse.address(), DType::F32, &[num_tokens, heads])),
            error: None,
        };
        ops::attention_prefill(&self.stream, &args).unwrap();
        let mut bytes = [vec![0; out.len()], vec![0; lse.len()]];
        out.read(0, &mut bytes[0]).unwrap();
        lse.read(0, &mut bytes[1]).unwrap();
        let rows = bytes[0].chunks(self.row_bytes()).zip(bytes[1].chunks(heads * 4));
        rows.flat_map(|(out, lse)| [out, lse].concat()).collect()
    }
}

/// The bits of a sequence are the same alone, in a batch, and where it comes in chunks.
#[test]
#[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
fn a_query_depends_on_its_sequence_alone() {
    let sequences = [[70, 300], [1, 65], [33, 33], [40, 129]];
    let num_tokens = sequences.iter().map(|[q_len, _]| q_len).sum();
    for group in [1, 3] {
        let problem = Problem::new(num_tokens, sequences.len(), group);
        let row_bytes = problem.row_bytes() + KV_HEADS * group * 4;
        let batch = problem.run([0, 0], &sequences);
        let mut token = 0;
        for (i, &[q_len, kv_len]) in sequences.iter().enumerate() {
            let rows = &batch[token * row_bytes..(token + q_len) * row_bytes];
            assert!(problem.run([i, token], &[[q_len, kv_len]]) == rows, "{q_len} {kv_len}");
            let chunk = q_len.div_ceil(2);
            let first = problem.run([i, token], &[[chunk, kv_len - (q_len - chunk)]]);
            assert!(first == rows[..chunk * row_bytes], "{q_len} {kv_len}");
            if chunk < q_len {
                let second = problem.run([i, token + chunk], &[[q_len - chunk, kv_len]]);
                assert!(second == rows[chunk * row_bytes..], "{q_len} {kv_len}");
            }
            token += q_len;
        }
    }
}
