//! Comments, numbers, strings and where lines are counted.

use super::super::lexer::{Kind, Lexer};
use super::{HEADER, assert_failures, code, failure, module};
use crate::Error;

/// All tokens of a text with their lines.
fn tokens(text: &str) -> Result<Vec<(Kind<'_>, u32)>, Error> {
    let mut lexer = Lexer::new(text);
    let mut found = Vec::new();
    loop {
        let token = lexer.next()?;
        if token.kind == Kind::End {
            return Ok(found);
        }
        found.push((token.kind, token.line));
    }
}

fn one(text: &str) -> Kind<'_> {
    let mut found = tokens(text).unwrap();
    assert_eq!(found.len(), 1, "{text}");
    found.remove(0).0
}

#[test]
fn words_directives_and_symbols() {
    let text = "$L__BB0_1: %r1 _x .shared::cluster .L2::128B\n.2d a.b <<=";
    let expected = [
        (Kind::Word("$L__BB0_1"), 1),
        (Kind::Symbol(":"), 1),
        (Kind::Word("%r1"), 1),
        (Kind::Word("_x"), 1),
        (Kind::Dot("shared::cluster"), 1),
        (Kind::Dot("L2::128B"), 1),
        (Kind::Dot("2d"), 2),
        (Kind::Word("a"), 2),
        (Kind::Dot("b"), 2),
        (Kind::Symbol("<<"), 2),
        (Kind::Symbol("="), 2),
    ];
    assert_eq!(tokens(text).unwrap(), expected);
}

#[test]
fn numbers_in_every_notation() {
    let integer = |value| Kind::Integer { value, unsigned: false };
    let unsigned = |value| Kind::Integer { value, unsigned: true };
    for (text, expected) in [
        ("0", integer(0)),
        ("42", integer(42)),
        ("0x1F", integer(31)),
        ("0XfF", integer(255)),
        ("010", integer(8)),
        ("00", integer(0)),
        ("0b101", integer(5)),
        ("0B1U", unsigned(1)),
        ("7U", unsigned(7)),
        ("0U", unsigned(0)),
        ("010U", unsigned(8)),
        ("9223372036854775807", integer(i64::MAX as u64)),
        ("9223372036854775808", unsigned(1 << 63)),
        ("0xFFFFFFFFFFFFFFFF", unsigned(u64::MAX)),
        ("0f3F800000", Kind::Single(0x3F80_0000)),
        ("0Fff800000", Kind::Single(0xFF80_0000)),
        ("0d3FF8000000000000", Kind::Double(1.5)),
        ("0D0000000000000001", Kind::Double(f64::from_bits(1))),
        ("1.5", Kind::Double(1.5)),
        ("1.", Kind::Double(1.0)),
        ("1e3", Kind::Double(1000.0)),
        ("2.5E-1", Kind::Double(0.25)),
        ("08.5", Kind::Double(8.5)),
    ] {
        assert_eq!(one(text), expected, "{text}");
    }
}

#[test]
fn malformed_numbers_and_strings() {
    for (text, message) in [
        ("0x", "expected a digit of base 16 in a number"),
        ("0b2", "expected a digit of base 2 in a number"),
        ("08", "expected a digit of base 8 in a number"),
        ("0778", "expected the end of a number, found `8`"),
        ("12ab", "expected the end of a number, found `ab`"),
        ("5u", "expected the end of a number, found `u`"),
        ("0f3F8000", "expected 8 hexadecimal digits in a floating-point constant, found 6"),
        ("0f3F8000000", "expected 8 hexadecimal digits in a floating-point constant, found 9"),
        ("0d3F800000", "expected 16 hexadecimal digits in a floating-point constant, found 8"),
        ("18446744073709551616", "the number `18446744073709551616` does not fit 64 bits"),
        ("0x10000000000000000", "the number `10000000000000000` does not fit 64 bits"),
        ("\"abc", "expected `\"` at the end of a string"),
        ("\"abc\n\"", "expected `\"` at the end of a string"),
        ("\"abc\\", "expected `\"` at the end of a string"),
        ("/* a", "expected `*/` after `/*`, found the end of the file"),
        (". x", "expected a name after `.`"),
        ("#", "unexpected character '#'"),
        ("é", "unexpected character 'é'"),
        ("\u{1b}", "unexpected character '\\u{1b}'"),
    ] {
        match tokens(text) {
            Err(Error::Syntax { line: 1, message: found }) => assert_eq!(found, message, "{text}"),
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn lines_are_counted_through_comments_and_blank_space() {
    let body = "mov.b32 %r0, 1; // not code: mov\n\n/* two\r\nlines */ mov.b32 %r1,\n 2;\t\x0c@%p0\nret;";
    let lines: Vec<_> = code(body).iter().map(|instruction| instruction.line).collect();
    assert_eq!(lines, [6, 9, 11]);
}

#[test]
fn comments_and_strings_do_not_hold_each_other() {
    let parsed = module(".file 1 \"a//b/*c\"\n// \"\n/* // */ .global .b8 x;");
    assert_eq!(parsed.files, [(1, "a//b/*c".to_owned())]);
    assert_eq!((parsed.variables.len(), parsed.variables[0].line), (1, 6));
}

#[test]
fn escapes_in_paths() {
    let parsed = module(r#".file 1 "C:\\a\"b\303\251" .file 2 "x", 1339013327, 64118"#);
    assert_eq!(parsed.files, [(1, "C:\\a\"bé".to_owned()), (2, "x".to_owned())]);
}

#[test]
fn a_zero_byte_ends_the_text() {
    assert!(super::super::parse(&format!("{HEADER}\0\0")).is_ok());
    assert_eq!(failure(&format!("{HEADER}\0x")), (4, "unexpected character '\\0'".to_owned()));
}

#[test]
fn messages_show_little_of_what_was_found() {
    let long = "a".repeat(1000);
    let (_, message) = failure(&format!("{HEADER}{long}"));
    assert_eq!(
        message,
        format!("expected a directive such as `.entry` or `.global`, found `{}…`", &long[..60])
    );
    let (_, message) = failure(&format!("{HEADER}\"\u{1b}[31m\""));
    assert_eq!(message, "expected a directive such as `.entry` or `.global`, found \"\\u{1b}[31m\"");
}

#[test]
fn the_header_must_be_whole() {
    let parsed =
        super::super::parse(".version 7.8 .target compute_80, debug, texmode_independent .address_size 64");
    let parsed = parsed.unwrap();
    assert_eq!((parsed.version, parsed.target.as_str(), parsed.address_size), ((7, 8), "sm_80", 64));
    let twice = format!("{HEADER}.version 8.7");
    assert_failures([
        (String::new(), 1, "expected `.version`, found the end of the file"),
        ("\n.target sm_80".into(), 2, "expected `.version`, found `.target`"),
        (".version x".into(), 1, "expected a version such as 8.0, found `x`"),
        (".version 8".into(), 1, "expected a version such as 8.0, found `8`"),
        (
            ".version 8.99999999999".into(),
            1,
            "expected a version such as 8.0, found a floating-point constant",
        ),
        (".version 8.0".into(), 1, "expected `.target`, found the end of the file"),
        (".version 8.0\n.target gfx90".into(), 2, "expected a target such as sm_80"),
        (".version 8.0\n.target sm_80,\nx".into(), 3, "the target option `x` is not supported"),
        (".version 8.0\n.target sm_80\n".into(), 3, "expected `.address_size 64`, found the end of the file"),
        (".version 8.0 .target sm_80\n.address_size 32".into(), 2, "only an address size of 64 is supported"),
        (twice, 4, "`.version` is given twice"),
    ]);
}
