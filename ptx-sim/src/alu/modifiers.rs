//! The modifiers of a floating-point instruction, taken one by one; what nobody takes is refused.

use super::rounding::Rounding;
use crate::program::Reject;
use crate::ptx::ast::{Instruction, Type};

/// Flags of a floating-point instruction, which its implementation looks at once for all lanes: they ride in
/// [`crate::program::Operands::aux`].
pub(crate) mod flags {
    /// `.ftz`: subnormal sources and results become zero of their sign.
    pub const FTZ: u32 = 1;
    /// `.sat`: the result is clamped to [0, 1], NaN to 0.
    pub const SAT: u32 = 1 << 1;
    /// `.relu`: a negative result becomes 0.
    pub const RELU: u32 = 1 << 2;
    /// `.NaN`: a NaN among the sources makes the result NaN.
    pub const NAN: u32 = 1 << 3;
    /// `.abs`: magnitudes are compared.
    pub const ABS: u32 = 1 << 4;
    /// `.xorsign`: the result's sign is that of the product.
    pub const XORSIGN: u32 = 1 << 5;
    /// There is a third source.
    pub const THREE: u32 = 1 << 6;
    /// `.satfinite`: what is beyond the largest number becomes that number.
    pub const SATFINITE: u32 = 1 << 7;
}

/// The modifiers that are left of an instruction's.
pub(crate) struct Modifiers<'a> {
    left: Vec<&'a str>,
}

impl<'a> Modifiers<'a> {
    pub fn of(instruction: &'a Instruction) -> Self {
        Self { left: instruction.modifiers().collect() }
    }

    /// Whether the modifier is there, once.
    pub fn take(&mut self, name: &str) -> bool {
        match self.left.iter().position(|one| *one == name) {
            Some(at) => {
                self.left.remove(at);
                true
            }
            None => false,
        }
    }

    /// The flag where the modifier is there, else 0.
    pub fn flag(&mut self, name: &str, flag: u32) -> u32 {
        if self.take(name) { flag } else { 0 }
    }

    /// All types, in order.
    pub fn take_types(&mut self) -> Vec<Type> {
        let types = self.left.iter().filter_map(|one| Type::parse(one)).collect();
        self.left.retain(|one| Type::parse(one).is_none());
        types
    }

    /// `.rn`, `.rz`, `.rm` or `.rp`.
    pub fn take_rounding(&mut self) -> Option<Rounding> {
        let all =
            [("rn", Rounding::Nearest), ("rz", Rounding::Zero), ("rm", Rounding::Down), ("rp", Rounding::Up)];
        all.into_iter().find(|(name, _)| self.take(name)).map(|(_, rounding)| rounding)
    }

    /// `.rni`, `.rzi`, `.rmi` or `.rpi`.
    pub fn take_integer_rounding(&mut self) -> Option<Rounding> {
        let all = [
            ("rni", Rounding::Nearest),
            ("rzi", Rounding::Zero),
            ("rmi", Rounding::Down),
            ("rpi", Rounding::Up),
        ];
        all.into_iter().find(|(name, _)| self.take(name)).map(|(_, rounding)| rounding)
    }

    /// Whether some modifier of these is still there.
    pub fn has_any(&self, names: &[&str]) -> bool {
        self.left.iter().any(|one| names.contains(one))
    }

    /// Refuses what is left.
    pub fn finish(self) -> Result<(), Reject> {
        match self.left.first() {
            None => Ok(()),
            Some(one) => Err(format!("modifier `.{one}` is unknown or has no place here")),
        }
    }
}
