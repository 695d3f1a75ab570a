//! Decoding of control flow, and of what compilers call instead of instructions.

use super::{Address, Decoded, Decoder, Element, MemoryOp, Op, Operands, Reject, Slot};
use crate::memory::Strength;
use crate::ptx::ast::{Instruction, LabelId, Operand, Space, TableContent, Type};
use crate::report::InstructionClass;

fn control(op: Op, operands: Operands) -> Decoded {
    Decoded { op, operands, class: InstructionClass::Control }
}

/// Decodes `exit`, `ret` (of a kernel), `trap`, `brkpt`, `pmevent` and reads of clocks.
pub(crate) fn decode(
    decoder: &mut Decoder<'_>,
    instruction: &Instruction,
) -> Result<Option<Decoded>, Reject> {
    let op = match instruction.root() {
        "exit" | "ret" => Op::Exit,
        "trap" => Op::Trap("trap"),
        "brkpt" => Op::Trap("brkpt"),
        "pmevent" => Op::Nothing,
        "mov" => return clock(decoder, instruction),
        _ => return Ok(None),
    };
    Ok(Some(control(op, Operands::default())))
}

/// `mov` from a register that changes while a warp runs.
fn clock(decoder: &mut Decoder<'_>, instruction: &Instruction) -> Result<Option<Decoded>, Reject> {
    let [destination, Operand::Special(name)] = instruction.operands.as_slice() else { return Ok(None) };
    let wide = match name.as_str() {
        "clock" | "globaltimer_lo" => false,
        "clock64" | "globaltimer" => true,
        "clock_hi" | "globaltimer_hi" => {
            return Err(format!("%{name} is not supported: read the 64-bit register"));
        }
        _ => return Ok(None),
    };
    let ty = if wide { Type::U64 } else { Type::U32 };
    let operands = Operands::new(&[decoder.destination(destination, ty)?], &[]);
    Ok(Some(Decoded { op: Op::Clock { wide }, operands, class: InstructionClass::Move }))
}

/// A branch, and the instructions of the body that it may go to; their places are not known yet.
pub(crate) fn branch(
    decoder: &mut Decoder<'_>,
    instruction: &Instruction,
) -> Result<(Decoded, Vec<u32>), Reject> {
    let label = |id: &LabelId| {
        let label = decoder.function.labels.get(id.0 as usize).ok_or("unknown label")?;
        Ok::<u32, Reject>(label.target)
    };
    if instruction.root() == "bra" {
        let [Operand::Label(id)] = instruction.operands.as_slice() else {
            return Err("a label is expected".into());
        };
        return Ok((control(Op::Branch(0), Operands::default()), vec![label(id)?]));
    }
    let [index, Operand::Table(id)] = instruction.operands.as_slice() else {
        return Err("an index and a table of labels are expected".into());
    };
    let table = decoder.function.tables.get(id.0 as usize).map(|table| &table.content);
    let Some(TableContent::Branches(labels)) = table else {
        return Err("a table of labels is expected".into());
    };
    let targets = labels.iter().map(label).collect::<Result<Vec<_>, _>>()?;
    let operands = Operands::new(&[], &[decoder.source(index, Type::U32)?]);
    Ok((control(Op::BranchTable(Box::default()), operands), targets))
}

/// What a call returns to, whom it calls, and with what.
pub(crate) fn call_operands(instruction: &Instruction) -> Result<(&[Operand], &str, &[Operand]), Reject> {
    let (returned, rest) = match instruction.operands.as_slice() {
        [Operand::List(returned), rest @ ..] => (returned.as_slice(), rest),
        rest => (&[][..], rest),
    };
    match rest {
        [Operand::Function(name)] => Ok((returned, name, &[])),
        [Operand::Function(name), Operand::List(given)] => Ok((returned, name, given)),
        _ => Err("calls through pointers are not supported".into()),
    }
}

/// A load of a parameter of a call.
fn load_parameter(decoder: &mut Decoder<'_>, offset: u64, ty: Type) -> (Slot, Decoded) {
    let slot = decoder.allocation.register(ty);
    let op = MemoryOp {
        space: Space::Local,
        ty,
        elements: vec![Element { slot, bits: ty.bits() }],
        address: Address { base: None, offset: offset as i64 },
        strength: Strength::Weak,
        synchronizes: false,
    };
    let decoded = Decoded {
        op: Op::Load(Box::new(op)),
        operands: Operands::default(),
        class: InstructionClass::OtherMemory,
    };
    (slot, decoded)
}

/// The functions that CUDA's device runtime has: `__assertfail` and `vprintf`.
pub(crate) fn system_call(
    decoder: &mut Decoder<'_>,
    name: &str,
    arguments: &[(Space, u64)],
    returns: &[(Space, u64)],
) -> Result<Option<Vec<Decoded>>, Reject> {
    let place =
        |index: usize| arguments.get(index).map(|(_, offset)| *offset).ok_or("an argument is missing");
    match name {
        // (message, file, line, function, size of a character)
        "__assertfail" => {
            let (message, a) = load_parameter(decoder, place(0)?, Type::U64);
            let (file, b) = load_parameter(decoder, place(1)?, Type::U64);
            let (line, c) = load_parameter(decoder, place(2)?, Type::U32);
            let (function, d) = load_parameter(decoder, place(3)?, Type::U64);
            let operands = Operands::new(&[], &[message, file, line, function]);
            Ok(Some(vec![a, b, c, d, control(Op::AssertFail, operands)]))
        }
        // (format, arguments) -> number of arguments
        "vprintf" => {
            let (format, a) = load_parameter(decoder, place(0)?, Type::U64);
            let (values, b) = load_parameter(decoder, place(1)?, Type::U64);
            let count = decoder.allocation.register(Type::U32);
            let mut list = vec![a, b, control(Op::Print, Operands::new(&[count], &[format, values]))];
            if let Some((_, offset)) = returns.first() {
                let op = MemoryOp {
                    space: Space::Local,
                    ty: Type::U32,
                    elements: vec![Element { slot: count, bits: 32 }],
                    address: Address { base: None, offset: *offset as i64 },
                    strength: Strength::Weak,
                    synchronizes: false,
                };
                let class = InstructionClass::OtherMemory;
                list.push(Decoded { op: Op::Store(Box::new(op)), operands: Operands::default(), class });
            }
            Ok(Some(list))
        }
        "malloc" | "free" => Err("memory cannot be allocated in a kernel".into()),
        _ => Ok(None),
    }
}
