//! `matmul`.

use super::{Call, MODELS, Memory, Model, Row, VOCABULARY, Work};
use crate::cost::{self, Cost};
use crate::gpu::{TensorMut, TensorRef};
use crate::ops::{self, Epilogue};
use crate::plan::{self, Limits, MatmulShape, Plan};
use crate::tensor::DType;
use crate::{Error, Result};

/// `matmul`.
#[derive(Clone, Copy, Debug)]
pub struct Matmul {
    /// Sizes, epilogue, bias and the type of the output.
    pub shape: MatmulShape,
    /// What decides on the tile.
    pub path: MatmulPath,
}

/// What decides on the tile of a [`Matmul`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MatmulPath {
    /// The plan of its shape.
    Planned,
    /// The plan of batch-invariant mode.
    Invariant,
    /// The tile itself, `[m, n, k]`, one of those that fit the shape and the device.
    Tile([u32; 3]),
}

/// Decoded tokens, alone and in batches, and prompts.
const TOKENS: [usize; 7] = [1, 8, 16, 64, 256, 2048, 8192];
/// More rows of logits are never wanted.
const MAX_LOGITS: usize = 256;

pub(super) fn rows() -> Vec<Row> {
    MODELS.iter().flat_map(of_model).collect()
}

/// The products of a layer, and the last one.
fn of_model(model: &Model) -> Vec<Row> {
    let &Model { name, hidden, intermediate, num_q_heads, num_kv_heads, head_dim } = model;
    let product = |n, k| MatmulShape { n, k, ..MatmulShape::default() };
    let q_width = num_q_heads * head_dim;
    let gate_up = MatmulShape { epilogue: Epilogue::SwiGlu, ..product(2 * intermediate, hidden) };
    let lm_head = MatmulShape { out_f32: true, ..product(VOCABULARY, hidden) };
    let shapes = [
        ("qkv", product(q_width + 2 * num_kv_heads * head_dim, hidden)),
        ("o", product(hidden, q_width)),
        ("gate_up", gate_up),
        ("down", product(hidden, intermediate)),
        ("lm_head", lm_head),
    ];
    let mut rows = Vec::new();
    for (product, shape) in shapes {
        for m in TOKENS.into_iter().filter(|m| product != "lm_head" || *m <= MAX_LOGITS) {
            let shape = MatmulShape { m, ..shape };
            rows.push(Row::new(format!("{name} {product}"), Matmul { shape, path: MatmulPath::Planned }));
        }
    }
    let shape = MatmulShape { m: 64, ..shapes[0].1 };
    rows.push(Row::new(format!("{name} qkv invariant"), Matmul { shape, path: MatmulPath::Invariant }));
    rows
}

impl MatmulPath {
    fn plan(self, dtype: DType, shape: &MatmulShape, limits: &Limits) -> Result<Option<Plan>> {
        let tile = match self {
            MatmulPath::Planned => return plan::matmul(dtype, shape, false, limits),
            MatmulPath::Invariant => return plan::matmul(dtype, shape, true, limits),
            MatmulPath::Tile(tile) => tile,
        };
        let plans = plan::matmul_candidates(dtype, shape, limits)?;
        let found = plans.into_iter().find(|plan| plan.tile.is_some_and(|t| [t.m, t.n, t.k] == tile));
        found
            .map(Some)
            .ok_or_else(|| Error::argument("bench", "tile", "a tile of the shape", format!("{tile:?}")))
    }
}

/// The tiles that can make a product of this shape on a device of these limits.
pub fn matmul_tiles(dtype: DType, shape: &MatmulShape, limits: &Limits) -> Result<Vec<[u32; 3]>> {
    let plans = plan::matmul_candidates(dtype, shape, limits)?;
    Ok(plans.iter().filter_map(|plan| plan.tile).map(|tile| [tile.m, tile.n, tile.k]).collect())
}

impl Work for Matmul {
    fn op(&self) -> &'static str {
        "matmul"
    }

    fn sizes(&self) -> Vec<(&'static str, usize)> {
        vec![("m", self.shape.m), ("n", self.shape.n), ("k", self.shape.k)]
    }

    fn cost(&self) -> Cost {
        cost::matmul(&self.shape)
    }

    fn plans(&self, dtype: DType, limits: &Limits) -> Result<Vec<Plan>> {
        Ok(self.path.plan(dtype, &self.shape, limits)?.into_iter().collect())
    }

    fn issued_bytes(&self, plans: &[Plan]) -> u64 {
        plans.iter().map(|plan| cost::matmul_tile(plan, &self.shape)).sum()
    }

    fn prepare(&self, dtype: DType, memory: &mut Memory) -> Result<Call> {
        let Matmul { shape, path } = *self;
        let x = memory.random(dtype, &[shape.m, shape.k])?;
        let weight = memory.random(dtype, &[shape.n, shape.k])?;
        let bias = shape.bias.then(|| memory.random(dtype, &[shape.n])).transpose()?;
        let out_dtype = if shape.out_f32 { DType::F32 } else { dtype };
        let mut out = memory.output(out_dtype, &[shape.m, shape.out_width()])?;
        Ok(Box::new(move |stream| {
            let args = ops::Matmul {
                x: TensorRef::new(x.view())?,
                weight: TensorRef::new(weight.view())?,
                bias: bias.as_ref().map(|bias| TensorRef::new(bias.view())).transpose()?,
                epilogue: shape.epilogue,
                batch_invariant: path == MatmulPath::Invariant,
                out: TensorMut::new(out.view_mut())?,
            };
            let limits = stream.device().properties().limits();
            ops::matmul_by(stream, &args, |dtype, shape| path.plan(dtype, shape, &limits))
        }))
    }
}
