//! `llama-kernels compare`: the same text token by token on a device and on the CPU reference.

use std::fmt;
use std::io::Write;

use anyhow::{Context, Result, bail};
use llama_kernels::Error;
use llama_kernels::backend::Backend;
use llama_kernels::device::DeviceChoice;
use llama_kernels::model::batch::{Logits, SequenceInput};
use llama_kernels::model::checkpoint::Checkpoint;
use llama_kernels::model::forward::{Model, ModelOptions};
use llama_kernels::model::kv_cache::SequenceId;
use llama_kernels::model::sampling::SamplingOptions;
use llama_kernels::model::tokenizer::Tokenizer;
use llama_kernels::reference::{Activations, Cpu};
use llama_kernels::tensor::DType;

use super::device::{self, Job};
use super::interrupt::{self, Work};
use super::options::CompareArgs;

/// One sequence of a model, token by token.
struct Run<B: Backend> {
    model: Model<B>,
    sequence: SequenceId,
    tokens: Vec<u32>,
}

/// What came of a step: the most likely token by the device's own sampling, and all logits.
struct Step {
    token: u32,
    logits: Vec<f32>,
}

impl<B: Backend> Run<B> {
    fn new(backend: B, checkpoint: &Checkpoint, options: &ModelOptions) -> Result<Self> {
        let mut model = Model::load(backend, checkpoint, options, &mut |_| {})?;
        let sequence = model.add_sequence()?;
        Ok(Run { model, sequence, tokens: Vec::new() })
    }

    /// Computes `tokens` behind those before, and chooses the next.
    fn step(&mut self, tokens: &[u32]) -> Result<Step> {
        let mut chunks = tokens.chunks(self.model.max_tokens()).peekable();
        while let Some(tokens) = chunks.next() {
            let logits = if chunks.peek().is_some() { Logits::None } else { Logits::Last };
            self.model.forward(&[SequenceInput { sequence: self.sequence, tokens, logits }])?;
        }
        let row = SamplingOptions::GREEDY.row(0, 0, self.sequence.slot())?;
        let token = self.model.sample(&[row])?[0];
        self.tokens.push(token);
        Ok(Step { token, logits: self.model.logits()? })
    }

    fn write(&self, tokenizer: &Tokenizer, out: &mut impl Write) -> Result<()> {
        let (device, text) = (self.model.backend().description(), tokenizer.decode(&self.tokens)?);
        writeln!(out, "{device}\n  tokens {:?}\n  text   {text:?}", self.tokens)?;
        Ok(())
    }
}

/// How many tokens were equal, and how far logits lay apart.
#[derive(Default)]
struct Agreement {
    tokens: usize,
    equal: usize,
    /// Tokens whose lead is larger than what 16-bit rounding does to logits.
    decided: usize,
    decided_equal: usize,
    largest_difference: f32,
    /// That of the CPU reference when it rounds where the device stores 16 bits; infinite where that is not known.
    largest_rounding: f32,
}

impl Agreement {
    fn add(&mut self, exact: &Step, rounded: Option<&Step>, device: &Step) {
        let rounding = rounded.map_or(f32::INFINITY, |rounded| distance(&exact.logits, &rounded.logits));
        let equal = device.token == exact.token;
        let decided = lead(&exact.logits) > 2.0 * rounding;
        self.tokens += 1;
        self.equal += usize::from(equal);
        self.decided += usize::from(decided);
        self.decided_equal += usize::from(decided && equal);
        self.largest_difference = self.largest_difference.max(distance(&exact.logits, &device.logits));
        self.largest_rounding = self.largest_rounding.max(rounding);
    }
}

impl fmt::Display for Agreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Agreement { tokens, equal, decided, decided_equal, largest_difference, largest_rounding } = self;
        write!(f, "{equal} of {tokens} tokens are equal; logits differ by at most {largest_difference:.4}")?;
        if largest_rounding.is_infinite() {
            return f.write_str(" (which tokens rounding may change is not known for a checkpoint in f32)");
        }
        write!(
            f,
            ", those of the CPU with 16-bit roundings by {largest_rounding:.4}; of the {decided} tokens that rounding cannot \
             change {decided_equal} are equal"
        )
    }
}

/// The largest difference; infinite where one of the two is no number.
fn distance(a: &[f32], b: &[f32]) -> f32 {
    let difference = |(a, b): (&f32, &f32)| if a == b { 0.0 } else { (a - b).abs() };
    a.iter().zip(b).map(difference).map(|d| if d.is_nan() { f32::INFINITY } else { d }).fold(0.0, f32::max)
}

/// How far the largest logit lies above the second.
fn lead(logits: &[f32]) -> f32 {
    let (mut best, mut second) = (f32::NEG_INFINITY, f32::NEG_INFINITY);
    for &logit in logits {
        if logit > best {
            (best, second) = (logit, best);
        } else if logit > second {
            second = logit;
        }
    }
    best - second
}

/// Both texts, their agreement, and what a simulated GPU has counted; an error where a token differs whose lead is larger
/// than what rounding does.
pub fn run(args: &CompareArgs) -> Result<()> {
    let counted = device::run(&args.model, DeviceChoice::SIM, Compare(args))?;
    if let Some(counted) = counted {
        writeln!(std::io::stdout(), "simulated: {counted}")?;
    }
    Ok(())
}

struct Compare<'a>(&'a CompareArgs);

impl Job for Compare<'_> {
    /// Continues the prompt greedily by the CPU reference in f32; the device computes the same tokens and says at each what
    /// it would have taken.
    fn run<B: Backend>(self, backend: B, checkpoint: &Checkpoint) -> Result<()> {
        let CompareArgs { model, prompt, max_tokens } = self.0;
        let tokenizer = Tokenizer::load(&model.model, checkpoint.config())?;
        let prompt = tokenizer.encode_prompt(prompt)?;
        let context = checkpoint.config().context;
        let total = prompt.len().saturating_add(*max_tokens);
        if total > context {
            return Err(Error::ContextTooLong { tokens: total, context }).context("--max-tokens");
        }
        interrupt::install();
        let work = Work::begin();
        // All in the same formats: what a quantiser loses is no difference between devices.
        let options = model.options(ModelOptions::single(total));
        let cpu = |activations| Run::new(Cpu::<f32>::new(activations), checkpoint, &options);
        let mut exact = cpu(Activations::Exact)?;
        // The reference does not round an f32 checkpoint to what a GPU makes of it.
        let in_16_bits = checkpoint.dtype() != DType::F32;
        let mut rounded = in_16_bits.then(|| cpu(Activations::AsCheckpoint)).transpose()?;
        let mut device = Run::new(backend, checkpoint, &options)?;

        let mut agreement = Agreement::default();
        let mut input = prompt;
        for _ in 0..*max_tokens {
            let expected = exact.step(&input)?;
            let rounded = rounded.as_mut().map(|run| run.step(&input)).transpose()?;
            agreement.add(&expected, rounded.as_ref(), &device.step(&input)?);
            if checkpoint.config().eos_token_ids.contains(&expected.token) {
                break;
            }
            if work.interrupted() {
                bail!("interrupted");
            }
            input = vec![expected.token];
        }

        let mut out = std::io::stdout().lock();
        exact.write(&tokenizer, &mut out)?;
        device.write(&tokenizer, &mut out)?;
        writeln!(out, "agreement: {agreement}")?;
        match agreement.decided - agreement.decided_equal {
            0 => Ok(()),
            wrong => bail!("{wrong} tokens differ whose lead is larger than what rounding does to logits"),
        }
    }
}
