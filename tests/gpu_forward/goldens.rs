//! Logits against those of Hugging Face transformers (tests/golden/README.md).

use half::bf16;
use llama_kernels::model::checkpoint::Checkpoint;
use llama_kernels::tensor::DType;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

use super::{exact, gpu, judge, rounding};
use crate::common::TempDir;
use crate::common::golden::{Golden, greedy_as_transformers, logits, path};

/// All tokens at once, and in chunks: a short prefill, speculative tokens, single ones.
fn check(name: &'static str) {
    let golden = Golden::load(name);
    let n = golden.tokens.len();
    let verdict = |what: &str, ours: &[f64]| match golden.judge(ours) {
        Ok(worst) => println!("{name}, {what}: {:.0}% of the bound", worst.share() * 100.0),
        Err(worst) => panic!("{name}, {what}: {worst}"),
    };
    let at_once = golden.logits(gpu(), n);
    verdict("at once", &at_once);
    // Another order of warps and blocks, to which the simulated GPU holds its checks again: the same bits.
    #[cfg(feature = "sim")]
    for seed in 1..3 {
        assert!(golden.logits(seeded(seed), n) == at_once, "{name}: seed {seed} gives other bits");
    }
    // Where the frequencies depend on the length, the goldens are one prefill.
    if !golden.checkpoint.config().rope.depends_on_length() {
        let chunks = in_chunks(n);
        verdict("in chunks", &logits(gpu(), &golden.checkpoint, &golden.tokens, chunks));
    }
}

/// The device, where it is simulated under another seed.
#[cfg(feature = "sim")]
fn seeded(seed: u64) -> llama_kernels::backend::Gpu {
    let gpu = gpu();
    if let Some(simulator) = gpu.device().simulator() {
        let mut options = simulator.options();
        options.seed = seed;
        simulator.set_options(options);
    }
    gpu
}

fn in_chunks(n: usize) -> Vec<usize> {
    let mut chunks = vec![n - 18, 5, 8];
    chunks.extend([1; 5]);
    chunks
}

macro_rules! goldens {
    ($($test:ident: $name:literal,)*) => {
        $(
            #[test]
            #[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
            fn $test() {
                check($name);
            }
        )*

        /// A fixture that no test reads proves nothing.
        #[test]
        fn every_fixture_is_tested() {
            // One is computed in another type, and has a test of its own.
            let tested = [$($name,)* "f32"];
            for entry in std::fs::read_dir(path("tests/golden")).unwrap() {
                let entry = entry.unwrap();
                if entry.path().join("goldens.safetensors").is_file() {
                    let name = entry.file_name().into_string().unwrap();
                    assert!(tested.contains(&name.as_str()), "tests/golden/{name} has no test on a GPU");
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
    bias: "bias",
    sharded: "sharded",
    odd_vocab: "odd-vocab",
    demo_model: "demo-model",
}

/// A checkpoint in f32 is computed in bf16: what transformers makes of its f32 weights is right, and the reference, with weights
/// and activations rounded to bf16, shows what that costs.
#[test]
#[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
fn an_f32_checkpoint_runs_in_bf16() {
    let golden = Golden::load("f32");
    let folder = TempDir::new();
    rounded_to_bf16("tests/golden/f32", &folder);
    let rounded = Checkpoint::open(folder.path()).unwrap();
    assert_eq!((golden.checkpoint.dtype(), rounded.dtype()), (DType::F32, DType::BF16));
    let (n, vocab_size) = (golden.tokens.len(), rounded.config().vocab_size);
    let naive = logits(rounding(), &rounded, &golden.tokens, [n]);
    let ours = golden.logits(gpu(), n);
    judge("f32", &ours, &golden.exact, &naive, vocab_size, DType::BF16);
    // Rounded on the way to the device or before: the same weights.
    assert!(ours == logits(gpu(), &rounded, &golden.tokens, [n]));
    let ours = logits(gpu(), &golden.checkpoint, &golden.tokens, in_chunks(n));
    judge("f32 in chunks", &ours, &golden.exact, &naive, vocab_size, DType::BF16);
}

/// A vocabulary that is no multiple of 4: rows of logits are padded, and nobody sees the padding.
#[test]
#[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
fn a_vocabulary_of_any_size() {
    let vocab_size = 93;
    let checkpoint = with_vocabulary("tests/golden/llama3-gqa", vocab_size);
    let tokens: Vec<u32> = (0..23).map(|i| i * 29 % 93).collect();
    let all = |backend| logits(backend, &checkpoint, &tokens, [20, 2, 1]);
    let (right, naive) =
        (logits(exact(), &checkpoint, &tokens, [23]), logits(rounding(), &checkpoint, &tokens, [23]));
    judge("vocabulary of 93", &all(gpu()), &right, &naive, vocab_size, DType::BF16);
}

/// The first tokens of a checkpoint's vocabulary.
pub fn with_vocabulary(from: &str, vocab_size: usize) -> Checkpoint {
    let folder = TempDir::new();
    rewrite(
        from,
        &folder,
        ("\"vocab_size\": 96", &format!("\"vocab_size\": {vocab_size}")),
        |name, tensor| {
            let (mut shape, mut bytes) = (tensor.shape().to_vec(), tensor.data().to_vec());
            if name.contains("embed_tokens") || name.contains("lm_head") {
                bytes.truncate(bytes.len() / shape[0] * vocab_size);
                shape[0] = vocab_size;
            }
            (tensor.dtype(), shape, bytes)
        },
    );
    Checkpoint::open(folder.path()).unwrap()
}

/// Writes the checkpoint of `from` with its weights rounded to bf16.
fn rounded_to_bf16(from: &str, to: &TempDir) {
    rewrite(from, to, ("\"float32\"", "\"bfloat16\""), |name, tensor| {
        let (values, rest) = tensor.data().as_chunks::<4>();
        assert!(rest.is_empty() && tensor.dtype() == Dtype::F32, "{name}");
        let rounded = values.iter().flat_map(|x| bf16::from_f32(f32::from_le_bytes(*x)).to_le_bytes());
        (Dtype::BF16, tensor.shape().to_vec(), rounded.collect())
    });
}

type Changed = (Dtype, Vec<usize>, Vec<u8>);

/// Writes the checkpoint of `from` with some text of its configuration replaced and its tensors changed.
fn rewrite(
    from: &str,
    to: &TempDir,
    (old, new): (&str, &str),
    change: impl Fn(&str, &TensorView<'_>) -> Changed,
) {
    let config = std::fs::read_to_string(path(from).join("config.json")).unwrap();
    assert!(config.contains(old), "{config}");
    std::fs::write(to.path().join("config.json"), config.replace(old, new)).unwrap();
    let bytes = std::fs::read(path(from).join("model.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensors: Vec<(String, Changed)> =
        file.iter().map(|(name, tensor)| (name.to_string(), change(name, &tensor))).collect();
    let views = tensors.iter().map(|(name, (dtype, shape, bytes))| {
        (name.as_str(), TensorView::new(*dtype, shape.clone(), bytes).unwrap())
    });
    let bytes = safetensors::serialize(views, None).unwrap();
    std::fs::write(to.path().join("model.safetensors"), bytes).unwrap();
}

/// Compute capabilities differ in shared memory and so in tiles; seeds in the order of warps and blocks. The bits are those of
/// any other order.
#[cfg(feature = "sim")]
#[test]
#[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
fn other_orders_and_other_capabilities() {
    use llama_kernels::backend::Gpu;
    use llama_kernels::gpu::Device;
    use llama_kernels::gpu::ptx_sim::{ComputeCapability, RunOptions};

    for name in ["llama31-rope", "llama2-mha"] {
        let golden = Golden::load(name);
        let n = golden.tokens.len();
        for capability in [ComputeCapability::Sm80, ComputeCapability::Sm86, ComputeCapability::Sm90] {
            let mut first = None;
            for seed in 1..4 {
                let mut options = RunOptions::default();
                options.seed = seed;
                let gpu = Gpu::new(&Device::simulated(capability, options)).unwrap();
                let ours = logits(gpu, &golden.checkpoint, &golden.tokens, [n - 3, 1, 2]);
                golden.judge(&ours).unwrap_or_else(|worst| panic!("{name} on {capability}: {worst}"));
                let first = first.get_or_insert_with(|| ours.clone());
                assert!(*first == ours, "{name} on {capability}: seed {seed} gives other bits");
            }
        }
    }
}

/// If the rule could not fail, the tests above would prove nothing: attention that forgets a page is caught.
#[test]
fn a_forgotten_page_is_caught() {
    let golden = Golden::load("llama3-gqa");
    let n = golden.tokens.len();
    let mut wrong = golden.logits(exact(), n);
    // The last token as it would be without the first 16 before it.
    let vocab_size = golden.checkpoint.config().vocab_size;
    let without = logits(exact(), &golden.checkpoint, &golden.tokens[16..], [n - 16]);
    let last = wrong.len() - vocab_size;
    wrong[last..].copy_from_slice(&without[without.len() - vocab_size..]);
    let worst = golden.judge(&wrong).unwrap_err();
    assert_eq!(worst.row, n - 1, "{worst}");
}

/// Wherever the best logit leads by more than bf16 can change, the token is that of transformers in f32, and so of the CPU.
#[test]
#[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
fn greedy_text_is_that_of_transformers() {
    let golden = Golden::load("demo-model");
    let error = golden.exact.iter().zip(&golden.native).map(|(exact, native)| (exact - native).abs());
    let margin = 2.0 * error.fold(0.0, f64::max);
    let compared = greedy_as_transformers(gpu, 16, margin);
    assert!(compared > 20, "only {compared} tokens could be compared; the margin is {margin}");
}
