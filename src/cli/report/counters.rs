//! What the simulated GPU counted, and rows that were only listed.

use super::element::{Element, element};
use super::figures::{figure, grouped, percent};
use super::table::{Column, Width, cell, count, name, number, operation, table};
use crate::cli::record::{Counters, Row, grouped_by};

const COLUMNS: Width = Width { major: 12, minor: 0 };

/// The counters of every row, and its instructions by class; nothing of no rows.
pub fn section(counters: &[&Counters]) -> Vec<Element> {
    if counters.is_empty() {
        return Vec::new();
    }
    let columns = vec![
        Column::Text("model and shape"),
        Column::Number("launches"),
        Column::Number("bytes at least"),
        Column::Number("touched"),
        Column::Number("issued"),
        Column::Number("issued / least"),
        Column::Number("tensor FLOP"),
        Column::Number("warp instructions"),
        Column::Number("shared wavefronts"),
        Column::Number("bank conflicts"),
        Column::Number("barriers"),
        Column::Text("predicted floor"),
    ];
    let devices = grouped_by(counters, |counters| counters.bound_device.as_str());
    let devices: Vec<&str> = devices.into_iter().map(|(device, _)| device).collect();
    let groups = grouped_by(counters, |counters| operation(&counters.row));
    let bodies = groups.into_iter().map(|(op, of)| {
        let rows = of.iter().map(|counters| row(counters, devices.len() > 1));
        element("tbody").child(COLUMNS.heading(op, count(of.len(), "row"))).children(rows)
    });
    let about = format!(
        "Counted on a simulated GPU in one call of each row; no figure here is a time that was measured. The floor is \
         predicted from the bytes and the arithmetic, for {}.",
        devices.join(", ")
    );
    vec![
        element("p").text(about),
        table("counters", "Counted on the simulated GPU", columns, bodies),
        classes(counters),
    ]
}

/// A row; with the device of its prediction where there are several.
fn row(counters: &Counters, name_device: bool) -> Element {
    let Counters { row, bound, bound_microseconds, bound_device, .. } = counters;
    let floor = format!("{} µs, {bound}", figure(*bound_microseconds));
    let floor = if name_device { format!("{floor}, {bound_device}") } else { floor };
    let ratio = counters.issued_bytes as f64 / row.bytes as f64;
    element("tr")
        .child(name(&row.label, &row.sizes))
        .child(number(counters.launches))
        .child(number(grouped(row.bytes)))
        .child(number(grouped(counters.touched_bytes)))
        .child(number(grouped(counters.issued_bytes)))
        .child(number(figure(ratio)))
        .child(number(grouped(counters.tensor_flops)))
        .child(number(grouped(counters.instructions)))
        .child(number(grouped(counters.shared_wavefronts)))
        .child(number(grouped(counters.bank_conflicts)))
        .child(number(grouped(counters.barriers)))
        .child(cell(floor))
}

fn classes(counters: &[&Counters]) -> Element {
    let columns = vec![
        Column::Text("operation"),
        Column::Text("model and shape"),
        Column::Text("instructions by class"),
    ];
    let rows = counters.iter().map(|counters| {
        let total = counters.instructions as f64;
        let classes = counters.instructions_by_class.0.iter().filter(|(_, number)| *number > 0);
        let classes: Vec<String> = classes
            .map(|(class, number)| {
                format!("{class} {} ({})", grouped(*number), percent(*number as f64 / total * 100.0))
            })
            .collect();
        element("tr")
            .child(cell(operation(&counters.row)))
            .child(name(&counters.row.label, &counters.row.sizes))
            .child(cell(classes.join(", ")))
    });
    element("details").child(element("summary").text("Instructions by class")).child(table(
        "all",
        "Instructions by class",
        columns,
        [element("tbody").children(rows)],
    ))
}

/// Rows without a time: what would be measured; nothing of no rows.
pub fn listed(rows: &[&Row]) -> Vec<Element> {
    if rows.is_empty() {
        return Vec::new();
    }
    let columns = vec![
        Column::Text("operation"),
        Column::Text("model and shape"),
        Column::Number("FLOP"),
        Column::Number("bytes"),
        Column::Number("written"),
        Column::Text("plan"),
    ];
    let body = element("tbody").children(rows.iter().map(|row| {
        element("tr")
            .child(cell(operation(row)))
            .child(name(&row.label, &row.sizes))
            .child(number(grouped(row.flops)))
            .child(number(grouped(row.bytes)))
            .child(number(grouped(row.bytes_written)))
            .child(element("td").class("plan").text(row.plan.join("\n")))
    }));
    vec![
        element("p").text("What a bench would measure, and how it would run; nothing here was timed."),
        table("all", "Planned rows", columns, [body]),
    ]
}
