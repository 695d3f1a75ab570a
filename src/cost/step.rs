//! Whole forward passes.

use super::{AttentionCost, Cost, ELEMENT, attention};
use crate::backend::{CacheFormat, WeightFormat};
use crate::model::config::Config;
use crate::model::footprint::linear_bytes;
use crate::tensor::DType;

/// What a model is held in, beside 16-bit activations: in 16 bits where nobody says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StepFormats {
    /// The weights that the layers multiply by.
    pub weights: WeightFormat,
    /// Keys and values.
    pub kv_cache: CacheFormat,
}

/// A decode: one token more for each of `batch` sequences that have `context` tokens in the cache, and its logits.
pub fn decode_step(config: &Config, formats: StepFormats, batch: usize, context: usize) -> Cost {
    step(config, formats, &vec![[1, context + 1]; batch], batch)
}

/// `batch` prompts of `length` tokens into an empty cache, and the logits of the last token of each. However many chunks they
/// come in, the least is to read the weights once.
pub fn prefill(config: &Config, formats: StepFormats, batch: usize, length: usize) -> Cost {
    step(config, formats, &vec![[length, length]; batch], batch)
}

/// A forward pass over `[new tokens, tokens in the cache with them]` of each sequence, and `num_logits` rows of logits.
///
/// Floating-point operations are those of products and attention. Bytes are those that no order of the work saves: the weights
/// once (of the embedding, the tokens' rows; of a tied one, all of it for the logits), earlier keys and values read, new ones
/// written. What the operations of a pass hand to each other is left out: that may stay in caches.
pub fn step(config: &Config, formats: StepFormats, sequences: &[[usize; 2]], num_logits: usize) -> Cost {
    let num_tokens: u64 = sequences.iter().map(|[new, _]| *new as u64).sum();
    if num_tokens == 0 {
        return Cost::default();
    }
    let kept: u64 = sequences.iter().filter(|[new, _]| *new > 0).map(|[_, all]| *all as u64).sum();
    let (layers, hidden) = (config.num_layers as u64, config.hidden_size as u64);
    let table = hidden * config.vocab_size as u64;
    let tables = if config.tie_word_embeddings { 1 } else { 2 };
    let without_tables = config.parameter_count() - tables * table;
    let linears = layers * linears_of_layer(config);

    let attention = attention(&AttentionCost {
        sequences,
        num_kv_heads: config.num_kv_heads,
        group: config.num_q_heads / config.num_kv_heads.max(1),
        head_dim: config.head_dim,
        cache_bytes: ELEMENT as usize,
        lse: false,
    });
    let lm_head = if num_logits > 0 { table } else { 0 };
    let of_layers = |format| linear_bytes(config, DType::BF16, format).unwrap_or(u64::MAX);
    let native = ELEMENT * (without_tables + lm_head + num_tokens * hidden);
    let weights = native.saturating_sub(of_layers(WeightFormat::Native));
    let per_token = config.kv_bytes_per_token(formats.kv_cache.dtype(DType::BF16));
    let written = num_tokens * per_token;
    Cost {
        flops: 2 * num_tokens * linears + layers * attention.flops + 2 * num_logits as u64 * lm_head,
        bytes: weights.saturating_add(of_layers(formats.weights)).saturating_add(kept * per_token),
        written,
    }
}

/// Elements of a layer's matrices.
fn linears_of_layer(config: &Config) -> u64 {
    let [hidden, intermediate, q, kv] = [
        config.hidden_size,
        config.intermediate_size,
        config.num_q_heads * config.head_dim,
        config.num_kv_heads * config.head_dim,
    ]
    .map(|width| width as u64);
    hidden * (2 * q + 2 * kv + 3 * intermediate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Epilogue;
    use crate::cost;
    use crate::plan::MatmulShape;
    use crate::quant::int4::GroupSize;

    const NATIVE: StepFormats = StepFormats { weights: WeightFormat::Native, kv_cache: CacheFormat::Native };

    /// The products of a pass: how often, and each with its shape.
    fn products(config: &Config, tokens: usize, rows: usize) -> Vec<(usize, MatmulShape)> {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let (q, kv) = (config.num_q_heads * config.head_dim, config.num_kv_heads * config.head_dim);
        let product = |m: usize, n: usize, k: usize| MatmulShape { m, n, k, ..MatmulShape::default() };
        let with_bias = |shape: MatmulShape, bias: bool| MatmulShape { bias, ..shape };
        let layers = config.num_layers;
        let gate_up = MatmulShape { epilogue: Epilogue::SwiGlu, ..product(tokens, 2 * inner, hidden) };
        vec![
            (layers, with_bias(product(tokens, q + 2 * kv, hidden), config.attention_bias)),
            (layers, with_bias(product(tokens, hidden, q), config.attention_bias)),
            (layers, with_bias(gate_up, config.mlp_bias)),
            (layers, with_bias(product(tokens, hidden, inner), config.mlp_bias)),
            (1, MatmulShape { out_f32: true, ..product(rows, config.vocab_size, hidden) }),
        ]
    }

    /// A pass costs what its operations cost, without what they hand to each other.
    #[test]
    fn a_step_is_the_sum_of_its_operations() {
        let mut biased = Config::preset("llama-3.2-3b").unwrap();
        (biased.attention_bias, biased.mlp_bias) = (true, true);
        let presets = Config::preset_names().filter_map(Config::preset);
        for config in presets.chain([biased]) {
            for sequences in [vec![[1, 1]], vec![[1, 513], [1, 40], [7, 7]], vec![[130, 4000]]] {
                let tokens: usize = sequences.iter().map(|[new, _]| new).sum();
                let mut expected = Cost::default();
                for (times, shape) in products(&config, tokens, sequences.len()) {
                    let Cost { flops, bytes, written } = cost::matmul(&shape);
                    expected.flops += times as u64 * flops;
                    expected.bytes += times as u64 * (bytes - written - 2 * (shape.m * shape.k) as u64);
                }
                let heads = (config.num_kv_heads, config.num_q_heads / config.num_kv_heads);
                let attention = cost::attention(&AttentionCost {
                    sequences: &sequences,
                    num_kv_heads: heads.0,
                    group: heads.1,
                    head_dim: config.head_dim,
                    cache_bytes: 2,
                    lse: false,
                });
                let layers = config.num_layers as u64;
                expected.flops += layers * attention.flops;
                // Keys and values alone.
                expected.bytes += layers * (attention.bytes - 2 * attention.written);
                // A row of the embedding for each token, and the norms.
                expected.bytes += (cost::embed(tokens, config.hidden_size).written)
                    + 2 * (2 * layers + 1) * config.hidden_size as u64;
                let cost = step(&config, NATIVE, &sequences, sequences.len());
                assert_eq!((cost.flops, cost.bytes), (expected.flops, expected.bytes), "{config:?}");
                assert_eq!(cost.written, tokens as u64 * config.kv_bytes_per_token(DType::BF16));
            }
        }
    }

    #[test]
    fn steps_without_logits_or_without_tokens_leave_weights_unread() {
        let config = Config::preset("llama-3.1-8b").unwrap();
        let lm_head = (config.vocab_size * config.hidden_size) as u64;
        let (with, without) = (step(&config, NATIVE, &[[5, 9]], 1), step(&config, NATIVE, &[[5, 9]], 0));
        assert_eq!((with.bytes - without.bytes, with.flops - without.flops), (2 * lm_head, 2 * lm_head));
        assert_eq!(step(&config, NATIVE, &[[0, 100]], 0), Cost::default());
        assert_eq!(step(&config, NATIVE, &[[0, 100], [5, 9]], 1), with);
    }

    #[test]
    fn decodes_and_prefills_are_steps() {
        let config = Config::preset("llama-3.2-1b").unwrap();
        assert_eq!(decode_step(&config, NATIVE, 3, 40), step(&config, NATIVE, &[[1, 41]; 3], 3));
        assert_eq!(prefill(&config, NATIVE, 2, 40), step(&config, NATIVE, &[[40, 40]; 2], 2));
        // A tied embedding is read whole, for the logits, and besides a row a token.
        let weights = 2 * config.parameter_count() + 2 * config.hidden_size as u64;
        let bytes = decode_step(&config, NATIVE, 1, 0).bytes;
        assert_eq!(bytes, weights + config.kv_bytes_per_token(DType::BF16));
    }

    /// Of the 8B, by hand: 32 layers of 6144 and 4096 rows of 4096 columns, 28,672 of 4096 and 4096 of 14,336.
    #[test]
    fn formats_save_what_they_leave_out() {
        let config = Config::preset("llama-3.1-8b").unwrap();
        let elements = 32 * (10_240 * 4096 + 28_672 * 4096 + 4096 * 14_336_u64);
        let of = |weights, kv_cache| decode_step(&config, StepFormats { weights, kv_cache }, 2, 99);
        let native = of(WeightFormat::Native, CacheFormat::Native);
        let int4 = of(WeightFormat::Int4 { group_size: GroupSize::Of128 }, CacheFormat::Native);
        assert_eq!(native.bytes - int4.bytes, 2 * elements - (elements / 2 + 2 * elements / 128));
        let fp8 = of(WeightFormat::Fp8, CacheFormat::Native);
        assert_eq!(native.bytes - fp8.bytes, elements - 4 * 32 * (10_240 + 28_672 + 4096));
        let cached = of(WeightFormat::Native, CacheFormat::Fp8);
        assert_eq!(native.bytes - cached.bytes, 2 * 100 * config.kv_bytes_per_token(DType::BF16) / 2);
        assert_eq!(2 * cached.written, native.written);
        assert!([int4, fp8, cached].iter().all(|cost| cost.flops == native.flops));
    }
}
