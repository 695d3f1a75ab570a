//! Bulk copies: tiles of tensors, at the edges and beyond, in every swizzle; and what mbarriers count.

use std::fmt::Write as _;

use llama_kernels::gpu::{Swizzle, TensorMap, TensorMapType};

use super::source::{HOPPER, probe, store_words, vector};
use super::{Inputs, Probe};

/// Threads of a probe, and the words of shared memory that each fills and reads.
const THREADS: u32 = 64;
const WORDS: usize = 32;
/// Words of the tensor that each thread has.
const TENSOR_WORDS: u32 = 64;
/// Bytes of the tensor.
const TENSOR_BYTES: u64 = 4 * (TENSOR_WORDS * THREADS) as u64;

/// A tensor map over what the threads of a probe read, or over what they write.
#[derive(Clone)]
pub struct Map {
    /// Over what they write.
    writes: bool,
    /// All but the address.
    map: TensorMap,
}

impl Map {
    /// With the address of the inputs or of the outputs.
    pub fn of(&self, input: u64, output: u64) -> TensorMap {
        TensorMap { address: if self.writes { output } else { input }, ..self.map.clone() }
    }

    /// As the file of answers has it.
    pub fn json(&self) -> serde_json::Value {
        let map = &self.map;
        let element = match map.element {
            TensorMapType::U8 => "u8",
            TensorMapType::U16 => "u16",
            TensorMapType::F16 => "f16",
            TensorMapType::Bf16 => "bf16",
            TensorMapType::F32 => "f32",
            TensorMapType::F64 => "f64",
            TensorMapType::S32 => "s32",
            TensorMapType::S64 => "s64",
            TensorMapType::U64 => "u64",
            _ => "u32",
        };
        let swizzle = match map.swizzle {
            Swizzle::Bytes32 => "32B",
            Swizzle::Bytes64 => "64B",
            Swizzle::Bytes128 => "128B",
            _ => "none",
        };
        serde_json::json!({
            "of": if self.writes { "output" } else { "input" },
            "type": element,
            "dims": map.dims,
            "strides": map.strides,
            "box": map.tile,
            "element_strides": map.steps,
            "swizzle": swizzle,
            "oob_fill": if map.fills_nan { "nan" } else { "zeros" },
        })
    }
}

pub fn probes() -> Vec<Probe> {
    [loads(), stores(), mbarriers()].into_iter().flatten().collect()
}

/// A tensor of rows of 64 bytes, as many as there is room for: of two dimensions, or folded into more.
fn tensor(element: TensorMapType, rank: usize) -> (Vec<u64>, Vec<u64>) {
    let row = 64 / u64::from(element.bytes());
    let rows = TENSOR_BYTES / 64;
    match rank {
        1 => (vec![row * rows], vec![]),
        2 => (vec![row - 2, rows - 3], vec![64]),
        3 => (vec![row, 5, rows / 8], vec![64, 512]),
        4 => (vec![row, 3, 3, rows / 16], vec![64, 256, 1024]),
        _ => (vec![row, 3, 2, 2, rows / 32], vec![64, 256, 768, 2048]),
    }
}

/// The kernel's text before and behind the copy: shared memory is filled with the words `fill` says, an mbarrier waits for one
/// arrival, and thread 0 alone executes `copy`.
fn around(fill: &str, copy: &str, then: &str) -> String {
    let mut body = String::from(
        ".reg .b64 %map;\n.shared .align 1024 .b8 tile[16384];\n.shared .align 8 .b64 barrier;\n\
         mov.b64 %map, tensor;\ncvta.param.u64 %map, %map;\n\
         mov.b32 %t7, tile;\nmov.b32 %t6, barrier;\nmad.lo.u32 %t5, %thread, 128, %t7;\n",
    );
    // Four words at a time.
    body += &format!("mov.b32 %t0, {};\nFILL:\n{fill}", 4 * (WORDS - 4));
    body += "add.u32 %t1, %t5, %t0;\nst.shared.v4.b32 [%t1], {%w0, %w1, %w2, %w3};\nsub.u32 %t0, %t0, 16;\n\
             setp.ge.s32 %p, %t0, 0;\n@%p bra FILL;\n";
    body += "setp.ne.u32 %p, %thread, 0;\n@%p bra FILLED;\nmbarrier.init.shared.b64 [%t6], 1;\nFILLED:\n\
             fence.proxy.async;\nbar.sync 0;\n@%p bra COPIED;\n";
    body += copy;
    body += "COPIED:\n";
    body += then;
    body
}

/// The probe of such a kernel, which takes a tensor map.
fn with_map(name: String, map: Map, out_words: u32, body: &str) -> Probe {
    let inputs = Inputs::Kinds { kinds: format!("raw*{TENSOR_WORDS}"), seed: 1 };
    let plain = probe(name, HOPPER, inputs, out_words, THREADS, THREADS, body);
    let parameters = ".param .u64 output";
    let with = format!("{parameters}, .param .align 64 .b8 tensor[128]");
    Probe { ptx: plain.ptx.replacen(parameters, &with, 1), tensor_map: Some(map), ..plain }
}

fn coordinates(at: &[i32]) -> String {
    let list: Vec<_> = at.iter().map(i32::to_string).collect();
    format!("{{{}}}", list.join(", "))
}

/// One load of a tile into shared memory that holds a mark everywhere.
fn load(name: String, map: TensorMap, at: &[i32]) -> Probe {
    let bytes = map
        .tile
        .iter()
        .zip(&map.steps)
        .enumerate()
        .map(|(dim, (size, step))| if dim == 0 { *size } else { size.div_ceil(*step) })
        .product::<u32>()
        * map.element.bytes();
    let fill = "mov.b32 %w0, 0xa5a5a5a5;\nmov.b32 %w1, %w0;\nmov.b32 %w2, %w0;\nmov.b32 %w3, %w0;\n";
    let rank = at.len();
    let copy = format!(
        "mbarrier.arrive.expect_tx.shared.b64 _, [%t6], {bytes};\n\
         cp.async.bulk.tensor.{rank}d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%t7], [%map, {}], [%t6];\n",
        coordinates(at)
    );
    let mut then = String::from("WAIT:\nmbarrier.try_wait.parity.shared.b64 %q, [%t6], 0;\n@!%q bra WAIT;\n");
    for i in (0..WORDS).step_by(4) {
        let words = vector("%w", i, 4);
        // Writing to a string does not fail.
        let _ = writeln!(
            then,
            "ld.shared.v4.b32 {words}, [%t5+{0}];\nst.global.v4.b32 [%out+{0}], {words};",
            4 * i
        );
    }
    with_map(name, Map { writes: false, map }, WORDS as u32, &around(fill, &copy, &then))
}

fn loads() -> Vec<Probe> {
    use TensorMapType::{Bf16, F16, F32, F64, U8, U16, U32, U64};
    let mut probes = Vec::new();
    let map = |element: TensorMapType, rank: usize, tile: &[u32]| {
        let (dims, strides) = tensor(element, rank);
        TensorMap::new(element, 0, &dims, &strides, tile)
    };
    // Swizzles: a tile whose rows are as long as they may be.
    for (what, swizzle, row) in [
        ("none", Swizzle::None, 32),
        ("32B", Swizzle::Bytes32, 16),
        ("64B", Swizzle::Bytes64, 32),
        ("64B, half a row", Swizzle::Bytes64, 16),
        ("128B, half a row", Swizzle::Bytes128, 32),
    ] {
        let map = map(Bf16, 2, &[row, 40]).swizzle(swizzle);
        probes.push(load(format!("tensor load 2d bf16 swizzle {what}"), map, &[0, 3]));
    }
    let (wide, strides) = (vec![64, TENSOR_BYTES / 128], vec![128]);
    let full = TensorMap::new(Bf16, 0, &wide, &strides, &[64, 60]).swizzle(Swizzle::Bytes128);
    probes.push(load("tensor load 2d bf16 swizzle 128B".into(), full.clone(), &[0, 7]));
    // Edges.
    for (what, at) in [
        ("before the first row", [0, -5]),
        ("before the first column", [-9, 4]),
        ("behind the last column", [24, 4]),
        ("behind the last row", [0, 240]),
        ("outside altogether", [40, 4]),
        ("far outside", [-30_000, 1 << 30]),
    ] {
        probes.push(load(format!("tensor load 2d bf16 {what}"), map(Bf16, 2, &[16, 32]), &at));
    }
    for element in [U8, U16, U32, U64, F16, Bf16, F32, F64] {
        let bytes = element.bytes();
        let name = |what: &str| format!("tensor load 2d {element:?} {what}").to_lowercase();
        probes.push(load(name("at an edge"), map(element, 2, &[32 / bytes, 17]), &[3, -2]));
        if !matches!(element, U8 | U16 | U32 | U64) {
            let filled = TensorMap { fills_nan: true, ..map(element, 2, &[32 / bytes, 17]) };
            probes.push(load(name("at an edge, filled with NaN"), filled, &[(64 / bytes - 4) as i32, -2]));
        }
    }
    // Dimensions.
    probes.push(load("tensor load 1d bf16".into(), map(Bf16, 1, &[256]), &[8000]));
    probes.push(load("tensor load 3d bf16".into(), map(Bf16, 3, &[16, 4, 6]), &[8, 3, -1]));
    probes.push(load("tensor load 4d f32".into(), map(F32, 4, &[8, 2, 3, 4]), &[4, -1, 1, 14]));
    probes.push(load("tensor load 5d u16".into(), map(U16, 5, &[8, 2, 3, 2, 3]), &[28, 2, -1, 1, 6]));
    // Element strides.
    for (what, steps) in [("rows", [1, 2]), ("rows by three", [1, 3])] {
        let map = TensorMap { steps: steps.to_vec(), ..map(Bf16, 2, &[16, 20]) };
        probes.push(load(format!("tensor load 2d bf16 every second of {what}"), map, &[8, 5]));
    }
    let map = TensorMap { steps: vec![1, 2, 3], ..map(Bf16, 3, &[32, 4, 7]) }.swizzle(Swizzle::Bytes64);
    probes.push(load("tensor load 3d bf16 steps 2 and 3, swizzle 64B".into(), map, &[0, -1, 3]));
    probes
}

/// One store of a tile of the threads' words, or its addition to what stands there.
fn store(name: String, map: TensorMap, instruction: &str, at: &[i32]) -> Probe {
    let mut fill = String::from(
        "cvt.u64.u32 %l0, %t0;\nadd.u64 %l0, %in, %l0;\nld.global.v4.b32 {%w0, %w1, %w2, %w3}, [%l0];\n",
    );
    if matches!(map.element, TensorMapType::F16 | TensorMapType::Bf16 | TensorMapType::F32) {
        // No exponents of ones: sums and orders of NaN are nobody's promise.
        for i in 0..4 {
            let _ = writeln!(fill, "and.b32 %w{i}, %w{i}, 0xbfffbfff;");
        }
    }
    let rank = at.len();
    let copy = format!(
        "cp{instruction}.tensor.{rank}d.global.shared::cta{}.tile.bulk_group [%map, {}], [%t7];\n\
         cp.async.bulk.commit_group;\ncp.async.bulk.wait_group 0;\n",
        if instruction.contains("reduce") { ".add" } else { "" },
        coordinates(at)
    );
    with_map(name, Map { writes: true, map }, TENSOR_WORDS, &around(&fill, &copy, ""))
}

fn stores() -> Vec<Probe> {
    use TensorMapType::{Bf16, F16, F32, S32, U32, U64};
    let map = |element: TensorMapType, rank: usize, tile: &[u32]| {
        let (dims, strides) = tensor(element, rank);
        TensorMap::new(element, 0, &dims, &strides, tile)
    };
    let mut probes = Vec::new();
    for (what, swizzle) in [("none", Swizzle::None), ("64B", Swizzle::Bytes64), ("128B", Swizzle::Bytes128)] {
        let map = map(Bf16, 2, &[32, 40]).swizzle(swizzle);
        probes.push(store(format!("tensor store 2d bf16 swizzle {what}"), map, ".async.bulk", &[0, 3]));
    }
    for (what, at) in
        [("behind the last row", [0, 245]), ("behind the last column", [24, 4]), ("outside", [0, 300])]
    {
        probes.push(store(
            format!("tensor store 2d bf16 {what}"),
            map(Bf16, 2, &[16, 32]),
            ".async.bulk",
            &at,
        ));
    }
    probes.push(store("tensor store 3d f32".into(), map(F32, 3, &[8, 4, 6]), ".async.bulk", &[4, 3, 30]));
    for element in [U32, S32, U64, F16, Bf16, F32] {
        let tile = [32 / element.bytes(), 16];
        let name = format!("tensor reduce add 2d {element:?}").to_lowercase();
        probes.push(store(name, map(element, 2, &tile), ".reduce.async.bulk", &[2, 247]));
    }
    probes
}

/// What an mbarrier tells one thread.
fn mbarriers() -> Vec<Probe> {
    let make = |name: &str, out_words: u32, body: &str| {
        let text = format!(
            ".shared .align 8 .b64 barrier;\nmov.b32 %t7, barrier;\n{body}mbarrier.inval.shared.b64 [%t7];\n"
        );
        let inputs = Inputs::Kinds { kinds: "raw".into(), seed: 1 };
        probe(format!("mbarrier {name}"), HOPPER, inputs, out_words, 1, 1, &text)
    };
    let ask = |word: usize, wait: &str| format!("mbarrier.{wait};\nselp.b32 %w{word}, 1, 0, %p;\n");
    let parity =
        |word: usize, parity: u32| ask(word, &format!("test_wait.parity.shared.b64 %p, [%t7], {parity}"));
    let words = |count: usize| {
        let registers: Vec<_> = (0..count).map(|i| format!("%w{i}")).collect();
        store_words(&registers, 0)
    };
    // Pending counts of arrivals that do not complete the phase.
    let mut counts = String::from("mbarrier.init.shared.b64 [%t7], 1000;\n");
    for (word, by) in [1, 7, 500, 400].into_iter().enumerate() {
        let _ = writeln!(
            counts,
            "mbarrier.arrive.noComplete.shared.b64 %l{word}, [%t7], {by};\nmbarrier.pending_count.b64 %w{word}, %l{word};"
        );
    }
    let _ = writeln!(
        counts,
        "mbarrier.arrive_drop.noComplete.shared.b64 %l4, [%t7], 50;\nmbarrier.pending_count.b64 %w4, %l4;"
    );
    // Parities of the phases, and states.
    let mut phases = String::from("mbarrier.init.shared.b64 [%t7], 2;\n");
    phases += &(parity(0, 0) + &parity(1, 1));
    phases += "mbarrier.arrive.shared.b64 %l0, [%t7];\n";
    phases += &ask(2, "test_wait.shared.b64 %p, [%t7], %l0");
    phases += "mbarrier.arrive.shared.b64 %l1, [%t7];\n";
    phases += &ask(3, "test_wait.shared.b64 %p, [%t7], %l0");
    phases += &(parity(4, 0) + &parity(5, 1));
    phases += "mbarrier.arrive.shared.b64 _, [%t7], 2;\n";
    phases += &(parity(6, 0) + &parity(7, 1));
    // Transactions: counts below zero, and phases that only these hold back.
    let mut bytes = String::from("mbarrier.init.shared.b64 [%t7], 1;\n");
    bytes +=
        "mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [%t7], 96;\nmbarrier.arrive.shared.b64 _, [%t7];\n";
    bytes += &parity(0, 0);
    bytes += "mbarrier.complete_tx.relaxed.cta.shared::cta.b64 [%t7], 64;\n";
    bytes += &parity(1, 0);
    bytes += "mbarrier.complete_tx.relaxed.cta.shared::cta.b64 [%t7], 32;\n";
    bytes += &parity(2, 0);
    bytes += "mbarrier.complete_tx.relaxed.cta.shared::cta.b64 [%t7], 16;\n";
    bytes += &parity(3, 1);
    bytes += "mbarrier.arrive.expect_tx.shared.b64 _, [%t7], 16;\n";
    bytes += &parity(4, 1);
    // Dropped arrivals are not expected in the next phase.
    let mut dropped =
        String::from("mbarrier.init.shared.b64 [%t7], 3;\nmbarrier.arrive_drop.shared.b64 %l0, [%t7];\n");
    dropped += "mbarrier.arrive.shared.b64 _, [%t7], 2;\n";
    dropped += &parity(0, 0);
    dropped += "mbarrier.arrive.shared.b64 _, [%t7];\n";
    dropped += &parity(1, 1);
    dropped += "mbarrier.arrive.shared.b64 _, [%t7];\n";
    dropped += &parity(2, 1);
    vec![
        make("pending counts", 5, &(counts + &words(5))),
        make("phases and parities", 8, &(phases + &words(8))),
        make("transaction counts", 5, &(bytes + &words(5))),
        make("dropped arrivals", 3, &(dropped + &words(3))),
    ]
}
