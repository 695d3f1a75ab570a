//! Runs the whole test suite, kernels included.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::{nvcc, setup, workspace};

/// Every example runs as a test does: to the end, from the workspace's root.
const EXAMPLES: [&str; 3] = ["01_generate", "02_ragged_batch", "03_reference_operation"];

/// `cargo xtask test [--cpu-only]`: installs the CUDA compiler if there is none.
pub fn run(args: &[String]) -> Result<()> {
    let cpu_only = workspace::flag(args, "--cpu-only")?;
    if cpu_only {
        println!("testing the CPU path alone, as asked: the CUDA kernels are not compiled and not tested");
        return cpu_path();
    }
    if let Err(reason) = compiler() {
        println!("there is no CUDA compiler and none could be installed: {reason:#}");
        println!("testing the CPU path alone");
        cpu_path()?;
        // A green run without kernels must be impossible.
        bail!(
            "the CPU path passed; the CUDA kernels were NOT tested ({reason:#}). With --cpu-only this is a success"
        );
    }
    println!("testing everything; the first time, the build takes some minutes on two cores");
    workspace::run(
        workspace::cargo()
            .args(["test", "--workspace", "--all-features"])
            .env("LLAMA_KERNELS_REQUIRE_KERNELS", "1"),
    )?;
    examples(&["--all-features"])
}

/// Makes sure that the build script will find an nvcc.
fn compiler() -> Result<()> {
    if let Some(nvcc) = nvcc::find(&workspace::env, &Path::is_file) {
        let (version, _) = nvcc::version(&nvcc).map_err(anyhow::Error::msg)?;
        println!("CUDA compiler {version}: {}", nvcc.display());
        return Ok(());
    }
    println!("no nvcc found: installing the pinned CUDA compiler");
    setup::run(&[])
}

fn cpu_path() -> Result<()> {
    let features = ["--no-default-features", "--features", "cli"];
    workspace::run(workspace::cargo().arg("test").args(features))?;
    examples(&features)
}

fn examples(features: &[&str]) -> Result<()> {
    for example in EXAMPLES {
        println!("\nexample {example}");
        let mut command = workspace::cargo();
        command.args(["run", "--quiet", "--example", example]).args(features);
        workspace::run(&mut command).with_context(|| format!("example {example}"))?;
    }
    Ok(())
}
