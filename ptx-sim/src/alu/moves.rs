//! Moves between registers: whole ones, and vectors packed into one register or unpacked from it.

use std::marker::PhantomData;

use crate::program::{Decoded, Decoder, LANES, Lanes, Operands, Reject, Slot, operands};
use crate::ptx::ast::{self, Operand, Type};
use crate::report::InstructionClass::Move;

use super::macros::{Element, Modifiers, alu, lane_fn, wrong_type};
use super::{AluFn, LaneOp, compile};

/// `mov`.
pub(crate) fn decode(
    decoder: &mut Decoder<'_>,
    instruction: &ast::Instruction,
) -> Result<Option<Decoded>, Reject> {
    if instruction.root() != "mov" {
        return Ok(None);
    }
    let mut modifiers = Modifiers::of(instruction);
    let ty = modifiers.ty()?;
    modifiers.finish()?;
    let [destination, source] = operands(instruction)?;
    match (destination, source) {
        (Operand::Vector(_), Operand::Vector(_)) => Err("one operand of two is a vector".into()),
        (Operand::Vector(elements), whole) => unpack(decoder, instruction, ty, elements, whole),
        (whole, Operand::Vector(elements)) => pack(decoder, instruction, ty, whole, elements),
        _ => whole(decoder, instruction, ty, destination, source),
    }
}

struct MovePredicate;

impl LaneOp for MovePredicate {
    #[inline(always)]
    fn run(lanes: &mut Lanes, operands: &Operands, mask: u32) {
        let bits = lanes.get_predicate(operands.src[0]);
        lanes.set_predicate(operands.dst[0], bits, mask);
    }
}

/// Two 64-bit registers: source and destination of 128 bits are the pairs 0 and 1.
struct MovePair;

impl LaneOp for MovePair {
    #[inline(always)]
    fn run(lanes: &mut Lanes, operands: &Operands, mask: u32) {
        let (low, high) = (lanes.get64(operands.src[0]), lanes.get64(operands.src[1]));
        lanes.set64(operands.dst[0], &low, mask);
        lanes.set64(operands.dst[1], &high, mask);
    }
}

fn whole(
    decoder: &mut Decoder<'_>,
    instruction: &ast::Instruction,
    ty: Type,
    destination: &Operand,
    source: &Operand,
) -> Result<Option<Decoded>, Reject> {
    use Type::{B16, B32, B64, B128, F32, F64, Pred, S16, S32, S64, U16, U32, U64};
    check_address(decoder, ty, source)?;
    let (function, operands) = match ty {
        Pred => {
            let source = decoder.source_predicate(source)?;
            let destination = decoder.destination_predicate(destination)?;
            (compile::<MovePredicate>(), Operands::new(&[destination], &[source]))
        }
        B128 => {
            let source = halves(register_of_128(decoder, source)?);
            let destination = halves(register_of_128(decoder, destination)?);
            (compile::<MovePair>(), Operands::new(&destination, &source))
        }
        B16 | B32 | B64 | U16 | U32 | U64 | S16 | S32 | S64 | F32 | F64 => {
            let source = decoder.source(source, ty)?;
            let operands = Operands::new(&[decoder.destination(destination, ty)?], &[source]);
            let function = match ty.bits() {
                64 => lane_fn!(|a: u64| -> u64 { a }),
                _ => lane_fn!(|a: u32| -> u32 { a }),
            };
            (function, operands)
        }
        _ => return Err(wrong_type(instruction, ty)),
    };
    Ok(alu(function, operands, Move))
}

/// An address must fit the register that it is moved to.
fn check_address(decoder: &Decoder<'_>, ty: Type, source: &Operand) -> Result<(), Reject> {
    let Operand::Address(symbol, offset) = source else { return Ok(()) };
    if ty.is_float() || ty.bits() < 32 {
        return Err("an address fits no register of this type".into());
    }
    match decoder.symbols.address(symbol) {
        Some((_, address)) if ty.bits() == 32 && address.wrapping_add(*offset as u64) > u32::MAX.into() => {
            Err("the address has more than 32 bits".into())
        }
        _ => Ok(()),
    }
}

fn register_of_128(decoder: &mut Decoder<'_>, operand: &Operand) -> Result<Slot, Reject> {
    match operand {
        Operand::Register(_) => decoder.source(operand, Type::B128),
        _ => Err("a 128-bit register is expected".into()),
    }
}

/// Both halves of a 128-bit register.
fn halves(slot: Slot) -> [Slot; 2] {
    [slot, slot.offset(2)]
}

/// The type of each of so many elements of a register.
fn element_type(instruction: &ast::Instruction, ty: Type, count: usize) -> Result<Type, Reject> {
    use Type::{B8, B16, B32, B64, B128};
    Ok(match (ty, count) {
        (B16, 2) | (B32, 4) => B8,
        (B32, 2) | (B64, 4) => B16,
        (B64, 2) | (B128, 4) => B32,
        (B128, 2) => B64,
        (B16 | B32 | B64 | B128, _) => return Err(format!("{ty:?} has no {count} elements")),
        _ => return Err(wrong_type(instruction, ty)),
    })
}

/// An element as a source. The registers of 8-bit elements have 8 bits, those of other instructions on bytes 16.
fn source_element(decoder: &mut Decoder<'_>, element: &Operand, ty: Type) -> Result<Slot, Reject> {
    check_element(decoder, element, ty)?;
    Ok(decoder.source_relaxed(element, ty)?.0)
}

fn destination_element(decoder: &mut Decoder<'_>, element: &Operand, ty: Type) -> Result<Slot, Reject> {
    check_element(decoder, element, ty)?;
    Ok(decoder.destination_relaxed(element, ty)?.0)
}

fn check_element(decoder: &Decoder<'_>, element: &Operand, ty: Type) -> Result<(), Reject> {
    match decoder.register_type(element) {
        Some(register) if register.bits() != ty.bits() => {
            Err(format!("an element has {} bits, {} are expected", register.bits(), ty.bits()))
        }
        _ => Ok(()),
    }
}

/// A register that has elements.
trait Whole: Element + Into<u64> + 'static {
    fn truncated(bits: u64) -> Self;
}

impl Whole for u32 {
    #[inline(always)]
    fn truncated(bits: u64) -> Self {
        bits as Self
    }
}

impl Whole for u64 {
    #[inline(always)]
    fn truncated(bits: u64) -> Self {
        bits
    }
}

struct Unpack<W, const COUNT: usize, const BITS: u32>(PhantomData<W>);

impl<W: Whole, const COUNT: usize, const BITS: u32> LaneOp for Unpack<W, COUNT, BITS> {
    #[inline(always)]
    fn run(lanes: &mut Lanes, operands: &Operands, mask: u32) {
        let whole = W::read(lanes, operands.src[0]);
        for element in 0..COUNT {
            let mut row = [0; LANES];
            for lane in 0..LANES {
                let bits: u64 = whole[lane].into();
                row[lane] = (bits >> (BITS * element as u32)) as u32 & (u32::MAX >> (32 - BITS));
            }
            lanes.set32(operands.dst[element], &row, mask);
        }
    }
}

struct Pack<W, const COUNT: usize, const BITS: u32>(PhantomData<W>);

impl<W: Whole, const COUNT: usize, const BITS: u32> LaneOp for Pack<W, COUNT, BITS> {
    #[inline(always)]
    fn run(lanes: &mut Lanes, operands: &Operands, mask: u32) {
        let mut whole = [0; LANES];
        for element in 0..COUNT {
            let row = lanes.get32(operands.src[element]);
            for lane in 0..LANES {
                let bits = row[lane] & (u32::MAX >> (32 - BITS));
                whole[lane] |= u64::from(bits) << (BITS * element as u32);
            }
        }
        let mut truncated = [W::default(); LANES];
        for lane in 0..LANES {
            truncated[lane] = W::truncated(whole[lane]);
        }
        W::write(lanes, operands.dst[0], &truncated, mask);
    }
}

/// Four 32-bit elements of a register of 128 bits, whose halves are sources 0 and 1.
struct Unpack128;

impl LaneOp for Unpack128 {
    #[inline(always)]
    fn run(lanes: &mut Lanes, operands: &Operands, mask: u32) {
        for half in 0..2 {
            let [low, high] = [operands.dst[2 * half], operands.dst[2 * half + 1]];
            let part = Operands::new(&[low, high], &[operands.src[half]]);
            Unpack::<u64, 2, 32>::run(lanes, &part, mask);
        }
    }
}

struct Pack128;

impl LaneOp for Pack128 {
    #[inline(always)]
    fn run(lanes: &mut Lanes, operands: &Operands, mask: u32) {
        for half in 0..2 {
            let [low, high] = [operands.src[2 * half], operands.src[2 * half + 1]];
            let part = Operands::new(&[operands.dst[half]], &[low, high]);
            Pack::<u64, 2, 32>::run(lanes, &part, mask);
        }
    }
}

/// The functions that unpack and pack so many elements of a register.
fn functions(ty: Type, count: usize) -> Option<(AluFn, AluFn)> {
    Some(match (ty, count) {
        (Type::B16, 2) => (compile::<Unpack<u32, 2, 8>>(), compile::<Pack<u32, 2, 8>>()),
        (Type::B32, 4) => (compile::<Unpack<u32, 4, 8>>(), compile::<Pack<u32, 4, 8>>()),
        (Type::B32, 2) => (compile::<Unpack<u32, 2, 16>>(), compile::<Pack<u32, 2, 16>>()),
        (Type::B64, 4) => (compile::<Unpack<u64, 4, 16>>(), compile::<Pack<u64, 4, 16>>()),
        (Type::B64, 2) => (compile::<Unpack<u64, 2, 32>>(), compile::<Pack<u64, 2, 32>>()),
        (Type::B128, 4) => (compile::<Unpack128>(), compile::<Pack128>()),
        (Type::B128, 2) => (compile::<MovePair>(), compile::<MovePair>()),
        _ => return None,
    })
}

fn unpack(
    decoder: &mut Decoder<'_>,
    instruction: &ast::Instruction,
    ty: Type,
    elements: &[Operand],
    whole: &Operand,
) -> Result<Option<Decoded>, Reject> {
    let element = element_type(instruction, ty, elements.len())?;
    let (function, _) = functions(ty, elements.len()).ok_or_else(|| wrong_type(instruction, ty))?;
    let source = match ty {
        Type::B128 => halves(register_of_128(decoder, whole)?),
        _ => [decoder.source(whole, ty)?, Slot::default()],
    };
    let mut destinations = [Slot::default(); 4];
    for (slot, operand) in destinations.iter_mut().zip(elements) {
        *slot = destination_element(decoder, operand, element)?;
    }
    Ok(alu(function, Operands::new(&destinations, &source), Move))
}

fn pack(
    decoder: &mut Decoder<'_>,
    instruction: &ast::Instruction,
    ty: Type,
    whole: &Operand,
    elements: &[Operand],
) -> Result<Option<Decoded>, Reject> {
    let element = element_type(instruction, ty, elements.len())?;
    let (_, function) = functions(ty, elements.len()).ok_or_else(|| wrong_type(instruction, ty))?;
    let mut sources = [Slot::default(); 4];
    for (slot, operand) in sources.iter_mut().zip(elements) {
        *slot = source_element(decoder, operand, element)?;
    }
    let destination = match ty {
        Type::B128 => halves(register_of_128(decoder, whole)?),
        _ => [decoder.destination(whole, ty)?, Slot::default()],
    };
    Ok(alu(function, Operands::new(&destination, &sources), Move))
}
