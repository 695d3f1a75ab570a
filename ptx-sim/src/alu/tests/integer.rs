//! Integer arithmetic against arithmetic of 128 bits.

use super::{clamped, is_left_to_another, number, refusal, run_all, sweep, text, wrapped};
use crate::alu::decode_integer;
use crate::ptx::ast::Type;

const RANDOM: usize = 100_000;

const INTEGERS: [(&str, Type); 6] = [
    ("u16", Type::U16),
    ("s16", Type::S16),
    ("u32", Type::U32),
    ("s32", Type::S32),
    ("u64", Type::U64),
    ("s64", Type::S64),
];

/// An instruction of two numbers of one type, for all types.
fn for_all_types(root: &str, oracle: impl Fn(Type, i128, i128) -> i128) {
    for (name, ty) in INTEGERS {
        let text = text(&format!("{root}.{name}"), ty, &[ty, ty]);
        sweep(decode_integer, &text, &[ty, ty], RANDOM, |source| {
            [wrapped(ty, oracle(ty, number(ty, source[0]), number(ty, source[1])))]
        });
    }
}

#[test]
fn sums_and_differences_wrap() {
    for_all_types("add", |_, a, b| a + b);
    for_all_types("sub", |_, a, b| a - b);
}

#[test]
fn saturated_sums_end_at_the_limits() {
    let two = [Type::S32; 2];
    sweep(decode_integer, "add.sat.s32 %r1, %r2, %r3", &two, RANDOM, |source| {
        [clamped(Type::S32, number(Type::S32, source[0]) + number(Type::S32, source[1]))]
    });
    sweep(decode_integer, "sub.sat.s32 %r1, %r2, %r3", &two, RANDOM, |source| {
        [clamped(Type::S32, number(Type::S32, source[0]) - number(Type::S32, source[1]))]
    });
}

#[test]
fn minima_and_maxima() {
    for_all_types("min", |_, a, b| if a <= b { a } else { b });
    for_all_types("max", |_, a, b| if a <= b { b } else { a });
    let two = [Type::S32; 2];
    let signed = |bits: u64| number(Type::S32, bits);
    sweep(decode_integer, "min.relu.s32 %r1, %r2, %r3", &two, RANDOM, |source| {
        [wrapped(Type::S32, 0.max(signed(source[0]).min(signed(source[1]))))]
    });
    sweep(decode_integer, "max.relu.s32 %r1, %r2, %r3", &two, RANDOM, |source| {
        [wrapped(Type::S32, 0.max(signed(source[0]).max(signed(source[1]))))]
    });
}

/// Truncated division; by zero, all ones.
#[test]
fn quotients_and_remainders() {
    for_all_types("div", |_, a, b| if b == 0 { -1 } else { a / b });
    for_all_types("rem", |_, a, b| if b == 0 { -1 } else { a - b * (a / b) });
}

#[test]
fn absolute_and_negated_values() {
    for (name, ty) in INTEGERS.into_iter().filter(|(_, ty)| ty.is_signed()) {
        for (root, oracle) in [("abs", i128::abs as fn(i128) -> i128), ("neg", |a| -a)] {
            let text = text(&format!("{root}.{name}"), ty, &[ty]);
            let oracle = |source: &[u64]| [wrapped(ty, oracle(number(ty, source[0])))];
            if ty == Type::S16 {
                let all: Vec<Vec<u64>> = (0..=0xffff).map(|value| vec![value]).collect();
                run_all(decode_integer, &text, &[ty], &all, oracle);
            } else {
                sweep(decode_integer, &text, &[ty], RANDOM, oracle);
            }
        }
    }
}

/// The product of 64-bit numbers may have 128 bits and a sign, so that `i128` holds no unsigned one: of it the parts
/// are computed by schoolbook multiplication.
fn parts_of_product(ty: Type, a: u64, b: u64) -> (u64, u64) {
    let bits = ty.bits();
    if bits < 64 {
        let product = number(ty, a) * number(ty, b);
        return (wrapped(ty, product), wrapped(ty, product >> bits));
    }
    let halves = |value: u64| [value & 0xffff_ffff, value >> 32];
    let ([a0, a1], [b0, b1]) = (halves(a), halves(b));
    let middle = ((a0 * b0) >> 32) + ((a1 * b0) & 0xffff_ffff) + ((a0 * b1) & 0xffff_ffff);
    let low = middle << 32 | ((a0 * b0) & 0xffff_ffff);
    let mut high = a1 * b1 + ((a1 * b0) >> 32) + ((a0 * b1) >> 32) + (middle >> 32);
    if ty.is_signed() {
        high = high.wrapping_sub(if a >> 63 == 1 { b } else { 0 });
        high = high.wrapping_sub(if b >> 63 == 1 { a } else { 0 });
    }
    (low, high)
}

#[test]
fn products_and_their_parts() {
    for (name, ty) in INTEGERS {
        let two = [ty, ty];
        sweep(decode_integer, &text(&format!("mul.lo.{name}"), ty, &two), &two, RANDOM, |source| {
            [parts_of_product(ty, source[0], source[1]).0]
        });
        sweep(decode_integer, &text(&format!("mul.hi.{name}"), ty, &two), &two, RANDOM, |source| {
            [parts_of_product(ty, source[0], source[1]).1]
        });
        let three = [ty, ty, ty];
        sweep(decode_integer, &text(&format!("mad.lo.{name}"), ty, &three), &three, RANDOM, |source| {
            let (low, _) = parts_of_product(ty, source[0], source[1]);
            [wrapped(ty, i128::from(low) + i128::from(source[2]))]
        });
        sweep(decode_integer, &text(&format!("mad.hi.{name}"), ty, &three), &three, RANDOM, |source| {
            let (_, high) = parts_of_product(ty, source[0], source[1]);
            [wrapped(ty, i128::from(high) + i128::from(source[2]))]
        });
    }
}

#[test]
fn wide_products() {
    let types = [
        ("u16", Type::U16, Type::U32),
        ("s16", Type::S16, Type::S32),
        ("u32", Type::U32, Type::U64),
        ("s32", Type::S32, Type::S64),
    ];
    for (name, ty, wide) in types {
        let product = |source: &[u64]| number(ty, source[0]) * number(ty, source[1]);
        let two = [ty, ty];
        sweep(decode_integer, &text(&format!("mul.wide.{name}"), wide, &two), &two, RANDOM, |source| {
            [wrapped(wide, product(source))]
        });
        let three = [ty, ty, wide];
        sweep(decode_integer, &text(&format!("mad.wide.{name}"), wide, &three), &three, RANDOM, |source| {
            [wrapped(wide, product(source) + number(wide, source[2]))]
        });
    }
}

#[test]
fn high_product_plus_addend_saturates() {
    let three = [Type::S32; 3];
    sweep(decode_integer, "mad.hi.sat.s32 %r1, %r2, %r3, %r4", &three, RANDOM, |source| {
        let [a, b, c] = [0, 1, 2].map(|at| number(Type::S32, source[at]));
        [clamped(Type::S32, (a * b).div_euclid(1 << 32) + c)]
    });
}

#[test]
fn products_of_24_bits() {
    for (name, ty) in [("u32", Type::U32), ("s32", Type::S32)] {
        let number24 = |bits: u64| {
            let value = (bits % (1 << 24)) as i128;
            if ty == Type::S32 && value >= 1 << 23 { value - (1 << 24) } else { value }
        };
        let part = |high: bool, source: &[u64]| {
            let product = number24(source[0]) * number24(source[1]);
            if high { product.div_euclid(1 << 16) } else { product }
        };
        for (mode, high) in [("lo", false), ("hi", true)] {
            let two = [ty; 2];
            sweep(decode_integer, &text(&format!("mul24.{mode}.{name}"), ty, &two), &two, RANDOM, |source| {
                [wrapped(ty, part(high, source))]
            });
            let three = [ty; 3];
            let text = text(&format!("mad24.{mode}.{name}"), ty, &three);
            sweep(decode_integer, &text, &three, RANDOM, |source| {
                [wrapped(ty, part(high, source) + number(ty, source[2]))]
            });
        }
    }
    sweep(decode_integer, "mad24.hi.sat.s32 %r1, %r2, %r3, %r4", &[Type::S32; 3], RANDOM, |source| {
        let number24 = |bits: u64| ((bits as i32) << 8 >> 8) as i64;
        let high = (number24(source[0]) * number24(source[1])) >> 16;
        [clamped(Type::S32, i128::from(high as i32) + number(Type::S32, source[2]))]
    });
}

#[test]
fn a_source_may_be_the_destination_or_an_immediate() {
    let s32 = Type::S32;
    sweep(decode_integer, "add.s32 %r1, %r1, -7", &[s32], RANDOM, |source| {
        [wrapped(s32, number(s32, source[0]) - 7)]
    });
    sweep(decode_integer, "sub.s64 %rd1, 0x8000000000000000, %rd1", &[Type::S64], RANDOM, |source| {
        [wrapped(Type::S64, i128::from(i64::MIN) - number(Type::S64, source[0]))]
    });
    sweep(decode_integer, "mad.lo.s32 %r1, %r1, %r1, %r1", &[s32; 3], RANDOM, |source| {
        [wrapped(s32, number(s32, source[0]) * (number(s32, source[0]) + 1))]
    });
    sweep(
        decode_integer,
        "mul.wide.u16 %r1, %rs2, 65535",
        &[Type::U16],
        RANDOM,
        |source| [source[0] * 65535],
    );
    sweep(decode_integer, "min.s16 %rs1, %rs1, -1", &[Type::S16], RANDOM, |source| {
        [wrapped(Type::S16, number(Type::S16, source[0]).min(-1))]
    });
}

#[test]
fn what_does_not_exist_is_refused() {
    for (text, reason) in [
        ("add.sat.u32 %r1, %r2, %r3", ".sat"),
        ("add.sat.s64 %rd1, %rd2, %rd3", ".sat"),
        ("add.rn.s32 %r1, %r2, %r3", ".rn"),
        ("add.s32.sat.sat %r1, %r2, %r3", ".sat"),
        ("add.b32 %r1, %r2, %r3", "B32"),
        ("add.s8 %rs1, %rs2, %rs3", "S8"),
        ("add.s32 %r1, %r2", "3 operands"),
        ("add.s32 %r1, %r2, %rd3", "64 bits"),
        ("mul.s32 %r1, %r2, %r3", ".lo"),
        ("mul.wide.u64 %rd1, %rd2, %rd3", "U64"),
        ("mul.lo.sat.s32 %r1, %r2, %r3", ".sat"),
        ("mad.lo.sat.s32 %r1, %r2, %r3, %r4", ".sat"),
        ("mad.hi.sat.u32 %r1, %r2, %r3, %r4", ".sat"),
        ("mul24.wide.u32 %rd1, %r2, %r3", "U32"),
        ("mul24.lo.u64 %rd1, %rd2, %rd3", "U64"),
        ("div.full.s32 %r1, %r2, %r3", ".full"),
        ("abs.u32 %r1, %r2", "U32"),
        ("neg.u32 %r1, %r2", "U32"),
        ("min.relu.u32 %r1, %r2, %r3", ".relu"),
        ("min.relu.s64 %rd1, %rd2, %rd3", ".relu"),
        ("min.NaN.s32 %r1, %r2, %r3", ".NaN"),
    ] {
        let refused = refusal(decode_integer, text);
        assert!(refused.contains(reason), "{text}: {refused}");
    }
}

#[test]
fn floats_and_other_instructions_are_left_to_their_decoders() {
    for text in [
        "add.f32 %f1, %f2, %f3",
        "sub.rn.bf16x2 %r1, %r2, %r3",
        "mul.f64 %fd1, %fd2, %fd3",
        "mad.f32 %f1, %f2, %f3, %f4",
        "div.full.f32 %f1, %f2, %f3",
        "min.NaN.f16 %rs1, %rs2, %rs3",
        "max.f32 %f1, %f2, %f3",
        "abs.f16x2 %r1, %r2",
        "neg.f64 %fd1, %fd2",
        "add.rn.f32x2 %rd1, %rd2, %rd3",
        "fma.rn.f32 %f1, %f2, %f3, %f4",
        "cvt.u32.u64 %r1, %rd2",
        "bra %r1",
    ] {
        assert!(is_left_to_another(decode_integer, text), "{text}");
    }
    assert!(!is_left_to_another(decode_integer, "add.s32 %r1, %r2, %r3"));
}
