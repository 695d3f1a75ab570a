//! Chat templates: the published formats as golden strings, what Hugging Face's environment adds to Jinja,
//! and bounds.

use std::time::{Duration, Instant, SystemTime};

use llama_kernels::Error;
use llama_kernels::model::chat::{ChatOptions, ChatTemplate, Message, SpecialTexts, TokenizerConfig};

use crate::readers::folder::Folder;

fn llama2_tokens() -> SpecialTexts {
    SpecialTexts { bos_token: Some("<s>".into()), eos_token: Some("</s>".into()) }
}

fn llama3_tokens() -> SpecialTexts {
    SpecialTexts { bos_token: Some("<|begin_of_text|>".into()), eos_token: Some("<|eot_id|>".into()) }
}

/// 2024-07-26 23:59:59 UTC.
fn fixed() -> ChatOptions {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_722_038_399);
    ChatOptions { now: Some(now), ..ChatOptions::default() }
}

fn conversation(turns: &[(&str, &str)]) -> Vec<Message> {
    turns.iter().map(|&(role, content)| Message::new(role, content)).collect()
}

/// Renders with Llama 3's tokens.
fn render(source: &str, turns: &[(&str, &str)]) -> Result<String, Error> {
    ChatTemplate::new(source, llama3_tokens())?.render(&conversation(turns), &fixed())
}

/// The formats of the family, with the constructs of the templates that are in use. They are seeds of the
/// fuzz target as well.
const LLAMA2: &str = include_str!("../../fuzz/seeds/chat_template/llama2.jinja");
const LLAMA3: &str = include_str!("../../fuzz/seeds/chat_template/llama3.jinja");
const LLAMA31: &str = include_str!("../../fuzz/seeds/chat_template/llama31.jinja");

#[test]
fn llama2_format() {
    let template = ChatTemplate::new(LLAMA2, llama2_tokens()).unwrap();
    let turns = [("system", "Be brief."), ("user", " Hi "), ("assistant", "Hello\n"), ("user", "Bye")];
    let text = template.render(&conversation(&turns), &fixed()).unwrap();
    let expected = "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHi [/INST] Hello </s><s>[INST] Bye [/INST]";
    assert_eq!(text, expected);
    let text = template.render(&conversation(&turns[1..2]), &fixed()).unwrap();
    assert_eq!(text, "<s>[INST] Hi [/INST]");
    let error = template.render(&conversation(&[("user", "a"), ("user", "b")]), &fixed()).unwrap_err();
    assert!(matches!(error, Error::Argument { op: "chat_template", arg: "messages", .. }), "{error:?}");
    assert!(error.to_string().ends_with("got Roles must alternate user/assistant/user/assistant"), "{error}");
}

#[test]
fn llama3_format() {
    let turns = [("system", "Be brief.\n"), ("user", " Hi"), ("assistant", "Hello"), ("user", "Bye")];
    let expected = "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>\
        <|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>\
        <|start_header_id|>assistant<|end_header_id|>\n\nHello<|eot_id|>\
        <|start_header_id|>user<|end_header_id|>\n\nBye<|eot_id|>";
    let answer = "<|start_header_id|>assistant<|end_header_id|>\n\n";
    assert_eq!(render(LLAMA3, &turns).unwrap(), format!("{expected}{answer}"));
    let template = ChatTemplate::new(LLAMA3, llama3_tokens()).unwrap();
    let closed = ChatOptions { add_generation_prompt: false, ..fixed() };
    assert_eq!(template.render(&conversation(&turns), &closed).unwrap(), expected);
}

#[test]
fn llama31_format() {
    let expected = |system: &str| {
        format!(
            "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December 2023\n\
             Today Date: 26 Jul 2024\n\n{system}<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
        )
    };
    let answer = "<|start_header_id|>assistant<|end_header_id|>\n\n";
    let text = render(LLAMA31, &[("system", " Be brief. "), ("user", "Hi")]).unwrap();
    assert_eq!(text, expected("Be brief.") + answer);
    let text = render(LLAMA31, &[("user", "Hi"), ("tool", "7 < 9")]).unwrap();
    let tool = "<|start_header_id|>ipython<|end_header_id|>\n\n7 < 9<|eot_id|>";
    assert_eq!(text, expected("") + tool + answer);
}

#[test]
fn the_date_is_todays_without_options() {
    let template = ChatTemplate::new("{{ strftime_now('%Y') }}", SpecialTexts::default()).unwrap();
    let text = template.render(&[], &ChatOptions::default()).unwrap();
    let seconds = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let year: u64 = text.parse().unwrap();
    assert!((1970 + seconds / 31_557_600).abs_diff(year) <= 1, "{text}");
}

#[test]
fn the_environment_is_that_of_hugging_face() {
    let cases = [
        // Blocks take the line that they stand on with them.
        ("a\n  {% if true %}\nb\n  {% endif %}\nc", "a\nb\nc"),
        (
            "{% for m in messages %}{% if loop.index > 1 %}{% break %}{% endif %}{{ m.role }}{% endfor %}",
            "user",
        ),
        (
            "{% for m in messages %}{% if m.role == 'user' %}{% continue %}{% endif %}{{ m.role }}{% endfor %}",
            "assistant",
        ),
        (
            "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}",
            "2",
        ),
        // What marks an assistant's words for training leaves no trace.
        ("a {% generation %}b{% endgeneration %} c", "a b c"),
        ("a {%- generation -%} b {%- endgeneration -%} c", "abc"),
        ("a\n{% generation %}\nb\n{% endgeneration %}\nc", "a\nb\nc"),
        ("{%+ generation +%} b{% endgeneration %}", " b"),
        ("{% raw %}{% if %}{% endraw %}{# {% generation %} #}", "{% if %}"),
        // Python's JSON: spaces, nothing escaped for HTML.
        ("{{ {'b': [1, 'é<'], 'a': none} | tojson }}", r#"{"b": [1, "é<"], "a": null}"#),
        ("{{ {'b': [1, true]} | tojson(indent=2) }}", "{\n  \"b\": [\n    1,\n    true\n  ]\n}"),
        ("{{ ' x '.strip() + 'A'.lower() + 'a,b'.split(',')[1] }}", "xab"),
        ("{{ messages[0].get('name', 'nobody') }}", "nobody"),
        ("{{ messages[-1]['content'].startswith('He') and messages | length == 2 }}", "True"),
        ("{{ tools is none and documents is none and undefined_name is not defined }}", "True"),
        ("{{ strftime_now('%Y-%m-%d %H:%M:%S') }}", "2024-07-26 23:59:59"),
        ("{{ bos_token }}{{ eos_token }}", "<|begin_of_text|><|eot_id|>"),
        ("<b>{{ '<&>' }}", "<b><&>"),
    ];
    for (source, expected) in cases {
        let text = render(source, &[("user", "Hi"), ("assistant", "Hello")]);
        assert_eq!(text.unwrap_or_else(|e| panic!("{source}: {e}")), expected, "{source}");
    }
}

#[test]
fn broken_templates_are_errors() {
    for (source, expected) in [
        ("{% if %}", "syntax error"),
        ("{{ 1", "syntax error"),
        ("{% generation %}", "syntax error"),
        (&*"{{ [".repeat(1000), "recursion"),
    ] {
        let error = ChatTemplate::new(source, SpecialTexts::default()).unwrap_err();
        assert!(matches!(error, Error::Argument { op: "chat_template", arg: "source", .. }), "{error:?}");
        assert!(error.to_string().contains(expected), "{error}");
    }
    for (source, expected) in [
        ("{{ nowhere.x }}", "undefined"),
        ("{{ no_function() }}", "unknown function"),
        ("{% include 'config.json' %}", "template not found"),
        ("{{ strftime_now('%') }}", "strftime_now"),
        ("{{ raise_exception('no\u{1b}[31m red') }}", r"no\u{1b}[31m red"),
        ("{{ messages[0].content.no_method() }}", "unknown method"),
        // minijinja 3.0.5 panics on it.
        ("{{ [][::-1] }}", "the template's interpreter failed"),
    ] {
        let error = render(source, &[("user", "Hi")]).unwrap_err();
        assert!(matches!(error, Error::Argument { op: "chat_template", arg: "messages", .. }), "{error:?}");
        assert!(error.to_string().contains(expected), "{source}: {error}");
    }
}

#[test]
fn rendering_is_bounded() {
    let endless = "{% for a in range(10000) %}{% for b in range(10000) %}{% endfor %}{% endfor %}";
    let recursive = "{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}";
    let long = "{% set x = 'x' * 50000000 %}{{ x }}{{ x }}{{ x }}";
    let deep = "{% set ns = namespace(x=[]) %}{% for i in range(20000) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x | tojson | length }}";
    for (source, expected) in [
        (endless, Err("fuel")),
        (recursive, Err("recursion")),
        (long, Err("the text exceeds")),
        ("{{ ' ' * 1000000000 }}", Err("")),
        // Values nest as deep as a template likes: they are walked on a stack that is large enough.
        (deep, Err("fuel")),
        (&*deep.replace("20000", "8000"), Ok("16002")),
    ] {
        let start = Instant::now();
        let result = render(source, &[("user", "Hi")]);
        match expected {
            Ok(text) => assert_eq!(result.unwrap(), text, "{source}"),
            Err(part) => {
                let error = result.map(|text| text.len()).unwrap_err().to_string();
                assert!(error.contains(part), "{source}: {error}");
            }
        }
        assert!(start.elapsed() < Duration::from_secs(10), "{source}: {:?}", start.elapsed());
    }
}

#[test]
fn tokenizer_config_is_read_in_all_its_forms() {
    let read =
        |json: &str| TokenizerConfig::from_json(json.as_bytes(), "tokenizer_config.json".as_ref()).unwrap();
    assert_eq!(read("{}"), TokenizerConfig::default());
    let strings =
        read(r#"{"bos_token": "<s>", "eos_token": "</s>", "add_bos_token": true, "chat_template": "x"}"#);
    assert_eq!(strings.specials, llama2_tokens());
    assert_eq!((strings.add_bos_token, strings.chat_template.as_deref()), (Some(true), Some("x")));
    let objects = read(
        r#"{"bos_token": {"__type": "AddedToken", "content": "<s>", "lstrip": false}, "eos_token": {"content": "</s>"},
        "chat_template": [{"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}],
        "add_bos_token": null, "pad_token": null}"#,
    );
    assert_eq!(objects.specials, llama2_tokens());
    assert_eq!((objects.add_bos_token, objects.chat_template.as_deref()), (None, Some("d")));
}

#[test]
fn the_template_file_has_precedence() {
    let folder = Folder::new();
    assert_eq!(TokenizerConfig::load(folder.path()).unwrap(), TokenizerConfig::default());
    folder.write("tokenizer_config.json", r#"{"chat_template": "from the configuration"}"#);
    let template = || TokenizerConfig::load(folder.path()).unwrap().chat_template.unwrap();
    assert_eq!(template(), "from the configuration");
    folder.write("chat_template.jinja", "from the file");
    assert_eq!(template(), "from the file");
}
