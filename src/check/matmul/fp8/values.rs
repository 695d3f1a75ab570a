//! Codes, scales and biases, and what must come of them.

use super::super::problem::{Answers, approximately};
use super::*;

/// Tokens, and groups of 8 columns, of [`Kind::Sampled`] that are compared.
const SAMPLED: [usize; 2] = [24, 8];
/// Rows that a quantised weight comes in.
const ROW_GROUP: usize = 8;
/// Bits behind the point of the accumulators that have the fewest.
const SHORT_BITS: i32 = 13;
/// Products that they add at a time.
const SHORT_STEP: usize = 16;

/// x, and the weight's parts (the weight itself, or gate and up) with their biases.
pub(super) struct Values {
    pub x: Vec<u8>,
    pub x_scales: Vec<f32>,
    parts: Vec<Part>,
}

struct Part {
    codes: Vec<u8>,
    scales: Vec<f32>,
    /// None where there is no bias.
    bias: Vec<f64>,
}

/// How many scales a matrix has in each direction.
fn shape_of([rows, k]: [usize; 2], scales: Fp8Scales, block_rows: usize) -> [usize; 2] {
    match scales {
        Fp8Scales::Tensor => [1, 1],
        Fp8Scales::Row => [rows, 1],
        Fp8Scales::Block => [rows.div_ceil(block_rows), k.div_ceil(BLOCK)],
    }
}

impl Values {
    pub fn new(shape: &MatmulShape, dtype: DType, kind: Kind) -> Self {
        let &MatmulShape { m, n, k, epilogue, bias, .. } = shape;
        let mut rng = Rng((m * 31 + n * 7 + k) as u64);
        // With so few bits that no accumulator loses one, in sums of 128 columns or of all.
        let limit = if is_fast(shape) { 1 } else { 4 };
        let codes = |rng: &mut Rng, count: usize| -> Vec<u8> {
            let drawn = if kind == Kind::Sampled { count.min(PERIOD) } else { count };
            let drawn: Vec<u8> = match kind {
                Kind::Exact => {
                    (0..drawn).map(|_| fp8::encode(rng.below(2 * limit + 1) as f32 - limit as f32)).collect()
                }
                _ => {
                    rng.normal(DType::F32, drawn, 110.0).into_iter().map(|x| fp8::encode(x as f32)).collect()
                }
            };
            drawn.into_iter().cycle().take(count).collect()
        };
        let scales = |rng: &mut Rng, [rows, columns]: [usize; 2], deviation: f64| -> Vec<f32> {
            let scale = |_| match kind {
                Kind::Exact => 2f32.powi(rng.below(3) as i32 - 1),
                _ => (deviation / 110.0 * (0.5 + rng.below(1000) as f64 / 1000.0)) as f32,
            };
            (0..rows * columns).map(scale).collect()
        };
        let [of_x, of_weight] = super::scales(shape);
        let (heights, weight) =
            if epilogue == Epilogue::SwiGlu { (vec![n / 2; 2], 2.0) } else { (vec![n], 1.0) };
        let mut values = Values {
            x: codes(&mut rng, m * k),
            x_scales: scales(&mut rng, shape_of([m, k], of_x, 1), 1.0),
            parts: heights
                .iter()
                .map(|&height| Part {
                    codes: codes(&mut rng, height * k),
                    scales: scales(
                        &mut rng,
                        shape_of([height, k], of_weight, BLOCK),
                        weight / (k as f64).sqrt(),
                    ),
                    bias: match (bias, kind) {
                        (false, _) => Vec::new(),
                        (true, Kind::Exact) => (0..height).map(|_| rng.below(9) as f64 - 4.0).collect(),
                        (true, _) => rng.normal(dtype, height, 1.0),
                    },
                })
                .collect(),
        };
        if let ([gate, up], Fp8Scales::Tensor) = (&mut values.parts[..], of_weight) {
            up.scales.clone_from(&gate.scales);
        }
        if kind == Kind::NotFinite {
            // In one token each.
            values.x[3] = fp8::NAN | 0x80;
            values.x_scales[k.div_ceil(BLOCK)] = f32::INFINITY;
        }
        values
    }

    /// The shapes of x's scales and of the weight's.
    pub fn scale_shapes(&self, shape: &MatmulShape) -> [[usize; 2]; 2] {
        let [of_x, of_weight] = super::scales(shape);
        let k = shape.k;
        let weight = match self.parts.len() {
            2 if of_weight != Fp8Scales::Tensor => {
                let [rows, columns] = shape_of([shape.n / 2, k], of_weight, BLOCK);
                [2 * rows, columns]
            }
            _ => shape_of([shape.n, k], of_weight, BLOCK),
        };
        [shape_of([shape.m, k], of_x, 1), weight]
    }

    /// Rows of two parts in blocks, as the kernel wants them.
    fn interleaved<T: Copy>(&self, width: usize, of: impl Fn(&Part) -> &[T]) -> Vec<T> {
        match &self.parts[..] {
            [gate, up] => {
                let block = MATMUL_SWIGLU_BLOCK as usize * width;
                let blocks = of(gate).chunks(block).zip(of(up).chunks(block));
                blocks.flat_map(|(gate, up)| [gate, up]).flatten().copied().collect()
            }
            parts => parts.iter().flat_map(of).copied().collect(),
        }
    }

    pub fn weight_codes(&self, k: usize) -> Vec<u8> {
        self.interleaved(k, |part| &part.codes)
    }

    pub fn bias(&self) -> Vec<f64> {
        self.interleaved(1, |part| &part.bias)
    }

    /// Those of rows stand as the rows do, those of blocks part by part.
    pub fn weight_scales(&self, shape: &MatmulShape) -> Vec<f32> {
        match super::scales(shape)[1] {
            Fp8Scales::Tensor => self.parts[0].scales.clone(),
            Fp8Scales::Row => self.interleaved(1, |part| &part.scales),
            Fp8Scales::Block => self.parts.iter().flat_map(|part| &part.scales).copied().collect(),
        }
    }

    /// What must come of them.
    pub fn expected(&self, shape: &MatmulShape, dtype: DType, kind: Kind) -> Result<Expected> {
        let out_dtype = if shape.out_f32 { DType::F32 } else { dtype };
        Ok(match kind {
            // An exact sum is rounded once, whatever it was accumulated in.
            Kind::Exact if !shape.quantized => {
                Expected::Bits(self.reference::<f64>(dtype, shape, out_dtype)?)
            }
            Kind::Sampled => {
                let mut rng = Rng((shape.m + shape.n + shape.k) as u64);
                let rows = spread(&mut rng, SAMPLED[0], shape.m);
                let groups = spread(&mut rng, SAMPLED[1], shape.out_width() / ROW_GROUP);
                let columns: Vec<usize> =
                    groups.iter().flat_map(|group| group * ROW_GROUP..(group + 1) * ROW_GROUP).collect();
                let n = columns.len() * self.parts.len();
                let sample = MatmulShape { m: rows.len(), n, ..*shape };
                let [reference, naive] = self.sample(shape, &rows, &groups).near(dtype, &sample)?;
                Expected::Sample { rows, columns, reference, naive }
            }
            _ => {
                let [reference, naive] = self.near(dtype, shape)?;
                Expected::Near { reference, naive }
            }
        })
    }

    /// Those of these tokens, and of these groups of columns of the output.
    fn sample(&self, shape: &MatmulShape, rows: &[usize], groups: &[usize]) -> Self {
        fn pick<T: Copy>(values: &[T], width: usize, rows: &[usize]) -> Vec<T> {
            rows.iter().flat_map(|row| &values[row * width..][..width]).copied().collect()
        }
        let [of_x, of_weight] = super::scales(shape);
        let (k, blocks) = (shape.k, shape.k.div_ceil(BLOCK));
        let part = |part: &Part| Part {
            codes: pick(&part.codes, k * ROW_GROUP, groups),
            scales: match of_weight {
                Fp8Scales::Tensor => part.scales.clone(),
                Fp8Scales::Row => pick(&part.scales, ROW_GROUP, groups),
                // Each group as a block of its own.
                Fp8Scales::Block => {
                    let block_of: Vec<usize> = groups.iter().map(|group| group * ROW_GROUP / BLOCK).collect();
                    pick(&part.scales, blocks, &block_of)
                }
            },
            bias: if part.bias.is_empty() { Vec::new() } else { pick(&part.bias, ROW_GROUP, groups) },
        };
        Values {
            x: pick(&self.x, k, rows),
            x_scales: match of_x {
                Fp8Scales::Tensor => self.x_scales.clone(),
                Fp8Scales::Row => pick(&self.x_scales, 1, rows),
                Fp8Scales::Block => pick(&self.x_scales, blocks, rows),
            },
            parts: self.parts.iter().map(part).collect(),
        }
    }
}

impl Answers for Values {
    fn reference<A: Real>(&self, dtype: DType, shape: &MatmulShape, out: DType) -> Result<Vec<u8>> {
        let MatmulShape { m, k, .. } = *shape;
        let biases = self.parts.iter().filter(|part| !part.bias.is_empty());
        let biases = biases
            .map(|part| HostTensor {
                name: "bias".into(),
                dtype,
                shape: vec![part.bias.len()],
                data: Bytes::new(encode(dtype, &part.bias)),
            })
            .collect();
        let order = match shape.epilogue {
            Epilogue::None => RowOrder::Concatenated,
            Epilogue::SwiGlu => RowOrder::GateUp,
        };
        let [_, of_weight] = super::scales(shape);
        let height = |part: &Part| part.codes.len() / k;
        let weight = if of_weight == Fp8Scales::Block {
            let blocks = |part: &Part| part.in_blocks(k);
            let parts: Result<Vec<_>> = self.parts.iter().map(blocks).collect();
            CpuWeight::from_fp8_blocks(parts?.into_iter().flatten().collect(), biases, order)?
        } else {
            let rows = |part: &Part| {
                let scales = part.scales.iter().copied().cycle().take(height(part)).collect();
                Fp8Rows::new([height(part), k], part.codes.clone(), scales)
            };
            let parts: Result<_> = self.parts.iter().map(rows).collect();
            CpuWeight::from_fp8_rows(parts?, biases, order)?
        };
        let groups = if of_weight == Fp8Scales::Block { k.div_ceil(BLOCK) } else { 1 };
        let scales: Vec<f32> = self.x_scales.iter().copied().cycle().take(m * groups).collect();
        let codes = tensor(E4M3, &[m, k], &self.x)?;
        let scale = tensor(DType::F32, &[m, groups], &encode_f32(&scales))?;
        let mut cpu = cpu::<A>();
        let mut result = cpu.alloc(out, &[m, shape.out_width()])?;
        cpu.matmul(backend::Matmul {
            x: Activation::Fp8 { codes: codes.view(), scale: scale.view() },
            weight: &weight,
            epilogue: shape.epilogue,
            out: ActivationMut::Native(result.view_mut()),
        })?;
        bytes(&result)
    }

    /// Tensor cores that add sixteen products and the accumulator at a time, and keep [`SHORT_BITS`] bits.
    fn accumulated(&self, shape: &MatmulShape) -> Vec<f64> {
        let (k, height, blocks) = (shape.k, shape.out_width(), shape.k.div_ceil(BLOCK));
        let [of_x, of_weight] = super::scales(shape);
        let scale = |scales: &[f32], kind: Fp8Scales, row: usize, block: usize| match kind {
            Fp8Scales::Tensor => scales[0],
            Fp8Scales::Row => scales[row],
            Fp8Scales::Block => scales[row * blocks + block],
        };
        let mut out = Vec::with_capacity(shape.m * height);
        for (m, x) in self.x.chunks(k).enumerate() {
            for n in 0..height {
                let sums = self.parts.iter().map(|part| {
                    let of_blocks = x.chunks(BLOCK).zip(part.codes[n * k..][..k].chunks(BLOCK)).enumerate();
                    let sum = of_blocks.fold(0f32, |sum, (block, (x, row))| {
                        let token = scale(&self.x_scales, of_x, m, block);
                        let weight = match of_weight {
                            Fp8Scales::Block => scale(&part.scales, of_weight, n / BLOCK, block),
                            _ => scale(&part.scales, of_weight, n, 0),
                        };
                        sum + short_sum(x, row) as f32 * token * weight
                    });
                    sum + part.bias.get(n).map_or(0.0, |&bias| bias as f32)
                });
                out.push(approximately(sums));
            }
        }
        out
    }
}

impl Part {
    /// With a scale for each block: as one weight, or, where every group of rows has scales of its own, as many.
    fn in_blocks(&self, k: usize) -> Result<Vec<Fp8Blocks>> {
        let (height, blocks) = (self.codes.len() / k, k.div_ceil(BLOCK));
        if self.scales.len() == height.div_ceil(BLOCK) * blocks {
            return Ok(vec![Fp8Blocks::new([height, k], self.codes.clone(), self.scales.clone())?]);
        }
        let groups = self.codes.chunks(ROW_GROUP * k).zip(self.scales.chunks(blocks));
        groups
            .map(|(codes, scales)| Fp8Blocks::new([ROW_GROUP, k], codes.to_vec(), scales.to_vec()))
            .collect()
    }
}

/// The sum of the products of codes, as accumulators with few bits have it.
fn short_sum(x: &[u8], row: &[u8]) -> f64 {
    let cut = |value: f64, quantum: f64| (value / quantum).trunc() * quantum;
    let value = |code: &u8| f64::from(fp8::decode(*code));
    x.chunks(SHORT_STEP).zip(row.chunks(SHORT_STEP)).fold(0.0, |sum: f64, (x, row)| {
        let products: Vec<f64> = x.iter().zip(row).map(|(x, row)| value(x) * value(row)).collect();
        let largest = products.iter().fold(sum.abs(), |largest: f64, product| largest.max(product.abs()));
        if largest == 0.0 || !largest.is_finite() {
            return sum + products.iter().sum::<f64>();
        }
        let quantum = (largest.log2().floor() - f64::from(SHORT_BITS)).exp2();
        let sum = cut(sum, quantum) + products.iter().map(|&product| cut(product, quantum)).sum::<f64>();
        if sum == 0.0 { sum } else { cut(sum, (sum.abs().log2().floor() - f64::from(SHORT_BITS)).exp2()) }
    })
}

/// A tensor of the CPU reference, of these bytes.
fn tensor(dtype: DType, shape: &[usize], bytes: &[u8]) -> Result<Tensor<CpuBuffer>> {
    let mut cpu = cpu::<f32>();
    let mut tensor = cpu.alloc(dtype, shape)?;
    cpu.upload(tensor.view_mut(), bytes)?;
    Ok(tensor)
}
