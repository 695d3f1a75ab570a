//! The operations of a Llama as launches of CUDA kernels, over memory and streams that may be somebody else's.
//!
//! An operation checks its arguments, plans, launches, and returns. It allocates nothing, waits for nothing and uses no
//! stream but the one that it was given, so that it can be captured in a graph and replayed. (The first launch of a kernel
//! loads it: [`Device::load`](crate::gpu::Device::load) does that beforehand.) Without tokens nothing is launched.
//!
//! Common to all: activations and weights are bf16 or f16, row-major, with last stride 1; every row starts at an address
//! that is a multiple of 16 bytes. An argument that is written overlaps no other, but where its operation says that two may
//! be the same.
//!
//! ```no_run
//! use llama_kernels::gpu::{Device, TensorMut, TensorRef};
//! use llama_kernels::ops::{self, RmsNorm};
//! use llama_kernels::tensor::{DType, Tensor};
//!
//! # fn main() -> llama_kernels::Result<()> {
//! let device = Device::cuda(0)?;
//! let stream = device.new_stream()?;
//! let (tokens, hidden) = (8, 4096);
//! let x = Tensor::new(device.allocate(tokens * hidden * 2)?, DType::BF16, &[tokens, hidden])?;
//! let weight = Tensor::new(device.allocate(hidden * 2)?, DType::BF16, &[hidden])?;
//! let mut out = Tensor::new(device.allocate(tokens * hidden * 2)?, DType::BF16, &[tokens, hidden])?;
//! let norm = RmsNorm {
//!     x: TensorRef::new(x.view())?,
//!     weight: TensorRef::new(weight.view())?,
//!     eps: 1e-5,
//!     columns: None,
//!     out: TensorMut::new(out.view_mut())?,
//!     error: None,
//! };
//! ops::rms_norm(&stream, &norm)?;
//! stream.synchronize()?;
//! # Ok(())
//! # }
//! ```
//!
//! Memory that is not the library's comes in by [`TensorRef::from_raw`](crate::gpu::TensorRef::from_raw) and
//! [`TensorMut::from_raw`](crate::gpu::TensorMut::from_raw), a stream by
//! [`Stream::from_cuda`](crate::gpu::Stream::from_cuda) or [`Stream::from_raw`](crate::gpu::Stream::from_raw).

mod args;
mod attention;
mod attention_combine;
mod attention_decode;
#[cfg(feature = "cli")]
mod ceiling;
mod embed;
mod gather_rows;
mod matmul;
mod matmul_fp8;
mod matmul_int4;
mod norm;
mod permute_columns;
mod product;
mod quantize_fp8;
mod rope_append_kv;
mod sample;
mod silu_and_mul;

pub use attention::{Attention, KeysValues, attention_prefill};
pub use attention_combine::{AttentionCombine, attention_combine};
pub use attention_decode::{Decode, attention_decode};
#[cfg(feature = "cli")]
pub(crate) use ceiling::{
    CEILING_MMA, CEILING_WGMMA, CeilingShape, CeilingTensor, ceiling_copy, ceiling_empty, ceiling_mma,
    ceiling_read, ceiling_wgmma,
};
pub use embed::{Embed, embed};
pub use gather_rows::{GatherRows, gather_rows};
#[cfg(feature = "cli")]
pub(crate) use matmul::matmul_by;
pub use matmul::{Epilogue, Matmul, matmul};
#[cfg(feature = "cli")]
pub(crate) use matmul_fp8::matmul_fp8_by;
pub use matmul_fp8::{Fp8Out, Fp8Ref, MatmulFp8, matmul_fp8};
#[cfg(feature = "cli")]
pub(crate) use matmul_int4::matmul_int4_by;
pub use matmul_int4::{Int4Ref, MatmulInt4, matmul_int4};
pub use norm::{
    AddRmsNorm, AddRmsNormFp8, RmsNorm, RmsNormFp8, add_rms_norm, add_rms_norm_fp8, rms_norm, rms_norm_fp8,
};
pub use permute_columns::{PermuteColumns, permute_columns};
pub use quantize_fp8::{Fp8Mut, QuantizeFp8, quantize_fp8};
pub use rope_append_kv::{RopeAppendKv, rope_append_kv};
pub use sample::{Sample, sample};
pub use silu_and_mul::{SiluAndMul, silu_and_mul};
