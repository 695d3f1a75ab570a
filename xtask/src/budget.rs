//! Compares what each kernel takes of a multiprocessor with cuda/budget.txt, or rewrites that table.

use anyhow::Result;

use crate::workspace;

/// `cargo xtask budget [--update]`: the comparison itself is a test of the crate, which reads the embedded kernels.
pub fn run(args: &[String]) -> Result<()> {
    let update = workspace::flag(args, "--update")?;
    let mut cargo = workspace::cargo();
    cargo.args(["test", "--quiet", "--package", "llama-kernels", "--test", "main", "kernels::budget"]);
    cargo.env("LLAMA_KERNELS_REQUIRE_KERNELS", "1");
    if update {
        cargo.env("LLAMA_KERNELS_UPDATE_BUDGET", "1");
    }
    workspace::run(&mut cargo)
}
