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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    // SAFETY: the processor has it.
    unsafe { run_on(instruction_set(), hot) }
}

/// # Safety
/// The processor has the instruction set.
#[inline]
unsafe fn run_on<H: Hot>(set: InstructionSet, hot: H) -> H::Output {
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    fn avx512<H: Hot>(hot: H) -> H::Output {
        hot.run()
    }
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,f16c")]
    fn avx2<H: Hot>(hot: H) -> H::Output {
        hot.run()
    }
    match set {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the caller has seen to it.
        InstructionSet::Avx512 => unsafe { avx512(hot) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the caller has seen to it.
        InstructionSet::Avx2 => unsafe { avx2(hot) },
        InstructionSet::Portable => hot.run(),
    }
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

#[cfg(test)]
mod tests {
    use half::{bf16, f16};

    use super::dots::dots_on;
    use super::*;
    use crate::reference::real::E4m3;

    /// What this machine can run.
    fn sets() -> Vec<InstructionSet> {
        let mut sets = vec![InstructionSet::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("f16c") {
                sets.push(InstructionSet::Avx2);
            }
            if instruction_set() == InstructionSet::Avx512 {
                sets.push(InstructionSet::Avx512);
            }
        }
        sets
    }

    /// Numbers of all magnitudes whose sums depend on their order.
    fn numbers(n: usize) -> Vec<f32> {
        let noise = |i: usize| (i as u32).wrapping_mul(0x9E37_79B9) >> 9;
        (0..n).map(|i| (noise(i) as f32 / 4e6 - 1.0) * ((i % 7) as f32 - 3.1)).collect()
    }

    /// The bits of what `f` computes with each instruction set are the same.
    fn same(what: &str, f: impl Fn(InstructionSet) -> Vec<f32>) {
        let bits = |set| f(set).into_iter().map(f32::to_bits).collect::<Vec<_>>();
        let portable = bits(InstructionSet::Portable);
        for set in sets() {
            assert_eq!(bits(set), portable, "{what} with {set:?}");
        }
    }

    fn same_dots<W: Element>(k: usize) {
        let rows: Vec<W> = numbers(3 * k).into_iter().map(W::store).collect();
        let mut xs = vec![0.0; 2 * padded(k)];
        for (to, from) in xs.chunks_mut(padded(k)).zip(numbers(2 * k + 1)[1..].chunks(k)) {
            to[..k].copy_from_slice(from);
        }
        let row = |r: usize| &rows[r * k..(r + 1) * k];
        let xs = [&xs[..padded(k)], &xs[padded(k)..]];
        // SAFETY: `sets` lists what the processor has.
        same("dots", |set| unsafe { dots_on(set, [row(0), row(1), row(2)], xs) }.concat());
        // SAFETY: as above.
        same("one", |set| (0..3).map(|r| unsafe { dots_on(set, [row(r)], [xs[0]]) }[0][0]).collect());
        // SAFETY: as above.
        let (tile, [[one]]) = unsafe {
            (
                dots_on(InstructionSet::Portable, [row(0), row(1)], xs),
                dots_on(instruction_set(), [row(1)], [xs[1]]),
            )
        };
        assert_eq!(tile[1][1].to_bits(), one.to_bits());
    }

    #[test]
    fn instruction_sets_give_the_same_bits() {
        for k in [1, 15, 16, 17, 31, 128, 203] {
            same_dots::<f32>(k);
            same_dots::<bf16>(k);
            same_dots::<f16>(k);
            same_dots::<f64>(k);
            same_dots::<E4m3>(k);

            // SAFETY: `sets` lists what the processor has.
            same("sum of squares", |set| vec![unsafe { run_on(set, SumOfSquares(&numbers(k))) }]);
            same("exponentials", |set| {
                let mut xs = numbers(k);
                // SAFETY: as above.
                let sum = unsafe { run_on(set, Exponentials { xs: &mut xs, max: 2.5 }) };
                [xs, vec![sum]].concat()
            });
            same("weighted sum", |set| {
                let mut sums = numbers(48);
                let weighted = AddWeighted { weights: &numbers(k), rows: &numbers(48 * k), sums: &mut sums };
                // SAFETY: as above.
                unsafe { run_on(set, weighted) };
                sums
            });
            same("halves", |set| {
                let halves: Vec<f16> =
                    (0..k as u16).map(|i| f16::from_bits(i.wrapping_mul(40_503))).collect();
                let mut to = vec![0.0; k];
                // SAFETY: as above.
                unsafe { run_on(set, Load { from: &halves, to: &mut to }) };
                to
            });
        }
    }

    #[test]
    fn sums_run_over_lanes() {
        // 2^24 + 1 is no f32: the ones are lost if they are added to it one by one, and kept if they are added first.
        let mut xs = [0.0f32; 32];
        (xs[0], xs[1], xs[17]) = (4096.0, 1.0, 1.0);
        let squares = sum_of_squares(&xs);
        assert_eq!(squares, 16_777_218.0);
        assert_eq!(fold([1.0f32; LANES]), 16.0);
    }
}
