//! The device of a forward pass, and opening a model for it.

use anyhow::{Context, Result, bail};
use llama_kernels::backend::Backend;
use llama_kernels::device::DeviceChoice;
use llama_kernels::model::checkpoint::Checkpoint;
use llama_kernels::reference::{Activations as CpuActivations, Cpu};

use super::options::{Activations, ModelArgs};

/// What a command does with a model, whatever the device.
pub trait Job {
    fn run<B: Backend>(self, backend: B, checkpoint: &Checkpoint) -> Result<()>;
}

/// Opens the device and the checkpoint, and runs the job. `--device auto` is the first GPU if the program has kernels for it,
/// else `without_gpu`. Returns what a simulated GPU has counted meanwhile.
pub fn run(args: &ModelArgs, without_gpu: DeviceChoice, job: impl Job) -> Result<Option<String>> {
    let hint = || format!("--device {} (--device cpu runs on every machine)", args.device);
    let mut chosen = gpu(args.device).with_context(hint)?;
    if chosen.is_none() && args.device == DeviceChoice::Auto {
        chosen = gpu(without_gpu).with_context(hint)?;
    }
    let Some(gpu) = chosen else {
        job.run(cpu(args.activations.unwrap_or(Activations::F32)), &open_checkpoint(args)?)?;
        return Ok(None);
    };
    if args.activations.is_some() {
        bail!("--activations: for the CPU alone, where --device cpu is given; a GPU computes in 16 bits");
    }
    gpu.run(&open_checkpoint(args)?, job)
}

fn cpu(activations: Activations) -> Cpu<f32> {
    Cpu::new(match activations {
        Activations::F32 => CpuActivations::Exact,
        Activations::Native => CpuActivations::AsCheckpoint,
    })
}

#[cfg(feature = "kernels")]
use on_gpu::gpu;

#[cfg(feature = "kernels")]
mod on_gpu {
    use anyhow::Result;
    use llama_kernels::Error;
    use llama_kernels::backend::Gpu;
    use llama_kernels::device::DeviceChoice;
    use llama_kernels::gpu::{Device, registry};
    use llama_kernels::model::checkpoint::Checkpoint;
    use llama_kernels::tensor::DType;

    use super::Job;

    /// A GPU that is there.
    pub struct Chosen(Device);

    /// The GPU that `choice` comes to; `None` for the CPU, and for `auto` where no GPU or no kernel is there.
    pub fn gpu(choice: DeviceChoice) -> Result<Option<Chosen>> {
        let device = match (choice, registry::cuda_version()) {
            (DeviceChoice::Cpu, _) => return Ok(None),
            (DeviceChoice::Auto, Err(_)) => return Ok(None),
            (DeviceChoice::Auto, Ok(_)) => match Device::cuda(0) {
                Err(Error::NoDevice { .. }) => return Ok(None),
                device => device?,
            },
            (_, Err(error)) => return Err(error.into()),
            (choice, Ok(_)) => Device::open(choice)?,
        };
        Ok(Some(Chosen(device)))
    }

    #[cfg(feature = "sim")]
    fn counted(device: &Device) -> Option<String> {
        let totals = device.simulator()?.totals();
        Some(format!(
            "{} launches, none of which broke a rule (bounds, alignment, unwritten memory, races, barriers, copies); {:.1} M warp \
             instructions, {:.2} GFLOP on tensor cores, {:.1} MB read and {:.1} MB written, {} of {:.1} M passes through shared \
             memory due to bank conflicts",
            totals.launches,
            totals.instructions as f64 / 1e6,
            totals.tensor_flops as f64 / 1e9,
            totals.global_bytes_read as f64 / 1e6,
            totals.global_bytes_written as f64 / 1e6,
            totals.shared_conflicts,
            totals.shared_wavefronts as f64 / 1e6,
        ))
    }

    #[cfg(not(feature = "sim"))]
    fn counted(_: &Device) -> Option<String> {
        None
    }

    impl Chosen {
        pub fn run(self, checkpoint: &Checkpoint, job: impl Job) -> Result<Option<String>> {
            if !matches!(checkpoint.dtype(), DType::BF16 | DType::F16) {
                let name = &self.0.properties().name;
                eprintln!("note: the checkpoint is in {}; {name} computes in bf16", checkpoint.dtype());
            }
            job.run(Gpu::new(&self.0)?, checkpoint)?;
            Ok(counted(&self.0))
        }
    }
}

#[cfg(not(feature = "kernels"))]
use no_gpu::gpu;

#[cfg(not(feature = "kernels"))]
mod no_gpu {
    use anyhow::{Result, bail};
    use llama_kernels::device::DeviceChoice;
    use llama_kernels::model::checkpoint::Checkpoint;

    use super::Job;

    /// There is none.
    pub enum Chosen {}

    pub fn gpu(choice: DeviceChoice) -> Result<Option<Chosen>> {
        match choice {
            DeviceChoice::Auto | DeviceChoice::Cpu => Ok(None),
            _ => bail!("this program was built without the feature `kernels`"),
        }
    }

    impl Chosen {
        pub fn run(self, _checkpoint: &Checkpoint, _job: impl Job) -> Result<Option<String>> {
            match self {}
        }
    }
}

/// Opens and checks the checkpoint.
fn open_checkpoint(args: &ModelArgs) -> Result<Checkpoint> {
    let checkpoint = if args.no_mmap {
        Checkpoint::open(&args.model)
    } else {
        // SAFETY: the files must not change while they are mapped. That is the user's to keep: `--no-mmap` is there for those
        // who cannot, and says so.
        unsafe { Checkpoint::open_mmap(&args.model) }
    };
    checkpoint.with_context(|| format!("--model {}", args.model.display()))
}
