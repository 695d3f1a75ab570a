//! The committed inputs of the fuzz targets, run as ordinary tests: nothing panics, what is accepted keeps
//! its promises, and nothing takes long.

use std::path::Path;
use std::time::{Duration, Instant};

#[path = "../../fuzz/src/targets.rs"]
mod targets;

#[test]
fn seeds_of_every_target_hold() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
    for (target, run) in targets::TARGETS {
        let mut inputs: Vec<_> =
            std::fs::read_dir(seeds.join(target)).unwrap().map(|e| e.unwrap().path()).collect();
        inputs.sort();
        assert!(!inputs.is_empty(), "{target} has no seeds");
        for input in inputs {
            let start = Instant::now();
            // The name comes before a panic's message.
            println!("{}", input.display());
            run(&std::fs::read(&input).unwrap());
            assert!(
                start.elapsed() < Duration::from_secs(10),
                "{} took {:?}",
                input.display(),
                start.elapsed()
            );
        }
    }
    assert_eq!(std::fs::read_dir(&seeds).unwrap().count(), targets::TARGETS.len());
}
