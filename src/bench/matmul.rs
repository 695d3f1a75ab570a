//! The matrix products: `matmul`, `matmul_int4` and `matmul_fp8`.

mod operands;

use super::sizes::{Given, set};
use super::{Call, H200, Memory, Row, Work};
use crate::backend::ModelDims;
use crate::cost::{self, Cost};
use crate::ops::Epilogue;
use crate::plan::{self, Fp8Scales, Limits, MatmulShape, Operands, Plan};
use crate::tensor::DType;
use crate::{Error, Result};

/// `matmul`, or by its operands `matmul_int4` or `matmul_fp8`.
#[derive(Clone, Copy, Debug)]
pub struct Matmul {
    /// Sizes, epilogue, bias, the type of the output, and what the operands are stored in.
    pub shape: MatmulShape,
    /// What decides on the tile.
    pub path: MatmulPath,
}

/// What decides on the tile of a [`Matmul`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MatmulPath {
    /// The plan of its shape.
    Planned,
    /// The plan where there is no workspace.
    Alone,
    /// The plan of batch-invariant mode.
    Invariant,
    /// The tile itself, `[m, n, k]`, one of those that fit the shape and the device; each made by one block.
    Tile([u32; 3]),
    /// Likewise, and all blocks share all tiles.
    Shared([u32; 3]),
}

/// Decoded tokens, alone and in batches, and prompts.
const TOKENS: [usize; 7] = [1, 8, 16, 64, 256, 2048, 8192];
/// More rows of logits are never wanted.
const MAX_LOGITS: usize = 256;

/// Columns that share a scale of the 4-bit weights that are timed: those of nearly all published ones.
const INT4_GROUP: usize = 128;

/// The products of a layer, and the last one.
pub(super) fn rows(model: &str, dims: &ModelDims) -> Vec<Row> {
    let lm_head = MatmulShape { out_f32: true, ..product(dims.vocab_size, dims.hidden_size) };
    let layer = layer(dims);
    let mut rows = rows_of(model, "", &layer, Operands::Native);
    let lm_heads = TOKENS.into_iter().filter(|m| *m <= MAX_LOGITS).map(|m| MatmulShape { m, ..lm_head });
    rows.extend(lm_heads.map(|shape| row(model, "lm_head", shape, MatmulPath::Planned)));
    rows.push(invariant(model, layer[0].1, Operands::Native));
    let shape = MatmulShape { m: 64, ..layer[1].1 };
    rows.push(row(model, "o without workspace", shape, MatmulPath::Alone));
    rows
}

/// The products of a layer with weights in 4 bits, and one of them with zeros. None where kernels do not take the widths.
pub(super) fn int4_rows(model: &str, dims: &ModelDims) -> Vec<Row> {
    let layer = layer(dims);
    let operands = |zeros| Operands::Int4 { group: INT4_GROUP, zeros };
    let mut rows = rows_of(model, "", &layer, operands(false));
    rows.extend(rows_of(model, " zeros", &layer[..1], operands(true)));
    // Between streams and the tiles of prompts.
    let few = layer.map(|(name, shape)| (name, MatmulShape { m: 32, operands: operands(false), ..shape }));
    rows.extend(few.map(|(name, shape)| row(model, name, shape, MatmulPath::Planned)));
    rows.push(invariant(model, layer[0].1, operands(false)));
    rows.retain(|row| row.work.plans(DType::BF16, &H200).is_ok());
    rows
}

/// The products of a layer in fp8 with a scale a token and a row; and with scales for blocks, where gate and up give the next
/// product its codes. None where kernels do not take the widths.
pub(super) fn fp8_rows(model: &str, dims: &ModelDims) -> Vec<Row> {
    let layer = layer(dims);
    let operands = |scales| Operands::Fp8 { x: scales, weight: scales, fast_accumulation: false };
    let mut rows = rows_of(model, "", &layer, operands(Fp8Scales::Row));
    let [qkv, _, (name, gate_up), down] = layer;
    let quantized = (name, MatmulShape { quantized: true, ..gate_up });
    rows.extend(rows_of(model, " by block", &[quantized, down], operands(Fp8Scales::Block)));
    rows.push(invariant(model, qkv.1, operands(Fp8Scales::Row)));
    let fast = Operands::Fp8 { x: Fp8Scales::Row, weight: Fp8Scales::Row, fast_accumulation: true };
    rows.push(row(model, "qkv fast", MatmulShape { m: 2048, operands: fast, ..qkv.1 }, MatmulPath::Planned));
    rows.retain(|row| row.work.plans(DType::BF16, &H200).is_ok());
    rows
}

/// The products of a layer, without their tokens.
fn layer(dims: &ModelDims) -> [(&'static str, MatmulShape); 4] {
    let &ModelDims { hidden_size: hidden, intermediate_size: intermediate, .. } = dims;
    let &ModelDims { num_q_heads, num_kv_heads, head_dim, .. } = dims;
    let q_width = num_q_heads * head_dim;
    let gate_up = MatmulShape { epilogue: Epilogue::SwiGlu, ..product(2 * intermediate, hidden) };
    [
        ("qkv", product(q_width + 2 * num_kv_heads * head_dim, hidden)),
        ("o", product(hidden, q_width)),
        ("gate_up", gate_up),
        ("down", product(hidden, intermediate)),
    ]
}

fn product(n: usize, k: usize) -> MatmulShape {
    MatmulShape { n, k, ..MatmulShape::default() }
}

fn row(model: &str, name: &str, shape: MatmulShape, path: MatmulPath) -> Row {
    Row::new(format!("{model} {name}"), Matmul { shape, path })
}

/// Products with these operands, of all numbers of tokens.
fn rows_of(model: &str, suffix: &str, products: &[(&str, MatmulShape)], operands: Operands) -> Vec<Row> {
    let of = |(name, shape): &(&str, MatmulShape)| {
        let (name, shape) = (format!("{name}{suffix}"), *shape);
        TOKENS.map(|m| row(model, &name, MatmulShape { m, operands, ..shape }, MatmulPath::Planned))
    };
    products.iter().flat_map(of).collect()
}

fn invariant(model: &str, shape: MatmulShape, operands: Operands) -> Row {
    let shape = MatmulShape { m: 64, operands, ..shape };
    row(model, "qkv invariant", shape, MatmulPath::Invariant)
}

impl Matmul {
    pub(super) fn of(sizes: &Given<'_>) -> Result<Box<dyn Work>> {
        Matmul::with(sizes, Operands::Native)
    }

    pub(super) fn of_int4(sizes: &Given<'_>) -> Result<Box<dyn Work>> {
        let operands = Operands::Int4 { group: sizes.size("group")?, zeros: sizes.flag("zeros")? };
        Matmul::with(sizes, operands)
    }

    pub(super) fn of_fp8(sizes: &Given<'_>) -> Result<Box<dyn Work>> {
        let blocks = sizes.flag("blocks")?;
        let scales = |name| {
            Ok(match (blocks, sizes.flag(name)?) {
                (true, true) => return Err(sizes.error(name, "0 with blocks", 1)),
                (true, false) => Fp8Scales::Block,
                (false, true) => Fp8Scales::Tensor,
                (false, false) => Fp8Scales::Row,
            })
        };
        let operands = Operands::Fp8 {
            x: scales("x_tensor")?,
            weight: scales("w_tensor")?,
            fast_accumulation: sizes.flag("fast")?,
        };
        Matmul::with(sizes, operands)
    }

    fn with(sizes: &Given<'_>, operands: Operands) -> Result<Box<dyn Work>> {
        let epilogue = if sizes.flag("swiglu")? { Epilogue::SwiGlu } else { Epilogue::None };
        let shape = MatmulShape {
            m: sizes.size("m")?,
            n: sizes.size("n")?,
            k: sizes.size("k")?,
            epilogue,
            bias: sizes.flag("bias")?,
            out_f32: sizes.flag("f32_out")?,
            quantized: sizes.flag("e4m3_out")?,
            operands,
        };
        let tile = [sizes.optional("tile_m")?, sizes.optional("tile_n")?, sizes.optional("tile_k")?];
        let (invariant, alone) = (sizes.flag("invariant")?, sizes.flag("no_workspace")?);
        let path = match (invariant, sizes.flag("shared")?, tile) {
            (true, ..) | (_, true, _) | (.., [Some(_), ..]) if alone => {
                return Err(sizes.error("no_workspace", "0 with a tile, or in batch-invariant mode", 1));
            }
            (false, false, [None, None, None]) if alone => MatmulPath::Alone,
            (false, false, [None, None, None]) => MatmulPath::Planned,
            (true, false, [None, None, None]) => MatmulPath::Invariant,
            // Sizes are below 2^31.
            (false, false, [Some(m), Some(n), Some(k)]) => MatmulPath::Tile([m as u32, n as u32, k as u32]),
            (false, true, [Some(m), Some(n), Some(k)]) => MatmulPath::Shared([m as u32, n as u32, k as u32]),
            (true, ..) => return Err(sizes.error("invariant", "0 with a tile", 1)),
            (_, true, [None, None, None]) => return Err(sizes.error("shared", "0 without a tile", 1)),
            _ => {
                return Err(Error::argument(
                    operands.op(),
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
    /// With as large a workspace as any plan has use for.
    fn plan(self, dtype: DType, shape: &MatmulShape, limits: &Limits) -> Result<Option<Plan>> {
        let (tile, shared) = match self {
            MatmulPath::Planned => return plan::matmul(dtype, shape, false, usize::MAX, limits),
            MatmulPath::Alone => return plan::matmul(dtype, shape, false, 0, limits),
            MatmulPath::Invariant => return plan::matmul(dtype, shape, true, 0, limits),
            MatmulPath::Tile(tile) => (tile, false),
            MatmulPath::Shared(tile) => (tile, true),
        };
        let plans = plan::matmul_candidates(dtype, shape, limits)?;
        let is_wanted =
            |plan: &Plan| (plan.splits > 1) == shared && plan.tile.is_some_and(|t| [t.m, t.n, t.k] == tile);
        let given = || format!("{tile:?}{}", if shared { ", shared" } else { "" });
        let found = plans.into_iter().find(is_wanted);
        found
            .map(Some)
            .ok_or_else(|| Error::argument(shape.operands.op(), "tile", "a tile of the shape", given()))
    }
}

/// The tiles that can make a product of this shape on a device of these limits.
pub fn matmul_tiles(dtype: DType, shape: &MatmulShape, limits: &Limits) -> Result<Vec<[u32; 3]>> {
    let mut tiles = Vec::new();
    for tile in plan::matmul_candidates(dtype, shape, limits)?.iter().filter_map(|plan| plan.tile) {
        let tile = [tile.m, tile.n, tile.k];
        if !tiles.contains(&tile) {
            tiles.push(tile);
        }
    }
    Ok(tiles)
}

impl Work for Matmul {
    fn op(&self) -> &'static str {
        self.shape.operands.op()
    }

    fn sizes(&self) -> Vec<(&'static str, usize)> {
        let MatmulShape { m, n, k, epilogue, bias, out_f32, quantized, operands } = self.shape;
        let mut sizes = vec![("m", m), ("n", n), ("k", k)];
        match operands {
            Operands::Native => {}
            Operands::Int4 { group, zeros } => {
                sizes.push(("group", group));
                sizes.extend(set("zeros", zeros));
            }
            Operands::Fp8 { x, weight, fast_accumulation } => {
                sizes.extend(set("x_tensor", x == Fp8Scales::Tensor));
                sizes.extend(set("w_tensor", weight == Fp8Scales::Tensor));
                sizes.extend(set("blocks", weight == Fp8Scales::Block));
                sizes.extend(set("fast", fast_accumulation));
            }
        }
        sizes.extend(set("swiglu", epilogue == Epilogue::SwiGlu));
        sizes.extend(set("bias", bias).into_iter().chain(set("f32_out", out_f32)));
        sizes.extend(set("e4m3_out", quantized));
        sizes.extend(set("invariant", self.path == MatmulPath::Invariant));
        sizes.extend(set("no_workspace", self.path == MatmulPath::Alone));
        if let MatmulPath::Tile([m, n, k]) | MatmulPath::Shared([m, n, k]) = self.path {
            sizes.extend(set("shared", matches!(self.path, MatmulPath::Shared(_))));
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

    fn touched_bytes(&self, plans: &[Plan]) -> u64 {
        let partials: u64 = plans.iter().map(|plan| cost::matmul_partials(plan, &self.shape)).sum();
        self.cost().bytes + partials
    }

    fn issued_bytes(&self, plans: &[Plan]) -> u64 {
        plans.iter().map(|plan| cost::matmul_tile(plan, &self.shape)).sum()
    }

    fn prepare(&self, dtype: DType, memory: &mut Memory) -> Result<Call> {
        operands::prepare(self, dtype, memory)
    }
}
