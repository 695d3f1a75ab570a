//! Continuous batching: requests join while others are being answered, and leave when they are done. Each step decodes one
//! token of every running request and computes the prompt of one that joins, in one ragged batch.
//! `cargo run --example 08_continuous_batching --features model,sim`

use std::collections::VecDeque;

use llama_kernels::Error;
use llama_kernels::backend::{Backend, Gpu};
use llama_kernels::device::DeviceChoice;
use llama_kernels::gpu::Device;
use llama_kernels::model::batch::{Logits, SequenceInput};
use llama_kernels::model::checkpoint::Checkpoint;
use llama_kernels::model::forward::{Model, ModelOptions};
use llama_kernels::model::kv_cache::SequenceId;
use llama_kernels::model::sampling::SamplingOptions;
use llama_kernels::model::tokenizer::Tokenizer;

/// A request that has its place in the cache.
struct Running {
    number: usize,
    sequence: SequenceId,
    tokens: Vec<u32>,
    /// How many of the tokens the cache does not hold yet.
    new: usize,
    /// Tokens that are still wanted.
    wanted: usize,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = "assets/demo-model";
    let checkpoint = Checkpoint::open(folder)?;
    let tokenizer = Tokenizer::load(folder, checkpoint.config())?;
    // Room for two requests at a time, and for 96 tokens: the others wait.
    let options =
        ModelOptions { max_tokens: 64, max_logits: 2, max_sequences: 2, ..ModelOptions::single(96) };
    let gpu = Gpu::new(&Device::open(DeviceChoice::Auto)?)?;
    let mut model = Model::load(gpu, &checkpoint, &options, &mut |_| {})?;

    let prompts = ["Once there was", "In the morning", "The little fox", "Anna had"];
    let mut waiting: VecDeque<(usize, Vec<u32>, usize)> = VecDeque::new();
    for (number, (prompt, wanted)) in prompts.iter().zip([12, 6, 9, 4]).enumerate() {
        waiting.push_back((number, tokenizer.encode_prompt(prompt)?, wanted));
    }
    let mut running: Vec<Running> = Vec::new();
    let mut step = 0;
    while !(waiting.is_empty() && running.is_empty()) {
        // One joins, if there is a place for it.
        if running.len() < options.max_sequences
            && let Some((number, tokens, wanted)) = waiting.pop_front()
        {
            println!("step {step:2}: request {number} joins with {} tokens", tokens.len());
            let (sequence, new) = (model.add_sequence()?, tokens.len());
            running.push(Running { number, sequence, tokens, new, wanted });
        }
        let inputs: Vec<_> = running
            .iter()
            .map(|request| SequenceInput {
                sequence: request.sequence,
                tokens: &request.tokens[request.tokens.len() - request.new..],
                logits: Logits::Last,
            })
            .collect();
        match model.forward(&inputs) {
            Err(error @ Error::CacheFull { .. }) if running.len() > 1 => {
                // Nothing was lost: the last one gives its pages back and waits for its turn.
                println!("step {step:2}: {error}");
                let Some(last) = running.pop() else { continue };
                model.remove_sequence(last.sequence)?;
                waiting.push_front((last.number, last.tokens, last.wanted));
                continue;
            }
            rows => rows.map(drop)?,
        }
        let row = |request: &Running| {
            SamplingOptions::GREEDY.row(request.number as u64, request.tokens.len(), request.sequence.slot())
        };
        let rows = running.iter().map(row).collect::<Result<Vec<_>, _>>()?;
        for (request, token) in running.iter_mut().zip(model.sample(&rows)?) {
            request.tokens.push(token);
            (request.new, request.wanted) = (1, request.wanted - 1);
        }
        step += 1;
        for request in running.extract_if(.., |request| request.wanted == 0) {
            println!(
                "step {step:2}: request {} is done: {:?}",
                request.number,
                tokenizer.decode(&request.tokens)?
            );
            model.remove_sequence(request.sequence)?;
        }
    }
    println!(
        "{} pages are free, of {}; {}",
        model.cache().free_pages(),
        model.cache().num_pages(),
        model.backend().description()
    );
    Ok(())
}
