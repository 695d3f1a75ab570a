//! The program on a stand-in for NVIDIA's driver, which computes nothing and ends the process where it is called as no card
//! allows: the way from a command to the driver on machines without one. What kernels compute is tested on the simulated GPU.

use std::path::Path;
use std::process::{Command, Output};

use crate::common::TempDir;

/// A folder with the stand-in as libcuda.so.1.
struct StandIn(TempDir);

impl StandIn {
    fn new() -> Self {
        let folder = TempDir::new();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/driver/stand_in.cpp");
        let compiler = std::env::var_os("CXX").unwrap_or_else(|| "c++".into());
        let output = Command::new(&compiler)
            .args(["-std=c++17", "-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC", "-o"])
            .arg(folder.path().join("libcuda.so.1"))
            .arg(source)
            .output()
            .unwrap_or_else(|error| panic!("{compiler:?}, which the tests need: {error}"));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        StandIn(folder)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_llama-kernels"))
            .args(arguments)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env("LD_LIBRARY_PATH", self.0.path())
            .env_remove("CUDA_VISIBLE_DEVICES")
            // Nothing is computed: these launches do not count as a run of the kernels.
            .env_remove("LLAMA_KERNELS_LAUNCHES")
            .output()
            .unwrap()
    }

    /// Runs to the end, and gives what stands on stdout and on stderr.
    fn succeeds(&self, arguments: &[&str]) -> (String, String) {
        let output = self.run(arguments);
        let [stdout, stderr] = text(&output);
        assert!(output.status.success(), "{arguments:?}: {}\n{stdout}{stderr}", output.status);
        (stdout, stderr)
    }
}

fn text(output: &Output) -> [String; 2] {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned())
}

#[test]
fn is_a_gpu_to_the_program() {
    let (devices, _) = StandIn::new().succeeds(&["info"]);
    assert!(
        devices.contains("cuda:0   Stand-in GPU, compute capability 9.0, 132 SMs, 2.15 GB\n"),
        "{devices}"
    );
}

/// Weights through page-locked memory, a prefill, and decode steps that are captured and replayed.
#[test]
#[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
fn a_model_is_loaded_and_steps_are_replayed() {
    let stand_in = StandIn::new();
    let model =
        ["generate", "--model", "assets/demo-model", "--device", "cuda", "--prompt", "Once there was"];
    let (tokens, stderr) =
        stand_in.succeeds(&[&model[..], &["--max-tokens", "40", "--temperature", "0"]].concat());
    // Nothing computes: every token is the first.
    assert_eq!(tokens.trim_end(), "!".repeat(40));
    assert!(stderr.contains("; Stand-in GPU, ") && stderr.contains(" kernel launches"), "{stderr}");
    for weights in ["int4", "fp8"] {
        let (tokens, _) =
            stand_in.succeeds(&[&model[..], &["--max-tokens", "6", "--weights", weights]].concat());
        assert_eq!(tokens.trim_end(), "!".repeat(6), "weights {weights}");
    }
}

/// Nothing computes: what is compared is wrong, and `check` must say so.
#[test]
#[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
fn check_finds_everything_wrong() {
    let output =
        StandIn::new().run(&["check", "rms_norm", "attention_decode", "--quick", "--device", "cuda"]);
    let [stdout, stderr] = text(&output);
    assert_eq!(output.status.code(), Some(1), "{stdout}{stderr}");
    for op in ["FAILED   rms_norm ", "FAILED   attention_decode "] {
        assert!(stdout.contains(op), "{stdout}");
    }
    assert!(stdout.contains(" is NaN, expected ") && stderr.contains(" cases failed"), "{stdout}{stderr}");
}

/// The program's JSON lines in a file.
fn records(file: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(file).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn kinds(records: &[serde_json::Value]) -> Vec<&str> {
    records.iter().map(|record| record["kind"].as_str().unwrap()).collect()
}

/// Ceilings, every operation in graphs of calls on operands of their own, and a page of that.
#[test]
#[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
fn every_operation_is_timed() {
    const SHAPES: &str = "xtask/src/pack/small.jsonl";
    let stand_in = StandIn::new();
    let [json, report] = ["r.jsonl", "r.html"].map(|name| stand_in.0.path().join(name));
    let files = ["--json", json.to_str().unwrap(), "--report", report.to_str().unwrap()];
    let (stdout, _) = stand_in.succeeds(&[&["bench", "--shapes", SHAPES][..], &files].concat());
    let shapes = std::fs::read_to_string(SHAPES).unwrap().lines().count();
    let records = records(&json);
    assert_eq!(kinds(&records), [vec!["run", "ceilings"], vec!["kernel"; shapes]].concat());
    // Hopper's own instruction is the measure there.
    assert_eq!(records[1]["tensor_kernel"], "ceiling_sm90_wgmma_bf16");
    for record in &records[2..] {
        let number = |key: &str| record[key].as_f64().unwrap();
        // By the stand-in's clock a graph takes 3 microseconds, and 2.5 for each kernel in it.
        assert!(number("microseconds") >= 2.5 && number("calls") > 1.0, "{record}");
        assert!(number("percent_of_roofline") > 0.0 && number("replays") >= 5.0, "{record}");
    }
    let last = stdout.lines().last().unwrap();
    assert!(
        last.starts_with("all ") && last.contains(&format!("geometric mean of {shapes} rows")),
        "{stdout}"
    );
    let page = std::fs::read_to_string(&report).unwrap();
    assert!(page.contains("Stand-in GPU") && page.contains("<svg"), "{page}");
}

#[test]
#[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
fn whole_passes_are_timed() {
    let stand_in = StandIn::new();
    let json = stand_in.0.path().join("r.jsonl");
    let model = ["bench", "decode", "prefill", "--model", "assets/demo-model", "--batch", "1,3"];
    let rest = ["--context", "20,100", "--json", json.to_str().unwrap()];
    stand_in.succeeds(&[&model[..], &rest].concat());
    let records = records(&json);
    assert_eq!(kinds(&records), [vec!["run", "ceilings"], vec!["step"; 8]].concat());
    let phases: Vec<_> = records[2..].iter().map(|record| record["phase"].as_str().unwrap()).collect();
    assert_eq!(phases, [vec!["decode"; 4], vec!["prefill"; 4]].concat());
    for record in &records[2..] {
        assert!(record["microseconds"].as_f64().unwrap() > 0.0 && record["steps"].as_u64().unwrap() > 0);
    }
}

/// An 8B has no room on a card of 2 GB.
#[test]
#[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
fn what_does_not_fit_is_said_before_it_is_loaded() {
    let output = StandIn::new().run(&["bench", "decode", "--batch", "1", "--context", "512"]);
    let [stdout, stderr] = text(&output);
    assert_eq!(output.status.code(), Some(1), "{stdout}{stderr}");
    assert!(
        stdout.contains("llama-3.1-8b: decode of batch 1 and context 512 is left out: it takes "),
        "{stdout}"
    );
    assert!(stderr.contains("error: no forward pass was timed"), "{stderr}");
}
