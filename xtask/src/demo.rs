//! Builds the program and lets the demo model write, on whatever this machine has.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::workspace;

const PROMPT: &str = "Once there was";
const QUESTION: &str = "Who are you?";

/// `cargo xtask demo`: needs Rust and a C compiler; neither Python, nor nvcc, nor a GPU.
pub fn run(args: &[String]) -> Result<()> {
    if !args.is_empty() {
        bail!("demo takes no options");
    }
    println!(
        "The demo runs on the CPU: building the program without CUDA kernels (two minutes on two cores, the first time)."
    );
    let features = ["--no-default-features", "--features", "cli"];
    workspace::run(workspace::cargo().args(["build", "--release", "--bin", "llama-kernels"]).args(features)).context(
        "the build failed (its messages stand above); it needs a C compiler as linker, and the crate registry the first \
         time",
    )?;
    let program = workspace::target_dir()
        .join("release")
        .join(format!("llama-kernels{}", std::env::consts::EXE_SUFFIX));
    let model = workspace::root().join("assets/demo-model");
    let generate = |options: &[&str]| -> Result<()> {
        println!();
        let mut command = Command::new(&program);
        command.args(["generate", "--model"]).arg(&model).args(["--device", "cpu"]).args(options);
        workspace::run(&mut command)
    };
    println!("\n--- A text that begins with {PROMPT:?}:");
    generate(&["--prompt", PROMPT, "--max-tokens", "120", "--temperature", "0.7", "--seed", "1"])?;
    println!("\n--- An answer to {QUESTION:?}:");
    generate(&["--chat", "--prompt", QUESTION, "--temperature", "0"])
}
