//! Constant expressions, folded while they are read (PTX ISA, "Constant Expressions").

use super::cursor::Cursor;
use super::lexer::Kind;
use crate::error::Result;

/// Parentheses, signs and conditions within each other.
const MAX_DEPTH: u32 = 32;

/// A thread count that every GPU shares; `WARP_SZ` in PTX.
const WARP_SIZE: i64 = 32;

/// The value of a constant expression.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Constant {
    /// `.s64`.
    Signed(i64),
    /// `.u64`.
    Unsigned(u64),
    /// `.f64`.
    Double(f64),
    /// `0f…`: the bits of a single, which no operator takes.
    Single(u32),
}

impl Constant {
    /// The bits of an integer.
    fn bits(self) -> Option<u64> {
        match self {
            Constant::Signed(value) => Some(value as u64),
            Constant::Unsigned(value) => Some(value),
            Constant::Double(_) | Constant::Single(_) => None,
        }
    }
}

/// How tightly an operator binds; `None` for what is no binary operator.
fn precedence(symbol: &str) -> Option<u32> {
    Some(match symbol {
        "*" | "/" | "%" => 10,
        "+" | "-" => 9,
        "<<" | ">>" => 8,
        "<" | ">" | "<=" | ">=" => 7,
        "==" | "!=" => 6,
        "&" => 5,
        "^" => 4,
        "|" => 3,
        "&&" => 2,
        "||" => 1,
        _ => return None,
    })
}

/// Whether a constant expression can start with this.
pub(super) fn starts_constant(kind: Kind<'_>) -> bool {
    match kind {
        Kind::Integer { .. } | Kind::Single(_) | Kind::Double(_) => true,
        Kind::Symbol(symbol) => matches!(symbol, "-" | "+" | "~" | "!" | "("),
        Kind::Word(word) => word == "WARP_SZ",
        Kind::Dot(word) => word.starts_with(|first: char| first.is_ascii_digit()),
        Kind::Text(_) | Kind::End => false,
    }
}

impl Cursor<'_> {
    /// A constant expression.
    pub fn constant(&mut self) -> Result<Constant> {
        let first = self.unary()?;
        self.constant_after(first)
    }

    /// A constant expression whose first operand was read already.
    pub fn constant_after(&mut self, first: Constant) -> Result<Constant> {
        let condition = self.binary(first, 0)?;
        if !self.at("?") {
            return Ok(condition);
        }
        self.nested(|cursor| {
            cursor.advance()?;
            let Some(chosen) = condition.bits() else {
                return cursor.error("expected an integer before `?`, found a floating-point constant");
            };
            let yes = cursor.constant()?;
            cursor.expect(":")?;
            let no = cursor.constant()?;
            let (yes, no) = match (yes, no) {
                (Constant::Double(_), Constant::Double(_)) | (Constant::Signed(_), Constant::Signed(_)) => {
                    (yes, no)
                }
                _ => match (yes.bits(), no.bits()) {
                    (Some(yes), Some(no)) => (Constant::Unsigned(yes), Constant::Unsigned(no)),
                    _ => return cursor.error("the two values of `?:` must be integers, or both doubles"),
                },
            };
            Ok(if chosen != 0 { yes } else { no })
        })
    }

    /// A constant expression that is an integer, as its 64 bits.
    pub fn integer(&mut self) -> Result<i64> {
        let line = self.token.line;
        match self.constant()?.bits() {
            Some(bits) => Ok(bits as i64),
            None => Err(crate::Error::syntax(line, "expected an integer, found a floating-point constant")),
        }
    }

    /// A constant expression that is an integer and not negative.
    pub fn unsigned(&mut self, what: &str) -> Result<u64> {
        let line = self.token.line;
        match self.constant()? {
            Constant::Unsigned(value) => Ok(value),
            Constant::Signed(value) if value >= 0 => Ok(value as u64),
            other => Err(crate::Error::syntax(line, format!("expected {what}, found {}", other.describe()))),
        }
    }

    /// `+ a - b …` after a name: the sum, 0 where there is none.
    pub fn offset(&mut self) -> Result<i64> {
        let mut sum = 0_i64;
        loop {
            let negative = self.at("-");
            if !negative && !self.at("+") {
                return Ok(sum);
            }
            self.advance()?;
            let first = self.unary()?;
            let Some(term) = self.binary(first, 10)?.bits() else {
                return self.error("expected an integer as an offset, found a floating-point constant");
            };
            let term = term as i64;
            let total = if negative { sum.checked_sub(term) } else { sum.checked_add(term) };
            let Some(total) = total else {
                return self.error("the offset does not fit 64 bits");
            };
            sum = total;
        }
    }

    fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.depth >= MAX_DEPTH {
            return self.error(format!("a constant expression is nested more than {MAX_DEPTH} deep"));
        }
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }

    fn unary(&mut self) -> Result<Constant> {
        match self.token.kind {
            Kind::Symbol(symbol @ ("-" | "+" | "!" | "~")) => self.nested(|cursor| {
                cursor.advance()?;
                let value = cursor.unary()?;
                match apply_unary(symbol, value) {
                    Some(result) => Ok(result),
                    None => cursor.error(format!("`{symbol}` cannot be applied to {}", value.describe())),
                }
            }),
            _ => self.primary(),
        }
    }

    fn primary(&mut self) -> Result<Constant> {
        let constant = match self.token.kind {
            Kind::Integer { value, unsigned: true } => Constant::Unsigned(value),
            Kind::Integer { value, unsigned: false } => Constant::Signed(value as i64),
            Kind::Single(bits) => Constant::Single(bits),
            Kind::Double(value) => Constant::Double(value),
            Kind::Word("WARP_SZ") => Constant::Signed(WARP_SIZE),
            Kind::Dot(word) if word.starts_with(|first: char| first.is_ascii_digit()) => {
                return Ok(Constant::Double(self.fraction()?));
            }
            Kind::Symbol("(") => {
                return self.nested(|cursor| {
                    cursor.advance()?;
                    if let Kind::Dot(cast @ ("s64" | "u64")) = cursor.token.kind {
                        cursor.advance()?;
                        cursor.expect(")")?;
                        let Some(bits) = cursor.unary()?.bits() else {
                            return cursor.error(format!(
                                "`(.{cast})` cannot be applied to a floating-point constant"
                            ));
                        };
                        return Ok(if cast == "s64" {
                            Constant::Signed(bits as i64)
                        } else {
                            Constant::Unsigned(bits)
                        });
                    }
                    let value = cursor.constant()?;
                    cursor.expect(")")?;
                    Ok(value)
                });
            }
            _ => return self.expected("a constant"),
        };
        self.advance()?;
        Ok(constant)
    }

    /// The binary operator that is there. `%3` after an operand is a remainder, not a name.
    fn operator(&self) -> Option<&'static str> {
        match self.token.kind {
            Kind::Symbol(symbol) => Some(symbol),
            Kind::Word(word) if word.starts_with('%') => Some("%"),
            _ => None,
        }
    }

    /// The operators that bind at least as tightly as `lowest`, after a first operand.
    fn binary(&mut self, mut left: Constant, lowest: u32) -> Result<Constant> {
        while let Some(symbol) = self.operator() {
            let Some(strength) = precedence(symbol).filter(|&strength| strength >= lowest) else {
                break;
            };
            self.split_token(symbol.len())?;
            let first = self.unary()?;
            let right = self.binary(first, strength + 1)?;
            left = match apply(symbol, left, right) {
                Ok(result) => result,
                Err(message) => return self.error(message),
            };
        }
        Ok(left)
    }
}

impl Constant {
    fn describe(self) -> String {
        match self {
            Constant::Signed(value) => value.to_string(),
            Constant::Unsigned(value) => value.to_string(),
            Constant::Double(value) => value.to_string(),
            Constant::Single(bits) => format!("0f{bits:08X}"),
        }
    }
}

fn apply_unary(symbol: &str, value: Constant) -> Option<Constant> {
    use Constant::{Double, Signed, Single, Unsigned};
    Some(match (symbol, value) {
        (_, Single(_)) => return None,
        ("+", value) => value,
        ("-", Signed(value)) => Signed(value.wrapping_neg()),
        ("-", Unsigned(value)) => Unsigned(value.wrapping_neg()),
        ("-", Double(value)) => Double(-value),
        ("!", value) => Signed((value.bits()? == 0).into()),
        ("~", value) => Unsigned(!value.bits()?),
        _ => return None,
    })
}

fn apply(symbol: &str, left: Constant, right: Constant) -> Result<Constant, String> {
    use Constant::{Double, Signed, Unsigned};
    let result = match (left, right) {
        (Double(left), Double(right)) => apply_doubles(symbol, left, right),
        (Signed(left), Signed(right)) if !matches!(symbol, "%") => apply_signed(symbol, left, right)
            .or_else(|| apply_bits(symbol, left as u64, right as u64).map(|bits| Signed(bits as i64))),
        _ => match (left.bits(), right.bits()) {
            (Some(a), Some(b)) => match (symbol, left) {
                ("%", _) => a.checked_rem(b).map(|bits| Signed(bits as i64)),
                ("&&", _) => Some(truth(a != 0 && b != 0)),
                ("||", _) => Some(truth(a != 0 || b != 0)),
                // The type of a shift is that of its first operand.
                ("<<" | ">>", Signed(value)) => apply_signed(symbol, value, b as i64),
                _ => apply_unsigned(symbol, a, b).or_else(|| apply_bits(symbol, a, b).map(Unsigned)),
            },
            _ => None,
        },
    };
    let divides = matches!(symbol, "/" | "%") && right.bits() == Some(0);
    result.ok_or_else(|| {
        if divides {
            "division by zero in a constant expression".to_owned()
        } else {
            format!("`{symbol}` cannot be applied to {} and {}", left.describe(), right.describe())
        }
    })
}

fn truth(value: bool) -> Constant {
    Constant::Signed(value.into())
}

/// What has the same bits whether it is signed or not.
fn apply_bits(symbol: &str, left: u64, right: u64) -> Option<u64> {
    Some(match symbol {
        "*" => left.wrapping_mul(right),
        "+" => left.wrapping_add(right),
        "-" => left.wrapping_sub(right),
        "&" => left & right,
        "^" => left ^ right,
        "|" => left | right,
        _ => return None,
    })
}

fn apply_signed(symbol: &str, left: i64, right: i64) -> Option<Constant> {
    // The ISA leaves counts of 64 and more open; ptxas takes their low six bits.
    let count = right as u32;
    Some(match symbol {
        "/" if right == 0 => return None,
        "/" => Constant::Signed(left.wrapping_div(right)),
        "<<" => Constant::Signed(left.wrapping_shl(count)),
        ">>" => Constant::Signed(left.wrapping_shr(count)),
        "&&" => truth(left != 0 && right != 0),
        "||" => truth(left != 0 || right != 0),
        _ => return compare(symbol, &left, &right),
    })
}

fn apply_unsigned(symbol: &str, left: u64, right: u64) -> Option<Constant> {
    let count = right as u32;
    Some(match symbol {
        "/" => Constant::Unsigned(left.checked_div(right)?),
        "<<" => Constant::Unsigned(left.wrapping_shl(count)),
        ">>" => Constant::Unsigned(left.wrapping_shr(count)),
        _ => return compare(symbol, &left, &right),
    })
}

fn apply_doubles(symbol: &str, left: f64, right: f64) -> Option<Constant> {
    Some(match symbol {
        "*" => Constant::Double(left * right),
        "/" => Constant::Double(left / right),
        "+" => Constant::Double(left + right),
        "-" => Constant::Double(left - right),
        _ => return compare(symbol, &left, &right),
    })
}

fn compare<T: PartialOrd>(symbol: &str, left: &T, right: &T) -> Option<Constant> {
    Some(truth(match symbol {
        "<" => left < right,
        ">" => left > right,
        "<=" => left <= right,
        ">=" => left >= right,
        "==" => left == right,
        "!=" => left != right,
        _ => return None,
    }))
}
