//! `bench decode` and `bench prefill`: whole forward passes of the published models, with random weights.
//!
//! A pass is timed as an engine sees it: by the host's clock, from tokens on the host to the next tokens there, with all that
//! is between. A decode is a step of one token for each sequence; a prefill goes from prompts to the first token behind each,
//! in as many steps as they take.

mod cases;
#[cfg(feature = "sim")]
mod counted;
mod lines;
mod runner;
mod subject;

use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use llama_kernels::backend::{Backend, Gpu};
use llama_kernels::bench::{Ceilings, Meter, Timing};
use llama_kernels::cost::StepFormats;
use llama_kernels::tensor::DType;

use self::cases::{Case, Fitting};
use self::runner::Runner;
use crate::cli::options::{BenchArgs, Element};
use crate::cli::progress::bytes;
use crate::cli::record::{Record, Step};
use crate::cli::records::Records;

#[cfg(feature = "sim")]
pub use self::counted::count;
pub use self::subject::Subject;

/// Without the simulated GPU there is none to count on.
#[cfg(not(feature = "sim"))]
pub fn count(_: &[Phase], _: &BenchArgs, _: &llama_kernels::gpu::Device, _: &mut Records) -> Result<()> {
    bail!("this program was built without the feature `sim`")
}

/// What a forward pass is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// One token more for each sequence.
    Decode,
    /// A prompt, to the first token behind it.
    Prefill,
}

impl Phase {
    /// On the command line, and in records.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Decode => "decode",
            Phase::Prefill => "prefill",
        }
    }
}

/// At least so long a device computes before it is timed, for its clocks.
const WARM_UP: Duration = Duration::from_millis(300);
/// When so much time has been measured, the least number of passes is enough.
const ENOUGH: Duration = Duration::from_secs(5);
/// The most decodes that are timed, each a token longer than the one before it.
const MOST_DECODES: usize = 50;

/// How often a pass is timed.
struct Effort {
    least: usize,
    most: usize,
}

/// The passes of one model, timed.
struct Bench<'a> {
    subject: &'a Subject,
    dtype: DType,
    formats: StepFormats,
    ceilings: &'a Ceilings,
}

/// Times passes on a GPU: of each model, in each batch and context that it has memory for.
pub fn run(
    phases: &[Phase],
    args: &BenchArgs,
    meter: &mut Meter,
    ceilings: &Ceilings,
    records: &mut Records,
) -> Result<()> {
    let device = meter.stream().device().clone();
    let (dtype, formats) = (dtype(args), formats(args));
    let mut timed = 0;
    for subject in Subject::all(&args.model)? {
        let wanted = cases::wanted(phases, args, &cases::DEFAULTS)?;
        let free = device.memory_bytes()?.free;
        let fitting = Fitting::new(&subject.config, dtype, formats, &wanted, MOST_DECODES, Some(free));
        for refusal in &fitting.refusals {
            print(&format!("{}: {refusal}", subject.name))?;
        }
        let Some(options) = fitting.options() else { continue };
        let loaded = Runner::load(Gpu::new(&device)?, &subject.config, dtype, &options);
        let (mut runner, took) = loaded.with_context(|| format!("{}: loading", subject.name))?;
        print(&lines::model(&subject, dtype, &options, took))?;
        let bench = Bench { subject: &subject, dtype, formats, ceilings };
        for &phase in phases {
            let cases: Vec<&Case> = fitting.cases.iter().filter(|case| case.phase == phase).collect();
            if !cases.is_empty() {
                print(&lines::heading(phase))?;
            }
            for case in cases {
                let (step, bound) =
                    bench.time(&mut runner, case).with_context(|| format!("{}: {case}", subject.name))?;
                print(&lines::step(&step, &bound))?;
                records.push(Record::Step(step))?;
                timed += 1;
            }
        }
    }
    if timed == 0 {
        let free = bytes(device.memory_bytes()?.free);
        bail!("no forward pass was timed: none fits the {free} that are free, or the model's context");
    }
    Ok(())
}

impl Bench<'_> {
    /// Times one case, and says which ceiling its floor is.
    fn time<B: Backend>(&self, runner: &mut Runner<B>, case: &Case) -> Result<(Step, String)> {
        let samples = match case.phase {
            Phase::Decode => decode(runner, case)?,
            Phase::Prefill => prefill(runner, case)?,
        };
        let timing = Timing::of(samples, 1);
        let cost = case.cost(&self.subject.config, self.formats);
        let (floor, bound) = self.ceilings.floor(&cost);
        let step = Step {
            phase: case.phase.name().into(),
            model: self.subject.name.clone(),
            dtype: self.dtype.to_string(),
            weights: self.formats.weights.to_string(),
            kv_cache: self.formats.kv_cache.to_string(),
            batch: case.batch,
            context: case.context,
            microseconds: timing.microseconds,
            low_microseconds: timing.low,
            high_microseconds: timing.high,
            steps: timing.replays,
            tokens_per_second: case.tokens() as f64 / timing.microseconds * 1e6,
            flops: cost.flops,
            bytes: cost.bytes,
            floor_microseconds: floor,
            percent_of_floor: floor / timing.microseconds * 100.0,
        };
        Ok((step, bound.to_string()))
    }
}

/// Microseconds of decodes, the first of which has the case's context behind it.
fn decode<B: Backend>(runner: &mut Runner<B>, case: &Case) -> Result<Vec<f64>> {
    let mut decode = runner.begin(case.batch, case.context)?;
    let mut warm_up = || {
        runner.decode(&mut decode, &mut |_| Ok(()))?;
        runner.back_to(&decode, case.context)
    };
    warm(3, &mut warm_up)?;
    let most = MOST_DECODES.min(runner.config().context - case.context);
    let samples = sample(&Effort { least: 5, most }, || runner.decode(&mut decode, &mut |_| Ok(())))?;
    runner.end(decode)?;
    Ok(samples)
}

/// Microseconds of prefills.
fn prefill<B: Backend>(runner: &mut Runner<B>, case: &Case) -> Result<Vec<f64>> {
    let prompts = runner.prompts(case.batch, case.context);
    let mut pass = || runner.prefill(&prompts, &mut |_| Ok(())).map(drop);
    warm(1, &mut pass)?;
    sample(&Effort { least: 3, most: 20 }, pass)
}

/// Passes at least so often, and until the device's clocks are up.
fn warm(least: usize, pass: &mut dyn FnMut() -> Result<()>) -> Result<()> {
    let begin = Instant::now();
    let mut passes = 0;
    while passes < least || begin.elapsed() < WARM_UP {
        pass()?;
        passes += 1;
    }
    Ok(())
}

/// Microseconds of each pass.
fn sample(effort: &Effort, mut pass: impl FnMut() -> Result<()>) -> Result<Vec<f64>> {
    let mut samples = Vec::new();
    let begin = Instant::now();
    while samples.len() < effort.most && (samples.len() < effort.least || begin.elapsed() < ENOUGH) {
        let start = Instant::now();
        pass()?;
        samples.push(start.elapsed().as_secs_f64() * 1e6);
    }
    Ok(samples)
}

/// What models are held in.
pub fn formats(args: &BenchArgs) -> StepFormats {
    StepFormats { weights: args.weights.into(), kv_cache: args.kv_cache.into() }
}

fn dtype(args: &BenchArgs) -> DType {
    match args.dtype {
        Element::Bf16 => DType::BF16,
        Element::F16 => DType::F16,
    }
}

fn print(line: &str) -> Result<()> {
    Ok(writeln!(std::io::stdout().lock(), "{line}")?)
}

#[cfg(test)]
mod tests {
    use llama_kernels::backend::WeightFormat;
    use llama_kernels::reference::{Activations, Cpu};

    use super::*;

    /// On the CPU a pass takes what it takes; what it is said to cost does not depend on that.
    #[test]
    fn passes_are_timed_and_compared_with_their_floor() {
        let formats = StepFormats { weights: WeightFormat::Fp8, ..StepFormats::default() };
        let subject = Subject::named("assets/demo-model").unwrap();
        let cases = [(Phase::Decode, 2, 40), (Phase::Decode, 1, 2047), (Phase::Prefill, 2, 33)]
            .map(|(phase, batch, context)| Case { phase, batch, context });
        let fitting = Fitting::new(&subject.config, DType::BF16, formats, &cases, MOST_DECODES, None);
        assert_eq!((fitting.cases.len(), fitting.refusals.len()), (3, 0));
        let cpu = Cpu::<f32>::new(Activations::AsCheckpoint);
        let options = fitting.options().unwrap();
        let (mut runner, _) = Runner::load(cpu, &subject.config, DType::BF16, &options).unwrap();
        let ceilings = Ceilings::H200_DATASHEET;
        let bench = Bench { subject: &subject, dtype: DType::BF16, formats, ceilings: &ceilings };
        for case in &cases {
            let (step, bound) = bench.time(&mut runner, case).unwrap();
            assert_eq!((step.weights.as_str(), step.kv_cache.as_str()), ("fp8", "native"));
            assert!(step.microseconds > 0.0 && step.low_microseconds <= step.microseconds, "{step:?}");
            // The last token of the context has only one behind it.
            let steps = if case.context == 2047 { 1..=1 } else { 3..=MOST_DECODES };
            assert!(steps.contains(&step.steps), "{step:?}");
            let cost = case.cost(&subject.config, formats);
            assert_eq!((step.flops, step.bytes), (cost.flops, cost.bytes));
            let floor = cost.bytes as f64 / 4.8e6;
            assert!(bound != "memory" || (step.floor_microseconds / floor - 1.0).abs() < 1e-6, "{step:?}");
            let rate = step.tokens_per_second * step.microseconds / 1e6;
            assert!((rate - case.tokens() as f64).abs() < 1e-6, "{step:?}");
        }
        assert_eq!(runner.sequences(), 0, "every sequence was ended");
    }
}
