//! What was measured, as lines and as JSON.

use std::path::Path;

use anyhow::{Context, Result};
use llama_kernels::bench::{Row, sizes};
use llama_kernels::gpu::{Device, driver_version};
use llama_kernels::plan::Plan;
use llama_kernels::tensor::DType;

use super::measure::LAUNCHES;

/// Over the columns of [`Measured::line`].
pub fn heading() -> String {
    let name = columns("operation", "model", "shape");
    format!("{name} {:>10} {:>7} {:>7} {:>11}", "µs", "TFLOP/s", "GB/s", "% of memory")
}

/// A row's operation, model and shape.
pub fn name(row: &Row) -> String {
    columns(row.work.op(), &row.label, &sizes(row.work.as_ref()))
}

fn columns(op: &str, model: &str, shape: &str) -> String {
    format!("{op:<17} {model:<17} {shape:<54}")
}

/// The memory of a device.
pub struct Memory {
    /// By its clock; 0 where that is not known.
    pub bytes_per_second: f64,
}

/// One row and its time.
pub struct Measured<'a> {
    pub row: &'a Row,
    pub dtype: DType,
    pub plans: Vec<Plan>,
    /// The median.
    pub microseconds: f64,
}

impl Measured<'_> {
    fn teraflops_per_second(&self) -> f64 {
        self.row.work.cost().flops as f64 / self.microseconds / 1e6
    }

    fn gigabytes_per_second(&self) -> f64 {
        self.row.work.cost().bytes as f64 / self.microseconds / 1e3
    }

    /// `None` where the memory's speed is not known.
    fn percent_of_memory(&self, memory: &Memory) -> Option<f64> {
        (memory.bytes_per_second > 0.0)
            .then(|| self.gigabytes_per_second() * 1e9 / memory.bytes_per_second * 100.0)
    }

    /// Under [`heading`].
    pub fn line(&self, memory: &Memory) -> String {
        let share = self.percent_of_memory(memory).map_or("-".to_string(), |share| format!("{share:.1}"));
        format!(
            "{} {:>10.2} {:>7.1} {:>7.0} {share:>11}",
            name(self.row),
            self.microseconds,
            self.teraflops_per_second(),
            self.gigabytes_per_second()
        )
    }

    fn json(&self, memory: &Memory) -> serde_json::Value {
        let work = &self.row.work;
        let sizes: serde_json::Map<_, _> =
            work.sizes().into_iter().map(|(name, size)| (name.to_string(), size.into())).collect();
        serde_json::json!({
            "op": work.op(),
            "model": self.row.label,
            "dtype": self.dtype.to_string(),
            "shape": sizes,
            "plan": self.plans.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "flops": work.cost().flops,
            "bytes": work.cost().bytes,
            "microseconds": self.microseconds,
            "teraflops_per_second": self.teraflops_per_second(),
            "gigabytes_per_second": self.gigabytes_per_second(),
            "percent_of_memory": self.percent_of_memory(memory),
        })
    }
}

pub fn write_json(file: &Path, device: &Device, memory: &Memory, all: &[Measured<'_>]) -> Result<()> {
    let properties = device.properties();
    let (major, minor) = properties.compute_capability;
    let report = serde_json::json!({
        "device": properties.name,
        "compute_capability": format!("{major}.{minor}"),
        "driver_cuda": driver_version()?.to_string(),
        "version": env!("CARGO_PKG_VERSION"),
        "memory_bytes_per_second": memory.bytes_per_second,
        "launches": LAUNCHES,
        "rows": all.iter().map(|measured| measured.json(memory)).collect::<Vec<_>>(),
    });
    let text = serde_json::to_string_pretty(&report)? + "\n";
    std::fs::write(file, text).with_context(|| format!("--json {}", file.display()))
}

#[cfg(test)]
mod tests {
    use llama_kernels::bench::{H200, rows};

    use super::*;

    #[test]
    fn a_row_says_what_was_launched_and_how_fast_it_was() {
        let rows = rows();
        let row = rows.iter().find(|row| row.work.op() == "rms_norm" && row.label == "8B").unwrap();
        let plans = row.work.plans(DType::BF16, &H200).unwrap();
        let measured = Measured { row, dtype: DType::BF16, plans, microseconds: 2.0 };
        let memory = Memory { bytes_per_second: 4.8e12 };
        // One token: x, the weight and out.
        let line = measured.line(&memory);
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words, ["rms_norm", "8B", "tokens=1", "hidden=4096", "2.00", "0.0", "12", "0.3"]);
        for row in &rows {
            let measured = Measured { row, dtype: DType::BF16, plans: Vec::new(), microseconds: 123_456.7 };
            let line = measured.line(&memory);
            assert_eq!(line.chars().count(), heading().chars().count(), "{line}");
        }
        let json = measured.json(&memory);
        assert_eq!((&json["bytes"], &json["flops"]), (&24576.into(), &16384.into()));
        assert_eq!(json["shape"], serde_json::json!({"tokens": 1, "hidden": 4096}));
        assert_eq!(json["gigabytes_per_second"], 12.288);
        assert!(json["plan"][0].as_str().unwrap().starts_with("rms_norm: rms_norm_bf16 grid 1x1x1 of 128"));
        let unknown = Memory { bytes_per_second: 0.0 };
        assert!(
            measured.line(&unknown).ends_with(" -") && measured.json(&unknown)["percent_of_memory"].is_null()
        );
    }
}
