//! Rotary position embedding: inverse frequencies of every scaling that Llama checkpoints use, and the table
//! of cosines and sines that the kernels read.
//!
//! The arithmetic is that of Hugging Face transformers (`modeling_rope_utils.py`), which computes in f32: a
//! reference that is more exact in the frequencies drifts away from it by whole radians at position 100000.

use std::ops::Range;
use std::{f32, f64};

use super::fields::Fields;
use super::json::clip;
use crate::Result;

/// How positions become angles.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rope {
    /// Base of the geometric series of frequencies.
    pub theta: f64,
    /// How the frequencies are changed for contexts longer than the model was trained with at first.
    pub scaling: RopeScaling,
}

/// A change of RoPE's frequencies. `inv_freq[i] = theta^(-2i/head_dim)` without any.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum RopeScaling {
    /// None.
    None,
    /// Position interpolation (Chen et al. 2023, arXiv:2306.15595): every frequency is divided by `factor`.
    Linear {
        /// At least 1.
        factor: f64,
    },
    /// Dynamic NTK: beyond `original_context` tokens `theta` grows with the length of the sequence.
    Dynamic {
        /// At least 1.
        factor: f64,
        /// Tokens that the model was trained with.
        original_context: usize,
    },
    /// See [`Yarn`].
    Yarn(Yarn),
    /// See [`Llama3`].
    Llama3(Llama3),
}

/// YaRN (Peng et al. 2023, arXiv:2309.00071): low frequencies are divided by `factor`, high ones are kept,
/// and a linear ramp lies between; cosines and sines are multiplied by `attention_factor`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Yarn {
    /// At least 1.
    pub factor: f64,
    /// Tokens that the model was trained with.
    pub original_context: usize,
    /// Rotations over `original_context` above which a frequency is kept.
    pub beta_fast: f64,
    /// Rotations over `original_context` below which a frequency is divided.
    pub beta_slow: f64,
    /// Multiplies cosines and sines.
    pub attention_factor: f64,
    /// Whether the ramp begins and ends at whole indices.
    pub truncate: bool,
}

/// Llama 3.1's scaling: wavelengths longer than `original_context / low_freq_factor` are multiplied by
/// `factor`, those shorter than `original_context / high_freq_factor` are kept, and between the two the
/// frequencies are blended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Llama3 {
    /// At least 1.
    pub factor: f64,
    /// Below `high_freq_factor`.
    pub low_freq_factor: f64,
    /// Above `low_freq_factor`.
    pub high_freq_factor: f64,
    /// Tokens that the model was trained with.
    pub original_context: usize,
}

const DEFAULT_THETA: f64 = 10_000.0;
const MAX_THETA: f64 = 1e30;
/// Larger than any context extension.
const MAX_FACTOR: f64 = 65536.0;

impl Rope {
    /// Frequencies without scaling.
    pub fn unscaled(theta: f64) -> Self {
        Rope { theta, scaling: RopeScaling::None }
    }

    /// Reads `rope_theta` and `rope_scaling`, or `rope_parameters`, which holds both. Where a file carries
    /// both spellings (for old and new versions of transformers) they have to agree.
    pub(crate) fn from_fields(
        f: &Fields<'_>,
        max_position_embeddings: usize,
        head_dim: usize,
    ) -> Result<Self> {
        let (old, new) = (f.object("rope_scaling")?, f.object("rope_parameters")?);
        let theta = match (theta(f)?, new.as_ref().map(theta).transpose()?.flatten()) {
            (Some(old), Some(new)) if old != new => {
                return Err(
                    f.wrong("rope_theta", format!("{old} contradicts rope_parameters.rope_theta {new}"))
                );
            }
            (old, new) => new.or(old).unwrap_or(DEFAULT_THETA),
        };
        let scaling = |f: &Option<Fields<'_>>| {
            f.as_ref().map(|f| RopeScaling::from_fields(f, max_position_embeddings)).transpose()
        };
        let scaling = match (scaling(&old)?, scaling(&new)?) {
            (Some(old), Some(new)) if old != new => {
                return Err(f.wrong("rope_scaling", "contradicts rope_parameters"));
            }
            (old, new) => new.or(old).unwrap_or(RopeScaling::None),
        };
        if matches!(scaling, RopeScaling::Dynamic { .. }) && head_dim < 4 {
            return Err(f.wrong("head_dim", "dynamic RoPE scaling needs heads of at least 4 elements"));
        }
        Ok(Rope { theta, scaling })
    }

    /// Tokens that a model may hold whose file says `max_position_embeddings`.
    pub(crate) fn context(&self, max_position_embeddings: usize) -> f64 {
        let max = max_position_embeddings as f64;
        match self.scaling {
            RopeScaling::None | RopeScaling::Llama3(_) => max,
            RopeScaling::Linear { factor } | RopeScaling::Dynamic { factor, .. } => (max * factor).floor(),
            RopeScaling::Yarn(yarn) => (yarn.original_context as f64 * yarn.factor).floor(),
        }
    }

    /// Whether the frequencies depend on the length of the sequence, so that one table does not serve all
    /// lengths.
    pub fn depends_on_length(&self) -> bool {
        matches!(self.scaling, RopeScaling::Dynamic { .. })
    }

    /// The inverse frequencies, f32 `[head_dim / 2]`, and the factor of cosines and sines. `seq_len` is the
    /// number of tokens that the sequence has so far; only [`RopeScaling::Dynamic`] looks at it.
    pub fn inv_freq(&self, head_dim: usize, seq_len: usize) -> (Vec<f32>, f32) {
        match self.scaling {
            RopeScaling::None => (unscaled(self.theta, head_dim), 1.0),
            RopeScaling::Linear { factor } => {
                (unscaled(self.theta, head_dim).iter().map(|f| f / factor as f32).collect(), 1.0)
            }
            RopeScaling::Dynamic { factor, original_context } => {
                let (max, d) = (original_context as f64, head_dim as f64);
                let len = seq_len.max(original_context) as f64;
                let growth = (factor * len / max - (factor - 1.0)).powf(d / (d - 2.0));
                (unscaled(self.theta * growth, head_dim), 1.0)
            }
            RopeScaling::Yarn(yarn) => (yarn.inv_freq(self.theta, head_dim), yarn.attention_factor as f32),
            RopeScaling::Llama3(llama3) => {
                (unscaled(self.theta, head_dim).into_iter().map(|f| llama3.scale(f)).collect(), 1.0)
            }
        }
    }

    /// Cosines and sines of `positions` for sequences of `seq_len` tokens: f32 `[positions.len(), head_dim]`,
    /// each row `head_dim / 2` cosines, then as many sines, the attention factor multiplied in. This is
    /// [`RopeAppendKv::cos_sin`](crate::backend::RopeAppendKv::cos_sin). For `seq_len` see
    /// [`Rope::inv_freq`].
    pub fn cos_sin(&self, head_dim: usize, seq_len: usize, positions: Range<usize>) -> Vec<f32> {
        let (inv_freq, factor) = self.inv_freq(head_dim, seq_len);
        let mut table = Vec::with_capacity(positions.len() * head_dim);
        for position in positions {
            let angle = |f: &f32| f64::from(position as f32 * f);
            table.extend(inv_freq.iter().map(|f| angle(f).cos() as f32 * factor));
            table.extend(inv_freq.iter().map(|f| angle(f).sin() as f32 * factor));
        }
        table
    }
}

impl RopeScaling {
    /// Reads `rope_scaling` or `rope_parameters`. The kind stands under `rope_type`, or `type` in older
    /// files.
    fn from_fields(f: &Fields<'_>, max_position_embeddings: usize) -> Result<Self> {
        let kind = match (f.text("rope_type")?, f.text("type")?) {
            (Some(new), Some(old)) if new != old => {
                return Err(f.wrong("rope_type", format!("`{}` contradicts type `{}`", clip(new), clip(old))));
            }
            (new, old) => new.or(old),
        };
        match kind {
            None if f.is_given("factor") => Err(f.wrong("rope_type", "missing, though there is a factor")),
            None | Some("default") => Ok(RopeScaling::None),
            Some("linear") => Ok(RopeScaling::Linear { factor: factor(f)? }),
            Some("dynamic") => {
                Ok(RopeScaling::Dynamic { factor: factor(f)?, original_context: max_position_embeddings })
            }
            Some("yarn") => Yarn::from_fields(f, max_position_embeddings).map(RopeScaling::Yarn),
            Some("llama3") => Llama3::from_fields(f).map(RopeScaling::Llama3),
            Some(other) => Err(f.unsupported(
                format!("the RoPE scaling `{}`", clip(other)),
                "Llama checkpoints use default, linear, dynamic, yarn or llama3",
            )),
        }
    }
}

impl Yarn {
    fn from_fields(f: &Fields<'_>, max_position_embeddings: usize) -> Result<Self> {
        let original_context =
            f.size_or("original_max_position_embeddings", max_position_embeddings, i32::MAX as u64)?;
        let factor = factor(f)?;
        let attention_factor =
            match (f.number("attention_factor")?, f.number("mscale")?, f.number("mscale_all_dim")?) {
                (Some(given), _, _) => given,
                // DeepSeek's way to say it, which transformers reads in every yarn configuration.
                (None, Some(mscale), Some(all)) if mscale != 0.0 && all != 0.0 => {
                    (0.1 * mscale * factor.ln() + 1.0) / (0.1 * all * factor.ln() + 1.0)
                }
                _ => 0.1 * factor.ln() + 1.0,
            };
        if !(attention_factor > 0.0 && attention_factor < MAX_FACTOR) {
            return Err(
                f.wrong("attention_factor", format!("expected a positive number, got {attention_factor}"))
            );
        }
        let (beta_fast, beta_slow) = (f.number_or("beta_fast", 32.0)?, f.number_or("beta_slow", 1.0)?);
        if !(beta_slow > 0.0 && beta_slow < beta_fast && beta_fast < MAX_FACTOR) {
            return Err(f.wrong(
                "beta_fast",
                format!("expected more than beta_slow {beta_slow} > 0, got {beta_fast}"),
            ));
        }
        let truncate = f.flag_or("truncate", true)?;
        Ok(Yarn { factor, original_context, beta_fast, beta_slow, attention_factor, truncate })
    }

    fn inv_freq(&self, theta: f64, head_dim: usize) -> Vec<f32> {
        let d = head_dim as f64;
        // The index whose frequency makes this many rotations over the original context.
        let index = |rotations: f64| {
            d * (self.original_context as f64 / (rotations * f64::consts::TAU)).ln() / (2.0 * theta.ln())
        };
        let (mut low, mut high) = (index(self.beta_fast), index(self.beta_slow));
        if self.truncate {
            (low, high) = (low.floor(), high.ceil());
        }
        (low, high) = (low.max(0.0), high.min(d - 1.0));
        if low == high {
            high += 0.001;
        }
        let blend = |(i, power): (usize, f32)| {
            let ramp = ((i as f32 - low as f32) / (high - low) as f32).clamp(0.0, 1.0);
            let (kept, divided) = (1.0 / power, 1.0 / (self.factor as f32 * power));
            // Not simplified: transformers rounds in these steps.
            let keep = 1.0 - ramp;
            divided * (1.0 - keep) + kept * keep
        };
        powers(theta, head_dim).enumerate().map(blend).collect()
    }
}

impl Llama3 {
    fn from_fields(f: &Fields<'_>) -> Result<Self> {
        let low_freq_factor =
            f.number("low_freq_factor")?.ok_or_else(|| f.wrong("low_freq_factor", "missing"))?;
        let high_freq_factor =
            f.number("high_freq_factor")?.ok_or_else(|| f.wrong("high_freq_factor", "missing"))?;
        if !(low_freq_factor > 0.0 && low_freq_factor < high_freq_factor && high_freq_factor < MAX_FACTOR) {
            let problem =
                format!("expected more than low_freq_factor {low_freq_factor} > 0, got {high_freq_factor}");
            return Err(f.wrong("high_freq_factor", problem));
        }
        let original_context = f.size("original_max_position_embeddings", i32::MAX as u64)?;
        Ok(Llama3 { factor: factor(f)?, low_freq_factor, high_freq_factor, original_context })
    }

    fn scale(&self, freq: f32) -> f32 {
        let (factor, old) = (self.factor as f32, self.original_context as f64);
        let wavelength = 2.0 * f32::consts::PI / freq;
        if wavelength > (old / self.low_freq_factor) as f32 {
            freq / factor
        } else if wavelength < (old / self.high_freq_factor) as f32 {
            freq
        } else {
            let smooth = (old as f32 / wavelength - self.low_freq_factor as f32)
                / (self.high_freq_factor - self.low_freq_factor) as f32;
            (1.0 - smooth) * freq / factor + smooth * freq
        }
    }
}

/// `theta^(2i/head_dim)`: the power in f64, so that it does not depend on a platform's `powf`, then rounded
/// to f32.
fn powers(theta: f64, head_dim: usize) -> impl Iterator<Item = f32> {
    let base = f64::from(theta as f32);
    (0..head_dim).step_by(2).map(move |i| base.powf(f64::from(i as f32 / head_dim as f32)) as f32)
}

fn unscaled(theta: f64, head_dim: usize) -> Vec<f32> {
    powers(theta, head_dim).map(|power| 1.0 / power).collect()
}

fn theta(f: &Fields<'_>) -> Result<Option<f64>> {
    match f.number("rope_theta")? {
        // Bounded above so that the powers stay finite in f32.
        Some(theta) if !(theta > 1.0 && theta <= MAX_THETA) => Err(
            f.wrong("rope_theta", format!("expected a number above 1 and up to {MAX_THETA:e}, got {theta}"))
        ),
        theta => Ok(theta),
    }
}

fn factor(f: &Fields<'_>) -> Result<f64> {
    match f.number("factor")? {
        None => Err(f.wrong("factor", "missing")),
        Some(factor) if !(1.0..=MAX_FACTOR).contains(&factor) => {
            Err(f.wrong("factor", format!("expected a number from 1 to {MAX_FACTOR}, got {factor}")))
        }
        Some(factor) => Ok(factor),
    }
}
