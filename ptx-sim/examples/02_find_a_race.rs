//! Runs a reduction that lacks a barrier: on a GPU it gives the right sum on most days. Then runs the corrected one with
//! many seeds.
//!
//! `cargo run -p ptx-sim --example 02_find_a_race`

use ptx_sim::{
    ComputeCapability, Device, DeviceProperties, Error, LaunchConfig, Report, Result, ViolationKind,
};

/// Sums of blocks of 256 numbers, with and without the barrier in the loop, compiled from `block_sum.cu`.
const PTX: &str = include_str!("block_sum.ptx");

const BLOCKS: u32 = 2;

fn main() -> Result<()> {
    let Err(Error::Violation(violation)) = block_sum("block_sum_racy", 0) else {
        panic!("the race was not found");
    };
    println!("{violation}\n");
    assert_eq!(violation.kind, ViolationKind::SharedRace);
    let source = violation.location.and_then(|location| location.source);
    assert_eq!(source, Some(("block_sum.cu".to_owned(), 11)), "the line that adds");

    for seed in 0..20 {
        let (sums, _) = block_sum("block_sum", seed)?;
        assert_eq!(sums, [32640.0, 98176.0]);
    }
    println!("block_sum: no race with 20 seeds");
    Ok(())
}

/// Sums 0, 1, 2, … block by block.
fn block_sum(kernel: &str, seed: u64) -> Result<(Vec<f32>, Vec<Report>)> {
    let device = Device::new(DeviceProperties::of(ComputeCapability::Sm80));
    let mut options = device.options();
    options.seed = seed;
    device.set_options(options);
    let kernel = device.load_module(PTX)?.kernel(kernel)?;

    let numbers: Vec<u8> = (0..256 * BLOCKS).flat_map(|i| (i as f32).to_le_bytes()).collect();
    let input = device.allocate(numbers.len() as u64)?;
    let output = device.allocate(4 * u64::from(BLOCKS))?;
    device.write(input, &numbers)?;

    let parameters = [input.to_le_bytes(), output.to_le_bytes()].concat();
    let stream = device.create_stream();
    stream.launch(&kernel, &LaunchConfig::new([BLOCKS, 1, 1], [256, 1, 1]), &parameters)?;
    let reports = stream.synchronize()?;

    let mut sums = [0; 4 * BLOCKS as usize];
    device.read(output, &mut sums)?;
    Ok((sums.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(), reports))
}
