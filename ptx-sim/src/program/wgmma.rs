//! Decoding of `wgmma` and `setmaxnreg`.

use super::{Decoded, Decoder, Op, Operands, Reject, Slot};
use crate::ptx::ast::{Instruction, Operand, Type};
use crate::report::InstructionClass;
use crate::tensor::wgmma::{Major, WgmmaForm};

/// One of them.
#[derive(Debug)]
pub(crate) enum WgmmaOp {
    /// `wgmma.mma_async`.
    Multiply(MultiplyOp),
    /// `wgmma.fence`.
    Fence,
    /// `wgmma.commit_group`.
    Commit,
    /// `wgmma.wait_group`: until at most so many groups are pending.
    Wait(usize),
    /// `setmaxnreg`.
    SetRegisters { increase: bool, count: u32 },
}

/// `wgmma.mma_async`.
#[derive(Debug)]
pub(crate) struct MultiplyOp {
    pub form: WgmmaForm,
    /// The registers of D: at most 128.
    pub d: Box<[Slot]>,
    pub a: MatrixA,
    /// B's descriptor.
    pub b: Slot,
    pub b_major: Major,
    /// A predicate: whether D is added to.
    pub accumulates: Slot,
    pub negate_a: bool,
    pub negate_b: bool,
}

/// Where A is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum MatrixA {
    Registers([Slot; 4]),
    /// In shared memory, by its descriptor.
    Shared(Slot, Major),
}

/// Registers of a thread that `setmaxnreg` may ask for: a multiple of 8 of these.
const REGISTERS: std::ops::RangeInclusive<i128> = 24..=256;

/// `None` for instructions of other families.
pub(crate) fn decode(
    decoder: &mut Decoder<'_>,
    instruction: &Instruction,
) -> Result<Option<Decoded>, Reject> {
    let (op, class) = match instruction.root() {
        "wgmma" => wgmma(decoder, instruction)?,
        "setmaxnreg" => (set_registers(instruction)?, InstructionClass::Control),
        _ => return Ok(None),
    };
    Ok(Some(Decoded { op: Op::Wgmma(Box::new(op)), operands: Operands::default(), class }))
}

fn wgmma(
    decoder: &mut Decoder<'_>,
    instruction: &Instruction,
) -> Result<(WgmmaOp, InstructionClass), Reject> {
    let modifiers: Vec<&str> = instruction.modifiers().collect();
    let op = match modifiers.as_slice() {
        ["mma_async", ..] => WgmmaOp::Multiply(multiply(decoder, instruction)?),
        ["fence", "sync", "aligned"] => {
            let [] = super::operands(instruction)?;
            return Ok((WgmmaOp::Fence, InstructionClass::Fence));
        }
        ["commit_group", "sync", "aligned"] => {
            let [] = super::operands(instruction)?;
            WgmmaOp::Commit
        }
        ["wait_group", "sync", "aligned"] => {
            let [groups] = super::operands(instruction)?;
            let groups = integer(groups)?;
            WgmmaOp::Wait(usize::try_from(groups).map_err(|_| format!("wait_group of {groups} groups"))?)
        }
        _ => {
            return Err(
                "of wgmma there are .mma_async, .fence, .commit_group and .wait_group, all .sync.aligned"
                    .into(),
            );
        }
    };
    Ok((op, InstructionClass::Tensor))
}

fn integer(operand: &Operand) -> Result<i128, Reject> {
    match operand {
        Operand::Integer(value) => Ok(i128::from(*value)),
        other => Err(format!("an integer constant is expected, not {other:?}")),
    }
}

fn multiply(decoder: &mut Decoder<'_>, instruction: &Instruction) -> Result<MultiplyOp, Reject> {
    let form = WgmmaForm::parse(instruction)?;
    let [d, a, b, accumulates, immediates @ ..] = instruction.operands.as_slice() else {
        return Err("wgmma.mma_async needs D, A, B and scale-d".into());
    };
    let count = form.accumulators();
    let elements = decoder.elements(d);
    if elements.len() != count {
        return Err(format!("D has {} registers, {count} are expected", elements.len()));
    }
    let d = elements.iter().map(|one| decoder.destination(one, Type::B32)).collect::<Result<Box<_>, _>>()?;
    let a_registers = match a {
        Operand::Vector(elements) => {
            let elements: &[Operand; 4] = elements
                .as_slice()
                .try_into()
                .map_err(|_| format!("A has {} registers, 4 are expected", elements.len()))?;
            let mut slots = [Slot::default(); 4];
            for (slot, element) in slots.iter_mut().zip(elements) {
                *slot = decoder.source(element, Type::B32)?;
            }
            Some(slots)
        }
        _ => None,
    };
    let scales = if form.can_negate() { 2 } else { 0 };
    let transposes = match (form.can_transpose(), a_registers) {
        (false, _) => 0,
        (true, Some(_)) => 1,
        (true, None) => 2,
    };
    if immediates.len() != scales + transposes {
        return Err(format!(
            "{scales} signs and {transposes} transpositions are expected behind scale-d, {} operands are there",
            immediates.len()
        ));
    }
    let (scales, transposes) = immediates.split_at(scales);
    let mut negate = [false; 2];
    for (negate, operand) in negate.iter_mut().zip(scales) {
        *negate = match integer(operand)? {
            1 => false,
            -1 => true,
            other => return Err(format!("imm-scale-a and imm-scale-b are 1 or -1, not {other}")),
        };
    }
    // B's comes last, with or without one of A before it.
    let mut major = [Major::K; 2];
    for (major, operand) in major.iter_mut().rev().zip(transposes.iter().rev()) {
        *major = match integer(operand)? {
            0 => Major::K,
            1 => Major::Lines,
            other => return Err(format!("imm-trans-a and imm-trans-b are 0 or 1, not {other}")),
        };
    }
    let ([negate_a, negate_b], [a_major, b_major]) = (negate, major);
    let a = match a_registers {
        Some(slots) => MatrixA::Registers(slots),
        None => MatrixA::Shared(decoder.source(a, Type::B64)?, a_major),
    };
    let b = decoder.source(b, Type::B64)?;
    let accumulates = decoder.source_predicate(accumulates)?;
    Ok(MultiplyOp { form, d, a, b, b_major, accumulates, negate_a, negate_b })
}

fn set_registers(instruction: &Instruction) -> Result<WgmmaOp, Reject> {
    let increase = match instruction.modifiers().collect::<Vec<_>>().as_slice() {
        ["inc", "sync", "aligned", "u32"] => true,
        ["dec", "sync", "aligned", "u32"] => false,
        _ => return Err("of setmaxnreg there are .inc and .dec, .sync.aligned.u32".into()),
    };
    let [count] = super::operands(instruction)?;
    let count = integer(count)?;
    if !REGISTERS.contains(&count) || count % 8 != 0 {
        return Err(format!("setmaxnreg takes a multiple of 8 from 24 to 256, not {count}"));
    }
    Ok(WgmmaOp::SetRegisters { increase, count: count as u32 })
}
