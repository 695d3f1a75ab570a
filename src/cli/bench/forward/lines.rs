//! What was measured, for people.

use std::time::Duration;

use llama_kernels::backend::WeightFormat;
use llama_kernels::model::footprint::Footprint;
use llama_kernels::model::forward::ModelOptions;
use llama_kernels::tensor::DType;
#[cfg(feature = "sim")]
use llama_kernels::{backend::CacheFormat, cost::StepFormats};

use super::Phase;
use super::cases::CHUNK;
use super::subject::Subject;
use crate::cli::info::thousands;
use crate::cli::progress::bytes;
#[cfg(feature = "sim")]
use crate::cli::record::Counters;
use crate::cli::record::Step;

/// A model that has been loaded.
pub fn model(subject: &Subject, dtype: DType, options: &ModelOptions, took: Duration) -> String {
    let parameters = thousands(subject.config.parameter_count());
    let sizes = Footprint::new(&subject.config, dtype, options).map_or(String::new(), |footprint| {
        format!(
            "{} in {dtype}{}, a cache of {} tokens in shuffled pages of {} ({} in {})",
            bytes(footprint.weights),
            match options.weights {
                WeightFormat::Native => String::new(),
                weights => format!(" and {weights}"),
            },
            thousands(options.cache_tokens as u64),
            options.page_size,
            bytes(footprint.cache),
            options.kv_cache.dtype(dtype)
        )
    });
    let seconds = took.as_secs_f64();
    format!(
        "{}: {parameters} parameters, {sizes}; all of it random numbers, made and loaded in {seconds:.1} s",
        subject.name
    )
}

/// A model and what it is held in: `demo-model int4, fp8 cache`; its name alone where that is 16 bits.
#[cfg(feature = "sim")]
pub fn label(model: &str, formats: StepFormats) -> String {
    let weights = match formats.weights {
        WeightFormat::Native => String::new(),
        weights => format!(" {weights}"),
    };
    match formats.kv_cache {
        CacheFormat::Native => format!("{model}{weights}"),
        cache => format!("{model}{weights}, {cache} cache"),
    }
}

/// Over the columns of [`step`].
pub fn heading(phase: Phase) -> String {
    let (what, context, time, rate) = match phase {
        Phase::Decode => (
            "decode: from a token of each sequence on the host to the next ones there, by forward and greedy sample; the median \
             of steps that each come a token later; GB/s of weights and cache"
                .to_string(),
            "context",
            "ms/token",
            "GB/s",
        ),
        Phase::Prefill => (
            format!(
                "prefill: from the prompts on the host to the first token of each there, in steps of at most {CHUNK} tokens; \
                 TFLOP/s of products and attention"
            ),
            "prompt",
            "ms",
            "TFLOP/s",
        ),
    };
    format!(
        "{what}\n{:<14} {:<7} {:<7} {:>5} {context:>7} {time:>10} {:>10} {:>10} {:>10} {rate:>8} {:>9} {:>10}  {:<12} {:>6}",
        "model",
        "weights",
        "cache",
        "batch",
        "10%",
        "90%",
        "tokens/s",
        "floor ms",
        "% of floor",
        "floor is of",
        "passes"
    )
}

/// Under [`heading`].
pub fn step(step: &Step, bound: &str) -> String {
    let rate = match step.phase.as_str() {
        "decode" => step.bytes as f64 / step.microseconds / 1e3,
        _ => step.flops as f64 / step.microseconds / 1e6,
    };
    format!(
        "{:<14} {:<7} {:<7} {:>5} {:>7} {:>10.3} {:>10.3} {:>10.3} {:>10.1} {rate:>8.1} {:>9.3} {:>10.1}  {bound:<12} {:>6}",
        step.model,
        step.weights,
        step.kv_cache,
        step.batch,
        step.context,
        step.microseconds / 1e3,
        step.low_microseconds / 1e3,
        step.high_microseconds / 1e3,
        step.tokens_per_second,
        step.floor_microseconds / 1e3,
        step.percent_of_floor,
        step.steps,
    )
}

/// Over the columns of [`counted`].
#[cfg(feature = "sim")]
pub fn counted_heading(device: &str) -> String {
    format!(
        "counted by the {device} in one pass, without sampling; the floor is predicted for an H200 by its datasheet\n\
         {:<14} {:<7} {:>5} {:>7} {:>8} {:>14} {:>13} {:>13} {:>10} {:>10} {:>10} {:>9} {:>9}",
        "model",
        "phase",
        "batch",
        "context",
        "launches",
        "M instructions",
        "tensor GFLOP",
        "least GFLOP",
        "touched MB",
        "issued MB",
        "least MB",
        "conflicts",
        "floor µs"
    )
}

/// Under [`counted_heading`].
#[cfg(feature = "sim")]
pub fn counted(counters: &Counters) -> String {
    let size = |name: &str| {
        let sizes = &counters.row.sizes.0;
        sizes.iter().find(|(known, _)| known == name).map_or(0, |(_, size)| *size)
    };
    format!(
        "{:<14} {:<7} {:>5} {:>7} {:>8} {:>14.3} {:>13.3} {:>13.3} {:>10.2} {:>10.2} {:>10.2} {:>9} {:>9.2}",
        counters.row.label,
        counters.row.op,
        size("batch"),
        size("context"),
        counters.launches,
        counters.instructions as f64 / 1e6,
        counters.tensor_flops as f64 / 1e9,
        counters.row.flops as f64 / 1e9,
        counters.touched_bytes as f64 / 1e6,
        counters.issued_bytes as f64 / 1e6,
        counters.row.bytes as f64 / 1e6,
        counters.bank_conflicts,
        counters.bound_microseconds,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_their_headings() {
        let decode = Step {
            phase: "decode".into(),
            model: "llama-3.1-8b".into(),
            weights: "int4".into(),
            kv_cache: "fp8".into(),
            batch: 8,
            context: 16384,
            microseconds: 10_000.0,
            low_microseconds: 9_900.0,
            high_microseconds: 10_400.0,
            steps: 50,
            tokens_per_second: 800.0,
            flops: 3_000_000_000_000,
            bytes: 32_000_000_000,
            floor_microseconds: 8_000.0,
            percent_of_floor: 80.0,
            ..Step::default()
        };
        let line = step(&decode, "memory");
        let words: Vec<_> = line.split_whitespace().collect();
        let expected = "llama-3.1-8b int4 fp8 8 16384 10.000 9.900 10.400 800.0 3200.0 8.000 80.0 memory 50";
        assert_eq!(words.join(" "), expected);
        let prefill = Step { phase: "prefill".into(), ..decode };
        assert!(step(&prefill, "tensor cores").contains(" 300.0 "), "{}", step(&prefill, "tensor cores"));
        for (phase, line) in [(Phase::Decode, line), (Phase::Prefill, step(&prefill, "tensor cores"))] {
            let heading = heading(phase);
            let columns = heading.lines().last().unwrap();
            assert_eq!(columns.chars().count(), line.chars().count(), "{columns}\n{line}");
        }
    }
}
