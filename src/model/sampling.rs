//! How the next token is chosen: the options of a request, checked and turned into the kernel's parameters.

use crate::params::SampleRow;
use crate::{Error, Result};

/// The options of a request, applied in this order: repetition penalty, temperature, top-k, top-p, min-p. The arithmetic is
/// that of [`crate::reference::sample_row`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SamplingOptions {
    /// A seen token's logit is divided by this where positive, multiplied where negative; 1 changes nothing. Above 0.
    pub repetition_penalty: f32,
    /// Logits are divided by this; 0 takes the most likely token. At least 0.
    pub temperature: f32,
    /// Only the `top_k` most likely tokens; 0 takes all.
    pub top_k: u32,
    /// Only the most likely tokens that together have this probability. Within 0..=1.
    pub top_p: f32,
    /// Only tokens at least this times as likely as the most likely one. Within 0..=1.
    pub min_p: f32,
    /// The same seed gives the same tokens, on every device.
    pub seed: u64,
}

impl SamplingOptions {
    /// The most likely token, always.
    pub const GREEDY: Self = SamplingOptions {
        repetition_penalty: 1.0,
        temperature: 0.0,
        top_k: 0,
        top_p: 1.0,
        min_p: 0.0,
        seed: 0,
    };

    /// Refuses values outside the ranges that stand beside the fields.
    pub fn check(&self) -> Result<()> {
        let check = |arg, value: f32, ok: bool, expected| match ok {
            true => Ok(()),
            false => Err(Error::argument("sampling", arg, expected, value)),
        };
        let (penalty, temperature) = (self.repetition_penalty, self.temperature);
        check("repetition_penalty", penalty, penalty.is_finite() && penalty > 0.0, "a number above 0")?;
        check(
            "temperature",
            temperature,
            temperature.is_finite() && temperature >= 0.0,
            "a number of at least 0",
        )?;
        check("top_p", self.top_p, (0.0..=1.0).contains(&self.top_p), "a number within 0..=1")?;
        check("min_p", self.min_p, (0.0..=1.0).contains(&self.min_p), "a number within 0..=1")?;
        if i32::try_from(self.top_k).is_err() {
            return Err(Error::argument("sampling", "top_k", "at most 2^31-1", self.top_k));
        }
        Ok(())
    }

    /// The kernel's parameters for one row: the token at `position` of sequence number `sequence` of the request.
    /// `seen_row` is the sequence's row of the bitmap of seen tokens.
    pub fn row(&self, sequence: u64, position: usize, seen_row: usize) -> Result<SampleRow> {
        self.check()?;
        Ok(SampleRow {
            temperature: self.temperature,
            top_p: self.top_p,
            min_p: self.min_p,
            repetition_penalty: self.repetition_penalty,
            top_k: self.top_k as i32,
            seen_row: i32::try_from(seen_row)
                .map_err(|_| Error::argument("sampling", "seen_row", "at most 2^31-1", seen_row))?,
            seed: self.seed,
            sequence,
            position: position as u64,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_out_of_range_are_named() {
        let greedy = SamplingOptions::GREEDY;
        greedy.check().unwrap();
        for (options, arg) in [
            (SamplingOptions { repetition_penalty: 0.0, ..greedy }, "repetition_penalty"),
            (SamplingOptions { repetition_penalty: f32::INFINITY, ..greedy }, "repetition_penalty"),
            (SamplingOptions { temperature: -1.0, ..greedy }, "temperature"),
            (SamplingOptions { temperature: f32::NAN, ..greedy }, "temperature"),
            (SamplingOptions { top_p: 1.1, ..greedy }, "top_p"),
            (SamplingOptions { min_p: -0.1, ..greedy }, "min_p"),
            (SamplingOptions { top_k: u32::MAX, ..greedy }, "top_k"),
        ] {
            let error = options.row(0, 0, 0).unwrap_err().to_string();
            assert!(error.starts_with(&format!("sampling: {arg}: expected")), "{error}");
        }
    }
}
