//! What a load makes of elements whose type says more than their bits.

use super::TensorType;

impl TensorType {
    /// Flushes subnormal numbers to zeros of their sign, and rounds to tf32, to the nearest and on ties to even, as the
    /// type says.
    pub(crate) fn convert_loaded(self, bytes: &mut [u8]) {
        let (flushes, rounds) = match self {
            Self::F32Ftz => (true, false),
            Self::Tf32 => (false, true),
            Self::Tf32Ftz => (true, true),
            _ => return,
        };
        let (words, _) = bytes.as_chunks_mut::<4>();
        for word in words {
            let mut value = f32::from_le_bytes(*word);
            if flushes && value.is_subnormal() {
                value = 0f32.copysign(value);
            }
            if rounds {
                value = to_tf32(value);
            }
            *word = value.to_le_bytes();
        }
    }
}

/// 10 bits of fraction.
fn to_tf32(value: f32) -> f32 {
    const DROPPED: u32 = 13;
    if !value.is_finite() {
        return value;
    }
    let bits = value.to_bits();
    let half = (1 << (DROPPED - 1)) - 1 + (bits >> DROPPED & 1);
    f32::from_bits((bits + half) >> DROPPED << DROPPED)
}

#[cfg(test)]
mod tests {
    use super::TensorType;

    fn converted(ty: TensorType, value: u32) -> u32 {
        let mut bytes = value.to_le_bytes();
        ty.convert_loaded(&mut bytes);
        u32::from_le_bytes(bytes)
    }

    #[test]
    fn loads_flush_and_round_as_the_type_says() {
        use TensorType::{F32, F32Ftz, Tf32, Tf32Ftz};
        for (ty, value, expected) in [
            (F32, 0x3f80_1fff, 0x3f80_1fff),
            (F32, 0x8000_0001, 0x8000_0001),
            (F32Ftz, 0x8000_0001, 0x8000_0000),
            (F32Ftz, 0x0080_0001, 0x0080_0001),
            (Tf32, 0x3f80_0fff, 0x3f80_0000),
            (Tf32, 0x3f80_1000, 0x3f80_0000),
            (Tf32, 0x3f80_3000, 0x3f80_4000),
            (Tf32, 0x3f80_1001, 0x3f80_2000),
            (Tf32, 0x7f7f_ffff, 0x7f80_0000),
            (Tf32, 0x7f80_0001, 0x7f80_0001),
            (Tf32, 0x0000_3000, 0x0000_4000),
            (Tf32Ftz, 0x0000_3000, 0),
        ] {
            assert_eq!(converted(ty, value), expected, "{ty:?} {value:#x}");
        }
    }
}
