//! The library's one error type. Every message names the operation or file, the argument, what was expected and what
//! was given.

use std::path::{Path, PathBuf};

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong in this library. Nothing here panics, aborts or exits in its stead.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An argument of an operation is wrong; nothing was launched or written.
    #[error("{op}: {arg}: expected {expected}, got {given}")]
    Argument {
        /// The operation, by its name in `ops`.
        op: &'static str,
        /// The argument.
        arg: &'static str,
        /// What the contract asks for.
        expected: String,
        /// What came.
        given: String,
    },
    /// A file of a model folder does not hold what its format or another file says.
    #[error("{}: {what}: {problem}", file.display())]
    Malformed {
        /// The file at fault.
        file: PathBuf,
        /// The tensor, key or part of the file.
        what: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The operating system refused a file operation.
    #[error("{}: {source}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Something that exists, but that this library or this device does not support.
    #[error("{what} is not supported: {reason}")]
    Unsupported {
        /// The feature asked for.
        what: String,
        /// Why not, and what to do instead.
        reason: String,
    },
    /// The device has no room for an allocation.
    #[error("{bytes} bytes of memory could not be allocated")]
    OutOfMemory {
        /// Size of the allocation.
        bytes: usize,
    },
    /// A sequence would grow beyond the model's context; nothing was truncated.
    #[error("{tokens} tokens do not fit the model's context of {context} tokens")]
    ContextTooLong {
        /// Tokens that the sequence would have.
        tokens: usize,
        /// Tokens that the model was made for.
        context: usize,
    },
    /// The paged KV cache has no room; no sequence lost anything.
    #[error("KV cache: {needed} more pages of {page_size} tokens are needed, {free} are free")]
    CacheFull {
        /// Pages that the request needs.
        needed: usize,
        /// Pages that are free.
        free: usize,
        /// Tokens a page.
        page_size: usize,
    },
    /// The crate was built without its CUDA kernels.
    #[error(
        "the CUDA kernels were not built ({reason}); install them with `cargo xtask setup` or set NVCC or CUDA_HOME to \
         a CUDA toolkit of version 12.0 or newer, then build again with the feature `kernels`"
    )]
    KernelsNotBuilt {
        /// Why the build script made a stub.
        reason: &'static str,
    },
    /// The driver is older than the kernels need.
    #[error("the NVIDIA driver supports CUDA {driver}; {what} needs CUDA {needed}: install a newer driver")]
    DriverTooOld {
        /// CUDA version of the driver, `major.minor`.
        driver: String,
        /// CUDA version that is needed, `major.minor`.
        needed: String,
        /// What needs it.
        what: String,
    },
    /// A kernel found data on the device out of range: it took what is nearest, or nothing, and went on.
    #[error("on the device: {what}")]
    DeviceData {
        /// What was out of range, and what was taken for it.
        what: String,
    },
    /// There is no such device on this machine.
    #[error("device {device}: {reason}")]
    NoDevice {
        /// The device asked for.
        device: String,
        /// What was looked for and not found.
        reason: String,
    },
    /// The CUDA driver refused a call.
    #[error("{call}: {reason}")]
    Driver {
        /// The call.
        call: &'static str,
        /// The driver's reason.
        reason: String,
    },
    /// The simulated GPU found that a kernel breaks a rule, or refused a call.
    #[cfg(feature = "sim")]
    #[error("simulated GPU: {call}: {reason}")]
    Simulated {
        /// The call that reports it; a launch is carried out, and judged, when its stream is waited for.
        call: &'static str,
        /// What was broken, where, and by which thread.
        reason: Box<ptx_sim::Error>,
    },
}

impl Error {
    /// A wrong argument of operation `op`.
    pub fn argument(
        op: &'static str,
        arg: &'static str,
        expected: impl std::fmt::Display,
        given: impl std::fmt::Display,
    ) -> Self {
        Error::Argument { op, arg, expected: expected.to_string(), given: given.to_string() }
    }

    /// A malformed file: the file, the part of it, and what is wrong.
    pub fn malformed(file: impl AsRef<Path>, what: impl Into<String>, problem: impl Into<String>) -> Self {
        Error::Malformed { file: file.as_ref().to_path_buf(), what: what.into(), problem: problem.into() }
    }

    /// A file operation that the system refused.
    pub fn io(file: impl AsRef<Path>, source: std::io::Error) -> Self {
        Error::Io { file: file.as_ref().to_path_buf(), source }
    }

    /// Something that this library or device does not do.
    pub fn unsupported(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Error::Unsupported { what: what.into(), reason: reason.into() }
    }
}

/// Engines pass errors between threads and keep them.
const _: fn() = || {
    fn is_portable<E: std::error::Error + Send + Sync + 'static>() {}
    is_portable::<Error>();
};
