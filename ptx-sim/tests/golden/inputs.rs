//! Inputs of probes, which whoever reads a file of answers can make again: a list of kinds, one an operand, and a seed.

/// Words from xorshift64 (Marsaglia 2003: shifts 13, 7, 17) with the state `seed * 0x9E3779B97F4A7C15 | 1` before the first
/// step; each word is the upper half of a state.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn word(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32) as u32
    }
}

const F16: &[u64] = &[
    0, 0x8000, 1, 0x8001, 0x3FF, 0x400, 0x8400, 0x3800, 0x3C00, 0xBC00, 0x4000, 0x5BF8, 0x6400, 0x7BFF,
    0xFBFF, 0x7C00, 0xFC00, 0x7C01, 0x7E00, 0xFE55,
];
const BF16: &[u64] = &[
    0, 0x8000, 1, 0x8001, 0x7F, 0x80, 0x8080, 0x3F00, 0x3F80, 0xBF80, 0x4000, 0x4300, 0x4F00, 0x7F7F, 0xFF7F,
    0x7F80, 0xFF80, 0x7F81, 0x7FC0, 0xFFD5,
];
/// Among them 0.5, 1.5, 2.5, 448 and 57344 (the largest of e4m3 and e5m2), 65504 and 65520 (f16), 2^23, 2^31, 2^32, 2^63.
const F32: &[u64] = &[
    0,
    0x8000_0000,
    1,
    0x8000_0001,
    0x7F_FFFF,
    0x80_0000,
    0x8080_0000,
    0x3F00_0000,
    0x3F80_0000,
    0xBF80_0000,
    0x3FC0_0000,
    0x4020_0000,
    0x43E0_0000,
    0x4760_0000,
    0x477F_E000,
    0x477F_F000,
    0x3380_0000,
    0x3880_0000,
    0x4B00_0000,
    0x4F00_0000,
    0xCF00_0000,
    0x4F80_0000,
    0x5F00_0000,
    0x7F7F_FFFF,
    0xFF7F_FFFF,
    0x7F80_0000,
    0xFF80_0000,
    0x7F80_0001,
    0x7FC0_0000,
    0xFFC1_2345,
];
const F64: &[u64] = &[
    0,
    1 << 63,
    1,
    0x000F_FFFF_FFFF_FFFF,
    0x0010_0000_0000_0000,
    0x3FE0_0000_0000_0000,
    0x3FF0_0000_0000_0000,
    0xBFF0_0000_0000_0000,
    0x3FF8_0000_0000_0000,
    0x4004_0000_0000_0000,
    0x41DF_FFFF_FFC0_0000,
    0x41E0_0000_0000_0000,
    0xC1E0_0000_0000_0000,
    0x43E0_0000_0000_0000,
    0x43F0_0000_0000_0000,
    0x47EF_FFFF_E000_0000,
    0x47EF_FFFF_F000_0000,
    0x3810_0000_0000_0000,
    0x36A0_0000_0000_0000,
    0x40EF_FE00_0000_0000,
    0x7FEF_FFFF_FFFF_FFFF,
    0x7FF0_0000_0000_0000,
    0xFFF0_0000_0000_0000,
    0x7FF0_0000_0000_0001,
    0x7FF8_0000_0000_0000,
    0xFFF8_0000_1234_5678,
];
const INTEGERS: &[u64] = &[
    0,
    1,
    2,
    3,
    7,
    8,
    31,
    32,
    33,
    63,
    64,
    0x7F,
    0x80,
    0xFF,
    0x100,
    0x7FFF,
    0x8000,
    0xFFFF,
    0x1_0000,
    0x7FFF_FFFF,
    0x8000_0000,
    0xFFFF_FFFF,
    0x1_0000_0000,
    0x7FFF_FFFF_FFFF_FFFF,
    0x8000_0000_0000_0000,
    0xFFFF_FFFF_FFFF_FFFF,
    0xFFFF_FFFF_FFFF_FFFE,
    0xFFFF_FFFF_FFFF_FF80,
    0xFFFF_FFFF_FFFF_8000,
    0xFFFF_FFFF_8000_0000,
];

/// How the values of an operand are drawn.
struct Kind {
    name: &'static str,
    /// Of a value: 8, 16, 32 or 64. Smaller values lie in the lower bits of a word.
    bits: u32,
    /// Values of 16 bits to a word: 1 or 2.
    packed: u32,
    edges: &'static [u64],
    /// Of a format of numbers: the bits of 1.0, and the lowest bit of the exponent.
    one: u64,
    unit: u64,
}

const KINDS: &[Kind] = &[
    Kind { name: "i8", bits: 8, packed: 1, edges: INTEGERS, one: 0, unit: 0 },
    Kind { name: "i16", bits: 16, packed: 1, edges: INTEGERS, one: 0, unit: 0 },
    Kind { name: "i32", bits: 32, packed: 1, edges: INTEGERS, one: 0, unit: 0 },
    Kind { name: "i64", bits: 64, packed: 1, edges: INTEGERS, one: 0, unit: 0 },
    Kind { name: "f16", bits: 16, packed: 1, edges: F16, one: 0x3C00, unit: 0x400 },
    Kind { name: "bf16", bits: 16, packed: 1, edges: BF16, one: 0x3F80, unit: 0x80 },
    Kind { name: "f32", bits: 32, packed: 1, edges: F32, one: 0x3F80_0000, unit: 0x80_0000 },
    Kind { name: "f64", bits: 64, packed: 1, edges: F64, one: 0x3FF0_0000_0000_0000, unit: 1 << 52 },
    Kind { name: "i16x2", bits: 16, packed: 2, edges: INTEGERS, one: 0, unit: 0 },
    Kind { name: "f16x2", bits: 16, packed: 2, edges: F16, one: 0x3C00, unit: 0x400 },
    Kind { name: "bf16x2", bits: 16, packed: 2, edges: BF16, one: 0x3F80, unit: 0x80 },
];

impl Kind {
    /// One value. Of eight, three are random bits; two are, for numbers, near 1: the exponent is that of 1 changed by -8 to 7,
    /// and for integers have fewer bits; two are edges; one is an edge and 1 more or less in its bits.
    fn value(&self, random: &mut Random) -> u64 {
        let (choice, low, high) = (random.word(), random.word(), random.word());
        let bits = u64::from(high) << 32 | u64::from(low);
        let mask = u64::MAX >> (64 - self.bits);
        let edge = self.edges[(choice >> 8) as usize % self.edges.len()];
        let value = match choice % 8 {
            0..=2 => bits,
            3 | 4 if self.one != 0 => {
                let sign = bits & 1 << (self.bits - 1);
                let exponent = self.one.wrapping_add(self.unit.wrapping_mul(u64::from(choice >> 8 & 15)))
                    - 8 * self.unit;
                sign | exponent & !(self.unit - 1) | bits & (self.unit - 1)
            }
            3 | 4 => (bits & mask) >> ((choice >> 8) % self.bits),
            5 | 6 => edge,
            _ => edge.wrapping_add(u64::from(choice >> 16 & 2)).wrapping_sub(1),
        };
        value & mask
    }

    fn push(&self, random: &mut Random, words: &mut Vec<u32>) {
        let value = self.value(random);
        if self.packed == 2 {
            words.push((self.value(random) << 16 | value) as u32);
            return;
        }
        words.push(value as u32);
        if self.bits == 64 {
            words.push((value >> 32) as u32);
        }
    }
}

/// The words that a thread reads of these kinds: a list with spaces between, of the names above (of 64 bits: two words, the
/// lower first) and of `raw`, random bits; `raw*4` is four such.
pub fn words_of(kinds: &str) -> usize {
    let words = kinds.split_whitespace().map(|kind| match kind.split_once('*') {
        Some((_, times)) => times.parse().unwrap_or(0),
        None if kind.ends_with("64") => 2,
        None => 1,
    });
    words.sum()
}

/// The inputs of `n` threads, one after another; `None` for an unknown kind.
pub fn inputs(kinds: &str, seed: u64, n: usize) -> Option<Vec<u32>> {
    let mut random = Random::new(seed);
    let mut words = Vec::with_capacity(n * words_of(kinds));
    for _ in 0..n {
        for kind in kinds.split_whitespace() {
            if let Some(times) = kind.strip_prefix("raw") {
                let times = if times.is_empty() { 1 } else { times.strip_prefix('*')?.parse().ok()? };
                words.extend((0..times).map(|_: u32| random.word()));
            } else {
                KINDS.iter().find(|known| known.name == kind)?.push(&mut random, &mut words);
            }
        }
    }
    Some(words)
}

/// FNV-1a: names inputs and programs in files.
pub fn fnv1a64(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
    })
}
