//! Tensors for calls that are refused, and the refusal.

use llama_kernels::gpu::{Device, TensorMut, TensorRef};
use llama_kernels::tensor::DType;
use llama_kernels::{Error, Result};

/// A tensor at an address that only looks like one (what is refused is never launched), or at one of a buffer that is large
/// enough and outlives the launch.
pub fn strided<'a>(
    device: &Device,
    address: u64,
    dtype: DType,
    shape: &[usize],
    strides: &[usize],
) -> TensorRef<'a> {
    // SAFETY: as above, which the tests assert.
    unsafe { TensorRef::from_raw(device, address, dtype, shape, strides) }.unwrap()
}

/// [`strided`], to write.
pub fn strided_mut<'a>(
    device: &Device,
    address: u64,
    dtype: DType,
    shape: &[usize],
    strides: &[usize],
) -> TensorMut<'a> {
    // SAFETY: as for `strided`.
    unsafe { TensorMut::from_raw(device, address, dtype, shape, strides) }.unwrap()
}

/// [`strided`] without gaps.
pub fn packed<'a>(device: &Device, address: u64, dtype: DType, shape: &[usize]) -> TensorRef<'a> {
    strided(device, address, dtype, shape, &packed_strides(shape))
}

/// [`packed`], to write.
pub fn packed_mut<'a>(device: &Device, address: u64, dtype: DType, shape: &[usize]) -> TensorMut<'a> {
    strided_mut(device, address, dtype, shape, &packed_strides(shape))
}

fn packed_strides(shape: &[usize]) -> Vec<usize> {
    (0..shape.len()).map(|i| shape[i + 1..].iter().product()).collect()
}

/// The call has refused an argument with these words.
#[track_caller]
pub fn refused(result: Result<()>, text: &str) {
    let error = result.expect_err(text);
    assert!(matches!(error, Error::Argument { .. }), "{error:?}");
    assert_eq!(error.to_string(), text);
}
