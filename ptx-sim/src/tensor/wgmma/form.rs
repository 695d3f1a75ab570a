//! The forms of `wgmma.mma_async`: what an opcode's modifiers say.

use crate::count::TensorType;
use crate::program::Reject;
use crate::ptx::ast::Instruction;
use crate::tensor::form::{Accumulator, BitOp, Element, Integer, Kind};

/// A form of `wgmma.mma_async`; its m is 64, its k what fills 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WgmmaForm {
    /// Columns of B and D.
    pub n: usize,
    pub(super) kind: Kind,
}

impl WgmmaForm {
    /// What the modifiers say, if it is a form that is executed.
    pub fn parse(instruction: &Instruction) -> Result<Self, Reject> {
        let (mut shape, mut types) = (None, Vec::new());
        let (mut saturate, mut and, mut popc, mut sync, mut aligned) = (false, false, false, false, false);
        for modifier in instruction.modifiers().skip(1) {
            match modifier {
                "sync" => sync = true,
                "aligned" => aligned = true,
                "satfinite" => saturate = true,
                "and" => and = true,
                "popc" => popc = true,
                "sp" => return Err("sparse wgmma.mma_async.sp is not supported".into()),
                _ if modifier.starts_with("m64n") => {
                    if shape.replace(modifier).is_some() {
                        return Err("wgmma with two shapes".into());
                    }
                }
                _ => types.push(modifier),
            }
        }
        if !sync || !aligned {
            return Err("wgmma without .sync.aligned".into());
        }
        let shape = shape.ok_or("wgmma needs a shape .m64nNkK")?;
        let &[d, a, b] = types.as_slice() else {
            return Err(format!("wgmma needs the types of D, A and B, not {}", types.join(", ")));
        };
        let unknown = || format!("wgmma has no form .{shape} with the types {d}, {a}, {b}");
        let (n, k) = shape.strip_prefix("m64n").and_then(|rest| rest.split_once('k')).ok_or_else(unknown)?;
        let n: usize = n.parse().map_err(|_| unknown())?;
        let kind = match (Element::parse(a), Element::parse(b), Accumulator::parse(d)) {
            (Some(a), Some(b), Some(d)) => Kind::Float { a, b, d },
            _ if (d, a, b) == ("s32", "b1", "b1") => Kind::Bits { op: BitOp::And },
            _ => match (Integer::parse(a), Integer::parse(b)) {
                (Some(a), Some(b)) if d == "s32" && a.bits == 8 && b.bits == 8 => {
                    Kind::Integer { a, b, saturate }
                }
                _ => return Err(unknown()),
            },
        };
        let bits = match kind {
            Kind::Float { a: Element::F16, b: Element::F16, .. } => 16,
            Kind::Float { a: Element::Bf16, b: Element::Bf16, d: Accumulator::F32 } => 16,
            Kind::Float { a: Element::Tf32, b: Element::Tf32, d: Accumulator::F32 } => 32,
            Kind::Float { a, b, .. } if a.bits() == 8 && b.bits() == 8 => 8,
            Kind::Integer { .. } => 8,
            Kind::Bits { .. } => 1,
            _ => return Err(unknown()),
        };
        let columns = match kind {
            // All multiples of 8 up to 32, then those of 16; without 240 and 256 for s8 and u8.
            Kind::Integer { .. } => n <= 32 || n.is_multiple_of(16) && n <= 224,
            Kind::Bits { .. } => n <= 32 || n.is_multiple_of(16),
            _ => true,
        };
        if k != (256 / bits).to_string() || n == 0 || !n.is_multiple_of(8) || n > 256 || !columns {
            return Err(unknown());
        }
        if saturate && !matches!(kind, Kind::Integer { .. }) {
            return Err("wgmma has .satfinite for s8 and u8 only".into());
        }
        if (and, popc) != (bits == 1, bits == 1) {
            return Err("wgmma of b1, and no other, has .and.popc".into());
        }
        Ok(Self { n, kind })
    }

    /// Registers of D.
    pub fn accumulators(&self) -> usize {
        if self.has_half_accumulators() { self.n / 4 } else { self.n / 2 }
    }

    pub(super) fn has_half_accumulators(&self) -> bool {
        matches!(self.kind, Kind::Float { d: Accumulator::F16, .. })
    }

    /// Whether elements can be negated.
    pub fn can_negate(&self) -> bool {
        matches!(self.kind, Kind::Float { .. })
    }

    /// Whether the matrices in shared memory can be transposed.
    pub fn can_transpose(&self) -> bool {
        matches!(self.kind, Kind::Float { a: Element::F16 | Element::Bf16, .. })
    }

    /// Bits of an element of A or B.
    pub(super) fn element_bits(&self) -> usize {
        match self.kind {
            Kind::Float { a, .. } => a.bits(),
            Kind::Integer { a, .. } => a.bits,
            _ => 1,
        }
    }

    /// Operations of one of the four warps, a multiplication and an addition each, and the type that they are counted
    /// under: that of A.
    pub fn flops(&self) -> (TensorType, u64) {
        (self.kind.counted_as(), 2 * (16 * self.n * (256 / self.element_bits())) as u64)
    }
}
