//! The demo model's loss on text that it was not trained on, by the recipe in assets/demo-model/README.md.

use std::error::Error;
use std::path::{Path, PathBuf};

use llama_kernels::backend::Backend;
use llama_kernels::model::batch::{Logits, SequenceInput};
use llama_kernels::model::forward::Model;

/// Tokens that a document may have.
pub const LONGEST: usize = 512;

pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo-model")
}

/// The tokens of each document. (The crate's own tokenizer takes what looks like a special token in a prompt for text.)
pub fn documents() -> Result<Vec<Vec<u32>>, Box<dyn Error>> {
    let tokenizer =
        tokenizers::Tokenizer::from_file(folder().join("tokenizer.json")).map_err(|e| e.to_string())?;
    let begin = tokenizer.token_to_id("<|begin_of_text|>").ok_or("no <|begin_of_text|>")?;
    std::fs::read_to_string(folder().join("heldout.txt"))?
        .split("\n%%\n")
        .map(|text| {
            let encoding = tokenizer.encode(text, false).map_err(|e| e.to_string())?;
            Ok([&[begin], encoding.get_ids()].concat())
        })
        .collect()
}

/// Mean of `-ln p(token)` over every token of the documents but their first, and how many there are.
pub fn loss<B: Backend>(
    model: &mut Model<B>,
    documents: &[Vec<u32>],
) -> Result<(f64, usize), llama_kernels::Error> {
    let vocab_size = model.config().vocab_size;
    let (mut sum, mut count) = (0.0, 0);
    for tokens in documents {
        let sequence = model.add_sequence()?;
        model.forward(&[SequenceInput { sequence, tokens, logits: Logits::All }])?;
        for (row, &next) in model.logits()?.chunks(vocab_size).zip(&tokens[1..]) {
            let max = row.iter().fold(f32::NEG_INFINITY, |max, &x| max.max(x));
            let exponentials: f64 = row.iter().map(|&x| f64::from(x - max).exp()).sum();
            sum += exponentials.ln() - f64::from(row[next as usize] - max);
            count += 1;
        }
        model.remove_sequence(sequence)?;
    }
    Ok((sum / count as f64, count))
}
