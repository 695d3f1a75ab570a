//! Bars in the cells of tables: drawings without text, since the number stands beside each.

use super::element::{Element, element};
use super::figures::usable;

/// Units from a bar's one end to the other; the page stretches them.
const WIDTH: f64 = 200.0;
const HEIGHT: f64 = 12.0;

/// The scale of a column of percentages.
#[derive(Clone, Copy)]
pub struct Percentages {
    end: f64,
}

impl Percentages {
    /// To 100, or beyond as far as the numbers go, 200 at most.
    pub fn of(numbers: impl Iterator<Item = f64>) -> Self {
        let largest = numbers.filter_map(usable).fold(100.0, f64::max);
        Percentages { end: ((largest / 10.0).ceil() * 10.0).min(200.0) }
    }

    fn at(self, percent: f64) -> f64 {
        (percent / self.end).min(1.0) * WIDTH
    }

    /// A bar, with a thin one from `low` to `high` where both are known; `None` of what is no number.
    pub fn bar(self, class: &str, percent: f64, range: Option<[f64; 2]>) -> Option<Element> {
        usable(percent)?;
        let whole = rect("track", [0.0, self.at(100.0)], HEIGHT);
        let filled = rect(class, [0.0, self.at(percent)], HEIGHT);
        let range = range.map(|range| rect("range", range.map(|percent| self.at(percent)), 2.0));
        Some(svg().child(whole).child(filled).children(range).children(self.hundred()))
    }

    /// A mark at 100% where that is not the end.
    fn hundred(self) -> Option<Element> {
        (self.end > 100.0).then(|| rect("mark", [self.at(100.0) - 1.0, self.at(100.0) + 1.0], HEIGHT))
    }

    /// What stands over the column: 0, 50 and 100% in their places.
    pub fn heading(self) -> Element {
        ticks(&[("0", 0.0), ("50", self.at(50.0)), ("100%", self.at(100.0))])
    }
}

/// The scale of a column of times: bars from zero, of which the floor is drawn apart.
#[derive(Clone, Copy)]
pub struct Times {
    end: f64,
}

impl Times {
    pub fn of(microseconds: impl Iterator<Item = f64>) -> Self {
        Times { end: microseconds.filter_map(usable).fold(0.0, f64::max) }
    }

    pub fn bar(self, microseconds: f64, floor: f64) -> Option<Element> {
        let at = |time: f64| time / self.end * WIDTH;
        let time = at(usable(microseconds)?);
        let floor = usable(floor).map(|floor| rect("floor", [0.0, at(floor).min(time)], HEIGHT));
        Some(svg().child(rect("beyond", [0.0, time], HEIGHT)).children(floor))
    }
}

/// The scale of a column of factors: logarithmic, with 1 in the middle.
#[derive(Clone, Copy)]
pub struct Factors {
    /// The base-2 logarithm at either end.
    end: f64,
}

impl Factors {
    /// As far as the numbers go, from 2x to 8x.
    pub fn of(numbers: impl Iterator<Item = f64>) -> Self {
        let largest = numbers.filter_map(usable).map(|number| number.log2().abs()).fold(1.0, f64::max);
        Factors { end: largest.ceil().min(3.0) }
    }

    fn at(self, factor: f64) -> f64 {
        (0.5 + (factor.log2() / self.end).clamp(-1.0, 1.0) / 2.0) * WIDTH
    }

    /// From the middle to the right above 1, to the left below; `None` of what is no number.
    pub fn bar(self, factor: f64) -> Option<Element> {
        let at = self.at(usable(factor)?);
        let middle = WIDTH / 2.0;
        let class = if factor < 1.0 { "slower" } else { "faster" };
        let bar = svg().child(rect("track", [0.0, WIDTH], HEIGHT));
        Some(bar.child(rect(class, [at.min(middle), at.max(middle)], HEIGHT)).child(rect(
            "mark",
            [middle - 1.0, middle + 1.0],
            HEIGHT,
        )))
    }

    /// What stands over the column.
    pub fn heading(self) -> Element {
        let end = 2f64.powf(self.end);
        ticks(&[(&format!("{}x", 1.0 / end), 0.0), ("1x", WIDTH / 2.0), (&format!("{end}x"), WIDTH)])
    }
}

fn svg() -> Element {
    element("svg")
        .class("bar")
        .attr("viewBox", format!("0 0 {WIDTH} {HEIGHT}"))
        .attr("preserveAspectRatio", "none")
        .attr("aria-hidden", "true")
}

fn rect(class: &str, [from, to]: [f64; 2], height: f64) -> Element {
    element("rect")
        .class(class)
        .attr("x", format!("{from:.1}"))
        .attr("y", (HEIGHT - height) / 2.0)
        .attr("width", format!("{:.1}", (to - from).max(0.0)))
        .attr("height", height)
}

/// Labels at places of a bar's width.
fn ticks(labels: &[(&str, f64)]) -> Element {
    let label = |(text, at): &(&str, f64)| {
        let class = match *at {
            0.0 => "first",
            WIDTH => "last",
            _ => "between",
        };
        element("span").class(class).attr("style", format!("left:{:.1}%", at / WIDTH * 100.0)).text(text)
    };
    element("div").class("ticks").attr("aria-hidden", "true").children(labels.iter().map(label))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rects(bar: &Element) -> Vec<(String, f64, f64)> {
        let text = bar.to_string();
        let attribute = |rect: &str, name: &str| {
            rect.split(&format!(" {name}=\"")).nth(1).unwrap().split('"').next().unwrap().to_string()
        };
        let number = |rect: &str, name: &str| attribute(rect, name).parse().unwrap();
        text.split("<rect")
            .skip(1)
            .map(|rect| (attribute(rect, "class"), number(rect, "x"), number(rect, "width")))
            .collect()
    }

    fn rect_of(class: &str, x: f64, width: f64) -> (String, f64, f64) {
        (class.into(), x, width)
    }

    #[test]
    fn a_percentage_fills_its_part() {
        let scale = Percentages::of([40.0, 80.0, f64::NAN].into_iter());
        let bar = scale.bar("memory", 40.0, Some([35.0, 45.0])).unwrap();
        let expected =
            [rect_of("track", 0.0, 200.0), rect_of("memory", 0.0, 80.0), rect_of("range", 70.0, 20.0)];
        assert_eq!(rects(&bar), expected);
        for hostile in [f64::NAN, f64::INFINITY, 0.0, -5.0] {
            assert!(scale.bar("memory", hostile, None).is_none());
        }
    }

    #[test]
    fn beyond_the_whole_the_scale_goes_on_and_ends_at_twice() {
        let bar = Percentages::of([125.0].into_iter()).bar("memory", 65.0, None).unwrap();
        assert_eq!(rects(&bar)[1], rect_of("memory", 0.0, 100.0));
        assert_eq!(rects(&bar)[2], rect_of("mark", 152.8, 2.0));
        let bar = Percentages::of([1e300].into_iter()).bar("memory", 1e300, None).unwrap();
        assert_eq!(rects(&bar)[1], rect_of("memory", 0.0, 200.0));
    }

    #[test]
    fn factors_go_both_ways_from_one() {
        let scale = Factors::of([0.5, 2.0, f64::NAN, -1.0].into_iter());
        assert_eq!(rects(&scale.bar(2.0).unwrap())[1], rect_of("faster", 100.0, 100.0));
        assert_eq!(rects(&scale.bar(0.5).unwrap())[1], rect_of("slower", 0.0, 100.0));
        assert_eq!(rects(&scale.bar(1.0).unwrap())[1], rect_of("faster", 100.0, 0.0));
        assert!(scale.bar(0.0).is_none());
        // A factor beyond the scale ends with it.
        let scale = Factors::of([1e9].into_iter());
        assert_eq!(rects(&scale.bar(1e9).unwrap())[1], rect_of("faster", 100.0, 100.0));
        assert!(scale.heading().to_string().contains("8x"));
    }

    #[test]
    fn a_time_shows_its_floor() {
        let scale = Times::of([100.0, 400.0].into_iter());
        let bar = scale.bar(100.0, 80.0).unwrap();
        assert_eq!(rects(&bar), [rect_of("beyond", 0.0, 50.0), rect_of("floor", 0.0, 40.0)]);
        assert_eq!(rects(&scale.bar(100.0, f64::NAN).unwrap()).len(), 1);
        assert!(scale.bar(f64::INFINITY, 1.0).is_none());
    }
}
