//! What each kernel takes of a multiprocessor, compared with the checked-in table: `cargo xtask budget --update`
//! rewrites it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use llama_kernels::gpu::registry;

use super::listing;
use super::tools::{self, Compiled};

const HEADER: &str = "\
# What each kernel takes of a multiprocessor: registers a thread, bytes of static shared memory a block (1 KB of it is the
# system's on sm_90), bytes of local memory a thread (spilled registers: always 0), and how many tensor instructions of which
# kind its code has. Dynamic shared memory is the plan's (`llama-kernels bench --list`). Of nvcc 13.0.88; written by
# `cargo xtask budget --update`.
";

#[derive(Debug, PartialEq, Eq)]
struct Resources {
    registers: u32,
    shared: u32,
    local: u32,
    /// `416 HMMA.16816.F32.BF16`; empty for kernels without tensor cores.
    tensor: String,
}

/// Reads `REG:30 STACK:0 SHARED:0 LOCAL:0 …`. Spills and local arrays stand in the stack frame.
fn resources(lines: &[&str], tensor: String) -> Resources {
    let value = |name: &str| -> u32 {
        let number =
            lines.iter().flat_map(|line| line.split_whitespace()).find_map(|word| word.strip_prefix(name));
        number.unwrap_or_else(|| panic!("no {name} in {lines:?}")).parse().unwrap()
    };
    Resources {
        registers: value("REG:"),
        shared: value("SHARED:"),
        local: value("STACK:") + value("LOCAL:"),
        tensor,
    }
}

fn embedded() -> BTreeMap<Compiled, Resources> {
    let mut all = BTreeMap::new();
    for (family, kernel) in tools::families() {
        let output = tools::cuobjdump(family, kernel, &["--dump-resource-usage"]);
        for (kernel, lines) in tools::by_kernel(&output) {
            let tensor = listing::all()[&kernel].tensor_instructions();
            let tensor: Vec<_> = tensor.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
            let resources = resources(&lines, tensor.join(", "));
            all.insert(kernel, resources);
        }
    }
    all
}

fn parse(table: &str) -> BTreeMap<Compiled, Resources> {
    let rows = table.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    rows.map(|row| {
        let columns: Vec<&str> = row.split_whitespace().collect();
        let [kernel, arch, registers, shared, local, ref tensor @ ..] = columns[..] else {
            panic!("budget: {row}")
        };
        let number = |text: &str| text.parse().unwrap_or_else(|_| panic!("budget: {row}"));
        let resources = Resources {
            registers: number(registers),
            shared: number(shared),
            local: number(local),
            tensor: tensor.join(" "),
        };
        ((kernel.to_string(), arch.to_string()), resources)
    })
    .collect()
}

fn print(table: &BTreeMap<Compiled, Resources>) -> String {
    let mut text = format!(
        "{HEADER}# {:<32} {:>5} {:>9} {:>6} {:>5} tensor instructions\n",
        "kernel", "arch", "registers", "shared", "local"
    );
    for ((kernel, arch), Resources { registers, shared, local, tensor }) in table {
        let row = format!("{kernel:<34} {arch:>5} {registers:>9} {shared:>6} {local:>5} {tensor}");
        writeln!(text, "{}", row.trim_end()).unwrap();
    }
    text
}

#[test]
#[cfg_attr(
    not(kernels_pinned),
    ignore = "the budget belongs to the pinned nvcc, which did not build these kernels"
)]
fn kernels_keep_to_their_budget() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("cuda/budget.txt");
    let embedded = embedded();
    for (kernel, resources) in &embedded {
        assert_eq!(resources.local, 0, "{kernel:?} spills registers");
    }
    if std::env::var_os("LLAMA_KERNELS_UPDATE_BUDGET").is_some() {
        assert_eq!(
            registry::architectures().unwrap(),
            ["80", "89", "90a"],
            "unset CUDA_COMPUTE_CAPS to update"
        );
        fs::write(&file, print(&embedded)).unwrap();
    }
    let mut budget = parse(&fs::read_to_string(&file).unwrap());
    // A build for fewer architectures is compared where it has something to compare.
    budget.retain(|(_, arch), _| registry::architectures().unwrap().contains(&arch.as_str()));
    assert!(!budget.is_empty(), "no architecture of this build is in the budget");
    let known = |(_, arch): &Compiled| budget.keys().any(|(_, budgeted)| budgeted == arch);
    let measured: BTreeMap<_, _> = embedded.into_iter().filter(|(kernel, _)| known(kernel)).collect();
    assert_eq!(
        print(&measured),
        print(&budget),
        "cuda/budget.txt (right) differs: if that is meant, run `cargo xtask budget --update`"
    );
}

#[test]
fn spills_are_read_from_the_stack_frame() {
    let lines = ["REG:64 STACK:16 SHARED:1152 LOCAL:8 CONSTANT[0]:600 TEXTURE:0"];
    let expected = Resources { registers: 64, shared: 1152, local: 24, tensor: String::new() };
    assert_eq!(resources(&lines, String::new()), expected);
    let table =
        "# comment\nsome_kernel 90a 64 1152 24\nother 80 64 1152 24 416 HMMA.16816.F32, 2 HMMA.1688.F32\n";
    let parsed = parse(table);
    assert_eq!(parsed[&("some_kernel".into(), "90a".into())], expected);
    let tensor = "416 HMMA.16816.F32, 2 HMMA.1688.F32".to_string();
    assert_eq!(parsed[&("other".into(), "80".into())], Resources { tensor, ..expected });
    assert_eq!(parse(&print(&parsed)), parsed);
}
