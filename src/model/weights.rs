//! The weights of a Llama on a device, fused as the forward pass multiplies them.

use crate::Result;
use crate::backend::{Backend, RowOrder, WeightFormat, WeightSource};
use crate::model::checkpoint::Checkpoint;
use crate::tensor::Tensor;

/// The weights of one layer, in the order of their use.
pub(super) struct LayerWeights<B: Backend> {
    pub input_norm: Tensor<B::Buffer>,
    /// `[(Hq + 2*Hkv) * hd, D]`: q, k, v.
    pub qkv: B::Weight,
    /// `[D, Hq * hd]`.
    pub output: B::Weight,
    pub post_attention_norm: Tensor<B::Buffer>,
    /// `[2 * F, D]`: gate and up.
    pub gate_up: B::Weight,
    /// `[D, F]`.
    pub down: B::Weight,
}

/// All weights.
pub(super) struct Weights<B: Backend> {
    /// `[V, D]`.
    pub embedding: B::Weight,
    pub layers: Vec<LayerWeights<B>>,
    pub final_norm: Tensor<B::Buffer>,
    /// `[V, D]`; `None` where the embedding serves (tied).
    lm_head: Option<B::Weight>,
}

impl<B: Backend> Weights<B> {
    /// Hands every tensor to the device, those that the layers multiply by to be held in `format`. `progress` is told how
    /// many bytes of the checkpoint are done.
    pub fn load(
        backend: &mut B,
        checkpoint: &Checkpoint,
        format: WeightFormat,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Self> {
        let mut loader = Loader { backend, checkpoint, format: WeightFormat::Native, progress, done: 0 };
        let config = checkpoint.config();
        let embedding = loader.linear("model", &["embed_tokens"], false, RowOrder::Concatenated)?;
        loader.format = format;
        let layers = (0..config.num_layers)
            .map(|layer| {
                let block = format!("model.layers.{layer}");
                let attention = format!("{block}.self_attn");
                let mlp = format!("{block}.mlp");
                let (attention_bias, mlp_bias) = (config.attention_bias, config.mlp_bias);
                Ok(LayerWeights {
                    input_norm: loader.vector(&format!("{block}.input_layernorm.weight"))?,
                    qkv: loader.linear(
                        &attention,
                        &["q_proj", "k_proj", "v_proj"],
                        attention_bias,
                        RowOrder::Concatenated,
                    )?,
                    output: loader.linear(&attention, &["o_proj"], attention_bias, RowOrder::Concatenated)?,
                    post_attention_norm: loader
                        .vector(&format!("{block}.post_attention_layernorm.weight"))?,
                    gate_up: loader.linear(&mlp, &["gate_proj", "up_proj"], mlp_bias, RowOrder::GateUp)?,
                    down: loader.linear(&mlp, &["down_proj"], mlp_bias, RowOrder::Concatenated)?,
                })
            })
            .collect::<Result<_>>()?;
        let final_norm = loader.vector("model.norm.weight")?;
        let lm_head = if config.tie_word_embeddings {
            None
        } else {
            let source = WeightSource {
                parts: vec![loader.checkpoint.tensor("lm_head.weight")?],
                biases: Vec::new(),
                rows: RowOrder::Concatenated,
                format: WeightFormat::Native,
            };
            Some(loader.load(source)?)
        };
        Ok(Weights { embedding, layers, final_norm, lm_head })
    }

    /// The output head.
    pub fn lm_head(&self) -> &B::Weight {
        self.lm_head.as_ref().unwrap_or(&self.embedding)
    }
}

struct Loader<'a, B> {
    backend: &'a mut B,
    checkpoint: &'a Checkpoint,
    /// Of the next linear weights.
    format: WeightFormat,
    progress: &'a mut dyn FnMut(u64),
    done: u64,
}

impl<B: Backend> Loader<'_, B> {
    /// The weights `prefix.name.weight` (and biases) as one.
    fn linear(&mut self, prefix: &str, names: &[&str], bias: bool, rows: RowOrder) -> Result<B::Weight> {
        let tensors = |kind: &str| {
            names
                .iter()
                .map(|name| self.checkpoint.tensor(&format!("{prefix}.{name}.{kind}")))
                .collect::<Result<Vec<_>>>()
        };
        let biases = if bias { tensors("bias")? } else { Vec::new() };
        let source = WeightSource { parts: tensors("weight")?, biases, rows, format: self.format };
        self.load(source)
    }

    fn load(&mut self, source: WeightSource) -> Result<B::Weight> {
        let bytes: usize = source.parts.iter().chain(&source.biases).map(|t| t.data.len()).sum();
        let weight = self.backend.load_weight(source)?;
        self.count(bytes);
        Ok(weight)
    }

    fn vector(&mut self, name: &str) -> Result<Tensor<B::Buffer>> {
        let source = self.checkpoint.tensor(name)?;
        let bytes = source.data.len();
        let vector = self.backend.load_vector(source)?;
        self.count(bytes);
        Ok(vector)
    }

    fn count(&mut self, bytes: usize) {
        self.done += bytes as u64;
        (self.progress)(self.done);
    }
}
