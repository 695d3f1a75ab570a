//! The program's arguments.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use llama_kernels::backend;
use llama_kernels::device::DeviceChoice;
use llama_kernels::model::forward::ModelOptions;
use llama_kernels::quant::int4::GroupSize;

/// Hand-written CUDA kernels for the Llama family: run a model, look at its logits, see what it needs.
#[derive(Parser)]
#[command(name = "llama-kernels", version, about)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Generate text from a prompt, or hold a conversation
    Generate(GenerateArgs),
    /// Continue a text on a device and on the CPU reference, and compare token by token
    Compare(CompareArgs),
    /// Write the logits after each token of a prompt to a safetensors file
    Logits(LogitsArgs),
    /// Show devices and compiled architectures, or what a model is and needs
    Info(InfoArgs),
    /// Compare every operation on a GPU, or on the simulated one, with the CPU reference
    Check(CheckArgs),
    /// Measure how long each operation, or a whole forward pass, takes on a GPU; or count what the kernels do on a simulated one
    Bench(BenchArgs),
    /// Write an HTML page of results that bench, check and peers.py have kept
    Report(ReportArgs),
    /// Run probes of single instructions and write what the device answers
    Probe(ProbeArgs),
}

/// Which model, where, and how it is read.
#[derive(Args)]
pub struct ModelArgs {
    /// Model folder: config.json, *.safetensors and, for text, tokenizer.json
    #[arg(long, value_name = "DIR")]
    pub model: PathBuf,
    /// auto (the first CUDA GPU, else the CPU), cuda, cuda:N, sim, sim:8.6 or cpu
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub device: DeviceChoice,
    /// Element type of activations and KV cache on the CPU: f32, or the checkpoint's own, which rounds as a GPU does
    /// [default: f32]
    #[arg(long, value_enum)]
    pub activations: Option<Activations>,
    /// How the layers' weights are held: as the checkpoint has them, in 4 bits by groups of 128 columns, or in fp8 with a scale
    /// for each row, which computes with fp8 activations too
    #[arg(long, value_enum, default_value_t = WeightFormat::Native)]
    pub weights: WeightFormat,
    /// How keys and values are held: in the activations' type, or in fp8
    #[arg(long, value_enum, default_value_t = CacheFormat::Native)]
    pub kv_cache: CacheFormat,
    /// Read the weights into memory instead of mapping their files (for files that may change meanwhile)
    #[arg(long)]
    pub no_mmap: bool,
}

impl ModelArgs {
    /// `options` with the formats that are asked for.
    pub fn options(&self, options: ModelOptions) -> ModelOptions {
        ModelOptions { weights: self.weights.into(), kv_cache: self.kv_cache.into(), ..options }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CacheFormat {
    Native,
    Fp8,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Activations {
    F32,
    Native,
}

#[derive(Args)]
pub struct GenerateArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// The text to continue; with --chat, the message to answer
    #[arg(long, value_name = "TEXT", required_unless_present = "chat")]
    pub prompt: Option<String>,
    /// Use the model's chat template; without --prompt, an interactive conversation
    #[arg(long)]
    pub chat: bool,
    /// System message of the conversation
    #[arg(long, value_name = "TEXT", requires = "chat")]
    pub system: Option<String>,
    /// The most tokens to generate (of each answer)
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub max_tokens: usize,
    /// Tokens of a conversation that the KV cache holds; by default the model's context, but at most 8192
    #[arg(long, value_name = "N", requires = "chat")]
    pub context: Option<usize>,
    /// 0 takes the most likely token always [default: what the model's generation_config.json advises, else 1 with --top-k,
    /// --top-p or --min-p, else 0]
    #[arg(long, value_name = "T")]
    pub temperature: Option<f32>,
    /// Only the K most likely tokens; 0 takes all [default: generation_config.json, else 0]
    #[arg(long, value_name = "K")]
    pub top_k: Option<u32>,
    /// Only the most likely tokens of together this probability [default: generation_config.json, else 1]
    #[arg(long, value_name = "P")]
    pub top_p: Option<f32>,
    /// Only tokens at least this times as likely as the most likely one [default: 0]
    #[arg(long, value_name = "P")]
    pub min_p: Option<f32>,
    /// Logits of tokens seen before are divided by this (multiplied where negative) [default: 1]
    #[arg(long, value_name = "R")]
    pub repetition_penalty: Option<f32>,
    /// The same seed gives the same text [default: a new one, shown at the end]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// End before this string (may be given several times)
    #[arg(long, value_name = "TEXT")]
    pub stop: Vec<String>,
    /// Print one JSON object at the end instead of text
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct CompareArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// The text to continue
    #[arg(long, value_name = "TEXT")]
    pub prompt: String,
    /// The most tokens to generate
    #[arg(long, value_name = "N", default_value_t = 32)]
    pub max_tokens: usize,
}

#[derive(Args)]
pub struct LogitsArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// Token ids of the prompt
    #[arg(long, value_name = "IDS", value_delimiter = ',', required = true)]
    pub tokens: Vec<u32>,
    /// File to write: one f32 tensor `logits` [n_tokens, vocab_size]
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

#[derive(Args)]
pub struct InfoArgs {
    /// Model folder; without it, devices and compiled architectures are shown
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// How the layers' weights would be held: shows their size, and the kernels for them
    #[arg(long, value_enum, default_value_t = WeightFormat::Native, requires = "model")]
    pub weights: WeightFormat,
    /// Likewise for the KV cache
    #[arg(long, value_enum, default_value_t = CacheFormat::Native, requires = "model")]
    pub kv_cache: CacheFormat,
}

#[derive(Args)]
pub struct CheckArgs {
    /// auto (a GPU if there is one, else the simulated one), cuda, cuda:N, sim or sim:8.6
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub device: DeviceChoice,
    /// These operations alone
    #[arg(value_name = "OP")]
    pub ops: Vec<String>,
    /// One case for each kernel and kind of argument: under a minute on a GPU
    #[arg(long, conflicts_with = "full")]
    pub quick: bool,
    /// The shapes of the models in their full size as well, compared at elements from all over the output
    #[arg(long)]
    pub full: bool,
    /// A line for each case, not for each operation
    #[arg(long)]
    pub cases: bool,
    /// How often each case runs on the simulated GPU, each time in another order of warps and blocks
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub seeds: u64,
    /// File that each result is appended to as a line of JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

#[derive(Args)]
pub struct BenchArgs {
    /// Operations; or decode or prefill, the whole forward pass of a model with random weights [default: all operations]
    #[arg(value_name = "OP")]
    pub ops: Vec<String>,
    /// cuda or cuda:N; or sim, which counts what the kernels do instead of timing them [default: cuda]
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<DeviceChoice>,
    /// Models whose shapes are measured, such as llama-3.1-8b; several with commas [default: the 8B and 70B of Llama 3, the
    /// 1B too for attention; of decode and prefill, llama-3.1-8b]
    #[arg(long, value_name = "NAME", value_delimiter = ',', conflicts_with = "shapes")]
    pub model: Vec<String>,
    /// Measure the shapes in this file instead: a JSON object a line, as --json writes them; `op` and `sizes` are enough
    #[arg(long, value_name = "FILE")]
    pub shapes: Option<PathBuf>,
    /// Element type of activations and weights
    #[arg(long, value_enum, default_value_t = Element::Bf16)]
    pub dtype: Element,
    /// How decode and prefill hold the layers' weights: as floats, in 4 bits by groups of 128 columns, or in fp8 with a scale
    /// for each row
    #[arg(long, value_enum, default_value_t = WeightFormat::Native)]
    pub weights: WeightFormat,
    /// How decode and prefill hold keys and values
    #[arg(long, value_enum, default_value_t = CacheFormat::Native)]
    pub kv_cache: CacheFormat,
    /// Sequences at a time of decode and prefill [default: 1,8,64 of decode, 1 of prefill]
    #[arg(long, value_name = "N", value_delimiter = ',')]
    pub batch: Vec<usize>,
    /// Tokens in the cache before a decode [default: 512,4096,16384], or of a prompt [default: 128,512,2048,8192]
    #[arg(long, value_name = "N", value_delimiter = ',')]
    pub context: Vec<usize>,
    /// Print what would be measured and how it would be launched, on an H200 or on --device; needs no GPU
    #[arg(long)]
    pub list: bool,
    /// File that each result is appended to as a line of JSON, as it comes
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// HTML file to write with charts and tables of the results
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
}

#[derive(Args)]
pub struct ReportArgs {
    /// Files of JSON lines that bench, check and peers.py wrote
    #[arg(value_name = "FILE", required = true)]
    pub results: Vec<PathBuf>,
    /// HTML file to write
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// How weights are held.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum WeightFormat {
    /// As floats.
    Native,
    /// In 4 bits, by groups of 128 columns.
    Int4,
    /// In e4m3, with a scale for each row.
    Fp8,
}

impl From<WeightFormat> for backend::WeightFormat {
    fn from(format: WeightFormat) -> Self {
        match format {
            WeightFormat::Native => backend::WeightFormat::Native,
            WeightFormat::Int4 => backend::WeightFormat::Int4 { group_size: GroupSize::Of128 },
            WeightFormat::Fp8 => backend::WeightFormat::Fp8,
        }
    }
}

impl From<CacheFormat> for backend::CacheFormat {
    fn from(format: CacheFormat) -> Self {
        match format {
            CacheFormat::Native => backend::CacheFormat::Native,
            CacheFormat::Fp8 => backend::CacheFormat::Fp8,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Element {
    Bf16,
    F16,
}

#[derive(Args)]
pub struct ProbeArgs {
    /// auto (a GPU if there is one, else the simulated one), cuda, cuda:N, sim or sim:8.6
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub device: DeviceChoice,
    /// File that each answer is appended to as a line of JSON
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}
