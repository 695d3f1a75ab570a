//! Modules from PTX text: probes of a device, and kernels that are not this crate's own.

use std::sync::Arc;

use super::cuda;
use super::device::{Device, Driver};
use crate::Result;

/// A module that was compiled from PTX text for one device.
pub struct Module {
    device: Device,
    compiled: Compiled,
}

enum Compiled {
    Cuda(Arc<cuda::Module>),
    #[cfg(feature = "sim")]
    Sim(ptx_sim::Module),
}

/// A kernel of a [`Module`].
pub struct Function {
    device: Device,
    loaded: Loaded,
}

pub(super) enum Loaded {
    Cuda(cuda::Function),
    #[cfg(feature = "sim")]
    Sim(ptx_sim::Kernel),
}

pub(super) fn load(device: &Device, ptx: &str) -> Result<Module> {
    let compiled = match device.driver() {
        Driver::Cuda(driver) => Compiled::Cuda(driver.load_ptx(ptx)?),
        #[cfg(feature = "sim")]
        Driver::Sim(driver) => Compiled::Sim(driver.load_ptx(ptx)?),
    };
    Ok(Module { device: device.clone(), compiled })
}

impl Module {
    /// The kernel of this name.
    pub fn function(&self, name: &str) -> Result<Function> {
        let loaded = match &self.compiled {
            Compiled::Cuda(module) => Loaded::Cuda(module.function(name)?),
            #[cfg(feature = "sim")]
            Compiled::Sim(module) => Loaded::Sim(super::sim::function(module, name)?),
        };
        Ok(Function { device: self.device.clone(), loaded })
    }
}

impl Function {
    /// The device that it was compiled for.
    pub fn device(&self) -> &Device {
        &self.device
    }

    pub(super) fn loaded(&self) -> &Loaded {
        &self.loaded
    }
}
