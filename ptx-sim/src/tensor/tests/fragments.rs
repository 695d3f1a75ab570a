//! Every shape and type with small integers, for which every order of summation gives the same bits, compared with a
//! plain product of matrices. Where elements lie is written here as the PTX ISA writes it, shape by shape.

use super::{LANES, Random, Register, execute};
use crate::config::{ComputeCapability, TensorMode};

/// Row and column of element `i` of a lane.
type Position = fn(usize, usize) -> (usize, usize);

fn group(lane: usize) -> usize {
    lane >> 2
}

fn thread(lane: usize) -> usize {
    lane % 4
}

/// Row of A in group `g`, or 8 below it.
fn low(lane: usize, is_low: bool) -> usize {
    if is_low { group(lane) } else { group(lane) + 8 }
}

// Named for the shape, and the bits of an element.
fn a_8x4_64(lane: usize, _: usize) -> (usize, usize) {
    (lane >> 2, lane % 4)
}
fn a_8x16_8(lane: usize, i: usize) -> (usize, usize) {
    (group(lane), thread(lane) * 4 + i)
}
fn a_8x32_4(lane: usize, i: usize) -> (usize, usize) {
    (group(lane), thread(lane) * 8 + i)
}
fn a_8x128_1(lane: usize, i: usize) -> (usize, usize) {
    (group(lane), thread(lane) * 32 + i)
}
fn a_16x4_32(lane: usize, i: usize) -> (usize, usize) {
    (low(lane, i == 0), thread(lane))
}
fn a_16x8_16(lane: usize, i: usize) -> (usize, usize) {
    (low(lane, i < 2), thread(lane) * 2 + (i & 1))
}
fn a_16x8_32(lane: usize, i: usize) -> (usize, usize) {
    (low(lane, i == 0 || i == 2), if i < 2 { thread(lane) } else { thread(lane) + 4 })
}
fn a_16x16_16(lane: usize, i: usize) -> (usize, usize) {
    let column = thread(lane) * 2 + (i & 1);
    (low(lane, i < 2 || (4..6).contains(&i)), if i < 4 { column } else { column + 8 })
}
fn a_16x16_64(lane: usize, i: usize) -> (usize, usize) {
    (low(lane, i & 1 == 0), if i & 1 == 0 { i * 2 + thread(lane) } else { i * 2 - 2 + thread(lane) })
}
fn a_16x16_8(lane: usize, i: usize) -> (usize, usize) {
    (low(lane, i < 4), thread(lane) * 4 + (i & 3))
}
fn a_16x32_4(lane: usize, i: usize) -> (usize, usize) {
    (low(lane, i < 8), thread(lane) * 8 + (i & 7))
}
fn a_16x32_8(lane: usize, i: usize) -> (usize, usize) {
    let column = thread(lane) * 4 + (i & 3);
    (low(lane, i < 4 || (8..12).contains(&i)), if i < 8 { column } else { column + 16 })
}
fn a_16x64_4(lane: usize, i: usize) -> (usize, usize) {
    let column = thread(lane) * 8 + (i & 7);
    (low(lane, i < 8 || (16..24).contains(&i)), if i < 16 { column } else { column + 32 })
}
fn a_16x128_1(lane: usize, i: usize) -> (usize, usize) {
    (low(lane, i < 32), thread(lane) * 32 + (i & 0x1f))
}
fn a_16x256_1(lane: usize, i: usize) -> (usize, usize) {
    let column = thread(lane) * 32 + (i & 0x1f);
    (low(lane, i < 32 || (64..96).contains(&i)), if i < 64 { column } else { column + 128 })
}

fn b_4(lane: usize, _: usize) -> (usize, usize) {
    (thread(lane), group(lane))
}
fn b_8_16(lane: usize, i: usize) -> (usize, usize) {
    (thread(lane) * 2 + i, group(lane))
}
fn b_8_32(lane: usize, i: usize) -> (usize, usize) {
    (if i == 0 { thread(lane) } else { thread(lane) + 4 }, group(lane))
}
fn b_16_16(lane: usize, i: usize) -> (usize, usize) {
    let row = thread(lane) * 2 + (i & 1);
    (if i < 2 { row } else { row + 8 }, group(lane))
}
fn b_16_64(lane: usize, i: usize) -> (usize, usize) {
    (thread(lane) + i * 4, group(lane))
}
fn b_16_8(lane: usize, i: usize) -> (usize, usize) {
    (thread(lane) * 4 + i, group(lane))
}
fn b_32_4(lane: usize, i: usize) -> (usize, usize) {
    (thread(lane) * 8 + (i & 7), group(lane))
}
fn b_32_8(lane: usize, i: usize) -> (usize, usize) {
    let row = thread(lane) * 4 + (i & 3);
    (if i < 4 { row } else { row + 16 }, group(lane))
}
fn b_64_4(lane: usize, i: usize) -> (usize, usize) {
    let row = thread(lane) * 8 + (i & 7);
    (if i < 8 { row } else { row + 32 }, group(lane))
}
fn b_128_1(lane: usize, i: usize) -> (usize, usize) {
    (thread(lane) * 32 + i, group(lane))
}
fn b_256_1(lane: usize, i: usize) -> (usize, usize) {
    let row = thread(lane) * 32 + (i & 0x1f);
    (if i < 32 { row } else { row + 128 }, group(lane))
}

fn c_8(lane: usize, i: usize) -> (usize, usize) {
    (group(lane), thread(lane) * 2 + (i & 1))
}
fn c_16(lane: usize, i: usize) -> (usize, usize) {
    (low(lane, i < 2), thread(lane) * 2 + (i & 1))
}

/// A type of elements: how a small integer is written in it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ty {
    F16,
    Bf16,
    F32,
    F64,
    E4m3,
    E5m2,
    S8,
    U8,
    S4,
    U4,
    B1,
    S32,
}

impl Ty {
    fn bits(self) -> usize {
        match self {
            Ty::F64 => 64,
            Ty::F32 | Ty::S32 => 32,
            Ty::F16 | Ty::Bf16 => 16,
            Ty::E4m3 | Ty::E5m2 | Ty::S8 | Ty::U8 => 8,
            Ty::S4 | Ty::U4 => 4,
            Ty::B1 => 1,
        }
    }

    fn encode(self, value: i64) -> u64 {
        // Integers up to 4 of the 8-bit floats, from the tables of their formats.
        let small = |table: [u64; 5], sign: u64| {
            table[value.unsigned_abs() as usize] | if value < 0 { sign } else { 0 }
        };
        match self {
            Ty::F16 => half::f16::from_f64(value as f64).to_bits().into(),
            Ty::Bf16 => half::bf16::from_f64(value as f64).to_bits().into(),
            Ty::F32 => (value as f32).to_bits().into(),
            Ty::F64 => (value as f64).to_bits(),
            Ty::E4m3 => small([0, 0x38, 0x40, 0x44, 0x48], 0x80),
            Ty::E5m2 => small([0, 0x3c, 0x40, 0x42, 0x44], 0x80),
            _ => value as u64 & (u64::MAX >> (64 - self.bits())),
        }
    }

    /// Smallest and largest value that the test puts into A and B.
    fn range(self) -> (i64, i64) {
        match self {
            Ty::U8 => (0, 255),
            Ty::S8 => (-128, 127),
            Ty::U4 => (0, 15),
            Ty::S4 => (-8, 7),
            Ty::B1 => (0, 1),
            _ => (-4, 4),
        }
    }

    fn random(self, random: &mut Random) -> i64 {
        let (low, high) = self.range();
        low + random.below((high - low + 1) as u64) as i64
    }
}

/// A fragment's registers, `wide` ones of 64 bits.
fn pack(matrix: &dyn Fn(usize, usize) -> i64, ty: Ty, position: Position, elements: usize) -> Vec<Register> {
    let width = if ty == Ty::F64 { 64 } else { 32 };
    let mut registers = vec![[0; LANES]; (elements * ty.bits()).div_ceil(width)];
    for i in 0..elements {
        let bit = i * ty.bits();
        for (lane, value) in registers[bit / width].iter_mut().enumerate() {
            let (row, column) = position(lane, i);
            *value |= ty.encode(matrix(row, column)) << (bit % width);
        }
    }
    registers
}

/// A shape with its types.
struct Case {
    opcode: String,
    m: usize,
    k: usize,
    types: [Ty; 3],
    positions: [Position; 3],
}

fn case(opcode: &str, (m, k): (usize, usize), types: [Ty; 3], positions: [Position; 3]) -> Case {
    Case { opcode: opcode.into(), m, k, types, positions }
}

#[rustfmt::skip]
fn cases() -> Vec<Case> {
    use Ty::*;
    let mut cases = vec![
        case("m8n8k4.row.col.f64.f64.f64.f64", (8, 4), [F64, F64, F64], [a_8x4_64, b_4, c_8]),
        case("m16n8k4.row.col.f64.f64.f64.f64", (16, 4), [F64, F64, F64], [a_16x4_32, b_4, c_16]),
        case("m16n8k8.row.col.f64.f64.f64.f64.rz", (16, 8), [F64, F64, F64], [a_16x8_32, b_8_32, c_16]),
        case("m16n8k16.row.col.rn.f64.f64.f64.f64", (16, 16), [F64, F64, F64], [a_16x16_64, b_16_64, c_16]),
        case("m16n8k4.row.col.f32.tf32.tf32.f32", (16, 4), [F32, F32, F32], [a_16x4_32, b_4, c_16]),
        case("m16n8k8.row.col.f32.tf32.tf32.f32", (16, 8), [F32, F32, F32], [a_16x8_32, b_8_32, c_16]),
        case("m16n8k8.row.col.f32.bf16.bf16.f32", (16, 8), [Bf16, Bf16, F32], [a_16x8_16, b_8_16, c_16]),
        case("m16n8k16.row.col.f32.bf16.bf16.f32", (16, 16), [Bf16, Bf16, F32], [a_16x16_16, b_16_16, c_16]),
        case("m16n8k8.row.col.f32.f16.f16.f32", (16, 8), [F16, F16, F32], [a_16x8_16, b_8_16, c_16]),
        case("m16n8k16.row.col.f32.f16.f16.f32", (16, 16), [F16, F16, F32], [a_16x16_16, b_16_16, c_16]),
        case("m16n8k8.row.col.f16.f16.f16.f16", (16, 8), [F16, F16, F16], [a_16x8_16, b_8_16, c_16]),
        case("m16n8k16.row.col.f16.f16.f16.f16", (16, 16), [F16, F16, F16], [a_16x16_16, b_16_16, c_16]),
    ];
    for (a_name, a) in [("e4m3", E4m3), ("e5m2", E5m2)] {
        for (b_name, b) in [("e4m3", E4m3), ("e5m2", E5m2)] {
            for (c_name, c) in [("f16", F16), ("f32", F32)] {
                let types = format!("row.col.{c_name}.{a_name}.{b_name}.{c_name}");
                cases.push(case(&format!("m16n8k16.{types}"), (16, 16), [a, b, c], [a_16x16_8, b_16_8, c_16]));
                cases.push(case(&format!("m16n8k32.{types}"), (16, 32), [a, b, c], [a_16x32_8, b_32_8, c_16]));
            }
        }
    }
    for saturate in ["", ".satfinite"] {
        for (a_name, a) in [("s8", S8), ("u8", U8)] {
            for (b_name, b) in [("s8", S8), ("u8", U8)] {
                let types = format!("row.col{saturate}.s32.{a_name}.{b_name}.s32");
                cases.push(case(&format!("m8n8k16.{types}"), (8, 16), [a, b, S32], [a_8x16_8, b_16_8, c_8]));
                cases.push(case(&format!("m16n8k16.{types}"), (16, 16), [a, b, S32], [a_16x16_8, b_16_8, c_16]));
                cases.push(case(&format!("m16n8k32.{types}"), (16, 32), [a, b, S32], [a_16x32_8, b_32_8, c_16]));
            }
        }
        for (a_name, a) in [("s4", S4), ("u4", U4)] {
            for (b_name, b) in [("s4", S4), ("u4", U4)] {
                let types = format!("row.col{saturate}.s32.{a_name}.{b_name}.s32");
                cases.push(case(&format!("m8n8k32.{types}"), (8, 32), [a, b, S32], [a_8x32_4, b_32_4, c_8]));
                cases.push(case(&format!("m16n8k32.{types}"), (16, 32), [a, b, S32], [a_16x32_4, b_32_4, c_16]));
                cases.push(case(&format!("m16n8k64.{types}"), (16, 64), [a, b, S32], [a_16x64_4, b_64_4, c_16]));
            }
        }
    }
    for op in ["xor", "and"] {
        let types = format!("row.col.s32.b1.b1.s32.{op}.popc");
        cases.push(case(&format!("m8n8k128.{types}"), (8, 128), [B1, B1, S32], [a_8x128_1, b_128_1, c_8]));
        cases.push(case(&format!("m16n8k128.{types}"), (16, 128), [B1, B1, S32], [a_16x128_1, b_128_1, c_16]));
        cases.push(case(&format!("m16n8k256.{types}"), (16, 256), [B1, B1, S32], [a_16x256_1, b_256_1, c_16]));
    }
    cases
}

#[test]
fn every_form_multiplies_as_matrices_do() {
    let mut random = Random(1);
    let cases = cases();
    assert_eq!(cases.len(), 12 + 16 + 48 + 6);
    for Case { opcode, m, k, types: [a_ty, b_ty, c_ty], positions: [a_at, b_at, c_at] } in &cases {
        let (m, k) = (*m, *k);
        let mut fill = |rows: usize, columns: usize, ty: Ty| -> Vec<Vec<i64>> {
            (0..rows).map(|_| (0..columns).map(|_| ty.random(&mut random)).collect()).collect()
        };
        let (a, b) = (fill(m, k, *a_ty), fill(k, 8, *b_ty));
        let c = fill(m, 8, if *c_ty == Ty::S32 { Ty::S8 } else { *c_ty });
        let wide = *a_ty == Ty::F64;
        let a_registers = pack(&|row, column| a[row][column], *a_ty, *a_at, m * k / 32);
        let b_registers = pack(&|row, column| b[row][column], *b_ty, *b_at, k / 4);
        let c_registers = pack(&|row, column| c[row][column], *c_ty, *c_at, m / 4);
        let expected = pack(
            &|row, column| {
                let products = (0..k).map(|k| match (a[row][k], b[k][column]) {
                    (x, y) if opcode.contains("xor") => x ^ y,
                    (x, y) => x * y,
                });
                c[row][column] + products.sum::<i64>()
            },
            *c_ty,
            *c_at,
            m / 4,
        );
        for compute_capability in ComputeCapability::ALL {
            for mode in [TensorMode::BitAccurate, TensorMode::Fast] {
                let registers = [&a_registers[..], &b_registers, &c_registers];
                let d = execute(opcode, (*compute_capability, mode), wide, expected.len(), registers);
                assert_eq!(d, expected, "{opcode} on {compute_capability}, {mode:?}");
            }
        }
    }
}

#[test]
fn the_four_products_of_m8n8k4() {
    let mut random = Random(2);
    let at_row = |lane: usize| if lane < 16 { lane % 4 } else { lane % 4 + 4 };
    for (layouts, a_column_major, b_column_major) in [
        ("row.col", false, true),
        ("row.row", false, false),
        ("col.col", true, true),
        ("col.row", true, false),
    ] {
        for (d_name, c_name) in [("f32", "f32"), ("f32", "f16"), ("f16", "f16")] {
            let mut matrix = || -> [[[i64; 8]; 8]; 4] {
                std::array::from_fn(|_| {
                    std::array::from_fn(|_| std::array::from_fn(|_| random.below(9) as i64 - 4))
                })
            };
            let (a, b, c) = (matrix(), matrix(), matrix());
            let mut registers = [vec![[0; LANES]; 2], vec![[0; LANES]; 2], vec![[0; LANES]; 8]];
            let of_type = |name: &str| if name == "f16" { Ty::F16 } else { Ty::F32 };
            let mut expected = vec![[0; LANES]; if d_name == "f16" { 4 } else { 8 }];
            registers[2].truncate(if c_name == "f16" { 4 } else { 8 });
            for lane in 0..LANES {
                let computation = lane % 16 / 4;
                for i in 0..4 {
                    let (row, column) = if a_column_major {
                        (if lane < 16 { i % 4 } else { i % 4 + 4 }, lane % 4)
                    } else {
                        (at_row(lane), i)
                    };
                    registers[0][i / 2][lane] |=
                        Ty::F16.encode(a[computation][row][column]) << (16 * (i % 2));
                    let (row, column) = if b_column_major {
                        (i, at_row(lane))
                    } else {
                        (lane % 4, if lane < 16 { i } else { i + 4 })
                    };
                    registers[1][i / 2][lane] |=
                        Ty::F16.encode(b[computation][row][column]) << (16 * (i % 2));
                }
                for i in 0..8 {
                    let place = |name: &str| {
                        if name == "f16" {
                            return (at_row(lane), i);
                        }
                        let x = (lane & 1) + (i & 2);
                        (if lane < 16 { x } else { x + 4 }, (i & 4) + (lane & 2) + (i & 1))
                    };
                    let put = |register: &mut [Register], name: &str, value: i64| {
                        let bits = of_type(name).encode(value);
                        if name == "f16" {
                            register[i / 2][lane] |= bits << (16 * (i % 2));
                        } else {
                            register[i][lane] = bits;
                        }
                    };
                    let (row, column) = place(c_name);
                    put(&mut registers[2], c_name, c[computation][row][column]);
                    let (row, column) = place(d_name);
                    let products = (0..4).map(|k| a[computation][row][k] * b[computation][k][column]);
                    put(&mut expected, d_name, c[computation][row][column] + products.sum::<i64>());
                }
            }
            let opcode = format!("m8n8k4.{layouts}.{d_name}.f16.f16.{c_name}");
            let how = (ComputeCapability::Sm80, TensorMode::BitAccurate);
            let [a, b, c] = &registers;
            assert_eq!(execute(&opcode, how, false, expected.len(), [a, b, c]), expected, "{opcode}");
        }
    }
}

#[test]
fn integers_wrap_or_saturate() {
    let run = |saturate: &str, a: u64, b: u64, c: u32| {
        let opcode = format!("m8n8k16.row.col{saturate}.s32.s8.s8.s32");
        let how = (ComputeCapability::Sm80, TensorMode::BitAccurate);
        let d = execute(
            &opcode,
            how,
            false,
            2,
            [&[[a; LANES]], &[[b; LANES]], &[[c.into(); LANES], [c.into(); LANES]]],
        );
        assert!(d.iter().flatten().all(|value| *value == d[0][0]));
        d[0][0] as u32 as i32
    };
    // 16 products of 2 and 3, or of -2 and 3.
    assert_eq!(run("", 0x0202_0202, 0x0303_0303, i32::MAX as u32 - 95), i32::MIN);
    assert_eq!(run(".satfinite", 0x0202_0202, 0x0303_0303, i32::MAX as u32 - 95), i32::MAX);
    assert_eq!(run(".satfinite", 0x0202_0202, 0x0303_0303, i32::MAX as u32 - 96), i32::MAX);
    assert_eq!(run(".satfinite", 0x0202_0202, 0x0303_0303, i32::MAX as u32 - 97), i32::MAX - 1);
    assert_eq!(run("", 0xfefe_fefe, 0x0303_0303, i32::MIN as u32 + 95), i32::MAX);
    assert_eq!(run(".satfinite", 0xfefe_fefe, 0x0303_0303, i32::MIN as u32 + 95), i32::MIN);
}
