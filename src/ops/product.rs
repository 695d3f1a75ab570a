//! What the matrix products check of their arguments alike.

use super::args::{Args, Rows};
use super::matmul::Epilogue;
use super::quantize_fp8::{Fp8Mut, Fp8Rows};
use crate::Result;
use crate::gpu::{TensorMut, TensorRef};
use crate::params::{FP8_GROUP_COLUMNS, MATMUL_EPILOGUE_NONE, MATMUL_EPILOGUE_SWIGLU, MatmulParams};
use crate::plan::{MatmulShape, Plan};
use crate::tensor::DType;

/// The arguments that do not depend on the weight's format.
pub(super) struct Product<'a> {
    pub x: Rows,
    /// The type that results are rounded to: that of the bias, and of `out` where it is not f32.
    pub dtype: DType,
    pub bias: Option<&'a TensorRef<'a>>,
    pub epilogue: Epilogue,
    pub workspace: Option<&'a TensorMut<'a>>,
    pub out: Out<'a>,
}

/// Where results go.
pub(super) enum Out<'a> {
    /// In [`Product::dtype`] or f32.
    Floats(TensorRef<'a>),
    /// In e4m3, with a scale for 128 columns.
    Fp8(&'a Fp8Mut<'a>),
}

/// [`Product`], checked.
pub(super) struct Checked {
    pub shape: MatmulShape,
    x: Rows,
    bias: Option<Rows>,
    workspace: Option<Rows>,
    out: Rows,
    out_scale: Option<Rows>,
}

impl Product<'_> {
    /// Checks them for a weight of `n` rows, which lies in `weight`'s memory; `shape` gives what only the caller knows.
    pub fn check(self, check: Args<'_>, weight: &[Rows], shape: MatmulShape) -> Result<Checked> {
        let Product { x, dtype, bias, epilogue, workspace, out } = self;
        let bias = bias.map(|bias| {
            check.check_dtype("bias", bias.dtype(), dtype)?;
            check.vector("bias", bias, shape.n)
        });
        let bias = bias.transpose()?;
        let shape = MatmulShape {
            m: x.count,
            k: x.width,
            epilogue,
            bias: bias.is_some(),
            out_f32: matches!(&out, Out::Floats(out) if out.dtype() == DType::F32),
            quantized: matches!(out, Out::Fp8(_)),
            ..shape
        };
        let out_shape = [x.count, shape.out_width()];
        let (out, out_scale) = match out {
            Out::Floats(out) => {
                let out = check.matrix_or_f32("out", &out, dtype, out_shape)?;
                check.check_apart(out)?;
                (out, None)
            }
            Out::Fp8(out) => {
                let rows = Fp8Rows::new(check, out, out_shape)?;
                let columns = FP8_GROUP_COLUMNS as usize;
                if rows.scale.width.checked_mul(columns) != Some(out_shape[1]) {
                    let expected = format!("one for each {columns} columns");
                    return Err(check.error("scale", expected, format!("{:?}", out.scale.as_ref().layout())));
                }
                (rows.codes, Some(rows.scale))
            }
        };
        let workspace = check.workspace(workspace)?;
        let read = [Some(x), bias].into_iter().flatten().chain(weight.iter().copied());
        for other in read {
            for written in [Some(out), out_scale, workspace].into_iter().flatten() {
                check.check_disjoint(written, other)?;
            }
        }
        if let Some(workspace) = workspace {
            for out in [Some(out), out_scale].into_iter().flatten() {
                check.check_disjoint(workspace, out)?;
            }
        }
        Ok(Checked { shape, x, bias, workspace, out, out_scale })
    }
}

impl Checked {
    /// Bytes of the workspace.
    pub fn workspace_bytes(&self) -> usize {
        self.workspace.map_or(0, |workspace| workspace.width)
    }

    /// The scales of the output, where it is in e4m3.
    pub fn out_scale(&self) -> Option<Rows> {
        self.out_scale
    }

    /// The kernel's parameters, with a weight at `weight`.
    pub fn params(&self, check: Args<'_>, plan: &Plan, weight: Rows) -> Result<MatmulParams> {
        let &Checked { shape, x, bias, workspace, out, .. } = self;
        if plan.workspace_bytes > self.workspace_bytes() {
            let expected = format!("at least {} bytes", plan.workspace_bytes);
            return Err(check.error("workspace", expected, self.workspace_bytes()));
        }
        Ok(MatmulParams {
            x: x.address,
            weight: weight.address,
            bias: bias.map_or(0, |bias| bias.address),
            out: out.address,
            // A plan without shared tiles looks at no workspace.
            workspace: workspace
                .filter(|_| plan.workspace_bytes > 0)
                .map_or(0, |workspace| workspace.address),
            x_stride_row: x.stride,
            weight_stride_row: weight.stride,
            out_stride_row: out.stride,
            // The plan has checked that they fit.
            m: shape.m as i32,
            n: shape.n as i32,
            k: shape.k as i32,
            epilogue: match shape.epilogue {
                Epilogue::None => MATMUL_EPILOGUE_NONE,
                Epilogue::SwiGlu => MATMUL_EPILOGUE_SWIGLU,
            },
            out_f32: u32::from(shape.out_f32),
            padding: 0,
        })
    }
}
