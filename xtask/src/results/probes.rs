//! What a card answered to `llama-kernels probe`, for the simulated GPU to be held against: see ptx-sim/tests/golden/README.md.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::document::{Document, slug};

const FOLDER: &str = "ptx-sim/tests/golden";
/// Of such a file, at most.
const MAX_BYTES: usize = 16 << 20;

/// Answers of the card that a document is of.
#[derive(Debug)]
pub struct Probes {
    /// Their place in the repository.
    path: PathBuf,
    text: String,
    answered: usize,
    failed: usize,
}

/// What matters here of a line.
#[derive(Deserialize)]
struct Line {
    probe: Option<String>,
    device: Option<String>,
    output: Option<String>,
}

impl Probes {
    /// Of the lines of a file that are no results. Probes that failed have no answer and are left out.
    pub fn of(document: &Document, lines: &[String]) -> Result<Self> {
        let (mut text, mut answered, mut failed) = (String::new(), 0, 0);
        for line in lines {
            let Line { probe, device, output } = serde_json::from_str(line)?;
            let Some(probe) = probe else { continue };
            let device = device.unwrap_or_default();
            ensure!(
                device == document.gpu,
                "probe {probe}: expected device {:?}, got {device:?}",
                document.gpu
            );
            if output.is_some() {
                answered += 1;
                text += line.trim();
                text.push('\n');
            } else {
                failed += 1;
            }
        }
        ensure!(text.len() <= MAX_BYTES, "expected probes of at most {MAX_BYTES} bytes, got {}", text.len());
        Ok(Probes { path: Path::new(FOLDER).join(name(document)), text, answered, failed })
    }

    /// Writes the file, unless there is one, and says what is left to do by hand.
    pub fn place(&self, root: &Path) -> Result<()> {
        let Probes { path, text, answered, failed } = self;
        if *failed > 0 {
            println!("{failed} probes failed on the card and were left out");
        }
        if *answered == 0 {
            return Ok(());
        }
        let target = root.join(path);
        if target.exists() {
            println!("{} exists already: {answered} answers to probes were left out", path.display());
            return Ok(());
        }
        std::fs::write(&target, text).with_context(|| target.display().to_string())?;
        println!(
            "{}: {answered} answers to probes. To hold the simulated GPU against them, write this file's name into",
            path.display()
        );
        println!("FILES in ptx-sim/tests/golden.rs and take the `ignore` off the test below it");
        Ok(())
    }
}

/// After card and driver: `h200-580.65.jsonl`.
fn name(document: &Document) -> String {
    let gpu = slug(&document.gpu);
    let card = gpu.strip_prefix("nvidia-").unwrap_or(&gpu);
    let driver = slug(document.driver.as_deref().unwrap_or("unknown"));
    let parts: Vec<&str> = driver.split('-').take(2).collect();
    format!("{card}-{}.jsonl", parts.join("."))
}
