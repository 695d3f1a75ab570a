//! Cases of `silu_and_mul`.

use super::Case;
use super::memory::Operand;
use super::problem::{Expected, Outcome, Problem};
use super::values::{ACTIVATIONS, Rng, bytes, cpu, decode, encode, tensor};
use crate::backend::{ActivationMut, Backend};
use crate::reference::{self, Real};
use crate::tensor::DType;
use crate::{Result, ops};

/// `[tokens, intermediate]`: no token, one, both sides of a block's width, and the widths of all Llama models.
const SHAPES: [[usize; 2]; 17] = [
    [0, 14336],
    [1, 8],
    [3, 16],
    [7, 24],
    [2, 1000],
    [3, 2040],
    [3, 2048],
    [2, 2056],
    [33, 64],
    [3, 8192],
    [2, 11008],
    [1, 13824],
    [2, 14336],
    [1, 17920],
    [1, 22016],
    [1, 28672],
    [1, 53248],
];

const FAR: usize = (1 << 31) + 64;

/// What is special about a case.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Plain,
    Strided,
    /// The second row lies beyond 2^31 elements.
    Far,
    NotFinite,
    /// Gates at which exp leaves the range of f32, products that leave that of f16.
    Extreme,
    Misaligned(&'static str),
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for dtype in ACTIVATIONS {
        let mut case = |shape: [usize; 2], kind| {
            let what = match kind {
                Kind::Plain => String::new(),
                Kind::Strided => " strided".into(),
                Kind::Far => " beyond 2^31 elements".into(),
                Kind::NotFinite => " with NaN and infinity".into(),
                Kind::Extreme => " at the ends of the range".into(),
                Kind::Misaligned(operand) => format!(" {operand} misaligned"),
            };
            let name = format!("{dtype} {shape:?}{what}");
            cases.push(Case::new("silu_and_mul", name, move || problem(dtype, shape, kind)));
        };
        for shape in SHAPES {
            case(shape, Kind::Plain);
        }
        for shape in [[5, 24], [3, 2056], [2, 14336]] {
            case(shape, Kind::Strided);
        }
        case([2, 256], Kind::Far);
        case([3, 248], Kind::NotFinite);
        case([3, 248], Kind::Extreme);
        for operand in ["gate_up", "out"] {
            case([3, 256], Kind::Misaligned(operand));
        }
    }
    cases
}

/// Prompts of the models' widths.
pub(super) fn model_cases() -> Vec<Case> {
    let shapes = [(DType::BF16, [4096, 14336]), (DType::F16, [2048, 28672])];
    let case = |(dtype, shape)| {
        Case::new("silu_and_mul", format!("{dtype} {shape:?}"), move || problem(dtype, shape, Kind::Plain))
    };
    shapes.map(case).into()
}

pub(super) fn problem(dtype: DType, [tokens, intermediate]: [usize; 2], kind: Kind) -> Result<Problem> {
    let (shape_in, shape_out) = ([tokens, 2 * intermediate], [tokens, intermediate]);
    let mut values = Rng(intermediate as u64).normal(dtype, tokens * 2 * intermediate, 3.0);
    let special: &[(f64, f64)] = match kind {
        Kind::NotFinite => {
            const INF: f64 = f64::INFINITY;
            &[(f64::NAN, 1.0), (1.0, f64::NAN), (INF, 2.0), (-INF, 2.0), (2.0, -INF), (INF, -INF), (0.0, INF)]
        }
        Kind::Extreme => &[
            (-87.0, 1.0),
            (-88.5, 3.0),
            (-104.0, 3.0),
            (-1000.0, 1.0),
            (-30000.0, 2.0),
            (-0.0, 5.0),
            (30000.0, 2.0),
            (30000.0, 30000.0),
            (6e-8, 1.0),
        ],
        _ => &[],
    };
    // In the second row.
    for (i, &(gate, up)) in special.iter().enumerate() {
        let at = shape_in[1] + 3 + 8 * i;
        (values[at], values[at + intermediate]) = (gate, up);
    }
    let content = encode(dtype, &values);
    // What the element type makes of them.
    let values = decode(dtype, &content);
    let expected = Expected::Near {
        reference: decode(DType::F64, &reference::<f64>(DType::F64, shape_in, &values)?),
        naive: decode(dtype, &reference::<f32>(dtype, shape_in, &values)?),
    };
    let operands = [
        Operand::input("gate_up", dtype, &shape_in, content),
        Operand::output("out", dtype, &shape_out, expected),
    ];
    let place = |(i, operand): (usize, Operand)| match kind {
        Kind::Strided => operand.with_gap(8 * (i + 1)),
        Kind::Far => operand.with_gap(FAR),
        Kind::Misaligned(name) if name == operand.name => operand.misplaced(dtype.size()),
        _ => operand,
    };
    Ok(Problem {
        operands: operands.into_iter().enumerate().map(place).collect(),
        call: Box::new(|stream, memory| {
            let (gate_up, out) = (memory.read("gate_up")?, memory.write("out")?);
            ops::silu_and_mul(stream, &ops::SiluAndMul { gate_up, out })
        }),
        outcome: match kind {
            Kind::Misaligned(operand) => Outcome::Refuses(operand),
            _ => Outcome::Launches(u64::from(tokens > 0)),
        },
    })
}

/// The CPU reference in `A`, rounding to `dtype` where it stores.
fn reference<A: Real>(dtype: DType, shape: [usize; 2], values: &[f64]) -> Result<Vec<u8>> {
    let x = tensor(dtype, &shape, values)?;
    let mut out = cpu::<A>().alloc(dtype, &[shape[0], shape[1] / 2])?;
    reference::silu_and_mul::<A>(x.view(), ActivationMut::Native(out.view_mut()))?;
    bytes(&out)
}
