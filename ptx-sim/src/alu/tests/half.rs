//! f16 and bf16 arithmetic against exact arithmetic on integers of any size.

use super::float::{arithmetic, decode, extreme, extreme_of_magnitudes, numbers, saturated};
use super::oracle::{BF16, F16, Format, To};
use super::{Random, run_all};
use crate::ptx::ast::Type;

const NAN: u64 = 0x7fff;

/// A 16-bit type and its pair.
struct Kind {
    format: Format,
    ty: Type,
    pair: Type,
    name: &'static str,
    one: u64,
}

const KINDS: [Kind; 2] = [
    Kind { format: F16, ty: Type::F16, pair: Type::F16x2, name: "f16", one: 0x3c00 },
    Kind { format: BF16, ty: Type::Bf16, pair: Type::Bf16x2, name: "bf16", one: 0x3f80 },
];

/// Runs an instruction on 16-bit registers and, as pairs, on 32-bit ones.
fn check(kind: &Kind, opcode: &str, inputs: &[Vec<u64>], oracle: impl Fn(&[u64]) -> u64) {
    let sources = inputs[0].len();
    let registers =
        |prefix: &str| (1..=sources + 1).map(|at| format!("{prefix}{at}")).collect::<Vec<_>>().join(", ");
    let text = format!("{opcode}.{} {}", kind.name, registers("%rs"));
    run_all(decode, &text, &vec![kind.ty; sources], inputs, |x| [oracle(x)]);
    let mut generator = Random(7);
    let pairs: Vec<Vec<u64>> = inputs
        .iter()
        .map(|lower| {
            let upper = &inputs[generator.next() as usize % inputs.len()];
            lower.iter().zip(upper).map(|(lower, upper)| upper << 16 | lower).collect()
        })
        .collect();
    let text = format!("{opcode}.{}x2 {}", kind.name, registers("%r"));
    run_all(decode, &text, &vec![kind.pair; sources], &pairs, |x| {
        let half = |shift: u32| oracle(&x.iter().map(|one| one >> shift & 0xffff).collect::<Vec<_>>());
        [half(16) << 16 | half(0)]
    });
}

/// Random numbers, most of them near each other, and all pairs of edges.
fn inputs(kind: &Kind, sources: usize) -> Vec<Vec<u64>> {
    numbers(kind.format, kind.ty, sources, 60_000)
}

#[test]
fn arithmetic_is_rounded_once() {
    for kind in &KINDS {
        for (operation, sources, rounding) in [
            ("add", 2, ""),
            ("add", 2, ".rn"),
            ("sub", 2, ""),
            ("sub", 2, ".rn"),
            ("mul", 2, ""),
            ("mul", 2, ".rn"),
            ("fma", 3, ".rn"),
        ] {
            check(kind, &format!("{operation}{rounding}"), &inputs(kind, sources), |x| {
                arithmetic(operation, kind.format, x, To::Even).unwrap_or(NAN)
            });
        }
    }
}

/// Every number with every other would be 2^32; every number with those that decide how it is rounded is not.
#[test]
fn every_number_is_added_and_multiplied_rightly() {
    for kind in &KINDS {
        let mut generator = Random(3);
        let all: Vec<Vec<u64>> = (0..1 << 16)
            .flat_map(|a| (0..4).map(move |_| a))
            .map(|a| vec![a, generator.next() & 0xffff, generator.next() & 0xffff])
            .collect();
        let two: Vec<Vec<u64>> = all.iter().map(|x| x[..2].to_vec()).collect();
        for operation in ["add", "mul"] {
            check(kind, operation, &two, |x| arithmetic(operation, kind.format, x, To::Even).unwrap_or(NAN));
        }
        check(kind, "fma.rn", &all, |x| arithmetic("fma", kind.format, x, To::Even).unwrap_or(NAN));
    }
}

#[test]
fn modifiers_of_f16_arithmetic() {
    let kind = &KINDS[0];
    for operation in ["add", "sub", "mul", "fma"] {
        let inputs = inputs(kind, if operation == "fma" { 3 } else { 2 });
        for (ftz, sat, relu) in [
            (true, false, false),
            (false, true, false),
            (true, true, false),
            (false, false, true),
            (true, false, true),
        ] {
            if relu && operation != "fma" {
                continue;
            }
            let name = |on: bool, name: &'static str| if on { name } else { "" };
            let opcode =
                format!("{operation}.rn{}{}{}", name(ftz, ".ftz"), name(sat, ".sat"), name(relu, ".relu"));
            check(kind, &opcode, &inputs, |x| {
                let flush = |one: u64| if ftz { F16.flush(one) } else { one };
                let x: Vec<u64> = x.iter().map(|one| flush(*one)).collect();
                let result = arithmetic(operation, F16, &x, To::Even).map(flush);
                match result {
                    _ if sat => saturated(result, kind.one, F16.sign()),
                    Some(negative) if relu && negative & F16.sign() != 0 => 0,
                    _ => result.unwrap_or(NAN),
                }
            });
        }
    }
    let bf16 = &KINDS[1];
    check(bf16, "fma.rn.relu", &inputs(bf16, 3), |x| {
        let result = arithmetic("fma", BF16, x, To::Even);
        result.map_or(NAN, |bits| if bits & BF16.sign() != 0 { 0 } else { bits })
    });
}

#[test]
fn least_and_largest() {
    for kind in &KINDS {
        let format = kind.format;
        let inputs = inputs(kind, 2);
        for (name, max) in [("min", false), ("max", true)] {
            for nan in [false, true] {
                for ftz in [false, true] {
                    if ftz && format == BF16 {
                        continue;
                    }
                    let flush = |one: u64| if ftz { format.flush(one) } else { one };
                    let opcode =
                        format!("{name}{}{}", if ftz { ".ftz" } else { "" }, if nan { ".NaN" } else { "" });
                    check(kind, &opcode, &inputs, |x| {
                        extreme(format, max, nan, flush(x[0]), flush(x[1])).unwrap_or(NAN)
                    });
                    check(kind, &format!("{opcode}.xorsign.abs"), &inputs, |x| {
                        extreme_of_magnitudes(format, max, nan, flush(x[0]), flush(x[1])).unwrap_or(NAN)
                    });
                }
            }
        }
    }
}

#[test]
fn signs_of_every_number() {
    let all: Vec<Vec<u64>> = (0..1 << 16).map(|bits| vec![bits]).collect();
    for kind in &KINDS {
        let format = kind.format;
        for ftz in [false, true] {
            if ftz && format == BF16 {
                continue;
            }
            let flush = |one: u64| if ftz { format.flush(one) } else { one };
            let suffix = if ftz { ".ftz" } else { "" };
            check(kind, &format!("neg{suffix}"), &all, |x| {
                if format.is_nan(x[0]) { NAN } else { flush(x[0]) ^ 0x8000 }
            });
            check(kind, &format!("abs{suffix}"), &all, |x| {
                if format.is_nan(x[0]) { NAN } else { flush(x[0]) & 0x7fff }
            });
        }
    }
}
