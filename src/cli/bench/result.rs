//! What was measured, as lines for people and as records.

use std::fmt::Write;

use anyhow::{Result, bail};
use llama_kernels::bench::{Ceilings, Row, Timing, sizes};
use llama_kernels::plan::Plan;
use llama_kernels::tensor::DType;

use super::super::record::{self, Record, Sizes, geometric_mean};

/// Widths of the columns that name a row.
pub struct Columns {
    op: usize,
    label: usize,
    shape: usize,
}

impl Columns {
    /// As wide as these rows need.
    pub fn of(rows: &[Row]) -> Self {
        let widest = |heading: &str, width: &dyn Fn(&Row) -> usize| {
            rows.iter().map(width).chain([heading.len()]).max().unwrap_or(0)
        };
        Columns {
            op: widest("operation", &|row| row.work.op().len()),
            label: widest("model", &|row| row.label.chars().count()),
            shape: widest("shape", &|row| sizes(row.work.as_ref()).len()),
        }
    }

    pub fn heading(&self) -> String {
        self.text("operation", "model", "shape")
    }

    /// A row's operation, model and shape.
    pub fn name(&self, row: &Row) -> String {
        self.text(row.work.op(), &row.label, &sizes(row.work.as_ref()))
    }

    pub fn text(&self, op: &str, label: &str, shape: &str) -> String {
        format!("{op:<0$} {label:<1$} {shape:<2$}", self.op, self.label, self.shape)
    }
}

/// A row without a time.
pub fn row_record(row: &Row, dtype: DType, plans: &[Plan]) -> record::Row {
    let cost = row.work.cost();
    let sizes = row.work.sizes().into_iter().map(|(name, size)| (name.to_string(), size as u64));
    record::Row {
        op: row.work.op().into(),
        label: row.label.clone(),
        dtype: dtype.to_string(),
        sizes: Sizes(sizes.collect()),
        flops: cost.flops,
        bytes: cost.bytes,
        bytes_written: cost.written,
        plan: plans.iter().map(ToString::to_string).collect(),
    }
}

/// What the device reaches.
pub fn ceilings_record(ceilings: &Ceilings, dtype: DType) -> record::Ceilings {
    record::Ceilings {
        dtype: dtype.to_string(),
        copy_gigabytes_per_second: ceilings.copy_bytes_per_second / 1e9,
        read_gigabytes_per_second: ceilings.read_bytes_per_second / 1e9,
        tensor_teraflops_per_second: ceilings.tensor_flops_per_second / 1e12,
        tensor_kernel: ceilings.tensor_kernel.into(),
        launch_microseconds: ceilings.launch_microseconds,
    }
}

/// A row and its time, beside the least time that the device could take.
pub fn kernel_record(
    row: record::Row,
    work: &Row,
    timing: &Timing,
    ceilings: &Ceilings,
) -> Result<record::Kernel> {
    let Timing { microseconds, low, high, calls, replays } = *timing;
    if !microseconds.is_finite() || microseconds <= 0.0 {
        bail!("a time of {microseconds} µs, of {replays} replays");
    }
    let (roofline, bound) = ceilings.floor(&work.work.cost());
    Ok(record::Kernel {
        teraflops_per_second: row.flops as f64 / microseconds / 1e6,
        gigabytes_per_second: row.bytes as f64 / microseconds / 1e3,
        row,
        microseconds,
        low_microseconds: low,
        high_microseconds: high,
        calls,
        replays,
        roofline_microseconds: roofline,
        bound: bound.to_string(),
        percent_of_roofline: roofline / microseconds * 100.0,
    })
}

/// Where, with what ceilings, and how: the lines before the rows.
pub fn header(run: &record::Run, ceilings: &record::Ceilings) -> String {
    let device = &run.device;
    let mut text = device.name.clone();
    let mut part = |name: &str, value: &Option<String>| {
        if let Some(value) = value {
            let _ = write!(text, ", {name} {value}");
        }
    };
    part("driver", &device.driver);
    part("for CUDA", &device.driver_cuda);
    part("kernels by CUDA", &device.kernels_cuda);
    match &device.clocks {
        Some(clocks) => {
            let record::Clocks { sm, memory, max_sm, max_memory, power_limit_watts, temperature_celsius } =
                clocks;
            let _ = write!(
                text,
                "\nbusy: multiprocessors at {sm} of {max_sm} MHz, memory at {memory} of {max_memory} MHz, \
                 {power_limit_watts:.0} W at most, {temperature_celsius:.0} °C"
            );
        }
        None => text += "\nclocks: nvidia-smi does not say",
    }
    let _ = write!(
        text,
        "\nceilings, measured now: copy {:.0} GB/s, read {:.0} GB/s, tensor cores {:.0} TFLOP/s in {} ({}), an empty kernel {:.2} µs",
        ceilings.copy_gigabytes_per_second,
        ceilings.read_gigabytes_per_second,
        ceilings.tensor_teraflops_per_second,
        ceilings.dtype,
        ceilings.tensor_kernel,
        ceilings.launch_microseconds
    );
    text + "\ntimes of one call in a CUDA graph of several, each on operands of its own and with an L2 cache that holds none of \
            them: the median of the graph's replays, and their 10th and 90th percentile\n"
}

/// Over the columns of [`line()`].
pub fn heading(columns: &Columns) -> String {
    let name = columns.heading();
    let (time, spread, flops, bytes) = ("µs", "10% to 90%", "TFLOP/s", "GB/s");
    format!("{name} {time:>10} {spread:>19} {flops:>7} {bytes:>6} {:<12} {:>13}", "bound", "% of roofline")
}

/// A row's time, under [`heading`].
pub fn line(columns: &Columns, row: &Row, kernel: &record::Kernel) -> String {
    let spread = format!("{:.2}-{:.2}", kernel.low_microseconds, kernel.high_microseconds);
    format!(
        "{} {:>10.2} {spread:>19} {:>7.1} {:>6.0} {:<12} {:>13.1}",
        columns.name(row),
        kernel.microseconds,
        kernel.teraflops_per_second,
        kernel.gigabytes_per_second,
        kernel.bound,
        kernel.percent_of_roofline
    )
}

/// The geometric means of the rows' shares of the roofline, of each operation and of all, under [`heading`].
pub fn means(columns: &Columns, records: &[Record]) -> Vec<String> {
    let kernels = records.iter().filter_map(|record| match record {
        Record::Kernel(kernel) => Some((kernel.row.op.as_str(), kernel.percent_of_roofline)),
        _ => None,
    });
    let kernels: Vec<_> = kernels.collect();
    let mut ops: Vec<_> = kernels.iter().map(|(op, _)| *op).collect();
    ops.dedup();
    let width = heading(columns).chars().count();
    let line = |op: &str, shares: Vec<f64>| {
        let rows = format!("geometric mean of {} rows", shares.len());
        let name = columns.text(op, "", &rows);
        let share = geometric_mean(shares).map_or("-".to_string(), |mean| format!("{mean:.1}"));
        let room = width.saturating_sub(name.chars().count() + 1);
        format!("{name} {share:>room$}")
    };
    let of = |op: &str| kernels.iter().filter(|(other, _)| *other == op).map(|(_, share)| *share).collect();
    let all = kernels.iter().map(|(_, share)| *share).collect();
    ops.iter().map(|op| line(op, of(op))).chain([line("all", all)]).collect()
}

#[cfg(test)]
mod tests {
    use llama_kernels::bench::{H200, rows};

    use super::*;

    const CEILINGS: Ceilings = Ceilings {
        copy_bytes_per_second: 4.0e12,
        read_bytes_per_second: 4.5e12,
        tensor_flops_per_second: 700e12,
        tensor_kernel: "ceiling_wgmma",
        launch_microseconds: 1.25,
    };

    fn kernel(row: &Row, microseconds: f64) -> record::Kernel {
        let timing = Timing {
            microseconds,
            low: microseconds * 0.9,
            high: microseconds * 1.1,
            calls: 64,
            replays: 100,
        };
        let plans = row.work.plans(DType::BF16, &H200).unwrap();
        kernel_record(row_record(row, DType::BF16, &plans), row, &timing, &CEILINGS).unwrap()
    }

    #[test]
    fn a_row_says_what_was_launched_and_how_fast_it_was() {
        let rows = rows();
        let columns = Columns::of(&rows);
        let row = rows.iter().find(|row| row.work.op() == "rms_norm" && row.label == "8B").unwrap();
        let kernel = kernel(row, 2.0);
        // One token: x, the weight and out.
        assert_eq!((kernel.row.bytes, kernel.row.bytes_written, kernel.row.flops), (24_576, 8192, 16_384));
        assert_eq!(kernel.row.sizes.to_string(), "tokens=1 hidden=4096");
        assert!(kernel.row.plan[0].starts_with("rms_norm: rms_norm_bf16 grid 1x1x1 of 128"));
        assert_eq!(kernel.gigabytes_per_second, 12.288);
        // Out and as much of x by the copy's speed, the weight by the read's.
        let roofline = 16_384.0 / 4.0e6 + 8192.0 / 4.5e6;
        assert!((kernel.roofline_microseconds - roofline).abs() < 1e-9);
        assert_eq!(kernel.bound, "memory");
        assert!((kernel.percent_of_roofline - roofline / 2.0 * 100.0).abs() < 1e-9);
        let line = line(&columns, row, &kernel);
        let words: Vec<&str> = line.split_whitespace().collect();
        let expected =
            ["rms_norm", "8B", "tokens=1", "hidden=4096", "2.00", "1.80-2.20", "0.0", "12", "memory", "0.3"];
        assert_eq!(words, expected);
    }

    #[test]
    fn columns_stand_under_their_heading() {
        let rows = rows();
        let columns = Columns::of(&rows);
        let width = heading(&columns).chars().count();
        let mut records = Vec::new();
        for row in &rows {
            for microseconds in [CEILINGS.floor(&row.work.cost()).0, 123_456.7] {
                let kernel = kernel(row, microseconds);
                let line = line(&columns, row, &kernel);
                assert_eq!(line.chars().count(), width, "{line}");
                records.push(Record::Kernel(kernel));
            }
        }
        let means = means(&columns, &records);
        assert!(means.iter().all(|line| line.chars().count() == width), "{means:?}");
    }

    #[test]
    fn means_are_of_each_operation_and_of_all() {
        let rows = rows();
        let columns = Columns::of(&rows);
        let of = |op: &str| rows.iter().find(|row| row.work.op() == op).unwrap();
        let share = |op: &str, percent_of_roofline| {
            let kernel = kernel(of(op), 1.0);
            Record::Kernel(record::Kernel { percent_of_roofline, ..kernel })
        };
        let records = [share("embed", 20.0), share("embed", 80.0), share("sample", 90.0)];
        let words: Vec<Vec<String>> = means(&columns, &records)
            .iter()
            .map(|line| line.split_whitespace().map(str::to_string).collect())
            .collect();
        let ends: Vec<_> =
            words.iter().map(|words| (words[0].as_str(), words.last().unwrap().as_str())).collect();
        assert_eq!(ends, [("embed", "40.0"), ("sample", "90.0"), ("all", "52.4")]);
        assert_eq!(words[2].join(" "), "all geometric mean of 3 rows 52.4");
        assert!(means(&columns, &[]).concat().ends_with(" -"));
    }

    #[test]
    fn a_time_that_is_none_is_refused() {
        let rows = rows();
        for microseconds in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let timing = Timing { microseconds, ..Timing::default() };
            let row = row_record(&rows[0], DType::BF16, &[]);
            let error = kernel_record(row, &rows[0], &timing, &CEILINGS).unwrap_err();
            assert!(error.to_string().starts_with("a time of "), "{error}");
        }
    }

    #[test]
    fn the_header_says_where_and_how() {
        let mut run = record::Run::default();
        run.device.name = "NVIDIA H200".into();
        run.device.driver = Some("580.1".into());
        let ceilings = ceilings_record(&CEILINGS, DType::BF16);
        let text = header(&run, &ceilings);
        for part in [
            "NVIDIA H200, driver 580.1\n",
            "clocks: nvidia-smi does not say",
            "copy 4000 GB/s, read 4500 GB/s, tensor cores 700 TFLOP/s in bf16 (ceiling_wgmma), an empty kernel 1.25 µs",
            "the median of the graph's replays",
        ] {
            assert!(text.contains(part), "{text}");
        }
        run.device.clocks = Some(record::Clocks {
            sm: 1500,
            memory: 3201,
            max_sm: 1980,
            max_memory: 3201,
            power_limit_watts: 700.0,
            temperature_celsius: 41.0,
        });
        let text = header(&run, &ceilings);
        assert!(
            text.contains("at 1500 of 1980 MHz, memory at 3201 of 3201 MHz, 700 W at most, 41 °C"),
            "{text}"
        );
    }
}
