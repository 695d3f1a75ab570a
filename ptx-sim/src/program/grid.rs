//! Decoding of `griddepcontrol`.

use super::{Decoded, Decoder, Op, Operands, Reject};
use crate::ptx::ast::Instruction;
use crate::report::InstructionClass;

/// One of them.
#[derive(Clone, Copy, Debug)]
pub(crate) enum GridOp {
    /// `launch_dependents`.
    Launch,
    /// `wait`.
    Wait,
}

/// `None` for instructions of other families.
pub(crate) fn decode(
    _decoder: &mut Decoder<'_>,
    instruction: &Instruction,
) -> Result<Option<Decoded>, Reject> {
    let op = match instruction.opcode.as_str() {
        "griddepcontrol.launch_dependents" => GridOp::Launch,
        "griddepcontrol.wait" => GridOp::Wait,
        _ if instruction.root() == "griddepcontrol" => return Err("unknown form of griddepcontrol".into()),
        _ => return Ok(None),
    };
    let [] = super::operands(instruction)?;
    Ok(Some(Decoded { op: Op::Grid(op), operands: Operands::default(), class: InstructionClass::Control }))
}
