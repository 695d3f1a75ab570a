//! What kernels move and execute, counted by the simulated GPU, against what operations cost and tiles ask for: the part
//! of a kernel's speed that can be asserted without a card.
//!
//! Bytes that a launch touches are those of [`cost`](llama_kernels::cost), within 5%; bytes that it issues (32-byte sectors,
//! anew for each request) are those of its tiles, within 5%. Tensor cores do no less than the operation needs and no more
//! than its tiles are padded to. No shared-memory access has bank conflicts, but those that a case names with a reason.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use llama_kernels::bench::{
    self, AddRmsNorm, AddRmsNormFp8, Attention, AttentionCombine, AttentionPath, CeilingCopy, CeilingEmpty,
    CeilingMma, CeilingRead, Choice, Embed, GatherRows, Matmul, MatmulPath, Memory, PermuteColumns,
    QuantizeFp8, RmsNorm, RmsNormFp8, RopeAppendKv, Sample, SiluAndMul, Work,
};
use llama_kernels::device::DeviceChoice;
use llama_kernels::gpu::Device;
use llama_kernels::gpu::ptx_sim::{BankConflicts, Report, SourceLocation};
use llama_kernels::ops::Epilogue;
use llama_kernels::params::{
    ATTENTION_DECODE_FEW_ROWS, ATTENTION_DECODE_KEYS, ATTENTION_DECODE_MANY_ROWS, ATTENTION_PREFILL_KEYS,
    ATTENTION_PREFILL_KEYS_HD64, ATTENTION_PREFILL_ROWS, MATMUL_STREAM_M16_TOKENS,
};
use llama_kernels::plan::{Fp8Scales, MatmulShape, Operands, Plan};
use llama_kernels::tensor::DType;

/// By how much bytes may differ from what they should be.
const TOLERANCE: f64 = 0.05;

/// Bank conflicts that are meant.
struct Excuse {
    /// A part of the line of CUDA that has them, or that calls what has them.
    line: &'static str,
    /// How many there may be of each request, at most.
    per_request: u64,
    /// Why they are there.
    reason: &'static str,
}

/// How often warps of the first launch come to barriers, at most.
#[derive(Clone, Copy)]
enum Barriers {
    /// Each warp so often.
    PerWarp(u64),
    /// Twice for each tile of so many keys of a block, and four times for each block.
    PerKeys(u64),
}

/// An operation, and what is to be counted of it.
struct Case {
    work: Box<dyn Work>,
    dtype: DType,
    /// By how much the bytes that it touches may differ from its cost.
    tolerance: f64,
    barriers: Barriers,
    /// Operations that the tiles come to, padding included; 0 for kernels without tensor cores.
    tile_flops: u64,
    excuses: &'static [Excuse],
}

impl Case {
    /// Without tensor cores and barriers, and with just the bytes of its cost.
    fn new(dtype: DType, work: impl Work + 'static) -> Self {
        Case {
            work: Box::new(work),
            dtype,
            tolerance: 0.0,
            barriers: Barriers::PerWarp(0),
            tile_flops: 0,
            excuses: &[],
        }
    }

    /// With rows of x padded to so many.
    fn matmul(dtype: DType, shape: MatmulShape, path: MatmulPath, rows: usize) -> Self {
        let tile_flops = 2 * (rows * shape.n * shape.k) as u64;
        Case { tile_flops, ..Case::new(dtype, Matmul { shape, path }) }
    }

    fn barriers(self, barriers: u64) -> Self {
        Case { barriers: Barriers::PerWarp(barriers), ..self }
    }
}

const PERMUTATION_EXCUSES: &[Excuse] = &[Excuse {
    line: "ld_shared_u16(smem_row + 2 * column)",
    per_request: 4,
    reason: "a random permutation has three or four of 32 elements in one bank",
}];

const SAMPLE_EXCUSES: &[Excuse] = &[
    Excuse {
        line: "atomicAdd(&shared.counts[bin], 1u)",
        per_request: 8,
        reason: "tokens as likely as each other fall into one bin of the histogram",
    },
    Excuse { line: "shared.counts[bin]", per_request: 1, reason: "two bins a thread, once a row" },
    Excuse {
        line: "shared.list[threadIdx.x]",
        per_request: 3,
        reason: "nvcc splits the load of a token in reach, once a row",
    },
];

/// A prompt of aligned sizes and a decoded token of each operation.
fn cases() -> Vec<Case> {
    const BF16: DType = DType::BF16;
    const F16: DType = DType::F16;
    let mut cases = Vec::new();
    for (dtype, tokens, hidden) in [(BF16, 1, 4096), (BF16, 5, 2048), (F16, 3, 8192), (BF16, 12, 256)] {
        // Rows of one warp need none; wider ones exchange their sums once.
        let barriers = u64::from(hidden > 1024);
        cases.push(Case::new(dtype, Embed { tokens, hidden, vocab_size: 64 }));
        for permuted in [false, true] {
            // And wait for each other's elements once, a single warp too.
            let barriers = barriers + u64::from(permuted);
            let excuses = if permuted { PERMUTATION_EXCUSES } else { &[] };
            let counted = |case: Case| Case { excuses, ..case.barriers(barriers) };
            cases.push(counted(Case::new(dtype, RmsNorm { tokens, hidden, permuted })));
            cases.push(counted(Case::new(dtype, AddRmsNorm { tokens, hidden, permuted })));
        }
        let case = Case::new(dtype, PermuteColumns { tokens, width: hidden }).barriers(1);
        cases.push(Case { excuses: PERMUTATION_EXCUSES, ..case });
        // A scale a token is the maximum of all warps; the columns of a group lie in one.
        let quantize = |groups| QuantizeFp8 { tokens, width: hidden, groups };
        cases.push(Case::new(dtype, quantize(1)).barriers(barriers));
        cases.push(Case::new(dtype, quantize(hidden / 128)));
        for groups in [1, hidden / 128] {
            // The sum, and the maximum where it is that of the row.
            let barriers = if groups == 1 { 2 * barriers } else { barriers };
            cases.push(Case::new(dtype, RmsNormFp8 { tokens, hidden, groups }).barriers(barriers));
            cases.push(Case::new(dtype, AddRmsNormFp8 { tokens, hidden, groups }).barriers(barriers));
        }
        cases.push(Case::new(dtype, SiluAndMul { tokens, intermediate: hidden }));
        cases.push(Case::new(dtype, GatherRows { rows: tokens, tokens: 64, hidden }));
    }
    for (dtype, tokens, num_q_heads, num_kv_heads, head_dim) in
        [(BF16, 1, 32, 8, 128), (F16, 40, 32, 8, 128), (BF16, 3, 64, 8, 128), (BF16, 32, 32, 8, 64)]
    {
        for fp8_cache in [false, true] {
            let num_positions = 64;
            let rope = RopeAppendKv { tokens, num_q_heads, num_kv_heads, head_dim, num_positions, fp8_cache };
            cases.push(Case::new(dtype, rope));
        }
    }
    let product = |m, n, k| MatmulShape { m, n, k, ..MatmulShape::default() };
    let codes = |group, zeros| Operands::Int4 { group, zeros };
    let fp8 = |scales| Operands::Fp8 { x: scales, weight: scales, fast_accumulation: false };
    for operands in [
        Operands::Native,
        codes(128, false),
        codes(32, true),
        codes(1024, true),
        fp8(Fp8Scales::Row),
        fp8(Fp8Scales::Block),
    ] {
        cases.extend(products(operands));
    }
    // A decoded token, where the tokens of the tile are padding; and what follows the sum.
    let gate_up = MatmulShape { epilogue: Epilogue::SwiGlu, ..product(64, 1024, 512) };
    let lm_head = MatmulShape { out_f32: true, bias: true, ..product(1, 1024, 1024) };
    for (dtype, shape, padded, barriers) in
        [(BF16, product(1, 1024, 1024), 8, 5), (F16, lm_head, 8, 5), (BF16, gate_up, 64, 512 / 64 + 2)]
    {
        cases.push(Case::matmul(dtype, shape, MatmulPath::Planned, padded).barriers(barriers));
    }
    // Codes of the next product: 64 columns a stage; one barrier before the first, two to quantise.
    let quantized = MatmulShape { operands: fp8(Fp8Scales::Block), quantized: true, ..gate_up };
    cases.push(Case::matmul(BF16, quantized, MatmulPath::Planned, 64).barriers(512 / 64 + 3));
    let attention = |path, batch, q_len, kv_len, [num_q_heads, num_kv_heads, head_dim]: [usize; 3]| {
        Attention { path, batch, q_len, kv_len, num_q_heads, num_kv_heads, head_dim, fp8_cache: false }
    };
    let fp8_cache = |work: Attention| Attention { fp8_cache: true, ..work };
    for (dtype, work) in [
        (BF16, attention(AttentionPath::Prefill, 1, 512, 512, [4, 1, 128])),
        (BF16, attention(AttentionPath::Prefill, 2, 256, 1024, [4, 1, 64])),
        (F16, attention(AttentionPath::Prefill, 1, 128, 640, [2, 2, 128])),
        (BF16, attention(AttentionPath::Decode, 1, 1, 1024, [8, 2, 128])),
        (BF16, attention(AttentionPath::Decode, 64, 1, 256, [8, 2, 64])),
        (BF16, attention(AttentionPath::Decode, 2, 8, 512, [8, 1, 128])),
        (F16, attention(AttentionPath::DecodeInvariant, 1, 1, 1024, [8, 2, 128])),
        (BF16, fp8_cache(attention(AttentionPath::Prefill, 1, 256, 512, [4, 1, 128]))),
        (F16, fp8_cache(attention(AttentionPath::Prefill, 1, 128, 1024, [2, 1, 64]))),
        (BF16, fp8_cache(attention(AttentionPath::Decode, 1, 1, 1024, [8, 2, 128]))),
        (F16, fp8_cache(attention(AttentionPath::Decode, 64, 1, 512, [8, 2, 64]))),
        (BF16, fp8_cache(attention(AttentionPath::Decode, 2, 8, 512, [8, 1, 128]))),
        (F16, fp8_cache(attention(AttentionPath::Decode, 2, 8, 512, [8, 1, 64]))),
    ] {
        let (tile_flops, barriers) = attention_tiles(&work);
        let case = Case::new(dtype, work);
        cases.push(Case { tile_flops, tolerance: TOLERANCE, barriers, ..case });
    }
    for (dtype, splits, tokens, num_q_heads, head_dim) in
        [(BF16, 33, 1, 32, 128), (F16, 4, 8, 32, 128), (BF16, 2, 8, 32, 64)]
    {
        let work = AttentionCombine { splits, tokens, num_q_heads, head_dim };
        cases.push(Case::new(dtype, work).barriers(2));
    }
    for (choice, barriers) in [(Choice::Greedy, 2), (Choice::Draw, 6), (Choice::TopKTopP, 28)] {
        let case = Case::new(F16, Sample { rows: 2, vocab_size: 128_256, choice }).barriers(barriers);
        cases.push(Case { tolerance: TOLERANCE, excuses: SAMPLE_EXCUSES, ..case });
    }
    // A megabyte and a part of a tile; a block a tile, and blocks that stay.
    let vectors = (1 << 16) + 300;
    for most_blocks in [usize::MAX, 12] {
        // A block's words come together once.
        cases.push(Case::new(BF16, CeilingRead { vectors, most_blocks }).barriers(1));
        cases.push(Case::new(BF16, CeilingCopy { vectors, most_blocks }));
    }
    for dtype in [BF16, F16] {
        let work = CeilingMma { blocks: 2, rounds: 12 };
        // Nothing else, and no padding.
        cases.push(Case { tile_flops: work.cost().flops, ..Case::new(dtype, work) });
    }
    cases.push(Case::new(BF16, CeilingEmpty));
    cases
}

/// Every tile of the products with these operands, two in each direction where they are not for few tokens.
fn products(operands: Operands) -> Vec<Case> {
    let product = |m, n, k| MatmulShape { m, n, k, operands, ..MatmulShape::default() };
    let limits = Device::open(DeviceChoice::SIM).unwrap().properties().limits();
    let tiles = bench::matmul_tiles(DType::BF16, &product(1, 16, 1024), &limits).unwrap();
    let cases = tiles.into_iter().map(|tile| {
        let [m, n, k] = tile.map(|size| size as usize);
        let streams = m <= MATMUL_STREAM_M16_TOKENS as usize;
        let rows = if streams { m } else { 2 * m };
        let shape = product(rows, 2 * n, 1024);
        // One a stage of the pipeline, one before its first, two where warps add up. Of a stream one of a warp alone for
        // each unit, of which there are up to four for a warp, and five where they add up.
        let barriers = if streams { shape.k / k / 4 + 5 } else { shape.k / k + 3 };
        Case::matmul(DType::BF16, shape, MatmulPath::Tile(tile), rows).barriers(barriers as u64)
    });
    cases.collect()
}

/// What the tiles of an attention come to: their rows, and whole tiles of the keys that their last row sees.
fn attention_tiles(work: &Attention) -> (u64, Barriers) {
    let Attention { path, batch, q_len, kv_len, num_q_heads, num_kv_heads, head_dim, .. } = *work;
    let group = num_q_heads / num_kv_heads;
    let few = path == AttentionPath::DecodeInvariant || q_len * group <= ATTENTION_DECODE_FEW_ROWS as usize;
    let (rows, keys) = match path {
        AttentionPath::Prefill if head_dim == 64 => (ATTENTION_PREFILL_ROWS, ATTENTION_PREFILL_KEYS_HD64),
        AttentionPath::Prefill => (ATTENTION_PREFILL_ROWS, ATTENTION_PREFILL_KEYS),
        _ if few => (ATTENTION_DECODE_FEW_ROWS, ATTENTION_DECODE_KEYS),
        _ => (ATTENTION_DECODE_MANY_ROWS, ATTENTION_DECODE_KEYS),
    };
    let (rows, keys) = (rows as usize, keys as usize);
    let tiles = (0..q_len * group).step_by(rows).map(|first| {
        let last_query = ((first + rows).min(q_len * group) - 1) / group;
        (kv_len - q_len + last_query + 1).div_ceil(keys)
    });
    let tiles = num_kv_heads * batch * tiles.sum::<usize>();
    ((4 * head_dim * rows * keys * tiles) as u64, Barriers::PerKeys(tiles as u64))
}

/// What one case comes to, and what is wrong with it.
struct Verdict {
    line: String,
    faults: Vec<String>,
}

fn count(case: &Case, device: &Device, memory: &mut Memory) -> Verdict {
    let work = case.work.as_ref();
    let name = format!("{} {} {}", work.op(), case.dtype, bench::sizes(work));
    let stream = device.new_stream().unwrap();
    let plans = work.plans(case.dtype, &device.properties().limits()).unwrap();
    let mut call = work.prepare(case.dtype, memory).unwrap();
    call(&stream).unwrap();
    let reports = stream.reports().unwrap_or_else(|error| panic!("{name}: {error}")).unwrap();

    let mut faults = Vec::new();
    let launched: Vec<_> = reports.iter().map(|report| report.kernel.as_str()).collect();
    let planned: Vec<_> = plans.iter().map(|plan| plan.launch.kernel.name()).collect();
    if launched != planned {
        faults.push(format!("launched {launched:?} where {planned:?} was planned"));
    }
    let sum = |of: &dyn Fn(&Report) -> u64| reports.iter().map(of).sum::<u64>();
    let unique = sum(&|r| r.counters.global_read.unique_bytes + r.counters.global_written.unique_bytes);
    let issued = sum(&|r| r.counters.global_read.issued_bytes + r.counters.global_written.issued_bytes);
    let cost = work.cost();
    let (touched, tile_bytes) = (work.touched_bytes(&plans), work.issued_bytes(&plans));
    for (what, bytes, expected, tolerance) in
        [("touched", unique, touched, case.tolerance), ("issued", issued, tile_bytes, TOLERANCE)]
    {
        if bytes.abs_diff(expected) as f64 > tolerance * expected as f64 {
            faults.push(format!("{bytes} bytes were {what} instead of {expected}"));
        }
    }
    let tensor = sum(&|r| r.counters.tensor_flops.values().sum());
    let useful = if case.tile_flops == 0 { 0 } else { cost.flops };
    if !(useful..=case.tile_flops).contains(&tensor) {
        let flops = format!("{useful} to {}", case.tile_flops);
        faults.push(format!("tensor cores did {tensor} operations instead of {flops}"));
    }
    if let Some((report, plan)) = reports.first().zip(plans.first()) {
        let Shape { blocks, warps } = Shape::of(plan);
        let most = match case.barriers {
            Barriers::PerWarp(barriers) => barriers * warps * blocks,
            Barriers::PerKeys(keys) => (2 * keys + 4 * blocks) * warps,
        };
        if report.counters.barriers > most {
            faults.push(format!("warps came to {} barriers instead of {most}", report.counters.barriers));
        }
    }
    faults.extend(reports.iter().flat_map(|report| conflicts(report, case.excuses)));

    let instructions = sum(&|r| r.counters.instructions);
    // Nothing of nothing is all of it.
    let ratio =
        |bytes: u64, expected: u64| if bytes == expected { 1.0 } else { bytes as f64 / expected as f64 };
    let mut line = format!(
        "{name} ({}): touches {unique} bytes ({:.3} of its cost's), issues {issued} ({:.3} of its tiles'), {instructions} warp \
         instructions",
        planned.join(", "),
        ratio(unique, touched),
        ratio(issued, tile_bytes)
    );
    if tensor > 0 {
        // Two operations for each multiply-add of m16n8k16.
        let mma = tensor / (2 * 16 * 8 * 16);
        line += &format!(
            ", {:.3} of the tensor operations useful, {:.2} other instructions for each of them",
            ratio(cost.flops, tensor),
            ratio(instructions - mma, mma)
        );
    }
    Verdict { line, faults }
}

/// Blocks of a launch, and warps of a block.
struct Shape {
    blocks: u64,
    warps: u64,
}

impl Shape {
    fn of(plan: &Plan) -> Self {
        let product = |numbers: [u32; 3]| numbers.into_iter().map(u64::from).product::<u64>();
        Shape { blocks: product(plan.launch.grid), warps: product(plan.launch.block).div_ceil(32) }
    }
}

/// The bank conflicts that no excuse covers.
fn conflicts(report: &Report, excuses: &[Excuse]) -> Vec<String> {
    let excused = |place: &&BankConflicts| {
        let lines = lines(&place.location);
        excuses.iter().any(|excuse| {
            place.conflicts <= place.requests * excuse.per_request
                && lines.iter().any(|line| line.contains(excuse.line))
        })
    };
    let places = report.counters.bank_conflicts.iter();
    places
        .filter(|place| !excused(place))
        .map(|place| {
            let allowed: Vec<_> = excuses.iter().map(|excuse| excuse.reason).collect();
            format!(
                "{}: {} bank conflicts in {} requests at {}: {:?} (allowed: {allowed:?})",
                report.kernel,
                place.conflicts,
                place.requests,
                place.location,
                lines(&place.location)
            )
        })
        .collect()
}

/// The CUDA at a place, and the calls that it was inlined by.
fn lines(location: &SourceLocation) -> Vec<String> {
    let line = |(file, line): &(String, u32)| {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).ok()?;
        text.lines().nth((line - 1) as usize).map(|line| line.trim().to_string())
    };
    [&location.source, &location.inlined_at].into_iter().flatten().filter_map(line).collect()
}

#[test]
#[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
fn kernels_move_what_they_should() {
    let device = Device::open(DeviceChoice::SIM).unwrap();
    let mut memory = Memory::new(&device).unwrap();
    let mut faults = Vec::new();
    for case in cases() {
        let verdict = count(&case, &device, &mut memory);
        println!("{}", verdict.line);
        faults.extend(verdict.faults.iter().map(|fault| format!("{}\n    {fault}", verdict.line)));
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn every_timed_operation_is_counted() {
    let counted: BTreeSet<_> = cases().iter().map(|case| case.work.op()).collect();
    let mut timed: BTreeSet<_> = bench::rows().iter().map(|row| row.work.op()).collect();
    timed.extend(bench::ceiling_works(1 << 20, &bench::H200).iter().map(|work| work.op()));
    // Its instructions are Hopper's own, which the simulated GPU does not execute.
    assert!(timed.remove("ceiling_wgmma"));
    assert_eq!(counted, timed);
}

/// Wrong numbers are noticed: an operation that says another cost, and conflicts in a report.
mod faults {
    use llama_kernels::Result;
    use llama_kernels::bench::Call;
    use llama_kernels::cost::Cost;
    use llama_kernels::gpu::Grid;
    use llama_kernels::plan::Limits;

    use super::*;

    /// A norm that says that it moves other bytes than it does.
    struct Lying(RmsNorm);

    impl Work for Lying {
        fn op(&self) -> &'static str {
            self.0.op()
        }

        fn sizes(&self) -> Vec<(&'static str, usize)> {
            self.0.sizes()
        }

        fn cost(&self) -> Cost {
            let cost = self.0.cost();
            Cost { bytes: cost.bytes / 10 * 9, ..cost }
        }

        fn plans(&self, dtype: DType, limits: &Limits) -> Result<Vec<Plan>> {
            self.0.plans(dtype, limits)
        }

        fn prepare(&self, dtype: DType, memory: &mut Memory) -> Result<Call> {
            self.0.prepare(dtype, memory)
        }
    }

    #[test]
    #[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
    fn are_found() {
        let device = Device::open(DeviceChoice::SIM).unwrap();
        let mut memory = Memory::new(&device).unwrap();
        let norm = RmsNorm { tokens: 1, hidden: 4096, permuted: false };
        // The barrier of the reduction, the bytes, and tensor cores that a norm has no use for.
        let case = Case { tile_flops: 1 << 30, ..Case::new(DType::BF16, Lying(norm)) };
        let faults = count(&case, &device, &mut memory).faults;
        let found = |text: &str| faults.iter().any(|fault| fault.contains(text));
        assert!(found("24576 bytes were touched instead of 22113"), "{faults:?}");
        assert!(found("24576 bytes were issued instead of 22113"), "{faults:?}");
        assert!(found("warps came to 4 barriers instead of 0"), "{faults:?}");
        assert!(found("tensor cores did 0 operations instead of 16384 to 1073741824"), "{faults:?}");
        assert_eq!(faults.len(), 4, "{faults:?}");
    }

    /// A transposition whose every read takes 31 passes too many.
    #[test]
    fn of_banks_are_found_by_line() {
        let ptx = include_str!("../../ptx-sim/examples/transpose.ptx");
        let ptx = ptx.replace("\"transpose.cu\"", "\"ptx-sim/examples/transpose.cu\"");
        let device = Device::open(DeviceChoice::SIM).unwrap();
        let transpose = device.load_ptx(&ptx).unwrap().function("transpose").unwrap();
        let mut memory = Memory::new(&device).unwrap();
        let input = memory.random(DType::F32, &[32, 32]).unwrap();
        let output = memory.output(DType::F32, &[32, 32]).unwrap();
        let addresses = [&input, &output].map(|tensor| tensor.view().buffer.address().to_le_bytes());
        let stream = device.new_stream().unwrap();
        let grid = Grid { blocks: [1; 3], threads: [32, 8, 1], dynamic_shared_bytes: 0 };
        let arguments: [&[u8]; 3] = [&addresses[0], &addresses[1], &32i32.to_le_bytes()];
        // SAFETY: both matrices have the size that the third argument says.
        unsafe { stream.launch_function(&transpose, &grid, &arguments) }.unwrap();
        let report = stream.reports().unwrap().unwrap().remove(0);

        let unexcused = |line, per_request| {
            conflicts(&report, &[Excuse { line, per_request, reason: "a column lies in one bank" }]).len()
        };
        // The loop is unrolled. The line, and the call of the function that has it.
        assert_eq!(conflicts(&report, &[]).len(), 4);
        assert_eq!(unexcused("tile[threadIdx.x][threadIdx.y + j]", 31), 0);
        assert_eq!(unexcused("transpose_through<kTile>(in, out, size);", 31), 0);
        assert_eq!(
            (unexcused("transpose_through<kTile + 1>", 31), unexcused("tile[threadIdx.x]", 30)),
            (4, 4)
        );
        let fault = &conflicts(&report, &[])[0];
        assert!(
            fault.starts_with("transpose: 248 bank conflicts in 8 requests at ptx-sim/examples/"),
            "{fault}"
        );
    }
}
