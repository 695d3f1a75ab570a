//! The conversions that kernels make most: f32 from and to f16, bf16 and their pairs; and f32 to tf32.

use std::marker::PhantomData;

use super::float::flush_all;
use super::half::relu;
use super::half_format::{F32_NAN, HALF_SIGN, HalfFormat, is_nan_f32};
use super::modifiers::flags;
use super::rounding::{Format, Rounding};
use super::{AluFn, half_format};
use super::{LaneOp, compile};
use crate::program::{LANES, Lanes, Operands};
use crate::ptx::ast::Type;

/// Where [`Operands::aux`] has the rounding, above the flags.
const ROUNDING_SHIFT: u32 = 16;

/// Flags and rounding for [`Operands::aux`].
pub(super) fn with_rounding(flags: u32, rounding: Rounding) -> u32 {
    flags | rounding.code() << ROUNDING_SHIFT
}

/// f32 to a 16-bit format; packed, two f32, the first of which goes to the upper half.
struct ToHalf<H, const PACKED: bool>(PhantomData<H>);

impl<H: HalfFormat, const PACKED: bool> LaneOp for ToHalf<H, PACKED> {
    #[inline(always)]
    fn run(lanes: &mut Lanes, operands: &Operands, mask: u32) {
        let mut result = to_half::<H>(lanes.get32(operands.src[PACKED as usize]), operands.aux);
        if PACKED {
            let upper = to_half::<H>(lanes.get32(operands.src[0]), operands.aux);
            for lane in 0..LANES {
                result[lane] |= upper[lane] << 16;
            }
        }
        lanes.set32(operands.dst[0], &result, mask);
    }
}

#[inline(always)]
fn to_half<H: HalfFormat>(mut row: [u32; LANES], aux: u32) -> [u32; LANES] {
    if aux & flags::FTZ != 0 {
        flush_all(&mut row);
    }
    let rounding = Rounding::of_code(aux >> ROUNDING_SHIFT);
    if rounding != Rounding::Nearest {
        for one in &mut row {
            let x = f64::from(f32::from_bits(*one));
            *one = (H::FORMAT.round(x, rounding) as f32).to_bits();
        }
    }
    for one in &mut row {
        *one = H::narrow(f32::from_bits(*one));
    }
    if aux & flags::SATFINITE != 0 {
        for one in &mut row {
            *one = if *one & !HALF_SIGN == H::INFINITY { *one - 1 } else { *one };
        }
    }
    if aux & flags::SAT != 0 {
        for one in &mut row {
            let below = H::is_nan(*one) || *one & HALF_SIGN != 0;
            *one = if below { 0 } else { (*one).min(H::ONE) };
        }
    }
    if aux & flags::RELU != 0 {
        for one in &mut row {
            *one = relu::<H>(*one);
        }
    }
    row
}

/// A 16-bit format to f32.
struct FromHalf<H>(PhantomData<H>);

impl<H: HalfFormat> LaneOp for FromHalf<H> {
    #[inline(always)]
    fn run(lanes: &mut Lanes, operands: &Operands, mask: u32) {
        let mut row = lanes.get32(operands.src[0]);
        for one in &mut row {
            *one = H::widen(*one & 0xffff).to_bits();
        }
        if operands.aux & flags::FTZ != 0 {
            flush_all(&mut row);
        }
        if operands.aux & flags::SAT != 0 {
            for one in &mut row {
                let x = f32::from_bits(*one);
                *one = if x >= 1.0 {
                    1f32.to_bits()
                } else if x > 0.0 {
                    *one
                } else {
                    0
                };
            }
        }
        lanes.set32(operands.dst[0], &row, mask);
    }
}

/// f32 to tf32, whose 13 low bits are zero.
struct ToTf32;

impl LaneOp for ToTf32 {
    #[inline(always)]
    fn run(lanes: &mut Lanes, operands: &Operands, mask: u32) {
        const LOST: u32 = (1 << 13) - 1;
        let rounding = Rounding::of_code(operands.aux >> ROUNDING_SHIFT);
        let mut row = lanes.get32(operands.src[0]);
        for one in &mut row {
            let carry = match rounding {
                Rounding::Nearest => (LOST >> 1) + (*one >> 13 & 1),
                Rounding::NearestAway => 1 << 12,
                _ => 0,
            };
            // Infinity stays; the largest numbers carry into it.
            let rounded = (*one).wrapping_add(carry) & !LOST;
            *one = if is_nan_f32(*one) { F32_NAN } else { rounded };
        }
        if operands.aux & flags::SATFINITE != 0 {
            let largest = (Format::TF32.max as f32).to_bits();
            for one in &mut row {
                let sign = *one & 1 << 31;
                *one = if is_nan_f32(*one) { F32_NAN } else { sign | (*one & !(1 << 31)).min(largest) };
            }
        }
        if operands.aux & flags::RELU != 0 {
            for one in &mut row {
                *one = if *one >> 31 != 0 { 0 } else { *one };
            }
        }
        lanes.set32(operands.dst[0], &row, mask);
    }
}

/// The conversion where it is one of these.
pub(super) fn conversion(destination: Type, source: Type) -> Option<AluFn> {
    use half_format::{Bf16, F16};
    Some(match (destination, source) {
        (Type::F16, Type::F32) => compile::<ToHalf<F16, false>>(),
        (Type::F16x2, Type::F32) => compile::<ToHalf<F16, true>>(),
        (Type::Bf16, Type::F32) => compile::<ToHalf<Bf16, false>>(),
        (Type::Bf16x2, Type::F32) => compile::<ToHalf<Bf16, true>>(),
        (Type::F32, Type::F16) => compile::<FromHalf<F16>>(),
        (Type::F32, Type::Bf16) => compile::<FromHalf<Bf16>>(),
        (Type::Tf32, Type::F32) => compile::<ToTf32>(),
        _ => return None,
    })
}
