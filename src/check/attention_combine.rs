//! Cases of `attention_combine`.

use super::Case;
use super::memory::{Memory, Operand};
use super::problem::{Expected, Outcome, Problem};
use super::values::{ACTIVATIONS, Rng, bytes, cpu, decode, encode, tensor};
use crate::backend::Backend;
use crate::gpu::{Stream, TensorMut, TensorRef};
use crate::reference::{self, Real};
use crate::tensor::DType;
use crate::{Result, ops, plan};

/// `[splits, tokens, heads, head_dim]`.
type Shape = [usize; 4];

/// One part, fewer and more than there are groups of threads, and than a group reads at a time; no token; heads that leave
/// threads of a block without a row.
const SHAPES: [Shape; 12] = [
    [1, 3, 4, 128],
    [2, 0, 4, 64],
    [2, 5, 3, 64],
    [3, 1, 1, 8],
    [7, 2, 5, 40],
    [8, 1, 7, 128],
    [9, 2, 3, 64],
    [33, 1, 2, 128],
    [40, 3, 1, 256],
    [65, 1, 2, 64],
    [300, 1, 2, 128],
    [5, 1, 2, plan::MAX_COMBINED_HEAD_DIM],
];

/// Elements from one head to the next that put the third row beyond 2^31 elements.
const FAR: usize = 1 << 30;

/// What is special about a case.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    WithoutLse,
    /// Heads apart, each operand's by another distance.
    Strided,
    /// The last rows lie beyond 2^31 elements.
    Far,
    /// Parts that saw no key, whose values are NaN and must not be looked at; in the last row all are.
    Empty,
    /// NaN and infinity in parts and logarithms.
    NotFinite,
    /// Logarithms far from each other and from 0.
    Wide,
    /// Integers and equal logarithms: every step is exact.
    Exact,
    Misaligned(&'static str),
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for dtype in ACTIVATIONS {
        let mut case = |shape: Shape, kind| {
            let what = match kind {
                Kind::Plain => String::new(),
                Kind::WithoutLse => " without lse".into(),
                Kind::Strided => " strided".into(),
                Kind::Far => " beyond 2^31 elements".into(),
                Kind::Empty => " with parts that saw no key".into(),
                Kind::NotFinite => " with NaN and infinity".into(),
                Kind::Wide => " of mixed magnitude".into(),
                Kind::Exact => " exact".into(),
                Kind::Misaligned(operand) => format!(" {operand} misaligned"),
            };
            let name = format!("{dtype} {shape:?}{what}");
            cases.push(Case::new("attention_combine", name, move || problem(dtype, shape, kind)));
        };
        for shape in SHAPES {
            case(shape, Kind::Plain);
        }
        case([3, 2, 2, 64], Kind::WithoutLse);
        case([3, 2, 3, 128], Kind::Strided);
        case([2, 2, 1, 64], Kind::Far);
        for shape in [[2, 3, 3, 64], [12, 3, 2, 128], [70, 2, 2, 64]] {
            case(shape, Kind::Empty);
            case(shape, Kind::NotFinite);
            case(shape, Kind::Wide);
        }
        for splits in [1, 4, 16, 64] {
            case([splits, 2, 3, 128], Kind::Exact);
        }
        for operand in ["partial_out", "partial_lse", "out", "lse"] {
            case([3, 2, 2, 64], Kind::Misaligned(operand));
        }
    }
    cases
}

/// As many parts as decoding few and many sequences makes.
pub(super) fn model_cases() -> Vec<Case> {
    let shapes: [(DType, Shape); 2] = [(DType::BF16, [64, 8, 32, 128]), (DType::F16, [8, 64, 64, 128])];
    let case = |(dtype, shape): (DType, Shape)| {
        Case::new("attention_combine", format!("{dtype} {shape:?}"), move || {
            problem(dtype, shape, Kind::Plain)
        })
    };
    shapes.map(case).into()
}

/// Parts and their logarithms.
fn values(shape @ [splits, tokens, heads, head_dim]: Shape, kind: Kind) -> (Vec<f64>, Vec<f64>) {
    let rows = tokens * heads;
    let mut rng = Rng(shape.iter().sum::<usize>() as u64);
    if kind == Kind::Exact {
        // A power of two of parts, each a multiple of it: their mean is an integer.
        let mut integer = || (rng.below(9) as f64 - 4.0) * splits as f64;
        return ((0..splits * rows * head_dim).map(|_| integer()).collect(), vec![3.0; splits * rows]);
    }
    let mut part = rng.normal(DType::F32, splits * rows * head_dim, 1.0);
    let deviation = if kind == Kind::Wide { 60.0 } else { 2.0 };
    let mut lse = rng.normal(DType::F32, splits * rows, deviation);
    match kind {
        Kind::Empty => {
            for i in 0..splits * rows {
                if rng.below(3) == 0 || i % rows == rows - 1 {
                    lse[i] = f64::NEG_INFINITY;
                    part[i * head_dim..(i + 1) * head_dim].fill(f64::NAN);
                }
            }
        }
        Kind::NotFinite => {
            // Of the second split.
            let at = rows;
            part[at * head_dim + 3] = f64::NAN;
            part[(at + 1) * head_dim + 5] = f64::INFINITY;
            lse[at + 2] = f64::NAN;
            lse[at + 3] = f64::INFINITY;
        }
        _ => {}
    }
    (part, lse)
}

fn problem(dtype: DType, shape: Shape, kind: Kind) -> Result<Problem> {
    let [splits, tokens, heads, head_dim] = shape;
    let (part, lse) = values(shape, kind);
    let (out, out_lse) = reference::<f64>([DType::F64; 2], shape, &part, &lse)?;
    let (naive_out, naive_lse) = reference::<f32>([dtype, DType::F32], shape, &part, &lse)?;
    let expected = |reference: Vec<u8>, naive: Vec<u8>, dtype| match kind {
        Kind::Exact => Expected::Bits(naive),
        _ => Expected::Near { reference: decode(DType::F64, &reference), naive: decode(dtype, &naive) },
    };
    let told = kind != Kind::WithoutLse;
    let content = |values: &[f64]| encode(DType::F32, values);
    let mut operands = vec![
        Operand::input("partial_out", DType::F32, &[splits * tokens * heads, head_dim], content(&part)),
        Operand::input("partial_lse", DType::F32, &[splits * tokens, heads], content(&lse)),
        Operand::output("out", dtype, &[tokens * heads, head_dim], expected(out, naive_out, dtype)),
    ];
    if told {
        let expected = match kind {
            // A logarithm is not exact.
            Kind::Exact => Expected::Near {
                reference: decode(DType::F64, &out_lse),
                naive: decode(DType::F32, &naive_lse),
            },
            _ => expected(out_lse, naive_lse, DType::F32),
        };
        operands.push(Operand::output("lse", DType::F32, &[tokens, heads], expected));
    }
    let place = |(i, operand): (usize, Operand)| match kind {
        Kind::Strided => operand.with_gap(8 * (i + 1)),
        Kind::Far => operand.with_gap(FAR),
        // Half an element: a logarithm's address must be a multiple of 4.
        Kind::Misaligned(name @ ("partial_lse" | "lse")) if operand.name == name => operand.misplaced(2),
        Kind::Misaligned(name) if operand.name == name => {
            let size = operand.dtype.size();
            operand.misplaced(size)
        }
        _ => operand,
    };
    Ok(Problem {
        operands: operands.into_iter().enumerate().map(place).collect(),
        call: Box::new(move |stream, memory| call(stream, memory, shape, told)),
        outcome: match kind {
            Kind::Misaligned(operand) => Outcome::Refuses(operand),
            _ => Outcome::Launches(u64::from(tokens > 0)),
        },
    })
}

fn call(stream: &Stream, memory: &Memory<'_>, shape: Shape, told: bool) -> Result<()> {
    let [splits, tokens, heads, head_dim] = shape;
    // From one row of a matrix to the next is from one head to the next, or from one token's logarithms to the next's.
    let stride = |tensor: &TensorRef<'_>| tensor.layout().strides()[0];
    let read = |name| -> Result<TensorRef<'_>> {
        let tensor = memory.read(name)?;
        let row = stride(&tensor);
        let (shape, strides) = match name {
            "partial_out" => {
                (vec![splits, tokens, heads, head_dim], vec![tokens * heads * row, heads * row, row, 1])
            }
            _ => (vec![splits, tokens, heads], vec![tokens * row, row, 1]),
        };
        // SAFETY: the same elements, counted otherwise.
        unsafe { TensorRef::from_raw(stream.device(), tensor.address(), tensor.dtype(), &shape, &strides) }
    };
    let out = memory.write("out")?;
    let row = stride(&out.as_ref());
    // SAFETY: as above.
    let out = unsafe {
        let (address, dtype) = (out.as_ref().address(), out.as_ref().dtype());
        TensorMut::from_raw(
            stream.device(),
            address,
            dtype,
            &[tokens, heads, head_dim],
            &[heads * row, row, 1],
        )
    }?;
    let lse = if told { Some(memory.write("lse")?) } else { None };
    let (partial_out, partial_lse) = (read("partial_out")?, read("partial_lse")?);
    ops::attention_combine(stream, &ops::AttentionCombine { partial_out, partial_lse, out, lse })
}

/// The CPU reference in `A`, rounding to `dtypes` where it stores: out and lse.
fn reference<A: Real>(
    [dtype, lse_dtype]: [DType; 2],
    shape @ [splits, tokens, heads, head_dim]: Shape,
    part: &[f64],
    lse: &[f64],
) -> Result<(Vec<u8>, Vec<u8>)> {
    if tokens == 0 {
        return Ok((Vec::new(), Vec::new()));
    }
    let part = tensor(DType::F32, &shape, part)?;
    let lse = tensor(DType::F32, &[splits, tokens, heads], lse)?;
    let mut out = cpu::<A>().alloc(dtype, &[tokens, heads, head_dim])?;
    let mut out_lse = cpu::<A>().alloc(lse_dtype, &[tokens, heads])?;
    reference::attention_combine::<A>(part.view(), lse.view(), out.view_mut(), Some(out_lse.view_mut()))?;
    Ok((bytes(&out)?, bytes(&out_lse)?))
}
