//! `llama-kernels time`: how long each operation takes on a GPU, from cold memory.

mod measure;
mod result;

use std::io::Write;

use anyhow::{Context, Result, bail};
use llama_kernels::Error;
use llama_kernels::bench::{self, Row};
use llama_kernels::device::DeviceChoice;
use llama_kernels::gpu::{Device, driver_version};
use llama_kernels::tensor::DType;

use super::options::{Element, TimeArgs};
use measure::{LAUNCHES, Measure};
use result::{Measured, Memory};

pub fn run(args: &TimeArgs) -> Result<()> {
    let dtype = match args.dtype {
        Element::Bf16 => DType::BF16,
        Element::F16 => DType::F16,
    };
    let open = |choice: DeviceChoice| Device::open(choice).with_context(|| format!("--device {choice}"));
    if args.list {
        let device = args.device.map(open).transpose()?;
        return list(&chosen(args)?, dtype, device.as_ref());
    }
    let device = open(args.device.unwrap_or(DeviceChoice::Cuda(0)))?;
    let rows = chosen(args)?;
    // Refuses the simulated GPU.
    let (l2, bytes_per_second) = device.memory_system()?;
    let memory = Memory { bytes_per_second };
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{}, driver for CUDA {}, memory of {:.0} GB/s by its clock, L2 of {:.0} MB; {dtype}, median of {LAUNCHES} launches, \
         L2 flushed before each",
        device.properties().name,
        driver_version()?,
        bytes_per_second / 1e9,
        l2 as f64 / 1e6
    )?;
    writeln!(out, "{}", result::heading())?;
    let mut measure = Measure::new(&device, l2)?;
    let mut all = Vec::new();
    for row in &rows {
        let plans = row.work.plans(dtype, &device.properties().limits())?;
        match measure.median(row.work.as_ref(), dtype) {
            Ok(microseconds) => {
                let measured = Measured { row, dtype, plans, microseconds };
                writeln!(out, "{}", measured.line(&memory))?;
                all.push(measured);
            }
            Err(Error::OutOfMemory { bytes }) => {
                writeln!(out, "{} no room for {bytes} bytes", result::name(row))?;
            }
            Err(error) => return Err(error).with_context(|| format!("{row:?}")),
        }
    }
    match &args.json {
        Some(file) => result::write_json(file, &device, &memory, &all),
        None => Ok(()),
    }
}

/// The rows that the user wants.
fn chosen(args: &TimeArgs) -> Result<Vec<Row>> {
    let all = bench::rows();
    let mut ops: Vec<_> = all.iter().map(|row| row.work.op()).collect();
    ops.dedup();
    let rows: Vec<Row> =
        all.into_iter().filter(|row| args.op.as_deref().is_none_or(|op| op == row.work.op())).collect();
    if rows.is_empty() {
        bail!("--op: expected {}, got {}", ops.join(", "), args.op.as_deref().unwrap_or_default());
    }
    Ok(rows)
}

/// Each row with its launches and the reasons for them.
fn list(rows: &[Row], dtype: DType, device: Option<&Device>) -> Result<()> {
    let limits = device.map_or(bench::H200, |device| device.properties().limits());
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{dtype}, planned for {} multiprocessors and {} KB of shared memory a block",
        limits.num_sms,
        limits.shared_memory_per_block >> 10
    )?;
    for row in rows {
        for plan in row.work.plans(dtype, &limits)? {
            writeln!(out, "{} {plan}", result::name(row))?;
        }
    }
    Ok(())
}
