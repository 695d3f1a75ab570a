//! Variables, initialisers, functions and directives.

use super::super::ast::{Directives, Function, Relocation, Space, Type, Variable, VariableId};
use super::{HEADER, assert_failures, code, kernel, kernel_text, module};

fn variable(declaration: &str) -> Variable {
    module(declaration).variables.remove(0)
}

/// Space, type, size and alignment.
fn shape(declaration: &str) -> (Space, Type, u64, u64) {
    let variable = variable(declaration);
    (variable.space, variable.ty, variable.size, variable.align)
}

#[test]
fn a_variable_exactly() {
    let expected = Variable {
        name: "x".into(),
        line: 5,
        space: Space::Const,
        ty: Type::U16,
        size: 8,
        align: 16,
        is_extern: false,
        initial: vec![1, 0, 255, 255],
        relocations: vec![],
    };
    assert_eq!(variable(".visible .const .align 16 .u16\nx[4] = {1, -1};"), expected);
}

#[test]
fn sizes_and_alignments() {
    use Space::{Const, Global, Shared};
    for (declaration, expected) in [
        (".global .b8 x;", (Global, Type::B8, 1, 1)),
        (".weak .global .u64 x;", (Global, Type::U64, 8, 8)),
        (".common .global .b128 x;", (Global, Type::B128, 16, 16)),
        (".const .f16x2 x[3];", (Const, Type::F16x2, 12, 4)),
        (".shared .u16 x[19][19];", (Shared, Type::U16, 722, 2)),
        (".global .v4 .f32 x[10];", (Global, Type::F32, 160, 16)),
        (".global .v2 .b8 x;", (Global, Type::B8, 2, 2)),
        (".shared .align 1024 .b8 x[0x100];", (Shared, Type::B8, 256, 1024)),
        (".global .b8 .align 8 x[12];", (Global, Type::B8, 12, 8)),
        (".global .attribute(.managed) .align 4 .u32 x;", (Global, Type::U32, 4, 4)),
        (".global .attribute(.unified(19,0x5f), .managed) .f32 x;", (Global, Type::F32, 4, 4)),
        (".global .u32 x[] = {1, 2, 3};", (Global, Type::U32, 12, 4)),
        (".global .s32 x[][2] = { {-1, 0}, {0, -1}, {1} };", (Global, Type::S32, 24, 4)),
        (".global .u32 x[2*3+WARP_SZ];", (Global, Type::U32, 152, 4)),
    ] {
        assert_eq!(shape(declaration), expected, "{declaration}");
    }
}

#[test]
fn extern_arrays_have_no_size() {
    let found = variable(".extern .shared .align 16 .b8 smem[];");
    assert_eq!((found.size, found.align, found.is_extern), (0, 16, true));
}

#[test]
fn a_definition_replaces_its_declaration() {
    let parsed = module(
        ".extern .global .b32 x; .global .b32 y; .visible .global .b32 x = 7; .extern .global .b32 x;",
    );
    let found: Vec<_> = parsed.variables.iter().map(|one| (one.name.as_str(), one.is_extern)).collect();
    assert_eq!(found, [("y", false), ("x", false)]);
    assert_eq!(parsed.variables[1].initial, [7, 0, 0, 0]);
    let parsed = module(".extern .global .b32 x; .extern .global .b32 x;");
    assert_eq!(parsed.variables.len(), 1);
}

#[test]
fn several_names_in_one_declaration() {
    let parsed = module(".global .u32 x, y[2], z = 5;");
    let found: Vec<_> =
        parsed.variables.iter().map(|one| (one.name.as_str(), one.size, one.initial.len())).collect();
    assert_eq!(found, [("x", 4, 0), ("y", 8, 0), ("z", 4, 4)]);
}

#[test]
fn initial_values_of_every_type() {
    for (declaration, expected) in [
        (".global .u32 x = 0x1FFFFFFFF;", vec![255; 4]),
        (".global .b8 x[4] = {300, -1, 010, 0x10U};", vec![44, 255, 8, 16]),
        (".global .f32 x = 0f3F800000;", vec![0, 0, 128, 63]),
        (".global .f32 x[2] = {1.1, -1.5};", vec![0xCD, 0xCC, 0x8C, 0x3F, 0, 0, 0xC0, 0xBF]),
        (".global .b32 x = 1.5;", vec![0, 0, 0xC0, 0x3F]),
        (".global .f64 x = 1.5;", vec![0, 0, 0, 0, 0, 0, 0xF8, 0x3F]),
        (".global .f64 x = 0d0123456789ABCDEF;", vec![0xEF, 0xCD, 0xAB, 0x89, 0x67, 0x45, 0x23, 0x01]),
        (".global .b64 x = 0f3F800000;", vec![0, 0, 0x80, 0x3F, 0, 0, 0, 0]),
        (".global .b128 x = -2;", [vec![254], vec![255; 15]].concat()),
        (".global .s16 x[3] = {1+1, -2, 7 % 4};", vec![2, 0, 254, 255, 3, 0]),
        // Incomplete, within and at the end: zeros between, nothing after.
        (".global .b8 x[3][2] = { {1, 2}, {3}, {} };", vec![1, 2, 3]),
        (".global .b8 x[3][2] = { {1}, {}, {5} };", vec![1, 0, 0, 0, 5]),
        (".global .v2 .b8 x[2] = { {1, 2}, {3, 4} };", vec![1, 2, 3, 4]),
        (".global .b8 x[2] = {};", vec![]),
        (".global .u8 x[2] = {0xff(1000 + 546), 0xff00(131187)};", vec![0x0A, 0x00]),
        (".global .u32 x = WARP_SZ;", vec![32, 0, 0, 0]),
    ] {
        assert_eq!(variable(declaration).initial, expected, "{declaration}");
    }
}

#[test]
fn addresses_in_initial_values() {
    let parsed = module(
        ".global .b32 y[4]; .func f () { ret; }\n.global .u64 x[6] = {y, generic(y)+4, y+-8, 0, f, generic(y+4)-1};\n\
         .global .u32 z = y;\n.global .b8 w[10] = {7, 0xFF(y), 0xFF00(generic(y)+4), 0xFF00000000000000(y)};",
    );
    let at = |offset, symbol: &str, addend, generic, size, shift| Relocation {
        offset,
        symbol: symbol.into(),
        addend,
        generic,
        size,
        shift,
    };
    let expected = [
        at(0, "y", 0, false, 8, 0),
        at(8, "y", 4, true, 8, 0),
        at(16, "y", -8, false, 8, 0),
        at(32, "f", 0, false, 8, 0),
        at(40, "y", 3, true, 8, 0),
    ];
    assert_eq!(parsed.variables[1].relocations, expected);
    assert_eq!(parsed.variables[1].initial, [0; 48]);
    assert_eq!(parsed.variables[2].relocations, [at(0, "y", 0, false, 4, 0)]);
    let bytes = [at(1, "y", 0, false, 1, 0), at(2, "y", 4, true, 1, 8), at(3, "y", 0, false, 1, 56)];
    assert_eq!(parsed.variables[3].relocations, bytes);
    assert_eq!(parsed.variables[3].initial, [7, 0, 0, 0]);
}

#[test]
fn malformed_variables() {
    let failures = [
        (".global x;", "expected a type, found `x`"),
        (".global .u32;", "expected the name of a variable, found `;`"),
        (".global .u32 .f32 x;", "expected only one type, found `.f32`"),
        (".global .texref x;", "expected a type or an attribute of a variable, found `.texref`"),
        (".global .pred x;", "predicates are registers: a variable cannot be of type `.pred`"),
        (".global .u32 x", "expected `;`, found the end of the file"),
        (".global .align 3 .u32 x;", "expected an alignment that is a power of two up to 1048576, found 3"),
        (".global .align 0 .u32 x;", "expected an alignment that is a power of two up to 1048576, found 0"),
        (".global .u32 x[];", "the array `x` has no size"),
        (".global .u32 x[2][];", "expected a constant, found `]`"),
        (".global .u32 x[-1];", "expected the size of an array, found -1"),
        (".global .u32 x[1.5];", "expected the size of an array, found 1.5"),
        (".global .u32 x<4>;", "numbered names such as `%r<10>` are supported for registers only"),
        (".global .u32 x = {5};", "expected a constant, found `{`"),
        (".global .u32 x[2] = 5;", "expected `{`, found `5`"),
        (".global .u32 x[2] = {1, 2, 3};", "expected at most 2 values, found more"),
        (".global .u32 x[2] = {1, 2,};", "expected at most 2 values, found more"),
        (".global .u32 x[3] = {1, 2,};", "expected a constant, found `}`"),
        (".global .u32 x[2][2] = {1, 2, 3, 4};", "expected `{`, found `1`"),
        (".global .b8 x[4] = \"abc\";", "expected `{`, found \"abc\""),
        (".global .f32 x = 1;", "expected a floating-point constant, found an integer"),
        (".global .u32 x = 1.5;", "expected an integer, found a floating-point constant"),
        (".global .u32 x = 0f3F800000;", "expected an integer, found a floating-point constant"),
        (".global .f16 x = 1.0;", "variables of this type cannot be initialised; use a type of bits"),
        (
            ".shared .u32 x = 5;",
            "only `.global` and `.const` variables that are not `.extern` can be initialised",
        ),
        (
            ".extern .global .u32 x = 5;",
            "only `.global` and `.const` variables that are not `.extern` can be initialised",
        ),
        (".global .u64 x = y;", "expected a `.global`, `.const` or function as initial value, found `y`"),
        (
            ".shared .u32 y; .global .u64 x = y;",
            "expected a `.global`, `.const` or function as initial value, found `y`",
        ),
        (
            ".global .u8 y; .global .u8 x = y;",
            "an address is 4 or 8 bytes long, and a byte of an address is 1 byte long",
        ),
        (
            ".global .u8 y; .global .f64 x = y;",
            "an address is 4 or 8 bytes long, and a byte of an address is 1 byte long",
        ),
        (
            ".global .u8 y; .global .u64 x = 0xFF(y);",
            "an address is 4 or 8 bytes long, and a byte of an address is 1 byte long",
        ),
        (
            ".global .u8 y; .global .u8 x = 0xFF0(y);",
            "expected a mask of one byte such as 0xFF00, found 0xFF0",
        ),
        (".global .u32 x; .global .u32 x;", "`x` is declared twice"),
        (".global .u32 x; .func x ();", "`x` is declared twice"),
        (".func x (); .global .u32 x;", "`x` is declared twice"),
        (".reg .u32 x;", "`.reg` is not supported at module scope"),
        (".visible .u32 x;", "expected `.entry`, `.func`, `.global`, `.const` or `.shared`, found `.u32`"),
        ("x", "expected a directive such as `.entry` or `.global`, found `x`"),
        (".global .attribute(.x) .u32 x;", "expected `.managed` or `.unified`, found `.x`"),
    ];
    assert_failures(failures.map(|(text, message)| (format!("{HEADER}{text}"), 4, message)));
}

fn function(text: &str) -> Function {
    module(text).functions.remove(0)
}

#[test]
fn a_kernel_exactly() {
    let found = function(
        ".visible .entry\nk(\n.param .align 8 .b8 a[40],\n.param .u64 .ptr .global .align 16 b,\n.param .u32 .ptr.const c\n)\n\
         .maxntid 128, 2\n.minnctapersm 3 .maxnreg 64 .pragma \"nounroll\", \"x\";\n{ }",
    );
    let param = |name: &str, line, ty, size, align| Variable {
        name: name.into(),
        line,
        space: Space::Param,
        ty,
        size,
        align,
        is_extern: false,
        initial: vec![],
        relocations: vec![],
    };
    let expected = Function {
        name: "k".into(),
        is_kernel: true,
        line: 5,
        returns: vec![],
        params: vec![VariableId(0), VariableId(1), VariableId(2)],
        directives: Directives {
            max_block: Some([128, 2, 1]),
            min_blocks_per_sm: Some(3),
            max_registers: Some(64),
            ..Directives::default()
        },
        registers: vec![],
        variables: vec![
            param("a", 6, Type::B8, 40, 8),
            param("b", 7, Type::U64, 8, 8),
            param("c", 8, Type::U32, 4, 4),
        ],
        labels: vec![],
        tables: vec![],
        body: Some(vec![]),
    };
    assert_eq!(found, expected);
}

#[test]
fn performance_directives() {
    let found = function(
        ".entry k .reqntid 32 .reqnctapercluster 2, 1 .explicitcluster .blocksareclusters .maxclusterrank 8 \
         .maxnctapersm 4 { ret; }",
    );
    let expected = Directives {
        required_block: Some([32, 1, 1]),
        required_cluster: Some([2, 1, 1]),
        explicit_cluster: true,
        blocks_are_clusters: true,
        max_cluster_rank: Some(8),
        min_blocks_per_sm: Some(4),
        ..Directives::default()
    };
    assert_eq!(found.directives, expected);
}

#[test]
fn device_functions_and_declarations() {
    let parsed = module(
        ".func f (); .extern .func (.param .b32 r) vprintf (.param .b64 a, .param .b64 b); .entry k { ret; }\n\
         .weak .func (.param .align 8 .b8 r[16]) f (.param .b32 a, .param .align 4 .b8 rest[]) .noreturn \
         .abi_preserve 8 .abi_preserve_control 2 { ret; }\n.func f (.param .b32 a); .extern .func vprintf;",
    );
    let found: Vec<_> = parsed.functions.iter().map(|one| (one.name.as_str(), one.body.is_some())).collect();
    assert_eq!(found, [("vprintf", false), ("k", true), ("f", true)]);
    let f = &parsed.functions[2];
    assert_eq!((f.is_kernel, f.line), (false, 5));
    assert_eq!((&f.returns[..], &f.params[..]), (&[VariableId(0)][..], &[VariableId(1), VariableId(2)][..]));
    assert_eq!(f.variables.iter().map(|one| one.size).collect::<Vec<_>>(), [16, 4, 0]);
    assert_eq!(parsed.functions[0].params.len(), 2);
}

#[test]
fn nvcc_declares_parameters_twice() {
    let parsed = module(".func f (.param .b64 a, .param .b64 a);");
    assert_eq!(parsed.functions[0].params.len(), 2);
}

#[test]
fn aliases_are_resolved() {
    use super::super::ast::Operand;
    let parsed = module(
        ".func foo (.param .b32 p) { ret; } .func bar (.param .b32 p); .global .u64 t = bar;\n.alias bar, foo;\n\
         .entry k { .reg .b64 r; call bar, (1); mov.b64 r, bar; }",
    );
    let names: Vec<_> = parsed.functions.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["foo", "k"]);
    let body = parsed.functions[1].body.as_ref().unwrap();
    assert_eq!(body[0].operands[0], Operand::Function("foo".into()));
    assert_eq!(body[1].operands[1], Operand::Address(super::global("foo"), 0));
    assert_eq!(parsed.variables[0].relocations[0].symbol, "foo");
}

#[test]
fn variables_of_a_body() {
    let found = kernel(
        ".local .align 16 .b8 depot[160]; .shared .align 4 .b8 tile[512]; .extern .shared .b8 more[];\n\
         .global .b32 state = 3; { .param .b32 param0; .param .align 8 .b8 param1[40]; } ret;",
    );
    let found: Vec<_> = found.variables.iter().map(|one| (one.name.as_str(), one.space, one.size)).collect();
    let expected = [
        ("p", Space::Param, 8),
        ("depot", Space::Local, 160),
        ("tile", Space::Shared, 512),
        ("more", Space::Shared, 0),
        ("state", Space::Global, 4),
        ("param0", Space::Param, 4),
        ("param1", Space::Param, 40),
    ];
    assert_eq!(found, expected);
}

#[test]
fn places_in_source_files() {
    use super::super::ast::SourceLine;
    let body = "bar.sync 0;\n.loc 1 36 3\nbar.sync 0;\n.loc 2 23 48, function_name $L__info_string0, inlined_at 1 36 3\n\
                bar.sync 0; .pragma \"nounroll\";\n.loc 1 15 3, function_name .debug_str+16, inlined_at 1 10 5\n\
                bar.sync 0;\n.loc 1 0 17\nbar.sync 0;";
    let found: Vec<_> =
        code(body).iter().map(|one| one.source.map(|SourceLine { file, line, .. }| (file, line))).collect();
    assert_eq!(found, [None, Some((1, 36)), Some((2, 23)), Some((1, 15)), None]);
}

#[test]
fn debugging_sections_are_skipped() {
    let parsed = module(
        ".file 1 \"a.cu\"\n.section .debug_str\n{\n$L__info_string0:\n.b8 95,90,-50\n.b32 .debug_loc+0x4, a-b\n\n}\n\
         .section .debug_macinfo { .b8 0 } .pragma \"x\"; .global .b8 after;",
    );
    assert_eq!(parsed.variables[0].name, "after");
}

#[test]
fn malformed_functions() {
    let failures = [
        (".entry { ret; }", "expected the name of a function, found `{`"),
        (".entry k (.param .u32 a", "expected `)`, found the end of the file"),
        (".entry k (.u32 a) { }", "expected `.param`, found `.u32`"),
        (".entry k (.param .u32 a[]) { }", "the array `a` has no size"),
        (
            ".func f (.param .b8 a[], .param .b8 b) { }",
            "only the last parameter can be an array without a size",
        ),
        (".func f (.reg .u32 a) { }", "parameters in registers are not supported; expected `.param`"),
        (".func f (.param .u32 a, .param .u32 a) { }", "`a` is declared twice in the same scope"),
        (".entry k (.param .u32 a) { .reg .u32 a; }", "`a` is declared twice in the same scope"),
        (".entry k .maxntid { }", "expected a number of threads, found `{`"),
        (".entry k .maxntid 1,2,3,4 { }", "expected `{`, `;` or a performance directive, found `,`"),
        (
            ".entry k .maxnreg 4294967296 { }",
            "expected a number of registers of at most 32 bits, found `4294967296`",
        ),
        (".entry k .fast { }", "expected a performance directive or `{`, found `.fast`"),
        (".entry k ret;", "expected `{`, `;` or a performance directive, found `ret`"),
        (".entry k { ret; } .entry k { ret; }", "`k` is declared twice"),
        (".entry k { ret;", "expected `}` for the `{` of line 4, found the end of the file"),
        (".entry k { .pragma x; }", "expected a string, found `x`"),
        (".entry k { .loc 1 x; }", "expected a line, found `x`"),
        (".entry k { .loc 1 2 3, here; }", "expected `function_name` or `inlined_at`, found `here`"),
        (".section .debug_str { .b8 0", "expected `}` at the end of `.section`, found the end of the file"),
        (
            ".func f (); .alias g, f;",
            "`.alias` expects a function without a body and one with a body, found `g` and `f`",
        ),
        (".file x \"y\"", "expected the number of a file, found `x`"),
        (".file 1 y", "expected the path of a file, found `y`"),
    ];
    assert_failures(failures.map(|(text, message)| (format!("{HEADER}{text}"), 4, message)));
    assert_failures([(kernel_text(".reg .b32 p;"), 6, "`p` is declared twice in the same scope")]);
}
