//! Makes a folder that a machine with a GPU needs nothing beside but NVIDIA's driver.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::workspace;

/// What a pack may be at most.
const MAX_BYTES: u64 = 50 << 20;

const RUN: &str = r#"#!/bin/sh
# Checks, probes and times the kernels on this machine's first GPU. Results go to the folder OUT names, else to ./out.
# DEVICE chooses another device: cuda:1, or sim for the simulated one, which is not timed.
set -u
here=$(cd "$(dirname "$0")" && pwd)
program="$here/llama-kernels"
out=${OUT:-./out}
device=${DEVICE:-cuda}
mkdir -p "$out" || exit 1
status=0

# Runs a step, shows what it prints, and keeps that in a file.
step() {
    name=$1
    shift
    printf '\n== llama-kernels %s\n' "$*"
    "$program" "$@" >"$out/$name.txt" 2>&1
    code=$?
    cat "$out/$name.txt"
    if [ "$code" -ne 0 ]; then
        echo "== $name failed with exit code $code"
        status=1
    fi
}

step info info
step check check --device "$device"
step probe probe --device "$device" --out "$out/probe.jsonl"
case "$device" in
sim*) echo "== the simulated GPU is not timed" ;;
*) step time time --device "$device" --json "$out/time.json" ;;
esac
exit "$status"
"#;

const README: &str = "\
llama-kernels on another machine's GPU

Needs Linux with glibc and libgcc_s, on the same kind of processor as the machine that made this, and an NVIDIA driver
(of CUDA 13 or newer where the kernels were compiled by CUDA 13); nothing else.

    sh run.sh

runs, one after the other, and writes into the folder that the variable OUT names, else into ./out:

    info     info.txt                 the devices, and what the program was built with
    check    check.txt                every operation against the CPU reference
    probe    probe.txt, probe.jsonl   what single instructions answer, for the simulated GPU to be held against
    time     time.txt, time.json      median time of each operation, from cold memory

It ends with exit code 1 if a step failed; the steps after it run all the same. DEVICE=cuda:1 takes another GPU,
DEVICE=sim the simulated one.
";

/// `cargo xtask pack`.
pub fn run(args: &[String]) -> Result<()> {
    if !args.is_empty() {
        bail!("pack takes no options");
    }
    // Stripping belongs to the last step alone: as a setting of the profile it would have all crates built again.
    let mut cargo = workspace::cargo();
    cargo.args([
        "rustc",
        "--release",
        "--package",
        "llama-kernels",
        "--bin",
        "llama-kernels",
        "--all-features",
    ]);
    cargo.args(["--", "-C", "strip=symbols"]).env("LLAMA_KERNELS_REQUIRE_KERNELS", "1");
    workspace::run(&mut cargo)?;

    let folder = workspace::target_dir().join("pack");
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
    }
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let built = workspace::target_dir().join("release/llama-kernels");
    let program = folder.join("llama-kernels");
    fs::copy(&built, &program).with_context(|| built.display().to_string())?;
    write(&folder.join("run.sh"), RUN)?;
    write(&folder.join("README.txt"), README)?;
    make_executable(&folder.join("run.sh"))?;

    let bytes = size(&folder)?;
    if bytes > MAX_BYTES {
        bail!("{} has {bytes} bytes, more than {MAX_BYTES}", folder.display());
    }
    println!("{} ({:.1} MB): run.sh there checks, probes and times", folder.display(), bytes as f64 / 1e6);
    Ok(())
}

fn write(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).with_context(|| file.display().to_string())
}

#[cfg(unix)]
fn make_executable(file: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(file, fs::Permissions::from_mode(0o755)).with_context(|| file.display().to_string())
}

#[cfg(not(unix))]
fn make_executable(_: &Path) -> Result<()> {
    Ok(())
}

/// Bytes of a folder's files.
fn size(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        bytes += entry?.metadata()?.len();
    }
    Ok(bytes)
}
