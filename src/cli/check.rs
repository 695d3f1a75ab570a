//! `llama-kernels check`.

use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use llama_kernels::check::{self, Case, Options, Outcome, Worst};
use llama_kernels::gpu::Device;

use super::options::CheckArgs;
use super::record::{Check, Record};
use super::records::{self, Records};

/// Operands of a case of `--quick` at most: what leads beyond 2^31 elements is left out.
const QUICK_BYTES: u64 = 256 << 20;
/// Runs of a case of `--quick` on the simulated GPU: one with guards, one without.
const QUICK_SEEDS: u64 = 2;

/// Failed cases that stand below an operation's line.
const SHOWN_FAILURES: usize = 10;

/// A line an operation, then a summary; an error if a case failed.
pub fn run(args: &CheckArgs) -> Result<()> {
    let device = Device::open(args.device).with_context(|| format!("--device {}", args.device))?;
    if args.full && device.is_simulated() {
        bail!(
            "--full: the models' full sizes need a GPU, and {} would take days; without --full every case of the table runs",
            device.properties().name
        );
    }
    let mut cases = check::cases();
    if args.full {
        cases.extend(check::model_cases());
    }
    let mut ops: Vec<&str> = Vec::new();
    for case in &cases {
        if !ops.contains(&case.op()) {
            ops.push(case.op());
        }
    }
    if let Some(unknown) = args.ops.iter().find(|op| !ops.contains(&op.as_str())) {
        bail!("OP: expected {}, got {unknown}", ops.join(", "));
    }
    ops.retain(|op| args.ops.is_empty() || args.ops.iter().any(|wanted| wanted == op));
    check::load_kernels(&device)?;

    let options = match args.quick {
        true => Options { seeds: args.seeds.min(QUICK_SEEDS), max_bytes: Some(QUICK_BYTES) },
        false => Options { seeds: args.seeds, max_bytes: None },
    };
    let mut records = Records::open(args.json.as_deref())?;
    records.push(records::run("check", &device, None))?;
    let mut out = std::io::stdout().lock();
    let start = Instant::now();
    let mut all = Check::default();
    for op in ops {
        let mut tally = Tally::new(op);
        for case in cases.iter().filter(|case| case.op() == op) {
            let outcome = case.run(&device, &options);
            if args.cases {
                writeln!(out, "{}", case_line(case, &outcome))?;
            }
            tally.add(case, outcome);
        }
        let check = tally.finish();
        if !args.cases {
            writeln!(out, "{}", line(&check))?;
            for failure in check.failures.iter().take(SHOWN_FAILURES) {
                writeln!(out, "         {failure}")?;
            }
            if let Some(more) = check.failures.len().checked_sub(SHOWN_FAILURES + 1) {
                writeln!(out, "         and {} more, which --cases shows", more + 1)?;
            }
        }
        out.flush()?;
        all.cases += check.cases;
        all.passed += check.passed;
        all.skipped += check.skipped;
        all.failed += check.failed;
        records.push(Record::Check(check))?;
    }
    writeln!(
        out,
        "{} cases on {}: {} passed, {} skipped, {} failed; {} kernel launches in {:.1} s",
        all.cases,
        device.properties().name,
        all.passed,
        all.skipped,
        all.failed,
        device.launches(),
        start.elapsed().as_secs_f64()
    )?;
    if all.failed > 0 {
        bail!("{} of {} cases failed", all.failed, all.cases);
    }
    Ok(())
}

/// The outcomes of an operation's cases.
struct Tally {
    check: Check,
    worst: Option<(String, Worst)>,
    start: Instant,
}

impl Tally {
    fn new(op: &str) -> Self {
        let check = Check { op: op.to_string(), ..Check::default() };
        Tally { check, worst: None, start: Instant::now() }
    }

    fn add(&mut self, case: &Case, outcome: Outcome) {
        self.check.cases += 1;
        match outcome {
            Outcome::Passed { worst } => {
                self.check.passed += 1;
                let before = self.worst.as_ref().map_or(0.0, |(_, worst)| worst.share);
                if let Some(worst) = worst.filter(|worst| self.worst.is_none() || worst.share > before) {
                    self.worst = Some((case.name().to_string(), worst));
                }
            }
            Outcome::Skipped { .. } => self.check.skipped += 1,
            Outcome::Failed { reason } => {
                self.check.failed += 1;
                self.check.failures.push(format!("{}: {reason}", case.name()));
            }
        }
    }

    fn finish(self) -> Check {
        let Tally { mut check, worst, start } = self;
        if let Some((case, Worst { share, place })) = worst {
            check.worst_share = Some(share);
            check.worst_case = Some(case);
            check.worst_place = Some(place);
        }
        check.seconds = seconds(start.elapsed());
        check
    }
}

/// To the millisecond.
fn seconds(time: Duration) -> f64 {
    time.as_millis() as f64 / 1e3
}

/// An operation.
fn line(check: &Check) -> String {
    let Check { op, cases, skipped, failed, .. } = check;
    let verdict = match (failed, cases - skipped) {
        (0, 0) => "skipped",
        (0, _) => "ok",
        _ => "FAILED",
    };
    let mut what = format!("{cases} cases");
    for (number, word) in [(skipped, "skipped"), (failed, "failed")] {
        if *number > 0 {
            what += &format!(", {number} {word}");
        }
    }
    let worst = match (check.worst_share, &check.worst_case, &check.worst_place) {
        (Some(share), Some(case), Some(place)) => {
            format!("worst {:.0}% of the bound: {case}: {place}", share * 100.0)
        }
        _ if *failed == 0 && skipped < cases => "exact".into(),
        _ => String::new(),
    };
    format!("{verdict:<8} {op:<17} {what:<22} {worst}").trim_end().to_string()
}

/// A case.
fn case_line(case: &Case, outcome: &Outcome) -> String {
    let (verdict, remark) = match outcome {
        Outcome::Passed { worst: Some(worst) } => ("ok", format!("{:.0}% of the bound", worst.share * 100.0)),
        Outcome::Passed { worst: None } => ("ok", "exact".to_string()),
        Outcome::Skipped { reason } => ("skipped", reason.clone()),
        Outcome::Failed { reason } => ("FAILED", reason.clone()),
    };
    format!("{verdict:<8} {:<17} {:<60} {remark}", case.op(), case.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_is_one_line_and_a_failure_cannot_hide() {
        let check = Check { op: "rms_norm".into(), cases: 3, passed: 3, ..Check::default() };
        assert_eq!(line(&check), "ok       rms_norm          3 cases                exact");
        let worst = Check {
            worst_share: Some(0.714),
            worst_case: Some("bf16 [3, 8]".into()),
            worst_place: Some("out [1, 7] is 2, expected 1.9".into()),
            ..check.clone()
        };
        let expected = "worst 71% of the bound: bf16 [3, 8]: out [1, 7] is 2, expected 1.9";
        assert!(line(&worst).ends_with(expected), "{}", line(&worst));
        let failed = Check { passed: 1, skipped: 1, failed: 1, ..worst };
        assert!(line(&failed).starts_with("FAILED   rms_norm          3 cases, 1 skipped, 1 failed"));
        let skipped = Check { passed: 0, skipped: 3, ..check };
        assert_eq!(line(&skipped), "skipped  rms_norm          3 cases, 3 skipped");
    }

    #[test]
    fn the_worst_of_all_cases_is_kept() {
        let cases = check::cases();
        let passed =
            |share: f64| Outcome::Passed { worst: Some(Worst { share, place: format!("at {share}") }) };
        let mut tally = Tally::new("embed");
        tally.add(&cases[0], passed(0.25));
        tally.add(&cases[1], passed(0.75));
        tally.add(&cases[2], Outcome::Passed { worst: None });
        tally.add(&cases[3], passed(0.5));
        tally.add(&cases[4], Outcome::Failed { reason: "wrong".into() });
        tally.add(&cases[5], Outcome::Skipped { reason: "large".into() });
        let check = tally.finish();
        assert_eq!((check.cases, check.passed, check.skipped, check.failed), (6, 4, 1, 1));
        assert_eq!(check.worst_place.as_deref(), Some("at 0.75"));
        assert_eq!(check.worst_case.as_deref(), Some(cases[1].name()));
        assert_eq!(check.failures, [format!("{}: wrong", cases[4].name())]);
    }
}
