//! Frequencies and tables of RoPE against published values and closed forms. Comparisons with transformers,
//! bit by bit, are in `goldens`.

use std::f64::consts::TAU;

use llama_kernels::model::config::Config;
use llama_kernels::model::rope::{Rope, RopeScaling, Yarn};

#[track_caller]
fn assert_close(actual: f32, expected: f64, what: &str) {
    let error = (f64::from(actual) / expected - 1.0).abs();
    assert!(error < 1e-6, "{what}: {actual:e}, expected {expected:e}: off by {error:e}");
}

fn unscaled(theta: f64, head_dim: usize) -> Vec<f64> {
    (0..head_dim / 2).map(|i| theta.powf(-2.0 * i as f64 / head_dim as f64)).collect()
}

/// What the scaling did to each frequency: `=` kept, `/` divided by the factor, `~` in between.
fn bands(scaled: &[f32], plain: &[f64], factor: f64) -> String {
    let near = |a: f32, b: f64| (f64::from(a) / b - 1.0).abs() < 1e-6;
    let band = |(&s, &p): (&f32, &f64)| {
        if near(s, p) {
            '='
        } else if near(s, p / factor) {
            '/'
        } else {
            assert!(f64::from(s) < p && f64::from(s) > p / factor);
            '~'
        }
    };
    scaled.iter().zip(plain).map(band).collect()
}

#[test]
fn llama3_scaling_has_the_published_values() {
    let check =
        |preset: &str, kept: usize, smoothed: usize, divided: usize, factor: f64, values: &[(usize, f64)]| {
            let config = Config::preset(preset).unwrap();
            let (freq, attention_factor) = config.rope.inv_freq(config.head_dim, 1);
            let expected = "=".repeat(kept) + &"~".repeat(smoothed) + &"/".repeat(divided);
            assert_eq!(bands(&freq, &unscaled(5e5, config.head_dim), factor), expected, "{preset}");
            assert_eq!(attention_factor, 1.0);
            for &(i, value) in values {
                assert_close(freq[i], value, &format!("{preset}[{i}]"));
            }
        };
    let values = [(29, 2.166570764e-3), (34, 1.785078128e-4), (63, 3.068925989e-7)];
    check("llama-3.1-8b", 29, 6, 29, 8.0, &values);
    check("llama-3.2-3b", 29, 6, 29, 32.0, &[(29, 2.118406997e-3), (34, 9.708287803e-5)]);
    check("llama-3.2-1b", 15, 3, 14, 32.0, &[]);
}

#[test]
fn unscaled_and_linear_frequencies_are_powers() {
    for (theta, head_dim) in [(1e4, 128), (5e5, 64), (1e6, 2), (1e4, 80)] {
        let plain = unscaled(theta, head_dim);
        for (scaling, divisor) in [(RopeScaling::None, 1.0), (RopeScaling::Linear { factor: 2.5 }, 2.5)] {
            let (freq, factor) = Rope { theta, scaling }.inv_freq(head_dim, 1_000_000);
            assert_eq!((freq.len(), factor), (head_dim / 2, 1.0));
            for (i, f) in freq.iter().enumerate() {
                assert_close(*f, plain[i] / divisor, &format!("{scaling:?} {head_dim} [{i}]"));
            }
        }
    }
}

#[test]
fn dynamic_frequencies_follow_the_length_beyond_the_trained_context() {
    let rope = Rope { theta: 1e4, scaling: RopeScaling::Dynamic { factor: 4.0, original_context: 100 } };
    assert!(rope.depends_on_length() && !Rope::unscaled(1e4).depends_on_length());
    let plain = Rope::unscaled(1e4).inv_freq(64, 1).0;
    for len in [0, 1, 99, 100] {
        assert_eq!(rope.inv_freq(64, len).0, plain, "{len}");
    }
    for len in [101, 150, 400] {
        let theta = 1e4 * (4.0 * len as f64 / 100.0 - 3.0).powf(64.0 / 62.0);
        for (i, (f, expected)) in rope.inv_freq(64, len).0.iter().zip(unscaled(theta, 64)).enumerate() {
            assert_close(*f, expected, &format!("{len} [{i}]"));
        }
    }
    // Twice the context: the longest wavelength grows by exactly the factor that this length asks for.
    let (last, stretched) = (plain[31], rope.inv_freq(64, 200).0[31]);
    assert_close(last / stretched, 5.0, "stretch");
}

#[test]
fn yarn_keeps_fast_frequencies_and_divides_slow_ones() {
    let yarn = Yarn {
        factor: 8.0,
        original_context: 4096,
        beta_fast: 32.0,
        beta_slow: 1.0,
        attention_factor: 1.25,
        truncate: true,
    };
    let inv_freq = |yarn| Rope { theta: 1e4, scaling: RopeScaling::Yarn(yarn) }.inv_freq(128, 1);
    let (freq, attention_factor) = inv_freq(yarn);
    assert_eq!(attention_factor, 1.25);
    let plain = unscaled(1e4, 128);
    // Index 20.9 makes 32 rotations over 4096 positions, index 45.0 one.
    assert_eq!(bands(&freq, &plain, 8.0), "=".repeat(21) + &"~".repeat(25) + &"/".repeat(18));
    let rotations = |i: usize| 4096.0 * plain[i] / TAU;
    assert!(rotations(20) > 32.0 && rotations(21) < 32.0 && rotations(45) > 1.0 && rotations(46) < 1.0);
    // Half way up the ramp, at (20 + 46) / 2, the mean of both.
    assert_close(freq[33], plain[33] * (1.0 + 1.0 / 8.0) / 2.0, "the middle of the ramp");
    assert_ne!(inv_freq(Yarn { truncate: false, ..yarn }).0[33], freq[33]);
    // A ramp without width is a step, not a division by zero.
    let step = inv_freq(Yarn { original_context: 6, ..yarn }).0;
    assert_eq!(bands(&step, &plain, 8.0), "=".to_string() + &"/".repeat(63));
}

#[test]
fn tables_hold_cosines_then_sines() {
    let yarn = Yarn {
        factor: 2.0,
        original_context: 64,
        beta_fast: 32.0,
        beta_slow: 1.0,
        attention_factor: 1.5,
        truncate: true,
    };
    for (rope, scale) in
        [(Rope::unscaled(1e4), 1.0), (Rope { theta: 1e4, scaling: RopeScaling::Yarn(yarn) }, 1.5)]
    {
        let (freq, _) = rope.inv_freq(8, 40);
        let table = rope.cos_sin(8, 40, 7..40);
        assert_eq!(table.len(), 33 * 8);
        for (row, position) in table.chunks(8).zip(7..) {
            for i in 0..4 {
                let angle = f64::from(position as f32 * freq[i]);
                assert!((f64::from(row[i]) - scale * angle.cos()).abs() < 2e-7);
                assert!((f64::from(row[4 + i]) - scale * angle.sin()).abs() < 2e-7);
            }
        }
        // A part of the table is the table's part.
        assert_eq!(rope.cos_sin(8, 40, 20..22), table[13 * 8..15 * 8]);
        assert!(rope.cos_sin(8, 40, 5..5).is_empty());
    }
}
