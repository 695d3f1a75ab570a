//! E4M3FN, the 8-bit float of weights, activations and KV caches ("FP8 Formats for Deep Learning", Micikevicius et al.
//! 2022): bias 7, largest 448, smallest normal 2^-6, smallest subnormal 2^-9, NaN 0x7F and 0xFF, no infinity.

/// The largest value.
pub const MAX: f32 = 448.0;

/// The code of NaN that [`encode`] gives.
pub const NAN: u8 = 0x7F;

/// The value of each code.
const VALUES: [f32; 256] = {
    let mut values = [0.0; 256];
    let mut code = 0;
    while code < 256 {
        values[code] = value_of(code as u8);
        code += 1;
    }
    values
};

const fn value_of(code: u8) -> f32 {
    let (exponent, mantissa) = ((code >> 3) & 15, code & 7);
    let magnitude = match (exponent, mantissa) {
        (15, 7) => f32::NAN,
        (0, m) => m as f32 / 512.0,
        (e, m) => f32::from_bits(((e as u32 + 120) << 23) | ((m as u32) << 20)),
    };
    if code & 0x80 == 0 { magnitude } else { -magnitude }
}

/// The value of `code`.
#[inline]
pub fn decode(code: u8) -> f32 {
    VALUES[code as usize]
}

/// The code nearest to `x`, ties to the even code. Beyond ±448 and for infinities it saturates; NaN gives [`NAN`], as the
/// GPU's `cvt.rn.satfinite.e4m3x2.f32` does.
#[inline]
pub fn encode(x: f32) -> u8 {
    /// Adding this leaves a multiple of 2^-9, the spacing of the subnormals, rounded to nearest even, in the low bits.
    const ALIGN: f32 = 16384.0;
    if x.is_nan() {
        return NAN;
    }
    let magnitude = x.abs().min(MAX);
    let code = if magnitude < 1.0 / 64.0 {
        (magnitude + ALIGN).to_bits() - ALIGN.to_bits()
    } else {
        // Half a unit of the last kept bit, less one where that bit is even: a carry runs into the exponent as it should.
        let bits = magnitude.to_bits();
        ((bits + 0x7_FFFF + ((bits >> 20) & 1)) >> 20) - (120 << 3)
    };
    code as u8 | if x.is_sign_negative() { 0x80 } else { 0 }
}

/// The scale of values whose largest magnitude is `absmax`: `absmax / 448`, or 1 where that is zero.
#[inline]
pub fn scale(absmax: f32) -> f32 {
    let scale = absmax / MAX;
    if scale > 0.0 { scale } else { 1.0 }
}

/// Quantises `values` into `codes` and returns their scale: `code = encode(value / scale)`, with the division in f32.
/// A NaN becomes a NaN code and leaves the others alone; with an infinity the scale is infinite and every product
/// `code * scale` is NaN.
pub(crate) fn quantize(values: &[f32], codes: &mut [u8]) -> f32 {
    debug_assert_eq!(values.len(), codes.len());
    // `f32::max` drops NaN.
    let scale = scale(values.iter().fold(0.0, |max: f32, x| max.max(x.abs())));
    for (code, x) in codes.iter_mut().zip(values) {
        *code = encode(x / scale);
    }
    scale
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};

    use super::*;

    /// The nearest code by search, in f64, where all middles are exact.
    fn nearest(x: f32) -> u8 {
        if x.is_nan() {
            return NAN;
        }
        let magnitude = f64::from(x.abs());
        // The magnitudes rise with their codes, 0x7E is the last.
        let above = (0..=0x7Eu8).find(|&code| f64::from(decode(code)) >= magnitude).unwrap_or(0x7E);
        let below = above.saturating_sub(1);
        let (to_above, to_below) =
            (f64::from(decode(above)) - magnitude, magnitude - f64::from(decode(below)));
        let below_wins = to_below < to_above || (to_below == to_above && below % 2 == 0);
        (if below_wins && magnitude < f64::from(MAX) { below } else { above })
            | (u8::from(x.is_sign_negative()) << 7)
    }

    #[test]
    fn values_are_those_of_the_format() {
        let value = |code: u8| {
            let (sign, exponent, mantissa) = (code >> 7, i32::from(code >> 3 & 15), f64::from(code & 7));
            let magnitude = match exponent {
                0 => mantissa / 8.0 * 2f64.powi(-6),
                _ => (1.0 + mantissa / 8.0) * 2f64.powi(exponent - 7),
            };
            if sign == 1 { -magnitude } else { magnitude }
        };
        for code in 0..=u8::MAX {
            if code & 0x7F == NAN {
                assert!(decode(code).is_nan());
                assert_eq!(encode(decode(code)), NAN);
            } else {
                assert_eq!(f64::from(decode(code)).to_bits(), value(code).to_bits(), "{code:#04x}");
                assert_eq!(encode(decode(code)), code);
            }
        }
        assert_eq!([decode(0x7E), decode(0x08), decode(0x01)], [448.0, 1.0 / 64.0, 1.0 / 512.0]);
    }

    #[test]
    fn every_16_bit_number_goes_to_the_nearest_code() {
        for bits in 0..=u16::MAX {
            for x in [f16::from_bits(bits).to_f32(), bf16::from_bits(bits).to_f32()] {
                assert_eq!(encode(x), nearest(x), "{x:e}");
            }
        }
    }

    #[test]
    fn single_precision_goes_to_the_nearest_code() {
        // All exponents, and both neighbours of every middle between two codes.
        for x in (0..=u32::MAX).step_by(10_007).map(f32::from_bits) {
            assert_eq!(encode(x), nearest(x), "{x:e}");
        }
        for code in 0..0x7E {
            let middle = (decode(code) + decode(code + 1)) / 2.0;
            let even = code + code % 2;
            assert_eq!([middle.next_down(), middle, middle.next_up()].map(encode), [code, even, code + 1]);
        }
    }

    #[test]
    fn what_is_too_large_saturates() {
        assert_eq!([464.0, 1e30, f32::INFINITY].map(encode), [0x7E; 3]);
        assert_eq!([-464.0, -1e30, f32::NEG_INFINITY].map(encode), [0xFE; 3]);
    }

    #[test]
    fn scales_map_the_largest_value_to_the_largest_code() {
        let mut codes = [0; 4];
        assert_eq!(quantize(&[1.0, -2.0, 0.5, 0.0], &mut codes), 2.0 / 448.0);
        assert_eq!(codes, [224.0, -448.0, 112.0, 0.0].map(encode));
        assert_eq!(quantize(&[0.0, -0.0], &mut codes[..2]), 1.0);
        assert_eq!(codes[..2], [0, 0x80]);
        // So small that the scale would be 0: nothing is divided by it.
        assert_eq!(quantize(&[1e-44, 0.0], &mut codes[..2]), 1.0);
        assert_eq!(codes[..2], [0, 0]);
    }

    #[test]
    fn what_is_not_finite_stays_so() {
        let mut codes = [0; 3];
        assert_eq!(quantize(&[f32::NAN, 448.0, -1.0], &mut codes), 1.0);
        assert_eq!(codes, [NAN, 0x7E, encode(-1.0)]);
        let scale = quantize(&[f32::INFINITY, 1.0, -1.0], &mut codes);
        assert!(codes.iter().all(|&code| (decode(code) * scale).is_nan()));
    }
}
