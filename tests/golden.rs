//! Whole forward passes against the logits that Hugging Face transformers computed (tests/golden/README.md).

use llama_kernels::reference::{Activations, Cpu};

use crate::common::golden::{Golden, greedy_as_transformers, path};

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
    // f32 here and in transformers: a thousandth is a hundred times what they differ by.
    let compared = greedy_as_transformers(|| Cpu::<f32>::new(Activations::Exact), usize::MAX, 1e-3);
    assert!(compared > 60, "only {compared} tokens could be compared");
}
