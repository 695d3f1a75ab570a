//! The forward pass as a machine: ragged batches, the cache's limits, sampling, generation.

use std::ops::ControlFlow;
use std::path::PathBuf;

use llama_kernels::Error;
use llama_kernels::backend::{CacheFormat, WeightFormat};
use llama_kernels::model::batch::{Logits, SequenceInput};
use llama_kernels::model::checkpoint::Checkpoint;
use llama_kernels::model::forward::{Model, ModelOptions};
use llama_kernels::model::generate::{FinishReason, Generation, GenerationOptions, Session};
use llama_kernels::model::kv_cache::SequenceId;
use llama_kernels::model::sampling::SamplingOptions;
use llama_kernels::model::tokenizer::Tokenizer;
use llama_kernels::reference::{Activations, Cpu};

type CpuModel = Model<Cpu<f32>>;

fn path(of: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(of)
}

fn load(model: &str, options: &ModelOptions) -> CpuModel {
    let checkpoint = Checkpoint::open(path(model)).unwrap();
    Model::load(Cpu::new(Activations::Exact), &checkpoint, options, &mut |_| {}).unwrap()
}

const SMALL: &str = "tests/golden/llama3-gqa";
const OPTIONS: ModelOptions = ModelOptions {
    max_tokens: 64,
    max_logits: 64,
    max_sequences: 3,
    cache_tokens: 160,
    page_size: 16,
    weights: WeightFormat::Native,
    kv_cache: CacheFormat::Native,
};

fn tokens(n: usize, seed: u32) -> Vec<u32> {
    (0..n as u32).map(|i| (i * 37 + seed * 11 + 5) % 96).collect()
}

fn input(sequence: SequenceId, tokens: &[u32], logits: Logits) -> SequenceInput<'_> {
    SequenceInput { sequence, tokens, logits }
}

/// The logits of `tokens` after `before`, in a model of their own.
fn alone(before: &[u32], tokens: &[u32], logits: Logits) -> Vec<f32> {
    let mut model = load(SMALL, &OPTIONS);
    let sequence = model.add_sequence().unwrap();
    if !before.is_empty() {
        model.forward(&[input(sequence, before, Logits::None)]).unwrap();
    }
    model.forward(&[input(sequence, tokens, logits)]).unwrap();
    model.logits().unwrap()
}

#[test]
fn a_ragged_batch_gives_what_each_sequence_gives_alone() {
    let mut model = load(SMALL, &OPTIONS);
    let ids: Vec<_> = (0..3).map(|_| model.add_sequence().unwrap()).collect();
    let (a, b, c) = (tokens(20, 0), tokens(33, 1), tokens(17, 2));
    assert_eq!(
        model.forward(&[input(ids[0], &a, Logits::None), input(ids[1], &b[..30], Logits::None)]).unwrap(),
        0
    );
    // A prefill, a decode, and a few speculative tokens, the prefill first in the caller's order.
    let (next, guess) = (tokens(1, 3), &b[30..]);
    let rows = model
        .forward(&[
            input(ids[2], &c, Logits::Last),
            input(ids[0], &next, Logits::Last),
            input(ids[1], guess, Logits::All),
        ])
        .unwrap();
    assert_eq!(rows, 1 + 1 + 3);
    let expected =
        [alone(&[], &c, Logits::Last), alone(&a, &next, Logits::Last), alone(&b[..30], guess, Logits::All)]
            .concat();
    assert!(model.logits().unwrap() == expected, "the batch's logits differ from the sequences' own");
}

#[test]
fn forgotten_tokens_leave_no_trace() {
    let mut model = load(SMALL, &OPTIONS);
    let sequence = model.add_sequence().unwrap();
    let prompt = tokens(30, 0);
    model.forward(&[input(sequence, &tokens(25, 9), Logits::None)]).unwrap();
    model.truncate_sequence(sequence, 0).unwrap();
    model.forward(&[input(sequence, &prompt, Logits::Last)]).unwrap();
    assert!(model.logits().unwrap() == alone(&[], &prompt, Logits::Last));
    // A page that another sequence left behind.
    model.remove_sequence(sequence).unwrap();
    let sequence = model.add_sequence().unwrap();
    model.forward(&[input(sequence, &prompt[..9], Logits::Last)]).unwrap();
    assert!(model.logits().unwrap() == alone(&[], &prompt[..9], Logits::Last));
}

#[test]
fn a_full_cache_refuses_and_goes_on() {
    let mut model = load(SMALL, &OPTIONS);
    let (a, b) = (model.add_sequence().unwrap(), model.add_sequence().unwrap());
    for _ in 0..2 {
        model.forward(&[input(a, &tokens(64, 0), Logits::None)]).unwrap();
    }
    let prompt = tokens(40, 1);
    let error = model.forward(&[input(b, &prompt, Logits::Last)]).unwrap_err();
    assert!(matches!(error, Error::CacheFull { needed: 3, free: 2, page_size: 16 }), "{error}");
    model.truncate_sequence(a, 64).unwrap();
    model.forward(&[input(b, &prompt, Logits::Last)]).unwrap();
    assert!(model.logits().unwrap() == alone(&[], &prompt, Logits::Last));
}

#[test]
fn an_empty_step_and_no_logits_are_fine() {
    let mut model = load(SMALL, &OPTIONS);
    assert_eq!(model.forward(&[]).unwrap(), 0);
    assert!(model.logits().unwrap().is_empty());
    assert!(model.sample(&[]).unwrap().is_empty());
}

#[test]
fn sampling_needs_a_row_for_each_row_of_logits() {
    let mut model = load(SMALL, &OPTIONS);
    let sequence = model.add_sequence().unwrap();
    model.forward(&[input(sequence, &tokens(4, 0), Logits::Last)]).unwrap();
    let row = SamplingOptions::GREEDY.row(0, 4, sequence.slot()).unwrap();
    assert_eq!(model.sample(&[row, row]).unwrap_err().to_string(), "sample: rows: expected 1, got 2");
    let logits = model.logits().unwrap();
    let best = (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap();
    assert_eq!(model.sample(&[row]).unwrap(), [best as u32]);
}

struct Demo {
    model: CpuModel,
    tokenizer: Tokenizer,
}

impl Demo {
    fn load(tokens: usize) -> Self {
        let folder = path("assets/demo-model");
        let checkpoint = Checkpoint::open(&folder).unwrap();
        let tokenizer = Tokenizer::load(&folder, checkpoint.config()).unwrap();
        let backend = Cpu::new(Activations::Exact);
        let model = Model::load(backend, &checkpoint, &ModelOptions::single(tokens), &mut |_| {}).unwrap();
        Demo { model, tokenizer }
    }

    fn options(&self) -> GenerationOptions {
        GenerationOptions {
            max_tokens: 40,
            sampling: SamplingOptions::GREEDY,
            stop_tokens: self.model.config().eos_token_ids.clone(),
            stop_strings: Vec::new(),
        }
    }

    /// Generates in a new sequence, and checks that what is streamed is what is returned.
    fn generate(&mut self, prompt: &str, options: &GenerationOptions) -> Generation {
        let prompt = self.tokenizer.encode_prompt(prompt).unwrap();
        let mut session = Session::new(&mut self.model).unwrap();
        let generation = self.generate_in(&mut session, &prompt, options);
        session.end(&mut self.model).unwrap();
        generation
    }

    fn generate_in(
        &mut self,
        session: &mut Session,
        prompt: &[u32],
        options: &GenerationOptions,
    ) -> Generation {
        let mut streamed = String::new();
        let generation = session
            .generate(&mut self.model, &self.tokenizer, prompt, options, &mut |text| {
                streamed.push_str(text);
                ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!(streamed, generation.text);
        generation
    }
}

#[test]
fn generation_ends_where_it_is_told_to() {
    let mut demo = Demo::load(256);
    let options = demo.options();
    let whole = demo.generate("Once", &options);
    assert_eq!(whole.finish_reason, FinishReason::Length);
    assert_eq!(whole.tokens.len(), 40);

    let short = demo.generate("Once", &GenerationOptions { max_tokens: 5, ..options.clone() });
    assert_eq!(short.tokens, whole.tokens[..5]);
    let none = demo.generate("Once", &GenerationOptions { max_tokens: 0, ..options.clone() });
    assert_eq!((none.tokens.len(), none.text.as_str()), (0, ""));

    let stop = whole.tokens[7];
    let first = whole.tokens.iter().position(|&t| t == stop).unwrap();
    let by_token = demo.generate("Once", &GenerationOptions { stop_tokens: vec![stop], ..options.clone() });
    assert_eq!((by_token.finish_reason, &by_token.tokens[..]), (FinishReason::Stop, &whole.tokens[..=first]));
    assert!(whole.text.starts_with(&by_token.text));

    let stop: String = whole.text.chars().skip(12).take(6).collect();
    let end = whole.text.find(&stop).unwrap();
    let by_text = demo.generate("Once", &GenerationOptions { stop_strings: vec![stop], ..options.clone() });
    assert_eq!((by_text.finish_reason, by_text.text.as_str()), (FinishReason::Stop, &whole.text[..end]));
}

#[test]
fn generation_fills_the_cache_and_stops() {
    let mut demo = Demo::load(48);
    let options = GenerationOptions { max_tokens: 1000, stop_tokens: Vec::new(), ..demo.options() };
    let generation = demo.generate("Once", &options);
    assert_eq!(generation.finish_reason, FinishReason::Length);
    // The last token needs no place in the cache.
    assert_eq!(generation.prompt_tokens + generation.tokens.len(), 48 + 1);
}

#[test]
fn a_seed_gives_the_same_text_again() {
    let mut demo = Demo::load(256);
    let sampling = SamplingOptions { temperature: 1.0, top_p: 0.95, seed: 11, ..SamplingOptions::GREEDY };
    let options = GenerationOptions { sampling, ..demo.options() };
    let first = demo.generate("Once", &options);
    assert_eq!(demo.generate("Once", &options).tokens, first.tokens);
    let other = SamplingOptions { seed: 12, ..sampling };
    assert_ne!(demo.generate("Once", &GenerationOptions { sampling: other, ..options }).tokens, first.tokens);
}

#[test]
fn a_continued_conversation_computes_only_what_is_new() {
    let mut demo = Demo::load(512);
    let options = demo.options();
    let first = demo.tokenizer.encode_prompt("Once there was").unwrap();
    let mut session = Session::new(&mut demo.model).unwrap();
    let begun = demo.generate_in(&mut session, &first, &options);
    let second = [&first[..], &begun.tokens[..10], &first[1..]].concat();
    let continued = demo.generate_in(&mut session, &second, &options);
    assert_eq!(continued.cached_tokens, first.len() + 10);
    let mut fresh = Demo::load(512);
    let mut session = Session::new(&mut fresh.model).unwrap();
    let expected = fresh.generate_in(&mut session, &second, &options);
    assert_eq!((expected.cached_tokens, expected.tokens), (0, continued.tokens));
}

#[test]
fn a_penalty_changes_what_repeats() {
    let mut demo = Demo::load(256);
    let plain = demo.generate("Once", &demo.options());
    let sampling = SamplingOptions { repetition_penalty: 5.0, ..SamplingOptions::GREEDY };
    let options = GenerationOptions { sampling, ..demo.options() };
    let penalised = demo.generate("Once", &options);
    let distinct = |tokens: &[u32]| tokens.iter().collect::<std::collections::HashSet<_>>().len();
    assert!(distinct(&penalised.tokens) > distinct(&plain.tokens));
    // The penalty of one request does not reach the next.
    assert_eq!(demo.generate("Once", &demo.options()).tokens, plain.tokens);
}

#[test]
fn a_long_prompt_can_be_cancelled_between_its_chunks() {
    let mut demo = Demo::load(2048);
    let prompt = vec![5; 1500];
    let options = demo.options();
    let mut session = Session::new(&mut demo.model).unwrap();
    let mut calls = 0;
    let generation = session
        .generate(&mut demo.model, &demo.tokenizer, &prompt, &options, &mut |text| {
            calls += 1;
            assert_eq!(text, "");
            ControlFlow::Break(())
        })
        .unwrap();
    assert_eq!((generation.finish_reason, calls, generation.tokens.len()), (FinishReason::Cancelled, 1, 0));
    // What was computed stays, and the prompt can be gone on with.
    let generation = demo.generate_in(&mut session, &prompt, &GenerationOptions { max_tokens: 1, ..options });
    assert_eq!((generation.cached_tokens, generation.tokens.len()), (512, 1));
}

#[test]
fn a_prompt_beyond_the_context_is_refused() {
    let mut demo = Demo::load(64);
    let context = demo.model.config().context;
    let prompt = vec![1; context + 1];
    let options = demo.options();
    let mut session = Session::new(&mut demo.model).unwrap();
    let error = session
        .generate(&mut demo.model, &demo.tokenizer, &prompt, &options, &mut |_| ControlFlow::Continue(()))
        .unwrap_err();
    assert!(matches!(error, Error::ContextTooLong { .. }), "{error}");
    let error = session
        .generate(&mut demo.model, &demo.tokenizer, &prompt[..65], &options, &mut |_| {
            ControlFlow::Continue(())
        })
        .unwrap_err();
    assert!(matches!(error, Error::CacheFull { .. }), "{error}");
}
