//! `llama-kernels bench`: how long each operation takes on a GPU, from cold memory; on a simulated GPU what each does.

#[cfg(feature = "sim")]
mod counters;
mod forward;
mod result;
mod rows;

use std::io::Write;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use llama_kernels::Error;
use llama_kernels::bench::{self, Ceilings, Matmul, MatmulPath, Meter, Row, Work};
use llama_kernels::cost::StepFormats;
use llama_kernels::device::DeviceChoice;
use llama_kernels::gpu::Device;
use llama_kernels::plan::MatmulShape;
use llama_kernels::tensor::DType;

use super::nvidia_smi;
use super::options::{BenchArgs, Element};
use super::record::{Clocks, Record};
use super::records::{self, Records};
#[cfg(feature = "sim")]
use counters::run as count_rows;
use result::Columns;
use rows::Chosen;

pub fn run(args: &BenchArgs) -> Result<()> {
    let dtype = match args.dtype {
        Element::Bf16 => DType::BF16,
        Element::F16 => DType::F16,
    };
    let chosen = rows::chosen(args, dtype)?;
    let formats = forward::formats(args);
    if formats != StepFormats::default() && !chosen.rows.is_empty() {
        bail!(
            "--weights, --kv-cache: of decode and prefill; an operation on other formats has a name of its own, such as \
             matmul_int4"
        );
    }
    if args.list {
        return list(args, &chosen, dtype);
    }
    let device = open(args.device.unwrap_or(DeviceChoice::Cuda(0)))?;
    let mut records = Records::open(args.json.as_deref())?;
    note_other_dtypes(&chosen, dtype)?;
    if device.is_simulated() {
        count(args, &chosen, dtype, &device, &mut records)?;
    } else {
        measure(args, &chosen, dtype, &device, &mut records)?;
    }
    match &args.report {
        Some(file) => super::report::write(file, records.all()),
        None => Ok(()),
    }
}

/// The device; where there is no GPU, an error that says what goes without one.
fn open(choice: DeviceChoice) -> Result<Device> {
    match (Device::open(choice), choice) {
        (Err(error @ Error::NoDevice { .. }), DeviceChoice::Cuda(_)) => {
            let sim = if cfg!(feature = "sim") {
                "--device sim counts what the kernels do on a simulated one; "
            } else {
                ""
            };
            bail!("there is no GPU to measure on ({error}): {sim}--list shows what would be measured")
        }
        (opened, _) => opened.with_context(|| format!("--device {choice}")),
    }
}

fn note_other_dtypes(chosen: &Chosen, dtype: DType) -> Result<()> {
    if chosen.other_dtypes > 0 {
        let lines = chosen.other_dtypes;
        writeln!(
            std::io::stderr(),
            "note: --shapes: {lines} lines are not in {dtype} (--dtype) and were left out"
        )?;
    }
    Ok(())
}

fn count(
    args: &BenchArgs,
    chosen: &Chosen,
    dtype: DType,
    device: &Device,
    records: &mut Records,
) -> Result<()> {
    records.push(records::run("bench", device, None))?;
    if !chosen.rows.is_empty() {
        count_rows(args, &chosen.rows, dtype, device, records)?;
    }
    if chosen.phases.is_empty() {
        return Ok(());
    }
    forward::count(&chosen.phases, args, device, records)
}

/// Without the simulated GPU there is none to count on.
#[cfg(not(feature = "sim"))]
fn count_rows(_: &BenchArgs, _: &[Row], _: DType, _: &Device, _: &mut Records) -> Result<()> {
    bail!("this program was built without the feature `sim`")
}

fn measure(
    args: &BenchArgs,
    chosen: &Chosen,
    dtype: DType,
    device: &Device,
    records: &mut Records,
) -> Result<()> {
    let mut meter = Meter::new(device)?;
    let clocks = clocks_while_busy(&mut meter, dtype)?;
    let run = records::run("bench", device, clocks);
    records.push(run.clone())?;
    let ceilings = Ceilings::measure(&mut meter, dtype).context("measuring the ceilings")?;
    let ceilings_record = result::ceilings_record(&ceilings, dtype);
    records.push(Record::Ceilings(ceilings_record.clone()))?;
    let mut out = std::io::stdout().lock();
    if let Record::Run(run) = &run {
        write!(out, "{}", result::header(run, &ceilings_record))?;
    }
    if !chosen.rows.is_empty() {
        let columns = Columns::of(&chosen.rows);
        writeln!(out, "{}", result::heading(&columns))?;
        let mut without_room = 0;
        for row in &chosen.rows {
            let timed = time(row, dtype, device, &mut meter, &ceilings);
            match timed.with_context(|| format!("{row:?}"))? {
                Timed::Kernel(kernel) => {
                    writeln!(out, "{}", result::line(&columns, row, &kernel))?;
                    records.push(Record::Kernel(*kernel))?;
                }
                Timed::NoRoom { bytes } => {
                    without_room += 1;
                    writeln!(out, "{} NO ROOM for {bytes} bytes", columns.name(row))?;
                }
            }
        }
        if without_room > 0 {
            let all = chosen.rows.len();
            writeln!(
                out,
                "{without_room} of {all} rows had no room in the device's memory and were not measured"
            )?;
        }
        for line in result::means(&columns, records.all()) {
            writeln!(out, "{line}")?;
        }
    }
    drop(out);
    if chosen.phases.is_empty() {
        return Ok(());
    }
    forward::run(&chosen.phases, args, &mut meter, &ceilings, records)
}

/// What came of a row.
enum Timed {
    Kernel(Box<super::record::Kernel>),
    NoRoom { bytes: usize },
}

fn time(row: &Row, dtype: DType, device: &Device, meter: &mut Meter, ceilings: &Ceilings) -> Result<Timed> {
    let plans = row.work.plans(dtype, &device.properties().limits())?;
    match meter.time(row.work.as_ref(), dtype) {
        Ok(timing) => {
            let record = result::row_record(row, dtype, &plans);
            Ok(Timed::Kernel(Box::new(result::kernel_record(record, row, &timing, ceilings)?)))
        }
        Err(Error::OutOfMemory { bytes }) => Ok(Timed::NoRoom { bytes }),
        Err(error) => Err(error.into()),
    }
}

/// The clocks while the device has been multiplying matrices for a while: those of an idle device say nothing.
fn clocks_while_busy(meter: &mut Meter, dtype: DType) -> Result<Option<Clocks>> {
    /// Until clocks are up and the power limit has had its say.
    const SETTLE: Duration = Duration::from_millis(700);
    /// A few milliseconds on a large GPU.
    const SIDE: usize = 8192;
    /// Calls that are queued at a time.
    const CALLS: usize = 8;
    let shape = MatmulShape { m: SIDE, n: SIDE, k: SIDE, ..MatmulShape::default() };
    let product = Matmul { shape, path: MatmulPath::Planned };
    let mut call = match product.prepare(dtype, meter.memory()) {
        Err(Error::OutOfMemory { .. }) => return Ok(None),
        call => call?,
    };
    let stream = meter.stream();
    let device = stream.device();
    thread::scope(|scope| {
        let asked = scope.spawn(|| {
            thread::sleep(SETTLE);
            nvidia_smi::clocks(device)
        });
        while !asked.is_finished() {
            for _ in 0..CALLS {
                call(stream)?;
            }
            stream.synchronize()?;
        }
        Ok(asked.join().unwrap_or_default())
    })
}

/// Each row with its launches and the reasons for them.
fn list(args: &BenchArgs, chosen: &Chosen, dtype: DType) -> Result<()> {
    if !chosen.phases.is_empty() {
        bail!(
            "--list: of single operations; `llama-kernels info --model` shows the launches of a forward pass"
        );
    }
    if args.report.is_some() {
        bail!("--report: nothing is measured with --list");
    }
    let device = args.device.map(open).transpose()?;
    let limits = device.map_or(bench::H200, |device| device.properties().limits());
    let mut records = Records::open(args.json.as_deref())?;
    note_other_dtypes(chosen, dtype)?;
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{dtype}, planned for {} multiprocessors and {} KB of shared memory a block",
        limits.num_sms,
        limits.shared_memory_per_block >> 10
    )?;
    let columns = Columns::of(&chosen.rows);
    for row in &chosen.rows {
        let plans = row.work.plans(dtype, &limits).with_context(|| format!("{row:?}"))?;
        for plan in &plans {
            writeln!(out, "{} {plan}", columns.name(row))?;
        }
        records.push(Record::Row(result::row_record(row, dtype, &plans)))?;
    }
    Ok(())
}
