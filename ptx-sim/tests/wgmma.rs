//! `wgmma` on matrices of small integers, in every layout that a descriptor can name, against ordinary loops.

mod garbage;
mod layouts;
mod registers_pool;
mod rules;
mod shapes;

use ptx_sim::{ComputeCapability, Error, Report, Violation, ViolationKind};

use crate::run::Run;

/// A type of A or B: its name, its bits, and what an integer is in it.
#[derive(Clone, Copy, Debug)]
pub struct Element {
    pub name: &'static str,
    pub bits: usize,
    pub encode: fn(i32) -> u32,
}

pub const F16: Element =
    Element { name: "f16", bits: 16, encode: |value| u32::from(half::f16::from_f32(value as f32).to_bits()) };
pub const BF16: Element = Element {
    name: "bf16",
    bits: 16,
    encode: |value| u32::from(half::bf16::from_f32(value as f32).to_bits()),
};
pub const TF32: Element = Element { name: "tf32", bits: 32, encode: |value| (value as f32).to_bits() };
pub const E4M3: Element = Element { name: "e4m3", bits: 8, encode: |value| small_float(value, 3, 7) };
pub const E5M2: Element = Element { name: "e5m2", bits: 8, encode: |value| small_float(value, 2, 15) };
pub const S8: Element = Element { name: "s8", bits: 8, encode: |value| value as u8 as u32 };
pub const U8: Element = Element { name: "u8", bits: 8, encode: |value| value as u8 as u32 };
pub const B1: Element = Element { name: "b1", bits: 1, encode: |value| (value & 1) as u32 };

/// A small integer, which must fit, as an 8-bit float.
fn small_float(value: i32, fraction_bits: u32, bias: u32) -> u32 {
    let sign = u32::from(value < 0) << 7;
    let magnitude = value.unsigned_abs();
    if magnitude == 0 {
        return sign;
    }
    let exponent = magnitude.ilog2();
    let fraction = (magnitude << fraction_bits >> exponent) & ((1 << fraction_bits) - 1);
    assert_eq!((fraction | 1 << fraction_bits) << exponent >> fraction_bits, magnitude, "{value}");
    sign | (exponent + bias) << fraction_bits | fraction
}

/// How 16-byte units are permuted: the number of address bits that are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Swizzle(pub u32);

impl Swizzle {
    pub const ALL: [Self; 4] = [Self(0), Self(1), Self(2), Self(3)];

    /// CuTe's `Swizzle<bits, 4, 3>`.
    pub fn apply(self, address: usize) -> usize {
        address ^ (address >> 3 & (((1 << self.0) - 1) << 4))
    }

    fn code(self) -> u64 {
        [0, 3, 2, 1][self.0 as usize]
    }
}

/// A matrix in shared memory: rows of A or columns of B, here lines, and k.
#[derive(Clone, Copy, Debug)]
pub struct Tile {
    pub swizzle: Swizzle,
    /// Neighbours in memory are elements of different lines with one k.
    pub transposed: bool,
    /// Where it starts, a multiple of 1024 or, within the first row of a pattern, a multiple of 32.
    pub start: usize,
    pub leading: usize,
    pub stride: usize,
}

/// The coordinates of an index in a shape, first mode fastest, times strides: a layout of CuTe.
fn cute(mut index: usize, shape: &[usize], strides: &[usize]) -> usize {
    let mut sum = 0;
    for (size, stride) in shape.iter().zip(strides) {
        sum += index % size * stride;
        index /= size;
    }
    sum
}

impl Tile {
    /// The canonical layouts of CUTLASS (`make_gmma_desc`), in bytes and before the swizzle; the last modes are as
    /// large as they need be.
    fn linear(&self, line: usize, k: usize, bytes: usize) -> usize {
        let t = 16 / bytes;
        let w = 1 << self.swizzle.0;
        let (lead, stride) = (self.leading / bytes, self.stride / bytes);
        let many = usize::MAX;
        let elements = match (self.transposed, self.swizzle.0) {
            (true, 0) => cute(line, &[t, 1, many], &[1, t, stride]) + cute(k, &[8, many], &[t, lead]),
            (true, _) => cute(line, &[t, w, many], &[1, t, lead]) + cute(k, &[8, many], &[w * t, stride]),
            (false, 0) => cute(line, &[8, many], &[t, stride]) + cute(k, &[t, 2], &[1, lead]),
            (false, _) => cute(line, &[8, many], &[w * t, stride]) + cute(k, &[t, 2], &[1, t]),
        };
        elements * bytes
    }

    /// The place of an element; of single bits, of the byte.
    pub fn place(&self, line: usize, k: usize, bits: usize) -> usize {
        let (k, bytes) = if bits < 8 { (k * bits / 8, 1) } else { (k, bits / 8) };
        self.swizzle.apply(self.start + self.linear(line, k, bytes))
    }

    /// The descriptor, without the address at which the shared memory starts.
    pub fn descriptor(&self) -> u64 {
        let encode = |bytes: usize| (bytes as u64 & 0x3ffff) >> 4;
        encode(self.start)
            | encode(self.leading) << 16
            | encode(self.stride) << 32
            | self.swizzle.code() << 62
    }
}

/// A multiplication.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub n: usize,
    pub d: &'static str,
    pub a: Element,
    pub b: Element,
    /// `None` for A in registers.
    pub a_tile: Option<Tile>,
    pub b_tile: Tile,
    pub accumulates: bool,
    pub negate: (bool, bool),
    /// Behind the types.
    pub suffix: &'static str,
}

impl Case {
    pub fn k(&self) -> usize {
        256 / self.a.bits
    }

    /// What memory holds: A in fragments (128 threads, 4 words each), C (64 by n), then the shared memory.
    fn input(&self, a: &dyn Fn(usize, usize) -> i32, b: &dyn Fn(usize, usize) -> i32, c: &[i32]) -> Vec<u32> {
        let mut input = vec![0u32; 512];
        let bits = self.a.bits;
        for (index, word) in input.iter_mut().enumerate() {
            let (thread, register) = (index / 4, index % 4);
            let (warp, lane) = (thread / 32, thread % 32);
            let row = 16 * warp + lane / 4 + 8 * (register % 2);
            let per_word = 32 / bits;
            for within in 0..per_word {
                let k = per_word * (lane % 4 + 4 * (register / 2)) + within;
                *word |= (self.a.encode)(a(row, k)) << (within * bits);
            }
        }
        input.extend(c.iter().map(|value| match self.d {
            "s32" => *value as u32,
            "f16" => F16.encode_one(*value),
            _ => (*value as f32).to_bits(),
        }));
        let mut shared = vec![0u8; SHARED];
        let mut place =
            |tile: &Tile, element: &Element, lines: usize, value: &dyn Fn(usize, usize) -> i32| {
                for line in 0..lines {
                    for k in 0..self.k() {
                        let at = tile.place(line, k, element.bits);
                        let bits = (element.encode)(value(line, k));
                        if element.bits < 8 {
                            shared[at] |= (bits << (k % 8)) as u8;
                        } else {
                            shared[at..at + element.bits / 8]
                                .copy_from_slice(&bits.to_le_bytes()[..element.bits / 8]);
                        }
                    }
                }
            };
        place(&self.b_tile, &self.b, self.n, &|column, k| b(k, column));
        if let Some(tile) = &self.a_tile {
            place(tile, &self.a, 64, &|row, k| a(row, k));
        }
        input.extend(shared.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word)));
        input
    }

    /// The instruction.
    pub fn instruction(&self) -> String {
        let halves = self.d == "f16";
        let registers = if halves { self.n / 4 } else { self.n / 2 };
        let d: Vec<String> = (0..registers).map(|register| format!("%d{register}")).collect();
        let a = if self.a_tile.is_some() { "%desca" } else { "{%a0, %a1, %a2, %a3}" };
        let sign = |negative: bool| if negative { -1 } else { 1 };
        let mut operands = format!("{{{}}}, {a}, %descb, %scale", d.join(", "));
        if self.d != "s32" {
            operands += &format!(", {}, {}", sign(self.negate.0), sign(self.negate.1));
        }
        if self.a.bits == 16 {
            if let Some(tile) = &self.a_tile {
                operands += &format!(", {}", u8::from(tile.transposed));
            }
            operands += &format!(", {}", u8::from(self.b_tile.transposed));
        }
        let (n, k) = (self.n, self.k());
        format!(
            "wgmma.mma_async.sync.aligned.m64n{n}k{k}.{}.{}.{}{} {operands};",
            self.d, self.a.name, self.b.name, self.suffix
        )
    }

    /// A kernel that fills registers and shared memory, runs `body`, and stores D.
    pub fn kernel(&self, body: &str) -> String {
        let registers = if self.d == "f16" { self.n / 4 } else { self.n / 2 };
        let mut text = format!(
            ".shared .align 1024 .b8 tile[{SHARED}];\n\
             .reg .b32 %d<{registers}>, %e<{registers}>, %a<4>, %r<20>;\n.reg .f32 %f<4>;\n.reg .b64 %rd<10>, %desca, %descb;\n\
             .reg .pred %scale, %p<4>;\n\
             mov.u32 %r0, %tid.x;\n\
             mul.wide.u32 %rd0, %r0, 16;\nadd.s64 %rd0, %in, %rd0;\n\
             ld.global.v4.b32 {{%a0, %a1, %a2, %a3}}, [%rd0];\n\
             mov.u32 %r1, tile;\nshr.u32 %r1, %r1, 4;\ncvt.u64.u32 %rd1, %r1;\n\
             add.s64 %desca, %rd1, {};\nadd.s64 %descb, %rd1, {};\n\
             setp.eq.u32 %scale, {}, 1;\n\
             mul.lo.u32 %r2, %r0, 4;\nmov.u32 %r3, tile;\nadd.u32 %r3, %r3, %r2;\n\
             cvt.u64.u32 %rd2, %r2;\nadd.s64 %rd2, %rd2, %in;\nadd.s64 %rd2, %rd2, {};\nmov.u32 %r4, 0;\n\
             FILL:\nld.global.b32 %r5, [%rd2];\nst.shared.b32 [%r3], %r5;\nadd.s64 %rd2, %rd2, 512;\n\
             add.u32 %r3, %r3, 512;\nadd.u32 %r4, %r4, 512;\nsetp.lt.u32 %p0, %r4, {SHARED};\n@%p0 bra FILL;\n\
             fence.proxy.async;\nbar.sync 0;\n",
            self.a_tile.map_or(0, |tile| tile.descriptor()) as i64,
            self.b_tile.descriptor() as i64,
            u8::from(self.accumulates),
            2048 + 4 * 64 * self.n,
        );
        // Rows and columns of a thread's first element.
        text += "shr.u32 %r6, %r0, 5;\nshl.b32 %r6, %r6, 4;\nand.b32 %r7, %r0, 31;\nshr.u32 %r8, %r7, 2;\n\
                 add.u32 %r6, %r6, %r8;\nand.b32 %r7, %r7, 3;\nshl.b32 %r7, %r7, 1;\n";
        text += &format!("mad.lo.u32 %r8, %r6, {}, %r7;\nmul.wide.u32 %rd3, %r8, 4;\n", self.n);
        text += "add.s64 %rd4, %in, %rd3;\nadd.s64 %rd5, %out, %rd3;\n";
        let offset = |register: usize, element: usize| {
            let (row, column) = (8 * (element / 2 % 2), 8 * (element / 4) + element % 2);
            let _ = register;
            4 * (row * self.n + column)
        };
        for register in 0..registers {
            if self.d == "f16" {
                let (low, high) = (offset(register, 2 * register), offset(register, 2 * register + 1));
                text += &format!(
                    "ld.global.b32 %r10, [%rd4+{}];\nld.global.b32 %r11, [%rd4+{}];\nshl.b32 %r11, %r11, 16;\n\
                     or.b32 %d{register}, %r10, %r11;\n",
                    2048 + low,
                    2048 + high
                );
            } else {
                text +=
                    &format!("ld.global.b32 %d{register}, [%rd4+{}];\n", 2048 + offset(register, register));
            }
        }
        text += body;
        for register in 0..registers {
            if self.d == "f16" {
                let (low, high) = (offset(register, 2 * register), offset(register, 2 * register + 1));
                text += &format!(
                    "and.b32 %r10, %d{register}, 0xffff;\nshr.u32 %r11, %d{register}, 16;\n\
                     st.global.b32 [%rd5+{low}], %r10;\nst.global.b32 [%rd5+{high}], %r11;\n"
                );
            } else {
                text += &format!("st.global.b32 [%rd5+{}], %d{register};\n", offset(register, register));
            }
        }
        text
    }

    /// One multiplication, fenced and waited for.
    pub fn plain_kernel(&self) -> String {
        self.kernel(&format!(
            "wgmma.fence.sync.aligned;\n{}\nwgmma.commit_group.sync.aligned;\nwgmma.wait_group.sync.aligned 0;\n",
            self.instruction()
        ))
    }

    /// Runs a kernel on matrices; what D holds, as integers.
    pub fn run(
        &self,
        kernel: &str,
        seed: u64,
        a: &dyn Fn(usize, usize) -> i32,
        b: &dyn Fn(usize, usize) -> i32,
        c: &[i32],
    ) -> Result<(Vec<i32>, Report), Box<Violation>> {
        let run = Run {
            body: kernel,
            block: 128,
            seed,
            target: "sm_90a",
            device: ComputeCapability::Sm90,
            ..Run::default()
        };
        match run.try_run(&self.input(a, b, c), 64 * self.n) {
            Ok((output, report)) => {
                let decode = |bits: u32| match self.d {
                    "s32" => bits as i32,
                    "f16" => half::f16::from_bits(bits as u16).to_f32() as i32,
                    _ => f32::from_bits(bits) as i32,
                };
                Ok((output.into_iter().map(decode).collect(), report))
            }
            Err(Error::Violation(violation)) => Err(violation),
            Err(error) => panic!("{error}\n{kernel}"),
        }
    }

    /// Runs one multiplication and compares it with loops.
    #[track_caller]
    pub fn check(
        &self,
        seed: u64,
        a: &dyn Fn(usize, usize) -> i32,
        b: &dyn Fn(usize, usize) -> i32,
    ) -> Report {
        let c: Vec<i32> = (0..64 * self.n).map(|index| (index * 7 % 13) as i32 - 6).collect();
        let (d, report) = self
            .run(&self.plain_kernel(), seed, a, b, &c)
            .unwrap_or_else(|violation| panic!("{violation}\n{self:?}"));
        let sign = if self.negate.0 != self.negate.1 { -1 } else { 1 };
        for row in 0..64 {
            for column in 0..self.n {
                let sum: i32 = (0..self.k()).map(|k| a(row, k) * b(k, column)).sum();
                let c = if self.accumulates { c[row * self.n + column] } else { 0 };
                assert_eq!(
                    d[row * self.n + column],
                    sign * sum + c,
                    "row {row}, column {column} of {self:?}"
                );
            }
        }
        report
    }
}

impl Element {
    fn encode_one(&self, value: i32) -> u32 {
        (self.encode)(value)
    }
}

/// Bytes of the tests' shared memory.
pub const SHARED: usize = 32 << 10;

/// bf16, 8 columns, B in rows of 32 bytes, A in registers.
pub fn small() -> Case {
    let b_tile = Tile { swizzle: Swizzle(1), transposed: false, start: 0, leading: 16, stride: 256 };
    Case {
        n: 8,
        d: "f32",
        a: BF16,
        b: BF16,
        a_tile: None,
        b_tile,
        accumulates: true,
        negate: (false, false),
        suffix: "",
    }
}

/// Small integers that differ everywhere.
pub fn mixed(factor: usize) -> impl Fn(usize, usize) -> i32 {
    move |i, j| ((i * 5 + j * factor + i * j) % 7) as i32 - 3
}

/// Requires that a kernel is reported for just this, under several seeds; the first report.
#[track_caller]
pub fn reported(case: &Case, body: &str, kind: ViolationKind) -> Box<Violation> {
    let kernel = case.kernel(body);
    let c = vec![0; 64 * case.n];
    let mut first = None;
    for seed in 0..4 {
        match case.run(&kernel, seed, &mixed(3), &mixed(2), &c) {
            Ok(_) => panic!("nothing was reported with seed {seed} for\n{body}"),
            Err(violation) => {
                assert_eq!(violation.kind, kind, "{violation}\n{body}");
                first.get_or_insert(violation);
            }
        }
    }
    first.expect("there were seeds")
}
