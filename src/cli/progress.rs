//! A progress bar on stderr, for people: nothing is drawn where stderr is not a terminal.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

const WIDTH: usize = 30;
const REDRAW: Duration = Duration::from_millis(50);

/// A bar that counts bytes.
pub struct ProgressBar {
    label: &'static str,
    visible: bool,
    drawn: Option<Instant>,
}

impl ProgressBar {
    pub fn new(label: &'static str) -> Self {
        ProgressBar { label, visible: std::io::stderr().is_terminal(), drawn: None }
    }

    pub fn set(&mut self, done: u64, total: u64) {
        let due = self.drawn.is_none_or(|at| at.elapsed() >= REDRAW) || done == total;
        if !self.visible || !due {
            return;
        }
        self.drawn = Some(Instant::now());
        let share = done as f64 / total.max(1) as f64;
        let full = ((share * WIDTH as f64) as usize).min(WIDTH);
        let mut stderr = std::io::stderr().lock();
        // A bar that cannot be drawn is no reason to stop.
        let _ = write!(
            stderr,
            "\r{} [{}{}] {:3.0}% of {}",
            self.label,
            "=".repeat(full),
            " ".repeat(WIDTH - full),
            share * 100.0,
            bytes(total)
        );
        let _ = stderr.flush();
    }
}

impl Drop for ProgressBar {
    fn drop(&mut self) {
        if self.drawn.is_some() {
            let _ = write!(std::io::stderr(), "\r{}\r", " ".repeat(WIDTH + 60));
        }
    }
}

/// A number of bytes as people write it.
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 4] = ["KB", "MB", "GB", "TB"];
    if n < 1000 {
        return format!("{n} bytes");
    }
    let mut value = n as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let digits = if value < 9.95 { 2 } else { usize::from(value < 99.95) };
    format!("{value:.digits$} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn bytes_have_three_digits() {
        for (n, text) in [
            (0, "0 bytes"),
            (999, "999 bytes"),
            (4100, "4.10 KB"),
            (131_072, "131 KB"),
            (16_060_522_496, "16.1 GB"),
            (999_999, "1.00 MB"),
        ] {
            assert_eq!(bytes(n), text);
        }
    }
}
