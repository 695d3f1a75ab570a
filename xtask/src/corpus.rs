//! Compiles the simulator's CUDA kernels (its corpus of seeded bugs, the examples, the bench) into the PTX that is
//! committed beside them: the crate's own tests need no compiler.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, bail};

use crate::{setup, stamp, toolkit, workspace};

/// -lineinfo, so that reports name lines of the source.
const FLAGS: [&str; 5] = ["-O3", "-std=c++17", "-Werror=all-warnings", "-ptx", "-lineinfo"];

/// Of a source that needs nothing newer.
const AMPERE: &str = "-arch=compute_80";

/// Of a source that includes `HOPPER_HEADER`: instructions that this one architecture has.
const HOPPER: &str = "-arch=compute_90a";

/// Wraps Hopper's own instructions.
const HOPPER_HEADER: &str = "hopper.cuh";

/// `cargo xtask corpus [--check]`: compiles what changed; with the option compiles everything, and fails if something
/// differs.
pub fn run(args: &[String]) -> Result<()> {
    let check = workspace::flag(args, "--check")?;
    let package = workspace::root().join("ptx-sim");
    let nvcc = setup::installed("nvidia/cu13/bin/nvcc")?;
    // Reports name a kernel of the corpus by its path in the package, and the others as their users see them: beside
    // the PTX.
    for (base, folder) in
        [(package.clone(), "corpus"), (package.join("examples"), ""), (package.join("benches/kernels"), "")]
    {
        Corpus { nvcc: nvcc.clone(), base, folder }.run(check)?;
    }
    Ok(())
}

/// A folder of kernels.
struct Corpus {
    nvcc: PathBuf,
    /// Where the compiler runs: its paths are relative to it.
    base: PathBuf,
    /// The folder of the sources, from there.
    folder: &'static str,
}

impl Corpus {
    fn run(&self, check: bool) -> Result<()> {
        let sources = self.names("cu")?;
        let orphans: Vec<_> = self.names("ptx")?.difference(&sources).map(|name| self.ptx(name)).collect();
        if check {
            let differing = self.differing(&sources.into_iter().collect::<Vec<_>>())?;
            if let Some(orphan) = orphans.first() {
                bail!("{} has no source: run `cargo xtask corpus`", orphan.display());
            }
            if !differing.is_empty() {
                bail!(
                    "not what nvcc makes of its source: {}; run `cargo xtask corpus`",
                    differing.join(", ")
                );
            }
            return Ok(());
        }
        for orphan in orphans {
            fs::remove_file(&orphan).with_context(|| orphan.display().to_string())?;
            println!("removed {}", orphan.display());
        }
        for name in sources {
            if !self.is_current(&name)? {
                fs::write(self.ptx(&name), self.compile(&name)?)?;
                println!("compiled {}", self.ptx(&name).display());
            }
        }
        Ok(())
    }

    fn folder(&self) -> PathBuf {
        self.base.join(self.folder)
    }

    fn ptx(&self, name: &str) -> PathBuf {
        self.folder().join(format!("{name}.ptx"))
    }

    /// A source's path, as the compiler is given it.
    fn source(&self, name: &str) -> String {
        if self.folder.is_empty() { format!("{name}.cu") } else { format!("{}/{name}.cu", self.folder) }
    }

    /// The stems of all files with an ending.
    fn names(&self, ending: &str) -> Result<BTreeSet<String>> {
        let folder = self.folder();
        let mut names = BTreeSet::new();
        for file in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = file?.path();
            if path.extension().is_some_and(|extension| extension == ending) {
                let stem = path.file_stem().and_then(|stem| stem.to_str());
                names.insert(stem.with_context(|| path.display().to_string())?.to_owned());
            }
        }
        Ok(names)
    }

    /// The compiler's flag for a source's architecture.
    fn architecture(&self, name: &str) -> Result<&'static str> {
        let source = self.base.join(self.source(name));
        let text = fs::read_to_string(&source).with_context(|| source.display().to_string())?;
        let mut headers = stamp::headers(&text);
        let hopper = headers.any(|header| Path::new(header).file_name() == Some(HOPPER_HEADER.as_ref()));
        Ok(if hopper { HOPPER } else { AMPERE })
    }

    fn first_line(&self, name: &str) -> Result<String> {
        let flags = FLAGS.join(" ");
        let compiler = format!("nvcc {} {flags} {}", toolkit::PINNED, self.architecture(name)?);
        Ok(stamp::first_line(&self.base, &self.source(name), &compiler)?)
    }

    /// Whether a file was compiled from the source that there is now. One that does not exist was not.
    fn is_current(&self, name: &str) -> Result<bool> {
        let line = self.first_line(name)?;
        Ok(fs::read_to_string(self.ptx(name)).is_ok_and(|ptx| ptx.lines().next() == Some(&line)))
    }

    /// The names of those whose committed file is not what the compiler makes today.
    fn differing(&self, names: &[String]) -> Result<Vec<String>> {
        let next = AtomicUsize::new(0);
        let work = || {
            let mut differing = Vec::new();
            while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
                let ptx = self.compile(name)?;
                if fs::read_to_string(self.ptx(name)).ok() != Some(ptx) {
                    differing.push(name.clone());
                }
            }
            Ok(differing)
        };
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let parts = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            let parts = workers.into_iter().map(|worker| worker.join().expect("no worker panics"));
            parts.collect::<Result<Vec<_>>>()
        })?;
        let mut differing = parts.concat();
        differing.sort();
        Ok(differing)
    }

    /// The text of a PTX file.
    fn compile(&self, name: &str) -> Result<String> {
        let line = self.first_line(name)?;
        // A relative path: assertions carry the source's name.
        let source = self.source(name);
        let mut nvcc = Command::new(&self.nvcc);
        nvcc.current_dir(&self.base).args(FLAGS).arg(self.architecture(name)?);
        let output = nvcc.args(["-o", "-"]).arg(&source).output();
        let output = output.with_context(|| format!("cannot run {}", self.nvcc.display()))?;
        if !output.status.success() {
            bail!("nvcc failed on {}:\n{}", source, String::from_utf8_lossy(&output.stderr));
        }
        let ptx = String::from_utf8(output.stdout).context("nvcc's output is not text")?;
        Ok(format!("{line}\n{}", without_machine(&ptx, &self.base)))
    }
}

/// The same PTX wherever it was compiled: its `.file` lines name our files from the package's root and the compiler's
/// headers by their bare names, and the module's id, which nvcc makes from the source's full path and puts into the
/// names of internal functions, is 0.
fn without_machine(ptx: &str, package: &Path) -> String {
    let relative = |line: &str| {
        let (number, path) = line.strip_prefix("\t.file\t")?.split_once(" \"")?;
        let path = Path::new(path.split('"').next()?);
        let name = path.strip_prefix(package).map_or_else(|_| path.file_name().map(Path::new), Some)?;
        Some(format!("\t.file\t{number} \"{}\"\n", name.display()))
    };
    let ptx = ptx.lines().map(|line| relative(line).unwrap_or_else(|| format!("{line}\n"))).collect();
    without_module_id(ptx)
}

/// Debug strings are lists of `.b8` numbers; a module's id is eight hexadecimal digits after `_INTERNAL_`.
fn without_module_id(mut ptx: String) -> String {
    const BEFORE: &[u8] = b"_INTERNAL_";
    const DIGITS: usize = 8;
    let Some(start) = ptx.find(".section\t.debug_str") else { return ptx };
    // Where each number stands, and its value.
    let mut numbers = Vec::new();
    let mut at = start;
    for token in ptx[start..].split_inclusive([',', ' ', '\n']) {
        let digits = token.trim_end_matches([',', ' ', '\n']);
        if let Ok(value) = digits.parse::<u8>() {
            numbers.push((at..at + digits.len(), value));
        }
        at += token.len();
    }
    let values: Vec<u8> = numbers.iter().map(|(_, value)| *value).collect();
    let ids = values.windows(BEFORE.len()).enumerate().filter(|(_, window)| *window == BEFORE);
    let digits = ids.flat_map(|(id, _)| numbers.iter().skip(id + BEFORE.len()).take(DIGITS));
    // From the end, so that places before stay where they are.
    let places: Vec<_> = digits.map(|(place, _)| place.clone()).collect();
    for place in places.into_iter().rev() {
        ptx.replace_range(place, &b'0'.to_string());
    }
    ptx
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_the_machine_stays_in_the_ptx() {
        // `_Z_INTERNAL_` and an id, wrapped within the id.
        let ptx = "\tret;\n\t.file\t1 \"/home/u/ptx-sim/corpus/a.cu\"\n\t.file\t2 \"/opt/cuda/include/sm_30.hpp\"\n\
                   \t.section\t.debug_str\n\t{\n$L__info_string0:\n\
                   .b8 95,90,95,73,78,84,69,82,78,65,76,95,48,100,100,102\n.b8 48,55,55,102,95,97,0\n\n\t}\n";
        let expected = "\tret;\n\t.file\t1 \"corpus/a.cu\"\n\t.file\t2 \"sm_30.hpp\"\n\
                        \t.section\t.debug_str\n\t{\n$L__info_string0:\n\
                        .b8 95,90,95,73,78,84,69,82,78,65,76,95,48,48,48,48\n.b8 48,48,48,48,95,97,0\n\n\t}\n";
        assert_eq!(without_machine(ptx, Path::new("/home/u/ptx-sim")), expected);
    }
}
