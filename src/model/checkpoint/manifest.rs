//! Which tensors a model consists of, and whether a checkpoint has them.

use std::collections::BTreeMap;
use std::path::Path;

use super::safetensors::TensorInfo;
use crate::model::config::Config;
use crate::model::json::clip;
use crate::tensor::DType;
use crate::{Error, Result};

const EMBEDDING: &str = "model.embed_tokens.weight";
const LM_HEAD: &str = "lm_head.weight";

/// What a checkpoint turned out to be.
pub(super) struct Summary {
    /// Element type of the embedding.
    pub dtype: DType,
    /// Bytes of the tensors that the model uses.
    pub weight_bytes: u64,
}

/// The tensors of a checkpoint by name, each with the file that it is in.
pub(super) type Tensors<'a> = BTreeMap<&'a str, (&'a Path, &'a TensorInfo)>;

/// Checks the tensors of a checkpoint against its configuration; `file` is to blame for one that is missing.
pub(super) fn check(config: &Config, file: &Path, tensors: &Tensors<'_>) -> Result<Summary> {
    let expected = expected(config);
    let mut weight_bytes = 0;
    for (name, shape) in &expected {
        let Some((file, info)) = tensors.get(name.as_str()) else {
            return Err(missing(config, file, name, tensors));
        };
        check_tensor(name, shape, file, info)?;
        weight_bytes += info.bytes.len() as u64;
    }
    for (name, (file, info)) in tensors {
        if expected.contains_key(*name) || is_frequencies(name) {
            continue;
        }
        // Saved beside a tied embedding by some tools; the embedding is what counts, as for transformers.
        if *name == LM_HEAD && config.tie_word_embeddings {
            check_tensor(name, &[config.vocab_size, config.hidden_size], file, info)?;
            continue;
        }
        return Err(superfluous(config, file, name));
    }
    check_fused(config, tensors)?;
    let dtype = tensors.get(EMBEDDING).map_or(DType::F32, |(_, info)| info.dtype);
    Ok(Summary { dtype, weight_bytes })
}

/// Names and shapes; every linear weight is `[out, in]`.
pub(super) fn expected(config: &Config) -> BTreeMap<String, Vec<usize>> {
    let (hidden, intermediate) = (config.hidden_size, config.intermediate_size);
    let (q, kv) = (config.num_q_heads * config.head_dim, config.num_kv_heads * config.head_dim);
    let linears = [
        ("self_attn.q_proj", [q, hidden], config.attention_bias),
        ("self_attn.k_proj", [kv, hidden], config.attention_bias),
        ("self_attn.v_proj", [kv, hidden], config.attention_bias),
        ("self_attn.o_proj", [hidden, q], config.attention_bias),
        ("mlp.gate_proj", [intermediate, hidden], config.mlp_bias),
        ("mlp.up_proj", [intermediate, hidden], config.mlp_bias),
        ("mlp.down_proj", [hidden, intermediate], config.mlp_bias),
    ];
    let mut expected = BTreeMap::from([
        (EMBEDDING.to_owned(), vec![config.vocab_size, hidden]),
        ("model.norm.weight".to_owned(), vec![hidden]),
    ]);
    if !config.tie_word_embeddings {
        expected.insert(LM_HEAD.to_owned(), vec![config.vocab_size, hidden]);
    }
    for layer in 0..config.num_layers {
        let name = |part: &str| format!("model.layers.{layer}.{part}");
        expected.insert(name("input_layernorm.weight"), vec![hidden]);
        expected.insert(name("post_attention_layernorm.weight"), vec![hidden]);
        for (linear, shape, bias) in linears {
            expected.insert(name(&format!("{linear}.weight")), shape.to_vec());
            if bias {
                expected.insert(name(&format!("{linear}.bias")), vec![shape[0]]);
            }
        }
    }
    expected
}

/// Whether a tensor of the manifest is the weight of a norm.
pub(super) fn is_norm(name: &str) -> bool {
    name.ends_with("norm.weight")
}

fn check_tensor(name: &str, shape: &[usize], file: &Path, info: &TensorInfo) -> Result<()> {
    if info.shape != shape {
        let problem = format!("config.json asks for the shape {shape:?}, got {:?}", info.shape);
        return Err(Error::malformed(file, format!("tensor `{name}`"), problem));
    }
    if !info.dtype.is_float() {
        return Err(Error::unsupported(
            format!("{}: tensor `{name}`: weights of element type {}", file.display(), info.dtype),
            "load the unquantised model, whose weights are bf16, f16, f32 or f64",
        ));
    }
    Ok(())
}

/// The weights that are multiplied as one have one element type.
fn check_fused(config: &Config, tensors: &Tensors<'_>) -> Result<()> {
    let groups = [
        ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"].as_slice(),
        &["mlp.gate_proj", "mlp.up_proj"],
    ];
    for layer in 0..config.num_layers {
        for (group, kind) in groups.iter().flat_map(|group| [(group, "weight"), (group, "bias")]) {
            let parts = group.iter().map(|part| format!("model.layers.{layer}.{part}.{kind}"));
            let parts: Vec<_> = parts.filter_map(|name| Some((tensors.get(name.as_str())?, name))).collect();
            for pair in parts.windows(2) {
                let [((_, first), first_name), ((file, second), name)] = pair else { continue };
                if first.dtype != second.dtype {
                    let problem = format!("{}, but `{first_name}` is {}", second.dtype, first.dtype);
                    return Err(Error::malformed(file, format!("tensor `{name}`"), problem));
                }
            }
        }
    }
    Ok(())
}

/// Inverse frequencies, which conversions stored until 2023. They are computed from the configuration.
fn is_frequencies(name: &str) -> bool {
    name.starts_with("model.") && name.ends_with("rotary_emb.inv_freq")
}

fn missing(config: &Config, file: &Path, name: &str, tensors: &Tensors<'_>) -> Error {
    let problem = if tensors.contains_key("tok_embeddings.weight") {
        "missing: these are the names of Meta's own format; use the Hugging Face conversion of the model"
            .to_owned()
    } else if name == LM_HEAD {
        "missing, and config.json does not say tie_word_embeddings".to_owned()
    } else if name.ends_with(".bias") {
        "missing, though config.json asks for biases".to_owned()
    } else {
        format!("missing; config.json asks for {} layers", config.num_layers)
    };
    Error::malformed(file, format!("tensor `{name}`"), problem)
}

fn superfluous(config: &Config, file: &Path, name: &str) -> Error {
    let problem = if name.ends_with(".bias") {
        "a bias, though config.json says attention_bias or mlp_bias false".to_owned()
    } else if [".qweight", ".qzeros", ".scales", ".g_idx", ".weight_scale", ".absmax"]
        .iter()
        .any(|s| name.ends_with(s))
    {
        "belongs to a quantised checkpoint, which config.json does not announce".to_owned()
    } else {
        format!("no part of a Llama of {} layers", config.num_layers)
    };
    Error::malformed(file, format!("tensor `{}`", clip(name)), problem)
}
