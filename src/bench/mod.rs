//! Every operation at the shapes of the models, on random numbers: what `llama-kernels time` measures on a GPU, and what
//! the crate's tests count on the simulated one.
//!
//! A [`Work`] is one operation on one shape: it knows its plans and its cost without a device, and makes its operands on
//! one. [`rows`] are the works that are timed.

mod attention;
mod attention_combine;
mod embed;
mod gather_rows;
mod matmul;
mod memory;
mod norm;
mod rope_append_kv;
mod sample;

mod silu_and_mul;

use std::fmt;

pub use attention::{Attention, AttentionPath};
pub use attention_combine::AttentionCombine;
pub use embed::Embed;
pub use gather_rows::GatherRows;
pub use matmul::{Matmul, MatmulPath, matmul_tiles};
pub use memory::Memory;
pub use norm::{AddRmsNorm, RmsNorm};

pub use rope_append_kv::RopeAppendKv;
pub use sample::{Choice, Sample};
pub use silu_and_mul::SiluAndMul;

use crate::Result;
use crate::cost::Cost;
use crate::gpu::Stream;
use crate::plan::{Limits, Plan};
use crate::tensor::DType;

/// One operation on one shape.
pub trait Work {
    /// The operation, by its name in [`ops`](crate::ops).
    fn op(&self) -> &'static str;

    /// The sizes that make up the shape, by name.
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

/// Everything that is timed, operation by operation.
pub fn rows() -> Vec<Row> {
    let operations = [
        embed::rows(),
        norm::rows(),
        silu_and_mul::rows(),
        rope_append_kv::rows(),
        gather_rows::rows(),
        matmul::rows(),
        attention::rows(),
        attention_combine::rows(),
        sample::rows(),
    ];
    operations.into_iter().flatten().collect()
}

/// The limits of an H200, for plans without a device.
pub const H200: Limits = Limits { num_sms: 132, shared_memory_per_block: 227 << 10 };

/// What the rows need of a model.
struct Model {
    name: &'static str,
    hidden: usize,
    intermediate: usize,
    num_q_heads: usize,
    num_kv_heads: usize,
    head_dim: usize,
}

/// Llama 3.
const MODELS: [Model; 2] = [
    Model { name: "8B", hidden: 4096, intermediate: 14336, num_q_heads: 32, num_kv_heads: 8, head_dim: 128 },
    Model { name: "70B", hidden: 8192, intermediate: 28672, num_q_heads: 64, num_kv_heads: 8, head_dim: 128 },
];
/// Rows of Llama 3's embedding table.
const VOCABULARY: usize = 128_256;
/// One decoded token, batches of them, and chunks of prompts.
const TOKENS: [usize; 7] = [1, 8, 64, 256, 1024, 4096, 8192];
/// Tokens of a page of the cache.
const PAGE_SIZE: usize = 16;
const EPS: f32 = 1e-5;

/// One row for each model and number of tokens.
fn per_model<W: Work + 'static>(work: impl Fn(&Model, usize) -> W) -> Vec<Row> {
    let row = |model: &Model, tokens| Row::new(model.name, work(model, tokens));
    MODELS.iter().flat_map(|model| TOKENS.map(|tokens| row(model, tokens))).collect()
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
        for row in rows() {
            for (dtype, limits) in
                [DType::BF16, DType::F16].into_iter().flat_map(|dtype| devices.map(|limits| (dtype, limits)))
            {
                let plans = row.work.plans(dtype, &limits).unwrap();
                assert!(!plans.is_empty(), "{row:?} launches nothing");
                timed.extend(plans.iter().map(|plan| plan.launch.kernel.name()));
            }
        }
        let all: BTreeSet<_> = Kernel::ALL.iter().map(|kernel| kernel.name()).collect();
        let missing: Vec<_> = all.difference(&timed).collect();
        assert!(missing.is_empty(), "no row of `llama-kernels time` launches {missing:?}");
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
