//! Comparisons and selections.

use half::{bf16, f16};

use super::{number, refusal, register, run_all, sweep};
use crate::alu::decode_integer;
use crate::ptx::ast::Type;

const RANDOM: usize = 20_000;

/// What a comparison's name says of two numbers; `None` where one is a NaN.
fn holds<N: Copy + PartialOrd>(name: &str, numbers: Option<(N, N)>) -> bool {
    let Some((a, b)) = numbers else {
        return matches!(name, "equ" | "neu" | "ltu" | "leu" | "gtu" | "geu" | "nan");
    };
    match name {
        "eq" | "equ" => a == b,
        "ne" | "neu" => a < b || b < a,
        "lt" | "ltu" | "lo" => a < b,
        "le" | "leu" | "ls" => a <= b,
        "gt" | "gtu" | "hi" => b < a,
        "ge" | "geu" | "hs" => b < a || a == b,
        "num" => true,
        "nan" => false,
        other => panic!("{other} is no comparison"),
    }
}

/// The value of the bits of a float, `None` for a NaN.
fn float(ty: Type, bits: u64, flush: bool) -> Option<f64> {
    let value = match ty {
        Type::F16 => f16::from_bits(bits as u16).to_f64(),
        Type::Bf16 => bf16::from_bits(bits as u16).to_f64(),
        Type::F32 => f32::from_bits(bits as u32).into(),
        _ => f64::from_bits(bits),
    };
    let smallest = if ty == Type::F16 { 2f64.powi(-14) } else { 2f64.powi(-126) };
    (!value.is_nan()).then_some(if flush && value.abs() < smallest { 0.0 } else { value })
}

fn expected(name: &str, ty: Type, flush: bool, a: u64, b: u64) -> bool {
    if ty.is_float() {
        holds(name, float(ty, a, flush).zip(float(ty, b, flush)))
    } else {
        holds(name, Some((number(ty, a), number(ty, b))))
    }
}

const FLOATS: [&str; 14] =
    ["eq", "ne", "lt", "le", "gt", "ge", "equ", "neu", "ltu", "leu", "gtu", "geu", "num", "nan"];
const SIGNED: [&str; 6] = ["eq", "ne", "lt", "le", "gt", "ge"];
const UNSIGNED: [&str; 10] = ["eq", "ne", "lt", "le", "gt", "ge", "lo", "ls", "hi", "hs"];

/// All comparisons of a scalar type.
fn comparisons(ty: Type) -> &'static [&'static str] {
    match ty {
        ty if ty.is_float() => &FLOATS,
        ty if ty.is_signed() => &SIGNED,
        Type::B16 | Type::B32 | Type::B64 => &SIGNED[..2],
        _ => &UNSIGNED,
    }
}

const SCALARS: [&str; 13] =
    ["b16", "b32", "b64", "u16", "u32", "u64", "s16", "s32", "s64", "f32", "f64", "f16", "bf16"];

fn has_flush(ty: Type) -> bool {
    matches!(ty, Type::F32 | Type::F16 | Type::F16x2)
}

/// Calls with each comparison of each scalar type, with `.ftz` and without: modifiers up to the type, and the rest.
fn for_all_comparisons(mut call: impl FnMut(String, &str, &str, Type, bool)) {
    for type_name in SCALARS {
        let ty = Type::parse(type_name).expect("a type");
        for name in comparisons(ty) {
            call((*name).into(), name, type_name, ty, false);
            if has_flush(ty) {
                call(format!("{name}.ftz"), name, type_name, ty, true);
            }
        }
    }
}

#[test]
fn predicates() {
    for_all_comparisons(|modifiers, name, type_name, ty, flush| {
        let (a, b) = (register(ty, 1), register(ty, 2));
        let text = format!("setp.{modifiers}.{type_name} %p1, {a}, {b}");
        sweep(decode_integer, &text, &[ty, ty], RANDOM, |source| {
            [expected(name, ty, flush, source[0], source[1]).into()]
        });
    });
}

fn combined(operator: &str, a: bool, b: bool) -> bool {
    match operator {
        "and" => a && b,
        "or" => a || b,
        _ => a != b,
    }
}

#[test]
fn predicates_combined_with_one() {
    for_all_comparisons(|modifiers, name, type_name, ty, flush| {
        let (a, b) = (register(ty, 1), register(ty, 2));
        let one = matches!(ty, Type::F16 | Type::Bf16);
        for operator in ["and", "or", "xor"] {
            for (negation, flip) in [("", false), ("!", true)] {
                let destinations = if one { "%p1" } else { "%p1|%p2" };
                let text = format!(
                    "setp.{modifiers}.{operator}.{type_name} {destinations}, {a}, {b}, {negation}%p1"
                );
                let p = |source: &[u64]| {
                    let t = expected(name, ty, flush, source[0], source[1]);
                    let c = (source[2] != 0) != flip;
                    [combined(operator, t, c).into(), combined(operator, !t, c).into()]
                };
                let types = [ty, ty, Type::Pred];
                if one {
                    sweep(decode_integer, &text, &types, 1000, |source| [p(source)[0]]);
                } else {
                    sweep(decode_integer, &text, &types, 1000, p);
                }
            }
        }
    });
}

#[test]
fn two_destinations() {
    let two = [Type::S32; 2];
    let less = |source: &[u64]| u64::from((source[0] as i32) < source[1] as i32);
    sweep(decode_integer, "setp.lt.s32 %p1|%p2, %r1, %r2", &two, RANDOM, |s| [less(s), 1 - less(s)]);
    sweep(decode_integer, "setp.lt.s32 _|%p2, %r1, %r2", &two, RANDOM, |s| [0, 1 - less(s)]);
    sweep(decode_integer, "setp.lt.s32 %p1|_, %r1, %r2", &two, RANDOM, |s| [less(s), 0]);
    sweep(decode_integer, "setp.lt.s32 %p1, %r1, -5", &two[..1], RANDOM, |s| [((s[0] as i32) < -5).into()]);
    sweep(decode_integer, "setp.gt.f32 %p1, %f1, 0f3F800000", &[Type::F32], RANDOM, |s| {
        [(f32::from_bits(s[0] as u32) > 1.0).into()]
    });
}

/// Pairs of all 16-bit floats with those that are likely to break.
#[test]
fn all_halves() {
    for (type_name, ty) in [("f16", Type::F16), ("bf16", Type::Bf16)] {
        let others = super::edges(ty);
        let all: Vec<Vec<u64>> = (0..=0xffff).flat_map(|a| others.iter().map(move |&b| vec![a, b])).collect();
        for name in FLOATS {
            let text = format!("setp.{name}.{type_name} %p1, %rs1, %rs2");
            run_all(decode_integer, &text, &[ty, ty], &all, |source| {
                [expected(name, ty, false, source[0], source[1]).into()]
            });
        }
    }
}

#[test]
fn packed_halves() {
    for (type_name, ty, half) in [("f16x2", Type::F16x2, Type::F16), ("bf16x2", Type::Bf16x2, Type::Bf16)] {
        for name in FLOATS {
            for flush in [false, true] {
                if flush && !has_flush(ty) {
                    continue;
                }
                let modifiers = if flush { format!("{name}.ftz") } else { name.into() };
                let each = |source: &[u64]| {
                    [0, 16].map(|shift| {
                        expected(name, half, flush, source[0] >> shift & 0xffff, source[1] >> shift & 0xffff)
                    })
                };
                let two = [ty, ty];
                let text = format!("setp.{modifiers}.{type_name} %p1|%p2, %r1, %r2");
                sweep(decode_integer, &text, &two, RANDOM, |source| each(source).map(u64::from));
                let one = if half == Type::F16 { 0x3c00 } else { 0x3f80 };
                for (destination, value) in [(type_name, one), ("u32", 0xffff), ("s32", 0xffff)] {
                    let text = format!("set.{modifiers}.xor.{destination}.{type_name} %r3, %r1, %r2, %p1");
                    sweep(decode_integer, &text, &[ty, ty, Type::Pred], 1000, |source| {
                        let [low, high] = each(source).map(|t| u64::from(t != (source[2] != 0)) * value);
                        [high << 16 | low]
                    });
                }
            }
        }
    }
}

#[test]
fn values() {
    for_all_comparisons(|modifiers, name, type_name, ty, flush| {
        let destinations: &[(&str, Type, u64)] = match ty {
            Type::F16 => &[
                ("f16", Type::F16, 0x3c00),
                ("bf16", Type::Bf16, 0x3f80),
                ("u16", Type::U16, 0xffff),
                ("s16", Type::S16, 0xffff),
                ("u32", Type::U32, 0xffff_ffff),
                ("s32", Type::S32, 0xffff_ffff),
            ],
            Type::Bf16 => {
                &[("bf16", Type::Bf16, 0x3f80), ("u16", Type::U16, 0xffff), ("s32", Type::S32, 0xffff_ffff)]
            }
            _ => &[
                ("f32", Type::F32, 0x3f80_0000),
                ("u32", Type::U32, 0xffff_ffff),
                ("s32", Type::S32, 0xffff_ffff),
                ("f16", Type::F16, 0x3c00),
                ("bf16", Type::Bf16, 0x3f80),
            ],
        };
        for &(destination_name, destination, value) in destinations {
            let registers = format!("{}, {}, {}", register(destination, 1), register(ty, 2), register(ty, 3));
            let text = format!("set.{modifiers}.{destination_name}.{type_name} {registers}");
            if flush && destination == Type::Bf16 {
                assert!(refusal(decode_integer, &text).contains(".ftz"), "{text}");
                continue;
            }
            sweep(decode_integer, &text, &[ty, ty], 500, |source| {
                [u64::from(expected(name, ty, flush, source[0], source[1])) * value]
            });
            let text = format!("set.{modifiers}.or.{destination_name}.{type_name} {registers}, !%p1");
            sweep(decode_integer, &text, &[ty, ty, Type::Pred], 500, |source| {
                let t = expected(name, ty, flush, source[0], source[1]) || source[2] == 0;
                [u64::from(t) * value]
            });
        }
    });
}

#[test]
fn selection_by_predicate() {
    for name in ["b16", "b32", "b64", "u16", "u32", "u64", "s16", "s32", "s64", "f32", "f64"] {
        let ty = Type::parse(name).expect("a type");
        let (a, b) = (register(ty, 1), register(ty, 2));
        // The first source is the destination.
        sweep(
            decode_integer,
            &format!("selp.{name} {a}, {a}, {b}, %p1"),
            &[ty, ty, Type::Pred],
            10_000,
            |s| [if s[2] == 1 { s[0] } else { s[1] }],
        );
        sweep(
            decode_integer,
            &format!("selp.{name} {a}, {a}, {b}, !%p1"),
            &[ty, ty, Type::Pred],
            10_000,
            |s| [if s[2] == 0 { s[0] } else { s[1] }],
        );
    }
    sweep(decode_integer, "selp.u32 %r1, 1, 0, %p1", &[Type::Pred], 100, |s| [s[0]]);
    sweep(decode_integer, "selp.b32 %r1, %r2, 77, 0", &[Type::B32], 100, |_| [77]);
}

#[test]
fn selection_by_sign() {
    for name in ["b16", "b32", "b64", "u16", "u32", "u64", "s16", "s32", "s64", "f32", "f64"] {
        let ty = Type::parse(name).expect("a type");
        let (d, a, b) = (register(ty, 1), register(ty, 2), register(ty, 3));
        let text = format!("slct.{name}.s32 {d}, {a}, {b}, %r9");
        sweep(decode_integer, &text, &[ty, ty, Type::S32], 10_000, |s| {
            [if s[2] >> 31 == 0 { s[0] } else { s[1] }]
        });
        for (modifier, flush) in [("", false), ("ftz.", true)] {
            let text = format!("slct.{modifier}{name}.f32 {d}, {a}, {b}, %f9");
            sweep(decode_integer, &text, &[ty, ty, Type::F32], 10_000, |s| {
                let c = float(Type::F32, s[2], flush);
                [if c.is_some_and(|c| c == 0.0 || c.is_sign_positive()) { s[0] } else { s[1] }]
            });
        }
    }
}

#[test]
fn what_does_not_exist_is_refused() {
    for (text, reason) in [
        ("setp.s32 %p1, %r1, %r2", "comparison"),
        ("setp.lt.b32 %p1, %r1, %r2", "no such comparison"),
        ("setp.lo.s32 %p1, %r1, %r2", "no such comparison"),
        ("setp.equ.u32 %p1, %r1, %r2", "no such comparison"),
        ("setp.hi.f32 %p1, %f1, %f2", "no such comparison"),
        ("setp.eq.ftz.s32 %p1, %r1, %r2", ".ftz"),
        ("setp.eq.ftz.f64 %p1, %fd1, %fd2", ".ftz"),
        ("setp.eq.ftz.bf16 %p1, %rs1, %rs2", ".ftz"),
        ("setp.eq.u8 %p1, %rs1, %rs2", "U8"),
        ("setp.eq.s32 %p1, %r1, %r2, %p2", "3 operands"),
        ("setp.eq.and.s32 %p1, %r1, %r2", "4 operands"),
        ("setp.eq.and.or.s32 %p1, %r1, %r2, %p2", ".or"),
        ("setp.eq.f16 %p1|%p2, %rs1, %rs2", "one destination"),
        ("setp.eq.s32 %r1, %r1, %r2", "%r1"),
        ("set.eq.u16.s32 %rs1, %r1, %r2", "U16"),
        ("set.eq.u64.s32 %rd1, %r1, %r2", "U64"),
        ("set.eq.f32.f16 %f1, %rs1, %rs2", "F32"),
        ("set.eq.f16.bf16 %rs1, %rs2, %rs3", "F16"),
        ("set.eq.u16.f16x2 %rs1, %r2, %r3", "U16"),
        ("set.eq.u32 %r1, %r2, %r3", "type"),
        ("selp.f16 %rs1, %rs2, %rs3, %p1", "F16"),
        ("selp.b32 %r1, %r2, %r3, %r4", "predicate"),
        ("slct.ftz.b32.s32 %r1, %r2, %r3, %r4", "sign"),
        ("slct.b32.u32 %r1, %r2, %r3, %r4", "sign"),
    ] {
        let refused = refusal(decode_integer, text);
        assert!(refused.contains(reason), "{text}: {refused}");
    }
}
