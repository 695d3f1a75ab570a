//! Cases of `sample`: tokens and bitmaps are those of [`reference::sample_row`], bit for bit.

use super::Case;
use super::memory::Operand;
use super::problem::{Expected, Outcome, Problem};
use super::values::Rng;
use crate::params::{DEVICE_ERROR_SEEN_ROW, SampleRow};
use crate::tensor::DType;
use crate::{Result, ops, reference};

/// Logits of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Logits {
    /// As a model gives them: most far below the largest.
    Spread,
    /// So close to each other that all of them are likely.
    Flat,
    /// All the same.
    Equal,
    /// Five different ones.
    Ties,
    /// From likely to so unlikely that they have no weight.
    Steps,
    /// Around zero, with both signs of it, and too small for a normal number.
    Tiny,
    /// At the end of the range of f32.
    Huge,
    /// NaN and both infinities between numbers.
    NotFinite,
    /// Nothing above -inf.
    Nothing,
}

impl Logits {
    const ALL: [Logits; 9] = [
        Logits::Spread,
        Logits::Flat,
        Logits::Equal,
        Logits::Ties,
        Logits::Steps,
        Logits::Tiny,
        Logits::Huge,
        Logits::NotFinite,
        Logits::Nothing,
    ];

    fn row(self, rng: &mut Rng, vocab_size: usize) -> Vec<f32> {
        let normal: Vec<f32> =
            rng.normal(DType::F32, vocab_size, 2.5).into_iter().map(|x| x as f32).collect();
        let each = |f: &dyn Fn(f32, u64) -> f32, rng: &mut Rng| -> Vec<f32> {
            normal.iter().map(|&x| f(x, rng.next())).collect()
        };
        match self {
            Logits::Spread => normal,
            Logits::Flat => each(&|x, _| x * 0.01 + 7.0, rng),
            Logits::Equal => vec![-1.5; vocab_size],
            Logits::Ties => each(&|_, random| (random % 5) as f32 - 2.0, rng),
            Logits::Steps => (0..vocab_size)
                .map(|i| -((i * 7919 % vocab_size) as f32) * 60.0 / vocab_size as f32)
                .collect(),
            Logits::Tiny => each(&|x, random| [0.0, -0.0, x * 1e-40, x * 1e-6][(random % 4) as usize], rng),
            Logits::Huge => each(&|x, random| [x * 1e37, 3.4e38, -3.4e38, x][(random % 4) as usize], rng),
            Logits::NotFinite => each(
                &|x, random| {
                    [x, x, x, f32::NAN, f32::NEG_INFINITY, f32::INFINITY][(random % 97).min(5) as usize]
                },
                rng,
            ),
            Logits::Nothing => each(&|_, random| [f32::NAN, f32::NEG_INFINITY][(random % 2) as usize], rng),
        }
    }
}

/// What is special about a case.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    /// Gaps between rows.
    Strided,
    /// The last rows of logits lie beyond 2^31 elements.
    Far,
    /// Rows of the bitmap that there are not, with an error word.
    UnknownSeen,
    /// The same that nobody is told of.
    UnknownSeenUntold,
    Misaligned(&'static str),
}

/// Settings that every filter has a part in, those that leave it out, and those beyond its range.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Settings {
    Greedy,
    Useful,
    /// Numbers that no one should set, for which the reference has an answer nevertheless.
    Absurd,
}

const NO_FILTER: SampleRow = SampleRow {
    temperature: 1.0,
    top_p: 1.0,
    min_p: 0.0,
    repetition_penalty: 1.0,
    top_k: 0,
    seen_row: -1,
    seed: 0,
    sequence: 0,
    position: 0,
};

impl Settings {
    fn row(self, rng: &mut Rng, vocab_size: usize) -> SampleRow {
        let one_of = |rng: &mut Rng, values: &[f32]| values[rng.below(values.len())];
        let inf = f32::INFINITY;
        let row = match self {
            Settings::Greedy => SampleRow { temperature: 0.0, ..NO_FILTER },
            Settings::Useful => SampleRow {
                temperature: one_of(rng, &[0.0, 0.1, 0.7, 1.0, 1.0, 2.0]),
                top_p: one_of(rng, &[0.0, 1e-6, 0.5, 0.9, 0.999, 1.0, 1.0]),
                min_p: one_of(rng, &[0.0, 0.0, 0.1, 1.0]),
                top_k: [0, 0, 1, 5, vocab_size as i32 / 2, vocab_size as i32][rng.below(6)],
                ..NO_FILTER
            },
            Settings::Absurd => SampleRow {
                temperature: one_of(rng, &[-1.0, f32::NAN, inf, -inf, 1e-40, 1e38, -0.0, 1.0]),
                top_p: one_of(rng, &[-3.0, f32::NAN, inf, -inf, 7.0, 1.0, 0.5]),
                min_p: one_of(rng, &[-1.0, f32::NAN, 3.0, inf, 0.0]),
                top_k: [i32::MIN, -1, i32::MAX, 0, 3][rng.below(5)],
                ..NO_FILTER
            },
        };
        let penalties: &[f32] = match self {
            Settings::Absurd => &[0.0, -1.5, inf, f32::NAN, 1e-40],
            _ => &[1.0, 1.3, 0.7],
        };
        let repetition_penalty = one_of(rng, penalties);
        let [seed, sequence, position] = [0; 3].map(|_| rng.next());
        SampleRow { repetition_penalty, seed, sequence, position, ..row }
    }
}

/// A row of logits, how it is drawn from, and the words of its bitmap, if it has one.
struct Row {
    logits: Vec<f32>,
    options: SampleRow,
    seen: Option<Vec<u32>>,
}

impl Row {
    fn new(rng: &mut Rng, logits: Logits, vocab_size: usize, options: SampleRow) -> Self {
        // Half of them have seen tokens, of which there may be any number. What stands behind the last is nobody's.
        let mask = [u64::MAX, rng.next(), rng.next() & rng.next() & rng.next()][rng.below(3)];
        let words = (0..vocab_size.div_ceil(32)).map(|_| (rng.next() & mask) as u32).collect();
        let seen = if rng.below(2) == 0 { Some(words) } else { None };
        Row { logits: logits.row(rng, vocab_size), options, seen }
    }
}

/// Rows of one length.
type Rows = Box<dyn Fn(&mut Rng) -> Vec<Row> + Send + Sync>;

fn each_kind_of_logits(vocab_size: usize, settings: Settings, repeats: usize) -> Rows {
    Box::new(move |rng| {
        let kinds = Logits::ALL.into_iter().cycle().take(Logits::ALL.len() * repeats);
        kinds
            .map(|kind| {
                let options = settings.row(rng, vocab_size);
                Row::new(rng, kind, vocab_size, options)
            })
            .collect()
    })
}

fn chosen(vocab_size: usize, rows: &'static [(Logits, SampleRow)]) -> Rows {
    Box::new(move |rng| {
        let row = |&(logits, options): &(Logits, SampleRow)| {
            let [seed, position] = [0; 2].map(|_| rng.next());
            Row::new(rng, logits, vocab_size, SampleRow { seed, position, ..options })
        };
        rows.iter().map(row).collect()
    })
}

/// Each way through the kernel at the vocabulary of Llama 3.
const LARGE: &[(Logits, SampleRow)] = &[
    (Logits::Spread, SampleRow { temperature: 0.0, ..NO_FILTER }),
    (Logits::Spread, SampleRow { temperature: 0.8, ..NO_FILTER }),
    (Logits::Spread, SampleRow { top_k: 50, top_p: 0.95, min_p: 0.01, repetition_penalty: 1.1, ..NO_FILTER }),
];
const LARGE_AND_FLAT: &[(Logits, SampleRow)] = &[(Logits::Flat, SampleRow { top_p: 0.9, ..NO_FILTER })];

/// More tokens in reach than a block lists: selection, with and without ties at the boundary, and a list of them after all.
const SELECTED: &[(Logits, SampleRow)] = &[
    (Logits::Flat, SampleRow { top_k: 1100, ..NO_FILTER }),
    (Logits::Flat, SampleRow { top_p: 0.8, ..NO_FILTER }),
    (Logits::Flat, SampleRow { top_k: 1500, top_p: 0.5, min_p: 0.97, ..NO_FILTER }),
    (Logits::Equal, SampleRow { top_k: 3, ..NO_FILTER }),
    (Logits::Equal, SampleRow { top_p: 0.5, ..NO_FILTER }),
    (Logits::Equal, SampleRow { top_p: 0.0, ..NO_FILTER }),
    (Logits::Equal, SampleRow { top_k: 7, top_p: 1e-6, repetition_penalty: 1.2, ..NO_FILTER }),
    (Logits::Ties, SampleRow { temperature: 2.0, top_k: 1200, top_p: 0.7, ..NO_FILTER }),
    (Logits::Ties, SampleRow { temperature: 2.0, top_p: 0.97, ..NO_FILTER }),
    (Logits::Ties, SampleRow { temperature: -2.0, top_p: 0.97, ..NO_FILTER }),
    (Logits::Tiny, SampleRow { top_k: 1000, ..NO_FILTER }),
    (Logits::Tiny, SampleRow { temperature: 1e38, top_k: 900, top_p: 0.4, ..NO_FILTER }),
    (Logits::Huge, SampleRow { top_p: 0.3, ..NO_FILTER }),
    (Logits::Spread, SampleRow { temperature: 2.0, top_p: 0.999, ..NO_FILTER }),
    (Logits::Steps, SampleRow { temperature: 2.0, top_k: 1300, ..NO_FILTER }),
];

/// Rows of equal logits, a power of two of them, whose draws hit the first and the last number of a token's share.
fn draws_at_edges(vocab_size: usize) -> Rows {
    Box::new(move |rng| {
        let share = 1u64 << (64 - vocab_size.ilog2());
        let tokens = [0, 1, vocab_size / 2, vocab_size - 1].map(|token| token as u64 * share);
        let edges = tokens.into_iter().flat_map(|first| [first, first + (share - 1)]);
        let filters = [
            NO_FILTER,
            // Two that drop nothing, but lead through the list or through the selection.
            SampleRow { top_k: 1, ..NO_FILTER },
            SampleRow { top_p: 1.0 - f32::EPSILON, ..NO_FILTER },
            // Half of them stay: the largest number draws the last of these.
            SampleRow { top_p: 0.5, ..NO_FILTER },
        ];
        edges
            .flat_map(|random| filters.map(|options| (random, options)))
            .map(|(random, options)| {
                let options = drawing(random, options, rng);
                Row { logits: vec![0.5; vocab_size], options, seen: None }
            })
            .collect()
    })
}

/// Settings whose random numbers are these bits: the counter that Philox makes them of.
fn drawing(random: u64, options: SampleRow, rng: &mut Rng) -> SampleRow {
    const MULTIPLIER: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
    const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
    /// Of an odd number modulo 2^32, by Newton's iteration, which doubles the bits that are right.
    fn inverse(x: u32) -> u32 {
        (0..5).fold(x, |y, _| y.wrapping_mul(2u32.wrapping_sub(x.wrapping_mul(y))))
    }
    let seed = rng.next();
    let mut counter = [random as u32, (random >> 32) as u32, rng.next() as u32, rng.next() as u32];
    for round in (0..10).rev() {
        let key = [0, 1].map(|i| ((seed >> (32 * i)) as u32).wrapping_add(WEYL[i].wrapping_mul(round)));
        let c0 = counter[3].wrapping_mul(inverse(MULTIPLIER[0]));
        let c2 = counter[1].wrapping_mul(inverse(MULTIPLIER[1]));
        let high = |i: usize, c: u32| ((u64::from(MULTIPLIER[i]) * u64::from(c)) >> 32) as u32;
        counter = [c0, counter[0] ^ high(1, c2) ^ key[0], c2, counter[2] ^ high(0, c0) ^ key[1]];
    }
    let join = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
    SampleRow {
        seed,
        position: join(counter[0], counter[1]),
        sequence: join(counter[2], counter[3]),
        ..options
    }
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut case = |name: String, kind, rows: Rows| {
        cases.push(Case::new("sample", name, move || problem(&rows(&mut Rng(11)), kind)));
    };
    case("no row of 40".into(), Kind::Plain, chosen(40, &[]));
    case("a row of none".into(), Kind::Plain, chosen(0, &[(Logits::Spread, NO_FILTER)]));
    for vocab_size in [1, 2, 31, 32, 33, 129] {
        let rows = |settings, repeats| each_kind_of_logits(vocab_size, settings, repeats);
        case(format!("greedy rows of {vocab_size}"), Kind::Plain, rows(Settings::Greedy, 1));
        case(format!("rows of {vocab_size}"), Kind::Plain, rows(Settings::Useful, 3));
    }
    for vocab_size in [32, 1000] {
        let rows = each_kind_of_logits(vocab_size, Settings::Absurd, 3);
        case(format!("rows of {vocab_size} with absurd settings"), Kind::Plain, rows);
    }
    case("greedy rows of 1000".into(), Kind::Plain, each_kind_of_logits(1000, Settings::Greedy, 1));
    case("rows of 1000".into(), Kind::Plain, each_kind_of_logits(1000, Settings::Useful, 5));
    for vocab_size in [8, 512, 4096] {
        case(format!("draws at the edges of {vocab_size}"), Kind::Plain, draws_at_edges(vocab_size));
    }
    case("flat rows of 2051".into(), Kind::Plain, chosen(2051, SELECTED));
    case("rows of 4099".into(), Kind::Plain, each_kind_of_logits(4099, Settings::Useful, 1));
    case("rows of 32001".into(), Kind::Plain, chosen(32001, LARGE));
    case("rows of 128256".into(), Kind::Plain, chosen(128_256, LARGE));
    case("a flat row of 128256".into(), Kind::Plain, chosen(128_256, LARGE_AND_FLAT));
    for (kind, what) in [
        (Kind::Strided, "strided"),
        (Kind::UnknownSeen, "with unknown rows of seen"),
        (Kind::UnknownSeenUntold, "with unknown rows of seen, no error word"),
    ] {
        for vocab_size in [36, 1001] {
            let rows = each_kind_of_logits(vocab_size, Settings::Useful, 1);
            case(format!("rows of {vocab_size} {what}"), kind, rows);
        }
    }
    case("rows of 300 beyond 2^31 elements".into(), Kind::Far, chosen(300, LARGE));
    for operand in ["logits", "rows", "seen", "out"] {
        case(format!("rows of 64 {operand} misaligned"), Kind::Misaligned(operand), chosen(64, LARGE));
    }
    cases
}

/// A batch of rows of Llama 3's vocabulary.
pub(super) fn model_cases() -> Vec<Case> {
    let case = |settings, repeats, what: &str| {
        let rows = each_kind_of_logits(128_256, settings, repeats);
        Case::new("sample", format!("a batch of rows of 128256, {what}"), move || {
            problem(&rows(&mut Rng(12)), Kind::Plain)
        })
    };
    vec![case(Settings::Greedy, 8, "greedy"), case(Settings::Useful, 8, "drawn")]
}

/// Elements from one row to the next that put the third row beyond 2^31 elements.
const FAR: usize = (1 << 30) + 64;

/// A bit of the error word that is not the kernel's.
const FOREIGN_BIT: u32 = 1 << 31;

fn problem(rows: &[Row], kind: Kind) -> Result<Problem> {
    let vocab_size = rows.first().map_or(40, |row| row.logits.len());
    let words = vocab_size.div_ceil(32);
    let num_seen = rows.iter().filter(|row| row.seen.is_some()).count();
    let (mut settings, mut tokens) = (Vec::new(), Vec::new());
    let (mut seen_before, mut seen_after) = (Vec::new(), Vec::new());
    let mut unknown = false;
    for (r, row) in rows.iter().enumerate() {
        // In the opposite order of the rows, so that the two numbers are not the same.
        let seen_row = num_seen as i32 - 1 - (seen_before.len() / words.max(1)) as i32;
        let mut options =
            SampleRow { seen_row: if row.seen.is_some() { seen_row } else { -1 }, ..row.options };
        let mut seen = row.seen.clone();
        if seen.is_none() && matches!(kind, Kind::UnknownSeen | Kind::UnknownSeenUntold) {
            options.seen_row = [num_seen as i32, -2, i32::MAX, i32::MIN][r % 4];
            unknown = true;
        }
        tokens.push(reference::sample_row(&row.logits, &options, seen.as_deref_mut()));
        settings.push(options);
        // Rows of words in reverse.
        if let (Some(before), Some(after)) = (&row.seen, seen) {
            seen_before.splice(0..0, before.iter().copied());
            seen_after.splice(0..0, after);
        }
    }
    let told = kind != Kind::UnknownSeenUntold;
    let error = FOREIGN_BIT | if told && unknown { DEVICE_ERROR_SEEN_ROW } else { 0 };
    let of_words = |words: &[u32]| -> Vec<u8> { words.iter().flat_map(|word| word.to_le_bytes()).collect() };
    let logits = rows.iter().flat_map(|row| &row.logits).flat_map(|x| x.to_le_bytes()).collect();
    let settings = settings.iter().flat_map(|row| bytemuck::bytes_of(row).to_vec()).collect();
    let num_rows = rows.len();
    let operands = [
        Operand::input("logits", DType::F32, &[num_rows, vocab_size], logits),
        Operand::input("rows", DType::U8, &[num_rows, size_of::<SampleRow>()], settings),
        Operand::updated(
            "seen",
            DType::U32,
            &[num_seen, words],
            of_words(&seen_before),
            Expected::Bits(of_words(&seen_after)),
        ),
        Operand::output(
            "out",
            DType::I32,
            &[num_rows],
            Expected::Bits(tokens.iter().flat_map(|token| token.to_le_bytes()).collect()),
        ),
        Operand::updated(
            "error",
            DType::U32,
            &[1],
            of_words(&[FOREIGN_BIT]),
            Expected::Bits(of_words(&[error])),
        ),
    ];
    // Rows of logits start at 16-byte boundaries.
    let padding = vocab_size.next_multiple_of(4) - vocab_size;
    let place = |operand: Operand| match (kind, operand.name) {
        (Kind::Far, "logits") => operand.with_gap(padding + FAR),
        (Kind::Strided, "logits") => operand.with_gap(padding + 12),
        (Kind::Strided, "seen") => operand.with_gap(3),
        (Kind::Misaligned(name), _) if name == operand.name => {
            // Half of what the address must be a multiple of, or an element.
            let bytes = if name == "rows" { 4 } else { operand.dtype.size() };
            operand.misplaced(if matches!(name, "seen" | "out") { bytes / 2 } else { bytes })
        }
        (_, "logits") => operand.with_gap(padding),
        _ => operand,
    };
    Ok(Problem {
        operands: operands.into_iter().map(place).collect(),
        call: Box::new(move |stream, memory| {
            let (logits, rows) = (memory.read("logits")?, memory.read("rows")?);
            let (seen, out) = (memory.write("seen")?, memory.write("out")?);
            let error = if told { Some(memory.write("error")?) } else { None };
            ops::sample(stream, &ops::Sample { logits, rows, seen, out, error })
        }),
        outcome: match kind {
            Kind::Misaligned(operand) => Outcome::Refuses(operand),
            _ => Outcome::Launches(u64::from(num_rows > 0)),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_at_the_edges_of_a_token() {
        let rows = draws_at_edges(8)(&mut Rng(5));
        let tokens: Vec<i32> =
            rows.iter().map(|row| reference::sample_row(&row.logits, &row.options, None)).collect();
        let halves = [0, 0, 0, 0, 2, 2, 3, 3];
        let expected: Vec<i32> = [0, 0, 1, 1, 4, 4, 7, 7]
            .into_iter()
            .zip(halves)
            .flat_map(|(token, of_half)| [token, token, token, of_half])
            .collect();
        assert_eq!(tokens, expected);
    }
}
