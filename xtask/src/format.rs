//! clang-format over cuda/ and the CUDA files of ptx-sim, with the pinned version: others break lines elsewhere.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::{setup, workspace};

/// `cargo xtask format [--check]`.
pub fn run(args: &[String]) -> Result<()> {
    let check = workspace::flag(args, "--check")?;
    let mut files = Vec::new();
    for folder in ["cuda", "ptx-sim/corpus", "ptx-sim/examples", "ptx-sim/benches/kernels"] {
        sources(&workspace::root().join(folder), &mut files)?;
    }
    files.sort();
    let mut command = Command::new(setup::installed("clang_format/data/bin/clang-format")?);
    if check {
        command.args(["--dry-run", "-Werror"]);
    } else {
        command.arg("-i");
    }
    workspace::run(command.current_dir(workspace::root()).args(files))
}

fn sources(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            sources(&path, files)?;
        } else if path.extension().is_some_and(|ending| ["h", "cuh", "cu"].iter().any(|e| ending == *e)) {
            files.push(path);
        }
    }
    Ok(())
}
