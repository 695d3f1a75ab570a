#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use llama_kernels_fuzz::{json_mutator, targets, tolerate_caught_panics};

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    json_mutator::mutate(data, size, max_size, seed)
});

fuzz_target!(
    init: tolerate_caught_panics(),
    |data: &[u8]| targets::tokenizer_config(data)
);
