//! A file of results as tables of Markdown.

use std::fmt::Display;

use super::document::{Document, short};
use crate::figures::{figure, grouped, percent, usable};
use crate::record::{Ceilings, Check, Clocks, Kernel, Peers, Record, Row, Step, geometric_mean, grouped_by};

/// Everything that the README says of a GPU. `path` is the file's.
pub fn markdown(path: &str, document: &Document) -> String {
    let parts = [
        format!("### {}\n", text(&document.gpu)),
        circumstances(path, document),
        checks(&all(document, |record| match record {
            Record::Check(check) => Some(check),
            _ => None,
        })),
        kernels(&all(document, |record| match record {
            Record::Kernel(kernel) => Some(kernel),
            _ => None,
        })),
        steps(&all(document, |record| match record {
            Record::Step(step) => Some(step),
            _ => None,
        })),
        peers(&all(document, |record| match record {
            Record::Peers(peers) => Some(peers),
            _ => None,
        })),
    ];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n")
}

/// All records of a kind.
fn all<'a, T>(document: &'a Document, kind: impl Fn(&'a Record) -> Option<&'a T>) -> Vec<&'a T> {
    document.records.iter().filter_map(kind).collect()
}

/// What comes from a file, as text: it ends no cell and begins no tag.
fn text(from_file: impl Display) -> String {
    let mut text = String::new();
    for char in from_file.to_string().chars() {
        match char {
            '|' => text.push_str("\\|"),
            '<' => text.push_str("&lt;"),
            '`' => text.push('\''),
            char if char.is_control() => text.push(' '),
            char => text.push(char),
        }
    }
    text
}

fn table(heading: &str, rows: impl IntoIterator<Item = Vec<String>>) -> String {
    // A column with a dash before its name is one of text.
    let columns: Vec<&str> = heading.split('|').map(str::trim).collect();
    let names: Vec<&str> = columns.iter().map(|column| column.trim_start_matches("- ")).collect();
    let rules: Vec<&str> =
        columns.iter().map(|column| if column.starts_with("- ") { "---" } else { "---:" }).collect();
    let lines =
        [names.join(" | "), rules.join(" | ")].into_iter().chain(rows.into_iter().map(|row| row.join(" | ")));
    lines.map(|line| format!("| {line} |\n")).collect()
}

/// GPU, driver, CUDA, clocks, date, commit, ceilings, the file.
fn circumstances(path: &str, document: &Document) -> String {
    let Document { driver, driver_cuda, kernels_cuda, clocks, date, commit, version, records, .. } = document;
    let mut parts =
        vec![format!("{}, commit {}, version {}", text(date), text(short(commit)), text(version))];
    parts.extend(driver.as_ref().map(|driver| match driver_cuda {
        Some(cuda) => format!("driver {} (CUDA {})", text(driver), text(cuda)),
        None => format!("driver {}", text(driver)),
    }));
    parts.extend(kernels_cuda.as_ref().map(|cuda| format!("kernels compiled by CUDA {}", text(cuda))));
    parts.extend(clocks.as_ref().map(self::clocks));
    let first = records.iter().find_map(|record| match record {
        Record::Ceilings(ceilings) => Some(self::ceilings(ceilings)),
        _ => None,
    });
    format!(
        "Measured on {}.{} All results: [`{path}`]({path}).\n",
        parts.join(", "),
        first.unwrap_or_default()
    )
}

fn clocks(clocks: &Clocks) -> String {
    let Clocks { sm, memory, max_sm, max_memory, power_limit_watts, temperature_celsius } = clocks;
    let [sm, memory, max_sm, max_memory] = [sm, memory, max_sm, max_memory].map(|mhz| grouped((*mhz).into()));
    format!(
        "SM at {sm} of {max_sm} MHz, memory at {memory} of {max_memory} MHz, {power_limit_watts} W, {temperature_celsius} °C"
    )
}

fn ceilings(ceilings: &Ceilings) -> String {
    format!(
        " The ceilings in that run: reading {} GB/s, copying {} GB/s, tensor cores {} TFLOP/s in {} ({}), an empty kernel {} µs.",
        figure(ceilings.read_gigabytes_per_second),
        figure(ceilings.copy_gigabytes_per_second),
        figure(ceilings.tensor_teraflops_per_second),
        text(&ceilings.dtype),
        text(&ceilings.tensor_kernel),
        figure(ceilings.launch_microseconds)
    )
}

fn checks(checks: &[&Check]) -> String {
    if checks.is_empty() {
        return String::new();
    }
    // A file may have a quick check and a full one, which has the quick one's cases too.
    let ops = grouped_by(checks, |check| check.op.as_str());
    let sum = |number: fn(&Check) -> usize| {
        let most = ops.iter().filter_map(|(_, of)| of.iter().map(|check| number(check) as u64).max());
        grouped(most.fold(0, u64::saturating_add))
    };
    let [passed, failed] = [sum(|check| check.passed), sum(|check| check.failed)];
    format!("On the same card {passed} cases agreed with the CPU reference, {failed} did not.\n")
}

/// Geometric means by operation, then the rows that stand for the others.
fn kernels(kernels: &[&Kernel]) -> String {
    let share = |kernel: &&Kernel| usable(kernel.microseconds).and(usable(kernel.percent_of_roofline));
    let shown: Vec<&Kernel> = kernels.iter().copied().filter(|kernel| share(kernel).is_some()).collect();
    if shown.is_empty() {
        return String::new();
    }
    let mean = |name: String, of: &[&Kernel]| {
        let mean = geometric_mean(of.iter().filter_map(share)).map_or("—".into(), percent);
        vec![name, of.len().to_string(), mean]
    };
    let mut means: Vec<Vec<String>> = grouped_by(&shown, |kernel| operation(&kernel.row))
        .iter()
        .map(|(op, of)| mean(op.clone(), of))
        .collect();
    means.push(mean("**all**".into(), &shown));
    let key = key_rows(&shown).into_iter().map(|kernel| {
        let row = &kernel.row;
        vec![
            operation(row),
            text(format_args!("{} {}", row.label, row.sizes)).trim().to_string(),
            figure(kernel.microseconds),
            figure(kernel.teraflops_per_second),
            figure(kernel.gigabytes_per_second),
            percent(kernel.percent_of_roofline),
            text(&kernel.bound),
        ]
    });
    format!(
        "{}\nOf the first model: all of its attention, its gate/up product, and of every other operation the row of most bytes:\n\n{}",
        table("- operation | rows | geometric mean of the % of roofline", means),
        table("- operation | - model and shape | µs | TFLOP/s | GB/s | % of roofline | - bound by", key)
    )
}

fn operation(row: &Row) -> String {
    text(format_args!("{} {}", row.op, row.dtype)).trim().to_string()
}

/// Which rows the README shows: chosen by shape, never by time.
fn key_rows<'a>(kernels: &[&'a Kernel]) -> Vec<&'a Kernel> {
    let mut rows = Vec::new();
    for (op, of) in grouped_by(kernels, |kernel| operation(&kernel.row)) {
        let label = |kernel: &Kernel| kernel.row.label.clone();
        let model = |kernel: &Kernel| label(kernel).split(' ').next().unwrap_or_default().to_string();
        let Some(first) = of.first().map(|kernel| model(kernel)) else { continue };
        let of: Vec<&Kernel> = of.into_iter().filter(|kernel| model(kernel) == first).collect();
        if op.starts_with("attention_prefill") || op.starts_with("attention_decode") {
            rows.extend(of.into_iter().filter(|kernel| label(kernel) == first));
        } else if op.starts_with("matmul") {
            let wide = format!("{first} gate_up");
            let widest = if of.iter().any(|kernel| label(kernel) == wide) { wide } else { label(of[0]) };
            rows.extend(of.into_iter().filter(|kernel| label(kernel) == widest));
        } else {
            rows.extend(of.into_iter().max_by_key(|kernel| kernel.row.bytes));
        }
    }
    rows
}

fn steps(steps: &[&Step]) -> String {
    let shown = steps.iter().filter(|step| usable(step.microseconds).is_some());
    let rows: Vec<Vec<String>> = shown
        .map(|step| {
            vec![
                text(&step.phase),
                text(&step.model),
                text(format_args!("{} {}", step.dtype, step.formats())),
                grouped(step.batch as u64),
                grouped(step.context as u64),
                figure(step.microseconds / 1e3),
                figure(step.tokens_per_second),
                percent(step.percent_of_floor),
            ]
        })
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    let columns = "- step | - model | - weights | batch | context | ms | tokens/s | % of floor";
    format!(
        "A decode's time is that of a token, a prefill's that to the first one:\n\n{}",
        table(columns, rows)
    )
}

fn peers(peers: &[&Peers]) -> String {
    let speedup = |peers: &Peers| peers.speedup.and_then(usable);
    let compared: Vec<&Peers> = peers.iter().copied().filter(|peers| speedup(peers).is_some()).collect();
    if compared.is_empty() {
        return String::new();
    }
    let line = |name: String, of: &[&Peers]| {
        let speedups = || of.iter().filter_map(|peers| speedup(peers));
        let factor = |factor: f64| format!("{}x", figure(factor));
        let mut names: Vec<String> = Vec::new();
        for peer in of.iter().flat_map(|peers| &peers.peers).filter(|peer| peer.microseconds.is_some()) {
            let name = text(&peer.name);
            if !names.contains(&name) {
                names.push(name);
            }
        }
        vec![
            name,
            of.len().to_string(),
            geometric_mean(speedups()).map_or("—".into(), factor),
            factor(speedups().fold(f64::INFINITY, f64::min)),
            factor(speedups().fold(0.0, f64::max)),
            names.join(", "),
        ]
    };
    let mut rows: Vec<Vec<String>> = grouped_by(&compared, |peers| operation(&peers.row))
        .iter()
        .map(|(op, of)| line(op.clone(), of))
        .collect();
    if rows.len() > 1 {
        rows.push(line("**all**".into(), &compared));
    }
    let columns = "- operation | rows | geometric mean | least | most | - peers";
    format!(
        "The time of the fastest other library over ours, row by row in one process; above 1x we are faster:\n\n{}",
        table(columns, rows)
    )
}
