#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| llama_kernels_fuzz::ptx::ptx(data));
