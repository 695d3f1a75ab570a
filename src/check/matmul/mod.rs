//! Cases of the matrix products: what the plans choose, and every kernel on shapes at its edges.

mod fp8;
mod int4;
mod problem;

use super::Case;
use super::memory::{Memory, Operand};
use super::values::{ACTIVATIONS, encode};
use crate::Result;
use crate::backend::Epilogue;
use crate::gpu::Stream;
use crate::ops::{self, Matmul};
use crate::params::MATMUL_STREAM_M16_TOKENS;
use crate::plan::{MatmulShape, Operands};
use crate::tensor::DType;
use problem::{Call, Draw, Format, Kind, Path, Stored, name, problem, row_of_first_part};

pub(super) use fp8::{cases as fp8_cases, model_cases as fp8_model_cases};
pub(super) use int4::{cases as int4_cases, model_cases as int4_model_cases};

/// Bytes of workspace that are enough for small shapes.
const WORKSPACE: usize = 4 << 20;

/// As much as a plan asks for on any device with a few hundred multiprocessors.
const MODEL_WORKSPACE: usize = 64 << 20;

/// All tiles of [`plan::matmul_candidates`](crate::plan::matmul_candidates).
const TILES: [[u32; 3]; 7] =
    [[8, 32, 64], [16, 32, 64], [128, 256, 64], [128, 256, 32], [128, 128, 64], [64, 128, 64], [64, 64, 128]];

/// Both operands in one 16-bit type.
#[derive(Clone, Copy, Debug)]
struct Native;

impl Format for Native {
    const OP: &'static str = "matmul";

    fn operands(self, _: usize) -> Operands {
        Operands::Native
    }

    fn name(self) -> String {
        String::new()
    }

    fn weight(self, shape: &MatmulShape, draw: &mut Draw) -> Result<Stored> {
        let &MatmulShape { n, k, .. } = shape;
        let mut numbers = draw.numbers(n * k, 2.0 / (k as f64).sqrt());
        if draw.kind == Kind::NotFinite {
            // In one row of the first part each, where a zero meets infinity in the last token.
            for (row, column, value) in
                [(1, 5, f64::INFINITY), (4, 2, f64::NAN), (9, k - 1, f64::NEG_INFINITY)]
            {
                numbers[row_of_first_part(shape, row) * k + column] = value;
            }
        }
        let operand = Operand::input("weight", draw.dtype, &[n, k], encode(draw.dtype, &numbers));
        Ok(Stored { numbers, operands: vec![operand] })
    }

    fn call(self, stream: &Stream, memory: &Memory<'_>, call: Call<'_>) -> Result<()> {
        let Call { path, bias, epilogue, workspace, out } = call;
        let batch_invariant = path == Path::Invariant;
        let (x, weight) = (memory.read("x")?, memory.read("weight")?);
        let args = Matmul { x, weight, bias, epilogue, batch_invariant, workspace, out };
        let limits = stream.device().properties().limits();
        ops::matmul_by(stream, &args, |dtype, shape, bytes| path.plan(dtype, shape, bytes, &limits))
    }
}

/// How many tokens a kernel takes.
fn most_tokens([tokens, ..]: [u32; 3]) -> usize {
    if tokens <= MATMUL_STREAM_M16_TOKENS { tokens as usize } else { usize::MAX }
}

/// A case of a product.
fn case(format: impl Format, dtype: DType, shape: MatmulShape, path: Path, kind: Kind) -> Case {
    fn op<F: Format>(_: F) -> &'static str {
        F::OP
    }
    let name = name(format, dtype, &shape, path, kind);
    Case::new(op(format), name, move || problem(format, dtype, shape, path, kind))
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for dtype in ACTIVATIONS {
        let mut case = |shape: MatmulShape, path, kind| cases.push(case(Native, dtype, shape, path, kind));
        // Every kernel, at the edges of its tile: rows, columns and K past the end of what is whole.
        for tile in TILES {
            let path = Path::Tile(tile);
            let most = most_tokens(tile);
            for (m, n, k) in [(129, 257, 80), (65, 113, 264), (5, 7, 8)] {
                case(sums(m.min(most), n, k), path, Kind::Exact);
            }
            case(sums(33.min(most), 97, 280), path, Kind::Plain);
            case(f32_out(biased(sums(66.min(most), 131, 48))), path, Kind::Exact);
            case(biased(sums(18.min(most), 1001, 80)), path, Kind::Exact);
            case(biased(swiglu(35.min(most), 144, 80)), path, Kind::Plain);
            case(f32_out(swiglu(3, 272, 48)), path, Kind::Plain);
            case(sums(130.min(most), 72, 80), path, Kind::Strided);
            case(sums(90.min(most), 200, 80), path, Kind::Sampled);
            case(swiglu(90.min(most), 400, 80), path, Kind::Sampled);
            case(sums(3, 40, 48), path, Kind::NotFinite);
            case(swiglu(3, 48, 48), path, Kind::NotFinite);
        }
        // Tiles that blocks share: several a tile and several tiles a block, at all places of a tile.
        for tile in TILES {
            let most = most_tokens(tile);
            for (blocks, (m, n, k)) in [(2, (5, 7, 264)), (5, (129, 257, 400)), (7, (65, 520, 1032))] {
                case(sums(m.min(most), n, k), Path::Shared(tile, blocks), Kind::Exact);
            }
            case(f32_out(biased(swiglu(70.min(most), 272, 520))), Path::Shared(tile, 6), Kind::Plain);
            case(sums(3, 40, 272), Path::Shared(tile, 2), Kind::NotFinite);
        }
        for m in [1, 17, 40] {
            case(sums(m, 113, 1040), Path::PlannedWith(WORKSPACE), Kind::Exact);
        }
        case(sums(20, 64, 264), Path::PlannedWith(WORKSPACE), Kind::Misaligned("workspace"));
        // What the plan takes for so many tokens.
        for m in [0, 1, 3, 8, 9, 16, 17, 33, 64, 65, 129] {
            case(sums(m, 113, 272), Path::Planned, Kind::Exact);
        }
        for (m, n, k) in [(1, 1, 8), (2, 7, 40), (17, 1, 16), (64, 97, 112), (1, 64, 4096), (9, 24, 2056)] {
            case(sums(m, n, k), Path::Planned, Kind::Plain);
        }
        for m in [0, 1, 9, 65] {
            case(biased(sums(m, 72, 80)), Path::Invariant, Kind::Plain);
        }
        for m in [3, 20] {
            for operand in ["x", "weight", "out"] {
                case(sums(m, 16, 48), Path::Planned, Kind::Far(operand));
            }
        }
        for operand in ["x", "weight", "bias", "out"] {
            case(biased(sums(3, 16, 48)), Path::Planned, Kind::Misaligned(operand));
        }
        case(f32_out(sums(3, 16, 48)), Path::Planned, Kind::Misaligned("out"));
    }
    // More rows than a section of the raster has.
    for tile in &TILES[2..] {
        let shape = sums(2100, 300, 16);
        let (path, kind) = (Path::Tile(*tile), Kind::Exact);
        cases.push(case(Native, DType::BF16, shape, path, kind));
    }
    cases
}

/// The products of Llama 3 8B and 70B: decoded tokens, alone and in batches, and a prompt.
pub(super) fn model_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (dtype, hidden, q_width, intermediate) in
        [(DType::BF16, 4096, 4096, 14336), (DType::F16, 8192, 8192, 28672)]
    {
        for m in [1, 16, 64, 256, 2048] {
            let mut shapes = vec![
                sums(m, q_width + 2048, hidden),
                sums(m, hidden, q_width),
                swiglu(m, 2 * intermediate, hidden),
                sums(m, hidden, intermediate),
            ];
            if m <= 256 {
                shapes.push(f32_out(sums(m, 128_256, hidden)));
            }
            for shape in shapes {
                let (path, kind) = (Path::PlannedWith(MODEL_WORKSPACE), Kind::Sampled);
                cases.push(case(Native, dtype, shape, path, kind));
            }
        }
    }
    cases
}

fn sums(m: usize, n: usize, k: usize) -> MatmulShape {
    MatmulShape { m, n, k, ..MatmulShape::default() }
}

fn swiglu(m: usize, n: usize, k: usize) -> MatmulShape {
    MatmulShape { epilogue: Epilogue::SwiGlu, ..sums(m, n, k) }
}

fn biased(shape: MatmulShape) -> MatmulShape {
    MatmulShape { bias: true, ..shape }
}

fn f32_out(shape: MatmulShape) -> MatmulShape {
    MatmulShape { out_f32: true, ..shape }
}

#[cfg(all(test, feature = "sim"))]
mod tests {
    use super::*;
    use crate::cost;
    use crate::device::DeviceChoice;
    use crate::gpu::Device;
    use crate::plan::{self, Limits};

    /// The tiles of all kernels for products like this.
    pub(super) fn tiles_of(shape: &MatmulShape) -> Vec<[u32; 3]> {
        let limits = Limits { num_sms: 132, shared_memory_per_block: 227 << 10 };
        let plans = plan::matmul_candidates(DType::F16, shape, &limits).unwrap();
        plans.iter().filter_map(|plan| plan.tile).map(|tile| [tile.m, tile.n, tile.k]).collect()
    }

    /// A kernel that is compiled but has no cases of its own would be noticed here.
    #[test]
    fn cases_name_every_candidate() {
        assert_eq!(tiles_of(&sums(3, 64, 64)), TILES);
    }

    /// What each kernel moves, counted by the simulated GPU, is what `cost` says of it; no bank of shared memory is in
    /// conflict; and the tensor cores do no more than the tiles.
    #[test]
    #[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
    fn every_kernel_moves_the_bytes_of_its_tiles() {
        for tile in TILES {
            let (m, k) = if most_tokens(tile) < 128 { (most_tokens(tile), 2048) } else { (128, 128) };
            for shape in [sums(m, 512, k), biased(sums(m, 256, k)), f32_out(swiglu(m, 256, k))] {
                moves_the_bytes_of_its_tiles(Native, shape, tile, 1);
            }
        }
        for tile in TILES {
            moves_the_bytes_of_its_tiles(Native, sums(most_tokens(tile).min(128), 512, 512), tile, 5);
        }
    }

    /// With tiles that `blocks` blocks share, if that is more than 1.
    pub(super) fn moves_the_bytes_of_its_tiles(
        format: impl Format,
        shape: MatmulShape,
        tile: [u32; 3],
        blocks: u64,
    ) {
        let device = Device::open(DeviceChoice::SIM).unwrap();
        let stream = device.new_stream().unwrap();
        let path = if blocks > 1 { Path::Shared(tile, blocks) } else { Path::Tile(tile) };
        let problem = problem(format, DType::BF16, shape, path, Kind::Plain).unwrap();
        let mut memory = Memory::allocate(&device, &problem.operands, true).unwrap();
        memory.initialise().unwrap();
        (problem.call)(&stream, &memory).unwrap();
        let shape = MatmulShape { operands: format.operands(shape.k), ..shape };
        let limits = device.properties().limits();
        let plan = path.plan(DType::BF16, &shape, usize::MAX, &limits).unwrap().unwrap();
        let counters = &stream.reports().unwrap().unwrap()[0].counters;

        let (read, written) = (&counters.global_read, &counters.global_written);
        if blocks == 1 {
            assert_eq!(read.unique_bytes + written.unique_bytes, cost::matmul(&shape).bytes, "{plan}");
        } else {
            assert!(plan.splits > 1, "{plan}");
        }
        let (issued, expected) = (read.issued_bytes + written.issued_bytes, cost::matmul_tile(&plan, &shape));
        assert!(issued.abs_diff(expected) * 20 <= expected, "{plan}: {issued} bytes instead of {expected}");
        assert_eq!(counters.shared_read.conflicts + counters.shared_written.conflicts, 0, "{plan}");
        assert_eq!(counters.tensor_flops["bf16"], cost::matmul(&shape).flops, "{plan}");
    }
}
