//! Where the elements of a matrix in shared memory stand (PTX ISA, "Canonical Layouts").
//!
//! A matrix has 32 bytes of k, and 8, 16, … rows (of A) or columns (of B), here called lines. It is made of units of 16
//! bytes, which run along k or, transposed, along 8 lines; and the units of tiles of 8, of which one offset leads to the
//! next along the lines and the other to the next along k.

use std::ops::Range;

use super::descriptor::{Descriptor, Swizzle};
use super::form::WgmmaForm;
use crate::program::LANES;
use crate::tensor::layout;

/// What neighbours in memory are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Major {
    /// Elements of one line.
    K,
    /// Elements with one k: only 16-bit types.
    Lines,
}

/// Elements of 16 bits in a unit.
const UNIT: usize = 8;

impl Descriptor {
    /// The units of some lines (whole eights): line by line, two along k; or, for each 8 lines, one for each of 16 k.
    pub fn units(&self, major: Major, lines: Range<usize>) -> Vec<u64> {
        match major {
            Major::K => {
                lines.flat_map(|line| [0, 1].map(|along_k| self.k_major(line as u64, along_k))).collect()
            }
            Major::Lines => (lines.start / UNIT..lines.end / UNIT)
                .flat_map(|eight| (0..16).map(move |k| (eight, k)))
                .map(|(eight, k)| self.line_major(eight as u64, k))
                .collect(),
        }
    }

    fn k_major(&self, line: u64, along_k: u64) -> u64 {
        let next = if self.swizzle == Swizzle::None { self.leading_offset } else { 16 };
        self.place(line % 8 * 16 * self.swizzle.units() + line / 8 * self.stride_offset + along_k * next)
    }

    fn line_major(&self, eight: u64, k: u64) -> u64 {
        let width = self.swizzle.units();
        // Without a swizzle the two offsets have changed places.
        let (along_lines, along_k) = match self.swizzle {
            Swizzle::None => (self.stride_offset, self.leading_offset),
            _ => (self.leading_offset, self.stride_offset),
        };
        self.place(eight % width * 16 + eight / width * along_lines + k % 8 * 16 * width + k / 8 * along_k)
    }
}

/// Hands the elements of [`Descriptor::units`] to `put` as words of a line: line (from 0), word of k, and the word.
#[inline(always)]
pub(super) fn read_words<'m>(
    major: Major,
    units: impl Iterator<Item = &'m [u8; 16]>,
    mut put: impl FnMut(usize, usize, u32),
) {
    let half = |unit: &[u8; 16], at: usize| u32::from(u16::from_le_bytes([unit[2 * at], unit[2 * at + 1]]));
    match major {
        Major::K => {
            for (index, unit) in units.enumerate() {
                let (words, _) = unit.as_chunks::<4>();
                for (word, bytes) in words.iter().enumerate() {
                    put(index / 2, index % 2 * 4 + word, u32::from_le_bytes(*bytes));
                }
            }
        }
        Major::Lines => {
            let mut units = units.enumerate();
            while let (Some((index, even)), Some((_, odd))) = (units.next(), units.next()) {
                for line in 0..UNIT {
                    put(index / 16 * UNIT + line, index % 16 / 2, half(even, line) | half(odd, line) << 16);
                }
            }
        }
    }
}

/// The row, of a warp's 16, of the elements in a register of A's fragment.
pub(crate) fn row_of_a(lane: usize, register: usize) -> usize {
    layout::a_position(16, 1, lane, register).0
}

impl WgmmaForm {
    /// The lanes in which a register of D holds elements of some of the warp's 16 rows, or of some columns.
    pub fn touched(&self, rows: u16, columns: &[u64; 4], register: usize) -> u32 {
        let run = if self.has_half_accumulators() { 2 } else { 1 };
        let (group, first) = (register * run / 4, register * run % 4);
        let mut touched = 0;
        for lane in 0..LANES {
            let any =
                (first..first + run).map(|element| layout::c_position(lane, element)).any(|(row, column)| {
                    let column = 8 * group + column;
                    rows >> row & 1 != 0 || columns[column / 64 % 4] >> (column % 64) & 1 != 0
                });
            touched |= u32::from(any) << lane;
        }
        touched
    }
}
