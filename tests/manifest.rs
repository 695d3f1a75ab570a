//! What depending on this crate costs.

use std::process::Command;

/// An engine that takes the default features gets few crates with them.
#[test]
fn an_engine_inherits_few_crates() {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--edges", "normal", "--prefix", "none", "--package", "llama-kernels"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).unwrap();
    let crates: std::collections::BTreeSet<&str> =
        tree.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(crates.contains("cudarc") && crates.len() <= 18, "{} crates: {crates:?}", crates.len());
}

/// docs/building.md has the one table of environment variables.
#[test]
fn environment_variables_are_in_the_table() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = std::fs::read_to_string(root.join("docs/building.md")).unwrap();
    let mut files = vec![root.join("build.rs")];
    let mut folders: Vec<_> = ["build", "src", "tests", "xtask/src"].map(|name| root.join(name)).into();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                files.push(path);
            }
        }
    }
    let mut names = std::collections::BTreeSet::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        for (start, _) in text.match_indices("LLAMA_KERNELS_") {
            let end = text[start..].find(|c: char| !c.is_ascii_uppercase() && c != '_').unwrap();
            names.insert(text[start..start + end].to_string());
        }
    }
    // What the build script tells the crate, and the beginning of all names, in this test.
    for internal in ["LLAMA_KERNELS_", "LLAMA_KERNELS_NVCC", "LLAMA_KERNELS_STUB_REASON"] {
        assert!(names.remove(internal), "{internal} is gone");
    }
    assert!(names.len() >= 6, "{names:?}");
    let missing: Vec<_> = names.iter().filter(|name| !table.contains(&format!("| `{name}` |"))).collect();
    assert!(missing.is_empty(), "docs/building.md lacks {missing:?}");
}
