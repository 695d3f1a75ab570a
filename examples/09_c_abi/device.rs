//! Devices and their memory.

use std::ffi::{CStr, CString, c_char, c_void};
use std::slice;
use std::sync::LazyLock;

use llama_kernels::device::DeviceChoice;
use llama_kernels::gpu::{Buffer, Device, registry};
use llama_kernels::{Error, Result};

use super::error::guarded;
use super::queue::{self, Queue, check_pointer};
use super::types::{NAME_BYTES, Properties};

static VERSION: LazyLock<CString> = LazyLock::new(|| text(env!("CARGO_PKG_VERSION")));
static COMMIT: LazyLock<CString> =
    LazyLock::new(|| text(option_env!("LLAMA_KERNELS_COMMIT").unwrap_or("unknown")));

fn text(text: &str) -> CString {
    CString::new(text).unwrap_or_default()
}

#[unsafe(no_mangle)]
pub extern "C" fn lk_version() -> *const c_char {
    VERSION.as_ptr()
}

#[unsafe(no_mangle)]
pub extern "C" fn lk_commit() -> *const c_char {
    COMMIT.as_ptr()
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lk_open(name: *const c_char, device: *mut u64) -> i32 {
    guarded(|| {
        check_pointer("open", "name", name)?;
        check_pointer("open", "device", device)?;
        // SAFETY: the caller's promise: a text that ends with 0.
        let name = unsafe { CStr::from_ptr(name) }.to_string_lossy();
        let choice: DeviceChoice =
            name.parse().map_err(|expected| Error::argument("open", "name", expected, &name))?;
        let opened = queue::open(Device::open(choice)?)?;
        // SAFETY: the pointer is aligned and not NULL; the caller promises that it may be written through.
        unsafe { device.write(opened) };
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn lk_close(device: u64) -> i32 {
    guarded(|| queue::close(device))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lk_get_properties(device: u64, properties: *mut Properties) -> i32 {
    guarded(|| {
        check_pointer("get_properties", "properties", properties)?;
        let handle = queue::find("get_properties", device)?;
        let found = handle.device.properties();
        let mut name = [0; NAME_BYTES];
        // The last byte stays 0.
        for (place, byte) in name[..NAME_BYTES - 1].iter_mut().zip(found.name.bytes()) {
            *place = byte as c_char;
        }
        let (l2_bytes, memory_bytes_per_second) = handle.device.memory_system().unwrap_or_default();
        let (cuda_major, cuda_minor) = registry::cuda_version()?;
        let (major, minor) = found.compute_capability;
        let found = Properties {
            name,
            simulated: i32::from(handle.device.is_simulated()),
            compute_capability_major: major as i32,
            compute_capability_minor: minor as i32,
            num_sms: found.num_sms,
            memory_bytes: handle.device.memory_bytes().map_or(0, |bytes| bytes.total),
            l2_bytes: l2_bytes as u64,
            memory_bytes_per_second,
            kernels_cuda_major: cuda_major as i32,
            kernels_cuda_minor: cuda_minor as i32,
        };
        // SAFETY: the pointer is aligned and not NULL; the caller promises that it may be written through.
        unsafe { properties.write(found) };
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lk_synchronize(device: u64, stream: *mut c_void) -> i32 {
    // SAFETY: the caller's promise.
    guarded(|| unsafe { Queue::new("synchronize", device, stream) }?.stream()?.synchronize())
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lk_allocate(device: u64, bytes: u64, address: *mut *mut c_void) -> i32 {
    guarded(|| {
        check_pointer("allocate", "address", address)?;
        let handle = queue::find("allocate", device)?;
        let bytes = usize::try_from(bytes).map_err(|_| Error::OutOfMemory { bytes: usize::MAX })?;
        let buffer = handle.device.allocate(bytes)?;
        let start = buffer.address();
        if bytes > 0 {
            handle.allocated().insert(start, buffer);
        }
        // SAFETY: the pointer is aligned and not NULL; the caller promises that it may be written through.
        unsafe { address.write(start as *mut c_void) };
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn lk_free(device: u64, address: *mut c_void) -> i32 {
    guarded(|| {
        let handle = queue::find("free", device)?;
        if address.is_null() {
            return Ok(());
        }
        let freed = handle.allocated().remove(&(address.addr() as u64));
        freed.map(drop).ok_or_else(|| not_allocated("free", address))
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lk_write(device: u64, to: *mut c_void, from: *const c_void, bytes: u64) -> i32 {
    guarded(|| {
        on_part("write", device, to, bytes, |buffer, offset, bytes| {
            check_pointer("write", "from", from.cast::<u8>())?;
            // SAFETY: the caller promises that so many bytes are there, which the device's memory has, too.
            buffer.write(offset, unsafe { slice::from_raw_parts(from.cast(), bytes) })
        })
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lk_read(device: u64, to: *mut c_void, from: *const c_void, bytes: u64) -> i32 {
    guarded(|| {
        on_part("read", device, from.cast_mut(), bytes, |buffer, offset, bytes| {
            check_pointer("read", "to", to.cast::<u8>())?;
            // SAFETY: the caller promises that so many bytes may be written, as many as the device's memory has.
            buffer.read(offset, unsafe { slice::from_raw_parts_mut(to.cast(), bytes) })
        })
    })
}

/// Does something with `bytes` bytes from `address` on, which lie in one allocation of [`lk_allocate`].
fn on_part(
    op: &'static str,
    device: u64,
    address: *mut c_void,
    bytes: u64,
    act: impl FnOnce(&mut Buffer, usize, usize) -> Result<()>,
) -> Result<()> {
    let handle = queue::find(op, device)?;
    if bytes == 0 {
        return Ok(());
    }
    let start = address.addr() as u64;
    let mut allocated = handle.allocated();
    let found = allocated.range_mut(..=start).next_back().map(|(_, buffer)| buffer);
    let buffer = found.ok_or_else(|| not_allocated(op, address))?;
    let offset = start - buffer.address();
    if offset.checked_add(bytes).is_none_or(|end| end > buffer.len() as u64) {
        let given = format!("{bytes} bytes at {address:?}");
        return Err(Error::argument(op, "bytes", format!("a part of {buffer:?}"), given));
    }
    act(buffer, offset as usize, bytes as usize)
}

fn not_allocated(op: &'static str, address: *mut c_void) -> Error {
    Error::argument(op, "address", "memory that lk_allocate gave for this device", format!("{address:?}"))
}
