//! Instructions with operands of every kind.

use super::super::ast::{
    Base, Guard, Instruction, LabelId, Operand, RegisterId, SourceLine, Symbol, TableContent, TableId,
    VariableId,
};
use super::{assert_failures, at, code, global, kernel, kernel_text, operands, reg};

#[test]
fn an_instruction_exactly() {
    let found = code(
        ".loc 3 14 15\n@!%p3 ld.global.nc.L1::no_allocate.L2::128B.v4.u32 {%r1, %r2, _, %r1}, [%rd4+-16];",
    );
    let expected = Instruction {
        line: 7,
        source: Some(SourceLine { file: 3, line: 14, inlined_at: None }),
        guard: Some(Guard { register: RegisterId(0), negated: true }),
        opcode: "ld.global.nc.L1::no_allocate.L2::128B.v4.u32".into(),
        operands: vec![
            Operand::Vector(vec![reg(1), reg(2), Operand::Sink, reg(1)]),
            at(Base::Register(RegisterId(3)), -16),
        ],
    };
    assert_eq!(found, [expected]);
}

#[test]
fn opcodes_as_written() {
    for (text, root) in [
        ("cp.async.cg.shared.global.L2::128B", "cp"),
        (
            "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster",
            "cp",
        ),
        ("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32", "mma"),
        ("wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16", "wgmma"),
        ("tcgen05.mma.cta_group::1.kind::mxf8f6f4.block_scale.scale_vec::1X", "tcgen05"),
        ("ret", "ret"),
    ] {
        let found = code(&format!("{text} ;")).remove(0);
        assert_eq!((found.opcode.as_str(), found.root()), (text, root));
        assert!(found.operands.is_empty());
    }
    // Blank space between the parts does not count.
    assert_eq!(code("ld .global\n.u32 %r1, [4];")[0].opcode, "ld.global.u32");
    let found = code("ld.param::func.b32.v2 %r1, [p];").remove(0);
    assert_eq!(found.modifiers().collect::<Vec<_>>(), ["param::func", "b32", "v2"]);
}

#[test]
fn registers_and_constants() {
    let found = operands("x %r1, !%p1, -1, 0xFFFFFFFFFFFFFFFF, 0f3F800000, 1.5, WARP_SZ, !0, !WARP_SZ, _;");
    let expected = [
        reg(0),
        Operand::Not(RegisterId(1)),
        Operand::Integer(-1),
        Operand::Integer(-1),
        Operand::F32(0x3F80_0000),
        Operand::F64(1.5_f64.to_bits()),
        Operand::Integer(32),
        Operand::Integer(1),
        Operand::Integer(0),
        Operand::Sink,
    ];
    assert_eq!(found, expected);
    assert_eq!(
        operands("mov.b128 %q1, {%rd1, 5};"),
        [reg(0), Operand::Vector(vec![reg(1), Operand::Integer(5)])]
    );
    assert_eq!(operands("mov.u32 %r1, !5 + 3;")[1], Operand::Integer(3));
}

#[test]
fn special_registers() {
    for name in [
        "tid.x",
        "ntid.y",
        "ctaid.z",
        "nctaid.w",
        "laneid",
        "warpid",
        "clock",
        "clock64",
        "globaltimer_lo",
        "lanemask_lt",
        "envreg31",
        "pm0",
        "pm7_64",
        "dynamic_smem_size",
        "reserved_smem_offset_1",
        "cluster_ctarank",
        "cluster_nctaid.x",
        "is_explicit_cluster",
        "current_graph_exec",
    ] {
        assert_eq!(operands(&format!("mov.u32 %r1, %{name};"))[1], Operand::Special(name.into()));
    }
    assert_eq!(operands("mov.u32 %r1, %tid.r;")[1], Operand::Special("tid.x".into()));
    // A register of the same name comes first.
    assert_eq!(operands(".reg .b32 %clock; mov.u32 %r1, %clock;")[1], reg(0));
}

#[test]
fn addresses_in_memory() {
    let symbol = |symbol| Base::Symbol(symbol);
    for (text, base, offset) in [
        ("[%rd1]", Base::Register(RegisterId(0)), 0),
        ("[%rd1+8]", Base::Register(RegisterId(0)), 8),
        ("[%rd1+-8]", Base::Register(RegisterId(0)), -8),
        ("[%rd1 - 8 + 4*3]", Base::Register(RegisterId(0)), 4),
        ("[%rd1+0x100000000]", Base::Register(RegisterId(0)), 1 << 32),
        ("[smem]", symbol(global("smem")), 0),
        ("[data+(3*4)]", symbol(global("data")), 12),
        ("[p+4]", symbol(Symbol::Local(VariableId(0))), 4),
        ("[16]", Base::Absolute, 16),
        ("[WARP_SZ*2]", Base::Absolute, 64),
        ("[data].unified", symbol(global("data")), 0),
    ] {
        let found = operands(&format!("x {text};"));
        assert_eq!(found, [at(base, offset)], "{text}");
    }
}

#[test]
fn addresses_as_values() {
    assert_eq!(operands("mov.u64 %rd1, data;")[1], Operand::Address(global("data"), 0));
    assert_eq!(operands("mov.u64 %rd1, data+4;")[1], Operand::Address(global("data"), 4));
    assert_eq!(operands("mov.b64 %rd1, p;")[1], Operand::Address(Symbol::Local(VariableId(0)), 0));
    assert_eq!(operands("mov.u64 %rd1, twice;")[1], Operand::Address(global("twice"), 0));
    // A variable of the function hides one of the module.
    let found = operands(".shared .b8 data[4]; mov.u64 %rd1, data;");
    assert_eq!(found[1], Operand::Address(Symbol::Local(VariableId(1)), 0));
}

#[test]
fn two_destinations() {
    let pair = |first: Operand, second: Operand| Operand::Pair(first.into(), second.into());
    assert_eq!(operands("setp.lt.s32 %p1|%p2, %r1, %r2;")[0], pair(reg(0), reg(1)));
    assert_eq!(operands("elect.sync _|%p1, -1;"), [pair(Operand::Sink, reg(0)), Operand::Integer(-1)]);
    assert_eq!(operands("shfl.sync.down.b32 %r1 | %p1, %r2, 1, 31, -1;")[0], pair(reg(0), reg(1)));
    let vector = Operand::Vector(vec![reg(0), reg(1)]);
    assert_eq!(operands("tex.1d.v2.s32.s32 {%r1, %r2}|%p1, [%rd1, {%r3}];")[0], pair(vector, reg(2)));
}

#[test]
fn tensor_maps_and_coordinates() {
    let found = operands(
        "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [smem], [%rd1, {%r1, 5}], [%r2], \
         {%h1, %h2}, %h1;",
    );
    let expected = [
        at(Base::Symbol(global("smem")), 0),
        Operand::Tensor(Base::Register(RegisterId(0)), 0, vec![reg(1), Operand::Integer(5)]),
        at(Base::Register(RegisterId(2)), 0),
        Operand::Vector(vec![reg(3), reg(4)]),
        reg(3),
    ];
    assert_eq!(found, expected);
    assert_eq!(
        operands("x [p+64, {%r1}];"),
        [Operand::Tensor(Base::Symbol(Symbol::Local(VariableId(0))), 64, vec![reg(0)])]
    );
}

#[test]
fn calls_of_every_form() {
    let parameters = "{ .param .b32 a; .param .b32 b;";
    let list = |ids: &[u32]| Operand::List(ids.iter().map(|&id| Operand::Param(VariableId(id))).collect());
    let name = |name: &str| Operand::Function(name.into());
    for (call, expected) in [
        ("call stop;", vec![name("stop")]),
        ("call.uni stop, ();", vec![name("stop"), list(&[])]),
        ("call (b), twice, (a);", vec![list(&[2]), name("twice"), list(&[1])]),
        ("call.uni (b),\n twice,\n (\n a\n );", vec![list(&[2]), name("twice"), list(&[1])]),
        ("call (b), twice;", vec![list(&[2]), name("twice")]),
        (
            "call (%r1), twice, (4);",
            vec![Operand::List(vec![reg(0)]), name("twice"), Operand::List(vec![Operand::Integer(4)])],
        ),
        ("call (b), %rd1, (a), proto;", vec![list(&[2]), reg(0), list(&[1]), Operand::Table(TableId(0))]),
        ("call %rd1, proto;", vec![reg(0), Operand::Table(TableId(0))]),
    ] {
        let prototype =
            "proto : .callprototype (.param .b32 _) _ (.param .b32 _, .param .b8 _[12]) .noreturn;";
        let found = code(&format!("{parameters} {prototype} {call} }}")).remove(0);
        assert_eq!(found.operands, expected, "{call}");
    }
}

#[test]
fn targets_of_indirect_calls() {
    let found = kernel("t: .calltargets twice, stop; p0: .callprototype _; call %rd1, t;");
    assert_eq!(found.tables[0].content, TableContent::Calls(vec!["twice".into(), "stop".into()]));
    assert_eq!((found.tables[1].name.as_str(), &found.tables[1].content), ("p0", &TableContent::Prototype));
    assert_eq!(found.body.unwrap()[0].operands[1], Operand::Table(TableId(0)));
}

#[test]
fn guards_and_branches() {
    let found = code("L: @%p1 bra L; @ !%p1 bra.uni L; bra L;");
    let negated: Vec<_> = found.iter().map(|one| one.guard.map(|guard| guard.negated)).collect();
    assert_eq!(negated, [Some(false), Some(true), None]);
    assert!(found.iter().all(|one| one.operands == [Operand::Label(LabelId(0))]));
}

#[test]
fn malformed_instructions() {
    let failures = [
        ("mov.u32 %r1, 1\nret;", 7, "expected `,` or `;` after an operand, found `ret`"),
        ("mov.u32 %r1 %r2;", 6, "expected `,` or `;` after an operand, found `%r2`"),
        ("mov.u32 %r1,;", 6, "expected an operand, found `;`"),
        ("mov.u32 ,;", 6, "expected an operand, found `,`"),
        ("mov.u32 %r1, @;", 6, "expected an operand, found `@`"),
        ("%r1 = 5;", 6, "expected an instruction, found `%r1`"),
        ("$x;", 6, "expected an instruction, found `$x`"),
        ("Mov.u32 %r1, 1;", 6, "expected an instruction, found `Mov`"),
        ("5;", 6, "expected an instruction, a label, a directive or `}`, found `5`"),
        ("@%r1 ret;", 6, "the guard `%r1` is not a predicate"),
        ("@p ret;", 6, "the guard `p` is not a predicate"),
        ("@x ret;", 6, "`x` is not declared"),
        ("@%p1 ;", 6, "expected an instruction after its guard, found `;`"),
        ("@%p1 L: ret;", 6, "expected an instruction, found `L`"),
        ("@%p1 l: ret;", 6, "expected an operand, found `:`"),
        ("mov.u32 %r1, %R1;", 6, "`%R1` is not declared"),
        ("mov.u32 %r1, %tid;", 6, "expected `.x`, `.y`, `.z` or `.w` after `%tid`, found `;`"),
        ("mov.u32 %r1, %tid.q;", 6, "expected `.x`, `.y`, `.z` or `.w` after `%tid`, found `.q`"),
        ("mov.u32 %r1, %envreg32;", 6, "`%envreg32` is not declared"),
        ("mov.u32 %r1, %envreg01;", 6, "`%envreg01` is not declared"),
        ("mov.u32 %r1, %laneid.x;", 6, "expected `,` or `;` after an operand, found `.x`"),
        ("mov.f32 %f1, %f2.x;", 6, "parts of registers such as `%f2.x` are not supported"),
        ("@%p1.x ret;", 6, "expected an instruction after its guard, found `.x`"),
        ("ld.b32 %r1, [%rd1.x];", 6, "parts of registers such as `%rd1.x` are not supported"),
        ("ld.b32 %r1, [];", 6, "expected an address, found `]`"),
        ("ld.b32 %r1, [%rd1;", 6, "expected `]` or an offset in an address, found `;`"),
        ("ld.b32 %r1, [%rd1+%rd2];", 6, "expected a constant, found `%rd2`"),
        ("ld.b32 %r1, [4+data];", 6, "expected a constant, found `data`"),
        ("ld.b32 %r1, [1.5];", 6, "expected an integer, found a floating-point constant"),
        ("ld.b32 %r1, [data+1.5];", 6, "expected an integer as an offset, found a floating-point constant"),
        ("ld.b32 %r1, [data+0x7FFFFFFFFFFFFFFF+1];", 6, "the offset does not fit 64 bits"),
        ("ld.b32 %r1, [%tid.x];", 6, "`%tid` is not declared"),
        ("ld.b32 %r1, data[1];", 6, "expected `[data + offset]`, found `data[…]`"),
        ("x [%rd1, %r1];", 6, "expected `{`, found `%r1`"),
        ("x {};", 6, "expected an operand, found `}`"),
        ("x {%r1;", 6, "expected `}`, found `;`"),
        ("x {{%r1}};", 6, "expected an operand, found `{`"),
        ("x {[%rd1]};", 6, "expected an operand, found `[`"),
        ("x %r1|5;", 6, "expected registers on both sides of `|`"),
        ("x data|%r1;", 6, "expected registers on both sides of `|`"),
        ("x !p;", 6, "expected a predicate after `!`"),
        ("bra %r1;", 6, "the label `%r1` is not defined"),
        ("bra 5;", 6, "expected a label, found `5`"),
        ("call nothing;", 6, "expected a function, found `nothing`"),
        ("call data;", 6, "expected a function, found `data`"),
        ("call twice, 5;", 6, "expected the label of a table, found `5`"),
        (
            "call (data), twice;",
            6,
            "expected a `.param` variable, a register or a constant in the list of a call",
        ),
        (
            "call (!%p1), twice;",
            6,
            "expected a `.param` variable, a register or a constant in the list of a call",
        ),
        ("call twice, (%r1;", 6, "expected `)`, found `;`"),
        ("call %rd1, (), nothing;", 6, "the label `nothing` is not defined"),
    ];
    assert_failures(failures.map(|(body, line, message)| (kernel_text(body), line, message)));
}
