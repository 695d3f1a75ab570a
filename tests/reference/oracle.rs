//! The formulas, one number at a time, with every rounding spelt out.

use llama_kernels::tensor::DType;

use super::support::round;

/// What the intermediate results and the stored ones are rounded to.
#[derive(Clone, Copy)]
pub struct Precision {
    pub accumulate: DType,
    pub store: DType,
}

impl Precision {
    pub const EXACT: Precision = Precision { accumulate: DType::F64, store: DType::F64 };

    pub fn acc(self, x: f64) -> f64 {
        round(self.accumulate, x)
    }

    pub fn store(self, x: f64) -> f64 {
        round(self.store, x)
    }

    /// A sum from first to last.
    pub fn sum(self, terms: impl IntoIterator<Item = f64>) -> f64 {
        terms.into_iter().fold(0.0, |sum, x| self.acc(sum + self.acc(x)))
    }
}

pub fn silu(p: Precision, x: f64) -> f64 {
    p.acc(x / p.acc(1.0 + p.acc((-x).exp())))
}

/// `[m, n]` sums of `x [m, k]` and `w [n, k]` with the bias of each row, before any store.
pub fn linear(p: Precision, x: &[f64], w: &[f64], bias: &[f64], k: usize) -> Vec<f64> {
    let mut out = Vec::new();
    for x in x.chunks(k) {
        for (n, w) in w.chunks(k).enumerate() {
            let sum = p.sum(x.iter().zip(w).map(|(x, w)| x * w));
            out.push(p.acc(sum + bias.get(n).unwrap_or(&0.0)));
        }
    }
    out
}

pub fn silu_and_mul(p: Precision, x: &[f64], width: usize) -> Vec<f64> {
    let row = |row: &[f64]| {
        let (gate, up) = row.split_at(width);
        gate.iter().zip(up).map(|(&gate, up)| p.store(silu(p, gate) * up)).collect::<Vec<_>>()
    };
    x.chunks(2 * width).flat_map(row).collect()
}

pub fn rms_norm(p: Precision, x: &[f64], weight: &[f64], eps: f64) -> Vec<f64> {
    let row = |row: &[f64]| {
        let mean = p.acc(p.sum(row.iter().map(|x| x * x)) / row.len() as f64);
        let scale = p.acc(1.0 / p.acc(p.acc(mean + eps).sqrt()));
        row.iter().zip(weight).map(|(x, w)| p.store(p.store(p.acc(x * scale)) * w)).collect::<Vec<_>>()
    };
    x.chunks(weight.len()).flat_map(row).collect()
}

/// One head turned by a row of the table: cosines, then sines.
pub fn rotate(p: Precision, head: &[f64], cos_sin: &[f64]) -> Vec<f64> {
    let half = head.len() / 2;
    let turned = |i: usize| {
        let (a, b) = (head[i % half], head[i % half + half]);
        let (cos, sin) = (cos_sin[i % half], cos_sin[i % half + half]);
        if i < half { p.acc(a * cos) - p.acc(b * sin) } else { p.acc(b * cos) + p.acc(a * sin) }
    };
    (0..head.len()).map(turned).collect()
}

/// One query over the keys and values that it sees: the output, and the logarithm of the sum of exponentials.
pub fn attend(p: Precision, q: &[f64], keys: &[&[f64]], values: &[&[f64]], scale: f64) -> (Vec<f64>, f64) {
    if keys.is_empty() {
        return (vec![0.0; q.len()], f64::NEG_INFINITY);
    }
    let scores: Vec<f64> =
        keys.iter().map(|k| p.acc(scale * p.sum(q.iter().zip(*k).map(|(q, k)| q * k)))).collect();
    let max = scores.iter().fold(f64::NEG_INFINITY, |max, &s| max.max(s));
    let weights: Vec<f64> = scores.iter().map(|s| p.acc(p.acc(s - max).exp())).collect();
    let sum = p.sum(weights.iter().copied());
    let out = |i: usize| p.store(p.sum(weights.iter().zip(values).map(|(w, v)| p.store(*w) * v[i])) / sum);
    ((0..q.len()).map(out).collect(), p.acc(max + sum.ln()))
}
