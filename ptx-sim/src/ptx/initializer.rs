//! Initial values of variables.

use super::ast::{Relocation, Type};
use super::cursor::Cursor;
use super::expression::Constant;
use super::lexer::Kind;
use crate::error::{Error, Result};

/// The array that is initialised.
#[derive(Debug)]
pub(super) struct Shape {
    pub ty: Type,
    /// Outermost first; the elements of a vector are the last. Empty for a scalar.
    pub dimensions: Vec<u64>,
    /// The first dimension is as large as its initialiser.
    pub unsized_first: bool,
}

impl Shape {
    /// Bytes of what lies within so many outer dimensions; `None` where 64 bits do not hold them.
    fn stride(&self, level: usize) -> Option<u64> {
        let sizes = self.dimensions.get(level..)?.iter();
        sizes.rev().copied().try_fold(self.ty.bytes().into(), u64::checked_mul)
    }

    /// Bytes of the whole.
    pub fn size(&self) -> Option<u64> {
        self.stride(0)
    }
}

/// What an initialiser says.
#[derive(Debug, Default)]
pub(super) struct Values {
    /// Up to the last element that is given.
    pub bytes: Vec<u8>,
    pub relocations: Vec<Relocation>,
    /// Bytes of an array whose size is that of its initialiser.
    pub size: u64,
}

/// The initialiser of a variable, after `=`.
pub(super) fn initializer(cursor: &mut Cursor<'_>, shape: &Shape) -> Result<Values> {
    let mut values = Values::default();
    list(cursor, shape, 0, 0, &mut values)?;
    Ok(values)
}

/// The element, or the list of elements, that lies at `offset` within `level` dimensions.
fn list(
    cursor: &mut Cursor<'_>,
    shape: &Shape,
    level: usize,
    offset: u64,
    values: &mut Values,
) -> Result<()> {
    let Some(&expected) = shape.dimensions.get(level) else {
        return element(cursor, shape.ty, offset, values);
    };
    let Some(stride) = shape.stride(level + 1) else {
        return cursor.error("the variable is too large");
    };
    let open = level == 0 && shape.unsized_first;
    cursor.expect("{")?;
    let mut count = 0;
    while count == 0 || cursor.accept(",")? {
        if count == 0 && cursor.at("}") {
            break;
        }
        if !open && count == expected {
            return cursor.error(format!("expected at most {expected} values, found more"));
        }
        // Within the size of the variable, except where the size is the list's own: so check.
        let Some(place) = stride.checked_mul(count).and_then(|place| place.checked_add(offset)) else {
            return cursor.error("the variable is too large");
        };
        list(cursor, shape, level + 1, place, values)?;
        count += 1;
    }
    cursor.expect("}")?;
    if open {
        let Some(size) = stride.checked_mul(count) else {
            return cursor.error("the variable is too large");
        };
        values.size = size;
    }
    Ok(())
}

/// One value.
fn element(cursor: &mut Cursor<'_>, ty: Type, offset: u64, values: &mut Values) -> Result<()> {
    let line = cursor.token.line;
    let gap = offset - values.bytes.len() as u64;
    let Some(left) = cursor.padding.checked_sub(gap) else {
        return cursor.error("the initialisers of this file leave too many bytes between their values");
    };
    cursor.padding = left;
    values.bytes.resize(offset as usize, 0);
    let size = ty.bytes();
    match value(cursor)? {
        Value::Constant(constant) => {
            let bits = encode(constant, ty).map_err(|message| Error::syntax(line, message))?;
            values.bytes.extend_from_slice(&bits[..size as usize]);
        }
        Value::Address { symbol, addend, generic, shift } => {
            let fits = match shift {
                Some(_) => size == 1,
                None => matches!(size, 4 | 8) && !ty.is_float(),
            };
            if !fits {
                let message = "an address is 4 or 8 bytes long, and a byte of an address is 1 byte long";
                return Err(Error::syntax(line, message));
            }
            let shift = shift.unwrap_or_default();
            values.relocations.push(Relocation { offset, symbol, addend, generic, size, shift });
            values.bytes.resize(offset as usize + size as usize, 0);
        }
    }
    Ok(())
}

#[derive(Debug)]
enum Value {
    Constant(Constant),
    Address { symbol: String, addend: i64, generic: bool, shift: Option<u32> },
}

/// A constant, an address, or `mask(…)` of either.
fn value(cursor: &mut Cursor<'_>) -> Result<Value> {
    match cursor.token.kind {
        Kind::Word(word) if word != "WARP_SZ" => address(cursor),
        Kind::Integer { value, unsigned } => {
            let line = cursor.token.line;
            cursor.advance()?;
            if cursor.accept("(")? {
                let Some(shift) = mask_shift(value) else {
                    let message = format!("expected a mask of one byte such as 0xFF00, found {value:#X}");
                    return Err(Error::syntax(line, message));
                };
                let masked = masked(cursor, shift)?;
                cursor.expect(")")?;
                return Ok(masked);
            }
            let first = if unsigned { Constant::Unsigned(value) } else { Constant::Signed(value as i64) };
            Ok(Value::Constant(cursor.constant_after(first)?))
        }
        _ => Ok(Value::Constant(cursor.constant()?)),
    }
}

/// `symbol + n` or `generic(symbol) + n`.
fn address(cursor: &mut Cursor<'_>) -> Result<Value> {
    let mut symbol = cursor.word("the name of a variable")?;
    let mut inner = 0;
    let generic = symbol == "generic" && cursor.accept("(")?;
    if generic {
        symbol = cursor.word("the name of a variable")?;
        inner = cursor.offset()?;
        cursor.expect(")")?;
    }
    let addend = cursor.offset()?.wrapping_add(inner);
    Ok(Value::Address { symbol: symbol.to_owned(), addend, generic, shift: None })
}

/// The byte of what stands in the parentheses of a mask.
fn masked(cursor: &mut Cursor<'_>, shift: u32) -> Result<Value> {
    if matches!(cursor.token.kind, Kind::Word(word) if word != "WARP_SZ") {
        let Value::Address { symbol, addend, generic, .. } = address(cursor)? else {
            return cursor.expected("an address");
        };
        return Ok(Value::Address { symbol, addend, generic, shift: Some(shift) });
    }
    let byte = (cursor.integer()? as u64 >> shift) & 0xFF;
    Ok(Value::Constant(Constant::Signed(byte as i64)))
}

/// How far the byte that a mask selects lies above the lowest.
fn mask_shift(mask: u64) -> Option<u32> {
    (0..64).step_by(8).find(|&shift| mask == 0xFF << shift)
}

/// The bytes of a constant in memory; those beyond the type's size are of no account.
fn encode(constant: Constant, ty: Type) -> Result<[u8; 16], String> {
    let bits = match (ty, constant) {
        (Type::Pred | Type::F16 | Type::F16x2 | Type::Bf16 | Type::Bf16x2, _) => {
            return Err("variables of this type cannot be initialised; use a type of bits".into());
        }
        // The bits as they are, even in a double: so ptxas does it.
        (Type::F32 | Type::B32 | Type::F64 | Type::B64, Constant::Single(bits)) => u128::from(bits),
        (Type::F32 | Type::B32, Constant::Double(value)) => u128::from((value as f32).to_bits()),
        (Type::F64 | Type::B64, Constant::Double(value)) => u128::from(value.to_bits()),
        (Type::F32 | Type::F64, Constant::Signed(_) | Constant::Unsigned(_)) => {
            return Err("expected a floating-point constant, found an integer".into());
        }
        (_, Constant::Signed(value)) => i128::from(value) as u128,
        (_, Constant::Unsigned(value)) => u128::from(value),
        (_, Constant::Single(_) | Constant::Double(_)) => {
            return Err("expected an integer, found a floating-point constant".into());
        }
    };
    Ok(bits.to_le_bytes())
}
