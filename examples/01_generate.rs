//! Loads a model folder and lets it write: `cargo run --example 01_generate --features cli [-- FOLDER PROMPT]`.

use std::io::Write;
use std::ops::ControlFlow;

use llama_kernels::model::checkpoint::Checkpoint;
use llama_kernels::model::forward::{Model, ModelOptions};
use llama_kernels::model::generate::{GenerationOptions, Session};
use llama_kernels::model::sampling::SamplingOptions;
use llama_kernels::model::tokenizer::Tokenizer;
use llama_kernels::reference::{Activations, Cpu};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let folder = args.next().unwrap_or_else(|| "assets/demo-model".into());
    let prompt = args.next().unwrap_or_else(|| "Once there was".into());

    // Everything that can be wrong with the files shows here, before anything is computed.
    let checkpoint = Checkpoint::open(&folder)?;
    let tokenizer = Tokenizer::load(&folder, checkpoint.config())?;

    // What the model may hold is allocated now, and nothing later.
    let backend = Cpu::<f32>::new(Activations::Exact);
    let mut model = Model::load(backend, &checkpoint, &ModelOptions::single(256), &mut |_| {})?;

    let mut session = Session::new(&mut model)?;
    let options = GenerationOptions {
        max_tokens: 40,
        sampling: SamplingOptions { temperature: 0.7, seed: 1, ..SamplingOptions::GREEDY },
        stop_tokens: checkpoint.config().eos_token_ids.clone(),
        stop_strings: vec!["\n\n".into()],
    };
    let prompt = tokenizer.encode_prompt(&prompt)?;
    let generation = session.generate(&mut model, &tokenizer, &prompt, &options, &mut |text| {
        print!("{text}");
        // Text that cannot be shown need not be generated.
        if std::io::stdout().flush().is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    println!("\n[{} tokens, ended by {}]", generation.tokens.len(), generation.finish_reason);
    Ok(())
}
