//! Whole forward passes against the logits that Hugging Face transformers computed (tests/golden/README.md).

use std::path::PathBuf;

use llama_kernels::backend::Backend;
use llama_kernels::model::batch::{Logits, SequenceInput};
use llama_kernels::model::checkpoint::Checkpoint;
use llama_kernels::model::forward::{Model, ModelOptions};
use llama_kernels::model::sampling::SamplingOptions;
use llama_kernels::reference::compare::{self, Matrix, Worst};
use llama_kernels::reference::{Activations, Cpu};
use safetensors::SafeTensors;

/// A checkpoint and what transformers made of it.
struct Golden {
    checkpoint: Checkpoint,
    tokens: Vec<u32>,
    /// `[n, V]`, everything in f64.
    exact: Vec<f64>,
    /// `[n, V]`, in the checkpoint's own precision.
    native: Vec<f64>,
}

fn path(of: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(of)
}

fn numbers<const N: usize, T>(file: &SafeTensors<'_>, name: &str, from: fn([u8; N]) -> T) -> Vec<T> {
    let tensor = file.tensor(name).unwrap();
    tensor.data().as_chunks::<N>().0.iter().map(|bytes| from(*bytes)).collect()
}

impl Golden {
    fn load(name: &'static str) -> Self {
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
    fn logits<B: Backend>(&self, backend: B, chunk: usize) -> Vec<f64> {
        let n = self.tokens.len();
        let options = ModelOptions { max_tokens: chunk, max_logits: n, ..ModelOptions::single(n) };
        let mut model = Model::load(backend, &self.checkpoint, &options, &mut |_| {}).unwrap();
        let sequence = model.add_sequence().unwrap();
        let mut logits = Vec::new();
        for tokens in self.tokens.chunks(chunk) {
            model.forward(&[SequenceInput { sequence, tokens, logits: Logits::All }]).unwrap();
            logits.extend(model.logits().unwrap().into_iter().map(f64::from));
        }
        logits
    }

    /// The element-wise rule, with transformers in the checkpoint's precision as the naive computation.
    fn judge(&self, ours: &[f64]) -> Result<Worst, Worst> {
        let vocab_size = self.checkpoint.config().vocab_size;
        let matrix = |values| Matrix::new(values, vocab_size);
        compare::elementwise(matrix(ours), matrix(&self.exact), matrix(&self.native), self.checkpoint.dtype())
    }
}

fn check(name: &'static str) {
    let golden = Golden::load(name);
    let n = golden.tokens.len();

    // In f64 nothing is left but the last bits of cos and sin, which Llama takes in f32, and of the logits as f32.
    let ours = golden.logits(Cpu::<f64>::new(Activations::Exact), n);
    assert_eq!(ours.len(), golden.exact.len(), "{name}: number of logits");
    for (i, (ours, exact)) in ours.iter().zip(&golden.exact).enumerate() {
        assert!((ours - exact).abs() <= 2e-5, "{name}: logit {i}: {ours} in f64, transformers {exact}");
    }

    for activations in [Activations::Exact, Activations::AsCheckpoint] {
        let worst = golden.judge(&golden.logits(Cpu::<f32>::new(activations), n));
        if let Err(worst) = worst {
            panic!("{name}, {activations:?}: {worst}");
        }
    }
}

macro_rules! goldens {
    ($($test:ident: $name:literal,)*) => {
        $(
            #[test]
            fn $test() {
                check($name);
            }
        )*

        /// A fixture that no test reads proves nothing.
        #[test]
        fn every_fixture_is_tested() {
            let tested = [$($name),*];
            for entry in std::fs::read_dir(path("tests/golden")).unwrap() {
                let entry = entry.unwrap();
                if entry.path().join("goldens.safetensors").is_file() {
                    let name = entry.file_name().into_string().unwrap();
                    assert!(tested.contains(&name.as_str()), "tests/golden/{name} has no test");
                }
            }
        }
    };
}

goldens! {
    llama2_multi_head_f16: "llama2-mha",
    llama3_grouped_query: "llama3-gqa",
    llama31_rope: "llama31-rope",
    llama32_tied: "llama32-tied",
    linear_rope: "linear-rope",
    yarn_rope: "yarn-rope",
    dynamic_rope: "dynamic-rope",
    f16: "f16",
    f32: "f32",
    bias: "bias",
    sharded: "sharded",
    odd_vocab: "odd-vocab",
    demo_model: "demo-model",
}

/// A chunk's tokens give the same bits as the whole prompt's: the reference is batch-invariant.
#[test]
fn chunks_give_the_bits_of_the_whole() {
    let golden = Golden::load("llama31-rope");
    let whole = golden.logits(Cpu::<f32>::new(Activations::AsCheckpoint), golden.tokens.len());
    for chunk in [1, 7, 16] {
        let chunked = golden.logits(Cpu::<f32>::new(Activations::AsCheckpoint), chunk);
        assert!(whole == chunked, "chunks of {chunk} tokens differ from the whole prompt");
    }
}

/// If the rule could not fail, the tests above would prove nothing.
#[test]
fn a_wrong_forward_pass_is_caught() {
    let golden = Golden::load("llama3-gqa");
    let vocab_size = golden.checkpoint.config().vocab_size;
    let mut wrong = golden.logits(Cpu::<f32>::new(Activations::Exact), golden.tokens.len());
    let place = 5 * vocab_size + 3;
    wrong[place] += 0.5;
    let worst = golden.judge(&wrong).unwrap_err();
    assert_eq!((worst.row, worst.column), (5, 3), "{worst}");
}

/// Token for token what transformers continues with, as long as its best logit leads by more than rounding can change.
#[test]
fn greedy_text_is_that_of_transformers() {
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
        let backend = Cpu::<f32>::new(Activations::Exact);
        let options = ModelOptions::single(prompt.len() + continuation.len());
        let mut model = Model::load(backend, &checkpoint, &options, &mut |_| {}).unwrap();
        let sequence = model.add_sequence().unwrap();
        let row = SamplingOptions::GREEDY.row(0, 0, sequence.slot()).unwrap();
        let mut tokens = &prompt[..];
        for (i, &token) in continuation.iter().enumerate() {
            model.forward(&[SequenceInput { sequence, tokens, logits: Logits::Last }]).unwrap();
            // f32 here and in transformers: a thousandth is a hundred times what they differ by.
            if case["top1_margins"][i].as_f64().unwrap() > 1e-3 {
                assert_eq!(model.sample(&[row]).unwrap(), [token], "token {i} after {:?}", case["prompt"]);
                compared += 1;
            }
            tokens = &continuation[i..=i];
        }
    }
    assert!(compared > 60, "only {compared} tokens could be compared");
}
