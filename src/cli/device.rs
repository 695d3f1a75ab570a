//! The device of a forward pass, and opening a model for it.

use anyhow::{Context, Result, bail};
use llama_kernels::device::DeviceChoice;
use llama_kernels::model::checkpoint::Checkpoint;
use llama_kernels::reference::{Activations as CpuActivations, Cpu};

use super::options::{Activations, ModelArgs};

/// The CPU reference, if that is what `--device` comes to.
pub fn cpu(args: &ModelArgs) -> Result<Cpu<f32>> {
    let no_forward_pass = "the forward pass does not run on CUDA kernels yet; use --device cpu";
    match args.device {
        DeviceChoice::Auto | DeviceChoice::Cpu => {}
        other => bail!("--device {other}: {no_forward_pass}"),
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
