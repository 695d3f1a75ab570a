//! What happened, as JSON.

use std::fmt;
use std::path::Path;

use anyhow::{Context, Result};
use ptx_sim::{DeviceProperties, Report, Violation};
use serde::Serialize;

use super::memory::Output;

/// The report of a whole invocation.
#[derive(Serialize)]
pub struct ReportFile {
    /// The PTX file.
    ptx: String,
    device: DeviceReport,
    /// Those that ran.
    pub seeds: Vec<u64>,
    /// Launches that ended, seed after seed.
    pub launches: Vec<Report>,
    /// The rule that was broken.
    pub violation: Option<Box<Violation>>,
    /// Where outputs depend on the seed.
    pub difference: Option<Difference>,
    /// Files that were written.
    pub written: Vec<String>,
}

#[derive(Serialize)]
struct DeviceReport {
    compute_capability: String,
    sm_count: u32,
}

impl ReportFile {
    /// A report of nothing so far.
    pub fn new(ptx: &Path, properties: &DeviceProperties) -> Self {
        Self {
            ptx: ptx.display().to_string(),
            device: DeviceReport {
                compute_capability: properties.compute_capability.to_string(),
                sm_count: properties.sm_count,
            },
            seeds: Vec::new(),
            launches: Vec::new(),
            violation: None,
            difference: None,
            written: Vec::new(),
        }
    }

    /// Writes it.
    pub fn write(&self, file: &Path) -> Result<()> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        std::fs::write(file, text).with_context(|| file.display().to_string())
    }
}

/// The first byte in which two seeds differ.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    seeds: [u64; 2],
    buffer: String,
    byte: usize,
    values: [u8; 2],
}

impl Difference {
    /// Compares the outputs of two seeds.
    pub fn between(one: (u64, &[Output]), other: (u64, &[Output])) -> Option<Self> {
        one.1.iter().zip(other.1).find_map(|(a, b)| {
            let byte = a.bytes.iter().zip(&b.bytes).position(|(a, b)| a != b)?;
            let values = [a.bytes[byte], b.bytes[byte]];
            Some(Self { seeds: [one.0, other.0], buffer: a.label.clone(), byte, values })
        })
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seeds, buffer, byte, values } = self;
        write!(
            f,
            "outputs differ between seeds {} and {} in buffer {buffer} at byte {byte}: {:#04x} and {:#04x}",
            seeds[0], seeds[1], values[0], values[1]
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_differing_byte_is_named() {
        let output = |label: &str, bytes: &[u8]| Output {
            label: label.into(),
            file: "f".into(),
            bytes: bytes.into(),
            unwritten: 0,
        };
        let first = [output("a", &[1, 2]), output("b", &[3, 4, 5])];
        assert_eq!(Difference::between((0, &first), (1, &first)), None);
        let second = [output("a", &[1, 2]), output("b", &[3, 7, 8])];
        let difference = Difference::between((0, &first), (7, &second)).unwrap();
        assert_eq!(
            difference.to_string(),
            "outputs differ between seeds 0 and 7 in buffer b at byte 1: 0x04 and 0x07"
        );
    }
}
