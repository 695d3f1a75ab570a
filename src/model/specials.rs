//! Special tokens in text that is half template and half what somebody typed.
//!
//! A chat template writes special tokens as text, between contents that may hold the same text. To keep the
//! two apart:
//! 1. [`Specials::mask`] puts a mark that nobody can guess before every special string in a content,
//! 2. the template is rendered,
//! 3. [`Specials::split`] replaces the special strings without a mark, which the template wrote, by a
//!    boundary token, and removes the marks,
//! 4. the text is encoded with special tokens off, and the boundary tokens become the special tokens they
//!    stand for.
//!
//! A mark is not white space and stands only where a special string may begin or end: templates can trim,
//! compare, split and join contents as ever. One pass encodes everything, so that a tokenizer sees the same
//! pieces as if it had found the tokens itself.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

/// One special token.
#[derive(Clone, Debug)]
pub(super) struct Special {
    pub text: String,
    pub id: u32,
    /// The token swallows white space to its left.
    pub lstrip: bool,
    /// The token swallows white space to its right.
    pub rstrip: bool,
}

/// The special tokens of a tokenizer.
#[derive(Debug)]
pub(super) struct Specials {
    /// By first byte, longest first: of two that match, the longer one is meant.
    by_first_byte: HashMap<u8, Vec<Special>>,
    mark: String,
    boundary: String,
}

impl Specials {
    pub fn new(specials: impl IntoIterator<Item = Special>) -> Self {
        let mut by_first_byte: HashMap<u8, Vec<Special>> = HashMap::new();
        for special in specials {
            if let Some(&first) = special.text.as_bytes().first() {
                by_first_byte.entry(first).or_default().push(special);
            }
        }
        for specials in by_first_byte.values_mut() {
            specials.sort_by_key(|special| std::cmp::Reverse(special.text.len()));
        }
        Specials { by_first_byte, mark: unguessable(), boundary: unguessable() }
    }

    /// The text that stands for a special token in what [`Specials::split`] returns.
    pub fn boundary(&self) -> &str {
        &self.boundary
    }

    fn all(&self) -> impl Iterator<Item = &Special> {
        self.by_first_byte.values().flatten()
    }

    fn at_start(&self, text: &str) -> Option<&Special> {
        let candidates = self.by_first_byte.get(text.as_bytes().first()?)?;
        candidates.iter().find(|special| text.starts_with(&special.text))
    }

    /// `content` with a mark before every special string, and before what may become one together with the
    /// text around it.
    pub fn mask<'a>(&self, content: &'a str) -> Cow<'a, str> {
        // A template may trim a content before it goes on with text of its own.
        let (from_start, to_end) = (content.trim_start(), content.trim_end());
        let start = content.len() - from_start.len();
        // What the template wrote before the content may be the first half.
        let completes = |special: &Special| {
            let mut tails = special.text.char_indices().skip(1).map(|(i, _)| &special.text[i..]);
            tails.any(|tail| content.starts_with(tail) || from_start.starts_with(tail))
        };
        let at_start = self.all().any(completes);

        let mut masked = String::new();
        let mut copied = 0;
        for (at, _) in content.char_indices() {
            let rest = &content[at..];
            // What the template writes after it may be the second half.
            let begins = |special: &Special| {
                rest.starts_with(&special.text)
                    || special.text.starts_with(rest)
                    || to_end.get(at..).is_some_and(|rest| !rest.is_empty() && special.text.starts_with(rest))
            };
            let candidates = self.by_first_byte.get(&content.as_bytes()[at]);
            if (at_start && at == start) || candidates.is_some_and(|c| c.iter().any(begins)) {
                masked.push_str(&content[copied..at]);
                masked.push_str(&self.mark);
                copied = at;
            }
        }
        if copied == 0 && masked.is_empty() {
            return Cow::Borrowed(content);
        }
        masked.push_str(&content[copied..]);
        Cow::Owned(masked)
    }

    /// `rendered` with boundaries for its special strings and without marks, and the tokens that the
    /// boundaries stand for.
    pub fn split(&self, rendered: &str) -> (String, Vec<u32>) {
        let (mut text, mut ids) = (String::with_capacity(rendered.len()), Vec::new());
        let mut rest = rendered;
        loop {
            let unmarked = rest.trim_start_matches(&self.mark);
            let special = if unmarked.len() == rest.len() { self.at_start(rest) } else { None };
            rest = unmarked;
            if let Some(special) = special {
                rest = &rest[special.text.len()..];
                if special.lstrip {
                    text.truncate(text.trim_end().len());
                }
                if special.rstrip {
                    rest = rest.trim_start();
                }
                text.push_str(&self.boundary);
                ids.push(special.id);
            } else {
                let mut chars = rest.chars();
                let Some(first) = chars.next() else { break };
                text.push(first);
                rest = chars.as_str();
            }
        }
        (text, ids)
    }
}

/// Text that occurs in no input but by a chance of 1 in 2^64: noncharacters, which are neither letters nor
/// white space in any pattern, and the same in upper and lower case.
fn unguessable() -> String {
    // The standard library's keys are the operating system's random numbers.
    let bits = RandomState::new().hash_one(0u8);
    (0..u64::BITS)
        .step_by(5)
        .filter_map(|shift| char::from_u32(0xFDD0 + (bits >> shift & 31) as u32))
        .collect()
}
