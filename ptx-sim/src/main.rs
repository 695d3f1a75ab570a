//! The `ptx-sim` program.

mod cli;
mod launch_file;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
