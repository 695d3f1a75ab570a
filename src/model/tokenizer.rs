//! Text to tokens and back: `tokenizer.json` and the chat template of a model folder.
//!
//! The `tokenizers` crate does the work. Two things differ from Hugging Face transformers, on purpose: text
//! that only looks like a special token stays text, in prompts and in the contents of chat messages alike;
//! and an id that the model has no embedding for is an error.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::IgnoredAny;
use tokenizers::AddedToken;

use super::chat::{ChatOptions, ChatTemplate, Message, TokenizerConfig};
use super::config::Config;
use super::json::{clip, clip_message, parse, read_file};
use super::specials::{Special, Specials};
use crate::{Error, Result};

/// Larger than any: Llama 3's has 17 MB in its longest form.
const MAX_FILE_BYTES: u64 = 128 << 20;
/// Tokens of the prompt that a stream looks back at, enough for the bytes of a character.
const CONTEXT_TOKENS: usize = 6;
/// A character has at most 4 bytes, so that no more than 3 tokens wait for its end.
const MAX_PENDING: usize = 3;

/// A model's tokenizer and, where there is one, its chat template.
#[derive(Debug)]
pub struct Tokenizer {
    file: PathBuf,
    inner: tokenizers::Tokenizer,
    specials: Specials,
    boundary: u32,
    vocab_size: usize,
    bos: Option<u32>,
    add_bos: Option<bool>,
    chat: Option<ChatTemplate>,
}

/// The top level of `tokenizer.json`: what is compared with the library's reading, and keys that may not come
/// twice.
#[derive(Deserialize)]
struct Stored {
    #[serde(default)]
    added_tokens: Vec<StoredToken>,
    #[serde(rename = "model")]
    _model: IgnoredAny,
    #[serde(rename = "normalizer")]
    _normalizer: Option<IgnoredAny>,
    #[serde(rename = "pre_tokenizer")]
    _pre_tokenizer: Option<IgnoredAny>,
    #[serde(rename = "post_processor")]
    _post_processor: Option<IgnoredAny>,
    #[serde(rename = "decoder")]
    _decoder: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct StoredToken {
    id: u32,
    #[serde(flatten)]
    token: AddedToken,
}

impl Tokenizer {
    /// Reads `tokenizer.json`, `tokenizer_config.json` and `chat_template.jinja` of a model folder; all but
    /// the first may be missing.
    pub fn load(dir: impl AsRef<Path>, config: &Config) -> Result<Self> {
        let dir = dir.as_ref();
        let file = dir.join("tokenizer.json");
        let settings = TokenizerConfig::load(dir)?;
        Tokenizer::from_json(&read_file(&file, MAX_FILE_BYTES)?, file, settings, config)
    }

    /// Reads a `tokenizer.json` that is in memory already; `file` is for errors.
    pub fn from_json(
        bytes: &[u8],
        file: impl Into<PathBuf>,
        settings: TokenizerConfig,
        config: &Config,
    ) -> Result<Self> {
        let file = file.into();
        let stored: Stored = parse(bytes, &file, "JSON")?;
        let mut inner = guarded(&file, "JSON", || tokenizers::Tokenizer::from_bytes(bytes))?;
        for StoredToken { id, token } in &stored.added_tokens {
            if inner.token_to_id(&token.content) != Some(*id) {
                let problem = format!("its id {id} is not the one that its place in the vocabulary gives");
                return Err(Error::malformed(
                    &file,
                    format!("added token `{}`", clip(&token.content)),
                    problem,
                ));
            }
        }
        let specials = Specials::new(stored.added_tokens.into_iter().filter(|t| t.token.special).map(
            |StoredToken { id, token }| Special {
                text: token.content,
                id,
                lstrip: token.lstrip,
                rstrip: token.rstrip,
            },
        ));
        guarded(&file, "settings", || {
            inner.with_truncation(None)?;
            inner.with_padding(None);
            inner.set_encode_special_tokens(true);
            Ok(())
        })?;
        let boundary = add_boundary(&mut inner, specials.boundary(), &file)?;

        let mut texts = settings.specials;
        let text_of = |id: Option<u32>| id.and_then(|id| inner.id_to_token(id));
        texts.bos_token = texts.bos_token.or_else(|| text_of(config.bos_token_id));
        texts.eos_token = texts.eos_token.or_else(|| text_of(config.eos_token_ids.first().copied()));
        let bos = texts.bos_token.as_deref().and_then(|text| inner.token_to_id(text)).or(config.bos_token_id);
        let chat = settings.chat_template.map(|source| ChatTemplate::new(&source, texts)).transpose()?;
        let (vocab_size, add_bos) = (config.vocab_size, settings.add_bos_token);
        Ok(Tokenizer { file, inner, specials, boundary, vocab_size, bos, add_bos, chat })
    }

    /// Whether the model comes with a chat template.
    pub fn has_chat_template(&self) -> bool {
        self.chat.is_some()
    }

    /// The tokens of a raw prompt, with BOS where the model's texts start with it. All of `text` is text:
    /// `<|eot_id|>` in it is some characters and not a token.
    pub fn encode_prompt(&self, text: &str) -> Result<Vec<u32>> {
        let mut ids = self.encode(text, true)?;
        // What the file says explicitly has precedence over its post-processor, as in transformers.
        if let (Some(add), Some(bos)) = (self.add_bos, self.bos) {
            match (add, ids.first() == Some(&bos)) {
                (true, false) => ids.insert(0, bos),
                (false, true) => drop(ids.remove(0)),
                _ => {}
            }
        }
        self.check_ids(ids)
    }

    /// The tokens of a conversation, rendered by the model's chat template up to the beginning of the next
    /// answer.
    pub fn encode_chat(&self, messages: &[Message]) -> Result<Vec<u32>> {
        self.encode_chat_with(messages, &ChatOptions::default())
    }

    /// As [`Tokenizer::encode_chat`], with options. What looks like a special token in a role or content is
    /// text, also where it becomes one only beside the template's own text.
    pub fn encode_chat_with(&self, messages: &[Message], options: &ChatOptions) -> Result<Vec<u32>> {
        let Some(template) = &self.chat else {
            return Err(Error::unsupported(
                "a conversation",
                "the model has no chat template; give it a plain prompt",
            ));
        };
        let mask = |message: &Message| {
            Message::new(self.specials.mask(&message.role), self.specials.mask(&message.content))
        };
        let masked: Vec<Message> = messages.iter().map(mask).collect();
        let (text, specials) = self.specials.split(&template.render(&masked, options)?);
        let mut ids = self.encode(&text, false)?;
        let mut specials = specials.into_iter();
        for id in ids.iter_mut().filter(|id| **id == self.boundary) {
            *id = specials.next().ok_or_else(|| self.wrong("added tokens", "one was found where none is"))?;
        }
        if specials.next().is_some() {
            return Err(self.wrong("added tokens", "one was not found"));
        }
        self.check_ids(ids)
    }

    /// The text of tokens, without the special ones.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        guarded(&self.file, "decoder", || self.inner.decode(ids, true))
    }

    /// Decodes tokens one by one that follow upon `context`.
    pub fn decode_stream(&self, context: &[u32]) -> DecodeStream<'_> {
        let window = context[context.len().saturating_sub(CONTEXT_TOKENS)..].to_vec();
        DecodeStream { tokenizer: self, shown: window.len(), window, shown_text: None }
    }

    fn encode(&self, text: &str, with_bos: bool) -> Result<Vec<u32>> {
        let encoding = guarded(&self.file, "encoder", || self.inner.encode_fast(text, with_bos))?;
        Ok(encoding.get_ids().to_vec())
    }

    fn check_ids(&self, ids: Vec<u32>) -> Result<Vec<u32>> {
        match ids.iter().find(|&&id| id as usize >= self.vocab_size) {
            None => Ok(ids),
            Some(&id) => {
                let token = self.inner.id_to_token(id).unwrap_or_default();
                let problem = format!("its id {id} is beyond the model's vocabulary of {}", self.vocab_size);
                Err(self.wrong(&format!("token `{}`", clip(&token)), problem))
            }
        }
    }

    fn wrong(&self, what: &str, problem: impl Into<String>) -> Error {
        Error::malformed(&self.file, what, problem)
    }
}

/// Decodes a growing text. What is shown is final: bytes of a character are held back until it is whole, and
/// white space at the seam of two tokens is that of the whole text.
///
/// The pieces together are what [`Tokenizer::decode`] gives, except for bytes that are not UTF-8, which it
/// may replace in other places.
#[derive(Debug)]
pub struct DecodeStream<'a> {
    tokenizer: &'a Tokenizer,
    /// The tokens of the last piece, then those that are held back. A decoder treats the first token of a
    /// text in its own way, so that a piece is the difference of two texts.
    window: Vec<u32>,
    /// How many tokens of the window have been shown.
    shown: usize,
    /// Their text, once it is known.
    shown_text: Option<String>,
}

impl DecodeStream<'_> {
    /// Takes the next token; returns the text that became certain, often none.
    pub fn push(&mut self, id: u32) -> Result<String> {
        self.window.push(id);
        self.advance(false)
    }

    /// The text that was held back, at the end.
    pub fn finish(mut self) -> Result<String> {
        self.advance(true)
    }

    fn advance(&mut self, last: bool) -> Result<String> {
        let shown_text = match self.shown_text.take() {
            Some(text) => text,
            None => self.tokenizer.decode(&self.window[..self.shown])?,
        };
        let mut text = self.tokenizer.decode(&self.window)?;
        let pending = self.window.len() - self.shown;
        let certain = match text.ends_with(char::REPLACEMENT_CHARACTER) && !last {
            true => pending.saturating_sub(MAX_PENDING),
            false => pending,
        };
        if certain < pending {
            text = self.tokenizer.decode(&self.window[..self.shown + certain])?;
        }
        // Special tokens have no text; they wait for the next one that has.
        if text.len() <= shown_text.len() {
            self.shown_text = Some(shown_text);
            return Ok(String::new());
        }
        let piece = text.get(shown_text.len()..).unwrap_or_default().to_owned();
        self.window.drain(..self.shown);
        self.shown = certain;
        Ok(piece)
    }
}

/// Adds the boundary token under an id that no other token has.
fn add_boundary(inner: &mut tokenizers::Tokenizer, text: &str, file: &Path) -> Result<u32> {
    let taken = || Error::malformed(file, "vocabulary", "its ids leave no place for one more token");
    // The id that the library will choose: it counts tokens, so that a vocabulary with holes may hold it
    // already.
    let size = inner.get_vocab_size(false) as u64;
    let last_added = inner.get_added_tokens_decoder().into_keys().max();
    let id = last_added.map_or(size, |last| size.max(u64::from(last) + 1));
    let id = u32::try_from(id).map_err(|_| taken())?;
    if inner.id_to_token(id).is_some() {
        return Err(taken());
    }
    guarded(file, "added tokens", || {
        Ok(inner.add_tokens(&[AddedToken::from(text, false).normalized(false)]))
    })?;
    if inner.token_to_id(text) == Some(id) { Ok(id) } else { Err(taken()) }
}

/// Runs `work` of the `tokenizers` crate, which panics on some files.
fn guarded<T>(file: &Path, what: &str, work: impl FnOnce() -> tokenizers::Result<T>) -> Result<T> {
    let problem = match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(e)) => clip_message(&e.to_string()),
        Err(_) => "the tokenizers library failed on it".to_owned(),
    };
    Err(Error::malformed(file, what, problem))
}
