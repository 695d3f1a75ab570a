//! Conversions to and from 16-bit, tf32 and 8-bit floats: every number, or every number and midpoint.

use super::convert::{NAN16, boundaries};
use super::float::{NAN32, decode};
use super::oracle::{BF16, F16, F32, Format, MODES, TF32, To};
use super::{Random, edges, run_all};
use crate::ptx::ast::Type;

#[test]
fn half_precision_agrees_with_another_implementation() {
    let all: Vec<Vec<u64>> = (0..1 << 16).map(|bits| vec![bits]).collect();
    run_all(decode, "cvt.f32.f16 %f1, %rs1", &[Type::F16], &all, |x| {
        let half = half::f16::from_bits(x[0] as u16);
        [if half.is_nan() { NAN32 } else { half.to_f32().to_bits().into() }]
    });
    run_all(decode, "cvt.f32.bf16 %f1, %rs1", &[Type::Bf16], &all, |x| [x[0] << 16]);
    let inputs = boundaries(Type::F32, F32);
    run_all(decode, "cvt.rn.f16.f32 %rs1, %f1", &[Type::F32], &inputs, |x| {
        let x = f32::from_bits(x[0] as u32);
        [if x.is_nan() { NAN16 } else { half::f16::from_f32(x).to_bits().into() }]
    });
    run_all(decode, "cvt.rn.bf16.f32 %rs1, %f1", &[Type::F32], &inputs, |x| {
        let x = f32::from_bits(x[0] as u32);
        [if x.is_nan() { NAN16 } else { half::bf16::from_f32(x).to_bits().into() }]
    });
}

/// `.relu` and `.satfinite` of a result.
fn limited(format: Format, result: Option<u64>, relu: bool, satfinite: bool, nan: u64) -> u64 {
    let Some(bits) = result else { return nan };
    let negative = bits & format.sign() != 0;
    match bits & !format.sign() {
        _ if relu && negative => 0,
        magnitude if satfinite && magnitude == format.infinity() => bits - 1,
        _ => bits,
    }
}

const LIMITS: [(&str, bool, bool); 4] = [
    ("", false, false),
    (".relu", true, false),
    (".satfinite", false, true),
    (".relu.satfinite", true, true),
];

#[test]
fn f32_becomes_halves_with_limits_and_in_pairs() {
    let inputs = boundaries(Type::F32, F32);
    let mut generator = Random(9);
    let pairs: Vec<Vec<u64>> =
        inputs.iter().map(|one| vec![one[0], inputs[generator.next() as usize % inputs.len()][0]]).collect();
    for (name, format) in [("f16", F16), ("bf16", BF16)] {
        for (rounding, direction) in &MODES[..2] {
            for (modifier, relu, satfinite) in LIMITS {
                let convert =
                    |x: u64| limited(format, format.of(&F32.value(x), *direction), relu, satfinite, NAN16);
                let text = format!("cvt.{rounding}{modifier}.{name}.f32 %rs1, %f1");
                run_all(decode, &text, &[Type::F32], &inputs, |x| [convert(x[0])]);
                let text = format!("cvt.{rounding}{modifier}.{name}x2.f32 %r1, %f1, %f2");
                run_all(decode, &text, &[Type::F32; 2], &pairs, |x| [convert(x[0]) << 16 | convert(x[1])]);
            }
        }
    }
}

#[test]
fn f32_becomes_tf32() {
    let mut inputs = boundaries(Type::F32, F32);
    let mut generator = Random(13);
    // Around every midpoint of the last bits, in random places.
    inputs.extend((0..20_000).map(|_| {
        let base = (generator.next() as u32) & !0x1fff | 0x1000;
        vec![u64::from(base.wrapping_add(generator.next() as u32 % 3).wrapping_sub(1))]
    }));
    for (rounding, direction) in [("rna", To::Away), ("rn", To::Even), ("rz", To::Zero)] {
        for (modifier, relu, satfinite) in LIMITS {
            if rounding == "rna" && relu {
                continue;
            }
            let text = format!("cvt.{rounding}{modifier}.tf32.f32 %r1, %f1");
            run_all(decode, &text, &[Type::F32], &inputs, |x| {
                let result = TF32.of(&F32.value(x[0]), direction);
                let bits = limited(TF32, result, relu, satfinite, 0);
                [if result.is_none() { NAN32 } else { bits << 13 }]
            });
        }
    }
}

/// The value of an 8-bit float; `None` for NaN.
fn fp8_value(fraction: u32, code: u32) -> Option<f64> {
    let bias = (1 << (6 - fraction)) - 1;
    let (field, rest) = ((code & 0x7f) >> fraction, code & ((1 << fraction) - 1));
    if (fraction == 3 && code & 0x7f == 0x7f) || (fraction == 2 && code & 0x7f > 0x7c) {
        return None;
    }
    let magnitude = match field {
        0 => f64::from(rest) / f64::from(1 << fraction) * 2f64.powi(1 - bias),
        31 if fraction == 2 => f64::INFINITY,
        _ => (1.0 + f64::from(rest) / f64::from(1 << fraction)) * 2f64.powi(field as i32 - bias),
    };
    Some(if code & 0x80 != 0 { -magnitude } else { magnitude })
}

/// The 8-bit float nearest to x, found by looking at all of them.
fn fp8_nearest(fraction: u32, x: f64, relu: bool) -> u64 {
    if x.is_nan() {
        return 0x7f;
    }
    let negative = x.is_sign_negative();
    if relu && negative {
        return 0;
    }
    let finite = |code: &u32| fp8_value(fraction, *code).is_some_and(f64::is_finite);
    let largest = (0..0x80).filter(finite).max().expect("a number");
    let magnitude = x.abs().min(fp8_value(fraction, largest).expect("a number"));
    let distance = |code: u32| (fp8_value(fraction, code).expect("a number") - magnitude).abs();
    let nearest = (0..=largest)
        .filter(finite)
        .reduce(|best, code| {
            let closer = distance(code) < distance(best) || distance(code) == distance(best) && code % 2 == 0;
            if closer { code } else { best }
        })
        .expect("a number");
    u64::from(nearest) | if negative { 0x80 } else { 0 }
}

#[test]
fn eight_bit_floats() {
    for (name, fraction) in [("e4m3x2", 3), ("e5m2x2", 2)] {
        // All pairs of bytes.
        let all: Vec<Vec<u64>> = (0..1 << 16).map(|bits| vec![bits]).collect();
        for relu in [false, true] {
            let modifier = if relu { ".relu" } else { "" };
            let half = |code: u64| match fp8_value(fraction, code as u32) {
                None => NAN16,
                Some(x) if relu && x.is_sign_negative() => 0,
                Some(x) => half::f16::from_f64(x).to_bits().into(),
            };
            let text = format!("cvt.rn{modifier}.f16x2.{name} %r1, %rs1");
            run_all(decode, &text, &[Type::B16], &all, |x| [half(x[0] >> 8) << 16 | half(x[0] & 0xff)]);

            let halves: Vec<Vec<u64>> =
                (0..1 << 16).map(|x| vec![x << 16 | ((x * 40_503) & 0xffff)]).collect();
            let text = format!("cvt.rn.satfinite{modifier}.{name}.f16x2 %rs1, %r1");
            run_all(decode, &text, &[Type::F16x2], &halves, |x| {
                let byte =
                    |bits: u64| fp8_nearest(fraction, half::f16::from_bits(bits as u16).to_f64(), relu);
                [byte(x[0] >> 16) << 8 | byte(x[0] & 0xffff)]
            });
        }
        let mut inputs: Vec<u64> = edges(Type::F32);
        for code in 0..0x100 {
            let (Some(low), Some(high)) = (fp8_value(fraction, code), fp8_value(fraction, code + 1)) else {
                continue;
            };
            for exact in [low, (low + high) / 2.0, high, high * 1.0625] {
                let bits = u64::from((exact as f32).to_bits());
                inputs.extend([bits.saturating_sub(1), bits, bits + 1]);
            }
        }
        let mut generator = Random(21);
        inputs.extend((0..20_000).map(|_| generator.next() & 0xffff_ffff));
        // Exponents that such formats have.
        inputs.extend((0..20_000).map(|_| {
            let bits = generator.next();
            (bits & 1) << 31 | (105 + (bits >> 1) % 45) << 23 | bits >> 40 & 0x7f_ffff
        }));
        let pairs: Vec<Vec<u64>> =
            inputs.iter().enumerate().map(|(at, one)| vec![*one, inputs[at * 7 % inputs.len()]]).collect();
        for (modifier, relu) in [("", false), (".relu", true)] {
            let text = format!("cvt.rn.satfinite{modifier}.{name}.f32 %rs1, %f1, %f2");
            run_all(decode, &text, &[Type::F32; 2], &pairs, |x| {
                let byte = |bits: u64| fp8_nearest(fraction, f32::from_bits(bits as u32).into(), relu);
                [byte(x[0]) << 8 | byte(x[1])]
            });
        }
    }
}
