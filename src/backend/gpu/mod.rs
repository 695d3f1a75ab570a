//! The forward pass on CUDA kernels: a GPU, or the simulated one.

mod data;
mod dims;
mod graphs;
mod weight;

use std::sync::Arc;

pub use weight::GpuWeight;

use self::dims::{Formats, check_dims, check_quantized, serves};
use self::graphs::Graphs;
use self::weight::{Loader, Matrix};
use super::{
    Activation, ActivationMut, AddRmsNorm, Attention, Backend, CacheFormat, Embed, Epilogue, GatherRows,
    MAX_DECODE_TOKENS, Matmul, ModelDims, QuantizeFp8, RmsNorm, RopeAppendKv, RowOrder, Sample, StepBounds,
    WeightFormat, WeightSource,
};
use crate::gpu::{Buffer, Device, Staging, Stream, TensorMut, TensorRef};
use crate::plan::Kernel;
use crate::tensor::{DType, HostTensor, Tensor, View, ViewMut};
use crate::{Error, Result, ops, plan};

/// The environment variable that, as `1`, has kernels report ids, positions, slots and pages that are out of range, and
/// [`Backend::download`] return that as [`Error::DeviceData`]. A simulated GPU always does.
pub const CHECK_DATA_VARIABLE: &str = "LLAMA_KERNELS_DEBUG";

/// Bytes of each half of the host memory that uploads go through: a step's arrays fit one, and weights stream through both.
const STAGING_BYTES: usize = 4 << 20;

/// How a [`Gpu`] runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GpuOptions {
    /// Whether kernels report data that is out of range; the default is on for a simulated GPU and where
    /// [`CHECK_DATA_VARIABLE`] is `1`. They keep within their memory either way.
    pub check_data: bool,
    /// Whether a sequence's results are the same bits in every batch; off by default, for speed.
    pub batch_invariant: bool,
    /// Whether steps that repeat are recorded and replayed, on by default. (Recordings are dropped, and made anew, when a
    /// [`Buffer`] of the device has been freed: whoever frees one with every step turns this off.)
    pub graphs: bool,
    /// Whether products of fp8 weights are added up in the tensor cores alone, which on some devices have fewer bits for that
    /// than f32; off by default.
    pub fast_accumulation: bool,
}

impl GpuOptions {
    /// The defaults for a device.
    pub fn of(device: &Device) -> Self {
        let asked = std::env::var_os(CHECK_DATA_VARIABLE).is_some_and(|value| value == "1");
        GpuOptions {
            check_data: device.is_simulated() || asked,
            batch_invariant: false,
            graphs: true,
            fast_accumulation: false,
        }
    }
}

/// A GPU that runs the forward pass of models in bf16 or f16, all of it on one stream. Nothing but
/// [`Backend::download`] waits for it, once a model is loaded.
#[derive(Debug)]
pub struct Gpu {
    stream: Arc<Stream>,
    options: GpuOptions,
    staging: Staging,
    /// What [`Backend::prepare`] was told and chose.
    model: Option<(ModelDims, DType)>,
    /// Formats of the weights that were loaded.
    formats: Formats,
    /// u8, for attention over split keys.
    workspace: Tensor<Buffer>,
    /// u8, for matrix products that blocks share.
    matmul_workspace: Tensor<Buffer>,
    /// u32 `[1]`: bits of [`DeviceError`](crate::params::DeviceError).
    error: Option<Tensor<Buffer>>,
    graphs: Graphs,
}

impl Gpu {
    /// A device with a stream of its own.
    pub fn new(device: &Device) -> Result<Self> {
        Gpu::on_stream(device.new_stream()?, GpuOptions::of(device))
    }

    /// A device through this stream, which may be a host's. (The driver records no graph of CUDA's legacy default stream: there
    /// [`GpuOptions::graphs`] must be off.)
    pub fn on_stream(stream: Stream, options: GpuOptions) -> Result<Self> {
        let device = stream.device().clone();
        let mut gpu = Gpu {
            staging: Staging::new(&device, STAGING_BYTES)?,
            formats: Formats::default(),
            workspace: Tensor::new(device.allocate(0)?, DType::U8, &[0])?,
            matmul_workspace: Tensor::new(device.allocate(0)?, DType::U8, &[0])?,
            stream: Arc::new(stream),
            options,
            model: None,
            error: None,
            graphs: Graphs::default(),
        };
        if options.check_data {
            gpu.error = Some(gpu.alloc(DType::U32, &[1])?);
        }
        Ok(gpu)
    }

    /// The device.
    pub fn device(&self) -> &Device {
        self.stream.device()
    }

    /// The stream that everything is queued in.
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// How many steps are kept as recordings.
    pub fn recorded_steps(&self) -> usize {
        self.graphs.len()
    }

    fn loader(&mut self) -> Result<Loader<'_>> {
        let Some((_, dtype)) = self.model else {
            return Err(Error::argument("load", "model", "one that `prepare` was told of", "none"));
        };
        Ok(Loader { stream: &self.stream, staging: &mut self.staging, dtype })
    }

    /// Bytes that attention over split keys needs at most in a step within `bounds`.
    fn decode_workspace(&self, dims: &ModelDims, dtype: DType, bounds: &StepBounds) -> Result<usize> {
        let plan = |num_seqs: usize, max_q_len: usize| {
            let shape = plan::AttentionShape {
                dtype,
                // The parts of a split result are as large for any.
                cache_dtype: dtype,
                head_dim: dims.head_dim,
                group: dims.num_q_heads / dims.num_kv_heads.max(1),
                num_kv_heads: dims.num_kv_heads,
                num_tokens: num_seqs * max_q_len,
                num_seqs,
                max_q_len,
                max_kv_len: bounds.max_kv_len,
            };
            plan::attention_decode(&shape, self.options.batch_invariant, self.device().properties().limits())
        };
        let mut most = 0;
        for max_q_len in 1..=MAX_DECODE_TOKENS.min(bounds.max_q_len) {
            for num_seqs in 1..=bounds.batch {
                let Some(plan) = plan(num_seqs, max_q_len)? else { continue };
                most = most.max(plan.workspace_bytes);
                // The more sequences there are, the fewer splits a sequence has: from here on none.
                if plan.splits == 1 {
                    break;
                }
            }
        }
        Ok(most)
    }

    /// The error that kernels have reported since the last time.
    fn check_data(&mut self) -> Result<()> {
        let Some(word) = &mut self.error else { return Ok(()) };
        let word = word.view_mut().buffer;
        let mut bytes = [0; 4];
        self.stream.read(word, 0, &mut bytes)?;
        let Some(error) = data::error(u32::from_le_bytes(bytes)) else { return Ok(()) };
        self.stream.fill(word, 0, 4, 0)?;
        Err(error)
    }

    fn attention(&mut self, args: Attention<'_, Buffer>, decode: bool) -> Result<()> {
        let Attention {
            q,
            cache,
            q_indptr,
            kv_len,
            page_table,
            sequences,
            bounds,
            softmax_scale,
            mut out,
            mut lse,
        } = args;
        let most = if decode { MAX_DECODE_TOKENS } else { usize::MAX };
        let args = ops::Attention {
            q: TensorRef::new(q)?,
            keys_values: ops::KeysValues::Paged {
                k: TensorRef::new(cache.k)?,
                v: TensorRef::new(cache.v)?,
                page_table: TensorRef::new(page_table)?,
            },
            k_scale: cache.k_scale,
            v_scale: cache.v_scale,
            q_indptr: TensorRef::new(q_indptr)?,
            kv_len: TensorRef::new(kv_len)?,
            sequences,
            max_q_len: bounds.max_q_len.min(most),
            max_kv_len: bounds.max_kv_len,
            softmax_scale,
            out: TensorMut::new(out.reborrow())?,
            lse: lse.as_mut().map(|lse| TensorMut::new(lse.reborrow())).transpose()?,
            error: word(&mut self.error)?,
        };
        if !decode {
            return ops::attention_prefill(&self.stream, &args);
        }
        let decode = ops::Decode {
            workspace: TensorMut::new(self.workspace.view_mut())?,
            batch_invariant: self.options.batch_invariant,
        };
        ops::attention_decode(&self.stream, &args, &decode)
    }
}

/// The error word as operations take it.
fn word(error: &mut Option<Tensor<Buffer>>) -> Result<Option<TensorMut<'_>>> {
    error.as_mut().map(|word| TensorMut::new(word.view_mut())).transpose()
}

/// An activation to write, as operations take it.
enum Out<'a> {
    Native(TensorMut<'a>),
    Fp8(ops::Fp8Mut<'a>),
}

impl<'a> Out<'a> {
    /// Of an operation on activations in `dtype`, which its kernel rounds to before it quantises.
    fn new(op: &'static str, out: ActivationMut<'a, Buffer>, dtype: DType) -> Result<Self> {
        Ok(match out {
            ActivationMut::Native(out) => Out::Native(TensorMut::new(out)?),
            ActivationMut::Fp8 { rounded_to, .. } if rounded_to != dtype => {
                return Err(Error::argument(op, "rounded_to", dtype, rounded_to));
            }
            ActivationMut::Fp8 { codes, scale, .. } => {
                Out::Fp8(ops::Fp8Mut { codes: TensorMut::new(codes)?, scale: TensorMut::new(scale)? })
            }
        })
    }
}

/// An activation to write where fp8 ones have no kernels yet.
fn native_mut<'a>(op: &str, out: ActivationMut<'a, Buffer>) -> Result<TensorMut<'a>> {
    match out {
        ActivationMut::Native(out) => TensorMut::new(out),
        ActivationMut::Fp8 { .. } => Err(no_fp8(op)),
    }
}

fn no_fp8(op: &str) -> Error {
    Error::unsupported(format!("{op} with fp8 activations on a GPU"), "there is no kernel for it")
}

impl Backend for Gpu {
    type Buffer = Buffer;
    type Weight = GpuWeight;

    fn description(&self) -> String {
        self.device().properties().name.clone()
    }

    fn kernel_launches(&self) -> Option<u64> {
        Some(self.device().launches())
    }

    fn prepare(&mut self, dims: &ModelDims, checkpoint: DType) -> Result<DType> {
        check_dims(dims)?;
        let dtype = match checkpoint {
            DType::BF16 | DType::F16 => checkpoint,
            _ => {
                log::warn!("the checkpoint is in {checkpoint}; {} computes in bf16", self.description());
                DType::BF16
            }
        };
        self.model = Some((*dims, dtype));
        Ok(dtype)
    }

    fn check_formats(&self, weights: WeightFormat, _cache: CacheFormat) -> Result<()> {
        self.model.as_ref().map_or(Ok(()), |(dims, _)| check_quantized(dims, weights))
    }

    fn reserve(&mut self, dims: &ModelDims, cache: CacheFormat, bounds: &StepBounds) -> Result<()> {
        let Some((_, dtype)) = self.model else {
            return Err(Error::argument("reserve", "model", "one that `prepare` was told of", "none"));
        };
        let formats = Formats { fp8_cache: cache == CacheFormat::Fp8, ..self.formats };
        let model = |kernel: &&Kernel| serves(**kernel, dtype, dims.head_dim, formats);
        let kernels: Vec<Kernel> = Kernel::ALL.iter().filter(model).copied().collect();
        self.device().load(&kernels)?;
        let bytes = self.decode_workspace(dims, dtype, bounds)?;
        self.workspace = self.alloc(DType::U8, &[bytes])?;
        let bytes = plan::matmul_workspace_bytes(&self.device().properties().limits());
        self.matmul_workspace = self.alloc(DType::U8, &[bytes])?;
        Ok(())
    }

    fn alloc(&mut self, dtype: DType, shape: &[usize]) -> Result<Tensor<Buffer>> {
        let bytes = shape.iter().try_fold(dtype.size(), |bytes, &dim| bytes.checked_mul(dim));
        let bytes = bytes.ok_or_else(|| {
            Error::argument("alloc", "shape", "fewer than 2^64 bytes", format!("{shape:?} of {dtype}"))
        })?;
        let mut buffer = self.device().allocate(bytes)?;
        self.stream.fill(&mut buffer, 0, bytes, 0)?;
        Tensor::new(buffer, dtype, shape)
    }

    fn upload(&mut self, to: ViewMut<'_, Buffer>, bytes: &[u8]) -> Result<()> {
        let offset = bytes_of("upload", "to", &to.as_view(), bytes.len())?;
        self.staging.write(&self.stream, to.buffer, offset, bytes)
    }

    fn download(&mut self, from: View<'_, Buffer>, bytes: &mut [u8]) -> Result<()> {
        let offset = bytes_of("download", "from", &from, bytes.len())?;
        self.stream.read(from.buffer, offset, bytes)?;
        self.check_data()
    }

    fn synchronize(&mut self) -> Result<()> {
        self.stream.synchronize()?;
        self.check_data()
    }

    fn load_weight(&mut self, source: WeightSource) -> Result<GpuWeight> {
        let weight = self.loader()?.weight(&source)?;
        self.formats.add(source.format);
        Ok(weight)
    }

    fn load_vector(&mut self, source: HostTensor) -> Result<Tensor<Buffer>> {
        self.loader()?.vector(source)
    }

    fn step(
        &mut self,
        repeats: Option<StepBounds>,
        launches: &mut dyn FnMut(&mut Self) -> Result<()>,
    ) -> Result<()> {
        let Some(bounds) = repeats.filter(|_| self.options.graphs) else { return launches(self) };
        let stream = Arc::clone(&self.stream);
        let graph = match self.graphs.take(&bounds, stream.device().freed()) {
            Some(graph) => graph,
            None => stream.capture(|_| launches(self))?,
        };
        // SAFETY: a recording uses memory of buffers that were there when it was made, and since then none of this device
        // has been freed; what frees one later waits for what is queued here.
        unsafe { graph.launch(&stream) }?;
        self.graphs.put(bounds, graph);
        Ok(())
    }

    fn embed(&mut self, args: Embed<'_, Buffer, GpuWeight>) -> Result<()> {
        let args = ops::Embed {
            ids: TensorRef::new(args.ids)?,
            table: TensorRef::new(args.table.table("embed")?.view())?,
            out: TensorMut::new(args.out)?,
            error: word(&mut self.error)?,
        };
        ops::embed(&self.stream, &args)
    }

    fn gather_rows(&mut self, args: GatherRows<'_, Buffer>) -> Result<()> {
        let args = ops::GatherRows {
            x: TensorRef::new(args.x)?,
            rows: TensorRef::new(args.rows)?,
            out: TensorMut::new(args.out)?,
            error: word(&mut self.error)?,
        };
        ops::gather_rows(&self.stream, &args)
    }

    fn rms_norm(&mut self, args: RmsNorm<'_, Buffer>) -> Result<()> {
        let RmsNorm { x, weight, eps, out } = args;
        let (x, weight) = (TensorRef::new(x)?, TensorRef::new(weight)?);
        match Out::new("rms_norm", out, x.dtype())? {
            Out::Native(out) => {
                let args = ops::RmsNorm { x, weight, eps, columns: None, out, error: None };
                ops::rms_norm(&self.stream, &args)
            }
            Out::Fp8(out) => ops::rms_norm_fp8(&self.stream, &ops::RmsNormFp8 { x, weight, eps, out }),
        }
    }

    fn add_rms_norm(&mut self, args: AddRmsNorm<'_, Buffer>) -> Result<()> {
        let AddRmsNorm { x, residual, weight, eps, out } = args;
        let (x, weight) = (TensorRef::new(x)?, TensorRef::new(weight)?);
        let residual = TensorMut::new(residual)?;
        match Out::new("add_rms_norm", out, x.dtype())? {
            Out::Native(out) => {
                let args = ops::AddRmsNorm { x, residual, weight, eps, columns: None, out, error: None };
                ops::add_rms_norm(&self.stream, &args)
            }
            Out::Fp8(out) => {
                ops::add_rms_norm_fp8(&self.stream, &ops::AddRmsNormFp8 { x, residual, weight, eps, out })
            }
        }
    }

    fn quantize_fp8(&mut self, args: QuantizeFp8<'_, Buffer>) -> Result<()> {
        let x = TensorRef::new(args.x)?;
        match Out::new("quantize_fp8", args.out, x.dtype())? {
            Out::Native(out) => {
                Err(Error::argument("quantize_fp8", "out", "an fp8 activation", out.as_ref().dtype()))
            }
            Out::Fp8(out) => ops::quantize_fp8(&self.stream, &ops::QuantizeFp8 { x, out }),
        }
    }

    fn matmul(&mut self, args: Matmul<'_, Buffer, GpuWeight>) -> Result<()> {
        let Matmul { x, weight, epilogue, out } = args;
        let (order, epilogue) = match epilogue {
            Epilogue::None => (RowOrder::Concatenated, ops::Epilogue::None),
            Epilogue::SwiGlu => (RowOrder::GateUp, ops::Epilogue::SwiGlu),
        };
        if weight.order != order {
            let expected = format!("{order:?} rows for the epilogue {epilogue:?}");
            return Err(Error::argument("matmul", "weight", expected, format!("{:?} rows", weight.order)));
        }
        let bias = weight.bias.as_ref().map(|bias| TensorRef::new(bias.view())).transpose()?;
        let batch_invariant = self.options.batch_invariant;
        let workspace = Some(TensorMut::new(self.matmul_workspace.view_mut())?);
        match (&weight.matrix, x) {
            (Matrix::Native(rows), Activation::Native(x)) => {
                let (x, weight) = (TensorRef::new(x)?, TensorRef::new(rows.view())?);
                let out = native_mut("matmul", out)?;
                let args = ops::Matmul { x, weight, bias, epilogue, batch_invariant, workspace, out };
                ops::matmul(&self.stream, &args)
            }
            (Matrix::Int4 { n, k, codes, scales, integer_zeros }, Activation::Native(x)) => {
                let weight = ops::Int4Ref {
                    n: *n,
                    k: *k,
                    codes: TensorRef::new(codes.view())?,
                    scales: TensorRef::new(scales.view())?,
                    integer_zeros: *integer_zeros,
                };
                let (x, out) = (TensorRef::new(x)?, native_mut("matmul_int4", out)?);
                let args = ops::MatmulInt4 { x, weight, bias, epilogue, batch_invariant, workspace, out };
                ops::matmul_int4(&self.stream, &args)
            }
            (Matrix::Fp8 { codes, scales }, Activation::Fp8 { codes: x, scale: x_scale }) => {
                let args = ops::MatmulFp8 {
                    x: ops::Fp8Ref { codes: TensorRef::new(x)?, scale: TensorRef::new(x_scale)? },
                    weight: ops::Fp8Ref {
                        codes: TensorRef::new(codes.view())?,
                        scale: TensorRef::new(scales.view())?,
                    },
                    bias,
                    epilogue,
                    fast_accumulation: self.options.fast_accumulation,
                    batch_invariant,
                    workspace,
                    out: ops::Fp8Out::Native(native_mut("matmul_fp8", out)?),
                };
                ops::matmul_fp8(&self.stream, &args)
            }
            (Matrix::Fp8 { .. }, Activation::Native(x)) => {
                let expected = "an fp8 activation with one scale a token, for a weight in fp8";
                Err(Error::argument("matmul", "x", expected, x.dtype))
            }
            (_, Activation::Fp8 { .. }) => Err(no_fp8(&format!("matmul of a weight in {}", weight.format()))),
        }
    }

    fn rope_append_kv(&mut self, args: RopeAppendKv<'_, Buffer>) -> Result<()> {
        let RopeAppendKv { qkv, positions, slot_mapping, cos_sin, q_out, cache } = args;
        let args = ops::RopeAppendKv {
            qkv: TensorRef::new(qkv)?,
            positions: TensorRef::new(positions)?,
            slot_mapping: TensorRef::new(slot_mapping)?,
            cos_sin: TensorRef::new(cos_sin)?,
            q_out: TensorMut::new(q_out)?,
            k_cache: TensorMut::new(cache.k)?,
            v_cache: TensorMut::new(cache.v)?,
            k_scale: cache.k_scale,
            v_scale: cache.v_scale,
            error: word(&mut self.error)?,
        };
        ops::rope_append_kv(&self.stream, &args)
    }

    fn attention_decode(&mut self, args: Attention<'_, Buffer>) -> Result<()> {
        self.attention(args, true)
    }

    fn attention_prefill(&mut self, args: Attention<'_, Buffer>) -> Result<()> {
        self.attention(args, false)
    }

    fn sample(&mut self, args: Sample<'_, Buffer>) -> Result<()> {
        let args = ops::Sample {
            logits: TensorRef::new(args.logits)?,
            rows: TensorRef::new(args.rows)?,
            seen: TensorMut::new(args.seen)?,
            out: TensorMut::new(args.out)?,
            error: word(&mut self.error)?,
        };
        ops::sample(&self.stream, &args)
    }
}

/// Where the bytes of a contiguous view begin in its buffer; it must have `given` of them.
fn bytes_of(op: &'static str, arg: &'static str, view: &View<'_, Buffer>, given: usize) -> Result<usize> {
    let layout = &view.layout;
    if !layout.is_contiguous() {
        return Err(Error::argument(op, arg, "contiguous elements", format!("{layout:?}")));
    }
    // The view's elements lie in memory, so that their bytes can be counted: the copy checks that they do.
    let size = view.dtype.size();
    let (offset, bytes) = (layout.offset().checked_mul(size), layout.num_elements().checked_mul(size));
    match (offset, bytes) {
        (Some(offset), Some(bytes)) if bytes == given => Ok(offset),
        _ => {
            let expected = format!("those of {layout:?} in {}", view.dtype);
            Err(Error::argument(op, "bytes", expected, given))
        }
    }
}

#[cfg(all(test, feature = "sim"))]
mod tests {
    use super::*;
    use crate::device::DeviceChoice;

    /// No step within the bounds needs more than was reserved, and one needs all of it.
    #[test]
    fn the_workspace_is_that_of_the_largest_step() {
        let dims = ModelDims {
            hidden_size: 4096,
            intermediate_size: 14336,
            num_q_heads: 32,
            num_kv_heads: 8,
            head_dim: 128,
            vocab_size: 128_256,
        };
        let bounds = StepBounds { batch: 200, max_q_len: 512, max_kv_len: 8192, ..StepBounds::default() };
        let device = Device::open(DeviceChoice::SIM).unwrap();
        for batch_invariant in [false, true] {
            let options = GpuOptions { batch_invariant, ..GpuOptions::of(&device) };
            let gpu = Gpu::on_stream(device.new_stream().unwrap(), options).unwrap();
            let reserved = gpu.decode_workspace(&dims, DType::BF16, &bounds).unwrap();
            let mut most = 0;
            for num_seqs in 1..=bounds.batch {
                for max_q_len in 1..=MAX_DECODE_TOKENS {
                    for max_kv_len in [16, 64, 256, 1024, 8192] {
                        let shape = plan::AttentionShape {
                            dtype: DType::BF16,
                            cache_dtype: DType::BF16,
                            head_dim: 128,
                            group: 4,
                            num_kv_heads: 8,
                            num_tokens: num_seqs * max_q_len,
                            num_seqs,
                            max_q_len,
                            max_kv_len,
                        };
                        let limits = device.properties().limits();
                        let plan = plan::attention_decode(&shape, batch_invariant, limits).unwrap().unwrap();
                        most = most.max(plan.workspace_bytes);
                    }
                }
            }
            assert!(most > 0);
            assert_eq!(reserved, most, "batch-invariant: {batch_invariant}");
        }
    }
}
