//! What stands in a device's memory is what the CPU's quantisation gives, in the order that the kernels read.

use half::{bf16, f16};

use super::*;
use crate::device::DeviceChoice;
use crate::gpu::Device;
use crate::quant::int4::Int4Parts;
use crate::random::SplitMix64;
use crate::tensor::Bytes;

const GATE_UP: RowOrder = RowOrder::GateUp;
const CONCATENATED: RowOrder = RowOrder::Concatenated;

/// Small integers, others in each part; in most rows zeros, which are soon quantised.
fn parts(heights: &[usize], k: usize, dtype: DType, dense: usize) -> Vec<HostTensor> {
    let mut rng = SplitMix64(5);
    let part = |&n: &usize| {
        let mut number = |i: usize| match (i / k).is_multiple_of(dense) {
            true => rng.below(255) as f32 - 127.0,
            false => 0.0,
        };
        let bytes = (0..n * k).map(&mut number).flat_map(|x| match dtype {
            DType::BF16 => bf16::from_f32(x).to_le_bytes().to_vec(),
            DType::F16 => f16::from_f32(x).to_le_bytes().to_vec(),
            _ => x.to_le_bytes().to_vec(),
        });
        let data = Bytes::new(bytes.collect::<Vec<u8>>());
        HostTensor { name: "w".into(), dtype, shape: vec![n, k], data }
    };
    heights.iter().map(part).collect()
}

fn load(parts: &[HostTensor], rows: RowOrder, format: WeightFormat, dtype: DType) -> GpuWeight {
    let stream = Device::open(DeviceChoice::SIM).unwrap().new_stream().unwrap();
    let mut staging = Staging::new(stream.device(), 1 << 16).unwrap();
    let source = WeightSource { parts: parts.to_vec(), biases: Vec::new(), rows, format };
    let weight = Loader { stream: &stream, staging: &mut staging, dtype }.weight(&source).unwrap();
    stream.synchronize().unwrap();
    weight
}

fn bytes(tensor: &Tensor<Buffer>) -> Vec<u8> {
    let stream = tensor.view().buffer.device().new_stream().unwrap();
    let mut bytes = vec![0; tensor.num_bytes()];
    stream.read(tensor.view().buffer, 0, &mut bytes).unwrap();
    bytes
}

/// Rows of parts of `width` elements as they are to stand on the device, without `runs`.
fn ordered<T: Copy>(parts: &[&[T]], width: usize, order: RowOrder) -> Vec<T> {
    match order {
        RowOrder::Concatenated => parts.concat(),
        RowOrder::GateUp => {
            let blocks = parts[0].chunks(8 * width).zip(parts[1].chunks(8 * width));
            blocks.flat_map(|(gate, up)| [gate, up].concat()).collect()
        }
    }
}

#[test]
fn int4_weights_are_those_of_the_cpu() {
    for (heights, k, rows, group_size, from, to, dense) in [
        (&[8][..], 32, CONCATENATED, GroupSize::Of32, DType::BF16, DType::BF16, 1),
        (&[24, 8, 8], 96, CONCATENATED, GroupSize::Of32, DType::F16, DType::F16, 1),
        (&[16, 8], 80, CONCATENATED, GroupSize::Row, DType::F32, DType::BF16, 1),
        (&[40, 40], 128, GATE_UP, GroupSize::Of64, DType::BF16, DType::BF16, 1),
        // More than is quantised at a time, and ends within a piece and a tile.
        (&[648, 640], 4096, CONCATENATED, GroupSize::Of128, DType::BF16, DType::BF16, 97),
        (&[648, 648], 4096, GATE_UP, GroupSize::Of128, DType::BF16, DType::BF16, 97),
    ] {
        let n: usize = heights.iter().sum();
        assert!(dense == 1 || n * k > QUANTIZED_AT_ONCE, "more than one piece");
        let parts = parts(heights, k, from, dense);
        let each: Vec<Int4> =
            parts.iter().map(|part| Int4::quantize(part, to, group_size).unwrap()).collect();
        let codes: Vec<&[u8]> = each.iter().map(|part| &part.parts().codes[..]).collect();
        let scales: Vec<&[u16]> = each.iter().map(|part| &part.parts().scales[..]).collect();
        let expected = Int4::new(Int4Parts {
            n,
            codes: ordered(&codes, k / 2, rows),
            scales: ordered(&scales, k / group_size.columns(k), rows),
            ..each[0].parts().clone()
        });
        let expected = Packed::new(&expected.unwrap());
        let weight = load(&parts, rows, WeightFormat::Int4 { group_size }, to);
        let Matrix::Int4 { codes, scales, integer_zeros, .. } = &weight.matrix else {
            panic!("{weight:?}");
        };
        assert!(*integer_zeros && scales.shape() == expected.scales_shape());
        assert_eq!((codes.dtype(), scales.dtype()), (DType::U8, to));
        assert!(bytes(codes) == expected.codes(), "codes of {heights:?} x {k}, {rows:?}");
        let expected: &[u8] = bytemuck::cast_slice(expected.scales());
        assert!(bytes(scales) == expected, "scales of {heights:?} x {k}, {rows:?}");
    }
}

#[test]
fn fp8_weights_are_those_of_the_cpu() {
    for (heights, k, rows, from, dense) in [
        (&[8][..], 16, CONCATENATED, DType::F16, 1),
        (&[24, 8, 8], 48, CONCATENATED, DType::F32, 1),
        (&[648, 648], 4096, GATE_UP, DType::BF16, 3),
    ] {
        let parts = parts(heights, k, from, dense);
        let each: Vec<Fp8Rows> = parts.iter().map(|part| Fp8Rows::quantize(part).unwrap()).collect();
        let codes = ordered(&each.iter().map(Fp8Rows::codes).collect::<Vec<_>>(), k, rows);
        let scales = ordered(&each.iter().map(Fp8Rows::scales).collect::<Vec<_>>(), 1, rows);
        let weight = load(&parts, rows, WeightFormat::Fp8, DType::BF16);
        let Matrix::Fp8 { codes: ours, scales: our_scales } = &weight.matrix else { panic!("{weight:?}") };
        let n = heights.iter().sum::<usize>();
        assert_eq!((ours.dtype(), ours.shape()), (DType::F8E4M3, &[n, k][..]));
        assert_eq!((our_scales.dtype(), our_scales.shape()), (DType::F32, &[n, 1][..]));
        assert!(bytes(ours) == codes, "codes of {heights:?} x {k}, {rows:?}");
        let expected: &[u8] = bytemuck::cast_slice(&scales);
        assert!(bytes(our_scales) == expected, "scales of {heights:?} x {k}, {rows:?}");
    }
}

/// What is wrong is found before any memory is taken, and names the part.
#[test]
fn what_a_format_cannot_hold_is_refused() {
    let device = Device::open(DeviceChoice::SIM).unwrap();
    let stream = device.new_stream().unwrap();
    let mut staging = Staging::new(&device, 1 << 12).unwrap();
    let allocated = device.allocated();
    let int4 = |group_size| WeightFormat::Int4 { group_size };
    for (heights, k, rows, format, text) in [
        (
            &[16, 16][..],
            96,
            GATE_UP,
            int4(GroupSize::Of64),
            "int4: weight: expected columns in a multiple of 64, got w of type bf16 and shape [16, 96]",
        ),
        (
            &[16, 12],
            64,
            CONCATENATED,
            int4(GroupSize::Of64),
            "int4: weight: expected rows in a multiple of 8, got w of type bf16 and shape [12, 64]",
        ),
        (
            &[8],
            24,
            CONCATENATED,
            WeightFormat::Fp8,
            "fp8: weight: expected columns in a multiple of 16, got w of type bf16 and shape [8, 24]",
        ),
        (
            &[8, 4],
            32,
            CONCATENATED,
            WeightFormat::Fp8,
            "fp8: weight: expected rows in a multiple of 8, got w of type bf16 and shape [4, 32]",
        ),
    ] {
        let source =
            WeightSource { parts: parts(heights, k, DType::BF16, 1), biases: Vec::new(), rows, format };
        let error = Loader { stream: &stream, staging: &mut staging, dtype: DType::BF16 }.weight(&source);
        let error = error.unwrap_err();
        assert!(matches!(error, Error::Argument { .. }), "{error:?}");
        assert_eq!(error.to_string(), text);
    }
    assert_eq!(device.allocated(), allocated);
}
