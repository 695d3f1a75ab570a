//! Which element of a matrix each lane of a warp holds (PTX ISA, "Matrix Fragments for mma").
//!
//! All shapes but the `m8n8k4` of 16-bit floats are one pattern: a group of four lanes holds a row of A and a column
//! of B, each register a run of elements with consecutive k; registers go down 8 rows first (for `m16`), then on to
//! the next four runs of k. So the matrices can be moved a register at a time, with runs as the unit of k.

use crate::program::LANES;

/// Row and k of element `element` of A in lane `lane`, where each register holds `run` elements.
#[inline(always)]
pub(super) fn a_position(m: usize, run: usize, lane: usize, element: usize) -> (usize, usize) {
    let (register, within) = (element / run, element % run);
    let halves = m / 8;
    (lane / 4 + 8 * (register % halves), run * (4 * (register / halves) + lane % 4) + within)
}

/// k and column of element `element` of B in lane `lane`, where each register holds `run` elements.
#[inline(always)]
pub(super) fn b_position(run: usize, lane: usize, element: usize) -> (usize, usize) {
    let (register, within) = (element / run, element % run);
    (run * (4 * register + lane % 4) + within, lane / 4)
}

/// Row and column of element `element` of C or D in lane `lane`.
#[inline(always)]
pub(super) fn c_position(lane: usize, element: usize) -> (usize, usize) {
    (lane / 4 + 8 * (element / 2), 2 * (lane % 4) + element % 2)
}

/// Most words of k in a row of A or a column of B.
pub(super) const WORDS: usize = 8;

/// A as words of `run` elements each: `[word of k][row]`.
pub(super) type AWords = [[u32; 16]; WORDS];

/// B as words of `run` elements each: `[word of k][column]`.
pub(super) type BWords = [[u32; 8]; WORDS];

/// C or D, a word for each element: `[row][column]`.
pub(super) type Accumulators = [[u32; 8]; 16];

/// Puts the registers of A together; `m` is 8 or 16.
#[inline(always)]
pub(super) fn gather_a<'r>(m: usize, registers: impl Iterator<Item = &'r [u32; LANES]>) -> AWords {
    let mut words = [[0; 16]; WORDS];
    for (register, values) in registers.enumerate() {
        // Lane 0's place; the groups of four lanes follow down the rows, their lanes along k.
        let (row, word) = a_position(m, 1, 0, register);
        for (thread, words) in words.iter_mut().skip(word).take(4).enumerate() {
            for (group, element) in words.iter_mut().skip(row).take(8).enumerate() {
                *element = values[4 * group + thread];
            }
        }
    }
    words
}

/// Puts the registers of B together.
#[inline(always)]
pub(super) fn gather_b<'r>(registers: impl Iterator<Item = &'r [u32; LANES]>) -> BWords {
    let mut words = [[0; 8]; WORDS];
    for (register, values) in registers.enumerate() {
        let (word, _) = b_position(1, 0, register);
        for (thread, words) in words.iter_mut().skip(word).take(4).enumerate() {
            for (group, element) in words.iter_mut().enumerate() {
                *element = values[4 * group + thread];
            }
        }
    }
    words
}

/// Puts the registers of C together: `halves` have two elements in a register.
#[inline(always)]
pub(super) fn gather_c<'r>(halves: bool, registers: impl Iterator<Item = &'r [u32; LANES]>) -> Accumulators {
    let mut c = [[0; 8]; 16];
    for (register, values) in registers.enumerate() {
        for half in 0..if halves { 2 } else { 1 } {
            let (row, column) = c_position(0, if halves { 2 * register + half } else { register });
            for (group, row) in c.iter_mut().skip(row).take(8).enumerate() {
                for thread in 0..4 {
                    let value = values[4 * group + thread];
                    row[2 * thread + column] = if halves { value >> (16 * half) & 0xffff } else { value };
                }
            }
        }
    }
    c
}

/// Register `register` of D: where `halves`, two elements of it.
#[inline(always)]
pub(super) fn scatter_d(halves: bool, d: &Accumulators, register: usize) -> [u32; LANES] {
    let (row, column) = c_position(0, if halves { 2 * register } else { register });
    let mut values = [0; LANES];
    for (group, row) in d.iter().skip(row).take(8).enumerate() {
        for thread in 0..4 {
            let value = row[2 * thread + column];
            values[4 * group + thread] = if halves { value | row[2 * thread + 1] << 16 } else { value };
        }
    }
    values
}

/// Where the four computations of `m8n8k4` with 16-bit floats keep their elements: lanes `4c..4c+4` and
/// `16+4c..16+4c+4` belong to computation `c`.
pub(super) mod quad {
    /// Which of the four computations a lane belongs to.
    pub fn computation(lane: usize) -> usize {
        lane % 16 / 4
    }

    /// The lane's place among the eight of its computation, which is a row or column of its matrices.
    fn place(lane: usize) -> usize {
        lane % 4 + 4 * (lane / 16)
    }

    /// Row and k of element `element` (0 to 3) of A.
    pub fn a_position(column_major: bool, lane: usize, element: usize) -> (usize, usize) {
        if column_major { (element + 4 * (lane / 16), lane % 4) } else { (place(lane), element) }
    }

    /// k and column of element `element` (0 to 3) of B.
    pub fn b_position(column_major: bool, lane: usize, element: usize) -> (usize, usize) {
        if column_major { (element, place(lane)) } else { (lane % 4, element + 4 * (lane / 16)) }
    }

    /// Row and column of element `element` (0 to 7) of a C or D of f16.
    pub fn c16_position(lane: usize, element: usize) -> (usize, usize) {
        (place(lane), element)
    }

    /// Row and column of element `element` (0 to 7) of a C or D of f32.
    pub fn c32_position(lane: usize, element: usize) -> (usize, usize) {
        ((lane & 1) + (element & 2) + 4 * (lane / 16), (element & 4) + (lane & 2) + (element & 1))
    }
}
