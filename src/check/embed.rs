//! Cases of `embed`.

use super::Case;
use super::memory::Operand;
use super::problem::{Expected, Outcome, Problem};
use super::values::{ACTIVATIONS, Rng, bytes, cpu, encode, tensor};
use crate::backend::{self, Backend, RowOrder, WeightFormat, WeightSource};
use crate::params::DEVICE_ERROR_TOKEN_ID;
use crate::reference::Cpu;
use crate::tensor::{Bytes, DType, HostTensor};
use crate::{Result, ops, plan};

/// `[tokens, vocabulary, hidden]`.
const SHAPES: [[usize; 3]; 15] = [
    [0, 5, 4096],
    [1, 1, 8],
    [3, 7, 16],
    [9, 3, 24],
    [5, 13, 248],
    [4, 9, 264],
    [131, 50, 64],
    [2, 3, 1032],
    [5, 11, 2048],
    [3, 5, 3072],
    [3, 5, 4096],
    [2, 3, 5120],
    [2, 3, 8192],
    [1, 2, 16384],
    [2, 3, plan::MAX_ROW],
];

/// Elements from one row to the next that put the third row of the table beyond 2^31 elements.
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
    /// Ids outside the table, with an error word.
    UnknownIds,
    /// Ids outside the table that nobody is told of.
    UnknownIdsUntold,
    /// NaN, infinity and subnormal numbers are copied bit by bit.
    AnyBits,
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
                Kind::UnknownIds => " with ids outside the table".into(),
                Kind::UnknownIdsUntold => " with ids outside the table, no error word".into(),
                Kind::AnyBits => " of any bits".into(),
                Kind::Misaligned(operand) => format!(" {operand} misaligned"),
            };
            let [tokens, vocabulary, hidden] = shape;
            let name = format!("{dtype} {tokens} of [{vocabulary}, {hidden}]{what}");
            cases.push(Case::new("embed", name, move || problem(dtype, shape, kind)));
        };
        for shape in SHAPES {
            case(shape, Kind::Plain);
        }
        for shape in [[5, 7, 24], [3, 5, 4096]] {
            case(shape, Kind::Strided);
            case(shape, Kind::UnknownIds);
            case(shape, Kind::UnknownIdsUntold);
            case(shape, Kind::AnyBits);
        }
        case([3, 3, 256], Kind::Far);
        for operand in ["ids", "table", "out"] {
            case([3, 5, 256], Kind::Misaligned(operand));
        }
    }
    cases
}

/// A prompt, from the table of Llama 3.
pub(super) fn model_cases() -> Vec<Case> {
    let (dtype, shape) = (DType::BF16, [8192, 128_256, 4096]);
    let problem = move || problem(dtype, shape, Kind::AnyBits);
    vec![Case::new("embed", format!("{dtype} {shape:?} of any bits"), problem)]
}

fn problem(dtype: DType, [tokens, vocabulary, hidden]: [usize; 3], kind: Kind) -> Result<Problem> {
    let mut rng = Rng(hidden as u64);
    let table = match kind {
        Kind::AnyBits => (0..vocabulary * hidden).flat_map(|_| (rng.next() as u16).to_le_bytes()).collect(),
        _ => encode(dtype, &rng.normal(dtype, vocabulary * hidden, 1.0)),
    };
    let mut ids: Vec<i32> = (0..tokens).map(|_| rng.below(vocabulary) as i32).collect();
    match kind {
        Kind::Far => ids = (0..tokens as i32).rev().collect(),
        Kind::UnknownIds | Kind::UnknownIdsUntold => {
            for (id, unknown) in ids.iter_mut().zip([vocabulary as i32, -1, i32::MAX, i32::MIN]) {
                *id = unknown;
            }
        }
        _ => {}
    }
    let known = |id: i32| usize::try_from(id).is_ok_and(|id| id < vocabulary);
    let unknown = ids.iter().any(|&id| !known(id));

    // The reference refuses an unknown id: it gets row 0 in its place, and zeros are expected.
    let rows = ids.iter().map(|&id| if known(id) { id } else { 0 });
    let mut out = match kind {
        // By way of f32 a NaN does not keep its bits; the kernel copies them.
        Kind::AnyBits => {
            let row_bytes = hidden * dtype.size();
            rows.flat_map(|id| &table[id as usize * row_bytes..][..row_bytes]).copied().collect()
        }
        _ => reference(dtype, &table, hidden, rows)?,
    };
    for (row, &id) in out.chunks_mut(hidden * dtype.size()).zip(&ids) {
        if !known(id) {
            row.fill(0);
        }
    }
    let told = kind != Kind::UnknownIdsUntold;
    let error = FOREIGN_BIT | if unknown { DEVICE_ERROR_TOKEN_ID } else { 0 };
    let word = |bits: u32| bits.to_le_bytes().to_vec();
    let ids = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
    let operands = [
        Operand::input("ids", DType::I32, &[tokens], ids),
        Operand::input("table", dtype, &[vocabulary, hidden], table),
        Operand::output("out", dtype, &[tokens, hidden], Expected::Bits(out)),
        Operand::updated(
            "error",
            DType::U32,
            &[1],
            word(FOREIGN_BIT),
            Expected::Bits(word(if told { error } else { FOREIGN_BIT })),
        ),
    ];
    let place = |(i, operand): (usize, Operand)| match kind {
        Kind::Strided if matches!(operand.name, "table" | "out") => operand.with_gap(8 * i),
        Kind::Far if matches!(operand.name, "table" | "out") => operand.with_gap(FAR),
        // Half an element: an id's address must be a multiple of 4.
        Kind::Misaligned("ids") if operand.name == "ids" => operand.misplaced(2),
        Kind::Misaligned(name) if name == operand.name => operand.misplaced(dtype.size()),
        _ => operand,
    };
    Ok(Problem {
        operands: operands.into_iter().enumerate().map(place).collect(),
        call: Box::new(move |stream, memory| {
            let (ids, table, out) = (memory.read("ids")?, memory.read("table")?, memory.write("out")?);
            let error = if told { Some(memory.write("error")?) } else { None };
            ops::embed(stream, &ops::Embed { ids, table, out, error })
        }),
        outcome: match kind {
            Kind::Misaligned(operand) => Outcome::Refuses(operand),
            _ => Outcome::Launches(u64::from(tokens > 0)),
        },
    })
}

/// The CPU reference on ids that the table has.
fn reference(dtype: DType, table: &[u8], hidden: usize, ids: impl Iterator<Item = i32>) -> Result<Vec<u8>> {
    let ids: Vec<f64> = ids.map(f64::from).collect();
    let mut cpu: Cpu<f32> = cpu();
    let shape = vec![table.len() / dtype.size() / hidden, hidden];
    let part = HostTensor { name: "table".into(), dtype, shape, data: Bytes::new(table.to_vec()) };
    let table = cpu.load_weight(WeightSource {
        parts: vec![part],
        biases: Vec::new(),
        rows: RowOrder::Concatenated,
        format: WeightFormat::Native,
    })?;
    let ids = tensor(DType::I32, &[ids.len()], &ids)?;
    let mut out = cpu.alloc(dtype, &[ids.shape()[0], hidden])?;
    cpu.embed(backend::Embed { ids: ids.view(), table: &table, out: out.view_mut() })?;
    bytes(&out)
}
