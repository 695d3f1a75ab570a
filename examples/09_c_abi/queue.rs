//! What comes in from C: a device's number, a stream's handle, tensors.

use std::collections::BTreeMap;
use std::ffi::c_void;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use llama_kernels::gpu::{Buffer, Device, Stream, TensorMut, TensorRef};
use llama_kernels::tensor::DType;
use llama_kernels::{Error, Result};

use super::types::{MAX_RANK, Tensor};

/// A device that C has opened.
pub struct Handle {
    pub device: Device,
    /// The stream that NULL stands for on a simulated GPU; on a CUDA GPU it is the legacy default stream.
    simulated_stream: Option<Stream>,
    /// By address.
    allocated: Mutex<BTreeMap<u64, Buffer>>,
}

/// Numbers and not pointers, so that a device that was closed is an error and not a crash; none is given twice.
static HANDLES: RwLock<BTreeMap<u64, Arc<Handle>>> = RwLock::new(BTreeMap::new());
static NEXT: AtomicU64 = AtomicU64::new(1);

/// Keeps a device until [`close`].
pub fn open(device: Device) -> Result<u64> {
    let simulated_stream = device.is_simulated().then(|| device.new_stream()).transpose()?;
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let handle = Handle { device, simulated_stream, allocated: Mutex::default() };
    HANDLES.write().unwrap_or_else(PoisonError::into_inner).insert(number, Arc::new(handle));
    Ok(number)
}

pub fn find(op: &'static str, number: u64) -> Result<Arc<Handle>> {
    let found = HANDLES.read().unwrap_or_else(PoisonError::into_inner).get(&number).cloned();
    found.ok_or_else(|| not_open(op, number))
}

pub fn close(number: u64) -> Result<()> {
    let closed = HANDLES.write().unwrap_or_else(PoisonError::into_inner).remove(&number);
    closed.map(drop).ok_or_else(|| not_open("close", number))
}

fn not_open(op: &'static str, number: u64) -> Error {
    Error::argument(op, "device", "a device that lk_open gave and that is not closed", number)
}

/// Refuses a pointer that C would have written through or read from.
pub fn check_pointer<T>(op: &'static str, arg: &'static str, pointer: *const T) -> Result<()> {
    if pointer.is_null() || !pointer.is_aligned() {
        let expected = format!("a pointer that is a multiple of {}", align_of::<T>());
        return Err(Error::argument(op, arg, expected, format!("{pointer:?}")));
    }
    Ok(())
}

impl Handle {
    pub fn allocated(&self) -> MutexGuard<'_, BTreeMap<u64, Buffer>> {
        self.allocated.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where an operation is queued.
pub struct Queue {
    op: &'static str,
    handle: Arc<Handle>,
    /// A CUDA stream by the handle that came in; else the simulated GPU's.
    borrowed: Option<Stream>,
}

impl Queue {
    /// # Safety
    /// On a CUDA GPU, `stream` is a stream of its primary context, or NULL, and lives until the call returns.
    pub unsafe fn new(op: &'static str, device: u64, stream: *mut c_void) -> Result<Self> {
        let handle = find(op, device)?;
        let borrowed = match handle.simulated_stream {
            // SAFETY: the caller's promise.
            None => Some(unsafe { Stream::from_raw(&handle.device, stream.cast()) }?),
            Some(_) if stream.is_null() => None,
            Some(_) => {
                let given = format!("{stream:?}");
                return Err(Error::argument(op, "stream", "NULL, as the device is simulated", given));
            }
        };
        Ok(Queue { op, handle, borrowed })
    }

    pub fn stream(&self) -> Result<&Stream> {
        let stream = self.borrowed.as_ref().or(self.handle.simulated_stream.as_ref());
        stream.ok_or_else(|| Error::argument(self.op, "stream", "a stream", "none"))
    }

    pub fn device(&self) -> &Device {
        &self.handle.device
    }

    /// A tensor to read.
    ///
    /// # Safety
    /// `tensor` is NULL or points to an initialised struct, whose elements are allocated on the device until what this call
    /// launches has ended.
    pub unsafe fn read(&self, arg: &'static str, tensor: *const Tensor) -> Result<TensorRef<'static>> {
        // SAFETY: the caller's promise.
        let tensor = unsafe { self.struct_of(arg, tensor) }?;
        let (dtype, shape, strides) = self.layout(arg, &tensor)?;
        let (rank, address) = (tensor.rank as usize, tensor.data.addr() as u64);
        // SAFETY: the caller's promise.
        unsafe { TensorRef::from_raw(&self.handle.device, address, dtype, &shape[..rank], &strides[..rank]) }
    }

    /// A tensor to write.
    ///
    /// # Safety
    /// As for [`Self::read`]; and nobody else uses the elements meanwhile.
    pub unsafe fn write(&self, arg: &'static str, tensor: *const Tensor) -> Result<TensorMut<'static>> {
        // SAFETY: the caller's promise.
        let tensor = unsafe { self.struct_of(arg, tensor) }?;
        let (dtype, shape, strides) = self.layout(arg, &tensor)?;
        let (rank, address) = (tensor.rank as usize, tensor.data.addr() as u64);
        // SAFETY: the caller's promise.
        unsafe { TensorMut::from_raw(&self.handle.device, address, dtype, &shape[..rank], &strides[..rank]) }
    }

    /// [`Self::write`] of a tensor that may be left out.
    ///
    /// # Safety
    /// As for [`Self::write`].
    pub unsafe fn write_optional(
        &self,
        arg: &'static str,
        tensor: *const Tensor,
    ) -> Result<Option<TensorMut<'static>>> {
        // SAFETY: the caller's promise.
        (!tensor.is_null()).then(|| unsafe { self.write(arg, tensor) }).transpose()
    }

    /// [`Self::read`] of a tensor that may be left out.
    ///
    /// # Safety
    /// As for [`Self::read`].
    pub unsafe fn read_optional(
        &self,
        arg: &'static str,
        tensor: *const Tensor,
    ) -> Result<Option<TensorRef<'static>>> {
        // SAFETY: the caller's promise.
        (!tensor.is_null()).then(|| unsafe { self.read(arg, tensor) }).transpose()
    }

    /// Copies a struct that C points to.
    ///
    /// # Safety
    /// `pointer` is NULL or misaligned, or points to an initialised struct.
    pub unsafe fn struct_of<T: Copy>(&self, arg: &'static str, pointer: *const T) -> Result<T> {
        check_pointer(self.op, arg, pointer)?;
        // SAFETY: it is aligned and not NULL; the rest is the caller's promise.
        Ok(unsafe { pointer.read() })
    }

    /// Type, shape and strides, all of the range that the library takes.
    fn layout(
        &self,
        arg: &'static str,
        tensor: &Tensor,
    ) -> Result<(DType, [usize; MAX_RANK], [usize; MAX_RANK])> {
        let error = |expected: &str, given: String| Error::argument(self.op, arg, expected, given);
        let dtype = match tensor.dtype {
            0 => DType::BF16,
            1 => DType::F16,
            2 => DType::F32,
            3 => DType::I32,
            4 => DType::I64,
            5 => DType::U32,
            6 => DType::U8,
            7 => DType::F8E4M3,
            other => return Err(error("a dtype of enum lk_dtype", other.to_string())),
        };
        let rank = usize::try_from(tensor.rank).ok().filter(|rank| *rank <= MAX_RANK);
        let rank = rank.ok_or_else(|| error("a rank from 0 to 4", tensor.rank.to_string()))?;
        let (mut shape, mut strides) = ([0; MAX_RANK], [0; MAX_RANK]);
        for i in 0..rank {
            let size = |number: i64| usize::try_from(number).ok();
            let sizes = size(tensor.shape[i]).zip(size(tensor.strides[i]));
            (shape[i], strides[i]) = sizes.ok_or_else(|| {
                let given = format!("{:?} and {:?}", &tensor.shape[..rank], &tensor.strides[..rank]);
                error("a shape and strides that are not negative", given)
            })?;
        }
        if tensor.data.is_null() && !shape[..rank].contains(&0) {
            return Err(error("the address of its elements", "NULL".into()));
        }
        Ok((dtype, shape, strides))
    }
}
