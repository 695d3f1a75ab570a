//! Cases of the kernels that do one thing alone: what they reach counts only if they do it.

use super::Case;
use super::memory::Operand;
use super::problem::{Expected, Outcome, Problem};
use super::values::{ACTIVATIONS, Rng, encode};
use crate::Result;
use crate::gpu::Stream;
use crate::ops::{self, CEILING_MMA, CEILING_WGMMA, CeilingShape, CeilingTensor};
use crate::params::{CEILING_THREADS, CEILING_VECTORS_PER_THREAD};
use crate::plan::{self, Kernel};
use crate::tensor::DType;

const OP: &str = "ceiling";
/// Vectors that a block takes at a time.
const TILE: usize = (CEILING_THREADS * CEILING_VECTORS_PER_THREAD) as usize;
const WORDS: usize = 4;

/// Vectors: none, one, both sides of a warp, of a block's threads and of a tile, and of a round of three blocks.
const VECTORS: [usize; 12] =
    [0, 1, 31, 33, 255, 257, TILE - 1, TILE, TILE + 1, 3 * TILE - 255, 3 * TILE + 1, 7 * TILE + 300];
/// Blocks at most: one for all tiles, three in turns, one a tile.
const MOST_BLOCKS: [usize; 3] = [1, 3, usize::MAX];
/// Blocks and rounds of a product.
const PRODUCTS: [[usize; 2]; 5] = [[0, 4], [1, 0], [1, 4], [3, 4], [2, 12]];

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for vectors in VECTORS {
        for most_blocks in MOST_BLOCKS {
            let blocks = match most_blocks {
                usize::MAX => "a block a tile".to_string(),
                blocks => format!("{blocks} blocks at most"),
            };
            cases.push(Case::new(OP, format!("read of {vectors} vectors, {blocks}"), move || {
                read(vectors, most_blocks)
            }));
            cases.push(Case::new(OP, format!("copy of {vectors} vectors, {blocks}"), move || {
                copy(vectors, most_blocks)
            }));
        }
    }
    for dtype in ACTIVATIONS {
        for [blocks, rounds] in PRODUCTS {
            let name = |how| format!("{dtype} {how} of {blocks} blocks, {rounds} rounds");
            cases.push(Case::new(OP, name("mma"), move || {
                product(dtype, CEILING_MMA, [blocks, rounds], ops::ceiling_mma)
            }));
            let kernel = match dtype {
                DType::BF16 => Kernel::CeilingSm90WgmmaBf16,
                _ => Kernel::CeilingSm90WgmmaF16,
            };
            let wgmma = Case::new(OP, name("wgmma"), move || {
                product(dtype, CEILING_WGMMA, [blocks, rounds], ops::ceiling_wgmma)
            });
            cases.push(wgmma.of(kernel));
        }
    }
    cases.push(Case::new(OP, "nothing", || {
        Ok(Problem {
            operands: Vec::new(),
            call: Box::new(|stream, _| ops::ceiling_empty(stream)),
            outcome: Outcome::Launches(1),
        })
    }));
    cases
}

fn words(vectors: usize) -> Vec<u32> {
    let mut rng = Rng(vectors as u64);
    (0..vectors * WORDS).map(|_| rng.next() as u32).collect()
}

fn source(words: &[u32]) -> Operand {
    Operand::input(
        "source",
        DType::F32,
        &[words.len()],
        words.iter().flat_map(|word| word.to_le_bytes()).collect(),
    )
}

/// Each block's exclusive or of the words of its tiles.
fn read(vectors: usize, most_blocks: usize) -> Result<Problem> {
    let words = words(vectors);
    let blocks = plan::ceiling_read(vectors, most_blocks)?.map_or(0, |plan| plan.launch.grid[0] as usize);
    let mut parities = vec![0u32; blocks];
    for (tile, words) in words.chunks(TILE * WORDS).enumerate() {
        parities[tile % blocks] ^= words.iter().fold(0, |parity, word| parity ^ word);
    }
    let parities = Expected::Bits(parities.iter().flat_map(|parity| parity.to_le_bytes()).collect());
    Ok(Problem {
        operands: vec![source(&words), Operand::output("out", DType::U32, &[blocks], parities)],
        call: Box::new(move |stream, memory| {
            ops::ceiling_read(stream, &memory.read("source")?, &memory.write("out")?, most_blocks)
        }),
        outcome: Outcome::Launches(u64::from(vectors > 0)),
    })
}

fn copy(vectors: usize, most_blocks: usize) -> Result<Problem> {
    let words = words(vectors);
    let copied = Expected::Bits(words.iter().flat_map(|word| word.to_le_bytes()).collect());
    Ok(Problem {
        operands: vec![source(&words), Operand::output("out", DType::F32, &[words.len()], copied)],
        call: Box::new(move |stream, memory| {
            ops::ceiling_copy(stream, &memory.read("source")?, &memory.write("out")?, most_blocks)
        }),
        outcome: Outcome::Launches(u64::from(vectors > 0)),
    })
}

/// Products of whole numbers from -4 to 4, whose sums f32 holds exactly in any order.
fn product(
    dtype: DType,
    shape: CeilingShape,
    [blocks, rounds]: [usize; 2],
    op: fn(&Stream, &CeilingTensor<'_>) -> Result<()>,
) -> Result<Problem> {
    let CeilingShape { m, n, k, products } = shape;
    let mut rng = Rng((blocks * 100 + rounds) as u64);
    let mut matrix = |rows: usize| -> Vec<f64> { (0..rows * k).map(|_| rng.below(9) as f64 - 4.0).collect() };
    let (a, b) = (matrix(m), matrix(n));
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>() * rounds as f64;
    // A sum that starts at 0 is never -0.
    let one: Vec<f64> = a.chunks(k).flat_map(|a| b.chunks(k).map(move |b| dot(a, b) + 0.0)).collect();
    let out = encode(DType::F32, &one).repeat(products * blocks);
    Ok(Problem {
        operands: vec![
            Operand::input("a", dtype, &[m * k], encode(dtype, &a)),
            Operand::input("b", dtype, &[n * k], encode(dtype, &b)),
            Operand::output("out", DType::F32, &[products * blocks * m * n], Expected::Bits(out)),
        ],
        call: Box::new(move |stream, memory| {
            let (a, b, out) = (memory.read("a")?, memory.read("b")?, memory.write("out")?);
            op(stream, &CeilingTensor { a, b, out, rounds })
        }),
        outcome: Outcome::Launches(u64::from(blocks > 0)),
    })
}
