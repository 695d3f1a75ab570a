//! Runs the whole test suite, kernels included.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::{bindgen, corpus, setup, workspace};

/// The examples that need no CUDA kernels.
const CPU_EXAMPLES: [&str; 3] = ["01_generate", "02_ragged_batch", "03_reference_operation"];

/// `cargo xtask test [--cpu-only]`: installs the CUDA compiler if there is none.
pub fn run(args: &[String]) -> Result<()> {
    let cpu_only = workspace::flag(args, "--cpu-only")?;
    if cpu_only {
        println!("testing the CPU path alone, as asked: the CUDA kernels are not compiled and not tested");
        return cpu_path();
    }
    if let Err(reason) = setup::compiler() {
        println!("there is no CUDA compiler and none could be installed: {reason:#}");
        println!("testing the CPU path alone");
        cpu_path()?;
        // A green run without kernels must be impossible.
        bail!(
            "the CPU path passed; the CUDA kernels were NOT tested ({reason:#}). With --cpu-only this is a success"
        );
    }
    println!("testing everything; the first time, the build takes some minutes on two cores");
    let launches = Launches::new()?;
    workspace::run(
        workspace::cargo()
            .args(["test", "--workspace", "--all-features"])
            .env("LLAMA_KERNELS_REQUIRE_KERNELS", "1")
            .env("LLAMA_KERNELS_LAUNCHES", &launches.file),
    )?;
    generated_files()?;
    examples(&["--all-features"], &|_| true)?;
    launches.report()
}

/// The file that every device of every test process appends its number of launches to.
struct Launches {
    file: PathBuf,
}

impl Launches {
    fn new() -> Result<Self> {
        let folder = workspace::target_dir();
        std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let file = folder.join(format!("launches-{}.txt", std::process::id()));
        std::fs::write(&file, "").with_context(|| file.display().to_string())?;
        Ok(Launches { file })
    }

    /// The suite's last lines; an error where no kernel ran.
    fn report(&self) -> Result<()> {
        let text = std::fs::read_to_string(&self.file).with_context(|| self.file.display().to_string())?;
        println!();
        for line in summary(&text)? {
            println!("{line}");
        }
        Ok(())
    }
}

impl Drop for Launches {
    fn drop(&mut self) {
        // A file that stays behind in the build's own folder harms nobody.
        let _ = std::fs::remove_file(&self.file);
    }
}

/// One line a device from lines of a number, a tab and a device's name.
fn summary(text: &str) -> Result<Vec<String>> {
    let mut launches: BTreeMap<&str, u64> = BTreeMap::new();
    for line in text.lines() {
        let (number, device) = line.split_once('\t').with_context(|| format!("launches: {line:?}"))?;
        *launches.entry(device).or_default() +=
            number.parse::<u64>().with_context(|| format!("launches: {line:?}"))?;
    }
    if launches.values().all(|&number| number == 0) {
        bail!("the tests launched no kernel on any device");
    }
    Ok(launches.into_iter().map(|(device, number)| format!("{number} kernel launches on {device}")).collect())
}

/// Proves that src/params.rs is what bindgen makes of cuda/params.h, and the corpus's PTX what nvcc makes of its
/// sources. A toolkit that is not the pinned one has no libclang, and its nvcc makes other PTX.
fn generated_files() -> Result<()> {
    match setup::installed("clang/native") {
        Ok(_) => {
            bindgen::run(&["--check".into()])?;
            corpus::run(&["--check".into()])
        }
        Err(reason) => {
            println!("\nsrc/params.rs was NOT compared with cuda/params.h: {reason:#}");
            println!("ptx-sim/corpus/*.ptx were NOT compared with their sources");
            Ok(())
        }
    }
}

fn cpu_path() -> Result<()> {
    let features = ["--no-default-features", "--features", "cli"];
    workspace::run(workspace::cargo().arg("test").args(features))?;
    examples(&features, &|name| CPU_EXAMPLES.contains(&name))
}

/// Every example runs as a test does: to the end, from the workspace's root.
fn examples(features: &[&str], wanted: &dyn Fn(&str) -> bool) -> Result<()> {
    examples_of("llama-kernels", "examples", features, wanted)?;
    examples_of("ptx-sim", "ptx-sim/examples", &[], &|_| true)
}

fn examples_of(package: &str, folder: &str, features: &[&str], wanted: &dyn Fn(&str) -> bool) -> Result<()> {
    let folder = workspace::root().join(folder);
    let files = std::fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
    let mut examples: Vec<_> =
        files.filter_map(|file| example(&file.ok()?.path())).filter(|(name, _)| wanted(name)).collect();
    examples.sort();
    for (example, is_library) in examples {
        let task = if is_library { "build" } else { "run" };
        println!("\nexample {example}");
        let mut command = workspace::cargo();
        command.args([task, "--quiet", "--package", package, "--example", &example]).args(features);
        workspace::run(&mut command).with_context(|| format!("example {example}"))?;
        if is_library {
            println!("built and NOT run: it is a library, which the tests call");
        }
    }
    Ok(())
}

/// The name of the example that a path in an examples folder is, and whether it is a library: a folder with a `lib.rs`.
fn example(path: &Path) -> Option<(String, bool)> {
    let is_library = path.join("lib.rs").is_file();
    let is_program = path.extension().is_some_and(|extension| extension == "rs");
    (is_library || is_program)
        .then(|| path.file_stem()?.to_str().map(|name| (name.to_owned(), is_library)))?
}

#[cfg(test)]
mod tests {
    use super::{example, summary};
    use crate::workspace;

    #[test]
    fn libraries_are_told_from_programs() {
        let folder = workspace::root().join("examples");
        let named = |name: &str, is_library| Some((name.to_string(), is_library));
        assert_eq!(example(&folder.join("01_generate.rs")), named("01_generate", false));
        assert_eq!(example(&folder.join("09_c_abi")), named("09_c_abi", true));
        assert_eq!(example(&folder.join("09_c_abi/main.c")), None);
    }

    #[test]
    fn launches_are_summed_by_device_and_none_is_an_error() {
        let text = "3\tsimulated GPU 8.0\n1\tNVIDIA H200\n40\tsimulated GPU 8.0\n";
        let lines = ["1 kernel launches on NVIDIA H200", "43 kernel launches on simulated GPU 8.0"];
        assert_eq!(summary(text).unwrap(), lines);
        for none in ["", "0\tsimulated GPU 8.0\n"] {
            assert!(summary(none).unwrap_err().to_string().contains("launched no kernel"));
        }
        assert!(summary("half a li").is_err());
    }
}
