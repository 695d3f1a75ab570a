//! `config.json` and `generation_config.json`: a model's shape and numbers, checked.

use std::path::Path;

use super::fields::Fields;
use super::json;
use super::presets::{PRESETS, Preset};
use crate::Result;
use crate::backend::ModelDims;
use crate::tensor::DType;

pub use super::rope::{Rope, RopeScaling};

/// Larger than any configuration: they have one or two kilobytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Upper bounds, far above every model, that keep all products of sizes within 64 bits.
const MAX_HIDDEN: u64 = 1 << 20;
const MAX_INTERMEDIATE: u64 = 1 << 22;
const MAX_LAYERS: u64 = 1 << 12;
const MAX_HEADS: u64 = 1 << 12;
const MAX_HEAD_DIM: u64 = 1 << 10;
const MAX_VOCAB: u64 = 1 << 24;
/// Positions are 32-bit on the device.
const MAX_CONTEXT: u64 = i32::MAX as u64;

/// A model of the Llama family.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width between the two halves of the MLP.
    pub intermediate_size: usize,
    /// Transformer blocks.
    pub num_layers: usize,
    /// Query heads of a layer.
    pub num_q_heads: usize,
    /// Key and value heads of a layer; divides `num_q_heads`.
    pub num_kv_heads: usize,
    /// Elements of a head; even. `num_q_heads * head_dim` need not be `hidden_size`.
    pub head_dim: usize,
    /// Rows of the embedding and of the output head.
    pub vocab_size: usize,
    /// Added to the mean of squares in every norm.
    pub rms_norm_eps: f32,
    /// The rotary position embedding.
    pub rope: Rope,
    /// Tokens that a sequence may have: `max_position_embeddings`, extended as the RoPE scaling says. Linear
    /// and dynamic scaling multiply it by their factor, yarn multiplies what the model was trained with, and
    /// llama3's files state the extended length themselves. (This is how vLLM reads these files.)
    pub context: usize,
    /// The key of that name, before any extension.
    pub max_position_embeddings: usize,
    /// The output head is the embedding.
    pub tie_word_embeddings: bool,
    /// The projections of attention have biases.
    pub attention_bias: bool,
    /// The projections of the MLP have biases.
    pub mlp_bias: bool,
    /// The element type that the file announces for the weights. What the checkpoint holds is what counts.
    pub dtype: Option<DType>,
    /// The token that starts a text.
    pub bos_token_id: Option<u32>,
    /// The tokens that end a text; [`GenerationDefaults::eos_token_ids`] may have more.
    pub eos_token_ids: Vec<u32>,
}

/// `generation_config.json`: what a model's authors advise. `None` where the file is silent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GenerationDefaults {
    /// Tokens that end a generation, beside those of `config.json`.
    pub eos_token_ids: Vec<u32>,
    /// Whether to sample at all.
    pub do_sample: Option<bool>,
    /// Logits are divided by this.
    pub temperature: Option<f32>,
    /// Probability mass that is kept.
    pub top_p: Option<f32>,
    /// Number of tokens that are kept; 0 keeps all.
    pub top_k: Option<usize>,
    /// Penalty of tokens that have been seen.
    pub repetition_penalty: Option<f32>,
}

impl Config {
    /// Reads `config.json` of a model folder.
    pub fn load(dir: impl AsRef<Path>) -> Result<Self> {
        let file = dir.as_ref().join("config.json");
        Config::from_json(&json::read_file(&file, MAX_FILE_BYTES)?, &file)
    }

    /// Reads a `config.json` that is in memory already; `file` is for errors.
    ///
    /// Keys of the shape must be there; the others have the defaults of transformers' `LlamaConfig`. Keys
    /// that do not change what a Llama computes are ignored.
    ///
    /// # Errors
    /// [`Malformed`](crate::Error::Malformed) names the key that is wrong,
    /// [`Unsupported`](crate::Error::Unsupported) the kind of model that this is not.
    pub fn from_json(bytes: &[u8], file: impl AsRef<Path>) -> Result<Self> {
        let file = file.as_ref();
        let map = json::parse_object(bytes, file)?;
        let f = Fields::new(file, &map);
        refuse_other_models(&f)?;

        let hidden_size = f.size("hidden_size", MAX_HIDDEN)?;
        let num_q_heads = f.size("num_attention_heads", MAX_HEADS)?;
        let num_kv_heads = f.size_or("num_key_value_heads", num_q_heads, MAX_HEADS)?;
        if !num_q_heads.is_multiple_of(num_kv_heads) {
            let problem = format!("{num_q_heads} query heads cannot be shared out among {num_kv_heads}");
            return Err(f.wrong("num_key_value_heads", problem));
        }
        let head_dim = head_dim(&f, hidden_size, num_q_heads)?;
        let vocab_size = f.size("vocab_size", MAX_VOCAB)?;
        let max_position_embeddings = f.size_or("max_position_embeddings", 2048, MAX_CONTEXT)?;
        let rope = Rope::from_fields(&f, max_position_embeddings, head_dim)?;
        let context = rope.context(max_position_embeddings);
        if !(1.0..=MAX_CONTEXT as f64).contains(&context) {
            return Err(
                f.wrong("rope_scaling", format!("a context of {context} tokens, more than {MAX_CONTEXT}"))
            );
        }

        let eps = f.number_or("rms_norm_eps", 1e-6)? as f32;
        if !(eps > 0.0 && eps < 1.0) {
            return Err(f.wrong("rms_norm_eps", format!("expected a number between 0 and 1, got {eps}")));
        }
        // transformers' defaults, which conversions of Llama 1 rely on.
        let bos_token_ids = f.token_ids_or("bos_token_id", 1, vocab_size)?;
        let eos_token_ids = f.token_ids_or("eos_token_id", 2, vocab_size)?;

        Ok(Config {
            hidden_size,
            intermediate_size: f.size("intermediate_size", MAX_INTERMEDIATE)?,
            num_layers: f.size("num_hidden_layers", MAX_LAYERS)?,
            num_q_heads,
            num_kv_heads,
            head_dim,
            vocab_size,
            rms_norm_eps: eps,
            rope,
            context: context as usize,
            max_position_embeddings,
            tie_word_embeddings: f.flag_or("tie_word_embeddings", false)?,
            attention_bias: f.flag_or("attention_bias", false)?,
            mlp_bias: f.flag_or("mlp_bias", false)?,
            dtype: dtype(&f)?,
            bos_token_id: bos_token_ids.first().copied(),
            eos_token_ids,
        })
    }

    /// The configuration of a published model, by a name like `llama-3.1-8b`; [`Config::preset_names`] lists
    /// them.
    pub fn preset(name: &str) -> Option<Self> {
        PRESETS.iter().find(|preset| preset.name == name).map(Preset::config)
    }

    /// The names that [`Config::preset`] knows, oldest model first.
    pub fn preset_names() -> impl Iterator<Item = &'static str> {
        PRESETS.iter().map(|preset| preset.name)
    }

    /// Number of weights: what is shared is counted once.
    pub fn parameter_count(&self) -> u64 {
        let [hidden, intermediate, layers, vocab, q, kv] = [
            self.hidden_size,
            self.intermediate_size,
            self.num_layers,
            self.vocab_size,
            self.num_q_heads * self.head_dim,
            self.num_kv_heads * self.head_dim,
        ]
        .map(|n| n as u64);
        let mut attention = hidden * (2 * q + 2 * kv);
        if self.attention_bias {
            attention += q + 2 * kv + hidden;
        }
        let mut mlp = 3 * hidden * intermediate;
        if self.mlp_bias {
            mlp += 2 * intermediate + hidden;
        }
        let tables = if self.tie_word_embeddings { 1 } else { 2 };
        tables * vocab * hidden + layers * (attention + mlp + 2 * hidden) + hidden
    }

    /// Bytes of keys and values that one token keeps in a cache of element type `dtype`, over all layers.
    pub fn kv_bytes_per_token(&self, dtype: DType) -> u64 {
        2 * (self.num_layers * self.num_kv_heads * self.head_dim * dtype.size()) as u64
    }

    /// The widths that a backend sizes its workspaces by.
    pub fn dims(&self) -> ModelDims {
        ModelDims {
            hidden_size: self.hidden_size,
            intermediate_size: self.intermediate_size,
            num_q_heads: self.num_q_heads,
            num_kv_heads: self.num_kv_heads,
            head_dim: self.head_dim,
            vocab_size: self.vocab_size,
        }
    }
}

impl GenerationDefaults {
    /// Reads `generation_config.json` of a model folder; all silent where there is none.
    pub fn load(dir: impl AsRef<Path>) -> Result<Self> {
        let file = dir.as_ref().join("generation_config.json");
        match json::read_file_if_present(&file, MAX_FILE_BYTES)? {
            Some(bytes) => GenerationDefaults::from_json(&bytes, &file),
            None => Ok(GenerationDefaults::default()),
        }
    }

    /// Reads a `generation_config.json` that is in memory already; `file` is for errors.
    pub fn from_json(bytes: &[u8], file: impl AsRef<Path>) -> Result<Self> {
        let file = file.as_ref();
        let map = json::parse_object(bytes, file)?;
        let f = Fields::new(file, &map);
        Ok(GenerationDefaults {
            eos_token_ids: f.token_ids("eos_token_id", MAX_VOCAB as usize)?,
            do_sample: f.flag("do_sample")?,
            temperature: f.number_within("temperature", 0.0, 1e3)?,
            top_p: f.number_within("top_p", 0.0, 1.0)?,
            top_k: f.count("top_k", MAX_VOCAB)?,
            repetition_penalty: f.number_within("repetition_penalty", 1e-3, 1e3)?,
        })
    }
}

/// Refuses what is no Llama, or computes something else than a plain one.
fn refuse_other_models(f: &Fields<'_>) -> Result<()> {
    let (model_type, architecture) = (f.text("model_type")?, f.only_text("architectures")?);
    if let Some(other) = model_type.filter(|t| *t != "llama") {
        return Err(f.unsupported(
            format!("a model of type `{}`", json::clip(other)),
            "only the Llama family is, whose config.json says `\"model_type\": \"llama\"`",
        ));
    }
    match architecture {
        // The second spelling is that of the first conversions of Llama 1.
        Some("LlamaForCausalLM" | "LLaMAForCausalLM") => {}
        Some(other) => {
            return Err(f.unsupported(
                format!("the architecture `{}`", json::clip(other)),
                "only LlamaForCausalLM is, a Llama with its output head",
            ));
        }
        None if model_type.is_none() => {
            return Err(f.wrong("model_type", "missing; is this the file of a Llama?"));
        }
        None => {}
    }
    if f.is_given("quantization_config") {
        return Err(f.unsupported(
            "a quantised checkpoint (quantization_config)",
            "not yet: load the unquantised model, which this program can quantise itself",
        ));
    }
    match f.text("hidden_act")? {
        None | Some("silu" | "swish") => {}
        Some(other) => {
            return Err(
                f.unsupported(format!("the activation `{}`", json::clip(other)), "Llama's MLP uses silu")
            );
        }
    }
    if f.number_or("partial_rotary_factor", 1.0)? != 1.0 {
        return Err(f.unsupported("partial_rotary_factor", "Llama rotates whole heads"));
    }
    Ok(())
}

fn head_dim(f: &Fields<'_>, hidden_size: usize, num_q_heads: usize) -> Result<usize> {
    if !f.is_given("head_dim") && !hidden_size.is_multiple_of(num_q_heads) {
        let problem = format!("missing, and {num_q_heads} heads do not divide hidden_size {hidden_size}");
        return Err(f.wrong("head_dim", problem));
    }
    // At least 1: a model with more heads than channels is refused by the line after it, as odd or zero.
    let head_dim = f.size_or("head_dim", hidden_size / num_q_heads, MAX_HEAD_DIM)?;
    if !head_dim.is_multiple_of(2) {
        return Err(f.wrong("head_dim", format!("expected an even number, which RoPE needs, got {head_dim}")));
    }
    Ok(head_dim)
}

/// `dtype` (transformers 5) or `torch_dtype` (before).
fn dtype(f: &Fields<'_>) -> Result<Option<DType>> {
    let key = if f.is_given("dtype") { "dtype" } else { "torch_dtype" };
    match f.text(key)?.map(|name| name.trim_start_matches("torch.")) {
        None => Ok(None),
        Some("bfloat16") => Ok(Some(DType::BF16)),
        Some("float16") => Ok(Some(DType::F16)),
        Some("float32") => Ok(Some(DType::F32)),
        Some("float64") => Ok(Some(DType::F64)),
        Some(other) => Err(f.unsupported(
            format!("the element type `{}`", json::clip(other)),
            "weights are bfloat16, float16, float32 or float64",
        )),
    }
}
