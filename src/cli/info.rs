//! `llama-kernels info`.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use llama_kernels::backend::{Backend, CacheFormat, WeightFormat};
use llama_kernels::model::checkpoint::Checkpoint;
use llama_kernels::model::config::RopeScaling;
use llama_kernels::model::footprint::Footprint;
use llama_kernels::model::forward::ModelOptions;
use llama_kernels::reference::{Activations, Cpu};
use llama_kernels::tensor::DType;

use super::options::InfoArgs;
use super::plans;
use super::progress::bytes;

pub fn run(args: &InfoArgs) -> Result<()> {
    let text = match &args.model {
        Some(folder) => model(folder, args.weights.into(), args.kv_cache.into())?,
        None => machine(),
    };
    std::io::stdout().lock().write_all(text.as_bytes())?;
    Ok(())
}

/// Devices, and what this program was built with.
fn machine() -> String {
    let cpu = Cpu::<f32>::new(Activations::Exact).description();
    format!("devices\n  cpu      {cpu}\n{}{}kernels    {}\n", cuda_devices(), simulated(), compiled())
}

#[cfg(feature = "sim")]
fn simulated() -> String {
    let known = llama_kernels::device::SIMULATED.map(|(major, minor)| format!("{major}.{minor}"));
    format!("  sim      simulated GPU of compute capability {}\n", known.join(", "))
}

#[cfg(not(feature = "sim"))]
fn simulated() -> String {
    "  sim      none: this program was built without the feature `sim`\n".into()
}

#[cfg(feature = "kernels")]
fn cuda_devices() -> String {
    match llama_kernels::gpu::devices() {
        Ok(devices) => devices
            .iter()
            .map(|d| {
                let (major, minor) = d.properties.compute_capability;
                let memory = bytes(d.memory as u64);
                let n = d.ordinal;
                format!(
                    "  cuda:{n}   {}, compute capability {major}.{minor}, {} SMs, {memory}\n",
                    d.properties.name, d.properties.num_sms
                )
            })
            .collect(),
        Err(error) => format!("  cuda     none: {error}\n"),
    }
}

#[cfg(not(feature = "kernels"))]
fn cuda_devices() -> String {
    "  cuda     not looked for: this program was built without the feature `kernels`\n".into()
}

/// What is compiled in, in one line.
#[cfg(feature = "kernels")]
fn compiled() -> String {
    use llama_kernels::gpu::registry;
    match (registry::architectures(), registry::cuda_version()) {
        (Ok(architectures), Ok((major, minor))) => format!(
            "{} CUDA kernels for sm_{}, newer devices through PTX; compiled by CUDA {major}.{minor}",
            llama_kernels::plan::Kernel::ALL.len(),
            architectures.join(", sm_")
        ),
        (Err(error), _) | (_, Err(error)) => error.to_string(),
    }
}

#[cfg(not(feature = "kernels"))]
fn compiled() -> String {
    "none: this program was built without the feature `kernels`".into()
}

fn model(folder: &Path, format: WeightFormat, cache: CacheFormat) -> Result<String> {
    // SAFETY: only headers are read from the mapping; a file that is truncated in that moment would end this command,
    // which has nothing to lose.
    let checkpoint =
        unsafe { Checkpoint::open_mmap(folder) }.with_context(|| format!("--model {}", folder.display()))?;
    let config = checkpoint.config();
    let dtype = checkpoint.dtype();
    let dims = config.dims();
    let activations = if dtype == DType::F32 { DType::BF16 } else { dtype };
    let cache_dtype = cache.dtype(activations);
    let cache_bytes = config.kv_bytes_per_token(cache_dtype) * 1024;
    let weights = match format {
        WeightFormat::Native => format!("{} in {dtype}", bytes(checkpoint.weight_bytes())),
        quantised => {
            let options = ModelOptions { weights: quantised, ..ModelOptions::single(1) };
            let weights = Footprint::new(config, activations, &options)?.weights;
            format!("{}, those of the layers in {quantised}, the others in {activations}", bytes(weights))
        }
    };
    let head = format!(
        "architecture  Llama: {} layers of hidden size {}, {} query and {} key/value heads of {}, MLP {}, vocabulary {}{}\n\
         rope          theta {}{}\n\
         context       {} tokens\n\
         parameters    {}\n\
         weights       {weights}\n\
         KV cache      {} per 1K tokens in {cache_dtype}\n",
        config.num_layers,
        dims.hidden_size,
        dims.num_q_heads,
        dims.num_kv_heads,
        dims.head_dim,
        dims.intermediate_size,
        dims.vocab_size,
        if config.tie_word_embeddings { ", tied embeddings" } else { "" },
        config.rope.theta,
        scaling(&config.rope.scaling),
        config.context,
        thousands(config.parameter_count()),
        bytes(cache_bytes),
    );
    Ok(head
        + &format!("kernels       {}\n", compiled())
        + &plans::text(config, activations, format, cache_dtype))
}

fn scaling(scaling: &RopeScaling) -> String {
    match scaling {
        RopeScaling::None => String::new(),
        RopeScaling::Linear { factor } => format!(", linear scaling by {factor}"),
        RopeScaling::Dynamic { factor, original_context } => {
            format!(", dynamic NTK scaling by {factor} beyond {original_context} tokens")
        }
        RopeScaling::Yarn(yarn) => {
            format!(", yarn scaling by {} from {} tokens", yarn.factor, yarn.original_context)
        }
        RopeScaling::Llama3(llama3) => {
            format!(", llama3 scaling by {} from {} tokens", llama3.factor, llama3.original_context)
        }
        other => format!(", {other:?}"),
    }
}

/// 8030261248 as 8,030,261,248.
pub fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::thousands;

    #[test]
    fn thousands_are_grouped() {
        for (n, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (405_853_388_800, "405,853,388,800")] {
            assert_eq!(thousands(n), text);
        }
    }
}
