//! The simulator against answers of cards: see golden/README.md.

#[path = "golden/base64.rs"]
mod base64;
#[path = "golden/bounds.rs"]
mod bounds;
/// What draws the inputs; the program that asks the cards has the same file.
#[path = "golden/inputs.rs"]
mod inputs;
#[path = "golden/replay.rs"]
mod replay;

use std::path::PathBuf;

use serde_json::{Value, json};

use replay::{Probe, replay};

/// The files of answers in tests/golden. With the first one, the `ignore` below goes.
const FILES: [&str; 0] = [];

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

#[test]
fn the_list_names_all_files_of_answers() {
    let entries = std::fs::read_dir(folder()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut found: Vec<_> = names.filter(|name| name.ends_with(".jsonl")).collect();
    found.sort();
    assert_eq!(found, FILES.map(String::from));
}

#[test]
#[ignore = "NOT COMPARED WITH HARDWARE: no card's answers are in tests/golden yet"]
fn the_simulator_answers_as_cards_do() {
    let (mut agree, mut wrong) = (0, Vec::new());
    for file in FILES {
        let (some, differences) = replay(&std::fs::read_to_string(folder().join(file)).unwrap());
        agree += some;
        wrong.extend(differences.into_iter().map(|difference| format!("{file}: {difference}")));
    }
    assert!(wrong.is_empty(), "{} probes agree, {} do not:\n{}", agree, wrong.len(), wrong.join("\n"));
    assert!(agree > 0, "no answers of cards were there to compare with");
}

/// A line as `llama-kernels probe` writes it, around one instruction on registers `%a` to `%b`, answered by the simulator.
fn line(name: &str, key: &str, inputs: &str) -> Value {
    let ptx = format!(
        ".version 8.0\n.target sm_80\n.address_size 64\n\
         .visible .entry probe(.param .u64 input, .param .u64 output) {{\n\
         .reg .b32 %a, %b, %d, %i;\n.reg .b64 %in, %out;\n\
         ld.param.u64 %in, [input];\nld.param.u64 %out, [output];\nmov.u32 %i, %tid.x;\n\
         mad.wide.u32 %in, %i, 8, %in;\nmad.wide.u32 %out, %i, 4, %out;\n\
         ld.global.b32 %a, [%in];\nld.global.b32 %b, [%in+4];\n{name} %d, %a, %b;\nst.global.b32 [%out], %d;\nret;\n}}\n"
    );
    let mut line = json!({
        "probe": name, "device": "simulated GPU 8.0", "compute_capability": "8.0", "ptx": ptx, "kernel": "probe",
        "n": 64, "block": 64, "in_words": 2, "out_words": 1, "seed": 7,
    });
    line[key] = inputs.into();
    let words = match key {
        "kinds" => inputs::inputs(inputs, 7, 64).unwrap(),
        _ => base64::decode(inputs).unwrap(),
    };
    let hash = inputs::fnv1a64(words.iter().flat_map(|word| word.to_le_bytes()));
    line["inputs_fnv1a64"] = format!("{hash:016x}").into();
    let answer = Probe::read(&line).unwrap().run().unwrap();
    line["output"] = base64::encode(&answer).into();
    line
}

/// A line with some bits of a thread's answer flipped.
fn changed(line: &Value, thread: usize, bits: u32) -> Value {
    let mut answer = base64::decode(line["output"].as_str().unwrap()).unwrap();
    answer[thread] ^= bits;
    let mut line = line.clone();
    line["output"] = base64::encode(&answer).into();
    line
}

/// The only thing wrong with a file of these lines.
fn wrong(lines: &[&Value]) -> String {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let (agree, mut wrong) = replay(&text);
    assert_eq!((agree, wrong.len()), (lines.len() - 1, 1), "{wrong:?}");
    wrong.remove(0)
}

#[test]
fn answers_of_the_simulator_are_its_own() {
    let words: Vec<u32> = (0..128).map(|i| (i as f32 - 50.0).to_bits()).collect();
    let lines = [
        line("fma.rn.f32 %d, %a, %b, %a; sub.f32", "kinds", "f32 f32"),
        line("mul.lo.u32", "kinds", "i32 i32"),
        line("div.full.f32", "input", &base64::encode(&words)),
    ];
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    assert_eq!(replay(&text), (3, Vec::new()));

    let said = wrong(&[&lines[0], &changed(&lines[1], 5, 1), &lines[2]]);
    assert!(said.starts_with("line 2: mul.lo.u32: 1 of 64 threads differ; the first, 5: of ["), "{said}");
    // -42 / -41 may be off by two units in the last place, but not more; 0 / 1 is no negative zero.
    let text = format!("{}\n", changed(&lines[2], 4, 1));
    assert_eq!(replay(&text), (1, Vec::new()));
    wrong(&[&changed(&lines[2], 4, 8)]);
    wrong(&[&changed(&lines[2], 25, 1 << 31)]);
}

#[test]
fn files_that_say_something_else_are_refused() {
    let good = line("add.u32", "kinds", "i32 i32");
    for (key, value, expected) in [
        ("seed", json!(8), "the inputs are others"),
        ("kinds", json!("i33 i32"), "unknown kinds"),
        ("kinds", json!("i32"), "64 words of inputs for 64 threads"),
        ("compute_capability", json!("7.5"), "no simulated GPU has compute capability 7.5"),
        ("ptx", json!(".version 8.0\nnonsense"), "PTX line"),
        ("output", json!("AAAAAA=="), "1 words of answers, 64 are expected"),
        ("output", json!("?"), "not base64"),
        ("output", Value::Null, "there is no answer"),
        ("n", json!("64"), "no number `n`"),
    ] {
        let mut bad = good.clone();
        bad[key] = value;
        let said = wrong(&[&good, &bad]);
        assert!(said.contains(expected), "{said}");
    }
}
