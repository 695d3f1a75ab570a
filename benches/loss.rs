//! What quantised weights and caches cost the demo model: its loss on held-out text in every mode.
//!
//! `cargo bench --no-default-features --features model,rayon --bench loss`

mod heldout;

use std::error::Error;

use llama_kernels::backend::{CacheFormat, WeightFormat};
use llama_kernels::model::checkpoint::Checkpoint;
use llama_kernels::model::forward::{Model, ModelOptions};
use llama_kernels::quant::int4::GroupSize;
use llama_kernels::reference::{Activations, Cpu};

fn main() -> Result<(), Box<dyn Error>> {
    let (checkpoint, documents) = (Checkpoint::open(heldout::folder())?, heldout::documents()?);
    let int4 = |group_size| WeightFormat::Int4 { group_size };
    println!("activations  weights          KV cache  nats per token  to native");
    for activations in [Activations::Exact, Activations::AsCheckpoint] {
        let mut native = None;
        for (name, weights, kv_cache) in [
            ("native", WeightFormat::Native, CacheFormat::Native),
            ("int4, groups 32", int4(GroupSize::Of32), CacheFormat::Native),
            ("int4, groups 128", int4(GroupSize::Of128), CacheFormat::Native),
            ("int4, rows", int4(GroupSize::Row), CacheFormat::Native),
            ("fp8", WeightFormat::Fp8, CacheFormat::Native),
            ("native", WeightFormat::Native, CacheFormat::Fp8),
            ("int4, groups 128", int4(GroupSize::Of128), CacheFormat::Fp8),
            ("fp8", WeightFormat::Fp8, CacheFormat::Fp8),
        ] {
            let single = ModelOptions::single(heldout::LONGEST);
            let options = ModelOptions { max_logits: heldout::LONGEST, weights, kv_cache, ..single };
            let mut model = Model::load(Cpu::<f32>::new(activations), &checkpoint, &options, &mut |_| {})?;
            let (loss, count) = heldout::loss(&mut model, &documents)?;
            let native = *native.get_or_insert(loss);
            let activations = if activations == Activations::Exact { "f32" } else { "bf16" };
            let cache = if kv_cache == CacheFormat::Fp8 { "fp8" } else { "native" };
            println!(
                "{activations:11}  {name:16} {cache:8}  {loss:.5}         {:+.2}%  ({count} tokens)",
                100.0 * (loss / native - 1.0)
            );
        }
    }
    Ok(())
}
