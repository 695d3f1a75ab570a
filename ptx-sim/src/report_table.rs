//! Reports and counters as aligned tables.

use std::fmt;

use crate::report::{Counters, InstructionClass, Report};

/// A number with its digits in groups of three: `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Writes rows whose first column is aligned left and whose others are aligned right, without trailing spaces.
fn write_columns(f: &mut fmt::Formatter<'_>, rows: &[Vec<String>]) -> fmt::Result {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for row in rows {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            if column == 0 {
                line.push_str(&format!("{cell:width$}"));
            } else {
                line.push_str(&format!("  {cell:>width$}"));
            }
        }
        writeln!(f, "{}", line.trim_end())?;
    }
    Ok(())
}

fn row(name: impl Into<String>, numbers: &[u64]) -> Vec<String> {
    std::iter::once(name.into()).chain(numbers.iter().copied().map(grouped)).collect()
}

fn heading(cells: &[&str]) -> Vec<String> {
    cells.iter().map(|&cell| cell.to_owned()).collect()
}

impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rows = vec![row("warp instructions", &[self.instructions])];
        for class in InstructionClass::ALL {
            match self.by_class.get(class.name()) {
                None | Some(0) => {}
                Some(&count) => rows.push(row(format!("  {}", class.name()), &[count])),
            }
        }
        rows.push(row("thread instructions", &[self.thread_instructions]));
        rows.push(row("divergent branches", &[self.divergent_branches]));
        for (ty, &flops) in &self.tensor_flops {
            rows.push(row(format!("tensor FLOPs, {ty}"), &[flops]));
        }
        rows.push(row("barriers", &[self.barriers]));
        rows.push(row("waits", &[self.waits]));
        rows.push(row("atomics", &[self.atomics]));
        write_columns(f, &rows)?;

        let global =
            [("  read", &self.global_read), ("  written", &self.global_written)].map(|(name, traffic)| {
                let bytes =
                    [traffic.requested_bytes, traffic.sectors, traffic.issued_bytes, traffic.unique_bytes];
                row(name, &[&[traffic.requests], &bytes[..]].concat())
            });
        let head =
            heading(&["global memory", "requests", "bytes", "sectors", "issued bytes", "unique bytes"]);
        writeln!(f)?;
        write_columns(f, &[vec![head], global.to_vec()].concat())?;

        let shared =
            [("  read", &self.shared_read), ("  written", &self.shared_written)].map(|(name, traffic)| {
                row(name, &[traffic.requests, traffic.requested_bytes, traffic.wavefronts, traffic.conflicts])
            });
        let head = heading(&["shared memory", "requests", "bytes", "wavefronts", "conflicts"]);
        writeln!(f)?;
        write_columns(f, &[vec![head], shared.to_vec()].concat())?;

        if self.bank_conflicts.is_empty() {
            return Ok(());
        }
        let places = self
            .bank_conflicts
            .iter()
            .map(|place| row(format!("  {}", place.location), &[place.requests, place.conflicts]));
        let head = std::iter::once(heading(&["bank conflicts", "requests", "conflicts"]));
        writeln!(f)?;
        write_columns(f, &head.chain(places).collect::<Vec<_>>())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ([gx, gy, gz], [bx, by, bz]) = (self.grid, self.block);
        writeln!(
            f,
            "{}: grid {gx} x {gy} x {gz}, block {bx} x {by} x {bz}, {} bytes of shared memory, {} resident blocks, seed {}",
            self.kernel,
            grouped(self.shared_bytes.into()),
            grouped(self.resident_blocks.into()),
            self.seed
        )?;
        write!(f, "{}", self.counters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{BankConflicts, SourceLocation};

    #[test]
    fn numbers_are_grouped_by_three() {
        for (number, text) in
            [(0, "0"), (999, "999"), (1000, "1,000"), (123_456, "123,456"), (1_234_567, "1,234,567")]
        {
            assert_eq!(grouped(number), text);
        }
        assert_eq!(grouped(u64::MAX), "18,446,744,073,709,551,615");
    }

    #[test]
    fn a_report_is_a_table() {
        let mut report = Report {
            kernel: "saxpy".into(),
            grid: [4, 1, 1],
            block: [256, 2, 1],
            shared_bytes: 1024,
            resident_blocks: 4,
            seed: 7,
            ..Report::default()
        };
        let counters = &mut report.counters;
        counters.instructions = 12345;
        counters.by_class = [("integer", 12000), ("move", 345), ("fence", 0)].into();
        counters.thread_instructions = 395_040;
        counters.tensor_flops.insert("bf16", 8192);
        counters.barriers = 3;
        counters.global_read.requests = 32;
        counters.global_read.requested_bytes = 4096;
        counters.global_written.unique_bytes = 1_000_000;
        counters.shared_read.conflicts = 31;
        let location = SourceLocation {
            ptx_line: 40,
            instruction: "ld.shared.f32".into(),
            source: Some(("saxpy.cu".into(), 7)),
            inlined_at: None,
        };
        counters.bank_conflicts = vec![BankConflicts { location, requests: 1, conflicts: 31 }];
        let expected = "\
saxpy: grid 4 x 1 x 1, block 256 x 2 x 1, 1,024 bytes of shared memory, 4 resident blocks, seed 7
warp instructions     12,345
  integer             12,000
  move                   345
thread instructions  395,040
divergent branches         0
tensor FLOPs, bf16     8,192
barriers                   3
waits                      0
atomics                    0

global memory  requests  bytes  sectors  issued bytes  unique bytes
  read               32  4,096        0             0             0
  written             0      0        0             0     1,000,000

shared memory  requests  bytes  wavefronts  conflicts
  read                0      0           0         31
  written             0      0           0          0

bank conflicts                             requests  conflicts
  saxpy.cu:7, PTX line 40 (ld.shared.f32)         1         31
";
        assert_eq!(report.to_string(), expected);
    }
}
