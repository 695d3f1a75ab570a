//! Which instructions touch registers that `wgmma` uses, found once for all: the others are executed without a look at
//! their registers.

use std::collections::HashMap;

use super::{BulkOp, Inst, MatrixA, Op, Program, Slot, WgmmaOp};

/// The registers that an instruction touches, of those that `wgmma` uses and those that `mov` connects with them; by
/// number.
#[derive(Debug, Default)]
pub(crate) struct RegisterUse {
    pub reads: Vec<u32>,
    pub writes: Vec<u32>,
    /// A `mov` of a whole register.
    pub moves: bool,
}

impl Program {
    /// What an instruction touches, if it does.
    pub fn register_use(&self, instruction: &Inst) -> Option<&RegisterUse> {
        self.register_uses.get((instruction.touches as usize).checked_sub(1)?)
    }
}

/// Finds the instructions, and gives them their numbers in the list, from 1.
pub(super) fn find(instructions: &mut [Inst]) -> Vec<RegisterUse> {
    let mut numbers: HashMap<Slot, u32> = HashMap::new();
    let mut new = Vec::new();
    for instruction in instructions.iter() {
        if let Op::Wgmma(op) = &instruction.op
            && let WgmmaOp::Multiply(op) = op.as_ref()
        {
            new.extend(op.d.iter().copied());
            if let MatrixA::Registers(slots) = op.a {
                new.extend(slots);
            }
        }
    }
    if new.is_empty() {
        return Vec::new();
    }
    let mut moves: HashMap<Slot, Vec<Slot>> = HashMap::new();
    for instruction in instructions.iter().filter(|instruction| instruction.moves) {
        let (to, from) = (instruction.operands.dst[0], instruction.operands.src[0]);
        moves.entry(to).or_default().push(from);
        moves.entry(from).or_default().push(to);
    }
    while let Some(slot) = new.pop() {
        let number = numbers.len() as u32;
        if !slot.is_constant() && !numbers.contains_key(&slot) {
            numbers.insert(slot, number);
            new.extend(moves.get(&slot).into_iter().flatten());
        }
    }
    let mut uses = Vec::new();
    for instruction in instructions {
        let mut touched = RegisterUse { moves: instruction.moves, ..RegisterUse::default() };
        visit(instruction, &mut |slot, writes| {
            if let Some(number) = numbers.get(&slot) {
                if writes { &mut touched.writes } else { &mut touched.reads }.push(*number);
            }
        });
        if !touched.reads.is_empty() || !touched.writes.is_empty() {
            uses.push(touched);
            instruction.touches = uses.len() as u32;
        }
    }
    uses
}

/// Calls `touch` with each register of an instruction, and whether it is written.
fn visit(instruction: &Inst, touch: &mut impl FnMut(Slot, bool)) {
    let operands = &instruction.operands;
    operands.src.iter().for_each(|slot| touch(*slot, false));
    operands.dst.iter().for_each(|slot| touch(*slot, true));
    let read_address = |address: &super::Address| address.base.map(|(slot, _)| slot);
    match &instruction.op {
        Op::Wgmma(op) => {
            if let WgmmaOp::Multiply(op) = op.as_ref() {
                op.d.iter().for_each(|slot| touch(*slot, true));
                if let MatrixA::Registers(slots) = op.a {
                    slots.iter().for_each(|slot| touch(*slot, false));
                }
            }
        }
        Op::Mma(op) => {
            op.sources().for_each(|slot| touch(slot, false));
            op.destinations().for_each(|slot| touch(slot, true));
        }
        Op::Load(op) => {
            read_address(&op.address).into_iter().for_each(|slot| touch(slot, false));
            op.elements.iter().for_each(|element| touch(element.slot, true));
        }
        Op::Store(op) => {
            read_address(&op.address).into_iter().for_each(|slot| touch(slot, false));
            op.elements.iter().for_each(|element| touch(element.slot, false));
        }
        Op::Atomic(op) => {
            read_address(&op.address).into_iter().for_each(|slot| touch(slot, false));
            op.sources.iter().for_each(|element| touch(element.slot, false));
            op.old.iter().for_each(|element| touch(element.slot, true));
        }
        Op::Bulk(op) => {
            if let BulkOp::Remote(op) = op.as_ref() {
                op.elements.iter().for_each(|element| touch(element.slot, false));
            }
        }
        Op::LoadMatrix(op) => op.registers.iter().for_each(|slot| touch(*slot, true)),
        Op::StoreMatrix(op) => op.registers.iter().for_each(|slot| touch(*slot, false)),
        _ => {}
    }
}
