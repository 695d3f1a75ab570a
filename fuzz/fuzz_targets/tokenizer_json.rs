#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use llama_kernels_fuzz::{json_mutator, targets};

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    json_mutator::mutate(data, size, max_size, seed)
});

fuzz_target!(
    // The tokenizers crate panics on some files, which the reader turns into errors: libFuzzer's hook would stop at them.
    // A panic that nothing catches still ends the run.
    init: std::panic::set_hook(Box::new(|_| {})),
    |data: &[u8]| targets::tokenizer_json(data)
);
