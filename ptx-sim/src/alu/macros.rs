//! What the decoders of arithmetic have in common: reading modifiers, naming operands, and functions on rows that
//! are written as an expression of one lane.

use crate::program::{Decoded, Decoder, LANES, Lanes, Op, Operands, Reject, Slot};
use crate::ptx::ast::{self, Type};
use crate::report::InstructionClass;

use super::AluFn;

/// A number that a register holds.
pub(crate) trait Element: Copy + Default {
    /// All lanes of a register.
    fn read(lanes: &Lanes, slot: Slot) -> [Self; LANES];
    /// Writes the lanes of `mask`.
    fn write(lanes: &mut Lanes, slot: Slot, values: &[Self; LANES], mask: u32);
}

/// `$get` and `$set` of [`Lanes`], whose bits become the number and back.
macro_rules! element {
    ($ty:ty, $get:ident, $set:ident, $zero:expr, |$bits:ident| $from:expr, |$value:ident| $to:expr) => {
        impl Element for $ty {
            #[inline(always)]
            fn read(lanes: &Lanes, slot: Slot) -> [Self; LANES] {
                let row = lanes.$get(slot);
                let mut values = [Self::default(); LANES];
                for lane in 0..LANES {
                    let $bits = row[lane];
                    values[lane] = $from;
                }
                values
            }

            #[inline(always)]
            fn write(lanes: &mut Lanes, slot: Slot, values: &[Self; LANES], mask: u32) {
                let mut row = [$zero; LANES];
                for lane in 0..LANES {
                    let $value = values[lane];
                    row[lane] = $to;
                }
                lanes.$set(slot, &row, mask);
            }
        }
    };
}

element!(u16, get32, set32, 0u32, |bits| bits as u16, |value| u32::from(value));
element!(i16, get32, set32, 0u32, |bits| bits as i16, |value| u32::from(value as u16));
element!(u32, get32, set32, 0u32, |bits| bits, |value| value);
element!(i32, get32, set32, 0u32, |bits| bits as i32, |value| value as u32);
element!(u64, get64, set64, 0u64, |bits| bits, |value| value);
element!(i64, get64, set64, 0u64, |bits| bits as i64, |value| value as u64);
element!(f32, get32, set32, 0u32, |bits| f32::from_bits(bits), |value| value.to_bits());
element!(f64, get64, set64, 0u64, |bits| f64::from_bits(bits), |value| value.to_bits());

/// The function of an instruction that computes its destination from one lane of each source, such as
/// `lane_fn!(|a: u32, b: u32| -> u32 { a & b })`. A name after a semicolon is the instruction's small number.
macro_rules! lane_fn {
    (|$($source:ident: $ty:ty),+ $(; $aux:ident)?| -> $result:ty $body:block) => {{
        struct Lanewise;
        impl $crate::alu::LaneOp for Lanewise {
            #[inline(always)]
            fn run(lanes: &mut $crate::program::Lanes, operands: &$crate::program::Operands, mask: u32) {
                use $crate::alu::macros::Element;
                let [$($source,)+ ..] = operands.src;
                $(let $source = <$ty as Element>::read(lanes, $source);)+
                $(let $aux = operands.aux;)?
                let mut result = [<$result>::default(); $crate::program::LANES];
                for lane in 0..$crate::program::LANES {
                    $(let $source = $source[lane];)+
                    result[lane] = $body;
                }
                <$result as Element>::write(lanes, operands.dst[0], &result, mask);
            }
        }
        $crate::alu::compile::<Lanewise>()
    }};
}

/// An expression in which a name stands for the Rust type of an integer type; `None` for any other type.
macro_rules! for_integer {
    ($ty:expr, $name:ident => $body:expr) => {
        match $ty {
            Type::U16 => Some(for_integer!(@u16, $name, $body)),
            Type::S16 => Some(for_integer!(@i16, $name, $body)),
            Type::U32 => Some(for_integer!(@u32, $name, $body)),
            Type::S32 => Some(for_integer!(@i32, $name, $body)),
            Type::U64 => Some(for_integer!(@u64, $name, $body)),
            Type::S64 => Some(for_integer!(@i64, $name, $body)),
            _ => None,
        }
    };
    (@$rust:ty, $name:ident, $body:expr) => {{
        type $name = $rust;
        $body
    }};
}

/// Like [`for_integer`] for the untyped bits of registers.
macro_rules! for_bits {
    ($ty:expr, $name:ident => $body:expr) => {
        match $ty {
            Type::B16 => Some(for_integer!(@u16, $name, $body)),
            Type::B32 => Some(for_integer!(@u32, $name, $body)),
            Type::B64 => Some(for_integer!(@u64, $name, $body)),
            _ => None,
        }
    };
}

pub(super) use {for_bits, for_integer, lane_fn};

/// The modifiers of an instruction; each is taken once, and none may be left over.
pub(super) struct Modifiers<'a> {
    rest: Vec<&'a str>,
}

impl<'a> Modifiers<'a> {
    pub fn of(instruction: &'a ast::Instruction) -> Self {
        Self { rest: instruction.modifiers().collect() }
    }

    /// Whether a modifier is there.
    pub fn flag(&mut self, name: &str) -> bool {
        self.take(|modifier| (modifier == name).then_some(())).is_some()
    }

    /// The first modifier that a function knows.
    pub fn take<T>(&mut self, known: impl Fn(&str) -> Option<T>) -> Option<T> {
        let (at, value) = self.rest.iter().enumerate().find_map(|(at, one)| Some((at, known(one)?)))?;
        self.rest.remove(at);
        Some(value)
    }

    /// The first type.
    pub fn ty(&mut self) -> Result<Type, Reject> {
        self.take(Type::parse).ok_or_else(|| "a type is missing".into())
    }

    /// An error where a modifier is left that nothing took.
    pub fn finish(self) -> Result<(), Reject> {
        match self.rest.first() {
            Some(modifier) => Err(format!("modifier .{modifier} is not supported here")),
            None => Ok(()),
        }
    }
}

/// Whether the types of an instruction are all integers or bits: instructions that exist for floats too are left to
/// the float decoders where not.
pub(super) fn is_integer(instruction: &ast::Instruction) -> bool {
    let mut types = instruction.modifiers().filter_map(Type::parse).peekable();
    types.peek().is_some() && types.all(|ty| !ty.is_float())
}

/// A destination and sources, each of a type of its own: all the operands of an instruction.
pub(super) fn typed_operands(
    decoder: &mut Decoder<'_>,
    instruction: &ast::Instruction,
    destination: Type,
    sources: &[Type],
) -> Result<Operands, Reject> {
    let Some((first, rest)) =
        instruction.operands.split_first().filter(|(_, rest)| rest.len() == sources.len())
    else {
        return Err(wrong_count(1 + sources.len(), instruction));
    };
    let dst = decoder.destination(first, destination)?;
    let mut src = [Slot::default(); 4];
    for ((slot, operand), &ty) in src.iter_mut().zip(rest).zip(sources) {
        *slot = decoder.source(operand, ty)?;
    }
    Ok(Operands::new(&[dst], &src))
}

/// The reason for refusing a wrong number of operands.
pub(super) fn wrong_count(expected: usize, instruction: &ast::Instruction) -> Reject {
    format!("{expected} operands are expected, {} are there", instruction.operands.len())
}

/// An arithmetic instruction, decoded.
pub(super) fn alu(function: AluFn, operands: Operands, class: InstructionClass) -> Option<Decoded> {
    Some(Decoded { op: Op::Alu(function), operands, class })
}

/// The reason for refusing a type that an instruction does not have.
pub(super) fn wrong_type(instruction: &ast::Instruction, ty: Type) -> Reject {
    format!("{} does not exist for this type ({ty:?})", instruction.root())
}
