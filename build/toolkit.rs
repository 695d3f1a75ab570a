//! Where the pinned CUDA compiler and the compiled objects lie. Read by the build script (which uses them) and by xtask
//! (which installs the compiler), so that both mean the same folders.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The version of nvcc that `cargo xtask setup` installs; budgets of registers and shared memory belong to it.
pub const PINNED: &str = "13.0.88";

/// Looks an environment variable up; unset and empty are the same.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// The folder of everything that this project caches for a user, or none where there is no home.
pub fn cache_root(env: Env<'_>) -> Option<PathBuf> {
    let home = |name: &str| env(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = if cfg!(windows) {
        home("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        home("HOME").map(|home| home.join("Library/Caches"))
    } else {
        home("XDG_CACHE_HOME").or_else(|| home("HOME").map(|home| home.join(".cache")))
    };
    base.map(|base| base.join("llama-kernels"))
}

/// The folder that the pinned compiler is installed into.
pub fn pinned_dir(env: Env<'_>) -> Option<PathBuf> {
    env("LLAMA_KERNELS_CUDA_DIR")
        .map(PathBuf::from)
        .or_else(|| cache_root(env).map(|root| root.join(format!("cuda-{PINNED}"))))
}

/// The programs of a toolkit that was installed into `dir`.
pub fn pinned_bin(dir: &Path) -> PathBuf {
    dir.join("site-packages/nvidia/cu13/bin")
}

/// A file that `cargo xtask setup` touches. A build without a compiler watches it, so that cargo builds again after an
/// installation: the compiler itself cannot be watched while it is missing, cargo would build every time.
pub fn setup_stamp(env: Env<'_>) -> Option<PathBuf> {
    cache_root(env).map(|root| root.join("setup.stamp"))
}
