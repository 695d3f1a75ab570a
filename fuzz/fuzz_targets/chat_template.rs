#![no_main]

use libfuzzer_sys::fuzz_target;
use llama_kernels_fuzz::{targets, tolerate_caught_panics};

fuzz_target!(
    init: tolerate_caught_panics(),
    |data: &[u8]| targets::chat_template(data)
);
