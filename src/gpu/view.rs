//! Tensors in device memory that belongs to somebody else: what operations take.

use std::marker::PhantomData;

use super::buffer::Buffer;
use super::device::{Device, DeviceId};
use crate::tensor::{DType, Layout, View, ViewMut};
use crate::{Error, Result};

/// A tensor to read: an address, an element type and a layout. It owns nothing.
#[derive(Clone, Copy, Debug)]
pub struct TensorRef<'a> {
    device: DeviceId,
    address: u64,
    dtype: DType,
    layout: Layout,
    memory: PhantomData<&'a Buffer>,
}

/// A tensor to write.
#[derive(Debug)]
pub struct TensorMut<'a>(TensorRef<'a>);

impl<'a> TensorRef<'a> {
    /// A tensor at a device address; strides are in elements, outermost first.
    ///
    /// An error where there are more dimensions than [`MAX_RANK`](crate::tensor::MAX_RANK), where strides and dimensions
    /// differ in number, where the last byte's address overflows, or where elements lie at address 0.
    ///
    /// # Safety
    /// For all of `'a`, and until every launch that was given this tensor has ended, the elements that shape and strides
    /// reach from `address` on are allocated on `device`: for each of them `dtype.size()` bytes.
    pub unsafe fn from_raw(
        device: &Device,
        address: u64,
        dtype: DType,
        shape: &[usize],
        strides: &[usize],
    ) -> Result<Self> {
        let layout = Layout::strided(shape, strides, 0)?;
        let bytes = layout.extent().checked_mul(dtype.size());
        let end = bytes.and_then(|bytes| address.checked_add(bytes as u64));
        if end.is_none() || (address == 0 && layout.num_elements() > 0) {
            let expected = format!("the address of a tensor {layout:?} in {dtype}");
            return Err(Error::argument("tensor", "address", expected, format!("{address:#x}")));
        }
        Ok(TensorRef { device: device.id(), address, dtype, layout, memory: PhantomData })
    }

    /// A view of a buffer. An error where its elements lie outside the buffer.
    pub fn new(view: View<'a, Buffer>) -> Result<Self> {
        let (buffer, size) = (view.buffer, view.dtype.size());
        let bytes = view.layout.extent().checked_mul(size).filter(|&bytes| bytes <= buffer.len());
        if bytes.is_none() {
            let given = format!("{:?} in {} from element {}", view.layout, view.dtype, view.layout.offset());
            return Err(Error::argument("tensor", "view", format!("a part of {buffer:?}"), given));
        }
        let (shape, strides) = (view.layout.shape(), view.layout.strides());
        Ok(TensorRef {
            device: buffer.device().id(),
            address: buffer.address() + (view.layout.offset() * size) as u64,
            dtype: view.dtype,
            layout: Layout::strided(shape, strides, 0)?,
            memory: PhantomData,
        })
    }

    /// The device whose memory it is.
    pub fn device(&self) -> DeviceId {
        self.device
    }

    /// Address of the first element.
    pub fn address(&self) -> u64 {
        self.address
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Dimensions and strides.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Dimensions, outermost first.
    pub fn shape(&self) -> &[usize] {
        self.layout.shape()
    }
}

impl<'a> TensorMut<'a> {
    /// [`TensorRef::from_raw`], to write.
    ///
    /// # Safety
    /// As for [`TensorRef::from_raw`]; and nobody else uses the elements until every launch that was given this tensor has
    /// ended, but where an operation says that two of its arguments may be the same.
    pub unsafe fn from_raw(
        device: &Device,
        address: u64,
        dtype: DType,
        shape: &[usize],
        strides: &[usize],
    ) -> Result<Self> {
        // SAFETY: the caller's promise.
        unsafe { TensorRef::from_raw(device, address, dtype, shape, strides) }.map(TensorMut)
    }

    /// [`TensorRef::new`], to write.
    pub fn new(view: ViewMut<'a, Buffer>) -> Result<Self> {
        let ViewMut { buffer, dtype, layout } = view;
        TensorRef::new(View { buffer, dtype, layout }).map(TensorMut)
    }

    /// The same elements, to read.
    pub fn as_ref(&self) -> TensorRef<'_> {
        self.0
    }
}
