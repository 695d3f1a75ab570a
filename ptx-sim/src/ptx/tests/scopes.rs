//! Registers, variables and labels in nested scopes.

use super::super::ast::{Guard, Instruction, LabelId, Operand, RegisterId, TableContent, TableId, Type};
use super::{assert_failures, code, kernel, kernel_text, reg};

fn labels(body: &str) -> Vec<(String, u32)> {
    kernel(body).labels.into_iter().map(|label| (label.name, label.target)).collect()
}

/// The label that each branch goes to, by number.
fn branches(body: &str) -> Vec<u32> {
    let targets = |instruction: &Instruction| match instruction.operands.first() {
        Some(Operand::Label(LabelId(label))) => Some(*label),
        _ => None,
    };
    code(body).iter().filter_map(targets).collect()
}

#[test]
fn ranges_give_registers_at_their_first_use() {
    let found = kernel(".reg .b32 a, b; .reg .u16 c<3>; mov.u16 c2, 1; mov.u16 c0, c2; mov.b32 b, %r7;");
    let names: Vec<_> =
        found.registers.iter().map(|register| (register.name.as_str(), register.ty)).collect();
    assert_eq!(
        names,
        [("a", Type::B32), ("b", Type::B32), ("c2", Type::U16), ("c0", Type::U16), ("%r7", Type::B32)]
    );
}

#[test]
fn the_digits_of_a_name_may_belong_to_its_prefix() {
    let found = kernel(
        ".reg .f32 x1<3>; { .reg .b16 x<12>; mov.b16 x11, 1; mov.b16 x1, 2; } mov.f32 x12, 0f00000000;",
    );
    let names: Vec<_> =
        found.registers.iter().map(|register| (register.name.as_str(), register.ty)).collect();
    assert_eq!(names, [("x11", Type::B16), ("x1", Type::B16), ("x12", Type::F32)]);
}

#[test]
fn a_huge_range_costs_nothing() {
    let found = kernel(".reg .b32 x<4000000000>; mov.b32 x3999999999, 1;");
    assert_eq!(found.registers.len(), 1);
    assert_failures([
        (kernel_text(".reg .b32 x<4000000000>; mov.b32 x4000000000, 1;"), 6, "`x4000000000` is not declared"),
        (
            kernel_text(".reg .b32 x<4294967296>;"),
            6,
            "expected a number of registers of at most 32 bits, found `4294967296`",
        ),
    ]);
}

#[test]
fn inner_names_hide_outer_ones() {
    let found = kernel(
        ".reg .b32 v; mov.b32 v, 0; { .reg .b64 v, %r1; mov.b64 v, 1; mov.b64 %r1, 2; { .reg .b16 %r<5>; \
         mov.b16 %r1, 3; mov.b32 %r5, 4; } mov.b64 %r1, 5; } mov.b32 v, 6; mov.b32 %r1, 7;",
    );
    let types: Vec<_> = found
        .body
        .unwrap()
        .iter()
        .map(|instruction| match instruction.operands[0] {
            Operand::Register(RegisterId(id)) => (id, found.registers[id as usize].ty),
            ref other => panic!("{other:?}"),
        })
        .collect();
    let expected = [
        (0, Type::B32),
        (1, Type::B64),
        (2, Type::B64),
        (3, Type::B16),
        (4, Type::B32),
        (2, Type::B64),
        (0, Type::B32),
        (5, Type::B32),
    ];
    assert_eq!(types, expected);
}

#[test]
fn inline_assembly_twice() {
    let block = "{ .reg .pred p; LAB_WAIT: setp.ne.b32 p, %r1, 0; @p bra DONE; bra LAB_WAIT; DONE: }";
    let found = kernel(&format!("{block}\n{block} ret;"));
    let names: Vec<_> = found.registers.iter().map(|register| register.name.as_str()).collect();
    assert_eq!(names, ["p", "%r1", "p"]);
    let labels: Vec<_> = found.labels.iter().map(|label| (label.name.as_str(), label.target)).collect();
    assert_eq!(labels, [("LAB_WAIT", 0), ("DONE", 3), ("LAB_WAIT", 3), ("DONE", 6)]);
    let body = found.body.unwrap();
    assert_eq!(body[4].guard, Some(Guard { register: RegisterId(2), negated: false }));
    let targets: Vec<_> = [1, 2, 4, 5].iter().map(|&index: &usize| body[index].operands[0].clone()).collect();
    assert_eq!(targets, [1, 0, 3, 2].map(|label| Operand::Label(LabelId(label))));
}

#[test]
fn labels_stand_before_the_next_instruction() {
    let found = labels("A: B: ret; C:\n.reg .b32 zz; bra C; D:");
    assert_eq!(found, [("A".into(), 0), ("B".into(), 0), ("C".into(), 1), ("D".into(), 2)]);
}

#[test]
fn branches_go_to_the_innermost_label_whether_before_or_after() {
    // The outer L is number 0; within the scope L is number 1, although it stands after the first branch.
    assert_eq!(branches("L: bra L; { bra L; L: bra L; } bra L;"), [0, 1, 1, 0]);
    // Defined further out, later.
    assert_eq!(branches("{ { bra M; } bra M; } M: bra.uni M;"), [0, 0, 0]);
}

#[test]
fn tables_of_targets() {
    let found = kernel(
        "ts: .branchtargets N1, N<3>; brx.idx %r1, ts; @%p1 brx.idx.uni %r1, ts; N0: ret; N1: ret; N2: ret;",
    );
    let TableContent::Branches(entries) = &found.tables[0].content else { panic!("{:?}", found.tables) };
    assert_eq!(entries[..], [1, 0, 1, 2].map(LabelId));
    let body = found.body.as_ref().unwrap();
    for instruction in &body[..2] {
        assert_eq!(instruction.operands, [reg(0), Operand::Table(TableId(0))]);
    }
}

#[test]
fn tables_hide_each_other() {
    let block = "{ t: .branchtargets A; A: brx.idx %r1, t; }";
    let found = kernel(&format!("{block} {block}"));
    let used: Vec<_> =
        found.body.unwrap().iter().map(|instruction| instruction.operands[1].clone()).collect();
    assert_eq!(used, [Operand::Table(TableId(0)), Operand::Table(TableId(1))]);
    assert_eq!(found.tables[1].content, TableContent::Branches(vec![LabelId(1)]));
}

#[test]
fn what_is_out_of_scope_is_unknown() {
    let failures = [
        ("{ .reg .b32 v; }\nmov.b32 v, 1;", 7, "`v` is not declared"),
        ("{ .reg .b32 v<2>; }\nmov.b32 v1, 1;", 7, "`v1` is not declared"),
        ("{ .param .b32 v; }\nld.param.b32 %r1, [v];", 7, "`v` is not declared"),
        ("mov.b32 v, 1;\n.reg .b32 v;", 6, "`v` is not declared"),
        ("mov.b32 %r100, 1;", 6, "`%r100` is not declared"),
        ("mov.b32 %r01, 1;", 6, "`%r01` is not declared"),
        ("\nbra L;\n{ L: ret; }", 7, "the label `L` is not defined"),
        ("bra L; L: .callprototype _;", 6, "the label `L` is not of the kind expected here"),
        ("L: brx.idx %r1, L;", 6, "the label `L` is not of the kind expected here"),
        ("t: .branchtargets t;", 6, "the label `t` is not of the kind expected here"),
        ("t: .branchtargets A; ret;", 6, "the label `A` is not defined"),
        ("t: .branchtargets A<4000000000>;", 6, "there are fewer than 4000000000 labels"),
        ("t: .calltargets data;", 6, "expected a function, found `data`"),
        ("L: ret; {}\nL: ret;", 7, "the label `L` stands twice in the same scope"),
        (".reg .b32 v, v;", 6, "`v` is declared twice in the same scope"),
        (".reg .b32 v<2>;\n.reg .b16 v1;", 7, "`v1` is declared twice in the same scope"),
        (".reg .b32 v<2>, v<3>;", 6, "`v<…>` is declared twice in the same scope"),
        (".reg .v4 .f32 v;", 6, "registers that are vectors are not supported"),
        (".reg v;", 6, "expected the type of a register, found `v`"),
        (".reg .b32 .b32 v;", 6, "expected the type of a register, or its name, found `.b32`"),
        (".reg .b32 v<2;", 6, "expected `>`, found `;`"),
        (".wrong .b32 v;", 6, "expected an instruction, `.reg` or another declaration, found `.wrong`"),
        ("} }", 6, "expected a directive such as `.entry` or `.global`, found `}`"),
    ];
    assert_failures(failures.map(|(body, line, message)| (kernel_text(body), line, message)));
}
