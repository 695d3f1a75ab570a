//! Each instruction against an oracle written another way.
//!
//! [`Case`] decodes one instruction from its text and runs it on a warp. [`sweep`] runs it over many values. The
//! name of a register says its type: `%p1` is a predicate, `%b1` has 8 bits, `%rs1` 16, `%r1` 32, `%rd1` 64,
//! `%rq1` 128, `%f1` is an f32, `%fd1` an f64.

mod atomics;
mod bits;
mod carry;
mod compare;
mod convert;
mod float;
mod half;
mod integer;
mod logic;
mod moves;
mod narrow;
mod oracle;
mod special;
mod video;

use std::collections::HashMap;
use std::ops::Range;

use super::AluFn;
use crate::program::{
    Allocation, Decoded, Decoder, LANES, Lanes, Op, Operands, Reject, Slot, Special, Symbols,
};
use crate::ptx::ast::{self, Operand, RegisterId, Symbol, Type};

/// A decoder of a family of instructions.
pub(crate) type Decode = fn(&mut Decoder<'_>, &ast::Instruction) -> Result<Option<Decoded>, Reject>;

/// What the symbol `variable` means in an instruction's text.
pub(crate) const VARIABLE_ADDRESS: u64 = 0x0123_4567_89ab_cdc0;

struct TestSymbols;

impl Symbols for TestSymbols {
    fn address(&self, symbol: &Symbol) -> Option<(ast::Space, u64)> {
        (*symbol == Symbol::Module("variable".into())).then_some((ast::Space::Global, VARIABLE_ADDRESS))
    }
}

/// What a special register of a test holds in a lane: the lane for `%laneid`, else something else.
pub(crate) fn special_value(special: Special, lane: usize) -> u64 {
    if special == Special::LaneId { lane as u64 } else { 1000 + lane as u64 }
}

/// One instruction and a warp to run it on.
pub(crate) struct Case {
    pub instruction: ast::Instruction,
    registers: Vec<(ast::Register, Slot)>,
    function: AluFn,
    operands: Operands,
    lanes: Lanes,
}

impl Case {
    /// The instruction of a text such as `add.sat.s32 %r1, %r2, -1`; the decoder's reason if it refuses it.
    pub fn new(decode: Decode, text: &str) -> Result<Self, Reject> {
        let mut parser = Parser::default();
        let instruction = parser.instruction(text);
        let function = function_of(parser.registers);
        let mut allocation = Allocation::default();
        let mut decoder = Decoder::new(&function, &mut allocation, &TestSymbols);
        let decoded = decode(&mut decoder, &instruction)?;
        let slots = decoder.registers;
        let Decoded { op, operands, .. } =
            decoded.unwrap_or_else(|| panic!("{text}: left to another decoder"));
        let Op::Alu(alu) = op else { panic!("{text}: not arithmetic") };
        let mut lanes =
            Lanes::new(allocation.rows, allocation.predicates, allocation.constants.into(), 0xdead_beef);
        for prefilled in &allocation.specials {
            let values = std::array::from_fn(|lane| special_value(prefilled.special, lane));
            if prefilled.wide {
                lanes.set64(prefilled.slot, &values, u32::MAX);
            } else {
                lanes.set32(prefilled.slot, &values.map(|value| value as u32), u32::MAX);
            }
        }
        let registers = function.registers.into_iter().zip(slots.iter().copied()).collect();
        Ok(Self { instruction, registers, function: alu, operands, lanes })
    }

    fn find(&self, name: &str) -> (Type, Slot) {
        let found = self.registers.iter().find(|(register, _)| register.name == name);
        let (register, slot) = found.unwrap_or_else(|| panic!("no register {name}"));
        (register.ty, *slot)
    }

    /// Sets a register in all lanes; a predicate is 0 or 1.
    pub fn set(&mut self, name: &str, values: &[u64; LANES]) {
        let (ty, slot) = self.find(name);
        match ty.bits() {
            1 => self.lanes.set_predicate(slot, to_bits(values), u32::MAX),
            64 => self.lanes.set64(slot, values, u32::MAX),
            _ => self.lanes.set32(slot, &values.map(|value| value as u32), u32::MAX),
        }
    }

    /// A register in all lanes; of a 16-bit register all 32 bits of its row.
    pub fn get(&self, name: &str) -> [u64; LANES] {
        let (ty, slot) = self.find(name);
        match ty.bits() {
            1 => from_bits(self.lanes.get_predicate(slot)),
            64 => self.lanes.get64(slot),
            _ => self.lanes.get32(slot).map(u64::from),
        }
    }

    /// Sets a 128-bit register: its lower halves and its upper halves.
    pub fn set_128(&mut self, name: &str, halves: &[[u64; LANES]; 2]) {
        let (_, slot) = self.find(name);
        self.lanes.set64(slot, &halves[0], u32::MAX);
        self.lanes.set64(slot.offset(2), &halves[1], u32::MAX);
    }

    /// A 128-bit register: its lower halves and its upper halves.
    pub fn get_128(&self, name: &str) -> [[u64; LANES]; 2] {
        let (_, slot) = self.find(name);
        [self.lanes.get64(slot), self.lanes.get64(slot.offset(2))]
    }

    /// The carry flag: one bit for each lane.
    pub fn carry(&self) -> u32 {
        self.lanes.get_predicate(Slot::predicate(Lanes::CARRY))
    }

    /// Sets the carry flag of all lanes.
    pub fn set_carry(&mut self, bits: u32) {
        self.lanes.set_predicate(Slot::predicate(Lanes::CARRY), bits, u32::MAX);
    }

    /// Runs the instruction on the lanes of a mask.
    pub fn run(&mut self, mask: u32) {
        // SAFETY: `compile` chose the function for the CPU that this runs on.
        unsafe { (self.function)(&mut self.lanes, &self.operands, mask) };
    }

    /// Names of the registers in the text, in order, `_` among them; those in `{}` and `|` too.
    fn names(&self) -> Vec<Option<String>> {
        fn collect(operand: &Operand, out: &mut Vec<Option<RegisterId>>) {
            match operand {
                Operand::Register(id) | Operand::Not(id) => out.push(Some(*id)),
                Operand::Sink => out.push(None),
                Operand::Vector(elements) => elements.iter().for_each(|element| collect(element, out)),
                Operand::Pair(first, second) => [first, second].into_iter().for_each(|one| collect(one, out)),
                _ => {}
            }
        }
        let mut ids = Vec::new();
        self.instruction.operands.iter().for_each(|operand| collect(operand, &mut ids));
        ids.into_iter().map(|id| id.map(|id| self.registers[id.0 as usize].0.name.clone())).collect()
    }
}

/// One bit for each lane, of values 0 and 1.
pub(crate) fn to_bits(values: &[u64; LANES]) -> u32 {
    values.iter().enumerate().fold(0, |bits, (lane, &value)| bits | u32::from(value != 0) << lane)
}

/// A value 0 or 1 for each lane's bit.
pub(crate) fn from_bits(bits: u32) -> [u64; LANES] {
    std::array::from_fn(|lane| u64::from(bits >> lane & 1))
}

fn function_of(registers: Vec<ast::Register>) -> ast::Function {
    ast::Function {
        name: "test".into(),
        is_kernel: true,
        line: 1,
        returns: Vec::new(),
        params: Vec::new(),
        directives: ast::Directives::default(),
        registers,
        variables: Vec::new(),
        labels: Vec::new(),
        tables: Vec::new(),
        body: None,
    }
}

/// Reads one instruction; registers come to be as they are named.
#[derive(Default)]
struct Parser {
    registers: Vec<ast::Register>,
    known: HashMap<String, RegisterId>,
}

impl Parser {
    fn instruction(&mut self, text: &str) -> ast::Instruction {
        let text = text.trim().trim_end_matches(';');
        let (opcode, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let operands = split(rest, ',').into_iter().map(|operand| self.operand(operand)).collect();
        ast::Instruction { line: 1, source: None, guard: None, opcode: opcode.into(), operands }
    }

    fn operand(&mut self, text: &str) -> Operand {
        let text = text.trim();
        if let Some(inner) = text.strip_prefix('{') {
            let inner = inner.strip_suffix('}').expect("closing brace");
            return Operand::Vector(split(inner, ',').into_iter().map(|one| self.operand(one)).collect());
        }
        if let Some((first, second)) = text.split_once('|') {
            return Operand::Pair(Box::new(self.operand(first)), Box::new(self.operand(second)));
        }
        if text == "_" {
            return Operand::Sink;
        }
        if let Some(name) = text.strip_prefix('!') {
            return Operand::Not(self.register(name).expect("a predicate"));
        }
        if let Some(name) = text.strip_prefix('%') {
            return self.register(text).map_or(Operand::Special(name.into()), Operand::Register);
        }
        if let Some(digits) = text.strip_prefix("0f") {
            return Operand::F32(u32::from_str_radix(digits, 16).expect("hexadecimal digits"));
        }
        if let Some(digits) = text.strip_prefix("0d") {
            return Operand::F64(u64::from_str_radix(digits, 16).expect("hexadecimal digits"));
        }
        if text.starts_with(|first: char| first.is_ascii_digit() || first == '-') {
            return match text.strip_prefix("0x") {
                Some(digits) => Operand::Integer(u64::from_str_radix(digits, 16).expect("digits") as i64),
                None if text.contains('.') => Operand::F64(text.parse::<f64>().expect("a decimal").to_bits()),
                None => Operand::Integer(text.parse().expect("digits")),
            };
        }
        let (name, offset) = text.split_once('+').unwrap_or((text, "0"));
        Operand::Address(Symbol::Module(name.into()), offset.parse().expect("an offset"))
    }

    fn register(&mut self, name: &str) -> Option<RegisterId> {
        if let Some(&id) = self.known.get(name) {
            return Some(id);
        }
        let ty = match name.trim_end_matches(|c: char| c.is_ascii_digit()) {
            same if same.len() == name.len() => return None,
            "%p" => Type::Pred,
            "%b" => Type::B8,
            "%rs" => Type::B16,
            "%r" => Type::B32,
            "%rd" => Type::B64,
            "%rq" => Type::B128,
            "%f" => Type::F32,
            "%fd" => Type::F64,
            _ => return None,
        };
        let id = RegisterId(self.registers.len() as u32);
        self.registers.push(ast::Register { name: name.into(), ty });
        self.known.insert(name.into(), id);
        Some(id)
    }
}

/// Splits where not within braces.
fn split(text: &str, separator: char) -> Vec<&str> {
    let (mut parts, mut start, mut depth) = (Vec::new(), 0, 0);
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            c if c == separator && depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    if !text[start..].trim().is_empty() {
        parts.push(&text[start..]);
    }
    parts
}

/// Random numbers (splitmix64).
pub(crate) struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ x >> 31
    }

    /// A value of so many bits: often all of them, sometimes few, so that small numbers come up.
    pub fn value(&mut self, bits: u32) -> u64 {
        let (value, kept) = (self.next(), 1 + self.next() as u32 % 64);
        let value = match self.next() % 4 {
            0 => value >> (64 - kept),
            1 => ((value as i64) >> (64 - kept)) as u64,
            _ => value,
        };
        value & low_bits(bits)
    }
}

/// Ones in the low `bits` bits.
pub(crate) fn low_bits(bits: u32) -> u64 {
    if bits >= 64 { u64::MAX } else { (1 << bits) - 1 }
}

/// Values of a type that an implementation is likely to get wrong.
pub(crate) fn edges(ty: Type) -> Vec<u64> {
    /// Exponent field of all ones, and bits of the fraction.
    fn floats(bits: u32, fraction: u32) -> Vec<u64> {
        let infinity = low_bits(bits - 1) & !low_bits(fraction);
        let (hidden, bias) = (1u64 << fraction, (infinity >> fraction) >> 1);
        let one = bias << fraction;
        let positive = [
            0,
            1,
            hidden >> 1,
            hidden - 1,
            hidden,
            hidden + 1,
            one - hidden,
            one - 1,
            one,
            one + 1,
            one + hidden / 2,
            one + hidden,
            one + hidden / 2 * 3,
            infinity - 1,
            infinity,
            infinity + 1,
            infinity + hidden / 2,
            infinity + hidden - 1,
        ];
        positive.into_iter().flat_map(|value| [value, value | 1 << (bits - 1)]).collect()
    }
    /// Each value as either half, beside itself and beside another.
    fn packed(halves: &[u64]) -> Vec<u64> {
        let other = |at: usize| halves[(at * 7 + 3) % halves.len()];
        let both =
            halves.iter().enumerate().flat_map(|(at, &half)| [half << 16 | half, other(at) << 16 | half]);
        both.collect()
    }
    match ty {
        Type::Pred => vec![0, 1],
        Type::F16 => floats(16, 10),
        Type::Bf16 => floats(16, 7),
        Type::F32 | Type::Tf32 => floats(32, 23),
        Type::F64 => floats(64, 52),
        Type::F16x2 => packed(&floats(16, 10)),
        Type::Bf16x2 => packed(&floats(16, 7)),
        Type::U16x2 | Type::S16x2 => {
            packed(&[0, 1, 2, 0x7f, 0x80, 0x7ffe, 0x7fff, 0x8000, 0x8001, 0xfffe, 0xffff])
        }
        _ => {
            let bits = ty.bits();
            let sign = 1u64 << (bits - 1);
            let mut all =
                vec![sign - 1, sign, sign + 1, sign - 2, sign >> 1, low_bits(bits) / 3, low_bits(bits / 2)];
            let small: Range<i64> = -3..4;
            all.extend(small.map(|value| value as u64));
            all.extend([7, 8, 15, 16, 17, 23, 24, 31, 32, 33, 47, 48, 63, 64, 65, 127, 128, 255, 256, 257]);
            all.iter_mut().for_each(|value| *value &= low_bits(bits));
            all.sort_unstable();
            all.dedup();
            all
        }
    }
}

/// Runs an instruction on every combination of the edge values of its sources and on `random` random ones; on the
/// full mask and, every fourth time, on a part of it. The first `N` registers of the text are its destinations, the
/// others its sources, whose values are of the given types: one for each time that a register is named. The oracle
/// gets the sources in the order of the text (a negated predicate as it lies in its register) and gives the
/// destinations.
pub(crate) fn sweep<const N: usize>(
    decode: Decode,
    text: &str,
    sources: &[Type],
    random: usize,
    oracle: impl Fn(&[u64]) -> [u64; N],
) {
    let values: Vec<Vec<u64>> = sources.iter().map(|&ty| edges(ty)).collect();
    let mut inputs: Vec<Vec<u64>> = vec![Vec::new()];
    for values in &values {
        inputs = inputs
            .iter()
            .flat_map(|input| values.iter().map(move |value| [input.as_slice(), &[*value]].concat()))
            .collect();
    }
    let mut generator = Random(text.bytes().fold(1, |seed, byte| seed * 31 % 0xffff_fffb + u64::from(byte)));
    // Four sources have too many combinations of edge values: a random part of them will do.
    const MOST: usize = 200_000;
    while inputs.len() > MOST {
        let at = generator.next() as usize % inputs.len();
        inputs.swap_remove(at);
    }
    for _ in 0..random {
        let one = sources.iter().zip(&values).map(|(ty, values)| match generator.next() % 8 {
            0 => values[generator.next() as usize % values.len()],
            _ => generator.value(ty.bits()),
        });
        inputs.push(one.collect());
    }
    run_all(decode, text, sources, &inputs, oracle);
}

/// Like [`sweep`] on the given inputs, each with a value for each source.
pub(crate) fn run_all<const N: usize>(
    decode: Decode,
    text: &str,
    sources: &[Type],
    inputs: &[Vec<u64>],
    oracle: impl Fn(&[u64]) -> [u64; N],
) {
    let mut case = Case::new(decode, text).unwrap_or_else(|reason| panic!("{text}: refused: {reason}"));
    let names = case.names();
    assert_eq!(names.len(), N + sources.len(), "{text}: registers");
    let (destinations, source_names) = names.split_at(N);
    let source_names: Vec<&str> =
        source_names.iter().map(|name| name.as_deref().expect("a source")).collect();
    let distinct: Vec<usize> = (0..source_names.len())
        .map(|at| source_names.iter().position(|name| *name == source_names[at]).expect("itself"))
        .collect();
    let mut generator = Random(inputs.len() as u64);
    assert!(!inputs.is_empty(), "{text}: nothing to try");
    for (batch, chunk) in inputs.chunks(LANES).enumerate() {
        let input = |lane: usize, source: usize| chunk[lane % chunk.len()][distinct[source]];
        for destination in destinations.iter().flatten() {
            let bits = case.find(destination).0.bits();
            case.set(destination, &std::array::from_fn(|_| generator.next() & low_bits(bits)));
        }
        for (source, name) in source_names.iter().enumerate() {
            case.set(name, &std::array::from_fn(|lane| input(lane, source)));
        }
        let before =
            destinations.iter().map(|name| name.as_ref().map(|name| case.get(name))).collect::<Vec<_>>();
        let mask = if batch % 4 == 3 { generator.next() as u32 } else { u32::MAX };
        case.run(mask);
        let after =
            destinations.iter().map(|name| name.as_ref().map(|name| case.get(name))).collect::<Vec<_>>();
        for lane in 0..LANES {
            let arguments: Vec<u64> = (0..sources.len()).map(|source| input(lane, source)).collect();
            let expected = oracle(&arguments);
            for at in 0..N {
                let (Some(before), Some(after)) = (&before[at], &after[at]) else { continue };
                if mask >> lane & 1 == 0 {
                    assert_eq!(after[lane], before[lane], "{text}: lane {lane} is masked off by {mask:#x}");
                } else if after[lane] != expected[at] {
                    panic!(
                        "{text}: sources {arguments:#x?}: destination {at} is {:#x}, expected {:#x}",
                        after[lane], expected[at]
                    );
                }
            }
        }
    }
}

/// The reason why an instruction is refused.
pub(crate) fn refusal(decode: Decode, text: &str) -> Reject {
    match Case::new(decode, text) {
        Ok(_) => panic!("{text}: is not refused"),
        Err(reason) => reason,
    }
}

/// The number that the bits of an integer type mean.
pub(crate) fn number(ty: Type, bits: u64) -> i128 {
    let bits = i128::from(bits & low_bits(ty.bits()));
    if ty.is_signed() && bits >= 1i128 << (ty.bits() - 1) { bits - (1i128 << ty.bits()) } else { bits }
}

/// The bits of a number in a type, whose high bits are lost.
pub(crate) fn wrapped(ty: Type, number: i128) -> u64 {
    number.rem_euclid(1i128 << ty.bits()) as u64
}

/// The bits of the number of a signed type that is nearest.
pub(crate) fn clamped(ty: Type, number: i128) -> u64 {
    let limit = 1i128 << (ty.bits() - 1);
    wrapped(ty, number.clamp(-limit, limit - 1))
}

/// The name of a register of a type, as texts of tests have it.
pub(crate) fn register(ty: Type, index: usize) -> String {
    let prefix = match ty {
        Type::Pred => "p",
        Type::F32 => "f",
        Type::F64 => "fd",
        ty if ty.bits() == 16 => "rs",
        ty if ty.bits() == 32 => "r",
        _ => "rd",
    };
    format!("%{prefix}{index}")
}

/// An instruction's text with a destination and sources of these types, registers numbered from 1.
pub(crate) fn text(opcode: &str, destination: Type, sources: &[Type]) -> String {
    let mut all = vec![register(destination, 1)];
    all.extend(sources.iter().enumerate().map(|(at, &ty)| register(ty, at + 2)));
    format!("{opcode} {}", all.join(", "))
}

/// Whether a decoder leaves an instruction to another one.
pub(crate) fn is_left_to_another(decode: Decode, text: &str) -> bool {
    let mut parser = Parser::default();
    let instruction = parser.instruction(text);
    let function = function_of(parser.registers);
    let mut allocation = Allocation::default();
    let mut decoder = Decoder::new(&function, &mut allocation, &TestSymbols);
    matches!(decode(&mut decoder, &instruction), Ok(None))
}
