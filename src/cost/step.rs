//! Whole forward passes.

use super::{AttentionCost, Cost, ELEMENT, attention};
use crate::model::config::Config;
use crate::tensor::DType;

/// A decode: one token more for each of `batch` sequences that have `context` tokens in the cache, and its logits.
pub fn decode_step(config: &Config, batch: usize, context: usize) -> Cost {
    step(config, &vec![[1, context + 1]; batch], batch)
}

/// `batch` prompts of `length` tokens into an empty cache, and the logits of the last token of each. However many chunks they
/// come in, the least is to read the weights once.
pub fn prefill(config: &Config, batch: usize, length: usize) -> Cost {
    step(config, &vec![[length, length]; batch], batch)
}

/// A forward pass over `[new tokens, tokens in the cache with them]` of each sequence, and `num_logits` rows of logits, with
/// weights and cache in 16 bits.
///
/// Floating-point operations are those of products and attention. Bytes are those that no order of the work saves: the weights
/// once (of the embedding, the tokens' rows; of a tied one, all of it for the logits), earlier keys and values read, new ones
/// written. What the operations of a pass hand to each other is left out: that may stay in caches.
pub fn step(config: &Config, sequences: &[[usize; 2]], num_logits: usize) -> Cost {
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
        lse: false,
    });
    let lm_head = if num_logits > 0 { table } else { 0 };
    let per_token = config.kv_bytes_per_token(DType::BF16);
    let written = num_tokens * per_token;
    Cost {
        flops: 2 * num_tokens * linears + layers * attention.flops + 2 * num_logits as u64 * lm_head,
        bytes: ELEMENT * (without_tables + lm_head + num_tokens * hidden) + kept * per_token,
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
                    lse: false,
                });
                let layers = config.num_layers as u64;
                expected.flops += layers * attention.flops;
                // Keys and values alone.
                expected.bytes += layers * (attention.bytes - 2 * attention.written);
                // A row of the embedding for each token, and the norms.
                expected.bytes += (cost::embed(tokens, config.hidden_size).written)
                    + 2 * (2 * layers + 1) * config.hidden_size as u64;
                let cost = step(&config, &sequences, sequences.len());
                assert_eq!((cost.flops, cost.bytes), (expected.flops, expected.bytes), "{config:?}");
                assert_eq!(cost.written, tokens as u64 * config.kv_bytes_per_token(DType::BF16));
            }
        }
    }

    #[test]
    fn steps_without_logits_or_without_tokens_leave_weights_unread() {
        let config = Config::preset("llama-3.1-8b").unwrap();
        let lm_head = (config.vocab_size * config.hidden_size) as u64;
        let (with, without) = (step(&config, &[[5, 9]], 1), step(&config, &[[5, 9]], 0));
        assert_eq!((with.bytes - without.bytes, with.flops - without.flops), (2 * lm_head, 2 * lm_head));
        assert_eq!(step(&config, &[[0, 100]], 0), Cost::default());
        assert_eq!(step(&config, &[[0, 100], [5, 9]], 1), with);
    }

    #[test]
    fn decodes_and_prefills_are_steps() {
        let config = Config::preset("llama-3.2-1b").unwrap();
        assert_eq!(decode_step(&config, 3, 40), step(&config, &[[1, 41]; 3], 3));
        assert_eq!(prefill(&config, 2, 40), step(&config, &[[40, 40]; 2], 2));
        // A tied embedding is read whole, for the logits, and besides a row a token.
        let weights = 2 * config.parameter_count() + 2 * config.hidden_size as u64;
        assert_eq!(decode_step(&config, 1, 0).bytes, weights + config.kv_bytes_per_token(DType::BF16));
    }
}
