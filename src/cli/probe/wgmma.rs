//! `wgmma`: which elements of shared memory a descriptor means, where a product goes, and how the tensor cores add.
//!
//! Both operands' memory is full of numbers, so that any descriptor reads something. For layouts these are halves and ones of
//! either sign: every sum is exact, and another element anywhere gives another sum.

use std::fmt::Write as _;

use super::mma::{Element, S8, U8};
use super::source::{HOPPER, probe_of_one_architecture, store_words, vector};
use super::tensor::{mask, masks};
use super::{Inputs, Probe};

/// Threads of a warpgroup.
const THREADS: u32 = 128;
/// Bytes of shared memory of A, and of B behind it. Each thread fills as many words of both together.
const BYTES: u32 = 16 << 10;
const WORDS: usize = (2 * BYTES / 4 / THREADS) as usize;
/// Where the registers of C and D begin, for up to 240 columns.
const C: usize = 8;

/// Where the elements of a matrix lie in shared memory.
#[derive(Clone, Copy, PartialEq)]
enum Major {
    /// Those of a row of A, a column of B, side by side.
    K,
    /// Those of a column of A, a row of B.
    Mn,
}

/// The swizzles: their code in a descriptor, and the bytes that a row of elements takes.
const SWIZZLES: [(&str, u32, u32); 4] = [("none", 0, 16), ("32B", 3, 32), ("64B", 2, 64), ("128B", 1, 128)];

/// A descriptor but for the address: what is added to that, and the fields, in bytes.
#[derive(Clone, Copy)]
struct Descriptor {
    start: u32,
    leading: u32,
    stride: u32,
    base_offset: u32,
    swizzle: u32,
}

impl Descriptor {
    /// For a matrix of either major, with strides that leave nothing out and keep within the operand's memory.
    fn of(major: Major, (_, swizzle, row): (&str, u32, u32)) -> Self {
        let (leading, stride) = match major {
            // Eight rows, then the next eight; without a swizzle also from one run of 16 bytes to the next along k.
            Major::K => (if swizzle == 0 { 128 } else { 16 }, if swizzle == 0 { 256 } else { 8 * row }),
            // Several runs of rows along M or N, and eight of k after eight of k.
            Major::Mn => (1024, 512.max(8 * row)),
        };
        // With 128 bytes a run of k takes 1024 of them.
        let leading = if major == Major::Mn && row == 128 { 2048 } else { leading };
        Self { start: 0, leading, stride, base_offset: 0, swizzle }
    }

    /// Puts it into `%l` register `register`, for an operand at `operand` from the start of shared memory, whose address is
    /// in `%t7`.
    fn build(self, register: usize, operand: u32) -> String {
        let low = (self.leading >> 4 & 0x3fff) << 16;
        let high = (self.stride >> 4 & 0x3fff) | self.base_offset << 17 | self.swizzle << 30;
        format!(
            "add.u32 %t6, %t7, {};\nand.b32 %t6, %t6, 0x3ffff;\nshr.u32 %t6, %t6, 4;\nor.b32 %t6, %t6, 0x{low:x};\n\
             mov.b32 %t5, 0x{high:x};\nmov.b64 %l{register}, {{%t6, %t5}};\n",
            operand + self.start
        )
    }
}

/// A form: types of D, A and B, and how many elements of k one instruction takes.
#[derive(Clone, Copy)]
struct Form {
    types: &'static str,
    a: Element,
    b: Element,
    k: u32,
}

const fn form(types: &'static str, a: Element, b: Element, k: u32) -> Form {
    Form { types, a, b, k }
}

use Element::{Bf16, E4m3, E5m2, F16, Tf32};

const FORMS: [Form; 15] = [
    form("f32.f16.f16", F16, F16, 16),
    form("f16.f16.f16", F16, F16, 16),
    form("f32.bf16.bf16", Bf16, Bf16, 16),
    form("f32.tf32.tf32", Tf32, Tf32, 8),
    form("f32.e4m3.e4m3", E4m3, E4m3, 32),
    form("f32.e4m3.e5m2", E4m3, E5m2, 32),
    form("f32.e5m2.e4m3", E5m2, E4m3, 32),
    form("f32.e5m2.e5m2", E5m2, E5m2, 32),
    form("f16.e4m3.e4m3", E4m3, E4m3, 32),
    form("f16.e4m3.e5m2", E4m3, E5m2, 32),
    form("f16.e5m2.e4m3", E5m2, E4m3, 32),
    form("f16.e5m2.e5m2", E5m2, E5m2, 32),
    form("s32.s8.s8", S8, S8, 32),
    form("s32.s8.u8", S8, U8, 32),
    form("s32.u8.u8", U8, U8, 32),
];
const BF16: Form = FORMS[2];
const E4M3: Form = FORMS[4];

impl Form {
    fn is_half(self) -> bool {
        self.types.starts_with("f16")
    }

    fn is_integer(self) -> bool {
        self.types.starts_with("s32")
    }
}

/// One probe's product.
#[derive(Clone, Copy)]
struct Product {
    form: Form,
    n: usize,
    /// `None` where A is in registers: the first words of each thread.
    a: Option<Descriptor>,
    b: Descriptor,
    majors: (Major, Major),
    /// Whether C is added.
    accumulates: bool,
    /// Factors of A and B: 1 or -1.
    scales: (i32, i32),
    /// Instructions one after another, each with operands 32 bytes further on.
    steps: u32,
}

impl Product {
    fn new(form: Form, n: usize, majors: (Major, Major), swizzle: (&str, u32, u32)) -> Self {
        let (a, b) = (Some(Descriptor::of(majors.0, swizzle)), Descriptor::of(majors.1, swizzle));
        Self { form, n, a, b, majors, accumulates: true, scales: (1, 1), steps: 1 }
    }

    /// Registers of C and D of a thread.
    fn registers(&self) -> usize {
        if self.form.is_half() { self.n / 4 } else { self.n / 2 }
    }

    /// Fills shared memory with random numbers of a class, multiplies, and stores D.
    fn probe(&self, name: String, class: &str) -> Probe {
        self.probe_on(name, class, None)
    }

    /// The same on words made by hand, where there are any.
    fn probe_on(&self, name: String, class: &str, by_hand: Option<Vec<u32>>) -> Probe {
        let Self { form, n, majors, scales, .. } = *self;
        let count = self.registers();
        // C of more columns takes all registers: it is zero.
        let c = if C + count <= 128 { C } else { 0 };
        let loads_c = self.accumulates && c == C;
        let words = WORDS + if loads_c { count } else { 0 };
        let mut body = String::from(".shared .align 1024 .b8 region[32768];\nmov.b32 %t7, region;\n");
        body += "mad.lo.u32 %t4, %thread, 256, %t7;\n";
        // The first half of the threads fill A, the second B, four words at a time. The first four words of a thread are
        // its part of A in registers.
        let (of_a, of_b) = (numbers(form.a, class), numbers(form.b, class));
        body += "setp.lt.u32 %p, %thread, 64;\n";
        for (register, first, second) in [("%t0", of_a.0, of_b.0), ("%t1", of_a.1, of_b.1)] {
            // Writing to a string does not fail.
            let _ = writeln!(body, "selp.b32 {register}, 0x{:x}, 0x{:x}, %p;", first as u32, second as u32);
        }
        let four = vector("%w", 4, 4);
        let _ = writeln!(body, "mov.b32 %t2, {};\nFILL:\nmad.wide.u32 %l0, %t2, 4, %in;", WORDS - 4);
        let _ = writeln!(body, "mad.lo.u32 %t3, %t2, 4, %t4;\nld.global.v4.b32 {four}, [%l0];");
        for i in 4..8 {
            let _ = writeln!(body, "and.b32 %w{i}, %w{i}, %t0;\nor.b32 %w{i}, %w{i}, %t1;");
        }
        let _ = writeln!(body, "st.shared.v4.b32 [%t3], {four};\nsub.u32 %t2, %t2, 4;");
        body += "setp.ge.s32 %p, %t2, 0;\n@%p bra FILL;\n";
        for i in 0..count {
            if loads_c {
                let _ = writeln!(body, "ld.global.b32 %w{}, [%in+{}];", c + i, 4 * (WORDS + i));
            } else {
                let _ = writeln!(body, "mov.b32 %w{}, 0;", c + i);
            }
        }
        if loads_c && !form.is_integer() {
            let element = if form.is_half() { F16 } else { Tf32 };
            body += &mask(c, count, element, c_numbers(form, class));
        }
        body += "fence.proxy.async;\nbar.sync 0;\n";
        if let Some(a) = self.a {
            body += &a.build(4, 0);
        }
        body += &self.b.build(5, BYTES);
        let _ =
            writeln!(body, "setp.ne.b32 %q, {}, 0;\nwgmma.fence.sync.aligned;", i32::from(self.accumulates));
        let d = vector("%w", c, count);
        let a = if self.a.is_some() { "%l4".to_string() } else { vector("%w", 4, 4) };
        let mut modifiers = String::from("%q");
        if !form.is_integer() {
            let _ = write!(modifiers, ", {}, {}", scales.0, scales.1);
        }
        if form.a.bits() == 16 {
            let flag = |major| i32::from(major == Major::Mn);
            if self.a.is_some() {
                let _ = write!(modifiers, ", {}", flag(majors.0));
            }
            let _ = write!(modifiers, ", {}", flag(majors.1));
        }
        for step in 0..self.steps {
            if step > 0 {
                body += "add.u64 %l4, %l4, 2;\nadd.u64 %l5, %l5, 2;\nsetp.eq.b32 %q, 0, 0;\n";
            }
            let _ = writeln!(
                body,
                "wgmma.mma_async.sync.aligned.m64n{n}k{}.{} {d}, {a}, %l5, {modifiers};",
                form.k, form.types
            );
        }
        body += "wgmma.commit_group.sync.aligned;\nwgmma.wait_group.sync.aligned 0;\n";
        let registers: Vec<_> = (c..c + count).map(|i| format!("%w{i}")).collect();
        body += &store_words(&registers, 0);
        let kinds = || Inputs::Kinds { kinds: format!("raw*{words}"), seed: 1 };
        let inputs = by_hand.map_or_else(kinds, Inputs::Words);
        probe_of_one_architecture(name, HOPPER, inputs, count as u32, THREADS, THREADS, &body)
    }
}

/// Bits of a number that stay random, and those that are set: for layouts halves and ones of either sign.
fn numbers(element: Element, class: &str) -> (u64, u64) {
    match (element, class) {
        (_, class) if class != "exact" => masks(element, class),
        (Element::F16, _) => (0x8400_8400, 0x3800_3800),
        (Element::Bf16, _) => (0x8080_8080, 0x3F00_3F00),
        (Element::Tf32, _) => (0x8080_0000, 0x3F00_0000),
        (Element::E4m3, _) => (0x8888_8888, 0x3030_3030),
        (Element::E5m2, _) => (0x8484_8484, 0x3838_3838),
        _ => (0x8383_8383, 0),
    }
}

/// The same of C.
fn c_numbers(form: Form, class: &str) -> (u64, u64) {
    match class {
        "exact" => numbers(if form.is_half() { F16 } else { Tf32 }, class),
        _ if form.is_half() => masks(F16, class),
        "narrow" => (0x81FF_FFFF, 0x3E00_0000),
        "wide" => (0x87FF_FFFF, 0x3800_0000),
        "powers" => (0x8780_0000, 0x3800_0000),
        "subnormal" => (0x81FF_FFFF, 0x3000_0000),
        _ => (u64::MAX, 0),
    }
}

pub fn probes() -> Vec<Probe> {
    [layouts(), descriptors(), arithmetic()].into_iter().flatten().collect()
}

/// All types, majors, swizzles and both places of A.
fn layouts() -> Vec<Probe> {
    let mut probes = Vec::new();
    let name = |what: &str, majors: (Major, Major), swizzle: (&str, u32, u32)| {
        let letter = |major| if major == Major::K { "k" } else { "mn" };
        format!(
            "wgmma layout {what} {}-major {}-major swizzle {}",
            letter(majors.0),
            letter(majors.1),
            swizzle.0
        )
    };
    for swizzle in SWIZZLES {
        for a in [Major::K, Major::Mn] {
            for b in [Major::K, Major::Mn] {
                let product = Product::new(BF16, 64, (a, b), swizzle);
                probes.push(product.probe(name("m64n64k16.f32.bf16.bf16", (a, b), swizzle), "exact"));
            }
        }
        for b in [Major::K, Major::Mn] {
            let product = Product { a: None, ..Product::new(BF16, 64, (Major::K, b), swizzle) };
            let what = "m64n64k16.f32.bf16.bf16 A in registers";
            probes.push(product.probe(name(what, (Major::K, b), swizzle), "exact"));
        }
        for form in FORMS.into_iter().filter(|form| form.a.bits() != 16) {
            let majors = (Major::K, Major::K);
            let what = format!("m64n16k{}.{}", form.k, form.types);
            probes.push(Product::new(form, 16, majors, swizzle).probe(name(&what, majors, swizzle), "exact"));
            if swizzle.0 == "128B" {
                let product = Product { a: None, ..Product::new(form, 16, majors, swizzle) };
                let what = format!("{what} A in registers");
                probes.push(product.probe(name(&what, majors, swizzle), "exact"));
            }
        }
    }
    for n in [8, 24, 120, 136, 256] {
        let majors = (Major::K, Major::K);
        let what = format!("m64n{n}k16.f32.bf16.bf16");
        // B of more than 128 columns does not fit with rows of 128 bytes.
        let swizzle = SWIZZLES[if n > 128 { 2 } else { 3 }];
        probes.push(Product::new(BF16, n, majors, swizzle).probe(name(&what, majors, swizzle), "exact"));
    }
    probes
}

/// Fields of descriptors, one by one, and what the instruction is told beside them.
fn descriptors() -> Vec<Probe> {
    let k = (Major::K, Major::K);
    let swizzled = Product::new(BF16, 32, k, SWIZZLES[3]);
    let plain = Product::new(BF16, 32, k, SWIZZLES[0]);
    let b = |product: Product, change: &dyn Fn(&mut Descriptor)| {
        let mut product = product;
        change(&mut product.b);
        product
    };
    [
        ("start 32 bytes on, swizzle 128B", b(swizzled, &|b| b.start = 32)),
        ("start 96 bytes on, swizzle 128B", b(swizzled, &|b| b.start = 96)),
        ("start 4096 bytes on, swizzle 128B", b(swizzled, &|b| b.start = 4096)),
        (
            "start 512 bytes on, base offset 4, swizzle 128B",
            b(swizzled, &|b| (b.start, b.base_offset) = (512, 4)),
        ),
        ("start 512 bytes on, base offset 0, swizzle 128B", b(swizzled, &|b| b.start = 512)),
        ("leading offset 4096, swizzle 128B", b(swizzled, &|b| b.leading = 4096)),
        ("stride 2048, swizzle 128B", b(swizzled, &|b| b.stride = 2048)),
        ("stride 0, swizzle 128B", b(swizzled, &|b| b.stride = 0)),
        ("leading offset 1024, stride 128, no swizzle", b(plain, &|b| (b.leading, b.stride) = (1024, 128))),
        ("leading offset 0, no swizzle", b(plain, &|b| b.leading = 0)),
        ("scale-d false", Product { accumulates: false, ..swizzled }),
        ("scale-a -1", Product { scales: (-1, 1), ..swizzled }),
        ("scale-b -1", Product { scales: (1, -1), ..swizzled }),
        ("four steps of k", Product { steps: 4, ..swizzled }),
    ]
    .into_iter()
    .map(|(what, product)| product.probe(format!("wgmma bf16 {what}"), "exact"))
    .collect()
}

/// Random numbers of several kinds, also for sums of several instructions.
fn arithmetic() -> Vec<Probe> {
    let k = (Major::K, Major::K);
    let mut probes = Vec::new();
    for form in FORMS {
        let product = Product::new(form, 32, k, SWIZZLES[3]);
        if form.is_integer() {
            probes.push(product.probe(format!("wgmma.{} any", form.types), "any"));
            continue;
        }
        for class in ["any", "narrow", "wide", "powers", "subnormal"] {
            probes.push(product.probe(format!("wgmma.{} {class}", form.types), class));
        }
        let product = Product { steps: 4, ..product };
        probes.push(product.probe(format!("wgmma.{} narrow, four steps of k", form.types), "narrow"));
    }
    probes.extend(FORMS.into_iter().filter(|form| form.types.starts_with("f32")).map(kept_bits));
    let product = Product { a: None, ..Product::new(E4M3, 32, k, SWIZZLES[3]) };
    probes.push(product.probe("wgmma.f32.e4m3.e4m3 wide, A in registers".into(), "wide"));
    probes
}

/// Two products meet, a large one and one that gets smaller by powers of two with row and column; in every second column C
/// takes the large one away, so that D shows what was kept of the small one: of 8-bit types less than of others.
fn kept_bits(form: Form) -> Probe {
    const N: usize = 32;
    let product = Product::new(form, N, (Major::K, Major::K), SWIZZLES[0]);
    let (top, lowest) = match form.a {
        Element::E4m3 => (7, -8),
        Element::E5m2 | Element::F16 => (12, -13),
        _ => (12, -40),
    };
    let power = |exponent: i32| if exponent < lowest { 0.0 } else { f64::from(exponent).exp2() };
    let a = |row: usize, k: usize| match k {
        0 => power(top),
        1 => 1.5 * power(top - row as i32),
        _ => 0.0,
    };
    let b = |column: usize, k: usize| match k {
        0 => 1.0,
        1 => power(-(column as i32 / 2)),
        _ => 0.0,
    };
    let c = |column: usize| if column.is_multiple_of(2) { -(power(top) as f32) } else { 0.0 };
    let mut words = Vec::new();
    let registers = product.registers();
    for thread in 0..THREADS as usize {
        // As they lie in shared memory: eight rows of 16 bytes, again further along k, then the next eight rows.
        for word in 0..WORDS {
            let byte = (thread % 64 * WORDS + word) * 4;
            let (row, k_byte) = (byte / 256 * 8 + byte % 128 / 16, byte % 256 / 128 * 16 + byte % 16);
            let bits = form.a.bits() as usize;
            words.push((0..32 / bits).fold(0, |packed, i| {
                let k = k_byte * 8 / bits + i;
                let (element, value) = if thread < 64 { (form.a, a(row, k)) } else { (form.b, b(row, k)) };
                packed | (element.encode(value) as u32) << (i * bits)
            }));
        }
        let lane = thread % 32;
        words.extend((0..registers).map(|i| c(8 * (i / 4) + 2 * (lane % 4) + i % 2).to_bits()));
    }
    let name = format!("wgmma.{} kept bits", form.types);
    product.probe_on(name, "by hand", Some(words))
}
