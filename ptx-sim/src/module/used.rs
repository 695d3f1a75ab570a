//! The variables of a module that a kernel uses: of shared memory, only these take room in its blocks.

use std::collections::HashSet;

use crate::ptx::ast::{Base, Function, Module, Operand, Symbol};

/// Names of variables and functions at module scope that a kernel and what it calls mention. (First values of variables
/// mention none in shared memory: those addresses are not known when a module is loaded.)
pub(super) fn names<'a>(module: &'a Module, kernel: &'a Function) -> HashSet<&'a str> {
    let mut names = HashSet::new();
    let mut functions = vec![kernel];
    while let Some(function) = functions.pop() {
        let mut found = Vec::new();
        for instruction in function.body.iter().flatten() {
            instruction.operands.iter().for_each(|operand| collect(operand, &mut found));
        }
        for name in found {
            if names.insert(name) {
                functions.extend(module.functions.iter().filter(|function| function.name == name));
            }
        }
    }
    names
}

fn collect<'a>(operand: &'a Operand, found: &mut Vec<&'a str>) {
    match operand {
        Operand::Address(Symbol::Module(name), _)
        | Operand::Memory(Base::Symbol(Symbol::Module(name)), _)
        | Operand::Function(name) => found.push(name),
        Operand::Tensor(base, _, coordinates) => {
            if let Base::Symbol(Symbol::Module(name)) = base {
                found.push(name);
            }
            coordinates.iter().for_each(|operand| collect(operand, found));
        }
        Operand::Vector(operands) | Operand::List(operands) => {
            operands.iter().for_each(|operand| collect(operand, found));
        }
        Operand::Pair(one, other) => {
            collect(one, found);
            collect(other, found);
        }
        _ => {}
    }
}
