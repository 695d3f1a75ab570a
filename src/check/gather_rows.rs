//! Cases of `gather_rows`.

use super::Case;
use super::memory::Operand;
use super::problem::{Expected, Outcome, Problem};
use super::values::{ACTIVATIONS, Rng, bytes, cpu, encode, tensor};
use crate::backend::{self, Backend};
use crate::params::DEVICE_ERROR_ROW_INDEX;
use crate::reference::Cpu;
use crate::tensor::DType;
use crate::{Result, ops, plan};

/// `[rows wanted, tokens, hidden]`: none, all of few, few of many, both sides of a block of rows, the widths of the models.
const SHAPES: [[usize; 3]; 11] = [
    [0, 5, 4096],
    [1, 1, 8],
    [1, 70, 24],
    [7, 3, 40],
    [5, 9, 264],
    [33, 100, 64],
    [3, 7, 1032],
    [4, 6, 2048],
    [3, 5, 4096],
    [2, 5, 8192],
    [2, 2, plan::MAX_ROW],
];

/// Elements from one row to the next that put the third row beyond 2^31 elements.
const FAR: usize = (1 << 30) + 64;

/// A bit of the error word that is not the kernel's.
const FOREIGN_BIT: u32 = 1 << 31;

/// What is special about a case.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Strided,
    /// The last rows lie beyond 2^31 elements.
    Far,
    /// Indices outside of x, with an error word.
    Unknown,
    /// Indices outside of x that nobody is told of.
    UnknownUntold,
    Misaligned(&'static str),
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for dtype in ACTIVATIONS {
        let mut case = |shape: [usize; 3], kind| {
            let what = match kind {
                Kind::Plain => String::new(),
                Kind::Strided => " strided".into(),
                Kind::Far => " beyond 2^31 elements".into(),
                Kind::Unknown => " with unknown indices".into(),
                Kind::UnknownUntold => " with unknown indices, no error word".into(),
                Kind::Misaligned(operand) => format!(" {operand} misaligned"),
            };
            let [rows, tokens, hidden] = shape;
            let name = format!("{dtype} {rows} of [{tokens}, {hidden}]{what}");
            cases.push(Case::new("gather_rows", name, move || problem(dtype, shape, kind)));
        };
        for shape in SHAPES {
            case(shape, Kind::Plain);
        }
        for shape in [[6, 5, 24], [5, 7, 4096]] {
            case(shape, Kind::Strided);
            case(shape, Kind::Unknown);
            case(shape, Kind::UnknownUntold);
        }
        case([3, 3, 256], Kind::Far);
        // Without a row in x every index is unknown.
        case([3, 0, 64], Kind::Unknown);
        for operand in ["rows", "x", "out"] {
            case([3, 5, 256], Kind::Misaligned(operand));
        }
    }
    cases
}

/// The last tokens of many prompts.
pub(super) fn model_cases() -> Vec<Case> {
    let (dtype, shape) = (DType::BF16, [256, 8192, 8192]);
    let problem = move || problem(dtype, shape, Kind::Plain);
    vec![Case::new("gather_rows", format!("{dtype} {shape:?}"), problem)]
}

fn problem(dtype: DType, [num_rows, tokens, hidden]: [usize; 3], kind: Kind) -> Result<Problem> {
    let mut rng = Rng((num_rows * hidden) as u64);
    let x = rng.normal(dtype, tokens * hidden, 1.0);
    let mut rows: Vec<i32> = (0..num_rows).map(|_| rng.below(tokens.max(1)) as i32).collect();
    match kind {
        Kind::Far => rows = (0..num_rows as i32).rev().collect(),
        Kind::Unknown | Kind::UnknownUntold => {
            for (row, unknown) in rows.iter_mut().zip([tokens as i32, -1, i32::MAX, i32::MIN]) {
                *row = unknown;
            }
        }
        _ => {}
    }
    let known = |row: i32| (0..tokens as i32).contains(&row);

    // The reference refuses an unknown index: what it gives for the others stands between rows of zeros.
    let asked: Vec<f64> = rows.iter().filter(|&&row| known(row)).map(|&row| f64::from(row)).collect();
    let mut cpu: Cpu<f32> = cpu();
    let mut found = cpu.alloc(dtype, &[asked.len(), hidden])?;
    cpu.gather_rows(backend::GatherRows {
        x: tensor(dtype, &[tokens, hidden], &x)?.view(),
        rows: tensor(DType::I32, &[asked.len()], &asked)?.view(),
        out: found.view_mut(),
    })?;
    let found = bytes(&found)?;
    let mut found = found.chunks(hidden * dtype.size());
    let zeros = vec![0; hidden * dtype.size()];
    let out = rows.iter().flat_map(|&row| if known(row) { found.next().unwrap_or(&[]) } else { &zeros });
    let out = out.copied().collect();

    let told = kind != Kind::UnknownUntold;
    let unknown = rows.iter().any(|&row| !known(row));
    let error = FOREIGN_BIT | if told && unknown { DEVICE_ERROR_ROW_INDEX } else { 0 };
    let word = |bits: u32| bits.to_le_bytes().to_vec();
    let operands = [
        Operand::input("x", dtype, &[tokens, hidden], encode(dtype, &x)),
        Operand::input(
            "rows",
            DType::I32,
            &[num_rows],
            rows.iter().flat_map(|row| row.to_le_bytes()).collect(),
        ),
        Operand::output("out", dtype, &[num_rows, hidden], Expected::Bits(out)),
        Operand::updated("error", DType::U32, &[1], word(FOREIGN_BIT), Expected::Bits(word(error))),
    ];
    let place = |(i, operand): (usize, Operand)| match (kind, operand.name) {
        (Kind::Strided, "x" | "out") => operand.with_gap(8 * (i + 1)),
        (Kind::Far, "x" | "out") => operand.with_gap(FAR),
        // Half an element: an index's address must be a multiple of 4.
        (Kind::Misaligned("rows"), "rows") => operand.misplaced(2),
        (Kind::Misaligned(name), _) if name == operand.name => operand.misplaced(dtype.size()),
        _ => operand,
    };
    Ok(Problem {
        operands: operands.into_iter().enumerate().map(place).collect(),
        call: Box::new(move |stream, memory| {
            let (x, rows, out) = (memory.read("x")?, memory.read("rows")?, memory.write("out")?);
            let error = if told { Some(memory.write("error")?) } else { None };
            ops::gather_rows(stream, &ops::GatherRows { x, rows, out, error })
        }),
        outcome: match kind {
            Kind::Misaligned(operand) => Outcome::Refuses(operand),
            _ => Outcome::Launches(u64::from(num_rows > 0)),
        },
    })
}
