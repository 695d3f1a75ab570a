//! Command line: arguments, and one file a command.

mod arguments;
mod excerpt;
mod list;
mod memory;
mod report_file;
mod run;

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Parser;

use arguments::{Arguments, Command};

/// Bytes of a PTX file at most.
const MAX_PTX_BYTES: u64 = 256 << 20;

/// How a command ended.
#[derive(Clone, Copy)]
pub enum Outcome {
    /// All is well.
    Success,
    /// A kernel broke a rule, or its outputs depend on the seed.
    Failure,
    /// The PTX has instructions that are not executed.
    Unsupported,
}

/// Runs the program: exit code 0, 1 for a kernel at fault, 2 for wrong usage and unreadable files, 3 for PTX that is
/// not executed.
pub fn main() -> ExitCode {
    let result = match &Arguments::parse().command {
        Command::Run(arguments) => run::run(arguments),
        Command::List(arguments) => list::run(arguments),
    };
    match result {
        Ok(Outcome::Success) => ExitCode::SUCCESS,
        Ok(Outcome::Failure) => ExitCode::FAILURE,
        Ok(Outcome::Unsupported) => ExitCode::from(3),
        Err(error) => {
            eprintln!("error: {error:#}");
            let unsupported = error
                .chain()
                .any(|cause| matches!(cause.downcast_ref(), Some(ptx_sim::Error::Unsupported(_))));
            ExitCode::from(if unsupported { 3 } else { 2 })
        }
    }
}

/// The text of a file that is no larger than `most` bytes.
pub fn read_text(file: &Path, most: u64) -> Result<String> {
    let name = || file.display().to_string();
    let mut bytes = Vec::new();
    // Not by the file's length, which a pipe does not have.
    File::open(file).and_then(|f| f.take(most + 1).read_to_end(&mut bytes)).with_context(name)?;
    if bytes.len() as u64 > most {
        bail!("{}: expected at most {most} bytes, given more", file.display());
    }
    String::from_utf8(bytes).context("expected UTF-8 text").with_context(name)
}

fn read_ptx(file: &Path) -> Result<String> {
    read_text(file, MAX_PTX_BYTES)
}

/// Prints. A reader that has gone away is no error, and the exit code still says how the kernels did.
fn print(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error).context("stdout"),
        _ => Ok(()),
    }
}
