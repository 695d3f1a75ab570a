//! `llama-kernels bench decode` and `bench prefill`, and the floors of whole forward passes.

use std::process::{Command, Output};

use llama_kernels::backend::{CacheFormat, WeightFormat};
use llama_kernels::bench::{Bound, Ceilings};
use llama_kernels::cost::{self, StepFormats};
use llama_kernels::model::config::Config;
use llama_kernels::quant::int4::GroupSize;

use crate::common::TempDir;

const NATIVE: StepFormats = StepFormats { weights: WeightFormat::Native, kv_cache: CacheFormat::Native };
const INT4: WeightFormat = WeightFormat::Int4 { group_size: GroupSize::Of128 };

fn bench(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_llama-kernels"));
    command.arg("bench").args(args).current_dir(env!("CARGO_MANIFEST_DIR"));
    command.output().unwrap()
}

fn error(args: &[&str]) -> String {
    let output = bench(args);
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && message.starts_with("error: "), "{args:?}: {message}");
    message
}

/// A token of a sequence with nothing behind it, in bf16, by the rate of a large triad on an H200.
#[test]
fn floors_are_those_of_streaming_the_weights() {
    let ceilings = Ceilings {
        copy_bytes_per_second: 4.07e12,
        read_bytes_per_second: 4.07e12,
        ..Ceilings::H200_DATASHEET
    };
    for (model, milliseconds) in [("llama-3.1-8b", 3.69), ("llama-3.2-1b", 0.61)] {
        let config = Config::preset(model).unwrap();
        let (floor, bound) = ceilings.floor(&cost::decode_step(&config, NATIVE, 1, 0));
        assert!((floor / 1e3 / milliseconds - 1.0).abs() < 0.01, "{model}: {floor} µs");
        assert_eq!(bound, Bound::Memory);
    }
    for (model, weights, milliseconds) in [
        ("llama-3.1-8b", WeightFormat::Fp8, 1.97),
        ("llama-3.1-8b", INT4, 1.14),
        ("llama-3.2-1b", INT4, 0.25),
    ] {
        let config = Config::preset(model).unwrap();
        let formats = StepFormats { weights, ..NATIVE };
        let (floor, _) = ceilings.floor(&cost::decode_step(&config, formats, 1, 0));
        assert!((floor / 1e3 / milliseconds - 1.0).abs() < 0.02, "{model} {weights}: {floor} µs");
    }
    // Many tokens meet the tensor cores: 2 * 7.5e9 operations each, and attention.
    let config = Config::preset("llama-3.1-8b").unwrap();
    let (floor, bound) = ceilings.floor(&cost::prefill(&config, NATIVE, 1, 2048));
    assert!(bound == Bound::TensorCores && (floor / 1e3 - 29.5).abs() < 1.0, "{floor} µs");
    assert_eq!(ceilings.floor(&cost::decode_step(&config, NATIVE, 1024, 0)).1, Bound::TensorCores);
    assert_eq!(ceilings.floor(&cost::decode_step(&config, NATIVE, 64, 512)).1, Bound::Memory);
}

#[test]
#[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
fn passes_of_a_small_model_are_counted_on_the_simulated_gpu() {
    let folder = TempDir::new();
    let json = folder.path().join("results.jsonl");
    let output = bench(&[
        "decode",
        "prefill",
        "--device",
        "sim",
        "--model",
        "assets/demo-model",
        "--batch",
        "2",
        "--context",
        "40,2049",
        "--json",
        json.to_str().unwrap(),
    ]);
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{err}");
    let left_out =
        "demo-model: decode of batch 2 and context 2049 is left out: 2050 tokens, more than the model's";
    assert!(out.starts_with(left_out), "{out}");
    assert!(out.contains("\ndemo-model: 2,230,528 parameters, 4.46 MB in bf16"), "{out}");
    assert!(out.contains("counted by the simulated GPU") && !out.contains("tokens/s"), "{out}");

    let lines = std::fs::read_to_string(&json).unwrap();
    let records: Vec<serde_json::Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let counters: Vec<_> = records.iter().filter(|record| record["kind"] == "counters").collect();
    assert_eq!(counters.len(), 2, "{lines}");
    let config = Config::load("assets/demo-model").unwrap();
    for (record, (phase, launches, least)) in counters.iter().zip([
        // The embedding, eight launches a layer, the last norm, the logits.
        ("decode", 1 + 8 * 4 + 2, cost::decode_step(&config, NATIVE, 2, 40)),
        // The last tokens' rows besides, of both addends of the norm.
        ("prefill", 1 + 8 * 4 + 4, cost::prefill(&config, NATIVE, 2, 40)),
    ]) {
        assert_eq!((&record["op"], &record["label"]), (&phase.into(), &"demo-model".into()));
        assert_eq!(record["sizes"], serde_json::json!({"batch": 2, "context": 40}));
        assert_eq!(record["launches"], launches, "{record}");
        assert_eq!((&record["flops"], &record["bytes"]), (&least.flops.into(), &least.bytes.into()));
        // What the operations hand to each other comes on top, and the padding of tiles.
        assert!(record["touched_bytes"].as_u64().unwrap() > least.bytes, "{record}");
        assert!(record["issued_bytes"].as_u64() >= record["touched_bytes"].as_u64(), "{record}");
        assert!(record["tensor_flops"].as_u64().unwrap() > least.flops, "{record}");
        assert_eq!(record["bank_conflicts"], 0, "{record}");
        let classes = record["instructions_by_class"].as_object().unwrap();
        let sum: u64 = classes.values().map(|count| count.as_u64().unwrap()).sum();
        assert_eq!(record["instructions"], sum, "{record}");
    }
}

/// What a decode touches is what its formats take, and little more.
#[test]
#[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
fn formats_are_counted() {
    let config = Config::load("assets/demo-model").unwrap();
    let mut native = f64::INFINITY;
    for (weights, name, launches) in [
        (WeightFormat::Native, "demo-model", 1 + 8 * 4 + 2),
        // Quantisations of two products' inputs besides.
        (WeightFormat::Fp8, "demo-model fp8", 1 + 10 * 4 + 2),
        (INT4, "demo-model int4", 1 + 8 * 4 + 2),
    ] {
        let folder = TempDir::new();
        let json = folder.path().join("results.jsonl");
        let weights_of = weights.to_string();
        let args = ["decode", "--device", "sim", "--model", "assets/demo-model", "--context", "40"];
        let more = ["--weights", &weights_of, "--json", json.to_str().unwrap()];
        let output = bench(&[&args[..], &more].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let lines = std::fs::read_to_string(&json).unwrap();
        let record: serde_json::Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
        assert_eq!((&record["label"], &record["launches"]), (&name.into(), &launches.into()), "{record}");
        let least = cost::decode_step(&config, StepFormats { weights, ..NATIVE }, 1, 40).bytes;
        assert_eq!(record["bytes"], least);
        let touched = record["touched_bytes"].as_f64().unwrap();
        assert!((1.0..1.1).contains(&(touched / least as f64)), "{name}: {touched} of {least}");
        assert!(touched < native, "{name}");
        native = touched;
    }
}

#[test]
#[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
fn what_cannot_be_simulated_is_refused() {
    let sim = ["decode", "--device", "sim"];
    for (more, parts) in [
        (&[][..], ["llama-3.1-8b: 8,030,261,248 parameters", "at most 100,000,000", "assets/demo-model"]),
        (
            &["--model", "llama-9"],
            ["--model: expected llama-1-7b, ", "or a folder with a config.json", "got llama-9"],
        ),
        (
            &["--model", "assets/demo-model", "--batch", "0"],
            ["--batch: expected at least 1", "sequence", "got 0"],
        ),
        (
            &["--model", "assets/demo-model", "--batch", "9", "--context", "1000"],
            ["decode of batch 9 and context 1000", "at most 8192 tokens", "simulated"],
        ),
        (
            &["--model", "assets/demo-model", "--batch", "8192", "--context", "0"],
            ["decode of batch 8192 and context 0", "GFLOP", "at most 20"],
        ),
        (
            &["--model", "assets/demo-model", "--context", "2048"],
            ["no forward pass was counted", "longer than", "context"],
        ),
    ] {
        let message = error(&[&sim, more].concat());
        for part in parts {
            assert!(message.contains(part), "{more:?}: {message:?} does not name {part:?}");
        }
    }
}
