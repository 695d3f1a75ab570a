//! The published models, as their `config.json` files have them.

use super::config::Config;
use super::rope::{Llama3, Rope, RopeScaling};
use crate::tensor::DType;

/// One row of the table; what it lacks is the same for all.
pub(crate) struct Preset {
    pub(crate) name: &'static str,
    hidden: usize,
    layers: usize,
    q_heads: usize,
    kv_heads: usize,
    head_dim: usize,
    intermediate: usize,
    vocab: Vocab,
    /// Factor of the llama3 RoPE scaling.
    factor: Option<f64>,
    eps: f32,
    context: usize,
    tied: bool,
}

#[derive(Clone, Copy)]
enum Vocab {
    /// SentencePiece, 32000 tokens: Llama 1 and 2.
    Llama2,
    /// tiktoken, 128256 tokens.
    Llama3,
}

impl Preset {
    pub(crate) fn config(&self) -> Config {
        let (vocab_size, theta, bos, eos, dtype) = match self.vocab {
            Vocab::Llama2 => (32_000, 10_000.0, 1, 2, DType::F16),
            Vocab::Llama3 => (128_256, 500_000.0, 128_000, 128_001, DType::BF16),
        };
        let scaling = self.factor.map_or(RopeScaling::None, |factor| {
            RopeScaling::Llama3(Llama3 {
                factor,
                low_freq_factor: 1.0,
                high_freq_factor: 4.0,
                original_context: 8192,
            })
        });
        Config {
            hidden_size: self.hidden,
            intermediate_size: self.intermediate,
            num_layers: self.layers,
            num_q_heads: self.q_heads,
            num_kv_heads: self.kv_heads,
            head_dim: self.head_dim,
            vocab_size,
            rms_norm_eps: self.eps,
            rope: Rope { theta, scaling },
            context: self.context,
            max_position_embeddings: self.context,
            tie_word_embeddings: self.tied,
            attention_bias: false,
            mlp_bias: false,
            dtype: Some(dtype),
            bos_token_id: Some(bos),
            eos_token_ids: vec![eos],
        }
    }
}

const LLAMA_1: Preset = Preset {
    name: "llama-1-7b",
    hidden: 4096,
    layers: 32,
    q_heads: 32,
    kv_heads: 32,
    head_dim: 128,
    intermediate: 11008,
    vocab: Vocab::Llama2,
    factor: None,
    eps: 1e-6,
    context: 2048,
    tied: false,
};
const LLAMA_1_13B: Preset = Preset {
    name: "llama-1-13b",
    hidden: 5120,
    layers: 40,
    q_heads: 40,
    kv_heads: 40,
    intermediate: 13824,
    ..LLAMA_1
};
const LLAMA_2_70B: Preset = Preset {
    name: "llama-2-70b",
    hidden: 8192,
    layers: 80,
    q_heads: 64,
    kv_heads: 8,
    intermediate: 28672,
    eps: 1e-5,
    context: 4096,
    ..LLAMA_1
};
const LLAMA_3_8B: Preset = Preset {
    name: "llama-3-8b",
    kv_heads: 8,
    intermediate: 14336,
    vocab: Vocab::Llama3,
    eps: 1e-5,
    context: 8192,
    ..LLAMA_1
};
const LLAMA_3_70B: Preset =
    Preset { name: "llama-3-70b", vocab: Vocab::Llama3, context: 8192, ..LLAMA_2_70B };
const LLAMA_31_8B: Preset =
    Preset { name: "llama-3.1-8b", factor: Some(8.0), context: 131_072, ..LLAMA_3_8B };
const LLAMA_31_70B: Preset =
    Preset { name: "llama-3.1-70b", factor: Some(8.0), context: 131_072, ..LLAMA_3_70B };
const LLAMA_32_1B: Preset = Preset {
    name: "llama-3.2-1b",
    hidden: 2048,
    layers: 16,
    head_dim: 64,
    intermediate: 8192,
    factor: Some(32.0),
    tied: true,
    ..LLAMA_31_8B
};

pub(crate) const PRESETS: &[Preset] = &[
    LLAMA_1,
    LLAMA_1_13B,
    Preset {
        name: "llama-1-33b",
        hidden: 6656,
        layers: 60,
        q_heads: 52,
        kv_heads: 52,
        intermediate: 17920,
        ..LLAMA_1
    },
    Preset {
        name: "llama-1-65b",
        hidden: 8192,
        layers: 80,
        q_heads: 64,
        kv_heads: 64,
        intermediate: 22016,
        eps: 1e-5,
        ..LLAMA_1
    },
    Preset { name: "llama-2-7b", eps: 1e-5, context: 4096, ..LLAMA_1 },
    Preset { name: "llama-2-13b", eps: 1e-5, context: 4096, ..LLAMA_1_13B },
    LLAMA_2_70B,
    LLAMA_3_8B,
    LLAMA_3_70B,
    LLAMA_31_8B,
    LLAMA_31_70B,
    Preset {
        name: "llama-3.1-405b",
        hidden: 16384,
        layers: 126,
        q_heads: 128,
        intermediate: 53248,
        ..LLAMA_31_70B
    },
    LLAMA_32_1B,
    Preset { name: "llama-3.2-3b", hidden: 3072, layers: 28, q_heads: 24, head_dim: 128, ..LLAMA_32_1B },
    Preset { name: "llama-3.3-70b", ..LLAMA_31_70B },
];
