//! Import, refusals and tables, of made-up results in folders of their own.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::document::Document;
use super::import::Imported;
use super::*;

/// A card that nobody has, and times that nobody measured.
const MADE_UP: &str = include_str!("made_up.jsonl");
/// What the README would say of it.
const GOLDEN: &str = include_str!("made_up.md");
const README: &str = "# Title\n\n<!-- results -->\nnot yet measured\n<!-- /results -->\n\nThe rest\n";
const PLACE: &str = "benches/results/made-up-gpu-x1/2026-01-31-0123abc.json";

/// A workspace with a README, a file of results, and nothing else.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name =
            format!("llama-kernels-xtask-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = Folder(std::env::temp_dir().join(name));
        std::fs::create_dir_all(folder.0.join("ptx-sim/tests/golden")).unwrap();
        folder.write("README.md", README);
        folder.write("r.jsonl", MADE_UP);
        folder
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.join(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.join(name)).unwrap()
    }

    fn import(&self) -> Result<()> {
        import::run(&self.0, &self.0.join("r.jsonl"), false)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What stays behind in the folder of temporary files harms nobody.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The message of an error, with its causes.
fn message<T>(result: Result<T>) -> String {
    match result {
        Ok(_) => panic!("expected an error"),
        Err(error) => format!("{error:#}"),
    }
}

#[test]
fn the_readme_has_the_tables_of_the_newest_results() {
    check(workspace::root()).unwrap();
}

#[test]
fn without_results_nothing_is_measured() {
    let folder = Folder::new();
    check(&folder.0).unwrap();
    folder.write("README.md", &README.replace("not yet measured\n", "9,999 TFLOP/s\n"));
    assert!(message(check(&folder.0)).contains("the tables are not those of benches/results"));
    update(&folder.0).unwrap();
    assert_eq!(folder.read("README.md"), README);
}

#[test]
fn an_import_becomes_tables() {
    let folder = Folder::new();
    folder.import().unwrap();
    assert!(message(check(&folder.0)).contains("the tables are not those of benches/results"));
    update(&folder.0).unwrap();
    check(&folder.0).unwrap();
    let readme = folder.read("README.md");
    let expected = README.replace("not yet measured\n", GOLDEN);
    assert_eq!(readme, expected, "--- what the README says:\n{readme}");
    // A digit that somebody improves.
    let improved = readme.replace("| 80.0% |", "| 90.0% |");
    assert_ne!(improved, readme);
    folder.write("README.md", &improved);
    assert!(check(&folder.0).is_err());
}

#[test]
fn a_document_is_read_as_it_was_written() {
    let folder = Folder::new();
    folder.import().unwrap();
    let json = folder.read(PLACE);
    let document = Document::read(&folder.0.join(PLACE)).unwrap();
    assert_eq!(document, Imported::read(MADE_UP, false).unwrap().document);
    assert_eq!(document.to_json().unwrap(), json);
    assert_eq!((document.gpu.as_str(), document.driver.as_deref()), ("Made-up GPU X1", Some("500.12.03")));
    // The clocks of the run of bench, not of the check before it.
    assert_eq!(document.clocks.as_ref().map(|clocks| clocks.sm), Some(1500));
    // Every record is there, in a line of its own, with its sizes in their order.
    let records = MADE_UP.lines().filter(|line| line.contains("\"kind\"")).count();
    assert_eq!(document.records.len(), records);
    assert_eq!(json.lines().filter(|line| line.starts_with("    {\"kind\"")).count(), records);
    assert!(json.contains(r#""sizes":{"m":8,"n":6144,"k":4096}"#), "{json}");
}

#[test]
fn nothing_is_overwritten() {
    let folder = Folder::new();
    folder.import().unwrap();
    let json = folder.read(PLACE);
    folder.write("r.jsonl", &MADE_UP.replace("12.5", "1.5"));
    assert_eq!(message(folder.import()), format!("{PLACE} exists already"));
    assert_eq!(folder.read(PLACE), json);
}

#[test]
fn the_newest_of_each_gpu_is_shown() {
    let folder = Folder::new();
    folder.import().unwrap();
    for (commit, date) in [("fffffff", "2025-12-31"), ("0000000", "2026-02-01")] {
        folder.write("r.jsonl", &MADE_UP.replace("0123abc", commit).replace("2026-01-31", date));
        folder.import().unwrap();
    }
    folder.write("r.jsonl", &MADE_UP.replace("GPU X1", "Another").replace("0123abc", "aaaaaaa"));
    folder.import().unwrap();
    update(&folder.0).unwrap();
    let readme = folder.read("README.md");
    assert_eq!(readme.matches("### ").count(), 2, "{readme}");
    assert!(
        readme.contains("2026-02-01-0000000.json") && readme.contains("2026-01-31-aaaaaaa.json"),
        "{readme}"
    );
    assert!(!readme.contains("0123abc") && !readme.contains("fffffff"), "{readme}");
}

#[test]
fn what_does_not_count_is_refused() {
    let run = MADE_UP.lines().next().unwrap();
    let cases = [
        (
            "\"simulated\":false",
            "\"simulated\":true",
            "line 1: expected results of a card, got those of a simulated GPU",
        ),
        ("0123abc", "0123abc-dirty", "line 1: commit: expected one of the repository, got \"0123abc-dirty\""),
        ("0123abc", "unknown", "line 1: commit: expected one of the repository, got \"unknown\""),
        ("0123abc", "../../etc", "line 1: commit: expected 7 to 40 hexadecimal digits, got \"../../etc\""),
        ("2026-01-31T", "2026/01/31 ", "line 1: date: expected one such as 2026-01-31T23:59:59Z"),
        ("Made-up GPU X1", "...", "line 1: the device has no name"),
        ("\"kind\":\"kernel\"", "\"kind\":\"other\"", ""),
        ("\"command\":", "\"comand\":", "line 1: missing field `command`"),
    ];
    for (old, new, expected) in cases {
        let text = MADE_UP.replace(old, new);
        if expected.is_empty() {
            // The steps alone are results of bench too.
            Imported::read(&text, false).unwrap();
            let nothing = text.replace("\"kind\":\"step\"", "\"kind\":\"other\"");
            let error = message(Imported::read(&nothing, false));
            assert_eq!(error, "expected results of bench, got none: nothing in it was timed");
            continue;
        }
        let error = message(Imported::read(&text, false));
        assert!(error.starts_with(expected), "{error}");
    }
    // Of two cards, drivers, commits, versions in one file.
    for (old, new, what) in [
        (
            "X1",
            "X2",
            "device: expected \"Made-up GPU X1\", that of the file's first run, got \"Made-up GPU X2\"",
        ),
        ("500.12.03", "501.00", "driver: expected \"500.12.03\""),
        ("0123abc", "0123abd", "commit: expected \"0123abc\""),
        ("0.0.1", "0.0.2", "version: expected \"0.0.1\""),
    ] {
        let error = message(Imported::read(&format!("{MADE_UP}{}\n", run.replace(old, new)), false));
        assert!(error.contains(what), "{error}");
    }
    let headless = MADE_UP.split_once('\n').unwrap().1;
    let error = message(Imported::read(headless, false));
    assert!(error.starts_with("line 1: a result before any run"), "{error}");
    assert!(message(Imported::read("", false)).contains("got none"));
}

#[test]
fn an_uncommitted_state_is_taken_where_asked_for() {
    for (commit, name) in [("0123abc-dirty", "0123abc-dirty"), ("unknown", "unknown")] {
        let text = MADE_UP.replace("0123abc", commit);
        let document = Imported::read(&text, true).unwrap().document;
        assert!(document.path().ends_with(format!("made-up-gpu-x1/2026-01-31-{name}.json")));
        assert!(tables::markdown("path", &document).contains(&format!("commit {name}")));
    }
    let long = MADE_UP.replace("0123abc", "0123abc456def");
    assert!(Imported::read(&long, false).unwrap().document.path().ends_with("2026-01-31-0123abc.json"));
    let other = MADE_UP.replace("0123abc", "0123abc; rm");
    assert!(message(Imported::read(&other, true)).contains("hexadecimal"));
}

#[test]
fn answers_to_probes_become_a_golden_file() {
    let folder = Folder::new();
    folder.import().unwrap();
    let golden = folder.read("ptx-sim/tests/golden/made-up-gpu-x1-500.12.jsonl");
    let answered: String =
        MADE_UP.lines().filter(|line| line.contains("\"output\"")).map(|line| format!("{line}\n")).collect();
    // One has an answer, one has failed.
    assert_eq!(golden, answered);
    assert_eq!((golden.lines().count(), MADE_UP.matches("\"probe\"").count()), (1, 2));
    let name = |gpu: &str| {
        let text = MADE_UP.replace("Made-up GPU X1", gpu).replace("500.12.03", "580.65.06");
        format!("{:?}", Imported::read(&text, false).unwrap().probes)
    };
    assert!(name("NVIDIA H200").contains("\"ptx-sim/tests/golden/h200-580.65.jsonl\""));
    let foreign = MADE_UP.replace("\"device\":\"Made-up GPU X1\",\"out", "\"device\":\"Other\",\"out");
    assert_ne!(foreign, MADE_UP);
    let error = message(Imported::read(&foreign, false));
    assert_eq!(error, "probe add.f32: expected device \"Made-up GPU X1\", got \"Other\"");
}

#[test]
fn files_cannot_write_markdown() {
    let hostile = "<!-- /results --> | `x` |";
    let text =
        MADE_UP.replace("8B qkv", hostile).replace("torch 1.0", hostile).replace("llama-made-up", hostile);
    let document = Imported::read(&text, false).unwrap().document;
    let tables = tables::markdown("path", &document);
    assert!(!tables.contains("<!--") && tables.contains("&lt;!-- /results --> \\| 'x' \\|"), "{tables}");
    // No row has more cells than the heading of its table.
    let cells = |line: &str| line.replace("\\|", "").matches('|').count();
    let lines: Vec<&str> = tables.lines().filter(|line| line.starts_with('|')).collect();
    let mut width = 0;
    for (i, line) in lines.iter().enumerate() {
        let is_heading = lines.get(i + 1).is_some_and(|rule| rule.starts_with("| ---"));
        width = if is_heading { cells(line) } else { width };
        assert_eq!(cells(line), width, "{line}");
    }
    assert!(lines.len() > 15, "{tables}");
}

#[test]
fn numbers_that_are_none_are_left_out() {
    let text = MADE_UP.replace("\"percent_of_roofline\":80.0", "\"percent_of_roofline\":0.0");
    let tables = tables::markdown("path", &Imported::read(&text, false).unwrap().document);
    assert!(!tables.contains("NaN") && !tables.contains("inf") && !tables.contains("| 0.0%"), "{tables}");
}

#[test]
fn usage_and_markers_are_said() {
    let error = message(run(&["--chek".into()]));
    assert_eq!(error, "expected nothing, --check, or import FILE [--allow-dirty], got [\"--chek\"]");
    let error = message(with_tables("no markers", &[]));
    assert_eq!(error, "README.md: expected lines \"<!-- results -->\" and \"<!-- /results -->\"");
}
