//! A violation with the lines of PTX and CUDA that it names.

use std::path::{Component, Path};

use ptx_sim::{SourceLocation, Violation};

/// Bytes of a source file at most; a longer one is not shown.
const MAX_SOURCE_BYTES: u64 = 16 << 20;

/// Characters of a line that are shown.
const MAX_COLUMNS: usize = 160;

/// The violation's report, with the text of the lines below each place.
pub fn describe(violation: &Violation, ptx: &str, ptx_file: &Path) -> String {
    let prior = violation.prior.as_ref().and_then(|prior| prior.location.as_ref());
    let places: Vec<&SourceLocation> = violation.location.iter().chain(prior).collect();
    let mut text = String::new();
    for line in violation.to_string().lines() {
        text.push_str(line);
        text.push('\n');
        let trimmed = line.trim_start();
        if let Some(place) = places.iter().find(|place| trimmed == format!("at {place}")) {
            let indent = line.len() - trimmed.len() + 4;
            for (place, code) in lines_of(place, ptx, ptx_file) {
                text.push_str(&format!("{:indent$}{place} | {code}\n", ""));
            }
        }
    }
    text
}

/// Place and text of the lines, the CUDA source first, where its file lies beside the PTX.
fn lines_of(place: &SourceLocation, ptx: &str, ptx_file: &Path) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    for (file, number) in place.source.iter().chain(&place.inlined_at) {
        if let Some(code) = source_line(Path::new(file), *number, ptx_file) {
            lines.push((format!("{}:{number}", name_of(Path::new(file))), code));
        }
    }
    if let Some(code) = line(ptx, place.ptx_line) {
        lines.push((format!("{}:{}", name_of(ptx_file), place.ptx_line), code));
    }
    let width = lines.iter().map(|(place, _)| place.chars().count()).max().unwrap_or(0);
    lines.into_iter().map(|(place, code)| (format!("{place:width$}"), code)).collect()
}

fn name_of(file: &Path) -> String {
    file.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// A line of the file as the compiler named it. PTX moves between machines, so the folders of that name mean nothing
/// here: the longest end of it that exists below the PTX file's folder is taken, and nothing outside that folder.
fn source_line(file: &Path, number: u32, ptx_file: &Path) -> Option<String> {
    let folder = ptx_file.parent()?;
    let names: Vec<_> = file.components().filter(|c| matches!(c, Component::Normal(_))).collect();
    let found = (0..names.len())
        .map(|skipped| folder.join(names[skipped..].iter().collect::<std::path::PathBuf>()))
        .find(|candidate| candidate.is_file())?;
    line(&super::read_text(&found, MAX_SOURCE_BYTES).ok()?, number)
}

/// The text of line `number`, from 1, with single spaces.
fn line(text: &str, number: u32) -> Option<String> {
    let line = text.lines().nth(number.checked_sub(1)? as usize)?;
    let words: Vec<&str> =
        line.split(|c: char| c.is_whitespace() || c.is_control()).filter(|w| !w.is_empty()).collect();
    let shown: String = words.join(" ").chars().take(MAX_COLUMNS).collect();
    (!shown.is_empty()).then_some(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_from_one_and_trimmed() {
        let text = "first\n\tsecond \tone;\x1b  \n\n";
        assert_eq!(line(text, 1).as_deref(), Some("first"));
        assert_eq!(line(text, 2).as_deref(), Some("second one;"));
        assert_eq!((line(text, 0), line(text, 3), line(text, 9)), (None, None, None));
        assert_eq!(line(&"x".repeat(1000), 1).unwrap().len(), MAX_COLUMNS);
    }

    #[test]
    fn sources_are_found_beside_the_ptx_and_nowhere_else() {
        let folder = std::env::temp_dir().join(format!("ptx-sim-excerpt-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("below/src")).unwrap();
        std::fs::write(folder.join("outside.cu"), "outside\n").unwrap();
        std::fs::write(folder.join("below/k.cu"), "near\n").unwrap();
        std::fs::write(folder.join("below/src/k.cu"), "deeper\n").unwrap();
        let ptx = folder.join("below/k.ptx");
        let found = |file: &str| source_line(Path::new(file), 1, &ptx);
        assert_eq!(found("k.cu").as_deref(), Some("near"));
        assert_eq!(found("/elsewhere/k.cu").as_deref(), Some("near"));
        assert_eq!(found("/elsewhere/src/k.cu").as_deref(), Some("deeper"));
        assert_eq!(found("../outside.cu"), None);
        assert_eq!(found(folder.join("outside.cu").to_str().unwrap()), None);
        assert_eq!(found(""), None);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
