//! Cases of `matmul_fp8`: what the plans choose, and every kernel on shapes at its edges, with all kinds of scales.

use super::super::Case;
use super::super::memory::Operand;
use super::super::problem::{Call, Expected, Outcome, Problem};
use super::super::values::{ACTIVATIONS, Rng, bytes, cpu, encode, spread};
use super::problem::{FAR, Kind, PERIOD, Path, special, workspace};
use super::{MODEL_WORKSPACE, WORKSPACE, most_tokens};
use crate::Result;
use crate::backend::{self, Activation, ActivationMut, Backend, Epilogue, RowOrder};
use crate::ops::{self, Fp8Mut, Fp8Out, Fp8Ref, MatmulFp8, QuantizeFp8};
use crate::params::{FP8_GROUP_COLUMNS, MATMUL_SWIGLU_BLOCK};
use crate::plan::{Fp8Scales, MatmulShape, Operands};
use crate::quant::fp8;
use crate::quant::fp8_blocks::Fp8Blocks;
use crate::quant::fp8_rows::Fp8Rows;
use crate::reference::{CpuBuffer, CpuWeight, Real};
use crate::tensor::{Bytes, DType, HostTensor, Tensor};

mod values;

use values::Values;

const OP: &str = "matmul_fp8";
const BLOCK: usize = FP8_GROUP_COLUMNS as usize;
const E4M3: DType = DType::F8E4M3;

/// All tiles of [`plan::matmul_candidates`](crate::plan::matmul_candidates).
const TILES: [[u32; 3]; 5] = [[8, 32, 128], [16, 32, 128], [128, 128, 128], [64, 256, 64], [64, 128, 128]];

/// Every kind of scales: x's, and the weight's.
const SCALES: [[Fp8Scales; 2]; 5] = [
    [Fp8Scales::Tensor, Fp8Scales::Tensor],
    [Fp8Scales::Tensor, Fp8Scales::Row],
    [Fp8Scales::Row, Fp8Scales::Tensor],
    ROWS,
    BLOCKS,
];
const ROWS: [Fp8Scales; 2] = [Fp8Scales::Row; 2];
const BLOCKS: [Fp8Scales; 2] = [Fp8Scales::Block; 2];

/// A product to compute.
#[derive(Clone, Copy, Debug)]
struct Product {
    /// The type of results that are not f32, and of the bias.
    dtype: DType,
    shape: MatmulShape,
    path: Path,
    kind: Kind,
}

pub(in super::super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for dtype in ACTIVATIONS {
        let mut case = |shape, path, kind| cases.push(Product { dtype, shape, path, kind }.case());
        // Every kernel with every kind of scales, at the edges of its tile: rows, columns and K past the end of what is whole.
        for tile in TILES {
            let (path, most) = (Path::Tile(tile), most_tokens(tile));
            for scales in SCALES {
                case(sums(129.min(most), 264, 144, scales), path, Kind::Exact);
                case(sums(33.min(most), 104, 1296, scales), path, Kind::Plain);
                case(biased(swiglu(35.min(most), 400, 272, scales)), path, Kind::Plain);
            }
            for scales in [ROWS, BLOCKS] {
                case(f32_out(biased(sums(66.min(most), 136, 400, scales))), path, Kind::Exact);
                case(f32_out(swiglu(3, 272, 160, scales)), path, Kind::Plain);
                case(fast(sums(65.min(most), 72, 528, scales)), path, Kind::Exact);
                case(sums(130.min(most), 72, 80, scales), path, Kind::Strided);
                case(sums(90.min(most), 200, 80, scales), path, Kind::Sampled);
                case(sums(3, 40, 48, scales), path, Kind::NotFinite);
            }
            // Tiles that blocks share: several a tile and several tiles a block, at all places of a tile.
            let shared = |blocks| Path::Shared(tile, blocks);
            for (blocks, (m, n, k)) in [(2, (5, 8, 528)), (5, (129, 264, 784)), (7, (65, 520, 2064))] {
                case(sums(m.min(most), n, k, ROWS), shared(blocks), Kind::Exact);
                case(sums(m.min(most), n, k, BLOCKS), shared(blocks), Kind::Exact);
            }
            case(f32_out(biased(swiglu(70.min(most), 272, 1040, BLOCKS))), shared(6), Kind::Plain);
            case(swiglu(90.min(most), 400, 80, ROWS), path, Kind::Sampled);
            case(swiglu(3, 48, 48, ROWS), path, Kind::NotFinite);
        }
        // What the plan takes for so many tokens.
        for m in [0, 1, 3, 8, 9, 16, 17, 33, 64, 65, 129] {
            case(sums(m, 120, 272, ROWS), Path::Planned, Kind::Exact);
            case(sums(m, 120, 272, BLOCKS), Path::Planned, Kind::Exact);
        }
        for m in [1, 17, 40] {
            case(sums(m, 120, 2064, ROWS), Path::PlannedWith(WORKSPACE), Kind::Exact);
        }
        case(sums(20, 64, 528, ROWS), Path::PlannedWith(WORKSPACE), Kind::Misaligned("workspace"));
        for (m, n, k) in [(1, 8, 16), (2, 16, 48), (17, 8, 32), (64, 96, 112), (1, 64, 4096), (9, 24, 2064)] {
            case(sums(m, n, k, ROWS), Path::Planned, Kind::Plain);
        }
        for m in [0, 1, 9, 65] {
            case(biased(sums(m, 72, 80, ROWS)), Path::Invariant, Kind::Plain);
        }
        // Results that are quantised themselves.
        for (m, n, scales) in [(0, 256, ROWS), (1, 256, BLOCKS), (65, 768, ROWS), (70, 512, BLOCKS)] {
            case(quantized(swiglu(m, n, 272, scales)), Path::Planned, Kind::Plain);
        }
        case(biased(quantized(swiglu(9, 512, 80, ROWS))), Path::Invariant, Kind::Strided);
        case(quantized(swiglu(9, 512, 784, BLOCKS)), Path::Shared([64, 256, 64], 3), Kind::Exact);
        case(quantized(swiglu(4, 256, 48, ROWS)), Path::Planned, Kind::NotFinite);
        for m in [3, 20] {
            for operand in ["x.codes", "weight.codes", "out"] {
                case(sums(m, 16, 48, ROWS), Path::Planned, Kind::Far(operand));
            }
        }
        for operand in ["x.scale", "weight.scale"] {
            case(sums(20, 264, 272, BLOCKS), Path::Planned, Kind::Far(operand));
        }
        for operand in ["x.codes", "x.scale", "weight.codes", "weight.scale", "bias", "out"] {
            case(biased(sums(3, 16, 48, ROWS)), Path::Planned, Kind::Misaligned(operand));
        }
        case(f32_out(sums(3, 16, 48, ROWS)), Path::Planned, Kind::Misaligned("out"));
        for operand in ["codes", "scale"] {
            case(quantized(swiglu(3, 256, 48, ROWS)), Path::Planned, Kind::Misaligned(operand));
        }
    }
    // More rows than a section of the raster has.
    for tile in TILES.into_iter().filter(|&tile| most_tokens(tile) == usize::MAX) {
        let (path, kind) = (Path::Tile(tile), Kind::Exact);
        cases.push(Product { dtype: DType::BF16, shape: sums(2100, 304, 16, ROWS), path, kind }.case());
    }
    cases
}

/// The products of Llama 3 8B and 70B: decoded tokens, alone and in batches, and a prompt.
pub(in super::super) fn model_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (dtype, hidden, q_width, intermediate) in
        [(DType::BF16, 4096, 4096, 14336), (DType::F16, 8192, 8192, 28672)]
    {
        for m in [1, 16, 64, 256, 2048] {
            for shape in [
                sums(m, q_width + 2048, hidden, ROWS),
                sums(m, hidden, q_width, BLOCKS),
                swiglu(m, 2 * intermediate, hidden, ROWS),
                sums(m, hidden, intermediate, ROWS),
                sums(m, hidden, intermediate, BLOCKS),
            ] {
                let (path, kind) = (Path::PlannedWith(MODEL_WORKSPACE), Kind::Sampled);
                cases.push(Product { dtype, shape, path, kind }.case());
            }
        }
    }
    cases
}

fn sums(m: usize, n: usize, k: usize, [x, weight]: [Fp8Scales; 2]) -> MatmulShape {
    let operands = Operands::Fp8 { x, weight, fast_accumulation: false };
    MatmulShape { m, n, k, operands, ..MatmulShape::default() }
}

fn swiglu(m: usize, n: usize, k: usize, scales: [Fp8Scales; 2]) -> MatmulShape {
    MatmulShape { epilogue: Epilogue::SwiGlu, ..sums(m, n, k, scales) }
}

fn biased(shape: MatmulShape) -> MatmulShape {
    MatmulShape { bias: true, ..shape }
}

fn f32_out(shape: MatmulShape) -> MatmulShape {
    MatmulShape { out_f32: true, ..shape }
}

fn quantized(shape: MatmulShape) -> MatmulShape {
    MatmulShape { quantized: true, ..shape }
}

fn fast(shape: MatmulShape) -> MatmulShape {
    let [x, weight] = scales(&shape);
    MatmulShape { operands: Operands::Fp8 { x, weight, fast_accumulation: true }, ..shape }
}

/// What shares a scale, of x and of the weight.
fn scales(shape: &MatmulShape) -> [Fp8Scales; 2] {
    match shape.operands {
        Operands::Fp8 { x, weight, .. } => [x, weight],
        _ => ROWS,
    }
}

fn is_fast(shape: &MatmulShape) -> bool {
    matches!(shape.operands, Operands::Fp8 { fast_accumulation: true, .. })
}

impl Product {
    fn case(self) -> Case {
        Case::new(OP, self.name(), move || self.problem())
    }

    fn name(&self) -> String {
        let Product { dtype, shape, path, kind } = *self;
        let MatmulShape { m, n, k, epilogue, bias, out_f32, quantized, .. } = shape;
        let mut name = format!("{dtype} {m}x{n}x{k}");
        name += match scales(&shape) {
            [Fp8Scales::Tensor, Fp8Scales::Tensor] => " by tensor",
            [Fp8Scales::Tensor, _] => " by tensor and row",
            [_, Fp8Scales::Tensor] => " by token and tensor",
            BLOCKS => " by block",
            _ => "",
        };
        for (is, text) in [
            (epilogue == Epilogue::SwiGlu, " SwiGLU"),
            (bias, " +bias"),
            (out_f32, " to f32"),
            (quantized, " to e4m3"),
            (is_fast(&shape), " fast"),
        ] {
            if is {
                name += text;
            }
        }
        name + &special(path, kind)
    }

    fn problem(self) -> Result<Problem> {
        let Product { dtype, shape, path, kind } = self;
        let MatmulShape { m, n, k, .. } = shape;
        let values = Values::new(&shape, dtype, kind);
        let out_dtype = if shape.out_f32 { DType::F32 } else { dtype };
        let [x_scales, weight_scales] = values.scale_shapes(&shape);
        let mut operands = vec![
            Operand::input("x.codes", E4M3, &[m, k], values.x.clone()),
            Operand::input("x.scale", DType::F32, &x_scales, encode_f32(&values.x_scales)),
            Operand::input("weight.codes", E4M3, &[n, k], values.weight_codes(k)),
            Operand::input(
                "weight.scale",
                DType::F32,
                &weight_scales,
                encode_f32(&values.weight_scales(&shape)),
            ),
            Operand::output("out", out_dtype, &[m, shape.out_width()], values.expected(&shape, dtype, kind)?),
        ];
        if shape.bias {
            operands.push(Operand::input("bias", dtype, &[n], encode(dtype, &values.bias())));
        }
        if shape.quantized {
            let width = shape.out_width();
            for (name, other) in [("codes", "codes apart"), ("codes apart", "codes")] {
                operands.push(Operand::output(name, E4M3, &[m, width], Expected::Same(other)));
            }
            for (name, other) in [("scale", "scale apart"), ("scale apart", "scale")] {
                operands.push(Operand::output(name, DType::F32, &[m, width / BLOCK], Expected::Same(other)));
            }
        }
        let workspace = workspace(dtype, &shape, path)?;
        let shares = workspace.is_some();
        let place = |(i, operand): (usize, Operand)| {
            let element = operand.dtype.size();
            // Rows at multiples of 16 bytes, but for scales.
            let vector = if operand.name.contains("scale") { 1 } else { 16 / element };
            let to_vector = operand.width().next_multiple_of(vector) - operand.width();
            let is_list = matches!(operand.name, "bias" | "workspace");
            let aligned = if is_list { operand } else { operand.with_gap(to_vector) };
            match kind {
                Kind::Strided if !is_list => aligned.with_gap(vector * (i + 1)),
                Kind::Far(name) if name == aligned.name => aligned.with_gap(FAR),
                Kind::Misaligned(name) if name == aligned.name => {
                    aligned.misplaced(if name.contains("scale") { 2 } else { element })
                }
                _ => aligned,
            }
        };
        let launches = if shape.quantized { 3 } else { 1 };
        Ok(Problem {
            operands: operands.into_iter().chain(workspace).enumerate().map(place).collect(),
            call: call(shape, dtype, path, shares),
            outcome: match kind {
                Kind::Misaligned(operand) => Outcome::Refuses(operand),
                _ => Outcome::Launches(u64::from(m > 0) * launches),
            },
        })
    }
}

/// The operation; where it quantises, then the two that it is made of, on outputs of their own.
fn call(shape: MatmulShape, dtype: DType, path: Path, shares: bool) -> Call {
    Box::new(move |stream, memory| {
        let launch = |out: Fp8Out<'_>, path: Path| {
            let operand = |codes, scale| -> Result<_> {
                Ok(Fp8Ref { codes: memory.read(codes)?, scale: memory.read(scale)? })
            };
            let shares = shares && path != Path::Invariant;
            let args = MatmulFp8 {
                x: operand("x.codes", "x.scale")?,
                weight: operand("weight.codes", "weight.scale")?,
                bias: if shape.bias { Some(memory.read("bias")?) } else { None },
                epilogue: shape.epilogue,
                fast_accumulation: is_fast(&shape),
                batch_invariant: path == Path::Invariant,
                workspace: if shares { Some(memory.write("workspace")?) } else { None },
                out,
            };
            let limits = stream.device().properties().limits();
            ops::matmul_fp8_by(stream, &args, |dtype, shape, bytes| path.plan(dtype, shape, bytes, &limits))
        };
        if !shape.quantized {
            return launch(Fp8Out::Native(memory.write("out")?), path);
        }
        let out = |codes, scale| -> Result<Fp8Mut<'_>> {
            Ok(Fp8Mut { codes: memory.write(codes)?, scale: memory.write(scale)? })
        };
        launch(Fp8Out::Quantized { out: out("codes", "scale")?, rounded_to: dtype }, path)?;
        launch(Fp8Out::Native(memory.write("out")?), Path::Invariant)?;
        let args = QuantizeFp8 { x: memory.read("out")?, out: out("codes apart", "scale apart")? };
        ops::quantize_fp8(stream, &args)
    })
}

fn encode_f32(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

#[cfg(all(test, feature = "sim"))]
mod tests;
