//! Logic and shifts, bit by bit.

use super::{Case, LANES, Random, low_bits, refusal, sweep, text};
use crate::alu::decode_integer;
use crate::ptx::ast::Type;

const RANDOM: usize = 100_000;
const BITS: [(&str, Type); 3] = [("b16", Type::B16), ("b32", Type::B32), ("b64", Type::B64)];

/// A number from a function of its bits.
fn from_bits(bits: u32, bit: impl Fn(u32) -> bool) -> u64 {
    (0..bits).fold(0, |value, at| value | u64::from(bit(at)) << at)
}

fn bit(value: u64, at: u32) -> bool {
    value >> at & 1 != 0
}

#[test]
fn of_two() {
    for (name, ty) in BITS {
        for (root, oracle) in [
            ("and", (|a, b| a && b) as fn(bool, bool) -> bool),
            ("or", |a, b| a || b),
            ("xor", |a, b| a != b),
        ] {
            let two = [ty; 2];
            sweep(decode_integer, &text(&format!("{root}.{name}"), ty, &two), &two, RANDOM, |source| {
                [from_bits(ty.bits(), |at| oracle(bit(source[0], at), bit(source[1], at)))]
            });
        }
    }
}

#[test]
fn of_one() {
    for (name, ty) in BITS {
        sweep(decode_integer, &text(&format!("not.{name}"), ty, &[ty]), &[ty], RANDOM, |source| {
            [from_bits(ty.bits(), |at| !bit(source[0], at))]
        });
        sweep(decode_integer, &text(&format!("cnot.{name}"), ty, &[ty]), &[ty], RANDOM, |source| {
            [u64::from(source[0].count_ones() == 0)]
        });
    }
    sweep(decode_integer, "xor.b32 %r1, %r1, 0x80000001", &[Type::B32], RANDOM, |source| {
        [from_bits(32, |at| bit(source[0], at) != (at == 0 || at == 31))]
    });
    sweep(decode_integer, "and.b32 %f1, %f2, 0x7fffffff", &[Type::F32], RANDOM, |source| {
        [f32::from_bits(source[0] as u32).abs().to_bits().into()]
    });
}

#[test]
fn of_predicates() {
    let two = [Type::Pred; 2];
    sweep(decode_integer, "and.pred %p1, %p2, %p3", &two, 100, |p| [p[0] * p[1]]);
    sweep(decode_integer, "or.pred %p1, %p2, !%p3", &two, 100, |p| [p[0].max(1 - p[1])]);
    sweep(decode_integer, "xor.pred %p1, !%p1, %p3", &two, 100, |p| [(1 + p[0] + p[1]) % 2]);
    sweep(decode_integer, "not.pred %p1, %p1", &[Type::Pred], 100, |p| [1 - p[0]]);
    sweep(decode_integer, "and.pred %p1, %p2, 1", &[Type::Pred], 100, |p| [p[0]]);
    sweep(decode_integer, "or.pred %p1, %p2, 0", &[Type::Pred], 100, |p| [p[0]]);
}

#[test]
fn shifts_clamp_their_amount() {
    let kinds = ["b16", "b32", "b64", "u16", "u32", "u64", "s16", "s32", "s64"];
    for name in kinds {
        let ty = Type::parse(name).expect("a type");
        let bits = ty.bits();
        let sources = [ty, Type::U32];
        let sign = |value: u64| ty.is_signed() && bit(value, bits - 1);
        sweep(decode_integer, &text(&format!("shr.{name}"), ty, &sources), &sources, RANDOM, |source| {
            [from_bits(bits, |at| match u64::from(at) + source[1] {
                from if from < bits.into() => bit(source[0], from as u32),
                _ => sign(source[0]),
            })]
        });
        if name.starts_with('b') {
            sweep(decode_integer, &text(&format!("shl.{name}"), ty, &sources), &sources, RANDOM, |source| {
                [from_bits(bits, |at| u64::from(at) >= source[1] && bit(source[0], at - source[1] as u32))]
            });
        }
        // Amounts that random ones seldom are.
        for amount in 0..=bits + 1 {
            let text = format!("shr.{name} {}, {}, {amount}", super::register(ty, 1), super::register(ty, 2));
            sweep(decode_integer, &text, &[ty], 100, |source| {
                [from_bits(bits, |at| {
                    if at + amount < bits { bit(source[0], at + amount) } else { sign(source[0]) }
                })]
            });
        }
    }
}

#[test]
fn funnel_shifts() {
    let three = [Type::B32; 3];
    for (mode, amount) in
        [("wrap", (|c| c % 32) as fn(u64) -> u64), ("clamp", |c| if c > 32 { 32 } else { c })]
    {
        sweep(decode_integer, &format!("shf.l.{mode}.b32 %r1, %r2, %r3, %r4"), &three, RANDOM, |source| {
            // The bit that comes to place `at` of the upper word.
            [from_bits(32, |at| {
                let from = 32 + at - amount(source[2]) as u32;
                if from >= 32 { bit(source[1], from - 32) } else { bit(source[0], from) }
            })]
        });
        sweep(decode_integer, &format!("shf.r.{mode}.b32 %r1, %r2, %r3, %r4"), &three, RANDOM, |source| {
            [from_bits(32, |at| {
                let from = at + amount(source[2]) as u32;
                if from >= 32 { bit(source[1], from - 32) } else { bit(source[0], from) }
            })]
        });
    }
}

fn lop3(table: u32, source: &[u64]) -> u64 {
    from_bits(32, |at| {
        let index = 4 * u32::from(bit(source[0], at))
            + 2 * u32::from(bit(source[1], at))
            + u32::from(bit(source[2], at));
        table >> index & 1 != 0
    })
}

#[test]
fn every_function_of_three() {
    let mut random = Random(3);
    for table in 0..256 {
        let mut case =
            Case::new(decode_integer, &format!("lop3.b32 %r1, %r2, %r3, %r4, {table}")).expect("lop3");
        for _ in 0..20 {
            let rows: [[u64; LANES]; 3] =
                std::array::from_fn(|_| std::array::from_fn(|_| random.next() & low_bits(32)));
            for (at, row) in rows.iter().enumerate() {
                case.set(["%r2", "%r3", "%r4"][at], row);
            }
            case.run(u32::MAX);
            let result = case.get("%r1");
            for lane in 0..LANES {
                let source = [rows[0][lane], rows[1][lane], rows[2][lane]];
                assert_eq!(result[lane], lop3(table, &source), "table {table:#x} of {source:x?}");
            }
        }
    }
    sweep(decode_integer, "lop3.b32 %r1, %r1, %r2, %r3, 0xea", &[Type::B32; 3], RANDOM, |source| {
        [source[0] & source[1] | source[2]]
    });
    sweep(
        decode_integer,
        "lop3.b32 %r1, %r2, 0x000f000f, 0x64006400, 0xea",
        &[Type::B32],
        RANDOM,
        |source| [source[0] & 0xf_000f | 0x6400_6400],
    );
}

#[test]
fn function_of_three_and_a_predicate() {
    let sources = [Type::B32, Type::B32, Type::B32, Type::Pred];
    for (text, or, negated) in [
        ("lop3.or.b32 %r1|%p1, %r2, %r3, %r4, 0x80, %p2", true, 0),
        ("lop3.and.b32 %r1|%p1, %r2, %r3, %r4, 0x80, %p2", false, 0),
        ("lop3.and.b32 %r1|%p1, %r2, %r3, %r4, 0x80, !%p2", false, 1),
        ("lop3.or.b32 _|%p2, %r2, %r3, %r4, 0x80, %p2", true, 0),
    ] {
        sweep(decode_integer, text, &sources, RANDOM, |source| {
            let d = source[0] & source[1] & source[2];
            let (some, q) = (d != 0, source[3] ^ negated != 0);
            [d, u64::from(if or { some || q } else { some && q })]
        });
    }
}

#[test]
fn what_does_not_exist_is_refused() {
    for (text, reason) in [
        ("and.u32 %r1, %r2, %r3", "U32"),
        ("not.s32 %r1, %r2", "S32"),
        ("cnot.pred %p1, %p2", "Pred"),
        ("and.pred %p1, %p2", "3 operands"),
        ("and.pred %p1, %r2, %p3", "%r2"),
        ("and.b32.wrap %r1, %r2, %r3", ".wrap"),
        ("shl.u32 %r1, %r2, %r3", "U32"),
        ("shl.b64 %rd1, %rd2, %rd3", "64 bits"),
        ("shl.wrap.b32 %r1, %r2, %r3", ".wrap"),
        ("shf.l.b32 %r1, %r2, %r3, %r4", ".clamp"),
        ("shf.wrap.b32 %r1, %r2, %r3, %r4", ".l"),
        ("shf.l.wrap.b64 %rd1, %rd2, %rd3, %r4", "B64"),
        ("lop3.b32 %r1, %r2, %r3, %r4, 256", "0 to 255"),
        ("lop3.b32 %r1, %r2, %r3, %r4, %r5", "0 to 255"),
        ("lop3.b64 %rd1, %rd2, %rd3, %rd4, 1", "B64"),
        ("lop3.xor.b32 %r1|%p1, %r2, %r3, %r4, 1, %p2", ".xor"),
        ("lop3.or.b32 %r1, %r2, %r3, %r4, 1, %p2", "d|p"),
    ] {
        let refused = refusal(decode_integer, text);
        assert!(refused.contains(reason), "{text}: {refused}");
    }
}
