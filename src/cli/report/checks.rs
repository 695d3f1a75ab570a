//! Operations compared with the CPU reference.

use super::bars::Percentages;
use super::element::{Element, element};
use super::figures::{figure, grouped, percent, usable};
use super::table::{Column, bar_cell, count, minor, number, table};
use crate::cli::record::Check;

/// `11 of 12 operations passed, 2 cases failed`
pub fn summary(checks: &[&Check]) -> String {
    let passed = checks.iter().filter(|check| Verdict::of(check) == Verdict::Passed).count();
    let failed: usize = checks.iter().map(|check| check.failed).fold(0, usize::saturating_add);
    let failed = if failed > 0 { format!(", {} failed", count(failed, "case")) } else { String::new() };
    format!("{passed} of {} passed{failed}", count(checks.len(), "operation"))
}

/// One line an operation, and why cases failed; nothing of no checks.
pub fn section(checks: &[&Check]) -> Vec<Element> {
    if checks.is_empty() {
        return Vec::new();
    }
    let percent_of = |check: &Check| check.worst_share.map(|share| share * 100.0);
    let scale = Percentages::of(checks.iter().filter_map(|check| percent_of(check)));
    let columns = vec![
        Column::Text("operation"),
        Column::Text("result"),
        Column::Number("passed"),
        Column::Bars("worst error, % of its bound", scale.heading()),
        Column::Minor("failed"),
        Column::Minor("skipped"),
        Column::MinorText("where"),
        Column::Minor("seconds"),
    ];
    let rows = checks.iter().map(|check| {
        let worst = match percent_of(check) {
            Some(share) if usable(share).is_some() => {
                let class = if share > 100.0 { "failed" } else { "share" };
                bar_cell(scale.bar(class, share, None), percent(share))
            }
            Some(share) => bar_cell(None, percent(share)),
            None => bar_cell(None, "exact"),
        };
        let place: Vec<&str> =
            [&check.worst_case, &check.worst_place].into_iter().flatten().map(String::as_str).collect();
        element("tr")
            .child(element("th").attr("scope", "row").text(&check.op))
            .child(verdict(check))
            .child(number(format_args!(
                "{} of {}",
                grouped(check.passed as u64),
                grouped(check.cases as u64)
            )))
            .child(worst)
            .child(minor(grouped(check.failed as u64)))
            .child(minor(grouped(check.skipped as u64)))
            .child(element("td").class("minor").text(place.join(", ")))
            .child(minor(figure(check.seconds)))
    });
    let table =
        table("checks", "Compared with the CPU reference", columns, [element("tbody").children(rows)]);
    let failures = checks.iter().filter(|check| !check.failures.is_empty()).map(|check| {
        element("div")
            .class("failures")
            .child(element("p").child(element("b").text(format_args!("{} failed:", check.op))))
            .child(element("ul").children(check.failures.iter().map(|why| element("li").text(why))))
    });
    [table].into_iter().chain(failures).collect()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Passed,
    Failed,
    NotRun,
}

impl Verdict {
    fn of(check: &Check) -> Self {
        if check.failed > 0 || !check.failures.is_empty() {
            Verdict::Failed
        } else if check.passed > 0 {
            Verdict::Passed
        } else {
            Verdict::NotRun
        }
    }
}

fn verdict(check: &Check) -> Element {
    let (class, text) = match Verdict::of(check) {
        Verdict::Passed => ("verdict good", "✓ passed"),
        Verdict::Failed => ("verdict bad", "✗ failed"),
        Verdict::NotRun => ("verdict", "not run"),
    };
    element("td").class(class).text(text)
}
