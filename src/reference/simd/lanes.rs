//! Sixteen numbers at once: the same operations for every instruction set, so that they give the same bits.
//!
//! The compiler makes vectors of the portable form only where a loop is simple. Inner products keep many sums at once and
//! need them in registers: for f32 they have forms that name the instructions.

use super::super::real::{Element, Real};

/// Accumulators of a sum: element `i` is added to lane `i % LANES`, then the lanes are folded in halves.
pub(crate) const LANES: usize = 16;

/// Sixteen accumulators.
///
/// # Safety
/// The methods of a form may be called only where the processor has its instruction set.
pub(super) trait Lanes<A>: Copy {
    unsafe fn zero() -> Self;
    unsafe fn load<E: Element>(from: &[E; LANES]) -> Self;
    /// `self + a * b`, rounded twice.
    unsafe fn add_product(self, a: Self, b: Self) -> Self;
    unsafe fn to_array(self) -> [A; LANES];
}

impl<A: Real> Lanes<A> for [A; LANES] {
    #[inline(always)]
    unsafe fn zero() -> Self {
        [A::ZERO; LANES]
    }
    #[inline(always)]
    unsafe fn load<E: Element>(from: &[E; LANES]) -> Self {
        let mut to = [A::ZERO; LANES];
        for (to, from) in to.iter_mut().zip(from) {
            *to = from.load();
        }
        to
    }
    #[inline(always)]
    unsafe fn add_product(mut self, a: Self, b: Self) -> Self {
        for ((sum, a), b) in self.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
        self
    }
    #[inline(always)]
    unsafe fn to_array(self) -> [A; LANES] {
        self
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) mod x86 {
    use std::arch::x86_64::*;

    use super::*;
    use crate::reference::real::Format;

    /// One register of 64 bytes: AVX-512F.
    #[derive(Clone, Copy)]
    pub struct Avx512(__m512);

    impl Lanes<f32> for Avx512 {
        #[inline(always)]
        unsafe fn zero() -> Self {
            // SAFETY: the caller has seen to AVX-512F.
            Avx512(unsafe { _mm512_setzero_ps() })
        }
        #[inline(always)]
        unsafe fn load<E: Element>(from: &[E; LANES]) -> Self {
            let at = from.as_ptr();
            // SAFETY: the caller has seen to AVX-512F; `FORMAT` gives the size of the 16 elements that are read.
            Avx512(unsafe {
                match E::FORMAT {
                    Format::F32 => _mm512_loadu_ps(at.cast()),
                    Format::BF16 => {
                        let words = _mm512_cvtepu16_epi32(_mm256_loadu_si256(at.cast()));
                        _mm512_castsi512_ps(_mm512_slli_epi32::<16>(words))
                    }
                    Format::F16 => _mm512_cvtph_ps(_mm256_loadu_si256(at.cast())),
                    Format::Other => _mm512_loadu_ps(<[f32; LANES]>::load(from).as_ptr()),
                }
            })
        }
        #[inline(always)]
        unsafe fn add_product(self, a: Self, b: Self) -> Self {
            // SAFETY: the caller has seen to AVX-512F.
            Avx512(unsafe { _mm512_add_ps(self.0, _mm512_mul_ps(a.0, b.0)) })
        }
        #[inline(always)]
        unsafe fn to_array(self) -> [f32; LANES] {
            let mut to = [0.0; LANES];
            // SAFETY: the caller has seen to AVX-512F; `to` has room for 16 numbers.
            unsafe { _mm512_storeu_ps(to.as_mut_ptr(), self.0) };
            to
        }
    }

    /// Two registers of 32 bytes: AVX2 and F16C.
    #[derive(Clone, Copy)]
    pub struct Avx2(__m256, __m256);

    impl Avx2 {
        /// Eight elements.
        #[inline(always)]
        unsafe fn load_half<E: Element>(from: &[E; LANES / 2]) -> __m256 {
            let at = from.as_ptr();
            // SAFETY: the caller has seen to AVX2 and F16C; `FORMAT` gives the size of the 8 elements that are read.
            unsafe {
                match E::FORMAT {
                    Format::F32 => _mm256_loadu_ps(at.cast()),
                    Format::BF16 => {
                        let words = _mm256_cvtepu16_epi32(_mm_loadu_si128(at.cast()));
                        _mm256_castsi256_ps(_mm256_slli_epi32::<16>(words))
                    }
                    Format::F16 => _mm256_cvtph_ps(_mm_loadu_si128(at.cast())),
                    Format::Other => {
                        let mut to = [0.0; LANES / 2];
                        for (to, from) in to.iter_mut().zip(from) {
                            *to = from.load();
                        }
                        _mm256_loadu_ps(to.as_ptr())
                    }
                }
            }
        }
    }

    impl Lanes<f32> for Avx2 {
        #[inline(always)]
        unsafe fn zero() -> Self {
            // SAFETY: the caller has seen to AVX2.
            unsafe { Avx2(_mm256_setzero_ps(), _mm256_setzero_ps()) }
        }
        #[inline(always)]
        unsafe fn load<E: Element>(from: &[E; LANES]) -> Self {
            let (halves, _) = from.as_chunks::<{ LANES / 2 }>();
            // SAFETY: the caller has seen to AVX2 and F16C.
            unsafe { Avx2(Self::load_half(&halves[0]), Self::load_half(&halves[1])) }
        }
        #[inline(always)]
        unsafe fn add_product(self, a: Self, b: Self) -> Self {
            // SAFETY: the caller has seen to AVX2.
            unsafe {
                Avx2(
                    _mm256_add_ps(self.0, _mm256_mul_ps(a.0, b.0)),
                    _mm256_add_ps(self.1, _mm256_mul_ps(a.1, b.1)),
                )
            }
        }
        #[inline(always)]
        unsafe fn to_array(self) -> [f32; LANES] {
            let mut to = [0.0; LANES];
            // SAFETY: the caller has seen to AVX2; `to` has room for 8 numbers and 8 more.
            unsafe {
                _mm256_storeu_ps(to.as_mut_ptr(), self.0);
                _mm256_storeu_ps(to.as_mut_ptr().add(LANES / 2), self.1);
            }
            to
        }
    }
}
