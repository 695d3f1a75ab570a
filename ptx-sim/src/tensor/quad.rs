//! `m8n8k4` with f16: four multiplications in one, which only compute capability 7.0 has a unit for. From 8.0 on the
//! assembler calls a routine of ordinary f32 arithmetic; the order of operations here is that of CUDA 13.0's routine.

use super::arithmetic::reference::add;
use super::arithmetic::{NAN_F16, Output};
use super::form::Accumulator;
use super::layout::quad::{a_position, b_position, c16_position, c32_position, computation};
use crate::program::LANES;

type Registers = [u32; LANES];

/// Half `element % 2` of register `element / 2`.
fn half_of(registers: &[Registers], lane: usize, element: usize) -> f32 {
    let word = registers[element / 2][lane];
    half::f16::from_bits((word >> (16 * (element % 2))) as u16).to_f32()
}

/// D of the four computations; registers of f16 hold two elements each.
pub(super) fn multiply(
    column_major: (bool, bool),
    c_type: Accumulator,
    d_type: Accumulator,
    a: &[Registers; 2],
    b: &[Registers; 2],
    c: &[Registers; 8],
) -> [Registers; 8] {
    let mut a_matrices = [[[0.0_f32; 4]; 8]; 4];
    let mut b_matrices = [[[0.0_f32; 8]; 4]; 4];
    let mut c_matrices = [[[0.0_f32; 8]; 8]; 4];
    for lane in 0..LANES {
        let at = computation(lane);
        for element in 0..4 {
            let (row, k) = a_position(column_major.0, lane, element);
            a_matrices[at][row][k] = half_of(a, lane, element);
            let (k, column) = b_position(column_major.1, lane, element);
            b_matrices[at][k][column] = half_of(b, lane, element);
        }
        for element in 0..8 {
            match c_type {
                Accumulator::F16 => {
                    let (row, column) = c16_position(lane, element);
                    c_matrices[at][row][column] = half_of(c, lane, element);
                }
                Accumulator::F32 => {
                    let (row, column) = c32_position(lane, element);
                    c_matrices[at][row][column] = f32::from_bits(c[element][lane]);
                }
            }
        }
    }
    let result = |lane: usize, element: usize| {
        let at = computation(lane);
        let (row, column) = match d_type {
            Accumulator::F16 => c16_position(lane, element),
            Accumulator::F32 => c32_position(lane, element),
        };
        let (a, c) = (a_matrices[at][row], c_matrices[at][row][column]);
        let b = b_matrices[at].map(|columns| columns[column]);
        match d_type {
            Accumulator::F16 => into_f16(a, b, c),
            Accumulator::F32 => into_f32(a, b, c),
        }
    };
    std::array::from_fn(|register| match d_type {
        Accumulator::F16 if register >= 4 => [0; LANES],
        Accumulator::F16 => {
            std::array::from_fn(|lane| result(lane, 2 * register) | result(lane, 2 * register + 1) << 16)
        }
        Accumulator::F32 => std::array::from_fn(|lane| result(lane, register)),
    })
}

fn into_f32(a: [f32; 4], b: [f32; 4], c: f32) -> u32 {
    let products = (0..4).fold(0.0_f32, |sum, k| a[k].mul_add(b[k], sum));
    add(c.to_bits(), products.to_bits(), Output::F32)
}

fn into_f16(a: [f32; 4], b: [f32; 4], c: f32) -> u32 {
    let pair = |k: usize| a[k + 1].mul_add(b[k + 1], a[k] * b[k]);
    let sum = c + pair(0) + pair(2);
    if sum.is_nan() { NAN_F16 } else { half::f16::from_f32(sum).to_bits().into() }
}
