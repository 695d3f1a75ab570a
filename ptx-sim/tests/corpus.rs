//! The must-fail corpus: CUDA kernels with one seeded bug each, which must be reported as what it is, where it is, and
//! under every seed; and their corrected twins, which must pass under every seed with the right output.

mod stamp;
mod table;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use ptx_sim::ViolationKind;
use serde_json::Value;

use table::{CASES, Case, Output};

/// Seeds under which a bug must be found.
const BAD_SEEDS: u64 = 20;

/// Seeds under which a corrected twin must pass.
const GOOD_SEEDS: u64 = 100;

/// A launch has some thousand instructions; one that does not end is stopped here.
const MAX_INSTRUCTIONS: u64 = 1_000_000;

fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn corpus() -> PathBuf {
    package().join("corpus")
}

fn read(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// The stems of the corpus's files with an ending.
fn names(ending: &str) -> BTreeSet<String> {
    let files = std::fs::read_dir(corpus()).unwrap().map(|file| file.unwrap().path());
    let files = files.filter(|file| file.extension().is_some_and(|extension| extension == ending));
    files.map(|file| file.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
}

#[test]
fn the_table_has_every_kernel_and_every_kernel_has_its_files() {
    let table: BTreeSet<String> = CASES.iter().map(|case| case.name.to_owned()).collect();
    assert_eq!(table.len(), CASES.len(), "a kernel is twice in the table");
    for ending in ["cu", "json", "ptx"] {
        assert_eq!(names(ending), table, "files that end in .{ending}");
    }
    for case in CASES {
        assert!(case.name.starts_with(found_as(case)), "{} is not named after {}", case.name, found_as(case));
        let source = read(&corpus().join(format!("{}.cu", case.name)));
        assert!(!marked_lines(&source).is_empty(), "{} marks no line as its bug", case.name);
        let header: String = source.lines().take_while(|line| line.starts_with("//")).collect();
        assert!(header.contains("// Bug:  ") && header.contains("// Good: "), "{}", case.name);
    }
}

#[test]
fn every_kind_of_violation_is_in_the_corpus() {
    for kind in ViolationKind::ALL {
        assert!(CASES.iter().any(|case| case.kind == Some(*kind)), "{kind}");
    }
}

#[test]
fn committed_ptx_was_compiled_from_the_committed_source() {
    // Folder that the compiler ran in, and the sources' folder from there.
    for (base, folder) in [
        (package().to_path_buf(), "corpus/"),
        (package().join("examples"), ""),
        (package().join("benches/kernels"), ""),
    ] {
        let sources = std::fs::read_dir(base.join(folder)).unwrap().map(|entry| entry.unwrap().path());
        let mut count = 0;
        for path in sources.filter(|path| path.extension().is_some_and(|ending| ending == "cu")) {
            let name = path.file_stem().unwrap().to_str().unwrap();
            let source = format!("{folder}{name}.cu");
            let ptx = read(&path.with_extension("ptx"));
            let line = ptx.lines().next().unwrap_or_default();
            let compiler = line.strip_prefix("// ").and_then(|line| line.split_once(&format!(" {source}, ")));
            let compiler = compiler.unwrap_or_else(|| panic!("{source}: its PTX begins with {line:?}")).0;
            let expected = stamp::first_line(&base, &source, compiler).unwrap();
            assert_eq!(line, expected, "run `cargo xtask corpus`");
            count += 1;
        }
        assert!(count > 0, "{}", base.display());
    }
}

#[test]
fn every_seeded_bug_is_found_as_what_it_is_under_every_seed() {
    for_each_case(|case| {
        let folder = prepare(case, "bad");
        let marked = marked_lines(&read(&corpus().join(format!("{}.cu", case.name))));
        for seed in 0..BAD_SEEDS {
            let report = run(case, &folder, &["--seed", &seed.to_string()])?;
            let violation = &report["violation"];
            let described = |what: &str| format!("seed {seed}: {what}: {violation:#}");
            if case.kind.is_none() {
                let wrong = wrong_element(case, &folder)?;
                if violation.is_null() && wrong.is_some() {
                    continue;
                }
                return Err(described("no violation and a wrong output expected"));
            }
            let expected = [case.kind, case.or].into_iter().flatten();
            if !expected.into_iter().any(|kind| violation["kind"] == kind.name()) {
                return Err(described(&format!("not reported as {}", found_as(case))));
            }
            if violation["kernel"] == "good" || violation["seed"] != seed {
                return Err(described("kernel or seed is wrong"));
            }
            let places = [&violation["location"], &violation["prior"]["location"]];
            if !places.iter().any(|place| is_marked(place, case, &marked)) {
                return Err(described(&format!("not reported at one of the lines {marked:?}")));
            }
        }
        Ok(())
    });
}

#[test]
fn every_corrected_twin_passes_under_every_seed() {
    for_each_case(|case| {
        let folder = prepare(case, "good");
        let report = run(case, &folder, &["--seeds", &GOOD_SEEDS.to_string()])?;
        if !report["violation"].is_null() || !report["difference"].is_null() {
            return Err(format!("{:#}\n{:#}", report["violation"], report["difference"]));
        }
        wrong_element(case, &folder)?.map_or(Ok(()), Err)
    });
}

/// Where a launch's output is not what the corrected kernel writes, in words.
fn wrong_element(case: &Case, folder: &Path) -> Result<Option<String>, String> {
    let output = std::fs::read(folder.join("out.bin")).map_err(|error| format!("out.bin: {error}"))?;
    let words: Vec<u32> =
        output.chunks_exact(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect();
    if words.is_empty() {
        return Err("there is no output".to_owned());
    }
    let expected = |i| match case.output {
        Output::F32(expected) => expected(i).to_bits(),
        Output::U32(expected) => expected(i),
    };
    let wrong = words.iter().enumerate().find(|(i, word)| **word != expected(*i));
    Ok(wrong.map(|(i, word)| format!("element {i} is {word:#x}, expected {:#x}", expected(i))))
}

#[test]
fn the_documentation_lists_the_corpus() {
    let mut text = String::from(
        "# What is checked, and how it breaks\n\n\
         Each line is a pair of kernels in `corpus/`: one with this bug, which is reported as this violation, and one\n\
         without it, which passes. Where two violations stand, the schedule decides which of them is found. Bugs at the\n\
         end break no rule: there the output is wrong. The table is written by the tests, from the list that they run.\n\n\
         | violation | what is wrong | kernel |\n| --- | --- | --- |\n",
    );
    for kind in ViolationKind::ALL.iter().copied().map(Some).chain([None]) {
        for case in CASES.iter().filter(|case| case.kind == kind) {
            let or = case.or.map_or_else(String::new, |or| format!(" or `{or}`"));
            writeln!(text, "| `{}`{or} | {} | `{}.cu` |", found_as(case), case.how, case.name).unwrap();
        }
    }
    let file = package().join("docs/checks.md");
    if std::env::var_os("PTX_SIM_UPDATE_DOCS").is_some() {
        std::fs::write(&file, &text).unwrap();
    }
    assert_eq!(read(&file), text, "run the test with PTX_SIM_UPDATE_DOCS=1");
}

/// How a bug shows.
fn found_as(case: &Case) -> &'static str {
    case.kind.map_or("wrong_output", ViolationKind::name)
}

/// The lines of a source, from 1, that are marked as its bug.
fn marked_lines(source: &str) -> BTreeSet<u64> {
    source.lines().zip(1..).filter(|(line, _)| line.trim_end().ends_with("// BUG")).map(|(_, n)| n).collect()
}

/// Whether a place of a report is a marked line, or was inlined there from a header.
fn is_marked(place: &Value, case: &Case, marked: &BTreeSet<u64>) -> bool {
    let file = format!("corpus/{}.cu", case.name);
    [&place["source"], &place["inlined_at"]]
        .iter()
        .any(|line| line[0] == file.as_str() && line[1].as_u64().is_some_and(|line| marked.contains(&line)))
}

/// A folder with the launch file of one of the two kernels.
fn prepare(case: &Case, kernel: &str) -> PathBuf {
    let folder =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join("corpus").join(format!("{}-{kernel}", case.name));
    // Nothing of an earlier run may be taken for this one's.
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    let mut launch: Value =
        serde_json::from_str(&read(&corpus().join(format!("{}.json", case.name)))).unwrap();
    // Of several launches, the last one is of the kernel in question.
    let launches = launch.get_mut("launches").and_then(Value::as_array_mut);
    match launches.and_then(|launches| launches.last_mut()) {
        Some(last) => last["kernel"] = kernel.into(),
        None => launch["kernel"] = kernel.into(),
    }
    std::fs::write(folder.join("launch.json"), launch.to_string()).unwrap();
    folder
}

/// Runs the program on a prepared folder, and gives its report.
fn run(case: &Case, folder: &Path, options: &[&str]) -> Result<Value, String> {
    let report = folder.join("report.json");
    let mut program = Command::new(env!("CARGO_BIN_EXE_ptx-sim"));
    program.arg("run").arg(corpus().join(format!("{}.ptx", case.name))).args(["--quiet", "--threads", "1"]);
    program.args(["--max-instructions", &MAX_INSTRUCTIONS.to_string()]).args(options);
    program.arg("--launch").arg(folder.join("launch.json")).arg("--report").arg(&report);
    let output = program.output().map_err(|error| error.to_string())?;
    // 1 is a violation.
    if !matches!(output.status.code(), Some(0 | 1)) {
        let said = [&output.stdout[..], &output.stderr].concat();
        return Err(format!("{}: {}", output.status, String::from_utf8_lossy(&said)));
    }
    let report = std::fs::read_to_string(&report).map_err(|error| format!("report.json: {error}"))?;
    serde_json::from_str(&report).map_err(|error| error.to_string())
}

/// Runs a test on all cases, several at a time, and fails with what all of them said.
fn for_each_case(test: impl Fn(&Case) -> Result<(), String> + Sync) {
    let failures = Mutex::new(Vec::new());
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(case) = CASES.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(failure) = test(case) {
                        failures.lock().unwrap().push(format!("{}: {failure}", case.name));
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    let count = failures.len();
    assert!(failures.is_empty(), "{count} of {}:\n\n{}", CASES.len(), failures.join("\n\n"));
}
