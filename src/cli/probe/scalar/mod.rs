//! Probes of single instructions, one thread an input.

mod convert;
mod float;
mod integer;

use std::fmt::Write as _;

use super::inputs::words_of;
use super::source::{Capability, expand, probe, store_words};
use super::{Inputs, Probe};

/// Inputs of a probe.
const SAMPLES: u32 = 640;

/// Instructions of one signature: what they need, their names (a pattern: see [`expand`]), the kinds of their sources (see
/// [`words_of`]), and the bits of their destination.
pub type Row = (Capability, &'static str, &'static str, u32);

/// Several instructions that write one word, such as comparisons, each of which gives a bit: a name, the kinds of the
/// sources, and the text, which reads `%a`, `%b`, … and writes `%t0`.
pub struct Custom {
    pub name: String,
    pub sources: &'static str,
    pub body: String,
}

pub fn probes() -> Vec<Probe> {
    let rows = [integer::ROWS, float::ROWS, convert::ROWS].concat();
    let mut probes: Vec<Probe> = rows
        .into_iter()
        .flat_map(|(needs, pattern, sources, bits)| {
            expand(pattern)
                .into_iter()
                .map(move |instruction| elementwise(needs, &instruction, sources, bits))
        })
        .collect();
    let customs = integer::customs().into_iter().chain(float::customs());
    probes.extend(customs.map(|Custom { name, sources, body }| {
        let body =
            format!("{}mov.b32 %t0, 0;\n{body}{}", load(sources), store_words(&["%t0".to_string()], 0));
        probe(name, (8, 0), Inputs::Kinds { kinds: sources.into(), seed: 1 }, 1, SAMPLES, 128, &body)
    }));
    probes
}

fn bits_of(kind: &str) -> u32 {
    match kind {
        "i8" => 8,
        "i16" | "f16" | "bf16" => 16,
        _ if kind.ends_with("64") => 64,
        _ => 32,
    }
}

/// Declares and loads `%a`, `%b` and so on.
fn load(sources: &str) -> String {
    let (mut text, mut word) = (String::new(), 0);
    for (name, kind) in ('a'..).zip(sources.split_whitespace()) {
        let (bits, at) = (bits_of(kind), 4 * word);
        // Writing to a string does not fail.
        let _ = writeln!(text, ".reg .b{bits} %{name};");
        let _ = match bits {
            64 => writeln!(
                text,
                "ld.global.b32 %t0, [%in+{at}];\nld.global.b32 %t1, [%in+{}];\nmov.b64 %{name}, {{%t0, %t1}};",
                at + 4
            ),
            _ => writeln!(text, "ld.global.b{bits} %{name}, [%in+{at}];"),
        };
        word += words_of(kind);
    }
    text
}

fn elementwise(needs: Capability, instruction: &str, sources: &'static str, bits: u32) -> Probe {
    let mut body = load(sources);
    let count = sources.split_whitespace().count();
    let names: Vec<_> = ('a'..).take(count).map(|name| format!("%{name}")).collect();
    let destination = match bits {
        8 => "%x",
        16 => "%h0",
        64 => "%l0",
        _ => "%t0",
    };
    // What follows the operands, such as lop3's table, is written behind a blank.
    let (opcode, constants) = instruction.split_once(' ').unwrap_or((instruction, ""));
    let constants = if constants.is_empty() { String::new() } else { format!(", {constants}") };
    let _ = writeln!(body, "{opcode} {destination}, {}{constants};", names.join(", "));
    if bits == 8 {
        body.insert_str(0, ".reg .b8 %x;\n");
    }
    body += match bits {
        8 => "st.global.b32 [%out], 0;\nst.global.b8 [%out], %x;\nld.global.b32 %t0, [%out];\n",
        16 => "cvt.u32.u16 %t0, %h0;\n",
        64 => "mov.b64 {%t0, %t1}, %l0;\n",
        _ => "",
    };
    let out_words = if bits == 64 { 2 } else { 1 };
    body += &store_words(&["%t0".to_string(), "%t1".to_string()][..out_words], 0);
    let inputs = Inputs::Kinds { kinds: sources.into(), seed: 1 };
    probe(instruction.to_string(), needs, inputs, out_words as u32, SAMPLES, 128, &body)
}

/// Comparisons of a type: bit `i` is that of the `i`th operator; of packed types two bits, the lower half's first.
fn comparisons(operators: &str, suffix: &str, sources: &'static str) -> Custom {
    let mut body = String::new();
    let packed = suffix.contains("x2");
    for (i, operator) in operators.split_whitespace().enumerate() {
        let bit = |i: usize| 1u32 << (i % 32);
        let _ = if packed {
            writeln!(
                body,
                "setp.{operator}{suffix} %p|%q, %a, %b;\n@%p xor.b32 %t0, %t0, {};\n@%q xor.b32 %t0, %t0, {};",
                bit(2 * i),
                bit(2 * i + 1)
            )
        } else {
            writeln!(body, "setp.{operator}{suffix} %p, %a, %b;\n@%p xor.b32 %t0, %t0, {};", bit(i))
        };
    }
    Custom { name: format!("setp{suffix}"), sources, body }
}
