//! The machine code itself: what the budgets of bandwidth and of tensor cores rest on, proved without a GPU.

use llama_kernels::plan::Kernel;

use super::listing::{self, Instruction, Listing};
use super::tools;

/// What is expected of a kernel's code.
enum Expected {
    /// Every input vector is loaded once and every output stored once: 16-byte loads and stores of a thread, and its other
    /// global accesses. A number above these means that a row is read twice or that an access was split.
    Rows([usize; 3]),
    /// Likewise, where so many of the loads, the last ones, may come behind stores: the indices of columns, for which there
    /// are registers once the row is in shared memory.
    Permuted([usize; 3], usize),
    /// The same accesses in loops.
    Loops([usize; 3]),
    /// Tensor cores.
    Tensor(Tensor),
    /// Hopper's own tensor instructions: the loop of them has so many, and other instructions, at most.
    Warpgroup([usize; 2]),
}

/// How operands come to the tensor cores.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Path {
    /// Asynchronous copies into shared memory, and loads of four matrices at a time from there.
    Shared,
    /// Nothing in memory: registers, or loads of 16 bytes into them.
    Registers,
    /// Asynchronous copies into rings that lanes read themselves, 16 bytes at a time.
    Rings,
}

/// What the main loop of a kernel with tensor cores is made of: the one with the most tensor instructions, and of several
/// of them the shortest.
struct Tensor {
    path: Path,
    /// Tensor instructions.
    mma: usize,
    /// What brings the fragments to them: LDSM, LDG.128, or LDSM and LDS.128.
    fragments: usize,
    /// Asynchronous copies of 16 bytes past L1.
    copies: usize,
    /// Others, through L1: of what the blocks of a multiprocessor share.
    cached: usize,
    /// Other instructions, at most.
    others: usize,
    /// Global accesses of less than 16 bytes among them, at most, and what for.
    narrow: (usize, &'static str),
    /// MUFU.EX2.
    exponentials: usize,
}

fn expected(kernel: Kernel, arch: &str) -> Expected {
    use Expected::{Loops, Permuted, Rows};
    match kernel {
        // The id, and the error word.
        Kernel::EmbedB16 => Rows([4, 4, 2]),
        // x and weight, and two vectors of indices for each vector where columns are permuted; out; the error word.
        Kernel::RmsNormBf16 | Kernel::RmsNormF16 => Permuted([16, 4, 1], 0),
        // x, residual, weight and indices; residual, which does not wait for the indices, and out; the error word.
        Kernel::AddRmsNormBf16 | Kernel::AddRmsNormF16 => Permuted([20, 8, 1], 8),
        // x and indices; out; the error word.
        Kernel::PermuteColumnsB16 => Permuted([12, 4, 1], 0),
        // The same, but for the codes, eight bytes for each vector, and its scale, or the row's.
        Kernel::RmsNormFp8Bf16 | Kernel::RmsNormFp8F16 => Rows([8, 0, 9]),
        Kernel::AddRmsNormFp8Bf16 | Kernel::AddRmsNormFp8F16 => Rows([12, 4, 9]),
        // x; eight bytes of codes for each vector, and its scale, or the row's.
        Kernel::QuantizeFp8Bf16 | Kernel::QuantizeFp8F16 => Rows([8, 0, 17]),
        // gate and up; out.
        Kernel::SiluAndMulBf16 | Kernel::SiluAndMulF16 => Rows([4, 2, 0]),
        // Two vectors of four heads, two of cosines and of sines; the heads; position, slot and the error word, and eight
        // bytes of codes for each vector.
        Kernel::RopeAppendKvBf16 | Kernel::RopeAppendKvF16 => Rows([12, 8, 11]),
        // Four splits' parts at a time.
        Kernel::AttentionCombineBf16 | Kernel::AttentionCombineF16 => Loops([4, 0, 11]),
        Kernel::SampleF32 => Loops([32, 0, 125]),
        // Whole tiles in a loop, and the last one; a block's word.
        Kernel::CeilingRead => Loops([8, 0, 1]),
        Kernel::CeilingCopy => Loops([8, 8, 0]),
        Kernel::CeilingEmpty => Loops([0, 0, 0]),
        // 64 columns in four steps; the descriptors, which are the same each time, and the loop.
        Kernel::CeilingSm90WgmmaBf16 | Kernel::CeilingSm90WgmmaF16 => Expected::Warpgroup([4, 32]),
        other => Expected::Tensor(tensor(other, arch)),
    }
}

fn tensor(kernel: Kernel, arch: &str) -> Tensor {
    let none = (0, "");
    let error = (6, "pages, and the error word");
    let matmul = |mma, fragments, copies, others| Tensor {
        path: Path::Shared,
        mma,
        fragments,
        copies,
        cached: 0,
        others,
        narrow: none,
        exponentials: 0,
    };
    let attention = |mma, fragments, copies, others, exponentials| Tensor {
        narrow: error,
        exponentials,
        ..matmul(mma, fragments, copies, others)
    };
    let rings = |mma, fragments, copies, cached, others| Tensor {
        path: Path::Rings,
        cached,
        ..matmul(mma, fragments, copies, others)
    };
    // By architecture: codes become f16 by arithmetic, by an instruction, or not at all.
    let by_arch = |of_80, of_89, of_90| match arch {
        "80" => of_80,
        "89" => of_89,
        _ => of_90,
    };
    let matmul_fp8 = |mma, fragments, copies, others| Tensor {
        narrow: (9, "scales of eight blocks of columns"),
        ..matmul(by_arch(mma, mma / 2, mma), fragments, copies, others)
    };
    let name = kernel.name();
    let (family, variant) = name.split_once("_bf16_").or(name.split_once("_f16_")).unwrap_or((name, ""));
    match (family, variant) {
        // Four rounds of 16; counter, compare and branch.
        ("ceiling_mma_bf16" | "ceiling_mma_f16", "") => {
            Tensor { path: Path::Registers, ..matmul(64, 0, 0, 4) }
        }
        ("matmul", "128x256x64") => matmul(128, 32, 12, 88),
        ("matmul", "128x256x32") => matmul(64, 16, 6, 60),
        ("matmul", "128x128x64") => matmul(128, 32, 16, 100),
        ("matmul", "64x128x64") => matmul(64, 24, 12, 88),
        ("matmul", "64x64x128") => matmul(64, 24, 16, 106),
        // Weights are made of codes in three ways, of which a launch goes one.
        ("matmul_int4", "128x256x64") => matmul(128, 16, 7, 2300),
        ("matmul_int4", "64x128x64" | "32x256x64") => matmul(64, 8, 7, 2280),
        // A sixth of the others move sums out of the tensor cores, and scale them, every 128 columns.
        ("matmul_fp8", "128x128x128") => matmul_fp8(128, 24, 8, by_arch(1280, 490, 650)),
        ("matmul_fp8", "64x256x64") => matmul_fp8(64, 12, 5, by_arch(870, 450, 550)),
        ("matmul_fp8", "64x128x128") => matmul_fp8(128, 24, 12, by_arch(1290, 500, 660)),
        // Bound by their loads: a tensor instruction has 8 or 16 tokens to do. A unit's copies, and products of another.
        ("matmul_stream", "m8") => rings(8, 10, 8, 2, 130),
        ("matmul_stream", "m16") => rings(16, 12, 8, 4, 200),
        // Each of three ways to compute the weights: 32 words of codes, and x for them.
        ("matmul_int4_stream", "m8") => rings(3 * 32, 3 * (8 + 4), 10, 4, 3400),
        ("matmul_int4_stream", "m16") => rings(3 * 64, 3 * (8 + 4), 10, 4, 3600),
        ("matmul_fp8_stream", "m8") => rings(16, 10, 8, 3, 460),
        ("matmul_fp8_stream", "m16") => rings(32, 12, 8, 5, 580),
        // Tiles all of whose keys are seen by all rows; others have a loop of their own.
        ("attention_prefill", "hd64") => attention(256, 72, 16, 920, 132),
        ("attention_prefill", "hd128") => attention(256, 80, 16, 700, 68),
        // Bound by its loads. One loop for all tiles, with what is done for the last of them.
        ("attention_decode", "hd64_m16") => attention(16, 8, 10, 920, 10),
        ("attention_decode", "hd64_m64") => attention(64, 32, 10, 1010, 34),
        ("attention_decode", "hd128_m16") => attention(32, 16, 18, 1300, 10),
        ("attention_decode", "hd128_m64") => attention(128, 64, 18, 1430, 34),
        // Codes: half the copies; in decode half the fragments, and what makes numbers of them.
        ("attention_prefill_fp8kv", "hd64") => attention(256, 72, 8, by_arch(1620, 1360, 1290), 132),
        ("attention_prefill_fp8kv", "hd128") => attention(256, 80, 8, by_arch(1320, 1060, 1020), 68),
        ("attention_decode_fp8kv", "hd64_m16") => attention(16, 4, 6, by_arch(930, 780, 780), 10),
        ("attention_decode_fp8kv", "hd64_m64") => attention(64, 16, 6, by_arch(1940, 1430, 1440), 34),
        ("attention_decode_fp8kv", "hd128_m16") => attention(32, 8, 10, by_arch(1570, 1310, 1300), 10),
        ("attention_decode_fp8kv", "hd128_m64") => attention(128, 32, 10, by_arch(3320, 2300, 2310), 34),
        _ => panic!("{name}: state its instructions here"),
    }
}

/// What is wrong with a kernel's code.
fn faults(kernel: Kernel, arch: &str, listing: &Listing) -> Vec<String> {
    let mut faults = Vec::new();
    let mut refuse = |stems: &[&str], what: &str| {
        let found = listing.positions(|instruction| stems.contains(&instruction.stem())).len();
        if found > 0 {
            faults.push(format!("{found} {what}"));
        }
    };
    refuse(&["LDL", "STL"], "accesses to local memory: registers are spilled");
    refuse(&["LD", "ST"], "accesses whose address space the compiler did not know");
    let element = match kernel.name() {
        // Codes are operands on 8.9, and become f16 elsewhere, whatever the results are.
        name if name.starts_with("matmul_fp8_stream") => "F16",
        name if name.starts_with("matmul_fp8") && arch == "89" => "E4M3",
        name if name.starts_with("matmul_fp8") => "F16",
        name if name.contains("_bf16") => "BF16",
        _ => "F16",
    };
    match expected(kernel, arch) {
        Expected::Rows(accesses) => faults.extend(row_faults(accesses, Some(0), listing)),
        Expected::Permuted(accesses, late) => faults.extend(row_faults(accesses, Some(late), listing)),
        Expected::Loops(accesses) => faults.extend(row_faults(accesses, None, listing)),
        Expected::Tensor(tensor) => faults.extend(tensor_faults(&tensor, element, listing)),
        Expected::Warpgroup(counts) => faults.extend(warpgroup_faults(counts, element, listing)),
    }
    faults
}

/// `late`: how many of the wide loads, the last ones, may come behind a store; `None` where any may.
fn row_faults(accesses: [usize; 3], late: Option<usize>, listing: &Listing) -> Vec<String> {
    let wide = |stem| listing.positions(|instruction| instruction.stem() == stem && instruction.has("128"));
    let (loads, stores) = (wide("LDG"), wide("STG"));
    let global = listing.positions(Instruction::is_global);
    let counts = [loads.len(), stores.len(), global.len() - loads.len() - stores.len()];
    let mut faults = Vec::new();
    if counts != accesses {
        faults.push(format!("{counts:?} wide loads, wide stores and others instead of {accesses:?}"));
    }
    // All loads are in flight before the first result is stored.
    let stored = listing.positions(|instruction| instruction.stem() == "STG");
    let early = late.and_then(|late| loads.len().checked_sub(late));
    if early.is_some_and(|early| loads[..early].last() >= stored.first()) {
        faults.push("a load waits for a store".into());
    }
    faults
}

/// One kind of instruction, m64n256k16, in one loop that touches no memory but for their operands.
fn warpgroup_faults([wgmma, others]: [usize; 2], element: &str, listing: &Listing) -> Vec<String> {
    let mut faults = Vec::new();
    let tensor = if element == "BF16" { "HGMMA.64x256x16.F32.BF16" } else { "HGMMA.64x256x16.F32" };
    let kinds = listing.tensor_instructions();
    if kinds.keys().ne([&tensor]) {
        faults.push(format!("tensor instructions {kinds:?} instead of {tensor}"));
    }
    let loops = listing.loops("HGMMA");
    let [body] = loops[..] else {
        faults.push(format!("{} loops with tensor instructions instead of one", loops.len()));
        return faults;
    };
    let found = body.iter().filter(|op| op.stem() == "HGMMA").count();
    if found != wgmma || body.len() - found > others {
        let rest = body.len() - found;
        faults.push(format!(
            "{found} tensor instructions and {rest} others in the loop instead of {wgmma} and {others}"
        ));
    }
    let memory = body.iter().filter(|op| op.is_global() || matches!(op.stem(), "LDS" | "STS")).count();
    if memory > 0 {
        faults.push(format!("{memory} accesses to memory in the loop"));
    }
    faults
}

fn tensor_faults(expected: &Tensor, element: &str, listing: &Listing) -> Vec<String> {
    let mut faults = Vec::new();
    // m16n8k16, or m16n8k32 of codes, accumulating in f32.
    let (stem, tensor) = match element {
        "BF16" => ("HMMA", "HMMA.16816.F32.BF16"),
        "E4M3" => ("QMMA", "QMMA.16832.F32.E4M3.E4M3"),
        _ => ("HMMA", "HMMA.16816.F32"),
    };
    let kinds = listing.tensor_instructions();
    if kinds.keys().ne([&tensor]) {
        faults.push(format!("tensor instructions {kinds:?} instead of {tensor}"));
    }
    // Four matrices at a time, not one by one.
    let narrow = listing.positions(|op| op.stem() == "LDSM" && !op.has("4")).len();
    if narrow > 0 {
        faults.push(format!("{narrow} loads of fewer than four matrices"));
    }
    // Past the L1 cache, 16 bytes each.
    let past_l1 = |op: &Instruction| op.stem() == "LDGSTS" && op.has("128") && op.has("BYPASS");
    let split = listing.positions(|op| op.stem() == "LDGSTS" && !past_l1(op)).len();
    if split > 0 && expected.path != Path::Rings {
        faults.push(format!("{split} asynchronous copies of fewer than 16 bytes, or through L1"));
    }
    let count = |body: &[Instruction], stem| body.iter().filter(|op| op.stem() == stem).count();
    let loops = listing.loops(stem);
    let Some(body) = loops.into_iter().min_by_key(|body| (usize::MAX - count(body, stem), body.len())) else {
        faults.push("no loop with tensor instructions".into());
        return faults;
    };
    let wide_loads = body.iter().filter(|op| op.stem() == "LDG" && op.has("128")).count();
    let fragments = match expected.path {
        Path::Shared => count(body, "LDSM"),
        Path::Registers => wide_loads,
        Path::Rings => {
            let wide = body.iter().filter(|op| op.stem() == "LDS" && op.has("128")).count();
            count(body, "LDSM") + wide
        }
    };
    let cached = match expected.path {
        Path::Rings => count(body, "LDGSTS") - body.iter().filter(|op| past_l1(op)).count(),
        _ => 0,
    };
    if cached != expected.cached {
        faults.push(format!(
            "{cached} asynchronous copies through L1 in the main loop instead of {}",
            expected.cached
        ));
    }
    let exponentials = body.iter().filter(|op| op.stem() == "MUFU" && op.has("EX2")).count();
    let counts = [count(body, stem), fragments, count(body, "LDGSTS") - cached, exponentials];
    let wanted = [expected.mma, expected.fragments, expected.copies, expected.exponentials];
    if counts != wanted {
        faults.push(format!(
            "{counts:?} mma, loads of fragments, copies and EX2 in the main loop instead of {wanted:?}"
        ));
    }
    let others = body.len() - cached - counts[..3].iter().sum::<usize>();
    if others > expected.others {
        faults.push(format!("{others} other instructions in the main loop instead of {}", expected.others));
    }
    let narrow = body.iter().filter(|op| op.is_global() && !op.has("128")).count();
    let (most, what) = expected.narrow;
    if narrow > most {
        faults.push(format!("{narrow} narrow accesses in the main loop, of which {most} are for {what:?}"));
    }
    faults
}

/// Code that is wrong in every way that is looked for.
#[test]
fn what_is_wrong_is_named() {
    let rows = Listing::parse(&[
        "/*0000*/ LDG.E R4, [R2.64] ;",
        "/*0010*/ STG.E.128 [R2.64], R4 ;",
        "/*0020*/ LDG.E.128 R4, [R2.64] ;",
        "/*0030*/ STL [R1], R4 ;",
        "/*0040*/ LD.E R4, [R2.64] ;",
    ]);
    assert_eq!(
        faults(Kernel::SiluAndMulBf16, "80", &rows),
        [
            "1 accesses to local memory: registers are spilled",
            "1 accesses whose address space the compiler did not know",
            "[1, 1, 1] wide loads, wide stores and others instead of [4, 2, 0]",
            "a load waits for a store",
        ]
    );

    let expected = Tensor {
        path: Path::Shared,
        mma: 2,
        fragments: 1,
        copies: 1,
        cached: 0,
        others: 3,
        narrow: (1, "pages"),
        exponentials: 1,
    };
    let right = [
        "/*0000*/ LDGSTS.E.BYPASS.LTC128B.128 [R2], [R4.64] ;",
        "/*0010*/ LDSM.16.M88.4 R8, [R4] ;",
        "/*0020*/ HMMA.16816.F32.BF16 R8, R4, R6, R8 ;",
        "/*0030*/ HMMA.16816.F32.BF16 R8, R4, R6, R8 ;",
        "/*0040*/ MUFU.EX2 R8, R8 ;",
        "/*0050*/ LDG.E R2, [R4.64] ;",
        "/*0060*/ @P0 BRA 0x0 ;",
        "/*0070*/ STG.E [R2.64], R8 ;",
    ];
    assert_eq!(tensor_faults(&expected, "BF16", &Listing::parse(&right)), Vec::<String>::new());
    let with = |from: &str, to: &str| {
        let lines = right.map(|line| line.replace(from, to));
        let lines = lines.each_ref().map(String::as_str);
        tensor_faults(&expected, "BF16", &Listing::parse(&lines)).join("; ")
    };
    assert_eq!(
        with(".F32.BF16", ".F32"),
        "tensor instructions {\"HMMA.16816.F32\": 2} instead of HMMA.16816.F32.BF16"
    );
    assert_eq!(with("LDSM.16.M88.4", "LDSM.16.M88"), "1 loads of fewer than four matrices");
    assert_eq!(
        with("BYPASS.LTC128B.128", "64"),
        "1 asynchronous copies of fewer than 16 bytes, or through L1"
    );
    assert_eq!(with("BRA 0x0", "BRA 0x70"), "no loop with tensor instructions");
    let counts = "mma, loads of fragments, copies and EX2 in the main loop instead of [2, 1, 1, 1]";
    assert_eq!(with("BRA 0x0", "BRA 0x30"), format!("[1, 0, 0, 1] {counts}"));
    assert_eq!(
        with("MUFU.EX2", "STG.E.64"),
        format!("[2, 1, 1, 0] {counts}; 2 narrow accesses in the main loop, of which 1 are for \"pages\"")
    );
    let rings = Tensor { path: Path::Rings, copies: 0, cached: 1, ..expected };
    let through_l1 = right.map(|line| line.replace("BYPASS.LTC128B.", ""));
    let through_l1 = through_l1.each_ref().map(String::as_str);
    assert_eq!(tensor_faults(&rings, "BF16", &Listing::parse(&through_l1)), Vec::<String>::new());
    assert_eq!(
        tensor_faults(&rings, "BF16", &Listing::parse(&right)),
        [
            "0 asynchronous copies through L1 in the main loop instead of 1".to_string(),
            "[2, 1, 1, 1] mma, loads of fragments, copies and EX2 in the main loop instead of [2, 1, 0, 1]"
                .to_string()
        ]
    );
    let registers = Tensor { path: Path::Registers, others: 2, ..expected };
    assert_eq!(
        tensor_faults(&registers, "BF16", &Listing::parse(&right)),
        [format!("[2, 0, 1, 1] {counts}"), "4 other instructions in the main loop instead of 2".to_string()]
    );
}

#[test]
fn what_is_wrong_with_hoppers_instructions_is_named() {
    let right = [
        "/*0000*/ R2UR UR12, R4 ;",
        "/*0010*/ HGMMA.64x256x16.F32 R24, gdesc[UR12], R24 ;",
        "/*0020*/ HGMMA.64x256x16.F32 R24, gdesc[UR12], R24, gsb0 ;",
        "/*0030*/ @!P1 BRA 0x0 ;",
        "/*0040*/ STG.E.64 desc[UR8][R2.64], R24 ;",
    ];
    let with = |from: &str, to: &str| {
        let lines = right.map(|line| line.replace(from, to));
        let lines = lines.each_ref().map(String::as_str);
        warpgroup_faults([2, 2], "F16", &Listing::parse(&lines)).join("; ")
    };
    assert_eq!(with("", ""), "");
    assert_eq!(
        with(".F32 R24", ".F16 R24"),
        "tensor instructions {\"HGMMA.64x256x16.F16\": 2} instead of HGMMA.64x256x16.F32"
    );
    assert_eq!(with("BRA 0x0", "BRA 0x40"), "0 loops with tensor instructions instead of one");
    assert_eq!(
        with("BRA 0x0", "BRA 0x20"),
        "1 tensor instructions and 1 others in the loop instead of 2 and 2"
    );
    assert_eq!(with("R2UR UR12, R4", "LDS.128 R4, [R6]"), "1 accesses to memory in the loop");
}

#[test]
#[cfg_attr(not(kernels_pinned), ignore = "the pinned nvcc did not build these kernels")]
fn kernels_are_the_instructions_that_they_should_be() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for &kernel in Kernel::ALL {
        for arch in tools::architectures(kernel) {
            let listing = &listing::all()[&(kernel.name().to_string(), arch.to_string())];
            let faults = faults(kernel, arch, listing);
            wrong.extend(faults.iter().map(|fault| format!("{} sm_{arch}: {fault}", kernel.name())));
            seen += 1;
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert_eq!(seen, listing::all().len());
}
