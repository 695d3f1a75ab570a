//! What an operation costs at least: floating-point operations, and bytes with each input read once and each output
//! written once. Benches, checks and the kernels' headers mean these numbers.

/// A cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Floating-point operations.
    pub flops: u64,
    /// Bytes read and written.
    pub bytes: u64,
}

/// Bytes of an activation's or a weight's element.
const ELEMENT: u64 = 2;

/// `embed`, where no id repeats.
pub fn embed(num_tokens: usize, hidden: usize) -> Cost {
    let (tokens, hidden) = (num_tokens as u64, hidden as u64);
    Cost { flops: 0, bytes: tokens * (size_of::<i32>() as u64 + 2 * ELEMENT * hidden) }
}

/// `rms_norm`: square, add, scale, weight; reads x and the weight, writes out.
pub fn rms_norm(num_tokens: usize, hidden: usize) -> Cost {
    let (tokens, hidden) = (num_tokens as u64, hidden as u64);
    Cost { flops: 4 * tokens * hidden, bytes: ELEMENT * hidden * (2 * tokens + u64::from(tokens > 0)) }
}

/// `add_rms_norm`: one addition more; reads x, the residual and the weight, writes the residual and out.
pub fn add_rms_norm(num_tokens: usize, hidden: usize) -> Cost {
    let (tokens, hidden) = (num_tokens as u64, hidden as u64);
    Cost { flops: 5 * tokens * hidden, bytes: ELEMENT * hidden * (4 * tokens + u64::from(tokens > 0)) }
}

/// `silu_and_mul`: negate, exp, add, divide, multiply; reads gate and up, writes out.
pub fn silu_and_mul(num_tokens: usize, intermediate: usize) -> Cost {
    let outputs = num_tokens as u64 * intermediate as u64;
    Cost { flops: 5 * outputs, bytes: 3 * ELEMENT * outputs }
}
