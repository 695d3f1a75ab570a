//! Inner products, several at once.

use super::super::real::{Element, Real};
use super::lanes::{LANES, Lanes};
use super::{InstructionSet, fold, instruction_set, padded};

/// Inner products in an accumulation type.
pub trait Dots: Sized {
    /// All inner products of `R` rows of weights and `C` rows of activations. The activations are padded with zeros to
    /// [`padded`] elements, the weights may be.
    fn dots<W: Element, const R: usize, const C: usize>(
        weights: [&[W]; R],
        xs: [&[Self]; C],
    ) -> [[Self; C]; R];
}

impl Dots for f64 {
    fn dots<W: Element, const R: usize, const C: usize>(
        weights: [&[W]; R],
        xs: [&[f64]; C],
    ) -> [[f64; C]; R] {
        // SAFETY: the portable form needs no instruction set.
        unsafe { inner_products::<W, f64, [f64; LANES], R, C>(weights, xs) }
    }
}

impl Dots for f32 {
    fn dots<W: Element, const R: usize, const C: usize>(
        weights: [&[W]; R],
        xs: [&[f32]; C],
    ) -> [[f32; C]; R] {
        // SAFETY: the processor has it.
        unsafe { dots_on(instruction_set(), weights, xs) }
    }
}

/// # Safety
/// The processor has the instruction set.
pub(super) unsafe fn dots_on<W: Element, const R: usize, const C: usize>(
    set: InstructionSet,
    weights: [&[W]; R],
    xs: [&[f32]; C],
) -> [[f32; C]; R] {
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f")]
    fn avx512<W: Element, const R: usize, const C: usize>(
        weights: [&[W]; R],
        xs: [&[f32]; C],
    ) -> [[f32; C]; R] {
        // SAFETY: this function has the instruction set.
        unsafe { inner_products::<W, f32, super::lanes::x86::Avx512, R, C>(weights, xs) }
    }
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,f16c")]
    fn avx2<W: Element, const R: usize, const C: usize>(
        weights: [&[W]; R],
        xs: [&[f32]; C],
    ) -> [[f32; C]; R] {
        // SAFETY: this function has the instruction set.
        unsafe { inner_products::<W, f32, super::lanes::x86::Avx2, R, C>(weights, xs) }
    }
    match set {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the caller has seen to it.
        InstructionSet::Avx512 => unsafe { avx512(weights, xs) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the caller has seen to it.
        InstructionSet::Avx2 => unsafe { avx2(weights, xs) },
        // SAFETY: the portable form needs no instruction set.
        InstructionSet::Portable => unsafe { inner_products::<W, f32, [f32; LANES], R, C>(weights, xs) },
    }
}

/// # Safety
/// The processor has the instruction set of `L`, and so has the caller, into which this must be inlined.
#[inline(always)]
unsafe fn inner_products<W: Element, A: Real, L: Lanes<A>, const R: usize, const C: usize>(
    weights: [&[W]; R],
    xs: [&[A]; C],
) -> [[A; C]; R] {
    let k = weights[0].len();
    let (rounds, rest) = (k / LANES, k % LANES);
    let mut whole: [&[[W; LANES]]; R] = [&[]; R];
    for (whole, row) in whole.iter_mut().zip(weights) {
        *whole = &row.as_chunks().0[..rounds];
    }
    let mut padded_xs: [&[[A; LANES]]; C] = [&[]; C];
    for (padded_xs, x) in padded_xs.iter_mut().zip(xs) {
        *padded_xs = &x.as_chunks().0[..padded(k) / LANES];
    }
    let mut folded = [[A::ZERO; C]; R];
    // SAFETY: the caller has seen to the instruction set.
    unsafe {
        let mut sums = [[L::zero(); C]; R];
        for i in 0..rounds {
            let mut x = [L::zero(); C];
            for (x, from) in x.iter_mut().zip(padded_xs) {
                *x = L::load(&from[i]);
            }
            for (sums, row) in sums.iter_mut().zip(whole) {
                let w = L::load(&row[i]);
                for (sum, x) in sums.iter_mut().zip(x) {
                    *sum = sum.add_product(w, x);
                }
            }
        }
        if rest > 0 {
            for (sums, row) in sums.iter_mut().zip(weights) {
                let mut tail = [W::zeroed(); LANES];
                tail[..rest].copy_from_slice(&row[k - rest..]);
                let w = L::load(&tail);
                for (sum, x) in sums.iter_mut().zip(padded_xs) {
                    *sum = sum.add_product(w, L::load(&x[rounds]));
                }
            }
        }
        for (folded, sums) in folded.iter_mut().zip(sums) {
            for (folded, sum) in folded.iter_mut().zip(sums) {
                *folded = fold(sum.to_array());
            }
        }
    }
    folded
}
