//! Whole models with quantised weights and caches.

use std::collections::HashMap;

use llama_kernels::backend::{CacheFormat, WeightFormat};
use llama_kernels::model::batch::{Logits, SequenceInput};
use llama_kernels::model::checkpoint::Checkpoint;
use llama_kernels::model::forward::{Model, ModelOptions};
use llama_kernels::quant::fp8;
use llama_kernels::quant::fp8_rows::Fp8Rows;
use llama_kernels::quant::int4::{GroupSize, Int4};
use llama_kernels::reference::{Activations, Cpu};
use llama_kernels::tensor::{Bytes, DType, HostTensor};
use safetensors::tensor::TensorView;

use crate::common::TempDir;
use crate::common::golden::{Golden, path};

#[path = "../benches/heldout/mod.rs"]
mod heldout;

const INT4: WeightFormat = WeightFormat::Int4 { group_size: GroupSize::Of32 };

/// Checkpoints whose widths are multiples of 32, with biases, in f16, in f32, tied and sharded among them.
const GOLDENS: [&str; 7] =
    ["llama2-mha", "llama3-gqa", "llama32-tied", "yarn-rope", "f32", "bias", "sharded"];

fn options(tokens: usize, weights: WeightFormat, kv_cache: CacheFormat) -> ModelOptions {
    ModelOptions { max_tokens: tokens, max_logits: tokens, weights, kv_cache, ..ModelOptions::single(tokens) }
}

/// The logits after each token, computed in chunks.
fn logits(
    checkpoint: &Checkpoint,
    activations: Activations,
    tokens: &[u32],
    chunk: usize,
    (weights, kv_cache): (WeightFormat, CacheFormat),
) -> Vec<f32> {
    let options = options(tokens.len(), weights, kv_cache);
    let mut model = Model::load(Cpu::<f32>::new(activations), checkpoint, &options, &mut |_| {}).unwrap();
    let sequence = model.add_sequence().unwrap();
    let mut all = Vec::new();
    for tokens in tokens.chunks(chunk) {
        model.forward(&[SequenceInput { sequence, tokens, logits: Logits::All }]).unwrap();
        all.extend(model.logits().unwrap());
    }
    all
}

fn is_linear(name: &str) -> bool {
    name.ends_with("_proj.weight")
}

/// The checkpoint with every weight of the layers replaced by `of` it.
fn replaced(name: &str, checkpoint: &Checkpoint, of: impl Fn(&HostTensor) -> HostTensor) -> Checkpoint {
    let folder = TempDir::new();
    std::fs::copy(path("tests/golden").join(name).join("config.json"), folder.path().join("config.json"))
        .unwrap();
    let tensors: Vec<HostTensor> = checkpoint
        .names()
        .map(|name| {
            let tensor = checkpoint.tensor(name).unwrap();
            if is_linear(name) { of(&tensor) } else { tensor }
        })
        .collect();
    assert!(tensors.iter().filter(|tensor| is_linear(&tensor.name)).count() >= 14);
    let views: HashMap<&str, TensorView<'_>> = tensors
        .iter()
        .map(|tensor| {
            let dtype = match tensor.dtype {
                DType::BF16 => safetensors::Dtype::BF16,
                DType::F16 => safetensors::Dtype::F16,
                _ => safetensors::Dtype::F32,
            };
            (&tensor.name[..], TensorView::new(dtype, tensor.shape.clone(), &tensor.data).unwrap())
        })
        .collect();
    safetensors::serialize_to_file(views, None, &folder.path().join("model.safetensors")).unwrap();
    Checkpoint::open(folder.path()).unwrap()
}

/// What fp8 codes and their rows' scales stand for, in f32.
fn of_fp8(weight: &HostTensor) -> HostTensor {
    let rows = Fp8Rows::quantize(weight).unwrap();
    let [_, k] = rows.shape();
    let value = |(i, &code): (usize, &u8)| (fp8::decode(code) * rows.scales()[i / k]).to_le_bytes();
    let data: Vec<u8> = rows.codes().iter().enumerate().flat_map(value).collect();
    HostTensor { dtype: DType::F32, data: Bytes::new(data), ..weight.clone() }
}

/// Root of the mean square of the differences, over that of the numbers.
fn difference(a: &[f32], b: &[f32]) -> f64 {
    let squares = |numbers: &mut dyn Iterator<Item = f32>| numbers.map(|x| f64::from(x).powi(2)).sum::<f64>();
    (squares(&mut a.iter().zip(b).map(|(a, b)| a - b)) / squares(&mut b.iter().copied())).sqrt()
}

/// Bit by bit the logits of a checkpoint that holds what the codes stand for.
#[test]
fn int4_models_compute_what_their_codes_stand_for() {
    for name in GOLDENS {
        let Golden { checkpoint, tokens, .. } = Golden::load(name);
        let stored = if checkpoint.dtype() == DType::F16 { DType::F16 } else { DType::BF16 };
        let values = replaced(name, &checkpoint, |weight| {
            let values = Int4::quantize(weight, stored, GroupSize::Of32).unwrap();
            let values = values.dequantize(&weight.name, stored).unwrap();
            // A checkpoint has one type.
            if weight.dtype == stored { values } else { in_f32(&values) }
        });
        for activations in [Activations::Exact, Activations::AsCheckpoint] {
            let native = (WeightFormat::Native, CacheFormat::Native);
            let int4 = logits(&checkpoint, activations, &tokens, 7, (INT4, CacheFormat::Native));
            assert!(int4 == logits(&values, activations, &tokens, 64, native), "{name}, {activations:?}");
            assert!(
                int4 != logits(&checkpoint, activations, &tokens, 64, native),
                "{name}: nothing was quantised"
            );
        }
    }
}

fn in_f32(tensor: &HostTensor) -> HostTensor {
    let wide = |bytes: &[u8; 2]| half::bf16::from_le_bytes(*bytes).to_f32().to_le_bytes();
    let data: Vec<u8> = tensor.data.as_chunks().0.iter().flat_map(wide).collect();
    HostTensor { dtype: DType::F32, data: Bytes::new(data), ..tensor.clone() }
}

/// A model of the same weights in f32 differs by nothing but the activations' three bits of mantissa; and however a prompt
/// is cut, the bits are the same.
#[test]
fn fp8_models_are_near_what_their_codes_stand_for() {
    for name in ["f32", "bias", "llama3-gqa"] {
        let Golden { checkpoint, tokens, .. } = Golden::load(name);
        let fp8 = (WeightFormat::Fp8, CacheFormat::Native);
        let ours = logits(&checkpoint, Activations::Exact, &tokens, 64, fp8);
        assert!(ours == logits(&checkpoint, Activations::Exact, &tokens, 5, fp8), "{name}: chunks");
        if name != "f32" {
            let native = logits(&checkpoint, Activations::Exact, &tokens, 64, Default::default());
            let far = difference(&ours, &native);
            assert!((1e-3..0.15).contains(&far), "{name}: {far} from native");
            continue;
        }
        let values = replaced(name, &checkpoint, of_fp8);
        let values = logits(&values, Activations::Exact, &tokens, 64, Default::default());
        let far = difference(&ours, &values);
        assert!((1e-3..0.15).contains(&far), "{name}: {far}");
    }
}

#[test]
fn an_fp8_cache_rounds_keys_and_values_alone() {
    for name in ["llama3-gqa", "f16"] {
        let Golden { checkpoint, tokens, .. } = Golden::load(name);
        for weights in [WeightFormat::Native, WeightFormat::Fp8] {
            let of = |chunk, cache| logits(&checkpoint, Activations::Exact, &tokens, chunk, (weights, cache));
            let ours = of(64, CacheFormat::Fp8);
            assert!(ours == of(3, CacheFormat::Fp8), "{name}: chunks");
            let far = difference(&ours, &of(64, CacheFormat::Native));
            assert!((1e-4..0.1).contains(&far), "{name}, weights {weights}: {far}");
        }
    }
}

/// Random keys and values for measurements are numbers in a cache of codes too.
#[test]
fn an_fp8_cache_can_be_scrambled() {
    let Golden { checkpoint, .. } = Golden::load("llama3-gqa");
    let options = options(32, WeightFormat::Native, CacheFormat::Fp8);
    let cpu = Cpu::<f32>::new(Activations::Exact);
    let mut model = Model::load(cpu, &checkpoint, &options, &mut |_| {}).unwrap();
    model.scramble_cache(1).unwrap();
    let sequence = model.add_sequence().unwrap();
    model.occupy(sequence, 20).unwrap();
    model.forward(&[SequenceInput { sequence, tokens: &[1], logits: Logits::Last }]).unwrap();
    assert!(model.logits().unwrap().iter().all(|logit| logit.is_finite()));
}

#[test]
fn a_weight_that_does_not_fit_is_named() {
    let Golden { checkpoint, .. } = Golden::load("odd-vocab");
    for (group_size, expected) in [
        (
            GroupSize::Of128,
            "columns in a multiple of 128, got model.layers.0.self_attn.q_proj.weight of type bf16 and shape [128, 80]",
        ),
        (
            GroupSize::Row,
            "columns in a multiple of 16, got model.layers.0.mlp.down_proj.weight of type bf16 and shape [80, 72]",
        ),
    ] {
        let options = options(8, WeightFormat::Int4 { group_size }, CacheFormat::Native);
        let cpu = Cpu::<f32>::new(Activations::Exact);
        let error = Model::load(cpu, &checkpoint, &options, &mut |_| {}).err().unwrap().to_string();
        assert_eq!(error, format!("int4: weight: expected {expected}"));
    }
}

/// On a part of the text; `cargo bench --bench loss` takes all of it.
#[test]
fn the_demo_model_loses_little() {
    let checkpoint = Checkpoint::open(heldout::folder()).unwrap();
    let documents = &heldout::documents().unwrap()[..24];
    let loss = |weights, kv_cache| {
        let options = options(heldout::LONGEST, weights, kv_cache);
        let cpu = Cpu::<f32>::new(Activations::Exact);
        let mut model = Model::load(cpu, &checkpoint, &options, &mut |_| {}).unwrap();
        let (loss, count) = heldout::loss(&mut model, documents).unwrap();
        assert!(count > 2000, "only {count} tokens");
        loss
    };
    let native = loss(WeightFormat::Native, CacheFormat::Native);
    assert!((0.3..0.5).contains(&native), "{native}");
    let int4 = WeightFormat::Int4 { group_size: GroupSize::Of128 };
    for (weights, kv_cache, most) in [
        (int4, CacheFormat::Native, 0.03),
        (WeightFormat::Fp8, CacheFormat::Native, 0.005),
        (WeightFormat::Fp8, CacheFormat::Fp8, 0.005),
    ] {
        let change = loss(weights, kv_cache) / native - 1.0;
        assert!(change.abs() < most, "{weights} with a {kv_cache:?} cache: the loss changes by {change:+.4}");
    }
}
