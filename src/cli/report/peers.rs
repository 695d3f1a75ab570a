//! Operations beside those of other libraries.

use super::bars::Factors;
use super::element::{Element, element};
use super::figures::{figure, usable};
use super::table::{Column, Width, bar_cell, count, means, name, number, operation, table};
use crate::cli::record::{Peer, Peers, geometric_mean, grouped_by};

fn speedup(peers: &Peers) -> Option<f64> {
    peers.speedup.and_then(usable)
}

/// `1.12x`
fn factor(number: f64) -> String {
    format!("{}x", figure(number))
}

/// `44 rows, geometric mean 1.03x of the fastest peer's time over ours`
pub fn summary(all: &[&Peers]) -> String {
    let mean = geometric_mean(all.iter().filter_map(|peers| speedup(peers)));
    let mean = mean.map_or(String::new(), |mean| {
        format!(", geometric mean {} of the fastest peer's time over ours", factor(mean))
    });
    count(all.len(), "row") + &mean
}

const COLUMNS: Width = Width { major: 4, minor: 1 };

/// Every row beside its peers, and the means last; nothing of no rows.
pub fn section(all: &[&Peers]) -> Vec<Element> {
    if all.is_empty() {
        return Vec::new();
    }
    let scale = Factors::of(all.iter().filter_map(|peers| speedup(peers)));
    let columns = vec![
        Column::Text("model and shape"),
        Column::Bars("fastest peer's time over ours", scale.heading()),
        Column::Number("ours, µs"),
        Column::Text("peers, µs"),
        Column::Minor("difference"),
    ];
    let means = means(all, |peers| &peers.row, speedup);
    let groups = grouped_by(all, |peers| operation(&peers.row));
    let bodies: Vec<Element> = groups
        .into_iter()
        .map(|(op, of)| {
            let mean = means.iter().find(|mean| mean.name == op);
            let mean = mean.map_or(String::new(), |mean| format!(", geometric mean {}", factor(mean.mean)));
            element("tbody")
                .child(COLUMNS.heading(&op, count(of.len(), "row") + &mean))
                .children(of.into_iter().map(|peers| row(peers, scale)))
        })
        .collect();
    let means = (!means.is_empty()).then(|| {
        element("tbody")
            .class("means")
            .child(COLUMNS.heading("Geometric means", "of the fastest peer's time over ours"))
            .children(means.iter().map(|mean| {
                element("tr")
                    .child(name(&mean.name, count(mean.rows, "row")))
                    .child(bar_cell(scale.bar(mean.mean), factor(mean.mean)))
                    .children(COLUMNS.rest(2))
            }))
    });
    let about = "Above 1x, to the right of the mark, this library is faster than the fastest of its peers in that row; \
                 below, to the left, it is slower. The difference is the largest between our output and the first peer's, \
                 relative to the largest element.";
    vec![
        element("p").text(about),
        table("peers", "Beside other libraries", columns, bodies.into_iter().chain(means)),
    ]
}

fn row(peers: &Peers, scale: Factors) -> Element {
    let compared = match speedup(peers) {
        Some(speedup) => {
            let word = match speedup {
                above if above > 1.005 => "faster",
                below if below < 0.995 => "slower",
                _ => "even",
            };
            bar_cell(scale.bar(speedup), format_args!("{} {word}", factor(speedup)))
        }
        None => bar_cell(None, "not compared"),
    };
    element("tr")
        .child(name(&peers.row.label, &peers.row.sizes))
        .child(compared)
        .child(number(figure(peers.ours_microseconds)))
        .child(element("td").child(element("ul").children(peers.peers.iter().map(peer))))
        .child(
            element("td")
                .class("n minor")
                .text(peers.difference.map_or("—".into(), |difference| format!("{difference:.1e}"))),
        )
}

fn peer(peer: &Peer) -> Element {
    let time = peer.microseconds.and_then(usable).map_or("failed".into(), figure);
    let note = (!peer.note.is_empty()).then(|| element("span").class("dim").text(&peer.note));
    element("li")
        .text(format_args!("{} ", peer.name))
        .child(element("b").text(time))
        .text(if note.is_some() { " " } else { "" })
        .children(note)
}
