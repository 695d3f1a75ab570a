//! What a GPU takes from a checkpoint, and what it refuses.

use half::{bf16, f16};
use llama_kernels::Error;
use llama_kernels::backend::{
    Activation, ActivationMut, AddRmsNorm, Backend, Embed, Epilogue, Gpu, Matmul, ModelDims, QuantizeFp8,
    RmsNorm, RowOrder, WeightFormat, WeightSource,
};
use llama_kernels::gpu::{Buffer, Stream};
use llama_kernels::model::checkpoint::Checkpoint;
use llama_kernels::model::forward::{Model, ModelOptions};
use llama_kernels::quant::int4::GroupSize;
use llama_kernels::reference::{Activations, Cpu};
use llama_kernels::tensor::{Bytes, DType, HostTensor, Tensor};

use super::{device, gpu};
use crate::common::TempDir;
use crate::common::golden::with_heads_of_32;

const DIMS: ModelDims = ModelDims {
    hidden_size: 64,
    intermediate_size: 48,
    num_q_heads: 4,
    num_kv_heads: 2,
    head_dim: 64,
    vocab_size: 101,
};

const INT4: WeightFormat = WeightFormat::Int4 { group_size: GroupSize::Of32 };

fn host(name: &str, shape: &[usize], values: impl Iterator<Item = f32>) -> HostTensor {
    let data: Vec<u8> = values.flat_map(|x| bf16::from_f32(x).to_le_bytes()).collect();
    HostTensor { name: name.into(), dtype: DType::BF16, shape: shape.to_vec(), data: Bytes::new(data) }
}

fn prepared() -> Gpu {
    let mut gpu = gpu();
    assert_eq!(gpu.prepare(&DIMS, DType::BF16).unwrap(), DType::BF16);
    gpu
}

fn values(gpu: &mut Gpu, tensor: &Tensor<Buffer>) -> Vec<f32> {
    let mut bytes = vec![0; tensor.num_bytes()];
    gpu.download(tensor.view(), &mut bytes).unwrap();
    bytes
        .chunks(tensor.dtype().size())
        .map(|x| match tensor.dtype() {
            DType::F32 => f32::from_le_bytes(x.try_into().unwrap()),
            _ => bf16::from_le_bytes(x.try_into().unwrap()).to_f32(),
        })
        .collect()
}

/// Multiplies with unit vectors, so that the output shows the rows of a weight and its bias.
#[test]
#[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
fn parts_are_fused_in_order_and_biases_with_them() {
    let mut gpu = prepared();
    let k = 32;
    let part = |name: &str, n: usize, first: usize| {
        host(name, &[n, k], (0..n * k).map(move |i| ((i + first) % 129) as f32))
    };
    let bias =
        |name: &str, n: usize, first: usize| host(name, &[n], (0..n).map(move |i| -((i + first) as f32)));
    let (heights, firsts) = ([24, 8, 8], [0, 3, 70]);
    let weight = gpu
        .load_weight(WeightSource {
            parts: (0..3).map(|i| part("w", heights[i], firsts[i])).collect(),
            biases: (0..3).map(|i| bias("b", heights[i], firsts[i])).collect(),
            rows: RowOrder::Concatenated,
            format: WeightFormat::Native,
        })
        .unwrap();
    let mut x = gpu.alloc(DType::BF16, &[k, k]).unwrap();
    let unit: Vec<u8> = (0..k * k)
        .flat_map(|i| bf16::from_f32(if i % k == i / k { 1.0 } else { 0.0 }).to_le_bytes())
        .collect();
    gpu.upload(x.view_mut(), &unit).unwrap();
    let mut out = gpu.alloc(DType::F32, &[k, 40]).unwrap();
    let args = Matmul {
        x: Activation::Native(x.view()),
        weight: &weight,
        epilogue: Epilogue::None,
        out: ActivationMut::Native(out.view_mut()),
    };
    gpu.matmul(args).unwrap();
    let out = values(&mut gpu, &out);
    let mut n = 0;
    for (height, first) in heights.into_iter().zip(firsts) {
        for row in 0..height {
            for column in 0..k {
                let expected = ((row * k + column + first) % 129) as f32 - (row + first) as f32;
                assert_eq!(
                    out[column * 40 + n],
                    expected,
                    "row {row} of the part at {first}, column {column}"
                );
            }
            n += 1;
        }
    }
}

/// The interleaving of gate and up is the one that the matmul expects: `silu(gate) * up` of the right rows, with biases. A
/// weight of more than one staging buffer is in order as well.
#[test]
#[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
fn gate_and_up_meet_row_by_row() {
    for (f, k) in [(48, 32), (2056, 1040)] {
        let mut gpu = prepared();
        // Rows of one number each: gate g of row r is large, so that silu(g) is g; up is a small power of two.
        let gate = |r: usize| (32 + r % 96) as f32;
        let up = |r: usize| [0.25, 0.5, 1.0, 2.0][r / 7 % 4];
        let one_column = |f: usize, of: fn(usize) -> f32| {
            (0..f * k).map(move |i| if i % k == i / k % k { of(i / k) } else { 0.0 })
        };
        let gate_of: fn(usize) -> f32 = gate;
        let up_of: fn(usize) -> f32 = up;
        let weight = gpu
            .load_weight(WeightSource {
                parts: vec![
                    host("gate", &[f, k], one_column(f, gate_of)),
                    host("up", &[f, k], one_column(f, up_of)),
                ],
                biases: Vec::new(),
                rows: RowOrder::GateUp,
                format: WeightFormat::Native,
            })
            .unwrap();
        let mut x = gpu.alloc(DType::BF16, &[1, k]).unwrap();
        let ones: Vec<u8> = (0..k).flat_map(|_| bf16::from_f32(1.0).to_le_bytes()).collect();
        gpu.upload(x.view_mut(), &ones).unwrap();
        let mut out = gpu.alloc(DType::BF16, &[1, f]).unwrap();
        let args = Matmul {
            x: Activation::Native(x.view()),
            weight: &weight,
            epilogue: Epilogue::SwiGlu,
            out: ActivationMut::Native(out.view_mut()),
        };
        gpu.matmul(args).unwrap();
        let out = values(&mut gpu, &out);
        for (r, out) in out.into_iter().enumerate() {
            assert_eq!(out, gate(r) * up(r), "row {r} of {f}");
        }
    }
}

#[test]
fn vectors_are_rounded_to_the_activations_type() {
    let mut gpu = gpu();
    gpu.prepare(&DIMS, DType::F16).unwrap();
    let exact = [1.0f32, 1.0 + 3.0 / 2048.0, -70000.0];
    let data: Vec<u8> = exact.iter().flat_map(|x| x.to_le_bytes()).collect();
    let source =
        HostTensor { name: "norm".into(), dtype: DType::F32, shape: vec![3], data: Bytes::new(data) };
    let vector = gpu.load_vector(source.clone()).unwrap();
    assert_eq!((vector.dtype(), vector.shape()), (DType::F16, &[3][..]));
    let mut bytes = [0; 6];
    gpu.download(vector.view(), &mut bytes).unwrap();
    let rounded: Vec<f16> = bytes.as_chunks().0.iter().map(|b| f16::from_le_bytes(*b)).collect();
    assert_eq!(rounded, [f16::ONE, f16::from_bits(0x3C02), f16::NEG_INFINITY]);

    for (wrong, text) in [
        (
            HostTensor { shape: vec![3, 1], ..source.clone() },
            "load_vector: source: expected a vector of floats",
        ),
        (
            HostTensor { dtype: DType::I32, ..source.clone() },
            "load_vector: source: expected a vector of floats",
        ),
        (
            HostTensor { shape: vec![4], ..source.clone() },
            "load_vector: source: expected norm of shape [4] in f32",
        ),
    ] {
        let error = gpu.load_vector(wrong).unwrap_err().to_string();
        assert!(error.starts_with(text), "{error}");
    }
}

#[test]
fn widths_without_kernels_are_refused_before_any_weight_is_read() {
    let refuse = |dims: ModelDims, text: &str| {
        let error = gpu().prepare(&dims, DType::BF16).unwrap_err();
        assert!(matches!(error, Error::Unsupported { .. }));
        assert_eq!(error.to_string(), format!("{text}; the CPU runs it: --device cpu"));
    };
    refuse(
        ModelDims { hidden_size: 76, ..DIMS },
        "hidden_size 76 on a GPU is not supported: matrix kernels take multiples of 8",
    );
    refuse(
        ModelDims { intermediate_size: 100, ..DIMS },
        "intermediate_size 100 on a GPU is not supported: matrix kernels take multiples of 8",
    );
    refuse(
        ModelDims { hidden_size: 65536, ..DIMS },
        "hidden_size 65536 on a GPU is not supported: norms take rows of at most 32768 elements",
    );
    refuse(
        ModelDims { head_dim: 80, ..DIMS },
        "head_dim 80 on a GPU is not supported: attention kernels are compiled for 64 and 128",
    );
    refuse(
        ModelDims { num_q_heads: 34, ..DIMS },
        "34 query heads over 2 key/value heads on a GPU is not supported: attention kernels take 1 to 16 whole ones for each",
    );

    // A whole model folder, whose weights are never reached.
    let folder = TempDir::new();
    with_heads_of_32(&folder);
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    let mut done = 0;
    let loaded = Model::load(gpu(), &checkpoint, &ModelOptions::single(16), &mut |bytes| done = bytes);
    let error = loaded.err().unwrap().to_string();
    assert!(error.starts_with("head_dim 32 on a GPU is not supported"), "{error}");
    assert_eq!(done, 0);
}

#[test]
fn wrong_weights_are_named() {
    let mut gpu = gpu();
    let part = |n: usize| host("w", &[n, 16], (0..n * 16).map(|_| 1.0));
    let source = |heights: &[usize], rows| WeightSource {
        parts: heights.iter().map(|&n| part(n)).collect(),
        biases: Vec::new(),
        rows,
        format: WeightFormat::Native,
    };
    let error = gpu.load_weight(source(&[16], RowOrder::Concatenated)).unwrap_err().to_string();
    assert_eq!(error, "load: model: expected one that `prepare` was told of, got none");
    gpu.prepare(&DIMS, DType::BF16).unwrap();
    for (source, text) in [
        (
            source(&[12, 12], RowOrder::GateUp),
            "load_weight: parts: expected gate and up whose height is a multiple of 8, got heights [12, 12]",
        ),
        (source(&[8, 16], RowOrder::GateUp), "load_weight: parts: expected gate and up of equal height"),
        (source(&[], RowOrder::Concatenated), "load_weight: parts: expected at least one matrix"),
        (
            WeightSource { format: WeightFormat::Fp8, ..source(&[12], RowOrder::Concatenated) },
            "fp8: weight: expected rows in a multiple of 8, got w of type bf16 and shape [12, 16]",
        ),
        (
            WeightSource { format: INT4, ..source(&[16], RowOrder::Concatenated) },
            "int4: weight: expected columns in a multiple of 32, got w of type bf16 and shape [16, 16]",
        ),
    ] {
        let error = gpu.load_weight(source).unwrap_err().to_string();
        assert!(error.starts_with(text), "{error}");
    }
}

#[test]
fn views_to_copy_are_checked() {
    let mut gpu = gpu();
    let mut tensor = gpu.alloc(DType::F32, &[4, 3]).unwrap();
    let error = gpu.upload(tensor.view_mut(), &[0; 47]).unwrap_err().to_string();
    assert_eq!(error, "upload: bytes: expected those of [4, 3] in f32, got 47");
    let columns = tensor.view().columns(2).unwrap();
    let error = gpu.download(columns, &mut [0; 32]).unwrap_err().to_string();
    assert_eq!(error, "download: from: expected contiguous elements, got [4, 2] with strides [3, 1]");
    gpu.upload(tensor.view_mut().rows(1..3).unwrap(), &[0x3F; 24]).unwrap();
    let mut bytes = [1; 48];
    gpu.download(tensor.view(), &mut bytes).unwrap();
    assert_eq!(bytes, [[0u8; 12], [0x3F; 12], [0x3F; 12], [0; 12]].concat()[..]);
    assert!(matches!(gpu.alloc(DType::F32, &[usize::MAX / 2, 3]), Err(Error::Argument { .. })));
}

#[test]
fn what_has_no_kernel_is_named() {
    let mut gpu = prepared();
    let part = host("w", &[16, 64], (0..16 * 64).map(|i| i as f32));
    let source = WeightSource {
        parts: vec![part],
        biases: Vec::new(),
        rows: RowOrder::Concatenated,
        format: WeightFormat::Native,
    };
    let x = gpu.alloc(DType::BF16, &[1, 64]).unwrap();
    let codes = gpu.alloc(DType::F8E4M3, &[1, 64]).unwrap();
    let scale = gpu.alloc(DType::F32, &[1, 1]).unwrap();
    let mut out = gpu.alloc(DType::BF16, &[1, 16]).unwrap();
    for (format, text) in [
        (
            WeightFormat::Native,
            "matmul of a weight in 16 bits with fp8 activations on a GPU is not supported",
        ),
        (INT4, "matmul of a weight in int4 with fp8 activations on a GPU is not supported"),
        (
            WeightFormat::Fp8,
            "matmul: x: expected an fp8 activation with one scale a token, for a weight in fp8",
        ),
    ] {
        let weight = gpu.load_weight(WeightSource { format, ..source.clone() }).unwrap();
        let (x, rest) = match format {
            WeightFormat::Fp8 => (Activation::Native(x.view()), ", got bf16"),
            _ => {
                let x = Activation::Fp8 { codes: codes.view(), scale: scale.view() };
                (x, ": there is no kernel for it")
            }
        };
        let out = ActivationMut::Native(out.view_mut());
        let error = gpu.matmul(Matmul { x, weight: &weight, epilogue: Epilogue::None, out }).unwrap_err();
        assert_eq!(error.to_string(), format!("{text}{rest}"));
    }
    // A table's rows are copied as they are.
    let table = gpu.load_weight(WeightSource { format: INT4, ..source }).unwrap();
    let ids = gpu.alloc(DType::I32, &[1]).unwrap();
    let error = gpu.embed(Embed { ids: ids.view(), table: &table, out: out.view_mut() }).unwrap_err();
    assert_eq!(error.to_string(), "embed: table: expected a native weight, got one in int4");
}

/// Codes and scales of 3 rows by `quantize_fp8`, `rms_norm` and `add_rms_norm`, and the residual, on rows of which the norms
/// are exact.
fn quantised<B: Backend>(backend: &mut B, groups: usize) -> Vec<Vec<u8>> {
    const SHAPE: [usize; 2] = [3, 256];
    let mut tensor = |shape: &[usize], values: &dyn Fn(usize) -> f32| {
        let mut tensor = backend.alloc(DType::BF16, shape).unwrap();
        let values = (0..shape.iter().product()).map(values);
        let bytes: Vec<u8> = values.flat_map(|x| bf16::from_f32(x).to_le_bytes()).collect();
        backend.upload(tensor.view_mut(), &bytes).unwrap();
        tensor
    };
    let x = tensor(&SHAPE, &|i| if i % 3 == 0 { -2.0 } else { 2.0 });
    let mut residual = tensor(&SHAPE, &|i| if i % 3 == 0 { -6.0 } else { 6.0 });
    let weight = tensor(&[SHAPE[1]], &|i| i as f32 - 100.0);
    let uneven = tensor(&SHAPE, &|i| (i * i % 1009) as f32 - 500.0);
    let mut results = Vec::new();
    for op in 0..3 {
        let mut codes = backend.alloc(DType::F8E4M3, &SHAPE).unwrap();
        let mut scale = backend.alloc(DType::F32, &[SHAPE[0], groups]).unwrap();
        let out =
            ActivationMut::Fp8 { codes: codes.view_mut(), scale: scale.view_mut(), rounded_to: DType::BF16 };
        let (x, weight, eps) = (x.view(), weight.view(), 0.0);
        match op {
            0 => backend.quantize_fp8(QuantizeFp8 { x: uneven.view(), out }),
            1 => backend.rms_norm(RmsNorm { x, weight, eps, out }),
            _ => backend.add_rms_norm(AddRmsNorm { x, residual: residual.view_mut(), weight, eps, out }),
        }
        .unwrap();
        for tensor in [&codes, &scale] {
            let mut bytes = vec![0; tensor.num_bytes()];
            backend.download(tensor.view(), &mut bytes).unwrap();
            results.push(bytes);
        }
    }
    let mut bytes = vec![0; residual.num_bytes()];
    backend.download(residual.view(), &mut bytes).unwrap();
    results.push(bytes);
    results
}

#[test]
#[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
fn fp8_activations_are_the_cpus() {
    for groups in [1, 2] {
        let expected = quantised(&mut Cpu::<f32>::new(Activations::AsCheckpoint), groups);
        assert!(expected.iter().all(|bytes| bytes.iter().any(|&byte| byte != 0)));
        assert_eq!(quantised(&mut prepared(), groups), expected, "{groups}");
    }
}

#[test]
fn fp8_activations_are_rounded_as_the_others_are() {
    let mut gpu = prepared();
    let x = gpu.alloc(DType::BF16, &[1, 64]).unwrap();
    let mut codes = gpu.alloc(DType::F8E4M3, &[1, 64]).unwrap();
    let mut scale = gpu.alloc(DType::F32, &[1, 1]).unwrap();
    let out = ActivationMut::Fp8 { codes: codes.view_mut(), scale: scale.view_mut(), rounded_to: DType::F16 };
    let error = gpu.quantize_fp8(QuantizeFp8 { x: x.view(), out }).unwrap_err().to_string();
    assert_eq!(error, "quantize_fp8: rounded_to: expected bf16, got f16");
    let mut native = gpu.alloc(DType::BF16, &[1, 64]).unwrap();
    let out = ActivationMut::Native(native.view_mut());
    let error = gpu.quantize_fp8(QuantizeFp8 { x: x.view(), out }).unwrap_err().to_string();
    assert_eq!(error, "quantize_fp8: out: expected an fp8 activation, got bf16");
}

/// The stream of a host, and its device's name.
#[test]
fn a_gpu_describes_itself() {
    let device = device();
    let gpu = gpu();
    assert_eq!(gpu.description(), device.properties().name);
    assert_eq!(gpu.kernel_launches(), Some(0));
    let _: &Stream = gpu.stream();
}
