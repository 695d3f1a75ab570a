//! Model folders for tests: a small valid model, to be broken.

use std::path::Path;

use serde_json::{Value, json};

use crate::common::TempDir;

/// A folder that lives as long as the value.
pub struct Folder(TempDir);

impl Folder {
    /// An empty folder.
    pub fn new() -> Self {
        Folder(TempDir::new())
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.path().join(name), bytes).unwrap();
    }
}

/// The configuration of the model that [`tensors`] makes up.
pub fn config() -> Value {
    json!({
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": 8,
        "intermediate_size": 12,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 4,
        "vocab_size": 16,
    })
}

/// A tensor as a safetensors header has it.
#[derive(Clone, Debug)]
pub struct Tensor {
    pub name: String,
    pub dtype: String,
    pub shape: Vec<u64>,
    pub offsets: [u64; 2],
}

impl Tensor {
    pub fn new(name: impl Into<String>, shape: &[u64]) -> Self {
        Tensor { name: name.into(), dtype: "BF16".into(), shape: shape.to_vec(), offsets: [0, 0] }
    }
}

/// Every tensor of the model, bf16, laid out one after the other.
pub fn tensors() -> Vec<Tensor> {
    let mut tensors = vec![
        Tensor::new("model.embed_tokens.weight", &[16, 8]),
        Tensor::new("model.norm.weight", &[8]),
        Tensor::new("lm_head.weight", &[16, 8]),
    ];
    for layer in 0..2 {
        let parts: [(&str, &[u64]); 9] = [
            ("input_layernorm", &[8]),
            ("self_attn.q_proj", &[8, 8]),
            ("self_attn.k_proj", &[4, 8]),
            ("self_attn.v_proj", &[4, 8]),
            ("self_attn.o_proj", &[8, 8]),
            ("post_attention_layernorm", &[8]),
            ("mlp.gate_proj", &[12, 8]),
            ("mlp.up_proj", &[12, 8]),
            ("mlp.down_proj", &[8, 12]),
        ];
        let parts =
            parts.map(|(part, shape)| Tensor::new(format!("model.layers.{layer}.{part}.weight"), shape));
        tensors.extend(parts);
    }
    lay_out(&mut tensors);
    tensors
}

/// Gives tensors their places, one after the other.
pub fn lay_out(tensors: &mut [Tensor]) {
    let mut end = 0;
    for tensor in tensors {
        let size = match &*tensor.dtype {
            "F64" | "I64" => 8,
            "F32" | "I32" => 4,
            "BF16" | "F16" => 2,
            _ => 1,
        };
        tensor.offsets = [end, end + tensor.shape.iter().product::<u64>() * size];
        end = tensor.offsets[1];
    }
}

/// The header's JSON.
pub fn header(tensors: &[Tensor]) -> String {
    let entry = |t: &Tensor| {
        let value = json!({"dtype": t.dtype, "shape": t.shape, "data_offsets": t.offsets});
        format!("{}:{value}", Value::from(&*t.name))
    };
    format!("{{{}}}", tensors.iter().map(entry).collect::<Vec<_>>().join(","))
}

/// A file of a header and as many bytes as its tensors need.
pub fn safetensors(tensors: &[Tensor]) -> Vec<u8> {
    let end = tensors.iter().map(|t| t.offsets[1]).max().unwrap_or(0);
    with_header(&header(tensors), end as usize)
}

/// A file of any header and `data_len` bytes.
pub fn with_header(header: &str, data_len: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.resize(bytes.len() + data_len, 0);
    bytes
}
