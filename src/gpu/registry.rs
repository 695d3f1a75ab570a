//! The kernels that the build script compiled, embedded in the library.
//!
//! In a build without nvcc (`cfg(kernels_built)` absent) everything here answers [`Error::KernelsNotBuilt`].

use crate::plan::Kernel;
use crate::{Error, Result};

/// A byte array at an address that is a multiple of 16: a driver reads the headers of an image in place.
#[cfg(kernels_built)]
#[repr(C, align(16))]
struct Aligned<T: ?Sized>(T);

#[cfg(kernels_built)]
mod compiled {
    use super::Aligned;

    macro_rules! embed {
        ($file:literal) => {{
            static IMAGE: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), $file)));
            &IMAGE.0
        }};
    }
    include!(concat!(env!("OUT_DIR"), "/kernels.rs"));
}

#[cfg(not(kernels_built))]
fn not_built() -> Error {
    Error::KernelsNotBuilt { reason: env!("LLAMA_KERNELS_STUB_REASON") }
}

/// The architectures whose machine code is embedded, such as `90a` for compute capability 9.0. Newer devices run
/// the portable kernels from their PTX.
pub fn architectures() -> Result<&'static [&'static str]> {
    #[cfg(kernels_built)]
    return Ok(compiled::ARCHITECTURES);
    #[cfg(not(kernels_built))]
    Err(not_built())
}

/// The version of CUDA whose compiler made the kernels, major and minor.
pub fn cuda_version() -> Result<(u32, u32)> {
    #[cfg(kernels_built)]
    return Ok(compiled::CUDA);
    #[cfg(not(kernels_built))]
    Err(not_built())
}

/// The module that holds `kernel`, for all architectures: what the driver's module loader takes.
///
/// [`Error::Unsupported`] where the kernel belongs to an architecture that was left out of the build.
pub fn fatbin(kernel: Kernel) -> Result<&'static [u8]> {
    #[cfg(kernels_built)]
    return find(compiled::FATBINS, kernel);
    #[cfg(not(kernels_built))]
    {
        let _ = kernel;
        Err(not_built())
    }
}

/// The PTX of the module that holds `kernel`, with line numbers: what the simulated GPU runs.
#[cfg(feature = "sim")]
pub fn ptx(kernel: Kernel) -> Result<String> {
    #[cfg(kernels_built)]
    {
        let corrupt = |reason: String| Error::malformed(kernel.family(), "embedded PTX", reason);
        let deflated = find(compiled::PTX, kernel)?;
        let bytes =
            miniz_oxide::inflate::decompress_to_vec(deflated).map_err(|error| corrupt(error.to_string()))?;
        String::from_utf8(bytes).map_err(|error| corrupt(error.to_string()))
    }
    #[cfg(not(kernels_built))]
    {
        let _ = kernel;
        Err(not_built())
    }
}

#[cfg(kernels_built)]
fn find(images: &[(&str, &'static [u8])], kernel: Kernel) -> Result<&'static [u8]> {
    images.iter().find(|(family, _)| *family == kernel.family()).map(|(_, image)| *image).ok_or_else(|| {
        Error::unsupported(
            format!("kernel {}", kernel.name()),
            format!(
                "it was not compiled for the architectures of this build ({}): add its own to CUDA_COMPUTE_CAPS",
                compiled::ARCHITECTURES.join(", ")
            ),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
    fn images_are_aligned_and_found() {
        // A build without an architecture has no kernels that are made of its own instructions.
        let compiled = |kernel: &&Kernel| {
            kernel.needs().is_none() || architectures().is_ok_and(|archs| archs.contains(&"90a"))
        };
        for &kernel in Kernel::ALL.iter().filter(compiled) {
            let image = fatbin(kernel).unwrap();
            assert!(image.as_ptr().addr().is_multiple_of(16), "{}", kernel.name());
            // The magic number of a fatbin.
            assert_eq!(&image[..4], &0xBA55_ED50_u32.to_le_bytes(), "{}", kernel.name());
        }
    }

    #[cfg(kernels_built)]
    #[test]
    fn a_kernel_left_out_of_the_build_is_named() {
        let error = find(&[], Kernel::EmbedB16).unwrap_err().to_string();
        assert!(error.starts_with("kernel embed_b16 is not supported: it was not compiled for"), "{error}");
    }

    #[cfg(not(kernels_built))]
    #[test]
    fn a_stub_says_why_it_is_one() {
        let error = fatbin(Kernel::EmbedB16).unwrap_err();
        assert!(matches!(error, Error::KernelsNotBuilt { reason } if !reason.is_empty()), "{error}");
        assert!(error.to_string().contains("cargo xtask setup"), "{error}");
        assert!(architectures().is_err() && cuda_version().is_err());
    }
}
