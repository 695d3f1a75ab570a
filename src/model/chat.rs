//! Chat templates: the Jinja programs that turn a conversation into the text a model was trained on.
//!
//! A template comes with a model and is as trustworthy as it. Rendering is bounded in steps, output and
//! depth, reaches no file and survives a panic of the interpreter. What one step may cost is not bounded,
//! because the interpreter offers no way to: a template that means harm can build long strings until the
//! memory is used up.

mod environment;

use std::path::Path;
use std::time::SystemTime;

use minijinja::value::Serde;
use minijinja::{Environment, Value, context};
use serde::Serialize;
use serde_json::Value as Json;

use self::environment::{Bounded, Raised, new_environment};
use super::json::{clip_message, kind, parse_object, read_file_if_present};
use crate::{Error, Result};

/// Larger than any template, and than any `tokenizer_config.json`, whose bulk is Llama 3's list of 256
/// reserved tokens.
const MAX_TEMPLATE_BYTES: u64 = 1 << 20;
const MAX_CONFIG_BYTES: u64 = 8 << 20;
/// Instructions that a rendering may take: Llama 3.1's template needs about 200, and 60 a message.
const FUEL: u64 = 100_000;
const FUEL_PER_MESSAGE: u64 = 500;
const MAX_FUEL: u64 = 1_000_000;
/// Values may nest as deep as there is fuel to nest them, and are walked recursively.
const STACK_BYTES: usize = 256 << 20;

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Message {
    /// Who speaks: `system`, `user`, `assistant`; Llama 3.1 knows `ipython` and `tool` as well.
    pub role: String,
    /// What is said.
    pub content: String,
}

impl Message {
    /// A message of `role`.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Message { role: role.into(), content: content.into() }
    }
}

/// What a rendering depends on beside the messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatOptions {
    /// Whether to open an answer of the assistant at the end.
    pub add_generation_prompt: bool,
    /// The time that the template's `strftime_now` shows, in UTC; `None` is now, in local time. (Llama 3.1 is
    /// told the date.)
    pub now: Option<SystemTime>,
}

impl Default for ChatOptions {
    fn default() -> Self {
        ChatOptions { add_generation_prompt: true, now: None }
    }
}

/// The texts of the special tokens that templates mention, as `tokenizer_config.json` gives them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpecialTexts {
    /// The token that starts a text.
    pub bos_token: Option<String>,
    /// The token that ends it.
    pub eos_token: Option<String>,
}

/// The part of `tokenizer_config.json` that matters here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenizerConfig {
    /// Special tokens.
    pub specials: SpecialTexts,
    /// Whether a text starts with BOS, where the file says so.
    pub add_bos_token: Option<bool>,
    /// The default chat template.
    pub chat_template: Option<String>,
}

impl TokenizerConfig {
    /// Reads `tokenizer_config.json` of a model folder and, where there is one, `chat_template.jinja`, which
    /// has precedence. Both may be missing.
    pub fn load(dir: &Path) -> Result<Self> {
        let file = dir.join("tokenizer_config.json");
        let mut config = match read_file_if_present(&file, MAX_CONFIG_BYTES)? {
            Some(bytes) => TokenizerConfig::from_json(&bytes, &file)?,
            None => TokenizerConfig::default(),
        };
        let file = dir.join("chat_template.jinja");
        if let Some(bytes) = read_file_if_present(&file, MAX_TEMPLATE_BYTES)? {
            let template = String::from_utf8(bytes)
                .map_err(|e| Error::malformed(&file, "template", format!("not UTF-8: {e}")))?;
            config.chat_template = Some(template);
        }
        Ok(config)
    }

    /// Reads a `tokenizer_config.json` that is in memory already; `file` is for errors.
    pub fn from_json(bytes: &[u8], file: &Path) -> Result<Self> {
        let map = parse_object(bytes, file)?;
        let get = |key: &str| map.get(key).filter(|value| !value.is_null());
        let expected = |key: &str, expected: &str, given: &Json| {
            Error::malformed(file, key, format!("expected {expected}, got {}", kind(given)))
        };
        let token = |key: &str| match get(key) {
            None => Ok(None),
            Some(Json::String(text)) => Ok(Some(text.clone())),
            // An AddedToken.
            Some(value) => match value.get("content") {
                Some(Json::String(text)) => Ok(Some(text.clone())),
                _ => Err(expected(key, "a string or an object with `content`", value)),
            },
        };
        let add_bos_token = get("add_bos_token")
            .map(|value| value.as_bool().ok_or_else(|| expected("add_bos_token", "true or false", value)))
            .transpose()?;
        let chat_template = match get("chat_template") {
            None => None,
            Some(Json::String(template)) => Some(template.clone()),
            Some(Json::Array(named)) => {
                let default = named.iter().find(|t| t.get("name").is_some_and(|name| name == "default"));
                let template = default.and_then(|t| t.get("template")).and_then(Json::as_str);
                Some(template.map(str::to_owned).ok_or_else(|| {
                    Error::malformed(file, "chat_template", "no template by the name `default` in the list")
                })?)
            }
            Some(other) => {
                return Err(expected("chat_template", "a string or a list of named templates", other));
            }
        };
        let specials = SpecialTexts { bos_token: token("bos_token")?, eos_token: token("eos_token")? };
        Ok(TokenizerConfig { specials, add_bos_token, chat_template })
    }
}

/// A compiled chat template.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    specials: SpecialTexts,
}

/// The name of the one template of an environment. Without a file extension nothing is escaped in it.
const TEMPLATE: &str = "chat_template";

impl ChatTemplate {
    /// Compiles a template. [`Error::Argument`] says where it is not Jinja.
    pub fn new(source: &str, specials: SpecialTexts) -> Result<Self> {
        let mut environment = new_environment();
        environment
            .add_template_owned(TEMPLATE, environment::without_generation_tags(source))
            .map_err(|e| Error::argument("chat_template", "source", "a Jinja template", describe(&e)))?;
        Ok(ChatTemplate { environment, specials })
    }

    /// The text of a conversation, special tokens and BOS included. [`Error::Argument`] is what the template
    /// has against the messages, or the bound that it exceeded.
    pub fn render(&self, messages: &[Message], options: &ChatOptions) -> Result<String> {
        let mut environment = self.environment.clone();
        let fuel = FUEL.saturating_add(FUEL_PER_MESSAGE.saturating_mul(messages.len() as u64));
        environment.set_fuel(Some(fuel.min(MAX_FUEL)));
        environment::add_clock(&mut environment, options.now);
        let context = context! {
            messages => Serde(messages),
            add_generation_prompt => options.add_generation_prompt,
            bos_token => self.specials.bos_token.as_deref().unwrap_or_default(),
            eos_token => self.specials.eos_token.as_deref().unwrap_or_default(),
            // As transformers passes them: defined, but none.
            tools => Value::from(()),
            documents => Value::from(()),
        };
        on_large_stack(move || {
            let mut output = Bounded::default();
            let template = environment.get_template(TEMPLATE);
            template
                .and_then(|template| template.render_captured_to(context, &mut output).map(drop))
                .map_err(|e| {
                    match std::error::Error::source(&e).and_then(|source| source.downcast_ref::<Raised>()) {
                        Some(Raised(message)) => refused(shown(message)),
                        None => refused(describe(&e)),
                    }
                })?;
            String::from_utf8(output.bytes).map_err(|e| refused(e.to_string()))
        })
    }
}

fn refused(reason: String) -> Error {
    Error::argument(
        "chat_template",
        "messages",
        "a conversation that the model's chat template takes",
        reason,
    )
}

fn describe(error: &minijinja::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => shown(&format!("{error}: {source}")),
        None => shown(&error.to_string()),
    }
}

/// Text for a message: without noncharacters, with which the tokenizer marks contents.
fn shown(text: &str) -> String {
    clip_message(&text.replace(|c| ('\u{FDD0}'..='\u{FDEF}').contains(&c), ""))
}

/// Runs `work` on a thread of its own, with [`STACK_BYTES`] of stack, and turns a panic into an error.
fn on_large_stack<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().name("chat-template".into()).stack_size(STACK_BYTES);
        match builder.spawn_scoped(scope, work) {
            Ok(thread) => {
                thread.join().unwrap_or_else(|_| Err(refused("the template's interpreter failed".into())))
            }
            Err(e) => Err(Error::unsupported("rendering a chat template", format!("no thread for it: {e}"))),
        }
    })
}
