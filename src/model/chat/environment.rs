//! The Jinja environment that Hugging Face's templates expect, with bounds.

use std::fmt;
use std::io;
use std::time::SystemTime;

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Kwargs;
use minijinja::{Environment, Error, ErrorKind, Value};
use minijinja_contrib::pycompat::unknown_method_callback;
use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};

/// Far above any context: 128K tokens are about 500 KB.
const MAX_OUTPUT_BYTES: usize = 64 << 20;
const MAX_INDENT: usize = 16;

/// An environment with what transformers adds to Jinja: Python's methods, `raise_exception`, its `tojson`,
/// `break` and `continue`, and its treatment of white space.
pub(super) fn new_environment() -> Environment<'static> {
    let mut environment = Environment::new();
    // Its only failure is delimiters that collide, and these are Jinja's own.
    if let Ok(syntax) = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build() {
        environment.set_syntax(syntax);
    }
    // Errors would carry excerpts of the template.
    environment.set_debug(false);
    environment.set_unknown_method_callback(unknown_method_callback);
    environment.add_function("raise_exception", |message: String| -> Result<Value, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, message.clone()).with_source(Raised(message)))
    });
    environment.add_filter("tojson", to_json);
    environment
}

/// `strftime_now(format)` at a time in UTC, or now in local time.
pub(super) fn add_clock(environment: &mut Environment<'static>, now: Option<SystemTime>) {
    environment.add_function("strftime_now", move |format: String| -> Result<String, Error> {
        let now = match now {
            Some(time) => Timestamp::try_from(time).map(|time| time.to_zoned(TimeZone::UTC)),
            None => Ok(Zoned::now()),
        };
        now.and_then(|now| jiff::fmt::strtime::format(format, &now))
            .map_err(|e| Error::new(ErrorKind::InvalidOperation, format!("strftime_now: {e}")))
    });
}

/// Turns the tags `generation` and `endgeneration`, which mark an assistant's words for training, into a
/// condition that holds: like them it changes nothing but the white space that `-` at a tag removes.
pub(super) fn without_generation_tags(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(start) = rest.find("{%") {
        let (before, tag) = rest.split_at(start + 2);
        out.push_str(before);
        rest = tag;
        let Some(end) = tag.find("%}") else { break };
        let sign = |c: char| c == '-' || c == '+';
        let replacement = match tag[..end].trim_matches(sign).trim() {
            "generation" => "if true",
            "endgeneration" => "endif",
            _ => continue,
        };
        let (open, close) = (tag.starts_with(sign), tag[..end].ends_with(sign));
        out.push_str(if open { &tag[..1] } else { "" });
        out.push_str(&format!(" {replacement} "));
        out.push_str(if close { &tag[end - 1..end] } else { "" });
        rest = &tag[end..];
    }
    out.push_str(rest);
    out
}

/// A template called `raise_exception`.
#[derive(Debug)]
pub(super) struct Raised(pub(super) String);

impl fmt::Display for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Raised {}

/// Output up to [`MAX_OUTPUT_BYTES`].
#[derive(Default)]
pub(super) struct Bounded {
    pub(super) bytes: Vec<u8>,
}

impl io::Write for &mut Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > MAX_OUTPUT_BYTES - self.bytes.len() {
            return Err(io::Error::other(format!("the text exceeds {MAX_OUTPUT_BYTES} bytes")));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Python's `json.dumps(value, ensure_ascii=False, indent=indent)`, which is what transformers puts in the
/// place of Jinja's filter: nothing is escaped for HTML, and there are spaces after commas and colons.
#[expect(clippy::needless_pass_by_value, reason = "minijinja hands filters their keyword arguments by value")]
fn to_json(value: &Value, options: Kwargs) -> Result<String, Error> {
    let indent: Option<usize> = options.get("indent")?;
    let mut out = Vec::new();
    let written = match indent {
        Some(indent) => {
            let indent = " ".repeat(indent.min(MAX_INDENT));
            value.serialize(&mut Serializer::with_formatter(
                &mut out,
                PrettyFormatter::with_indent(indent.as_bytes()),
            ))
        }
        None => value.serialize(&mut Serializer::with_formatter(&mut out, OneLine)),
    };
    written.map_err(|e| Error::new(ErrorKind::BadSerialization, e.to_string()))?;
    String::from_utf8(out).map_err(|e| Error::new(ErrorKind::BadSerialization, e.to_string()))
}

/// Python's default separators.
struct OneLine;

impl Formatter for OneLine {
    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}
