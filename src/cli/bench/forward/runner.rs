//! A model that does what an engine has it do: decodes of sequences side by side, and prompts in chunks.

use std::time::{Duration, Instant};

use anyhow::Result;
use llama_kernels::backend::Backend;
use llama_kernels::model::batch::{Logits, SequenceInput};
use llama_kernels::model::checkpoint::Checkpoint;
use llama_kernels::model::config::Config;
use llama_kernels::model::forward::{Model, ModelOptions};
use llama_kernels::model::kv_cache::SequenceId;
use llama_kernels::model::sampling::SamplingOptions;
use llama_kernels::params::SampleRow;
use llama_kernels::tensor::DType;

use crate::cli::progress::ProgressBar;

const SEED: u64 = 1;

/// A model of random weights, whose cache is full of random numbers.
pub struct Runner<B: Backend> {
    model: Model<B>,
}

/// Sequences side by side, each with its last token.
pub struct Decode {
    sequences: Vec<SequenceId>,
    tokens: Vec<u32>,
}

/// Called between a step and its sampling.
pub type Watch<'a, B> = &'a mut dyn FnMut(&B) -> Result<()>;

impl<B: Backend> Runner<B> {
    /// Makes the weights and loads them, with progress on stderr; and says how long that took.
    pub fn load(
        backend: B,
        config: &Config,
        dtype: DType,
        options: &ModelOptions,
    ) -> Result<(Self, Duration)> {
        let begin = Instant::now();
        let checkpoint = Checkpoint::random(config.clone(), dtype, SEED)?;
        let mut bar = ProgressBar::new("loading");
        let total = checkpoint.weight_bytes();
        let mut model = Model::load(backend, &checkpoint, options, &mut |done| bar.set(done, total))?;
        model.scramble_cache(SEED)?;
        model.synchronize()?;
        Ok((Runner { model }, begin.elapsed()))
    }

    pub fn config(&self) -> &Config {
        self.model.config()
    }

    /// Begins sequences with so many tokens in the cache, which nobody has computed, and one that is to come.
    pub fn begin(&mut self, batch: usize, context: usize) -> Result<Decode> {
        let tokens = self.prompts(1, batch).concat();
        let sequences = (0..batch).map(|_| self.model.add_sequence()).collect::<Result<Vec<_>, _>>()?;
        for sequence in &sequences {
            self.model.occupy(*sequence, context)?;
        }
        Ok(Decode { sequences, tokens })
    }

    /// Computes the tokens at hand and puts the most likely next ones into their place.
    pub fn decode(&mut self, decode: &mut Decode, watch: Watch<'_, B>) -> Result<()> {
        let Decode { sequences, tokens } = decode;
        let inputs: Vec<_> = sequences
            .iter()
            .zip(tokens.chunks(1))
            .map(|(&sequence, tokens)| SequenceInput { sequence, tokens, logits: Logits::Last })
            .collect();
        self.model.forward(&inputs)?;
        watch(self.model.backend())?;
        let rows = sequences.iter().map(|id| self.row(*id)).collect::<Result<Vec<_>>>()?;
        *tokens = self.model.sample(&rows)?;
        Ok(())
    }

    /// Forgets what the sequences have beyond so many tokens.
    pub fn back_to(&mut self, decode: &Decode, context: usize) -> Result<()> {
        for sequence in &decode.sequences {
            self.model.truncate_sequence(*sequence, context)?;
        }
        Ok(())
    }

    /// Ends the sequences.
    pub fn end(&mut self, decode: Decode) -> Result<()> {
        decode.sequences.into_iter().try_for_each(|sequence| Ok(self.model.remove_sequence(sequence)?))
    }

    /// Random tokens.
    pub fn prompts(&self, batch: usize, length: usize) -> Vec<Vec<u32>> {
        let vocab_size = self.config().vocab_size as u64;
        // Multiplicative hashing (Knuth, The Art of Computer Programming 6.4).
        let token = |i: usize| ((i as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) % vocab_size;
        (0..batch).map(|prompt| (0..length).map(|i| token(prompt * length + i) as u32).collect()).collect()
    }

    /// Computes the prompts in new sequences, in steps of as many tokens as the model takes at a time, and returns the most
    /// likely token behind each. The sequences end with it.
    pub fn prefill(&mut self, prompts: &[Vec<u32>], watch: Watch<'_, B>) -> Result<Vec<u32>> {
        let ids = prompts.iter().map(|_| self.model.add_sequence()).collect::<Result<Vec<_>, _>>()?;
        let mut rest: Vec<&[u32]> = prompts.iter().map(Vec::as_slice).collect();
        let mut firsts = Vec::with_capacity(prompts.len());
        while firsts.len() < prompts.len() {
            let (mut inputs, mut rows, mut room) = (Vec::new(), Vec::new(), self.model.max_tokens());
            for (&sequence, rest) in ids.iter().zip(&mut rest).skip(firsts.len()) {
                let (tokens, later) = rest.split_at(rest.len().min(room));
                if tokens.is_empty() {
                    break;
                }
                (*rest, room) = (later, room - tokens.len());
                let logits = if later.is_empty() { Logits::Last } else { Logits::None };
                inputs.push(SequenceInput { sequence, tokens, logits });
                if later.is_empty() {
                    rows.push(sequence);
                }
            }
            self.model.forward(&inputs)?;
            watch(self.model.backend())?;
            if !rows.is_empty() {
                let rows = rows.into_iter().map(|id| self.row(id)).collect::<Result<Vec<_>>>()?;
                firsts.extend(self.model.sample(&rows)?);
            }
        }
        ids.into_iter().try_for_each(|sequence| self.model.remove_sequence(sequence))?;
        Ok(firsts)
    }

    /// Sequences that have not ended.
    #[cfg(test)]
    pub fn sequences(&self) -> usize {
        let cache = self.model.cache();
        (cache.num_pages() - cache.free_pages()).div_ceil(cache.num_pages())
    }

    fn row(&self, sequence: SequenceId) -> Result<SampleRow> {
        let position = self.model.cache().len(sequence)?;
        Ok(SamplingOptions::GREEDY.row(0, position, sequence.slot())?)
    }
}

#[cfg(test)]
mod tests {
    use llama_kernels::reference::{Activations, Cpu};

    use super::*;
    use crate::cli::bench::forward::subject::Subject;

    fn runner(max_tokens: usize) -> Runner<Cpu<f32>> {
        let config = Subject::named("assets/demo-model").unwrap().config;
        let options =
            ModelOptions { max_tokens, max_logits: 4, max_sequences: 4, ..ModelOptions::single(512) };
        Runner::load(Cpu::new(Activations::AsCheckpoint), &config, DType::BF16, &options).unwrap().0
    }

    /// However the steps cut the prompts.
    #[test]
    fn prompts_in_chunks_give_the_tokens_of_whole_ones() {
        let (mut whole, mut chunks) = (runner(200), runner(25));
        let prompts = whole.prompts(3, 40);
        assert!(prompts[0] != prompts[1] && prompts[0][0] != prompts[0][1]);
        let mut steps = 0;
        let mut count = |_: &_| {
            steps += 1;
            Ok(())
        };
        let expected = whole.prefill(&prompts, &mut count).unwrap();
        let in_chunks = chunks.prefill(&prompts, &mut count).unwrap();
        assert_eq!((expected.len(), &in_chunks), (3, &expected));
        // One, and 120 tokens by 25.
        assert_eq!(steps, 1 + 5);
        assert_eq!(chunks.sequences(), 0);
    }

    #[test]
    fn decodes_go_on_from_their_context_and_back() {
        let mut runner = runner(4);
        let mut decode = runner.begin(3, 40).unwrap();
        let first = decode.tokens.clone();
        for _ in 0..10 {
            runner.decode(&mut decode, &mut |_| Ok(())).unwrap();
        }
        assert_ne!(decode.tokens, first);
        for id in &decode.sequences {
            assert_eq!(runner.model.cache().len(*id).unwrap(), 50);
        }
        runner.back_to(&decode, 40).unwrap();
        for id in &decode.sequences {
            assert_eq!(runner.model.cache().len(*id).unwrap(), 40);
        }
        runner.end(decode).unwrap();
        assert_eq!(runner.sequences(), 0);
    }
}
