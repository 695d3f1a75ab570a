//! `--device`, and opening a model for it.

use std::str::FromStr;

use anyhow::{Context, Result, bail};
use llama_kernels::model::checkpoint::Checkpoint;
use llama_kernels::reference::{Activations as CpuActivations, Cpu};

use super::options::{Activations, ModelArgs};

/// Where the forward pass runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    Auto,
    Cuda(usize),
    Sim,
    Cpu,
}

impl FromStr for Device {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Device::Auto),
            "cuda" => Ok(Device::Cuda(0)),
            "sim" => Ok(Device::Sim),
            "cpu" => Ok(Device::Cpu),
            _ => text
                .strip_prefix("cuda:")
                .and_then(|n| n.parse().ok())
                .map(Device::Cuda)
                .ok_or_else(|| "expected auto, cuda, cuda:N, sim or cpu".into()),
        }
    }
}

/// The CPU reference, if that is what `--device` comes to.
pub fn cpu(args: &ModelArgs) -> Result<Cpu<f32>> {
    let no_forward_pass = "the forward pass does not run on CUDA kernels yet; use --device cpu";
    match args.device {
        Device::Auto | Device::Cpu => {}
        Device::Cuda(n) => bail!("--device cuda:{n}: {no_forward_pass}"),
        Device::Sim => bail!("--device sim: {no_forward_pass}"),
    }
    Ok(Cpu::new(match args.activations {
        Activations::F32 => CpuActivations::Exact,
        Activations::Native => CpuActivations::AsCheckpoint,
    }))
}

/// Opens and checks the checkpoint.
pub fn open_checkpoint(args: &ModelArgs) -> Result<Checkpoint> {
    let checkpoint = if args.no_mmap {
        Checkpoint::open(&args.model)
    } else {
        // SAFETY: the files must not change while they are mapped. That is the user's to keep: `--no-mmap` is there for those
        // who cannot, and says so.
        unsafe { Checkpoint::open_mmap(&args.model) }
    };
    checkpoint.with_context(|| format!("--model {}", args.model.display()))
}
