//! The current token of a file, and what all readers ask of it.

use super::lexer::{Kind, Lexer, Token};
use crate::error::{Error, Result};

/// Zero bytes that the initialisers of a file may leave between their elements, all together: `x[2][1 << 30] =
/// {{1}, {2}}` is a short text for a gigabyte.
const MAX_PADDING: u64 = 16 << 20;

/// Reads tokens, one ahead.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    lexer: Lexer<'a>,
    /// Not yet consumed.
    pub token: Token<'a>,
    /// The line of the token that was consumed last.
    pub line: u32,
    /// How deeply the current constant expression is nested.
    pub depth: u32,
    /// What is left of [`MAX_PADDING`].
    pub padding: u64,
    /// How many more labels the short form `L<n>` may name: each of them stands in the text.
    pub labels: u64,
}

impl<'a> Cursor<'a> {
    pub fn new(text: &'a str) -> Result<Self> {
        let mut lexer = Lexer::new(text);
        let token = lexer.next()?;
        Ok(Self { lexer, token, line: 1, depth: 0, padding: MAX_PADDING, labels: text.len() as u64 })
    }

    /// Consumes the current token.
    pub fn advance(&mut self) -> Result<Token<'a>> {
        let next = self.lexer.next()?;
        self.line = self.token.line;
        Ok(std::mem::replace(&mut self.token, next))
    }

    /// The token after the current one.
    pub fn peek(&self) -> Result<Kind<'a>> {
        Ok(self.lexer.clone().next()?.kind)
    }

    /// Reads again from a byte within the current token.
    pub fn split_token(&mut self, skipped: usize) -> Result<()> {
        self.line = self.token.line;
        self.lexer.rewind(self.token.start + skipped, self.line);
        self.token = self.lexer.next()?;
        Ok(())
    }

    /// Reads the current token, which starts with a point, as a number.
    pub fn fraction(&mut self) -> Result<f64> {
        self.lexer.rewind(self.token.start, self.token.line);
        let Kind::Double(value) = self.lexer.float()? else {
            return self.expected("a number");
        };
        let next = self.lexer.next()?;
        self.line = self.token.line;
        self.token = next;
        Ok(value)
    }

    /// The current token as written. Only for a token that was not followed by another yet.
    pub fn token_text(&self) -> &'a str {
        self.lexer.slice(self.token.start, self.lexer.position())
    }

    /// An error at the current token.
    pub fn error<T>(&self, message: impl Into<String>) -> Result<T> {
        Err(Error::syntax(self.token.line, message))
    }

    /// An error: something else than the current token was expected.
    pub fn expected<T>(&self, what: &str) -> Result<T> {
        self.error(format!("expected {what}, found {}", self.token.kind.describe()))
    }

    /// Whether the current token is this symbol.
    pub fn at(&self, symbol: &str) -> bool {
        matches!(self.token.kind, Kind::Symbol(found) if found == symbol)
    }

    /// Consumes this symbol if it is there.
    pub fn accept(&mut self, symbol: &str) -> Result<bool> {
        let there = self.at(symbol);
        if there {
            self.advance()?;
        }
        Ok(there)
    }

    /// Consumes this symbol.
    pub fn expect(&mut self, symbol: &str) -> Result<()> {
        if self.accept(symbol)? { Ok(()) } else { self.expected(&format!("`{symbol}`")) }
    }

    /// Consumes a name.
    pub fn word(&mut self, what: &str) -> Result<&'a str> {
        let Kind::Word(word) = self.token.kind else {
            return self.expected(what);
        };
        self.advance()?;
        Ok(word)
    }

    /// Consumes this directive or modifier if it is there.
    pub fn accept_dot(&mut self, word: &str) -> Result<bool> {
        let there = self.token.kind == Kind::Dot(word);
        if there {
            self.advance()?;
        }
        Ok(there)
    }

    /// Consumes an integer literal that fits 32 bits.
    pub fn number(&mut self, what: &str) -> Result<u32> {
        let Kind::Integer { value, .. } = self.token.kind else {
            return self.expected(what);
        };
        let Ok(value) = u32::try_from(value) else {
            return self.expected(&format!("{what} of at most 32 bits"));
        };
        self.advance()?;
        Ok(value)
    }

    /// Consumes one to three numbers between commas; those left out are 1.
    pub fn dimensions(&mut self, what: &str) -> Result<[u32; 3]> {
        let mut sizes = [1; 3];
        for (index, size) in sizes.iter_mut().enumerate() {
            if index > 0 && !self.accept(",")? {
                break;
            }
            *size = self.number(what)?;
        }
        Ok(sizes)
    }

    /// Consumes a string, its escapes undone.
    pub fn text(&mut self, what: &str) -> Result<String> {
        let Kind::Text(text) = self.token.kind else {
            return self.expected(what);
        };
        self.advance()?;
        Ok(unescape(text))
    }
}

/// A string as C reads it, but only backslashes, quotes and octal bytes: nothing else is written in paths.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes().peekable();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        let mut value = 0_u32;
        let mut digits = 0;
        while let Some(digit) = rest.next_if(|digit| digits < 3 && matches!(digit, b'0'..=b'7')) {
            value = value * 8 + u32::from(digit - b'0');
            digits += 1;
        }
        if digits > 0 {
            bytes.push(value as u8);
        } else {
            bytes.extend(rest.next());
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
