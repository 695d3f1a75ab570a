//! One case in full: operands, the call, and what must come of it.

use std::fmt;

use super::Worst;
use super::memory::{Memory, Operand};
use super::values::decode;
use crate::gpu::{Device, Stream};
use crate::reference::compare::{self, Matrix};
use crate::tensor::DType;
use crate::{Error, Result};

/// What an operand must be after a launch.
#[derive(Debug)]
pub(super) enum Expected {
    /// These bytes.
    Bits(Vec<u8>),
    /// These bytes at the front; what follows is not looked at.
    Starts(Vec<u8>),
    /// The bytes of another operand that is written.
    Same(&'static str),
    /// The numbers of these bytes: of NaN there is one kind.
    Numbers(Vec<u8>),
    /// These numbers, by the rule of [`compare::elementwise`].
    Near { reference: Vec<f64>, naive: Vec<f64> },
    /// As [`Expected::Near`] where these rows and columns meet; all others need only be numbers.
    Sample { rows: Vec<usize>, columns: Vec<usize>, reference: Vec<f64>, naive: Vec<f64> },
}

/// The call of an operation on the operands.
pub(super) type Call = Box<dyn Fn(&Stream, &Memory<'_>) -> Result<()>>;

/// Operands, the call, and what must come of it.
pub(super) struct Problem {
    pub operands: Vec<Operand>,
    pub call: Call,
    pub outcome: Outcome,
}

/// What a call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It launches so many kernels.
    Launches(u64),
    /// It launches one kernel, or a second behind it where the device is better used so.
    LaunchesOneOrTwo,
    /// It refuses this argument.
    Refuses(&'static str),
}

/// What one run of a problem gave.
pub(super) struct Run {
    /// The bytes of each operand that is written.
    pub results: Vec<Vec<u8>>,
    /// The element that takes up most of its bound.
    pub worst: Option<Worst>,
}

/// Why a case failed.
#[derive(Debug)]
pub(super) enum Failure {
    Error(Error),
    Wrong(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Error(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Error(error) => error.fmt(f),
            Failure::Wrong(text) => f.write_str(text),
        }
    }
}

impl Failure {
    /// Says under which seed a result was wrong; an error of the simulated GPU says so itself.
    pub fn with_seed(self, device: &Device, seed: u64) -> Self {
        match self {
            Failure::Wrong(text) if device.is_simulated() => Failure::Wrong(format!("{text} (seed {seed})")),
            other => other,
        }
    }
}

impl Problem {
    /// Runs it twice in the same memory.
    pub fn run(&self, op: &'static str, device: &Device, guarded: bool) -> Result<Run, Failure> {
        let mut memory = Memory::allocate(device, &self.operands, guarded)?;
        let stream = device.new_stream()?;
        let first = self.launch(op, device, &stream, &mut memory)?;
        let second = self.launch(op, device, &stream, &mut memory)?;
        if first != second {
            return Err(Failure::Wrong("the same launch gave other bits the second time".into()));
        }
        Ok(Run { worst: self.judge(&first)?, results: first })
    }

    /// Bytes from the first to the last of each operand.
    pub fn num_bytes(&self) -> u64 {
        self.operands.iter().map(Operand::num_bytes).sum()
    }

    fn launch(
        &self,
        op: &'static str,
        device: &Device,
        stream: &Stream,
        memory: &mut Memory<'_>,
    ) -> Result<Vec<Vec<u8>>, Failure> {
        memory.initialise()?;
        let before = device.launches();
        let called = (self.call)(stream, memory);
        stream.synchronize()?;
        let launches = device.launches() - before;
        match (called, self.outcome) {
            (Ok(()), Outcome::Launches(expected)) if launches == expected => memory.results(),
            (Ok(()), Outcome::LaunchesOneOrTwo) if (1..=2).contains(&launches) => memory.results(),
            (Ok(()), Outcome::Launches(expected)) => {
                Err(Failure::Wrong(format!("{launches} kernels were launched instead of {expected}")))
            }
            (Ok(()), Outcome::LaunchesOneOrTwo) => {
                Err(Failure::Wrong(format!("{launches} kernels were launched instead of 1 or 2")))
            }
            (Err(Error::Argument { op: refusing, arg, .. }), Outcome::Refuses(refused))
                if refusing == op && arg == refused && launches == 0 =>
            {
                Ok(Vec::new())
            }
            (Ok(()), Outcome::Refuses(refused)) => Err(Failure::Wrong(format!("{refused} was not refused"))),
            (Err(error), _) => Err(error.into()),
        }
    }

    pub(super) fn judge(&self, results: &[Vec<u8>]) -> Result<Option<Worst>, Failure> {
        let written = self.operands.iter().filter_map(|operand| Some((operand, operand.expected.as_ref()?)));
        let mut worst: Option<Worst> = None;
        for ((operand, expected), result) in written.clone().zip(results) {
            let wrong =
                |difference: &dyn fmt::Display| Failure::Wrong(format!("{}: {difference}", operand.name));
            let (dtype, width) = (operand.dtype, operand.width());
            let compared = |out: &[f64], reference: &[f64], naive: &[f64], width: usize| {
                let matrix = |values| Matrix::new(values, width);
                compare::elementwise(matrix(out), matrix(reference), matrix(naive), dtype)
            };
            let found = |element: &compare::Worst| {
                Some(Worst { share: element.share(), place: format!("{} {element}", operand.name) })
            };
            match expected {
                Expected::Bits(bytes) => {
                    compare::bitwise(result, bytes, dtype, width).map_err(|error| wrong(&error))?;
                }
                Expected::Starts(bytes) => {
                    let front = result.get(..bytes.len()).unwrap_or(result);
                    compare::bitwise(front, bytes, dtype, bytes.len()).map_err(|error| wrong(&error))?;
                }
                Expected::Same(name) => {
                    let mut others = written.clone().zip(results);
                    let Some((_, other)) = others.find(|((operand, _), _)| operand.name == *name) else {
                        return Err(wrong(&format!("{name} is not written")));
                    };
                    compare::bitwise(result, other, dtype, width).map_err(|error| wrong(&error))?;
                }
                Expected::Numbers(bytes) => {
                    compare::bitwise(&one_nan(dtype, result), &one_nan(dtype, bytes), dtype, width)
                        .map_err(|error| wrong(&error))?;
                }
                Expected::Near { reference, naive } => {
                    let out = decode(dtype, result);
                    let element =
                        compared(&out, reference, naive, width).map_err(|element| wrong(&element))?;
                    worst = Worst::of_both(worst, found(&element));
                }
                Expected::Sample { rows, columns, reference, naive } => {
                    if let Some(at) = decode(dtype, result).iter().position(|value| value.is_nan()) {
                        return Err(wrong(&format!("[{}, {}] is not a number", at / width, at % width)));
                    }
                    let element = |row: &usize, column: &usize| {
                        let at = (row * width + column) * dtype.size();
                        decode(dtype, &result[at..at + dtype.size()])
                    };
                    let out: Vec<f64> = rows
                        .iter()
                        .flat_map(|row| columns.iter().flat_map(move |column| element(row, column)))
                        .collect();
                    // Where the element stands in the whole.
                    let whole = |element: compare::Worst| compare::Worst {
                        row: rows.get(element.row).copied().unwrap_or(element.row),
                        column: columns.get(element.column).copied().unwrap_or(element.column),
                        ..element
                    };
                    let element = compared(&out, reference, naive, columns.len())
                        .map(whole)
                        .map_err(|element| wrong(&whole(element)))?;
                    worst = Worst::of_both(worst, found(&element));
                }
            }
        }
        Ok(worst)
    }
}

/// The same bytes with one kind of NaN: which of them an operation gives is not said anywhere.
fn one_nan(dtype: DType, bytes: &[u8]) -> Vec<u8> {
    if !dtype.is_float() {
        return bytes.to_vec();
    }
    let numbers = decode(dtype, bytes);
    let nan_or = |(element, number): (&[u8], f64)| {
        if number.is_nan() { vec![0xFF; element.len()] } else { element.to_vec() }
    };
    bytes.chunks(dtype.size()).zip(numbers).flat_map(nan_or).collect()
}
