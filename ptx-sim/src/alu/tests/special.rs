//! Approximate functions: within the error that the ISA allows, with what it says of zeros, infinities and NaN.

use super::float::{NAN32, decode};
use super::oracle::{BF16, F16, F32, Format};
use super::{Case, Random, edges, sweep};
use crate::alu::decode_float;
use crate::program::{Decoded, Decoder, LANES, Reject};
use crate::ptx::ast::{Instruction, Type};

fn decode_perturbed(decoder: &mut Decoder<'_>, instruction: &Instruction) -> Result<Option<Decoded>, Reject> {
    decode_float(decoder, instruction, true)
}

/// Results of an instruction on many sources.
fn results(perturb: bool, text: &str, inputs: &[Vec<u64>]) -> Vec<u64> {
    let decode = if perturb { decode_perturbed } else { decode };
    let mut case = Case::new(decode, text).unwrap_or_else(|reason| panic!("{text}: refused: {reason}"));
    let names: Vec<&str> = text.split_once(' ').expect("operands").1.split(", ").collect();
    let mut results = Vec::new();
    for chunk in inputs.chunks(LANES) {
        for (at, name) in names[1..].iter().enumerate() {
            case.set(name, &std::array::from_fn(|lane| chunk[lane % chunk.len()][at]));
        }
        case.run(u32::MAX);
        results.extend_from_slice(&case.get(names[0])[..chunk.len()]);
    }
    results
}

fn f32_inputs(sources: usize) -> Vec<Vec<u64>> {
    let mut generator = Random(17);
    let edges = edges(Type::F32);
    let mut inputs: Vec<Vec<u64>> = Vec::new();
    for one in &edges {
        for other in &edges {
            inputs.push(vec![*one, *other]);
        }
    }
    for at in 0..100_000 {
        let (bits, other) = (generator.next(), generator.next());
        // A third of them near 1, where functions have their shape.
        let near = |bits: u64| bits & 0x807f_ffff | (115 + bits % 21) << 23;
        let near_too = |bits: u64| if at % 3 == 0 { near(bits & 0xffff_ffff) } else { bits & 0xffff_ffff };
        inputs.push(vec![near_too(bits), near_too(other)]);
    }
    inputs.iter().map(|one| one[..sources].to_vec()).collect()
}

fn f32_of(bits: u64) -> f64 {
    f32::from_bits(bits as u32).into()
}

/// The distance between the f32 numbers around a number.
fn ulp(exact: f64) -> f64 {
    let exponent = (exact.abs().to_bits() >> 52) as i32 - 1023;
    2f64.powi(exponent.max(-126) - 23)
}

/// A function, and the error it may have: an absolute one, of its sources and its exact result.
struct Checked {
    name: &'static str,
    sources: usize,
    exact: fn(f64, f64) -> f64,
    allowed: fn(f64, f64, f64) -> f64,
}

const FUNCTIONS: [Checked; 10] = [
    Checked { name: "rcp.approx", sources: 1, exact: |a, _| 1.0 / a, allowed: |_, _, exact| ulp(exact) },
    Checked {
        name: "sqrt.approx",
        sources: 1,
        exact: |a, _| a.sqrt(),
        allowed: |_, _, exact| exact.abs() * 2f64.powi(-23),
    },
    Checked {
        name: "rsqrt.approx",
        sources: 1,
        exact: |a, _| 1.0 / a.sqrt(),
        allowed: |_, _, exact| exact.abs() * 2f64.powf(-22.9),
    },
    Checked {
        name: "ex2.approx",
        sources: 1,
        exact: |a, _| a.exp2(),
        allowed: |_, _, exact| 2.0 * ulp(exact),
    },
    Checked {
        name: "lg2.approx",
        sources: 1,
        exact: |a, _| a.log2(),
        allowed: |a, _, exact| if a > 0.5 && a < 2.0 { 1.0 } else { exact.abs() } * 2f64.powi(-22),
    },
    Checked { name: "sin.approx", sources: 1, exact: |a, _| a.sin(), allowed: allowed_of_angle },
    Checked { name: "cos.approx", sources: 1, exact: |a, _| a.cos(), allowed: allowed_of_angle },
    Checked {
        name: "tanh.approx",
        sources: 1,
        exact: |a, _| a.tanh(),
        allowed: |_, _, exact| exact.abs() * 2f64.powi(-11),
    },
    Checked { name: "div.full", sources: 2, exact: |a, b| a / b, allowed: |_, _, exact| 2.0 * ulp(exact) },
    Checked {
        name: "div.approx",
        sources: 2,
        exact: |a, b| if b.abs() > 2f64.powi(126) { a * 0.0 * b.signum() } else { a / b },
        allowed: |_, _, exact| 2.0 * ulp(exact),
    },
];

fn allowed_of_angle(a: f64, _: f64, _: f64) -> f64 {
    match a.abs() / std::f64::consts::TAU {
        ..=1.0 => 2f64.powf(-20.5),
        ..=50.0 => 2f64.powf(-14.7),
        // No bound: that of a function which is rounded once.
        _ => 2f64.powi(-24),
    }
}

fn registers(prefix: &str, sources: usize) -> String {
    (1..=sources + 1).map(|at| format!("{prefix}{at}")).collect::<Vec<_>>().join(", ")
}

#[test]
fn f32_functions_keep_their_bounds_perturbed_or_not() {
    for function in &FUNCTIONS {
        let inputs = f32_inputs(function.sources);
        for ftz in [false, true] {
            if ftz && function.name.starts_with("tanh") {
                continue;
            }
            let suffix = if ftz { ".ftz.f32" } else { ".f32" };
            let text = format!("{}{suffix} {}", function.name, registers("%f", function.sources));
            let (plain, perturbed) = (results(false, &text, &inputs), results(true, &text, &inputs));
            assert_eq!(perturbed, results(true, &text, &inputs), "{text}: not repeatable");
            let mut changed = 0;
            for ((input, plain), perturbed) in inputs.iter().zip(plain).zip(perturbed) {
                let flush = |bits: u64| if ftz { F32.flush(bits) } else { bits };
                let (a, b) = (f32_of(flush(input[0])), input.get(1).map_or(1.0, |bits| f32_of(flush(*bits))));
                let exact = (function.exact)(a, b);
                let nearest = flush(u64::from((exact as f32).to_bits()));
                let special = |x: f64| x == 0.0 || !x.is_finite();
                if exact.is_nan() {
                    assert_eq!((plain, perturbed), (NAN32, NAN32), "{text}: {input:#x?}");
                } else if special(a) || special(b) || special(exact) || special(f32_of(nearest)) {
                    assert_eq!((plain, perturbed), (nearest, nearest), "{text}: {input:#x?}");
                } else {
                    // The allowed error, or half a unit where the bound is less; and what f64 itself may be off.
                    let allowed = (function.allowed)(a, b, exact).max(0.5 * ulp(exact)) * (1.0 + 1e-6);
                    let ftz_allowed = if ftz { f64::from(f32::MIN_POSITIVE) } else { 0.0 };
                    for result in [plain, perturbed] {
                        let error = (f32_of(result) - exact).abs();
                        let flushed = f32_of(result) == 0.0 && exact.abs() <= ftz_allowed;
                        assert!(
                            error <= allowed || flushed,
                            "{text}: {input:#x?}: {result:#x}, exactly {exact:e}"
                        );
                        assert!(!ftz || !F32.is_subnormal(result), "{text}: {input:#x?}: {result:#x}");
                    }
                    // Unperturbed, the nearest number but where f64 falls on the other side of a midpoint.
                    let off = (f32_of(plain) - exact).abs();
                    assert!(off <= 0.5001 * ulp(exact) || ftz, "{text}: {input:#x?}: {plain:#x}");
                    changed += usize::from(plain != perturbed);
                }
            }
            assert!(changed > inputs.len() / 50, "{text}: perturbed in {changed} cases");
        }
    }
}

#[test]
fn special_sources_have_the_results_of_the_tables() {
    let (inf, zero, one) = (0x7f80_0000u64, 0u64, 0x3f80_0000u64);
    let negative = |bits: u64| bits | 1 << 31;
    let nan = NAN32;
    // -Inf, -1, -0, +0, +Inf, NaN.
    let sources = [negative(inf), negative(one), negative(zero), zero, inf, 0x7fc0_1234];
    let rounded = |x: f64| u64::from((x as f32).to_bits());
    let tables: [(&str, [u64; 6]); 8] = [
        ("rcp", [negative(zero), negative(one), negative(inf), inf, zero, nan]),
        ("sqrt", [nan, nan, negative(zero), zero, inf, nan]),
        ("rsqrt", [nan, nan, negative(inf), inf, zero, nan]),
        ("lg2", [nan, nan, negative(inf), negative(inf), inf, nan]),
        ("ex2", [zero, 0x3f00_0000, one, one, inf, nan]),
        ("sin", [nan, rounded((-1f64).sin()), negative(zero), zero, nan, nan]),
        ("cos", [nan, rounded(1f64.cos()), one, one, nan, nan]),
        ("tanh", [negative(one), rounded((-1f64).tanh()), negative(zero), zero, one, nan]),
    ];
    let inputs: Vec<Vec<u64>> = sources.iter().map(|bits| vec![*bits]).collect();
    for (name, expected) in tables {
        for suffix in [".approx.f32", ".approx.ftz.f32"] {
            if name == "tanh" && suffix.contains("ftz") {
                continue;
            }
            let text = format!("{name}{suffix} %f1, %f2");
            assert_eq!(results(false, &text, &inputs), expected, "{text}");
            // 1 and -1 are ordinary sources.
            let mut perturbed = results(true, &text, &inputs);
            perturbed[1] = expected[1];
            assert_eq!(perturbed, expected, "{text}, perturbed");
        }
    }
    // A subnormal source: as it is, or as zero.
    let subnormal = vec![vec![0x40_0000], vec![0x8040_0000]];
    assert_eq!(results(false, "rsqrt.approx.ftz.f32 %f1, %f2", &subnormal), [inf, negative(inf)]);
    assert_eq!(results(false, "rsqrt.approx.f32 %f1, %f2", &subnormal), [0x5f35_04f3, nan]);
    assert_eq!(results(false, "rcp.approx.ftz.f32 %f1, %f2", &subnormal), [inf, negative(inf)]);
    assert_eq!(results(false, "rcp.approx.f32 %f1, %f2", &subnormal), [0x7f00_0000, 0xff00_0000]);
    assert_eq!(results(false, "lg2.approx.ftz.f32 %f1, %f2", &subnormal), [negative(inf), negative(inf)]);
    assert_eq!(results(false, "lg2.approx.f32 %f1, %f2", &subnormal), [u64::from((-127f32).to_bits()), nan]);
    // Divisors above 2^126.
    let divisions = [
        (inf, 0x7f00_0000, nan),
        (one, 0x7f00_0000, zero),
        (negative(one), 0x7f00_0000, negative(zero)),
        (one, 0xff00_0000, negative(zero)),
        (one, 0x7e80_0000, 0x80_0000),
    ];
    for (a, b, expected) in divisions {
        let given = results(false, "div.approx.f32 %f1, %f2, %f3", &[vec![a, b]]);
        assert_eq!(given, [expected], "{a:#x} / {b:#x}");
    }
}

/// A number of a 16-bit format.
fn half_of(format: Format, bits: u64) -> f64 {
    match format {
        F16 => half::f16::from_bits(bits as u16).to_f64(),
        _ => half::bf16::from_bits(bits as u16).to_f64(),
    }
}

#[test]
fn half_functions_keep_their_bounds_on_every_number() {
    type Exact = fn(f64) -> f64;
    type Allowed = fn(f64) -> f64;
    let functions: [(&str, &str, Format, Exact, Allowed); 4] = [
        ("ex2.approx", "f16", F16, f64::exp2, |exact| exact * 2f64.powf(-9.9)),
        ("ex2.approx.ftz", "bf16", BF16, f64::exp2, |exact| exact * 2f64.powi(-7)),
        ("tanh.approx", "f16", F16, f64::tanh, |_| 2f64.powf(-10.987)),
        ("tanh.approx", "bf16", BF16, f64::tanh, |_| 2f64.powi(-8)),
    ];
    let all: Vec<Vec<u64>> = (0..1 << 16).map(|bits| vec![bits]).collect();
    for (name, ty, format, exact, allowed) in functions {
        // A unit of the smallest numbers; with .ftz they are zero.
        let smallest =
            f64::from(if format == F16 { half::f16::from_bits(1).to_f32() } else { f32::MIN_POSITIVE });
        for perturb in [false, true] {
            let text = format!("{name}.{ty} %rs1, %rs2");
            let single = results(perturb, &text, &all);
            let mut changed = 0;
            for (source, result) in all.iter().zip(&single) {
                let flushed = if name.contains("ftz") { format.flush(source[0]) } else { source[0] };
                let (x, given) = (half_of(format, flushed), half_of(format, *result));
                let y = exact(x);
                if x.is_nan() {
                    assert_eq!(*result, 0x7fff, "{text}: {source:#x?}");
                } else if x == 0.0 || x.is_infinite() {
                    assert_eq!(given, y, "{text}: {source:#x?}");
                    assert_eq!(given.is_sign_negative(), y.is_sign_negative(), "{text}: {source:#x?}");
                } else if given.is_infinite() {
                    assert!(y >= if format == F16 { 65520.0 } else { 3.39e38 }, "{text}: {source:#x?}");
                } else {
                    assert!(
                        (given - y).abs() <= allowed(y).max(smallest),
                        "{text}: {source:#x?}: {given} {y}"
                    );
                }
                changed += usize::from((given - y).abs() > 0.6 * allowed(y));
            }
            assert!(!perturb || changed > 500, "{text}: perturbed in {changed} cases");
            // Pairs are the same, half by half.
            let pairs: Vec<Vec<u64>> = (0..1 << 16).map(|x| vec![x << 16 | (x ^ 0x5555)]).collect();
            let packed = results(perturb, &format!("{name}.{ty}x2 %r1, %r2"), &pairs);
            for (x, result) in packed.into_iter().enumerate() {
                assert_eq!(result, single[x] << 16 | single[x ^ 0x5555], "{text}: {x:#x}");
            }
        }
    }
}

#[test]
fn f64_functions() {
    let upper = |bits: u64| f64::from_bits(bits & !0 << 32);
    let flush = |x: f64| if x.abs() < f64::MIN_POSITIVE { 0f64.copysign(x) } else { x };
    let check = |text: &str, function: fn(f64) -> f64| {
        let mut generator = Random(23);
        let mut inputs: Vec<Vec<u64>> = edges(Type::F64).into_iter().map(|bits| vec![bits]).collect();
        inputs.extend((0..20_000).map(|_| vec![generator.next()]));
        for (input, result) in inputs.iter().zip(results(false, text, &inputs)) {
            let exact = flush(function(flush(upper(input[0]))));
            assert_eq!(result & 0xffff_ffff, 0, "{text}: {input:#x?}");
            let given = f64::from_bits(result);
            if exact.is_nan() {
                assert_eq!(result, 0x7fff_ffff << 32, "{text}: {input:#x?}");
            } else if exact == 0.0 || exact.is_infinite() {
                assert_eq!(given.to_bits(), exact.to_bits(), "{text}: {input:#x?}");
            } else {
                assert!((given / exact - 1.0).abs() < 2f64.powi(-20), "{text}: {input:#x?}: {given} {exact}");
            }
        }
    };
    check("rcp.approx.ftz.f64 %fd1, %fd2", |x| 1.0 / x);
    check("rsqrt.approx.ftz.f64 %fd1, %fd2", |x| 1.0 / x.sqrt());
    sweep(decode, "rsqrt.approx.f64 %fd1, %fd2", &[Type::F64], 5000, |x| {
        let result = 1.0 / f64::from_bits(x[0]).sqrt();
        [if result.is_nan() { 0xfff8 << 48 } else { result.to_bits() }]
    });
}

#[test]
fn a_destination_may_be_the_source() {
    sweep(decode, "rcp.approx.f32 %f1, %f1", &[Type::F32], 5000, |x| {
        let result = 1.0 / f32::from_bits(x[0] as u32);
        [if result.is_nan() { NAN32 } else { result.to_bits().into() }]
    });
}
