//! Golden fixtures (tests/golden/README.md) and what computes their logits, on any device.

use std::path::PathBuf;

use llama_kernels::backend::{Backend, CacheFormat, WeightFormat};
use llama_kernels::model::batch::{Logits, SequenceInput};
use llama_kernels::model::checkpoint::Checkpoint;
use llama_kernels::model::forward::{Model, ModelOptions};
use llama_kernels::model::sampling::SamplingOptions;
use llama_kernels::reference::compare::{self, Matrix, Worst};
use safetensors::SafeTensors;

#[cfg(feature = "sim")]
use super::TempDir;

/// A checkpoint and what transformers made of it.
pub struct Golden {
    pub checkpoint: Checkpoint,
    pub tokens: Vec<u32>,
    /// `[n, V]`, everything in f64.
    pub exact: Vec<f64>,
    /// `[n, V]`, in the checkpoint's own precision.
    pub native: Vec<f64>,
}

pub fn path(of: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(of)
}

fn numbers<const N: usize, T>(file: &SafeTensors<'_>, name: &str, from: fn([u8; N]) -> T) -> Vec<T> {
    let tensor = file.tensor(name).unwrap();
    tensor.data().as_chunks::<N>().0.iter().map(|bytes| from(*bytes)).collect()
}

impl Golden {
    pub fn load(name: &'static str) -> Self {
        let folder = path("tests/golden").join(name);
        let model = if name == "demo-model" { path("assets/demo-model") } else { folder.clone() };
        let bytes = std::fs::read(folder.join("goldens.safetensors")).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        Golden {
            checkpoint: Checkpoint::open(model).unwrap(),
            tokens: numbers(&file, "tokens", |b| i64::from_le_bytes(b) as u32),
            exact: numbers(&file, "logits_f64", f64::from_le_bytes),
            native: numbers(&file, "logits_native", |b| f64::from(f32::from_le_bytes(b))),
        }
    }

    /// Our logits after each token, computed in chunks of `chunk` tokens.
    pub fn logits<B: Backend>(&self, backend: B, chunk: usize) -> Vec<f64> {
        let chunks = self.tokens.chunks(chunk).map(<[u32]>::len);
        logits(backend, &self.checkpoint, &self.tokens, chunks)
    }

    /// The element-wise rule, with transformers in the checkpoint's precision as the naive computation.
    pub fn judge(&self, ours: &[f64]) -> Result<Worst, Worst> {
        let vocab_size = self.checkpoint.config().vocab_size;
        let matrix = |values| Matrix::new(values, vocab_size);
        compare::elementwise(matrix(ours), matrix(&self.exact), matrix(&self.native), self.checkpoint.dtype())
    }
}

/// The logits after each of `tokens`, computed in chunks of these lengths.
pub fn logits<B: Backend>(
    backend: B,
    checkpoint: &Checkpoint,
    tokens: &[u32],
    chunks: impl IntoIterator<Item = usize>,
) -> Vec<f64> {
    logits_in(Default::default(), backend, checkpoint, tokens, chunks)
}

/// [`logits`] of a model that is held in these formats.
pub fn logits_in<B: Backend>(
    (weights, kv_cache): (WeightFormat, CacheFormat),
    backend: B,
    checkpoint: &Checkpoint,
    tokens: &[u32],
    chunks: impl IntoIterator<Item = usize>,
) -> Vec<f64> {
    let n = tokens.len();
    let options = ModelOptions { max_tokens: n, max_logits: n, weights, kv_cache, ..ModelOptions::single(n) };
    let mut model = Model::load(backend, checkpoint, &options, &mut |_| {}).unwrap();
    let sequence = model.add_sequence().unwrap();
    let (mut logits, mut rest) = (Vec::new(), tokens);
    for chunk in chunks {
        let (tokens, after) = rest.split_at(chunk);
        model.forward(&[SequenceInput { sequence, tokens, logits: Logits::All }]).unwrap();
        logits.extend(model.logits().unwrap().into_iter().map(f64::from));
        rest = after;
    }
    assert!(rest.is_empty(), "{} tokens were not computed", rest.len());
    logits
}

/// Continues the prompts of `demo-model/expected.json` by its tokens, at most `most` of each, and asserts that the best token
/// is transformers' wherever its logit leads by more than `margin`. Returns how many tokens were compared.
pub fn greedy_as_transformers<B: Backend>(backend: impl Fn() -> B, most: usize, margin: f64) -> usize {
    let expected: serde_json::Value =
        serde_json::from_slice(&std::fs::read(path("tests/golden/demo-model/expected.json")).unwrap())
            .unwrap();
    let numbers = |value: &serde_json::Value| -> Vec<u32> {
        value.as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as u32).collect()
    };
    let checkpoint = Checkpoint::open(path("assets/demo-model")).unwrap();
    let mut compared = 0;
    for case in expected["greedy"].as_array().unwrap() {
        let (prompt, continuation) = (numbers(&case["prompt_ids"]), numbers(&case["ids"]));
        let continuation = &continuation[..continuation.len().min(most)];
        let options = ModelOptions::single(prompt.len() + continuation.len());
        let mut model = Model::load(backend(), &checkpoint, &options, &mut |_| {}).unwrap();
        let sequence = model.add_sequence().unwrap();
        let row = SamplingOptions::GREEDY.row(0, 0, sequence.slot()).unwrap();
        let mut tokens = &prompt[..];
        for (i, &token) in continuation.iter().enumerate() {
            model.forward(&[SequenceInput { sequence, tokens, logits: Logits::Last }]).unwrap();
            if case["top1_margins"][i].as_f64().unwrap() > margin {
                assert_eq!(model.sample(&[row]).unwrap(), [token], "token {i} after {:?}", case["prompt"]);
                compared += 1;
            }
            tokens = &continuation[i..=i];
        }
    }
    compared
}

/// Writes a model that is right, with heads of 32 elements, for which there are no attention kernels.
#[cfg(feature = "sim")]
pub fn with_heads_of_32(to: &TempDir) {
    let from = path("tests/golden/llama3-gqa");
    let mut config = std::fs::read_to_string(from.join("config.json")).unwrap();
    // The projections keep their shapes.
    for (old, new) in [
        ("\"num_attention_heads\": 4", "\"num_attention_heads\": 8"),
        ("\"num_key_value_heads\": 1", "\"num_key_value_heads\": 2"),
        ("\"head_dim\": 64", "\"head_dim\": 32"),
    ] {
        assert!(config.contains(old), "{config}");
        config = config.replace(old, new);
    }
    std::fs::write(to.path().join("config.json"), config).unwrap();
    std::fs::copy(from.join("model.safetensors"), to.path().join("model.safetensors")).unwrap();
}
