//! `run.sh` with stand-ins for the program and for Python, which write down how they were called.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::{env, fs, process};

use super::{RUN, make_executable, write};

/// A pack of stand-ins in a folder of its own, which goes with it.
struct Pack(PathBuf);

impl Pack {
    /// `program` is the body of a shell script, and so is `python`.
    fn new(name: &str, program: &str, python: &str) -> Self {
        let folder = env::temp_dir().join(format!("llama-kernels-pack-{name}-{}", process::id()));
        fs::create_dir_all(&folder).unwrap();
        let pack = Pack(folder);
        for (file, text) in [
            ("run.sh", RUN.to_string()),
            ("llama-kernels", format!("#!/bin/sh\necho \"program $*\"\n{program}\n")),
            ("python", format!("#!/bin/sh\n{python}\n")),
        ] {
            write(&pack.0.join(file), &text).unwrap();
            make_executable(&pack.0.join(file)).unwrap();
        }
        pack
    }

    fn run(&self, variables: &[(&str, &str)]) -> Output {
        let mut command = Command::new("sh");
        command
            .arg(self.0.join("run.sh"))
            .env("OUT", self.0.join("out"))
            .env("PYTHON", self.0.join("python"));
        command.envs(variables.iter().copied()).output().unwrap()
    }

    /// The first words of each step's call, from the log.
    fn steps(&self) -> Vec<String> {
        let log = fs::read_to_string(self.0.join("out/log.txt")).unwrap();
        let words = |line: &str| line.split(' ').take(3).collect::<Vec<_>>().join(" ");
        log.lines().filter_map(|line| line.strip_prefix("program ")).map(words).collect()
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(self.0.join(name)).unwrap()
    }
}

impl Drop for Pack {
    fn drop(&mut self) {
        // What stays behind in the folder for temporary files harms nobody.
        let _ = fs::remove_dir_all(&self.0);
    }
}

const NO_TORCH: &str = "exit 1";

#[test]
fn all_steps_run_in_their_order() {
    let pack = Pack::new("order", "exit 0", NO_TORCH);
    let output = pack.run(&[]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{text}");
    let results = pack.0.join("out/results.jsonl").display().to_string();
    let expected = [
        "info",
        "check --quick --device",
        "probe --device cuda",
        "bench --device cuda",
        "bench decode prefill",
        "bench decode prefill",
        "bench decode prefill",
        "check --full --device",
        &format!("report {results} --out"),
    ];
    assert_eq!(pack.steps(), expected, "{text}");
    assert!(text.contains("== peers: left out, "), "{text}");
    let log = pack.file("out/log.txt");
    assert!(log.contains(&format!("program bench --device cuda --json {results}\n")), "{log}");
    for formats in ["", " --weights int4", " --weights fp8 --kv-cache fp8"] {
        let forward = format!("decode prefill --model llama-3.1-8b{formats} --device cuda");
        assert!(log.contains(&forward), "{log}");
    }
    // The log has what the terminal had, and nothing else stays behind.
    assert_eq!(text, log);
    let mut files: Vec<_> =
        fs::read_dir(pack.0.join("out")).unwrap().map(|file| file.unwrap().file_name()).collect();
    files.sort();
    assert_eq!(files, ["log.txt"]);
}

#[test]
fn the_simulated_gpu_counts_small_shapes() {
    let pack = Pack::new("sim", "exit 0", "echo \"python $*\"");
    assert_eq!(pack.run(&[("DEVICE", "sim:8.6")]).status.code(), Some(0));
    let expected = [
        "info",
        "check --quick --device",
        "probe --device sim:8.6",
        "bench --shapes",
        "bench decode prefill",
        "bench decode prefill",
        "bench decode prefill",
    ];
    let steps = pack.steps();
    assert!(steps.iter().zip(expected).all(|(step, expected)| step.starts_with(expected)), "{steps:?}");
    assert_eq!(steps.len(), expected.len() + 1, "{steps:?}");
    let log = pack.file("out/log.txt");
    assert!(log.contains("/peers.py --library ") && log.contains("/small.jsonl --json "), "{log}");
    assert!(log.contains("--device sim:8.6"), "{log}");
}

#[test]
fn a_failed_step_is_said_and_the_others_run() {
    let pack = Pack::new("failure", "case $1 in check) echo wrong; exit 3;; esac", NO_TORCH);
    let output = pack.run(&[]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("wrong\n\n== check: failed with exit code 3\n"), "{text}");
    assert_eq!(pack.steps().len(), 9, "{text}");
}

#[test]
fn what_takes_too_long_is_cut_short_and_reported() {
    let pack = Pack::new("budget", "case $1 in bench) echo begun; sleep 30;; esac", NO_TORCH);
    let output = pack.run(&[("BUDGET", "10")]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(2), "{text}");
    // Each has its share, whatever the one before it has done.
    assert!(text.contains("begun\n\n== kernels: cut short after its 4 seconds\n"), "{text}");
    assert!(text.contains("begun\n\n== forward: cut short after its 2 seconds\n"), "{text}");
    let steps = pack.steps();
    assert!(steps.last().is_some_and(|step| step.starts_with("report ")), "{steps:?}");
    assert_eq!(steps.len(), 9, "{steps:?}");
}

#[test]
fn what_has_no_time_left_is_left_out_and_said() {
    let pack = Pack::new("late", "case $1 in info) sleep 2;; esac", NO_TORCH);
    let output = pack.run(&[("BUDGET", "1")]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("== check: left out, the 1 seconds are over"), "{text}");
    assert!(text.contains("== check-full: left out, the 1 seconds are over"), "{text}");
    let steps = pack.steps();
    assert!(steps.last().is_some_and(|step| step.starts_with("report ")), "{steps:?}");
}
