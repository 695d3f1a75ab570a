//! The order of codes and scales that the matmul kernels read.

use super::{GroupSize, Int4, Int4Parts, SYMMETRIC_ZERO, value};
use crate::par;
use crate::tensor::DType;

const TILE: usize = Packed::TILE;
/// Rows of half a tile, which come from different places where gate and up are interleaved.
const HALF: usize = TILE / 2;
/// Columns of a unit: those of 16 bytes of each lane.
const UNIT: usize = 64;
/// Steps of a unit: so many columns, one word of each lane.
const STEPS: usize = 4;
const STEP_COLUMNS: usize = UNIT / STEPS;
const WORD_BYTES: usize = LANE_BYTES / STEPS;
/// Bytes of a lane in a unit.
const LANE_BYTES: usize = 16;
/// Bytes of a tile's unit: those of 32 lanes.
const UNIT_BYTES: usize = 512;

/// An [`Int4`] in the order of the tensor cores' fragments, so that 16 bytes of a lane are the operands of four products.
///
/// Codes are `[ceil(n / 16)][ceil(k / 64)][32 lanes][4 words]`: with `g = lane / 4` and `t = lane % 4`, word `s` of a lane is
/// its part of the 16 rows by 16 columns that begin at column `64 * unit + 16 * s`. Nibbles `p` and `p + 4` of a word (from
/// the low end) are two neighbouring columns, the even one at `p`:
///
/// | p | row | columns |
/// |---|-----|---------|
/// | 0 | g | 2t, 2t + 1 |
/// | 1 | g + 8 | 2t, 2t + 1 |
/// | 2 | g | 2t + 8, 2t + 9 |
/// | 3 | g + 8 | 2t + 8, 2t + 9 |
///
/// Words are little-endian. Scales are `[ceil(n / 16)][groups][1 or 2][8 g][2]` in their 16-bit type: those of the rows `g`
/// and `g + 8` side by side; behind the 16 scales of a group stand its 16 zeros, if the weight has zeros. Rows beyond `n`
/// have code 0 and scale 0 (and zero 0), columns beyond `k` the code next to their row's zero: its value is finite where that of
/// any code is, so that it may meet the zeros beyond the end of an activation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    n: usize,
    k: usize,
    group_size: GroupSize,
    dtype: DType,
    codes: Vec<u8>,
    scales: Vec<u16>,
    has_zeros: bool,
    integer_zeros: bool,
}

impl Packed {
    /// Rows of a tile: those of one product of the tensor cores.
    pub const TILE: usize = 16;

    /// Bytes of the codes of a weight `[n, k]`.
    pub(crate) fn bytes_of_codes(n: usize, k: usize) -> usize {
        // Without rows nothing is counted: then there may be any number of columns.
        if n == 0 { 0 } else { n.div_ceil(TILE) * tile_bytes(k) }
    }

    /// Orders a weight.
    pub fn new(weight: &Int4) -> Self {
        let &Int4Parts { n, k, group_size, dtype, ref codes, ref scales, ref zeros } = weight.parts();
        let (groups, arrays) = (k / group_size.columns(k), 1 + usize::from(zeros.is_some()));
        let integer = |&bits: &u16| {
            let zero = value(dtype, bits);
            (0.0..=16.0).contains(&zero) && zero.fract() == 0.0
        };
        let mut packed = Packed {
            n,
            k,
            group_size,
            dtype,
            codes: vec![0; Packed::bytes_of_codes(n, k)],
            scales: vec![0; n.div_ceil(TILE) * groups * arrays * TILE],
            has_zeros: zeros.is_some(),
            integer_zeros: zeros.as_ref().is_none_or(|zeros| zeros.iter().all(integer)),
        };
        if n == 0 {
            return packed;
        }
        let row = k / 2;
        par::chunks(&mut packed.codes, tile_bytes(k), |tile, out| {
            let rows = &codes[tile * TILE * row..];
            let (upper, lower) = rows[..rows.len().min(TILE * row)].split_at(HALF * row);
            pack_tile(upper, lower, row, out);
            if !k.is_multiple_of(UNIT) {
                let zero = |row: usize| match zeros {
                    Some(zeros) => {
                        zeros.get((tile * TILE + row + 1) * groups - 1).map(|&zero| value(dtype, zero))
                    }
                    None => (tile * TILE + row < n).then_some(f32::from(SYMMETRIC_ZERO)),
                };
                pad_tile(k, out, |row| {
                    zero(row).map_or(0, |zero| zero.round_ties_even().clamp(0.0, 15.0) as u8)
                });
            }
        });
        par::chunks(&mut packed.scales, groups * arrays * TILE, |tile, out| {
            let rows = (n - tile * TILE).min(TILE);
            for (array, numbers) in [Some(scales), zeros.as_ref()].into_iter().flatten().enumerate() {
                let rows = numbers[tile * TILE * groups..].chunks_exact(groups).take(rows);
                for (row, numbers) in rows.enumerate() {
                    let place = array * TILE + scale_place(row);
                    for (group, &number) in numbers.iter().enumerate() {
                        out[group * arrays * TILE + place] = number;
                    }
                }
            }
        });
        packed
    }

    /// The weight in the order of its rows and columns: the inverse of [`Packed::new`].
    pub fn unpack(&self) -> Int4 {
        let Packed { n, k, group_size, dtype, .. } = *self;
        let (groups, arrays) = (k / group_size.columns(k), 1 + usize::from(self.has_zeros));
        let row = k / 2;
        let mut codes = vec![0; n * row];
        if n > 0 {
            par::chunks(&mut codes, TILE * row, |tile, out| {
                unpack_tile(&self.codes[tile * tile_bytes(k)..][..tile_bytes(k)], row, out);
            });
        }
        let array = |array: usize| -> Vec<u16> {
            let place = |i: usize| {
                let (row, group) = (i / groups, i % groups);
                ((row / TILE * groups + group) * arrays + array) * TILE + scale_place(row % TILE)
            };
            (0..n * groups).map(|i| self.scales[place(i)]).collect()
        };
        let zeros = self.has_zeros.then(|| array(1));
        Int4(Int4Parts { n, k, group_size, dtype, codes, scales: array(0), zeros })
    }

    /// Rows and columns.
    pub fn shape(&self) -> [usize; 2] {
        [self.n, self.k]
    }

    /// Columns of a group.
    pub fn group(&self) -> usize {
        self.group_size.columns(self.k)
    }

    /// Type of scales and zeros.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The codes.
    pub fn codes(&self) -> &[u8] {
        &self.codes
    }

    /// Bits of scales and zeros.
    pub fn scales(&self) -> &[u16] {
        &self.scales
    }

    /// `[ceil(n / 16), groups, 1 or 2, 16]`.
    pub fn scales_shape(&self) -> [usize; 4] {
        [self.n.div_ceil(TILE), self.k / self.group(), 1 + usize::from(self.has_zeros), TILE]
    }

    /// Whether `code - zero` is exact in 16 bits: there are no zeros, or all are integers from 0 to 16.
    pub fn integer_zeros(&self) -> bool {
        self.integer_zeros
    }
}

/// Bytes of a tile's codes in rows of `k`.
fn tile_bytes(k: usize) -> usize {
    k.div_ceil(UNIT) * UNIT_BYTES
}

/// Where the scale of a tile's row stands among its 16.
fn scale_place(row: usize) -> usize {
    row % HALF * 2 + row / HALF
}

const LOW: u64 = 0x0F0F_0F0F_0F0F_0F0F;

/// Orders the rows 0 to 7 and 8 to 15 of a tile, of `row` bytes each; the second may be missing. 16 columns of the rows `g`
/// and `g + 8` are two 64-bit numbers, byte `t` of which are the columns `2t` and `2t + 1`; from their low nibbles and from
/// their high ones comes another such number each, and from these the four lanes' words.
fn pack_tile(upper: &[u8], lower: &[u8], row: usize, out: &mut [u8]) {
    for (unit, out) in out.chunks_exact_mut(UNIT_BYTES).enumerate() {
        for (g, lanes) in out.chunks_exact_mut(UNIT_BYTES / HALF).enumerate() {
            let (upper, lower) = (steps(upper, g, row), steps(lower, g, row));
            for step in 0..STEPS {
                let Some(&a) = upper.get(unit * STEPS + step) else { break };
                let (a, b) = (a, lower.get(unit * STEPS + step).copied().unwrap_or_default());
                let (a, b) = (u64::from_le_bytes(a), u64::from_le_bytes(b));
                let even = (a & LOW | (b & LOW) << 4).to_le_bytes();
                let odd = (a >> 4 & LOW | b & !LOW).to_le_bytes();
                for (t, lane) in lanes.chunks_exact_mut(LANE_BYTES).enumerate() {
                    let word = [even[t], even[t + 4], odd[t], odd[t + 4]];
                    lane[step * 4..step * 4 + 4].copy_from_slice(&word);
                }
            }
        }
    }
}

/// Fills the columns behind the last one of a tile's last unit with `code` of their row.
fn pad_tile(k: usize, out: &mut [u8], code: impl Fn(usize) -> u8) {
    let Some(unit) = out.chunks_exact_mut(UNIT_BYTES).next_back() else { return };
    for (g, lanes) in unit.chunks_exact_mut(UNIT_BYTES / HALF).enumerate() {
        // Two neighbours each of the rows `g` and `g + 8`, in turns.
        let byte = code(g) | code(g + HALF) << 4;
        for lane in lanes.chunks_exact_mut(LANE_BYTES) {
            lane[k % UNIT / STEP_COLUMNS * WORD_BYTES..].fill(byte);
        }
    }
}

/// The steps of row `g` of half a tile; none where there is no such half.
fn steps(half: &[u8], g: usize, row: usize) -> &[[u8; 8]] {
    half.get(g * row..(g + 1) * row).unwrap_or_default().as_chunks().0
}

/// The inverse of [`pack_tile`]: the 8 or 16 rows that `out` holds.
fn unpack_tile(tile: &[u8], row: usize, out: &mut [u8]) {
    let (upper, lower) = out.split_at_mut(HALF * row);
    for (unit, tile) in tile.chunks_exact(UNIT_BYTES).enumerate() {
        for (g, lanes) in tile.chunks_exact(UNIT_BYTES / HALF).enumerate() {
            for step in 0..STEPS.min(row / 8 - unit * STEPS) {
                let (mut even, mut odd) = ([0; 8], [0; 8]);
                for (t, lane) in lanes.chunks_exact(LANE_BYTES).enumerate() {
                    let word = &lane[step * 4..step * 4 + 4];
                    [even[t], even[t + 4], odd[t], odd[t + 4]] = [word[0], word[1], word[2], word[3]];
                }
                let (even, odd) = (u64::from_le_bytes(even), u64::from_le_bytes(odd));
                let at = g * row + (unit * STEPS + step) * 8;
                upper[at..at + 8].copy_from_slice(&(even & LOW | (odd & LOW) << 4).to_le_bytes());
                if !lower.is_empty() {
                    lower[at..at + 8].copy_from_slice(&(even >> 4 & LOW | odd & !LOW).to_le_bytes());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: [GroupSize; 4] = [GroupSize::Of32, GroupSize::Of64, GroupSize::Of128, GroupSize::Row];
    const SHAPES: [[usize; 2]; 9] =
        [[8, 16], [16, 32], [8, 96], [24, 32], [24, 96], [16, 64], [40, 128], [56, 384], [32, 80]];

    /// A weight whose codes are `code` of row and column, and its numbers `number` of array, row and group.
    fn weight(
        [n, k]: [usize; 2],
        group_size: GroupSize,
        zeros: bool,
        code: impl Fn(usize, usize) -> usize,
        number: impl Fn(usize, usize, usize) -> u16,
    ) -> Int4 {
        let groups = k / group_size.columns(k);
        let pair =
            |i: usize| code(i / (k / 2), i % (k / 2) * 2) | code(i / (k / 2), i % (k / 2) * 2 + 1) << 4;
        let numbers = |array| (0..n * groups).map(|i| number(array, i / groups, i % groups)).collect();
        Int4::new(Int4Parts {
            n,
            k,
            group_size,
            dtype: DType::F16,
            codes: (0..n * k / 2).map(|i| pair(i) as u8).collect(),
            scales: numbers(0),
            zeros: zeros.then(|| numbers(1)),
        })
        .unwrap()
    }

    fn shapes() -> impl Iterator<Item = ([usize; 2], GroupSize)> {
        let fits = |&([_, k], size): &([usize; 2], GroupSize)| k % size.columns(k) == 0;
        SHAPES.into_iter().flat_map(|shape| SIZES.map(|size| (shape, size))).filter(fits)
    }

    /// Every nibble of the order that is documented, with what it is to hold: the digits of its element's index.
    #[test]
    fn every_code_stands_where_its_lane_reads_it() {
        for ([n, k], group_size) in shapes() {
            for digit in 0..4 {
                // Plus one, so that the padding's zeros are told from the first element's.
                let digit_of = |row: usize, column: usize| (row * k + column + 1) >> (4 * digit) & 15;
                let packed = Packed::new(&weight([n, k], group_size, false, digit_of, |_, _, _| 0));
                assert_eq!(packed.codes().len(), n.div_ceil(16) * k.div_ceil(64) * 512);
                for (place, bytes) in packed.codes().as_chunks::<4>().0.iter().enumerate() {
                    let word = u32::from_le_bytes(*bytes);
                    let (s, lane, unit) = (place % 4, place / 4 % 32, place / 128 % k.div_ceil(64));
                    let tile = place / 128 / k.div_ceil(64);
                    let (g, t) = (lane / 4, lane % 4);
                    for p in 0..4 {
                        let row = 16 * tile + g + [0, 8, 0, 8][p];
                        let column = 64 * unit + 16 * s + 2 * t + [0, 0, 8, 8][p];
                        for odd in 0..2 {
                            let held = word >> (4 * p + 16 * odd) & 15;
                            let expected = match (row < n, column + odd < k) {
                                (true, true) => digit_of(row, column + odd),
                                (true, false) => usize::from(SYMMETRIC_ZERO),
                                (false, _) => 0,
                            };
                            assert_eq!(held as usize, expected, "{n} x {k}, digit {digit}: {row}, {column}");
                        }
                    }
                }
            }
        }
    }

    /// What stands behind the last column is as near to the zero as a code can be.
    #[test]
    fn columns_behind_the_last_one_are_no_larger_than_any() {
        let zero = |row: usize| [0.0, 3.4, 16.0, -2.5, 7.5][row % 5];
        let number = |array: usize, row: usize, _: usize| match array {
            0 => 0,
            _ => super::super::bits(DType::F16, zero(row)),
        };
        let packed = Packed::new(&weight([24, 80], GroupSize::Row, true, |_, _| 5, number));
        let unit = packed.codes().as_chunks::<UNIT_BYTES>().0[3];
        let words = unit.as_chunks::<4>().0.iter().map(|bytes| u32::from_le_bytes(*bytes));
        for (i, word) in words.enumerate() {
            let row = 16 + i / 16;
            let code = if i % 4 == 0 { 5 } else { [0, 3, 15, 0, 8][row % 5] };
            // The upper half of the tile is not there.
            assert_eq!(word, code * 0x0F0F_0F0F / 15, "{row}");
        }
    }

    #[test]
    fn every_scale_and_zero_stands_beside_its_codes() {
        for (shape, group_size) in shapes() {
            let [n, k] = shape;
            let groups = k / group_size.columns(k);
            let number =
                |array: usize, row: usize, group: usize| (1 + (row * groups + group) * 2 + array) as u16;
            for zeros in [false, true] {
                let packed = Packed::new(&weight(shape, group_size, zeros, |_, _| 0, number));
                let arrays = 1 + usize::from(zeros);
                assert_eq!(packed.scales_shape(), [n.div_ceil(16), groups, arrays, 16]);
                assert_eq!(packed.scales().len(), packed.scales_shape().iter().product::<usize>());
                for (place, &held) in packed.scales().iter().enumerate() {
                    let (half, g, array) = (place % 2, place / 2 % 8, place / 16 % arrays);
                    let (group, tile) = (place / 16 / arrays % groups, place / 16 / arrays / groups);
                    let row = tile * 16 + g + 8 * half;
                    assert_eq!(held, if row < n { number(array, row, group) } else { 0 }, "{n} x {k}: {row}");
                }
            }
        }
    }

    #[test]
    fn the_way_back_is_the_same_weight() {
        for (shape, group_size) in shapes() {
            for zeros in [false, true] {
                let mix = |a: usize, b: usize| (a * 0x9E37 + b * 0x79B9 + (a * b) % 29) >> 3;
                let number = |array, row, group| (mix(row * 2 + array, group) & 0x3FFF) as u16;
                let weight = weight(shape, group_size, zeros, |row, column| mix(row, column) & 15, number);
                let packed = Packed::new(&weight);
                assert!(packed.unpack() == weight, "{shape:?}, {group_size:?}, zeros: {zeros}");
                assert_eq!((packed.shape(), packed.dtype()), (shape, DType::F16));
                assert_eq!(packed.group(), group_size.columns(shape[1]));
            }
        }
    }

    #[test]
    fn zeros_are_integers_that_sixteen_bits_subtract_exactly() {
        let zeros = |bits: u16| weight([8, 64], GroupSize::Of32, true, |_, _| 0, move |_, _, _| bits);
        let integer = |zero: f32| Packed::new(&zeros(super::super::bits(DType::F16, zero))).integer_zeros();
        assert!((0..=16).all(|zero| integer(zero as f32)));
        assert!(![0.5, 15.9, 17.0, -1.0, 1024.0].into_iter().any(integer));
        // One of them decides.
        let one = |_: usize, row: usize, group: usize| if (row, group) == (7, 1) { 0x3801 } else { 0 };
        assert!(!Packed::new(&weight([8, 64], GroupSize::Of32, true, |_, _| 0, one)).integer_zeros());
        assert!(Packed::new(&weight([8, 64], GroupSize::Of32, false, |_, _| 0, one)).integer_zeros());
    }

    /// A weight without rows may have any number of columns: nothing is counted.
    #[test]
    fn no_rows_are_no_bytes() {
        let packed = Packed::new(&weight([0, usize::MAX - 15], GroupSize::Row, true, |_, _| 0, |_, _, _| 0));
        assert!(packed.codes().is_empty() && packed.scales().is_empty());
        assert_eq!(packed.scales_shape(), [0, 1, 2, 16]);
        assert_eq!(packed.unpack().parts().k, usize::MAX - 15);
    }
}
