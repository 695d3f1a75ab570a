//! Steps of ragged batches: what they compute, launch, record and allocate.

use llama_kernels::Error;
use llama_kernels::backend::{Backend, CacheFormat, GpuOptions, WeightFormat};
use llama_kernels::model::batch::{Logits, SequenceInput};
use llama_kernels::model::checkpoint::Checkpoint;
use llama_kernels::model::forward::{Model, ModelOptions};
use llama_kernels::model::kv_cache::SequenceId;
use llama_kernels::model::sampling::SamplingOptions;
use llama_kernels::reference::sample_row;
use llama_kernels::tensor::DType;

use super::goldens::with_vocabulary;
use super::{exact, gpu, gpu_with, judge, rounding};
use crate::common::golden::path;

const SMALL: &str = "tests/golden/llama3-gqa";
const LAYERS: u64 = 2;
const VOCAB: usize = 96;
const OPTIONS: ModelOptions = ModelOptions {
    max_tokens: 64,
    max_logits: 64,
    max_sequences: 3,
    cache_tokens: 160,
    page_size: 16,
    weights: WeightFormat::Native,
    kv_cache: CacheFormat::Native,
};

fn load<B: Backend>(backend: B, model: &str, options: &ModelOptions) -> Model<B> {
    let checkpoint = Checkpoint::open(path(model)).unwrap();
    Model::load(backend, &checkpoint, options, &mut |_| {}).unwrap()
}

fn tokens(n: usize, seed: u32) -> Vec<u32> {
    (0..n as u32).map(|i| (i * 37 + seed * 11 + 5) % 96).collect()
}

fn input(sequence: SequenceId, tokens: &[u32], logits: Logits) -> SequenceInput<'_> {
    SequenceInput { sequence, tokens, logits }
}

fn wide(logits: &[f32]) -> Vec<f64> {
    logits.iter().map(|&x| f64::from(x)).collect()
}

/// Two sequences are in the cache; then come a prefill, a decode, and speculative tokens, the prefill first.
fn ragged<B: Backend>(backend: B) -> Vec<f64> {
    let mut model = load(backend, SMALL, &OPTIONS);
    let ids: Vec<_> = (0..3).map(|_| model.add_sequence().unwrap()).collect();
    let (a, b, c) = (tokens(20, 0), tokens(33, 1), tokens(17, 2));
    model.forward(&[input(ids[0], &a, Logits::None), input(ids[1], &b[..30], Logits::None)]).unwrap();
    let next = tokens(1, 3);
    let inputs = [
        input(ids[2], &c, Logits::Last),
        input(ids[0], &next, Logits::Last),
        input(ids[1], &b[30..], Logits::All),
    ];
    assert_eq!(model.forward(&inputs).unwrap(), 1 + 1 + 3);
    wide(&model.logits().unwrap())
}

/// The same five rows, each sequence in a model of its own and in one step.
fn alone<B: Backend>(backend: impl Fn() -> B) -> Vec<f64> {
    let (a, b, c) = (tokens(20, 0), tokens(33, 1), tokens(17, 2));
    let next = [a, tokens(1, 3)].concat();
    let mut all = Vec::new();
    for (tokens, rows) in [(c, 1), (next, 1), (b, 3)] {
        let mut model = load(backend(), SMALL, &OPTIONS);
        let sequence = model.add_sequence().unwrap();
        model.forward(&[input(sequence, &tokens, Logits::All)]).unwrap();
        let logits = wide(&model.logits().unwrap());
        all.extend_from_slice(&logits[logits.len() - rows * VOCAB..]);
    }
    all
}

#[test]
#[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
fn a_ragged_batch_gives_what_each_sequence_gives_alone() {
    let (right, naive) = (alone(exact), alone(rounding));
    judge("ragged batch", &ragged(gpu()), &right, &naive, VOCAB, DType::BF16);
    judge("alone", &alone(gpu), &right, &naive, VOCAB, DType::BF16);
}

/// In batch-invariant mode a decode's bits do not depend on what else is in the batch.
#[test]
#[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
fn batch_invariant_decodes_have_the_bits_of_single_ones() {
    let backend = || gpu_with(|options| GpuOptions { batch_invariant: true, ..options });
    let prompts = [tokens(20, 0), tokens(33, 1), tokens(9, 2)];
    let mut together = load(backend(), SMALL, &OPTIONS);
    let ids: Vec<_> = prompts.iter().map(|_| together.add_sequence().unwrap()).collect();
    let mut single = load(backend(), SMALL, &OPTIONS);
    let mut expected = Vec::new();
    for (id, prompt) in ids.iter().zip(&prompts) {
        // The prompts one by one in both, so that only the decodes differ.
        together.forward(&[input(*id, prompt, Logits::None)]).unwrap();
        let sequence = single.add_sequence().unwrap();
        single.forward(&[input(sequence, prompt, Logits::None)]).unwrap();
        single.forward(&[input(sequence, &[7], Logits::Last)]).unwrap();
        expected.extend(single.logits().unwrap());
        single.remove_sequence(sequence).unwrap();
    }
    let inputs: Vec<_> = ids.iter().map(|id| input(*id, &[7], Logits::Last)).collect();
    together.forward(&inputs).unwrap();
    assert!(together.logits().unwrap() == expected);
}

/// Logits of decodes of growing length, across the ends of pages, and how many steps were recorded.
fn decodes(graphs: bool) -> (Vec<f32>, usize, u64) {
    let backend = gpu_with(|options| GpuOptions { graphs, ..options });
    let mut model = load(backend, SMALL, &OPTIONS);
    let (a, b) = (model.add_sequence().unwrap(), model.add_sequence().unwrap());
    model.forward(&[input(a, &tokens(29, 0), Logits::None), input(b, &tokens(12, 1), Logits::None)]).unwrap();
    let mut logits = Vec::new();
    for i in 0..8 {
        let next = [tokens(1, i), tokens(1, i + 50)];
        model.forward(&[input(a, &next[0], Logits::Last), input(b, &next[1], Logits::Last)]).unwrap();
        logits.extend(model.logits().unwrap());
        // Now and then something else in between: other bounds, and a sequence that forgets.
        if i == 3 {
            model.forward(&[input(a, &tokens(3, 9), Logits::All)]).unwrap();
            logits.extend(model.logits().unwrap());
            model.truncate_sequence(a, 33).unwrap();
        }
    }
    (logits, model.backend().recorded_steps(), model.backend().device().launches())
}

#[test]
#[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
fn a_replayed_step_has_the_bits_of_a_launched_one() {
    let (replayed, recorded, replayed_launches) = decodes(true);
    let (launched, none, launches) = decodes(false);
    assert!(replayed == launched, "a replayed step gives other logits");
    // Two decodes with up to 32 keys and with up to 64, and the speculative step.
    assert_eq!((recorded, none), (3, 0));
    assert_eq!(replayed_launches, launches, "what a replay launches counts");
}

/// Memory that is freed may be part of a recording: then the step is recorded anew.
#[test]
#[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
fn freed_memory_drops_recordings() {
    let mut model = load(gpu(), SMALL, &OPTIONS);
    let sequence = model.add_sequence().unwrap();
    model.forward(&[input(sequence, &[1], Logits::Last)]).unwrap();
    model.forward(&[input(sequence, &[1, 2], Logits::Last)]).unwrap();
    assert_eq!(model.backend().recorded_steps(), 2);
    drop(model.backend().device().allocate(64).unwrap());
    model.forward(&[input(sequence, &[1], Logits::Last)]).unwrap();
    assert_eq!(model.backend().recorded_steps(), 1);
}

/// Eight launches a layer, one more where attention over split keys is combined; nothing is allocated.
#[test]
#[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
fn a_step_launches_what_it_needs_and_allocates_nothing() {
    let mut model = load(gpu(), SMALL, &OPTIONS);
    let sequence = model.add_sequence().unwrap();
    model.backend().stream().synchronize().unwrap();
    let mut step = |tokens: &[u32], logits| {
        let count = |model: &Model<_>| {
            let device: &llama_kernels::gpu::Device = llama_kernels::backend::Gpu::device(model.backend());
            (device.launches(), device.allocated(), device.freed())
        };
        let before = count(&model);
        model.forward(&[input(sequence, tokens, logits)]).unwrap();
        // A simulated GPU runs when somebody waits for it: until here nobody has.
        let ran = model.backend().stream().reports().unwrap();
        model.logits().unwrap();
        let after = count(&model);
        assert_eq!(ran.map_or(after.0 - before.0, |reports| reports.len() as u64), after.0 - before.0);
        assert_eq!((before.1, before.2), (after.1, after.2), "a step allocates nothing");
        after.0 - before.0
    };
    // embed; the layers; final norm and output head.
    let whole = 1 + 8 * LAYERS + 2;
    assert_eq!(step(&tokens(20, 0), Logits::All), whole, "a prefill");
    assert_eq!(step(&tokens(20, 0), Logits::Last), whole + 2, "a prefill that gathers one row");
    assert_eq!(step(&tokens(20, 0), Logits::None), whole - 2, "a chunk of a prompt");
    let decode = step(&tokens(1, 1), Logits::Last);
    assert!(decode == whole || decode == whole + LAYERS, "{decode} launches of a decode, combined or not");
    assert_eq!(step(&tokens(1, 1), Logits::Last), decode, "replayed");
}

#[test]
#[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
fn a_full_cache_refuses_and_loses_nothing() {
    fn run<B: Backend>(backend: B) -> Vec<f64> {
        let mut model = load(backend, SMALL, &ModelOptions { cache_tokens: 96, ..OPTIONS });
        let (a, b) = (model.add_sequence().unwrap(), model.add_sequence().unwrap());
        model.forward(&[input(a, &tokens(64, 0), Logits::None)]).unwrap();
        let prompt = tokens(40, 1);
        let error = model.forward(&[input(b, &prompt, Logits::Last)]).unwrap_err();
        assert!(matches!(error, Error::CacheFull { needed: 3, free: 2, page_size: 16 }), "{error}");
        // The first goes on as if nothing had been; so does the second, where there is room.
        model.forward(&[input(a, &[3], Logits::Last), input(b, &prompt[..15], Logits::Last)]).unwrap();
        let mut logits = wide(&model.logits().unwrap());
        assert!(matches!(
            model.forward(&[input(b, &prompt[15..], Logits::Last)]),
            Err(Error::CacheFull { .. })
        ));
        model.truncate_sequence(a, 64).unwrap();
        model.truncate_sequence(a, 33).unwrap();
        model.forward(&[input(b, &prompt[15..], Logits::Last)]).unwrap();
        logits.extend(wide(&model.logits().unwrap()));
        model.forward(&[input(a, &[5], Logits::Last)]).unwrap();
        logits.extend(wide(&model.logits().unwrap()));
        logits
    }
    judge("full cache", &run(gpu()), &run(exact()), &run(rounding()), VOCAB, DType::BF16);
}

/// The tokens that the reference takes from the same logits, with all filters, seeds and a penalty; rows of a vocabulary that
/// is padded.
#[test]
#[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
fn sampling_takes_the_tokens_that_the_reference_takes() {
    let greedy = SamplingOptions::GREEDY;
    let hot = SamplingOptions { temperature: 1.3, ..greedy };
    let options = [
        greedy,
        hot,
        SamplingOptions { top_k: 7, seed: 5, ..hot },
        SamplingOptions { top_p: 0.8, seed: u64::MAX, ..hot },
        SamplingOptions { min_p: 0.3, repetition_penalty: 1.7, ..hot },
        SamplingOptions { repetition_penalty: 3.0, ..greedy },
    ];
    for vocab_size in [93, VOCAB] {
        let checkpoint = with_vocabulary(SMALL, vocab_size);
        let mut model = Model::load(gpu(), &checkpoint, &OPTIONS, &mut |_| {}).unwrap();
        let ids: Vec<_> = (0..3).map(|_| model.add_sequence().unwrap()).collect();
        let prompts = [tokens(9, 1), tokens(20, 2), tokens(1, 3)]
            .map(|tokens| tokens.iter().map(|t| t % 93).collect::<Vec<_>>());
        let inputs: Vec<_> =
            ids.iter().zip(&prompts).map(|(id, prompt)| input(*id, prompt, Logits::Last)).collect();
        model.forward(&inputs).unwrap();
        let logits = model.logits().unwrap();
        let mut seen = vec![vec![0u32; vocab_size.div_ceil(32)]; 3];
        for (round, options) in options.iter().cycle().take(24).enumerate() {
            for (s, id) in ids.iter().enumerate() {
                // What was sampled has been added meanwhile, on both sides; now and then it begins anew.
                if round % 5 == 0 {
                    model.set_seen(*id, &prompts[s]).unwrap();
                    seen[s].fill(0);
                    prompts[s].iter().for_each(|&t| seen[s][t as usize / 32] |= 1 << (t % 32));
                }
            }
            let rows: Vec<_> = ids
                .iter()
                .enumerate()
                .map(|(s, id)| options.row(s as u64, 30 + round, id.slot()).unwrap())
                .collect();
            let expected: Vec<u32> = (0..3)
                .map(|s| {
                    let row = &logits[s * vocab_size..(s + 1) * vocab_size];
                    sample_row(row, &rows[s], Some(&mut seen[s])) as u32
                })
                .collect();
            assert_eq!(model.sample(&rows).unwrap(), expected, "{vocab_size}, {options:?}");
        }
    }
}
