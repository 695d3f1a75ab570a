//! `llama-kernels report`: results as one HTML page that needs nothing beside it, neither network nor scripts.

mod bars;
mod checks;
mod counters;
mod element;
mod figures;
mod kernels;
mod marker;
mod page;
mod peers;
mod roofline;
mod runs;
mod steps;
mod table;
#[cfg(test)]
mod tests;

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::options::ReportArgs;
use super::record::Record;

pub fn run(args: &ReportArgs) -> Result<()> {
    let files = args.results.iter().map(|file| read(file)).collect::<Result<Vec<_>>>()?;
    write_files(&args.out, &files)
}

/// A file that is kept in benches/results, which is one object: its header says what its runs say as well.
#[derive(Deserialize)]
struct Kept {
    records: Vec<Record>,
}

/// The records of a file of JSON lines, or of one that is kept; an error where it has none.
fn read(file: &Path) -> Result<Vec<Record>> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let mut records = Vec::new();
    // No JSON line is a brace alone.
    if text.lines().next().is_some_and(|line| line.trim() == "{") {
        records = serde_json::from_str::<Kept>(&text).with_context(|| file.display().to_string())?.records;
    } else {
        for (i, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let record = Record::parse(line).with_context(|| format!("{}:{}", file.display(), i + 1))?;
            records.extend(record);
        }
    }
    if records.is_empty() {
        bail!("{}: expected results of bench, check or peers.py, got no such line", file.display());
    }
    Ok(records)
}

/// Writes the page of what one program has found out.
#[cfg_attr(
    not(feature = "kernels"),
    expect(dead_code, reason = "only bench, which needs the kernels, calls it")
)]
pub fn write(file: &Path, records: &[Record]) -> Result<()> {
    write_files(file, &[records.to_vec()])
}

fn write_files(file: &Path, files: &[Vec<Record>]) -> Result<()> {
    std::fs::write(file, page::html(&runs::of_files(files)))
        .with_context(|| format!("--out {}", file.display()))
}
