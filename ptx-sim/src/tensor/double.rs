//! f64 matrices: a chain of fused multiply-adds in the order of k.

use super::form::Rounding;

/// NaN as the f64 units give it.
const NAN: f64 = f64::from_bits(0xfff8_0000_0000_0000);

/// `a * b + c`, rounded once.
#[inline(always)]
pub(super) fn fused_multiply_add(a: f64, b: f64, c: f64, rounding: Rounding) -> f64 {
    let nearest = a.mul_add(b, c);
    if nearest.is_nan() {
        NAN
    } else if rounding == Rounding::Nearest || !(a.is_finite() && b.is_finite() && c.is_finite()) {
        nearest
    } else {
        directed(a, b, c, rounding)
    }
}

/// Significand with its leading one at bit 52, or 0, and the exponent of its last bit.
fn normalised(value: f64) -> (u64, i32) {
    let bits = value.to_bits();
    let field = (bits >> 52 & 0x7ff) as i32;
    let fraction = bits & ((1 << 52) - 1);
    let significand = if field == 0 { fraction } else { fraction | 1 << 52 };
    if significand == 0 {
        return (0, 0);
    }
    let up = significand.leading_zeros() - 11;
    (significand << up, field.max(1) - 1075 - up as i32)
}

/// Shifts right; the last bit is set where any that was lost was.
fn shift_sticky(value: u128, shift: i32) -> u128 {
    match shift {
        ..=0 => value,
        1..=127 => value >> shift | u128::from(value << (128 - shift) != 0),
        _ => u128::from(value != 0),
    }
}

/// `a * b + c` of finite numbers, rounded in one direction.
fn directed(a: f64, b: f64, c: f64, rounding: Rounding) -> f64 {
    let ((sa, ea), (sb, eb), (sc, ec)) = (normalised(a), normalised(b), normalised(c));
    let product_negative = a.is_sign_negative() != b.is_sign_negative();
    let product = u128::from(sa) * u128::from(sb);
    let addend = u128::from(sc);
    // Both on one unit. The product has 105 or 106 bits, C has 53: whichever is larger keeps room below, so that what
    // is cut off the other lies far below the result's last bit.
    let (product, addend, unit) = if product == 0 {
        (0, addend, ec)
    } else if addend == 0 {
        (product, 0, ea + eb)
    } else {
        let distance = ec - (ea + eb);
        if distance > 70 {
            (shift_sticky(product, distance - 70), addend << 70, ec - 70)
        } else if distance >= 0 {
            (product, addend << distance, ea + eb)
        } else if distance >= -20 {
            (product << -distance, addend, ec)
        } else {
            (product << 20, shift_sticky(addend, -distance - 20), ea + eb - 20)
        }
    };
    let signed = |magnitude: u128, negative| {
        if negative { -(magnitude as i128) } else { magnitude as i128 }
    };
    let sum = signed(product, product_negative) + signed(addend, c.is_sign_negative());
    if sum == 0 {
        let negative = if product_negative == c.is_sign_negative() {
            product_negative
        } else {
            rounding == Rounding::Down
        };
        return if negative { -0.0 } else { 0.0 };
    }
    let (negative, magnitude) = (sum < 0, sum.unsigned_abs());
    let last = (magnitude.ilog2() as i32 + unit - 52).max(-1074);
    let dropped = last - unit;
    let kept = if dropped <= 0 {
        magnitude << -dropped
    } else {
        let kept = magnitude.checked_shr(dropped as u32).unwrap_or(0);
        let exact = kept.checked_shl(dropped as u32).unwrap_or(0) == magnitude;
        let away = match rounding {
            Rounding::Up => !negative,
            Rounding::Down => negative,
            Rounding::Zero | Rounding::Nearest => false,
        };
        kept + u128::from(away && !exact)
    };
    const INFINITY: u64 = 0x7ff << 52;
    let bits = (((last + 1074) as u64) << 52) + kept as u64;
    let bits = if bits < INFINITY {
        bits
    } else if (rounding == Rounding::Up && !negative) || (rounding == Rounding::Down && negative) {
        INFINITY
    } else {
        INFINITY - 1
    };
    f64::from_bits(bits | u64::from(negative) << 63)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directed_rounding_brackets_the_exact_result() {
        // Of an inexact result the two directed roundings are neighbours, and the nearest is one of them.
        let mut state = 1_u64;
        let mut next = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            state ^ state >> 29
        };
        let mut inexact = 0;
        for round in 0..200_000 {
            let mut value = || {
                let bits = next();
                match round % 3 {
                    0 => f64::from_bits(bits),
                    1 => f64::from_bits(bits & 0x801f_ffff_ffff_ffff | (1000 + next() % 50) << 52),
                    _ => f64::from_bits(bits & 0x800f_ffff_ffff_ffff | (next() % 3 * 500) << 52),
                }
            };
            let (a, b, c) = (value(), value(), value());
            if !(a.is_finite() && b.is_finite() && c.is_finite()) {
                continue;
            }
            let nearest = a.mul_add(b, c);
            let [down, up, zero] = [Rounding::Down, Rounding::Up, Rounding::Zero]
                .map(|rounding| fused_multiply_add(a, b, c, rounding));
            assert!(down <= nearest && nearest <= up, "{a:e} {b:e} {c:e}: {down:e} {nearest:e} {up:e}");
            assert!(down == up || down.next_up() == up, "{a:e} {b:e} {c:e}: {down:e} {up:e}");
            let toward_zero = if up > 0.0 { down } else { up };
            assert!(zero == toward_zero, "{a:e} {b:e} {c:e}: {zero:e} of {down:e} {up:e}");
            inexact += usize::from(down != up);
            assert_eq!(fused_multiply_add(a, b, c, Rounding::Nearest).to_bits(), nearest.to_bits());
        }
        assert!(inexact > 50_000, "{inexact}");
    }

    #[test]
    fn the_edges_of_directed_rounding() {
        let fma = fused_multiply_add;
        let tiny = f64::from_bits(1);
        assert_eq!(fma(1.0, 1.0, tiny, Rounding::Up), 1.0_f64.next_up());
        assert_eq!(fma(1.0, 1.0, -tiny, Rounding::Zero), 1.0_f64.next_down());
        assert_eq!(fma(1.0, 1.0, -tiny, Rounding::Up), 1.0);
        assert_eq!(fma(tiny, 0.5, 0.0, Rounding::Up), tiny);
        assert_eq!(fma(tiny, -0.5, 0.0, Rounding::Up).to_bits(), (-0.0_f64).to_bits());
        assert_eq!(fma(f64::MAX, 2.0, 0.0, Rounding::Zero), f64::MAX);
        assert_eq!(fma(f64::MAX, 2.0, 0.0, Rounding::Up), f64::INFINITY);
        assert_eq!(fma(-f64::MAX, 2.0, 0.0, Rounding::Up), -f64::MAX);
        assert_eq!(fma(1.0, 1.0, -1.0, Rounding::Down).to_bits(), (-0.0_f64).to_bits());
        assert_eq!(fma(1.0, 1.0, -1.0, Rounding::Up).to_bits(), 0);
        assert_eq!(fma(f64::INFINITY, 0.0, 1.0, Rounding::Zero).to_bits(), NAN.to_bits());
        assert_eq!(fma(f64::INFINITY, 1.0, 1.0, Rounding::Down), f64::INFINITY);
    }
}
