//! Models of random weights, and sequences whose tokens nobody has computed: what forward passes are measured with.

use std::collections::BTreeSet;

use llama_kernels::Error;
use llama_kernels::backend::{Backend, CacheFormat, WeightFormat};
use llama_kernels::model::batch::{Logits, SequenceInput};
use llama_kernels::model::checkpoint::Checkpoint;
use llama_kernels::model::config::Config;
use llama_kernels::model::forward::{Model, ModelOptions};
use llama_kernels::model::kv_cache::SequenceId;
use llama_kernels::reference::{Activations, Cpu};
use llama_kernels::tensor::DType;

use crate::common::golden::path;

const OPTIONS: ModelOptions = ModelOptions {
    max_tokens: 64,
    max_logits: 64,
    max_sequences: 3,
    cache_tokens: 160,
    page_size: 16,
    weights: WeightFormat::Native,
    kv_cache: CacheFormat::Native,
};

/// Heads of 64, as the kernels have them.
fn demo() -> Config {
    Config::load(path("assets/demo-model")).unwrap()
}

fn cpu() -> Cpu<f32> {
    Cpu::new(Activations::AsCheckpoint)
}

fn model<B: Backend>(backend: B, config: &Config, dtype: DType) -> Model<B> {
    let checkpoint = Checkpoint::random(config.clone(), dtype, 5).unwrap();
    Model::load(backend, &checkpoint, &OPTIONS, &mut |_| {}).unwrap()
}

fn tokens(n: u32) -> Vec<u32> {
    (0..n).map(|i| (i * 37 + 5) % 1000).collect()
}

/// Finite, of both signs, neither lost in zeros nor far from 1.
#[track_caller]
fn are_ordinary(logits: &[f32], what: &str) {
    let rms = (logits.iter().map(|x| f64::from(x * x)).sum::<f64>() / logits.len() as f64).sqrt();
    assert!((0.3..3.0).contains(&rms), "{what}: logits of root mean square {rms}");
    let positive = logits.iter().filter(|x| **x > 0.0).count();
    assert!(positive * 3 > logits.len() && positive * 3 < logits.len() * 2, "{what}: {positive} above 0");
}

fn logits<B: Backend>(mut model: Model<B>) -> Vec<f32> {
    let sequence = model.add_sequence().unwrap();
    model.forward(&[SequenceInput { sequence, tokens: &tokens(20), logits: Logits::All }]).unwrap();
    model.logits().unwrap()
}

/// As deep as the deepest model.
#[test]
fn random_models_say_something_of_ordinary_size() {
    for layers in [1, 126] {
        for dtype in [DType::BF16, DType::F16] {
            let config = Config { num_layers: layers, ..demo() };
            are_ordinary(&logits(model(cpu(), &config, dtype)), &format!("{layers} layers in {dtype}"));
        }
    }
    let wide = Config { hidden_size: 2048, num_layers: 2, attention_bias: true, mlp_bias: true, ..demo() };
    are_ordinary(&logits(model(cpu(), &wide, DType::BF16)), "2048 wide, with biases");
}

#[test]
fn random_checkpoints_have_the_tensors_of_the_model_and_no_two_alike() {
    let untied = Config { tie_word_embeddings: false, attention_bias: true, ..demo() };
    for config in [demo(), untied, Config::preset("llama-3.2-1b").unwrap()] {
        let checkpoint = Checkpoint::random(config.clone(), DType::BF16, 1).unwrap();
        assert_eq!(checkpoint.dtype(), DType::BF16);
        assert_eq!(checkpoint.weight_bytes(), 2 * config.parameter_count());
        let mut beginnings = BTreeSet::new();
        let names: Vec<String> = checkpoint.names().map(Into::into).collect();
        let mut bytes = 0;
        for name in &names {
            let tensor = checkpoint.tensor(name).unwrap();
            assert_eq!(tensor.data.len(), tensor.shape.iter().product::<usize>() * 2, "{name}");
            bytes += tensor.data.len() as u64;
            assert!(beginnings.insert(tensor.data[..64].to_vec()), "{name} begins as another does");
            let numbers = tensor.data.as_chunks().0.iter().map(|b| half::bf16::from_le_bytes(*b).to_f32());
            let mean = numbers.clone().sum::<f32>() / numbers.len() as f32;
            let expected = if name.ends_with("norm.weight") { 1.0 } else { 0.0 };
            assert!((mean - expected).abs() < 0.1, "{name}: mean {mean}");
            assert!(numbers.take(1000).all(|x| x != 0.0), "{name}: zeros");
        }
        assert_eq!(bytes, checkpoint.weight_bytes());
        let layers = names.iter().filter(|name| name.ends_with("layers.1.mlp.up_proj.weight"));
        assert_eq!(layers.count(), 1);
    }
}

#[test]
fn a_seed_gives_the_same_weights_everywhere() {
    let tensor = |seed| {
        let checkpoint = Checkpoint::random(demo(), DType::F16, seed).unwrap();
        checkpoint.tensor("model.layers.3.mlp.down_proj.weight").unwrap().data.to_vec()
    };
    assert!(tensor(1) == tensor(1) && tensor(1) != tensor(2));
}

#[test]
fn what_no_random_checkpoint_can_be_is_refused() {
    for dtype in [DType::F32, DType::F8E4M3, DType::U8] {
        let error = Checkpoint::random(demo(), dtype, 1).unwrap_err().to_string();
        assert_eq!(error, format!("random_checkpoint: dtype: expected bf16 or f16, got {dtype}"));
    }
    for config in [
        Config { intermediate_size: usize::MAX / 1000, ..demo() },
        Config { intermediate_size: usize::MAX / 256 / 4, ..demo() },
        Config { vocab_size: usize::MAX, ..demo() },
    ] {
        let error = Checkpoint::random(config, DType::BF16, 1).unwrap_err().to_string();
        assert!(error.starts_with("random_checkpoint: config: expected fewer than 2^63 bytes"), "{error}");
    }
    // That can be counted, but no machine has it.
    let config = Config { vocab_size: usize::MAX / 256 / 8, ..demo() };
    let error = Checkpoint::random(config, DType::BF16, 1).unwrap_err();
    assert!(matches!(error, Error::OutOfMemory { .. }), "{error}");
}

#[test]
fn sequences_occupy_what_there_is_and_no_more() {
    let mut model = model(cpu(), &Config { context: 150, ..demo() }, DType::BF16);
    let (a, b) = (model.add_sequence().unwrap(), model.add_sequence().unwrap());
    model.occupy(a, 40).unwrap();
    model.occupy(a, 2).unwrap();
    assert_eq!((model.cache().len(a).unwrap(), model.cache().free_pages()), (42, 10 - 3));
    let error = model.occupy(a, 109).unwrap_err();
    assert!(matches!(error, Error::ContextTooLong { tokens: 151, context: 150 }), "{error}");
    assert!(matches!(model.occupy(a, usize::MAX).unwrap_err(), Error::ContextTooLong { .. }));
    let error = model.occupy(b, 120).unwrap_err();
    assert!(matches!(error, Error::CacheFull { needed: 8, free: 7, page_size: 16 }), "{error}");
    let lengths = |model: &Model<Cpu<f32>>| [a, b].map(|id| model.cache().len(id).unwrap());
    assert_eq!((lengths(&model), model.cache().free_pages()), ([42, 0], 7));
    model.occupy(b, 112).unwrap();
    assert_eq!((lengths(&model), model.cache().free_pages()), ([42, 112], 0));
    // Whose tokens would be lost.
    let error = model.scramble_cache(1).unwrap_err().to_string();
    assert_eq!(error, "scramble_cache: sequences: expected none, got 2");
    for id in [a, b] {
        model.remove_sequence(id).unwrap();
    }
    model.scramble_cache(1).unwrap();
    assert!(model.occupy(a, 1).unwrap_err().to_string().starts_with("kv_cache: sequence: expected one"));
}

/// Two sequences side by side behind 40 tokens that nobody has computed, and what they say next.
fn behind_a_context<B: Backend>(mut model: Model<B>, seed: Option<u64>) -> (Vec<f32>, [Vec<i32>; 2]) {
    if let Some(seed) = seed {
        model.scramble_cache(seed).unwrap();
    }
    let ids: [SequenceId; 2] = std::array::from_fn(|_| model.add_sequence().unwrap());
    for id in ids {
        model.occupy(id, 40).unwrap();
    }
    let next = tokens(2);
    let inputs =
        [0, 1].map(|i| SequenceInput { sequence: ids[i], tokens: &next[i..=i], logits: Logits::Last });
    model.forward(&inputs).unwrap();
    (model.logits().unwrap(), ids.map(|id| model.cache().pages(id).unwrap().to_vec()))
}

#[test]
fn a_scrambled_cache_holds_numbers_in_pages_all_over() {
    let decode = |seed| behind_a_context(model(cpu(), &demo(), DType::BF16), seed);
    let (zeros, in_order) = decode(None);
    assert_eq!(in_order, [vec![0, 1, 2], vec![3, 4, 5]]);
    let (logits, pages) = decode(Some(1));
    are_ordinary(&logits, "behind random keys and values");
    assert!(pages != in_order && pages.concat().iter().collect::<BTreeSet<_>>().len() == 6, "{pages:?}");
    assert!(logits != zeros && logits[..1024] != logits[1024..]);
    assert!(decode(Some(1)) == (logits.clone(), pages) && decode(Some(2)).0 != logits);
}

/// The kernels see the same weights, keys, values and pages as the CPU.
#[cfg(feature = "sim")]
#[test]
#[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
fn a_gpu_says_what_the_cpu_says() {
    use llama_kernels::backend::Gpu;
    use llama_kernels::device::DeviceChoice;
    use llama_kernels::gpu::Device;

    for dtype in [DType::BF16, DType::F16] {
        let choice = DeviceChoice::from_env().unwrap();
        let device = Device::open(choice).unwrap_or_else(|error| panic!("{choice}: {error}"));
        let gpu = model(Gpu::new(&device).unwrap(), &demo(), dtype);
        let before = device.launches();
        let (ours, pages) = behind_a_context(gpu, Some(3));
        // The embedding, eight launches a layer, the last norm, the logits.
        assert_eq!(device.launches() - before, 1 + 8 * 4 + 2, "{dtype}");
        let (expected, expected_pages) = behind_a_context(model(cpu(), &demo(), dtype), Some(3));
        assert_eq!(pages, expected_pages);
        are_ordinary(&ours, &format!("{dtype} on {device:?}"));
        let worst = ours.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < 0.1, "{dtype}: logits differ by {worst}");
    }
}
