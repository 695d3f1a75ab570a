//! How tensor cores add: random matrices of several kinds, sums of thousands of tiles, and matrices made so that a result tells
//! how many bits of a term were kept, and which elements of k are added together.

use std::fmt::Write as _;

use super::mma::{DOUBLES, Element, FLOATS, Form, INTEGERS, QUADS};
use super::source::{load_words, probe, store_words};
use super::{Inputs, Probe};

/// Warps of a probe of random tiles.
const WARPS: u32 = 8;
/// Warps of a sweep, and the tiles of each.
const SWEEP_WARPS: u32 = 16;
const SWEEP_TILES: u32 = 256;

pub fn probes() -> Vec<Probe> {
    let mut probes = Vec::new();
    for form in FLOATS.iter().chain(QUADS) {
        for class in CLASSES.into_iter().filter(|class| *class != "unrounded" || form.a == Element::Tf32) {
            probes.push(random_tiles(form, class));
        }
        for class in ["narrow", "wide", "powers"] {
            probes.push(sweep(form, class));
        }
    }
    for form in DOUBLES {
        for class in ["any", "narrow"] {
            probes.push(random_tiles(form, class));
        }
    }
    for form in INTEGERS {
        probes.push(random_tiles(form, "any"));
    }
    for form in FLOATS.iter().filter(|form| !form.half) {
        probes.extend(crafted(form));
    }
    probes
}

/// Kinds of random numbers: all bits random; exponents within 2 bits, so that terms differ little and cancel; within about 4
/// bits, those of subnormal numbers among them where the type has few; powers of two in such a range; A subnormal; and of tf32
/// with bits below those that count.
const CLASSES: [&str; 6] = ["any", "narrow", "wide", "powers", "subnormal", "unrounded"];

/// Bits of a number that stay random, and those that are set.
pub(super) fn masks(element: Element, class: &str) -> (u64, u64) {
    match (element, class) {
        (Element::F16, "narrow") => (0x8FFF_8FFF, 0x3000_3000),
        (Element::F16, "wide") => (0xBFFF_BFFF, 0),
        (Element::F16, "powers") => (0xBC00_BC00, 0),
        (Element::F16, "subnormal") => (0x83FF_83FF, 0),
        (Element::Bf16, "narrow") => (0x81FF_81FF, 0x3E00_3E00),
        (Element::Bf16, "wide") => (0x87FF_87FF, 0x3800_3800),
        (Element::Bf16, "powers") => (0x8780_8780, 0x3800_3800),
        (Element::Bf16, "subnormal") => (0x807F_807F, 0),
        (Element::Tf32, "any") => (0xFFFF_E000, 0),
        (Element::Tf32, "narrow") => (0x81FF_E000, 0x3E00_0000),
        (Element::Tf32, "wide") => (0x87FF_E000, 0x3800_0000),
        (Element::Tf32, "powers") => (0x8780_0000, 0x3800_0000),
        (Element::Tf32, "subnormal") => (0x807F_E000, 0),
        (Element::Tf32, "unrounded") => (0x81FF_FFFF, 0x3E00_0000),
        (Element::E4m3, "narrow") => (0x9F9F_9F9F, 0x2020_2020),
        (Element::E4m3, "wide") => (0xBFBF_BFBF, 0),
        (Element::E4m3, "powers") => (0xB8B8_B8B8, 0),
        (Element::E4m3, "subnormal") => (0x8787_8787, 0),
        (Element::E5m2, "narrow") => (0x8F8F_8F8F, 0x3030_3030),
        (Element::E5m2, "wide") => (0xBFBF_BFBF, 0),
        (Element::E5m2, "powers") => (0xBCBC_BCBC, 0),
        (Element::E5m2, "subnormal") => (0x8383_8383, 0),
        (Element::F64, "narrow") => (0x803F_FFFF_FFFF_FFFF, 0x3FC0_0000_0000_0000),
        _ => (u64::MAX, 0),
    }
}

/// The same of C.
fn accumulator_masks(form: &Form, class: &str) -> (u64, u64) {
    match (form.a, form.half, class) {
        (Element::F64 | Element::Integer { .. }, ..) => masks(form.a, class),
        (_, true, _) => masks(Element::F16, class),
        (_, _, "narrow" | "unrounded") => (0x81FF_FFFF, 0x3E00_0000),
        (_, _, "wide") => (0x87FF_FFFF, 0x3800_0000),
        (_, _, "powers") => (0x8780_0000, 0x3800_0000),
        (_, _, "subnormal") => (0x81FF_FFFF, 0x3000_0000),
        _ => (u64::MAX, 0),
    }
}

/// Applies masks to `count` registers from `first` on.
pub(super) fn mask(first: usize, count: usize, element: Element, (keep, set): (u64, u64)) -> String {
    let mut text = String::new();
    for i in 0..count {
        let shift = if element == Element::F64 { 32 * (i % 2) } else { 0 };
        let (keep, set) = ((keep >> shift) as u32, (set >> shift) as u32);
        if keep != u32::MAX {
            // Writing to a string does not fail.
            let _ = writeln!(text, "and.b32 %w{0}, %w{0}, 0x{keep:x};", first + i);
        }
        if set != 0 {
            let _ = writeln!(text, "or.b32 %w{0}, %w{0}, 0x{set:x};", first + i);
        }
    }
    text
}

/// The masks of A, B and C, which lie one behind the other. Of subnormal numbers A alone is made.
fn mask_all(form: &Form, class: &str) -> String {
    let [a, b, c, _] = form.words;
    let class_b = if class == "subnormal" { "narrow" } else { class };
    mask(0, a, form.a, masks(form.a, class))
        + &mask(a, b, form.b, masks(form.b, class_b))
        + &mask(a + b, c, form.a, accumulator_masks(form, class))
}

/// D, and for floating point below f64 also A·B minus D, which shows what D has lost.
fn random_tiles(form: &Form, class: &str) -> Probe {
    let [a, b, c, d] = form.words;
    let mut body = load_words(0, 0, a + b + c) + &mask_all(form, class);
    body += &form.execute([0, a, a + b, 64]);
    let mut outputs: Vec<_> = (64..64 + d).map(|i| format!("%w{i}")).collect();
    if !matches!(form.a, Element::F64 | Element::Integer { .. }) {
        let sign = if form.half { "0x80008000" } else { "0x80000000" };
        for i in 0..c {
            let _ = writeln!(body, "xor.b32 %w{}, %w{}, {sign};", 80 + i, 64 + i);
        }
        body += &form.execute([0, a, 80, 96]);
        outputs.extend((96..96 + d).map(|i| format!("%w{i}")));
    }
    body += &store_words(&outputs, 0);
    let kinds = format!("raw*{}", a + b + c);
    let name = format!("mma.{} {class}", form.modifiers);
    probe(name, form.needs, Inputs::Kinds { kinds, seed: 1 }, outputs.len() as u32, 32 * WARPS, 32, &body)
}

/// Thousands of tiles, whose numbers the kernel draws itself (xorshift32: 13, 17, 5), folded into one word a lane.
fn sweep(form: &Form, class: &str) -> Probe {
    let [a, b, c, d] = form.words;
    let mut body = String::from(
        "ld.global.b32 %t1, [%in];\nor.b32 %t1, %t1, 1;\nmov.b32 %t2, 0;\nmov.b32 %t3, 0;\nLOOP:\n",
    );
    for i in 0..a + b + c {
        let _ = writeln!(
            body,
            "shl.b32 %t4, %t1, 13;\nxor.b32 %t1, %t1, %t4;\nshr.u32 %t4, %t1, 17;\nxor.b32 %t1, %t1, %t4;\n\
             shl.b32 %t4, %t1, 5;\nxor.b32 %t1, %t1, %t4;\nmov.b32 %w{i}, %t1;"
        );
    }
    body += &mask_all(form, class);
    body += &form.execute([0, a, a + b, 64]);
    for i in 64..64 + d {
        let _ = writeln!(body, "mad.lo.u32 %t2, %t2, 0x9e3779b1, %w{i};");
    }
    let _ = writeln!(body, "add.u32 %t3, %t3, 1;\nsetp.lt.u32 %p, %t3, {SWEEP_TILES};\n@%p bra LOOP;");
    body += &store_words(&["%t2".to_string()], 0);
    let name = format!("mma.{} {class}, {} tiles", form.modifiers, SWEEP_WARPS * SWEEP_TILES);
    probe(name, form.needs, Inputs::Kinds { kinds: "raw".into(), seed: 1 }, 1, 32 * SWEEP_WARPS, 32, &body)
}

/// Two products meet, of which the first is 2^16 (8 bits: 2^8), the other by 2^s smaller, s from 0 on growing with row and
/// column; and C takes the first away, so that D shows what was kept of the second. Or the first is there twice with opposite
/// signs, and C is small. Each tile has another pair of k.
fn crafted(form: &Form) -> Vec<Probe> {
    let [a, b, c, d] = form.words;
    let per_word = 32 / form.a.bits() as usize;
    // B has 8 columns.
    let k = 4 * per_word * b;
    let eight_bits = form.a.bits() == 8;
    let top = if eight_bits { 4 } else { 8 };
    let lowest = match form.a {
        // The second product has a fraction of a half.
        Element::E4m3 => -8,
        Element::E5m2 | Element::F16 => -13,
        _ => -40,
    };
    let power = |exponent: i32| f64::powi(2.0, exponent.max(lowest));
    let mut probes = Vec::new();
    for small_c in [false, true] {
        let mut words = Vec::new();
        let distances: Vec<usize> = [1, k / 4, k / 2].into_iter().filter(|&d| d > 0).collect();
        let tiles = k * distances.len();
        for tile in 0..tiles {
            let (first, second) = (tile % k, (tile % k + distances[tile / k]) % k);
            for lane in 0..32 {
                for register in 0..a {
                    let row = lane / 4 + 8 * (register & 1);
                    words.push(word(form.a, |i| {
                        let at = per_word * (lane % 4) + i + 4 * per_word * (register >> 1);
                        match at {
                            _ if at == first => power(top),
                            _ if at == second && small_c => -power(top),
                            _ if at == second => 1.5 * power(top - row as i32),
                            _ => 0.0,
                        }
                    }));
                }
                let column = lane / 4;
                for register in 0..b {
                    words.push(word(form.b, |i| {
                        let at = per_word * (lane % 4) + i + 4 * per_word * register;
                        let step = if eight_bits { 1 } else { 2 };
                        match at {
                            _ if at == first || at == second && small_c => power(top),
                            _ if at == second => power(top - step * column as i32),
                            _ => 0.0,
                        }
                    }));
                }
            }
        }
        let mut body = load_words(0, 0, a + b);
        let big = f32::powi(2.0, 2 * top).to_bits();
        for i in a + b..a + b + c {
            let _ = if small_c {
                // 1.5 · 2^(2 top - lane), for the registers one less.
                let base = (big | 0x40_0000) - (((i - a - b) as u32) << 23);
                writeln!(body, "shl.b32 %t1, %thread, 23;\nsub.u32 %w{i}, 0x{base:x}, %t1;")
            } else {
                writeln!(body, "mov.b32 %w{i}, 0x{:x};", big | 1 << 31)
            };
        }
        body += &form.execute([0, a, a + b, 64]);
        let outputs: Vec<_> = (64..64 + d).map(|i| format!("%w{i}")).collect();
        body += &store_words(&outputs, 0);
        let what = if small_c { "kept bits of C" } else { "kept bits of products" };
        let name = format!("mma.{} {what}", form.modifiers);
        probes.push(probe(name, form.needs, Inputs::Words(words), d as u32, 32 * tiles as u32, 32, &body));
    }
    probes
}

/// The elements of one register.
fn word(element: Element, value: impl Fn(usize) -> f64) -> u32 {
    let bits = element.bits() as usize;
    (0..32 / bits).fold(0, |word, i| word | (element.encode(value(i)) as u32) << (i * bits))
}
