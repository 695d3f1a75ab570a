//! The page: heading, contents, a section for each run, and how it was all measured.

use super::element::{Element, element};
use super::figures::{figure, grouped, usable};
use super::runs::Results;
use super::table::count;
use super::{checks, counters, kernels, peers, steps};
use crate::cli::record::{Clocks, Device, Run};

/// The whole page.
pub fn html(runs: &[Results<'_>]) -> String {
    let title = title(runs);
    let head = element("head")
        .child(element("meta").attr("charset", "utf-8"))
        .child(
            element("meta").attr("name", "viewport").attr("content", "width=device-width, initial-scale=1"),
        )
        .child(element("meta").attr("name", "color-scheme").attr("content", "light dark"))
        .child(element("title").text(&title))
        .child(element("style").raw(include_str!("style.css")));
    let described: Vec<Described> =
        runs.iter().enumerate().map(|(i, results)| describe(i, results)).collect();
    let body = element("body")
        .child(element("h1").text("llama-kernels").child(element("span").class("dim").text(" results")))
        .child(contents(&described))
        .child(element("main").children(described.into_iter().map(|run| run.section)))
        .children(runs.iter().any(Results::is_timed).then(method));
    format!("<!DOCTYPE html>\n{}\n", element("html").attr("lang", "en").child(head).child(body))
}

fn title(runs: &[Results<'_>]) -> String {
    let mut names: Vec<&str> =
        runs.iter().filter_map(|results| Some(results.run?.device.name.as_str())).collect();
    names.dedup();
    if names.is_empty() {
        "llama-kernels results".into()
    } else {
        format!("llama-kernels on {}", names.join(", "))
    }
}

/// A run's section, and what the contents say of it.
struct Described {
    id: String,
    title: String,
    date: String,
    parts: Vec<Link>,
    section: Element,
}

/// A line of the contents: a part of a run, and what came of it.
struct Link {
    id: String,
    title: String,
    summary: String,
}

/// A part of a run.
struct Part {
    slug: String,
    title: String,
    summary: String,
    content: Vec<Element>,
}

fn describe(i: usize, results: &Results<'_>) -> Described {
    let id = format!("run-{}", i + 1);
    let title = results.title();
    let mut section = element("section")
        .attr("id", &id)
        .class("run")
        .child(element("h2").text(&title))
        .children(banner(results))
        .children(results.run.map(facts));
    let mut parts = Vec::new();
    for Part { slug, title, summary, content } in content(&id, results) {
        let id = format!("{id}-{slug}");
        let part = element("section").attr("id", &id).child(element("h3").text(&title));
        section = section.child(part.children(content));
        parts.push(Link { id, title, summary });
    }
    if parts.is_empty() {
        section = section.child(element("p").class("note").text("No results of this run."));
    }
    let date = results.run.map_or(String::new(), |run| run.date.clone());
    Described { id, title, date, parts, section }
}

/// The parts that a run has.
fn content(id: &str, results: &Results<'_>) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut part = |slug: &str, title: &str, summary: String, content: Vec<Element>| {
        if !content.is_empty() {
            parts.push(Part { slug: slug.into(), title: title.into(), summary, content });
        }
    };
    let Results { kernels, steps, peers, checks, counters, rows, .. } = results;
    part(
        "ceilings",
        "Ceilings, measured in this run",
        kernels::ceilings_summary(results),
        kernels::ceilings(results),
    );
    let chart = kernels::roofline_chart(&format!("{id}-chart"), results);
    part("roofline", "Roofline", String::new(), chart.into_iter().collect());
    part("kernels", "Operations", kernels::summary(kernels), kernels::section(kernels));
    for (i, phase) in steps::phases(steps).into_iter().enumerate() {
        part(&format!("steps-{}", i + 1), &phase.title, phase.summary, phase.content);
    }
    part("peers", "Beside other libraries", peers::summary(peers), peers::section(peers));
    part("checks", "Compared with the CPU reference", checks::summary(checks), checks::section(checks));
    part("counters", "Counted, not timed", count(counters.len(), "row"), counters::section(counters));
    part("rows", "Planned rows", count(rows.len(), "row"), counters::listed(rows));
    parts
}

fn contents(runs: &[Described]) -> Element {
    let link = |id: &str, title: &str| element("a").attr("href", format_args!("#{id}")).text(title);
    let dim = |text: &str| element("span").class("dim").text(" ").text(text);
    element("nav").attr("aria-label", "Contents").child(element("ul").children(runs.iter().map(|run| {
        let part = |part: &Link| element("li").child(link(&part.id, &part.title)).child(dim(&part.summary));
        let parts = (!run.parts.is_empty()).then(|| element("ul").children(run.parts.iter().map(part)));
        element("li").child(link(&run.id, &run.title)).child(dim(&run.date)).children(parts)
    })))
}

/// What must not be overlooked.
fn banner(results: &Results<'_>) -> Vec<Element> {
    let banner = |strong: &str, text: String| {
        let strong = element("strong").text(strong);
        element("p").class("banner").attr("role", "note").child(strong).text(" ").text(text)
    };
    let mut banners = Vec::new();
    if results.is_simulated() {
        let untimed = match results.impossible {
            0 => String::new(),
            n => format!(
                " {} left out that the file gives as timed: a simulated GPU has no clock.",
                count(n, "result")
            ),
        };
        let text = format!("Nothing in this section ran on a card, and no time was measured.{untimed}");
        banners.push(banner("SIMULATED GPU: counted, not timed.", text));
    }
    if results.run.is_some_and(|run| run.commit.ends_with("-dirty")) {
        banners.push(banner(
            "Uncommitted changes:",
            "the program was built from files that no commit has.".into(),
        ));
    }
    if results.run.is_none() {
        let text = "The file does not say which device and which program these results are of.".into();
        banners.push(banner("Unknown origin.", text));
    }
    banners
}

fn facts(run: &Run) -> Element {
    let Run { command, version, commit, date, device } = run;
    let mut facts = vec![("GPU", gpu(device))];
    if let Some(driver) = driver(device) {
        facts.push(("Driver", driver));
    }
    if let Some(cuda) = &device.kernels_cuda {
        facts.push(("Kernels", format!("compiled by CUDA {cuda}")));
    }
    if let Some(clocks) = &device.clocks {
        facts.push(("Clocks", self::clocks(clocks)));
    }
    facts.push(("Date", date.clone()));
    facts.push(("Commit", commit.clone()));
    facts.push(("Version", version.clone()));
    facts.push(("Command", command.clone()));
    let fact = |(name, value): (&str, String)| {
        element("div").child(element("dt").text(name)).child(element("dd").text(value))
    };
    let facts = facts.into_iter().filter(|(_, value)| !value.is_empty()).map(fact);
    element("dl").class("facts").children(facts)
}

fn gpu(device: &Device) -> String {
    let mut parts = vec![device.name.clone()];
    if !device.compute_capability.is_empty() {
        parts.push(format!("compute capability {}", device.compute_capability));
    }
    if device.num_sms > 0 {
        parts.push(format!("{} SMs", device.num_sms));
    }
    if let Some(bytes) = device.memory_bytes {
        parts.push(format!("{} GB", figure(bytes as f64 / 1e9)));
    }
    if let Some(bytes) = device.l2_bytes {
        parts.push(format!("L2 of {} MB", figure(bytes as f64 / 1e6)));
    }
    if let Some(speed) = device.memory_bytes_per_second.and_then(usable) {
        parts.push(format!("memory of {} GB/s by its clock", figure(speed / 1e9)));
    }
    parts.join(", ")
}

fn driver(device: &Device) -> Option<String> {
    let cuda = device.driver_cuda.as_ref().map(|cuda| format!("CUDA {cuda}"));
    match (&device.driver, cuda) {
        (Some(driver), Some(cuda)) => Some(format!("{driver}, {cuda}")),
        (driver, cuda) => driver.clone().or(cuda),
    }
}

fn clocks(clocks: &Clocks) -> String {
    let mhz = |now: u32, most: u32| format!("{} of {} MHz", grouped(now.into()), grouped(most.into()));
    format!(
        "SM {}, memory {}; limit {} W, {} °C",
        mhz(clocks.sm, clocks.max_sm),
        mhz(clocks.memory, clocks.max_memory),
        clocks.power_limit_watts,
        clocks.temperature_celsius
    )
}

/// In five sentences.
fn method() -> Element {
    const SENTENCES: [&str; 5] = [
        "A time is the median over the replays of a CUDA graph that holds a call several times, each on operands of its own \
         full of random numbers, divided by the number of calls.",
        "Before each replay the L2 cache is emptied by reading other memory, so that every call finds its inputs in memory \
         and not in the cache.",
        "Kernels follow one another as in a real step, and the gap between two is part of every time; the empty kernel among \
         the ceilings, timed the same way, says how much that is.",
        "The roofline is the least time that the ceilings of the same run allow: that of the arithmetic by the tensor cores, \
         or that of the bytes (every input read once, every output written once) by the memory, whichever is longer.",
        "Whole steps are timed by the host's clock, from their inputs on the host to their tokens there, and other \
         libraries by the same method in turns with ours, in one process.",
    ];
    element("section")
        .attr("id", "method")
        .child(element("h2").text("How this was measured"))
        .child(element("p").text(SENTENCES.join(" ")))
        .child(
            element("p")
                .text("The full method, and what each figure means, is in ")
                .child(element("code").text("docs/benchmarks.md"))
                .text(" of the repository."),
        )
}
