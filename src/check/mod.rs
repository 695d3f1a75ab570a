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
mod ceiling;
mod embed;
mod gather_rows;
mod matmul;
mod memory;
mod norm;
mod permute_columns;
mod problem;
mod quantize_fp8;
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
    /// What it launches, where not every device runs that.
    kernel: Option<Kernel>,
    problem: Box<dyn Fn() -> Result<Problem> + Send + Sync>,
}

/// What came of a case.
#[derive(Debug)]
pub enum Outcome {
    /// The result is right, or the arguments were refused as they should be.
    Passed {
        /// The element whose error takes up most of its bound; `None` where all bits are known, or nothing was to be
        /// computed.
        worst: Option<Worst>,
    },
    /// The device, or [`Options::max_bytes`], has no room for it; or the device is of another architecture than its kernel.
    Skipped {
        /// What is needed.
        reason: String,
    },
    /// It is wrong.
    Failed {
        /// The worst element, what was written that should not be, or the error.
        reason: String,
    },
}

/// The element of a result whose error takes up most of its bound.
#[derive(Clone, Debug, PartialEq)]
pub struct Worst {
    /// The part of the bound.
    pub share: f64,
    /// The operand and the element, what it is, and what is right.
    pub place: String,
}

impl Worst {
    fn of_both(a: Option<Self>, b: Option<Self>) -> Option<Self> {
        a.into_iter().chain(b).reduce(|a, b| if b.share > a.share { b } else { a })
    }
}

/// How cases run.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How often a case runs on a simulated device, at least once each way.
    pub seeds: u64,
    /// Cases whose operands lie further apart are skipped.
    pub max_bytes: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Options { seeds: 4, max_bytes: None }
    }
}

impl Case {
    fn new(
        op: &'static str,
        name: impl Into<String>,
        problem: impl Fn() -> Result<Problem> + Send + Sync + 'static,
    ) -> Self {
        Case { op, name: name.into(), kernel: None, problem: Box::new(problem) }
    }

    /// Launches this kernel, which not every device runs: [`Kernel::needs`].
    fn of(self, kernel: Kernel) -> Self {
        Case { kernel: Some(kernel), ..self }
    }

    /// The operation.
    pub fn op(&self) -> &'static str {
        self.op
    }

    /// What is special about the arguments.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The kernel that it launches, where not every device runs that: elsewhere it is skipped.
    pub fn kernel(&self) -> Option<Kernel> {
        self.kernel
    }

    /// Runs it.
    pub fn run(&self, device: &Device, options: &Options) -> Outcome {
        if let Some((kernel, (major, minor))) = self.kernel.and_then(|kernel| Some((kernel, kernel.needs()?)))
            && !device.supports(kernel)
        {
            let name = &device.properties().name;
            let needs = format!("{} is for compute capability {major}.{minor} alone", kernel.name());
            return Outcome::Skipped { reason: format!("{needs}: this is {name}") };
        }
        let problem = match (self.problem)() {
            Ok(problem) => problem,
            Err(error) => return Outcome::Failed { reason: error.to_string() },
        };
        if let Some(max) = options.max_bytes.filter(|max| problem.num_bytes() > *max) {
            let reason = format!("{} bytes of operands, more than {max}", problem.num_bytes());
            return Outcome::Skipped { reason };
        }
        let run = || {
            let mut first = None;
            let mut worst = None;
            for (seed, guarded) in ways(device, options.seeds) {
                set_seed(device, seed);
                let run = problem
                    .run(self.op, device, guarded)
                    .map_err(|failure| failure.with_seed(device, seed))?;
                if *first.get_or_insert_with(|| run.results.clone()) != run.results {
                    return Err(Failure::Wrong(format!("seed {seed} gives other bits than seed 0")));
                }
                worst = Worst::of_both(worst, run.worst);
            }
            Ok(worst)
        };
        match run() {
            Ok(worst) => Outcome::Passed { worst },
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

/// All cases of all operations: what the crate's tests run.
pub fn cases() -> Vec<Case> {
    let operations = [
        embed::cases(),
        norm::cases(),
        quantize_fp8::cases(),
        norm::fp8_cases(),
        silu_and_mul::cases(),
        rope_append_kv::cases(),
        gather_rows::cases(),
        permute_columns::cases(),
        matmul::cases(),
        matmul::fp8_cases(),
        matmul::int4_cases(),
        sample::cases(),
        attention_prefill::cases(),
        attention_decode::cases(),
        attention_combine::cases(),
        ceiling::cases(),
    ];
    operations.into_iter().flatten().collect()
}

/// Every operation at the shapes of Llama 3 8B and 70B in their full size, up to 16,384 tokens: gigabytes of operands, for a
/// GPU alone. What would take the CPU reference too long is compared at tokens and columns from all over the output, and must
/// have been written everywhere.
pub fn model_cases() -> Vec<Case> {
    let operations = [
        embed::model_cases(),
        norm::model_cases(),
        quantize_fp8::model_cases(),
        norm::fp8_model_cases(),
        silu_and_mul::model_cases(),
        rope_append_kv::model_cases(),
        gather_rows::model_cases(),
        permute_columns::model_cases(),
        matmul::model_cases(),
        matmul::fp8_model_cases(),
        matmul::int4_model_cases(),
        sample::model_cases(),
        attention_prefill::model_cases(),
        attention_decode::model_cases(),
        attention_combine::model_cases(),
    ];
    operations.into_iter().flatten().collect()
}

/// Loads all kernels, so that a case measures none of that.
pub fn load_kernels(device: &Device) -> Result<()> {
    device.load_all()
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
