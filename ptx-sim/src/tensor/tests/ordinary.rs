//! The forms that are made of ordinary arithmetic, f64 and `m8n8k4` of f16: the order of operations, and rounding.

use super::{LANES, Random, Register, execute};
use crate::config::{ComputeCapability, TensorMode};

const HOW: (ComputeCapability, TensorMode) = (ComputeCapability::Sm90, TensorMode::BitAccurate);

/// A number around 1 with all bits in use.
fn uneven(random: &mut Random) -> f64 {
    let bits = random.next();
    f64::from_bits(bits >> 12 | (1021 + bits % 5) << 52 | bits << 63)
}

#[test]
fn f64_is_a_chain_in_the_order_of_k() {
    let mut random = Random(6);
    let mut order_matters = 0;
    for _ in 0..20 {
        let mut registers = |count: usize| -> Vec<Register> {
            (0..count).map(|_| std::array::from_fn(|_| uneven(&mut random).to_bits())).collect()
        };
        let (a, b, c) = (registers(8), registers(4), registers(4));
        let d = execute("m16n8k16.row.col.f64.f64.f64.f64", HOW, true, 4, [&a, &b, &c]);
        for lane in 0..LANES {
            for i in 0..4 {
                let (row, column) = (lane / 4 + 8 * (i / 2), lane % 4 * 2 + i % 2);
                // Elements of A, a pair of registers for 4 of k, and of B, a register for as many.
                let factors = (0..16).map(|k| {
                    let a = a[k / 4 * 2 + row / 8][row % 8 * 4 + k % 4];
                    (f64::from_bits(a), f64::from_bits(b[k / 4][column * 4 + k % 4]))
                });
                let start = f64::from_bits(c[i][lane]);
                let expected = factors.clone().fold(start, |sum, (a, b)| a.mul_add(b, sum));
                assert_eq!(f64::from_bits(d[i][lane]), expected);
                order_matters +=
                    usize::from(factors.rev().fold(start, |sum, (a, b)| a.mul_add(b, sum)) != expected);
            }
        }
    }
    assert!(order_matters > 100, "{order_matters}");
}

#[test]
fn f64_rounds_as_the_modifier_says() {
    let run = |rounding: &str| {
        let opcode = format!("m8n8k4.row.col.f64.f64.f64.f64{rounding}");
        let one = [[1.0_f64.to_bits(); LANES]];
        // Of 1, four times a number that is lost beside it.
        let small = [[f64::from_bits(1).to_bits(); LANES]];
        let d = execute(&opcode, HOW, true, 2, [&small, &one, &[one[0], one[0]]]);
        f64::from_bits(d[1][31])
    };
    assert_eq!(run(""), 1.0);
    assert_eq!(run(".rn"), 1.0);
    assert_eq!(run(".rz"), 1.0);
    assert_eq!(run(".rm"), 1.0);
    assert_eq!(run(".rp"), 1.0 + 4.0 * f64::EPSILON);
}

/// All elements of A, B and C the same along k: the bits of an element of D.
fn m8n8k4(types: (&str, &str), a: [f32; 4], b: [f32; 4], c: f32) -> u32 {
    let half = |value: f32| u64::from(half::f16::from_f32(value).to_bits());
    let pairs = |values: [f32; 4]| [0, 2].map(|k| [half(values[k]) | half(values[k + 1]) << 16; LANES]);
    let c = match types.1 {
        "f16" => vec![[half(c) | half(c) << 16; LANES]; 4],
        _ => vec![[c.to_bits().into(); LANES]; 8],
    };
    let opcode = format!("m8n8k4.row.col.{}.f16.f16.{}", types.0, types.1);
    let d_count = if types.0 == "f16" { 4 } else { 8 };
    let d = execute(&opcode, HOW, false, d_count, [&pairs(a), &pairs(b), &c]);
    assert!(d.iter().flatten().all(|value| *value == d[0][0]), "{opcode}");
    d[0][0] as u32 & if types.0 == "f16" { 0xffff } else { u32::MAX }
}

#[test]
fn m8n8k4_adds_the_products_before_c() {
    let into_f32 = |a, b, c| f32::from_bits(m8n8k4(("f32", "f32"), a, b, c));
    let tiny = 2.0_f32.powi(-24);
    // Four times half a unit of 1: lost one by one, not together.
    let quarter = [2.0_f32.powi(-12); 4];
    assert_eq!(into_f32(quarter, quarter, 1.0), 1.0 + 4.0 * tiny);
    // In the order of k: what comes before 2^30 is lost in it, what comes after its negative is not.
    let large = 2.0_f32.powi(15);
    assert_eq!(into_f32([tiny, large, -large, 0.0], [1.0, large, large, 0.0], 0.0), 0.0);
    assert_eq!(into_f32([large, -large, tiny, 0.0], [large, large, 1.0, 0.0], 0.0), tiny);
    assert_eq!(f32::from_bits(m8n8k4(("f32", "f16"), [1.0; 4], [0.5; 4], 3.0)), 5.0);
    assert_eq!(into_f32([f32::NAN; 4], [1.0; 4], 0.0).to_bits(), 0x7fff_ffff);
}

#[test]
fn m8n8k4_into_f16_adds_pairs_and_rounds_once() {
    let bits = |value: f32| u32::from(half::f16::from_f32(value).to_bits());
    let into_f16 = |a, b, c| m8n8k4(("f16", "f16"), a, b, c);
    // Half a unit of 1, and more than half.
    let (unit, half_unit) = (2.0_f32.powi(-10), 2.0_f32.powi(-11));
    assert_eq!(into_f16([half_unit, 0.0, 0.0, 0.0], [1.0; 4], 1.0), bits(1.0));
    assert_eq!(into_f16([half_unit, 0.0, 0.0, half_unit / 64.0], [1.0; 4], 1.0), bits(1.0 + unit));
    // C and the first pair are added first: with the second, which cancels, the small C is lost or kept.
    let large = 2.0_f32.powi(15);
    let small = 2.0_f32.powi(-8);
    assert_eq!(into_f16([large, 0.0, -large, 0.0], [large; 4], small), 0);
    assert_eq!(into_f16([large, -large, 0.0, 0.0], [large; 4], small), bits(small));
    assert_eq!(into_f16([1.0, 1.0, 1.0, f32::INFINITY], [1.0; 4], f32::NEG_INFINITY), 0x7fff);
}
