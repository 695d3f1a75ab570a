//! `benches/peers.py`, as far as it goes without PyTorch: it reads rows, keeps statistics, writes records, and calls the
//! library through ctypes.

use std::path::Path;
use std::process::Command;

use super::library;
use crate::common::TempDir;

/// The records that the program reads.
#[allow(dead_code, reason = "the program uses all of it")]
#[path = "../../src/cli/record.rs"]
mod record;

use record::Record;

#[test]
#[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
fn the_comparison_tests_itself() {
    let folder = TempDir::new();
    let json = folder.path().join("peers.jsonl");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers.py");
    let mut python = Command::new("python3");
    python
        .arg("-B")
        .arg(script)
        .args(["--self-test", "--library"])
        .arg(library::path())
        .arg("--json")
        .arg(&json);
    library::succeed(&mut python);

    // What it writes is what the program reads.
    let text = std::fs::read_to_string(&json).unwrap();
    let records: Vec<_> = text
        .lines()
        .map(|line| Record::parse(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    let [Some(Record::Run(run)), Some(Record::Peers(with)), Some(Record::Peers(without))] = &records[..]
    else {
        panic!("{records:#?}");
    };
    assert!(run.command == "peers" && run.version == env!("CARGO_PKG_VERSION"), "{run:?}");
    assert!(run.device.simulated && run.device.name.starts_with("simulated GPU"), "{run:?}");
    assert_eq!(run.device.memory_bytes, None);
    assert_eq!((with.row.op.as_str(), with.row.label.as_str(), with.row.flops), ("rms_norm", "8B", 12));
    assert_eq!(with.row.sizes.to_string(), "tokens=8 hidden=4096");
    assert_eq!((with.ours_microseconds, with.speedup), (2.0, Some(1.5)));
    let peers: Vec<_> = with.peers.iter().map(|peer| (peer.name.as_str(), peer.microseconds)).collect();
    assert_eq!(peers, [("slow", Some(4.0)), ("fast", Some(3.0)), ("broken", None)]);
    assert_eq!(with.peers[2].note, "ValueError: no such thing");
    assert_eq!((without.speedup, without.difference), (None, Some(0.5)));
}
