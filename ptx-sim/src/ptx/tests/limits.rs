//! Short texts that ask for much: each gets an error, quickly.

use std::time::{Duration, Instant};

use super::super::parse;
use super::{HEADER, assert_failures, kernel_text};

#[test]
fn sizes_are_bounded() {
    let failures = [
        (".global .b8 x[1099511627777];", "`x` is larger than 1099511627776 bytes"),
        (".global .b64 x[0xFFFFFFFFFFFFFFFF];", "`x` is larger than 1099511627776 bytes"),
        (".global .b8 x[4294967296][4294967296];", "`x` is larger than 1099511627776 bytes"),
        (".global .b8 x[0][0xFFFFFFFFFFFFFFFF][2];", "`x` is larger than 1099511627776 bytes"),
        (".global .b8 x[][1099511627776] = {{}, {}};", "`x` is larger than 1099511627776 bytes"),
        (
            ".global .b8 x[2][1073741824] = {{1}, {2}};",
            "the initialisers of this file leave too many bytes between their values",
        ),
        (
            ".global .b8 x[][9223372036854775807] = {{1}, {2}};",
            "the initialisers of this file leave too many bytes between their values",
        ),
        (".global .b8 x[][0xFFFFFFFFFFFFFFFF][2] = {{}};", "`x` is larger than 1099511627776 bytes"),
        (
            ".global .align 2097152 .b8 x;",
            "expected an alignment that is a power of two up to 1048576, found 2097152",
        ),
        (
            ".global .b8 x[1][1][1][1][1][1][1][1][1][1][1][1][1][1][1][1][1];",
            "an array has more than 16 dimensions",
        ),
        (
            ".entry k .maxntid 99999999999 { }",
            "expected a number of threads of at most 32 bits, found `99999999999`",
        ),
    ];
    assert_failures(failures.map(|(text, message)| (format!("{HEADER}{text}"), 4, message)));
}

#[test]
fn gaps_are_counted_over_the_whole_file() {
    let one = ".global .b8 x[2][10000000] = {{1}, {2}};";
    assert!(parse(&format!("{HEADER}{one}")).is_ok());
    let two = format!("{HEADER}{one}\n{}", one.replace('x', "y"));
    let message = "the initialisers of this file leave too many bytes between their values";
    assert_failures([(two, 5, message)]);
}

#[test]
fn scopes_are_bounded() {
    let nested = |depth: usize| kernel_text(&format!("{}{}", "{".repeat(depth), "}".repeat(depth)));
    assert!(parse(&nested(63)).is_ok());
    assert_failures([
        (nested(64), 6, "scopes are nested more than 64 deep"),
        (kernel_text(&"{".repeat(1_000_000)), 6, "scopes are nested more than 64 deep"),
    ]);
}

#[test]
fn time_grows_with_the_length_alone() {
    const REPEATS: usize = 200_000;
    let bodies = [
        "[".repeat(REPEATS),
        "(".repeat(REPEATS),
        format!("mov.b32 %r1, {};", vec!["1"; REPEATS].join("+")),
        format!("mov.b32 %r1, {};", "9".repeat(REPEATS)),
        format!("mov.f64 %fd1, {}.5;", "9".repeat(REPEATS)),
        format!("x {{{}}};", vec!["%r1"; REPEATS].join(",")),
        (0..REPEATS).map(|index| format!("L{index}:")).collect(),
        // Labels that are looked for in all scopes, and found in none.
        format!("{}{}{}", "{".repeat(63), "bra L;".repeat(REPEATS), "}".repeat(63)),
        format!("{} ret;", "{.reg .b32 %r<4000000000>; mov.b32 %r3999999999, 1;}".repeat(REPEATS / 10)),
        format!("t: .branchtargets {};", vec!["L<100000>"; REPEATS / 10].join(",")),
        "\"".to_owned() + &"\\".repeat(REPEATS),
        "/*".repeat(REPEATS),
        "%".repeat(REPEATS),
        "x".repeat(REPEATS),
        format!("mov.b32 %r{}, 1;", "1".repeat(REPEATS)),
    ];
    for body in bodies {
        let text = kernel_text(&body);
        let start = Instant::now();
        let result = parse(&text);
        let shown: String = body.chars().take(40).collect();
        assert!(start.elapsed() < Duration::from_secs(5), "{shown} took {:?}", start.elapsed());
        if let Err(error) = result {
            assert!(error.to_string().len() < 1000, "{shown}");
        }
    }
}
