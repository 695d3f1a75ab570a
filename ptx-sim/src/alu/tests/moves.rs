//! Moves.

use super::{Case, LANES, VARIABLE_ADDRESS, refusal, register, special_value, sweep};
use crate::alu::decode_integer;
use crate::program::Special;
use crate::ptx::ast::Type;

const RANDOM: usize = 10_000;

#[test]
fn of_registers() {
    for name in ["pred", "b16", "b32", "b64", "u16", "u32", "u64", "s16", "s32", "s64", "f32", "f64"] {
        let ty = Type::parse(name).expect("a type");
        let text = format!("mov.{name} {}, {}", register(ty, 1), register(ty, 2));
        sweep(decode_integer, &text, &[ty], RANDOM, |source| [source[0]]);
    }
    sweep(decode_integer, "mov.b32 %f1, %r2", &[Type::B32], RANDOM, |source| [source[0]]);
    sweep(decode_integer, "mov.pred %p1, !%p2", &[Type::Pred], RANDOM, |source| [1 - source[0]]);
}

#[test]
fn of_128_bits() {
    let mut first = Case::new(decode_integer, "mov.b128 %rq1, {%rd1, %rd2}").expect("a move");
    let rows =
        [1, 2].map(|salt| std::array::from_fn(|lane| (lane as u64 + 1) * 0x0123_4567_89ab_cdef * salt));
    first.set("%rd1", &rows[0]);
    first.set("%rd2", &rows[1]);
    first.run(u32::MAX);
    let register = first.get_128("%rq1");
    assert_eq!(register, rows);

    let check = |text: &str, names: &[&str], expected: &dyn Fn(usize, usize) -> u64| {
        for mask in [u32::MAX, 0x0f0f_1234] {
            let mut case = Case::new(decode_integer, text).expect("a move");
            names.iter().for_each(|name| case.set(name, &[7; LANES]));
            case.set_128("%rq1", &register);
            case.run(mask);
            for (at, name) in names.iter().enumerate() {
                let result = case.get(name);
                for (lane, &result) in result.iter().enumerate() {
                    let expected = if mask >> lane & 1 != 0 { expected(at, lane) } else { 7 };
                    assert_eq!(result, expected, "{text}: {name}, lane {lane}");
                }
            }
        }
    };
    check("mov.b128 {%rd1, %rd2}, %rq1", &["%rd1", "%rd2"], &|at, lane| rows[at][lane]);
    check("mov.b128 {%r1, %r2, %r3, %r4}, %rq1", &["%r1", "%r2", "%r3", "%r4"], &|at, lane| {
        rows[at / 2][lane] >> (32 * (at % 2)) & 0xffff_ffff
    });

    let mut copy = Case::new(decode_integer, "mov.b128 %rq2, %rq1").expect("a move");
    copy.set_128("%rq1", &register);
    copy.set_128("%rq2", &[[5; LANES]; 2]);
    copy.run(0xffff);
    let copied = copy.get_128("%rq2");
    for half in 0..2 {
        for lane in 0..LANES {
            assert_eq!(copied[half][lane], if lane < 16 { rows[half][lane] } else { 5 });
        }
    }

    let mut pack = Case::new(decode_integer, "mov.b128 %rq1, {%r1, %r2, %r3, 9}").expect("a move");
    for (at, name) in ["%r1", "%r2", "%r3"].iter().enumerate() {
        pack.set(name, &std::array::from_fn(|lane| 0xffff_ff00 + 32 * at as u64 + lane as u64));
    }
    pack.run(u32::MAX);
    let packed = pack.get_128("%rq1");
    for lane in 0..LANES as u64 {
        assert_eq!(packed[0][lane as usize], (0xffff_ff20 + lane) << 32 | (0xffff_ff00 + lane));
        assert_eq!(packed[1][lane as usize], 9 << 32 | (0xffff_ff40 + lane));
    }
}

#[test]
fn of_constants() {
    let cases: [(&str, &str, u64); 9] = [
        ("mov.u32 %r1, -1", "%r1", 0xffff_ffff),
        ("mov.u64 %rd1, -1", "%rd1", u64::MAX),
        ("mov.b64 %rd1, 0x8000000000000001", "%rd1", 0x8000_0000_0000_0001),
        ("mov.u16 %rs1, -2", "%rs1", 0xfffe),
        ("mov.f32 %f1, 0f3F800000", "%f1", 0x3f80_0000),
        ("mov.f64 %fd1, 0dC000000000000000", "%fd1", 0xc000_0000_0000_0000),
        ("mov.pred %p1, 1", "%p1", 1),
        ("mov.pred %p1, 0", "%p1", 0),
        ("mov.u64 %rd1, variable+24", "%rd1", VARIABLE_ADDRESS + 24),
    ];
    for (text, name, value) in cases {
        let mut case = Case::new(decode_integer, text).expect("a move");
        case.run(u32::MAX);
        assert_eq!(case.get(name), [value; LANES], "{text}");
    }
}

#[test]
fn of_special_registers() {
    for (text, name, special) in [
        ("mov.u32 %r1, %laneid", "%r1", Special::LaneId),
        ("mov.u32 %r1, %tid.x", "%r1", Special::TidX),
        ("mov.b64 %rd1, %laneid", "%rd1", Special::LaneId),
    ] {
        let mut case = Case::new(decode_integer, text).expect("a move");
        case.run(u32::MAX);
        assert_eq!(case.get(name), std::array::from_fn(|lane| special_value(special, lane)), "{text}");
    }
}

#[test]
fn packing_and_unpacking() {
    use Type::{B8, B16, B32, B64};
    sweep(decode_integer, "mov.b16 %rs1, {%b1, %b2}", &[B8; 2], RANDOM, |s| [s[0] + (s[1] << 8)]);
    sweep(decode_integer, "mov.b32 %r1, {%b1, %b2, %b3, %b4}", &[B8; 4], RANDOM, |s| {
        [s[0] + (s[1] << 8) + (s[2] << 16) + (s[3] << 24)]
    });
    sweep(decode_integer, "mov.b32 %r1, {%rs1, %rs2}", &[B16; 2], RANDOM, |s| [s[0] + (s[1] << 16)]);
    sweep(decode_integer, "mov.b32 %r1, {%rs1, 0x1234}", &[B16], RANDOM, |s| [s[0] + 0x1234_0000]);
    sweep(decode_integer, "mov.b64 %rd1, {%rs1, %rs2, %rs3, %rs4}", &[B16; 4], RANDOM, |s| {
        [s[0] + (s[1] << 16) + (s[2] << 32) + (s[3] << 48)]
    });
    sweep(decode_integer, "mov.b64 %rd1, {%r1, %f2}", &[B32; 2], RANDOM, |s| [s[0] + (s[1] << 32)]);
    sweep(decode_integer, "mov.b64 %rd1, {%r1, %r1}", &[B32; 2], RANDOM, |s| [s[0] * 0x1_0000_0001]);

    sweep(decode_integer, "mov.b16 {%b1, %b2}, %rs1", &[B16], RANDOM, |s| [s[0] % 256, s[0] / 256]);
    sweep(decode_integer, "mov.b32 {%b1, %b2, %b3, %b4}, %r1", &[B32], RANDOM, |s| {
        [0, 1, 2, 3].map(|at| s[0] / 256u64.pow(at) % 256)
    });
    sweep(decode_integer, "mov.b32 {%rs1, %rs2}, %r1", &[B32], RANDOM, |s| [s[0] % 65536, s[0] / 65536]);
    sweep(decode_integer, "mov.b32 {_, %rs2}, %r1", &[B32], RANDOM, |s| [0, s[0] / 65536]);
    sweep(decode_integer, "mov.b64 {%rs1, %rs2, %rs3, %rs4}, %rd1", &[B64], RANDOM, |s| {
        [0, 1, 2, 3].map(|at| s[0] / 65536u64.pow(at) % 65536)
    });
    sweep(decode_integer, "mov.b64 {%r1, %r2}, %fd1", &[B64], RANDOM, |s| [s[0] % (1 << 32), s[0] >> 32]);
}

#[test]
fn what_does_not_exist_is_refused() {
    for (text, reason) in [
        ("mov %r1, %r2", "type"),
        ("mov.b8 %b1, %b2", "B8"),
        ("mov.f16 %rs1, %rs2", "F16"),
        ("mov.wide.b32 %r1, %r2", ".wide"),
        ("mov.b32 %r1, %rd2", "64 bits"),
        ("mov.b32 %r1", "2 operands"),
        ("mov.u32 %r1, variable", "32 bits"),
        ("mov.u16 %rs1, variable", "address"),
        ("mov.f64 %fd1, variable", "address"),
        ("mov.u64 %rd1, nothing", "nothing"),
        ("mov.u32 %r1, %clock", "clock"),
        ("mov.f32 %f1, 0", "floating-point"),
        ("mov.b128 %rq1, 5", "128-bit register"),
        ("mov.b32 %r1, {%rs1, %rs2, %rs3}", "3 elements"),
        ("mov.b32 %r1, {%rs1, %rs2, %rs3, %rs4}", "16 bits"),
        ("mov.b32 {%r1, %r2}, %r3", "32 bits"),
        ("mov.u32 {%rs1, %rs2}, %r3", "U32"),
        ("mov.b64 {%r1, %r2}, {%r3, %r4}", "one operand"),
    ] {
        let refused = refusal(decode_integer, text);
        assert!(refused.contains(reason), "{text}: {refused}");
    }
}
