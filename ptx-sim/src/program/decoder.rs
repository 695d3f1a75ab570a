//! Turns operands of the syntax tree into slots.

use std::collections::HashMap;
use std::rc::Rc;

use super::{LANES, Lanes, Reject, Row, Slot};
use crate::ptx::ast::{self, Operand, RegisterId, Symbol, Type};

/// A special register whose value a warp knows when it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[rustfmt::skip]
pub(crate) enum Special {
    TidX, TidY, TidZ, NtidX, NtidY, NtidZ, CtaidX, CtaidY, CtaidZ, NctaidX, NctaidY, NctaidZ,
    LaneId, WarpId, NWarpId, SmId, NSmId, GridId,
    LanemaskEq, LanemaskLe, LanemaskLt, LanemaskGe, LanemaskGt,
    DynamicSmemSize, TotalSmemSize, AggrSmemSize, ReservedSmemBegin, ReservedSmemEnd, ReservedSmemCap,
    ClusteridX, ClusteridY, ClusteridZ, NclusteridX, NclusteridY, NclusteridZ,
    ClusterCtaidX, ClusterCtaidY, ClusterCtaidZ, ClusterNctaidX, ClusterNctaidY, ClusterNctaidZ,
    ClusterCtarank, ClusterNctarank, IsExplicitCluster, WarpSize, Zero,
}

impl Special {
    #[rustfmt::skip]
    fn parse(name: &str) -> Option<Self> {
        use Special::*;
        Some(match name {
            "tid.x" => TidX, "tid.y" => TidY, "tid.z" => TidZ,
            "ntid.x" => NtidX, "ntid.y" => NtidY, "ntid.z" => NtidZ,
            "ctaid.x" => CtaidX, "ctaid.y" => CtaidY, "ctaid.z" => CtaidZ,
            "nctaid.x" => NctaidX, "nctaid.y" => NctaidY, "nctaid.z" => NctaidZ,
            "laneid" => LaneId, "warpid" => WarpId, "nwarpid" => NWarpId,
            "smid" => SmId, "nsmid" => NSmId, "gridid" => GridId,
            "lanemask_eq" => LanemaskEq, "lanemask_le" => LanemaskLe, "lanemask_lt" => LanemaskLt,
            "lanemask_ge" => LanemaskGe, "lanemask_gt" => LanemaskGt,
            "dynamic_smem_size" => DynamicSmemSize, "total_smem_size" => TotalSmemSize,
            "aggr_smem_size" => AggrSmemSize,
            "reserved_smem_offset_begin" => ReservedSmemBegin, "reserved_smem_offset_end" => ReservedSmemEnd,
            "reserved_smem_offset_cap" => ReservedSmemCap,
            "clusterid.x" => ClusteridX, "clusterid.y" => ClusteridY, "clusterid.z" => ClusteridZ,
            "nclusterid.x" => NclusteridX, "nclusterid.y" => NclusteridY, "nclusterid.z" => NclusteridZ,
            "cluster_ctaid.x" => ClusterCtaidX, "cluster_ctaid.y" => ClusterCtaidY,
            "cluster_ctaid.z" => ClusterCtaidZ,
            "cluster_nctaid.x" => ClusterNctaidX, "cluster_nctaid.y" => ClusterNctaidY,
            "cluster_nctaid.z" => ClusterNctaidZ,
            "cluster_ctarank" => ClusterCtarank, "cluster_nctarank" => ClusterNctarank,
            "WARP_SZ" => WarpSize,
            "tid.w" | "ntid.w" | "ctaid.w" | "nctaid.w" => Zero,
            _ => return None,
        })
    }
}

/// A register that holds a special register's value from a warp's start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Prefilled {
    pub special: Special,
    pub wide: bool,
    pub slot: Slot,
}

/// The rows, predicates and constants of one kernel while it is decoded.
#[derive(Debug)]
pub(crate) struct Allocation {
    pub rows: usize,
    pub predicates: usize,
    pub constants: Vec<Row>,
    known_constants: HashMap<(u64, bool), Slot>,
    pub specials: Vec<Prefilled>,
}

impl Default for Allocation {
    fn default() -> Self {
        Self {
            // The first row stands for operands that an instruction does not have.
            rows: 1,
            predicates: Lanes::FIRST_PREDICATE,
            constants: Vec::new(),
            known_constants: HashMap::new(),
            specials: Vec::new(),
        }
    }
}

impl Allocation {
    /// New registers for a value of `ty`.
    pub fn register(&mut self, ty: Type) -> Slot {
        if ty == Type::Pred {
            self.predicates += 1;
            return Slot::predicate(self.predicates - 1);
        }
        let index = self.rows;
        self.rows += if ty.bits() > 64 { 4 } else { ty.bits().div_ceil(32) as usize };
        Slot::register(index)
    }

    /// The row, or pair of rows, of a constant.
    pub fn constant(&mut self, bits: u64, wide: bool) -> Slot {
        let constants = &mut self.constants;
        *self.known_constants.entry((bits, wide)).or_insert_with(|| {
            let index = constants.len();
            if wide {
                let pair: [Row; 2] = bytemuck::cast([bits; LANES]);
                constants.extend(pair);
            } else {
                constants.push(Row([bits as u32; LANES]));
            }
            Slot::constant(index)
        })
    }

    /// The register of a special register's value, zero-extended to 64 bits where `ty` is as wide.
    pub fn special(&mut self, special: Special, ty: Type) -> Slot {
        let wide = ty.bits() > 32;
        let known = self.specials.iter().find(|known| (known.special, known.wide) == (special, wide));
        if let Some(known) = known {
            return known.slot;
        }
        let slot = self.register(ty);
        self.specials.push(Prefilled { special, wide, slot });
        slot
    }
}

/// Addresses of variables, as an instruction that names them sees them: in their own state space.
pub(crate) trait Symbols {
    /// The address of a symbol; `None` where it is unknown.
    fn address(&self, symbol: &Symbol) -> Option<(ast::Space, u64)>;
}

/// The operands of one function's instructions as slots.
pub(crate) struct Decoder<'a> {
    pub function: &'a ast::Function,
    pub allocation: &'a mut Allocation,
    pub symbols: &'a dyn Symbols,
    /// The slot of each register of the function.
    pub registers: Rc<[Slot]>,
}

impl<'a> Decoder<'a> {
    /// For a function whose registers get slots of their own.
    pub fn new(
        function: &'a ast::Function,
        allocation: &'a mut Allocation,
        symbols: &'a dyn Symbols,
    ) -> Self {
        let registers = function.registers.iter().map(|register| allocation.register(register.ty)).collect();
        Self { function, allocation, symbols, registers }
    }

    fn register(&self, id: RegisterId) -> Result<(Slot, &'a ast::Register), Reject> {
        let index = id.0 as usize;
        let register = self.function.registers.get(index).ok_or("unknown register")?;
        Ok((self.registers[index], register))
    }

    /// The type that the register of an operand was declared with; `None` for anything but a register.
    pub fn register_type(&self, operand: &Operand) -> Option<Type> {
        match operand {
            Operand::Register(id) => self.function.registers.get(id.0 as usize).map(|register| register.ty),
            _ => None,
        }
    }

    /// A source of exactly the width of `ty` (8-bit types lie in 16-bit registers): a register, an immediate, the
    /// address of a variable or a special register. Not for predicates.
    pub fn source(&mut self, operand: &Operand, ty: Type) -> Result<Slot, Reject> {
        if let Operand::Register(id) = operand {
            let (slot, register) = self.register(*id)?;
            let width = ty.bits().max(16);
            if register.ty == Type::Pred || register.ty.bits() != width {
                return Err(format!(
                    "{} is {} bits wide, {width} are expected",
                    register.name,
                    register.ty.bits()
                ));
            }
            return Ok(slot);
        }
        self.value(operand, ty)
    }

    /// A source that may be a register wider than `ty`, whose low bits are meant (`st`, `cvt`: PTX ISA, "Operand Size
    /// Exceeding Instruction-Type Size"), and whether it is 64 bits wide: such a slot may only be read as 64 bits.
    pub fn source_relaxed(&mut self, operand: &Operand, ty: Type) -> Result<(Slot, bool), Reject> {
        if let Operand::Register(id) = operand {
            let (slot, register) = self.register(*id)?;
            if register.ty == Type::Pred || register.ty.bits() < ty.bits() {
                return Err(format!("{} is too narrow for {} bits", register.name, ty.bits()));
            }
            return Ok((slot, register.ty.bits() > 32));
        }
        Ok((self.value(operand, ty)?, ty.bits() > 32))
    }

    /// A constant, an address or a special register.
    fn value(&mut self, operand: &Operand, ty: Type) -> Result<Slot, Reject> {
        let wide = ty.bits() > 32;
        let mask = if ty.bits() >= 64 { u64::MAX } else { (1 << ty.bits()) - 1 };
        match operand {
            Operand::Integer(value) => {
                let bits = match ty {
                    Type::F32 | Type::F64 | Type::F16 | Type::Bf16 => {
                        return Err("an integer where a floating-point constant is expected".into());
                    }
                    _ => *value as u64 & mask,
                };
                Ok(self.allocation.constant(bits, wide))
            }
            Operand::F32(bits) => match ty {
                Type::F32 | Type::B32 | Type::U32 | Type::S32 => {
                    Ok(self.allocation.constant((*bits).into(), false))
                }
                Type::F64 | Type::B64 => {
                    Ok(self.allocation.constant(f64::from(f32::from_bits(*bits)).to_bits(), true))
                }
                _ => Err("a floating-point constant of another type".into()),
            },
            Operand::F64(bits) => match ty {
                Type::F64 | Type::B64 | Type::U64 | Type::S64 => Ok(self.allocation.constant(*bits, true)),
                Type::F32 | Type::B32 => {
                    let bits = (f64::from_bits(*bits) as f32).to_bits();
                    Ok(self.allocation.constant(bits.into(), false))
                }
                _ => Err("a floating-point constant of another type".into()),
            },
            Operand::Address(symbol, offset) => {
                let (_, address) =
                    self.symbols.address(symbol).ok_or_else(|| format!("unknown variable {symbol:?}"))?;
                Ok(self.allocation.constant(address.wrapping_add(*offset as u64) & mask, wide))
            }
            Operand::Special(name) => {
                let special = Special::parse(name)
                    .ok_or_else(|| format!("special register %{name} is not supported here"))?;
                Ok(self.allocation.special(special, if wide { Type::B64 } else { Type::B32 }))
            }
            other => Err(format!("a register or constant is expected, not {other:?}")),
        }
    }

    /// A destination of exactly the width of `ty`; `_` writes to a register that nothing reads.
    pub fn destination(&mut self, operand: &Operand, ty: Type) -> Result<Slot, Reject> {
        match operand {
            Operand::Register(_) => self.source(operand, ty),
            Operand::Sink => Ok(self.allocation.register(ty)),
            other => Err(format!("a register is expected, not {other:?}")),
        }
    }

    /// A destination register of at least the width of `ty`, and its declared type: the instruction extends its
    /// result to it.
    pub fn destination_relaxed(&mut self, operand: &Operand, ty: Type) -> Result<(Slot, Type), Reject> {
        match operand {
            Operand::Register(id) => {
                let (slot, register) = self.register(*id)?;
                if register.ty == Type::Pred || register.ty.bits() < ty.bits() {
                    return Err(format!("{} is too narrow for {} bits", register.name, ty.bits()));
                }
                Ok((slot, register.ty))
            }
            Operand::Sink => Ok((self.allocation.register(ty), ty)),
            other => Err(format!("a register is expected, not {other:?}")),
        }
    }

    /// A predicate as a source: `%p`, `!%p`, `1` or `0`.
    pub fn source_predicate(&mut self, operand: &Operand) -> Result<Slot, Reject> {
        let (id, negated) = match operand {
            Operand::Register(id) => (id, false),
            Operand::Not(id) => (id, true),
            Operand::Special(name) if name == "is_explicit_cluster" => {
                return Ok(self.allocation.special(Special::IsExplicitCluster, Type::Pred));
            }
            Operand::Integer(value) => {
                let slot = Slot::predicate(Lanes::TRUE);
                return Ok(if *value != 0 { slot } else { slot.negated() });
            }
            other => return Err(format!("a predicate is expected, not {other:?}")),
        };
        let (slot, register) = self.register(*id)?;
        if register.ty != Type::Pred {
            return Err(format!("{} is not a predicate", register.name));
        }
        Ok(if negated { slot.negated() } else { slot })
    }

    /// A predicate as a destination, or `_`.
    pub fn destination_predicate(&mut self, operand: &Operand) -> Result<Slot, Reject> {
        match operand {
            Operand::Register(_) => self.source_predicate(operand),
            Operand::Sink => Ok(self.allocation.register(Type::Pred)),
            other => Err(format!("a predicate is expected, not {other:?}")),
        }
    }

    /// The elements of `{a, b}`, or the operand itself.
    pub fn elements<'o>(&self, operand: &'o Operand) -> &'o [Operand] {
        match operand {
            Operand::Vector(elements) => elements,
            other => std::slice::from_ref(other),
        }
    }
}

/// Exactly so many operands.
pub(crate) fn operands<const N: usize>(instruction: &ast::Instruction) -> Result<&[Operand; N], Reject> {
    instruction
        .operands
        .as_slice()
        .try_into()
        .map_err(|_| format!("{N} operands are expected, {} are there", instruction.operands.len()))
}
