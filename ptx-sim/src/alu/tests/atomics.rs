//! What atomic operations compute.

use half::{bf16, f16};

use super::{Random, edges, number, wrapped};
use crate::alu::atomics::{Atomic, AtomicKind};
use crate::ptx::ast::Type;

fn parse(modifiers: &str) -> Result<(Atomic, Vec<&str>), String> {
    Atomic::parse(modifiers.split('.'), false)
}

/// An operation over edge values crossed and random ones; the third value is the new one of `cas`.
fn check(modifiers: &str, flush: bool, oracle: impl Fn(u64, u64, u64) -> u64) {
    let (atomic, rest) = parse(modifiers).expect("an atomic");
    assert!(rest.is_empty(), "{modifiers}");
    let values = edges(atomic.ty);
    let mut inputs: Vec<(u64, u64)> = Vec::new();
    for &a in &values {
        inputs.extend(values.iter().map(|&b| (a, b)));
    }
    let mut random = Random(17);
    for _ in 0..100_000 {
        inputs.push((random.value(atomic.ty.bits()), random.value(atomic.ty.bits())));
    }
    for (old, b) in inputs {
        let c = random.value(atomic.ty.bits());
        let (result, expected) = (atomic.apply(old, b, c, flush), oracle(old, b, c));
        assert_eq!(
            result, expected,
            "{modifiers} of {old:#x}, {b:#x}, {c:#x}: {result:#x}, not {expected:#x}"
        );
    }
}

#[test]
fn of_bits() {
    for ty in ["b32", "b64"] {
        let by_bits = |truth: fn(u64, u64) -> bool| {
            move |old: u64, b: u64, _: u64| {
                (0..64).fold(0, |value, at| value | u64::from(truth(old >> at & 1, b >> at & 1)) << at)
            }
        };
        check(&format!("and.{ty}"), false, by_bits(|a, b| a + b == 2));
        check(&format!("or.{ty}"), false, by_bits(|a, b| a + b > 0));
        check(&format!("xor.{ty}"), false, by_bits(|a, b| a + b == 1));
        check(&format!("exch.{ty}"), false, |_, b, _| b);
    }
    for ty in ["b16", "b32", "b64"] {
        check(&format!("cas.{ty}"), false, |old, b, c| if old == b { c } else { old });
    }
}

#[test]
fn of_integers() {
    for name in ["u32", "s32", "u64", "s64"] {
        let ty = Type::parse(name).expect("a type");
        if ty != Type::S64 {
            check(&format!("add.{name}"), false, |old, b, _| wrapped(ty, number(ty, old) + number(ty, b)));
        }
        check(&format!("min.{name}"), false, |old, b, _| wrapped(ty, number(ty, old).min(number(ty, b))));
        check(&format!("max.{name}"), false, |old, b, _| wrapped(ty, number(ty, old).max(number(ty, b))));
    }
    // Counting in a ring of b + 1 numbers, into which larger ones fall.
    check("inc.u32", false, |old, b, _| if old > b { 0 } else { (old + 1) % (b + 1) });
    check("dec.u32", false, |old, b, _| if old > b { b } else { (old + b) % (b + 1) });
    let inc = parse("inc.u32").expect("an atomic").0;
    assert_eq!([0, 1, 2, 3, 9].map(|old| inc.apply(old, 3, 0, false)), [1, 2, 3, 0, 0]);
    let dec = parse("dec.u32").expect("an atomic").0;
    assert_eq!([0, 1, 2, 3, 9].map(|old| dec.apply(old, 3, 0, false)), [3, 0, 1, 2, 3]);
}

/// The f32 nearest to a sum of two: f64 holds it well enough to round once more (53 bits are more than twice 24).
fn f32_sum(a: f32, b: f32) -> u64 {
    let sum = (f64::from(a) + f64::from(b)) as f32;
    if sum.is_nan() { 0x7fff_ffff } else { sum.to_bits().into() }
}

#[test]
fn sums_of_f32_flush_in_global_memory_alone() {
    let value = |bits: u64| f32::from_bits(bits as u32);
    check("add.f32", false, |old, b, _| f32_sum(value(old), value(b)));
    let flush = |bits: u64| {
        let is_subnormal = bits & 0x7f80_0000 == 0;
        if is_subnormal { bits & 0x8000_0000 } else { bits }
    };
    check("add.f32", true, |old, b, _| flush(f32_sum(value(flush(old)), value(flush(b)))));
    let add = parse("v4.add.f32").expect("an atomic").0;
    assert_eq!(add, Atomic { kind: AtomicKind::Add, ty: Type::F32, vector: 4 });
    assert_eq!([false, true].map(|flush| add.apply(1, 2, 0, flush)), [3, 0]);
}

#[test]
fn sums_of_f64() {
    let add = parse("add.f64").expect("an atomic").0;
    let sum = |a: f64, b: f64| f64::from_bits(add.apply(a.to_bits(), b.to_bits(), 0, true));
    assert_eq!(sum(1.5, -0.25), 1.25);
    assert_eq!(sum(f64::MAX, f64::MAX), f64::INFINITY);
    assert_eq!(sum(5e-324, 5e-324), 1e-323);
    assert_eq!(sum(1.0, 2f64.powi(-53)), 1.0);
    assert_eq!(sum(1.0, 3.0 * 2f64.powi(-53)), 1.0 + 2f64.powi(-51));
    assert!(sum(f64::INFINITY, f64::NEG_INFINITY).is_nan());
}

/// One 16-bit float of two, through f64, which holds every sum of two exactly enough.
fn half_of(kind: AtomicKind, is_bf16: bool, a: u64, b: u64) -> u64 {
    let value = |bits: u64| {
        if is_bf16 { bf16::from_bits(bits as u16).to_f64() } else { f16::from_bits(bits as u16).to_f64() }
    };
    let (x, y) = (value(a), value(b));
    let result = match kind {
        AtomicKind::Add => {
            let bits = if is_bf16 { bf16::from_f64(x + y).to_bits() } else { f16::from_f64(x + y).to_bits() };
            return if (x + y).is_nan() { 0x7fff } else { bits.into() };
        }
        _ if x.is_nan() && y.is_nan() => return 0x7fff,
        _ if x.is_nan() => b,
        _ if y.is_nan() => a,
        AtomicKind::Min if x < y || x == y && x.is_sign_negative() => a,
        AtomicKind::Min => b,
        _ if x > y || x == y && x.is_sign_positive() => a,
        _ => b,
    };
    result & 0xffff
}

#[test]
fn of_16_bit_floats() {
    for (name, is_bf16) in [("f16", false), ("bf16", true)] {
        for (operation, kind) in
            [("min", AtomicKind::Min), ("max", AtomicKind::Max), ("add", AtomicKind::Add)]
        {
            let one = |a: u64, b: u64| half_of(kind, is_bf16, a & 0xffff, b & 0xffff);
            check(&format!("v8.{operation}.noftz.{name}"), true, |old, b, _| one(old, b));
            check(&format!("v4.{operation}.noftz.{name}x2"), true, |old, b, _| {
                one(old >> 16, b >> 16) << 16 | one(old, b)
            });
        }
        check(&format!("add.noftz.{name}"), false, |old, b, _| half_of(AtomicKind::Add, is_bf16, old, b));
    }
}

#[test]
fn what_is_not_of_the_operation_is_given_back() {
    let (atomic, rest) = parse("relaxed.gpu.global.add.L2::cache_hint.u32").expect("an atomic");
    assert_eq!(atomic, Atomic { kind: AtomicKind::Add, ty: Type::U32, vector: 1 });
    assert_eq!(rest, ["relaxed", "gpu", "global", "L2::cache_hint"]);
    let (atomic, rest) = parse("global.v2.bf16x2.max.noftz").expect("an atomic");
    assert_eq!(atomic, Atomic { kind: AtomicKind::Max, ty: Type::Bf16x2, vector: 2 });
    assert_eq!(rest, ["global"]);
    assert_eq!(parse("add.min.u32").expect("an atomic").1, ["min"]);
}

/// As ptxas has it.
#[test]
fn what_does_not_exist_is_refused() {
    let types =
        ["b16", "b32", "b64", "u32", "u64", "s32", "s64", "f32", "f64", "f16", "f16x2", "bf16", "bf16x2"];
    let scalar = [
        ("and", "b32 b64"),
        ("or", "b32 b64"),
        ("xor", "b32 b64"),
        ("exch", "b32 b64"),
        ("cas", "b16 b32 b64"),
        ("add", "u32 s32 u64 f32 f64"),
        ("inc", "u32"),
        ("dec", "u32"),
        ("min", "u32 s32 u64 s64"),
        ("max", "u32 s32 u64 s64"),
    ];
    for (operation, exist) in scalar {
        for ty in types {
            let exists = exist.split(' ').any(|one| one == ty);
            assert_eq!(parse(&format!("{operation}.{ty}")).is_ok(), exists, "{operation}.{ty}");
            let half = ty.contains("16") && ty != "b16";
            let exists = operation == "add" && half;
            assert_eq!(parse(&format!("{operation}.noftz.{ty}")).is_ok(), exists, "{operation}.noftz.{ty}");
            for (vector, widest_bits) in [("v2", 32), ("v4", 32), ("v8", 16)] {
                let narrow = Type::parse(ty).expect("a type").bits() <= widest_bits;
                let exists = ty == "f32" && operation == "add" && narrow;
                assert_eq!(
                    parse(&format!("{vector}.{operation}.{ty}")).is_ok(),
                    exists,
                    "{vector}.{operation}.{ty}"
                );
                let exists = half && narrow && matches!(operation, "add" | "min" | "max");
                let modifiers = format!("{vector}.{operation}.noftz.{ty}");
                assert_eq!(parse(&modifiers).is_ok(), exists, "{modifiers}");
            }
        }
    }
    for (modifiers, reduction) in
        [("global.u32", false), ("global.add", false), ("exch.b32", true), ("cas.b32", true)]
    {
        assert!(Atomic::parse(modifiers.split('.'), reduction).is_err(), "{modifiers}");
    }
    assert!(Atomic::parse("add.u32".split('.'), true).is_ok());
}
