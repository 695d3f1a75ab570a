//! A file of results that is kept: `benches/results/<gpu>/<date>-<commit>.json`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::record::{Clocks, Record, Run};

/// Where they are.
pub const FOLDER: &str = "benches/results";

/// Who and what was measured, then all records as they came.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Document {
    pub gpu: String,
    pub driver: Option<String>,
    pub driver_cuda: Option<String>,
    pub kernels_cuda: Option<String>,
    pub clocks: Option<Clocks>,
    pub date: String,
    pub commit: String,
    pub version: String,
    pub records: Vec<Record>,
}

impl Document {
    /// Of records that `run` describes.
    pub fn new(run: &Run, records: Vec<Record>) -> Self {
        let Run { version, commit, date, device, .. } = run.clone();
        Document {
            gpu: device.name,
            driver: device.driver,
            driver_cuda: device.driver_cuda,
            kernels_cuda: device.kernels_cuda,
            clocks: device.clocks,
            date,
            commit,
            version,
            records,
        }
    }

    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        serde_json::from_str(&text).with_context(|| path.display().to_string())
    }

    /// Its place in the repository.
    pub fn path(&self) -> PathBuf {
        let day = self.date.split('T').next().unwrap_or_default();
        Path::new(FOLDER).join(slug(&self.gpu)).join(format!("{day}-{}.json", short(&self.commit)))
    }

    /// The header, then one record a line: what two files differ in shows line by line.
    pub fn to_json(&self) -> Result<String> {
        let whole = serde_json::to_string_pretty(self)?;
        let (header, _) = whole.split_once("\n  \"records\": [").context("a document without records")?;
        let records = self.records.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>()?;
        Ok(format!("{header}\n  \"records\": [\n    {}\n  ]\n}}\n", records.join(",\n    ")))
    }
}

/// `nvidia-h200` of `NVIDIA H200`: small letters, digits, and a dash for whatever stands between.
pub fn slug(name: &str) -> String {
    let words = name.split(|char: char| !char.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_ascii_lowercase).collect::<Vec<_>>().join("-")
}

/// A commit in seven digits, with the mark of files that had changed.
pub fn short(commit: &str) -> String {
    let (hash, dirty) = commit.strip_suffix("-dirty").map_or((commit, ""), |hash| (hash, "-dirty"));
    format!("{}{dirty}", hash.get(..7).unwrap_or(hash))
}
