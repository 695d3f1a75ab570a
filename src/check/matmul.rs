//! Cases of `matmul`: what the plans choose, and every kernel on shapes at its edges.

use super::Case;
use super::memory::Operand;
use super::problem::{Expected, Outcome, Problem};
use super::values::{ACTIVATIONS, Rng, bytes, cpu, decode, encode, spread, tensor};
use crate::Result;
use crate::backend::{
    self, Activation, ActivationMut, Backend, Epilogue, RowOrder, WeightFormat, WeightSource,
};
use crate::ops::{self, Matmul};
use crate::params::MATMUL_SWIGLU_BLOCK;
use crate::plan::{self, Limits, MatmulShape};
use crate::reference::Real;
use crate::tensor::{Bytes, DType, HostTensor};

const BLOCK: usize = MATMUL_SWIGLU_BLOCK as usize;

/// Elements from one row to the next that put the third row beyond 2^31 elements.
const FAR: usize = (1 << 30) + 64;

/// What is special about a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Random numbers, compared by the element-wise rule.
    Plain,
    /// Small integers, of which every order of additions makes the same bits.
    Exact,
    Strided,
    /// Random numbers that repeat, of which some tokens and columns are compared: for shapes beyond the reference's reach.
    Sampled,
    /// The last rows of this operand lie beyond 2^31 elements.
    Far(&'static str),
    /// A token and a row of the weight with NaN, others with infinity.
    NotFinite,
    Misaligned(&'static str),
}

/// Which kernel makes the product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Path {
    Planned,
    Invariant,
    /// The one of the candidates whose tile this is; the planned one where the device has no room for it.
    Tile([u32; 3]),
}

/// Numbers after which those of [`Kind::Sampled`] repeat: a prime, so that no two rows of a weight are the same.
const PERIOD: usize = 1_048_573;
/// Tokens and columns of [`Kind::Sampled`] that are compared.
const SAMPLED: [usize; 2] = [24, 64];

/// All tiles of [`plan::matmul_candidates`].
const TILES: [[u32; 3]; 7] = [
    [8, 16, 128],
    [16, 32, 64],
    [128, 256, 64],
    [128, 256, 32],
    [128, 128, 64],
    [64, 128, 64],
    [64, 64, 128],
];

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for dtype in ACTIVATIONS {
        let mut case = |shape: MatmulShape, path, kind| {
            cases.push(Case::new("matmul", name(dtype, &shape, path, kind), move || {
                problem(dtype, shape, path, kind)
            }));
        };
        // Every kernel, at the edges of its tile: rows, columns and K past the end of what is whole.
        for tile in TILES {
            let path = Path::Tile(tile);
            let most = if tile[0] <= 16 { tile[0] as usize } else { usize::MAX };
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
        cases.push(Case::new("matmul", name(DType::BF16, &shape, path, kind), move || {
            problem(DType::BF16, shape, path, kind)
        }));
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
                let (path, kind) = (Path::Planned, Kind::Sampled);
                cases.push(Case::new("matmul", name(dtype, &shape, path, kind), move || {
                    problem(dtype, shape, path, kind)
                }));
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

fn name(dtype: DType, shape: &MatmulShape, path: Path, kind: Kind) -> String {
    let &MatmulShape { m, n, k, epilogue, bias, out_f32 } = shape;
    let mut name = format!("{dtype} {m}x{n}x{k}");
    if epilogue == Epilogue::SwiGlu {
        name += " SwiGLU";
    }
    if bias {
        name += " +bias";
    }
    if out_f32 {
        name += " to f32";
    }
    match path {
        Path::Planned => {}
        Path::Invariant => name += " batch-invariant",
        Path::Tile([m, n, k]) => name += &format!(" in {m}x{n}x{k}"),
    }
    match kind {
        Kind::Plain => {}
        Kind::Exact => name += ", integers",
        Kind::Strided => name += ", strided",
        Kind::Sampled => name += ", sampled",
        Kind::Far(operand) => name += &format!(", {operand} beyond 2^31 elements"),
        Kind::NotFinite => name += ", NaN and infinity",
        Kind::Misaligned(operand) => name += &format!(", {operand} misaligned"),
    }
    name
}

/// x, the weight's parts (the weight itself, or gate and up) and their biases.
struct Values {
    x: Vec<f64>,
    parts: Vec<Vec<f64>>,
    biases: Vec<Vec<f64>>,
}

impl Values {
    fn new(dtype: DType, shape: &MatmulShape, kind: Kind) -> Self {
        let &MatmulShape { m, n, k, epilogue, bias, .. } = shape;
        let mut rng = Rng((m * 31 + n * 7 + k) as u64);
        let mut draw = |count: usize, deviation: f64| match kind {
            Kind::Exact => (0..count).map(|_| rng.below(9) as f64 - 4.0).collect(),
            Kind::Sampled => {
                let numbers = rng.normal(dtype, count.min(PERIOD), deviation);
                numbers.into_iter().cycle().take(count).collect()
            }
            _ => rng.normal(dtype, count, deviation),
        };
        let heights = if epilogue == Epilogue::SwiGlu { vec![n / 2; 2] } else { vec![n] };
        let mut values = Values {
            x: draw(m * k, 1.0),
            parts: heights.iter().map(|height| draw(height * k, 2.0 / (k as f64).sqrt())).collect(),
            biases: heights.iter().filter(|_| bias).map(|&height| draw(height, 1.0)).collect(),
        };
        if kind == Kind::NotFinite {
            // In one token each; and in one row of the first part each, where a zero meets infinity in the last token.
            values.x[3] = f64::NAN;
            values.x[k + k - 1] = f64::INFINITY;
            values.x[2 * k + 5] = 0.0;
            values.parts[0][k + 5] = f64::INFINITY;
            values.parts[0][4 * k + 2] = f64::NAN;
            values.parts[0][9 * k + k - 1] = f64::NEG_INFINITY;
        }
        values
    }

    /// Those of these tokens and columns of the output.
    fn sample(&self, shape: &MatmulShape, rows: &[usize], columns: &[usize]) -> Self {
        let pick = |values: &[f64], width: usize, rows: &[usize]| {
            rows.iter().flat_map(|row| &values[row * width..][..width]).copied().collect()
        };
        Values {
            x: pick(&self.x, shape.k, rows),
            parts: self.parts.iter().map(|part| pick(part, shape.k, columns)).collect(),
            biases: self.biases.iter().map(|bias| pick(bias, 1, columns)).collect(),
        }
    }

    /// The weight's rows, or its bias, as the kernel wants them: those of two parts in blocks.
    fn rows(parts: &[Vec<f64>], width: usize) -> Vec<f64> {
        match parts {
            [gate, up] => {
                let blocks = gate.chunks(BLOCK * width).zip(up.chunks(BLOCK * width));
                blocks.flat_map(|(gate, up)| [gate, up]).flatten().copied().collect()
            }
            parts => parts.concat(),
        }
    }

    /// The formula with the errors that count where the output is f32. A tensor core adds eight products and the accumulator
    /// at a time, and cuts off toward zero; approximate exponential and quotient are off by some units in the last place.
    fn accumulated(&self, shape: &MatmulShape) -> Vec<f64> {
        let dot = |x: &[f64], row: &[f64]| {
            x.chunks(8).zip(row.chunks(8)).fold(0.0, |sum: f32, (x, row)| {
                let products: f64 = x.iter().zip(row).map(|(x, row)| x * row).sum();
                toward_zero(f64::from(sum) + products)
            })
        };
        let k = shape.k;
        let height = shape.out_width();
        let mut out = Vec::with_capacity(shape.m * height);
        for x in self.x.chunks(k) {
            for n in 0..height {
                let mut sums = self.parts.iter().enumerate().map(|(i, part)| {
                    dot(x, &part[n * k..][..k]) + self.biases.get(i).map_or(0.0, |bias| bias[n] as f32)
                });
                let first = sums.next().unwrap_or(0.0);
                let exp = (-first * std::f32::consts::LOG2_E).exp2() * (1.0 + 2.0 * f32::EPSILON);
                let value =
                    sums.next().map_or(first, |up| first / (1.0 + exp) * up * (1.0 - 2.0 * f32::EPSILON));
                out.push(f64::from(value));
            }
        }
        out
    }

    /// The CPU reference in `A`, rounding to `out` where it stores.
    fn reference<A: Real>(&self, dtype: DType, shape: &MatmulShape, out: DType) -> Result<Vec<u8>> {
        let k = shape.k;
        let host = |values: &Vec<f64>, shape: Vec<usize>| HostTensor {
            name: "part".into(),
            dtype,
            shape,
            data: Bytes::new(encode(dtype, values)),
        };
        let mut cpu = cpu::<A>();
        let weight = cpu.load_weight(WeightSource {
            parts: self.parts.iter().map(|part| host(part, vec![part.len() / k, k])).collect(),
            biases: self.biases.iter().map(|bias| host(bias, vec![bias.len()])).collect(),
            rows: match shape.epilogue {
                Epilogue::None => RowOrder::Concatenated,
                Epilogue::SwiGlu => RowOrder::GateUp,
            },
            format: WeightFormat::Native,
        })?;
        let x = tensor(dtype, &[shape.m, k], &self.x)?;
        let mut result = cpu.alloc(out, &[shape.m, shape.out_width()])?;
        cpu.matmul(backend::Matmul {
            x: Activation::Native(x.view()),
            weight: &weight,
            epilogue: shape.epilogue,
            out: ActivationMut::Native(result.view_mut()),
        })?;
        bytes(&result)
    }
}

/// The f32 next to a number on the side of zero.
fn toward_zero(value: f64) -> f32 {
    let nearest = value as f32;
    if f64::from(nearest).abs() > value.abs() { f32::from_bits(nearest.to_bits() - 1) } else { nearest }
}

fn problem(dtype: DType, shape: MatmulShape, path: Path, kind: Kind) -> Result<Problem> {
    let MatmulShape { m, n, k, .. } = shape;
    let values = Values::new(dtype, &shape, kind);
    let out_dtype = if shape.out_f32 { DType::F32 } else { dtype };
    let near = |values: &Values, shape: &MatmulShape| -> Result<[Vec<f64>; 2]> {
        let reference = decode(DType::F64, &values.reference::<f64>(dtype, shape, DType::F64)?);
        let naive = if shape.out_f32 {
            values.accumulated(shape)
        } else {
            decode(out_dtype, &values.reference::<f32>(dtype, shape, out_dtype)?)
        };
        Ok([reference, naive])
    };
    let expected = match kind {
        // An exact sum is rounded once, whatever it was accumulated in.
        Kind::Exact => Expected::Bits(values.reference::<f64>(dtype, &shape, out_dtype)?),
        Kind::Sampled => {
            let mut rng = Rng((m + n + k) as u64);
            let (rows, columns) =
                (spread(&mut rng, SAMPLED[0], m), spread(&mut rng, SAMPLED[1], shape.out_width()));
            let n = columns.len() * values.parts.len();
            let sample = MatmulShape { m: rows.len(), n, ..shape };
            let [reference, naive] = near(&values.sample(&shape, &rows, &columns), &sample)?;
            Expected::Sample { rows, columns, reference, naive }
        }
        _ => {
            let [reference, naive] = near(&values, &shape)?;
            Expected::Near { reference, naive }
        }
    };
    let mut operands = vec![
        Operand::input("x", dtype, &[m, k], encode(dtype, &values.x)),
        Operand::input("weight", dtype, &[n, k], encode(dtype, &Values::rows(&values.parts, k))),
        Operand::output("out", out_dtype, &[m, shape.out_width()], expected),
    ];
    if shape.bias {
        let bias = encode(dtype, &Values::rows(&values.biases, 1));
        operands.push(Operand::input("bias", dtype, &[n], bias));
    }
    let place = |(i, operand): (usize, Operand)| {
        // Rows at multiples of 16 bytes.
        let vector = 16 / operand.dtype.size();
        let to_vector = operand.width().next_multiple_of(vector) - operand.width();
        let aligned = if operand.name == "bias" { operand } else { operand.with_gap(to_vector) };
        match kind {
            Kind::Strided if aligned.name != "bias" => aligned.with_gap(vector * (i + 1)),
            Kind::Far(name) if name == aligned.name => aligned.with_gap(FAR),
            Kind::Misaligned(name) if name == aligned.name => {
                let element = aligned.dtype.size();
                aligned.misplaced(element)
            }
            _ => aligned,
        }
    };
    let bias = shape.bias;
    Ok(Problem {
        operands: operands.into_iter().enumerate().map(place).collect(),
        call: Box::new(move |stream, memory| {
            let args = Matmul {
                x: memory.read("x")?,
                weight: memory.read("weight")?,
                bias: if bias { Some(memory.read("bias")?) } else { None },
                epilogue: shape.epilogue,
                batch_invariant: path == Path::Invariant,
                out: memory.write("out")?,
            };
            let Path::Tile(tile) = path else { return ops::matmul(stream, &args) };
            let limits = stream.device().properties().limits();
            ops::matmul_by(stream, &args, |dtype, shape| candidate(dtype, shape, &limits, tile))
        }),
        outcome: match kind {
            Kind::Misaligned(operand) => Outcome::Refuses(operand),
            _ => Outcome::Launches(u64::from(m > 0)),
        },
    })
}

/// The candidate of this tile, or the planned one.
fn candidate(
    dtype: DType,
    shape: &MatmulShape,
    limits: &Limits,
    [m, n, k]: [u32; 3],
) -> Result<Option<plan::Plan>> {
    let candidates = plan::matmul_candidates(dtype, shape, limits)?;
    let wanted = |plan: &plan::Plan| plan.tile.is_some_and(|tile| [tile.m, tile.n, tile.k] == [m, n, k]);
    match candidates.into_iter().find(wanted) {
        Some(plan) => Ok(Some(plan)),
        None => plan::matmul(dtype, shape, false, limits),
    }
}

#[cfg(all(test, feature = "sim"))]
mod tests {
    use super::super::memory::Memory;
    use super::*;
    use crate::cost;
    use crate::device::DeviceChoice;
    use crate::gpu::Device;

    /// A kernel that is compiled but has no cases of its own would be noticed here.
    #[test]
    fn cases_name_every_candidate() {
        let limits = Limits { num_sms: 132, shared_memory_per_block: 227 << 10 };
        let plans = plan::matmul_candidates(DType::F16, &sums(3, 64, 64), &limits).unwrap();
        let tiles: Vec<_> = plans.iter().map(|plan| plan.tile.map(|tile| [tile.m, tile.n, tile.k])).collect();
        assert_eq!(tiles, TILES.map(Some));
    }

    /// What each kernel moves, counted by the simulated GPU, is what `cost` says of it; no bank of shared memory is in
    /// conflict; and the tensor cores do no more than the tiles.
    #[test]
    #[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
    fn every_kernel_moves_the_bytes_of_its_tiles() {
        let device = Device::open(DeviceChoice::SIM).unwrap();
        let stream = device.new_stream().unwrap();
        for tile in TILES {
            let (m, k) = if tile[0] <= 16 { (tile[0] as usize, 2048) } else { (128, 128) };
            for shape in [sums(m, 512, k), biased(sums(m, 256, k)), f32_out(swiglu(m, 256, k))] {
                let problem = problem(DType::BF16, shape, Path::Tile(tile), Kind::Exact).unwrap();
                let mut memory = Memory::allocate(&device, &problem.operands, true).unwrap();
                memory.initialise().unwrap();
                (problem.call)(&stream, &memory).unwrap();
                let limits = device.properties().limits();
                let plan = candidate(DType::BF16, &shape, &limits, tile).unwrap().unwrap();
                let counters = &stream.reports().unwrap().unwrap()[0].counters;

                let (read, written) = (&counters.global_read, &counters.global_written);
                assert_eq!(read.unique_bytes + written.unique_bytes, cost::matmul(&shape).bytes, "{plan}");
                let (issued, expected) =
                    (read.issued_bytes + written.issued_bytes, cost::matmul_tile(&plan, &shape));
                assert!(
                    issued.abs_diff(expected) * 20 <= expected,
                    "{plan}: {issued} bytes instead of {expected}"
                );
                assert_eq!(counters.shared_read.conflicts + counters.shared_written.conflicts, 0, "{plan}");
                assert_eq!(counters.tensor_flops["bf16"], cost::matmul(&shape).flops, "{plan}");
            }
        }
    }
}
