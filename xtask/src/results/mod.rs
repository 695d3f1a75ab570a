//! Results that cards brought back, and the README's tables of them. No figure there is typed by hand.

mod document;
mod import;
mod probes;
mod tables;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::workspace;
use document::Document;

const USAGE: &str = "expected nothing, --check, or import FILE [--allow-dirty]";
/// Around the tables in the README.
const MARKERS: [&str; 2] = ["<!-- results -->\n", "<!-- /results -->\n"];
/// What stands between the markers before there is a result.
const NOTHING: &str = "not yet measured\n";

/// `cargo xtask results [--check]` and `cargo xtask results import FILE [--allow-dirty]`.
pub fn run(args: &[String]) -> Result<()> {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        [] => update(workspace::root()),
        ["--check"] => check(workspace::root()),
        ["import", file] => import::run(workspace::root(), Path::new(file), false),
        ["import", file, "--allow-dirty"] | ["import", "--allow-dirty", file] => {
            import::run(workspace::root(), Path::new(file), true)
        }
        _ => bail!("{USAGE}, got {args:?}"),
    }
}

/// Writes the README's tables.
fn update(root: &Path) -> Result<()> {
    let (path, text) = readme(root)?;
    let new = with_tables(&text, &newest(root)?)?;
    if new != text {
        std::fs::write(&path, new).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// An error where the README's tables are not those of the newest results.
fn check(root: &Path) -> Result<()> {
    let (path, text) = readme(root)?;
    if with_tables(&text, &newest(root)?)? != text {
        bail!(
            "{}: the tables are not those of benches/results; `cargo xtask results` writes them",
            path.display()
        );
    }
    Ok(())
}

fn readme(root: &Path) -> Result<(PathBuf, String)> {
    let path = root.join("README.md");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    Ok((path, text))
}

/// The README with the tables of these results, each with its path in the repository.
fn with_tables(readme: &str, newest: &[(String, Document)]) -> Result<String> {
    let [begin, end] = MARKERS;
    let parts = readme.split_once(begin).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(end)?;
        Some((before, after))
    });
    let Some((before, after)) = parts else {
        bail!("README.md: expected lines {:?} and {:?}", begin.trim_end(), end.trim_end());
    };
    let tables: Vec<String> =
        newest.iter().map(|(path, document)| tables::markdown(path, document)).collect();
    let tables = if tables.is_empty() { NOTHING.to_string() } else { tables.join("\n") };
    Ok([before, begin, &tables, end, after].concat())
}

/// The newest result of each GPU, in the order of their folders' names.
fn newest(root: &Path) -> Result<Vec<(String, Document)>> {
    let mut newest = Vec::new();
    for folder in entries(&root.join(document::FOLDER))?.into_iter().filter(|path| path.is_dir()) {
        let mut of_gpu = Vec::new();
        for path in
            entries(&folder)?.into_iter().filter(|path| path.extension().is_some_and(|end| end == "json"))
        {
            let inside = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
            of_gpu.push((inside, Document::read(&path)?));
        }
        // By date, and of one date the last name.
        newest
            .extend(of_gpu.into_iter().max_by(|(a, one), (b, other)| (&one.date, a).cmp(&(&other.date, b))));
    }
    Ok(newest)
}

/// What a folder has, by name; nothing where there is no folder.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let entries = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}
