//! `llama-kernels generate`.

use std::io::{BufRead, IsTerminal, Write};
use std::ops::ControlFlow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};
use llama_kernels::Error;
use llama_kernels::backend::Backend;
use llama_kernels::device::DeviceChoice;
use llama_kernels::model::chat::Message;
use llama_kernels::model::checkpoint::Checkpoint;
use llama_kernels::model::config::GenerationDefaults;
use llama_kernels::model::forward::{Model, ModelOptions};
use llama_kernels::model::generate::{Generation, GenerationOptions, Session};
use llama_kernels::model::sampling::SamplingOptions;
use llama_kernels::model::tokenizer::Tokenizer;

use super::device::{self, Job};
use super::interrupt::{self, Work};
use super::options::GenerateArgs;
use super::progress::ProgressBar;

/// Tokens that a conversation may hold where the user does not say.
const CONVERSATION: usize = 8192;

pub fn run(args: &GenerateArgs) -> Result<()> {
    device::run(&args.model, DeviceChoice::Cpu, Generate(args)).map(drop)
}

struct Generate<'a>(&'a GenerateArgs);

impl Job for Generate<'_> {
    fn run<B: Backend>(self, backend: B, checkpoint: &Checkpoint) -> Result<()> {
        let Generate(args) = self;
        let tokenizer = Tokenizer::load(&args.model.model, checkpoint.config())?;
        let defaults = GenerationDefaults::load(&args.model.model)?;
        let options = generation_options(args, checkpoint, &defaults);
        options.sampling.check()?;

        interrupt::install();
        let mut messages: Vec<Message> =
            args.system.iter().map(|text| Message::new("system", text)).collect();
        match (&args.prompt, args.chat) {
            (Some(text), chat) => {
                let prompt = if chat {
                    messages.push(Message::new("user", text));
                    tokenizer.encode_chat(&messages)?
                } else {
                    tokenizer.encode_prompt(text)?
                };
                let context = checkpoint.config().context;
                if prompt.len() > context {
                    return Err(Error::ContextTooLong { tokens: prompt.len(), context }.into());
                }
                let tokens = context.min(prompt.len().saturating_add(options.max_tokens));
                let mut model = load(backend, checkpoint, args, tokens)?;
                let mut session = Session::new(&mut model)?;
                let generation = answer(&mut session, &mut model, &tokenizer, &prompt, &options, args.json)?;
                report(&generation, &options, args.json, model.backend())
            }
            (None, _) => {
                let tokens = args.context.unwrap_or(CONVERSATION).min(checkpoint.config().context);
                let model = load(backend, checkpoint, args, tokens)?;
                converse(model, &tokenizer, messages, &options, args.json)
            }
        }
    }
}

/// The command line's options, else those of the model's authors where they advise to sample, else greedy.
fn generation_options(
    args: &GenerateArgs,
    checkpoint: &Checkpoint,
    defaults: &GenerationDefaults,
) -> GenerationOptions {
    let greedy = SamplingOptions::GREEDY;
    let advised =
        if defaults.do_sample == Some(true) { defaults.clone() } else { GenerationDefaults::default() };
    // Whoever filters tokens, or follows advice to sample, wants more than the most likely one.
    let filters = args.top_k.is_some() || args.top_p.is_some() || args.min_p.is_some();
    let temperature = if filters || advised.do_sample.is_some() { 1.0 } else { greedy.temperature };
    let top_k = args.top_k.or(advised.top_k.and_then(|k| u32::try_from(k).ok()));
    let mut stop_tokens = checkpoint.config().eos_token_ids.clone();
    stop_tokens.extend(&defaults.eos_token_ids);
    GenerationOptions {
        max_tokens: args.max_tokens,
        sampling: SamplingOptions {
            repetition_penalty: args
                .repetition_penalty
                .or(advised.repetition_penalty)
                .unwrap_or(greedy.repetition_penalty),
            temperature: args.temperature.or(advised.temperature).unwrap_or(temperature),
            top_k: top_k.unwrap_or(greedy.top_k),
            top_p: args.top_p.or(advised.top_p).unwrap_or(greedy.top_p),
            min_p: args.min_p.unwrap_or(greedy.min_p),
            seed: args.seed.unwrap_or_else(new_seed),
        },
        stop_tokens,
        stop_strings: args.stop.clone(),
    }
}

/// A seed that differs from run to run. Short enough to be typed again.
fn new_seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::from(now.subsec_nanos() ^ now.as_secs() as u32)
}

fn load<B: Backend>(
    backend: B,
    checkpoint: &Checkpoint,
    args: &GenerateArgs,
    tokens: usize,
) -> Result<Model<B>> {
    let options = args.model.options(ModelOptions::single(tokens));
    let total = checkpoint.weight_bytes();
    let mut bar = ProgressBar::new("loading");
    Ok(Model::load(backend, checkpoint, &options, &mut |done| bar.set(done, total))?)
}

/// Generates one text, streaming it to stdout unless `quiet`.
fn answer<B: Backend>(
    session: &mut Session,
    model: &mut Model<B>,
    tokenizer: &Tokenizer,
    prompt: &[u32],
    options: &GenerationOptions,
    quiet: bool,
) -> Result<Generation> {
    let work = Work::begin();
    let mut failure = None;
    let generation = session.generate(model, tokenizer, prompt, options, &mut |text| {
        if !quiet {
            let mut stdout = std::io::stdout().lock();
            if let Err(error) = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
                failure = Some(error);
            }
        }
        if failure.is_some() || work.interrupted() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })?;
    match failure {
        Some(error) => Err(error.into()),
        None => Ok(generation),
    }
}

/// What a generation took: on stderr, or with the text as JSON on stdout.
fn report<B: Backend>(
    generation: &Generation,
    options: &GenerationOptions,
    json: bool,
    device: &B,
) -> Result<()> {
    let computed = generation.prompt_tokens - generation.cached_tokens;
    let prompt_rate = rate(computed, generation.prompt_time);
    let decode_rate = rate(generation.tokens.len(), generation.decode_time);
    let mut stdout = std::io::stdout().lock();
    if json {
        let mut object = serde_json::json!({
            "text": generation.text,
            "tokens": generation.tokens,
            "finish_reason": generation.finish_reason.to_string(),
            "prompt_tokens": generation.prompt_tokens,
            "prompt_tokens_per_second": prompt_rate,
            "decode_tokens_per_second": decode_rate,
            "seed": options.sampling.seed,
            "device": device.description(),
        });
        if let Some(launches) = device.kernel_launches() {
            object["kernel_launches"] = launches.into();
        }
        writeln!(stdout, "{object}")?;
        return Ok(());
    }
    writeln!(stdout)?;
    stdout.flush()?;
    eprintln!(
        "prompt: {computed} tokens, {prompt_rate:.1} tokens/s; generated: {} tokens, {decode_rate:.1} tokens/s{}; {}{}",
        generation.tokens.len(),
        if options.sampling.temperature == 0.0 {
            String::new()
        } else {
            format!("; seed {}", options.sampling.seed)
        },
        device.description(),
        device.kernel_launches().map_or_else(String::new, |n| format!(", {n} kernel launches")),
    );
    Ok(())
}

fn rate(tokens: usize, time: Duration) -> f64 {
    tokens as f64 / time.as_secs_f64().max(1e-9)
}

/// Reads messages from stdin until it ends, and answers each.
fn converse<B: Backend>(
    mut model: Model<B>,
    tokenizer: &Tokenizer,
    mut messages: Vec<Message>,
    options: &GenerationOptions,
    json: bool,
) -> Result<()> {
    let interactive = std::io::stdin().is_terminal();
    if interactive {
        eprintln!("Ctrl-C ends an answer, Ctrl-D the conversation.");
    }
    let mut session = Session::new(&mut model)?;
    let mut line = String::new();
    loop {
        if interactive {
            eprint!("> ");
        }
        line.clear();
        if std::io::stdin().lock().read_line(&mut line)? == 0 {
            return Ok(());
        }
        let text = line.trim();
        if text.is_empty() {
            continue;
        }
        messages.push(Message::new("user", text));
        let prompt = tokenizer.encode_chat(&messages)?;
        let capacity = model.config().context.min(model.cache().num_pages() * model.cache().page_size());
        if prompt.len() >= capacity {
            bail!(
                "the conversation has {} tokens and does not fit {capacity} any more; begin a new one, or raise --context",
                prompt.len()
            );
        }
        let generation = answer(&mut session, &mut model, tokenizer, &prompt, options, json)?;
        report(&generation, options, json, model.backend())?;
        messages.push(Message::new("assistant", &generation.text));
    }
}
