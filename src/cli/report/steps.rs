//! Whole forward passes: time, tokens a second, percent of the floor.

use super::bars::{Percentages, Times};
use super::element::{Element, element};
use super::figures::{figure, grouped, percent, usable};
use super::table::{Column, Width, bar_cell, cell, count, key, minor, number, table};
use crate::cli::record::{Step, grouped_by};

/// What the page says of a phase.
struct Words {
    title: String,
    /// What a step's time is.
    time: &'static str,
    context: &'static str,
    about: &'static str,
}

fn words(phase: &str) -> Words {
    match phase {
        "decode" => Words {
            title: "Decode".into(),
            time: "ms per token",
            context: "tokens in cache",
            about: "One new token of each sequence a step, by the host's clock: from its inputs on the host to its tokens \
                    there. The floor is the least time by the ceilings: to read weights and cache once, or to compute, \
                    whichever is longer.",
        },
        "prefill" => Words {
            title: "Prefill".into(),
            time: "ms to first token",
            context: "tokens a prompt",
            about: "All tokens of the prompts, by the host's clock: from their inputs on the host to the first new token \
                    there. The floor is the least time by the ceilings.",
        },
        other => Words {
            title: format!("Steps: {other}"),
            time: "ms",
            context: "context",
            about: "Whole forward passes.",
        },
    }
}

/// All steps of a phase, as a part of the page.
pub struct Phase {
    pub title: String,
    pub summary: String,
    pub content: Vec<Element>,
}

/// One part for each phase.
pub fn phases(steps: &[&Step]) -> Vec<Phase> {
    let phases = grouped_by(steps, |step| step.phase.as_str());
    phases.into_iter().map(|(phase, steps)| phase_section(&words(phase), &steps)).collect()
}

fn phase_section(words: &Words, steps: &[&Step]) -> Phase {
    let shown: Vec<&Step> =
        steps.iter().copied().filter(|step| usable(step.microseconds).is_some()).collect();
    let mut content = vec![element("p").text(words.about)];
    if !shown.is_empty() {
        content.push(key(&[
            ("floor", "the floor"),
            ("beyond", "what a step takes beyond it; bars of one model are of one scale"),
        ]));
        content.push(phase_table(words, &shown));
    }
    if shown.len() < steps.len() {
        let left_out = count(steps.len() - shown.len(), "step");
        content.push(
            element("p").class("note").text(format_args!("{left_out} without a usable time left out.")),
        );
    }
    Phase { title: words.title.clone(), summary: summary(words, &shown), content }
}

/// The first step of each model: `llama-3.1-8b native: 4.21 ms per token at batch 1, 512 tokens in cache`.
fn summary(words: &Words, steps: &[&Step]) -> String {
    let models = grouped_by(steps, |step| (step.model.as_str(), step.formats()));
    let first = models.into_iter().filter_map(|((model, formats), steps)| {
        let Step { microseconds, batch, context, .. } = **steps.first()?;
        let milliseconds = figure(microseconds / 1e3);
        Some(format!(
            "{model} {formats}: {milliseconds} {} at batch {batch}, {} {}",
            words.time,
            grouped(context as u64),
            words.context
        ))
    });
    first.collect::<Vec<_>>().join("; ")
}

/// Of a phase's table.
const COLUMNS: Width = Width { major: 5, minor: 2 };

fn phase_table(words: &Words, steps: &[&Step]) -> Element {
    let percentages = Percentages::of(steps.iter().map(|step| step.percent_of_floor));
    let columns = vec![
        Column::Number("batch"),
        Column::Number(words.context),
        Column::Bars(words.time, element("div").class("ticks")),
        Column::Bars("% of floor", percentages.heading()),
        Column::Number("tokens/s"),
        Column::Minor("10th to 90th, ms"),
        Column::Minor("floor, ms"),
    ];
    let models = grouped_by(steps, |step| {
        (step.model.as_str(), step.dtype.as_str(), step.weights.as_str(), step.kv_cache.as_str())
    });
    let bodies = models.into_iter().map(|((model, dtype, weights, cache), steps)| {
        let times = Times::of(steps.iter().map(|step| step.microseconds));
        let about = format!("{dtype}, {weights} weights, {cache} cache");
        element("tbody")
            .child(COLUMNS.heading(model, about))
            .children(steps.into_iter().map(|step| row(step, times, percentages)))
    });
    table("steps", &words.title, columns, bodies)
}

fn row(step: &Step, times: Times, percentages: Percentages) -> Element {
    let milliseconds = |microseconds: f64| figure(microseconds / 1e3);
    let Step { microseconds, low_microseconds, high_microseconds, floor_microseconds, .. } = *step;
    let share = percentages.bar("share", step.percent_of_floor, None);
    let share = match usable(step.percent_of_floor) {
        Some(_) => bar_cell(share, percent(step.percent_of_floor)),
        None => cell("—"),
    };
    element("tr")
        .child(element("th").attr("scope", "row").class("n").text(grouped(step.batch as u64)))
        .child(number(grouped(step.context as u64)))
        .child(bar_cell(times.bar(microseconds, floor_microseconds), milliseconds(microseconds)))
        .child(share)
        .child(number(figure(step.tokens_per_second)))
        .child(minor(format_args!("{}–{}", milliseconds(low_microseconds), milliseconds(high_microseconds))))
        .child(minor(milliseconds(floor_microseconds)))
}
