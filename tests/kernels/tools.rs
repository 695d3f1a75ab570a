//! The toolkit's own programs, which say what is in the embedded fatbins.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use llama_kernels::gpu::registry;
use llama_kernels::plan::Kernel;

/// The families of this build, each with one of its kernels to ask for it by.
pub fn families() -> BTreeMap<&'static str, Kernel> {
    let kernels = Kernel::ALL.iter().filter(|kernel| !architectures(**kernel).is_empty());
    kernels.map(|&kernel| (kernel.family(), kernel)).collect()
}

/// The architectures of this build whose machine code a kernel has: all of them, or, of a kernel that is made of Hopper's own
/// instructions, Hopper if the build is for it.
pub fn architectures(kernel: Kernel) -> Vec<&'static str> {
    let all = registry::architectures().unwrap().iter().copied();
    match kernel.needs() {
        None => all.collect(),
        Some((major, minor)) => all.filter(|arch| *arch == format!("{major}{minor}a")).collect(),
    }
}

/// What `cuobjdump` of the toolkit that built the kernels says of a family's fatbin.
pub fn cuobjdump(family: &str, kernel: Kernel, options: &[&str]) -> String {
    let Some(nvcc) = option_env!("LLAMA_KERNELS_NVCC") else { unreachable!("called without kernels") };
    let program = PathBuf::from(nvcc).with_file_name("cuobjdump");
    // A file a thread: tests run side by side.
    let name = format!("{family}-{:?}.fatbin", std::thread::current().id());
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&file, registry::fatbin(kernel).unwrap()).unwrap();
    let output = Command::new(&program).args(options).arg(&file).output();
    let output = output.unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    fs::remove_file(&file).unwrap();
    assert!(output.status.success(), "{}: {}", program.display(), String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// One kernel compiled for one architecture.
pub type Compiled = (String, String);

/// The lines that `cuobjdump` prints of each kernel and architecture, which it announces by `arch = sm_<arch>` and
/// `Function <name>:` or `Function : <name>`.
pub fn by_kernel(output: &str) -> BTreeMap<Compiled, Vec<&str>> {
    let mut kernels: BTreeMap<Compiled, Vec<&str>> = BTreeMap::new();
    let (mut arch, mut current) = (String::new(), None);
    for line in output.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("arch = sm_") {
            arch = name.to_string();
            current = None;
        } else if let Some(name) = line.strip_prefix("Function ") {
            current = Some((name.trim_matches([' ', ':']).to_string(), arch.clone()));
            kernels.entry(current.clone().unwrap()).or_default();
        } else if let Some(lines) = current.as_ref().and_then(|kernel| kernels.get_mut(kernel)) {
            lines.push(line);
        }
    }
    kernels
}
