//! How much memory of a device a model takes, told before anything is allocated.

use crate::backend::WeightFormat;
use crate::model::buffers::{Activations, StepInputs};
use crate::model::config::Config;
use crate::model::forward::ModelOptions;
use crate::tensor::DType;
use crate::{Error, Result};

/// Bytes that [`Model::load`](super::forward::Model::load) allocates. What the device needs for itself comes on top: kernels,
/// recordings, and workspaces of attention over split keys and of products that blocks share, some tens of megabytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footprint {
    /// The weights.
    pub weights: u64,
    /// Keys and values.
    pub cache: u64,
    /// The largest step's inputs, activations and logits, and the table of RoPE.
    pub steps: u64,
}

impl Footprint {
    /// Of a model with weights, activations and cache in `dtype`, except those that `options` want in another format.
    pub fn new(config: &Config, dtype: DType, options: &ModelOptions) -> Result<Self> {
        let bounds = options.bounds(config);
        let too_large =
            || Error::argument("footprint", "options", "fewer than 2^64 bytes", format!("{options:?}"));
        let product = |a: u64, b: u64| a.checked_mul(b).ok_or_else(too_large);
        let rope = product((config.head_dim * DType::F32.size()) as u64, options.rope_rows(config) as u64)?;
        let inputs = StepInputs::<()>::bytes(&bounds, options.page_size.max(1), config.vocab_size)?;
        let activations = Activations::<()>::bytes(dtype, options.weights, &config.dims(), &bounds)?;
        let steps = inputs.checked_add(activations).and_then(|steps| steps.checked_add(rope));
        let cached_tokens = product(options.num_pages() as u64, options.page_size as u64)?;
        let footprint = Footprint {
            weights: weight_bytes(config, dtype, options.weights).ok_or_else(too_large)?,
            cache: product(config.kv_bytes_per_token(options.kv_cache.dtype(dtype)), cached_tokens)?,
            steps: steps.ok_or_else(too_large)?,
        };
        let sum = footprint.weights.checked_add(footprint.cache);
        sum.and_then(|sum| sum.checked_add(footprint.steps)).map(|_| footprint).ok_or_else(too_large)
    }

    /// All of it.
    pub fn total(&self) -> u64 {
        self.weights + self.cache + self.steps
    }
}

/// Bytes of all weights in `dtype`, those that the layers multiply by in `format`; `None` from 2^64 on.
fn weight_bytes(config: &Config, dtype: DType, format: WeightFormat) -> Option<u64> {
    let native = config.parameter_count().checked_mul(dtype.size() as u64)?;
    let of_layers = |format| linear_bytes(config, dtype, format);
    native.checked_sub(of_layers(WeightFormat::Native)?)?.checked_add(of_layers(format)?)
}

/// Bytes of the weights that all layers multiply by, in `format`, which is `dtype` where it is native; `None` from 2^64 on.
pub(crate) fn linear_bytes(config: &Config, dtype: DType, format: WeightFormat) -> Option<u64> {
    let dims = config.dims();
    let (hidden, intermediate) = (dims.hidden_size, dims.intermediate_size);
    let (q, kv) = (dims.num_q_heads * dims.head_dim, dims.num_kv_heads * dims.head_dim);
    let linears = [(q + 2 * kv, hidden), (hidden, q), (2 * intermediate, hidden), (hidden, intermediate)];
    let bytes = linears.iter().try_fold(0u64, |sum, &(n, k)| sum.checked_add(format.bytes(n, k, dtype)?));
    bytes?.checked_mul(config.num_layers as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::CacheFormat;
    use crate::quant::int4::GroupSize;

    #[test]
    fn formats_take_fewer_bytes() {
        let config = Config::preset("llama-3.1-8b").unwrap();
        let of = |weights, kv_cache| {
            let options = ModelOptions { weights, kv_cache, ..ModelOptions::single(4096) };
            Footprint::new(&config, DType::BF16, &options).unwrap()
        };
        // 32 layers of 6144 + 4096 rows of 4096, 28672 of 4096, 4096 of 14336.
        let elements = 32 * (10_240 * 4096 + 28_672 * 4096 + 4096 * 14_336_u64);
        let rest = 16_060_522_496 - 2 * elements;
        let native = of(WeightFormat::Native, CacheFormat::Native);
        assert_eq!(native.weights, rest + 2 * elements);
        let int4 = of(WeightFormat::Int4 { group_size: GroupSize::Of128 }, CacheFormat::Native);
        assert_eq!(int4.weights, rest + elements / 2 + 2 * elements / 128);
        assert_eq!(int4.steps, native.steps);
        let fp8 = of(WeightFormat::Fp8, CacheFormat::Fp8);
        assert_eq!(fp8.weights, rest + elements + 4 * 32 * (10_240 + 28_672 + 4096));
        assert_eq!(2 * fp8.cache, native.cache);
        // Codes and a scale for each of 512 tokens, of three inputs.
        assert_eq!(fp8.steps - native.steps, 512 * (4096 + 4096 + 14_336 + 3 * 4));
    }

    #[test]
    fn a_model_takes_its_weights_its_cache_and_little_more() {
        let options = ModelOptions {
            max_tokens: 8,
            max_logits: 8,
            max_sequences: 8,
            cache_tokens: 4096,
            page_size: 16,
            ..ModelOptions::single(1)
        };
        let config = Config::preset("llama-3.1-8b").unwrap();
        let footprint = Footprint::new(&config, DType::BF16, &options).unwrap();
        assert_eq!(footprint.weights, 16_060_522_496);
        // 128 KiB a token.
        assert_eq!(footprint.cache, 4096 << 17);
        // Angles of 4096 positions are 2 MiB, and 8 rows of logits 4 MB.
        assert!((6_000_000..8_000_000).contains(&footprint.steps), "{footprint:?}");
        assert_eq!(footprint.total(), footprint.weights + footprint.cache + footprint.steps);
        // A page that has begun is a page.
        let longer = ModelOptions { cache_tokens: 4097, ..options };
        assert_eq!(Footprint::new(&config, DType::BF16, &longer).unwrap().cache, 4112 << 17);
    }

    #[test]
    fn what_cannot_be_counted_is_refused() {
        let config = Config::preset("llama-3.1-8b").unwrap();
        let options = ModelOptions::single(4096);
        for options in [
            ModelOptions { cache_tokens: usize::MAX, ..options },
            ModelOptions { max_tokens: usize::MAX / 2, ..options },
            ModelOptions { max_sequences: usize::MAX / 2, ..options },
            ModelOptions { max_logits: usize::MAX / 2, ..options },
        ] {
            let error = Footprint::new(&config, DType::BF16, &options).unwrap_err().to_string();
            assert!(error.contains("fewer than 2^64 bytes"), "{error}");
        }
    }
}
