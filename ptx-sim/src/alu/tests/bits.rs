//! Instructions on bits, against loops over bits.

use super::{refusal, run_all, sweep, text, wrapped};
use crate::alu::decode_integer;
use crate::ptx::ast::Type;

const RANDOM: usize = 100_000;
const NONE: u64 = 0xffff_ffff;

fn bit(value: u64, at: u32) -> bool {
    value >> at & 1 != 0
}

fn from_bits(bits: u32, bit: impl Fn(u32) -> bool) -> u64 {
    (0..bits).fold(0, |value, at| value | u64::from(bit(at)) << at)
}

#[test]
fn counting_and_reversing() {
    for (name, ty) in [("b32", Type::B32), ("b64", Type::B64)] {
        let bits = ty.bits();
        let one = [ty];
        sweep(decode_integer, &text(&format!("popc.{name}"), Type::U32, &one), &one, RANDOM, |source| {
            [(0..bits).filter(|&at| bit(source[0], at)).count() as u64]
        });
        sweep(decode_integer, &text(&format!("clz.{name}"), Type::U32, &one), &one, RANDOM, |source| {
            [(0..bits).rev().take_while(|&at| !bit(source[0], at)).count() as u64]
        });
        sweep(decode_integer, &text(&format!("brev.{name}"), ty, &one), &one, RANDOM, |source| {
            [from_bits(bits, |at| bit(source[0], bits - 1 - at))]
        });
        // A lone bit, and all below it.
        let lone: Vec<Vec<u64>> = (0..bits).flat_map(|at| [vec![1 << at], vec![(1 << at) - 1]]).collect();
        run_all(decode_integer, &text(&format!("clz.{name}"), Type::U32, &one), &one, &lone, |source| {
            [(0..bits).rev().take_while(|&at| !bit(source[0], at)).count() as u64]
        });
    }
}

#[test]
fn finding_the_highest_bit_that_is_not_the_sign() {
    for name in ["u32", "s32", "u64", "s64"] {
        let ty = Type::parse(name).expect("a type");
        let bits = ty.bits();
        let position = |a: u64| {
            let sign = ty.is_signed() && bit(a, bits - 1);
            (0..bits).rev().find(|&at| bit(a, at) != sign)
        };
        let lone: Vec<Vec<u64>> = (0..bits)
            .flat_map(|at| [1u64 << at, !(1 << at), (1 << at) - 1])
            .map(|value| vec![value & super::low_bits(bits)])
            .collect();
        let found = text(&format!("bfind.{name}"), Type::U32, &[ty]);
        let oracle = |source: &[u64]| [position(source[0]).map_or(NONE, u64::from)];
        sweep(decode_integer, &found, &[ty], RANDOM, oracle);
        run_all(decode_integer, &found, &[ty], &lone, oracle);
        let shift = text(&format!("bfind.shiftamt.{name}"), Type::U32, &[ty]);
        let oracle = |source: &[u64]| [position(source[0]).map_or(NONE, |at| u64::from(bits - 1 - at))];
        sweep(decode_integer, &shift, &[ty], RANDOM, oracle);
        run_all(decode_integer, &shift, &[ty], &lone, oracle);
    }
}

/// All positions and lengths of an 8-bit range that matter, with bits above it that do not.
fn fields(values: &[u64]) -> Vec<Vec<u64>> {
    let places = (0..=70).chain([127, 128, 254, 255, 256, 258, 0x1_0005, 0xffff_ffff]);
    let places: Vec<u64> = places.collect();
    let mut all = Vec::new();
    for &value in values {
        for &position in &places {
            for &length in &places {
                all.push(vec![value, position, length]);
            }
        }
    }
    all
}

#[test]
fn extracting_fields() {
    for name in ["u32", "s32", "u64", "s64"] {
        let ty = Type::parse(name).expect("a type");
        let bits = ty.bits();
        let oracle =
            |source: &[u64]| {
                let (a, position, length) = (source[0], source[1] as u32 & 0xff, source[2] as u32 & 0xff);
                let last = (position + length).saturating_sub(1).min(bits - 1);
                let sign = ty.is_signed() && length > 0 && bit(a, last);
                [from_bits(bits, |at| {
                    if at < length && position + at < bits { bit(a, position + at) } else { sign }
                })]
            };
        let sources = [ty, Type::U32, Type::U32];
        let text = text(&format!("bfe.{name}"), ty, &sources);
        sweep(decode_integer, &text, &sources, RANDOM, oracle);
        let mask = super::low_bits(bits);
        let values = [0x8000_0001_9234_5678, 0x7fff_ffff_6dcb_a987, u64::MAX].map(|value| value & mask);
        run_all(decode_integer, &text, &sources, &fields(&values), oracle);
    }
}

#[test]
fn inserting_fields() {
    for (name, ty) in [("b32", Type::B32), ("b64", Type::B64)] {
        let bits = ty.bits();
        let oracle = |source: &[u64]| {
            let (position, length) = (source[2] as u32 & 0xff, source[3] as u32 & 0xff);
            [from_bits(bits, |at| {
                let inside = at >= position && at < position + length;
                if inside { bit(source[0], at - position) } else { bit(source[1], at) }
            })]
        };
        let sources = [ty, ty, Type::U32, Type::U32];
        let text = text(&format!("bfi.{name}"), ty, &sources);
        sweep(decode_integer, &text, &sources, RANDOM, oracle);
        let mask = super::low_bits(bits);
        for (a, b) in [(u64::MAX, 0), (0, u64::MAX), (0x1234_5678_9abc_def1, 0x0fed_cba9_8765_4321)] {
            let all = fields(&[a & mask]);
            let all: Vec<Vec<u64>> =
                all.iter().map(|field| vec![field[0], b & mask, field[1], field[2]]).collect();
            run_all(decode_integer, &text, &sources, &all, oracle);
        }
    }
}

#[test]
fn finding_the_nth_set_bit() {
    let oracle = |source: &[u64]| {
        let (mask, base, offset) = (source[0], source[1] as i64, i64::from(source[2] as i32));
        if base > 31 {
            return [NONE];
        }
        if offset == 0 {
            return [if bit(mask, base as u32) { base as u64 } else { NONE }];
        }
        let (mut place, mut count) = (base, offset.abs() - 1);
        while (0..32).contains(&place) {
            if bit(mask, place as u32) {
                if count == 0 {
                    return [place as u64];
                }
                count -= 1;
            }
            place += offset.signum();
        }
        [NONE]
    };
    let sources = [Type::B32, Type::B32, Type::S32];
    let text = "fns.b32 %r1, %r2, %r3, %r4";
    sweep(decode_integer, text, &sources, RANDOM, oracle);
    let mut all = Vec::new();
    for mask in [0xaaaa_aaaa, 0x8000_0001, 0xffff_ffff, 0, 0x0180_0c31] {
        for base in 0..33 {
            for offset in -34..=34 {
                all.push(vec![mask, base, wrapped(Type::S32, offset)]);
            }
        }
    }
    run_all(decode_integer, text, &sources, &all, oracle);
}

#[test]
fn extending_numbers() {
    for (name, ty) in [("u32", Type::U32), ("s32", Type::S32)] {
        for (mode, wrap) in [("clamp", false), ("wrap", true)] {
            let sources = [ty, Type::U32];
            let oracle = |source: &[u64]| {
                let (a, bits) = (source[0], if wrap { source[1] % 32 } else { source[1] });
                if bits >= 32 {
                    return [a];
                }
                let value = i128::from(a % (1 << bits));
                let negative = ty == Type::S32 && bits > 0 && bit(a, bits as u32 - 1);
                [wrapped(ty, if negative { value - (1 << bits) } else { value })]
            };
            let text = text(&format!("szext.{mode}.{name}"), ty, &sources);
            sweep(decode_integer, &text, &sources, RANDOM, oracle);
            let all: Vec<Vec<u64>> = (0..70)
                .flat_map(|bits| [0x5555_5555, 0xaaaa_aaaa, 0xffff_ffff].map(|value| vec![value, bits]))
                .collect();
            run_all(decode_integer, &text, &sources, &all, oracle);
        }
    }
}

#[test]
fn masks() {
    for (mode, wrap) in [("clamp", false), ("wrap", true)] {
        let oracle = |source: &[u64]| {
            let [position, length] =
                [source[0], source[1]].map(|value| if wrap { value % 32 } else { value });
            [from_bits(32, |at| u64::from(at) >= position && u64::from(at) < position + length)]
        };
        let two = [Type::B32; 2];
        let text = format!("bmsk.{mode}.b32 %r1, %r2, %r3");
        sweep(decode_integer, &text, &two, RANDOM, oracle);
        let all: Vec<Vec<u64>> = (0..70).flat_map(|a| (0..70).map(move |b| vec![a, b])).collect();
        run_all(decode_integer, &text, &two, &all, oracle);
    }
}

/// Places of the bytes of the eight sources' that a mode takes, lowest first.
fn places(mode: &str, control: u64) -> [u64; 4] {
    let s = control % 4;
    match mode {
        "f4e" => [s, s + 1, s + 2, s + 3],
        "b4e" => [s, (s + 7) % 8, (s + 6) % 8, (s + 5) % 8],
        "rc8" => [s; 4],
        "ecl" => [0, 1, 2, 3].map(|at: u64| at.max(s)),
        "ecr" => [0, 1, 2, 3].map(|at: u64| at.min(s)),
        "rc16" => [0, 1, 0, 1].map(|at| s % 2 * 2 + at),
        other => panic!("{other} is no mode"),
    }
}

#[test]
fn permuting_bytes() {
    let three = [Type::B32; 3];
    let byte = |source: &[u64], place: u64| {
        if place < 4 { source[0] >> (8 * place) & 0xff } else { source[1] >> (8 * (place - 4)) & 0xff }
    };
    let generic = |source: &[u64]| {
        let bytes = [0, 1, 2, 3].map(|at| {
            let chosen = source[2] >> (4 * at) & 0xf;
            let byte = byte(source, chosen % 8);
            if chosen < 8 {
                byte
            } else if byte >= 128 {
                0xff
            } else {
                0
            }
        });
        [bytes.iter().rev().fold(0, |word, byte| word << 8 | byte)]
    };
    sweep(decode_integer, "prmt.b32 %r1, %r2, %r3, %r4", &three, RANDOM, generic);
    let selectors: Vec<Vec<u64>> =
        (0..=0xffff).map(|selector| vec![0x8c01_7fe2, 0x9a3b_00ff, selector]).collect();
    run_all(decode_integer, "prmt.b32 %r1, %r2, %r3, %r4", &three, &selectors, generic);
    sweep(decode_integer, "prmt.b32 %r1, %r2, %r3, 0x5410", &three[..2], RANDOM, |source| {
        [source[1] % 65536 * 65536 + source[0] % 65536]
    });
    for mode in ["f4e", "b4e", "rc8", "ecl", "ecr", "rc16"] {
        let text = format!("prmt.b32.{mode} %r1, %r2, %r3, %r4");
        sweep(decode_integer, &text, &three, RANDOM, |source| {
            let bytes = places(mode, source[2]).map(|place| byte(source, place));
            [bytes.iter().rev().fold(0, |word, byte| word << 8 | byte)]
        });
    }
}

#[test]
fn what_does_not_exist_is_refused() {
    for (text, reason) in [
        ("popc.u32 %r1, %r2", "U32"),
        ("popc.b64 %rd1, %rd2", "%rd1"),
        ("clz.shiftamt.b32 %r1, %r2", ".shiftamt"),
        ("bfind.b32 %r1, %r2", "B32"),
        ("brev.b16 %rs1, %rs2", "B16"),
        ("bfe.b32 %r1, %r2, %r3, %r4", "B32"),
        ("bfe.u64 %rd1, %rd2, %rd3, %r4", "%rd3"),
        ("bfi.u32 %r1, %r2, %r3, %r4, %r5", "U32"),
        ("bfi.b32 %r1, %r2, %r3, %r4", "5 operands"),
        ("fns.b64 %r1, %rd2, %r3, %r4", "B64"),
        ("szext.s32 %r1, %r2, %r3", ".clamp"),
        ("szext.clamp.s64 %rd1, %rd2, %r3", "S64"),
        ("bmsk.b32 %r1, %r2, %r3", ".wrap"),
        ("bmsk.wrap.u32 %r1, %r2, %r3", "U32"),
        ("prmt.b32.rc4 %r1, %r2, %r3, %r4", ".rc4"),
        ("prmt.b32.f4e.b4e %r1, %r2, %r3, %r4", ".b4e"),
        ("prmt.b64 %rd1, %rd2, %rd3, %r4", "B64"),
    ] {
        let refused = refusal(decode_integer, text);
        assert!(refused.contains(reason), "{text}: {refused}");
    }
}
