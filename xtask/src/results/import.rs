//! `cargo xtask results import FILE`: from the JSON lines that a machine with a card brought back to a file that is kept.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use super::document::{Document, short};
use super::probes::Probes;
use crate::record::{Record, Run};

/// Checks everything, then writes.
pub fn run(root: &Path, file: &Path, allow_dirty: bool) -> Result<()> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let imported = Imported::read(&text, allow_dirty).with_context(|| file.display().to_string())?;
    let Imported { document, probes } = imported;
    let path = document.path();
    let target = root.join(&path);
    ensure!(!target.exists(), "{} exists already", path.display());
    let json = document.to_json()?;
    let folder = target.parent().context("a folder for the results")?;
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    std::fs::write(&target, json).with_context(|| target.display().to_string())?;
    println!(
        "{}: {} results; `cargo xtask results` writes the README's tables",
        path.display(),
        document.records.len()
    );
    probes.place(root)
}

/// What a file has.
pub struct Imported {
    pub document: Document,
    pub probes: Probes,
}

impl Imported {
    /// An error where the file is not one run of benches on one card, at one commit that is known.
    pub fn read(text: &str, allow_dirty: bool) -> Result<Self> {
        let (mut records, mut probes) = (Vec::new(), Vec::new());
        let mut first: Option<Run> = None;
        for (i, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let line_number = || format!("line {}", i + 1);
            match Record::parse(line).with_context(line_number)? {
                None => probes.push(line.to_string()),
                Some(record) => {
                    if let Record::Run(run) = &record {
                        acceptable(run, first.as_ref(), allow_dirty).with_context(line_number)?;
                        first.get_or_insert_with(|| run.clone());
                    }
                    ensure!(
                        first.is_some(),
                        "{}: a result before any run that says where it was made",
                        line_number()
                    );
                    records.push(record);
                }
            }
        }
        let timed = |record: &Record| matches!(record, Record::Kernel(_) | Record::Step(_));
        ensure!(records.iter().any(timed), "expected results of bench, got none: nothing in it was timed");
        // The run of the benches is what the file is about; checks and peers may stand before it.
        let run = described_by(&records, timed).context("a run of bench")?;
        let document = Document::new(run, records.clone());
        let probes = Probes::of(&document, &probes)?;
        Ok(Imported { document, probes })
    }
}

/// The run that the first record of a kind follows.
fn described_by(records: &[Record], wanted: impl Fn(&Record) -> bool) -> Option<&Run> {
    let place = records.iter().position(wanted)?;
    records[..place].iter().rev().find_map(|record| match record {
        Record::Run(run) => Some(run),
        _ => None,
    })
}

/// Whether a run may be kept, beside the first one of its file.
fn acceptable(run: &Run, first: Option<&Run>, allow_dirty: bool) -> Result<()> {
    let Run { commit, date, device, .. } = run;
    ensure!(!device.simulated, "expected results of a card, got those of a simulated GPU, {:?}", device.name);
    ensure!(!super::document::slug(&device.name).is_empty(), "the device has no name");
    ensure!(is_date(date), "date: expected one such as 2026-01-31T23:59:59Z, got {date:?}");
    let (hash, dirty) = commit.strip_suffix("-dirty").map_or((commit.as_str(), false), |hash| (hash, true));
    let known =
        (7..=40).contains(&hash.len()) && hash.bytes().all(|byte| b"0123456789abcdef".contains(&byte));
    if !known && commit != "unknown" {
        bail!("commit: expected 7 to 40 hexadecimal digits, got {commit:?}");
    }
    if (dirty || !known) && !allow_dirty {
        bail!(
            "commit: expected one of the repository, got {commit:?}: nobody could measure it again (--allow-dirty takes it)"
        );
    }
    let Some(first) = first else { return Ok(()) };
    let of = |run: &Run| {
        let device = &run.device;
        [
            Some(device.name.clone()),
            device.driver.clone(),
            Some(short(&run.commit)),
            Some(run.version.clone()),
        ]
    };
    for ((what, other), this) in
        ["device", "driver", "commit", "version"].into_iter().zip(of(first)).zip(of(run))
    {
        // A driver that one of the programs could not ask for is no other driver.
        if let (Some(other), Some(this)) = (other, this) {
            ensure!(this == other, "{what}: expected {other:?}, that of the file's first run, got {this:?}");
        }
    }
    Ok(())
}

/// `2026-01-31T23:59:59Z`
fn is_date(text: &str) -> bool {
    const FORM: &[u8; 20] = b"0000-00-00T00:00:00Z";
    let as_in_form =
        |(byte, form): (u8, &u8)| if *form == b'0' { byte.is_ascii_digit() } else { byte == *form };
    text.len() == FORM.len() && text.bytes().zip(FORM).all(as_in_form)
}
