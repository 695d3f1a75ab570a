//! `ldmatrix`, `stmatrix` and `movmatrix` on matrices whose elements name their place.

use super::super::matrix::LaneBytes;
use super::super::{ldmatrix_scatter, movmatrix, stmatrix_gather};
use super::{LANES, Random};

/// The element in a row and column of a matrix.
fn element(matrix: usize, row: usize, column: usize) -> u16 {
    (matrix << 8 | row << 4 | column) as u16
}

fn named_rows() -> LaneBytes {
    std::array::from_fn(|lane| {
        let mut bytes = [0; 16];
        for column in 0..8 {
            bytes[column * 2..][..2].copy_from_slice(&element(lane / 8, lane % 8, column).to_le_bytes());
        }
        bytes
    })
}

#[test]
fn ldmatrix_gives_each_lane_two_neighbours() {
    let rows = named_rows();
    for count in [1, 2, 4] {
        let plain = ldmatrix_scatter(&rows, count, false);
        let transposed = ldmatrix_scatter(&rows, count, true);
        for matrix in 0..4 {
            for lane in 0..LANES {
                let (t, g) = (lane % 4, lane / 4);
                let word = |low: u16, high: u16| u32::from(low) | u32::from(high) << 16;
                let (of_row, of_column) = if matrix < count {
                    (
                        word(element(matrix, g, 2 * t), element(matrix, g, 2 * t + 1)),
                        word(element(matrix, 2 * t, g), element(matrix, 2 * t + 1, g)),
                    )
                } else {
                    (0, 0)
                };
                assert_eq!(plain[matrix][lane], of_row, "x{count}, matrix {matrix}, lane {lane}");
                assert_eq!(
                    transposed[matrix][lane], of_column,
                    "x{count}.trans, matrix {matrix}, lane {lane}"
                );
            }
        }
    }
}

#[test]
fn stmatrix_writes_what_ldmatrix_reads() {
    let mut random = Random(3);
    let rows: LaneBytes = std::array::from_fn(|_| std::array::from_fn(|_| random.next() as u8));
    for transpose in [false, true] {
        for count in [1, 2, 4] {
            let written = stmatrix_gather(&ldmatrix_scatter(&rows, count, transpose), count, transpose);
            assert_eq!(written[..8 * count], rows[..8 * count]);
            assert!(written[8 * count..].iter().flatten().all(|byte| *byte == 0));
        }
    }
    assert_ne!(stmatrix_gather(&ldmatrix_scatter(&rows, 4, true), 4, false), rows);
}

#[test]
fn movmatrix_transposes() {
    let rows = named_rows();
    let plain = ldmatrix_scatter(&rows, 1, false)[0];
    let transposed = ldmatrix_scatter(&rows, 1, true)[0];
    assert_eq!(movmatrix(&plain), transposed);
    assert_eq!(movmatrix(&transposed), plain);
    assert_ne!(plain, transposed);
}
