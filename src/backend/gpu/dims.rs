//! Which models there are kernels for.

use crate::backend::ModelDims;
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

/// Whether a model in `dtype` with heads of `head_dim` elements may launch a kernel, by the kernel's name.
pub(super) fn serves(kernel: Kernel, dtype: DType, head_dim: usize) -> bool {
    !is_ceiling(kernel)
        && kernel.name().split('_').all(|word| match word {
            "bf16" => dtype == DType::BF16,
            "f16" => dtype == DType::F16,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_loads_the_kernels_of_its_type_and_heads() {
        let loaded = |dtype, head_dim| {
            Kernel::ALL
                .iter()
                .filter(move |kernel| serves(**kernel, dtype, head_dim))
                .map(|kernel| kernel.name())
        };
        let names: Vec<_> = loaded(DType::BF16, 64).collect();
        for name in ["embed_b16", "rms_norm_bf16", "attention_prefill_bf16_hd64", "sample_f32"] {
            assert!(names.contains(&name), "{name} is not in {names:?}");
        }
        assert!(names.iter().all(|name| !name.contains("_f16") && !name.contains("hd128")), "{names:?}");
        assert!(loaded(DType::F16, 128).any(|name| name == "attention_prefill_f16_hd128"));
        // Each kernel serves some model, but for the bench's own.
        for kernel in Kernel::ALL {
            let served = [DType::BF16, DType::F16]
                .into_iter()
                .any(|dtype| HEAD_DIMS.into_iter().any(|head_dim| serves(*kernel, dtype, head_dim)));
            assert_eq!(served, !is_ceiling(*kernel), "{}", kernel.name());
        }
    }
}
