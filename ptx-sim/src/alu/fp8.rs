//! `cvt` between pairs of 8-bit floats and pairs of f16 or f32.

use std::marker::PhantomData;

use super::half::relu;
use super::half_format::{F16, HALF_NAN, f16_to_f32, f32_to_f16};
use super::modifiers::flags;
use super::{AluFn, LaneOp, compile, each};
use crate::program::{LANES, Lanes, Operands};
use crate::ptx::ast::Type;

/// An 8-bit format, in the low bits of a u32 that is otherwise zero.
trait Format: 'static {
    const FRACTION_BITS: u32;
    const BIAS: u32;
    const MAX: f32;
    fn to_f16(byte: u32) -> u32;
}

/// No infinities, and one NaN of each sign.
struct E4m3;
/// The upper half of an f16.
struct E5m2;

const NAN: u32 = 0x7f;

impl Format for E4m3 {
    const FRACTION_BITS: u32 = 3;
    const BIAS: u32 = 7;
    const MAX: f32 = 448.0;

    #[inline(always)]
    fn to_f16(byte: u32) -> u32 {
        // The bits as f16 bits are too small by the difference of the biases, 2^8.
        let half = f32_to_f16(f16_to_f32((byte & 0x7f) << 7) * 256.0) | (byte & 0x80) << 8;
        if byte & 0x7f == NAN { HALF_NAN } else { half }
    }
}

impl Format for E5m2 {
    const FRACTION_BITS: u32 = 2;
    const BIAS: u32 = 15;
    const MAX: f32 = 57344.0;

    #[inline(always)]
    fn to_f16(byte: u32) -> u32 {
        if byte & 0x7f > 0x7c { HALF_NAN } else { byte << 8 }
    }
}

/// To nearest, ties to even; what is beyond the largest number becomes that.
#[inline(always)]
fn from_f32<F: Format>(x: f32) -> u32 {
    let bits = x.to_bits();
    let magnitude = bits & !(1 << 31);
    let finite = magnitude.min(F::MAX.to_bits());
    let shift = 23 - F::FRACTION_BITS;
    let to_even = (1 << (shift - 1)) - 1 + (finite >> shift & 1);
    let normal = finite.wrapping_sub((127 - F::BIAS) << 23).wrapping_add(to_even) >> shift;
    // A number beside which the last bit of an f32 is worth as much as that of a subnormal number.
    let beside = f32::from_bits((127 + 1 + 23 - F::BIAS - F::FRACTION_BITS) << 23);
    let subnormal = (f32::from_bits(finite) + beside).to_bits().wrapping_sub(beside.to_bits());
    let byte = if finite < (128 - F::BIAS) << 23 { subnormal } else { normal };
    if magnitude > 0xff << 23 { NAN } else { byte | bits >> 24 & 0x80 }
}

#[inline(always)]
fn from_row<F: Format>(row: &[f32; LANES], flags: u32) -> [u32; LANES] {
    let mut bytes = each(row, from_f32::<F>);
    if flags & flags::RELU != 0 {
        bytes = each(&bytes, |byte| if byte & 0x80 != 0 { 0 } else { byte });
    }
    bytes
}

#[inline(always)]
fn write<const SHIFT: u32>(
    lanes: &mut Lanes,
    operands: &Operands,
    mask: u32,
    [upper, lower]: [[u32; LANES]; 2],
) {
    let mut result = [0; LANES];
    for lane in 0..LANES {
        result[lane] = upper[lane] << SHIFT | lower[lane];
    }
    lanes.set32(operands.dst[0], &result, mask);
}

/// From two f32, the first of which goes to the upper byte.
struct FromF32<F>(PhantomData<F>);

impl<F: Format> LaneOp for FromF32<F> {
    #[inline(always)]
    fn run(lanes: &mut Lanes, operands: &Operands, mask: u32) {
        let upper = each(&lanes.get32(operands.src[0]), f32::from_bits);
        let lower = each(&lanes.get32(operands.src[1]), f32::from_bits);
        let bytes = [from_row::<F>(&upper, operands.aux), from_row::<F>(&lower, operands.aux)];
        write::<8>(lanes, operands, mask, bytes);
    }
}

/// From a pair of f16.
struct FromF16<F>(PhantomData<F>);

impl<F: Format> LaneOp for FromF16<F> {
    #[inline(always)]
    fn run(lanes: &mut Lanes, operands: &Operands, mask: u32) {
        let row = lanes.get32(operands.src[0]);
        let upper = each(&row, |one| f16_to_f32(one >> 16));
        let lower = each(&row, |one| f16_to_f32(one & 0xffff));
        let bytes = [from_row::<F>(&upper, operands.aux), from_row::<F>(&lower, operands.aux)];
        write::<8>(lanes, operands, mask, bytes);
    }
}

/// To a pair of f16.
struct ToF16<F>(PhantomData<F>);

impl<F: Format> LaneOp for ToF16<F> {
    #[inline(always)]
    fn run(lanes: &mut Lanes, operands: &Operands, mask: u32) {
        let row = lanes.get32(operands.src[0]);
        let mut upper = each(&row, |one| F::to_f16(one >> 8 & 0xff));
        let mut lower = each(&row, |one| F::to_f16(one & 0xff));
        if operands.aux & flags::RELU != 0 {
            upper = each(&upper, relu::<F16>);
            lower = each(&lower, relu::<F16>);
        }
        write::<16>(lanes, operands, mask, [upper, lower]);
    }
}

/// The conversion between a pair of 8-bit floats and something else; `None` if there is none.
pub(super) fn conversion(destination: Type, source: Type) -> Option<AluFn> {
    use Type::{E4m3x2, E5m2x2, F16x2, F32};
    Some(match (destination, source) {
        (E4m3x2, F32) => compile::<FromF32<E4m3>>(),
        (E5m2x2, F32) => compile::<FromF32<E5m2>>(),
        (E4m3x2, F16x2) => compile::<FromF16<E4m3>>(),
        (E5m2x2, F16x2) => compile::<FromF16<E5m2>>(),
        (F16x2, E4m3x2) => compile::<ToF16<E4m3>>(),
        (F16x2, E5m2x2) => compile::<ToF16<E5m2>>(),
        _ => return None,
    })
}
