//! Timed operations: the roofline chart, bars of percentages with geometric means, and all figures.

use super::bars::Percentages;
use super::element::{Element, element};
use super::figures::{figure, grouped, percent, usable};
use super::roofline;
use super::runs::Results;
use super::table::{Column, Width, bar_cell, cell, count, key, means, minor, name, number, operation, table};
use crate::cli::record::{Ceilings, Kernel, geometric_mean, grouped_by};

/// `read 4,380 GB/s, copy 4,213 GB/s, tensor cores 781.0 TFLOP/s`
pub fn ceilings_summary(results: &Results<'_>) -> String {
    results.ceilings.first().map_or(String::new(), |ceilings| {
        format!(
            "read {} GB/s, copy {} GB/s, tensor cores {} TFLOP/s",
            figure(ceilings.read_gigabytes_per_second),
            figure(ceilings.copy_gigabytes_per_second),
            figure(ceilings.tensor_teraflops_per_second)
        )
    })
}

/// What the device reached.
pub fn ceilings(results: &Results<'_>) -> Vec<Element> {
    results.ceilings.iter().map(|ceilings| tiles(ceilings, results)).collect()
}

fn tiles(ceilings: &Ceilings, results: &Results<'_>) -> Element {
    let bus = results.run.and_then(|run| run.device.memory_bytes_per_second).and_then(usable);
    let of_bus = |gigabytes: f64| match (bus, usable(gigabytes)) {
        (Some(bus), Some(gigabytes)) => {
            format!("{} of {} GB/s by the memory's clock", percent(gigabytes * 1e11 / bus), figure(bus / 1e9))
        }
        _ => String::new(),
    };
    let tile = |title: &str, number: f64, unit: &str, about: String| {
        let value =
            element("dd").text(figure(number)).text(" ").child(element("span").class("dim").text(unit));
        let about = (!about.is_empty()).then(|| element("dd").class("about").text(about));
        element("div").child(element("dt").text(title)).child(value).children(about)
    };
    let kernel = [ceilings.dtype.as_str(), ceilings.tensor_kernel.as_str()].join(" ");
    element("dl")
        .class("tiles")
        .child(tile(
            "Read",
            ceilings.read_gigabytes_per_second,
            "GB/s",
            of_bus(ceilings.read_gigabytes_per_second),
        ))
        .child(tile(
            "Copy, read plus written",
            ceilings.copy_gigabytes_per_second,
            "GB/s",
            of_bus(ceilings.copy_gigabytes_per_second),
        ))
        .child(tile(
            "Tensor cores",
            ceilings.tensor_teraflops_per_second,
            "TFLOP/s",
            kernel.trim().to_string(),
        ))
        .child(tile("An empty kernel", ceilings.launch_microseconds, "µs", "in a graph of many".into()))
}

/// A point a row.
pub fn roofline_chart(id: &str, results: &Results<'_>) -> Option<Element> {
    roofline::chart(id, &results.kernels, results.ceilings.first().copied())
}

/// Whether a bar and a mean can have it.
fn share(kernel: &Kernel) -> Option<f64> {
    usable(kernel.microseconds)?;
    usable(kernel.percent_of_roofline)
}

/// `176 rows, geometric mean 43.2% of the roofline`
pub fn summary(kernels: &[&Kernel]) -> String {
    let mean = geometric_mean(kernels.iter().filter_map(|kernel| share(kernel)));
    let mean =
        mean.map_or(String::new(), |mean| format!(", geometric mean {} of the roofline", percent(mean)));
    count(kernels.len(), "row") + &mean
}

/// Bars, then all figures; nothing of no rows.
pub fn section(kernels: &[&Kernel]) -> Vec<Element> {
    if kernels.is_empty() {
        return Vec::new();
    }
    bars(kernels).into_iter().chain([all_figures(kernels)]).collect()
}

/// Of the table of bars.
const COLUMNS: Width = Width { major: 5, minor: 1 };

/// Every row's percentage of the roofline, and the means last.
fn bars(kernels: &[&Kernel]) -> Vec<Element> {
    let shown: Vec<&Kernel> = kernels.iter().copied().filter(|kernel| share(kernel).is_some()).collect();
    if shown.is_empty() {
        return vec![left_out(kernels.len())];
    }
    let scale = Percentages::of(shown.iter().map(|kernel| kernel.percent_of_roofline));
    let columns = vec![
        Column::Text("model and shape"),
        Column::Bars("% of roofline", scale.heading()),
        Column::Number("µs"),
        Column::Number("TFLOP/s"),
        Column::Number("GB/s"),
        Column::Minor("bound by"),
    ];
    let means = means(&shown, |kernel| &kernel.row, share);
    let groups = grouped_by(&shown, |kernel| operation(&kernel.row));
    let bodies: Vec<Element> = groups
        .into_iter()
        .map(|(op, of)| {
            let mean = means.iter().find(|mean| mean.name == op).map_or(f64::NAN, |mean| mean.mean);
            let about = format!("{}, geometric mean {}", count(of.len(), "row"), percent(mean));
            element("tbody")
                .child(COLUMNS.heading(&op, about))
                .children(of.into_iter().map(|kernel| bar_row(kernel, scale)))
        })
        .collect();
    let means = element("tbody")
        .class("means")
        .child(COLUMNS.heading("Geometric means", "of the percentages of the roofline"))
        .children(means.iter().map(|mean| {
            let bar = scale.bar("mean", mean.mean, None);
            let row = element("tr").child(name(&mean.name, count(mean.rows, "row")));
            row.child(bar_cell(bar, percent(mean.mean))).children(COLUMNS.rest(2))
        }));
    let left_out = (shown.len() < kernels.len()).then(|| left_out(kernels.len() - shown.len()));
    let key = key(&[
        ("memory", "bound by memory"),
        ("tensor", "bound by tensor cores"),
        ("range", "10th to 90th percentile of the replays"),
    ]);
    let table =
        table("kernels", "Percent of the roofline by operation", columns, bodies.into_iter().chain([means]));
    [key, table].into_iter().chain(left_out).collect()
}

fn left_out(rows: usize) -> Element {
    let text = format!(
        "{} without a usable time or roofline: only in the table of all figures.",
        count(rows, "row")
    );
    element("p").class("note").text(text)
}

fn bar_row(kernel: &Kernel, scale: Percentages) -> Element {
    let Kernel { row, roofline_microseconds, low_microseconds, high_microseconds, bound, .. } = kernel;
    let of = |microseconds: f64| Some(roofline_microseconds / usable(microseconds)? * 100.0).and_then(usable);
    let range = of(*high_microseconds).zip(of(*low_microseconds)).map(<[f64; 2]>::from);
    let class = if bound == "tensor cores" { "tensor" } else { "memory" };
    element("tr")
        .child(name(&row.label, &row.sizes))
        .child(bar_cell(
            scale.bar(class, kernel.percent_of_roofline, range),
            percent(kernel.percent_of_roofline),
        ))
        .child(number(figure(kernel.microseconds)))
        .child(number(figure(kernel.teraflops_per_second)))
        .child(number(figure(kernel.gigabytes_per_second)))
        .child(minor(bound))
}

/// Every figure of every row.
fn all_figures(kernels: &[&Kernel]) -> Element {
    let columns = vec![
        Column::Text("operation"),
        Column::Text("model and shape"),
        Column::Number("µs"),
        Column::Number("10th"),
        Column::Number("90th"),
        Column::Number("replays x calls"),
        Column::Number("roofline µs"),
        Column::Number("%"),
        Column::Text("bound by"),
        Column::Number("TFLOP/s"),
        Column::Number("GB/s"),
        Column::Number("FLOP"),
        Column::Number("bytes"),
        Column::Number("written"),
        Column::Text("plan"),
    ];
    let row = |kernel: &&Kernel| {
        let row = &kernel.row;
        element("tr")
            .child(cell(operation(row)))
            .child(name(&row.label, &row.sizes))
            .child(number(figure(kernel.microseconds)))
            .child(number(figure(kernel.low_microseconds)))
            .child(number(figure(kernel.high_microseconds)))
            .child(number(format_args!("{} x {}", kernel.replays, kernel.calls)))
            .child(number(figure(kernel.roofline_microseconds)))
            .child(number(percent(kernel.percent_of_roofline)))
            .child(cell(&kernel.bound))
            .child(number(figure(kernel.teraflops_per_second)))
            .child(number(figure(kernel.gigabytes_per_second)))
            .child(number(grouped(row.flops)))
            .child(number(grouped(row.bytes)))
            .child(number(grouped(row.bytes_written)))
            .child(element("td").class("plan").text(row.plan.join("\n")))
    };
    let body = element("tbody").children(kernels.iter().map(row));
    element("details")
        .child(element("summary").text(format_args!("All figures of {}", count(kernels.len(), "row"))))
        .child(table("all", "All figures", columns, [body]))
}
