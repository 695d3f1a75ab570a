//! Marks of operations in charts: a shape and a colour each, so that one can do without the colours.

use super::element::{Element, element};

const SHAPES: usize = 7;
/// The colours are variables of style.css.
const COLOURS: [&str; 8] = ["c0", "c1", "c2", "c3", "c4", "c5", "c6", "c7"];

/// A shape and a colour.
#[derive(Clone, Copy)]
pub struct Marker {
    shape: usize,
    colour: usize,
}

impl Marker {
    /// That of the i-th operation; the first 56 differ.
    pub fn of(i: usize) -> Self {
        Marker { shape: i % SHAPES, colour: i % COLOURS.len() }
    }

    /// The class that sets the colour.
    pub fn class(self) -> &'static str {
        COLOURS[self.colour]
    }

    /// The shape around a place, about `r` to each side.
    pub fn at(self, [x, y]: [f64; 2], r: f64) -> Element {
        let polygon = |corners: &[[f64; 2]]| {
            let corners: Vec<String> =
                corners.iter().map(|[dx, dy]| format!("{:.1} {:.1}", x + dx * r, y + dy * r)).collect();
            format!("M{}z", corners.join("L"))
        };
        let path = match self.shape {
            0 => format!("M{:.1} {y:.1}a{r} {r} 0 1 0 {d} 0a{r} {r} 0 1 0 -{d} 0z", x - r, d = 2.0 * r),
            1 => polygon(&[[-0.9, -0.9], [0.9, -0.9], [0.9, 0.9], [-0.9, 0.9]]),
            2 => polygon(&[[0.0, -1.2], [1.15, 0.9], [-1.15, 0.9]]),
            3 => polygon(&[[0.0, -1.3], [1.3, 0.0], [0.0, 1.3], [-1.3, 0.0]]),
            4 => polygon(&[[0.0, 1.2], [1.15, -0.9], [-1.15, -0.9]]),
            5 => {
                let (a, b) = (0.4, 1.2);
                let arm = [[-a, -b], [a, -b], [a, -a], [b, -a], [b, a], [a, a]];
                polygon(&[&arm[..], &[[a, b], [-a, b], [-a, a], [-b, a], [-b, -a], [-a, -a]]].concat())
            }
            _ => polygon(&[[-1.2, 0.0], [-0.6, -1.05], [0.6, -1.05], [1.2, 0.0], [0.6, 1.05], [-0.6, 1.05]]),
        };
        element("path").attr("d", path)
    }

    /// For a legend.
    pub fn icon(self) -> Element {
        let icon = element("svg").class(&format!("icon {}", self.class())).attr("viewBox", "0 0 14 14");
        icon.attr("aria-hidden", "true").child(self.at([7.0, 7.0], 5.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_marks_differ_in_shape_or_colour() {
        let drawn = |i| (Marker::of(i).class(), Marker::of(i).at([7.0, 7.0], 5.0).to_string());
        let all: std::collections::BTreeSet<_> = (0..SHAPES * COLOURS.len()).map(drawn).collect();
        assert_eq!(all.len(), SHAPES * COLOURS.len());
    }
}
