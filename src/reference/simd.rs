//! Vector instructions, and inner products in a fixed order.
//!
//! A hot loop is written once over arrays of [`LANES`] accumulators and compiled for several instruction sets; the machine's
//! best is chosen when it runs. The compiler may not reassociate or contract floating-point arithmetic, so the lanes, and
//! not the instruction set, decide the bits of a result.

use super::real::{Element, Real};

/// Accumulators of a sum: element `i` is added to lane `i % LANES`, then the lanes are folded in halves.
pub(crate) const LANES: usize = 16;

/// A hot loop. `run` must be `#[inline(always)]`, so that it takes on the instruction set of its caller.
pub(crate) trait Hot {
    type Output;
    /// `WIDE`: there are 32 registers of 64 bytes, rather than 16 of at most 32.
    fn run<const WIDE: bool>(self) -> Self::Output;
}

/// Runs `hot` with the machine's widest vectors.
#[inline]
pub(crate) fn dispatch<H: Hot>(hot: H) -> H::Output {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
        fn avx512<H: Hot>(hot: H) -> H::Output {
            hot.run::<true>()
        }
        #[target_feature(enable = "avx2")]
        fn avx2<H: Hot>(hot: H) -> H::Output {
            hot.run::<false>()
        }
        if is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
        {
            // SAFETY: the processor has the four features.
            return unsafe { avx512(hot) };
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has the feature.
            return unsafe { avx2(hot) };
        }
    }
    hot.run::<false>()
}

/// `k` rounded up to whole rounds of the lanes: the length of a row in scratch memory, padded with zeros.
pub(crate) fn padded(k: usize) -> usize {
    k.next_multiple_of(LANES)
}

/// Folds the lanes: 16 to 8 to 4 to 2 to 1.
#[inline(always)]
pub(crate) fn fold<A: Real>(mut lanes: [A; LANES]) -> A {
    let mut half = LANES / 2;
    while half > 0 {
        for l in 0..half {
            lanes[l] += lanes[l + half];
        }
        half /= 2;
    }
    lanes[0]
}

/// All inner products of `R` rows of weights and `C` rows of activations. The activations are padded with zeros to
/// [`padded`] elements, the weights may be.
#[inline(always)]
pub(crate) fn dots<W: Element, A: Real, const R: usize, const C: usize>(
    weights: [&[W]; R],
    xs: [&[A]; C],
) -> [[A; C]; R] {
    let mut sums = [[[A::ZERO; LANES]; C]; R];
    let rounds = weights[0].len() / LANES;
    let whole: [&[[W; LANES]]; R] = weights.map(|row| &row.as_chunks().0[..rounds]);
    let padded: [&[[A; LANES]]; C] = xs.map(|x| x.as_chunks().0);
    let mut step = |weights: [&[W; LANES]; R], xs: [&[A; LANES]; C]| {
        for r in 0..R {
            let mut w = [A::ZERO; LANES];
            for l in 0..LANES {
                w[l] = weights[r][l].load();
            }
            for c in 0..C {
                for l in 0..LANES {
                    sums[r][c][l] += w[l] * xs[c][l];
                }
            }
        }
    };
    for i in 0..rounds {
        step(whole.map(|row| &row[i]), padded.map(|x| &x[i]));
    }
    let rest = weights[0].len() % LANES;
    if rest > 0 {
        let mut tail = [[W::zeroed(); LANES]; R];
        for r in 0..R {
            tail[r][..rest].copy_from_slice(&weights[r][rounds * LANES..]);
        }
        step(tail.each_ref(), padded.map(|x| &x[rounds]));
    }
    let mut folded = [[A::ZERO; C]; R];
    for r in 0..R {
        for c in 0..C {
            folded[r][c] = fold(sums[r][c]);
        }
    }
    folded
}
