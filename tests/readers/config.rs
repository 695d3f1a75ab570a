//! `config.json` and `generation_config.json`.

use llama_kernels::model::config::{Config, GenerationDefaults};
use serde_json::{Value, json};

use super::Expected::{self, Io, Malformed, Unsupported};
use super::assert_error;
use super::folder::{Folder, config};

const FILE: &str = "config.json";

fn malformed(key: &'static str, says: &'static str) -> Expected {
    Malformed(FILE, key, says)
}

/// A value for each key, and the error that it gives.
fn wrong_values() -> Vec<(Value, Expected)> {
    let llama3 = |key: &str, value: Value| {
        let mut scaling = json!({"rope_type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4,
            "original_max_position_embeddings": 8192});
        scaling[key] = value;
        json!({"rope_scaling": scaling})
    };
    let yarn =
        |key: &str, value: Value| json!({"rope_parameters": {"rope_type": "yarn", "factor": 4, key: value}});
    let whole = "expected a whole number from 1 to";
    vec![
        // Sizes: missing, zero, negative, fractional, text, too large, larger than 64 bits.
        (json!({"hidden_size": null}), malformed("hidden_size", "missing")),
        (json!({"hidden_size": 0}), malformed("hidden_size", whole)),
        (json!({"hidden_size": -8}), malformed("hidden_size", "got -8")),
        (json!({"hidden_size": 8.5}), malformed("hidden_size", "got 8.5")),
        (json!({"hidden_size": "8"}), malformed("hidden_size", "got \"8\"")),
        (json!({"hidden_size": [8]}), malformed("hidden_size", "got an array")),
        (json!({"hidden_size": 1u64 << 40}), malformed("hidden_size", "to 1048576, got 1099511627776")),
        (json!({"hidden_size": 1e300}), malformed("hidden_size", whole)),
        (json!({"intermediate_size": u64::MAX}), malformed("intermediate_size", whole)),
        (json!({"intermediate_size": null}), malformed("intermediate_size", "missing")),
        (json!({"num_hidden_layers": 0}), malformed("num_hidden_layers", whole)),
        (json!({"num_hidden_layers": 1_000_000}), malformed("num_hidden_layers", "to 4096")),
        (json!({"num_attention_heads": 0}), malformed("num_attention_heads", whole)),
        (json!({"vocab_size": 0}), malformed("vocab_size", whole)),
        (json!({"vocab_size": u32::MAX}), malformed("vocab_size", whole)),
        (json!({"head_dim": 0}), malformed("head_dim", whole)),
        (json!({"head_dim": 5}), malformed("head_dim", "even number, which RoPE needs, got 5")),
        (json!({"head_dim": 1 << 20}), malformed("head_dim", whole)),
        (json!({"max_position_embeddings": 0}), malformed("max_position_embeddings", whole)),
        (
            json!({"max_position_embeddings": 1u64 << 33}),
            malformed("max_position_embeddings", "to 2147483647"),
        ),
        // Sizes that contradict each other.
        (json!({"num_key_value_heads": 0}), malformed("num_key_value_heads", whole)),
        (
            json!({"num_key_value_heads": 3}),
            malformed("num_key_value_heads", "2 query heads cannot be shared out among 3"),
        ),
        (
            json!({"head_dim": null, "num_attention_heads": 3, "num_key_value_heads": 3}),
            malformed("head_dim", "3 heads do not divide hidden_size 8"),
        ),
        (
            json!({"head_dim": null, "num_attention_heads": 8, "num_key_value_heads": 8}),
            malformed("head_dim", "even number, which RoPE needs, got 1"),
        ),
        (
            json!({"head_dim": null, "hidden_size": 1 << 20, "num_attention_heads": 1, "num_key_value_heads": 1}),
            malformed("head_dim", "missing, and 1048576 in its place is not within 1 to 1024"),
        ),
        // Numbers and flags.
        (json!({"rms_norm_eps": 0}), malformed("rms_norm_eps", "between 0 and 1")),
        (json!({"rms_norm_eps": -1e-5}), malformed("rms_norm_eps", "between 0 and 1")),
        (json!({"rms_norm_eps": 1e-60}), malformed("rms_norm_eps", "between 0 and 1")),
        (json!({"rms_norm_eps": "1e-5"}), malformed("rms_norm_eps", "a number")),
        (json!({"tie_word_embeddings": 1}), malformed("tie_word_embeddings", "true or false, got 1")),
        (json!({"attention_bias": "yes"}), malformed("attention_bias", "true or false")),
        (json!({"mlp_bias": {}}), malformed("mlp_bias", "got an object")),
        (json!({"bos_token_id": 16}), malformed("bos_token_id", "a token below 16, got 16")),
        (json!({"bos_token_id": -1}), malformed("bos_token_id", "got -1")),
        (json!({"eos_token_id": [2, 99]}), malformed("eos_token_id", "a token below 16, got 99")),
        (json!({"eos_token_id": [[2]]}), malformed("eos_token_id", "got an array")),
        (json!({"torch_dtype": 16}), malformed("torch_dtype", "a string, got 16")),
        (json!({"dtype": "float8_e4m3fn"}), Unsupported(FILE, "the element type `float8_e4m3fn`")),
        // Other models.
        (json!({"model_type": "mistral"}), Unsupported(FILE, "a model of type `mistral`")),
        (json!({"model_type": "a\u{1b}[2J\n"}), Unsupported(FILE, r"`a\u{1b}[2J\n`")),
        (json!({"model_type": 7}), malformed("model_type", "a string, got 7")),
        (json!({"model_type": null, "architectures": null}), malformed("model_type", "missing")),
        (
            json!({"architectures": ["Qwen2ForCausalLM"]}),
            Unsupported(FILE, "the architecture `Qwen2ForCausalLM`"),
        ),
        (json!({"architectures": ["LlamaForSequenceClassification"]}), Unsupported(FILE, "its output head")),
        (json!({"architectures": []}), malformed("architectures", "a list of one string")),
        (
            json!({"architectures": ["LlamaForCausalLM", "X"]}),
            malformed("architectures", "a list of one string"),
        ),
        (
            json!({"quantization_config": {"quant_method": "gptq"}}),
            Unsupported(FILE, "a quantised checkpoint"),
        ),
        (json!({"hidden_act": "gelu"}), Unsupported(FILE, "the activation `gelu`")),
        (json!({"partial_rotary_factor": 0.5}), Unsupported(FILE, "partial_rotary_factor")),
        // RoPE.
        (json!({"rope_theta": 1}), malformed("rope_theta", "above 1")),
        (json!({"rope_theta": -1e4}), malformed("rope_theta", "above 1")),
        (json!({"rope_theta": 1e40}), malformed("rope_theta", "up to 1e30")),
        (json!({"rope_scaling": 2}), malformed("rope_scaling", "an object, got 2")),
        (json!({"rope_scaling": {"factor": 2}}), malformed("rope_scaling.rope_type", "missing")),
        (json!({"rope_scaling": {"type": "longrope"}}), Unsupported(FILE, "the RoPE scaling `longrope`")),
        (
            json!({"rope_scaling": {"type": "linear", "rope_type": "dynamic", "factor": 2}}),
            malformed("rope_scaling.rope_type", "`dynamic` contradicts type `linear`"),
        ),
        (json!({"rope_scaling": {"type": "linear"}}), malformed("rope_scaling.factor", "missing")),
        (
            json!({"rope_scaling": {"type": "linear", "factor": 0.5}}),
            malformed("rope_scaling.factor", "from 1 to"),
        ),
        (
            json!({"rope_scaling": {"type": "linear", "factor": 1e9}}),
            malformed("rope_scaling.factor", "from 1 to"),
        ),
        (
            json!({"rope_scaling": {"type": "linear", "factor": "2"}}),
            malformed("rope_scaling.factor", "a number"),
        ),
        (
            json!({"rope_scaling": {"type": "linear", "factor": 60000}, "max_position_embeddings": 60000}),
            malformed("rope_scaling", "a context of 3600000000 tokens"),
        ),
        (
            json!({"rope_scaling": {"type": "dynamic", "factor": 2}, "head_dim": 2}),
            malformed("head_dim", "at least 4 elements"),
        ),
        (llama3("factor", Value::Null), malformed("rope_scaling.factor", "missing")),
        (llama3("low_freq_factor", Value::Null), malformed("rope_scaling.low_freq_factor", "missing")),
        (llama3("high_freq_factor", Value::Null), malformed("rope_scaling.high_freq_factor", "missing")),
        (
            llama3("high_freq_factor", json!(1)),
            malformed("rope_scaling.high_freq_factor", "more than low_freq_factor 1"),
        ),
        (
            llama3("low_freq_factor", json!(0)),
            malformed("rope_scaling.high_freq_factor", "more than low_freq_factor 0"),
        ),
        (
            llama3("original_max_position_embeddings", Value::Null),
            malformed("rope_scaling.original_max_position_embeddings", "missing"),
        ),
        (
            yarn("original_max_position_embeddings", json!(0)),
            malformed("rope_parameters.original_max_position_embeddings", whole),
        ),
        (
            yarn("attention_factor", json!(0)),
            malformed("rope_parameters.attention_factor", "a positive number"),
        ),
        (yarn("beta_fast", json!(0.5)), malformed("rope_parameters.beta_fast", "more than beta_slow 1")),
        (yarn("beta_slow", json!(0)), malformed("rope_parameters.beta_fast", "more than beta_slow 0")),
        (yarn("truncate", json!("no")), malformed("rope_parameters.truncate", "true or false")),
        (
            json!({"rope_theta": 1e4, "rope_parameters": {"rope_theta": 5e5}}),
            malformed("rope_theta", "10000 contradicts rope_parameters.rope_theta 500000"),
        ),
        (
            json!({"rope_scaling": {"type": "linear", "factor": 2}, "rope_parameters": {"rope_type": "linear", "factor": 4}}),
            malformed("rope_scaling", "contradicts rope_parameters"),
        ),
    ]
}

#[test]
fn wrong_values_are_named() {
    Config::from_json(config().to_string().as_bytes(), FILE).unwrap();
    for (keys, expected) in wrong_values() {
        let mut file = config();
        for (key, value) in keys.as_object().unwrap() {
            file[key] = value.clone();
        }
        assert_error(&keys.to_string(), Config::from_json(file.to_string().as_bytes(), FILE), expected);
    }
}

/// Texts that are no JSON object, for any reader of one.
pub fn broken_json() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let nested = [&b"{\"x\":".repeat(1000)[..], b"1", &b"}".repeat(1000)].concat();
    vec![
        ("empty", vec![], "EOF"),
        ("cut off", b"{\"hidden_size\": ".to_vec(), "EOF"),
        ("text behind", b"{} {}".to_vec(), "trailing characters"),
        ("not UTF-8", b"{\"x\": \"\xff\"}".to_vec(), "invalid unicode"),
        ("half a surrogate", br#"{"x": "\ud800"}"#.to_vec(), "hex escape"),
        ("UTF-16", b"\xff\xfe{\0}\0".to_vec(), "expected value"),
        ("byte order mark", b"\xef\xbb\xbf{}".to_vec(), "expected value"),
        ("control character", b"{\"x\": \"\x01\"}".to_vec(), "control character"),
        ("number too large", b"{\"x\": 1e999}".to_vec(), "out of range"),
        ("not a number", b"{\"x\": NaN}".to_vec(), "expected value"),
        ("nested", nested, "nested deeper than 24 levels"),
        ("brackets without end", vec![b'['; 100_000], "nested deeper than 24 levels"),
    ]
}

#[test]
fn broken_json_is_refused() {
    let mut cases = broken_json();
    cases.extend([
        ("array", b"[]".to_vec(), "expected an object, got an array"),
        ("text", b"\"x\"".to_vec(), "expected an object, got \"x\""),
        ("duplicate", br#"{"hidden_size": 8, "hidden_size": 9}"#.to_vec(), "duplicate key `hidden_size`"),
        ("duplicate below", br#"{"x": [{"a\u0062": 1, "ab": 2}]}"#.to_vec(), "duplicate key `ab`"),
    ]);
    for (case, bytes, says) in cases {
        assert_error(case, Config::from_json(&bytes, FILE), Malformed(FILE, "JSON", says));
        let generation = GenerationDefaults::from_json(&bytes, "generation_config.json");
        assert_error(case, generation, Malformed("generation_config.json", "JSON", says));
    }
    // Brackets in strings do not nest.
    let brackets = json!({"x": "[".repeat(100), "y": "\\\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[["});
    GenerationDefaults::from_json(brackets.to_string().as_bytes(), "generation_config.json").unwrap();
}

#[test]
fn wrong_generation_defaults_are_named() {
    let file = "generation_config.json";
    for (keys, key, says) in [
        (json!({"temperature": -1}), "temperature", "from 0 to 1000, got -1"),
        (json!({"temperature": "hot"}), "temperature", "a number"),
        (json!({"top_p": 1.5}), "top_p", "from 0 to 1, got 1.5"),
        (json!({"top_k": -1}), "top_k", "a whole number from 0"),
        (json!({"repetition_penalty": 0}), "repetition_penalty", "from 0.001 to 1000, got 0"),
        (json!({"do_sample": "yes"}), "do_sample", "true or false"),
        (json!({"eos_token_id": [1, u64::MAX]}), "eos_token_id", "a token below"),
        (json!({"eos_token_id": {}}), "eos_token_id", "got an object"),
    ] {
        let result = GenerationDefaults::from_json(keys.to_string().as_bytes(), file);
        assert_error(&keys.to_string(), result, Malformed(file, key, says));
    }
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let folder = Folder::new();
    assert_error("no folder", Config::load(folder.path().join("nowhere")), Io("nowhere/config.json"));
    assert_error("no file", Config::load(folder.path()), Io(FILE));
    assert_eq!(GenerationDefaults::load(folder.path()).unwrap(), GenerationDefaults::default());
    std::fs::create_dir(folder.path().join(FILE)).unwrap();
    assert_error("a folder", Config::load(folder.path()), malformed("file", "not a regular file"));

    let folder = Folder::new();
    folder.write(FILE, vec![b' '; (1 << 20) + 1]);
    assert_error("too large", Config::load(folder.path()), malformed("file", "larger than 1048576 bytes"));
    folder.write("generation_config.json", b"{");
    let broken = GenerationDefaults::load(folder.path());
    assert_error("broken", broken, Malformed("generation_config.json", "JSON", "EOF"));
}
