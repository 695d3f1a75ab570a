//! Operands of the matrix products: random codes, and scales that make weights of a deviation of about `1 / sqrt(k)` of them.

use super::{Matmul, MatmulPath};
use crate::Result;
use crate::bench::memory::CODES_DEVIATION;
use crate::bench::{Call, Memory};
use crate::gpu::{Buffer, TensorMut, TensorRef};
use crate::ops;
use crate::params::FP8_GROUP_COLUMNS;
use crate::plan::{Fp8Scales, MatmulShape, Operands};
use crate::tensor::{DType, Tensor};

/// Rows of the output start at multiples of this.
const ROW_BYTES: usize = 16;
/// Rows, and columns, of a unit that 4-bit codes are stored in.
const INT4_UNIT: [usize; 2] = [16, 64];
/// Deviation of a uniform number from -8 to 7.
const INT4_DEVIATION: f64 = 4.6;

/// What is not the operands' format.
struct Rest {
    matmul: Matmul,
    bias: Option<Tensor<Buffer>>,
    /// As large as the plan has use for, zeros.
    workspace: Tensor<Buffer>,
    out: Tensor<Buffer>,
}

/// [`Rest`] as operations take it.
struct Args<'a> {
    bias: Option<TensorRef<'a>>,
    workspace: Option<TensorMut<'a>>,
    out: TensorMut<'a>,
}

impl Rest {
    fn args(&mut self) -> Result<Args<'_>> {
        let width = self.matmul.shape.out_width();
        Ok(Args {
            bias: self.bias.as_ref().map(|bias| TensorRef::new(bias.view())).transpose()?,
            workspace: Some(TensorMut::new(self.workspace.view_mut())?),
            out: TensorMut::new(self.out.view_mut().columns(width)?)?,
        })
    }
}

/// The call of a product on operands of its own.
pub(super) fn prepare(matmul: &Matmul, dtype: DType, memory: &mut Memory) -> Result<Call> {
    let Matmul { shape, path } = *matmul;
    let MatmulShape { m, n, k, epilogue, bias, out_f32, quantized, operands } = shape;
    let batch_invariant = path == MatmulPath::Invariant;
    let out_dtype = match (quantized, out_f32) {
        (true, _) => DType::F8E4M3,
        (false, true) => DType::F32,
        (false, false) => dtype,
    };
    let padded = shape.out_width().next_multiple_of(ROW_BYTES / out_dtype.size());
    let limits = memory.device().properties().limits();
    let plan = path.plan(dtype, &shape, &limits)?;
    let mut rest = Rest {
        matmul: *matmul,
        bias: bias.then(|| memory.random(dtype, &[n])).transpose()?,
        workspace: memory.zeros(DType::U8, &[plan.map_or(0, |plan| plan.workspace_bytes)])?,
        out: memory.output(out_dtype, &[m, padded])?,
    };
    match operands {
        Operands::Native => {
            let (x, weight) = (memory.random(dtype, &[m, k])?, memory.random(dtype, &[n, k])?);
            Ok(Box::new(move |stream| {
                let Args { bias, workspace, out } = rest.args()?;
                let args = ops::Matmul {
                    x: TensorRef::new(x.view())?,
                    weight: TensorRef::new(weight.view())?,
                    bias,
                    epilogue,
                    batch_invariant,
                    workspace,
                    out,
                };
                let limits = stream.device().properties().limits();
                ops::matmul_by(stream, &args, |dtype, shape, _| path.plan(dtype, shape, &limits))
            }))
        }
        Operands::Int4 { group, zeros } => {
            let [row, column] = INT4_UNIT;
            let x = memory.random(dtype, &[m, k])?;
            let codes = memory.bits(&[n.next_multiple_of(row) * k.next_multiple_of(column) / 2])?;
            let groups = k / group.max(1);
            let deviation = 1.0 / (INT4_DEVIATION * (k as f64).sqrt());
            let scales = memory.group_scales(dtype, &[n.div_ceil(row), groups], zeros, deviation)?;
            Ok(Box::new(move |stream| {
                let Args { bias, workspace, out } = rest.args()?;
                let args = ops::MatmulInt4 {
                    x: TensorRef::new(x.view())?,
                    weight: ops::Int4Ref {
                        n,
                        k,
                        codes: TensorRef::new(codes.view())?,
                        scales: TensorRef::new(scales.view())?,
                        integer_zeros: true,
                    },
                    bias,
                    epilogue,
                    batch_invariant,
                    workspace,
                    out,
                };
                let limits = stream.device().properties().limits();
                ops::matmul_int4_by(stream, &args, |dtype, shape, _| path.plan(dtype, shape, &limits))
            }))
        }
        Operands::Fp8 { x: of_x, weight: of_weight, fast_accumulation } => {
            let block = FP8_GROUP_COLUMNS as usize;
            let x_scales = match of_x {
                Fp8Scales::Tensor => [1, 1],
                Fp8Scales::Row => [m, 1],
                Fp8Scales::Block => [m, k.div_ceil(block)],
            };
            let row_blocks = match epilogue {
                ops::Epilogue::SwiGlu => 2 * (n / 2).div_ceil(block),
                _ => n.div_ceil(block),
            };
            let weight_scales = match of_weight {
                Fp8Scales::Tensor => [1, 1],
                Fp8Scales::Row => [n, 1],
                Fp8Scales::Block => [row_blocks, k.div_ceil(block)],
            };
            let (x, x_scale) = (memory.codes(&[m, k])?, memory.scales(&x_scales, 1.0 / CODES_DEVIATION)?);
            let deviation = 1.0 / (CODES_DEVIATION * (k as f64).sqrt());
            let (weight, weight_scale) = (memory.codes(&[n, k])?, memory.scales(&weight_scales, deviation)?);
            let mut out_scale = memory.output(DType::F32, &[m, (shape.out_width() / block).max(1)])?;
            Ok(Box::new(move |stream| {
                let Args { bias, workspace, out } = rest.args()?;
                let args = ops::MatmulFp8 {
                    x: ops::Fp8Ref {
                        codes: TensorRef::new(x.view())?,
                        scale: TensorRef::new(x_scale.view())?,
                    },
                    weight: ops::Fp8Ref {
                        codes: TensorRef::new(weight.view())?,
                        scale: TensorRef::new(weight_scale.view())?,
                    },
                    bias,
                    epilogue,
                    fast_accumulation,
                    batch_invariant,
                    workspace,
                    out: if quantized {
                        let scale = TensorMut::new(out_scale.view_mut())?;
                        ops::Fp8Out::Quantized { out: ops::Fp8Mut { codes: out, scale }, rounded_to: dtype }
                    } else {
                        ops::Fp8Out::Native(out)
                    },
                };
                let limits = stream.device().properties().limits();
                // An output in f32 does not say what x was quantised from.
                ops::matmul_fp8_by(stream, &args, |_, shape, _| path.plan(dtype, shape, &limits))
            }))
        }
    }
}
