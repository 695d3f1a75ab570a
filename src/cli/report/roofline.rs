//! The roofline chart: each row's arithmetic per byte against its speed, under the lines of the ceilings, both axes
//! logarithmic.

use super::element::{Element, element};
use super::figures::{figure, grouped, percent, usable};
use super::marker::Marker;
use crate::cli::record::{Ceilings, Kernel, grouped_by};

/// Arithmetic per byte and TFLOP/s that a chart can hold; what lies beyond is a mistake in a file.
const LIMITS: std::ops::RangeInclusive<f64> = 1e-7..=1e7;

/// The chart with its legend and notes; `None` where no row can be a point.
pub fn chart(id: &str, kernels: &[&Kernel], ceilings: Option<&Ceilings>) -> Option<Element> {
    let points: Vec<Point<'_>> = kernels.iter().filter_map(|kernel| Point::of(kernel)).collect();
    if points.is_empty() {
        return None;
    }
    let points: Vec<&Point<'_>> = points.iter().collect();
    let ops = grouped_by(&points, |point| point.kernel.row.op.as_str());
    let lines = ceilings.and_then(Lines::of);
    let figure = element("figure")
        .child(svg(&format!("{id}-wide"), &WIDE, &ops, lines.as_ref()))
        .child(svg(&format!("{id}-narrow"), &NARROW, &ops, lines.as_ref()))
        .child(legend(&ops));
    Some(figure.children(notes(kernels, points.len(), lines.is_none())))
}

fn notes(kernels: &[&Kernel], shown: usize, no_lines: bool) -> Vec<Element> {
    let mut notes = Vec::new();
    if no_lines {
        notes.push("This run has no ceilings, so the chart has no lines.".to_string());
    }
    let missing = kernels.len() - shown;
    if missing > 0 {
        let without: Vec<_> = kernels.iter().copied().filter(|kernel| Point::of(kernel).is_none()).collect();
        let ops: Vec<&str> =
            grouped_by(&without, |kernel| kernel.row.op.as_str()).iter().map(|(op, _)| *op).collect();
        notes.push(format!(
            "Not in this chart: {} of {} rows ({}), which have no arithmetic, or no usable number.",
            missing,
            kernels.len(),
            ops.join(", ")
        ));
    }
    notes.into_iter().map(|note| element("p").class("note").text(note)).collect()
}

/// A row in the chart.
struct Point<'a> {
    kernel: &'a Kernel,
    flops_per_byte: f64,
    teraflops: f64,
}

impl<'a> Point<'a> {
    fn of(kernel: &'a Kernel) -> Option<Self> {
        let flops_per_byte = kernel.row.flops as f64 / kernel.row.bytes as f64;
        let teraflops = kernel.teraflops_per_second;
        usable(kernel.microseconds)?;
        (LIMITS.contains(&flops_per_byte) && LIMITS.contains(&teraflops)).then_some(Point {
            kernel,
            flops_per_byte,
            teraflops,
        })
    }

    fn tooltip(&self) -> String {
        let Kernel { row, microseconds, percent_of_roofline, gigabytes_per_second, .. } = self.kernel;
        let name = [row.op.as_str(), &row.label, &row.sizes.to_string()].join(" ");
        format!(
            "{name}: {} µs, {} TFLOP/s, {} GB/s, {} of the roofline",
            figure(*microseconds),
            figure(self.teraflops),
            figure(*gigabytes_per_second),
            percent(*percent_of_roofline)
        )
    }
}

/// The ceilings in the chart's units.
struct Lines<'a> {
    ceilings: &'a Ceilings,
    /// TFLOP/s for each FLOP a byte.
    read: f64,
    copy: f64,
    tensor: f64,
}

impl<'a> Lines<'a> {
    fn of(ceilings: &'a Ceilings) -> Option<Self> {
        let within = |number: f64| LIMITS.contains(&number).then_some(number);
        Some(Lines {
            ceilings,
            read: within(ceilings.read_gigabytes_per_second / 1e3)?,
            copy: within(ceilings.copy_gigabytes_per_second / 1e3)?,
            tensor: within(ceilings.tensor_teraflops_per_second)?,
        })
    }

    /// Where the slower of the two slopes meets the tensor cores' line: the ridge that is farther to the right.
    fn last_ridge(&self) -> f64 {
        self.tensor / self.read.min(self.copy)
    }
}

/// A drawing's size and room around the plot, in its own units.
struct Frame {
    class: &'static str,
    width: f64,
    height: f64,
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    marker: f64,
}

const WIDE: Frame = Frame {
    class: "wide",
    width: 1000.0,
    height: 520.0,
    left: 64.0,
    right: 28.0,
    top: 26.0,
    bottom: 50.0,
    marker: 4.5,
};
const NARROW: Frame = Frame {
    class: "narrow",
    width: 400.0,
    height: 420.0,
    left: 46.0,
    right: 20.0,
    top: 26.0,
    bottom: 44.0,
    marker: 3.5,
};

/// A logarithmic axis: decimal exponents and where they are drawn.
struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Axis {
    /// Around these numbers, which are above zero, and at least two decades long.
    fn new(numbers: impl Iterator<Item = f64>, [from, to]: [f64; 2]) -> Self {
        let (mut low, mut high) =
            numbers.map(f64::log10).fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), number| {
                (low.min(number), high.max(number))
            });
        let missing = (2.0 - (high - low)).max(0.0);
        low -= 0.15 + missing / 2.0;
        high += 0.15 + missing / 2.0;
        Axis { low, high, from, to }
    }

    fn at(&self, number: f64) -> f64 {
        self.from + (number.log10() - self.low) / (self.high - self.low) * (self.to - self.from)
    }

    fn unit(&self) -> f64 {
        (self.to - self.from) / (self.high - self.low)
    }

    /// The powers of ten on it.
    fn decades(&self) -> impl Iterator<Item = f64> {
        (self.low.ceil() as i32..=self.high.floor() as i32).map(|exponent| 10f64.powi(exponent))
    }

    fn first(&self) -> f64 {
        10f64.powf(self.low)
    }

    fn last(&self) -> f64 {
        10f64.powf(self.high)
    }
}

fn svg(id: &str, frame: &Frame, ops: &[(&str, Vec<&Point<'_>>)], lines: Option<&Lines<'_>>) -> Element {
    let points = || ops.iter().flat_map(|(_, points)| points.iter());
    let ridge = lines.map(|lines| 2.0 * lines.last_ridge());
    let tops = lines.map(|lines| 1.3 * lines.tensor);
    let x = Axis::new(
        points().map(|point| point.flops_per_byte).chain(ridge),
        [frame.left, frame.width - frame.right],
    );
    let y = Axis::new(
        points().map(|point| point.teraflops).chain(tops),
        [frame.height - frame.bottom, frame.top],
    );
    element("svg")
        .class(&format!("chart {}", frame.class))
        .attr("viewBox", format!("0 0 {} {}", frame.width, frame.height))
        .attr("role", "img")
        .attr("aria-labelledby", format!("{id}-title {id}-desc"))
        .child(element("title").attr("id", format!("{id}-title")).text("Roofline"))
        .child(element("desc").attr("id", format!("{id}-desc")).text(description(points().count(), lines)))
        .child(axes(frame, &x, &y))
        .children(lines.map(|lines| ceilings(lines, &x, &y)))
        .children(ops.iter().enumerate().map(|(i, (_, points))| {
            let marker = Marker::of(i);
            element("g").class(marker.class()).children(points.iter().map(|point| {
                let place = [x.at(point.flops_per_byte), y.at(point.teraflops)];
                marker.at(place, frame.marker).child(element("title").text(point.tooltip()))
            }))
        }))
}

fn description(points: usize, lines: Option<&Lines<'_>>) -> String {
    let mut text = format!(
        "{points} rows, each a point: arithmetic per byte from left to right, TFLOP/s from bottom to top, both logarithmic."
    );
    if let Some(Lines { ceilings, .. }) = lines {
        text += &format!(
            " The lines are what the device reaches: reading {} GB/s, copying {} GB/s, tensor cores {} TFLOP/s.",
            figure(ceilings.read_gigabytes_per_second),
            figure(ceilings.copy_gigabytes_per_second),
            figure(ceilings.tensor_teraflops_per_second)
        );
    }
    text + " The figures stand in the tables."
}

fn label(text: impl std::fmt::Display, [x, y]: [f64; 2], anchor: &'static str) -> Element {
    element("text").attr("x", px(x)).attr("y", px(y)).attr("text-anchor", anchor).text(text)
}

fn line(class: &str, [x1, y1]: [f64; 2], [x2, y2]: [f64; 2]) -> Element {
    let line = element("line").class(class).attr("x1", px(x1)).attr("y1", px(y1));
    line.attr("x2", px(x2)).attr("y2", px(y2))
}

/// A tenth of a unit is finer than a screen.
fn px(number: f64) -> String {
    format!("{number:.1}")
}

fn axes(frame: &Frame, x: &Axis, y: &Axis) -> Element {
    let mut axes = element("g").class("axes");
    for decade in x.decades() {
        let at = x.at(decade);
        axes = axes.child(line("grid", [at, y.from], [at, y.to])).child(label(
            power(decade),
            [at, y.from + 17.0],
            "middle",
        ));
    }
    for decade in y.decades() {
        let at = y.at(decade);
        axes = axes.child(line("grid", [x.from, at], [x.to, at])).child(label(
            power(decade),
            [x.from - 7.0, at + 4.0],
            "end",
        ));
    }
    axes.child(line("axis", [x.from, y.from], [x.to, y.from]))
        .child(label("FLOP per byte", [x.to, frame.height - 8.0], "end"))
        .child(label("TFLOP/s", [2.0, 14.0], "start"))
}

/// `0.01`, `1`, `1,000`
fn power(decade: f64) -> String {
    if decade >= 1.0 { grouped(decade as u64) } else { format!("{decade}") }
}

fn ceilings(lines: &Lines<'_>, x: &Axis, y: &Axis) -> Element {
    let Lines { ceilings, read, copy, tensor } = *lines;
    // From the bottom or the left side, whichever it meets first, to the tensor cores' line.
    let slope = |class, speed: f64| {
        let begin = x.first().max(y.first() / speed);
        let end = tensor / speed;
        line(class, [x.at(begin), y.at(begin * speed)], [x.at(end), y.at(tensor)])
    };
    let upper = read.max(copy);
    let begin = x.first().max(y.first() / upper);
    let flat = tensor / upper;
    let angle = y.unit().atan2(x.unit()).to_degrees();
    // Above the lines, where no row can be: at their lower end.
    let (label_x, label_y) = (x.at(begin) + 14.0, y.at(begin * upper) + 14.0 * y.unit() / x.unit());
    let memory = format!(
        "read {}, copy {} GB/s (dashed)",
        figure(ceilings.read_gigabytes_per_second),
        figure(ceilings.copy_gigabytes_per_second)
    );
    let tensor_label = format!("tensor cores {} TFLOP/s", figure(ceilings.tensor_teraflops_per_second));
    element("g")
        .class("ceilings")
        .child(slope("read", read))
        .child(slope("copy", copy))
        .child(line("tensor", [x.at(flat), y.at(tensor)], [x.at(x.last()), y.at(tensor)]))
        .child(
            label(memory, [0.0, -8.0], "start").attr(
                "transform",
                format!("translate({} {}) rotate({})", px(label_x), px(label_y), px(angle)),
            ),
        )
        .child(label(tensor_label, [x.to, y.at(tensor) - 7.0], "end"))
}

fn legend(ops: &[(&str, Vec<&Point<'_>>)]) -> Element {
    element("ul").class("legend").children(ops.iter().enumerate().map(|(i, (op, points))| {
        let rows = if points.len() == 1 { "row" } else { "rows" };
        element("li")
            .child(Marker::of(i).icon())
            .text(format_args!("{op} "))
            .child(element("span").class("dim").text(format_args!("{} {rows}", points.len())))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::record::Row;

    fn kernel(op: &str, flops: u64, bytes: u64, teraflops_per_second: f64) -> Kernel {
        let row = Row { op: op.into(), flops, bytes, ..Row::default() };
        Kernel { row, microseconds: 1.0, teraflops_per_second, ..Kernel::default() }
    }

    fn h200() -> Ceilings {
        Ceilings {
            copy_gigabytes_per_second: 4000.0,
            read_gigabytes_per_second: 4000.0,
            tensor_teraflops_per_second: 800.0,
            ..Ceilings::default()
        }
    }

    /// Ten FLOP a byte at 4 TB/s are 40 TFLOP/s: such a point lies on the slope, one of half that below it.
    #[test]
    fn a_row_at_the_ceiling_lies_on_its_line() {
        let x = Axis::new([1.0, 1000.0].into_iter(), [0.0, 300.0]);
        let y = Axis::new([1.0, 1000.0].into_iter(), [300.0, 0.0]);
        let lines = h200();
        let drawn = ceilings(&Lines::of(&lines).unwrap(), &x, &y).to_string();
        let numbers: Vec<f64> = ["x1", "y1", "x2", "y2"]
            .iter()
            .map(|name| {
                let from = drawn.find(&format!("{name}=\"")).unwrap() + name.len() + 2;
                drawn[from..].split('"').next().unwrap().parse().unwrap()
            })
            .collect();
        let [x1, y1, x2, y2] = numbers[..] else { unreachable!() };
        let on_line = |at: f64| y1 + (at - x1) / (x2 - x1) * (y2 - y1);
        assert!((on_line(x.at(10.0)) - y.at(40.0)).abs() < 0.2, "{drawn}");
        assert!(on_line(x.at(10.0)) < y.at(20.0) - 5.0, "{drawn}");
        assert!((x2 - x.at(200.0)).abs() < 0.1 && (y2 - y.at(800.0)).abs() < 0.1, "{drawn}");
    }

    #[test]
    fn what_no_logarithm_can_show_is_left_out_and_named() {
        let good = kernel("matmul", 1000, 10, 30.0);
        let hostile = [
            kernel("embed", 0, 10, 0.0),
            kernel("none", 10, 0, 1.0),
            kernel("endless", 10, 10, f64::INFINITY),
            kernel("nan", 10, 10, f64::NAN),
            kernel("minus", 10, 10, -3.0),
            kernel("huge", u64::MAX, 1, 1e300),
            Kernel { microseconds: f64::NAN, ..kernel("timeless", 10, 10, 1.0) },
        ];
        let all: Vec<&Kernel> = [&good].into_iter().chain(&hostile).collect();
        let drawn = chart("r", &all, Some(&h200())).unwrap().to_string();
        assert!(drawn.contains("7 of 8 rows (embed, none, endless, nan, minus, huge, timeless)"), "{drawn}");
        assert!(!drawn.contains("NaN") && !drawn.contains("inf"), "{drawn}");
        assert!(chart("r", &all[1..], Some(&h200())).is_none());
        let broken = Ceilings { read_gigabytes_per_second: f64::NAN, ..h200() };
        for without in [None, Some(&broken)] {
            let drawn = chart("r", &all[..1], without).unwrap().to_string();
            assert!(drawn.contains("no lines") && !drawn.contains("NaN"), "{drawn}");
        }
    }

    #[test]
    fn axes_hold_their_numbers_and_two_decades() {
        let axis = Axis::new([5.0, 5.0].into_iter(), [0.0, 100.0]);
        assert!(axis.decades().count() >= 2);
        assert!((axis.at(5.0) - 50.0).abs() < 1e-9);
        let axis = Axis::new([0.02, 700.0].into_iter(), [0.0, 100.0]);
        assert_eq!(axis.decades().map(power).collect::<Vec<_>>(), ["0.1", "1", "10", "100"]);
        assert!(axis.at(0.02) > 0.0 && axis.at(700.0) < 100.0);
    }
}
