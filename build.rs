//! Compiles cuda/*.cu into the fatbins that the crate embeds, where there is an nvcc; docs/building.md tells users
//! how.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[path = "build/arch.rs"]
mod arch;
#[path = "build/compile.rs"]
mod compile;
#[path = "build/nvcc.rs"]
mod nvcc;
#[path = "build/toolkit.rs"]
mod toolkit;

use compile::{Compiler, Job, Output};

macro_rules! kernel_table {
    ($($family:ident { $($(#[$doc:meta])* $variant:ident($params:ident) = $kernel:literal,)* })*) => {
        const FAMILIES: &[&str] = &[$(stringify!($family)),*];
    };
}
include!("build/kernel_table.rs");

fn main() -> ExitCode {
    println!("cargo::rustc-check-cfg=cfg(kernels_built)");
    println!("cargo::rustc-check-cfg=cfg(kernels_pinned)");
    // Without this line cargo would watch the whole package.
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var_os("CARGO_FEATURE_KERNELS").is_none() {
        return ExitCode::SUCCESS;
    }
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            for line in message.lines() {
                println!("cargo::error={line}");
            }
            ExitCode::FAILURE
        }
    }
}

/// Looks a variable up, and has cargo build again where it changes. Empty is unset.
fn env(name: &str) -> Option<OsString> {
    println!("cargo::rerun-if-env-changed={name}");
    std::env::var_os(name).filter(|value| !value.is_empty())
}

fn build() -> Result<(), String> {
    let required = env("LLAMA_KERNELS_REQUIRE_KERNELS").is_some_and(|value| value == "1");
    let stub = |reason: &str| {
        if required {
            return Err(format!(
                "LLAMA_KERNELS_REQUIRE_KERNELS=1, but the CUDA kernels cannot be built: {reason}. Install nvcc with `cargo \
                 xtask setup`, or name one in NVCC or CUDA_HOME"
            ));
        }
        println!("cargo::warning=the CUDA kernels are not part of this build: {reason}");
        println!("cargo::rustc-env=LLAMA_KERNELS_STUB_REASON={reason}");
        Ok(())
    };
    if env("DOCS_RS").is_some() {
        return stub("documentation is built without nvcc");
    }
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("linux") {
        return stub("they are built on Linux alone");
    }
    let archs = architectures()?;
    let Some(nvcc) = nvcc::find(&env, &Path::is_file) else {
        watch_setup();
        return stub("no nvcc in NVCC, the pinned toolkit, CUDA_HOME, CUDA_PATH, PATH or /usr/local/cuda");
    };
    let pinned = toolkit::pinned_dir(&env).map(|dir| toolkit::pinned_bin(&dir));
    if env("NVCC").is_none() && nvcc.parent() != pinned.as_deref() {
        // Found in a place that is looked at after the pinned toolkit's.
        watch_setup();
    }
    if nvcc.is_file() {
        println!("cargo::rerun-if-changed={}", nvcc.display());
    }

    let (version, mut identity) = nvcc::version(&nvcc)?;
    for variable in ["NVCC_PREPEND_FLAGS", "NVCC_APPEND_FLAGS", "NVCC_CCBIN"] {
        // nvcc reads these by itself.
        identity += &format!("{variable}={:?}\n", env(variable));
    }
    let out_dir = PathBuf::from(cargo_env("OUT_DIR")?);
    let compiler = Compiler {
        nvcc,
        version,
        identity,
        root: PathBuf::from(cargo_env("CARGO_MANIFEST_DIR")?),
        cache: object_cache(&out_dir),
    };
    assemble(&compiler, &archs, &out_dir)?;
    println!("cargo::rustc-cfg=kernels_built");
    println!("cargo::rustc-env=LLAMA_KERNELS_NVCC={}", compiler.nvcc.display());
    if version.to_string() == toolkit::PINNED {
        println!("cargo::rustc-cfg=kernels_pinned");
    }
    Ok(())
}

fn cargo_env(name: &str) -> Result<String, String> {
    std::env::var(name).map_err(|error| format!("{name}: {error}"))
}

fn architectures() -> Result<Vec<arch::Arch>, String> {
    for variable in ["CUDA_COMPUTE_CAPS", "CUDA_COMPUTE_CAP"] {
        if let Some(list) = env(variable) {
            return arch::parse_list(variable, &list.to_string_lossy());
        }
    }
    arch::parse_list("default", arch::DEFAULT)
}

/// Has cargo build again after `cargo xtask setup`. Where the file cannot be written, setup cannot install either.
fn watch_setup() {
    let Some(stamp) = toolkit::setup_stamp(&env) else { return };
    let there = stamp.is_file()
        || (stamp.parent().is_some_and(|folder| fs::create_dir_all(folder).is_ok())
            && File::create(&stamp).is_ok());
    if there {
        println!("cargo::rerun-if-changed={}", stamp.display());
    }
}

/// The user's cache, or a folder of this build where that cannot be written (sandboxed builds).
fn object_cache(out_dir: &Path) -> PathBuf {
    let shared = env("LLAMA_KERNELS_CACHE_DIR")
        .map(PathBuf::from)
        .or_else(|| toolkit::cache_root(&env).map(|root| root.join("objects")));
    let writable = |folder: &PathBuf| {
        let probe = folder.join(format!("{}.probe", std::process::id()));
        let written = fs::create_dir_all(folder).is_ok() && File::create(&probe).is_ok();
        written && fs::remove_file(&probe).is_ok()
    };
    shared.filter(writable).unwrap_or_else(|| out_dir.to_path_buf())
}

/// Compiles what the cache lacks and writes OUT_DIR/kernels.rs, which embeds the objects.
fn assemble(compiler: &Compiler, archs: &[arch::Arch], out_dir: &Path) -> Result<(), String> {
    let simulated = std::env::var_os("CARGO_FEATURE_SIM").is_some();
    let mut jobs = Vec::new();
    for &family in FAMILIES {
        let targets = arch::targets(family, archs);
        if !targets.is_empty() {
            jobs.push(Job { family, output: Output::Fatbin(targets) });
        }
        if simulated {
            jobs.push(Job { family, output: Output::Ptx(arch::simulated(family)) });
        }
    }
    for job in &jobs {
        for file in compile::closure(&compiler.root, &job.source())? {
            println!("cargo::rerun-if-changed={}", file.display());
        }
    }

    // Cargo has given this process one of its -j slots; the others are idle or wait for this crate.
    let parallel = std::env::var("NUM_JOBS").ok().and_then(|jobs| jobs.parse().ok()).unwrap_or(1);
    let objects = compiler.compile(&jobs, parallel)?;

    let names = |list: Vec<String>| list.join(", ");
    let (major, minor) = compiler.version.cuda;
    let mut table = format!(
        "pub(super) const ARCHITECTURES: &[&str] = &[{}];\npub(super) const CUDA: (u32, u32) = ({major}, {minor});\n",
        names(archs.iter().map(|arch| format!("\"{arch}\"")).collect())
    );
    for (kind, item) in [("fatbin", "FATBINS"), ("ptx", "PTX")] {
        let of_kind = |job: &Job| matches!(job.output, Output::Fatbin(_)) == (kind == "fatbin");
        let mut entries = Vec::new();
        for (job, object) in jobs.iter().zip(&objects).filter(|(job, _)| of_kind(job)) {
            let file = format!("{}.{kind}", job.family);
            fs::copy(object, out_dir.join(&file))
                .map_err(|error| format!("{}: {error}", object.display()))?;
            entries.push(format!("(\"{}\", embed!(\"/{file}\"))", job.family));
        }
        if kind == "fatbin" || simulated {
            table += &format!("pub(super) static {item}: &[(&str, &[u8])] = &[{}];\n", names(entries));
        }
    }
    fs::write(out_dir.join("kernels.rs"), table).map_err(|error| format!("{}: {error}", out_dir.display()))
}
