//! Models whose weights are quantised when they are loaded, against the CPU that computes with the same codes and scales.

use llama_kernels::backend::{
    Activation, ActivationMut, Backend, CacheFormat, Epilogue, GpuOptions, Matmul, RowOrder, WeightFormat,
    WeightSource,
};
use llama_kernels::model::batch::{Logits, SequenceInput};
use llama_kernels::model::forward::{Model, ModelOptions};
use llama_kernels::quant::fp8;
use llama_kernels::quant::int4::GroupSize;
use llama_kernels::tensor::{Bytes, DType, HostTensor};

use super::{exact, gpu, gpu_with, judge, rounding};
use crate::common::golden::{Golden, logits_in};

const NATIVE: CacheFormat = CacheFormat::Native;
const FP8: WeightFormat = WeightFormat::Fp8;

fn int4(group_size: GroupSize) -> WeightFormat {
    WeightFormat::Int4 { group_size }
}

/// Logits of a golden's tokens in this mode, computed at once and in chunks of a prefill, speculative tokens and single ones,
/// are those of the CPU.
fn check(name: &'static str, weights: WeightFormat, cache: CacheFormat) {
    let golden = Golden::load(name);
    let (n, vocab_size) = (golden.tokens.len(), golden.checkpoint.config().vocab_size);
    let dtype = if golden.checkpoint.dtype() == DType::F16 { DType::F16 } else { DType::BF16 };
    fn all<B: Backend>(
        backend: B,
        golden: &Golden,
        formats: (WeightFormat, CacheFormat),
        chunks: Vec<usize>,
    ) -> Vec<f64> {
        logits_in(formats, backend, &golden.checkpoint, &golden.tokens, chunks)
    }
    let formats = (weights, cache);
    let right = all(exact(), &golden, formats, vec![n]);
    let naive = all(rounding(), &golden, formats, vec![n]);
    let native = all(exact(), &golden, Default::default(), vec![n]);
    assert!(right != native, "{name}: nothing is quantised");
    let mut chunks = vec![n - 16, 5, 8];
    chunks.extend([1; 3]);
    for (what, chunks) in [("at once", vec![n]), ("in chunks", chunks)] {
        let ours = all(gpu(), &golden, formats, chunks);
        judge(
            &format!("{name}, weights {weights}, cache {cache:?}, {what}"),
            &ours,
            &right,
            &naive,
            vocab_size,
            dtype,
        );
    }
}

macro_rules! modes {
    ($($test:ident: $name:literal, $weights:expr, $cache:expr;)*) => {
        $(
            #[test]
            #[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
            fn $test() {
                check($name, $weights, $cache);
            }
        )*
    };
}

modes! {
    int4_llama2_multi_head_f16: "llama2-mha", int4(GroupSize::Of32), NATIVE;
    int4_llama3_grouped_query: "llama3-gqa", int4(GroupSize::Of64), NATIVE;
    int4_llama32_tied: "llama32-tied", int4(GroupSize::Of32), NATIVE;
    int4_bias: "bias", int4(GroupSize::Of32), NATIVE;
    int4_whole_rows: "sharded", int4(GroupSize::Row), NATIVE;
    int4_demo_model: "demo-model", int4(GroupSize::Of128), NATIVE;
    fp8_llama2_multi_head_f16: "llama2-mha", FP8, NATIVE;
    fp8_llama3_grouped_query: "llama3-gqa", FP8, NATIVE;
    fp8_bias: "bias", FP8, NATIVE;
    fp8_yarn_rope: "yarn-rope", FP8, NATIVE;
    fp8_demo_model: "demo-model", FP8, NATIVE;
    int4_and_an_fp8_cache: "llama3-gqa", int4(GroupSize::Of32), CacheFormat::Fp8;
    fp8_and_an_fp8_cache: "demo-model", FP8, CacheFormat::Fp8;
}

const SMALL: &str = "llama3-gqa";
const MODES: [WeightFormat; 2] = [WeightFormat::Int4 { group_size: GroupSize::Of32 }, FP8];

fn load<B: Backend>(backend: B, weights: WeightFormat) -> Model<B> {
    let options = ModelOptions { max_sequences: 2, weights, max_logits: 32, ..ModelOptions::single(96) };
    Model::load(backend, &Golden::load(SMALL).checkpoint, &options, &mut |_| {}).unwrap()
}

fn tokens(n: usize, seed: u32) -> Vec<u32> {
    (0..n as u32).map(|i| (i * 37 + seed * 11 + 5) % 96).collect()
}

/// Logits of decodes of two sequences, and how many steps were recorded.
fn decodes(graphs: bool, weights: WeightFormat) -> (Vec<f32>, usize) {
    let mut model = load(gpu_with(|options| GpuOptions { graphs, ..options }), weights);
    let ids = [model.add_sequence().unwrap(), model.add_sequence().unwrap()];
    let mut logits = Vec::new();
    for i in 0..5 {
        let of = |seed| if i == 0 { tokens(13, seed) } else { tokens(1, seed + i) };
        let (a, b) = (of(0), of(50));
        let inputs = [(ids[0], &a), (ids[1], &b)].map(|(sequence, tokens)| SequenceInput {
            sequence,
            tokens,
            logits: Logits::Last,
        });
        model.forward(&inputs).unwrap();
        logits.extend(model.logits().unwrap());
    }
    (logits, model.backend().recorded_steps())
}

#[test]
#[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
fn quantised_decodes_are_replayed_with_the_bits_of_launched_ones() {
    for weights in MODES {
        let ((replayed, recorded), (launched, none)) = (decodes(true, weights), decodes(false, weights));
        assert!(replayed == launched, "weights {weights}: a replayed step gives other logits");
        // With up to 16 keys, and with up to 32.
        assert_eq!((recorded, none), (2, 0), "weights {weights}");
    }
}

/// In batch-invariant mode neither what else is in the batch nor how a prompt is cut changes a bit.
#[test]
#[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
fn quantised_batch_invariant_decodes_have_the_bits_of_single_ones() {
    for weights in MODES {
        let backend = || gpu_with(|options| GpuOptions { batch_invariant: true, ..options });
        let (mut together, mut single) = (load(backend(), weights), load(backend(), weights));
        let ids = [together.add_sequence().unwrap(), together.add_sequence().unwrap()];
        let (prompts, mut expected) = ([tokens(20, 0), tokens(9, 2)], Vec::new());
        for (&id, prompt) in ids.iter().zip(&prompts) {
            let input = |sequence, tokens, logits| SequenceInput { sequence, tokens, logits };
            together.forward(&[input(id, prompt, Logits::None)]).unwrap();
            let sequence = single.add_sequence().unwrap();
            single.forward(&[input(sequence, prompt, Logits::None)]).unwrap();
            single.forward(&[input(sequence, &[7], Logits::Last)]).unwrap();
            expected.extend(single.logits().unwrap());
            single.remove_sequence(sequence).unwrap();
        }
        let inputs = ids.map(|sequence| SequenceInput { sequence, tokens: &[7], logits: Logits::Last });
        together.forward(&inputs).unwrap();
        assert!(together.logits().unwrap() == expected, "weights {weights}");
    }
}

/// Eight launches a layer with weights in 4 bits; in fp8 two more, which quantise what o_proj and down_proj read. Nothing is
/// allocated.
#[test]
#[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
fn quantised_steps_launch_what_they_need() {
    for (weights, a_layer) in MODES.into_iter().zip([8, 10]) {
        let mut model = load(gpu(), weights);
        let layers = model.config().num_layers as u64;
        let sequence = model.add_sequence().unwrap();
        model.synchronize().unwrap();
        let device = model.backend().device().clone();
        let before = (device.launches(), device.allocated(), device.freed());
        let prompt = tokens(20, 0);
        model.forward(&[SequenceInput { sequence, tokens: &prompt, logits: Logits::All }]).unwrap();
        model.synchronize().unwrap();
        assert_eq!(device.launches() - before.0, 1 + a_layer * layers + 2, "weights {weights}");
        assert_eq!((device.allocated(), device.freed()), (before.1, before.2), "weights {weights}");
    }
}

/// A number so large that the sum loses what is small, and small ones behind the first 128 columns, which are added up by
/// themselves or not.
#[test]
#[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
fn fast_accumulation_is_an_option() {
    const K: usize = 256;
    // More than are streamed, which is accurate always.
    const M: usize = 17;
    let value = |column: usize| match column {
        0 => 448.0,
        128.. if column.is_multiple_of(16) => 1.0 / 16.0,
        _ => 0.0,
    };
    let row = (0..K).map(value);
    let data: Vec<u8> = row.clone().cycle().take(8 * K).flat_map(f32::to_le_bytes).collect();
    let part = HostTensor { name: "w".into(), dtype: DType::F32, shape: vec![8, K], data: Bytes::new(data) };
    for (fast_accumulation, small) in [(false, 8.0 / 256.0), (true, 0.0)] {
        let mut gpu = gpu_with(|options| GpuOptions { fast_accumulation, ..options });
        gpu.prepare(&Golden::load(SMALL).checkpoint.config().dims(), DType::BF16).unwrap();
        let source = WeightSource {
            parts: vec![part.clone()],
            biases: Vec::new(),
            rows: RowOrder::Concatenated,
            format: FP8,
        };
        let weight = gpu.load_weight(source).unwrap();
        let mut codes = gpu.alloc(DType::F8E4M3, &[M, K]).unwrap();
        let mut scale = gpu.alloc(DType::F32, &[M, 1]).unwrap();
        let mut out = gpu.alloc(DType::F32, &[M, 8]).unwrap();
        let rows = row.clone().map(fp8::encode).cycle().take(M * K);
        gpu.upload(codes.view_mut(), &rows.collect::<Vec<u8>>()).unwrap();
        gpu.upload(scale.view_mut(), &1f32.to_le_bytes().repeat(M)).unwrap();
        gpu.matmul(Matmul {
            x: Activation::Fp8 { codes: codes.view(), scale: scale.view() },
            weight: &weight,
            epilogue: Epilogue::None,
            out: ActivationMut::Native(out.view_mut()),
        })
        .unwrap();
        let mut bytes = [0; M * 8 * 4];
        gpu.download(out.view(), &mut bytes).unwrap();
        let sums = bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
        assert!(sums.eq([448.0 * 448.0 + small; M * 8]), "fast accumulation: {fast_accumulation}");
    }
}
