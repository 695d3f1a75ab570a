//! `min` and `max` of f32 and of the formats within it: a number wins over NaN unless `.NaN` is given, and −0 is
//! less than +0.

use super::half_format::{F32_NAN, is_nan_f32};
use super::modifiers::flags;
use crate::program::LANES;

const SIGN: u32 = 1 << 31;

/// Orders numbers as signed integers.
#[inline(always)]
fn key(bits: u32) -> i32 {
    let bits = bits as i32;
    bits ^ ((bits >> 31) as u32 >> 1) as i32
}

#[inline(always)]
fn pick<const MAX: bool>(a: u32, b: u32, nan_wins: bool) -> u32 {
    let a_wins = if MAX { key(a) > key(b) } else { key(a) < key(b) };
    let number = if a_wins { a } else { b };
    let (a_nan, b_nan) = (is_nan_f32(a), is_nan_f32(b));
    let one = if a_nan { b } else { a };
    let picked = if a_nan | b_nan { one } else { number };
    if (a_nan & b_nan) | (nan_wins & (a_nan | b_nan)) { F32_NAN } else { picked }
}

/// Of two sources, and of a third one where the flags say so; they may be changed.
#[inline(always)]
pub(crate) fn min_max<const MAX: bool>(sources: &mut [[u32; LANES]; 3], flags: u32) -> [u32; LANES] {
    let [a, b, c] = sources;
    let nan_wins = flags & flags::NAN != 0;
    let sign = if flags & flags::XORSIGN != 0 { SIGN } else { 0 };
    let mut xor = [0; LANES];
    for lane in 0..LANES {
        xor[lane] = (a[lane] ^ b[lane]) & sign;
    }
    if flags & flags::ABS != 0 {
        for row in [&mut *a, &mut *b, &mut *c] {
            for one in row {
                *one &= !SIGN;
            }
        }
    }
    let mut result = [0; LANES];
    for lane in 0..LANES {
        result[lane] = pick::<MAX>(a[lane], b[lane], nan_wins);
    }
    if flags & flags::THREE != 0 {
        for lane in 0..LANES {
            result[lane] = pick::<MAX>(result[lane], c[lane], nan_wins);
        }
    }
    // Magnitudes have no sign that the product's could meet.
    for lane in 0..LANES {
        result[lane] = if is_nan_f32(result[lane]) { F32_NAN } else { result[lane] | xor[lane] };
    }
    result
}
