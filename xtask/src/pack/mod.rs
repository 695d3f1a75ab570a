//! Makes a folder that a machine with a GPU needs nothing beside but NVIDIA's driver.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::workspace;

/// What a pack may be at most.
const MAX_BYTES: u64 = 50 << 20;

/// What the program is built with: the commit that its results name.
const COMMIT_VARIABLE: &str = "LLAMA_KERNELS_COMMIT";

const RUN: &str = include_str!("run.sh");
const README: &str = include_str!("README.txt");

/// Shapes that the simulated GPU computes in seconds: each operation that other libraries have too.
const SMALL: &str = include_str!("small.jsonl");

/// `cargo xtask pack`.
pub fn run(args: &[String]) -> Result<()> {
    if !args.is_empty() {
        bail!("pack takes no options");
    }
    let commit = commit();
    build(&["--bin", "llama-kernels"], &commit)?;
    build(&["--example", "09_c_abi"], &commit)?;

    let folder = workspace::target_dir().join("pack");
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
    }
    fs::create_dir_all(folder.join("demo-model")).with_context(|| folder.display().to_string())?;
    let release = workspace::target_dir().join("release");
    let root = workspace::root();
    let program = folder.join("llama-kernels");
    copy(&release.join("llama-kernels"), &program)?;
    copy(&release.join("examples/lib09_c_abi.so"), &folder.join("libllama_kernels.so"))?;
    let benches = root.join("benches");
    copy(&benches.join("peers.py"), &folder.join("peers.py"))?;
    copy_sources(&benches.join("peerlib"), &folder.join("peerlib"))?;
    // Random weights are made for it.
    copy(&root.join("assets/demo-model/config.json"), &folder.join("demo-model/config.json"))?;
    write(&folder.join("small.jsonl"), SMALL)?;
    write(&folder.join("run.sh"), RUN)?;
    write(&folder.join("README.txt"), README)?;
    make_executable(&folder.join("run.sh"))?;
    let shapes = folder.join("shapes.jsonl");
    let mut list = Command::new(&program);
    workspace::run(list.args(["bench", "--list", "--json"]).arg(&shapes).stdout(Stdio::null()))?;

    let bytes = size(&folder)?;
    if bytes > MAX_BYTES {
        bail!("{} has {bytes} bytes, more than {MAX_BYTES}", folder.display());
    }
    println!(
        "{} ({:.1} MB, of commit {commit}): run.sh there checks, probes and times",
        folder.display(),
        bytes as f64 / 1e6
    );
    Ok(())
}

/// Builds a part of the package in release, stripped, with its commit in it.
fn build(target: &[&str], commit: &str) -> Result<()> {
    // Stripping belongs to the last step alone: as a setting of the profile it would have all crates built again.
    let mut cargo = workspace::cargo();
    cargo.args(["rustc", "--release", "--package", "llama-kernels", "--all-features"]).args(target);
    cargo.args(["--", "-C", "strip=symbols"]);
    workspace::run(cargo.env("LLAMA_KERNELS_REQUIRE_KERNELS", "1").env(COMMIT_VARIABLE, commit))
}

/// The commit that is checked out, with `-dirty` behind it where files differ from it; `unknown` outside of a repository.
fn commit() -> String {
    let git = |args: &[&str]| {
        let output = Command::new("git").args(args).current_dir(workspace::root()).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_string())
    };
    match (git(&["rev-parse", "--short=12", "HEAD"]), git(&["status", "--porcelain"])) {
        (Some(commit), Some(changes)) if changes.is_empty() => commit,
        (Some(commit), _) => format!("{commit}-dirty"),
        (None, _) => "unknown".into(),
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).map(drop).with_context(|| from.display().to_string())
}

/// The Python files of a folder.
fn copy_sources(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| to.display().to_string())?;
    for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        if entry.path().extension().is_some_and(|extension| extension == "py") {
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
    }
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

/// Bytes of a folder's files, those of its folders included.
fn size(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { size(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}

#[cfg(all(test, unix))]
mod tests;
