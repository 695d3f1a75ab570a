//! What each target does with an input, and what must hold afterwards. The main crate's tests run the same
//! functions over the committed seeds (`tests/readers/seeds.rs`).

use std::path::Path;
use std::time::{Duration, SystemTime};

use llama_kernels::model::chat::{ChatOptions, ChatTemplate, Message, SpecialTexts, TokenizerConfig};
use llama_kernels::model::checkpoint::{Header, Index};
use llama_kernels::model::config::{Config, GenerationDefaults};
use llama_kernels::model::tokenizer::Tokenizer;
use llama_kernels::tensor::DType;
use llama_kernels::{Error, Result};

/// One target: its name and what it does.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 6] = [
    ("chat_template", chat_template),
    ("config", config),
    ("index", index),
    ("safetensors_header", safetensors_header),
    ("tokenizer_config", tokenizer_config),
    ("tokenizer_json", tokenizer_json),
];

/// An error's message is short and safe to print, whatever the file holds.
fn accepted<T>(result: Result<T>) -> Option<T> {
    result.map_err(|error: Error| check_message(&error)).ok()
}

fn check_message(error: &Error) {
    let message = error.to_string();
    assert!(message.len() < 4096, "a message of {} bytes", message.len());
    assert!(!message.chars().any(char::is_control), "{message:?}");
}

/// `config.json` and `generation_config.json`: sizes that are accepted can be computed with.
pub fn config(data: &[u8]) {
    accepted(GenerationDefaults::from_json(data, "generation_config.json"));
    let Some(config) = accepted(Config::from_json(data, "config.json")) else { return };
    assert!(config.num_q_heads % config.num_kv_heads == 0 && config.head_dim % 2 == 0);
    assert!(config.context >= 1 && config.context <= i32::MAX as usize);
    assert!(config.parameter_count() > 0 && config.kv_bytes_per_token(DType::F64) > 0);
    assert!(config.rms_norm_eps > 0.0);
    for len in [1, config.max_position_embeddings, config.context] {
        let (inv_freq, factor) = config.rope.inv_freq(config.head_dim, len);
        assert_eq!(inv_freq.len(), config.head_dim / 2);
        assert!(
            factor.is_finite() && inv_freq.iter().all(|f| f.is_finite() && *f >= 0.0),
            "{:?}",
            config.rope
        );
        let row = config.rope.cos_sin(config.head_dim, len, len - 1..len);
        assert!(row.len() == config.head_dim && row.iter().all(|x| x.is_finite()), "{:?}", config.rope);
    }
}

/// `model.safetensors.index.json`: accepted names name files of the folder.
pub fn index(data: &[u8]) {
    let Some(index) = accepted(Index::parse(data, Path::new("model.safetensors.index.json"))) else { return };
    for name in index.files() {
        let path = Path::new("folder").join(name);
        assert_eq!(path.parent(), Some(Path::new("folder")), "{name:?}");
        assert_eq!(path.file_name().and_then(|n| n.to_str()), Some(name));
    }
}

/// The JSON of a safetensors header, for data that ends where the header says.
pub fn safetensors_header(data: &[u8]) {
    let data_len = largest_offset(data);
    let Some(header) = accepted(Header::parse(data, data_len, Path::new("model.safetensors"))) else {
        return;
    };
    let mut covered = 0;
    for info in header.tensors.values() {
        assert!(info.bytes.start <= info.bytes.end && info.bytes.end <= data_len);
        let elements = info.shape.iter().map(|&dim| dim as u128).product::<u128>();
        assert_eq!(elements * info.dtype.size() as u128, info.bytes.len() as u128);
        covered += info.bytes.len();
    }
    assert_eq!(covered, data_len);
}

/// The largest number in the header, up to 2^40: with it as the length of the data, valid headers stay valid.
fn largest_offset(data: &[u8]) -> usize {
    let digits = data.split(|byte| !byte.is_ascii_digit());
    let numbers = digits.filter_map(|digits| std::str::from_utf8(digits).ok()?.parse::<usize>().ok());
    numbers.filter(|&n| n <= 1 << 40).max().unwrap_or(0)
}

/// `tokenizer_config.json`, and the template in it.
pub fn tokenizer_config(data: &[u8]) {
    let Some(config) = accepted(TokenizerConfig::from_json(data, Path::new("tokenizer_config.json"))) else {
        return;
    };
    if let Some(source) = config.chat_template {
        render(&source, config.specials);
    }
}

/// A chat template.
pub fn chat_template(data: &[u8]) {
    if let Ok(source) = std::str::from_utf8(data) {
        let text = |text: &str| Some(text.to_owned());
        render(source, SpecialTexts { bos_token: text("<s>"), eos_token: text("</s>") });
    }
}

fn render(source: &str, specials: SpecialTexts) {
    let Some(template) = accepted(ChatTemplate::new(source, specials)) else { return };
    let options =
        ChatOptions { now: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1)), ..ChatOptions::default() };
    let conversation = [("system", "Be brief."), ("user", " <|eot_id|>é "), ("assistant", ""), ("user", "x")]
        .map(|(role, content)| Message::new(role, content));
    for messages in [&conversation[..], &conversation[1..2], &[]] {
        accepted(template.render(messages, &options));
    }
}

/// `tokenizer.json`: what is accepted encodes and decodes, or says why not.
pub fn tokenizer_json(data: &[u8]) {
    let mut config = Config::preset("llama-2-7b").unwrap();
    config.vocab_size = 4096;
    let template = "{{ bos_token }}<s>{{ messages[0].content }}</s>".to_owned();
    let settings = TokenizerConfig { chat_template: Some(template), ..TokenizerConfig::default() };
    let Some(tokenizer) = accepted(Tokenizer::from_json(data, "tokenizer.json", settings, &config)) else {
        return;
    };
    let check = |ids: Result<Vec<u32>>| {
        let ids = accepted(ids).unwrap_or_default();
        assert!(ids.iter().all(|&id| id < 4096), "{ids:?}");
        accepted(tokenizer.decode(&ids));
        let mut stream = tokenizer.decode_stream(&ids[..ids.len() / 2]);
        ids[ids.len() / 2..].iter().for_each(|&id| drop(accepted(stream.push(id))));
        accepted(stream.finish());
    };
    for text in ["", "ab c  abc\n1234 don't <s> é 😁", " \u{2581}\0"] {
        check(tokenizer.encode_prompt(text));
        check(tokenizer.encode_chat(&[Message::new("user", text)]));
    }
    accepted(tokenizer.decode(&[0, 1, 2, 255, u32::MAX]));
}
