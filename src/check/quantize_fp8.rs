//! Cases of `quantize_fp8`: every bit is the reference's.

use super::Case;
use super::memory::Operand;
use super::problem::{Expected, Outcome, Problem};
use super::values::{ACTIVATIONS, Rng, bytes, cpu, encode};
use crate::backend::{self, ActivationMut, Backend};
use crate::params::FP8_GROUP_COLUMNS;
use crate::tensor::DType;
use crate::{Result, ops, plan};

/// `[tokens, width]`: no token, one, rows that share a block, both sides of a block's warps, the widths of all Llama models.
const SHAPES: [[usize; 2]; 20] = [
    [0, 4096],
    [1, 8],
    [1, 16],
    [3, 24],
    [9, 120],
    [5, 128],
    [7, 136],
    [131, 64],
    [6, 384],
    [3, 1000],
    [3, 1024],
    [2, 1152],
    [5, 2048],
    [4, 3072],
    [3, 4096],
    [3, 8192],
    [2, 14_336],
    [1, 28_672],
    [2, plan::MAX_ROW + 128],
    [1, plan::MAX_QUANTIZED_ROW],
];

/// Elements from one row to the next that put the second row beyond 2^31 elements.
const FAR: usize = (1 << 31) + 64;

/// What is special about a case.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    /// Rows apart, each operand's by another distance.
    Strided,
    /// The second row lies beyond 2^31 elements.
    Far,
    /// NaN and infinity in rows of their own, and rows that are all NaN, all zeros and all negative zeros.
    NotFinite,
    /// Numbers from one end of the type to the other, so that most codes are subnormal or zero.
    Wide,
    /// Rows whose scale is subnormal or rounds to zero.
    Tiny,
    /// Each of the 65,536 bit patterns: beside its neighbours, so that each is near its row's scale; and beside 448, so that
    /// the scale is 1 and the codes are those of the numbers themselves.
    Every,
    /// This operand starts less than its alignment behind an aligned address.
    Misaligned(&'static str),
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for dtype in ACTIVATIONS {
        let mut both = |shape: [usize; 2], kind| {
            cases.push(case(dtype, shape, 1, kind));
            let columns = FP8_GROUP_COLUMNS as usize;
            if shape[1].is_multiple_of(columns) && shape[1] > columns {
                cases.push(case(dtype, shape, shape[1] / columns, kind));
            }
        };
        for shape in SHAPES {
            both(shape, Kind::Plain);
        }
        for shape in [[3, 8], [5, 120], [4, 1152], [3, 4096]] {
            both(shape, Kind::Strided);
        }
        both([2, 256], Kind::Far);
        for shape in [[9, 248], [9, 384], [9, 2048]] {
            both(shape, Kind::NotFinite);
            both(shape, Kind::Wide);
            both(shape, Kind::Tiny);
        }
        both([512, 256], Kind::Every);
        for operand in ["x", "codes", "scale"] {
            both([3, 256], Kind::Misaligned(operand));
        }
    }
    cases
}

/// Prompts of the models' widths.
pub(super) fn model_cases() -> Vec<Case> {
    [(DType::BF16, [8192, 4096], 1), (DType::F16, [8192, 8192], 64), (DType::BF16, [2048, 28_672], 1)]
        .map(|(dtype, shape, groups)| case(dtype, shape, groups, Kind::Plain))
        .into()
}

fn case(dtype: DType, shape: [usize; 2], groups: usize, kind: Kind) -> Case {
    let what = match kind {
        Kind::Plain => String::new(),
        Kind::Strided => " strided".into(),
        Kind::Far => " beyond 2^31 elements".into(),
        Kind::NotFinite => " with NaN and infinity".into(),
        Kind::Wide => " of mixed magnitude".into(),
        Kind::Tiny => " of subnormal scales".into(),
        Kind::Every => " of every number".into(),
        Kind::Misaligned(operand) => format!(" {operand} misaligned"),
    };
    let name = format!("{dtype} {shape:?} scales {groups}{what}");
    Case::new("quantize_fp8", name, move || problem(dtype, shape, groups, kind))
}

/// The bytes of x.
fn content(dtype: DType, [tokens, width]: [usize; 2], kind: Kind) -> Vec<u8> {
    if kind == Kind::Every {
        return every(dtype);
    }
    let mut rng = Rng((tokens * width) as u64);
    let mut values = rng.normal(dtype, tokens * width, 1.5);
    for (row, values) in values.chunks_mut(width).enumerate() {
        match kind {
            Kind::NotFinite => {
                match row {
                    5 => values.fill(f64::NAN),
                    6 => values.fill(0.0),
                    7 => values.fill(-0.0),
                    8 => (values[0], values[7], values[9]) = (f64::INFINITY, f64::NAN, f64::NEG_INFINITY),
                    _ => {}
                }
                // The last column, in whose group others are.
                let last = width - 1;
                match row {
                    1 => values[last] = f64::NAN,
                    2 => values[last] = -f64::NAN,
                    3 => values[last] = f64::INFINITY,
                    4 => values[last] = f64::NEG_INFINITY,
                    _ => {}
                }
            }
            Kind::Wide => {
                for (i, value) in values.iter_mut().enumerate() {
                    *value *= f64::powi(2.0, (i * 7 + row) as i32 % 29 - 14);
                }
            }
            Kind::Tiny => {
                // The smallest subnormal of bf16 is 2^-133, that of f16 2^-24.
                let (smallest, step) = if dtype == DType::BF16 { (-133, 2) } else { (-24, 1) };
                let scale = f64::powi(2.0, smallest + step * row as i32);
                values.iter_mut().for_each(|value| *value *= scale);
            }
            _ => {}
        }
    }
    encode(dtype, &values)
}

/// See [`Kind::Every`]: 256 rows of 256 neighbours, then 256 of every 256th number.
fn every(dtype: DType) -> Vec<u8> {
    let largest = encode(dtype, &[448.0]);
    let largest = u16::from_le_bytes([largest[0], largest[1]]);
    let infinity = if dtype == DType::BF16 { 0x7F80 } else { 0x7C00 };
    let beside = |bits: u16| {
        let magnitude = bits & 0x7FFF;
        // NaN stays.
        if (largest..=infinity).contains(&magnitude) { bits & 0x8000 | largest } else { bits }
    };
    let apart = (0..=u16::MAX).map(|i| beside(i.rotate_left(8)));
    (0..=u16::MAX).chain(apart).flat_map(u16::to_le_bytes).collect()
}

fn problem(dtype: DType, shape: [usize; 2], groups: usize, kind: Kind) -> Result<Problem> {
    let content = content(dtype, shape, kind);
    let [codes, scale] = reference(dtype, shape, groups, &content)?;
    let operands = [
        Operand::input("x", dtype, &shape, content),
        Operand::output("codes", DType::F8E4M3, &shape, Expected::Bits(codes)),
        Operand::output("scale", DType::F32, &[shape[0], groups], Expected::Bits(scale)),
    ];
    let place = |(i, operand): (usize, Operand)| match kind {
        // No more than an element between scales.
        Kind::Strided => operand.with_gap(if i == 2 { 1 } else { 8 * (i + 1) }),
        Kind::Far => operand.with_gap(FAR),
        Kind::Misaligned(name) if name == operand.name => {
            operand.misplaced(if name == "codes" { 4 } else { 2 })
        }
        _ => operand,
    };
    Ok(Problem {
        operands: operands.into_iter().enumerate().map(place).collect(),
        call: Box::new(|stream, memory| {
            let out = ops::Fp8Mut { codes: memory.write("codes")?, scale: memory.write("scale")? };
            ops::quantize_fp8(stream, &ops::QuantizeFp8 { x: memory.read("x")?, out })
        }),
        outcome: match kind {
            Kind::Misaligned(operand) => Outcome::Refuses(operand),
            _ => Outcome::Launches(u64::from(shape[0] > 0)),
        },
    })
}

/// The CPU reference's codes and scales.
fn reference(dtype: DType, shape: [usize; 2], groups: usize, content: &[u8]) -> Result<[Vec<u8>; 2]> {
    let mut cpu = cpu::<f32>();
    let mut x = cpu.alloc(dtype, &shape)?;
    cpu.upload(x.view_mut(), content)?;
    let mut codes = cpu.alloc(DType::F8E4M3, &shape)?;
    let mut scale = cpu.alloc(DType::F32, &[shape[0], groups])?;
    let out = ActivationMut::Fp8 { codes: codes.view_mut(), scale: scale.view_mut(), rounded_to: dtype };
    cpu.quantize_fp8(backend::QuantizeFp8 { x: x.view(), out })?;
    Ok([bytes(&codes)?, bytes(&scale)?])
}
