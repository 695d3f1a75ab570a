//! Matrices in shared memory: every swizzle, along k and transposed, of A and of B.

use super::*;

/// A tile of some lines that is laid out as kernels do, from `start` on; and one with the offsets the other way round.
fn tiles(swizzle: Swizzle, transposed: bool, lines: usize, start: usize) -> [Tile; 2] {
    let width = 16 << swizzle.0;
    let eights = lines / 8;
    let tile = |leading, stride| Tile { swizzle, transposed, start, leading, stride };
    match (transposed, swizzle.0) {
        // Units along k; then the eights, or the other way round.
        (false, 0) => [tile(128, 256), tile(128 * eights, 128)],
        // The leading offset is not used.
        (false, _) => [tile(16, 8 * width), tile(8192, 16 * width)],
        (true, 0) => [tile(128, 256), tile(128 * eights, 128)],
        // The second half of k follows the lines of the first, or each row of lines has all of k.
        (true, _) => {
            let rows = (16 * eights).div_ceil(width);
            [tile(8 * width, 8 * width * rows), tile(16 * width, 8 * width)]
        }
    }
}

/// Each element of one operand is told apart: the other has a single 1 in each line, at a k that the line chooses.
fn check_coordinates(case: &Case) {
    let k = case.k();
    // A shows its coordinates: D[i][j] = A[i][j % k].
    let a = |i: usize, at: usize| (i * 5 + at * 11 + i * at) as i32 % 8;
    let one = |at: usize, j: usize| i32::from(at == j % k);
    case.check(1, &a, &one);
    // B shows its own: D[i][j] = B[i % k][j].
    let b = |at: usize, j: usize| (at * 3 + j * 5 + at * j) as i32 % 8;
    case.check(2, &|i, at| i32::from(at == i % k), &b);
    // More than 8 values do not fit the narrowest type, so the place within 8 and the eight are shown apart.
    case.check(3, &|i, at| i32::from(at == i % k), &|at, j| (j / 8 + at / 4) as i32 % 8);
    case.check(4, &|i, at| (i / 8 + at / 4) as i32 % 8, &one);
}

fn types() -> Vec<(&'static str, Element, Element)> {
    vec![("f32", F16, F16), ("f32", BF16, BF16), ("f32", TF32, TF32), ("f32", E4M3, E5M2), ("s32", S8, U8)]
}

#[test]
fn b_along_k_in_every_swizzle() {
    for (d, a, b) in types() {
        for swizzle in Swizzle::ALL {
            for n in [8, 16, 64, 128] {
                for b_tile in tiles(swizzle, false, n, 1024) {
                    check_coordinates(&Case { n, d, a, b, b_tile, ..small() });
                }
            }
        }
    }
}

#[test]
fn transposed_b_in_every_swizzle() {
    for (a, b) in [(F16, F16), (BF16, BF16)] {
        for swizzle in Swizzle::ALL {
            for n in [8, 24, 64, 192] {
                for b_tile in tiles(swizzle, true, n, 2048) {
                    check_coordinates(&Case { n, a, b, b_tile, ..small() });
                }
            }
        }
    }
}

#[test]
fn a_in_shared_memory_in_every_swizzle() {
    for (d, a, b) in types() {
        for swizzle in Swizzle::ALL {
            for transposed in [false, true] {
                if transposed && a.bits != 16 {
                    continue;
                }
                for a_tile in tiles(swizzle, transposed, 64, 8192) {
                    let b_tile = tiles(swizzle, false, 16, 0)[0];
                    check_coordinates(&Case { n: 16, d, a, b, a_tile: Some(a_tile), b_tile, ..small() });
                }
            }
        }
    }
}

#[test]
fn all_numbers_of_columns() {
    for n in (8..=256).step_by(8) {
        let b_tile = tiles(Swizzle(1), false, n, 1024)[0];
        check_coordinates(&Case { n, b_tile, ..small() });
        if n <= 32 || n.is_multiple_of(16) && n <= 224 {
            check_coordinates(&Case { n, d: "s32", a: S8, b: S8, b_tile, ..small() });
        }
        check_coordinates(&Case { n, d: "f16", a: E4M3, b: E4M3, b_tile, ..small() });
    }
}

/// Steps along k move the start within a swizzled row.
#[test]
fn starts_within_a_row() {
    for (swizzle, steps) in [(Swizzle(3), 4), (Swizzle(2), 2)] {
        for step in 0..steps {
            let b_tile = Tile { start: 4096 + 32 * step, ..tiles(swizzle, false, 32, 0)[0] };
            let a_tile = Tile { start: 16384 + 32 * step, ..tiles(swizzle, false, 64, 0)[0] };
            check_coordinates(&Case { n: 32, a_tile: Some(a_tile), b_tile, ..small() });
        }
    }
}

/// A pattern that starts in the midst of 1024 bytes: what the row numbers of the swizzle count from.
#[test]
fn patterns_with_a_base_offset() {
    for base in 1..8 {
        let tile = tiles(Swizzle(3), false, 8, 1024)[0];
        let case = Case { b_tile: tile, ..small() };
        // The same bytes, so many rows further down: the kernel copies them there.
        let moved =
            case.plain_kernel().replace("mov.u32 %r3, tile;", &format!("mov.u32 %r3, tile+{};", 128 * base));
        let descriptor = tile.descriptor();
        let shifted = (descriptor + 8 * base) | (base << 49);
        let moved = moved.replace(&format!("{}", descriptor as i64), &format!("{}", shifted as i64));
        let moved = moved.replace(".b8 tile[32768]", ".b8 tile[33792]");
        let c = vec![0; 512];
        let (d, _) = case.run(&moved, 0, &mixed(3), &mixed(2), &c).unwrap_or_else(|v| panic!("{v}"));
        let (plain, _) = case.run(&case.plain_kernel(), 0, &mixed(3), &mixed(2), &c).unwrap();
        assert_eq!(d, plain, "{base}");
    }
}

#[test]
fn signs() {
    for (d, a, b) in types().into_iter().filter(|(d, ..)| *d != "s32") {
        for negate in [(true, false), (false, true), (true, true)] {
            for a_tile in [None, Some(tiles(Swizzle(2), false, 64, 8192)[0])] {
                Case { d, a, b, negate, a_tile, ..small() }.check(0, &mixed(3), &mixed(2));
            }
        }
    }
}
