//! Choosing tokens.

use super::{Kernel, Launch, Plan, tokens};
use crate::params::SAMPLE_THREADS;
use crate::{Error, Result};

const OP: &str = "sample";

/// The most logits of a row: the sum of their weights, of 41 bits each, must fit 64 bits.
pub const MAX_VOCABULARY: usize = 1 << 23;

/// `sample` from `num_rows` rows of `vocab_size` logits; `None` where there is nothing to do.
pub fn sample(num_rows: usize, vocab_size: usize) -> Result<Option<Plan>> {
    let num_rows = tokens(OP, num_rows)?;
    if vocab_size > MAX_VOCABULARY {
        let expected = format!("at most {MAX_VOCABULARY}");
        return Err(Error::argument(OP, "vocab_size", expected, vocab_size));
    }
    let launch = Launch {
        kernel: Kernel::SampleF32,
        grid: [num_rows, 1, 1],
        block: [SAMPLE_THREADS, 1, 1],
        dynamic_shared_bytes: 0,
    };
    let reason = "a block a row: thresholds and sums are exchanged in shared memory";
    Ok((num_rows > 0).then_some(Plan::simple(OP, launch, reason)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_takes_a_row() {
        let launch = sample(5, 128_256).unwrap().unwrap().launch;
        let expected = Launch {
            kernel: Kernel::SampleF32,
            grid: [5, 1, 1],
            block: [1024, 1, 1],
            dynamic_shared_bytes: 0,
        };
        assert_eq!(launch, expected);
        assert_eq!(sample(0, 128_256).unwrap(), None);
        assert!(sample(1, 0).unwrap().is_some(), "a row without tokens gets its -1");
    }

    #[test]
    fn wrong_shapes_are_named() {
        let message = |rows, vocab_size| sample(rows, vocab_size).unwrap_err().to_string();
        assert_eq!(message(1, 8_388_609), "sample: vocab_size: expected at most 8388608, got 8388609");
        assert_eq!(message(1 << 31, 5), "sample: num_tokens: expected fewer than 2^31, got 2147483648");
    }
}
