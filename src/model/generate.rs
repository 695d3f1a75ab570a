//! Generation: a conversation with one sequence of a model.
//!
//! A [`Session`] remembers which tokens the cache holds, so that a prompt that continues an earlier one computes only what
//! is new.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use crate::backend::Backend;
use crate::model::batch::{Logits, SequenceInput};
use crate::model::forward::Model;
use crate::model::kv_cache::SequenceId;
use crate::model::sampling::SamplingOptions;
use crate::model::stop::StopMatcher;
use crate::model::tokenizer::Tokenizer;
use crate::{Error, Result};

/// What to generate.
#[derive(Clone, Debug)]
pub struct GenerationOptions {
    /// The most tokens to generate.
    pub max_tokens: usize,
    /// How each is chosen.
    pub sampling: SamplingOptions,
    /// Tokens that end the text; they are not part of it.
    pub stop_tokens: Vec<u32>,
    /// Strings that end the text; they are not part of it.
    pub stop_strings: Vec<String>,
}

/// Why a text ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FinishReason {
    /// A stop token or a stop string.
    Stop,
    /// `max_tokens`, or the end of the model's context or cache.
    Length,
    /// The caller wanted no more.
    Cancelled,
}

impl std::fmt::Display for FinishReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            FinishReason::Stop => "stop",
            FinishReason::Length => "length",
            FinishReason::Cancelled => "cancelled",
        })
    }
}

/// A generated text, and what it took.
#[derive(Clone, Debug)]
pub struct Generation {
    /// The text that was streamed.
    pub text: String,
    /// The generated tokens; a stop token stands last.
    pub tokens: Vec<u32>,
    /// Why it ended.
    pub finish_reason: FinishReason,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Those that the cache already held.
    pub cached_tokens: usize,
    /// From the start to the logits of the prompt's last token.
    pub prompt_time: Duration,
    /// From there to the end.
    pub decode_time: Duration,
}

/// One sequence of a model and the tokens that its cache holds.
pub struct Session {
    sequence: SequenceId,
    tokens: Vec<u32>,
}

impl Session {
    /// A new sequence of `model`.
    pub fn new<B: Backend>(model: &mut Model<B>) -> Result<Self> {
        Ok(Session { sequence: model.add_sequence()?, tokens: Vec::new() })
    }

    /// Ends the sequence and frees its pages.
    pub fn end<B: Backend>(self, model: &mut Model<B>) -> Result<()> {
        model.remove_sequence(self.sequence)
    }

    /// Computes `prompt` (as far as the cache does not hold it) and generates. `on_text` is given each piece of text as soon
    /// as it is certain (none between the chunks of a long prompt), and says whether to go on.
    pub fn generate<B: Backend>(
        &mut self,
        model: &mut Model<B>,
        tokenizer: &Tokenizer,
        prompt: &[u32],
        options: &GenerationOptions,
        on_text: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<Generation> {
        options.sampling.check()?;
        if prompt.is_empty() {
            return Err(Error::argument("generate", "prompt", "at least 1 token", 0));
        }
        let start = Instant::now();
        let (cached_tokens, flow) = self.prefill(model, prompt, on_text)?;
        if options.sampling.repetition_penalty != 1.0 {
            model.set_seen(self.sequence, prompt)?;
        }
        model.synchronize()?;
        let prompt_time = start.elapsed();

        let capacity = model.cache().num_pages() * model.cache().page_size();
        let room = model.config().context.min(capacity) - prompt.len();
        let mut stream = tokenizer.decode_stream(prompt);
        let mut stops = StopMatcher::new(&options.stop_strings);
        let mut tokens = Vec::new();
        let mut text = String::new();
        let mut emit = |piece: String| {
            let flow = if piece.is_empty() { ControlFlow::Continue(()) } else { on_text(&piece) };
            text.push_str(&piece);
            flow
        };
        // Whether the end came from elsewhere than the text, so that what is held back still belongs to it.
        let mut flush = false;
        let finish_reason = loop {
            if flow.is_break() {
                break FinishReason::Cancelled;
            }
            if tokens.len() == options.max_tokens {
                break FinishReason::Length;
            }
            let position = prompt.len() + tokens.len();
            let row = options.sampling.row(0, position, self.sequence.slot())?;
            let token = model.sample(&[row])?[0];
            tokens.push(token);
            if options.stop_tokens.contains(&token) {
                flush = true;
                break FinishReason::Stop;
            }
            let passed = stops.push(&stream.push(token)?);
            let flow = emit(passed.text);
            if passed.stopped {
                break FinishReason::Stop;
            }
            if flow.is_break() {
                break FinishReason::Cancelled;
            }
            // The last token needs no logits after it, and has no room for them where the context ends.
            if tokens.len() == options.max_tokens || tokens.len() > room {
                flush = true;
                break FinishReason::Length;
            }
            self.advance(model, &[token], Logits::Last)?;
        };
        if flush {
            let passed = stops.push(&stream.finish()?);
            // The text ends here whatever the caller says to its last piece.
            let _ = emit(passed.text + &stops.finish());
        }
        Ok(Generation {
            text,
            tokens,
            finish_reason,
            prompt_tokens: prompt.len(),
            cached_tokens,
            prompt_time,
            decode_time: start.elapsed() - prompt_time,
        })
    }

    /// Brings the cache to exactly `prompt`, in chunks, with the logits of its last token. Returns how many tokens it
    /// held already, and whether to go on.
    fn prefill<B: Backend>(
        &mut self,
        model: &mut Model<B>,
        prompt: &[u32],
        on_text: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<(usize, ControlFlow<()>)> {
        let context = model.config().context;
        if prompt.len() > context {
            return Err(Error::ContextTooLong { tokens: prompt.len(), context });
        }
        let common = self.tokens.iter().zip(prompt).take_while(|(a, b)| a == b).count();
        // Where frequencies depend on the length, keys of an earlier length are not those of this prompt.
        let cached = if model.config().rope.depends_on_length() { 0 } else { common.min(prompt.len() - 1) };
        model.truncate_sequence(self.sequence, cached)?;
        self.tokens.truncate(cached);
        let mut chunks = prompt[cached..].chunks(model.max_tokens()).peekable();
        while let Some(chunk) = chunks.next() {
            let last = chunks.peek().is_none();
            self.advance(model, chunk, if last { Logits::Last } else { Logits::None })?;
            if !last && on_text("").is_break() {
                return Ok((cached, ControlFlow::Break(())));
            }
        }
        Ok((cached, ControlFlow::Continue(())))
    }

    fn advance<B: Backend>(&mut self, model: &mut Model<B>, tokens: &[u32], logits: Logits) -> Result<()> {
        model.forward(&[SequenceInput { sequence: self.sequence, tokens, logits }])?;
        self.tokens.extend_from_slice(tokens);
        Ok(())
    }
}
