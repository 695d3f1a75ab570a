//! Errors as a status and a message: nothing unwinds into the caller.

use std::any::Any;
use std::cell::RefCell;
use std::ffi::{CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};

use llama_kernels::{Error, Result};

thread_local! {
    /// The message of this thread's last failed call.
    static MESSAGE: RefCell<CString> = RefCell::default();
}

/// The statuses of `lk_status`.
const OK: i32 = 0;
const ARGUMENT: i32 = 1;
const UNSUPPORTED: i32 = 2;
const OUT_OF_MEMORY: i32 = 3;
const NO_DEVICE: i32 = 4;
const DRIVER: i32 = 5;
const PANIC: i32 = 6;

fn status(error: &Error) -> i32 {
    match error {
        Error::Argument { .. } => ARGUMENT,
        Error::Unsupported { .. } | Error::KernelsNotBuilt { .. } | Error::DriverTooOld { .. } => UNSUPPORTED,
        Error::OutOfMemory { .. } => OUT_OF_MEMORY,
        Error::NoDevice { .. } => NO_DEVICE,
        _ => DRIVER,
    }
}

/// Runs what a function of the interface does, and returns its status.
pub fn guarded(call: impl FnOnce() -> Result<()>) -> i32 {
    // What a panic left half done is this call's own, or behind a lock that says so.
    let (status, message) = match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(())) => return OK,
        Ok(Err(error)) => (status(&error), error.to_string()),
        Err(panic) => (PANIC, format!("a bug of this library: {}", panic_message(panic.as_ref()))),
    };
    let message = CString::new(message.replace('\0', " ")).unwrap_or_default();
    MESSAGE.with_borrow_mut(|last| *last = message);
    status
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic without a message")
}

/// The message of this thread's last failed call, until the next.
#[unsafe(no_mangle)]
pub extern "C" fn lk_error() -> *const c_char {
    MESSAGE.with_borrow(|last| last.as_ptr())
}
