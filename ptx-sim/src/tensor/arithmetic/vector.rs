//! Eight 32-bit integers at once. Written with the CPU's own instructions, because the compiler, left to itself,
//! makes vectors along the wrong dimension of the loops in [`super::fused`].

/// Proof that this CPU has the instructions, and the operations.
pub(in crate::tensor) trait Simd: Copy {
    /// Eight integers.
    type Vector: Copy;

    fn load(self, values: &[i32; 8]) -> Self::Vector;
    fn store(self, vector: Self::Vector) -> [i32; 8];
    fn splat(self, value: i32) -> Self::Vector;
    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn sub(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn mul(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn max(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// Divides by `2^shift`, cutting off toward zero; `shift` is not negative, and may be as large as it likes.
    fn truncate(self, value: Self::Vector, shift: Self::Vector) -> Self::Vector;
}

/// For any CPU.
#[derive(Clone, Copy, Debug)]
pub(in crate::tensor) struct Portable;

impl Simd for Portable {
    type Vector = [i32; 8];

    #[inline(always)]
    fn load(self, values: &[i32; 8]) -> [i32; 8] {
        *values
    }

    #[inline(always)]
    fn store(self, vector: [i32; 8]) -> [i32; 8] {
        vector
    }

    #[inline(always)]
    fn splat(self, value: i32) -> [i32; 8] {
        [value; 8]
    }

    #[inline(always)]
    fn add(self, a: [i32; 8], b: [i32; 8]) -> [i32; 8] {
        std::array::from_fn(|i| a[i].wrapping_add(b[i]))
    }

    #[inline(always)]
    fn sub(self, a: [i32; 8], b: [i32; 8]) -> [i32; 8] {
        std::array::from_fn(|i| a[i].wrapping_sub(b[i]))
    }

    #[inline(always)]
    fn mul(self, a: [i32; 8], b: [i32; 8]) -> [i32; 8] {
        std::array::from_fn(|i| a[i].wrapping_mul(b[i]))
    }

    #[inline(always)]
    fn max(self, a: [i32; 8], b: [i32; 8]) -> [i32; 8] {
        std::array::from_fn(|i| a[i].max(b[i]))
    }

    #[inline(always)]
    fn truncate(self, value: [i32; 8], shift: [i32; 8]) -> [i32; 8] {
        std::array::from_fn(|i| {
            let magnitude = value[i].unsigned_abs().checked_shr(shift[i] as u32).unwrap_or(0) as i32;
            if value[i] < 0 { magnitude.wrapping_neg() } else { magnitude }
        })
    }
}

#[cfg(target_arch = "x86_64")]
pub(in crate::tensor) use avx2::Avx2;

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::*;

    use super::Simd;

    /// For CPUs with AVX2.
    #[derive(Clone, Copy, Debug)]
    pub(in crate::tensor) struct Avx2(());

    impl Avx2 {
        /// # Safety
        ///
        /// The CPU has AVX2.
        #[inline(always)]
        pub unsafe fn new() -> Self {
            Self(())
        }
    }

    impl Simd for Avx2 {
        type Vector = __m256i;

        #[inline(always)]
        fn load(self, values: &[i32; 8]) -> __m256i {
            // SAFETY: `self` proves that there is AVX2; 32 bytes are read of as many.
            unsafe { _mm256_loadu_si256(values.as_ptr().cast()) }
        }

        #[inline(always)]
        fn store(self, vector: __m256i) -> [i32; 8] {
            let mut values = [0; 8];
            // SAFETY: `self` proves that there is AVX2; 32 bytes are written to as many.
            unsafe { _mm256_storeu_si256(values.as_mut_ptr().cast(), vector) };
            values
        }

        #[inline(always)]
        fn splat(self, value: i32) -> __m256i {
            // SAFETY: `self` proves that there is AVX2.
            unsafe { _mm256_set1_epi32(value) }
        }

        #[inline(always)]
        fn add(self, a: __m256i, b: __m256i) -> __m256i {
            // SAFETY: `self` proves that there is AVX2.
            unsafe { _mm256_add_epi32(a, b) }
        }

        #[inline(always)]
        fn sub(self, a: __m256i, b: __m256i) -> __m256i {
            // SAFETY: `self` proves that there is AVX2.
            unsafe { _mm256_sub_epi32(a, b) }
        }

        #[inline(always)]
        fn mul(self, a: __m256i, b: __m256i) -> __m256i {
            // SAFETY: `self` proves that there is AVX2.
            unsafe { _mm256_mullo_epi32(a, b) }
        }

        #[inline(always)]
        fn max(self, a: __m256i, b: __m256i) -> __m256i {
            // SAFETY: `self` proves that there is AVX2.
            unsafe { _mm256_max_epi32(a, b) }
        }

        #[inline(always)]
        fn truncate(self, value: __m256i, shift: __m256i) -> __m256i {
            // SAFETY: `self` proves that there is AVX2. The shift leaves 0 where it is 32 or more.
            unsafe { _mm256_sign_epi32(_mm256_srlv_epi32(_mm256_abs_epi32(value), shift), value) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(simd: impl Simd) {
        let a = [1, -1, 7, -7, i32::MAX, -i32::MAX, 0, -1000];
        let b = [0, 1, 1, 2, 30, 31, 5, 400];
        let (va, vb) = (simd.load(&a), simd.load(&b));
        assert_eq!(simd.store(simd.add(va, vb)), std::array::from_fn(|i| a[i].wrapping_add(b[i])));
        assert_eq!(simd.store(simd.sub(va, vb)), std::array::from_fn(|i| a[i].wrapping_sub(b[i])));
        assert_eq!(simd.store(simd.mul(va, vb)), std::array::from_fn(|i| a[i].wrapping_mul(b[i])));
        assert_eq!(simd.store(simd.max(va, vb)), [1, 1, 7, 2, i32::MAX, 31, 5, 400]);
        assert_eq!(simd.store(simd.truncate(va, vb)), [1, 0, 3, -1, 1, 0, 0, 0]);
        assert_eq!(simd.store(simd.splat(-3)), [-3; 8]);
    }

    #[test]
    fn both_kinds_of_vectors_compute_the_same() {
        check(Portable);
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: just asked.
            check(unsafe { Avx2::new() });
        }
    }
}
