//! Tokens of PTX.

use crate::error::{Error, Result};

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind<'a> {
    /// A name, with its `%` or `$`.
    Word(&'a str),
    /// `.name`, without its dot; may hold `::` and start with a digit (`L2::128B`, `2d`).
    Dot(&'a str),
    /// An integer, and whether it is unsigned: it has the suffix `U`, or does not fit 63 bits.
    Integer { value: u64, unsigned: bool },
    /// `0f…`: the bits of a single.
    Single(u32),
    /// `0d…` or a decimal with a point or an exponent: a double.
    Double(f64),
    /// A string between its quotes, escapes as written.
    Text(&'a str),
    /// Punctuation.
    Symbol(&'static str),
    /// After the last token.
    End,
}

/// A token and where it stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Token<'a> {
    pub kind: Kind<'a>,
    /// Its first byte.
    pub start: usize,
    /// From 1.
    pub line: u32,
}

/// Longest first, so that `<<` is not two `<`.
const SYMBOLS: [&str; 32] = [
    "<<", ">>", "<=", ">=", "==", "!=", "&&", "||", "{", "}", "(", ")", "[", "]", ",", ";", ":", "+", "-",
    "*", "/", "%", "<", ">", "=", "!", "~", "&", "|", "^", "?", "@",
];

/// Splits a text into tokens.
#[derive(Clone, Debug)]
pub(super) struct Lexer<'a> {
    text: &'a str,
    position: usize,
    line: u32,
}

fn continues_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$'
}

impl<'a> Lexer<'a> {
    pub fn new(text: &'a str) -> Self {
        Self { text, position: 0, line: 1 }
    }

    /// The text between two positions.
    pub fn slice(&self, start: usize, end: usize) -> &'a str {
        self.text.get(start..end).unwrap_or_default()
    }

    /// After the last token.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Goes back to a position within a token of the current line.
    pub fn rewind(&mut self, position: usize, line: u32) {
        (self.position, self.line) = (position, line);
    }

    fn byte(&self, ahead: usize) -> Option<u8> {
        self.text.as_bytes().get(self.position + ahead).copied()
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.position..).unwrap_or_default()
    }

    /// Moves over the bytes that satisfy `wanted`, and returns them.
    fn take_while(&mut self, wanted: impl Fn(u8) -> bool) -> &'a str {
        let start = self.position;
        while self.byte(0).is_some_and(&wanted) {
            self.position += 1;
        }
        self.slice(start, self.position)
    }

    fn error<T>(&self, message: impl Into<String>) -> Result<T> {
        Err(Error::syntax(self.line, message))
    }

    /// The next token.
    pub fn next(&mut self) -> Result<Token<'a>> {
        self.skip_blank()?;
        let (start, line) = (self.position, self.line);
        let Some(first) = self.byte(0) else {
            return Ok(Token { kind: Kind::End, start, line });
        };
        let second_continues = self.byte(1).is_some_and(continues_word);
        let kind = match first {
            b'.' if second_continues => Kind::Dot(self.dotted()),
            b'0'..=b'9' => self.number()?,
            b'"' => self.string()?,
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => Kind::Word(self.take_while(continues_word)),
            b'%' | b'$' if second_continues => {
                self.position += 1;
                self.take_while(continues_word);
                Kind::Word(self.slice(start, self.position))
            }
            _ => self.symbol()?,
        };
        Ok(Token { kind, start, line })
    }

    /// Moves over white space and comments.
    fn skip_blank(&mut self) -> Result<()> {
        loop {
            match (self.byte(0), self.byte(1)) {
                (Some(b'\n'), _) => {
                    self.line += 1;
                    self.position += 1;
                }
                (Some(b' ' | b'\t' | b'\r' | b'\x0b' | b'\x0c'), _) => self.position += 1,
                (Some(b'/'), Some(b'/')) => {
                    self.take_while(|byte| byte != b'\n');
                }
                (Some(b'/'), Some(b'*')) => {
                    let Some(length) = self.rest()[2..].find("*/") else {
                        return self.error("expected `*/` after `/*`, found the end of the file");
                    };
                    let end = self.position + 2 + length + 2;
                    self.line += count_lines(self.slice(self.position, end));
                    self.position = end;
                }
                _ => return Ok(()),
            }
        }
    }

    /// `.name` with all the parts that `::` joins.
    fn dotted(&mut self) -> &'a str {
        self.position += 1;
        let start = self.position;
        self.take_while(continues_word);
        while self.byte(0) == Some(b':')
            && self.byte(1) == Some(b':')
            && self.byte(2).is_some_and(continues_word)
        {
            self.position += 2;
            self.take_while(continues_word);
        }
        self.slice(start, self.position)
    }

    fn string(&mut self) -> Result<Kind<'a>> {
        let start = self.position + 1;
        self.position = start;
        loop {
            match self.byte(0) {
                Some(b'"') => break,
                Some(b'\\') if self.byte(1).is_some_and(|byte| byte != b'\n') => self.position += 2,
                None | Some(b'\n') => return self.error("expected `\"` at the end of a string"),
                Some(_) => self.position += 1,
            }
        }
        let text = self.slice(start, self.position);
        self.position += 1;
        Ok(Kind::Text(text))
    }

    fn symbol(&mut self) -> Result<Kind<'a>> {
        let rest = self.rest();
        if let Some(symbol) = SYMBOLS.into_iter().find(|symbol| rest.starts_with(symbol)) {
            self.position += symbol.len();
            return Ok(Kind::Symbol(symbol));
        }
        match rest.chars().next() {
            Some('.') => self.error("expected a name after `.`"),
            Some(other) => self.error(format!("unexpected character {other:?}")),
            None => Ok(Kind::End),
        }
    }

    fn number(&mut self) -> Result<Kind<'a>> {
        let marker = if self.byte(0) == Some(b'0') { self.byte(1).unwrap_or_default() } else { 0 };
        let kind = match marker {
            b'x' | b'X' => self.integer(2, 16)?,
            b'b' | b'B' => self.integer(2, 2)?,
            b'f' | b'F' => Kind::Single(self.bits(8)? as u32),
            b'd' | b'D' => Kind::Double(f64::from_bits(self.bits(16)?)),
            _ => self.decimal()?,
        };
        if self.byte(0).is_some_and(continues_word) {
            let rest = self.take_while(continues_word);
            return self.error(format!("expected the end of a number, found `{}`", clip(rest)));
        }
        Ok(kind)
    }

    /// An integer after a prefix of so many bytes.
    fn integer(&mut self, prefix: usize, radix: u32) -> Result<Kind<'a>> {
        self.position += prefix;
        let digits = self.take_while(|byte| char::from(byte).is_digit(radix));
        if digits.is_empty() {
            return self.error(format!("expected a digit of base {radix} in a number"));
        }
        let Ok(value) = u64::from_str_radix(digits, radix) else {
            return self.error(format!("the number `{}` does not fit 64 bits", clip(digits)));
        };
        let suffix = self.byte(0) == Some(b'U');
        self.position += usize::from(suffix);
        Ok(Kind::Integer { value, unsigned: suffix || i64::try_from(value).is_err() })
    }

    /// The hexadecimal digits after `0f` or `0d`, exactly so many.
    fn bits(&mut self, expected: usize) -> Result<u64> {
        self.position += 2;
        let digits = self.take_while(|byte| byte.is_ascii_hexdigit());
        if digits.len() != expected {
            return self.error(format!(
                "expected {expected} hexadecimal digits in a floating-point constant, found {}",
                digits.len()
            ));
        }
        u64::from_str_radix(digits, 16).or_else(|_| self.error("expected hexadecimal digits"))
    }

    /// A decimal or octal integer, or a decimal floating-point number.
    fn decimal(&mut self) -> Result<Kind<'a>> {
        let start = self.position;
        self.take_while(|byte| byte.is_ascii_digit());
        if self.byte(0) == Some(b'.') || self.exponent_length() > 0 {
            self.position = start;
            return self.float();
        }
        let octal = self.position - start > 1 && self.slice(start, start + 1) == "0";
        self.position = start;
        if octal { self.integer(1, 8) } else { self.integer(0, 10) }
    }

    /// A floating-point number that starts here, with a digit or a point.
    pub fn float(&mut self) -> Result<Kind<'a>> {
        let start = self.position;
        self.take_while(|byte| byte.is_ascii_digit());
        if self.byte(0) == Some(b'.') {
            self.position += 1;
            self.take_while(|byte| byte.is_ascii_digit());
        }
        self.position += self.exponent_length();
        let text = self.slice(start, self.position);
        match text.parse() {
            Ok(value) => Ok(Kind::Double(value)),
            Err(_) => self.error(format!("expected a floating-point number, found `{}`", clip(text))),
        }
    }

    /// Bytes of the exponent that starts here; 0 where none does.
    fn exponent_length(&self) -> usize {
        if !matches!(self.byte(0), Some(b'e' | b'E')) {
            return 0;
        }
        let sign = usize::from(matches!(self.byte(1), Some(b'+' | b'-')));
        let digits = self.text.as_bytes()[self.position + 1 + sign..].iter();
        match digits.take_while(|byte| byte.is_ascii_digit()).count() {
            0 => 0,
            digits => 1 + sign + digits,
        }
    }
}

fn count_lines(text: &str) -> u32 {
    text.bytes().filter(|&byte| byte == b'\n').count() as u32
}

/// The start of a text, for a message.
pub(super) fn clip(text: &str) -> String {
    const SHOWN: usize = 60;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

impl Kind<'_> {
    /// For a message: what was found.
    pub fn describe(&self) -> String {
        match self {
            Kind::Word(word) => format!("`{}`", clip(word)),
            Kind::Dot(word) => format!("`.{}`", clip(word)),
            Kind::Integer { value, .. } => format!("`{value}`"),
            Kind::Single(_) | Kind::Double(_) => "a floating-point constant".to_owned(),
            Kind::Text(text) => format!("{:?}", clip(text)),
            Kind::Symbol(symbol) => format!("`{symbol}`"),
            Kind::End => "the end of the file".to_owned(),
        }
    }
}
