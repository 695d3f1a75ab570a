//! One case in full: operands, the call, and what must come of it.

use std::fmt;

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
    /// The numbers of these bytes: of NaN there is one kind.
    Numbers(Vec<u8>),
    /// These numbers, by the rule of [`compare::elementwise`].
    Near { reference: Vec<f64>, naive: Vec<f64> },
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
    /// It refuses this argument.
    Refuses(&'static str),
}

/// What one run of a problem gave.
pub(super) struct Run {
    /// The bytes of each operand that is written.
    pub results: Vec<Vec<u8>>,
    /// The largest part of its bound that an element takes up.
    pub share: Option<f64>,
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
        Ok(Run { share: self.judge(&first)?, results: first })
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
            (Ok(()), Outcome::Launches(expected)) => {
                Err(Failure::Wrong(format!("{launches} kernels were launched instead of {expected}")))
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

    fn judge(&self, results: &[Vec<u8>]) -> Result<Option<f64>, Failure> {
        let written = self.operands.iter().filter_map(|operand| Some((operand, operand.expected.as_ref()?)));
        let mut worst: Option<f64> = None;
        for ((operand, expected), result) in written.zip(results) {
            let wrong =
                |difference: &dyn fmt::Display| Failure::Wrong(format!("{}: {difference}", operand.name));
            let (dtype, width) = (operand.dtype, operand.width());
            match expected {
                Expected::Bits(bytes) => {
                    compare::bitwise(result, bytes, dtype, width).map_err(|error| wrong(&error))?;
                }
                Expected::Numbers(bytes) => {
                    compare::bitwise(&one_nan(dtype, result), &one_nan(dtype, bytes), dtype, width)
                        .map_err(|error| wrong(&error))?;
                }
                Expected::Near { reference, naive } => {
                    let out = decode(dtype, result);
                    let matrix = |values| Matrix::new(values, width);
                    let element = compare::elementwise(matrix(&out), matrix(reference), matrix(naive), dtype)
                        .map_err(|element| wrong(&element))?;
                    worst = Some(worst.map_or(element.share(), |worst| worst.max(element.share())));
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
