//! Runs the whole test suite, kernels included.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::{bindgen, nvcc, setup, workspace};

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
    params()?;
    examples(&["--all-features"])
}

/// Proves that src/params.rs is what bindgen makes of cuda/params.h. A toolkit that is not the pinned one has no libclang.
fn params() -> Result<()> {
    match setup::installed("clang/native") {
        Ok(_) => bindgen::run(&["--check".into()]),
        Err(reason) => {
            println!("\nsrc/params.rs was NOT compared with cuda/params.h: {reason:#}");
            Ok(())
        }
    }
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

/// Every example runs as a test does: to the end, from the workspace's root.
fn examples(features: &[&str]) -> Result<()> {
    let folder = workspace::root().join("examples");
    let files = std::fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
    let mut examples: Vec<_> =
        files.filter_map(|file| file.ok()?.path().file_stem()?.to_str().map(str::to_owned)).collect();
    examples.sort();
    for example in examples {
        println!("\nexample {example}");
        let mut command = workspace::cargo();
        command.args(["run", "--quiet", "--example", &example]).args(features);
        workspace::run(&mut command).with_context(|| format!("example {example}"))?;
    }
    Ok(())
}
