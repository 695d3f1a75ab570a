//! NVIDIA's driver, through cudarc. Every call's result is checked, and the context is made current before a call that
//! needs one.

mod graph;

use std::ffi::{CStr, CString, c_void};
use std::ptr;
use std::sync::{Arc, Mutex, PoisonError};

use cudarc::driver::sys::{self, CUdevice_attribute as Attribute, CUfunction_attribute, CUjit_option};
use cudarc::driver::{CudaContext, CudaEvent, CudaStream, DriverError, result};

use super::cache::Cache;
use super::device::Device;
use super::installed::{self, DriverVersion, Properties, refused};
use super::launch::{Grid, MAX_ARGUMENTS};
use super::registry;
use super::tensor_map::{EncodeTensorMap, EncodedTensorMap, Swizzle, TensorMap, TensorMapType};
use crate::plan::Kernel;
use crate::{Error, Result};

pub(super) use graph::{Graph, Pinned};

/// Shared memory that every block may use without asking, static and dynamic together.
const SHARED_MEMORY_WITHOUT_OPT_IN: u32 = 48 << 10;

/// The first driver with cuEventElapsedTime_v2.
const TIMES_BY_V2: DriverVersion = DriverVersion { major: 12, minor: 8 };

/// Room for what the driver's compiler says of PTX that it refuses.
const COMPILER_LOG_BYTES: usize = 16 << 10;

/// A context, and the kernels loaded into it.
pub(super) struct Driver {
    context: Arc<CudaContext>,
    functions: Cache<Arc<Module>, Function>,
}

impl Driver {
    /// The primary context of a device, which it shares with everything in this process that uses the CUDA runtime.
    pub fn open(ordinal: usize) -> Result<Self> {
        // Not only a question: cudarc panics where there is no driver, this says so.
        let devices = installed::devices()?;
        if ordinal >= devices.len() {
            let reason = format!("the driver sees {} GPU(s), numbered from 0", devices.len());
            return Err(Error::NoDevice { device: format!("cuda:{ordinal}"), reason });
        }
        let context =
            CudaContext::new(ordinal).map_err(|error| refused("cuDevicePrimaryCtxRetain", error))?;
        Ok(Driver::of(context))
    }

    /// A host's context.
    pub fn adopt(context: Arc<CudaContext>) -> Result<Self> {
        installed::check_version(installed::driver_version()?, registry::cuda_version().ok())?;
        Ok(Driver::of(context))
    }

    fn of(context: Arc<CudaContext>) -> Self {
        Driver { context, functions: Cache::new() }
    }

    pub fn context(&self) -> &Arc<CudaContext> {
        &self.context
    }

    pub fn properties(&self) -> Result<Properties> {
        installed::properties(self.context.cu_device())
    }

    /// Bytes of the L2 cache, and bytes a second that the memory moves by its clock and bus; 0 where the driver does not
    /// say.
    pub fn memory_system(&self) -> Result<(usize, f64)> {
        let attribute = |attribute| {
            let value = self.context.attribute(attribute);
            value.map(i32::unsigned_abs).map_err(|error| refused("cuDeviceGetAttribute", error))
        };
        let l2 = attribute(Attribute::CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE)? as usize;
        let kilohertz = f64::from(attribute(Attribute::CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE)?);
        let bits = f64::from(attribute(Attribute::CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH)?);
        // Two transfers a clock.
        Ok((l2, 2.0 * 1e3 * kilohertz * bits / 8.0))
    }

    /// Bytes of the device's memory: free, and all.
    pub fn memory_bytes(&self) -> Result<(usize, usize)> {
        self.bind()?;
        result::mem_get_info().map_err(|error| refused("cuMemGetInfo", error))
    }

    /// The device's address on the PCI bus, `0000:1B:00.0`.
    pub fn pci_bus_id(&self) -> Result<String> {
        // Twelve characters and the NUL; room for longer domains.
        let mut text = [0; 32];
        // SAFETY: the driver writes at most as many bytes as it is told, a NUL included, to an array of that size.
        let status = unsafe {
            sys::cuDeviceGetPCIBusId(text.as_mut_ptr(), text.len() as i32, self.context.cu_device())
        };
        status.result().map_err(|error| refused("cuDeviceGetPCIBusId", error))?;
        let bytes = text.iter().map(|character| *character as u8).take_while(|byte| *byte != 0);
        Ok(bytes.map(char::from).collect())
    }

    /// Makes the context current on this thread. cudarc also reports here what a destructor before could not.
    fn bind(&self) -> Result<()> {
        self.context.bind_to_thread().map_err(|error| refused("cuCtxSetCurrent", error))
    }

    /// `bytes` are not 0.
    pub fn allocate(&self, bytes: usize) -> Result<u64> {
        self.bind()?;
        // SAFETY: the memory is handed out as an address alone; nobody takes it for initialised.
        match unsafe { result::malloc_sync(bytes) } {
            Err(DriverError(sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY)) => Err(Error::OutOfMemory { bytes }),
            other => other.map_err(|error| refused("cuMemAlloc", error)),
        }
    }

    /// # Safety
    /// `address` came from [`Driver::allocate`] and is not used any more.
    pub unsafe fn free(&self, address: u64) -> Result<()> {
        // Launches that still use the memory end first: freeing does not promise to wait for other streams.
        self.synchronize()?;
        // SAFETY: the caller's promise.
        unsafe { result::free_sync(address) }.map_err(|error| refused("cuMemFree", error))
    }

    /// Waits for all streams: the copies below run on the default stream, which ours do not wait for.
    pub fn synchronize(&self) -> Result<()> {
        self.context.synchronize().map_err(|error| refused("cuCtxSynchronize", error))
    }

    /// # Safety
    /// As many bytes as `bytes` has are allocated at `address`.
    pub unsafe fn write(&self, address: u64, bytes: &[u8]) -> Result<()> {
        self.synchronize()?;
        // SAFETY: the caller's promise; the call returns when the bytes have been read.
        unsafe { result::memcpy_htod_sync(address, bytes) }
            .map_err(|error| refused("cuMemcpyHtoD", error))?;
        // They may still be on their way from the driver's staging memory.
        self.synchronize()
    }

    /// # Safety
    /// As many bytes as `bytes` has are allocated at `address`.
    pub unsafe fn read(&self, address: u64, bytes: &mut [u8]) -> Result<()> {
        self.synchronize()?;
        // SAFETY: the caller's promise; the call returns when the bytes have been written.
        unsafe { result::memcpy_dtoh_sync(bytes, address) }.map_err(|error| refused("cuMemcpyDtoH", error))
    }

    /// # Safety
    /// `bytes` are allocated at `address`.
    pub unsafe fn fill(&self, address: u64, byte: u8, bytes: usize) -> Result<()> {
        self.synchronize()?;
        // SAFETY: the caller's promise.
        unsafe { result::memset_d8_sync(address, byte, bytes) }
            .map_err(|error| refused("cuMemsetD8", error))?;
        // Filling memory of the device returns before it is done.
        self.synchronize()
    }

    /// Loads `kernel`'s module unless it is loaded.
    pub fn function(&self, kernel: Kernel) -> Result<&Function> {
        let load = || {
            Device::refuse_other_architecture(kernel, &self.properties()?)?;
            let image = registry::fatbin(kernel)?;
            // SAFETY: the image is a fatbin that nvcc wrote; it carries its own length.
            unsafe { self.load(image.as_ptr().cast()) }
        };
        self.functions.get(kernel, load, |module| module.function(kernel.name()))
    }

    /// Compiles PTX for this device.
    pub fn load_ptx(&self, ptx: &str) -> Result<Arc<Module>> {
        let text = CString::new(ptx)
            .map_err(|error| Error::argument("load_ptx", "ptx", "text without a NUL character", error))?;
        // SAFETY: PTX is text that ends with NUL.
        unsafe { self.load(text.as_ptr().cast()) }
    }

    /// # Safety
    /// `image` is a whole fatbin, or PTX that ends with NUL.
    unsafe fn load(&self, image: *const c_void) -> Result<Arc<Module>> {
        self.bind()?;
        let mut log = vec![0u8; COMPILER_LOG_BYTES];
        let mut options =
            [CUjit_option::CU_JIT_ERROR_LOG_BUFFER, CUjit_option::CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES];
        // An option's value stands in the pointer itself.
        let mut values = [log.as_mut_ptr().cast(), ptr::without_provenance_mut(log.len())];
        let mut module = ptr::null_mut();
        // SAFETY: the image is the caller's promise; there are two options with two values, and the log is as long as its
        // option says and outlives the call.
        let status = unsafe {
            sys::cuModuleLoadDataEx(&mut module, image, 2, options.as_mut_ptr(), values.as_mut_ptr())
        };
        status.result().map_err(|error| {
            let text = CStr::from_bytes_until_nul(&log).unwrap_or_default().to_string_lossy();
            let text = text.trim();
            let separator = if text.is_empty() { "" } else { ": " };
            Error::Driver { call: "cuModuleLoadDataEx", reason: format!("{error}{separator}{text}") }
        })?;
        Ok(Arc::new(Module { context: Arc::clone(&self.context), module }))
    }

    pub fn new_stream(&self) -> Result<Arc<CudaStream>> {
        self.context.new_stream().map_err(|error| refused("cuStreamCreate", error))
    }

    pub fn new_event(&self) -> Result<CudaEvent> {
        // Bindings of CUDA 13 ask for the time by a symbol that came with 12.8, and panic where it is missing.
        let driver = installed::driver_version()?;
        if sys::CUDA_VERSION >= 13_000 && driver < TIMES_BY_V2 {
            return Err(Error::DriverTooOld {
                driver: driver.to_string(),
                needed: TIMES_BY_V2.to_string(),
                what: "measuring time".into(),
            });
        }
        // The default flags: with the time.
        self.context
            .new_event(Some(sys::CUevent_flags::CU_EVENT_DEFAULT))
            .map_err(|error| refused("cuEventCreate", error))
    }

    /// Waits for a stream of this context.
    pub fn wait(&self, stream: &CudaStream) -> Result<()> {
        self.bind()?;
        stream.synchronize().map_err(|error| refused("cuStreamSynchronize", error))
    }

    /// # Safety
    /// The arguments are those of the function, and what their addresses point to is allocated until the launch has ended.
    pub unsafe fn launch(
        &self,
        stream: &CudaStream,
        function: &Function,
        grid: &Grid,
        arguments: &[&[u8]],
    ) -> Result<()> {
        self.bind()?;
        function.allow_dynamic_shared(grid.dynamic_shared_bytes)?;
        let mut pointers = [ptr::null_mut(); MAX_ARGUMENTS];
        if arguments.len() > pointers.len() {
            return Err(Error::argument(
                "launch",
                "arguments",
                format!("at most {MAX_ARGUMENTS}"),
                arguments.len(),
            ));
        }
        for (pointer, argument) in pointers.iter_mut().zip(arguments) {
            *pointer = argument.as_ptr().cast_mut().cast();
        }
        let ([grid_x, grid_y, grid_z], [block_x, block_y, block_z]) = (grid.blocks, grid.threads);
        let config = sys::CUlaunchConfig {
            gridDimX: grid_x,
            gridDimY: grid_y,
            gridDimZ: grid_z,
            blockDimX: block_x,
            blockDimY: block_y,
            blockDimZ: block_z,
            sharedMemBytes: grid.dynamic_shared_bytes,
            hStream: stream.cu_stream(),
            attrs: ptr::null_mut(),
            numAttrs: 0,
        };
        // SAFETY: the function's module is loaded as long as the function exists; the arguments are the caller's promise,
        // and the driver copies them before it returns. It writes to none of them.
        let status = unsafe {
            sys::cuLaunchKernelEx(&config, function.function, pointers.as_mut_ptr(), ptr::null_mut())
        };
        status.result().map_err(|error| refused("cuLaunchKernelEx", error))
    }

    /// # Safety
    /// As many bytes as `bytes` has are allocated at `address` until the copy has ended, and `bytes` do not change until
    /// then.
    pub unsafe fn write_on(&self, stream: &CudaStream, address: u64, bytes: &[u8]) -> Result<()> {
        self.bind()?;
        // SAFETY: the caller's promise.
        unsafe { result::memcpy_htod_async(address, bytes, stream.cu_stream()) }
            .map_err(|error| refused("cuMemcpyHtoDAsync", error))
    }

    /// # Safety
    /// `bytes` are allocated at both addresses until the copy has ended.
    pub unsafe fn copy_on(&self, stream: &CudaStream, to: u64, from: u64, bytes: usize) -> Result<()> {
        self.bind()?;
        // SAFETY: the caller's promise.
        unsafe { result::memcpy_dtod_async(to, from, bytes, stream.cu_stream()) }
            .map_err(|error| refused("cuMemcpyDtoDAsync", error))
    }

    /// # Safety
    /// `bytes` are allocated at `address` until they have been filled.
    pub unsafe fn fill_on(&self, stream: &CudaStream, address: u64, byte: u8, bytes: usize) -> Result<()> {
        self.bind()?;
        // SAFETY: the caller's promise.
        unsafe { result::memset_d8_async(address, byte, bytes, stream.cu_stream()) }
            .map_err(|error| refused("cuMemsetD8Async", error))
    }
}

impl EncodeTensorMap for Driver {
    fn encode_tensor_map(&self, map: &TensorMap) -> Result<EncodedTensorMap> {
        self.bind()?;
        let mut encoded = sys::CUtensorMap { opaque: [0; 16] };
        // SAFETY: the lists are as long as the rank says, which `TensorMap::check` has found true, and the driver only reads
        // them. It writes 128 bytes at a multiple of 64, which `CUtensorMap` is.
        let status = unsafe {
            sys::cuTensorMapEncodeTiled(
                &mut encoded,
                data_type(map.element),
                map.dims.len() as u32,
                map.address as *mut c_void,
                map.dims.as_ptr(),
                map.strides.as_ptr(),
                map.tile.as_ptr(),
                map.steps.as_ptr(),
                sys::CUtensorMapInterleave::CU_TENSOR_MAP_INTERLEAVE_NONE,
                swizzle(map.swizzle),
                sys::CUtensorMapL2promotion::CU_TENSOR_MAP_L2_PROMOTION_L2_128B,
                if map.fills_nan {
                    sys::CUtensorMapFloatOOBfill::CU_TENSOR_MAP_FLOAT_OOB_FILL_NAN_REQUEST_ZERO_FMA
                } else {
                    sys::CUtensorMapFloatOOBfill::CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE
                },
            )
        };
        status.result().map_err(|error| refused("cuTensorMapEncodeTiled", error))?;
        Ok(EncodedTensorMap(encoded.opaque))
    }
}

fn data_type(element: TensorMapType) -> sys::CUtensorMapDataType {
    use TensorMapType::{Bf16, F16, F32, F64, S32, S64, U8, U16, U32, U64};
    use sys::CUtensorMapDataType::*;
    match element {
        U8 => CU_TENSOR_MAP_DATA_TYPE_UINT8,
        U16 => CU_TENSOR_MAP_DATA_TYPE_UINT16,
        U32 => CU_TENSOR_MAP_DATA_TYPE_UINT32,
        S32 => CU_TENSOR_MAP_DATA_TYPE_INT32,
        U64 => CU_TENSOR_MAP_DATA_TYPE_UINT64,
        S64 => CU_TENSOR_MAP_DATA_TYPE_INT64,
        F16 => CU_TENSOR_MAP_DATA_TYPE_FLOAT16,
        F32 => CU_TENSOR_MAP_DATA_TYPE_FLOAT32,
        F64 => CU_TENSOR_MAP_DATA_TYPE_FLOAT64,
        Bf16 => CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
    }
}

fn swizzle(swizzle: Swizzle) -> sys::CUtensorMapSwizzle {
    use sys::CUtensorMapSwizzle::*;
    match swizzle {
        Swizzle::None => CU_TENSOR_MAP_SWIZZLE_NONE,
        Swizzle::Bytes32 => CU_TENSOR_MAP_SWIZZLE_32B,
        Swizzle::Bytes64 => CU_TENSOR_MAP_SWIZZLE_64B,
        Swizzle::Bytes128 => CU_TENSOR_MAP_SWIZZLE_128B,
    }
}

/// A loaded module.
pub(super) struct Module {
    context: Arc<CudaContext>,
    module: sys::CUmodule,
}

// SAFETY: a module's handle belongs to its context and may be used from any thread; the driver's calls are thread-safe.
unsafe impl Send for Module {}
// SAFETY: as above.
unsafe impl Sync for Module {}

impl Module {
    pub fn function(self: &Arc<Self>, name: &str) -> Result<Function> {
        let text = CString::new(name)
            .map_err(|error| Error::argument("function", "name", "text without a NUL character", error))?;
        self.context.bind_to_thread().map_err(|error| refused("cuCtxSetCurrent", error))?;
        // SAFETY: the module is loaded as long as `self` exists.
        let function = unsafe { result::module::get_function(self.module, text) }.map_err(|error| {
            Error::Driver { call: "cuModuleGetFunction", reason: format!("{name}: {error}") }
        })?;
        // SAFETY: the function was found above.
        let declared = unsafe {
            result::function::get_function_attribute(
                function,
                CUfunction_attribute::CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES,
            )
        };
        let declared = declared.map_err(|error| refused("cuFuncGetAttribute", error))?.unsigned_abs();
        Ok(Function {
            function,
            allowed_dynamic_shared: Mutex::new(SHARED_MEMORY_WITHOUT_OPT_IN.saturating_sub(declared)),
            _module: Arc::clone(self),
        })
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        let unloaded = self.context.bind_to_thread().and_then(|()| {
            // SAFETY: the module was loaded by `Driver::load`, and no function of it is left: each holds an `Arc` of this.
            unsafe { result::module::unload(self.module) }
        });
        if let Err(error) = unloaded {
            log::warn!("cuModuleUnload: {error}");
        }
    }
}

/// A kernel of a loaded module.
pub(super) struct Function {
    function: sys::CUfunction,
    /// Dynamic shared memory that the driver lets it have so far.
    allowed_dynamic_shared: Mutex<u32>,
    _module: Arc<Module>,
}

// SAFETY: a function's handle belongs to its module and may be used from any thread; the driver's calls are thread-safe.
unsafe impl Send for Function {}
// SAFETY: as above.
unsafe impl Sync for Function {}

impl Function {
    /// Opts in to more than 48 KB; the context is current.
    fn allow_dynamic_shared(&self, bytes: u32) -> Result<()> {
        let mut allowed = self.allowed_dynamic_shared.lock().unwrap_or_else(PoisonError::into_inner);
        if bytes <= *allowed {
            return Ok(());
        }
        let value = i32::try_from(bytes)
            .map_err(|_| Error::argument("launch", "dynamic_shared_bytes", "fewer than 2^31", bytes))?;
        // SAFETY: the function's module is loaded as long as `self` exists.
        let set = unsafe {
            result::function::set_function_attribute(
                self.function,
                CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                value,
            )
        };
        set.map_err(|error| refused("cuFuncSetAttribute", error))?;
        *allowed = bytes;
        Ok(())
    }
}
