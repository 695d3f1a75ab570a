//! What nvcc emits, from the committed files of `tests/ptx`.

use super::super::ast::{Function, Module, Operand, Space, TableContent};
use super::super::parse;
use super::assert_consistent;

pub(super) const LANGUAGE: &str = include_str!("../../../tests/ptx/language.ptx");
pub(super) const DEBUG: &str = include_str!("../../../tests/ptx/debug.ptx");
pub(super) const HOPPER: &str = include_str!("../../../tests/ptx/hopper.ptx");

fn read(text: &str) -> Module {
    let module = parse(text).unwrap();
    assert_consistent(&module);
    module
}

fn function<'a>(module: &'a Module, name: &str) -> &'a Function {
    module.functions.iter().find(|function| function.name == name).unwrap()
}

/// Lines of a text that match, to compare with what was read.
fn count(text: &str, wanted: impl Fn(&str) -> bool) -> usize {
    text.lines().filter(|line| wanted(line.trim())).count()
}

#[test]
fn features_of_the_language() {
    let module = read(LANGUAGE);
    assert_eq!((module.version, module.target.as_str()), ((9, 0), "sm_80"));
    assert_eq!(module.files, [(1, "language.cu".into())]);
    let names: Vec<_> =
        module.functions.iter().map(|one| (one.name.as_str(), one.is_kernel, one.body.is_some())).collect();
    let expected = [
        ("vprintf", false, false),
        ("__assertfail", false, false),
        ("_Z6squarei", false, true),
        ("_Z6minus7i", false, true),
        ("_Z5scale6Paramsi", false, true),
        ("language", true, true),
    ];
    assert_eq!(names, expected);

    let variable = |name: &str| module.variables.iter().find(|variable| variable.name == name).unwrap();
    assert_eq!(variable("values").initial, [1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4]);
    assert_eq!(
        (variable("managed").space, &variable("managed").initial[..]),
        (Space::Global, &[7, 0, 0, 0][..])
    );
    let nodes: Vec<_> = variable("nodes")
        .relocations
        .iter()
        .map(|one| (one.offset, one.symbol.as_str(), one.addend, one.generic))
        .collect();
    assert_eq!(nodes, [(0, "values", 4, true)]);
    let functions: Vec<_> = variable("functions")
        .relocations
        .iter()
        .map(|one| (one.offset, one.symbol.as_str(), one.generic))
        .collect();
    assert_eq!(functions, [(0, "_Z6squarei", false), (8, "_Z6minus7i", false)]);
    assert!(variable("smem").is_extern && variable("smem").size == 0);

    let kernel = function(&module, "language");
    assert_eq!(kernel.directives.max_block, Some([128, 1, 1]));
    let sizes: Vec<_> = kernel.params.iter().map(|id| kernel.variables[id.0 as usize].size).collect();
    assert_eq!(sizes, [32, 8, 4]);
    // Two inlined waits, each with labels and registers of its own.
    assert_eq!(kernel.labels.iter().filter(|label| label.name == "LAB_WAIT").count(), 2);
    assert_eq!(kernel.registers.iter().filter(|register| register.name == "v").count(), 2);
    assert_eq!(kernel.tables[0].content, TableContent::Prototype);
    let body = kernel.body.as_ref().unwrap();
    let calls: Vec<_> =
        body.iter().filter(|one| one.root() == "call").map(|one| one.operands.clone()).collect();
    assert!(matches!(calls[0][..], [Operand::Function(_), Operand::List(_)]), "{:?}", calls[0]);
    assert!(calls.iter().any(|call| matches!(call[..], [_, Operand::Register(_), _, Operand::Table(_)])));
    // Line 59 holds a lambda; its sum was inlined from line 36.
    let lines: Vec<_> = body.iter().filter_map(|one| one.source).collect();
    let stands = |line: u32, inlined: bool| {
        lines.iter().any(|at| (at.file, at.line, at.inlined_at.is_some()) == (1, line, inlined))
    };
    assert!(stands(36, true) && stands(59, false), "{lines:?}");
}

#[test]
fn debugging_information() {
    let module = read(DEBUG);
    assert_eq!(module.target, "sm_80");
    let kernel = function(&module, "debug");
    assert_eq!(kernel.labels.iter().filter(|label| label.name.starts_with("$L__func")).count(), 2);
    let end = kernel.labels.iter().find(|label| label.name.starts_with("$L__func_end")).unwrap();
    assert_eq!(end.target as usize, kernel.body.as_ref().unwrap().len());
}

#[test]
fn inline_hopper_assembly() {
    let module = read(HOPPER);
    let kernel = function(&module, "hopper");
    assert!(kernel.directives.explicit_cluster && kernel.directives.required_cluster == Some([2, 1, 1]));
    let body = kernel.body.as_ref().unwrap();
    let load = body.iter().find(|one| one.opcode.starts_with("cp.async.bulk.tensor")).unwrap();
    assert!(matches!(&load.operands[1], Operand::Tensor(_, 0, coordinates) if coordinates.len() == 2));
    let product = body.iter().find(|one| one.opcode.starts_with("wgmma.mma_async")).unwrap();
    assert_eq!(
        (product.operands.len(), product.opcode.as_str()),
        (8, "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16")
    );
    let elect = body.iter().find(|one| one.root() == "elect").unwrap();
    assert!(matches!(elect.operands[0], Operand::Pair(..)));
}

#[test]
fn nothing_is_lost() {
    for text in [LANGUAGE, DEBUG, HOPPER] {
        let module = read(text);
        let code: Vec<_> =
            module.functions.iter().flat_map(|function| function.body.iter().flatten()).collect();
        // Every instruction of these files ends its line with a semicolon, but calls take several lines and
        // converted addresses of debug code stand in braces.
        let directives = |line: &str| line.starts_with('.') || line.is_empty();
        let instructions = count(text, |line| {
            let line = line.trim_start_matches("{ ").trim_end_matches(" }");
            line.ends_with(';') && !directives(line) && line != ";" && !line.contains(": .callprototype")
        });
        assert_eq!(code.len(), instructions);
        for instruction in code {
            let line = text.lines().nth(instruction.line as usize - 1).unwrap();
            assert!(line.contains(&instruction.opcode), "{instruction:?}: {line}");
        }
    }
}
