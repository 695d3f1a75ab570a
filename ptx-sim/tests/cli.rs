//! The program as a user meets it: output, errors, exit codes, files.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

/// A folder that is removed with everything in it.
pub struct TempDir(PathBuf);

impl TempDir {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("ptx-sim-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder).unwrap();
        TempDir(folder)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // A folder that stays behind in the system's temporary folder fails no test.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The program in a folder of its own, with the kernels to try it on.
struct Workplace {
    folder: TempDir,
}

/// What the program said.
struct Said {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Said {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    #[track_caller]
    fn code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}{}", self.stdout, self.stderr);
        self
    }

    /// Stdout has all the parts, in this order.
    #[track_caller]
    fn says(self, parts: &[&str]) -> Self {
        let mut rest = self.stdout.as_str();
        for part in parts {
            let (_, behind) =
                rest.split_once(part).unwrap_or_else(|| panic!("no {part:?} in {}", self.stdout));
            rest = behind;
        }
        self
    }

    /// Stderr has one error with all the parts, and stdout has nothing.
    #[track_caller]
    fn complains(self, parts: &[&str]) -> Self {
        assert!(self.stderr.starts_with("error: "), "{}", self.stderr);
        assert_eq!(self.stdout, "");
        for part in parts {
            assert!(self.stderr.contains(part), "no {part:?} in {}", self.stderr);
        }
        self
    }
}

impl Workplace {
    fn new() -> Self {
        let folder = TempDir::new();
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        for file in [
            "examples/saxpy.ptx",
            "examples/block_sum.ptx",
            "examples/block_sum.cu",
            "tests/cli/kernels.ptx",
            "tests/cli/hopper.ptx",
        ] {
            let file = root.join(file);
            std::fs::copy(&file, folder.path().join(file.file_name().unwrap())).unwrap();
        }
        Self { folder }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn exists(&self, name: &str) -> bool {
        self.file(name).exists()
    }

    fn program(&self, args: &[&str]) -> Said {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ptx-sim"));
        Said::of(command.args(args).current_dir(self.folder.path()).stdin(Stdio::null()).output().unwrap())
    }

    /// Runs a launch that is written to a file first.
    fn run(&self, ptx: &str, launch: &Value, args: &[&str]) -> Said {
        std::fs::write(self.file("launch.json"), launch.to_string()).unwrap();
        self.program(&[&["run", ptx, "--launch", "launch.json"], args].concat())
    }

    /// Runs a launch, and gives the report as well.
    fn report(&self, ptx: &str, launch: &Value, args: &[&str]) -> (Said, Value) {
        let said = self.run(ptx, launch, &[args, &["--report", "report.json"]].concat());
        let text = std::fs::read(self.file("report.json")).unwrap_or_else(|_| panic!("{}", said.stderr));
        (said, serde_json::from_slice(&text).unwrap())
    }

    fn floats(&self, name: &str) -> Vec<f32> {
        let bytes = std::fs::read(self.file(name)).unwrap();
        bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    }

    fn words(&self, name: &str) -> Vec<u32> {
        let bytes = std::fs::read(self.file(name)).unwrap();
        bytes.as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect()
    }
}

fn scalar(ty: &str, value: impl Into<Value>) -> Value {
    json!({"scalar": {"type": ty, "value": value.into()}})
}

/// `y = 2 x + y` for `n` elements, where both are buffers.
fn saxpy(n: i32, x: &Value, y: &Value) -> Value {
    json!({
        "kernel": "saxpy", "grid": 2, "block": 64,
        "arguments": [scalar("s32", n), scalar("f32", 2), {"buffer": x}, {"buffer": y}]
    })
}

/// 100 elements: 0, 1, 2, …, and the same for y, which goes to `y.bin`.
fn plain_saxpy() -> Value {
    let x = json!({"bytes": 400, "fill": {"iota": "f32"}});
    let y = json!({"bytes": 400, "fill": {"iota": "f32"}, "to": "y.bin", "name": "y"});
    saxpy(100, &x, &y)
}

fn block_sum(kernel: &str) -> Value {
    json!({
        "kernel": kernel, "grid": 2, "block": 256,
        "arguments": [
            {"buffer": {"bytes": 2048, "fill": {"iota": "f32"}}},
            {"buffer": {"bytes": 8, "to": "sums.bin"}}
        ]
    })
}

#[test]
fn outputs_are_written_and_counters_shown() {
    let place = Workplace::new();
    let said = place.run("saxpy.ptx", &plain_saxpy(), &[]).code(0);
    said.says(&[
        "saxpy: grid 2 x 1 x 1, block 64 x 1 x 1",
        "warp instructions",
        "global memory",
        "shared memory",
        "wrote y.bin (400 bytes)\n",
    ]);
    let expected: Vec<f32> = (0..100).map(|i| 3.0 * i as f32).collect();
    assert_eq!(place.floats("y.bin"), expected);
}

#[test]
fn quiet_says_nothing() {
    let place = Workplace::new();
    let said = place.run("saxpy.ptx", &plain_saxpy(), &["--quiet"]).code(0);
    assert_eq!((said.stdout.as_str(), said.stderr.as_str()), ("", ""));
    assert!(place.exists("y.bin"));
}

#[test]
fn files_fill_buffers_and_what_they_leave_is_filled() {
    let place = Workplace::new();
    let floats: Vec<u8> = [5f32, 6.0, 7.0].iter().flat_map(|x| x.to_le_bytes()).collect();
    std::fs::write(place.file("x.bin"), floats).unwrap();
    let x = json!({"bytes": 16, "from": "x.bin", "fill": {"byte": 0}});
    let y = json!({"from": "x.bin", "to": "y.bin"});
    place.run("saxpy.ptx", &saxpy(3, &x, &y), &[]).code(0);
    assert_eq!(place.floats("y.bin"), [15.0, 18.0, 21.0]);
    let y = json!({"bytes": 16, "fill": "zero", "to": "y.bin"});
    place.run("saxpy.ptx", &saxpy(4, &x, &y), &[]).code(0);
    assert_eq!(place.floats("y.bin"), [10.0, 12.0, 14.0, 0.0]);
}

#[test]
fn paths_are_relative_to_the_launch_file() {
    let place = Workplace::new();
    std::fs::create_dir(place.file("below")).unwrap();
    std::fs::write(place.file("below/launch.json"), plain_saxpy().to_string()).unwrap();
    place.program(&["run", "saxpy.ptx", "--launch", "below/launch.json"]).code(0);
    assert!(place.exists("below/y.bin") && !place.exists("y.bin"));
}

#[test]
fn a_buffer_is_shared_by_name_at_an_offset() {
    let place = Workplace::new();
    let y = json!({"bytes": 64, "fill": {"iota": "f32"}, "to": "y.bin", "name": "y", "offset": 16});
    place.run("saxpy.ptx", &saxpy(4, &json!({"ref": "y"}), &y), &[]).code(0);
    let mut expected: Vec<f32> = (0..16).map(|i| i as f32).collect();
    for i in 0..4 {
        expected[4 + i] += 2.0 * i as f32;
    }
    assert_eq!(place.floats("y.bin"), expected);
}

#[test]
fn structs_are_packed_at_their_offsets() {
    let place = Workplace::new();
    let launch = json!({
        "kernel": "of_struct", "grid": 1, "block": 1,
        "arguments": [{"struct": {"size": 24, "align": 8, "fields": [
            {"offset": 0, "buffer": {"bytes": 8, "to": "out.bin"}},
            {"offset": 8, "scalar": {"type": "f32", "value": 1.0}},
            {"offset": 16, "bytes": "2a00000000000000"}
        ]}}]
    });
    place.run("kernels.ptx", &launch, &[]).code(0);
    assert_eq!(place.words("out.bin"), [0x3F80_0000, 42]);
}

#[test]
fn variables_and_buffers_last_over_launches() {
    let place = Workplace::new();
    let words: Vec<u8> = [5u32, 7].iter().flat_map(|x| x.to_le_bytes()).collect();
    std::fs::write(place.file("total.bin"), words).unwrap();
    let launch = |name: &str, repeat: u32| json!({"kernel": "accumulate", "grid": 1, "block": 1, "repeat": repeat, "arguments": [{"buffer": {"ref": name}}]});
    let file = json!({
        "buffers": {"a": {"bytes": 4, "to": "a.bin"}, "b": {"bytes": 4, "to": "b.bin"}},
        "variables": {"total": {"from": "total.bin", "to": "after.bin"}},
        "launches": [launch("a", 1), launch("b", 3)]
    });
    let (_, report) = place.report("kernels.ptx", &file, &[]);
    assert_eq!((place.words("a.bin"), place.words("b.bin")), (vec![12], vec![33]));
    assert_eq!(place.words("after.bin"), [33, 7, 0, 0]);
    assert_eq!(report["launches"].as_array().unwrap().len(), 4);
}

#[test]
fn a_race_is_reported_with_its_source_and_nothing_is_written() {
    let place = Workplace::new();
    let (said, report) = place.report("block_sum.ptx", &block_sum("block_sum_racy"), &[]);
    let said = said.code(1).says(&[
        "shared_race in kernel `block_sum_racy`: ",
        "\n  at block_sum.cu:11, inlined at block_sum.cu:21, PTX line ",
        "\n      block_sum.cu:11   | if (t < half) partial[t] += partial[t + half];",
        "\n      block_sum.cu:21   | block_sum_of<false>(in, out);\n      block_sum.ptx:",
        "\n  by block (0, 0, 0), thread (",
        "conflicts with an earlier ",
        "\n    at block_sum.cu:11, inlined at block_sum.cu:21, PTX line ",
        "\n        block_sum.cu:11   | if (t < half)",
        "(seed 0)\n",
        "no output was written\n",
    ]);
    assert!(!place.exists("sums.bin"));

    let violation = &report["violation"];
    assert_eq!(violation["kind"], "shared_race");
    assert_eq!(violation["kernel"], "block_sum_racy");
    assert_eq!(violation["location"]["source"], json!(["block_sum.cu", 11]));
    assert_eq!(violation["thread"]["block"], json!([0, 0, 0]));
    assert_eq!(report["launches"], json!([]));
    assert_eq!(report["written"], json!([]));
    // The PTX line that is named is the one that is shown.
    let line = violation["location"]["ptx_line"].as_u64().unwrap();
    let ptx = std::fs::read_to_string(place.file("block_sum.ptx")).unwrap();
    let text = ptx.lines().nth(line as usize - 1).unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains(".shared.f32"), "{text}");
    assert!(said.stdout.contains(&format!("block_sum.ptx:{line} | {text}\n")), "{}", said.stdout);

    place.run("block_sum.ptx", &block_sum("block_sum_racy"), &["--no-race-check"]).code(0);
    place.run("block_sum.ptx", &block_sum("block_sum"), &["--seeds", "5"]).code(0);
    assert_eq!(place.floats("sums.bin"), [32640.0, 98176.0]);
}

#[test]
fn violations_of_memory_are_what_they_are() {
    let place = Workplace::new();
    let x = json!({"bytes": 400, "fill": "zero"});
    let kind = |said: Said, kind: &str| {
        said.code(1).says(&[&format!("{kind} in kernel `saxpy`: "), "PTX line", "no output was written"])
    };
    let y = json!({"bytes": 396, "fill": "zero", "to": "y.bin"});
    kind(place.run("saxpy.ptx", &saxpy(100, &x, &y), &[]), "out_of_bounds");
    let y = json!({"bytes": 400, "fill": "zero", "freed": true});
    kind(place.run("saxpy.ptx", &saxpy(100, &x, &y), &[]), "use_after_free");
    let y = json!({"bytes": 404, "fill": "zero", "to": "y.bin", "offset": 2});
    kind(place.run("saxpy.ptx", &saxpy(100, &x, &y), &[]), "misaligned");
    let y = json!({"bytes": 400, "fill": "poison", "to": "y.bin"});
    kind(place.run("saxpy.ptx", &saxpy(100, &x, &y), &[]), "uninitialized_global");
    assert!(!place.exists("y.bin"));
    place.run("saxpy.ptx", &saxpy(100, &x, &y), &["--no-init-check"]).code(0);
    assert!(place.exists("y.bin"));
}

#[test]
fn an_endless_kernel_is_stopped() {
    let place = Workplace::new();
    let launch = json!({"kernel": "spin", "grid": 1, "block": 32});
    place
        .run("kernels.ptx", &launch, &["--max-instructions", "10000"])
        .code(1)
        .says(&["instruction_limit in kernel `spin`: "]);
}

#[test]
fn what_a_kernel_prints_stands_before_its_counters() {
    let place = Workplace::new();
    let launch = json!({"kernel": "say", "grid": 2, "block": 1, "arguments": [scalar("s32", 7)]});
    place
        .run("kernels.ptx", &launch, &[])
        .code(0)
        .says(&["block 0 says 7\nblock 1 says 7\nsay: grid 2 x 1 x 1"]);
}

#[test]
fn seeds_repeat_and_are_compared() {
    let place = Workplace::new();
    let (said, report) = place.report("saxpy.ptx", &plain_saxpy(), &["--seeds", "3"]);
    said.code(0).says(&["seed 0\n", "3 seeds, no rule broken; the outputs are the same\n", "wrote y.bin"]);
    assert_eq!(report["seeds"], json!([0, 1, 2]));
    let seeds: Vec<_> =
        report["launches"].as_array().unwrap().iter().map(|launch| launch["seed"].clone()).collect();
    assert_eq!(seeds, [0, 1, 2]);
    let (_, report) = place.report("saxpy.ptx", &plain_saxpy(), &["--seed", "18446744073709551615"]);
    assert_eq!(report["seeds"], json!([u64::MAX]));

    let counter = json!({"buffer": {"bytes": 4, "fill": "zero"}});
    let tickets = |to: Value| json!({"kernel": "ticket", "grid": 8, "block": 64, "arguments": [counter, {"buffer": to}]});
    let named = tickets(json!({"bytes": 2048, "to": "tickets.bin", "name": "out"}));
    let (said, report) = place.report("kernels.ptx", &named, &["--seeds", "50"]);
    said.code(1).says(&[
        "outputs differ between seeds 0 and ",
        " in buffer out at byte ",
        "no output was written",
    ]);
    assert!(!place.exists("tickets.bin"));
    assert_eq!(report["difference"]["buffer"], "out");
    assert_eq!(report["violation"], Value::Null);
    place.run("kernels.ptx", &named, &[]).code(0);
    let mut tickets_of_one_seed = place.words("tickets.bin");
    tickets_of_one_seed.sort_unstable();
    assert!(tickets_of_one_seed.iter().copied().eq(0..512));

    // What nothing has written is the same with every seed.
    let y = json!({"bytes": 408, "to": "y.bin"});
    let part = json!({
        "kernel": "ticket", "grid": 1, "block": 1, "arguments": [counter, {"buffer": y}]
    });
    place
        .run("kernels.ptx", &part, &["--seeds", "5"])
        .code(0)
        .says(&["the outputs are the same", "(408 bytes, of which the kernels left 404 unwritten)"]);
    assert_eq!(place.words("y.bin"), [0; 102]);

    let unnamed = tickets(json!({"bytes": 2048}));
    place.run("kernels.ptx", &unnamed, &["--seeds", "2"]).code(0).says(&["no output to compare"]);
}

/// Two blocks on two host threads: which one is faster must not matter.
#[test]
fn host_threads_change_nothing() {
    let place = Workplace::new();
    for kernel in ["block_sum", "block_sum_racy"] {
        for seed in ["0", "7"] {
            let run = |threads| {
                place.run("block_sum.ptx", &block_sum(kernel), &["--seed", seed, "--threads", threads]).stdout
            };
            let one = run("1");
            for _ in 0..25 {
                assert_eq!(run("4"), one, "{kernel}");
            }
        }
    }
}

#[test]
fn the_report_has_device_and_counters() {
    let place = Workplace::new();
    let (_, report) = place.report("saxpy.ptx", &plain_saxpy(), &[]);
    assert_eq!(report["ptx"], "saxpy.ptx");
    assert_eq!(report["device"], json!({"compute_capability": "8.0", "sm_count": 108}));
    assert_eq!(report["violation"], Value::Null);
    assert_eq!(report["difference"], Value::Null);
    assert_eq!(report["written"], json!(["y.bin"]));
    let launch = &report["launches"][0];
    assert_eq!(
        (&launch["kernel"], &launch["grid"], &launch["block"]),
        (&json!("saxpy"), &json!([2, 1, 1]), &json!([64, 1, 1]))
    );
    let counters = &launch["counters"];
    assert_eq!(counters["global_read"]["unique_bytes"], 800);
    assert_eq!(counters["global_read"]["requested_bytes"], 800);
    assert_eq!(counters["global_written"]["unique_bytes"], 400);
    // Four warps, of which the last has four lanes in range: two loads each.
    assert_eq!(counters["by_class"]["global_load"], 8);
    assert_eq!(counters["by_class"]["global_store"], 4);
    let classes = counters["by_class"].as_object().unwrap().values();
    assert_eq!(
        classes.map(|count| count.as_u64().unwrap()).sum::<u64>(),
        counters["instructions"].as_u64().unwrap()
    );

    let (_, report) = place.report("saxpy.ptx", &plain_saxpy(), &["--compute-capability", "9.0"]);
    assert_eq!(report["device"], json!({"compute_capability": "9.0", "sm_count": 132}));
}

#[test]
fn wrong_usage_is_exit_code_2() {
    let place = Workplace::new();
    for args in [
        &[][..],
        &["run", "saxpy.ptx"],
        &["run", "--launch", "launch.json"],
        &["run", "saxpy.ptx", "--launch", "launch.json", "--seed", "1", "--seeds", "2"],
        &["run", "saxpy.ptx", "--launch", "launch.json", "--seeds", "0"],
        &["run", "saxpy.ptx", "--launch", "launch.json", "--compute-capability", "7.0"],
        &["list"],
        &["nonsense"],
    ] {
        let said = place.program(args).code(2);
        assert!(!said.stderr.is_empty());
    }
}

#[test]
fn errors_name_the_file_and_what_is_wrong() {
    let place = Workplace::new();
    let launch = plain_saxpy();
    place.run("none.ptx", &launch, &[]).code(2).complains(&["none.ptx: No such file"]);
    place
        .program(&["run", "saxpy.ptx", "--launch", "none.json"])
        .code(2)
        .complains(&["none.json: No such file"]);
    place.program(&["list", "none.ptx"]).code(2).complains(&["none.ptx: No such file"]);
    std::fs::write(place.file("binary.ptx"), [0xFF, 0xFE]).unwrap();
    place.run("binary.ptx", &launch, &[]).code(2).complains(&["binary.ptx: expected UTF-8 text"]);
    std::fs::write(
        place.file("bad.ptx"),
        ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry k(\n",
    )
    .unwrap();
    for args in [&["run", "bad.ptx", "--launch", "launch.json"][..], &["list", "bad.ptx"]] {
        place.program(args).code(2).complains(&["bad.ptx: PTX line "]);
    }

    let mut other = launch.clone();
    other["kernel"] = "axpy".into();
    place.run("saxpy.ptx", &other, &[]).code(2).complains(&["saxpy.ptx: no kernel `axpy`", "it has: saxpy"]);
    let mut other = launch.clone();
    other["grid"] = 0.into();
    place
        .run("saxpy.ptx", &other, &[])
        .code(2)
        .complains(&["launch.json: grid: expected a whole number from 1", "given 0"]);
    let mut other = launch.clone();
    other["arguments"][0] = scalar("u64", 5);
    place.run("saxpy.ptx", &other, &[]).code(2).complains(&[
        "launch.json: arguments[0]: expected 4 bytes for parameter `saxpy_param_0`, given 8 bytes",
    ]);
    let mut other = launch.clone();
    other["block"] = 2048.into();
    place.run("saxpy.ptx", &other, &[]).code(2).complains(&[
        "launch.json: ",
        "cannot launch `saxpy`: block",
        "2048",
        "1024",
    ]);
    let mut other = launch.clone();
    other["variables"] = json!({"table": {"to": "t.bin"}});
    place
        .run("saxpy.ptx", &other, &[])
        .code(2)
        .complains(&["launch.json: variables.table: ", "no variable `table`"]);
    place
        .run("saxpy.ptx", &launch, &["--report", "no/report.json"])
        .code(2)
        .complains(&["--report no/report.json"]);
    std::fs::write(place.file("five.bin"), [0; 20]).unwrap();
    let file = json!({
        "kernel": "accumulate", "grid": 1, "block": 1, "arguments": [{"buffer": {"bytes": 4}}],
        "variables": {"total": {"from": "five.bin"}}
    });
    place.run("kernels.ptx", &file, &[]).code(2).complains(&[
        "launch.json: variables.total.from: expected a file of at most 16 bytes, given 20 bytes",
    ]);
    assert!(!place.exists("y.bin"));
}

#[test]
fn unsupported_instructions_are_exit_code_3() {
    let place = Workplace::new();
    let launch = json!({
        "kernel": "strange", "grid": 1, "block": 1, "arguments": [{"buffer": {"bytes": 4, "to": "out.bin"}}]
    });
    let ptx = std::fs::read_to_string(place.file("kernels.ptx")).unwrap();
    let line = ptx.lines().position(|line| line.contains("vadd")).unwrap() + 1;
    let place_of = format!("PTX line {line}: `vadd.s32.s32.s32");
    place.run("kernels.ptx", &launch, &[]).code(3).complains(&[
        "kernels.ptx: 1 unsupported",
        &place_of,
        "`strange`",
    ]);
    place.program(&["list", "kernels.ptx"]).code(3).says(&[
        "  .maxntid 64, 1, 1\n",
        "\nunsupported\n",
        &place_of,
    ]);
}

#[test]
fn list_shows_kernels_and_parameters() {
    let place = Workplace::new();
    place.program(&["list", "block_sum.ptx"]).code(0).says(&[
        "PTX 9.0 for sm_80\n",
        "\nblock_sum (line 18)\n  1024 bytes static shared, 0 bytes local\n",
        " instructions: ",
        "bar ",
        "  offset   size  align  parameter\n       0      8      8  block_sum_param_0\n       8      8      8  block_sum_param_1\n",
        "\nblock_sum_racy (line ",
    ]);
    let said = place.program(&["list", "kernels.ptx", "--json"]).code(3);
    let list: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!((&list["version"], &list["target"]), (&json!([8, 0]), &json!("sm_80")));
    let names: Vec<_> =
        list["kernels"].as_array().unwrap().iter().map(|kernel| kernel["name"].clone()).collect();
    assert_eq!(names, ["ticket", "of_struct", "accumulate", "spin", "strange", "say"]);
    let kernel = &list["kernels"][1];
    assert_eq!(kernel["parameters"], json!([{"name": "parameters", "offset": 0, "size": 24, "align": 8}]));
    assert_eq!(kernel["instructions"], json!({"ld": 3, "cvt": 1, "st": 2, "ret": 1}));
    assert_eq!(list["kernels"][4]["max_block"], json!([64, 1, 1]));
    let unsupported = &list["unsupported"][0];
    assert_eq!(
        (&unsupported["function"], list["unsupported"].as_array().unwrap().len()),
        (&json!("strange"), 1)
    );
    assert!(unsupported["instruction"].as_str().unwrap().starts_with("vadd"));
}

/// A tensor map of bytes 0 to 255 as 8 rows of 32, in tiles of 16 x 4.
fn tensor_map() -> Value {
    json!({"type": "u8", "buffer": {"bytes": 256, "fill": {"iota": "u8"}}, "dims": [32, 8], "box": [16, 4]})
}

/// What the kernels make of it.
fn tile() -> Vec<u8> {
    (2..6u8).flat_map(|row| (16..32u8).map(move |column| row * 32 + column)).collect()
}

#[test]
fn a_tensor_map_is_an_argument() {
    let place = Workplace::new();
    let out = json!({"buffer": {"bytes": 64, "to": "out.bin"}});
    let launch = json!({"kernel": "tile", "grid": 1, "block": 32, "dynamic_shared_bytes": 128,
        "arguments": [{"tensor_map": tensor_map()}, &out]});
    place.run("hopper.ptx", &launch, &["--seeds", "5"]).code(0).says(&["no rule broken", "the same"]);
    assert_eq!(std::fs::read(place.file("out.bin")).unwrap(), tile());
    let mut launch = launch;
    launch["arguments"][0]["tensor_map"]["box"] = json!([24, 4]);
    place
        .run("hopper.ptx", &launch, &[])
        .code(2)
        .complains(&["arguments[0].tensor_map.box[0]: expected a multiple of 16 bytes, given 24 bytes"]);
}

#[test]
fn a_tensor_map_lies_in_a_buffer_and_a_rule_may_be_allowed_to_be_broken() {
    let place = Workplace::new();
    let maps = json!({"buffer": {"bytes": 256, "offset": 128, "values": [{"offset": 128, "tensor_map": tensor_map()}]}});
    let launch = json!({"kernel": "tile_by_pointer", "grid": 1, "block": 32, "dynamic_shared_bytes": 128,
        "arguments": [maps, {"buffer": {"bytes": 64, "to": "out.bin"}}]});
    let said = place.run("hopper.ptx", &launch, &[]).code(1);
    said.says(&["missing_proxy_fence", "hopper.ptx"]);
    assert!(!place.exists("out.bin"));
    place.run("hopper.ptx", &launch, &["--allow", "unfenced-mbarrier-init"]).code(0);
    assert_eq!(std::fs::read(place.file("out.bin")).unwrap(), tile());
    place.run("hopper.ptx", &launch, &["--allow", "races"]).code(2);
}

#[test]
fn clusters_are_listed_and_launched() {
    let place = Workplace::new();
    place
        .program(&["list", "hopper.ptx"])
        .says(&["\ntwins (line ", "  .reqnctapercluster 2, 1, 1\n  .explicitcluster\n"]);
    let said = place.program(&["list", "hopper.ptx", "--json"]);
    let list: Value = serde_json::from_str(&said.stdout).unwrap();
    let kernel = &list["kernels"][2];
    assert_eq!((&kernel["required_cluster"], &kernel["explicit_cluster"]), (&json!([2, 1, 1]), &json!(true)));
    assert_eq!(
        (&kernel["max_cluster_blocks"], &kernel["blocks_are_clusters"]),
        (&json!(null), &json!(false))
    );
    let launch = json!({"kernel": "twins", "grid": 4, "block": 1, "cluster": 2,
        "arguments": [{"buffer": {"bytes": 16, "to": "out.bin"}}]});
    place.run("hopper.ptx", &launch, &[]).code(0);
    assert_eq!(std::fs::read(place.file("out.bin")).unwrap(), [2u32; 4].map(u32::to_le_bytes).concat());
}

#[test]
fn a_programmatic_launch_overlaps_the_one_before() {
    let place = Workplace::new();
    let launch = |second: &str, programmatic: bool| {
        json!({"buffers": {"x": {"bytes": 4, "to": "x.bin"}}, "launches": [
            {"kernel": "first", "grid": 1, "block": 1, "arguments": [{"buffer": {"ref": "x"}}]},
            {"kernel": second, "grid": 1, "block": 1, "programmatic": programmatic, "arguments": [{"buffer": {"ref": "x"}}]},
        ]})
    };
    for (second, programmatic) in [("second", true), ("second", false), ("hasty", false)] {
        place.run("hopper.ptx", &launch(second, programmatic), &["--seeds", "3"]).code(0);
        assert_eq!(std::fs::read(place.file("x.bin")).unwrap(), 8u32.to_le_bytes());
    }
    let (said, report) = place.report("hopper.ptx", &launch("hasty", true), &[]);
    said.code(1).says(&["global_race in kernel `hasty`", "griddepcontrol.wait is missing", "conflicts with"]);
    assert_eq!(report["violation"]["kernel"], "hasty");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let place = Workplace::new();
    std::fs::write(place.file("launch.json"), plain_saxpy().to_string()).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_ptx-sim"))
        .args(["run", "saxpy.ptx", "--launch", "launch.json"])
        .current_dir(place.folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), message.as_str()), (Some(0), ""));
    assert!(place.exists("y.bin"));
}
