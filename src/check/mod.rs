//! Every operation on a device, compared with the CPU reference: what `llama-kernels check` and the crate's tests run.
//!
//! A case is run twice in one piece of memory and must give the same bits. Its outputs start poisoned, 256 guard bytes
//! stand on both sides of every buffer and between the rows of strided ones, and inputs must stay as they were. On the
//! simulated GPU it runs under several seeds, in turn with guards and in memory that is exactly as long as its tensors and
//! uninitialised where the operation must not look.

mod attention;
mod attention_combine;
mod attention_decode;
mod attention_prefill;
mod embed;
mod gather_rows;
mod matmul;
mod memory;
mod norm;
mod problem;
mod rope_append_kv;
mod sample;
mod silu_and_mul;
#[cfg(all(test, feature = "sim"))]
mod tests;
mod values;

use std::fmt;

use crate::gpu::Device;
use crate::plan::Kernel;
use crate::{Error, Result};
use problem::{Failure, Problem};

/// One operation on one set of arguments.
pub struct Case {
    op: &'static str,
    name: String,
    problem: Box<dyn Fn() -> Result<Problem> + Send + Sync>,
}

/// What came of a case.
#[derive(Debug)]
pub enum Outcome {
    /// The result is right, or the arguments were refused as they should be.
    Passed {
        /// The part of its bound that the worst element's error takes up; `None` where all bits are known, or nothing
        /// was to be computed.
        share: Option<f64>,
    },
    /// The device has no room for it.
    Skipped {
        /// How much is needed.
        reason: String,
    },
    /// It is wrong.
    Failed {
        /// The worst element, what was written that should not be, or the error.
        reason: String,
    },
}

impl Case {
    fn new(
        op: &'static str,
        name: impl Into<String>,
        problem: impl Fn() -> Result<Problem> + Send + Sync + 'static,
    ) -> Self {
        Case { op, name: name.into(), problem: Box::new(problem) }
    }

    /// The operation.
    pub fn op(&self) -> &'static str {
        self.op
    }

    /// What is special about the arguments.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs it; `seeds` says how often on a simulated device, at least once each way.
    pub fn run(&self, device: &Device, seeds: u64) -> Outcome {
        let worst = (self.problem)().map_err(Failure::from).and_then(|problem| {
            let mut first = None;
            let mut worst: Option<f64> = None;
            for (seed, guarded) in ways(device, seeds) {
                set_seed(device, seed);
                let run = problem
                    .run(self.op, device, guarded)
                    .map_err(|failure| failure.with_seed(device, seed))?;
                if *first.get_or_insert_with(|| run.results.clone()) != run.results {
                    return Err(Failure::Wrong(format!("seed {seed} gives other bits than seed 0")));
                }
                worst = run.share.into_iter().chain(worst).reduce(f64::max);
            }
            Ok(worst)
        });
        match worst {
            Ok(share) => Outcome::Passed { share },
            Err(Failure::Error(Error::OutOfMemory { bytes })) => {
                Outcome::Skipped { reason: format!("the device has no room for {bytes} bytes") }
            }
            Err(failure) => Outcome::Failed { reason: failure.to_string() },
        }
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.op, self.name)
    }
}

/// All cases of all operations.
pub fn cases() -> Vec<Case> {
    let operations = [
        embed::cases(),
        norm::cases(),
        silu_and_mul::cases(),
        rope_append_kv::cases(),
        gather_rows::cases(),
        matmul::cases(),
        sample::cases(),
        attention_prefill::cases(),
        attention_decode::cases(),
        attention_combine::cases(),
    ];
    operations.into_iter().flatten().collect()
}

/// Loads all kernels, so that a case measures none of that.
pub fn load_kernels(device: &Device) -> Result<()> {
    device.load(Kernel::ALL)
}

/// The seeds of the runs, and whether their buffers have guards.
fn ways(device: &Device, seeds: u64) -> Vec<(u64, bool)> {
    if device.is_simulated() {
        (0..seeds.max(2)).map(|seed| (seed, seed % 2 == 0)).collect()
    } else {
        // Reads outside a buffer are not seen on a card; what is written there is.
        vec![(0, true)]
    }
}

#[cfg(feature = "sim")]
fn set_seed(device: &Device, seed: u64) {
    if let Some(simulator) = device.simulator() {
        let mut options = simulator.options();
        options.seed = seed;
        simulator.set_options(options);
    }
}

#[cfg(not(feature = "sim"))]
fn set_seed(_: &Device, _: u64) {}
