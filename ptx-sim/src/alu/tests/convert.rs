//! Conversions against exact rounding of integers of any size, and against the `half` crate.

use super::float::{NAN32, decode, saturated};
use super::oracle::{BF16, Big, E5M2, F16, F32, F64, Format, MODES, To, Value, to_integer};
use super::{Random, edges, low_bits, refusal, run_all, sweep};
use crate::ptx::ast::Type;

pub(super) const NAN16: u64 = 0x7fff;

const INTEGERS: [(&str, Type); 8] = [
    ("u8", Type::U8),
    ("s8", Type::S8),
    ("u16", Type::U16),
    ("s16", Type::S16),
    ("u32", Type::U32),
    ("s32", Type::S32),
    ("u64", Type::U64),
    ("s64", Type::S64),
];
const FLOATS: [(&str, Type, Format); 4] =
    [("f16", Type::F16, F16), ("bf16", Type::Bf16, BF16), ("f32", Type::F32, F32), ("f64", Type::F64, F64)];

fn register(ty: Type) -> &'static str {
    match ty {
        Type::F32 => "%f",
        Type::F64 => "%fd",
        _ if ty.bits() <= 16 => "%rs",
        _ if ty.bits() == 32 => "%r",
        _ => "%rd",
    }
}

/// The integer that bits of a type are.
fn integer(ty: Type, bits: u64) -> i128 {
    let bits = i128::from(bits & low_bits(ty.bits()));
    if ty.is_signed() && bits >> (ty.bits() - 1) != 0 { bits - (1 << ty.bits()) } else { bits }
}

fn limits(ty: Type) -> (i128, i128) {
    let bits = ty.bits();
    if ty.is_signed() { (-1 << (bits - 1), (1 << (bits - 1)) - 1) } else { (0, (1 << bits) - 1) }
}

fn value_of_integer(x: i128) -> Value {
    Value::Finite(x < 0, Big::new(x.unsigned_abs()), 0)
}

#[test]
fn integers_are_cut_extended_and_clamped() {
    for (from_name, from) in INTEGERS {
        for (to_name, to) in INTEGERS {
            // The registers' sizes: those of the types, and all that are larger.
            for source in ["%rs", "%r", "%rd"] {
                for destination in ["%rs", "%r", "%rd"] {
                    let bits = |prefix: &str| match prefix {
                        "%rs" => 16,
                        "%r" => 32,
                        _ => 64,
                    };
                    if bits(source) < from.bits() || bits(destination) < to.bits() {
                        continue;
                    }
                    let ty = [Type::B16, Type::B32, Type::B64][(bits(source) / 32) as usize];
                    let text = format!("cvt.{to_name}.{from_name} {destination}1, {source}2");
                    sweep(decode, &text, &[ty], 300, |x| {
                        let cut = integer(to, integer(from, x[0]) as u64);
                        [cut as u64 & low_bits(bits(destination))]
                    });
                    let ((low, high), (least, most)) = (limits(to), limits(from));
                    let text = format!("cvt.sat.{to_name}.{from_name} {destination}1, {source}2");
                    if least >= low && most <= high {
                        assert!(refusal(decode, &text).contains("`.sat`"), "{text}");
                        continue;
                    }
                    sweep(decode, &text, &[ty], 300, |x| {
                        [integer(from, x[0]).clamp(low, high) as u64 & low_bits(bits(destination))]
                    });
                }
            }
        }
    }
}

/// Numbers of a format around integers, halves between them, and the limits of integer types.
fn around_integers(format: Format, ty: Type) -> Vec<Vec<u64>> {
    let mut inputs: Vec<u64> = edges(ty);
    let mask = format.sign() | (format.sign() - 1);
    let mut around = |negative: bool, magnitude: u128, exponent: i32| {
        let nearest = format.round(negative, &Big::new(magnitude), exponent, false, To::Even);
        for step in 0..5 {
            inputs.push(nearest.wrapping_add(step).wrapping_sub(2) & mask);
        }
    };
    for negative in [false, true] {
        for twice in 0..40 {
            around(negative, twice, -1);
        }
        for bits in 3..66 {
            for twice in
                [(1 << (bits + 1)) - 1, 1 << (bits + 1), (1 << (bits + 1)) + 1, (1 << (bits + 1)) - 2]
            {
                around(negative, twice, -1);
            }
        }
    }
    let mut generator = Random(11);
    inputs.extend((0..20_000).map(|_| generator.next() & mask));
    inputs.into_iter().map(|one| vec![one]).collect()
}

const INTEGRAL: [(&str, To); 4] = [("rni", To::Even), ("rzi", To::Zero), ("rmi", To::Down), ("rpi", To::Up)];

#[test]
fn floats_become_integers() {
    for (from_name, from, format) in FLOATS {
        let inputs = around_integers(format, from);
        for (to_name, to) in INTEGERS {
            for (rounding, direction) in INTEGRAL {
                for modifier in ["", ".ftz", ".sat"] {
                    if (modifier == ".ftz" && from != Type::F32) || (modifier == ".sat" && from == Type::Bf16)
                    {
                        continue;
                    }
                    let text = format!(
                        "cvt.{rounding}{modifier}.{to_name}.{from_name} {}1, {}2",
                        register(to),
                        register(from)
                    );
                    let width = if to.bits() == 8 { 16 } else { to.bits() };
                    run_all(decode, &text, &[from], &inputs, |x| {
                        let bits = if modifier == ".ftz" { format.flush(x[0]) } else { x[0] };
                        let (low, high) = limits(to);
                        let result = match format.value(bits) {
                            Value::Nan if from != Type::F64 && to.bits() != 64 => 0,
                            Value::Nan => integer(to, 1 << (to.bits() - 1)),
                            Value::Infinite(negative) => {
                                if negative {
                                    low
                                } else {
                                    high
                                }
                            }
                            Value::Finite(s, m, e) => to_integer(s, &m, e, direction).clamp(low, high),
                        };
                        [result as u64 & low_bits(width)]
                    });
                }
            }
        }
    }
}

#[test]
fn integers_become_floats() {
    for (from_name, from) in INTEGERS {
        for (to_name, to, format) in FLOATS {
            for (rounding, direction) in MODES {
                let text =
                    format!("cvt.{rounding}.{to_name}.{from_name} {}1, {}2", register(to), register(from));
                sweep(decode, &text, &[from], 5000, |x| {
                    [format.of(&value_of_integer(integer(from, x[0])), direction).expect("a number")]
                });
                if to == Type::Bf16 {
                    continue;
                }
                let text = format!(
                    "cvt.{rounding}.sat.{to_name}.{from_name} {}1, {}2",
                    register(to),
                    register(from)
                );
                let one = format.of(&value_of_integer(1), To::Even).expect("one");
                sweep(decode, &text, &[from], 500, |x| {
                    [saturated(
                        format.of(&value_of_integer(integer(from, x[0])), direction),
                        one,
                        format.sign(),
                    )]
                });
            }
        }
    }
}

/// The NaN that a conversion makes of a NaN.
fn nan(from: Type, to: Type, bits: u64) -> u64 {
    match (from, to) {
        (Type::F64, Type::F64) => bits | 1 << 51,
        (Type::F32, Type::F64) => (bits >> 31) << 63 | 0x7ff8 << 48 | (bits & 0x7f_ffff) << 29,
        (Type::Bf16, Type::F32) => bits << 16,
        (_, Type::F32) => NAN32,
        (_, Type::F64) => nan(Type::F32, to, NAN32),
        _ => NAN16,
    }
}

/// Every number of 16 bits; of more bits, all numbers of the 16-bit and 8-bit formats, and all midpoints between
/// them, each with its neighbours.
pub(super) fn boundaries(ty: Type, format: Format) -> Vec<Vec<u64>> {
    if format.bits == 16 {
        return (0..1 << 16).map(|bits| vec![bits]).collect();
    }
    let mut inputs: Vec<u64> = edges(ty);
    let mut generator = Random(5);
    for narrow in [F16, BF16, E5M2, Format { bits: 8, fraction: 3 }] {
        for bits in 0..narrow.sign() {
            let (Value::Finite(_, low, e), sign) =
                (narrow.value(bits), generator.next() << (format.bits - 1))
            else {
                continue;
            };
            for (magnitude, exponent) in [(low.shl(1), e - 1), (Big::new(low.shl(1).shr(0) + 1), e - 1)] {
                let exact = format.round(false, &magnitude, exponent, false, To::Even);
                for near in [exact.saturating_sub(1), exact, exact + 1] {
                    inputs.push(near | sign & format.sign());
                }
            }
        }
    }
    inputs.extend((0..50_000).map(|_| generator.next() & (format.sign() | (format.sign() - 1))));
    inputs.into_iter().map(|one| vec![one]).collect()
}

fn contained(from: Format, to: Format) -> bool {
    from == to || (from.bits < to.bits)
}

#[test]
fn floats_become_other_floats() {
    for (from_name, from, source) in FLOATS {
        let inputs = boundaries(from, source);
        for (to_name, to, target) in FLOATS {
            let exact = contained(source, target);
            let modes: &[(&str, To)] = if exact { &[("", To::Even)] } else { &MODES };
            for (rounding, direction) in modes {
                for modifier in ["", ".ftz", ".sat", ".ftz.sat"] {
                    let (ftz, sat) = (modifier.contains("ftz"), modifier.contains("sat"));
                    if (ftz && from != Type::F32 && to != Type::F32)
                        || (sat && (to == Type::Bf16 || from == Type::Bf16))
                    {
                        continue;
                    }
                    let dot = if exact { "" } else { "." };
                    let text = format!(
                        "cvt{dot}{rounding}{modifier}.{to_name}.{from_name} {}1, {}2",
                        register(to),
                        register(from)
                    );
                    let one = target.of(&value_of_integer(1), To::Even).expect("one");
                    run_all(decode, &text, &[from], &inputs, |x| {
                        let bits = if ftz && from == Type::F32 { source.flush(x[0]) } else { x[0] };
                        let result = target.of(&source.value(bits), *direction);
                        let result =
                            result.map(|one| if ftz && to == Type::F32 { F32.flush(one) } else { one });
                        if sat {
                            return [saturated(result, one, target.sign())];
                        }
                        [result.unwrap_or_else(|| nan(from, to, x[0]))]
                    });
                }
            }
        }
    }
}

#[test]
fn floats_become_integral() {
    for (name, ty, format) in FLOATS {
        let inputs = around_integers(format, ty);
        for (rounding, direction) in INTEGRAL {
            for ftz in [false, true] {
                if ftz && ty != Type::F32 {
                    continue;
                }
                let modifier = if ftz { ".ftz" } else { "" };
                let register = register(ty);
                let text = format!("cvt.{rounding}{modifier}.{name}.{name} {register}1, {register}2");
                run_all(decode, &text, &[ty], &inputs, |x| {
                    let bits = if ftz { format.flush(x[0]) } else { x[0] };
                    let Value::Finite(negative, m, e) = format.value(bits) else {
                        return [if format.is_nan(bits) { nan(ty, ty, bits) } else { bits }];
                    };
                    // Beyond its fraction a number is an integer.
                    if e >= 0 {
                        return [bits];
                    }
                    let magnitude = Big::new(to_integer(negative, &m, e, direction).unsigned_abs());
                    [format.round(negative, &magnitude, 0, false, To::Even)]
                });
            }
        }
    }
}

#[test]
fn wide_registers_are_cut_and_extended() {
    sweep(decode, "cvt.rn.f16.f32 %r1, %f1", &[Type::F32], 2000, |x| {
        [F16.of(&F32.value(x[0]), To::Even).unwrap_or(NAN16)]
    });
    sweep(decode, "cvt.f32.f16 %f1, %rd1", &[Type::B64], 2000, |x| {
        [F32.of(&F16.value(x[0] & 0xffff), To::Even).unwrap_or(NAN32)]
    });
    sweep(decode, "cvt.rzi.s16.f32 %rd1, %f1", &[Type::F32], 2000, |x| {
        let result = f32::from_bits(x[0] as u32) as i16;
        [i64::from(result) as u64]
    });
    sweep(decode, "cvt.rzi.s8.f32 %rs1, %f1", &[Type::F32], 2000, |x| {
        [u64::from(i16::from(f32::from_bits(x[0] as u32) as i8) as u16)]
    });
    sweep(decode, "cvt.rn.f32.s8 %f1, %rd1", &[Type::B64], 2000, |x| {
        [u64::from(f32::from(x[0] as i8).to_bits())]
    });
}

#[test]
fn packed_integers() {
    for (name, bits, signed) in [("u16", 16, false), ("s16", 16, true)] {
        let ty = if signed { Type::S16 } else { Type::U16 };
        let text = format!("cvt.pack.sat.{name}.s32 %r1, %r2, %r3");
        sweep(decode, &text, &[Type::S32; 2], 5000, |x| {
            let (low, high) = limits(ty);
            let field = |x: u64| integer(Type::S32, x).clamp(low, high) as u64 & low_bits(bits);
            [field(x[0]) << bits | field(x[1])]
        });
    }
    for (name, bits, signed) in [
        ("u2", 2, false),
        ("s2", 2, true),
        ("u4", 4, false),
        ("s4", 4, true),
        ("u8", 8, false),
        ("s8", 8, true),
    ] {
        let (low, high) =
            if signed { (-1 << (bits - 1), (1 << (bits - 1)) - 1) } else { (0, (1 << bits) - 1) };
        let text = format!("cvt.pack.sat.{name}.s32.b32 %r1, %r2, %r3, %r4");
        sweep(decode, &text, &[Type::S32, Type::S32, Type::B32], 5000, |x| {
            let field = |x: u64| integer(Type::S32, x).clamp(low, high) as u64 & low_bits(bits);
            [(x[2] << (2 * bits) | field(x[0]) << bits | field(x[1])) & 0xffff_ffff]
        });
    }
}

#[test]
fn conversions_that_do_not_exist_are_refused_with_a_reason() {
    for (text, reason) in [
        ("cvt.f32.s32 %f1, %r1", "rounding modifier is missing"),
        ("cvt.s32.f32 %r1, %f1", ".rzi is missing"),
        ("cvt.rn.s32.f32 %r1, %f1", ".rzi is missing"),
        ("cvt.rzi.f32.s32 %f1, %r1", "does not round to integers"),
        ("cvt.rzi.f64.f32 %fd1, %f1", "does not round to integers"),
        ("cvt.rn.f64.f32 %fd1, %f1", "needs no rounding"),
        ("cvt.rn.f32.f32 %f1, %f2", "needs no rounding"),
        ("cvt.f16.f32 %rs1, %f1", "rounding modifier is missing"),
        ("cvt.rna.f16.f32 %rs1, %f1", "`.rna`"),
        ("cvt.rn.ftz.f16.f64 %rs1, %fd1", "`.ftz`"),
        ("cvt.sat.s64.s32 %rd1, %r1", "`.sat`"),
        ("cvt.rn.sat.bf16.f32 %rs1, %f1", "`.sat`"),
        ("cvt.rn.relu.f16.f64 %rs1, %fd1", "`.relu`"),
        ("cvt.rm.relu.f16.f32 %rs1, %f1", ".rn or .rz only"),
        ("cvt.rp.f16x2.f32 %r1, %f1, %f2", ".rn or .rz only"),
        ("cvt.f16x2.f32 %r1, %f1, %f2", "rounding modifier is missing"),
        ("cvt.rn.f16x2.f32 %r1, %f1", "3 operands"),
        ("cvt.rn.bf16.f32 %r1, %f1", "16 are expected"),
        ("cvt.rn.e4m3x2.f32 %rs1, %f1, %f2", ".satfinite is missing"),
        ("cvt.rz.satfinite.e4m3x2.f32 %rs1, %f1, %f2", ".rn is missing"),
        ("cvt.rn.satfinite.f16x2.e4m3x2 %r1, %rs1", "`.satfinite`"),
        ("cvt.rn.satfinite.e4m3x2.e5m2x2 %rs1, %rs2", "no such conversion"),
        ("cvt.rs.f16x2.f32 %r1, %f1, %f2, %r2", "sm_100"),
        ("cvt.rn.satfinite.e2m1x2.f32 %rs1, %f1, %f2", "sm_100"),
        ("cvt.tf32.f32 %r1, %f1", "rounding modifier is missing"),
        ("cvt.rna.relu.tf32.f32 %r1, %f1", "`.relu`"),
        ("cvt.rna.tf32.f64 %r1, %fd1", "no such conversion"),
        ("cvt.u32 %r1, %r2", "two types"),
        ("cvt.b32.u32 %r1, %r2", "no such conversion"),
        ("cvt.pack.u8.s32.b32 %r1, %r2, %r3, %r4", ".sat is missing"),
        ("cvt.pack.sat.u8.s32 %r1, %r2, %r3", "unknown combination"),
        ("cvt.pack.sat.u16.s32 %r1, %r2, %r3, %r4", "too few or too many"),
    ] {
        let given = refusal(decode, text);
        assert!(given.contains(reason), "{text}: {given}");
    }
}
