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
