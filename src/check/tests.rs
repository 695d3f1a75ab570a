//! That a case fails where an operation is wrong: calls that do what they should not.

use super::problem::{Failure, Outcome, Problem};
use super::silu_and_mul::{Kind, problem};
use super::{Case, Options, cases, model_cases};
use crate::device::DeviceChoice;
use crate::gpu::{Device, TensorMut, TensorRef};
use crate::ops::{self, SiluAndMul};
use crate::tensor::DType;
use crate::{Error, Result};

const TOKENS: usize = 3;
const WIDTH: usize = 64;

/// Runs silu_and_mul of 3 rows with another call in its place.
fn run(
    guarded: bool,
    call: impl Fn(&crate::gpu::Stream, &super::memory::Memory<'_>) -> Result<()> + 'static,
) -> Result<(), String> {
    let device = Device::open(DeviceChoice::SIM).unwrap();
    let right = problem(DType::BF16, [TOKENS, WIDTH], Kind::Plain).unwrap();
    let wrong = Problem { call: Box::new(call), ..right };
    wrong.run("silu_and_mul", &device, guarded).map(drop).map_err(|failure| failure.to_string())
}

/// `rows` rows of an operand, whatever it has.
fn read<'a>(tensor: &TensorRef<'_>, device: &Device, rows: usize) -> TensorRef<'a> {
    // SAFETY: a simulated GPU reports what lies outside of an operand.
    unsafe { TensorRef::from_raw(device, tensor.address(), DType::BF16, &[rows, 2 * WIDTH], &[2 * WIDTH, 1]) }
        .unwrap()
}

fn write<'a>(tensor: &TensorMut<'_>, device: &Device, rows: usize) -> TensorMut<'a> {
    // SAFETY: as above.
    unsafe {
        TensorMut::from_raw(device, tensor.as_ref().address(), DType::BF16, &[rows, WIDTH], &[WIDTH, 1])
    }
    .unwrap()
}

/// The operation on another number of rows.
fn with_rows(guarded: bool, gate_up_rows: usize, out_rows: usize) -> Result<(), String> {
    run(guarded, move |stream, memory| {
        let gate_up = read(&memory.read("gate_up")?, stream.device(), gate_up_rows);
        let out = write(&memory.write("out")?, stream.device(), out_rows);
        ops::silu_and_mul(stream, &SiluAndMul { gate_up, out })
    })
}

#[test]
#[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
fn wrong_calls_are_found() {
    let failure = |result: Result<(), String>| result.unwrap_err();
    with_rows(true, TOKENS, TOKENS).unwrap();
    with_rows(false, TOKENS, TOKENS).unwrap();

    // A row is not written: it is NaN still, or, without poison, read by nobody but the comparison.
    let unwritten = failure(with_rows(true, TOKENS - 1, TOKENS - 1));
    assert!(unwritten.starts_with("out: [2, ") && unwritten.contains("is NaN"), "{unwritten}");
    // A row too many: into the guards, or out of bounds.
    let written = failure(with_rows(true, TOKENS + 1, TOKENS + 1));
    assert_eq!(written, "out: memory outside its rows was written, 384 bytes from its first element");
    let outside = failure(with_rows(false, TOKENS + 1, TOKENS + 1));
    assert!(outside.contains("out_of_bounds") && outside.contains("silu_and_mul_bf16"), "{outside}");

    let swapped = failure(run(true, |stream, memory| {
        // The second row's gate in place of the first's.
        let gate_up = memory.read("gate_up")?;
        let address = gate_up.address() + 4 * WIDTH as u64;
        // SAFETY: the two rows lie within the operand and its guards.
        let gate_up = unsafe {
            TensorRef::from_raw(stream.device(), address, DType::BF16, &[TOKENS, 2 * WIDTH], &[2 * WIDTH, 1])
        }?;
        ops::silu_and_mul(stream, &SiluAndMul { gate_up, out: memory.write("out")? })
    }));
    assert!(swapped.starts_with("out: [") && swapped.contains("expected"), "{swapped}");

    let changed = failure(run(true, |stream, memory| {
        let gate_up = memory.read("gate_up")?;
        let out = write(&memory.write("gate_up")?, stream.device(), 1);
        ops::silu_and_mul(stream, &SiluAndMul { gate_up, out: memory.write("out")? })?;
        let gate_up = read(&memory.read("out")?, stream.device(), 1);
        ops::silu_and_mul(stream, &SiluAndMul { gate_up, out })
    }));
    assert_eq!(changed, "2 kernels were launched instead of 1");
    let changed = failure(run(true, |stream, memory| {
        let out = write(&memory.write("gate_up")?, stream.device(), 1);
        let gate_up = read(&memory.read("out")?, stream.device(), 1);
        ops::silu_and_mul(stream, &SiluAndMul { gate_up, out })
    }));
    assert!(changed.starts_with("gate_up: an input was changed, at [0, 0]"), "{changed}");

    assert_eq!(failure(run(true, |_, _| Ok(()))), "0 kernels were launched instead of 1");
    let refused = failure(run(true, |_, _| Err(Error::argument("silu_and_mul", "out", "x", "y"))));
    assert_eq!(refused, "silu_and_mul: out: expected x, got y");
}

#[test]
#[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
fn what_should_be_refused_must_be() {
    let device = Device::open(DeviceChoice::SIM).unwrap();
    let refuses = |call: fn() -> Result<()>, op| {
        let right = problem(DType::BF16, [TOKENS, WIDTH], Kind::Misaligned("out")).unwrap();
        let problem = Problem { call: Box::new(move |_, _| call()), ..right };
        assert_eq!(problem.outcome, Outcome::Refuses("out"));
        problem.run(op, &device, true).map(drop)
    };
    let op = "silu_and_mul";
    assert!(refuses(|| Err(Error::argument("silu_and_mul", "out", "", "")), op).is_ok());
    let taken = refuses(|| Ok(()), op);
    assert!(matches!(taken, Err(Failure::Wrong(text)) if text == "out was not refused"));
    // For another reason, or in another's name.
    assert!(refuses(|| Err(Error::argument("silu_and_mul", "gate_up", "", "")), op).is_err());
    assert!(refuses(|| Err(Error::argument("rms_norm", "out", "", "")), op).is_err());
}

#[test]
fn a_failure_says_under_which_seed_and_an_error_is_no_pass() {
    let device = Device::open(DeviceChoice::SIM).unwrap();
    let case = Case::new("silu_and_mul", "broken", || {
        let right = problem(DType::BF16, [TOKENS, WIDTH], Kind::Plain)?;
        Ok(Problem { call: Box::new(|_, _| Ok(())), ..right })
    });
    let outcome = case.run(&device, &Options { seeds: 3, max_bytes: None });
    assert!(
        matches!(&outcome, super::Outcome::Failed { reason } if reason.ends_with("instead of 1 (seed 0)")),
        "{outcome:?}"
    );
    let error = Case::new("silu_and_mul", "error", || Err(Error::unsupported("this", "so")));
    assert!(matches!(error.run(&device, &Options::default()), super::Outcome::Failed { .. }));
}

#[test]
fn cases_have_names_of_their_own() {
    let mut names: Vec<String> =
        cases().iter().chain(&model_cases()).map(|case| format!("{case:?}")).collect();
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count);
}

/// What is compared of a large result: one wrong element there is found, and one that nobody wrote anywhere.
#[test]
fn samples_of_a_result_are_judged() {
    use super::memory::Operand;
    use super::problem::Expected;
    use super::values::encode;

    let (rows, columns) = (vec![0, 2], vec![1, 3]);
    let sampled = vec![1.0, 3.0, 9.0, 11.0];
    let expected = Expected::Sample { rows, columns, reference: sampled.clone(), naive: sampled };
    let problem = Problem {
        operands: vec![Operand::output("out", DType::F32, &[3, 4], expected)],
        call: Box::new(|_, _| Ok(())),
        outcome: Outcome::Launches(0),
    };
    let judged = |change: &dyn Fn(&mut [f64])| {
        let mut out: Vec<f64> = (0..12).map(f64::from).collect();
        change(&mut out);
        let judged = problem.judge(&[encode(DType::F32, &out)]);
        judged.map(|worst| worst.unwrap().share).map_err(|failure| failure.to_string())
    };
    assert_eq!(judged(&|_| {}), Ok(0.0));
    // Nobody compares this one.
    assert_eq!(judged(&|out| out[5] = 1e9), Ok(0.0));
    let wrong = judged(&|out| out[11] = 12.0).unwrap_err();
    assert!(wrong.starts_with("out: [2, 3] is 12, expected 11: "), "{wrong}");
    assert_eq!(judged(&|out| out[5] = f64::NAN).unwrap_err(), "out: [1, 1] is not a number");
}
