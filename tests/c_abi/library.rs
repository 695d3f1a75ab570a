//! The shared library, built.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// The shared library of this test's own features and profile. `cargo test --test main` builds no example, so it is built
/// here; where it is built already, that takes no time.
pub fn path() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        // target/PROFILE/deps/main-HASH
        let test = std::env::current_exe().unwrap();
        let [folder, target] = [2, 3].map(|level| test.ancestors().nth(level).unwrap());
        let profile = match folder.file_name().and_then(OsStr::to_str).unwrap() {
            "debug" => "dev",
            other => other,
        };
        let features = [
            ("default", cfg!(feature = "default")),
            ("cli", cfg!(feature = "cli")),
            ("model", cfg!(feature = "model")),
            ("rayon", cfg!(feature = "rayon")),
        ];
        let features = features.iter().filter(|(_, enabled)| *enabled).map(|(name, _)| *name);
        let features: Vec<_> = features.chain(["kernels", "sim"]).collect();
        let mut cargo = Command::new(env!("CARGO"));
        cargo
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .args(["build", "--quiet", "--offline", "--example", "09_c_abi", "--no-default-features"])
            .args(["--features", &features.join(","), "--profile", profile, "--target-dir"])
            .arg(target);
        succeed(&mut cargo);
        let name = format!("{}09_c_abi{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
        let path = folder.join("examples").join(name);
        assert!(path.is_file(), "{} was not built", path.display());
        path
    })
}

/// The folder of the library's sources.
pub fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/09_c_abi")
}

/// Compiles `source` with all warnings as errors, linked with the library, and runs it.
pub fn run_c(source: &Path, folder: &Path, args: &[&str]) -> Output {
    let program = folder.join("program");
    // Whoever compiles Rust has the linker's driver.
    let mut compiler = Command::new("cc");
    compiler.args(["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror", "-I"]);
    compiler.arg(sources()).arg(source).arg(path()).args(["-lm", "-o"]).arg(&program);
    succeed(&mut compiler);
    succeed(Command::new(program).args(args))
}

/// Runs a command and shows what it says where it fails.
pub fn succeed(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{stdout}\n{stderr}", output.status);
    output
}
