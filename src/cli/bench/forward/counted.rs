//! Passes on the simulated GPU: what their launches do, counted. It has no clock.

use anyhow::{Context, Result, bail};
use llama_kernels::backend::Gpu;
use llama_kernels::bench::Ceilings;
use llama_kernels::cost::StepFormats;
use llama_kernels::gpu::Device;
use llama_kernels::model::config::Config;

use super::cases::{self, Case, Fitting};
use super::runner::Runner;
use super::subject::Subject;
use super::{Phase, dtype, formats, lines, print};
use crate::cli::info::thousands;
use crate::cli::options::BenchArgs;
use crate::cli::record::{Counters, Record, Row, Sizes};
use crate::cli::records::Records;

/// Weights of the largest model that is simulated: the memory is the host's.
const MOST_PARAMETERS: u64 = 100_000_000;
/// Tokens in the caches of all sequences together, likewise.
const MOST_TOKENS: usize = 8192;
/// Operations of the largest pass: a minute or so.
const MOST_FLOPS: u64 = 20_000_000_000;

/// Counts passes on a simulated GPU, without their sampling: of each model, in each batch and context.
pub fn count(phases: &[Phase], args: &BenchArgs, device: &Device, records: &mut Records) -> Result<()> {
    let (dtype, formats) = (dtype(args), formats(args));
    let mut counted = 0;
    for subject in Subject::all(&args.model)? {
        let parameters = subject.config.parameter_count();
        if parameters > MOST_PARAMETERS {
            bail!(
                "--model {}: {} parameters, and the simulated GPU takes models of at most {}; a folder with a config.json \
                 will do, such as assets/demo-model",
                subject.name,
                thousands(parameters),
                thousands(MOST_PARAMETERS)
            );
        }
        let wanted = cases::wanted(phases, args, &cases::SIMULATED)?;
        let fitting = Fitting::new(&subject.config, dtype, formats, &wanted, 1, None);
        for refusal in &fitting.refusals {
            print(&format!("{}: {refusal}", subject.name))?;
        }
        fitting.cases.iter().try_for_each(|case| check(case, &subject.config))?;
        let Some(options) = fitting.options() else { continue };
        let loaded = Runner::load(Gpu::new(device)?, &subject.config, dtype, &options);
        let (mut runner, took) = loaded.with_context(|| format!("{}: loading", subject.name))?;
        print(&lines::model(&subject, dtype, &options, took))?;
        print(&lines::counted_heading(&device.properties().name))?;
        for case in &fitting.cases {
            let mut counters =
                count_case(&mut runner, case).with_context(|| format!("{}: {case}", subject.name))?;
            let cost = case.cost(&subject.config, formats);
            counters.row = Row {
                op: case.phase.name().into(),
                label: lines::label(&subject.name, formats),
                dtype: dtype.to_string(),
                sizes: Sizes(vec![
                    ("batch".into(), case.batch as u64),
                    ("context".into(), case.context as u64),
                ]),
                flops: cost.flops,
                bytes: cost.bytes,
                bytes_written: cost.written,
                plan: Vec::new(),
            };
            let (microseconds, bound) = Ceilings::H200_DATASHEET.floor(&cost);
            counters.bound = bound.to_string();
            counters.bound_microseconds = microseconds;
            counters.bound_device = "an H200 by its datasheet".into();
            print(&lines::counted(&counters))?;
            records.push(Record::Counters(counters))?;
            counted += 1;
        }
    }
    if counted == 0 {
        bail!("no forward pass was counted: all are longer than the model's context");
    }
    Ok(())
}

/// Refuses what would take hours, or more memory than the host has.
fn check(case: &Case, config: &Config) -> Result<()> {
    if case.batch.saturating_mul(case.context.saturating_add(1)) > MOST_TOKENS {
        bail!("{case}: expected at most {MOST_TOKENS} tokens together on the simulated GPU");
    }
    let flops = case.cost(config, StepFormats::default()).flops;
    if flops > MOST_FLOPS {
        let (gigaflops, most) = (flops as f64 / 1e9, MOST_FLOPS / 1_000_000_000);
        bail!("{case}: {gigaflops:.1} GFLOP, and the simulated GPU takes at most {most} a pass");
    }
    Ok(())
}

/// What the launches of one pass did, all together.
fn count_case(runner: &mut Runner<Gpu>, case: &Case) -> Result<Counters> {
    let mut reports = Vec::new();
    let mut watch = |gpu: &Gpu| {
        reports.extend(gpu.stream().reports()?.unwrap_or_default());
        Ok(())
    };
    match case.phase {
        Phase::Decode => {
            let mut decode = runner.begin(case.batch, case.context)?;
            runner.decode(&mut decode, &mut watch)?;
            runner.end(decode)?;
        }
        Phase::Prefill => {
            let prompts = runner.prompts(case.batch, case.context);
            runner.prefill(&prompts, &mut watch)?;
        }
    }
    let mut sum = Counters { launches: reports.len(), ..Counters::default() };
    for counters in reports.iter().map(|report| &report.counters) {
        sum.touched_bytes += counters.global_read.unique_bytes + counters.global_written.unique_bytes;
        sum.issued_bytes += counters.global_read.issued_bytes + counters.global_written.issued_bytes;
        sum.tensor_flops += counters.tensor_flops.values().sum::<u64>();
        sum.instructions += counters.instructions;
        for shared in [&counters.shared_read, &counters.shared_written] {
            sum.shared_wavefronts += shared.wavefronts;
            sum.bank_conflicts += shared.conflicts;
        }
        sum.barriers += counters.barriers;
        for (class, instructions) in &counters.by_class {
            let classes = &mut sum.instructions_by_class.0;
            match classes.iter_mut().find(|(known, _)| known == class) {
                Some((_, sum)) => *sum += instructions,
                None => classes.push(((*class).into(), *instructions)),
            }
        }
    }
    Ok(sum)
}
