//! Cases of `permute_columns`, and the orders of columns that cases of norms have too.

use super::Case;
use super::memory::Operand;
use super::problem::{Expected, Outcome, Problem};
use super::values::{ACTIVATIONS, Rng, encode};
use crate::params::DEVICE_ERROR_COLUMN;
use crate::tensor::DType;
use crate::{Result, ops, plan};

/// `[tokens, width]`: no token, one, rows that share a block, and the widths of all Llama models' activations.
const SHAPES: [[usize; 2]; 14] = [
    [0, 4096],
    [1, 8],
    [9, 24],
    [2, 120],
    [5, 256],
    [131, 64],
    [3, 1000],
    [6, 1024],
    [3, 1032],
    [5, 2048],
    [3, 4096],
    [3, 8192],
    [2, 16384],
    [2, plan::MAX_ROW],
];

/// Elements from one row to the next that put the second row beyond 2^31 elements.
const FAR: usize = (1 << 31) + 64;

/// A bit of the error word that is not the kernel's.
const FOREIGN_BIT: u32 = 1 << 31;

/// In what order columns are written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Columns {
    /// Each once.
    Permuted,
    /// Some of them none of the row's, with an error word.
    Unknown,
    /// Likewise, and nobody is told.
    UnknownUntold,
}

/// The columns themselves.
pub(super) struct Order {
    columns: Vec<i32>,
    told: bool,
}

impl Columns {
    pub fn text(self) -> &'static str {
        match self {
            Columns::Permuted => " permuted",
            Columns::Unknown => " with unknown columns",
            Columns::UnknownUntold => " with unknown columns, no error word",
        }
    }

    /// Whether there is an error word.
    pub fn told(self) -> bool {
        self != Columns::UnknownUntold
    }

    /// Of rows of this width.
    pub fn of(self, width: usize) -> Order {
        let mut columns: Vec<i32> = (0..width as i32).collect();
        Rng(width as u64 + 1).shuffle(&mut columns);
        if self != Columns::Permuted {
            let unknown = [width as i32, -1, i32::MAX, i32::MIN];
            for (column, unknown) in columns.iter_mut().step_by(5).zip(unknown) {
                *column = unknown;
            }
            // And one twice.
            columns[width - 1] = columns[width - 2];
        }
        Order { columns, told: self.told() }
    }
}

impl Order {
    /// Rows of elements of this size, with their columns in this order; zeros for those that a row does not have.
    pub fn permuted(&self, rows: &[u8], size: usize) -> Vec<u8> {
        let zero = vec![0; size];
        let element = |row: &[u8], column: i32| {
            let found = usize::try_from(column).ok().and_then(|column| row.chunks(size).nth(column));
            found.map_or_else(|| zero.clone(), <[u8]>::to_vec)
        };
        let row = |row| self.columns.iter().flat_map(move |&column| element(row, column));
        rows.chunks(self.columns.len() * size).flat_map(row).collect()
    }

    /// `columns`, and `error` as a call on at least one row must leave it.
    pub fn operands(&self, rows: usize) -> [Operand; 2] {
        let width = self.columns.len();
        let known = |column: &i32| (0..width as i32).contains(column);
        let unknown = rows > 0 && !self.columns.iter().all(known);
        let error = FOREIGN_BIT | if self.told && unknown { DEVICE_ERROR_COLUMN } else { 0 };
        let word = |bits: u32| bits.to_le_bytes().to_vec();
        let columns = bytemuck::cast_slice(&self.columns).to_vec();
        [
            Operand::input("columns", DType::I32, &[width], columns),
            Operand::updated("error", DType::U32, &[1], word(FOREIGN_BIT), Expected::Bits(word(error))),
        ]
    }
}

/// What is special about a case.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    /// Rows apart, x's by another distance than out's.
    Strided,
    /// The second row lies beyond 2^31 elements.
    Far,
    /// `out` is `x`.
    InPlace,
    Misaligned(&'static str),
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for dtype in ACTIVATIONS {
        let mut case = |columns, shape, kind| cases.push(case(dtype, columns, shape, kind));
        for shape in SHAPES {
            case(Columns::Permuted, shape, Kind::Plain);
        }
        for shape in [[7, 40], [3, 4096]] {
            for kind in [Kind::Strided, Kind::InPlace] {
                case(Columns::Permuted, shape, kind);
                case(Columns::Unknown, shape, kind);
            }
            case(Columns::UnknownUntold, shape, Kind::Plain);
        }
        case(Columns::Permuted, [2, 256], Kind::Far);
        for operand in ["x", "columns", "out"] {
            case(Columns::Permuted, [3, 256], Kind::Misaligned(operand));
        }
    }
    cases
}

/// The input of `o_proj`, where prompts of the models pass it.
pub(super) fn model_cases() -> Vec<Case> {
    vec![case(DType::BF16, Columns::Permuted, [8192, 4096], Kind::Plain)]
}

fn case(dtype: DType, columns: Columns, shape: [usize; 2], kind: Kind) -> Case {
    let what = match kind {
        Kind::Plain => String::new(),
        Kind::Strided => " strided".into(),
        Kind::Far => " beyond 2^31 elements".into(),
        Kind::InPlace => " in place".into(),
        Kind::Misaligned(operand) => format!(" {operand} misaligned"),
    };
    let name = format!("{dtype} {shape:?}{}{what}", columns.text());
    Case::new("permute_columns", name, move || problem(dtype, columns, shape, kind))
}

fn problem(dtype: DType, columns: Columns, shape: [usize; 2], kind: Kind) -> Result<Problem> {
    let [tokens, width] = shape;
    let order = columns.of(width);
    let x = encode(dtype, &Rng(width as u64).normal(dtype, tokens * width, 1.0));
    let expected = Expected::Bits(order.permuted(&x, dtype.size()));
    let in_place = kind == Kind::InPlace;
    let mut operands = Vec::new();
    if in_place {
        operands.push(Operand::updated("x", dtype, &shape, x, expected));
    } else {
        operands.push(Operand::input("x", dtype, &shape, x));
        operands.push(Operand::output("out", dtype, &shape, expected));
    }
    operands.extend(order.operands(tokens));
    let place = |(i, operand): (usize, Operand)| match (kind, operand.name) {
        (Kind::Strided, "x" | "out") => operand.with_gap(8 * (i + 1)),
        (Kind::Far, "x" | "out") => operand.with_gap(FAR),
        (Kind::Misaligned(name), _) if name == operand.name => {
            let size = operand.dtype.size();
            operand.misplaced(size)
        }
        _ => operand,
    };
    let told = columns.told();
    Ok(Problem {
        operands: operands.into_iter().enumerate().map(place).collect(),
        call: Box::new(move |stream, memory| {
            let (x, columns) = (memory.read("x")?, memory.read("columns")?);
            let out = memory.write(if in_place { "x" } else { "out" })?;
            let error = told.then(|| memory.write("error")).transpose()?;
            ops::permute_columns(stream, &ops::PermuteColumns { x, columns, out, error })
        }),
        outcome: match kind {
            Kind::Misaligned(operand) => Outcome::Refuses(operand),
            _ => Outcome::Launches(u64::from(tokens > 0)),
        },
    })
}
