//! Tensor cores: `mma.sync`, its fragments, and the arithmetic of each compute capability; and the data movement of
//! `ldmatrix`, `stmatrix` and `movmatrix`.

mod arithmetic;
mod double;
mod form;
mod integer;
mod layout;
mod matrix;
mod quad;
#[cfg(test)]
mod tests;
pub(crate) mod wgmma;

pub(crate) use matrix::{ldmatrix_scatter, movmatrix, stmatrix_gather};

use crate::config::{ComputeCapability, TensorMode};
use crate::count::TensorType;
use crate::program::{Decoded, Decoder, LANES, Lanes, Op, Operands, Reject, Slot, operands};
use crate::ptx::ast::{self, Operand, Type};
use crate::report::InstructionClass;
#[cfg(target_arch = "x86_64")]
use arithmetic::vector::Avx2;
use arithmetic::vector::{Portable, Simd};
use arithmetic::{Arithmetic, Product};
use form::{Accumulator, Form, Kind};
use layout::c_position;

/// A decoded `mma.sync`.
#[derive(Debug)]
pub(crate) struct MmaOp {
    form: Form,
    d: [Slot; 8],
    a: [Slot; 8],
    b: [Slot; 8],
    c: [Slot; 8],
}

/// Decodes `mma`; `None` for any other instruction.
pub(crate) fn decode(
    decoder: &mut Decoder<'_>,
    instruction: &ast::Instruction,
) -> Result<Option<Decoded>, Reject> {
    if instruction.root() != "mma" {
        return Ok(None);
    }
    let form = Form::parse(instruction)?;
    let registers = form.registers();
    let [d, a, b, c] = operands(instruction)?;
    let ty = if registers.wide { Type::F64 } else { Type::B32 };
    let op = MmaOp {
        form,
        d: slots(decoder, "D", d, registers.d, |decoder, one| decoder.destination(one, ty))?,
        a: slots(decoder, "A", a, registers.a, |decoder, one| decoder.source(one, ty))?,
        b: slots(decoder, "B", b, registers.b, |decoder, one| decoder.source(one, ty))?,
        c: slots(decoder, "C", c, registers.c, |decoder, one| decoder.source(one, ty))?,
    };
    Ok(Some(Decoded {
        op: Op::Mma(Box::new(op)),
        operands: Operands::default(),
        class: InstructionClass::Tensor,
    }))
}

/// The compute capability that an `mma` needs; `None` where it is none, or no form that is executed.
pub(crate) fn required_compute_capability(instruction: &ast::Instruction) -> Option<ComputeCapability> {
    let form = (instruction.root() == "mma").then(|| Form::parse(instruction).ok()).flatten()?;
    Some(form.required_compute_capability())
}

/// The registers of one operand.
fn slots<'a>(
    decoder: &mut Decoder<'a>,
    name: &str,
    operand: &Operand,
    count: usize,
    slot: impl Fn(&mut Decoder<'a>, &Operand) -> Result<Slot, Reject>,
) -> Result<[Slot; 8], Reject> {
    let elements = decoder.elements(operand);
    if elements.len() != count {
        return Err(format!("{name} has {} registers, {count} are expected", elements.len()));
    }
    let mut slots = [Slot::default(); 8];
    for (slot_of, element) in slots.iter_mut().zip(elements) {
        *slot_of = slot(decoder, element)?;
    }
    Ok(slots)
}

impl MmaOp {
    /// Multiplies the fragments of a whole warp.
    pub fn execute(&self, lanes: &mut Lanes, compute_capability: ComputeCapability, mode: TensorMode) {
        #[cfg(target_arch = "x86_64")]
        {
            #[target_feature(enable = "avx2,fma,f16c,bmi1,bmi2,lzcnt,popcnt")]
            fn wide(op: &MmaOp, lanes: &mut Lanes, compute_capability: ComputeCapability, mode: TensorMode) {
                // SAFETY: this is called only where the CPU has the features.
                let simd = unsafe { Avx2::new() };
                op.run(simd, lanes, compute_capability, mode);
            }
            if crate::alu::has_wide_vectors() {
                // SAFETY: the CPU has the features, as was asked just now.
                return unsafe { wide(self, lanes, compute_capability, mode) };
            }
        }
        self.run(Portable, lanes, compute_capability, mode);
    }

    /// The registers of A, B and C.
    pub fn sources(&self) -> impl Iterator<Item = Slot> {
        let registers = self.form.registers();
        let [a, b, c] = [(&self.a, registers.a), (&self.b, registers.b), (&self.c, registers.c)];
        [a, b, c].into_iter().flat_map(|(slots, count)| slots[..count].iter().copied())
    }

    /// The registers of D.
    pub fn destinations(&self) -> impl Iterator<Item = Slot> {
        self.d[..self.form.registers().d].iter().copied()
    }

    /// The lanes of each register of D whose elements depend on the lanes of the sources that `lanes` tells: an element
    /// on its row of A, its column of B, and its own place in C.
    pub fn depends(&self, lanes: impl Fn(Slot) -> u32) -> [u32; 8] {
        let registers = self.form.registers();
        let of_lane = |mask: u32, lane: usize| mask >> lane & 1 != 0;
        if matches!(self.form.kind, Kind::Quad { .. }) {
            let any = self.sources().any(|slot| lanes(slot) != 0);
            return [if any { u32::MAX } else { 0 }; 8];
        }
        let (mut rows, mut columns) = (0u32, 0u32);
        for (register, slot) in self.a[..registers.a].iter().enumerate() {
            let mask = lanes(*slot);
            for lane in (0..LANES).filter(|lane| of_lane(mask, *lane)) {
                rows |= 1 << layout::a_position(self.form.m, 1, lane, register).0;
            }
        }
        for slot in &self.b[..registers.b] {
            let mask = lanes(*slot);
            for lane in (0..LANES).filter(|lane| of_lane(mask, *lane)) {
                columns |= 1 << layout::b_position(1, lane, 0).1;
            }
        }
        // C and D are laid out alike where their registers are as many; else C counts as a whole.
        let same = registers.c == registers.d;
        let all_of_c = self.c[..registers.c].iter().fold(0, |all, slot| all | lanes(*slot));
        let halves = matches!(self.form.kind, Kind::Float { d: Accumulator::F16, .. });
        let mut depends = [0; 8];
        for (register, depends) in depends.iter_mut().enumerate().take(registers.d) {
            *depends = if same {
                lanes(self.c[register])
            } else if all_of_c != 0 {
                u32::MAX
            } else {
                0
            };
            for lane in 0..LANES {
                let elements = if halves { 2 * register..2 * register + 2 } else { register..register + 1 };
                let touched = elements.map(|element| layout::c_position(lane, element));
                let touched =
                    touched.into_iter().any(|(row, column)| (rows >> row | columns >> column) & 1 != 0);
                *depends |= u32::from(touched) << lane;
            }
        }
        depends
    }

    /// Operations that one execution counts for, and of which type.
    pub fn flops(&self) -> (TensorType, u64) {
        self.form.flops()
    }

    #[inline(always)]
    fn run(
        &self,
        simd: impl Simd,
        lanes: &mut Lanes,
        compute_capability: ComputeCapability,
        mode: TensorMode,
    ) {
        let Form { m, k, kind } = self.form;
        let registers = self.form.registers();
        match kind {
            Kind::Double { rounding } => return self.run_double(lanes, rounding),
            Kind::Quad { a_column_major, b_column_major, c, d } => {
                return self.run_quad(lanes, (a_column_major, b_column_major), c, d);
            }
            _ => {}
        }
        let a_values: [[u32; LANES]; 4] = self.read(lanes, &self.a, registers.a);
        let b_values: [[u32; LANES]; 2] = self.read(lanes, &self.b, registers.b);
        let c_values: [[u32; LANES]; 4] = self.read(lanes, &self.c, registers.c);
        let a_words = layout::gather_a(m, a_values.iter().take(registers.a));
        let b_words = layout::gather_b(b_values.iter().take(registers.b));
        let halves = matches!(kind, Kind::Float { d: Accumulator::F16, .. });
        let c = layout::gather_c(halves, c_values.iter().take(registers.c));
        let d = match kind {
            Kind::Float { a, b, d } => {
                let product =
                    Product { a, b, accumulator: d, k, a_words: &a_words, b_words: &b_words, c: &c };
                match mode {
                    TensorMode::Fast => arithmetic::multiply_plain(&product),
                    TensorMode::BitAccurate => {
                        let arithmetic = Arithmetic::of(compute_capability, a, d, k);
                        arithmetic::multiply_bit_accurate(simd, &product, arithmetic)
                    }
                }
            }
            Kind::Integer { a, b, saturate } => {
                integer::multiply((a, b), saturate, k * a.bits / 32, &a_words, &b_words, &c)
            }
            Kind::Bits { op } => integer::multiply_bits(op, k / 32, &a_words, &b_words, &c),
            Kind::Double { .. } | Kind::Quad { .. } => c,
        };
        for (register, slot) in self.d.iter().enumerate().take(registers.d) {
            lanes.set32(*slot, &layout::scatter_d(halves, &d, register), u32::MAX);
        }
    }

    #[inline(always)]
    fn read<const N: usize>(&self, lanes: &Lanes, slots: &[Slot; 8], count: usize) -> [[u32; LANES]; N] {
        let mut values = [[0; LANES]; N];
        for (values, slot) in values.iter_mut().zip(slots).take(count) {
            *values = lanes.get32(*slot);
        }
        values
    }

    #[inline(always)]
    fn run_double(&self, lanes: &mut Lanes, rounding: form::Rounding) {
        let Form { m, k, .. } = self.form;
        let registers = self.form.registers();
        let mut a = [[0.0; 16]; 16];
        let mut b = [[0.0; 8]; 16];
        let mut d = [[0.0; 8]; 16];
        for register in 0..registers.a {
            for (lane, bits) in lanes.get64(self.a[register]).into_iter().enumerate() {
                let (row, k) = layout::a_position(m, 1, lane, register);
                a[k][row] = f64::from_bits(bits);
            }
        }
        for register in 0..registers.b {
            for (lane, bits) in lanes.get64(self.b[register]).into_iter().enumerate() {
                let (k, column) = layout::b_position(1, lane, register);
                b[k][column] = f64::from_bits(bits);
            }
        }
        for register in 0..registers.c {
            for (lane, bits) in lanes.get64(self.c[register]).into_iter().enumerate() {
                let (row, column) = c_position(lane, register);
                d[row][column] = f64::from_bits(bits);
            }
        }
        for (a, b) in a.iter().zip(&b).take(k) {
            for (row, d) in d.iter_mut().enumerate().take(m) {
                for (d, b) in d.iter_mut().zip(b) {
                    *d = double::fused_multiply_add(a[row], *b, *d, rounding);
                }
            }
        }
        for register in 0..registers.d {
            let values = std::array::from_fn(|lane| {
                let (row, column) = c_position(lane, register);
                d[row][column].to_bits()
            });
            lanes.set64(self.d[register], &values, u32::MAX);
        }
    }

    fn run_quad(
        &self,
        lanes: &mut Lanes,
        column_major: (bool, bool),
        c_type: Accumulator,
        d_type: Accumulator,
    ) {
        let registers = self.form.registers();
        let a = self.read(lanes, &self.a, registers.a);
        let b = self.read(lanes, &self.b, registers.b);
        let c = self.read(lanes, &self.c, registers.c);
        let d = quad::multiply(column_major, c_type, d_type, &a, &b, &c);
        for (slot, values) in self.d.iter().zip(&d).take(registers.d) {
            lanes.set32(*slot, values, u32::MAX);
        }
    }
}
