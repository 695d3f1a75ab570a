//! Tests of `mma` as the rest of the simulator calls it: an instruction decoded, a warp's registers filled, executed.

mod bit_accuracy;
mod forms;
mod fragments;
mod movement;
mod ordinary;

use std::sync::Arc;

use super::{MmaOp, decode};
use crate::config::{ComputeCapability, TensorMode};
use crate::program::{Allocation, Decoder, LANES, Lanes, Op, Reject, Symbols};
use crate::ptx::ast::{self, Operand, RegisterId, Symbol, Type};

/// One register of all lanes, 32 or 64 bits.
type Register = [u64; LANES];

struct NoSymbols;

impl Symbols for NoSymbols {
    fn address(&self, _: &Symbol) -> Option<(ast::Space, u64)> {
        None
    }
}

/// A function with so many registers of a type, and an instruction on vectors of them.
fn instruction(opcode: &str, ty: Type, counts: [usize; 4]) -> (ast::Function, ast::Instruction) {
    let total = counts.iter().sum::<usize>() as u32;
    let function = ast::Function {
        name: "kernel".into(),
        is_kernel: true,
        line: 1,
        returns: Vec::new(),
        params: Vec::new(),
        directives: ast::Directives::default(),
        registers: (0..total).map(|i| ast::Register { name: format!("%r{i}"), ty }).collect(),
        variables: Vec::new(),
        labels: Vec::new(),
        tables: Vec::new(),
        body: None,
    };
    let mut next = 0..total;
    let operands = counts.map(|count| {
        Operand::Vector(next.by_ref().take(count).map(|i| Operand::Register(RegisterId(i))).collect())
    });
    let instruction = ast::Instruction {
        line: 1,
        source: None,
        guard: None,
        opcode: opcode.into(),
        operands: operands.into(),
    };
    (function, instruction)
}

/// `mma.sync.aligned.` and the rest, decoded on 32-bit or 64-bit registers, those of D first.
fn decoded(
    opcode: &str,
    wide: bool,
    counts: [usize; 4],
) -> Result<(Box<MmaOp>, Vec<crate::program::Slot>, Lanes), Reject> {
    let ty = if wide { Type::F64 } else { Type::B32 };
    let (function, instruction) = instruction(opcode, ty, counts);
    let mut allocation = Allocation::default();
    let mut decoder = Decoder::new(&function, &mut allocation, &NoSymbols);
    let op = decode(&mut decoder, &instruction)?.ok_or("not decoded")?.op;
    let slots = decoder.registers.clone();
    let Op::Mma(op) = op else { return Err("not an mma".into()) };
    let lanes = Lanes::new(allocation.rows, 0, Arc::from(allocation.constants), 0xdead_beef);
    Ok((op, slots.to_vec(), lanes))
}

/// The registers of D.
fn execute(
    opcode: &str,
    (compute_capability, mode): (ComputeCapability, TensorMode),
    wide: bool,
    d_count: usize,
    [a, b, c]: [&[Register]; 3],
) -> Vec<Register> {
    let opcode = format!("mma.sync.aligned.{opcode}");
    let (op, slots, mut lanes) = decoded(&opcode, wide, [d_count, a.len(), b.len(), c.len()])
        .unwrap_or_else(|reject| panic!("{opcode}: {reject}"));
    for (slot, values) in slots[d_count..].iter().zip(a.iter().chain(b).chain(c)) {
        if wide {
            lanes.set64(*slot, values, u32::MAX);
        } else {
            lanes.set32(*slot, &values.map(|value| value as u32), u32::MAX);
        }
    }
    op.execute(&mut lanes, compute_capability, mode);
    slots[..d_count]
        .iter()
        .map(|slot| if wide { lanes.get64(*slot) } else { lanes.get32(*slot).map(u64::from) })
        .collect()
}

/// Numbers that look random, the same each time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let mixed = (self.0 ^ self.0 >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
        mixed ^ mixed >> 33
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
