//! Floats from one element type to another, as a checkpoint's weights for a device that computes in another.

use half::{bf16, f16};

use super::real::Element;
use crate::tensor::DType;

/// Converts little-endian floats at any alignment, each rounded once to nearest even. Both types are floating-point, and
/// `out` holds as many elements as `source`.
pub(crate) fn convert(from: DType, source: &[u8], to: DType, out: &mut [u8]) {
    match to {
        _ if from == to => out.copy_from_slice(source),
        DType::BF16 => convert_to::<bf16, 2>(from, source, out),
        DType::F16 => convert_to::<f16, 2>(from, source, out),
        DType::F32 => convert_to::<f32, 4>(from, source, out),
        _ => convert_to::<f64, 8>(from, source, out),
    }
}

fn convert_to<To: Element, const SIZE: usize>(from: DType, source: &[u8], out: &mut [u8]) {
    match from {
        DType::BF16 => elements::<bf16, 2, To, SIZE>(source, out),
        DType::F16 => elements::<f16, 2, To, SIZE>(source, out),
        DType::F32 => elements::<f32, 4, To, SIZE>(source, out),
        _ => elements::<f64, 8, To, SIZE>(source, out),
    }
}

fn elements<From: Element, const FROM: usize, To: Element, const TO: usize>(source: &[u8], out: &mut [u8]) {
    for (from, to) in source.as_chunks::<FROM>().0.iter().zip(out.as_chunks_mut::<TO>().0) {
        let value: f64 = bytemuck::pod_read_unaligned::<From>(from).load();
        to.copy_from_slice(bytemuck::bytes_of(&To::store(value)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to_bf16(from: DType, bytes: &[u8]) -> Vec<u16> {
        let mut out = vec![0; bytes.len() / from.size() * 2];
        convert(from, bytes, DType::BF16, &mut out);
        out.as_chunks().0.iter().map(|bytes| u16::from_le_bytes(*bytes)).collect()
    }

    #[test]
    fn each_element_is_rounded_once_to_nearest_even() {
        // 1 + 2^-8 lies between two; a hair more, which f32 would lose, decides.
        let values = [1.0, 1.0 + 1.0 / 256.0, 1.0 + 3.0 / 256.0, f64::INFINITY, -0.0, 1e300];
        let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        assert_eq!(to_bf16(DType::F64, &bytes), [0x3F80, 0x3F80, 0x3F82, 0x7F80, 0x8000, 0x7F80]);
        let above = 1.0 + 1.0 / 256.0 + f64::powi(2.0, -40);
        assert_eq!(to_bf16(DType::F64, &above.to_le_bytes()), [0x3F81]);
        let bytes: Vec<u8> = values.iter().flat_map(|x| (*x as f32).to_le_bytes()).collect();
        assert_eq!(to_bf16(DType::F32, &bytes), [0x3F80, 0x3F80, 0x3F82, 0x7F80, 0x8000, 0x7F80]);
        assert_eq!(to_bf16(DType::F16, &0x3C00u16.to_le_bytes()), [0x3F80]);
    }

    #[test]
    fn one_type_is_copied_whatever_its_bits() {
        let bytes: Vec<u8> = (0..=255).collect();
        let mut out = vec![0; 256];
        convert(DType::F16, &bytes, DType::F16, &mut out);
        assert_eq!(out, bytes);
    }
}
