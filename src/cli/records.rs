//! Where commands put their results: into a file of JSON lines, each as it comes, so that a run that is cut short still
//! counts; and into memory, for the report.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use jiff::Timestamp;
use llama_kernels::gpu::{Device, driver_version, registry};

use super::record::{self, Clocks, Record, Run};

/// Results so far.
pub struct Records {
    file: Option<(PathBuf, File)>,
    all: Vec<Record>,
}

impl Records {
    /// Appends to `file` where there is one.
    pub fn open(file: Option<&Path>) -> Result<Self> {
        let open = |path: &Path| {
            let file = OpenOptions::new().create(true).append(true).open(path);
            Ok::<_, anyhow::Error>((
                path.to_owned(),
                file.with_context(|| format!("--json {}", path.display()))?,
            ))
        };
        Ok(Records { file: file.map(open).transpose()?, all: Vec::new() })
    }

    pub fn push(&mut self, record: Record) -> Result<()> {
        if let Some((path, file)) = &mut self.file {
            let line = serde_json::to_string(&record)? + "\n";
            // One write a line: a program that is killed leaves whole lines behind.
            file.write_all(line.as_bytes()).with_context(|| format!("--json {}", path.display()))?;
        }
        self.all.push(record);
        Ok(())
    }

    pub fn all(&self) -> &[Record] {
        &self.all
    }
}

/// What this program is and where it runs.
pub fn run(command: &str, device: &Device, clocks: Option<Clocks>) -> Record {
    let properties = device.properties();
    let (major, minor) = properties.compute_capability;
    let memory_system = device.memory_system().ok();
    let gpu = !device.is_simulated();
    Record::Run(Run {
        command: command.into(),
        version: env!("CARGO_PKG_VERSION").into(),
        commit: option_env!("LLAMA_KERNELS_COMMIT").unwrap_or("unknown").into(),
        date: format!("{:.0}", Timestamp::now()),
        device: record::Device {
            name: properties.name.clone(),
            simulated: !gpu,
            compute_capability: format!("{major}.{minor}"),
            num_sms: properties.num_sms,
            memory_bytes: device.memory_bytes().ok().map(|bytes| bytes.total),
            l2_bytes: memory_system.map(|(l2, _)| l2 as u64),
            memory_bytes_per_second: memory_system.map(|(_, speed)| speed).filter(|speed| *speed > 0.0),
            driver: gpu.then(super::nvidia_smi::driver).flatten(),
            driver_cuda: driver_version().ok().filter(|_| gpu).map(|version| version.to_string()),
            kernels_cuda: registry::cuda_version().ok().map(|(major, minor)| format!("{major}.{minor}")),
            clocks,
        },
    })
}
