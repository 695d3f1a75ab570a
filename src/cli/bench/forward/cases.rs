//! Which batches and contexts are measured, and which of them a device has memory for.

use std::fmt;

use anyhow::{Result, bail};
use llama_kernels::cost::{self, Cost, StepFormats};
use llama_kernels::model::config::Config;
use llama_kernels::model::footprint::Footprint;
use llama_kernels::model::forward::ModelOptions;
use llama_kernels::tensor::DType;

use super::Phase;
use crate::cli::options::BenchArgs;
use crate::cli::progress::bytes;

/// Tokens of a page of the cache.
const PAGE_SIZE: usize = 16;
/// Tokens that a step of a prefill computes at most. Beyond a few thousand the products gain nothing, and the activations of
/// as many tokens of an 8B take 0.7 GB.
pub const CHUNK: usize = 8192;
/// Left for the driver, kernels, recordings, and the workspace of attention over split keys.
const RESERVED: u64 = 1 << 30;

/// One pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    pub phase: Phase,
    /// Sequences.
    pub batch: usize,
    /// Tokens of each in the cache before a decode; of each prompt.
    pub context: usize,
}

/// What is measured where the user does not say.
pub struct Defaults {
    decode: Lists,
    prefill: Lists,
}

/// Batches, and contexts.
type Lists = (&'static [usize], &'static [usize]);

/// On a GPU.
pub const DEFAULTS: Defaults =
    Defaults { decode: (&[1, 8, 64], &[512, 4096, 16_384]), prefill: (&[1], &[128, 512, 2048, 8192]) };

/// On a simulated GPU.
#[cfg(feature = "sim")]
pub const SIMULATED: Defaults = Defaults { decode: (&[1], &[64]), prefill: (&[1], &[64]) };

/// The cases that the user wants, phase by phase, small batches first.
pub fn wanted(phases: &[Phase], args: &BenchArgs, defaults: &Defaults) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for &phase in phases {
        let (batches, contexts) = match phase {
            Phase::Decode => defaults.decode,
            Phase::Prefill => defaults.prefill,
        };
        let batches = if args.batch.is_empty() { batches } else { &args.batch };
        let contexts = if args.context.is_empty() { contexts } else { &args.context };
        if batches.contains(&0) {
            bail!("--batch: expected at least 1 sequence, got 0");
        }
        if phase == Phase::Prefill && contexts.contains(&0) {
            bail!("--context: expected at least 1 token of a prompt, got 0");
        }
        for &batch in batches {
            cases.extend(contexts.iter().map(|&context| Case { phase, batch, context }));
        }
    }
    Ok(cases)
}

impl Case {
    /// Tokens that a pass brings.
    pub fn tokens(&self) -> usize {
        match self.phase {
            Phase::Decode => self.batch,
            Phase::Prefill => self.batch.saturating_mul(self.context),
        }
    }

    /// The least that a pass costs.
    pub fn cost(&self, config: &Config, formats: StepFormats) -> Cost {
        match self.phase {
            Phase::Decode => cost::decode_step(config, formats, self.batch, self.context),
            Phase::Prefill => cost::prefill(config, formats, self.batch, self.context),
        }
    }

    /// What a model has to hold for it, with room for so many decodes one after the other; `None` where that cannot be counted.
    fn options(&self, config: &Config, formats: StepFormats, decodes: usize) -> Option<ModelOptions> {
        let Case { phase, batch, context } = *self;
        let (longest, max_tokens) = match phase {
            Phase::Decode => (context.checked_add(decodes)?.min(config.context), batch),
            Phase::Prefill => (context, self.tokens().min(CHUNK)),
        };
        Some(ModelOptions {
            max_tokens,
            max_logits: batch,
            max_sequences: batch,
            cache_tokens: longest.checked_next_multiple_of(PAGE_SIZE)?.checked_mul(batch)?,
            page_size: PAGE_SIZE,
            weights: formats.weights,
            kv_cache: formats.kv_cache,
        })
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of batch {} and context {}", self.phase.name(), self.batch, self.context)
    }
}

/// The cases that a device has memory for, all in one model.
pub struct Fitting {
    pub cases: Vec<Case>,
    /// Why others were left out.
    pub refusals: Vec<String>,
    /// What each of the cases needs, in their order.
    options: Vec<ModelOptions>,
}

impl Fitting {
    /// Of a device with so many free bytes; `None` where nobody says.
    pub fn new(
        config: &Config,
        dtype: DType,
        formats: StepFormats,
        wanted: &[Case],
        decodes: usize,
        free: Option<u64>,
    ) -> Self {
        let mut fitting = Fitting { cases: Vec::new(), refusals: Vec::new(), options: Vec::new() };
        for case in wanted {
            match fits(config, dtype, formats, case, decodes, free) {
                Ok(options) => {
                    fitting.cases.push(*case);
                    fitting.options.push(options);
                }
                Err(why) => fitting.refusals.push(format!("{case} is left out: {why}")),
            }
        }
        // One of them may need a long cache and another many logits.
        while let Some(together) = fitting.options() {
            let Err(why) = has_room(config, dtype, &together, free) else { break };
            let largest = fitting.options.iter().enumerate().max_by_key(|(_, options)| options.cache_tokens);
            let Some((largest, _)) = largest else { break };
            let case = fitting.cases.remove(largest);
            fitting.options.remove(largest);
            let refusal = format!("{case} is left out: it fits alone, but the cases together take {why}");
            fitting.refusals.push(refusal);
        }
        fitting
    }

    /// What a model of all of the cases has to hold; `None` without any.
    pub fn options(&self) -> Option<ModelOptions> {
        self.options.iter().copied().reduce(|a, b| ModelOptions {
            max_tokens: a.max_tokens.max(b.max_tokens),
            max_logits: a.max_logits.max(b.max_logits),
            max_sequences: a.max_sequences.max(b.max_sequences),
            cache_tokens: a.cache_tokens.max(b.cache_tokens),
            ..a
        })
    }
}

/// What a case needs, or why it cannot be measured.
fn fits(
    config: &Config,
    dtype: DType,
    formats: StepFormats,
    case: &Case,
    decodes: usize,
    free: Option<u64>,
) -> Result<ModelOptions, String> {
    // A decode adds a token.
    let tokens = case.context.saturating_add(usize::from(case.phase == Phase::Decode));
    if tokens > config.context {
        return Err(format!("{tokens} tokens, more than the model's context of {}", config.context));
    }
    let options = case.options(config, formats, decodes).ok_or("more tokens than can be counted")?;
    has_room(config, dtype, &options, free).map_err(|why| format!("it takes {why}"))?;
    Ok(options)
}

/// What a model takes, where that is more than is free.
fn has_room(config: &Config, dtype: DType, options: &ModelOptions, free: Option<u64>) -> Result<(), String> {
    let footprint = Footprint::new(config, dtype, options).map_err(|error| error.to_string())?;
    let Some(free) = free else { return Ok(()) };
    let all = footprint.total().saturating_add(RESERVED);
    if all <= free {
        return Ok(());
    }
    Err(format!(
        "{} (weights {}, cache {}, steps {}, left for the driver {}), and {} are free",
        bytes(all),
        bytes(footprint.weights),
        bytes(footprint.cache),
        bytes(footprint.steps),
        bytes(RESERVED),
        bytes(free)
    ))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::options::{Arguments, Command};

    /// 139 GiB.
    const H200: u64 = 139 << 30;

    fn args(more: &[&str]) -> BenchArgs {
        let parsed = Arguments::parse_from([&["llama-kernels", "bench"], more].concat());
        let Command::Bench(args) = parsed.command else { unreachable!() };
        args
    }

    fn fitting(model: &str, cases: &[Case], free: u64) -> Fitting {
        let formats = StepFormats::default();
        Fitting::new(&Config::preset(model).unwrap(), DType::BF16, formats, cases, 50, Some(free))
    }

    #[test]
    fn lists_are_the_users_or_the_defaults() {
        let both = [Phase::Decode, Phase::Prefill];
        let cases = wanted(&both, &args(&[]), &DEFAULTS).unwrap();
        assert_eq!(cases.len(), 9 + 4);
        assert_eq!(cases[0], Case { phase: Phase::Decode, batch: 1, context: 512 });
        assert_eq!(cases[12], Case { phase: Phase::Prefill, batch: 1, context: 8192 });
        let cases = wanted(&both, &args(&["--batch", "3,4", "--context", "7"]), &DEFAULTS).unwrap();
        let sizes: Vec<_> = cases.iter().map(|case| (case.batch, case.context)).collect();
        assert_eq!(sizes, [(3, 7), (4, 7), (3, 7), (4, 7)]);
        for (zero, message) in
            [("--batch", "--batch: expected at least 1"), ("--context", "--context: expected")]
        {
            let error = wanted(&both, &args(&[zero, "0"]), &DEFAULTS).unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        }
        assert!(wanted(&[Phase::Decode], &args(&["--context", "0"]), &DEFAULTS).is_ok());
    }

    #[test]
    fn what_does_not_fit_an_h200_is_left_out_and_named() {
        let wanted = wanted(&[Phase::Decode, Phase::Prefill], &args(&[]), &DEFAULTS).unwrap();
        let eight = fitting("llama-3.1-8b", &wanted, H200);
        // 64 sequences of 16K tokens are 138 GB of keys and values.
        assert_eq!(eight.refusals.len(), 1, "{:?}", eight.refusals);
        let refusal = &eight.refusals[0];
        assert!(
            refusal.starts_with("decode of batch 64 and context 16384 is left out: it takes 155 GB"),
            "{refusal}"
        );
        assert!(refusal.contains("weights 16.1 GB") && refusal.contains("149 GB are free"), "{refusal}");
        let options = eight.options().unwrap();
        assert_eq!((options.max_tokens, options.max_logits, options.max_sequences), (8192, 64, 64));
        // 4096 tokens and the 50 behind them, in whole pages.
        assert_eq!(options.cache_tokens, 64 * 4160);
        // Weights of 141 GB leave room for 20,000 tokens.
        let seventy = fitting("llama-3.1-70b", &wanted, H200);
        let left_out = |(batch, context)| {
            format!("decode of batch {batch} and context {context} is left out: it takes ")
        };
        for (refusal, sizes) in
            seventy.refusals.iter().zip([(8, 4096), (8, 16_384), (64, 512), (64, 4096), (64, 16_384)])
        {
            assert!(refusal.starts_with(&left_out(sizes)), "{refusal}");
        }
        assert_eq!((seventy.refusals.len(), seventy.cases.len()), (5, 8));
        // Weights of 812 GB.
        let none = fitting("llama-3.1-405b", &wanted, H200);
        assert!(none.cases.is_empty() && none.options().is_none());
        assert_eq!(none.refusals.len(), wanted.len());
        assert_eq!(fitting("llama-3.1-70b", &wanted, 4 * H200).refusals.len(), 0);
    }

    /// The 70B in 4 bits has room for most.
    #[test]
    fn formats_make_room() {
        let wanted = wanted(&[Phase::Decode], &args(&["--batch", "1,8,32"]), &DEFAULTS).unwrap();
        let config = Config::preset("llama-3.1-70b").unwrap();
        let formats = |more: &[&str]| {
            let formats = super::super::formats(&args(&[&["decode"], more].concat()));
            Fitting::new(&config, DType::BF16, formats, &wanted, 50, Some(H200))
        };
        let [native, int4, both] =
            [&[][..], &["--weights", "int4"], &["--weights", "int4", "--kv-cache", "fp8"]].map(formats);
        assert_eq!([native, int4, both].map(|fitting| fitting.cases.len()), [5, 8, 9]);
    }

    #[test]
    fn the_end_of_the_context_is_kept() {
        let case = |phase, context| Case { phase, batch: 1, context };
        let cases = [
            case(Phase::Decode, 4095),
            case(Phase::Decode, 4096),
            case(Phase::Prefill, 4096),
            case(Phase::Prefill, 4097),
            case(Phase::Decode, usize::MAX),
        ];
        let fitting = fitting("llama-2-7b", &cases, H200);
        assert_eq!(fitting.cases, [cases[0], cases[2]]);
        assert!(fitting.refusals[0].ends_with("4097 tokens, more than the model's context of 4096"));
        assert_eq!(fitting.options().unwrap().cache_tokens, 4096);
    }

    #[test]
    fn cases_that_fit_one_by_one_may_not_fit_together() {
        let cases = [
            Case { phase: Phase::Decode, batch: 1, context: 100_000 },
            Case { phase: Phase::Prefill, batch: 1, context: 8192 },
        ];
        let config = Config::preset("llama-3.1-8b").unwrap();
        let long = Footprint::new(
            &config,
            DType::BF16,
            &cases[0].options(&config, StepFormats::default(), 50).unwrap(),
        )
        .unwrap();
        let fitting = fitting("llama-3.1-8b", &cases, long.total() + RESERVED);
        assert_eq!(fitting.cases, cases[1..]);
        assert!(fitting.refusals[0].contains("it fits alone"), "{:?}", fitting.refusals);
    }
}
