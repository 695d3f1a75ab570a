//! Elements decoded without branches, a row of them at a time.

/// A format of A or B as the fast arithmetic reads it.
pub(super) trait Decode: Copy {
    /// Bits of an element in its register.
    const BITS: usize;
    /// Fraction bits of a significand.
    const FRACTION: i32;
    /// The signed significand, an integer of `FRACTION` fraction bits, and the exponent. Without meaning where
    /// `is_special`.
    fn decode(bits: u32) -> (i32, i32);
    /// Infinity or NaN.
    fn is_special(bits: u32) -> bool;
    /// The value as f32, which holds all of them.
    fn to_f32(bits: u32) -> f32;
}

/// What a zero's exponent counts as.
const ZERO_EXPONENT: i32 = -126;

/// A format with infinities: `EXPONENT` and `FRACTION` bits, the sign above, and below `UNUSED` bits that are ignored.
#[derive(Clone, Copy)]
pub(super) struct Ieee<const EXPONENT: u32, const FRACTION: u32, const UNUSED: u32>;

pub(super) type F16 = Ieee<5, 10, 0>;
pub(super) type Bf16 = Ieee<8, 7, 0>;
pub(super) type Tf32 = Ieee<8, 10, 13>;
pub(super) type E5m2 = Ieee<5, 2, 0>;

#[inline(always)]
fn signed(magnitude: u32, negative: u32) -> i32 {
    let flip = (negative as i32).wrapping_neg();
    (magnitude as i32 ^ flip).wrapping_sub(flip)
}

impl<const EXPONENT: u32, const FRACTION: u32, const UNUSED: u32> Ieee<EXPONENT, FRACTION, UNUSED> {
    const LARGEST: u32 = (1 << EXPONENT) - 1;
    const BIAS: i32 = (1 << (EXPONENT - 1)) - 1;
}

impl<const EXPONENT: u32, const FRACTION: u32, const UNUSED: u32> Decode
    for Ieee<EXPONENT, FRACTION, UNUSED>
{
    const BITS: usize = (1 + EXPONENT + FRACTION + UNUSED) as usize;
    const FRACTION: i32 = FRACTION as i32;

    #[inline(always)]
    fn decode(bits: u32) -> (i32, i32) {
        let bits = bits >> UNUSED;
        let field = bits >> FRACTION & Self::LARGEST;
        let significand = bits & ((1 << FRACTION) - 1) | u32::from(field != 0) << FRACTION;
        let exponent = (field.max(1) as i32).wrapping_sub(Self::BIAS);
        let exponent = if significand == 0 { ZERO_EXPONENT } else { exponent };
        (signed(significand, bits >> (EXPONENT + FRACTION) & 1), exponent)
    }

    #[inline(always)]
    fn is_special(bits: u32) -> bool {
        bits >> (UNUSED + FRACTION) & Self::LARGEST == Self::LARGEST
    }

    #[inline(always)]
    fn to_f32(bits: u32) -> f32 {
        let bits = bits >> UNUSED;
        let sign = bits >> (EXPONENT + FRACTION) & 1;
        let magnitude = (bits & ((1 << (EXPONENT + FRACTION)) - 1)) << (23 - FRACTION);
        // The exponent's bias is corrected by a multiplication, which makes normal numbers of subnormal ones.
        let scale = f32::from_bits(((127 + 127 - Self::BIAS) as u32) << 23);
        let value = (f32::from_bits(magnitude) * scale).to_bits();
        let special = u32::from(magnitude >> 23 == Self::LARGEST) * 0x7f80_0000;
        f32::from_bits(value | special | sign << 31)
    }
}

#[inline(always)]
fn e4m3_to_f32(bits: u32) -> f32 {
    let magnitude = bits & 0x7f;
    let value = (f32::from_bits(magnitude << 20) * f32::from_bits((127 + 120) << 23)).to_bits();
    let nan = u32::from(magnitude == 0x7f) * 0x7fff_ffff;
    f32::from_bits(value | nan | (bits >> 7 & 1) << 31)
}

/// e4m3 with its own least exponent.
#[derive(Clone, Copy)]
pub(super) struct E4m3;

impl Decode for E4m3 {
    const BITS: usize = 8;
    const FRACTION: i32 = 3;

    #[inline(always)]
    fn decode(bits: u32) -> (i32, i32) {
        let field = bits >> 3 & 15;
        let significand = bits & 7 | u32::from(field != 0) << 3;
        let exponent = if significand == 0 { ZERO_EXPONENT } else { (field.max(1) as i32).wrapping_sub(7) };
        (signed(significand, bits >> 7 & 1), exponent)
    }

    #[inline(always)]
    fn is_special(bits: u32) -> bool {
        bits & 0x7f == 0x7f
    }

    #[inline(always)]
    fn to_f32(bits: u32) -> f32 {
        e4m3_to_f32(bits)
    }
}

/// e4m3 unpacked to f16, where its subnormals are normal.
#[derive(Clone, Copy)]
pub(super) struct UnpackedE4m3;

impl Decode for UnpackedE4m3 {
    const BITS: usize = 8;
    const FRACTION: i32 = 3;

    #[inline(always)]
    fn decode(bits: u32) -> (i32, i32) {
        let field = bits >> 3 & 15;
        let fraction = bits & 7;
        // Of a subnormal, how far its leading one is from where a normal number has it.
        let up = 1 + u32::from(fraction < 4) + u32::from(fraction < 2);
        let (significand, exponent) =
            if field != 0 { (fraction | 8, field as i32 - 7) } else { (fraction << up, -6 - up as i32) };
        let exponent = if significand == 0 { ZERO_EXPONENT } else { exponent };
        (signed(significand, bits >> 7 & 1), exponent)
    }

    #[inline(always)]
    fn is_special(bits: u32) -> bool {
        bits & 0x7f == 0x7f
    }

    #[inline(always)]
    fn to_f32(bits: u32) -> f32 {
        e4m3_to_f32(bits)
    }
}
