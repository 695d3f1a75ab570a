//! The embedded fatbins and PTX.

use std::collections::BTreeSet;

use llama_kernels::gpu::registry;
use llama_kernels::plan::Kernel;

use super::tools;

#[test]
#[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
fn every_kernel_is_in_its_fatbin_for_every_architecture_and_nothing_else_is() {
    let mut compiled = BTreeSet::new();
    for (family, kernel) in tools::families() {
        let output = tools::cuobjdump(family, kernel, &["--dump-resource-usage"]);
        compiled.extend(tools::by_kernel(&output).into_keys());
    }
    let table: BTreeSet<_> = Kernel::ALL
        .iter()
        .flat_map(|&kernel| {
            let archs = tools::architectures(kernel).into_iter();
            archs.map(move |arch| (kernel.name().to_string(), arch.to_string()))
        })
        .collect();
    assert_eq!(compiled, table);
}

#[test]
#[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
fn every_portable_fatbin_brings_ptx_for_newer_cards() {
    for (family, kernel) in tools::families() {
        let ptx = tools::cuobjdump(family, kernel, &["--list-ptx"]);
        // No other card has what a kernel for one architecture is made of.
        assert_eq!(ptx.contains("sm_80.ptx"), kernel.needs().is_none(), "{family}: {ptx}");
        assert_eq!(ptx.contains(".ptx"), kernel.needs().is_none(), "{family}: {ptx}");
    }
}

#[test]
#[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
fn the_fatbins_are_small() {
    let bytes: usize =
        tools::families().values().map(|&kernel| registry::fatbin(kernel).unwrap().len()).sum();
    assert!(bytes < 8 << 20, "{bytes} bytes");
}

#[cfg(feature = "sim")]
#[test]
#[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
fn the_simulated_gpu_gets_ptx_with_lines_and_without_paths_of_this_machine() {
    for &kernel in Kernel::ALL {
        let ptx = registry::ptx(kernel).unwrap();
        assert!(ptx.contains(&format!(".visible .entry {}(", kernel.name())), "{}", kernel.name());
        let target = if kernel.needs().is_none() { "sm_80" } else { "sm_90a" };
        assert!(ptx.contains(&format!("\n.target {target}\n")), "{}", kernel.name());
        assert!(ptx.contains("\t.loc\t"), "{}", kernel.name());
        let files: Vec<&str> = ptx.lines().filter(|line| line.starts_with("\t.file\t")).collect();
        let own = format!("\"cuda/{}.cu\"", kernel.family());
        assert!(files.iter().any(|line| line.ends_with(&own)), "{files:?}");
        assert!(!ptx.contains(env!("CARGO_MANIFEST_DIR")), "{}", kernel.name());
        assert!(files.iter().all(|line| !line.contains("\"/") && !line.contains("..")), "{files:?}");
    }
}
