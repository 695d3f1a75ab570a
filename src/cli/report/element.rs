//! Elements of HTML and SVG. Text and attributes are escaped here, so that nobody else has to think of it.

use std::fmt::{self, Display, Formatter, Write};

/// An element and what is in it.
pub struct Element {
    name: &'static str,
    attributes: String,
    content: String,
}

/// An empty one.
pub fn element(name: &'static str) -> Element {
    Element { name, attributes: String::new(), content: String::new() }
}

impl Element {
    /// Adds an attribute.
    pub fn attr(mut self, name: &'static str, value: impl Display) -> Self {
        append(&mut self.attributes, format_args!(" {name}=\"{}\"", Escaped(value)));
        self
    }

    pub fn class(self, names: &str) -> Self {
        self.attr("class", names)
    }

    /// Adds text.
    pub fn text(mut self, text: impl Display) -> Self {
        append(&mut self.content, format_args!("{}", Escaped(text)));
        self
    }

    /// Adds text that is part of this program and stays as it is: a style sheet.
    pub fn raw(mut self, text: &'static str) -> Self {
        self.content.push_str(text);
        self
    }

    #[expect(clippy::needless_pass_by_value, reason = "what is in an element is nowhere else")]
    pub fn child(mut self, child: Element) -> Self {
        append(&mut self.content, format_args!("{child}"));
        self
    }

    pub fn children(self, children: impl IntoIterator<Item = Element>) -> Self {
        children.into_iter().fold(self, Element::child)
    }
}

impl Display for Element {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Element { name, attributes, content } = self;
        // HTML knows no other elements that close themselves; in SVG all may.
        if content.is_empty() && matches!(*name, "meta" | "col" | "path" | "rect" | "line") {
            write!(f, "<{name}{attributes}/>")?;
        } else {
            write!(f, "<{name}{attributes}>{content}</{name}>")?;
        }
        // Lines that an editor can show.
        let ends_a_line = matches!(
            *name,
            "tr" | "table"
                | "section"
                | "p"
                | "h1"
                | "h2"
                | "h3"
                | "li"
                | "svg"
                | "g"
                | "div"
                | "head"
                | "style"
        );
        if ends_a_line { f.write_char('\n') } else { Ok(()) }
    }
}

/// Escapes what a value shows as: for text as well as between double quotes.
struct Escaped<T>(T);

impl<T: Display> Display for Escaped<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(Escaper(f), "{}", self.0)
    }
}

struct Escaper<'a, 'b>(&'a mut Formatter<'b>);

impl Write for Escaper<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for char in text.chars() {
            match char {
                '&' => self.0.write_str("&amp;")?,
                '<' => self.0.write_str("&lt;")?,
                '>' => self.0.write_str("&gt;")?,
                '"' => self.0.write_str("&quot;")?,
                '\n' => self.0.write_char('\n')?,
                // Not allowed in HTML; the second group would turn the text around them the other way.
                char if char.is_control()
                    || matches!(char, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}') =>
                {
                    self.0.write_char(char::REPLACEMENT_CHARACTER)?;
                }
                char => self.0.write_char(char)?,
            }
        }
        Ok(())
    }
}

fn append(text: &mut String, what: fmt::Arguments<'_>) {
    text.write_fmt(what).expect("a string takes all text");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_attributes_are_escaped() {
        let hostile = "</title><script>alert(\"1\" & '2')</script>\0\u{202E}";
        let escaped =
            "&lt;/title&gt;&lt;script&gt;alert(&quot;1&quot; &amp; '2')&lt;/script&gt;\u{FFFD}\u{FFFD}";
        let shown = element("b").attr("id", hostile).text(hostile).to_string();
        assert_eq!(shown, format!("<b id=\"{escaped}\">{escaped}</b>"));
    }

    #[test]
    fn only_void_and_graphic_elements_close_themselves() {
        let cell = element("tr").child(element("td")).child(element("rect").attr("x", 1.5));
        assert_eq!(cell.to_string(), "<tr><td></td><rect x=\"1.5\"/></tr>\n");
    }
}
