//! Tables and what stands in them.

use std::fmt::Display;

use super::element::{Element, element};
use crate::cli::record::{Row, geometric_mean, grouped_by};

/// A column's title: text, or a scale over bars.
pub enum Column {
    Text(&'static str),
    Number(&'static str),
    /// The same, left out on narrow screens.
    Minor(&'static str),
    /// Text that is left out on narrow screens.
    MinorText(&'static str),
    /// A title with a scale.
    Bars(&'static str, Element),
}

/// A table that scrolls sideways where it does not fit. `class` sets its columns' widths.
pub fn table(
    class: &str,
    caption: &str,
    columns: Vec<Column>,
    bodies: impl IntoIterator<Item = Element>,
) -> Element {
    let head = element("tr").children(columns.into_iter().map(|column| {
        let th = element("th").attr("scope", "col");
        match column {
            Column::Text(title) => th.text(title),
            Column::Number(title) => th.class("n").text(title),
            Column::Minor(title) => th.class("n minor").text(title),
            Column::MinorText(title) => th.class("minor").text(title),
            Column::Bars(title, scale) => th.class("bars").text(title).child(scale),
        }
    }));
    let table = element("table")
        .class(class)
        .child(element("caption").text(caption))
        .child(element("thead").child(head))
        .children(bodies);
    // A region that a keyboard can scroll.
    element("div")
        .class("scroll")
        .attr("tabindex", "0")
        .attr("role", "region")
        .attr("aria-label", caption)
        .child(table)
}

pub fn cell(text: impl Display) -> Element {
    element("td").text(text)
}

pub fn number(text: impl Display) -> Element {
    element("td").class("n").text(text)
}

/// Left out on narrow screens.
pub fn minor(text: impl Display) -> Element {
    element("td").class("n minor").text(text)
}

/// A bar and its number.
pub fn bar_cell(bar: Option<Element>, text: impl Display) -> Element {
    let track = element("div").class("room").children(bar);
    element("td").class("bars").child(track).child(element("span").class("value").text(text))
}

/// What colours of bars mean.
pub fn key(entries: &[(&str, &str)]) -> Element {
    element("p").class("note").children(entries.iter().map(|(class, text)| {
        let swatch = element("span").class(&format!("swatch {class}"));
        element("span").class("key").child(swatch).text(text)
    }))
}

/// The head of a row: a label and its sizes.
pub fn name(label: &str, sizes: impl Display) -> Element {
    let th = element("th").attr("scope", "row");
    let th = if label.is_empty() { th } else { th.text(label).text(" ") };
    th.child(element("span").class("dim").text(sizes))
}

/// The columns of a table: those that narrow screens show, and the minor ones, which come last.
#[derive(Clone, Copy)]
pub struct Width {
    pub major: usize,
    pub minor: usize,
}

impl Width {
    /// A row over a group, as wide as the table.
    pub fn heading(self, title: impl Display, about: impl Display) -> Element {
        let th = element("th").attr("scope", "rowgroup").attr("colspan", self.major).text(title).text(" ");
        let th = th.child(element("span").class("dim").text(about));
        element("tr").class("group").child(th).children(self.minor_cells())
    }

    /// Empty cells to the end of a row that has `columns` already.
    pub fn rest(self, columns: usize) -> impl Iterator<Item = Element> {
        let major = (self.major > columns).then(|| element("td").attr("colspan", self.major - columns));
        major.into_iter().chain(self.minor_cells())
    }

    fn minor_cells(self) -> Option<Element> {
        // A cell of their own: where they are hidden, one that spans them as well would leave room for them.
        (self.minor > 0).then(|| element("td").class("minor").attr("colspan", self.minor))
    }
}

/// What a row of results is of: the operation and its element type.
pub fn operation(row: &Row) -> String {
    match row.dtype.as_str() {
        "" => row.op.clone(),
        dtype => format!("{} ({dtype})", row.op),
    }
}

/// `3 rows`
pub fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// The geometric mean of each group and of all, of what `number` has of them.
pub fn means<'a, T>(
    all: &[&'a T],
    row: impl Fn(&'a T) -> &'a Row,
    number: impl Fn(&'a T) -> Option<f64>,
) -> Vec<Mean> {
    let mean = |name: String, of: &[&'a T]| {
        let numbers: Vec<f64> = of.iter().copied().filter_map(&number).collect();
        geometric_mean(numbers.iter().copied()).map(|mean| Mean { name, rows: numbers.len(), mean })
    };
    let groups = grouped_by(all, |one| operation(row(one)));
    let several = groups.len() > 1;
    let mut means: Vec<Mean> = groups.into_iter().filter_map(|(op, of)| mean(op, &of)).collect();
    if several {
        means.extend(mean("all operations".into(), all));
    }
    means
}

/// A geometric mean and what it is of.
pub struct Mean {
    pub name: String,
    pub rows: usize,
    pub mean: f64,
}
