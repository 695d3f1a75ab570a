use llama_kernels::reference::compare::{bitwise, elementwise};
use llama_kernels::tensor::DType;

use super::support::refused;

#[test]
fn the_worst_element_is_the_one_furthest_beyond_the_bound_of_its_row() {
    // Row 0 may be off by 2 * 0.5 and a little, row 1 by that little.
    let reference = [1.0, 2.0, 3.0, 4.0];
    let naive = [1.5, 2.0, 3.0, 4.0];
    let worst = |out: [f64; 4]| elementwise(DType::F32, 2, &out, &reference, &naive).unwrap();
    assert!(worst(reference).passes() && worst(naive).passes());
    assert!(worst([1.0, 2.99, 3.0, 4.0]).passes());
    let late = worst([1.0, 2.0, 3.0, 4.5]);
    assert!(!late.passes());
    assert_eq!((late.row, late.column, late.error), (1, 1, 0.5));
    assert!(late.to_string().starts_with("[1, 1] is 4.5, expected 4: off by 5.000e-1, may be "), "{late}");
    assert!(!worst([1.0, 3.01, 3.0, 4.0]).passes());
}

#[test]
fn the_bound_is_twice_what_the_format_loses_by_two_roundings() {
    // In bf16 between 1 and 2 the spacing is 2^-7: 1 + 0.3 and back is 1.296875 - 0.3, which is 0.99609375.
    let worst = elementwise(DType::BF16, 1, &[1.005], &[1.0], &[1.0]).unwrap();
    assert_eq!(worst.bound, 2.0 * (1.0 - 0.99609375));
    assert!(worst.passes());
    assert!(!elementwise(DType::BF16, 1, &[1.01], &[1.0], &[1.0]).unwrap().passes());
}

#[test]
fn what_is_not_finite_must_be_so_in_the_reference() {
    let (nan, inf) = (f64::NAN, f64::INFINITY);
    let passes =
        |out, reference, naive| elementwise(DType::F16, 1, &[out], &[reference], &[naive]).unwrap().passes();
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
    assert!(bitwise(DType::BF16, 2, &[1, 2, 3, 4], &[1, 2, 3, 4]).is_ok());
    refused(
        bitwise(DType::BF16, 1, &[1, 2, 3, 4], &[1, 2, 3, 5]),
        "compare: out: expected 0x0503 at [1, 0], got 0x0403 at [1, 0]",
    );
    refused(bitwise(DType::BF16, 2, &[0; 2], &[0; 4]), "compare: out: expected 4 in rows of 4, got 2");
    refused(
        elementwise(DType::F32, 2, &[0.0; 3], &[0.0; 3], &[0.0; 3]).map(|_| ()),
        "compare: out: expected 3 in rows of 2, got 3",
    );
}
