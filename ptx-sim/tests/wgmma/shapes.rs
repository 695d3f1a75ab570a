//! Types and numbers of columns.

use super::*;

#[test]
fn one_small_product() {
    let report = small().check(0, &mixed(3), &mixed(2));
    assert_eq!(report.counters.tensor_flops["bf16"], 2 * 64 * 8 * 16);
}

#[test]
fn all_types() {
    let float = [("f32", F16, F16), ("f16", F16, F16), ("f32", BF16, BF16), ("f32", TF32, TF32)];
    let bytes = [E4M3, E5M2];
    let small_floats = ["f32", "f16"]
        .into_iter()
        .flat_map(|d| bytes.into_iter().flat_map(move |a| bytes.into_iter().map(move |b| (d, a, b))));
    let integers = [S8, U8].into_iter().flat_map(|a| [S8, U8].into_iter().map(move |b| ("s32", a, b)));
    for (d, a, b) in float.into_iter().chain(small_floats).chain(integers) {
        let values = |element: Element, factor: usize| {
            let mixed = mixed(factor);
            move |i: usize, j: usize| if element.name == "u8" { mixed(i, j) + 3 } else { mixed(i, j) }
        };
        for (n, accumulates) in [(8, true), (24, false), (96, true)] {
            let case = Case { n, d, a, b, accumulates, ..small() };
            case.check(1, &values(a, 3), &values(b, 2));
        }
    }
}

#[test]
fn single_bits() {
    for (n, accumulates) in [(8, true), (32, false), (48, true)] {
        let bits = |factor: usize| {
            let mixed = mixed(factor);
            move |i: usize, j: usize| mixed(i, j) & 1
        };
        let case = Case { n, d: "s32", a: B1, b: B1, suffix: ".and.popc", accumulates, ..small() };
        let report = case.check(0, &bits(3), &bits(2));
        assert_eq!(report.counters.tensor_flops["b1"], (2 * 64 * n * 256) as u64);
    }
}

#[test]
fn integers_saturate_or_wrap() {
    for (suffix, expected) in [("", i32::MIN + 31), (".satfinite", i32::MAX)] {
        let case = Case { d: "s32", a: S8, b: S8, suffix, ..small() };
        let (d, _) = case.run(&case.plain_kernel(), 0, &|_, _| 1, &|_, _| 1, &[i32::MAX; 512]).unwrap();
        assert_eq!(d, vec![expected; 512]);
    }
}
