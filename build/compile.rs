//! Compiles the kernels' files into a cache that all profiles, features and tools share: cargo gives a build script
//! a new OUT_DIR for each of them, and each would compile the same kernels again.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::arch::Arch;
use super::nvcc::Version;
use super::toolkit;

/// Bumped where the meaning of a cached object changes without its flags changing.
const CACHE_FORMAT: u32 = 2;

/// What is made of a file.
pub enum Output {
    /// Machine code and PTX for a driver, by nvcc's `-gencode` arguments.
    Fatbin(Vec<String>),
    /// Deflated PTX with line numbers for the simulated GPU.
    Ptx(Arch),
}

/// One file to compile, by the name of its family.
pub struct Job {
    /// `cuda/<family>.cu`.
    pub family: &'static str,
    /// What to make of it.
    pub output: Output,
}

/// A compiler and where its objects go.
pub struct Compiler {
    /// The program.
    pub nvcc: PathBuf,
    /// Its version.
    pub version: Version,
    /// All that tells it from other compilers: what it says of itself, and the variables that it reads.
    pub identity: String,
    /// The folder that holds `cuda/`.
    pub root: PathBuf,
    /// The cache.
    pub cache: PathBuf,
}

impl Job {
    /// The file, from the crate's root: relative, so that no path of this machine gets into an object or a key.
    pub fn source(&self) -> PathBuf {
        Path::new("cuda").join(format!("{}.cu", self.family))
    }

    /// nvcc's arguments but for the files.
    pub fn flags(&self, version: Version) -> Vec<String> {
        let mut flags: Vec<String> = ["-O3", "-std=c++17"].map(String::from).into();
        if version.to_string() == toolkit::PINNED {
            // Known to give no warning. Newer compilers may, which must not break a user's build.
            flags.push("-Werror=all-warnings".into());
        }
        match &self.output {
            Output::Fatbin(targets) => {
                flags.push("-fatbin".into());
                // The option came with CUDA 12.8; before, there was one way to compress.
                let compressed = version.cuda >= (12, 8);
                flags.push(if compressed { "--compress-mode=size" } else { "-Xfatbin=-compress-all" }.into());
                flags.extend(targets.iter().map(|target| format!("-gencode={target}")));
            }
            Output::Ptx(arch) => {
                flags.extend(["-ptx".into(), "-lineinfo".into(), format!("-arch=compute_{arch}")]);
            }
        }
        flags
    }
}

impl Compiler {
    /// Compiles what the cache lacks, at most `parallel` files at a time, and gives the objects' paths in the order
    /// of `jobs`.
    pub fn compile(&self, jobs: &[Job], parallel: usize) -> Result<Vec<PathBuf>, String> {
        let results: Vec<Mutex<Option<Result<PathBuf, String>>>> =
            jobs.iter().map(|_| Mutex::new(None)).collect();
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..parallel.clamp(1, jobs.len().max(1)) {
                scope.spawn(|| {
                    while let Some((job, result)) = {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        jobs.get(index).zip(results.get(index))
                    } {
                        *result.lock().expect("no thread panics with the lock") = Some(self.object(job));
                    }
                });
            }
        });
        let results = results.into_iter().map(|result| {
            result.into_inner().expect("no thread panics with the lock").expect("every job has run")
        });
        results.collect()
    }

    /// The object of one job, from the cache or compiled.
    fn object(&self, job: &Job) -> Result<PathBuf, String> {
        let ending = match job.output {
            Output::Fatbin(_) => "fatbin",
            Output::Ptx(_) => "ptx.z",
        };
        let object = self.cache.join(format!("{}-{}.{ending}", job.family, self.key(job)?));
        if object.is_file() {
            return Ok(object);
        }
        // Written beside the object and renamed, so that a concurrent build sees it whole or not at all.
        static PARTIAL: AtomicUsize = AtomicUsize::new(0);
        let unique = format!("{}-{}.partial", std::process::id(), PARTIAL.fetch_add(1, Ordering::Relaxed));
        let partial = object.with_extension(unique);
        let start = Instant::now();
        let made = self.run(job, &partial).and_then(|()| {
            // Cargo shows this with -vv.
            println!("{}.{ending} compiled in {:.1} s", job.family, start.elapsed().as_secs_f64());
            fs::rename(&partial, &object)
                .map_err(|error| format!("cannot write {}: {error}", object.display()))
        });
        if made.is_err() {
            // It may not have been written at all.
            let _ = fs::remove_file(&partial);
        }
        made.map(|()| object)
    }

    fn run(&self, job: &Job, partial: &Path) -> Result<(), String> {
        let source = job.source();
        let output = Command::new(&self.nvcc)
            .current_dir(&self.root)
            .args(job.flags(self.version))
            .arg("-o")
            .args([partial, &source])
            .output()
            .map_err(|error| format!("cannot run {}: {error}", self.nvcc.display()))?;
        let message = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            return Err(failure(&source, &self.nvcc, &message));
        }
        for line in message.lines() {
            println!("cargo::warning={line}");
        }
        if let Output::Ptx(_) = job.output {
            let io = |error| format!("{}: {error}", partial.display());
            let ptx = relative_paths(&fs::read_to_string(partial).map_err(io)?, &self.root);
            fs::write(partial, miniz_oxide::deflate::compress_to_vec(ptx.as_bytes(), 9)).map_err(io)?;
        }
        Ok(())
    }

    /// Names an object by all that it comes from: the file and what it includes of ours, the flags, the compiler
    /// (which brings the other headers).
    fn key(&self, job: &Job) -> Result<String, String> {
        let mut hash = Fnv::default();
        hash.text(&format!("{CACHE_FORMAT}"));
        hash.text(&self.identity);
        for flag in job.flags(self.version) {
            hash.text(&flag);
        }
        for file in closure(&self.root, &job.source())? {
            hash.text(&file.to_string_lossy());
            hash.text(&read(&self.root, &file)?);
        }
        Ok(hash.hex())
    }
}

/// A file and all that it includes in quotes, transitively, from `root`. Conditions are not looked at: a file too
/// many costs a compilation, a file too few would give an old object.
pub fn closure(root: &Path, source: &Path) -> Result<BTreeSet<PathBuf>, String> {
    let mut files = BTreeSet::new();
    let mut queue = vec![source.to_path_buf()];
    while let Some(file) = queue.pop() {
        if files.contains(&file) {
            continue;
        }
        let text = read(root, &file)?;
        for name in text.lines().filter_map(included) {
            queue.push(normal(&file.with_file_name("").join(name)));
        }
        files.insert(file);
    }
    Ok(files)
}

/// The name in `#include "name"`.
fn included(line: &str) -> Option<&str> {
    let directive = line.trim_start().strip_prefix('#')?.trim_start().strip_prefix("include")?;
    directive.trim_start().strip_prefix('"')?.split('"').next()
}

/// `a/../b` as `b`, so that a file has one name.
fn normal(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut whole, part| {
        if part.as_os_str() == ".." {
            whole.pop();
        } else {
            whole.push(part);
        }
        whole
    })
}

fn read(root: &Path, file: &Path) -> Result<String, String> {
    fs::read_to_string(root.join(file)).map_err(|error| format!("{}: {error}", file.display()))
}

/// PTX whose `.file` lines name our files from the crate's root, and the compiler's headers by their bare names.
pub fn relative_paths(ptx: &str, root: &Path) -> String {
    let relative = |line: &str| {
        let (number, path) = line.strip_prefix("\t.file\t")?.split_once(" \"")?;
        let path = normal(Path::new(path.split('"').next()?));
        let name = path.strip_prefix(root).map_or_else(|_| path.file_name().map(Path::new), Some)?;
        Some(format!("\t.file\t{number} \"{}\"\n", name.display()))
    };
    ptx.lines().map(|line| relative(line).unwrap_or_else(|| format!("{line}\n"))).collect()
}

/// What a user reads where nvcc fails.
pub fn failure(source: &Path, nvcc: &Path, message: &str) -> String {
    // nvcc runs the host's C++ compiler as its preprocessor, and says little where there is none.
    let no_host_compiler =
        ["host compiler", "cc1plus", "cannot find compiler"].iter().any(|text| message.contains(text));
    let hint = if no_host_compiler {
        "\nnvcc needs a C++ compiler: install g++, or say in NVCC_CCBIN where one is"
    } else {
        ""
    };
    format!("{} failed on {}:\n{}{hint}", nvcc.display(), source.display(), message.trim_end())
}

/// FNV-1a with 128 bits: short, the same in every Rust release, and nobody attacks a user's own cache.
struct Fnv(u128);

impl Default for Fnv {
    fn default() -> Self {
        Fnv(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d)
    }
}

impl Fnv {
    /// Takes a text in, and its length, so that two texts are not one.
    fn text(&mut self, text: &str) {
        for byte in text.bytes().chain((text.len() as u64).to_le_bytes()) {
            self.0 = (self.0 ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
        }
    }

    fn hex(&self) -> String {
        format!("{:032x}", self.0)
    }
}
