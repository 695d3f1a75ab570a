//! Views as typed memory: checked once against their buffer, then read and written row by row in the accumulation type.

use std::ops::Range;

use bytemuck::Pod;
use half::{bf16, f16};

use super::CpuBuffer;
use super::real::{E4m3, Element, Real};
use super::simd;
use crate::tensor::{DType, Layout, View, ViewMut};
use crate::{Error, Result, par};

/// Elements that a task converts before it is worth another task.
const GRAIN: usize = 1 << 15;

/// Floats of any element type, to read.
#[derive(Clone, Copy)]
pub(crate) enum Floats<'a> {
    F64(&'a [f64]),
    F32(&'a [f32]),
    BF16(&'a [bf16]),
    F16(&'a [f16]),
    E4m3(&'a [E4m3]),
}

/// Floats of any element type, to write.
enum FloatsMut<'a> {
    F64(&'a mut [f64]),
    F32(&'a mut [f32]),
    BF16(&'a mut [bf16]),
    F16(&'a mut [f16]),
    E4m3(&'a mut [E4m3]),
}

/// Runs `$body` with `$slice` bound to the typed slice of a [`Floats`] or [`FloatsMut`].
macro_rules! each_float {
    ($of:ident, $value:expr, $slice:ident => $body:expr) => {
        match $value {
            $of::F64($slice) => $body,
            $of::F32($slice) => $body,
            $of::BF16($slice) => $body,
            $of::F16($slice) => $body,
            $of::E4m3($slice) => $body,
        }
    };
}

impl Floats<'_> {
    /// Reads `to.len()` elements from index `at` on.
    fn load<A: Real>(self, at: usize, to: &mut [A]) {
        each_float!(Floats, self, from => simd::load(&from[at..at + to.len()], to));
    }
}

impl<'a> FloatsMut<'a> {
    /// The elements from the view's first to its last.
    fn new(op: &'static str, arg: &'static str, view: ViewMut<'a, CpuBuffer>) -> Result<Self> {
        let ViewMut { buffer, dtype, layout } = view;
        let bytes = buffer.bytes_mut().ok_or_else(|| read_only(op, arg))?;
        Ok(match dtype {
            DType::F64 => FloatsMut::F64(rows_mut(op, arg, bytes, &layout)?),
            DType::F32 => FloatsMut::F32(rows_mut(op, arg, bytes, &layout)?),
            DType::BF16 => FloatsMut::BF16(rows_mut(op, arg, bytes, &layout)?),
            DType::F16 => FloatsMut::F16(rows_mut(op, arg, bytes, &layout)?),
            DType::F8E4M3 => FloatsMut::E4m3(rows_mut(op, arg, bytes, &layout)?),
            other => return Err(Error::argument(op, arg, "floats", other)),
        })
    }
}

/// A typed slice up to `extent` elements of `bytes`.
fn typed<'a, E: Pod>(op: &'static str, arg: &'static str, bytes: &'a [u8], extent: usize) -> Result<&'a [E]> {
    let len = extent.checked_mul(size_of::<E>()).filter(|&len| len <= bytes.len());
    let bytes = len.map(|len| &bytes[..len]).ok_or_else(|| too_short(op, arg, extent, bytes.len()))?;
    bytemuck::try_cast_slice(bytes).map_err(|_| misaligned::<E>(op, arg))
}

/// [`typed`], to write.
fn typed_mut<'a, E: Pod>(
    op: &'static str,
    arg: &'static str,
    bytes: &'a mut [u8],
    extent: usize,
) -> Result<&'a mut [E]> {
    let given = bytes.len();
    let len = extent.checked_mul(size_of::<E>()).filter(|&len| len <= given);
    let bytes = len.map(|len| &mut bytes[..len]).ok_or_else(|| too_short(op, arg, extent, given))?;
    bytemuck::try_cast_slice_mut(bytes).map_err(|_| misaligned::<E>(op, arg))
}

fn too_short(op: &'static str, arg: &'static str, extent: usize, given: usize) -> Error {
    Error::argument(op, arg, format!("a buffer of {extent} elements"), format!("{given} bytes"))
}

fn misaligned<E>(op: &'static str, arg: &'static str) -> Error {
    Error::argument(op, arg, format!("memory aligned to {} bytes", size_of::<E>()), "misaligned memory")
}

fn check_inner_stride(op: &'static str, arg: &'static str, layout: &Layout) -> Result<()> {
    match (layout.shape().last(), layout.strides().last()) {
        (Some(&dim), Some(&stride)) if dim > 1 && stride != 1 => {
            Err(Error::argument(op, arg, "a last stride of 1", stride))
        }
        _ => Ok(()),
    }
}

/// Checks a view's shape.
pub(crate) fn check_shape(
    op: &'static str,
    arg: &'static str,
    given: &[usize],
    expected: &[usize],
) -> Result<()> {
    if given == expected {
        return Ok(());
    }
    Err(Error::argument(op, arg, format!("shape {expected:?}"), format!("{given:?}")))
}

/// Checks a view's number of dimensions and returns them.
pub(crate) fn check_rank<const N: usize>(
    op: &'static str,
    arg: &'static str,
    given: &[usize],
) -> Result<[usize; N]> {
    given
        .try_into()
        .map_err(|_| Error::argument(op, arg, format!("{N} dimensions"), format!("shape {given:?}")))
}

/// Checks an element type.
pub(crate) fn check_dtype(op: &'static str, arg: &'static str, given: DType, expected: DType) -> Result<()> {
    if given == expected {
        return Ok(());
    }
    Err(Error::argument(op, arg, expected, given))
}

/// A contiguous view of plain numbers: ids, positions, lengths.
pub(crate) fn numbers<'a, E: Pod>(
    op: &'static str,
    arg: &'static str,
    view: View<'a, CpuBuffer>,
    dtype: DType,
    shape: &[usize],
) -> Result<&'a [E]> {
    check_dtype(op, arg, view.dtype, dtype)?;
    check_shape(op, arg, view.shape(), shape)?;
    if !view.layout.is_contiguous() {
        return Err(Error::argument(op, arg, "contiguous elements", format!("{:?}", view.layout)));
    }
    Ok(&typed(op, arg, view.buffer.bytes(), view.layout.extent())?[view.layout.offset()..])
}

/// Floats of any element type and strides, to read; the last stride is 1.
#[derive(Clone, Copy)]
pub(crate) struct Input<'a> {
    floats: Floats<'a>,
    layout: Layout,
}

impl<'a> Input<'a> {
    pub fn new(op: &'static str, arg: &'static str, view: View<'a, CpuBuffer>) -> Result<Self> {
        check_inner_stride(op, arg, &view.layout)?;
        let (bytes, extent) = (view.buffer.bytes(), view.layout.extent());
        let floats = match view.dtype {
            DType::F64 => Floats::F64(typed(op, arg, bytes, extent)?),
            DType::F32 => Floats::F32(typed(op, arg, bytes, extent)?),
            DType::BF16 => Floats::BF16(typed(op, arg, bytes, extent)?),
            DType::F16 => Floats::F16(typed(op, arg, bytes, extent)?),
            DType::F8E4M3 => Floats::E4m3(typed(op, arg, bytes, extent)?),
            other => return Err(Error::argument(op, arg, "floats", other)),
        };
        Ok(Input { floats, layout: view.layout })
    }

    /// Reads the elements from `index` (all dimensions but the last) on.
    pub fn load<A: Real, const N: usize>(&self, index: [usize; N], to: &mut [A]) {
        let at: usize = index.iter().zip(self.layout.strides()).map(|(i, stride)| i * stride).sum();
        self.floats.load(self.layout.offset() + at, to);
    }

    /// All elements of a vector.
    pub fn to_vec<A: Real>(self) -> Vec<A> {
        let mut all = vec![A::ZERO; self.layout.num_elements()];
        self.load([], &mut all);
        all
    }
}

/// Rows of floats of any element type, to write: the first dimension counts them, the others stand without gaps in each.
pub(crate) struct Output<'a> {
    floats: FloatsMut<'a>,
    dtype: DType,
    width: usize,
    stride: usize,
}

impl<'a> Output<'a> {
    pub fn new(op: &'static str, arg: &'static str, view: ViewMut<'a, CpuBuffer>) -> Result<Self> {
        let (dtype, layout) = (view.dtype, view.layout);
        let (width, stride) = row_shape(op, arg, &layout)?;
        Ok(Output { floats: FloatsMut::new(op, arg, view)?, dtype, width, stride })
    }

    /// Element type: what a store rounds to.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Computes the rows of `range`: `f(row, values)` fills the values of one.
    pub fn write<A: Real>(&mut self, range: Range<usize>, f: impl Fn(usize, &mut [A]) + Sync + Send) {
        self.visit::<A, false>(range, f);
    }

    /// Changes the rows of `range`: `f(row, values)` finds what is stored.
    pub fn update<A: Real>(&mut self, range: Range<usize>, f: impl Fn(usize, &mut [A]) + Sync + Send) {
        self.visit::<A, true>(range, f);
    }

    fn visit<A: Real, const LOAD: bool>(
        &mut self,
        range: Range<usize>,
        f: impl Fn(usize, &mut [A]) + Sync + Send,
    ) {
        let (width, stride) = (self.width, self.stride);
        let rows_per_task = rows_per_task(width);
        each_float!(FloatsMut, &mut self.floats, floats => {
            par::chunks(part(floats, &range, stride), rows_per_task * stride, |task, rows| {
                let mut values = vec![A::ZERO; width];
                for (i, row) in rows.chunks_mut(stride).enumerate() {
                    let row = &mut row[..width];
                    if LOAD {
                        simd::load(row, &mut values);
                    }
                    f(range.start + task * rows_per_task + i, &mut values);
                    for (stored, value) in row.iter_mut().zip(&values) {
                        *stored = Element::store(*value);
                    }
                }
            });
        });
    }
}

/// Floats of any element type and strides, to write one run of elements at a time; the last stride is 1.
pub(crate) struct Scatter<'a> {
    floats: FloatsMut<'a>,
    layout: Layout,
}

impl<'a> Scatter<'a> {
    pub fn new(op: &'static str, arg: &'static str, view: ViewMut<'a, CpuBuffer>) -> Result<Self> {
        check_inner_stride(op, arg, &view.layout)?;
        let layout = view.layout;
        Ok(Scatter { floats: FloatsMut::new(op, arg, view)?, layout })
    }

    /// Stores `values` from `index` (all dimensions but the last) on.
    pub fn store<A: Real, const N: usize>(&mut self, index: [usize; N], values: &[A]) {
        let at: usize = index.iter().zip(self.layout.strides()).map(|(i, stride)| i * stride).sum();
        each_float!(FloatsMut, &mut self.floats, floats => {
            for (stored, value) in floats[at..].iter_mut().zip(values) {
                *stored = Element::store(*value);
            }
        });
    }
}

/// How many rows make a task.
pub(crate) fn rows_per_task(width: usize) -> usize {
    (GRAIN / width.max(1)).max(1)
}

/// The rows of `range` in a slice of rows, the last of which may lack what follows its elements.
pub(crate) fn part<'a, E>(rows: &'a mut [E], range: &Range<usize>, stride: usize) -> &'a mut [E] {
    let len = rows.len();
    &mut rows[(range.start * stride).min(len)..(range.end * stride).min(len)]
}

/// Width and stride of the rows of a layout to write: without gaps inside, and apart from each other.
pub(crate) fn row_shape(op: &'static str, arg: &'static str, layout: &Layout) -> Result<(usize, usize)> {
    let (shape, strides) = (layout.shape(), layout.strides());
    let (Some(&rows), Some(&stride)) = (shape.first(), strides.first()) else {
        return Err(Error::argument(op, arg, "rows", "a scalar"));
    };
    let width: usize = shape[1..].iter().product();
    if width > 0 && !Layout::strided(&shape[1..], &strides[1..], 0)?.is_contiguous() {
        return Err(Error::argument(op, arg, "rows without gaps", format!("{layout:?}")));
    }
    if rows > 1 && stride < width {
        return Err(Error::argument(op, arg, "rows that do not overlap", format!("{layout:?}")));
    }
    Ok((width, if rows > 1 { stride.max(1) } else { width.max(1) }))
}

/// Memory of the rows of a layout, from its first element to its last.
pub(crate) fn rows_mut<'a, E: Pod>(
    op: &'static str,
    arg: &'static str,
    bytes: &'a mut [u8],
    layout: &Layout,
) -> Result<&'a mut [E]> {
    Ok(&mut typed_mut(op, arg, bytes, layout.extent())?[layout.offset()..])
}

pub(crate) fn read_only(op: &'static str, arg: &'static str) -> Error {
    Error::argument(op, arg, "writable memory", "memory that belongs to a checkpoint")
}
