//! Published configurations, and every way that a `config.json` has of saying the same.

use llama_kernels::model::config::{Config, GenerationDefaults};
use llama_kernels::model::rope::{Llama3, Rope, RopeScaling, Yarn};
use llama_kernels::tensor::DType;
use serde_json::{Value, json};

/// Name, parameters, KiB of keys and values a token in bf16, and of Meta's `params.json`:
/// `ffn_dim_multiplier` (where it has one) and `multiple_of`.
const PUBLISHED: [(&str, u64, u64, Option<f64>, u64); 15] = [
    ("llama-1-7b", 6_738_415_616, 512, None, 256),
    ("llama-1-13b", 13_015_864_320, 800, None, 256),
    ("llama-1-33b", 32_528_943_616, 1560, None, 256),
    ("llama-1-65b", 65_285_660_672, 2560, None, 256),
    ("llama-2-7b", 6_738_415_616, 512, None, 256),
    ("llama-2-13b", 13_015_864_320, 800, None, 256),
    ("llama-2-70b", 68_976_648_192, 320, Some(1.3), 4096),
    ("llama-3-8b", 8_030_261_248, 128, Some(1.3), 1024),
    ("llama-3-70b", 70_553_706_496, 320, Some(1.3), 4096),
    ("llama-3.1-8b", 8_030_261_248, 128, Some(1.3), 1024),
    ("llama-3.1-70b", 70_553_706_496, 320, Some(1.3), 4096),
    ("llama-3.1-405b", 405_853_388_800, 504, Some(1.2), 4096),
    ("llama-3.2-1b", 1_235_814_400, 32, Some(1.5), 256),
    ("llama-3.2-3b", 3_212_749_824, 112, Some(1.0), 256),
    ("llama-3.3-70b", 70_553_706_496, 320, Some(1.3), 4096),
];

#[test]
fn published_models_have_their_published_sizes() {
    assert!(Config::preset_names().eq(PUBLISHED.map(|(name, ..)| name)));
    for (name, parameters, kv_kib, multiplier, multiple_of) in PUBLISHED {
        let config = Config::preset(name).unwrap();
        assert_eq!(config.parameter_count(), parameters, "{name}");
        assert_eq!(config.kv_bytes_per_token(DType::BF16), kv_kib * 1024, "{name}");
        // Meta's formula for the width of the MLP.
        let width = 2 * (4 * config.hidden_size as u64) / 3;
        let width = (multiplier.unwrap_or(1.0) * width as f64) as u64;
        assert_eq!(config.intermediate_size as u64, width.next_multiple_of(multiple_of), "{name}");
        assert_eq!(config.context, config.max_position_embeddings, "{name}");
    }
    assert_eq!(Config::preset("mistral-7b"), None);
}

#[test]
fn biases_count_as_parameters() {
    let plain = Config::preset("llama-3.2-1b").unwrap();
    let biased = Config { attention_bias: true, mlp_bias: true, ..plain.clone() };
    let a_layer = 2048 + 2 * 512 + 2048 + 2 * 8192 + 2048;
    assert_eq!(biased.parameter_count(), plain.parameter_count() + 16 * a_layer);
}

/// The keys that have no default.
fn minimal() -> Value {
    json!({
        "model_type": "llama",
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "vocab_size": 128,
    })
}

/// [`minimal`] with keys that replace its own.
fn with(keys: &Value) -> Config {
    let mut file = minimal();
    for (key, value) in keys.as_object().unwrap() {
        file[key] = value.clone();
    }
    Config::from_json(file.to_string().as_bytes(), "config.json").unwrap_or_else(|e| panic!("{keys}: {e}"))
}

#[test]
fn missing_keys_have_the_defaults_of_transformers() {
    let expected = Config {
        hidden_size: 64,
        intermediate_size: 96,
        num_layers: 2,
        num_q_heads: 4,
        num_kv_heads: 4,
        head_dim: 16,
        vocab_size: 128,
        rms_norm_eps: 1e-6,
        rope: Rope::unscaled(10_000.0),
        context: 2048,
        max_position_embeddings: 2048,
        tie_word_embeddings: false,
        attention_bias: false,
        mlp_bias: false,
        dtype: None,
        bos_token_id: Some(1),
        eos_token_ids: vec![2],
    };
    assert_eq!(with(&json!({})), expected);
    let nulls = json!({"head_dim": null, "num_key_value_heads": null, "rope_scaling": null, "rope_parameters": null,
        "quantization_config": null, "torch_dtype": null, "pretraining_tp": 2, "sliding_window": 4096});
    assert_eq!(with(&nulls), expected);
}

#[test]
fn keys_are_taken_over() {
    let config = with(&json!({
        "architectures": ["LLaMAForCausalLM"], "num_key_value_heads": 2, "head_dim": 32, "rms_norm_eps": 1e-5,
        "tie_word_embeddings": true, "attention_bias": true, "mlp_bias": true, "torch_dtype": "float16",
        "bos_token_id": 0, "eos_token_id": [3, 5, 7], "max_position_embeddings": 4096, "hidden_act": "silu",
    }));
    assert_eq!((config.num_kv_heads, config.head_dim, config.rms_norm_eps), (2, 32, 1e-5));
    assert!(config.tie_word_embeddings && config.attention_bias && config.mlp_bias);
    assert_eq!((config.dtype, config.bos_token_id), (Some(DType::F16), Some(0)));
    assert_eq!((config.eos_token_ids, config.context), (vec![3, 5, 7], 4096));
    assert_eq!(with(&json!({"dtype": "bfloat16", "eos_token_id": 4})).dtype, Some(DType::BF16));
    let none = with(&json!({"bos_token_id": null, "eos_token_id": null}));
    assert_eq!((none.bos_token_id, none.eos_token_ids), (None, vec![]));
}

#[test]
fn rope_is_read_from_old_and_new_keys() {
    let llama3 = json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192});
    let mut nested = llama3.clone();
    nested["rope_theta"] = 500_000.0.into();
    let expected = Rope {
        theta: 500_000.0,
        scaling: RopeScaling::Llama3(Llama3 {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_context: 8192,
        }),
    };
    let context = 131_072;
    for keys in [
        json!({"rope_theta": 5e5, "rope_scaling": llama3, "max_position_embeddings": context}),
        json!({"rope_parameters": nested, "max_position_embeddings": context}),
        json!({"rope_theta": 5e5, "rope_parameters": llama3, "max_position_embeddings": context}),
        json!({"rope_theta": 5e5, "rope_scaling": llama3, "rope_parameters": nested, "max_position_embeddings": context}),
    ] {
        let config = with(&keys);
        assert_eq!((config.rope, config.context), (expected, context), "{keys}");
    }
    for keys in [
        json!({"rope_theta": 1e4}),
        json!({"rope_scaling": {"type": "default"}}),
        json!({"rope_parameters": {"rope_type": "default", "rope_theta": 1e4}}),
        json!({"rope_parameters": {"rope_theta": 1e4}}),
    ] {
        assert_eq!(with(&keys).rope, Rope::unscaled(1e4), "{keys}");
    }
}

#[test]
fn scalings_extend_the_context() {
    let scaled = |scaling: Value| {
        let config = with(&json!({"max_position_embeddings": 4096, "rope_scaling": scaling}));
        (config.context, config.rope.scaling)
    };
    assert_eq!(
        scaled(json!({"type": "linear", "factor": 2.5})),
        (10_240, RopeScaling::Linear { factor: 2.5 })
    );
    assert_eq!(
        scaled(json!({"rope_type": "dynamic", "type": "dynamic", "factor": 2})),
        (8192, RopeScaling::Dynamic { factor: 2.0, original_context: 4096 })
    );
    // What was extended already is not extended again.
    let yarn = Yarn {
        factor: 4.0,
        original_context: 1024,
        beta_fast: 32.0,
        beta_slow: 1.0,
        attention_factor: 0.1 * 4f64.ln() + 1.0,
        truncate: true,
    };
    let keys = json!({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 1024});
    assert_eq!(scaled(keys), (4096, RopeScaling::Yarn(yarn)));
    let keys = json!({"rope_type": "yarn", "factor": 4.0});
    assert_eq!(scaled(keys), (16_384, RopeScaling::Yarn(Yarn { original_context: 4096, ..yarn })));
    let keys = json!({"rope_type": "yarn", "factor": 4.0, "attention_factor": 1.5, "beta_fast": 16, "beta_slow": 2,
        "truncate": false});
    let all = Yarn {
        original_context: 4096,
        beta_fast: 16.0,
        beta_slow: 2.0,
        attention_factor: 1.5,
        truncate: false,
        ..yarn
    };
    assert_eq!(scaled(keys), (16_384, RopeScaling::Yarn(all)));
    let keys = json!({"rope_type": "yarn", "factor": 4.0, "mscale": 1.0, "mscale_all_dim": 0.5});
    let RopeScaling::Yarn(deepseek) = scaled(keys).1 else { panic!("not yarn") };
    assert_eq!(deepseek.attention_factor, (0.1 * 4f64.ln() + 1.0) / (0.05 * 4f64.ln() + 1.0));
}

#[test]
fn generation_defaults_are_read() {
    let read = |file: Value| {
        GenerationDefaults::from_json(file.to_string().as_bytes(), "generation_config.json").unwrap()
    };
    assert_eq!(read(json!({"transformers_version": "4.43.0"})), GenerationDefaults::default());
    let llama31 = json!({"bos_token_id": 128000, "do_sample": true, "eos_token_id": [128001, 128008, 128009],
        "temperature": 0.6, "top_p": 0.9, "top_k": 40, "repetition_penalty": 1.1});
    assert_eq!(
        read(llama31),
        GenerationDefaults {
            eos_token_ids: vec![128_001, 128_008, 128_009],
            do_sample: Some(true),
            temperature: Some(0.6),
            top_p: Some(0.9),
            top_k: Some(40),
            repetition_penalty: Some(1.1),
        }
    );
    assert_eq!(read(json!({"eos_token_id": 2})).eos_token_ids, [2]);
}
