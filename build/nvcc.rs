//! Finds the CUDA compiler. Asks no GPU: what is built depends on the toolkit and on variables alone.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::toolkit::{self, Env};

/// The version of a compiler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// CUDA's version.
    pub cuda: (u32, u32),
    /// The compiler's own last number.
    pub patch: u32,
}

/// The oldest CUDA whose compiler and driver have what the kernels and their launches use.
pub const OLDEST: (u32, u32) = (12, 0);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.cuda.0, self.cuda.1, self.patch)
    }
}

/// The compiler to use, or none. A variable is looked up only where the ones before it did not decide, so that the caller
/// learns which ones matter. `NVCC` is believed (a wrong one is an error later); of the others, folders without a compiler
/// are passed over.
pub fn find(env: Env<'_>, is_file: &dyn Fn(&Path) -> bool) -> Option<PathBuf> {
    if let Some(nvcc) = env("NVCC") {
        return Some(nvcc.into());
    }
    let program = if cfg!(windows) { "nvcc.exe" } else { "nvcc" };
    let pinned = || toolkit::pinned_dir(env).map(|dir| toolkit::pinned_bin(&dir));
    let toolkit = |name: &str| env(name).map(|home| Path::new(&home).join("bin"));
    let there = |folder: PathBuf| Some(folder.join(program)).filter(|nvcc| is_file(nvcc));
    pinned()
        .and_then(there)
        .or_else(|| toolkit("CUDA_HOME").and_then(there))
        .or_else(|| toolkit("CUDA_PATH").and_then(there))
        .or_else(|| env("PATH").and_then(|path| std::env::split_paths(&path).find_map(there)))
        .or_else(|| there("/usr/local/cuda/bin".into()))
}

/// The version of a compiler, and its whole text, which tells one build of the same version from another.
pub fn version(nvcc: &Path) -> Result<(Version, String), String> {
    let output = Command::new(nvcc)
        .arg("--version")
        .output()
        .map_err(|error| format!("cannot run nvcc, {}: {error}", nvcc.display()))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = parse_version(&text).filter(|_| output.status.success()).ok_or_else(|| {
        format!(
            "{} --version does not answer as nvcc does:\n{text}{}",
            nvcc.display(),
            String::from_utf8_lossy(&output.stderr)
        )
    })?;
    if version.cuda < OLDEST {
        return Err(format!(
            "{} is CUDA {}.{}, the kernels need {}.{} or newer: install one with `cargo xtask setup`, or name one in NVCC or \
             CUDA_HOME",
            nvcc.display(),
            version.cuda.0,
            version.cuda.1,
            OLDEST.0,
            OLDEST.1
        ));
    }
    Ok((version, text))
}

/// Reads `…, release 13.0, V13.0.88`.
pub fn parse_version(text: &str) -> Option<Version> {
    let numbers = text.split(", V").nth(1)?.split_whitespace().next()?;
    let mut numbers = numbers.split('.').map(|number| number.parse().ok());
    let cuda = (numbers.next()??, numbers.next()??);
    Some(Version { cuda, patch: numbers.next()?? })
}
