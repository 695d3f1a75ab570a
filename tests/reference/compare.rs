use llama_kernels::reference::compare::{Matrix, Worst, bitwise};
use llama_kernels::tensor::DType;

use super::support::refused;

/// The rule on rows of `width`.
fn elementwise(
    dtype: DType,
    width: usize,
    out: &[f64],
    reference: &[f64],
    naive: &[f64],
) -> Result<Worst, Worst> {
    let matrix = |values| Matrix::new(values, width);
    llama_kernels::reference::compare::elementwise(matrix(out), matrix(reference), matrix(naive), dtype)
}

#[test]
fn the_worst_element_is_the_one_furthest_beyond_the_bound_of_its_row() {
    // Row 0 may be off by 2 * 0.5 and a little, row 1 by that little.
    let reference = [1.0, 2.0, 3.0, 4.0];
    let naive = [1.5, 2.0, 3.0, 4.0];
    let worst = |out: [f64; 4]| elementwise(DType::F32, 2, &out, &reference, &naive);
    assert!(worst(reference).is_ok() && worst(naive).is_ok());
    assert!(worst([1.0, 2.99, 3.0, 4.0]).is_ok());
    let late = worst([1.0, 2.0, 3.0, 4.5]).unwrap_err();
    assert_eq!((late.row, late.column, late.error), (1, 1, 0.5));
    assert!(late.to_string().starts_with("[1, 1] is 4.5, expected 4: off by 5.000e-1, may be "), "{late}");
    assert!(worst([1.0, 3.01, 3.0, 4.0]).is_err());
}

#[test]
fn the_bound_is_twice_what_the_format_loses_by_two_roundings() {
    // In bf16 between 1 and 2 the spacing is 2^-7: 1 + 0.3 and back is 1.296875 - 0.3, which is 0.99609375.
    let worst = elementwise(DType::BF16, 1, &[1.005], &[1.0], &[1.0]).unwrap();
    assert_eq!(worst.bound, 2.0 * (1.0 - 0.99609375));
    assert!(elementwise(DType::BF16, 1, &[1.01], &[1.0], &[1.0]).is_err());
}

#[test]
fn what_is_not_finite_must_be_so_in_the_reference() {
    let (nan, inf) = (f64::NAN, f64::INFINITY);
    let passes = |out, reference, naive| elementwise(DType::F16, 1, &[out], &[reference], &[naive]).is_ok();
    assert!(passes(nan, nan, nan) && passes(inf, inf, inf));
    for (out, reference) in
        [(nan, 1.0), (inf, 1.0), (1.0, nan), (inf, -inf), (1.0, inf), (inf, nan), (nan, inf)]
    {
        assert!(!passes(out, reference, reference), "{out} for {reference}");
    }
    // 70000 overflows f16: what the naive computation gives is right, and so is a number near the reference.
    assert!(passes(inf, 70000.0, inf) && !passes(-inf, 70000.0, inf) && passes(70000.0, 70000.0, inf));
}

#[test]
fn bits_are_compared_element_by_element() {
    assert!(bitwise(&[1, 2, 3, 4], &[1, 2, 3, 4], DType::BF16, 2).is_ok());
    refused(
        bitwise(&[1, 2, 3, 4], &[1, 2, 3, 5], DType::BF16, 1),
        "compare: out: expected 0x0503 at [1, 0], got 0x0403 at [1, 0]",
    );
    refused(bitwise(&[0; 2], &[0; 4], DType::BF16, 2), "compare: out: expected 4 bytes, got 2");
}

#[test]
fn what_is_missing_differs() {
    let four = [1.0, 2.0, 3.0, 4.0];
    let missing = elementwise(DType::F32, 2, &four[..3], &four, &four).unwrap_err();
    assert_eq!((missing.row, missing.column, missing.reference, missing.error), (1, 1, 4.0, f64::INFINITY));
    assert!(missing.out.is_nan());
    assert!(elementwise(DType::F32, 2, &four, &four[..3], &four).is_err());
    assert!(elementwise(DType::F32, 2, &four, &four, &four[..2]).is_err());
    assert!(elementwise(DType::F32, 2, &[], &[], &[]).is_ok());
    let (wide, narrow) = (Matrix::new(&four, 4), Matrix::new(&four, 2));
    assert!(llama_kernels::reference::compare::elementwise(wide, narrow, narrow, DType::F32).is_err());
}
