//! Which kernel runs each operation of a model, and why.

use llama_kernels::Result;
use llama_kernels::backend::{Epilogue, ModelDims, WeightFormat};
use llama_kernels::model::config::Config;
use llama_kernels::plan::{self, AttentionShape, Fp8Scales, Limits, MatmulShape, Operands, Plan};
use llama_kernels::tensor::DType;

/// Keys of the decode that is shown, and tokens of the prefill, where the model's context has room for them.
const TOKENS: usize = 1024;

/// The plans of a decode step and of a prefill, for the first GPU of this machine or for what the simulated one is by
/// default, with the layers' weights in `weights` and a cache in `cache_dtype`.
pub fn text(config: &Config, dtype: DType, weights: WeightFormat, cache_dtype: DType) -> String {
    let (device, limits) = device();
    let most = TOKENS.min(config.context);
    let steps = [
        (format!("one token after {} others", most.saturating_sub(1)), 1),
        (format!("a prompt of {most} tokens"), most),
    ];
    let mut text = format!("plans         in {dtype} on {device}\n");
    for (what, num_tokens) in steps {
        text += &format!("{what}\n");
        let step = Step {
            dims: config.dims(),
            bias: config.attention_bias,
            mlp_bias: config.mlp_bias,
            dtype,
            cache_dtype,
            weights,
            limits,
        };
        for (operation, plan) in step.plans(num_tokens, most) {
            let plan = match plan {
                Ok(Some(plan)) => plan.to_string(),
                Ok(None) => "nothing to do".to_string(),
                Err(error) => format!("none: {error}"),
            };
            text += &format!("  {operation:<15} {plan}\n");
        }
    }
    text
}

#[cfg(feature = "kernels")]
fn device() -> (String, Limits) {
    match llama_kernels::gpu::devices().ok().and_then(|devices| devices.into_iter().next()) {
        Some(gpu) => (gpu.properties.name.clone(), gpu.properties.limits()),
        None => default_device(),
    }
}

#[cfg(not(feature = "kernels"))]
fn device() -> (String, Limits) {
    default_device()
}

/// The usual GPU of compute capability 8.0.
fn default_device() -> (String, Limits) {
    ("an A100, for want of a GPU here".into(), Limits { num_sms: 108, shared_memory_per_block: 163 << 10 })
}

struct Step {
    dims: ModelDims,
    bias: bool,
    mlp_bias: bool,
    dtype: DType,
    cache_dtype: DType,
    weights: WeightFormat,
    limits: Limits,
}

type Planned = Result<Option<Plan>>;

impl Step {
    /// Every operation in model order, for `num_tokens` tokens of one sequence of `kv_len`.
    fn plans(&self, num_tokens: usize, kv_len: usize) -> Vec<(&'static str, Planned)> {
        let ModelDims { hidden_size, intermediate_size, num_q_heads, num_kv_heads, head_dim, vocab_size } =
            self.dims;
        let (dtype, m) = (self.dtype, num_tokens);
        let fp8 = self.weights == WeightFormat::Fp8;
        let matmul = |n: usize, k: usize, bias: bool| {
            let operands = self.operands(k);
            MatmulShape { m, n, k, bias, operands, ..MatmulShape::default() }
        };
        let workspace = plan::matmul_workspace_bytes(&self.limits);
        let plan = |shape: MatmulShape| plan::matmul(dtype, &shape, false, workspace, &self.limits);
        let (q_width, kv_width) = (num_q_heads * head_dim, num_kv_heads * head_dim);
        let attention = AttentionShape {
            dtype,
            cache_dtype: self.cache_dtype,
            head_dim,
            group: num_q_heads / num_kv_heads.max(1),
            num_kv_heads,
            num_tokens,
            num_seqs: 1,
            max_q_len: num_tokens,
            max_kv_len: kv_len,
        };
        let mut plans = vec![
            ("embed", plan::embed(m, hidden_size)),
            (
                "norm",
                match fp8 {
                    true => plan::rms_norm_fp8(dtype, m, hidden_size, 1),
                    false => plan::rms_norm(dtype, m, hidden_size, false),
                },
            ),
            ("q, k, v", plan(matmul(q_width + 2 * kv_width, hidden_size, self.bias))),
            ("rope, append", plan::rope_append_kv(dtype, m, num_q_heads, num_kv_heads, head_dim)),
        ];
        if num_tokens == 1 {
            let decode = plan::attention_decode(&attention, false, self.limits);
            let splits = decode.as_ref().ok().and_then(|plan| *plan).map_or(1, |plan| plan.splits as usize);
            plans.push(("attention", decode));
            if splits > 1 {
                let combine = plan::attention_combine(dtype, splits, m, num_q_heads, head_dim);
                plans.push(("combine", combine));
            }
        } else {
            plans.push(("attention", plan::attention_prefill(&attention, self.limits)));
        }
        let gate_up = MatmulShape {
            epilogue: Epilogue::SwiGlu,
            ..matmul(2 * intermediate_size, hidden_size, self.mlp_bias)
        };
        let lm_head = MatmulShape {
            m: 1,
            out_f32: true,
            operands: Operands::Native,
            ..matmul(vocab_size, hidden_size, false)
        };
        // What the norms do not write is quantised by itself.
        let quantize = |width: usize| fp8.then(|| ("quantise", plan::quantize_fp8(dtype, m, width, 1)));
        plans.extend(quantize(q_width));
        plans.push(("o", plan(matmul(hidden_size, q_width, self.bias))));
        plans.push((
            "add, norm",
            match fp8 {
                true => plan::add_rms_norm_fp8(dtype, m, hidden_size, 1),
                false => plan::add_rms_norm(dtype, m, hidden_size, false),
            },
        ));
        plans.push(("gate, up", plan(gate_up)));
        plans.extend(quantize(intermediate_size));
        plans.push(("down", plan(matmul(hidden_size, intermediate_size, self.mlp_bias))));
        if num_tokens > 1 {
            plans.push(("last token", plan::gather_rows(1, hidden_size)));
        }
        plans.extend([
            ("add, norm", plan::add_rms_norm(dtype, 1, hidden_size, false)),
            ("lm_head", plan(lm_head)),
            ("sample", plan::sample(1, vocab_size)),
        ]);
        plans
    }

    /// What a product of the layers over `k` columns reads.
    fn operands(&self, k: usize) -> Operands {
        match self.weights {
            WeightFormat::Int4 { group_size } => {
                Operands::Int4 { group: group_size.columns(k), zeros: false }
            }
            WeightFormat::Fp8 => {
                Operands::Fp8 { x: Fp8Scales::Row, weight: Fp8Scales::Row, fast_accumulation: false }
            }
            _ => Operands::Native,
        }
    }
}
