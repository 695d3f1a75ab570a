//! Real files, damaged: each is read or refused, and what is read is consistent.

use super::super::parse;
use super::assert_consistent;
use super::fixtures::{DEBUG, HOPPER, LANGUAGE};
use super::{GLOBALS, kernel_text};
use crate::Error;

/// Marsaglia's xorshift64, so that every run tries the same.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit.max(1) as u64) as usize
    }
}

/// What a mutation inserts.
const TOKENS: [&str; 48] = [
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    ",",
    ";",
    ":",
    "+",
    "-",
    "|",
    "!",
    "@",
    "<",
    ">",
    "=",
    "?",
    "%",
    "~",
    "0",
    "-1",
    "4294967295",
    "4294967296",
    "18446744073709551615",
    "99999999999999999999",
    "0xFFFFFFFF",
    "0f7FC00000",
    "1.5e999",
    "WARP_SZ",
    "%r4294967295",
    "%r<4000000000>",
    "x[4000000000]",
    "= {{1},{2}}",
    ".align 1048576",
    ".reg .b32",
    ".global .b8",
    ".extern",
    ".param",
    ".v4",
    ".b128",
    ".loc 1 2 3",
    ".section",
    "generic(x)",
    "0xFF00(x)",
    "\"",
    "/*",
    "_",
];

/// Pieces of a text: words, numbers, blanks and single symbols.
fn pieces(text: &str) -> Vec<&str> {
    let mut rest = text;
    let mut found = Vec::new();
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '$' | '.' | '%');
        let end = match is_word(first) {
            true => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
            false => first.len_utf8(),
        };
        let (piece, after) = rest.split_at(end);
        found.push(piece);
        rest = after;
    }
    found
}

/// A damaged copy.
fn mutate(pieces: &[&str], random: &mut Random) -> String {
    let mut pieces = pieces.to_vec();
    for _ in 0..=random.below(3) {
        let place = random.below(pieces.len());
        match random.below(7) {
            0 => drop(pieces.remove(place)),
            1 => pieces.insert(place, pieces[place]),
            2 => pieces.insert(place, TOKENS[random.below(TOKENS.len())]),
            3 => pieces[place] = TOKENS[random.below(TOKENS.len())],
            4 => pieces[place] = pieces[random.below(pieces.len())],
            5 => drop(pieces.drain(place..(place + random.below(30)).min(pieces.len()))),
            _ => {
                let other = random.below(pieces.len());
                pieces.swap(place, other);
            }
        }
    }
    let mut bytes = pieces.concat().into_bytes();
    match random.below(8) {
        0 => bytes.truncate(random.below(bytes.len())),
        1 => {
            let place = random.below(bytes.len());
            bytes[place] ^= 1 << random.below(8);
        }
        _ => {}
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn damaged_files_are_read_or_refused() {
    // Cut into functions, which are short, so that there is time for many.
    let mut seeds = vec![
        format!(".version 8.7 .target sm_80 .address_size 64 {GLOBALS}"),
        kernel_text(
            "{ .reg .b32 v<9>; L: @!%p1 bra L; t: .branchtargets L; brx.idx v1, t; call (%r1), twice, (4); }",
        ),
        kernel_text(
            ".const .v2 .f32 c[3] = {{1.5, 0f3F800000}, {-1.0}}; x {%r1, _}, [data+8], [p, {%r1}], %p1|%p2, !%p1;",
        ),
        kernel_text(
            ".global .u64 t[2][2] = {{generic(data)+4, 5}}; .global .b8 b[2] = {0xFF(data), 7}; mov.b32 %r1, (1<<3)*2;",
        ),
    ];
    for text in [LANGUAGE, DEBUG, HOPPER] {
        let (header, rest) = text.split_at(text.find("64\n").unwrap() + 3);
        seeds.extend(
            rest.split("\n}\n").filter(|part| part.contains('{')).map(|part| format!("{header}{part}\n}}\n")),
        );
        seeds.push(text.to_owned());
    }
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let (mut read, mut refused) = (0, 0);
    for seed in &seeds {
        let pieces = pieces(seed);
        // As many bytes of each.
        for _ in 0..12_000_000 / seed.len() {
            let text = mutate(&pieces, &mut random);
            match parse(&text) {
                Ok(module) => {
                    assert_consistent(&module);
                    read += 1;
                }
                Err(Error::Syntax { line, message }) => {
                    assert!(line >= 1 && line as usize <= text.lines().count() + 1, "line {line}: {message}");
                    assert!(message.len() < 500 && !message.chars().any(char::is_control), "{message:?}");
                    refused += 1;
                }
                Err(other) => panic!("{other}"),
            }
        }
    }
    // Neither all too hard nor all too soft.
    assert!(
        read + refused > 100_000 && read > 5_000 && refused > 50_000,
        "{read} were read, {refused} refused"
    );
}
