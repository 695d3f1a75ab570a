//! f32 and f64 arithmetic against exact arithmetic on integers of any size.

use super::oracle::{BF16, F16, F32, F64, Format, MODES, To, Value};
use super::{Random, edges, refusal, run_all, sweep};
use crate::alu::decode_float;
use crate::program::{Decoded, Decoder, Reject};
use crate::ptx::ast::{Instruction, Type};

pub(super) fn decode(
    decoder: &mut Decoder<'_>,
    instruction: &Instruction,
) -> Result<Option<Decoded>, Reject> {
    decode_float(decoder, instruction, false)
}

/// The NaN of an f32 instruction.
pub(super) const NAN32: u64 = 0x7fff_ffff;
/// The NaN of an f64 instruction without NaN among its sources.
const NAN64: u64 = 0xfff8_0000_0000_0000;
const ONE32: u64 = 0x3f80_0000;

/// Numbers of a format for `sources` operands: edges crossed, then random ones, of which most are near each other so
/// that sums and products of all of them count; the last often cancels the product of the others, nearly.
pub(super) fn numbers(format: Format, ty: Type, sources: usize, random: usize) -> Vec<Vec<u64>> {
    let edges = edges(ty);
    let mut inputs: Vec<Vec<u64>> = vec![Vec::new()];
    for _ in 0..sources {
        inputs = inputs
            .iter()
            .flat_map(|input| edges.iter().map(move |edge| [input.as_slice(), &[*edge]].concat()))
            .collect();
    }
    let mut generator = Random(sources as u64);
    let mask = format.sign() | (format.sign() - 1);
    while inputs.len() > 20_000 {
        let at = generator.next() as usize % inputs.len();
        inputs.swap_remove(at);
    }
    let fields = (format.infinity() >> format.fraction) + 1;
    for _ in 0..random {
        let base = generator.next() % fields;
        let near = |generator: &mut Random| {
            let bits = generator.next();
            let field = match generator.next() % 8 {
                0 => generator.next() % fields,
                1 => generator.next() % 3,
                _ => (base + generator.next() % 64).saturating_sub(32).min(fields - 1),
            };
            // Few bits set now and then, so that ties and exact results come up.
            let kept = generator.next() % (format.fraction as u64 + 1);
            let fraction = match generator.next() % 3 {
                0 => bits >> kept << kept,
                _ => bits,
            };
            let sign = if bits >> 63 != 0 { format.sign() } else { 0 };
            sign | field << format.fraction | fraction & ((1 << format.fraction) - 1)
        };
        let mut input: Vec<u64> = (0..sources).map(|_| near(&mut generator)).collect();
        if generator.next().is_multiple_of(4) {
            let opposite = match sources {
                2 => Some(input[0] ^ format.sign()),
                3 => format.multiply(&format.value(input[0]), &format.value(input[1]), To::Even),
                _ => None,
            };
            if let Some(opposite) = opposite {
                let opposite = if sources == 3 { opposite ^ format.sign() } else { opposite };
                input[sources - 1] = opposite.wrapping_add(generator.next() % 5).wrapping_sub(2) & mask;
            }
        }
        inputs.push(input);
    }
    inputs
}

/// The result of an operation on bits of a format, before anything that modifiers do; `None` is NaN.
pub(super) fn arithmetic(operation: &str, format: Format, sources: &[u64], to: To) -> Option<u64> {
    let value = |at: usize| format.value(sources[at]);
    let one = format.value(format.infinity() >> 1 & format.infinity());
    let negated = |at: usize| format.value(sources[at] ^ format.sign());
    match operation {
        "add" => format.multiply_add(&value(0), &one, &value(1), to),
        "sub" => format.multiply_add(&value(0), &one, &negated(1), to),
        "mul" => format.multiply(&value(0), &value(1), to),
        "fma" | "mad" => format.multiply_add(&value(0), &value(1), &value(2), to),
        "div" => format.divide(&value(0), &value(1), to),
        "rcp" => format.divide(&one, &value(0), to),
        "sqrt" => format.square_root(&value(0), to),
        _ => panic!("unknown operation {operation}"),
    }
}

fn sources_of(operation: &str) -> usize {
    match operation {
        "rcp" | "sqrt" => 1,
        "fma" | "mad" => 3,
        _ => 2,
    }
}

fn registers(prefix: &str, count: usize) -> String {
    (1..=count).map(|at| format!("{prefix}{at}")).collect::<Vec<_>>().join(", ")
}

/// [0, 1] of a result, NaN being `None`.
pub(super) fn saturated(result: Option<u64>, one: u64, sign: u64) -> u64 {
    match result {
        None => 0,
        Some(bits) if bits & sign != 0 => 0,
        Some(bits) => bits.min(one),
    }
}

fn check_f32(operation: &str, rounding: &str, to: To, random: usize) {
    let sources = sources_of(operation);
    let inputs = numbers(F32, Type::F32, sources, random);
    let can_saturate = matches!(operation, "add" | "sub" | "mul" | "fma" | "mad");
    for (ftz, sat) in [(false, false), (true, false), (false, true), (true, true)] {
        if sat && !can_saturate {
            continue;
        }
        let inputs = if ftz || sat { &inputs[..inputs.len() / 3] } else { &inputs[..] };
        let modifiers = format!("{}{}", if ftz { ".ftz" } else { "" }, if sat { ".sat" } else { "" });
        let text = format!("{operation}{rounding}{modifiers}.f32 {}", registers("%f", sources + 1));
        run_all(decode, &text, &vec![Type::F32; sources], inputs, |x| {
            let x: Vec<u64> = x.iter().map(|&one| if ftz { F32.flush(one) } else { one }).collect();
            let result = arithmetic(operation, F32, &x, to).map(|one| if ftz { F32.flush(one) } else { one });
            [if sat { saturated(result, ONE32, F32.sign()) } else { result.unwrap_or(NAN32) }]
        });
    }
}

fn check_f64(operation: &str, rounding: &str, to: To, random: usize) {
    let sources = sources_of(operation);
    let inputs = numbers(F64, Type::F64, sources, random);
    let text = format!("{operation}{rounding}.f64 {}", registers("%fd", sources + 1));
    run_all(decode, &text, &vec![Type::F64; sources], &inputs, |x| {
        let nan = x.iter().find(|one| F64.is_nan(**one)).map_or(NAN64, |one| one | 1 << 51);
        [arithmetic(operation, F64, x, to).unwrap_or(nan)]
    });
}

#[test]
fn f32_arithmetic_is_correctly_rounded_in_all_directions() {
    for operation in ["add", "sub", "mul", "fma", "mad", "div", "rcp", "sqrt"] {
        for (name, to) in MODES {
            check_f32(operation, &format!(".{name}"), to, 100_000);
        }
    }
    for operation in ["add", "sub", "mul"] {
        check_f32(operation, "", To::Even, 100_000);
    }
}

#[test]
fn f64_arithmetic_is_correctly_rounded_in_all_directions() {
    for operation in ["add", "sub", "mul", "fma", "mad", "div", "rcp", "sqrt"] {
        for (name, to) in MODES {
            check_f64(operation, &format!(".{name}"), to, 50_000);
        }
    }
    for operation in ["add", "sub", "mul"] {
        check_f64(operation, "", To::Even, 50_000);
    }
}

#[test]
fn a_source_may_be_the_destination() {
    run_all(
        decode,
        "fma.rp.f32 %f1, %f1, %f2, %f1",
        &[Type::F32; 3],
        &numbers(F32, Type::F32, 3, 1000),
        |x| {
            let result = F32.multiply_add(&F32.value(x[0]), &F32.value(x[1]), &F32.value(x[0]), To::Up);
            [result.unwrap_or(NAN32)]
        },
    );
    run_all(decode, "sub.f64 %fd1, %fd2, %fd1", &[Type::F64; 2], &numbers(F64, Type::F64, 2, 1000), |x| {
        let nan = x.iter().find(|one| F64.is_nan(**one)).map_or(NAN64, |one| one | 1 << 51);
        [arithmetic("sub", F64, x, To::Even).unwrap_or(nan)]
    });
}

#[test]
fn constants_are_sources() {
    sweep(decode, "add.f32 %f1, %f2, 0f3F800000", &[Type::F32], 100, |x| {
        [arithmetic("add", F32, &[x[0], ONE32], To::Even).unwrap_or(NAN32)]
    });
    sweep(decode, "fma.rn.f64 %fd1, %fd2, 0d4000000000000000, 0dBFF0000000000000", &[Type::F64], 100, |x| {
        let all = [x[0], 2f64.to_bits(), (-1f64).to_bits()];
        let nan = if F64.is_nan(x[0]) { x[0] | 1 << 51 } else { NAN64 };
        [arithmetic("fma", F64, &all, To::Even).unwrap_or(nan)]
    });
}

#[test]
fn mixed_precision_widens_all_sources_but_the_last() {
    for (ty, half, name) in [(Type::F16, F16, "f16"), (Type::Bf16, BF16, "bf16")] {
        for (rounding, to) in MODES {
            for sat in [false, true] {
                let suffix = format!(".{rounding}{}.f32.{name}", if sat { ".sat" } else { "" });
                let finish = |result: Option<u64>| {
                    [if sat { saturated(result, ONE32, F32.sign()) } else { result.unwrap_or(NAN32) }]
                };
                let one = F32.value(ONE32);
                sweep(decode, &format!("add{suffix} %f1, %rs1, %f2"), &[ty, Type::F32], 3000, |x| {
                    finish(F32.multiply_add(&half.value(x[0]), &one, &F32.value(x[1]), to))
                });
                sweep(decode, &format!("sub{suffix} %f1, %rs1, %f2"), &[ty, Type::F32], 3000, |x| {
                    finish(F32.multiply_add(&half.value(x[0]), &one, &F32.value(x[1] ^ F32.sign()), to))
                });
                sweep(
                    decode,
                    &format!("fma{suffix} %f1, %rs1, %rs2, %f2"),
                    &[ty, ty, Type::F32],
                    3000,
                    |x| finish(F32.multiply_add(&half.value(x[0]), &half.value(x[1]), &F32.value(x[2]), to)),
                );
            }
        }
    }
}

/// The least or largest, by the ISA's definition. Zeros are compared by their signs.
pub(super) fn extreme(format: Format, max: bool, nan_wins: bool, a: u64, b: u64) -> Option<u64> {
    match (format.is_nan(a), format.is_nan(b)) {
        (true, true) => return None,
        (true, false) => return if nan_wins { None } else { Some(b) },
        (false, true) => return if nan_wins { None } else { Some(a) },
        _ => {}
    }
    // Sign and magnitude as a number, −0 just below +0.
    let order = |x: u64| match x & format.sign() {
        0 => i128::from(x),
        _ => -1 - i128::from(x & !format.sign()),
    };
    Some(if max == (order(a) >= order(b)) { a } else { b })
}

/// `min` or `max` with `.xorsign.abs`.
pub(super) fn extreme_of_magnitudes(
    format: Format,
    max: bool,
    nan_wins: bool,
    a: u64,
    b: u64,
) -> Option<u64> {
    let sign = format.sign();
    extreme(format, max, nan_wins, a & !sign, b & !sign).map(|magnitude| magnitude | (a ^ b) & sign)
}

#[test]
fn f32_min_and_max() {
    for (name, max) in [("min", false), ("max", true)] {
        for (ftz, nan) in [(false, false), (false, true), (true, false), (true, true)] {
            let modifiers = format!("{}{}", if ftz { ".ftz" } else { "" }, if nan { ".NaN" } else { "" });
            let flush = |x: u64| if ftz { F32.flush(x) } else { x };
            let text = format!("{name}{modifiers}.f32 %f1, %f2, %f3");
            sweep(decode, &text, &[Type::F32; 2], 20_000, |x| {
                [extreme(F32, max, nan, flush(x[0]), flush(x[1])).unwrap_or(NAN32)]
            });
            let text = format!("{name}{modifiers}.xorsign.abs.f32 %f1, %f2, %f3");
            sweep(decode, &text, &[Type::F32; 2], 20_000, |x| {
                [extreme_of_magnitudes(F32, max, nan, flush(x[0]), flush(x[1])).unwrap_or(NAN32)]
            });
            for abs in [false, true] {
                let text =
                    format!("{name}{modifiers}{}.f32 %f1, %f2, %f3, %f4", if abs { ".abs" } else { "" });
                sweep(decode, &text, &[Type::F32; 3], 20_000, |x| {
                    let x: Vec<u64> =
                        x.iter().map(|&x| flush(x) & if abs { !F32.sign() } else { u64::MAX }).collect();
                    let two = extreme(F32, max, nan, x[0], x[1]).unwrap_or(NAN32);
                    [extreme(F32, max, nan, two, x[2]).unwrap_or(NAN32)]
                });
            }
        }
    }
}

#[test]
fn f64_min_and_max() {
    for (name, max) in [("min", false), ("max", true)] {
        sweep(decode, &format!("{name}.f64 %fd1, %fd2, %fd3"), &[Type::F64; 2], 20_000, |x| {
            [extreme(F64, max, false, x[0], x[1]).unwrap_or(x[0] | 1 << 51)]
        });
    }
}

#[test]
fn signs() {
    for ftz in [false, true] {
        let suffix = if ftz { ".ftz.f32" } else { ".f32" };
        let flush = |x: u64| if ftz { F32.flush(x) } else { x };
        sweep(decode, &format!("neg{suffix} %f1, %f2"), &[Type::F32], 5000, |x| {
            [if F32.is_nan(x[0]) { NAN32 } else { flush(x[0]) ^ F32.sign() }]
        });
        sweep(decode, &format!("abs{suffix} %f1, %f2"), &[Type::F32], 5000, |x| {
            [if F32.is_nan(x[0]) { NAN32 } else { flush(x[0]) & !F32.sign() }]
        });
    }
    sweep(decode, "neg.f64 %fd1, %fd2", &[Type::F64], 5000, |x| [x[0] ^ 1 << 63]);
    sweep(decode, "abs.f64 %fd1, %fd2", &[Type::F64], 5000, |x| {
        [if F64.is_nan(x[0]) { x[0] } else { x[0] & !(1 << 63) }]
    });
    sweep(decode, "copysign.f32 %f1, %f2, %f3", &[Type::F32; 2], 5000, |x| {
        [u64::from(f32::from_bits(x[1] as u32).copysign(f32::from_bits(x[0] as u32)).to_bits())]
    });
    sweep(decode, "copysign.f64 %fd1, %fd2, %fd3", &[Type::F64; 2], 5000, |x| {
        [f64::from_bits(x[1]).copysign(f64::from_bits(x[0])).to_bits()]
    });
}

#[test]
fn properties() {
    type Holds = fn(Format, u64) -> bool;
    for (ty, format, register) in [("f32", F32, "%f1"), ("f64", F64, "%fd1")] {
        let checks: [(&str, Holds); 6] = [
            ("finite", |format, x| matches!(format.value(x), Value::Finite(..))),
            ("infinite", |format, x| matches!(format.value(x), Value::Infinite(_))),
            ("number", |format, x| !format.is_nan(x)),
            ("notanumber", |format, x| format.is_nan(x)),
            ("normal", |format, x| matches!(format.value(x), Value::Finite(..)) && !format.is_subnormal(x)),
            ("subnormal", |format, x| format.is_subnormal(x)),
        ];
        for (name, holds) in checks {
            let text = format!("testp.{name}.{ty} %p1, {register}");
            sweep(decode, &text, &[Type::parse(ty).expect("a type")], 2000, |x| [holds(format, x[0]).into()]);
        }
    }
}

#[test]
fn what_does_not_exist_is_refused_with_a_reason() {
    for (text, reason) in [
        ("add.rna.f32 %f1, %f2, %f3", "`.rna`"),
        ("add.relu.f32 %f1, %f2, %f3", "`.relu`"),
        ("add.ftz.f64 %fd1, %fd2, %fd3", "`.ftz`"),
        ("add.ftz.ftz.f32 %f1, %f2, %f3", "`.ftz`"),
        ("add.f32x2 %rd1, %rd2, %rd3", "sm_100"),
        ("fma.f32 %f1, %f2, %f3, %f4", "rounding modifier is missing"),
        ("fma.rn.f32 %f1, %f2, %f3", "4 operands"),
        ("mul.f32.f16 %f1, %rs1, %f2", "mixed precision"),
        ("div.f32 %f1, %f2, %f3", "rounding modifier is missing"),
        ("sqrt.f64 %fd1, %fd2", "rounding modifier is missing"),
        ("min.xorsign.f32 %f1, %f2, %f3", "go together"),
        ("max.abs.f32 %f1, %f2, %f3", "go together"),
        ("max.xorsign.abs.f32 %f1, %f2, %f3, %f4", "three sources"),
        ("min.NaN.f64 %fd1, %fd2, %fd3", "`.NaN`"),
        ("testp.f32 %p1, %f1", "property"),
        ("testp.finite.f32 %f1, %f2", "not a predicate"),
        ("copysign.ftz.f32 %f1, %f2, %f3", "`.ftz`"),
        ("add.f32 %f1, %f2, %rd1", "64 bits wide"),
        ("fma.rn.oob.f16 %rs1, %rs2, %rs3, %rs4", ".oob"),
        ("fma.rn.sat.relu.f16 %rs1, %rs2, %rs3, %rs4", "`.relu`"),
        ("add.rz.f16 %rs1, %rs2, %rs3", "nearest only"),
        ("add.sat.bf16 %rs1, %rs2, %rs3", "`.sat`"),
        ("fma.rn.ftz.bf16x2 %r1, %r2, %r3, %r4", "`.ftz`"),
        ("div.rn.f16 %rs1, %rs2, %rs3", "no such instruction"),
        ("ex2.f32 %f1, %f2", ".approx is missing"),
        ("ex2.approx.bf16 %rs1, %rs2", ".ftz is missing"),
        ("ex2.approx.ftz.f16 %rs1, %rs2", "`.ftz`"),
        ("tanh.approx.ftz.f32 %f1, %f2", "`.ftz`"),
        ("rcp.approx.f64 %fd1, %fd2", ".ftz is missing"),
        ("sin.approx.f64 %fd1, %fd2", "of this type"),
        ("add.approx.f32 %f1, %f2, %f3", "no such approximate"),
    ] {
        let given = refusal(decode, text);
        assert!(given.contains(reason), "{text}: {given}");
    }
}

#[test]
fn instructions_of_other_types_are_left_to_other_decoders() {
    let left: super::Decode = |decoder, instruction| match decode(decoder, instruction)? {
        None => Err("left".into()),
        found => Ok(found),
    };
    for text in [
        "add.s32 %r1, %r2, %r3",
        "sub.u64 %rd1, %rd2, %rd3",
        "mul.wide.u16 %r1, %rs1, %rs2",
        "mad.lo.s32 %r1, %r2, %r3, %r4",
        "div.u32 %r1, %r2, %r3",
        "abs.s64 %rd1, %rd2",
        "neg.s32 %r1, %r2",
        "min.s16x2 %r1, %r2, %r3",
        "max.u32 %r1, %r2, %r3",
        "mov.f32 %f1, %f2",
        "setp.lt.f32 %p1, %f1, %f2",
        "selp.f32 %f1, %f2, %f3, %p1",
    ] {
        assert_eq!(refusal(left, text), "left", "{text}");
    }
}

#[test]
fn instructions_are_counted_by_what_they_are() {
    use crate::report::InstructionClass::{Convert, Double, Float, Special};
    let class: super::Decode = |decoder, instruction| {
        let found = decode(decoder, instruction)?.expect("an instruction");
        Err(format!("{:?}", found.class))
    };
    for (text, expected) in [
        ("fma.rn.f32 %f1, %f2, %f3, %f4", Float),
        ("div.rn.f32 %f1, %f2, %f3", Float),
        ("testp.finite.f32 %p1, %f1", Float),
        ("max.bf16x2 %r1, %r2, %r3", Float),
        ("add.f64 %fd1, %fd2, %fd3", Double),
        ("sqrt.rn.f64 %fd1, %fd2", Double),
        ("rcp.rn.f32 %f1, %f2", Special),
        ("div.full.f32 %f1, %f2, %f3", Special),
        ("ex2.approx.f16x2 %r1, %r2", Special),
        ("rsqrt.approx.f64 %fd1, %fd2", Special),
        ("cvt.u32.u16 %r1, %rs1", Convert),
        ("cvt.pack.sat.u16.s32 %r1, %r2, %r3", Convert),
    ] {
        assert_eq!(refusal(class, text), format!("{expected:?}"), "{text}");
    }
}
