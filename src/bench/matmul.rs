//! `matmul`.

use super::sizes::{Given, set};
use super::{Call, Memory, Row, Work};
use crate::backend::ModelDims;
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
/// Rows of the output start at multiples of this.
const ROW_BYTES: usize = 16;
/// More rows of logits are never wanted.
const MAX_LOGITS: usize = 256;

/// The products of a layer, and the last one.
pub(super) fn rows(model: &str, dims: &ModelDims) -> Vec<Row> {
    let &ModelDims { hidden_size: hidden, intermediate_size: intermediate, vocab_size, .. } = dims;
    let &ModelDims { num_q_heads, num_kv_heads, head_dim, .. } = dims;
    let product = |n, k| MatmulShape { n, k, ..MatmulShape::default() };
    let q_width = num_q_heads * head_dim;
    let gate_up = MatmulShape { epilogue: Epilogue::SwiGlu, ..product(2 * intermediate, hidden) };
    let lm_head = MatmulShape { out_f32: true, ..product(vocab_size, hidden) };
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
            rows.push(Row::new(format!("{model} {product}"), Matmul { shape, path: MatmulPath::Planned }));
        }
    }
    let shape = MatmulShape { m: 64, ..shapes[0].1 };
    rows.push(Row::new(format!("{model} qkv invariant"), Matmul { shape, path: MatmulPath::Invariant }));
    rows
}

impl Matmul {
    pub(super) fn of(sizes: &Given<'_>) -> Result<Box<dyn Work>> {
        let epilogue = if sizes.flag("swiglu")? { Epilogue::SwiGlu } else { Epilogue::None };
        let shape = MatmulShape {
            m: sizes.size("m")?,
            n: sizes.size("n")?,
            k: sizes.size("k")?,
            epilogue,
            bias: sizes.flag("bias")?,
            out_f32: sizes.flag("f32_out")?,
        };
        let tile = [sizes.optional("tile_m")?, sizes.optional("tile_n")?, sizes.optional("tile_k")?];
        let path = match (sizes.flag("invariant")?, tile) {
            (false, [None, None, None]) => MatmulPath::Planned,
            (true, [None, None, None]) => MatmulPath::Invariant,
            // Sizes are below 2^31.
            (false, [Some(m), Some(n), Some(k)]) => MatmulPath::Tile([m as u32, n as u32, k as u32]),
            (true, _) => return Err(sizes.error("invariant", "0 with a tile", 1)),
            _ => {
                return Err(Error::argument(
                    "matmul",
                    "tile_m, tile_n, tile_k",
                    "all of them, or none",
                    "some",
                ));
            }
        };
        Ok(Box::new(Matmul { shape, path }))
    }
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
            .ok_or_else(|| Error::argument("matmul", "tile", "a tile of the shape", format!("{tile:?}")))
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
        let MatmulShape { m, n, k, epilogue, bias, out_f32 } = self.shape;
        let mut sizes = vec![("m", m), ("n", n), ("k", k)];
        sizes.extend(set("swiglu", epilogue == Epilogue::SwiGlu));
        sizes.extend(set("bias", bias).into_iter().chain(set("f32_out", out_f32)));
        sizes.extend(set("invariant", self.path == MatmulPath::Invariant));
        if let MatmulPath::Tile([m, n, k]) = self.path {
            let tile = [("tile_m", m), ("tile_n", n), ("tile_k", k)];
            sizes.extend(tile.map(|(name, size)| (name, size as usize)));
        }
        sizes
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
        let width = shape.out_width();
        let padded = width.next_multiple_of(ROW_BYTES / out_dtype.size());
        let mut out = memory.output(out_dtype, &[shape.m, padded])?;
        Ok(Box::new(move |stream| {
            let args = ops::Matmul {
                x: TensorRef::new(x.view())?,
                weight: TensorRef::new(weight.view())?,
                bias: bias.as_ref().map(|bias| TensorRef::new(bias.view())).transpose()?,
                epilogue: shape.epilogue,
                batch_invariant: path == MatmulPath::Invariant,
                out: TensorMut::new(out.view_mut().columns(width)?)?,
            };
            let limits = stream.device().properties().limits();
            ops::matmul_by(stream, &args, |dtype, shape| path.plan(dtype, shape, &limits))
        }))
    }
}
