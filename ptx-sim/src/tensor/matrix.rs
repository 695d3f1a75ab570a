//! The data movement of `ldmatrix`, `stmatrix` and `movmatrix`: 8x8 matrices of 16-bit elements between rows of 16
//! bytes and the lanes of a warp.

use crate::program::LANES;

/// 16 bytes of each lane: lane `l` holds row `l % 8` of matrix `l / 8`, as it gives (`ldmatrix`, `stmatrix`) the
/// address of that row.
pub(crate) type LaneBytes = [[u8; 16]; LANES];

/// Registers of at most four matrices, one for each.
pub(crate) type Fragments = [[u32; LANES]; 4];

/// Row and column of an element of an 8x8 matrix: each lane holds two neighbours of a row, the low half of its
/// register first; transposed, of a column.
fn position(lane: usize, half: usize, transpose: bool) -> (usize, usize) {
    let (major, minor) = (lane / 4, lane % 4 * 2 + half);
    if transpose { (minor, major) } else { (major, minor) }
}

/// What `ldmatrix` of `count` matrices (1, 2 or 4) leaves in the registers: the registers of those beyond it are 0.
pub(crate) fn ldmatrix_scatter(rows: &LaneBytes, count: usize, transpose: bool) -> Fragments {
    let mut registers = [[0; LANES]; 4];
    for (matrix, register) in registers.iter_mut().take(count).enumerate() {
        for (lane, value) in register.iter_mut().enumerate() {
            for half in 0..2 {
                let (row, column) = position(lane, half, transpose);
                let bytes = &rows[matrix * 8 + row];
                let element = u16::from_le_bytes([bytes[column * 2], bytes[column * 2 + 1]]);
                *value |= u32::from(element) << (16 * half);
            }
        }
    }
    registers
}

/// The rows that `stmatrix` of `count` matrices (1, 2 or 4) writes: those of lanes beyond it are 0 and not to be
/// written.
pub(crate) fn stmatrix_gather(registers: &Fragments, count: usize, transpose: bool) -> LaneBytes {
    let mut rows = [[0; 16]; LANES];
    for (matrix, register) in registers.iter().take(count).enumerate() {
        for (lane, value) in register.iter().enumerate() {
            for half in 0..2 {
                let (row, column) = position(lane, half, transpose);
                let element = (value >> (16 * half)) as u16;
                rows[matrix * 8 + row][column * 2..][..2].copy_from_slice(&element.to_le_bytes());
            }
        }
    }
    rows
}

/// `movmatrix.sync.aligned.m8n8.trans.b16`: the transposed matrix.
pub(crate) fn movmatrix(source: &[u32; LANES]) -> [u32; LANES] {
    let mut registers = [[0; LANES]; 4];
    registers[0] = *source;
    ldmatrix_scatter(&stmatrix_gather(&registers, 1, false), 1, true)[0]
}
