//! Operands in device memory, with guards around them.

use std::ops::Range;

use crate::gpu::{Buffer, Device, TensorMut, TensorRef};
use crate::tensor::DType;
use crate::{Error, Result};

use super::problem::{Expected, Failure};

/// Bytes on each side of a buffer that nothing may write.
const GUARD_BYTES: usize = 256;
/// What they hold, and what stands between the rows of strided tensors: -391 in bf16, so that a sum over it is noticed.
const GUARD: u8 = 0xC3;
/// What outputs hold before a launch: NaN in every float type.
const POISON: u8 = 0xFF;
/// Larger buffers are written and looked at around their rows alone, where rows are far apart.
const SPARSE_BYTES: usize = 64 << 20;

/// One tensor argument: `[n]`, or `[rows, width]` with any distance between rows.
#[derive(Debug)]
pub(super) struct Operand {
    pub name: &'static str,
    pub dtype: DType,
    shape: Vec<usize>,
    /// Elements from one row to the next.
    stride: usize,
    /// Bytes that the tensor starts behind an aligned address.
    shift: usize,
    /// The rows without gaps; poisoned where there are none.
    content: Option<Vec<u8>>,
    /// What it must be in the end; as it was where there is none.
    pub expected: Option<Expected>,
}

impl Operand {
    /// An operand that is only read.
    pub fn input(name: &'static str, dtype: DType, shape: &[usize], content: Vec<u8>) -> Self {
        let stride = shape.last().copied().unwrap_or(0);
        let shape = shape.to_vec();
        Operand { name, dtype, shape, stride, shift: 0, content: Some(content), expected: None }
    }

    /// An operand that is only written.
    pub fn output(name: &'static str, dtype: DType, shape: &[usize], expected: Expected) -> Self {
        Operand { content: None, expected: Some(expected), ..Operand::input(name, dtype, shape, Vec::new()) }
    }

    /// An operand that is read and written.
    pub fn updated(
        name: &'static str,
        dtype: DType,
        shape: &[usize],
        content: Vec<u8>,
        expected: Expected,
    ) -> Self {
        Operand { expected: Some(expected), ..Operand::input(name, dtype, shape, content) }
    }

    /// Memory that a call may write as it likes: poisoned before, not looked at after.
    pub fn scratch(name: &'static str, bytes: usize) -> Self {
        Operand { content: None, ..Operand::input(name, DType::U8, &[bytes], Vec::new()) }
    }

    /// With so many elements between the end of a row and the next.
    pub fn with_gap(mut self, elements: usize) -> Self {
        self.stride += elements;
        self
    }

    /// So many bytes behind an aligned address.
    pub fn misplaced(mut self, bytes: usize) -> Self {
        self.shift = bytes;
        self
    }

    /// Elements of a row.
    pub fn width(&self) -> usize {
        self.shape.last().copied().unwrap_or(0)
    }

    /// Bytes from the first element to the last.
    pub fn num_bytes(&self) -> u64 {
        self.rows().last().map_or(0, |row| row.end as u64)
    }

    fn num_rows(&self) -> usize {
        if self.shape.len() > 1 { self.shape[0] } else { 1 }
    }

    fn row_bytes(&self) -> usize {
        self.width() * self.dtype.size()
    }

    /// Bytes of each row, counted from the tensor's first element.
    fn rows(&self) -> impl Iterator<Item = Range<usize>> {
        let (stride, bytes) = (self.stride * self.dtype.size(), self.row_bytes());
        (0..self.num_rows()).map(move |row| row * stride..row * stride + bytes)
    }

    fn strides(&self) -> Vec<usize> {
        if self.shape.len() > 1 { vec![self.stride, 1] } else { vec![1] }
    }

    /// The content of a row; `None` where it is poisoned.
    fn row(&self, row: usize) -> Option<&[u8]> {
        self.content.as_ref().map(|content| &content[row * self.row_bytes()..][..self.row_bytes()])
    }
}

/// An operand in a buffer of its own.
struct Placed<'a> {
    operand: &'a Operand,
    buffer: Buffer,
    /// Where the tensor starts in the buffer.
    start: usize,
    guarded: bool,
}

/// The operands of one run.
pub(super) struct Memory<'a> {
    device: &'a Device,
    placed: Vec<Placed<'a>>,
}

impl<'a> Memory<'a> {
    /// Allocates the operands, with guards or exactly as long as they are.
    pub fn allocate(device: &'a Device, operands: &'a [Operand], guarded: bool) -> Result<Self> {
        let place = |operand: &'a Operand| {
            let span = operand.num_bytes() as usize;
            let guard = if guarded { GUARD_BYTES } else { 0 };
            let start = guard + operand.shift;
            let buffer = device.allocate(start + span + guard)?;
            Ok(Placed { operand, buffer, start, guarded })
        };
        Ok(Memory { device, placed: operands.iter().map(place).collect::<Result<_>>()? })
    }

    /// The operand of this name, to read.
    pub fn read(&self, name: &str) -> Result<TensorRef<'_>> {
        let (address, operand) = self.find(name)?;
        // SAFETY: the buffer holds the operand's rows from its start on, and is freed after this borrow.
        unsafe {
            TensorRef::from_raw(self.device, address, operand.dtype, &operand.shape, &operand.strides())
        }
    }

    /// The operand of this name, to write.
    pub fn write(&self, name: &str) -> Result<TensorMut<'_>> {
        let (address, operand) = self.find(name)?;
        // SAFETY: as for `read`; a case gives an operation the same operand twice only where it allows that.
        unsafe {
            TensorMut::from_raw(self.device, address, operand.dtype, &operand.shape, &operand.strides())
        }
    }

    fn find(&self, name: &str) -> Result<(u64, &'a Operand)> {
        let found = self.placed.iter().find(|placed| placed.operand.name == name);
        let placed = found.ok_or_else(|| Error::argument("check", "operand", "a name of the case", name))?;
        // A tensor without elements may lie anywhere, and an empty buffer lies nowhere.
        Ok((placed.buffer.address() + placed.start as u64, placed.operand))
    }

    /// Writes contents, poison and guards.
    pub fn initialise(&mut self) -> Result<()> {
        self.placed.iter_mut().try_for_each(Placed::initialise)
    }

    /// The rows of all operands that were written, after checking that nothing else was.
    pub fn results(&self) -> Result<Vec<Vec<u8>>, Failure> {
        let mut results = Vec::new();
        for placed in &self.placed {
            let rows = placed.rows()?;
            if placed.operand.expected.is_some() {
                results.push(rows);
            }
        }
        Ok(results)
    }
}

impl Placed<'_> {
    /// Parts of the buffer that are written before a launch and looked at after it.
    fn segments(&self) -> Vec<Range<usize>> {
        let len = self.buffer.len();
        if !self.guarded {
            return self.row_ranges().collect();
        }
        let gap = self.operand.stride * self.operand.dtype.size() - self.operand.row_bytes();
        if len <= SPARSE_BYTES || gap < 2 * GUARD_BYTES {
            return std::iter::once(0..len).collect();
        }
        let around =
            |row: Range<usize>| row.start.saturating_sub(GUARD_BYTES)..(row.end + GUARD_BYTES).min(len);
        self.row_ranges().map(around).collect()
    }

    /// The rows in the buffer.
    fn row_ranges(&self) -> impl Iterator<Item = Range<usize>> {
        self.operand.rows().map(|row| self.start + row.start..self.start + row.end)
    }

    fn initialise(&mut self) -> Result<()> {
        for segment in self.segments() {
            let mut image = vec![GUARD; segment.len()];
            let mut initialised = self.guarded;
            for (index, row) in self.row_ranges().enumerate() {
                if row.start < segment.start || row.end > segment.end {
                    continue;
                }
                let image = &mut image[row.start - segment.start..row.end - segment.start];
                match self.operand.row(index) {
                    Some(content) => {
                        image.copy_from_slice(content);
                        initialised = true;
                    }
                    None => image.fill(POISON),
                }
            }
            // Without guards an output stays uninitialised, which the simulated GPU notices when it is read.
            if initialised {
                self.buffer.write(segment.start, &image)?;
            }
        }
        Ok(())
    }

    /// The rows without gaps, after checking all bytes beside them, and them too where they are an input's.
    fn rows(&self) -> Result<Vec<u8>, Failure> {
        let operand = self.operand;
        let mut rows = Vec::with_capacity(operand.num_rows() * operand.row_bytes());
        for segment in self.segments() {
            let mut image = vec![0; segment.len()];
            self.buffer.read(segment.start, &mut image)?;
            for (index, row) in self.row_ranges().enumerate() {
                if row.start < segment.start || row.end > segment.end {
                    continue;
                }
                let image = &mut image[row.start - segment.start..row.end - segment.start];
                if let (None, Some(content)) = (&operand.expected, operand.row(index)) {
                    let changed = image.iter().zip(content).position(|(now, before)| now != before);
                    if let Some(byte) = changed {
                        let column = byte / operand.dtype.size();
                        let name = operand.name;
                        return Err(Failure::Wrong(format!(
                            "{name}: an input was changed, at [{index}, {column}]"
                        )));
                    }
                }
                rows.extend_from_slice(image);
                image.fill(GUARD);
            }
            if self.guarded
                && let Some(byte) = image.iter().position(|&byte| byte != GUARD)
            {
                let distance = (segment.start + byte) as i64 - self.start as i64;
                return Err(Failure::Wrong(format!(
                    "{}: memory outside its rows was written, {distance} bytes from its first element",
                    operand.name
                )));
            }
        }
        Ok(rows)
    }
}
