//! The checkpoints in `tests/golden`: what transformers computed from their configurations, and every tensor
//! read and mapped.

use std::path::{Path, PathBuf};

use llama_kernels::model::checkpoint::{Checkpoint, Header};
use llama_kernels::model::config::Config;
use llama_kernels::tensor::DType;

const CHECKPOINTS: [&str; 12] = [
    "bias",
    "dynamic-rope",
    "f16",
    "f32",
    "linear-rope",
    "llama2-mha",
    "llama3-gqa",
    "llama31-rope",
    "llama32-tied",
    "odd-vocab",
    "sharded",
    "yarn-rope",
];

pub fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// A tensor of `goldens.safetensors`: its type and bytes.
fn reference(checkpoint: &str, name: &str) -> (DType, Vec<u8>) {
    let file = golden(checkpoint).join("goldens.safetensors");
    let bytes = std::fs::read(&file).unwrap();
    let data = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header = Header::parse(&bytes[8..data], bytes.len() - data, &file).unwrap();
    let info = &header.tensors[name];
    (info.dtype, bytes[data..][info.bytes.clone()].to_vec())
}

fn reference_f32(checkpoint: &str, name: &str) -> Vec<f32> {
    let (dtype, bytes) = reference(checkpoint, name);
    assert_eq!(dtype, DType::F32, "{checkpoint}: {name}");
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
}

#[test]
fn frequencies_are_those_of_transformers() {
    for name in CHECKPOINTS {
        let config = Config::load(golden(name)).unwrap();
        let prompt = reference(name, "tokens").1.len() / 8;
        let (freq, factor) = config.rope.inv_freq(config.head_dim, prompt);
        let expected = reference_f32(name, "inv_freq");
        assert_eq!(freq.len(), expected.len(), "{name}");
        assert_eq!([factor], *reference_f32(name, "rope_attention_factor"), "{name}");
        for (i, (f, e)) in freq.iter().zip(&expected).enumerate() {
            // torch's pow is not always correctly rounded.
            assert!(f.to_bits().abs_diff(e.to_bits()) <= 1, "{name}: inv_freq[{i}]: {f:e}, expected {e:e}");
        }
    }
}

#[test]
fn checkpoints_open_and_reading_equals_mapping() {
    for name in CHECKPOINTS {
        let read = Checkpoint::open(golden(name)).unwrap();
        // SAFETY: nothing changes the fixtures.
        let mapped = unsafe { Checkpoint::open_mmap(golden(name)) }.unwrap();
        assert!(read.names().eq(mapped.names()), "{name}");
        let (mut elements, mut bytes) = (0, 0);
        for tensor in read.names() {
            let (a, b) = (read.tensor(tensor).unwrap(), mapped.tensor(tensor).unwrap());
            assert_eq!((a.dtype, &a.shape, &*a.data), (b.dtype, &b.shape, &*b.data), "{name}: {tensor}");
            assert_eq!((&*a.name, a.dtype), (tensor, read.dtype()), "{name}");
            assert_eq!(a.data.len(), a.shape.iter().product::<usize>() * a.dtype.size(), "{name}: {tensor}");
            elements += a.shape.iter().product::<usize>() as u64;
            bytes += a.data.len() as u64;
        }
        assert_eq!(elements, read.config().parameter_count(), "{name}");
        assert_eq!(bytes, read.weight_bytes(), "{name}");
        assert_eq!(Some(read.dtype()), read.config().dtype, "{name}");
        let error = read.tensor("model.layers.7.mlp.up_proj.weight").unwrap_err().to_string();
        assert!(error.contains("model.layers.7.mlp.up_proj.weight"), "{error}");
    }
}
