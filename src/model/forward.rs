//! The forward pass of a Llama, once for all devices.
//!
//! [`Model::forward`] is the outside: it checks a ragged batch, gives its tokens room in the cache, copies the batch's
//! arrays to the device and runs the step. `Pass::launch` is the inside, in model order: eight operations a layer on the
//! plain path (ten with fp8 weights), over buffers that were allocated once.

use bytemuck::cast_slice;

use crate::backend::{
    Activation, ActivationMut, AddRmsNorm, Attention, Backend, CacheFormat, Embed, Epilogue, GatherRows,
    MAX_DECODE_TOKENS, Matmul, ModelDims, RmsNorm, RopeAppendKv, Sample, StepBounds, WeightFormat,
};
use crate::model::batch::{Batch, Limits, SequenceInput};
use crate::model::buffers::{Activations, StepInputs};
use crate::model::checkpoint::Checkpoint;
use crate::model::config::Config;
use crate::model::kv_cache::{KvCache, PageTable, SequenceId};
use crate::model::rope::Rope;
use crate::model::weights::Weights;
use crate::params::SampleRow;
use crate::tensor::{DType, Tensor, ViewMut};
use crate::{Error, Result};

/// How much a model may hold and compute at a time: what is allocated when it is loaded.
#[derive(Clone, Copy, Debug)]
pub struct ModelOptions {
    /// Tokens a step (a longer prompt is computed in chunks).
    pub max_tokens: usize,
    /// Rows of logits a step.
    pub max_logits: usize,
    /// Sequences at a time.
    pub max_sequences: usize,
    /// Tokens in the cache, over all sequences; rounded up to whole pages.
    pub cache_tokens: usize,
    /// Tokens a page of the cache: 16, 32, 64 or 128.
    pub page_size: usize,
    /// How the device holds the linear weights of the layers. The embedding and the output head stay native.
    pub weights: WeightFormat,
    /// How the device holds keys and values.
    pub kv_cache: CacheFormat,
}

impl ModelOptions {
    /// One sequence of at most `tokens` tokens, weights and cache as the checkpoint has them.
    pub fn single(tokens: usize) -> Self {
        ModelOptions {
            max_tokens: tokens.clamp(1, 512),
            max_logits: 1,
            max_sequences: 1,
            cache_tokens: tokens,
            page_size: 16,
            weights: WeightFormat::Native,
            kv_cache: CacheFormat::Native,
        }
    }

    /// Pages of the cache.
    pub(super) fn num_pages(&self) -> usize {
        self.cache_tokens.div_ceil(self.page_size.max(1))
    }

    /// Tokens that a sequence may have: none outgrows the cache.
    pub(super) fn context(&self, config: &Config) -> usize {
        config.context.min(self.num_pages().saturating_mul(self.page_size))
    }

    /// The most that a step may be.
    pub(super) fn bounds(&self, config: &Config) -> StepBounds {
        let (context, page_size) = (self.context(config), self.page_size.max(1));
        // Frequencies that depend on the length want the whole prompt in one step.
        let max_tokens =
            if config.rope.depends_on_length() { self.max_tokens.max(context) } else { self.max_tokens };
        StepBounds {
            num_tokens: max_tokens,
            batch: self.max_sequences,
            num_decodes: self.max_sequences,
            max_q_len: max_tokens,
            // As wide as the page table of the longest sequence gets: see `Batch`.
            max_kv_len: context.div_ceil(page_size).next_power_of_two().saturating_mul(page_size),
            num_logits: self.max_logits,
        }
    }

    /// Rows of the table of cosines and sines.
    pub(super) fn rope_rows(&self, config: &Config) -> usize {
        if config.rope.depends_on_length() { self.bounds(config).num_tokens } else { self.context(config) }
    }
}

/// A Llama on a device, with its KV cache.
pub struct Model<B: Backend> {
    config: Config,
    backend: B,
    weights: Weights<B>,
    rope: RopeTable<B>,
    cache: KvCache<B::Buffer>,
    inputs: StepInputs<B::Buffer>,
    activations: Activations<B::Buffer>,
    limits: Limits,
    num_logits: usize,
}

/// The rows that `rope_append_kv` reads.
enum RopeTable<B: Backend> {
    /// One row a position, computed once.
    Positions(Tensor<B::Buffer>),
    /// Dynamic NTK scaling: the frequencies depend on the length of the token's sequence, so there is a row for each
    /// token of the step, computed with it.
    Tokens(Tensor<B::Buffer>),
}

impl<B: Backend> Model<B> {
    /// Loads a checkpoint onto a device. `progress` is told how many bytes of weights are done.
    ///
    /// [`Error::Unsupported`] before any weight is read where the device does not run such a model or has no kernels for
    /// these formats; [`Error::Argument`] with the name of the tensor for a weight that its format cannot hold, such as one
    /// whose width is no multiple of the group's.
    pub fn load(
        mut backend: B,
        checkpoint: &Checkpoint,
        options: &ModelOptions,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Self> {
        let config = checkpoint.config().clone();
        for (arg, value) in [("max_tokens", options.max_tokens), ("max_logits", options.max_logits)] {
            if value == 0 {
                return Err(Error::argument("load", arg, "at least 1", 0));
            }
        }
        let table = PageTable::new(options.num_pages(), options.page_size, options.max_sequences)?;
        let bounds = options.bounds(&config);
        let limits = Limits {
            max_tokens: bounds.num_tokens,
            max_logits: options.max_logits,
            vocab_size: config.vocab_size,
            context: config.context,
        };
        let dims = config.dims();
        let dtype = backend.prepare(&dims, checkpoint.dtype())?;
        backend.check_formats(options.weights, options.kv_cache)?;

        let weights = Weights::load(&mut backend, checkpoint, options.weights, progress)?;
        let rows = options.rope_rows(&config);
        let mut rope = backend.alloc(DType::F32, &[rows, config.head_dim])?;
        let rope = if config.rope.depends_on_length() {
            RopeTable::Tokens(rope)
        } else {
            let angles = config.rope.cos_sin(config.head_dim, rows, 0..rows);
            backend.upload(rope.view_mut(), cast_slice(&angles))?;
            RopeTable::Positions(rope)
        };
        let cache = KvCache::new(
            &mut backend,
            table,
            options.kv_cache.dtype(dtype),
            config.num_layers,
            config.num_kv_heads,
            config.head_dim,
        )?;
        let inputs = StepInputs::new(&mut backend, &bounds, options.page_size, config.vocab_size)?;
        let activations = Activations::new(&mut backend, dtype, options.weights, &dims, &bounds)?;
        backend.reserve(&dims, options.kv_cache, &bounds)?;
        Ok(Model { config, backend, weights, rope, cache, inputs, activations, limits, num_logits: 0 })
    }

    /// The model's configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The device.
    pub fn backend(&self) -> &B {
        &self.backend
    }

    /// Tokens that a step may hold.
    pub fn max_tokens(&self) -> usize {
        self.limits.max_tokens
    }

    /// The cache's bookkeeping: sequences, their lengths and pages.
    pub fn cache(&self) -> &PageTable {
        &self.cache.table
    }

    /// A new sequence without tokens.
    pub fn add_sequence(&mut self) -> Result<SequenceId> {
        self.cache.table.add()
    }

    /// Ends a sequence and frees its pages.
    pub fn remove_sequence(&mut self, sequence: SequenceId) -> Result<()> {
        self.cache.table.remove(sequence)
    }

    /// Forgets the tokens of a sequence from position `len` on.
    pub fn truncate_sequence(&mut self, sequence: SequenceId, len: usize) -> Result<()> {
        self.cache.table.truncate(sequence, len)
    }

    /// Gives a sequence `tokens` more tokens without computing them: the pages that they need are taken and count as written,
    /// with whatever they hold. For measurements of what comes behind a long text; see [`Model::scramble_cache`].
    ///
    /// [`Error::ContextTooLong`] beyond the model's context, and [`Error::CacheFull`]: then nothing has changed.
    pub fn occupy(&mut self, sequence: SequenceId, tokens: usize) -> Result<()> {
        let context = self.config.context;
        let wanted = self.cache.table.len(sequence)?.saturating_add(tokens);
        if wanted > context {
            return Err(Error::ContextTooLong { tokens: wanted, context });
        }
        self.cache.table.reserve(&[(sequence, tokens)])?;
        self.cache.table.advance(sequence, tokens)
    }

    /// Makes the cache what it would be after long use: it holds random keys and values (of mean 0 and deviation 1)
    /// everywhere, and pages are handed out in no order. For measurements: zeros would draw less power than real data, and
    /// pages side by side be faster to read.
    ///
    /// An error where there are sequences, whose tokens would be lost.
    pub fn scramble_cache(&mut self, seed: u64) -> Result<()> {
        self.cache.scramble(&mut self.backend, seed)
    }

    /// Computes the next tokens of some sequences and puts them into the cache. Returns the number of rows of logits; they
    /// stand in the order of `inputs` until the next step. On an error no sequence has changed. (What goes wrong while a device
    /// computes the step comes from whoever waits for it: [`Model::synchronize`], [`Model::logits`], [`Model::sample`].)
    pub fn forward(&mut self, inputs: &[SequenceInput<'_>]) -> Result<usize> {
        let mut batch = Batch::new(inputs, &mut self.cache.table, &self.limits)?;
        self.num_logits = 0;
        if batch.ids.is_empty() {
            return Ok(0);
        }
        if let RopeTable::Tokens(table) = &mut self.rope {
            let rows = rows_by_sequence(&self.config.rope, self.config.head_dim, &batch);
            self.backend.upload(table.head_mut(batch.ids.len())?, cast_slice(&rows))?;
            batch.positions = (0..batch.ids.len() as i32).collect();
        }
        self.inputs.upload(&mut self.backend, &batch)?;

        // Only steps of decodes alone come again with the same bounds.
        let repeats = (batch.bounds.max_q_len <= MAX_DECODE_TOKENS).then_some(batch.bounds);
        let gather = !batch.wants_all_tokens_in_order();
        let Model { config, weights, rope, cache, inputs: step_inputs, activations, .. } = self;
        let mut pass = Pass {
            config,
            weights,
            rope,
            cache,
            inputs: step_inputs,
            activations,
            bounds: batch.bounds,
            gather,
        };
        self.backend.step(repeats, &mut |backend| pass.launch(backend))?;

        for input in inputs {
            self.cache.table.advance(input.sequence, input.tokens.len())?;
        }
        self.num_logits = batch.logits.len();
        Ok(self.num_logits)
    }

    /// Waits until the last step has been computed.
    pub fn synchronize(&mut self) -> Result<()> {
        self.backend.synchronize()
    }

    /// The logits of the last step, `[rows, V]`.
    pub fn logits(&mut self) -> Result<Vec<f32>> {
        let vocab_size = self.config.vocab_size;
        let rows = self.activations.logits.head(self.num_logits)?;
        let width = rows.shape()[1];
        let mut logits = vec![0.0f32; self.num_logits * width];
        self.backend.download(rows, bytemuck::cast_slice_mut(&mut logits))?;
        if width > vocab_size {
            for row in 0..self.num_logits {
                logits.copy_within(row * width..row * width + vocab_size, row * vocab_size);
            }
            logits.truncate(self.num_logits * vocab_size);
        }
        Ok(logits)
    }

    /// Makes exactly `tokens` the seen tokens of a sequence, for the repetition penalty.
    pub fn set_seen(&mut self, sequence: SequenceId, tokens: &[u32]) -> Result<()> {
        self.cache.table.len(sequence)?;
        let vocab_size = self.config.vocab_size;
        let mut words = vec![0u32; vocab_size.div_ceil(32)];
        for &token in tokens {
            let word = words.get_mut(token as usize / 32).filter(|_| (token as usize) < vocab_size);
            *word.ok_or_else(|| {
                Error::argument("set_seen", "tokens", format!("ids below {vocab_size}"), token)
            })? |= 1 << (token % 32);
        }
        let slot = sequence.slot();
        let row = self.inputs.seen.view_mut().rows(slot..slot + 1)?;
        self.backend.upload(row, cast_slice(&words))
    }

    /// Chooses a token from each row of the last step's logits: only the tokens come back from the device.
    pub fn sample(&mut self, rows: &[SampleRow]) -> Result<Vec<u32>> {
        if rows.len() != self.num_logits {
            return Err(Error::argument("sample", "rows", self.num_logits, rows.len()));
        }
        let n = rows.len();
        self.backend.upload(self.inputs.sample_rows.head_mut(n)?, cast_slice(rows))?;
        self.backend.sample(Sample {
            logits: self.activations.logits.head(n)?.columns(self.config.vocab_size)?,
            rows: self.inputs.sample_rows.head(n)?,
            seen: self.inputs.seen.view_mut(),
            out: self.inputs.sampled.head_mut(n)?,
        })?;
        let mut tokens = vec![0i32; n];
        self.backend.download(self.inputs.sampled.head(n)?, bytemuck::cast_slice_mut(&mut tokens))?;
        tokens
            .into_iter()
            .map(|token| {
                u32::try_from(token).map_err(|_| {
                    Error::argument(
                        "sample",
                        "logits",
                        "a number above -inf in each row",
                        "only NaN and -inf",
                    )
                })
            })
            .collect()
    }
}

/// One row of cosines and sines for each token, by the frequencies of its sequence's length.
fn rows_by_sequence(rope: &Rope, head_dim: usize, batch: &Batch) -> Vec<f32> {
    let mut rows = Vec::with_capacity(batch.ids.len() * head_dim);
    for (tokens, &len) in batch.q_indptr.windows(2).zip(&batch.kv_len) {
        let n = (tokens[1] - tokens[0]) as usize;
        let len = len as usize;
        rows.extend(rope.cos_sin(head_dim, len, len - n..len));
    }
    rows
}

/// One step: what its launches read and write.
struct Pass<'a, B: Backend> {
    config: &'a Config,
    weights: &'a Weights<B>,
    rope: &'a RopeTable<B>,
    cache: &'a mut KvCache<B::Buffer>,
    inputs: &'a StepInputs<B::Buffer>,
    activations: &'a mut Activations<B::Buffer>,
    bounds: StepBounds,
    gather: bool,
}

impl<B: Backend> Pass<'_, B> {
    /// The forward pass, in model order.
    fn launch(&mut self, backend: &mut B) -> Result<()> {
        let ModelDims { num_q_heads, head_dim, .. } = self.config.dims();
        let (eps, t) = (self.config.rms_norm_eps, self.bounds.num_tokens);
        let (inputs, weights) = (self.inputs.arrays(&self.bounds)?, self.weights);
        let a = &mut *self.activations;

        backend.embed(Embed { ids: inputs.ids, table: &weights.embedding, out: a.residual.head_mut(t)? })?;
        for (i, layer) in weights.layers.iter().enumerate() {
            // The first norm has nothing to add: the embedding is the residual.
            let weight = layer.input_norm.view();
            let out = a.normed.output(t)?;
            if i == 0 {
                backend.rms_norm(RmsNorm { x: a.residual.head(t)?, weight, eps, out })?;
            } else {
                let (x, residual) = (a.hidden.head(t)?, a.residual.head_mut(t)?);
                backend.add_rms_norm(AddRmsNorm { x, residual, weight, eps, out })?;
            }
            matmul(backend, a.normed.input(t)?, &layer.qkv, a.qkv.head_mut(t)?)?;
            backend.rope_append_kv(RopeAppendKv {
                qkv: a.qkv.head(t)?,
                positions: inputs.positions,
                slot_mapping: inputs.slots,
                cos_sin: match self.rope {
                    RopeTable::Positions(table) | RopeTable::Tokens(table) => table.view(),
                },
                q_out: a.q.head_mut(t)?.reshape(&[t, num_q_heads, head_dim])?,
                cache: self.cache.layer_mut(i),
            })?;
            let split = self.bounds.num_decodes;
            for (sequences, decode) in [(0..split, true), (split..self.bounds.batch, false)] {
                if sequences.is_empty() {
                    continue;
                }
                let args = Attention {
                    q: a.q.head(t)?.reshape(&[t, num_q_heads, head_dim])?,
                    cache: self.cache.layer(i),
                    q_indptr: inputs.q_indptr,
                    kv_len: inputs.kv_len,
                    page_table: inputs.page_table,
                    sequences,
                    bounds: self.bounds,
                    softmax_scale: 1.0 / (head_dim as f32).sqrt(),
                    out: a.attention.native.head_mut(t)?.reshape(&[t, num_q_heads, head_dim])?,
                    lse: None,
                };
                if decode { backend.attention_decode(args)? } else { backend.attention_prefill(args)? }
            }
            a.attention.quantize(backend, t)?;
            matmul(backend, a.attention.input(t)?, &layer.output, a.hidden.head_mut(t)?)?;
            backend.add_rms_norm(AddRmsNorm {
                x: a.hidden.head(t)?,
                residual: a.residual.head_mut(t)?,
                weight: layer.post_attention_norm.view(),
                eps,
                out: a.normed.output(t)?,
            })?;
            backend.matmul(Matmul {
                x: a.normed.input(t)?,
                weight: &layer.gate_up,
                epilogue: Epilogue::SwiGlu,
                out: ActivationMut::Native(a.gated.native.head_mut(t)?),
            })?;
            a.gated.quantize(backend, t)?;
            matmul(backend, a.gated.input(t)?, &layer.down, a.hidden.head_mut(t)?)?;
        }
        let r = self.bounds.num_logits;
        if r == 0 {
            return Ok(());
        }
        if self.gather {
            let rows = inputs.logits;
            for (x, out) in [(&a.hidden, &mut a.gathered_hidden), (&a.residual, &mut a.gathered_residual)] {
                backend.gather_rows(GatherRows { x: x.head(t)?, rows, out: out.head_mut(r)? })?;
            }
        }
        let (hidden, residual) = if self.gather {
            (&a.gathered_hidden, &mut a.gathered_residual)
        } else {
            (&a.hidden, &mut a.residual)
        };
        backend.add_rms_norm(AddRmsNorm {
            x: hidden.head(r)?,
            residual: residual.head_mut(r)?,
            weight: weights.final_norm.view(),
            eps,
            out: ActivationMut::Native(a.normed.native.head_mut(r)?),
        })?;
        let logits = a.logits.head_mut(r)?.columns(self.config.vocab_size)?;
        matmul(backend, Activation::Native(a.normed.native.head(r)?), weights.lm_head(), logits)
    }
}

/// A matmul without an epilogue.
fn matmul<B: Backend>(
    backend: &mut B,
    x: Activation<'_, B::Buffer>,
    weight: &B::Weight,
    out: ViewMut<'_, B::Buffer>,
) -> Result<()> {
    backend.matmul(Matmul { x, weight, epilogue: Epilogue::None, out: ActivationMut::Native(out) })
}
