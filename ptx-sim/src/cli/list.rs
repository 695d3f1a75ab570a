//! `ptx-sim list`: what a PTX file contains.

use std::fmt::Write;

use anyhow::{Context, Result};
use ptx_sim::{Inspection, KernelInfo};

use super::arguments::ListArguments;
use super::{Outcome, print, read_ptx};

/// Runs the command.
pub fn run(arguments: &ListArguments) -> Result<Outcome> {
    let ptx = read_ptx(&arguments.ptx)?;
    let inspection = ptx_sim::inspect(&ptx).with_context(|| arguments.ptx.display().to_string())?;
    if arguments.json {
        print(&format!("{}\n", serde_json::to_string_pretty(&inspection)?))?;
    } else {
        print(&as_text(&inspection))?;
    }
    Ok(if inspection.unsupported.is_empty() { Outcome::Success } else { Outcome::Unsupported })
}

fn as_text(inspection: &Inspection) -> String {
    let (major, minor) = inspection.version;
    let mut text = format!("PTX {major}.{minor} for {}\n", inspection.target);
    for kernel in &inspection.kernels {
        text.push('\n');
        kernel_as_text(kernel, &mut text);
    }
    if !inspection.unsupported.is_empty() {
        text.push_str("\nunsupported\n");
        for one in &inspection.unsupported {
            line(&mut text, format_args!("  {one}"));
        }
    }
    text
}

fn kernel_as_text(kernel: &KernelInfo, text: &mut String) {
    line(text, format_args!("{} (line {})", kernel.name, kernel.line));
    line(
        text,
        format_args!(
            "  {} bytes static shared, {} bytes local",
            kernel.static_shared_bytes, kernel.local_bytes
        ),
    );
    let three = |[x, y, z]: [u32; 3]| format!("{x}, {y}, {z}");
    for (directive, value) in [
        (".reqntid", kernel.required_block.map(three)),
        (".maxntid", kernel.max_block.map(three)),
        (".minnctapersm", kernel.min_blocks_per_sm.map(|n| n.to_string())),
        (".maxnreg", kernel.max_registers.map(|n| n.to_string())),
        (".reqnctapercluster", kernel.required_cluster.map(three)),
        (".maxclusterrank", kernel.max_cluster_blocks.map(|n| n.to_string())),
    ] {
        if let Some(value) = value {
            line(text, format_args!("  {directive} {value}"));
        }
    }
    for (directive, given) in
        [(".explicitcluster", kernel.explicit_cluster), (".blocksareclusters", kernel.blocks_are_clusters)]
    {
        if given {
            line(text, format_args!("  {directive}"));
        }
    }
    let counts: Vec<_> =
        kernel.instructions.iter().map(|(opcode, count)| format!("{opcode} {count}")).collect();
    let total: u64 = kernel.instructions.values().copied().map(u64::from).sum();
    line(text, format_args!("  {total} instructions: {}", counts.join(", ")));
    if !kernel.parameters.is_empty() {
        line(text, format_args!("  {:>6} {:>6} {:>6}  parameter", "offset", "size", "align"));
    }
    for p in &kernel.parameters {
        line(text, format_args!("  {:>6} {:>6} {:>6}  {}", p.offset, p.size, p.align, p.name));
    }
}

fn line(text: &mut String, content: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{content}");
}
