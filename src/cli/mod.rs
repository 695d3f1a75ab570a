//! Command line: arguments, and one file a command.

mod device;
mod generate;
mod info;
mod interrupt;
mod logits;
mod options;
mod progress;

use std::io;
use std::process::ExitCode;

use clap::Parser;

use options::{Arguments, Command};

/// Runs the program: exit code 0, 1 after an error (one line on stderr), 2 after wrong usage.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match &arguments.command {
        Command::Generate(args) => generate::run(args),
        Command::Logits(args) => logits::run(args),
        Command::Info(args) => info::run(args),
    };
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

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
}
