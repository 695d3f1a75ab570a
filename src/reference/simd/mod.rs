//! Vector instructions, and sums in a fixed order.
//!
//! A hot loop is written once over arrays of [`LANES`] accumulators and compiled for several instruction sets; the machine's
//! best is chosen when it runs. The compiler may not reassociate or contract floating-point arithmetic, so the lanes, and
//! not the instruction set, decide the bits of a result.
//!
//! Each loop is a function of its own, small enough for the compiler to see vectors in it.

mod dots;
mod lanes;

pub use dots::Dots;
pub(crate) use lanes::LANES;

use super::real::{Element, Real};

/// A hot loop.
trait Hot {
    type Output;
    /// Must be `#[inline(always)]`, to take on the instruction set of its caller, and free of closures, which would not.
    fn run(self) -> Self::Output;
}

/// Instruction sets that code is compiled for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum InstructionSet {
    /// 32 registers of 64 bytes: AVX-512 F, BW, DQ and VL.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// 16 registers of 32 bytes: AVX2 and F16C.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// Whatever the target has at least.
    Portable,
}

/// The best that the machine has; the standard library asks the processor once.
#[inline]
pub(crate) fn instruction_set() -> InstructionSet {
    #[cfg(target_arch = "x86_64")]
    {
        let avx512 = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        if avx512 {
            return InstructionSet::Avx512;
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("f16c") {
            return InstructionSet::Avx2;
        }
    }
    InstructionSet::Portable
}

/// Runs `hot` with the machine's widest vectors.
#[inline]
fn dispatch<H: Hot>(hot: H) -> H::Output {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
        fn avx512<H: Hot>(hot: H) -> H::Output {
            hot.run()
        }
        #[target_feature(enable = "avx2,f16c")]
        fn avx2<H: Hot>(hot: H) -> H::Output {
            hot.run()
        }
        match instruction_set() {
            // SAFETY: the processor has it.
            InstructionSet::Avx512 => return unsafe { avx512(hot) },
            // SAFETY: the processor has it.
            InstructionSet::Avx2 => return unsafe { avx2(hot) },
            InstructionSet::Portable => {}
        }
    }
    hot.run()
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

/// The sum of squares.
pub(crate) fn sum_of_squares<A: Real>(xs: &[A]) -> A {
    dispatch(SumOfSquares(xs))
}

struct SumOfSquares<'a, A>(&'a [A]);

impl<A: Real> Hot for SumOfSquares<'_, A> {
    type Output = A;

    #[inline(always)]
    fn run(self) -> A {
        let mut sums = [A::ZERO; LANES];
        let (whole, rest) = self.0.as_chunks::<LANES>();
        for xs in whole {
            for l in 0..LANES {
                sums[l] += xs[l] * xs[l];
            }
        }
        for (sum, &x) in sums.iter_mut().zip(rest) {
            *sum += x * x;
        }
        fold(sums)
    }
}

/// Reads as many elements as both slices have.
pub(crate) fn load<E: Element, A: Real>(from: &[E], to: &mut [A]) {
    dispatch(Load { from, to });
}

struct Load<'a, E, A> {
    from: &'a [E],
    to: &'a mut [A],
}

impl<E: Element, A: Real> Hot for Load<'_, E, A> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (to, from) in self.to.iter_mut().zip(self.from) {
            *to = from.load();
        }
    }
}

/// Replaces each `x` by `e^(x - max)` and returns the sum of them.
pub(crate) fn exponentials<A: Real>(xs: &mut [A], max: A) -> A {
    dispatch(Exponentials { xs, max })
}

struct Exponentials<'a, A> {
    xs: &'a mut [A],
    max: A,
}

impl<A: Real> Hot for Exponentials<'_, A> {
    type Output = A;

    #[inline(always)]
    fn run(self) -> A {
        for x in self.xs.iter_mut() {
            *x = (*x - self.max).exp();
        }
        let mut sums = [A::ZERO; LANES];
        let (whole, rest) = self.xs.as_chunks::<LANES>();
        for xs in whole {
            for l in 0..LANES {
                sums[l] += xs[l];
            }
        }
        for (sum, &x) in sums.iter_mut().zip(rest) {
            *sum += x;
        }
        fold(sums)
    }
}

/// `sums += weights[i] * rows[i]` for each row in turn; `rows` and `sums` are padded.
pub(crate) fn add_weighted<A: Real>(weights: &[A], rows: &[A], sums: &mut [A]) {
    dispatch(AddWeighted { weights, rows, sums });
}

struct AddWeighted<'a, A> {
    weights: &'a [A],
    rows: &'a [A],
    sums: &'a mut [A],
}

impl<A: Real> Hot for AddWeighted<'_, A> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let width = self.sums.len() / LANES;
        let (rows, _) = self.rows.as_chunks::<LANES>();
        for (i, lanes) in self.sums.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
            let mut sums = *lanes;
            for (&weight, row) in self.weights.iter().zip(rows.chunks_exact(width)) {
                for l in 0..LANES {
                    sums[l] += weight * row[i][l];
                }
            }
            *lanes = sums;
        }
    }
}
