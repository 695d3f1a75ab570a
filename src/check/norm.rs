//! Cases of `rms_norm` and `add_rms_norm`, and of both with fp8 outputs: those are launched beside the two operations that they
//! are made of, and must give the same bits.

use super::Case;
use super::memory::Operand;
use super::permute_columns::Columns;
use super::problem::{Call, Expected, Outcome, Problem};
use super::values::{ACTIVATIONS, Rng, bytes, cpu, decode, encode, tensor};
use crate::backend::{self, ActivationMut, Backend};
use crate::ops;
use crate::params::FP8_GROUP_COLUMNS;
use crate::reference::Real;
use crate::tensor::DType;
use crate::{Error, Result, plan};

/// `[tokens, hidden]`: no token, one, rows that share a block, and the widths of all Llama models.
const SHAPES: [[usize; 2]; 22] = [
    [0, 4096],
    [1, 8],
    [1, 16],
    [3, 8],
    [9, 24],
    [2, 120],
    [5, 256],
    [4, 264],
    [131, 64],
    [3, 1000],
    [3, 1024],
    [2, 1032],
    [5, 2048],
    [4, 3072],
    [3, 4096],
    [2, 4104],
    [2, 5120],
    [2, 6656],
    [3, 8192],
    [1, 16384],
    [1, 32760],
    [2, plan::MAX_ROW],
];

/// Elements from one row to the next that put the second row beyond 2^31 elements.
const FAR: usize = (1 << 31) + 64;

const EPS: f32 = 1e-5;

/// What is special about a case.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    /// Rows apart, each operand's by another distance.
    Strided,
    /// The second row lies beyond 2^31 elements.
    Far,
    /// `out` is `x`.
    InPlace,
    /// NaN and infinity in rows of their own.
    NotFinite,
    /// Large numbers beside small ones.
    Wide,
    /// Rows of one power of two, and eps 0: every step is exact.
    Exact,
    /// This operand starts one element behind an aligned address.
    Misaligned(&'static str),
}

#[derive(Clone, Copy)]
struct Norm {
    add: bool,
    /// Scales of a row of fp8 outputs.
    fp8: Option<usize>,
    dtype: DType,
    shape: [usize; 2],
    /// In what order the columns are written, where it is another.
    columns: Option<Columns>,
    kind: Kind,
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for add in [false, true] {
        for dtype in ACTIVATIONS {
            let norm = |columns, shape, kind| Norm { add, fp8: None, dtype, shape, columns, kind }.case();
            let mut case = |shape, kind| cases.push(norm(None, shape, kind));
            for shape in SHAPES {
                case(shape, Kind::Plain);
            }
            for shape in [[3, 8], [5, 120], [4, 1032], [3, 4096]] {
                case(shape, Kind::Strided);
            }
            case([2, 256], Kind::Far);
            for shape in [[7, 64], [3, 4096]] {
                case(shape, Kind::InPlace);
            }
            for shape in [[7, 248], [5, 2048]] {
                case(shape, Kind::NotFinite);
                case(shape, Kind::Wide);
                case(shape, Kind::Exact);
            }
            for operand in if add { &["x", "residual", "weight", "out"][..] } else { &["x", "weight", "out"] }
            {
                case([3, 256], Kind::Misaligned(operand));
            }
            let mut case = |columns, shape, kind| cases.push(norm(Some(columns), shape, kind));
            for shape in SHAPES {
                case(Columns::Permuted, shape, Kind::Plain);
            }
            for shape in [[9, 24], [5, 1032], [3, 4096]] {
                case(Columns::Permuted, shape, Kind::Strided);
                case(Columns::Permuted, shape, Kind::InPlace);
                case(Columns::Permuted, shape, Kind::Exact);
                case(Columns::Unknown, shape, Kind::Plain);
                case(Columns::UnknownUntold, shape, Kind::Plain);
            }
            case(Columns::Permuted, [7, 248], Kind::NotFinite);
            case(Columns::Permuted, [3, 256], Kind::Misaligned("columns"));
        }
    }
    cases
}

/// Cases of `rms_norm_fp8` and `add_rms_norm_fp8`.
pub(super) fn fp8_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for add in [false, true] {
        for dtype in ACTIVATIONS {
            let mut both =
                |shape: [usize; 2], kind| {
                    let columns = FP8_GROUP_COLUMNS as usize;
                    let per_group = (shape[1].is_multiple_of(columns) && shape[1] > columns)
                        .then_some(shape[1] / columns);
                    let groups = [Some(1), per_group].into_iter().flatten();
                    cases.extend(groups.map(|groups| {
                        Norm { add, fp8: Some(groups), dtype, shape, columns: None, kind }.case()
                    }));
                };
            for shape in SHAPES {
                both(shape, Kind::Plain);
            }
            for shape in [[3, 8], [5, 120], [4, 1152], [3, 4096]] {
                both(shape, Kind::Strided);
            }
            both([2, 256], Kind::Far);
            for shape in [[7, 248], [7, 384], [5, 2048]] {
                both(shape, Kind::NotFinite);
                both(shape, Kind::Wide);
                both(shape, Kind::Exact);
            }
            let residual = add.then_some("residual");
            for operand in ["x", "weight", "codes", "scale"].into_iter().chain(residual) {
                both([3, 256], Kind::Misaligned(operand));
            }
        }
    }
    cases
}

/// Prompts of the models' widths.
pub(super) fn fp8_model_cases() -> Vec<Case> {
    let shapes = [(DType::BF16, [8192, 4096], 1), (DType::F16, [4096, 8192], 64)];
    let cases = shapes.into_iter().flat_map(|(dtype, shape, groups)| {
        [false, true]
            .map(|add| Norm { add, fp8: Some(groups), dtype, shape, columns: None, kind: Kind::Plain }.case())
    });
    cases.collect()
}

/// Prompts of the models' widths.
pub(super) fn model_cases() -> Vec<Case> {
    let shapes = [(DType::BF16, [8192, 4096]), (DType::F16, [8192, 8192]), (DType::BF16, [256, 16_384])];
    let cases = shapes.into_iter().flat_map(|(dtype, shape)| {
        let kind = Kind::Plain;
        let norm = move |add, columns| Norm { add, fp8: None, dtype, shape, columns, kind }.case();
        [false, true].into_iter().flat_map(move |add| [norm(add, None), norm(add, Some(Columns::Permuted))])
    });
    cases.collect()
}

impl Norm {
    fn op(self) -> &'static str {
        match (self.add, self.fp8) {
            (false, None) => "rms_norm",
            (true, None) => "add_rms_norm",
            (false, Some(_)) => "rms_norm_fp8",
            (true, Some(_)) => "add_rms_norm_fp8",
        }
    }

    fn case(self) -> Case {
        let what = match self.kind {
            Kind::Plain => String::new(),
            Kind::Strided => " strided".into(),
            Kind::Far => " beyond 2^31 elements".into(),
            Kind::InPlace => " in place".into(),
            Kind::NotFinite => " with NaN and infinity".into(),
            Kind::Wide => " of mixed magnitude".into(),
            Kind::Exact => " exact".into(),
            Kind::Misaligned(operand) => format!(" {operand} misaligned"),
        };
        let groups = self.fp8.map_or(String::new(), |groups| format!(" scales {groups}"));
        let columns = self.columns.map_or("", Columns::text);
        let name = format!("{} {:?}{groups}{columns}{what}", self.dtype, self.shape);
        Case::new(self.op(), name, move || self.problem())
    }

    fn eps(self) -> f32 {
        if self.kind == Kind::Exact { 0.0 } else { EPS }
    }

    /// x, residual and weight.
    fn values(self) -> [Vec<f64>; 3] {
        let [tokens, hidden] = self.shape;
        let mut rng = Rng(hidden as u64);
        let weight = rng.normal(self.dtype, hidden, 1.0);
        if self.kind == Kind::Exact {
            // |x| is 2^k in the whole of a row: x * rsqrt(mean) is a sign.
            let power = |token: usize| f64::powi(2.0, token as i32 % 5 - 2);
            let mut sign = || if rng.below(2) == 0 { 1.0 } else { -1.0 };
            let sums: Vec<f64> = (0..tokens * hidden).map(|i| power(i / hidden) * sign()).collect();
            let half = |sums: &[f64]| sums.iter().map(|sum| sum / 2.0).collect::<Vec<_>>();
            return if self.add { [half(&sums), half(&sums), weight] } else { [sums, Vec::new(), weight] };
        }
        let mut matrix = |deviation| rng.normal(self.dtype, tokens * hidden, deviation);
        let (mut x, mut residual) = (matrix(1.5), matrix(1.5));
        match self.kind {
            Kind::NotFinite => {
                // In the second, fourth and sixth row, where there are so many.
                for (row, value) in [(1, f64::NAN), (3, f64::INFINITY), (5, f64::NEG_INFINITY)] {
                    if let Some(x) = x.get_mut(row * hidden + 7) {
                        *x = value;
                    }
                }
            }
            Kind::Wide => {
                for (i, (x, residual)) in x.iter_mut().zip(&mut residual).enumerate() {
                    let scale = f64::powi(2.0, i as i32 % 13 - 6);
                    (*x, *residual) = (*x * scale, *residual * scale);
                }
            }
            _ => {}
        }
        [x, residual, weight]
    }

    fn problem(self) -> Result<Problem> {
        let Norm { add, fp8, dtype, shape, columns, kind } = self;
        let [x, residual, weight] = self.values();
        let (reference_out, _) = self.reference::<f64>(DType::F64, &x, &residual, &weight)?;
        let (naive_out, naive_residual) = self.reference::<f32>(dtype, &x, &residual, &weight)?;
        // What is written in another order is the same.
        let order = columns.map(|columns| columns.of(shape[1]));
        let ordered = |bytes: Vec<u8>, size| match &order {
            Some(order) => order.permuted(&bytes, size),
            None => bytes,
        };
        let naive_out = ordered(naive_out, dtype.size());
        let expected = if kind == Kind::Exact {
            Expected::Bits(naive_out)
        } else {
            // The norm is of the rounded sum: the reference starts from there.
            let reference = if add {
                let sum = decode(dtype, &naive_residual);
                Norm { add: false, fp8: None, ..self }.reference::<f64>(DType::F64, &sum, &[], &weight)?.0
            } else {
                reference_out
            };
            let reference = ordered(reference, DType::F64.size());
            Expected::Near { reference: decode(DType::F64, &reference), naive: decode(dtype, &naive_out) }
        };

        let in_place = kind == Kind::InPlace;
        let content = |values: &[f64]| encode(dtype, values);
        let mut operands = Vec::new();
        if in_place {
            operands.push(Operand::updated("x", dtype, &shape, content(&x), expected));
        } else {
            operands.push(Operand::input("x", dtype, &shape, content(&x)));
            operands.push(Operand::output("out", dtype, &shape, expected));
        }
        operands.push(Operand::input("weight", dtype, &shape[1..], content(&weight)));
        if add {
            // One addition is exact up to its rounding.
            let sum = Expected::Numbers(naive_residual);
            operands.push(Operand::updated("residual", dtype, &shape, content(&residual), sum));
            if fp8.is_some() {
                let same = Expected::Same("residual");
                operands.push(Operand::updated("residual apart", dtype, &shape, content(&residual), same));
            }
        }
        if let Some(groups) = fp8 {
            for (name, other) in [("codes", "codes apart"), ("codes apart", "codes")] {
                operands.push(Operand::output(name, DType::F8E4M3, &shape, Expected::Same(other)));
            }
            for (name, other) in [("scale", "scale apart"), ("scale apart", "scale")] {
                operands.push(Operand::output(name, DType::F32, &[shape[0], groups], Expected::Same(other)));
            }
        }
        if let Some(order) = &order {
            operands.extend(order.operands(shape[0]));
        }
        let beside = |operand: &Operand| ["weight", "columns", "error"].contains(&operand.name);
        let operands = operands
            .into_iter()
            .enumerate()
            .map(|(i, operand)| match kind {
                Kind::Strided if !beside(&operand) => operand.with_gap(8 * (i + 1)),
                Kind::Far if !beside(&operand) => operand.with_gap(FAR),
                Kind::Misaligned(name) if name == operand.name => operand.misplaced(2),
                _ => operand,
            })
            .collect();
        let outcome = match kind {
            Kind::Misaligned(operand) => Outcome::Refuses(operand),
            _ => Outcome::Launches(u64::from(shape[0] > 0) * if fp8.is_some() { 3 } else { 1 }),
        };
        let call = if fp8.is_some() { self.fp8_call() } else { self.call(in_place) };
        Ok(Problem { operands, call, outcome })
    }

    fn call(self, in_place: bool) -> Call {
        let eps = self.eps();
        let out = if in_place { "x" } else { "out" };
        let (add, order) = (self.add, self.columns);
        Box::new(move |stream, memory| {
            let (x, weight, out) = (memory.read("x")?, memory.read("weight")?, memory.write(out)?);
            let columns = order.map(|_| memory.read("columns")).transpose()?;
            let told = order.is_some_and(Columns::told);
            let error = told.then(|| memory.write("error")).transpose()?;
            if add {
                let residual = memory.write("residual")?;
                let args = ops::AddRmsNorm { x, residual, weight, eps, columns, out, error };
                return ops::add_rms_norm(stream, &args);
            }
            ops::rms_norm(stream, &ops::RmsNorm { x, weight, eps, columns, out, error })
        })
    }

    /// The operation, then the two that it is made of on outputs of their own.
    fn fp8_call(self) -> Call {
        let (add, eps) = (self.add, self.eps());
        Box::new(move |stream, memory| {
            let read = |name| memory.read(name);
            let out = |codes, scale| -> Result<ops::Fp8Mut<'_>> {
                Ok(ops::Fp8Mut { codes: memory.write(codes)?, scale: memory.write(scale)? })
            };
            let (x, weight, out_fp8) = (read("x")?, read("weight")?, out("codes", "scale")?);
            if add {
                let residual = memory.write("residual")?;
                ops::add_rms_norm_fp8(
                    stream,
                    &ops::AddRmsNormFp8 { x, residual, weight, eps, out: out_fp8 },
                )?;
                let (x, weight, residual) = (read("x")?, read("weight")?, memory.write("residual apart")?);
                let out = memory.write("out")?;
                let args = ops::AddRmsNorm { x, residual, weight, eps, columns: None, out, error: None };
                ops::add_rms_norm(stream, &args)?;
            } else {
                ops::rms_norm_fp8(stream, &ops::RmsNormFp8 { x, weight, eps, out: out_fp8 })?;
                let (x, weight, out) = (read("x")?, read("weight")?, memory.write("out")?);
                let args = ops::RmsNorm { x, weight, eps, columns: None, out, error: None };
                ops::rms_norm(stream, &args)?;
            }
            let out = out("codes apart", "scale apart")?;
            ops::quantize_fp8(stream, &ops::QuantizeFp8 { x: read("out")?, out })
        })
    }

    /// The CPU reference in `A`, rounding to `dtype` where it stores: out and residual.
    fn reference<A: Real>(
        self,
        dtype: DType,
        x: &[f64],
        residual: &[f64],
        weight: &[f64],
    ) -> Result<(Vec<u8>, Vec<u8>), Error> {
        let x = tensor(dtype, &self.shape, x)?;
        let weight = tensor(dtype, &self.shape[1..], weight)?;
        let mut out = cpu::<A>().alloc(dtype, &self.shape)?;
        let eps = self.eps();
        if !self.add {
            let out_view = ActivationMut::Native(out.view_mut());
            let args = backend::RmsNorm { x: x.view(), weight: weight.view(), eps, out: out_view };
            cpu::<A>().rms_norm(args)?;
            return Ok((bytes(&out)?, Vec::new()));
        }
        let mut residual = tensor(dtype, &self.shape, residual)?;
        cpu::<A>().add_rms_norm(backend::AddRmsNorm {
            x: x.view(),
            residual: residual.view_mut(),
            weight: weight.view(),
            eps,
            out: ActivationMut::Native(out.view_mut()),
        })?;
        Ok((bytes(&out)?, bytes(&residual)?))
    }
}
