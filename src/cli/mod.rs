//! Command line: arguments, and one file a command.

#[cfg(feature = "kernels")]
mod bench;
#[cfg(feature = "kernels")]
mod check;
mod compare;
mod device;
mod generate;
mod info;
mod interrupt;
mod logits;
#[cfg(feature = "kernels")]
mod nvidia_smi;
mod options;
mod plans;
#[cfg(feature = "kernels")]
mod probe;
mod progress;
mod record;
#[cfg(feature = "kernels")]
mod records;
mod report;

use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;
use std::sync::Mutex;

use clap::Parser;

use options::{Arguments, Command};

/// Runs the program: exit code 0, 1 after an error (one line on stderr), 2 after wrong usage.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = reporting_panics(|| match &arguments.command {
        Command::Generate(args) => generate::run(args),
        Command::Compare(args) => compare::run(args),
        Command::Logits(args) => logits::run(args),
        Command::Info(args) => info::run(args),
        Command::Report(args) => report::run(args),
        #[cfg(feature = "kernels")]
        Command::Check(args) => check::run(args),
        #[cfg(feature = "kernels")]
        Command::Bench(args) => bench::run(args),
        #[cfg(feature = "kernels")]
        Command::Probe(args) => probe::run(args),
        #[cfg(not(feature = "kernels"))]
        Command::Check(_) | Command::Bench(_) | Command::Probe(_) => {
            anyhow::bail!("this program was built without the feature `kernels`")
        }
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of our output has gone: nothing is wrong with us.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Makes an error of a panic. The libraries that read tokenizers and templates panic on some malformed files; the readers
/// turn that into an error about the file, and the panic's own message must not stand on the terminal beside it.
fn reporting_panics(run: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
    static LAST: Mutex<String> = Mutex::new(String::new());
    panic::set_hook(Box::new(|info| {
        if let Ok(mut last) = LAST.lock() {
            *last = info.to_string().replace('\n', " ");
        }
    }));
    panic::catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| {
        let last = LAST.lock().map(|last| last.clone()).unwrap_or_default();
        Err(anyhow::anyhow!("this is a bug in llama-kernels, please report it: {last}"))
    })
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
}
