//! Cases of `matmul_int4`, compared with the product of the weight that its codes stand for.

use super::super::memory::{Memory, Operand};
use super::super::values::{ACTIVATIONS, decode, encode};
use super::problem::{Call, Draw, Format, Kind, Path, Stored};
use super::{Case, MODEL_WORKSPACE, WORKSPACE, biased, case, f32_out, most_tokens, sums, swiglu};
use crate::Result;
use crate::gpu::{Stream, TensorRef};
use crate::ops::{self, Int4Ref, MatmulInt4};
use crate::plan::{MatmulShape, Operands};
use crate::quant::int4::{GroupSize, Int4, Int4Parts, Packed};
use crate::tensor::DType;

/// All tiles of its kernels.
const TILES: [[u32; 3]; 5] = [[8, 64, 128], [16, 128, 64], [128, 256, 64], [64, 128, 64], [32, 256, 64]];

/// Rows that scales come in.
const TILE: usize = 16;

const GROUPS: [GroupSize; 4] = [GroupSize::Of32, GroupSize::Of64, GroupSize::Of128, GroupSize::Row];

/// What zeros a weight has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Zeros {
    None,
    /// From 0 to 16.
    Integer,
    Fractional,
    /// None, and scales so large that some codes, which the weight has none of, would be infinite in f16.
    Overflowing,
}

impl Zeros {
    fn stored(self) -> bool {
        matches!(self, Zeros::Integer | Zeros::Fractional)
    }
}

/// A 16-bit x with a weight in 4-bit codes.
#[derive(Clone, Copy, Debug)]
struct Codes {
    n: usize,
    k: usize,
    group: GroupSize,
    zeros: Zeros,
    /// Of the scales, where it is not x's.
    scales: Option<DType>,
}

impl Format for Codes {
    const OP: &'static str = "matmul_int4";

    fn operands(self, k: usize) -> Operands {
        Operands::Int4 { group: self.group.columns(k), zeros: self.zeros.stored() }
    }

    fn name(self) -> String {
        let group = match self.group {
            GroupSize::Row => "row".to_string(),
            group => group.columns(0).to_string(),
        };
        let zeros = match self.zeros {
            Zeros::None => "",
            Zeros::Integer => ", zeros",
            Zeros::Fractional => ", fractional zeros",
            Zeros::Overflowing => ", overflowing codes",
        };
        let scales = self.scales.map_or(String::new(), |dtype| format!(", scales in {dtype}"));
        format!(" g{group}{zeros}{scales}")
    }

    fn weight(self, shape: &MatmulShape, draw: &mut Draw) -> Result<Stored> {
        let &MatmulShape { n, k, .. } = shape;
        let dtype = self.scales.unwrap_or(draw.dtype);
        let groups = n * (k / self.group.columns(k));
        let exact = draw.kind == Kind::Exact;
        let bits = |values: Vec<f64>| -> Vec<u16> {
            encode(dtype, &values).chunks(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect()
        };
        // Integers stay integers; else the weights are about as large as those of the 16-bit cases.
        let deviation = 0.5 / (k as f64).sqrt();
        let scales = (0..groups).map(|_| {
            let sign = if draw.rng.below(4) == 0 { -1.0 } else { 1.0 };
            let magnitude = match (self.zeros, exact) {
                (Zeros::Overflowing, _) => 9000.0,
                (_, true) => 2.0,
                (_, false) => deviation * (0.5 + draw.rng.below(1000) as f64 / 1000.0),
            };
            sign * magnitude
        });
        let scales = bits(scales.collect());
        let zeros = match self.zeros {
            Zeros::None | Zeros::Overflowing => None,
            Zeros::Integer => Some(bits((0..groups).map(|_| draw.rng.below(17) as f64).collect())),
            Zeros::Fractional => Some(bits((0..groups).map(|_| draw.rng.below(33) as f64 / 2.0).collect())),
        };
        let code = |draw: &mut Draw| match self.zeros {
            Zeros::Overflowing => 3 + draw.rng.below(11) as u8,
            _ => draw.rng.below(16) as u8,
        };
        let codes = (0..n * k / 2).map(|_| code(draw) | code(draw) << 4).collect();
        let int4 = Int4::new(Int4Parts { n, k, group_size: self.group, dtype, codes, scales, zeros })?;
        let numbers = decode(draw.dtype, &int4.dequantize("weight", draw.dtype)?.data);
        let packed = Packed::new(&int4);
        let scales = packed.scales().iter().flat_map(|bits| bits.to_le_bytes()).collect::<Vec<u8>>();
        let shape = packed.scales_shape();
        let operands = vec![
            Operand::input("codes", DType::U8, &[packed.codes().len()], packed.codes().to_vec()),
            Operand::input("scales", dtype, &[shape.iter().product()], scales),
        ];
        Ok(Stored { numbers, operands })
    }

    fn call(self, stream: &Stream, memory: &Memory<'_>, call: Call<'_>) -> Result<()> {
        let Call { path, bias, epilogue, workspace, out } = call;
        let Codes { n, k, group, zeros, .. } = self;
        // Operands have two dimensions at most.
        let scales = memory.read("scales")?;
        let groups = k / group.columns(k);
        let shape = [n.div_ceil(TILE), groups, 1 + usize::from(zeros.stored()), TILE];
        let strides = [groups * shape[2] * TILE, shape[2] * TILE, TILE, 1];
        // SAFETY: the same elements, as many.
        let scales = unsafe {
            TensorRef::from_raw(stream.device(), scales.address(), scales.dtype(), &shape, &strides)
        }?;
        let codes = memory.read("codes")?;
        let weight = Int4Ref { n, k, codes, scales, integer_zeros: zeros != Zeros::Fractional };
        let batch_invariant = path == Path::Invariant;
        let args =
            MatmulInt4 { x: memory.read("x")?, weight, bias, epilogue, batch_invariant, workspace, out };
        let limits = stream.device().properties().limits();
        ops::matmul_int4_by(stream, &args, |dtype, shape, bytes| path.plan(dtype, shape, bytes, &limits))
    }
}

/// A weight of this shape, with scales of x's type and no zeros.
fn codes(shape: &MatmulShape, group: GroupSize) -> Codes {
    Codes { n: shape.n, k: shape.k, group, zeros: Zeros::None, scales: None }
}

pub(in super::super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for dtype in ACTIVATIONS {
        let other = ACTIVATIONS.into_iter().find(|other| *other != dtype);
        // Every tile with every group, at its edges, with every kind of zeros and scales.
        for tile in TILES {
            let (path, most) = (Path::Tile(tile), most_tokens(tile));
            for group in GROUPS {
                // A row of no whole number of units, or steps in pairs.
                let k = if group == GroupSize::Row { 208 } else { 384 };
                let shape = sums(37.min(most), 264, k);
                let symmetric = codes(&shape, group);
                for (zeros, scales) in [
                    (Zeros::None, None),
                    (Zeros::Integer, None),
                    (Zeros::Fractional, None),
                    (Zeros::None, other),
                    (Zeros::Integer, other),
                ] {
                    cases.push(case(Codes { zeros, scales, ..symmetric }, dtype, shape, path, Kind::Exact));
                }
                let shape = biased(swiglu(18.min(most), 272, k));
                cases.push(case(codes(&shape, group), dtype, shape, path, Kind::Plain));
            }
        }
        for tile in TILES {
            let (path, most) = (Path::Tile(tile), most_tokens(tile));
            let mut of = |group, zeros, shape: MatmulShape, path, kind| {
                cases.push(case(Codes { zeros, ..codes(&shape, group) }, dtype, shape, path, kind));
            };
            of(GroupSize::Of32, Zeros::None, sums(130.min(most), 72, 96), path, Kind::Strided);
            of(GroupSize::Row, Zeros::Fractional, sums(5, 8, 16), path, Kind::Plain);
            // What stands behind the last column is no infinity.
            of(GroupSize::Row, Zeros::Overflowing, f32_out(sums(5, 24, 80)), path, Kind::Exact);
            of(
                GroupSize::Of128,
                Zeros::Integer,
                f32_out(biased(sums(66.min(most), 136, 256))),
                path,
                Kind::Exact,
            );
            of(GroupSize::Of128, Zeros::None, f32_out(swiglu(3, 272, 128)), path, Kind::Plain);
            of(GroupSize::Of64, Zeros::None, sums(3, 40, 64), path, Kind::NotFinite);
            of(GroupSize::Of128, Zeros::None, sums(90.min(most), 400, 256), path, Kind::Sampled);
            for (blocks, (m, n, k)) in [(2, (5, 8, 256)), (5, (129, 264, 512)), (7, (65, 520, 1024))] {
                of(
                    GroupSize::Of128,
                    Zeros::Integer,
                    sums(m.min(most), n, k),
                    Path::Shared(tile, blocks),
                    Kind::Exact,
                );
            }
            let shared = Path::Shared(tile, 6);
            of(
                GroupSize::Of32,
                Zeros::None,
                f32_out(biased(swiglu(70.min(most), 272, 544))),
                shared,
                Kind::Plain,
            );
        }
        let mut of = |shape: MatmulShape, path, kind| {
            cases.push(case(codes(&shape, GroupSize::Of128), dtype, shape, path, kind));
        };
        // What the plan takes for so many tokens.
        for m in [0, 1, 3, 8, 9, 16, 17, 33, 64, 65, 129] {
            of(sums(m, 120, 256), Path::Planned, Kind::Exact);
        }
        for m in [1, 9, 17, 40] {
            of(sums(m, 120, 1024), Path::PlannedWith(WORKSPACE), Kind::Exact);
        }
        for m in [0, 1, 9, 65] {
            of(biased(sums(m, 72, 128)), Path::Invariant, Kind::Plain);
        }
        for m in [3, 20] {
            for operand in ["x", "out"] {
                of(sums(m, 16, 128), Path::Planned, Kind::Far(operand));
            }
        }
        for operand in ["x", "codes", "scales", "bias", "out"] {
            of(biased(sums(3, 16, 128)), Path::Planned, Kind::Misaligned(operand));
        }
        of(sums(20, 64, 256), Path::PlannedWith(WORKSPACE), Kind::Misaligned("workspace"));
    }
    // More rows than a section of the raster has.
    for tile in TILES.into_iter().filter(|&tile| most_tokens(tile) == usize::MAX) {
        let shape = sums(2100, 304, 32);
        let format = codes(&shape, GroupSize::Of32);
        cases.push(case(format, DType::BF16, shape, Path::Tile(tile), Kind::Exact));
    }
    cases
}

/// The products of Llama 3 8B and 70B in groups of 128: decoded tokens, alone and in batches, and a prompt.
pub(in super::super) fn model_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (dtype, hidden, q_width, intermediate) in
        [(DType::BF16, 4096, 4096, 14336), (DType::F16, 8192, 8192, 28672)]
    {
        for m in [1, 16, 32, 256, 2048] {
            for shape in [
                sums(m, q_width + 2048, hidden),
                sums(m, hidden, q_width),
                swiglu(m, 2 * intermediate, hidden),
                sums(m, hidden, intermediate),
            ] {
                let format = codes(&shape, GroupSize::Of128);
                cases.push(case(format, dtype, shape, Path::PlannedWith(MODEL_WORKSPACE), Kind::Sampled));
            }
        }
    }
    cases
}

#[cfg(all(test, feature = "sim"))]
mod tests {
    use super::super::tests::{moves_the_bytes_of_its_tiles, tiles_of};
    use super::*;

    /// A kernel that is compiled but has no cases of its own would be noticed here.
    #[test]
    fn cases_name_every_candidate() {
        let shape = MatmulShape {
            operands: codes(&sums(3, 64, 128), GroupSize::Of128).operands(128),
            ..sums(3, 64, 128)
        };
        assert_eq!(tiles_of(&shape), TILES);
    }

    /// As for 16-bit weights: bytes, bank conflicts, tensor cores.
    #[test]
    #[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
    fn every_kernel_moves_the_bytes_of_its_tiles() {
        for tile in TILES {
            let (m, k) = if most_tokens(tile) < 128 { (most_tokens(tile), 2048) } else { (128, 128) };
            for (group, zeros) in [
                (GroupSize::Of128, Zeros::None),
                (GroupSize::Of32, Zeros::Integer),
                (GroupSize::Row, Zeros::Fractional),
            ] {
                for (shape, blocks) in [(sums(m, 512, k), 1), (f32_out(swiglu(m, 256, 512)), 5)] {
                    let format = Codes { zeros, ..codes(&shape, group) };
                    moves_the_bytes_of_its_tiles(format, shape, tile, blocks);
                }
            }
        }
    }
}
