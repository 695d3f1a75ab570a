use llama_kernels::Error;
use llama_kernels::backend::{
    Activation, ActivationMut, Backend, Epilogue, GatherRows, Matmul, ModelDims, RowOrder, WeightFormat,
    WeightSource,
};
use llama_kernels::reference::{Activations, Cpu, CpuBuffer};
use llama_kernels::tensor::{Bytes, DType, HostTensor, Layout, View, ViewMut};

use super::support::*;

/// `bytes` in memory that is a multiple of 8, and `shift` bytes behind that.
fn shifted(bytes: &[u8], shift: usize) -> Bytes {
    #[repr(C, align(8))]
    struct Aligned([u8; 256]);
    impl AsRef<[u8]> for Aligned {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    let mut memory = Aligned([0xFF; 256]);
    memory.0[shift..shift + bytes.len()].copy_from_slice(bytes);
    Bytes::new(memory).slice(shift..shift + bytes.len()).unwrap()
}

#[test]
fn checkpoints_are_read_in_place_or_copied_where_they_are_misaligned() {
    for dtype in [DType::BF16, DType::F16, DType::F32, DType::F64] {
        let numbers = [1.0, -2.0, 3.0, 4.0, 5.0, -6.0];
        let bytes = encode(dtype, &numbers);
        for shift in 0..=8 {
            let data = shifted(&bytes, shift);
            let buffer = CpuBuffer::from_bytes(data.clone(), dtype.size()).unwrap();
            assert_eq!(buffer.bytes(), bytes);
            assert_eq!(
                buffer.bytes().as_ptr() == data.as_ptr(),
                shift % dtype.size() == 0,
                "{dtype} at {shift}"
            );

            let part = HostTensor { name: "w".into(), dtype, shape: vec![2, 3], data };
            let weight = cpu::<f32>()
                .load_weight(WeightSource {
                    parts: vec![part],
                    biases: Vec::new(),
                    rows: RowOrder::Concatenated,
                    format: WeightFormat::Native,
                })
                .unwrap();
            let x = tensor(DType::F32, &[1, 3], &[1.0, 10.0, 100.0]);
            let mut out = poisoned(DType::F32, &[1, 2]);
            cpu::<f32>()
                .matmul(Matmul {
                    x: Activation::Native(x.view()),
                    weight: &weight,
                    epilogue: Epilogue::None,
                    out: ActivationMut::Native(out.view_mut()),
                })
                .unwrap();
            assert_eq!(values(&out), [281.0, -546.0]);
        }
    }
}

#[test]
fn new_memory_is_zero_and_aligned() {
    for shape in [&[0][..], &[1], &[3, 5], &[2, 2, 2, 1000]] {
        let tensor = cpu::<f32>().alloc(DType::F64, shape).unwrap();
        assert!(bytes(&tensor).iter().all(|&byte| byte == 0));
        assert!(tensor.view().buffer.bytes().as_ptr().addr().is_multiple_of(64));
    }
}

#[test]
fn memory_that_cannot_be_had_is_an_error() {
    let shape = [1 << 40, 1 << 10];
    let error = cpu::<f32>().alloc(DType::F64, &shape).unwrap_err();
    assert!(matches!(error, Error::OutOfMemory { bytes: 9_007_199_254_740_992 }), "{error}");
    assert_eq!(error.to_string(), "9007199254740992 bytes of memory could not be allocated");
    refused(
        cpu::<f32>().alloc(DType::F64, &[1 << 62]),
        "alloc: shape: expected fewer than 2^64 bytes, got [4611686018427387904] of f64",
    );
}

#[test]
fn copies_are_of_contiguous_elements() {
    let mut cpu = cpu::<f32>();
    let mut tensor = cpu.alloc(DType::F32, &[4, 2]).unwrap();
    cpu.upload(tensor.view_mut().rows(1..3).unwrap(), &encode(DType::F32, &[1.0, 2.0, 3.0, 4.0])).unwrap();
    assert_eq!(values(&tensor), [0.0, 0.0, 1.0, 2.0, 3.0, 4.0, 0.0, 0.0]);
    let mut row = [0; 8];
    cpu.download(tensor.view().rows(2..3).unwrap(), &mut row).unwrap();
    assert_eq!(decode(DType::F32, &row), [3.0, 4.0]);

    refused(
        cpu.upload(tensor.view_mut(), &[0; 31]),
        "upload: bytes: expected 32 of them, for [4, 2] in f32, got 31",
    );
    let column = Layout::strided(&[4], &[2], 0).unwrap();
    refused(
        cpu.download(View { layout: column, ..tensor.view() }, &mut [0; 16]),
        "download: from: expected contiguous elements, got [4] with strides [2]",
    );
    let beyond = Layout::contiguous(&[9]).unwrap();
    refused(
        cpu.upload(ViewMut { layout: beyond, ..tensor.view_mut() }, &[0; 36]),
        "upload: to: expected a buffer that holds bytes 0..36, got 32 bytes",
    );
    refused(
        cpu.download(View { layout: beyond, ..tensor.view() }, &mut [0; 36]),
        "download: from: expected a buffer that holds bytes 0..36, got 32 bytes",
    );
}

#[test]
fn views_beyond_their_buffer_and_checkpoints_to_write_are_refused() {
    let mut cpu = cpu::<f32>();
    let x = tensor(DType::F32, &[2, 2], &[0.0; 4]);
    let rows = tensor(DType::I32, &[1], &[0.0]);
    let mut out = poisoned(DType::F32, &[1, 2]);
    let beyond = Layout::strided(&[2, 2], &[2, 1], 1).unwrap();
    refused(
        cpu.gather_rows(GatherRows {
            x: View { layout: beyond, ..x.view() },
            rows: rows.view(),
            out: out.view_mut(),
        }),
        "gather_rows: x: expected a buffer of 5 elements, got 16 bytes",
    );
    let overlapping = Layout::strided(&[2, 2], &[1, 1], 0).unwrap();
    let two_rows = tensor(DType::I32, &[2], &[0.0, 1.0]);
    refused(
        cpu.gather_rows(GatherRows {
            x: x.view(),
            rows: two_rows.view(),
            out: ViewMut { layout: overlapping, ..out.view_mut() },
        }),
        "gather_rows: out: expected rows that do not overlap, got [2, 2] with strides [1, 1]",
    );
    let mut norm = cpu.load_vector(host(DType::F32, &[2], &[1.0, 2.0])).unwrap();
    refused(
        cpu.upload(norm.view_mut(), &[0; 8]),
        "upload: to: expected writable memory, got memory that belongs to a checkpoint",
    );
    let matrix = Layout::contiguous(&[1, 2]).unwrap();
    refused(
        cpu.gather_rows(GatherRows {
            x: x.view(),
            rows: rows.view(),
            out: ViewMut { layout: matrix, ..norm.view_mut() },
        }),
        "gather_rows: out: expected writable memory, got memory that belongs to a checkpoint",
    );
}

#[test]
fn activations_are_exact_or_as_the_checkpoint() {
    let dims = ModelDims {
        hidden_size: 8,
        intermediate_size: 8,
        num_q_heads: 1,
        num_kv_heads: 1,
        head_dim: 8,
        vocab_size: 8,
    };
    for checkpoint in [DType::BF16, DType::F16, DType::F32] {
        let exact = Activations::Exact;
        assert_eq!(Cpu::<f32>::new(exact).prepare(&dims, checkpoint).unwrap(), DType::F32);
        assert_eq!(Cpu::<f64>::new(exact).prepare(&dims, checkpoint).unwrap(), DType::F64);
        let mut rounding = Cpu::<f32>::new(Activations::AsCheckpoint);
        assert_eq!(rounding.prepare(&dims, checkpoint).unwrap(), checkpoint);
    }
}
