//! What the README shows is what the program does.

use std::process::Command;

const README: &str = include_str!("../README.md");
const CI: &str = include_str!("../.ci/run");

/// The commands of the README's `console` blocks, each with the lines that stand under it.
fn console() -> Vec<(String, String)> {
    let mut commands: Vec<(String, String)> = Vec::new();
    let mut inside = false;
    for line in README.lines() {
        if line.starts_with("```") {
            inside = line == "```console";
        } else if let (true, Some(command)) = (inside, line.strip_prefix("$ ")) {
            commands.push((command.to_string(), String::new()));
        } else if let (true, Some((_, output))) = (inside, commands.last_mut()) {
            output.push_str(line);
            output.push('\n');
        }
    }
    commands
}

/// Runs every command as it stands, through the shell, and compares what it prints on stdout.
#[test]
fn console_blocks_run_as_written() {
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_llama-kernels"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = [binary.parent().unwrap().to_path_buf()].into_iter().chain(std::env::split_paths(&path));
    let path = std::env::join_paths(folders).unwrap();
    let scratch = crate::common::TempDir::new();
    let commands = console();
    assert!(commands.len() >= 4, "the README's examples are gone: {commands:?}");
    for (command, expected) in commands {
        // The README says that these need the kernels.
        if command.contains("--device sim") && !cfg!(all(feature = "sim", kernels_built)) {
            println!("not run in a build without kernels: {command}");
            continue;
        }
        assert!(
            command.starts_with("llama-kernels "),
            "{command}: only the program's own commands are run here"
        );
        let output = Command::new("sh")
            .args(["-c", &command.replace("/tmp/", &format!("{}/", scratch.path().display()))])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env("PATH", &path)
            // What stands there was written by the CPU, in f32.
            .env("CUDA_VISIBLE_DEVICES", "")
            .output()
            .unwrap();
        let (stdout, stderr) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "$ {command}\n{stderr}");
        assert_eq!(stdout.trim_end(), expected.trim_end(), "$ {command}\n{stderr}");
    }
}

/// The README's two commands are what CI runs.
#[test]
fn ci_runs_the_two_commands() {
    for command in ["cargo xtask demo", "cargo xtask test"] {
        assert!(README.contains(command) && CI.contains(command), "{command}");
    }
}
