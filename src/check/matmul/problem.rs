//! One product in full, whatever its operands are stored in.

use super::super::memory::{Memory, Operand};
use super::super::problem::{Expected, Outcome, Problem};
use super::super::values::{Rng, bytes, cpu, decode, encode, spread, tensor};
use crate::Result;
use crate::backend::{
    self, Activation, ActivationMut, Backend, Epilogue, RowOrder, WeightFormat, WeightSource,
};
use crate::gpu::{Stream, TensorMut, TensorRef};
use crate::params::MATMUL_SWIGLU_BLOCK;
use crate::plan::{self, Limits, MatmulShape, Operands, Plan};
use crate::reference::Real;
use crate::tensor::{Bytes, DType, HostTensor};

const BLOCK: usize = MATMUL_SWIGLU_BLOCK as usize;

/// Elements from one row to the next that put the third row beyond 2^31 elements.
pub(super) const FAR: usize = (1 << 30) + 64;

/// What is special about a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Random numbers, compared by the element-wise rule.
    Plain,
    /// Small integers, of which every order of additions makes the same bits.
    Exact,
    Strided,
    /// Random numbers that repeat, of which some tokens and columns are compared: for shapes beyond the reference's reach.
    Sampled,
    /// The last rows of this operand lie beyond 2^31 elements.
    Far(&'static str),
    /// A token with NaN, another with infinity; and rows of the weight, where it can hold them.
    NotFinite,
    Misaligned(&'static str),
}

/// Which kernel makes the product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Path {
    Planned,
    /// With a workspace of so many bytes.
    PlannedWith(usize),
    Invariant,
    /// The one of the candidates whose tile this is; the planned one where the device has no room for it.
    Tile([u32; 3]),
    /// The same, its tiles shared by so many blocks.
    Shared([u32; 3], u64),
}

/// Numbers after which those of [`Kind::Sampled`] repeat: a prime, so that no two rows of a weight are the same.
pub(super) const PERIOD: usize = 1_048_573;
/// Tokens and columns of [`Kind::Sampled`] that are compared.
const SAMPLED: [usize; 2] = [24, 64];

/// What the operands of a product are stored in.
pub(super) trait Format: Copy + Send + Sync + 'static {
    /// The operation.
    const OP: &'static str;

    /// For its plan.
    fn operands(self, k: usize) -> Operands;

    /// `""`, or what a case's name says of it.
    fn name(self) -> String;

    /// x, `[m, k]`.
    fn x(self, shape: &MatmulShape, draw: &mut Draw) -> Result<Stored> {
        let mut numbers = draw.numbers(shape.m * shape.k, 1.0);
        if draw.kind == Kind::NotFinite {
            draw.spoil(shape, &mut numbers);
        }
        let operand = Operand::input("x", draw.dtype, &[shape.m, shape.k], encode(draw.dtype, &numbers));
        Ok(Stored { numbers, operands: vec![operand] })
    }

    /// The weight, `[n, k]` in the kernel's order of rows.
    fn weight(self, shape: &MatmulShape, draw: &mut Draw) -> Result<Stored>;

    /// Makes the product.
    fn call(self, stream: &Stream, memory: &Memory<'_>, call: Call<'_>) -> Result<()>;
}

/// Numbers, and the operands that hold them.
pub(super) struct Stored {
    pub numbers: Vec<f64>,
    pub operands: Vec<Operand>,
}

/// The arguments of a call that all formats have.
pub(super) struct Call<'a> {
    pub path: Path,
    pub bias: Option<TensorRef<'a>>,
    pub epilogue: Epilogue,
    pub workspace: Option<TensorMut<'a>>,
    pub out: TensorMut<'a>,
}

/// Where a case's numbers come from.
pub(super) struct Draw {
    pub rng: Rng,
    pub kind: Kind,
    pub dtype: DType,
}

impl Draw {
    pub fn numbers(&mut self, count: usize, deviation: f64) -> Vec<f64> {
        match self.kind {
            Kind::Exact => (0..count).map(|_| self.rng.below(9) as f64 - 4.0).collect(),
            Kind::Sampled => {
                let numbers = self.rng.normal(self.dtype, count.min(PERIOD), deviation);
                numbers.into_iter().cycle().take(count).collect()
            }
            _ => self.rng.normal(self.dtype, count, deviation),
        }
    }

    /// NaN and infinity in a token each, and a zero in the last token, where it may meet infinity.
    fn spoil(&self, shape: &MatmulShape, x: &mut [f64]) {
        x[3] = f64::NAN;
        x[shape.k + shape.k - 1] = f64::INFINITY;
        x[2 * shape.k + 5] = 0.0;
    }
}

/// Where a row of the first part of a weight stands among all rows.
pub(super) fn row_of_first_part(shape: &MatmulShape, row: usize) -> usize {
    match shape.epilogue {
        Epilogue::None => row,
        Epilogue::SwiGlu => row / BLOCK * (2 * BLOCK) + row % BLOCK,
    }
}

pub(super) fn name(format: impl Format, dtype: DType, shape: &MatmulShape, path: Path, kind: Kind) -> String {
    let &MatmulShape { m, n, k, epilogue, bias, out_f32, .. } = shape;
    let mut name = format!("{dtype} {m}x{n}x{k}{}", format.name());
    if epilogue == Epilogue::SwiGlu {
        name += " SwiGLU";
    }
    if bias {
        name += " +bias";
    }
    if out_f32 {
        name += " to f32";
    }
    name + &special(path, kind)
}

/// What a case's name says of these.
pub(super) fn special(path: Path, kind: Kind) -> String {
    let mut name = String::new();
    match path {
        Path::Planned => {}
        Path::PlannedWith(bytes) => name += &format!(" with a workspace of {bytes}"),
        Path::Invariant => name += " batch-invariant",
        Path::Tile([m, n, k]) => name += &format!(" in {m}x{n}x{k}"),
        Path::Shared([m, n, k], blocks) => name += &format!(" in {m}x{n}x{k} of {blocks} blocks"),
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

    /// The parts of a weight, or of its bias, whose rows stand as the kernel wants them: those of two parts in blocks.
    fn parts(epilogue: Epilogue, rows: Vec<f64>, width: usize) -> Vec<Vec<f64>> {
        match epilogue {
            Epilogue::None => vec![rows],
            Epilogue::SwiGlu => (0..2)
                .map(|part| {
                    let blocks = rows.chunks(BLOCK * width).skip(part).step_by(2);
                    blocks.flatten().copied().collect()
                })
                .collect(),
        }
    }
}

impl Answers for Values {
    /// A tensor core adds eight products and the accumulator at a time, and cuts off toward zero.
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
                let sums = self.parts.iter().enumerate().map(|(i, part)| {
                    dot(x, &part[n * k..][..k]) + self.biases.get(i).map_or(0.0, |bias| bias[n] as f32)
                });
                out.push(approximately(sums));
            }
        }
        out
    }

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

/// The numbers of a product, of which two answers can be had.
pub(super) trait Answers {
    /// The CPU reference in `A`, rounding to `out` where it stores.
    fn reference<A: Real>(&self, dtype: DType, shape: &MatmulShape, out: DType) -> Result<Vec<u8>>;

    /// The formula with the errors that count where the output is f32.
    fn accumulated(&self, shape: &MatmulShape) -> Vec<f64>;

    /// The reference, and what its own roundings make of it.
    fn near(&self, dtype: DType, shape: &MatmulShape) -> Result<[Vec<f64>; 2]> {
        let reference = decode(DType::F64, &self.reference::<f64>(dtype, shape, DType::F64)?);
        let naive = match shape.out_f32 {
            true => self.accumulated(shape),
            false => decode(dtype, &self.reference::<f32>(dtype, shape, dtype)?),
        };
        Ok([reference, naive])
    }
}

/// What follows the sum, or the sums of gate and up, by an approximate exponential and quotient, which are off by some units in
/// the last place.
pub(super) fn approximately(mut sums: impl Iterator<Item = f32>) -> f64 {
    let first = sums.next().unwrap_or(0.0);
    let exp = (-first * std::f32::consts::LOG2_E).exp2() * (1.0 + 2.0 * f32::EPSILON);
    f64::from(sums.next().map_or(first, |up| first / (1.0 + exp) * up * (1.0 - 2.0 * f32::EPSILON)))
}

/// The f32 next to a number on the side of zero.
fn toward_zero(value: f64) -> f32 {
    let nearest = value as f32;
    if f64::from(nearest).abs() > value.abs() { f32::from_bits(nearest.to_bits() - 1) } else { nearest }
}

pub(super) fn problem(
    format: impl Format,
    dtype: DType,
    shape: MatmulShape,
    path: Path,
    kind: Kind,
) -> Result<Problem> {
    let MatmulShape { m, n, k, bias, epilogue, .. } = shape;
    let shape = MatmulShape { operands: format.operands(k), ..shape };
    let mut draw = Draw { rng: Rng((m * 31 + n * 7 + k) as u64), kind, dtype };
    let x = format.x(&shape, &mut draw)?;
    let weight = format.weight(&shape, &mut draw)?;
    let biases = if bias { draw.numbers(n, 1.0) } else { Vec::new() };
    let mut operands = x.operands;
    operands.extend(weight.operands);
    if bias {
        operands.push(Operand::input("bias", dtype, &[n], encode(dtype, &biases)));
    }
    let values = Values {
        x: x.numbers,
        parts: Values::parts(epilogue, weight.numbers, k),
        biases: if bias { Values::parts(epilogue, biases, 1) } else { Vec::new() },
    };
    let out_dtype = if shape.out_f32 { DType::F32 } else { dtype };
    let expected = expected(&values, dtype, &shape, out_dtype, kind)?;
    operands.push(Operand::output("out", out_dtype, &[m, shape.out_width()], expected));
    let workspace = workspace(dtype, &shape, path)?;
    let shares = workspace.is_some();
    let place = |(i, operand): (usize, Operand)| {
        // Rows at multiples of 16 bytes.
        let vector = 16 / operand.dtype.size();
        let to_vector = operand.width().next_multiple_of(vector) - operand.width();
        let is_list = matches!(operand.name, "bias" | "codes" | "scales" | "workspace");
        let aligned = if is_list { operand } else { operand.with_gap(to_vector) };
        match kind {
            Kind::Strided if matches!(aligned.name, "x" | "weight" | "out") => {
                aligned.with_gap(vector * (i + 1))
            }
            Kind::Far(name) if name == aligned.name => aligned.with_gap(FAR),
            Kind::Misaligned(name) if name == aligned.name => {
                let element = aligned.dtype.size();
                aligned.misplaced(element)
            }
            _ => aligned,
        }
    };
    Ok(Problem {
        operands: operands.into_iter().chain(workspace).enumerate().map(place).collect(),
        call: Box::new(move |stream, memory| {
            let call = Call {
                path,
                bias: if bias { Some(memory.read("bias")?) } else { None },
                epilogue,
                workspace: if shares { Some(memory.write("workspace")?) } else { None },
                out: memory.write("out")?,
            };
            format.call(stream, memory, call)
        }),
        outcome: match kind {
            Kind::Misaligned(operand) => Outcome::Refuses(operand),
            _ => Outcome::Launches(u64::from(m > 0)),
        },
    })
}

fn expected(
    values: &Values,
    dtype: DType,
    shape: &MatmulShape,
    out_dtype: DType,
    kind: Kind,
) -> Result<Expected> {
    Ok(match kind {
        // An exact sum is rounded once, whatever it was accumulated in.
        Kind::Exact => Expected::Bits(values.reference::<f64>(dtype, shape, out_dtype)?),
        Kind::Sampled => {
            let mut rng = Rng((shape.m + shape.n + shape.k) as u64);
            let (rows, columns) =
                (spread(&mut rng, SAMPLED[0], shape.m), spread(&mut rng, SAMPLED[1], shape.out_width()));
            let n = columns.len() * values.parts.len();
            let sample = MatmulShape { m: rows.len(), n, ..*shape };
            let [reference, naive] = values.sample(shape, &rows, &columns).near(dtype, &sample)?;
            Expected::Sample { rows, columns, reference, naive }
        }
        _ => {
            let [reference, naive] = values.near(dtype, shape)?;
            Expected::Near { reference, naive }
        }
    })
}

/// The workspace of a path that takes one: counters that are zero before and after, and NaN where partial sums will be.
pub(super) fn workspace(dtype: DType, shape: &MatmulShape, path: Path) -> Result<Option<Operand>> {
    /// Of any device.
    const ROOM: Limits = Limits { num_sms: 1, shared_memory_per_block: usize::MAX >> 1 };
    /// Bytes of counters, where it is not known how many blocks there are.
    const COUNTERS: usize = 4096;
    let [bytes, counters] = match path {
        Path::PlannedWith(bytes) => [bytes, COUNTERS],
        Path::Shared(tile, blocks) => match plan::matmul_shared(dtype, shape, tile, blocks, &ROOM)? {
            Some(plan) => [plan.workspace_bytes, (4 * blocks as usize).next_multiple_of(256)],
            None => return Ok(None),
        },
        _ => return Ok(None),
    };
    let mut content = vec![0; counters];
    let expected = Expected::Starts(content.clone());
    content.resize(bytes, 0xFF);
    Ok(Some(Operand::updated("workspace", DType::U8, &[bytes], content, expected)))
}

impl Path {
    /// What `choose` of an operation is.
    pub fn plan(
        self,
        dtype: DType,
        shape: &MatmulShape,
        workspace_bytes: usize,
        limits: &Limits,
    ) -> Result<Option<Plan>> {
        let planned = |bytes| plan::matmul(dtype, shape, self == Path::Invariant, bytes, limits);
        match self {
            Path::Planned | Path::PlannedWith(_) | Path::Invariant => planned(workspace_bytes),
            Path::Tile([m, n, k]) => {
                let wanted =
                    |plan: &Plan| plan.tile.is_some_and(|tile| [tile.m, tile.n, tile.k] == [m, n, k]);
                match plan::matmul_candidates(dtype, shape, limits)?.into_iter().find(wanted) {
                    Some(plan) => Ok(Some(plan)),
                    None => planned(0),
                }
            }
            Path::Shared(tile, blocks) => match plan::matmul_shared(dtype, shape, tile, blocks, limits)? {
                Some(plan) => Ok(Some(plan)),
                None => planned(0),
            },
        }
    }
}
