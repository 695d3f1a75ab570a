//! What the program does with the kernels alone: check, bench, probe.

use super::{fails, program, run, stderr, stdout};
use crate::common::TempDir;

#[test]
#[cfg_attr(
    not(all(kernels_built, feature = "sim")),
    ignore = "there is no simulated GPU, or no kernels for it"
)]
fn check_says_of_every_operation_what_came_of_it() {
    let folder = TempDir::new();
    let [launches, json] = ["launches.txt", "check.jsonl"].map(|name| folder.path().join(name));
    let arguments = ["check", "embed", "rms_norm", "--device", "sim:8.6", "--quick", "--json"];
    let output = program(&arguments).arg(&json).env("LLAMA_KERNELS_LAUNCHES", &launches).output().unwrap();
    let text = stdout(&output);
    assert!(output.status.success(), "{text}{}", stderr(&output));
    let lines: Vec<&str> = text.lines().collect();
    // What lies beyond 2^31 elements, in bf16 and in f16.
    let [embed, norm, summary] = lines[..] else { panic!("{text}") };
    assert!(embed.starts_with("ok       embed ") && embed.ends_with(" exact"), "{text}");
    assert!(embed.contains(" cases, 2 skipped "), "{text}");
    assert!(norm.starts_with("ok       rms_norm ") && norm.contains(" cases, 2 skipped "), "{text}");
    assert!(
        norm.contains(" worst ") && norm.contains("% of the bound: ") && norm.contains(": out ["),
        "{text}"
    );

    let written = std::fs::read_to_string(&json).unwrap();
    let records: Vec<serde_json::Value> =
        written.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds: Vec<_> = records.iter().map(|record| record["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["run", "check", "check"]);
    assert_eq!(records[0]["device"]["name"], "simulated GPU 8.6");
    let [cases, passed] = ["cases", "passed"]
        .map(|key| records[1..].iter().map(|record| record[key].as_u64().unwrap()).sum::<u64>());
    assert_eq!(cases, passed + 4);
    let share = records[2]["worst_share"].as_f64().unwrap();
    assert!(share > 0.0 && share <= 1.0 && records[1]["worst_share"].is_null(), "{written}");

    let expected = format!("{cases} cases on simulated GPU 8.6: {passed} passed, 4 skipped, 0 failed; ");
    let (number, _) = summary.strip_prefix(&expected).unwrap().split_once(" kernel launches in ").unwrap();
    assert!(number.parse::<u64>().unwrap() > 0);
    // What `cargo xtask test` counts.
    assert_eq!(std::fs::read_to_string(&launches).unwrap(), format!("{number}\tsimulated GPU 8.6\n"));

    let cases = run(&["check", "gather_rows", "--device", "sim", "--quick", "--cases"]);
    let cases = stdout(&cases);
    let (cases, _) = cases.trim_end().rsplit_once('\n').unwrap();
    assert!(cases.lines().count() > 30, "{cases}");
    assert!(cases.lines().all(|line| line.contains(" gather_rows ")), "{cases}");
    fails(
        &["check", "--device", "sim", "attention"],
        &["OP: expected embed, rms_norm, add_rms_norm, quantize_fp8, rms_norm_fp8, ", ", got attention"],
    );
    fails(&["check", "--device", "sim", "--full"], &["--full: the models' full sizes need a GPU"]);
    fails(
        &["check", "--device", "cpu"],
        &["--device cpu", "kernels run on a CUDA GPU or on the simulated one"],
    );
}

/// What `llama-kernels bench` prints.
fn bench(arguments: &[&str]) -> String {
    let output = run(&[&["bench"], arguments].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    stdout(&output)
}

/// A file in a folder of its own.
fn written(folder: &TempDir, name: &str, text: &str) -> String {
    let file = folder.path().join(name);
    std::fs::write(&file, text).unwrap();
    file.to_str().unwrap().to_string()
}

fn json_lines(file: &str) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(file).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn bench_without_a_gpu_says_what_goes_without_one() {
    let parts = ["there is no GPU to measure on (device cuda", "--list shows what would be measured"];
    fails(&["bench"], &parts);
    fails(&["bench", "--device", "cuda:7", "decode"], &parts);
    #[cfg(feature = "sim")]
    fails(&["bench"], &["--device sim counts what the kernels do"]);
    fails(
        &["bench", "--device", "cpu"],
        &["--device cpu", "kernels run on a CUDA GPU or on the simulated one"],
    );
}

#[test]
fn what_bench_cannot_measure_is_named() {
    let list = ["bench", "--list"];
    let fails = |arguments: &[&str], parts: &[&str]| fails(&[&list, arguments].concat(), parts);
    fails(&["attention"], &["OP: expected embed, rms_norm,", ", decode, prefill, got attention"]);
    fails(&["--model", "llama-3.1-8b,llama-4"], &["--model: expected llama-1-7b, ", "got llama-4"]);
    fails(&["decode"], &["--list: of single operations"]);
    fails(&["--report", "x.html"], &["--report: nothing is measured with --list"]);
    fails(&["--shapes", "no/such/file"], &["--shapes no/such/file"]);
    let folder = TempDir::new();
    for (line, part) in [
        (r#"{"op": "rms_norm", "sizes": {"tokens": 1}}"#, "rms_norm: hidden: expected a size, got none"),
        (r#"{"op": "rms_norm", "sizes": {"tokens": -1, "hidden": 8}}"#, "integer `-1`"),
        (
            r#"{"op": "rms_norm", "sizes": {"tokens": 18446744073709551615, "hidden": 8}}"#,
            "at most 1073741824",
        ),
        (r#"{"op": "time", "sizes": {}}"#, "op: expected embed, "),
        ("{", "EOF"),
    ] {
        let text = format!("{}\n{line}\n", r#"{"kind": "run"}"#);
        let file = written(&folder, "shapes.jsonl", &text);
        fails(&["--shapes", &file], &["--shapes: ", "shapes.jsonl:2: ", part]);
    }
    let file = written(&folder, "shapes.jsonl", r#"{"op": "rms_norm", "sizes": {"tokens": 1, "hidden": 8}}"#);
    fails(&["--shapes", &file, "embed"], &["shapes.jsonl: expected lines of embed in bf16, found none"]);
}

#[test]
fn what_would_be_measured_is_listed_without_a_gpu() {
    let list = |arguments: &[&str]| bench(&[&["--list"], arguments].concat());
    let all = list(&[]);
    let mut lines = all.lines();
    assert_eq!(
        lines.next(),
        Some("bf16, planned for 132 multiprocessors and 227 KB of shared memory a block")
    );
    assert!(lines.all(|line| line.contains(" grid ") && line.contains("=") && line.ends_with(')')), "{all}");
    let norms = list(&["rms_norm", "--dtype", "f16"]);
    assert!(norms.starts_with("f16, ") && norms.lines().count() == 19, "{norms}");
    assert!(norms.lines().skip(1).all(|line| line.starts_with("rms_norm ")), "{norms}");
    assert!(norms.contains("rms_norm: rms_norm_f16 grid 8192x1x1 of 256 threads"), "{norms}");
    let model = list(&["--model", "llama-3.2-3b", "matmul"]);
    assert!(
        model.contains("llama-3.2-3b gate_up ") && model.contains(" m=1 n=16384 k=3072 swiglu=1 "),
        "{model}"
    );
    #[cfg(feature = "sim")]
    assert!(list(&["--device", "sim:8.6"]).contains(" multiprocessors and 99 KB"));
}

/// What `--json` writes of a list, `--shapes` reads: the same rows in the same order.
#[test]
fn a_list_is_a_file_of_shapes() {
    let folder = TempDir::new();
    let [first, second] =
        ["first", "second"].map(|name| folder.path().join(name).to_str().unwrap().to_string());
    let listed = bench(&["--list", "--json", &first]);
    assert_eq!(bench(&["--list", "--shapes", &first, "--json", &second]), listed);
    let rows = json_lines(&first);
    assert!(rows.len() > 100 && rows.iter().all(|row| row["kind"] == "row" && row["dtype"] == "bf16"));
    assert_eq!(json_lines(&second), rows);
    let products: Vec<_> = rows.iter().filter(|row| row["label"] == "8B gate_up").collect();
    assert_eq!(products[0]["sizes"], serde_json::json!({"m": 1, "n": 28672, "k": 4096, "swiglu": 1}));
    assert_eq!(products[0]["flops"], 2_u64 * 28672 * 4096);
    assert!(products[0]["plan"][0].as_str().unwrap().starts_with("matmul: matmul_stream_bf16_m8 grid "));

    // Lines of another type are left out, and that is said.
    bench(&["--list", "embed", "--dtype", "f16", "--json", &first]);
    let output = run(&["bench", "--list", "--dtype", "f16", "--shapes", &first]);
    assert!(stdout(&output).lines().skip(1).all(|line| line.starts_with("embed ")), "{}", stdout(&output));
    let expected = format!("note: --shapes: {} lines are not in f16 (--dtype) and were left out", rows.len());
    assert_eq!(stderr(&output).trim_end(), expected);
}

#[cfg(feature = "sim")]
#[test]
#[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
fn the_simulated_gpu_counts_what_kernels_do() {
    let folder = TempDir::new();
    let shapes = r#"
        {"op": "sample", "sizes": {"rows": 1, "vocab": 4096, "temperature": 1, "filters": 1}}
        {"op": "rms_norm", "label": "mine", "sizes": {"tokens": 3, "hidden": 4096}}
        {"op": "matmul", "sizes": {"m": 3, "n": 64, "k": 128, "bias": 1}}
        {"op": "attention_decode", "sizes": {"batch": 1, "q_len": 1, "kv_len": 1024, "num_q_heads": 8, "num_kv_heads": 2, "head_dim": 64}}
        {"op": "attention_prefill", "sizes": {"batch": 2, "q_len": 65, "kv_len": 70, "num_q_heads": 2, "num_kv_heads": 2, "head_dim": 128}}
        {"op": "rope_append_kv", "sizes": {"tokens": 3, "num_q_heads": 4, "num_kv_heads": 2, "head_dim": 64, "num_positions": 9}}
        {"op": "matmul", "label": "odd", "sizes": {"m": 3, "n": 33, "k": 64}}
        {"op": "matmul", "label": "odd", "sizes": {"m": 3, "n": 35, "k": 64, "f32_out": 1}}
        {"op": "sample", "label": "odd", "sizes": {"rows": 3, "vocab": 113}}
        {"op": "embed", "sizes": {"tokens": 3, "hidden": 64, "vocab": 1073741824}}
    "#;
    let file = written(&folder, "shapes.jsonl", shapes);
    let json = folder.path().join("counters.jsonl").to_str().unwrap().to_string();
    let report = folder.path().join("report.html").to_str().unwrap().to_string();
    let text = bench(&["--device", "sim:8.6", "--shapes", &file, "--json", &json, "--report", &report]);
    for part in [
        "simulated GPU 8.6: what one call in bf16 does, counted; nothing here is a time",
        "predicted of the operation, for an H200 by its datasheet",
        "rms_norm          mine  tokens=3 hidden=4096 ",
        // 128 GB of table.
        " NO ROOM for ",
        "1 rows had no room",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(std::path::Path::new(&report).metadata().unwrap().len() > 0);

    let records = json_lines(&json);
    assert_eq!((&records[0]["kind"], &records[0]["command"]), (&"run".into(), &"bench".into()));
    assert_eq!(records[0]["device"]["simulated"], true);
    let counters = |op: &str| records.iter().find(|record| record["op"] == op).unwrap();
    assert_eq!(records.len(), 10);
    assert!(records[1..].iter().all(|record| record["kind"] == "counters"));
    // x and out, and the weight.
    let norm = counters("rms_norm");
    assert_eq!((&norm["touched_bytes"], &norm["bytes"]), (&(7 * 8192).into(), &(7 * 8192).into()));
    assert_eq!(
        (&norm["launches"], &norm["barriers"], &norm["bank_conflicts"]),
        (&1.into(), &12.into(), &0.into())
    );
    assert_eq!(
        (&norm["bound"], &norm["bound_device"]),
        (&"memory".into(), &"an H200 by its datasheet".into())
    );
    let bound = norm["bound_microseconds"].as_f64().unwrap();
    assert!((bound - 7.0 * 8192.0 / 4.8e6).abs() < 1e-9, "{bound}");
    // Three tokens are padded to eight.
    assert_eq!(counters("matmul")["tensor_flops"], 2 * 8 * 64 * 128);
    assert_eq!(counters("attention_decode")["launches"], 2, "the second one combines");
    for record in &records[1..] {
        let classes = record["instructions_by_class"].as_object().unwrap();
        let sum: u64 = classes.values().map(|number| number.as_u64().unwrap()).sum();
        assert_eq!(sum, record["instructions"].as_u64().unwrap(), "{record}");
        assert!(record["issued_bytes"].as_u64() >= record["touched_bytes"].as_u64(), "{record}");
    }
    // What was counted can be counted again.
    assert!(bench(&["--list", "--shapes", &json]).contains("rms_norm          mine"));
}

#[cfg(feature = "sim")]
#[test]
#[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
fn what_takes_the_simulated_gpu_long_is_counted_when_it_is_named() {
    let text = bench(&["--device", "sim", "--model", "llama-3.2-1b", "attention_combine", "gather_rows"]);
    let (_, last) = text.trim_end().rsplit_once('\n').unwrap();
    assert!(text.contains("\ngather_rows ") && text.contains("\nattention_combine "), "{text}");
    assert!(!last.contains("left out"), "{last}");
    let text = bench(&["--device", "sim", "--model", "llama-2-70b", "silu_and_mul"]);
    let (_, last) = text.trim_end().rsplit_once('\n').unwrap();
    assert!(last.contains(" rows of more than ") && last.contains("left out (silu_and_mul "), "{last}");
    assert!(last.contains("rows in a file of --shapes are counted whatever they take"), "{last}");
}

/// Runs all probes on a simulated GPU and gives the file's text.
#[cfg(feature = "sim")]
fn probe(device: &str) -> String {
    let folder = TempDir::new();
    let file = folder.path().join("probe.jsonl");
    let output = run(&["probe", "--device", device, "--out", file.to_str().unwrap()]);
    assert!(output.status.success(), "{device}: {}", stderr(&output));
    std::fs::read_to_string(&file).unwrap()
}

#[cfg(feature = "sim")]
#[test]
fn probe_writes_an_object_for_each_probe() {
    let mut count = 0;
    for device in ["sim:8.0", "sim:8.6", "sim:8.9", "sim:9.0"] {
        let text = probe(device);
        assert!(text == probe(device), "{device}: a second run gave something else");
        assert!(text.len() < 16 << 20, "{device}: {} bytes", text.len());
        let probes: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(probes.len() > count, "each has the probes of the one before, and more");
        count = probes.len();
        for probe in &probes {
            assert!(probe["error"].is_null(), "{probe}");
            // Base64 of 32-bit words.
            let bytes = 4 * probe["n"].as_u64().unwrap() * probe["out_words"].as_u64().unwrap();
            assert_eq!(
                probe["output"].as_str().unwrap().len() as u64,
                bytes.div_ceil(3) * 4,
                "{}",
                probe["probe"]
            );
        }
        let sum = probes.iter().find(|probe| probe["probe"] == "add.u32").unwrap();
        assert_eq!(sum["compute_capability"], device.trim_start_matches("sim:"));
        assert_eq!((&sum["kinds"], &sum["seed"]), (&"i32 i32".into(), &1.into()));
    }
}
