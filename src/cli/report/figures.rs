//! Numbers as people read them.

/// A number that a chart or a mean can hold: finite and above zero. Files may hold any.
pub fn usable(number: f64) -> Option<f64> {
    (number.is_finite() && number > 0.0).then_some(number)
}

/// Three to four digits that count: `4,213`, `132.7`, `3.69`, `0.0614`; `—` for what is no number.
pub fn figure(number: f64) -> String {
    let magnitude = number.abs();
    if !number.is_finite() {
        "—".into()
    } else if magnitude >= 1e15 || (magnitude > 0.0 && magnitude < 1e-6) {
        format!("{number:.2e}")
    } else if magnitude >= 999.95 {
        let sign = if number < 0.0 { "-" } else { "" };
        format!("{sign}{}", grouped(magnitude.round() as u64))
    } else if magnitude >= 9.995 {
        format!("{number:.1}")
    } else if magnitude >= 0.9995 {
        format!("{number:.2}")
    } else if magnitude == 0.0 {
        "0".into()
    } else {
        let leading_zeros = -magnitude.log10().floor() as usize;
        format!("{number:.*}", leading_zeros + 2)
    }
}

/// `1,234,567`
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() * 4 / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// `87.3%`
pub fn percent(number: f64) -> String {
    if !number.is_finite() {
        "—".into()
    } else if number.abs() >= 1e4 {
        format!("{}%", figure(number))
    } else {
        format!("{number:.1}%")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_the_digits_that_count() {
        let expected = [
            (0.0, "0"),
            (0.061_44, "0.0614"),
            (0.9996, "1.00"),
            (3.694, "3.69"),
            (9.996, "10.0"),
            (132.66, "132.7"),
            (999.96, "1,000"),
            (4_213.4, "4,213"),
            (-4_213.4, "-4,213"),
            (1_234_567.0, "1,234,567"),
            (1e300, "1.00e300"),
            (2e-9, "2.00e-9"),
            (f64::NAN, "—"),
            (f64::NEG_INFINITY, "—"),
        ];
        for (number, text) in expected {
            assert_eq!(figure(number), text, "{number}");
        }
        assert_eq!(grouped(u64::MAX), "18,446,744,073,709,551,615");
        assert_eq!([grouped(0), grouped(999), grouped(1000)], ["0", "999", "1,000"]);
        assert_eq!([percent(87.34), percent(1e9), percent(f64::NAN)], ["87.3%", "1,000,000,000%", "—"]);
    }

    #[test]
    fn charts_take_finite_numbers_above_zero() {
        for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -0.0, -1.0] {
            assert_eq!(usable(number), None);
        }
        assert_eq!(usable(1e-300), Some(1e-300));
    }
}
