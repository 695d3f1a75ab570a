//! `sample`.

use super::sizes::{Given, set};
use super::{Call, Memory, Row, Work};
use crate::backend::ModelDims;
use crate::cost::{self, Cost};
use crate::gpu::{TensorMut, TensorRef};
use crate::params::{SAMPLE_THREADS, SampleRow};
use crate::plan::{self, Limits, Plan};
use crate::tensor::DType;
use crate::{Result, ops};

/// `sample` from rows of logits that are spread like a model's, without a repetition penalty.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Rows of logits.
    pub rows: usize,
    /// Elements of a row.
    pub vocab_size: usize,
    /// How a token is chosen.
    pub choice: Choice,
}

/// How a token is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The largest logit.
    Greedy,
    /// By probability.
    Draw,
    /// By probability, of the 50 likeliest that make up 90%.
    TopKTopP,
}

/// Elements that rows of logits are padded to a multiple of: 16 bytes.
const PADDING: usize = 4;
/// Deviation of the logits.
const SPREAD: f64 = 3.0;

pub(super) fn rows(model: &str, dims: &ModelDims) -> Vec<Row> {
    let choices = [("greedy", Choice::Greedy), ("draw", Choice::Draw), ("top-k top-p", Choice::TopKTopP)];
    let row = |(label, choice), rows| {
        Row::new(format!("{model} {label}"), Sample { rows, vocab_size: dims.vocab_size, choice })
    };
    choices.into_iter().flat_map(|choice| [1, 8, 64, 256].map(|rows| row(choice, rows))).collect()
}

impl Sample {
    pub(super) fn of(sizes: &Given<'_>) -> Result<Box<dyn Work>> {
        let choice = match (sizes.flag("temperature")?, sizes.flag("filters")?) {
            (false, false) => Choice::Greedy,
            (true, false) => Choice::Draw,
            (true, true) => Choice::TopKTopP,
            (false, true) => return Err(sizes.error("filters", "0 without temperature", 1)),
        };
        let (rows, vocab_size) = (sizes.size("rows")?, sizes.size("vocab")?);
        Ok(Box::new(Sample { rows, vocab_size, choice }))
    }

    fn settings(&self, row: usize) -> SampleRow {
        let greedy = self.choice == Choice::Greedy;
        let (top_k, top_p) = if self.choice == Choice::TopKTopP { (50, 0.9) } else { (0, 1.0) };
        SampleRow {
            temperature: if greedy { 0.0 } else { 0.8 },
            top_p,
            min_p: 0.0,
            repetition_penalty: 1.0,
            top_k,
            seen_row: -1,
            seed: 1,
            sequence: row as u64,
            position: 0,
        }
    }
}

impl Work for Sample {
    fn op(&self) -> &'static str {
        "sample"
    }

    fn sizes(&self) -> Vec<(&'static str, usize)> {
        let temperature = set("temperature", self.choice != Choice::Greedy);
        let filters = set("filters", self.choice == Choice::TopKTopP);
        let rows = [("rows", self.rows), ("vocab", self.vocab_size)];
        rows.into_iter().chain(temperature).chain(filters).collect()
    }

    fn cost(&self) -> Cost {
        cost::sample(self.rows, self.vocab_size)
    }

    fn plans(&self, _: DType, _: &Limits) -> Result<Vec<Plan>> {
        Ok(plan::sample(self.rows, self.vocab_size)?.into_iter().collect())
    }

    fn issued_bytes(&self, _: &[Plan]) -> u64 {
        let passes = |passes| cost::sample_passes(self.rows, self.vocab_size, passes);
        // A warp has a range of the row; the one that the drawn token lies in is looked through once more.
        let warps = u64::from(SAMPLE_THREADS / 32);
        let range = (passes(2) - passes(1)) / warps;
        match self.choice {
            Choice::Greedy => passes(1),
            Choice::Draw => passes(2) + range,
            Choice::TopKTopP => passes(3),
        }
    }

    fn prepare(&self, _: DType, memory: &mut Memory) -> Result<Call> {
        let &Sample { rows, vocab_size, .. } = self;
        let logits = memory.spread(rows, vocab_size.next_multiple_of(PADDING), SPREAD)?;
        let settings: Vec<SampleRow> = (0..rows).map(|row| self.settings(row)).collect();
        let bytes: &[u8] = bytemuck::cast_slice(&settings);
        let settings = memory.holding(DType::U8, &[rows, size_of::<SampleRow>()], bytes)?;
        let mut seen = memory.zeros(DType::U32, &[rows, vocab_size.div_ceil(32)])?;
        let mut out = memory.output(DType::I32, &[rows])?;
        Ok(Box::new(move |stream| {
            let args = ops::Sample {
                logits: TensorRef::new(logits.view().columns(vocab_size)?)?,
                rows: TensorRef::new(settings.view())?,
                seen: TensorMut::new(seen.view_mut())?,
                out: TensorMut::new(out.view_mut())?,
                error: None,
            };
            ops::sample(stream, &args)
        }))
    }
}
