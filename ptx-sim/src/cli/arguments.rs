//! The arguments of the program.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use ptx_sim::ComputeCapability;

/// Runs the PTX of CUDA kernels on the CPU, checks what they do, and counts what it costs.
#[derive(Parser)]
#[command(
    version,
    after_help = "Exit codes: 0 all is well, 1 a kernel broke a rule or its outputs differ between seeds, \
                  2 wrong usage or a file that cannot be read, 3 the PTX has instructions that are not executed."
)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Runs the launches of a launch file.
    Run(RunArguments),
    /// Shows the kernels of a PTX file, and the instructions that are not executed.
    List(ListArguments),
}

#[derive(Args)]
pub struct RunArguments {
    /// The PTX file.
    #[arg(value_name = "FILE.ptx")]
    pub ptx: PathBuf,
    /// What to launch, on what, and where the results go.
    #[arg(long, value_name = "LAUNCH.json")]
    pub launch: PathBuf,
    /// Seed of the scheduler and of asynchronous copies; 0 runs blocks in order and completes copies late.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Runs with each of the seeds 0 to N-1 on fresh memory, and compares the outputs.
    #[arg(long, value_name = "N", conflicts_with = "seed", value_parser = clap::value_parser!(u64).range(1..))]
    pub seeds: Option<u64>,
    /// Writes what happened as JSON.
    #[arg(long, value_name = "FILE.json")]
    pub report: Option<PathBuf>,
    /// The device: 8.0, 8.6, 8.9 or 9.0 [default: the PTX's target, rounded down to one of these].
    #[arg(long, value_name = "X.Y")]
    pub compute_capability: Option<ComputeCapability>,
    /// Computes tensor-core instructions in f32, not bit for bit as the hardware does.
    #[arg(long)]
    pub fast_tensor: bool,
    /// Turns the race detection off.
    #[arg(long)]
    pub no_race_check: bool,
    /// Turns the check for reads of uninitialised memory off.
    #[arg(long)]
    pub no_init_check: bool,
    /// Lets a kernel break this rule; may be given several times.
    #[arg(long, value_name = "RULE", value_enum)]
    pub allow: Vec<Rule>,
    /// Changes the results of approximate functions within the bounds that the PTX ISA gives them.
    #[arg(long)]
    pub perturb_approx: bool,
    /// Host threads for the blocks of one launch; 0 is one for each core.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub threads: usize,
    /// Stops a launch after this many warp instructions.
    #[arg(long, value_name = "N")]
    pub max_instructions: Option<u64>,
    /// Prints no counters.
    #[arg(long)]
    pub quiet: bool,
}

/// A rule that kernels are known to break where the hardware does not mind.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Rule {
    /// An mbarrier is initialised, and no fence makes that known to the asynchronous proxy.
    UnfencedMbarrierInit,
}

#[derive(Args)]
pub struct ListArguments {
    /// The PTX file.
    #[arg(value_name = "FILE.ptx")]
    pub ptx: PathBuf,
    /// Prints JSON.
    #[arg(long)]
    pub json: bool,
}
