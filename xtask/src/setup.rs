//! Installs the pinned CUDA compiler, without root, from NVIDIA's own Python wheels into the user's cache folder.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{nvcc, toolkit, workspace};

/// What is installed. nvcc, its compiler (nvvm) and its headers are pinned alike: left free, pip mixes nvcc 13.0
/// with a newer compiler, whose PTX the older assembler refuses. The disassemblers have no 13.0 release as wheels.
const PACKAGES: [&str; 9] = [
    "nvidia-cuda-nvcc==13.0.88",
    "nvidia-nvvm==13.0.88",
    "nvidia-cuda-crt==13.0.88",
    "nvidia-cuda-runtime==13.0.96",
    "nvidia-cuda-cccl==13.0.85",
    "nvidia-cuda-cuobjdump>=13.2,<14",
    "nvidia-cuda-nvdisasm>=13.2,<14",
    "libclang==18.1.1",
    "clang-format==18.1.8",
];

/// Written last, so that its content tells a whole installation from a cut-short or an older one.
const MANIFEST: &str = "installed.txt";

/// A kernel that needs all parts: the header, the compiler proper, the assembler and the host compiler.
const PROBE: &str = "\
#include <cuda_bf16.h>
extern \"C\" __global__ void probe(__nv_bfloat16* x) { *x = __float2bfloat16_rn(1.0f); }
";

/// `cargo xtask setup`: does nothing where the toolkit is installed already.
pub fn run(args: &[String]) -> Result<()> {
    if !args.is_empty() {
        bail!("setup takes no options; LLAMA_KERNELS_CUDA_DIR moves the installation");
    }
    if !cfg!(target_os = "linux") {
        bail!("the CUDA kernels are built on Linux; other systems run the CPU path, which needs no setup");
    }
    let dir = dir()?;
    let parent = dir.parent().context("LLAMA_KERNELS_CUDA_DIR is the root folder")?;
    fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    // One at a time: whoever waited finds the toolkit installed.
    let lock = File::create(sibling(&dir, "lock")).context("cannot write into the cache folder")?;
    lock.lock().context("cannot lock the cache folder")?;
    if is_complete(&dir) {
        println!("the CUDA compiler {} is installed in {}", toolkit::PINNED, dir.display());
    } else {
        install(&dir)?;
        println!("installed the CUDA compiler {} in {}", toolkit::PINNED, dir.display());
    }
    println!("NVIDIA's licence: {}", license(&dir)?.display());
    probe(&dir)?;
    println!("it compiles: `cargo build` finds it by itself");
    Ok(())
}

/// Makes sure that the build script will find an nvcc.
pub fn compiler() -> Result<()> {
    if let Some(nvcc) = nvcc::find(&workspace::env, &Path::is_file) {
        let (version, _) = nvcc::version(&nvcc).map_err(anyhow::Error::msg)?;
        println!("CUDA compiler {version}: {}", nvcc.display());
        return Ok(());
    }
    println!("no nvcc found: installing the pinned CUDA compiler");
    run(&[])
}

/// A file of the installation, by its path below `site-packages`.
pub fn installed(file: &str) -> Result<PathBuf> {
    let dir = dir()?;
    if !is_complete(&dir) {
        bail!("the pinned CUDA toolkit is not installed in {}: run `cargo xtask setup`", dir.display());
    }
    Ok(dir.join("site-packages").join(file))
}

fn dir() -> Result<PathBuf> {
    let dir = toolkit::pinned_dir(&workspace::env)
        .context("neither HOME nor LLAMA_KERNELS_CUDA_DIR says where to install")?;
    if !dir.is_absolute() {
        bail!(
            "LLAMA_KERNELS_CUDA_DIR={}: builds run in other folders, the path must be absolute",
            dir.display()
        );
    }
    Ok(dir)
}

fn manifest() -> String {
    PACKAGES.join("\n") + "\n"
}

fn is_complete(dir: &Path) -> bool {
    fs::read_to_string(dir.join(MANIFEST)).is_ok_and(|text| text == manifest())
}

/// `dir` with `.suffix` added to its name.
fn sibling(dir: &Path, suffix: &str) -> PathBuf {
    let mut name = dir.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}

/// Installs beside `dir` and renames at the end: what was cut short never looks like a toolkit.
fn install(dir: &Path) -> Result<()> {
    let partial = sibling(dir, "partial");
    let remove = |folder: &Path| match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    };
    remove(&partial)?;
    fs::create_dir_all(&partial)?;
    println!("installing the CUDA compiler {} into {}", toolkit::PINNED, dir.display());
    println!("130 MB to fetch, 350 MB installed, under NVIDIA's CUDA Toolkit licence");
    if let Err(error) = fetch(&partial) {
        remove(&partial)?;
        return Err(error);
    }
    fs::write(partial.join(MANIFEST), manifest())?;
    remove(dir)?;
    fs::rename(&partial, dir).with_context(|| format!("cannot move the toolkit to {}", dir.display()))?;
    if let Some(stamp) = toolkit::setup_stamp(&workspace::env) {
        fs::create_dir_all(stamp.parent().context("the cache folder has no parent")?)?;
        fs::write(&stamp, "").with_context(|| stamp.display().to_string())?;
    }
    Ok(())
}

/// Fetches the wheels through the pip of a virtual environment, which is thrown away: the system's Python stays as
/// it is.
fn fetch(partial: &Path) -> Result<()> {
    let python = workspace::env("PYTHON").unwrap_or_else(|| "python3".into());
    let venv = partial.join("venv");
    let made = Command::new(&python).args(["-m", "venv"]).arg(&venv).output().with_context(|| {
        format!("cannot run {}: install Python 3, or say in PYTHON where it is", python.display())
    })?;
    if !made.status.success() {
        bail!(
            "Python cannot make a virtual environment; on Debian and Ubuntu install python3-venv\n{}{}",
            String::from_utf8_lossy(&made.stdout),
            String::from_utf8_lossy(&made.stderr)
        );
    }
    let mut pip = Command::new(venv.join("bin/python"));
    pip.args(["-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--no-compile"]);
    pip.args(["--no-deps", "--only-binary=:all:", "--target"]).arg(partial.join("site-packages"));
    workspace::run(pip.args(PACKAGES)).context(
        "pip could not install the wheels (its message stands above): the package index must be reachable, directly or \
         through the proxy or mirror that pip is configured for",
    )?;
    fs::remove_dir_all(&venv).with_context(|| venv.display().to_string())
}

fn license(dir: &Path) -> Result<PathBuf> {
    let file = dir
        .join(format!("site-packages/nvidia_cuda_nvcc-{}.dist-info", toolkit::PINNED))
        .join("licenses/License.txt");
    if !file.is_file() {
        bail!("{} is missing: remove {} and run setup again", file.display(), dir.display());
    }
    Ok(file)
}

/// Compiles a kernel, so that a missing host compiler shows here rather than in the first build.
fn probe(dir: &Path) -> Result<()> {
    let source = sibling(dir, "probe.cu");
    let object = sibling(dir, "probe.cubin");
    fs::write(&source, PROBE)?;
    let nvcc = toolkit::pinned_bin(dir).join("nvcc");
    let compiled =
        Command::new(&nvcc).args(["-cubin", "-arch=sm_90a", "-o"]).args([&object, &source]).output();
    for file in [&source, &object] {
        // The object is missing where the compiler failed, which is reported below.
        let _ = fs::remove_file(file);
    }
    let compiled = compiled.with_context(|| format!("cannot run {}", nvcc.display()))?;
    if !compiled.status.success() {
        bail!(
            "the toolkit is installed, but nvcc cannot compile; it needs a C++ compiler: install g++, or say in NVCC_CCBIN \
             where one is\n{}{}",
            String::from_utf8_lossy(&compiled.stdout),
            String::from_utf8_lossy(&compiled.stderr)
        );
    }
    Ok(())
}
