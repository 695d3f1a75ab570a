//! One tile of a tensor: where its rows lie in global memory and in shared memory.
//!
//! Its bytes are held compactly, row after row, with what lies outside the tensor filled in. In shared memory they lie just so,
//! but for a swizzle, and for gaps where rows are shorter than what the swizzle works on.

use std::ops::Range;

use super::{TensorFill, TensorMap, TensorType};

/// Bytes that a swizzle keeps together.
const PIECE: usize = 16;
/// Where an address goes that does not fit 63 bits: outside every allocation.
const NOWHERE: u64 = 1 << 63;

/// A tile at some coordinates of the tensor of a map that has been checked.
pub(crate) struct Tile<'a> {
    map: &'a TensorMap,
    /// The coordinates of its first element. They may lie outside the tensor.
    origin: [i64; 5],
    /// Elements along each dimension; 1 along those that the tensor has not.
    counts: [u32; 5],
}

/// A row of a tile that lies within the tensor, wholly or in part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// The bytes of the tile that lie within the tensor.
    pub bytes: Range<usize>,
    /// The address of the first of them in global memory.
    pub address: u64,
}

impl<'a> Tile<'a> {
    /// Coordinates beyond the map's dimensions are ignored.
    pub fn new(map: &'a TensorMap, coordinates: &[i32; 5]) -> Self {
        let mut counts = [1; 5];
        for (index, count) in counts.iter_mut().enumerate().take(map.dims.len()) {
            *count = map.box_dims[index].div_ceil(step(map, index));
        }
        Self { map, origin: coordinates.map(i64::from), counts }
    }

    fn row_bytes(&self) -> usize {
        (self.counts[0] * self.map.data_type.bytes()) as usize
    }

    fn row_count(&self) -> usize {
        self.counts[1..].iter().fold(1, |rows: usize, count| rows.saturating_mul(*count as usize))
    }

    /// From one row to the next in shared memory: a swizzle exchanges pieces within its whole span, also where rows are
    /// shorter ("Swizzle modes" of tensor maps in the CUDA C++ Programming Guide).
    fn pitch(&self) -> usize {
        self.map.swizzle.span().map_or(self.row_bytes(), |span| span as usize)
    }

    /// Bytes that are copied, those of elements outside the tensor among them.
    pub fn bytes(&self) -> usize {
        self.row_count().saturating_mul(self.row_bytes())
    }

    /// Bytes of shared memory that it takes, with gaps.
    pub fn shared_bytes(&self) -> usize {
        self.row_count().saturating_mul(self.pitch())
    }

    /// The rows that lie within the tensor, wholly or in part, in order.
    pub fn rows(&self) -> Vec<Row> {
        let (row_bytes, element) = (self.row_bytes(), u64::from(self.map.data_type.bytes()));
        let (first, last) = self.inside();
        if first == last {
            return Vec::new();
        }
        let inner = u128::from(self.origin[0].max(0) as u64 * element);
        let bytes = (first * element) as usize..(last * element) as usize;
        let mut rows = Vec::new();
        let mut index = [0; 5];
        for number in 0..self.row_count() {
            if let Some(start) = self.row_address(&index) {
                let address = u64::try_from(start + inner).unwrap_or(NOWHERE).min(NOWHERE);
                let offset = number * row_bytes;
                rows.push(Row { bytes: offset + bytes.start..offset + bytes.end, address });
            }
            for (place, count) in index.iter_mut().zip(self.counts).skip(1) {
                *place += 1;
                if *place < count {
                    break;
                }
                *place = 0;
            }
        }
        rows
    }

    /// The elements of a row that lie within the tensor: from the first to before the second.
    fn inside(&self) -> (u64, u64) {
        let (count, origin) = (i64::from(self.counts[0]), self.origin[0]);
        let size = self.map.dims[0] as i64;
        let first = (-origin).clamp(0, count);
        let last = (size - origin).clamp(first, count);
        (first as u64, last as u64)
    }

    /// The address of a row's element 0; `None` for a row outside the tensor.
    fn row_address(&self, index: &[u32; 5]) -> Option<u128> {
        let mut address = u128::from(self.map.address);
        let map = self.map;
        let sizes = map.dims.iter().zip(&map.element_strides).skip(1).zip(&map.strides);
        let places = self.origin.iter().zip(index).skip(1);
        for (((size, step), stride), (origin, index)) in sizes.zip(places) {
            let place = origin + i64::from(*index) * i64::from(*step);
            let place = u64::try_from(place).ok().filter(|place| place < size)?;
            address += u128::from(place) * u128::from(*stride);
        }
        Some(address)
    }

    /// A tile as it is where nothing of it lies within the tensor.
    pub fn filled(&self) -> Vec<u8> {
        match self.map.fill {
            TensorFill::Zeros => vec![0; self.bytes()],
            TensorFill::Nan => {
                let nan = nan(self.map.data_type);
                nan.iter().copied().cycle().take(self.bytes()).collect()
            }
        }
    }

    /// Whether pieces lie in shared memory with gaps between rows.
    fn has_gaps(&self) -> bool {
        self.pitch() != self.row_bytes()
    }

    /// Where the bytes of the tile lie in shared memory from an address on, which is a multiple of 128: addresses, and
    /// bytes of the tile when [`Self::swizzle`] has been applied to it.
    pub fn places(&self, address: u64) -> Vec<(u64, Range<usize>)> {
        if !self.has_gaps() {
            return vec![(address, 0..self.bytes())];
        }
        let (row_bytes, pitch) = (self.row_bytes(), self.pitch());
        let piece = |offset: usize| {
            let place = address + (offset / row_bytes * pitch + offset % row_bytes) as u64;
            (self.map.swizzle.apply(place), offset..offset + PIECE)
        };
        (0..self.bytes()).step_by(PIECE).map(piece).collect()
    }

    /// Exchanges the pieces of a tile that lies, or is to lie, at an address of shared memory, where it lies without gaps. To
    /// do it twice is to do nothing.
    pub fn swizzle(&self, address: u64, bytes: &mut [u8]) {
        let Some(span) = self.map.swizzle.span().filter(|_| !self.has_gaps()) else { return };
        let span = span as usize;
        for (number, row) in bytes.chunks_exact_mut(span).enumerate() {
            let start = address + (number * span) as u64;
            exchange(row, (self.map.swizzle.apply(start) ^ start) as usize);
        }
    }
}

/// The step along a dimension. The one along dimension 0 only counts for interleaved layouts.
fn step(map: &TensorMap, dimension: usize) -> u32 {
    if dimension == 0 { 1 } else { map.element_strides[dimension] }
}

/// Exchanges the pieces of a row whose numbers differ by the bits of `flip`.
fn exchange(row: &mut [u8], flip: usize) {
    if flip == 0 {
        return;
    }
    for low in (0..row.len()).step_by(PIECE).filter(|low| *low < low ^ flip) {
        let (front, back) = row.split_at_mut(low ^ flip);
        front[low..low + PIECE].swap_with_slice(&mut back[..PIECE]);
    }
}

/// A NaN. Which one the hardware fills with is not documented.
fn nan(ty: TensorType) -> &'static [u8] {
    match ty.bytes() {
        8 => &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
        4 => &[0xff, 0xff, 0xff, 0x7f],
        _ => &[0xff, 0x7f],
    }
}
