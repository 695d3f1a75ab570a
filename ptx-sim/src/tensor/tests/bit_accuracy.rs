//! The arithmetic of the tensor cores: the fast version against the plain one, and what is known of each generation.

#[cfg(target_arch = "x86_64")]
use super::super::arithmetic::vector::Avx2;
use super::super::arithmetic::vector::Portable;
use super::super::arithmetic::{Arithmetic, Product, multiply_bit_accurate, scaled};
use super::super::form::{Accumulator, Element};
use super::super::layout::{AWords, Accumulators, BWords};
use super::{LANES, Random, Register, execute};
use crate::config::{ComputeCapability, TensorMode};

/// How the inputs of a product are drawn.
#[derive(Clone, Copy, Debug)]
enum Draw {
    /// Any bits, NaN and infinity among them.
    Any,
    /// Any finite values.
    Finite,
    /// Exponents that are close, so that nearly all bits take part.
    Narrow,
    /// Every second product is another one's negative, but for its last bits.
    Cancelling,
    /// Subnormals and zeros.
    Tiny,
    /// Large enough to overflow on the way.
    Huge,
    /// Products about as small as the least f32, beside a C that is.
    Underflowing,
}

/// Bits of the exponent and of the fraction, and of the register below.
fn shape(element: Element) -> (u32, u32, u32) {
    match element {
        Element::F16 => (5, 10, 0),
        Element::Bf16 => (8, 7, 0),
        Element::Tf32 => (8, 10, 13),
        Element::E4m3 => (4, 3, 0),
        Element::E5m2 => (5, 2, 0),
    }
}

/// A value of a format.
fn value(random: &mut Random, draw: Draw, (exponent_bits, fraction_bits, unused): (u32, u32, u32)) -> u32 {
    let largest = (1 << exponent_bits) - 1;
    let bias = largest / 2;
    let exponent = match draw {
        Draw::Any => random.below(largest + 1),
        Draw::Finite => random.below(largest),
        Draw::Narrow | Draw::Cancelling => (bias + random.below(7)).saturating_sub(3).min(largest - 1),
        Draw::Tiny => random.below(2) * random.below(2),
        Draw::Huge => largest - 1 - random.below(2),
        Draw::Underflowing => (bias / 2 + 1).saturating_sub(random.below(14)),
    } as u32;
    let fraction = random.next() as u32 >> (32 - fraction_bits);
    let fraction = if random.below(8) == 0 { 0 } else { fraction };
    let sign = random.below(2) as u32;
    let below = if unused == 0 { 0 } else { random.next() as u32 >> (32 - unused) };
    ((sign << exponent_bits | exponent) << fraction_bits | fraction) << unused | below
}

fn words<const N: usize>(random: &mut Random, draw: Draw, element: Element) -> [[u32; N]; 8] {
    let bits = element.bits();
    let mut words = [[0; N]; 8];
    for word in &mut words {
        for value_of in word {
            for within in 0..32 / bits {
                *value_of |= value(random, draw, shape(element)) << (within * bits);
            }
        }
    }
    if matches!(draw, Draw::Cancelling) {
        // Words come in pairs of opposite sign: the same numbers but for a few low bits.
        let signs = (0..32 / bits).fold(0, |signs, within| signs | 1 << (within * bits + bits - 1));
        for pair in words.chunks_mut(2) {
            let [first, second] = pair else { continue };
            for (first, second) in first.iter().zip(second) {
                let noise = if random.below(2) == 0 { 0 } else { 1 << random.below(4) };
                *second = first ^ if N == 16 { signs } else { noise };
            }
        }
    }
    words
}

const TYPES: [(Element, Element, Accumulator, &[usize]); 12] = {
    use Accumulator::{F16, F32};
    use Element::{Bf16, E4m3, E5m2, Tf32};
    [
        (Element::F16, Element::F16, F32, &[8, 16]),
        (Element::F16, Element::F16, F16, &[8, 16]),
        (Bf16, Bf16, F32, &[8, 16]),
        (Tf32, Tf32, F32, &[4, 8]),
        (E4m3, E4m3, F32, &[16, 32]),
        (E4m3, E4m3, F16, &[16, 32]),
        (E5m2, E5m2, F32, &[16, 32]),
        (E5m2, E5m2, F16, &[16, 32]),
        (E4m3, E5m2, F32, &[16, 32]),
        (E4m3, E5m2, F16, &[16, 32]),
        (E5m2, E4m3, F32, &[16, 32]),
        (E5m2, E4m3, F16, &[16, 32]),
    ]
};

/// Compares the arithmetic of `wgmma`, whose k is the largest of a type, with the plain one.
fn check_warpgroup(product: &Product<'_>, what: &str) {
    let Product { a, b, accumulator, .. } = *product;
    let arithmetic = Arithmetic::of_warpgroup(a, accumulator);
    let (decoded_a, decoded_b) = (scaled::decode(a, product.a_words), scaled::decode(b, product.b_words));
    let d = scaled::multiply(Portable, product, arithmetic, &decoded_a, &decoded_b);
    #[cfg(target_arch = "x86_64")]
    if crate::alu::has_wide_vectors() {
        // SAFETY: AVX2 is among what was asked for.
        let simd = unsafe { Avx2::new() };
        assert!(scaled::multiply(simd, product, arithmetic, &decoded_a, &decoded_b) == d);
    }
    for (row, d) in d.iter().enumerate() {
        for (column, d) in d.iter().enumerate() {
            let expected = product.reference(arithmetic, row, column);
            assert_eq!(
                *d, expected,
                "{a:?} {b:?} {accumulator:?} {what} ({row}, {column}): {d:#x}, expected {expected:#x}"
            );
        }
    }
}

/// Rounds of the comparison below; each is 128 elements of every type, k and compute capability for every draw.
const ROUNDS: usize = 6;

#[test]
fn the_fast_arithmetic_is_the_plain_one_bit_for_bit() {
    let mut random = Random(4);
    let (mut compared, mut finite) = (0_u64, 0_u64);
    for round in 0..ROUNDS {
        for (a, b, accumulator, ks) in TYPES {
            let c_shape = if accumulator == Accumulator::F16 { (5, 10, 0) } else { (8, 23, 0) };
            for draw in [
                Draw::Any,
                Draw::Finite,
                Draw::Narrow,
                Draw::Cancelling,
                Draw::Tiny,
                Draw::Huge,
                Draw::Underflowing,
            ] {
                let mut a_words: AWords = words(&mut random, draw, a);
                let b_words: BWords = words(&mut random, draw, b);
                let c_draw = match draw {
                    Draw::Underflowing => Draw::Tiny,
                    _ => [draw, Draw::Narrow, Draw::Finite, Draw::Tiny][round % 4],
                };
                let c: Accumulators =
                    std::array::from_fn(|_| std::array::from_fn(|_| value(&mut random, c_draw, c_shape)));
                if round % 2 == 1 {
                    // A row of zeros, and a single number in another.
                    for (word, values) in a_words.iter_mut().enumerate() {
                        values[3] = 0;
                        values[4] = if word == 1 { values[4] } else { 0 };
                    }
                }
                for &k in ks {
                    if k * a.bits() == 256 {
                        let product =
                            Product { a, b, accumulator, k, a_words: &a_words, b_words: &b_words, c: &c };
                        check_warpgroup(&product, &format!("{draw:?}"));
                    }
                    for compute_capability in ComputeCapability::ALL {
                        let arithmetic = Arithmetic::of(*compute_capability, a, accumulator, k);
                        let product =
                            Product { a, b, accumulator, k, a_words: &a_words, b_words: &b_words, c: &c };
                        let d = multiply_bit_accurate(Portable, &product, arithmetic);
                        #[cfg(target_arch = "x86_64")]
                        if crate::alu::has_wide_vectors() {
                            // SAFETY: AVX2 is among what was asked for.
                            let simd = unsafe { Avx2::new() };
                            assert!(multiply_bit_accurate(simd, &product, arithmetic) == d);
                        }
                        for (row, d) in d.iter().enumerate() {
                            for (column, d) in d.iter().enumerate() {
                                let expected = product.reference(arithmetic, row, column);
                                assert_eq!(
                                    *d, expected,
                                    "{a:?} {b:?} {accumulator:?} k={k} {compute_capability} {draw:?} \
                                     ({row}, {column}): {d:#x}, expected {expected:#x}"
                                );
                                compared += 1;
                                let exponent =
                                    if accumulator == Accumulator::F16 { 0x7c00 } else { 0x7f80_0000 };
                                finite += u64::from(d & exponent != exponent && d & !(1 << 31) != 0);
                            }
                        }
                    }
                }
            }
        }
    }
    assert!(compared >= 400_000 && finite > compared / 3, "{compared} elements, {finite} finite");
}

#[test]
fn the_largest_sums_do_not_overflow() {
    // All significands at their largest, all exponents equal, C among them: more than 31 bits with 25 bits of fraction.
    for (a, b, accumulator, ks) in TYPES {
        for (sign_a, sign_c) in [(0, 0), (1, 1), (0, 1)] {
            let largest = |element: Element, sign: u32| {
                let (exponent_bits, fraction_bits, unused) = shape(element);
                let one = (1_u32 << (exponent_bits - 1)) - 1;
                let bits =
                    ((sign << exponent_bits | one) << fraction_bits | ((1 << fraction_bits) - 1)) << unused;
                (0..32 / element.bits()).fold(0, |word, within| word | bits << (within * element.bits()))
            };
            let c = match accumulator {
                Accumulator::F16 => sign_c << 15 | 0x3fff,
                Accumulator::F32 => sign_c << 31 | 0x3fff_ffff,
            };
            let (a_words, b_words) = ([[largest(a, sign_a); 16]; 8], [[largest(b, 0); 8]; 8]);
            let c = [[c; 8]; 16];
            for &k in ks {
                if k * a.bits() == 256 {
                    let product =
                        Product { a, b, accumulator, k, a_words: &a_words, b_words: &b_words, c: &c };
                    check_warpgroup(&product, "at its largest");
                }
                for compute_capability in ComputeCapability::ALL {
                    let arithmetic = Arithmetic::of(*compute_capability, a, accumulator, k);
                    let product =
                        Product { a, b, accumulator, k, a_words: &a_words, b_words: &b_words, c: &c };
                    let expected = [[product.reference(arithmetic, 0, 0); 8]; 16];
                    assert_eq!(
                        multiply_bit_accurate(Portable, &product, arithmetic),
                        expected,
                        "{a:?} {b:?} {accumulator:?} k={k} {compute_capability}"
                    );
                }
            }
        }
    }
}

/// Registers of `m16n8k16` or the like, where lanes 0 to 3 hold row 0 of A and column 0 of B, all else zero: element 0
/// of D, with the row's elements given in the order of k.
struct Dot<'t> {
    opcode: &'t str,
    compute_capability: ComputeCapability,
    bits: usize,
    registers: [usize; 4],
}

impl Dot<'_> {
    fn run(&self, a: &[u32], b: &[u32], c: u32) -> u32 {
        self.run_in(TensorMode::BitAccurate, a, b, c)
    }

    fn run_in(&self, mode: TensorMode, a: &[u32], b: &[u32], c: u32) -> u32 {
        let [d_count, a_count, b_count, c_count] = self.registers;
        let run = 32 / self.bits;
        let pack = |elements: &[u32], count: usize, stride: usize| {
            let mut registers: Vec<Register> = vec![[0; LANES]; count];
            for (k, element) in elements.iter().enumerate() {
                // Runs of k lie in lanes 0 to 3, then in the next register for row 0.
                let word = k / run;
                registers[word / 4 * stride][word % 4] |= u64::from(*element) << (k % run * self.bits);
            }
            registers
        };
        let mut c_registers: Vec<Register> = vec![[0; LANES]; c_count];
        c_registers[0][0] = c.into();
        let how = (self.compute_capability, mode);
        let (a, b) = (pack(a, a_count, 2), pack(b, b_count, 1));
        let d = execute(self.opcode, how, false, d_count, [&a, &b, &c_registers]);
        d[0][0] as u32 & if self.opcode.contains("col.f16") { 0xffff } else { u32::MAX }
    }

    /// f16 A and B, f32 C and D.
    fn f16(compute_capability: ComputeCapability, factors: &[(f32, f32)], c: f32) -> f32 {
        let half_bits = |value: f32| {
            let half = half::f16::from_f32(value);
            assert!(half.to_f32() == value || value.is_nan(), "{value} is no f16");
            half.to_bits().into()
        };
        let opcode = "m16n8k16.row.col.f32.f16.f16.f32";
        let a: Vec<u32> = factors.iter().map(|(a, _)| half_bits(*a)).collect();
        let b: Vec<u32> = factors.iter().map(|(_, b)| half_bits(*b)).collect();
        let dot = Dot { opcode, compute_capability, bits: 16, registers: [4, 4, 2, 4] };
        f32::from_bits(dot.run(&a, &b, c.to_bits()))
    }

    /// The same with f16 C and D.
    fn f16_into_f16(compute_capability: ComputeCapability, factors: &[(u32, u32)], c: u32) -> u32 {
        let opcode = "m16n8k16.row.col.f16.f16.f16.f16";
        let (a, b): (Vec<u32>, Vec<u32>) = factors.iter().copied().unzip();
        Dot { opcode, compute_capability, bits: 16, registers: [2, 4, 2, 2] }.run(&a, &b, c)
    }
}

/// `2^exponent`.
fn two(exponent: i32) -> f32 {
    2.0_f32.powi(exponent)
}

/// Factors of 16 products, those named, at their k, and zeros elsewhere.
fn at(products: &[(usize, f32, f32)]) -> [(f32, f32); 16] {
    let mut factors = [(0.0, 0.0); 16];
    for (k, a, b) in products {
        factors[*k] = (*a, *b);
    }
    factors
}

use ComputeCapability::{Sm80, Sm89, Sm90};

#[test]
fn terms_are_cut_off_at_24_or_25_bits() {
    // Four terms of 2^-25 beside 1: each is lost with 24 fraction bits.
    let factors = at(&[0, 1, 2, 3].map(|k| (k, two(-12), two(-13))));
    assert_eq!(Dot::f16(Sm80, &factors, 1.0), 1.0);
    assert_eq!(Dot::f16(Sm89, &factors, 1.0), 1.0);
    assert_eq!(Dot::f16(Sm90, &factors, 1.0), 1.0 + two(-23));
    // Cut off, not rounded, and toward zero on either side.
    let factors = at(&[0, 1, 2, 3].map(|k| (k, -two(-12), 1.75 * two(-13))));
    assert_eq!(Dot::f16(Sm80, &factors, -1.0), -1.0);
    assert_eq!(Dot::f16(Sm80, &factors, 1.0), 1.0);
    assert_eq!(Dot::f16(Sm90, &factors, -1.0), -1.0 - two(-23));
    assert_eq!(Dot::f16(Sm90, &factors, 1.0), 1.0 - two(-23));
    // The result is cut off as well: 1 + 1.5 units in its last place, and the negative.
    let factors = at(&[(0, 1.5, two(-11)), (1, two(-12), two(-11)), (2, two(-12), two(-12))]);
    assert_eq!(Dot::f16(Sm80, &factors, 1.0), 1.0 + 1.5 * two(-11) + two(-23));
    let negated = factors.map(|(a, b)| (-a, b));
    assert_eq!(Dot::f16(Sm80, &negated, -1.0), -1.0 - 1.5 * two(-11) - two(-23));
}

#[test]
fn the_halves_of_k_are_steps_of_their_own_before_9_0() {
    let (large, small) = ((two(12), two(12)), (two(-2), two(-3)));
    // 2^24 takes the small term with it in whichever step it takes part in.
    let apart = at(&[(0, large.0, large.1), (1, -large.0, large.1), (8, small.0, small.1)]);
    let together = at(&[(0, large.0, large.1), (8, -large.0, large.1), (9, small.0, small.1)]);
    assert_eq!(Dot::f16(Sm80, &apart, 0.0), two(-5));
    assert_eq!(Dot::f16(Sm80, &together, 0.0), 0.0);
    assert_eq!(Dot::f16(Sm90, &apart, 0.0), 0.0);
    assert_eq!(Dot::f16(Sm90, &together, 0.0), 0.0);
    // C is in the first step.
    let cancelled_later = at(&[(0, large.0, large.1), (8, -large.0, large.1)]);
    assert_eq!(Dot::f16(Sm80, &cancelled_later, 0.5), 0.0);
    assert_eq!(Dot::f16(Sm90, &cancelled_later, 0.5), 0.5);
}

#[test]
fn the_largest_exponent_is_that_of_the_factors() {
    // 1.5 * 1.5 is above 2, but counts with exponent 0: four terms of 2^-24 beside it are kept by 24 fraction bits.
    let mut products = vec![(4, 1.5, 1.5)];
    products.extend([0, 1, 2, 3].map(|k| (k, two(-12), two(-12))));
    assert_eq!(Dot::f16(Sm80, &at(&products), 0.0), 2.25 + two(-22));
    // A subnormal has the least exponent of its format: 2^-24 * 2^15 counts as 2^1, and 2^-24 beside it is lost.
    let products = at(&[(0, two(-24), two(15)), (1, two(-12), two(-12))]);
    assert_eq!(Dot::f16(Sm80, &products, 0.0), two(-9));
    let products = at(&[(0, two(-12), two(3)), (1, two(-12), two(-12))]);
    assert_eq!(Dot::f16(Sm80, &products, 0.0), two(-9) + two(-24));
    // A zero counts with exponent -126: times 2^127 of bf16 it hides 2^-25.
    let opcode = "m16n8k16.row.col.f32.bf16.bf16.f32";
    let dot = Dot { opcode, compute_capability: Sm80, bits: 16, registers: [4, 4, 2, 4] };
    let bf16 = |value: f32| u32::from(half::bf16::from_f32(value).to_bits());
    assert_eq!(dot.run(&[bf16(0.0)], &[bf16(two(127))], two(-25).to_bits()), 0);
    assert_eq!(dot.run(&[bf16(0.0)], &[bf16(two(100))], two(-25).to_bits()), two(-25).to_bits());
}

#[test]
fn eight_bit_floats_keep_13_bits_on_8_9_and_are_f16_on_9_0() {
    let opcode = "m16n8k32.row.col.f32.e4m3.e4m3.f32";
    let dot = |compute_capability| Dot { opcode, compute_capability, bits: 8, registers: [4, 4, 2, 4] };
    // 2^-6 * 2^-8 (a subnormal), and 1 * 1.
    let (least_normal, small, one) = (0x08, 0x02, 0x38);
    assert_eq!(f32::from_bits(dot(Sm89).run(&[least_normal], &[small], 1.0_f32.to_bits())), 1.0);
    assert_eq!(f32::from_bits(dot(Sm90).run(&[least_normal], &[small], 1.0_f32.to_bits())), 1.0 + two(-14));
    // C passes with 13 bits on 8.9, even where A is zero.
    let c = (1.0 + two(-13) + two(-14)).to_bits();
    assert_eq!(f32::from_bits(dot(Sm89).run(&[0], &[0], c)), 1.0 + two(-13));
    assert_eq!(dot(Sm90).run(&[0], &[0], c), c);
    // On 9.0 C is added at the end, to nearest even: a tie, and more than one.
    let c = (1.0 + two(-23)).to_bits();
    let dot5 = Dot {
        opcode: "m16n8k32.row.col.f32.e5m2.e5m2.f32",
        compute_capability: Sm90,
        bits: 8,
        registers: [4, 4, 2, 4],
    };
    // 2^-12 * 2^-12 = 2^-24, half a unit of C's last place.
    assert_eq!(f32::from_bits(dot5.run(&[0x0c], &[0x0c], c)), 1.0 + two(-22));
    assert_eq!(f32::from_bits(dot5.run(&[0x0c], &[0x0c], 1.0_f32.to_bits())), 1.0);
    assert_eq!(f32::from_bits(dot5.run(&[0x0c, 0x01], &[0x0c, 0x01], 1.0_f32.to_bits())), 1.0 + two(-23));
    assert_eq!(f32::from_bits(dot(Sm90).run(&[one; 32], &[one; 32], 0)), 32.0);
}

#[test]
fn eight_bit_floats_on_9_0_go_by_pairs_of_k() {
    // e5m2: 2^15 * 2^15, its negative, and 2^4 * 2^-14. Elements with k % 4 < 2 are the first step.
    let (large, negative, a, b) = (0x78, 0xf8, 0x4c, 0x04);
    let dot = Dot {
        opcode: "m16n8k16.row.col.f32.e5m2.e5m2.f32",
        compute_capability: Sm90,
        bits: 8,
        registers: [4, 2, 1, 4],
    };
    let small = two(4) * two(-14);
    assert_eq!(f32::from_bits(dot.run(&[large, negative, a], &[large, large, b], 0)), small);
    assert_eq!(f32::from_bits(dot.run(&[large, a, negative], &[large, b, large], 0)), 0.0);
    assert_eq!(f32::from_bits(dot.run(&[a, 0, 0, 0, large, negative], &[b, 0, 0, 0, large, large], 0)), 0.0);
    assert_eq!(
        f32::from_bits(dot.run(&[0, 0, a, 0, large, negative], &[0, 0, b, 0, large, large], 0)),
        small
    );
}

#[test]
fn f16_results_are_rounded_to_nearest_even() {
    let f16 = |value: f32| u32::from(half::f16::from_f32(value).to_bits());
    for compute_capability in ComputeCapability::ALL {
        let run = |products: &[(f32, f32)], c: f32| {
            let factors: Vec<(u32, u32)> = products.iter().map(|(a, b)| (f16(*a), f16(*b))).collect();
            Dot::f16_into_f16(*compute_capability, &factors, f16(c))
        };
        assert_eq!(run(&[(two(-5), two(-6))], 1.0), f16(1.0));
        assert_eq!(run(&[(two(-5), two(-6)), (two(-7), two(-7))], 1.0), f16(1.0 + two(-10)));
        assert_eq!(run(&[(two(-5), two(-6))], 1.0 + two(-10)), f16(1.0 + two(-9)));
        assert_eq!(run(&[(two(-5), -two(-6))], -1.0 - two(-10)), f16(-1.0 - two(-9)));
        // To the largest number, and beyond it.
        assert_eq!(run(&[(15.0, 1.0)], 65504.0), 0x7bff);
        assert_eq!(run(&[(16.0, 1.0)], 65504.0), 0x7c00);
        assert_eq!(run(&[(-16.0, 1.0)], -65504.0), 0xfc00);
        // Subnormals, and what is below half of the least one.
        assert_eq!(run(&[(two(-12), two(-12))], 0.0), 1);
        assert_eq!(run(&[(two(-12), -two(-13))], 0.0), 0);
        assert_eq!(run(&[(two(-12), two(-13)), (two(-14), two(-13))], 0.0), 1);
    }
}

#[test]
fn nan_infinity_and_the_signs_of_zeros() {
    const INF: f32 = f32::INFINITY;
    let nan = 0x7fff_ffff_u32;
    for compute_capability in ComputeCapability::ALL {
        let run = |products: &[(f32, f32)], c: f32| Dot::f16(*compute_capability, products, c).to_bits();
        assert_eq!(run(&[(f32::NAN, 1.0)], 0.0), nan);
        assert_eq!(run(&[(1.0, 1.0)], f32::from_bits(0xffc1_2345)), nan);
        assert_eq!(run(&[(INF, 0.0)], 0.0), nan);
        assert_eq!(run(&[(INF, 1.0), (1.0, -INF)], 0.0), nan);
        assert_eq!(run(&[(INF, 1.0)], -INF), nan);
        assert_eq!(run(&[(INF, -1.0)], 1.0), (-INF).to_bits());
        assert_eq!(run(&[(-1.0, 1.0)], INF), INF.to_bits());
        // Infinite products in different halves of k meet in the sum.
        let mut products = [(0.0, 0.0); 16];
        (products[0], products[15]) = ((INF, 1.0), (-INF, 1.0));
        assert_eq!(run(&products, 0.0), nan);
        // What is zero is +0, whatever its terms were.
        assert_eq!(run(&[(-0.0, 1.0); 16], -0.0), 0);
        assert_eq!(run(&[(-1.0, 1.0)], 1.0), 0);
        // Subnormal f32 are exact; a sum short of 2^128 is cut off to the largest number.
        assert_eq!(run(&[], f32::from_bits(0x8000_0001)), 0x8000_0001);
        assert_eq!(run(&[(two(15), two(15)); 16], f32::MAX), INF.to_bits() - 1);
    }
    let opcode = "m16n8k16.row.col.f32.bf16.bf16.f32";
    let dot = Dot { opcode, compute_capability: Sm80, bits: 16, registers: [4, 4, 2, 4] };
    let large = half::bf16::from_f32(two(127)).to_bits().into();
    assert_eq!(dot.run(&[large], &[large], 0), INF.to_bits());
    assert_eq!(dot.run(&[large], &[large | 0x8000], 0), (-INF).to_bits());
    let unpacked = Dot {
        opcode: "m16n8k32.row.col.f16.e4m3.e5m2.f16",
        compute_capability: Sm90,
        bits: 8,
        registers: [2, 4, 2, 2],
    };
    assert_eq!(unpacked.run(&[0x7f], &[0x00], 0), 0x7fff);
    assert_eq!(unpacked.run(&[0x38], &[0x7c], 0), 0x7c00);
    assert_eq!(unpacked.run(&[0x38], &[0x7c], 0xfc00), 0x7fff);
}

#[test]
fn tf32_ignores_the_13_low_bits() {
    let opcode = "m16n8k8.row.col.f32.tf32.tf32.f32";
    for compute_capability in ComputeCapability::ALL {
        let dot = Dot { opcode, compute_capability: *compute_capability, bits: 32, registers: [4, 4, 2, 4] };
        let bits = (1.0 + two(-10)).to_bits();
        assert_eq!(dot.run(&[bits | 0x1fff], &[1.0_f32.to_bits() | 0x1abc], 0), bits);
        // A NaN whose payload lies there alone is infinity.
        assert_eq!(dot.run(&[0x7f80_0001], &[1.0_f32.to_bits()], 0), 0x7f80_0000);
    }
}

#[test]
fn the_fast_mode_is_f32_in_the_order_of_k() {
    let mut random = Random(5);
    let opcode = "m16n8k16.row.col.f32.bf16.bf16.f32";
    let dot = Dot { opcode, compute_capability: Sm80, bits: 16, registers: [4, 4, 2, 4] };
    let mut differs = 0;
    for _ in 0..200 {
        let mut draw = || value(&mut random, Draw::Narrow, (8, 7, 0));
        let a: Vec<u32> = (0..16).map(|_| draw()).collect();
        let b: Vec<u32> = (0..16).map(|_| draw()).collect();
        let c = f32::from_bits(value(&mut random, Draw::Narrow, (8, 23, 0)));
        let as_f32 = |bits: u32| f32::from_bits(bits << 16);
        let expected = a.iter().zip(&b).fold(c, |sum, (a, b)| sum + as_f32(*a) * as_f32(*b));
        let run = |mode| dot.run_in(mode, &a, &b, c.to_bits());
        assert_eq!(run(TensorMode::Fast), expected.to_bits());
        differs += usize::from(run(TensorMode::BitAccurate) != expected.to_bits());
    }
    assert!(differs > 20, "{differs}");
}
