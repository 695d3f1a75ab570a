//! Integer and single-bit matrices.

use super::form::{BitOp, Integer};
use super::layout::{AWords, Accumulators, BWords, WORDS};

/// Element `within` of a word.
#[inline(always)]
fn element(ty: Integer, word: u32, within: usize) -> i32 {
    let up = 32 - ty.bits;
    let high = word << (up - within * ty.bits);
    if ty.signed { high as i32 >> up } else { (high >> up) as i32 }
}

/// D of s8, u8, s4 or u4 matrices. The products' sum always fits; with C it wraps or saturates.
#[inline(always)]
pub(super) fn multiply(
    types: (Integer, Integer),
    saturate: bool,
    words: usize,
    a: &AWords,
    b: &BWords,
    c: &Accumulators,
) -> Accumulators {
    let mut sums = [[0_i32; 8]; 16];
    for word in 0..words.min(WORDS) {
        for within in 0..32 / types.0.bits {
            let mut columns = [0; 8];
            for column in 0..8 {
                columns[column] = element(types.1, b[word][column], within);
            }
            for row in 0..16 {
                let factor = element(types.0, a[word][row], within);
                for column in 0..8 {
                    let product = factor.wrapping_mul(columns[column]);
                    sums[row][column] = sums[row][column].wrapping_add(product);
                }
            }
        }
    }
    let mut d = [[0; 8]; 16];
    for row in 0..16 {
        for column in 0..8 {
            let (sum, c) = (sums[row][column], c[row][column] as i32);
            d[row][column] = if saturate { c.saturating_add(sum) } else { c.wrapping_add(sum) } as u32;
        }
    }
    d
}

/// D of b1 matrices: the bits set in both, or in one of two, counted.
#[inline(always)]
pub(super) fn multiply_bits(
    op: BitOp,
    words: usize,
    a: &AWords,
    b: &BWords,
    c: &Accumulators,
) -> Accumulators {
    let mut d = *c;
    for word in 0..words.min(WORDS) {
        for row in 0..16 {
            for column in 0..8 {
                let (x, y) = (a[word][row], b[word][column]);
                let bits = match op {
                    BitOp::Xor => x ^ y,
                    BitOp::And => x & y,
                };
                d[row][column] = d[row][column].wrapping_add(bits.count_ones());
            }
        }
    }
    d
}
