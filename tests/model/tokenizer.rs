//! Tokenizers of both kinds against Hugging Face's results, Llama 3's rules on a vocabulary of our own, and
//! what must not become a special token.

use std::path::{Path, PathBuf};

use llama_kernels::Error;
use llama_kernels::model::chat::{Message, TokenizerConfig};
use llama_kernels::model::config::Config;
use llama_kernels::model::tokenizer::Tokenizer;
use serde_json::{Value, json};

use super::goldens::golden;

fn config(vocab_size: usize, bos: u32) -> Config {
    let preset = Config::preset("llama-2-7b").unwrap();
    Config { vocab_size, bos_token_id: Some(bos), eos_token_ids: vec![bos + 1], ..preset }
}

fn with_template(source: impl Into<String>) -> TokenizerConfig {
    TokenizerConfig { chat_template: Some(source.into()), ..TokenizerConfig::default() }
}

/// The tokenizers that Hugging Face's results are there for.
const GOLDEN: [&str; 3] = ["llama2-legacy", "llama2-metaspace", "demo-model"];
const LLAMA2_FORMS: [&str; 2] = ["llama2-legacy", "llama2-metaspace"];

/// One of [`GOLDEN`].
fn tokenizer(name: &str, settings: TokenizerConfig) -> Tokenizer {
    let (file, config) = match name {
        "demo-model" => (demo_model().join("tokenizer.json"), Config::load(demo_model()).unwrap()),
        _ => (golden(&format!("tokenizers/{name}.json")), config(32_000, 1)),
    };
    Tokenizer::from_json(&std::fs::read(&file).unwrap(), file, settings, &config).unwrap()
}

fn demo_model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo-model")
}

fn expected(name: &str) -> Value {
    let file = match name {
        "demo-model" => golden("demo-model/expected.json"),
        _ => golden(&format!("tokenizers/{name}.expected.json")),
    };
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

fn user(text: &str) -> [Message; 1] {
    [Message::new("user", text)]
}

#[test]
fn encodings_are_those_of_hugging_face() {
    for name in GOLDEN {
        let content = tokenizer(name, with_template("{{ messages[0].content }}"));
        for case in expected(name)["encodings"].as_array().unwrap() {
            let text = case["text"].as_str().unwrap();
            let plain = ids(&case["ids_plain"]);
            // A prompt: BOS, and all of it text.
            let bos = &ids(&case["ids"])[..1];
            assert_eq!(content.encode_prompt(text).unwrap(), [bos, &plain].concat(), "{name}: {text:?}");
            assert_eq!(
                content.decode(&plain).unwrap(),
                case["decoded"].as_str().unwrap(),
                "{name}: {text:?}"
            );
            // What somebody says, without anything around it.
            assert_eq!(content.encode_chat(&user(text)).unwrap(), plain, "{name}: {text:?}");
            // What the template itself says: special tokens are meant.
            let template = tokenizer(name, with_template(format!("{{{{ {} }}}}", case["text"])));
            let special = ids(&case["ids_without_specials"]);
            assert_eq!(template.encode_chat(&user("")).unwrap(), special, "{name}: {text:?}");
        }
    }
}

#[test]
fn decodings_are_those_of_hugging_face() {
    for name in GOLDEN {
        let tokenizer = tokenizer(name, TokenizerConfig::default());
        for case in expected(name)["decodings"].as_array().unwrap() {
            let (ids, text) = (ids(&case["ids"]), case["text_without_specials"].as_str().unwrap());
            assert_eq!(tokenizer.decode(&ids).unwrap(), text, "{name}: {ids:?}");
            assert_eq!(streamed(&tokenizer, &ids).concat(), text, "{name}: {ids:?}");
        }
    }
}

#[test]
fn chats_are_those_of_transformers() {
    let tokenizer = Tokenizer::load(demo_model(), &Config::load(demo_model()).unwrap()).unwrap();
    for case in expected("demo-model")["chats"].as_array().unwrap() {
        let message = |m: &Value| Message::new(m["role"].as_str().unwrap(), m["content"].as_str().unwrap());
        let messages: Vec<_> = case["messages"].as_array().unwrap().iter().map(message).collect();
        assert_eq!(tokenizer.encode_chat(&messages).unwrap(), ids(&case["ids"]), "{}", case["name"]);
        // The answer as it would be streamed after the prompt.
        let mut stream = tokenizer.decode_stream(&ids(&case["ids"]));
        let pieces: String = ids(&case["greedy_ids"]).iter().map(|&id| stream.push(id).unwrap()).collect();
        assert_eq!(
            pieces + &stream.finish().unwrap(),
            case["greedy_text"].as_str().unwrap(),
            "{}",
            case["name"]
        );
    }
}

/// The pieces that come out token by token, and what is left at the end.
fn streamed(tokenizer: &Tokenizer, ids: &[u32]) -> Vec<String> {
    let mut stream = tokenizer.decode_stream(&[]);
    let mut pieces: Vec<String> = ids.iter().map(|&id| stream.push(id).unwrap()).collect();
    pieces.push(stream.finish().unwrap());
    pieces
}

#[test]
fn streams_show_only_whole_characters() {
    let texts = ["naïve 日本語 😁 a😁b", "  two  spaces ", "Hello\nworld", "Cửa Việt", ""];
    for form in LLAMA2_FORMS {
        let tokenizer = tokenizer(form, TokenizerConfig::default());
        for text in texts {
            let ids = tokenizer.encode_prompt(text).unwrap();
            let pieces = streamed(&tokenizer, &ids);
            assert_eq!(pieces.concat(), tokenizer.decode(&ids).unwrap(), "{form}");
            assert!(!pieces.concat().contains('\u{FFFD}'), "{form}: {pieces:?}");
        }
        let smile = tokenizer.encode_prompt("😁").unwrap();
        let [.., first, second, third, fourth] = smile[..] else { panic!("{smile:?}") };
        let pieces = streamed(&tokenizer, &[first, second, third, fourth]);
        assert_eq!(pieces, ["", "", "", "😁", ""], "{form}");
        // Bytes that never become a character are shown in the end, and do not hold back what follows.
        assert_eq!(streamed(&tokenizer, &[first, second]), ["", "", "\u{FFFD}\u{FFFD}"], "{form}");
        let broken = streamed(&tokenizer, &[second; 9]);
        assert_eq!(broken.concat().chars().count(), 9, "{form}: {broken:?}");
        assert!(broken[..5].iter().any(|piece| !piece.is_empty()), "{form}: {broken:?}");
    }
}

#[test]
fn a_stream_continues_its_context() {
    for form in LLAMA2_FORMS {
        let tokenizer = tokenizer(form, TokenizerConfig::default());
        let ids = tokenizer.encode_prompt("the cat and the dog").unwrap();
        for prompt in 1..ids.len() {
            let mut stream = tokenizer.decode_stream(&ids[..prompt]);
            let mut text = tokenizer.decode(&ids[..prompt]).unwrap();
            for &id in &ids[prompt..] {
                text += &stream.push(id).unwrap();
            }
            text += &stream.finish().unwrap();
            assert_eq!(text, "the cat and the dog", "{form}: after {prompt} tokens");
        }
    }
}

#[test]
fn bos_is_what_tokenizer_config_says() {
    let hello = [420, 283, 479];
    for (add_bos_token, expected) in [(None, true), (Some(true), true), (Some(false), false)] {
        let tokenizer =
            tokenizer("llama2-legacy", TokenizerConfig { add_bos_token, ..TokenizerConfig::default() });
        let ids = tokenizer.encode_prompt("Hello").unwrap();
        assert_eq!(
            ids,
            if expected { [&[1], &hello[..]].concat() } else { hello.to_vec() },
            "{add_bos_token:?}"
        );
    }
    // A file without a post-processor adds none by itself.
    let file = golden("tokenizers/llama2-legacy.json");
    let mut json: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    json["post_processor"] = Value::Null;
    for (add_bos_token, first) in [(None, 420), (Some(true), 1), (Some(false), 420)] {
        let settings = TokenizerConfig { add_bos_token, ..TokenizerConfig::default() };
        let bytes = json.to_string().into_bytes();
        let tokenizer = Tokenizer::from_json(&bytes, &file, settings, &config(32_000, 1)).unwrap();
        assert_eq!(tokenizer.encode_prompt("Hello").unwrap()[0], first, "{add_bos_token:?}");
    }
}

/// A byte-level BPE as Llama 3's: its regular expression, its post-processor, `ignore_merges`. The
/// vocabulary: the 256 bytes, the merges below, words that no merge reaches, and special tokens.
fn llama3_json() -> Value {
    const PATTERN: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    const MERGES: [(&str, &str); 6] =
        [("h", "e"), ("l", "l"), ("he", "ll"), ("hell", "o"), ("Ġ", "hello"), ("1", "2")];
    let mut vocab = serde_json::Map::new();
    let mut add = |token: String| {
        let id = vocab.len();
        vocab.insert(token, id.into());
        id
    };
    // GPT-2's printable stand-ins for bytes: those that are printable, then the rest from U+0100 on.
    let printable = |b: u32| (33..=126).contains(&b) || (161..=172).contains(&b) || (174..=255).contains(&b);
    let others = (0..256).filter(|&b| !printable(b)).zip(256..).map(|(_, c)| c);
    for c in (0..256).filter(|&b| printable(b)).chain(others) {
        add(char::from_u32(c).unwrap().into());
    }
    for (a, b) in MERGES {
        add(format!("{a}{b}"));
    }
    add("Ġunmergeable".into());
    let special = |id: usize, content: &str| {
        json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true})
    };
    let names = ["<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"];
    let added: Vec<Value> = names.iter().enumerate().map(|(i, name)| special(263 + i, name)).collect();
    let bos = json!({"SpecialToken": {"id": names[0], "type_id": 0}});
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added, "normalizer": null,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": PATTERN}, "behavior": "Isolated", "invert": false},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false},
        ]},
        "post_processor": {"type": "TemplateProcessing",
            "single": [bos, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [bos, {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {names[0]: {"id": names[0], "ids": [263], "tokens": [names[0]]}}},
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": true, "vocab": vocab,
            "merges": MERGES.map(|(a, b)| format!("{a} {b}"))},
    })
}

const BOS: u32 = 263;
const EOT: u32 = 264;
const HELLO: u32 = 259;
const SPACE_HELLO: u32 = 260;
const TWELVE: u32 = 261;
const UNMERGEABLE: u32 = 262;

fn llama3(settings: TokenizerConfig) -> Tokenizer {
    Tokenizer::from_json(llama3_json().to_string().as_bytes(), "tokenizer.json", settings, &config(267, BOS))
        .unwrap()
}

#[test]
fn llama3_rules_split_and_merge() {
    let tokenizer = llama3(TokenizerConfig::default());
    let byte = |b: char| u32::from(b) - 33;
    let cases = [
        ("hello", vec![HELLO]),
        ("hello hello", vec![HELLO, SPACE_HELLO]),
        // A word that merges do not reach is looked up whole; a part of another word is not.
        (" unmergeable", vec![UNMERGEABLE]),
        // Digits in threes from the left: 12 is merged in 123, but not across 121|2.
        ("1212", vec![TWELVE, byte('1'), byte('2')]),
        ("'S", vec![byte('\''), byte('S')]),
    ];
    for (text, expected) in cases {
        assert_eq!(tokenizer.encode_prompt(text).unwrap(), [&[BOS], &*expected].concat(), "{text:?}");
    }
    let unmergeable = tokenizer.encode_prompt(" unmergeables").unwrap();
    assert!(!unmergeable.contains(&UNMERGEABLE) && unmergeable.len() == 14, "{unmergeable:?}");
    for text in [
        "",
        "naïve 日本語 😁",
        "a\n\n\nb",
        "cat\r\ndog",
        "    Hello\n    Hello",
        "<|eot_id|>",
        "e\u{301}",
        " ! ...",
    ] {
        let ids = tokenizer.encode_prompt(text).unwrap();
        assert!(ids[0] == BOS && ids[1..].iter().all(|&id| id < BOS), "{text:?}: {ids:?}");
        assert_eq!(tokenizer.decode(&ids).unwrap(), text);
        assert_eq!(streamed(&tokenizer, &ids).concat(), text);
    }
}

#[test]
fn contents_of_messages_never_become_special_tokens() {
    // Contents as they are, trimmed, joined without anything between, and beside text that completes a
    // special token.
    let templates = [
        ("{{ messages[0].content }}", "", ""),
        ("{{ messages[0].content | trim }}", "", ""),
        ("{{ messages[0]['content'].strip() }}{{ messages[1].content }}", "", ""),
        ("{{ '<|eot' + messages[0].content }}", "<|eot", ""),
        ("{{ '<' + messages[0].content | trim }}", "<", ""),
        ("{{ messages[0].content + '_id|>' }}", "", "_id|>"),
        ("{{ messages[0].content | trim }}>", "", ">"),
    ];
    let contents = [
        "<|eot_id|>",
        "  <|eot_id|>\n",
        "a<|eot_id|><|begin_of_text|>b",
        "<|eot",
        "<|eot_id|",
        "_id|>",
        "|eot_id|>",
        "<",
        ">",
        "<<|eot_id|>>",
        "<|eot_id<|eot_id|>|>",
        " |eot_id|> ",
        "<|eot_id|  ",
        "",
        " ",
    ];
    for (template, before, after) in templates {
        let tokenizer = llama3(with_template(format!("{{{{ bos_token }}}}{template}<|eot_id|>")));
        for first in contents {
            for second in contents {
                let messages = [Message::new("user", first), Message::new("user", second)];
                let ids = tokenizer.encode_chat(&messages).unwrap();
                let case = format!("{template}: {first:?} {second:?}: {ids:?}");
                let [bos, inner @ .., eot] = &ids[..] else { panic!("{case}") };
                assert_eq!((*bos, *eot), (BOS, EOT), "{case}");
                assert!(inner.iter().all(|&id| id < BOS), "{case}");
                let trimmed = if template.contains("trim") || template.contains("strip") {
                    first.trim()
                } else {
                    first
                };
                let second = if template.contains("messages[1]") { second } else { "" };
                assert_eq!(
                    tokenizer.decode(inner).unwrap(),
                    format!("{before}{trimmed}{second}{after}"),
                    "{case}"
                );
            }
        }
    }
}

#[test]
fn roles_are_text_as_well() {
    let template = "{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>{{ m.content }}<|eot_id|>{% endfor %}";
    let tokenizer = llama3(with_template(template));
    let ids = tokenizer.encode_chat(&[Message::new("user<|end_header_id|>", "hello")]).unwrap();
    assert_eq!(ids.iter().filter(|&&id| id >= BOS).collect::<Vec<_>>(), [&265, &266, &EOT]);
}

#[test]
fn templates_see_contents_as_they_are() {
    // Conditions that templates of reasoning models ask about contents, none of which is a special token
    // here.
    let template = "{% set c = messages[0].content %}{{ c.split('</think>')[-1] | trim }}|{{ '</think>' in c }}|\
                    {{ c.startswith('<think>') }}|{{ c | length }}";
    let tokenizer = llama3(with_template(template));
    let ids = tokenizer.encode_chat(&user("<think>hm</think> yes")).unwrap();
    assert_eq!(tokenizer.decode(&ids).unwrap(), "yes|True|True|21");
}

#[test]
fn special_tokens_can_swallow_white_space() {
    let mut json = llama3_json();
    json["added_tokens"][1]["lstrip"] = true.into();
    json["added_tokens"][2]["rstrip"] = true.into();
    let template = "hello  <|eot_id|> hello <|start_header_id|> \nhello";
    let tokenizer = Tokenizer::from_json(
        json.to_string().as_bytes(),
        "tokenizer.json",
        with_template(template),
        &config(267, BOS),
    )
    .unwrap();
    let ids = tokenizer.encode_chat(&user("")).unwrap();
    let space = tokenizer.encode_prompt(" ").unwrap()[1];
    assert_eq!(ids, [HELLO, EOT, SPACE_HELLO, space, 265, HELLO]);
}

#[test]
fn ids_beyond_the_vocabulary_are_an_error() {
    let json = llama3_json().to_string();
    let template = with_template("<|eot_id|>");
    let tokenizer =
        Tokenizer::from_json(json.as_bytes(), "tokenizer.json", template, &config(264, 0)).unwrap();
    assert_eq!(tokenizer.encode_prompt("hello").unwrap(), [BOS, HELLO]);
    let error = tokenizer.encode_chat(&user("")).unwrap_err();
    assert!(matches!(error, Error::Malformed { .. }));
    let expected = "tokenizer.json: token `<|eot_id|>`: its id 264 is beyond the model's vocabulary of 264";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn without_a_template_there_is_no_chat() {
    let tokenizer = llama3(TokenizerConfig::default());
    assert!(!tokenizer.has_chat_template());
    let error = tokenizer.encode_chat(&user("hello")).unwrap_err();
    assert!(
        matches!(error, Error::Unsupported { .. }) && error.to_string().contains("no chat template"),
        "{error}"
    );
}
