//! What the README shows is what the program does.

use std::path::Path;
use std::process::Command;

use crate::cli::TempDir;

const README: &str = include_str!("../README.md");

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

/// Runs every command as it stands, one after another, in a copy of the examples' folder, and compares what it prints on
/// stdout.
#[test]
fn console_blocks_run_as_written() {
    let binary = Path::new(env!("CARGO_BIN_EXE_ptx-sim"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = [binary.parent().unwrap().to_path_buf()].into_iter().chain(std::env::split_paths(&path));
    let path = std::env::join_paths(folders).unwrap();
    let scratch = TempDir::new();
    for file in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")).unwrap() {
        let file = file.unwrap().path();
        let extension = file.extension().and_then(|extension| extension.to_str());
        if matches!(extension, Some("cu" | "ptx" | "json")) {
            std::fs::copy(&file, scratch.path().join(file.file_name().unwrap())).unwrap();
        }
    }
    let commands = console();
    assert!(commands.len() >= 4, "the README's examples are gone: {commands:?}");
    for (command, expected) in commands {
        let output = Command::new("sh")
            .args(["-c", &command])
            .current_dir(scratch.path())
            .env("PATH", &path)
            .output()
            .unwrap();
        let (stdout, stderr) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "$ {command}\n{stdout}{stderr}");
        assert_eq!(stdout.trim_end(), expected.trim_end(), "$ {command}\n{stderr}");
    }
}

/// Every file that the README and the documents link to exists.
#[test]
fn links_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut documents = vec![root.join("README.md")];
    documents.extend(std::fs::read_dir(root.join("docs")).unwrap().map(|file| file.unwrap().path()));
    let mut links = 0;
    for document in documents {
        let text = std::fs::read_to_string(&document).unwrap();
        for link in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            if link.starts_with("http") {
                continue;
            }
            let target = document.parent().unwrap().join(link.split('#').next().unwrap());
            assert!(target.exists(), "{}: {link}", document.display());
            links += 1;
        }
    }
    assert!(links >= 5, "{links}");
}
