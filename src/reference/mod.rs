//! The CPU reference of every operation: plain, complete, and the judge of the kernels.
//!
//! [`Cpu<f32>`] accumulates as the kernels do, [`Cpu<f64>`] in double precision. Together with the element type of the
//! activations that gives three roles: with f64 activations `Cpu<f64>` is what a result is compared with; with the
//! checkpoint's 16-bit type `Cpu<f32>` rounds wherever a GPU stores 16 bits and shows what that costs; with f32
//! activations it is the embedded default that runs models anywhere.
//!
//! Results of `Cpu<f32>` are the same bits on every machine, for every number of threads, and for a token alone or in any
//! batch: sums run over a fixed number of lanes, without fused multiplication and addition. (`Cpu<f64>` takes exponentials
//! from the system's library.)

mod access;
mod activation;
mod attention;
mod buffer;
mod combine;
pub mod compare;
#[cfg(any(feature = "kernels", feature = "model", test))]
mod convert;
mod matmul;
mod norm;
mod philox;
mod real;
mod rope;
mod rows;
mod sample;
mod simd;
mod weight;

use std::marker::PhantomData;

pub use activation::silu_and_mul;
pub use buffer::CpuBuffer;
pub use combine::attention_combine;
#[cfg(any(feature = "kernels", feature = "model"))]
pub(crate) use convert::convert;
pub use real::Real;
pub use sample::sample_row;
pub use weight::CpuWeight;

use crate::backend::{
    AddRmsNorm, Attention, Backend, CacheFormat, Embed, GatherRows, MAX_DECODE_TOKENS, Matmul, ModelDims,
    QuantizeFp8, RmsNorm, RopeAppendKv, Sample, StepBounds, WeightFormat, WeightSource,
};
use crate::tensor::{DType, HostTensor, Layout, Tensor, View, ViewMut};
use crate::{Error, Result, par};

/// The precision of activations and KV cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Activations {
    /// That of the accumulation.
    Exact,
    /// The checkpoint's element type: results are rounded where a GPU stores them.
    AsCheckpoint,
}

/// The CPU as a device, accumulating in `A`.
#[derive(Debug)]
pub struct Cpu<A> {
    activations: Activations,
    accumulates_in: PhantomData<A>,
}

impl<A: Real> Cpu<A> {
    /// A CPU whose activations have this precision.
    pub fn new(activations: Activations) -> Self {
        Cpu { activations, accumulates_in: PhantomData }
    }
}

impl<A: Real> Backend for Cpu<A> {
    type Buffer = CpuBuffer;
    type Weight = CpuWeight;

    fn description(&self) -> String {
        match par::threads() {
            1 => "CPU, 1 thread".into(),
            n => format!("CPU, {n} threads"),
        }
    }

    fn prepare(&mut self, _dims: &ModelDims, checkpoint: DType) -> Result<DType> {
        Ok(match self.activations {
            Activations::AsCheckpoint if checkpoint.is_float() => checkpoint,
            _ => A::DTYPE,
        })
    }

    fn check_formats(&self, _weights: WeightFormat, _cache: CacheFormat) -> Result<()> {
        Ok(())
    }

    fn reserve(&mut self, _dims: &ModelDims, _cache: CacheFormat, _bounds: &StepBounds) -> Result<()> {
        // Operations take their scratch memory from the system's allocator.
        Ok(())
    }

    fn alloc(&mut self, dtype: DType, shape: &[usize]) -> Result<Tensor<CpuBuffer>> {
        let elements = Layout::contiguous(shape)?.num_elements();
        let bytes = elements.checked_mul(dtype.size()).ok_or_else(|| {
            Error::argument("alloc", "shape", "fewer than 2^64 bytes", format!("{shape:?} of {dtype}"))
        })?;
        Tensor::new(CpuBuffer::zeroed(bytes)?, dtype, shape)
    }

    fn upload(&mut self, to: ViewMut<'_, CpuBuffer>, bytes: &[u8]) -> Result<()> {
        let range = byte_range("upload", "to", to.dtype, &to.layout, bytes.len())?;
        let memory = to.buffer.bytes_mut().ok_or_else(|| access::read_only("upload", "to"))?;
        let given = memory.len();
        let memory = memory.get_mut(range.clone()).ok_or_else(|| outside("upload", "to", &range, given))?;
        memory.copy_from_slice(bytes);
        Ok(())
    }

    fn download(&mut self, from: View<'_, CpuBuffer>, bytes: &mut [u8]) -> Result<()> {
        let range = byte_range("download", "from", from.dtype, &from.layout, bytes.len())?;
        let memory = from.buffer.bytes();
        let given = memory.len();
        bytes.copy_from_slice(
            memory.get(range.clone()).ok_or_else(|| outside("download", "from", &range, given))?,
        );
        Ok(())
    }

    fn synchronize(&mut self) -> Result<()> {
        // Operations return when they are done.
        Ok(())
    }

    fn load_weight(&mut self, source: WeightSource) -> Result<CpuWeight> {
        CpuWeight::new(source)
    }

    fn load_vector(&mut self, source: HostTensor) -> Result<Tensor<CpuBuffer>> {
        if !source.dtype.is_float() || source.shape.len() != 1 {
            let given = format!("{} of type {} and shape {:?}", source.name, source.dtype, source.shape);
            return Err(Error::argument("load_vector", "source", "a vector of floats", given));
        }
        weight::load("load_vector", "source", source)
    }

    fn step(
        &mut self,
        _repeats: Option<StepBounds>,
        launches: &mut dyn FnMut(&mut Self) -> Result<()>,
    ) -> Result<()> {
        launches(self)
    }

    fn embed(&mut self, args: Embed<'_, CpuBuffer, CpuWeight>) -> Result<()> {
        rows::embed::<A>(args)
    }

    fn gather_rows(&mut self, args: GatherRows<'_, CpuBuffer>) -> Result<()> {
        rows::gather_rows::<A>(args)
    }

    fn rms_norm(&mut self, args: RmsNorm<'_, CpuBuffer>) -> Result<()> {
        norm::rms_norm::<A>(args)
    }

    fn add_rms_norm(&mut self, args: AddRmsNorm<'_, CpuBuffer>) -> Result<()> {
        norm::add_rms_norm::<A>(args)
    }

    fn quantize_fp8(&mut self, args: QuantizeFp8<'_, CpuBuffer>) -> Result<()> {
        activation::quantize_fp8::<A>(args)
    }

    fn matmul(&mut self, args: Matmul<'_, CpuBuffer, CpuWeight>) -> Result<()> {
        matmul::matmul::<A>(args)
    }

    fn rope_append_kv(&mut self, args: RopeAppendKv<'_, CpuBuffer>) -> Result<()> {
        rope::rope_append_kv::<A>(args)
    }

    fn attention_decode(&mut self, args: Attention<'_, CpuBuffer>) -> Result<()> {
        attention::attention::<A>("attention_decode", MAX_DECODE_TOKENS, args)
    }

    fn attention_prefill(&mut self, args: Attention<'_, CpuBuffer>) -> Result<()> {
        attention::attention::<A>("attention_prefill", usize::MAX, args)
    }

    fn sample(&mut self, args: Sample<'_, CpuBuffer>) -> Result<()> {
        sample::sample(args)
    }
}

/// The bytes of a contiguous layout, which must be `given`.
fn byte_range(
    op: &'static str,
    arg: &'static str,
    dtype: DType,
    layout: &Layout,
    given: usize,
) -> Result<std::ops::Range<usize>> {
    if !layout.is_contiguous() {
        return Err(Error::argument(op, arg, "contiguous elements", format!("{layout:?}")));
    }
    let start = layout.offset() * dtype.size();
    let len = layout.num_elements() * dtype.size();
    if len != given {
        return Err(Error::argument(op, "bytes", format!("{len} of them, for {layout:?} in {dtype}"), given));
    }
    Ok(start..start + len)
}

fn outside(op: &'static str, arg: &'static str, range: &std::ops::Range<usize>, given: usize) -> Error {
    Error::argument(op, arg, format!("a buffer that holds bytes {range:?}"), format!("{given} bytes"))
}
