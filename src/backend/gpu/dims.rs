//! Which models there are kernels for.

use crate::backend::{ModelDims, WeightFormat};
use crate::params::VECTOR_ELEMENTS;
use crate::plan::{self, Kernel};
use crate::tensor::DType;
use crate::{Error, Result};

/// What the matrix kernels divide their inner dimension into.
const INNER_MULTIPLE: usize = VECTOR_ELEMENTS as usize;
/// What the attention kernels are compiled for.
const HEAD_DIMS: [usize; 2] = [64, 128];
/// Query heads that may share a key/value head.
const MAX_GROUP: usize = 16;

/// Whether a kernel is the bench's, which no model launches.
fn is_ceiling(kernel: Kernel) -> bool {
    kernel.name().starts_with("ceiling_")
}

/// Whether a kernel reads keys and values, if so from an fp8 cache.
fn reads_fp8_cache(kernel: Kernel) -> Option<bool> {
    let name = kernel.name();
    let reads = ["attention_decode_", "attention_prefill_"].iter().find_map(|op| name.strip_prefix(op))?;
    Some(reads.starts_with("fp8kv_"))
}

/// What a model's weights and its cache are quantised to, beside those that are not: an embedding and an output head never are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Formats {
    pub int4: bool,
    pub fp8: bool,
    /// Whether keys and values are.
    pub fp8_cache: bool,
}

impl Formats {
    pub fn add(&mut self, format: WeightFormat) {
        match format {
            WeightFormat::Native => {}
            WeightFormat::Int4 { .. } => self.int4 = true,
            WeightFormat::Fp8 => self.fp8 = true,
        }
    }
}

/// Whether a model in `dtype` with heads of `head_dim` elements and such weights and cache may launch a kernel, by the kernel's name.
pub(super) fn serves(kernel: Kernel, dtype: DType, head_dim: usize, formats: Formats) -> bool {
    !is_ceiling(kernel)
        && reads_fp8_cache(kernel).is_none_or(|fp8| fp8 == formats.fp8_cache)
        && kernel.name().split('_').all(|word| match word {
            "bf16" => dtype == DType::BF16,
            "f16" => dtype == DType::F16,
            "int4" => formats.int4,
            "fp8" => formats.fp8,
            _ => match word.strip_prefix("hd").map(str::parse::<usize>) {
                Some(Ok(compiled_for)) => compiled_for == head_dim,
                _ => true,
            },
        })
}

/// Refuses widths that no kernel is compiled for.
pub(super) fn check_dims(dims: &ModelDims) -> Result<()> {
    let refuse = |what: String, reason: String| {
        Err(Error::unsupported(what, format!("{reason}; the CPU runs it: --device cpu")))
    };
    let ModelDims { hidden_size, intermediate_size, num_q_heads, num_kv_heads, head_dim, .. } = *dims;
    for (name, width) in [("hidden_size", hidden_size), ("intermediate_size", intermediate_size)] {
        if width == 0 || !width.is_multiple_of(INNER_MULTIPLE) {
            let reason = format!("matrix kernels take multiples of {INNER_MULTIPLE}");
            return refuse(format!("{name} {width} on a GPU"), reason);
        }
    }
    if hidden_size > plan::MAX_ROW {
        let reason = format!("norms take rows of at most {} elements", plan::MAX_ROW);
        return refuse(format!("hidden_size {hidden_size} on a GPU"), reason);
    }
    if !HEAD_DIMS.contains(&head_dim) {
        let reason = format!("attention kernels are compiled for {} and {}", HEAD_DIMS[0], HEAD_DIMS[1]);
        return refuse(format!("head_dim {head_dim} on a GPU"), reason);
    }
    let group = num_q_heads / num_kv_heads.max(1);
    if group == 0 || group > MAX_GROUP || !num_q_heads.is_multiple_of(num_kv_heads) {
        let heads = format!("{num_q_heads} query heads over {num_kv_heads} key/value heads on a GPU");
        return refuse(heads, format!("attention kernels take 1 to {MAX_GROUP} whole ones for each"));
    }
    Ok(())
}

/// Refuses widths that the kernels of quantised weights do not take, where that is not for the weight to say.
pub(super) fn check_quantized(dims: &ModelDims, format: WeightFormat) -> Result<()> {
    let widths = [
        ("hidden_size", dims.hidden_size),
        ("intermediate_size", dims.intermediate_size),
        ("width of the heads", dims.num_q_heads.saturating_mul(dims.head_dim)),
    ];
    let most = plan::MAX_QUANTIZED_ROW;
    match widths.into_iter().find(|&(_, width)| format == WeightFormat::Fp8 && width > most) {
        None => Ok(()),
        Some((name, width)) => Err(Error::unsupported(
            format!("{name} {width} with weights in {format} on a GPU"),
            format!("activations are quantised in rows of at most {most} elements"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quant::int4::GroupSize;

    const INT4: WeightFormat = WeightFormat::Int4 { group_size: GroupSize::Of128 };

    fn loaded(dtype: DType, head_dim: usize, format: WeightFormat, fp8_cache: bool) -> Vec<&'static str> {
        let mut formats = Formats { fp8_cache, ..Formats::default() };
        // The embedding is loaded too.
        [WeightFormat::Native, format].into_iter().for_each(|format| formats.add(format));
        let kernels = Kernel::ALL.iter().filter(|kernel| serves(**kernel, dtype, head_dim, formats));
        kernels.map(|kernel| kernel.name()).collect()
    }

    #[test]
    fn a_model_loads_the_kernels_of_its_type_and_heads() {
        let names = loaded(DType::BF16, 64, WeightFormat::Native, false);
        for name in ["embed_b16", "rms_norm_bf16", "attention_prefill_bf16_hd64", "sample_f32"] {
            assert!(names.contains(&name), "{name} is not in {names:?}");
        }
        assert!(names.iter().all(|name| !name.contains("_f16") && !name.contains("hd128")), "{names:?}");
        assert!(names.iter().all(|name| !name.contains("fp8kv")), "{names:?}");
        assert!(loaded(DType::F16, 128, INT4, false).contains(&"attention_prefill_f16_hd128"));
        let names = loaded(DType::F16, 128, WeightFormat::Native, true);
        for (name, expected) in [
            ("attention_prefill_fp8kv_f16_hd128", true),
            ("attention_decode_fp8kv_f16_hd128_m16", true),
            ("attention_combine_f16", true),
            ("attention_prefill_f16_hd128", false),
            ("attention_decode_f16_hd128_m16", false),
        ] {
            assert_eq!(names.contains(&name), expected, "{name} in {names:?}");
        }
        // Each kernel serves some model, but for the bench's own.
        for kernel in Kernel::ALL {
            let served = [DType::BF16, DType::F16].into_iter().any(|dtype| {
                [(INT4, false), (WeightFormat::Fp8, true)].into_iter().any(|(format, fp8_cache)| {
                    let loaded = |&head_dim: &usize| loaded(dtype, head_dim, format, fp8_cache);
                    HEAD_DIMS.iter().any(|head_dim| loaded(head_dim).contains(&kernel.name()))
                })
            });
            assert_eq!(served, !is_ceiling(*kernel), "{}", kernel.name());
        }
    }

    /// The kernels of another format stay where they are; those of 16-bit weights come with the output head.
    #[test]
    fn a_model_loads_the_kernels_of_its_weights() {
        for format in [WeightFormat::Native, INT4, WeightFormat::Fp8] {
            let names = loaded(DType::BF16, 128, format, false);
            let of = |name: &str| names.iter().any(|kernel| kernel.starts_with(name));
            assert!(of("matmul_bf16") && of("matmul_stream_bf16"), "{format}: {names:?}");
            assert_eq!(of("quantize_fp8"), format == WeightFormat::Fp8, "{format}");
            assert_eq!(of("add_rms_norm_fp8"), format == WeightFormat::Fp8, "{format}");
        }
    }

    #[test]
    fn rows_too_wide_to_quantise_are_refused() {
        let dims = ModelDims {
            hidden_size: 4096,
            intermediate_size: plan::MAX_QUANTIZED_ROW + 8,
            num_q_heads: 32,
            num_kv_heads: 8,
            head_dim: 128,
            vocab_size: 1000,
        };
        assert!(check_quantized(&dims, WeightFormat::Native).is_ok() && check_quantized(&dims, INT4).is_ok());
        let error = check_quantized(&dims, WeightFormat::Fp8).unwrap_err();
        assert!(matches!(error, Error::Unsupported { .. }));
        assert_eq!(
            error.to_string(),
            "intermediate_size 65544 with weights in fp8 on a GPU is not supported: activations are quantised in rows of at \
             most 65536 elements"
        );
        let fits = ModelDims { intermediate_size: plan::MAX_QUANTIZED_ROW, ..dims };
        assert!(check_quantized(&fits, WeightFormat::Fp8).is_ok());
    }
}
