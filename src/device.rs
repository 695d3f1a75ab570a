//! Which device a user asks for.

use std::fmt;
use std::str::FromStr;

use crate::{Error, Result};

/// The environment variable by which tests choose their device: a [`DeviceChoice`], `auto` where it is unset.
pub const DEVICE_VARIABLE: &str = "LLAMA_KERNELS_DEVICE";

/// The compute capabilities that the simulated GPU can pretend to be.
pub const SIMULATED: [(u32, u32); 4] = [(8, 0), (8, 6), (8, 9), (9, 0)];

/// A device by its name on the command line: `auto`, `cuda`, `cuda:N`, `sim`, `sim:8.6` or `cpu`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeviceChoice {
    /// The first CUDA GPU if there is one, else what can do the work without one.
    #[default]
    Auto,
    /// The CUDA GPU of this number.
    Cuda(usize),
    /// The simulated GPU.
    Sim {
        /// What it pretends to be, one of [`SIMULATED`].
        compute_capability: (u32, u32),
    },
    /// The CPU reference.
    Cpu,
}

impl DeviceChoice {
    /// The simulated GPU of the oldest compute capability that the kernels run on.
    pub const SIM: DeviceChoice = DeviceChoice::Sim { compute_capability: SIMULATED[0] };

    /// What [`DEVICE_VARIABLE`] says.
    pub fn from_env() -> Result<Self> {
        match std::env::var(DEVICE_VARIABLE) {
            Ok(text) if !text.is_empty() => text.parse().map_err(|expected| Error::NoDevice {
                device: text.clone(),
                reason: format!("{DEVICE_VARIABLE}: {expected}"),
            }),
            Ok(_) | Err(std::env::VarError::NotPresent) => Ok(DeviceChoice::Auto),
            Err(error) => Err(Error::NoDevice { device: DEVICE_VARIABLE.into(), reason: error.to_string() }),
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceChoice::Auto => f.write_str("auto"),
            DeviceChoice::Cuda(ordinal) => write!(f, "cuda:{ordinal}"),
            DeviceChoice::Sim { compute_capability: (major, minor) } => write!(f, "sim:{major}.{minor}"),
            DeviceChoice::Cpu => f.write_str("cpu"),
        }
    }
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let simulated = |capability: &str| {
            let known = |(major, minor): &(u32, u32)| capability == format!("{major}.{minor}");
            SIMULATED
                .into_iter()
                .find(known)
                .map(|compute_capability| DeviceChoice::Sim { compute_capability })
        };
        let choice = match text.split_once(':') {
            None => match text {
                "auto" => Some(DeviceChoice::Auto),
                "cuda" => Some(DeviceChoice::Cuda(0)),
                "sim" => Some(DeviceChoice::SIM),
                "cpu" => Some(DeviceChoice::Cpu),
                _ => None,
            },
            Some(("cuda", ordinal)) => ordinal.parse().ok().map(DeviceChoice::Cuda),
            Some(("sim", capability)) => simulated(capability),
            Some(_) => None,
        };
        choice.ok_or_else(|| {
            "expected auto, cuda, cuda:N, sim, sim:8.0, sim:8.6, sim:8.9, sim:9.0 or cpu".into()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written() {
        for (text, choice) in [
            ("auto", DeviceChoice::Auto),
            ("cuda:3", DeviceChoice::Cuda(3)),
            ("sim:8.6", DeviceChoice::Sim { compute_capability: (8, 6) }),
            ("cpu", DeviceChoice::Cpu),
        ] {
            assert_eq!(text.parse(), Ok(choice));
            assert_eq!(choice.to_string(), text);
        }
        assert_eq!("cuda".parse(), Ok(DeviceChoice::Cuda(0)));
        assert_eq!("sim".parse(), Ok(DeviceChoice::Sim { compute_capability: (8, 0) }));
        for wrong in ["", "gpu", "cuda:", "cuda:-1", "cuda:x", "sim:7.5", "sim:", "cpu:0", "auto:1"] {
            let error = wrong.parse::<DeviceChoice>().unwrap_err();
            assert!(error.starts_with("expected auto, cuda, cuda:N, sim"), "{wrong}: {error}");
        }
    }
}
