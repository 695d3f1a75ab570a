//! `ptx-sim run`: launches with one seed or several, and what came of them.

use std::path::Path;

use anyhow::{Context, Result, bail};
use ptx_sim::{
    ComputeCapability, Device, DeviceProperties, Error, Kernel, LaunchConfig, Module, Report, RunOptions,
    TensorMode, Violation,
};

use super::arguments::{Rule, RunArguments};
use super::memory::{self, Output};
use super::report_file::{Difference, ReportFile};
use super::{Outcome, excerpt, print, read_ptx};
use crate::launch_file::{Launch, LaunchFile, ParameterShape, pack, why_not_writable};

/// Runs the command.
pub fn run(arguments: &RunArguments) -> Result<Outcome> {
    let ptx = read_ptx(&arguments.ptx)?;
    let file = LaunchFile::load(&arguments.launch)?;
    if let Some((report, reason)) =
        arguments.report.as_deref().and_then(|file| Some((file, why_not_writable(file)?)))
    {
        bail!("--report {}: {reason}", report.display());
    }
    let compute_capability = match arguments.compute_capability {
        Some(given) => given,
        None => {
            let inspection = ptx_sim::inspect(&ptx).with_context(|| arguments.ptx.display().to_string())?;
            device_for(&inspection.target)
        }
    };
    let mut simulation = Simulation {
        ptx: &ptx,
        ptx_file: &arguments.ptx,
        launch_file: &arguments.launch,
        file: &file,
        properties: DeviceProperties::of(compute_capability),
        options: options(arguments),
    };
    let mut report = ReportFile::new(&arguments.ptx, &simulation.properties);
    let mut first: Option<(u64, Vec<Output>)> = None;
    let seeds = arguments.seeds.map_or(arguments.seed..=arguments.seed, |count| 0..=count - 1);
    for seed in seeds {
        simulation.options.seed = seed;
        let Run { launches, result } = simulation.run()?;
        if !arguments.quiet && report.seeds.is_empty() {
            show_launches(&launches)?;
        }
        report.seeds.push(seed);
        report.launches.extend(launches);
        let outputs = match result {
            Ok(outputs) => outputs,
            Err(violation) => {
                report.violation = Some(violation);
                break;
            }
        };
        match &first {
            None => first = Some((seed, outputs)),
            Some((other, reference)) => {
                report.difference = Difference::between((*other, reference), (seed, &outputs));
                if report.difference.is_some() {
                    break;
                }
            }
        }
    }
    let outputs = first.map(|(_, outputs)| outputs).unwrap_or_default();
    let outcome = conclude(arguments, &ptx, &mut report, &outputs)?;
    if let Some(file) = &arguments.report {
        report.write(file)?;
    }
    Ok(outcome)
}

/// Says how it went, and writes the outputs where all is well.
fn conclude(
    arguments: &RunArguments,
    ptx: &str,
    report: &mut ReportFile,
    outputs: &[Output],
) -> Result<Outcome> {
    let mut text = String::new();
    if let Some(violation) = &report.violation {
        text.push_str(&excerpt::describe(violation, ptx, &arguments.ptx));
    }
    if let Some(difference) = &report.difference {
        text.push_str(&format!("{difference}\n"));
    }
    if !text.is_empty() {
        text.push_str("no output was written\n");
        print(&text)?;
        return Ok(Outcome::Failure);
    }
    if let Some(count) = arguments.seeds {
        text.push_str(&format!("{count} seeds, no rule broken; "));
        text.push_str(match outputs {
            [] => "no output to compare: no buffer has a file that it goes to\n",
            _ => "the outputs are the same\n",
        });
    }
    for output in outputs {
        output.write()?;
        let unwritten = match output.unwritten {
            0 => String::new(),
            count => format!(", of which the kernels left {count} unwritten"),
        };
        text.push_str(&format!(
            "wrote {} ({} bytes{unwritten})\n",
            output.file.display(),
            output.bytes.len()
        ));
        report.written.push(output.file.display().to_string());
    }
    if !arguments.quiet {
        print(&text)?;
    }
    Ok(Outcome::Success)
}

/// What kernels printed, and the counters.
fn show_launches(launches: &[Report]) -> Result<()> {
    for report in launches {
        let newline = if report.output.is_empty() || report.output.ends_with('\n') { "" } else { "\n" };
        print(&format!("{}{newline}{report}\n", report.output))?;
    }
    Ok(())
}

fn options(arguments: &RunArguments) -> RunOptions {
    let mut options = RunOptions::default();
    options.checks.races = !arguments.no_race_check;
    options.checks.initialization = !arguments.no_init_check;
    options.checks.mbarrier_init_fence = !arguments.allow.contains(&Rule::UnfencedMbarrierInit);
    if arguments.fast_tensor {
        options.tensor_mode = TensorMode::Fast;
    }
    options.perturb_approx = arguments.perturb_approx;
    options.host_threads = arguments.threads;
    options.max_instructions = arguments.max_instructions;
    options
}

/// The newest device that is no newer than the PTX's target; the oldest one for targets that are older still, since
/// PTX runs on all later devices.
fn device_for(target: &str) -> ComputeCapability {
    let digits: String = target.chars().filter(char::is_ascii_digit).collect();
    let target = digits.parse().unwrap_or(u32::MAX);
    let no_newer = |capability: &ComputeCapability| {
        let (major, minor) = capability.version();
        major * 10 + minor <= target
    };
    ComputeCapability::ALL.iter().copied().filter(no_newer).max().unwrap_or(ComputeCapability::Sm80)
}

/// What the runs of all seeds share.
struct Simulation<'a> {
    ptx: &'a str,
    ptx_file: &'a Path,
    launch_file: &'a Path,
    file: &'a LaunchFile,
    properties: DeviceProperties,
    options: RunOptions,
}

/// What the run of one seed did.
struct Run {
    /// Reports of the launches that ended.
    launches: Vec<Report>,
    result: Result<Vec<Output>, Box<Violation>>,
}

/// One launch, ready to go.
struct Prepared {
    kernel: Kernel,
    config: LaunchConfig,
    parameters: Vec<u8>,
    repeat: u32,
}

impl Simulation<'_> {
    /// Runs all launches on a fresh device.
    fn run(&self) -> Result<Run> {
        let device = Device::new(self.properties.clone());
        device.set_options(self.options.clone());
        let names: Vec<&str> = self.file.launches.iter().map(|launch| launch.kernel.as_str()).collect();
        let module =
            device.load_kernels(self.ptx, &names).with_context(|| self.ptx_file.display().to_string())?;
        self.launch(&device, &module).with_context(|| self.launch_file.display().to_string())
    }

    fn launch(&self, device: &Device, module: &Module) -> Result<Run> {
        let addresses = memory::allocate(device, self.file)?;
        let launches = self.file.launches.iter().map(|launch| prepare(module, launch, &addresses));
        // All of them are looked at before the first one runs.
        let launches = launches.collect::<Result<Vec<_>>>()?;
        memory::fill(device, module, self.file, &addresses)?;
        let stream = device.create_stream();
        for launch in &launches {
            for _ in 0..launch.repeat {
                stream.launch(&launch.kernel, &launch.config, &launch.parameters)?;
            }
        }
        let reports = match stream.synchronize() {
            Ok(reports) => reports,
            Err(Error::Violation(violation)) => {
                // Those of the launches that ended before.
                return Ok(Run { launches: stream.synchronize()?, result: Err(violation) });
            }
            Err(error) => return Err(error.into()),
        };
        let outputs = memory::outputs(device, module, self.file, &addresses)?;
        Ok(Run { launches: reports, result: Ok(outputs) })
    }
}

fn prepare(module: &Module, launch: &Launch, addresses: &[u64]) -> Result<Prepared> {
    let kernel = module.kernel(&launch.kernel)?;
    let parameters: Vec<_> = kernel
        .parameters()
        .iter()
        .map(|p| ParameterShape {
            name: &p.name,
            offset: p.offset as usize,
            size: p.size as usize,
            align: p.align as usize,
        })
        .collect();
    let bytes = kernel.parameter_bytes() as usize;
    let parameters =
        pack(&launch.arguments_path, &launch.arguments, &parameters, bytes, &|buffer| addresses[buffer])?;
    let mut config = LaunchConfig::new(launch.grid, launch.block);
    config.cluster = launch.cluster;
    config.dynamic_shared_bytes = launch.dynamic_shared_bytes;
    config.registers_per_thread = launch.registers_per_thread;
    config.programmatic = launch.programmatic;
    Ok(Prepared { kernel, config, parameters, repeat: launch.repeat })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_rounded_down_to_a_device() {
        use ComputeCapability::{Sm80, Sm86, Sm89, Sm90};
        for (target, device) in [
            ("sm_52", Sm80),
            ("sm_80", Sm80),
            ("sm_86", Sm86),
            ("sm_87", Sm86),
            ("sm_89", Sm89),
            ("sm_90", Sm90),
            ("sm_90a", Sm90),
            ("sm_120f", Sm90),
        ] {
            assert_eq!(device_for(target), device, "{target}");
        }
    }
}
