//! The registers of a warp that `wgmma` uses: its accumulators, and its A where that is no matrix in shared memory.
//!
//! Between a `wgmma` and the `wait_group` that covers it they belong to it: nothing else may read or write them but a
//! later `wgmma` that adds to the same accumulators in the same shape, or that reads the same A. And what ordinary
//! instructions have written is not there for a `wgmma` without a `wgmma.fence` in between.
//!
//! A compiler puts moves between them, as its own registers are not those of the machine: so a `mov` may read what
//! belongs to a `wgmma`, and its destination is then what its source was.

use std::collections::VecDeque;

use crate::exec::fault::Fail;
use crate::exec::warp::Warp;
use crate::exec::{Block, Engine};
use crate::program::{Inst, MultiplyOp, Pc, RegisterUse};
use crate::race::Moment;
use crate::tensor::wgmma::WgmmaForm;
use crate::violation::ViolationKind;

/// What a `wgmma` uses a register as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Role {
    #[default]
    D,
    A,
}

#[derive(Clone, Copy, Debug, Default)]
struct Register {
    /// The number of the `wgmma` that uses it; 0 for none. Over when that one is complete.
    user: u64,
    role: Role,
    /// Its place among the registers of that operand.
    place: u16,
    /// A `mov` has taken its value along.
    moved: bool,
    /// Fences, and one, when an ordinary instruction wrote it last; 0 for never.
    written: u32,
    /// That instruction.
    written_at: Pc,
}

/// The state of a warp's registers. As long as it has executed no instruction of `wgmma`, there is none.
#[derive(Debug, Default)]
pub(super) struct Registers {
    /// By number; those beyond the end are as new.
    registers: Vec<Register>,
    fences: u32,
    /// The `wgmma` that are not complete.
    pending: VecDeque<(Pc, WgmmaForm)>,
    complete: u64,
}

/// What breaks a rule.
enum Wrong {
    Read(Register),
    Written(Register),
    OtherShape(Register),
    Unfenced(Register, Role, usize),
    NeverFenced,
}

impl Registers {
    /// `wgmma.fence`.
    pub fn fence(&mut self) {
        self.fences = self.fences.saturating_add(1);
    }

    /// All up to the one with this number are complete.
    pub fn complete(&mut self, number: u64) {
        let done = number.saturating_sub(self.complete) as usize;
        self.pending.drain(..done.min(self.pending.len()));
        self.complete = self.complete.max(number);
    }

    fn get(&self, index: u32) -> Register {
        self.registers.get(index as usize).copied().unwrap_or_default()
    }

    fn at(&mut self, index: u32) -> &mut Register {
        let index = index as usize;
        if self.registers.len() <= index {
            self.registers.resize(index + 1, Register::default());
        }
        &mut self.registers[index]
    }

    fn is_used(&self, register: &Register) -> bool {
        register.user > self.complete
    }

    fn user(&self, register: &Register) -> Option<&(Pc, WgmmaForm)> {
        self.pending.get(register.user.checked_sub(self.complete + 1)? as usize)
    }

    /// An ordinary instruction.
    fn touch(&mut self, pc: Pc, registers: &RegisterUse) -> Result<(), Wrong> {
        if registers.moves {
            return self.copy(registers);
        }
        for read in &registers.reads {
            let register = self.get(*read);
            if self.is_used(&register) {
                return Err(Wrong::Read(register));
            }
        }
        let written = self.fences.saturating_add(1);
        for index in &registers.writes {
            let register = self.get(*index);
            if self.is_used(&register) && !register.moved {
                return Err(Wrong::Written(register));
            }
            *self.at(*index) = Register { written, written_at: pc, ..Register::default() };
        }
        Ok(())
    }

    fn copy(&mut self, registers: &RegisterUse) -> Result<(), Wrong> {
        // A constant is as if it had always been there: compilers put it behind the fence as well.
        let mut source = Register::default();
        if let [index] = registers.reads[..] {
            source = self.get(index);
            if self.is_used(&source) {
                self.at(index).moved = true;
            }
        }
        if let [index] = registers.writes[..] {
            let register = self.get(index);
            if self.is_used(&register) && !register.moved {
                return Err(Wrong::Written(register));
            }
            *self.at(index) = Register { moved: false, ..source };
        }
        Ok(())
    }

    /// A `wgmma` with this number.
    fn begin(&mut self, pc: Pc, number: u64, form: WgmmaForm, registers: &RegisterUse) -> Result<(), Wrong> {
        if self.fences == 0 {
            return Err(Wrong::NeverFenced);
        }
        let operands = [(Role::D, &registers.writes), (Role::A, &registers.reads)];
        for (role, indices) in operands {
            for (place, index) in indices.iter().enumerate() {
                let register = self.get(*index);
                if register.written > self.fences {
                    return Err(Wrong::Unfenced(register, role, place));
                }
                if !self.is_used(&register) {
                    continue;
                }
                let same = match (role, register.role) {
                    (Role::D, Role::D) => self.user(&register).is_none_or(|(_, other)| *other == form),
                    (Role::A, Role::A) => true,
                    _ => false,
                };
                if !same {
                    return Err(Wrong::OtherShape(register));
                }
            }
        }
        self.pending.push_back((pc, form));
        for (role, indices) in operands {
            for (place, index) in indices.iter().enumerate() {
                let place = place as u16;
                *self.at(*index) = Register { user: number, role, place, ..Register::default() };
            }
        }
        Ok(())
    }
}

impl Engine<'_> {
    /// An instruction that touches registers of a `wgmma` is about to run.
    pub(in crate::exec) fn touch_registers(
        &self,
        block: &Block,
        warp: &mut Warp,
        pc: Pc,
        instruction: &Inst,
    ) -> Result<(), Fail> {
        let Some(mut state) = warp.wgmma.take() else { return Ok(()) };
        let program = self.launch.program;
        let touched = match program.register_use(instruction) {
            Some(registers) => state.registers.touch(pc, registers),
            None => Ok(()),
        };
        let failed = touched.map_err(|wrong| self.wrong_registers(block, warp, pc, &state.registers, &wrong));
        warp.wgmma = Some(state);
        failed
    }

    /// A `wgmma` takes its registers.
    pub(super) fn use_registers(
        &self,
        block: &Block,
        warp: &mut Warp,
        pc: Pc,
        op: &MultiplyOp,
        moment: Moment,
    ) -> Result<(), Fail> {
        let program = self.launch.program;
        let registers = program.instructions.get(pc as usize).and_then(|one| program.register_use(one));
        let state = warp.wgmma_state();
        let number = state.issue(moment);
        let Some(registers) = registers else { return Ok(()) };
        let begun = state.registers.begin(pc, number, op.form, registers);
        let Err(wrong) = begun else { return Ok(()) };
        let state = std::mem::take(&mut state.registers);
        Err(self.wrong_registers(block, warp, pc, &state, &wrong))
    }

    fn wrong_registers(&self, block: &Block, warp: &Warp, pc: Pc, state: &Registers, wrong: &Wrong) -> Fail {
        let place = |pc: Pc| self.launch.program.location(pc).map_or_else(String::new, |l| l.to_string());
        let user = |register: &Register| {
            let at = state.user(register).map_or_else(String::new, |(pc, _)| place(*pc));
            let operand = match register.role {
                Role::D => "accumulators",
                Role::A => "matrix A",
            };
            format!("register {} of the {operand} of the wgmma at {at}", register.place)
        };
        let message = match wrong {
            Wrong::Read(register) => {
                format!(
                    "{} is read before a wgmma.wait_group that waits for it; where the source waits first, the compiler \
                     has moved the read: it knows the wait's effect only of operands of an `asm volatile` behind it",
                    user(register)
                )
            }
            Wrong::Written(register) => {
                format!("{} is written before a wgmma.wait_group that waits for it", user(register))
            }
            Wrong::OtherShape(register) => format!(
                "{} is used by another wgmma before a wgmma.wait_group that waits for it: only accumulators of one \
                 shape may be handed on",
                user(register)
            ),
            Wrong::Unfenced(register, role, place_in) => {
                let operand = if *role == Role::D { "the accumulators" } else { "matrix A" };
                format!(
                    "register {place_in} of {operand} was written at {} without a wgmma.fence between that and the wgmma \
                     which uses it",
                    place(register.written_at)
                )
            }
            Wrong::NeverFenced => "a wgmma without a wgmma.fence before the warp's first one".into(),
        };
        self.fail(block, warp, pc, 0, ViolationKind::WgmmaRegisters, message)
    }
}
