//! `llama-kernels check`.

use std::io::Write;

use anyhow::{Context, Result, bail};
use llama_kernels::check::{self, Outcome};
use llama_kernels::gpu::Device;

use super::options::CheckArgs;

/// One line a case, then a summary; an error if a case failed.
pub fn run(args: &CheckArgs) -> Result<()> {
    let device = Device::open(args.device).with_context(|| format!("--device {}", args.device))?;
    let cases: Vec<_> = check::cases()
        .into_iter()
        .filter(|case| args.op.as_deref().is_none_or(|op| op == case.op()))
        .collect();
    if cases.is_empty() {
        let mut ops: Vec<_> = check::cases().iter().map(check::Case::op).collect();
        ops.dedup();
        bail!("--op: expected {}, got {}", ops.join(", "), args.op.as_deref().unwrap_or_default());
    }
    check::load_kernels(&device)?;

    let mut out = std::io::stdout().lock();
    let (mut skipped, mut failed) = (0, 0);
    for case in &cases {
        let (verdict, remark) = match case.run(&device, args.seeds) {
            Outcome::Passed { share: Some(share) } => ("ok", format!("{:.0}% of the bound", share * 100.0)),
            Outcome::Passed { share: None } => ("ok", "exact".to_string()),
            Outcome::Skipped { reason } => {
                skipped += 1;
                ("skipped", reason)
            }
            Outcome::Failed { reason } => {
                failed += 1;
                ("FAILED", reason)
            }
        };
        writeln!(out, "{verdict:<8} {:<13} {:<60} {remark}", case.op(), case.name())?;
    }
    let passed = cases.len() - skipped - failed;
    writeln!(
        out,
        "{} cases on {}: {passed} passed, {skipped} skipped, {failed} failed; {} kernel launches",
        cases.len(),
        device.properties().name,
        device.launches()
    )?;
    if failed > 0 {
        bail!("{failed} of {} cases failed", cases.len());
    }
    Ok(())
}
