#![no_main]

use libfuzzer_sys::fuzz_target;
use llama_kernels_fuzz::targets;

fuzz_target!(|data: &[u8]| targets::chat_template(data));
