//! `llama-kernels report`: what it reads, and what it says of files that it cannot read. All results here are made up.

use std::path::PathBuf;
use std::process::{Command, Output};

use crate::common::TempDir;

const RUN: &str = r#"{"kind":"run","command":"check","version":"0.0.0","commit":"0123abc","date":"2026-01-31T23:59:59Z",
"device":{"name":"Made-up GPU","simulated":false,"compute_capability":"9.0","num_sms":1,"memory_bytes":null,"l2_bytes":null,
"memory_bytes_per_second":null,"driver":"500.1","driver_cuda":null,"kernels_cuda":null,"clocks":null}}"#;
const CHECK: &str = r#"{"kind":"check","op":"matmul","cases":1,"passed":1,"skipped":0,"failed":0,"worst_share":null,
"worst_case":null,"worst_place":null,"failures":[],"seconds":1}"#;
/// A line that another command writes.
const PROBE: &str = r#"{"probe":"add.f32","device":"Made-up GPU","output":"AAAA"}"#;

/// A constant of several lines as the one line that it is in a file.
fn line(json: &str) -> String {
    json.replace('\n', "") + "\n"
}

fn report(folder: &TempDir, files: &[String]) -> (Output, PathBuf) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_llama-kernels"));
    command.arg("report").current_dir(folder.path());
    for (i, text) in files.iter().enumerate() {
        std::fs::write(folder.path().join(format!("{i}.jsonl")), text).unwrap();
        command.arg(format!("{i}.jsonl"));
    }
    (command.args(["--out", "page.html"]).output().unwrap(), folder.path().join("page.html"))
}

#[test]
fn files_become_one_page() {
    let folder = TempDir::new();
    let both = [line(RUN), line(PROBE), "\n".into(), line(CHECK)].concat();
    let (output, page) = report(&folder, &[both, line(CHECK)]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("check on Made-up GPU"), "{page}");
    // The second file has nobody who describes it.
    assert!(
        page.contains("Unknown origin") && page.matches("1 of 1 operation passed").count() == 2,
        "{page}"
    );
}

/// What `cargo xtask results import` makes of such lines.
#[test]
fn a_kept_file_is_read_too() {
    let folder = TempDir::new();
    let kept = |records: &str| format!("{{\n  \"gpu\": \"Made-up GPU\",\n  \"records\": [{records}]\n}}\n");
    let (output, page) = report(&folder, &[kept(&format!("{},{}", line(RUN), line(CHECK)))]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(std::fs::read_to_string(page).unwrap().contains("1 of 1 operation passed"));
    let (output, _) = report(&folder, &[kept("{\"kind\":\"check\"}")]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.starts_with("error: 0.jsonl: missing field `op` at line 3"), "{stderr}");
}

#[test]
fn a_file_that_is_none_is_named_with_its_line() {
    let good = line(RUN);
    let cases = [
        (good.clone() + "{\"kind\":\"check\"", "0.jsonl:2: EOF while parsing an object"),
        (
            good.clone() + "\n\n{\"kind\":\"check\",\"op\":7}\n",
            "0.jsonl:4: invalid type: integer `7`, expected a string",
        ),
        (good.clone() + "{\"kind\":\"check\",\"op\":\"matmul\"}\n", "0.jsonl:2: missing field `cases`"),
        (good + "{\"kind\":\"ceilings\",\"launch_microseconds\":1e999}", "0.jsonl:2: number out of range"),
        (String::new(), "0.jsonl: expected results of bench, check or peers.py, got no such line"),
        (line(PROBE), "0.jsonl: expected results of bench, check or peers.py, got no such line"),
    ];
    for (text, message) in cases {
        let folder = TempDir::new();
        let (output, page) = report(&folder, std::slice::from_ref(&text));
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{text:?}: {stderr}");
        assert!(stderr.starts_with(&format!("error: {message}")), "{text:?}: {stderr}");
        assert!(!page.exists(), "{text:?} left a page behind");
    }
}

#[test]
fn files_that_are_not_there_are_named() {
    let folder = TempDir::new();
    let mut command = Command::new(env!("CARGO_BIN_EXE_llama-kernels"));
    let output =
        command.current_dir(folder.path()).args(["report", "none.jsonl", "--out", "page.html"]).output();
    let stderr = String::from_utf8(output.unwrap().stderr).unwrap();
    assert!(stderr.starts_with("error: none.jsonl: "), "{stderr}");
    std::fs::write(folder.path().join("run.jsonl"), line(RUN)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_llama-kernels"));
    let output =
        command.current_dir(folder.path()).args(["report", "run.jsonl", "--out", "no/page.html"]).output();
    let stderr = String::from_utf8(output.unwrap().stderr).unwrap();
    assert!(stderr.starts_with("error: --out no/page.html: "), "{stderr}");
}
