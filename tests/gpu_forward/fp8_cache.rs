//! Whole models over an fp8 cache, against the CPU's over the same.

use llama_kernels::backend::{Backend, CacheFormat};
use llama_kernels::model::batch::{Logits, SequenceInput};
use llama_kernels::model::forward::{Model, ModelOptions};

use super::{exact, gpu, judge, rounding};
use crate::common::golden::Golden;

/// The logits after each token of a golden model, computed in chunks of these lengths.
fn logits<B: Backend>(backend: B, golden: &Golden, kv_cache: CacheFormat, chunks: &[usize]) -> Vec<f64> {
    let n = golden.tokens.len();
    let options = ModelOptions { max_tokens: n, max_logits: n, kv_cache, ..ModelOptions::single(n) };
    let mut model = Model::load(backend, &golden.checkpoint, &options, &mut |_| {}).unwrap();
    let sequence = model.add_sequence().unwrap();
    let mut rest = &golden.tokens[..];
    let mut all = Vec::new();
    for &chunk in chunks {
        let (tokens, after) = rest.split_at(chunk);
        model.forward(&[SequenceInput { sequence, tokens, logits: Logits::All }]).unwrap();
        all.extend(model.logits().unwrap().into_iter().map(f64::from));
        rest = after;
    }
    assert!(rest.is_empty(), "{} tokens were not computed", rest.len());
    all
}

/// All tokens at once, and in chunks: a prefill, speculative tokens, single ones. Multi-head and grouped queries, bf16 and f16,
/// heads of 64 and 128 elements.
#[test]
#[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
fn models_with_an_fp8_cache_are_the_references() {
    for name in ["llama2-mha", "llama3-gqa", "f16", "bias", "demo-model"] {
        let golden = Golden::load(name);
        let (n, config) = (golden.tokens.len(), golden.checkpoint.config());
        let of_all = |backend| logits(backend, &golden, CacheFormat::Fp8, &[n]);
        let right = logits(exact(), &golden, CacheFormat::Fp8, &[n]);
        let naive = logits(rounding(), &golden, CacheFormat::Fp8, &[n]);
        let dtype = golden.checkpoint.dtype();
        let judge = |what: &str, ours: &[f64]| {
            judge(&format!("{name} {what}"), ours, &right, &naive, config.vocab_size, dtype);
        };
        let at_once = of_all(gpu());
        judge("at once", &at_once);
        assert!(at_once == of_all(gpu()), "{name}: the same bits again");
        let native = logits(gpu(), &golden, CacheFormat::Native, &[n]);
        assert!(at_once != native, "{name}: the cache is another");
        judge("in chunks", &logits(gpu(), &golden, CacheFormat::Fp8, &[n - 16, 5, 8, 1, 1, 1]));
    }
}
