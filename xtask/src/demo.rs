//! Builds the program and lets the demo model write: on the CPU, then on the CUDA kernels.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{setup, workspace};

const PROMPT: &str = "Once there was";
const QUESTION: &str = "Who are you?";

/// `cargo xtask demo`: needs Rust and a C compiler, and Python 3 where the CUDA compiler has to be installed; no GPU.
pub fn run(args: &[String]) -> Result<()> {
    if !args.is_empty() {
        bail!("demo takes no options");
    }
    println!(
        "First the CPU: building the program without CUDA kernels (two minutes on two cores, the first time)."
    );
    let program = build(&["--no-default-features", "--features", "cli"])?;
    println!("\n--- A text that begins with {PROMPT:?}:");
    let sampled = ["--prompt", PROMPT, "--max-tokens", "120", "--temperature", "0.7", "--seed", "1"];
    model(&program, "generate", "cpu", &sampled)?;
    println!("\n--- An answer to {QUESTION:?}:");
    model(&program, "generate", "cpu", &["--chat", "--prompt", QUESTION, "--temperature", "0"])?;

    println!(
        "\nNow the CUDA kernels, for one architecture: a GPU runs them if there is one, else the simulated GPU."
    );
    if let Err(reason) = setup::compiler() {
        println!("NOT SHOWN: there is no CUDA compiler and none could be installed: {reason:#}");
        return Ok(());
    }
    let program = build(&["--features", "cli,sim"])?;
    println!("\n--- The most likely text, token by token on both:");
    model(&program, "compare", "auto", &["--prompt", PROMPT, "--max-tokens", "24"])
}

/// Builds the program; its path.
fn build(features: &[&str]) -> Result<PathBuf> {
    workspace::run(
        workspace::cargo()
            .args(["build", "--release", "--bin", "llama-kernels"])
            .args(features)
            .env("CUDA_COMPUTE_CAPS", "80")
            .env("LLAMA_KERNELS_REQUIRE_KERNELS", "1"),
    )
    .context(
        "the build failed (its messages stand above); it needs a C compiler as linker, and the crate registry the first \
         time",
    )?;
    let name = format!("llama-kernels{}", std::env::consts::EXE_SUFFIX);
    Ok(workspace::target_dir().join("release").join(name))
}

/// Runs a command of the program on the demo model.
fn model(program: &Path, command: &str, device: &str, options: &[&str]) -> Result<()> {
    println!();
    let model = workspace::root().join("assets/demo-model");
    workspace::run(
        Command::new(program).arg(command).arg("--model").arg(model).args(["--device", device]).args(options),
    )
}
