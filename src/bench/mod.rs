//! Every operation at the shapes of the models, on random numbers: what `llama-kernels bench` measures on a GPU, and what
//! the crate's tests count on the simulated one.
//!
//! A [`Work`] is one operation on one shape: it knows its plans and its cost without a device, and makes its operands on
//! one. [`rows`] are the works that are timed.

mod attention;
mod attention_combine;
mod ceiling;
mod ceilings;
mod embed;
mod gather_rows;
mod matmul;
mod memory;
mod meter;
mod norm;
mod norm_fp8;
mod permute_columns;
mod quantize_fp8;
mod rope_append_kv;
mod sample;
mod silu_and_mul;
mod sizes;

use std::fmt;

pub use attention::{Attention, AttentionPath};
pub use attention_combine::AttentionCombine;
pub use ceiling::{CeilingCopy, CeilingEmpty, CeilingMma, CeilingRead, CeilingWgmma, ceiling_works};
pub use ceilings::{Bound, Ceilings};
pub use embed::Embed;
pub use gather_rows::GatherRows;
pub use matmul::{Matmul, MatmulPath, matmul_tiles};
pub use memory::Memory;
pub use meter::{Meter, Prepared, Timing};
pub use norm::{AddRmsNorm, RmsNorm};
pub use norm_fp8::{AddRmsNormFp8, RmsNormFp8};
pub use permute_columns::PermuteColumns;
pub use quantize_fp8::QuantizeFp8;
pub use rope_append_kv::RopeAppendKv;
pub use sample::{Choice, Sample};
pub use silu_and_mul::SiluAndMul;
pub use sizes::{ops, work};

use sizes::{OPERATIONS, Operation};

use crate::backend::ModelDims;
use crate::cost::Cost;
use crate::gpu::Stream;
use crate::plan::{Limits, Plan};
use crate::tensor::DType;
use crate::{Error, Result};

/// One operation on one shape.
pub trait Work {
    /// The operation, by its name in [`ops`](crate::ops).
    fn op(&self) -> &'static str;

    /// The sizes that make up the shape, by name: all that [`work`] needs to make it again. A choice is a size of 1, left out
    /// where it is not made.
    fn sizes(&self) -> Vec<(&'static str, usize)>;

    /// What it costs at least.
    fn cost(&self) -> Cost;

    /// Its launches, with activations in `dtype`, on a device of these limits.
    fn plans(&self, dtype: DType, limits: &Limits) -> Result<Vec<Plan>>;

    /// Bytes that these launches touch, those that only pass from one to the next included.
    fn touched_bytes(&self, plans: &[Plan]) -> u64 {
        let _ = plans;
        self.cost().bytes
    }

    /// Bytes that these launches ask of the memory system, those that they read more than once included.
    fn issued_bytes(&self, plans: &[Plan]) -> u64 {
        let _ = plans;
        self.cost().bytes
    }

    /// Bytes of its operands in 16-bit activations: what a call needs of a device's memory, but for a workspace.
    fn operand_bytes(&self) -> u64 {
        self.cost().bytes
    }

    /// Makes operands full of random numbers, and the call on them.
    fn prepare(&self, dtype: DType, memory: &mut Memory) -> Result<Call>;
}

/// The call of an operation on its operands, again and again.
pub type Call = Box<dyn FnMut(&Stream) -> Result<()>>;

/// What is timed.
pub struct Row {
    /// The model, and which of its operations where there are several.
    pub label: String,
    /// The operation and its shape.
    pub work: Box<dyn Work>,
}

impl Row {
    fn new(label: impl Into<String>, work: impl Work + 'static) -> Self {
        Row { label: label.into(), work: Box::new(work) }
    }
}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.work.op(), self.label, sizes(self.work.as_ref()))
    }
}

/// The sizes of a shape in one line: `tokens=8 hidden=4096`.
pub fn sizes(work: &dyn Work) -> String {
    let sizes = work.sizes();
    sizes.iter().map(|(name, size)| format!("{name}={size}")).collect::<Vec<_>>().join(" ")
}

/// What is timed where nobody asks for a model, operation by operation: the shapes of Llama 3 8B and 70B, attention at those
/// of 1B too, whose heads are half as wide, and sampling, for which the vocabulary alone counts, at one.
pub fn rows() -> Vec<Row> {
    let of = |operation: &Operation| {
        let models = match operation.op {
            "attention_prefill" | "attention_decode" => &MODELS[..],
            "sample" => &MODELS[..1],
            _ => &MODELS[..2],
        };
        models.iter().flat_map(|(name, dims)| (operation.rows)(name, dims)).collect::<Vec<_>>()
    };
    OPERATIONS.iter().flat_map(of).collect()
}

/// Every operation at the shapes of one model, labelled with its name: one decoded token, batches of them, and prompts of up to
/// 16,384 tokens.
///
/// [`Error::Unsupported`] where kernels do not take the model's widths, with all that they refuse.
pub fn rows_of(name: &str, dims: &ModelDims) -> Result<Vec<Row>> {
    let unsupported = |reason: String| Error::unsupported(format!("the model {name} on a GPU"), reason);
    let &ModelDims { hidden_size, intermediate_size, num_q_heads, num_kv_heads, head_dim, vocab_size } = dims;
    for (what, width) in [
        ("hidden_size", hidden_size),
        ("intermediate_size", intermediate_size),
        ("num_q_heads", num_q_heads),
        ("num_kv_heads", num_kv_heads),
        ("head_dim", head_dim),
        ("vocab_size", vocab_size),
    ] {
        if !(1..=MAX_WIDTH).contains(&width) {
            return Err(unsupported(format!("{what}: expected 1 to {MAX_WIDTH}, got {width}")));
        }
    }
    let rows: Vec<Row> = OPERATIONS.iter().flat_map(|operation| (operation.rows)(name, dims)).collect();
    let mut reasons: Vec<String> = Vec::new();
    for row in &rows {
        let sizes: Vec<_> = row.work.sizes().into_iter().map(|(name, size)| (name, size as u64)).collect();
        let refusal = work(row.work.op(), &sizes).err().map(|refusal| refusal.to_string());
        reasons.extend(refusal.filter(|reason| !reasons.contains(reason)));
    }
    if reasons.is_empty() { Ok(rows) } else { Err(unsupported(reasons.join("; "))) }
}

/// The limits of an H200, for plans without a device.
pub const H200: Limits = Limits { num_sms: 132, shared_memory_per_block: 227 << 10 };

/// Llama 3 8B and 70B, and Llama 3.2 1B.
const MODELS: [(&str, ModelDims); 3] = [
    (
        "8B",
        ModelDims {
            hidden_size: 4096,
            intermediate_size: 14_336,
            num_q_heads: 32,
            num_kv_heads: 8,
            head_dim: 128,
            vocab_size: 128_256,
        },
    ),
    (
        "70B",
        ModelDims {
            hidden_size: 8192,
            intermediate_size: 28_672,
            num_q_heads: 64,
            num_kv_heads: 8,
            head_dim: 128,
            vocab_size: 128_256,
        },
    ),
    (
        "1B",
        ModelDims {
            hidden_size: 2048,
            intermediate_size: 8192,
            num_q_heads: 32,
            num_kv_heads: 8,
            head_dim: 64,
            vocab_size: 128_256,
        },
    ),
];
/// A width of a model, at most: the rows' sizes are products of a few.
const MAX_WIDTH: usize = 1 << 24;
/// One decoded token, batches of them, and chunks of prompts.
const TOKENS: [usize; 7] = [1, 8, 64, 256, 1024, 4096, 8192];
/// Tokens of a page of the cache.
const PAGE_SIZE: usize = 16;
const EPS: f32 = 1e-5;

/// One row for each number of tokens.
fn per_tokens<W: Work + 'static>(label: &str, work: impl Fn(usize) -> W) -> Vec<Row> {
    TOKENS.map(|tokens| Row::new(label, work(tokens))).into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::plan::Kernel;

    #[test]
    fn every_kernel_is_timed() {
        // An H200, an A100, and an L40S, whose shared memory some tiles do not fit.
        let devices = [(132, 227), (108, 163), (142, 99)];
        let devices =
            devices.map(|(num_sms, kilobytes)| Limits { num_sms, shared_memory_per_block: kilobytes << 10 });
        assert_eq!(devices[0], H200);
        let mut timed = BTreeSet::new();
        let works = rows().into_iter().map(|row| (format!("{row:?}"), row.work));
        let ceilings = ceiling_works(1 << 20, &H200).into_iter().map(|work| (work.op().to_string(), work));
        for (name, work) in works.chain(ceilings) {
            for (dtype, limits) in
                [DType::BF16, DType::F16].into_iter().flat_map(|dtype| devices.map(|limits| (dtype, limits)))
            {
                let plans = work.plans(dtype, &limits).unwrap();
                assert!(!plans.is_empty(), "{name} launches nothing");
                timed.extend(plans.iter().map(|plan| plan.launch.kernel.name()));
            }
        }
        let all: BTreeSet<_> = Kernel::ALL.iter().map(|kernel| kernel.name()).collect();
        let missing: Vec<_> = all.difference(&timed).collect();
        assert!(missing.is_empty(), "no row of `llama-kernels bench` launches {missing:?}");
    }

    #[test]
    fn a_model_has_rows_of_every_operation() {
        let dims = ModelDims {
            hidden_size: 3072,
            intermediate_size: 8192,
            num_q_heads: 24,
            num_kv_heads: 8,
            head_dim: 128,
            vocab_size: 128_256,
        };
        let rows = rows_of("llama-3.2-3b", &dims).unwrap();
        let mut found: Vec<_> = rows.iter().map(|row| row.work.op()).collect();
        found.dedup();
        assert_eq!(found, ops().collect::<Vec<_>>());
        assert!(rows.iter().all(|row| row.label.starts_with("llama-3.2-3b")));
        for text in [
            "rms_norm llama-3.2-3b tokens=8192 hidden=3072",
            "matmul llama-3.2-3b qkv m=1 n=5120 k=3072",
            "matmul llama-3.2-3b gate_up m=2048 n=16384 k=3072 swiglu=1",
            "matmul llama-3.2-3b lm_head m=8 n=128256 k=3072 f32_out=1",
            "attention_prefill llama-3.2-3b batch=16 q_len=1024 kv_len=1024 num_q_heads=24 num_kv_heads=8 head_dim=128",
        ] {
            assert!(rows.iter().any(|row| format!("{row:?}") == text), "{text}");
        }
    }

    #[test]
    fn what_no_kernel_takes_of_a_model_is_said_at_once() {
        let dims = MODELS[0].1;
        let message = |dims: ModelDims| rows_of("mine", &dims).unwrap_err().to_string();
        let heads = message(ModelDims { head_dim: 96, ..dims });
        assert_eq!(
            heads,
            "the model mine on a GPU is not supported: attention_prefill: head_dim: expected 64 or 128, got 96; \
             attention_decode: head_dim: expected 64 or 128, got 96"
        );
        let all = message(ModelDims { hidden_size: 4092, num_kv_heads: 1, ..dims });
        for part in ["rms_norm: hidden", "matmul: k", "num_q_heads: expected 1 to 16 times the 1 key/value"] {
            assert!(all.contains(part), "{all}");
        }
        for (dims, part) in [
            (ModelDims { num_kv_heads: 0, ..dims }, "num_kv_heads: expected 1 to 16777216, got 0"),
            (ModelDims { vocab_size: usize::MAX, ..dims }, "vocab_size: expected 1 to 16777216, got "),
            (ModelDims { num_kv_heads: 5, ..dims }, "num_q_heads: expected 1 to 16 times the 5"),
        ] {
            assert!(message(dims).contains(part), "{}", message(dims));
        }
    }

    #[test]
    fn rows_are_told_apart_and_their_operations_stand_together() {
        let rows = rows();
        let names: BTreeSet<_> = rows.iter().map(|row| format!("{row:?}")).collect();
        assert_eq!(names.len(), rows.len());
        let mut ops: Vec<_> = rows.iter().map(|row| row.work.op()).collect();
        ops.dedup();
        assert_eq!(ops.len(), ops.iter().collect::<BTreeSet<_>>().len(), "{ops:?}");
    }
}
