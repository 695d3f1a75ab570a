//! Tensors of any rank and strides, whose last dimension has no gaps: caches, heads, rows of logits.

use std::fmt;
use std::ops::Range;

use super::Args;
use crate::gpu::TensorRef;
use crate::tensor::{DType, MAX_RANK};
use crate::{Error, Result};

/// A dimension as an operation expects it.
#[derive(Clone, Copy)]
pub(in crate::ops) enum Dim {
    /// Any size, by its name in the documentation.
    Any(&'static str),
    /// This size.
    Is(usize),
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dim::Any(name) => f.write_str(name),
            Dim::Is(size) => size.fmt(f),
        }
    }
}

/// A tensor of rank `N` that a kernel may read or write.
#[derive(Clone, Copy, Debug)]
pub(in crate::ops) struct Strided<const N: usize> {
    pub address: u64,
    pub shape: [usize; N],
    /// In elements; 0 for a dimension of size 1, whose stride is never used.
    pub strides: [i64; N],
    pub span: Span,
}

/// The bytes that a tensor takes: runs without gaps, at distances that repeat.
#[derive(Clone, Copy, Debug)]
pub(in crate::ops) struct Span {
    arg: &'static str,
    address: u64,
    /// Bytes of a run; 0 where the tensor has no element.
    run: u64,
    /// Count and distance in bytes of the outer dimensions of more than one element, the farthest apart first.
    dims: [(u64, u64); MAX_RANK],
    num_dims: usize,
}

impl Args<'_> {
    /// A tensor of `dtype` and this shape. Its address, and its distances in bytes from each element of an outer dimension
    /// to the next, are multiples of `align`.
    pub fn strided<const N: usize>(
        &self,
        arg: &'static str,
        tensor: &TensorRef<'_>,
        dtype: DType,
        expected: [Dim; N],
        align: u64,
    ) -> Result<Strided<N>> {
        self.check_device(arg, tensor)?;
        self.check_dtype(arg, tensor.dtype(), dtype)?;
        let fits = |(dim, &size): (&Dim, &usize)| match dim {
            Dim::Any(_) => true,
            Dim::Is(expected) => *expected == size,
        };
        let wrong_shape = || {
            let dims: Vec<String> = expected.iter().map(Dim::to_string).collect();
            self.error(arg, format!("shape [{}]", dims.join(", ")), format!("{:?}", tensor.layout()))
        };
        let shape: [usize; N] = tensor.shape().try_into().map_err(|_| wrong_shape())?;
        if !expected.iter().zip(&shape).all(fits) {
            return Err(wrong_shape());
        }
        let inner = tensor.layout().strides().last().copied().unwrap_or(1);
        if shape.last().is_some_and(|&size| size > 1) && inner != 1 {
            return Err(self.error(arg, "a last stride of 1", inner));
        }
        if !tensor.address().is_multiple_of(align) {
            let given = format!("{:#x}", tensor.address());
            return Err(self.error(arg, format!("an address that is a multiple of {align} bytes"), given));
        }
        let size = dtype.size() as u64;
        let run = if shape.contains(&0) { 0 } else { shape.last().map_or(1, |&size| size as u64) * size };
        let mut span = Span { arg, address: tensor.address(), run, dims: [(1, 0); MAX_RANK], num_dims: 0 };
        let mut strides = [0; N];
        for (i, (&count, &stride)) in shape.iter().zip(tensor.layout().strides()).enumerate() {
            if count <= 1 {
                continue;
            }
            strides[i] = i64::try_from(stride).map_err(|_| self.error(arg, "strides below 2^63", stride))?;
            if i + 1 == N {
                continue;
            }
            let bytes = (stride as u64)
                .checked_mul(size)
                .ok_or_else(|| self.error(arg, "strides below 2^64 bytes", stride))?;
            if !bytes.is_multiple_of(align) {
                let expected = format!("strides that are multiples of {} elements", align / size);
                return Err(self.error(arg, expected, stride));
            }
            span.dims[span.num_dims] = (count as u64, bytes);
            span.num_dims += 1;
        }
        span.dims[..span.num_dims].sort_unstable_by_key(|&(_, stride)| std::cmp::Reverse(stride));
        Ok(Strided { address: tensor.address(), shape, strides, span })
    }

    /// A list of `dtype` without gaps.
    pub fn strided_list(
        &self,
        arg: &'static str,
        tensor: &TensorRef<'_>,
        dtype: DType,
        len: usize,
    ) -> Result<Strided<1>> {
        self.strided(arg, tensor, dtype, [Dim::Is(len)], dtype.size() as u64)
    }

    /// Refuses a tensor to write whose elements share memory, or that shares memory with one of the others.
    pub fn check_written(&self, written: Span, others: &[Span]) -> Result<()> {
        if !written.is_nested() {
            let strides: Vec<u64> = written.dims().iter().map(|&(_, stride)| stride).collect();
            let given = format!("distances of {strides:?} bytes for runs of {} bytes", written.run);
            return Err(self.error(written.arg, "elements that do not overlap", given));
        }
        match others.iter().find(|other| written.overlaps(other)) {
            None => Ok(()),
            Some(other) => Err(Error::argument(
                self.op,
                written.arg,
                format!("memory apart from {}", other.arg),
                format!("{:#x} and {:#x}", written.address, other.address),
            )),
        }
    }
}

impl Span {
    fn dims(&self) -> &[(u64, u64)] {
        &self.dims[..self.num_dims]
    }

    /// Addresses from the first byte to behind the last. `TensorRef` has checked that they do not overflow.
    fn range(&self) -> Range<u64> {
        if self.run == 0 {
            return self.address..self.address;
        }
        let reach: u64 = self.dims().iter().map(|&(count, stride)| (count - 1) * stride).sum();
        self.address..self.address + reach + self.run
    }

    /// Whether each dimension goes past all that is inside it, so that no two elements share memory.
    fn is_nested(&self) -> bool {
        let mut inner = self.run;
        self.run == 0
            || self.dims().iter().rev().all(|&(count, stride)| {
                let apart = stride >= inner;
                inner += (count - 1) * stride;
                apart
            })
    }

    /// Whether two tensors share memory. Two of one shape and strides, which may interleave (keys and values in one buffer),
    /// are told apart run by run if they are nested; with other shapes, interleaving counts as sharing.
    fn overlaps(&self, other: &Span) -> bool {
        let (a, b) = (self.range(), other.range());
        if a.is_empty() || b.is_empty() || a.start >= b.end || b.start >= a.end {
            return false;
        }
        if self.dims() != other.dims() || self.run != other.run || !self.is_nested() {
            return true;
        }
        meet(self.dims(), self.run.into(), i128::from(other.address) - i128::from(self.address))
    }
}

/// Whether two runs of two nested tensors of the same dimensions meet, where the second tensor begins `distance` bytes behind
/// the first.
fn meet(dims: &[(u64, u64)], run: i128, distance: i128) -> bool {
    let Some((&(count, stride), inner)) = dims.split_first() else { return distance.abs() < run };
    // What is inside spans less than `stride` to either side, so that no other steps can bring the two together.
    let steps = distance.div_euclid(stride.into());
    [steps, steps + 1]
        .into_iter()
        .any(|steps| steps.abs() < count.into() && meet(inner, run, distance - steps * i128::from(stride)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(address: u64, run: u64, dims: &[(u64, u64)]) -> Span {
        let mut all = [(1, 0); MAX_RANK];
        all[..dims.len()].copy_from_slice(dims);
        Span { arg: "x", address, run, dims: all, num_dims: dims.len() }
    }

    /// Every byte of a span, as often as it stands there.
    fn bytes(span: &Span) -> Vec<u64> {
        let mut starts = vec![span.address];
        for &(count, stride) in span.dims() {
            starts = starts.iter().flat_map(|start| (0..count).map(move |i| start + i * stride)).collect();
        }
        starts.iter().flat_map(|&start| start..start + span.run).collect()
    }

    #[test]
    fn interleaved_tensors_are_told_apart_byte_for_byte() {
        let (mut shared, mut apart) = (0, 0);
        for (run, dims) in [
            (4, &[(3, 40), (2, 16)][..]),
            (2, &[(2, 60), (3, 20), (2, 4)]),
            (4, &[(5, 4)]),
            (3, &[(2, 100), (4, 9)]),
            (6, &[]),
            (0, &[(3, 8)]),
        ] {
            let a = span(1000, run, dims);
            assert!(a.is_nested());
            for address in 800..1200 {
                let b = span(address, run, dims);
                let expected = bytes(&a).iter().any(|byte| bytes(&b).contains(byte));
                assert_eq!(a.overlaps(&b), expected, "{a:?} {b:?}");
                *(if expected { &mut shared } else { &mut apart }) += 1;
            }
        }
        assert!(shared > 200 && apart > 200, "{shared} {apart}");
        // Of other dimensions: by their ranges.
        let a = span(1000, 4, &[(3, 40)]);
        assert!(a.overlaps(&span(1004, 2, &[])) && !a.overlaps(&span(1084, 2, &[])));
    }

    #[test]
    fn elements_that_share_memory_are_found() {
        for (run, dims) in [
            (4, &[(3, 3)][..]),
            (4, &[(2, 8), (3, 4)]),
            (4, &[(2, 12), (3, 4)]),
            (1, &[(3, 0)]),
            (2, &[(2, 40), (3, 8), (5, 2)]),
            (2, &[(2, 40), (3, 10), (5, 2)]),
        ] {
            let span = span(1000, run, dims);
            let mut all = bytes(&span);
            let count = all.len();
            all.sort_unstable();
            all.dedup();
            assert_eq!(span.is_nested(), all.len() == count, "{span:?}");
        }
    }
}
