//! Eight 32-bit numbers at once. Written with the CPU's own instructions, because the compiler, left to itself,
//! makes vectors along the wrong dimension of the loops in [`super::fused`].

/// Proof that this CPU has the instructions, and the operations.
pub(in crate::tensor) trait Simd: Copy {
    /// Eight integers.
    type Vector: Copy;
    /// Eight f32.
    type Floats: Copy;

    fn load(self, values: &[i32; 8]) -> Self::Vector;
    fn store(self, vector: Self::Vector) -> [i32; 8];
    fn splat(self, value: i32) -> Self::Vector;
    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn sub(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn mul(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn max(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// Divides by `2^shift`, cutting off toward zero; `shift` is not negative, and may be as large as it likes.
    fn truncate(self, value: Self::Vector, shift: Self::Vector) -> Self::Vector;
    /// Whether all are from `least` to `most`, neither of which is at the end of the type.
    fn all_within(self, value: Self::Vector, least: i32, most: i32) -> bool;

    fn load_floats(self, values: &[f32; 8]) -> Self::Floats;
    fn store_floats(self, vector: Self::Floats) -> [f32; 8];
    fn splat_float(self, value: f32) -> Self::Floats;
    fn add_floats(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    fn mul_floats(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// 2 to these powers, from -126 to 127; of others anything.
    fn power_of_two(self, exponent: Self::Vector) -> Self::Floats;
    /// Toward zero; of what does not fit anything.
    fn truncate_floats(self, value: Self::Floats) -> Self::Vector;
}

/// For any CPU.
#[derive(Clone, Copy, Debug)]
pub(in crate::tensor) struct Portable;

impl Simd for Portable {
    type Vector = [i32; 8];
    type Floats = [f32; 8];

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

    #[inline(always)]
    fn all_within(self, value: [i32; 8], least: i32, most: i32) -> bool {
        value.iter().all(|one| (least..=most).contains(one))
    }

    #[inline(always)]
    fn load_floats(self, values: &[f32; 8]) -> [f32; 8] {
        *values
    }

    #[inline(always)]
    fn store_floats(self, vector: [f32; 8]) -> [f32; 8] {
        vector
    }

    #[inline(always)]
    fn splat_float(self, value: f32) -> [f32; 8] {
        [value; 8]
    }

    #[inline(always)]
    fn add_floats(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        std::array::from_fn(|i| a[i] + b[i])
    }

    #[inline(always)]
    fn mul_floats(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        std::array::from_fn(|i| a[i] * b[i])
    }

    #[inline(always)]
    fn power_of_two(self, exponent: [i32; 8]) -> [f32; 8] {
        exponent.map(|exponent| f32::from_bits((exponent.wrapping_add(127) as u32) << 23))
    }

    #[inline(always)]
    fn truncate_floats(self, value: [f32; 8]) -> [i32; 8] {
        value.map(|value| value as i32)
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
        type Floats = __m256;

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

        #[inline(always)]
        fn all_within(self, value: __m256i, least: i32, most: i32) -> bool {
            // SAFETY: `self` proves that there is AVX2.
            unsafe {
                let below = _mm256_cmpgt_epi32(_mm256_set1_epi32(least), value);
                let above = _mm256_cmpgt_epi32(value, _mm256_set1_epi32(most));
                _mm256_movemask_epi8(_mm256_or_si256(below, above)) == 0
            }
        }

        #[inline(always)]
        fn load_floats(self, values: &[f32; 8]) -> __m256 {
            // SAFETY: `self` proves that there is AVX2; 32 bytes are read of as many.
            unsafe { _mm256_loadu_ps(values.as_ptr()) }
        }

        #[inline(always)]
        fn store_floats(self, vector: __m256) -> [f32; 8] {
            let mut values = [0.0; 8];
            // SAFETY: `self` proves that there is AVX2; 32 bytes are written to as many.
            unsafe { _mm256_storeu_ps(values.as_mut_ptr(), vector) };
            values
        }

        #[inline(always)]
        fn splat_float(self, value: f32) -> __m256 {
            // SAFETY: `self` proves that there is AVX2.
            unsafe { _mm256_set1_ps(value) }
        }

        #[inline(always)]
        fn add_floats(self, a: __m256, b: __m256) -> __m256 {
            // SAFETY: `self` proves that there is AVX2.
            unsafe { _mm256_add_ps(a, b) }
        }

        #[inline(always)]
        fn mul_floats(self, a: __m256, b: __m256) -> __m256 {
            // SAFETY: `self` proves that there is AVX2.
            unsafe { _mm256_mul_ps(a, b) }
        }

        #[inline(always)]
        fn power_of_two(self, exponent: __m256i) -> __m256 {
            // SAFETY: `self` proves that there is AVX2.
            unsafe {
                let biased = _mm256_add_epi32(exponent, _mm256_set1_epi32(127));
                _mm256_castsi256_ps(_mm256_slli_epi32::<23>(biased))
            }
        }

        #[inline(always)]
        fn truncate_floats(self, value: __m256) -> __m256i {
            // SAFETY: `self` proves that there is AVX2.
            unsafe { _mm256_cvttps_epi32(value) }
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
        assert!(simd.all_within(simd.load(&[-4, 5, 0, 1, 2, 3, 4, 5]), -4, 5));
        assert!(!simd.all_within(simd.load(&[-4, 5, 0, 1, 2, 3, 4, 5]), -3, 5));
        assert!(!simd.all_within(simd.load(&[-4, 5, 0, 1, 2, 3, 4, 5]), -4, 4));
        let a = simd.load_floats(&[0.5, -1.75, 3.0, 0.0, -0.0, 100.25, -7.0, 1.0]);
        let b = simd.power_of_two(simd.load(&[0, 1, -1, 5, 5, -2, 2, 30]));
        assert_eq!(
            simd.store(simd.truncate_floats(simd.mul_floats(a, b))),
            [0, -3, 1, 0, 0, 25, -28, 1 << 30]
        );
        let sum = simd.store_floats(simd.add_floats(simd.splat_float(-1.0), b));
        assert_eq!(sum[..4], [0.0, 1.0, -0.5, 31.0]);
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
