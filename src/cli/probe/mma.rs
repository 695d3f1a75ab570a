//! The forms of `mma.sync` that are probed, and text that executes one on words.

use std::fmt::Write as _;

use super::source::{ADA, AMPERE, Capability, HOPPER, vector};

/// The type of the elements of A, or of B.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Element {
    F16,
    Bf16,
    Tf32,
    E4m3,
    E5m2,
    F64,
    /// Integers of so many bits, those of one bit included; `signed`.
    Integer {
        bits: u32,
        signed: bool,
    },
}

pub const S8: Element = Element::Integer { bits: 8, signed: true };
pub const U8: Element = Element::Integer { bits: 8, signed: false };
pub const S4: Element = Element::Integer { bits: 4, signed: true };
pub const U4: Element = Element::Integer { bits: 4, signed: false };
pub const B1: Element = Element::Integer { bits: 1, signed: false };

impl Element {
    pub fn bits(self) -> u32 {
        match self {
            Element::F16 | Element::Bf16 => 16,
            Element::Tf32 => 32,
            Element::E4m3 | Element::E5m2 => 8,
            Element::F64 => 64,
            Element::Integer { bits, .. } => bits,
        }
    }

    /// Bits of exponent and fraction.
    fn format(self) -> Option<(u32, u32)> {
        Some(match self {
            Element::F16 => (5, 10),
            Element::Bf16 => (8, 7),
            // The lower 13 bits of the fraction do not count.
            Element::Tf32 => (8, 23),
            Element::E4m3 => (4, 3),
            Element::E5m2 => (5, 2),
            Element::F64 => (11, 52),
            Element::Integer { .. } => return None,
        })
    }

    /// The bits of a number that the type has.
    pub fn encode(self, value: f64) -> u64 {
        let Some((exponent_bits, fraction_bits)) = self.format() else {
            return value as i64 as u64 & (u64::MAX >> (64 - self.bits()));
        };
        if value == 0.0 {
            return 0;
        }
        let bias = (1 << (exponent_bits - 1)) - 1;
        let sign = u64::from(value < 0.0) << (exponent_bits + fraction_bits);
        let exponent = ((value.to_bits() >> 52 & 0x7FF) as i32 - 1023 + bias).max(1);
        // In units of the last bit of the fraction, the leading one included.
        let units = (value.abs() * f64::powi(2.0, fraction_bits as i32 - (exponent - bias))) as u64;
        sign | (((exponent as u64 - 1) << fraction_bits) + units)
    }

    /// The largest of the numbers 0, 1, 2, … of which all are exact.
    pub fn largest_integer(self) -> u64 {
        match self {
            Element::F16 | Element::Tf32 | Element::F64 => 1023,
            Element::Bf16 => 255,
            Element::E4m3 => 15,
            Element::E5m2 => 7,
            Element::Integer { bits, signed } => (1 << (bits - u32::from(signed))) - 1,
        }
    }
}

/// A form: what it needs, modifiers, elements of A and B, 32-bit words of A, B, C and D that a lane holds.
#[derive(Clone, Copy)]
pub struct Form {
    pub needs: Capability,
    pub modifiers: &'static str,
    pub a: Element,
    pub b: Element,
    pub words: [usize; 4],
    /// D and C are f16 in pairs.
    pub half: bool,
}

const fn form(needs: Capability, modifiers: &'static str, a: Element, b: Element, words: [usize; 4]) -> Form {
    Form { needs, modifiers, a, b, words, half: false }
}

const fn half(needs: Capability, modifiers: &'static str, a: Element, b: Element, words: [usize; 4]) -> Form {
    Form { needs, modifiers, a, b, words, half: true }
}

use Element::{Bf16, E4m3, E5m2, F16, F64, Tf32};

/// Floating point below f64.
pub const FLOATS: &[Form] = &[
    half(AMPERE, "m16n8k8.row.col.f16.f16.f16.f16", F16, F16, [2, 1, 2, 2]),
    form(AMPERE, "m16n8k8.row.col.f32.f16.f16.f32", F16, F16, [2, 1, 4, 4]),
    half(AMPERE, "m16n8k16.row.col.f16.f16.f16.f16", F16, F16, [4, 2, 2, 2]),
    form(AMPERE, "m16n8k16.row.col.f32.f16.f16.f32", F16, F16, [4, 2, 4, 4]),
    form(AMPERE, "m16n8k8.row.col.f32.bf16.bf16.f32", Bf16, Bf16, [2, 1, 4, 4]),
    form(AMPERE, "m16n8k16.row.col.f32.bf16.bf16.f32", Bf16, Bf16, [4, 2, 4, 4]),
    form(AMPERE, "m16n8k4.row.col.f32.tf32.tf32.f32", Tf32, Tf32, [2, 1, 4, 4]),
    form(AMPERE, "m16n8k8.row.col.f32.tf32.tf32.f32", Tf32, Tf32, [4, 2, 4, 4]),
    form(ADA, "m16n8k16.row.col.f32.e4m3.e4m3.f32", E4m3, E4m3, [2, 1, 4, 4]),
    half(ADA, "m16n8k16.row.col.f16.e4m3.e4m3.f16", E4m3, E4m3, [2, 1, 2, 2]),
    form(ADA, "m16n8k32.row.col.f32.e4m3.e4m3.f32", E4m3, E4m3, [4, 2, 4, 4]),
    form(ADA, "m16n8k32.row.col.f32.e5m2.e5m2.f32", E5m2, E5m2, [4, 2, 4, 4]),
    form(ADA, "m16n8k32.row.col.f32.e4m3.e5m2.f32", E4m3, E5m2, [4, 2, 4, 4]),
    form(ADA, "m16n8k32.row.col.f32.e5m2.e4m3.f32", E5m2, E4m3, [4, 2, 4, 4]),
    half(ADA, "m16n8k32.row.col.f16.e4m3.e4m3.f16", E4m3, E4m3, [4, 2, 2, 2]),
    half(ADA, "m16n8k32.row.col.f16.e5m2.e5m2.f16", E5m2, E5m2, [4, 2, 2, 2]),
];

/// `m8n8k4` with f16, in all layouts; four multiplications in one.
pub const QUADS: &[Form] = &[
    half(AMPERE, "m8n8k4.row.col.f16.f16.f16.f16", F16, F16, [2, 2, 4, 4]),
    half(AMPERE, "m8n8k4.col.row.f16.f16.f16.f16", F16, F16, [2, 2, 4, 4]),
    form(AMPERE, "m8n8k4.row.row.f32.f16.f16.f32", F16, F16, [2, 2, 8, 8]),
    form(AMPERE, "m8n8k4.col.col.f32.f16.f16.f32", F16, F16, [2, 2, 8, 8]),
    form(AMPERE, "m8n8k4.row.col.f32.f16.f16.f32", F16, F16, [2, 2, 8, 8]),
    form(AMPERE, "m8n8k4.col.row.f32.f16.f16.f32", F16, F16, [2, 2, 8, 8]),
];

pub const DOUBLES: &[Form] = &[
    form(AMPERE, "m8n8k4.row.col.f64.f64.f64.f64", F64, F64, [2, 2, 4, 4]),
    form(AMPERE, "m8n8k4.row.col.rz.f64.f64.f64.f64", F64, F64, [2, 2, 4, 4]),
    form(AMPERE, "m8n8k4.row.col.rm.f64.f64.f64.f64", F64, F64, [2, 2, 4, 4]),
    form(AMPERE, "m8n8k4.row.col.rp.f64.f64.f64.f64", F64, F64, [2, 2, 4, 4]),
    form(HOPPER, "m16n8k4.row.col.f64.f64.f64.f64", F64, F64, [4, 2, 8, 8]),
    form(HOPPER, "m16n8k8.row.col.f64.f64.f64.f64", F64, F64, [8, 4, 8, 8]),
    form(HOPPER, "m16n8k16.row.col.f64.f64.f64.f64", F64, F64, [16, 8, 8, 8]),
];

pub const INTEGERS: &[Form] = &[
    form(AMPERE, "m8n8k16.row.col.s32.s8.u8.s32", S8, U8, [1, 1, 2, 2]),
    form(AMPERE, "m16n8k16.row.col.s32.u8.s8.s32", U8, S8, [2, 1, 4, 4]),
    form(AMPERE, "m16n8k32.row.col.s32.s8.s8.s32", S8, S8, [4, 2, 4, 4]),
    form(AMPERE, "m16n8k32.row.col.s32.u8.u8.s32", U8, U8, [4, 2, 4, 4]),
    form(AMPERE, "m16n8k32.row.col.satfinite.s32.s8.s8.s32", S8, S8, [4, 2, 4, 4]),
    form(AMPERE, "m8n8k32.row.col.s32.s4.u4.s32", S4, U4, [1, 1, 2, 2]),
    form(AMPERE, "m16n8k32.row.col.s32.u4.s4.s32", U4, S4, [2, 1, 4, 4]),
    form(AMPERE, "m16n8k64.row.col.s32.s4.s4.s32", S4, S4, [4, 2, 4, 4]),
    form(AMPERE, "m16n8k64.row.col.satfinite.s32.u4.u4.s32", U4, U4, [4, 2, 4, 4]),
    form(AMPERE, "m8n8k128.row.col.s32.b1.b1.s32.xor.popc", B1, B1, [1, 1, 2, 2]),
    form(AMPERE, "m16n8k128.row.col.s32.b1.b1.s32.and.popc", B1, B1, [2, 1, 4, 4]),
    form(AMPERE, "m16n8k256.row.col.s32.b1.b1.s32.xor.popc", B1, B1, [4, 2, 4, 4]),
    form(AMPERE, "m16n8k256.row.col.s32.b1.b1.s32.and.popc", B1, B1, [4, 2, 4, 4]),
];

impl Form {
    /// The instruction on A, B and C in the `%w` registers from these on, D from the last on.
    pub fn execute(&self, [a, b, c, d]: [usize; 4]) -> String {
        let modifiers = self.modifiers;
        let [words_a, words_b, words_c, words_d] = self.words;
        if self.a != Element::F64 {
            let [a, b, c, d] = [(a, words_a), (b, words_b), (c, words_c), (d, words_d)]
                .map(|(first, count)| vector("%w", first, count));
            return format!("mma.sync.aligned.{modifiers} {d}, {a}, {b}, {c};\n");
        }
        let (mut text, mut next) = (String::new(), 0);
        let mut operand = |first: usize, words: usize, text: &mut String| {
            for i in 0..words / 2 {
                // Writing to a string does not fail.
                let _ = writeln!(
                    text,
                    "mov.b64 %l{}, {{%w{}, %w{}}};",
                    next + i,
                    first + 2 * i,
                    first + 2 * i + 1
                );
            }
            next += words / 2;
            vector("%l", next - words / 2, words / 2)
        };
        let a = operand(a, words_a, &mut text);
        let b = operand(b, words_b, &mut text);
        // D takes the place of C.
        let first = (words_a + words_b) / 2;
        let c = operand(c, words_c, &mut text);
        let _ = writeln!(text, "mma.sync.aligned.{modifiers} {c}, {a}, {b}, {c};");
        for i in 0..words_d / 2 {
            let _ = writeln!(text, "mov.b64 {{%w{}, %w{}}}, %l{};", d + 2 * i, d + 2 * i + 1, first + i);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};

    use super::*;

    #[test]
    fn numbers_are_encoded() {
        for exponent in -14..15 {
            for fraction in [1.0, -1.5, 1.75] {
                let value = fraction * f64::powi(2.0, exponent);
                assert_eq!(F16.encode(value), u64::from(f16::from_f64(value).to_bits()));
                assert_eq!(Bf16.encode(value), u64::from(bf16::from_f64(value).to_bits()));
                assert_eq!(Tf32.encode(value), u64::from((value as f32).to_bits()));
                assert_eq!(F64.encode(value), value.to_bits());
            }
        }
        assert_eq!(F16.encode(f64::powi(2.0, -24)), 1);
        assert_eq!([1.0, 15.0, f64::powi(2.0, -9), -448.0].map(|x| E4m3.encode(x)), [0x38, 0x57, 1, 0xFE]);
        assert_eq!([1.0, 7.0, f64::powi(2.0, -16), -57344.0].map(|x| E5m2.encode(x)), [0x3C, 0x47, 1, 0xFB]);
        assert_eq!([(S8, -1.0), (U4, 15.0), (B1, 1.0)].map(|(ty, x)| ty.encode(x)), [0xFF, 15, 1]);
    }
}
