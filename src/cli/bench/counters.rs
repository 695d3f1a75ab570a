//! `bench --device sim`: what the kernels do, counted by the simulated GPU. None of it is a time.

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::{Context, Result, anyhow};
use llama_kernels::bench::{Ceilings, Memory, Row, Work};
use llama_kernels::gpu::Device;
use llama_kernels::gpu::ptx_sim::Report;
use llama_kernels::tensor::DType;

use super::super::options::BenchArgs;
use super::super::record::{Counters, Record, Sizes};
use super::super::records::Records;
use super::result::{Columns, row_record};

/// Of rows that nobody has named one by one, those are counted that cost no more than this: a second or two each.
const MOST_FLOPS: u64 = 2_500_000_000;
const MOST_BYTES: u64 = 100_000_000;
/// And whose operands, which some operations do not touch for the most part, take no more than this.
const MOST_OPERANDS: u64 = 1200 << 20;
/// Bytes of the host's memory for each byte that a launch touches, about: beside the byte itself the simulated GPU keeps who
/// has written and read it.
const HOST_BYTES: u64 = 8;
/// Whose bound is predicted.
const PREDICTED: &str = "an H200 by its datasheet";

pub fn run(
    args: &BenchArgs,
    rows: &[Row],
    dtype: DType,
    device: &Device,
    records: &mut Records,
) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{}: what one call in {dtype} does, counted; nothing here is a time\n\
         MB of global memory touched (and over the least that the operation must move), MB issued to it, passes through shared \
         memory lost to bank conflicts, and warps' arrivals at barriers; the bound is predicted of the operation, for {PREDICTED}",
        device.properties().name
    )?;
    let columns = Columns::of(rows);
    writeln!(out, "{}", heading(&columns))?;
    let mut memory = Memory::new(device)?;
    let (mut beyond, mut without_room) = (BTreeMap::new(), 0);
    for row in rows {
        if args.shapes.is_none() && !is_small(row.work.as_ref()) {
            *beyond.entry(row.work.op()).or_insert(0) += 1;
            continue;
        }
        let needed = row.work.operand_bytes() + HOST_BYTES * row.work.cost().bytes;
        if host_memory().is_some_and(|available| needed > available) {
            without_room += 1;
            writeln!(out, "{} NO ROOM for {needed} bytes on the host", columns.name(row))?;
            continue;
        }
        let counters = count(row, dtype, device, &mut memory).with_context(|| format!("{row:?}"))?;
        writeln!(out, "{}", line(&columns, row, &counters))?;
        records.push(Record::Counters(counters))?;
    }
    if without_room > 0 {
        writeln!(out, "{without_room} rows had no room in the host's memory and were not counted")?;
    }
    if let Some(text) = left_out(&beyond) {
        writeln!(out, "{text}")?;
    }
    Ok(())
}

/// Whether it is counted without being named.
fn is_small(work: &dyn Work) -> bool {
    let cost = work.cost();
    cost.flops <= MOST_FLOPS && cost.bytes <= MOST_BYTES && work.operand_bytes() <= MOST_OPERANDS
}

/// Bytes of the host's memory that are to be had; `None` where the system does not say.
fn host_memory() -> Option<u64> {
    available(&std::fs::read_to_string("/proc/meminfo").ok()?)
}

fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1 << 10)
}

/// The rows that are too large, and how to have them counted all the same.
fn left_out(beyond: &BTreeMap<&'static str, usize>) -> Option<String> {
    let rows: usize = beyond.values().sum();
    let ops: Vec<_> = beyond.iter().map(|(op, rows)| format!("{op} {rows}")).collect();
    (rows > 0).then(|| {
        format!(
            "{rows} rows of more than {:.1} GFLOP or {:.0} MB were left out ({}): rows in a file of --shapes are counted whatever \
             they take (--list --json writes one)",
            MOST_FLOPS as f64 / 1e9,
            MOST_BYTES as f64 / 1e6,
            ops.join(", ")
        )
    })
}

fn count(row: &Row, dtype: DType, device: &Device, memory: &mut Memory) -> Result<Counters> {
    let plans = row.work.plans(dtype, &device.properties().limits())?;
    let stream = device.new_stream()?;
    let mut call = row.work.prepare(dtype, memory)?;
    call(&stream)?;
    let reports = stream.reports()?.ok_or_else(|| anyhow!("a CUDA GPU counts nothing"))?;
    let (bound_microseconds, bound) = Ceilings::H200_DATASHEET.floor(&row.work.cost());
    Ok(Counters {
        bound: bound.to_string(),
        bound_microseconds,
        bound_device: PREDICTED.into(),
        ..sum(row_record(row, dtype, &plans), &reports)
    })
}

/// The counts of all launches.
fn sum(row: super::super::record::Row, reports: &[Report]) -> Counters {
    let mut counters = Counters { row, launches: reports.len(), ..Counters::default() };
    let mut classes: BTreeMap<&str, u64> = BTreeMap::new();
    for counted in reports.iter().map(|report| &report.counters) {
        for traffic in [&counted.global_read, &counted.global_written] {
            counters.touched_bytes += traffic.unique_bytes;
            counters.issued_bytes += traffic.issued_bytes;
        }
        for traffic in [&counted.shared_read, &counted.shared_written] {
            counters.shared_wavefronts += traffic.wavefronts;
            counters.bank_conflicts += traffic.conflicts;
        }
        counters.tensor_flops += counted.tensor_flops.values().sum::<u64>();
        counters.instructions += counted.instructions;
        counters.barriers += counted.barriers;
        for (class, instructions) in &counted.by_class {
            *classes.entry(class).or_default() += instructions;
        }
    }
    let mut classes: Vec<_> = classes.into_iter().filter(|(_, instructions)| *instructions > 0).collect();
    classes.sort_by_key(|(class, instructions)| (std::cmp::Reverse(*instructions), *class));
    let classes = classes.into_iter().map(|(class, instructions)| (class.to_string(), instructions));
    counters.instructions_by_class = Sizes(classes.collect());
    counters
}

/// Over the columns of [`line()`].
fn heading(columns: &Columns) -> String {
    format!(
        "{} {:>8} {:>8} {:>6} {:>8} {:>9} {:>8} {:>8} {:>9} {:<12} instructions",
        columns.heading(),
        "launches",
        "MB",
        "/least",
        "issued",
        "conflicts",
        "barriers",
        "tensorGF",
        "bound µs",
        "predicted"
    )
}

/// What was counted of a row, under [`heading`].
fn line(columns: &Columns, row: &Row, counters: &Counters) -> String {
    let share = |part: u64, whole: u64| part as f64 / whole.max(1) as f64;
    // Classes of a hundredth and more.
    let classes = counters.instructions_by_class.0.iter();
    let mix =
        classes.map(|(class, instructions)| (class, share(*instructions, counters.instructions) * 100.0));
    let mix: Vec<_> =
        mix.filter(|(_, share)| *share >= 1.0).map(|(class, share)| format!("{class} {share:.0}%")).collect();
    format!(
        "{} {:>8} {:>8.2} {:>6.2} {:>8.2} {:>8.1}% {:>8} {:>8.2} {:>9.2} {:<12} {:.3} M: {}",
        columns.name(row),
        counters.launches,
        counters.touched_bytes as f64 / 1e6,
        share(counters.touched_bytes, counters.row.bytes),
        counters.issued_bytes as f64 / 1e6,
        share(counters.bank_conflicts, counters.shared_wavefronts) * 100.0,
        counters.barriers,
        counters.tensor_flops as f64 / 1e9,
        counters.bound_microseconds,
        counters.bound,
        counters.instructions as f64 / 1e6,
        mix.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use llama_kernels::bench::{ops, rows};

    use super::*;

    #[test]
    fn launches_are_summed() {
        let mut report = Report::default();
        report.counters.global_read.unique_bytes = 100;
        report.counters.global_read.issued_bytes = 160;
        report.counters.global_written.unique_bytes = 10;
        report.counters.global_written.issued_bytes = 32;
        report.counters.shared_read.wavefronts = 7;
        report.counters.shared_written.wavefronts = 2;
        report.counters.shared_written.conflicts = 1;
        report.counters.tensor_flops.insert("bf16", 4096);
        report.counters.instructions = 30;
        report.counters.by_class.extend([("integer", 10), ("tensor", 20), ("fence", 0)]);
        report.counters.barriers = 3;
        let mut second = report.clone();
        second.counters.by_class = BTreeMap::from([("integer", 30)]);
        let counters = sum(super::super::super::record::Row::default(), &[report, second]);
        let expected = Counters {
            launches: 2,
            touched_bytes: 220,
            issued_bytes: 384,
            tensor_flops: 8192,
            instructions: 60,
            instructions_by_class: Sizes(vec![("integer".into(), 40), ("tensor".into(), 20)]),
            shared_wavefronts: 18,
            bank_conflicts: 2,
            barriers: 6,
            ..Counters::default()
        };
        assert_eq!(counters, expected);
    }

    #[test]
    fn columns_stand_under_their_heading() {
        let rows = rows();
        let columns = Columns::of(&rows);
        let heading = heading(&columns);
        let last = heading.find("instructions").map(|at| heading[..at].chars().count()).unwrap();
        for row in &rows {
            let counters = Counters {
                row: row_record(row, DType::BF16, &[]),
                launches: 2,
                touched_bytes: 12_345_678_900,
                issued_bytes: 32_345_678_900,
                tensor_flops: 12_345_000_000_000,
                instructions: 4_000_000,
                instructions_by_class: Sizes(vec![
                    ("integer".into(), 3_000_000),
                    ("tensor".into(), 990_000),
                    ("fence".into(), 10_000),
                ]),
                shared_wavefronts: 1000,
                bank_conflicts: 1000,
                barriers: 12_345_678,
                bound_microseconds: 123_456.7,
                bound: "tensor cores".into(),
                ..Counters::default()
            };
            // A share of the least bytes that is no longer than real ones are.
            let counters =
                Counters { touched_bytes: counters.row.bytes.min(counters.touched_bytes), ..counters };
            let line = line(&columns, row, &counters);
            let end: String = line.chars().skip(last - 1).collect();
            assert_eq!(end, " 4.000 M: integer 75%, tensor 25%", "{line}");
        }
    }

    #[test]
    fn every_operation_has_a_row_that_is_counted_unasked() {
        for op in ops() {
            assert!(rows().iter().any(|row| row.work.op() == op && is_small(row.work.as_ref())), "{op}");
        }
        let small = rows().iter().filter(|row| is_small(row.work.as_ref())).count();
        assert!(small < rows().len());
    }

    #[test]
    fn what_is_left_out_is_said() {
        assert_eq!(left_out(&BTreeMap::new()), None);
        let text = left_out(&BTreeMap::from([("matmul", 5), ("embed", 2)])).unwrap();
        assert!(text.starts_with("7 rows of more than 2.5 GFLOP or "), "{text}");
        assert!(text.contains("(embed 2, matmul 5)") && text.contains("--shapes"), "{text}");
    }

    #[test]
    fn the_hosts_memory_is_read() {
        let text = "MemTotal:       24000000 kB\nMemFree:  1 kB\nMemAvailable:   16000000 kB\n";
        assert_eq!(available(text), Some(16_000_000 << 10));
        assert_eq!(available("MemTotal: 1 kB\n"), None);
        assert_eq!(available("MemAvailable: many kB\n"), None);
        assert_eq!(available(&format!("MemAvailable: {} kB\n", u64::MAX)), None);
    }
}
