//! Counts the bank conflicts of two transpositions that differ in one element of padding: a performance test that needs no
//! GPU and gives the same numbers everywhere.
//!
//! `cargo run -p ptx-sim --example 03_count_bank_conflicts`

use ptx_sim::{ComputeCapability, Counters, Device, DeviceProperties, LaunchConfig, Result};

/// A square matrix transposed through a tile in shared memory, compiled from `transpose.cu`.
const PTX: &str = include_str!("transpose.ptx");

const SIZE: u32 = 64;

fn main() -> Result<()> {
    let plain = transpose("transpose")?;
    let padded = transpose("transpose_padded")?;
    for (name, counters) in [("transpose", &plain), ("transpose_padded", &padded)] {
        let read = &counters.shared_read;
        println!("{name:16}  {} reads of shared memory, {} bank conflicts", read.requests, read.conflicts);
        for place in &counters.bank_conflicts {
            println!("{:16}  {} of them at {}", "", place.conflicts, place.location);
        }
    }
    // Every warp reads a column of 32 elements: from one bank in 32 passes, or from 32 banks in one.
    assert_eq!(plain.shared_read.conflicts, 31 * plain.shared_read.requests);
    assert_eq!(padded.shared_read.conflicts, 0);
    // The report names the line.
    let line =
        |source: &Option<(String, u32)>| source.clone().is_some_and(|(file, _)| file == "transpose.cu");
    assert!(!plain.bank_conflicts.is_empty() && padded.bank_conflicts.is_empty());
    assert!(plain.bank_conflicts.iter().all(|place| line(&place.location.source)));
    // Global memory is read and written in whole sectors either way.
    for counters in [&plain, &padded] {
        for traffic in [&counters.global_read, &counters.global_written] {
            assert_eq!(traffic.issued_bytes, traffic.unique_bytes);
        }
    }
    Ok(())
}

fn transpose(kernel: &str) -> Result<Counters> {
    let device = Device::new(DeviceProperties::of(ComputeCapability::Sm80));
    let kernel = device.load_module(PTX)?.kernel(kernel)?;
    let elements = SIZE * SIZE;
    let numbers: Vec<u8> = (0..elements).flat_map(|i| (i as f32).to_le_bytes()).collect();
    let input = device.allocate(numbers.len() as u64)?;
    let output = device.allocate(numbers.len() as u64)?;
    device.write(input, &numbers)?;

    let mut parameters = [input.to_le_bytes(), output.to_le_bytes()].concat();
    parameters.extend(SIZE.to_le_bytes());
    let stream = device.create_stream();
    stream.launch(&kernel, &LaunchConfig::new([SIZE / 32, SIZE / 32, 1], [32, 8, 1]), &parameters)?;
    let mut reports = stream.synchronize()?;

    let mut transposed = vec![0; numbers.len()];
    device.read(output, &mut transposed)?;
    for (i, bytes) in transposed.as_chunks::<4>().0.iter().enumerate() {
        let (row, column) = (i as u32 / SIZE, i as u32 % SIZE);
        assert_eq!(f32::from_le_bytes(*bytes), (column * SIZE + row) as f32);
    }
    Ok(reports.remove(0).counters)
}
