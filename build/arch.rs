//! The GPU architectures that the kernels are compiled for.

use std::fmt;

/// One architecture: its number, and whether the code uses what that architecture alone has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Arch {
    /// Compute capability times ten.
    pub number: u32,
    /// The suffix `a`.
    pub specific: bool,
}

/// Hopper, with the instructions that only it has (wgmma, setmaxnreg).
pub const HOPPER: Arch = Arch { number: 90, specific: true };

/// The oldest architecture, for whose instructions the portable kernels are written; its PTX is in every build.
pub const OLDEST: Arch = Arch { number: 80, specific: false };

/// What is compiled where no variable says otherwise.
pub const DEFAULT: &str = "80,89,90a";

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.number, if self.specific { "a" } else { "" })
    }
}

impl Arch {
    /// Reads `80` or `90a`. `90` is taken as `90a`: the code runs on the same cards, and the Hopper kernels need it.
    fn parse(text: &str) -> Option<Arch> {
        let (digits, specific) = text.strip_suffix('a').map_or((text, false), |digits| (digits, true));
        if !(2..=3).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let number = digits.parse().ok()?;
        Some(if number == HOPPER.number { HOPPER } else { Arch { number, specific } })
    }
}

/// Reads a list such as `80,89,90a`, sorts it and drops repetitions. `variable` is where it comes from.
pub fn parse_list(variable: &str, list: &str) -> Result<Vec<Arch>, String> {
    let mut archs = list
        .split(',')
        .map(|item| {
            let item = item.trim();
            let arch = Arch::parse(item).ok_or_else(|| {
                format!("{variable}={list}: expected compute capabilities such as 80,89,90a, got {item:?}")
            })?;
            if arch < OLDEST {
                return Err(format!(
                    "{variable}={list}: the kernels need compute capability 80 or newer, got {item}"
                ));
            }
            Ok(arch)
        })
        .collect::<Result<Vec<_>, _>>()?;
    archs.sort();
    archs.dedup();
    Ok(archs)
}

/// What one file is compiled to, as nvcc's `-gencode` wants it. A file with `_sm90` in its name uses Hopper's own
/// instructions: it is compiled for Hopper or not at all. Every other file also brings PTX, which a driver compiles for cards
/// newer than the list.
pub fn targets(family: &str, archs: &[Arch]) -> Vec<String> {
    let machine_code = |arch: &Arch| format!("arch=compute_{arch},code=sm_{arch}");
    if is_hopper(family) {
        return archs.iter().filter(|arch| **arch == HOPPER).map(machine_code).collect();
    }
    let ptx = format!("arch=compute_{OLDEST},code=compute_{OLDEST}");
    archs.iter().map(machine_code).chain([ptx]).collect()
}

/// The architecture whose PTX the simulated GPU runs.
pub fn simulated(family: &str) -> Arch {
    if is_hopper(family) { HOPPER } else { OLDEST }
}

fn is_hopper(family: &str) -> bool {
    family.contains("_sm90")
}
