//! Several sequences in one step: one decodes while another's prompt is computed, as a scheduler would have it.
//! `cargo run --example 02_ragged_batch --features cli`

use llama_kernels::model::batch::{Logits, SequenceInput};
use llama_kernels::model::checkpoint::Checkpoint;
use llama_kernels::model::forward::{Model, ModelOptions};
use llama_kernels::model::sampling::SamplingOptions;
use llama_kernels::model::tokenizer::Tokenizer;
use llama_kernels::reference::{Activations, Cpu};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = "assets/demo-model";
    let checkpoint = Checkpoint::open(folder)?;
    let tokenizer = Tokenizer::load(folder, checkpoint.config())?;
    let options =
        ModelOptions { max_tokens: 64, max_logits: 2, max_sequences: 2, ..ModelOptions::single(256) };
    let mut model = Model::load(Cpu::<f32>::new(Activations::Exact), &checkpoint, &options, &mut |_| {})?;

    let first = model.add_sequence()?;
    let mut first_tokens = tokenizer.encode_prompt("Once there was")?;
    model.forward(&[SequenceInput { sequence: first, tokens: &first_tokens, logits: Logits::Last }])?;
    let row = SamplingOptions::GREEDY.row(0, first_tokens.len(), first.slot())?;
    first_tokens.extend(model.sample(&[row])?);

    // A second request comes in: its prompt and the first one's next token make one flat batch.
    let second = model.add_sequence()?;
    let mut second_tokens = tokenizer.encode_prompt("In the morning")?;
    let mut new = second_tokens.len();
    for _ in 0..24 {
        model.forward(&[
            SequenceInput {
                sequence: first,
                tokens: &first_tokens[first_tokens.len() - 1..],
                logits: Logits::Last,
            },
            SequenceInput {
                sequence: second,
                tokens: &second_tokens[second_tokens.len() - new..],
                logits: Logits::Last,
            },
        ])?;
        let rows = [
            SamplingOptions::GREEDY.row(0, first_tokens.len(), first.slot())?,
            SamplingOptions::GREEDY.row(1, second_tokens.len(), second.slot())?,
        ];
        let next = model.sample(&rows)?;
        first_tokens.push(next[0]);
        second_tokens.push(next[1]);
        new = 1;
    }
    for tokens in [&first_tokens, &second_tokens] {
        println!("{}", tokenizer.decode(tokens)?);
    }

    println!(
        "{} of {} pages are in use",
        model.cache().num_pages() - model.cache().free_pages(),
        model.cache().num_pages()
    );
    model.remove_sequence(first)?;
    model.remove_sequence(second)?;
    Ok(())
}
