//! `tokenizer.json` and `tokenizer_config.json`.

use llama_kernels::Result;
use llama_kernels::model::chat::{Message, TokenizerConfig};
use llama_kernels::model::config::Config;
use llama_kernels::model::tokenizer::Tokenizer;
use serde_json::{Value, json};

use super::Expected::{Io, Malformed};
use super::assert_error;
use super::config::broken_json;
use super::folder::Folder;

const FILE: &str = "tokenizer.json";
const CONFIG: &str = "tokenizer_config.json";

/// A tokenizer of the letters a, b and c, which knows `ab`.
fn valid() -> Value {
    json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "pre_tokenizer": null,
        "post_processor": null, "decoder": null,
        "added_tokens": [{"id": 4, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true}],
        "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "c": 2, "ab": 3}, "merges": [["a", "b"]]},
    })
}

fn read(bytes: &[u8]) -> Result<Tokenizer> {
    let settings =
        TokenizerConfig { chat_template: Some("{{ messages[0].content }}".into()), ..Default::default() };
    Tokenizer::from_json(bytes, FILE, settings, &Config::preset("llama-2-7b").unwrap())
}

#[test]
fn wrong_tokenizers_are_refused() {
    let tokenizer = read(valid().to_string().as_bytes()).unwrap();
    assert_eq!(tokenizer.encode_prompt("abc").unwrap(), [3, 2]);
    assert_eq!(tokenizer.encode_chat(&[Message::new("user", "ab<s>")]).unwrap(), [3]);

    for (case, bytes, says) in broken_json() {
        let says =
            if ["cut off", "nested", "brackets without end", "empty"].contains(&case) { says } else { "" };
        assert_error(case, read(&bytes), Malformed(FILE, "JSON", says));
    }
    type Change = fn(&mut Value);
    let json = |says| Malformed(FILE, "JSON", says);
    let no_place = Malformed(FILE, "vocabulary", "leave no place for one more token");
    let cases: [(&str, Change, super::Expected); 14] = [
        // With a hole in the ids, the id after the last by count is one that is there.
        (
            "hole in the ids",
            |t| {
                t["model"]["vocab"]["x"] = 6.into();
                t["added_tokens"][0]["id"] = 5.into();
            },
            no_place,
        ),
        (
            "last id",
            |t| {
                t["model"]["vocab"]["<s>"] = u32::MAX.into();
                t["added_tokens"][0]["id"] = u32::MAX.into();
            },
            no_place,
        ),
        ("no model", |t| drop(t.as_object_mut().unwrap().remove("model")), json("missing field `model`")),
        ("model of another kind", |t| t["model"]["type"] = "Markov".into(), json("")),
        ("another version", |t| t["version"] = "9.9".into(), json("Unknown tokenizer version")),
        ("id is text", |t| t["model"]["vocab"]["a"] = "0".into(), json("")),
        ("negative id", |t| t["model"]["vocab"]["a"] = (-1).into(), json("")),
        (
            "merge of unknown tokens",
            |t| t["model"]["merges"] = json!([["a", "x"]]),
            json("out of vocabulary"),
        ),
        (
            "merge into an unknown token",
            |t| t["model"]["merges"] = json!([["b", "c"]]),
            json("out of vocabulary"),
        ),
        ("merge of three", |t| t["model"]["merges"] = json!(["a b c"]), json("")),
        ("unknown normalizer", |t| t["normalizer"] = json!({"type": "Rot13"}), json("")),
        (
            "broken expression",
            |t| {
                t["pre_tokenizer"] = json!({"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated", "invert": false});
            },
            json(""),
        ),
        (
            "added token of another id",
            |t| t["added_tokens"][0]["id"] = 9.into(),
            Malformed(
                FILE,
                "added token `<s>`",
                "its id 9 is not the one that its place in the vocabulary gives",
            ),
        ),
        (
            "added token that the model knows by another id",
            |t| t["added_tokens"][0]["content"] = "ab".into(),
            Malformed(FILE, "added token `ab`", "its id 4 is not the one"),
        ),
    ];
    for (case, change, expected) in cases {
        let mut file = valid();
        change(&mut file);
        assert_error(case, read(file.to_string().as_bytes()), expected);
    }
    let twice =
        valid().to_string().replacen('{', r#"{"model": {"type": "BPE", "vocab": {}, "merges": []}, "#, 1);
    assert_error("two models", read(twice.as_bytes()), json("duplicate field `model`"));
}

#[test]
fn settings_of_the_file_do_not_cut_or_fill_texts() {
    let mut file = valid();
    file["truncation"] =
        json!({"max_length": 1, "strategy": "LongestFirst", "stride": 0, "direction": "Right"});
    file["padding"] = json!({"strategy": {"Fixed": 8}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0,
        "pad_type_id": 0, "pad_token": "a"});
    let tokenizer = read(file.to_string().as_bytes()).unwrap();
    assert_eq!(tokenizer.encode_prompt("abc").unwrap(), [3, 2]);
}

#[test]
fn wrong_tokenizer_configs_are_named() {
    let read = |bytes: &[u8]| TokenizerConfig::from_json(bytes, CONFIG.as_ref());
    for (case, bytes, says) in broken_json() {
        assert_error(case, read(&bytes), Malformed(CONFIG, "JSON", says));
    }
    for (json, key, says) in [
        (json!({"bos_token": 1}), "bos_token", "a string or an object with `content`, got 1"),
        (json!({"eos_token": {"text": "</s>"}}), "eos_token", "a string or an object with `content`"),
        (json!({"eos_token": {"content": 2}}), "eos_token", "a string or an object with `content`"),
        (json!({"add_bos_token": "true"}), "add_bos_token", "true or false"),
        (json!({"chat_template": 1}), "chat_template", "a string or a list of named templates, got 1"),
        (json!({"chat_template": []}), "chat_template", "no template by the name `default`"),
        (
            json!({"chat_template": ["x", {"name": "tool_use", "template": "x"}]}),
            "chat_template",
            "no template by the name",
        ),
        (
            json!({"chat_template": [{"name": "default", "template": 1}]}),
            "chat_template",
            "no template by the name",
        ),
    ] {
        assert_error(&json.to_string(), read(json.to_string().as_bytes()), Malformed(CONFIG, key, says));
    }
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let config = Config::preset("llama-2-7b").unwrap();
    let folder = Folder::new();
    assert_error("nothing", Tokenizer::load(folder.path(), &config), Io(FILE));
    folder.write(FILE, valid().to_string());
    Tokenizer::load(folder.path(), &config).unwrap();
    folder.write("chat_template.jinja", b"\xff");
    let expected = Malformed("chat_template.jinja", "template", "not UTF-8");
    assert_error("template", Tokenizer::load(folder.path(), &config), expected);
    folder.write("chat_template.jinja", vec![b' '; (1 << 20) + 1]);
    let expected = Malformed("chat_template.jinja", "file", "larger than 1048576 bytes");
    assert_error("large template", Tokenizer::load(folder.path(), &config), expected);
    folder.write(CONFIG, "[]");
    assert_error(
        "configuration",
        Tokenizer::load(folder.path(), &config),
        Malformed(CONFIG, "JSON", "expected an object"),
    );
}
