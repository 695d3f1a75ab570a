//! What operations check of their arguments.

mod strided;

pub(super) use strided::{Dim, Span, Strided};

use crate::gpu::{Stream, TensorMut, TensorRef};
use crate::params::FP8_GROUP_COLUMNS;
use crate::plan::{KernelParams, Plan};
use crate::tensor::DType;
use crate::{Error, Result};

/// Rows start at multiples of this: kernels load and store so many bytes at once.
const ROW_ALIGN: u64 = 16;
/// Counters and partial sums in a workspace start at multiples of this.
const WORKSPACE_ALIGN: u64 = 256;
/// Rows of e4m3 codes start at multiples of this: a thread makes those of one 16-byte vector.
const CODES_ALIGN: u64 = 8;

/// The arguments of one operation.
#[derive(Clone, Copy)]
pub(super) struct Args<'a> {
    pub op: &'static str,
    pub stream: &'a Stream,
}

/// A matrix of rows that a kernel may read or write in vectors.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rows {
    arg: &'static str,
    pub address: u64,
    pub count: usize,
    pub width: usize,
    /// Elements from one row to the next.
    pub stride: i64,
    row_bytes: u64,
    stride_bytes: u64,
}

impl Args<'_> {
    pub fn error(
        &self,
        arg: &'static str,
        expected: impl std::fmt::Display,
        given: impl std::fmt::Display,
    ) -> Error {
        Error::argument(self.op, arg, expected, given)
    }

    /// Launches what was planned, and shows the plan where the user asked for plans.
    ///
    /// # Safety
    /// As for [`Stream::launch`].
    pub unsafe fn launch<P: KernelParams>(&self, plan: &Plan, params: &P) -> Result<()> {
        plan.show();
        // SAFETY: the caller's promise.
        unsafe { self.stream.launch(&plan.launch, params) }
    }

    pub fn check_device(&self, arg: &'static str, tensor: &TensorRef<'_>) -> Result<()> {
        if tensor.device() == self.stream.device().id() {
            return Ok(());
        }
        Err(self.error(arg, format!("memory of {:?}", self.stream.device()), "memory of another device"))
    }

    pub fn check_dtype(&self, arg: &'static str, given: DType, expected: DType) -> Result<()> {
        if given == expected { Ok(()) } else { Err(self.error(arg, expected, given)) }
    }

    /// The type of a cache of keys and values: that of the activations, or e4m3.
    pub fn cache_dtype(&self, arg: &'static str, cache: &TensorRef<'_>, dtype: DType) -> Result<DType> {
        match cache.dtype() {
            given if given == dtype || given == DType::F8E4M3 => Ok(given),
            given => Err(self.error(arg, format!("{dtype} or {}", DType::F8E4M3), given)),
        }
    }

    /// What a number that is stored in such a cache times is the number.
    pub fn check_cache_scale(&self, arg: &'static str, scale: f32, cache_dtype: DType) -> Result<()> {
        if cache_dtype != DType::F8E4M3 && scale != 1.0 {
            return Err(self.error(arg, format!("1 for a cache in {cache_dtype}"), scale));
        }
        if !(scale.is_finite() && scale > 0.0) {
            return Err(self.error(arg, "a finite scale above 0", scale));
        }
        Ok(())
    }

    /// `[rows, width]` of any 16-bit type; `rows` and `width` are checked where they are given.
    pub fn matrix(
        &self,
        arg: &'static str,
        tensor: &TensorRef<'_>,
        rows: Option<usize>,
        width: Option<usize>,
    ) -> Result<Rows> {
        self.shaped_matrix(arg, tensor, rows, width)?;
        self.check_16_bit(arg, tensor)?;
        self.rows(arg, tensor, ROW_ALIGN)
    }

    /// e4m3 `[rows, width]`.
    pub fn codes(&self, arg: &'static str, tensor: &TensorRef<'_>, shape: [usize; 2]) -> Result<Rows> {
        self.shaped_matrix(arg, tensor, Some(shape[0]), Some(shape[1]))?;
        self.check_dtype(arg, tensor.dtype(), DType::F8E4M3)?;
        self.rows(arg, tensor, CODES_ALIGN)
    }

    /// e4m3 `[rows, width]` of any shape, whose rows a kernel loads in vectors.
    pub fn codes_to_read(&self, arg: &'static str, tensor: &TensorRef<'_>) -> Result<Rows> {
        self.shaped_matrix(arg, tensor, None, None)?;
        self.check_dtype(arg, tensor.dtype(), DType::F8E4M3)?;
        self.rows(arg, tensor, ROW_ALIGN)
    }

    /// f32 `[rows, width]` of any shape.
    pub fn scales_to_read(&self, arg: &'static str, tensor: &TensorRef<'_>) -> Result<Rows> {
        self.shaped_matrix(arg, tensor, None, None)?;
        self.check_dtype(arg, tensor.dtype(), DType::F32)?;
        self.rows(arg, tensor, size_of::<f32>() as u64)
    }

    /// The scales of e4m3 codes `[rows, width]`: f32 `[rows, groups]`, one a row or one for each 128 columns.
    pub fn scales(
        &self,
        arg: &'static str,
        tensor: &TensorRef<'_>,
        [rows, width]: [usize; 2],
    ) -> Result<Rows> {
        self.check_device(arg, tensor)?;
        self.check_dtype(arg, tensor.dtype(), DType::F32)?;
        let columns = FP8_GROUP_COLUMNS as usize;
        let per_group = (width > columns && width.is_multiple_of(columns)).then(|| [rows, width / columns]);
        if tensor.shape() != [rows, 1] && per_group.is_none_or(|shape| tensor.shape() != shape) {
            let or = per_group.map_or(String::new(), |shape| format!(" or {shape:?}"));
            let expected = format!("shape [{rows}, 1]{or}");
            return Err(self.error(arg, expected, format!("{:?}", tensor.layout())));
        }
        self.rows(arg, tensor, size_of::<f32>() as u64)
    }

    /// [`Self::matrix`] of `dtype` or f32.
    pub fn matrix_or_f32(
        &self,
        arg: &'static str,
        tensor: &TensorRef<'_>,
        dtype: DType,
        shape: [usize; 2],
    ) -> Result<Rows> {
        self.shaped_matrix(arg, tensor, Some(shape[0]), Some(shape[1]))?;
        if tensor.dtype() != dtype && tensor.dtype() != DType::F32 {
            return Err(self.error(arg, format!("{dtype} or f32"), tensor.dtype()));
        }
        self.rows(arg, tensor, ROW_ALIGN)
    }

    fn shaped_matrix(
        &self,
        arg: &'static str,
        tensor: &TensorRef<'_>,
        rows: Option<usize>,
        width: Option<usize>,
    ) -> Result<()> {
        self.check_device(arg, tensor)?;
        let text = |size: Option<usize>, name: &str| size.map_or(name.to_string(), |size| size.to_string());
        let expected = || format!("shape [{}, {}]", text(rows, "num_tokens"), text(width, "width"));
        let &[count, given_width] = tensor.shape() else {
            return Err(self.error(arg, expected(), format!("{:?}", tensor.layout())));
        };
        if rows.is_some_and(|rows| rows != count) || width.is_some_and(|width| width != given_width) {
            return Err(self.error(arg, expected(), format!("{:?}", tensor.layout())));
        }
        Ok(())
    }

    /// `[width]`, as one row.
    pub fn vector(&self, arg: &'static str, tensor: &TensorRef<'_>, width: usize) -> Result<Rows> {
        self.check_device(arg, tensor)?;
        if tensor.shape() != [width] {
            return Err(self.error(arg, format!("shape [{width}]"), format!("{:?}", tensor.layout())));
        }
        self.check_16_bit(arg, tensor)?;
        self.rows(arg, tensor, ROW_ALIGN)
    }

    fn check_16_bit(&self, arg: &'static str, tensor: &TensorRef<'_>) -> Result<()> {
        if !matches!(tensor.dtype(), DType::BF16 | DType::F16) {
            return Err(self.error(arg, "bf16 or f16", tensor.dtype()));
        }
        Ok(())
    }

    /// The rows of a matrix, or a vector as one row, which start at multiples of `align` bytes.
    fn rows(&self, arg: &'static str, tensor: &TensorRef<'_>, align: u64) -> Result<Rows> {
        let (count, width, stride) = match (tensor.shape(), tensor.layout().strides()) {
            (&[count, width], &[stride, _]) => (count, width, stride),
            (shape, _) => (1, shape.iter().product(), 0),
        };
        let inner = tensor.layout().strides().last().copied().unwrap_or(1);
        if width > 1 && inner != 1 {
            return Err(self.error(arg, "a last stride of 1", inner));
        }
        // The stride of a single row is never used.
        let stride = if count > 1 { stride } else { 0 };
        if !tensor.address().is_multiple_of(align) {
            let given = format!("{:#x}", tensor.address());
            return Err(self.error(arg, format!("an address that is a multiple of {align} bytes"), given));
        }
        let size = tensor.dtype().size() as u64;
        let vector = align / size.max(1);
        if !(stride as u64).is_multiple_of(vector) {
            let expected = format!("a row stride that is a multiple of {vector} elements");
            return Err(self.error(arg, expected, stride));
        }
        let elements = i64::try_from(stride).map_err(|_| self.error(arg, "a stride below 2^63", stride))?;
        Ok(Rows {
            arg,
            address: tensor.address(),
            count,
            width,
            stride: elements,
            row_bytes: width as u64 * size,
            stride_bytes: stride as u64 * size,
        })
    }

    /// `[len]` elements of `dtype` without gaps, and their address.
    pub fn list(
        &self,
        arg: &'static str,
        tensor: &TensorRef<'_>,
        dtype: DType,
        len: Option<usize>,
    ) -> Result<Rows> {
        self.check_device(arg, tensor)?;
        self.check_dtype(arg, tensor.dtype(), dtype)?;
        let &[given] = tensor.shape() else {
            return Err(self.error(arg, "one dimension", format!("{:?}", tensor.layout())));
        };
        if let Some(len) = len.filter(|&len| len != given) {
            return Err(self.error(arg, format!("shape [{len}]"), format!("{:?}", tensor.layout())));
        }
        if !tensor.layout().is_contiguous() {
            return Err(self.error(arg, "contiguous elements", format!("{:?}", tensor.layout())));
        }
        let size = dtype.size() as u64;
        if !tensor.address().is_multiple_of(size) {
            let given = format!("{:#x}", tensor.address());
            return Err(self.error(arg, format!("an address that is a multiple of {size} bytes"), given));
        }
        Ok(Rows {
            arg,
            address: tensor.address(),
            count: 1,
            width: given,
            stride: 0,
            row_bytes: given as u64 * size,
            stride_bytes: 0,
        })
    }

    /// [`Self::list`] that a kernel reads 16 bytes at a time.
    pub fn vectors(
        &self,
        arg: &'static str,
        tensor: &TensorRef<'_>,
        dtype: DType,
        len: Option<usize>,
    ) -> Result<Rows> {
        let list = self.list(arg, tensor, dtype, len)?;
        if !list.address.is_multiple_of(ROW_ALIGN) {
            let given = format!("{:#x}", list.address);
            return Err(self.error(
                arg,
                format!("an address that is a multiple of {ROW_ALIGN} bytes"),
                given,
            ));
        }
        Ok(list)
    }

    /// Elements without gaps, at a multiple of `align` bytes, as one row.
    pub fn array(&self, arg: &'static str, tensor: &TensorRef<'_>, align: u64) -> Result<Rows> {
        self.check_device(arg, tensor)?;
        if !tensor.layout().is_contiguous() {
            return Err(self.error(arg, "contiguous elements", format!("{:?}", tensor.layout())));
        }
        if !tensor.address().is_multiple_of(align) {
            let given = format!("{:#x}", tensor.address());
            return Err(self.error(arg, format!("an address that is a multiple of {align} bytes"), given));
        }
        let width = tensor.shape().iter().product();
        Ok(Rows {
            arg,
            address: tensor.address(),
            count: 1,
            width,
            stride: 0,
            row_bytes: (width * tensor.dtype().size()) as u64,
            stride_bytes: 0,
        })
    }

    /// A workspace, u8 `[bytes]`, if there is one.
    pub fn workspace(&self, workspace: Option<&TensorMut<'_>>) -> Result<Option<Rows>> {
        let Some(workspace) = workspace.map(TensorMut::as_ref) else { return Ok(None) };
        self.check_dtype("workspace", workspace.dtype(), DType::U8)?;
        let align = if workspace.shape().contains(&0) { 1 } else { WORKSPACE_ALIGN };
        self.array("workspace", &workspace, align).map(Some)
    }

    /// Refuses rows to write that overlap each other.
    pub fn check_apart(&self, written: Rows) -> Result<()> {
        if written.count > 1 && written.stride_bytes < written.row_bytes {
            let given = format!("a stride of {} elements", written.stride);
            return Err(self.error(
                written.arg,
                format!("rows that do not overlap: {} elements", written.width),
                given,
            ));
        }
        Ok(())
    }

    /// Refuses rows to write that share memory with an argument.
    pub fn check_disjoint(&self, written: Rows, other: Rows) -> Result<()> {
        if !overlap(written, other) {
            return Ok(());
        }
        let given = format!("{:#x} and {:#x}", written.address, other.address);
        Err(self.error(written.arg, format!("memory apart from {}", other.arg), given))
    }

    /// Refuses rows to write that share memory with an argument, unless both are the same rows.
    pub fn check_disjoint_or_same(&self, written: Rows, other: Rows) -> Result<()> {
        if written.address == other.address && written.stride == other.stride {
            return Ok(());
        }
        self.check_disjoint(written, other)
    }
}

impl Rows {
    /// Addresses from the first byte to behind the last.
    fn range(self) -> std::ops::Range<u64> {
        if self.count == 0 || self.row_bytes == 0 {
            return self.address..self.address;
        }
        self.address..self.address + (self.count as u64 - 1) * self.stride_bytes + self.row_bytes
    }
}

/// Whether two matrices share memory. Two that interleave with one stride (parts of one fused tensor) are told apart row by
/// row; with different strides, interleaving counts as sharing.
fn overlap(a: Rows, b: Rows) -> bool {
    let (range_a, range_b) = (a.range(), b.range());
    if range_a.is_empty()
        || range_b.is_empty()
        || range_a.start >= range_b.end
        || range_b.start >= range_a.end
    {
        return false;
    }
    // A single row lies in whichever gap there is, whatever the other's stride.
    let stride = match (a.count, b.count) {
        (1, 1) => return true,
        (1, _) => b.stride_bytes,
        (_, 1) => a.stride_bytes,
        _ if a.stride_bytes == b.stride_bytes => a.stride_bytes,
        _ => return true,
    };
    if stride == 0 {
        return true;
    }
    let (first, second) = if range_a.start <= range_b.start { (a, b) } else { (b, a) };
    let distance = (second.address - first.address) % stride;
    distance < first.row_bytes || stride - distance < second.row_bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of `width` bytes at `address`, `stride` bytes apart.
    fn rows(address: u64, count: usize, width: u64, stride: u64) -> Rows {
        Rows {
            arg: "x",
            address,
            count,
            width: width as usize / 2,
            stride: stride as i64 / 2,
            row_bytes: width,
            stride_bytes: stride,
        }
    }

    #[test]
    fn shared_memory_is_found_byte_for_byte() {
        let bytes = |rows: Rows| -> Vec<u64> {
            let row = |i: u64| {
                let start = rows.address + i * rows.stride_bytes;
                start..start + rows.row_bytes
            };
            (0..rows.count as u64).flat_map(row).collect()
        };
        let mut shared = 0;
        for (count_a, count_b, width_a, width_b) in
            [(1, 1, 4, 4), (3, 3, 4, 4), (3, 3, 4, 2), (1, 3, 4, 2), (3, 1, 2, 8), (2, 3, 6, 2), (3, 0, 4, 4)]
        {
            for address in 84..132 {
                let stride = |count| if count > 1 { 10 } else { 0 };
                let a = rows(100, count_a, width_a, stride(count_a));
                let b = rows(address, count_b, width_b, stride(count_b));
                let expected = bytes(a).iter().any(|byte| bytes(b).contains(byte));
                assert_eq!(overlap(a, b), expected, "{a:?} {b:?}");
                assert_eq!(overlap(b, a), expected, "{b:?} {a:?}");
                shared += usize::from(expected);
            }
        }
        assert!(shared > 50, "{shared}");
        // A row that all rows share, and strides that differ.
        assert!(overlap(rows(100, 3, 4, 0), rows(102, 1, 4, 0)));
        assert!(overlap(rows(100, 3, 4, 16), rows(104, 3, 4, 12)));
        assert!(!overlap(rows(100, 3, 4, 16), rows(200, 3, 4, 12)));
    }
}
