//! The kernels that a device has loaded: each family's module once, when its first kernel is asked for.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError};

use super::graph::refuse_while_capturing;
use crate::Result;
use crate::plan::Kernel;

/// Modules `M` by family and functions `F` by kernel.
pub(super) struct Cache<M, F> {
    /// One for each of [`Kernel::ALL`].
    functions: Box<[OnceLock<F>]>,
    modules: Mutex<HashMap<&'static str, M>>,
}

impl<M, F> Cache<M, F> {
    pub fn new() -> Self {
        let functions = Kernel::ALL.iter().map(|_| OnceLock::new()).collect();
        Cache { functions, modules: Mutex::default() }
    }

    /// The function of `kernel`: `load` makes its family's module, `find` looks it up there. Neither runs a second time
    /// once it has succeeded.
    pub fn get(
        &self,
        kernel: Kernel,
        load: impl FnOnce() -> Result<M>,
        find: impl FnOnce(&M) -> Result<F>,
    ) -> Result<&F> {
        let slot = &self.functions[kernel as usize];
        if let Some(function) = slot.get() {
            return Ok(function);
        }
        refuse_while_capturing(format_args!("loading {}", kernel.name()))?;
        // A thread that panicked while it held the lock has left the map whole.
        let mut modules = self.modules.lock().unwrap_or_else(PoisonError::into_inner);
        if !modules.contains_key(kernel.family()) {
            modules.insert(kernel.family(), load()?);
        }
        let function = find(&modules[kernel.family()])?;
        Ok(slot.get_or_init(|| function))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::Error;

    #[test]
    fn a_family_is_loaded_once_and_failures_are_tried_again() {
        let cache: Cache<String, String> = Cache::new();
        let loads = Cell::new(0);
        let get = |kernel: Kernel, works: bool| {
            cache.get(
                kernel,
                || {
                    loads.set(loads.get() + 1);
                    if works { Ok(kernel.family().to_string()) } else { Err(Error::unsupported("x", "y")) }
                },
                |module| Ok(format!("{module}/{}", kernel.name())),
            )
        };
        assert!(get(Kernel::RmsNormBf16, false).is_err());
        assert_eq!(get(Kernel::RmsNormBf16, true).unwrap(), "rms_norm/rms_norm_bf16");
        assert_eq!(get(Kernel::RmsNormF16, true).unwrap(), "rms_norm/rms_norm_f16");
        assert_eq!(get(Kernel::RmsNormBf16, false).unwrap(), "rms_norm/rms_norm_bf16");
        assert_eq!(loads.get(), 2);
        assert_eq!(get(Kernel::EmbedB16, true).unwrap(), "embed/embed_b16");
    }
}
