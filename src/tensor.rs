//! Element types, layouts, and tensors over whatever memory a device has.
//!
//! A [`Tensor`] owns a buffer; a [`View`] or [`ViewMut`] borrows it with a layout of its own. None of them knows where
//! the bytes are: the buffer type says that (host memory for the CPU reference, device memory for a GPU).

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::{Error, Result};

/// Element type of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DType {
    /// IEEE double.
    F64,
    /// IEEE single.
    F32,
    /// bfloat16.
    BF16,
    /// IEEE half.
    F16,
    /// E4M3FN: bias 7, largest 448, NaN 0x7F and 0xFF, no infinity.
    F8E4M3,
    /// Signed 64-bit integer.
    I64,
    /// Signed 32-bit integer.
    I32,
    /// Unsigned 32-bit integer.
    U32,
    /// Byte.
    U8,
}

impl DType {
    /// Bytes of one element.
    pub fn size(self) -> usize {
        match self {
            DType::F64 | DType::I64 => 8,
            DType::F32 | DType::I32 | DType::U32 => 4,
            DType::BF16 | DType::F16 => 2,
            DType::F8E4M3 | DType::U8 => 1,
        }
    }

    /// Whether this is one of the types that weights and activations may have: f64, f32, bf16 or f16.
    pub fn is_float(self) -> bool {
        matches!(self, DType::F64 | DType::F32 | DType::BF16 | DType::F16)
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DType::F64 => "f64",
            DType::F32 => "f32",
            DType::BF16 => "bf16",
            DType::F16 => "f16",
            DType::F8E4M3 => "f8_e4m3",
            DType::I64 => "i64",
            DType::I32 => "i32",
            DType::U32 => "u32",
            DType::U8 => "u8",
        })
    }
}

/// The largest number of dimensions: a paged KV cache has four.
pub const MAX_RANK: usize = 4;

/// Dimensions, strides and offset of a tensor, all in elements. Every element lies inside the buffer that the layout
/// was made for; offsets are 64-bit, because a 128K-token cache crosses 2^31 elements.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    rank: usize,
    dims: [usize; MAX_RANK],
    strides: [usize; MAX_RANK],
    offset: usize,
}

impl Layout {
    /// Row-major without gaps, from offset 0. Errors if there are more than [`MAX_RANK`] dimensions or if the number of
    /// elements overflows.
    pub fn contiguous(shape: &[usize]) -> Result<Self> {
        if shape.len() > MAX_RANK {
            return Err(Error::argument(
                "layout",
                "shape",
                format!("at most {MAX_RANK} dimensions"),
                shape.len(),
            ));
        }
        let (mut dims, mut strides) = ([1; MAX_RANK], [1; MAX_RANK]);
        dims[..shape.len()].copy_from_slice(shape);
        let mut elements = 1usize;
        for i in (0..shape.len()).rev() {
            strides[i] = elements;
            elements = elements.checked_mul(shape[i].max(1)).ok_or_else(|| {
                Error::argument("layout", "shape", "fewer than 2^64 elements", format!("{shape:?}"))
            })?;
        }
        Ok(Layout { rank: shape.len(), dims, strides, offset: 0 })
    }

    /// Any strides and offset, in elements: one head of many, or a cache with its heads outside its pages. Errors if there are
    /// more than [`MAX_RANK`] dimensions, another number of strides, or if the last element's index overflows.
    pub fn strided(shape: &[usize], strides: &[usize], offset: usize) -> Result<Self> {
        let mut layout = Layout::contiguous(shape)?;
        if strides.len() != shape.len() {
            return Err(Error::argument(
                "layout",
                "strides",
                format!("{} of them", shape.len()),
                format!("{strides:?}"),
            ));
        }
        layout.strides[..shape.len()].copy_from_slice(strides);
        layout.offset = offset;
        let mut extent = offset.checked_add(1);
        for (&dim, &stride) in shape.iter().zip(strides) {
            let reach = dim.saturating_sub(1).checked_mul(stride);
            extent = extent.zip(reach).and_then(|(extent, reach)| extent.checked_add(reach));
        }
        match extent {
            Some(_) => Ok(layout),
            None => Err(Error::argument("layout", "strides", "an extent below 2^64", format!("{strides:?}"))),
        }
    }

    /// The dimensions, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.dims[..self.rank]
    }

    /// The strides in elements, outermost first.
    pub fn strides(&self) -> &[usize] {
        &self.strides[..self.rank]
    }

    /// Index of the first element in the buffer.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// Number of elements.
    pub fn num_elements(&self) -> usize {
        self.shape().iter().product()
    }

    /// Whether the elements stand row-major without gaps.
    pub fn is_contiguous(&self) -> bool {
        let mut expected = 1;
        (0..self.rank).rev().all(|i| {
            let fits = self.dims[i] == 1 || self.strides[i] == expected;
            expected *= self.dims[i];
            fits
        })
    }

    /// Elements of the buffer that the layout reaches to: one past its last element.
    pub fn extent(&self) -> usize {
        if self.num_elements() == 0 {
            return self.offset;
        }
        self.offset + 1 + (0..self.rank).map(|i| (self.dims[i] - 1) * self.strides[i]).sum::<usize>()
    }

    /// The part with outermost indices in `range`.
    pub fn rows(&self, range: Range<usize>) -> Result<Self> {
        if self.rank == 0 || range.start > range.end || range.end > self.dims[0] {
            return Err(Error::argument("rows", "range", format!("within {self:?}"), format!("{range:?}")));
        }
        let mut rows = *self;
        rows.offset += range.start * self.strides[0];
        rows.dims[0] = range.end - range.start;
        Ok(rows)
    }

    /// The first `n` elements of each row: rows that are stored with something behind them.
    pub fn columns(&self, n: usize) -> Result<Self> {
        match self.shape().last() {
            Some(&width) if n <= width => {
                let mut columns = *self;
                columns.dims[self.rank - 1] = n;
                Ok(columns)
            }
            _ => Err(Error::argument("columns", "n", format!("within {self:?}"), n)),
        }
    }

    /// The same contiguous elements under another shape.
    pub fn reshape(&self, shape: &[usize]) -> Result<Self> {
        let mut layout = Layout::contiguous(shape)?;
        if !self.is_contiguous() || layout.num_elements() != self.num_elements() {
            return Err(Error::argument(
                "reshape",
                "shape",
                format!("{} contiguous elements", self.num_elements()),
                format!("{shape:?} of {self:?}"),
            ));
        }
        layout.offset = self.offset;
        Ok(layout)
    }
}

impl fmt::Debug for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.shape())?;
        if !self.is_contiguous() {
            write!(f, " with strides {:?}", self.strides())?;
        }
        Ok(())
    }
}

/// A tensor that owns its buffer.
#[derive(Debug)]
pub struct Tensor<T> {
    buffer: T,
    dtype: DType,
    layout: Layout,
}

impl<T> Tensor<T> {
    /// A row-major tensor over the whole of `buffer`, which holds at least as many elements as `shape` has: a device's
    /// allocator makes these.
    pub fn new(buffer: T, dtype: DType, shape: &[usize]) -> Result<Self> {
        Ok(Tensor { buffer, dtype, layout: Layout::contiguous(shape)? })
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Dimensions, outermost first.
    pub fn shape(&self) -> &[usize] {
        self.layout.shape()
    }

    /// Bytes of the elements.
    pub fn num_bytes(&self) -> usize {
        self.layout.num_elements() * self.dtype.size()
    }

    /// All of it, to read.
    pub fn view(&self) -> View<'_, T> {
        View { buffer: &self.buffer, dtype: self.dtype, layout: self.layout }
    }

    /// All of it, to write.
    pub fn view_mut(&mut self) -> ViewMut<'_, T> {
        ViewMut { buffer: &mut self.buffer, dtype: self.dtype, layout: self.layout }
    }

    /// The first `n` rows, to read.
    pub fn head(&self, n: usize) -> Result<View<'_, T>> {
        self.view().rows(0..n)
    }

    /// The first `n` rows, to write.
    pub fn head_mut(&mut self, n: usize) -> Result<ViewMut<'_, T>> {
        self.view_mut().rows(0..n)
    }
}

/// A borrowed tensor, to read.
#[derive(Debug)]
pub struct View<'a, T> {
    /// The memory that [`View::layout`] points into.
    pub buffer: &'a T,
    /// Element type.
    pub dtype: DType,
    /// Which elements of the buffer.
    pub layout: Layout,
}

impl<T> Clone for View<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for View<'_, T> {}

impl<'a, T> View<'a, T> {
    /// Dimensions, outermost first.
    pub fn shape(&self) -> &[usize] {
        self.layout.shape()
    }

    /// The part with outermost indices in `range`.
    pub fn rows(&self, range: Range<usize>) -> Result<View<'a, T>> {
        Ok(View { layout: self.layout.rows(range)?, ..*self })
    }

    /// The first `n` elements of each row.
    pub fn columns(&self, n: usize) -> Result<View<'a, T>> {
        Ok(View { layout: self.layout.columns(n)?, ..*self })
    }

    /// The same contiguous elements under another shape.
    pub fn reshape(&self, shape: &[usize]) -> Result<View<'a, T>> {
        Ok(View { layout: self.layout.reshape(shape)?, ..*self })
    }

    /// The bytes of this view from `offset` on as a tensor of another element type: several arrays in one buffer. The bytes
    /// stand without gaps, and `offset` is a multiple of the new type's size.
    pub fn reinterpret(&self, offset: usize, dtype: DType, shape: &[usize]) -> Result<View<'a, T>> {
        let error = || {
            let expected =
                format!("a part of {:?} in {}, at a multiple of {}", self.layout, self.dtype, dtype.size());
            Error::argument(
                "reinterpret",
                "offset",
                expected,
                format!("{shape:?} in {dtype} at byte {offset}"),
            )
        };
        let layout = Layout::contiguous(shape)?;
        let bytes = |layout: &Layout, dtype: DType| layout.num_elements().checked_mul(dtype.size());
        let end = bytes(&layout, dtype).and_then(|bytes| offset.checked_add(bytes));
        let fits = end.zip(bytes(&self.layout, self.dtype)).is_some_and(|(end, bytes)| end <= bytes);
        let start =
            self.layout.offset().checked_mul(self.dtype.size()).and_then(|start| start.checked_add(offset));
        match start {
            Some(start) if fits && self.layout.is_contiguous() && start.is_multiple_of(dtype.size()) => {
                let strides = layout.strides();
                Ok(View {
                    buffer: self.buffer,
                    dtype,
                    layout: Layout::strided(shape, strides, start / dtype.size())?,
                })
            }
            _ => Err(error()),
        }
    }
}

/// A borrowed tensor, to write.
#[derive(Debug)]
pub struct ViewMut<'a, T> {
    /// The memory that [`ViewMut::layout`] points into.
    pub buffer: &'a mut T,
    /// Element type.
    pub dtype: DType,
    /// Which elements of the buffer.
    pub layout: Layout,
}

impl<'a, T> ViewMut<'a, T> {
    /// Dimensions, outermost first.
    pub fn shape(&self) -> &[usize] {
        self.layout.shape()
    }

    /// The same elements, to read.
    pub fn as_view(&self) -> View<'_, T> {
        View { buffer: self.buffer, dtype: self.dtype, layout: self.layout }
    }

    /// The same elements, to write, for a shorter time.
    pub fn reborrow(&mut self) -> ViewMut<'_, T> {
        ViewMut { buffer: self.buffer, dtype: self.dtype, layout: self.layout }
    }

    /// The part with outermost indices in `range`.
    pub fn rows(self, range: Range<usize>) -> Result<ViewMut<'a, T>> {
        Ok(ViewMut { layout: self.layout.rows(range)?, ..self })
    }

    /// The first `n` elements of each row.
    pub fn columns(self, n: usize) -> Result<ViewMut<'a, T>> {
        Ok(ViewMut { layout: self.layout.columns(n)?, ..self })
    }

    /// The same contiguous elements under another shape.
    pub fn reshape(self, shape: &[usize]) -> Result<ViewMut<'a, T>> {
        Ok(ViewMut { layout: self.layout.reshape(shape)?, ..self })
    }
}

/// Bytes in host memory with a shared owner: a file that was read, or one that is mapped. Cloning copies nothing.
#[derive(Clone)]
pub struct Bytes {
    owner: Arc<dyn AsRef<[u8]> + Send + Sync>,
    range: Range<usize>,
}

impl Bytes {
    /// All bytes of `owner`.
    pub fn new(owner: impl AsRef<[u8]> + Send + Sync + 'static) -> Self {
        let len = owner.as_ref().len();
        Bytes { owner: Arc::new(owner), range: 0..len }
    }

    /// The part in `range`, relative to this; `None` if it lies outside.
    pub fn slice(&self, range: Range<usize>) -> Option<Bytes> {
        if range.start > range.end || range.end > self.len() {
            return None;
        }
        let start = self.range.start + range.start;
        Some(Bytes { owner: Arc::clone(&self.owner), range: start..start + (range.end - range.start) })
    }

    /// Number of bytes.
    pub fn len(&self) -> usize {
        self.range.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }
}

impl std::ops::Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &(*self.owner).as_ref()[self.range.clone()]
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bytes({} bytes)", self.len())
    }
}

/// A tensor of a checkpoint in host memory, row-major without gaps, at any alignment.
#[derive(Clone, Debug)]
pub struct HostTensor {
    /// Its name in the checkpoint, for errors.
    pub name: String,
    /// Element type as stored.
    pub dtype: DType,
    /// Dimensions, outermost first.
    pub shape: Vec<usize>,
    /// The elements, little-endian: `shape` times the size of `dtype` bytes.
    pub data: Bytes,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_leave_the_padding_behind() {
        let mut tensor = Tensor::new((), DType::F32, &[5, 8]).unwrap();
        let head = tensor.head(3).unwrap().columns(7).unwrap();
        assert_eq!(
            (head.shape(), head.layout.strides(), head.layout.extent()),
            (&[3, 7][..], &[8, 1][..], 23)
        );
        assert!(
            !head.layout.is_contiguous()
                && tensor.head(1).unwrap().columns(7).unwrap().layout.is_contiguous()
        );
        assert_eq!(
            tensor.view_mut().columns(8).unwrap().layout,
            *tensor.view().columns(8).as_ref().map(|v| &v.layout).unwrap()
        );
        let error = tensor.view().columns(9).unwrap_err().to_string();
        assert_eq!(error, "columns: n: expected within [5, 8], got 9");
    }

    #[test]
    fn arrays_of_several_types_share_a_buffer() {
        let bytes = Tensor::new((), DType::U8, &[64]).unwrap();
        let part = bytes.view().rows(16..64).unwrap().reinterpret(8, DType::I64, &[5]).unwrap();
        assert_eq!((part.dtype, part.layout.offset(), part.layout.extent()), (DType::I64, 3, 8));
        for (offset, dtype, shape) in [
            (4, DType::I64, &[2][..]),
            (0, DType::I32, &[4, 5]),
            (60, DType::I32, &[2]),
            (usize::MAX, DType::U8, &[1]),
        ] {
            let error = bytes.view().reinterpret(offset, dtype, shape).unwrap_err().to_string();
            assert!(error.starts_with("reinterpret: offset: expected a part of [64] in u8"), "{error}");
        }
    }
}
