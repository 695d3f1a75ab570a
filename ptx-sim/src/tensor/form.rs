//! The forms of `mma.sync`: what an opcode's modifiers say.

use crate::config::ComputeCapability;
use crate::count::TensorType;
use crate::program::Reject;
use crate::ptx::ast::Instruction;

/// A type of A or B with its arithmetic in floating point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element {
    F16,
    Bf16,
    Tf32,
    E4m3,
    E5m2,
}

impl Element {
    /// Bits in a register.
    pub fn bits(self) -> usize {
        match self {
            Self::F16 | Self::Bf16 => 16,
            Self::Tf32 => 32,
            Self::E4m3 | Self::E5m2 => 8,
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "f16" => Self::F16,
            "bf16" => Self::Bf16,
            "tf32" => Self::Tf32,
            "e4m3" => Self::E4m3,
            "e5m2" => Self::E5m2,
            _ => return None,
        })
    }
}

/// A type of C and D with floating-point A and B.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accumulator {
    F16,
    F32,
}

impl Accumulator {
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "f16" => Self::F16,
            "f32" => Self::F32,
            _ => return None,
        })
    }
}

/// An integer type of A or B.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Integer {
    /// 4 or 8.
    pub bits: usize,
    pub signed: bool,
}

impl Integer {
    pub fn parse(name: &str) -> Option<Self> {
        let (signed, bits) = match name {
            "s8" => (true, 8),
            "u8" => (false, 8),
            "s4" => (true, 4),
            "u4" => (false, 4),
            _ => return None,
        };
        Some(Self { bits, signed })
    }
}

/// What `b1` matrices are combined by before the bits are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BitOp {
    Xor,
    And,
}

/// How an f64 result is rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rounding {
    Nearest,
    Zero,
    Down,
    Up,
}

/// The types of a form, and what else belongs to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Floating point below f64; C has the type of D.
    Float { a: Element, b: Element, d: Accumulator },
    /// `m8n8k4` with f16: four multiplications in one.
    Quad { a_column_major: bool, b_column_major: bool, c: Accumulator, d: Accumulator },
    /// f64.
    Double { rounding: Rounding },
    /// s8, u8, s4, u4 into s32.
    Integer { a: Integer, b: Integer, saturate: bool },
    /// b1 into s32.
    Bits { op: BitOp },
}

impl Kind {
    /// The type that operations are counted under: that of A.
    pub fn counted_as(self) -> TensorType {
        match self {
            Kind::Float { a: Element::F16, .. } | Kind::Quad { .. } => TensorType::F16,
            Kind::Float { a: Element::Bf16, .. } => TensorType::Bf16,
            Kind::Float { a: Element::Tf32, .. } => TensorType::Tf32,
            Kind::Float { a: Element::E4m3, .. } => TensorType::E4m3,
            Kind::Float { a: Element::E5m2, .. } => TensorType::E5m2,
            Kind::Double { .. } => TensorType::F64,
            Kind::Integer { a: Integer { bits: 8, signed: true }, .. } => TensorType::S8,
            Kind::Integer { a: Integer { bits: 8, signed: false }, .. } => TensorType::U8,
            Kind::Integer { a: Integer { signed: true, .. }, .. } => TensorType::S4,
            Kind::Integer { a: Integer { signed: false, .. }, .. } => TensorType::U4,
            Kind::Bits { .. } => TensorType::B1,
        }
    }
}

/// A form of `mma.sync`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Form {
    pub m: usize,
    pub k: usize,
    pub kind: Kind,
}

/// How many registers an operand takes, and how wide they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Registers {
    pub d: usize,
    pub a: usize,
    pub b: usize,
    pub c: usize,
    /// All are f64 registers.
    pub wide: bool,
}

impl Form {
    /// What the modifiers of an `mma` say, if it is one that is executed.
    pub fn parse(instruction: &Instruction) -> Result<Self, Reject> {
        let mut shape = None;
        let mut layouts = Vec::new();
        let mut types = Vec::new();
        let mut rounding = None;
        let (mut saturate, mut op, mut popc, mut sync, mut aligned) = (false, None, false, false, false);
        for modifier in instruction.modifiers() {
            match modifier {
                "sync" => sync = true,
                "aligned" => aligned = true,
                "row" => layouts.push(false),
                "col" => layouts.push(true),
                "satfinite" => saturate = true,
                "rn" => rounding = Some(Rounding::Nearest),
                "rz" => rounding = Some(Rounding::Zero),
                "rm" => rounding = Some(Rounding::Down),
                "rp" => rounding = Some(Rounding::Up),
                "xor" => op = Some(BitOp::Xor),
                "and" => op = Some(BitOp::And),
                "popc" => popc = true,
                "sp" | "sp::ordered_metadata" => return Err("sparse mma.sp is not supported".into()),
                "block_scale" => return Err("block-scaled mma needs compute capability 12.0".into()),
                _ if modifier.starts_with("kind::") => {
                    return Err(format!("mma with .{modifier} needs compute capability 12.0"));
                }
                _ if modifier.starts_with('m') && modifier.contains('k') => {
                    if shape.replace(modifier).is_some() {
                        return Err("mma with two shapes".into());
                    }
                }
                _ => types.push(modifier),
            }
        }
        let shape = shape.ok_or("mma without a shape")?;
        let &[d, a, b, c] = types.as_slice() else {
            return Err(format!("mma needs the types of D, A, B and C, not {}", types.join(", ")));
        };
        let &[a_column_major, b_column_major] = layouts.as_slice() else {
            return Err("mma needs the layouts of A and B".into());
        };
        if !sync || !aligned {
            return Err("mma without .sync.aligned".into());
        }
        let is_quad = shape == "m8n8k4" && a == "f16";
        if !is_quad && (a_column_major, b_column_major) != (false, true) {
            return Err("mma of this shape and type needs the layouts .row.col".into());
        }
        let unknown = || format!("mma has no form .{shape} with the types {d}, {a}, {b}, {c}");
        let kind = if is_quad && b == "f16" {
            let (c, d) = Accumulator::parse(c).zip(Accumulator::parse(d)).ok_or_else(unknown)?;
            Kind::Quad { a_column_major, b_column_major, c, d }
        } else if (d, a, b, c) == ("f64", "f64", "f64", "f64") {
            Kind::Double { rounding: rounding.unwrap_or(Rounding::Nearest) }
        } else if (d, a, b, c) == ("s32", "b1", "b1", "s32") {
            match op {
                Some(op) if popc => Kind::Bits { op },
                _ => return Err("mma of b1 needs .xor.popc or .and.popc".into()),
            }
        } else if let (Some(a), Some(b), "s32", "s32") = (Integer::parse(a), Integer::parse(b), d, c) {
            Kind::Integer { a, b, saturate }
        } else {
            match (Element::parse(a), Element::parse(b), Accumulator::parse(d)) {
                (Some(a), Some(b), Some(accumulator)) if c == d => Kind::Float { a, b, d: accumulator },
                _ => return Err(unknown()),
            }
        };
        let (m, k) = match (shape, kind) {
            ("m8n8k4", Kind::Quad { c, d, .. }) if (c, d) != (Accumulator::F32, Accumulator::F16) => (8, 4),
            ("m8n8k4", Kind::Double { .. }) => (8, 4),
            ("m16n8k4", Kind::Double { .. }) => (16, 4),
            ("m16n8k8", Kind::Double { .. }) => (16, 8),
            ("m16n8k16", Kind::Double { .. }) => (16, 16),
            ("m16n8k8", Kind::Float { a: Element::F16, b: Element::F16, .. }) => (16, 8),
            ("m16n8k16", Kind::Float { a: Element::F16, b: Element::F16, .. }) => (16, 16),
            ("m16n8k8", Kind::Float { a: Element::Bf16, b: Element::Bf16, d: Accumulator::F32 }) => (16, 8),
            ("m16n8k16", Kind::Float { a: Element::Bf16, b: Element::Bf16, d: Accumulator::F32 }) => (16, 16),
            ("m16n8k4", Kind::Float { a: Element::Tf32, b: Element::Tf32, d: Accumulator::F32 }) => (16, 4),
            ("m16n8k8", Kind::Float { a: Element::Tf32, b: Element::Tf32, d: Accumulator::F32 }) => (16, 8),
            ("m16n8k16", Kind::Float { a, b, .. }) if a.bits() == 8 && b.bits() == 8 => (16, 16),
            ("m16n8k32", Kind::Float { a, b, .. }) if a.bits() == 8 && b.bits() == 8 => (16, 32),
            ("m8n8k16", Kind::Integer { a, b, .. }) if a.bits == 8 && b.bits == 8 => (8, 16),
            ("m16n8k16", Kind::Integer { a, b, .. }) if a.bits == 8 && b.bits == 8 => (16, 16),
            ("m16n8k32", Kind::Integer { a, b, .. }) if a.bits == 8 && b.bits == 8 => (16, 32),
            ("m8n8k32", Kind::Integer { a, b, .. }) if a.bits == 4 && b.bits == 4 => (8, 32),
            ("m16n8k32", Kind::Integer { a, b, .. }) if a.bits == 4 && b.bits == 4 => (16, 32),
            ("m16n8k64", Kind::Integer { a, b, .. }) if a.bits == 4 && b.bits == 4 => (16, 64),
            ("m8n8k128", Kind::Bits { .. }) => (8, 128),
            ("m16n8k128", Kind::Bits { .. }) => (16, 128),
            ("m16n8k256", Kind::Bits { .. }) => (16, 256),
            _ => return Err(unknown()),
        };
        let form = Self { m, k, kind };
        if saturate && !matches!(kind, Kind::Integer { .. }) {
            return Err("mma has .satfinite for s8, u8, s4 and u4 only".into());
        }
        if rounding.is_some() && !matches!(kind, Kind::Double { .. }) {
            return Err("mma has a rounding mode for f64 only".into());
        }
        if (op.is_some() || popc) && !matches!(kind, Kind::Bits { .. }) {
            return Err("mma has .xor.popc and .and.popc for b1 only".into());
        }
        Ok(form)
    }

    /// The registers of each operand.
    pub fn registers(&self) -> Registers {
        let (m, k) = (self.m, self.k);
        let of = |element_bits: usize| Registers {
            d: m / 4,
            a: m * k * element_bits / 1024,
            b: 8 * k * element_bits / 1024,
            c: m / 4,
            wide: false,
        };
        match self.kind {
            Kind::Float { a, d, .. } => {
                let accumulators = if d == Accumulator::F16 { m / 8 } else { m / 4 };
                Registers { d: accumulators, c: accumulators, ..of(a.bits()) }
            }
            Kind::Quad { c, d, .. } => {
                let accumulators = |ty| if ty == Accumulator::F16 { 4 } else { 8 };
                Registers { d: accumulators(d), a: 2, b: 2, c: accumulators(c), wide: false }
            }
            Kind::Double { .. } => Registers { d: m / 4, a: m * k / 32, b: k / 4, c: m / 4, wide: true },
            Kind::Integer { a, .. } => of(a.bits),
            Kind::Bits { .. } => of(1),
        }
    }

    /// Operations, a multiplication and an addition each, and the type that they are counted under: that of A.
    pub fn flops(&self) -> (TensorType, u64) {
        let computations = if matches!(self.kind, Kind::Quad { .. }) { 4 } else { 1 };
        (self.kind.counted_as(), 2 * computations * (self.m * 8 * self.k) as u64)
    }

    /// The compute capability that brought the form.
    pub fn required_compute_capability(&self) -> ComputeCapability {
        match self.kind {
            Kind::Float { a, .. } if a.bits() == 8 => ComputeCapability::Sm89,
            Kind::Double { .. } if self.m == 16 => ComputeCapability::Sm90,
            _ => ComputeCapability::Sm80,
        }
    }
}
