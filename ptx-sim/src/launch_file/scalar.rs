//! Scalars: a type and a value become bytes.

use half::{bf16, f16};

use super::json::{Json, Node, Result};

/// How a scalar's value is read and stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScalarType {
    /// Bits; any number that fits as signed or unsigned.
    Bits(u32),
    Unsigned(u32),
    Signed(u32),
    F16,
    Bf16,
    F32,
    F64,
}

/// What an error says is expected of a type.
const NAMES: &str = "one of u8, u16, u32, u64, s8, s16, s32, s64, b8, b16, b32, b64, f16, bf16, f32, f64";

impl ScalarType {
    /// The type that a string of the launch file names.
    pub fn read(node: &Node<'_>) -> Result<Self> {
        Ok(match node.text(NAMES)? {
            "b8" => Self::Bits(8),
            "b16" => Self::Bits(16),
            "b32" => Self::Bits(32),
            "b64" => Self::Bits(64),
            "u8" => Self::Unsigned(8),
            "u16" => Self::Unsigned(16),
            "u32" => Self::Unsigned(32),
            "u64" => Self::Unsigned(64),
            "s8" => Self::Signed(8),
            "s16" => Self::Signed(16),
            "s32" => Self::Signed(32),
            "s64" => Self::Signed(64),
            "f16" => Self::F16,
            "bf16" => Self::Bf16,
            "f32" => Self::F32,
            "f64" => Self::F64,
            _ => return node.error(NAMES),
        })
    }

    /// Bytes of a value.
    pub fn size(self) -> usize {
        self.bits() as usize / 8
    }

    fn bits(self) -> u32 {
        match self {
            Self::Bits(bits) | Self::Unsigned(bits) | Self::Signed(bits) => bits,
            Self::F16 | Self::Bf16 => 16,
            Self::F32 => 32,
            Self::F64 => 64,
        }
    }

    /// A value's bytes, least significant first: a number, `"nan"`, `"inf"`, `"-inf"`, or `"0x…"`, which gives the
    /// bits whatever the type is.
    pub fn encode(self, node: &Node<'_>) -> Result<Vec<u8>> {
        let bits = match node.json {
            Json::Text(text) if text.starts_with("0x") => self.hexadecimal(node, &text[2..])?,
            _ => match self {
                Self::Bits(_) | Self::Unsigned(_) | Self::Signed(_) => self.integer(node)?,
                Self::F16 => {
                    self.float(node, |x| f16::from_f64(x).to_f64(), |x| f16::from_f64(x).to_bits().into())?
                }
                Self::Bf16 => {
                    self.float(node, |x| bf16::from_f64(x).to_f64(), |x| bf16::from_f64(x).to_bits().into())?
                }
                Self::F32 => self.float(node, |x| (x as f32).into(), |x| (x as f32).to_bits().into())?,
                Self::F64 => self.float(node, |x| x, f64::to_bits)?,
            },
        };
        Ok(bits.to_le_bytes()[..self.size()].to_vec())
    }

    /// Element `index` of 0, 1, 2, …: integers wrap, floats round.
    pub fn iota(self, index: u64) -> [u8; 8] {
        let bits = match self {
            Self::Bits(_) | Self::Unsigned(_) | Self::Signed(_) => index,
            Self::F16 => f16::from_f64(index as f64).to_bits().into(),
            Self::Bf16 => bf16::from_f64(index as f64).to_bits().into(),
            Self::F32 => (index as f32).to_bits().into(),
            Self::F64 => (index as f64).to_bits(),
        };
        bits.to_le_bytes()
    }

    fn hexadecimal(self, node: &Node<'_>, digits: &str) -> Result<u64> {
        let bits = self.bits();
        let valid = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        match u64::from_str_radix(digits, 16) {
            Ok(value) if valid && (bits == 64 || value >> bits == 0) => Ok(value),
            _ => node.error(format!("0x and the hexadecimal digits of a {bits}-bit number")),
        }
    }

    fn integer(self, node: &Node<'_>) -> Result<u64> {
        let bits = self.bits();
        let unsigned_most = (1i128 << bits) - 1;
        let signed = (-(1i128 << (bits - 1)), (1i128 << (bits - 1)) - 1);
        let (least, most) = match self {
            Self::Unsigned(_) => (0, unsigned_most),
            Self::Signed(_) => signed,
            _ => (signed.0, unsigned_most),
        };
        // Two's complement; what is above the type's width is cut off by the caller.
        node.integer(least, most).map(|value| value as u64)
    }

    fn float(self, node: &Node<'_>, rounded: fn(f64) -> f64, to_bits: fn(f64) -> u64) -> Result<u64> {
        let expected = "a number, \"nan\", \"inf\", \"-inf\" or \"0x…\"";
        let value = match node.json {
            Json::Integer(value) => *value as f64,
            Json::Float(value) => *value,
            Json::Text(text) => match text.as_str() {
                "nan" => f64::NAN,
                "inf" | "+inf" => f64::INFINITY,
                "-inf" => f64::NEG_INFINITY,
                _ => return node.error(expected),
            },
            _ => return node.error(expected),
        };
        if value.is_finite() && !rounded(value).is_finite() {
            return node.error(format!("a number that is finite in {} bits, or \"inf\"", self.bits()));
        }
        Ok(to_bits(value))
    }
}

/// The bytes of a string of hexadecimal digits, two a byte; spaces may stand between them.
pub fn hex_bytes(node: &Node<'_>) -> Result<Vec<u8>> {
    const EXPECTED: &str = "a string of hexadecimal digits, two for each byte";
    let digits: Vec<char> = node.text(EXPECTED)?.chars().filter(|c| !c.is_whitespace()).collect();
    let value = |digit: char| digit.to_digit(16).map(|value| value as u8);
    if digits.is_empty() || !digits.len().is_multiple_of(2) {
        return node.error(EXPECTED);
    }
    let bytes: Option<Vec<u8>> =
        digits.chunks_exact(2).map(|pair| Some(value(pair[0])? << 4 | value(pair[1])?)).collect();
    bytes.map_or_else(|| node.error(EXPECTED), Ok)
}
