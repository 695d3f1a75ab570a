//! Tests of the parser.

mod constants;
mod declarations;
mod fixtures;
mod instructions;
mod limits;
mod mutations;
mod scopes;
mod tokens;

use super::ast::{Base, Function, Instruction, Module, Operand, RegisterId, Symbol, TableContent, Variable};
use crate::Error;

/// Before whatever a test puts at module scope; the next line is number 4.
const HEADER: &str = ".version 8.7\n.target sm_90a\n.address_size 64\n";

/// A module with these declarations, which start in line 4.
fn module(items: &str) -> Module {
    super::parse(&format!("{HEADER}{items}")).unwrap_or_else(|error| panic!("{error}\n{items}"))
}

/// Declarations of every kind that instructions of the tests name; in line 4.
const GLOBALS: &str = ".global .align 4 .b32 data[8]; .extern .shared .align 16 .b8 smem[]; .func (.param .b32 r) \
                       twice (.param .b32 a); .extern .func stop ();";

/// A kernel with these statements, which start in line 6, after registers of every kind.
fn kernel_text(body: &str) -> String {
    format!(
        "{HEADER}{GLOBALS}\n.visible .entry k (.param .b64 p) {{ .reg .b32 %r<100>; .reg .b64 %rd<10>; \
         .reg .pred %p<10>; .reg .f32 %f<10>; .reg .f64 %fd<4>; .reg .b128 %q<4>; .reg .b16 %h<8>;\n{body}\n}}"
    )
}

/// The kernel that has these statements.
fn kernel(body: &str) -> Function {
    let parsed = super::parse(&kernel_text(body)).unwrap_or_else(|error| panic!("{error}\n{body}"));
    parsed.functions.into_iter().find(|function| function.name == "k").unwrap()
}

/// The instructions of a kernel that has these statements.
fn code(body: &str) -> Vec<Instruction> {
    kernel(body).body.unwrap()
}

/// The operands of the only instruction.
fn operands(instruction: &str) -> Vec<Operand> {
    let mut code = code(instruction);
    assert_eq!(code.len(), 1);
    code.remove(0).operands
}

/// The line and message of the error that a text gives.
fn failure(text: &str) -> (u32, String) {
    match super::parse(text) {
        Err(Error::Syntax { line, message }) => (line, message),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("was read:\n{text}"),
    }
}

/// Asserts the line and the message of the error of each text.
fn assert_failures(texts: impl IntoIterator<Item = (String, u32, &'static str)>) {
    for (text, line, message) in texts {
        assert_eq!(failure(&text), (line, message.to_owned()), "{text}");
    }
}

fn reg(index: u32) -> Operand {
    Operand::Register(RegisterId(index))
}

fn at(base: Base, offset: i64) -> Operand {
    Operand::Memory(base, offset)
}

fn global(name: &str) -> Symbol {
    Symbol::Module(name.to_owned())
}

/// Panics unless every index of the tree is within its table and every initial value within its variable.
fn assert_consistent(module: &Module) {
    assert_eq!(module.address_size, 64);
    module.variables.iter().for_each(assert_variable);
    for function in &module.functions {
        function.variables.iter().for_each(assert_variable);
        let has_variable = |id: u32| assert!((id as usize) < function.variables.len());
        function.returns.iter().chain(&function.params).for_each(|id| has_variable(id.0));
        let code = function.body.as_deref().unwrap_or_default();
        assert!(function.labels.iter().all(|label| label.target as usize <= code.len()));
        for table in &function.tables {
            if let TableContent::Branches(labels) = &table.content {
                assert!(labels.iter().all(|label| (label.0 as usize) < function.labels.len()), "{table:?}");
            }
        }
        for instruction in code {
            assert!(
                instruction.root().starts_with(|first: char| first.is_ascii_lowercase()),
                "{instruction:?}"
            );
            assert!(instruction.source.is_none_or(|source| source.line > 0));
            assert!(
                instruction.guard.is_none_or(|guard| (guard.register.0 as usize) < function.registers.len())
            );
            instruction.operands.iter().for_each(|operand| assert_operand(operand, function));
        }
    }
}

fn assert_variable(variable: &Variable) {
    assert!(variable.initial.len() as u64 <= variable.size, "{variable:?}");
    assert!(variable.align.is_power_of_two(), "{variable:?}");
    let end = |offset: u64, size: u32| offset + u64::from(size);
    assert!(
        variable.relocations.iter().all(|one| end(one.offset, one.size) <= variable.size),
        "{variable:?}"
    );
}

fn assert_operand(operand: &Operand, function: &Function) {
    let register = |id: &RegisterId| assert!((id.0 as usize) < function.registers.len(), "{operand:?}");
    let symbol = |symbol: &Symbol| match symbol {
        Symbol::Local(id) => assert!((id.0 as usize) < function.variables.len(), "{operand:?}"),
        Symbol::Module(name) => assert!(!name.is_empty()),
    };
    let base = |base: &Base| match base {
        Base::Register(id) => register(id),
        Base::Symbol(name) => symbol(name),
        Base::Absolute => {}
    };
    match operand {
        Operand::Register(id) | Operand::Not(id) => register(id),
        Operand::Address(name, _) => symbol(name),
        Operand::Memory(place, _) => base(place),
        Operand::Tensor(place, _, elements) => {
            base(place);
            elements.iter().for_each(|element| assert_operand(element, function));
        }
        Operand::Vector(elements) | Operand::List(elements) => {
            elements.iter().for_each(|element| assert_operand(element, function));
        }
        Operand::Pair(first, second) => {
            assert_operand(first, function);
            assert_operand(second, function);
        }
        Operand::Label(id) => assert!((id.0 as usize) < function.labels.len(), "{operand:?}"),
        Operand::Table(id) => assert!((id.0 as usize) < function.tables.len(), "{operand:?}"),
        Operand::Param(id) => assert!((id.0 as usize) < function.variables.len(), "{operand:?}"),
        Operand::Function(name) | Operand::Special(name) => {
            assert!(!name.is_empty() && !name.starts_with('%'));
        }
        Operand::Integer(_) | Operand::F32(_) | Operand::F64(_) | Operand::Sink => {}
    }
}
