//! Constant expressions: precedence, types, bounds.

use super::super::ast::Operand;
use super::{assert_failures, kernel_text, operands};

fn value(expression: &str) -> Operand {
    operands(&format!("mov.b64 %rd1, {expression};")).remove(1)
}

#[test]
fn integers_follow_c_and_their_signs_the_isa() {
    for (expression, expected) in [
        ("(3+4)*2 % 5", 4),
        ("7 %5", 2),
        ("2+3*4-1", 13),
        ("10-3-2", 5),
        ("1 + 7 % 4", 4),
        ("2 * 7 % 4", 2),
        ("8 - 2 << 1", 12),
        ("1 < 2 << 3", 1),
        ("4 == 2 < 3", 0),
        ("2 & 2 == 2", 0),
        ("3 ^ 2 & 1", 3),
        ("1 | 1 ^ 1", 1),
        ("0 && 0 | 1", 0),
        ("1 || 0 && 0", 1),
        ("!5 + 3", 3),
        ("!0", 1),
        ("-(-3)", 3),
        ("+4", 4),
        ("~5", -6),
        ("- - -5", -5),
        ("WARP_SZ", 32),
        ("WARP_SZ-1", 31),
        ("1 << 4 | 1", 17),
        ("6 & 3 ^ 1 | 8", 11),
        ("1 + 2 == 3 && 4 | 1", 1),
        ("0 || 0", 0),
        ("2 > 1 ? 10 : 20", 10),
        ("0 ? 1 : 0 ? 2 : 3", 3),
        // Signed: an arithmetic shift, a division toward zero. Unsigned, by a suffix, a cast or `~`: a logical one.
        ("-1 >> 3", -1),
        ("(.u64) -1 >> 3", 0x1FFF_FFFF_FFFF_FFFF),
        ("~0 >> 60", 15),
        ("(.s64) ~0 >> 60", -1),
        ("-7 / 2", -3),
        ("-7 / 2U", 0x7FFF_FFFF_FFFF_FFFC),
        ("-1 < 1", 1),
        ("-1 < 1U", 0),
        // A remainder takes both as unsigned.
        ("-7 % 5", 4),
        ("(1 ? -1 : 1U) >> 63", 1),
        ("1 << 70", 64),
        ("1 << -1", i64::MIN),
        ("0x8000000000000000 / -1", 0),
        ("-9223372036854775807 - 1", i64::MIN),
        ("(-9223372036854775807 - 1) / -1", i64::MIN),
        ("1.5 < 2.0", 1),
        ("1.5 != 1.5", 0),
    ] {
        assert_eq!(value(expression), Operand::Integer(expected), "{expression}");
    }
}

#[test]
fn floating_point_constants() {
    for (expression, expected) in [
        ("1.5", 1.5),
        (".5", 0.5),
        (".5e-3", 0.5e-3),
        ("1.", 1.0),
        ("-2.25", -2.25),
        ("1.5*2.0", 3.0),
        ("1.0/0.0", f64::INFINITY),
        ("1 ? 1.5 : 2.5", 1.5),
        ("0dBFF0000000000000", -1.0),
    ] {
        assert_eq!(value(expression), Operand::F64(f64::to_bits(expected)), "{expression}");
    }
    assert_eq!(value("0f7FC00001"), Operand::F32(0x7FC0_0001));
}

#[test]
fn what_has_no_value_is_refused() {
    let failures = [
        ("5 / 0", "division by zero in a constant expression"),
        ("5 % 0", "division by zero in a constant expression"),
        ("1.5 * 2", "`*` cannot be applied to 1.5 and 2"),
        ("1.5 % 2.0", "`%` cannot be applied to 1.5 and 2"),
        ("~1.5", "`~` cannot be applied to 1.5"),
        ("-0f3F800000", "`-` cannot be applied to 0f3F800000"),
        ("0f3F800000 + 1.0", "`+` cannot be applied to 0f3F800000 and 1"),
        ("1 ? 1.5 : 2", "the two values of `?:` must be integers, or both doubles"),
        ("1.5 ? 1 : 2", "expected an integer before `?`, found a floating-point constant"),
        ("(1", "expected `)`, found `;`"),
        ("(%r1)", "expected a constant, found `%r1`"),
        ("1 +", "expected a constant, found `;`"),
        ("-%r1", "expected a constant, found `%r1`"),
    ];
    assert_failures(
        failures.map(|(expression, message)| {
            (kernel_text(&format!("\nmov.b64 %rd1, {expression};")), 7, message)
        }),
    );
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize, open: &str, close: &str| {
        kernel_text(&format!("mov.b64 %rd1, {}1{};", open.repeat(depth), close.repeat(depth)))
    };
    let too_deep = "a constant expression is nested more than 32 deep";
    for (open, close) in [("(", ")"), ("-", ""), ("1 ? 2 : ", ""), ("1 ? ", " : 2"), ("(.s64) ", "")] {
        let depth = if open.starts_with("(.s64)") { 31 } else { 32 };
        assert!(super::super::parse(&nested(depth, open, close)).is_ok(), "{open}");
        assert_failures([
            (nested(33, open, close), 6, too_deep),
            (nested(100_000, open, close), 6, too_deep),
        ]);
    }
}
