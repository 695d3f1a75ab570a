//! The page as a whole, of made-up results.

use std::collections::BTreeSet;

use super::super::record::{
    Ceilings, Check, Clocks, Counters, Device, Kernel, Peer, Peers, Record, Row, Run, Sizes, Step, grouped_by,
};
use super::{page, runs};

const OPS: [&str; 4] = ["rms_norm", "matmul", "attention_prefill", "attention_decode"];

fn html(records: &[Record]) -> String {
    page::html(&runs::of_files(&[records.to_vec()]))
}

fn run(command: &str, simulated: bool) -> Record {
    let name = if simulated { "simulated GPU 9.0" } else { "Made-up GPU" };
    Record::Run(Run {
        command: command.into(),
        version: "0.0.0".into(),
        commit: "0123abc".into(),
        date: "2026-01-31T23:59:59Z".into(),
        device: Device {
            name: name.into(),
            simulated,
            compute_capability: "9.0".into(),
            num_sms: 100,
            memory_bytes: Some(100_000_000_000),
            l2_bytes: Some(50_000_000),
            memory_bytes_per_second: Some(4e12),
            driver: Some("500.1".into()),
            driver_cuda: Some("13.0".into()),
            kernels_cuda: Some("13.1".into()),
            clocks: Some(Clocks { sm: 1500, max_sm: 2000, power_limit_watts: 600.0, ..Clocks::default() }),
        },
    })
}

fn ceilings() -> Record {
    Record::Ceilings(Ceilings {
        dtype: "bf16".into(),
        copy_gigabytes_per_second: 3456.0,
        read_gigabytes_per_second: 3567.0,
        tensor_teraflops_per_second: 777.0,
        tensor_kernel: "made_up".into(),
        launch_microseconds: 1.25,
    })
}

fn row(i: usize) -> Row {
    let sizes = [("m", 1 + i as u64), ("n", 4096), ("k", 14336)];
    Row {
        op: OPS[i % OPS.len()].into(),
        label: "8B gate_up".into(),
        dtype: "bf16".into(),
        sizes: Sizes(sizes.map(|(name, size)| (name.to_string(), size)).into()),
        flops: 2_000_000 * (1 + i as u64),
        bytes: 1_000_000,
        bytes_written: 1000,
        plan: vec![
            format!("matmul: matmul_bf16 grid 96x{i}x1 of 128 threads, {}", "a reason ".repeat(15));
            2
        ],
    }
}

fn kernel(i: usize) -> Kernel {
    let microseconds = 12.5 + i as f64;
    Kernel {
        row: row(i),
        microseconds,
        low_microseconds: microseconds * 0.9,
        high_microseconds: microseconds * 1.1,
        calls: 16,
        replays: 50,
        teraflops_per_second: 2.0 + i as f64,
        gigabytes_per_second: 1e3 / microseconds,
        roofline_microseconds: microseconds * 0.8,
        bound: "memory".into(),
        percent_of_roofline: 80.0,
    }
}

fn step(phase: &str) -> Record {
    Record::Step(Step {
        phase: phase.into(),
        model: "llama-made-up".into(),
        dtype: "bf16".into(),
        weights: "native".into(),
        kv_cache: "native".into(),
        batch: 8,
        context: 2048,
        microseconds: 4321.0,
        low_microseconds: 4300.0,
        high_microseconds: 4400.0,
        steps: 100,
        tokens_per_second: 1851.4,
        flops: 1,
        bytes: 1,
        floor_microseconds: 3456.8,
        percent_of_floor: 79.99,
    })
}

fn counters() -> Record {
    Record::Counters(Counters {
        row: row(1),
        launches: 2,
        touched_bytes: 1_000_001,
        issued_bytes: 1_500_000,
        tensor_flops: 4_000_000,
        instructions: 2000,
        instructions_by_class: Sizes(vec![("tensor".into(), 500)]),
        shared_wavefronts: 600,
        bank_conflicts: 7,
        barriers: 8,
        bound: "memory".into(),
        bound_microseconds: 0.25,
        bound_device: "NVIDIA H200 by its datasheet".into(),
    })
}

fn check(op: &str, failures: &[&str]) -> Record {
    Record::Check(Check {
        op: op.into(),
        cases: 20,
        passed: 19 - failures.len(),
        skipped: 1,
        failed: failures.len(),
        worst_share: Some(0.625),
        worst_case: Some("bf16 113x203".into()),
        worst_place: Some("row 17".into()),
        failures: failures.iter().map(ToString::to_string).collect(),
        seconds: 2.5,
    })
}

fn peers(speedup: Option<f64>) -> Record {
    let failed = Peer { name: "other 2".into(), microseconds: None, note: "no such kernel".into() };
    let fast = Peer { name: "other 1".into(), microseconds: Some(25.0), note: String::new() };
    Record::Peers(Peers {
        row: row(1),
        ours_microseconds: 20.0,
        difference: Some(0.001),
        peers: vec![fast, failed],
        speedup,
    })
}

/// One of each kind, on a card and on the simulated GPU.
fn one_of_each() -> Vec<Record> {
    vec![
        run("bench", false),
        ceilings(),
        Record::Kernel(kernel(0)),
        Record::Kernel(kernel(1)),
        step("decode"),
        step("prefill"),
        peers(Some(1.25)),
        check("matmul", &["bf16 1x1: expected 1, got 2"]),
        run("bench --list", true),
        counters(),
        Record::Row(row(2)),
    ]
}

/// The tags of a page, each with its attributes; panics where they are not balanced or something is not well formed.
fn tags(page: &str) -> Vec<(String, Vec<(String, String)>)> {
    let body = page.strip_prefix("<!DOCTYPE html>\n").expect("a document type");
    let (mut open, mut tags) = (Vec::new(), Vec::new());
    let mut pieces = body.split('<');
    assert_eq!(pieces.next(), Some(""), "text before the first tag");
    for piece in pieces {
        let (tag, text) = piece.split_once('>').unwrap_or_else(|| panic!("no end: <{piece}"));
        assert!(!text.contains('>'), "a bare > in {text:?}");
        for reference in text.split('&').skip(1) {
            let known = ["amp;", "lt;", "gt;", "quot;"].iter().any(|name| reference.starts_with(name));
            assert!(known || open.last().is_some_and(|name| name == "style"), "a bare & in {text:?}");
        }
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "</{name}>");
            continue;
        }
        let (tag, closed) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
        let (name, mut rest) = tag.split_once(' ').unwrap_or((tag, ""));
        assert!(name.chars().all(|char| char.is_ascii_alphanumeric()), "<{tag}>");
        let mut attributes = Vec::new();
        while !rest.is_empty() {
            let (attribute, value) = rest.split_once("=\"").unwrap_or_else(|| panic!("<{tag}>"));
            let (value, next) = value.split_once('"').unwrap_or_else(|| panic!("<{tag}>"));
            attributes.push((attribute.to_string(), value.to_string()));
            rest = next.strip_prefix(' ').unwrap_or(next);
        }
        tags.push((name.to_string(), attributes));
        if !closed {
            open.push(name.to_string());
        }
    }
    assert!(open.is_empty(), "not closed: {open:?}");
    tags
}

/// Balanced, with ids that differ, references that lead somewhere, nothing from elsewhere, and no number that is none.
fn assert_stands_alone(page: &str) {
    let tags = tags(page);
    let attributes = |name: &'static str| {
        let all = tags.iter().flat_map(|(_, attributes)| attributes);
        all.filter(move |(attribute, _)| attribute == name).map(|(_, value)| value.as_str())
    };
    let ids: Vec<&str> = attributes("id").collect();
    let known: BTreeSet<&str> = ids.iter().copied().collect();
    assert_eq!(ids.len(), known.len(), "ids twice: {ids:?}");
    for link in attributes("href") {
        assert!(link.strip_prefix('#').is_some_and(|id| known.contains(id)), "{link}");
    }
    for label in attributes("aria-labelledby").flat_map(str::split_whitespace) {
        assert!(known.contains(label), "{label}");
    }
    for foreign in ["script", "link", "img", "iframe", "use", "image"] {
        assert!(tags.iter().all(|(name, _)| name != foreign), "<{foreign}>");
    }
    for (_, attributes) in &tags {
        for (name, value) in attributes {
            assert!(!name.starts_with("on"), "{name}={value}");
            if ["x", "y", "x1", "y1", "x2", "y2", "width", "height"].contains(&name.as_str()) {
                assert!(value.parse::<f64>().is_ok_and(f64::is_finite), "{name}={value}");
            } else if name == "d" {
                assert!(!value.contains("NaN") && !value.contains("inf"), "{value}");
            }
        }
    }
    assert!(!page.contains("url(") && !page.contains("@import"), "something is fetched");
    assert_rows_fill_their_tables(&tags);
}

/// Every row of a table has a cell in each of its columns.
fn assert_rows_fill_their_tables(tags: &[(String, Vec<(String, String)>)]) {
    let mut tables: Vec<Vec<usize>> = Vec::new();
    for (name, attributes) in tags {
        match (name.as_str(), tables.last_mut()) {
            ("table", _) => tables.push(Vec::new()),
            ("tr", Some(rows)) => rows.push(0),
            ("td" | "th", Some(rows)) => {
                let span = attributes.iter().find(|(name, _)| name == "colspan");
                let span: usize = span.map_or(1, |(_, value)| value.parse().unwrap());
                *rows.last_mut().unwrap() += span;
            }
            _ => {}
        }
    }
    for rows in tables {
        assert!(
            rows.len() > 1 && rows.iter().all(|cells| *cells == rows[0]),
            "cells of a table's rows: {rows:?}"
        );
    }
}

#[test]
fn every_kind_of_record_appears() {
    let page = html(&one_of_each());
    assert_stands_alone(&page);
    let expected = [
        // Where it ran.
        "Made-up GPU, compute capability 9.0, 100 SMs, 100.0 GB, L2 of 50.0 MB, memory of 4,000 GB/s by its clock",
        "500.1, CUDA 13.0",
        "compiled by CUDA 13.1",
        "SM 1,500 of 2,000 MHz",
        "0123abc",
        "2026-01-31T23:59:59Z",
        // Ceilings, in tiles and in the chart.
        "read 3,567, copy 3,456 GB/s (dashed)",
        "tensor cores 777.0 TFLOP/s",
        "89.2% of 4,000 GB/s by the memory's clock",
        "1.25 <span class=\"dim\">µs",
        // Operations: a point, a bar, the means, all figures.
        "rms_norm 8B gate_up m=1 n=4096 k=14336: 12.5 µs, 2.00 TFLOP/s, 80.0 GB/s, 80.0% of the roofline",
        "1 row, geometric mean 80.0%",
        "all operations <span class=\"dim\">2 rows",
        "All figures of 2 rows",
        "50 x 16",
        "matmul_bf16 grid 96x0x1 of 128 threads",
        // Steps.
        ">Decode</h3>",
        "llama-made-up native: 4.32 ms to first token at batch 8, 2,048 tokens a prompt",
        "1,851",
        "4.30–4.40",
        // Peers.
        "1.25x faster",
        "other 2 <b>failed</b> <span class=\"dim\">no such kernel",
        "1.0e-3",
        "<td class=\"n\">20.0</td>",
        "other 1 <b>25.0</b>",
        // Checks.
        "0 of 1 operation passed, 1 case failed",
        "18 of 20",
        "62.5%",
        "bf16 113x203, row 17",
        "bf16 1x1: expected 1, got 2",
        // Counters and rows.
        "SIMULATED GPU: counted, not timed.",
        "1,000,001",
        "tensor 500 (25.0%)",
        "<td>0.250 µs, memory</td>",
        "predicted from the bytes and the arithmetic, for NVIDIA H200 by its datasheet.",
        "Planned rows",
        // Method.
        "docs/benchmarks.md",
    ];
    for text in expected {
        assert!(page.contains(text), "{text:?} is not on the page");
    }
}

#[test]
fn parts_without_records_are_left_out() {
    let page = html(&[run("check", false), check("embed", &[])]);
    assert_stands_alone(&page);
    for absent in [
        "Roofline",
        "Ceilings",
        "Operations",
        "Decode",
        "Beside",
        "Counted",
        "Planned",
        "How this",
        "SIMULATED",
    ] {
        assert!(!page.contains(absent), "{absent}");
    }
    assert!(page.contains("1 of 1 operation passed<") && page.contains("✓ passed"));
    // A case that failed without saying why has failed.
    let Record::Check(silent) = check("embed", &[]) else { unreachable!() };
    let page = html(&[run("check", false), Record::Check(Check { failed: 1, ..silent })]);
    assert!(page.contains("✗ failed") && page.contains("0 of 1 operation passed, 1 case failed"));
}

#[test]
fn the_simulated_gpu_is_never_shown_with_times() {
    let page = html(&[run("bench", true), ceilings(), Record::Kernel(kernel(0)), step("decode"), counters()]);
    assert_stands_alone(&page);
    assert!(page.contains("3 results left out") && page.contains("SIMULATED GPU"));
    assert!(!page.contains(">12.5<") && !page.contains("Roofline") && !page.contains(">4.32<"));
}

#[test]
fn names_of_files_stay_text() {
    let hostile = "</title></style><script>alert(1)</script><img src=x onerror=\"alert(2)\"> & '\u{0}";
    let mut records = one_of_each();
    for record in &mut records {
        let name = hostile.to_string();
        let hostile_row = Row {
            op: name.clone(),
            label: name.clone(),
            dtype: name.clone(),
            sizes: Sizes(vec![(name.clone(), 3)]),
            plan: vec![name.clone()],
            ..row(0)
        };
        match record {
            Record::Run(run) => {
                let device = Device {
                    name: name.clone(),
                    compute_capability: name.clone(),
                    driver: Some(name.clone()),
                    driver_cuda: Some(name.clone()),
                    kernels_cuda: Some(name.clone()),
                    ..run.device.clone()
                };
                *run = Run {
                    command: name.clone(),
                    version: name.clone(),
                    commit: name.clone(),
                    date: name,
                    device,
                };
            }
            Record::Ceilings(ceilings) => (ceilings.dtype, ceilings.tensor_kernel) = (name.clone(), name),
            Record::Row(row) => *row = hostile_row,
            Record::Kernel(kernel) => (kernel.row, kernel.bound) = (hostile_row, name),
            Record::Step(step) => {
                (step.phase, step.model) = (name.clone(), name.clone());
                (step.dtype, step.weights) = (name.clone(), name.clone());
                step.kv_cache = name;
            }
            Record::Counters(counters) => {
                counters.row = hostile_row;
                counters.instructions_by_class = Sizes(vec![(name.clone(), 1)]);
                (counters.bound, counters.bound_device) = (name.clone(), name);
            }
            Record::Check(check) => {
                (check.worst_case, check.worst_place) = (Some(name.clone()), Some(name.clone()));
                (check.op, check.failures) = (name.clone(), vec![name]);
            }
            Record::Peers(peers) => {
                peers.row = hostile_row;
                peers.peers[0] = Peer { name: name.clone(), microseconds: None, note: name };
            }
        }
    }
    let page = html(&records);
    assert_stands_alone(&page);
    assert!(!page.contains('\0') && page.contains("&lt;img src=x onerror=&quot;alert(2)&quot;&gt; &amp; '"));
}

#[test]
fn hostile_numbers_break_nothing() {
    for number in
        [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -1.0, 1e300, 1e-300, f64::MAX, f64::MIN_POSITIVE]
    {
        for whole in [0, u64::MAX] {
            let row = Row { flops: whole, bytes: whole, bytes_written: whole, ..row(0) };
            let hostile = Kernel {
                row: row.clone(),
                microseconds: number,
                low_microseconds: number,
                high_microseconds: number,
                calls: whole as usize,
                replays: whole as usize,
                teraflops_per_second: number,
                gigabytes_per_second: number,
                roofline_microseconds: number,
                bound: String::new(),
                percent_of_roofline: number,
            };
            let mut records = one_of_each();
            for record in &mut records {
                match record {
                    Record::Run(run) => {
                        run.device.memory_bytes_per_second = Some(number);
                        run.device.memory_bytes = Some(whole);
                    }
                    Record::Ceilings(ceilings) => {
                        ceilings.copy_gigabytes_per_second = number;
                        ceilings.read_gigabytes_per_second = number;
                        ceilings.tensor_teraflops_per_second = number;
                        ceilings.launch_microseconds = number;
                    }
                    Record::Row(planned) => *planned = row.clone(),
                    Record::Kernel(kernel) => *kernel = hostile.clone(),
                    Record::Step(step) => {
                        (step.microseconds, step.low_microseconds, step.high_microseconds) =
                            (number, number, number);
                        (step.tokens_per_second, step.floor_microseconds) = (number, number);
                        (step.percent_of_floor, step.batch) = (number, whole as usize);
                    }
                    Record::Counters(counters) => {
                        (counters.row, counters.issued_bytes) = (row.clone(), whole);
                        (counters.instructions, counters.bound_microseconds) = (whole, number);
                    }
                    Record::Check(check) => {
                        (check.worst_share, check.seconds) = (Some(number), number);
                        (check.failed, check.cases) = (whole as usize, whole as usize);
                    }
                    Record::Peers(peers) => {
                        (peers.ours_microseconds, peers.speedup, peers.difference) =
                            (number, Some(number), Some(number));
                        peers.peers[0].microseconds = Some(number);
                    }
                }
            }
            let hostile_alone = html(&records);
            assert_stands_alone(&hostile_alone);
            // Among good rows the good ones are shown as ever.
            records.extend((0..5).map(kernel).map(Record::Kernel).chain([ceilings()]));
            assert_stands_alone(&html(&records));
            let mixed =
                html(&[run("bench", false), ceilings(), Record::Kernel(hostile), Record::Kernel(kernel(1))]);
            assert_stands_alone(&mixed);
            assert!(
                mixed.contains("class=\"read\"")
                    && mixed.contains("matmul 8B gate_up m=2 n=4096 k=14336: 13.5 µs")
            );
            if !(number.is_finite() && number > 0.0) {
                assert!(mixed.contains("1 row without a usable time or roofline"), "{number}");
                assert!(hostile_alone.contains("1 step without a usable time left out"), "{number}");
                assert!(hostile_alone.contains("not compared"), "{number}");
            }
        }
    }
}

#[test]
fn three_hundred_rows_are_less_than_a_megabyte() {
    let kernels = (0..300).map(kernel).map(Record::Kernel);
    let records: Vec<Record> = [run("bench", false), ceilings()].into_iter().chain(kernels).collect();
    let page = html(&records);
    assert_stands_alone(&page);
    assert!(page.len() < 1_000_000, "{} bytes", page.len());
    assert_eq!(page, html(&records));
}

#[test]
fn files_and_runs_are_kept_apart() {
    let files = [vec![run("bench", false), Record::Kernel(kernel(0))], vec![Record::Kernel(kernel(1))]];
    let page = page::html(&runs::of_files(&files));
    assert_stands_alone(&page);
    assert!(page.contains("Unknown origin.") && page.contains("id=\"run-2-kernels\""));
    let dirty = Record::Run(Run { commit: "0123abc-dirty".into(), ..Run::default() });
    assert!(html(&[dirty]).contains("Uncommitted changes"));
}

#[test]
fn groups_keep_the_order_of_their_first() {
    let (a, b, c) = ("matmul 1", "embed 1", "matmul 2");
    let first = |text: &&'static str| text.split(' ').next();
    let groups = grouped_by(&[&a, &b, &c], first);
    assert_eq!(groups, [(Some("matmul"), vec![&a, &c]), (Some("embed"), vec![&b])]);
}
