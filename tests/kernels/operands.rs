//! Buffers full of numbers.

use half::bf16;
use llama_kernels::gpu::{Buffer, Device};

/// Numbers that are no pattern, within -2..2, the same for the same seed.
pub fn noise(seed: u64, elements: usize) -> Vec<u8> {
    let number = |i: usize| {
        let mixed = (seed + i as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mixed = (mixed ^ (mixed >> 31)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        (mixed >> 40) as f32 / (1 << 22) as f32 - 2.0
    };
    (0..elements).flat_map(|i| bf16::from_f32(number(i)).to_le_bytes()).collect()
}

/// A buffer of these bytes.
pub fn buffer(device: &Device, bytes: &[u8]) -> Buffer {
    let mut buffer = device.allocate(bytes.len()).unwrap();
    buffer.write(0, bytes).unwrap();
    buffer
}

/// A buffer of these numbers as i32.
pub fn list(device: &Device, values: &[usize]) -> Buffer {
    buffer(device, &values.iter().flat_map(|&value| (value as i32).to_le_bytes()).collect::<Vec<_>>())
}
