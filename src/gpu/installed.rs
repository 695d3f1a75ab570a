//! Which NVIDIA devices there are, without a panic where there is no driver.

use std::error::Error as _;
use std::fmt;

use cudarc::driver::sys::{self, CUdevice_attribute as Attribute};
use cudarc::driver::{DriverError, result};

use super::registry;
use crate::plan::Limits;
use crate::{Error, Result};

/// The driver's library. cudarc panics where it is missing, so it is looked for first, under the names that cudarc
/// tries.
#[cfg(not(windows))]
const DRIVER_LIBRARIES: &[&str] = &["libcuda.so", "libcuda.so.1"];
#[cfg(windows)]
const DRIVER_LIBRARIES: &[&str] = &["nvcuda.dll"];

/// The oldest CUDA that has the driver calls which launches use.
const OLDEST_DRIVER: DriverVersion = DriverVersion { major: 12, minor: 0 };

/// The CUDA version that a driver supports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DriverVersion {
    /// Machine code of one major version runs on every driver of it.
    pub major: u32,
    /// PTX needs a driver that is at least as new as its compiler.
    pub minor: u32,
}

impl fmt::Display for DriverVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// What a device is, real or simulated.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Properties {
    /// What NVIDIA calls it.
    pub name: String,
    /// Compute capability, major and minor.
    pub compute_capability: (u32, u32),
    /// Streaming multiprocessors.
    pub num_sms: u32,
    /// Bytes of shared memory that one block may use.
    pub shared_memory_per_block: usize,
}

impl Properties {
    /// What a plan asks.
    pub fn limits(&self) -> Limits {
        Limits { num_sms: self.num_sms, shared_memory_per_block: self.shared_memory_per_block }
    }
}

/// One CUDA device.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeviceInfo {
    /// Its number, as in `--device cuda:N`.
    pub ordinal: usize,
    /// Bytes of its memory.
    pub memory: usize,
    /// What it is.
    pub properties: Properties,
}

/// The CUDA version that the installed driver supports.
///
/// [`Error::NoDevice`] where no driver is installed.
pub fn driver_version() -> Result<DriverVersion> {
    driver_in(DRIVER_LIBRARIES)?;
    let mut version = 0;
    // SAFETY: the driver's library is there (checked above), and `version` outlives the call, which writes one i32.
    let status = unsafe { sys::cuDriverGetVersion(&mut version) };
    status.result().map_err(|error| refused("cuDriverGetVersion", error))?;
    Ok(parse_version(version))
}

/// The CUDA devices of this machine, in the driver's order.
///
/// [`Error::NoDevice`] where there is no driver or it sees no device, [`Error::DriverTooOld`] where the driver
/// cannot run what this library was built with, [`Error::Driver`] where a call fails.
pub fn devices() -> Result<Vec<DeviceInfo>> {
    check_version(driver_version()?, registry::cuda_version().ok())?;
    match result::init() {
        Err(DriverError(sys::CUresult::CUDA_ERROR_NO_DEVICE)) => {
            return Err(no_device("the driver sees no GPU"));
        }
        other => other.map_err(|error| refused("cuInit", error))?,
    }
    let count = result::device::get_count().map_err(|error| refused("cuDeviceGetCount", error))?;
    if count == 0 {
        return Err(no_device("the driver sees no GPU"));
    }
    let device = |ordinal: i32| {
        let device = result::device::get(ordinal).map_err(|error| refused("cuDeviceGet", error))?;
        Ok(DeviceInfo {
            ordinal: ordinal.unsigned_abs() as usize,
            // SAFETY: `device` came from cuDeviceGet.
            memory: unsafe { result::device::total_mem(device) }
                .map_err(|error| refused("cuDeviceTotalMem", error))?,
            properties: properties(device)?,
        })
    };
    (0..count).map(device).collect()
}

/// What the driver says of a device that came from cuDeviceGet, or that a context belongs to.
pub(super) fn properties(device: sys::CUdevice) -> Result<Properties> {
    let attribute = |attribute| {
        // SAFETY: `device` came from the driver.
        let value = unsafe { result::device::get_attribute(device, attribute) };
        value.map(i32::unsigned_abs).map_err(|error| refused("cuDeviceGetAttribute", error))
    };
    Ok(Properties {
        name: result::device::get_name(device).map_err(|error| refused("cuDeviceGetName", error))?,
        compute_capability: (
            attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
            attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
        ),
        num_sms: attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
        shared_memory_per_block: attribute(Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)?
            as usize,
    })
}

/// An error unless one of the libraries can be loaded.
fn driver_in(libraries: &[&str]) -> Result<()> {
    let mut reasons = Vec::new();
    for &library in libraries {
        // SAFETY: loading NVIDIA's driver runs its initialisers, as every CUDA program does; cudarc loads the same
        // file.
        match unsafe { libloading::Library::new(library) } {
            Ok(_) => return Ok(()),
            // The loader's own words, which name the file, are the source of the error.
            Err(error) => reasons.push(error.source().map_or_else(|| error.to_string(), ToString::to_string)),
        }
    }
    Err(no_device(&format!("no NVIDIA driver is installed ({})", reasons.join("; "))))
}

/// `built_with` is the CUDA of the embedded kernels, none in a stub.
pub(super) fn check_version(driver: DriverVersion, built_with: Option<(u32, u32)>) -> Result<()> {
    let too_old = |needed: DriverVersion, what: String| Error::DriverTooOld {
        driver: driver.to_string(),
        needed: needed.to_string(),
        what,
    };
    if driver < OLDEST_DRIVER {
        return Err(too_old(OLDEST_DRIVER, "this library".into()));
    }
    match built_with {
        Some((major, minor)) if driver.major < major => Err(too_old(
            DriverVersion { major, minor: 0 },
            format!("this library, whose kernels were compiled with CUDA {major}.{minor},"),
        )),
        _ => Ok(()),
    }
}

/// The driver's number for CUDA 13.0 is 13000, for 12.9 it is 12090.
fn parse_version(number: i32) -> DriverVersion {
    let number = number.unsigned_abs();
    DriverVersion { major: number / 1000, minor: number % 1000 / 10 }
}

fn no_device(reason: &str) -> Error {
    Error::NoDevice { device: "cuda".into(), reason: reason.into() }
}

pub(super) fn refused(call: &'static str, error: DriverError) -> Error {
    Error::Driver { call, reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_driver_is_an_error_not_a_panic() {
        let error = driver_in(&["libno-such-driver.so.1"]).unwrap_err().to_string();
        assert!(
            error.starts_with("device cuda: no NVIDIA driver is installed (libno-such-driver.so.1"),
            "{error}"
        );
    }

    /// On a machine without a driver this is the path that panics in cudarc; on one with a driver the devices make
    /// sense.
    #[test]
    fn devices_are_listed_or_the_reason_is_given() {
        match devices() {
            Ok(devices) => {
                assert!(!devices.is_empty());
                for (index, device) in devices.iter().enumerate() {
                    assert_eq!(device.ordinal, index);
                    let properties = &device.properties;
                    assert!(
                        device.memory > 0 && properties.num_sms > 0 && properties.compute_capability.0 > 0,
                        "{device:?}"
                    );
                }
            }
            Err(Error::NoDevice { device, reason }) => {
                assert_eq!(device, "cuda");
                assert!(reason.contains("driver"), "{reason}");
            }
            Err(error) => {
                assert!(matches!(error, Error::DriverTooOld { .. } | Error::Driver { .. }), "{error}");
            }
        }
    }

    #[test]
    fn drivers_too_old_are_refused() {
        let driver = parse_version;
        assert_eq!(driver(12090).to_string(), "12.9");
        assert!(check_version(driver(12000), None).is_ok());
        assert!(
            check_version(driver(12000), Some((12, 9))).is_ok(),
            "machine code runs on every driver of its major"
        );
        assert!(check_version(driver(13020), Some((13, 0))).is_ok());
        assert_eq!(
            check_version(driver(11080), None).unwrap_err().to_string(),
            "the NVIDIA driver supports CUDA 11.8; this library needs CUDA 12.0: install a newer driver"
        );
        assert_eq!(
            check_version(driver(12090), Some((13, 0))).unwrap_err().to_string(),
            "the NVIDIA driver supports CUDA 12.9; this library, whose kernels were compiled with CUDA 13.0, needs CUDA \
             13.0: install a newer driver"
        );
    }
}
