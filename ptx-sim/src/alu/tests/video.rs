//! Dot products, absolute differences and packed integers.

use super::{number, refusal, sweep, text, wrapped};
use crate::alu::decode_integer;
use crate::ptx::ast::Type;

const RANDOM: usize = 100_000;

/// Element `index` of so many bits.
fn element(value: u64, bits: u32, index: u32, signed: bool) -> i128 {
    let element = (value as u32 >> (bits * index)) % (1u32 << bits);
    let element = i128::from(element);
    if signed && element >= 1 << (bits - 1) { element - (1 << bits) } else { element }
}

#[test]
fn dot_products() {
    let three = [Type::U32; 3];
    for (a_name, a_signed) in [("u32", false), ("s32", true)] {
        for (b_name, b_signed) in [("u32", false), ("s32", true)] {
            let text = format!("dp4a.{a_name}.{b_name} %r1, %r2, %r3, %r4");
            sweep(decode_integer, &text, &three, RANDOM, |source| {
                let products =
                    (0..4).map(|i| element(source[0], 8, i, a_signed) * element(source[1], 8, i, b_signed));
                [wrapped(Type::U32, products.sum::<i128>() + i128::from(source[2]))]
            });
            for (mode, first) in [("lo", 0), ("hi", 2)] {
                let text = format!("dp2a.{mode}.{a_name}.{b_name} %r1, %r2, %r3, %r4");
                sweep(decode_integer, &text, &three, RANDOM, |source| {
                    let products = (0..2).map(|i| {
                        element(source[0], 16, i, a_signed) * element(source[1], 8, first + i, b_signed)
                    });
                    [wrapped(Type::U32, products.sum::<i128>() + i128::from(source[2]))]
                });
            }
        }
    }
    // The accumulator is the destination.
    sweep(decode_integer, "dp4a.s32.s32 %r1, %r2, -1, %r1", &three[..2], RANDOM, |source| {
        let sum = (0..4).map(|i| element(source[0], 8, i, true)).sum::<i128>();
        [wrapped(Type::U32, i128::from(source[1]) - sum)]
    });
}

#[test]
fn sums_of_absolute_differences() {
    for name in ["u16", "s16", "u32", "s32", "u64", "s64"] {
        let ty = Type::parse(name).expect("a type");
        let three = [ty; 3];
        sweep(decode_integer, &text(&format!("sad.{name}"), ty, &three), &three, RANDOM, |source| {
            let difference = number(ty, source[0]) - number(ty, source[1]);
            [wrapped(ty, difference.abs() + number(ty, source[2]))]
        });
    }
}

#[test]
fn pairs() {
    for (name, ty, half) in [("u16x2", Type::U16x2, Type::U16), ("s16x2", Type::S16x2, Type::S16)] {
        let check = |modifiers: &str, oracle: &dyn Fn(i128, i128) -> i128| {
            let two = [ty; 2];
            sweep(decode_integer, &format!("{modifiers}.{name} %r1, %r2, %r3"), &two, RANDOM, |source| {
                let signed = half == Type::S16;
                let [low, high] = [0, 1].map(|index| {
                    let [a, b] = [source[0], source[1]].map(|value| element(value, 16, index, signed));
                    wrapped(half, oracle(a, b))
                });
                [high * 65536 + low]
            });
        };
        check("add", &|a, b| a + b);
        check("min", &|a, b| if b < a { b } else { a });
        check("max", &|a, b| if b < a { a } else { b });
        if half == Type::S16 {
            check("min.relu", &|a, b| if a < 0 || b < 0 { 0 } else { a + b - a.max(b) });
            check("max.relu", &|a, b| if a < 0 && b < 0 { 0 } else { a + b - a.min(b) });
        }
    }
}

#[test]
fn what_does_not_exist_is_refused() {
    for (text, reason) in [
        ("dp4a.u32 %r1, %r2, %r3, %r4", "type"),
        ("dp4a.lo.u32.u32 %r1, %r2, %r3, %r4", ".lo"),
        ("dp4a.u32.u64 %r1, %r2, %r3, %r4", "U64"),
        ("dp2a.u32.u32 %r1, %r2, %r3, %r4", ".lo"),
        ("dp2a.lo.hi.u32.u32 %r1, %r2, %r3, %r4", ".hi"),
        ("dp2a.lo.u32.u32 %r1, %r2, %r3", "4 operands"),
        ("sad.b32 %r1, %r2, %r3, %r4", "B32"),
        ("add.sat.s16x2 %r1, %r2, %r3", ".sat"),
        ("min.relu.u16x2 %r1, %r2, %r3", ".relu"),
        ("add.relu.s16x2 %r1, %r2, %r3", ".relu"),
        ("sub.s16x2 %r1, %r2, %r3", "S16x2"),
        ("add.u16x2 %r1, %rs2, %r3", "%rs2"),
    ] {
        let refused = refusal(decode_integer, text);
        assert!(refused.contains(reason), "{text}: {refused}");
    }
}
