//! Project tasks, `cargo xtask TASK`.

mod bindgen;
mod budget;
mod corpus;
mod demo;
mod figures;
mod format;
mod nvcc;
mod pack;
mod record;
mod results;
mod setup;
mod stamp;
mod test;
mod toolkit;
mod workspace;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask TASK [OPTIONS]

  demo               build the program and let the demo model write
  test [--cpu-only]  install the CUDA compiler if there is none, and run the whole test suite
  setup              install the pinned CUDA compiler into the user's cache folder
  bindgen [--check]  write src/params.rs from cuda/params.h, or fail if it differs
  budget [--update]  compare the kernels' registers and memory with cuda/budget.txt, or rewrite it
  corpus [--check]   compile the CUDA kernels of ptx-sim, or fail if their committed PTX differs
  format [--check]   format the CUDA files with the pinned clang-format, or fail if it differs
  pack               make target/pack, a folder that checks, probes and times the kernels on another machine's GPU
  results [--check]  write the README's tables from benches/results, or fail if they differ
  results import FILE [--allow-dirty]
                     keep the JSON lines that bench, check, probe and peers.py wrote on a GPU";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Not through main's result, which would add a stack trace where RUST_BACKTRACE is set.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> anyhow::Result<()> {
    let Some((task, args)) = args.split_first() else {
        anyhow::bail!("no task given\n{USAGE}");
    };
    match task.as_str() {
        "demo" => demo::run(args),
        "test" => test::run(args),
        "setup" => setup::run(args),
        "bindgen" => bindgen::run(args),
        "budget" => budget::run(args),
        "corpus" => corpus::run(args),
        "format" => format::run(args),
        "pack" => pack::run(args),
        "results" => results::run(args),
        "help" | "--help" | "-h" => {
            println!("{USAGE}");
            Ok(())
        }
        other => anyhow::bail!("unknown task {other:?}\n{USAGE}"),
    }
}
