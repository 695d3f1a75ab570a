//! `printf` and failed assertions of kernels.

use super::collective::lanes_of;
use super::fault::Fail;
use super::warp::Warp;
use super::{Block, Engine};
use crate::memory::windows;
use crate::program::{LANES, Operands, Pc};
use crate::violation::ViolationKind;

/// Bytes of a string at most.
const MAX_STRING: usize = 4096;
/// Bytes of output that a launch keeps, as a device's buffer does.
const MAX_OUTPUT: usize = 1 << 20;

impl Engine<'_> {
    /// A byte at a generic address, outside all checks: what the device's runtime reads.
    fn peek(&self, block: &Block, warp: &Warp, lane: usize, address: u64) -> Option<u8> {
        match address {
            windows::SHARED..windows::LOCAL => block.shared.peek(address - windows::SHARED),
            windows::LOCAL..windows::PARAMETERS => warp.local.peek(lane, address - windows::LOCAL),
            _ if address >= windows::PARAMETERS && address - windows::PARAMETERS < windows::SIZE => {
                self.launch.parameters.get((address - windows::PARAMETERS) as usize).copied()
            }
            _ => {
                let mut byte = [0];
                self.launch.memory.host_read(address, &mut byte).ok().map(|()| byte[0])
            }
        }
    }

    fn string(&self, block: &Block, warp: &Warp, lane: usize, address: u64) -> String {
        let bytes = (0..MAX_STRING as u64)
            .map_while(|i| self.peek(block, warp, lane, address.wrapping_add(i)))
            .take_while(|byte| *byte != 0)
            .collect::<Vec<u8>>();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// A failed `assert`.
    pub(super) fn assertion(
        &self,
        block: &Block,
        warp: &Warp,
        pc: Pc,
        active: u32,
        operands: &Operands,
    ) -> Fail {
        let lane = active.trailing_zeros() as usize & 31;
        let [message, file, function] =
            [0, 1, 3].map(|i| self.string(block, warp, lane, warp.lanes.get64(operands.src[i])[lane]));
        let line = warp.lanes.get32(operands.src[2])[lane];
        let text = format!("assertion `{message}` failed in {function} ({file}:{line})");
        self.fail(block, warp, pc, lane, ViolationKind::Trap, text)
    }

    /// `vprintf`: lane after lane.
    pub(super) fn print(&mut self, block: &Block, warp: &mut Warp, active: u32, operands: &Operands) {
        let (formats, lists) = (warp.lanes.get64(operands.src[0]), warp.lanes.get64(operands.src[1]));
        let mut counts = [0; LANES];
        for lane in lanes_of(active) {
            let format = self.string(block, warp, lane, formats[lane]);
            let mut arguments =
                Arguments { next: lists[lane], read: &|address| self.peek(block, warp, lane, address) };
            let text_at = |address| self.string(block, warp, lane, address);
            let (text, count) = render(&format, &mut arguments, &text_at);
            counts[lane] = count;
            if self.output.len() + text.len() <= MAX_OUTPUT {
                self.output.push_str(&text);
            }
        }
        warp.lanes.set32(operands.dst[0], &counts, active);
    }
}

/// The arguments of a `printf` as the compiler packs them: each at its natural alignment.
struct Arguments<'a> {
    next: u64,
    read: &'a dyn Fn(u64) -> Option<u8>,
}

impl Arguments<'_> {
    fn take(&mut self, size: u64) -> u64 {
        self.next = self.next.next_multiple_of(size);
        let bytes = std::array::from_fn(|i| {
            if (i as u64) < size { (self.read)(self.next.wrapping_add(i as u64)).unwrap_or(0) } else { 0 }
        });
        self.next = self.next.wrapping_add(size);
        u64::from_le_bytes(bytes)
    }
}

/// One conversion of a format: `%-08.3lld`.
#[derive(Default)]
struct Conversion {
    left: bool,
    zeros: bool,
    plus: bool,
    space: bool,
    alternative: bool,
    width: usize,
    precision: Option<usize>,
    long: bool,
}

/// What a format gives with its arguments, and how many of them it took.
fn render(format: &str, arguments: &mut Arguments<'_>, string: &dyn Fn(u64) -> String) -> (String, u32) {
    let mut text = String::new();
    let mut count = 0;
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            text.push(c);
            continue;
        }
        let mut conversion = Conversion::default();
        while let Some(flag) = chars.next_if(|c| "-0+ #".contains(*c)) {
            match flag {
                '-' => conversion.left = true,
                '0' => conversion.zeros = true,
                '+' => conversion.plus = true,
                ' ' => conversion.space = true,
                _ => conversion.alternative = true,
            }
        }
        let mut number = |arguments: &mut Arguments<'_>| {
            if chars.next_if_eq(&'*').is_some() {
                return arguments.take(4) as usize;
            }
            let mut value = 0usize;
            while let Some(digit) = chars.next_if(char::is_ascii_digit) {
                value = (value * 10 + digit as usize - '0' as usize).min(MAX_STRING);
            }
            value
        };
        conversion.width = number(arguments).min(MAX_STRING);
        let has_precision = chars.next_if_eq(&'.').is_some();
        if has_precision {
            let mut value = 0usize;
            if chars.next_if_eq(&'*').is_some() {
                value = arguments.take(4) as usize;
            }
            while let Some(digit) = chars.next_if(char::is_ascii_digit) {
                value = value * 10 + digit as usize - '0' as usize;
                value = value.min(MAX_STRING);
            }
            conversion.precision = Some(value.min(MAX_STRING));
        }
        while let Some(size) = chars.next_if(|c| "hljzt".contains(*c)) {
            conversion.long |= size != 'h';
        }
        let Some(kind) = chars.next() else { break };
        if kind == '%' {
            text.push('%');
            continue;
        }
        count += 1;
        text.push_str(&conversion.apply(kind, arguments, string));
    }
    (text, count)
}

impl Conversion {
    fn apply(&self, kind: char, arguments: &mut Arguments<'_>, string: &dyn Fn(u64) -> String) -> String {
        let size = if self.long { 8 } else { 4 };
        match kind {
            'd' | 'i' => {
                let bits = arguments.take(size);
                let value = if self.long { bits as i64 } else { i64::from(bits as u32 as i32) };
                self.number(value < 0, &value.unsigned_abs().to_string())
            }
            'u' => self.number(false, &arguments.take(size).to_string()),
            'x' => {
                let value = arguments.take(size);
                self.number(
                    false,
                    &if self.alternative { format!("{value:#x}") } else { format!("{value:x}") },
                )
            }
            'X' => self.number(false, &format!("{:X}", arguments.take(size))),
            'o' => self.number(false, &format!("{:o}", arguments.take(size))),
            'p' => self.pad(&format!("{:#x}", arguments.take(8))),
            'c' => self.pad(&char::from(arguments.take(4) as u8).to_string()),
            's' => {
                let text = string(arguments.take(8));
                self.pad(&match self.precision {
                    Some(length) => text.chars().take(length).collect(),
                    None => text,
                })
            }
            'f' | 'F' | 'e' | 'E' | 'g' | 'G' | 'a' | 'A' => {
                let value = f64::from_bits(arguments.take(8));
                let magnitude = value.abs();
                let precision = self.precision.unwrap_or(6);
                let digits = if !magnitude.is_finite() {
                    if magnitude.is_nan() { "nan".into() } else { "inf".into() }
                } else {
                    match kind {
                        'f' | 'F' => format!("{magnitude:.precision$}"),
                        'e' | 'E' => exponential(magnitude, precision),
                        _ => general(magnitude, precision.max(1)),
                    }
                };
                let digits = if kind.is_ascii_uppercase() { digits.to_uppercase() } else { digits };
                self.number(value.is_sign_negative() && !value.is_nan(), &digits)
            }
            other => format!("%{other}"),
        }
    }

    fn number(&self, negative: bool, digits: &str) -> String {
        let sign = match (negative, self.plus, self.space) {
            (true, ..) => "-",
            (_, true, _) => "+",
            (_, _, true) => " ",
            _ => "",
        };
        if self.zeros && !self.left {
            let fill = self.width.saturating_sub(sign.len() + digits.len());
            return format!("{sign}{}{digits}", "0".repeat(fill));
        }
        self.pad(&format!("{sign}{digits}"))
    }

    fn pad(&self, text: &str) -> String {
        let width = self.width;
        if self.left { format!("{text:<width$}") } else { format!("{text:>width$}") }
    }
}

/// `1.5e+00`: Rust writes `1.5e0`.
fn exponential(value: f64, precision: usize) -> String {
    let text = format!("{value:.precision$e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

/// `%g`: the shorter of both forms, without trailing zeros.
fn general(value: f64, precision: usize) -> String {
    let text = exponential(value, precision - 1);
    let exponent: i32 = text.split_once('e').and_then(|(_, e)| e.parse().ok()).unwrap_or(0);
    let trim = |digits: &str| match digits.contains('.') {
        true => digits.trim_end_matches('0').trim_end_matches('.').to_string(),
        false => digits.to_string(),
    };
    if exponent < -4 || exponent >= precision as i32 {
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "+00"));
        return format!("{}e{exponent}", trim(digits));
    }
    let places = (precision as i32 - 1 - exponent).max(0) as usize;
    trim(&format!("{value:.places$}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(format: &str, packed: &[u8]) -> String {
        let read = |address: u64| packed.get(address as usize).copied();
        let mut arguments = Arguments { next: 0, read: &read };
        render(format, &mut arguments, &|_| "text".into()).0
    }

    #[test]
    fn formats_as_c_does() {
        assert_eq!(
            printed("a=%d|%5d|%-5d|%05d%%\n", &[7i32, -3, 4, -42].map(i32::to_le_bytes).concat()),
            "a=7|   -3|4    |-0042%\n"
        );
        assert_eq!(printed("%x %#x %o", &[255u32, 16, 8].map(u32::to_le_bytes).concat()), "ff 0x10 10");
        let mut mixed = 1i32.to_le_bytes().to_vec();
        mixed.extend([0; 4]);
        mixed.extend(2.5f64.to_le_bytes());
        mixed.extend((-9_000_000_000i64).to_le_bytes());
        assert_eq!(printed("%d %.3f %lld", &mixed), "1 2.500 -9000000000");
        let floats = [1234.5f64, 0.00001, 1e20, f64::NAN, f64::NEG_INFINITY].map(f64::to_le_bytes).concat();
        assert_eq!(printed("%e %g %g %f %f", &floats), "1.234500e+03 1e-05 1e+20 nan -inf");
        assert_eq!(
            printed("[%6s] [%.2s] %c", &[[0u8; 8], [0; 8], [b'x', 0, 0, 0, 0, 0, 0, 0]].concat()),
            "[  text] [te] x"
        );
        assert_eq!(printed("%", &[]), "");
    }
}
