//! What matrix products cost.

use super::{Cost, ELEMENT, SCALE};
use crate::params::{FP8_GROUP_COLUMNS, MATMUL_STREAM_M16_TOKENS};
use crate::plan::{Fp8Scales, MatmulShape, Operands, Plan, Split, Tile};

/// Columns of the unit that 4-bit codes are stored in, and its rows.
const INT4_UNIT: [u64; 2] = [16, 64];
/// Columns and rows that share a scale in fp8.
const FP8_BLOCK: u64 = FP8_GROUP_COLUMNS as u64;

/// A matrix product: a multiply and an add for each of m * n * k; reads x, the weight, their scales and the bias, writes out.
pub fn matmul(shape: &MatmulShape) -> Cost {
    let &MatmulShape { m, n, k, .. } = shape;
    if m == 0 {
        return Cost::default();
    }
    let written = out_bytes(shape);
    let bytes = x_bytes(shape) + weight_bytes(shape) + bias_bytes(shape) + written;
    Cost { flops: 2 * m as u64 * n as u64 * k as u64, bytes, written }
}

/// Bytes that the blocks of a matrix product ask for: each tile its rows of x and of the weight, and its partial sums where
/// blocks share it.
pub fn matmul_tile(plan: &Plan, shape: &MatmulShape) -> u64 {
    let Some(tile) = plan.tile else { return matmul(shape).bytes };
    let [m, n] =
        [(shape.m, tile.m), (shape.n, tile.n)].map(|(size, tile)| size.div_ceil(tile as usize) as u64);
    let loaded = x_bytes(shape) * n + (tile_weight_bytes(shape, u64::from(tile.k)) + bias_bytes(shape)) * m;
    loaded + sector_bytes(tile, shape) + out_bytes(shape) + matmul_partials(plan, shape)
}

/// What kernels for few tokens load beside the scales of blocks: one by one, each in a sector of its own.
fn sector_bytes(tile: Tile, shape: &MatmulShape) -> u64 {
    const SECTOR: u64 = 32;
    let Operands::Fp8 { x: Fp8Scales::Block, .. } = shape.operands else { return 0 };
    if tile.m > MATMUL_STREAM_M16_TOKENS {
        return 0;
    }
    let units = shape.n.div_ceil(tile.n as usize) as u64 * (shape.k as u64).div_ceil(FP8_BLOCK);
    (shape.m as u64 + 1) * units * (SECTOR - SCALE)
}

/// Of these, the bytes of partial sums of tiles that blocks share, written and read.
pub fn matmul_partials(plan: &Plan, shape: &MatmulShape) -> u64 {
    let Some(tile) = plan.tile else { return 0 };
    let [m, n, k] = [(shape.m, tile.m), (shape.n, tile.n), (shape.k, tile.k)]
        .map(|(size, tile)| size.div_ceil(tile as usize) as u64);
    let split = Split::new(m * n, k, u64::from(plan.launch.grid[0])).filter(|_| plan.splits > 1);
    let partials = split.map_or(0, |split| 2 * split.partials());
    partials * u64::from(tile.m) * u64::from(tile.n) * size_of::<f32>() as u64
}

fn x_bytes(shape: &MatmulShape) -> u64 {
    let (m, k) = (shape.m as u64, shape.k as u64);
    match shape.operands {
        Operands::Native | Operands::Int4 { .. } => ELEMENT * m * k,
        Operands::Fp8 { x, .. } => {
            let scales = match x {
                Fp8Scales::Tensor => 1,
                Fp8Scales::Row => m,
                Fp8Scales::Block => m * k.div_ceil(FP8_BLOCK),
            };
            m * k + SCALE * scales
        }
    }
}

fn weight_bytes(shape: &MatmulShape) -> u64 {
    let (n, k) = (shape.n as u64, shape.k as u64);
    match shape.operands {
        Operands::Native => ELEMENT * n * k,
        Operands::Int4 { group, zeros } => {
            let groups = k / (group as u64).max(1);
            int4_codes(shape) + int4_rows(shape) * groups * int4_scale(zeros)
        }
        Operands::Fp8 { weight, .. } => {
            let scales = match weight {
                Fp8Scales::Tensor => 1,
                Fp8Scales::Row => n,
                Fp8Scales::Block => n.div_ceil(FP8_BLOCK) * k.div_ceil(FP8_BLOCK),
            };
            n * k + SCALE * scales
        }
    }
}

/// What the tiles of one row of tiles load, so many columns at a time: scales of 4-bit codes anew each time.
fn tile_weight_bytes(shape: &MatmulShape, columns: u64) -> u64 {
    match shape.operands {
        Operands::Int4 { group, zeros } => {
            let k = shape.k as u64;
            let groups = if (group as u64) < columns { k / group as u64 } else { k.div_ceil(columns) };
            int4_codes(shape) + int4_rows(shape) * groups * int4_scale(zeros)
        }
        Operands::Native | Operands::Fp8 { .. } => weight_bytes(shape),
    }
}

/// Codes come in whole units.
fn int4_codes(shape: &MatmulShape) -> u64 {
    let [_, columns] = INT4_UNIT;
    int4_rows(shape) * (shape.k as u64).next_multiple_of(columns) / 2
}

fn int4_rows(shape: &MatmulShape) -> u64 {
    let [rows, _] = INT4_UNIT;
    (shape.n as u64).next_multiple_of(rows)
}

/// Bytes of a group's scale and zero.
fn int4_scale(zeros: bool) -> u64 {
    if zeros { 2 * ELEMENT } else { ELEMENT }
}

fn bias_bytes(shape: &MatmulShape) -> u64 {
    if shape.bias { ELEMENT * shape.n as u64 } else { 0 }
}

fn out_bytes(shape: &MatmulShape) -> u64 {
    let elements = shape.m as u64 * shape.out_width() as u64;
    if shape.quantized {
        return elements + SCALE * elements / FP8_BLOCK;
    }
    let element = if shape.out_f32 { size_of::<f32>() as u64 } else { ELEMENT };
    elements * element
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(operands: Operands) -> u64 {
        let shape = MatmulShape { m: 3, n: 24, k: 1024, operands, ..MatmulShape::default() };
        matmul(&shape).bytes - out_bytes(&shape)
    }

    /// By hand, for `[3, 1024] x [24, 1024]`; 24 rows are two units of 16.
    #[test]
    fn formats_cost_their_bytes() {
        assert_eq!(bytes(Operands::Native), 2 * (3 + 24) * 1024);
        let x = 2 * 3 * 1024;
        assert_eq!(bytes(Operands::Int4 { group: 128, zeros: false }), x + 32 * 512 + 32 * 8 * 2);
        assert_eq!(bytes(Operands::Int4 { group: 32, zeros: true }), x + 32 * 512 + 32 * 32 * 4);
        assert_eq!(bytes(Operands::Int4 { group: 1024, zeros: false }), x + 32 * 512 + 32 * 2);
        let fp8 = |x, weight| bytes(Operands::Fp8 { x, weight, fast_accumulation: false });
        assert_eq!(fp8(Fp8Scales::Tensor, Fp8Scales::Tensor), 27 * 1024 + 8);
        assert_eq!(fp8(Fp8Scales::Row, Fp8Scales::Row), 27 * 1024 + 4 * 27);
        assert_eq!(fp8(Fp8Scales::Block, Fp8Scales::Block), 27 * 1024 + 4 * (3 * 8 + 8));
        // 80 columns are two units of 64; of the second one there is nothing else.
        let shape = MatmulShape {
            m: 1,
            n: 16,
            k: 80,
            operands: Operands::Int4 { group: 80, zeros: false },
            ..MatmulShape::default()
        };
        assert_eq!(matmul(&shape).bytes, 160 + 16 * 64 + 32 + 32);
    }
}
